//! Items, and batches of them, changed by a function.

use super::{Chance, Collate, Dataset};
use crate::device::Random;
use crate::error::Result;

/// A dataset whose items pass through a function; [`Dataset::map`] makes it.
#[derive(Clone, Debug)]
pub struct Mapped<D, F> {
    dataset: D,
    function: F,
}

impl<D, F> Mapped<D, F> {
    pub(super) fn new(dataset: D, function: F) -> Mapped<D, F> {
        Mapped { dataset, function }
    }
    /// As it is before.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
}

impl<D, F, I> Dataset for Mapped<D, F>
where
    D: Dataset,
    F: Fn(D::Item, &mut Random) -> Result<I> + Send + Sync,
    I: Collate,
{
    type Item = I;
    fn len(&self) -> usize {
        self.dataset.len()
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<I> {
        (self.function)(self.dataset.item(index, chance)?, chance)
    }
}

/// A dataset whose batches pass through a function; [`Dataset::map_batches`] makes it.
#[derive(Clone, Debug)]
pub struct MappedBatches<D, F> {
    dataset: D,
    function: F,
}

impl<D, F> MappedBatches<D, F> {
    pub(super) fn new(dataset: D, function: F) -> MappedBatches<D, F> {
        MappedBatches { dataset, function }
    }
    /// As it is before.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
}

impl<D, F> Dataset for MappedBatches<D, F>
where
    D: Dataset,
    F: Fn(<D::Item as Collate>::Batch, &mut Random) -> Result<<D::Item as Collate>::Batch> + Send + Sync,
{
    type Item = D::Item;
    fn len(&self) -> usize {
        self.dataset.len()
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<D::Item> {
        self.dataset.item(index, chance)
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<D::Item as Collate>::Batch> {
        (self.function)(self.dataset.batch(indices, chance)?, &mut chance.of_together(indices))
    }
}
