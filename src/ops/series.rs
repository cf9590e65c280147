//! Neighbours along an axis: differences, windows, areas under a curve.

use crate::error::Fault;
use crate::layout::Axis;
use crate::tensor::{Tensor, refused};

impl Tensor {
    /// What each element along an axis exceeds the one before by; of order 2 the differences of these, and so on. Each order
    /// takes one element.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0, 4.0, 9.0, 16.0]);
    /// assert_eq!(x.differences(1, 0).to_vec::<f32>()?, [3.0, 5.0, 7.0]);
    /// assert_eq!(x.differences(2, 0).to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "diff")]
    pub fn differences(&self, order: usize, axis: impl Axis) -> Tensor {
        let axis = axis.number();
        let mut x = self.clone();
        for _ in 0..order {
            x = match x.size(axis) {
                Ok(0) => return x,
                Ok(size) => x.narrow(axis, 1, size - 1) - x.narrow(axis, 0, size - 1),
                Err(error) => return Tensor::failed(error),
            };
        }
        x
    }

    /// The area under straight lines between the elements along an axis, which stand `step` apart; the axis is gone.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([0.0, 2.0, 2.0]).trapezoid(0.5, 0).item()?, 1.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "trapz")]
    pub fn trapezoid(&self, step: f64, axis: impl Axis) -> Tensor {
        let axis = axis.number();
        match self.size(axis) {
            Ok(0) => self.sum_over(axis),
            Ok(size) => (self.narrow(axis, 1, size - 1) + self.narrow(axis, 0, size - 1)).sum_over(axis) * (0.5 * step),
            Err(error) => Tensor::failed(error),
        }
    }

    /// Windows of `size` neighbours along an axis, `step` from one to the next: the axis counts the windows, and a new last axis
    /// holds their elements. (Patches of images are [`unfold`](Tensor::unfold).)
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let windows = Tensor::from([1, 2, 3, 4, 5]).sliding_windows(0, 3, 2);
    /// assert_eq!(windows, Tensor::from([[1, 2, 3], [3, 4, 5]]));
    /// ```
    #[track_caller]
    #[doc(alias("unfold", "sliding_window_view", "as_strided"))]
    pub fn sliding_windows(&self, axis: impl Axis, size: usize, step: usize) -> Tensor {
        let (axis, rank) = (axis.number(), self.rank().unwrap_or(0) as isize);
        let length = match self.size(axis) {
            Ok(length) => length,
            Err(error) => return Tensor::failed(error),
        };
        if size > length || step == 0 {
            let fault = Fault::value(
                format!("windows of {size} elements, {step} apart, along an axis of {length}"),
                format!("a window has at most {length} elements here, and the step is 1 or more"),
            );
            return refused("sliding_windows", fault, &[self]);
        }
        let count = (length - size) / step + 1;
        let starts = Tensor::arange(count).near(self) * step as i64;
        let places = starts.unsqueeze(1) + Tensor::arange(size).near(self);
        let axis = if axis < 0 { axis + rank } else { axis };
        self.take_slices(axis, &places).move_axis(axis + 1, -1)
    }

    /// Straight lines through points: where `points`, which ascend, have `values`, this tensor's numbers are looked up between.
    /// Outside, the first and the last value hold.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (hours, degrees) = (Tensor::from([6.0, 12.0, 18.0]), Tensor::from([10.0, 22.0, 16.0]));
    /// let at = Tensor::from([[0.0, 9.0], [17.0, 20.0]]);
    /// assert_eq!(at.piecewise_linear(&hours, &degrees).to_vec::<f32>()?, [10.0, 16.0, 17.0, 16.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "interp")]
    pub fn piecewise_linear(&self, points: &Tensor, values: &Tensor) -> Tensor {
        let count = match (points.shape(), values.shape()) {
            (Ok(points), Ok(values)) if points.len() == 1 && *points == *values && points[0] > 0 => points[0],
            (Ok(at), Ok(of)) => {
                let what = format!("points of shape {at:?} with values of shape {of:?}");
                let fault = Fault::shape(what, "give a vector of ascending points, at least one, and a value for each");
                return refused("piecewise_linear", fault, &[self, points, values]);
            }
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let inside = self.maximum(points.select(0, 0)).minimum(points.select(0, -1));
        let last = count as f64 - 1.0;
        let left = (points.searchsorted(&inside, true) - 1i64).clamp(0.0, (last - 1.0).max(0.0));
        let right = (&left + 1i64).clamp(0.0, last);
        let (from, to) = (points.take_slices(0, &left), points.take_slices(0, &right));
        let width = &to - &from;
        // Two points at one place are a step.
        let share = (inside - from) / width.equal(0.0).choose(1.0, &width);
        values.take_slices(0, &left).lerp(&values.take_slices(0, &right), &share)
    }
}
