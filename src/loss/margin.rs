//! Right answers should be ahead of wrong ones by a margin.

use super::{Reduction, checked, formulas, options, reduced, same_sizes};
use crate::error::{Error, ErrorKind, Fault};
use crate::layout::DType;
use crate::ops::claimed::claimed;
use crate::ops::cross_entropy::{ClassEntropy, class_axis};
use crate::tensor::{Tensor, refused_as};

/// Targets that are 1 or -1 and nothing else.
#[track_caller]
pub(super) fn signs(name: &'static str, target: &Tensor) -> Result<(), Tensor> {
    let no_sign = |number: f64, at: usize| {
        let help = "targets are 1 and -1; make them of 0 and 1 with target * 2.0 - 1.0";
        Fault::value(format!("the target {at} is {number}"), help)
    };
    if let Some(claimed) = claimed(name, target, |x| x.abs().equal(1.0), no_sign) {
        return claimed;
    }
    let numbers = match target.to_vec::<f64>() {
        Ok(numbers) => numbers,
        Err(error) => return Err(Tensor::failed(error)),
    };
    match numbers.iter().position(|x| x.abs() != 1.0) {
        None => Ok(()),
        Some(at) => Err(refused_as(name, no_sign(numbers[at], at), &["target"], &[target])),
    }
}

options! {
    /// [`margin_ranking_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MarginRankingLoss};
    /// let (better, worse) = (Tensor::from([2.0]), Tensor::from([1.5]));
    /// let loss = MarginRankingLoss::new().with_margin(1.0).of(&better, &worse, &Tensor::from([1.0]));
    /// assert_eq!(loss.item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct MarginRankingLoss {
        /// By how much one should be ahead: 0 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::MarginRankingLoss};
        /// let loss = MarginRankingLoss::new().with_margin(3.0);
        /// assert_eq!(loss.of(&Tensor::from([1.0]), &Tensor::from([0.0]), &Tensor::from([1.0])).item()?, 2.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_margin(margin: f64) sets margin: f64 = 0.0, to margin;
    }
}

impl MarginRankingLoss {
    /// The loss of these scores, as [`margin_ranking_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MarginRankingLoss};
    /// let loss = MarginRankingLoss::new().of(&Tensor::from([1.0]), &Tensor::from([4.0]), &Tensor::from([1.0]));
    /// assert_eq!(loss.item()?, 3.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "margin_ranking_loss";
        checked!(same_sizes(NAME, first, second));
        checked!(same_sizes(NAME, first, target));
        checked!(signs(NAME, target));
        reduced(formulas::margin_ranking_loss(first, second, target, self.margin), self.reduction)
    }
}

/// Which of two should have the higher score: `max(0, -t (x₁ - x₂) + margin)`, the mean over all pairs; the target 1 is for the first,
/// -1 for the second.
///
/// ```
/// use chainrule::{Tensor, loss::margin_ranking_loss};
/// let (first, second) = (Tensor::from([3.0, 3.0]), Tensor::from([1.0, 1.0]));
/// assert_eq!(margin_ranking_loss(&first, &second, &Tensor::from([1.0, -1.0])).item()?, 1.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn margin_ranking_loss(first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
    MarginRankingLoss::new().of(first, second, target)
}

options! {
    /// [`hinge_embedding_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::HingeEmbeddingLoss};
    /// let loss = HingeEmbeddingLoss::new().with_margin(3.0).of(&Tensor::from([1.0]), &Tensor::from([-1.0]));
    /// assert_eq!(loss.item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct HingeEmbeddingLoss {
        /// How far apart what differs should be: 1 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::HingeEmbeddingLoss};
        /// let loss = HingeEmbeddingLoss::new().with_margin(2.0).of(&Tensor::from([5.0]), &Tensor::from([-1.0]));
        /// assert_eq!(loss.item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_margin(margin: f64) sets margin: f64 = 1.0, to margin;
    }
}

impl HingeEmbeddingLoss {
    /// The loss of these distances, as [`hinge_embedding_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::HingeEmbeddingLoss};
    /// assert_eq!(HingeEmbeddingLoss::new().of(&Tensor::from([4.0]), &Tensor::from([1.0])).item()?, 4.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, distances: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "hinge_embedding_loss";
        checked!(same_sizes(NAME, distances, target));
        checked!(signs(NAME, target));
        reduced(formulas::hinge_embedding_loss(distances, target, self.margin), self.reduction)
    }
}

