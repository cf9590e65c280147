//! What all optimizers share: settings, groups, what is remembered of each parameter, and how a step is taken.

use super::replay::{Dials, Member, Operands, Twin, family, refuse_setting};
use super::setting::{resolved, set_momentum_of, set_rates_of};
use super::{Group, Optimizer, Prepared, Remember, Rule, Setting, Settings, Target};
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::{Device, Value, capture, guard, on};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::DType;
use crate::nn::{Module, Path, VisitMut};
use crate::tensor::{Gradients, Parameter, State};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, Mutex};

/// Settings, groups and memory of an optimizer: what a [`Rule`] holds and [`Optimizer`] works with.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) groups: Vec<Group>,
    missing_allowed: bool,
    pub(super) slots: Slots,
    /// All groups were seen to match something.
    begun: bool,
    /// What a captured step counts.
    pub(super) twin: Option<Arc<Mutex<Twin>>>,
}

/// What is remembered of the parameters, by identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    list: Vec<Slot>,
    places: HashMap<u64, usize>,
}

/// What is remembered of one parameter.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) id: u64,
    pub(super) name: String,
    /// 0 is what no group takes.
    pub(super) group: usize,
    pub(super) steps: u64,
    pub(super) number: f64,
    pub(super) names: SmallVec<[&'static str; 3]>,
    pub(super) states: SmallVec<[Value; 3]>,
    /// The rule is to be asked what it remembers.
    stale: bool,
}

impl Slots {
    /// The slot of an identity. Walks meet parameters in the same order each time: `guess` is where it stands then.
    #[inline]
    pub(super) fn find(&self, id: u64, guess: usize) -> Option<usize> {
        match self.list.get(guess) {
            Some(slot) if slot.id == id => Some(guess),
            _ => self.places.get(&id).copied(),
        }
    }
    pub(super) fn get(&self, id: u64) -> Option<&Slot> {
        self.list.get(self.find(id, usize::MAX)?)
    }
    /// Puts a slot in the place of the one of its identity, or behind all; gives its place.
    pub(super) fn put(&mut self, slot: Slot) -> usize {
        let place = *self.places.entry(slot.id).or_insert(self.list.len());
        match self.list.get_mut(place) {
            Some(old) => *old = slot,
            None => self.list.push(slot),
        }
        place
    }
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Slot> {
        let place = self.find(id, usize::MAX)?;
        self.list.get_mut(place)
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.list.iter()
    }
    pub(super) fn forget(&mut self, forgotten: impl Fn(u64) -> bool) {
        self.list.retain(|slot| !forgotten(slot.id));
        self.places = self.list.iter().enumerate().map(|(place, slot)| (slot.id, place)).collect();
    }
}

impl Slot {
    pub(super) fn new(id: u64, name: String, group: usize) -> Slot {
        Slot { id, name, group, steps: 0, number: 1.0, names: SmallVec::new(), states: SmallVec::new(), stale: true }
    }
    /// Makes the states ready to be written: those the rule asks for, in the right element type, held by nobody else.
    fn make_ready(&mut self, remember: Option<Remember>, parameter: &Value) -> Result<(), Fault> {
        let dtype = state_type(parameter.dtype());
        if self.steps == 0 && remember.is_some() {
            // a step that failed before the first may have left numbers of other settings
            (self.names, self.states) = Default::default();
        }
        for (at, (name, shape, start)) in remember.into_iter().flat_map(|remember| remember.states).enumerate() {
            if self.names.get(at) != Some(&name) {
                if capture::is_recording() {
                    capture::refuse(Fault::value(
                        format!(
                            "the state {name} of {} begins in a captured step: every replay would begin it anew",
                            self.name
                        ),
                        "run the step once more before it is captured",
                    ));
                }
                self.names.truncate(at);
                self.states.truncate(at);
                self.states.push(Value::full_on(parameter.device(), shape, dtype, start)?);
                self.names.push(name);
            }
        }
        for state in &mut self.states {
            if state.dtype() != dtype {
                put(state, on!(state.device(), cast(state, dtype))?);
            }
            if state.device() != parameter.device() {
                put(state, state.to(parameter.device())?);
            }
            if !state.is_writable() {
                put(state, on!(state.device(), duplicate(state))?);
            }
        }
        self.stale = false;
        Ok(())
    }
}

