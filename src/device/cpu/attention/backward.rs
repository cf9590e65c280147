//! Backward: each task takes some keys past all queries, and computes every tile of weights once.
//!
//! With weights `P = softmax(scores)`, `O = P · V` and the arriving gradient `G`:
//!
//! ```text
//! dV = Pᵀ · G        dP = G · Vᵀ        dS = P ∘ (dP - rows of Σ G ∘ O)        dQ = scale · dS · K        dK = scale · dSᵀ · Q
//! ```
//!
//! Where there are few matrices, their keys are cut into several runs; each then has a `dQ` of its own, and these are
//! added in order.

use super::super::gemm::{Lines, Product};
use super::super::{parallel, simd};
use super::forward::first_fault;
use super::tile::{Float, Reweigh, Scores, Slopes, Tile};
use super::{Attended, Attending, AttentionGradients, KEYS, Mask, Matrices, QUERIES, Sizes};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cpu::Cpu;
use crate::device::cpu::copy::Shared;
use crate::error::Fault;
use crate::layout::Shape;

/// So many tasks there should be, where the sizes allow it.
const TASKS: usize = 8;
/// Elements of a sum of gradients that one part adds.
const PART: usize = 16 * 1024;

#[expect(clippy::too_many_arguments, reason = "the operands of attention")]
pub(super) fn gradients<T: Float>(
    query: &Value,
    key: &Value,
    value: &Value,
    mask: Option<&Value>,
    attended: &Attended,
    arriving: &Value,
    how: Attending,
    mask_too: bool,
) -> Result<AttentionGradients, Fault> {
    let sizes = Sizes::new(query, value)?;
    let scores = Scores { sizes, how, query: Matrices::new(query)?, key: Matrices::new(key)?, mask: Mask::new(mask)? };
    let arriving = Cpu.contiguous(arriving)?;
    let sums = row_products::<T>(&arriving, &attended.out, sizes.value_width)?;
    let back = Back {
        scores,
        values: Matrices::new(value)?,
        arriving: arriving.dense()?,
        maxima: attended.maxima.dense()?,
        shares: attended.shares.dense()?,
        sums: &sums,
    };
    let runs = TASKS.div_ceil(sizes.matrices.max(1)).min(sizes.keys.div_ceil(KEYS)).max(1);
    let run = sizes.keys.div_ceil(KEYS).div_ceil(runs) * KEYS;
    let runs = sizes.keys.div_ceil(run.max(1)).max(1);
    let all_queries = sizes.matrices * sizes.groups * sizes.queries;
    let zeros =
        |shape: Shape| Value::build::<T>(shape, |out| parallel::chunks(out, PART, 1, |_, chunk| chunk.fill(T::ZERO)));
    let mut for_query = zeros(Shape::new(&[runs, all_queries * sizes.width])?)?;
    let (mut for_key, mut for_value) = (zeros(*key.shape())?, zeros(*value.shape())?);
    let mut dims = query.dims()[..query.rank() - 1].to_vec();
    dims.push(sizes.keys);
    let mut for_mask = if mask_too { Some(zeros(Shape::new(&dims)?)?) } else { None };
    let unshared = || Fault::defect("a fresh value is shared");
    {
        let for_query = Shared::new(for_query.unshared::<T>().ok_or_else(unshared)?);
        let for_key = Shared::new(for_key.unshared::<T>().ok_or_else(unshared)?);
        let for_value = Shared::new(for_value.unshared::<T>().ok_or_else(unshared)?);
        let for_mask = match &mut for_mask {
            Some(mask) => Some(Shared::new(mask.unshared::<T>().ok_or_else(unshared)?)),
            None => None,
        };
        let cost = run.min(sizes.keys) * sizes.groups * sizes.queries * (sizes.width + sizes.value_width) / 4;
        first_fault(sizes.matrices * runs, cost, |task| {
            let (matrix, part) = (task / runs, task % runs);
            let keys = part * run..sizes.keys.min((part + 1) * run);
            let rows = sizes.groups * sizes.queries;
            // SAFETY: the queries of one matrix of keys in one run, and its keys `keys`, are this task's own; all lie
            // inside what was made above.
            let own = unsafe {
                Own {
                    query: slice(for_query, (part * all_queries + matrix * rows) * sizes.width, rows * sizes.width),
                    key: slice(for_key, (matrix * sizes.keys + keys.start) * sizes.width, keys.len() * sizes.width),
                    value: slice(
                        for_value,
                        (matrix * sizes.keys + keys.start) * sizes.value_width,
                        keys.len() * sizes.value_width,
                    ),
                }
            };
            back.keys(matrix, keys, own, for_mask)
        })?;
    }
    let for_query = Value::build::<T>(*query.shape(), |out| {
        let Ok(parts) = for_query.dense::<T>() else { return };
        parallel::chunks(out, PART, runs, |part, out| {
            let start = part * PART;
            out.copy_from_slice(&parts[start..][..out.len()]);
            for other in 1..runs {
                let other = &parts[other * all_queries * sizes.width + start..];
                out.iter_mut().zip(other).for_each(|(sum, &term)| *sum += term);
            }
        });
    })?;
    Ok(AttentionGradients { query: for_query, key: for_key, value: for_value, mask: for_mask })
}

