//! Pairs of numbers turned by an angle that grows with the position.

use super::Value;
use crate::error::Fault;
use crate::layout::DType;

/// How pairs are turned: pair `i` of position `p` by the angle `(first + p) · base^(-2i / width)`, slowed.
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
    /// What becomes of the speeds.
    pub slowing: Slowing,
}

/// How pairs are slowed: a speed `s` becomes `s · (k + (1 - k) · slow)`, where `k`, the share that is kept, is
/// `start + rise · u` from 0 to 1, and `u` the speed itself, or the number of the pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowing {
    /// What is left of a speed of which nothing is kept.
    pub slow: f64,
    /// See above.
    pub start: f64,
    /// See above.
    pub rise: f64,
    /// Is `u` the number of the pair?
    pub by_pair: bool,
    /// What turned numbers are multiplied with.
    pub amplitude: f64,
}

impl Slowing {
    /// All speeds as they are.
    pub const NONE: Slowing = Slowing { slow: 1.0, start: 1.0, rise: 0.0, by_pair: false, amplitude: 1.0 };
}

impl Rotation {
    /// The speed of a pair.
    pub(in crate::device) fn speed(&self, pair: usize) -> f64 {
        let Slowing { slow, start, rise, by_pair, .. } = self.slowing;
        let speed = self.base.powf(-2.0 * pair as f64 / self.width as f64);
        let kept = (start + rise * if by_pair { pair as f64 } else { speed }).clamp(0.0, 1.0);
        speed * (kept + (1.0 - kept) * slow)
    }
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
