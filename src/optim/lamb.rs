//! LAMB.

use super::core::{builders, has_core};
use super::{Core, Prepared, Remember, Rule, Setting, Settings, Target, adam};
use crate::device::accumulate::Accumulate;
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::{Value, capture, on};
use crate::error::{Error, Fault, Result};
use crate::{formula_struct, update_formula};

/// [`AdamW`](super::AdamW) whose step is scaled, for each parameter, to the parameter's own norm: for very large batches.
///
/// `d = m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε) + weight_decay · p`, `p = p - rate · ‖p‖ / ‖d‖ · d`, with `m` and `v` as in
/// Adam; the ratio is 1 where a norm is 0. You and others: Large batch optimization for deep learning (arXiv 1904.00962).
///
/// ```
/// use chainrule::optim::{Lamb, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([3.0, 4.0]));
/// let loss = (&*weight * &*weight).sum();
/// Lamb::new(0.1).with_weight_decay(0.0).step(&mut weight, &loss.backward()?)?;
/// // the step is a tenth of the norm 5, evenly in both directions
/// assert!((weight.to_vec::<f64>()?[0] - (3.0 - 0.5 / 2f64.sqrt())).abs() < 1e-5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lamb {
    core: Core,
}

update_formula! {
    fn Aim(parameter, gradient; mean, square, direction; take1, keep2, take2, correct, scale, epsilon, decay) {
        mean = mean + take1 * (gradient - mean);
        square = keep2 * square + take2 * (gradient * gradient);
        direction = correct * mean / (scale * sqrt(square) + epsilon) + decay * parameter;
    }
}
update_formula! {
    fn Go(parameter, gradient; direction; rate) {
        parameter = parameter - rate * direction;
    }
}

formula_struct!([] Ratio ratio(parameter, direction)() {
    select(gt(parameter, 0.0), select(gt(direction, 0.0), sqrt(parameter) / sqrt(direction), 1.0), 1.0)
});
formula_struct!([] Longer longer(direction, ratio)() { direction * ratio });

impl Lamb {
    /// The usual one: betas 0.9 and 0.999, epsilon 1e-6, weight decay 0.01. A usual rate is 1e-3.
    pub fn new(rate: f64) -> Lamb {
        let mut core = Core::new(&adam::settings(rate, 0.01));
        core.set(Setting::Epsilon, 1e-6);
        Lamb { core }
    }
    builders! {
        betas;
        /// What keeps the division from becoming too large (default 1e-6).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0 (default 0.01).
        with_weight_decay WeightDecay;
    }
}

impl Rule for Lamb {
    const NAME: &'static str = "lamb";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        adam::states(false, parameter)
    }
    fn prepare(&self, _: &Settings, target: &Target<'_>) -> Result<Prepared> {
        Ok(Prepared {
            scratch: Some(target.room().map_err(|fault| Error::new(Self::NAME, fault))?),
            ..Prepared::default()
        })
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (beta1, keep2) = (number(Setting::Beta1), number(Setting::Beta2));
        let aim = Aim {
            take1: 1.0 - beta1,
            keep2,
            take2: 1.0 - keep2,
            correct: 1.0 / (1.0 - target.power(beta1)),
            scale: 1.0 / (1.0 - target.power(keep2)).sqrt(),
            epsilon: number(Setting::Epsilon),
            decay: number(Setting::WeightDecay),
        };
        let device = target.parameter.device();
        let (Some(direction), [mean, square]) = (&mut target.scratch, &mut target.states[..]) else {
            return Err(Fault::defect("LAMB has two states and a scratch"));
        };
        on!(device, update(&aim, target.parameter, target.gradient, [mean, square, direction]))?;
        // A replay wants scalars alone.
        if !capture::is_repeating() {
            // The ratio of both norms stays on the device: nobody waits for it.
            let squares = |x: &Value| on!(device, sum_of_squares(&[x]));
            let ratio = on!(device, formula(&Ratio {}, [&squares(target.parameter)?, &squares(direction)?]))?;
            let ratio = on!(device, cast(&ratio, direction.dtype()))?;
            *direction = on!(device, formula(&Longer {}, [&*direction, &ratio]))?;
        }
        let go = Go { rate: number(Setting::Rate) };
        on!(device, update(&go, target.parameter, target.gradient, [direction]))
    }
}
