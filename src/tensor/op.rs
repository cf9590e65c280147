//! What an operation is: all its faces together in one place.

use super::Tensor;
use super::forward_mode;
use super::graph::{History, Node, Saved};
use crate::device::{Device, Value};
use crate::error::{Error, Fault};
use crate::formula::Written;
use crate::layout::{DType, Shape};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// The results of an operation: nearly always one.
pub type Outputs = SmallVec<[Value; 2]>;
/// Some tensors, nearly always one.
pub type Tensors = SmallVec<[Tensor; 1]>;
/// A gradient for each input; `None` where it was not wanted, or where it is zero.
pub type InputGradients = SmallVec<[Option<Tensor>; 3]>;

/// One result.
#[inline]
pub fn one(value: Value) -> Result<Outputs, Fault> {
    let mut outputs = Outputs::new();
    outputs.push(value);
    Ok(outputs)
}

/// An operation: its name, how to compute it, the gradients of its inputs, its rule in words.
///
/// Writing one is all it takes to add an operation; [`apply`](super::apply) records it, the engine does the rest:
/// it sums a gradient over the axes its input was broadcast along, frees what was saved, and names the operands in errors.
///
/// ```
/// use chainrule::op::{self, Call, Keep, Op, Outputs, Saves};
/// use chainrule::{Fault, Tensor, Value};
///
/// /// Twice the input.
/// #[derive(Debug)]
/// struct Double;
/// impl Op for Double {
///     fn name(&self) -> &'static str { "double" }
///     fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
///         let x = inputs[0].dense::<f32>()?;
///         op::one(Value::build::<f32>(*inputs[0].shape(), |out| {
///             for (out, x) in out.iter_mut().zip(x) { *out = 2.0 * x }
///         })?)
///     }
///     fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call) -> Tensor { &arriving[0] * 2.0 }
///     fn saves(&self, _: usize) -> Saves { Saves::NONE }
///     fn rule(&self, _: usize) -> &'static str { "∂L/∂x = 2 · ∂L/∂y" }
/// }
///
/// let x = Tensor::from([1.0, 2.0]).variable();
/// let y = op::apply(Double, [&x]).sum();
/// assert_eq!(y.backward()?.of(&x)?.to_vec::<f32>()?, [2.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Op: fmt::Debug + Send + Sync + 'static {
    /// The name, as in errors and pictures.
    fn name(&self) -> &'static str;
    /// Checks, then computes on values, which have no history and so cannot record by mistake.
    /// `keep` takes what gradients need beyond inputs and results.
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault>;
    /// The gradient for input `which`, from the gradients that arrived for the results. It may come in a shape that the
    /// input was broadcast to. One that is zero everywhere is `None` in [`gradients`](Op::gradients).
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor;
    /// All wanted gradients in one visit, for operations that share work between them.
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        one_by_one(wanted, call.inputs(), &|which| self.gradient(which, arriving, call))
    }
    /// What the gradient for input `which` reads; the rest is freed.
    fn saves(&self, which: usize) -> Saves;
    /// The rule as a student would write it: "∂L/∂A = ∂L/∂C · Bᵀ".
    fn rule(&self, which: usize) -> &'static str;
    /// The formula of a pointwise operation; or, for `gradient_of` an input, the product that is passed on to it: of the
    /// operands (or the result) and, as the last input, of what arrived. For those who read operations, not for computing.
    fn formula(&self, gradient_of: Option<usize>) -> Option<Written> {
        let _ = gradient_of;
        None
    }
    /// Why there is no gradient, for an operation that has none.
    fn differentiable(&self) -> Result<(), &'static str> {
        Ok(())
    }
    /// The same in plain tensor operations, on `inputs`. Where it is given, gradients that are themselves differentiated
    /// are those of the definition; `call` has what forward kept.
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let _ = (inputs, call);
        None
    }
    /// Forward mode: the derivative of the first result along the inputs' tangents (`None` is zero).
    /// By default it is read off the recorded gradient, which is linear in what arrives.
    fn tangent(&self, tangents: &[Option<Tensor>], call: &Call<'_>) -> Tensors {
        forward_mode::tangent_from_gradients(self.name(), tangents, call)
    }
    /// What the operands are called in errors: `["left", "right"]`.
    fn roles(&self) -> &'static [&'static str] {
        &[]
    }
    /// A view says how a name passes through it: `"transposed"`.
    fn view(&self) -> Option<&'static str> {
        None
    }
    /// The name that this operation gives its result.
    fn label(&self) -> Option<Arc<str>> {
        None
    }
    /// Takes a name where it has none and can hold one: a leaf.
    #[doc(hidden)]
    fn take_label(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// The wanted gradients of so many inputs. (Compiled once, not for each operation.)
fn one_by_one(wanted: Wanted<'_>, inputs: usize, gradient: &dyn Fn(usize) -> Tensor) -> InputGradients {
    let mut all = InputGradients::new();
    for which in 0..inputs {
        all.push(if wanted.has(which) { Some(gradient(which)) } else { None });
    }
    all
}

/// What a gradient reads of an operation's inputs and results (the first 64 of each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saves {
    inputs: u64,
    outputs: u64,
}

