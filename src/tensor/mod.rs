//! The value and its history.
//!
//! A [`Tensor`] is a value or the error that kept it from being one, plus the history that `backward` walks.
//! Reading order: `op` (what an operation is), `graph` (what is remembered of one), `apply` (how it is recorded),
//! `backward` (how the graph is walked).

mod apply;
mod autocast;
mod backward;
mod captured;
mod casts;
mod checkpoint;
mod create;
mod display;
mod forward_mode;
mod gradcheck;
mod gradients;
mod graph;
mod later;
#[cfg(feature = "ndarray")]
#[cfg_attr(docsrs, doc(cfg(feature = "ndarray")))]
mod ndarray;
mod op;
mod own;
mod parameter;
mod read;
mod record;
mod scopes;
mod state;
mod visits;

pub use apply::{apply, apply_all, apply_many, apply_slice};
pub(crate) use apply::{refused, refused_as};
pub use autocast::{AUTOCAST, Precision, autocast, autocast_type};
pub use backward::{KeepGraph, backward_all};
pub use captured::{Captured, Input, Results};
pub use checkpoint::checkpoint;
pub use create::Array;
pub use forward_mode::jvp;
pub use gradcheck::{GradientCheck, gradcheck};
pub use gradients::{Cut, Gradients};
pub use graph::live_nodes;
pub use later::Later;
pub use op::{Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted, one};
pub use parameter::{Parameter, shared_updates};
pub use record::{Recording, Source, Step, record};
pub(crate) use scopes::{apart, modes};
pub use scopes::{detect_anomalies, evaluating, is_recording, is_training, no_grad, training};
pub use state::State;
pub use visits::Visit;

#[cfg(test)]
mod tests;

use crate::device::copy::Arrange;
use crate::device::{Device, Value, on};
use crate::error::{Error, Fault, Result};
use crate::layout::DType;
use graph::History;

/// Numbers in some shape, or the error that kept them from being computed, with the history that gradients need.
///
/// Computing never panics and needs no `?`: what cannot be done makes a *failed* tensor, which flows through everything
/// after it and gives its error where something is read ([`item`](Tensor::item), [`to_vec`](Tensor::to_vec),
/// [`shape`](Tensor::shape), [`backward`](Tensor::backward), [`checked`](Tensor::checked)).
///
/// ```
/// use chainrule::Tensor;
/// let x = Tensor::from([3.0]).variable();
/// let y = (&x * &x).sum();
/// assert_eq!(y.item()?, 9.0);
/// assert_eq!(y.backward()?.of(&x)?.to_vec::<f32>()?, [6.0]);
///
/// let failed = Tensor::zeros([2, 3]).matmul(&Tensor::zeros([4, 5])) * 2.0;
/// assert!(failed.checked().is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[must_use = "a tensor is a value: computing one changes nothing else"]
pub struct Tensor {
    value: Result<Value>,
    history: History,
}

impl Clone for Tensor {
    // In a function of its own: it is wanted in hundreds of places.
    #[inline(never)]
    fn clone(&self) -> Tensor {
        Tensor { value: self.value.clone(), history: self.history.clone() }
    }
}

impl Tensor {
    /// A tensor without history.
    #[inline]
    pub fn from_value(value: Value) -> Tensor {
        Tensor { value: Ok(value), history: History::None }
    }
    /// A failed tensor: it flows through everything and gives its error where it is read.
    ///
    /// ```
    /// use chainrule::{Error, Fault, Tensor};
    /// let failed = Tensor::failed(Error::new("load", Fault::value("no rows", "check the file")));
    /// assert!((failed + 1.0).item().is_err());
    /// ```
    #[inline]
    pub fn failed(error: Error) -> Tensor {
        Tensor { value: Err(error), history: History::None }
    }
    /// Turns a block that may fail (one that reads sizes with `?`) into a tensor.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// fn last_half(x: &Tensor) -> Tensor {
    ///     Tensor::compute(|| {
    ///         let [rows, _] = x.dims()?;
    ///         Ok(x.narrow(0, rows / 2, rows - rows / 2))
    ///     })
    /// }
    /// assert_eq!(last_half(&Tensor::zeros([4, 2])).dims()?, [2, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn compute(block: impl FnOnce() -> Result<Tensor>) -> Tensor {
        block().unwrap_or_else(Tensor::failed)
    }
    /// The tensor itself, or its error.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert!((Tensor::zeros([2]) + Tensor::zeros([3])).checked().is_err());
    /// ```
    pub fn checked(self) -> Result<Tensor> {
        match self.value {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }
    /// The numbers without history: what kernels work on.
    #[inline]
    pub fn value(&self) -> Result<&Value> {
        self.value.as_ref().map_err(Error::clone)
    }
    /// The error of a failed tensor.
    pub fn error(&self) -> Option<&Error> {
        self.value.as_ref().err()
    }
    pub(crate) fn with_history(value: Value, history: History) -> Tensor {
        Tensor { value: Ok(value), history }
    }
    pub(crate) fn history(&self) -> &History {
        &self.history
    }
}

/// The same numbers on the CPU, dense and in the given element type, for whoever reads them; shares memory where they
/// already are. Of another device it waits until they have been computed.
pub(crate) fn dense_as(value: &Value, dtype: DType) -> Result<Value, Fault> {
    let here = value.to(Device::Cpu)?;
    let cast = on!(Device::Cpu, cast(&here, dtype))?;
    on!(Device::Cpu, contiguous(&cast))
}
