//! In which order an epoch takes the items.

use super::Chance;
use crate::device::{Random, memory};
use crate::error::{Error, Fault, Result};
use std::any::type_name;

/// Decides which items an epoch takes, and in which order.
///
/// ```
/// use chainrule::data::{Chance, InOrder, Order, Shuffled};
/// assert_eq!(InOrder.indices(3, &Chance::new(1, 0))?, [0, 1, 2]);
/// let (first, second) = (Shuffled.indices(100, &Chance::new(1, 0))?, Shuffled.indices(100, &Chance::new(1, 1))?);
/// assert_ne!(first, second);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Order: Send + Sync {
    /// The items of an epoch over a dataset of `len` items: a function of these two alone.
    #[track_caller]
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>>;
    /// As [`indices`](Order::indices), for batches of this size: for an order that cares which items meet in a batch. They
    /// come batch after batch, all full but the last.
    #[track_caller]
    fn indices_in_batches(&self, len: usize, size: usize, chance: &Chance) -> Result<Vec<usize>> {
        let _ = size;
        self.indices(len, chance)
    }
    /// How many items an epoch takes.
    fn count(&self, len: usize) -> usize {
        len
    }
    /// What it is called: its type's name, without path and parameters.
    fn name(&self) -> &'static str {
        let path = type_name::<Self>().split('<').next().unwrap_or_default();
        path.rsplit("::").next().unwrap_or_default()
    }
}

/// All items, from the first to the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct InOrder;

/// All items, each once, in an order that each epoch draws anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shuffled;

/// These items, in this order, each as often as it is listed.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Listed, Loader, Rows};
/// let loader = Loader::new(Rows::new(&Tensor::from([10, 20, 30]))?, 2).with_order(Listed::new(vec![2, 0]));
/// assert_eq!(loader.epoch(0).next().unwrap()?.to_vec::<i64>()?, [30, 10]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Listed(Vec<usize>);

impl Listed {
    /// An order of these items.
    pub fn new(indices: Vec<usize>) -> Listed {
        Listed(indices)
    }
}

impl Order for InOrder {
    #[track_caller]
    fn indices(&self, len: usize, _: &Chance) -> Result<Vec<usize>> {
        all(len)
    }
}

impl Order for Shuffled {
    #[track_caller]
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>> {
        let mut indices = all(len)?;
        shuffle(&mut indices, &mut chance.of_all());
        Ok(indices)
    }
}

impl Order for Listed {
    fn indices(&self, _: usize, _: &Chance) -> Result<Vec<usize>> {
        Ok(self.0.clone())
    }
    fn count(&self, _: usize) -> usize {
        self.0.len()
    }
}

/// The numbers below `len`.
#[track_caller]
pub(super) fn all(len: usize) -> Result<Vec<usize>> {
    let mut indices = room(len)?;
    indices.extend(0..len);
    Ok(indices)
}

/// An empty list with room for so many numbers.
#[track_caller]
pub(super) fn room(len: usize) -> Result<Vec<usize>> {
    let mut indices = Vec::new();
    // What a system promises beyond its memory, it takes back by ending the program.
    if len <= memory().limit / size_of::<usize>() && indices.try_reserve_exact(len).is_ok() {
        return Ok(indices);
    }
    let help = "let len() say less, or give the loader an order that takes fewer";
    Err(Error::new("order", Fault::memory(format!("there is no memory to order {len} items"), help)))
}

/// Any order is as likely as any other (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}
