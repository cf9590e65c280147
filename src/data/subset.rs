//! Some items of a dataset, and the items of several.

use super::{Chance, Collate, Dataset};
use crate::device::Random;
use crate::error::{Error, Fault, Result};
use std::sync::Arc;

/// Some items of a dataset, in an order of their own. Cloning shares the dataset.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Dataset, Loader, Rows, Subset};
/// let rows = Rows::new(&Tensor::from([10, 20, 30]))?;
/// let subset = Subset::new(rows, vec![2, 0])?;
/// assert_eq!(Loader::new(subset, 2).epoch(0).next().unwrap()?.to_vec::<i64>()?, [30, 10]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Debug)]
pub struct Subset<D> {
    dataset: Arc<D>,
    indices: Arc<[usize]>,
}

impl<D> Clone for Subset<D> {
    fn clone(&self) -> Subset<D> {
        Subset { dataset: self.dataset.clone(), indices: self.indices.clone() }
    }
}

impl<D: Dataset> Subset<D> {
    /// These items; an error where the dataset has no such item.
    #[track_caller]
    pub fn new(dataset: D, indices: Vec<usize>) -> Result<Subset<D>> {
        match indices.iter().find(|&&index| index >= dataset.len()) {
            Some(&index) => Err(no_item("subset", index, dataset.len())),
            None => Ok(Subset::within(&Arc::new(dataset), indices)),
        }
    }
    /// Items that are known to be there.
    pub(super) fn within(dataset: &Arc<D>, indices: Vec<usize>) -> Subset<D> {
        Subset { dataset: dataset.clone(), indices: indices.into() }
    }
    /// The whole dataset.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
    /// Which items of the whole dataset these are.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
    #[track_caller]
    fn index(&self, index: usize) -> Result<usize> {
        match self.indices.get(index) {
            Some(&index) => Ok(index),
            None => Err(no_item("subset", index, self.indices.len())),
        }
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Item = D::Item;
    fn len(&self) -> usize {
        self.indices.len()
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<D::Item> {
        self.dataset.item(self.index(index)?, chance)
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<D::Item as Collate>::Batch> {
        let mut own = Vec::with_capacity(indices.len());
        for &index in indices {
            own.push(self.index(index)?);
        }
        self.dataset.batch(&own, chance)
    }
}

/// The items of several datasets, one dataset after another.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Concat, Dataset, Loader, Rows};
/// let parts = vec![Rows::new(&Tensor::from([1, 2]))?, Rows::new(&Tensor::from([3]))?];
/// let all = Concat::new(parts);
/// assert_eq!(Loader::new(all, 3).epoch(0).next().unwrap()?.to_vec::<i64>()?, [1, 2, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// Datasets of several kinds whose items are alike go in as `Arc<dyn Dataset<Item = ..>>`.
#[derive(Clone, Debug)]
pub struct Concat<D> {
    parts: Vec<D>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl<D: Dataset> Concat<D> {
    /// These datasets, one after another.
    pub fn new(parts: Vec<D>) -> Concat<D> {
        let mut end = 0usize;
        let ends = parts.iter().map(|part| (end = end.saturating_add(part.len()), end).1).collect();
        Concat { parts, ends }
    }
    /// The datasets.
    pub fn parts(&self) -> &[D] {
        &self.parts
    }
}

impl<D: Dataset> Dataset for Concat<D> {
    type Item = D::Item;
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<D::Item> {
        let part = self.ends.partition_point(|&end| end <= index);
        match self.parts.get(part) {
            Some(dataset) => {
                let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
                dataset.item(index - start, chance)
            }
            None => Err(no_item("concat", index, self.len())),
        }
    }
}

#[cold]
#[track_caller]
pub(super) fn no_item(operation: &'static str, index: usize, len: usize) -> Error {
    Error::new(operation, Fault::index(format!("there is no item {index} among {len}"), "items count from 0"))
}
