//! Averages of a model over its training: often better than its last step.

use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::{Counter, Device, Value, capture, on};
use crate::error::{Error, Fault, Result};
use crate::nn::{Module, Path, Running, Visit, VisitMut};
use crate::tensor::{Parameter, State, Tensor};
use crate::update_formula;
use std::panic::Location;
use std::sync::atomic::Ordering;

update_formula! {
    fn Mix(average, number; ; weight) {
        average = average + weight * (number - average);
    }
}

/// The parameters and running states of a model, in the order of a walk.
#[derive(Default)]
struct Contents<'a> {
    parameters: Vec<(String, &'a Parameter)>,
    running: Vec<Tensor>,
}

impl<'a> Visit<'a> for Contents<'a> {
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a Parameter) {
        self.parameters.push((path.to_string(), parameter));
    }
    fn running(&mut self, _: &Path<'_>, running: &'a Running<Tensor>) {
        self.running.push(running.get());
    }
}

/// Moves an average towards a model.
struct Follow<'v> {
    values: std::vec::IntoIter<&'v Value>,
    running: std::vec::IntoIter<Tensor>,
    weight: f64,
    /// As a captured step counts what takes steps in it.
    rule: usize,
    /// What of the average a captured step changes.
    members: Vec<Value>,
    outcome: Result<(), Fault>,
}

/// The parameter number `place` of an average takes its step; a replay takes it with another weight.
fn mix(rule: usize, place: usize, weight: f64, old: &mut Value, new: &Value) -> Result<(), Fault> {
    let mut step = || on!(old.device(), update(&Mix { weight }, old, new, []));
    if capture::is_plain() { step() } else { capture::dialled(rule, place, 0, step) }
}

impl Follow<'_> {
    /// Running statistics are taken as they are; in a captured step as a copy, which goes where the next replay finds it.
    fn take(&self, running: &mut Running<Tensor>, mut new: Tensor) -> Result<(), Fault> {
        if !capture::is_plain()
            && let (Ok(old), Ok(given)) = (running.get().value(), new.value())
        {
            let own = on!(given.device(), duplicate(given))?;
            capture::carry(old, &own);
            new = Tensor::from_value(own);
        }
        running.set(new);
        Ok(())
    }
}

impl<'a> VisitMut<'a> for Follow<'_> {
    fn parameter(&mut self, _: &Path<'_>, parameter: &'a mut Parameter) {
        let (Some(new), Ok(()), Ok(old)) = (self.values.next(), &self.outcome, parameter.owned()) else { return };
        self.outcome = mix(self.rule, self.members.len(), self.weight, old, new);
        self.members.push(old.clone());
    }
    fn running(&mut self, _: &Path<'_>, running: &'a mut Running<Tensor>) {
        if let (Some(new), Ok(())) = (self.running.next(), &self.outcome) {
            self.outcome = self.take(running, new);
        }
    }
}

/// A copy of a model that follows it, and how often it has.
#[derive(Clone, Debug)]
struct Average<M> {
    model: M,
    updates: Counter,
}

impl<M: Module + Clone> Average<M> {
    fn new(model: &M) -> Average<M> {
        let mut model = model.clone();
        model.freeze();
        Average { model, updates: Counter::new(0) }
    }
    /// Moves by a share of the way, which the updates before it decide. All that can fail comes first.
    #[track_caller]
    fn follow(&mut self, model: &M, share: impl Fn(u64) -> f64 + Send + 'static) -> Result<()> {
        let mut new = Contents::default();
        model.visit(&Path::ROOT, &mut new);
        let mut values = Vec::with_capacity(new.parameters.len());
        let mine = self.model.parameters_mut();
        let place = Location::caller();
        let other = |what: String| {
            let fault = Fault::shape(what, "average the model this was made from");
            Error::with("average", fault, Vec::new(), place)
        };
        if mine.len() != new.parameters.len() {
            return Err(other(format!(
                "the average has {} parameters, the model {}",
                mine.len(),
                new.parameters.len()
            )));
        }
        for ((name, mine), (_, new)) in mine.into_iter().zip(&new.parameters) {
            let (old, new) = (mine.owned()?, new.value()?);
            if old.shape() != new.shape() || old.dtype() != new.dtype() {
                return Err(other(format!("{name} is {old:?} in the average and {new:?} in the model")));
            }
            values.push(new);
        }
        let device = values.first().map_or(Device::Cpu, |value| value.device());
        let mut follow = Follow {
            values: values.into_iter(),
            running: new.running.into_iter(),
            weight: share(self.updates.get()),
            rule: capture::next_rule(),
            members: Vec::new(),
            outcome: Ok(()),
        };
        let joined = on!(device, updates(|| self.model.visit_mut(&Path::ROOT, &mut follow)));
        self.updates.advance();
        if capture::is_recording() {
            self.repeat(follow.rule, follow.members, share);
        }
        follow.outcome.and(joined).map_err(|fault| Error::new("average", fault))
    }
    /// Each replay of the step that is being recorded counts, and moves by the share of then.
    fn repeat(&mut self, rule: usize, members: Vec<Value>, share: impl Fn(u64) -> f64 + Send + 'static) {
        let speakers = capture::speakers(rule);
        let mut members: Vec<(usize, Value)> =
            members.into_iter().enumerate().filter(|(place, _)| speakers.contains(place)).collect();
        let updates = self.updates.shared();
        capture::rule_is_done();
        capture::again(move || {
            let weight = share(updates.fetch_add(1, Ordering::Relaxed));
            members.iter_mut().try_for_each(|(place, old)| {
                let new = old.clone();
                mix(rule, *place, weight, old, &new)
            })
        });
    }
    fn copy_to(&self, model: &mut M) -> Result<()> {
        let tensors = self.model.tensors()?.into_iter().map(|(name, tensor)| (name, tensor * 1.0));
        model.load_tensors(tensors).strict().map(drop)
    }
    fn state(&self) -> Result<State> {
        let mut state = State::tree();
        state.insert("updates", State::Integer(self.updates.get().min(i64::MAX as u64) as i64))?;
        state.insert("model", self.model.state()?)?;
        Ok(state)
    }
    #[track_caller]
    fn load_state(&mut self, state: &State) -> Result<()> {
        let updates = state.get("updates")?.integer()?.max(0) as u64;
        self.model.load_state(state.get("model")?)?;
        self.updates = Counter::new(updates);
        Ok(())
    }
}

