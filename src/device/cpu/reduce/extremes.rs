//! The greatest and the least number, and where it stands.

use super::fold::{BLOCK, Fold, WIDTH};
use super::sums::is_nan;
use crate::device::cpu::real::Real;
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

/// The greatest number (`GREATEST`) or the least; NaN where there is one.
#[derive(Clone, Copy)]
pub(super) struct Extreme<T, const GREATEST: bool>(pub(super) PhantomData<T>);

impl<T: Bounded, const GREATEST: bool> Extreme<T, GREATEST> {
    const WORST: T = if GREATEST { T::LEAST } else { T::GREATEST };
    /// The better of the two, the first where they are equal; a NaN is the best.
    #[inline(always)]
    fn better(held: T, x: T) -> T {
        if Self::is_better(held, x) { x } else { held }
    }
    /// Better than `held`, or NaN.
    #[inline(always)]
    fn is_better(held: T, x: T) -> bool {
        let beyond = if GREATEST { x > held } else { x < held };
        beyond | is_nan(x)
    }
}

impl<T: Bounded, const GREATEST: bool> Fold for Extreme<T, GREATEST> {
    type Item = T;
    const WIDE: bool = T::DTYPE.is_float();
    type State = T;
    fn empty(&self) -> T {
        Self::WORST
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut T) {
        let mut lanes = [Self::WORST; 32];
        let (blocks, rest) = values.as_chunks::<32>();
        for block in blocks {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane = Self::better(*lane, x);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane = Self::better(*lane, x);
        }
        *state = lanes.iter().fold(*state, |held, &x| Self::better(held, x));
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [T]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state = Self::better(*state, x);
            }
        }
    }
    fn merge(&self, state: &mut T, later: &T) {
        *state = Self::better(*state, *later);
    }
}

/// The greatest of some neighbours; NaN where there is one.
#[inline(always)]
pub(in crate::device::cpu) fn greatest_of<T: Bounded>(values: &[T]) -> T {
    let mut greatest = T::LEAST;
    Extreme::<T, true>(PhantomData).block::<false>(values, 0, &mut greatest);
    greatest
}

/// The extreme and the position of the first of its kind.
#[derive(Clone, Copy)]
pub(super) struct Place<T, const GREATEST: bool>(pub(super) PhantomData<T>);

impl<T: Bounded, const GREATEST: bool> Fold for Place<T, GREATEST> {
    type Item = T;
    const WIDE: bool = T::DTYPE.is_float();
    type State = (T, usize);
    fn empty(&self) -> (T, usize) {
        (Extreme::<T, GREATEST>::WORST, 0)
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], position: usize, state: &mut (T, usize)) {
        let fold = Extreme::<T, GREATEST>(PhantomData);
        let mut best = fold.empty();
        fold.block::<FUSED>(values, position, &mut best);
        // Only a block that has something better is searched.
        if Extreme::<T, GREATEST>::is_better(state.0, best) && !is_nan(state.0) {
            let first = values.iter().position(|&x| x == best || is_nan(x) && is_nan(best));
            *state = (best, position + first.unwrap_or(0));
        }
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], position: usize, states: &mut [(T, usize)]) {
        // Values and rows apart, so that both are compared and chosen in whole registers.
        let width = states.len();
        let (mut best, mut at) = ([T::default(); WIDTH], [u32::MAX; WIDTH]);
        let (best, at) = (&mut best[..width], &mut at[..width]);
        for (best, state) in best.iter_mut().zip(&*states) {
            *best = state.0;
        }
        for (number, row) in rows.iter().enumerate() {
            for ((best, at), &x) in best.iter_mut().zip(&mut *at).zip(*row) {
                let better = Extreme::<T, GREATEST>::is_better(*best, x) & !is_nan(*best);
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
    fn merge(&self, state: &mut (T, usize), later: &(T, usize)) {
        if Extreme::<T, GREATEST>::is_better(state.0, later.0) && !is_nan(state.0) {
            *state = *later;
        }
    }
}

/// Another fold, of the magnitudes.
#[derive(Clone, Copy)]
pub(super) struct OfMagnitude<F>(pub(super) F);

impl<T: Real, F: Fold<Item = T>> Fold for OfMagnitude<F> {
    type Item = T;
    const WIDE: bool = F::WIDE;
    type State = F::State;
    fn empty(&self) -> F::State {
        self.0.empty()
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], position: usize, state: &mut F::State) {
        let mut magnitudes = [T::ZERO; BLOCK];
        for (to, from) in magnitudes.iter_mut().zip(values) {
            *to = from.magnitude();
        }
        self.0.block::<FUSED>(&magnitudes[..values.len()], position, state);
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], position: usize, states: &mut [F::State]) {
        let mut magnitudes = [T::ZERO; WIDTH];
        for (number, row) in rows.iter().enumerate() {
            for (to, from) in magnitudes.iter_mut().zip(*row) {
                *to = from.magnitude();
            }
            self.0.rows::<FUSED>(&[&magnitudes[..row.len()]], position + number, states);
        }
    }
    fn merge(&self, state: &mut F::State, later: &F::State) {
        self.0.merge(state, later);
    }
}
