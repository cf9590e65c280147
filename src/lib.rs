//! Neural networks from scratch: tensors, gradients, fast kernels, and errors that teach.
//!
//! # A first network
//!
//! Two inputs, eight hidden numbers, one answer: exclusive or, which no straight line separates.
//!
//! ```
//! use chainrule::{Parameter, Random, Result, Tensor};
//!
//! fn main() -> Result<()> {
//!     let x = Tensor::from([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
//!     let target = Tensor::from([[0.0], [1.0], [1.0], [0.0]]);
//!
//!     let mut random = Random::new(1);
//!     let mut parameters = [
//!         Parameter::new(Tensor::uniform([2, 8], -1.0..1.0, &mut random)),
//!         Parameter::new(Tensor::zeros([8])),
//!         Parameter::new(Tensor::uniform([8, 1], -1.0..1.0, &mut random)),
//!     ];
//!     let mut last = f64::INFINITY;
//!     for _ in 0..500 {
//!         let [w1, b1, w2] = &parameters;
//!         let hidden = (x.matmul(w1) + b1).tanh();
//!         let loss = (hidden.matmul(w2) - &target).square().mean();
//!         let gradients = loss.backward()?;
//!         for parameter in &mut parameters {
//!             let step = gradients.of(parameter)? * 0.3;
//!             parameter.set(&(parameter.detach() - step))?;
//!         }
//!         last = loss.item()?;
//!     }
//!     assert!(last < 0.05, "{last}");
//!     Ok(())
//! }
//! ```
//!
//! # The rooms
//!
//! - [`Tensor`]: numbers, every operation on them, and what [`backward`](Tensor::backward) does. What cannot be computed
//!   makes a failed tensor, whose [`Error`] comes out where something is read: formulas need no `?`.
//! - [`Parameter`], [`Gradients`]: what is learnt, and in which direction.
//! - [`no_grad`], [`evaluating`], [`checkpoint()`], [`detect_anomalies`], [`record`]: scopes around a computation.
//! - [`nn`]: layers, and models as plain structs that own their parameters.
//! - [`loss`]: what a model is to make small.
//! - [`optim`]: optimizers, parameter groups, schedules, averages of models.
//! - [`formula!`]: a pointwise function written once, with kernel and derivative.
//! - [`io`]: files: safetensors, NumPy, PyTorch, checkpoints.
//! - [`data`]: datasets, and loaders that give them in batches.
//! - [`explain`]: traces of both ways of backpropagation, moment by moment, and charts as SVG.
//! - [`train`]: metrics, and a trainer for those who want the loop written for them.
//! - [`op`]: operations of your own.
//! - [`device`]: memory, threads, instruction sets.
//! - [`course`]: backpropagation from a single multiplication to a transformer, for whoever wants to understand it.
//! - [`gradcheck`], [`jvp`]: gradients held against differences; forward mode.
// Before it inlines, the compiler looks for circles among calls, so far and no further: a tenth of the front end's time.
#![recursion_limit = "32"]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(doc, doctest))]
pub mod course;
pub mod data;
pub mod device;
mod error;
pub mod explain;
pub mod formula;
pub mod io;
mod layout;
pub mod loss;
pub mod nn;
mod ops;
pub mod optim;
mod tensor;
pub mod train;

pub use device::{
    Combine, Device, Draw, MatmulPrecision, Profile, Random, Value, matmul_precision, profile, thread_count, threads,
    with_matmul_precision,
};
pub use error::{Error, ErrorKind, Fault, Operand, Result};
pub use layout::{
    Axes, Axis, AxisList, DType, Element, Index, IndexList, IndexRange, Indices, Integer, Layout, MAX_RANK,
    ResolvedAxes, Shape, SizeList, Sizes, step,
};
pub use loss::{cross_entropy, mse_loss};
pub use ops::{
    Attention, Conv, Fourier, GridSample, Interpolation, Pad, Pool, Recurrence, Resize, Rotary, RotaryScaling, Stft,
    Unique,
};
pub use tensor::{
    AUTOCAST, Array, Captured, Cut, GradientCheck, Gradients, Input, KeepGraph, Later, Parameter, Precision, Recording,
    Results, Source, State, Step, Tensor, Visit, autocast, autocast_type, backward_all, checkpoint, detect_anomalies,
    evaluating, gradcheck, is_recording, is_training, jvp, live_nodes, no_grad, record, shared_updates, training,
};

/// What it takes to write an operation: the [`Op`](op::Op) trait and how one is applied.
pub mod op {
    pub use crate::ops::check::check_formula;
    pub use crate::ops::number::{Number, Operand};
    pub use crate::ops::pointwise::pointwise;
    pub use crate::tensor::{
        Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted, apply, apply_all, apply_many, apply_slice, one,
    };
}
