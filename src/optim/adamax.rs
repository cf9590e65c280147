//! Adamax.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target, adam};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// [`Adam`](super::Adam) with a decaying maximum in the place of the mean square.
///
/// `g = ∇ + weight_decay · p`, `m = β₁ m + (1 - β₁) g`, `u = max(β₂ u, |g| + ε)`, `p = p - rate / (1 - β₁ᵗ) · m / u`.
/// Kingma, Ba: Adam, a method for stochastic optimization (arXiv 1412.6980, section 7).
///
/// ```
/// use chainrule::optim::{Adamax, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let loss = (&*weight * &*weight).sum();
/// Adamax::new(0.1).step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - 1.9).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adamax {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Step(parameter, gradient; mean, greatest; rate, sign, decay, take, keep, epsilon) {
        let slope = sign * gradient + decay * parameter;
        mean = mean + take * (slope - mean);
        greatest = maximum(keep * greatest, abs(slope) + epsilon);
        parameter = parameter - rate * mean / greatest;
    }
}

impl Adamax {
    /// The usual one: betas 0.9 and 0.999, epsilon 1e-8, no weight decay. A usual rate is 2e-3.
    pub fn new(rate: f64) -> Adamax {
        Adamax { core: Core::new(&adam::settings(rate, 0.0)), maximize: false }
    }
    builders! {
        betas;
        /// What is added to the size of a gradient (default 1e-8).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0, as a part of the gradient (default 0).
        with_weight_decay WeightDecay;
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> Adamax {
        self.maximize = true;
        self
    }
}

impl Rule for Adamax {
    const NAME: &'static str = "adamax";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        Remember::zeros(&["mean", "greatest"], parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (beta1, keep) = (number(Setting::Beta1), number(Setting::Beta2));
        let rate = number(Setting::Rate) / (1.0 - target.power(beta1));
        let (sign, decay) = (if self.maximize { -1.0 } else { 1.0 }, number(Setting::WeightDecay));
        target.apply(&Step { rate, sign, decay, take: 1.0 - beta1, keep, epsilon: number(Setting::Epsilon) })
    }
}
