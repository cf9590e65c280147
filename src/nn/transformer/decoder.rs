//! The decoder of a transformer: positions look at each other and at another text.

use super::options::Plan;
use super::{TransformerOptions, thinned};
use crate::error::{Error, Fault, Result};
use crate::module;
use crate::nn::stack::{carrying, counted};
use crate::nn::{Dropout, Init, KvCache, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention};
use crate::tensor::Tensor;

/// Attention of a text to itself, then to another one (the memory), then a small network at each position.
///
/// `x = norm1(x + self_attention(x))`, `x = norm2(x + attention(x, memory))`, `y = norm3(x + network(x))`; with
/// [`with_norm_first`](TransformerOptions::with_norm_first) the norms stand before instead. A text is seen causally only
/// where its masks say so.
///
/// Vaswani and others: "Attention is all you need", 2017.
///
/// ```
/// use chainrule::nn::{Init, Masks, TransformerDecoderLayer};
/// use chainrule::Tensor;
/// let layer = TransformerDecoderLayer::new(8, 2, &mut Init::new());
/// let (target, memory) = (Tensor::zeros([5, 1, 8]), Tensor::zeros([9, 1, 8]));
/// let y = layer.forward(&target, &memory, &Masks::new().causal(), &Masks::new());
/// assert_eq!(y.dims()?, [5, 1, 8]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransformerDecoderLayer {
    /// Attention of the text to itself.
    pub self_attn: MultiheadAttention,
    /// Attention to the memory.
    pub multihead_attn: MultiheadAttention,
    /// The first layer of the small network.
    pub linear1: Linear,
    /// Dropout inside of the small network.
    pub dropout: Dropout,
    /// Its second layer.
    pub linear2: Linear,
    /// The norm of the attention to itself.
    pub norm1: LayerNorm,
    /// The norm of the attention to the memory.
    pub norm2: LayerNorm,
    /// The norm of the network.
    pub norm3: LayerNorm,
    /// Dropout behind the attention to itself.
    pub dropout1: Dropout,
    /// Dropout behind the attention to the memory.
    pub dropout2: Dropout,
    /// Dropout behind the network.
    pub dropout3: Dropout,
    activation: fn(&Tensor) -> Tensor,
    norm_first: bool,
}
module!(TransformerDecoderLayer {
    self_attn, multihead_attn, linear1, dropout, linear2, norm1, norm2, norm3, dropout1, dropout2, dropout3;
    activation, norm_first
});

