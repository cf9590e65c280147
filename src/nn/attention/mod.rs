//! Attention as a layer, and what belongs to it. Reading order: `masks` (who sees whom), `multihead` (the layer),
//! `options` (its variants), `position` (where a token stands), `cache` (what is kept between the steps of a generation).

mod cache;
mod masks;
mod multihead;
mod options;
mod position;

pub use cache::KvCache;
pub use masks::{Masks, causal_mask};
pub use multihead::{MultiheadAttention, Projection};
pub use options::MultiheadAttentionOptions;
pub use position::{Rotary, RotaryScaling, alibi_slopes};
