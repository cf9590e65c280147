//! A step recorded as a graph of launches, and done again as one launch.
//!
//! The graph names addresses: the memory that the step allocates stays its own as long as it lives (`memory.rs`), and what it reads
//! of others is not handed out again. What changes from replay to replay stands in a table, which is copied in before each
//! launch; `device/capture.rs` says what that is.

use super::driver;
use super::{Cuda, lock, update};
use crate::device::capture::{self, Step, WORDS};
use crate::device::copy::Arrange;
use crate::device::{Device, Value, on};
use crate::error::{Error, Fault};
use crate::layout::{DType, Shape};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// A recorded step with all that it needs.
pub(crate) struct Graph {
    cuda: Cuda,
    number: u64,
    recorded: Option<driver::Graph>,
    step: Step,
    table: Value,
    /// What is copied back at its end.
    _carried: Vec<(Value, Value)>,
    launched: bool,
}

impl Cuda {
    /// Runs a step as always, making ready what recording it will want.
    pub(crate) fn rehearse<R>(self, step: impl FnOnce() -> R) -> R {
        Step::rehearse(step)
    }
    /// Records a step, which gives its results. Nothing of it is done yet.
    pub(crate) fn record(
        self,
        step: &mut dyn FnMut() -> Result<Vec<Value>, Error>,
        at: &'static Location<'static>,
    ) -> Result<Graph, Error> {
        let fail = |fault| Error::with("capture", fault, Vec::new(), at);
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        if !capture::is_plain() {
            return Err(fail(Fault::value(
                "a captured step is captured inside of another one",
                "capture the outer step only: its graph holds all that is launched in it",
            )));
        }
        self.look().map_err(fail)?;
        let table = Shape::new(&[WORDS]).and_then(|shape| self.blank(shape, DType::I64)).map_err(fail)?;
        self.0.gpu.begin_recording().map_err(fail)?;
        lock(&self.0.pool).begin(number);
        let mut graph = Graph {
            cuda: self,
            number,
            recorded: None,
            step: Step::default(),
            table,
            _carried: Vec::new(),
            launched: false,
        };
        let recording = Recording(Some(self));
        let whole = || {
            let results = step()?;
            let carried = Step::carried();
            // What waits comes before what is copied behind it.
            update::launch_waiting().map_err(fail)?;
            carried.iter().try_for_each(|(old, new)| self.carry_back(old, new)).map_err(fail)?;
            Ok((results, carried))
        };
        let (done, mut known) = Step::record(number, &graph.table, whole);
        let recorded = recording.end().map_err(fail);
        // Where this fails, the graph so far gives back what the step took.
        let (results, carried) = done?;
        if let Some(fault) = known.refused() {
            return Err(fail(fault));
        }
        let mut held: Vec<u64> = results.iter().map(|value| value.buffer().address()).collect();
        held.extend(carried.iter().map(|(_, new)| new.buffer().address()));
        held.extend(self.checked_in(number));
        held.extend(known.looked_at().iter().map(|value| value.buffer().address()));
        (graph.recorded, graph.step, graph._carried) = (Some(recorded?), known, carried);
        lock(&self.0.pool).end(number, &held).map_err(fail)?;
        Ok(graph)
    }
    /// At the end of a step: what replaced a value, into the place where the next one reads it.
    fn carry_back(self, old: &Value, new: &Value) -> Result<(), Fault> {
        if !lock(&self.0.pool).is_own(new.buffer().address()) {
            return Err(Fault::value(
                format!("the step puts a tensor that was there before it, {new:?}, in the place of another"),
                "compute what is put there inside the step",
            ));
        }
        self.copy(old, &self.contiguous(new)?)
    }
    /// Copies a value, of the CPU or of any GPU, over the elements of a dense one here.
    pub(crate) fn refill(self, to: &Value, from: &Value) -> Result<(), Fault> {
        match from.device() {
            Device::Cuda(_) => self.copy(to, &self.contiguous(&from.to(to.device())?)?),
            Device::Cpu => self.overwrite(to, &on!(Device::Cpu, contiguous(from))?),
        }
    }
}

/// A recording under way; it ends also where the step panics.
struct Recording(Option<Cuda>);

impl Recording {
    fn end(mut self) -> Result<driver::Graph, Fault> {
        let cuda = self.0.take().ok_or_else(|| Fault::defect("nothing is being recorded"))?;
        cuda.0.gpu.end_recording()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(cuda) = self.0.take() {
            let _ = cuda.0.gpu.end_recording().and_then(|graph| cuda.0.gpu.forget(graph));
        }
    }
}

impl Graph {
    /// Does the step, as one launch.
    pub(crate) fn replay(&mut self) -> Result<(), Fault> {
        let Some(recorded) = &self.recorded else { return Err(Fault::defect("a step that was not recorded")) };
        update::launch_waiting()?;
        if self.launched {
            self.step.repeat()?;
        }
        self.step.begin()?;
        let words: Vec<u8> = self.step.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.cuda.write_bytes(self.table.buffer().address(), &words)?;
        self.cuda.checks_begin(self.number);
        lock(&self.cuda.0.pool).renew(self.number, self.cuda.0.clock.made());
        self.launched = true;
        // SAFETY: the pool keeps what the graph allocates and uses until `drop`; the table and what is carried are held.
        unsafe { self.cuda.0.gpu.replay(recorded) }?;
        self.cuda.checks_launched(self.number);
        self.step.end()
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Some(recorded) = self.recorded.take() {
            // A device that is lost says so at the next read; here nobody listens.
            let _ = self.cuda.0.gpu.forget(recorded);
        }
        self.cuda.forget_checks(self.number);
        lock(&self.cuda.0.pool).forget(self.number);
    }
}
