//! How tensors are made.

use super::Tensor;
use crate::device::Value;
use crate::error::{Error, Fault, Result};
use crate::layout::{DType, Element, Shape, SizeList, Sizes, dispatch};
use std::panic::Location;

/// Nested arrays and vectors that a tensor can be made of.
pub trait Array<T: Element> {
    /// The sizes, from the outermost.
    fn nested_sizes(&self) -> Vec<usize>;
    /// Appends every number, row by row.
    fn flatten(&self, into: &mut Vec<T>);
}

impl<T: Element> Array<T> for T {
    fn nested_sizes(&self) -> Vec<usize> {
        Vec::new()
    }
    fn flatten(&self, into: &mut Vec<T>) {
        into.push(*self);
    }
}

impl<T: Element, A: Array<T>, const N: usize> Array<T> for [A; N] {
    fn nested_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![N];
        if let Some(first) = self.first() {
            sizes.extend(first.nested_sizes());
        }
        sizes
    }
    fn flatten(&self, into: &mut Vec<T>) {
        self.iter().for_each(|row| row.flatten(into));
    }
}

fn build<T: Element, A: Array<T>>(operation: &'static str, array: &A, at: &'static Location<'static>) -> Tensor {
    let mut numbers = Vec::new();
    array.flatten(&mut numbers);
    let value = Shape::new(&array.nested_sizes())
        .and_then(|shape| Value::build::<T>(shape, |out| out.copy_from_slice(&numbers)));
    made(operation, value, at)
}

/// The tensor of a value, or of the fault that kept it from being made.
fn made(operation: &'static str, value: Result<Value, Fault>, at: &'static Location<'static>) -> Tensor {
    match value {
        Ok(value) => Tensor::from_value(value),
        Err(fault) => Tensor::failed(Error::with(operation, fault, Vec::new(), at)),
    }
}

macro_rules! from_arrays {
    ($($t:ty)*) => { $(
        impl From<$t> for Tensor {
            #[track_caller]
            fn from(number: $t) -> Tensor {
                build::<$t, _>("from", &number, Location::caller())
            }
        }
        impl<const N: usize> From<[$t; N]> for Tensor {
            #[track_caller]
            fn from(array: [$t; N]) -> Tensor {
                build::<$t, _>("from", &array, Location::caller())
            }
        }
        impl<const N: usize, const M: usize> From<[[$t; M]; N]> for Tensor {
            #[track_caller]
            fn from(array: [[$t; M]; N]) -> Tensor {
                build::<$t, _>("from", &array, Location::caller())
            }
        }
        impl<const N: usize, const M: usize, const K: usize> From<[[[$t; K]; M]; N]> for Tensor {
            #[track_caller]
            fn from(array: [[[$t; K]; M]; N]) -> Tensor {
                build::<$t, _>("from", &array, Location::caller())
            }
        }
        impl<const N: usize, const M: usize, const K: usize, const L: usize> From<[[[[$t; L]; K]; M]; N]> for Tensor {
            #[track_caller]
            fn from(array: [[[[$t; L]; K]; M]; N]) -> Tensor {
                build::<$t, _>("from", &array, Location::caller())
            }
        }
    )* };
}

// One float and one integer type only, so that a literal has one meaning: `from([1.0, 2.0])` is f32, `from([1, 2])` i64.
from_arrays! { f32 i64 bool }