impl Saves {
    /// Nothing but what arrives (and sizes, which are always known).
    pub const NONE: Saves = Saves { inputs: 0, outputs: 0 };
    /// Every input.
    pub const INPUTS: Saves = Saves { inputs: !0, outputs: 0 };
    /// Every result.
    pub const OUTPUTS: Saves = Saves { inputs: 0, outputs: !0 };
    /// Input `i`.
    pub const fn input(i: usize) -> Saves {
        Saves { inputs: if i < 64 { 1 << i } else { 0 }, outputs: 0 }
    }
    /// Result `i`.
    pub const fn output(i: usize) -> Saves {
        Saves { inputs: 0, outputs: if i < 64 { 1 << i } else { 0 } }
    }
    /// Both.
    pub const fn and(self, other: Saves) -> Saves {
        Saves { inputs: self.inputs | other.inputs, outputs: self.outputs | other.outputs }
    }
    #[inline]
    pub(super) fn has_input(self, i: usize) -> bool {
        i < 64 && self.inputs >> i & 1 == 1
    }
    #[inline]
    pub(super) fn has_output(self, i: usize) -> bool {
        i < 64 && self.outputs >> i & 1 == 1
    }
}

/// Takes what an operation's gradient needs beyond inputs and results: row statistics, positions, a mask's seed.
#[derive(Debug)]
pub struct Keep {
    wanted: bool,
    pub(super) values: Outputs,
}

impl Keep {
    /// A place to keep values; `wanted` says whether anybody will read them.
    pub fn new(wanted: bool) -> Keep {
        Keep { wanted, values: SmallVec::new() }
    }
    /// Will a gradient be taken? If not, extras need not be computed.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.wanted
    }
    /// Keeps a value; [`Call::kept`] gives it back, in the same order.
    pub fn push(&mut self, value: Value) {
        self.values.push(value);
    }
}

/// Which inputs want a gradient.
#[derive(Clone, Copy)]
pub struct Wanted<'a>(pub(crate) &'a dyn Fn(usize) -> bool);

impl Wanted<'_> {
    /// Does input `which` want a gradient?
    pub fn has(&self, which: usize) -> bool {
        (self.0)(which)
    }
}

/// What a gradient may read of the call it belongs to.
pub struct Call<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) saved: &'a Saved,
    pub(super) recorded: bool,
}

impl Call<'_> {
    /// Is the gradient itself being recorded?
    pub fn recorded(&self) -> bool {
        self.recorded
    }
    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.node.edges().len()
    }
    /// The sizes of input `i`.
    pub fn dims(&self, i: usize) -> &[usize] {
        &self.node.edges()[i].shape
    }
    /// The shape of input `i`.
    pub fn shape(&self, i: usize) -> &Shape {
        &self.node.edges()[i].shape
    }
    /// The element type of input `i`.
    pub fn dtype(&self, i: usize) -> DType {
        self.node.edges()[i].dtype
    }
    /// The device that the operation ran on.
    pub fn device(&self) -> Device {
        self.node.device()
    }
    /// The sizes of result `i`.
    pub fn output_dims(&self, i: usize) -> &[usize] {
        &self.node.results()[i].0
    }
    /// Input `i`, which [`Op::saves`] asked for.
    #[inline]
    pub fn value(&self, i: usize) -> Result<&Value, Error> {
        self.saved.inputs.get(i).and_then(Option::as_ref).ok_or_else(|| self.unsaved("input", i))
    }
    /// Result `i`, which [`Op::saves`] asked for.
    #[inline]
    pub fn output_value(&self, i: usize) -> Result<&Value, Error> {
        self.saved.outputs.get(i).and_then(Option::as_ref).ok_or_else(|| self.unsaved("result", i))
    }
    /// What forward kept, in the order it was pushed.
    #[inline]
    pub fn kept(&self, i: usize) -> Result<&Value, Error> {
        self.saved.kept.get(i).ok_or_else(|| self.unsaved("kept value", i))
    }
    /// Input `i` as a tensor, with its history where the gradient is being recorded.
    pub fn input(&self, i: usize) -> Tensor {
        match self.value(i) {
            Ok(value) if self.recorded => Tensor::with_history(value.clone(), self.node.edges()[i].history.clone()),
            Ok(value) => Tensor::from_value(value.clone()),
            Err(error) => Tensor::failed(error),
        }
    }
    /// Result `i` as a tensor. What is saved has no history, else node and value would hold each other for ever; it gets
    /// its history back for the time of a recorded call.
    pub fn output(&self, i: usize) -> Tensor {
        match self.output_value(i) {
            Ok(value) if self.recorded => {
                let history = History::Node { node: self.node.clone(), output: i as u32 };
                Tensor::with_history(value.clone(), history)
            }
            Ok(value) => Tensor::from_value(value.clone()),
            Err(error) => Tensor::failed(error),
        }
    }
    /// An error of this operation's gradient, at the place of the operation.
    #[cold]
    pub fn error(&self, fault: Fault) -> Error {
        Error::with(self.node.op().name(), fault, Vec::new(), self.node.location())
    }
    #[cold]
    fn unsaved(&self, what: &str, i: usize) -> Error {
        self.error(Fault::defect(format!("{what} {i} was not saved for the gradient (Op::saves)")))
    }
}
