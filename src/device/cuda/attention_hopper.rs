//! Attention of 16-bit floats on compute capability 9.0, forward: `kernels/attention_hopper.cuh`. Operands are brought by copies of whole boxes, which
//! want dense rows, everything else in steps of 16 bytes.

use super::Cuda;
use super::attention::{Problem, matrices as matrices_of};
use super::driver::Boxes;
use super::launch::joined;
use super::matmul_hopper::GENERATION;
use super::module::{Source, source};
use super::transfer::address;
use crate::device::Value;
use crate::device::attention::{Attended, Attending};
use crate::error::Fault;
use crate::layout::DType;

const BF16: Source = source!("attention_bf16_hopper");
const F16: Source = source!("attention_f16_hopper");

/// Threads of a block.
const THREADS: usize = 384;
/// Queries of a tile, and keys.
const TILE: usize = 128;
/// Queries and keys, and twice the numbers of a row, from which on tiles are filled.
const FILLED: usize = 64;

/// How the matrices of an operand lie for copies of boxes.
pub(super) struct Lying {
    sizes: [usize; 4],
    steps: [usize; 3],
}

impl Lying {
    /// None where they do not lie so.
    pub(super) fn of(x: &Value) -> Option<Lying> {
        let (batch, [row, column]) = matrices_of(x).ok()?;
        let &[.., rows, width] = x.dims() else { return None };
        // A step along one axis that is not there is never taken.
        let [mut heads, mut batches] = [(1, row as i64); 2];
        match joined(&batch)[..] {
            [] => {}
            [inner] => heads = inner,
            [outer, inner] => (batches, heads) = (outer, inner),
            _ => return None,
        }
        let whole = |step: i64| step > 0 && step % 8 == 0 && step < 1 << 38;
        let steps = [row as i64, heads.1, batches.1];
        let fits = column == 1 && steps.into_iter().all(whole) && address(x).is_multiple_of(16);
        let sizes = [width, rows, heads.0 as usize, batches.0 as usize];
        fits.then_some(Lying { sizes, steps: steps.map(|step| step as usize) })
    }
    pub(super) fn boxes(&self, x: &Value, lines: usize) -> Boxes {
        Boxes {
            dtype: x.dtype(),
            rounded: false,
            sizes: self.sizes.map(|size| size as u64).into_iter().collect(),
            steps: self.steps.map(|step| step as u64 * 2).into_iter().collect(),
            lines: lines as u32,
        }
    }
    /// How many matrices are one batch.
    pub(super) fn heads(&self) -> i32 {
        self.sizes[2] as i32
    }
}

/// A kernel of this kind, and how its operands lie.
pub(super) struct Boxed {
    wide: usize,
    lying: [Lying; 3],
}

impl Boxed {
    /// If operands and sizes are for it.
    pub(super) fn of(cuda: Cuda, problem: &Problem<'_>, how: Attending) -> Option<Boxed> {
        let &Problem { query, key, value, queries, keys, width, value_width, .. } = problem;
        let widest = width.max(value_width);
        let filled = queries.min(keys) >= FILLED && width.min(value_width) >= FILLED / 2;
        if cuda.0.generation != GENERATION || !query.dtype().is_half() || !filled || !value_width.is_multiple_of(8) {
            return None;
        }
        if !hides_at_most(problem, how) {
            return None;
        }
        let wide = [64, 128].into_iter().find(|&wide| widest <= wide)?;
        let [Some(q), Some(k), Some(v)] = [query, key, value].map(Lying::of) else { return None };
        let matrices = problem.matrices.saturating_mul(problem.groups);
        (1..=i32::MAX as usize).contains(&matrices).then_some(Boxed { wide, lying: [q, k, v] })
    }
}

/// Is there no dropout, no mask but one that hides (by booleans), and a scale that can be taken behind the greatest score?
pub(super) fn hides_at_most(problem: &Problem<'_>, how: Attending) -> bool {
    let hides = problem.mask.as_ref().is_none_or(|mask| mask.dtype() == DType::Bool);
    hides && how.dropout.is_none() && how.scale as f32 > f32::MIN_POSITIVE
}

impl Cuda {
    /// Launches it: blocks stay, and go from tile to tile.
    pub(super) fn attend_boxes(
        self,
        problem: &Problem<'_>,
        boxed: &Boxed,
        into: &Attended,
        how: Attending,
    ) -> Result<(), Fault> {
        let source = if problem.query.dtype() == DType::BF16 { &BF16 } else { &F16 };
        let name = if problem.mask.is_some() { "attend_masked_hopper" } else { "attend_hopper" };
        let kernel = self.kernel(source, &format!("{name}_{}_{}", boxed.wide, problem.query.dtype()))?;
        let tiles = problem.queries.div_ceil(TILE);
        let matrices = problem.matrices * problem.groups;
        // Where there is more than one tile for each block, a long one and a short one in turn.
        let each = if how.causal && tiles * matrices > self.0.multiprocessors { 2 } else { 1 };
        let parts = matrices * tiles.div_ceil(each);
        let mut call = self.call(kernel).write(&into.out).write(&into.maxima).write(&into.shares);
        if let Some(mask) = &problem.mask {
            call = call.read(mask);
        }
        call = call.block(&problem.words);
        for lying in &boxed.lying {
            call = call.int(lying.heads());
        }
        call = call.int(each as i32).long(parts as i64);
        if let Some(mask) = &problem.mask {
            call = call.view(&matrices_of(mask)?.0);
        }
        for (lying, operand) in boxed.lying.iter().zip([problem.query, problem.key, problem.value]) {
            call = call.boxes(operand, &lying.boxes(operand, TILE));
        }
        // Queries, two stages of keys and three of values; lines of results for each warp; barriers.
        let shared = 6 * TILE * boxed.wide * 2 + 8 * 16 * boxed.wide * 2 + 8 * 14;
        call.grid([parts.min(self.0.multiprocessors), 1, 1], THREADS, shared)
    }
}
