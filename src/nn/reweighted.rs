//! Layers whose weight is made of another one at each pass: of a direction and a length, or of a matrix and its greatest stretch.

use super::{
    Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Init, Initial, Layer, Linear, Module,
    Running,
};
use crate::module;
use crate::tensor::{Parameter, Tensor};

/// A layer that can work with another weight than its own.
pub trait Weighted: Module {
    /// Its own weight.
    fn weight(&self) -> &Parameter;
    /// The output for an input, with this weight in the place of its own.
    #[track_caller]
    fn forward_with(&self, weight: &Tensor, input: &Tensor) -> Tensor;
    /// The axis of the weight along which outputs lie.
    fn output_axis(&self) -> isize {
        0
    }
}

impl Weighted for Linear {
    fn weight(&self) -> &Parameter {
        &self.weight
    }
    #[track_caller]
    fn forward_with(&self, weight: &Tensor, input: &Tensor) -> Tensor {
        input.linear(weight, self.bias.as_deref())
    }
}

macro_rules! weighted {
    ($($Layer:ident $axis:literal)*) => { $(
        impl Weighted for $Layer {
            fn weight(&self) -> &Parameter {
                &self.weight
            }
            #[track_caller]
            fn forward_with(&self, weight: &Tensor, input: &Tensor) -> Tensor {
                self.convolved(weight, input)
            }
            fn output_axis(&self) -> isize {
                $axis
            }
        }
    )* };
}
weighted! { Conv1d 0 Conv2d 0 Conv3d 0 ConvTranspose1d 1 ConvTranspose2d 1 ConvTranspose3d 1 }

/// The axes of a weight but one.
fn all_but(weight: &Tensor, axis: isize) -> Vec<isize> {
    (0..weight.rank().unwrap_or(0) as isize).filter(|&other| other != axis).collect()
}

/// A layer whose weight is learnt as a direction and a length, for each slice along its first axis: `g · v / ‖v‖`.
///
/// `v` is the layer's own weight, `g` starts as its length, so that nothing changes at first.
///
/// Salimans, Kingma: "Weight normalization: a simple reparameterization to accelerate training of deep neural networks", 2016.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, Module, WeightNorm};
/// use chainrule::Tensor;
/// let layer = WeightNorm::new(Linear::new(4, 2, &mut Init::new()));
/// let x = Tensor::ones([3, 4]);
/// assert!((layer.forward(&x) - layer.layer.forward(&x)).abs().max().item()? < 1e-6);
/// assert_eq!(layer.parameters()[0].0, "weight_g");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WeightNorm<L> {
    /// The length of each slice, with axes of size 1 behind.
    pub magnitude: Parameter,
    /// The layer, whose weight gives the directions.
    pub layer: L,
}

module!(<L: Weighted> WeightNorm<L> { magnitude as "weight_g", layer as "" } alias "weight_v" => "weight");

impl<L: Weighted> WeightNorm<L> {
    /// As the layer is.
    #[track_caller]
    pub fn new(layer: L) -> WeightNorm<L> {
        let weight = layer.weight().detach();
        let magnitude = Parameter::new(weight.vector_norm_keep(2.0, &all_but(&weight, 0)[..]));
        WeightNorm { magnitude, layer }.named()
    }
    /// The weight of this moment.
    #[track_caller]
    pub fn weight(&self) -> Tensor {
        let direction: &Tensor = self.layer.weight();
        &*self.magnitude * (direction / direction.vector_norm_keep(2.0, &all_but(direction, 0)[..]))
    }
}

impl<L: Weighted> Layer for WeightNorm<L> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        self.layer.forward_with(&self.weight(), input)
    }
}

/// A layer whose weight, seen as a matrix of outputs by all else, is divided by its greatest singular value: it stretches no input
/// by more than 1. Each training pass comes a step nearer to that value.
///
/// Miyato, Kataoka, Koyama, Yoshida: "Spectral normalization for generative adversarial networks", 2018.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, SpectralNorm};
/// use chainrule::Tensor;
/// let init = &mut Init::new();
/// let layer = SpectralNorm::new(Linear::new(4, 3, init), init);
/// for _ in 0..50 {
///     layer.forward(&Tensor::ones([1, 4]));
/// }
/// assert!((layer.weight().singular_values().max().item()? - 1.0).abs() < 1e-4);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SpectralNorm<L> {
    /// The layer, whose weight is divided.
    pub layer: L,
    /// What the weight stretches most, as far as is known: a vector of the outputs.
    pub direction: Running<Tensor>,
    steps: usize,
}

module!(<L: Weighted> SpectralNorm<L> { layer as "", direction as "weight_u"; steps } alias "weight_orig" => "weight");

impl<L: Weighted> SpectralNorm<L> {
    /// One step for each training pass, after fifteen at the start.
    #[track_caller]
    pub fn new(layer: L, init: &mut Init) -> SpectralNorm<L> {
        let size = layer.weight().size(layer.output_axis()).unwrap_or(0);
        let start = init.tensor([size], Initial::Normal { mean: 0.0, deviation: 1.0 });
        let mut new = SpectralNorm { layer, direction: Running::new(start.clone()), steps: 1 };
        let known = stepped(&new.matrix().detach(), &start, 15);
        new.direction.set(known);
        new.named()
    }
    /// So many steps for each training pass.
    pub fn with_steps(self, steps: usize) -> SpectralNorm<L> {
        SpectralNorm { steps, ..self }
    }
    /// The weight as a matrix, a row for each output.
    #[track_caller]
    fn matrix(&self) -> Tensor {
        self.layer.weight().move_axis(self.layer.output_axis(), 0).flatten_axes(1, -1)
    }
    /// The weight of this moment.
    #[track_caller]
    pub fn weight(&self) -> Tensor {
        let matrix = self.matrix();
        let direction = as_wide_as(&self.direction.get(), &matrix);
        let inner = direction.matmul(&matrix.detach()).normalize(2.0, 0);
        let greatest = direction.dot(&matrix.matmul(&inner));
        let weight: &Tensor = self.layer.weight();
        weight / greatest
    }
}

/// The direction after some more steps, in its own element type.
#[track_caller]
fn stepped(matrix: &Tensor, direction: &Tensor, steps: usize) -> Tensor {
    let matrix = as_wide_as(matrix, direction);
    let mut direction = direction.clone();
    for _ in 0..steps {
        let inner = direction.matmul(&matrix).normalize(2.0, 0);
        direction = matrix.matmul(&inner).normalize(2.0, 0);
    }
    direction
}

/// In the other's element type: what a model remembers stays in f32 where its weights are in half precision.
#[track_caller]
fn as_wide_as(x: &Tensor, other: &Tensor) -> Tensor {
    match other.dtype() {
        Ok(dtype) => x.to_dtype(dtype),
        Err(error) => Tensor::failed(error),
    }
}

impl<L: Weighted> Layer for SpectralNorm<L> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        let matrix = self.matrix().detach();
        let known = self.direction.update(|direction| stepped(&matrix, direction, self.steps));
        match known {
            Ok(()) => self.layer.forward_with(&self.weight(), input),
            Err(error) => Tensor::failed(error),
        }
    }
}
