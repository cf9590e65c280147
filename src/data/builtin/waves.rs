//! Series for forecasting: seasons, a trend and noise.

use super::dice::Dice;
use crate::error::{Error, Fault, Result};
use crate::tensor::Tensor;
use std::f64::consts::TAU;

const STREAM: u32 = 0x0abe_5000;

/// Series for forecasting: each is a sum of two seasons, a trend and noise. Where the seasons begin and how strong they are
/// is drawn for each series; their lengths are common to all.
///
/// ```
/// use chainrule::data::builtin::Waves;
/// let series = Waves::new(8, 200).with_noise(0.1).with_seed(1).tensor()?;
/// assert_eq!(series.dims()?, [8, 200]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Waves {
    series: usize,
    length: usize,
    seasons: [f64; 2],
    trend: f64,
    noise: f64,
    seed: u64,
}

impl Waves {
    /// So many series of this length, with seasons of 24 and 168 steps (a day and a week of hours), a trend of at most 1
    /// over the whole length, and a noise of 0.1.
    pub fn new(series: usize, length: usize) -> Waves {
        Waves { series, length, seasons: [24.0, 168.0], trend: 1.0, noise: 0.1, seed: 0 }
    }
    /// Seasons of these lengths, in steps.
    pub fn with_seasons(self, short: f64, long: f64) -> Waves {
        Waves { seasons: [short, long], ..self }
    }
    /// The most that a series rises or falls over its whole length.
    pub fn with_trend(self, trend: f64) -> Waves {
        Waves { trend, ..self }
    }
    /// The standard deviation of the noise.
    pub fn with_noise(self, noise: f64) -> Waves {
        Waves { noise, ..self }
    }
    /// Series of another seed.
    pub fn with_seed(self, seed: u64) -> Waves {
        Waves { seed, ..self }
    }
    /// The series `[series, length]`, f32. Number `i` depends on the seed and on `i` alone.
    ///
    /// ```
    /// use chainrule::data::builtin::Waves;
    /// let calm = Waves::new(1, 96).with_seasons(24.0, 48.0).with_trend(0.0).with_noise(0.0).tensor()?;
    /// let (first, second) = (calm.narrow(1, 0, 48), calm.narrow(1, 48, 48));
    /// assert!((first - second).abs().max().item()? < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn tensor(&self) -> Result<Tensor> {
        let sound = self.seasons.iter().all(|season| *season > 0.0) && self.trend.is_finite() && self.noise.is_finite();
        if !sound {
            let what =
                format!("seasons of {:?}, a trend of {} and a noise of {}", self.seasons, self.trend, self.noise);
            return Err(Error::new("waves", Fault::value(what, "seasons are longer than 0, all numbers finite")));
        }
        let zeros = Tensor::zeros([self.series, self.length]).checked()?;
        if self.length == 0 {
            return Ok(zeros); // of however many series
        }
        let mut numbers = Vec::with_capacity(self.series * self.length);
        for series in 0..self.series {
            let mut dice = Dice::of(self.seed, STREAM, series as u64);
            let mut draw = |low: f32, high: f32| f64::from(dice.within(low, high));
            let heights = [draw(0.5, 1.0), draw(0.2, 0.6)];
            let starts = [draw(0.0, 1.0), draw(0.0, 1.0)];
            let (level, rise) = (draw(-0.5, 0.5), self.trend * draw(-1.0, 1.0) / self.length.max(1) as f64);
            for step in 0..self.length {
                let step = step as f64;
                let mut number = level + rise * step + self.noise * f64::from(dice.bell());
                for ((height, start), season) in heights.iter().zip(starts).zip(self.seasons) {
                    number += height * (TAU * (step / season + start)).sin();
                }
                numbers.push(number as f32);
            }
        }
        Tensor::from_vec(numbers, [self.series, self.length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_repeat_and_noise_is_as_large_as_said() {
        let waves = Waves::new(3, 500).with_seed(4);
        let (noisy, calm) = (waves.tensor().expect("series"), waves.clone().with_noise(0.0).tensor().expect("series"));
        assert_eq!(noisy.narrow(0, 0, 1), Waves::new(1, 500).with_seed(4).tensor().expect("one"));
        let deviation = (noisy - calm).square().mean().sqrt().item().expect("a number");
        assert!((deviation - 0.1).abs() < 0.01, "{deviation}");
        assert!(Waves::new(1, 5).with_seasons(0.0, 1.0).tensor().is_err());
        assert!(Waves::new(usize::MAX, 5).tensor().is_err());
    }
}
