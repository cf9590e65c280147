//! The loop: batches, steps, epochs, and what is kept of them.

use super::ahead::{Ahead, Learnt};
use super::average::Averaging;
use super::goal::{Goal, Watch};
use super::history::EpochRecord;
use super::metrics::Mean;
use super::progress::Reporter;
use super::report::{self, Observed};
use super::snapshot::Snapshot;
use super::trainer::{Clip, Pace, Shared, Trainer};
use super::{BatchSize, Flow, History, Measures, Outcome, View, folder};
use crate::data::{Collate, Dataset, Epoch, Loader};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::io::Checkpoint;
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::optim::schedule::{Plateau, Schedule, Scheduler};
use crate::tensor::{Gradients, State, Tensor, detect_anomalies};
use std::time::Instant;

/// A training on its way.
pub(super) struct Run<'t, 'a, M, B> {
    pub(super) trainer: &'t mut Trainer<'a, M, B>,
    /// Epochs that have ended.
    pub(super) epoch: u64,
    /// Steps of the optimizer.
    pub(super) step: u64,
    /// The loss of this epoch.
    pub(super) loss: Mean,
    /// The losses of batches whose step is still to be counted.
    pub(super) seen: Mean,
    /// What a GPU was asked for and nobody has looked at yet.
    pub(super) ahead: Ahead<B>,
    pub(super) history: History,
    pub(super) scheduler: Option<Scheduler<Shared>>,
    pub(super) plateau: Option<Plateau>,
    pub(super) average: Option<Box<dyn Averaging<M> + 'a>>,
    pub(super) goal: Goal,
    pub(super) best: Watch,
    pub(super) stop: Watch,
    /// The model of the best epoch, where it is to be kept and there is no folder for it.
    pub(super) kept: Option<State>,
    /// Where the epoch is to be taken up, if in its middle.
    pub(super) position: Option<State>,
    pub(super) notes: Vec<String>,
    /// What the report is to show.
    pub(super) observed: Option<Observed>,
}

/// Batches whose gradients wait for their step.
#[derive(Default)]
pub(super) struct Group {
    gradients: Option<Gradients>,
    items: f64,
    batches: usize,
}

impl<'t, 'a, M: Module, B: BatchSize> Run<'t, 'a, M, B> {
    pub(super) fn begin(
        trainer: &'t mut Trainer<'a, M, B>,
        model: &mut M,
        optimizer: &mut dyn Optimizer,
    ) -> Result<Run<'t, 'a, M, B>> {
        let default = if trainer.validation.is_some() { "validation loss" } else { "loss" };
        let of_stop = || trainer.stop.as_ref().map(|stop| stop.goal().clone());
        let goal = trainer.goal.clone().or_else(of_stop).unwrap_or_else(|| Goal::lowest(default));
        let checkpoint = match &trainer.folder {
            Some(folder) => {
                folder::make(&folder.0)?;
                if trainer.resumed { folder.begun()? } else { None }
            }
            None if trainer.resumed || trainer.every.is_some() => {
                let what = "checkpoints are wanted, and there is no folder for them";
                return Err(fault(Fault::value(what, "give one: with_folder(\"runs/first\")")));
            }
            None if trainer.report.is_some() => {
                let what = "a report is wanted, and there is no folder for it";
                return Err(fault(Fault::value(what, "give one: with_folder(\"runs/first\")")));
            }
            None => None,
        };
        if trainer.validated_every.is_some() && trainer.validation.is_none() {
            let what = "validation is wanted every few steps, and there is nothing to validate on";
            return Err(fault(Fault::value(what, "give a loader: with_validation(&loader)")));
        }
        let mut run = Run {
            epoch: 0,
            step: 0,
            loss: Mean::new(),
            seen: Mean::new(),
            ahead: Ahead::default(),
            history: History::default(),
            scheduler: None,
            plateau: trainer.plateau.as_ref().map(|(plateau, _)| plateau.clone()),
            average: trainer.average.as_ref().map(|begin| begin(model)),
            goal,
            best: Watch::default(),
            stop: Watch::default(),
            kept: None,
            position: None,
            notes: Vec::new(),
            observed: trainer.report.is_some().then(Observed::default),
            trainer,
        };
        match checkpoint {
            Some(checkpoint) => run.load(&checkpoint, model, optimizer)?,
            None => {
                run.scheduler = run.trainer.schedule.as_ref().map(|(schedule, _)| schedule.clone().start(optimizer))
            }
        }
        Ok(run)
    }

