//! RMSprop.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// Steps by the gradient over the root of its running mean square.
///
/// `g = ∇ + weight_decay · p`, `v = α v + (1 - α) g²`, `p = p - rate · g / (√v + ε)`; `centered` subtracts the square of
/// the mean gradient under the root; with momentum the quotients are summed up first. Hinton, Srivastava, Swersky: Neural
/// networks for machine learning, lecture 6e (2012).
///
/// ```
/// use chainrule::optim::{Optimizer, RmsProp};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let loss = (&*weight * &*weight).sum();
/// RmsProp::new(0.01).step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - 1.9).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RmsProp {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Plain(parameter, gradient; square; rate, sign, decay, keep, take, epsilon) {
        let slope = sign * gradient + decay * parameter;
        square = keep * square + take * (slope * slope);
        parameter = parameter - rate * slope / (sqrt(square) + epsilon);
    }
}
update_formula! {
    fn Momentum(parameter, gradient; square, velocity; rate, sign, decay, keep, take, epsilon, momentum) {
        let slope = sign * gradient + decay * parameter;
        square = keep * square + take * (slope * slope);
        velocity = momentum * velocity + slope / (sqrt(square) + epsilon);
        parameter = parameter - rate * velocity;
    }
}
update_formula! {
    fn Centered(parameter, gradient; square, velocity, mean; rate, sign, decay, keep, take, epsilon, momentum) {
        let slope = sign * gradient + decay * parameter;
        square = keep * square + take * (slope * slope);
        mean = mean + take * (slope - mean);
        velocity = momentum * velocity + slope / (sqrt(maximum(square - mean * mean, 0.0)) + epsilon);
        parameter = parameter - rate * velocity;
    }
}

impl RmsProp {
    /// The usual one: smoothing 0.99, epsilon 1e-8, no momentum, no weight decay. A usual rate is 1e-2.
    pub fn new(rate: f64) -> RmsProp {
        let settings = [
            (Setting::Rate, rate),
            (Setting::Smoothing, 0.99),
            (Setting::Epsilon, 1e-8),
            (Setting::Momentum, 0.0),
            (Setting::WeightDecay, 0.0),
            (Setting::Centered, 0.0),
        ];
        RmsProp { core: Core::new(&settings), maximize: false }
    }
    builders! {
        /// How slowly the mean square moves (default 0.99).
        with_smoothing Smoothing;
        /// What keeps the division from becoming too large (default 1e-8).
        with_epsilon Epsilon;
        /// How much of the last step goes on (default 0).
        with_momentum Momentum;
        /// How strongly parameters are pulled towards 0, as a part of the gradient (default 0).
        with_weight_decay WeightDecay;
    }
    /// Divides by the deviation instead of the root mean square.
    pub fn centered(mut self) -> RmsProp {
        self.core.set(Setting::Centered, 1.0);
        self
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> RmsProp {
        self.maximize = true;
        self
    }
}

impl Rule for RmsProp {
    const NAME: &'static str = "rmsprop";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, settings: &Settings) -> Remember {
        let names: &[&str] = match (settings.is_on(Setting::Centered), settings.number(Setting::Momentum) > 0.0) {
            (true, _) => &["square", "velocity", "mean"],
            (false, true) => &["square", "velocity"],
            (false, false) => &["square"],
        };
        Remember::zeros(names, parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let (rate, decay, epsilon) = (number(Setting::Rate), number(Setting::WeightDecay), number(Setting::Epsilon));
        let (keep, momentum) = (number(Setting::Smoothing), number(Setting::Momentum));
        let (take, sign) = (1.0 - keep, if self.maximize { -1.0 } else { 1.0 });
        match target.states.len() {
            1 => target.apply(&Plain { rate, sign, decay, keep, take, epsilon }),
            2 => target.apply(&Momentum { rate, sign, decay, keep, take, epsilon, momentum }),
            _ => target.apply(&Centered { rate, sign, decay, keep, take, epsilon, momentum }),
        }
    }
}
