//! Numbers that should be near other numbers.

use super::{checked, formulas, options, reduced, same_sizes};
use crate::error::{Error, Fault};
use crate::ops::claimed::claimed;
use crate::tensor::{Tensor, refused_as};

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

options! {
    /// [`l1_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{L1Loss, Reduction}};
    /// let loss = L1Loss::new().with_reduction(Reduction::Sum).of(&Tensor::from([1.0, -2.0]), &Tensor::zeros([2]));
    /// assert_eq!(loss.item()?, 3.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct L1Loss {}
}

impl L1Loss {
    /// The loss of this input, as [`l1_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::L1Loss};
    /// assert_eq!(L1Loss::new().of(&Tensor::from([1.0, -3.0]), &Tensor::zeros([2])).item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, input: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("l1_loss", input, target));
        reduced(formulas::l1_loss(input, target), self.reduction)
    }
}

/// Absolute error, `|x - t|`, the mean over all elements: what a prediction by the median minimises, so that outliers weigh
/// less. Its gradient where both are equal is 0.
///
/// ```
/// use chainrule::{Tensor, loss::l1_loss};
/// let y = Tensor::from([1.0, 3.0]).variable();
/// let loss = l1_loss(&y, &Tensor::from([2.0, 0.0]));
/// assert_eq!(loss.item()?, 2.0);
/// assert_eq!(loss.backward()?.of(&y)?.to_vec::<f32>()?, [-0.5, 0.5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn l1_loss(input: &Tensor, target: &Tensor) -> Tensor {
    L1Loss::new().of(input, target)
}

options! {
    /// [`smooth_l1_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::SmoothL1Loss};
    /// let loss = SmoothL1Loss::new().with_beta(2.0).of(&Tensor::from([1.0]), &Tensor::zeros([1]));
    /// assert_eq!(loss.item()?, 0.25);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct SmoothL1Loss {
        /// Where the parabola becomes a line: 1 unless another is given, not negative. With 0 it is [`l1_loss`].
        ///
        /// ```
        /// use chainrule::{Tensor, loss::SmoothL1Loss};
        /// let loss = SmoothL1Loss::new().with_beta(0.0).of(&Tensor::from([0.5]), &Tensor::zeros([1]));
        /// assert_eq!(loss.item()?, 0.5);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_beta(beta: f64) sets beta: f64 = 1.0, to beta;
    }
}

impl SmoothL1Loss {
    /// The loss of this input, as [`smooth_l1_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::SmoothL1Loss};
    /// assert_eq!(SmoothL1Loss::new().of(&Tensor::from([1.0, 3.0]), &Tensor::zeros([2])).item()?, 1.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, input: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("smooth_l1_loss", input, target));
        checked!(not_negative("smooth_l1_loss", "beta", self.beta));
        // The parabola of width 0 would be 0 / 0 in second derivatives.
        let each = if self.beta == 0.0 {
            formulas::l1_loss(input, target)
        } else {
            formulas::smooth_l1_loss(input, target, self.beta)
        };
        reduced(each, self.reduction)
    }
}

/// A distance is negative or NaN.
#[track_caller]
fn not_negative(name: &'static str, what: &str, number: f64) -> Result<(), Tensor> {
    if number >= 0.0 {
        return Ok(());
    }
    let fault = Fault::value(format!("{what} is {number}"), "it is a distance: 0 or more");
    Err(Tensor::failed(Error::new(name, fault)))
}

/// Absolute error, rounded off near 0: `½ (x - t)² / beta` within `beta`, `|x - t| - ½ beta` beyond; the mean over all elements.
///
/// Girshick, "Fast R-CNN", 2015. It is [`huber_loss`] divided by `beta`.
///
/// ```
/// use chainrule::{Tensor, loss::smooth_l1_loss};
/// assert_eq!(smooth_l1_loss(&Tensor::from([0.5, 3.0]), &Tensor::zeros([2])).item()?, (0.125 + 2.5) / 2.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn smooth_l1_loss(input: &Tensor, target: &Tensor) -> Tensor {
    SmoothL1Loss::new().of(input, target)
}

options! {
    /// [`huber_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::HuberLoss};
    /// let loss = HuberLoss::new().with_delta(2.0).of(&Tensor::from([3.0]), &Tensor::zeros([1]));
    /// assert_eq!(loss.item()?, 4.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct HuberLoss {
        /// Where the parabola becomes a line, and the slope of that line: 1 unless another is given, not negative.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::HuberLoss};
        /// let loss = HuberLoss::new().with_delta(0.5).of(&Tensor::from([1.0]), &Tensor::zeros([1]));
        /// assert_eq!(loss.item()?, 0.375);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_delta(delta: f64) sets delta: f64 = 1.0, to delta;
    }
}

