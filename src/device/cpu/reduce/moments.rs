//! Mean and squared deviations in one visit.

use super::fold::{Ahead, Columns, Fold, MOST_ROWS, STRIP, WIDTH, by_fours, strip};
use crate::device::cpu::real::{Lanes, Real, settled, total};
use std::marker::PhantomData;
use std::ops::Mul;

/// How many numbers, and `Σ (x - near)` and `Σ (x - near)²` about a number near their mean. (Sums about one number just
/// add up; means of parts would ask for divisions at each.)
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Moments {
    count: f64,
    /// A number of the element type.
    near: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(in crate::device::cpu) const EMPTY: Moments = Moments { count: 0.0, near: 0.0, sum: 0.0, squares: 0.0 };
    /// The mean of no numbers is NaN.
    #[inline(always)]
    pub(in crate::device::cpu) fn mean(&self) -> f64 {
        self.near + self.sum / self.count
    }
    /// `Σ (x - mean)²`.
    #[inline(always)]
    pub(in crate::device::cpu) fn spread(&self) -> f64 {
        (self.squares - self.sum * self.sum / self.count).max_or_nan(0.0)
    }
    /// `Σ (x - mean)² / (n - correction)`; without any degree of freedom, 0/0 or infinity as in PyTorch.
    pub(in crate::device::cpu) fn variance(&self, correction: f64) -> f64 {
        if self.count == 0.0 {
            return f64::NAN;
        }
        self.spread() / (self.count - correction).max(0.0)
    }
    /// Of both together.
    #[inline(always)]
    fn join<T: Real>(&mut self, later: &Moments) {
        // As a rule both lie about numbers so near to each other that what is summed about the one can be moved to the other.
        let (count, apart) = (self.count + later.count, later.near - self.near);
        let moved = later.count * apart;
        let (sum, squares) = (later.sum + moved, later.squares + apart * (2.0 * later.sum + moved));
        let (sum, squares) = (self.sum + sum, self.squares + squares);
        if self.count == 0.0 || is_far(sum, squares, count * 0.5) {
            return self.join_apart::<T>(later);
        }
        *self = Moments { count, near: self.near, sum, squares };
    }
    /// The same (Chan, Golub and LeVeque 1979), exact up to rounding wherever the cut lies.
    fn join_apart<T: Real>(&mut self, later: &Moments) {
        if self.count == 0.0 {
            *self = *later;
        } else if later.count > 0.0 {
            let count = self.count + later.count;
            let (mean, share) = (self.mean(), later.count / count);
            let apart = later.mean() - mean;
            let spread = self.spread() + later.spread() + apart * apart * (self.count * share);
            let mean = mean + apart * share;
            let near = finite(T::narrow(mean)).wide();
            let rest = mean - near;
            *self = Moments { count, near, sum: rest * count, squares: spread + rest * rest * count };
        }
    }
    /// Takes in a block, in one visit: about what the numbers before lie about, or the mean of the first few.
    #[inline(always)]
    pub(in crate::device::cpu) fn add<T: Real>(&mut self, values: &[T]) {
        self.add_asking(values, Ahead::NONE);
    }
    /// The same, where memory is asked for on the way.
    #[inline(always)]
    fn add_asking<T: Real>(&mut self, values: &[T], ahead: Ahead) {
        let count = values.len() as f64;
        let mut near = T::narrow(self.near);
        if self.count == 0.0 {
            near = middle(&values[..values.len().min(FEW)]);
        }
        let (mut sum, mut squares) = sums_about(values, near, ahead);
        if is_far(sum, squares, count * 0.5) {
            near = T::narrow(near.wide() + sum / count);
            (sum, squares) = sums_about(values, near, Ahead::NONE);
            return self.join::<T>(&Moments { count, near: near.wide(), sum, squares });
        }
        self.near = near.wide();
        self.count += count;
        self.sum += sum;
        self.squares += squares;
    }
}

/// Numbers of a block: lanes add some thirty each.
pub(in crate::device::cpu) const SPAN: usize = 1024;
/// Of so many numbers the mean is a first guess of the mean of all.
const FEW: usize = 16;
/// Of so many rows: among a thousand columns' means of 16 nearly always some is so far off that all rows are read again.
const FIRST_ROWS: usize = 32;

/// The mean of [`FEW`] numbers or less.
#[inline(always)]
fn middle<T: Real>(values: &[T]) -> T {
    let share = T::narrow(1.0 / values.len().max(1) as f64);
    let mut lanes = [T::ZERO; FEW];
    for (lane, &x) in lanes.iter_mut().zip(values) {
        *lane = x * share;
    }
    let mut lanes = settled(&lanes);
    let mut width = FEW;
    while width > 1 {
        width /= 2;
        for k in 0..width {
            lanes[k] += lanes[k + width];
        }
    }
    finite(lanes[0])
}

