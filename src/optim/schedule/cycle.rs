//! Rates that go up and down between numbers of their own, with the momentum against them.

use super::Schedule;
use std::f64::consts::PI;

/// Once up to a great rate and down to a tiny one, with the momentum going the other way.
///
/// It sets rates of its own, whatever the optimizer's: from `greatest / 25` up to `greatest` in the first 30 % of the
/// steps, then down to a 10 000th of the first. Smith, Topin: Super-convergence (arXiv 1708.07120).
///
/// ```
/// use chainrule::optim::schedule::{OneCycle, Schedule};
/// use chainrule::optim::{Optimizer, Sgd};
/// let mut optimizer = Sgd::new(0.1).with_momentum(0.9);
/// let mut schedule = OneCycle::new(1.0, 100).start(&mut optimizer);
/// assert!((optimizer.rate() - 0.04).abs() < 1e-12 && (optimizer.momentum().unwrap() - 0.95).abs() < 1e-12);
/// for _ in 0..29 {
///     schedule.step(&mut optimizer);
/// }
/// assert_eq!((optimizer.rate(), optimizer.momentum()), (1.0, Some(0.85)));
/// ```
#[derive(Clone, Debug)]
pub struct OneCycle {
    greatest: f64,
    steps: u64,
    rising: f64,
    first: f64,
    last: f64,
    momentum: Option<(f64, f64)>,
    linear: bool,
    three_phases: bool,
}

impl OneCycle {
    /// Up to `greatest`, in so many steps altogether.
    pub fn new(greatest: f64, steps: u64) -> OneCycle {
        OneCycle {
            greatest,
            steps,
            rising: 0.3,
            first: 25.0,
            last: 1e4,
            momentum: Some((0.85, 0.95)),
            linear: false,
            three_phases: false,
        }
    }
    /// The share of the steps in which the rate rises (default 0.3).
    pub fn with_rising(self, share: f64) -> OneCycle {
        OneCycle { rising: share, ..self }
    }
    /// The first rate is `greatest / first`, the last one that `/ last` (default 25 and 10 000).
    pub fn with_divisors(self, first: f64, last: f64) -> OneCycle {
        OneCycle { first, last, ..self }
    }
    /// The momentum at the greatest rate, and at the ends (default 0.85 and 0.95).
    pub fn with_momentum(self, least: f64, greatest: f64) -> OneCycle {
        OneCycle { momentum: Some((least, greatest)), ..self }
    }
    /// Leaves the momentum alone.
    pub fn without_momentum(self) -> OneCycle {
        OneCycle { momentum: None, ..self }
    }
    /// In straight lines instead of cosines.
    pub fn linear(self) -> OneCycle {
        OneCycle { linear: true, ..self }
    }
    /// Down to the first rate as quickly as up, and then on to the last.
    pub fn three_phases(self) -> OneCycle {
        OneCycle { three_phases: true, ..self }
    }
    /// The number of this step on a way past three or four corners, each with the step that it stands at.
    fn on(&self, step: u64, first: f64, top: f64, back: f64, last: f64) -> f64 {
        let end = self.steps.saturating_sub(1) as f64;
        let step = (step as f64).min(end);
        let rise = self.rising * self.steps as f64;
        let corners = [(rise - 1.0, top), (2.0 * rise - 2.0, back), (end, last)];
        let corners = if self.three_phases { &corners[..] } else { &[corners[0], corners[2]] };
        let (mut from, mut before) = (first, 0.0);
        for &(at, to) in corners {
            if step <= at || at == end {
                let share = if at > before { (step - before) / (at - before) } else { 1.0 };
                return match self.linear {
                    true => (to - from) * share + from,
                    false => to + (from - to) / 2.0 * ((PI * share).cos() + 1.0),
                };
            }
            (from, before) = (to, at);
        }
        last
    }
}

impl Schedule for OneCycle {
    fn rate(&self, _: f64, step: u64) -> f64 {
        let first = self.greatest / self.first;
        self.on(step, first, self.greatest, first, first / self.last)
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        let (least, greatest) = self.momentum?;
        Some(self.on(step, greatest, least, greatest, greatest))
    }
}

/// Up and down between two rates, again and again, with the momentum going the other way.
///
/// It sets rates of its own, whatever the optimizer's. Smith: Cyclical learning rates for training neural networks
/// (arXiv 1506.01186).
///
/// ```
/// use chainrule::optim::schedule::{Cyclic, Schedule};
/// let schedule = Cyclic::new(0.0, 1.0, 4);
/// assert_eq!((schedule.rate(0.1, 2), schedule.rate(0.1, 4), schedule.rate(0.1, 8)), (0.5, 1.0, 0.0));
/// ```
#[derive(Clone, Debug)]
pub struct Cyclic {
    least: f64,
    greatest: f64,
    up: u64,
    down: u64,
    shrink: Shrink,
    momentum: Option<(f64, f64)>,
}

/// How the height of the peaks changes.
#[derive(Clone, Copy, Debug)]
enum Shrink {
    Not,
    Half,
    Power(f64),
}

impl Cyclic {
    /// From `least` to `greatest` in so many steps, and down in as many.
    pub fn new(least: f64, greatest: f64, up: u64) -> Cyclic {
        let up = up.max(1);
        Cyclic { least, greatest, up, down: up, shrink: Shrink::Not, momentum: Some((0.8, 0.9)) }
    }
    /// Down in another number of steps than up.
    pub fn with_down(self, steps: u64) -> Cyclic {
        Cyclic { down: steps, ..self }
    }
    /// Each peak is half as high as the one before.
    pub fn halving(self) -> Cyclic {
        Cyclic { shrink: Shrink::Half, ..self }
    }
    /// The height falls by a factor with each step.
    pub fn shrinking(self, factor: f64) -> Cyclic {
        Cyclic { shrink: Shrink::Power(factor), ..self }
    }
    /// The momentum at the peaks and in the valleys (default 0.8 and 0.9).
    pub fn with_momentum(self, least: f64, greatest: f64) -> Cyclic {
        Cyclic { momentum: Some((least, greatest)), ..self }
    }
    /// Leaves the momentum alone.
    pub fn without_momentum(self) -> Cyclic {
        Cyclic { momentum: None, ..self }
    }
    /// How far up it is, from 0 to 1.
    fn height(&self, step: u64) -> f64 {
        let length = self.up as f64 + self.down as f64;
        let cycle = (1.0 + step as f64 / length).floor();
        let place = 1.0 + step as f64 / length - cycle;
        let top = self.up as f64 / length;
        let height = if place <= top { place / top } else { (place - 1.0) / (top - 1.0) };
        height
            * match self.shrink {
                Shrink::Not => 1.0,
                Shrink::Half => 0.5f64.powf(cycle - 1.0),
                Shrink::Power(factor) => factor.powf(step as f64),
            }
    }
}

impl Schedule for Cyclic {
    fn rate(&self, _: f64, step: u64) -> f64 {
        self.least + (self.greatest - self.least) * self.height(step)
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        let (least, greatest) = self.momentum?;
        Some(greatest - (greatest - least) * self.height(step))
    }
}
