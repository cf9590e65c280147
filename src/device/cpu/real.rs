//! f32 and f64 as the kernels compute with them.

use super::simd::SimdLevel;
use crate::formula::{F, Number};
use crate::layout::Element;
use std::ops::{Add, AddAssign, Div, IndexMut, Mul, MulAssign, Neg, Sub};

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
    /// Has it fewer loops than f32 has? It goes the way that all cases can go. (Code has a budget.)
    const DOUBLE: bool = size_of::<Self>() == 8;
    /// Running sums that a loop carries: enough to hide the latency of an addition at every level that it is compiled for.
    type Lanes: Lanes<Self>;
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
    ($($t:ty: $lanes:literal),*) => { $(
        impl Real for $t {
            type Lanes = [$t; $lanes];
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
real! { f32: 32, f64: 8 }

/// Numbers side by side.
pub(in crate::device::cpu) trait Lanes<T>:
    Copy + AsMut<[T]> + IndexMut<usize, Output = T>
{
    const COUNT: usize;
    const ZERO: Self;
    /// Numbers by so many, and the rest.
    fn blocks(numbers: &[T]) -> (&[Self], &[T]);
    /// The same for writing.
    fn blocks_mut(numbers: &mut [T]) -> (&mut [Self], &mut [T]);
}

impl<T: Real, const N: usize> Lanes<T> for [T; N] {
    const COUNT: usize = N;
    const ZERO: Self = [T::ZERO; N];
    #[inline(always)]
    fn blocks(numbers: &[T]) -> (&[Self], &[T]) {
        numbers.as_chunks()
    }
    #[inline(always)]
    fn blocks_mut(numbers: &mut [T]) -> (&mut [Self], &mut [T]) {
        numbers.as_chunks_mut()
    }
}

/// Itself. Numbers of eight bytes are hidden from the compiler, which so leaves their loop a short one: in the registers that every
/// target has there are two of them, for four times the code. (Code has a budget.)
#[inline(always)]
pub(in crate::device::cpu) fn alone<T>(x: T) -> T {
    if const { size_of::<T>() == 8 } { std::hint::black_box(x) } else { x }
}

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
    beside: impl Fn(&T::Lanes),
) -> f64 {
    let mut lanes = T::Lanes::ZERO;
    let (blocks, rest) = T::Lanes::blocks(values);
    for block in blocks {
        beside(block);
        let mut terms = T::Lanes::ZERO;
        for lane in 0..T::Lanes::COUNT {
            terms[lane] = term(block[lane]);
        }
        add(&mut lanes, &terms);
    }
    if !rest.is_empty() {
        add_rest(&mut lanes, rest, term);
    }
    total::<T>(&lanes)
}

#[inline(always)]
pub(in crate::device::cpu) fn add<T: Real, L: Lanes<T>>(lanes: &mut L, terms: &L) {
    for lane in 0..L::COUNT {
        lanes[lane] += terms[lane];
    }
}

/// What does not fill the lanes, by way of an array of its own: lanes that were found by a number known only at run time
/// would be kept in memory through all of the loop before.
#[inline(always)]
pub(in crate::device::cpu) fn add_rest<T: Real, X: Copy>(lanes: &mut T::Lanes, rest: &[X], term: impl Fn(X) -> T) {
    let mut terms = T::Lanes::ZERO;
    for (to, &x) in terms.as_mut().iter_mut().zip(rest) {
        *to = term(x);
    }
    add(lanes, &terms);
}

/// Lanes as they lie side by side. A compiler that sees in which order they are put together after a loop deals them out to
/// registers in that order, and then shuffles inside of the loop: twice the time of a sum.
#[inline(always)]
pub(in crate::device::cpu) fn settled<L: Copy>(lanes: &L) -> L {
    std::hint::black_box(*lanes)
}

/// The sum of the lanes, as a tree.
#[inline(always)]
pub(in crate::device::cpu) fn total<T: Real>(lanes: &T::Lanes) -> f64 {
    let lanes = settled(lanes);
    let mut sums = [0.0f64; 8];
    for lane in 0..T::Lanes::COUNT {
        sums[lane % 8] += lanes[lane].wide();
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}
