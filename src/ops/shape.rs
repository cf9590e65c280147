//! Other shapes for the same elements in the same order.

use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Axes, Axis, AxisList, Layout, Shape, SizeList, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::fmt;

/// A rule that gives a shape of the same number of elements.
trait Regroup: fmt::Debug + Send + Sync + 'static {
    const NAME: &'static str;
    fn shape(&self, from: &Shape) -> Result<Shape, Fault>;
}

/// The operation of such a rule: a view wherever strides allow, else a copy.
#[derive(Debug)]
struct Regrouped<R>(R);

impl<R: Regroup> Op for Regrouped<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let shape = self.0.shape(x.shape())?;
        one(match x.layout().reshaped(&shape) {
            Some(layout) => x.with_layout(layout)?,
            None => on!(x.device(), duplicate(x))?.with_layout(Layout::contiguous(shape))?,
        })
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        arriving[0].reshape(call.dims(0))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y in the shape of x"
    }
    fn view(&self) -> Option<&'static str> {
        Some("reshaped")
    }
}

#[derive(Debug)]
struct Reshape(SizeList);

impl Regroup for Reshape {
    const NAME: &'static str = "reshape";
    fn shape(&self, from: &Shape) -> Result<Shape, Fault> {
        self.0.reshape(from)
    }
}

#[derive(Debug)]
struct Flatten(isize, isize);

impl Regroup for Flatten {
    const NAME: &'static str = "flatten";
    fn shape(&self, from: &Shape) -> Result<Shape, Fault> {
        if from.is_empty() {
            return Shape::new(&[1]);
        }
        let (first, last) = (self.0.resolve(from.len())?, self.1.resolve(from.len())?);
        if first > last {
            return Err(Fault::shape(
                format!("axes from {} to {} of rank {}: the first comes after the last", self.0, self.1, from.len()),
                "give the axes in order",
            ));
        }
        let mut sizes: SmallVec<[usize; 8]> = from[..first].into();
        sizes.push(from[first..=last].iter().product());
        sizes.extend_from_slice(&from[last + 1..]);
        Shape::new(&sizes)
    }
}

#[derive(Debug)]
struct Unflatten(isize, SizeList);

impl Regroup for Unflatten {
    const NAME: &'static str = "unflatten";
    fn shape(&self, from: &Shape) -> Result<Shape, Fault> {
        let axis = self.0.resolve(from.len())?;
        let inside = self.1.reshape(&Shape::new(&[from[axis]])?)?;
        Shape::new(&[&from[..axis], &inside, &from[axis + 1..]].concat())
    }
}

#[derive(Debug)]
struct Squeeze(Option<AxisList>);

impl Regroup for Squeeze {
    const NAME: &'static str = "squeeze";
    fn shape(&self, from: &Shape) -> Result<Shape, Fault> {
        let axes = self.0.as_ref().map(|axes| axes.resolve(from.len())).transpose()?;
        let goes = |axis: &usize| axes.as_ref().is_none_or(|axes| axes.contains(axis)) && from[*axis] == 1;
        let sizes: SmallVec<[usize; 8]> = (0..from.len()).filter(|axis| !goes(axis)).map(|axis| from[axis]).collect();
        Shape::new(&sizes)
    }
}

#[derive(Debug)]
struct Unsqueeze(AxisList);

impl Regroup for Unsqueeze {
    const NAME: &'static str = "unsqueeze";
    fn shape(&self, from: &Shape) -> Result<Shape, Fault> {
        let rank = from.len() + self.0.len();
        let new = self.0.resolve(rank)?;
        let mut old = from.iter();
        let sizes: SmallVec<[usize; 8]> =
            (0..rank).filter_map(|axis| if new.contains(&axis) { Some(1) } else { old.next().copied() }).collect();
        Shape::new(&sizes)
    }
}

/// The elements where they are needed next to each other.
#[derive(Debug)]
struct Contiguous;

impl Op for Contiguous {
    fn name(&self) -> &'static str {
        "contiguous"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), contiguous(inputs[0]))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].clone()
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y"
    }
}

impl Tensor {
    /// The same elements in another shape; one size may be -1: the rest. Without a copy wherever strides allow.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::arange(6);
    /// assert_eq!(x.reshape([2, -1]), Tensor::from([[0, 1, 2], [3, 4, 5]]));
    /// assert!(x.reshape([4, -1]).error().unwrap().what().contains("4 does not divide 6"));
    /// ```
    #[track_caller]
    #[doc(alias = "view")]
    pub fn reshape(&self, sizes: impl Sizes) -> Tensor {
        apply(Regrouped(Reshape(sizes.sizes())), [self])
    }

