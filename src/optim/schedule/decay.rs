//! Rates that are the first rate times a factor of the step.

use super::Schedule;
use std::f64::consts::PI;
use std::sync::Arc;

/// `rate · factor^⌊step / every⌋`: a drop at even distances.
///
/// ```
/// use chainrule::optim::schedule::{Schedule, StepDecay};
/// let schedule = StepDecay::new(30).with_factor(0.5);
/// assert_eq!((schedule.rate(1.0, 29), schedule.rate(1.0, 30), schedule.rate(1.0, 60)), (1.0, 0.5, 0.25));
/// ```
#[derive(Clone, Debug)]
pub struct StepDecay {
    every: u64,
    factor: f64,
}

impl StepDecay {
    /// A tenth after every so many steps.
    pub fn new(every: u64) -> StepDecay {
        StepDecay { every: every.max(1), factor: 0.1 }
    }
    /// Another factor than 0.1.
    pub fn with_factor(self, factor: f64) -> StepDecay {
        StepDecay { factor, ..self }
    }
}

impl Schedule for StepDecay {
    fn rate(&self, base: f64, step: u64) -> f64 {
        base * self.factor.powf((step / self.every) as f64)
    }
}

/// `rate · factor^(number of milestones passed)`: a drop at chosen steps.
///
/// ```
/// use chainrule::optim::schedule::{MultiStep, Schedule};
/// let schedule = MultiStep::new([30, 80]);
/// assert!((schedule.rate(1.0, 30) - 0.1).abs() < 1e-12 && (schedule.rate(1.0, 80) - 0.01).abs() < 1e-12);
/// ```
#[derive(Clone, Debug)]
pub struct MultiStep {
    milestones: Vec<u64>,
    factor: f64,
}

impl MultiStep {
    /// A tenth at each of these steps; one that is named twice counts twice.
    pub fn new(milestones: impl IntoIterator<Item = u64>) -> MultiStep {
        MultiStep { milestones: milestones.into_iter().collect(), factor: 0.1 }
    }
    /// Another factor than 0.1.
    pub fn with_factor(self, factor: f64) -> MultiStep {
        MultiStep { factor, ..self }
    }
}

impl Schedule for MultiStep {
    fn rate(&self, base: f64, step: u64) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= step).count();
        base * self.factor.powf(passed as f64)
    }
}

/// `rate · factor^step`.
///
/// ```
/// use chainrule::optim::schedule::{Exponential, Schedule};
/// assert_eq!(Exponential::new(0.5).rate(1.0, 3), 0.125);
/// ```
#[derive(Clone, Debug)]
pub struct Exponential {
    factor: f64,
}

impl Exponential {
    /// By this factor each step.
    pub fn new(factor: f64) -> Exponential {
        Exponential { factor }
    }
}

impl Schedule for Exponential {
    fn rate(&self, base: f64, step: u64) -> f64 {
        base * self.factor.powf(step as f64)
    }
}

/// The factor moves evenly from one number to another, then stays.
///
/// ```
/// use chainrule::optim::schedule::{Linear, Schedule};
/// let schedule = Linear::new(0.5, 1.0, 4);
/// assert_eq!((schedule.rate(1.0, 0), schedule.rate(1.0, 2), schedule.rate(1.0, 9)), (0.5, 0.75, 1.0));
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    from: f64,
    to: f64,
    steps: u64,
}

impl Linear {
    /// From the factor `from` to the factor `to` in so many steps.
    pub fn new(from: f64, to: f64, steps: u64) -> Linear {
        Linear { from, to, steps }
    }
}

impl Schedule for Linear {
    fn rate(&self, base: f64, step: u64) -> f64 {
        base * (self.from + (self.to - self.from) * share(step, self.steps))
    }
}

/// How much of the way is done, at most 1.
fn share(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { step as f64 / steps as f64 }
}

/// A factor for so many steps; after that the rate itself.
///
/// ```
/// use chainrule::optim::schedule::{Constant, Schedule};
/// let schedule = Constant::new(0.5, 4);
/// assert_eq!((schedule.rate(1.0, 3), schedule.rate(1.0, 4)), (0.5, 1.0));
/// ```
#[derive(Clone, Debug)]
pub struct Constant {
    factor: f64,
    steps: u64,
}

impl Constant {
    /// This factor for so many steps.
    pub fn new(factor: f64, steps: u64) -> Constant {
        Constant { factor, steps }
    }
}

impl Schedule for Constant {
    fn rate(&self, base: f64, step: u64) -> f64 {
        if step < self.steps { base * self.factor } else { base }
    }
}

