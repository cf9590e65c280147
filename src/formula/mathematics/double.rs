//! What the standard library computes in double precision, for devices that have none of it.
//!
//! The processor does not use these: where a result of the two differs, it is by a unit or two in the last place.

use super::exponential::{expm1_near_zero, scale};
use super::logarithm::{ln, mantissa_and_exponent};
use super::{Digits, Real, Standard, exact_product, if_less, polynomial, power};
use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E, PI};

/// The function of this name.
pub(crate) fn standard<R: Real>(function: Standard, x: R) -> R {
    match function {
        Standard::Cbrt => {
            // What is subnormal has fewer digits than its root.
            let small = x.abs().less(R::from(1e-290));
            let root = power::cbrt_wide(R::choose(small, x * 2f64.powi(162), x));
            R::choose(small, root * 2f64.powi(-54), root)
        }
        Standard::Sin => sin_and_cos(x)[0],
        Standard::Cos => sin_and_cos(x)[1],
        Standard::Tan => {
            let [sine, cosine] = sin_and_cos(x);
            sine / cosine
        }
        Standard::Polygamma(0) => digamma(x),
        Standard::Polygamma(order) => higher(order, x),
    }
}

/// The sum in two parts: rounded, and what rounding lost (Knuth).
fn exact_sum<R: Real>(a: R, b: R) -> (R, R) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// A number in two parts plus another.
fn add<R: Real>((high, low): (R, R), (more, rest): (R, R)) -> (R, R) {
    let (sum, lost) = exact_sum(high, more);
    exact_sum(sum, lost + (low + rest))
}

/// A number in two parts times another.
fn times<R: Real>((high, low): (R, R), (by, rest): (R, R)) -> (R, R) {
    let (product, lost) = exact_product(high, by);
    exact_sum(product, lost + (high * rest + low * by))
}

/// The binary digits of 1/π, the first of them (a zero) before the point.
const INVERSE_PI: [u64; 21] = [
    0x28be_60db_9391_054a,
    0x7f09_d5f4_7d4d_3770,
    0x36d8_a566_4f10_e410,
    0x7f94_58ea_f7ae_f158,
    0x6dc9_1b8e_9093_74b8,
    0x0192_4bba_8274_6487,
    0x3f87_7ac7_2c4a_69cf,
    0xba20_8d7d_4bae_d121,
    0x3a67_1c09_ad17_df90,
    0x4e64_758e_60d4_ce7d,
    0x2721_17e2_ef7e_4a0e,
    0xc7fe_25ff_f781_6603,
    0xfbcb_c462_d682_9b47,
    0xdb4d_9fb3_c9f2_c26d,
    0xd3d1_8fd9_a797_fa8b,
    0x5d49_eeb1_faf9_7c5e,
    0xcf41_ce7d_e294_a4ba,
    0x9afe_d7ec_47e3_5742,
    0x1580_cc11_bf1e_daea,
    0xfc33_ef08_26bd_0d87,
    0x6a78_e458_57b9_86c2,
];

/// Four times 52 digits of 1/π from digit k on, as whole numbers.
fn digits_from<R: Real>(k: R::Digits) -> [R; 4] {
    let by = R::Digits::from;
    let mut words = INVERSE_PI.map(by);
    let word = k >> by(6);
    for step in [8, 4, 2, 1] {
        let stays = word & by(step);
        for at in 0..words.len() - step as usize {
            words[at] = stays.if_below(1, words[at], words[at + step as usize]);
        }
    }
    let shift = k & by(63);
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| words[at] << shift | words[at + 1] >> by(1) >> (by(63) - shift));
    let piece = |digits: R::Digits| super::trigonometric::whole(digits & by((1 << 52) - 1));
    [
        piece(a >> by(12)),
        piece(a << by(40) | b >> by(24)),
        piece(b << by(28) | c >> by(36)),
        piece(c << by(16) | d >> by(48)),
    ]
}

