//! Random values: groups of counters scrambled together, each thread a stretch of the groups.

use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, parallel, poisson};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::random::{
    Draw, Generate, Group, LANES, STRETCH, Thinning, UNIT, check_chance, check_choices, check_integers, check_normal,
    check_uniform, no_float, no_weight, scale, threshold, too_few,
};
use crate::device::sort::Sort;
use crate::error::Fault;
use crate::layout::{DType, Element, Shape, dispatch_float, order_of};

/// Groups of counters that one part of the work scrambles.
const PART: usize = 64;

/// Groups whose words are at hand at a time: they stay in the nearest cache.
const BATCH: usize = 8;

/// The words of some groups in a row.
struct Words<'a> {
    draw: Draw,
    group: usize,
    out: &'a mut [Group],
}

impl Kernel for Words<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (index, out) in self.out.iter_mut().enumerate() {
            *out = self.draw.group(self.group + index);
        }
    }
}

/// The words of one group, for loops that take few of them.
#[inline(never)]
pub(super) fn words_of(draw: Draw, group: usize) -> Group {
    let mut words = [[0; 4 * LANES]];
    simd::run(Words { draw, group, out: &mut words });
    words[0]
}

/// What is made of a group's words.
trait Make<T>: Sync {
    /// Elements of one group.
    const EACH: usize;
    /// Nearly all of the work is in the words: only what is asked for most has copies for every instruction set.
    const WIDEST: SimdLevel = SimdLevel::Portable;
    /// Writes the elements of one group; `first` is the position of the first of them.
    fn make(&self, words: &Group, first: usize, out: &mut [T]);
}

/// The loop over groups, for one batch.
struct Fill<'a, T, M> {
    make: &'a M,
    words: &'a [Group],
    group: usize,
    out: &'a mut [T],
}

impl<T: Element, M: Make<T>> Kernel for Fill<'_, T, M> {
    type Output = ();
    const WIDEST: SimdLevel = M::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for ((index, words), out) in self.words.iter().enumerate().zip(self.out.chunks_mut(M::EACH)) {
            let first = (self.group + index) * M::EACH;
            let mut piece = [T::default(); 4 * LANES];
            let piece = &mut piece[..M::EACH];
            self.make.make(words, first, piece);
            out.copy_from_slice(&piece[..out.len()]);
        }
    }
}

/// A new value whose elements are made of the draw's words.
fn generate<T: Element, M: Make<T>>(shape: Shape, draw: Draw, make: M) -> Result<Value, Fault> {
    Value::build::<T>(shape, |out| {
        // A counter, ten rounds, some arithmetic: each element costs as much as touching eight.
        parallel::chunks(out, PART * M::EACH, 8, |part, out| {
            let mut words = [[0; 4 * LANES]; BATCH];
            for (batch, out) in out.chunks_mut(BATCH * M::EACH).enumerate() {
                let group = part * PART + batch * BATCH;
                let words = &mut words[..out.len().div_ceil(M::EACH)];
                simd::run(Words { draw, group, out: words });
                simd::run(Fill { make: &make, words, group, out });
            }
        });
    })
}

struct Uniform {
    low: f64,
    high: f64,
}

impl Make<f32> for Uniform {
    const EACH: usize = 4 * LANES;
    const WIDEST: SimdLevel = SimdLevel::Avx512;
    #[inline(always)]
    fn make(&self, words: &Group, _: usize, out: &mut [f32]) {
        let (low, width) = (self.low as f32, (self.high - self.low) as f32);
        // Rounding may reach the end, which is excluded.
        let last = (self.high as f32).next_down().max(low);
        for (out, word) in out.iter_mut().zip(words) {
            let x = low + (word >> 8) as f32 * (1.0 / (1 << 24) as f32) * width;
            *out = if x > last { last } else { x };
        }
    }
}

/// Two words of each lane as a number below 1, in steps of 2⁻⁵³.
#[inline(always)]
fn fraction(high: u32, low: u32) -> f64 {
    (high as f64) * (1.0 / (1u64 << 32) as f64) + (low >> 11) as f64 * UNIT
}

