//! Many random numbers for one item: the item's place in the library's own streams, then a short generator.

use crate::device::random::{Draw, Random};

/// Numbers that depend on (seed, stream, item) alone. The library's generator names the start, since it keeps items apart;
/// from there SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) goes on, since a
/// picture takes hundreds of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64, stream: u32, item: u64) -> Dice {
        Dice(Random::resume(Draw { seed, stream, number: item }).below(u64::MAX))
    }
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 on, below 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (1.0 / (1u64 << 24) as f32)
    }
    /// From `low` on, below `high`.
    pub(crate) fn within(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
    /// Bell-shaped, mean 0 and deviation 1, never beyond 3.5: the sum of four numbers that are equally likely. Unlike the
    /// normal distribution it takes no logarithm, whose last bits differ between systems.
    pub(crate) fn bell(&mut self) -> f32 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        // The sum has mean 2 · 65535 and deviation 65536 / √3.
        (sum as f32 - 131_070.0) * (1.732_050_8 / 65_536.0)
    }
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (((self.bits() >> 32) * count as u64) >> 32) as usize
    }
    pub(crate) fn is(&mut self, chance: f32) -> bool {
        self.unit() < chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        let mut dice = Dice::of(1, 2, 3);
        let numbers: Vec<f32> = (0..100_000).map(|_| dice.bell()).collect();
        let mean = numbers.iter().sum::<f32>() / 1e5;
        let variance = numbers.iter().map(|x| x * x).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[dice.below(7)] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        let mean = (0..100_000).map(|_| dice.within(2.0, 4.0)).sum::<f32>() / 1e5;
        assert!((mean - 3.0).abs() < 0.01, "{mean}");
        assert_ne!(Dice::of(1, 2, 3).bits(), Dice::of(1, 2, 4).bits());
        assert_ne!(Dice::of(1, 2, 3).bits(), Dice::of(2, 2, 3).bits());
        assert_ne!(Dice::of(1, 2, 3).bits(), Dice::of(1, 3, 3).bits());
    }
}
