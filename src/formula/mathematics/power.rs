//! Powers and roots.

use super::logarithm::log2;
use super::{Real, Standard, exponential::exp2};

/// x^y for f32, in double precision, where y · log₂ x loses nothing that f32 could show.
#[inline(always)]
pub(crate) fn pow<R: Real>(x: R, y: R) -> R {
    R::narrow(pow_wide(x.widen(), y.widen()))
}

#[inline(always)]
fn pow_wide<R: Real>(x: R, y: R) -> R {
    signed_power(x, y, |size, y| exp2(y * log2(size)))
}

/// x^y from a function that knows the powers of |x|, with the special cases of IEEE 754.
#[inline(always)]
pub(super) fn signed_power<R: Real>(x: R, y: R, power: impl FnOnce(R, R) -> R) -> R {
    let (zero, one, infinity) = (R::from(0.0), R::from(1.0), R::from(f64::INFINITY));
    let size = x.abs();
    let power = power(size, y);
    // (±1)^±∞ is 1, where the product is 0 · ∞
    let power = R::choose(size.equal(one), R::choose(y.equal(y), one, y), power);
    let is_whole = y.rounded()[3].equal(y);
    let half = y * 0.5;
    // an infinite exponent counts as even
    let odd = R::and(R::and(is_whole, R::not(half.rounded()[3].equal(half))), y.abs().less(infinity));
    let signed = R::choose(odd, power.with_sign_of(x), power);
    let root_of_negative = R::and(R::and(x.less(zero), (-infinity).less(x)), R::not(is_whole));
    let result = R::choose(root_of_negative, R::from(f64::NAN), signed);
    // x^0 and 1^y are 1, even for NaN
    R::choose(R::or(y.equal(zero), x.equal(one)), one, result)
}

#[inline(always)]
pub(crate) fn cbrt<R: Real>(x: R) -> R {
    if R::DOUBLE { x.standard(Standard::Cbrt) } else { R::narrow(cbrt_wide(x.widen())) }
}

#[inline(always)]
pub(super) fn cbrt_wide<R: Real>(x: R) -> R {
    let size = x.abs();
    // 2^(log₂ x / 3), and one step of Newton's
    let root = exp2(log2(size) * (1.0 / 3.0));
    let square = root * root;
    let root = (root - (square * root - size) / (square * 3.0)).with_sign_of(x);
    let inside = R::and(R::from(0.0).less(size), size.less(R::from(f64::INFINITY)));
    R::choose(inside, root, x)
}