impl Make<f64> for Uniform {
    const EACH: usize = 2 * LANES;
    #[inline(always)]
    fn make(&self, words: &Group, _: usize, out: &mut [f64]) {
        let width = self.high - self.low;
        let last = self.high.next_down().max(self.low);
        for (out, words) in out.chunks_exact_mut(LANES).zip(words.chunks_exact(2 * LANES)) {
            let (high, low) = words.split_at(LANES);
            for lane in 0..LANES {
                let x = self.low + fraction(high[lane], low[lane]) * width;
                out[lane] = if x > last { last } else { x };
            }
        }
    }
}

struct Normal {
    mean: f64,
    deviation: f64,
}

/// Box and Muller: a radius and an angle make two normal numbers. In f64 and without fused operations, so that every
/// level and device computes the same numbers; an f32 is the f64 rounded once.
#[inline(always)]
fn box_muller(radius: f64, turn: f64) -> (f64, f64) {
    let radius = (-2.0 * ln(radius)).sqrt();
    let (sine, cosine) = sine_and_cosine(turn);
    (radius * cosine, radius * sine)
}

/// The logarithm of a positive normal number, by `ln((1+s)/(1-s)) = 2 (s + s³/3 + s⁵/5 + ...)`.
#[inline(always)]
pub(super) fn ln(x: f64) -> f64 {
    // x = m · 2^e with m between √½ and √2.
    const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    let exponent = (x.to_bits().wrapping_sub(HALF_ROOT) as i64 >> 52) as i32;
    let m = f64::from_bits(x.to_bits().wrapping_sub((exponent as i64 as u64) << 52));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut series = 1.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = series * z + 1.0 / odd;
    }
    exponent as f64 * std::f64::consts::LN_2 + (2.0 * s + 2.0 * s * z * series)
}

/// Sine and cosine of a part of a full turn, in [0, 1).
#[inline(always)]
fn sine_and_cosine(turn: f64) -> (f64, f64) {
    let quarter = (4.0 * turn + 0.5) as i32;
    let x = (4.0 * turn - quarter as f64) * std::f64::consts::FRAC_PI_2; // within ±π/4
    let z = x * x;
    let (mut sine, mut cosine) = (1.0, 1.0);
    for k in [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        sine = 1.0 - sine * z * (1.0 / (k * (k + 1.0)));
        cosine = 1.0 - cosine * z * (1.0 / (k * (k - 1.0)));
    }
    sine *= x;
    let (a, b) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    (if quarter & 2 == 0 { a } else { -a }, if (quarter + 1) & 2 == 0 { b } else { -b })
}

impl Make<f32> for Normal {
    const EACH: usize = 4 * LANES;
    const WIDEST: SimdLevel = SimdLevel::Avx512;
    #[inline(always)]
    fn make(&self, words: &Group, _: usize, out: &mut [f32]) {
        const STEP: f64 = 1.0 / (1u64 << 32) as f64;
        for (out, words) in out.chunks_exact_mut(2 * LANES).zip(words.chunks_exact(2 * LANES)) {
            let (radii, turns) = words.split_at(LANES);
            let (first, second) = out.split_at_mut(LANES);
            for lane in 0..LANES {
                let (a, b) = box_muller((radii[lane] as f64 + 1.0) * STEP, turns[lane] as f64 * STEP);
                first[lane] = (self.mean + self.deviation * a) as f32;
                second[lane] = (self.mean + self.deviation * b) as f32;
            }
        }
    }
}

impl Make<f64> for Normal {
    const EACH: usize = 2 * LANES;
    #[inline(always)]
    fn make(&self, words: &Group, _: usize, out: &mut [f64]) {
        let (first, second) = out.split_at_mut(LANES);
        for lane in 0..LANES {
            let radius = fraction(words[lane], words[LANES + lane]) + UNIT;
            let turn = fraction(words[2 * LANES + lane], words[3 * LANES + lane]);
            let (a, b) = box_muller(radius, turn);
            first[lane] = self.mean + self.deviation * a;
            second[lane] = self.mean + self.deviation * b;
        }
    }
}

