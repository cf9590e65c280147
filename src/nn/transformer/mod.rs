//! Transformers: layers of attention and small networks, and stacks of them. Reading order: `options` (their variants),
//! `encoder`, `decoder`, `whole` (both together).

mod decoder;
mod encoder;
mod options;
mod whole;

pub use decoder::{DecoderCache, TransformerDecoder, TransformerDecoderLayer};
pub use encoder::{TransformerEncoder, TransformerEncoderLayer};
pub use options::TransformerOptions;
pub use whole::Transformer;

use super::Dropout;
use crate::nn::Layer;
use crate::tensor::Tensor;

/// Dropout, where there is any.
#[track_caller]
fn thinned(dropout: &Dropout, x: Tensor) -> Tensor {
    if dropout.rate == 0.0 { x } else { dropout.forward(&x) }
}
