//! Where something stands, and how often: what gives positions, which have no gradient.

use super::{Gather, no_gradient};
use crate::Shape;
use crate::device::index::Index;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Layout;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_slice, one};
use crate::tensor::Tensor;

/// The operations whose results are positions or counts.
#[derive(Debug)]
enum Count {
    Nonzero { flat: bool },
    OneHot { classes: Option<usize> },
    Histogram { bins: usize, low: f64, high: f64 },
    Search { right: bool },
    Bucketize { right: bool },
}

impl Op for Count {
    fn name(&self) -> &'static str {
        match self {
            Count::Nonzero { .. } => "nonzero",
            Count::OneHot { .. } => "one_hot",
            Count::Histogram { .. } => "histogram",
            Count::Search { .. } => "searchsorted",
            Count::Bucketize { .. } => "bucketize",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(match *self {
            Count::Nonzero { flat: true } => on!(x.device(), positions(x))?,
            Count::Nonzero { flat: false } => on!(x.device(), coordinates(x))?,
            Count::OneHot { classes } => on!(x.device(), one_hot(x, classes))?,
            Count::Histogram { bins, low, high } => on!(x.device(), histogram(x, bins, low, high))?,
            Count::Search { right } => on!(x.device(), search(x, inputs[1], right))?,
            Count::Bucketize { right } => {
                let edges = inputs[1];
                if edges.rank() != 1 {
                    return Err(Fault::shape(
                        format!("the boundaries have {} axes", edges.rank()),
                        "give one ascending row of boundaries; for a row each use searchsorted",
                    ));
                }
                on!(x.device(), search(edges, x, right))?
            }
        })
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: the result does not change with small changes of the input"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err(match self {
            Count::Nonzero { .. } => "nonzero has no gradient: its result is positions",
            Count::OneHot { .. } => "one_hot has no gradient: its input is labels",
            Count::Histogram { .. } => "histogram has no gradient: its result is counts",
            Count::Search { .. } => "searchsorted has no gradient: its result is positions",
            Count::Bucketize { .. } => "bucketize has no gradient: its result is positions",
        })
    }
    fn roles(&self) -> &'static [&'static str] {
        match self {
            Count::Search { .. } => &["sorted", "values"],
            Count::Bucketize { .. } => &["values", "boundaries"],
            _ => &[],
        }
    }
}

/// How often each number occurs, or the sums of their weights.
#[derive(Debug)]
struct BinCount {
    least: usize,
}

impl Op for BinCount {
    fn name(&self) -> &'static str {
        "bincount"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), count(inputs[0], inputs.get(1).copied(), self.least))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            1 => apply(Gather { axis: 0 }, [&arriving[0], &call.input(0)]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(0)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂weight[i] = ∂L/∂y[x[i]]"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "weights"]
    }
}

