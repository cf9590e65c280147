//! How an operation is applied: compute, check, and remember what backward will need.

use super::graph::{History, Node, Place};
use super::op::{Keep, Op, Outputs, Tensors};
use super::record;
use super::scopes::{Modes, modes};
use super::{Tensor, autocast};
use crate::device::accumulate::Accumulate;
use crate::device::{Device, Value, on, profile};
use crate::error::{Error, ErrorKind, Fault, Operand};
use smallvec::SmallVec;
use std::panic::Location;
use std::sync::Arc;

/// Applies an operation of one result to a fixed number of tensors.
///
/// See [`Op`] for an example.
#[track_caller]
#[inline]
pub fn apply<O: Op, const N: usize>(op: O, inputs: [&Tensor; N]) -> Tensor {
    let at = Location::caller();
    one(op, &inputs, at)
}

/// Applies an operation of one result to any number of tensors.
#[track_caller]
pub fn apply_slice<O: Op>(op: O, inputs: &[&Tensor]) -> Tensor {
    one(op, inputs, Location::caller())
}

/// Applies an operation of `M` results.
#[track_caller]
pub fn apply_many<O: Op, const M: usize>(op: O, inputs: &[&Tensor]) -> [Tensor; M] {
    let at = Location::caller();
    let name = op.name();
    exactly(perform(op, inputs, at), name, at)
}

/// As many results as were asked for; each the error where there is one.
#[inline(never)]
fn exactly<const M: usize>(results: Result<Tensors, Error>, name: &'static str, at: Place) -> [Tensor; M] {
    let outcome = results.and_then(|results| {
        <[Tensor; M]>::try_from(results.into_vec()).map_err(|wrong| {
            let what = format!("{} results came where {M} were expected", wrong.len());
            Error::with(name, Fault::defect(what), Vec::new(), at)
        })
    });
    outcome.unwrap_or_else(|error| std::array::from_fn(|_| Tensor::failed(error.clone())))
}

/// Applies an operation whose number of results is known when it runs.
#[track_caller]
pub fn apply_all<O: Op>(op: O, inputs: &[&Tensor]) -> crate::error::Result<Tensors> {
    perform(op, inputs, Location::caller())
}

/// As [`perform`], for one result: it goes through no list. All but the making of the node is done in functions that know no
/// type of operation, so that their code exists once.
#[inline]
fn one<O: Op>(op: O, inputs: &[&Tensor], at: Place) -> Tensor {
    let intent = Intent::of(&op, inputs);
    if intent.remembers {
        recorded_one(&intent, Arc::new(Node::blank(op, at)), inputs, at)
    } else {
        unrecorded_one(&intent, &op, inputs, at)
    }
}

/// Computes and records; `at` is the caller's place.
#[inline]
pub(super) fn perform<O: Op>(op: O, inputs: &[&Tensor], at: Place) -> Result<Tensors, Error> {
    let intent = Intent::of(&op, inputs);
    if intent.remembers {
        recorded(&intent, Arc::new(Node::blank(op, at)), inputs, at)
    } else {
        unrecorded(&intent, &op, inputs, at)
    }
}

#[inline(never)]
fn recorded_one(intent: &Intent, node: Arc<Node>, inputs: &[&Tensor], at: Place) -> Tensor {
    let name = node.op().name();
    intent.run(name, inputs, at, |plan| Ok(plan.recorded_one(node))).unwrap_or_else(Tensor::failed)
}

#[inline(never)]
fn unrecorded_one(intent: &Intent, op: &dyn Op, inputs: &[&Tensor], at: Place) -> Tensor {
    intent.run(op.name(), inputs, at, |plan| Ok(plan.unrecorded_one(op))).unwrap_or_else(Tensor::failed)
}

#[inline(never)]
fn recorded(intent: &Intent, node: Arc<Node>, inputs: &[&Tensor], at: Place) -> Result<Tensors, Error> {
    let name = node.op().name();
    intent.run(name, inputs, at, |plan| plan.recorded(node))
}

#[inline(never)]
fn unrecorded(intent: &Intent, op: &dyn Op, inputs: &[&Tensor], at: Place) -> Result<Tensors, Error> {
    intent.run(op.name(), inputs, at, |plan| plan.unrecorded(op))
}

/// What is to be remembered of an operation.
struct Intent {
    modes: Modes,
    tracked: bool,
    differentiable: Result<(), &'static str>,
    /// Gradients will be wanted.
    wants: bool,
    /// A node is made: for gradients, for a recording, or for a name.
    remembers: bool,
}

