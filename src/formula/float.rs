//! Floats as numbers of a formula: what the CPU computes with.

use super::mathematics::{self, Real, Standard};
use super::number::{Arithmetic, Number, functions};
use super::symbol::Function;
use crate::layout::Element;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An f32 or f64 as a formula sees it. `FUSED` says that a fused multiply-add is one instruction here, `NEAR` that no number
/// reaches 2^13 in magnitude: then few digits of π are enough for its sine.
///
/// ```
/// use chainrule::formula::{F, Number};
/// let x = F::<f32, false>(2.0);
/// assert_eq!((x * 3.0).0, 6.0);
/// assert_eq!(x.exp().0, 2f32.exp());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct F<T, const FUSED: bool, const NEAR: bool = false>(pub T);

/// The two floats that the processor computes with: what [`F`] needs of them.
pub trait Float:
    Element + Neg<Output = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// Is it f64?
    const DOUBLE: bool;
    #[doc(hidden)]
    fn multiply_add(self, b: Self, c: Self) -> Self;
    #[doc(hidden)]
    fn square_root(self) -> Self;
    #[doc(hidden)]
    fn magnitude(self) -> Self;
    #[doc(hidden)]
    fn with_sign_of(self, other: Self) -> Self;
    #[doc(hidden)]
    fn rounded(self) -> [Self; 4];
    #[doc(hidden)]
    fn modulo(self, divisor: Self) -> Self;
    #[doc(hidden)]
    fn nearest(self) -> Self;
    #[doc(hidden)]
    fn power_of_two(self) -> Self;
    /// What makes a whole number's exponent stand in the lowest bits when it is added, and the power of two made of them.
    #[doc(hidden)]
    const EXPONENT: Self;
    #[doc(hidden)]
    fn power_of_exponent(self) -> Self;
    /// The same for twice the exponent of 1, so that half of the sum is an exponent, and the rest another one.
    #[doc(hidden)]
    const EXPONENTS: Self;
    #[doc(hidden)]
    fn times_powers(self, exponents: Self) -> Self;
    /// What makes a whole number stand in the lowest bits when it is added.
    #[doc(hidden)]
    const SHIFT: Self;
    /// A bit of a shifted whole number goes to the sign.
    #[doc(hidden)]
    fn negate_by(self, shifted: Self, digit: u32) -> Self;
    /// Is the lowest bit set?
    #[doc(hidden)]
    fn is_odd(self) -> bool;
    #[doc(hidden)]
    fn split(self) -> (Self, Self);
    #[doc(hidden)]
    fn last_place(self) -> u64;
}

macro_rules! float {
    ($T:ty, $Bits:ty, double: $double:literal, mantissa: $mantissa:literal, bias: $bias:literal, shift: $shift:literal, root_half: $root_half:literal) => {
        impl Float for $T {
            const DOUBLE: bool = $double;
            #[inline(always)]
            fn multiply_add(self, b: $T, c: $T) -> $T {
                self.mul_add(b, c)
            }
            #[inline(always)]
            fn square_root(self) -> $T {
                self.sqrt()
            }
            #[inline(always)]
            fn magnitude(self) -> $T {
                self.abs()
            }
            #[inline(always)]
            fn with_sign_of(self, other: $T) -> $T {
                self.copysign(other)
            }
            #[inline(always)]
            fn rounded(self) -> [$T; 4] {
                [self.floor(), self.ceil(), self.round_ties_even(), self.trunc()]
            }
            #[inline(always)]
            fn modulo(self, divisor: $T) -> $T {
                self % divisor
            }
            // Adding 1.5 · 2^mantissa leaves the whole part in the low bits: rounding without an instruction for it.
            #[inline(always)]
            fn nearest(self) -> $T {
                (self + $shift) - $shift
            }
            #[inline(always)]
            fn power_of_two(self) -> $T {
                <$T>::from_bits((self + ($shift + $bias)).to_bits() << $mantissa)
            }
            const EXPONENT: $T = $shift + $bias;
            #[inline(always)]
            fn power_of_exponent(self) -> $T {
                <$T>::from_bits(self.to_bits() << $mantissa)
            }
            const EXPONENTS: $T = $shift + 2.0 * $bias;
            #[inline(always)]
            fn times_powers(self, exponents: $T) -> $T {
                let half = exponents.to_bits() >> 1;
                let rest = exponents.to_bits().wrapping_sub(half);
                self * <$T>::from_bits(half << $mantissa) * <$T>::from_bits(rest << $mantissa)
            }
            const SHIFT: $T = $shift;
            #[inline(always)]
            fn negate_by(self, shifted: $T, digit: u32) -> $T {
                const SIGN: $Bits = 1 << (<$Bits>::BITS - 1);
                <$T>::from_bits(self.to_bits() ^ (shifted.to_bits() << (<$Bits>::BITS - 1 - digit) & SIGN))
            }
            #[inline(always)]
            fn is_odd(self) -> bool {
                self.to_bits() & 1 != 0
            }
            #[inline(always)]
            fn split(self) -> ($T, $T) {
                const BIAS: $Bits = ($bias as $Bits) << $mantissa;
                let bits = self.to_bits().wrapping_add(BIAS).wrapping_sub($root_half);
                let mantissa = (bits & ((1 << $mantissa) - 1)).wrapping_add($root_half);
                let exponent = <$T>::from_bits((bits >> $mantissa).wrapping_add(($shift as $T).to_bits()));
                (<$T>::from_bits(mantissa), exponent - ($shift + $bias))
            }
            #[inline(always)]
            fn last_place(self) -> u64 {
                // The exponent of infinity is one more than the greatest.
                const GREATEST: $Bits = 2 * $bias as $Bits;
                const UNITS: $Bits = $bias as $Bits + $mantissa;
                ((self.to_bits() >> $mantissa) & (GREATEST + 1)).saturating_sub(UNITS).min(GREATEST - UNITS) as u64
            }
        }
    };
}
float!(f32, u32, double: false, mantissa: 23, bias: 127.0, shift: 12_582_912.0, root_half: 0x3f35_04f3);
float!(f64, u64, double: true, mantissa: 52, bias: 1023.0, shift: 6_755_399_441_055_744.0, root_half: 0x3fe6_a09e_667f_3bcd);