struct Coin {
    threshold: u64,
}

impl Make<u8> for Coin {
    const EACH: usize = 4 * LANES;
    #[inline(always)]
    fn make(&self, words: &Group, _: usize, out: &mut [u8]) {
        for (out, &word) in out.iter_mut().zip(words) {
            *out = ((word as u64) < self.threshold) as u8;
        }
    }
}

/// Coins with a chance each.
struct Coins<'a>(&'a [f64]);

impl Make<u8> for Coins<'_> {
    const EACH: usize = 4 * LANES;
    #[inline(always)]
    fn make(&self, words: &Group, first: usize, out: &mut [u8]) {
        let chances = self.0.get(first..).unwrap_or_default();
        for ((out, &word), chance) in out.iter_mut().zip(words).zip(chances) {
            *out = ((word as f64) < chance * (1u64 << 32) as f64) as u8;
        }
    }
}

/// Whole numbers from `low` on, `bound` of them.
struct Integers {
    draw: Draw,
    low: i64,
    bound: u64,
}

impl Make<i64> for Integers {
    const EACH: usize = 2 * LANES;
    #[inline(always)]
    fn make(&self, words: &Group, first: usize, out: &mut [i64]) {
        for (half, out) in out.chunks_exact_mut(LANES).enumerate() {
            let words = &words[half * 2 * LANES..];
            for (lane, out) in out.iter_mut().enumerate() {
                let word = (words[lane] as u64) << 32 | words[LANES + lane] as u64;
                let element = (first + half * LANES + lane) as u64;
                let number = scale(word, self.bound).unwrap_or_else(|| self.draw.below_again(element, self.bound));
                *out = self.low.wrapping_add(number as i64);
            }
        }
    }
}

/// Dropout of neighbours one by one.
struct Thin<'a, T> {
    x: &'a [T],
    threshold: u64,
    thinning: Thinning,
}

macro_rules! thin {
    ($($t:ty)*) => { $(
        impl Make<$t> for Thin<'_, $t> {
            const EACH: usize = 4 * LANES;
            const WIDEST: SimdLevel = if size_of::<$t>() == 4 { SimdLevel::Avx512 } else { SimdLevel::Portable };
            #[inline(always)]
            fn make(&self, words: &Group, first: usize, out: &mut [$t]) {
                let Thinning { scale, shift, dropped, .. } = self.thinning;
                let (scale, shift, dropped) = (scale as $t, shift as $t, dropped as $t);
                let x = self.x.get(first..).unwrap_or_default();
                for ((out, &word), &x) in out.iter_mut().zip(words).zip(x) {
                    let kept = word as u64 >= self.threshold;
                    // Multiplied also where it is dropped: a NaN stays one.
                    *out = x * if kept { scale } else { 0.0 } + if kept { shift } else { dropped };
                }
            }
        }
        impl ThinGroups for $t {
            fn thin(self, kept: bool, Thinning { scale, shift, dropped, .. }: Thinning) -> $t {
                self * if kept { scale as $t } else { 0.0 } + if kept { shift as $t } else { dropped as $t }
            }
        }
    )* };
}
thin! { f32 f64 }

/// The same for neighbours that share their fate.
trait ThinGroups: Element {
    fn thin(self, kept: bool, thinning: Thinning) -> Self;
}

