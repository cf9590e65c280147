//! Running sums and their relatives: each place holds what was folded up to it.

use super::Value;
use crate::error::Fault;

/// The kernels that run along an axis. Whole numbers add and multiply in i64, wrapping, as in [`Reduce`](super::reduce::Reduce).
pub trait Scan {
    /// Σ of all up to here; with `reversed`, of all from here on.
    fn cumulative_sum(&self, x: &Value, axis: usize, reversed: bool) -> Result<Value, Fault>;
    /// Π of all up to here.
    fn cumulative_product(&self, x: &Value, axis: usize) -> Result<Value, Fault>;
    /// ln Σ e^x of all up to here.
    fn cumulative_logsumexp(&self, x: &Value, axis: usize) -> Result<Value, Fault>;
    /// The greatest (or least) up to here, and as i64 its position: of equals the last, as in PyTorch.
    fn cumulative_extreme(&self, x: &Value, axis: usize, greatest: bool) -> Result<(Value, Value), Fault>;
    /// The gradient of a running product for x, from x and the gradient that arrived.
    fn cumulative_product_gradient(&self, x: &Value, g: &Value, axis: usize) -> Result<Value, Fault>;
    /// The gradient of a running ln Σ e^x for x, from x, the result and the gradient that arrived.
    fn cumulative_logsumexp_gradient(&self, x: &Value, y: &Value, g: &Value, axis: usize) -> Result<Value, Fault>;
    /// Zeros of the shape of `x`, with each of its numbers added at its place (i64) along the axis. Places are those of a running
    /// extreme: they never fall along the axis.
    fn add_at_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault>;
    /// The numbers of `x` at given places (i64) along the axis, in the shape of `places`.
    fn take_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault>;
}
