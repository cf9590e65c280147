//! e^x and what is made of it.

use super::{Real, if_less, polynomial};
use std::f64::consts::{LN_2, LOG2_E};

/// ln 2 in two parts, the first so short that its product with an exponent is exact.
#[inline(always)]
pub(super) fn ln_2<R: Real>() -> (R, R) {
    if R::DOUBLE {
        (R::from(0.693_147_180_369_123_8), R::from(1.908_214_929_270_587_7e-10))
    } else {
        (R::from(0.693_145_751_953_125), R::from(1.428_606_820_309_417_3e-6))
    }
}

/// `e^r - 1` for |r| <= ln 2 / 2: r + r² Q(r).
#[inline(always)]
pub(super) fn expm1_near_zero<R: Real>(r: R) -> R {
    let q = if R::DOUBLE {
        polynomial(
            r,
            [
                0.5,
                0.16666666666666685,
                0.04166666666666673,
                0.008333333333316687,
                0.0013888888888858517,
                0.00019841269897189986,
                2.4801587373628382e-05,
                2.755723410218242e-06,
                2.755723345472827e-07,
                2.5112287839337847e-08,
                2.092691159826627e-09,
            ],
        )
    } else {
        polynomial(
            r,
            [
                0.5000000078122464,
                0.16666666861386153,
                0.04166626921334685,
                0.008333264232928246,
                0.0013946124929482807,
                0.00019918441336230774,
            ],
        )
    };
    (r * r).multiply_add(q, r)
}

/// `e^r` for |r| <= ln 2 / 2; in f32 the relative error of the fit is below 2^-28. (By pairs fewer steps would wait for each
/// other, but there would be one more: processors have other numbers to go on with meanwhile.)
#[inline(always)]
fn power_near_zero<R: Real>(r: R) -> R {
    if R::DOUBLE {
        return expm1_near_zero(r) + 1.0;
    }
    polynomial(
        r,
        [
            1.0,
            1.0,
            0.49999993431974379,
            0.16666520399457486,
            0.041668390834391332,
            0.0083687450809168823,
            0.0013814537082063353,
        ],
    )
}

/// `2^f` for |f| <= 1/2, likewise.
#[inline(always)]
fn power_of_two_near_zero<R: Real>(f: R) -> R {
    if R::DOUBLE {
        return power_near_zero(f * LN_2);
    }
    polynomial(
        f,
        [
            1.0,
            0.6931472028566567,
            0.2402264791349768,
            0.055503324674018494,
            0.009618437361748153,
            0.0013398875966297782,
            0.00015353364287230579,
        ],
    )
}

/// x = n ln 2 + r with whole n and |r| <= ln 2 / 2; gives (n, r).
#[inline(always)]
fn reduce<R: Real>(x: R) -> (R, R) {
    let n = (x * LOG2_E).nearest();
    let (high, low) = ln_2::<R>();
    // n · high is exact, fused or not
    (n, n.multiply_add(-low, n.multiply_add(-high, x)))
}

/// x 2^n in two steps, so that subnormal results are rounded once and nothing overflows on the way.
#[inline(always)]
pub(super) fn scale<R: Real>(x: R, n: R) -> R {
    let half = (n * 0.5).nearest();
    x * half.power_of_two() * (n - half).power_of_two()
}

/// Not below `low` nor above `high`; a NaN fails both comparisons and passes.
#[inline(always)]
fn within<R: Real>(x: R, low: f64, high: f64) -> R {
    // One after the other: each is one instruction, the greater and the smaller of two numbers.
    let x = if_less(R::from(high), x, high, x);
    if_less(x, low, low, x)
}

/// From where on e^x is 0, and e^x / 2 is infinity.
#[inline(always)]
fn clamp<R: Real>(x: R) -> R {
    let (low, high) = if R::DOUBLE { (-746.0, 711.0) } else { (-104.0, 90.0) };
    within(x, low, high)
}

/// x - n ln 2, which is as good as exact where n is the nearest whole number to x / ln 2.
#[inline(always)]
fn without_powers<R: Real>(x: R, n: R) -> R {
    let (high, low) = ln_2::<R>();
    n.multiply_add(-low, n.multiply_add(-high, x))
}

#[inline(always)]
pub(crate) fn exp<R: Real>(x: R) -> R {
    let y = clamp(x);
    let (n, powers) = y.nearest_powers(LOG2_E);
    power_near_zero(without_powers(y, n)).times_powers(powers)
}

/// e^x for x <= 0, as sums of exponentials need it, at half the price: what would be subnormal is 0, and the greatest error
/// is 1 ulp.
#[inline(always)]
pub(crate) fn decay<R: Real>(x: R) -> R {
    if R::DOUBLE {
        return exp(x);
    }
    let (n, power) = x.nearest_power(LOG2_E, 0);
    let e = power_near_zero(without_powers(x, n));
    // ln of the least normal number; a NaN fails the comparison, and a product with it is one
    if_less(x, -87.336_54, 0.0, e * power)
}

