//! Datasets in memory: the rows of tensors.

use super::subset::no_item;
use super::{Chance, Collate, Dataset, Input};
use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::tensor::Tensor;

/// The rows of a tensor, its first axis, as items.
///
/// ```
/// use chainrule::data::{Dataset, Loader, Rows};
/// use chainrule::Tensor;
/// let loader = Loader::new(Rows::new(&Tensor::zeros([10, 3]))?, 5);
/// assert_eq!(loader.epoch(0).next().unwrap()?.dims()?, [5, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rows {
    tensor: Tensor,
    count: usize,
}

impl Rows {
    /// The rows of a tensor with at least one axis.
    #[track_caller]
    pub fn new(tensor: &Tensor) -> Result<Rows> {
        let shape = tensor.shape()?;
        let Some(&count) = shape.first() else {
            let fault = Fault::shape("a single number has no rows", "reshape it to [1], or give it an axis of items");
            return Err(Error::new("rows", fault));
        };
        Ok(Rows { tensor: tensor.detach(), count })
    }
    /// All of them.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
    #[track_caller]
    fn take(&self, indices: &[usize]) -> Result<Tensor> {
        let rows: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let rows = Tensor::from_vec(rows, [indices.len()])?;
        self.tensor.index_select(0, &rows).checked()
    }
}

impl Dataset for Rows {
    type Item = Tensor;
    fn len(&self) -> usize {
        self.count
    }
    #[track_caller]
    fn item(&self, index: usize, _: &mut Random) -> Result<Tensor> {
        self.tensor.select(0, index as isize).checked()
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], _: &Chance) -> Result<Tensor> {
        self.take(indices)
    }
}

/// An input and what the model is to say about it.
#[derive(Clone, Debug)]
pub struct Example {
    /// What the model is given.
    pub input: Tensor,
    /// What it is to say.
    pub target: Tensor,
}

/// Examples put together: their first axis is the batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What the model is given.
    pub input: Tensor,
    /// What it is to say.
    pub target: Tensor,
}

impl Collate for Example {
    type Batch = Batch;
    #[track_caller]
    fn collate(items: Vec<Example>) -> Result<Batch> {
        let (input, target) = <(Tensor, Tensor)>::collate(items.into_iter().map(|e| (e.input, e.target)).collect())?;
        Ok(Batch { input, target })
    }
}

impl Input for Example {
    fn input_mut(&mut self) -> &mut Tensor {
        &mut self.input
    }
    fn inputs_mut(batch: &mut Batch) -> &mut Tensor {
        &mut batch.input
    }
}

/// Examples in memory: the rows of two tensors. Cloning shares their numbers.
///
/// ```
/// use chainrule::data::{Dataset, Examples};
/// use chainrule::Tensor;
/// let examples = Examples::new(&Tensor::zeros([150, 4]), &Tensor::zeros([150]))?;
/// assert_eq!(examples.len(), 150);
/// assert!(Examples::new(&Tensor::zeros([150, 4]), &Tensor::zeros([149])).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Examples {
    input: Rows,
    target: Rows,
}

impl Examples {
    /// As many inputs as targets.
    #[track_caller]
    pub fn new(input: &Tensor, target: &Tensor) -> Result<Examples> {
        let (input, target) = (Rows::new(input)?, Rows::new(target)?);
        if input.len() != target.len() {
            let what = format!("there are {} inputs and {} targets", input.len(), target.len());
            return Err(Error::new("examples", Fault::shape(what, "the first axes of both count the examples")));
        }
        Ok(Examples { input, target })
    }
    /// All inputs.
    pub fn input(&self) -> &Tensor {
        self.input.tensor()
    }
    /// All targets.
    pub fn target(&self) -> &Tensor {
        self.target.tensor()
    }
}

impl Dataset for Examples {
    type Item = Example;
    fn len(&self) -> usize {
        self.input.len()
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<Example> {
        Ok(Example { input: self.input.item(index, chance)?, target: self.target.item(index, chance)? })
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], _: &Chance) -> Result<Batch> {
        Ok(Batch { input: self.input.take(indices)?, target: self.target.take(indices)? })
    }
}

/// A list of items, in memory.
///
/// ```
/// use chainrule::data::Loader;
/// let names = vec![("ant".to_string(), 1.0f32), ("bee".to_string(), 2.0)];
/// let (names, sizes) = Loader::new(names, 2).epoch(0).next().unwrap()?;
/// assert_eq!((names.len(), sizes.to_vec::<f32>()?), (2, vec![1.0, 2.0]));
/// # Ok::<(), chainrule::Error>(())
/// ```
impl<T: Collate + Clone + Sync> Dataset for Vec<T> {
    type Item = T;
    fn len(&self) -> usize {
        Vec::len(self)
    }
    #[track_caller]
    fn item(&self, index: usize, _: &mut Random) -> Result<T> {
        self.get(index).cloned().ok_or_else(|| no_item("list", index, Vec::len(self)))
    }
}

/// Two datasets side by side: item by item, a pair.
impl<A: Dataset, B: Dataset> Dataset for (A, B) {
    type Item = (A::Item, B::Item);
    fn len(&self) -> usize {
        self.0.len().min(self.1.len())
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<Self::Item> {
        Ok((self.0.item(index, chance)?, self.1.item(index, chance)?))
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<Self::Item as Collate>::Batch> {
        Ok((self.0.batch(indices, chance)?, self.1.batch(indices, chance)?))
    }
}

/// Three datasets side by side: item by item, a triple.
impl<A: Dataset, B: Dataset, C: Dataset> Dataset for (A, B, C) {
    type Item = (A::Item, B::Item, C::Item);
    fn len(&self) -> usize {
        self.0.len().min(self.1.len()).min(self.2.len())
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<Self::Item> {
        Ok((self.0.item(index, chance)?, self.1.item(index, chance)?, self.2.item(index, chance)?))
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<Self::Item as Collate>::Batch> {
        Ok((self.0.batch(indices, chance)?, self.1.batch(indices, chance)?, self.2.batch(indices, chance)?))
    }
}
