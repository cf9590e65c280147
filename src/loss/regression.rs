//! Numbers that should be near other numbers.

use super::{checked, options, reduced, same_sizes};
use crate::tensor::Tensor;

options! {
    /// [`mse_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{MseLoss, Reduction}};
    /// let loss = MseLoss::new().with_reduction(Reduction::Sum).of(&Tensor::from([1.0, 2.0]), &Tensor::zeros([2]));
    /// assert_eq!(loss.item()?, 5.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct MseLoss {}
}

impl MseLoss {
    /// The loss of this input, as [`mse_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::MseLoss};
    /// assert_eq!(MseLoss::new().of(&Tensor::from([1.0, 3.0]), &Tensor::zeros([2])).item()?, 5.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, input: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("mse_loss", input, target));
        reduced(input.squared_difference(target), self.reduction)
    }
}

/// Squared error, `(x - t)²`, the mean over all elements: what a prediction by the mean minimises.
///
/// ```
/// use chainrule::{Tensor, mse_loss};
/// let y = Tensor::from([1.0, 3.0]).variable();
/// let loss = mse_loss(&y, &Tensor::from([1.0, 1.0]));
/// assert_eq!(loss.item()?, 2.0);
/// assert_eq!(loss.backward()?.of(&y)?.to_vec::<f32>()?, [0.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Tensor {
    MseLoss::new().of(input, target)
}
