//! What a formula may do with a number, whatever kind of number it is.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// What may stand left of an `R` in `+ - * /`: `2.0 * x` needs `f64: Left<R>`.
///
/// A literal is always an f64, so `f64: Left<R> + Left<f64>` is the one bound that a helper function of a formula
/// writes (the second half lets `2.0 * 0.5 * x` keep its meaning).
///
/// ```
/// use chainrule::formula::{Left, Number, exp};
/// fn logistic<R: Number>(x: R) -> R where f64: Left<R> + Left<f64> {
///     1.0 / (1.0 + exp(-x))
/// }
/// # use chainrule::formula::F;
/// assert_eq!(logistic(F::<f64, false>(0.0)).0, 0.5);
/// ```
pub trait Left<R>: Add<R, Output = R> + Sub<R, Output = R> + Mul<R, Output = R> + Div<R, Output = R> {}
impl<L, R> Left<R> for L where L: Add<R, Output = R> + Sub<R, Output = R> + Mul<R, Output = R> + Div<R, Output = R> {}

/// What a number can be combined with on its right: `x * 2.0` needs `R: Right<f64>`.
pub trait Right<S>:
    Add<S, Output = Self> + Sub<S, Output = Self> + Mul<S, Output = Self> + Div<S, Output = Self> + Sized
{
}
impl<R, S> Right<S> for R where R: Add<S, Output = R> + Sub<S, Output = R> + Mul<S, Output = R> + Div<S, Output = R> {}

/// What every kind of number can do, whole numbers too.
pub trait Arithmetic:
    Copy + From<f64> + From<Self::Scalar> + Neg<Output = Self> + Right<Self> + Right<f64> + Right<Self::Scalar>
{
    /// The result of a comparison.
    type Bool: Copy;
    /// A scalar parameter of a formula: f64 on the CPU, an expression that the host evaluates for symbols.
    type Scalar: Copy + Neg<Output = Self::Scalar> + Left<Self> + Left<Self::Scalar> + Right<f64>;

    /// The parameter number `index` of the formula, whose value is `value`.
    fn scalar(index: usize, value: f64) -> Self::Scalar;
    /// `self < other`
    fn less(self, other: Self) -> Self::Bool;
    /// `self <= other`
    fn less_equal(self, other: Self) -> Self::Bool;
    /// `self == other`
    fn equal(self, other: Self) -> Self::Bool;
    /// Both hold.
    fn and(a: Self::Bool, b: Self::Bool) -> Self::Bool;
    /// One of them holds, or both.
    fn or(a: Self::Bool, b: Self::Bool) -> Self::Bool;
    /// It does not hold.
    fn not(a: Self::Bool) -> Self::Bool;
    /// `a` where the condition holds, else `b`; both are computed.
    fn choose(condition: Self::Bool, a: Self, b: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// -1, 0 or 1; 0 for NaN, as in PyTorch.
    fn sign(self) -> Self;
    /// The remainder that has the divisor's sign, as in Python.
    fn remainder(self, divisor: Self) -> Self;
    /// The remainder that has the dividend's sign, as in C and Rust.
    fn fmod(self, divisor: Self) -> Self;
    /// `self` to the power of `exponent`: of floats with the special cases of IEEE 754. Whole numbers wrap, and where the
    /// exponent is negative the power, a fraction, is truncated: 1 and -1 stay, all else is 0.
    fn pow(self, exponent: Self) -> Self;
}

/// The answer of a comparison between two numbers of kind `R`, for [`select`]. `&`, `|` and `!` combine them.
#[derive(Clone, Copy, Debug)]
pub struct Mask<R: Arithmetic>(pub R::Bool);

impl<R: Arithmetic> BitAnd for Mask<R> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Mask(R::and(self.0, other.0))
    }
}
impl<R: Arithmetic> BitOr for Mask<R> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Mask(R::or(self.0, other.0))
    }
}
impl<R: Arithmetic> Not for Mask<R> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Mask(R::not(self.0))
    }
}

