//! Dual numbers: a value and how it changes, carried together.

use super::number::{Arithmetic, Number, functions};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number with its tangent: how it changes when the input that we differentiate for changes.
///
/// `None` says that it does not depend on that input. This is known while compiling, so that constants and the other
/// inputs cost nothing, and `0 · ∞` never appears where nothing depends on the input.
///
/// ```
/// use chainrule::formula::{Dual, F, Number};
/// let x = Dual { value: F::<f64, false>(3.0), tangent: Some(F(1.0)) };
/// assert_eq!((x * x).tangent.unwrap().0, 6.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dual<R> {
    /// The number.
    pub value: R,
    /// Its change; `None` for a constant.
    pub tangent: Option<R>,
}

impl<R> Dual<R> {
    /// A number that does not change.
    #[inline(always)]
    pub fn constant(value: R) -> Self {
        Dual { value, tangent: None }
    }
}

/// The sum of two changes.
#[inline(always)]
fn sum<R: Add<Output = R>>(a: Option<R>, b: Option<R>) -> Option<R> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (Some(a), None) => Some(a),
        (None, b) => b,
    }
}

impl<R: Arithmetic> From<f64> for Dual<R> {
    #[inline(always)]
    fn from(x: f64) -> Self {
        Dual::constant(x.into())
    }
}
impl<R: Arithmetic> Neg for Dual<R> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Dual { value: -self.value, tangent: self.tangent.map(|d| -d) }
    }
}
impl<R: Arithmetic> Add for Dual<R> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Dual { value: self.value + other.value, tangent: sum(self.tangent, other.tangent) }
    }
}
impl<R: Arithmetic> Sub for Dual<R> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Dual { value: self.value - other.value, tangent: sum(self.tangent, other.tangent.map(|d| -d)) }
    }
}
impl<R: Arithmetic> Mul for Dual<R> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let tangent = sum(self.tangent.map(|d| d * other.value), other.tangent.map(|d| self.value * d));
        Dual { value: self.value * other.value, tangent }
    }
}
impl<R: Arithmetic> Div for Dual<R> {
    type Output = Self;
    #[inline(always)]
    #[allow(clippy::suspicious_arithmetic_impl)] // the quotient rule multiplies
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let tangent = sum(self.tangent, other.tangent.map(|d| -(value * d))).map(|d| d / other.value);
        Dual { value, tangent }
    }
}

// A literal or a scalar parameter beside a dual number is a constant.
macro_rules! constants {
    ($($Trait:ident $method:ident)*) => { $(
        impl<R: Arithmetic> $Trait<f64> for Dual<R> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self { self.$method(Self::from(other)) }
        }
        impl<R: Arithmetic> $Trait<Dual<R>> for f64 {
            type Output = Dual<R>;
            #[inline(always)]
            fn $method(self, other: Dual<R>) -> Dual<R> { Dual::from(self).$method(other) }
        }
    )* };
}
constants! { Add add Sub sub Mul mul Div div }

impl<R: Number<Scalar = S>, S> Arithmetic for Dual<R>
where
    Dual<R>: super::number::Right<S> + From<S>,
    S: Copy + Neg<Output = S> + super::number::Left<Dual<R>> + super::number::Left<S> + super::number::Right<f64>,
{
    type Bool = R::Bool;
    type Scalar = S;
    #[inline(always)]
    fn scalar(index: usize, value: f64) -> S {
        R::scalar(index, value)
    }
    #[inline(always)]
    fn less(self, other: Self) -> R::Bool {
        self.value.less(other.value)
    }
    #[inline(always)]
    fn less_equal(self, other: Self) -> R::Bool {
        self.value.less_equal(other.value)
    }
    #[inline(always)]
    fn equal(self, other: Self) -> R::Bool {
        self.value.equal(other.value)
    }
    #[inline(always)]
    fn and(a: R::Bool, b: R::Bool) -> R::Bool {
        R::and(a, b)
    }
    #[inline(always)]
    fn or(a: R::Bool, b: R::Bool) -> R::Bool {
        R::or(a, b)
    }
    #[inline(always)]
    fn not(a: R::Bool) -> R::Bool {
        R::not(a)
    }
    #[inline(always)]
    fn choose(condition: R::Bool, a: Self, b: Self) -> Self {
        let tangent = match (a.tangent, b.tangent) {
            (None, None) => None,
            (a, b) => {
                let still = R::from(0.0);
                Some(R::choose(condition, a.unwrap_or(still), b.unwrap_or(still)))
            }
        };
        Dual { value: R::choose(condition, a.value, b.value), tangent }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Dual { value: self.value.abs(), tangent: self.tangent.map(|d| d * self.value.sign()) }
    }
    #[inline(always)]
    fn sign(self) -> Self {
        Dual::constant(self.value.sign())
    }
    // x mod y = x - y ⌊x / y⌋, and the floor is flat. Here and below it is (x - r) / y, which is exact where x / y is not.
    #[inline(always)]
    fn remainder(self, divisor: Self) -> Self {
        let value = self.value.remainder(divisor.value);
        let tangent = divisor.tangent.map(|d| -(d * ((self.value - value) / divisor.value)));
        Dual { value, tangent: sum(self.tangent, tangent) }
    }
    #[inline(always)]
    fn fmod(self, divisor: Self) -> Self {
        let value = self.value.fmod(divisor.value);
        let tangent = divisor.tangent.map(|d| -(d * ((self.value - value) / divisor.value)));
        Dual { value, tangent: sum(self.tangent, tangent) }
    }
    #[inline(always)]
    fn pow(self, exponent: Self) -> Self {
        let (x, e) = (self.value, exponent.value);
        let value = x.pow(e);
        let zero = R::from(0.0);
        // e · x^(e-1), and 0 for x^0 even where x^-1 is infinite
        let of_base = |d: R| R::choose(e.equal(zero), zero, d * (e * x.pow(e - 1.0)));
        // x^e · ln x, and 0 for 0^e where the power does not move from 0 or 1
        let still = R::and(x.equal(zero), zero.less_equal(e));
        let of_exponent = |d: R| R::choose(still, zero, d * (value * x.ln()));
        Dual { value, tangent: sum(self.tangent.map(of_base), exponent.tangent.map(of_exponent)) }
    }
}

macro_rules! dual {
    ($($(#[$doc:meta])* $Variant:ident $name:ident($x:ident, $y:ident, $d:ident) $change:expr;)*) => {
        impl<R: Number> Number for Dual<R>
        where
            Dual<R>: Arithmetic,
        {
            $(
                #[inline(always)]
                #[allow(unused_variables)]
                fn $name(self) -> Self {
                    let $x = self.value;
                    let $y = $x.$name();
                    Dual { value: $y, tangent: self.tangent.and_then(|$d| $change) }
                }
            )*
            #[inline(always)]
            fn atan2(self, x: Self) -> Self {
                let (b, a) = (self.value, x.value);
                let square = a * a + b * b;
                let change = sum(self.tangent.map(|d| d * a), x.tangent.map(|d| -(d * b)));
                // 0 at the origin, where every direction is possible
                let still = square.equal(R::from(0.0));
                Dual { value: b.atan2(a), tangent: change.map(|d| R::choose(still, R::from(0.0), d / square)) }
            }
            #[inline(always)]
            fn polygamma(self, order: u32) -> Self {
                let x = self.value;
                Dual { value: x.polygamma(order), tangent: self.tangent.map(|d| d * x.polygamma(order + 1)) }
            }
        }
    };
}
functions!(dual);
