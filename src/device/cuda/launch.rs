//! A call of a kernel: its arguments, held against what the kernel takes, and its grid.

use super::Cuda;
use super::driver::{Boxes, Grid};
use super::module::{Kernel, Parameter};
use super::reduce::Shares;
use super::transfer::address;
use super::update;
use crate::device::{Value, capture};
use crate::error::Fault;
use crate::layout::{Layout, MAX_RANK};
use smallvec::SmallVec;

/// Threads of a block, where a kernel does not want another number.
pub(super) const THREADS: usize = 256;
/// Elements for a thread of a kernel that goes over all of them.
const EACH: usize = 4;
/// The greatest count that kernels divide.
const MOST: i64 = u32::MAX as i64;

/// Sizes and strides as kernels see them, by value: `struct View` of `kernels/view.cuh`, a word for its rank, then sizes and
/// strides. A kernel counts elements in row-major order, so axes that follow each other in memory are one to it.
fn view(layout: &Layout) -> [u64; 1 + 2 * MAX_RANK] {
    let axes = joined(layout);
    let mut words = [0; 1 + 2 * MAX_RANK];
    words[0] = axes.len() as u64;
    words[1..=MAX_RANK].fill(1);
    for (axis, (size, stride)) in axes.into_iter().enumerate() {
        (words[1 + axis], words[1 + MAX_RANK + axis]) = (size as u64, stride as u64);
    }
    words
}

/// Sizes and strides, with axes that follow each other in memory as one.
pub(super) fn joined(layout: &Layout) -> SmallVec<[(i64, i64); MAX_RANK]> {
    let mut axes = SmallVec::<[(i64, i64); MAX_RANK]>::new();
    for (&size, &stride) in layout.dims().iter().zip(layout.strides()).filter(|(size, _)| **size != 1) {
        let (size, stride) = (size as i64, stride as i64);
        match axes.last_mut() {
            Some((outer, step)) if *step == stride * size => (*outer, *step) = (*outer * size, stride),
            _ => axes.push((size, stride)),
        }
    }
    axes
}

/// A fault: kernels divide positions in 32 bits.
#[cold]
pub(super) fn too_many(what: &str, count: usize) -> Fault {
    Fault::device(
        format!("{what} of {count} elements: a CUDA kernel that divides positions takes up to {MOST}"),
        "cut it into parts along an axis with narrow",
    )
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
        self.push(&[address(value)], Parameter::Whole(8))
    }
    /// The same, for writing: of a value that was made for it, or that nobody else holds.
    pub(super) fn write(self, value: &Value) -> Launch {
        self.read(value)
    }
    /// No address: an operand that is not there.
    pub(super) fn nothing(self) -> Launch {
        self.push(&[0], Parameter::Whole(8))
    }
    /// The address of an operand that may not be there.
    pub(super) fn option(self, value: Option<&Value>) -> Launch {
        match value {
            Some(value) => self.read(value),
            None => self.nothing(),
        }
    }
    /// An address that is known already.
    pub(super) fn address(self, address: u64) -> Launch {
        self.push(&[address], Parameter::Whole(8))
    }
    /// A `long long` that counts elements, lines, places: kernels divide them in 32 bits, so one beyond that is refused here, for
    /// all kernels that do not say that they take it, [`wide`](Launch::wide).
    pub(super) fn long(mut self, number: i64) -> Launch {
        if number > MOST {
            self.fault.get_or_insert_with(|| too_many("a tensor", number as usize));
        }
        self.wide(number)
    }
    /// A `long long` of any size: for kernels that divide none, and where it counts nothing.
    pub(super) fn wide(self, number: i64) -> Launch {
        self.push(&[number as u64], Parameter::Whole(8))
    }
    /// How rows are shared out, for kernels that divide rows and places in them.
    pub(super) fn rows(self, shares: &Shares) -> Launch {
        let mut launch = self.block(&shares.words());
        for count in [shares.results, shares.length] {
            if count > MOST as usize {
                launch.fault.get_or_insert_with(|| too_many("an axis, or all others together,", count));
            }
        }
        launch
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
    /// An element of so many bytes, by its bits.
    pub(super) fn word(self, bits: u64, size: usize) -> Launch {
        self.push(&[bits], Parameter::Whole(size))
    }
    /// Sizes and strides.
    pub(super) fn view(mut self, layout: &Layout) -> Launch {
        let words = view(layout);
        if words[0] > 1 && layout.count() > MOST as usize {
            let what = format!("a view with sizes {:?} and strides {:?},", layout.dims(), layout.strides());
            self.fault.get_or_insert_with(|| too_many(&what, layout.count()));
        }
        self.push(&words, Parameter::Block(size_of_val(&words)))
    }
    /// Words that a kernel takes by value, as a struct of its own.
    pub(super) fn block(self, words: &[u64]) -> Launch {
        self.push(words, Parameter::Block(size_of_val(words)))
    }
    /// A value as copies of boxes see it: `struct TensorMap` of `kernels/hopper.cuh`.
    pub(super) fn boxes(mut self, value: &Value, boxes: &Boxes) -> Launch {
        let words = self.cuda.holds(value).and_then(|()| self.cuda.0.gpu.describe_boxes(address(value), boxes));
        let words = words.unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            [0; 16]
        });
        self.push(&words, Parameter::Block(size_of_val(&words)))
    }
    /// Launches it over `count` elements, [`EACH`] for a thread, in blocks of [`THREADS`]; with none, nothing happens. Where
    /// there are very many, each thread goes on to further ones.
    pub(super) fn over(self, count: usize) -> Result<(), Fault> {
        self.grid([count.div_ceil(THREADS * EACH).min(65_536), 1, 1], THREADS, 0)
    }
    /// Launches it on a grid of blocks; with no blocks, nothing happens.
    pub(super) fn grid(mut self, blocks: [usize; 3], threads: usize, shared: usize) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if blocks.contains(&0) {
            return Ok(());
        }
        if capture::is_repeating() {
            let what = format!("the kernel {} is wanted while a replay finds its numbers", self.kernel.name);
            return Err(Fault::defect(what));
        }
        update::launch_waiting()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;

    #[test]
    fn axes_that_follow_each_other_are_one() {
        let dense = Layout::contiguous(Shape::new(&[2, 1, 3, 4]).unwrap());
        let words = |layout: &Layout| {
            let words = view(layout);
            let rank = words[0] as usize;
            (words[1..=rank].to_vec(), words[9..9 + rank].iter().map(|&w| w as i64).collect::<Vec<_>>())
        };
        assert_eq!(words(&dense), (vec![24], vec![1]));
        assert_eq!(words(&dense.permuted(&[3, 1, 0, 2])), (vec![4, 6], vec![1, 4]));
        assert_eq!(words(&dense.flipped(&[3])), (vec![6, 4], vec![4, -1]));
        let repeated = Layout::contiguous(Shape::new(&[1, 3]).unwrap()).expanded(&Shape::new(&[2, 5, 3]).unwrap());
        assert_eq!(words(&repeated.unwrap()), (vec![10, 3], vec![0, 1]));
        assert_eq!(words(&Layout::contiguous(Shape::new(&[]).unwrap())), (vec![], vec![]));
    }
}
