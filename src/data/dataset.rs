//! What gives items by number.

use super::Collate;
use crate::device::Random;
use crate::error::Result;
use std::sync::Arc;

/// Items by number: examples in memory, files of a folder, windows of a text.
///
/// ```
/// use chainrule::data::{Dataset, Loader};
/// use chainrule::{Random, Result, Tensor};
///
/// /// Noisy points of a parabola, made when they are asked for.
/// struct Parabola;
/// impl Dataset for Parabola {
///     type Item = (Tensor, Tensor);
///     fn len(&self) -> usize {
///         100
///     }
///     fn item(&self, index: usize, chance: &mut Random) -> Result<(Tensor, Tensor)> {
///         let (x, noise) = (index as f32 / 50.0 - 1.0, 0.01 * chance.uniform() as f32);
///         Ok((Tensor::from([x]), Tensor::from([x * x + noise])))
///     }
/// }
///
/// for batch in Loader::new(Parabola, 25).shuffled(1).epoch(0) {
///     let (x, y) = batch?;
///     assert_eq!((x.dims()?, y.dims()?), ([25, 1], [25, 1]));
/// }
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// What an item is.
    type Item: Collate;

    /// How many items there are.
    fn len(&self) -> usize;
    /// Is there none?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Item number `index`. What it leaves to chance it draws from `chance`, a stream of this item in this epoch: the same
    /// numbers whoever loads it, and when.
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<Self::Item>;
    /// The items of a batch, put together. Where many items are had at once more cheaply than one by one, it does so.
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<Self::Item as Collate>::Batch> {
        let items = indices.iter().map(|&index| self.item(index, &mut chance.of(index)));
        Self::Item::collate(items.collect::<Result<_>>()?)
    }
}

/// What a batch leaves to chance: a stream for each item, by seed and epoch.
///
/// ```
/// use chainrule::data::Chance;
/// let chance = Chance::new(7, 0);
/// assert_eq!(chance.of(3).uniform(), chance.of(3).uniform());
/// assert_ne!(chance.of(3).uniform(), Chance::new(7, 1).of(3).uniform());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    seed: u64,
    epoch: u64,
}

impl Chance {
    /// The chance of an epoch.
    pub fn new(seed: u64, epoch: u64) -> Chance {
        Chance { seed, epoch }
    }
    /// The stream of an item.
    pub fn of(&self, index: usize) -> Random {
        Random::new(mixed(mixed(self.seed, self.epoch), index as u64))
    }
    /// The stream of what concerns the whole epoch, such as its order.
    pub fn of_all(&self) -> Random {
        Random::new(mixed(self.seed, self.epoch)).stream(1)
    }
}

/// Two numbers as one that differs for (nearly) any other two.
fn mixed(a: u64, b: u64) -> u64 {
    let mut mixed = a.rotate_left(32) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 33)
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Item = D::Item;
    fn len(&self) -> usize {
        (**self).len()
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<D::Item> {
        (**self).item(index, chance)
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<D::Item as Collate>::Batch> {
        (**self).batch(indices, chance)
    }
}
