//! Which measure is to become better, and when to give up waiting.

use super::Measures;
use crate::error::Result;
use crate::tensor::State;

/// A measure, and whether less or more of it is better.
///
/// ```
/// use chainrule::train::Goal;
/// assert!(Goal::highest("accuracy").is_better(0.9, 0.8) && Goal::lowest("validation loss").is_better(0.8, 0.9));
/// assert!(!Goal::lowest("loss").is_better(f64::NAN, 1.0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    measure: String,
    highest: bool,
}

impl Goal {
    /// Less is better: a loss, an error.
    pub fn lowest(measure: impl Into<String>) -> Goal {
        Goal { measure: measure.into(), highest: false }
    }
    /// More is better: an accuracy.
    pub fn highest(measure: impl Into<String>) -> Goal {
        Goal { measure: measure.into(), highest: true }
    }
    /// The name of the measure.
    pub fn measure(&self) -> &str {
        &self.measure
    }
    /// Is a number better than another? NaN never is.
    pub fn is_better(&self, number: f64, than: f64) -> bool {
        if self.highest { number > than } else { number < than }
    }
}

/// Stops a training whose measure gets no better.
///
/// ```
/// use chainrule::train::EarlyStop;
/// let stop = EarlyStop::highest("accuracy").with_patience(5).with_margin(0.001);
/// # let _ = stop;
/// ```
#[derive(Clone, Debug)]
pub struct EarlyStop {
    goal: Goal,
    patience: u64,
    margin: f64,
}

impl EarlyStop {
    /// By a measure of which less is better.
    pub fn lowest(measure: impl Into<String>) -> EarlyStop {
        EarlyStop { goal: Goal::lowest(measure), patience: 0, margin: 0.0 }
    }
    /// By a measure of which more is better.
    pub fn highest(measure: impl Into<String>) -> EarlyStop {
        EarlyStop { goal: Goal::highest(measure), patience: 0, margin: 0.0 }
    }
    /// So many epochs in a row may be no better (default 0).
    pub fn with_patience(self, epochs: u64) -> EarlyStop {
        EarlyStop { patience: epochs, ..self }
    }
    /// Better is what is better by more than this (default 0).
    pub fn with_margin(self, margin: f64) -> EarlyStop {
        EarlyStop { margin, ..self }
    }
    pub(super) fn goal(&self) -> &Goal {
        &self.goal
    }
}

/// The best number of a measure so far, and how long ago that was.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    pub(super) best: Option<f64>,
    pub(super) epoch: u64,
    waited: u64,
}

impl Watch {
    /// Takes up the measures of an epoch; says whether it is the best so far.
    #[track_caller]
    pub(super) fn see(&mut self, goal: &Goal, margin: f64, epoch: u64, measures: &Measures) -> Result<bool> {
        let number = measures.get(goal.measure())?;
        let than = self.best.map(|best| if goal.highest { best + margin } else { best - margin });
        let is_best = than.map_or(!number.is_nan(), |than| goal.is_better(number, than));
        if is_best {
            (self.best, self.epoch, self.waited) = (Some(number), epoch, 0);
        } else {
            self.waited += 1;
        }
        Ok(is_best)
    }
    pub(super) fn see_stop(&mut self, stop: &EarlyStop, epoch: u64, measures: &Measures) -> Result<bool> {
        self.see(&stop.goal, stop.margin, epoch, measures)
    }
    /// Has the patience come to its end?
    pub(super) fn is_over(&self, stop: &EarlyStop) -> bool {
        self.waited > stop.patience
    }
    pub(super) fn state(&self) -> Result<State> {
        let mut state = State::tree();
        if let Some(best) = self.best {
            state.insert("best", State::Number(best))?;
        }
        state.insert("epoch", State::Integer(self.epoch as i64))?;
        state.insert("waited", State::Integer(self.waited as i64))?;
        Ok(state)
    }
    pub(super) fn from_state(state: &State) -> Result<Watch> {
        let count = |name: &str| Ok::<u64, crate::Error>(state.get(name)?.integer()?.max(0) as u64);
        let best = match state {
            State::Tree(tree) => tree.get("best").map(State::number).transpose()?,
            _ => None,
        };
        Ok(Watch { best, epoch: count("epoch")?, waited: count("waited")? })
    }
}
