//! What the host does beside the launches of a captured step.
//!
//! A captured step runs on the host once; a replay repeats only what it launched. So whatever counts on the host says so here
//! while a step is recorded, and is done again before each replay: draws of random numbers, steps of optimizers, rates of
//! schedules. Kernels read what comes of it from a table of words on the device, [`Dial`]s and numbers of draws. What is
//! replaced by the step is copied back at its end, [`carry`]; what cannot be repeated is refused.
//!
//! The device's part is `cuda/graph.rs`; on the CPU a captured step is run again, and nothing of this happens: a build without
//! GPUs knows that when it is compiled.
#![cfg_attr(not(feature = "cuda-unversioned"), allow(dead_code, unused_imports))]

use super::Value;
use super::random::Draw;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No captured step.
    Plain,
    /// The first run of a step: it is done as always, and what recording will want is made ready.
    Rehearsing,
    /// What is launched is recorded.
    Recording,
    /// Numbers of the next replay are being found; nothing is launched.
    Repeating,
}

thread_local! {
    static PHASE: Cell<Phase> = const { Cell::new(Phase::Plain) };
    static STEP: RefCell<Option<Step>> = const { RefCell::new(None) };
    static CALLS: Cell<Option<Calls>> = const { Cell::new(None) };
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// Scalars of a launch that change from replay to replay.
type Scalars = SmallVec<[f64; 8]>;
/// Something that the host does for a replay.
type Action = Box<dyn FnMut() -> Result<(), Fault> + Send>;

/// Words of the table.
#[cfg(feature = "cuda-unversioned")]
pub(super) const WORDS: usize = 4096;

/// As a program and as a number of its call: what a step is prepared with has neither.
#[cfg(feature = "cuda-unversioned")]
const NUMBERS: u64 = 0;
#[cfg(feature = "cuda-unversioned")]
const PREPARED: usize = usize::MAX;

/// What is known of a step that is captured.
#[derive(Default)]
pub(crate) struct Step {
    number: u64,
    /// The table on the device, and its words.
    table: Option<Value>,
    words: Vec<u64>,
    streams: Vec<Stream>,
    dials: Vec<Dial>,
    /// What is done before each launch, the first too; before each but the first; and behind each.
    before: Vec<Action>,
    again: Vec<Action>,
    after: Vec<Action>,
    /// What is looked at behind a launch: its memory is not used for anything else.
    looked_at: Vec<Value>,
    rules: usize,
    carried: Vec<Carried>,
    refused: Option<Fault>,
}

/// A stream of random numbers of which the step took draws.
struct Stream {
    seed: u64,
    stream: u32,
    counter: Arc<AtomicU64>,
    first: u64,
    taken: u64,
    /// The words that hold numbers of draws, each with how far it is from the first.
    words: Vec<(u64, usize)>,
}

/// Scalars in the table that launches read, in words from `word` on.
struct Dial {
    /// Whose update computes them: rule, parameter, and which of its formulas.
    call: Calls,
    program: u64,
    scalars: Scalars,
    word: usize,
}

/// The formulas of one parameter's update, counted.
#[derive(Clone, Copy)]
struct Calls {
    rule: usize,
    place: usize,
    /// Parameters of one family have the same scalars at every replay if they have the same ones now.
    family: u64,
    count: usize,
}

/// A value that the step read and another that it put in its place.
struct Carried {
    old: Value,
    new: Value,
}

/// Is the step of this thread being recorded?
#[inline]
pub(crate) fn is_recording() -> bool {
    cfg!(feature = "cuda-unversioned") && PHASE.get() == Phase::Recording
}

/// Are the numbers of a replay being found?
#[inline]
pub(crate) fn is_repeating() -> bool {
    PHASE.get() == Phase::Repeating
}

/// The number of the step that is being recorded on this thread.
pub(crate) fn recording() -> Option<u64> {
    if is_recording() { with(|step| step.number) } else { None }
}

/// Is there nothing to be said about a step?
#[inline]
pub(crate) fn is_plain() -> bool {
    !cfg!(feature = "cuda-unversioned") || PHASE.get() == Phase::Plain
}

fn with<R>(look: impl FnOnce(&mut Step) -> R) -> Option<R> {
    STEP.with_borrow_mut(|step| step.as_mut().map(look))
}

/// Runs `work` in a phase and returns to the one before, also when it panics.
fn in_phase<R>(phase: Phase, work: impl FnOnce() -> R) -> R {
    struct Restore(Phase);
    impl Drop for Restore {
        fn drop(&mut self) {
            PHASE.set(self.0);
        }
    }
    let _restore = Restore(PHASE.replace(phase));
    work()
}

/// The step cannot be replayed: its recording ends with this.
#[cold]
pub(crate) fn refuse(fault: Fault) {
    with(|step| step.refused.get_or_insert(fault).kind());
}

/// What is done on the host for each replay of the step that is being recorded.
pub(crate) fn again(action: impl FnMut() -> Result<(), Fault> + Send + 'static) {
    with(|step| step.again.push(Box::new(action)));
}

/// What is done before each launch of it, the first too.
#[cfg(feature = "cuda-unversioned")]
pub(crate) fn before(action: impl FnMut() -> Result<(), Fault> + Send + 'static) {
    with(|step| step.before.push(Box::new(action)));
}

/// What is done behind each launch of it, when a value that it computes has its new numbers.
pub(crate) fn after(looked_at: &Value, action: impl FnMut() -> Result<(), Fault> + Send + 'static) {
    with(|step| {
        step.looked_at.push(looked_at.clone());
        step.after.push(Box::new(action));
    });
}

/// The step puts `new` in the place of `old`, where the next one will look for it: a replay reads `old`, so the numbers are
/// copied there at its end. Does nothing where no step is being recorded.
pub(crate) fn carry(old: &Value, new: &Value) {
    if !is_recording() || old.shares_memory(new) {
        return;
    }
    if old.dtype() != new.dtype() || old.shape() != new.shape() || old.device() != new.device() || !old.is_contiguous()
    {
        return refuse(Fault::device(
            format!("the step puts {new:?} in the place of {old:?}, which a replay cannot do"),
            "run the step once more before it is captured, or change element types and devices outside of it",
        ));
    }
    with(|step| match step.carried.iter_mut().find(|carried| carried.new.shares_memory(old)) {
        Some(carried) => carried.new = new.clone(),
        None => step.carried.push(Carried { old: old.clone(), new: new.clone() }),
    });
}

/// Runs what sets numbers that a captured step repeats by itself.
pub(crate) fn allowed<R>(work: impl FnOnce() -> R) -> R {
    let before = ALLOWED.replace(true);
    let result = work();
    ALLOWED.set(before);
    result
}

/// Numbers that the step of one parameter is prepared with, to be read by what is launched: single f64, of which each replay has its own.
/// Nothing where no step is being recorded.
#[cfg_attr(not(feature = "cuda-unversioned"), allow(unused_variables))]
pub(crate) fn numbers(rule: usize, place: usize, family: u64, numbers: &[f64]) -> Result<Option<Vec<Value>>, Fault> {
    #[cfg(feature = "cuda-unversioned")]
    {
        let (call, scalars) = (Calls { rule, place, family, count: PREPARED }, Scalars::from_slice(numbers));
        if is_repeating() {
            return set_scalars(call, NUMBERS, &scalars, f64::to_bits).map(|()| None);
        }
        if is_recording() && !numbers.is_empty() {
            let view = |step: &mut Step| {
                let (first, single) = (step.place_of_scalars(call, NUMBERS, &scalars, f64::to_bits)?, Shape::new(&[])?);
                let table = step.table.as_ref().ok_or_else(|| Fault::defect("a recorded step without a table"))?;
                let word = |at| Layout::from_parts(single, &[], first + at);
                let view = |at| Value::within(table.buffer().clone(), word(at), DType::F64);
                (0..numbers.len()).map(view).collect::<Result<Vec<Value>, Fault>>().map(Some)
            };
            return with(view).unwrap_or(Ok(None));
        }
    }
    Ok(None)
}

/// What stands for a value where a replay computes scalars alone: its shape and element type, over memory that nobody looks at. So the value
/// itself is held by nobody else, and the step may change it in place once more.
#[cfg_attr(not(feature = "cuda-unversioned"), allow(unused_variables))]
pub(crate) fn stand_in(value: &Value) -> Result<Value, Fault> {
    #[cfg(feature = "cuda-unversioned")]
    if let Some(table) = with(|step| step.table.clone()).flatten() {
        let nowhere = Layout::from_parts(*value.shape(), &vec![0; value.rank()], 0);
        return Value::within(table.buffer().clone(), nowhere, value.dtype());
    }
    Ok(value.clone())
}

/// May numbers of an optimizer be set here? They may where nothing is recorded, or where that is repeated.
pub(crate) fn is_allowed() -> bool {
    !is_recording() || ALLOWED.get()
}

/// A stream takes its next draw.
pub(super) fn draws(draw: Draw, counter: Arc<AtomicU64>) {
    with(|step| match step.streams.iter_mut().find(|stream| Arc::ptr_eq(&stream.counter, &counter)) {
        Some(stream) => stream.taken += 1,
        None => step.streams.push(Stream {
            seed: draw.seed,
            stream: draw.stream,
            counter,
            first: draw.number,
            taken: 1,
            words: Vec::new(),
        }),
    });
}

/// Where the number of a draw stands on the device; nothing of a draw that is the same at every replay.
#[cfg(feature = "cuda-unversioned")]
pub(super) fn address_of_draw(draw: Draw) -> Result<Option<u64>, Fault> {
    if !is_recording() {
        return Ok(None);
    }
    with(|step| {
        let takes = |stream: &Stream| {
            let ahead = draw.number.wrapping_sub(stream.first);
            (stream.seed, stream.stream) == (draw.seed, draw.stream) && ahead < stream.taken
        };
        let mut found = step.streams.iter_mut().filter(|stream| takes(stream));
        let Some(stream) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(Fault::value(
                format!("two streams of seed {} give the same draws in a captured step", draw.seed),
                "give each random layer a stream of its own: Random::stream",
            ));
        }
        let ahead = draw.number.wrapping_sub(stream.first);
        let table = step.table.as_ref().map_or(0, |table| table.buffer().address());
        let word = match stream.words.iter().find(|word| word.0 == ahead) {
            Some(word) => word.1,
            None => {
                let word = reserve(&mut step.words, &[draw.number])?;
                stream.words.push((ahead, word));
                word
            }
        };
        Ok(Some(table + 8 * word as u64))
    })
    .unwrap_or(Ok(None))
}

