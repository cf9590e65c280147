//! Sine, cosine, tangent and their inverses.

use super::{Digits, Real, Standard, if_less, polynomial};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

/// What π/2 as an f64 lacks.
pub(super) const FRAC_PI_2_LOW: f64 = 6.123_233_995_736_766e-17;

/// The binary digits of 1/π, the first of them (a zero) before the point.
const INVERSE_PI: [u64; 4] =
    [0x28be_60db_9391_054a, 0x7f09_d5f4_7d4d_3770, 0x36d8_a566_4f10_e410, 0x7f94_58ea_f7ae_f158];

/// A whole number below 2^52.
#[inline(always)]
pub(super) fn whole<R: Real>(digits: R::Digits) -> R {
    const POINT: u64 = 0x4330_0000_0000_0000; // 2^52, whose last digit has the weight 1
    R::from_digits(digits | POINT.into()) - f64::from_bits(POINT)
}

/// For an f32 x = M 2^k with |M| < 2^24 and whole: 1/π without the digits that only count whole turns (weights 2^(1-k) and
/// up), as 29 leading bits, whose product with x is exact, and 52 more. (Payne and Hanek, for f32.) The digits are shifted
/// into place, not looked up: a loop with a table is not vectorised where the table might lie in what it writes.
#[inline(always)]
fn half_turns_of<R: Real>(k: R::Digits) -> (R, R) {
    // The largest f32 is below 2^128; its last digit has the weight 2^104.
    let by = R::Digits::from;
    let [a, b, c, d] = INVERSE_PI.map(by);
    let [a, b, c] = [(a, b), (b, c), (c, d)].map(|(near, far)| k.if_below(64, near, far));
    let shift = k & by(63);
    let first = a << shift | b >> by(1) >> (by(63) - shift);
    let second = b << shift | c >> by(1) >> (by(63) - shift);
    let rest = first << by(29) | second >> by(35);
    let scale = R::from_digits((by(1023) - k) << by(52));
    let high = whole::<R>(first >> by(35)) * (scale * (1.0 / (1u64 << 28) as f64));
    let low = whole::<R>((rest >> by(12)) + (rest >> by(11) & by(1))) * (scale * (1.0 / (1u128 << 80) as f64));
    (high, low)
}

/// x / π = q + r with whole q, |r| <= 1/2, for an f32; gives (r - shift, q as a shifted number).
/// `shift` (0 or 1/2) moves the whole numbers, so that the cosine's zeros come out exact.
#[inline(always)]
fn half_turns<R: Real>(x: R, shift: f64) -> (R::Wide, R::Wide) {
    let (high, low) = half_turns_of::<R::Wide>(x.last_place());
    let x = x.widen();
    let turns = x * high;
    let (q, shifted) = if shift == 0.0 { turns } else { turns + shift }.nearest_shifted(1.0);
    let whole = if shift == 0.0 { q } else { q - shift };
    ((turns - whole) + x * low, shifted)
}

/// sin(π r) for |r| <= 1/2, to f32's accuracy.
#[inline(always)]
fn sin_pi<R: Real>(r: R) -> R {
    let c = [
        3.1415926535225283,
        -5.16771276193204,
        2.5501632338029143,
        -0.5992512499159551,
        0.0820460788712131,
        -0.007021469904081505,
    ];
    r * polynomial(r * r, c)
}

/// cos(π r), likewise.
#[inline(always)]
fn cos_pi<R: Real>(r: R) -> R {
    sin_pi(-r.abs() + 0.5)
}

/// Below, what is left of an f32 without quarter turns is as good as exact by three parts of π/2, where products and sums
/// fuse.
pub(crate) const NEAR: f64 = 8192.0;

