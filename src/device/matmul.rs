//! Products of matrices, with what may be joined to them in the same pass.

use super::Value;
use crate::error::Fault;

/// What a product is joined with: `alpha · a · b + beta · start + bias`.
#[derive(Clone, Copy, Debug)]
pub struct Joined<'a> {
    /// What the product is multiplied with.
    pub alpha: f64,
    /// A value that broadcasts to the result, and its factor.
    pub start: Option<(&'a Value, f64)>,
    /// One number for each column.
    pub bias: Option<&'a Value>,
}

impl Default for Joined<'_> {
    fn default() -> Self {
        Joined { alpha: 1.0, start: None, bias: None }
    }
}

/// The kernels of matrix products.
pub trait Matmul {
    /// `a · b` over the last two axes; the axes before them broadcast and are never copied. Both have two axes or more and
    /// the same element type; strides are free. Integers wrap.
    fn matmul(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault>;
}