impl TransformerDecoderLayer {
    /// With a network of 2048 inside, relu, dropout of 0.1, norms behind.
    #[track_caller]
    pub fn new(width: usize, heads: usize, init: &mut Init) -> TransformerDecoderLayer {
        TransformerDecoderLayer::options(width, heads).build(init)
    }
    /// With options: [`build`](TransformerOptions::build) ends them.
    ///
    /// ```
    /// use chainrule::nn::{Init, Module, TransformerDecoderLayer};
    /// let layer = TransformerDecoderLayer::options(8, 2).with_feedforward(16).without_bias().build(&mut Init::new());
    /// assert_eq!(layer.parameters()[2].0, "multihead_attn.in_proj_weight");
    /// ```
    pub fn options(width: usize, heads: usize) -> TransformerOptions<TransformerDecoderLayer> {
        TransformerOptions::new(width, heads)
    }
    #[track_caller]
    fn built(plan: &Plan, init: &mut Init) -> TransformerDecoderLayer {
        TransformerDecoderLayer {
            self_attn: plan.self_attention(init),
            multihead_attn: plan.cross_attention(init),
            linear1: plan.linear(plan.width, plan.feedforward, init),
            dropout: Dropout::new(plan.dropout, init),
            linear2: plan.linear(plan.feedforward, plan.width, init),
            norm1: plan.norm(init),
            norm2: plan.norm(init),
            norm3: plan.norm(init),
            dropout1: Dropout::new(plan.dropout, init),
            dropout2: Dropout::new(plan.dropout, init),
            dropout3: Dropout::new(plan.dropout, init),
            activation: plan.activation,
            norm_first: plan.norm_first,
        }
    }
    /// The output for a text and a memory, each with its masks.
    #[track_caller]
    pub fn forward(&self, target: &Tensor, memory: &Tensor, masks: &Masks, memory_masks: &Masks) -> Tensor {
        self.run(target, memory, masks, memory_masks, None)
    }
    /// The next positions of a text whose earlier ones the cache holds: see
    /// [`attend_cached`](MultiheadAttention::attend_cached). The memory is read at the first call only.
    #[track_caller]
    pub fn forward_cached(
        &self,
        target: &Tensor,
        memory: &Tensor,
        cache: &mut DecoderCache,
        masks: &Masks,
        memory_masks: &Masks,
    ) -> Tensor {
        self.run(target, memory, masks, memory_masks, Some(cache))
    }
    #[track_caller]
    fn run(
        &self,
        target: &Tensor,
        memory: &Tensor,
        masks: &Masks,
        memory_masks: &Masks,
        cache: Option<&mut DecoderCache>,
    ) -> Tensor {
        let first = self.norm_first;
        let (own, of_memory) = match cache {
            Some(DecoderCache { text, memory }) => (Some(text), Some(memory)),
            None => (None, None),
        };
        let x = if first { self.norm1.forward(target) } else { target.clone() };
        let attended = match own {
            Some(cache) => self.self_attn.attend_cached(&x, cache, masks),
            None => self.self_attn.attend(&x, &x, &x, masks),
        };
        let x = target + thinned(&self.dropout1, attended);
        let x = if first { x } else { self.norm1.forward(&x) };

        let query = if first { self.norm2.forward(&x) } else { x.clone() };
        let attended = match of_memory {
            Some(cache) => self.multihead_attn.attend_memory(&query, memory, cache, memory_masks),
            None => self.multihead_attn.attend(&query, memory, memory, memory_masks),
        };
        let x = x + thinned(&self.dropout2, attended);
        let x = if first { x } else { self.norm2.forward(&x) };

        let normed = if first { self.norm3.forward(&x) } else { x.clone() };
        let inside = thinned(&self.dropout, (self.activation)(&self.linear1.forward(&normed)));
        let x = x + thinned(&self.dropout3, self.linear2.forward(&inside));
        if first { x } else { self.norm3.forward(&x) }
    }
}

/// What a decoder layer keeps between the steps of a generation: the text so far, and the memory, which is read once.
///
/// ```
/// use chainrule::nn::{DecoderCache, Init, Masks, TransformerDecoderLayer};
/// use chainrule::{Tensor, evaluating, no_grad};
/// let layer = TransformerDecoderLayer::options(8, 2).with_feedforward(16).build(&mut Init::new());
/// let (memory, mut cache) = (Tensor::ones([9, 1, 8]), DecoderCache::default());
/// for _ in 0..3 {
///     let token = Tensor::ones([1, 1, 8]);
///     let step = || layer.forward_cached(&token, &memory, &mut cache, &Masks::new(), &Masks::new());
///     no_grad(|| evaluating(step)).checked()?;
/// }
/// assert_eq!((cache.text.len(), cache.memory.len()), (3, 9));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct DecoderCache {
    /// Keys and values of the text so far.
    pub text: KvCache,
    /// Keys and values of the memory.
    pub memory: KvCache,
}

impl DecoderCache {
    /// How many positions of the text it holds.
    pub fn len(&self) -> usize {
        self.text.len()
    }
    /// Does it hold none?
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
    /// Forgets what stands behind the first `length` positions of the text; the memory stays.
    pub fn truncate(&mut self, length: usize) {
        self.text.truncate(length);
    }
    /// Forgets text and memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.memory.clear();
    }
    /// Goes on with these examples: see [`KvCache::reorder`].
    #[track_caller]
    pub fn reorder(&mut self, examples: &Tensor) -> Result<()> {
        let mut text = self.text.clone();
        text.reorder(examples)?;
        self.memory.reorder(examples)?;
        self.text = text;
        Ok(())
    }
}

impl TransformerOptions<TransformerDecoderLayer> {
    /// The layer, as it starts.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> TransformerDecoderLayer {
        TransformerDecoderLayer::built(&self.plan, init).named()
    }
}

