//! Activations as layers, so that they can stand in a [`Sequential`](super::Sequential).

use super::{Init, Initial, Layer, Module, Running};
use crate::device::Random;
use crate::layout::Integer;
use crate::module;
use crate::ops::finish::Finish;
use crate::tensor::{Parameter, Tensor};

/// The example that every activation's documentation ends with.
macro_rules! example {
    ($Name:ident, $make:expr, $x:literal, $y:literal) => {
        concat!(
            "\n\n```\nuse chainrule::nn::{Layer, ",
            stringify!($Name),
            "};\nuse chainrule::Tensor;\nlet y = ",
            $make,
            ".forward(&Tensor::from([",
            $x,
            "])).item()?;\nassert!((y - ",
            $y,
            ").abs() < 1e-5, \"{y}\");\n# Ok::<(), chainrule::Error>(())\n```"
        )
    };
}

macro_rules! plain {
    ($($(#[$doc:meta])* $Name:ident $x:literal => $y:literal, $method:ident $(, $finish:expr)?;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\nThe operation is [`", stringify!($method), "`](Tensor::", stringify!($method), ").")]
        #[doc = example!($Name, stringify!($Name), $x, $y)]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $Name;
        module!($Name {});
        impl Layer for $Name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                input.$method()
            }
            $(fn as_finish(&self) -> Option<Finish> {
                Some($finish)
            })?
        }
    )* };
}

plain! {
    /// The rectifier, `max(x, 0)`.
    Relu "-1.0" => "0.0", relu, Finish::rectifier();
    /// The rectifier up to 6, `min(max(x, 0), 6)`.
    Relu6 "7.0" => "6.0", relu6;
    /// [`Elu`] with the constants that keep mean 0 and variance 1.
    ///
    /// Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks", 2017.
    Selu "1.0" => "1.050701", selu;
    /// The logistic function, `1 / (1 + e^-x)`.
    Sigmoid "0.0" => "0.5", sigmoid;
    /// The logarithm of [`Sigmoid`], without overflow.
    LogSigmoid "0.0" => "-0.693147", log_sigmoid;
    /// The hyperbolic tangent.
    Tanh "1.0" => "0.761594", tanh;
    /// `x · sigmoid(x)`, also called swish.
    ///
    /// Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units", 2017.
    Silu "1.0" => "0.731059", silu;
    /// `x · tanh(softplus(x))`.
    ///
    /// Misra, "Mish: a self regularized non-monotonic activation function", 2019.
    Mish "1.0" => "0.865098", mish;
    /// [`Sigmoid`] from straight lines, `min(max(x + 3, 0), 6) / 6`.
    Hardsigmoid "0.0" => "0.5", hardsigmoid;
    /// [`Silu`] from straight lines, `x · min(max(x + 3, 0), 6) / 6`.
    ///
    /// Howard et al., "Searching for MobileNetV3", 2019.
    Hardswish "1.0" => "0.666667", hardswish;
    /// `x - tanh(x)`.
    Tanhshrink "1.0" => "0.238406", tanhshrink;
    /// `x / (1 + |x|)`.
    Softsign "-1.0" => "-0.5", softsign;
}

macro_rules! shaped {
    ($($(#[$doc:meta])* $Name:ident { $($field:ident $default:literal $what:literal),* } $x:literal => $y:literal, $method:ident;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\nThe operation is [`", stringify!($method), "`](Tensor::", stringify!($method), ").")]
        #[doc = example!($Name, concat!(stringify!($Name), "::default()"), $x, $y)]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $Name {
            $(#[doc = concat!($what, "; ", stringify!($default), " by default.")] pub $field: f64,)*
        }
        module!($Name {; $($field),* });
        impl $Name {
            /// With numbers of your own; `default` has the usual ones.
            #[doc = concat!("\n\n```\nuse chainrule::nn::", stringify!($Name), ";\nassert_eq!(", stringify!($Name), "::new(",
                $(stringify!($default), ", ",)* "), ", stringify!($Name), "::default());\n```")]
            pub fn new($($field: f64),*) -> $Name {
                $Name { $($field),* }
            }
        }
        impl Default for $Name {
            fn default() -> $Name {
                $Name { $($field: $default),* }
            }
        }
        impl Layer for $Name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                input.$method($(self.$field),*)
            }
        }
    )* };
}

