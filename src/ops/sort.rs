//! Order: sort, top k, the k-th, the different elements.
//!
//! The results are elements of the input at other places, so a gradient goes back to the place an element came from.
//! NaN is larger than every number, as in PyTorch; of equal elements the one that stands first comes first.

use super::index::{Spread, along, no_gradient};
use crate::device::sort::Sort;
use crate::device::{Value, on};
use crate::error::{Error, Fault};
use crate::layout::Axis;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_many};
use crate::tensor::Tensor;

/// The operations that choose elements along an axis by their order: values and the positions they came from.
#[derive(Debug)]
enum Chosen {
    Sort { axis: isize, descending: bool },
    TopK { count: usize, axis: isize, largest: bool },
    Kth { k: usize, axis: isize },
    Median { axis: isize },
    Mode { axis: isize },
}

impl Chosen {
    fn axis(&self) -> isize {
        match *self {
            Chosen::Sort { axis, .. }
            | Chosen::TopK { axis, .. }
            | Chosen::Kth { axis, .. }
            | Chosen::Median { axis }
            | Chosen::Mode { axis } => axis,
        }
    }
}

impl Op for Chosen {
    fn name(&self) -> &'static str {
        match self {
            Chosen::Sort { .. } => "sort",
            Chosen::TopK { .. } => "topk",
            Chosen::Kth { .. } => "kth_value",
            Chosen::Median { .. } => "median",
            Chosen::Mode { .. } => "mode",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let axis = along(self.axis(), x.rank())?;
        let (values, positions) = match *self {
            Chosen::Sort { descending, .. } => on!(x.device(), sort(x, axis, descending))?,
            Chosen::TopK { count, largest, .. } => on!(x.device(), topk(x, count, axis, largest))?,
            Chosen::Kth { k: 0, .. } => return Err(Fault::value("the smallest number 0 is wanted", "count from 1")),
            Chosen::Kth { k, .. } => on!(x.device(), kth(x, k - 1, axis))?,
            Chosen::Median { .. } => on!(x.device(), median(x, axis))?,
            Chosen::Mode { .. } => on!(x.device(), mode(x, axis))?,
        };
        Ok([values, positions].into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match call.output_value(1) {
            Ok(positions) => {
                let spread = Spread { axis: self.axis(), shape: *call.shape(0) };
                apply(spread, [&arriving[0], &Tensor::from_value(positions.clone())])
            }
            Err(error) => Tensor::failed(error),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::output(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x[position[i]] += ∂L/∂value[i]"
    }
}

/// The positions of the elements in order.
#[derive(Debug)]
struct Argsort {
    axis: isize,
    descending: bool,
}

impl Op for Argsort {
    fn name(&self) -> &'static str {
        "argsort"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axis = along(self.axis, inputs[0].rank())?;
        crate::op::one(on!(inputs[0].device(), argsort(inputs[0], axis, self.descending))?)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: the result is positions"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err("argsort has no gradient: its result is positions")
    }
}

/// The different elements, or the different slices along an axis.
#[derive(Debug)]
enum Distinct {
    Elements,
    Runs,
    Slices(isize),
}

impl Op for Distinct {
    fn name(&self) -> &'static str {
        match self {
            Distinct::Elements => "unique",
            Distinct::Runs => "unique_consecutive",
            Distinct::Slices(_) => "unique_along",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let found = match *self {
            Distinct::Elements => on!(x.device(), distinct(x, false))?,
            Distinct::Runs => on!(x.device(), distinct(x, true))?,
            Distinct::Slices(_) if x.rank() == 0 => {
                return Err(Fault::shape("a single number has no slices", "give a tensor with at least one axis"));
            }
            Distinct::Slices(axis) => on!(x.device(), distinct_slices(x, along(axis, x.rank())?))?,
        };
        Ok([found.values, found.inverse, found.counts].into_iter().collect())
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: how many elements there are depends on the numbers"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err("unique has no gradient: how many elements there are depends on the numbers")
    }
}

/// What [`unique`](Tensor::unique) found.
#[derive(Clone, Debug)]
pub struct Unique {
    /// Each different element once.
    pub values: Tensor,
    /// For every element of the input the position of its equal among `values`: `values.take(&inverse)` is the input.
    pub inverse: Tensor,
    /// How often each occurs.
    pub counts: Tensor,
}

impl Tensor {
    /// The elements along an axis in ascending (or descending) order, and the positions they come from (i64). Equal
    /// elements keep their order; NaN is larger than every number.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, positions) = Tensor::from([3.0, 1.0, 2.0]).sort(0, false);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// assert_eq!(positions.to_vec::<i64>()?, [1, 2, 0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(&self, axis: impl Axis, descending: bool) -> (Tensor, Tensor) {
        let [values, positions] = apply_many(Chosen::Sort { axis: axis.number(), descending }, &[self]);
        (values, positions)
    }
    /// The positions of the elements along an axis in ascending (or descending) order, i64. No gradient: they are
    /// positions.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([3.0, 1.0, 2.0]).argsort(0, true).to_vec::<i64>()?, [0, 2, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn argsort(&self, axis: impl Axis, descending: bool) -> Tensor {
        apply(Argsort { axis: axis.number(), descending }, [self])
    }
    /// The `count` largest elements along an axis, the largest first (or the smallest, the smallest first), and their
    /// positions (i64).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, positions) = Tensor::from([3.0, 1.0, 2.0]).topk(2, 0, true);
    /// assert_eq!((values.to_vec::<f32>()?, positions.to_vec::<i64>()?), (vec![3.0, 2.0], vec![0, 2]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn topk(&self, count: usize, axis: impl Axis, largest: bool) -> (Tensor, Tensor) {
        let [values, positions] = apply_many(Chosen::TopK { count, axis: axis.number(), largest }, &[self]);
        (values, positions)
    }
    /// The `k`-th smallest element along an axis, counted from 1, and its position (i64); the axis is gone.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (value, position) = Tensor::from([3.0, 1.0, 2.0]).kth_value(2, 0);
    /// assert_eq!((value.item()?, position.item()?), (2.0, 2.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "kthvalue")]
    pub fn kth_value(&self, k: usize, axis: impl Axis) -> (Tensor, Tensor) {
        self.one_along(Chosen::Kth { k, axis: axis.number() })
    }
    /// The middle element along an axis (of two the lower one, as in PyTorch), and its position (i64); the axis is gone.
    /// A row with a NaN gives NaN. The gradient goes to that one element.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (value, position) = Tensor::from([4.0, 1.0, 3.0, 2.0]).median_over(0);
    /// assert_eq!((value.item()?, position.item()?), (2.0, 3.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn median_over(&self, axis: impl Axis) -> (Tensor, Tensor) {
        self.one_along(Chosen::Median { axis: axis.number() })
    }
    /// The middle of all elements (of two the lower one).
    ///
    /// ```
    /// assert_eq!(chainrule::Tensor::from([[5.0, 1.0], [3.0, 2.0]]).median().item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn median(&self) -> Tensor {
        self.reshape([-1]).median_over(0).0
    }
    /// The number below which the part `q` (0 to 1) of the elements along an axis lies, between two elements by straight
    /// interpolation; the axis is gone. A row with a NaN gives NaN.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([4.0, 1.0, 3.0, 2.0]).quantile(0.5, 0).item()?, 2.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "percentile")]
    pub fn quantile(&self, q: f64, axis: impl Axis) -> Tensor {
        let size = match self.size(axis) {
            Ok(size) if size > 0 && (0.0..=1.0).contains(&q) => size,
            Ok(size) => {
                let what = format!("the part {q} of {size} elements");
                let fault = Fault::value(what, "the part is from 0 to 1, and there is at least one element");
                return Tensor::failed(Error::new("quantile", fault));
            }
            Err(error) => return Tensor::failed(error),
        };
        let (sorted, place) = (self.sort(axis, false).0, q * (size - 1) as f64);
        let at = |place: f64| sorted.narrow(axis, place as usize, 1);
        let (below, last) = (at(place.floor()), at((size - 1) as f64));
        let fraction = place - place.floor();
        let between = if fraction > 0.0 { &below + (at(place.ceil()) - &below) * fraction } else { below };
        last.is_nan().choose(&last, &between).squeeze_axes(axis.number())
    }
    #[track_caller]
    fn one_along(&self, choice: Chosen) -> (Tensor, Tensor) {
        let axis = choice.axis();
        let [value, position] = apply_many(choice, &[self]);
        match self.rank() {
            Ok(0) | Err(_) => (value, position),
            Ok(_) => (value.squeeze_axes(axis), position.squeeze_axes(axis)),
        }
    }
    /// The different elements of the flattened tensor, ascending, with the way back and how often each occurs. Every NaN
    /// is different from all. No gradient: how many there are depends on the numbers.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let found = Tensor::from([3, 1, 3]).unique()?;
    /// assert_eq!(found.values.to_vec::<i64>()?, [1, 3]);
    /// assert_eq!(found.inverse.to_vec::<i64>()?, [1, 0, 1]);
    /// assert_eq!(found.counts.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn unique(&self) -> crate::Result<Unique> {
        found(apply_many(Distinct::Elements, &[self]))
    }
    /// As [`unique`](Tensor::unique), where only neighbours that are equal become one, and the order stays.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let found = Tensor::from([1, 1, 2, 1]).unique_consecutive()?;
    /// assert_eq!(found.values.to_vec::<i64>()?, [1, 2, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn unique_consecutive(&self) -> crate::Result<Unique> {
        found(apply_many(Distinct::Runs, &[self]))
    }
}

