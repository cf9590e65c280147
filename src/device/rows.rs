//! Whole rows become rows: softmax and the normalisations.

use super::Value;
use crate::error::Fault;

/// Which form of softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Softmax {
    /// `e^x / Σ e^x`.
    Plain,
    /// Its logarithm, `x - ln Σ e^x`.
    Logarithm,
}

/// How rows are standardised: a dense tensor is seen as rows of `length` numbers, and each row as runs of `run` numbers
/// that share a weight. Weights repeat after `groups` rows.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    /// Subtract the mean (layer and group norm), or not (RMS norm)?
    pub center: bool,
    /// Numbers in a row.
    pub length: usize,
    /// Numbers that share a weight: 1 in layer norm, the pixels of a channel in group norm.
    pub run: usize,
    /// Rows after which the weights begin again: 1 in layer norm.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A normalisation's result with the statistics of each row, which its gradient needs.
#[derive(Debug)]
pub struct Standardized {
    /// The result.
    pub output: Value,
    /// The mean of each row.
    pub mean: Value,
    /// `1 / √(variance + epsilon)` of each row.
    pub scale: Value,
}

/// Gradients for input, weight and bias.
pub type ThreeGradients = [Option<Value>; 3];

/// The kernels that read a row, then write it. Half precision goes through f32 and is rounded once.
pub trait Rows {
    /// Softmax along an axis.
    fn softmax(&self, x: &Value, axis: usize, form: Softmax) -> Result<Value, Fault>;
    /// The gradient for x, from the result `y` and the gradient `g` that arrived for it.
    fn softmax_gradient(&self, y: &Value, g: &Value, axis: usize, form: Softmax) -> Result<Value, Fault>;
    /// Each row minus its mean, over its standard deviation; times weight, plus bias.
    fn standardize(
        &self,
        x: &Value,
        weight: Option<&Value>,
        bias: Option<&Value>,
        standard: Standard,
    ) -> Result<Standardized, Fault>;
    /// The gradients for input, weight and bias (those `wanted`) in one visit.
    fn standardize_gradient(
        &self,
        x: &Value,
        weight: Option<&Value>,
        statistics: (&Value, &Value),
        g: &Value,
        standard: Standard,
        wanted: [bool; 3],
    ) -> Result<ThreeGradients, Fault>;
    /// `(x - mean) · scale · weight + bias` with one of each for every channel (axis 1).
    fn normalize_channels(
        &self,
        x: &Value,
        statistics: (&Value, &Value),
        weight: Option<&Value>,
        bias: Option<&Value>,
    ) -> Result<Value, Fault>;
    /// The gradients of [`normalize_channels`](Rows::normalize_channels) for x, weight and bias; with `batch`, mean and
    /// scale are those of x itself.
    fn normalize_channels_gradient(
        &self,
        x: &Value,
        statistics: (&Value, &Value),
        weight: Option<&Value>,
        g: &Value,
        batch: bool,
        wanted: [bool; 3],
    ) -> Result<ThreeGradients, Fault>;
}
