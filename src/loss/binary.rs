//! Yes or no: each element is a question of its own.

use super::{checked, formulas, options, reduced, same_sizes};
use crate::error::Fault;
use crate::layout::DType;
use crate::ops::claimed::claimed;
use crate::tensor::{Tensor, refused_as};

/// Weights broadcast to the losses, never the other way round.
#[track_caller]
fn weights_fit(name: &'static str, what: &str, input: &Tensor, weights: Option<&Tensor>) -> Result<(), Tensor> {
    let Some(weights) = weights else { return Ok(()) };
    let (sizes, own) = match (input.shape(), weights.shape()) {
        (Ok(sizes), Ok(own)) => (sizes, own),
        (Err(error), _) | (_, Err(error)) => return Err(Tensor::failed(error)),
    };
    if own.broadcast(&sizes).is_ok_and(|common| common == sizes) {
        return Ok(());
    }
    let fault = Fault::shape(
        format!("the {what} has the sizes {own:?}, the input {sizes:?}"),
        "it must broadcast to the input: sizes, counted from the end, that are equal or 1",
    );
    Err(refused_as(name, fault, &["input", what], &[input, weights]))
}

options! {
    /// [`binary_cross_entropy`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::BinaryCrossEntropy};
    /// let loss = BinaryCrossEntropy::new().with_weights(&Tensor::from([1.0, 0.0]));
    /// let loss = loss.of(&Tensor::from([1.0, 0.3]), &Tensor::from([1.0, 1.0]));
    /// assert_eq!(loss.item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct BinaryCrossEntropy {
        /// What each element weighs; broadcasts to the input. The mean still divides by the number of elements.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::BinaryCrossEntropy};
        /// let loss = BinaryCrossEntropy::new().with_weights(&Tensor::from([2.0]));
        /// let loss = loss.of(&Tensor::from([0.5]), &Tensor::from([1.0]));
        /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
    }
}

impl BinaryCrossEntropy {
    /// The loss of these probabilities, as [`binary_cross_entropy`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::BinaryCrossEntropy};
    /// let loss = BinaryCrossEntropy::new().of(&Tensor::from([0.5]), &Tensor::from([1.0]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, probabilities: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "binary_cross_entropy";
        checked!(same_sizes(NAME, probabilities, target));
        checked!(weights_fit(NAME, "weight", probabilities, self.weights.as_ref()));
        if let Ok(dtype) = probabilities.dtype()
            && !dtype.is_float()
        {
            let fault = Fault::dtype(format!("the input is {dtype} numbers"), "probabilities are floats from 0 to 1");
            return refused_as(NAME, fault, &["input", "target"], &[probabilities, target]);
        }
        let no_probability = |_: f64, _: usize| {
            let help = "probabilities are from 0 to 1: take sigmoid() of the scores, or, better, give the scores themselves to \
                        binary_cross_entropy_with_logits";
            Fault::value("an input is no probability: it lies outside of 0 ..= 1", help)
        };
        let claimed = claimed(NAME, probabilities, |x| outside(x).logical_not(), no_probability);
        let is_here = claimed.is_none();
        checked!(claimed.unwrap_or(Ok(())));
        let mut each = formulas::binary_cross_entropy(probabilities, target);
        if let Some(weights) = &self.weights {
            each = each * weights;
        }
        let loss = reduced(each, self.reduction);
        // Outside of 0 ..= 1 the logarithms are NaN: only then it is worth to look why.
        let holds = |question: Tensor| question.any().item().is_ok_and(|any| any != 0.0);
        if is_here && holds(loss.detach().is_nan()) && holds(outside(&probabilities.detach())) {
            return refused_as(NAME, no_probability(0.0, 0), &["input", "target"], &[probabilities, target]);
        }
        loss
    }
}

/// Which numbers are below 0 or above 1?
fn outside(x: &Tensor) -> Tensor {
    let x = x.to_dtype(DType::F32);
    x.less(0.0).logical_or(x.greater(1.0))
}

/// Cross entropy of probabilities with answers of yes or no: `-(t ln x + (1 - t) ln(1 - x))`, the mean over all elements.
/// Targets may lie between 0 and 1.
///
/// Logarithms count as at least -100, so that a sure mistake costs 100 and not infinity. For scores use
/// [`binary_cross_entropy_with_logits`], which loses nothing.
///
/// ```
/// use chainrule::{Tensor, loss::binary_cross_entropy};
/// let loss = binary_cross_entropy(&Tensor::from([0.5, 1.0]), &Tensor::from([1.0, 1.0]));
/// assert!((loss.item()? - 2f64.ln() / 2.0).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn binary_cross_entropy(probabilities: &Tensor, target: &Tensor) -> Tensor {
    BinaryCrossEntropy::new().of(probabilities, target)
}

