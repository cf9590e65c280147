//! The table of formulas: each a row with its text, its gradient where that is cheaper than the computed one, an example.

use super::pointwise::formulas;
use crate::error::Fault;
use crate::formula::{Formula, Left, Number};
use crate::formula_struct;
use crate::op::pointwise;
use crate::tensor::{Tensor, refused};

formulas! {
    /// `e^x`
    fn exp(x) 1.0 => 2.718282, { exp(x) } gradient(y) { y }
    /// `2^x`
    [rare] fn exp2(x) 3.0 => 8.0, { exp2(x) }
    /// `e^x - 1`, accurate near 0.
    [rare] fn expm1(x) 1e-6 => 1e-6, { expm1(x) } gradient(y) { y + 1.0 }
    /// Natural logarithm.
    #[doc(alias = "log")]
    fn ln(x) 2.718282 => 1.0, { ln(x) }
    /// `ln(1 + x)`, accurate near 0.
    [rare] fn log1p(x) 1e-6 => 1e-6, { log1p(x) }
    /// Logarithm to base 2.
    [rare] fn log2(x) 8.0 => 3.0, { log2(x) }
    /// Logarithm to base 10.
    [rare] fn log10(x) 1000.0 => 3.0, { log10(x) }
    /// Square root.
    fn sqrt(x) 9.0 => 3.0, { sqrt(x) } gradient(y) { 0.5 / y }
    /// `1 / √x`
    fn rsqrt(x) 4.0 => 0.5, { rsqrt(x) } gradient(y) { -0.5 * (y * y * y) }
    /// Cube root, of negative numbers too.
    [rare] fn cbrt(x) -8.0 => -2.0, { cbrt(x) } gradient(y) { 1.0 / (3.0 * (y * y)) }
    /// `1 / x`
    fn reciprocal(x) 4.0 => 0.25, { 1.0 / x } gradient(y) { -(y * y) }
    /// `x · x`
    [whole] fn square(x) 3.0 => 9.0, { x * x } gradient { 2.0 * x }
    /// Absolute value; its gradient at 0 is 0.
    [whole] fn abs(x) -2.0 => 2.0, { abs(x) } gradient { sign(x) }
    /// -1, 0 or 1.
    [whole flat rare] fn sign(x) -2.0 => -1.0, { sign(x) }

    /// Sine; right for large arguments too.
    [angle] fn sin(x) 1.570796 => 1.0, { sin(x) }
    /// Cosine; right for large arguments too.
    [angle] fn cos(x) 0.0 => 1.0, { cos(x) }
    /// Tangent.
    [rare] fn tan(x) 0.7853982 => 1.0, { tan(x) } gradient(y) { 1.0 + y * y }
    /// The angle whose sine is `x`.
    #[doc(alias = "arcsin")]
    [rare] fn asin(x) 1.0 => 1.570796, { asin(x) }
    /// The angle whose cosine is `x`.
    #[doc(alias = "arccos")]
    [rare] fn acos(x) 1.0 => 0.0, { acos(x) }
    /// The angle whose tangent is `x`.
    #[doc(alias = "arctan")]
    [rare] fn atan(x) 1.0 => 0.785398, { atan(x) }
    /// Hyperbolic sine.
    [rare] fn sinh(x) 1.0 => 1.175201, { sinh(x) }
    /// Hyperbolic cosine.
    [rare] fn cosh(x) 1.0 => 1.543081, { cosh(x) }
    /// Hyperbolic tangent.
    fn tanh(x) 1.0 => 0.761594, { tanh(x) } gradient(y) { 1.0 - y * y }
    /// Inverse hyperbolic sine.
    #[doc(alias = "arcsinh")]
    [rare] fn asinh(x) 1.175201 => 1.0, { asinh(x) }
    /// Inverse hyperbolic cosine.
    #[doc(alias = "arccosh")]
    [rare] fn acosh(x) 1.543081 => 1.0, { acosh(x) }
    /// Inverse hyperbolic tangent.
    #[doc(alias = "arctanh")]
    [rare] fn atanh(x) 0.761594 => 1.0, { atanh(x) }
    /// Degrees of an angle in radians.
    #[doc(alias = "rad2deg")]
    [rare] fn to_degrees(x) 0.5235988 => 30.0, { x * (180.0 / std::f64::consts::PI) }
    /// Radians of an angle in degrees.
    #[doc(alias = "deg2rad")]
    [rare] fn to_radians(x) 180.0 => 3.141593, { x * (std::f64::consts::PI / 180.0) }

    /// Error function, `2/√π ∫₀ˣ e^-t² dt`.
    fn erf(x) 1.0 => 0.842701, { erf(x) }
    /// `1 - erf(x)`, accurate where that is small.
    [rare] fn erfc(x) 1.0 => 0.157299, { erfc(x) }
    /// The number whose error function is `x`.
    [rare] fn erfinv(x) 0.5 => 0.476936, { erfinv(x) } gradient(y) { exp(y * y) / std::f64::consts::FRAC_2_SQRT_PI }
    /// The share of a standard normal distribution that lies below `x`: `(1 + erf(x/√2)) / 2`, accurate where it is small too
    /// (in f32 down to 1e-8).
    #[doc(alias = "ndtr")]
    [rare] fn normal_cdf(x) 1.0 => 0.841345, { normal_cdf(x) }
    /// Logarithm of the absolute value of the gamma function.
    #[doc(alias = "gammaln")]
    [rare] fn lgamma(x) 5.0 => 3.178054, { lgamma(x) }
    /// The derivative of [`lgamma`](Tensor::lgamma).
    [rare] fn digamma(x) 1.0 => -0.577216, { digamma(x) }
    /// `ln(x / (1 - x))`, the inverse of [`sigmoid`](Tensor::sigmoid).
    [rare] fn logit(x) 0.75 => 1.098612, { ln(x / (1.0 - x)) } gradient {
        select(lt(x, 0.0) | gt(x, 1.0), f64::NAN, 1.0 / (x * (1.0 - x)))
    }

    /// The greatest whole number that is not greater. Its gradient is 0.
    [flat rounding rare] fn floor(x) -1.5 => -2.0, { floor(x) }
    /// The smallest whole number that is not smaller. Its gradient is 0.
    [flat rounding rare] fn ceil(x) -1.5 => -1.0, { ceil(x) }
    /// The nearest whole number, of two the even one. Its gradient is 0.
    [flat rounding rare] fn round(x) 2.5 => 2.0, { round(x) }
    /// The whole part. Its gradient is 0.
    [flat rounding rare] fn trunc(x) -1.5 => -1.0, { trunc(x) }
    /// What is left without the whole part, `x - trunc(x)`.
    #[doc(alias = "frac")]
    [rare] fn fract(x) -1.5 => -0.5, { x - trunc(x) }

    /// Rectifier, `max(x, 0)`. Its gradient at 0 is 0.
    [whole] fn relu(x) -2.0 => 0.0, { select(le(x, 0.0), 0.0, x) } gradient(y) { select(le(y, 0.0), 0.0, 1.0) }
    /// `min(max(x, 0), 6)`
    [rare] fn relu6(x) 7.0 => 6.0, { select(le(x, 0.0), 0.0, select(ge(x, 6.0), 6.0, x)) }
    /// [`relu`](Tensor::relu) with a small slope below zero.
    fn leaky_relu(x; slope = 0.01) -2.0 => -0.02, { select(gt(x, 0.0), x, slope * x) }
    /// `x` above zero, `alpha (e^x - 1)` below.
    [rare] fn elu(x; alpha = 1.0) -1.0 => -0.632121, { select(le(x, 0.0), alpha * expm1(x), x) }
    /// [`elu`](Tensor::elu) with the two constants that keep mean 0 and variance 1 (Klambauer et al. 2017).
    [rare] fn selu(x) 1.0 => 1.050701, {
        const ALPHA: f64 = 1.6732632423543772;
        const SCALE: f64 = 1.0507009873554805;
        select(le(x, 0.0), SCALE * ALPHA * expm1(x), SCALE * x)
    }
    /// Logistic function, `1 / (1 + e^-x)`.
    fn sigmoid(x) 0.0 => 0.5, { sigmoid(x) } gradient(y) { y * (1.0 - y) }
    /// `ln sigmoid(x)`, without overflow.
    #[doc(alias = "logsigmoid")]
    [rare] fn log_sigmoid(x) 0.0 => -0.693147, {
        select(lt(x, 0.0), x, 0.0) - log1p(exp(select(ge(x, 0.0), -x, x)))
    }
    /// `x · sigmoid(x)`
    #[doc(alias = "swish")]
    fn silu(x) 1.0 => 0.731059, { x * sigmoid(x) }
    /// `x Φ(x)` with the normal distribution function Φ (Hendrycks and Gimpel 2016).
    fn gelu(x) 1.0 => 0.841345, { x * normal_cdf(x) }
    /// The approximation of [`gelu`](Tensor::gelu) by tanh.
    fn gelu_tanh(x) 1.0 => 0.841192, {
        const C: f64 = 1.5957691216057308; // 2 √(2/π); (1 + tanh u) / 2 is the logistic function of 2 u
        x * sigmoid(x * (C + 0.044715 * C * (x * x)))
    }
    /// `ln(1 + e^(beta x)) / beta`; the identity where `beta x` is above the threshold.
    fn softplus(x; beta = 1.0, threshold = 20.0) 0.0 => 0.693147, {
        select(gt(beta * x, threshold), x, log1p(exp(beta * x)) / beta)
    }
    /// `x tanh(softplus(x))` (Misra 2019).
    [rare] fn mish(x) 1.0 => 0.865098, { x * tanh(select(gt(x, 20.0), x, log1p(exp(x)))) }
    /// `x / (1 + |x|)`
    [rare] fn softsign(x) -1.0 => -0.5, { x / (1.0 + abs(x)) } gradient { 1.0 / ((1.0 + abs(x)) * (1.0 + abs(x))) }
    /// `x min(max(x + 3, 0), 6) / 6`
    [rare] fn hardswish(x) 1.0 => 0.666667, {
        x * select(le(x + 3.0, 0.0), 0.0, select(ge(x + 3.0, 6.0), 6.0, x + 3.0)) / 6.0
    } gradient { select(le(x, -3.0), 0.0, select(lt(x, 3.0), x / 3.0 + 0.5, 1.0)) }
    /// `min(max(x + 3, 0), 6) / 6`
    [rare] fn hardsigmoid(x) 0.0 => 0.5, {
        select(le(x + 3.0, 0.0), 0.0, select(ge(x + 3.0, 6.0), 6.0, x + 3.0)) / 6.0
    } gradient {
        // a sixth as PyTorch has it, in single precision
        indicator(gt(x, -3.0) & lt(x, 3.0)) * (1.0f32 / 6.0) as f64
    }
    /// `min(max(x, low), high)`, the gradient 0 outside and at the bounds.
    [rare] fn hardtanh(x; low = -1.0, high = 1.0) 3.0 => 1.0, { select(le(x, low), low, select(ge(x, high), high, x)) }
    /// `x - tanh(x)`
    [rare] fn tanhshrink(x) 1.0 => 0.238406, { x - tanh(x) } gradient { tanh(x) * tanh(x) }
    /// `x` moved towards 0 by `lambda`, 0 between.
    [rare] fn softshrink(x; lambda = 0.5) 2.0 => 1.5, {
        select(gt(x, lambda), x - lambda, select(lt(x, -lambda), x + lambda, 0.0 * x))
    } gradient { indicator(gt(x, lambda) | lt(x, -lambda)) }
    /// `x` outside of `-lambda ..= lambda`, 0 inside.
    [rare] fn hardshrink(x; lambda = 0.5) 0.3 => 0.0, { select(ge(x, -lambda) & le(x, lambda), 0.0, x) }
    /// `x` above the threshold, else `value`.
    [rare] fn threshold(x; threshold = 1.0, value = 5.0) 0.3 => 5.0, { select(le(x, threshold), value, x) }
    /// 1 above zero, 0 below, `at_zero` at zero. Its gradient is 0.
    [flat rare] fn heaviside(x; at_zero = 0.5) 0.0 => 0.5, {
        select(lt(x, 0.0), 0.0, select(eq(x, 0.0), at_zero, select(gt(x, 0.0), 1.0, x)))
    }
    /// Finite numbers for those that are not: `nan` for NaN, `above` for ∞, `below` for -∞.
    [rare] fn nan_to_num(x; nan = 0.0, above = 1e30, below = -1e30) 2.0 => 2.0, {
        select(is_nan(x), nan, select(eq(x, f64::INFINITY), above, select(eq(x, f64::NEG_INFINITY), below, x)))
    }

    /// `√(x² + y²)`, without overflow; its gradient at the origin is 0.
    [rare] fn hypot(x, y = 4.0) 3.0 => 5.0, {
        let (a, b) = (abs(x), abs(y));
        let (large, small) = (select(lt(a, b), b, a), select(lt(a, b), a, b));
        let ratio = small / select(eq(large, 0.0), 1.0, large);
        let length = large * sqrt(1.0 + ratio * ratio);
        select(eq(a, f64::INFINITY) | eq(b, f64::INFINITY), f64::INFINITY, select(is_nan(x) | is_nan(y), f64::NAN, length))
    } gradient { part(x, y), part(y, x) }
    /// The angle of the point (`other`, `self`), from -π to π.
    #[doc(alias = "arctan2")]
    [rare] fn atan2(y, x = 1.0) 1.0 => 0.785398, { atan2(y, x) }
    /// `ln(e^x + e^y)`, without overflow.
    [rare] fn logaddexp(x, y = 0.0) 0.0 => 0.693147, {
        let above = select(lt(x, y), y, x);
        let apart = select(lt(x, y), x - y, y - x);
        // two equal infinities have no difference
        select(eq(x, y), x + std::f64::consts::LN_2, above + log1p(exp(apart)))
    } gradient {
        select(eq(x, y), 0.5, 1.0 / (1.0 + exp(y - x))),
        select(eq(x, y), 0.5, 1.0 / (1.0 + exp(x - y)))
    }
    /// `x ln y`, 0 where `x` is 0 (unless `y` is NaN).
    [rare] fn xlogy(x, y = 2.718282) 3.0 => 3.0, { select(eq(x, 0.0) & !is_nan(y), 0.0, x * ln(y)) } gradient {
        select(eq(x, 0.0) & le(y, 0.0), 0.0, ln(y)),
        x / y
    }
    /// The magnitude of `x` with the sign of `y`.
    [rare] fn copysign(x, y = -1.0) 3.0 => -3.0, {
        select(lt(y, 0.0) | (eq(y, 0.0) & lt(1.0 / y, 0.0)), -abs(x), abs(x))
    }
    /// `x + weight · (end - x)`; with weight 0 it is `x`, with 1 `end`.
    [rare] fn lerp(x, end = 5.0, weight = 0.5) 1.0 => 3.0, {
        // from the nearer end, so that both ends are exact
        select(lt(abs(weight), 0.5), x + weight * (end - x), end - (end - x) * (1.0 - weight))
    } gradient { 1.0 - weight, weight, end - x }
    /// `√((x - y)²)`, squared: `(x - y)²`.
    fn squared_difference(x, y = 1.0) 4.0 => 9.0, { (x - y) * (x - y) } gradient { 2.0 * (x - y), 2.0 * (y - x) }
}

