//! What an optimizer remembers of its parameters: a slot for each, found by identity.

use super::Remember;
use crate::device::copy::Arrange;
use crate::device::{Value, capture, on};
use crate::error::Fault;
use crate::layout::DType;
use smallvec::SmallVec;
use std::collections::HashMap;

/// What is remembered of the parameters, by identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    pub(super) list: Vec<Slot>,
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
    pub(super) names: Vec<&'static str>,
    pub(super) states: SmallVec<[Value; 3]>,
    /// The rule is to be asked what it remembers.
    pub(super) stale: bool,
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
    /// No parameter has taken a step.
    pub(super) fn begin_anew(&mut self) {
        for slot in &mut self.list {
            (slot.steps, slot.number, slot.stale) = (0, 1.0, true);
        }
    }
    pub(super) fn forget(&mut self, forgotten: impl Fn(u64) -> bool) {
        self.list.retain(|slot| !forgotten(slot.id));
        self.places = self.list.iter().enumerate().map(|(place, slot)| (slot.id, place)).collect();
    }
}

impl Slot {
    pub(super) fn new(id: u64, name: String, group: usize) -> Slot {
        Slot { id, name, group, steps: 0, number: 1.0, names: Vec::new(), states: SmallVec::new(), stale: true }
    }
    /// Makes the states ready to be written: those the rule asks for, in the right element type, held by nobody else.
    pub(super) fn make_ready(&mut self, remember: Option<Remember>, parameter: &Value) -> Result<(), Fault> {
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
pub(super) fn put(state: &mut Value, new: Value) {
    capture::carry(state, &new);
    *state = new;
}

/// The element type of the states of a parameter.
pub(super) fn state_type(parameter: DType) -> DType {
    if parameter == DType::F64 { DType::F64 } else { DType::F32 }
}
