//! One driver for every reduction: how blocks are cut, gathered, folded and put together.
//!
//! The sizes alone decide where a sum is cut and in which order its parts are added, so the result has the same bits
//! on any number of threads.

use super::plan::{Plan, Way};
use crate::device::cpu::simd::{self, Kernel, SimdLevel, prefetch_early};
use crate::device::cpu::{parallel, real};
use crate::layout::Element;
use std::ops::Range;

/// Numbers folded in one go where they lie side by side, as a rule.
pub(super) const BLOCK: usize = 512;
/// Rows folded in one go, as a rule.
pub(super) const ROWS: usize = 64;
/// The most of them.
pub(super) const MOST_ROWS: usize = 4 * ROWS;
/// The widest piece of a row folded in one go: its running results stay in the first-level cache.
pub(in crate::device::cpu) const WIDTH: usize = 1024;
/// The width of a gathered tile.
const TILE: usize = STRIP;
/// Elements that are worth a thread's while.
const PIECE: usize = 1 << 16;
/// Rows that are worth running results of their own, which must be put together in the end: so many, and twice what goes into one
/// call.
const APART: usize = 4 * ROWS;

/// A way to make one number of many. `block` and `rows` must be `#[inline(always)]`.
pub(super) trait Fold: Copy + Sync {
    /// What is folded.
    type Item: Element;
    /// Is it worth a copy for each instruction set? (Code has a budget.)
    const WIDE: bool = true;
    /// Has it a loop for rows that lie beside each other? Else columns are gathered and taken one by one. (Code has a budget.)
    const STRIPS: bool = true;
    /// Is that loop small where it is compiled for old processors?
    const PLAIN: bool = false;
    /// The most neighbours that [`block`](Fold::block) takes: more where a block has a high fixed price.
    const SPAN: usize = BLOCK;
    /// The most rows that [`rows`](Fold::rows) takes, at most [`MOST_ROWS`]: more where taking up and laying down states has
    /// a high price.
    const ROWS: usize = ROWS;
    /// What is carried from block to block.
    type State: Copy + Send + Sync;
    /// Before anything was seen.
    fn empty(&self) -> Self::State;
    /// Takes in at most [`SPAN`](Fold::SPAN) numbers, the first of them number `position` of its reduction, and asks for as many
    /// that come `ahead`.
    fn block<const FUSED: bool>(&self, values: &[Self::Item], position: usize, ahead: Ahead, state: &mut Self::State);
    /// Takes one number of each of at most [`ROWS`](Fold::ROWS) rows into each of at most [`WIDTH`] states; every row has as many
    /// numbers as there are states.
    fn rows<const FUSED: bool>(&self, rows: &[&[Self::Item]], position: usize, states: &mut [Self::State]);
    /// Takes in what was folded of a later part.
    fn merge(&self, state: &mut Self::State, later: &Self::State);
}

/// Columns that rows are taken in at a time: what is held of them stays in registers.
pub(super) const STRIP: usize = 64;

/// What is held of columns, [`WIDTH`] of each kind, and how rows come in: by [`by_fours`]. `four` must be `#[inline(always)]`
/// (which closures cannot be: their loops would be compiled for the narrowest instruction set) and compute in arrays of its
/// own (else the compiler fears that what it writes is what it reads).
pub(super) trait Columns<T> {
    /// Takes in a strip of four rows; the first of them is number `row`, the first column number `from`.
    fn four(&mut self, rows: [&[T; STRIP]; 4], row: usize, from: usize);
    /// The same of one row.
    fn one(&mut self, strip: &[T; STRIP], row: usize, from: usize);
}

/// A strip of what is held.
#[inline(always)]
pub(super) fn strip<T>(held: &mut [T; WIDTH], from: usize) -> &mut [T; STRIP] {
    &mut held.as_chunks_mut().0[from / STRIP]
}

/// The strip of a row that begins at column `from`; what it lacks is filled up in `room`.
#[inline(always)]
fn strip_of<'a, T: Copy>(row: &'a [T], from: usize, room: &'a mut [T; STRIP]) -> &'a [T; STRIP] {
    match row[from..].first_chunk() {
        Some(strip) => strip,
        None => {
            room[..row.len() - from].copy_from_slice(&row[from..]);
            room
        }
    }
}

