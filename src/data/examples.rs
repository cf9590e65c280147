//! Datasets in memory: the rows of tensors.

use super::subset::no_item;
use super::{Chance, Collate, Dataset, Input};
use crate::device::{Device, Random};
use crate::error::{Error, Fault, Result};
use crate::io::place::Place;
use crate::io::{npy, npz};
use crate::layout::DType;
use crate::tensor::Tensor;
use std::path::Path;

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
        self.tensor.index_select(0, &rows.near(&self.tensor)).checked()
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
    #[track_caller]
    fn to_device(batch: Batch, device: Device) -> Result<Batch> {
        Ok(Batch { input: batch.input.to(device).checked()?, target: batch.target.to(device).checked()? })
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
    /// Examples that NumPy saved as two arrays of one archive (`numpy.savez("set.npz", x=x, y=y)`, compressed or not), given
    /// the names of both.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Examples};
    /// use chainrule::{Tensor, io::npz};
    /// let path = std::env::temp_dir().join("chainrule-examples.npz");
    /// npz::save(&path, [("x", &Tensor::zeros([150, 4])), ("y", &Tensor::zeros([150]))])?;
    /// let examples = Examples::from_npz(&path, "x", "y")?;
    /// assert_eq!(examples.len(), 150);
    /// assert!(Examples::from_npz(&path, "x", "label").unwrap_err().to_string().contains("label"));
    /// # std::fs::remove_file(&path).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// Floats become f32, since NumPy's are f64 unless somebody says otherwise and models are f32; whole numbers become i64,
    /// but for inputs that are bytes: those stay.
    #[track_caller]
    pub fn from_npz(path: impl AsRef<Path>, input: &str, target: &str) -> Result<Examples> {
        let arrays = npz::load(&path)?;
        let pair = || Examples::of_arrays(arrays.get(input)?, arrays.get(target)?);
        pair().map_err(of_file(Place::of("npz", path.as_ref())))
    }
    /// Examples that NumPy saved as two files (`numpy.save`): the inputs, and the targets. Types as for
    /// [`from_npz`](Examples::from_npz).
    ///
    /// ```
    /// use chainrule::data::{Dataset, Examples};
    /// use chainrule::{Tensor, io::npy};
    /// let (x, y) = (std::env::temp_dir().join("chainrule-x.npy"), std::env::temp_dir().join("chainrule-y.npy"));
    /// npy::save(&x, &Tensor::zeros([150, 4]))?;
    /// npy::save(&y, &Tensor::zeros([150]))?;
    /// assert_eq!(Examples::from_npy(&x, &y)?.len(), 150);
    /// # std::fs::remove_file(&x).ok();
    /// # std::fs::remove_file(&y).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn from_npy(inputs: impl AsRef<Path>, targets: impl AsRef<Path>) -> Result<Examples> {
        let (input, target) = (npy::load(inputs)?, npy::load(&targets)?);
        Examples::of_arrays(&input, &target).map_err(of_file(Place::of("npy", targets.as_ref())))
    }
    fn of_arrays(input: &Tensor, target: &Tensor) -> Result<Examples> {
        let wanted = |dtype: DType| if dtype.is_float() { DType::F32 } else { DType::I64 };
        let kept = if input.dtype()? == DType::U8 { DType::U8 } else { wanted(input.dtype()?) };
        Examples::new(&input.to_dtype(kept), &target.to_dtype(wanted(target.dtype()?)))
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

/// What is wrong with the arrays of a file names the file.
fn of_file(place: Place) -> impl Fn(Error) -> Error {
    move |error| place.error(Fault::new(error.kind(), error.what(), error.help()))
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
        match self.get(index) {
            Some(item) => Ok(item.clone()),
            None => Err(no_item("list", index, Vec::len(self))),
        }
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
