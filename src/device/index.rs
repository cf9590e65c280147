//! Elements chosen, and put, by their position.

use super::Value;
use crate::error::Fault;

/// What happens where something already stands, or where several elements go to one place.
///
/// ```
/// use chainrule::{Combine, Tensor};
/// let (index, source) = (Tensor::from([0, 0, 1]), Tensor::from([1.0, 5.0, 2.0]));
/// let largest = Tensor::zeros([2]).scatter_reduce(0, &index, &source, Combine::Largest, true);
/// assert_eq!(largest.to_vec::<f32>()?, [5.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// The last one stays.
    Replace,
    /// They are added.
    Sum,
    /// They are multiplied.
    Product,
    /// Their mean (integers round down).
    Mean,
    /// The largest stays; NaN is larger than all.
    Largest,
    /// The smallest stays; NaN is smaller than all.
    Smallest,
}

/// How slices are put together by [`Index::assemble`].
#[derive(Clone, Copy, Debug)]
pub struct Assembly {
    /// What happens where slices meet.
    pub combine: Combine,
    /// Does what stood there before take part?
    pub include: bool,
    /// A position whose slices are left out.
    pub skip: Option<usize>,
}

/// The kernels that read and write by position. Positions are i64, i32 or u8; negative ones count from the end of the
/// axis; one that is out of range is a fault that says which. Results are the same bits for any number of threads,
/// also where positions repeat.
pub trait Index {
    /// The slices of `x` along `axis` at the given positions; the axes of `index` take the place of `axis`.
    /// Slices at position `blank` are zeros.
    fn select(&self, x: &Value, axis: usize, index: &Value, blank: Option<usize>) -> Result<Value, Fault>;
    /// `out[i, j, k] = x[i, index[i, j, k], k]` (for axis 1), in the shape of `index`.
    fn gather(&self, x: &Value, axis: usize, index: &Value) -> Result<Value, Fault>;
    /// A copy of `base` into which `out[i, index[i, j, k], k] ⊕= source[i, j, k]` (for axis 1) was done. With
    /// `include` false, what stood at a place that is met does not take part.
    fn scatter(
        &self,
        base: &Value,
        axis: usize,
        index: &Value,
        source: &Value,
        combine: Combine,
        include: bool,
    ) -> Result<Value, Fault>;
    /// Slices of `source` put at positions along `axis`, on `base` or on zeros of size `size` along `axis`:
    /// the dual of [`select`](Index::select). The axes of `index` stand in `source` where `axis` is.
    fn assemble(
        &self,
        base: Option<&Value>,
        size: usize,
        axis: usize,
        index: &Value,
        source: &Value,
        how: Assembly,
    ) -> Result<Value, Fault>;
    /// The positions `index + size * lists[1] + ...` of tuples of positions: rank-1 positions into the flattened
    /// leading axes of `sizes`. All lists have one shape, which is that of the result.
    fn flat_positions(&self, lists: &[&Value], sizes: &[usize]) -> Result<Value, Fault>;
    /// The flat positions, in row-major order, of all elements that are not zero.
    fn positions(&self, x: &Value) -> Result<Value, Fault>;
    /// The coordinates of all elements that are not zero: a row for each, in row-major order.
    fn coordinates(&self, x: &Value) -> Result<Value, Fault>;
    /// A fault where a number is no name of `count` things: negative, or too large.
    fn names(&self, x: &Value, count: usize) -> Result<(), Fault>;
    /// A new last axis of `classes` numbers: 1 at the label, else 0 (i64).
    fn one_hot(&self, labels: &Value, classes: Option<usize>) -> Result<Value, Fault>;
    /// How often each number 0, 1, ... occurs among integers that are not negative, at least `least` counts;
    /// with weights, their sums.
    fn count(&self, x: &Value, weights: Option<&Value>, least: usize) -> Result<Value, Fault>;
    /// How many numbers fall in each of `bins` equal parts of `low ..= high`.
    fn histogram(&self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value, Fault>;
    /// Where `values` would stand in rows of ascending numbers: the first possible position, or the last with `right`.
    fn search(&self, sorted: &Value, values: &Value, right: bool) -> Result<Value, Fault>;
}
