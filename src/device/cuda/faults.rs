//! Positions and classes out of range, which a GPU finds long after the operation was called.
//!
//! A kernel that checks them writes the first bad one into a word on the GPU. Whoever reads a tensor looks at that word: if it
//! is set, everything made since that operation counts as failed, for reading and for further computing.

use super::driver::Address;
use super::{Cuda, lock};
use crate::device::Value;
use crate::device::capture;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is remembered of the operations that checked numbers since the last look.
#[derive(Default)]
pub(super) struct Faults {
    word: Option<Value>,
    notes: Vec<Note>,
    /// Those of captured steps, which are made again at each replay: by their numbers, each with its step's.
    captured: BTreeMap<u64, (u64, Note)>,
    failures: Vec<Failure>,
}

/// One of them.
struct Note {
    numbers: Value,
    /// What is wrong with a number (the bits of one that is a float), at a flat place.
    explain: Box<dyn Fn(i64, usize) -> Fault + Send>,
    /// Of a captured step: the first replay since the last look, if there was one.
    when: u64,
}

/// Values made from one moment to another are wrong.
struct Failure {
    from: u64,
    to: u64,
    fault: Fault,
}

/// Counts what is made on a GPU, and knows whether anything ever failed there.
#[derive(Default)]
pub(super) struct Clock {
    now: AtomicU64,
    failed: AtomicBool,
}

impl Clock {
    /// A new moment.
    pub(super) fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// More notes than this are not kept before somebody looks.
const MOST: usize = 4096;
/// Failures that are remembered.
const KEPT: usize = 64;
/// The bits of the word that say where; those above say which operation.
const PLACE: u32 = 40;
/// Operations of captured steps are counted from here.
const CAPTURED: u64 = 1 << 23;
/// No replay since the last look.
const NEVER: u64 = u64::MAX;

impl Cuda {
    /// The word for the next check of some dense i64 or f64, and the number of that check.
    pub(super) fn next_check(
        self,
        numbers: &Value,
        explain: impl Fn(i64, usize) -> Fault + Send + 'static,
    ) -> Result<(Value, u64), Fault> {
        if lock(&self.0.faults).notes.len() >= MOST {
            self.look()?;
        }
        let mut faults = lock(&self.0.faults);
        let word = match &faults.word {
            Some(word) => word.clone(),
            None => {
                let word = self.blank(Shape::new(&[])?, DType::I64)?;
                self.clear(&word)?;
                faults.word.insert(word).clone()
            }
        };
        let (numbers, explain) = (numbers.clone(), Box::new(explain));
        if let Some(step) = capture::recording() {
            let number = faults.captured.last_key_value().map_or(CAPTURED, |(last, _)| last + 1);
            faults.captured.insert(number, (step, Note { numbers, explain, when: NEVER }));
            return Ok((word, number));
        }
        let number = faults.notes.len() as u64;
        faults.notes.push(Note { numbers, explain, when: self.0.clock.tick() });
        Ok((word, number))
    }
    /// A captured step begins anew, with its checks.
    pub(super) fn checks_begin(self, step: u64) {
        let now = self.0.clock.tick();
        for (_, note) in lock(&self.0.faults).captured.values_mut().filter(|(of, _)| *of == step) {
            note.when = note.when.min(now);
        }
    }
    /// The blocks that checks of a captured step hold.
    pub(super) fn checked_in(self, step: u64) -> Vec<Address> {
        let faults = lock(&self.0.faults);
        let own = faults.captured.values().filter(|(of, _)| *of == step);
        own.map(|(_, note)| note.numbers.buffer().address()).collect()
    }
    /// A captured step is gone.
    pub(super) fn forget_checks(self, step: u64) {
        let is_used = lock(&self.0.faults).captured.values().any(|(of, _)| *of == step);
        if is_used {
            // What its last replays found is to be told; a device that is lost says so at the next read.
            let _ = self.look();
            lock(&self.0.faults).captured.retain(|_, (of, _)| *of != step);
        }
    }
    /// Nothing was found yet. (By the driver and no kernel, which would ask whether anything failed.)
    fn clear(self, word: &Value) -> Result<(), Fault> {
        // SAFETY: the word has eight bytes.
        unsafe { self.0.gpu.set_bytes(word.buffer().address(), 0xff, 8) }
    }
    /// Waits for the checks, and finds out what failed.
    pub(super) fn look(self) -> Result<(), Fault> {
        let mut faults = lock(&self.0.faults);
        let is_asked = !faults.notes.is_empty() || faults.captured.values().any(|(_, note)| note.when != NEVER);
        let Some(word) = faults.word.clone().filter(|_| is_asked) else { return Ok(()) };
        let single = |value: &Value| -> Result<i64, Fault> {
            let here = self.fetch(value)?;
            Ok(match value.dtype() {
                DType::F64 => here.dense::<f64>()?.first().map_or(0, |number| number.to_bits() as i64),
                _ => here.dense::<i64>()?.first().copied().unwrap_or(0),
            })
        };
        let found = single(&word)? as u64;
        let notes = std::mem::take(&mut faults.notes);
        let number = found >> PLACE;
        let note = match number < CAPTURED {
            true => notes.get(number as usize),
            false => faults.captured.get(&number).map(|(_, note)| note),
        };
        if let Some(note) = note.filter(|_| found != u64::MAX) {
            let place = (found & ((1 << PLACE) - 1)) as usize;
            let at = Layout::from_parts(Shape::new(&[])?, &[], note.numbers.layout().offset() + place);
            let number = single(&note.numbers.with_layout(at)?)?;
            let fault = (note.explain)(number, place);
            let (from, to) = (note.when, self.0.clock.tick());
            faults.failures.push(Failure { from, to, fault });
            if faults.failures.len() > KEPT {
                faults.failures.remove(0);
            }
            self.0.clock.failed.store(true, Ordering::Relaxed);
            self.clear(&word)?;
        }
        faults.captured.values_mut().for_each(|(_, note)| note.when = NEVER);
        Ok(())
    }
    /// After it was waited for: a fault where the value was made when something had failed.
    pub(super) fn judge(self, value: &Value) -> Result<(), Fault> {
        self.look()?;
        self.sound(value)
    }
    /// A fault where the value is known to be wrong.
    pub(super) fn sound(self, value: &Value) -> Result<(), Fault> {
        if !self.0.clock.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let made = self.made(value.buffer().address());
        let faults = lock(&self.0.faults);
        match faults.failures.iter().find(|failure| (failure.from..=failure.to).contains(&made)) {
            Some(failure) => Err(failure.fault.clone()),
            None => Ok(()),
        }
    }
}
