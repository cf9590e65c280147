//! Parts of a tensor: views that take some positions of an axis, and a tensor with a part replaced.

use super::view::{Seen, View};
use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::{Fault, Result};
use crate::layout::{Axis, Index, IndexList, Indices, Integer, Layout};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_all, apply_many, one};
use crate::tensor::Tensor;

/// Some positions of each axis.
#[derive(Clone, Debug)]
struct Slice(IndexList);

impl View for Slice {
    const NAME: &'static str = "slice";
    const SUFFIX: &'static str = "sliced";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        layout.sliced(&self.0)
    }
}

/// `length` positions of one axis, from `start`.
#[derive(Clone, Debug)]
struct Narrow {
    axis: isize,
    start: isize,
    length: usize,
}

impl View for Narrow {
    const NAME: &'static str = "narrow";
    const SUFFIX: &'static str = "narrowed";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        let axis = self.axis.resolve(layout.rank())?;
        let size = layout.dims()[axis];
        let start = if self.start < 0 { self.start.saturating_add(size as isize) } else { self.start };
        if start < 0 || (start as usize).saturating_add(self.length) > size {
            return Err(Fault::index(
                format!("{} positions from {} of axis {axis}, which has {size}", self.length, self.start),
                "start and length must stay inside the axis",
            ));
        }
        part(layout, axis, start as usize, self.length)
    }
}

/// One position of one axis, which goes away.
#[derive(Clone, Debug)]
struct Select {
    axis: isize,
    position: isize,
}

impl View for Select {
    const NAME: &'static str = "select";
    const SUFFIX: &'static str = "selected";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        let axis = self.axis.resolve(layout.rank())?;
        let mut indices = IndexList::from_elem(Index::ALL, axis);
        indices.push(Index::At(self.position));
        layout.sliced(&indices)
    }
}

/// `length` positions of an axis from `start`, which are known to lie inside.
pub(super) fn part(layout: &Layout, axis: usize, start: usize, length: usize) -> Result<Layout, Fault> {
    let mut indices = IndexList::from_elem(Index::ALL, axis);
    indices.push((start..start + length).into());
    layout.sliced(&indices)
}

/// More parts than this are a mistake: each is a tensor of its own.
const MOST: usize = 1 << 24;

/// How an axis is cut.
#[derive(Clone, Debug)]
enum Cut {
    /// Every part of this size, the last perhaps smaller.
    Every(usize),
    /// So many parts of one size, the last perhaps smaller; perhaps fewer parts.
    AtMost(usize),
    /// Exactly so many equal parts.
    Equal(usize),
    /// Parts of these sizes.
    Sizes(Vec<usize>),
    /// Before these positions.
    Before(Vec<isize>),
    /// Single positions; the axis goes away.
    Single,
}

impl Cut {
    /// How many parts an axis is cut into, at most.
    fn count(&self, size: usize) -> usize {
        match self {
            Cut::Single => size,
            Cut::Every(each) => size.div_ceil((*each).max(1)),
            Cut::AtMost(parts) if size == 0 => *parts,
            Cut::AtMost(parts) => size.min(*parts),
            Cut::Equal(parts) => *parts,
            Cut::Sizes(_) | Cut::Before(_) => 0,
        }
    }
    /// The sizes of the parts of an axis.
    fn sizes(&self, axis: usize, size: usize) -> Result<Vec<usize>, Fault> {
        if self.count(size) > MOST {
            return Err(Fault::memory(
                format!("axis {axis} of size {size} cut into {} parts", self.count(size)),
                "each part is a tensor of its own: use fewer",
            ));
        }
        let every =
            |each: usize| -> Vec<usize> { (0..size.div_ceil(each)).map(|part| each.min(size - part * each)).collect() };
        match self {
            Cut::Single => Ok(vec![1; size]),
            Cut::Every(0) | Cut::AtMost(0) => {
                Err(Fault::value("parts of size 0, or no parts", "give a size, or a number of parts, of at least 1"))
            }
            Cut::Every(_) if size == 0 => Ok(vec![0]),
            Cut::Every(each) => Ok(every(*each)),
            Cut::AtMost(parts) if size == 0 => Ok(vec![0; *parts]),
            Cut::AtMost(parts) => Ok(every(size.div_ceil(*parts))),
            Cut::Equal(parts) if *parts > 0 && size.is_multiple_of(*parts) => Ok(vec![size / parts; *parts]),
            Cut::Equal(parts) => Err(Fault::shape(
                format!("axis {axis} of size {size} does not divide into {parts} equal parts"),
                "use split or chunk for parts of different sizes",
            )),
            Cut::Sizes(sizes) => {
                let sum = sizes.iter().fold(0usize, |sum, &part| sum.saturating_add(part));
                if sum == size {
                    return Ok(sizes.clone());
                }
                Err(Fault::shape(
                    format!("the parts {sizes:?} add up to {sum}, axis {axis} has size {size}"),
                    "the sizes of the parts must add up to the size of the axis",
                ))
            }
            Cut::Before(positions) => {
                let mut from = 0;
                let mut sizes = Vec::with_capacity(positions.len() + 1);
                for &position in positions {
                    let front = if position < 0 { position.saturating_add(size as isize) } else { position };
                    let to = front.clamp(0, size as isize) as usize;
                    sizes.push(to.checked_sub(from).ok_or_else(|| {
                        Fault::value(
                            format!("the positions {positions:?} do not ascend"),
                            "give them in ascending order",
                        )
                    })?);
                    from = to;
                }
                sizes.push(size - from);
                Ok(sizes)
            }
        }
    }
}