macro_rules! operators {
    ($($Trait:ident $method:ident $operator:tt),*) => { $(
        impl<T: Float, const FUSED: bool, const NEAR: bool> $Trait for F<T, FUSED, NEAR> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self { F(self.0 $operator other.0) }
        }
        impl<T: Float, const FUSED: bool, const NEAR: bool> $Trait<f64> for F<T, FUSED, NEAR> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self { F(self.0 $operator T::from_f64(other)) }
        }
        impl<T: Float, const FUSED: bool, const NEAR: bool> $Trait<F<T, FUSED, NEAR>> for f64 {
            type Output = F<T, FUSED, NEAR>;
            #[inline(always)]
            fn $method(self, other: F<T, FUSED, NEAR>) -> F<T, FUSED, NEAR> { F(T::from_f64(self) $operator other.0) }
        }
    )* };
}
operators!(Add add +, Sub sub -, Mul mul *, Div div /);

impl<T: Float, const FUSED: bool> F<T, FUSED> {
    /// e^x of a number that is not above 0.
    #[inline(always)]
    pub(crate) fn decay(self) -> Self {
        if T::DOUBLE { self.exp() } else { mathematics::decay(self) }
    }
    /// The same as a term of a sum whose greatest term is 1.
    #[inline(always)]
    pub(crate) fn addend(self) -> Self {
        if T::DOUBLE { self.exp() } else { mathematics::addend(self) }
    }
}

impl<T: Float, const FUSED: bool, const NEAR: bool> Neg for F<T, FUSED, NEAR> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        F(-self.0)
    }
}
impl<T: Float, const FUSED: bool, const NEAR: bool> From<f64> for F<T, FUSED, NEAR> {
    #[inline(always)]
    fn from(x: f64) -> Self {
        F(T::from_f64(x))
    }
}

