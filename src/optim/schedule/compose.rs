//! One schedule after another, and two at once.

use super::Schedule;

/// A schedule up to a step and another from there on: what [`Schedule::then_at`] makes.
///
/// ```
/// use chainrule::optim::schedule::{Constant, Cosine, Linear, Schedule};
/// let schedule = Linear::new(0.1, 1.0, 10).then_at(10, Cosine::new(80)).then_at(90, Constant::new(0.01, 10));
/// assert_eq!((schedule.rate(1.0, 10), schedule.rate(1.0, 95)), (1.0, 0.01));
/// ```
#[derive(Clone, Debug)]
pub struct Then<A, B> {
    first: A,
    milestone: u64,
    second: B,
}

impl<A, B> Then<A, B> {
    pub(super) fn new(first: A, milestone: u64, second: B) -> Then<A, B> {
        Then { first, milestone, second }
    }
}

impl<A: Schedule, B: Schedule> Schedule for Then<A, B> {
    fn rate(&self, base: f64, step: u64) -> f64 {
        match step.checked_sub(self.milestone) {
            Some(later) => self.second.rate(base, later),
            None => self.first.rate(base, step),
        }
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        match step.checked_sub(self.milestone) {
            Some(later) => self.second.momentum(later),
            None => self.first.momentum(step),
        }
    }
}

/// Two schedules at once: what [`Schedule::times`] makes.
///
/// ```
/// use chainrule::optim::schedule::{Constant, Exponential, Schedule};
/// let schedule = Constant::new(0.1, 20).times(Exponential::new(0.5));
/// assert_eq!((schedule.rate(1.0, 0), schedule.rate(1.0, 2), schedule.rate(1.0, 20)), (0.1, 0.025, 0.5f64.powi(20)));
/// ```
#[derive(Clone, Debug)]
pub struct Times<A, B> {
    first: A,
    second: B,
}

impl<A, B> Times<A, B> {
    pub(super) fn new(first: A, second: B) -> Times<A, B> {
        Times { first, second }
    }
}

impl<A: Schedule, B: Schedule> Schedule for Times<A, B> {
    fn rate(&self, base: f64, step: u64) -> f64 {
        self.second.rate(self.first.rate(base, step), step)
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        self.second.momentum(step).or_else(|| self.first.momentum(step))
    }
}