impl Generate for Cpu {
    fn uniform(&self, shape: Shape, dtype: DType, low: f64, high: f64, draw: Draw) -> Result<Value, Fault> {
        check_uniform(dtype, low, high)?;
        floats(
            dtype,
            |wide| dispatch_float!(wide, T => generate::<T, _>(shape, draw, Uniform { low, high }), else no_float(dtype)),
        )
    }
    fn normal(&self, shape: Shape, dtype: DType, mean: f64, deviation: f64, draw: Draw) -> Result<Value, Fault> {
        check_normal(mean, deviation)?;
        floats(
            dtype,
            |wide| dispatch_float!(wide, T => generate::<T, _>(shape, draw, Normal { mean, deviation }), else no_float(dtype)),
        )
    }
    fn integers(&self, shape: Shape, low: i64, high: i64, draw: Draw) -> Result<Value, Fault> {
        check_integers(low, high)?;
        generate::<i64, _>(shape, draw, Integers { draw, low, bound: high.wrapping_sub(low) as u64 })
    }
    fn bernoulli(&self, shape: Shape, dtype: DType, chance: f64, draw: Draw) -> Result<Value, Fault> {
        check_chance(chance)?;
        let coin = Coin { threshold: threshold(chance) };
        self.cast(&generate::<u8, _>(shape, draw, coin)?, dtype)
    }
    fn bernoulli_of(&self, chances: &Value, draw: Draw) -> Result<Value, Fault> {
        let dtype = chances.dtype();
        if !dtype.is_float() {
            return no_float(dtype);
        }
        let chances = self.contiguous(&self.cast(chances, DType::F64)?)?;
        let given = chances.dense::<f64>()?;
        given.iter().try_for_each(|&chance| check_chance(chance))?;
        self.cast(&generate::<u8, _>(*chances.shape(), draw, Coins(given))?, dtype)
    }
    fn poisson(&self, rates: &Value, draw: Draw) -> Result<Value, Fault> {
        poisson::counts(rates, draw)
    }
    fn permutation(&self, count: usize, draw: Draw) -> Result<Value, Fault> {
        // Sorted by a random key each: every device can do that, and gets the same order.
        self.argsort(&generate::<i64, _>(Shape::new(&[count])?, draw, Keys)?, 0, false)
    }
    fn multinomial(&self, weights: &Value, count: usize, replacement: bool, draw: Draw) -> Result<Value, Fault> {
        let (choices, rows) = check_choices(weights, count)?;
        let wide = self.contiguous(&self.cast(weights, DType::F64)?)?;
        let weights = wide.dense::<f64>()?;
        for row in weights.chunks_exact(choices.max(1)) {
            check_weights(row, count, replacement)?;
        }
        let shape = Shape::new(&[rows, &[count]].concat())?;
        Value::build::<i64>(shape, |out| {
            let cost = if replacement { 2 * choices + 8 * count } else { 20 * choices };
            parallel::chunks(out, count.max(1), cost.div_ceil(count.max(1)), |row, out| {
                let weights = &weights[row * choices..][..choices];
                if replacement {
                    choose(weights, draw, row * count, out);
                } else {
                    choose_once(weights, draw, row * choices, out);
                }
            });
        })
    }
    fn thin(&self, x: &Value, thinning: Thinning, draw: Draw) -> Result<Value, Fault> {
        check_chance(thinning.rate)?;
        floats(x.dtype(), |wide| {
            let x = self.contiguous(&self.cast(x, wide)?)?;
            let threshold = threshold(thinning.rate);
            dispatch_float!(wide, T => {
                let from = x.dense::<T>()?;
                if thinning.group <= 1 {
                    generate::<T, _>(*x.shape(), draw, Thin { x: from, threshold, thinning })
                } else {
                    Value::build::<T>(*x.shape(), |out| thin_groups(from, out, threshold, thinning, draw))
                }
            }, else no_float(wide))
        })
    }
}

/// The 64-bit words as they are.
struct Keys;

impl Make<i64> for Keys {
    const EACH: usize = 2 * LANES;
    #[inline(always)]
    fn make(&self, words: &Group, _: usize, out: &mut [i64]) {
        for (out, words) in out.chunks_exact_mut(LANES).zip(words.chunks_exact(2 * LANES)) {
            for lane in 0..LANES {
                out[lane] = ((words[lane] as u64) << 32 | words[LANES + lane] as u64) as i64;
            }
        }
    }
}

fn thin_groups<T: ThinGroups>(x: &[T], out: &mut [T], threshold: u64, thinning: Thinning, draw: Draw) {
    let each = 4 * LANES * thinning.group;
    parallel::chunks(out, each, 1, |group, out| {
        let words = words_of(draw, group);
        let x = &x[group * each..][..out.len()];
        let runs = out.chunks_mut(thinning.group).zip(x.chunks(thinning.group));
        for ((out, x), &word) in runs.zip(&words) {
            let kept = word as u64 >= threshold;
            for (out, x) in out.iter_mut().zip(x) {
                *out = x.thin(kept, thinning);
            }
        }
    });
}

