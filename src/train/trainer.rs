//! The trainer: what is to be done around the loop, said before it begins.

use super::average::{Averaging, Ends};
use super::folder::Folder;
use super::metrics::Metric;
use super::report::Report;
use super::run::Run;
use super::{BatchSize, EarlyStop, Goal, History, Measures, Outcome, Progress};
use crate::data::{Batch, Collate, Dataset, Loader};
use crate::error::{Error, Fault, Result};
use crate::nn::{Layer, Module};
use crate::optim::schedule::{Plateau, Schedule};
use crate::optim::{Ema, Optimizer, Swa};
use crate::tensor::Tensor;
use std::collections::VecDeque;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

/// Batches of a set, one after another.
pub(super) type Batches<'a, B> = Box<dyn Iterator<Item = Result<B>> + 'a>;
/// Begins to go through a set.
type Set<'a, B> = Box<dyn Fn() -> Batches<'a, B> + 'a>;
/// Judges a batch.
type Judge<'a, M, B> = Box<dyn Fn(&M, &B) -> Outcome + 'a>;
/// Begins an average of a model.
type Begin<'a, M> = Box<dyn Fn(&M) -> Box<dyn Averaging<M> + 'a> + 'a>;
/// Is told of steps and epochs.
type Callback<'a, M> = Box<dyn FnMut(&View<'_, M>) -> Flow + 'a>;

/// Trains a model: epochs, validation, checkpoints, and all that is usual around them. It is optional; a loop written by
/// hand is as short as its function.
///
/// ```
/// use chainrule::data::{Batch, Examples, Loader};
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::optim::AdamW;
/// use chainrule::train::metrics::Accuracy;
/// use chainrule::train::{EarlyStop, Progress, Trainer};
/// use chainrule::{Random, Tensor, cross_entropy};
///
/// let x = Tensor::normal([200, 2], 0.0, 1.0, &mut Random::new(1));
/// let above = x.select(1, 0).greater(&x.select(1, 1)).to_dtype(chainrule::DType::I64);
/// let loader = Loader::new(Examples::new(&x, &above)?, 20).shuffled(7);
///
/// let mut model = Linear::new(2, 2, &mut Init::new().seed(1));
/// let mut optimizer = AdamW::new(0.05);
/// let mut trainer = Trainer::supervised(cross_entropy)
///     .with_epochs(10)
///     .with_validation(&loader)
///     .with_metric(Accuracy::new())
///     .with_early_stop(EarlyStop::lowest("validation loss").with_patience(3))
///     .with_progress(Progress::Quiet);
/// let history = trainer.fit(&mut model, &mut optimizer, &loader)?;
/// assert!(history.last("accuracy")? > 0.9);
/// println!("{history}");
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Trainer<'a, M, B> {
    pub(super) judge: Judge<'a, M, B>,
    pub(super) epochs: u64,
    pub(super) schedule: Option<(Shared, Pace)>,
    pub(super) plateau: Option<(Plateau, Goal)>,
    pub(super) validation: Option<Set<'a, B>>,
    pub(super) validated_every: Option<u64>,
    /// Other sets that are judged after each epoch, by name.
    pub(super) others: Vec<(String, Set<'a, B>)>,
    pub(super) metrics: Vec<Box<dyn Metric + 'a>>,
    pub(super) clip: Option<Clip>,
    pub(super) accumulation: usize,
    pub(super) average: Option<Begin<'a, M>>,
    pub(super) stop: Option<EarlyStop>,
    pub(super) goal: Option<Goal>,
    pub(super) keeps_best: bool,
    pub(super) folder: Option<Folder>,
    pub(super) every: Option<u64>,
    pub(super) resumed: bool,
    pub(super) callbacks: Vec<Callback<'a, M>>,
    pub(super) progress: Progress,
    pub(super) report: Option<Report<'a, M>>,
}

/// A schedule that several trainings begin anew with.
#[derive(Clone)]
pub(super) struct Shared(Arc<dyn Schedule>);

impl Schedule for Shared {
    fn rate(&self, base: f64, step: u64) -> f64 {
        self.0.rate(base, step)
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        self.0.momentum(step)
    }
}

/// How often a schedule goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Step,
    Epoch,
}

