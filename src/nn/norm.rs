//! Layer, RMS, group and local response norm as layers.

use super::{Init, Initial, Layer, Module};
use crate::layout::{DType, SizeList, Sizes};
use crate::module;
use crate::tensor::{Parameter, Tensor};
use std::marker::PhantomData;

/// The options of a norm without running statistics that is about to be built: see [`LayerNorm::options`].
///
/// ```
/// use chainrule::nn::{GroupNorm, Init, LayerNorm, Module};
/// let mut init = Init::new();
/// assert_eq!(LayerNorm::options([4, 8]).without_bias().build(&mut init).parameter_count(), 32);
/// assert_eq!(GroupNorm::options(2, 8).without_affine().build(&mut init).parameter_count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct RowNormOptions<L> {
    sizes: SizeList,
    groups: usize,
    epsilon: Option<f64>,
    weight: bool,
    bias: bool,
    layer: PhantomData<fn() -> L>,
}

impl<L> RowNormOptions<L> {
    fn new(sizes: impl Sizes, groups: usize, epsilon: Option<f64>) -> RowNormOptions<L> {
        RowNormOptions { sizes: sizes.sizes(), groups, epsilon, weight: true, bias: true, layer: PhantomData }
    }
    /// What is added to the variance.
    pub fn with_epsilon(self, epsilon: f64) -> RowNormOptions<L> {
        RowNormOptions { epsilon: Some(epsilon), ..self }
    }
    /// Without anything that is learnt.
    pub fn without_affine(self) -> RowNormOptions<L> {
        RowNormOptions { weight: false, bias: false, ..self }
    }
    #[track_caller]
    fn start(&self, init: &mut Init) -> (Option<Parameter>, Option<Parameter>) {
        let weight = init.parameter_if(self.weight, &self.sizes, Initial::Ones);
        (weight, init.parameter_if(self.bias, &self.sizes, Initial::Zeros))
    }
}

/// Layer norm over the last axes, which have these sizes: `(x - mean) / √(variance + epsilon) · weight + bias`.
///
/// Epsilon is 1e-5. Ba, Kiros, Hinton, "Layer normalization", 2016.
///
/// ```
/// use chainrule::nn::{Init, Layer, LayerNorm};
/// use chainrule::Tensor;
/// let layer = LayerNorm::new(2, &mut Init::new());
/// let y = layer.forward(&Tensor::from([[1.0, 3.0], [10.0, 30.0]]));
/// assert!((y.max().item()? - 1.0).abs() < 1e-4);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// The sizes of the axes that are normalised together; ones at the start.
    pub weight: Option<Parameter>,
    /// The same sizes; zeros at the start.
    pub bias: Option<Parameter>,
    sizes: SizeList,
    epsilon: f64,
}
module!(LayerNorm { weight, bias; sizes, epsilon });

impl LayerNorm {
    /// Over the last axis of this size, or the last axes of these sizes.
    #[track_caller]
    pub fn new(sizes: impl Sizes, init: &mut Init) -> LayerNorm {
        LayerNorm::options(sizes).build(init)
    }
    /// With options: epsilon, what is learnt.
    ///
    /// ```
    /// use chainrule::nn::{Init, LayerNorm};
    /// assert!(LayerNorm::options(8).with_epsilon(1e-12).without_bias().build(&mut Init::new()).bias.is_none());
    /// ```
    pub fn options(sizes: impl Sizes) -> RowNormOptions<LayerNorm> {
        RowNormOptions::new(sizes, 0, Some(1e-5))
    }
}

impl RowNormOptions<LayerNorm> {
    /// With a weight alone.
    pub fn without_bias(self) -> RowNormOptions<LayerNorm> {
        RowNormOptions { bias: false, ..self }
    }
    /// The layer, as it starts.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> LayerNorm {
        let (weight, bias) = self.start(init);
        LayerNorm { weight, bias, sizes: self.sizes, epsilon: self.epsilon.unwrap_or(1e-5) }.named()
    }
}

/// Refuses an input whose last axes are others than the layer was made for; weights would say it, but may be missing.
macro_rules! check_sizes {
    ($layer:ident, $input:ident, $name:literal) => {
        if let Ok(value) = $input.value() {
            let (dims, sizes) = (value.dims(), $layer.sizes.as_slice());
            let same = dims.iter().rev().zip(sizes.iter().rev()).all(|(&dim, &size)| dim as isize == size);
            if dims.len() < sizes.len() || !same || sizes.is_empty() {
                let what = format!("the last axes of {dims:?} are not those the layer was made for: {sizes:?}");
                let help =
                    "the layer's sizes are those of the input's last axes: make it with them, or permute the input";
                let operands: Vec<&Tensor> = [Some($input), $layer.weight.as_deref()].into_iter().flatten().collect();
                return crate::tensor::refused($name, crate::error::Fault::shape(what, help), &operands);
            }
        }
    };
}

impl Layer for LayerNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        check_sizes!(self, input, "layer_norm");
        input.layer_norm(self.sizes.len(), self.weight.as_deref(), self.bias.as_deref(), self.epsilon)
    }
}