/// Puts words into the table; gives the place of the first.
#[cfg(feature = "cuda-unversioned")]
fn reserve(words: &mut Vec<u64>, new: &[u64]) -> Result<usize, Fault> {
    let first = words.len();
    if first + new.len() > WORDS {
        return Err(Fault::device(
            format!("a captured step has more than {WORDS} numbers that change from replay to replay"),
            "capture parts of the step, or give fewer layers and groups draws and settings of their own",
        ));
    }
    words.extend_from_slice(new);
    Ok(first)
}

/// The number of the next rule that takes a step here.
pub(crate) fn next_rule() -> usize {
    with(|step| step.rules).unwrap_or(0)
}

/// All parameters of that rule have taken their step.
pub(crate) fn rule_is_done() {
    with(|step| step.rules += 1);
}

/// Runs the update of one parameter: the scalars of its formulas change from replay to replay.
pub(crate) fn dialled<R>(rule: usize, place: usize, family: u64, update: impl FnOnce() -> R) -> R {
    let before = CALLS.replace(Some(Calls { rule, place, family, count: 0 }));
    let result = update();
    CALLS.set(before);
    result
}

/// The parameters of a rule whose updates compute scalars for all: those that a replay updates anew.
pub(crate) fn speakers(rule: usize) -> Vec<usize> {
    let find = |step: &mut Step| -> Vec<usize> {
        step.dials.iter().filter(|dial| dial.call.rule == rule).map(|dial| dial.call.place).collect()
    };
    with(find).unwrap_or_default()
}

