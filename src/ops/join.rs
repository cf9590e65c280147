//! Tensors put together: one after another, on top of each other, repeated, rolled.

use super::slice::part;
use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Axes, Axis, AxisList, DType, Integer, Layout, Shape, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_slice, one};
use crate::tensor::{Tensor, refused};
use smallvec::SmallVec;
use std::borrow::Borrow;

/// One after another along an axis.
#[derive(Debug)]
struct Cat(isize);

impl Op for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let first = inputs[0];
        if first.rank() == 0 {
            return Err(Fault::shape("single numbers have no axis to be joined along", "use stack, which adds one"));
        }
        let axis = self.0.resolve(first.rank())?;
        for (which, input) in inputs.iter().enumerate().skip(1) {
            if input.rank() != first.rank() {
                return Err(Fault::shape(
                    format!("input 0 has rank {}, input {which} has rank {}", first.rank(), input.rank()),
                    "all must have the same number of axes; unsqueeze adds one",
                ));
            }
            let differs = |other: &usize| *other != axis && input.dims()[*other] != first.dims()[*other];
            if let Some(other) = (0..first.rank()).find(differs) {
                return Err(Fault::shape(
                    format!(
                        "the sizes along axis {other} differ: {} in input 0, {} in input {which}",
                        first.dims()[other],
                        input.dims()[other]
                    ),
                    format!("joined along axis {axis}, all other sizes must be equal"),
                ));
            }
        }
        one(match inputs {
            [only] => (*only).clone(),
            _ => on!(first.device(), join(inputs, axis))?,
        })
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match self.0.resolve(call.dims(0).len()) {
            Ok(axis) => {
                let start: usize = (0..which).map(|earlier| call.dims(earlier)[axis]).sum();
                arriving[0].narrow(axis, start, call.dims(which)[axis])
            }
            Err(fault) => Tensor::failed(call.error(fault)),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = the part of ∂L/∂y where xᵢ stands"
    }
}

/// On top of each other, along a new axis.
#[derive(Debug)]
struct Stack(isize);

impl Op for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let shape = inputs[0].shape();
        let axis = self.0.resolve(shape.len() + 1)?;
        if let Some(which) = inputs.iter().position(|input| input.shape() != shape) {
            return Err(Fault::shape(
                format!("the shapes differ: {shape:?} in input 0, {:?} in input {which}", inputs[which].dims()),
                "stacked tensors must all have one shape; cat joins different sizes",
            ));
        }
        let mut sizes: SmallVec<[usize; 8]> = shape[..].into();
        sizes.insert(axis, 1);
        let sizes = Shape::new(&sizes)?;
        let mut sheets = Vec::with_capacity(inputs.len());
        for input in inputs {
            let mut strides: SmallVec<[isize; 8]> = input.layout().strides().into();
            strides.insert(axis, 0);
            sheets.push(input.with_layout(Layout::from_parts(sizes, &strides, input.layout().offset()))?);
        }
        let sheets: SmallVec<[&Value; 4]> = sheets.iter().collect();
        one(on!(inputs[0].device(), join(&sheets, axis))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].select(self.0, which)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = position i of ∂L/∂y"
    }
}

/// Moved along axes; what leaves at one end comes in at the other.
#[derive(Debug)]
struct Roll {
    shifts: SmallVec<[isize; 8]>,
    axes: AxisList,
}

