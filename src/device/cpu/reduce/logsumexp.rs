//! `ln Σ e^x` without overflow: a running maximum and a running sum relative to it.

use super::extremes::{Bounded, greatest_of, greatest_of_rows};
use super::fold::{Fold, WIDTH};
use crate::device::cpu::real::{Real, sum_of};
use std::marker::PhantomData;

/// `Σ e^x = sum · e^greatest`.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Exponentials<T> {
    greatest: T,
    sum: f64,
}

impl<T: Real> Exponentials<T> {
    /// `ln Σ e^x`.
    pub(in crate::device::cpu) fn logarithm(&self) -> f64 {
        Self::base(self.greatest).wide() + self.sum.ln()
    }
    /// The greatest number, and 1 / Σ e^(x - greatest) or its logarithm.
    pub(in crate::device::cpu) fn statistics(&self, logarithm: bool) -> (T, T) {
        // Where the greatest is infinite softmax is not defined: NaN, as in PyTorch.
        (self.greatest, T::narrow(if logarithm { self.sum.ln() } else { 1.0 / self.sum }))
    }
    /// What a number is measured from: the greatest, or 0 where that is infinite (else `∞ - ∞`).
    #[inline(always)]
    fn base(greatest: T) -> T {
        if greatest.magnitude() == T::INFINITY { T::ZERO } else { greatest }
    }
    #[inline(always)]
    fn join(&mut self, later: Exponentials<T>) {
        let (mine, theirs) = (self.greatest, later.greatest);
        let greatest = if mine > theirs || mine.wide().is_nan() { mine } else { theirs };
        let base = Self::base(greatest).wide();
        let scaled = |part: &Exponentials<T>| {
            let from = Self::base(part.greatest).wide();
            if from == base || part.sum == 0.0 { part.sum } else { part.sum * (from - base).exp() }
        };
        *self = Exponentials { greatest, sum: scaled(self) + scaled(&later) };
    }
}

/// `ln Σ e^x`, for floats.
#[derive(Clone, Copy)]
pub(super) struct LogSumExp<T>(pub(super) PhantomData<T>);

impl<T: Real + Bounded> Fold for LogSumExp<T> {
    type Item = T;
    type State = Exponentials<T>;
    fn empty(&self) -> Exponentials<T> {
        Exponentials { greatest: -T::INFINITY, sum: 0.0 }
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut Exponentials<T>) {
        let greatest = greatest_of(values);
        let base = Exponentials::base(greatest);
        state.join(Exponentials { greatest, sum: sum_of(values, |x| (x - base).exponential::<FUSED>()) });
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [Exponentials<T>]) {
        let width = states.len();
        let (mut greatest, mut sums) = ([-T::INFINITY; WIDTH], [T::ZERO; WIDTH]);
        let (greatest, sums) = (&mut greatest[..width], &mut sums[..width]);
        greatest_of_rows(rows, greatest);
        for row in rows {
            for ((sum, &greatest), &x) in sums.iter_mut().zip(&*greatest).zip(*row) {
                *sum += (x - Exponentials::base(greatest)).exponential::<FUSED>();
            }
        }
        for ((state, &greatest), &sum) in states.iter_mut().zip(&*greatest).zip(&*sums) {
            state.join(Exponentials { greatest, sum: sum.wide() });
        }
    }
    fn merge(&self, state: &mut Exponentials<T>, later: &Exponentials<T>) {
        state.join(*later);
    }
}
