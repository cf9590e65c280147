//! The variants of multi-head attention.

use super::{MultiheadAttention, Projection, Rotary};
use crate::error::Fault;
use crate::nn::{Dropout, Init, Initial, Linear, Module};

/// How a [`MultiheadAttention`] is built; see [`MultiheadAttention::options`].
///
/// ```
/// use chainrule::nn::{Init, MultiheadAttention, Rotary};
/// let options = MultiheadAttention::options(64, 8).with_key_heads(2).with_rotary(Rotary::new()).with_batch_first();
/// let attention = options.build(&mut Init::new());
/// # let _ = attention;
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is built before build(init)"]
pub struct MultiheadAttentionOptions {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) key_width: usize,
    pub(super) value_width: usize,
    pub(super) dropout: f64,
    pub(super) bias: bool,
    pub(super) extra_key: bool,
    pub(super) zero_key: bool,
    pub(super) batch_first: bool,
    pub(super) rotary: Option<Rotary>,
    pub(super) alibi: bool,
}

impl MultiheadAttentionOptions {
    pub(super) fn new(width: usize, heads: usize) -> MultiheadAttentionOptions {
        MultiheadAttentionOptions {
            width,
            heads,
            key_heads: heads,
            key_width: width,
            value_width: width,
            dropout: 0.0,
            bias: true,
            extra_key: false,
            zero_key: false,
            batch_first: false,
            rotary: None,
            alibi: false,
        }
    }
    /// The width of keys before they are projected, where it differs from that of the queries.
    ///
    /// ```
    /// use chainrule::nn::{Init, Masks, MultiheadAttention};
    /// use chainrule::Tensor;
    /// let attention = MultiheadAttention::options(8, 2).with_key_width(5).with_value_width(3).build(&mut Init::new());
    /// let (query, key, value) = (Tensor::zeros([4, 1, 8]), Tensor::zeros([6, 1, 5]), Tensor::zeros([6, 1, 3]));
    /// assert_eq!(attention.attend(&query, &key, &value, &Masks::new()).dims()?, [4, 1, 8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "kdim")]
    pub fn with_key_width(self, key_width: usize) -> Self {
        MultiheadAttentionOptions { key_width, ..self }
    }
    /// The width of values before they are projected, where it differs from that of the queries.
    #[doc(alias = "vdim")]
    pub fn with_value_width(self, value_width: usize) -> Self {
        MultiheadAttentionOptions { value_width, ..self }
    }
    /// So many heads of keys and values, which several heads of queries share: the cache of a generation is as much
    /// smaller. Their number must divide that of the heads.
    ///
    /// Ainslie and others: "GQA: training generalized multi-query transformer models", 2023.
    ///
    /// ```
    /// use chainrule::nn::{Init, Module, MultiheadAttention};
    /// let attention = MultiheadAttention::options(64, 8).with_key_heads(2).build(&mut Init::new());
    /// assert_eq!(attention.parameters()[0].1.dims()?, [64 + 16 + 16, 64]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_key_heads(self, key_heads: usize) -> Self {
        MultiheadAttentionOptions { key_heads, ..self }
    }
    /// Drops weights with this chance while training.
    pub fn with_dropout(self, dropout: f64) -> Self {
        MultiheadAttentionOptions { dropout, ..self }
    }
    /// No bias anywhere.
    ///
    /// ```
    /// use chainrule::nn::{Init, Module, MultiheadAttention};
    /// let attention = MultiheadAttention::options(8, 2).without_bias().build(&mut Init::new());
    /// assert_eq!(attention.parameters().len(), 2);
    /// ```
    pub fn without_bias(self) -> Self {
        MultiheadAttentionOptions { bias: false, ..self }
    }
    /// One more key and value, which are learnt, behind those given.
    #[doc(alias = "add_bias_kv")]
    pub fn with_extra_key(self) -> Self {
        MultiheadAttentionOptions { extra_key: true, ..self }
    }
    /// One more key and value of zeros behind all others: something to look at when nothing fits.
    #[doc(alias = "add_zero_attn")]
    pub fn with_zero_key(self) -> Self {
        MultiheadAttentionOptions { zero_key: true, ..self }
    }
    /// Tensors are `[examples, positions, width]` instead of `[positions, examples, width]`.
    pub fn with_batch_first(self) -> Self {
        MultiheadAttentionOptions { batch_first: true, ..self }
    }
    /// Queries and keys are turned by their position.
    ///
    /// ```
    /// use chainrule::nn::{Init, Layer, MultiheadAttention, Rotary};
    /// use chainrule::Tensor;
    /// let attention = MultiheadAttention::options(8, 2).with_rotary(Rotary::new()).build(&mut Init::new());
    /// assert_eq!(attention.forward(&Tensor::zeros([5, 1, 8])).dims()?, [5, 1, 8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_rotary(self, rotary: Rotary) -> Self {
        MultiheadAttentionOptions { rotary: Some(rotary), ..self }
    }
    /// Scores fall with the distance of query and key, in each head by another slope (see
    /// [`alibi_slopes`](super::alibi_slopes)).
    pub fn with_alibi(self) -> Self {
        MultiheadAttentionOptions { alibi: true, ..self }
    }
    /// Without anything that tells where positions stand.
    pub(crate) fn without_positions(self) -> Self {
        MultiheadAttentionOptions { rotary: None, alibi: false, ..self }
    }
    /// The numbers of each head.
    pub(super) fn head_width(&self) -> Result<usize, Fault> {
        let MultiheadAttentionOptions { width, heads, key_heads, .. } = *self;
        if heads == 0 || !width.is_multiple_of(heads) {
            let what = format!("a width of {width} does not divide into {heads} heads");
            return Err(Fault::shape(what, "the width must be a multiple of the number of heads"));
        }
        if width.saturating_add(self.keys_width().saturating_mul(2)) > isize::MAX as usize {
            let what = format!("a width of {width}, and {key_heads} heads of keys beside {heads}");
            return Err(Fault::shape(what, "no tensor is so wide: check which number is which"));
        }
        if key_heads == 0 || !heads.is_multiple_of(key_heads) {
            let what = format!("{heads} heads of queries do not share {key_heads} of keys evenly");
            return Err(Fault::shape(what, "the number of heads must be a multiple of that of the heads of keys"));
        }
        Ok(width / heads)
    }
    /// How wide all heads of keys are together.
    pub(super) fn keys_width(&self) -> usize {
        self.width.checked_div(self.heads).unwrap_or(0).saturating_mul(self.key_heads)
    }
    /// Builds the layer. Sizes that do not fit (a width that heads do not divide) make a failed result where it is used.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> MultiheadAttention {
        let (width, keys) = (self.width, self.keys_width());
        let law = Initial::XavierUniform { gain: 1.0 };
        let all = width.saturating_add(keys.saturating_mul(2));
        let in_proj = if self.key_width == width && self.value_width == width {
            Projection::Joint(init.parameter([all, width], law))
        } else {
            Projection::Separate {
                query: init.parameter([width, width], law),
                key: init.parameter([keys, self.key_width], law),
                value: init.parameter([keys, self.value_width], law),
            }
        };
        let in_proj_bias = if self.bias { Some(init.parameter([all], Initial::Zeros)) } else { None };
        let law = Initial::XavierNormal { gain: 1.0 };
        let bias_k = if self.extra_key { Some(init.parameter([1, 1, keys], law)) } else { None };
        let bias_v = if self.extra_key { Some(init.parameter([1, 1, keys], law)) } else { None };
        let mut out_proj = Linear::new(width, width, init);
        out_proj.bias = if self.bias { Some(init.parameter([width], Initial::Zeros)) } else { None };
        let dropout = Dropout::new(self.dropout, init);
        MultiheadAttention { in_proj, in_proj_bias, bias_k, bias_v, out_proj, dropout, options: self }.named()
    }
}
