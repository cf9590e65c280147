//! Optimizers: how parameters follow their gradients, and how rates change on the way.
//!
//! An optimizer is a [`Rule`]: what it remembers of a parameter, and one step as a formula that runs over parameter,
//! gradient and states in one pass. All else is [`Core`], the same for all: checks before anything is written, groups,
//! states by identity in memory and by name in files. Reading order: `sgd` (the shortest), `rule`, `core`, `step`.
//!
//! ```
//! use chainrule::nn::{Init, Layer, Linear};
//! use chainrule::optim::{AdamW, Optimizer};
//! use chainrule::Tensor;
//! let mut model = Linear::new(1, 1, &mut Init::new());
//! let mut optimizer = AdamW::new(0.1);
//! let x = Tensor::from([[0.0], [1.0], [2.0]]);
//! for _ in 0..200 {
//!     let loss = (model.forward(&x) - (&x * 3.0 + 1.0)).square().mean();
//!     optimizer.step(&mut model, &loss.backward()?)?;
//! }
//! assert!((model.forward(&Tensor::from([[3.0]])).item()? - 10.0).abs() < 0.2);
//! # Ok::<(), chainrule::Error>(())
//! ```

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod average;
mod core;
mod doubt;
mod gate;
mod lamb;
mod lbfgs;
mod lion;
mod muon;
mod nadam;
mod number;
mod radam;
mod replay;
mod rmsprop;
mod rule;
mod saved;
mod scaler;
pub mod schedule;
mod setting;
mod sgd;
mod slots;
mod step;

pub use self::core::Core;
pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use adamw::AdamW;
pub use average::{Ema, Swa};
pub(crate) use gate::Gate;
#[doc(hidden)]
pub use gate::Tally;
pub use lamb::Lamb;
pub use lbfgs::Lbfgs;
pub use lion::Lion;
pub use muon::Muon;
pub use nadam::NAdam;
pub use number::Number;
pub use radam::RAdam;
pub use replay::Dials;
pub use rmsprop::RmsProp;
pub use rule::{Prepared, Remember, Rule, Target};
pub use scaler::LossScaler;
pub use setting::{Group, Setting, Settings};
pub use sgd::Sgd;

use crate::error::Result;
use crate::nn::Module;
use crate::tensor::{Gradients, State};

/// Changes the parameters of a model along their gradients.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::optim::{Optimizer, Sgd};
/// use chainrule::Tensor;
/// let mut model = Linear::new(2, 1, &mut Init::new());
/// let mut optimizer: Box<dyn Optimizer> = Box::new(Sgd::new(0.1).with_momentum(0.9));
/// let loss = model.forward(&Tensor::ones([4, 2])).square().mean();
/// optimizer.step(&mut model, &loss.backward()?)?;
/// assert_eq!((optimizer.rate(), optimizer.momentum()), (0.1, Some(0.9)));
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Optimizer: Send + Sync {
    /// One step. Everything is checked first: each parameter that learns has a gradient of its shape, each setting makes
    /// sense. On an error nothing has changed.
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()>;

    /// The rate, and after it the rates of the groups that have one of their own, in their order.
    fn rates(&self) -> Vec<f64>;
    /// Sets what [`rates`](Optimizer::rates) gave, in the same order.
    fn set_rates(&mut self, rates: &[f64]);
    /// The rate.
    fn rate(&self) -> f64 {
        self.rates().first().copied().unwrap_or(0.0)
    }
    /// Sets the rate. Groups with a rate of their own keep it.
    fn set_rate(&mut self, rate: f64) {
        self.set_rates(&[rate]);
    }
    /// The momentum, or the first beta; none where the optimizer has neither.
    fn momentum(&self) -> Option<f64>;
    /// Sets the momentum, or the first beta, of all groups.
    fn set_momentum(&mut self, momentum: f64);

    /// What a captured step sets of it at each replay; none where its steps cannot be captured.
    #[doc(hidden)]
    fn dials(&mut self) -> Option<Dials> {
        None
    }

    /// What it counts; none where it reads by itself whether to step, so that its steps cannot wait for a number on the device.
    #[doc(hidden)]
    fn tally(&self) -> Option<Tally> {
        None
    }
    /// Counts on from there: no step since has changed anything.
    #[doc(hidden)]
    fn recount(&mut self, _: Tally) {}

    /// Forgets what it remembers of parameters that are not this model's: of models that are gone. (What is remembered of a
    /// parameter stays with its identity until then.)
    ///
    /// ```
    /// use chainrule::nn::{Init, Layer, Linear};
    /// use chainrule::optim::{Adam, Optimizer};
    /// use chainrule::Tensor;
    /// let mut optimizer = Adam::new(0.1);
    /// for _ in 0..3 {
    ///     let mut model = Linear::new(2, 1, &mut Init::new());
    ///     let loss = model.forward(&Tensor::ones([4, 2])).sum();
    ///     optimizer.step(&mut model, &loss.backward()?)?;
    ///     optimizer.keep_only(&model);
    /// }
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn keep_only(&mut self, model: &dyn Module);

    /// All it takes to go on exactly here: settings, and what is remembered of the model's parameters, by name.
    #[track_caller]
    fn state(&self, model: &dyn Module) -> Result<State>;
    /// Goes on where [`state`](Optimizer::state) was taken. On an error nothing has changed.
    #[track_caller]
    fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()>;
}
