//! A GPU is not waited for at each step: what became of a batch is looked at while the next one is computed.
//!
//! Until then the GPU itself lets no step happen after something that is not finite ([`Gate`]). So where that is found, the model is as it
//! was before the step, and what else has moved on is taken back: running statistics, streams of chance, what the optimizer counts.

use super::BatchSize;
use super::progress::Reporter;
use super::run::{Group, Run};
use super::snapshot::Snapshot;
use super::trainer::Clip;
use crate::device::Device;
use crate::error::Result;
use crate::nn::Module;
use crate::optim::{Gate, Optimizer, Tally};
use crate::tensor::{Later, Tensor};
use std::collections::VecDeque;

/// What was asked of a GPU and not looked at yet.
pub(super) struct Ahead<B> {
    pub(super) gate: Gate,
    pub(super) learnt: VecDeque<Learnt<B>>,
}

impl<B> Default for Ahead<B> {
    fn default() -> Ahead<B> {
        Ahead { gate: Gate::default(), learnt: VecDeque::new() }
    }
}

/// A batch that was learnt.
pub(super) struct Learnt<B> {
    pub(super) batch: B,
    pub(super) place: u64,
    /// The step that it was learnt for.
    pub(super) step: u64,
    /// The model's and the optimizer's before it.
    pub(super) snapshot: Snapshot,
    pub(super) tally: Tally,
    pub(super) loss: Later,
    /// Where its step was taken: 1 if that has changed nothing, else 0.
    pub(super) shut: Option<Later>,
}

impl<M: Module, B: BatchSize> Run<'_, '_, M, B> {
    /// What the optimizer counts, where the loss of a batch can be looked at late. It cannot on the CPU, where it is there at once, where
    /// somebody is told of each step, and where the optimizer reads by itself.
    pub(super) fn goes_ahead(&self, loss: &Tensor, optimizer: &dyn Optimizer) -> Option<Tally> {
        let loss = loss.value().ok().filter(|loss| loss.count() == 1)?;
        let is_told = !self.trainer.callbacks.is_empty() || self.observed.is_some();
        if loss.device() == Device::Cpu || is_told || !self.ahead.gate.is_on(loss.device()) {
            return None;
        }
        optimizer.tally()
    }

    /// A step of the optimizer, as far as all was finite: what became of it is asked for with the batch that was learnt last.
    pub(super) fn update_ahead(&mut self, model: &mut M, optimizer: &mut dyn Optimizer, group: Group) -> Result<()> {
        let Some(mut gradients) = self.mean_of(group)? else { return Ok(()) };
        let number = match self.trainer.clip {
            Some(Clip::Norm(limit)) => gradients.clip_norm_unread(limit, 2.0)?,
            _ => gradients.finite_unread()?,
        };
        self.ahead.gate.see(&number)?;
        if let Some(Clip::Value(limit)) = self.trainer.clip {
            gradients.clip_value(limit)?;
        }
        let shut = self.ahead.gate.step(optimizer, model, &gradients)?;
        if let Some(learnt) = self.ahead.learnt.back_mut() {
            learnt.shut = Some(shut);
        }
        self.stepped(model, optimizer, &gradients)
    }

    /// Looks at what became of batches, but for the last ones.
    pub(super) fn look_back(
        &mut self,
        last: usize,
        model: &mut M,
        optimizer: &mut dyn Optimizer,
        reporter: &mut Reporter,
    ) -> Result<()> {
        while self.ahead.learnt.len() > last
            && let Some(learnt) = self.ahead.learnt.pop_front()
        {
            let Learnt { batch, place, step, snapshot, tally, loss, shut } = learnt;
            let undo = |run: &mut Self, model: &mut M| {
                // What was asked for since has changed nothing either.
                run.ahead.learnt.clear();
                snapshot.restore(model);
                optimizer.recount(tally);
            };
            let numbers = loss.item().and_then(|loss| Ok((loss, shut.map(Later::item).transpose()?)));
            let what = match numbers {
                Ok((loss, _)) if !loss.is_finite() => format!("the loss is {loss}"),
                Ok((_, Some(shut))) if shut != 0.0 => "the gradients are not finite".to_string(),
                Ok((loss, shut)) => {
                    self.seen.add(loss, batch.batch_size() as f64);
                    let mean = self.seen.value()?;
                    if shut.is_some() {
                        self.count(step)?;
                    }
                    if self.trainer.accumulation > 1 && shut.is_some() {
                        reporter.steps = Some(step);
                    }
                    reporter.batch(self.epoch + 1, place, batch.batch_size(), mean);
                    continue;
                }
                Err(error) => {
                    undo(self, model);
                    return Err(error);
                }
            };
            undo(self, model);
            return Err(self.anomaly(model, &batch, &snapshot, (place, step), &what));
        }
        Ok(())
    }
}