/// Goes through rows by fours, so that what is held of their `width` columns is seldom moved; the rows left over follow.
///
/// Four rows side by side are four streams of memory, of which the processor foresees too little. So each strip of columns
/// asks for its share of the rows after the next four, in the order in which they lie: that is read as fast as a single stream.
#[inline(always)]
pub(super) fn by_fours<T: Element>(rows: &[&[T]], width: usize, held: &mut impl Columns<T>) {
    const LINE: usize = 64;
    let stride = match rows {
        [first, second, ..] => (second.as_ptr() as isize).wrapping_sub(first.as_ptr() as isize),
        _ => 0,
    };
    let mut room = [[T::default(); STRIP]; 4];
    let (fours, rest) = rows.as_chunks::<4>();
    for (number, rows) in fours.iter().enumerate() {
        let (mut row, mut ahead) = (0, 0);
        for from in (0..width).step_by(STRIP) {
            let later = rows[row & 3].as_ptr().wrapping_add(ahead).wrapping_byte_offset(8 * stride);
            for line in 0..4 * STRIP * size_of::<T>() / LINE {
                prefetch_early(later.wrapping_byte_add(line * LINE));
            }
            ahead += 4 * STRIP;
            if ahead >= width {
                (row, ahead) = (row + 1, ahead - width);
            }
            let [a, b, c, d] = &mut room;
            let strips = [
                strip_of(&rows[0][..width], from, a),
                strip_of(&rows[1][..width], from, b),
                strip_of(&rows[2][..width], from, c),
                strip_of(&rows[3][..width], from, d),
            ];
            held.four(strips, 4 * number, from);
        }
    }
    for (row, number) in rest.iter().zip(4 * fours.len()..) {
        for from in (0..width).step_by(STRIP) {
            held.one(strip_of(&row[..width], from, &mut room[0]), number, from);
        }
    }
}

/// Makes results of states.
pub(super) type Finish<'a, S, O> = &'a (dyn Fn(&[S], &mut [O]) + Sync);

/// A fold known by pointer: what walks memory is compiled once for folds of the same item and state.
trait Folding<I, S>: Sync {
    fn empty(&self) -> S;
    fn most_rows(&self) -> usize;
    /// Any number of neighbours into one state, the first of them number `position`.
    fn neighbours(&self, values: &[I], position: usize, state: &mut S);
    /// Lines of `length` neighbours, each into a state of its own.
    fn lines(&self, values: &[I], length: usize, states: &mut [S]);
    fn rows(&self, rows: &[&[I]], position: usize, states: &mut [S]);
    fn merge(&self, state: &mut S, later: &S);
}

impl<F: Fold> Folding<F::Item, F::State> for F {
    fn empty(&self) -> F::State {
        Fold::empty(self)
    }
    fn most_rows(&self) -> usize {
        if F::STRIPS { F::ROWS } else { ROWS }
    }
    fn neighbours(&self, values: &[F::Item], position: usize, state: &mut F::State) {
        let states = std::slice::from_mut(state);
        simd::run(Lines { fold: *self, values, length: values.len(), position, states });
    }
    fn lines(&self, values: &[F::Item], length: usize, states: &mut [F::State]) {
        simd::run(Lines { fold: *self, values, length, position: 0, states });
    }
    fn rows(&self, rows: &[&[F::Item]], position: usize, states: &mut [F::State]) {
        if const { F::STRIPS } {
            simd::run(Rows { fold: *self, rows, position, states });
        } else {
            one_by_one(self, rows, position, states);
        }
    }
    fn merge(&self, state: &mut F::State, later: &F::State) {
        Fold::merge(self, state, later);
    }
}

/// Columns of at most [`ROWS`] rows, gathered: as many at a time as a line of the cache holds.
fn one_by_one<I: Element, S>(fold: &dyn Folding<I, S>, rows: &[&[I]], position: usize, states: &mut [S]) {
    const LINE: usize = 8;
    let mut columns = [[I::default(); ROWS]; LINE];
    for (number, states) in states.chunks_mut(LINE).enumerate() {
        for (at, row) in rows.iter().enumerate() {
            for (column, &x) in columns.iter_mut().zip(&row[number * LINE..]) {
                column[at] = x;
            }
        }
        for (column, state) in columns.iter().zip(states) {
            fold.neighbours(&column[..rows.len()], position, state);
        }
    }
}

