//! Dropout: some elements are left out at random, the others made larger. What is kept for the gradient is not the mask
//! but the draw it came from.

use crate::device::random::{Draw, Generate, Thinning};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

impl Tensor {
    /// Dropout: each element becomes zero with chance `rate`, the others are multiplied by `1 / (1 - rate)`, so that the
    /// mean stays. The same draw gives the same mask: [`Random::draw`](crate::Random::draw) counts them, and a
    /// recomputation repeats its own. It thins in every mode; a layer decides whether to call it.
    ///
    /// Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: "Dropout: a simple way to prevent neural networks from
    /// overfitting", JMLR 2014.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let mut random = Random::new(1);
    /// let y = Tensor::ones([1000]).dropout(0.5, random.draw());
    /// assert!(y.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y == 2.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn dropout(&self, rate: f64, draw: Draw) -> Tensor {
        apply(Dropout { name: "dropout", rate, channels: false, effect: Effect::scaled(rate), draw }, [self])
    }
    /// Dropout of whole channels: axis 0 counts examples, axis 1 channels, and what lies in the axes behind them is kept
    /// or dropped together, since neighbours in a picture tell the same.
    ///
    /// Tompson, Goroshin, Jain, LeCun, Bregler: "Efficient object localization using convolutional networks", CVPR 2015.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let y = Tensor::ones([8, 16, 3]).dropout_channels(0.5, Random::new(1).draw());
    /// assert!(y.to_vec::<f32>()?.chunks(3).all(|channel| channel == [0.0; 3] || channel == [2.0; 3]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "dropout1d")]
    #[doc(alias = "dropout2d")]
    #[doc(alias = "dropout3d")]
    #[doc(alias = "feature_dropout")]
    pub fn dropout_channels(&self, rate: f64, draw: Draw) -> Tensor {
        apply(Dropout { name: "dropout_channels", rate, channels: true, effect: Effect::scaled(rate), draw }, [self])
    }
    /// Dropout for networks of [`selu`](Tensor::selu): what is dropped goes to the value that selu approaches far below
    /// zero, and the whole is scaled and shifted so that mean 0 and variance 1 stay.
    ///
    /// Klambauer, Unterthiner, Mayr, Hochreiter: "Self-normalizing neural networks", NeurIPS 2017.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let mut random = Random::new(1);
    /// let y = Tensor::normal([10_000], 0.0, 1.0, &mut random).alpha_dropout(0.2, random.draw());
    /// let mean = y.sum().item()? / 10_000.0;
    /// assert!(mean.abs() < 0.05);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn alpha_dropout(&self, rate: f64, draw: Draw) -> Tensor {
        apply(Dropout { name: "alpha_dropout", rate, channels: false, effect: Effect::normalized(rate), draw }, [self])
    }
}

/// What becomes of an element: `kept · scale + shift`, or `dropped`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Effect {
    scale: f64,
    shift: f64,
    dropped: f64,
}

impl Effect {
    fn scaled(rate: f64) -> Effect {
        Effect { scale: if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 }, shift: 0.0, dropped: 0.0 }
    }
    fn normalized(rate: f64) -> Effect {
        // Below zero selu approaches -λα.
        const FLOOR: f64 = -1.050_700_987_355_480_5 * 1.673_263_242_354_377_2;
        if rate >= 1.0 {
            return Effect::scaled(1.0);
        }
        let scale = 1.0 / ((1.0 - rate) * (1.0 + rate * FLOOR * FLOOR)).sqrt();
        let shift = -scale * rate * FLOOR;
        Effect { scale, shift, dropped: scale * FLOOR + shift }
    }
}

#[derive(Clone, Copy, Debug)]
struct Dropout {
    name: &'static str,
    rate: f64,
    channels: bool,
    effect: Effect,
    draw: Draw,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        self.name
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let group = match (self.channels, x.dims()) {
            (false, _) => 1,
            (true, [_, _, inside @ ..]) => inside.iter().product(),
            (true, _) => {
                return Err(Fault::shape(
                    format!("{} axes have no channels", x.rank()),
                    "dropout_channels takes [examples, channels, ...]; for single elements use dropout",
                ));
            }
        };
        let Effect { scale, shift, dropped } = self.effect;
        one(on!(x.device(), thin(x, Thinning { rate: self.rate, group, scale, shift, dropped }, self.draw))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        // The same mask again; what was added to an element does not matter to its gradient.
        apply(Dropout { effect: Effect { shift: 0.0, dropped: 0.0, ..self.effect }, ..*self }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = mask ⊙ ∂L/∂y · scale"
    }
}
