//! Mean and squared deviations in one visit.

use super::fold::{Fold, WIDTH};
use crate::device::cpu::real::{LANES, Real, sum_of, total};
use std::marker::PhantomData;
use std::ops::Mul;

/// How many numbers, their mean, and the sum of their squared deviations from it.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Moments {
    pub(in crate::device::cpu) count: f64,
    pub(in crate::device::cpu) mean: f64,
    pub(in crate::device::cpu) squares: f64,
}

impl Moments {
    pub(in crate::device::cpu) const EMPTY: Moments = Moments { count: 0.0, mean: 0.0, squares: 0.0 };
    /// Of numbers of which `Σ (x - near)` and `Σ (x - near)²` are known, `near` being close to their mean.
    #[inline(always)]
    fn about(near: f64, count: f64, sum: f64, squares: f64) -> Moments {
        Moments { count, mean: near + sum / count, squares: (squares - sum * sum / count).max_or_nan(0.0) }
    }
    /// Of both together (Chan, Golub and LeVeque 1979): exact up to rounding wherever the cut lies.
    #[inline(always)]
    pub(in crate::device::cpu) fn join(&mut self, later: &Moments) {
        if self.count == 0.0 {
            *self = *later;
        } else if later.count > 0.0 {
            let count = self.count + later.count;
            let apart = later.mean - self.mean;
            self.mean += apart * (later.count / count);
            self.squares += later.squares + apart * apart * (self.count * (later.count / count));
            self.count = count;
        }
    }
    /// `Σ (x - mean)² / (n - correction)`; without any degree of freedom, 0/0 or infinity as in PyTorch.
    pub(in crate::device::cpu) fn variance(&self, correction: f64) -> f64 {
        if self.count == 0.0 {
            return f64::NAN;
        }
        self.squares / (self.count - correction).max(0.0)
    }
}

trait MaxOrNan {
    fn max_or_nan(self, other: f64) -> f64;
}
impl MaxOrNan for f64 {
    /// The greater of both, where NaN stays.
    #[inline(always)]
    fn max_or_nan(self, other: f64) -> f64 {
        if self < other { other } else { self }
    }
}

/// Are sums about a number so far from the mean that their squares say little of the spread? Then they are taken again,
/// about the mean that they tell.
#[inline(always)]
fn is_far<T: Mul<Output = T> + PartialOrd + Copy>(sum: T, squares: T, half_count: T) -> bool {
    sum * sum > squares * half_count
}

/// The moments of a block: one visit, about the mean of its first few numbers.
#[inline(always)]
pub(in crate::device::cpu) fn moments_of<T: Real>(values: &[T]) -> Moments {
    let count = values.len() as f64;
    let first = &values[..values.len().min(LANES)];
    let mut near = T::narrow(sum_of(first, |x| x) / first.len() as f64);
    let (mut sum, mut squares) = sums_about(values, near);
    if is_far(sum, squares, count * 0.5) {
        near = T::narrow(near.wide() + sum / count);
        (sum, squares) = sums_about(values, near);
    }
    Moments::about(near.wide(), count, sum, squares)
}

/// `Σ (x - near)` and `Σ (x - near)²`.
#[inline(always)]
fn sums_about<T: Real>(values: &[T], near: T) -> (f64, f64) {
    let (mut sums, mut squares) = ([T::ZERO; LANES], [T::ZERO; LANES]);
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for ((sum, square), &x) in sums.iter_mut().zip(&mut squares).zip(block) {
            let apart = x - near;
            *sum += apart;
            *square += apart * apart;
        }
    }
    for ((sum, square), &x) in sums.iter_mut().zip(&mut squares).zip(rest) {
        let apart = x - near;
        *sum += apart;
        *square += apart * apart;
    }
    (total(&sums), total(&squares))
}

/// The same of columns, added to what `sum` and `squares` hold; four rows at a time, so that these are seldom moved.
#[inline(always)]
fn rows_about<T: Real>(rows: &[&[T]], near: &[T], sum: &mut [T], squares: &mut [T]) {
    let width = near.len();
    let (sum, squares) = (&mut sum[..width], &mut squares[..width]);
    let (fours, rest) = rows.as_chunks::<4>();
    for [a, b, c, d] in fours {
        let (a, b, c, d) = (&a[..width], &b[..width], &c[..width], &d[..width]);
        for j in 0..width {
            let (a, b, c, d) = (a[j] - near[j], b[j] - near[j], c[j] - near[j], d[j] - near[j]);
            sum[j] += (a + b) + (c + d);
            squares[j] += (a * a + b * b) + (c * c + d * d);
        }
    }
    for row in rest {
        for (((sum, squares), &near), &x) in sum.iter_mut().zip(&mut *squares).zip(near).zip(*row) {
            let apart = x - near;
            *sum += apart;
            *squares += apart * apart;
        }
    }
}

/// Mean and variance, for floats.
#[derive(Clone, Copy)]
pub(super) struct Spread<T>(pub(super) PhantomData<T>);

impl<T: Real> Fold for Spread<T> {
    type Item = T;
    type State = Moments;
    fn empty(&self) -> Moments {
        Moments::EMPTY
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, state: &mut Moments) {
        state.join(&moments_of(values));
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [Moments]) {
        let count = T::narrow(rows.len() as f64);
        let width = states.len();
        let (mut near, mut sum, mut squares) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH], [T::ZERO; WIDTH]);
        let (near, sum, squares) = (&mut near[..width], &mut sum[..width], &mut squares[..width]);
        let first = &rows[..rows.len().min(4)];
        let share = T::narrow(1.0 / first.len() as f64);
        for row in first {
            for (near, &x) in near.iter_mut().zip(*row) {
                *near += x * share;
            }
        }
        rows_about(rows, near, sum, squares);
        let half = T::narrow(rows.len() as f64 * 0.5);
        let any = sum.iter().zip(&*squares).fold(false, |any, (&sum, &squares)| any | is_far(sum, squares, half));
        if any {
            for (near, sum) in near.iter_mut().zip(&mut *sum) {
                *near += *sum / count;
                *sum = T::ZERO;
            }
            squares.fill(T::ZERO);
            rows_about(rows, near, sum, squares);
        }
        for (((state, &near), &sum), &squares) in states.iter_mut().zip(&*near).zip(&*sum).zip(&*squares) {
            state.join(&Moments::about(near.wide(), rows.len() as f64, sum.wide(), squares.wide()));
        }
    }
    fn merge(&self, state: &mut Moments, later: &Moments) {
        state.join(later);
    }
}
