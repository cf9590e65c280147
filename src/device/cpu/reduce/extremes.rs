//! The greatest and the least number, and where it stands.

use super::fold::{Ahead, Columns, Fold, MOST_ROWS, STRIP, WIDTH, by_fours, strip};
use super::sums::is_nan;
use crate::device::cpu::real::settled;
use crate::layout::Element;
use half::{bf16, f16};
use std::marker::PhantomData;

/// A type with a least and a greatest value.
pub(in crate::device::cpu) trait Bounded: Element {
    const LEAST: Self;
    const GREATEST: Self;
}

macro_rules! bounded {
    ($($t:ty: $least:expr, $greatest:expr;)*) => { $(
        impl Bounded for $t {
            const LEAST: $t = $least;
            const GREATEST: $t = $greatest;
        }
    )* };
}
bounded! {
    f64: f64::NEG_INFINITY, f64::INFINITY;
    f32: f32::NEG_INFINITY, f32::INFINITY;
    bf16: bf16::NEG_INFINITY, bf16::INFINITY;
    f16: f16::NEG_INFINITY, f16::INFINITY;
    i64: i64::MIN, i64::MAX;
    i32: i32::MIN, i32::MAX;
    u8: 0, 255;
    bool: false, true;
}

/// The greatest number or the least; NaN where there is one. Which of them is only asked outside of the loops.
#[derive(Clone, Copy)]
pub(super) struct Extreme<T> {
    pub(super) greatest: bool,
    pub(super) of: PhantomData<T>,
}

/// Loops for one of the two.
struct Loop<T, const GREATEST: bool>(PhantomData<T>);

