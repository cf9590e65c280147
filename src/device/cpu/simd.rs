//! One loop, compiled for several instruction sets, chosen once at run time.

use crate::error::Fault;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that loops are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimdLevel {
    /// What every target has.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 (f, vl, dq, bw).
    Avx512,
}

/// Asks for the memory behind a pointer, which need not be any: only a hint.
#[inline(always)]
pub(super) fn prefetch<T>(pointer: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, which never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pointer;
}

/// The same for what is wanted so late that the second-level cache will do.
#[inline(always)]
pub(super) fn prefetch_early<T>(pointer: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(pointer.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pointer;
}

/// A loop to be compiled for each level. `run` must be `#[inline(always)]`, so that it takes on its caller's features.
/// `FUSED` says that a fused multiply-add is one instruction here.
pub trait Kernel: Sized {
    /// What the loop gives back.
    type Output;
    /// The widest level that a copy of the loop is compiled for.
    const WIDEST: SimdLevel = SimdLevel::Avx512;
    /// The loop.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Is this the copy of a loop that only old processors run: those of x86-64 without AVX2? It is compiled by everybody, so where
/// there is a way that needs little code it takes that. (Code has a budget.)
pub(super) const fn is_spare<const FUSED: bool>() -> bool {
    cfg!(target_arch = "x86_64") && !FUSED
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[inline(never)]
fn run_portable<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<false>()
}

const UNKNOWN: u8 = 255;
static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

impl SimdLevel {
    /// All levels, the narrowest first.
    pub const ALL: [SimdLevel; 3] = [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512];

    /// The name, as in `CHAINRULE_SIMD`.
    pub const fn name(self) -> &'static str {
        match self {
            SimdLevel::Portable => "portable",
            SimdLevel::Avx2 => "avx2",
            SimdLevel::Avx512 => "avx512",
        }
    }
    /// Does this processor have it?
    pub fn is_available(self) -> bool {
        self <= best()
    }
}

impl fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The instruction set in use: the widest that the processor has, or the one that the environment variable
/// `CHAINRULE_SIMD` names (`portable`, `avx2` or `avx512`). A name that is unknown or that this processor cannot do is an
/// error, here and at the first operation.
///
/// ```
/// use chainrule::device::{SimdLevel, simd_level};
/// assert!(simd_level()? >= SimdLevel::Portable);
/// # Ok::<(), chainrule::Fault>(())
/// ```
pub fn simd_level() -> Result<SimdLevel, Fault> {
    match LEVEL.load(Ordering::Relaxed) {
        UNKNOWN => {
            let level = wanted(std::env::var("CHAINRULE_SIMD").ok().as_deref())?;
            LEVEL.store(level as u8, Ordering::Relaxed);
            Ok(level)
        }
        _ => Ok(level()),
    }
}

/// From now on all threads use this level; an error where the processor lacks it. Results of different levels differ in
/// the last bits, so do it before the first operation, or in a test that compares levels.
///
/// ```
/// use chainrule::device::{SimdLevel, force_simd_level, simd_level};
/// force_simd_level(SimdLevel::Portable)?;
/// assert_eq!(simd_level()?, SimdLevel::Portable);
/// # Ok::<(), chainrule::Fault>(())
/// ```
pub fn force_simd_level(level: SimdLevel) -> Result<(), Fault> {
    let level = wanted(Some(level.name()))?;
    LEVEL.store(level as u8, Ordering::Relaxed);
    Ok(())
}

fn wanted(name: Option<&str>) -> Result<SimdLevel, Fault> {
    let Some(name) = name else { return Ok(best()) };
    let Some(level) = SimdLevel::ALL.into_iter().find(|level| level.name() == name) else {
        return Err(Fault::value(
            format!("CHAINRULE_SIMD is {name:?}"),
            "set it to portable, avx2 or avx512, or leave it unset",
        ));
    };
    if !level.is_available() {
        return Err(Fault::device(
            format!("CHAINRULE_SIMD asks for {level}, the most this processor can do is {}", best()),
            format!("set CHAINRULE_SIMD={}, or leave it unset", best()),
        ));
    }
    Ok(level)
}

/// The level in use. (A function of its own: it stands in every kernel's way.)
#[inline(never)]
pub fn level() -> SimdLevel {
    match LEVEL.load(Ordering::Relaxed) {
        0 => SimdLevel::Portable,
        1 => SimdLevel::Avx2,
        2 => SimdLevel::Avx512,
        _ => choose(),
    }
}

#[cold]
fn choose() -> SimdLevel {
    // A wrong setting was an error at the first allocation of all; whoever comes here without one gets what runs anywhere.
    simd_level().unwrap_or(SimdLevel::Portable)
}

#[cfg(target_arch = "x86_64")]
fn best() -> SimdLevel {
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw");
    let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    match (fused, wide) {
        (true, true) => SimdLevel::Avx512,
        (true, false) => SimdLevel::Avx2,
        _ => SimdLevel::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn best() -> SimdLevel {
    SimdLevel::Portable
}

/// Runs a kernel at the level in use, or at the widest that it is compiled for.
#[inline]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    // One call for all levels: what stands around it would be compiled for each.
    let copy = copy_for::<K>();
    // SAFETY: it is one that the processor can run.
    unsafe { copy(kernel) }
}

/// The copy of a loop for the level in use.
#[inline]
fn copy_for<K: Kernel>() -> unsafe fn(K) -> K::Output {
    // Constants decide first, so that copies that no level asks for are not compiled.
    #[cfg(target_arch = "x86_64")]
    if const { !matches!(K::WIDEST, SimdLevel::Portable) } {
        // It never exceeds what the processor has; who has AVX-512 has AVX2.
        let level = level();
        if const { matches!(K::WIDEST, SimdLevel::Avx512) } && level == SimdLevel::Avx512 {
            return run_avx512::<K>;
        }
        if level >= SimdLevel::Avx2 {
            return run_avx2::<K>;
        }
    }
    run_portable::<K>
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = (f32, bool);
        #[inline(always)]
        fn run<const FUSED: bool>(self) -> (f32, bool) {
            (self.0.iter().sum(), FUSED)
        }
    }

    #[test]
    fn settings_are_read_or_refused() {
        assert_eq!(wanted(None).ok(), Some(best()));
        assert_eq!(wanted(Some("portable")).ok(), Some(SimdLevel::Portable));
        let fault = wanted(Some("avx3")).expect_err("no such level");
        assert!(fault.what().contains("avx3") && fault.help().contains("portable, avx2 or avx512"));
        for level in SimdLevel::ALL {
            assert_eq!(wanted(Some(level.name())).is_ok(), level.is_available());
        }
    }

    #[test]
    fn a_kernel_runs_at_the_level_in_use() {
        let (sum, fused) = run(Sum(&[1.0, 2.0, 3.0]));
        assert_eq!((sum, fused), (6.0, level() > SimdLevel::Portable));
    }
}