/// Distances of pairs: `x` where the target is 1 (alike), `max(0, 1 - x)` where it is -1; the mean over all pairs.
///
/// ```
/// use chainrule::{Tensor, loss::hinge_embedding_loss};
/// let distances = Tensor::from([0.5, 0.25]);
/// assert_eq!(hinge_embedding_loss(&distances, &Tensor::from([1.0, -1.0])).item()?, 0.625);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn hinge_embedding_loss(distances: &Tensor, target: &Tensor) -> Tensor {
    HingeEmbeddingLoss::new().of(distances, target)
}

options! {
    /// [`soft_margin_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{Reduction, SoftMarginLoss}};
    /// let loss = SoftMarginLoss::new().with_reduction(Reduction::Sum).of(&Tensor::zeros([2]), &Tensor::from([1.0, -1.0]));
    /// assert!((loss.item()? - 2.0 * 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct SoftMarginLoss {}
}

impl SoftMarginLoss {
    /// The loss of these scores, as [`soft_margin_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::SoftMarginLoss};
    /// let loss = SoftMarginLoss::new().of(&Tensor::zeros([1]), &Tensor::from([1.0]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "soft_margin_loss";
        checked!(same_sizes(NAME, scores, target));
        checked!(signs(NAME, target));
        reduced(formulas::soft_margin_loss(scores, target), self.reduction)
    }
}

/// Logistic loss of scores with targets 1 and -1: `ln(1 + e^(-t x))`, without overflow; the mean over all elements.
///
/// ```
/// use chainrule::{Tensor, loss::soft_margin_loss};
/// assert_eq!(soft_margin_loss(&Tensor::from([-1000.0]), &Tensor::from([1.0])).item()?, 1000.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn soft_margin_loss(scores: &Tensor, target: &Tensor) -> Tensor {
    SoftMarginLoss::new().of(scores, target)
}

options! {
    /// [`multi_margin_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MultiMarginLoss};
    /// let loss = MultiMarginLoss::new().with_margin(2.0).of(&Tensor::from([[1.0, 0.0]]), &Tensor::from([0]));
    /// assert_eq!(loss.item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct MultiMarginLoss {
        /// By how much the right class should be ahead: 1 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::MultiMarginLoss};
        /// let loss = MultiMarginLoss::new().with_margin(0.5).of(&Tensor::from([[1.0, 0.0]]), &Tensor::from([0]));
        /// assert_eq!(loss.item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_margin(margin: f64) sets margin: f64 = 1.0, to margin;
        /// Squares what is missing to the margin.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::MultiMarginLoss};
        /// let loss = MultiMarginLoss::new().with_squares(true).of(&Tensor::from([[0.0, 1.0]]), &Tensor::from([0]));
        /// assert_eq!(loss.item()?, 2.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_squares(squares: bool) sets squares: bool = false, to squares;
        /// What a mistake in each class weighs: `[classes]`.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::MultiMarginLoss};
        /// let loss = MultiMarginLoss::new().with_class_weights(&Tensor::from([4.0, 1.0]));
        /// assert_eq!(loss.of(&Tensor::zeros([1, 2]), &Tensor::from([0])).item()?, 2.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_class_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
    }
}

impl MultiMarginLoss {
    /// The loss of these scores, as [`multi_margin_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MultiMarginLoss};
    /// assert_eq!(MultiMarginLoss::new().of(&Tensor::zeros([1, 2]), &Tensor::from([0])).item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "multi_margin_loss";
        let sizes = match scores.shape() {
            Ok(sizes) if sizes.len() <= 2 => sizes,
            Ok(sizes) => {
                let what = format!("the scores have {} axes", sizes.len());
                let fault = Fault::shape(what, "they are [batch, classes], or [classes] of one example");
                return refused_as(NAME, fault, &["scores", "target"], &[scores, target]);
            }
            Err(error) => return Tensor::failed(error),
        };
        // The score of the right class; the operation checks the class numbers.
        let pick =
            ClassEntropy { name: NAME, logarithms: true, smoothing: 0.0, ignored: None, reduction: Reduction::None };
        let own = -pick.of(scores, target, None);
        let axis = class_axis(sizes.len());
        let classes = sizes.get(axis).copied().unwrap_or(1);
        let behind = (scores - own.unsqueeze(axis) + self.margin).relu();
        // The right class is behind itself by the margin, which does not count.
        let (behind, itself) = match self.squares {
            true => (behind.square(), self.margin.max(0.0).powi(2)),
            false => (behind, self.margin.max(0.0)),
        };
        let mut each = (behind.sum_over(axis) - itself) / classes as f64;
        if let Some(weights) = &self.weights {
            match weights.shape() {
                Ok(own) if own[..] != [classes] => {
                    let what = format!("the class weights have the sizes {own:?}, there are {classes} classes");
                    let fault = Fault::shape(what, format!("give one weight for each class: [{classes}]"));
                    let roles = ["scores", "target", "class weights"];
                    return refused_as(NAME, fault, &roles, &[scores, target, weights]);
                }
                Ok(_) => {}
                Err(error) => return Tensor::failed(error),
            }
            each = each * weights.take_slices(0, target);
        }
        reduced(each, self.reduction)
    }
}