impl<T: Float, const FUSED: bool, const NEAR: bool> Arithmetic for F<T, FUSED, NEAR> {
    type Bool = bool;
    type Scalar = f64;
    #[inline(always)]
    fn scalar(_: usize, value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn less(self, other: Self) -> bool {
        self.0 < other.0
    }
    #[inline(always)]
    fn less_equal(self, other: Self) -> bool {
        self.0 <= other.0
    }
    #[inline(always)]
    fn equal(self, other: Self) -> bool {
        self.0 == other.0
    }
    // `&` and `|`, since `&&` and `||` branch
    #[inline(always)]
    fn and(a: bool, b: bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn or(a: bool, b: bool) -> bool {
        a | b
    }
    #[inline(always)]
    fn not(a: bool) -> bool {
        !a
    }
    #[inline(always)]
    fn choose(condition: bool, a: Self, b: Self) -> Self {
        if condition { a } else { b }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        F(self.0.magnitude())
    }
    #[inline(always)]
    fn sign(self) -> Self {
        let zero = T::from_f64(0.0);
        let below = if self.0 < zero { T::from_f64(-1.0) } else { zero };
        F(if self.0 > zero { T::from_f64(1.0) } else { below })
    }
    #[inline(always)]
    fn remainder(self, divisor: Self) -> Self {
        let zero = T::from_f64(0.0);
        let rest = self.0.modulo(divisor.0);
        let other_side = (rest != zero) & ((rest < zero) != (divisor.0 < zero));
        F(if other_side { rest + divisor.0 } else { rest })
    }
    #[inline(always)]
    fn fmod(self, divisor: Self) -> Self {
        F(self.0.modulo(divisor.0))
    }
    #[inline(always)]
    fn pow(self, exponent: Self) -> Self {
        if T::DOUBLE {
            F(T::from_f64(self.0.to_f64().powf(exponent.0.to_f64())))
        } else {
            mathematics::pow(self, exponent)
        }
    }
}

impl<T: Float, const FUSED: bool, const NEAR: bool> Real for F<T, FUSED, NEAR> {
    type Wide = F<f64, FUSED>;
    const DOUBLE: bool = T::DOUBLE;
    const FUSED: bool = FUSED;
    const NEAR: bool = NEAR;
    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        // without the instruction, `mul_add` is a call
        if FUSED { F(self.0.multiply_add(b.0, c.0)) } else { F(self.0 * b.0 + c.0) }
    }
    #[inline(always)]
    fn square_root(self) -> Self {
        F(self.0.square_root())
    }
    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        F(self.0.with_sign_of(other.0))
    }
    #[inline(always)]
    fn nearest(self) -> Self {
        F(self.0.nearest())
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        F(self.0.power_of_two())
    }
    #[inline(always)]
    fn nearest_power(self, factor: f64, more: i32) -> (Self, Self) {
        let shift = T::EXPONENT + T::from_f64(more as f64);
        let shifted = self.multiply_add(F(T::from_f64(factor)), F(shift));
        (F(shifted.0 - shift), F(shifted.0.power_of_exponent()))
    }
    #[inline(always)]
    fn nearest_shifted(self, factor: f64) -> (Self, Self) {
        let shifted = self.multiply_add(F(T::from_f64(factor)), F(T::SHIFT));
        (F(shifted.0 - T::SHIFT), shifted)
    }
    #[inline(always)]
    fn nearest_powers(self, factor: f64) -> (Self, Self) {
        let exponents = self.multiply_add(F(T::from_f64(factor)), F(T::EXPONENTS));
        (F(exponents.0 - T::EXPONENTS), exponents)
    }
    #[inline(always)]
    fn times_powers(self, exponents: Self) -> Self {
        F(self.0.times_powers(exponents.0))
    }
    #[inline(always)]
    fn negated_by(self, shifted: Self, digit: u32) -> Self {
        F(self.0.negate_by(shifted.0, digit))
    }
    #[inline(always)]
    fn choose_if_odd(shifted: Self, a: Self, b: Self) -> Self {
        Self::choose(shifted.0.is_odd(), a, b)
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let (mantissa, exponent) = self.0.split();
        (F(mantissa), F(exponent))
    }
    #[inline(always)]
    fn widen(self) -> F<f64, FUSED> {
        F(self.0.to_f64())
    }
    #[inline(always)]
    fn narrow(wide: F<f64, FUSED>) -> Self {
        F(T::from_f64(wide.0))
    }
    #[inline(always)]
    fn standard(self, function: Standard) -> Self {
        F(T::from_f64(function.of(self.0.to_f64())))
    }
    type Digits = u64;
    #[inline(always)]
    fn last_place(self) -> u64 {
        if NEAR { 0 } else { self.0.last_place() }
    }
    #[inline(always)]
    fn from_digits(digits: u64) -> Self {
        F(T::from_f64(f64::from_bits(digits)))
    }
    #[cfg(any(feature = "cuda-unversioned", test))]
    fn while_less<const N: usize>(
        mut state: [Self; N],
        bound: Self,
        step: impl Fn([Self; N]) -> [Self; N],
    ) -> [Self; N] {
        while state[0].less(bound) {
            state = step(state);
        }
        state
    }
    #[inline(always)]
    fn rounded(self) -> [Self; 4] {
        self.0.rounded().map(F)
    }
}

/// So short that a call would be longer.
const fn is_instruction(function: Function) -> bool {
    matches!(function, Function::Sqrt | Function::Rsqrt)
}

macro_rules! number {
    ($($(#[$doc:meta])* $Variant:ident $name:ident($x:ident, $y:ident, $d:ident) $change:expr;)*) => {
        // In f64 they are called: written out in every loop that has them they were a tenth of what there is to compile.
        $(#[inline(never)] fn $name(x: f64) -> f64 { mathematics::$name(F::<f64, false>(x)).0 })*

        impl<T: Float, const FUSED: bool, const NEAR: bool> Number for F<T, FUSED, NEAR> {
            $(#[inline(always)]
            fn $name(self) -> Self {
                if T::DOUBLE && !FUSED && const { !is_instruction(Function::$Variant) } {
                    F(T::from_f64($name(self.0.to_f64())))
                } else {
                    mathematics::$name(self)
                }
            })*
            #[inline(always)]
            fn atan2(self, x: Self) -> Self {
                mathematics::atan2(self, x)
            }
            #[inline(always)]
            fn polygamma(self, order: u32) -> Self {
                mathematics::polygamma(order, self)
            }
        }
    };
}
functions!(number);
