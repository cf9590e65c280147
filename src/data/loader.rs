//! Batches of a dataset, epoch after epoch.

use super::dataset::mixed;
use super::prefetch::{Load, MOST, Missing, Team};
use super::progress::Progress;
use super::{Chance, Collate, Dataset, InOrder, Order, Shuffled};
use crate::device::Device;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::tensor::{State, apart};
use std::any::Any;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Gives the items of a dataset in batches. What an epoch holds, and in which order, depends on the seed and the epoch's
/// number alone: not on workers, threads or time.
///
/// ```
/// use chainrule::data::{Examples, Loader};
/// use chainrule::Tensor;
/// let examples = Examples::new(&Tensor::zeros([100, 3]), &Tensor::arange(100))?;
/// let loader = Loader::new(examples, 32).shuffled(7).drop_last();
/// assert_eq!(loader.len(), 3);
///
/// // A training that stopped goes on in the middle of an epoch.
/// let mut epoch = loader.epoch(5);
/// epoch.next().unwrap()?;
/// let state = epoch.state()?;
/// let (next, resumed) = (epoch.next().unwrap()?, loader.resume(&state)?.next().unwrap()?);
/// assert_eq!(next.target.to_vec::<i64>()?, resumed.target.to_vec::<i64>()?);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// An item that fails, panics, or (where workers load) hangs is an error that names it, in the place of its batch.
pub struct Loader<D> {
    dataset: Arc<D>,
    size: usize,
    seed: u64,
    order: Arc<dyn Order>,
    drop_last: bool,
    workers: usize,
    ahead: Option<usize>,
    patience: Duration,
    device: Option<Device>,
}

impl<D> Clone for Loader<D> {
    fn clone(&self) -> Loader<D> {
        Loader { dataset: self.dataset.clone(), order: self.order.clone(), ..*self }
    }
}

impl<D: Dataset> fmt::Debug for Loader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loader");
        shown.field("items", &self.dataset.len()).field("size", &self.size).field("seed", &self.seed);
        shown.field("order", &format_args!("{}", self.order.name())).field("drop_last", &self.drop_last);
        shown.field("workers", &self.workers).finish()
    }
}

