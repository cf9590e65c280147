//! The encoder of a transformer: positions look at each other.

use super::options::Plan;
use super::{TransformerOptions, thinned};
use crate::error::{Error, Fault};
use crate::module;
use crate::nn::stack::{carrying, counted};
use crate::nn::{Dropout, Init, KvCache, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention};
use crate::tensor::Tensor;

/// Attention of a text to itself, then a small network at each position; each is added to what came in, and normed:
/// `x = norm1(x + attention(x))`, `y = norm2(x + linear2(relu(linear1(x))))`.
///
/// With [`with_norm_first`](TransformerOptions::with_norm_first): `x = x + attention(norm1(x))`,
/// `y = x + linear2(relu(linear1(norm2(x))))`. With a causal mask this is the layer of a language model.
///
/// Vaswani and others: "Attention is all you need", 2017.
///
/// ```
/// use chainrule::nn::{Init, Layer, TransformerEncoderLayer};
/// use chainrule::Tensor;
/// let layer = TransformerEncoderLayer::new(64, 8, &mut Init::new());
/// assert_eq!(layer.forward(&Tensor::zeros([10, 2, 64])).dims()?, [10, 2, 64]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransformerEncoderLayer {
    /// Attention of the text to itself.
    pub self_attn: MultiheadAttention,
    /// The first layer of the small network.
    pub linear1: Linear,
    /// Dropout inside of the small network.
    pub dropout: Dropout,
    /// Its second layer.
    pub linear2: Linear,
    /// The norm of the attention.
    pub norm1: LayerNorm,
    /// The norm of the network.
    pub norm2: LayerNorm,
    /// Dropout behind the attention.
    pub dropout1: Dropout,
    /// Dropout behind the network.
    pub dropout2: Dropout,
    activation: fn(&Tensor) -> Tensor,
    norm_first: bool,
}
module!(TransformerEncoderLayer {
    self_attn, linear1, dropout, linear2, norm1, norm2, dropout1, dropout2; activation, norm_first
});

impl TransformerEncoderLayer {
    /// With a network of 2048 inside, relu, dropout of 0.1, norms behind.
    #[track_caller]
    pub fn new(width: usize, heads: usize, init: &mut Init) -> TransformerEncoderLayer {
        TransformerEncoderLayer::options(width, heads).build(init)
    }
    /// With options: [`build`](TransformerOptions::build) ends them.
    ///
    /// ```
    /// use chainrule::nn::{Init, Module, TransformerEncoderLayer};
    /// let layer = TransformerEncoderLayer::options(8, 2).with_feedforward(16).without_bias().build(&mut Init::new());
    /// assert_eq!(layer.parameters()[2].0, "linear1.weight");
    /// ```
    pub fn options(width: usize, heads: usize) -> TransformerOptions<TransformerEncoderLayer> {
        TransformerOptions::new(width, heads)
    }
    #[track_caller]
    fn built(plan: &Plan, init: &mut Init) -> TransformerEncoderLayer {
        TransformerEncoderLayer {
            self_attn: plan.self_attention(init),
            linear1: plan.linear(plan.width, plan.feedforward, init),
            dropout: Dropout::new(plan.dropout, init),
            linear2: plan.linear(plan.feedforward, plan.width, init),
            norm1: plan.norm(init),
            norm2: plan.norm(init),
            dropout1: Dropout::new(plan.dropout, init),
            dropout2: Dropout::new(plan.dropout, init),
            activation: plan.activation,
            norm_first: plan.norm_first,
        }
    }
    /// The output, with masks.
    ///
    /// ```
    /// use chainrule::nn::{Init, Masks, TransformerEncoderLayer};
    /// use chainrule::Tensor;
    /// let layer = TransformerEncoderLayer::new(8, 2, &mut Init::new());
    /// let y = layer.forward_masked(&Tensor::zeros([5, 1, 8]), &Masks::new().causal());
    /// assert_eq!(y.dims()?, [5, 1, 8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn forward_masked(&self, input: &Tensor, masks: &Masks) -> Tensor {
        if self.norm_first {
            let normed = self.norm1.forward(input);
            let x = input + thinned(&self.dropout1, self.self_attn.attend(&normed, &normed, &normed, masks));
            return &x + self.network(&self.norm2.forward(&x));
        }
        let attended = self.self_attn.attend(input, input, input, masks);
        let x = self.norm1.forward(&(input + thinned(&self.dropout1, attended)));
        self.norm2.forward(&(&x + self.network(&x)))
    }
    /// The next positions of a text whose earlier ones the cache holds: see
    /// [`attend_cached`](MultiheadAttention::attend_cached).
    #[track_caller]
    pub fn forward_cached(&self, input: &Tensor, cache: &mut KvCache, masks: &Masks) -> Tensor {
        if self.norm_first {
            let attended = self.self_attn.attend_cached(&self.norm1.forward(input), cache, masks);
            let x = input + thinned(&self.dropout1, attended);
            return &x + self.network(&self.norm2.forward(&x));
        }
        let attended = self.self_attn.attend_cached(input, cache, masks);
        let x = self.norm1.forward(&(input + thinned(&self.dropout1, attended)));
        self.norm2.forward(&(&x + self.network(&x)))
    }
    /// The small network, the same at every position.
    #[track_caller]
    fn network(&self, x: &Tensor) -> Tensor {
        let inside = (self.activation)(&self.linear1.forward(x));
        thinned(&self.dropout2, self.linear2.forward(&thinned(&self.dropout, inside)))
    }
}

