//! Sums of terms (of the numbers, their magnitudes, squares, powers), products and counts.

use super::fold::{Fold, WIDTH};
use crate::device::cpu::real::{Real, sum_of};
use std::marker::PhantomData;

/// What is added up for each number.
pub(super) trait Term<T: Real>: Copy + Sync {
    fn of(self, x: T) -> T;
}

/// x.
#[derive(Clone, Copy)]
pub(super) struct Plain;
impl<T: Real> Term<T> for Plain {
    #[inline(always)]
    fn of(self, x: T) -> T {
        x
    }
}

/// x, or 0 where it is NaN.
#[derive(Clone, Copy)]
pub(super) struct Known;
impl<T: Real> Term<T> for Known {
    #[inline(always)]
    fn of(self, x: T) -> T {
        if is_nan(x) { T::ZERO } else { x }
    }
}

/// |x|.
#[derive(Clone, Copy)]
pub(super) struct Magnitude;
impl<T: Real> Term<T> for Magnitude {
    #[inline(always)]
    fn of(self, x: T) -> T {
        x.magnitude()
    }
}

/// x².
#[derive(Clone, Copy)]
pub(super) struct Square;
impl<T: Real> Term<T> for Square {
    #[inline(always)]
    fn of(self, x: T) -> T {
        x * x
    }
}

/// Is it no number? (Integers always are one.)
#[inline(always)]
#[allow(clippy::eq_op)]
pub(in crate::device::cpu) fn is_nan<T: PartialEq>(x: T) -> bool {
    x != x
}

/// The sum of terms of floats: short chains in the element type, their totals in f64.
#[derive(Clone, Copy)]
pub(super) struct Sum<T, M>(pub(super) M, pub(super) PhantomData<T>);

impl<T: Real, M: Term<T>> Fold for Sum<T, M> {
    type Item = T;
    type State = f64;
    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut f64) {
        *state += sum_of(values, |x| self.0.of(x));
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [f64]) {
        let width = states.len();
        let mut lanes = [T::ZERO; WIDTH];
        let lanes = &mut lanes[..width];
        let (fours, rest) = rows.as_chunks::<4>();
        for [a, b, c, d] in fours {
            let (a, b, c, d) = (&a[..width], &b[..width], &c[..width], &d[..width]);
            for j in 0..width {
                lanes[j] += (self.0.of(a[j]) + self.0.of(b[j])) + (self.0.of(c[j]) + self.0.of(d[j]));
            }
        }
        for row in rest {
            for (lane, &x) in lanes.iter_mut().zip(*row) {
                *lane += self.0.of(x);
            }
        }
        for (state, &lane) in states.iter_mut().zip(&*lanes) {
            *state += lane.wide();
        }
    }
    fn merge(&self, state: &mut f64, later: &f64) {
        *state += later;
    }
}

/// Σ |x|^p in f64, for orders that have no loop of their own.
#[derive(Clone, Copy)]
pub(super) struct Powers<T>(pub(super) f64, pub(super) PhantomData<T>);

impl<T: Real> Powers<T> {
    #[inline(always)]
    fn of(&self, x: T) -> f64 {
        let x = x.wide().abs();
        if self.0 == 3.0 { x * x * x } else { x.powf(self.0) }
    }
}

impl<T: Real> Fold for Powers<T> {
    type Item = T;
    const WIDE: bool = false;
    type State = f64;
    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut f64) {
        *state += values.iter().map(|&x| self.of(x)).sum::<f64>();
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [f64]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state += self.of(x);
            }
        }
    }
    fn merge(&self, state: &mut f64, later: &f64) {
        *state += later;
    }
}

/// The product of floats, in f64.
#[derive(Clone, Copy)]
pub(super) struct Product<T>(pub(super) PhantomData<T>);

impl<T: Real> Fold for Product<T> {
    type Item = T;
    const WIDE: bool = false;
    type State = f64;
    fn empty(&self) -> f64 {
        1.0
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut f64) {
        let mut lanes = [1.0; 16];
        let (blocks, rest) = values.as_chunks::<16>();
        for block in blocks {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane *= x.wide();
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane *= x.wide();
        }
        *state *= lanes.iter().product::<f64>();
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [f64]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state *= x.wide();
            }
        }
    }
    fn merge(&self, state: &mut f64, later: &f64) {
        *state *= later;
    }
}

/// Sums and products of whole numbers, wrapping.
#[derive(Clone, Copy)]
pub(super) struct Whole<const PRODUCT: bool>;

impl<const PRODUCT: bool> Whole<PRODUCT> {
    #[inline(always)]
    fn join(a: i64, b: i64) -> i64 {
        if PRODUCT { a.wrapping_mul(b) } else { a.wrapping_add(b) }
    }
}

impl<const PRODUCT: bool> Fold for Whole<PRODUCT> {
    type Item = i64;
    const WIDE: bool = false;
    type State = i64;
    fn empty(&self) -> i64 {
        PRODUCT as i64
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[i64], _: usize, state: &mut i64) {
        *state = values.iter().fold(*state, |sum, &x| Self::join(sum, x));
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[i64]], _: usize, states: &mut [i64]) {
        for row in rows {
            for (state, &x) in states.iter_mut().zip(*row) {
                *state = Self::join(*state, x);
            }
        }
    }
    fn merge(&self, state: &mut i64, later: &i64) {
        *state = Self::join(*state, *later);
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
    fn block<const FUSED: bool>(&self, values: &[bool], _: usize, state: &mut i64) {
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