/// Counts a formula of the parameter that is being updated.
#[cfg(feature = "cuda-unversioned")]
fn next_call() -> Option<Calls> {
    let call = CALLS.get()?;
    CALLS.set(Some(Calls { count: call.count + 1, ..call }));
    Some(call)
}

/// Will the scalars of what is launched now be read from the table when this step is recorded?
#[cfg(feature = "cuda-unversioned")]
pub(super) fn is_rehearsed() -> bool {
    PHASE.get() == Phase::Rehearsing && CALLS.get().is_some()
}

/// Where the scalars of a formula stand on the device; nothing where they are the same at every replay.
#[cfg(feature = "cuda-unversioned")]
pub(super) fn address_of_scalars(
    program: u64,
    scalars: &Scalars,
    bits: impl Fn(f64) -> u64,
) -> Result<Option<u64>, Fault> {
    if !is_recording() {
        return Ok(None);
    }
    let Some(call) = next_call() else { return Ok(None) };
    with(|step| {
        let word = step.place_of_scalars(call, program, scalars, bits)?;
        Ok(step.table.as_ref().map(|table| table.buffer().address() + 8 * word as u64))
    })
    .unwrap_or(Ok(None))
}

/// Puts the scalars of the next replay where launches read them.
#[cfg(feature = "cuda-unversioned")]
pub(super) fn repeat_scalars(program: u64, scalars: &Scalars, bits: impl Fn(f64) -> u64) -> Result<(), Fault> {
    next_call().map_or(Ok(()), |call| set_scalars(call, program, scalars, bits))
}

