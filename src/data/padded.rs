//! Sequences of several lengths in one tensor.

use super::Collate;
use crate::device::copy::Arrange;
use crate::device::{Device, Value, on};
use crate::error::{Error, Fault, Result};
use crate::layout::{Layout, Shape};
use crate::tensor::Tensor;

/// A sequence `[time, ...]` among others that may be longer: in a batch they are padded to the longest.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Loader, Ragged};
/// use chainrule::loss::cross_entropy;
/// use chainrule::nn::{Init, Lstm, Sequence};
///
/// // Two sequences of 3 numbers a step, with a class to be told at each step. The class -100 does not count in a loss.
/// let example = |time: usize| {
///     let input = Ragged::new(&Tensor::ones([time, 3]));
///     (input, Ragged::new(&Tensor::full([time], 1.0, chainrule::DType::I64)).with_padding(-100.0))
/// };
/// let (input, target) = Loader::new(vec![example(4), example(2)], 2).epoch(0).next().unwrap()?;
/// assert_eq!(input.values.dims()?, [2, 4, 3]);
/// assert_eq!(input.lengths, [4, 2]);
/// assert_eq!(target.values.to_vec::<i64>()?, [1, 1, 1, 1, 1, 1, -100, -100]);
///
/// let lstm = Lstm::options(3, 5).with_batch_first().build(&mut Init::new());
/// let scores = lstm.forward_with(&input.values, &Sequence::new().lengths(&input.lengths)).output;
/// let loss = cross_entropy(&scores.reshape([8, 5]), &target.values.reshape(-1));
/// assert!(loss.item()? > 0.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ragged {
    /// The sequence.
    pub values: Tensor,
    padding: f64,
    in_front: bool,
}

impl Ragged {
    /// A sequence, padded with zeros behind.
    pub fn new(values: &Tensor) -> Ragged {
        Ragged { values: values.clone(), padding: 0.0, in_front: false }
    }
    /// Padded with another number.
    pub fn with_padding(self, padding: f64) -> Ragged {
        Ragged { padding, ..self }
    }
    /// Padded in front, so that all end together: for a model that goes on where they end.
    pub fn in_front(self) -> Ragged {
        Ragged { in_front: true, ..self }
    }
}

/// Sequences put together.
#[derive(Clone, Debug)]
pub struct Padded {
    /// `[batch, longest, ...]`.
    pub values: Tensor,
    /// How long each is.
    pub lengths: Vec<usize>,
    in_front: bool,
}

impl Padded {
    /// `[batch, longest]`: true where a sequence is, false where padding is.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::data::{Collate, Ragged};
    /// let items = [2, 1].map(|time| Ragged::new(&Tensor::ones([time])).in_front());
    /// let batch = Ragged::collate(items.to_vec())?;
    /// assert_eq!(batch.mask()?.to_vec::<bool>()?, [true, true, false, true]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn mask(&self) -> Result<Tensor> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let mut mask = Vec::with_capacity(self.lengths.len() * longest);
        for &length in &self.lengths {
            let padding = longest - length;
            let own = if self.in_front { padding..longest } else { 0..length };
            mask.extend((0..longest).map(|step| own.contains(&step)));
        }
        Ok(Tensor::from_vec(mask, [self.lengths.len(), longest])?.near(&self.values))
    }
}

impl Collate for Ragged {
    type Batch = Padded;
    #[track_caller]
    fn to_device(batch: Padded, device: Device) -> Result<Padded> {
        Ok(Padded { values: batch.values.to(device).checked()?, ..batch })
    }
    #[track_caller]
    fn collate(items: Vec<Ragged>) -> Result<Padded> {
        let Some(Ragged { values: first, padding, in_front }) = items.first().cloned() else {
            return Err(refused(Fault::value("a batch of nothing", "give at least one sequence")));
        };
        let (shape, dtype) = (first.shape()?, first.dtype()?);
        let mut lengths = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let other = item.values.shape()?;
            if other.is_empty() || shape.is_empty() || other[1..] != shape[1..] || item.values.dtype()? != dtype {
                let what =
                    format!("sequence {place} is {other:?} {}, the first {shape:?} {dtype}", item.values.dtype()?);
                let help = "sequences are [time, ...] and differ in their first size only";
                return Err(refused(Fault::shape(what, help)));
            }
            if item.padding.to_bits() != padding.to_bits() || item.in_front != in_front {
                let what = format!("sequence {place} is padded otherwise than the first");
                return Err(refused(Fault::value(what, "give all sequences of a batch the same padding and side")));
            }
            lengths.push(other[0]);
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let shape = Shape::new(&[&[items.len(), longest], &shape[1..]].concat()).map_err(refused)?;
        let step = shape[2..].iter().product::<usize>();
        let mut values = Value::full(shape, dtype, padding).map_err(refused)?;
        let strides = values.layout().strides().to_vec();
        for (row, (item, length)) in items.iter().zip(&lengths).enumerate() {
            let piece = item.values.value()?.to(Device::Cpu).map_err(refused)?;
            let start = if in_front { longest - length } else { 0 };
            let place = Layout::from_parts(*piece.shape(), &strides[1..], (row * longest + start) * step);
            on!(Device::Cpu, overwrite(&mut values, &place, &piece)).map_err(refused)?;
        }
        Ok(Padded { values: Tensor::from_value(values), lengths, in_front })
    }
}

#[cold]
#[track_caller]
fn refused(fault: Fault) -> Error {
    Error::new("padded", fault)
}