impl<T: Bounded, const GREATEST: bool> Loop<T, GREATEST> {
    const WORST: T = if GREATEST { T::LEAST } else { T::GREATEST };
    /// Numbers of eight bytes are compared eight at a time, without a second way for those that are no NaN. (Code has a budget.)
    const BRIEF: bool = size_of::<T>() == 8;
    #[inline(always)]
    fn beyond(held: T, x: T) -> bool {
        if GREATEST { x > held } else { x < held }
    }
    /// Better than `held`, or NaN.
    #[inline(always)]
    fn is_better(held: T, x: T) -> bool {
        Self::beyond(held, x) | is_nan(x)
    }
    /// The better of the two, the first where they are equal; a NaN is the best.
    #[inline(always)]
    fn better(held: T, x: T) -> T {
        if Self::is_better(held, x) { x } else { held }
    }
    /// The best of some neighbours; NaN where there is one.
    #[inline(always)]
    fn best(values: &[T], ahead: Ahead) -> T {
        if const { Self::BRIEF } {
            return Self::best_by(values, Self::better);
        }
        let mut lanes = [Self::WORST; 64];
        // NaN leaves a mark: of two numbers at a time one comparison tells whether either is one.
        let mut marks = [T::LEAST; 32];
        let (blocks, rest) = values.as_chunks::<64>();
        for block in blocks {
            ahead.ask(block);
            Self::take(block, &mut lanes, &mut marks);
        }
        if !rest.is_empty() {
            Self::take(&Self::filled(rest), &mut lanes, &mut marks);
        }
        let mut any = false;
        for mark in settled(&marks) {
            any |= mark != T::LEAST;
        }
        let best = Self::best_of_64(&lanes);
        if any { values.iter().copied().find(|&x| is_nan(x)).unwrap_or(best) } else { best }
    }
    #[inline(always)]
    fn take(block: &[T; 64], lanes: &mut [T; 64], marks: &mut [T; 32]) {
        for k in 0..32 {
            let (a, b) = (block[k], block[k + 32]);
            lanes[k] = Self::farther(lanes[k], a);
            lanes[k + 32] = Self::farther(lanes[k + 32], b);
            marks[k] = if is_nan(a) | is_nan(b) { T::GREATEST } else { marks[k] };
        }
    }
    /// The best of some neighbours by a comparison.
    #[inline(always)]
    fn best_by(values: &[T], better: impl Fn(T, T) -> T) -> T {
        let mut lanes = [Self::WORST; 8];
        let (blocks, rest) = values.as_chunks::<8>();
        for block in blocks {
            for k in 0..8 {
                lanes[k] = better(lanes[k], block[k]);
            }
        }
        let best = rest.iter().fold(Self::WORST, |best, &x| better(best, x));
        lanes.into_iter().fold(best, better)
    }
    /// Less than a block, filled up with what is never the best.
    #[inline(always)]
    fn filled(rest: &[T]) -> [T; 64] {
        let mut block = [Self::WORST; 64];
        block[..rest.len()].copy_from_slice(rest);
        block
    }
    /// The best of those that are numbers.
    #[inline(always)]
    fn best_known(values: &[T]) -> T {
        if const { Self::BRIEF } {
            return Self::best_by(values, Self::farther);
        }
        // Without a thought of NaN this is one instruction for a register of numbers; as many run beside each other as
        // hide its latency.
        let mut lanes = [Self::WORST; 64];
        let (blocks, rest) = values.as_chunks::<64>();
        for block in blocks {
            Self::take_known(block, &mut lanes);
        }
        if !rest.is_empty() {
            Self::take_known(&Self::filled(rest), &mut lanes);
        }
        Self::best_of_64(&lanes)
    }
    #[inline(always)]
    fn take_known(block: &[T; 64], lanes: &mut [T; 64]) {
        // Read as a whole before anything is written: else the lanes are kept in memory, in case that they are the block.
        let block = *block;
        for k in 0..64 {
            lanes[k] = Self::farther(lanes[k], block[k]);
        }
    }
    #[inline(always)]
    fn farther(held: T, x: T) -> T {
        if Self::beyond(held, x) { x } else { held }
    }
    #[inline(always)]
    fn best_of_64(lanes: &[T; 64]) -> T {
        // To a register's width first, as they lie; what is laid out after that is read number by number.
        let mut narrow = [Self::WORST; 16];
        for k in 0..16 {
            let (a, b) = (Self::farther(lanes[k], lanes[k + 16]), Self::farther(lanes[k + 32], lanes[k + 48]));
            narrow[k] = Self::farther(a, b);
        }
        Self::best_of(&settled(&narrow))
    }
    #[inline(always)]
    fn best_of(narrow: &[T; 16]) -> T {
        let mut best = [narrow[0], narrow[1], narrow[2], narrow[3]];
        for four in &narrow.as_chunks::<4>().0[1..] {
            for (best, &x) in best.iter_mut().zip(four) {
                *best = Self::farther(*best, x);
            }
        }
        Self::farther(Self::farther(best[0], best[1]), Self::farther(best[2], best[3]))
    }
    /// The best of some neighbours and where the first of its kind stands; the first NaN where there is one.
    #[inline(always)]
    fn place_of<const FUSED: bool>(values: &[T], ahead: Ahead) -> (T, usize) {
        if !FUSED {
            // Of so few registers none is left for places.
            let best = Self::best(values, ahead);
            let place = first_where(values, |x| (x == best) | is_nan(x) & is_nan(best));
            return (values[place], place);
        }
        let mut held = Found { best: [Self::WORST; 16], at: [T::default(); 16], marks: [T::LEAST; 16] };
        let (blocks, rest) = values.as_chunks::<64>();
        for (block, number) in blocks.iter().zip(0..) {
            ahead.ask(block);
            held.take::<GREATEST>(block, number);
        }
        if !rest.is_empty() {
            held.take::<GREATEST>(&Self::filled(rest), blocks.len());
        }
        let (lanes, at) = (settled(&held.best), settled(&held.at));
        let best = Self::best_of(&lanes);
        let mut first = T::GREATEST;
        for k in 0..16 {
            let at = if lanes[k] == best { at[k] } else { T::GREATEST };
            first = if at < first { at } else { first };
        }
        let mut any = false;
        for mark in settled(&held.marks) {
            any |= mark != T::LEAST;
        }
        let place = if any {
            first_where(values, is_nan)
        } else {
            let from = first.to_i64() as usize * 64;
            let block = match values[from..].first_chunk() {
                Some(block) => *block,
                None => Self::filled(&values[from..]),
            };
            let mut place = u32::MAX;
            for (k, &x) in block.iter().enumerate() {
                place = place.min(if x == best { k as u32 } else { u32::MAX });
            }
            from + place as usize
        };
        (values[place], place)
    }
    #[inline(always)]
    fn rows(rows: &[&[T]], states: &mut [T]) {
        let mut held = Best::<T, GREATEST>([Self::WORST; WIDTH]);
        held.0[..states.len()].copy_from_slice(states);
        by_fours(rows, states.len(), &mut held);
        states.copy_from_slice(&held.0[..states.len()]);
    }
    /// The better of what is held and `x`, with the number of its row; what is held stays where it is NaN.
    #[inline(always)]
    fn place((held, at): (T, u32), x: T, row: u32) -> (T, u32) {
        let better = Self::is_better(held, x) & !is_nan(held);
        (if better { x } else { held }, if better { row } else { at })
    }
    /// Rows, with the number of the row that the best was in.
    #[inline(always)]
    fn places(rows: &[&[T]], position: usize, states: &mut [(T, usize)]) {
        // Values and rows apart, so that both are compared and chosen in whole registers.
        let mut held = Placed::<T, GREATEST> { best: [Self::WORST; WIDTH], at: [NOWHERE; WIDTH] };
        for (best, state) in held.best.iter_mut().zip(&*states) {
            *best = state.0;
        }
        by_fours(rows, states.len(), &mut held);
        for (column, (state, (best, at))) in states.iter_mut().zip(held.best.into_iter().zip(held.at)).enumerate() {
            // One of four rows from there on. Nothing branches: which columns are better and in which row nobody foresees.
            let first = if at == NOWHERE { 0 } else { at as usize };
            let (mut row, mut missed) = (first, !is_nan(best));
            for next in first..first + 3 {
                missed &= rows[next.min(rows.len() - 1)][column] != best;
                row += missed as usize;
            }
            *state = (best, if at == NOWHERE { state.1 } else { position + row });
        }
    }
}