/// With replacement: where a uniform number falls among the sums of the weights.
fn choose(weights: &[f64], draw: Draw, first: usize, out: &mut [i64]) {
    let mut sum = 0.0;
    let mut sums = Vec::with_capacity(weights.len());
    for stretch in weights.chunks(STRETCH) {
        let (before, mut inside) = (sum, 0.0);
        for weight in stretch {
            inside += weight;
            sum = before + inside;
            sums.push(sum);
        }
    }
    let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    for (index, out) in out.iter_mut().enumerate() {
        let point = (draw.word((first + index) as u64, 0) >> 11) as f64 * UNIT * sum;
        *out = sums.partition_point(|&sum| sum <= point).min(last) as i64;
    }
}

/// Without: each choice waits for a time with rate `weight`; the first to come are taken, in their order.
fn choose_once(weights: &[f64], draw: Draw, first: usize, out: &mut [i64]) {
    let mut times: Vec<f64> = Vec::with_capacity(weights.len());
    for (index, &weight) in weights.iter().enumerate() {
        let fraction = ((draw.word((first + index) as u64, 0) >> 11) + 1) as f64 * UNIT;
        times.push(if weight > 0.0 { -ln(fraction) / weight } else { f64::INFINITY });
    }
    for (out, index) in out.iter_mut().zip(order_of(times.len(), &|a, b| times[a].total_cmp(&times[b]))) {
        *out = index as i64;
    }
}

/// Makes floats of the given type; those of 16 bits are f32 rounded once.
fn floats(dtype: DType, make: impl FnOnce(DType) -> Result<Value, Fault>) -> Result<Value, Fault> {
    match dtype {
        DType::BF16 | DType::F16 => Cpu.cast(&make(DType::F32)?, dtype),
        _ => make(dtype),
    }
}