/// Sine and cosine. x 2/π = q + r with whole q and |r| <= 1/2, by as many digits of 2/π as do not only count whole turns
/// (Payne and Hanek); r is exact to 2^-100.
fn sin_and_cos<R: Real>(x: R) -> [R; 2] {
    let size = x.abs();
    let place = x.last_place();
    // x without the power of two that is in k: below 2^53
    let m = size * R::from_digits((R::Digits::from(1023) - place) << R::Digits::from(52));
    let unit = |power: i32| 2f64.powi(power);
    let [a, b, c, d] = digits_from::<R>(place);
    let (whole, lost) = exact_product(m, a * unit(-50));
    let (next, more) = exact_product(m, b * unit(-102));
    let (third, rest) = exact_product(m, c * unit(-154));
    let last = m * (d * unit(-206));
    // four quarters are a turn
    let whole = whole - (whole * 0.25).rounded()[2] * 4.0;
    let q = (whole + lost + next).rounded()[2];
    let mut r = exact_sum(whole, -q);
    for part in [lost, next, more, third] {
        let (sum, lost) = exact_sum(r.0, part);
        r = (sum, r.1 + lost);
    }
    let r = exact_sum(r.0, r.1 + (rest + last));
    let (angle, tail) = times(r, (FRAC_PI_2.into(), super::trigonometric::FRAC_PI_2_LOW.into()));
    let (sine, cosine) = (near_sine(angle, tail), near_cosine(angle, tail));
    // the quarter, 0 to 3
    let quarter = q - (q * 0.25).rounded()[0] * 4.0;
    let is = |number: f64| quarter.equal(R::from(number));
    let swapped = R::or(is(1.0), is(3.0));
    let [s, c] = [R::choose(swapped, cosine, sine), R::choose(swapped, sine, cosine)];
    let s = R::choose(R::from(1.5).less(quarter), -s, s);
    let c = R::choose(R::or(is(1.0), is(2.0)), -c, c);
    let s = R::choose(x.less(R::from(0.0)), -s, s);
    // where x is its own sine, -0 too
    [R::choose(size.less(R::from(1e-8)), x, s), c]
}

/// sin(angle + tail) for |angle| <= π/4 (fdlibm).
fn near_sine<R: Real>(angle: R, tail: R) -> R {
    let square = angle * angle;
    let cube = square * angle;
    let rest = polynomial(
        square,
        [
            8.33333333332248946124e-03,
            -1.98412698298579493134e-04,
            2.75573137070700676789e-06,
            -2.50507602534068634195e-08,
            1.58969099521155010221e-10,
        ],
    );
    angle - ((square * (tail * 0.5 - cube * rest) - tail) + cube * 1.66666666666666324348e-01)
}

/// cos(angle + tail), likewise.
fn near_cosine<R: Real>(angle: R, tail: R) -> R {
    let square = angle * angle;
    let rest = polynomial(
        square,
        [
            4.16666666666666019037e-02,
            -1.38888888888741095749e-03,
            2.48015872894767294178e-05,
            -2.75573143513906633035e-07,
            2.08757232129817482790e-09,
            -1.13596475577881948265e-11,
        ],
    ) * square;
    let half = square * 0.5;
    let near = -half + 1.0;
    near + (((-near + 1.0) - half) + (square * rest - angle * tail))
}

/// log₂ of a positive finite number in two parts.
fn log2_in_parts<R: Real>(x: R) -> (R, R) {
    let (m, e) = mantissa_and_exponent(x);
    // ln m = 2 atanh s = 2 s + 2 s³ (1/3 + s²/5 + ...) with s = (m - 1) / (m + 1)
    let (top, (bottom, lost)) = (m - 1.0, exact_sum(m, R::from(1.0)));
    let s = top / bottom;
    let (product, rest) = exact_product(s, bottom);
    let s = (s, ((top - product) - rest - s * lost) / bottom);
    let square = times(s, s);
    let series = polynomial(
        square.0,
        [
            1.0 / 5.0,
            1.0 / 7.0,
            1.0 / 9.0,
            1.0 / 11.0,
            1.0 / 13.0,
            1.0 / 15.0,
            1.0 / 17.0,
            1.0 / 19.0,
            1.0 / 21.0,
            1.0 / 23.0,
        ],
    ) * square.0;
    let third = exact_sum(R::from(1.0 / 3.0), series + 1.850_371_707_708_594e-17);
    let log = add(s, times(times(s, square), third));
    add((e, R::from(0.0)), times(log, (R::from(2.0 * LOG2_E), R::from(2.0 * LOG2_E_LOW))))
}

/// What log₂ e as an f64 lacks.
const LOG2_E_LOW: f64 = 2.035_527_374_093_103_3e-17;

/// x^y.
pub(crate) fn pow<R: Real>(x: R, y: R) -> R {
    power::signed_power(x, y, |size, y| {
        let inside = R::and(R::from(0.0).less(size), size.less(R::from(f64::INFINITY)));
        let log = log2_in_parts(R::choose(inside, size, R::from(1.0)));
        // of 0 and infinity
        let edge = R::choose(size.equal(R::from(0.0)), R::from(f64::NEG_INFINITY), size);
        let rough = R::choose(inside, log.0, edge) * y;
        // beyond, powers are 0 or infinite; a NaN passes
        let far = R::not(rough.abs().less(R::from(1100.0)));
        let (high, low) = times(log, (R::choose(far, R::from(0.0), y), R::from(0.0)));
        let end = if_less(rough, -1100.0, -1100.0, if_less(R::from(1100.0), rough, 1100.0, rough));
        let (high, low) = (R::choose(far, end, high), R::choose(far, R::from(0.0), low));
        let n = high.nearest();
        scale(expm1_near_zero(((high - n) + low) * LN_2) + 1.0, n)
    })
}

