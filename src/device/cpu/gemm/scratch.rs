//! A thread's own room for panels, so that a small product allocates nothing.

use super::kernel::Real;
use std::cell::RefCell;

/// Aligned to a cache line.
#[derive(Default)]
pub(in crate::device::cpu) struct Scratch(Vec<Line>);

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; 8]);

impl Scratch {
    /// The first `count` elements; they hold old numbers.
    pub(in crate::device::cpu) fn elements<T: Real>(&mut self, count: usize) -> &mut [T] {
        let lines = (count * size_of::<T>()).div_ceil(64);
        if self.0.len() < lines {
            self.0.resize(lines, Line::default());
        }
        // SAFETY: aligned to 64, initialised, and long enough; T is a float, for which every bit pattern is a number.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), count) }
    }
    /// As many elements, half a page from where `read` lies in its own: a processor takes what is read at the place of a page at
    /// which it has just written for what it wrote, and waits, though the pages are others.
    pub(super) fn apart_from<T: Real>(&mut self, read: *const T, count: usize) -> &mut [T] {
        const PAGE: usize = 4096;
        let page = PAGE / size_of::<T>();
        let all = self.elements::<T>(count + page);
        let place = read.addr().wrapping_sub(all.as_ptr().addr()).wrapping_add(PAGE / 2) % PAGE;
        // From a cache line on, as the room itself.
        &mut all[place / 64 * 64 / size_of::<T>()..][..count]
    }
}

thread_local! {
    static LEFT: RefCell<Scratch> = RefCell::default();
    static RIGHT: RefCell<Scratch> = RefCell::default();
}

/// Room for panels of A, or sums.
pub(super) fn left<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    lend(&LEFT, work)
}

/// Room for panels of B, or a vector.
pub(super) fn right<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    lend(&RIGHT, work)
}

/// Taken out while it is used: whoever comes to this thread in between gets room of its own.
pub(in crate::device::cpu) fn lend<R>(
    from: &'static std::thread::LocalKey<RefCell<Scratch>>,
    work: impl FnOnce(&mut Scratch) -> R,
) -> R {
    let mut scratch = from.take();
    let result = work(&mut scratch);
    from.set(scratch);
    result
}
