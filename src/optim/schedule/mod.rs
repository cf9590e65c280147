//! Schedules: how the rate changes with the steps taken.
//!
//! A [`Schedule`] is a pure function of the first rate and the number of steps, so schedules compose
//! ([`then_at`](Schedule::then_at), [`times`](Schedule::times), [`after_warm_up`](Schedule::after_warm_up)). [`start`](Schedule::start) makes it a
//! [`Scheduler`], which counts the steps and sets the rates of an optimizer. [`Plateau`] watches a measure instead.

mod by_hand;
mod compose;
mod cycle;
mod decay;
mod plateau;

pub use by_hand::ByHand;
pub use compose::{Then, Times};
pub use cycle::{Cyclic, OneCycle};
pub use decay::{Constant, Cosine, Exponential, Lambda, Linear, MultiStep, Polynomial, StepDecay, WarmRestarts};
pub use plateau::Plateau;

use super::Optimizer;
use crate::device::{Counter, capture};
use crate::error::{Error, Fault, Result};
use crate::tensor::State;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The rate as a function of the steps taken.
///
/// ```
/// use chainrule::optim::schedule::{Cosine, Schedule};
/// use chainrule::optim::{Optimizer, Sgd};
/// let mut optimizer = Sgd::new(0.1);
/// let mut schedule = Cosine::new(100).with_minimum(0.01).start(&mut optimizer);
/// for _ in 0..50 {
///     // a step of the optimizer, then:
///     schedule.step(&mut optimizer);
/// }
/// assert!((optimizer.rate() - 0.055).abs() < 1e-12);
/// ```
pub trait Schedule: Send + Sync + 'static {
    /// The rate after so many steps, where it would be `base` without a schedule.
    ///
    /// ```
    /// use chainrule::optim::schedule::{Exponential, Schedule};
    /// assert_eq!(Exponential::new(0.5).rate(8.0, 2), 2.0);
    /// ```
    fn rate(&self, base: f64, step: u64) -> f64;
    /// The momentum after so many steps; none where the schedule leaves it alone.
    fn momentum(&self, step: u64) -> Option<f64> {
        let _ = step;
        None
    }
    /// Begins at step 0 with the rates that the optimizer has now, each group from its own, and sets the first ones.
    fn start(self, optimizer: &mut dyn Optimizer) -> Scheduler<Self>
    where
        Self: Sized,
    {
        let scheduler = Scheduler { schedule: Arc::new(self), bases: optimizer.rates(), step: Counter::new(0) };
        scheduler.apply(optimizer);
        scheduler
    }
    /// This schedule up to a step, and from there on another, which begins with its own step 0.
    ///
    /// ```
    /// use chainrule::optim::schedule::{Constant, Exponential, Schedule};
    /// let schedule = Constant::new(0.5, 100).then_at(3, Exponential::new(0.1));
    /// assert_eq!((schedule.rate(1.0, 2), schedule.rate(1.0, 3), schedule.rate(1.0, 4)), (0.5, 1.0, 0.1));
    /// ```
    fn then_at<S: Schedule>(self, step: u64, next: S) -> Then<Self, S>
    where
        Self: Sized,
    {
        Then::new(self, step, next)
    }
    /// Both schedules at once: at each step the other one takes the rate that this one gives for the first rate. So factors
    /// multiply, and a least rate of the other one holds for both. A schedule that knows rates of its own
    /// ([`OneCycle`], [`Cyclic`]) belongs first.
    ///
    /// ```
    /// use chainrule::optim::schedule::{Linear, Schedule, StepDecay};
    /// let schedule = Linear::new(0.5, 1.0, 2).times(StepDecay::new(2));
    /// for (step, rate) in [(0, 0.5), (1, 0.75), (2, 0.1), (4, 0.01)] {
    ///     assert!((schedule.rate(1.0, step) - rate).abs() < 1e-12);
    /// }
    /// ```
    #[doc(alias("ChainedScheduler", "chain"))]
    fn times<S: Schedule>(self, other: S) -> Times<Self, S>
    where
        Self: Sized,
    {
        Times::new(self, other)
    }
    /// The rate grows evenly for so many steps, from a small one; then this schedule begins.
    ///
    /// ```
    /// use chainrule::optim::schedule::{Cosine, Schedule};
    /// let schedule = Cosine::new(90).after_warm_up(9);
    /// assert!((schedule.rate(1.0, 0) - 0.1).abs() < 1e-12 && (schedule.rate(1.0, 8) - 0.9).abs() < 1e-12);
    /// assert_eq!((schedule.rate(1.0, 9), schedule.rate(1.0, 99)), (1.0, 0.0));
    /// ```
    fn after_warm_up(self, steps: u64) -> Then<Linear, Self>
    where
        Self: Sized,
    {
        Linear::new(1.0 / (steps as f64 + 1.0), 1.0, steps).then_at(steps, self)
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn rate(&self, base: f64, step: u64) -> f64 {
        (**self).rate(base, step)
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        (**self).momentum(step)
    }
}

