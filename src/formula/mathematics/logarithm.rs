//! Logarithms and the inverse hyperbolic functions.

use super::exponential::ln_2;
use super::{Real, if_less, polynomial};
use std::f64::consts::{LN_2, LN_10, LOG2_E, LOG10_2};

/// (m, e) with x = m 2^e and m in [√½, √2), for a positive finite x.
#[inline(always)]
pub(super) fn mantissa_and_exponent<R: Real>(x: R) -> (R, R) {
    let (least, up, bits) = if R::DOUBLE {
        (f64::MIN_POSITIVE, 18_014_398_509_481_984.0, 54.0)
    } else {
        (f32::MIN_POSITIVE as f64, 33_554_432.0, 25.0)
    };
    let subnormal = x.less(R::from(least));
    let (m, e) = R::choose(subnormal, x * up, x).split();
    (m, R::choose(subnormal, e - bits, e))
}

/// (ln m, e) for a positive finite x = m 2^e, ln m as (f, what to subtract): ln m = f - rest.
#[inline(always)]
fn parts<R: Real>(x: R) -> (R, R, R) {
    let (m, e) = mantissa_and_exponent(x);
    // ln(1 + f) = f - (f²/2 - s (f²/2 + P(s²))) with s = f / (2 + f), as in fdlibm
    let f = m - 1.0;
    let s = f / (f + 2.0);
    let z = s * s;
    let p = if R::DOUBLE {
        polynomial(
            z,
            [
                6.666666666666735130e-01,
                3.999999999940941908e-01,
                2.857142874366239149e-01,
                2.222219843214978396e-01,
                1.818357216161805012e-01,
                1.531383769920937332e-01,
                1.479819860511658591e-01,
            ],
        )
    } else {
        polynomial(z, [0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841])
    } * z;
    let half = f * f * 0.5;
    (f, half - s * (half + p), e)
}

/// The logarithm's values outside of the positive finite numbers.
#[inline(always)]
fn edges<R: Real>(x: R, inside: R) -> R {
    let zero = R::from(0.0);
    // infinity and NaN stay what they are
    let outside = if_less(x, zero, f64::NAN, R::choose(x.equal(zero), R::from(f64::NEG_INFINITY), x));
    R::choose(R::and(zero.less(x), x.less(R::from(f64::INFINITY))), inside, outside)
}

#[inline(always)]
pub(crate) fn ln<R: Real>(x: R) -> R {
    let (f, rest, e) = parts(x);
    let (high, low) = ln_2::<R>();
    edges(x, e * high - ((rest - e * low) - f))
}

#[inline(always)]
pub(crate) fn log2<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(log2(x.widen()));
    }
    let (f, rest, e) = parts(x);
    edges(x, (f - rest) * LOG2_E + e)
}

#[inline(always)]
pub(crate) fn log10<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(log10(x.widen()));
    }
    let (f, rest, e) = parts(x);
    edges(x, (f - rest) * (1.0 / LN_10) + e * LOG10_2)
}

#[inline(always)]
pub(crate) fn log1p<R: Real>(x: R) -> R {
    // ln(u) x / (u - 1) for u = 1 + x as rounded (Kahan): both factors carry the same error of u
    let u = x + 1.0;
    let near = u.equal(R::from(1.0));
    let shift = R::choose(near, R::from(1.0), u - 1.0);
    let log = ln(u);
    let result = R::choose(near, x, log * (R::choose(near, R::from(1.0), x) / shift));
    if_less(x, f64::INFINITY, result, log)
}

#[inline(always)]
pub(crate) fn asinh<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(asinh(x.widen()));
    }
    let size = x.abs();
    let square = size * size;
    let small = log1p(size + square / ((square + 1.0).square_root() + 1.0));
    // the square would overflow
    let large = ln(size) + LN_2;
    if_less(size, 1e9, small, large).with_sign_of(x)
}

#[inline(always)]
pub(crate) fn acosh<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(acosh(x.widen()));
    }
    let t = x - 1.0;
    let small = log1p(t + (t + t + t * t).square_root());
    let large = ln(x) + LN_2;
    if_less(x, 1.0, f64::NAN, if_less(x, 1e9, small, large))
}

#[inline(always)]
pub(crate) fn atanh<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(atanh(x.widen()));
    }
    let size = x.abs();
    (log1p((size + size) / (-size + 1.0)) * 0.5).with_sign_of(x)
}
