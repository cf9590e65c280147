//! What makes one optimizer different from another.

use super::number::Number;
use super::slots::state_type;
use super::{Core, Settings};
use crate::device::elementwise::Elementwise;
use crate::device::{Value, on};
use crate::error::{Error, Fault, Result};
use crate::formula::Update;
use crate::layout::Shape;
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// An optimizer as a rule for one parameter; [`Optimizer`](super::Optimizer) comes with it.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::optim::{Core, Optimizer, Remember, Rule, Setting, Settings, Target};
/// use chainrule::{Fault, Tensor, Value, update_formula};
///
/// update_formula! {
///     /// A step by the sign of a running mean.
///     fn SignStep(parameter, gradient; mean; rate, keep, take) {
///         mean = keep * mean + take * gradient;
///         parameter = parameter - rate * sign(mean);
///     }
/// }
///
/// #[derive(Clone, Debug)]
/// struct Signum { core: Core }
/// impl Signum {
///     fn new(rate: f64) -> Signum {
///         Signum { core: Core::new(&[(Setting::Rate, rate), (Setting::Momentum, 0.9)]) }
///     }
/// }
/// impl Rule for Signum {
///     const NAME: &'static str = "signum";
///     fn core(&self) -> &Core { &self.core }
///     fn core_mut(&mut self) -> &mut Core { &mut self.core }
///     fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
///         Remember::zeros(&["mean"], parameter)
///     }
///     fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
///         let keep = settings.number(Setting::Momentum);
///         target.apply(&SignStep { rate: settings.number(Setting::Rate), keep, take: 1.0 - keep })
///     }
/// }
///
/// let mut model = Linear::new(2, 1, &mut Init::new());
/// let before = model.weight.to_vec::<f64>()?;
/// let loss = model.forward(&Tensor::ones([4, 2])).sum();
/// Signum::new(0.5).step(&mut model, &loss.backward()?)?;
/// assert!((model.weight.to_vec::<f64>()?[0] - (before[0] - 0.5)).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Rule: Clone + Send + Sync + 'static {
    /// Its name, as in files and errors.
    const NAME: &'static str;
    /// What all optimizers have.
    fn core(&self) -> &Core;
    /// The same, to change it.
    fn core_mut(&mut self) -> &mut Core;
    /// What is remembered of the parameter of this name.
    fn remember(&self, name: &str, parameter: &Value, settings: &Settings) -> Remember;
    /// Do the settings of a group go together? Each is already known to lie in its range.
    fn check(&self, settings: &Settings) -> Result<(), Fault> {
        let _ = settings;
        Ok(())
    }
    /// What [`prepare`](Rule::prepare) computes with, where it changes from step to step: [`Target::numbers`] gives it back. A captured
    /// step has them anew at each replay.
    fn numbers(&self, settings: &Settings, steps: u64) -> Vec<f64> {
        let _ = (settings, steps);
        Vec::new()
    }
    /// What takes memory or can fail otherwise: it is done for all parameters before the first is changed.
    fn prepare(&self, settings: &Settings, target: &Target<'_>) -> Result<Prepared> {
        let _ = (settings, target);
        Ok(Prepared::default())
    }
    /// One step for one parameter, by [`Target::apply`]: so a device can let it happen or not by a number that nobody reads.
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault>;
}

/// What is remembered of a parameter: the names of the states, their shapes and the numbers they start at.
#[derive(Clone, Debug, Default)]
pub struct Remember {
    pub(super) states: Vec<(&'static str, Shape, f64)>,
}

impl Remember {
    /// States in the parameter's shape that start at zeros.
    pub fn zeros(names: &[&'static str], parameter: &Value) -> Remember {
        Remember { states: names.iter().map(|name| (*name, *parameter.shape(), 0.0)).collect() }
    }
    /// One more state.
    pub fn and(mut self, name: &'static str, shape: Shape, start: f64) -> Remember {
        self.states.push((name, shape, start));
        self
    }
}

/// What [`Rule::prepare`] has computed: another gradient and other states to go on with.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// The gradient that [`Rule::update`] sees instead, in the parameter's shape and element type.
    pub gradient: Option<Value>,
    /// The new values of the first states.
    pub states: SmallVec<[Value; 3]>,
    /// Room for [`Rule::update`] to work in.
    pub scratch: Option<Value>,
}

/// A parameter in the course of a step, with all that belongs to it.
pub struct Target<'a> {
    /// Its numbers.
    pub parameter: &'a mut Value,
    /// Its gradient: dense, of the parameter's shape and element type.
    pub gradient: &'a Value,
    /// Its states, in the order of [`Remember`]: f64 where the parameter is, else f32.
    pub states: &'a mut [Value],
    /// How many steps it has taken, this one included.
    pub steps: u64,
    /// A number that is kept with the states; it starts at 1.
    pub number: &'a mut f64,
    /// The room that [`Rule::prepare`] made.
    pub scratch: Option<Value>,
    pub(super) numbers: &'a [Number],
}

impl Target<'_> {
    /// What [`Rule::numbers`] gave for this step.
    pub fn numbers<const N: usize>(&self) -> Result<[Number; N]> {
        let given = self.numbers.first_chunk().cloned();
        given.ok_or_else(|| {
            let what = format!("{N} numbers are wanted, the rule asked for {}", self.numbers.len());
            Error::new("prepare", Fault::value(what, "give as many in Rule::numbers"))
        })
    }
    /// Runs a formula over parameter, gradient and the first states, in place.
    pub fn apply<U: Update<STATES>, const STATES: usize>(&mut self, formula: &U) -> Result<(), Fault> {
        let states: &mut [Value; STATES] = self
            .states
            .first_chunk_mut()
            .ok_or_else(|| Fault::defect(format!("the formula has {STATES} states, more than the rule remembers")))?;
        on!(self.parameter.device(), update(formula, self.parameter, self.gradient, states.each_mut()))
    }
    /// What [`Rule::prepare`] gives where tensors computed it: another gradient, which is rounded to the parameter's type,
    /// and the first states.
    pub fn prepared(&self, gradient: &Tensor, states: &[Tensor]) -> Result<Prepared> {
        let gradient = gradient.to_dtype(self.parameter.dtype()).checked()?;
        let states = states.iter().map(|state| state.value().cloned()).collect::<Result<_>>()?;
        Ok(Prepared { gradient: Some(gradient.value()?.clone()), states, scratch: None })
    }
    /// A new value of the parameter's shape in the type of its states, with any numbers in it.
    pub(super) fn room(&self) -> Result<Value, Fault> {
        let shape = *self.parameter.shape();
        Value::room(self.parameter.device(), shape, state_type(self.parameter.dtype()))
    }
    /// `beta` to the power of the steps taken.
    pub(super) fn power(&self, beta: f64) -> f64 {
        beta.powi(self.steps.min(i32::MAX as u64) as i32)
    }
}
