//! Pairs of numbers turned by an angle that grows with the position.

use super::Value;
use crate::error::Fault;
use crate::layout::DType;

/// How pairs are turned: pair `i` of position `p` by the angle `(first + p) · base^(-2i / width)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation {
    /// The position of the first row.
    pub first: usize,
    /// The slowest pair turns about as often in so many positions.
    pub base: f64,
    /// So many numbers of each row are turned, an even number; the others pass.
    pub width: usize,
    /// Pairs are neighbours, instead of a number of the first half and one of the second.
    pub interleaved: bool,
    /// Turned back instead.
    pub back: bool,
}

/// The kernel of rotary positions. Half precision goes through f32 and is rounded once.
pub trait Rotate {
    /// Rows `[.., positions, width or more]`, turned; the result is dense.
    fn rotate(&self, x: &Value, how: Rotation) -> Result<Value, Fault>;
}

/// Only floats are turned.
pub(in crate::device) fn no_turn(dtype: DType) -> Fault {
    Fault::dtype(format!("{dtype} numbers cannot be turned"), "convert to a float first, with to_dtype(DType::F32)")
}