/// How gradients are kept small.
#[derive(Clone, Copy)]
pub(super) enum Clip {
    Norm(f64),
    Value(f64),
}

/// What a callback is told: where the training stands.
#[non_exhaustive]
pub struct View<'v, M> {
    /// Is this the end of an epoch? Otherwise it is a step of the optimizer.
    pub is_epoch: bool,
    /// The number of the epoch, from 1.
    pub epoch: u64,
    /// The steps of the optimizer so far.
    pub step: u64,
    /// The loss of the step, or the mean of the epoch.
    pub loss: f64,
    /// The rate of the optimizer.
    pub rate: f64,
    /// The model.
    pub model: &'v M,
    /// All that has been measured.
    pub history: &'v History,
}

/// What a callback asks for. A callback that gives nothing lets it go on.
#[derive(Clone, Debug)]
pub enum Flow {
    /// Go on.
    Continue,
    /// End the training here; it can be resumed.
    Stop,
    /// End the training with an error.
    Fail(Error),
}

impl From<()> for Flow {
    fn from((): ()) -> Flow {
        Flow::Continue
    }
}

impl From<Result<()>> for Flow {
    fn from(result: Result<()>) -> Flow {
        match result {
            Ok(()) => Flow::Continue,
            Err(error) => Flow::Fail(error),
        }
    }
}

