//! NAdam.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target, adam};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// [`Adam`](super::Adam) with Nesterov's momentum, which grows towards its value.
///
/// `μₜ = β₁ (1 - ½ · 0.96^(t · momentum_decay))`, `Mₜ = μ₁ ⋯ μₜ`, `d = √(v / (1 - β₂ᵗ)) + ε`,
/// `p = p - rate · ((1 - μₜ) / (1 - Mₜ) · g + μₜ₊₁ / (1 - Mₜ₊₁) · m) / d`, with `g`, `m`, `v` as in Adam. Dozat:
/// Incorporating Nesterov momentum into Adam (ICLR workshop 2016).
///
/// ```
/// use chainrule::optim::{NAdam, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let mut optimizer = NAdam::new(0.1);
/// for _ in 0..60 {
///     let loss = (&*weight * &*weight).sum();
///     optimizer.step(&mut weight, &loss.backward()?)?;
/// }
/// assert!(weight.item()?.abs() < 0.1);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct NAdam {
    core: Core,
    decoupled: bool,
    maximize: bool,
}

update_formula! {
    fn Step(parameter, gradient; mean, square;
        sign, decay, shrink, take1, keep2, take2, rate_gradient, rate_mean, scale, epsilon) {
        let slope = sign * gradient + decay * parameter;
        mean = mean + take1 * (slope - mean);
        square = keep2 * square + take2 * (slope * slope);
        let divisor = scale * sqrt(square) + epsilon;
        parameter = shrink * parameter - (rate_gradient * slope + rate_mean * mean) / divisor;
    }
}

impl NAdam {
    /// The usual one: betas 0.9 and 0.999, epsilon 1e-8, momentum decay 4e-3. A usual rate is 2e-3.
    pub fn new(rate: f64) -> NAdam {
        let mut core = Core::new(&adam::settings(rate, 0.0));
        core.set(Setting::MomentumDecay, 4e-3);
        NAdam { core, decoupled: false, maximize: false }
    }
    builders! {
        betas;
        /// What keeps the division from becoming too large (default 1e-8).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0 (default 0).
        with_weight_decay WeightDecay;
        /// How quickly the momentum reaches its value (default 4e-3).
        with_momentum_decay MomentumDecay;
    }
    /// Decays parameters themselves, as [`AdamW`](super::AdamW) does, not through the gradient.
    pub fn decoupled(mut self) -> NAdam {
        self.decoupled = true;
        self
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> NAdam {
        self.maximize = true;
        self
    }
}

impl Rule for NAdam {
    const NAME: &'static str = "nadam";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        adam::states(false, parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (rate, decay, epsilon) = (number(Setting::Rate), number(Setting::WeightDecay), number(Setting::Epsilon));
        let (beta1, keep2) = (number(Setting::Beta1), number(Setting::Beta2));
        let momentum = |step: u64| beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * number(Setting::MomentumDecay)));
        let (now, next) = (momentum(target.steps), momentum(target.steps + 1));
        // the product is kept in single precision, as PyTorch keeps it: trajectories agree beyond its digits
        *target.number = f64::from(*target.number as f32 * now as f32);
        let product = *target.number;
        target.apply(&Step {
            sign: if self.maximize { -1.0 } else { 1.0 },
            decay: if self.decoupled { 0.0 } else { decay },
            shrink: if self.decoupled { 1.0 - rate * decay } else { 1.0 },
            take1: 1.0 - beta1,
            keep2,
            take2: 1.0 - keep2,
            rate_gradient: rate * (1.0 - now) / (1.0 - product),
            rate_mean: rate * next / (1.0 - product * next),
            scale: 1.0 / (1.0 - target.power(keep2)).sqrt(),
            epsilon,
        })
    }
}
