//! Items of a batch, put together.

use crate::device::Device;
use crate::error::{Error, Fault, Result};
use crate::tensor::Tensor;

/// What an item of a dataset is, and what a batch of such items becomes.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::Collate;
/// let batch = Tensor::collate(vec![Tensor::from([1.0, 2.0]), Tensor::from([3.0, 4.0])])?;
/// assert_eq!(batch.dims()?, [2, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Collate: Sized + Send + 'static {
    /// A batch of them.
    type Batch: Send + 'static;
    /// Puts the items of a batch together, in their order. There is at least one.
    #[track_caller]
    fn collate(items: Vec<Self>) -> Result<Self::Batch>;
    /// A batch, brought to a device: what [`Loader::on`](super::Loader::on) does with each. Types of your own that are to go to
    /// a GPU say here how.
    ///
    /// ```
    /// use chainrule::data::Collate;
    /// use chainrule::{Device, Result, Tensor};
    /// struct Sound(Tensor);
    /// struct Sounds { waves: Tensor }
    /// impl Collate for Sound {
    ///     type Batch = Sounds;
    ///     fn collate(items: Vec<Sound>) -> Result<Sounds> {
    ///         Ok(Sounds { waves: Tensor::collate(items.into_iter().map(|sound| sound.0).collect())? })
    ///     }
    ///     fn to_device(batch: Sounds, device: Device) -> Result<Sounds> {
    ///         Ok(Sounds { waves: Tensor::to_device(batch.waves, device)? })
    ///     }
    /// }
    /// let batch = Sound::collate(vec![Sound(Tensor::zeros([3])), Sound(Tensor::ones([3]))])?;
    /// assert_eq!(Sound::to_device(batch, Device::best())?.waves.dims()?, [2, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    fn to_device(batch: Self::Batch, device: Device) -> Result<Self::Batch> {
        let _ = batch;
        let name = std::any::type_name::<Self::Batch>();
        let what = format!("{name} does not say how it goes to a device ({device})");
        let help = "write Collate::to_device for its items, or leave out Loader::on and move what the model takes";
        Err(Error::new("loader", Fault::device(what, help)))
    }
}

/// An item with a tensor that the model is given: what a [`Transform`](super::Transform) changes.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::Input;
/// let mut pair = (Tensor::from([1.0]), "one".to_string());
/// let doubled = &*pair.input_mut() * 2.0;
/// *pair.input_mut() = doubled;
/// assert_eq!(pair.0, Tensor::from([2.0]));
/// ```
pub trait Input: Collate {
    /// The tensor of an item.
    fn input_mut(&mut self) -> &mut Tensor;
    /// Those of a batch, in one.
    fn inputs_mut(batch: &mut Self::Batch) -> &mut Tensor;
}

impl Input for Tensor {
    fn input_mut(&mut self) -> &mut Tensor {
        self
    }
    fn inputs_mut(batch: &mut Tensor) -> &mut Tensor {
        batch
    }
}

/// Of a pair the first is what the model is given.
impl<A: Input, B: Collate> Input for (A, B) {
    fn input_mut(&mut self) -> &mut Tensor {
        self.0.input_mut()
    }
    fn inputs_mut(batch: &mut Self::Batch) -> &mut Tensor {
        A::inputs_mut(&mut batch.0)
    }
}

/// Tensors of one shape become a tensor with one axis more, in front.
impl Collate for Tensor {
    type Batch = Tensor;
    #[track_caller]
    fn collate(items: Vec<Tensor>) -> Result<Tensor> {
        Tensor::stack(&items, 0).checked()
    }
    #[track_caller]
    fn to_device(batch: Tensor, device: Device) -> Result<Tensor> {
        batch.to(device).checked()
    }
}

/// Things as they are, in a list: names, file paths.
impl Collate for String {
    type Batch = Vec<String>;
    fn collate(items: Vec<String>) -> Result<Vec<String>> {
        Ok(items)
    }
    /// Words stay where they are.
    fn to_device(batch: Vec<String>, _: Device) -> Result<Vec<String>> {
        Ok(batch)
    }
}

macro_rules! numbers {
    ($($t:ty)*) => { $(
        /// Numbers become a tensor with one axis.
        impl Collate for $t {
            type Batch = Tensor;
            #[track_caller]
            fn collate(items: Vec<$t>) -> Result<Tensor> {
                Tensor::from_slice(&items, [items.len()])
            }
            #[track_caller]
            fn to_device(batch: Tensor, device: Device) -> Result<Tensor> {
                batch.to(device).checked()
            }
        }
    )* };
}
numbers! { f32 f64 i64 bool }

/// Pairs become a pair of batches.
impl<A: Collate, B: Collate> Collate for (A, B) {
    type Batch = (A::Batch, B::Batch);
    #[track_caller]
    fn collate(items: Vec<(A, B)>) -> Result<Self::Batch> {
        let (first, second): (Vec<A>, Vec<B>) = items.into_iter().unzip();
        Ok((A::collate(first)?, B::collate(second)?))
    }
    #[track_caller]
    fn to_device((first, second): Self::Batch, device: Device) -> Result<Self::Batch> {
        Ok((A::to_device(first, device)?, B::to_device(second, device)?))
    }
}

/// Triples become a triple of batches.
impl<A: Collate, B: Collate, C: Collate> Collate for (A, B, C) {
    type Batch = (A::Batch, B::Batch, C::Batch);
    #[track_caller]
    fn collate(items: Vec<(A, B, C)>) -> Result<Self::Batch> {
        let (pairs, third): (Vec<(A, B)>, Vec<C>) = items.into_iter().map(|(a, b, c)| ((a, b), c)).unzip();
        let (first, second) = <(A, B)>::collate(pairs)?;
        Ok((first, second, C::collate(third)?))
    }
    #[track_caller]
    fn to_device((first, second, third): Self::Batch, device: Device) -> Result<Self::Batch> {
        Ok((A::to_device(first, device)?, B::to_device(second, device)?, C::to_device(third, device)?))
    }
}
