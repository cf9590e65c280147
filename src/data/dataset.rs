//! What gives items by number.

use super::progress::watched;
use super::{Collate, Input, Mapped, MappedBatches, Transform, Transformed};
use crate::device::Random;
use crate::error::Result;
use crate::layout::order_of;
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
        let items = indices.iter().zip(chance.of_each(indices));
        Self::Item::collate(watched(items, |(&index, mut chance)| self.item(index, &mut chance))?)
    }

    /// These items, each changed by a function, which may leave something to chance.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Example, Examples, Loader};
    /// use chainrule::Tensor;
    /// let examples = Examples::new(&Tensor::zeros([8, 3]), &Tensor::zeros([8]))?;
    /// let noisy = examples.map(|Example { input, target }, chance| {
    ///     Ok(Example { input: &input + input.normal_like(0.0, 0.1, chance), target })
    /// });
    /// let batch = Loader::new(noisy, 8).with_seed(7).epoch(0).next().unwrap()?;
    /// assert!(batch.input.std().item()? > 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn map<F, I>(self, function: F) -> Mapped<Self, F>
    where
        Self: Sized,
        F: Fn(Self::Item, &mut Random) -> Result<I> + Send + Sync,
        I: Collate,
    {
        Mapped::new(self, function)
    }
    /// Whole batches, each changed by a function: what mixes examples with each other. It comes last, since what is asked for
    /// item by item does not pass through it. What it leaves to chance it draws from a stream of this batch in this epoch.
    ///
    /// ```
    /// use chainrule::data::{Batch, Dataset, Examples, Loader};
    /// use chainrule::{DType, Tensor, cross_entropy};
    /// let examples = Examples::new(&Tensor::ones([8, 3, 32, 32]), &Tensor::arange(8))?;
    ///
    /// // Mixup: of each pair of images a part of one and the rest of the other, and of their classes likewise. A shuffled
    /// // batch from its end is as good as another batch.
    /// let mixed = examples.clone().map_batches(|Batch { input, target }, chance| {
    ///     let share = chance.uniform();
    ///     let mix = |x: &Tensor| share * x + (1.0 - share) * x.flip(0);
    ///     Ok(Batch { input: mix(&input), target: mix(&target.one_hot(8).to_dtype(DType::F32)) })
    /// });
    /// let batch = Loader::new(mixed, 4).shuffled(7).with_workers(2).epoch(0).next().unwrap()?;
    /// assert_eq!(batch.target.dims()?, [4, 8]);
    /// assert!(cross_entropy(&Tensor::zeros([4, 8]), &batch.target).item()? > 2.0);
    ///
    /// // Cutmix: a part of each image gives way to the same part of another.
    /// let cut = examples.map_batches(|Batch { input, target }, chance| {
    ///     let [top, left] = [0, 0].map(|_| chance.below(17) as usize);
    ///     let part = (.., .., top..top + 16, left..left + 16);
    ///     let input = input.slice_assign(part.clone(), &input.flip(0).slice(part));
    ///     let target = target.one_hot(8).to_dtype(DType::F32);
    ///     Ok(Batch { input, target: 0.75 * &target + 0.25 * target.flip(0) })
    /// });
    /// assert_eq!(Loader::new(cut, 4).epoch(0).next().unwrap()?.input.dims()?, [4, 3, 32, 32]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn map_batches<F>(self, function: F) -> MappedBatches<Self, F>
    where
        Self: Sized,
        F: Fn(<Self::Item as Collate>::Batch, &mut Random) -> Result<<Self::Item as Collate>::Batch> + Send + Sync,
    {
        MappedBatches::new(self, function)
    }
    /// These items, their images changed by a [`Transform`]: those of a batch at once.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Examples, Loader, Transform};
    /// use chainrule::Tensor;
    /// let examples = Examples::new(&Tensor::ones([8, 1, 28, 28]), &Tensor::zeros([8]))?;
    /// let train = examples.transformed(Transform::new().crop(28, 28, 2).rotate(10.0));
    /// assert_eq!(Loader::new(train, 4).epoch(0).next().unwrap()?.input.dims()?, [4, 1, 28, 28]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn transformed(self, transform: Transform) -> Transformed<Self>
    where
        Self: Sized,
        Self::Item: Input,
    {
        Transformed::new(self, transform)
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
    /// The batch's number plus one in an epoch that takes items more than once, else 0.
    turn: u64,
}

impl Chance {
    /// The chance of an epoch.
    pub fn new(seed: u64, epoch: u64) -> Chance {
        Chance { seed, epoch, turn: 0 }
    }
    /// The stream of an item. In an epoch that takes items more than once it is another in each batch.
    pub fn of(&self, index: usize) -> Random {
        let epoch = mixed(self.seed, self.epoch);
        Random::new(mixed(if self.turn == 0 { epoch } else { mixed(epoch, self.turn) }, index as u64))
    }
    /// The streams of a batch's items. An item that comes twice in a batch has two.
    ///
    /// ```
    /// use chainrule::data::Chance;
    /// let mut streams = Chance::new(7, 0).of_each(&[3, 5, 3]);
    /// assert_eq!(streams[0], Chance::new(7, 0).of(3));
    /// assert_ne!(streams[0].uniform(), streams[2].uniform());
    /// ```
    pub fn of_each(&self, indices: &[usize]) -> Vec<Random> {
        let mut streams: Vec<Random> = indices.iter().map(|&index| self.of(index)).collect();
        let places = order_of(indices.len(), &|a, b| indices[a].cmp(&indices[b]));
        let mut before = 0;
        for pair in places.windows(2) {
            before = if indices[pair[0]] == indices[pair[1]] { before + 1 } else { 0 };
            streams[pair[1]] = streams[pair[1]].stream(before);
        }
        streams
    }
    /// The stream of a batch as a whole, by the items that are in it.
    ///
    /// ```
    /// use chainrule::data::Chance;
    /// let chance = Chance::new(7, 0);
    /// assert_eq!(chance.of_together(&[3, 5]), chance.of_together(&[3, 5]));
    /// assert_ne!(chance.of_together(&[3, 5]), chance.of_together(&[5, 3]));
    /// ```
    pub fn of_together(&self, indices: &[usize]) -> Random {
        let epoch = mixed(self.seed, self.epoch);
        let own = mixed(epoch, self.turn);
        Random::new(indices.iter().fold(own, |sum, &index| mixed(sum, index as u64))).stream(2)
    }
    /// The stream of what concerns the whole epoch, such as its order.
    pub fn of_all(&self) -> Random {
        Random::new(mixed(self.seed, self.epoch)).stream(1)
    }
    /// The chance of a batch of an epoch that takes items more than once.
    pub(super) fn of_batch(&self, number: usize) -> Chance {
        Chance { turn: number as u64 + 1, ..*self }
    }
}

/// Two numbers as one that differs for (nearly) any other two.
pub(super) fn mixed(a: u64, b: u64) -> u64 {
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
