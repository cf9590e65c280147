//! Convolution: one sum of products `x · weight · y`, read in three directions.
//!
//! `Σ x[n, c, p · stride + tap · dilation - before] · weight[o, c, tap] · y[n, o, p]` is linear in each of its three
//! factors. Its derivative for `y` is the convolution, for `x` the transposed convolution, for `weight` the gradient of
//! the weight; so the gradients of each are the other two, to any order.

use super::Value;
use super::window::Sliding;
use crate::error::Fault;

/// How channels meet, and how they are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Groups of channels that see only each other.
    pub groups: usize,
    /// As the definition says: no faster way of adding up whose errors are larger.
    pub exact: bool,
    /// The weight is not being learnt: what is made of it may be kept beside it until it changes.
    pub at_rest: bool,
}

/// What happens to each channel of the results on their way out: `y · scale + shift`, and where it is rectified nothing below zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// A number for each channel.
    pub scale: Option<&'a Value>,
    /// The same; a bias, if nothing is scaled.
    pub shift: Option<&'a Value>,
    /// Is `max(y, 0)` taken at last?
    pub rectified: bool,
}

/// The kernels of convolution. `x` is `[batch, channels, depth, height, width]`, `weight`
/// `[outputs, channels / groups, depth, height, width]`, `y` `[batch, outputs, depth, height, width]`; any strides, one
/// float type. The windows say how large each axis of each is; output channel group `g` sees input channel group `g`.
pub trait Convolve {
    /// `y`, to whose channels a bias may be added.
    fn convolve(
        &self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault>;
    /// `y`, finished.
    fn convolve_finished(
        &self,
        x: &Value,
        weight: &Value,
        finish: Finish<'_>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault>;
    /// `x`, to whose channels a bias may be added: the gradient for the input, or a transposed convolution.
    fn convolve_transposed(
        &self,
        y: &Value,
        weight: &Value,
        bias: Option<&Value>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault>;
    /// `weight`: its gradient.
    fn convolve_weight(&self, x: &Value, y: &Value, windows: &[Sliding; 3], manner: Manner) -> Result<Value, Fault>;
}
