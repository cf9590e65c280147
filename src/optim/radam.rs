//! RAdam.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target, adam};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// [`Adam`](super::Adam) that divides only once the mean square can be trusted: a warm-up of its own.
///
/// `ρ∞ = 2 / (1 - β₂) - 1`, `ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)`. While `ρₜ ≤ 5` the step is `rate · m / (1 - β₁ᵗ)`; after
/// that it is times `√((ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ)) · √(1 - β₂ᵗ) / (√v + ε)`. Liu and others: On the variance
/// of the adaptive learning rate and beyond (arXiv 1908.03265).
///
/// ```
/// use chainrule::optim::{Optimizer, RAdam};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let loss = (&*weight * &*weight).sum();
/// RAdam::new(0.1).step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - 1.6).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RAdam {
    core: Core,
    decoupled: bool,
    maximize: bool,
}

update_formula! {
    // One form for both, so that a captured step may change from one to the other: where nothing is trusted yet it divides by 1.
    fn Step(parameter, gradient; mean, square; sign, decay, shrink, take1, keep2, take2, rate, epsilon, trusted) {
        let slope = sign * gradient + decay * parameter;
        mean = mean + take1 * (slope - mean);
        square = keep2 * square + take2 * (slope * slope);
        let size = select(gt(R::from(trusted), 0.0), sqrt(square) + epsilon, 1.0);
        parameter = shrink * parameter - rate * mean / size;
    }
}

impl RAdam {
    /// The usual one: betas 0.9 and 0.999, epsilon 1e-8, no weight decay. A usual rate is 1e-3.
    pub fn new(rate: f64) -> RAdam {
        RAdam { core: Core::new(&adam::settings(rate, 0.0)), decoupled: false, maximize: false }
    }
    builders! {
        betas;
        /// What keeps the division from becoming too large (default 1e-8).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0 (default 0).
        with_weight_decay WeightDecay;
    }
    /// Decays parameters themselves, as [`AdamW`](super::AdamW) does, not through the gradient.
    pub fn decoupled(mut self) -> RAdam {
        self.decoupled = true;
        self
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> RAdam {
        self.maximize = true;
        self
    }
}

impl Rule for RAdam {
    const NAME: &'static str = "radam";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        adam::states(false, parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (rate, decay, epsilon) = (number(Setting::Rate), number(Setting::WeightDecay), number(Setting::Epsilon));
        let (beta1, keep2) = (number(Setting::Beta1), number(Setting::Beta2));
        let (take1, take2) = (1.0 - beta1, 1.0 - keep2);
        let sign = if self.maximize { -1.0 } else { 1.0 };
        let shrink = if self.decoupled { 1.0 - rate * decay } else { 1.0 };
        let decay = if self.decoupled { 0.0 } else { decay };
        let rate = rate / (1.0 - target.power(beta1));
        let (power, limit) = (target.power(keep2), 2.0 / take2 - 1.0);
        let length = limit - 2.0 * target.steps as f64 * power / (1.0 - power);
        let (rate, trusted) = if length <= 5.0 {
            (rate, 0.0)
        } else {
            let trust = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length);
            (rate * trust.sqrt() * (1.0 - power).sqrt(), 1.0)
        };
        target.apply(&Step { sign, decay, shrink, take1, keep2, take2, rate, epsilon, trusted })
    }
}
