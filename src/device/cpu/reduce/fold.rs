//! One driver for every reduction: how blocks are cut, gathered, folded and put together.
//!
//! The sizes alone decide where a sum is cut and in which order its parts are added, so the result has the same bits
//! on any number of threads.

use super::plan::{Plan, Way};
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::layout::Element;
use std::ops::Range;

/// Numbers folded in one go where they lie side by side.
pub(super) const BLOCK: usize = 512;
/// Rows folded in one go.
pub(super) const ROWS: usize = 32;
/// The widest piece of a row folded in one go: its running results stay in the first-level cache.
pub(super) const WIDTH: usize = 1024;
/// The width of a gathered tile.
const TILE: usize = 64;
/// Elements that are worth a thread's while.
const PIECE: usize = 1 << 16;

/// A way to make one number of many. `block` and `rows` must be `#[inline(always)]`.
pub(super) trait Fold: Copy + Sync {
    /// What is folded.
    type Item: Element;
    /// Is it worth a copy for each instruction set? (Code has a budget.)
    const WIDE: bool = true;
    /// What is carried from block to block.
    type State: Copy + Send + Sync;
    /// Before anything was seen.
    fn empty(&self) -> Self::State;
    /// Takes in at most [`BLOCK`] numbers, the first of them number `position` of its reduction.
    fn block<const FUSED: bool>(&self, values: &[Self::Item], position: usize, state: &mut Self::State);
    /// Takes one number of each of at most [`ROWS`] rows into each of at most [`WIDTH`] states; every row has as many
    /// numbers as there are states.
    fn rows<const FUSED: bool>(&self, rows: &[&[Self::Item]], position: usize, states: &mut [Self::State]);
    /// Takes in what was folded of a later part.
    fn merge(&self, state: &mut Self::State, later: &Self::State);
}

/// Folds for every place of `out`, which lies in the order of the kept axes; `finish` makes the result of a state.
pub(super) fn fold_into<F: Fold, O: Send>(
    data: &[F::Item],
    plan: &Plan,
    fold: F,
    out: &mut [O],
    finish: impl Fn(F::State) -> O + Sync,
) {
    let Some((times, wide, last)) = plan.widened() else {
        return fold_plan(data, plan, fold, out, finish);
    };
    let width = out.len();
    let (mut total, mut states) = (vec![fold.empty(); width], vec![fold.empty(); width * times]);
    fold_plan(data, &last, fold, &mut total, |state| state);
    fold_plan(data, &wide, fold, &mut states, |state| state);
    for states in states.chunks(width) {
        for (total, state) in total.iter_mut().zip(states) {
            fold.merge(total, state);
        }
    }
    for (out, &state) in out.iter_mut().zip(&total) {
        *out = finish(state);
    }
}

fn fold_plan<F: Fold, O: Send>(
    data: &[F::Item],
    plan: &Plan,
    fold: F,
    out: &mut [O],
    finish: impl Fn(F::State) -> O + Sync,
) {
    let (outputs, folded) = (out.len(), plan.folded.count());
    if outputs == 0 {
        return;
    }
    let unit = if plan.way == Way::Columns { WIDTH } else { 1 };
    let tasks = outputs.div_ceil(unit);
    let cuts = if tasks >= 16 { 1 } else { (outputs * folded / PIECE).clamp(1, 64 / tasks).min(folded.max(1)) };
    let piece = |outputs: Range<usize>, folded: Range<usize>, take: &mut dyn FnMut(usize, &[F::State])| {
        run(Piece { data, plan, fold, outputs, folded, take });
    };
    if cuts == 1 {
        let chunk = (PIECE / 2 / folded.max(1)).next_multiple_of(unit).max(unit).max(1);
        parallel::chunks(out, chunk, folded, |index, out| {
            let first = index * chunk;
            piece(first..first + out.len(), 0..folded, &mut |at, states| {
                for (out, &state) in out[at - first..].iter_mut().zip(states) {
                    *out = finish(state);
                }
            });
        });
        return;
    }
    // Few results of long sums: every part of the folded axes has its own states, put together in order.
    let length = folded.div_ceil(cuts);
    let mut parts = vec![fold.empty(); outputs * cuts];
    parallel::chunks(&mut parts, outputs, length, |part, out| {
        let range = (part * length).min(folded)..((part + 1) * length).min(folded);
        piece(0..outputs, range, &mut |at, states| out[at..at + states.len()].copy_from_slice(states));
    });
    let (total, rest) = parts.split_at_mut(outputs);
    for part in rest.chunks(outputs) {
        for (state, later) in total.iter_mut().zip(part) {
            fold.merge(state, later);
        }
    }
    for (out, &state) in out.iter_mut().zip(total.iter()) {
        *out = finish(state);
    }
}

