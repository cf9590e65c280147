//! How an operation is applied: compute, check, and remember what backward will need.

use super::Tensor;
use super::graph::{History, Node, Place, Record};
use super::op::{Keep, Op, Outputs, Tensors};
use super::record;
use super::scopes::{Modes, modes};
use crate::device::accumulate::Accumulate;
use crate::device::{Value, on, profile};
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
    let mut values: [&Value; N] = match inputs.first() {
        Some(Tensor { value: Ok(first), .. }) => [first; N],
        Some(Tensor { value: Err(error), .. }) => return Tensor::failed(error.clone()),
        None => return Tensor::failed(no_inputs(&op, at)),
    };
    for (slot, input) in values.iter_mut().zip(inputs) {
        match &input.value {
            Ok(value) => *slot = value,
            Err(error) => return Tensor::failed(error.clone()),
        }
    }
    single(perform(op, &inputs, &values, at), at)
}

/// Applies an operation of one result to any number of tensors.
#[track_caller]
pub fn apply_slice<O: Op>(op: O, inputs: &[&Tensor]) -> Tensor {
    let at = Location::caller();
    single(gather(op, inputs, at), at)
}

/// Applies an operation of `M` results.
#[track_caller]
pub fn apply_many<O: Op, const M: usize>(op: O, inputs: &[&Tensor]) -> [Tensor; M] {
    let at = Location::caller();
    let name = op.name();
    let outcome = gather(op, inputs, at).and_then(|results| {
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
    gather(op, inputs, Location::caller())
}

fn single(outcome: Result<Tensors, Error>, at: Place) -> Tensor {
    match outcome {
        Ok(mut results) => match results.pop() {
            Some(tensor) => tensor,
            None => Tensor::failed(Error::with("apply", Fault::defect("no result came"), Vec::new(), at)),
        },
        Err(error) => Tensor::failed(error),
    }
}

fn gather<O: Op>(op: O, inputs: &[&Tensor], at: Place) -> Result<Tensors, Error> {
    let values = values_of(&op, inputs, at)?;
    perform(op, inputs, &values, at)
}

fn values_of<'a>(op: &dyn Op, inputs: &[&'a Tensor], at: Place) -> Result<SmallVec<[&'a Value; 4]>, Error> {
    let mut values = SmallVec::new();
    for input in inputs {
        values.push(input.value.as_ref().map_err(Error::clone)?);
    }
    if values.is_empty() { Err(no_inputs(op, at)) } else { Ok(values) }
}

#[cold]
fn no_inputs(op: &dyn Op, at: Place) -> Error {
    Error::with(op.name(), Fault::value("there are no tensors to work on", "give at least one"), Vec::new(), at)
}

/// Computes and records. No input has failed; `at` is the caller's place. All but the making of the node is done in
/// functions that know no type of operation, so that their code exists once.
#[inline]
pub(super) fn perform<O: Op>(op: O, inputs: &[&Tensor], values: &[&Value], at: Place) -> Result<Tensors, Error> {
    match compute(&op, inputs, values, at)? {
        Computed::Finished(results) => Ok(results),
        Computed::Recorded(record, outputs) => {
            let node: Arc<Node> = Arc::new(Node::new(record, op));
            Ok(results_of(&node, values, outputs))
        }
    }
}

/// What has been computed, and whether there is something to remember. (It lives for a moment: no box.)
#[allow(clippy::large_enum_variant)]
enum Computed {
    Finished(Tensors),
    Recorded(Record, Outputs),
}

fn compute(op: &dyn Op, inputs: &[&Tensor], values: &[&Value], at: Place) -> Result<Computed, Error> {
    let modes = modes();
    let tracked = inputs.iter().any(|input| input.history.tracked().is_some());
    let differentiable = if tracked { op.differentiable() } else { Ok(()) };
    let wants = tracked && modes.recording && differentiable.is_ok();
    let mut keep = Keep::new(wants);
    let outputs = match forward(op, values, &mut keep) {
        Ok(outputs) => outputs,
        Err(fault) => return Err(Error::with(op.name(), fault, listed(op.roles(), inputs), at)),
    };
    if modes.anomalies {
        watch(op, inputs, values, &outputs, at)?;
    }
    if wants || modes.everything {
        return Ok(Computed::Recorded(Record::new(op, inputs, &outputs, keep, wants, at), outputs));
    }
    let cut = lost_history(op, inputs, tracked, differentiable, &modes, at);
    if matches!(cut, History::Frozen(_)) {
        return Ok(Computed::Recorded(Record::new(op, inputs, &outputs, Keep::new(false), false, at), outputs));
    }
    let mut results = Tensors::new();
    for value in outputs {
        // Integers and booleans had no gradient to lose, but they can say which operation has none.
        let tells = value.dtype().is_float() || differentiable.is_err();
        let history = if tells { cut.clone() } else { History::None };
        results.push(Tensor::with_history(value, history));
    }
    Ok(Computed::Finished(results))
}

/// The results of a node: with their history, or as views that only have a name.
fn results_of(node: &Arc<Node>, values: &[&Value], outputs: Outputs) -> Tensors {
    let everything = modes().everything;
    if everything {
        record::write_down(node, values, &outputs);
    }
    let mut results = Tensors::new();
    for (output, value) in outputs.into_iter().enumerate() {
        let history = if node.wants || everything {
            History::Node { node: node.clone(), output: output as u32 }
        } else {
            History::Frozen(node.clone())
        };
        results.push(Tensor::with_history(value, history));
    }
    results
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

/// The history of a result that is not recorded.
fn lost_history(
    op: &dyn Op,
    inputs: &[&Tensor],
    tracked: bool,
    differentiable: Result<(), &'static str>,
    modes: &Modes,
    at: Place,
) -> History {
    if op.view().is_some() && inputs.first().is_some_and(|input| input.history.is_named()) {
        // Only a name is remembered: `weight (transposed)`.
        return inputs
            .first()
            .and_then(|input| input.history.node())
            .map_or(History::None, |node| History::Frozen(node.clone()));
    }
    match differentiable {
        Err(reason) => return History::NoGradient(Arc::new((reason, at))),
        Ok(()) if tracked && !modes.recording => return History::NoGrad(at),
        Ok(()) => {}
    }
    for input in inputs.iter().filter(|input| input.value.as_ref().is_ok_and(|value| value.dtype().is_float())) {
        match &input.history {
            History::None | History::Node { .. } | History::Frozen(_) => {}
            cut => return cut.clone(),
        }
    }
    History::None
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
    /// Shape and element type, as errors show them: `[2, 3] f32`.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
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
