//! What backward itself needs of a device: adding gradients up, undoing a broadcast, finding what is not finite.

use super::Value;
use crate::error::Fault;
use crate::layout::{MAX_RANK, Shape};
use smallvec::SmallVec;

/// The kernels that backward itself uses.
pub trait Accumulate {
    /// `sum + term` for equal shapes and float types; in place where nobody else holds `sum`.
    fn add_up(&self, sum: Value, term: &Value) -> Result<Value, Fault>;
    /// The value summed down to a shape that broadcasts to its own.
    fn sum_to(&self, x: &Value, shape: &Shape) -> Result<Value, Fault>;
    /// The sum of the squares of all numbers of some float values: a single f64 on the device, for which nobody waits.
    fn sum_of_squares(&self, values: &[&Value]) -> Result<Value, Fault>;
    /// Float values times `limit / (norm + 10⁻⁶)`, where that is less than 1; `norm` is a single f64 on the device. A norm of NaN
    /// makes all of them NaN: that something is wrong must not get lost.
    fn shrunk(&self, values: &[&Value], norm: &Value, limit: f64) -> Result<Vec<Value>, Fault>;
    /// Is every number of the values finite?
    fn all_finite(&self, values: &[&Value]) -> Result<bool, Fault>;
    /// A single f64 on the device that is finite where every number of the values is: for which nobody waits.
    fn greatest(&self, values: &[&Value]) -> Result<Value, Fault>;
    /// The position (in row-major order) and the number of the first element that is NaN or infinite.
    fn first_not_finite(&self, x: &Value) -> Result<Option<(usize, f64)>, Fault>;
}

/// The axes along which a value repeats what had this shape.
pub(in crate::device) fn repeated_axes(x: &Value, shape: &Shape) -> SmallVec<[usize; MAX_RANK]> {
    let front = x.rank().saturating_sub(shape.len());
    (0..x.rank()).filter(|&axis| axis < front || (shape[axis - front] == 1 && x.dims()[axis] != 1)).collect()
}
