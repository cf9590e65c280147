//! Adam.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::Fault;
use crate::update_formula;

/// Steps by the mean gradient over the root of the mean square.
///
/// `g = ∇ + weight_decay · p`, `m = β₁ m + (1 - β₁) g`, `v = β₂ v + (1 - β₂) g²`,
/// `p = p - rate · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε)`. Kingma, Ba: Adam, a method for stochastic optimization
/// (arXiv 1412.6980); `amsgrad` takes the greatest `v` so far: Reddi, Kale, Kumar: On the convergence of Adam and beyond
/// (ICLR 2018).
///
/// ```
/// use chainrule::optim::{Adam, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let mut optimizer = Adam::new(0.1).with_betas(0.9, 0.99);
/// let loss = (&*weight * &*weight).sum();
/// optimizer.step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - 1.9).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adam {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Step(parameter, gradient; mean, square; sign, decay, shrink, take1, keep2, take2, rate, scale, epsilon) {
        let slope = sign * gradient + decay * parameter;
        mean = mean + take1 * (slope - mean);
        square = keep2 * square + take2 * (slope * slope);
        parameter = shrink * parameter - rate * mean / (scale * sqrt(square) + epsilon);
    }
}
update_formula! {
    fn AmsGrad(parameter, gradient; mean, square, greatest; sign, decay, shrink, take1, keep2, take2, rate, scale, epsilon) {
        let slope = sign * gradient + decay * parameter;
        mean = mean + take1 * (slope - mean);
        square = keep2 * square + take2 * (slope * slope);
        greatest = maximum(greatest, square);
        parameter = shrink * parameter - rate * mean / (scale * sqrt(greatest) + epsilon);
    }
}

/// The settings of Adam and its relatives.
pub(super) fn settings(rate: f64, decay: f64) -> [(Setting, f64); 5] {
    [
        (Setting::Rate, rate),
        (Setting::Beta1, 0.9),
        (Setting::Beta2, 0.999),
        (Setting::Epsilon, 1e-8),
        (Setting::WeightDecay, decay),
    ]
}

/// The states of Adam.
pub(super) fn states(amsgrad: bool, parameter: &Value) -> Remember {
    Remember::zeros(if amsgrad { &["mean", "square", "greatest"] } else { &["mean", "square"] }, parameter)
}

/// One step. Decoupled decay shrinks the parameter itself; the other kind is a part of the gradient.
pub(super) fn step(
    settings: &Settings,
    target: &mut Target<'_>,
    (maximize, decoupled): (bool, bool),
) -> Result<(), Fault> {
    let number = |setting| settings.number(setting);
    let (rate, decay, epsilon) = (number(Setting::Rate), number(Setting::WeightDecay), number(Setting::Epsilon));
    let (beta1, keep2) = (number(Setting::Beta1), number(Setting::Beta2));
    let sign = if maximize { -1.0 } else { 1.0 };
    let shrink = if decoupled { 1.0 - rate * decay } else { 1.0 };
    let decay = if decoupled { 0.0 } else { decay };
    let rate = rate / (1.0 - target.power(beta1));
    let scale = 1.0 / (1.0 - target.power(keep2)).sqrt();
    let (take1, take2) = (1.0 - beta1, 1.0 - keep2);
    // Some relatives know no AMSGrad, and remember no greatest square whatever a setting says.
    match settings.is_on(Setting::AmsGrad) && target.states.len() > 2 {
        true => target.apply(&AmsGrad { sign, decay, shrink, take1, keep2, take2, rate, scale, epsilon }),
        false => target.apply(&Step { sign, decay, shrink, take1, keep2, take2, rate, scale, epsilon }),
    }
}

impl Adam {
    /// The usual one: betas 0.9 and 0.999, epsilon 1e-8, no weight decay. A usual rate is 1e-3.
    pub fn new(rate: f64) -> Adam {
        let mut core = Core::new(&settings(rate, 0.0));
        core.set(Setting::AmsGrad, 0.0);
        Adam { core, maximize: false }
    }
    builders! {
        betas;
        /// What keeps the division from becoming too large (default 1e-8).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0, as a part of the gradient (default 0).
        with_weight_decay WeightDecay;
    }
    /// Divides by the greatest mean square so far.
    pub fn amsgrad(mut self) -> Adam {
        self.core.set(Setting::AmsGrad, 1.0);
        self
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> Adam {
        self.maximize = true;
        self
    }
}

impl Rule for Adam {
    const NAME: &'static str = "adam";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, settings: &Settings) -> Remember {
        states(settings.is_on(Setting::AmsGrad), parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        step(settings, target, (self.maximize, false))
    }
}
