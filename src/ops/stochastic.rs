//! Activations that draw: straight-through choices, slopes that differ.

use crate::device::Random;
use crate::error::Fault;
use crate::layout::{Axis, DType};
use crate::tensor::{Tensor, refused};

impl Tensor {
    /// Softmax of `(x + noise) / temperature`, with noise that makes its largest element a draw from `softmax(x)`. With `hard`
    /// the result is that choice alone, 1 among zeros, and the gradient that of the soft one.
    ///
    /// Jang, Gu, Poole: "Categorical reparameterization with Gumbel-softmax", ICLR 2017.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let mut random = Random::new(1);
    /// let choice = Tensor::from([0.0, 50.0, 0.0]).gumbel_softmax(1.0, true, -1, &mut random);
    /// assert_eq!(choice.to_vec::<f32>()?, [0.0, 1.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn gumbel_softmax(&self, temperature: f64, hard: bool, axis: impl Axis, random: &mut Random) -> Tensor {
        let axis = axis.number();
        if temperature.is_nan() || temperature <= 0.0 {
            let what = format!("a temperature of {temperature}");
            return refused("gumbel_softmax", Fault::value(what, "it must be above 0; 1 is usual"), &[self]);
        }
        let dtype = match self.dtype() {
            Ok(dtype) => dtype,
            Err(error) => return Tensor::failed(error),
        };
        // Never 0 or 1, whose logarithms are not finite.
        let chance = self.uniform_beside(DType::F64, 0.0..1.0, random).clamp(1e-15, 1.0 - 1e-15);
        let noise = -(-chance.ln()).ln();
        let soft = ((self + noise.to_dtype(dtype)) / temperature).softmax(axis);
        if !hard {
            return soft;
        }
        let largest = soft.detach().max_along_keep(axis).1;
        let choice = soft.detach().zeros_like().scatter_fill(axis, &largest, 1.0);
        // Exactly the choice: what is added is 0 wherever numbers are finite.
        choice + (&soft - soft.detach())
    }

    /// Relu whose slope below zero is drawn for every element, between `low` and `high`. (At inference the slope is their mean:
    /// [`leaky_relu`](Tensor::leaky_relu).)
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let y = Tensor::from([2.0, -1.0]).rrelu(0.1, 0.3, &mut Random::new(1)).to_vec::<f32>()?;
    /// assert!(y[0] == 2.0 && (-0.3..=-0.1).contains(&y[1]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rrelu(&self, low: f64, high: f64, random: &mut Random) -> Tensor {
        let slopes = self.uniform_like(low..high, random);
        self.greater_equal(0.0).choose(self, self * slopes)
    }

    /// Relu with a slope below zero that is learned: one for all, or one for each channel (axis 1).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, -2.0], [-4.0, 8.0]]);
    /// assert_eq!(x.prelu(&Tensor::from([0.5, 0.25])).to_vec::<f32>()?, [1.0, -0.5, -2.0, 8.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn prelu(&self, slope: &Tensor) -> Tensor {
        let (shape, count) = match (self.shape(), slope.count()) {
            (Ok(shape), Ok(count)) => (shape, count),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let channels = shape.get(1).copied().unwrap_or(1);
        if count != 1 && count != channels {
            let what = format!("{count} slopes for {channels} channels");
            return refused("prelu", Fault::shape(what, "give one slope, or one for each channel"), &[self, slope]);
        }
        let mut beside = vec![1; shape.len()];
        if let (Some(channels), true) = (beside.get_mut(1), count != 1) {
            *channels = count;
        }
        self.greater(0.0).choose(self, self * slope.reshape(&beside[..]))
    }
}
