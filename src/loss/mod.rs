//! Losses: how far a prediction is from what it should be, as one number to go down on.
//!
//! Each loss is a function for every day and a struct for the rest, written alike: `mse_loss(&y, &target)` is
//! `MseLoss::new().of(&y, &target)`, the mean over all elements, and `with_...` changes what it does.
//!
//! ```
//! use chainrule::Tensor;
//! use chainrule::loss::{CrossEntropy, Reduction, cross_entropy};
//!
//! let logits = Tensor::from([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).variable();
//! let target = Tensor::from([0, 2]);
//! let loss = cross_entropy(&logits, &target);
//! let gradient = loss.backward()?;
//! assert!(gradient.of(&logits)?.to_vec::<f32>()?[0] < 0.0);
//!
//! let smooth = CrossEntropy::new().with_label_smoothing(0.1).with_reduction(Reduction::Sum);
//! assert!(smooth.of(&logits, &target).item()? > 2.0 * loss.item()?);
//! # Ok::<(), chainrule::Error>(())
//! ```

mod classes;
mod regression;

pub use crate::device::Reduction;
pub use classes::{CrossEntropy, NllLoss, cross_entropy, nll_loss};
pub use regression::{MseLoss, mse_loss};

use crate::error::Fault;
use crate::tensor::{Tensor, refused_as};

/// Writes the struct of a loss: its options, each with a default and a `with_` method, and its reduction.
macro_rules! options {
    (
        $(#[$doc:meta])*
        pub struct $Name:ident { $(
            $(#[$with_doc:meta])*
            fn $with:ident($argument:ident: $given:ty) sets $field:ident: $type:ty = $default:expr, to $value:expr;
        )* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $Name {
            $($field: $type,)*
            reduction: crate::device::Reduction,
        }
        impl Default for $Name {
            fn default() -> $Name {
                $Name { $($field: $default,)* reduction: crate::device::Reduction::Mean }
            }
        }
        impl $Name {
            /// The loss as it is without options: the mean.
            ///
            /// ```
            #[doc = concat!("use chainrule::loss::", stringify!($Name), ";")]
            #[doc = concat!("let loss = ", stringify!($Name), "::new();")]
            /// assert!(format!("{loss:?}").contains("Mean"));
            /// ```
            pub fn new() -> $Name {
                $Name::default()
            }
            $(
                $(#[$with_doc])*
                #[allow(clippy::needless_update)] // a loss may have no other options
                pub fn $with(self, $argument: $given) -> $Name {
                    $Name { $field: $value, ..self }
                }
            )*
            /// What becomes of the losses of single elements: their mean (the default), their sum, or nothing.
            ///
            /// ```
            #[doc = concat!("use chainrule::loss::{", stringify!($Name), ", Reduction};")]
            #[doc = concat!("let loss = ", stringify!($Name), "::new().with_reduction(Reduction::Sum);")]
            /// assert!(format!("{loss:?}").contains("Sum"));
            /// ```
            #[allow(clippy::needless_update)]
            pub fn with_reduction(self, reduction: crate::device::Reduction) -> $Name {
                $Name { reduction, ..self }
            }
        }
    };
}
use options;

/// The losses of single elements, reduced.
#[track_caller]
fn reduced(each: Tensor, reduction: Reduction) -> Tensor {
    match reduction {
        Reduction::Mean => each.mean(),
        Reduction::Sum => each.sum(),
        Reduction::None => each,
    }
}

/// Prediction and target must have the same sizes. Were they broadcast, `[batch, 1]` beside `[batch]` would compare every
/// prediction with every target, and learn the mean.
#[track_caller]
fn same_sizes(name: &'static str, input: &Tensor, target: &Tensor) -> Result<(), Tensor> {
    let (own, other) = match (input.shape(), target.shape()) {
        (Ok(own), Ok(other)) => (own, other),
        (Err(error), _) | (_, Err(error)) => return Err(Tensor::failed(error)),
    };
    if own == other {
        return Ok(());
    }
    let longer = own.len() == other.len() + 1 && own.last() == Some(&1) && own[..other.len()] == other[..];
    let shorter = other.len() == own.len() + 1 && other.last() == Some(&1) && other[..own.len()] == own[..];
    let help = if longer {
        "the input has a last axis of size 1: input.squeeze_axes(-1), or target.unsqueeze(-1)"
    } else if shorter {
        "the target has a last axis of size 1: target.squeeze_axes(-1), or input.unsqueeze(-1)"
    } else {
        "they are compared element by element; where a target stands for several, repeat it with expand"
    };
    let what = format!("the input has the sizes {own:?}, the target {other:?}");
    Err(refused_as(name, Fault::shape(what, help), &["input", "target"], &[input, target]))
}

/// Leaves the function with the failed tensor of a check.
macro_rules! checked {
    ($check:expr) => {
        if let Err(failed) = $check {
            return failed;
        }
    };
}
use checked;
