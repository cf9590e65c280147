//! Layers: models are plain structs that own their parameters.
//!
//! A layer takes an [`Init`] where it is made and is a [`Layer`] (one tensor in, one out) or has a `forward` of its own.
//! Names, layouts and defaults are PyTorch's, so its files load. Reading order: `module` (what a model is), `linear` (the
//! shortest layer), `running` (what a forward pass may change), `load` (tensors by name).
//!
//! Layers with options have three ways in: `new(sizes, init)` for the usual one, `options(sizes)` followed by `with_*` and
//! `build(init)` where an option changes what is learnt; a layer without parameters is made by `new` and `with_*` alone.

mod activation;
mod arrange;
mod attention;
mod batch_norm;
mod conv;
mod dropout;
mod embedding;
mod generate;
mod in_turn;
mod init;
mod initial;
mod linear;
mod load;
mod module;
mod norm;
mod pairs;
mod path;
mod pool;
mod recurrent;
mod reweighted;
mod running;
mod sequential;
mod stack;
mod summary;
mod transformer;

pub use activation::{
    Celu, Elu, Gelu, Glu, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyRelu, LogSigmoid, LogSoftmax, Mish, PRelu,
    RRelu, Relu, Relu6, Selu, Sigmoid, Silu, Softmax, Softmax2d, Softmin, Softplus, Softshrink, Softsign, Tanh,
    Tanhshrink, Threshold,
};
pub use arrange::{
    ChannelShuffle, CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad1d, ConstantPad2d, ConstantPad3d, Flatten,
    Fold, Identity, Map, PixelShuffle, PixelUnshuffle, ReflectionPad1d, ReflectionPad2d, ReflectionPad3d,
    ReplicationPad1d, ReplicationPad2d, ReplicationPad3d, Residual, Unflatten, Unfold, Upsample, ZeroPad1d, ZeroPad2d,
    ZeroPad3d,
};
pub use attention::{
    KvCache, Masks, MultiheadAttention, MultiheadAttentionOptions, Projection, Rotary, RotaryScaling, alibi_slopes,
    causal_mask,
};
pub use batch_norm::{
    BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, NormOptions,
};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvOptions, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use dropout::{AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d};
pub use embedding::{Bag, Embedding, EmbeddingBag, EmbeddingOptions, PositionalEncoding};
pub use generate::Sampler;
pub use in_turn::in_turn;
pub use init::Init;
pub use initial::{Fan, Initial, gain, leaky_gain};
pub use linear::Linear;
pub use load::Load;
pub use module::{Layer, Module, Visit, VisitMut};
pub use norm::{GroupNorm, LayerNorm, LocalResponseNorm, RmsNorm, RowNormOptions};
pub use pairs::{Bilinear, CosineSimilarity, PairwiseDistance};
pub use path::{Path, matches};
pub use pool::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d,
    AvgPool1d, AvgPool2d, AvgPool3d, LpPool1d, LpPool2d, LpPool3d, MaxPool1d, MaxPool2d, MaxPool3d, MaxUnpool1d,
    MaxUnpool2d, MaxUnpool3d,
};
pub use recurrent::{
    Gru, GruCell, Lstm, LstmCell, LstmOutput, RecurrentLayer, RecurrentLayers, RecurrentOptions, RecurrentOutput,
    RecurrentWeights, Rnn, RnnCell, Sequence,
};
pub use reweighted::{SpectralNorm, WeightNorm, Weighted};
pub use running::Running;
pub use sequential::Sequential;
pub use summary::{Summary, SummaryLine, summary};
pub use transformer::{
    DecoderCache, Transformer, TransformerDecoder, TransformerDecoderLayer, TransformerEncoder,
    TransformerEncoderLayer, TransformerOptions,
};
