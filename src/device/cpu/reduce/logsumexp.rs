//! `ln Σ e^x` without overflow: a running maximum and a running sum relative to it.

use super::extremes::{Bounded, greatest_known_of};
use super::fold::{Ahead, BLOCK, Columns, Fold, MOST_ROWS, STRIP, WIDTH, by_fours, strip};
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

/// The greatest number of each column, the sum of powers measured from it, and by what sums from before are measured anew.
struct Powers<T, const FUSED: bool> {
    greatest: [T; WIDTH],
    sums: [T; WIDTH],
    kept: [T; WIDTH],
}

impl<T: Real + Bounded, const FUSED: bool> Powers<T, FUSED> {
    /// Adds a strip of rows. Where one has something greater, what is held is measured anew first: a pass of its own for the
    /// greatest would wait for memory.
    #[inline(always)]
    fn add<const N: usize>(&mut self, rows: [&[T; STRIP]; N], from: usize) {
        let (held_greatest, held_sums) = (strip(&mut self.greatest, from), strip(&mut self.sums, from));
        let (before, mut sums) = (*held_greatest, *held_sums);
        let mut greatest = before;
        for row in rows {
            for j in 0..STRIP {
                greatest[j] = if row[j] > greatest[j] { row[j] } else { greatest[j] };
            }
        }
        let (mut grown, mut bases) = (false, greatest);
        for j in 0..STRIP {
            grown |= greatest[j] > before[j];
            bases[j] = Exponentials::base(greatest[j]);
        }
        if grown {
            let kept = strip(&mut self.kept, from);
            for j in 0..STRIP {
                // Where registers hold few numbers those that did not grow are left out.
                let grown = greatest[j] > before[j];
                if FUSED | grown {
                    let less = (before[j] - greatest[j]).decay::<FUSED>();
                    let less = if grown { less } else { T::ONE };
                    (sums[j], kept[j]) = (sums[j] * less, kept[j] * less);
                }
            }
            *held_greatest = greatest;
        }
        let mut powers = [T::ZERO; STRIP];
        for row in rows {
            for j in 0..STRIP {
                powers[j] += (row[j] - bases[j]).addend::<FUSED>();
            }
        }
        for j in 0..STRIP {
            sums[j] += powers[j];
        }
        *held_sums = sums;
    }
}

impl<T: Real + Bounded, const FUSED: bool> Columns<T> for Powers<T, FUSED> {
    #[inline(always)]
    fn four(&mut self, rows: [&[T; STRIP]; 4], _: usize, from: usize) {
        self.add(rows, from);
    }
    #[inline(always)]
    fn one(&mut self, row: &[T; STRIP], _: usize, from: usize) {
        self.add([row], from);
    }
}

/// `ln Σ e^x`, for floats.
#[derive(Clone, Copy)]
pub(super) struct LogSumExp<T>(pub(super) PhantomData<T>);

impl<T: Real + Bounded> Fold for LogSumExp<T> {
    type Item = T;
    const STRIPS: bool = !T::DOUBLE;
    const SPAN: usize = 4096;
    const ROWS: usize = MOST_ROWS;
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
            state.sum +=
                sum_beside(values, |x| (x - base).addend::<FUSED>(), |block| ahead.ask(std::slice::from_ref(block)));
        }
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [Exponentials<T>]) {
        let mut powers =
            Powers::<T, FUSED> { greatest: [T::LEAST; WIDTH], sums: [T::ZERO; WIDTH], kept: [T::ONE; WIDTH] };
        for (greatest, state) in powers.greatest.iter_mut().zip(&*states) {
            *greatest = state.greatest;
        }
        by_fours(rows, states.len(), &mut powers);
        let Powers { greatest, sums, kept } = powers;
        for (column, state) in states.iter_mut().enumerate() {
            state.greatest = greatest[column];
            state.sum *= kept[column].wide();
            state.sum += if state.greatest == T::INFINITY {
                // These were no powers below 1; a NaN among them is one still.
                rows.iter().fold(f64::INFINITY, |sum, row| sum + row[column].wide().abs())
            } else {
                sums[column].wide()
            };
        }
    }
    fn merge(&self, state: &mut Exponentials<T>, later: &Exponentials<T>) {
        state.join(*later);
    }
}