options! {
    /// [`binary_cross_entropy_with_logits`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::BinaryCrossEntropyWithLogits};
    /// let loss = BinaryCrossEntropyWithLogits::new().with_positive_weight(&Tensor::from([3.0]));
    /// let loss = loss.of(&Tensor::zeros([2]), &Tensor::from([1.0, 0.0]));
    /// assert!((loss.item()? - 2.0 * 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct BinaryCrossEntropyWithLogits {
        /// What each element weighs; broadcasts to the input. The mean still divides by the number of elements.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::BinaryCrossEntropyWithLogits};
        /// let loss = BinaryCrossEntropyWithLogits::new().with_weights(&Tensor::from([2.0]));
        /// let loss = loss.of(&Tensor::zeros([1]), &Tensor::from([1.0]));
        /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
        /// What a positive weighs, for answers that are seldom yes: negatives over positives evens them out. Broadcasts to
        /// the input.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::BinaryCrossEntropyWithLogits};
        /// let loss = BinaryCrossEntropyWithLogits::new().with_positive_weight(&Tensor::from([5.0]));
        /// let loss = loss.of(&Tensor::zeros([1]), &Tensor::from([1.0]));
        /// assert!((loss.item()? - 5.0 * 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_positive_weight(weight: &Tensor) sets positive: Option<Tensor> = None, to Some(weight.clone());
    }
}

impl BinaryCrossEntropyWithLogits {
    /// The loss of these logits, as [`binary_cross_entropy_with_logits`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::BinaryCrossEntropyWithLogits};
    /// let loss = BinaryCrossEntropyWithLogits::new().of(&Tensor::zeros([1]), &Tensor::from([1.0]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "binary_cross_entropy_with_logits";
        checked!(same_sizes(NAME, logits, target));
        checked!(weights_fit(NAME, "weight", logits, self.weights.as_ref()));
        checked!(weights_fit(NAME, "positive weight", logits, self.positive.as_ref()));
        let mut each = match &self.positive {
            Some(positive) => formulas::binary_cross_entropy_with_positives(logits, target, positive),
            None => formulas::binary_cross_entropy_with_logits(logits, target),
        };
        if let Some(weights) = &self.weights {
            each = each * weights;
        }
        reduced(each, self.reduction)
    }
}

/// Cross entropy of logits (scores before sigmoid) with answers of yes or no:
/// `-(t ln σ(x) + (1 - t) ln(1 - σ(x)))`, the mean over all elements, without overflow and without loss where σ(x) rounds to 1.
/// Targets may lie between 0 and 1.
///
/// ```
/// use chainrule::{Tensor, loss::binary_cross_entropy_with_logits};
/// let x = Tensor::from([0.0, -1000.0]).variable();
/// let loss = binary_cross_entropy_with_logits(&x, &Tensor::from([1.0, 1.0]));
/// assert!((loss.item()? - 500.34657).abs() < 1e-3);
/// assert_eq!(loss.backward()?.of(&x)?.to_vec::<f32>()?, [-0.25, -0.5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn binary_cross_entropy_with_logits(logits: &Tensor, target: &Tensor) -> Tensor {
    BinaryCrossEntropyWithLogits::new().of(logits, target)
}

options! {
    /// [`binary_focal_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::BinaryFocalLoss};
    /// let loss = BinaryFocalLoss::new().with_gamma(0.0).of(&Tensor::zeros([1]), &Tensor::from([1.0]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct BinaryFocalLoss {
        /// How much less an easy element counts: 2 unless another is given. With 0 it is the cross entropy.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::BinaryFocalLoss};
        /// let loss = BinaryFocalLoss::new().with_gamma(1.0).of(&Tensor::zeros([1]), &Tensor::from([1.0]));
        /// assert!((loss.item()? - 0.5 * 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_gamma(gamma: f64) sets gamma: f64 = 2.0, to gamma;
        /// Positives weigh this, negatives 1 less this. Without it both weigh 1.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::BinaryFocalLoss};
        /// let loss = BinaryFocalLoss::new().with_alpha(0.25).of(&Tensor::zeros([1]), &Tensor::from([1.0]));
        /// assert!((loss.item()? - 2f64.ln() / 16.0).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_alpha(alpha: f64) sets alpha: Option<f64> = None, to Some(alpha);
    }
}

