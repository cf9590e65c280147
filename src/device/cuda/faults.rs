//! Positions and classes out of range, which a GPU finds long after the operation was called.
//!
//! A kernel that checks them writes the first bad one into a word on the GPU. Whoever reads a tensor looks at that word: if it
//! is set, everything made since that operation counts as failed, for reading and for further computing. A read that is taken later
//! has the word brought along, as it was when it was asked for.
//!
//! Another thread may look before an operation that was checked has made its result. So what the thread that checked makes counts
//! as failed up to its own next look.

use super::driver::Address;
use super::{Cuda, lock};
use crate::device::Value;
use crate::device::capture;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};

/// What is remembered of the operations that checked numbers and were not heard of since.
#[derive(Default)]
pub(super) struct Faults {
    word: Option<Value>,
    /// By the numbers of the checks, which go on from look to look.
    notes: BTreeMap<u64, Note>,
    next: u64,
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
    /// Who checked; of a captured step, who replayed it last.
    thread: ThreadId,
    /// When it was launched, the last time. One that is still to be launched has not been heard of, whatever a look finds.
    launched: Option<u64>,
    /// What a look found meanwhile, of another check: the word, which was emptied then, may have held this one's find too.
    doubt: Option<Fault>,
}

/// A check on its way to its kernel, which is told the word and the number. It counts as launched once this is dropped.
pub(super) struct Check {
    cuda: Cuda,
    pub(super) word: Value,
    pub(super) number: i64,
}

impl Drop for Check {
    fn drop(&mut self) {
        let now = self.cuda.0.clock.tick();
        let mut faults = lock(&self.cuda.0.faults);
        let Some(note) = faults.notes.get_mut(&(self.number as u64)) else { return };
        note.launched = Some(now);
        if let (from, thread, Some(fault)) = (note.when, note.thread, note.doubt.take()) {
            faults.fail(Failure { from, to: now, thread, until: NEVER, fault });
        }
    }
}

/// Values made from one moment to another are wrong, those of the thread that checked up to a later one.
struct Failure {
    from: u64,
    to: u64,
    thread: ThreadId,
    /// Its next look, once it has come.
    until: u64,
    fault: Fault,
}

/// When a value was made, and by which thread.
#[derive(Clone, Copy)]
pub(super) struct Made {
    moment: u64,
    thread: ThreadId,
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
    /// A value is made.
    pub(super) fn made(&self) -> Made {
        Made { moment: self.tick(), thread: thread::current().id() }
    }
}

/// More notes than this are not kept before somebody hears of them.
const MOST: usize = 4096;
/// Failures that are remembered.
const KEPT: usize = 64;
/// The bits of the word that say where; those above say which operation.
const PLACE: u32 = 40;
/// Operations of captured steps are counted from here.
const CAPTURED: u64 = 1 << 23;
/// No replay since the last look, or no look since a failure.
const NEVER: u64 = u64::MAX;
/// What stands in the word where nothing was found.
const NOTHING: u64 = u64::MAX;

