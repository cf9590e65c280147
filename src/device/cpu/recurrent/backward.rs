//! Backward: blocks of sequences through all steps the other way, then the products over all steps.

use super::super::gemm::{Lines, Product};
use super::super::{Cpu, parallel, simd};
use super::forward::{empty, rows};
use super::{Block, Float, Problem, Rows, Sizes, Uses, Weight, step};
use crate::device::Value;
use crate::device::recurrent::{Gates, RecurrentGradients, RecurrentWanted};
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::layout::Shape;

/// What forward kept and what arrived, as slices.
struct Read<'a, T> {
    /// The hidden state before each step.
    before: &'a [T],
    /// The gates; the results, where there is one gate.
    gates: &'a [T],
    more: Vec<&'a [T]>,
    output: &'a [T],
    hidden: &'a [T],
    cell: &'a [T],
}

/// What the steps write.
struct Written<T> {
    /// The slopes of the gates' sums; those for the hidden state, where they differ.
    slopes: Rows<T>,
    inner: Option<Rows<T>>,
    /// The gradients of the states as they go along.
    hidden: Rows<T>,
    cell: Option<Rows<T>>,
    /// With a projection: the gradients that arrive at it, and what it was applied to.
    projected: Option<[Rows<T>; 2]>,
}

pub(super) fn run<T: Float>(
    p: &Problem<'_, T>,
    kept: &[&Value],
    arriving: [&Value; 3],
    wanted: RecurrentWanted,
) -> Result<RecurrentGradients, Fault> {
    let Sizes { steps, batch, input, hidden, out, gates } = p.sizes;
    let all = p.sizes.rows();
    let [before, values, more @ ..] = kept else { return Err(Fault::defect("nothing was kept for the way back")) };
    let read = Read {
        before: before.dense()?,
        gates: values.dense()?,
        more: more.iter().map(|value| value.dense()).collect::<Result<_, Fault>>()?,
        output: arriving[0].dense()?,
        hidden: arriving[1].dense()?,
        cell: arriving[2].dense()?,
    };
    let mut slopes = empty::<T>(&[all, gates])?;
    let mut inner = if p.kind == Gates::Gru { Some(empty::<T>(&[all, gates])?) } else { None };
    let mut for_hidden = empty::<T>(&[batch, out])?;
    let mut for_cell = p.cell.map(|_| empty::<T>(&[batch, hidden])).transpose()?;
    let mut projected = match p.projection {
        Some(_) => Some([empty::<T>(&[all, out])?, empty::<T>(&[all, hidden])?]),
        None => None,
    };
    let uses = Uses { products: steps * p.sizes.blocks(), at_rest: false };
    let weight = Weight::new(p.weight_hidden, [out, gates], [1, out], uses)?;
    let projection = match p.projection {
        Some(projection) => Some(Weight::new(projection, [hidden, out], [1, hidden], uses)?),
        None => None,
    };
    {
        let written = Written {
            slopes: rows(&mut slopes)?,
            inner: inner.as_mut().map(rows).transpose()?,
            hidden: rows(&mut for_hidden)?,
            cell: for_cell.as_mut().map(rows).transpose()?,
            projected: match &mut projected {
                Some([arriving, raw]) => Some([rows(arriving)?, rows(raw)?]),
                None => None,
            },
        };
        parallel::collect(p.sizes.blocks(), p.sizes.cost(), |index| {
            back(p, &read, &written, p.block(index), &weight, projection.as_ref())
        })
        .into_iter()
        .collect::<Result<(), Fault>>()?;
    }
    let inner = inner.as_ref().unwrap_or(&slopes);
    let mut gradients = RecurrentGradients { hidden: Some(for_hidden), cell: for_cell, ..Default::default() };
    if wanted.input {
        let right = Lines::new(p.weight_input, 0, [1, input as isize], [input, gates])?;
        gradients.input = Some(Value::try_build::<T>(Shape::new(&[steps, batch, input])?, |to| {
            let left = Lines::new(slopes.dense::<T>()?, 0, [gates as isize, 1], [all, gates])?;
            Product::new([all, input, gates], &left, &right).run(to, input)
        })?);
    }
    if wanted.weight_input {
        gradients.weight_input = Some(over_steps::<T>(slopes.dense()?, gates, p.input, input, all)?);
    }
    if wanted.weight_hidden {
        gradients.weight_hidden = Some(over_steps(inner.dense()?, gates, read.before, out, all)?);
    }
    if wanted.biases {
        let for_input = Cpu.sum(&slopes, &[0], false)?;
        let for_hidden = if p.kind == Gates::Gru { Cpu.sum(inner, &[0], false)? } else { for_input.clone() };
        gradients.biases = Some([for_input, for_hidden]);
    }
    if let (true, Some([arriving, raw])) = (wanted.projection, &projected) {
        gradients.projection = Some(over_steps::<T>(arriving.dense()?, out, raw.dense()?, hidden, all)?);
    }
    Ok(gradients)
}

