//! Adadelta.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// Steps whose size comes from the sizes of the steps before, so that the rate is just a factor.
///
/// `g = ∇ + weight_decay · p`, `v = ρ v + (1 - ρ) g²`, `d = √(u + ε) / √(v + ε) · g`, `u = ρ u + (1 - ρ) d²`,
/// `p = p - rate · d`. Zeiler: Adadelta, an adaptive learning rate method (arXiv 1212.5701).
///
/// ```
/// use chainrule::optim::{Adadelta, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let loss = (&*weight * &*weight).sum();
/// Adadelta::new(1.0).step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - (2.0 - (1e-6f64 / 0.1).sqrt())).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adadelta {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Step(parameter, gradient; square, moved; rate, sign, decay, keep, take, epsilon) {
        let slope = sign * gradient + decay * parameter;
        square = keep * square + take * (slope * slope);
        let change = sqrt(moved + epsilon) / sqrt(square + epsilon) * slope;
        moved = keep * moved + take * (change * change);
        parameter = parameter - rate * change;
    }
}

impl Adadelta {
    /// The usual one: smoothing 0.9, epsilon 1e-6. The usual rate is 1.
    pub fn new(rate: f64) -> Adadelta {
        let settings =
            [(Setting::Rate, rate), (Setting::Smoothing, 0.9), (Setting::Epsilon, 1e-6), (Setting::WeightDecay, 0.0)];
        Adadelta { core: Core::new(&settings), maximize: false }
    }
    builders! {
        /// How slowly the means move (default 0.9).
        with_smoothing Smoothing;
        /// What lets the first steps begin (default 1e-6).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0, as a part of the gradient (default 0).
        with_weight_decay WeightDecay;
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> Adadelta {
        self.maximize = true;
        self
    }
}

impl Rule for Adadelta {
    const NAME: &'static str = "adadelta";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        Remember::zeros(&["square", "moved"], parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (rate, decay, epsilon) = (number(Setting::Rate), number(Setting::WeightDecay), number(Setting::Epsilon));
        let (keep, sign) = (number(Setting::Smoothing), if self.maximize { -1.0 } else { 1.0 });
        target.apply(&Step { rate, sign, decay, keep, take: 1.0 - keep, epsilon })
    }
}