/// # Safety
/// The elements lie inside what the pointer was made of, and nobody else has them.
unsafe fn slice<'a, T>(all: Shared<T>, start: usize, count: usize) -> &'a mut [T] {
    // SAFETY: passed on to the caller.
    unsafe { std::slice::from_raw_parts_mut(all.at(start as isize), count) }
}

/// `Σ G ∘ O` of every row.
fn row_products<T: Float>(arriving: &Value, out: &Value, width: usize) -> Result<Vec<T>, Fault> {
    let (arriving, out) = (arriving.dense::<T>()?, out.dense::<T>()?);
    let rows = out.len().checked_div(width).unwrap_or(0);
    let mut sums = vec![T::ZERO; rows];
    parallel::chunks(&mut sums, 64, 2 * width, |part, sums| {
        for (i, sum) in sums.iter_mut().enumerate() {
            let at = (part * 64 + i) * width;
            let products = arriving[at..at + width].iter().zip(&out[at..at + width]);
            *sum = T::narrow(products.map(|(&g, &o)| g.wide() * o.wide()).sum());
        }
    });
    Ok(sums)
}

/// What a task writes: its own queries' gradients, and those of its run of keys.
struct Own<'a, T> {
    query: &'a mut [T],
    key: &'a mut [T],
    value: &'a mut [T],
}

struct Back<'a, T> {
    scores: Scores<'a, T>,
    values: Matrices<'a, T>,
    arriving: &'a [T],
    maxima: &'a [T],
    shares: &'a [T],
    sums: &'a [T],
}

