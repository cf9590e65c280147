//! Sums of terms (of the numbers, their magnitudes, squares, powers), products and counts.

use super::fold::{Ahead, Columns, Fold, STRIP, WIDTH, by_fours, strip};
use crate::device::cpu::real::{Real, sum_beside};
use crate::device::cpu::simd::is_spare;
use std::marker::PhantomData;

/// What is added up for each number.
#[derive(Clone, Copy)]
pub(super) enum Term {
    /// x.
    Plain,
    /// x, or 0 where it is NaN.
    Known,
    /// |x|.
    Magnitude,
    /// x².
    Square,
}

/// Is it no number? (Integers always are one.)
#[inline(always)]
#[allow(clippy::eq_op)]
pub(in crate::device::cpu) fn is_nan<T: PartialEq>(x: T) -> bool {
    x != x
}

/// The sum of terms of floats: short chains in the element type, their totals in f64. Which term is only asked outside of
/// the loops.
#[derive(Clone, Copy)]
pub(super) struct Sum<T>(pub(super) Term, pub(super) PhantomData<T>);

/// A running sum for each column, of what `of` makes of the numbers.
struct Lanes<T, F> {
    lanes: [T; WIDTH],
    of: F,
}

impl<T: Real, F: Fn(T) -> T> Columns<T> for Lanes<T, F> {
    #[inline(always)]
    fn four(&mut self, [a, b, c, d]: [&[T; STRIP]; 4], _: usize, from: usize) {
        let (held, of) = (strip(&mut self.lanes, from), &self.of);
        let mut lanes = *held;
        for j in 0..STRIP {
            lanes[j] += (of(a[j]) + of(b[j])) + (of(c[j]) + of(d[j]));
        }
        *held = lanes;
    }
    #[inline(always)]
    fn one(&mut self, row: &[T; STRIP], _: usize, from: usize) {
        for (lane, &x) in strip(&mut self.lanes, from).iter_mut().zip(row) {
            *lane += (self.of)(x);
        }
    }
}

/// So few rows are added as they come: running sums beside the states would cost more than they bring. (Those of f64 are always:
/// their states are as wide as they are.)
const FEW: usize = 8;

/// Adds the terms of each row to the states of its columns.
#[inline(always)]
fn add_rows<T: Real, const FUSED: bool>(rows: &[&[T]], states: &mut [f64], of: impl Fn(T) -> T) {
    if const { T::DOUBLE || is_spare::<FUSED>() } || rows.len() < FEW {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state += of(x).wide();
            }
        }
        return;
    }
    let mut held = Lanes { lanes: [T::ZERO; WIDTH], of };
    by_fours(rows, states.len(), &mut held);
    for (state, lane) in states.iter_mut().zip(&held.lanes) {
        *state += lane.wide();
    }
}

impl<T: Real> Fold for Sum<T> {
    type Item = T;
    const PLAIN: bool = true;
    type State = f64;
    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, ahead: Ahead, state: &mut f64) {
        let ask = |block: &T::Lanes| ahead.ask(std::slice::from_ref(block));
        *state += match self.0 {
            Term::Plain => sum_beside(values, |x| x, ask),
            Term::Known => sum_beside(values, |x| if is_nan(x) { T::ZERO } else { x }, ask),
            Term::Magnitude => sum_beside(values, |x| x.magnitude(), ask),
            Term::Square => sum_beside(values, |x| x * x, ask),
        };
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [f64]) {
        match self.0 {
            Term::Plain => add_rows::<T, FUSED>(rows, states, |x| x),
            Term::Known => add_rows::<T, FUSED>(rows, states, |x| if is_nan(x) { T::ZERO } else { x }),
            Term::Magnitude => add_rows::<T, FUSED>(rows, states, |x| x.magnitude()),
            Term::Square => add_rows::<T, FUSED>(rows, states, |x| x * x),
        }
    }
    fn merge(&self, state: &mut f64, later: &f64) {
        *state += later;
    }
}

/// What is rare and computed in f64.
#[derive(Clone, Copy)]
pub(super) enum InDouble<T> {
    /// Π x.
    Product,
    /// Σ |x|^p, for orders that have no loop of their own.
    Powers(f64, PhantomData<T>),
}

impl<T: Real> InDouble<T> {
    #[inline(always)]
    fn join(&self, state: f64, x: T) -> f64 {
        match *self {
            InDouble::Product => state * x.wide(),
            InDouble::Powers(3.0, _) => state + x.wide().abs().powi(3),
            InDouble::Powers(order, _) => state + x.wide().abs().powf(order),
        }
    }
}

impl<T: Real> Fold for InDouble<T> {
    type Item = T;
    const WIDE: bool = false;
    type State = f64;
    fn empty(&self) -> f64 {
        matches!(self, InDouble::Product) as u8 as f64
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, ahead: Ahead, state: &mut f64) {
        ahead.ask(values);
        let mut lanes = [self.empty(); 8];
        for block in values.chunks(8) {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane = self.join(*lane, x);
            }
        }
        for lane in lanes {
            self.merge(state, &lane);
        }
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [f64]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state = self.join(*state, x);
            }
        }
    }
    fn merge(&self, state: &mut f64, later: &f64) {
        match self {
            InDouble::Product => *state *= later,
            InDouble::Powers(..) => *state += later,
        }
    }
}

/// Sums and products of whole numbers, wrapping.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    pub(super) product: bool,
}

impl Whole {
    #[inline(always)]
    fn join(self, a: i64, b: i64) -> i64 {
        if self.product { a.wrapping_mul(b) } else { a.wrapping_add(b) }
    }
}

impl Fold for Whole {
    type Item = i64;
    const WIDE: bool = false;
    type State = i64;
    fn empty(&self) -> i64 {
        self.product as i64
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[i64], _: usize, ahead: Ahead, state: &mut i64) {
        ahead.ask(values);
        *state = values.iter().fold(*state, |sum, &x| self.join(sum, x));
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[i64]], _: usize, states: &mut [i64]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state = self.join(*state, x);
            }
        }
    }
    fn merge(&self, state: &mut i64, later: &i64) {
        *state = self.join(*state, *later);
    }
}

/// How many are true.
#[derive(Clone, Copy)]
pub(super) struct Count;

impl Fold for Count {
    type Item = bool;
    const WIDE: bool = false;
    type State = i64;
    fn empty(&self) -> i64 {
        0
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[bool], _: usize, ahead: Ahead, state: &mut i64) {
        ahead.ask(values);
        // A block has at most 512 numbers: 16 bits hold its count, and more lanes fit a register.
        *state += values.iter().map(|&x| x as u16).sum::<u16>() as i64;
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[bool]], _: usize, states: &mut [i64]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state += x as i64;
            }
        }
    }
    fn merge(&self, state: &mut i64, later: &i64) {
        *state += later;
    }
}