/// An axis cut into parts, each a view.
#[derive(Debug)]
struct Split {
    axis: isize,
    cut: Cut,
}

impl Op for Split {
    fn name(&self) -> &'static str {
        match self.cut {
            Cut::Single => "unbind",
            Cut::AtMost(_) => "chunk",
            Cut::Equal(_) => "parts",
            Cut::Before(_) => "split_at",
            Cut::Every(_) | Cut::Sizes(_) => "split",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let layout = inputs[0].layout();
        let axis = self.axis.resolve(layout.rank())?;
        let mut start = 0;
        let mut parts = Outputs::new();
        for length in self.cut.sizes(axis, layout.dims()[axis])? {
            let layout = match self.cut {
                Cut::Single => Select { axis: self.axis, position: start as isize }.look(layout)?,
                _ => part(layout, axis, start, length)?,
            };
            parts.push(inputs[0].with_layout(layout)?);
            start += length;
        }
        Ok(parts)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match self.cut {
            Cut::Single => match self.axis.resolve(call.dims(0).len()) {
                Ok(axis) => Tensor::stack(arriving, axis),
                Err(fault) => Tensor::failed(call.error(fault)),
            },
            _ => Tensor::cat(arriving, self.axis),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = the parts' gradients, joined again"
    }
    fn view(&self) -> Option<&'static str> {
        Some("part")
    }
}

/// A tensor with a part replaced.
#[derive(Debug)]
struct SliceAssign(IndexList);

impl Op for SliceAssign {
    fn name(&self) -> &'static str {
        "slice_assign"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let (base, values) = (inputs[0], inputs[1]);
        let part = Layout::contiguous(*base.shape()).sliced(&self.0)?;
        let values = values.with_layout(values.layout().expanded(part.shape())?)?;
        one(on!(base.device(), replace(base, &[(part, &values)]))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => {
                let zero = Tensor::full((), 0.0, call.dtype(1)).near(&arriving[0]);
                arriving[0].slice_assign(self.0.clone(), &zero)
            }
            _ => arriving[0].slice(self.0.clone()),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, which: usize) -> &'static str {
        match which {
            0 => "∂L/∂x = ∂L/∂y, 0 at the part",
            _ => "∂L/∂values = ∂L/∂y at the part",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "values"]
    }
}

impl Tensor {
    /// A part, without a copy: one index for each axis from the first, and the rest whole.
    ///
    /// A position takes its axis away, a range narrows it; negative numbers count from the end, [`step`](crate::step)
    /// gives a range a step, [`Index`] has new axes and "all the others".
    ///
    /// ```
    /// use chainrule::{Tensor, step};
    /// let x = Tensor::arange(24).reshape([2, 3, 4]);
    /// assert_eq!(x.slice((1, .., -1)).to_vec::<i64>()?, [15, 19, 23]);
    /// assert_eq!(x.slice((.., 1..3, 0)).to_vec::<i64>()?, [4, 8, 16, 20]);
    /// assert_eq!(x.slice((0, 0, step(.., 2))).to_vec::<i64>()?, [0, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("index", "getitem"))]
    pub fn slice(&self, indices: impl Indices) -> Tensor {
        apply(Seen(Slice(indices.indices())), [self])
    }