impl Op for Roll {
    fn name(&self) -> &'static str {
        "roll"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let mut x = inputs[0].clone();
        let axes = self.axes.resolve(x.rank())?;
        if axes.len() != self.shifts.len() {
            return Err(Fault::value(
                format!("{} shifts for {} axes", self.shifts.len(), axes.len()),
                "give one shift for each axis",
            ));
        }
        for (&axis, &shift) in axes.iter().zip(&self.shifts) {
            let size = x.dims()[axis];
            let start = if size == 0 { 0 } else { shift.rem_euclid(size as isize) as usize };
            if start == 0 {
                continue;
            }
            let end = x.with_layout(part(x.layout(), axis, size - start, start)?)?;
            let beginning = x.with_layout(part(x.layout(), axis, 0, size - start)?)?;
            x = on!(x.device(), join(&[&end, &beginning], axis))?;
        }
        one(x)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let axes = match self.axes.resolve(call.dims(0).len()) {
            Ok(axes) => axes,
            Err(fault) => return Tensor::failed(call.error(fault)),
        };
        let size = |axis: usize| call.dims(0)[axis].max(1) as isize;
        let back = axes.iter().zip(&self.shifts).map(|(&axis, shift)| -(shift % size(axis))).collect();
        apply(Roll { shifts: back, axes: self.axes.clone() }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, rolled back"
    }
}

/// The element type that all have room in.
fn common<T: Borrow<Tensor>>(tensors: &[T]) -> Option<DType> {
    let mut types = tensors.iter().filter_map(|tensor| tensor.borrow().dtype().ok());
    let first = types.next()?;
    Some(types.fold(first, DType::promote))
}

/// Applies an operation to all, cast to their common element type.
#[track_caller]
fn join<T: Borrow<Tensor>>(op: impl Op, tensors: &[T]) -> Tensor {
    let mut same = Vec::with_capacity(tensors.len());
    let dtype = common(tensors).unwrap_or(DType::F32);
    for tensor in tensors {
        same.push(tensor.borrow().to_dtype(dtype));
    }
    let same: SmallVec<[&Tensor; 4]> = same.iter().collect();
    apply_slice(op, &same)
}

impl Tensor {
    /// The tensors one after another along an existing axis; other sizes must agree, element types are promoted.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::from([[1, 2]]), Tensor::from([[3, 4], [5, 6]]));
    /// assert_eq!(Tensor::cat(&[&a, &b], 0), Tensor::from([[1, 2], [3, 4], [5, 6]]));
    /// ```
    #[track_caller]
    #[doc(alias("concat", "concatenate"))]
    pub fn cat<T: Borrow<Tensor>>(tensors: &[T], axis: impl Axis) -> Tensor {
        join(Cat(axis.number()), tensors)
    }

    /// The tensors, all of one shape, on top of each other along a new axis.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::from([1, 2]), Tensor::from([3, 4]));
    /// assert_eq!(Tensor::stack(&[&a, &b], 0), Tensor::from([[1, 2], [3, 4]]));
    /// assert_eq!(Tensor::stack(&[&a, &b], -1), Tensor::from([[1, 3], [2, 4]]));
    /// ```
    #[track_caller]
    pub fn stack<T: Borrow<Tensor>>(tensors: &[T], axis: impl Axis) -> Tensor {
        join(Stack(axis.number()), tensors)
    }

