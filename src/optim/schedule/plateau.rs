//! A rate that falls where a measure stands still.

use crate::error::Result;
use crate::optim::Optimizer;
use crate::tensor::State;

/// Lowers the rate when a measure (a loss, unless [`maximize`](Plateau::maximize)) has stopped getting better.
///
/// ```
/// use chainrule::optim::schedule::Plateau;
/// use chainrule::optim::{Optimizer, Sgd};
/// let mut optimizer = Sgd::new(1.0);
/// let mut schedule = Plateau::new().with_patience(2).with_factor(0.5);
/// for loss in [3.0, 2.0, 2.0, 2.0, 2.0] {
///     schedule.step(&mut optimizer, loss);
/// }
/// assert_eq!(optimizer.rate(), 0.5);
/// ```
#[derive(Clone, Debug)]
pub struct Plateau {
    factor: f64,
    patience: u64,
    threshold: f64,
    absolute: bool,
    cooldown: u64,
    minimum: f64,
    maximize: bool,
    best: Option<f64>,
    bad: u64,
    cooling: u64,
}

impl Default for Plateau {
    fn default() -> Plateau {
        Plateau::new()
    }
}

impl Plateau {
    /// A tenth after ten measures in a row that were not better by a 10 000th.
    pub fn new() -> Plateau {
        Plateau {
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            absolute: false,
            cooldown: 0,
            minimum: 0.0,
            maximize: false,
            best: None,
            bad: 0,
            cooling: 0,
        }
    }
    /// What the rate is multiplied with (default 0.1).
    pub fn with_factor(self, factor: f64) -> Plateau {
        Plateau { factor, ..self }
    }
    /// So many measures in a row may be no better (default 10).
    pub fn with_patience(self, patience: u64) -> Plateau {
        Plateau { patience, ..self }
    }
    /// Better is what is better by this share of the best (default 1e-4).
    pub fn with_threshold(self, share: f64) -> Plateau {
        Plateau { threshold: share, absolute: false, ..self }
    }
    /// Better is what is better by this much.
    pub fn with_absolute_threshold(self, difference: f64) -> Plateau {
        Plateau { threshold: difference, absolute: true, ..self }
    }
    /// So many measures after a fall do not count (default 0).
    pub fn with_cooldown(self, cooldown: u64) -> Plateau {
        Plateau { cooldown, ..self }
    }
    /// The rate falls no further than this (default 0).
    pub fn with_minimum(self, minimum: f64) -> Plateau {
        Plateau { minimum, ..self }
    }
    /// Greater is better: the measure is an accuracy.
    pub fn maximize(self) -> Plateau {
        Plateau { maximize: true, ..self }
    }

    fn is_better(&self, measure: f64) -> bool {
        let Some(best) = self.best else { return !measure.is_nan() };
        match (self.maximize, self.absolute) {
            (false, false) => measure < best * (1.0 - self.threshold),
            (false, true) => measure < best - self.threshold,
            (true, false) => measure > best * (self.threshold + 1.0),
            (true, true) => measure > best + self.threshold,
        }
    }
    /// Takes up one more measure. Says whether it lowered the rate.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer, measure: f64) -> bool {
        if self.is_better(measure) {
            (self.best, self.bad) = (Some(measure), 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        if self.bad <= self.patience {
            return false;
        }
        (self.cooling, self.bad) = (self.cooldown, 0);
        let before = optimizer.rates();
        let lower = |&rate: &f64| {
            let new = f64::max(rate * self.factor, self.minimum);
            // what would hardly change stays
            if rate - new > 1e-8 { new } else { rate }
        };
        let after: Vec<f64> = before.iter().map(lower).collect();
        optimizer.set_rates(&after);
        after != before
    }
    /// Where it stands, for a checkpoint.
    ///
    /// ```
    /// use chainrule::optim::schedule::Plateau;
    /// let mut schedule = Plateau::new();
    /// let state = schedule.state()?;
    /// schedule.load_state(&state)?;
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn state(&self) -> Result<State> {
        let mut state = State::tree();
        if let Some(best) = self.best {
            state.insert("best", State::Number(best))?;
        }
        state.insert("bad", State::Integer(self.bad.min(i64::MAX as u64) as i64))?;
        state.insert("cooling", State::Integer(self.cooling.min(i64::MAX as u64) as i64))?;
        Ok(state)
    }
    /// Goes on where [`state`](Plateau::state) was taken; the rates themselves are the optimizer's state. On an error
    /// nothing has changed.
    pub fn load_state(&mut self, state: &State) -> Result<()> {
        let best = match state {
            State::Tree(tree) if !tree.contains_key("best") => None,
            _ => Some(state.get("best")?.number()?),
        };
        let count = |name: &str| Ok(state.get(name)?.integer()?.max(0) as u64);
        (self.best, self.bad, self.cooling) = (best, count("bad")?, count("cooling")?);
        Ok(())
    }
}