/// Is `a < b`? The second may be a literal.
#[inline(always)]
pub fn lt<R: Arithmetic>(a: R, b: impl Into<R>) -> Mask<R> {
    Mask(a.less(b.into()))
}
/// Is `a <= b`?
#[inline(always)]
pub fn le<R: Arithmetic>(a: R, b: impl Into<R>) -> Mask<R> {
    Mask(a.less_equal(b.into()))
}
/// Is `a > b`?
#[inline(always)]
pub fn gt<R: Arithmetic>(a: R, b: impl Into<R>) -> Mask<R> {
    Mask(b.into().less(a))
}
/// Is `a >= b`?
#[inline(always)]
pub fn ge<R: Arithmetic>(a: R, b: impl Into<R>) -> Mask<R> {
    Mask(b.into().less_equal(a))
}
/// Is `a == b`? NaN equals nothing.
#[inline(always)]
pub fn eq<R: Arithmetic>(a: R, b: impl Into<R>) -> Mask<R> {
    Mask(a.equal(b.into()))
}
/// Is `a != b`?
#[inline(always)]
pub fn ne<R: Arithmetic>(a: R, b: impl Into<R>) -> Mask<R> {
    !eq(a, b)
}
/// Is it NaN?
#[inline(always)]
pub fn is_nan<R: Arithmetic>(x: R) -> Mask<R> {
    !eq(x, x)
}
/// `a` where the condition holds, else `b`. Both are computed; the derivative is that of the chosen one.
#[inline(always)]
pub fn select<R: Arithmetic>(condition: Mask<R>, a: impl Into<R>, b: impl Into<R>) -> R {
    R::choose(condition.0, a.into(), b.into())
}
/// 1 where the condition holds, else 0.
#[inline(always)]
pub fn indicator<R: Arithmetic>(condition: Mask<R>) -> R {
    select(condition, 1.0, 0.0)
}
/// The greater; NaN if one is NaN. At a tie the derivative goes to the second.
#[inline(always)]
pub fn maximum<R: Arithmetic>(a: R, b: impl Into<R>) -> R {
    let b = b.into();
    select(gt(a, b) | is_nan(a), a, b)
}
/// The smaller; NaN if one is NaN. At a tie the derivative goes to the second.
#[inline(always)]
pub fn minimum<R: Arithmetic>(a: R, b: impl Into<R>) -> R {
    let b = b.into();
    select(lt(a, b) | is_nan(a), a, b)
}
/// Absolute value; its derivative at 0 is 0.
#[inline(always)]
pub fn abs<R: Arithmetic>(x: R) -> R {
    x.abs()
}
/// -1, 0 or 1.
#[inline(always)]
pub fn sign<R: Arithmetic>(x: R) -> R {
    x.sign()
}
/// The remainder that has the divisor's sign.
#[inline(always)]
pub fn remainder<R: Arithmetic>(x: R, divisor: impl Into<R>) -> R {
    x.remainder(divisor.into())
}
/// The remainder that has the dividend's sign.
#[inline(always)]
pub fn fmod<R: Arithmetic>(x: R, divisor: impl Into<R>) -> R {
    x.fmod(divisor.into())
}