impl Tensor {
    /// The element that stands most often along an axis (of several the smallest), and the last of its positions (i64); the
    /// axis is gone. The gradient goes to that one element.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (value, position) = Tensor::from([2, 5, 5, 2, 5]).mode(0);
    /// assert_eq!((value.item()?, position.item()?), (5.0, 4.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn mode(&self, axis: impl Axis) -> (Tensor, Tensor) {
        self.one_along(Chosen::Mode { axis: axis.number() })
    }
    /// The different slices along an axis, in lexical order: rows of a matrix for axis 0. `inverse` has the place of each slice
    /// among `values`, `counts` how often each occurs. No gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let rows = Tensor::from([[2, 1], [0, 3], [2, 1]]).unique_along(0)?;
    /// assert_eq!(rows.values, Tensor::from([[0, 3], [2, 1]]));
    /// assert_eq!(rows.inverse.to_vec::<i64>()?, [1, 0, 1]);
    /// assert_eq!(rows.counts.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn unique_along(&self, axis: impl Axis) -> crate::Result<Unique> {
        found(apply_many(Distinct::Slices(axis.number()), &[self]))
    }
}

fn found([values, inverse, counts]: [Tensor; 3]) -> crate::Result<Unique> {
    Ok(Unique { values: values.checked()?, inverse, counts })
}
