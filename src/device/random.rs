//! Random numbers from a counter: any number of a stream can be computed on its own, so the bits are the same for any
//! number of threads and on every device.
//!
//! Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) scrambles a
//! counter of 128 bits under a key of 64 bits in ten rounds. The key is the seed; the counter says which stream, which
//! draw of it, and which block of four words of the draw.

use super::{Counter, Value, capture};
use crate::error::Fault;
use crate::layout::{DType, Shape};

/// One draw: names all the numbers that one operation takes, in three numbers. An operation stores it, and repeats its
/// mask from it when it is computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The seed, the generator's key.
    pub seed: u64,
    /// The stream: each random layer has one of its own.
    pub stream: u32,
    /// Which draw of the stream (40 bits count).
    pub number: u64,
}

/// A stream of random draws. There is no global generator: who needs chance holds one of these, and the same seed gives
/// the same numbers on any machine, for any number of threads.
///
/// ```
/// use chainrule::{Random, Tensor};
/// let mut random = Random::new(1);
/// let x = Tensor::normal([2, 3], 0.0, 1.0, &mut random);
/// let y = Tensor::normal([2, 3], 0.0, 1.0, &mut random);
/// assert_ne!(x.to_vec::<f32>()?, y.to_vec::<f32>()?);
/// let again = Tensor::normal([2, 3], 0.0, 1.0, &mut Random::new(1));
/// assert_eq!(x.to_vec::<f32>()?, again.to_vec::<f32>()?);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    seed: u64,
    stream: u32,
    /// The number of the next draw.
    number: Counter,
}

impl Random {
    /// Stream 0 of a seed.
    ///
    /// ```
    /// use chainrule::Random;
    /// assert_eq!(Random::new(7).draw().seed, 7);
    /// ```
    pub fn new(seed: u64) -> Random {
        Random { seed, stream: 0, number: Counter::new(0) }
    }
    /// The stream of this number under the same seed, from its beginning.
    ///
    /// ```
    /// use chainrule::Random;
    /// let (mut data, mut weights) = (Random::new(7).stream(1), Random::new(7).stream(2));
    /// assert_ne!(data.below(1 << 60), weights.below(1 << 60));
    /// ```
    pub fn stream(&self, stream: u32) -> Random {
        Random { seed: self.seed, stream, number: Counter::new(0) }
    }
    /// Goes on at a draw: what [`position`](Random::position) said before the program ended.
    ///
    /// ```
    /// use chainrule::Random;
    /// let mut random = Random::new(7);
    /// random.uniform();
    /// let mut resumed = Random::resume(random.position());
    /// assert_eq!(random.uniform(), resumed.uniform());
    /// ```
    pub fn resume(position: Draw) -> Random {
        let Draw { seed, stream, number } = position;
        Random { seed, stream, number: Counter::new(number) }
    }
    /// The next draw, which stays the next.
    ///
    /// ```
    /// use chainrule::Random;
    /// let mut random = Random::new(7);
    /// assert_eq!(random.position(), random.draw());
    /// ```
    pub fn position(&self) -> Draw {
        Draw { seed: self.seed, stream: self.stream, number: self.number.get() }
    }
    /// Takes the next draw: what a random operation is given.
    ///
    /// ```
    /// use chainrule::Random;
    /// let mut random = Random::new(7);
    /// assert_eq!((random.draw().number, random.draw().number), (0, 1));
    /// ```
    pub fn draw(&mut self) -> Draw {
        let draw = self.position();
        if capture::is_recording() {
            capture::draws(draw, self.number.shared());
        }
        self.number.advance();
        draw
    }
    /// The next draw, for a number that is wanted here and now.
    fn look(&mut self) -> Draw {
        if capture::is_recording() {
            capture::refuse(Fault::value(
                "a captured step draws a number that the program itself looks at: every replay would have the same",
                "draw it before the step, or draw tensors: uniform_like, dropout, ...",
            ));
        }
        self.draw()
    }
    /// A generator with a seed of its own, taken from this one.
    ///
    /// ```
    /// use chainrule::Random;
    /// let mut random = Random::new(7);
    /// assert_ne!(random.split().uniform(), random.split().uniform());
    /// ```
    pub fn split(&mut self) -> Random {
        Random::new(self.look().word(0, 0))
    }
    /// A number between 0 and 1, 1 excluded.
    ///
    /// ```
    /// use chainrule::Random;
    /// assert!((0.0..1.0).contains(&Random::new(7).uniform()));
    /// ```
    pub fn uniform(&mut self) -> f64 {
        (self.look().word(0, 0) >> 11) as f64 * UNIT
    }
    /// A whole number below `bound`, each as likely as any other; 0 where `bound` is 0.
    ///
    /// ```
    /// use chainrule::Random;
    /// let mut random = Random::new(7);
    /// assert!((0..100).all(|_| random.below(6) < 6));
    /// ```
    pub fn below(&mut self, bound: u64) -> u64 {
        self.look().below(0, bound)
    }
}