/// The table of functions of one number. Each row: the variant and the name, its documentation, and how a small change
/// `d` of `x` goes on to a change of `y`, its value there. `None` where the function is flat.
macro_rules! functions {
    ($callback:ident) => {
        $callback! {
            /// `e^x`
            Exp exp(x, y, d) Some(d * y);
            /// `2^x`
            Exp2 exp2(x, y, d) Some(d * y * std::f64::consts::LN_2);
            /// `e^x - 1`, accurate near 0.
            Expm1 expm1(x, y, d) Some(d * (y + 1.0));
            /// Natural logarithm.
            Ln ln(x, y, d) Some(d / x);
            /// `ln(1 + x)`, accurate near 0.
            Log1p log1p(x, y, d) Some(d / (x + 1.0));
            /// Logarithm to base 2.
            Log2 log2(x, y, d) Some(d / (x * std::f64::consts::LN_2));
            /// Logarithm to base 10.
            Log10 log10(x, y, d) Some(d / (x * std::f64::consts::LN_10));
            /// Square root.
            Sqrt sqrt(x, y, d) Some(d / (y + y));
            /// `1 / sqrt(x)`
            Rsqrt rsqrt(x, y, d) Some(d * (y * y * y * -0.5));
            /// Cube root.
            Cbrt cbrt(x, y, d) Some(d / (y * y * 3.0));
            /// Sine.
            Sin sin(x, y, d) Some(d * x.cos());
            /// Cosine.
            Cos cos(x, y, d) Some(-(d * x.sin()));
            /// Tangent.
            Tan tan(x, y, d) Some(d * (y * y + 1.0));
            /// The angle whose sine is `x`.
            Asin asin(x, y, d) Some(d * (-(x * x) + 1.0).rsqrt());
            /// The angle whose cosine is `x`.
            Acos acos(x, y, d) Some(-(d * (-(x * x) + 1.0).rsqrt()));
            /// The angle whose tangent is `x`.
            Atan atan(x, y, d) Some(d / (x * x + 1.0));
            /// Hyperbolic sine.
            Sinh sinh(x, y, d) Some(d * x.cosh());
            /// Hyperbolic cosine.
            Cosh cosh(x, y, d) Some(d * x.sinh());
            /// Hyperbolic tangent.
            Tanh tanh(x, y, d) Some(d * (-(y * y) + 1.0));
            /// Logistic function, `1 / (1 + e^-x)`.
            Sigmoid sigmoid(x, y, d) Some(d * (y * (-y + 1.0)));
            /// Inverse hyperbolic sine.
            Asinh asinh(x, y, d) Some(d * (x * x + 1.0).rsqrt());
            /// Inverse hyperbolic cosine.
            Acosh acosh(x, y, d) Some(d * ((x - 1.0) * (x + 1.0)).rsqrt());
            /// Inverse hyperbolic tangent.
            Atanh atanh(x, y, d) Some(d / ((-x + 1.0) * (x + 1.0)));
            /// Error function.
            Erf erf(x, y, d) Some(d * ((-(x * x)).exp() * std::f64::consts::FRAC_2_SQRT_PI));
            /// `1 - erf(x)`, accurate where that is small.
            Erfc erfc(x, y, d) Some(-(d * ((-(x * x)).exp() * std::f64::consts::FRAC_2_SQRT_PI)));
            /// The number whose error function is `x`.
            Erfinv erfinv(x, y, d) Some(d * ((y * y).exp() / std::f64::consts::FRAC_2_SQRT_PI));
            /// The share of a standard normal distribution below `x`.
            NormalCdf normal_cdf(x, y, d) Some(d * ((x * x * -0.5).exp() * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2)));
            /// Logarithm of the absolute value of the gamma function.
            Lgamma lgamma(x, y, d) Some(d * x.polygamma(0));
            /// The greatest whole number that is not greater.
            Floor floor(x, y, d) None;
            /// The smallest whole number that is not smaller.
            Ceil ceil(x, y, d) None;
            /// The nearest whole number; of two the even one.
            Round round(x, y, d) None;
            /// The whole part.
            Trunc trunc(x, y, d) None;
        }
    };
}
pub(crate) use functions;

macro_rules! number {
    ($($(#[$doc:meta])* $Variant:ident $name:ident($x:ident, $y:ident, $d:ident) $change:expr;)*) => {
        /// What a formula can do with a number: arithmetic and the functions of mathematics.
        pub trait Number: Arithmetic {
            $($(#[$doc])* fn $name(self) -> Self;)*
            /// The angle of the point (`x`, `self`), from -π to π.
            fn atan2(self, x: Self) -> Self;
            /// The derivative number `order` of the digamma function: 0 is digamma itself, 1 trigamma.
            fn polygamma(self, order: u32) -> Self;
        }
        $($(#[$doc])* #[inline(always)] pub fn $name<R: Number>(x: R) -> R { x.$name() })*
    };
}
functions!(number);

/// `x` to the power of `exponent`.
#[inline(always)]
pub fn pow<R: Arithmetic>(x: R, exponent: impl Into<R>) -> R {
    x.pow(exponent.into())
}
/// The angle of the point (`x`, `y`), from -π to π.
#[inline(always)]
pub fn atan2<R: Number>(y: R, x: impl Into<R>) -> R {
    y.atan2(x.into())
}
/// The derivative of `lgamma`.
#[inline(always)]
pub fn digamma<R: Number>(x: R) -> R {
    x.polygamma(0)
}
/// The derivative number `order` of digamma.
#[inline(always)]
pub fn polygamma<R: Number>(order: u32, x: R) -> R {
    x.polygamma(order)
}
/// Is it neither infinite nor NaN?
#[inline(always)]
pub fn is_finite<R: Arithmetic>(x: R) -> Mask<R> {
    lt(x.abs(), f64::INFINITY)
}