impl Tensor {
    /// The coordinates of all elements that are not zero (or true), a row for each, i64. No gradient: they are positions.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let at = Tensor::from([[0.0, 5.0], [7.0, 0.0]]).nonzero();
    /// assert_eq!((at.dims()?, at.to_vec::<i64>()?), ([2, 2], vec![0, 1, 1, 0]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "argwhere")]
    pub fn nonzero(&self) -> Tensor {
        apply(Count::Nonzero { flat: false }, [self])
    }
    /// The positions, in the flattened tensor, of all elements that are not zero (or true), i64. No gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[0.0, 5.0], [7.0, 0.0]]).flat_nonzero().to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "flatnonzero")]
    pub fn flat_nonzero(&self) -> Tensor {
        apply(Count::Nonzero { flat: true }, [self])
    }
    /// A new last axis of `classes` numbers, 1 at the label and else 0, i64. Labels may not be negative. No gradient:
    /// the input is labels.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([2, 0]).one_hot(3).to_vec::<i64>()?, [0, 0, 1, 1, 0, 0]);
    /// assert!(Tensor::from([2, 3]).one_hot(3).checked().is_err());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        apply(Count::OneHot { classes: Some(classes) }, [self])
    }
    /// As [`one_hot`](Tensor::one_hot) with one class more than the greatest label. A label that happens to be missing
    /// changes the shape, so give the number of classes where you know it.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1, 0]).one_hot_inferred().dims()?, [2, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn one_hot_inferred(&self) -> Tensor {
        apply(Count::OneHot { classes: None }, [self])
    }
    /// How often each of 0, 1, 2, ... occurs in a row of whole numbers, at least `least` counts, i64.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1, 3, 1]).bincount(0).to_vec::<i64>()?, [0, 2, 0, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn bincount(&self, least: usize) -> Tensor {
        apply(BinCount { least }, [self])
    }
    /// The sums of the weights of each of 0, 1, 2, ... in a row of whole numbers, at least `least` sums.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let sums = Tensor::from([1, 0, 1]).bincount_weighted(&Tensor::from([0.5, 1.0, 2.0]), 0);
    /// assert_eq!(sums.to_vec::<f32>()?, [1.0, 2.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn bincount_weighted(&self, weights: &Tensor, least: usize) -> Tensor {
        apply_slice(BinCount { least }, &[self, weights])
    }
    /// How many numbers fall in each of `bins` equal parts of `low ..= high`; others are not counted. i64, no gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([0.1, 0.2, 0.9, 5.0]).histogram(2, 0.0, 1.0).to_vec::<i64>()?, [2, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "histc")]
    pub fn histogram(&self, bins: usize, low: f64, high: f64) -> Tensor {
        apply(Count::Histogram { bins, low, high }, [self])
    }
    /// Where `values` would have to be put into this ascending row (or rows, along the last axis) to keep the order: at
    /// the first possible position, or at the last with `right`. i64, no gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let sorted = Tensor::from([1.0, 3.0, 3.0, 5.0]);
    /// assert_eq!(sorted.searchsorted(&Tensor::from([3.0, 6.0]), false).to_vec::<i64>()?, [1, 4]);
    /// assert_eq!(sorted.searchsorted(&Tensor::from([3.0, 6.0]), true).to_vec::<i64>()?, [3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Tensor {
        apply(Count::Search { right }, [self, values])
    }
    /// The number of the bucket each element falls in, between ascending boundaries. With `right` a boundary belongs to
    /// the bucket above it. i64, no gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let ages = Tensor::from([3.0, 18.0, 70.0]);
    /// assert_eq!(ages.bucketize(&Tensor::from([18.0, 65.0]), true).to_vec::<i64>()?, [0, 1, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "digitize")]
    pub fn bucketize(&self, boundaries: &Tensor, right: bool) -> Tensor {
        apply(Count::Bucketize { right }, [self, boundaries])
    }
    /// For each element: does it occur among `elements`? Boolean, no gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let found = Tensor::from([1, 5, 2]).is_in(&Tensor::from([2, 1]));
    /// assert_eq!(found.to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "isin")]
    pub fn is_in(&self, elements: &Tensor) -> Tensor {
        apply(IsIn, [self, elements])
    }
}

crate::formula_struct!([whole flat truth] BetweenFormula between(first, last)() { indicator(lt(first, last)) });

/// Membership: both sides of an element's place in the sorted elements differ.
#[derive(Debug)]
struct IsIn;

impl Op for IsIn {
    fn name(&self) -> &'static str {
        "is_in"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        use crate::device::copy::Arrange;
        use crate::device::elementwise::Elementwise;
        use crate::device::sort::Sort;
        let (x, elements) = (inputs[0], inputs[1]);
        let row = on!(x.device(), contiguous(elements))?;
        let row = row.with_layout(Layout::from_parts(Shape::new(&[row.count()])?, &[1], row.layout().offset()))?;
        let (sorted, _) = on!(x.device(), sort(&row, 0, false))?;
        let first = on!(x.device(), search(&sorted, x, false))?;
        let last = on!(x.device(), search(&sorted, x, true))?;
        one(on!(x.device(), formula(&BetweenFormula {}, [&first, &last]))?)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: the result is true or false"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err("is_in has no gradient: its result is true or false")
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "elements"]
    }
}
