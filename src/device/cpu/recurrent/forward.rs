//! Forward: the products with all inputs, then blocks of sequences through all steps.

use super::super::gemm::{Epilogue, Lines, Nothing, PerColumn, Product};
use super::super::{parallel, simd};
use super::{Block, Float, Problem, Rows, Sizes, Uses, Weight, step};
use crate::device::Value;
use crate::device::recurrent::{Gates, Recurred};
use crate::error::Fault;
use crate::layout::Shape;

/// What the steps write, all sequences beside each other.
struct Written<T> {
    gates: Rows<T>,
    output: Rows<T>,
    /// The states as they go along; at the end those at the end.
    hidden: Rows<T>,
    cell: Option<Rows<T>>,
    /// What is kept for the way back: the hidden state before each step, and what the kind of gates needs.
    before: Option<Rows<T>>,
    more: Vec<Rows<T>>,
}

/// A value whose numbers are still to be written.
pub(super) fn empty<T: Float>(sizes: &[usize]) -> Result<Value, Fault> {
    Value::build::<T>(Shape::new(sizes)?, |_| ())
}

pub(super) fn rows<T: Float>(value: &mut Value) -> Result<Rows<T>, Fault> {
    let width = value.dims().last().copied().unwrap_or(1);
    Ok(Rows::new(value.unshared::<T>().ok_or_else(|| Fault::defect("a fresh value is shared"))?, width))
}

pub(super) fn run<T: Float>(p: &Problem<'_, T>, keep: bool) -> Result<Recurred, Fault> {
    let Sizes { steps, batch, hidden, out, gates, .. } = p.sizes;
    let mut all_gates = sums(p)?;
    let mut output = empty::<T>(&[steps, batch, out])?;
    let mut end = empty::<T>(&[batch, out])?;
    let mut cell = p.cell.map(|_| empty::<T>(&[batch, hidden])).transpose()?;
    let mut before = if keep { Some(empty::<T>(&[p.sizes.rows(), out])?) } else { None };
    let more = match p.kind {
        Gates::Lstm if keep => 2,
        Gates::Gru if keep => 1,
        _ => 0,
    };
    let mut more = (0..more).map(|_| empty::<T>(&[p.sizes.rows(), hidden])).collect::<Result<Vec<Value>, Fault>>()?;
    let uses = Uses { products: steps * p.sizes.blocks(), at_rest: !keep };
    let weight = Weight::new(p.weight_hidden, [gates, out], [out, 1], uses)?;
    let projection = match p.projection {
        Some(projection) => Some(Weight::new(projection, [out, hidden], [hidden, 1], uses)?),
        None => None,
    };
    let written = Written {
        gates: rows(&mut all_gates)?,
        output: rows(&mut output)?,
        hidden: rows(&mut end)?,
        cell: cell.as_mut().map(rows).transpose()?,
        before: before.as_mut().map(rows).transpose()?,
        more: more.iter_mut().map(rows).collect::<Result<_, Fault>>()?,
    };
    parallel::collect(p.sizes.blocks(), p.sizes.cost(), |index| {
        through(p, &written, p.block(index), &weight, projection.as_ref())
    })
    .into_iter()
    .collect::<Result<(), Fault>>()?;
    drop(written);
    let mut kept = Vec::new();
    if let Some(before) = before {
        kept.push(before);
        kept.push(if matches!(p.kind, Gates::Lstm | Gates::Gru) { all_gates } else { output.clone() });
        kept.extend(more);
    }
    Ok(Recurred { output, hidden: end, cell, kept })
}

