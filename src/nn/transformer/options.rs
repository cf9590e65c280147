//! The variants of transformer layers.

use crate::nn::{Init, LayerNorm, Linear, MultiheadAttention, MultiheadAttentionOptions, Rotary};
use crate::tensor::Tensor;
use std::fmt;
use std::marker::PhantomData;

/// How a layer of a transformer, or a whole one, is built: see
/// [`TransformerEncoderLayer::options`](super::TransformerEncoderLayer::options).
///
/// ```
/// use chainrule::nn::{Init, TransformerEncoderLayer};
/// use chainrule::Tensor;
/// let options = TransformerEncoderLayer::options(64, 8).with_feedforward(256).with_activation(Tensor::gelu).with_norm_first();
/// let layer = options.with_batch_first().build(&mut Init::new());
/// # let _ = layer;
/// ```
#[must_use = "nothing is built before build(init)"]
pub struct TransformerOptions<T> {
    pub(super) plan: Plan,
    of: PhantomData<fn() -> T>,
}

/// The settings, whatever is built with them.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) width: usize,
    pub(super) attention: MultiheadAttentionOptions,
    pub(super) feedforward: usize,
    pub(super) dropout: f64,
    pub(super) activation: fn(&Tensor) -> Tensor,
    pub(super) norm_first: bool,
    pub(super) batch_first: bool,
    pub(super) bias: bool,
    pub(super) epsilon: f64,
    pub(super) encoder_layers: usize,
    pub(super) decoder_layers: usize,
}

impl Plan {
    /// Attention among the positions of one text.
    #[track_caller]
    pub(super) fn self_attention(&self, init: &mut Init) -> MultiheadAttention {
        self.finished(self.attention.clone()).build(init)
    }
    /// Attention to another text, whose positions are not those of this one.
    #[track_caller]
    pub(super) fn cross_attention(&self, init: &mut Init) -> MultiheadAttention {
        self.finished(self.attention.clone().without_positions()).build(init)
    }
    fn finished(&self, mut attention: MultiheadAttentionOptions) -> MultiheadAttentionOptions {
        attention = attention.with_dropout(self.dropout);
        attention = if self.batch_first { attention.with_batch_first() } else { attention };
        if self.bias { attention } else { attention.without_bias() }
    }
    #[track_caller]
    pub(super) fn linear(&self, inputs: usize, outputs: usize, init: &mut Init) -> Linear {
        let linear = Linear::new(inputs, outputs, init);
        if self.bias { linear } else { linear.without_bias() }
    }
    #[track_caller]
    pub(super) fn norm(&self, init: &mut Init) -> LayerNorm {
        let options = LayerNorm::options(self.width).with_epsilon(self.epsilon);
        if self.bias { options.build(init) } else { options.without_bias().build(init) }
    }
}

impl<T> TransformerOptions<T> {
    pub(super) fn new(width: usize, heads: usize) -> Self {
        let plan = Plan {
            width,
            attention: MultiheadAttention::options(width, heads),
            feedforward: 2048,
            dropout: 0.1,
            activation: Tensor::relu,
            norm_first: false,
            batch_first: false,
            bias: true,
            epsilon: 1e-5,
            encoder_layers: 6,
            decoder_layers: 6,
        };
        TransformerOptions { plan, of: PhantomData }
    }
    fn with(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }
    /// The width inside of the small network, 2048 otherwise.
    #[doc(alias = "dim_feedforward")]
    pub fn with_feedforward(self, width: usize) -> Self {
        self.with(|plan| plan.feedforward = width)
    }
    /// Drops numbers with this chance while training, 0.1 otherwise.
    pub fn with_dropout(self, dropout: f64) -> Self {
        self.with(|plan| plan.dropout = dropout)
    }
    /// Another activation in the small network than [`relu`](Tensor::relu): `Tensor::gelu`, or a function of your own.
    pub fn with_activation(self, activation: fn(&Tensor) -> Tensor) -> Self {
        self.with(|plan| plan.activation = activation)
    }
    /// Norms stand before attention and network instead of behind: deep stacks then train without a warm-up.
    ///
    /// Xiong and others: "On layer normalization in the transformer architecture", 2020.
    #[doc(alias = "norm_first")]
    pub fn with_norm_first(self) -> Self {
        self.with(|plan| plan.norm_first = true)
    }
    /// Tensors are `[examples, positions, width]` instead of `[positions, examples, width]`.
    pub fn with_batch_first(self) -> Self {
        self.with(|plan| plan.batch_first = true)
    }
    /// No bias anywhere.
    pub fn without_bias(self) -> Self {
        self.with(|plan| plan.bias = false)
    }
    /// What norms add to the variance, 1e-5 otherwise.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        self.with(|plan| plan.epsilon = epsilon)
    }
    /// So many heads of keys and values, which several heads of queries share.
    pub fn with_key_heads(self, heads: usize) -> Self {
        self.with(|plan| plan.attention = plan.attention.clone().with_key_heads(heads))
    }
    /// Where a position stands is told by rotation (in attention of a text to itself).
    pub fn with_rotary(self, rotary: Rotary) -> Self {
        self.with(|plan| plan.attention = plan.attention.clone().with_rotary(rotary))
    }
    /// Where a position stands is told by scores that fall with the distance (in attention of a text to itself).
    pub fn with_alibi(self) -> Self {
        self.with(|plan| plan.attention = plan.attention.clone().with_alibi())
    }
}

impl<T> Clone for TransformerOptions<T> {
    fn clone(&self) -> Self {
        TransformerOptions { plan: self.plan.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for TransformerOptions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { width, feedforward, dropout, norm_first, batch_first, bias, epsilon, .. } = self.plan;
        write!(
            f,
            "TransformerOptions({width}, feedforward {feedforward}, dropout {dropout}, norm_first {norm_first}, \
             batch_first {batch_first}, bias {bias}, epsilon {epsilon}, {:?})",
            self.plan.attention
        )
    }
}
