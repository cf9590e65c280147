//! One class out of several: cross entropy and its relatives.

use super::{Reduction, checked, formulas, narrow, options, reduced, wide};
use crate::error::{ErrorKind, Fault};
use crate::ops::cross_entropy::{ClassEntropy, class_axis};
use crate::tensor::{Tensor, refused_as};

options! {
    /// [`cross_entropy`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::CrossEntropy};
    /// let logits = Tensor::from([[0.0, 0.0], [5.0, -5.0]]);
    /// let loss = CrossEntropy::new().with_ignore_index(1).of(&logits, &Tensor::from([0, 1]));
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct CrossEntropy {
        /// Moves this share of the target to all classes evenly: `1 - s + s/C` at the one that is meant, `s/C` elsewhere.
        ///
        /// Szegedy and others, "Rethinking the Inception architecture for computer vision", 2015.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::CrossEntropy};
        /// let sure = Tensor::from([[100.0, 0.0]]);
        /// let loss = CrossEntropy::new().with_label_smoothing(0.1).of(&sure, &Tensor::from([0]));
        /// assert!((loss.item()? - 5.0).abs() < 1e-5);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_label_smoothing(smoothing: f64) sets smoothing: f64 = 0.0, to smoothing;
        /// What a mistake in each class weighs, for classes that are rare: `[classes]`. The mean is the weighted one. They
        /// are constants.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::CrossEntropy};
        /// let weights = Tensor::from([1.0, 3.0]);
        /// let loss = CrossEntropy::new().with_class_weights(&weights).of(&Tensor::zeros([2, 2]), &Tensor::from([0, 1]));
        /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_class_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
        /// A class number that stands for "does not count", such as padding: -100 unless another is given. Such elements
        /// have the loss 0, no gradient, and no part in the mean.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::cross_entropy};
        /// let loss = cross_entropy(&Tensor::zeros([2, 2]), &Tensor::from([0, -100]));
        /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_ignore_index(class: i64) sets ignored: i64 = -100, to class;
    }
}

impl CrossEntropy {
    /// The loss of these logits, as [`cross_entropy`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{CrossEntropy, Reduction}};
    /// let loss = CrossEntropy::new().with_reduction(Reduction::Sum).of(&Tensor::zeros([3, 4]), &Tensor::from([0, 1, 3]));
    /// assert!((loss.item()? - 3.0 * 4f64.ln()).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        let probabilities = match (target.dtype(), target.shape(), logits.shape()) {
            (Ok(dtype), Ok(own), Ok(other)) => dtype.is_float() && own == other && !own.is_empty(),
            _ => false, // the operation says what is wrong
        };
        checked!(constant("cross_entropy", logits, target, self.weights.as_ref()));
        if probabilities {
            return self.of_probabilities(logits, target);
        }
        let CrossEntropy { smoothing, ignored, reduction, .. } = *self;
        let entropy =
            ClassEntropy { name: "cross_entropy", logarithms: false, smoothing, ignored: Some(ignored), reduction };
        entropy.of(logits, target, self.weights.as_ref())
    }

    /// `-Σ w · t · ln softmax(x)` for targets that are probabilities of all classes.
    #[track_caller]
    fn of_probabilities(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        let shape = match logits.shape() {
            Ok(shape) => shape,
            Err(error) => return Tensor::failed(error),
        };
        let axis = class_axis(shape.len());
        let classes = shape[axis];
        let target = match self.smoothing {
            0.0 => wide(target),
            smoothing => wide(target) * (1.0 - smoothing) + smoothing / classes as f64,
        };
        let mut products = wide(logits).log_softmax(axis) * target;
        if let Some(weights) = &self.weights {
            let mut sizes = vec![1; shape.len() - axis];
            sizes[0] = classes;
            products = products * wide(weights).reshape(sizes);
        }
        narrow(reduced(-products.sum_over(axis), self.reduction), logits)
    }
}

/// Class weights are constants: a weighted mean divides by them.
#[track_caller]
fn constant(name: &'static str, logits: &Tensor, target: &Tensor, weights: Option<&Tensor>) -> Result<(), Tensor> {
    match weights {
        Some(weights) if weights.is_tracked() => {
            let help = "they are constants of the loss: give weights.detach()";
            let fault = Fault::new(ErrorKind::Gradient, "class weights have no gradient", help);
            Err(refused_as(name, fault, &["logits", "target", "class weights"], &[logits, target, weights]))
        }
        _ => Ok(()),
    }
}

/// Cross entropy of logits (scores before softmax) with what is meant: `-ln softmax(x)[t]`, the mean over the batch. It is the
/// surprise at the right answer.
///
/// Classes lie along axis 1: logits `[batch, classes]` or `[batch, classes, ...]`, targets the same without that axis, whole
/// numbers `0 ..= classes - 1` (i64, i32 or u8). Elements whose target is -100 do not count; where none counts the mean is
/// NaN. Targets that are floats in the shape of the logits are probabilities of all classes.
///
/// It is one pass over the logits, which keeps two numbers for each row; the gradient is another, `softmax(x) - onehot(t)`, and
/// neither the softmax nor the one-hot target is ever in memory. [`CrossEntropy`] has the options.
///
/// ```
/// use chainrule::{Tensor, cross_entropy};
/// let logits = Tensor::from([[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]]).variable();
/// let loss = cross_entropy(&logits, &Tensor::from([2, 0]));
/// assert!((loss.item()? - 3f64.ln() / 2.0).abs() < 1e-6);
/// let gradient = loss.backward()?.of(&logits)?.to_vec::<f32>()?;
/// assert!((gradient[2] + 1.0 / 3.0).abs() < 1e-6 && gradient[3] == 0.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Tensor {
    CrossEntropy::new().of(logits, target)
}

