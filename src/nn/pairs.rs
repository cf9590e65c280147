//! Layers of two inputs: a bilinear form, similarity, distance.

use super::{Init, Initial, Module};
use crate::module;
use crate::tensor::{Parameter, Tensor};

/// `y[k] = left · W[k] · right + b[k]` along the last axes.
///
/// Weight `[outputs, lefts, rights]` and bias `[outputs]` start uniform within `±1 / √lefts`.
///
/// ```
/// use chainrule::nn::{Bilinear, Init};
/// use chainrule::Tensor;
/// let layer = Bilinear::new(3, 4, 5, &mut Init::new());
/// assert_eq!(layer.forward(&Tensor::zeros([2, 3]), &Tensor::zeros([2, 4])).dims()?, [2, 5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bilinear {
    /// `[outputs, lefts, rights]`.
    pub weight: Parameter,
    /// `[outputs]`.
    pub bias: Option<Parameter>,
}
module!(Bilinear { weight, bias });

impl Bilinear {
    /// With a bias.
    #[track_caller]
    pub fn new(lefts: usize, rights: usize, outputs: usize, init: &mut Init) -> Bilinear {
        let law = Initial::Within { size: lefts };
        let weight = init.parameter([outputs, lefts, rights], law);
        Bilinear { weight, bias: Some(init.parameter(outputs, law)) }.named()
    }
    /// The same without its bias.
    ///
    /// ```
    /// use chainrule::nn::{Bilinear, Init};
    /// assert!(Bilinear::new(3, 4, 5, &mut Init::new()).without_bias().bias.is_none());
    /// ```
    pub fn without_bias(self) -> Bilinear {
        Bilinear { bias: None, ..self }
    }
    /// The output for two inputs.
    #[track_caller]
    pub fn forward(&self, left: &Tensor, right: &Tensor) -> Tensor {
        left.bilinear(right, &self.weight, self.bias.as_deref())
    }
}

/// The cosine of the angle between two vectors along an axis: [`cosine_similarity`](Tensor::cosine_similarity).
///
/// ```
/// use chainrule::nn::CosineSimilarity;
/// use chainrule::Tensor;
/// let y = CosineSimilarity::default().forward(&Tensor::from([[3.0, 4.0]]), &Tensor::from([[6.0, 8.0]]));
/// assert!((y.item()? - 1.0).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineSimilarity {
    /// The axis, 1 by default.
    pub axis: isize,
}
module!(CosineSimilarity {; axis });

impl Default for CosineSimilarity {
    fn default() -> CosineSimilarity {
        CosineSimilarity { axis: 1 }
    }
}

impl CosineSimilarity {
    /// The similarity of two tensors.
    #[track_caller]
    pub fn forward(&self, left: &Tensor, right: &Tensor) -> Tensor {
        left.cosine_similarity(right, self.axis)
    }
}

/// The distance of two vectors along the last axis: [`pairwise_distance`](Tensor::pairwise_distance).
///
/// ```
/// use chainrule::nn::PairwiseDistance;
/// use chainrule::Tensor;
/// let y = PairwiseDistance::default().forward(&Tensor::from([[3.0, 4.0]]), &Tensor::from([[0.0, 0.0]]));
/// assert!((y.item()? - 5.0).abs() < 1e-5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairwiseDistance {
    /// The order of the norm, 2 by default.
    pub order: f64,
}
module!(PairwiseDistance {; order });

impl Default for PairwiseDistance {
    fn default() -> PairwiseDistance {
        PairwiseDistance { order: 2.0 }
    }
}

impl PairwiseDistance {
    /// The distance of two tensors.
    #[track_caller]
    pub fn forward(&self, left: &Tensor, right: &Tensor) -> Tensor {
        left.pairwise_distance(right, self.order)
    }
}