    /// A tensor with this one's elements, except for a part, which shows `values` (broadcast to it).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3]).slice_assign((.., 1), &Tensor::from([7.0, 8.0]));
    /// assert_eq!(x, Tensor::from([[0.0, 7.0, 0.0], [0.0, 8.0, 0.0]]));
    /// ```
    #[track_caller]
    #[doc(alias("slice_scatter", "select_scatter", "setitem"))]
    pub fn slice_assign(&self, indices: impl Indices, values: &Tensor) -> Tensor {
        match self.dtype() {
            Ok(dtype) => apply(SliceAssign(indices.indices()), [self, &values.to_dtype(dtype)]),
            Err(_) => self.clone(),
        }
    }

    /// `length` positions of one axis, from `start`, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::arange(6).narrow(0, 2, 3), Tensor::from([2, 3, 4]));
    /// ```
    #[track_caller]
    pub fn narrow(&self, axis: impl Axis, start: impl Integer, length: usize) -> Tensor {
        apply(Seen(Narrow { axis: axis.number(), start: start.number(), length }), [self])
    }

    /// One position of one axis, which goes away, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.select(1, -1), Tensor::from([2, 4]));
    /// ```
    #[track_caller]
    pub fn select(&self, axis: impl Axis, position: impl Integer) -> Tensor {
        apply(Seen(Select { axis: axis.number(), position: position.number() }), [self])
    }

    /// `N` equal parts of an axis, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let [query, key, value] = Tensor::zeros([2, 5, 12]).parts(-1);
    /// assert_eq!(query.dims()?, [2, 5, 4]);
    /// # let _ = (key, value);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "chunk")]
    pub fn parts<const N: usize>(&self, axis: impl Axis) -> [Tensor; N] {
        apply_many(Split { axis: axis.number(), cut: Cut::Equal(N) }, &[self])
    }

    /// At most `count` parts of one size (the last perhaps smaller), without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let parts = Tensor::arange(7).chunk(3, 0)?;
    /// assert_eq!(parts[2], Tensor::from([6]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn chunk(&self, count: usize, axis: impl Axis) -> Result<Vec<Tensor>> {
        self.cut(axis.number(), Cut::AtMost(count))
    }

    /// Parts of `size` positions each (the last perhaps smaller), without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let batches = Tensor::arange(5).split(2, 0)?;
    /// assert_eq!(batches[1], Tensor::from([2, 3]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, size: usize, axis: impl Axis) -> Result<Vec<Tensor>> {
        self.cut(axis.number(), Cut::Every(size))
    }

    /// Parts of the given sizes, which add up to the size of the axis, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let parts = Tensor::arange(5).split_sizes(&[1, 4], 0)?;
    /// assert_eq!(parts[1], Tensor::from([1, 2, 3, 4]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "split_with_sizes")]
    pub fn split_sizes(&self, sizes: &[usize], axis: impl Axis) -> Result<Vec<Tensor>> {
        self.cut(axis.number(), Cut::Sizes(sizes.to_vec()))
    }

    /// Parts that begin at 0 and at the given positions, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let parts = Tensor::arange(6).split_at(&[2, -1], 0)?;
    /// assert_eq!(parts[1], Tensor::from([2, 3, 4]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("tensor_split", "array_split"))]
    pub fn split_at(&self, positions: &[isize], axis: impl Axis) -> Result<Vec<Tensor>> {
        self.cut(axis.number(), Cut::Before(positions.to_vec()))
    }

    /// All positions of an axis, one tensor each, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let rows = Tensor::from([[1, 2], [3, 4]]).unbind(0)?;
    /// assert_eq!(rows[1], Tensor::from([3, 4]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "unstack")]
    pub fn unbind(&self, axis: impl Axis) -> Result<Vec<Tensor>> {
        self.cut(axis.number(), Cut::Single)
    }

    #[track_caller]
    fn cut(&self, axis: isize, cut: Cut) -> Result<Vec<Tensor>> {
        Ok(apply_all(Split { axis, cut }, &[self])?.into_vec())
    }
}
