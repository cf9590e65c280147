//! Vectors that should be near each other, or apart.

use super::margin::signs;
use super::{Reduction, checked, narrow, options, reduced, same_sizes, wide};
use crate::error::{Error, Fault};
use crate::layout::DType;
use crate::ops::cross_entropy::ClassEntropy;
use crate::tensor::{Tensor, refused_as};

options! {
    /// [`cosine_embedding_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::CosineEmbeddingLoss};
    /// let x = Tensor::from([[1.0, 0.0]]);
    /// let loss = CosineEmbeddingLoss::new().with_margin(0.25).of(&x, &x, &Tensor::from([-1.0]));
    /// assert_eq!(loss.item()?, 0.75);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct CosineEmbeddingLoss {
        /// The cosine that two which differ may have: 0 unless another is given, from -1 to 1.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::CosineEmbeddingLoss};
        /// let x = Tensor::from([1.0, 0.0]);
        /// let loss = CosineEmbeddingLoss::new().with_margin(1.0).of(&x, &x, &Tensor::from(-1.0));
        /// assert_eq!(loss.item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_margin(margin: f64) sets margin: f64 = 0.0, to margin;
    }
}

impl CosineEmbeddingLoss {
    /// The loss of these vectors, as [`cosine_embedding_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::CosineEmbeddingLoss};
    /// let (x, y) = (Tensor::from([[1.0, 0.0]]), Tensor::from([[0.0, 5.0]]));
    /// assert_eq!(CosineEmbeddingLoss::new().of(&x, &y, &Tensor::from([1.0])).item()?, 1.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "cosine_embedding_loss";
        checked!(same_sizes(NAME, first, second));
        let (sizes, own) = match (first.shape(), target.shape()) {
            (Ok(sizes), Ok(own)) => (sizes, own),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        if sizes.split_last().is_none_or(|(_, rows)| *rows != own[..]) {
            let what = format!("the target has the sizes {own:?}, the vectors {sizes:?}");
            let fault = Fault::shape(what, "vectors lie along the last axis; give one target, 1 or -1, for each");
            return refused_as(NAME, fault, &["first", "second", "target"], &[first, second, target]);
        }
        checked!(signs(NAME, target));
        let (a, b) = (wide(first), wide(second));
        let product = (&a * &b).sum_over(-1);
        let lengths = (a.square().sum_over(-1) + 1e-12) * (b.square().sum_over(-1) + 1e-12);
        let cosine = product / lengths.sqrt();
        let alike = 1.0 - &cosine;
        let different = (cosine - self.margin).clamp_min(0.0);
        narrow(reduced(target.equal(1.0).choose(&alike, &different), self.reduction), first)
    }
}

/// Pairs of vectors (along the last axis) by their cosine: `1 - cos` where the target is 1 (alike), `max(0, cos)` where it is -1; the
/// mean over all pairs.
///
/// ```
/// use chainrule::{Tensor, loss::cosine_embedding_loss};
/// let (x, y) = (Tensor::from([[1.0, 0.0], [1.0, 0.0]]), Tensor::from([[2.0, 0.0], [-1.0, 0.0]]));
/// assert_eq!(cosine_embedding_loss(&x, &y, &Tensor::from([1.0, -1.0])).item()?, 0.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn cosine_embedding_loss(first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
    CosineEmbeddingLoss::new().of(first, second, target)
}

options! {
    /// [`triplet_margin_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::TripletMarginLoss};
    /// let (anchor, far) = (Tensor::from([[0.0, 0.0]]), Tensor::from([[3.0, 4.0]]));
    /// let loss = TripletMarginLoss::new().with_margin(6.0).with_norm(1.0).of(&anchor, &anchor, &far);
    /// assert_eq!(loss.item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct TripletMarginLoss {
        /// By how much the negative should be farther: 1 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::TripletMarginLoss};
        /// let x = Tensor::zeros([1, 2]);
        /// assert_eq!(TripletMarginLoss::new().with_margin(0.5).of(&x, &x, &x).item()?, 0.5);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_margin(margin: f64) sets margin: f64 = 1.0, to margin;
        /// The order of the norm that distances are measured in: 2 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::TripletMarginLoss};
        /// let (x, far) = (Tensor::zeros([1, 2]), Tensor::from([[3.0, 4.0]]));
        /// let loss = TripletMarginLoss::new().with_norm(f64::INFINITY).with_margin(4.5).of(&x, &x, &far);
        /// assert!((loss.item()? - 0.5).abs() < 1e-5);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        #[doc(alias = "p")]
        fn with_norm(order: f64) sets order: f64 = 2.0, to order;
        /// Added to differences, so that a distance of 0 has a gradient: 1e-6 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::TripletMarginLoss};
        /// let x = Tensor::zeros([1, 2]);
        /// assert_eq!(TripletMarginLoss::new().with_epsilon(1e-3).of(&x, &x, &x).item()?, 1.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_epsilon(epsilon: f64) sets epsilon: f64 = 1e-6, to epsilon;
        /// Measures the negative from the anchor or from the positive, whichever it is nearer to.
        ///
        /// Balntas and others, "Learning local feature descriptors with triplets and shallow convolutional neural networks", 2016.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::TripletMarginLoss};
        /// let (a, p, n) = (Tensor::from([[0.0]]), Tensor::from([[2.0]]), Tensor::from([[3.0]]));
        /// let loss = TripletMarginLoss::new().with_swap(true).of(&a, &p, &n);
        /// assert!((loss.item()? - 2.0).abs() < 1e-5);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_swap(swap: bool) sets swap: bool = false, to swap;
    }
}