/// Puts another value in the place of a state.
fn put(state: &mut Value, new: Value) {
    capture::carry(state, &new);
    *state = new;
}

/// The element type of the states of a parameter.
pub(super) fn state_type(parameter: DType) -> DType {
    if parameter == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Core {
    /// The settings of an optimizer, with their numbers; it has these and no others.
    pub fn new(settings: &[(Setting, f64)]) -> Core {
        Core { settings: Settings::new(settings), ..Core::default() }
    }
    /// Sets one of the optimizer's settings.
    pub fn set(&mut self, setting: Setting, number: f64) {
        self.catch_up();
        self.settings.set(setting, number);
        self.refresh();
    }
    /// One more group of parameters with settings of their own.
    pub fn add_group(&mut self, group: Group) {
        self.catch_up();
        self.groups.push(group);
        for slot in &mut self.slots.list {
            slot.group = group_of(&self.groups, &slot.name);
        }
        self.refresh();
        self.begun = false;
    }
    /// From now on a parameter without a gradient is left as it is.
    pub fn allow_missing(&mut self) {
        self.missing_allowed = true;
    }
    pub(super) fn group_of(&self, name: &str) -> usize {
        group_of(&self.groups, name)
    }
    /// Settings have changed: the rule is asked anew what it remembers.
    fn refresh(&mut self) {
        for slot in &mut self.slots.list {
            slot.stale = true;
        }
    }

    fn step<R: Rule>(
        &mut self,
        rule: &R,
        model: &mut dyn Module,
        gradients: &Gradients,
        at: &'static Location<'static>,
    ) -> Result<()> {
        let fail = |fault| Error::with(R::NAME, fault, Vec::new(), at);
        self.catch_up();
        let settings = resolved(rule, &self.settings, &self.groups).map_err(fail)?;
        let mut walk =
            Walk { core: self, gradients, found: SmallVec::new(), missing: Vec::new(), matched: 0, wrong: None };
        model.visit_mut(&Path::ROOT, &mut walk);
        let Walk { found, missing, matched, wrong, .. } = walk;
        if let Some(error) = wrong {
            return Err(error);
        }
        if !missing.is_empty() && !self.missing_allowed {
            return Err(fail(without_gradient(&missing, found.len(), gradients)));
        }
        let unmatched = (0..self.groups.len()).find(|&at| matched & (1 << at.min(63)) == 0);
        if let Some(group) = unmatched.filter(|_| !self.begun) {
            let what = format!("group {:?} matches no parameter", self.groups[group].pattern());
            let help = "a pattern is a whole name, the beginning of one up to a dot, or has a *: \"*.bias\"";
            return Err(fail(Fault::value(what, help)));
        }

        // First all that can fail: memory for states, for copies of what is shared, for what the rule prepares.
        let mut ready: SmallVec<[Ready<'_, '_>; 8]> = SmallVec::with_capacity(found.len());
        for Found { parameter, name, place, gradient } in found {
            let place = place.unwrap_or_else(|| {
                let group = self.group_of(&name);
                self.slots.put(Slot::new(parameter.id(), name, group))
            });
            let slot = &mut self.slots.list[place];
            let settings = &settings[slot.group];
            let value = parameter.owned()?;
            let remember = slot.stale.then(|| rule.remember(&slot.name, value, settings));
            slot.make_ready(remember, value).map_err(fail)?;
            let gradient = match gradient.is_contiguous() {
                true => Gradient::Given(gradient),
                false => Gradient::Made(on!(gradient.device(), contiguous(gradient)).map_err(fail)?),
            };
            let target = Target {
                parameter: value,
                gradient: gradient.value(),
                states: &mut slot.states,
                steps: slot.steps + 1,
                number: &mut slot.number,
                scratch: None,
            };
            let prepared = rule.prepare(settings, &target)?;
            ready.push(Ready { parameter, place, gradient, prepared });
        }
        self.begun = true;
        // What a rule computes by tensors is put in its place, not changed there: whether it may be has to be known.
        if let Some(flag) = guard::flag()
            && ready.iter().any(|ready| ready.prepared.gradient.is_some())
            && flag.to(Device::Cpu).and_then(|flag| guard::is_set(&flag)).map_err(fail)?
        {
            return Ok(());
        }
        let Some(device) = ready.first().map(|ready| ready.gradient.value().device()) else { return Ok(()) };
        let (number, mut members) = (capture::next_rule(), Vec::new());
        let mut outcome = Ok(());
        let step = || {
            outcome = ready.into_iter().try_for_each(|ready| {
                members.extend(self.take(rule, &settings, number, ready, at)?);
                Ok(())
            });
        };
        on!(device, updates(step)).map_err(fail)?;
        outcome?;
        if capture::is_recording() {
            let speakers = capture::speakers(number);
            for member in &mut members {
                member.operands.take_if(|_| !speakers.contains(&member.place));
            }
            self.repeat(rule.clone(), number, members);
        }
        Ok(())
    }

    /// The step of one parameter; where it is recorded, what a replay needs of it.
    fn take<R: Rule>(
        &mut self,
        rule: &R,
        settings: &[Settings],
        number: usize,
        Ready { parameter, place, gradient, prepared }: Ready<'_, '_>,
        at: &'static Location<'static>,
    ) -> Result<Option<Member>> {
        let slot = &mut self.slots.list[place];
        for (state, new) in slot.states.iter_mut().zip(prepared.states) {
            put(state, new);
        }
        let family = if capture::is_plain() { 0 } else { family(slot.group, slot.steps, slot.number) };
        slot.steps += 1;
        let mut target = Target {
            parameter: parameter.owned()?,
            gradient: prepared.gradient.as_ref().unwrap_or(gradient.value()),
            states: &mut slot.states,
            steps: slot.steps,
            number: &mut slot.number,
            scratch: prepared.scratch,
        };
        let mut update = || rule.update(&settings[slot.group], &mut target);
        let done = if capture::is_plain() { update() } else { capture::dialled(number, place, family, update) };
        done.map_err(|fault| Error::with(R::NAME, fault, Vec::new(), at))?;
        Ok(capture::is_recording().then(|| {
            let Target { parameter, states, scratch, .. } = target;
            let operands =
                Some(Operands { parameter: parameter.clone(), states: states.iter().cloned().collect(), scratch });
            Member { parameter: slot.id, place, group: slot.group, operands }
        }))
    }
}

/// The last group that takes a name, counted from 1.
fn group_of(groups: &[Group], name: &str) -> usize {
    groups.iter().rposition(|group| group.takes(name)).map_or(0, |at| at + 1)
}

/// A parameter that will take part in the step.
struct Found<'a, 'g> {
    parameter: &'a mut Parameter,
    /// Written out only where nothing is remembered yet.
    name: String,
    place: Option<usize>,
    gradient: &'g Value,
}

/// One whose step cannot fail any more.
struct Ready<'a, 'g> {
    parameter: &'a mut Parameter,
    place: usize,
    gradient: Gradient<'g>,
    prepared: Prepared,
}

enum Gradient<'g> {
    Given(&'g Value),
    Made(Value),
}

impl Gradient<'_> {
    fn value(&self) -> &Value {
        match self {
            Gradient::Given(value) => value,
            Gradient::Made(value) => value,
        }
    }
}

