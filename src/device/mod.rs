//! Where values live and who computes on them.
//!
//! A device is a set of kernels: one small trait for each noun (elementwise, reduce, ...), implemented by each device.
//! Kernels see [`Value`]s, strided views of buffers; they know nothing of tensors or gradients.

pub mod accumulate;
pub mod attention;
pub mod bits;
pub(crate) mod capture;
pub mod convolve;
pub mod copy;
mod counter;
pub mod cpu;
pub mod cross_entropy;
pub mod ctc;
#[cfg(feature = "cuda-unversioned")]
pub(crate) mod cuda;
pub mod elementwise;
pub mod factor;
pub mod fourier;
pub(crate) mod guard;
pub mod index;
pub(crate) mod later;
pub mod matmul;
mod precision;
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

pub(crate) use counter::Counter;
pub use cpu::buffers::Buffer;
pub use cpu::mapped::Mapped;
pub use cpu::memory::{Memory, memory, release_cached, reset_peak, set_memory_limit};
pub use cpu::parallel::{thread_count, threads};
pub use cpu::simd::{SimdLevel, force_simd_level, simd_level};
pub use cross_entropy::Reduction;
#[cfg(feature = "cuda-unversioned")]
#[cfg_attr(docsrs, doc(cfg(feature = "cuda")))]
pub use cuda::Cuda;
#[cfg(feature = "cuda-unversioned")]
pub(crate) use cuda::Graph;
pub use index::Combine;
pub use precision::{MatmulPrecision, matmul_precision, with_matmul_precision};
pub use profile::{OperationProfile, Profile, profile};
pub use random::{Draw, Random};
pub(in crate::device) use value::{Opaque, Word, by_size};
pub use value::{Strided, Value};

use crate::error::{Error, Fault, Result};
use std::fmt;
use std::str::FromStr;

/// Where a tensor lives.
///
/// ```
/// use chainrule::{Device, Tensor};
/// let device = Device::best();
/// assert_eq!(Tensor::ones([2]).to(device).device()?, device);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor's cores.
    #[default]
    Cpu,
    /// One of NVIDIA's GPUs: [`Device::cuda`] opens it.
    #[cfg(feature = "cuda-unversioned")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cuda")))]
    Cuda(Cuda),
}