impl<'a, M: Layer> Trainer<'a, M, Batch> {
    /// For a layer that is given [`Batch::input`] and a loss of its output and [`Batch::target`]; metrics judge the same.
    pub fn supervised(loss: impl Fn(&Tensor, &Tensor) -> Tensor + 'a) -> Trainer<'a, M, Batch> {
        Trainer::new(move |model: &M, batch: &Batch| {
            let output = model.forward(&batch.input);
            Outcome::new(loss(&output, &batch.target)).with_output(&output, &batch.target)
        })
    }
}

impl<'a, M: Module, B: BatchSize> Trainer<'a, M, B> {
    /// For a loss of a model and a batch, a mean over the batch; where metrics are wanted, an [`Outcome`].
    pub fn new<R: Into<Outcome>>(judge: impl Fn(&M, &B) -> R + 'a) -> Trainer<'a, M, B> {
        Trainer {
            judge: Box::new(move |model, batch| judge(model, batch).into()),
            epochs: 1,
            schedule: None,
            plateau: None,
            validation: None,
            validated_every: None,
            others: Vec::new(),
            metrics: Vec::new(),
            clip: None,
            accumulation: 1,
            average: None,
            stop: None,
            goal: None,
            keeps_best: false,
            folder: None,
            every: None,
            resumed: false,
            callbacks: Vec::new(),
            progress: Progress::Auto,
            report: None,
        }
    }
    /// So many epochs (default 1).
    pub fn with_epochs(self, epochs: u64) -> Self {
        Trainer { epochs, ..self }
    }
    /// A schedule that goes on with each step of the optimizer.
    pub fn with_schedule(self, schedule: impl Schedule + 'static) -> Self {
        Trainer { schedule: Some((Shared(Arc::new(schedule)), Pace::Step)), ..self }
    }
    /// A schedule that goes on with each epoch.
    pub fn with_epoch_schedule(self, schedule: impl Schedule + 'static) -> Self {
        Trainer { schedule: Some((Shared(Arc::new(schedule)), Pace::Epoch)), ..self }
    }
    /// A rate that falls where a measure of the epochs stands still.
    ///
    /// ```
    /// use chainrule::data::Batch;
    /// use chainrule::nn::Linear;
    /// use chainrule::optim::schedule::Plateau;
    /// use chainrule::train::{Goal, Trainer};
    /// let trainer: Trainer<Linear, Batch> = Trainer::supervised(chainrule::mse_loss)
    ///     .with_plateau(Plateau::new().with_patience(2), Goal::lowest("validation loss"));
    /// # let _ = trainer;
    /// ```
    pub fn with_plateau(self, plateau: Plateau, goal: Goal) -> Self {
        let plateau = if goal.is_better(1.0, 0.0) { plateau.maximize() } else { plateau };
        Trainer { plateau: Some((plateau, goal)), ..self }
    }
    /// After each epoch the model, evaluating and without gradients, is judged on these batches: "validation loss", and what
    /// the metrics say.
    pub fn with_validation<D>(self, loader: &'a Loader<D>) -> Self
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        Trainer { validation: Some(Box::new(move || Box::new(loader.epoch(0)))), ..self }
    }
    /// Validates every so many steps too, not only after each epoch: for epochs that are long. What is found stands in
    /// [`History::between`], is drawn with the curves, and may be the best; early stop and plateaus go by epochs all the same.
    ///
    /// ```
    /// use chainrule::data::{Examples, Loader};
    /// use chainrule::nn::{Init, Linear};
    /// use chainrule::optim::Sgd;
    /// use chainrule::train::{Progress, Trainer};
    /// use chainrule::{Tensor, mse_loss};
    /// let loader = Loader::new(Examples::new(&Tensor::ones([50, 3]), &Tensor::ones([50, 1]))?, 5);
    /// let mut trainer = Trainer::supervised(mse_loss).with_progress(Progress::Quiet);
    /// trainer = trainer.with_validation(&loader).with_validation_every(4);
    /// let mut model = Linear::new(3, 1, &mut Init::new().seed(1));
    /// let history = trainer.fit(&mut model, &mut Sgd::new(0.01), &loader)?;
    /// assert_eq!(history.between().iter().map(|record| record.step).collect::<Vec<_>>(), [4, 8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_validation_every(self, steps: u64) -> Self {
        Trainer { validated_every: Some(steps.max(1)), ..self }
    }
    /// After each epoch the model is judged on these batches too. Their measures have the name in front: with "training" for
    /// a loader of the training set (or of a part of it), "training loss" and "training accuracy" stand beside those of the
    /// validation, of the same model and without dropout.
    ///
    /// ```
    /// use chainrule::data::{Examples, Loader};
    /// use chainrule::nn::{Init, Linear};
    /// use chainrule::optim::Sgd;
    /// use chainrule::train::metrics::Regression;
    /// use chainrule::train::{Progress, Trainer};
    /// use chainrule::{Tensor, mse_loss};
    /// let loader = Loader::new(Examples::new(&Tensor::ones([50, 3]), &Tensor::ones([50, 1]))?, 5);
    /// let mut trainer = Trainer::supervised(mse_loss).with_progress(Progress::Quiet);
    /// trainer = trainer.with_evaluation("training", &loader).with_metric(Regression::new());
    /// let mut model = Linear::new(3, 1, &mut Init::new().seed(1));
    /// let history = trainer.fit(&mut model, &mut Sgd::new(0.01), &loader)?;
    /// assert!(history.last("training loss")? > 0.0 && history.last("training mean absolute error")? > 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_evaluation<D>(mut self, name: &str, loader: &'a Loader<D>) -> Self
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        self.others.push((name.to_string(), Box::new(move || Box::new(loader.epoch(0)))));
        self
    }
    /// One more metric of the validation. Its measures stand in the history by their names.
    pub fn with_metric(mut self, metric: impl Metric + 'a) -> Self {
        self.metrics.push(Box::new(metric));
        self
    }
    /// Gradients are scaled so that their common norm is at most this.
    pub fn with_clip_norm(self, limit: f64) -> Self {
        Trainer { clip: Some(Clip::Norm(limit)), ..self }
    }
    /// Every number of a gradient is cut to at most this magnitude.
    pub fn with_clip_value(self, limit: f64) -> Self {
        Trainer { clip: Some(Clip::Value(limit)), ..self }
    }
    /// The optimizer steps once for so many batches, by the mean over all their items: as with batches that are so many
    /// times larger. The last ones of an epoch may be fewer.
    pub fn with_accumulation(self, batches: usize) -> Self {
        Trainer { accumulation: batches.max(1), ..self }
    }
    /// Ends the training when a measure gets no better. The same measure says which epoch is the best, unless a goal is set.
    pub fn with_early_stop(self, stop: EarlyStop) -> Self {
        Trainer { stop: Some(stop), ..self }
    }
    /// Which epoch is the best (default: the lowest "validation loss", or "loss" where there is no validation).
    pub fn with_goal(self, goal: Goal) -> Self {
        Trainer { goal: Some(goal), ..self }
    }
    /// At the end the model gets the numbers of its best epoch (those of the average, where there is one).
    pub fn with_best_kept(self) -> Self {
        Trainer { keeps_best: true, ..self }
    }
    /// Leaves files in a folder: `last.checkpoint` (all it takes to go on), `best.checkpoint` (section "model"),
    /// `history.csv`, `history.json`, `curves.svg`, pictures of metrics that have one, and the report where one is asked for.
    pub fn with_folder(self, folder: impl AsRef<Path>) -> Self {
        Trainer { folder: Some(Folder(folder.as_ref().to_path_buf())), ..self }
    }
    /// Writes `last.checkpoint` every so many steps too, not only after each epoch.
    pub fn with_checkpoint_every(self, steps: u64) -> Self {
        Trainer { every: Some(steps.max(1)), ..self }
    }
    /// Goes on exactly where the folder's last checkpoint was taken, in the middle of an epoch too; begins where there is
    /// none. The model, the optimizer, the loader and the trainer are made as they were.
    pub fn resumed(self) -> Self {
        Trainer { resumed: true, ..self }
    }
    /// Is told of every step and every epoch, and may end the training: a function that gives nothing, a [`Flow`] or a
    /// `Result<()>`.
    ///
    /// ```
    /// use chainrule::data::Batch;
    /// use chainrule::nn::Linear;
    /// use chainrule::train::{Flow, Trainer, View};
    /// let trainer: Trainer<Linear, Batch> = Trainer::supervised(chainrule::mse_loss)
    ///     .with_callback(|view: &View<Linear>| if view.loss < 0.01 { Flow::Stop } else { Flow::Continue });
    /// # let _ = trainer;
    /// ```
    pub fn with_callback<F: Into<Flow>>(mut self, mut callback: impl FnMut(&View<'_, M>) -> F + 'a) -> Self {
        self.callbacks.push(Box::new(move |view| callback(view).into()));
        self
    }
    /// After each epoch the folder gets `report.html`, a page that needs nothing but a browser: curves, what metrics draw,
    /// gradients and weights of each layer along the steps, how the weights are spread, the filters of a first convolution.
    /// It looks at every gradient of every step, which small models notice.
    ///
    /// ```
    /// use chainrule::data::{Examples, Loader};
    /// use chainrule::nn::{Init, Linear};
    /// use chainrule::optim::Sgd;
    /// use chainrule::train::{Progress, Trainer};
    /// use chainrule::{Tensor, mse_loss};
    /// let folder = std::env::temp_dir().join("chainrule-report");
    /// let loader = Loader::new(Examples::new(&Tensor::ones([50, 3]), &Tensor::ones([50, 1]))?, 5);
    /// let mut trainer = Trainer::supervised(mse_loss).with_progress(Progress::Quiet).with_folder(&folder).with_report();
    /// trainer.fit(&mut Linear::new(3, 1, &mut Init::new()), &mut Sgd::new(0.01), &loader)?;
    /// assert!(std::fs::read_to_string(folder.join("report.html")).unwrap().contains("Gradients, layer by layer"));
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_report(self) -> Self {
        let report = self.report.unwrap_or(Report { pictures: Vec::new() });
        Trainer { report: Some(report), ..self }
    }
    /// One more picture in the report, drawn of the model after each epoch: what its attention looks at, what it draws.
    ///
    /// ```
    /// use chainrule::data::Batch;
    /// use chainrule::explain::chart::Tiles;
    /// use chainrule::nn::Linear;
    /// use chainrule::train::Trainer;
    /// let trainer: Trainer<Linear, Batch> = Trainer::supervised(chainrule::mse_loss)
    ///     .with_report_picture("The weights as pictures", |model: &Linear| {
    ///         Ok(Tiles::new("", &model.weight.reshape([10, 28, 28]))?.picture())
    ///     });
    /// # let _ = trainer;
    /// ```
    pub fn with_report_picture(
        self,
        name: impl Into<String>,
        draw: impl Fn(&M) -> Result<crate::explain::chart::Picture> + 'a,
    ) -> Self {
        let mut trainer = self.with_report();
        if let Some(report) = &mut trainer.report {
            report.pictures.push((name.into(), Box::new(draw)));
        }
        trainer
    }
    /// What is shown on the way (default [`Progress::Auto`]).
    pub fn with_progress(self, progress: Progress) -> Self {
        Trainer { progress, ..self }
    }
    /// Trains the model on all batches of the loader, epoch after epoch.
    ///
    /// A loss or gradients that are not finite end it with an error that names the first operation that made them so; the
    /// model is as it was before that step, and no checkpoint was written since.
    ///
    /// A GPU is not waited for at each step: what became of a batch is looked at while the next one is computed, with the same
    /// numbers and the same promises. Each step is waited for where a callback or a report is told of it, and where the optimizer
    /// reads by itself (`Lbfgs`, or one of your own that is no [`Rule`](crate::optim::Rule)).
    #[track_caller]
    pub fn fit<D>(&mut self, model: &mut M, optimizer: &mut dyn Optimizer, loader: &Loader<D>) -> Result<History>
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        let at = Location::caller();
        let begun = Run::begin(self, model, optimizer);
        begun.and_then(|run| run.all(model, optimizer, loader)).map_err(super::placed(at))
    }
    /// The loss and the metrics of a model on all batches of a loader, as validation has them.
    ///
    /// ```
    /// use chainrule::data::{Examples, Loader};
    /// use chainrule::nn::{Init, Linear};
    /// use chainrule::train::Trainer;
    /// use chainrule::{Tensor, mse_loss};
    /// let loader = Loader::new(Examples::new(&Tensor::ones([10, 2]), &Tensor::ones([10, 1]))?, 4);
    /// let measures = Trainer::supervised(mse_loss).evaluate(&Linear::new(2, 1, &mut Init::new()), &loader)?;
    /// assert!(measures.get("loss")? > 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn evaluate<D>(&mut self, model: &M, loader: &Loader<D>) -> Result<Measures>
    where
        D: Dataset + 'static,
        D::Item: Collate<Batch = B>,
    {
        self.judged(model, "loss", loader.epoch(0)).map_err(super::placed(Location::caller()))
    }
    /// The loss, by this name, and the metrics.
    pub(super) fn judged(
        &mut self,
        model: &M,
        loss: &str,
        batches: impl Iterator<Item = Result<B>>,
    ) -> Result<Measures> {
        let (mut mean, mut losses) = (super::metrics::Mean::new(), VecDeque::new());
        self.metrics.iter_mut().for_each(|metric| metric.reset());
        for batch in batches {
            let batch = batch?;
            let outcome = crate::no_grad(|| crate::evaluating(|| (self.judge)(model, &batch)));
            losses.push_back((outcome.loss.read_later(), batch.batch_size() as f64));
            // One batch late where the loss is still to come: then a GPU has the next batch to go on with.
            while losses.len() > 1 || losses.front().is_some_and(|(loss, _)| loss.is_ready()) {
                let Some((loss, size)) = losses.pop_front() else { break };
                mean.add(loss.item()?, size);
            }
            if self.metrics.is_empty() {
                continue;
            }
            let Some((output, target)) = &outcome.judged else {
                let help = "return Outcome::new(loss).with_output(&output, &target), or use Trainer::supervised";
                return Err(Error::new("trainer", Fault::value("the metrics are not told what the model said", help)));
            };
            for metric in &mut self.metrics {
                metric.update(output, target)?;
            }
        }
        for (loss, size) in losses {
            mean.add(loss.item()?, size);
        }
        let mut measures = Measures::default();
        measures.push(loss, mean.value()?);
        for metric in &self.metrics {
            measures.extend(metric.measures()?.into());
        }
        Ok(measures)
    }
}

impl<'a, M: Module + Clone + 'a, B: BatchSize> Trainer<'a, M, B> {
    /// Keeps the exponential average of the model's steps (see [`Ema`]); it is validated and saved as the best in the
    /// model's place.
    pub fn with_average(self, decay: f64) -> Self {
        Trainer { average: Some(Box::new(move |model| Box::new(Ema::new(model, decay)))), ..self }
    }
    /// Keeps the plain average of the model at the ends of epochs, from number `first` (counted from 1) on (see [`Swa`]); it
    /// is validated and saved as the best in the model's place. Running statistics are those of its last epoch.
    pub fn with_epoch_average(self, first: u64) -> Self {
        let begin = move |model: &M| Box::new(Ends { average: Swa::new(model), first }) as Box<dyn Averaging<M> + 'a>;
        Trainer { average: Some(Box::new(begin)), ..self }
    }
}
