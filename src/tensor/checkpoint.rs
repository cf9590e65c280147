//! Memory for time: a block whose values are computed again when backward arrives.

use super::apply::perform;
use super::backward::Walk;
use super::graph::{History, Node};
use super::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted, one};
use super::own::identity;
use super::record::record;
use super::scopes::with_modes;
use super::{Tensor, apply_slice};
use crate::device::Value;
use crate::error::{Error, Fault, Result};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Runs a block whose intermediate values are not kept for backward but computed again when it arrives.
///
/// The block runs once and may borrow anything; what is remembered is its operations and the values at its edge. Random
/// operations remember their draw, so the second computation repeats the first.
///
/// ```
/// use chainrule::{Tensor, checkpoint};
/// let x = Tensor::from([0.5]).variable();
/// let y = checkpoint(|| x.sin().exp()).sum();
/// let slope = y.backward()?.of(&x)?.item()?;
/// assert!((slope - 0.5f64.cos() * 0.5f64.sin().exp()).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn checkpoint(block: impl FnOnce() -> Tensor) -> Tensor {
    let (result, recording) = record(block);
    let (Ok(value), Some((last, output))) = (result.value().cloned(), result.history().tracked()) else {
        return result;
    };
    let inside: HashMap<u64, usize> = recording.steps().iter().enumerate().map(|(i, step)| (step.node.id, i)).collect();
    let Some(&last) = inside.get(&last.id) else { return result };
    // Everything that comes from outside, each once: tracked tensors by their node, data as values.
    let mut edge: Vec<Tensor> = Vec::new();
    let mut known: HashMap<(u64, u32), usize> = HashMap::new();
    let mut steps = Vec::with_capacity(recording.steps().len());
    for step in &recording.steps()[..=last] {
        let mut operands = SmallVec::new();
        for (from, value) in step.node.edges().iter().zip(step.inputs()) {
            let operand = match &from.history {
                History::Node { node, output } => match inside.get(&node.id) {
                    Some(&step) => Operand::Step(step, *output as usize),
                    None => Operand::Outside(*known.entry((node.id, *output)).or_insert_with(|| {
                        edge.push(Tensor::with_history(value.clone(), from.history.clone()));
                        edge.len() - 1
                    })),
                },
                history => {
                    edge.push(Tensor::with_history(value.clone(), history.clone()));
                    Operand::Outside(edge.len() - 1)
                }
            };
            operands.push(operand);
        }
        step.node.saved().take();
        steps.push(Replay { node: step.node.clone(), operands });
    }
    let edge: Vec<&Tensor> = edge.iter().collect();
    apply_slice(Checkpoint { steps, result: (last, output), value: std::sync::Mutex::new(Some(value)) }, &edge)
}

enum Operand {
    Step(usize, usize),
    Outside(usize),
}

/// One operation to be done again.
struct Replay {
    node: Arc<Node>,
    operands: SmallVec<[Operand; 3]>,
}

struct Checkpoint {
    steps: Vec<Replay>,
    result: (usize, usize),
    /// The result that the block computed, taken by the first forward.
    value: std::sync::Mutex<Option<Value>>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkpoint ")?;
        f.debug_list().entries(self.steps.iter().map(|step| step.node.op())).finish()
    }
}

impl Checkpoint {
    /// Computes the block again, recording it, from the given tensors at its edge.
    /// (What autocast had cast was recorded.)
    fn replay(&self, edge: &[Tensor]) -> Result<Tensor> {
        with_modes(|modes| modes.autocast = None, || self.replay_steps(edge))
    }
    fn replay_steps(&self, edge: &[Tensor]) -> Result<Tensor> {
        let mut results: Vec<Tensors> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let operands: SmallVec<[&Tensor; 4]> = step
                .operands
                .iter()
                .map(|operand| match *operand {
                    Operand::Step(step, output) => &results[step][output],
                    Operand::Outside(which) => &edge[which],
                })
                .collect();
            let computed = perform(Again(step.node.clone()), &operands, step.node.location())?;
            drop(operands);
            results.push(computed);
        }
        Ok(results[self.result.0][self.result.1].clone())
    }
}

impl Op for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let value = self.value.lock().ok().and_then(|mut value| value.take());
        match value {
            Some(value) => one(value),
            // A checkpoint inside a checkpoint that is done again.
            None => {
                let edge: Vec<Tensor> = inputs.iter().map(|value| Tensor::from_value((*value).clone())).collect();
                let result = super::no_grad(|| self.replay(&edge)).and_then(|result| result.value().cloned());
                one(result.map_err(|error| Fault::new(error.kind(), error.what(), error.help()))?)
            }
        }
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let all = self.gradients(Wanted(&|i| i == which), arriving, call).into_iter().nth(which).flatten();
        all.unwrap_or_else(|| Tensor::failed(call.error(Fault::defect("a checkpoint gave no gradient"))))
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let outcome = (|| -> Result<InputGradients> {
            let mut edge = Vec::with_capacity(call.inputs());
            let mut targets = Vec::new();
            for which in 0..call.inputs() {
                let input = call.input(which);
                if !wanted.has(which) {
                    edge.push(input);
                    continue;
                }
                let input = if call.recorded() {
                    with_modes(|m| m.recording = true, || identity(&input))
                } else {
                    input.variable()
                };
                targets.push(input.history().tracked().map_or((0, 0), |(node, output)| (node.id, output)));
                edge.push(input);
            }
            let result = with_modes(|modes| modes.recording = true, || self.replay(&edge))?;
            let walk = Walk { targets: Some(&targets), recorded: call.recorded(), keep: call.recorded(), watch: None };
            let found = walk.from(&[(&result, arriving[0].clone())], std::panic::Location::caller())?;
            let mut found = found.targets.into_iter();
            Ok((0..call.inputs()).map(|which| if wanted.has(which) { found.next().flatten() } else { None }).collect())
        })();
        outcome.unwrap_or_else(|error: Error| (0..call.inputs()).map(|_| Some(Tensor::failed(error.clone()))).collect())
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "the block is computed again, and its own rules apply"
    }
}

/// An operation of a node, to be done again.
struct Again(Arc<Node>);

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.op().fmt(f)
    }
}

impl Op for Again {
    fn name(&self) -> &'static str {
        self.0.op().name()
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        self.0.op().forward(inputs, keep)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        self.0.op().gradient(which, arriving, call)
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        self.0.op().gradients(wanted, arriving, call)
    }
    fn saves(&self, which: usize) -> Saves {
        self.0.op().saves(which)
    }
    fn rule(&self, which: usize) -> &'static str {
        self.0.op().rule(which)
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        self.0.op().differentiable()
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        self.0.op().definition(inputs, call)
    }
    fn tangent(&self, tangents: &[Option<Tensor>], call: &Call<'_>) -> Tensors {
        self.0.op().tangent(tangents, call)
    }
    fn roles(&self) -> &'static [&'static str] {
        self.0.op().roles()
    }
    fn view(&self) -> Option<&'static str> {
        self.0.op().view()
    }
    fn label(&self) -> Option<Arc<str>> {
        self.0.op().label()
    }
}