/// The best so far of every sixteenth number, and in which block of 64 it was.
struct Found<T> {
    best: [T; 16],
    at: [T; 16],
    /// Not the least where a NaN was.
    marks: [T; 16],
}

impl<T: Bounded> Found<T> {
    #[inline(always)]
    fn take<const GREATEST: bool>(&mut self, block: &[T; 64], number: usize) {
        let farther = Loop::<T, GREATEST>::farther;
        let (block, number) = (*block, T::from_i64(number as i64));
        for k in 0..16 {
            let (a, b, c, d) = (block[k], block[k + 16], block[k + 32], block[k + 48]);
            let x = farther(farther(a, b), farther(c, d));
            let better = Loop::<T, GREATEST>::beyond(self.best[k], x);
            self.best[k] = farther(self.best[k], x);
            self.at[k] = if better { number } else { self.at[k] };
            let nan = is_nan(a) | is_nan(b) | (is_nan(c) | is_nan(d));
            self.marks[k] = if nan { T::GREATEST } else { self.marks[k] };
        }
    }
}

/// The best of each column.
struct Best<T, const GREATEST: bool>([T; WIDTH]);

impl<T: Bounded, const GREATEST: bool> Columns<T> for Best<T, GREATEST> {
    #[inline(always)]
    fn four(&mut self, [a, b, c, d]: [&[T; STRIP]; 4], _: usize, from: usize) {
        let held = strip(&mut self.0, from);
        let mut best = *held;
        if any_nan([a, b, c, d]) {
            let better = Loop::<T, GREATEST>::better;
            for j in 0..STRIP {
                best[j] = better(best[j], better(better(a[j], b[j]), better(c[j], d[j])));
            }
        } else {
            // Without a thought of NaN this is one instruction for a register of numbers; a NaN that is held stays.
            let farther = Loop::<T, GREATEST>::farther;
            for j in 0..STRIP {
                best[j] = farther(best[j], farther(farther(a[j], b[j]), farther(c[j], d[j])));
            }
        }
        *held = best;
    }
    #[inline(always)]
    fn one(&mut self, row: &[T; STRIP], _: usize, from: usize) {
        for (held, &x) in strip(&mut self.0, from).iter_mut().zip(row) {
            *held = Loop::<T, GREATEST>::better(*held, x);
        }
    }
}

/// No row was better than what was held before.
const NOWHERE: u32 = u32::MAX;

/// The best of each column, and the number of the row that it was in, or of the first of four rows: which of them is looked up
/// in the end. To keep account of the very row would take two operations more for each number.
struct Placed<T, const GREATEST: bool> {
    best: [T; WIDTH],
    at: [u32; WIDTH],
}

/// Is there a NaN in a strip of four rows?
#[inline(always)]
fn any_nan<T: Bounded>([a, b, c, d]: [&[T; STRIP]; 4]) -> bool {
    // Two numbers to a comparison, and few marks to look through in the end.
    let mut marks = [T::LEAST; STRIP / 4];
    for from in (0..STRIP).step_by(STRIP / 4) {
        for (k, mark) in marks.iter_mut().enumerate() {
            let j = from + k;
            let nan = is_nan(a[j]) | is_nan(b[j]) | (is_nan(c[j]) | is_nan(d[j]));
            *mark = if nan { T::GREATEST } else { *mark };
        }
    }
    let mut any = false;
    for mark in settled(&marks) {
        any |= mark != T::LEAST;
    }
    any
}

impl<T: Bounded, const GREATEST: bool> Columns<T> for Placed<T, GREATEST> {
    #[inline(always)]
    fn four(&mut self, rows: [&[T; STRIP]; 4], row: usize, from: usize) {
        let (held_best, held_at) = (strip(&mut self.best, from), strip(&mut self.at, from));
        let (mut best, mut at) = (*held_best, *held_at);
        if any_nan(rows) {
            for (x, row) in rows.iter().zip(row as u32..) {
                for j in 0..STRIP {
                    (best[j], at[j]) = Loop::<T, GREATEST>::place((best[j], at[j]), x[j], row);
                }
            }
        } else {
            let farther = Loop::<T, GREATEST>::farther;
            let [a, b, c, d] = rows;
            for j in 0..STRIP {
                let x = farther(farther(a[j], b[j]), farther(c[j], d[j]));
                let better = Loop::<T, GREATEST>::beyond(best[j], x);
                (best[j], at[j]) = (if better { x } else { best[j] }, if better { row as u32 } else { at[j] });
            }
        }
        (*held_best, *held_at) = (best, at);
    }
    #[inline(always)]
    fn one(&mut self, strip_of_row: &[T; STRIP], row: usize, from: usize) {
        let (best, at) = (strip(&mut self.best, from), strip(&mut self.at, from));
        for j in 0..STRIP {
            (best[j], at[j]) = Loop::<T, GREATEST>::place((best[j], at[j]), strip_of_row[j], row as u32);
        }
    }
}

