//! Many numbers become one: sums, products, extremes, spreads, norms, over any set of axes.

use super::Value;
use crate::error::Fault;
use crate::layout::{MAX_RANK, Shape};

/// The kernels that fold axes. `axes` ascend, without repetition, and are in range; with `keep` they stay with size 1.
///
/// Half precision is folded in f32 and rounded once; f32 in short chains whose totals are f64; whole numbers in i64,
/// wrapping. NaN propagates.
pub trait Reduce {
    /// Σ x; of whole numbers and booleans an i64. Of nothing 0.
    fn sum(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// Σ x over the floats that are no NaN.
    fn sum_known(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// Σ x / n, for floats. Of nothing NaN.
    fn mean(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// Π x; of whole numbers and booleans an i64. Of nothing 1.
    fn product(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// The greatest (or least) number, NaN where there is one. Of nothing a fault.
    fn extreme(&self, x: &Value, axes: &[usize], keep: bool, greatest: bool) -> Result<Value, Fault>;
    /// The same, and as i64 the position of the first such among the folded axes in row-major order.
    fn extreme_place(&self, x: &Value, axes: &[usize], keep: bool, greatest: bool) -> Result<(Value, Value), Fault>;
    /// Is any number not zero?
    fn any(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// Is no number zero?
    fn all(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// How many numbers are not zero, as i64.
    fn count_nonzero(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// `Σ (x - mean)² / (n - correction)` (or its `root`) and the mean, for floats.
    fn variance(
        &self,
        x: &Value,
        axes: &[usize],
        keep: bool,
        correction: f64,
        root: bool,
    ) -> Result<(Value, Value), Fault>;
    /// `(Σ |x|^order)^(1/order)`; of order infinity the greatest magnitude, -infinity the least, 0 the count of nonzeros.
    fn norm(&self, x: &Value, axes: &[usize], keep: bool, order: f64) -> Result<Value, Fault>;
    /// `ln Σ e^x`, for floats, without overflow. Of nothing -infinity.
    fn logsumexp(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault>;
    /// For each number the product of all others that it is multiplied with: what the gradient of a product needs.
    fn product_of_others(&self, x: &Value, axes: &[usize]) -> Result<Value, Fault>;
    /// 1 / k where a number is one of k that equal the extreme `best`, else 0. NaN equals itself only with `nan`.
    fn shares(&self, x: &Value, best: &Value, axes: &[usize], nan: bool) -> Result<Value, Fault>;
    /// Zeros of `shape`, with each number of `x` at its place (i64, dense) along the folded axes.
    fn put(&self, x: &Value, places: &Value, shape: Shape, axes: &[usize]) -> Result<Value, Fault>;
    /// The numbers of `x` at given places (i64, dense) along the folded axes, in the shape of `places`.
    fn pick(&self, x: &Value, places: &Value, axes: &[usize]) -> Result<Value, Fault>;
}

/// The sizes after `axes` were folded.
pub(in crate::device) fn folded_shape(x: &Value, axes: &[usize], keep: bool) -> Result<Shape, Fault> {
    let mut sizes = [1; MAX_RANK];
    let mut rank = 0;
    for (axis, &size) in x.dims().iter().enumerate() {
        let folded = axes.contains(&axis);
        if keep || !folded {
            sizes[rank] = if folded { 1 } else { size };
            rank += 1;
        }
    }
    Shape::new(&sizes[..rank])
}

/// A repeated view can show more numbers than anyone can wait for, though it takes no memory.
pub(in crate::device) fn walkable(x: &Value) -> Result<(), Fault> {
    if x.count() <= 1 << 40 {
        return Ok(());
    }
    Err(Fault::memory(
        format!("{} numbers to go through: the sizes are {:?}", x.count(), x.dims()),
        "fold before you expand: a sum over a repeated axis is a product",
    ))
}

/// How many numbers become one.
pub(in crate::device) fn folded_count(x: &Value, axes: &[usize]) -> usize {
    axes.iter().map(|&axis| x.dims()[axis]).product()
}

/// A fault where the numbers are no floats.
pub(in crate::device) fn floats(x: &Value, what: &str) -> Result<(), Fault> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Fault::dtype(
        format!("{what} of {} numbers is not defined", x.dtype()),
        "convert to a float first: x.to_dtype(DType::F32)",
    ))
}

/// A fault where something is the greatest or least of nothing.
pub(in crate::device) fn not_empty(x: &Value, axes: &[usize]) -> Result<(), Fault> {
    if folded_count(x, axes) > 0 || x.dims().iter().enumerate().any(|(axis, &size)| size == 0 && !axes.contains(&axis))
    {
        return Ok(());
    }
    Err(Fault::shape(
        format!("there is no greatest or least of no numbers: the sizes are {:?}, along axes {axes:?}", x.dims()),
        "give it at least one number, or look at the sizes first",
    ))
}
