//! From and to the arrays of the `ndarray` crate.

use super::Tensor;
use crate::device::copy::Arrange;
use crate::device::on;
use crate::device::{Device, Value};
use crate::error::{Error, Fault, Result};
use crate::layout::{Element, Shape};
use ndarray::{Array, ArrayBase, ArrayD, ArrayViewD, Axis, Data, Dimension, IxDyn, ShapeBuilder};
use std::panic::Location;

impl<T: Element, S: Data<Elem = T>, D: Dimension> From<&ArrayBase<S, D>> for Tensor {
    /// A tensor of an array's numbers. They are copied once, since a tensor's memory is its own.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let array = ndarray::array![[1.0f32, 2.0], [3.0, 4.0]];
    /// assert_eq!(Tensor::from(&array), Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
    /// assert_eq!(Tensor::from(&array.t()), Tensor::from([[1.0, 3.0], [2.0, 4.0]]));
    /// ```
    #[track_caller]
    fn from(array: &ArrayBase<S, D>) -> Tensor {
        let at = Location::caller();
        let value = Shape::new(array.shape()).and_then(|shape| {
            Value::build::<T>(shape, |out| match array.as_slice() {
                Some(numbers) => out.copy_from_slice(numbers),
                None => out.iter_mut().zip(array.iter()).for_each(|(out, x)| *out = *x),
            })
        });
        match value {
            Ok(value) => Tensor::from_value(value),
            Err(fault) => Tensor::failed(Error::with("from", fault, Vec::new(), at)),
        }
    }
}

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    /// As from a borrowed array.
    #[track_caller]
    fn from(array: Array<T, D>) -> Tensor {
        Tensor::from(&array)
    }
}

impl Tensor {
    /// Lends the numbers as an `ndarray` view of any strides: without a copy where the tensor has that element type.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]).t();
    /// let first = ndarray::Axis(1);
    /// let read = x.with_ndarray::<f32, Vec<f32>>(|view| view.index_axis(first, 0).iter().copied().collect());
    /// assert_eq!(read?, [1.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn with_ndarray<T: Element, R>(&self, read: impl FnOnce(ArrayViewD<'_, T>) -> R) -> Result<R> {
        let at = Location::caller();
        let value = self.value()?;
        let lend = || -> std::result::Result<R, Fault> {
            let value = on!(Device::Cpu, cast(&value.to(Device::Cpu)?, T::DTYPE))?;
            Ok(read(view::<T>(&value)?))
        };
        lend().map_err(|fault| self.refuse("with_ndarray", fault, at))
    }

    /// The numbers as an `ndarray` array of their own.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.to_ndarray::<i64>()?, ndarray::array![[1, 2], [3, 4]].into_dyn());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        self.with_ndarray(|view: ArrayViewD<'_, T>| view.as_standard_layout().into_owned())
    }
}

/// A view of the same memory. `ndarray` takes steps of zero or more from the first element in memory; axes that go
/// backward are turned around afterwards.
fn view<T: Element>(value: &Value) -> std::result::Result<ArrayViewD<'_, T>, Fault> {
    let misfit = |error: ndarray::ShapeError| Fault::defect(error.to_string());
    if value.count() == 0 {
        return ArrayViewD::from_shape(IxDyn(value.dims()), &[]).map_err(misfit);
    }
    let strided = value.strided::<T>()?;
    let mut first = strided.layout.offset() as isize;
    let mut backward = Vec::new();
    let mut steps = Vec::with_capacity(value.rank());
    for (axis, (&size, &stride)) in value.dims().iter().zip(strided.layout.strides()).enumerate() {
        if stride < 0 {
            backward.push(axis);
            first += stride * (size as isize - 1);
        }
        steps.push(stride.unsigned_abs());
    }
    let data = strided.data.get(first as usize..).unwrap_or(&[]);
    let shape = IxDyn(value.dims()).strides(IxDyn(&steps));
    let mut view = ArrayViewD::from_shape(shape, data).map_err(misfit)?;
    for axis in backward {
        view.invert_axis(Axis(axis));
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_strides_are_lent() {
        let x = Tensor::arange(24).reshape([2, 3, 4]);
        let views = [x.clone(), x.permute([2, 0, 1]), x.flip([0, 2]), x.slice((.., 1..2)), x.slice((0, 1..1))];
        for view in views.iter().chain([&x.select(0, 1).unsqueeze(0).expand([5, 3, 4]), &Tensor::arange(1).squeeze()]) {
            let array = view.to_ndarray::<i64>().unwrap();
            assert_eq!(array.iter().copied().collect::<Vec<_>>(), view.to_vec::<i64>().unwrap());
            assert_eq!(&Tensor::from(&array), view);
        }
        let place = x.with_slice(|numbers: &[i64]| numbers.as_ptr()).unwrap();
        assert_eq!(x.flip(0).flip(0).with_ndarray(|view: ArrayViewD<'_, i64>| view.as_ptr()).unwrap(), place);
    }
}