/// Folds for every place of `out`, which lies in the order of the kept axes; `finish` makes the results of states.
pub(super) fn fold_into<F: Fold, O: Send>(
    data: &[F::Item],
    plan: &Plan,
    fold: F,
    out: &mut [O],
    finish: Finish<'_, F::State, O>,
) {
    match plan.widened() {
        Some((times, wide, last)) => finish(&fold_wide(data, (times, &wide, &last), &fold, out.len()), out),
        None => fold_plan(data, plan, &fold, out, finish),
    }
}

/// Narrow rows, several of them taken as one.
fn fold_wide<I: Element, S: Copy + Send + Sync>(
    data: &[I],
    (times, wide, last): (usize, &Plan, &Plan),
    fold: &dyn Folding<I, S>,
    width: usize,
) -> Vec<S> {
    let (mut total, mut states) = (vec![fold.empty(); width], vec![fold.empty(); width * times]);
    for (plan, out) in [(last, &mut total), (wide, &mut states)] {
        fold_plan(data, plan, fold, out, &|states, out| out.copy_from_slice(states));
    }
    merge_all(fold, &mut total, &states);
    total
}

fn merge_all<I, S>(fold: &dyn Folding<I, S>, total: &mut [S], parts: &[S]) {
    for part in parts.chunks(total.len()) {
        for (state, later) in total.iter_mut().zip(part) {
            fold.merge(state, later);
        }
    }
}

fn fold_plan<I: Element, S: Copy + Send + Sync, O: Send>(
    data: &[I],
    plan: &Plan,
    fold: &dyn Folding<I, S>,
    out: &mut [O],
    finish: Finish<'_, S, O>,
) {
    let (outputs, folded) = (out.len(), plan.folded.count());
    if outputs == 0 {
        return;
    }
    let unit = if plan.way == Way::Columns { WIDTH } else { 1 };
    let tasks = outputs.div_ceil(unit);
    let apart = if plan.way == Way::Columns { APART.max(2 * fold.most_rows()) } else { 1 };
    let most = (folded / apart).max(1);
    let cuts = if tasks >= 16 { 1 } else { (outputs * folded / PIECE).clamp(1, 64 / tasks).min(most) };
    let piece = Piece { data, plan, fold };
    if cuts > 1 {
        return finish(&piece.in_parts(outputs, folded, cuts), out);
    }
    let chunk = (PIECE / 2 / folded.max(1)).next_multiple_of(unit).max(unit).max(1);
    parallel::chunks(out, chunk, folded, |index, out| {
        let first = index * chunk;
        piece.run(first..first + out.len(), 0..folded, &mut |at, states| {
            finish(states, &mut out[at - first..][..states.len()]);
        });
    });
}

/// Some lines of neighbours.
struct Lines<'a, F: Fold> {
    fold: F,
    values: &'a [F::Item],
    length: usize,
    position: usize,
    states: &'a mut [F::State],
}

/// Some rows.
struct Rows<'a, F: Fold> {
    fold: F,
    rows: &'a [&'a [F::Item]],
    position: usize,
    states: &'a mut [F::State],
}

/// Bytes of lines that may come from beyond the nearest cache.
const LONG: usize = 32 << 10;

/// How far ahead memory is asked for, in bytes: a processor foresees what is read in order, but anew in each page, and what folds
/// does too little for that to be hidden. Whoever computes much asks a few lines at a time on the way: of many at once all but a
/// dozen wait, and with them what is to be computed.
#[derive(Clone, Copy)]
pub(super) struct Ahead(usize);

impl Ahead {
    /// What is asked for is there already.
    pub(super) const NONE: Ahead = Ahead(0);
    const FAR: Ahead = Ahead(8 << 10);
    /// Asks for as much memory as some numbers take.
    #[inline(always)]
    pub(super) fn ask<T>(self, numbers: &[T]) {
        const LINE: usize = 64;
        for line in 0..size_of_val(numbers) / LINE {
            prefetch_early(numbers.as_ptr().wrapping_byte_add(self.0 + line * LINE));
        }
    }
}

const fn widest<F: Fold>() -> SimdLevel {
    if F::WIDE { real::widest::<F::Item>() } else { SimdLevel::Portable }
}

impl<F: Fold> Kernel for Lines<'_, F> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<F>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let ahead = if size_of_val(self.values) >= LONG { Ahead::FAR } else { Ahead::NONE };
        for (line, state) in self.values.chunks(self.length.max(1)).zip(self.states) {
            for (index, block) in line.chunks(F::SPAN).enumerate() {
                self.fold.block::<FUSED>(block, self.position + index * F::SPAN, ahead, state);
            }
        }
    }
}