/// The walk that looks before anything is done.
struct Walk<'a, 'g, 'c> {
    core: &'c Core,
    gradients: &'g Gradients,
    found: SmallVec<[Found<'a, 'g>; 8]>,
    missing: Vec<String>,
    /// A bit for each group that matched.
    matched: u64,
    wrong: Option<Error>,
}

impl<'a, 'g> Walk<'a, 'g, '_> {
    fn look(&mut self, path: &Path<'_>, parameter: &'a mut Parameter) -> Result<()> {
        if !self.core.begun {
            let name = path.to_string();
            for (at, group) in self.core.groups.iter().enumerate() {
                self.matched |= (group.takes(&name) as u64) << at.min(63);
            }
        }
        let value = parameter.value()?;
        if parameter.is_frozen() {
            return Ok(());
        }
        let Some(gradient) = self.gradients.get_by_id(parameter.id()) else {
            self.missing.push(path.to_string());
            return Ok(());
        };
        let gradient = gradient.value()?;
        if gradient.shape() != value.shape() || gradient.dtype() != value.dtype() {
            let what = format!("{path} is {value:?}, its gradient {gradient:?}");
            return Err(Error::new("step", Fault::shape(what, "take the gradients of this model as it is now")));
        }
        let place = self.core.slots.find(parameter.id(), self.found.len());
        let name = if place.is_none() { path.to_string() } else { String::new() };
        self.found.push(Found { parameter, name, place, gradient });
        Ok(())
    }
}

