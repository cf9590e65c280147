//! Views: the same memory through another layout, and what their gradients have in common.
//!
//! A view takes some elements of its input, each at most once. So its gradient puts what arrives back where it was
//! taken from, with zeros elsewhere; and the gradient of *that* is the view again. The pair is written once, here.

use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Axes, Axis, AxisList, Layout, ResolvedAxes, SizeList, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::{Tensor, refused};
use std::fmt;

/// A way of looking at memory.
pub(crate) trait View: fmt::Debug + Clone + Send + Sync + 'static {
    /// The operation's name.
    const NAME: &'static str;
    /// How a name passes through: "transposed".
    const SUFFIX: &'static str;
    /// The rule in words.
    const RULE: &'static str = "∂L/∂x = ∂L/∂y where y was taken from, 0 elsewhere";
    /// The view's layout, from the input's.
    fn look(&self, layout: &Layout) -> Result<Layout, Fault>;
    /// The gradient. A view that shows every element once has a cheaper one: the opposite view.
    fn back(&self, arriving: &Tensor, call: &Call<'_>) -> Tensor {
        apply(Placed { view: self.clone(), sizes: call.dims(0).sizes() }, [arriving])
    }
}

/// The operation of a view.
#[derive(Debug)]
pub(crate) struct Seen<V>(pub(crate) V);

impl<V: View> Op for Seen<V> {
    fn name(&self) -> &'static str {
        V::NAME
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(inputs[0].with_layout(self.0.look(inputs[0].layout())?)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        self.0.back(&arriving[0], call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        V::RULE
    }
    fn view(&self) -> Option<&'static str> {
        Some(V::SUFFIX)
    }
}

/// The opposite of a view: zeros of `sizes`, in which the input stands where the view looks.
#[derive(Debug)]
pub(crate) struct Placed<V> {
    pub(crate) view: V,
    pub(crate) sizes: SizeList,
}

impl<V: View> Op for Placed<V> {
    fn name(&self) -> &'static str {
        "place"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let shape = self.sizes.shape()?;
        let part = self.view.look(&Layout::contiguous(shape))?;
        one(on!(inputs[0].device(), place(inputs[0], shape, &part, 0.0))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Seen(self.view.clone()), [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y where x was placed"
    }
}

/// Axes in another order.
#[derive(Clone, Debug)]
struct Permute(AxisList);

impl Permute {
    fn order(&self, rank: usize) -> Result<ResolvedAxes, Fault> {
        let order = self.0.resolve(rank)?;
        if order.len() == rank {
            return Ok(order);
        }
        Err(Fault::shape(
            format!("{} axes in {:?} for a tensor of rank {rank}", order.len(), self.0),
            "name every axis once, in the wanted order",
        ))
    }
}

impl View for Permute {
    const NAME: &'static str = "permute";
    const SUFFIX: &'static str = "permuted";
    const RULE: &'static str = "∂L/∂x = ∂L/∂y, permuted back";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        Ok(layout.permuted(&self.order(layout.rank())?))
    }
    fn back(&self, arriving: &Tensor, call: &Call<'_>) -> Tensor {
        let order = match self.order(call.dims(0).len()) {
            Ok(order) => order,
            Err(fault) => return Tensor::failed(call.error(fault)),
        };
        let mut inverse = order.clone();
        for (to, &from) in order.iter().enumerate() {
            inverse[from] = to;
        }
        arriving.permute(&inverse)
    }
}

/// Two axes exchanged.
#[derive(Clone, Debug)]
struct Transpose(isize, isize);

impl View for Transpose {
    const NAME: &'static str = "transpose";
    const SUFFIX: &'static str = "transposed";
    const RULE: &'static str = "∂L/∂x = (∂L/∂y)ᵀ";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        let mut order: ResolvedAxes = (0..layout.rank()).collect();
        order.swap(self.0.resolve(layout.rank())?, self.1.resolve(layout.rank())?);
        Ok(layout.permuted(&order))
    }
    fn back(&self, arriving: &Tensor, _: &Call<'_>) -> Tensor {
        arriving.transpose(self.0, self.1)
    }
}

/// Some axes backward.
#[derive(Clone, Debug)]
struct Flip(AxisList);

impl View for Flip {
    const NAME: &'static str = "flip";
    const SUFFIX: &'static str = "flipped";
    const RULE: &'static str = "∂L/∂x = ∂L/∂y, flipped back";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        Ok(layout.flipped(&self.0.resolve(layout.rank())?))
    }
    fn back(&self, arriving: &Tensor, _: &Call<'_>) -> Tensor {
        arriving.flip(&self.0)
    }
}

/// Repeated along axes of size 1 and new axes, without a copy.
#[derive(Clone, Debug)]
struct Expand(SizeList);

impl View for Expand {
    const NAME: &'static str = "expand";
    const SUFFIX: &'static str = "expanded";
    const RULE: &'static str = "∂L/∂x = ∂L/∂y, summed over the repeated axes";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        layout.expanded(&self.0.expand(layout.shape())?)
    }
    /// The engine sums what comes back in the broadcast shape.
    fn back(&self, arriving: &Tensor, _: &Call<'_>) -> Tensor {
        arriving.clone()
    }
}

/// The diagonal of two axes, as a last axis.
#[derive(Clone, Debug)]
struct Diagonal {
    offset: isize,
    axes: [isize; 2],
}

impl View for Diagonal {
    const NAME: &'static str = "diagonal";
    const SUFFIX: &'static str = "diagonal";
    fn look(&self, layout: &Layout) -> Result<Layout, Fault> {
        let axes = self.axes.axes().resolve(layout.rank())?;
        Ok(layout.diagonal(self.offset, axes[0], axes[1]))
    }
}

