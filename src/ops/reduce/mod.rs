//! Reductions: many numbers become one, over everything or over chosen axes.
//!
//! Each comes in three forms: `x.sum()` over everything, `x.sum_over(axes)`, and `x.sum_keep(axes)`, which leaves the
//! axes in place with size 1, so that the result broadcasts against `x`.

mod extremes;
mod logic;
mod norms;
mod spread;
mod sums;

use crate::device::Value;
use crate::error::Fault;
use crate::layout::{AxisList, Layout, ResolvedAxes, Shape};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// What a reduction folds: everything, or the axes that the caller wrote.
#[derive(Clone, Debug)]
pub(super) struct Over {
    axes: Option<AxisList>,
    keep: bool,
}

impl Over {
    /// Everything becomes one number.
    pub(super) fn everything() -> Over {
        Over { axes: None, keep: false }
    }
    /// These axes go.
    pub(super) fn axes(axes: AxisList) -> Over {
        Over { axes: Some(axes), keep: false }
    }
    /// These axes stay with size 1.
    pub(super) fn keeping(axes: AxisList) -> Over {
        Over { axes: Some(axes), keep: true }
    }
    /// The axes in ascending order.
    pub(super) fn resolve(&self, rank: usize) -> Result<ResolvedAxes, Fault> {
        match &self.axes {
            None => Ok((0..rank).collect()),
            // As in PyTorch, a single number has one axis when it is folded, which changes nothing.
            Some(axes) if rank == 0 && axes.as_slice().iter().all(|&axis| axis == 0 || axis == -1) => {
                Ok(ResolvedAxes::new())
            }
            Some(axes) => axes.resolve_sorted(rank),
        }
    }
    /// Do the folded axes stay?
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }
    /// How many numbers of a tensor of these sizes become one.
    fn count(&self, dims: &[usize]) -> usize {
        self.resolve(dims.len()).map_or(0, |axes| axes.iter().map(|&axis| dims[axis]).product())
    }
    /// A result of this reduction, seen in the shape of what was folded.
    pub(super) fn repeat(&self, folded: &Tensor, shape: &Shape) -> Tensor {
        apply(Repeat { over: self.clone(), shape: *shape }, [folded])
    }
    /// The same axes, kept with size 1.
    pub(super) fn kept(&self, rank: usize) -> Over {
        let axes: Vec<usize> = self.resolve(rank).map(|axes| axes.to_vec()).unwrap_or_default();
        Over { axes: Some(crate::layout::Axes::axes(&axes)), keep: true }
    }
}

/// A folded tensor, each number repeated for all that it was made of: the reverse of a sum, as a view.
#[derive(Debug)]
struct Repeat {
    over: Over,
    shape: Shape,
}

impl Op for Repeat {
    fn name(&self) -> &'static str {
        "repeat"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axes = self.over.resolve(self.shape.len())?;
        let from = inputs[0].layout();
        let mut strides = [0; crate::layout::MAX_RANK];
        let mut next = 0;
        for (axis, stride) in strides.iter_mut().enumerate().take(self.shape.len()) {
            let folded = axes.contains(&axis);
            if !folded || self.over.keep {
                *stride = if folded { 0 } else { from.strides()[next] };
                next += 1;
            }
        }
        one(inputs[0].with_layout(Layout::from_parts(self.shape, &strides[..self.shape.len()], from.offset()))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(sums::Sum(self.over.clone()), [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = Σ ∂L/∂y over the repeated axes"
    }
    fn view(&self) -> Option<&'static str> {
        Some("repeated")
    }
}

/// The three forms of a reduction that needs nothing but the axes, with an example on `[[1, 2], [3, 4]]`.
macro_rules! reductions {
    ($(
        $(#[$meta:meta])*
        $all:ident $over:ident $keep:ident => $op:expr; $type:literal $one:literal $many:literal;
    )*) => {
        impl Tensor { $(
            $(#[$meta])*
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);\n",
                "assert_eq!(x.", stringify!($all), "().to_vec::<", $type, ">()?, [", $one, "]);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $all(&self) -> Tensor {
                apply($op(Over::everything()), [self])
            }
            #[doc = concat!("[`", stringify!($all), "`](Tensor::", stringify!($all), ") over some axes, which go.")]
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);\n",
                "assert_eq!(x.", stringify!($over), "(0).to_vec::<", $type, ">()?, ", $many, ");\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $over(&self, axes: impl Axes) -> Tensor {
                apply($op(Over::axes(axes.axes())), [self])
            }
            #[doc = concat!(
                "[`", stringify!($all), "`](Tensor::", stringify!($all),
                ") over some axes, which stay with size 1: the result broadcasts against the input."
            )]
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);\n",
                "assert_eq!(x.", stringify!($keep), "(0).dims()?, [1, 2]);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $keep(&self, axes: impl Axes) -> Tensor {
                apply($op(Over::keeping(axes.axes())), [self])
            }
        )* }
    };
}
pub(super) use reductions;

/// Calls a kernel of [`Reduce`] with the axes of `over` resolved against the input.
macro_rules! fold {
    ($kernel:ident, $x:expr, $over:expr $(, $more:expr)*) => {{
        let x: &Value = $x;
        let axes = $over.resolve(x.rank())?;
        on!(x.device(), $kernel(x, &axes, $over.keep $(, $more)*))
    }};
}
use fold;
