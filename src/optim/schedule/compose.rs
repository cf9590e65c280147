//! One schedule after another.

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