/// `leftᵀ · right`, both with a row for each sequence of each step.
fn over_steps<T: Float>(left: &[T], m: usize, right: &[T], n: usize, all: usize) -> Result<Value, Fault> {
    let left = Lines::new(left, 0, [1, m as isize], [m, all])?;
    let right = Lines::new(right, 0, [1, n as isize], [n, all])?;
    Value::try_build::<T>(Shape::new(&[m, n])?, |to| Product::new([m, n, all], &left, &right).run(to, n))
}

/// One block of sequences through all steps, backward.
fn back<T: Float>(
    p: &Problem<'_, T>,
    read: &Read<'_, T>,
    written: &Written<T>,
    block: Block<'_>,
    weight: &Weight<'_, T>,
    projection: Option<&Weight<'_, T>>,
) -> Result<(), Fault> {
    let Sizes { batch, hidden, out, gates: width, .. } = p.sizes;
    let Block { first, count, .. } = block;
    // SAFETY: the sequences of a block are those of one task.
    let state = unsafe { written.hidden.get(first, count) };
    state.copy_from_slice(&read.hidden[first * out..][..count * out]);
    // SAFETY: as above.
    let mut cell = written.cell.as_ref().map(|cell| unsafe { cell.get(first, count) });
    if let Some(cell) = &mut cell {
        cell.copy_from_slice(&read.cell[first * hidden..][..count * hidden]);
    }
    let mut met = vec![T::ZERO; count * out];
    let mut unprojected = vec![T::ZERO; if projection.is_some() { count * hidden } else { 0 }];
    for step in p.order().rev() {
        let at = step * batch + first;
        let awake = block.awake(step);
        let before = &read.before[at * out..][..count * out];
        let more = |which: usize| read.more.get(which).map_or(&[][..], |all| &all[at * hidden..][..count * hidden]);
        // SAFETY: as above, of every step.
        let slopes = unsafe { written.slopes.get(at, count) };
        // SAFETY: as above.
        let mut inner = written.inner.as_ref().map(|inner| unsafe { inner.get(at, count) });
        // SAFETY: as above.
        let projected =
            written.projected.as_ref().map(|both| both.each_ref().map(|rows| unsafe { rows.get(at, count) }));
        let (mut arrived, mut raw) = projected.map_or((None, None), |[arrived, raw]| (Some(arrived), Some(raw)));
        for row in (0..count).filter(|&row| row >= awake.count || !awake.has(row)) {
            slopes[row * width..][..width].fill(T::ZERO);
            if let Some(inner) = &mut inner {
                inner[row * width..][..width].fill(T::ZERO);
            }
            if let (Some(arrived), Some(raw)) = (&mut arrived, &mut raw) {
                arrived[row * out..][..out].fill(T::ZERO);
                raw[row * hidden..][..hidden].fill(T::ZERO);
            }
        }
        let arriving = &read.output[at * out..][..count * out];
        let total = arrived.unwrap_or(&mut met);
        simd::run(step::Meet { awake, width: out, arriving, state, total });
        let gates = |width: usize| &read.gates[at * width..][..count * width];
        match (p.kind, &mut cell) {
            (Gates::Lstm, Some(cell)) => {
                let total: &[T] = match projection {
                    Some(projection) => {
                        projection.multiply(awake.count, total, &mut unprojected, false)?;
                        &unprojected
                    }
                    None => total,
                };
                let (before, tangent) = (more(0), more(1));
                let gates = gates(width);
                simd::run(step::LstmBack { awake, hidden, gates, before, tangent, total, cell, slopes, raw });
            }
            (Gates::Gru, _) => {
                let Some(inner_slopes) = &mut inner else { return Err(Fault::defect("no room for inner slopes")) };
                let (gates, inner) = (gates(width), more(0));
                simd::run(step::GruBack { awake, hidden, gates, inner, before, total, state, slopes, inner_slopes });
            }
            _ => {
                let output = gates(hidden);
                simd::run(step::PlainBack { awake, hidden, kind: p.kind, output, total, slopes });
            }
        }
        weight.multiply(awake.count, inner.as_deref().unwrap_or(slopes), state, true)?;
    }
    Ok(())
}