impl TransformerOptions<TransformerEncoderLayer> {
    /// The layer, as it starts.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> TransformerEncoderLayer {
        TransformerEncoderLayer::built(&self.plan, init).named()
    }
}

impl Layer for TransformerEncoderLayer {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        self.forward_masked(input, &Masks::new())
    }
}

/// Encoder layers one after another, and perhaps a norm at the end.
///
/// ```
/// use chainrule::nn::{Init, Layer, Module, TransformerEncoder, TransformerEncoderLayer};
/// use chainrule::Tensor;
/// let layer = TransformerEncoderLayer::options(8, 2).with_feedforward(16).with_batch_first();
/// let encoder = TransformerEncoder::new(layer, 3, &mut Init::new());
/// assert_eq!(encoder.parameters()[0].0, "layers.0.self_attn.in_proj_weight");
/// assert_eq!(encoder.forward(&Tensor::zeros([1, 5, 8])).dims()?, [1, 5, 8]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransformerEncoder {
    /// The layers, first to last.
    pub layers: Vec<TransformerEncoderLayer>,
    /// What the last one's output passes: needed where the layers' own norms stand first.
    pub norm: Option<LayerNorm>,
}
module!(TransformerEncoder { layers, norm });

impl TransformerEncoder {
    /// So many layers of one form (at most 65 536), each with numbers of its own.
    #[track_caller]
    pub fn new(
        layer: TransformerOptions<TransformerEncoderLayer>,
        count: usize,
        init: &mut Init,
    ) -> TransformerEncoder {
        TransformerEncoder { layers: TransformerEncoder::stacked(&layer.plan, count, init), norm: None }.named()
    }
    /// With a norm at the end.
    ///
    /// ```
    /// use chainrule::nn::{Init, LayerNorm, TransformerEncoder, TransformerEncoderLayer};
    /// let mut init = Init::new();
    /// let layer = TransformerEncoderLayer::options(8, 2).with_norm_first();
    /// let encoder = TransformerEncoder::new(layer, 2, &mut init).with_norm(LayerNorm::new(8, &mut init));
    /// # let _ = encoder;
    /// ```
    pub fn with_norm(self, norm: LayerNorm) -> TransformerEncoder {
        TransformerEncoder { norm: Some(norm), ..self }.named()
    }
    #[track_caller]
    pub(super) fn built(plan: &Plan, init: &mut Init) -> TransformerEncoder {
        let layers = TransformerEncoder::stacked(plan, plan.encoder_layers, init);
        TransformerEncoder { layers, norm: Some(plan.norm(init)) }
    }
    #[track_caller]
    fn stacked(plan: &Plan, count: usize, init: &mut Init) -> Vec<TransformerEncoderLayer> {
        let (count, absurd) = counted("transformer", count);
        let mut layers = Vec::new();
        for _ in 0..count {
            layers.push(TransformerEncoderLayer::built(plan, init));
        }
        carrying(layers, absurd)
    }
    /// The output, with masks for every layer.
    #[track_caller]
    pub fn forward_masked(&self, input: &Tensor, masks: &Masks) -> Tensor {
        let mut x = input.clone();
        for layer in &self.layers {
            x = layer.forward_masked(&x, masks);
        }
        self.ended(x)
    }
    /// The next positions of a text whose earlier ones the caches hold, one for each layer: what
    /// [`caches`](TransformerEncoder::caches) makes. On an error all stay as they were.
    ///
    /// ```
    /// use chainrule::nn::{Init, Masks, TransformerEncoder, TransformerEncoderLayer};
    /// use chainrule::{Tensor, evaluating, no_grad};
    /// let layer = TransformerEncoderLayer::options(8, 2).with_feedforward(16).with_batch_first();
    /// let model = TransformerEncoder::new(layer, 2, &mut Init::new());
    /// let mut caches = model.caches();
    /// for _ in 0..3 {
    ///     let token = Tensor::ones([1, 1, 8]);
    ///     let next = no_grad(|| evaluating(|| model.forward_cached(&token, &mut caches, &Masks::new())));
    ///     assert_eq!(next.dims()?, [1, 1, 8]);
    /// }
    /// assert_eq!(caches[1].len(), 3);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn forward_cached(&self, input: &Tensor, caches: &mut [KvCache], masks: &Masks) -> Tensor {
        if caches.len() != self.layers.len() {
            let what = format!("{} caches for {} layers", caches.len(), self.layers.len());
            return Tensor::failed(Error::new("transformer", Fault::shape(what, "each layer has one: use caches()")));
        }
        let before: Vec<usize> = caches.iter().map(KvCache::len).collect();
        let mut x = input.clone();
        for (layer, cache) in self.layers.iter().zip(caches.iter_mut()) {
            x = layer.forward_cached(&x, cache, masks);
        }
        let out = self.ended(x);
        if out.error().is_some() {
            caches.iter_mut().zip(before).for_each(|(cache, length)| cache.truncate(length));
        }
        out
    }
    /// Empty caches, one for each layer.
    pub fn caches(&self) -> Vec<KvCache> {
        vec![KvCache::new(); self.layers.len()]
    }
    #[track_caller]
    fn ended(&self, x: Tensor) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        }
    }
}

impl Layer for TransformerEncoder {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        self.forward_masked(input, &Masks::new())
    }
}
