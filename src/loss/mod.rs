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

mod binary;
mod classes;
mod ctc;
mod divergence;
mod embedding;
mod formulas;
mod margin;
mod regression;

pub use crate::device::Reduction;
pub use binary::{
    BinaryCrossEntropy, BinaryCrossEntropyWithLogits, BinaryFocalLoss, DiceLoss, binary_cross_entropy,
    binary_cross_entropy_with_logits, binary_focal_loss, dice_loss,
};
pub use classes::{CrossEntropy, FocalLoss, NllLoss, cross_entropy, focal_loss, nll_loss};
pub use ctc::{CtcLoss, ctc_loss};
pub use divergence::{DistillationLoss, KlDiv, distillation_loss, kl_div};
pub use embedding::{
    CosineEmbeddingLoss, InfoNceLoss, NtXentLoss, TripletMarginLoss, cosine_embedding_loss, info_nce_loss,
    nt_xent_loss, triplet_margin_loss,
};
pub use margin::{
    HingeEmbeddingLoss, MarginRankingLoss, MultiMarginLoss, MultilabelMarginLoss, MultilabelSoftMarginLoss,
    SoftMarginLoss, hinge_embedding_loss, margin_ranking_loss, multi_margin_loss, multilabel_margin_loss,
    multilabel_soft_margin_loss, soft_margin_loss,
};
pub use regression::{
    GaussianNllLoss, HuberLoss, L1Loss, MseLoss, PoissonNllLoss, SmoothL1Loss, gaussian_nll_loss, huber_loss, l1_loss,
    mse_loss, poisson_nll_loss, smooth_l1_loss,
};

use crate::error::Fault;
use crate::layout::DType;
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

/// Half precision in f32, so that a loss of several operations is rounded once, at its end ([`narrow`]).
#[track_caller]
fn wide(x: &Tensor) -> Tensor {
    if x.dtype().is_ok_and(DType::is_half) { x.to_dtype(DType::F32) } else { x.clone() }
}

/// A loss in the element type of what it was computed of, where that was half precision.
#[track_caller]
fn narrow(loss: Tensor, like: &Tensor) -> Tensor {
    match like.dtype() {
        Ok(dtype) if dtype.is_half() => loss.to_dtype(dtype),
        _ => loss,
    }
}

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
