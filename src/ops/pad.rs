//! Borders around a tensor: a number, or what the tensor itself continues with.

use super::slice::part;
use crate::device::copy::Arrange;
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Layout, Shape};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// What stands in a border.
///
/// ```
/// use chainrule::{Pad, Tensor};
/// let x = Tensor::from([1, 2, 3]);
/// assert_eq!(x.pad(&[(2, 1)], Pad::Zeros), Tensor::from([0, 0, 1, 2, 3, 0]));
/// assert_eq!(x.pad(&[(2, 1)], Pad::Reflect), Tensor::from([3, 2, 1, 2, 3, 2]));
/// assert_eq!(x.pad(&[(2, 1)], Pad::Replicate), Tensor::from([1, 1, 1, 2, 3, 3]));
/// assert_eq!(x.pad(&[(2, 1)], Pad::Circular), Tensor::from([2, 3, 1, 2, 3, 1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pad {
    /// Zeros.
    Zeros,
    /// This number.
    Constant(f64),
    /// The tensor mirrored at its first and last element, which are not repeated: narrower than the axis.
    Reflect,
    /// The first and the last element, repeated.
    Replicate,
    /// The tensor again from its other end: at most as wide as the axis.
    Circular,
}

/// (before, after) for each of the last axes.
type Borders = Vec<(isize, isize)>;

/// Positions of an axis that a border shows: `length` of them from `start`, forward, backward, or one again and again.
struct Shown {
    start: usize,
    length: usize,
    order: Order,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Forward,
    Backward,
    Again,
}

impl Shown {
    /// The positions themselves, each once.
    fn source(&self, layout: &Layout, axis: usize) -> Result<Layout, Fault> {
        let length = if self.order == Order::Again { 1 } else { self.length };
        let layout = part(layout, axis, self.start, length)?;
        Ok(if self.order == Order::Backward { layout.flipped(&[axis]) } else { layout })
    }
    /// As the border shows them.
    fn shown(&self, layout: &Layout, axis: usize) -> Result<Layout, Fault> {
        let mut sizes = layout.dims().to_vec();
        sizes[axis] = self.length;
        self.source(layout, axis)?.expanded(&Shape::new(&sizes)?)
    }
}

impl Pad {
    /// What the borders before and after an axis show of it, from left to right.
    fn shown(self, axis: usize, size: usize, (before, after): (isize, isize)) -> Result<[Shown; 2], Fault> {
        let (Ok(before), Ok(after)) = (usize::try_from(before), usize::try_from(after)) else {
            return Err(Fault::value(
                format!("a border of {} with {self:?}", before.min(after)),
                "only Zeros and Constant take negative borders, which crop; use slice here",
            ));
        };
        let (limit, rule) = match self {
            Pad::Reflect => (size.saturating_sub(1), "narrower than the axis, since the edge itself is not repeated"),
            Pad::Circular => (size, "at most as wide as the axis"),
            _ => (if size == 0 { 0 } else { usize::MAX }, "around an axis that has elements"),
        };
        let wide = before.max(after);
        if wide > limit {
            return Err(Fault::shape(
                format!("a border of {wide} around axis {axis} of size {size} with {self:?}"),
                format!("such a border must be {rule}"),
            ));
        }
        let shown = |start, length, order| Shown { start, length, order };
        let last = size.saturating_sub(1);
        Ok(match self {
            Pad::Reflect => {
                [shown(1, before, Order::Backward), shown(last.saturating_sub(after), after, Order::Backward)]
            }
            Pad::Circular => [shown(size - before, before, Order::Forward), shown(0, after, Order::Forward)],
            _ => [shown(0, before, Order::Again), shown(last, after, Order::Again)],
        })
    }
}

/// Adds borders, or crops where they are negative.
#[derive(Debug)]
struct Padded {
    borders: Borders,
    pad: Pad,
}

