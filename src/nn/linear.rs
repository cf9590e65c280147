//! The linear layer.

use super::{Init, Initial, Layer, Module};
use crate::module;
use crate::tensor::{Parameter, Tensor};

/// `y = x · Wᵀ + b` along the last axis.
///
/// Weight `[outputs, inputs]` and bias `[outputs]` start uniform within `±1 / √inputs`.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::Tensor;
/// let layer = Linear::new(784, 10, &mut Init::new());
/// assert_eq!(layer.forward(&Tensor::zeros([64, 784])).dims()?, [64, 10]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Parameter,
    /// `[outputs]`.
    pub bias: Option<Parameter>,
}
module!(Linear { weight, bias });

impl Linear {
    /// With a bias.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> Linear {
        let law = Initial::Within { size: inputs };
        let weight = init.parameter([outputs, inputs], law);
        Linear { weight, bias: Some(init.parameter([outputs], law)) }.named()
    }
    /// The same without its bias.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear};
    /// assert!(Linear::new(4, 2, &mut Init::new()).without_bias().bias.is_none());
    /// ```
    pub fn without_bias(self) -> Linear {
        Linear { bias: None, ..self }
    }
}

impl Layer for Linear {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input.linear(&self.weight, self.bias.as_deref())
    }
}
