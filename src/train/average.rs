//! The average of a model that a trainer keeps beside it.

use crate::error::Result;
use crate::nn::Module;
use crate::optim::{Ema, Swa};
use crate::tensor::State;

/// An average that follows a model step by step, or epoch by epoch.
pub(super) trait Averaging<M> {
    /// The model has taken a step.
    fn step(&mut self, model: &M) -> Result<()>;
    /// The model has ended an epoch.
    fn epoch(&mut self, epoch: u64, model: &M) -> Result<()>;
    /// The average; none as long as there is nothing in it.
    fn model(&self) -> Option<&M>;
    fn state(&self) -> Result<State>;
    fn load_state(&mut self, state: &State) -> Result<()>;
}

impl<M: Module + Clone> Averaging<M> for Ema<M> {
    fn step(&mut self, model: &M) -> Result<()> {
        self.update(model)
    }
    fn epoch(&mut self, _: u64, _: &M) -> Result<()> {
        Ok(())
    }
    fn model(&self) -> Option<&M> {
        (self.updates() > 0).then(|| Ema::model(self))
    }
    fn state(&self) -> Result<State> {
        Ema::state(self)
    }
    fn load_state(&mut self, state: &State) -> Result<()> {
        Ema::load_state(self, state)
    }
}

/// A plain average of the ends of epochs, from one on.
pub(super) struct Ends<M> {
    pub(super) average: Swa<M>,
    pub(super) first: u64,
}

impl<M: Module + Clone> Averaging<M> for Ends<M> {
    fn step(&mut self, _: &M) -> Result<()> {
        Ok(())
    }
    fn epoch(&mut self, epoch: u64, model: &M) -> Result<()> {
        if epoch >= self.first { self.average.update(model) } else { Ok(()) }
    }
    fn model(&self) -> Option<&M> {
        (self.average.updates() > 0).then(|| self.average.model())
    }
    fn state(&self) -> Result<State> {
        self.average.state()
    }
    fn load_state(&mut self, state: &State) -> Result<()> {
        self.average.load_state(state)
    }
}