/// Decoder layers one after another, and perhaps a norm at the end.
///
/// ```
/// use chainrule::nn::{Init, Masks, TransformerDecoder, TransformerDecoderLayer};
/// use chainrule::Tensor;
/// let layer = TransformerDecoderLayer::options(8, 2).with_feedforward(16).with_batch_first();
/// let decoder = TransformerDecoder::new(layer, 3, &mut Init::new());
/// let (target, memory) = (Tensor::zeros([1, 5, 8]), Tensor::zeros([1, 9, 8]));
/// assert_eq!(decoder.forward(&target, &memory, &Masks::new().causal(), &Masks::new()).dims()?, [1, 5, 8]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransformerDecoder {
    /// The layers, first to last.
    pub layers: Vec<TransformerDecoderLayer>,
    /// What the last one's output passes: needed where the layers' own norms stand first.
    pub norm: Option<LayerNorm>,
}
module!(TransformerDecoder { layers, norm });

impl TransformerDecoder {
    /// So many layers of one form (at most 65 536), each with numbers of its own.
    #[track_caller]
    pub fn new(
        layer: TransformerOptions<TransformerDecoderLayer>,
        count: usize,
        init: &mut Init,
    ) -> TransformerDecoder {
        TransformerDecoder { layers: TransformerDecoder::stacked(&layer.plan, count, init), norm: None }.named()
    }
    /// With a norm at the end.
    pub fn with_norm(self, norm: LayerNorm) -> TransformerDecoder {
        TransformerDecoder { norm: Some(norm), ..self }.named()
    }
    #[track_caller]
    pub(super) fn built(plan: &Plan, init: &mut Init) -> TransformerDecoder {
        let layers = TransformerDecoder::stacked(plan, plan.decoder_layers, init);
        TransformerDecoder { layers, norm: Some(plan.norm(init)) }
    }
    #[track_caller]
    fn stacked(plan: &Plan, count: usize, init: &mut Init) -> Vec<TransformerDecoderLayer> {
        let (count, absurd) = counted("transformer", count);
        let mut layers = Vec::new();
        for _ in 0..count {
            layers.push(TransformerDecoderLayer::built(plan, init));
        }
        carrying(layers, absurd)
    }
    /// The output for a text and a memory, each with its masks.
    #[track_caller]
    pub fn forward(&self, target: &Tensor, memory: &Tensor, masks: &Masks, memory_masks: &Masks) -> Tensor {
        let mut x = target.clone();
        for layer in &self.layers {
            x = layer.forward(&x, memory, masks, memory_masks);
        }
        self.ended(x)
    }
    /// The next positions of a text whose earlier ones the caches hold, one for each layer: what
    /// [`caches`](TransformerDecoder::caches) makes. On an error all stay as they were.
    #[track_caller]
    pub fn forward_cached(
        &self,
        target: &Tensor,
        memory: &Tensor,
        caches: &mut [DecoderCache],
        masks: &Masks,
        memory_masks: &Masks,
    ) -> Tensor {
        if caches.len() != self.layers.len() {
            let what = format!("{} caches for {} layers", caches.len(), self.layers.len());
            return Tensor::failed(Error::new("transformer", Fault::shape(what, "each layer has one: use caches()")));
        }
        let before: Vec<[usize; 2]> = caches.iter().map(|cache| [cache.text.len(), cache.memory.len()]).collect();
        let mut x = target.clone();
        for (layer, cache) in self.layers.iter().zip(caches.iter_mut()) {
            x = layer.forward_cached(&x, memory, cache, masks, memory_masks);
        }
        let out = self.ended(x);
        if out.error().is_some() {
            for (cache, [text, memory]) in caches.iter_mut().zip(before) {
                cache.text.truncate(text);
                cache.memory.truncate(memory);
            }
        }
        out
    }
    /// Empty caches, one for each layer.
    pub fn caches(&self) -> Vec<DecoderCache> {
        vec![DecoderCache::default(); self.layers.len()]
    }
    #[track_caller]
    fn ended(&self, x: Tensor) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        }
    }
}
