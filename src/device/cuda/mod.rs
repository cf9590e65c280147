//! NVIDIA's GPUs: the kernels of `kernels/*.cu` and those that formulas write, run through the driver.
//!
//! Reading order: `driver` (all that is asked of NVIDIA's library), `memory` (blocks), `transfer` (to and fro), `later` (reads that nobody
//! waits for), `between` (from one to another), `module` (kernels by name), `launch` (a call of one), `graph` (many as one), then a file for each noun. `lacking` is
//! what is said where there is no kernel.
//!
//! Everything on one GPU is done on one stream, in the order in which it is called. So a block that nobody holds any more can
//! be handed out at once, and nothing waits for the GPU but a read.
mod accumulate;
mod attention;
mod attention_gradient_hopper;
mod attention_hopper;
mod between;
mod bits;
mod convolve;
mod copy;
mod count;
mod cross_entropy;
mod ctc;
mod driver;
mod elementwise;
mod factor;
mod faults;
mod fourier;
mod graph;
mod index;
mod lacking;
mod later;
mod launch;
mod matmul;
mod matmul_hopper;
mod memory;
mod module;
mod random;
mod recurrent;
mod reduce;
mod rotary;
mod rows;
mod sample;
mod scan;
mod sort;
mod traced;
mod transfer;
mod update;
mod window;

use super::{Device, Value};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use driver::Gpu;
pub(crate) use graph::Graph;
pub(crate) use later::Later;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One GPU that has been opened, as a set of kernels. [`Device::cuda`] makes it.
#[derive(Clone, Copy)]
pub struct Cuda(&'static Opened);
/// What an open GPU has; it stays open until the program ends.
struct Opened {
    number: usize,
    name: String,
    /// Multiprocessors, which run blocks at the same time.
    multiprocessors: usize,
    /// Compute capability.
    generation: (i32, i32),
    gpu: Gpu,
    pool: Mutex<memory::Pool>,
    staging: Mutex<Option<transfer::Staging>>,
    places: Mutex<later::Places>,
    crossings: between::Crossings,
    kernels: module::Kernels,
    programs: traced::Programs,
    faults: Mutex<faults::Faults>,
    clock: faults::Clock,
    /// How often numbers were read.
    reads: AtomicU64,
    /// How often that made the program wait.
    waits: AtomicU64,
}

// SAFETY: threads may share each field, as the compiler sees below. It is told here, because whoever sends a tensor to a thread
// would have it follow all of them, further than it is willing to go.
unsafe impl Sync for Opened {}

const _: fn(&Opened) = |opened| {
    let Opened {
        number,
        name,
        multiprocessors,
        generation,
        gpu,
        pool,
        staging,
        places,
        crossings,
        kernels,
        programs,
        faults,
        clock,
        reads,
        waits,
    } = opened;
    let _: [&dyn Sync; 15] = [
        number,
        name,
        multiprocessors,
        generation,
        gpu,
        pool,
        staging,
        places,
        crossings,
        kernels,
        programs,
        faults,
        clock,
        reads,
        waits,
    ];
};

static OPENED: Mutex<Vec<Cuda>> = Mutex::new(Vec::new());

/// What stands behind a lock. A panic inside cannot leave it half changed: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many GPUs the driver finds.
pub(super) fn count() -> usize {
    driver::count().unwrap_or(0)
}

impl Cuda {
    /// The GPU of this number, which is opened once.
    pub(super) fn open(number: usize) -> Result<Cuda, Fault> {
        let mut opened = lock(&OPENED);
        if let Some(found) = opened.iter().find(|cuda| cuda.0.number == number) {
            return Ok(*found);
        }
        let gpu = Gpu::open(number)?;
        let made = Opened {
            number,
            name: gpu.name()?,
            multiprocessors: gpu.multiprocessors()?,
            generation: gpu.generation()?,
            pool: Mutex::new(memory::Pool::new(gpu.memory()?)),
            staging: Mutex::new(None),
            places: Mutex::default(),
            crossings: between::Crossings::default(),
            kernels: module::Kernels::default(),
            programs: traced::Programs::default(),
            faults: Mutex::default(),
            clock: faults::Clock::default(),
            reads: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            gpu,
        };
        let cuda = Cuda(Box::leak(Box::new(made)));
        opened.push(cuda);
        Ok(cuda)
    }
    /// Its number among the GPUs of the machine.
    pub fn number(self) -> usize {
        self.0.number
    }
    pub(super) fn name(self) -> String {
        self.0.name.clone()
    }
    /// A new row-major value whose elements are still to be written, every one.
    pub(super) fn blank(self, shape: Shape, dtype: DType) -> Result<Value, Fault> {
        let buffer = self.allocate(shape.count() * dtype.size())?;
        Value::within(buffer, Layout::contiguous(shape), dtype)
    }
    /// Are the numbers on this GPU, and right as far as is known?
    fn holds(self, value: &Value) -> Result<(), Fault> {
        if value.device() == Device::Cuda(self) {
            return self.sound(value);
        }
        Err(Fault::device(
            format!("the tensors are on different devices: {} and {}", Device::Cuda(self), value.device()),
            "bring them together with to(device)",
        ))
    }
}

impl PartialEq for Cuda {
    fn eq(&self, other: &Cuda) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Cuda {}

impl Hash for Cuda {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.number.hash(state);
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.number, self.0.name)
    }
}
