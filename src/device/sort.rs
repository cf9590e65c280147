//! Elements in order.

use super::Value;
use crate::error::Fault;

/// The different elements of a value.
pub struct Distinct {
    /// Each once: ascending, or in the order in which they come.
    pub values: Value,
    /// For every element, the position of its equal among `values`.
    pub inverse: Value,
    /// How often each occurs.
    pub counts: Value,
}

/// The kernels that order. NaN is larger than every number, -0 equals 0, and of equals the one that stands first comes
/// first, so each result is the only possible one and does not depend on threads.
pub trait Sort {
    /// The elements along `axis` in order, and the positions they come from (i64).
    fn sort(&self, x: &Value, axis: usize, descending: bool) -> Result<(Value, Value), Fault>;
    /// The positions alone.
    fn argsort(&self, x: &Value, axis: usize, descending: bool) -> Result<Value, Fault>;
    /// The `k` largest (or smallest) along `axis`, in order, and their positions.
    fn topk(&self, x: &Value, k: usize, axis: usize, largest: bool) -> Result<(Value, Value), Fault>;
    /// The `k`-th smallest along `axis`, counted from 0, and its position; `axis` stays with size 1.
    fn kth(&self, x: &Value, k: usize, axis: usize) -> Result<(Value, Value), Fault>;
    /// The middle one along `axis` (of two the lower), and its position; a NaN where there is one; `axis` stays with
    /// size 1.
    fn median(&self, x: &Value, axis: usize) -> Result<(Value, Value), Fault>;
    /// The element that stands most often along `axis` (of several the smallest), and the last of its positions; `axis` stays
    /// with size 1.
    fn mode(&self, x: &Value, axis: usize) -> Result<(Value, Value), Fault>;
    /// The different elements of the flattened value: ascending and each once, or (`runs`) each run of equals once.
    /// Every NaN is different from all.
    fn distinct(&self, x: &Value, runs: bool) -> Result<Distinct, Fault>;
    /// The different slices along `axis`, in lexical order, each once. One that holds a NaN is different from all.
    fn distinct_slices(&self, x: &Value, axis: usize) -> Result<Distinct, Fault>;
}

fn size_along(x: &Value, axis: usize) -> usize {
    x.dims().get(axis).copied().unwrap_or(1)
}

/// A fault where there are fewer than `k` elements.
pub(in crate::device) fn check_topk(x: &Value, k: usize, axis: usize) -> Result<(), Fault> {
    let size = size_along(x, axis);
    if k > size || (x.rank() == 0 && k != 1) {
        return Err(Fault::value(
            format!("{k} elements are wanted of {size} along axis {axis}"),
            format!("take at most {size}"),
        ));
    }
    Ok(())
}

/// A fault where there is no `k`-th element.
pub(in crate::device) fn check_kth(x: &Value, k: usize, axis: usize) -> Result<(), Fault> {
    let size = size_along(x, axis);
    if k >= size {
        return Err(Fault::value(
            format!("the smallest number {} is wanted of {size} along axis {axis}", k.saturating_add(1)),
            format!("there are {size}: count from 1"),
        ));
    }
    Ok(())
}

/// What an empty axis lacks.
pub(in crate::device) const NO_MIDDLE: &str = "it has no middle";
pub(in crate::device) const NO_MODE: &str = "nothing stands there most often";

/// A fault where an axis is empty; `what` it then lacks.
pub(in crate::device) fn check_any(x: &Value, axis: usize, what: &str) -> Result<(), Fault> {
    if size_along(x, axis) == 0 {
        return Err(Fault::value(format!("axis {axis} is empty: {what}"), "give at least one element"));
    }
    Ok(())
}