    pub(super) fn all<D>(mut self, model: &mut M, optimizer: &mut dyn Optimizer, loader: &Loader<D>) -> Result<History>
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        let mut reporter = Reporter::new(self.trainer.progress, self.trainer.epochs, loader.len() as u64);
        self.notes.iter().for_each(|note| reporter.note(note));
        while self.epoch < self.trainer.epochs && !self.has_stopped() {
            let mut batches = match self.position.take() {
                Some(position) => loader.resume(&position)?,
                None => loader.epoch(self.epoch),
            };
            reporter.begin(batches.batch() as u64);
            if let Flow::Stop = self.batches(model, optimizer, &mut batches, loader.len(), &mut reporter)? {
                self.history.stopped = Some("a callback asked for it".to_string());
                self.save(model, optimizer, Some(batches.state()?))?;
                return Ok(self.history);
            }
            if let Flow::Stop = self.end_of_epoch(model, optimizer, &mut reporter)? {
                self.history.stopped = Some("a callback asked for it".to_string());
                return Ok(self.history);
            }
        }
        if let (true, Some(stop)) = (self.has_stopped(), &self.trainer.stop) {
            let (measure, best, epoch) = (stop.goal().measure(), self.stop.best.unwrap_or(f64::NAN), self.stop.epoch);
            self.history.stopped = Some(format!("{measure} was best in epoch {epoch}, with {best:.6}"));
            reporter.note(&format!("stopped: {}", self.history.stopped().unwrap_or_default()));
        }
        if self.trainer.keeps_best && self.best.best.is_some() {
            let kept = match (&self.trainer.folder, self.kept.take()) {
                (Some(folder), _) => Some(Checkpoint::load(folder.best())?.get("model")?.clone()),
                (None, kept) => kept,
            };
            if let Some(kept) = kept {
                model.load_state(&kept)?;
            }
        }
        Ok(self.history)
    }

    fn has_stopped(&self) -> bool {
        self.trainer.stop.as_ref().is_some_and(|stop| self.stop.is_over(stop))
    }

    /// The rest of an epoch.
    fn batches<D>(
        &mut self,
        model: &mut M,
        optimizer: &mut dyn Optimizer,
        batches: &mut Epoch<D>,
        count: usize,
        reporter: &mut Reporter,
    ) -> Result<Flow>
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        let done = self.go_on(model, optimizer, batches, count, reporter);
        // What went wrong with an earlier batch is told first.
        self.look_back(0, model, optimizer, reporter)?;
        done
    }

    fn go_on<D>(
        &mut self,
        model: &mut M,
        optimizer: &mut dyn Optimizer,
        batches: &mut Epoch<D>,
        count: usize,
        reporter: &mut Reporter,
    ) -> Result<Flow>
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        let mut group = Group::default();
        let mut snapshot = Snapshot::default();
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let (place, items) = (batches.batch() as u64, batch.batch_size());
            snapshot.take(model);
            let Outcome { loss, .. } = (self.trainer.judge)(model, &batch);
            let tally = self.goes_ahead(&loss, &*optimizer);
            if tally.is_none() {
                self.look_back(0, model, optimizer, reporter)?;
            }
            let is_last = place >= count as u64;
            let takes_step = group.batches + 1 >= self.trainer.accumulation || is_last;
            let mut mean = f64::NAN;
            if let Some(tally) = tally {
                self.ahead.gate.see(&loss)?;
                let (step, snapshot, asked) = (self.step + 1, std::mem::take(&mut snapshot), loss.read_later());
                let learnt = Learnt { batch, place, step, snapshot, tally, loss: asked, shut: None };
                self.ahead.learnt.push_back(learnt);
                self.learn(&loss, items, &mut group)?;
                if takes_step {
                    self.update_ahead(model, optimizer, std::mem::take(&mut group))?;
                }
                // One batch late: then the GPU has the next one to go on with.
                self.look_back(1, model, optimizer, reporter)?;
            } else {
                let number = loss.item()?;
                if !number.is_finite() {
                    let what = format!("the loss is {number}");
                    return Err(self.anomaly(model, &batch, &snapshot, (place, self.step + 1), &what));
                }
                self.learn(&loss, items, &mut group)?;
                self.seen.add(number, items as f64);
                mean = self.seen.value()?;
                if takes_step {
                    if !self.update(model, optimizer, std::mem::take(&mut group))? {
                        let what = "the gradients are not finite";
                        return Err(self.anomaly(model, &batch, &snapshot, (place, self.step + 1), what));
                    }
                    reporter.steps = (self.trainer.accumulation > 1).then_some(self.step);
                }
                reporter.batch(self.epoch + 1, place, items, mean);
            }
            if !takes_step {
                continue;
            }
            let is_due = |every: Option<u64>| every.is_some_and(|every| self.step.is_multiple_of(every));
            // The last step of an epoch is validated and kept with the epoch.
            let (is_validated, is_kept) =
                (is_due(self.trainer.validated_every) && !is_last, is_due(self.trainer.every) && !is_last);
            if is_validated || is_kept {
                self.look_back(0, model, optimizer, reporter)?;
            }
            if is_validated {
                self.look(model, optimizer, reporter)?;
            }
            if let Flow::Stop = self.tell(model, optimizer, false, mean)? {
                return Ok(Flow::Stop);
            }
            if is_kept {
                self.save(model, optimizer, Some(batches.state()?))?;
            }
        }
        Ok(Flow::Continue)
    }

    /// The gradients of a batch, added to those that wait.
    fn learn(&mut self, loss: &Tensor, items: usize, group: &mut Group) -> Result<()> {
        let mut gradients = loss.backward()?;
        let items = items as f64;
        if self.trainer.accumulation > 1 {
            gradients.scale(items)?;
        }
        match &mut group.gradients {
            Some(sum) => sum.add(&gradients)?,
            none => *none = Some(gradients),
        }
        group.items += items;
        group.batches += 1;
        Ok(())
    }

    /// A step of the optimizer, where all gradients are finite. Else nothing has changed, and it says no.
    fn update(&mut self, model: &mut M, optimizer: &mut dyn Optimizer, group: Group) -> Result<bool> {
        let Some(mut gradients) = self.mean_of(group)? else { return Ok(true) };
        let is_finite = match self.trainer.clip {
            Some(Clip::Norm(limit)) => gradients.clip_norm(limit)?.is_finite(),
            Some(Clip::Value(limit)) => {
                let is_finite = gradients.is_finite()?;
                gradients.clip_value(limit)?;
                is_finite
            }
            None => gradients.is_finite()?,
        };
        if !is_finite {
            return Ok(false);
        }
        optimizer.step(model, &gradients)?;
        self.stepped(model, optimizer, &gradients)?;
        self.count(self.step)?;
        Ok(true)
    }

    /// The mean gradients of a group.
    pub(super) fn mean_of(&self, group: Group) -> Result<Option<Gradients>> {
        let Some(mut gradients) = group.gradients else { return Ok(None) };
        if self.trainer.accumulation > 1 {
            gradients.scale(1.0 / group.items)?;
        }
        Ok(Some(gradients))
    }

    /// What goes on with each step of the optimizer.
    pub(super) fn stepped(
        &mut self,
        model: &mut M,
        optimizer: &mut dyn Optimizer,
        gradients: &Gradients,
    ) -> Result<()> {
        self.step += 1;
        if let Some(observed) = &mut self.observed {
            observed.step(self.step, model, gradients)?;
        }
        if let Some(average) = &mut self.average {
            average.step(model)?;
        }
        if let (Some(scheduler), Some((_, Pace::Step))) = (&mut self.scheduler, &self.trainer.schedule) {
            scheduler.step(optimizer);
        }
        Ok(())
    }

    /// A step was taken with the losses seen since the one before.
    pub(super) fn count(&mut self, step: u64) -> Result<()> {
        let seen = std::mem::take(&mut self.seen);
        self.loss.sum += seen.sum;
        self.loss.weight += seen.weight;
        self.history.steps.add(step, seen.value()?);
        Ok(())
    }

    /// Does the batch again, watched, from the model as it was: the error names the operation. The model stays as it was.
    pub(super) fn anomaly(
        &self,
        model: &mut M,
        batch: &B,
        snapshot: &Snapshot,
        (place, step): (u64, u64),
        what: &str,
    ) -> Error {
        snapshot.restore(model);
        let found = detect_anomalies(|| (self.trainer.judge)(model, batch).loss.backward());
        snapshot.restore(model);
        let at = format!("{what} in batch {place} of epoch {}, before step {step}", self.epoch + 1);
        match found {
            Err(error) => {
                let what = format!("{}: {at}; the model is as it was", error.what());
                let fault = Fault::new(ErrorKind::NonFinite, what, error.help());
                Error::with(error.operation(), fault, error.operands().to_vec(), error.location())
            }
            Ok(_) => {
                let help = "no single operation made it so: sums of gradients ran over; lower the rate or clip them";
                fault(Fault::new(ErrorKind::NonFinite, format!("{at}; the model is as it was"), help))
            }
        }
    }

    /// The validation of the model, or of its average.
    fn validate(&mut self, model: &M) -> Result<Measures> {
        let Some(validation) = &self.trainer.validation else { return Ok(Measures::default()) };
        let batches = validation();
        let judged = self.average.as_ref().and_then(|average| average.model()).unwrap_or(model);
        self.trainer.judged(judged, "validation loss", batches)
    }

    /// The same on the other sets; names of sets stand in front of those of measures.
    fn evaluate_others(&mut self, model: &M) -> Result<Measures> {
        let mut measures = Measures::default();
        let others: Vec<_> = self.trainer.others.iter().map(|(name, set)| (name.clone(), set())).collect();
        for (name, batches) in others {
            let judged = self.average.as_ref().and_then(|average| average.model()).unwrap_or(model);
            for (measure, number) in self.trainer.judged(judged, "loss", batches)?.iter() {
                measures.push(&format!("{name} {measure}"), number);
            }
        }
        Ok(measures)
    }

    /// Validation between two steps of an epoch.
    fn look(&mut self, model: &M, optimizer: &dyn Optimizer, reporter: &mut Reporter) -> Result<()> {
        let begun = Instant::now();
        let mut measures = Measures::default();
        measures.push("loss", self.loss.value()?);
        let found = self.validate(model)?;
        // A mean over a part of an epoch is not held against those over whole ones.
        let is_judged = found.get(self.goal.measure()).is_ok();
        measures.extend(found);
        measures.push("rate", optimizer.rate());
        let is_best = is_judged && self.best.see(&self.goal, 0.0, self.epoch + 1, &measures)?;
        if is_best {
            let number = measures.get(self.goal.measure())?;
            self.history.best = Some((self.epoch + 1, self.goal.measure().to_string(), number));
        }
        let record = EpochRecord { epoch: self.epoch + 1, step: self.step, measures };
        reporter.look(&record, is_best, begun.elapsed());
        self.history.between.push(record);
        if is_best { self.keep_best(model) } else { Ok(()) }
    }

    fn end_of_epoch(&mut self, model: &mut M, optimizer: &mut dyn Optimizer, reporter: &mut Reporter) -> Result<Flow> {
        if self.loss.weight == 0.0 {
            let help = "its dataset is empty, or smaller than a batch while drop_last leaves that out";
            return Err(fault(Fault::value("the loader gives no batch", help)));
        }
        self.epoch += 1;
        let loss = std::mem::take(&mut self.loss).value()?;
        let mut measures = Measures::default();
        measures.push("loss", loss);
        if let Some(average) = &mut self.average {
            average.epoch(self.epoch, model)?;
        }
        // Validation comes last: the pictures of metrics are of what they saw last.
        let others = self.evaluate_others(model)?;
        measures.extend(self.validate(model)?);
        measures.extend(others);
        measures.push("rate", optimizer.rate());
        if let (Some(scheduler), Some((_, Pace::Epoch))) = (&mut self.scheduler, &self.trainer.schedule) {
            scheduler.step(optimizer);
        }
        if let (Some(plateau), Some((_, goal))) = (&mut self.plateau, &self.trainer.plateau) {
            plateau.step(optimizer, measures.get(goal.measure())?);
        }
        let is_best = self.best.see(&self.goal, 0.0, self.epoch, &measures)?;
        if let Some(stop) = &self.trainer.stop {
            self.stop.see_stop(stop, self.epoch, &measures)?;
        }
        if is_best {
            let number = measures.get(self.goal.measure())?;
            self.history.best = Some((self.epoch, self.goal.measure().to_string(), number));
        }
        let record = EpochRecord { epoch: self.epoch, step: self.step, measures };
        reporter.epoch(&record, is_best);
        self.history.epochs.push(record);
        if is_best {
            self.keep_best(model)?;
        }
        if let Some(folder) = &self.trainer.folder {
            self.history.save(&folder.0)?;
            for (name, picture) in self.trainer.metrics.iter().filter_map(|metric| metric.picture()) {
                crate::io::write_file("trainer", &folder.0.join(name), picture.as_bytes())?;
            }
        }
        self.report(model)?;
        self.save(model, optimizer, None)?;
        self.tell(model, optimizer, true, loss)
    }

    /// The page of all that has been watched.
    fn report(&mut self, model: &M) -> Result<()> {
        let (Some(observed), Some(report), Some(folder)) =
            (&mut self.observed, &self.trainer.report, &self.trainer.folder)
        else {
            return Ok(());
        };
        observed.epoch(model)?;
        let mut drawn = Vec::new();
        for (file, picture) in self.trainer.metrics.iter().filter_map(|metric| metric.picture()) {
            drawn.push((file.trim_end_matches(".svg").to_string(), picture));
        }
        for (name, draw) in &report.pictures {
            let picture = crate::no_grad(|| crate::evaluating(|| draw(model)))?;
            drawn.push((name.clone(), picture.svg()));
        }
        let page = report::html(&self.history, observed, model, &drawn)?;
        crate::io::write_file("report", &folder.0.join("report.html"), page.as_bytes())
    }

    /// The model of the best epoch so far, or its average.
    fn keep_best(&mut self, model: &M) -> Result<()> {
        let model = self.average.as_ref().and_then(|average| average.model()).unwrap_or(model);
        match &self.trainer.folder {
            Some(folder) => Checkpoint::new()
                .with("model", model.state()?)
                .with("epoch", State::Integer(self.epoch as i64))
                .with("step", State::Integer(self.step as i64))
                .with("history", self.history.state()?)
                .save(folder.best())?,
            None if self.trainer.keeps_best => self.kept = Some(model.state()?),
            None => {}
        }
        Ok(())
    }

    fn tell(&mut self, model: &M, optimizer: &dyn Optimizer, is_epoch: bool, loss: f64) -> Result<Flow> {
        let mut flow = Flow::Continue;
        let epoch = if is_epoch { self.epoch } else { self.epoch + 1 };
        let (step, rate, history) = (self.step, optimizer.rate(), &self.history);
        for callback in &mut self.trainer.callbacks {
            match callback(&View { is_epoch, epoch, step, loss, rate, model, history }) {
                Flow::Continue => {}
                Flow::Stop => flow = Flow::Stop,
                Flow::Fail(error) => return Err(error),
            }
        }
        Ok(flow)
    }
}

#[cold]
pub(super) fn fault(fault: Fault) -> Error {
    Error::new("trainer", fault)
}