/// A schedule at work: it counts steps and sets the rates of an optimizer.
#[derive(Clone, Debug)]
pub struct Scheduler<S> {
    schedule: Arc<S>,
    bases: Vec<f64>,
    step: Counter,
}

impl<S: Schedule> Scheduler<S> {
    /// One step further.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer) {
        self.step.advance();
        self.apply(optimizer);
        if capture::is_recording() {
            self.repeat(optimizer);
        }
    }
    /// The steps taken.
    pub fn steps(&self) -> u64 {
        self.step.get()
    }
    fn apply(&self, optimizer: &mut dyn Optimizer) {
        let (rates, momentum) = numbers(&*self.schedule, &self.bases, self.steps());
        capture::allowed(|| {
            optimizer.set_rates(&rates);
            if let Some(momentum) = momentum {
                optimizer.set_momentum(momentum);
            }
        });
    }
    /// Each replay of the step that is being recorded takes this one, too.
    fn repeat(&mut self, optimizer: &mut dyn Optimizer) {
        let Some(dials) = optimizer.dials() else {
            return capture::refuse(Fault::value(
                "a captured step has a schedule of an optimizer whose steps cannot be captured",
                "run this step without capturing it",
            ));
        };
        let (schedule, bases, step) = (self.schedule.clone(), self.bases.clone(), self.step.shared());
        capture::again(move || {
            let steps = step.fetch_add(1, Ordering::Relaxed) + 1;
            let (rates, momentum) = numbers(&*schedule, &bases, steps);
            dials.set(&rates, momentum);
            Ok(())
        });
    }
    /// Where it stands, for a checkpoint.
    ///
    /// ```
    /// use chainrule::optim::schedule::{Cosine, Schedule};
    /// use chainrule::optim::{Optimizer, Sgd};
    /// let mut optimizer = Sgd::new(0.1);
    /// let mut schedule = Cosine::new(10).start(&mut optimizer);
    /// schedule.step(&mut optimizer);
    /// let state = schedule.state()?;
    ///
    /// let mut other = Sgd::new(0.1);
    /// Cosine::new(10).start(&mut other).load_state(&mut other, &state)?;
    /// assert_eq!(other.rate(), optimizer.rate());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn state(&self) -> Result<State> {
        let mut state = State::tree();
        state.insert("step", State::Integer(self.steps().min(i64::MAX as u64) as i64))?;
        state.insert("bases", State::List(self.bases.iter().map(|&base| State::Number(base)).collect()))?;
        Ok(state)
    }
    /// Goes on where [`state`](Scheduler::state) was taken, and sets the rates of that moment. On an error nothing has
    /// changed.
    pub fn load_state(&mut self, optimizer: &mut dyn Optimizer, state: &State) -> Result<()> {
        let step = state.get("step")?.integer()?.max(0) as u64;
        let bases: Vec<f64> = state.get("bases")?.list()?.iter().map(State::number).collect::<Result<_>>()?;
        if bases.len() != self.bases.len() {
            let what = format!("the state has {} rates, the optimizer {}", bases.len(), self.bases.len());
            return Err(Error::new("load_state", Fault::value(what, "make the optimizer with the groups it had then")));
        }
        (self.step, self.bases) = (Counter::new(step), bases);
        self.apply(optimizer);
        Ok(())
    }
}

/// The rates and the momentum after so many steps.
fn numbers<S: Schedule>(schedule: &S, bases: &[f64], steps: u64) -> (Vec<f64>, Option<f64>) {
    (bases.iter().map(|&base| schedule.rate(base, steps)).collect(), schedule.momentum(steps))
}