#[inline(never)]
fn run<F: Fold>(piece: Piece<'_, F>) {
    simd::run(piece)
}

/// A range of results over a range of what is folded, on one thread.
struct Piece<'a, F: Fold> {
    data: &'a [F::Item],
    plan: &'a Plan,
    fold: F,
    outputs: Range<usize>,
    folded: Range<usize>,
    take: &'a mut dyn FnMut(usize, &[F::State]),
}

impl<F: Fold> Kernel for Piece<'_, F> {
    type Output = ();
    const WIDEST: SimdLevel = match (F::WIDE, size_of::<F::Item>()) {
        (false, _) => SimdLevel::Portable,
        (true, 8) => SimdLevel::Avx2,
        (true, _) => SimdLevel::Avx512,
    };
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        match self.plan.way {
            Way::Rows => self.by_rows::<FUSED>(),
            Way::Columns | Way::Gathered => self.by_columns::<FUSED>(),
        }
    }
}

// Each way calls the fold from one place only: its loops are copied there for every kind of fold and number.
impl<F: Fold> Piece<'_, F> {
    #[inline(always)]
    fn by_rows<const FUSED: bool>(self) {
        let (data, fold, start) = (self.data, self.fold, self.plan.start);
        let (length, _) = self.plan.folded.inner();
        let mut outputs = self.plan.kept.walk(self.outputs.start);
        let mut buffer = [F::Item::default(); BLOCK];
        for output in self.outputs.clone() {
            let start = start + outputs.step();
            let mut state = fold.empty();
            let mut position = self.folded.start;
            let mut filled = 0;
            while position < self.folded.end {
                // The rest of this run of neighbours, or of the range.
                let run = (length - position % length).min(self.folded.end - position);
                let from = (start + self.plan.folded.offset(position)) as usize;
                let run = &data[from..from + run];
                let take = run.len().min(BLOCK - filled);
                position += take;
                let block = if filled == 0 && (take == BLOCK || position == self.folded.end) {
                    &run[..take]
                } else {
                    // Short runs are put side by side first: a block has a fixed price.
                    buffer[filled..filled + take].copy_from_slice(&run[..take]);
                    filled += take;
                    if filled < BLOCK && position < self.folded.end {
                        continue;
                    }
                    &buffer[..std::mem::take(&mut filled)]
                };
                fold.block::<FUSED>(block, position - block.len(), &mut state);
            }
            (self.take)(output, &[state]);
        }
    }

    #[inline(always)]
    fn by_columns<const FUSED: bool>(self) {
        let (data, fold, plan) = (self.data, self.fold, self.plan);
        let gathered = plan.way == Way::Gathered;
        let (width, _) = plan.kept.inner();
        let mut states = [fold.empty(); WIDTH];
        // Where neighbours do not lie side by side, tiles are gathered first.
        let mut tile = vec![F::Item::default(); if gathered { ROWS * TILE } else { 0 }];
        let mut columns = [0isize; TILE];
        let mut output = self.outputs.start;
        while output < self.outputs.end {
            let rest = self.outputs.end - output;
            let run = if gathered { rest.min(TILE) } else { rest.min(width - output % width).min(WIDTH) };
            if gathered {
                let mut walk = plan.kept.walk(output);
                columns[..run].iter_mut().for_each(|column| *column = plan.start + walk.step());
            }
            let start = plan.start + plan.kept.offset(output);
            let states = &mut states[..run];
            states.fill(fold.empty());
            let mut walk = plan.folded.walk(self.folded.start);
            let mut position = self.folded.start;
            while position < self.folded.end {
                let count = ROWS.min(self.folded.end - position);
                let mut rows: [&[F::Item]; ROWS] = [&[]; ROWS];
                if gathered {
                    for row in tile.chunks_mut(TILE).take(count) {
                        let offset = walk.step();
                        for (item, &column) in row.iter_mut().zip(&columns[..run]) {
                            *item = data[(column + offset) as usize];
                        }
                    }
                    for (row, tile) in rows.iter_mut().zip(tile.chunks(TILE)) {
                        *row = &tile[..run];
                    }
                } else {
                    for row in &mut rows[..count] {
                        let from = (start + walk.step()) as usize;
                        *row = &data[from..from + run];
                    }
                }
                fold.rows::<FUSED>(&rows[..count], position, states);
                position += count;
            }
            (self.take)(output, states);
            output += run;
        }
    }
}
