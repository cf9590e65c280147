//! A call of a kernel: its arguments, held against what the kernel takes, and its grid.

use super::Cuda;
use super::driver::{Address, Grid};
use super::module::{Kernel, Parameter};
use crate::device::Value;
use crate::error::Fault;
use crate::layout::{Layout, MAX_RANK};
use smallvec::SmallVec;

/// Threads of a block, where a kernel does not want another number.
pub(super) const THREADS: usize = 256;

/// Sizes and strides as kernels see them, by value: `struct View` of `kernels/device.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct View {
    rank: i32,
    padding: i32,
    sizes: [i64; MAX_RANK],
    strides: [i64; MAX_RANK],
}

impl View {
    pub(super) fn new(layout: &Layout) -> View {
        let mut view = View { rank: layout.rank() as i32, padding: 0, sizes: [1; MAX_RANK], strides: [0; MAX_RANK] };
        for (axis, (&size, &stride)) in layout.dims().iter().zip(layout.strides()).enumerate() {
            (view.sizes[axis], view.strides[axis]) = (size as i64, stride as i64);
        }
        view
    }
}

/// A kernel with its arguments, to be launched.
#[must_use]
pub(super) struct Launch {
    cuda: Cuda,
    kernel: &'static Kernel,
    /// The arguments one after another, each from a multiple of eight bytes on.
    words: SmallVec<[u64; 48]>,
    /// Where each begins, and what it is.
    starts: SmallVec<[(usize, Parameter); 12]>,
    /// What was wrong with an argument.
    fault: Option<Fault>,
}

impl Cuda {
    /// A call of a kernel: its arguments follow in the order of its parameters.
    pub(super) fn call(self, kernel: &'static Kernel) -> Launch {
        Launch { cuda: self, kernel, words: SmallVec::new(), starts: SmallVec::new(), fault: None }
    }
}

impl Launch {
    fn push(mut self, words: &[u64], what: Parameter) -> Launch {
        self.starts.push((self.words.len(), what));
        self.words.extend_from_slice(words);
        self
    }
    /// The address of a value's first element, for reading.
    pub(super) fn read(mut self, value: &Value) -> Launch {
        if let Err(fault) = self.cuda.holds(value) {
            self.fault.get_or_insert(fault);
        }
        let first = if value.count() == 0 { 0 } else { value.layout().offset() * value.dtype().size() };
        self.push(&[value.buffer().address() + first as Address], Parameter::Whole(8))
    }
    /// The same, for writing.
    pub(super) fn write(self, value: &mut Value) -> Launch {
        self.read(value)
    }
    /// No address: an operand that is not there.
    pub(super) fn nothing(self) -> Launch {
        self.push(&[0], Parameter::Whole(8))
    }
    /// A `long long`.
    pub(super) fn long(self, number: i64) -> Launch {
        self.push(&[number as u64], Parameter::Whole(8))
    }
    /// An `int`.
    pub(super) fn int(self, number: i32) -> Launch {
        self.push(&[number as u32 as u64], Parameter::Whole(4))
    }
    /// A `float`.
    pub(super) fn float(self, number: f32) -> Launch {
        self.push(&[number.to_bits() as u64], Parameter::Float(4))
    }
    /// A `double`.
    pub(super) fn double(self, number: f64) -> Launch {
        self.push(&[number.to_bits()], Parameter::Float(8))
    }
    /// Sizes and strides.
    pub(super) fn view(self, layout: &Layout) -> Launch {
        let View { rank, sizes, strides, .. } = View::new(layout);
        let mut words = SmallVec::<[u64; 17]>::from_slice(&[rank as u32 as u64]);
        words.extend(sizes.iter().chain(&strides).map(|&number| number as u64));
        self.push(&words, Parameter::Block(size_of::<View>()))
    }
    /// Words that the kernel takes as one block.
    pub(super) fn block(self, words: &[u64]) -> Launch {
        self.push(words, Parameter::Block(size_of_val(words)))
    }
    /// Launches it with a thread for each of `count` elements, in blocks of [`THREADS`]; with none, nothing happens. There are
    /// at most as many blocks as keep the GPU busy: each thread goes on to further elements.
    pub(super) fn over(self, count: usize) -> Result<(), Fault> {
        let most = self.cuda.0.multiprocessors * 16;
        let blocks = count.div_ceil(THREADS).min(most);
        self.grid([blocks, 1, 1], THREADS, 0)
    }
    /// Launches it on a grid of blocks; with no blocks, nothing happens.
    pub(super) fn grid(mut self, blocks: [usize; 3], threads: usize, shared: usize) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if blocks.contains(&0) {
            return Ok(());
        }
        let given = self.starts.iter().map(|&(_, what)| what);
        if !given.clone().eq(self.kernel.parameters.iter().copied()) {
            let (given, wanted) = (given.collect::<Vec<_>>(), &self.kernel.parameters);
            let name = &self.kernel.name;
            return Err(Fault::defect(format!("the kernel {name} takes {wanted:?} and was given {given:?}")));
        }
        if blocks[0] > i32::MAX as usize || blocks[1] > 65_535 || blocks[2] > 65_535 || threads > 1024 {
            let what = format!("a grid of {blocks:?} blocks of {threads} threads for the kernel {}", self.kernel.name);
            return Err(Fault::defect(what));
        }
        let gpu = &self.cuda.0.gpu;
        if shared > 48 << 10 {
            gpu.allow_shared(self.kernel.function, shared as u32)?;
        }
        let grid = Grid { blocks: blocks.map(|b| b as u32), threads: [threads as u32, 1, 1], shared: shared as u32 };
        let words = self.words.as_mut_ptr();
        // SAFETY: each argument begins inside `words`.
        let mut arguments: SmallVec<[_; 12]> =
            self.starts.iter().map(|&(start, _)| unsafe { words.add(start) }.cast()).collect();
        // SAFETY: the arguments are of the kinds that the kernel's own text lists. Addresses are those of values on this GPU,
        // whose layouts lie inside their buffers and whose holders' blocks outlive the launch in the order of the stream; a
        // kernel stays inside the views and counts it is given, which the checked stand-in driver watches in the tests.
        unsafe { gpu.launch(self.kernel.function, grid, &mut arguments) }
    }
}
