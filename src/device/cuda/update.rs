//! Steps of optimizers in place, many tensors to a launch.
//!
//! Inside of [`updates`](crate::device::elementwise::Elementwise::updates) the steps of small tensors wait for each other. Those of
//! one kernel with the same settings become one launch, whose argument is a table: a line for each tensor. What waits is held,
//! so that nothing else is put in its place, and is launched before anything else is done on the GPU.

use super::Cuda;
use super::elementwise::{computing, with_scalars};
use super::module::Kernel;
use super::traced::{Looks, Part, Scalars, Traced};
use super::transfer::address;
use crate::device::{Value, capture, guard};
use crate::error::Fault;
use crate::formula::ptx::{self, BLOCK, Paths};
use crate::layout::DType;
use smallvec::SmallVec;
use std::any::TypeId;
use std::cell::RefCell;

/// The words of a table, three quarters of what all arguments may take.
const TABLE: usize = 384;
/// A tensor of more elements keeps a GPU busy by itself, and in a table its blocks would be counted for every other tensor.
const SMALL: usize = 64 * 1024;

thread_local! {
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// What waits on one GPU.
struct Waiting {
    cuda: Cuda,
    steps: Vec<Steps>,
}

/// A launch to which tensors are added.
struct Steps {
    kernel: &'static Kernel,
    dtype: DType,
    /// Elements of a thread.
    each: usize,
    numbers: Numbers,
    /// Where it is not 0, nothing changes.
    flag: Option<Value>,
    table: SmallVec<[u64; 8]>,
    tensors: usize,
    /// Elements of the largest.
    most: usize,
    held: Vec<Value>,
}

/// The scalars of a launch.
#[derive(Clone, PartialEq)]
enum Numbers {
    Given(Scalars),
    /// In a captured step they stand on the GPU, from this address on: each replay has others.
    At(u64),
}

impl Steps {
    fn launch(mut self, cuda: Cuda) -> Result<(), Fault> {
        let blocks = self.most.div_ceil(BLOCK as usize * self.each);
        // what the kernel declares, whole lines of it
        let line = self.table.len() / self.tensors;
        self.table.resize(TABLE / line * line, 0);
        let launch = cuda.call(self.kernel).block(&self.table);
        let launch = match &self.numbers {
            Numbers::Given(scalars) => with_scalars(launch, scalars, self.dtype),
            Numbers::At(address) => launch.address(*address),
        };
        let launch = match &self.flag {
            Some(flag) => launch.read(flag),
            None => launch,
        };
        launch.grid([blocks, self.tensors, 1], BLOCK as usize, 0)
    }
}

/// Runs `steps`, whose updates may wait until the end.
pub(super) fn together(cuda: Cuda, steps: impl FnOnce()) -> Result<(), Fault> {
    /// Also where `steps` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            WAITING.take();
        }
    }
    if WAITING.with_borrow(Option::is_some) {
        steps();
        return Ok(());
    }
    WAITING.set(Some(Waiting { cuda, steps: Vec::new() }));
    let _end = End;
    steps();
    launch_waiting()
}

/// Launches what waits.
pub(super) fn launch_waiting() -> Result<(), Fault> {
    let taken = WAITING
        .with_borrow_mut(|waiting| waiting.as_mut().map(|waiting| (waiting.cuda, std::mem::take(&mut waiting.steps))));
    let Some((cuda, steps)) = taken else { return Ok(()) };
    steps.into_iter().try_for_each(|steps| steps.launch(cuda))
}

/// A fault where somebody else holds what is to be written.
pub(super) fn own(parameter: &mut Value, states: &mut [&mut Value]) -> Result<(), Fault> {
    let mut all_own = || states.iter_mut().fold(parameter.is_writable(), |all, state| all & state.is_writable());
    if all_own() {
        return Ok(());
    }
    // it may be a step that waits
    launch_waiting()?;
    match (all_own(), capture::is_recording()) {
        (true, _) => Ok(()),
        // It has been replaced in this step, whose end copies back what replaced it.
        (_, true) => Err(Fault::device(
            "a captured step changes a parameter or a state in place that it has replaced before",
            "let nothing hold the parameter (a loss not yet dropped, a clone of the model) when the optimizer takes another step for it, \
             or capture one optimizer step at a time",
        )),
        _ => Err(Fault::defect("an optimizer's parameter or state is shared")),
    }
}