/// What input and biases give to the gates of all steps.
fn sums<T: Float>(p: &Problem<'_, T>) -> Result<Value, Fault> {
    let Sizes { input, gates, .. } = p.sizes;
    let rows = p.sizes.rows();
    // The reset gate of a GRU acts on the bias of the hidden state, too; so that one is added in the steps.
    let bias = p.biases.map(|[for_input, for_hidden]| match p.kind {
        Gates::Gru => for_input.to_vec(),
        _ => for_input.iter().zip(for_hidden).map(|(&a, &b)| a + b).collect::<Vec<T>>(),
    });
    let per_column = bias.as_deref().map(PerColumn);
    let epilogue: &dyn Epilogue<T> = per_column.as_ref().map_or(&Nothing, |bias| bias);
    Value::try_build::<T>(Shape::new(&[rows, gates])?, |to| {
        let left = Lines::new(p.input, 0, [input as isize, 1], [rows, input])?;
        let right = Lines::new(p.weight_input, 0, [input as isize, 1], [gates, input])?;
        Product::new([rows, gates, input], &left, &right).epilogue(epilogue).run(to, gates)
    })
}

/// One block of sequences through all steps.
fn through<T: Float>(
    p: &Problem<'_, T>,
    written: &Written<T>,
    block: Block<'_>,
    weight: &Weight<'_, T>,
    projection: Option<&Weight<'_, T>>,
) -> Result<(), Fault> {
    let Sizes { batch, hidden, out, .. } = p.sizes;
    let Block { first, count, .. } = block;
    // SAFETY: the sequences of a block are those of one task.
    let state = unsafe { written.hidden.get(first, count) };
    state.copy_from_slice(&p.hidden[first * out..][..count * out]);
    // SAFETY: as above.
    let mut cell = written.cell.as_ref().map(|cell| unsafe { cell.get(first, count) });
    if let (Some(cell), Some(start)) = (&mut cell, p.cell) {
        cell.copy_from_slice(&start[first * hidden..][..count * hidden]);
    }
    let none = Vec::new;
    let mut raw = if projection.is_some() { vec![T::ZERO; count * hidden] } else { none() };
    let mut projected = if projection.is_some() { vec![T::ZERO; count * out] } else { none() };
    let mut inner = if p.kind == Gates::Gru { vec![T::ZERO; count * 3 * hidden] } else { none() };
    let zeros = if p.kind == Gates::Gru { vec![T::ZERO; 3 * hidden] } else { none() };
    for step in p.order() {
        let at = step * batch + first;
        let awake = block.awake(step);
        // SAFETY: as above, of every step.
        let (gates, output) = unsafe { (written.gates.get(at, count), written.output.get(at, count)) };
        if let Some(before) = &written.before {
            // SAFETY: as above.
            unsafe { before.get(at, count) }.copy_from_slice(state);
        }
        // SAFETY: as above.
        let more = |which: usize| written.more.get(which).map(|rows| unsafe { rows.get(at, count) });
        match (p.kind, &mut cell) {
            (Gates::Lstm, Some(cell)) => {
                weight.multiply(awake.count, state, gates, true)?;
                let kept = match (more(0), more(1)) {
                    (Some(before), Some(tangent)) => Some([before, tangent]),
                    _ => None,
                };
                let state = if projection.is_some() { &mut raw[..] } else { &mut *state };
                simd::run(step::Lstm { awake, hidden, gates, cell, state, kept });
            }
            (Gates::Gru, _) => {
                weight.multiply(awake.count, state, &mut inner, false)?;
                let bias = p.biases.map_or(&zeros[..], |[_, for_hidden]| for_hidden);
                simd::run(step::Gru { awake, hidden, gates, inner: &mut inner, bias, state, kept: more(0) });
            }
            _ => {
                weight.multiply(awake.count, state, gates, true)?;
                simd::run(step::Plain { awake, hidden, kind: p.kind, gates, state });
            }
        }
        if let Some(projection) = projection {
            projection.multiply(awake.count, &raw, &mut projected, false)?;
        }
        for row in 0..count {
            let place = row * out..(row + 1) * out;
            if row < awake.count && awake.has(row) {
                if projection.is_some() {
                    state[place.clone()].copy_from_slice(&projected[place.clone()]);
                }
                output[place.clone()].copy_from_slice(&state[place]);
            } else {
                output[place].fill(T::ZERO);
            }
        }
    }
    Ok(())
}