impl Cuda {
    /// The next check, of some dense i64 or f64. It is kept until its kernel is launched.
    pub(super) fn next_check(
        self,
        numbers: &Value,
        explain: impl Fn(i64, usize) -> Fault + Send + 'static,
    ) -> Result<Check, Fault> {
        let is_full = |faults: &Faults| faults.notes.len() >= MOST || faults.next >= CAPTURED;
        if is_full(&lock(&self.0.faults)) {
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
        let check = |number: u64| Check { cuda: self, word, number: number as i64 };
        let (numbers, explain) = (numbers.clone(), Box::new(explain));
        let note = |when| Note { numbers, explain, when, thread: thread::current().id(), launched: None, doubt: None };
        if let Some(step) = capture::recording() {
            let number = faults.captured.last_key_value().map_or(CAPTURED, |(last, _)| last + 1);
            faults.captured.insert(number, (step, note(NEVER)));
            return Ok(check(number));
        }
        let number = if faults.next < CAPTURED { faults.next } else { 0 };
        faults.next = number + 1;
        faults.notes.insert(number, note(self.0.clock.tick()));
        Ok(check(number))
    }
    /// A captured step is about to begin anew, with its checks.
    pub(super) fn checks_begin(self, step: u64) {
        let now = self.0.clock.tick();
        for (_, note) in lock(&self.0.faults).captured.values_mut().filter(|(of, _)| *of == step) {
            (note.when, note.thread, note.launched) = (note.when.min(now), thread::current().id(), None);
        }
    }
    /// It has been launched.
    pub(super) fn checks_launched(self, step: u64) {
        let now = self.0.clock.tick();
        for (_, note) in lock(&self.0.faults).captured.values_mut().filter(|(of, _)| *of == step) {
            note.launched = Some(now);
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
        self.read_word(&mut faults)?;
        faults.are_heard_of_by(thread::current().id(), self.0.clock.tick());
        Ok(())
    }
    fn read_word(self, faults: &mut Faults) -> Result<(), Fault> {
        let Some(word) = faults.asked() else { return Ok(()) };
        let single = |value: &Value| -> Result<i64, Fault> {
            let here = self.fetch(value)?;
            Ok(match value.dtype() {
                DType::F64 => here.dense::<f64>()?.first().map_or(0, |number| number.to_bits() as i64),
                _ => here.dense::<i64>()?.first().copied().unwrap_or(0),
            })
        };
        let found = single(&word)? as u64;
        let note = match found >> PLACE {
            number if number < CAPTURED => faults.notes.get(&number),
            number => faults.captured.get(&number).map(|(_, note)| note),
        };
        if found != NOTHING {
            self.clear(&word)?;
        }
        if let Some(note) = note.filter(|_| found != NOTHING) {
            let place = (found & ((1 << PLACE) - 1)) as usize;
            let at = Layout::from_parts(Shape::new(&[])?, &[], note.numbers.layout().offset() + place);
            let number = single(&note.numbers.with_layout(at)?)?;
            let fault = (note.explain)(number, place);
            let (to, mut found) = (self.0.clock.tick(), vec![(note.thread, note.when)]);
            // The word has room for one find: what others found at the same time is not known.
            for note in faults.notes.values_mut() {
                match note.launched {
                    None => note.doubt = Some(fault.clone()),
                    Some(_) if found.iter().all(|(thread, _)| *thread != note.thread) => {
                        found.push((note.thread, note.when));
                    }
                    Some(_) => {}
                }
            }
            for (thread, from) in found {
                faults.fail(Failure { from, to, thread, until: NEVER, fault: fault.clone() });
            }
            self.0.clock.failed.store(true, Ordering::Relaxed);
        }
        faults.are_heard_of(u64::MAX);
        Ok(())
    }
    /// Where checks tell what they find, while there are any that were not heard of.
    pub(in crate::device) fn word_of_checks(self) -> Option<Value> {
        lock(&self.0.faults).asked()
    }
    /// Copies the word to the host when the stream comes to it; the moment up to which it tells what was launched. Nothing
    /// where there is nothing to tell.
    ///
    /// # Safety
    /// Eight bytes stand at `to`; nobody uses them until then.
    pub(super) unsafe fn send_word(self, to: *mut u8) -> Result<Option<u64>, Fault> {
        let faults = lock(&self.0.faults);
        let Some(word) = faults.asked() else { return Ok(None) };
        // SAFETY: the word has eight bytes; as the caller vouches, they have room.
        unsafe { self.0.gpu.copy_out(to, word.buffer().address(), 8) }?;
        Ok(Some(self.0.clock.tick()))
    }
    /// What the word said at a moment has arrived.
    pub(super) fn hear(self, word: u64, moment: u64) -> Result<(), Fault> {
        if word != NOTHING {
            return self.look();
        }
        let mut faults = lock(&self.0.faults);
        faults.are_heard_of(moment);
        faults.are_heard_of_by(thread::current().id(), self.0.clock.tick());
        Ok(())
    }
    /// The thread that looks hears that what was made at a moment is wrong: so is what was made since.
    pub(super) fn fails(self, Made { moment, thread }: Made, fault: Fault) {
        let to = self.0.clock.tick();
        let mut faults = lock(&self.0.faults);
        faults.fail(Failure { from: moment, to, thread, until: NEVER, fault });
        faults.are_heard_of_by(thread::current().id(), to);
        self.0.clock.failed.store(true, Ordering::Relaxed);
    }
    /// After it was waited for: a fault where the value was made when something had failed.
    pub(super) fn judge(self, value: &Value) -> Result<(), Fault> {
        self.hear_of_others();
        self.look()?;
        self.sound(value)
    }
    /// A fault where the value is known to be wrong.
    pub(super) fn sound(self, value: &Value) -> Result<(), Fault> {
        if !self.0.clock.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.was_sound(self.made(value.buffer().address()))
    }
    /// A fault where what was made at a moment is known to be wrong.
    pub(super) fn was_sound(self, made: Option<Made>) -> Result<(), Fault> {
        let (Some(made), faults) = (made, lock(&self.0.faults)) else { return Ok(()) };
        match faults.failures.iter().find(|failure| failure.holds(made)) {
            Some(failure) => Err(failure.fault.clone()),
            None => Ok(()),
        }
    }
}

impl Failure {
    fn holds(&self, made: Made) -> bool {
        let end = if self.thread == made.thread { self.to.max(self.until) } else { self.to };
        (self.from..=end).contains(&made.moment)
    }
}

impl Faults {
    /// The word, where a check may have written into it.
    fn asked(&self) -> Option<Value> {
        let is_asked = !self.notes.is_empty() || self.captured.values().any(|(_, note)| note.when != NEVER);
        self.word.clone().filter(|_| is_asked)
    }
    fn fail(&mut self, failure: Failure) {
        self.failures.push(failure);
        if self.failures.len() > KEPT {
            // What its own thread has not heard of stays, however often others fail meanwhile: the first of each thread.
            let failures = &self.failures;
            let is_waited_for = |at: usize| {
                let waits = |failure: &Failure| failure.thread == failures[at].thread && failure.until == NEVER;
                failures.iter().position(waits) == Some(at)
            };
            let gone = (0..failures.len() - 1).find(|&at| !is_waited_for(at)).unwrap_or(0);
            self.failures.remove(gone);
        }
    }
    /// A thread has looked: what it makes from now on is as right as what it makes it of.
    fn are_heard_of_by(&mut self, thread: ThreadId, now: u64) {
        for failure in self.failures.iter_mut().filter(|failure| failure.thread == thread) {
            failure.until = failure.until.min(now);
        }
    }
    /// Of the checks that were launched up to a moment it is known what they found.
    fn are_heard_of(&mut self, moment: u64) {
        let is_heard_of = |note: &Note| note.launched.is_some_and(|launched| launched <= moment);
        self.notes.retain(|_, note| !is_heard_of(note));
        for (_, note) in self.captured.values_mut().filter(|(_, note)| is_heard_of(note)) {
            note.when = NEVER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_has_not_heard_of_stays_however_often_others_fail() {
        let mine = thread::current().id();
        let other = thread::spawn(|| thread::current().id()).join().expect("it only tells who it is");
        let mut faults = Faults::default();
        let failure = |from, thread| Failure { from, to: from, thread, until: NEVER, fault: Fault::defect("a test's") };
        faults.fail(failure(1, other));
        for moment in 2..1000 {
            faults.fail(failure(moment, mine));
            faults.are_heard_of_by(mine, moment);
        }
        assert_eq!(faults.failures.len(), KEPT);
        let is_wrong = |moment, thread| faults.failures.iter().any(|failure| failure.holds(Made { moment, thread }));
        assert!(is_wrong(5000, other) && is_wrong(999, mine) && !is_wrong(5000, mine) && !is_wrong(10, mine));
    }
}
