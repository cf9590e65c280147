//! The greatest and the least number, and where it stands.

use super::fold::{Fold, WIDTH};
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
    fn best(values: &[T]) -> T {
        let best = Self::best_known(values);
        // They lie in the nearest cache now.
        let any = values.iter().fold(false, |any, &x| any | is_nan(x));
        if any { values.iter().copied().find(|&x| is_nan(x)).unwrap_or(best) } else { best }
    }
    /// The best of those that are numbers.
    #[inline(always)]
    fn best_known(values: &[T]) -> T {
        // Without a thought of NaN this is one instruction for a register of numbers; as many run beside each other as
        // hide its latency.
        let mut lanes = [Self::WORST; 64];
        let (blocks, rest) = values.as_chunks::<64>();
        for block in blocks {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane = if Self::beyond(*lane, x) { x } else { *lane };
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane = if Self::beyond(*lane, x) { x } else { *lane };
        }
        let mut lanes = settled(&lanes);
        let mut width = 64;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                lanes[k] = if Self::beyond(lanes[k], lanes[k + width]) { lanes[k + width] } else { lanes[k] };
            }
        }
        lanes[0]
    }
    #[inline(always)]
    fn rows(rows: &[&[T]], states: &mut [T]) {
        let width = states.len();
        let (fours, rest) = rows.as_chunks::<4>();
        for [a, b, c, d] in fours {
            let (a, b, c, d) = (&a[..width], &b[..width], &c[..width], &d[..width]);
            for j in 0..width {
                let best = Self::better(Self::better(a[j], b[j]), Self::better(c[j], d[j]));
                states[j] = Self::better(states[j], best);
            }
        }
        for row in rest {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state = Self::better(*state, x);
            }
        }
    }
    /// Rows, with the number of the row that the best was in.
    #[inline(always)]
    fn places(rows: &[&[T]], position: usize, states: &mut [(T, usize)]) {
        // Values and rows apart, so that both are compared and chosen in whole registers.
        let width = states.len();
        let (mut best, mut at) = ([T::default(); WIDTH], [u32::MAX; WIDTH]);
        let (best, at) = (&mut best[..width], &mut at[..width]);
        for (best, state) in best.iter_mut().zip(&*states) {
            *best = state.0;
        }
        for (number, row) in rows.iter().enumerate() {
            for ((best, at), &x) in best.iter_mut().zip(&mut *at).zip(*row) {
                let better = Self::is_better(*best, x) & !is_nan(*best);
                *best = if better { x } else { *best };
                *at = if better { number as u32 } else { *at };
            }
        }
        for ((state, &best), &at) in states.iter_mut().zip(&*best).zip(&*at) {
            if at != u32::MAX {
                *state = (best, position + at as usize);
            }
        }
    }
}

impl<T: Bounded> Extreme<T> {
    #[inline(always)]
    fn best(self, values: &[T]) -> T {
        if self.greatest { Loop::<T, true>::best(values) } else { Loop::<T, false>::best(values) }
    }
    #[inline(always)]
    fn is_better(self, held: T, x: T) -> bool {
        if self.greatest { Loop::<T, true>::is_better(held, x) } else { Loop::<T, false>::is_better(held, x) }
    }
}

impl<T: Bounded> Fold for Extreme<T> {
    type Item = T;
    const WIDE: bool = T::DTYPE.is_float();
    type State = T;
    fn empty(&self) -> T {
        if self.greatest { T::LEAST } else { T::GREATEST }
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut T) {
        self.merge(state, &self.best(values));
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
    for (span, block) in values.chunks(SPAN).enumerate() {
        if block.iter().fold(false, |any, &x| any | is(x)) {
            return span * SPAN + block.iter().position(|&x| is(x)).unwrap_or(0);
        }
    }
    0
}

/// Into each of `greatest` the greatest number of its column.
#[inline(always)]
pub(super) fn greatest_of_rows<T: Bounded>(rows: &[&[T]], greatest: &mut [T]) {
    Loop::<T, true>::rows(rows, greatest);
}

/// The extreme and the position of the first of its kind.
#[derive(Clone, Copy)]
pub(super) struct Place<T>(pub(super) Extreme<T>);

impl<T: Bounded> Fold for Place<T> {
    type Item = T;
    const WIDE: bool = T::DTYPE.is_float();
    type State = (T, usize);
    fn empty(&self) -> (T, usize) {
        (self.0.empty(), 0)
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], position: usize, state: &mut (T, usize)) {
        let best = self.0.best(values);
        // Only a block that has something better is searched.
        if self.0.is_better(state.0, best) && !is_nan(state.0) {
            let first = if is_nan(best) { first_where(values, is_nan) } else { first_where(values, |x| x == best) };
            *state = (best, position + first);
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
