//! The functions of mathematics, written once over a few primitives.
//!
//! They have no branches, so that loops over them vectorise; they are accurate to a few units in the last place and right
//! at NaN, zeros, subnormals, infinities and where results overflow. What has no cheap f32 form is computed in f64 and
//! rounded once. Polynomials without a source are minimax fits (Remez) over the interval that their comment names.

// Coefficients stand as they were computed; the compiler rounds them once.
#![allow(clippy::excessive_precision)]

// Devices have none of the standard library's; tests hold it against that.
#[cfg(any(feature = "cuda-unversioned", test))]
pub(super) mod double;
mod error;
mod exponential;
mod gamma;
mod logarithm;
mod power;
mod trigonometric;

pub(crate) use error::{erf, erfc, erfinv, normal_cdf};
pub(crate) use exponential::{addend, cosh, decay, exp, exp2, expm1, sigmoid, sinh, tanh};
pub(crate) use gamma::{lgamma, polygamma};
pub(crate) use logarithm::{acosh, asinh, atanh, ln, log1p, log2, log10};
pub(crate) use power::{cbrt, pow};
pub(crate) use trigonometric::{NEAR, acos, asin, atan, atan2, cos, sin, tan};

#[cfg(test)]
mod tests;

use super::number::Arithmetic;
use std::ops::{Add, BitAnd, BitOr, Shl, Shr, Sub};

/// What the functions are made of.
pub(super) trait Real: Arithmetic {
    /// The same kind of number in double precision.
    type Wide: Real<Wide = Self::Wide, Digits = Self::Digits>;
    /// Is this double precision?
    const DOUBLE: bool;
    /// Is a fused multiply-add one instruction here?
    const FUSED: bool;
    /// Is every number here of a magnitude below [`NEAR`]?
    const NEAR: bool;
    /// `self · b + c`, with one rounding where the processor can.
    fn multiply_add(self, b: Self, c: Self) -> Self;
    /// `self / divisor`, where the divisor is between 2^-64 and 2^86, and this is 0, between 2^-64 and 2^64, or less for a divisor of 2: the
    /// steps between its digits neither overflow nor lose any.
    #[inline(always)]
    fn quotient(self, divisor: Self) -> Self {
        self / divisor
    }
    /// Square root.
    fn square_root(self) -> Self;
    /// This magnitude with the sign of the other.
    fn with_sign_of(self, other: Self) -> Self;
    /// The nearest whole number, for magnitudes below 2^22 (f32) or 2^51 (f64).
    fn nearest(self) -> Self;
    /// 2^self for a whole number that is a normal exponent.
    fn power_of_two(self) -> Self;
    /// The whole n nearest to `self · factor`, and 2^(n + more), where that is a normal exponent.
    fn nearest_power(self, factor: f64, more: i32) -> (Self, Self);
    /// The whole n nearest to `self · factor`, and 2^n as two powers, for [`times_powers`](Real::times_powers).
    fn nearest_powers(self, factor: f64) -> (Self, Self);
    /// self · 2^n, where n is at most twice a normal exponent: by half of it and by the rest, so that what is subnormal is
    /// rounded once, and what is too large is infinite.
    fn times_powers(self, powers: Self) -> Self;
    /// The whole n nearest to `self · factor`, and a number in whose lowest bits n stands.
    fn nearest_shifted(self, factor: f64) -> (Self, Self);
    /// -self where this binary digit of the whole number that [`nearest_shifted`](Real::nearest_shifted) shifted is 1.
    fn negated_by(self, shifted: Self, digit: u32) -> Self;
    /// `if the shifted whole number is odd { a } else { b }`
    fn choose_if_odd(shifted: Self, a: Self, b: Self) -> Self;
    /// (m, e) with self = m · 2^e and m in [√½, √2), for positive normal numbers.
    fn split(self) -> (Self, Self);
    /// In double precision.
    fn widen(self) -> Self::Wide;
    /// Rounded from double precision.
    fn narrow(wide: Self::Wide) -> Self;
    /// A function of f64 that the standard library has; devices without one have it from `double.rs`.
    fn standard(self, function: Standard) -> Self;
    /// What the binary digits of a number are taken as.
    type Digits: Digits;
    /// k, where x = M 2^k with a whole M of as many digits as the mantissa has; 0 where k is below 0, or x is no number.
    fn last_place(self) -> Self::Digits;
    /// The number in double precision that these digits are.
    fn from_digits(digits: Self::Digits) -> Self;
    /// As many steps as it takes until the first of the numbers is not below the bound.
    #[cfg(any(feature = "cuda-unversioned", test))]
    fn while_less<const N: usize>(state: [Self; N], bound: Self, step: impl Fn([Self; N]) -> [Self; N]) -> [Self; N];
    /// Floor, ceiling, nearest (half to even), whole part.
    fn rounded(self) -> [Self; 4];
}

