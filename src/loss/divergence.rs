//! One distribution in the place of another.

use super::{Reduction, checked, formulas, narrow, options, reduced, same_sizes, wide};
use crate::error::{Error, Fault};
use crate::ops::cross_entropy::class_axis;
use crate::tensor::Tensor;

options! {
    /// [`kl_div`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::KlDiv};
    /// let x = Tensor::from([[0.0, 1.0]]).log_softmax(1);
    /// assert_eq!(KlDiv::new().with_log_target(true).of(&x, &x).item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct KlDiv {
        /// Are the targets logarithms of probabilities too?
        ///
        /// ```
        /// use chainrule::{Tensor, loss::KlDiv};
        /// let (x, t) = (Tensor::from([[-1.0]]), Tensor::from([[0.0]]));
        /// assert_eq!(KlDiv::new().with_log_target(true).of(&x, &t).item()?, 1.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_log_target(logarithms: bool) sets logarithms: bool = false, to logarithms;
        /// Divides a mean by the number of all elements instead of that of distributions: PyTorch's `reduction="mean"`.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::KlDiv};
        /// let (x, t) = (Tensor::from([[0.0, 0.0]]).log_softmax(1), Tensor::from([[1.0, 0.0]]));
        /// let loss = KlDiv::new().with_element_mean(true).of(&x, &t);
        /// assert!((loss.item()? - 2f64.ln() / 2.0).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_element_mean(elements: bool) sets elements: bool = false, to elements;
    }
}

impl KlDiv {
    /// The divergence of these logarithms of probabilities, as [`kl_div`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{KlDiv, Reduction}};
    /// let (x, t) = (Tensor::zeros([2, 2]).log_softmax(1), Tensor::from([[1.0, 0.0], [0.0, 1.0]]));
    /// let loss = KlDiv::new().with_reduction(Reduction::Sum).of(&x, &t);
    /// assert!((loss.item()? - 2.0 * 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logarithms: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("kl_div", logarithms, target));
        let each = if self.logarithms {
            formulas::kl_div_of_logarithms(logarithms, target)
        } else {
            formulas::kl_div(logarithms, target)
        };
        match (self.reduction, each.shape()) {
            (Reduction::Mean, Ok(sizes)) if !self.elements => each.sum() / sizes.first().copied().unwrap_or(1) as f64,
            (reduction, _) => reduced(each, reduction),
        }
    }
}

/// Kullback-Leibler divergence: what it costs to take the distribution `e^x` for the true one `t`, `Σ t (ln t - x)`, the mean over
/// the batch (axis 0). Inputs are logarithms of probabilities, targets probabilities.
///
/// The mean is over distributions, PyTorch's `reduction="batchmean"`; its `"mean"` divides by the number of elements, which is no
/// divergence: [`KlDiv::with_element_mean`]. Kullback and Leibler, "On information and sufficiency", 1951.
///
/// ```
/// use chainrule::{Tensor, loss::kl_div};
/// let x = Tensor::zeros([1, 4]).log_softmax(1);
/// let sure = Tensor::from([[1.0, 0.0, 0.0, 0.0]]);
/// assert!((kl_div(&x, &sure).item()? - 4f64.ln()).abs() < 1e-6);
/// assert_eq!(kl_div(&x, &x.exp()).item()?, 0.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn kl_div(logarithms: &Tensor, target: &Tensor) -> Tensor {
    KlDiv::new().of(logarithms, target)
}

options! {
    /// [`distillation_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::DistillationLoss};
    /// let (student, teacher) = (Tensor::zeros([1, 2]), Tensor::from([[8.0, 0.0]]));
    /// let loss = DistillationLoss::new().with_temperature(4.0).of(&student, &teacher);
    /// assert!(loss.item()? > 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct DistillationLoss {
        /// What both logits are divided by, to bring out how the teacher ranks what it thinks wrong: 2 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::DistillationLoss};
        /// let logits = Tensor::from([[1.0, 2.0]]);
        /// assert_eq!(DistillationLoss::new().with_temperature(5.0).of(&logits, &logits).item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_temperature(temperature: f64) sets temperature: f64 = 2.0, to temperature;
    }
}

impl DistillationLoss {
    /// The loss of these logits, as [`distillation_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::DistillationLoss};
    /// let logits = Tensor::from([[1.0, 2.0]]);
    /// assert_eq!(DistillationLoss::new().of(&logits, &(&logits + 3.0)).item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, student: &Tensor, teacher: &Tensor) -> Tensor {
        const NAME: &str = "distillation_loss";
        checked!(same_sizes(NAME, student, teacher));
        let temperature = self.temperature;
        if !(temperature > 0.0 && temperature.is_finite()) {
            let fault = Fault::value(format!("the temperature is {temperature}"), "it is a number above 0");
            return Tensor::failed(Error::new(NAME, fault));
        }
        let axis = match student.shape() {
            Ok(sizes) => class_axis(sizes.len()),
            Err(error) => return Tensor::failed(error),
        };
        let logarithms = (wide(student) / temperature).log_softmax(axis);
        let target = (wide(teacher) / temperature).log_softmax(axis);
        let each = formulas::kl_div_of_logarithms(&logarithms, &target).sum_over(axis);
        narrow(reduced(each * (temperature * temperature), self.reduction), student)
    }
}

/// What a student has yet to learn from a teacher's logits: `T² · KL(softmax(teacher / T) ‖ softmax(student / T))`, the mean over
/// the batch. Classes lie along axis 1, as in [`cross_entropy`](super::cross_entropy), to which it is usually added.
///
/// `T²` keeps gradients of one size whatever the temperature. Compute the teacher under [`no_grad`](crate::no_grad), or it learns
/// too. Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
///
/// ```
/// use chainrule::{Tensor, cross_entropy, loss::distillation_loss};
/// let (student, teacher) = (Tensor::from([[1.0, 0.0, 0.0]]), Tensor::from([[3.0, 2.0, 0.0]]));
/// let loss = cross_entropy(&student, &Tensor::from([0])) * 0.1 + distillation_loss(&student, &teacher) * 0.9;
/// assert!(loss.item()? > 0.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn distillation_loss(student: &Tensor, teacher: &Tensor) -> Tensor {
    DistillationLoss::new().of(student, teacher)
}