impl<T: Bounded> Extreme<T> {
    #[inline(always)]
    fn best(self, values: &[T], ahead: Ahead) -> T {
        if self.greatest { Loop::<T, true>::best(values, ahead) } else { Loop::<T, false>::best(values, ahead) }
    }
    #[inline(always)]
    fn place_of<const FUSED: bool>(self, values: &[T], ahead: Ahead) -> (T, usize) {
        if self.greatest {
            Loop::<T, true>::place_of::<FUSED>(values, ahead)
        } else {
            Loop::<T, false>::place_of::<FUSED>(values, ahead)
        }
    }
    #[inline(always)]
    fn is_better(self, held: T, x: T) -> bool {
        if self.greatest { Loop::<T, true>::is_better(held, x) } else { Loop::<T, false>::is_better(held, x) }
    }
}

impl<T: Bounded> Fold for Extreme<T> {
    type Item = T;
    const WIDE: bool = T::DTYPE.is_float();
    const STRIPS: bool = size_of::<T>() < 8;
    const SPAN: usize = 4096;
    type State = T;
    fn empty(&self) -> T {
        if self.greatest { T::LEAST } else { T::GREATEST }
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, ahead: Ahead, state: &mut T) {
        self.merge(state, &self.best(values, ahead));
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [T]) {
        if self.greatest { Loop::<T, true>::rows(rows, states) } else { Loop::<T, false>::rows(rows, states) }
    }
    #[inline(always)]
    fn merge(&self, state: &mut T, later: &T) {
        if self.is_better(*state, *later) {
            *state = *later;
        }
    }
}

/// The greatest of those neighbours that are numbers.
#[inline(always)]
pub(in crate::device::cpu) fn greatest_known_of<T: Bounded>(values: &[T]) -> T {
    Loop::<T, true>::best_known(values)
}

/// Where the first number stands that `is` holds for, or 0. Many are asked at once: a search one by one takes as long as
/// all the rest.
#[inline(always)]
fn first_where<T: Copy>(values: &[T], is: impl Fn(T) -> bool) -> usize {
    const SPAN: usize = 64;
    if const { size_of::<T>() == 8 } {
        return values.iter().position(|&x| is(x)).unwrap_or(0);
    }
    let (blocks, rest) = values.as_chunks::<SPAN>();
    for (number, block) in blocks.iter().enumerate() {
        let mut any = false;
        for &x in block {
            any |= is(x);
        }
        if any {
            return number * SPAN + block.iter().position(|&x| is(x)).unwrap_or(0);
        }
    }
    rest.iter().position(|&x| is(x)).map_or(0, |first| blocks.len() * SPAN + first)
}

/// Into each of `greatest` the greatest number of its column.
#[inline(always)]
pub(in crate::device::cpu) fn greatest_of_rows<T: Bounded>(rows: &[&[T]], greatest: &mut [T]) {
    Loop::<T, true>::rows(rows, greatest);
}

/// The extreme and the position of the first of its kind.
#[derive(Clone, Copy)]
pub(super) struct Place<T>(pub(super) Extreme<T>);

impl<T: Bounded> Fold for Place<T> {
    type Item = T;
    const WIDE: bool = T::DTYPE.is_float();
    const STRIPS: bool = size_of::<T>() < 8;
    const SPAN: usize = 4096;
    const ROWS: usize = MOST_ROWS;
    type State = (T, usize);
    fn empty(&self) -> (T, usize) {
        (self.0.empty(), 0)
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], position: usize, ahead: Ahead, state: &mut (T, usize)) {
        let (best, place) = self.0.place_of::<FUSED>(values, ahead);
        if self.0.is_better(state.0, best) && !is_nan(state.0) {
            *state = (best, position + place);
        }
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], position: usize, states: &mut [(T, usize)]) {
        if self.0.greatest {
            Loop::<T, true>::places(rows, position, states)
        } else {
            Loop::<T, false>::places(rows, position, states)
        }
    }
    fn merge(&self, state: &mut (T, usize), later: &(T, usize)) {
        if self.0.is_better(state.0, later.0) && !is_nan(state.0) {
            *state = *later;
        }
    }
}