impl Device {
    /// The fastest device at hand: the first GPU if there is one that can be used, else the CPU. What speaks against a GPU is
    /// told by [`why_not_cuda`](Device::why_not_cuda).
    ///
    /// ```
    /// use chainrule::Device;
    /// println!("computing on {}", Device::best());
    /// ```
    pub fn best() -> Device {
        Device::cuda(0).unwrap_or(Device::Cpu)
    }
    /// The GPU of this number. It takes the feature `cuda` and NVIDIA's driver; what is missing is said by the error.
    ///
    /// ```
    /// use chainrule::Device;
    /// match Device::cuda(0) {
    ///     Ok(gpu) => println!("{}", gpu.name()),
    ///     Err(error) => println!("{error}"),
    /// }
    /// ```
    #[track_caller]
    pub fn cuda(number: usize) -> Result<Device> {
        match opened(number) {
            Ok(device) => Ok(device),
            Err(fault) => Err(Error::new("cuda", fault)),
        }
    }
    /// Why [`best`](Device::best) is not a GPU; nothing where it is one.
    ///
    /// ```
    /// use chainrule::Device;
    /// if let Some(reason) = Device::why_not_cuda() {
    ///     println!("no GPU: {reason}");
    /// }
    /// ```
    #[track_caller]
    pub fn why_not_cuda() -> Option<Error> {
        Device::cuda(0).err()
    }
    /// How many GPUs the driver finds; none where there is no driver.
    ///
    /// ```
    /// use chainrule::Device;
    /// let gpus: Vec<Device> = (0..Device::count()).filter_map(|number| Device::cuda(number).ok()).collect();
    /// println!("{gpus:?}");
    /// ```
    pub fn count() -> usize {
        #[cfg(feature = "cuda-unversioned")]
        return cuda::count();
        #[cfg(not(feature = "cuda-unversioned"))]
        0
    }
    /// What it is called: `"cpu"`, or the name that a GPU's maker gave it.
    ///
    /// ```
    /// assert_eq!(chainrule::Device::Cpu.name(), "cpu");
    /// ```
    pub fn name(self) -> String {
        match self {
            Device::Cpu => "cpu".to_string(),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.name(),
        }
    }
    /// The memory that tensors on this device take now; of the CPU what [`memory`](crate::device::memory()) says.
    ///
    /// ```
    /// use chainrule::{Device, Tensor};
    /// let before = Device::Cpu.memory().in_use;
    /// let ones = Tensor::ones([1000, 1000]);
    /// assert!(Device::Cpu.memory().in_use >= before + 4_000_000);
    /// # drop(ones);
    /// ```
    pub fn memory(self) -> Memory {
        match self {
            Device::Cpu => memory(),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.memory(),
        }
    }
    /// How often numbers were asked for from this device since it was opened. A read waits until the device has done all that was
    /// called before, so a loop that is to run fast reads rarely, or [later](crate::Tensor::read_later). The CPU has no such count: reading is
    /// free there.
    ///
    /// ```
    /// use chainrule::Device;
    /// assert_eq!(Device::Cpu.reads(), 0);
    /// ```
    pub fn reads(self) -> u64 {
        match self {
            Device::Cpu => 0,
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.reads(),
        }
    }
    /// How often the program waited for numbers of this device since it was opened: each time it read some, but for those that were
    /// there already when they were [taken later](crate::Tensor::read_later).
    ///
    /// ```
    /// use chainrule::Device;
    /// assert_eq!(Device::Cpu.waits(), 0);
    /// ```
    pub fn waits(self) -> u64 {
        match self {
            Device::Cpu => 0,
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.waits(),
        }
    }
    /// Begins a new [`peak`](Memory::peak) at what is in use now.
    ///
    /// ```
    /// use chainrule::Device;
    /// Device::best().reset_peak();
    /// ```
    pub fn reset_peak(self) {
        match self {
            Device::Cpu => reset_peak(),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.reset_peak(),
        }
    }
    /// Gives the blocks that wait to be used again back to the system, for other programs.
    ///
    /// ```
    /// use chainrule::Device;
    /// Device::best().release_cached();
    /// ```
    pub fn release_cached(self) {
        match self {
            Device::Cpu => release_cached(),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.release_cached(),
        }
    }
    /// Sets the bytes that tensors on this device may hold; an operation that would need more fails with an error that says
    /// how much it wanted. At the start it is all of a GPU's memory; of the CPU see
    /// [`set_memory_limit`](set_memory_limit()).
    ///
    /// ```
    /// use chainrule::Device;
    /// let device = Device::best();
    /// device.set_memory_limit(device.memory().limit / 2);
    /// # device.set_memory_limit(device.memory().limit * 2);
    /// ```
    pub fn set_memory_limit(self, bytes: usize) {
        match self {
            Device::Cpu => set_memory_limit(bytes),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.set_memory_limit(bytes),
        }
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
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(_) => step(),
        }
    }
}

#[cfg(feature = "cuda-unversioned")]
fn opened(number: usize) -> Result<Device, Fault> {
    Cuda::open(number).map(Device::Cuda)
}

#[cfg(not(feature = "cuda-unversioned"))]
fn opened(_: usize) -> Result<Device, Fault> {
    Err(Fault::device(
        "this build has no CUDA device",
        "switch it on in Cargo.toml: chainrule = { version = \"...\", features = [\"cuda\"] }",
    ))
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.pad("cpu"),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => f.pad(&format!("cuda:{}", cuda.number())),
        }
    }
}

/// `"cpu"`, `"cuda"` (the first GPU), `"cuda:1"`, or `"best"`: what a command line says.
///
/// ```
/// use chainrule::Device;
/// assert_eq!("cpu".parse::<Device>()?, Device::Cpu);
/// assert_eq!("best".parse::<Device>()?, Device::best());
/// assert!("gpu".parse::<Device>().unwrap_err().to_string().contains("cuda:1"));
/// # Ok::<(), chainrule::Error>(())
/// ```
impl FromStr for Device {
    type Err = Error;
    #[track_caller]
    fn from_str(text: &str) -> Result<Device> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("cpu", _) => Ok(Device::Cpu),
            ("best", _) => Ok(Device::best()),
            ("cuda", _) => Device::cuda(0),
            (_, Some(Ok(number))) => Device::cuda(number),
            _ => {
                let fault = Fault::value(format!("{text:?} is no device"), "say cpu, cuda, cuda:1 or best");
                Err(Error::new("device", fault))
            }
        }
    }
}

/// Calls a kernel on the device of a value: `on!(x.device(), softmax(x, axis))`.
macro_rules! on {
    ($device:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match $device {
            $crate::device::Device::Cpu => $crate::device::cpu::Cpu.$kernel($($argument),*),
            #[cfg(feature = "cuda-unversioned")]
            $crate::device::Device::Cuda(cuda) => cuda.$kernel($($argument),*),
        }
    };
}
pub(crate) use on;
