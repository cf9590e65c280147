//! Elements put elsewhere: made dense, converted, joined, written into a part.

use super::Value;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

/// The kernels that move elements and compute nothing.
pub trait Arrange {
    /// The same elements, dense and in row-major order; shares memory where they already are.
    fn contiguous(&self, x: &Value) -> Result<Value, Fault>;
    /// The same elements in fresh memory, dense and in row-major order.
    fn duplicate(&self, x: &Value) -> Result<Value, Fault>;
    /// The elements in another element type; shares memory where it is the same. The rules stand at [`DType`].
    fn cast(&self, x: &Value, dtype: DType) -> Result<Value, Fault>;
    /// The parts one after another along `axis`. They agree in element type and in all other sizes.
    fn join(&self, parts: &[&Value], axis: usize) -> Result<Value, Fault>;
    /// A dense value of `shape`, `fill` everywhere except at `part` (a layout over its elements), where `x` stands.
    fn place(&self, x: &Value, shape: Shape, part: &Layout, fill: f64) -> Result<Value, Fault>;
    /// A copy of `base` in which each piece replaces what stood at its part (a layout over the copy's elements).
    fn replace(&self, base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault>;
    /// The piece written over what stood at its part (a layout over the elements): in place where nobody else holds the
    /// dense `base`, else in a copy that takes its stead.
    fn overwrite(&self, base: &mut Value, part: &Layout, piece: &Value) -> Result<(), Fault>;
    /// A copy of `base` to which each piece is added at its part (a layout over the copy's elements).
    fn add_at(&self, base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault>;
    /// The last two axes with zeros above the diagonal (`lower`) or below it; `diagonal` counts to the right.
    fn triangle(&self, x: &Value, lower: bool, diagonal: isize) -> Result<Value, Fault>;
}