impl<D: Dataset + 'static> Loader<D> {
    /// All items in their order, `size` to a batch; the last batch may be smaller.
    pub fn new(dataset: D, size: usize) -> Loader<D> {
        Loader {
            dataset: Arc::new(dataset),
            size,
            seed: 0,
            order: Arc::new(InOrder),
            drop_last: false,
            workers: 0,
            ahead: None,
            patience: Duration::from_secs(120),
            device: None,
        }
    }
    /// In an order that each epoch draws anew, from this seed.
    pub fn shuffled(self, seed: u64) -> Loader<D> {
        self.with_order(Shuffled).with_seed(seed)
    }
    /// In another order.
    pub fn with_order(self, order: impl Order + 'static) -> Loader<D> {
        Loader { order: Arc::new(order), ..self }
    }
    /// The seed of everything that is left to chance.
    pub fn with_seed(self, seed: u64) -> Loader<D> {
        Loader { seed, ..self }
    }
    /// Leaves out a last batch that is not full.
    pub fn drop_last(self) -> Loader<D> {
        Loader { drop_last: true, ..self }
    }
    /// Loads on so many threads (at most 128), ahead of the batch that is in use. It pays where an item takes time: a file,
    /// a picture to decode. Rows that stand in memory come faster without, so that is the default: 0, no threads.
    ///
    /// What a batch holds does not depend on it. Each worker computes on one core and records no history. Where threads
    /// cannot be started, it loads without.
    ///
    /// ```
    /// use chainrule::data::{Loader, Rows};
    /// use chainrule::Tensor;
    /// let loader = Loader::new(Rows::new(&Tensor::arange(1000))?, 10).shuffled(7);
    /// let with_workers = loader.clone().with_workers(2);
    /// for (a, b) in loader.epoch(0).zip(with_workers.epoch(0)) {
    ///     assert_eq!(a?, b?);
    /// }
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_workers(self, workers: usize) -> Loader<D> {
        Loader { workers: workers.min(MOST), ..self }
    }
    /// How many batches the workers may have ready or in hand; two for each worker unless this says otherwise.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Loader, Rows}};
    /// let loader = Loader::new(Rows::new(&Tensor::arange(9))?, 3).with_workers(1).with_ahead(1);
    /// assert_eq!(loader.epoch(0).count(), 3);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_ahead(self, batches: usize) -> Loader<D> {
        Loader { ahead: Some(batches), ..self }
    }
    /// How long workers may take for one item before it is an error; two minutes unless this says otherwise. The epoch
    /// ends with that error. Without workers nobody is there to notice.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Loader};
    /// use std::{thread::sleep, time::Duration};
    /// let hangs = vec![1.0f32, 2.0].map(|number, _| {
    ///     sleep(Duration::from_millis(if number == 2.0 { 500 } else { 0 }));
    ///     Ok(number)
    /// });
    /// let loader = Loader::new(hangs, 1).with_workers(1).with_patience(Duration::from_millis(50));
    /// let error = loader.epoch(0).find_map(|batch| batch.err()).unwrap();
    /// assert!(error.what().starts_with("item 1, in batch 1 of epoch 0: it takes longer than 50ms"));
    /// ```
    pub fn with_patience(self, patience: Duration) -> Loader<D> {
        Loader { patience, ..self }
    }
    /// Brings each batch to a device as it is handed out: to the one where the model is. Items are made where the dataset has
    /// them, on the CPU as a rule. A batch of a type of your own goes there by its [`Collate::to_device`].
    ///
    /// ```
    /// use chainrule::data::{Loader, Rows};
    /// use chainrule::{Device, Tensor};
    /// let device = Device::best();
    /// let loader = Loader::new(Rows::new(&Tensor::arange(10))?, 4).on(device);
    /// assert_eq!(loader.epoch(0).next().unwrap()?.device()?, device);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn on(self, device: Device) -> Loader<D> {
        Loader { device: Some(device), ..self }
    }
    /// What it loads from.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
    /// How many batches an epoch has.
    pub fn len(&self) -> usize {
        self.batches(self.order.count(self.dataset.len()))
    }
    /// Has an epoch no batch?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn batches(&self, items: usize) -> usize {
        let size = self.size.max(1);
        if self.drop_last { items / size } else { items.div_ceil(size) }
    }
    /// The batches of an epoch.
    #[track_caller]
    pub fn epoch(&self, epoch: u64) -> Epoch<D> {
        self.epoch_from(epoch, 0)
    }
    /// The batches of an epoch from number `batch` on; none where it has no such batch.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Loader, Rows}};
    /// let loader = Loader::new(Rows::new(&Tensor::arange(10))?, 4);
    /// let last = loader.epoch_from(0, 2).next().unwrap()?;
    /// assert_eq!(last, Tensor::from([8, 9]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn epoch_from(&self, epoch: u64, batch: usize) -> Epoch<D> {
        match self.plan(epoch) {
            Ok(plan) => self.begin(plan, batch),
            Err(error) => self.begin(self.no_plan(epoch, Location::caller(), Some(error)), 0),
        }
    }
    /// The rest of an epoch, from where [`Epoch::state`] was taken. An error where this loader would not give the same:
    /// another seed, dataset, batch size or order.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Loader, Rows}};
    /// let loader = Loader::new(Rows::new(&Tensor::arange(10))?, 4).shuffled(7);
    /// let state = loader.epoch(3).state()?;
    /// assert!(loader.resume(&state).is_ok());
    /// let error = loader.with_seed(8).resume(&state).unwrap_err();
    /// assert!(error.what().contains("seed is 8, it was 7"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn resume(&self, state: &State) -> Result<Epoch<D>> {
        let plan = self.plan(whole(state, "epoch")?)?;
        let mut differences = Vec::new();
        for (name, own) in plan.settings() {
            let saved = state.get(name)?;
            let saved = match own {
                Setting::Flag(_) => Setting::Flag(saved.flag()?),
                Setting::Count(_) => Setting::Count(whole(state, name)?),
                Setting::Bits(_) => Setting::Bits(saved.integer()? as u64),
                Setting::Order(_) => Setting::Order(saved.integer()? as u64),
            };
            match (&saved, &own) {
                _ if saved == own => {}
                (Setting::Order(_), _) if !differences.is_empty() => {} // a consequence
                (Setting::Order(_), _) => differences.push(format!("the items come in another order ({})", plan.order)),
                _ => differences.push(format!("{name} is {own}, it was {saved}")),
            }
        }
        if !differences.is_empty() {
            let what = format!("the state is of another loader: {}", differences.join("; "));
            let help = "make the loader as it was when the state was saved, or begin the epoch anew";
            return Err(Error::new("loader", Fault::value(what, help)));
        }
        let batch = whole(state, "batch")?;
        match usize::try_from(batch) {
            Ok(batch) if batch <= plan.count => Ok(self.begin(plan, batch)),
            _ => {
                let what = format!("the state is of batch {batch}, the epoch has {}", plan.count);
                Err(Error::new("loader", Fault::value(what, "the state was damaged, or written by something else")))
            }
        }
    }
    fn no_plan(&self, epoch: u64, at: &'static Location<'static>, failed: Option<Error>) -> Plan<D> {
        Plan {
            dataset: self.dataset.clone(),
            items: self.dataset.len(),
            size: self.size,
            seed: self.seed,
            drop_last: self.drop_last,
            order: self.order.name(),
            epoch,
            indices: Vec::new(),
            repeats: false,
            count: 0,
            failed,
            fingerprint: OnceLock::new(),
            device: self.device,
            at,
        }
    }
    /// Which items each batch of an epoch takes.
    #[track_caller]
    fn plan(&self, epoch: u64) -> Result<Plan<D>> {
        let mut plan = self.no_plan(epoch, Location::caller(), None);
        if self.size == 0 {
            let fault = Fault::value("batches of size 0", "give Loader::new a size of at least 1");
            return Err(Error::new("loader", fault));
        }
        let chance = Chance::new(self.seed, epoch);
        let indices = self.order.indices_in_batches(plan.items, self.size, &chance)?;
        let promised = self.order.count(plan.items);
        if indices.len() != promised {
            let what = format!("{} takes {} items and counts {promised}", plan.order, indices.len());
            return Err(Error::new("loader", Fault::value(what, "let Order::count say how many indices there are")));
        }
        if let Some(&outside) = indices.iter().find(|&&index| index >= plan.items) {
            let what = format!("{} takes item {outside}, the dataset has {}", plan.order, plan.items);
            return Err(Error::new("loader", Fault::index(what, "items count from 0")));
        }
        plan.repeats = repeats(&indices, plan.items);
        plan.count = self.batches(indices.len());
        plan.indices = indices;
        Ok(plan)
    }
    fn begin(&self, plan: Plan<D>, batch: usize) -> Epoch<D> {
        let plan = Arc::new(plan);
        let of = plan.clone();
        let load: Arc<Load<_>> = Arc::new(move |number, progress: &Arc<Progress>| of.load(number, progress));
        let ahead = self.ahead.unwrap_or(2 * self.workers);
        let team = match plan.failed {
            None => Team::start(self.workers, ahead, self.patience, (batch, plan.count), &load),
            Some(_) => None,
        };
        let ended = plan.failed.is_none() && batch >= plan.count;
        Epoch { plan, batch, ended, load, team, progress: Arc::default() }
    }
}