impl Padded {
    /// The axis that the first border belongs to.
    fn first_axis(&self, rank: usize) -> Result<usize, Fault> {
        rank.checked_sub(self.borders.len()).ok_or_else(|| {
            Fault::shape(
                format!("{} borders for a tensor of rank {rank}", self.borders.len()),
                "give (before, after) for the last axes, at most one pair for each",
            )
        })
    }
    /// Crops, then places what is left among the number.
    fn constant(&self, x: &Value, number: f64) -> Result<Value, Fault> {
        let first = self.first_axis(x.rank())?;
        let mut left = *x.layout();
        let mut sizes = x.dims().to_vec();
        for (axis, &(before, after)) in (first..).zip(&self.borders) {
            let size = x.dims()[axis] as isize;
            let (crop_before, crop_after) = (before.min(0), after.min(0));
            let length = size.saturating_add(crop_before).saturating_add(crop_after);
            let Ok(length) = usize::try_from(length) else {
                return Err(Fault::shape(
                    format!("borders of {before} and {after} crop more than axis {axis} has: {size}"),
                    "negative borders may take away at most the whole axis",
                ));
            };
            left = part(&left, axis, crop_before.unsigned_abs(), length)?;
            sizes[axis] = length.saturating_add(before.max(0) as usize).saturating_add(after.max(0) as usize);
        }
        let x = x.with_layout(left)?;
        if sizes == x.dims() {
            return Ok(x);
        }
        let shape = Shape::new(&sizes)?;
        let mut place = Layout::contiguous(shape);
        for (axis, &(before, _)) in (first..).zip(&self.borders) {
            place = part(&place, axis, before.max(0) as usize, x.dims()[axis])?;
        }
        on!(x.device(), place(&x, shape, &place, number))
    }
    /// Joins what the borders show before and after each axis.
    fn continued(&self, x: &Value) -> Result<Value, Fault> {
        let first = self.first_axis(x.rank())?;
        let mut x = x.clone();
        for (axis, &border) in (first..).zip(&self.borders) {
            let [before, after] = self.pad.shown(axis, x.dims()[axis], border)?;
            let before = x.with_layout(before.shown(x.layout(), axis)?)?;
            let after = x.with_layout(after.shown(x.layout(), axis)?)?;
            x = on!(x.device(), join(&[&before, &x, &after], axis))?;
        }
        Ok(x)
    }
}

impl Op for Padded {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(match self.pad {
            Pad::Zeros => self.constant(inputs[0], 0.0)?,
            Pad::Constant(number) => self.constant(inputs[0], number)?,
            Pad::Reflect | Pad::Replicate | Pad::Circular => self.continued(inputs[0])?,
        })
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match self.pad {
            Pad::Zeros | Pad::Constant(_) => {
                let crop = self.borders.iter().map(|(before, after)| (before.saturating_neg(), after.saturating_neg()));
                apply(Padded { borders: crop.collect(), pad: Pad::Zeros }, [&arriving[0]])
            }
            pad => {
                let op = Folded { padded: Padded { borders: self.borders.clone(), pad }, shape: *call.shape(0) };
                apply(op, [&arriving[0]])
            }
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y inside, plus ∂L/∂y of the border where it showed x"
    }
}

/// The opposite of a border that continues the tensor: what stands in it is added where it came from.
#[derive(Debug)]
struct Folded {
    padded: Padded,
    shape: Shape,
}

impl Op for Folded {
    fn name(&self) -> &'static str {
        "fold_border"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let mut y = inputs[0].clone();
        let first = self.padded.first_axis(y.rank())?;
        for (axis, &border) in (first..y.rank()).zip(&self.padded.borders).rev() {
            let size = self.shape[axis];
            let start = border.0.max(0) as usize;
            let inside = y.with_layout(part(y.layout(), axis, start, size)?)?;
            let whole = Layout::contiguous(*inside.shape());
            let [before, after] = self.padded.pad.shown(axis, size, border)?;
            let mut pieces: Vec<(Layout, Value)> = Vec::new();
            for (shown, from) in [(before, 0), (after, start + size)] {
                if shown.length == 0 {
                    continue;
                }
                let mut piece = y.with_layout(part(y.layout(), axis, from, shown.length)?)?;
                if shown.order == Order::Again {
                    piece = on!(y.device(), sum(&piece, &[axis], true))?;
                }
                pieces.push((shown.source(&whole, axis)?, piece));
            }
            let pieces: Vec<(Layout, &Value)> = pieces.iter().map(|(to, piece)| (*to, piece)).collect();
            y = on!(y.device(), add_at(&inside, &pieces))?;
        }
        one(y)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Padded { borders: self.padded.borders.clone(), pad: self.padded.pad }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y with the border again"
    }
}

impl Tensor {
    /// A border around the last axes, one pair (before, after) for each of them: `&[(top, bottom), (left, right)]` for
    /// images. (PyTorch lists the last axis first.) Negative numbers crop.
    ///
    /// ```
    /// use chainrule::{Pad, Tensor};
    /// let x = Tensor::from([[1, 2]]);
    /// assert_eq!(x.pad(&[(0, 1), (1, 0)], Pad::Zeros), Tensor::from([[0, 1, 2], [0, 0, 0]]));
    /// assert_eq!(x.pad(&[(1, -1)], Pad::Constant(7.0)), Tensor::from([[7, 1]]));
    /// ```
    #[track_caller]
    #[doc(alias("constant_pad_nd", "ReflectionPad", "ReplicationPad", "ZeroPad"))]
    pub fn pad(&self, borders: &[(isize, isize)], pad: Pad) -> Tensor {
        apply(Padded { borders: borders.into(), pad }, [self])
    }
}