impl<T: Float> Back<'_, T> {
    /// A run of keys of one matrix, past all queries that see them.
    fn keys(
        &self,
        matrix: usize,
        keys: std::ops::Range<usize>,
        own: Own<'_, T>,
        for_mask: Option<Shared<T>>,
    ) -> Result<(), Fault> {
        let Sizes { groups, queries, width, value_width, .. } = self.scores.sizes;
        if value_width == 0 {
            return Ok(());
        }
        let (mut weights, mut slopes) = (vec![T::ZERO; QUERIES * KEYS], vec![T::ZERO; QUERIES * KEYS]);
        for start in keys.clone().step_by(KEYS) {
            let columns = start..keys.end.min(start + KEYS);
            let own_keys = (start - keys.start) * width..(columns.end - keys.start) * width;
            let own_values = (start - keys.start) * value_width..(columns.end - keys.start) * value_width;
            for group in 0..groups {
                for first in (0..queries).step_by(QUERIES) {
                    let rows = first..queries.min(first + QUERIES);
                    let tile = Tile { matrix: matrix * groups + group, rows, columns: columns.clone() };
                    if self.scores.hidden(&tile) {
                        continue;
                    }
                    self.slopes(&tile, &mut weights, &mut slopes, &mut own.value[own_values.clone()])?;
                    if let Some(mask) = for_mask {
                        self.keep_slopes(&tile, &slopes, mask);
                    }
                    let own_queries = (group * queries + first) * width..(group * queries + tile.rows.end) * width;
                    self.spread(&tile, &slopes, &mut own.query[own_queries], &mut own.key[own_keys.clone()])?;
                }
            }
        }
        Ok(())
    }

    /// `dS` of a tile, and its part of `dV`.
    fn slopes(&self, tile: &Tile, weights: &mut [T], slopes: &mut [T], for_value: &mut [T]) -> Result<(), Fault> {
        let Sizes { groups, queries, value_width, .. } = self.scores.sizes;
        let (rows, columns) = (tile.rows.len(), tile.columns.len());
        let at = tile.matrix * queries + tile.rows.start;
        let line = value_width as isize;
        self.scores.compute(tile, weights)?;
        let (maxima, shares) = (&self.maxima[at..at + rows], &self.shares[at..at + rows]);
        simd::run(Reweigh { scores: weights, columns, maxima, shares });
        let value = self.values.start(tile.matrix / groups, tile.columns.start);
        let arriving = Lines::new(self.arriving, at * value_width, [line, 1], [rows, value_width])?;
        let steps = [self.values.row, self.values.column];
        let values = Lines::new(self.values.data, value, steps, [columns, value_width])?;
        Product::new([rows, columns, value_width], &arriving, &values).alone().run(slopes, KEYS)?;
        let across = Lines::new(self.arriving, at * value_width, [1, line], [value_width, rows])?;
        let add_value = |weights: &[T], for_value: &mut [T]| {
            let turned = Lines::new(weights, 0, [1, KEYS as isize], [columns, rows])?;
            let product = Product::new([columns, value_width, rows], &turned, &across);
            product.accumulate(true).alone().run(for_value, value_width)
        };
        if self.scores.how.dropout.is_some() {
            let mut dropped = weights.to_vec();
            self.scores.drop_weights(tile, &mut dropped);
            self.scores.drop_weights(tile, slopes);
            add_value(&dropped, for_value)?;
        } else {
            add_value(weights, for_value)?;
        }
        simd::run(Slopes { slopes, weights, columns, sums: &self.sums[at..at + rows] });
        Ok(())
    }

    /// The parts of `dQ` and `dK` that come from a tile.
    fn spread(&self, tile: &Tile, slopes: &[T], for_query: &mut [T], for_key: &mut [T]) -> Result<(), Fault> {
        let Sizes { groups, width, .. } = self.scores.sizes;
        let (rows, columns) = (tile.rows.len(), tile.columns.len());
        let (query, key) = (&self.scores.query, &self.scores.key);
        let scale = T::narrow(self.scores.how.scale);
        let straight = Lines::new(slopes, 0, [KEYS as isize, 1], [rows, columns])?;
        let at = key.start(tile.matrix / groups, tile.columns.start);
        let keys = Lines::new(key.data, at, [key.column, key.row], [width, columns])?;
        let product = Product::new([rows, width, columns], &straight, &keys);
        product.alpha(scale).accumulate(true).alone().run(for_query, width)?;
        let turned = Lines::new(slopes, 0, [1, KEYS as isize], [columns, rows])?;
        let at = query.start(tile.matrix, tile.rows.start);
        let queries = Lines::new(query.data, at, [query.column, query.row], [width, rows])?;
        let product = Product::new([columns, width, rows], &turned, &queries);
        product.alpha(scale).accumulate(true).alone().run(for_key, width)
    }

    /// `dS` is the gradient of a mask that is added.
    fn keep_slopes(&self, tile: &Tile, slopes: &[T], mask: Shared<T>) {
        let Sizes { queries, keys, .. } = self.scores.sizes;
        for (i, row) in slopes.chunks(KEYS).take(tile.rows.len()).enumerate() {
            let at = (tile.matrix * queries + tile.rows.start + i) * keys + tile.columns.start;
            // SAFETY: this tile's scores lie inside the mask's gradient, and only this task has them.
            unsafe { slice(mask, at, tile.columns.len()) }.copy_from_slice(&row[..tile.columns.len()]);
        }
    }
}