/// 2⁻⁵³.
pub(super) const UNIT: f64 = 1.0 / (1u64 << 53) as f64;

/// Blocks that are computed together; their words stand in a group one kind after another: the first words of all 16,
/// then the second, the third, the fourth.
pub(super) const LANES: usize = 16;
/// The words of a group.
pub(super) type Group = [u32; 4 * LANES];

impl Draw {
    /// The counter of a block. `attempt` counts what was thrown away (see [`below`](Draw::below)).
    #[inline(always)]
    fn counter(self, block: u64, attempt: u32) -> [u32; 4] {
        let high = (block >> 32) as u32 & 0xffff | (attempt & 0xff) << 16 | ((self.number >> 32) as u32) << 24;
        [block as u32, high, self.number as u32, self.stream]
    }
    #[inline(always)]
    fn key(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
    /// Group number `group` of the draw's words.
    #[inline(always)]
    pub(super) fn group(self, group: usize) -> Group {
        let first = group as u64 * LANES as u64;
        let [low, high, number, stream] = self.counter(first, 0);
        // Sixteen blocks from a multiple of sixteen never carry into the upper half.
        let mut lanes = [[0; LANES], [high; LANES], [number; LANES], [stream; LANES]];
        for (lane, word) in lanes[0].iter_mut().enumerate() {
            *word = low + lane as u32;
        }
        philox(&mut lanes, self.key());
        let mut words = [0; 4 * LANES];
        for (out, lane) in words.chunks_exact_mut(LANES).zip(&lanes) {
            out.copy_from_slice(lane);
        }
        words
    }
    /// The 64-bit word of element `element`, which a group holds as two of its words.
    pub(super) fn word(self, element: u64, attempt: u32) -> u64 {
        let (lane, half) = (element % LANES as u64, element / LANES as u64 % 2);
        let block = element / (2 * LANES as u64) * LANES as u64 + lane;
        let mut lanes = self.counter(block, attempt).map(|word| [word]);
        philox(&mut lanes, self.key());
        let half = 2 * half as usize;
        (lanes[half][0] as u64) << 32 | lanes[half + 1][0] as u64
    }
    /// Element `element` as a whole number below `bound`, by Lemire's multiplication ("Fast random integer generation in
    /// an interval", 2019); the few words that would favour some numbers are thrown away.
    #[inline]
    pub(super) fn below(self, element: u64, bound: u64) -> u64 {
        scale(self.word(element, 0), bound).unwrap_or_else(|| self.below_again(element, bound))
    }
    #[cold]
    pub(super) fn below_again(self, element: u64, bound: u64) -> u64 {
        // Each attempt fails with a chance below 1/2, mostly far below.
        (1..256).find_map(|attempt| scale(self.word(element, attempt), bound)).unwrap_or(0)
    }
}

/// `word · bound / 2⁶⁴`, or nothing for the 2⁶⁴ mod `bound` words that are too many.
#[inline(always)]
pub(super) fn scale(word: u64, bound: u64) -> Option<u64> {
    let product = word as u128 * bound as u128;
    let (high, low) = ((product >> 64) as u64, product as u64);
    (low >= bound || low >= bound.wrapping_neg().checked_rem(bound).unwrap_or(0)).then_some(high)
}

/// Ten rounds over `N` counters at once.
#[inline(always)]
fn philox<const N: usize>(counters: &mut [[u32; N]; 4], mut key: [u32; 2]) {
    let [a, b, c, d] = counters;
    for _ in 0..10 {
        for (((a, b), c), d) in a.iter_mut().zip(&mut *b).zip(&mut *c).zip(&mut *d) {
            let first = *a as u64 * 0xd251_1f53;
            let second = *c as u64 * 0xcd9e_8d57;
            *a = (second >> 32) as u32 ^ *b ^ key[0];
            *b = second as u32;
            *c = (first >> 32) as u32 ^ *d ^ key[1];
            *d = first as u32;
        }
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
}

/// How a dropout thins: each run of `group` neighbours is kept or dropped as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thinning {
    /// The chance to be dropped.
    pub rate: f64,
    /// Neighbours (in row-major order) that share their fate.
    pub group: usize,
    /// What is kept is multiplied by this,
    pub scale: f64,
    /// and this is added to it.
    pub shift: f64,
    /// What is dropped becomes this.
    pub dropped: f64,
}

/// The kernels that make random values.
pub trait Generate {
    /// Uniform floats from `low` on, below `high`.
    fn uniform(&self, shape: Shape, dtype: DType, low: f64, high: f64, draw: Draw) -> Result<Value, Fault>;
    /// Normal floats.
    fn normal(&self, shape: Shape, dtype: DType, mean: f64, deviation: f64, draw: Draw) -> Result<Value, Fault>;
    /// Whole numbers from `low` on, below `high` (i64).
    fn integers(&self, shape: Shape, low: i64, high: i64, draw: Draw) -> Result<Value, Fault>;
    /// One with the given chance, else zero.
    fn bernoulli(&self, shape: Shape, dtype: DType, chance: f64, draw: Draw) -> Result<Value, Fault>;
    /// One with the chance that stands at its place, else zero.
    fn bernoulli_of(&self, chances: &Value, draw: Draw) -> Result<Value, Fault>;
    /// How often something happens whose rate stands at the place: a count of Poisson's distribution, in the rates' type.
    fn poisson(&self, rates: &Value, draw: Draw) -> Result<Value, Fault>;
    /// The numbers below `count` in random order (i64).
    fn permutation(&self, count: usize, draw: Draw) -> Result<Value, Fault>;
    /// For each row of weights, `count` positions, each as likely as its weight (i64).
    fn multinomial(&self, weights: &Value, count: usize, replacement: bool, draw: Draw) -> Result<Value, Fault>;
    /// Dropout.
    fn thin(&self, x: &Value, thinning: Thinning, draw: Draw) -> Result<Value, Fault>;
}

/// Words below this come with the given chance (in steps of 2⁻³²).
pub(in crate::device) fn threshold(chance: f64) -> u64 {
    (chance.clamp(0.0, 1.0) * (1u64 << 32) as f64).round() as u64
}

/// A fault where there are no uniform numbers of this range.
pub(in crate::device) fn check_uniform(dtype: DType, low: f64, high: f64) -> Result<(), Fault> {
    let widest = if dtype == DType::F64 { f64::MAX } else { f32::MAX as f64 };
    // Also refuses NaN.
    if !(low <= high && high - low <= widest && low.abs() <= widest && high.abs() <= widest) {
        return Err(Fault::value(
            format!("the range from {low} to {high}"),
            format!("the first must not be greater, and both and their distance must be finite in {dtype}"),
        ));
    }
    Ok(())
}

/// A fault where there are no normal numbers of this kind.
pub(in crate::device) fn check_normal(mean: f64, deviation: f64) -> Result<(), Fault> {
    if !(mean.is_finite() && deviation.is_finite() && deviation >= 0.0) {
        return Err(Fault::value(
            format!("a mean of {mean} with a standard deviation of {deviation}"),
            "both must be finite, the deviation not negative",
        ));
    }
    Ok(())
}

/// A fault where there are no whole numbers of this range.
pub(in crate::device) fn check_integers(low: i64, high: i64) -> Result<(), Fault> {
    if low >= high {
        return Err(Fault::value(
            format!("there are no whole numbers from {low} on, below {high}"),
            "the second bound is excluded: it must be greater than the first",
        ));
    }
    Ok(())
}

/// A fault where this is no chance.
pub(in crate::device) fn check_chance(chance: f64) -> Result<(), Fault> {
    if (0.0..=1.0).contains(&chance) {
        return Ok(());
    }
    Err(Fault::value(format!("a chance of {chance}"), "a chance lies between 0 and 1"))
}

/// A fault where there are no counts of such a rate.
pub(in crate::device) fn check_rate(rate: f64) -> Result<(), Fault> {
    if (0.0..=1e12).contains(&rate) {
        return Ok(());
    }
    Err(Fault::value(
        format!("a rate of {rate}"),
        "a rate lies between 0 and 1e12; beyond that, normal numbers of this mean and variance are as good",
    ))
}

/// Weights of which a sum is made in order; sums of more run from the sum of all such stretches before.
pub(in crate::device) const STRETCH: usize = 128;

/// How many choices rows of weights have, and the sizes of all rows; or a fault where there is nothing to choose from.
pub(in crate::device) fn check_choices(weights: &Value, count: usize) -> Result<(usize, &[usize]), Fault> {
    let Some((&choices, rows)) = weights.dims().split_last() else {
        return Err(Fault::shape("one weight has no choices", "give a row of weights, or several"));
    };
    if choices == 0 && count > 0 && rows.iter().all(|&size| size > 0) {
        return Err(Fault::value("there is nothing to choose from", "give at least one weight"));
    }
    Ok((choices, rows))
}

/// A fault: a number is no weight.
#[cold]
pub(in crate::device) fn no_weight(weight: f64) -> Fault {
    Fault::value(format!("a weight of {weight}"), "weights are finite and not negative")
}

/// A fault: of the choices too few have a weight.
#[cold]
pub(in crate::device) fn too_few(wanted: usize, choices: usize) -> Fault {
    if choices == 0 {
        return Fault::value("all weights are zero", "at least one choice must have a weight");
    }
    Fault::value(
        format!("{wanted} different choices were asked for, {choices} have a weight"),
        "ask for fewer, or choose with replacement",
    )
}

/// A fault where floats are asked for in another type.
pub(in crate::device) fn no_float(dtype: DType) -> Result<Value, Fault> {
    Err(Fault::dtype(format!("{dtype} is no float"), "use f64, f32, bf16 or f16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // From the authors' own test vectors (Random123, kat_vectors).
        let cases = [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([!0; 4], [!0; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            let mut lanes = counter.map(|word: u32| [word; 3]);
            philox(&mut lanes, key);
            assert_eq!(lanes, expected.map(|word: u32| [word; 3]));
        }
    }

    #[test]
    fn words_are_those_of_groups() {
        let draw = Draw { seed: 0x0123_4567_89ab_cdef, stream: 5, number: 1 << 35 };
        for element in 0..200 {
            let group = draw.group(element / 32);
            let at = element % 16 + element / 16 % 2 * 32;
            assert_eq!(draw.word(element as u64, 0), (group[at] as u64) << 32 | group[at + 16] as u64);
        }
    }

    #[test]
    fn draws_streams_seeds_and_attempts_differ() {
        let draw = Draw { seed: 1, stream: 2, number: 3 };
        let mut seen = vec![draw.word(0, 0), draw.word(1, 0), draw.word(16, 0), draw.word(0, 1), draw.word(1 << 37, 0)];
        for other in [
            Draw { seed: 2, ..draw },
            Draw { seed: 1 + (1 << 32), ..draw },
            Draw { stream: 3, ..draw },
            Draw { number: 4, ..draw },
            Draw { number: 3 + (1 << 32), ..draw },
        ] {
            seen.push(other.word(0, 0));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn integers_have_no_favourites() {
        // 3/4 of 2^64: without rejection the lower numbers would come twice as often as others.
        let (bound, mut random) = (3u64 << 62, Random::new(3));
        let mut thirds = [0; 3];
        for _ in 0..30_000 {
            thirds[(random.below(bound) >> 62) as usize] += 1;
        }
        assert!(thirds.iter().all(|&count| (9_600..10_400).contains(&count)), "{thirds:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
    }
}
