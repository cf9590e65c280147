//! Adagrad.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// Steps by the gradient over the root of the sum of all its squares so far: what is seen seldom moves far.
///
/// `g = ∇ + weight_decay · p`, `s = s + g²`, `p = p - rate / (1 + (t - 1) · rate_decay) · g / (√s + ε)`. Duchi, Hazan,
/// Singer: Adaptive subgradient methods for online learning and stochastic optimization (JMLR 2011).
///
/// ```
/// use chainrule::optim::{Adagrad, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let loss = (&*weight * &*weight).sum();
/// Adagrad::new(0.1).step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - 1.9).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adagrad {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Step(parameter, gradient; sum; rate, sign, decay, epsilon) {
        let slope = sign * gradient + decay * parameter;
        sum = sum + slope * slope;
        parameter = parameter - rate * slope / (sqrt(sum) + epsilon);
    }
}

impl Adagrad {
    /// The usual one: epsilon 1e-10, sums that start at 0. A usual rate is 1e-2.
    pub fn new(rate: f64) -> Adagrad {
        let settings = [
            (Setting::Rate, rate),
            (Setting::RateDecay, 0.0),
            (Setting::WeightDecay, 0.0),
            (Setting::Start, 0.0),
            (Setting::Epsilon, 1e-10),
        ];
        Adagrad { core: Core::new(&settings), maximize: false }
    }
    builders! {
        /// How quickly the rate falls by itself (default 0).
        with_rate_decay RateDecay;
        /// How strongly parameters are pulled towards 0, as a part of the gradient (default 0).
        with_weight_decay WeightDecay;
        /// Where the sums of squares start (default 0).
        with_start Start;
        /// What keeps the division from becoming too large (default 1e-10).
        with_epsilon Epsilon;
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> Adagrad {
        self.maximize = true;
        self
    }
}

impl Rule for Adagrad {
    const NAME: &'static str = "adagrad";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, settings: &Settings) -> Remember {
        Remember::default().and("sum", *parameter.shape(), settings.number(Setting::Start))
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let number = |setting| settings.number(setting);
        let rate = number(Setting::Rate) / (1.0 + (target.steps - 1) as f64 * number(Setting::RateDecay));
        let sign = if self.maximize { -1.0 } else { 1.0 };
        target.apply(&Step { rate, sign, decay: number(Setting::WeightDecay), epsilon: number(Setting::Epsilon) })
    }
}
