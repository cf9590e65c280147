//! Whole numbers as numbers of a formula. They wrap.

use super::number::Arithmetic;
use crate::layout::Element;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An integer as a formula sees it: sums and products wrap, division truncates. Divisors are checked before.
///
/// ```
/// use chainrule::formula::Whole;
/// assert_eq!((Whole(250u8) + Whole(10)).0, 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct Whole<T>(pub T);

/// The integers that the processor computes with: what [`Whole`] needs of them.
pub trait Integral: Element + Ord {
    #[doc(hidden)]
    fn wrapping(operator: super::Operator, a: Self, b: Self) -> Self;
    #[doc(hidden)]
    fn magnitude(self) -> Self;
    #[doc(hidden)]
    fn modulo(self, divisor: Self) -> Self;
}

macro_rules! integral {
    ($($T:ty: |$x:ident| $magnitude:expr;)*) => { $(
        impl Integral for $T {
            #[inline(always)]
            fn wrapping(operator: super::Operator, a: $T, b: $T) -> $T {
                match operator {
                    super::Operator::Add => a.wrapping_add(b),
                    super::Operator::Sub => a.wrapping_sub(b),
                    super::Operator::Mul => a.wrapping_mul(b),
                    // the caller refuses zeros; 0 keeps this free of panics
                    super::Operator::Div => if b == 0 { 0 } else { a.wrapping_div(b) },
                }
            }
            #[inline(always)]
            fn magnitude(self) -> $T { let $x = self; $magnitude }
            #[inline(always)]
            fn modulo(self, divisor: $T) -> $T { if divisor == 0 { 0 } else { self.wrapping_rem(divisor) } }
        }
    )* };
}
integral! { i64: |x| x.wrapping_abs(); i32: |x| x.wrapping_abs(); u8: |x| x; }

macro_rules! operators {
    ($($Trait:ident $method:ident),*) => { $(
        impl<T: Integral> $Trait for Whole<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self { Whole(T::wrapping(super::Operator::$Trait, self.0, other.0)) }
        }
        impl<T: Integral> $Trait<f64> for Whole<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self { self.$method(Self::from(other)) }
        }
        impl<T: Integral> $Trait<Whole<T>> for f64 {
            type Output = Whole<T>;
            #[inline(always)]
            fn $method(self, other: Whole<T>) -> Whole<T> { Whole::from(self).$method(other) }
        }
    )* };
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl<T: Integral> Neg for Whole<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::from(0.0) - self
    }
}
impl<T: Integral> From<f64> for Whole<T> {
    #[inline(always)]
    fn from(x: f64) -> Self {
        Whole(T::from_f64(x))
    }
}

impl<T: Integral> Arithmetic for Whole<T> {
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
        Whole(self.0.magnitude())
    }
    #[inline(always)]
    fn sign(self) -> Self {
        let zero = T::from_i64(0);
        Whole(T::from_i64((self.0 > zero) as i64 - (self.0 < zero) as i64))
    }
    #[inline(always)]
    fn remainder(self, divisor: Self) -> Self {
        let zero = T::from_i64(0);
        let rest = self.fmod(divisor);
        let other_side = (rest.0 != zero) & ((rest.0 < zero) != (divisor.0 < zero));
        if other_side { rest + divisor } else { rest }
    }
    #[inline(always)]
    fn fmod(self, divisor: Self) -> Self {
        Whole(self.0.modulo(divisor.0))
    }
    fn pow(self, exponent: Self) -> Self {
        let [zero, one] = [0, 1].map(|number| Whole(T::from_i64(number)));
        let mut left = exponent.0.to_i64();
        if left < 0 {
            return match () {
                () if self == one => one,
                () if self == -one => Self::choose(left % 2 == 0, one, self),
                () => zero,
            };
        }
        // Squares of squares: those that the exponent's digits name are multiplied.
        let (mut power, mut square) = (one, self);
        while left > 0 {
            if left % 2 == 1 {
                power = power * square;
            }
            (square, left) = (square * square, left / 2);
        }
        power
    }
}