impl BinaryFocalLoss {
    /// The loss of these logits, as [`binary_focal_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::BinaryFocalLoss};
    /// let loss = BinaryFocalLoss::new().of(&Tensor::zeros([1]), &Tensor::from([1.0]));
    /// assert!((loss.item()? - 2f64.ln() / 4.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("binary_focal_loss", logits, target));
        let (positive, negative) = self.alpha.map_or((1.0, 1.0), |alpha| (alpha, 1.0 - alpha));
        reduced(formulas::binary_focal_loss(logits, target, positive, negative, self.gamma), self.reduction)
    }
}

/// Cross entropy of logits that attends to what is hard: `q^γ` times
/// [`binary_cross_entropy_with_logits`], where `q` is the chance that σ(x) gives to the wrong answer; the mean over all elements.
///
/// Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", 2017.
///
/// ```
/// use chainrule::{Tensor, loss::binary_focal_loss};
/// let (easy, hard) = (Tensor::from([4.0]), Tensor::from([-4.0]));
/// let yes = Tensor::from([1.0]);
/// assert!(binary_focal_loss(&hard, &yes).item()? > 1e5 * binary_focal_loss(&easy, &yes).item()?);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn binary_focal_loss(logits: &Tensor, target: &Tensor) -> Tensor {
    BinaryFocalLoss::new().of(logits, target)
}

options! {
    /// [`dice_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::DiceLoss};
    /// let loss = DiceLoss::new().with_smoothing(0.0).of(&Tensor::from([[1.0, 0.0]]), &Tensor::from([[1.0, 1.0]]));
    /// assert!((loss.item()? - 1.0 / 3.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct DiceLoss {
        /// Added above and below the line, so that two empty sets agree: 1 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::DiceLoss};
        /// let empty = Tensor::zeros([1, 4]);
        /// assert_eq!(DiceLoss::new().with_smoothing(0.1).of(&empty, &empty).item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_smoothing(smoothing: f64) sets smoothing: f64 = 1.0, to smoothing;
        /// Takes squares below the line, `Σ p² + Σ t²`: the form of V-Net. For sure answers it is the same.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::DiceLoss};
        /// let half = Tensor::from([[0.5, 0.5]]);
        /// assert_eq!(DiceLoss::new().with_squares(true).of(&half, &half).item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_squares(squares: bool) sets squares: bool = false, to squares;
    }
}

impl DiceLoss {
    /// The loss of these probabilities, as [`dice_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::DiceLoss};
    /// let same = Tensor::from([[1.0, 0.0]]);
    /// assert_eq!(DiceLoss::new().of(&same, &same).item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, probabilities: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("dice_loss", probabilities, target));
        let sizes = match probabilities.shape() {
            Ok(sizes) => sizes,
            Err(error) => return Tensor::failed(error),
        };
        // A row for each example; what has one axis is a single example.
        let batch = if sizes.len() < 2 { 1 } else { sizes[0] };
        let each = sizes.count().checked_div(batch).unwrap_or(0);
        let (p, t) = (probabilities.reshape([batch, each]), target.reshape([batch, each]));
        let both = (&p * &t).sum_over(1) * 2.0 + self.smoothing;
        let all = match self.squares {
            true => p.square().sum_over(1) + t.square().sum_over(1),
            false => p.sum_over(1) + t.sum_over(1),
        };
        reduced(1.0 - both / (all + self.smoothing), self.reduction)
    }
}

/// How little two sets have in common: `1 - (2 Σ p t + 1) / (Σ p + Σ t + 1)` for each example of `[batch, ...]`, the mean over the
/// batch. Inputs are probabilities. Unlike a mean over elements it does not drown a small region in its background.
///
/// Milletari, Navab, Ahmadi, "V-Net", 2016.
///
/// ```
/// use chainrule::{Tensor, loss::dice_loss};
/// let mask = Tensor::from([[1.0, 0.0, 0.0, 0.0]]);
/// let nothing = dice_loss(&Tensor::zeros([1, 4]), &mask).item()?;
/// assert_eq!((dice_loss(&mask, &mask).item()?, nothing), (0.0, 0.5));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn dice_loss(probabilities: &Tensor, target: &Tensor) -> Tensor {
    DiceLoss::new().of(probabilities, target)
}
