//! The state of an optimizer as a tree: by name, so that it fits any copy of the model.

use super::slots::{Slot, state_type};
use super::{Rule, Setting, Settings};
use crate::device::copy::Arrange;
use crate::device::on;
use crate::error::{Error, Fault, Result};
use crate::nn::Module;
use crate::tensor::{State, Tensor};
use std::collections::HashSet;
use std::panic::Location;

/// Where the caller's source asks for it.
type Place = &'static Location<'static>;

fn wrong(at: Place, what: String) -> Error {
    let help = "make the optimizer and the model as they were when the state was taken";
    Error::with("load_state", Fault::value(what, help), Vec::new(), at)
}

fn write(settings: &Settings) -> Result<State> {
    let mut tree = State::tree();
    for (setting, number) in settings.iter().filter(|(setting, _)| !setting.is_switch()) {
        tree.insert(setting.name(), State::Number(number))?;
    }
    Ok(tree)
}

/// The numbers of a tree that has the settings of `like` and no others.
fn read(tree: &State, like: &Settings, at: Place) -> Result<Settings> {
    let switches: Vec<_> = like.iter().filter(|(setting, _)| setting.is_switch()).collect();
    let mut settings = Settings::new(&switches);
    let State::Tree(numbers) = tree else { return Err(wrong(at, "the settings are no tree".to_string())) };
    for name in numbers.keys() {
        let known = Setting::ALL.iter().find(|setting| setting.name() == name).filter(|s| like.get(**s).is_some());
        let setting = known.ok_or_else(|| wrong(at, format!("the state sets {name}, which is not set here")))?;
        settings.set(*setting, tree.get(name)?.number()?);
    }
    match like.iter().find(|(setting, _)| settings.get(*setting).is_none()) {
        Some((setting, _)) => Err(wrong(at, format!("the state does not set {}", setting.name()))),
        None => Ok(settings),
    }
}

pub(super) fn state<R: Rule>(rule: &R, model: &dyn Module) -> Result<State> {
    let core = &*rule.core().settled();
    let mut parameters = State::tree();
    for (name, parameter) in model.parameters() {
        let Some(slot) = core.slots.get(parameter.id()).filter(|slot| slot.steps > 0) else { continue };
        let mut tree = State::tree();
        tree.insert("steps", State::Integer(slot.steps.min(i64::MAX as u64) as i64))?;
        tree.insert("number", State::Number(slot.number))?;
        for (name, state) in slot.names.iter().zip(&slot.states) {
            tree.insert(*name, State::Tensor(Tensor::from_value(state.clone())))?;
        }
        parameters.insert(name, tree)?;
    }
    let mut groups = Vec::new();
    for group in &core.groups {
        let mut tree = State::tree();
        tree.insert("pattern", State::Text(group.pattern().to_string()))?;
        tree.insert("settings", write(group.own())?)?;
        groups.push(tree);
    }
    let mut state = State::tree();
    state.insert("optimizer", State::Text(R::NAME.to_string()))?;
    state.insert("settings", write(&core.settings)?)?;
    state.insert("groups", State::List(groups))?;
    state.insert("parameters", parameters)?;
    Ok(state)
}

pub(super) fn load_state<R: Rule>(rule: &mut R, model: &dyn Module, state: &State, at: Place) -> Result<()> {
    rule.core_mut().settle();
    let name = state.get("optimizer")?.text()?;
    if name != R::NAME {
        return Err(wrong(at, format!("the state is of {name}, this is {}", R::NAME)));
    }
    let core = rule.core();
    let settings = read(state.get("settings")?, &core.settings, at)?;
    let given = state.get("groups")?.list()?;
    if given.len() != core.groups.len() {
        return Err(wrong(at, format!("the state has {} groups, there are {} here", given.len(), core.groups.len())));
    }
    let mut groups = core.groups.clone();
    for (group, given) in groups.iter_mut().zip(given) {
        let pattern = given.get("pattern")?.text()?;
        if pattern != group.pattern() {
            return Err(wrong(at, format!("a group of the state is {pattern:?}, here it is {:?}", group.pattern())));
        }
        *group.own_mut() = read(given.get("settings")?, group.own(), at)?;
    }
    let slots = slots(rule, model, state.get("parameters")?, &settings, &groups, at)?;

    let core = rule.core_mut();
    (core.settings, core.groups) = (settings, groups);
    let mine: HashSet<u64> = model.parameters().iter().map(|(_, parameter)| parameter.id()).collect();
    core.slots.forget(|id| mine.contains(&id));
    for slot in slots {
        core.slots.put(slot);
    }
    Ok(())
}

/// What the state remembers of the model's parameters.
fn slots<R: Rule>(
    rule: &R,
    model: &dyn Module,
    saved: &State,
    settings: &Settings,
    groups: &[super::Group],
    at: Place,
) -> Result<Vec<Slot>> {
    let State::Tree(names) = saved else { return Err(wrong(at, "the parameters are no tree".to_string())) };
    let parameters = model.parameters();
    if let Some(name) = names.keys().find(|name| !parameters.iter().any(|(known, _)| known == *name)) {
        return Err(wrong(at, format!("the state is of a model with a parameter {name:?}, this one has none")));
    }
    let mut slots = Vec::new();
    for (name, parameter) in parameters {
        let Some(tree) = names.get(&name) else { continue };
        let value = parameter.value()?;
        let group = rule.core().group_of(&name);
        let settings = match group.checked_sub(1).and_then(|at| groups.get(at)) {
            Some(group) => settings.with(group.own()),
            None => *settings,
        };
        let mut slot = Slot::new(parameter.id(), name.clone(), group);
        slot.steps = tree.get("steps")?.integer()?.max(0) as u64;
        slot.number = tree.get("number")?.number()?;
        for (state, shape, _) in rule.remember(&name, value, &settings).states {
            let tensor = tree.get(state)?.tensor()?;
            let saved = tensor.value()?;
            if *saved.shape() != shape || !saved.dtype().is_float() {
                let what =
                    format!("{state} of {name} is {} in the state, here it has the shape {shape:?}", tensor.describe());
                return Err(wrong(at, what));
            }
            let here = saved.to(value.device());
            let cast = here.and_then(|state| on!(state.device(), cast(&state, state_type(value.dtype()))));
            let dense = cast.and_then(|value| on!(value.device(), contiguous(&value)));
            slot.states.push(dense.map_err(|fault| Error::with("load_state", fault, Vec::new(), at))?);
            slot.names.push(state);
        }
        slots.push(slot);
    }
    Ok(slots)
}
