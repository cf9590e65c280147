//! How large the processor's caches are, as it tells itself.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of the second-level cache that a core has; half a megabyte where the processor says nothing of it.
pub(super) fn second() -> usize {
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    known(&KNOWN, || size(|level| level == 2).unwrap_or(512 << 10))
}

/// The bytes of the last cache, which cores share; 32 MB where the processor says nothing of it.
pub(super) fn last() -> usize {
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    known(&KNOWN, || size(|level| level >= 3).unwrap_or(32 << 20))
}

/// Is the processor Intel's? There a loop that computes waits for the lines that it writes; AMD's fetch them meanwhile.
pub(super) fn is_intel() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        #[allow(unused_unsafe)]
        // SAFETY: every x86-64 has the instruction.
        let name = unsafe { std::arch::x86_64::__cpuid(0) };
        name.ebx.to_le_bytes() == *b"Genu"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// What was asked once.
fn known(known: &AtomicUsize, ask: impl FnOnce() -> usize) -> usize {
    match known.load(Ordering::Relaxed) {
        0 => {
            let bytes = ask().max(1);
            known.store(bytes, Ordering::Relaxed);
            bytes
        }
        bytes => bytes,
    }
}

/// The bytes of the largest cache of such a level, where the processor tells.
#[cfg(target_arch = "x86_64")]
fn size(is_wanted: fn(u32) -> bool) -> Option<usize> {
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
    let largest = |leaf| caches(leaf).filter(|&(level, _)| is_wanted(level)).map(|(_, bytes)| bytes).max();
    largest(AMD).or_else(|| largest(INTEL))
}
#[cfg(not(target_arch = "x86_64"))]
fn size(_: fn(u32) -> bool) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_as_large_as_caches_are() {
        let (second, last) = (second(), last());
        assert!((1 << 17..1 << 26).contains(&second), "{second}");
        assert!((1 << 18..1 << 40).contains(&last) && second <= last, "{second} {last}");
        assert_eq!(super::second(), second);
    }
}
