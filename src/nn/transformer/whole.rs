//! Encoder and decoder together.

use super::{TransformerDecoder, TransformerEncoder, TransformerOptions};
use crate::module;
use crate::nn::{Init, Initial, Masks, Module};
use crate::tensor::Tensor;

/// An encoder reads a source, a decoder writes a target and looks at what the encoder made of the source.
///
/// Both end in a norm; all matrices start by Xavier's law.
///
/// Vaswani and others: "Attention is all you need", 2017.
///
/// ```
/// use chainrule::nn::{Init, Masks, Transformer};
/// use chainrule::Tensor;
/// let options = Transformer::options(8, 2).with_layers(1, 2).with_feedforward(16).with_batch_first();
/// let model = options.build(&mut Init::new());
/// let (source, target) = (Tensor::zeros([1, 9, 8]), Tensor::zeros([1, 5, 8]));
/// let y = model.forward(&source, &target, &Masks::new(), &Masks::new().causal(), &Masks::new());
/// assert_eq!(y.dims()?, [1, 5, 8]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Transformer {
    /// Reads the source.
    pub encoder: TransformerEncoder,
    /// Writes the target.
    pub decoder: TransformerDecoder,
}
module!(Transformer { encoder, decoder });

impl Transformer {
    /// Six layers each, networks of 2048 inside, relu, dropout of 0.1, norms behind.
    #[track_caller]
    pub fn new(width: usize, heads: usize, init: &mut Init) -> Transformer {
        Transformer::options(width, heads).build(init)
    }
    /// With options: [`build`](TransformerOptions::build) ends them.
    pub fn options(width: usize, heads: usize) -> TransformerOptions<Transformer> {
        TransformerOptions::new(width, heads)
    }
    /// The decoder's output, with masks for the source, the target, and the target's look at the source.
    #[track_caller]
    pub fn forward(
        &self,
        source: &Tensor,
        target: &Tensor,
        source_masks: &Masks,
        target_masks: &Masks,
        memory_masks: &Masks,
    ) -> Tensor {
        let memory = self.encoder.forward_masked(source, source_masks);
        self.decoder.forward(target, &memory, target_masks, memory_masks)
    }
}

impl TransformerOptions<Transformer> {
    /// So many layers of encoder and decoder, instead of six each.
    #[doc(alias("num_encoder_layers", "num_decoder_layers"))]
    pub fn with_layers(mut self, encoder: usize, decoder: usize) -> Self {
        (self.plan.encoder_layers, self.plan.decoder_layers) = (encoder, decoder);
        self
    }
    /// The model, as it starts.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> Transformer {
        let (encoder, decoder) =
            (TransformerEncoder::built(&self.plan, init), TransformerDecoder::built(&self.plan, init));
        let mut model = Transformer { encoder, decoder };
        for (_, parameter) in model.parameters_mut() {
            let Ok(shape) = parameter.shape() else { continue };
            if shape.len() > 1 {
                parameter.replace(&init.tensor(shape, Initial::XavierUniform { gain: 1.0 }));
            }
        }
        model.named()
    }
}