impl Intent {
    #[inline(never)]
    fn of(op: &dyn Op, inputs: &[&Tensor]) -> Intent {
        let modes = modes();
        let tracked = inputs.iter().any(|input| input.history.tracked().is_some());
        let differentiable = if tracked { op.differentiable() } else { Ok(()) };
        let wants = tracked && modes.recording && differentiable.is_ok();
        // Of a view of something named only the name is remembered: `weight (transposed)`.
        let named = || op.view().is_some() && matches!(inputs, [input, ..] if input.history.is_named());
        let remembers = wants || modes.everything || named();
        Intent { modes, tracked, differentiable, wants, remembers }
    }

    /// Carries a plan out, on the operands as autocast wants them.
    #[inline]
    fn run<R>(
        &self,
        name: &'static str,
        inputs: &[&Tensor],
        at: Place,
        carry_out: impl FnOnce(&Plan<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (cast, references): (Vec<Tensor>, SmallVec<[&Tensor; 4]>);
        let mut inputs = inputs;
        if let Some(to) = self.modes.autocast
            && let Some(others) = autocast::cast(to, name, inputs, at)?
        {
            cast = others;
            references = cast.iter().collect();
            inputs = &references;
        }
        let mut values = SmallVec::new();
        for input in inputs {
            values.push(input.value.as_ref().map_err(Error::clone)?);
        }
        if values.is_empty() {
            return Err(no_inputs(name, at));
        }
        carry_out(&Plan { intent: self, inputs, values, at })
    }
}

/// An operation on its way: its inputs, none of which has failed, and what is to be remembered.
struct Plan<'a> {
    intent: &'a Intent,
    inputs: &'a [&'a Tensor],
    values: SmallVec<[&'a Value; 4]>,
    at: Place,
}

impl Plan<'_> {
    fn compute(&self, op: &dyn Op, keep: &mut Keep) -> Result<Outputs, Error> {
        let outputs = match forward(op, &self.values, keep) {
            Ok(outputs) => outputs,
            Err(fault) => return Err(Error::with(op.name(), fault, listed(op.roles(), self.inputs), self.at)),
        };
        if self.intent.modes.anomalies {
            watch(op, self.inputs, &self.values, &outputs, self.at)?;
        }
        Ok(outputs)
    }

    /// The results, with a new node of the operation as their history.
    fn recorded(&self, node: Arc<Node>) -> Result<Tensors, Error> {
        let (outputs, node) = self.record(node)?;
        let mut results = Tensors::new();
        for (output, value) in outputs.into_iter().enumerate() {
            results.push(Tensor::with_history(value, self.history(node.clone(), output)));
        }
        Ok(results)
    }
    fn recorded_one(&self, node: Arc<Node>) -> Tensor {
        match self.record(node) {
            Ok((mut outputs, node)) => match outputs.pop() {
                Some(value) => Tensor::with_history(value, self.history(node, outputs.len())),
                None => self.no_result(),
            },
            Err(error) => Tensor::failed(error),
        }
    }
    fn record(&self, mut node: Arc<Node>) -> Result<(Outputs, Arc<Node>), Error> {
        let mut keep = Keep::new(self.intent.wants);
        let outputs = self.compute(node.op(), &mut keep)?;
        match Arc::get_mut(&mut node) {
            Some(node) => node.fill(self.inputs, &outputs, keep, self.intent.wants),
            None => return Err(Error::new("apply", Fault::defect("a new node is shared"))),
        }
        if self.intent.modes.everything {
            record::write_down(&node, &self.values, &outputs);
        }
        Ok((outputs, node))
    }
    fn history(&self, node: Arc<Node>, output: usize) -> History {
        match self.intent.wants || self.intent.modes.everything {
            true => History::Node { node, output: output as u32 },
            false => History::Frozen(node),
        }
    }

    /// The results without a node; at most they know where their history was lost.
    fn unrecorded(&self, op: &dyn Op) -> Result<Tensors, Error> {
        let mut results = Tensors::new();
        for value in self.compute(op, &mut Keep::new(false))? {
            results.push(self.without_node(value));
        }
        Ok(results)
    }
    fn unrecorded_one(&self, op: &dyn Op) -> Tensor {
        match self.compute(op, &mut Keep::new(false)) {
            Ok(mut outputs) => match outputs.pop() {
                Some(value) => self.without_node(value),
                None => self.no_result(),
            },
            Err(error) => Tensor::failed(error),
        }
    }
    #[inline]
    fn without_node(&self, value: Value) -> Tensor {
        // Integers and booleans had no gradient to lose, but they can say which operation has none.
        let tells = value.dtype().is_float() || self.intent.differentiable.is_err();
        let history = if tells { self.lost_history() } else { History::None };
        Tensor::with_history(value, history)
    }
    #[cold]
    fn no_result(&self) -> Tensor {
        Tensor::failed(Error::with("apply", Fault::defect("no result came"), Vec::new(), self.at))
    }

    /// The history of a result that is not recorded.
    fn lost_history(&self) -> History {
        match self.intent.differentiable {
            Err(reason) => return History::NoGradient(Arc::new((reason, self.at))),
            Ok(()) if self.intent.tracked && !self.intent.modes.recording => return History::NoGrad(self.at),
            Ok(()) => {}
        }
        for (input, value) in self.inputs.iter().zip(&self.values) {
            match &input.history {
                History::None | History::Node { .. } | History::Frozen(_) => {}
                cut if value.dtype().is_float() => return cut.clone(),
                _ => {}
            }
        }
        History::None
    }
}