/// What an epoch takes, batch by batch.
struct Plan<D> {
    dataset: Arc<D>,
    items: usize,
    size: usize,
    seed: u64,
    drop_last: bool,
    order: &'static str,
    epoch: u64,
    indices: Vec<usize>,
    /// Does an item come more than once?
    repeats: bool,
    count: usize,
    /// Why there is no batch at all.
    failed: Option<Error>,
    fingerprint: OnceLock<u64>,
    /// Where its batches are brought.
    device: Option<Device>,
    /// Where the epoch was asked for.
    at: &'static Location<'static>,
}

/// Something that decides what an epoch gives.
#[derive(PartialEq)]
enum Setting {
    Flag(bool),
    Count(u64),
    /// Any 64 bits; a state keeps them as an integer with a sign.
    Bits(u64),
    Order(u64),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Flag(flag) => write!(f, "{flag}"),
            Setting::Count(number) | Setting::Bits(number) | Setting::Order(number) => write!(f, "{number}"),
        }
    }
}

impl<D> Plan<D> {
    fn settings(&self) -> [(&'static str, Setting); 5] {
        [
            ("seed", Setting::Bits(self.seed)),
            ("items", Setting::Count(self.items as u64)),
            ("size", Setting::Count(self.size as u64)),
            ("drop_last", Setting::Flag(self.drop_last)),
            ("order", Setting::Order(self.fingerprint())),
        ]
    }
    fn fingerprint(&self) -> u64 {
        let start = self.indices.len() as u64;
        *self.fingerprint.get_or_init(|| self.indices.iter().fold(start, |sum, &index| mixed(sum, index as u64)))
    }
    fn of_batch(&self, number: usize) -> &[usize] {
        let start = number.saturating_mul(self.size).min(self.indices.len());
        &self.indices[start..self.indices.len().min(start.saturating_add(self.size))]
    }
    /// "item 812, in batch 3 of epoch 0", or the batch with its items where it is not known which.
    fn place(&self, number: usize, place: Option<usize>) -> String {
        let indices = self.of_batch(number);
        match place.and_then(|place| indices.get(place)) {
            Some(item) => format!("item {item}, in batch {number} of epoch {}", self.epoch),
            None => {
                let shown: Vec<String> = indices.iter().take(16).map(usize::to_string).collect();
                let more = if indices.len() > shown.len() { ", ..." } else { "" };
                format!("batch {number} of epoch {} (items {}{more})", self.epoch, shown.join(", "))
            }
        }
    }
    fn slow(&self, number: usize, place: Option<usize>, patience: Duration) -> Error {
        let what = format!("{}: it takes longer than {patience:?}", self.place(number, place));
        let help = "look what it waits for, or give the loader more time: with_patience(..)";
        Error::with("loader", Fault::new(ErrorKind::Io, what, help), Vec::new(), self.at)
    }
}

impl<D: Dataset> Plan<D> {
    fn load(&self, number: usize, progress: &Arc<Progress>) -> Result<<D::Item as Collate>::Batch> {
        let mut chance = Chance::new(self.seed, self.epoch);
        if self.repeats {
            chance = chance.of_batch(number);
        }
        let work = || apart(|| self.dataset.batch(self.of_batch(number), &chance));
        // What a panic leaves half done is the dataset's own; nothing here is touched again.
        match catch_unwind(AssertUnwindSafe(|| progress.of(work))) {
            Ok(Ok(batch)) => Ok(batch),
            Ok(Err(error)) => {
                let what = format!("{}: {}", self.place(number, progress.place()), error.what());
                let fault = Fault::new(error.kind(), what, error.help());
                let error = error.called_at(self.at);
                Err(Error::with(error.operation(), fault, error.operands().to_vec(), error.location()))
            }
            Err(panic) => {
                let what = format!("{}: a panic: {}", self.place(number, progress.place()), text(&*panic));
                let help = "let the dataset return an error for what can go wrong with an item";
                Err(Error::with("loader", Fault::value(what, help), Vec::new(), self.at))
            }
        }
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

/// Does a number below `bound` come twice?
fn repeats(indices: &[usize], bound: usize) -> bool {
    if bound / 16 > indices.len() {
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        return sorted.windows(2).any(|pair| pair[0] == pair[1]);
    }
    let mut seen = vec![false; bound];
    indices.iter().any(|&index| std::mem::replace(&mut seen[index], true))
}

/// A number of a state that is not negative.
#[track_caller]
fn whole(state: &State, name: &str) -> Result<u64> {
    let number = state.get(name)?.integer()?;
    match u64::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => {
            let help = "the state was damaged, or written by something else";
            Err(Error::new("loader", Fault::value(format!("{name} is {number} in the state"), help)))
        }
    }
}

/// The batches of one epoch, one after another. A batch that cannot be loaded is an error in its place; those after it
/// still come.
///
/// Dropping it ends its workers, each after the item it has in hand.
pub struct Epoch<D: Dataset> {
    plan: Arc<Plan<D>>,
    /// The batch that comes next.
    batch: usize,
    ended: bool,
    load: Arc<Load<<D::Item as Collate>::Batch>>,
    team: Option<Team<<D::Item as Collate>::Batch>>,
    progress: Arc<Progress>,
}

impl<D: Dataset> fmt::Debug for Epoch<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Epoch");
        shown.field("number", &self.plan.epoch).field("batch", &self.batch).field("of", &self.plan.count).finish()
    }
}