/// `x / √(x² + y²)`, without overflow; 0 at the origin.
#[inline(always)]
fn part<R: Number>(x: R, y: R) -> R
where
    f64: Left<R> + Left<f64> + Left<R::Scalar>,
{
    use crate::formula::*;
    let (a, b) = (abs(x), abs(y));
    let large = select(le(b, a), a, b);
    let unit = select(eq(large, 0.0), 1.0, large);
    let (u, v) = (x / unit, y / unit);
    // beside an infinite one nothing is left of the other
    let length = select(eq(a + b, 0.0) | eq(large, f64::INFINITY), 1.0, sqrt(u * u + v * v));
    u / length
}

/// The derivative number `order` of digamma.
#[derive(Clone, Debug)]
struct Polygamma {
    order: u32,
}
impl Formula<1> for Polygamma {
    const NAME: &'static str = "polygamma";
    const TEXT: &'static str = "polygamma(order, x)";
    #[inline(always)]
    fn value<R: Number>(&self, [x]: [R; 1]) -> R
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>,
    {
        x.polygamma(self.order)
    }
    fn parameters(&self) -> Vec<f64> {
        Vec::new()
    }
    fn form(&self) -> Option<u64> {
        Some(self.order.into())
    }
}

formula_struct!([rare] Celu celu(x)(alpha, inverse) { select(le(x, 0.0), alpha * expm1(x / alpha), x) } gradient {
    select(le(x, 0.0), alpha * inverse * exp(x * inverse), 1.0)
});

impl Tensor {
    /// `max(x, 0) + min(alpha (e^(x / alpha) - 1), 0)` (Barron 2017).
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert!((Tensor::from([-1.0]).celu(1.0).item()? + 0.632121).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn celu(&self, alpha: f64) -> Tensor {
        // PyTorch's gradient divides by alpha in single precision, that of f64 too
        pointwise(Celu { alpha, inverse: 1.0 / (alpha as f32 as f64) }, [self])
    }
    /// The derivative number `order` of [`digamma`](Tensor::digamma); 0 is digamma itself.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let y = Tensor::from([1.0]).polygamma(1);
    /// assert!((y.item()? - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn polygamma(&self, order: u32) -> Tensor {
        // the largest factorial that f64 holds
        const MOST: u32 = 170;
        if order > MOST {
            let help = format!("f64 holds factorials up to {MOST}!, and so orders up to {MOST}");
            return refused("polygamma", Fault::value(format!("a derivative of order {order}"), help), &[self]);
        }
        pointwise(Polygamma { order }, [self])
    }
}