#[cold]
fn no_inputs(name: &'static str, at: Place) -> Error {
    Error::with(name, Fault::value("there are no tensors to work on", "give at least one"), Vec::new(), at)
}

fn forward(op: &dyn Op, values: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
    let device = values[0].device();
    if let Some(other) = values.iter().find(|value| value.device() != device) {
        return Err(Fault::new(
            ErrorKind::Device,
            format!("the tensors are on different devices: {device} and {}", other.device()),
            "bring them together with to(device)",
        ));
    }
    let timer = profile::start(op.name());
    let outputs = op.forward(values, keep);
    if let Some(timer) = timer {
        timer.stop(bytes(values.iter().copied()) + bytes(outputs.iter().flatten()));
    }
    outputs
}

/// What a profile counts as read or written.
#[cold]
fn bytes<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    values.map(|value| value.count() * value.dtype().size()).sum()
}

/// A tensor that failed before an operation was reached; the place is the caller's.
#[cold]
#[track_caller]
pub(crate) fn refused(operation: &'static str, fault: Fault, inputs: &[&Tensor]) -> Tensor {
    refused_as(operation, fault, &[], inputs)
}

/// As [`refused`], with what the operands are called.
#[cold]
#[track_caller]
pub(crate) fn refused_as(operation: &'static str, fault: Fault, roles: &[&str], inputs: &[&Tensor]) -> Tensor {
    Tensor::failed(Error::with(operation, fault, listed(roles, inputs), Location::caller()))
}

/// Operands as an error shows them, where no operation gives them roles.
#[cold]
pub(super) fn operands_of(inputs: &[&Tensor]) -> Vec<Operand> {
    listed(&[], inputs)
}

fn listed(roles: &[&str], inputs: &[&Tensor]) -> Vec<Operand> {
    let mut list: Vec<Operand> = inputs
        .iter()
        .enumerate()
        .map(|(i, input)| Operand {
            role: match roles.get(i) {
                Some(role) => (*role).to_string(),
                None if inputs.len() == 1 => "input".to_string(),
                None => format!("input {i}"),
            },
            name: input.name(),
            what: input.describe(),
        })
        .collect();
    // Sizes stand under each other, and so do the element types.
    let width = list.iter().filter_map(|o| o.what.rfind(' ')).max().unwrap_or(0);
    for operand in &mut list {
        if let Some((shape, dtype)) = operand.what.rsplit_once(' ') {
            operand.what = format!("{shape:width$} {dtype}");
        }
    }
    list
}

/// Anomaly mode: the first result that is not finite, where all inputs still were, is an error.
fn watch(op: &dyn Op, inputs: &[&Tensor], values: &[&Value], outputs: &[Value], at: Place) -> Result<(), Error> {
    let Some(what) = outputs.iter().find_map(not_finite) else { return Ok(()) };
    let fault = if let Some(given) = values.iter().position(|value| not_finite(value).is_some()) {
        let given = inputs.get(given).and_then(|input| input.name()).unwrap_or(format!("input {given}"));
        Fault::new(ErrorKind::NonFinite, format!("the result has {what}"), format!("{given} already had: look before"))
    } else {
        Fault::new(ErrorKind::NonFinite, format!("the result has {what}"), "all inputs were finite: it arose here")
    };
    Err(Error::with(op.name(), fault, listed(op.roles(), inputs), at))
}

/// Which non-finite number a value holds, and where.
pub(super) fn not_finite(value: &Value) -> Option<String> {
    let (at, number) = on!(value.device(), first_not_finite(value)).ok()??;
    Some(format!("{number} at position {at}"))
}

impl Tensor {
    /// Shape and element type, as errors show them: `[2, 3] f32`, or `[2, 3] f32@cuda:0`.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Ok(value) if value.device() != Device::Cpu => {
                format!("{:?} {}@{}", value.dims(), value.dtype(), value.device())
            }
            Ok(value) => format!("{:?} {}", value.dims(), value.dtype()),
            Err(_) => "failed".to_string(),
        }
    }
    /// The name: of a parameter, of a tensor that [`named`](Tensor::named) got, or of a view of one.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3]).named("pixels");
    /// assert_eq!(x.transpose(0, 1).name().unwrap(), "pixels (transposed)");
    /// ```
    pub fn name(&self) -> Option<String> {
        self.history.name()
    }
}