shaped! {
    /// The rectifier with a small slope below zero.
    ///
    /// Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    LeakyRelu { slope 0.01 "The slope below zero" } "-2.0" => "-0.02", leaky_relu;
    /// `x` above zero, `alpha (e^x - 1)` below.
    ///
    /// Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units", 2015.
    Elu { alpha 1.0 "What it approaches far below zero, negated" } "-1.0" => "-0.632121", elu;
    /// `max(x, 0) + min(alpha (e^(x / alpha) - 1), 0)`: smooth at zero for any alpha.
    ///
    /// Barron, "Continuously differentiable exponential linear units", 2017.
    Celu { alpha 1.0 "What it approaches far below zero, negated" } "-1.0" => "-0.632121", celu;
    /// [`Tanh`] from straight lines, `min(max(x, low), high)`.
    Hardtanh { low -1.0 "The smallest result", high 1.0 "The greatest result" } "3.0" => "1.0", hardtanh;
    /// `x` outside of `-lambda ..= lambda`, 0 inside.
    Hardshrink { lambda 0.5 "Half the width of what becomes 0" } "0.3" => "0.0", hardshrink;
    /// `x` moved towards 0 by lambda, 0 between.
    Softshrink { lambda 0.5 "By how much" } "2.0" => "1.5", softshrink;
    /// A smooth rectifier, `ln(1 + e^(beta x)) / beta`.
    Softplus { beta 1.0 "How sharp the bend is", threshold 20.0 "Where `beta x` is above it, the result is `x`" }
        "0.0" => "0.693147", softplus;
}

/// `x` above the threshold, else a value. The operation is [`threshold`](Tensor::threshold).
#[doc = example!(Threshold, "Threshold::new(1.0, 5.0)", "0.3", "5.0")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What passes is above it.
    pub threshold: f64,
    /// What the rest becomes.
    pub value: f64,
}
module!(Threshold {; threshold, value });

impl Threshold {
    /// With a threshold and what stands for the rest.
    pub fn new(threshold: f64, value: f64) -> Threshold {
        Threshold { threshold, value }
    }
}

impl Layer for Threshold {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input.threshold(self.threshold, self.value)
    }
}

/// `x Φ(x)` with the normal distribution function Φ, or its approximation by tanh.
///
/// Hendrycks and Gimpel, "Gaussian error linear units", 2016.
#[doc = example!(Gelu, "Gelu::default()", "1.0", "0.841345")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gelu {
    tanh: bool,
}
module!(Gelu {; tanh });

impl Gelu {
    /// By the error function: the default.
    ///
    /// ```
    /// use chainrule::nn::Gelu;
    /// assert_eq!(Gelu::exact(), Gelu::default());
    /// ```
    pub fn exact() -> Gelu {
        Gelu { tanh: false }
    }
    /// The approximation by tanh, as GPT-2 has it.
    #[doc = example!(Gelu, "Gelu::tanh()", "1.0", "0.841192")]
    pub fn tanh() -> Gelu {
        Gelu { tanh: true }
    }
}

impl Layer for Gelu {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        if self.tanh { input.gelu_tanh() } else { input.gelu() }
    }
}

/// `x` above zero, `slope · x` below and at zero; the slope may be a tensor.
#[track_caller]
fn two_slopes(x: &Tensor, slope: &Tensor) -> Tensor {
    // Masked, not clamped: at zero the gradient is that of the slope below.
    x.relu() + slope * x.masked_fill(&x.greater(0.0), 0.0)
}

/// The rectifier whose slopes below zero are learnt: one, or one for each channel (axis 1).
///
/// Weight `[count]` starts at 0.25. He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015.
#[doc = example!(PRelu, "PRelu::new(1, &mut chainrule::nn::Init::new())", "-2.0", "-0.5")]
#[derive(Clone, Debug)]
pub struct PRelu {
    /// `[count]`.
    pub weight: Parameter,
}
module!(PRelu { weight });

impl PRelu {
    /// With one slope, or as many as there are channels.
    #[track_caller]
    pub fn new(count: usize, init: &mut Init) -> PRelu {
        PRelu { weight: init.parameter(count, Initial::Constant(0.25)) }.named()
    }
}

