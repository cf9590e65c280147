//! Reading by position.

use super::{Assemble, Gather, no_gradient};
use crate::device::index::Index;
use crate::device::{Value, on};
use crate::error::{Error, Fault};
use crate::layout::Axis;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_slice, one};
use crate::tensor::Tensor;

/// Slices along an axis at given positions.
#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) axis: isize,
    pub(crate) usage: Use,
}

/// What slices are taken for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// The positions form one row.
    IndexSelect,
    /// The positions may have any shape, which takes the place of the axis.
    Take,
    /// Rows of a table; the row at `padding` learns nothing.
    Embedding { padding: Option<isize> },
    /// A gradient: slices at `blank` are zeros.
    Dual { blank: Option<usize> },
}

impl Use {
    /// The padding row, counted from the front.
    fn padding(self, rows: usize) -> Result<Option<usize>, Fault> {
        let Use::Embedding { padding: Some(padding) } = self else { return Ok(None) };
        let size = rows as isize;
        if padding < -size || padding >= size {
            return Err(Fault::index(
                format!("the padding index {padding} is out of range for {rows} rows"),
                "it is the row of the table that stands for padding; -1 is the last",
            ));
        }
        Ok(Some(padding.rem_euclid(size) as usize))
    }
}

impl Op for Select {
    fn name(&self) -> &'static str {
        match self.usage {
            Use::IndexSelect => "index_select",
            Use::Take => "take",
            Use::Embedding { .. } => "embedding",
            Use::Dual { .. } => "select_dual",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let [x, index] = inputs else { return Err(Fault::defect("two operands were expected")) };
        let mut blank = None;
        match self.usage {
            Use::IndexSelect if index.rank() > 1 => {
                return Err(Fault::shape(
                    format!("the index has {} axes", index.rank()),
                    "give the positions as one row (flatten them), or use gather for one position per element",
                ));
            }
            Use::Embedding { .. } => {
                if x.rank() != 2 {
                    return Err(Fault::shape(
                        format!("the table has {} axes", x.rank()),
                        "a table of embeddings is a matrix: a row for each word",
                    ));
                }
                self.usage.padding(x.dims()[0])?;
                on!(index.device(), names(index, x.dims()[0]))?;
            }
            Use::Dual { blank: at } => blank = at,
            _ => {}
        }
        let axis = self.axis.resolve(x.rank())?;
        let taken = on!(x.device(), select(x, axis, index, blank))?;
        // A single position keeps its axis in PyTorch's index_select.
        if matches!(self.usage, Use::IndexSelect) && index.rank() == 0 {
            let mut sizes = x.dims().to_vec();
            sizes[axis] = 1;
            return one(taken.with_layout(crate::layout::Layout::contiguous(crate::Shape::new(&sizes)?))?);
        }
        one(taken)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if which > 0 {
            return no_gradient(call);
        }
        Tensor::compute(|| {
            let rank = call.dims(0).len();
            let axis = self.axis.resolve(rank).map_err(|fault| call.error(fault))?;
            let size = call.dims(0)[axis];
            let skip = match self.usage {
                Use::Dual { blank } => blank,
                usage => usage.padding(size).map_err(|fault| call.error(fault))?,
            };
            let mut index = call.input(1);
            if matches!(self.usage, Use::IndexSelect) && call.dims(1).is_empty() {
                index = index.reshape([1]);
            }
            Ok(apply(Assemble { axis: self.axis, rank, size, skip }, [&arriving[0], &index]))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x[index[j]] += ∂L/∂y[j]"
    }
    fn roles(&self) -> &'static [&'static str] {
        match self.usage {
            Use::Embedding { .. } => &["table", "words"],
            _ => &["input", "index"],
        }
    }
}

/// Tuples of positions as positions into the flattened leading axes.
#[derive(Debug)]
struct FlatPositions(crate::Shape);

impl Op for FlatPositions {
    fn name(&self) -> &'static str {
        "index"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let mut shape = crate::Shape::new(&[])?;
        for list in inputs {
            shape = shape.broadcast(list.shape())?;
        }
        let mut lists = Vec::with_capacity(inputs.len());
        for list in inputs {
            lists.push(list.with_layout(list.layout().expanded(&shape)?)?);
        }
        let lists: Vec<&Value> = lists.iter().collect();
        one(on!(inputs[0].device(), flat_positions(&lists, &self.0))?)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "positions have no gradient"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err("index has no gradient for its positions")
    }
}

