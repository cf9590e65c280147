//! Volumes read at any place between their elements.

use super::Value;
use crate::error::Fault;
use crate::layout::Shape;

/// How a value between elements is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The nearest element; of two the one at the even position.
    Nearest,
    /// On the line between two neighbours, along each axis.
    Linear,
    /// On the cubic through four neighbours (Keys, a = -¾), along each axis.
    Cubic,
}

/// What is found outside of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Zeros.
    Zeros,
    /// The nearest element inside.
    Border,
    /// The volume mirrored at its borders, as often as it takes.
    Reflection,
}

/// How volumes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Between elements.
    pub between: Between,
    /// Outside.
    pub outside: Outside,
    /// Do -1 and 1 mean the centres of the first and last elements, or the outer edges of these?
    pub align_corners: bool,
}

/// The kernels that read volumes `[batch, channels, depth, height, width]` at the places of a grid `[batch, places, axes]`:
/// x, y and (with three axes) z, from -1 to 1. Both are floats of one type with any strides.
pub trait Sample {
    /// The values at the places: `[batch, channels, places]`.
    fn sample(&self, x: &Value, grid: &Value, sampling: Sampling) -> Result<Value, Fault>;
    /// The gradient of the volumes, of this shape, from that of the values.
    fn sample_gradient(&self, g: &Value, grid: &Value, shape: &Shape, sampling: Sampling) -> Result<Value, Fault>;
    /// The gradient of the grid.
    fn sample_grid_gradient(&self, g: &Value, x: &Value, grid: &Value, sampling: Sampling) -> Result<Value, Fault>;
}