/// Sixty-four binary digits, as a whole number.
pub(super) trait Digits:
    Copy
    + From<u64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + Shl<Output = Self>
    + Shr<Output = Self>
{
    /// `a` where this is below the bound, else `b`.
    fn if_below(self, bound: u64, a: Self, b: Self) -> Self;
}
impl Digits for u64 {
    #[inline(always)]
    fn if_below(self, bound: u64, a: u64, b: u64) -> u64 {
        if self < bound { a } else { b }
    }
}

/// The functions of f64 that the standard library has.
#[derive(Clone, Copy)]
pub(super) enum Standard {
    Cbrt,
    Sin,
    Cos,
    Tan,
    Polygamma(u32),
}

impl Standard {
    #[inline(always)]
    pub(super) fn of(self, x: f64) -> f64 {
        match self {
            Standard::Cbrt => x.cbrt(),
            Standard::Sin => x.sin(),
            Standard::Cos => x.cos(),
            Standard::Tan => x.tan(),
            Standard::Polygamma(order) => gamma::polygamma_of(order, x),
        }
    }
}

/// `c[0] + c[1] x + c[2] x² + ...`
#[inline(always)]
fn polynomial<R: Real, const N: usize>(x: R, c: [f64; N]) -> R {
    let mut sum = R::from(c[N - 1]);
    for k in (0..N - 1).rev() {
        sum = sum.multiply_add(x, c[k].into());
    }
    sum
}

/// The product in two parts: rounded, and what rounding lost.
#[inline(always)]
fn exact_product<R: Real>(a: R, b: R) -> (R, R) {
    let product = a * b;
    if R::FUSED {
        return (product, a.multiply_add(b, -product));
    }
    // Dekker: halves whose products are exact
    let halves = |x: R| {
        let far = x * if R::DOUBLE { 134_217_729.0 } else { 4097.0 };
        let high = far - (far - x);
        (high, x - high)
    };
    let ((a1, a2), (b1, b2)) = (halves(a), halves(b));
    (product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2)
}

/// `if a < b { x } else { y }`
#[inline(always)]
fn if_less<R: Real>(a: R, b: impl Into<R>, x: impl Into<R>, y: impl Into<R>) -> R {
    R::choose(a.less(b.into()), x.into(), y.into())
}

#[inline(always)]
pub(crate) fn sqrt<R: Real>(x: R) -> R {
    x.square_root()
}
#[inline(always)]
pub(crate) fn rsqrt<R: Real>(x: R) -> R {
    R::from(1.0) / x.square_root()
}
#[inline(always)]
pub(crate) fn floor<R: Real>(x: R) -> R {
    x.rounded()[0]
}
#[inline(always)]
pub(crate) fn ceil<R: Real>(x: R) -> R {
    x.rounded()[1]
}
#[inline(always)]
pub(crate) fn round<R: Real>(x: R) -> R {
    x.rounded()[2]
}
#[inline(always)]
pub(crate) fn trunc<R: Real>(x: R) -> R {
    x.rounded()[3]
}