impl Tensor {
    /// The axes in another order, without a copy: axis `i` of the result is axis `order[i]` of this.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let images = Tensor::zeros([8, 3, 32, 32]);
    /// assert_eq!(images.permute([0, 2, 3, 1]).dims()?, [8, 32, 32, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn permute(&self, order: impl Axes) -> Tensor {
        apply(Seen(Permute(order.axes())), [self])
    }

    /// Two axes exchanged, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2, 3], [4, 5, 6]]);
    /// assert_eq!(x.transpose(0, 1), Tensor::from([[1, 4], [2, 5], [3, 6]]));
    /// ```
    #[track_caller]
    #[doc(alias("swapaxes", "swapdims", "swap_axes"))]
    pub fn transpose(&self, first: impl Axis, second: impl Axis) -> Tensor {
        apply(Seen(Transpose(first.number(), second.number())), [self])
    }

    /// The transposed matrix, without a copy: the last two axes exchanged.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([5, 2, 3]).t().dims()?, [5, 3, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("mT", "matrix_transpose"))]
    pub fn t(&self) -> Tensor {
        self.transpose(-2, -1)
    }

    /// Axes moved to new positions, without a copy; the others keep their order.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3, 4]);
    /// assert_eq!(x.move_axis(0, -1).dims()?, [3, 4, 2]);
    /// assert_eq!(x.move_axis([0, 1], [1, 2]).dims()?, [4, 2, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("movedim", "moveaxis", "rollaxis"))]
    pub fn move_axis(&self, from: impl Axes, to: impl Axes) -> Tensor {
        let order = match self.value() {
            Ok(value) => moved(&from.axes(), &to.axes(), value.rank()),
            Err(_) => return self.clone(),
        };
        match order {
            Ok(order) => self.permute(&order),
            Err(fault) => refused("move_axis", fault, &[self]),
        }
    }

    /// The given axes backward, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2, 3], [4, 5, 6]]);
    /// assert_eq!(x.flip(-1), Tensor::from([[3, 2, 1], [6, 5, 4]]));
    /// ```
    #[track_caller]
    #[doc(alias("fliplr", "flipud"))]
    pub fn flip(&self, axes: impl Axes) -> Tensor {
        apply(Seen(Flip(axes.axes())), [self])
    }

    /// Turned by `turns` quarters, from axis `first` toward axis `second`, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.rot90(1, 0, 1), Tensor::from([[2, 4], [1, 3]]));
    /// ```
    #[track_caller]
    pub fn rot90(&self, turns: isize, first: impl Axis, second: impl Axis) -> Tensor {
        let (first, second) = (first.number(), second.number());
        match turns.rem_euclid(4) {
            0 => self.clone(),
            1 => self.flip(second).transpose(first, second),
            2 => self.flip([first, second]),
            _ => self.flip(first).transpose(first, second),
        }
    }

    /// Repeated along axes of size 1 and along new axes in front, without a copy; -1 keeps a size.
    ///
    /// Operations broadcast by themselves; this is for the rare place where the repeated tensor itself is wanted.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let row = Tensor::from([1, 2]);
    /// assert_eq!(row.expand([2, -1]), Tensor::from([[1, 2], [1, 2]]));
    /// ```
    #[track_caller]
    #[doc(alias("broadcast_to", "expand_as"))]
    pub fn expand(&self, sizes: impl Sizes) -> Tensor {
        apply(Seen(Expand(sizes.sizes())), [self])
    }

    /// All tensors expanded to the one shape that they broadcast to.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (column, row) = (Tensor::zeros([3, 1]), Tensor::zeros([4]));
    /// let [a, b] = Tensor::broadcast([&column, &row]);
    /// assert_eq!((a.dims()?, b.dims()?), ([3, 4], [3, 4]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("broadcast_tensors", "broadcast_arrays"))]
    pub fn broadcast<const N: usize>(tensors: [&Tensor; N]) -> [Tensor; N] {
        let mut shape = crate::layout::Shape::default();
        for tensor in tensors {
            let wider = match tensor.value() {
                Ok(value) => shape.broadcast(value.shape()),
                Err(error) => return std::array::from_fn(|_| Tensor::failed(error.clone())),
            };
            shape = match wider {
                Ok(wider) => wider,
                Err(fault) => {
                    let failed = refused("broadcast", fault, &tensors);
                    return std::array::from_fn(|_| failed.clone());
                }
            };
        }
        let mut expanded = tensors.map(Tensor::clone);
        for tensor in &mut expanded {
            *tensor = tensor.expand(shape);
        }
        expanded
    }

    /// The elements at `x[.., i, i + offset]` of two axes, as a last axis, without a copy.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::arange(9).reshape([3, 3]);
    /// assert_eq!(x.diagonal(0, 0, 1).to_vec::<i64>()?, [0, 4, 8]);
    /// assert_eq!(x.diagonal(1, 0, 1).to_vec::<i64>()?, [1, 5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal(&self, offset: isize, first: impl Axis, second: impl Axis) -> Tensor {
        apply(Seen(Diagonal { offset, axes: [first.number(), second.number()] }), [self])
    }
}

/// The order of axes after some were moved.
fn moved(from: &AxisList, to: &AxisList, rank: usize) -> Result<ResolvedAxes, Fault> {
    let (from, to) = (from.resolve(rank)?, to.resolve(rank)?);
    if from.len() != to.len() {
        return Err(Fault::shape(
            format!("{} axes to {} positions", from.len(), to.len()),
            "give each moved axis its new position",
        ));
    }
    let mut others = (0..rank).filter(|axis| !from.contains(axis));
    Ok((0..rank)
        .filter_map(|place| match to.iter().position(|&taken| taken == place) {
            Some(which) => Some(from[which]),
            None => others.next(),
        })
        .collect())
}
