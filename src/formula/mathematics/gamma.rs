//! The logarithm of the gamma function and its derivatives.

use super::logarithm::ln;
use super::{Real, Standard, if_less, polynomial};
use std::f64::consts::PI;

/// lgamma on [1, 2] as (y - 1) (y - 2) P(y - 3/2).
#[inline(always)]
fn lgamma_one_two<R: Real>(y: R) -> R {
    let p = polynomial(
        y - 1.5,
        [
            0.4831289505409809,
            -0.14595989591430608,
            0.06291140107456437,
            -0.03130848750100939,
            0.016797098631275653,
            -0.009425622448634886,
            0.005446457839050664,
            -0.003212074069382362,
            0.001922916314721687,
            -0.0011644146792954906,
            0.0007115190391335289,
            -0.00043799183459449626,
            0.0002713139923284897,
            -0.0001689280134770932,
            0.00010535372221538744,
            -6.608848558666656e-05,
            4.3032364036757e-05,
            -2.736982121734802e-05,
            1.3177370308708432e-05,
            -8.055849149827457e-06,
            1.2146792863593866e-05,
            -7.988837501641477e-06,
        ],
    );
    (y - 1.0) * (y - 2.0) * p
}

/// lgamma for x > 0.
#[inline(always)]
fn lgamma_positive<R: Real>(x: R) -> R {
    // Γ(x + 1) = x Γ(x) brings (0, 8) to [1, 2)
    let below = x.less(R::from(1.0));
    let mut y = R::choose(below, x + 1.0, x);
    let mut product = R::choose(below, x, R::from(1.0));
    for _ in 0..6 {
        let step = R::from(2.0).less_equal(y);
        y = R::choose(step, y - 1.0, y);
        product = R::choose(step, product * y, product);
    }
    let log = ln(product);
    let small = lgamma_one_two(y) + R::choose(below, -log, log);
    // Stirling
    let inverse = R::from(1.0) / x;
    let series = inverse
        * polynomial(
            inverse * inverse,
            [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0],
        );
    let large = ((x - 0.5) * ln(x) - x) + (series + 0.918_938_533_204_672_7);
    let result = if_less(x, 8.0, small, large);
    // ∞ - ∞ in the sum above
    if_less(x, 1e300, result, x * (ln(x) - 1.0))
}

#[inline(always)]
pub(crate) fn lgamma<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(lgamma(x.widen()));
    }
    let zero = R::from(0.0);
    let positive = lgamma_positive(R::choose(zero.less(x), x, -x));
    // Γ(-x) Γ(x) = -π / (x sin πx); the sine is taken of what is over the nearest whole number
    let over = x - x.rounded()[2];
    let sine = (over * PI).standard(Standard::Sin).abs();
    let negative = ln(R::from(PI) / (x.abs() * sine)) - positive;
    // at 0, -1, -2, ... a pole
    let pole = over.equal(zero);
    let left = R::choose(pole, R::from(f64::INFINITY), negative);
    let value = R::choose(zero.less(x), positive, left);
    let infinite = x.abs().equal(R::from(f64::INFINITY));
    R::choose(infinite, R::from(f64::INFINITY), R::choose(x.equal(x), value, x))
}

#[inline(always)]
pub(crate) fn polygamma<R: Real>(order: u32, x: R) -> R {
    if R::DOUBLE {
        return x.standard(Standard::Polygamma(order));
    }
    R::narrow(x.widen().standard(Standard::Polygamma(order)))
}

pub(super) fn polygamma_of(order: u32, x: f64) -> f64 {
    match order {
        0 => digamma(x),
        _ => higher(order, x),
    }
}

/// ψ(x): steps up to 10, then the asymptotic series.
#[inline(never)]
fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let over = x - x.round_ties_even();
        // ψ(1 - x) - ψ(x) = π cot πx
        return if over == 0.0 { f64::NAN } else { digamma(1.0 - x) - PI / (PI * over).tan() };
    }
    let (mut y, mut sum) = (x, 0.0);
    while y < 10.0 {
        sum -= 1.0 / y;
        y += 1.0;
    }
    let z = 1.0 / (y * y);
    let series = [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0];
    sum + y.ln() - 0.5 / y - z * series.iter().rev().fold(0.0, |sum, c| sum * z + c)
}

/// ψ⁽ⁿ⁾(x) = (-1)^(n+1) n! ζ(n + 1, x): steps up to 12 + n, then Euler and Maclaurin's formula.
#[inline(never)]
fn higher(order: u32, x: f64) -> f64 {
    let n = order as f64;
    if x.is_nan() || x == f64::NEG_INFINITY {
        return f64::NAN;
    }
    if order == 1 && x < 0.0 {
        let over = x - x.round_ties_even();
        return (PI / (PI * over).sin()).powi(2) - higher(1, 1.0 - x);
    }
    let power = order as i32 + 1;
    let (mut y, mut sum) = (x, 0.0);
    // a pole at 0, -1, ..., and too far to the left for steps
    if x < -1e6 {
        return f64::NAN;
    }
    while y < 12.0 + n {
        sum += y.powi(-power);
        y += 1.0;
    }
    let mut tail = y.powi(-(order as i32)) / n + 0.5 * y.powi(-power);
    // B₂ₖ / (2k)! (n + 1) (n + 2) ... (n + 2k - 1) y^-(n + 2k)
    let bernoulli =
        [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0, -3617.0 / 510.0];
    let mut factor = y.powi(-power - 1) * (n + 1.0) / 2.0;
    for (k, b) in bernoulli.iter().enumerate() {
        tail += b * factor;
        let j = 2.0 * k as f64;
        factor *= (n + j + 2.0) * (n + j + 3.0) / ((j + 3.0) * (j + 4.0) * y * y);
    }
    let factorial: f64 = (1..=order).map(f64::from).product();
    let sign = if order % 2 == 1 { 1.0 } else { -1.0 };
    sign * factorial * (sum + tail)
}