/// Itself, or 0 where no number is near it.
#[inline(always)]
fn finite<T: Real>(x: T) -> T {
    if x.magnitude() < T::INFINITY { x } else { T::ZERO }
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

/// `Σ (x - near)` and `Σ (x - near)²`; two numbers go to a lane at a time, which halves the chain of additions.
#[inline(always)]
fn sums_about<T: Real>(values: &[T], near: T, ahead: Ahead) -> (f64, f64) {
    let (mut sums, mut squares) = (T::Lanes::ZERO, T::Lanes::ZERO);
    let pairs = T::Lanes::blocks(values).0.as_chunks::<2>().0;
    for pair in pairs {
        ahead.ask(pair);
        take_pair::<T>(pair, near, &mut sums, &mut squares);
    }
    let rest = &values[pairs.len() * 2 * T::Lanes::COUNT..];
    if !rest.is_empty() {
        // What fills it up adds nothing.
        let mut pair = [T::Lanes::ZERO; 2];
        for (half, rest) in pair.iter_mut().zip([rest, rest.get(T::Lanes::COUNT..).unwrap_or_default()]) {
            let (half, count) = (half.as_mut(), rest.len().min(T::Lanes::COUNT));
            half.fill(near);
            half[..count].copy_from_slice(&rest[..count]);
        }
        take_pair::<T>(&pair, near, &mut sums, &mut squares);
    }
    (total::<T>(&sums), total::<T>(&squares))
}

#[inline(always)]
fn take_pair<T: Real>(pair: &[T::Lanes; 2], near: T, sums: &mut T::Lanes, squares: &mut T::Lanes) {
    for lane in 0..T::Lanes::COUNT {
        let (a, b) = (pair[0][lane] - near, pair[1][lane] - near);
        sums[lane] += a + b;
        squares[lane] += a * a + b * b;
    }
}

/// The same of columns, each about a number of its own.
struct About<T, const FUSED: bool> {
    near: [T; WIDTH],
    sums: [T; WIDTH],
    squares: [T; WIDTH],
}

impl<T: Real, const FUSED: bool> About<T, FUSED> {
    /// About nothing, from nothing.
    #[inline(always)]
    fn new() -> Self {
        About { near: [T::ZERO; WIDTH], sums: [T::ZERO; WIDTH], squares: [T::ZERO; WIDTH] }
    }
}

impl<T: Real, const FUSED: bool> Columns<T> for About<T, FUSED> {
    #[inline(always)]
    fn four(&mut self, [a, b, c, d]: [&[T; STRIP]; 4], _: usize, from: usize) {
        let near = *strip(&mut self.near, from);
        let (held_sums, held_squares) = (strip(&mut self.sums, from), strip(&mut self.squares, from));
        let (mut sums, mut squares) = (*held_sums, *held_squares);
        for j in 0..STRIP {
            let (a, b, c, d) = (a[j] - near[j], b[j] - near[j], c[j] - near[j], d[j] - near[j]);
            sums[j] += (a + b) + (c + d);
            let pair = a.times_plus::<FUSED>(a, b * b);
            squares[j] += d.times_plus::<FUSED>(d, c.times_plus::<FUSED>(c, pair));
        }
        (*held_sums, *held_squares) = (sums, squares);
    }
    #[inline(always)]
    fn one(&mut self, row: &[T; STRIP], _: usize, from: usize) {
        let near = *strip(&mut self.near, from);
        let (sums, squares) = (strip(&mut self.sums, from), strip(&mut self.squares, from));
        for j in 0..STRIP {
            let apart = row[j] - near[j];
            sums[j] += apart;
            squares[j] = apart.times_plus::<FUSED>(apart, squares[j]);
        }
    }
}

/// Mean and variance, for floats.
#[derive(Clone, Copy)]
pub(super) struct Spread<T>(pub(super) PhantomData<T>);

impl<T: Real> Fold for Spread<T> {
    type Item = T;
    const STRIPS: bool = !T::DOUBLE;
    const SPAN: usize = SPAN;
    const ROWS: usize = MOST_ROWS;
    type State = Moments;
    fn empty(&self) -> Moments {
        Moments::EMPTY
    }
    #[inline(always)]
    fn block<const FUSED: bool>(&self, values: &[T], _: usize, ahead: Ahead, state: &mut Moments) {
        state.add_asking(values, ahead);
    }
    #[inline(always)]
    fn rows<const FUSED: bool>(&self, rows: &[&[T]], _: usize, states: &mut [Moments]) {
        let width = states.len();
        let mut about = About::<T, FUSED>::new();
        if states.first().is_some_and(|state| state.count == 0.0) {
            let first = &rows[..rows.len().min(FIRST_ROWS)];
            let share = T::narrow(1.0 / first.len() as f64);
            for row in first {
                for (near, &x) in about.near.iter_mut().zip(*row) {
                    *near += x * share;
                }
            }
            for (state, near) in states.iter_mut().zip(&mut about.near) {
                *near = finite(*near);
                state.near = near.wide();
            }
        } else {
            for (near, state) in about.near.iter_mut().zip(&*states) {
                *near = T::narrow(state.near);
            }
        }
        by_fours(rows, width, &mut about);
        let (count, half) = (rows.len() as f64, T::narrow(rows.len() as f64 * 0.5));
        let each = about.sums[..width].iter().zip(&about.squares);
        if each.fold(false, |any, (&sum, &squares)| any | is_far(sum, squares, half)) {
            let share = T::narrow(1.0 / count);
            for (near, sum) in about.near.iter_mut().zip(&mut about.sums) {
                *near += *sum * share;
                *sum = T::ZERO;
            }
            about.squares.fill(T::ZERO);
            by_fours(rows, width, &mut about);
            let sums = about.sums.iter().zip(&about.squares);
            for ((state, near), (sum, squares)) in states.iter_mut().zip(&about.near).zip(sums) {
                let (near, sum, squares) = (near.wide(), sum.wide(), squares.wide());
                state.join::<T>(&Moments { count, near, sum, squares });
            }
            return;
        }
        for ((state, sum), squares) in states.iter_mut().zip(&about.sums).zip(&about.squares) {
            state.count += count;
            state.sum += sum.wide();
            state.squares += squares.wide();
        }
    }
    fn merge(&self, state: &mut Moments, later: &Moments) {
        state.join::<T>(later);
    }
}
