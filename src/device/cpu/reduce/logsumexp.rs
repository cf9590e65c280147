//! `ln Σ e^x` without overflow: a running maximum and a running sum relative to it.

use super::extremes::{Bounded, greatest_known_of, greatest_of_rows};
use super::fold::{Ahead, BLOCK, Columns, Fold, STRIP, WIDTH, by_fours, strip};
use crate::device::cpu::real::{Real, sum_beside};
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
        let sum = if self.greatest.magnitude() == T::INFINITY { f64::NAN } else { self.sum };
        (self.greatest, T::narrow(if logarithm { sum.ln() } else { 1.0 / sum }))
    }
    /// What a number is measured from: the greatest, or 0 where that is infinite (else `∞ - ∞`).
    #[inline(always)]
    fn base(greatest: T) -> T {
        if greatest.magnitude() == T::INFINITY { T::ZERO } else { greatest }
    }
    #[inline(always)]
    fn join(&mut self, later: Exponentials<T>) {
        let (mine, theirs) = (self.greatest, later.greatest);
        self.raise(if mine > theirs || mine.wide().is_nan() { mine } else { theirs });
        let mut later = later;
        later.raise(self.greatest);
        self.sum += later.sum;
    }
    /// Measures the sum from another greatest number, which is not less.
    #[inline(always)]
    fn raise(&mut self, greatest: T) {
        let (from, to) = (Self::base(self.greatest).wide(), Self::base(greatest).wide());
        if from != to && self.sum != 0.0 {
            self.sum *= (from - to).exp();
        }
        self.greatest = greatest;
    }
}

/// The sum of powers of each column, measured from its base.
struct Powers<T, const FUSED: bool> {
    bases: [T; WIDTH],
    sums: [T; WIDTH],
}

impl<T: Real, const FUSED: bool> Columns<T> for Powers<T, FUSED> {
    #[inline(always)]
    fn four(&mut self, rows: [&[T; STRIP]; 4], _: usize, from: usize) {
        let bases = *strip(&mut self.bases, from);
        let held = strip(&mut self.sums, from);
        let mut sums = *held;
        for row in rows {
            for j in 0..STRIP {
                sums[j] += (row[j] - bases[j]).decay::<FUSED>();
            }
        }
        *held = sums;
    }
    #[inline(always)]
    fn one(&mut self, row: &[T; STRIP], _: usize, from: usize) {
        let (bases, sums) = (*strip(&mut self.bases, from), strip(&mut self.sums, from));
        for j in 0..STRIP {
            sums[j] += (row[j] - bases[j]).decay::<FUSED>();
        }
    }
}

/// `ln Σ e^x`, for floats.
#[derive(Clone, Copy)]
pub(super) struct LogSumExp<T>(pub(super) PhantomData<T>);

impl<T: Real + Bounded> Fold for LogSumExp<T> {
    type Item = T;
    const SPAN: usize = 4096;
    type State = Exponentials<T>;
    fn empty(&self) -> Exponentials<T> {
        Exponentials { greatest: -T::INFINITY, sum: 0.0 }
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, ahead: Ahead, state: &mut Exponentials<T>) {
        // A NaN is missed here and met in the sum.
        let greatest = greatest_known_of(values);
        if greatest > state.greatest {
            state.raise(greatest);
        }
        if state.greatest == T::INFINITY {
            state.sum += values.iter().fold(f64::INFINITY, |sum, x| sum + x.wide().abs());
            return;
        }
        let base = Exponentials::base(state.greatest);
        for values in values.chunks(BLOCK) {
            state.sum += sum_beside(values, |x| (x - base).decay::<FUSED>(), |block| ahead.ask(block));
        }
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [Exponentials<T>]) {
        let width = states.len();
        let mut greatest = [T::ZERO; WIDTH];
        let greatest = &mut greatest[..width];
        for (greatest, state) in greatest.iter_mut().zip(&*states) {
            *greatest = state.greatest;
        }
        greatest_of_rows(rows, greatest);
        let mut powers = Powers::<T, FUSED> { bases: [T::ZERO; WIDTH], sums: [T::ZERO; WIDTH] };
        for (base, &greatest) in powers.bases.iter_mut().zip(&*greatest) {
            *base = Exponentials::base(greatest);
        }
        by_fours(rows, width, &mut powers);
        let Powers { bases, sums } = powers;
        for (((state, &greatest), &base), &sum) in states.iter_mut().zip(&*greatest).zip(&bases).zip(&sums) {
            // Most columns are measured from the same number as before; of nothing yet there is nothing to measure anew.
            let from = Exponentials::base(state.greatest);
            if from != base && state.sum != 0.0 {
                state.sum *= (from.wide() - base.wide()).exp();
            }
            let all = state.sum + sum.wide();
            // Of a column with an infinity these were no powers below 1.
            state.sum = if greatest == T::INFINITY { f64::INFINITY } else { all };
            state.greatest = greatest;
        }
    }
    fn merge(&self, state: &mut Exponentials<T>, later: &Exponentials<T>) {
        state.join(*later);
    }
}
