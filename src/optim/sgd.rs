//! Gradient descent.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// Stochastic gradient descent, with momentum where wanted.
///
/// `g = ∇ + weight_decay · p`, `v = momentum · v + (1 - dampening) · g` (at first `v = g`), `p = p - rate · v`; Nesterov's
/// form steps by `g + momentum · v` instead. Sutskever, Martens, Dahl, Hinton: On the importance of initialization and
/// momentum in deep learning (ICML 2013).
///
/// ```
/// use chainrule::optim::{Optimizer, Sgd};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let mut optimizer = Sgd::new(0.1).with_momentum(0.9).nesterov();
/// for _ in 0..2 {
///     let loss = (&*weight * &*weight).sum();
///     optimizer.step(&mut weight, &loss.backward()?)?;
/// }
/// assert!((weight.item()? - 0.4448).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sgd {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Plain(parameter, gradient; ; rate, sign, decay) {
        parameter = parameter - rate * (sign * gradient + decay * parameter);
    }
}
update_formula! {
    fn Momentum(parameter, gradient; velocity; rate, sign, decay, keep, take) {
        velocity = keep * velocity + take * (sign * gradient + decay * parameter);
        parameter = parameter - rate * velocity;
    }
}
update_formula! {
    fn Nesterov(parameter, gradient; velocity; rate, sign, decay, keep, take, momentum) {
        let slope = sign * gradient + decay * parameter;
        velocity = keep * velocity + take * slope;
        parameter = parameter - rate * (slope + momentum * velocity);
    }
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new(rate: f64) -> Sgd {
        let settings = [
            (Setting::Rate, rate),
            (Setting::Momentum, 0.0),
            (Setting::Dampening, 0.0),
            (Setting::WeightDecay, 0.0),
            (Setting::Nesterov, 0.0),
        ];
        Sgd { core: Core::new(&settings), maximize: false }
    }
    builders! {
        /// How much of the last step goes on (default 0).
        with_momentum Momentum;
        /// How much of a new gradient the momentum leaves out (default 0).
        with_dampening Dampening;
        /// How strongly parameters are pulled towards 0, as a part of the gradient (default 0).
        with_weight_decay WeightDecay;
    }
    /// Looks ahead by the momentum; it needs one, and no dampening.
    pub fn nesterov(mut self) -> Sgd {
        self.core.set(Setting::Nesterov, 1.0);
        self
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> Sgd {
        self.maximize = true;
        self
    }
}

impl Rule for Sgd {
    const NAME: &'static str = "sgd";
    has_core!();
    fn check(&self, settings: &Settings) -> Result<(), Fault> {
        let (momentum, dampening) = (settings.number(Setting::Momentum), settings.number(Setting::Dampening));
        if settings.is_on(Setting::Nesterov) && (momentum == 0.0 || dampening != 0.0) {
            let what = format!("Nesterov's form with momentum {momentum} and dampening {dampening}");
            return Err(Fault::value(what, "give it a momentum, with_momentum(0.9), and no dampening"));
        }
        Ok(())
    }
    fn remember(&self, _: &str, parameter: &Value, settings: &Settings) -> Remember {
        let names: &[&str] = if settings.number(Setting::Momentum) == 0.0 { &[] } else { &["velocity"] };
        Remember::zeros(names, parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let (rate, decay) = (settings.number(Setting::Rate), settings.number(Setting::WeightDecay));
        let momentum = settings.number(Setting::Momentum);
        let sign = if self.maximize { -1.0 } else { 1.0 };
        if momentum == 0.0 || target.states.is_empty() {
            return target.apply(&Plain { rate, sign, decay });
        }
        let (keep, take) = match target.steps {
            1 => (0.0, 1.0),
            _ => (momentum, 1.0 - settings.number(Setting::Dampening)),
        };
        match settings.is_on(Setting::Nesterov) {
            true => target.apply(&Nesterov { rate, sign, decay, keep, take, momentum }),
            false => target.apply(&Momentum { rate, sign, decay, keep, take }),
        }
    }
}