    /// The tensors side by side: along axis 1, or along axis 0 where they have no other.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::from([[1], [2]]), Tensor::from([[3], [4]]));
    /// assert_eq!(Tensor::hstack(&[&a, &b]), Tensor::from([[1, 3], [2, 4]]));
    /// ```
    #[track_caller]
    #[doc(alias = "column_stack")]
    pub fn hstack<T: Borrow<Tensor>>(tensors: &[T]) -> Tensor {
        let mut list: Vec<Tensor> = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            list.push(tensor.borrow().at_least_rank(1));
        }
        let flat = list.first().is_some_and(|first| matches!(first.rank(), Ok(1)));
        Tensor::cat(&list, if flat { 0 } else { 1 })
    }

    /// The tensors below each other: along axis 0, where a vector counts as a row.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::from([1, 2]), Tensor::from([3, 4]));
    /// assert_eq!(Tensor::vstack(&[&a, &b]), Tensor::from([[1, 2], [3, 4]]));
    /// ```
    #[track_caller]
    #[doc(alias = "row_stack")]
    pub fn vstack<T: Borrow<Tensor>>(tensors: &[T]) -> Tensor {
        let mut list: Vec<Tensor> = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            list.push(tensor.borrow().at_least_rank(2));
        }
        Tensor::cat(&list, 0)
    }

    /// Matrices along the diagonal of a larger one, zeros elsewhere.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::from([[1, 2]]), Tensor::from([[3], [4]]));
    /// assert_eq!(Tensor::block_diagonal(&[&a, &b]), Tensor::from([[1, 2, 0], [0, 0, 3], [0, 0, 4]]));
    /// ```
    #[track_caller]
    #[doc(alias = "block_diag")]
    pub fn block_diagonal<T: Borrow<Tensor>>(tensors: &[T]) -> Tensor {
        let width = |tensor: &Tensor| tensor.value().ok().and_then(|value| value.dims().last().copied()).unwrap_or(1);
        let total = tensors.iter().fold(0, |sum: usize, tensor| sum.saturating_add(width(tensor.borrow())));
        let mut left = 0;
        let mut rows: Vec<Tensor> = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let block = tensor.borrow().at_least_rank(2);
            let right = total.saturating_sub(left).saturating_sub(width(&block));
            rows.push(block.pad(&[(left.number(), right.number())], super::Pad::Zeros));
            left = left.saturating_add(width(&block));
        }
        Tensor::cat(&rows, 0)
    }

    /// Moved along axes: what leaves at one end comes in at the other. One shift for each axis.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::arange(5);
    /// assert_eq!(x.roll(2, 0), Tensor::from([3, 4, 0, 1, 2]));
    /// assert_eq!(x.roll(-1, 0), Tensor::from([1, 2, 3, 4, 0]));
    /// ```
    #[track_caller]
    pub fn roll(&self, shifts: impl Sizes, axes: impl Axes) -> Tensor {
        apply(Roll { shifts: shifts.sizes().as_slice().into(), axes: axes.axes() }, [self])
    }

    /// The whole tensor repeated `counts[axis]` times along each axis, as tiles; counts align at the last axis.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2]]);
    /// assert_eq!(x.repeat([2, 2]), Tensor::from([[1, 2, 1, 2], [1, 2, 1, 2]]));
    /// assert_eq!(x.repeat(2), Tensor::from([[1, 2, 1, 2]]));
    /// ```
    #[track_caller]
    #[doc(alias = "tile")]
    pub fn repeat(&self, counts: impl Sizes) -> Tensor {
        let counts = match counts.sizes().shape() {
            Ok(counts) => counts,
            Err(fault) => return refused("repeat", fault, &[self]),
        };
        let mut x = self.at_least_rank(counts.len());
        // From the last axis on, so that the largest copy is one of long blocks.
        for (back, &count) in counts.iter().rev().enumerate() {
            if count != 1 {
                x = x.repeat_axis(-1 - back as isize, count, true);
            }
        }
        x
    }

    /// Every position of an axis `count` times, next to each other.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1, 2]).repeat_interleave(2, 0), Tensor::from([1, 1, 2, 2]));
    /// ```
    #[track_caller]
    pub fn repeat_interleave(&self, count: usize, axis: impl Axis) -> Tensor {
        self.repeat_axis(axis.number(), count, false)
    }

    /// Repeats an axis as a whole, or each of its positions: as [before, count, after], of which the middle is expanded.
    #[track_caller]
    fn repeat_axis(&self, axis: isize, count: usize, whole: bool) -> Tensor {
        let value = match self.value() {
            Ok(value) => value,
            Err(_) => return self.clone(),
        };
        let axis = match axis.resolve(value.rank()) {
            Ok(axis) => axis,
            Err(fault) => return refused(if whole { "repeat" } else { "repeat_interleave" }, fault, &[self]),
        };
        let (before, after) = value.dims().split_at(if whole { axis } else { axis + 1 });
        let (before, after) = (before.iter().product::<usize>(), after.iter().product::<usize>());
        let mut sizes: SmallVec<[usize; 8]> = value.dims().into();
        sizes[axis] = sizes[axis].saturating_mul(count);
        self.reshape([before, 1, after]).expand([before, count, after]).reshape(&sizes)
    }
}
