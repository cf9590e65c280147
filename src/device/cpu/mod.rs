//! The processor: every kernel as Rust loops that the compiler vectorises, on all cores.

pub(crate) mod accumulate;
mod attention;
pub(in crate::device) mod beside;
mod bits;
mod blocks;
pub mod buffers;
mod caches;
mod cast;
mod conv;
pub mod copy;
mod cross_entropy;
mod ctc;
mod elementwise;
mod factor;
mod fourier;
pub(crate) mod gemm;
pub(crate) mod index;
mod interpret;
pub mod mapped;
mod matmul;
pub mod memory;
pub mod parallel;
mod past;
mod poisson;
mod random;
mod real;
mod recurrent;
mod reduce;
mod rotary;
pub(crate) mod route;
mod rows;
mod sample;
mod scan;
pub mod simd;
pub(crate) mod sort;
#[cfg(feature = "parallel")]
mod team;
mod update;
mod window;

/// Are the environment's settings (`CHAINRULE_SIMD`, `CHAINRULE_THREADS`) ones that we can follow? The first operation
/// asks.
fn settings() -> Result<(), crate::error::Fault> {
    simd::simd_level()?;
    parallel::wanted().map(drop)
}

/// The processor as a set of kernels.
#[derive(Clone, Copy, Debug)]
pub struct Cpu;
