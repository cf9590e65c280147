//! From a recording and its way back to a trace.

use super::{At, Leaf, LeafKind, Moment, Operation, Origin, Trace, places};
use crate::device::Value;
use crate::error::Result;
use crate::tensor::{Gradients, Recording, Source, Tensor, Visit};

pub(super) fn trace(loss: &Tensor, recording: &Recording, gradients: Gradients, visits: Vec<Visit>) -> Result<Trace> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut operations: Vec<Operation> = Vec::with_capacity(recording.steps().len());
    for (number, step) in recording.steps().iter().enumerate() {
        let sources = recording.sources(number);
        let operands = sources.into_iter().zip(step.inputs());
        let operands = operands
            .map(|(source, value)| match source {
                Source::Step { step, output } => Origin::Operation { operation: step, result: output },
                Source::Leaf { id, name } => Origin::Leaf(leaf(&mut leaves, Some(id), name, value)),
                Source::Data => Origin::Leaf(leaf(&mut leaves, None, None, value)),
            })
            .collect();
        let label = step.op().label().map(|label| label.to_string());
        operations.push(Operation { step: step.clone(), label, group: 0, operands });
    }
    let moments = moments(visits, &operations, &mut leaves);
    let groups = places::arrange(&mut operations, &leaves);
    Ok(Trace { loss: loss.item()?, operations, leaves, moments, groups, updates: Vec::new(), gradients })
}

/// The place of a leaf in the list; a new one is added. Data is the same where it is the same part of the same memory.
fn leaf(leaves: &mut Vec<Leaf>, id: Option<u64>, name: Option<String>, value: &Value) -> usize {
    let same = |leaf: &Leaf| match id {
        Some(_) => leaf.id == id,
        None => leaf.id.is_none() && leaf.value.shares_memory(value) && leaf.value.layout() == value.layout(),
    };
    if let Some(found) = leaves.iter().position(same) {
        return found;
    }
    let number = leaves.iter().filter(|leaf| leaf.id.is_none()).count() + 1;
    let name = name.unwrap_or_else(|| match id {
        Some(_) => format!("leaf {}", leaves.len() + 1),
        None => format!("data {number}"),
    });
    leaves.push(Leaf { name, kind: LeafKind::Data, id, value: value.clone() });
    leaves.len() - 1
}

/// The way back. What arrives at a leaf shows that it is learnt.
fn moments(visits: Vec<Visit>, operations: &[Operation], leaves: &mut [Leaf]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::with_capacity(visits.len());
    for visit in visits {
        let at = match visit.at {
            Source::Step { step, .. } => At::Operation(step),
            Source::Leaf { id, .. } => match leaves.iter().position(|leaf| leaf.id == Some(id)) {
                Some(leaf) => {
                    leaves[leaf].kind = LeafKind::Learnt;
                    At::Leaf(leaf)
                }
                None => continue,
            },
            // It was computed before the trace began.
            Source::Data => continue,
        };
        let mut parts = Vec::new();
        for earlier in &moments {
            let At::Operation(from) = earlier.at else { continue };
            for (operand, _) in &earlier.passed {
                let reaches = match operations[from].operands.get(*operand) {
                    Some(Origin::Operation { operation, .. }) => at == At::Operation(*operation),
                    Some(Origin::Leaf(leaf)) => at == At::Leaf(*leaf),
                    None => false,
                };
                if reaches {
                    parts.push((from, *operand));
                }
            }
        }
        moments.push(Moment { at, arrived: visit.arrived, parts, passed: visit.passed });
    }
    moments
}