impl Tensor {
    /// A tensor of nested arrays, in the element type of the numbers. (`Tensor::from` takes literals: f32, i64, bool.)
    ///
    /// ```
    /// use chainrule::{DType, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]]);
    /// assert_eq!((x.dims()?, x.dtype()?), ([2, 2], DType::F64));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn new<T: Element>(array: impl Array<T>) -> Tensor {
        build("new", &array, Location::caller())
    }
    /// A tensor of a vector's numbers, row by row. Their number must fit the sizes.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.dims()?, [2, 2]);
    /// assert!(Tensor::from_vec(vec![1.0f32], [2, 2]).is_err());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn from_vec<T: Element>(numbers: Vec<T>, sizes: impl Sizes) -> Result<Tensor> {
        Tensor::from_slice(&numbers, sizes)
    }
    /// A tensor of a slice's numbers, row by row. Their number must fit the sizes.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let pixels = [0u8, 128, 255];
    /// assert_eq!(Tensor::from_slice(&pixels, [3])?.to_vec::<u8>()?, pixels);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice<T: Element>(numbers: &[T], sizes: impl Sizes) -> Result<Tensor> {
        let at = Location::caller();
        let value = sizes.sizes().shape().and_then(|shape| {
            if shape.count() != numbers.len() {
                return Err(Fault::shape(
                    format!("{} numbers do not fill the shape {shape:?}, which has {}", numbers.len(), shape.count()),
                    "the product of the sizes must be the number of numbers",
                ));
            }
            Value::build::<T>(shape, |out| out.copy_from_slice(numbers))
        });
        made("from_vec", value, at).checked()
    }
    /// Zeros, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([2, 2]).to_vec::<f32>()?, [0.0; 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn zeros(sizes: impl Sizes) -> Tensor {
        filled("zeros", sizes.sizes(), DType::F32, 0.0, Location::caller())
    }
    /// Ones, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::ones([2]).to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn ones(sizes: impl Sizes) -> Tensor {
        filled("ones", sizes.sizes(), DType::F32, 1.0, Location::caller())
    }
    /// One number everywhere, in the given element type.
    ///
    /// ```
    /// use chainrule::{DType, Tensor};
    /// assert_eq!(Tensor::full([2], 7.0, DType::I32).to_vec::<i32>()?, [7, 7]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn full(sizes: impl Sizes, number: f64, dtype: DType) -> Tensor {
        filled("full", sizes.sizes(), dtype, number, Location::caller())
    }
    /// A single number of rank 0, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::scalar(2.5).item()?, 2.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn scalar(number: f64) -> Tensor {
        filled("scalar", ().sizes(), DType::F32, number, Location::caller())
    }
    /// Zeros in the shape and element type of this tensor.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1, 2]).zeros_like().to_vec::<i64>()?, [0, 0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        self.full_like(0.0)
    }
    /// Ones in the shape and element type of this tensor.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([2]).ones_like().to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        self.full_like(1.0)
    }
    /// One number everywhere, in the shape and element type of this tensor.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([2]).full_like(3.0).to_vec::<f32>()?, [3.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn full_like(&self, number: f64) -> Tensor {
        let at = Location::caller();
        match self.value() {
            Ok(value) => made("full_like", Value::full_on(value.device(), *value.shape(), value.dtype(), number), at),
            Err(error) => Tensor::failed(error),
        }
    }
    /// The identity matrix of `size` rows, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::eye(2).to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "identity")]
    pub fn eye(size: usize) -> Tensor {
        let at = Location::caller();
        let value = Shape::new(&[size, size]).and_then(|shape| {
            Value::build::<f32>(shape, |out| {
                out.fill(0.0);
                out.iter_mut().step_by(size + 1).for_each(|diagonal| *diagonal = 1.0);
            })
        });
        made("eye", value, at)
    }
    /// `start`, `start + step`, ... as long as below `end` (above it for a negative step), f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::range_step(0.0, 1.0, 0.25).to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "arange")]
    pub fn range_step(start: f64, end: f64, step: f64) -> Tensor {
        let at = Location::caller();
        made("range_step", steps(start, end, step, DType::F32), at)
    }
    /// The whole numbers `0 .. count`, i64.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::arange(3).to_vec::<i64>()?, [0, 1, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn arange(count: usize) -> Tensor {
        let at = Location::caller();
        let value = Shape::new(&[count]).and_then(|shape| {
            Value::build::<i64>(shape, |out| out.iter_mut().enumerate().for_each(|(i, o)| *o = i as i64))
        });
        made("arange", value, at)
    }
    /// `count` numbers from `start` to `end`, both included, at equal distances, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 5).to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn linspace(start: f64, end: f64, count: usize) -> Tensor {
        let at = Location::caller();
        let last = count.saturating_sub(1);
        let step = if last > 0 { (end - start) / last as f64 } else { 0.0 };
        let value = Shape::new(&[count]).and_then(|shape| {
            Value::build::<f32>(shape, |out| {
                for (i, o) in out.iter_mut().enumerate() {
                    // Counted from the nearer end, so that both ends are exact.
                    let from_start = start + step * i as f64;
                    *o = if i * 2 <= last { from_start } else { end - step * (last - i) as f64 } as f32;
                }
            })
        });
        made("linspace", value, at)
    }
    /// `count` numbers from `base^start` to `base^end`, at equal ratios, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::logspace(0.0, 2.0, 3, 10.0).to_vec::<f32>()?, [1.0, 10.0, 100.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn logspace(start: f64, end: f64, count: usize, base: f64) -> Tensor {
        let at = Location::caller();
        let last = count.saturating_sub(1).max(1) as f64;
        let value = Shape::new(&[count]).and_then(|shape| {
            Value::build::<f32>(shape, |out| {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = base.powf(start + (end - start) * (i as f64 / last)) as f32;
                }
            })
        });
        made("logspace", value, at)
    }
}

fn filled(
    operation: &'static str,
    sizes: SizeList,
    dtype: DType,
    number: f64,
    at: &'static Location<'static>,
) -> Tensor {
    made(operation, sizes.shape().and_then(|shape| Value::full(shape, dtype, number)), at)
}

fn steps(start: f64, end: f64, step: f64, dtype: DType) -> Result<Value, Fault> {
    if step == 0.0 || !(start.is_finite() && end.is_finite() && step.is_finite()) {
        return Err(Fault::value(
            format!("steps of {step} from {start} to {end}"),
            "start, end and step must be finite, and the step not zero",
        ));
    }
    let count = ((end - start) / step).ceil().max(0.0);
    if count > isize::MAX as f64 / 64.0 {
        return Err(Fault::memory(format!("{count:e} steps"), "take larger steps"));
    }
    let shape = Shape::new(&[count as usize])?;
    dispatch!(dtype, T => Value::build::<T>(shape, |out| {
        for (i, o) in out.iter_mut().enumerate() {
            *o = T::from_f64(start + step * i as f64);
        }
    }))
}