impl Tensor {
    /// The slices along `axis` at the positions of a row: `y[.., j, ..] = x[.., index[j], ..]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// let picked = x.index_select(1, &Tensor::from([2, 0, -1]));
    /// assert_eq!(picked.to_vec::<f32>()?, [3.0, 1.0, 3.0, 6.0, 4.0, 6.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_select(&self, axis: impl Axis, index: &Tensor) -> Tensor {
        apply(Select { axis: axis.number(), usage: Use::IndexSelect }, [self, index])
    }
    /// One element for each position: `y[i, j, k] = x[i, index[i, j, k], k]` for axis 1. The result has the shape of the
    /// index, which may be smaller than the tensor along other axes.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let scores = Tensor::from([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]);
    /// let labels = Tensor::from([[1], [0]]);
    /// assert_eq!(scores.gather(1, &labels).to_vec::<f32>()?, [0.7, 0.6]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn gather(&self, axis: impl Axis, index: &Tensor) -> Tensor {
        apply(Gather { axis: axis.number() }, [self, index])
    }
    /// As [`gather`](Tensor::gather), where tensor and index broadcast to each other along all axes but `axis`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[3.0, 1.0], [2.0, 4.0]]);
    /// assert_eq!(x.take_along_axis(1, &Tensor::from([[1]])).to_vec::<f32>()?, [1.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "take_along_dim")]
    pub fn take_along_axis(&self, axis: impl Axis, index: &Tensor) -> Tensor {
        let written = axis.number();
        let sizes = match (self.shape(), index.shape()) {
            (Ok(own), Ok(other)) => along(&own, &other, written),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        match sizes {
            Ok((own, other)) => apply(Gather { axis: written }, [&self.expand(own), &index.expand(other)]),
            Err(fault) => Tensor::failed(Error::new("take_along_axis", fault)),
        }
    }
    /// Elements of the flattened tensor at positions of any shape.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.take(&Tensor::from([3, 0])).to_vec::<f32>()?, [4.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn take(&self, index: &Tensor) -> Tensor {
        apply(Select { axis: 0, usage: Use::Take }, [&self.reshape([-1]), index])
    }
    /// Slices along `axis` at positions of any shape, which takes the place of the axis.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// assert_eq!(x.take_slices(1, &Tensor::from([[0, 1], [1, 2]])).dims()?, [2, 2, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn take_slices(&self, axis: impl Axis, index: &Tensor) -> Tensor {
        apply(Select { axis: axis.number(), usage: Use::Take }, [self, index])
    }
    /// Elements (or slices) at tuples of positions, one tensor of positions for each leading axis, as NumPy's
    /// `x[rows, columns]`. The tensors broadcast to each other.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// let diagonal = x.index(&[&Tensor::from([0, 1]), &Tensor::from([0, 1])]);
    /// assert_eq!(diagonal.to_vec::<f32>()?, [1.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index(&self, positions: &[&Tensor]) -> Tensor {
        match self.flattened_for(positions) {
            Ok((flat, at, _)) => apply(Select { axis: 0, usage: Use::Take }, [&flat, &at]),
            Err(error) => Tensor::failed(error),
        }
    }
    /// The elements where the mask is true, in row-major order. Mask and tensor broadcast. How many there are depends on
    /// the numbers: in a model that shall have fixed sizes use `where`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// let mask = Tensor::from([[true, false], [false, true]]);
    /// assert_eq!(x.masked_select(&mask).to_vec::<f32>()?, [1.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Tensor {
        match self.broadcast_with_mask("masked_select", mask) {
            Ok((x, mask)) => x.take(&mask.flat_nonzero()),
            Err(error) => Tensor::failed(error),
        }
    }

    /// The tensor with its leading axes made one, the positions in it, and the number of these axes.
    #[track_caller]
    pub(super) fn flattened_for(&self, positions: &[&Tensor]) -> crate::Result<(Tensor, Tensor, usize)> {
        let shape = self.shape()?;
        let axes = positions.len();
        if axes > shape.len() || axes == 0 {
            let fault = Fault::shape(
                format!("positions for {axes} axes of a tensor of rank {}", shape.len()),
                "give a tensor of positions for each leading axis that you want to index, at least one",
            );
            return Err(Error::new("index", fault));
        }
        let at = apply_slice(FlatPositions(shape), positions);
        let mut sizes = vec![shape[..axes].iter().product::<usize>()];
        sizes.extend_from_slice(&shape[axes..]);
        Ok((self.reshape(sizes), at.checked()?, axes))
    }
    /// Tensor and boolean mask in their common shape.
    #[track_caller]
    pub(super) fn broadcast_with_mask(
        &self,
        operation: &'static str,
        mask: &Tensor,
    ) -> crate::Result<(Tensor, Tensor)> {
        let (own, other) = (self.shape()?, mask.shape()?);
        if mask.dtype()? != crate::DType::Bool {
            let fault = Fault::dtype(
                format!("the mask is {}", mask.dtype()?),
                "a mask is a boolean tensor, such as a comparison gives",
            );
            return Err(Error::new(operation, fault));
        }
        match own.broadcast(&other) {
            Ok(shape) => Ok((self.expand(shape), mask.expand(shape))),
            Err(fault) => Err(Error::new(operation, fault)),
        }
    }
}

/// The shapes of tensor and index broadcast along all axes but one.
fn along(own: &crate::Shape, other: &crate::Shape, axis: isize) -> Result<(crate::Shape, crate::Shape), Fault> {
    if own.len() != other.len() {
        return Err(Fault::shape(
            format!("the tensor has {} axes, the index {}", own.len(), other.len()),
            "give the index as many axes as the tensor; sizes of 1 are repeated",
        ));
    }
    let axis = axis.resolve(own.len())?;
    let without = |shape: &crate::Shape| {
        let mut sizes = shape.to_vec();
        sizes[axis] = 1;
        crate::Shape::new(&sizes)
    };
    let common = without(own)?.broadcast(&without(other)?)?;
    let with = |size: usize| {
        let mut sizes = common.to_vec();
        sizes[axis] = size;
        crate::Shape::new(&sizes)
    };
    Ok((with(own[axis])?, with(other[axis])?))
}