impl<F: Fold> Kernel for Rows<'_, F> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<F>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        if const { simd::is_spare::<FUSED>() && !F::PLAIN } {
            for (rows, number) in self.rows.chunks(ROWS).zip(0..) {
                one_by_one(&self.fold, rows, self.position + number * ROWS, self.states);
            }
            return;
        }
        self.fold.rows::<FUSED>(self.rows, self.position, self.states);
    }
}

/// What is folded, with the folds' states. Only the innermost loops are compiled for each instruction set.
struct Piece<'a, I, S> {
    data: &'a [I],
    plan: &'a Plan,
    fold: &'a dyn Folding<I, S>,
}

impl<I: Element, S: Copy + Send + Sync> Piece<'_, I, S> {
    /// Few results of long sums: every part of the folded axes has its own states, put together in order.
    fn in_parts(&self, outputs: usize, folded: usize, cuts: usize) -> Vec<S> {
        let length = folded.div_ceil(cuts);
        let mut parts = vec![self.fold.empty(); outputs * cuts];
        parallel::chunks(&mut parts, outputs, length, |part, out| {
            let range = (part * length).min(folded)..((part + 1) * length).min(folded);
            self.run(0..outputs, range, &mut |at, states| out[at..at + states.len()].copy_from_slice(states));
        });
        let (total, rest) = parts.split_at_mut(outputs);
        merge_all(self.fold, total, rest);
        parts.truncate(outputs);
        parts
    }

    /// A range of results over a range of what is folded, on one thread.
    fn run(&self, outputs: Range<usize>, folded: Range<usize>, take: &mut dyn FnMut(usize, &[S])) {
        // Few results take up little: to clear room for many takes longer than to compute them.
        let (mut one, mut few, mut many);
        let states: &mut [S] = if outputs.len() == 1 {
            one = [self.fold.empty()];
            &mut one
        } else if self.plan.way == Way::Rows || outputs.len() <= STRIP {
            few = [self.fold.empty(); STRIP];
            &mut few
        } else {
            many = [self.fold.empty(); WIDTH];
            &mut many
        };
        let mut held = Held { fold: self.fold, states, take };
        Ground { data: self.data, plan: self.plan }.walk(outputs, folded, &mut held);
    }
}

/// The states of some results at a time, as they are seen by what walks memory: it is compiled for each element type, not
/// for each state.
trait Holding<I> {
    /// The most rows in one call.
    fn most_rows(&self) -> usize;
    /// The first `count` states begin anew.
    fn begin(&mut self, count: usize);
    /// Neighbours into the first state.
    fn neighbours(&mut self, values: &[I], position: usize);
    /// Lines of `length` neighbours, each into a state of its own.
    fn lines(&mut self, values: &[I], length: usize);
    /// Rows, each number of which goes into a state of its own.
    fn rows(&mut self, rows: &[&[I]], position: usize);
    /// The first `count` states are those of the results from `output` on.
    fn end(&mut self, output: usize, count: usize);
}

struct Held<'a, I, S> {
    fold: &'a dyn Folding<I, S>,
    states: &'a mut [S],
    take: &'a mut dyn FnMut(usize, &[S]),
}

impl<I, S: Copy> Holding<I> for Held<'_, I, S> {
    fn most_rows(&self) -> usize {
        self.fold.most_rows()
    }
    fn begin(&mut self, count: usize) {
        self.states[..count].fill(self.fold.empty());
    }
    fn neighbours(&mut self, values: &[I], position: usize) {
        self.fold.neighbours(values, position, &mut self.states[0]);
    }
    fn lines(&mut self, values: &[I], length: usize) {
        let count = values.len() / length.max(1);
        self.fold.lines(values, length, &mut self.states[..count]);
    }
    fn rows(&mut self, rows: &[&[I]], position: usize) {
        let count = rows.first().map_or(0, |row| row.len());
        self.fold.rows(rows, position, &mut self.states[..count]);
    }
    fn end(&mut self, output: usize, count: usize) {
        (self.take)(output, &self.states[..count]);
    }
}

/// Where numbers lie and how they are met.
struct Ground<'a, I> {
    data: &'a [I],
    plan: &'a Plan,
}