fn check_weights(row: &[f64], count: usize, replacement: bool) -> Result<(), Fault> {
    if let Some(bad) = row.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        return Err(no_weight(*bad));
    }
    let choices = row.iter().filter(|weight| **weight > 0.0).count();
    let wanted = if replacement { count.min(1) } else { count };
    if wanted > choices { Err(too_few(wanted, choices)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw = Draw { seed: 12, stream: 0, number: 0 };
    fn shape(sizes: &[usize]) -> Shape {
        Shape::new(sizes).expect("a shape")
    }
    /// Mean, standard deviation, skewness, kurtosis.
    fn moments(x: &[f64]) -> [f64; 4] {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let central = |power| x.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
        let deviation = central(2).sqrt();
        [mean, deviation, central(3) / deviation.powi(3), central(4) / deviation.powi(4)]
    }
    fn numbers(value: Result<Value, Fault>) -> Vec<f64> {
        let wide = Cpu.cast(&value.expect("a value"), DType::F64).expect("f64");
        wide.dense::<f64>().expect("dense").to_vec()
    }
    fn close(found: [f64; 4], expected: [f64; 4], tolerance: f64) {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{found} for {expected}");
        }
    }

    #[test]
    fn the_mathematics_is_accurate() {
        for k in 1..20_000u32 {
            let x = k as f64 / 20_000.0;
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1e-300), "{x}");
            let (sine, cosine) = sine_and_cosine(x);
            let (s, c) = (std::f64::consts::TAU * x).sin_cos();
            assert!((sine - s).abs() < 1e-15 && (cosine - c).abs() < 1e-15, "{x}");
        }
        assert_eq!((ln(1.0), ln(UNIT)), (0.0, UNIT.ln()));
        assert_eq!(sine_and_cosine(0.0), (0.0, 1.0));
    }

    #[test]
    fn uniforms_have_their_moments_and_cells() {
        let n = 1_000_003;
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let x = numbers(Cpu.uniform(shape(&[n]), dtype, -1.0, 3.0, DRAW));
            assert!(x.iter().all(|x| (-1.0..3.0).contains(x) || dtype == DType::BF16));
            close(moments(&x), [1.0, 4.0 / 12f64.sqrt(), 0.0, 1.8], 0.01);
            let mut cells = [0f64; 100];
            x.iter().for_each(|x| cells[((x + 1.0) * 25.0).min(99.0) as usize] += 1.0);
            let expected = n as f64 / 100.0;
            let chi: f64 = cells.iter().map(|cell| (cell - expected).powi(2) / expected).sum();
            // 99 degrees of freedom: 148 is the upper 0.1 %. (bf16 rounds numbers across the edges of cells.)
            assert!(chi < 148.0 || dtype == DType::BF16, "chi-square {chi}");
        }
        let narrow = numbers(Cpu.uniform(shape(&[10_000]), DType::F32, 1.0, 1.0 + f32::EPSILON as f64, DRAW));
        assert!(narrow.iter().all(|&x| x == 1.0));
        assert!(Cpu.uniform(shape(&[1]), DType::F32, 2.0, 1.0, DRAW).is_err());
        assert!(Cpu.uniform(shape(&[1]), DType::F32, f64::NAN, 1.0, DRAW).is_err());
        assert!(Cpu.uniform(shape(&[1]), DType::I32, 0.0, 1.0, DRAW).is_err());
    }

    #[test]
    fn normals_have_their_moments_and_tails() {
        let n = 1_000_001;
        for dtype in [DType::F32, DType::F64] {
            let x = numbers(Cpu.normal(shape(&[n]), dtype, 0.0, 1.0, DRAW));
            close(moments(&x), [0.0, 1.0, 0.0, 3.0], 0.02);
            // The share beyond one, two, three deviations.
            for (limit, share) in [(1.0, 0.317311), (2.0, 0.045500), (3.0, 0.002700)] {
                let beyond = x.iter().filter(|x| x.abs() > limit).count() as f64 / n as f64;
                assert!((beyond - share).abs() < 4.0 * (share / n as f64).sqrt(), "{beyond} beyond {limit}");
            }
            // Neighbours in memory and partners of a pair do not know of each other.
            for lag in [1, 16, 32, 64] {
                let product: f64 = x.iter().zip(&x[lag..]).map(|(a, b)| a * b).sum();
                assert!((product / n as f64).abs() < 0.005, "correlation at {lag}");
            }
        }
        let x = numbers(Cpu.normal(shape(&[100_000]), DType::F32, 5.0, 0.1, DRAW));
        close(moments(&x), [5.0, 0.1, 0.0, 3.0], 0.05);
        assert!(Cpu.normal(shape(&[1]), DType::F32, 0.0, -1.0, DRAW).is_err());
    }

    #[test]
    fn integers_fall_evenly() {
        for bound in [1, 2, 7, 1000] {
            let x = numbers(Cpu.integers(shape(&[100_000]), -3, bound - 3, DRAW));
            let mut cells = vec![0f64; bound as usize];
            x.iter().for_each(|x| cells[(x + 3.0) as usize] += 1.0);
            let expected = 100_000.0 / bound as f64;
            let chi: f64 = cells.iter().map(|cell| (cell - expected).powi(2) / expected).sum();
            assert!(chi < bound as f64 + 4.0 * (2.0 * bound as f64).sqrt() + 8.0, "chi-square {chi} for {bound}");
        }
        let whole = numbers(Cpu.integers(shape(&[1000]), i64::MIN, i64::MAX, DRAW));
        assert!(whole.iter().any(|&x| x > 4e18) && whole.iter().any(|&x| x < -4e18));
        assert!(Cpu.integers(shape(&[1]), 3, 3, DRAW).is_err());
    }

    #[test]
    fn coins_and_permutations() {
        for (chance, dtype) in [(0.0, DType::F32), (0.3, DType::U8), (0.5, DType::Bool), (1.0, DType::F64)] {
            let x = numbers(Cpu.bernoulli(shape(&[100_000]), dtype, chance, DRAW));
            let share = x.iter().sum::<f64>() / 1e5;
            assert!((share - chance).abs() < 0.006 && x.iter().all(|&x| x == 0.0 || x == 1.0));
        }
        let chances = Value::build::<f32>(shape(&[3, 1000]), |out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = (i / 1000) as f32 / 2.0)
        });
        let x = numbers(Cpu.bernoulli_of(&chances.expect("chances"), DRAW));
        assert_eq!((x[..1000].iter().sum::<f64>(), x[2000..].iter().sum::<f64>()), (0.0, 1000.0));
        assert!((400.0..600.0).contains(&x[1000..2000].iter().sum::<f64>()));
        for count in [0, 1, 10, 1001] {
            let mut order = numbers(Cpu.permutation(count, DRAW));
            assert!(count < 10 || !order.is_sorted());
            order.sort_by(f64::total_cmp);
            assert_eq!(order, (0..count).map(|i| i as f64).collect::<Vec<_>>());
        }
        // All six orders of three, equally often.
        let mut seen = std::collections::HashMap::new();
        for number in 0..6000 {
            let order = numbers(Cpu.permutation(3, Draw { number, ..DRAW }));
            *seen.entry(order.iter().fold(0, |code, x| code * 3 + *x as usize)).or_insert(0) += 1;
        }
        assert!(seen.len() == 6 && seen.values().all(|&times| (860..1140).contains(&times)), "{seen:?}");
    }

    #[test]
    fn multinomial_follows_the_weights() {
        let weights = Value::build::<f32>(shape(&[2, 4]), |out| out.copy_from_slice(&[1., 0., 3., 0., 1., 1., 1., 1.]));
        let weights = weights.expect("weights");
        let chosen = numbers(Cpu.multinomial(&weights, 40_000, true, DRAW));
        let count = |row: usize, choice: f64| chosen[row * 40_000..][..40_000].iter().filter(|&&x| x == choice).count();
        assert_eq!((count(0, 1.0), count(0, 3.0)), (0, 0));
        assert!((29_500..30_500).contains(&count(0, 2.0)) && (9_600..10_400).contains(&count(1, 3.0)));
        let once = numbers(Cpu.multinomial(&weights, 2, false, DRAW));
        assert!(once[0] != once[1] && once[..2].iter().all(|x| [0.0, 2.0].contains(x)));
        assert!(Cpu.multinomial(&weights, 3, false, DRAW).is_err(), "only two have a weight");
        let negative = Value::full(shape(&[2]), DType::F32, -1.0).expect("weights");
        assert!(Cpu.multinomial(&negative, 1, true, DRAW).is_err());
    }

    #[test]
    fn dropout_thins_and_repeats() {
        let thinning = Thinning { rate: 0.25, group: 1, scale: 1.0 / 0.75, shift: 0.0, dropped: 0.0 };
        for dtype in [DType::F32, DType::F64, DType::F16] {
            let x = Value::full(shape(&[100, 1001]), dtype, 3.0).expect("ones");
            let y = numbers(Cpu.thin(&x, thinning, DRAW));
            assert!(y.iter().all(|&y| y == 0.0 || (y - 4.0).abs() < 1e-6));
            let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / y.len() as f64;
            assert!((kept - 0.75).abs() < 0.006, "{kept}");
            assert_eq!(y, numbers(Cpu.thin(&x, thinning, DRAW)));
            assert_ne!(y, numbers(Cpu.thin(&x, thinning, Draw { number: 1, ..DRAW })));
            let rows = numbers(Cpu.thin(&x, Thinning { group: 1001, ..thinning }, DRAW));
            assert!(rows.chunks(1001).all(|row| row.iter().all(|y| y == &row[0])));
            assert!(rows.contains(&0.0) && rows.iter().any(|&y| y > 0.0));
        }
        let x = Value::full(shape(&[70]), DType::F32, f64::NAN).expect("NaN");
        assert!(numbers(Cpu.thin(&x, thinning, DRAW)).iter().all(|y| y.is_nan()));
    }
}
