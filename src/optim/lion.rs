//! Lion.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// Steps by the sign alone of a mean gradient: one state, and every number moves by the rate.
///
/// `d = sign(β₁ m + (1 - β₁) ∇)`, `m = β₂ m + (1 - β₂) ∇`, `p = (1 - rate · weight_decay) · p - rate · d`. It wants a rate
/// three to ten times smaller than AdamW's and as much more weight decay. Chen and others: Symbolic discovery of
/// optimization algorithms (arXiv 2302.06675).
///
/// ```
/// use chainrule::optim::{Lion, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0, -3.0, 0.0]));
/// let loss = (&*weight * &*weight).sum();
/// Lion::new(0.5).step(&mut weight, &loss.backward()?)?;
/// assert_eq!(weight.to_vec::<f32>()?, [1.5, -2.5, 0.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lion {
    core: Core,
}

update_formula! {
    fn Step(parameter, gradient; mean; rate, shrink, keep1, take1, keep2, take2) {
        let direction = sign(keep1 * mean + take1 * gradient);
        mean = keep2 * mean + take2 * gradient;
        parameter = shrink * parameter - rate * direction;
    }
}

impl Lion {
    /// The usual one: betas 0.9 and 0.99, no weight decay. A usual rate is 1e-4.
    pub fn new(rate: f64) -> Lion {
        let settings =
            [(Setting::Rate, rate), (Setting::Beta1, 0.9), (Setting::Beta2, 0.99), (Setting::WeightDecay, 0.0)];
        Lion { core: Core::new(&settings) }
    }
    builders! {
        betas;
        /// How strongly parameters are pulled towards 0 (default 0).
        with_weight_decay WeightDecay;
    }
}

impl Rule for Lion {
    const NAME: &'static str = "lion";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        Remember::zeros(&["mean"], parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (rate, keep1, keep2) = (number(Setting::Rate), number(Setting::Beta1), number(Setting::Beta2));
        let shrink = 1.0 - rate * number(Setting::WeightDecay);
        target.apply(&Step { rate, shrink, keep1, take1: 1.0 - keep1, keep2, take2: 1.0 - keep2 })
    }
}