/// sin(x + quarter π/2), for an f32 below [`NEAR`]. (x = q π/2 + r with whole q, |r| <= π/4 and a little more.)
#[inline(always)]
fn sin_near<R: Real>(x: R, quarter: bool) -> R {
    // π/2 as an f32, eleven digits more, whose product with a q of thirteen is exact, and what is left
    const FIRST: f64 = FRAC_PI_2 as f32 as f64;
    const PLACE: f64 = (1u64 << 35) as f64;
    const SECOND: f64 = ((FRAC_PI_2 - FIRST) * PLACE) as i64 as f64 / PLACE;
    const THIRD: f64 = (FRAC_PI_2 - FIRST - SECOND) + FRAC_PI_2_LOW;
    let (q, shifted) = x.nearest_shifted(FRAC_2_PI);
    // the first step is exact; what rounding loses in the second, and what the third part changes, is kept beside
    let far = q.multiply_add(R::from(-FIRST), x);
    let first = q.multiply_add(R::from(-SECOND), far);
    let rest = q.multiply_add(R::from(-THIRD), q.multiply_add(R::from(-SECOND), far - first));
    let r = first + rest;
    let z = r * r;
    let sine = polynomial(z, [-0.16666654854190613, 0.008332172280606872, -0.00019516479639995133]);
    let sine = (z * r).multiply_add(sine, rest) + first;
    let cosine = polynomial(z, [1.0, -0.5, 0.04166664671540778, -0.0013887359796952616, 2.4437533580730062e-05]);
    if quarter {
        return R::choose_if_odd(shifted, sine, cosine).negated_by(shifted + 1.0, 1);
    }
    // the sum above loses the sign of -0
    R::choose(x.equal(R::from(0.0)), x, R::choose_if_odd(shifted, cosine, sine).negated_by(shifted, 1))
}

/// Sine or, a quarter turn on, cosine of an f32: by three parts of π/2 where that is enough, and the exact way beyond.
#[inline(always)]
fn sin_single<R: Real>(x: R, quarter: bool) -> R {
    let exact = |x: R| {
        // cos(π t) = sin(π (t + 1/2)); the zeros of the cosine are the whole numbers of t + 1/2
        let (r, turns) = half_turns(x, if quarter { 0.5 } else { 0.0 });
        R::narrow(sin_pi(r).negated_by(turns, 0))
    };
    if !R::FUSED {
        return exact(x);
    }
    let near = sin_near(x, quarter);
    if R::NEAR { near } else { R::choose(x.abs().less(R::from(NEAR)), near, exact(x)) }
}

#[inline(always)]
pub(crate) fn sin<R: Real>(x: R) -> R {
    if R::DOUBLE { x.standard(Standard::Sin) } else { sin_single(x, false) }
}

#[inline(always)]
pub(crate) fn cos<R: Real>(x: R) -> R {
    if R::DOUBLE { x.standard(Standard::Cos) } else { sin_single(x, true) }
}

#[inline(always)]
pub(crate) fn tan<R: Real>(x: R) -> R {
    if R::DOUBLE {
        return x.standard(Standard::Tan);
    }
    let (r, _) = half_turns(x, 0.0);
    R::narrow(sin_pi(r) / cos_pi(r))
}

/// (asin(s) - s) / s³ as a function of z = s² <= 1/4 (fdlibm).
#[inline(always)]
fn asin_rest<R: Real>(z: R) -> R {
    let p = [
        1.66666666666666657415e-01,
        -3.25565818622400915405e-01,
        2.01212532134862925881e-01,
        -4.00555345006794114027e-02,
        7.91534994289814532176e-04,
        3.47933107596021167570e-05,
    ];
    let q = [
        1.0,
        -2.40339491173441421878e+00,
        2.02094576023350569471e+00,
        -6.88283971605453293030e-01,
        7.70381505559019352791e-02,
    ];
    polynomial(z, p) / polynomial(z, q)
}

/// For |x|: (is it above 1/2, z, s, s's rest, asin(s) - s) with s = |x|, or sqrt((1 - |x|) / 2) above 1/2.
#[inline(always)]
fn asin_parts<R: Real>(size: R) -> (R::Bool, R, R, R) {
    let far = R::from(0.5).less(size);
    let z = R::choose(far, (-size + 1.0) * 0.5, size * size);
    let root = z.square_root();
    let s = R::choose(far, root, size);
    // what the root lost to rounding: (z - root²) / (2 root)
    let (square, rest) = super::exact_product(root, root);
    let lost = R::choose(R::and(far, R::from(0.0).less(z)), ((z - square) - rest) / (root + root), R::from(0.0));
    (far, s, lost, s * z * asin_rest(z))
}