impl TripletMarginLoss {
    /// The loss of these vectors, as [`triplet_margin_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::TripletMarginLoss};
    /// let x = Tensor::zeros([1, 2]);
    /// assert_eq!(TripletMarginLoss::new().of(&x, &x, &x).item()?, 1.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
        const NAME: &str = "triplet_margin_loss";
        checked!(same_sizes(NAME, anchor, positive));
        checked!(same_sizes(NAME, anchor, negative));
        let [a, p, n] = [wide(anchor), wide(positive), wide(negative)];
        let near = self.distance(&a, &p);
        let mut far = self.distance(&a, &n);
        if self.swap {
            far = far.minimum(self.distance(&p, &n));
        }
        narrow(reduced((near - far + self.margin).clamp_min(0.0), self.reduction), anchor)
    }
    #[track_caller]
    fn distance(&self, a: &Tensor, b: &Tensor) -> Tensor {
        (a - b + self.epsilon).vector_norm_over(self.order, -1)
    }
}

/// An anchor should be nearer to its positive than to its negative, by 1: `max(0, ‖a - p‖ - ‖a - n‖ + 1)` for vectors along the last
/// axis, the mean over all triplets.
///
/// Schroff, Kalenichenko, Philbin, "FaceNet", 2015.
///
/// ```
/// use chainrule::{Tensor, loss::triplet_margin_loss};
/// let (anchor, far) = (Tensor::from([[0.0, 0.0]]), Tensor::from([[3.0, 4.0]]));
/// assert_eq!(triplet_margin_loss(&anchor, &anchor, &far).item()?, 0.0);
/// assert!((triplet_margin_loss(&anchor, &far, &anchor).item()? - 6.0).abs() < 1e-5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn triplet_margin_loss(anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
    TripletMarginLoss::new().of(anchor, positive, negative)
}

/// Two lists of vectors of one width: their lengths.
#[track_caller]
fn lists(name: &'static str, first: &Tensor, second: &Tensor) -> Result<(usize, usize), Tensor> {
    let (own, other) = match (first.shape(), second.shape()) {
        (Ok(own), Ok(other)) => (own, other),
        (Err(error), _) | (_, Err(error)) => return Err(Tensor::failed(error)),
    };
    match (&own[..], &other[..]) {
        ([n, width], [m, same]) if width == same => Ok((*n, *m)),
        _ => {
            let what = format!("the sizes are {own:?} and {other:?}");
            let fault = Fault::shape(what, "give two lists of vectors, [pairs, width] each, of one width");
            Err(refused_as(name, fault, &["first", "second"], &[first, second]))
        }
    }
}

/// Cosines over the temperature, `[first, second]`.
#[track_caller]
fn similarities(name: &'static str, first: &Tensor, second: &Tensor, temperature: f64) -> Tensor {
    if !(temperature > 0.0 && temperature.is_finite()) {
        let fault = Fault::value(format!("the temperature is {temperature}"), "it is a number above 0");
        return Tensor::failed(Error::new(name, fault));
    }
    let (first, second) = (wide(first).normalize(2.0, -1), wide(second).normalize(2.0, -1));
    first.matmul(&second.transpose(0, 1)) / temperature
}

/// The cross entropy of each row with the class number of its partner.
#[track_caller]
fn partners(name: &'static str, similarities: &Tensor, partners: &Tensor) -> Tensor {
    let entropy = ClassEntropy { name, logarithms: false, smoothing: 0.0, ignored: None, reduction: Reduction::None };
    entropy.of(similarities, partners, None)
}

options! {
    /// [`info_nce_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::InfoNceLoss};
    /// let x = Tensor::eye(4);
    /// let loss = InfoNceLoss::new().with_temperature(0.05).with_symmetry(true).of(&x, &x);
    /// assert!(loss.item()? < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct InfoNceLoss {
        /// What cosines are divided by, the less the sharper: 0.1 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::InfoNceLoss};
        /// let x = Tensor::eye(2);
        /// let loss = InfoNceLoss::new().with_temperature(1.0).of(&x, &x);
        /// assert!((loss.item()? - (1.0 + (-1f64).exp()).ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_temperature(temperature: f64) sets temperature: f64 = 0.1, to temperature;
        /// Asks in both directions, keys for queries too, and takes the mean of both: the loss of CLIP. There must be as many
        /// keys as queries.
        ///
        /// Radford and others, "Learning transferable visual models from natural language supervision", 2021.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::InfoNceLoss};
        /// let (x, y) = (Tensor::eye(2), Tensor::from([[1.0, 0.0], [1.0, 1.0]]));
        /// let loss = InfoNceLoss::new().with_symmetry(true);
        /// assert!((loss.of(&x, &y).item()? - loss.of(&y, &x).item()?).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_symmetry(symmetric: bool) sets symmetric: bool = false, to symmetric;
    }
}

