//! Forward mode: the derivative along one direction, carried with the computation.

use super::Tensor;
use super::backward::Walk;
use super::graph::{History, Node};
use super::op::{Call, Tensors, Wanted};
use super::own::undo_broadcast;
use super::scopes::with_modes;
use crate::device::Value;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::put_in_order;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

/// The value of `function` at `inputs`, and its derivative along `directions` (one for each input, of the same shape):
/// the product of the Jacobian and the direction, without the Jacobian.
///
/// ```
/// use chainrule::{Tensor, jvp};
/// let (x, along) = (Tensor::from([1.0, 2.0]), Tensor::from([1.0, 0.5]));
/// let (y, slope) = jvp(|x| &x[0] * &x[0], &[&x], &[&along])?;
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 4.0]);
/// assert_eq!(slope.to_vec::<f32>()?, [2.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn jvp(
    function: impl FnOnce(&[Tensor]) -> Tensor,
    inputs: &[&Tensor],
    directions: &[&Tensor],
) -> Result<(Tensor, Tensor)> {
    let at = Location::caller();
    let refuse = |fault| Error::with("jvp", fault, super::apply::operands_of(inputs), at);
    if inputs.len() != directions.len() {
        let what = format!("{} inputs have {} directions", inputs.len(), directions.len());
        return Err(refuse(Fault::value(what, "give one direction for each input")));
    }
    let mut tangents: HashMap<(u64, usize), Tensor> = HashMap::new();
    let mut leaves = Vec::with_capacity(inputs.len());
    for (input, direction) in inputs.iter().zip(directions) {
        let (value, along) = (input.value()?, direction.value()?);
        if value.shape() != along.shape() {
            let what = format!("an input has shape {:?}, its direction {:?}", value.dims(), along.dims());
            return Err(refuse(Fault::shape(what, "a direction has the shape of its input")));
        }
        let leaf = input.detach().variable().checked()?;
        if let Some((node, output)) = leaf.history().tracked() {
            tangents.insert((node.id, output), direction.detach().to_dtype(value.dtype()).checked()?);
        }
        leaves.push(leaf);
    }
    let result = with_modes(|modes| modes.recording = true, || function(&leaves));
    let value = result.value()?.clone();
    let Some((last, output)) = result.history().tracked() else {
        let zeros = Value::full_on(value.device(), *value.shape(), value.dtype(), 0.0).map_err(refuse)?;
        return Ok((result.detach(), Tensor::from_value(zeros)));
    };
    for node in oldest_first(last) {
        let along: Vec<Option<Tensor>> = node
            .edges()
            .iter()
            .map(|edge| edge.history.tracked().and_then(|(from, o)| tangents.get(&(from.id, o)).cloned()))
            .collect();
        if node.is_leaf() || along.iter().all(Option::is_none) {
            continue;
        }
        let saved = node.saved().clone().unwrap_or_default();
        let call = Call { node: &node, saved: &saved, recorded: true };
        for (output, tangent) in node.op().tangent(&along, &call).into_iter().enumerate() {
            tangents.insert((node.id, output), tangent.checked()?.detach());
        }
    }
    let slope = match tangents.remove(&(last.id, output)) {
        Some(slope) => slope,
        None => Tensor::from_value(Value::full_on(value.device(), *value.shape(), value.dtype(), 0.0).map_err(refuse)?),
    };
    Ok((result.detach(), slope))
}

/// Every node that leads to `last`, and itself, in the order they were computed.
fn oldest_first(last: &Arc<Node>) -> Vec<Arc<Node>> {
    let mut found: HashMap<u64, Arc<Node>> = HashMap::new();
    let mut open = vec![last.clone()];
    while let Some(node) = open.pop() {
        if found.contains_key(&node.id) {
            continue;
        }
        open.extend(node.edges().iter().filter_map(|edge| edge.history.tracked()).map(|(from, _)| from.clone()));
        found.insert(node.id, node);
    }
    let mut order: Vec<Arc<Node>> = found.into_values().collect();
    put_in_order(&mut order, &|a, b| a.id.cmp(&b.id));
    order
}

/// An operation's derivative along tangents, read off its gradient. The gradient is `Jᵀu`, linear in what arrives; the
/// gradient of `⟨Jᵀu, t⟩` with respect to `u` is `J t`.
pub(super) fn tangent_from_gradients(name: &'static str, tangents: &[Option<Tensor>], call: &Call<'_>) -> Tensors {
    let outcome = with_modes(
        |modes| modes.recording = true,
        || -> Result<Tensors> {
            let mut arriving = Tensors::new();
            let mut targets = Vec::new();
            for (shape, dtype) in call.node.results() {
                let zeros = Tensor::from_value(
                    Value::full_on(call.device(), *shape, *dtype, 0.0).map_err(|fault| call.error(fault))?,
                );
                let zeros = if dtype.is_float() { zeros.variable() } else { zeros };
                targets.push(zeros.history().tracked().map_or((0, 0), |(node, output)| (node.id, output)));
                arriving.push(zeros);
            }
            let moving = |which: usize| tangents.get(which).is_some_and(Option::is_some);
            let gradients = match super::backward::through_definition(call.node, &moving, &arriving, call)? {
                Some(gradients) => gradients,
                None => call.node.op().gradients(Wanted(&moving), &arriving, call),
            };
            let mut roots = Vec::new();
            for (which, (gradient, tangent)) in gradients.into_iter().zip(tangents).enumerate() {
                let (Some(gradient), Some(tangent)) = (gradient, tangent) else { continue };
                let gradient = undo_broadcast(gradient, call.shape(which)).checked()?;
                if !matches!(gradient.history(), History::Node { .. }) {
                    let help = "use reverse mode: backward() or gradients_of()";
                    let what = format!("{name} has no forward-mode derivative");
                    return Err(call.error(Fault::new(ErrorKind::Gradient, what, help)));
                }
                roots.push((gradient, tangent.clone()));
            }
            let roots: Vec<(&Tensor, Tensor)> =
                roots.iter().map(|(gradient, tangent)| (gradient, tangent.clone())).collect();
            let walk = Walk { targets: Some(&targets), recorded: false, keep: true, watch: None };
            let found = walk.from(&roots, call.node.location())?;
            let results = found.targets.into_iter().zip(call.node.results());
            results
                .map(|(slope, (shape, dtype))| match slope {
                    Some(slope) => Ok(slope),
                    None => Ok(Tensor::from_value(
                        Value::full_on(call.device(), *shape, *dtype, 0.0).map_err(|fault| call.error(fault))?,
                    )),
                })
                .collect()
        },
    );
    outcome.unwrap_or_else(|error| call.node.results().iter().map(|_| Tensor::failed(error.clone())).collect())
}