/// The remainder with the dividend's sign: a long division by binary digits.
pub(crate) fn fmod<R: Real>(x: R, divisor: R) -> R {
    if !R::DOUBLE {
        return R::narrow(fmod(x.widen(), divisor.widen()));
    }
    let (a, b) = (x.abs(), divisor.abs());
    let (zero, infinity) = (R::from(0.0), R::from(f64::INFINITY));
    let divides = R::and(R::and(zero.less(b), b.less_equal(a)), a.less(infinity));
    let (a_safe, b_safe) = (R::choose(divides, a, R::from(1.0)), R::choose(divides, b, R::from(1.0)));
    let ((m, e), (n, f)) = (mantissa_and_exponent(a_safe), mantissa_and_exponent(b_safe));
    let less = |rest: R| R::choose(rest.less(n), rest, rest - n);
    let [_, rest] = R::while_less([zero, less(m)], e - f, |[step, rest]| [step + 1.0, less(rest + rest)]);
    let rest = R::choose(divides, scale(rest, f), a);
    let known = R::and(R::and(zero.less(b), a.less(infinity)), b.equal(b));
    R::choose(known, rest, R::from(f64::NAN)).with_sign_of(x)
}

/// ψ(x): steps up to 10, then the asymptotic series.
fn digamma<R: Real>(x: R) -> R {
    let zero = R::from(0.0);
    let left = x.less(zero);
    // ψ(1 - x) - ψ(x) = π cot πx
    let [last, sum] = R::while_less([R::choose(left, -x + 1.0, x), zero], R::from(10.0), |[y, sum]| {
        [y + 1.0, sum - R::from(1.0) / y]
    });
    let z = R::from(1.0) / (last * last);
    let series =
        polynomial(z, [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0]);
    let right = sum + ln(last) - R::from(0.5) / last - z * series;
    let over = x - x.rounded()[2];
    let reflected = right - R::from(PI) / standard(Standard::Tan, over * PI);
    let reflected = R::choose(over.equal(zero), R::from(f64::NAN), reflected);
    let value = R::choose(left, reflected, right);
    R::choose(x.equal(zero), R::from(f64::INFINITY).with_sign_of(-x), value)
}

/// ψ⁽ⁿ⁾(x) = (-1)^(n+1) n! ζ(n + 1, x): steps up to 12 + n, then Euler and Maclaurin's formula.
fn higher<R: Real>(order: u32, x: R) -> R {
    let (zero, n) = (R::from(0.0), order as f64);
    let inverse_power = |y: R, exponent: u32| R::from(1.0) / whole_power(y, exponent);
    let reflects = if order == 1 { x.less(zero) } else { x.less(x) };
    let start = R::choose(reflects, -x + 1.0, x);
    // too far to the left for steps
    let far = start.less(R::from(-1e6));
    let start = R::choose(far, R::from(f64::NAN), start);
    let [y, sum] =
        R::while_less([start, zero], R::from(12.0 + n), |[y, sum]| [y + 1.0, sum + inverse_power(y, order + 1)]);
    let mut tail = inverse_power(y, order) / n + inverse_power(y, order + 1) * 0.5;
    // B₂ₖ / (2k)! (n + 1) (n + 2) ... (n + 2k - 1) y^-(n + 2k)
    let bernoulli =
        [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0, -3617.0 / 510.0];
    let mut factor = inverse_power(y, order + 2) * (n + 1.0) / 2.0;
    for (k, b) in bernoulli.into_iter().enumerate() {
        tail = tail + factor * b;
        let j = 2.0 * k as f64;
        factor = factor * ((n + j + 2.0) * (n + j + 3.0)) / (y * y * ((j + 3.0) * (j + 4.0)));
    }
    let factorial: f64 = (1..=order).map(f64::from).product();
    let sign = if order % 2 == 1 { 1.0 } else { -1.0 };
    let value = (sum + tail) * (sign * factorial);
    if order > 1 {
        return value;
    }
    let over = x - x.rounded()[2];
    let ratio = R::from(PI) / standard(Standard::Sin, over * PI);
    R::choose(reflects, ratio * ratio - value, value)
}

/// y^n by squares.
fn whole_power<R: Real>(mut y: R, mut exponent: u32) -> R {
    let mut power: Option<R> = None;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = Some(power.map_or(y, |power| power * y));
        }
        exponent /= 2;
        y = y * y;
    }
    power.unwrap_or(R::from(1.0))
}