macro_rules! average {
    ($Name:ident) => {
        impl<M: Module + Clone> $Name<M> {
            /// The average: a frozen model, ready to be used.
            pub fn model(&self) -> &M {
                &self.average.model
            }
            /// How often it has followed the model.
            pub fn updates(&self) -> u64 {
                self.average.updates.get()
            }
            /// Gives a model the numbers of the average.
            #[track_caller]
            pub fn copy_to(&self, model: &mut M) -> Result<()> {
                self.average.copy_to(model)
            }
            /// All it takes to go on exactly here.
            pub fn state(&self) -> Result<State> {
                self.average.state()
            }
            /// Goes on where the state was taken. On an error nothing has changed.
            #[track_caller]
            pub fn load_state(&mut self, state: &State) -> Result<()> {
                self.average.load_state(state)
            }
        }
    };
}

/// The exponential average of a model: `average = decay · average + (1 - decay) · model`. The first update copies the model.
///
/// Running statistics are taken as they are in the model.
///
/// ```
/// use chainrule::nn::{Init, Linear};
/// use chainrule::optim::Ema;
/// use chainrule::Tensor;
/// let mut model = Linear::new(1, 1, &mut Init::new()).without_bias();
/// let mut average = Ema::new(&model, 0.9);
/// for number in [1.0, 2.0] {
///     model.weight.set(&Tensor::from([[number]]))?;
///     average.update(&model)?;
/// }
/// assert!((average.model().weight.item()? - 1.1).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ema<M> {
    average: Average<M>,
    decay: f64,
}

impl<M: Module + Clone> Ema<M> {
    /// An average that keeps `decay` of itself at each update; 0.999 is usual.
    pub fn new(model: &M, decay: f64) -> Ema<M> {
        Ema { average: Average::new(model), decay }
    }
    /// Follows the model by one step. On an error nothing has changed.
    #[track_caller]
    pub fn update(&mut self, model: &M) -> Result<()> {
        if !(0.0..=1.0).contains(&self.decay) {
            let fault = Fault::value(format!("the decay is {}", self.decay), "it lies between 0 and 1");
            return Err(Error::new("average", fault));
        }
        let decay = self.decay;
        self.average.follow(model, move |updates| if updates == 0 { 1.0 } else { 1.0 - decay })
    }
}
average!(Ema);

/// The plain average of a model over its updates: stochastic weight averaging.
///
/// Running statistics are those of the last update. They belong to other weights than the averaged ones: let the average
/// see some batches in training mode before it is used, `no_grad(|| training(|| model.forward(&x)))` on an unfrozen copy.
/// Izmailov and others: Averaging weights leads to wider optima and better generalization (arXiv 1803.05407).
///
/// ```
/// use chainrule::nn::{Init, Linear};
/// use chainrule::optim::Swa;
/// use chainrule::Tensor;
/// let mut model = Linear::new(1, 1, &mut Init::new()).without_bias();
/// let mut average = Swa::new(&model);
/// for number in [1.0, 2.0, 6.0] {
///     model.weight.set(&Tensor::from([[number]]))?;
///     average.update(&model)?;
/// }
/// average.copy_to(&mut model)?;
/// assert_eq!(model.weight.item()?, 3.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Swa<M> {
    average: Average<M>,
}

impl<M: Module + Clone> Swa<M> {
    /// An average of nothing yet.
    pub fn new(model: &M) -> Swa<M> {
        Swa { average: Average::new(model) }
    }
    /// Takes the model as it is now into the average. On an error nothing has changed.
    #[track_caller]
    pub fn update(&mut self, model: &M) -> Result<()> {
        self.average.follow(model, |updates| 1.0 / (updates as f64 + 1.0))
    }
}
average!(Swa);