options! {
    /// [`nll_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::NllLoss};
    /// let logarithms = Tensor::from([[-1.0, -2.0], [-3.0, -4.0]]);
    /// let loss = NllLoss::new().with_ignore_index(0).of(&logarithms, &Tensor::from([0, 1]));
    /// assert_eq!(loss.item()?, 4.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct NllLoss {
        /// What a mistake in each class weighs: `[classes]`. The mean is the weighted one. They are constants.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::NllLoss};
        /// let loss = NllLoss::new().with_class_weights(&Tensor::from([1.0, 3.0]));
        /// let logarithms = Tensor::from([[-1.0, -2.0], [-3.0, -5.0]]);
        /// assert_eq!(loss.of(&logarithms, &Tensor::from([0, 1])).item()?, 4.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_class_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
        /// A class number that stands for "does not count": -100 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::NllLoss};
        /// let loss = NllLoss::new().with_ignore_index(1).of(&Tensor::from([[-1.0, -2.0]]), &Tensor::from([1]));
        /// assert!(loss.item()?.is_nan());
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_ignore_index(class: i64) sets ignored: i64 = -100, to class;
    }
}

impl NllLoss {
    /// The loss of these logarithms of probabilities, as [`nll_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{NllLoss, Reduction}};
    /// let loss = NllLoss::new().with_reduction(Reduction::Sum).of(&Tensor::from([[-1.0, -2.0]]), &Tensor::from([1]));
    /// assert_eq!(loss.item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logarithms: &Tensor, target: &Tensor) -> Tensor {
        checked!(constant("nll_loss", logarithms, target, self.weights.as_ref()));
        let NllLoss { ignored, reduction, .. } = *self;
        let entropy =
            ClassEntropy { name: "nll_loss", logarithms: true, smoothing: 0.0, ignored: Some(ignored), reduction };
        entropy.of(logarithms, target, self.weights.as_ref())
    }
}

/// Negative log-likelihood: `-x[t]` for logarithms of probabilities `x`, the mean over the batch.
///
/// The sizes are those of [`cross_entropy`], which is this after `log_softmax`, faster. [`NllLoss`] has the options.
///
/// ```
/// use chainrule::{Tensor, loss::nll_loss};
/// let logarithms = Tensor::from([[0.0, 0.0], [3.0, 0.0]]).log_softmax(1);
/// assert!(nll_loss(&logarithms, &Tensor::from([0, 0])).item()? < 2f64.ln());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn nll_loss(logarithms: &Tensor, target: &Tensor) -> Tensor {
    NllLoss::new().of(logarithms, target)
}

options! {
    /// [`focal_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::FocalLoss};
    /// let loss = FocalLoss::new().with_gamma(0.0).of(&Tensor::zeros([1, 4]), &Tensor::from([2]));
    /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct FocalLoss {
        /// How much less an easy element counts: 2 unless another is given. With 0 it is the cross entropy.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::FocalLoss};
        /// let loss = FocalLoss::new().with_gamma(1.0).of(&Tensor::zeros([1, 2]), &Tensor::from([1]));
        /// assert!((loss.item()? - 0.5 * 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_gamma(gamma: f64) sets gamma: f64 = 2.0, to gamma;
        /// What a mistake in each class weighs: `[classes]`. The mean divides by the number of elements that count.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::FocalLoss};
        /// let loss = FocalLoss::new().with_class_weights(&Tensor::from([0.0, 4.0]));
        /// let loss = loss.of(&Tensor::zeros([2, 2]), &Tensor::from([0, 1]));
        /// assert!((loss.item()? - 0.5 * 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_class_weights(weights: &Tensor) sets weights: Option<Tensor> = None, to Some(weights.clone());
        /// A class number that stands for "does not count": -100 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::FocalLoss};
        /// let loss = FocalLoss::new().with_ignore_index(0).of(&Tensor::zeros([2, 2]), &Tensor::from([0, 1]));
        /// assert!((loss.item()? - 0.25 * 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_ignore_index(class: i64) sets ignored: i64 = -100, to class;
    }
}

impl FocalLoss {
    /// The loss of these logits, as [`focal_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::FocalLoss};
    /// let loss = FocalLoss::new().of(&Tensor::zeros([1, 2]), &Tensor::from([1]));
    /// assert!((loss.item()? - 0.25 * 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        let FocalLoss { ignored, reduction, .. } = *self;
        let entropy = ClassEntropy {
            name: "focal_loss",
            logarithms: false,
            smoothing: 0.0,
            ignored: Some(ignored),
            reduction: Reduction::None,
        };
        let single = entropy.of(logits, target, None);
        let mut each = formulas::focal_loss(&single, self.gamma);
        let counts = target.not_equal(ignored as f64);
        if let Some(weights) = &self.weights {
            let class = target.masked_fill(&counts.logical_not(), 0.0);
            each = each * weights.take_slices(0, &class);
        }
        match reduction {
            Reduction::Mean => each.sum() / counts.sum(),
            reduction => reduced(each, reduction),
        }
    }
}

/// Cross entropy that attends to what is hard: `(1 - p)^γ · -ln p`, where `p` is the share that softmax gives to the class that is
/// meant; the mean over the batch. Sizes and targets are those of [`cross_entropy`].
///
/// Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", 2017.
///
/// ```
/// use chainrule::{Tensor, cross_entropy, loss::focal_loss};
/// let (sure, target) = (Tensor::from([[5.0, 0.0]]), Tensor::from([0]));
/// assert!(focal_loss(&sure, &target).item()? < 1e-3 * cross_entropy(&sure, &target).item()?);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn focal_loss(logits: &Tensor, target: &Tensor) -> Tensor {
    FocalLoss::new().of(logits, target)
}
