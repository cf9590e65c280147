//! AdamW.

use super::core::{builders, has_core};
use super::{Core, Remember, Rule, Setting, Settings, Target, adam};
use crate::device::Value;
use crate::error::Fault;

/// [`Adam`](super::Adam) with decoupled weight decay: `p = (1 - rate · weight_decay) · p` before the step, which the
/// gradient's means know nothing of. The usual choice for transformers.
///
/// Loshchilov, Hutter: Decoupled weight decay regularization (arXiv 1711.05101).
///
/// ```
/// use chainrule::optim::{AdamW, Group, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let mut optimizer = AdamW::new(0.1).with_weight_decay(0.5);
/// let loss = (&*weight * &*weight).sum();
/// optimizer.step(&mut weight, &loss.backward()?)?;
/// assert!((weight.item()? - (1.9 - 0.1)).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AdamW {
    core: Core,
    maximize: bool,
}

impl AdamW {
    /// The usual one: betas 0.9 and 0.999, epsilon 1e-8, weight decay 0.01. A usual rate is 1e-3.
    pub fn new(rate: f64) -> AdamW {
        let mut core = Core::new(&adam::settings(rate, 0.01));
        core.set(Setting::AmsGrad, 0.0);
        AdamW { core, maximize: false }
    }
    builders! {
        betas;
        /// What keeps the division from becoming too large (default 1e-8).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0 (default 0.01).
        with_weight_decay WeightDecay;
    }
    /// Divides by the greatest mean square so far.
    pub fn amsgrad(mut self) -> AdamW {
        self.core.set(Setting::AmsGrad, 1.0);
        self
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> AdamW {
        self.maximize = true;
        self
    }
}

impl Rule for AdamW {
    const NAME: &'static str = "adamw";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, settings: &Settings) -> Remember {
        adam::states(settings.is_on(Setting::AmsGrad), parameter)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        adam::step(settings, target, (self.maximize, true))
    }
}
