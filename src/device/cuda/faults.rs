//! Positions and classes out of range, which a GPU finds long after the operation was called.
//!
//! A kernel that checks them writes the first bad one into a word on the GPU. Whoever reads a tensor looks at that word: if it
//! is set, everything made since that operation counts as failed, for reading and for further computing.

use super::{Cuda, lock};
use crate::device::Value;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is remembered of the operations that checked numbers since the last look.
#[derive(Default)]
pub(super) struct Faults {
    word: Option<Value>,
    notes: Vec<Note>,
    failures: Vec<Failure>,
}

/// One of them.
struct Note {
    numbers: Value,
    /// What is wrong with a number (the bits of one that is a float), at a flat place.
    explain: Box<dyn Fn(i64, usize) -> Fault + Send>,
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
        let number = faults.notes.len() as u64;
        faults.notes.push(Note { numbers: numbers.clone(), explain: Box::new(explain), when: self.0.clock.tick() });
        Ok((word, number))
    }
    /// Nothing was found yet. (By the driver and no kernel, which would ask whether anything failed.)
    fn clear(self, word: &Value) -> Result<(), Fault> {
        // SAFETY: the word has eight bytes.
        unsafe { self.0.gpu.set_bytes(word.buffer().address(), 0xff, 8) }
    }
    /// Waits for the checks, and finds out what failed.
    fn look(self) -> Result<(), Fault> {
        let mut faults = lock(&self.0.faults);
        let Some(word) = faults.word.clone().filter(|_| !faults.notes.is_empty()) else { return Ok(()) };
        let single = |value: &Value| -> Result<i64, Fault> {
            let here = self.fetch(value)?;
            Ok(match value.dtype() {
                DType::F64 => here.dense::<f64>()?.first().map_or(0, |number| number.to_bits() as i64),
                _ => here.dense::<i64>()?.first().copied().unwrap_or(0),
            })
        };
        let found = single(&word)? as u64;
        let notes = std::mem::take(&mut faults.notes);
        if let Some(note) = notes.get((found >> PLACE) as usize).filter(|_| found != u64::MAX) {
            let place = (found & ((1 << PLACE) - 1)) as usize;
            let at = Layout::from_parts(Shape::new(&[])?, &[], note.numbers.layout().offset() + place);
            let number = single(&note.numbers.with_layout(at)?)?;
            let fault = (note.explain)(number, place);
            let to = self.0.clock.tick();
            faults.failures.push(Failure { from: note.when, to, fault });
            if faults.failures.len() > KEPT {
                faults.failures.remove(0);
            }
            self.0.clock.failed.store(true, Ordering::Relaxed);
            self.clear(&word)?;
        }
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
