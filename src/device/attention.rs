//! Attention without the matrix of all weights.

use super::Value;
use super::random::Draw;
use crate::error::Fault;

/// What attention computes beside its operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attending {
    /// Scores are multiplied by this.
    pub scale: f64,
    /// Row `i` sees columns `0 ..= i` only.
    pub causal: bool,
    /// Weights are dropped with this chance, by this draw.
    pub dropout: Option<(f64, Draw)>,
}

/// What the gradient of attention needs of the way forward.
pub struct Attended {
    /// The result.
    pub out: Value,
    /// The greatest score of each row (0 where all are masked).
    pub maxima: Value,
    /// One over the sum of `exp(score - maximum)` of each row (0 where all are masked).
    pub shares: Value,
}

/// Gradients of attention.
pub struct AttentionGradients {
    /// For the queries.
    pub query: Value,
    /// For the keys.
    pub key: Value,
    /// For the values.
    pub value: Value,
    /// For the mask, in the shape of the scores, where it was wanted.
    pub mask: Option<Value>,
}

/// The kernels of attention.
///
/// `query [.., groups, L, E]`, `key [.., 1, S, E]`, `value [.., 1, S, F]`: all batch axes agree but for the last, along
/// which several queries share a key. `mask` has (or is a view of) the shape `[.., groups, L, S]` of the scores, and is
/// boolean (true: keep) or of the queries' type (added).
pub trait Attend {
    /// `softmax(scale · query · keyᵀ + mask) · value`; rows in which all is masked are zero.
    fn attend(
        &self,
        query: &Value,
        key: &Value,
        value: &Value,
        mask: Option<&Value>,
        how: Attending,
    ) -> Result<Attended, Fault>;
    /// The gradients, from the one that arrived; those for keys and values are sums over the groups.
    #[expect(clippy::too_many_arguments, reason = "the operands of attention")]
    fn attend_gradient(
        &self,
        query: &Value,
        key: &Value,
        value: &Value,
        mask: Option<&Value>,
        attended: &Attended,
        arriving: &Value,
        how: Attending,
        mask_too: bool,
    ) -> Result<AttentionGradients, Fault>;
}