/// RMS norm over the last axes, which have these sizes: `x / √(mean(x²) + epsilon) · weight`.
///
/// Unless it is given, epsilon is the smallest step of the element type above 1, of f32 for half types. Zhang and Sennrich,
/// "Root mean square layer normalization", 2019.
///
/// ```
/// use chainrule::nn::{Init, Layer, RmsNorm};
/// use chainrule::Tensor;
/// let layer = RmsNorm::new(2, &mut Init::new());
/// assert_eq!(layer.forward(&Tensor::from([[5.0, -5.0]])).to_vec::<f32>()?, [1.0, -1.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[doc(alias = "RMSNorm")]
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// The sizes of the axes that are normalised together; ones at the start.
    pub weight: Option<Parameter>,
    sizes: SizeList,
    epsilon: Option<f64>,
}
module!(RmsNorm { weight; sizes, epsilon });

impl RmsNorm {
    /// Over the last axis of this size, or the last axes of these sizes.
    #[track_caller]
    pub fn new(sizes: impl Sizes, init: &mut Init) -> RmsNorm {
        RmsNorm::options(sizes).build(init)
    }
    /// With options: epsilon, whether a weight is learnt.
    ///
    /// ```
    /// use chainrule::nn::{Init, RmsNorm};
    /// assert!(RmsNorm::options(8).with_epsilon(1e-6).build(&mut Init::new()).weight.is_some());
    /// ```
    pub fn options(sizes: impl Sizes) -> RowNormOptions<RmsNorm> {
        RowNormOptions { bias: false, ..RowNormOptions::new(sizes, 0, None) }
    }
}

impl RowNormOptions<RmsNorm> {
    /// The layer, as it starts.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> RmsNorm {
        let (weight, _) = self.start(init);
        RmsNorm { weight, sizes: self.sizes, epsilon: self.epsilon }.named()
    }
}

impl Layer for RmsNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        check_sizes!(self, input, "rms_norm");
        let step =
            if input.dtype().is_ok_and(|dtype| dtype == DType::F64) { f64::EPSILON } else { f32::EPSILON.into() };
        input.rms_norm(self.sizes.len(), self.weight.as_deref(), self.epsilon.unwrap_or(step))
    }
}

/// Group norm of `[batch, channels, ...]`: the channels are cut into groups, each normalised together, example by example.
///
/// Epsilon is 1e-5. Wu and He, "Group normalization", 2018.
///
/// ```
/// use chainrule::nn::{GroupNorm, Init, Layer};
/// use chainrule::Tensor;
/// let layer = GroupNorm::new(2, 4, &mut Init::new());
/// let y = layer.forward(&Tensor::from([[[1.0], [3.0], [10.0], [30.0]]]));
/// assert!((y.max().item()? - 1.0).abs() < 1e-4);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// `[channels]`, ones at the start.
    pub weight: Option<Parameter>,
    /// `[channels]`, zeros at the start.
    pub bias: Option<Parameter>,
    groups: usize,
    epsilon: f64,
}
module!(GroupNorm { weight, bias; groups, epsilon });

impl GroupNorm {
    /// So many groups of so many channels in all.
    #[track_caller]
    pub fn new(groups: usize, channels: usize, init: &mut Init) -> GroupNorm {
        GroupNorm::options(groups, channels).build(init)
    }
    /// With options: epsilon, whether anything is learnt.
    ///
    /// ```
    /// use chainrule::nn::{GroupNorm, Init};
    /// assert!(GroupNorm::options(2, 8).without_affine().build(&mut Init::new()).weight.is_none());
    /// ```
    pub fn options(groups: usize, channels: usize) -> RowNormOptions<GroupNorm> {
        RowNormOptions::new(channels, groups, Some(1e-5))
    }
}

impl RowNormOptions<GroupNorm> {
    /// The layer, as it starts.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> GroupNorm {
        let (weight, bias) = self.start(init);
        GroupNorm { weight, bias, groups: self.groups, epsilon: self.epsilon.unwrap_or(1e-5) }.named()
    }
}

impl Layer for GroupNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input.group_norm(self.groups, self.weight.as_deref(), self.bias.as_deref(), self.epsilon)
    }
}

/// Local response norm of `[batch, channels, ...]`: `x / (k + alpha · mean of x² over size neighbouring channels)^beta`.
///
/// Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
///
/// ```
/// use chainrule::nn::{Layer, LocalResponseNorm};
/// use chainrule::Tensor;
/// let layer = LocalResponseNorm { alpha: 1.0, beta: 0.5, k: 7.0, ..LocalResponseNorm::new(1) };
/// assert_eq!(layer.forward(&Tensor::from([[[3.0], [0.0]]])).to_vec::<f32>()?, [0.75, 0.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponseNorm {
    /// How many neighbouring channels damp each other.
    pub size: usize,
    /// How much: 1e-4.
    pub alpha: f64,
    /// The power: 0.75.
    pub beta: f64,
    /// What damps without neighbours: 1.
    pub k: f64,
}
module!(LocalResponseNorm {; size, alpha, beta, k });

impl LocalResponseNorm {
    /// Over so many neighbouring channels.
    pub fn new(size: usize) -> LocalResponseNorm {
        LocalResponseNorm { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl Layer for LocalResponseNorm {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input.local_response_norm(self.size, self.alpha, self.beta, self.k)
    }
}