#[inline(always)]
pub(crate) fn asin<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(asin(x.widen()));
    }
    // above 1/2: asin x = π/2 - 2 asin(sqrt((1 - x) / 2))
    let (far, s, lost, rest) = asin_parts(x.abs());
    let above = -((s - (-lost + 0.5 * FRAC_PI_2_LOW) + rest) * 2.0) + FRAC_PI_2;
    R::choose(far, above, s + rest).with_sign_of(x)
}

#[inline(always)]
pub(crate) fn acos<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(acos(x.widen()));
    }
    let zero = R::from(0.0);
    let (far, s, lost, rest) = asin_parts(x.abs());
    let tail = (s + (lost + rest)) * 2.0;
    let far_value = R::choose(x.less(zero), (-tail + 2.0 * FRAC_PI_2_LOW) + PI, tail);
    let near_value = -(x - (-(rest.with_sign_of(x)) + FRAC_PI_2_LOW)) + FRAC_PI_2;
    R::choose(far, far_value, near_value)
}

#[inline(always)]
pub(crate) fn atan<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(atan(x.widen()));
    }
    // fdlibm: atan x = atan b + atan((x - b) / (1 + b x)) for b = 0, 1/2, 1, 3/2, ∞
    let size = x.abs();
    let pick = |values: [f64; 5]| {
        let (v0, v1, v2, v3) = (values[0], values[1], values[2], values[3]);
        let low = if_less(size, 0.4375, v0, if_less(size, 0.6875, v1, R::from(v2)));
        if_less(size, 1.1875, low, if_less(size, 2.4375, v3, R::from(values[4])))
    };
    let base = pick([0.0, 0.5, 1.0, 1.5, f64::INFINITY]);
    let beyond = R::from(2.0).less(base);
    let top = R::choose(beyond, R::from(-1.0), size - base);
    let bottom = R::choose(beyond, size, R::choose(base.equal(R::from(0.0)), R::from(1.0), size * base + 1.0));
    let t = top / bottom;
    let z = t * t;
    let rest = z * polynomial(
        z,
        [
            3.33333333333329318027e-01,
            -1.99999999998764832476e-01,
            1.42857142725034663711e-01,
            -1.11111104054623557880e-01,
            9.09088713343650656196e-02,
            -7.69187620504482999495e-02,
            6.66107313738753120669e-02,
            -5.83357013379057348645e-02,
            4.97687799461593236017e-02,
            -3.65315727442169155270e-02,
            1.62858201153657823623e-02,
        ],
    );
    let high = pick([0.0, 4.63647609000806093515e-01, FRAC_PI_4, 9.82793723247329054082e-01, FRAC_PI_2]);
    let low =
        pick([0.0, 2.26987774529616870924e-17, 3.06161699786838301793e-17, 1.39033110312309984516e-17, FRAC_PI_2_LOW]);
    (high - ((t * rest - low) - t)).with_sign_of(x)
}

#[inline(always)]
pub(crate) fn atan2<R: Real>(y: R, x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(atan2(y.widen(), x.widen()));
    }
    let (zero, infinity) = (R::from(0.0), R::from(f64::INFINITY));
    let (height, width) = (y.abs(), x.abs());
    // ∞/∞ is the diagonal; 0/0 is the axis
    let diagonal = R::and(height.equal(infinity), width.equal(infinity));
    let one = R::from(1.0);
    let origin = R::and(height.equal(zero), width.equal(zero));
    let top = R::choose(diagonal, one, height);
    let bottom = R::choose(R::or(diagonal, origin), one, width);
    let angle = atan(top / bottom);
    // the sign of x decides, that of -0 too
    let left = one.with_sign_of(x).less(zero);
    let turned = R::choose(left, -(angle - 2.0 * FRAC_PI_2_LOW) + PI, angle);
    let result = turned.with_sign_of(y);
    R::choose(R::and(x.equal(x), y.equal(y)), result, x + y)
}
