//! Items changed by a function.

use super::{Collate, Dataset};
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
