//! f32 and f64 as the kernels compute with them.

use super::simd::SimdLevel;
use crate::formula::{F, Number};
use crate::layout::Element;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// A float that loops compute in. What is added over blocks is carried in f64.
pub(in crate::device::cpu) trait Real:
    Element
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    const ZERO: Self;
    const ONE: Self;
    const INFINITY: Self;
    /// The widest level that loops are compiled for.
    const WIDEST: SimdLevel = widest::<Self>();
    fn wide(self) -> f64;
    fn narrow(x: f64) -> Self;
    fn magnitude(self) -> Self;
    fn fused(self, b: Self, c: Self) -> Self;
    /// e^self of a number that is not above 0.
    fn decay<const FUSED: bool>(self) -> Self;
    /// The same as a term of a sum whose greatest term is 1, at less than its price.
    fn addend<const FUSED: bool>(self) -> Self;
    /// The hyperbolic tangent.
    fn tangent<const FUSED: bool>(self) -> Self;
    /// The logistic function, 1 / (1 + e^-self).
    fn logistic<const FUSED: bool>(self) -> Self;
    /// `self · b + c`, in one instruction where there is one.
    #[inline(always)]
    fn times_plus<const FUSED: bool>(self, b: Self, c: Self) -> Self {
        if FUSED { self.fused(b, c) } else { self * b + c }
    }
}

/// The widest level that loops over these elements are compiled for. Numbers of eight bytes have the portable loop only (what
/// every target has): copies for wider registers, which hold few of them, cost more in code and in the time it takes to
/// compile than they gain. (Products have kernels of their own.)
pub(in crate::device::cpu) const fn widest<T>() -> SimdLevel {
    if size_of::<T>() < 8 { SimdLevel::Avx512 } else { SimdLevel::Portable }
}

macro_rules! real {
    ($($t:ty)*) => { $(
        impl Real for $t {
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            const INFINITY: $t = <$t>::INFINITY;
            #[inline(always)]
            fn wide(self) -> f64 { self as f64 }
            #[inline(always)]
            fn narrow(x: f64) -> $t { x as $t }
            #[inline(always)]
            fn magnitude(self) -> $t { self.abs() }
            #[inline(always)]
            fn fused(self, b: $t, c: $t) -> $t { self.mul_add(b, c) }
            #[inline(always)]
            fn decay<const FUSED: bool>(self) -> $t { F::<$t, FUSED>(self).decay().0 }
            #[inline(always)]
            fn addend<const FUSED: bool>(self) -> $t { F::<$t, FUSED>(self).addend().0 }
            #[inline(always)]
            fn tangent<const FUSED: bool>(self) -> $t { F::<$t, FUSED>(self).tanh().0 }
            #[inline(always)]
            fn logistic<const FUSED: bool>(self) -> $t { F::<$t, FUSED>(self).sigmoid().0 }
        }
    )* };
}
real! { f32 f64 }

/// How many running sums a loop carries: enough to hide the latency of an addition at every level.
pub(in crate::device::cpu) const LANES: usize = 32;

/// The sum of `term(x)` over at most some hundred neighbours: many running sums, added up in f64.
#[inline(always)]
pub(in crate::device::cpu) fn sum_of<T: Real>(values: &[T], term: impl Fn(T) -> T) -> f64 {
    sum_beside(values, term, |_| ())
}

/// The same, with something to do beside each block.
#[inline(always)]
pub(in crate::device::cpu) fn sum_beside<T: Real>(
    values: &[T],
    term: impl Fn(T) -> T,
    beside: impl Fn(&[T; LANES]),
) -> f64 {
    let mut lanes = [T::ZERO; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        beside(block);
        let mut terms = [T::ZERO; LANES];
        for (to, &x) in terms.iter_mut().zip(block) {
            *to = term(x);
        }
        for (lane, term) in lanes.iter_mut().zip(terms) {
            *lane += term;
        }
    }
    if !rest.is_empty() {
        add_rest(&mut lanes, rest, term);
    }
    total(&lanes)
}

/// What does not fill the lanes, by way of an array of its own: lanes that were found by a number known only at run time
/// would be kept in memory through all of the loop before.
#[inline(always)]
pub(in crate::device::cpu) fn add_rest<T: Real, X: Copy>(lanes: &mut [T; LANES], rest: &[X], term: impl Fn(X) -> T) {
    let mut terms = [T::ZERO; LANES];
    for (to, &x) in terms.iter_mut().zip(rest) {
        *to = term(x);
    }
    for (lane, term) in lanes.iter_mut().zip(terms) {
        *lane += term;
    }
}

/// Lanes as they lie side by side. A compiler that sees in which order they are put together after a loop deals them out to
/// registers in that order, and then shuffles inside of the loop: twice the time of a sum.
#[inline(always)]
pub(in crate::device::cpu) fn settled<T: Copy, const N: usize>(lanes: &[T; N]) -> [T; N] {
    std::hint::black_box(*lanes)
}

/// The sum of the lanes, as a tree.
#[inline(always)]
pub(in crate::device::cpu) fn total<T: Real>(lanes: &[T; LANES]) -> f64 {
    let lanes = settled(lanes);
    let mut sums = [0.0f64; 8];
    for quarter in lanes.as_chunks::<8>().0 {
        for (sum, &lane) in sums.iter_mut().zip(quarter) {
            *sum += lane.wide();
        }
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}
