//! One step for all parameters of a model: first all that can fail, then the updates.

use super::doubt::Doubt;
use super::gate::chosen;
use super::number;
use super::replay::{Member, Operands, family};
use super::setting::resolved;
use super::slots::{Slot, put};
use super::{Core, Prepared, Rule, Settings, Target};
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::{Value, capture, guard, on};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::nn::{Module, Path, VisitMut};
use crate::tensor::{Gradients, Parameter};
use smallvec::SmallVec;
use std::panic::Location;

impl Core {
    /// Takes a step, or nothing has changed.
    pub(super) fn step<R: Rule>(
        &mut self,
        rule: &R,
        model: &mut dyn Module,
        gradients: &Gradients,
        at: &'static Location<'static>,
    ) -> Result<()> {
        let fail = |fault| Error::with(R::NAME, fault, Vec::new(), at);
        self.settle();
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
        let number = capture::next_rule();
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
            let (steps, device) = (slot.steps + 1, value.device());
            let family = || family(slot.group, slot.steps, slot.number);
            let numbers = number::of_step(rule, settings, steps, device, [number, place], family).map_err(fail)?;
            let target = Target {
                parameter: value,
                gradient: gradient.value(),
                states: &mut slot.states,
                steps,
                number: &mut slot.number,
                scratch: None,
                numbers: &numbers,
            };
            let mut prepared = rule.prepare(settings, &target)?;
            for (state, new) in target.states.iter().zip(&mut prepared.states) {
                *new = chosen(state, new)?;
            }
            ready.push(Ready { parameter, place, gradient, prepared });
        }
        self.begun = true;
        let Some(device) = ready.first().map(|ready| ready.gradient.value().device()) else { return Ok(()) };
        let mut unheard = guard::unheard().map(|flag| (flag, self.counts()));
        if !capture::is_recording() {
            self.doubt = unheard.take().map(|(flag, before)| Doubt::new(&flag, before));
        }
        let (mut members, mut outcome) = (Vec::new(), Ok(()));
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
            self.repeat(rule.clone(), number, members, unheard);
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
            numbers: &[],
        };
        let mut update = || rule.update(&settings[slot.group], &mut target);
        let done = if capture::is_plain() { update() } else { capture::dialled(number, place, family, update) };
        done.map_err(|fault| Error::with(R::NAME, fault, Vec::new(), at))?;
        if !capture::is_recording() {
            return Ok(None);
        }
        let fail = |fault| Error::with(R::NAME, fault, Vec::new(), at);
        let Target { parameter, states, scratch, .. } = target;
        let operands = Operands {
            parameter: capture::stand_in(parameter).map_err(fail)?,
            states: states.iter().map(capture::stand_in).collect::<Result<_, Fault>>().map_err(fail)?,
            scratch: scratch.as_ref().map(capture::stand_in).transpose().map_err(fail)?,
        };
        Ok(Some(Member { parameter: slot.id, place, group: slot.group, operands: Some(operands) }))
    }
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