/// `rate · (1 - step / steps)^power`, then 0.
///
/// ```
/// use chainrule::optim::schedule::{Polynomial, Schedule};
/// let schedule = Polynomial::new(10, 2.0);
/// assert_eq!((schedule.rate(1.0, 5), schedule.rate(1.0, 11)), (0.25, 0.0));
/// ```
#[derive(Clone, Debug)]
pub struct Polynomial {
    steps: u64,
    power: f64,
}

impl Polynomial {
    /// To 0 in so many steps; power 1 is a straight line.
    pub fn new(steps: u64, power: f64) -> Polynomial {
        Polynomial { steps, power }
    }
}

impl Schedule for Polynomial {
    fn rate(&self, base: f64, step: u64) -> f64 {
        base * (1.0 - share(step, self.steps)).powf(self.power)
    }
}

/// Down half a cosine: `minimum + (rate - minimum) · (1 + cos(π · step / steps)) / 2`. After that it goes up again.
///
/// Loshchilov, Hutter: SGDR, stochastic gradient descent with warm restarts (arXiv 1608.03983).
///
/// ```
/// use chainrule::optim::schedule::{Cosine, Schedule};
/// let schedule = Cosine::new(10).with_minimum(0.2);
/// assert_eq!((schedule.rate(1.0, 0), schedule.rate(1.0, 10)), (1.0, 0.2));
/// assert!((schedule.rate(1.0, 5) - 0.6).abs() < 1e-12);
/// ```
#[derive(Clone, Debug)]
pub struct Cosine {
    steps: u64,
    minimum: f64,
}

impl Cosine {
    /// To 0 in so many steps.
    pub fn new(steps: u64) -> Cosine {
        Cosine { steps: steps.max(1), minimum: 0.0 }
    }
    /// To another rate than 0.
    pub fn with_minimum(self, minimum: f64) -> Cosine {
        Cosine { minimum, ..self }
    }
}

impl Schedule for Cosine {
    fn rate(&self, base: f64, step: u64) -> f64 {
        self.minimum
            + (base - self.minimum) * half_cosine((step % self.steps.saturating_mul(2)) as f64 / self.steps as f64)
    }
}

fn half_cosine(share: f64) -> f64 {
    (1.0 + (PI * share).cos()) / 2.0
}

/// [`Cosine`] that jumps back to the top at its end, each round longer by a factor.
///
/// ```
/// use chainrule::optim::schedule::{Schedule, WarmRestarts};
/// let schedule = WarmRestarts::new(10).with_growth(2);
/// assert_eq!((schedule.rate(1.0, 10), schedule.rate(1.0, 30)), (1.0, 1.0));
/// assert!((schedule.rate(1.0, 20) - 0.5).abs() < 1e-12);
/// ```
#[derive(Clone, Debug)]
pub struct WarmRestarts {
    steps: u64,
    growth: u64,
    minimum: f64,
}

impl WarmRestarts {
    /// The first round has so many steps, and all others too.
    pub fn new(steps: u64) -> WarmRestarts {
        WarmRestarts { steps: steps.max(1), growth: 1, minimum: 0.0 }
    }
    /// Each round is so many times as long as the one before.
    pub fn with_growth(self, growth: u64) -> WarmRestarts {
        WarmRestarts { growth: growth.max(1), ..self }
    }
    /// To another rate than 0.
    pub fn with_minimum(self, minimum: f64) -> WarmRestarts {
        WarmRestarts { minimum, ..self }
    }
}

impl Schedule for WarmRestarts {
    fn rate(&self, base: f64, step: u64) -> f64 {
        let (mut step, mut round) = (step, self.steps);
        if self.growth == 1 {
            step %= round;
        }
        while step >= round {
            step -= round;
            round = round.saturating_mul(self.growth);
        }
        self.minimum + (base - self.minimum) * half_cosine(step as f64 / round as f64)
    }
}

/// The rate times a function of the step.
///
/// ```
/// use chainrule::optim::schedule::{Lambda, Schedule};
/// let schedule = Lambda::new(|step| 1.0 / (1.0 + step as f64));
/// assert_eq!(schedule.rate(1.0, 3), 0.25);
/// ```
#[derive(Clone)]
pub struct Lambda {
    factor: Arc<dyn Fn(u64) -> f64 + Send + Sync>,
}

impl Lambda {
    /// The factor of each step.
    pub fn new(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Lambda {
        Lambda { factor: Arc::new(factor) }
    }
}

impl std::fmt::Debug for Lambda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lambda")
    }
}

impl Schedule for Lambda {
    fn rate(&self, base: f64, step: u64) -> f64 {
        base * (self.factor)(step)
    }
}