impl HuberLoss {
    /// The loss of this input, as [`huber_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::HuberLoss};
    /// assert_eq!(HuberLoss::new().of(&Tensor::from([1.0, 3.0]), &Tensor::zeros([2])).item()?, 1.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, input: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("huber_loss", input, target));
        checked!(not_negative("huber_loss", "delta", self.delta));
        reduced(formulas::huber_loss(input, target, self.delta), self.reduction)
    }
}

/// Squared error near 0, absolute error far away: `½ (x - t)²` within `delta`, `delta (|x - t| - ½ delta)` beyond; the mean
/// over all elements.
///
/// Huber, "Robust estimation of a location parameter", 1964.
///
/// ```
/// use chainrule::{Tensor, loss::huber_loss};
/// assert_eq!(huber_loss(&Tensor::from([0.5, 3.0]), &Tensor::zeros([2])).item()?, (0.125 + 2.5) / 2.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn huber_loss(input: &Tensor, target: &Tensor) -> Tensor {
    HuberLoss::new().of(input, target)
}

options! {
    /// [`poisson_nll_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::PoissonNllLoss};
    /// let loss = PoissonNllLoss::new().with_log_input(false).with_full(true);
    /// let rates = Tensor::from([2.0]);
    /// assert!((loss.of(&rates, &Tensor::from([2.0])).item()? - 1.265).abs() < 1e-3);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct PoissonNllLoss {
        /// Are the inputs logarithms of rates (the default), or the rates themselves?
        ///
        /// ```
        /// use chainrule::{Tensor, loss::PoissonNllLoss};
        /// let loss = PoissonNllLoss::new().with_log_input(false).of(&Tensor::from([1.0]), &Tensor::from([5.0]));
        /// assert!((loss.item()? - 1.0).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_log_input(logarithms: bool) sets logarithms: bool = true, to logarithms;
        /// Adds `ln t!` by Stirling's approximation where a count is above 1, so that it is the whole negative
        /// log-likelihood; the gradient for the input is the same.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::PoissonNllLoss};
        /// let loss = PoissonNllLoss::new().with_full(true).of(&Tensor::from([0.0]), &Tensor::from([3.0]));
        /// assert!((loss.item()? - 1.0 - 6f64.ln()).abs() < 0.03);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_full(full: bool) sets full: bool = false, to full;
        /// Added to a rate before its logarithm is taken: 1e-8 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::PoissonNllLoss};
        /// let loss = PoissonNllLoss::new().with_log_input(false).with_epsilon(1.0);
        /// assert_eq!(loss.of(&Tensor::from([0.0]), &Tensor::from([5.0])).item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_epsilon(epsilon: f64) sets epsilon: f64 = 1e-8, to epsilon;
    }
}

impl PoissonNllLoss {
    /// The loss of this input, as [`poisson_nll_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::PoissonNllLoss};
    /// assert_eq!(PoissonNllLoss::new().of(&Tensor::from([0.0]), &Tensor::from([2.0])).item()?, 1.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, input: &Tensor, target: &Tensor) -> Tensor {
        checked!(same_sizes("poisson_nll_loss", input, target));
        let mut each = if self.logarithms {
            formulas::poisson_nll_loss(input, target)
        } else {
            formulas::poisson_nll_loss_of_rates(input, target, self.epsilon)
        };
        if self.full {
            each = each + formulas::stirling(target);
        }
        reduced(each, self.reduction)
    }
}

/// Negative log-likelihood of counts under Poisson's law, for inputs that are logarithms of the rate: `e^x - t x`, the mean over
/// all elements. What depends on the count alone is left out.
///
/// ```
/// use chainrule::{Tensor, loss::poisson_nll_loss};
/// let x = Tensor::from([2f32.ln()]).variable();
/// let gradient = poisson_nll_loss(&x, &Tensor::from([2.0])).backward()?;
/// assert!(gradient.of(&x)?.item()?.abs() < 1e-6); // the rate that fits is the count itself
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn poisson_nll_loss(input: &Tensor, target: &Tensor) -> Tensor {
    PoissonNllLoss::new().of(input, target)
}

