//! In which order an epoch takes the items.

use super::Chance;
use crate::error::Result;

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
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>>;
    /// How many items an epoch takes.
    fn count(&self, len: usize) -> usize {
        len
    }
}

/// All items, from the first to the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct InOrder;

/// All items, each once, in an order that each epoch draws anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shuffled;

impl Order for InOrder {
    fn indices(&self, len: usize, _: &Chance) -> Result<Vec<usize>> {
        Ok((0..len).collect())
    }
}

impl Order for Shuffled {
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>> {
        let mut indices: Vec<usize> = (0..len).collect();
        let mut random = chance.of_all();
        for last in (1..len).rev() {
            indices.swap(last, random.below(last as u64 + 1) as usize);
        }
        Ok(indices)
    }
}