#[cfg(feature = "cuda-unversioned")]
fn set_scalars(call: Calls, program: u64, scalars: &Scalars, bits: impl Fn(f64) -> u64) -> Result<(), Fault> {
    with(|step| {
        let own = |dial: &&mut Dial| {
            (dial.call.rule, dial.call.place, dial.call.count) == (call.rule, call.place, call.count)
        };
        let Some(dial) = step.dials.iter_mut().find(own) else { return Ok(()) };
        if dial.program != program {
            return Err(Fault::device(
                "the optimizer's step takes another form from now on",
                "drop the captured step and capture it anew",
            ));
        }
        dial.scalars.clone_from(scalars);
        for (word, &number) in step.words[dial.word..].iter_mut().zip(scalars) {
            *word = bits(number);
        }
        Ok(())
    })
    .unwrap_or(Ok(()))
}

#[cfg(feature = "cuda-unversioned")]
impl Step {
    /// Runs a step as always, making ready what recording it will want.
    pub(super) fn rehearse<R>(work: impl FnOnce() -> R) -> R {
        in_phase(Phase::Rehearsing, work)
    }
    /// Runs a step while it is recorded, with a table of words at an address.
    pub(super) fn record<R>(number: u64, table: &Value, work: impl FnOnce() -> R) -> (R, Step) {
        STEP.set(Some(Step { number, table: Some(table.clone()), ..Step::default() }));
        let result = in_phase(Phase::Recording, work);
        (result, STEP.take().unwrap_or_default())
    }
    /// The first of the words that hold scalars: those of a call with the same ones, now and at every replay, or new ones.
    fn place_of_scalars(
        &mut self,
        call: Calls,
        program: u64,
        scalars: &Scalars,
        bits: impl Fn(f64) -> u64,
    ) -> Result<usize, Fault> {
        let same = |dial: &&Dial| {
            dial.program == program
                && (dial.call.rule, dial.call.family) == (call.rule, call.family)
                && dial.scalars == *scalars
        };
        if let Some(dial) = self.dials.iter().find(same) {
            return Ok(dial.word);
        }
        let words: Vec<u64> = scalars.iter().map(|&number| bits(number)).collect();
        let word = reserve(&mut self.words, &words)?;
        self.dials.push(Dial { call, program, scalars: scalars.clone(), word });
        Ok(word)
    }
    /// Why it cannot be replayed, where that was found.
    pub(super) fn refused(&mut self) -> Option<Fault> {
        self.refused.take()
    }
    /// What it puts in the place of what it read: pairs of old and new.
    pub(super) fn carried() -> Vec<(Value, Value)> {
        with(|step| step.carried.iter().map(|carried| (carried.old.clone(), carried.new.clone())).collect())
            .unwrap_or_default()
    }
    /// Moves on what the host counts, and finds the numbers of the next replay.
    pub(super) fn repeat(&mut self) -> Result<(), Fault> {
        for stream in &self.streams {
            let now = stream.counter.fetch_add(stream.taken, Ordering::Relaxed);
            for &(ahead, word) in &stream.words {
                self.words[word] = now.wrapping_add(ahead);
            }
        }
        // What is done may look at the step.
        let mut actions = std::mem::take(&mut self.again);
        STEP.set(Some(std::mem::take(self)));
        let outcome = in_phase(Phase::Repeating, || actions.iter_mut().try_for_each(|action| action()));
        *self = STEP.take().unwrap_or_default();
        self.again = actions;
        outcome
    }
    /// What is done before every launch.
    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        self.before.iter_mut().try_for_each(|action| action())
    }
    /// What is done behind every launch.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.after.iter_mut().try_for_each(|action| action())
    }
    /// What is looked at then.
    pub(super) fn looked_at(&self) -> &[Value] {
        &self.looked_at
    }
    /// The words of the table.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }
}
