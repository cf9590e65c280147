//! Results that no cache can hold go past all of them: a line that is written as a whole need not be fetched first, which
//! saves a third of what a sum of two tensors moves.

use crate::formula::Float;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a line of the caches.
pub(super) const LINE: usize = 64;
/// The last cache where the processor says nothing of it.
const USUAL: usize = 32 << 20;

/// Would nothing of a result of so many bytes be found in a cache afterwards?
pub(super) fn is_far(bytes: usize) -> bool {
    // Not known is 0: most results are so small that nobody has to ask.
    static LAST: AtomicUsize = AtomicUsize::new(0);
    const SMALLEST: usize = 4 << 20;
    if bytes < SMALLEST {
        return false;
    }
    let mut last = LAST.load(Ordering::Relaxed);
    if last == 0 {
        last = last_cache().unwrap_or(USUAL).max(SMALLEST);
        LAST.store(last, Ordering::Relaxed);
    }
    bytes >= last
}

/// The bytes of the last cache, where the processor tells.
#[cfg(target_arch = "x86_64")]
fn last_cache() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const AMD: u32 = 0x8000_001d;
    const INTEL: u32 = 4;
    // Some compilers take these for safe.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 has the instruction; a leaf that is not there is not asked for.
    let (plain, extended) = unsafe { (__cpuid(0).eax, __cpuid(0x8000_0000).eax) };
    let caches = |leaf: u32| {
        let last = if leaf >= 0x8000_0000 { extended } else { plain };
        (0..8).filter(move |_| leaf <= last).map_while(move |number| {
            #[allow(unused_unsafe)]
            // SAFETY: as above.
            let told = unsafe { __cpuid_count(leaf, number) };
            (told.eax & 31 != 0).then(|| {
                let (level, field) = (told.eax >> 5 & 7, |from: u32, bits: u32| told.ebx >> from & ((1 << bits) - 1));
                let line = (field(0, 12) + 1) as usize;
                (level, line * (field(12, 10) + 1) as usize * (field(22, 10) + 1) as usize * (told.ecx as usize + 1))
            })
        })
    };
    let third = |leaf| caches(leaf).filter(|(level, _)| *level >= 3).map(|(_, bytes)| bytes).max();
    third(AMD).or_else(|| third(INTEL))
}
#[cfg(not(target_arch = "x86_64"))]
fn last_cache() -> Option<usize> {
    None
}

/// Writes a line past the caches.
///
/// # Safety
/// The numbers have four bytes, the line is aligned, and the processor has AVX; [`written`] follows before others may read it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn write<T: Float>(to: &mut [T; LINE / 4], numbers: &[T; LINE / 4]) {
    use std::arch::x86_64::{_mm256_loadu_ps, _mm256_stream_ps};
    debug_assert!(size_of::<T>() == 4 && to.as_ptr().addr().is_multiple_of(LINE));
    let (to, from) = (to.as_mut_ptr().cast::<f32>(), numbers.as_ptr().cast::<f32>());
    // SAFETY: both halves of a line; the caller vouches for the rest.
    unsafe {
        _mm256_stream_ps(to, _mm256_loadu_ps(from));
        _mm256_stream_ps(to.add(8), _mm256_loadu_ps(from.add(8)));
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

/// The same at the end of a thread's part, if it went that way.
pub(super) fn written_if(far: bool) {
    if far {
        written();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_results_stay_and_huge_ones_do_not() {
        assert!(!is_far(1 << 20) && is_far(usize::MAX));
        let last = last_cache().unwrap_or(USUAL);
        assert!((1 << 18..1 << 40).contains(&last), "{last}");
    }
}