/// A step of an optimizer for one number: whose program it is, and what its settings are.
pub(super) struct Step<'a> {
    pub(super) formula: (TypeId, Option<u64>, Part),
    pub(super) trace: &'a dyn Fn() -> Traced,
    pub(super) parameters: &'a dyn Fn() -> Vec<f64>,
}

impl Cuda {
    /// Takes an optimizer's step in place: of the operands all are written but the second, the gradient.
    pub(super) fn step(self, step: &Step<'_>, operands: &[&Value]) -> Result<(), Fault> {
        self.with_program(step.formula, step.trace, |traced| self.step_of(traced, step, operands))
    }
    fn step_of(self, traced: &Traced, step: &Step<'_>, operands: &[&Value]) -> Result<(), Fault> {
        let count = operands[0].count();
        let dtype = computing(operands[0].dtype(), false);
        let (tensors, flag) = (TABLE / (operands.len() + 1), guard::flag());
        let looks = |remote, guarded| {
            let inputs: SmallVec<[DType; 6]> = operands.iter().map(|operand| operand.dtype()).collect();
            let mut results = inputs.clone();
            results.remove(1);
            Looks { inputs, compute: dtype, results, through: None, paths: Paths::InPlace { tensors, remote, guarded } }
        };
        let bits = |number: f64| if dtype == DType::F64 { number.to_bits() } else { (number as f32).to_bits() as u64 };
        let scalars = traced.scalars(step.parameters);
        let kernel = |remote| traced.kernel(self, "a step", looks(remote, flag.is_some()));
        let numbers = if capture::is_plain() {
            Numbers::Given(scalars)
        } else {
            let key = ptx::Kernel::key(&traced.program, &traced.results, &looks(true, false).signature());
            if capture::is_repeating() {
                return capture::repeat_scalars(key, &scalars, bits);
            }
            if capture::is_rehearsed() {
                kernel(true)?;
            }
            capture::address_of_scalars(key, &scalars, bits)?.map_or(Numbers::Given(scalars), Numbers::At)
        };
        let kernel = kernel(matches!(numbers, Numbers::At(_)))?;
        let each = looks(false, false).each();
        let mut line = SmallVec::<[u64; 8]>::new();
        for operand in operands {
            self.holds(operand)?;
            // What a check finds keeps a gated step from writing: it leaves what it writes as right as it was.
            if !guard::is_gated() {
                self.touch(operand);
            }
            line.push(address(operand));
        }
        line.push(count as u64);
        let held = operands.iter().map(|operand| (*operand).clone());
        let waits = WAITING.with_borrow_mut(|waiting| {
            let waiting = waiting.as_mut().filter(|waiting| waiting.cuda == self && count <= SMALL)?;
            let same = |steps: &Steps| {
                std::ptr::eq(steps.kernel, kernel) && steps.numbers == numbers && same_flag(&steps.flag, &flag)
            };
            match waiting.steps.iter_mut().find(|steps| steps.tensors < tensors && same(steps)) {
                Some(steps) => {
                    steps.table.extend_from_slice(&line);
                    steps.tensors += 1;
                    steps.most = steps.most.max(count);
                    steps.held.extend(held.clone());
                }
                None => waiting.steps.push(Steps {
                    kernel,
                    dtype,
                    each,
                    numbers: numbers.clone(),
                    flag: flag.clone(),
                    table: line.clone(),
                    tensors: 1,
                    most: count,
                    held: held.clone().collect(),
                }),
            }
            Some(())
        });
        match waits {
            Some(()) => Ok(()),
            None => {
                Steps { kernel, dtype, each, numbers, flag, table: line, tensors: 1, most: count, held: Vec::new() }
                    .launch(self)
            }
        }
    }
}

/// Are both the same flag, or none?
fn same_flag(a: &Option<Value>, b: &Option<Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.shares_memory(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}
