//! Batches of a dataset, epoch after epoch.

use super::{Chance, Collate, Dataset, InOrder, Order, Shuffled};
use crate::error::{Error, Fault, Result};
use crate::tensor::State;
use std::sync::Arc;

/// Gives the items of a dataset in batches. What an epoch holds, and in which order, depends on the seed and the epoch's
/// number alone.
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
pub struct Loader<D> {
    dataset: Arc<D>,
    size: usize,
    seed: u64,
    order: Arc<dyn Order>,
    drop_last: bool,
}

impl<D: Dataset + 'static> Loader<D> {
    /// All items in their order, `size` to a batch; the last batch may be smaller.
    pub fn new(dataset: D, size: usize) -> Loader<D> {
        Loader { dataset: Arc::new(dataset), size, seed: 0, order: Arc::new(InOrder), drop_last: false }
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
    /// What it loads from.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
    /// How many batches an epoch has.
    pub fn len(&self) -> usize {
        let count = self.order.count(self.dataset.len());
        let size = self.size.max(1);
        if self.drop_last { count / size } else { count.div_ceil(size) }
    }
    /// Has an epoch no batch?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The batches of an epoch.
    #[track_caller]
    pub fn epoch(&self, epoch: u64) -> Epoch<D> {
        self.epoch_from(epoch, 0)
    }
    /// The batches of an epoch from number `batch` on.
    #[track_caller]
    pub fn epoch_from(&self, epoch: u64, batch: usize) -> Epoch<D> {
        let chance = Chance::new(self.seed, epoch);
        let order = match self.size {
            0 => Err(Error::new("loader", Fault::value("batches of size 0", "give Loader::new a size of at least 1"))),
            _ => self.order.indices(self.dataset.len(), &chance),
        };
        let (failed, indices) = match order {
            Ok(indices) => (None, indices),
            Err(error) => (Some(error), Vec::new()),
        };
        Epoch {
            dataset: self.dataset.clone(),
            size: self.size,
            chance,
            epoch,
            batch,
            count: self.len(),
            indices,
            failed,
        }
    }
    /// The rest of an epoch, from where [`Epoch::state`] was taken.
    #[track_caller]
    pub fn resume(&self, state: &State) -> Result<Epoch<D>> {
        let number = |name: &str| Ok::<u64, Error>(state.get(name)?.integer()? as u64);
        Ok(self.epoch_from(number("epoch")?, number("batch")? as usize))
    }
}

/// The batches of one epoch, one after another.
pub struct Epoch<D> {
    dataset: Arc<D>,
    size: usize,
    chance: Chance,
    epoch: u64,
    /// The batch that comes next.
    batch: usize,
    count: usize,
    indices: Vec<usize>,
    failed: Option<Error>,
}

impl<D> Epoch<D> {
    /// The number of the batch that comes next.
    pub fn position(&self) -> usize {
        self.batch
    }
    /// Where it stands, for [`Loader::resume`].
    pub fn state(&self) -> Result<State> {
        let mut state = State::tree();
        state.insert("epoch", State::Integer(self.epoch as i64))?;
        state.insert("batch", State::Integer(self.batch as i64))?;
        Ok(state)
    }
}

impl<D: Dataset> Iterator for Epoch<D> {
    type Item = Result<<D::Item as Collate>::Batch>;
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.batch = self.count;
            return Some(Err(error));
        }
        if self.batch >= self.count {
            return None;
        }
        let start = self.batch * self.size;
        let indices = self.indices.get(start..self.indices.len().min(start + self.size)).unwrap_or_default();
        self.batch += 1;
        Some(self.dataset.batch(indices, &self.chance))
    }
}
