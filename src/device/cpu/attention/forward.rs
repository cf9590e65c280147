//! Forward: each task takes some queries past all keys.

use super::super::gemm::{Lines, Product};
use super::super::{parallel, simd};
use super::tile::{Float, Running, Scores, Tile, Weigh};
use super::{Attended, Attending, KEYS, Mask, Matrices, QUERIES, Sizes};
use crate::device::Value;
use crate::device::cpu::copy::Shared;
use crate::error::Fault;
use crate::layout::Shape;
use std::sync::Mutex;

pub(super) fn attend<T: Float>(
    query: &Value,
    key: &Value,
    value: &Value,
    mask: Option<&Value>,
    how: Attending,
) -> Result<Attended, Fault> {
    let sizes = Sizes::new(query, value)?;
    let scores = Scores { sizes, how, query: Matrices::new(query)?, key: Matrices::new(key)?, mask: Mask::new(mask)? };
    let values = Matrices::<T>::new(value)?;
    let rows = &query.dims()[..query.rank() - 1];
    let (mut maxima, mut shares) =
        (Value::build::<T>(Shape::new(rows)?, |_| ())?, Value::build::<T>(Shape::new(rows)?, |_| ())?);
    let mut dims = rows.to_vec();
    dims.push(sizes.value_width);
    let unshared = || Fault::defect("a fresh value is shared");
    let out = {
        let maxima = Shared::new(maxima.unshared::<T>().ok_or_else(unshared)?);
        let shares = Shared::new(shares.unshared::<T>().ok_or_else(unshared)?);
        Value::try_build::<T>(Shape::new(&dims)?, |out| {
            let out = Shared::new(out);
            let blocks = sizes.queries.div_ceil(QUERIES);
            let seen = if how.causal { sizes.keys.min(sizes.queries) / 2 + 1 } else { sizes.keys };
            let cost = QUERIES.min(sizes.queries) * seen * (sizes.width + sizes.value_width) / 8;
            first_fault(sizes.matrices * sizes.groups * blocks, cost, |task| {
                let (matrix, first) = (task / blocks, task % blocks * QUERIES);
                let count = QUERIES.min(sizes.queries - first);
                let at = (matrix * sizes.queries + first) as isize;
                // SAFETY: rows `first .. first + count` of this matrix lie inside all three, and are this task's own.
                let (out, maxima, shares) = unsafe {
                    (
                        std::slice::from_raw_parts_mut(
                            out.at(at * sizes.value_width as isize),
                            count * sizes.value_width,
                        ),
                        std::slice::from_raw_parts_mut(maxima.at(at), count),
                        std::slice::from_raw_parts_mut(shares.at(at), count),
                    )
                };
                block(&scores, &values, matrix, first, out, maxima, shares)
            })
        })?
    };
    Ok(Attended { out, maxima, shares })
}

/// Runs tasks on all cores; the fault of the first that failed.
pub(super) fn first_fault(
    tasks: usize,
    cost: usize,
    work: impl Fn(usize) -> Result<(), Fault> + Sync,
) -> Result<(), Fault> {
    let failed = Mutex::new(None::<(usize, Fault)>);
    parallel::parts(tasks, cost, |task| {
        if let Err(fault) = work(task) {
            let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if failed.as_ref().is_none_or(|(first, _)| task < *first) {
                *failed = Some((task, fault));
            }
        }
    });
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}

/// Some queries of one matrix, past all keys that they see.
fn block<T: Float>(
    scores: &Scores<'_, T>,
    values: &Matrices<'_, T>,
    matrix: usize,
    first: usize,
    out: &mut [T],
    maxima: &mut [T],
    shares: &mut [T],
) -> Result<(), Fault> {
    let Sizes { keys, groups, value_width, .. } = scores.sizes;
    let rows = maxima.len();
    let mut weights = vec![T::ZERO; rows * KEYS];
    let mut running = Running::new();
    out.fill(T::ZERO);
    for start in (0..keys).step_by(KEYS) {
        let tile = Tile { matrix, rows: first..first + rows, columns: start..keys.min(start + KEYS) };
        if scores.hidden(&tile) {
            break;
        }
        let columns = tile.columns.len();
        scores.compute(&tile, &mut weights)?;
        simd::run(Weigh { scores: &mut weights, columns, running: &mut running, out, width: value_width, rows });
        scores.drop_weights(&tile, &mut weights);
        let left = Lines::new(&weights, 0, [KEYS as isize, 1], [rows, columns])?;
        let at = values.start(matrix / groups, start);
        let right = Lines::new(values.data, at, [values.column, values.row], [value_width, columns])?;
        Product::new([rows, value_width, columns], &left, &right).accumulate(true).alone().run(out, value_width)?;
    }
    for i in 0..rows {
        let empty = running.sums[i] == 0.0;
        maxima[i] = if empty { T::ZERO } else { running.maxima[i] };
        shares[i] = if empty { T::ZERO } else { T::narrow(1.0 / running.sums[i]) };
        for out in &mut out[i * value_width..][..value_width] {
            *out *= shares[i];
        }
    }
    Ok(())
}