impl Layer for PRelu {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        let (rank, dims) = match (input.value(), self.weight.value()) {
            (Ok(input), Ok(weight)) => (input.rank(), weight.dims()),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let channels = input.value().ok().and_then(|value| value.dims().get(1).copied()).unwrap_or(1);
        if dims != [1] && dims != [channels] {
            let what = format!("the weight has the sizes {dims:?}, the input has {channels} channels");
            let help = "make the layer with one slope for all, or one for each channel (axis 1)";
            return crate::tensor::refused("prelu", crate::error::Fault::shape(what, help), &[input, &self.weight]);
        }
        match rank {
            0 => two_slopes(input, &self.weight.reshape(())),
            1 => two_slopes(input, &self.weight),
            _ => {
                let mut sizes = vec![1isize; rank - 1];
                sizes[0] = -1;
                two_slopes(input, &self.weight.reshape(sizes))
            }
        }
    }
}

/// The rectifier with a random slope below zero for each element in training, and the middle one otherwise.
///
/// Xu, Wang, Chen, Li, "Empirical evaluation of rectified activations in convolutional network", 2015.
///
/// ```
/// use chainrule::nn::{Init, Layer, RRelu};
/// use chainrule::{Tensor, evaluating};
/// let layer = RRelu::new(0.1, 0.3, &mut Init::new());
/// let y = layer.forward(&Tensor::from([-1.0])).item()?;
/// assert!(-0.3 <= y && y <= -0.1);
/// assert!((evaluating(|| layer.forward(&Tensor::from([-1.0]))).item()? + 0.2).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RRelu {
    /// The smallest slope; PyTorch's usual one is 1/8.
    pub low: f64,
    /// The greatest slope; PyTorch's usual one is 1/3.
    pub high: f64,
    /// Where its random numbers come from.
    pub stream: Running<Random>,
}
module!(RRelu { stream; low, high });

impl RRelu {
    /// Slopes between these.
    pub fn new(low: f64, high: f64, init: &mut Init) -> RRelu {
        RRelu { low, high, stream: Running::new(init.stream()) }
    }
}

impl Layer for RRelu {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        if input.error().is_some() {
            return input.clone();
        }
        match self.stream.draw() {
            // Equal bounds leave nothing to chance.
            Some(draw) if self.low != self.high => {
                two_slopes(input, &input.detach().uniform_like(self.low..self.high, &mut Random::resume(draw)))
            }
            _ => input.leaky_relu((self.low + self.high) / 2.0),
        }
    }
}

macro_rules! along {
    ($($(#[$doc:meta])* $Name:ident $method:ident;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\nThe operation is [`", stringify!($method), "`](Tensor::", stringify!($method), ").\n\n```\nuse \
            chainrule::nn::{Layer, ", stringify!($Name), "};\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], \
            [3.0, 4.0]]);\nassert_eq!(", stringify!($Name), "::new(-1).forward(&x), x.", stringify!($method), "(-1));\n```")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $Name {
            /// The axis; from the end when negative.
            pub axis: isize,
        }
        module!($Name {; axis });
        impl $Name {
            /// Along this axis, from the end when negative.
            pub fn new(axis: impl Integer) -> $Name {
                $Name { axis: axis.number() }
            }
        }
        impl Layer for $Name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                input.$method(self.axis)
            }
        }
    )* };
}

along! {
    /// Positive numbers that add up to 1 along an axis, `e^x / Σ e^x`.
    Softmax softmax;
    /// The logarithm of [`Softmax`], without overflow.
    LogSoftmax log_softmax;
    /// [`Softmax`] of `-x`: the smallest number gets the largest share.
    Softmin softmin;
    /// The first half along an axis, times the sigmoid of the second; along the last axis in PyTorch unless it is given.
    ///
    /// Dauphin, Fan, Auli, Grangier, "Language modeling with gated convolutional networks", 2016.
    Glu glu;
}

/// [`Softmax`] over the channels of `[batch, channels, height, width]`, or of `[channels, height, width]`.
///
/// ```
/// use chainrule::nn::{Layer, Softmax2d};
/// use chainrule::Tensor;
/// assert_eq!(Softmax2d.forward(&Tensor::zeros([1, 4, 2, 2])).max().item()?, 0.25);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Softmax2d;
module!(Softmax2d {});

impl Layer for Softmax2d {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input.softmax(-3)
    }
}