/// e^x for x <= 0 as a term of a sum whose greatest term is 1: the exponent to base 2 takes one step instead of two, and may be off by |x| / 4 units
/// of its term's last place (fused; portable |x|), which is less than one of the sum's.
#[inline(always)]
pub(crate) fn addend<R: Real>(x: R) -> R {
    if R::DOUBLE {
        return exp(x);
    }
    // -127 ln 2: there the power is 0
    let x = if_less(x, -88.03, -88.03, x);
    let (n, power) = x.nearest_power(LOG2_E, 0);
    power_of_two_near_zero(x.multiply_add(LOG2_E.into(), -n)) * power
}

/// 1 / (1 + e^-x), both made so much smaller that neither the power nor the sum overflows.
#[inline(always)]
pub(crate) fn sigmoid<R: Real>(x: R) -> R {
    let (least, shrink) = if R::DOUBLE { (-746.0, 538) } else { (-104.0, 64) };
    // from 42 on the result is 1 in every digit
    let y = within(x, least, 42.0);
    let (n, power) = y.nearest_power(-LOG2_E, -shrink);
    let one = R::from(2f64.powi(-shrink));
    one.quotient(power_near_zero(without_powers(-y, n)).multiply_add(power, one))
}

#[inline(always)]
pub(crate) fn exp2<R: Real>(x: R) -> R {
    let (low, high) = if R::DOUBLE { (-1076.0, 1025.0) } else { (-151.0, 129.0) };
    let x = within(x, low, high);
    let (n, powers) = x.nearest_powers(1.0);
    power_of_two_near_zero(x - n).times_powers(powers)
}

/// (e^x - 1) 2^shift
#[inline(always)]
fn expm1_scaled<R: Real>(x: R, shift: f64) -> R {
    // below, the result is -1 in every digit
    let x = clamp(if_less(x, -50.0, -50.0, x));
    let (n, r) = reduce(x);
    // e^x - 1 = 2^n ((e^r - 1) + (1 - 2^-n)); for large n the last is 1, and 2^-n must stay a normal number
    let inverse = (-if_less(R::from(100.0), n, 100.0, n)).power_of_two();
    scale(expm1_near_zero(r) + (-inverse + 1.0), n + shift)
}

#[inline(always)]
pub(crate) fn expm1<R: Real>(x: R) -> R {
    // the sum above loses the sign of -0
    R::choose(x.equal(R::from(0.0)), x, expm1_scaled(x, 0.0))
}

#[inline(always)]
pub(crate) fn sinh<R: Real>(x: R) -> R {
    // with h = (e^|x| - 1) / 2: sinh |x| = h + h / (2 h + 1)
    let h = expm1_scaled(x.abs(), -1.0);
    let sum = h + h / (h + h + 1.0);
    if_less(h, 1e30, sum, h).with_sign_of(x)
}

#[inline(always)]
pub(crate) fn cosh<R: Real>(x: R) -> R {
    let (n, r) = reduce(clamp(x.abs()));
    let half = scale(expm1_near_zero(r) + 1.0, n - 1.0);
    half + R::from(0.25) / half
}

#[inline(always)]
pub(crate) fn tanh<R: Real>(x: R) -> R {
    // beyond 22, tanh is 1 in every digit
    let size = x.abs();
    let size = if_less(R::from(22.0), size, 22.0, size);
    if R::DOUBLE {
        let t = expm1_scaled(size + size, 0.0);
        return (t / (t + 2.0)).with_sign_of(x);
    }
    // (1 - e) / (1 + e) with e = e^(-2 |x|) = 2^n + 2^n (e^r - 1); away from 0 it is 1 - 2 e / (1 + e), whose error shrinks
    // with e: slopes, 1 - tanh², are as good as they can be
    let twice = size + size;
    let (n, power) = twice.nearest_power(-LOG2_E, 0);
    let r = without_powers(-twice, n);
    let fit =
        [0.49999998132822976, 0.16666542678526736, 0.04166720393051604, 0.00836664759496087, 0.0013882498592289315];
    let more = (r * r).multiply_add(polynomial(r, fit), r);
    let near = size.less(R::from(0.6));
    let choose = |a: R, b: R| R::choose(near, a, b);
    let double = power + power;
    let above = more.multiply_add(-choose(power, double), choose(-power + 1.0, -double));
    let share = above.quotient(more.multiply_add(power, power + 1.0));
    // no choice between both results: the compiler would divide for each
    (share + choose(R::from(0.0), R::from(1.0))).with_sign_of(x)
}
