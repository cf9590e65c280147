//! How tensors are read: here errors come out.

use super::Tensor;
use crate::device::{Device, Value};
use crate::error::{Error, Fault, Result};
use crate::layout::{DType, Element, Shape, dispatch};
use std::panic::Location;

impl Tensor {
    /// The shape.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(&Tensor::zeros([2, 3]).shape()?[..], &[2, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn shape(&self) -> Result<Shape> {
        Ok(*self.value()?.shape())
    }
    /// The sizes, where the number of axes is known: `let [rows, columns] = x.dims()?`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let [rows, columns] = Tensor::zeros([2, 3]).dims()?;
    /// assert_eq!((rows, columns), (2, 3));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        let at = Location::caller();
        let sizes = self.value()?.dims();
        sizes.try_into().map_err(|_| {
            let what = format!("{N} axes were expected, the tensor has {}", sizes.len());
            self.refuse("dims", Fault::shape(what, "match the pattern to the shape, or read it with shape()"), at)
        })
    }
    /// The size along one axis; negative ones count from the end.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([2, 3]).size(-1)?, 3);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn size(&self, axis: impl crate::layout::Axis) -> Result<usize> {
        let at = Location::caller();
        let value = self.value()?;
        let axis = axis.resolve(value.rank()).map_err(|fault| self.refuse("size", fault, at))?;
        Ok(value.dims()[axis])
    }
    /// The number of axes.
    ///
    /// ```
    /// assert_eq!(chainrule::Tensor::zeros([2, 3]).rank()?, 2);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn rank(&self) -> Result<usize> {
        Ok(self.value()?.rank())
    }
    /// The number of elements.
    ///
    /// ```
    /// assert_eq!(chainrule::Tensor::zeros([2, 3]).count()?, 6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "numel")]
    pub fn count(&self) -> Result<usize> {
        Ok(self.value()?.count())
    }
    /// The element type.
    ///
    /// ```
    /// use chainrule::{DType, Tensor};
    /// assert_eq!(Tensor::from([1, 2]).dtype()?, DType::I64);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn dtype(&self) -> Result<DType> {
        Ok(self.value()?.dtype())
    }
    /// Where the tensor lives.
    ///
    /// ```
    /// use chainrule::{Device, Tensor};
    /// assert_eq!(Tensor::zeros([2]).device()?, Device::Cpu);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn device(&self) -> Result<Device> {
        Ok(self.value()?.device())
    }
    /// The only number of a tensor that has one.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1.0, 2.0]).sum().item()?, 3.0);
    /// assert!(Tensor::from([1.0, 2.0]).item().is_err());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn item(&self) -> Result<f64> {
        let at = Location::caller();
        let value = self.value()?;
        if value.count() != 1 {
            let what = format!("one number was expected, the tensor has {}", value.count());
            return Err(self.refuse(
                "item",
                Fault::shape(what, "reduce it first, with sum() or mean(), or take to_vec()"),
                at,
            ));
        }
        dispatch!(value.dtype(), T => {
            let here = value.to(Device::Cpu);
            let read = here.and_then(|here| here.strided::<T>().map(|s| s.data[s.layout.offset()].to_f64()));
            read.map_err(|fault| self.refuse("item", fault, at))
        })
    }
    /// All numbers, row by row, converted to the wanted type.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.transpose(0, 1).to_vec::<f64>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.with_slice(<[T]>::to_vec)
    }
    /// Lends all numbers, row by row, without a copy where they stand so and have that type already.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let largest = Tensor::from([1.0, 3.0]).with_slice(|x: &[f32]| x.iter().cloned().fold(f32::MIN, f32::max))?;
    /// assert_eq!(largest, 3.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn with_slice<T: Element, R>(&self, read: impl FnOnce(&[T]) -> R) -> Result<R> {
        let at = Location::caller();
        let value = self.value()?;
        let dense = super::dense_as(value, T::DTYPE).map_err(|fault| self.refuse("to_vec", fault, at))?;
        dense.dense::<T>().map(read).map_err(|fault| self.refuse("to_vec", fault, at))
    }
    /// Writes all numbers, row by row, into a slice of the same length.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let mut answer = [0.0f32; 2];
    /// (Tensor::from([1.0, 2.0]) * 2.0).read_into(&mut answer)?;
    /// assert_eq!(answer, [2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn read_into<T: Element>(&self, into: &mut [T]) -> Result<()> {
        let at = Location::caller();
        let value = self.value()?;
        if value.count() != into.len() {
            let what = format!("the tensor has {} numbers, the slice {}", value.count(), into.len());
            return Err(self.refuse("read_into", Fault::shape(what, "give a slice of the same length"), at));
        }
        self.with_slice(|numbers: &[T]| into.copy_from_slice(numbers))
    }
    /// An error about this tensor alone.
    #[cold]
    pub(crate) fn refuse(&self, operation: &'static str, fault: Fault, at: &'static Location<'static>) -> Error {
        Error::with(operation, fault, super::apply::operands_of(&[self]), at)
    }
    /// Do both show the same memory?
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3]);
    /// assert!(x.transpose(0, 1).shares_memory(&x));
    /// ```
    pub fn shares_memory(&self, other: &Tensor) -> bool {
        matches!((self.value(), other.value()), (Ok(a), Ok(b)) if Value::shares_memory(a, b))
    }
}

/// Are shape, element type and every number equal? NaN equals nothing, and neither does a failed tensor.
///
/// ```
/// use chainrule::Tensor;
/// assert_eq!(Tensor::from([1.0, 2.0]) * 2.0, Tensor::from([2.0, 4.0]));
/// assert_ne!(Tensor::from([1, 2]), Tensor::from([[1, 2]]));
/// ```
impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        let (Ok(a), Ok(b)) = (self.value(), other.value()) else { return false };
        if a.shape() != b.shape() || a.dtype() != b.dtype() {
            return false;
        }
        let (Ok(a), Ok(b)) = (super::dense_as(a, a.dtype()), super::dense_as(b, b.dtype())) else { return false };
        dispatch!(a.dtype(), T => a.slice::<T>() == b.slice::<T>())
    }
}