impl<D: Dataset> Epoch<D> {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.plan.epoch
    }
    /// The number of the batch that comes next.
    pub fn batch(&self) -> usize {
        self.batch
    }
    /// Where it stands, for [`Loader::resume`]: what workers have loaded ahead does not count.
    #[track_caller]
    pub fn state(&self) -> Result<State> {
        let Ok(epoch) = i64::try_from(self.plan.epoch) else {
            let what = format!("epoch {} is too far on to be saved", self.plan.epoch);
            return Err(Error::new("loader", Fault::value(what, "count epochs from 0")));
        };
        let mut state = State::tree();
        state.insert("epoch", State::Integer(epoch))?;
        state.insert("batch", State::Integer(self.batch as i64))?;
        for (name, setting) in self.plan.settings() {
            let setting = match setting {
                Setting::Flag(flag) => State::Flag(flag),
                Setting::Count(number) | Setting::Bits(number) | Setting::Order(number) => {
                    State::Integer(number as i64)
                }
            };
            state.insert(name, setting)?;
        }
        Ok(state)
    }
}

impl<D: Dataset> Iterator for Epoch<D> {
    type Item = Result<<D::Item as Collate>::Batch>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Some(error) = &self.plan.failed {
            self.ended = true;
            return Some(Err(error.clone()));
        }
        let number = self.batch;
        let loaded = match &mut self.team {
            None => (self.load)(number, &self.progress),
            Some(team) => match team.next() {
                Ok(loaded) => loaded,
                Err(missing) => {
                    self.ended = true;
                    self.team = None;
                    return Some(Err(match missing {
                        Missing::Slow(place, patience) => self.plan.slow(number, place, patience),
                        Missing::Gone => {
                            let fault = Fault::defect("the threads that load are gone");
                            Error::with("loader", fault, Vec::new(), self.plan.at)
                        }
                    }));
                }
            },
        };
        self.batch += 1;
        self.ended = self.batch >= self.plan.count;
        if self.ended {
            self.team = None;
        }
        Some(match self.plan.device {
            Some(device) => loaded.and_then(|batch| D::Item::to_device(batch, device)),
            None => loaded,
        })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self.plan.failed {
            _ if self.ended => 0,
            Some(_) => 1,
            None => self.plan.count.saturating_sub(self.batch),
        };
        // A hanging item ends it early.
        (left.min(1), Some(left))
    }
}

impl<D: Dataset> FusedIterator for Epoch<D> {}
