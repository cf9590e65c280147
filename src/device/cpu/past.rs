//! Results that no cache can hold go past all of them: a line that is written as a whole need not be fetched first, which
//! saves a third of what a sum of two tensors moves.

use super::caches;
use super::simd::prefetch;
use crate::layout::Element;

/// Bytes of a line of the caches.
pub(super) const LINE: usize = 64;
/// A result of so many bytes no thread finds in a cache afterwards: a cache that is larger is that of many cores together.
const FAR: usize = 32 << 20;
/// A loop that computes for long hides that lines are fetched, until results are so large; on some processors always.
const HIDDEN: usize = 128 << 20;

/// Does a result of so many bytes go past the caches? `light` is a loop that waits for memory and hardly for its arithmetic.
pub(super) fn is_far(bytes: usize, light: bool) -> bool {
    // Most results are so small that nobody has to ask.
    const SMALLEST: usize = 4 << 20;
    let hidden = || bytes < HIDDEN || !caches::is_intel();
    if cfg!(not(target_arch = "x86_64")) || bytes < SMALLEST || !light && hidden() {
        return false;
    }
    bytes >= caches::last().clamp(SMALLEST, FAR)
}

/// Bytes of a room: so few that a processor computes the next part while the last one is still on its way.
const ROOM: usize = 1 << 10;
/// Bytes that are asked for ahead of their use: on its own no processor asks beyond a page.
const AHEAD: usize = 4 << 10;

/// Where the pieces of a result are computed: where they lie; or, of a result that no cache can hold, part by part in a room
/// from which they go past all caches. So no loop knows of it, and none is compiled for it.
pub(super) struct Room<T> {
    /// Elements of a part; of none, there is no room.
    part: Vec<T>,
}

impl<T: Element> Room<T> {
    /// For the pieces that a thread fills; `far` is what [`is_far`] said of the result.
    #[inline]
    pub(super) fn of(far: bool) -> Room<T> {
        Room { part: if far { vec![T::default(); ROOM / size_of::<T>()] } else { Vec::new() } }
    }
    /// Elements that are computed at once, where there is a room.
    pub(super) fn most(&self) -> Option<usize> {
        (!self.part.is_empty()).then_some(self.part.len())
    }
    /// Fills a piece: `compute` is told where each part begins in it, and writes all of the part. What is read beside it, from
    /// its first element on, is in `reads`, as far as it lies as the result does.
    #[inline]
    pub(super) fn fill(&mut self, out: &mut [T], reads: &[&[T]], compute: &mut dyn FnMut(usize, &mut [T])) {
        if self.part.is_empty() { compute(0, out) } else { self.fill_by_parts(out, reads, compute) }
    }
    #[inline(never)]
    fn fill_by_parts(&mut self, out: &mut [T], reads: &[&[T]], compute: &mut dyn FnMut(usize, &mut [T])) {
        let count = self.part.len();
        for (index, out) in out.chunks_mut(count).enumerate() {
            let part = &mut self.part[..out.len()];
            compute(index * count, part);
            copy(part, out, index * count, reads);
        }
    }
}

/// What went past the caches is there for all threads.
impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        if !self.part.is_empty() {
            written();
        }
    }
}

/// Copies past the caches, but for what does not fill a line, and asks for what will be read beside it, whose part begins
/// at `begin`.
fn copy<T: Element>(from: &[T], to: &mut [T], begin: usize, reads: &[&[T]]) {
    assert_eq!(from.len(), to.len(), "a part and its place");
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128, _mm_loadu_ps, _mm_stream_ps};
        const VECTOR: usize = size_of::<__m128>();
        let each = LINE / size_of::<T>();
        // As many as are left before the first line begins; blocks of memory begin with one, and elements fill lines evenly.
        let head = (to.as_ptr().align_offset(LINE)).min(to.len());
        let whole = (to.len() - head) / each * each;
        to[..head].copy_from_slice(&from[..head]);
        let lines = to[head..head + whole].chunks_exact_mut(each).zip(from[head..].chunks_exact(each));
        for (line, (to, from)) in lines.enumerate() {
            for read in reads {
                prefetch(read.as_ptr().wrapping_add(begin + line * each).wrapping_byte_add(AHEAD));
            }
            let (to, from) = (to.as_mut_ptr().cast::<f32>(), from.as_ptr().cast::<f32>());
            for at in (0..LINE / VECTOR).map(|k| k * VECTOR / size_of::<f32>()) {
                // SAFETY: both are a line of plain numbers, `to` begins with one; every x86-64 has these instructions.
                unsafe { _mm_stream_ps(to.add(at), _mm_loadu_ps(from.add(at))) };
            }
        }
        to[head + whole..].copy_from_slice(&from[head + whole..]);
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (begin, reads);
        to.copy_from_slice(from);
    }
}

/// What went past the caches is there for all threads.
pub(super) fn written() {
    // SAFETY: every x86-64 has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills by way of a room, and where it lies: the same bytes, each part told its place, nothing written outside.
    fn same<T: Element>(number: fn(usize) -> T) {
        let size = size_of::<T>();
        // Results that begin with a line, and that do not; with an end shorter than a line; less than one; nothing.
        for (begin, count) in [(0, ROOM), (0, 3 * ROOM / size + 5), (3, ROOM + 7), (1, 5), (5, 0)] {
            let mut out = vec![number(0); begin + count + 9];
            let mut told = 0;
            Room::of(true).fill(&mut out[begin..begin + count], &[], &mut |from, part| {
                assert_eq!(from, told, "parts follow each other");
                told += part.len();
                for (at, x) in part.iter_mut().enumerate() {
                    *x = number(from + at + 1);
                }
            });
            assert_eq!(told, count);
            let wanted =
                |at: usize| if (begin..begin + count).contains(&at) { number(at - begin + 1) } else { number(0) };
            let wrong = out.iter().enumerate().position(|(at, &x)| x != wanted(at));
            assert_eq!(wrong, None, "{count} of {size} bytes from {begin} on");
        }
    }

    #[test]
    fn what_goes_past_the_caches_is_the_same() {
        same::<f32>(|at| at as f32 * 0.37);
        same::<f64>(|at| at as f64 * 0.37);
        same::<half::bf16>(|at| half::bf16::from_f32((at % 200) as f32));
        same::<u8>(|at| at as u8);
        same::<bool>(|at| at % 3 == 0);
    }

    #[test]
    fn small_results_stay_and_huge_ones_do_not() {
        assert!(!is_far(1 << 20, true) && !is_far(FAR, false));
        assert_eq!(is_far(FAR, true), cfg!(target_arch = "x86_64"));
        assert_eq!(is_far(HIDDEN, false), caches::is_intel());
    }
}