impl<I: Element> Ground<'_, I> {
    fn walk(&self, outputs: Range<usize>, folded: Range<usize>, held: &mut dyn Holding<I>) {
        match self.plan.way {
            Way::Rows => self.by_rows(outputs, folded, held),
            Way::Columns | Way::Gathered => self.by_columns(outputs, folded, held),
        }
    }

    fn by_rows(&self, outputs: Range<usize>, folded: Range<usize>, held: &mut dyn Holding<I>) {
        let &Ground { data, plan } = self;
        let (length, _) = plan.folded.inner();
        let (many, apart) = plan.kept.inner();
        if folded == (0..length) && apart == length as isize {
            return self.by_lines(outputs, (length, many), held);
        }
        let mut starts = plan.kept.walk(outputs.start);
        if plan.folded.count() == length {
            // One run for each result: nothing is put side by side, and no room cleared for it.
            for output in outputs {
                let from = (plan.start + starts.step()) as usize + folded.start;
                held.begin(1);
                if !folded.is_empty() {
                    held.neighbours(&data[from..from + folded.len()], folded.start);
                }
                held.end(output, 1);
            }
            return;
        }
        let mut buffer = [I::default(); BLOCK];
        for output in outputs {
            let start = plan.start + starts.step();
            held.begin(1);
            let mut position = folded.start;
            let mut filled = 0;
            while position < folded.end {
                // The rest of this run of neighbours, or of the range.
                let run = (length - position % length).min(folded.end - position);
                let from = (start + plan.folded.offset(position)) as usize;
                let run = &data[from..from + run];
                let whole = if position + run.len() == folded.end { run.len() } else { run.len() / BLOCK * BLOCK };
                let values = if filled == 0 && whole > 0 {
                    position += whole;
                    &run[..whole]
                } else {
                    // Short runs are put side by side first: a block has a fixed price.
                    let count = run.len().min(BLOCK - filled);
                    buffer[filled..filled + count].copy_from_slice(&run[..count]);
                    filled += count;
                    position += count;
                    if filled < BLOCK && position < folded.end {
                        continue;
                    }
                    &buffer[..std::mem::take(&mut filled)]
                };
                held.neighbours(values, position - values.len());
            }
            held.end(output, 1);
        }
    }

    /// Lines that follow each other in memory, `many` in a run: several in one call, which costs as much as a short line.
    fn by_lines(&self, outputs: Range<usize>, (length, many): (usize, usize), held: &mut dyn Holding<I>) {
        let &Ground { data, plan } = self;
        let mut output = outputs.start;
        while output < outputs.end {
            let run = (many - output % many).min(outputs.end - output).min(STRIP);
            let from = (plan.start + plan.kept.offset(output)) as usize;
            held.begin(run);
            held.lines(&data[from..from + run * length], length);
            held.end(output, run);
            output += run;
        }
    }

    // (Else the compiler sees whose states they are, and this is compiled for each of them after all.)
    #[inline(never)]
    fn by_columns(&self, outputs: Range<usize>, folded: Range<usize>, held: &mut dyn Holding<I>) {
        let &Ground { data, plan } = self;
        let gathered = plan.way == Way::Gathered;
        let (width, _) = plan.kept.inner();
        let most = if gathered { ROWS } else { held.most_rows() };
        // Where neighbours do not lie side by side, tiles are gathered first.
        let mut tile = vec![I::default(); if gathered { ROWS * TILE } else { 0 }];
        let mut columns = [0isize; TILE];
        let mut output = outputs.start;
        while output < outputs.end {
            let rest = outputs.end - output;
            let run = if gathered { rest.min(TILE) } else { rest.min(width - output % width).min(WIDTH) };
            if gathered {
                let mut walk = plan.kept.walk(output);
                columns[..run].iter_mut().for_each(|column| *column = plan.start + walk.step());
            }
            let start = plan.start + plan.kept.offset(output);
            held.begin(run);
            let mut walk = plan.folded.walk(folded.start);
            let mut position = folded.start;
            while position < folded.end {
                let count = most.min(folded.end - position);
                let (mut few, mut many): ([&[I]; ROWS], [&[I]; MOST_ROWS]);
                let rows = if count <= ROWS {
                    few = [&[]; ROWS];
                    &mut few[..count]
                } else {
                    many = [&[]; MOST_ROWS];
                    &mut many[..count]
                };
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
                    for row in &mut *rows {
                        let from = (start + walk.step()) as usize;
                        *row = &data[from..from + run];
                    }
                }
                held.rows(rows, position);
                position += count;
            }
            held.end(output, run);
            output += run;
        }
    }
}