/// The right class should be ahead of each other by 1: `Σ max(0, 1 - x[t] + x[c]) / C` over the other classes `c`, the mean over the
/// batch. Scores are `[batch, classes]`, targets class numbers.
///
/// Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.
///
/// ```
/// use chainrule::{Tensor, loss::multi_margin_loss};
/// let scores = Tensor::from([[2.0, 1.5, -3.0]]);
/// assert!((multi_margin_loss(&scores, &Tensor::from([0])).item()? - 0.5 / 3.0).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn multi_margin_loss(scores: &Tensor, target: &Tensor) -> Tensor {
    MultiMarginLoss::new().of(scores, target)
}

options! {
    /// [`multilabel_margin_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{MultilabelMarginLoss, Reduction}};
    /// let loss = MultilabelMarginLoss::new().with_reduction(Reduction::None);
    /// let loss = loss.of(&Tensor::zeros([2, 2]), &Tensor::from([[0, -1], [-1, 0]]));
    /// assert_eq!(loss.to_vec::<f32>()?, [0.5, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct MultilabelMarginLoss {}
}

impl MultilabelMarginLoss {
    /// The loss of these scores, as [`multilabel_margin_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MultilabelMarginLoss};
    /// let loss = MultilabelMarginLoss::new().of(&Tensor::zeros([1, 2]), &Tensor::from([[0, -1]]));
    /// assert_eq!(loss.item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "multilabel_margin_loss";
        checked!(same_sizes(NAME, scores, target));
        let (sizes, labels) = match (scores.shape(), target.dtype(), target.to_vec::<i64>()) {
            (Ok(sizes), Ok(DType::I64 | DType::I32 | DType::U8), Ok(labels)) if matches!(sizes.len(), 1 | 2) => {
                (sizes, labels)
            }
            (Ok(sizes), Ok(dtype), Ok(_)) => {
                let what = format!("scores of the sizes {sizes:?} with targets of {dtype} numbers");
                let help =
                    "give scores [batch, classes], and of the same sizes the class numbers of each row, ended by -1";
                let kind = if dtype.is_float() || dtype == DType::Bool { ErrorKind::DType } else { ErrorKind::Shape };
                return refused_as(NAME, Fault::new(kind, what, help), &["scores", "target"], &[scores, target]);
            }
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Tensor::failed(error),
        };
        let classes = sizes.last().copied().unwrap_or(0);
        let rows = sizes.count().checked_div(classes).unwrap_or(if sizes.len() == 2 { sizes[0] } else { 1 });
        let listed = match Listed::read(&labels, rows, classes) {
            Ok(listed) => listed,
            Err(fault) => return refused_as(NAME, fault, &["scores", "target"], &[scores, target]),
        };
        let table = |numbers: Vec<f64>, width: usize| Tensor::from_vec(numbers, [rows, width]).map(|x| x.near(scores));
        let (chosen, counts, others) =
            match (table(listed.chosen, listed.most), table(listed.counts, listed.most), table(listed.others, classes))
            {
                (Ok(chosen), Ok(counts), Ok(others)) => (chosen, counts, others),
                (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Tensor::failed(error),
            };
        let x = scores.reshape([rows, classes]);
        let dtype = match scores.dtype() {
            Ok(dtype) => dtype,
            Err(error) => return Tensor::failed(error),
        };
        let own = x.gather(1, &chosen.to_dtype(DType::I64));
        let behind = (x.unsqueeze(1) - own.unsqueeze(2) + 1.0).relu();
        let pairs = counts.unsqueeze(2).to_dtype(dtype) * others.unsqueeze(1).to_dtype(dtype);
        let each = (behind * pairs).sum_over([1, 2]) / classes as f64;
        reduced(if sizes.len() == 1 { each.reshape(()) } else { each }, self.reduction)
    }
}

/// The labels of each row: as many columns as the longest list has.
struct Listed {
    most: usize,
    /// Class numbers, filled up with 0.
    chosen: Vec<f64>,
    /// 1 where one stands, 0 where it was filled up.
    counts: Vec<f64>,
    /// 1 for the classes that are not among them.
    others: Vec<f64>,
}

