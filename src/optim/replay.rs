//! What an optimizer does on the host for each replay of a captured step: it counts, and computes its formulas' scalars anew.
//!
//! The step's own optimizer is out of reach then, so a captured step counts in a [`Twin`]. The optimizer catches up with it when it
//! is next asked.
//!
//! A step that looks at a flag may be left out, and then does not count (`doubt.rs`): each replay waits for the flag of the one before.

use super::doubt::Doubt;
use super::setting::{resolved, set_momentum_of, set_rates_of};
use super::slots::Slot;
use super::{Core, Group, Rule, Settings, Target};
use crate::device::{Value, capture};
use crate::error::Fault;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Settings and counts of an optimizer as a captured step sees them.
#[derive(Debug, Default)]
pub(super) struct Twin {
    /// The captured step's number.
    step: Option<u64>,
    settings: Settings,
    groups: Vec<Group>,
    counts: Vec<Count>,
    /// What was counted before the step, if that may be left out; and whether the last one was.
    before: Option<Vec<Count>>,
    doubt: Option<Doubt>,
}

/// How far one parameter is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    parameter: u64,
    steps: u64,
    number: f64,
}

impl Count {
    /// How far this parameter was at another time.
    pub(super) fn as_of(&self, counts: &[Count]) -> Count {
        let found = counts.iter().find(|count| count.parameter == self.parameter);
        found.copied().unwrap_or(Count { parameter: self.parameter, steps: 0, number: 1.0 })
    }
}

/// What a captured step sets of an optimizer: for a [`Scheduler`](super::schedule::Scheduler), which has no other hold of it during a
/// replay.
#[derive(Clone, Debug)]
pub struct Dials(Arc<Mutex<Twin>>);

fn lock(twin: &Mutex<Twin>) -> MutexGuard<'_, Twin> {
    twin.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dials {
    pub(super) fn set(&self, rates: &[f64], momentum: Option<f64>) {
        let Twin { settings, groups, .. } = &mut *lock(&self.0);
        set_rates_of(settings, groups, rates);
        if let Some(momentum) = momentum {
            set_momentum_of(settings, groups, momentum);
        }
    }
}

/// Parameters with the same settings that are equally far have the same scalars now and later.
pub(super) fn family(group: usize, steps: u64, number: f64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (group, steps, number.to_bits()).hash(&mut hasher);
    hasher.finish()
}

/// A parameter of a step, as a replay needs it.
pub(super) struct Member {
    pub(super) parameter: u64,
    pub(super) place: usize,
    pub(super) group: usize,
    /// Of one whose update computes scalars for all of its family.
    pub(super) operands: Option<Operands>,
}

/// What an update is given. (It only computes scalars of them, so these stand for others.)
pub(super) struct Operands {
    pub(super) parameter: Value,
    pub(super) states: SmallVec<[Value; 3]>,
    pub(super) scratch: Option<Value>,
}

impl Core {
    /// Counts on where a captured step has come to, once that is over.
    pub(super) fn catch_up(&mut self) {
        let is_over = |twin: &mut Arc<Mutex<Twin>>| lock(twin).step != capture::recording();
        let Some(twin) = self.twin.take_if(is_over) else { return };
        let Twin { settings, groups, counts, doubt, .. } = &*lock(&twin);
        (self.settings, self.groups, self.doubt) = (*settings, groups.clone(), doubt.clone());
        self.count_from(counts);
    }
    /// How far the parameters are.
    pub(super) fn counts(&self) -> Vec<Count> {
        let count = |slot: &Slot| Count { parameter: slot.id, steps: slot.steps, number: slot.number };
        self.slots.iter().map(count).collect()
    }
    pub(super) fn count_from(&mut self, counts: &[Count]) {
        for count in counts {
            if let Some(slot) = self.slots.get_mut(count.parameter) {
                (slot.steps, slot.number) = (count.steps, count.number);
            }
        }
    }
    /// The same of one that is only looked at.
    pub(super) fn caught_up(&self) -> Cow<'_, Core> {
        if self.twin.is_none() {
            return Cow::Borrowed(self);
        }
        let mut core = self.clone();
        core.catch_up();
        Cow::Owned(core)
    }
    /// While a step is recorded: the twin that counts as this does now.
    pub(super) fn twin(&mut self) -> Arc<Mutex<Twin>> {
        self.settle();
        let twin = self.twin.get_or_insert_default().clone();
        let now = &mut *lock(&twin);
        // It may have been made for this step already.
        let before = now.before.take();
        *now = Twin {
            step: capture::recording(),
            settings: self.settings,
            groups: self.groups.clone(),
            counts: self.counts(),
            before,
            doubt: None,
        };
        twin.clone()
    }
    pub(super) fn dials(&mut self) -> Dials {
        Dials(self.twin())
    }
    /// What each replay does in the place of the step that was just recorded, which may be left out by a flag: then with what was
    /// counted before it.
    pub(super) fn repeat<R: Rule>(
        &mut self,
        rule: R,
        number: usize,
        mut members: Vec<Member>,
        unheard: Option<(Value, Vec<Count>)>,
    ) {
        let twin = self.twin();
        if lock(&twin).before.is_some() {
            capture::refuse(Fault::value(
                "a captured step takes another step of an optimizer behind one that a LossScaler may leave out",
                "take one scaled step of each optimizer in a captured step, as its last",
            ));
        }
        if let Some((flag, before)) = unheard {
            lock(&twin).before = Some(before);
            let twin = twin.clone();
            capture::after(&flag.clone(), move || {
                let twin = &mut *lock(&twin);
                twin.doubt = twin.before.clone().map(|before| Doubt::new(&flag, before));
                Ok(())
            });
        }
        capture::rule_is_done();
        capture::again(move || {
            let Twin { settings, groups, counts, before, doubt, .. } = &mut *lock(&twin);
            if let Some(before) = doubt.take().and_then(|doubt| doubt.before()) {
                counts.iter_mut().for_each(|count| *count = count.as_of(&before));
            }
            if let Some(before) = before {
                before.clone_from(counts);
            }
            let settings = resolved(&rule, settings, groups)?;
            // what became of the number of each family
            let mut found: Vec<(u64, f64)> = Vec::new();
            for member in &mut members {
                let Some(count) = counts.iter_mut().find(|count| count.parameter == member.parameter) else { continue };
                let family = family(member.group, count.steps, count.number);
                count.steps += 1;
                match &mut member.operands {
                    Some(operands) => {
                        let settings = &settings[member.group];
                        let numbers = rule.numbers(settings, count.steps);
                        capture::numbers(number, member.place, family, &numbers)?;
                        let gradient = operands.parameter.clone();
                        let mut target = Target {
                            parameter: &mut operands.parameter,
                            gradient: &gradient,
                            states: &mut operands.states,
                            steps: count.steps,
                            number: &mut count.number,
                            scratch: operands.scratch.clone(),
                            numbers: &[],
                        };
                        let update = || rule.update(settings, &mut target);
                        capture::dialled(number, member.place, family, update)?;
                        found.push((family, count.number));
                    }
                    None => {
                        if let Some((_, number)) = found.iter().find(|(of, _)| *of == family) {
                            count.number = *number;
                        }
                    }
                }
            }
            Ok(())
        });
    }
}

/// A number was set by hand while a step is recorded, which no replay does again.
#[cold]
pub(super) fn refuse_setting() {
    capture::refuse(Fault::value(
        "a captured step sets its optimizer's rate or momentum by hand: every replay would have the same",
        "use a schedule, whose step is done again at each replay: ByHand takes a number between them, Lambda a function of the step",
    ));
}
