//! Counts of what happens by chance at a given rate: Poisson's distribution.
//!
//! All is in f64 and without fused operations, so that every device draws the same counts.

use super::random::ln;
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::random::{Draw, UNIT, check_rate, no_float};
use crate::error::Fault;

/// From this rate on counts are proposed and refused, below it chances are added up.
const MANY: f64 = 10.0;
/// Proposals before it is given up; each is taken with a chance above 0.8.
const MOST: u32 = 100;

/// A count for each rate.
pub(super) fn counts(rates: &Value, draw: Draw) -> Result<Value, Fault> {
    let dtype = rates.dtype();
    if !dtype.is_float() {
        return no_float(dtype);
    }
    let rates = Cpu.contiguous(&Cpu.cast(rates, crate::layout::DType::F64)?)?;
    let given = rates.dense::<f64>()?;
    given.iter().try_for_each(|&rate| check_rate(rate))?;
    const PART: usize = 1024;
    let counts = Value::build::<f64>(*rates.shape(), |out| {
        parallel::chunks(out, PART, 64, |part, out| {
            for (index, out) in out.iter_mut().enumerate() {
                let element = part * PART + index;
                *out = count(given[element], |word| (draw.word(element as u64, word) >> 11) as f64 * UNIT);
            }
        });
    })?;
    Cpu.cast(&counts, dtype)
}

/// A count, from as many uniform numbers below 1 as it takes.
fn count(rate: f64, uniform: impl Fn(u32) -> f64) -> f64 {
    if rate < MANY { by_sums(rate, uniform(0)) } else { by_refusal(rate, uniform) }
}

/// The first count up to which chances add up to more than a uniform number.
fn by_sums(rate: f64, uniform: f64) -> f64 {
    let mut chance = decay(rate);
    let (mut count, mut sum) = (0.0, chance);
    while uniform >= sum {
        count += 1.0;
        chance = chance * rate / count;
        // Beyond the last chance that counts, nothing is added any more.
        if sum + chance == sum && count > rate {
            break;
        }
        sum += chance;
    }
    count
}

/// e^-x for x from 0 to 10.
fn decay(x: f64) -> f64 {
    let part = -x / 64.0;
    let mut power = 1.0;
    for k in (1..14).rev() {
        power = 1.0 + power * (part / k as f64);
    }
    for _ in 0..6 {
        power = power * power;
    }
    power
}

/// Transformed rejection with squeeze (Hörmann: "The transformed rejection method for generating Poisson random variables",
/// Insurance: Mathematics and Economics 12, 1993; algorithm PTRS, whose constants these are).
fn by_refusal(rate: f64, uniform: impl Fn(u32) -> f64) -> f64 {
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let surely = 0.9277 - 3.6224 / (b - 2.0);
    let scale = ln(1.1239 + 1.1328 / (b - 3.4));
    let logarithm = ln(rate);
    for attempt in 0..MOST {
        let u = uniform(2 * attempt) - 0.5;
        let v = uniform(2 * attempt + 1) + UNIT;
        let edge = 0.5 - u.abs();
        let count = ((2.0 * a / edge + b) * u + rate + 0.43).floor();
        if edge >= 0.07 && v <= surely {
            return count;
        }
        if count < 0.0 || edge < 0.013 && v > edge {
            continue;
        }
        let proposed = ln(v) + scale - ln(a / (edge * edge) + b);
        if proposed <= count * logarithm - rate - ln_factorial(count) {
            return count;
        }
    }
    rate.floor()
}

/// The logarithm of a factorial, by Stirling's series.
fn ln_factorial(count: f64) -> f64 {
    const HALF_LN_2_PI: f64 = 0.918_938_533_204_672_8;
    let (mut x, mut factors) = (count + 1.0, 1.0);
    while x < 8.0 {
        factors *= x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = (1.0 / 12.0 - z * (1.0 / 360.0 - z * (1.0 / 1260.0 - z * (1.0 / 1680.0)))) / x;
    (x - 0.5) * ln(x) - x + HALF_LN_2_PI + series - ln(factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_and_powers_are_those_of_the_standard_library() {
        let mut sum = 0.0f64;
        for count in 0..200 {
            sum += (count as f64).max(1.0).ln();
            assert!((ln_factorial(count as f64) - sum).abs() < 1e-9 * (1.0 + sum), "{count}");
        }
        for x in [0.0, 1e-9, 0.3, 1.0, 7.5, 10.0] {
            assert!((decay(x) / (-x).exp() - 1.0).abs() < 1e-13, "{x}");
        }
    }

    /// Shares of counts against their chances, within five standard deviations, and no count that has none.
    #[test]
    fn counts_come_as_often_as_they_should() {
        const DRAWS: usize = 100_000;
        let draw = Draw { seed: 3, stream: 1, number: 4 };
        for rate in [0.02, 1.0, 4.5, 9.99, 10.0, 12.3, 80.0] {
            let mut seen = vec![0usize; 400];
            for element in 0..DRAWS {
                let uniform = |word| (draw.word(element as u64, word) >> 11) as f64 * UNIT;
                seen[count(rate, uniform) as usize] += 1;
            }
            for (count, &seen) in seen.iter().enumerate() {
                let chance = (count as f64 * f64::ln(rate) - rate - ln_factorial(count as f64)).exp();
                let (wanted, spread) = (chance * DRAWS as f64, (chance * DRAWS as f64).sqrt());
                assert!((seen as f64 - wanted).abs() <= 5.0 * spread + 3.0, "{count} of {rate}: {seen} for {wanted}");
            }
        }
    }

    #[test]
    fn mean_and_variance_are_the_rate() {
        const DRAWS: usize = 20_000;
        let draw = Draw { seed: 5, stream: 0, number: 1 };
        for rate in [0.5, 10.0, 1000.0, 1e6, 1e12] {
            let drawn =
                |element: usize| count(rate, |word| (draw.word(element as u64, word) >> 11) as f64 * UNIT) - rate;
            let mean = (0..DRAWS).map(drawn).sum::<f64>() / DRAWS as f64;
            let variance = (0..DRAWS).map(|element| drawn(element).powi(2)).sum::<f64>() / DRAWS as f64;
            assert!(mean.abs() < 5.0 * (rate / DRAWS as f64).sqrt(), "{mean} of {rate}");
            assert!((variance / rate - 1.0).abs() < 0.1, "{variance} of {rate}");
        }
    }

    #[test]
    fn nothing_happens_at_no_rate() {
        assert_eq!((count(0.0, |_| 0.0), count(0.0, |_| 1.0 - UNIT)), (0.0, 0.0));
        // The greatest uniform number: beyond every sum of chances.
        assert!(count(1.0, |_| 1.0 - UNIT) < 30.0);
    }
}
