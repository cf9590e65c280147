//! What a training leaves to be resumed from, and how it is taken up again.

use super::goal::Watch;
use super::metrics::Mean;
use super::report::Observed;
use super::run::{Run, fault};
use super::{BatchSize, History};
use crate::error::{Error, Fault, Result};
use crate::io::Checkpoint;
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::optim::schedule::Schedule;
use crate::tensor::State;

impl<M: Module, B: BatchSize> Run<'_, '_, M, B> {
    /// Writes all it takes to go on.
    pub(super) fn save(&mut self, model: &M, optimizer: &dyn Optimizer, position: Option<State>) -> Result<()> {
        let Some(folder) = &self.trainer.folder else { return Ok(()) };
        let mut own = State::tree();
        own.insert("epoch", State::Integer(self.epoch as i64))?;
        own.insert("step", State::Integer(self.step as i64))?;
        own.insert("loss sum", State::Number(self.loss.sum))?;
        own.insert("loss weight", State::Number(self.loss.weight))?;
        own.insert("best", self.best.state()?)?;
        own.insert("stop", self.stop.state()?)?;
        own.insert("accumulation", State::Integer(self.trainer.accumulation as i64))?;
        if let Some(plateau) = &self.plateau {
            own.insert("plateau", plateau.state()?)?;
        }
        let mut checkpoint = Checkpoint::new()
            .with("model", model.state()?)
            .with("optimizer", optimizer.state(model)?)
            .with("history", self.history.state()?)
            .with("trainer", own);
        if let Some(scheduler) = &self.scheduler {
            checkpoint = checkpoint.with("schedule", scheduler.state()?);
        }
        if let Some(average) = &self.average {
            checkpoint = checkpoint.with("average", average.state()?);
        }
        if let Some(observed) = &self.observed {
            checkpoint = checkpoint.with("report", observed.state()?);
        }
        if let Some(position) = position {
            checkpoint = checkpoint.with("loader", position);
        }
        checkpoint.save(folder.last())
    }

    /// Goes on where [`save`](Run::save) was called.
    pub(super) fn load(&mut self, checkpoint: &Checkpoint, model: &mut M, optimizer: &mut dyn Optimizer) -> Result<()> {
        let own = checkpoint.get("trainer")?;
        let has = |section: &str| checkpoint.names().any(|name| name == section);
        let same = |what: &str, now: bool| match (has(what), now) {
            (true, false) => Err(changed(&format!("the checkpoint is of a training with {what}"))),
            (false, true) => Err(changed(&format!("the checkpoint is of a training without {what}"))),
            _ => Ok(()),
        };
        same("schedule", self.trainer.schedule.is_some())?;
        same("average", self.average.is_some())?;
        let before = own.get("accumulation")?.integer()?;
        if before != self.trainer.accumulation as i64 {
            return Err(changed(&format!("the checkpoint is of a training that accumulates {before} batches")));
        }
        let count = |name: &str| Ok::<u64, Error>(own.get(name)?.integer()?.max(0) as u64);
        (self.epoch, self.step) = (count("epoch")?, count("step")?);
        self.loss = Mean { sum: own.get("loss sum")?.number()?, weight: own.get("loss weight")?.number()? };
        (self.best, self.stop) = (Watch::from_state(own.get("best")?)?, Watch::from_state(own.get("stop")?)?);
        self.history = History::from_state(checkpoint.get("history")?)?;
        // A report that is asked for later begins where it is asked for.
        if has("report") && self.observed.is_some() {
            self.observed = Some(Observed::from_state(checkpoint.get("report")?)?);
        }
        if let Some(plateau) = &mut self.plateau {
            plateau.load_state(own.get("plateau")?)?;
        }
        // The schedule begins with the rates of now, which are those of a beginning; then the state says where it stands.
        if let Some((schedule, _)) = &self.trainer.schedule {
            let mut scheduler = schedule.clone().start(optimizer);
            scheduler.load_state(optimizer, checkpoint.get("schedule")?)?;
            self.scheduler = Some(scheduler);
        }
        if let Some(average) = &mut self.average {
            average.load_state(checkpoint.get("average")?)?;
        }
        model.load_state(checkpoint.get("model")?)?;
        optimizer.load_state(model, checkpoint.get("optimizer")?)?;
        self.position = if has("loader") { Some(checkpoint.get("loader")?.clone()) } else { None };
        self.notes.extend(checkpoint.warning().map(str::to_string));
        self.notes.push(match self.epoch < self.trainer.epochs {
            true => format!("resumed after step {}, in epoch {}", self.step, self.epoch + 1),
            false => format!("all {} epochs are done already", self.trainer.epochs),
        });
        Ok(())
    }
}

#[cold]
fn changed(what: &str) -> Error {
    fault(Fault::value(what, "make the trainer as it was, or give another folder"))
}
