//! The few operations that the engine itself needs: adding gradients up, undoing a broadcast, casting, naming, watching.

use super::graph::History;
use super::op::{Call, Keep, Op, Outputs, Saves, one};
use super::{Tensor, apply, apply_slice};
use crate::device::accumulate::Accumulate;
use crate::device::copy::Arrange;
use crate::device::{Device, Value, on};
use crate::error::Fault;
use crate::layout::{DType, Shape};
use std::fmt;
use std::sync::Arc;

/// The sum of two gradients of one shape.
#[derive(Debug)]
struct AddUp;

impl Op for AddUp {
    fn name(&self) -> &'static str {
        "add"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), add_up(inputs[0].clone(), inputs[1]))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].clone()
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂a = ∂L/∂(a + b)"
    }
}

/// `sum + term`; the sum is overwritten where nobody else holds it and nobody records.
pub(crate) fn add_up(sum: Tensor, term: &Tensor) -> Tensor {
    if !matches!(sum.history, History::None) || !matches!(term.history, History::None) {
        return apply(AddUp, [&sum, term]);
    }
    match (sum.value, &term.value) {
        (Ok(sum), Ok(term)) => match on!(sum.device(), add_up(sum, term)) {
            Ok(sum) => Tensor::from_value(sum),
            Err(fault) => Tensor::failed(crate::error::Error::new("backward", fault)),
        },
        (Err(error), _) => Tensor::failed(error),
        (_, Err(error)) => Tensor::failed(error.clone()),
    }
}

/// Sums over the axes that a broadcast repeated.
#[derive(Debug)]
struct SumTo(Shape);

impl Op for SumTo {
    fn name(&self) -> &'static str {
        "sum_to"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), sum_to(inputs[0], &self.0))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        apply(ExpandTo(*call.shape(0)), [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, repeated along the summed axes"
    }
}

/// Repeats along axes of size 1 and new axes in front.
#[derive(Debug)]
struct ExpandTo(Shape);

impl Op for ExpandTo {
    fn name(&self) -> &'static str {
        "expand"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(inputs[0].with_layout(inputs[0].layout().expanded(&self.0)?)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        apply(SumTo(*call.shape(0)), [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, summed over the repeated axes"
    }
    fn view(&self) -> Option<&'static str> {
        Some("expanded")
    }
}

/// The gradient of a broadcast operand: summed down to the operand's own shape.
pub(crate) fn undo_broadcast(gradient: Tensor, shape: &Shape) -> Tensor {
    match &gradient.value {
        Ok(value) if value.shape() != shape => apply(SumTo(*shape), [&gradient]),
        _ => gradient,
    }
}

/// A tensor in another element type, as at a place of the caller's; `known` are the numbers where they were cast before.
pub(super) fn cast(
    tensor: &Tensor,
    dtype: DType,
    known: Option<Value>,
    at: &'static std::panic::Location<'static>,
) -> Tensor {
    match super::apply::perform(Cast { dtype, known }, &[tensor], at) {
        Ok(results) => results[0].clone(),
        Err(error) => Tensor::failed(error),
    }
}

/// The same numbers in another element type.
#[derive(Debug)]
struct Cast {
    dtype: DType,
    /// The result, where it is there already.
    known: Option<Value>,
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "to_dtype"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        match &self.known {
            Some(known) => one(known.clone()),
            None => one(on!(inputs[0].device(), cast(inputs[0], self.dtype))?),
        }
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        arriving[0].to_dtype(call.dtype(0))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, in the element type of x"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        if self.dtype.is_float() { Ok(()) } else { Err("to_dtype to integers or booleans has no gradient") }
    }
}

/// The same numbers on another device.
#[derive(Debug)]
struct Move {
    from: Device,
    to: Device,
}

impl Op for Move {
    fn name(&self) -> &'static str {
        "to"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(inputs[0].to(self.to)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].to(self.from)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, on the device of x"
    }
}

/// What happens when a gradient passes.
type Hook = Arc<dyn Fn(&Tensor) -> Tensor + Send + Sync>;

/// The input itself, with a name or something that happens when its gradient passes.
struct Identity {
    label: Option<Arc<str>>,
    hook: Option<Hook>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.label)
    }
}

impl Op for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(inputs[0].clone())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        match &self.hook {
            Some(hook) => hook(&arriving[0]),
            None => arriving[0].clone(),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y"
    }
    fn label(&self) -> Option<Arc<str>> {
        self.label.clone()
    }
}

/// The input as a node of its own, where a walk can stop.
pub(crate) fn identity(tensor: &Tensor) -> Tensor {
    apply_slice(Identity { label: None, hook: None }, &[tensor])
}

impl Tensor {
    /// The same numbers in another element type; the gradient is cast back.
    ///
    /// Floats become integers by truncation (saturating, NaN to 0), booleans by `x != 0`; narrower integers wrap.
    ///
    /// ```
    /// use chainrule::{DType, Tensor};
    /// let x = Tensor::from([1.7, -2.7]).to_dtype(DType::I32);
    /// assert_eq!(x.to_vec::<i32>()?, [1, -2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        match &self.value {
            Ok(value) if value.dtype() == dtype => self.clone(),
            _ => apply(Cast { dtype, known: None }, [self]),
        }
    }
    /// The same numbers on another device, where they are copied to if they are not there yet; the gradient is copied back.
    ///
    /// ```
    /// use chainrule::{Device, Tensor};
    /// let x = Tensor::ones([2]).variable();
    /// let y = x.to(Device::best()).to(Device::Cpu).sum();
    /// assert_eq!(y.backward()?.of(&x)?.device()?, Device::Cpu);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn to(&self, device: Device) -> Tensor {
        match &self.value {
            Ok(value) if value.device() != device => apply(Move { from: value.device(), to: device }, [self]),
            _ => self.clone(),
        }
    }
    /// Brought to the device of another tensor: what becomes of a constant that an operation needs beside it.
    #[track_caller]
    #[inline]
    pub(crate) fn near(self, other: &Tensor) -> Tensor {
        match &other.value {
            Ok(value) if value.device() != Device::Cpu => self.to(value.device()),
            _ => self,
        }
    }
    /// The same tensor with a name, for errors and pictures. A variable without a name takes it itself, wherever it is held.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let hidden = Tensor::zeros([2, 3]).named("hidden");
    /// let failed = hidden.matmul(&Tensor::zeros([2, 3]));
    /// assert!(failed.error().unwrap().to_string().contains("hidden"));
    /// ```
    #[track_caller]
    pub fn named(&self, name: &str) -> Tensor {
        let Ok(value) = &self.value else { return self.clone() };
        if let History::Node { node, .. } = &self.history
            && node.is_leaf()
            && node.op().take_label(name)
        {
            return self.clone();
        }
        if self.history.tracked().is_some() {
            return apply(Identity { label: Some(name.into()), hook: None }, [self]);
        }
        let place = std::panic::Location::caller();
        let leaf = super::graph::Node::leaf(value, Some(name.into()), place);
        Tensor::with_history(value.clone(), History::Frozen(leaf))
    }
    /// The same tensor; when its gradient arrives, `hook` sees it and gives the gradient that goes on.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0]).variable();
    /// let y = x.on_gradient(|gradient| gradient * 10.0).sum();
    /// assert_eq!(y.backward()?.of(&x)?.item()?, 10.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn on_gradient(&self, hook: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Tensor {
        apply(Identity { label: None, hook: Some(Arc::new(hook)) }, [self])
    }
}