options! {
    /// [`gaussian_nll_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::GaussianNllLoss};
    /// let (x, variance) = (Tensor::from([[1.0, 2.0]]), Tensor::from([[1.0]]));
    /// let loss = GaussianNllLoss::new().with_full(true).of(&x, &x, &variance);
    /// assert!((loss.item()? - 0.918939).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct GaussianNllLoss {
        /// Adds `½ ln 2π`, so that it is the whole negative log-likelihood.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::GaussianNllLoss};
        /// let x = Tensor::ones([3]);
        /// let loss = GaussianNllLoss::new().with_full(true).of(&x, &x, &x);
        /// assert!((loss.item()? - 0.918939).abs() < 1e-5);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_full(full: bool) sets full: bool = false, to full;
        /// The least variance that counts: 1e-6 unless another is given. One below it counts as this, and gets the
        /// gradients that this would, of every order.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::GaussianNllLoss};
        /// let x = Tensor::ones([1]);
        /// assert_eq!(GaussianNllLoss::new().with_epsilon(1.0).of(&x, &x, &Tensor::zeros([1])).item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_epsilon(epsilon: f64) sets epsilon: f64 = 1e-6, to epsilon;
    }
}

impl GaussianNllLoss {
    /// The loss of this input, as [`gaussian_nll_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::GaussianNllLoss};
    /// let loss = GaussianNllLoss::new().of(&Tensor::from([3.0]), &Tensor::from([1.0]), &Tensor::from([1.0]));
    /// assert_eq!(loss.item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, input: &Tensor, target: &Tensor, variance: &Tensor) -> Tensor {
        const NAME: &str = "gaussian_nll_loss";
        checked!(same_sizes(NAME, input, target));
        let (sizes, own) = match (input.shape(), variance.shape()) {
            (Ok(sizes), Ok(own)) => (sizes, own),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let (roles, all) = (["input", "target", "variance"], [input, target, variance]);
        let rows = sizes.split_last().map_or(&[][..], |(_, rows)| rows);
        let fits = own == sizes || own.len() == sizes.len() && own[..rows.len()] == *rows && own.last() == Some(&1);
        let variance = match () {
            () if fits => variance.clone(),
            () if own[..] == *rows && !sizes.is_empty() => variance.unsqueeze(-1),
            () => {
                let what = format!("the variance has the sizes {own:?}, the input {sizes:?}");
                let help = "give one variance for each element, or one for each row: the last size 1, or left out";
                return refused_as(NAME, Fault::shape(what, help), &roles, &all);
            }
        };
        let help = "a variance is not negative: let the model say its logarithm, and take exp()";
        let negative = move |number: f64, _: usize| Fault::value(format!("a variance is {number}"), help);
        if let Some(claimed) = claimed(NAME, &variance, |x| x.less(0.0).logical_not(), negative) {
            checked!(claimed);
        } else if own.count() > 0 {
            match variance.detach().min().item() {
                Ok(least) if least < 0.0 => {
                    let what = format!("the least variance is {least}");
                    return refused_as(NAME, Fault::value(what, help), &roles, &all);
                }
                Ok(_) => {}
                Err(error) => return Tensor::failed(error),
            }
        }
        let mut each = formulas::gaussian_nll_loss(input, target, &formulas::raised(&variance, self.epsilon));
        if self.full {
            each = each + 0.5 * std::f64::consts::TAU.ln();
        }
        reduced(each, self.reduction)
    }
}

/// Negative log-likelihood under a normal law whose variance the model says too: `½ (ln v + (x - t)² / v)`, the mean over all
/// elements. A model may so be unsure where the data are.
///
/// The variance has the sizes of the input, or one number for each row: the last size 1, or left out. Nix and Weigend,
/// "Estimating the mean and variance of the target probability distribution", 1994.
///
/// ```
/// use chainrule::{Tensor, loss::gaussian_nll_loss};
/// let (x, t) = (Tensor::from([3.0]), Tensor::from([1.0]));
/// let fitting = gaussian_nll_loss(&x, &t, &Tensor::from([4.0])).item()?;
/// assert!(fitting < gaussian_nll_loss(&x, &t, &Tensor::from([3.0])).item()?);
/// assert!(fitting < gaussian_nll_loss(&x, &t, &Tensor::from([5.0])).item()?);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn gaussian_nll_loss(input: &Tensor, target: &Tensor, variance: &Tensor) -> Tensor {
    GaussianNllLoss::new().of(input, target, variance)
}