    /// All elements in one axis.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[1, 2], [3, 4]]).flatten(), Tensor::from([1, 2, 3, 4]));
    /// ```
    #[track_caller]
    #[doc(alias = "ravel")]
    pub fn flatten(&self) -> Tensor {
        apply(Regrouped(Flatten(0, -1)), [self])
    }

    /// The axes from `first` to `last`, both included, made one.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let images = Tensor::zeros([8, 3, 4, 4]);
    /// assert_eq!(images.flatten_axes(1, -1).dims()?, [8, 48]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("flatten", "start_dim", "end_dim"))]
    pub fn flatten_axes(&self, first: impl Axis, last: impl Axis) -> Tensor {
        apply(Regrouped(Flatten(first.number(), last.number())), [self])
    }

    /// One axis made several; one of the sizes may be -1: the rest.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 12]);
    /// assert_eq!(x.unflatten(-1, [3, -1]).dims()?, [2, 3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn unflatten(&self, axis: impl Axis, sizes: impl Sizes) -> Tensor {
        apply(Regrouped(Unflatten(axis.number(), sizes.sizes())), [self])
    }

    /// New axes of size 1, at these positions of the result.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3]);
    /// assert_eq!(x.unsqueeze(-1).dims()?, [2, 3, 1]);
    /// assert_eq!(x.unsqueeze([0, 2]).dims()?, [1, 2, 1, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("expand_dims", "newaxis"))]
    pub fn unsqueeze(&self, axes: impl Axes) -> Tensor {
        apply(Regrouped(Unsqueeze(axes.axes())), [self])
    }

    /// Without its axes of size 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([1, 3, 1]).squeeze().dims()?, [3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn squeeze(&self) -> Tensor {
        apply(Regrouped(Squeeze(None)), [self])
    }

    /// Without those of the given axes whose size is 1; the others of them stay.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([1, 3, 1]).squeeze_axes(0).dims()?, [3, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "squeeze")]
    pub fn squeeze_axes(&self, axes: impl Axes) -> Tensor {
        apply(Regrouped(Squeeze(Some(axes.axes()))), [self])
    }

    /// With axes of size 1 in front until there are `rank` of them.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([3]).at_least_rank(2).dims()?, [1, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("atleast_1d", "atleast_2d", "atleast_3d"))]
    pub fn at_least_rank(&self, rank: usize) -> Tensor {
        match self.value() {
            Ok(value) if value.rank() < rank => {
                let mut sizes: SmallVec<[usize; 8]> = SmallVec::from_elem(1, (rank - value.rank()).min(64));
                sizes.extend_from_slice(value.dims());
                self.reshape(&sizes)
            }
            _ => self.clone(),
        }
    }

    /// Dense and in row-major order: itself where it already is, else a copy.
    ///
    /// Operations take any strides; this is for one that reads the same elements many times.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3]);
    /// assert!(x.contiguous().shares_memory(&x));
    /// assert!(!x.t().contiguous().shares_memory(&x));
    /// ```
    #[track_caller]
    pub fn contiguous(&self) -> Tensor {
        match self.value() {
            Ok(value) if value.is_contiguous() => self.clone(),
            _ => apply(Contiguous, [self]),
        }
    }

    /// Coordinates on a grid: tensor `i` repeats the numbers of input `i` along axis `i` (NumPy's `indexing="ij"`).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let [y, x] = Tensor::mesh([&Tensor::arange(2), &Tensor::arange(3)]);
    /// assert_eq!(y, Tensor::from([[0, 0, 0], [1, 1, 1]]));
    /// assert_eq!(x, Tensor::from([[0, 1, 2], [0, 1, 2]]));
    /// ```
    #[track_caller]
    #[doc(alias("meshgrid", "mgrid"))]
    pub fn mesh<const N: usize>(axes: [&Tensor; N]) -> [Tensor; N] {
        let mut columns = axes.map(Tensor::clone);
        for (axis, column) in columns.iter_mut().enumerate() {
            let mut sizes = [1isize; N];
            sizes[axis] = -1;
            *column = column.reshape(sizes);
        }
        Tensor::broadcast(columns.each_ref())
    }
}
