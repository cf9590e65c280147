//! Metrics: how good predictions are over a whole set, taken up batch by batch.
//!
//! A [`Metric`] counts; what it says is exact over all it has seen, however the set was cut into batches, and means what
//! scikit-learn means by the name. A failed tensor is refused with its error, and nothing has changed.
//!
//! ```
//! use chainrule::Tensor;
//! use chainrule::train::metrics::{Accuracy, Metric, TopK};
//! let mut accuracy = Accuracy::new();
//! let scores = Tensor::from([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.5, 0.0, 0.1]]);
//! accuracy.update(&scores, &Tensor::from([0, 1, 0]))?;
//! accuracy.update(&Tensor::from([[0.0, 0.0, 1.0]]), &Tensor::from([2]))?;
//! assert_eq!(accuracy.value()?, 0.75);
//! # Ok::<(), chainrule::Error>(())
//! ```

mod classes;
mod confusion;
mod mean;
mod ranking;
mod regression;

pub use classes::{Accuracy, TopK};
pub use confusion::{Average, Confusion, Scores};
pub use mean::{Mean, Perplexity};
pub use ranking::{AveragePrecision, RocAuc};
pub use regression::Regression;

use crate::error::{Error, Fault, Operand, Result};
use crate::tensor::Tensor;

/// A measure of predictions over a whole set.
///
/// ```
/// use chainrule::train::metrics::Metric;
/// use chainrule::{Result, Tensor};
///
/// /// The largest mistake of all.
/// #[derive(Default)]
/// struct Worst(f64);
/// impl Metric for Worst {
///     fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
///         self.0 = self.0.max((output - target).abs().max().item()?);
///         Ok(())
///     }
///     fn measures(&self) -> Result<Vec<(String, f64)>> {
///         Ok(vec![("worst".to_string(), self.0)])
///     }
///     fn reset(&mut self) {
///         self.0 = 0.0;
///     }
/// }
///
/// let mut worst = Worst::default();
/// worst.update(&Tensor::from([1.0, 2.0]), &Tensor::from([1.5, 2.0]))?;
/// assert_eq!(worst.measures()?[0].1, 0.5);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Metric {
    /// Takes up a batch: what the model said, and what it should have said. On an error nothing has changed.
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()>;
    /// What it says about all it has seen since the last [`reset`](Metric::reset), by name.
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>>;
    /// Forgets all it has seen.
    fn reset(&mut self);
    /// A picture of it as the text of an SVG file, with the file's name; none unless it is told.
    fn picture(&self) -> Option<(&'static str, String)> {
        None
    }
}

/// Several metrics as one. Where one of them refuses a batch, those before it have taken it up.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::metrics::{Accuracy, Metric, TopK};
/// let mut metrics: Vec<Box<dyn Metric>> = vec![Box::new(Accuracy::new()), Box::new(TopK::new(2))];
/// metrics.update(&Tensor::from([[1.0, 0.5, 0.0]]), &Tensor::from([1]))?;
/// assert_eq!(metrics.measures()?, [("accuracy".to_string(), 0.0), ("top-2 accuracy".to_string(), 1.0)]);
/// # Ok::<(), chainrule::Error>(())
/// ```
impl<M: Metric> Metric for Vec<M> {
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        for metric in self {
            metric.update(output, target)?;
        }
        Ok(())
    }
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>> {
        let mut all = Vec::new();
        for metric in self {
            all.extend(metric.measures()?);
        }
        Ok(all)
    }
    fn reset(&mut self) {
        for metric in self {
            metric.reset();
        }
    }
}

macro_rules! forwarded {
    ($([$($generics:tt)*] $Type:ty),*) => { $(
        impl<$($generics)*> Metric for $Type {
            #[track_caller]
            fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
                (**self).update(output, target)
            }
            #[track_caller]
            fn measures(&self) -> Result<Vec<(String, f64)>> {
                (**self).measures()
            }
            fn reset(&mut self) {
                (**self).reset();
            }
            fn picture(&self) -> Option<(&'static str, String)> {
                (**self).picture()
            }
        }
    )* };
}
forwarded!([M: Metric + ?Sized] Box<M>, [M: Metric + ?Sized] &mut M);

/// An error about what a metric was given.
#[cold]
#[track_caller]
fn refuse(metric: &'static str, fault: Fault, output: &Tensor, target: &Tensor) -> Error {
    let operand =
        |role: &str, tensor: &Tensor| Operand { role: role.to_string(), name: tensor.name(), what: tensor.describe() };
    let operands = vec![operand("output", output), operand("target", target)];
    Error::with(metric, fault, operands, std::panic::Location::caller())
}

/// An error about having seen nothing.
#[cold]
#[track_caller]
fn nothing_seen(metric: &'static str) -> Error {
    Error::new(metric, Fault::value("it has seen nothing yet", "call update with each batch first"))
}

/// The numbers of a tensor; none of them may be NaN.
#[track_caller]
fn numbers(metric: &'static str, role: &str, output: &Tensor, target: &Tensor) -> Result<Vec<f64>> {
    let tensor = if role == "output" { output } else { target };
    let numbers = tensor.to_vec::<f64>()?;
    match numbers.iter().position(|number| number.is_nan()) {
        None => Ok(numbers),
        Some(at) => {
            let what = format!("number {at} of the {role} is NaN");
            Err(refuse(metric, Fault::new(crate::ErrorKind::NonFinite, what, NOT_A_NUMBER), output, target))
        }
    }
}

const NOT_A_NUMBER: &str = "look for where it comes from with detect_anomalies; no measure of it would mean anything";

/// The targets as class numbers: whole numbers, truths, or floats that are whole.
#[track_caller]
fn class_numbers(metric: &'static str, output: &Tensor, target: &Tensor) -> Result<Vec<i64>> {
    if !target.dtype()?.is_float() {
        return target.to_vec::<i64>();
    }
    let numbers = numbers(metric, "target", output, target)?;
    match numbers.iter().find(|number| number.fract() != 0.0) {
        None => Ok(numbers.into_iter().map(|number| number as i64).collect()),
        Some(number) => {
            let fault = Fault::value(format!("a target is {number}"), "targets are class numbers: 0, 1, 2, ...");
            Err(refuse(metric, fault, output, target))
        }
    }
}
