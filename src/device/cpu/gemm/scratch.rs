//! A thread's own room for panels, so that a small product allocates nothing.

use super::kernel::Real;
use std::cell::RefCell;

/// Aligned to a cache line.
#[derive(Default)]
pub(super) struct Scratch(Vec<Line>);

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; 8]);

impl Scratch {
    /// The first `count` elements; they hold old numbers.
    pub(super) fn elements<T: Real>(&mut self, count: usize) -> &mut [T] {
        let lines = (count * size_of::<T>()).div_ceil(64);
        if self.0.len() < lines {
            self.0.resize(lines, Line::default());
        }
        // SAFETY: aligned to 64, initialised, and long enough; T is a float, for which every bit pattern is a number.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), count) }
    }
}

thread_local! {
    static LEFT: RefCell<Scratch> = RefCell::default();
    static RIGHT: RefCell<Scratch> = RefCell::default();
}

/// Room for panels of A.
pub(super) fn left<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    lend(&LEFT, work)
}

/// Room for panels of B, or a vector.
pub(super) fn right<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    lend(&RIGHT, work)
}

/// Taken out while it is used: whoever comes to this thread in between gets room of its own.
fn lend<R>(from: &'static std::thread::LocalKey<RefCell<Scratch>>, work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = from.take();
    let result = work(&mut scratch);
    from.set(scratch);
    result
}