impl<'a> VisitMut<'a> for Walk<'a, '_, '_> {
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a mut Parameter) {
        if self.wrong.is_none() {
            self.wrong = self.look(path, parameter).err();
        }
    }
}

/// The error that names parameters which learn and got no gradient.
#[cold]
fn without_gradient(missing: &[String], found: usize, gradients: &Gradients) -> Fault {
    let shown: Vec<&str> =
        missing.iter().take(6).map(|name| if name.is_empty() { "the parameter" } else { name }).collect();
    let more = if missing.len() > shown.len() { ", ..." } else { "" };
    let all = missing.len() + found;
    let what = format!("{} of {all} parameters have no gradient: {}{more}", missing.len(), shown.join(", "));
    let mut help = "compute the loss from them, freeze() them, or say with_missing_allowed()".to_string();
    for cut in gradients.cuts() {
        help.push_str(&format!("; history was cut by {} at {}:{}", cut.reason, cut.at.file(), cut.at.line()));
    }
    Fault::new(ErrorKind::Gradient, what, help)
}

impl<R: Rule> Optimizer for R {
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()> {
        let at = Location::caller();
        let mut core = std::mem::take(self.core_mut());
        let done = core.step(self, model, gradients, at);
        *self.core_mut() = core;
        done
    }
    fn rates(&self) -> Vec<f64> {
        let core = self.core().caught_up();
        let own = core.groups.iter().filter_map(|group| group.get(Setting::Rate));
        std::iter::once(core.settings.number(Setting::Rate)).chain(own).collect()
    }
    fn set_rates(&mut self, rates: &[f64]) {
        let core = self.core_mut();
        core.catch_up();
        if !capture::is_allowed() {
            refuse_setting();
        }
        set_rates_of(&mut core.settings, &mut core.groups, rates);
    }
    fn momentum(&self) -> Option<f64> {
        let settings = self.core().caught_up().settings;
        settings.get(Setting::Momentum).or(settings.get(Setting::Beta1))
    }
    fn set_momentum(&mut self, momentum: f64) {
        let core = self.core_mut();
        core.catch_up();
        if !capture::is_allowed() {
            refuse_setting();
        }
        set_momentum_of(&mut core.settings, &mut core.groups, momentum);
        core.refresh();
    }
    fn dials(&mut self) -> Option<Dials> {
        Some(self.core_mut().dials())
    }
    #[track_caller]
    fn state(&self, model: &dyn Module) -> Result<State> {
        super::saved::state(self, model)
    }
    #[track_caller]
    fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()> {
        super::saved::load_state(self, model, state, Location::caller())
    }
}

/// The two methods of [`Rule`] that give out its field `core`.
macro_rules! has_core {
    () => {
        fn core(&self) -> &super::Core {
            &self.core
        }
        fn core_mut(&mut self) -> &mut super::Core {
            &mut self.core
        }
    };
}

/// The methods that set the settings of an optimizer, and those that all optimizers have.
macro_rules! builders {
    (betas; $($rest:tt)*) => {
        /// How slowly the mean of the gradients and the mean of their squares move.
        pub fn with_betas(mut self, beta1: f64, beta2: f64) -> Self {
            self.core.set(super::Setting::Beta1, beta1);
            self.core.set(super::Setting::Beta2, beta2);
            self
        }
        $crate::optim::core::builders! { $($rest)* }
    };
    ($($(#[$doc:meta])* $name:ident $Variant:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, number: f64) -> Self {
                self.core.set(super::Setting::$Variant, number);
                self
            }
        )*
        /// One more group of parameters with settings of their own. Where several match, the last decides.
        pub fn with_group(mut self, group: super::Group) -> Self {
            self.core.add_group(group);
            self
        }
        /// Leaves parameters without a gradient as they are, instead of refusing the step.
        pub fn with_missing_allowed(mut self) -> Self {
            self.core.allow_missing();
            self
        }
    };
}
pub(super) use {builders, has_core};
