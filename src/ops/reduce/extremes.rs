//! The greatest and the least number, and where it stands.

use super::{Over, fold, reductions};
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Axes, Shape};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_many, one};
use crate::tensor::Tensor;

reductions! {
    /// The greatest number; NaN where there is one. Where several are equal they share the gradient.
    #[doc(alias = "amax")]
    max max_over max_keep => Extreme::greatest; "f32" "4.0" "[3.0, 4.0]";
    /// The least number; NaN where there is one. Where several are equal they share the gradient.
    #[doc(alias = "amin")]
    min min_over min_keep => Extreme::least; "f32" "1.0" "[1.0, 2.0]";
    /// The position of the greatest number, as i64: in row-major order over everything that is folded. The first of
    /// equals; a NaN is greater than all.
    argmax argmax_over argmax_keep => Position::greatest; "i64" "3" "[1, 1]";
    /// The position of the least number, as i64: in row-major order over everything that is folded. The first of
    /// equals; a NaN is less than all.
    argmin argmin_over argmin_keep => Position::least; "i64" "0" "[0, 0]";
}

impl Tensor {
    /// The greatest numbers along an axis and their positions (i64). The gradient goes to the position given.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, positions) = Tensor::from([[1.0, 5.0], [7.0, 2.0]]).max_along(1);
    /// assert_eq!(values.to_vec::<f32>()?, [5.0, 7.0]);
    /// assert_eq!(positions.to_vec::<i64>()?, [1, 0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "max")]
    #[track_caller]
    pub fn max_along(&self, axis: impl crate::layout::Axis) -> (Tensor, Tensor) {
        along(self, Over::axes(axis.number().axes()), true)
    }
    /// As [`max_along`](Tensor::max_along); the axis stays with size 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, _) = Tensor::from([[1.0, 5.0], [7.0, 2.0]]).max_along_keep(1);
    /// assert_eq!(values.dims()?, [2, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn max_along_keep(&self, axis: impl crate::layout::Axis) -> (Tensor, Tensor) {
        along(self, Over::keeping(axis.number().axes()), true)
    }
    /// The least numbers along an axis and their positions (i64). The gradient goes to the position given.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, positions) = Tensor::from([[1.0, 5.0], [7.0, 2.0]]).min_along(1);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 2.0]);
    /// assert_eq!(positions.to_vec::<i64>()?, [0, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "min")]
    #[track_caller]
    pub fn min_along(&self, axis: impl crate::layout::Axis) -> (Tensor, Tensor) {
        along(self, Over::axes(axis.number().axes()), false)
    }
    /// As [`min_along`](Tensor::min_along); the axis stays with size 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, _) = Tensor::from([[1.0, 5.0], [7.0, 2.0]]).min_along_keep(1);
    /// assert_eq!(values.dims()?, [2, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn min_along_keep(&self, axis: impl crate::layout::Axis) -> (Tensor, Tensor) {
        along(self, Over::keeping(axis.number().axes()), false)
    }
    /// The least and the greatest number of all.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (least, greatest) = Tensor::from([3.0, -1.0, 2.0]).aminmax();
    /// assert_eq!((least.item()?, greatest.item()?), (-1.0, 3.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn aminmax(&self) -> (Tensor, Tensor) {
        (self.min(), self.max())
    }
}

#[track_caller]
fn along(x: &Tensor, over: Over, greatest: bool) -> (Tensor, Tensor) {
    let [values, positions] = apply_many(ExtremeAlong { over, greatest }, &[x]);
    (values, positions)
}

/// The greatest or least number.
#[derive(Debug)]
struct Extreme {
    over: Over,
    greatest: bool,
}

impl Extreme {
    fn greatest(over: Over) -> Extreme {
        Extreme { over, greatest: true }
    }
    fn least(over: Over) -> Extreme {
        Extreme { over, greatest: false }
    }
}

impl Op for Extreme {
    fn name(&self) -> &'static str {
        if self.greatest { "max" } else { "min" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(fold!(extreme, inputs[0], self.over, self.greatest)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        Tensor::compute(|| {
            let fault = |fault| call.error(fault);
            let (x, best) = (call.value(0)?, call.output_value(0)?);
            let axes = self.over.resolve(x.rank()).map_err(fault)?;
            // Over everything, NaNs share the gradient of a NaN; over axes it is NaN. So it is in PyTorch.
            let shares = on!(x.device(), shares(x, best, &axes, self.over.axes.is_none())).map_err(fault)?;
            Ok(self.over.repeat(&arriving[0], call.shape(0)) * Tensor::from_value(shares))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUTS)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the extreme, shared evenly among equals, else 0"
    }
}

/// Position of the greatest or least number.
#[derive(Debug)]
struct Position {
    over: Over,
    greatest: bool,
}

impl Position {
    fn greatest(over: Over) -> Position {
        Position { over, greatest: true }
    }
    fn least(over: Over) -> Position {
        Position { over, greatest: false }
    }
    const REASON: &'static str = "argmax and argmin have no gradient: their result is a position";
}

impl Op for Position {
    fn name(&self) -> &'static str {
        if self.greatest { "argmax" } else { "argmin" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(fold!(extreme_place, inputs[0], self.over, self.greatest)?.1)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        Tensor::failed(call.error(Fault::new(crate::error::ErrorKind::Gradient, Position::REASON, "")))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: a position has no slope"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err(Position::REASON)
    }
}

/// The greatest or least number along one axis, and its position.
#[derive(Debug)]
struct ExtremeAlong {
    over: Over,
    greatest: bool,
}

impl Op for ExtremeAlong {
    fn name(&self) -> &'static str {
        if self.greatest { "max_along" } else { "min_along" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let (values, positions) = fold!(extreme_place, inputs[0], self.over, self.greatest)?;
        Ok([values, positions].into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match call.output_value(1) {
            Ok(places) => {
                apply(Put { over: self.over.clone(), places: places.clone(), shape: *call.shape(0) }, [&arriving[0]])
            }
            Err(error) => Tensor::failed(error),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::output(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the position of the extreme, else 0"
    }
}

/// Zeros, with each number at its place along the folded axes.
#[derive(Debug)]
struct Put {
    over: Over,
    places: Value,
    shape: Shape,
}

impl Op for Put {
    fn name(&self) -> &'static str {
        "put"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axes = self.over.resolve(self.shape.len())?;
        one(on!(inputs[0].device(), put(inputs[0], &self.places, self.shape, &axes))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Pick { over: self.over.clone(), places: self.places.clone() }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the places"
    }
}

/// The numbers at given places along the folded axes.
#[derive(Debug)]
struct Pick {
    over: Over,
    places: Value,
}

impl Op for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axes = self.over.resolve(inputs[0].rank())?;
        one(on!(inputs[0].device(), pick(inputs[0], &self.places, &axes))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        apply(Put { over: self.over.clone(), places: self.places.clone(), shape: *call.shape(0) }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the places, else 0"
    }
}