impl InfoNceLoss {
    /// The loss of these vectors, as [`info_nce_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::InfoNceLoss};
    /// let same = Tensor::ones([4, 3]);
    /// assert!((InfoNceLoss::new().of(&same, &same).item()? - 4f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, queries: &Tensor, keys: &Tensor) -> Tensor {
        const NAME: &str = "info_nce_loss";
        let (count, keys_count) = match lists(NAME, queries, keys) {
            Ok(counts) => counts,
            Err(failed) => return failed,
        };
        if keys_count < count || self.symmetric && keys_count != count {
            let what = format!("there are {count} queries and {keys_count} keys");
            let help =
                "key i belongs to query i; keys beyond are negatives for all, which a symmetric loss cannot have";
            return refused_as(NAME, Fault::shape(what, help), &["queries", "keys"], &[queries, keys]);
        }
        let similarities = similarities(NAME, queries, keys, self.temperature);
        let own = Tensor::arange(count).near(&similarities);
        let mut each = partners(NAME, &similarities, &own);
        if self.symmetric {
            each = (each + partners(NAME, &similarities.transpose(0, 1), &own)) * 0.5;
        }
        narrow(reduced(each, self.reduction), queries)
    }
}

/// Each query should find its key among all keys: the cross entropy of their cosines over the temperature 0.1,
/// `-ln softmax(q · kᵀ / τ)[i]` for query `i`, the mean over the queries. Queries are `[pairs, width]`, keys too; further keys are
/// negatives for all queries. Vectors are brought to length 1 first.
///
/// Van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018.
///
/// ```
/// use chainrule::{Tensor, loss::info_nce_loss};
/// let (x, swapped) = (Tensor::eye(2), Tensor::from([[0.0, 1.0], [1.0, 0.0]]));
/// assert!(info_nce_loss(&x, &x).item()? < 1e-4);
/// assert!((info_nce_loss(&x, &swapped).item()? - 10.0).abs() < 1e-3);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn info_nce_loss(queries: &Tensor, keys: &Tensor) -> Tensor {
    InfoNceLoss::new().of(queries, keys)
}

options! {
    /// [`nt_xent_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::NtXentLoss};
    /// let x = Tensor::eye(3);
    /// assert!(NtXentLoss::new().with_temperature(0.05).of(&x, &x).item()? < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct NtXentLoss {
        /// What cosines are divided by, the less the sharper: 0.5 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::NtXentLoss};
        /// let x = Tensor::eye(3);
        /// let loss = |t: f64| NtXentLoss::new().with_temperature(t).of(&x, &x).item();
        /// assert!(loss(0.1)? < loss(1.0)?);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_temperature(temperature: f64) sets temperature: f64 = 0.5, to temperature;
    }
}

impl NtXentLoss {
    /// The loss of these views, as [`nt_xent_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{NtXentLoss, Reduction}};
    /// let x = Tensor::eye(3);
    /// let each = NtXentLoss::new().with_reduction(Reduction::None).of(&x, &x);
    /// assert_eq!(each.dims()?, [6]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, first: &Tensor, second: &Tensor) -> Tensor {
        const NAME: &str = "nt_xent_loss";
        checked!(same_sizes(NAME, first, second));
        let count = match lists(NAME, first, second) {
            Ok((count, _)) => count,
            Err(failed) => return failed,
        };
        let all = Tensor::cat(&[first, second], 0);
        let itself = Tensor::eye(2 * count).to_dtype(DType::Bool).near(first);
        let similarities = similarities(NAME, &all, &all, self.temperature).masked_fill(&itself, f64::NEG_INFINITY);
        let others = Tensor::cat(&[Tensor::arange(count) + count as f64, Tensor::arange(count)], 0);
        narrow(reduced(partners(NAME, &similarities, &others.to_dtype(DType::I64).near(first)), self.reduction), first)
    }
}

/// Two views of one thing should find each other among all views of the batch: the cross entropy of the cosines over the temperature
/// 0.5, where no view may choose itself; the mean over all `2 · pairs` views. Views are `[pairs, width]`, and are brought to length 1.
///
/// Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual representations", 2020.
///
/// ```
/// use chainrule::{Tensor, loss::nt_xent_loss};
/// let same = Tensor::ones([4, 3]);
/// assert!((nt_xent_loss(&same, &same).item()? - 7f64.ln()).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn nt_xent_loss(first: &Tensor, second: &Tensor) -> Tensor {
    NtXentLoss::new().of(first, second)
}
