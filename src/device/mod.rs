//! Where values live and who computes on them.
//!
//! A device is a set of kernels: one small trait for each noun (elementwise, reduce, ...), implemented by each device.
//! Kernels see [`Value`]s, strided views of buffers; they know nothing of tensors or gradients.

pub mod accumulate;
pub mod attention;
pub mod bits;
pub mod convolve;
pub mod copy;
pub mod cpu;
pub mod cross_entropy;
pub mod ctc;
pub mod elementwise;
pub mod factor;
pub mod index;
pub mod matmul;
pub(crate) mod profile;
pub mod random;
pub mod recurrent;
pub mod reduce;
pub mod rotary;
pub mod rows;
pub mod sample;
pub mod scan;
pub mod sort;
mod stored;
mod value;
pub mod window;

pub use cpu::buffers::Buffer;
pub use cpu::mapped::Mapped;
pub use cpu::memory::{Memory, memory, release_cached, reset_peak, set_memory_limit};
pub use cpu::parallel::{thread_count, threads};
pub use cpu::simd::{SimdLevel, force_simd_level, simd_level};
pub use cross_entropy::Reduction;
pub use index::Combine;
pub use profile::{OperationProfile, Profile, profile};
pub use random::{Draw, Random};
pub(in crate::device) use value::{Opaque, Word, by_size};
pub use value::{Strided, Value};

use std::fmt;

/// Where a tensor lives.
///
/// ```
/// use chainrule::Device;
/// assert_eq!(Device::best(), Device::Cpu);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor's cores.
    #[default]
    Cpu,
}

impl Device {
    /// The fastest device at hand.
    pub fn best() -> Device {
        Device::Cpu
    }
    /// Runs a whole step of many short operations; between them the device's helpers stay awake (for some milliseconds
    /// of idling at most), which saves waking them again for each.
    ///
    /// ```
    /// use chainrule::{Device, Tensor};
    /// let total = Device::Cpu.work(|| (Tensor::ones([100, 100]) * 2.0).sum().item())?;
    /// assert_eq!(total, 20_000.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn work<R>(self, step: impl FnOnce() -> R) -> R {
        match self {
            Device::Cpu => cpu::parallel::together(step),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.pad("cpu"),
        }
    }
}

/// Calls a kernel on the device of a value: `on!(x.device(), softmax(x, axis))`.
macro_rules! on {
    ($device:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match $device {
            $crate::device::Device::Cpu => $crate::device::cpu::Cpu.$kernel($($argument),*),
        }
    };
}
pub(crate) use on;