impl Listed {
    fn read(labels: &[i64], rows: usize, classes: usize) -> Result<Listed, Fault> {
        let mut lists: Vec<&[i64]> = Vec::with_capacity(rows);
        for row in 0..rows {
            let all = &labels[row * classes..][..classes];
            let end = all.iter().position(|&label| label == -1).unwrap_or(classes);
            if let Some(at) = all[..end].iter().position(|label| !(0..classes as i64).contains(label)) {
                return Err(Fault::index(
                    format!("the target at [{row}, {at}] is class {}, the scores are for {classes} classes", all[at]),
                    "list the class numbers of each row from the left and end them with -1",
                ));
            }
            lists.push(&all[..end]);
        }
        let most = lists.iter().map(|list| list.len()).max().unwrap_or(0);
        let mut listed = Listed {
            most,
            chosen: vec![0.0; rows * most],
            counts: vec![0.0; rows * most],
            others: vec![1.0; rows * classes],
        };
        for (row, list) in lists.into_iter().enumerate() {
            for (at, &label) in list.iter().enumerate() {
                listed.chosen[row * most + at] = label as f64;
                listed.counts[row * most + at] = 1.0;
                listed.others[row * classes + label as usize] = 0.0;
            }
        }
        Ok(listed)
    }
}

/// Every class that holds should be ahead of every one that does not by 1: `Σ max(0, 1 - x[t] + x[c]) / C`, the mean over the batch.
/// Scores are `[batch, classes]`; a row of targets lists the classes that hold, and -1 ends the list.
///
/// ```
/// use chainrule::{Tensor, loss::multilabel_margin_loss};
/// let scores = Tensor::from([[0.5, 0.0, 3.0]]);
/// let holding = Tensor::from([[2, 0, -1]]);
/// assert!((multilabel_margin_loss(&scores, &holding).item()? - 0.5 / 3.0).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn multilabel_margin_loss(scores: &Tensor, target: &Tensor) -> Tensor {
    MultilabelMarginLoss::new().of(scores, target)
}

options! {
    /// [`multilabel_soft_margin_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MultilabelSoftMarginLoss};
    /// let loss = MultilabelSoftMarginLoss::new().with_class_weights(&Tensor::from([2.0, 0.0]));
    /// let loss = loss.of(&Tensor::zeros([1, 2]), &Tensor::from([[1.0, 0.0]]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct MultilabelSoftMarginLoss {
        /// What a mistake in each class weighs: `[classes]`.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::MultilabelSoftMarginLoss};
        /// let loss = MultilabelSoftMarginLoss::new().with_class_weights(&Tensor::zeros([2]));
        /// assert_eq!(loss.of(&Tensor::zeros([1, 2]), &Tensor::zeros([1, 2])).item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_class_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
    }
}

impl MultilabelSoftMarginLoss {
    /// The loss of these logits, as [`multilabel_soft_margin_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MultilabelSoftMarginLoss};
    /// let loss = MultilabelSoftMarginLoss::new().of(&Tensor::zeros([1, 2]), &Tensor::zeros([1, 2]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "multilabel_soft_margin_loss";
        checked!(same_sizes(NAME, logits, target));
        let mut each = formulas::binary_cross_entropy_with_logits(logits, target);
        match (logits.shape(), &self.weights) {
            (Err(error), _) => return Tensor::failed(error),
            (Ok(sizes), _) if sizes.is_empty() => {
                let fault = Fault::shape("a single number has no classes", "logits are [.., classes]");
                return Tensor::failed(Error::new(NAME, fault));
            }
            (Ok(_), Some(weights)) => each = each * weights,
            (Ok(_), None) => {}
        }
        reduced(each.mean_over(-1), self.reduction)
    }
}

/// Each class is a question of its own: the mean of [`binary_cross_entropy_with_logits`](super::binary_cross_entropy_with_logits) over
/// the classes (the last axis), then over the batch. Targets are 0 and 1 for every class.
///
/// ```
/// use chainrule::{Tensor, loss::multilabel_soft_margin_loss};
/// let logits = Tensor::from([[100.0, -100.0]]);
/// assert!(multilabel_soft_margin_loss(&logits, &Tensor::from([[1.0, 0.0]])).item()? < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn multilabel_soft_margin_loss(logits: &Tensor, target: &Tensor) -> Tensor {
    MultilabelSoftMarginLoss::new().of(logits, target)
}
