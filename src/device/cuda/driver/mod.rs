//! The driver: this folder alone calls it. It is looked for before it is called, so that whatever is missing is a sentence.
//!
//! `cudarc` opens the library at its first call and panics where that fails, or where a function is not there. So `presence`
//! opens it first and asks for every function in its list; a test holds that list against the calls here. Then `memory` (blocks,
//! copies, waiting), `kernels` (loading, launching) and `recording` (many launches as one) are what is asked of a [`Gpu`].

/// Calls a function of the driver; what it returns becomes a fault.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        $crate::device::cuda::driver::understood(
            cudarc::driver::sys::$function($($argument),*),
            stringify!($function),
        )
    };
}

mod kernels;
mod memory;
mod presence;
mod recording;

use crate::error::Fault;
use cudarc::driver::sys;
pub(super) use kernels::{Boxes, Function, Grid, Module};
pub(super) use memory::Moment;
pub(super) use presence::count;
pub(super) use recording::Graph;
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

/// The oldest generation of GPUs that the kernels are written for.
const OLDEST_GPU: (c_int, c_int) = (8, 0);

/// The driver's answer as a fault.
fn understood(code: sys::CUresult, function: &str) -> Result<(), Fault> {
    if code == sys::CUresult::CUDA_SUCCESS { Ok(()) } else { Err(refused(code, function)) }
}

#[cold]
fn refused(code: sys::CUresult, function: &str) -> Fault {
    use sys::CUresult as Code;
    let (mut name, mut text) = (std::ptr::null(), std::ptr::null());
    // SAFETY: both write a pointer to a text that lives as long as the library, or leave it null.
    unsafe {
        let _ = sys::cuGetErrorName(code, &mut name);
        let _ = sys::cuGetErrorString(code, &mut text);
    }
    let read = |text: *const std::ffi::c_char| match text.is_null() {
        true => String::new(),
        // SAFETY: a text of the driver's, which ends in a zero.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    };
    let said = format!("{} ({}, from {function})", read(text), read(name));
    match code {
        Code::CUDA_ERROR_STUB_LIBRARY => Fault::device(
            format!("the library found is a stub for linking and not NVIDIA's driver: {said}"),
            "install the driver itself, 525 or newer, and take the toolkit's folder of stubs off the search path",
        ),
        Code::CUDA_ERROR_NO_DEVICE | Code::CUDA_ERROR_INVALID_DEVICE => Fault::device(
            format!("the driver finds no such GPU: {said}"),
            "nvidia-smi lists what there is; CUDA_VISIBLE_DEVICES may hide it",
        ),
        Code::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH | Code::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => Fault::device(
            format!("the driver's library and the system's part of it are of different versions: {said}"),
            "restart after an update of the driver, or install it anew",
        ),
        Code::CUDA_ERROR_OUT_OF_MEMORY => Fault::memory(format!("the GPU has no memory left: {said}"), ""),
        _ => Fault::device(
            format!("the driver reports {said}"),
            "an error may belong to an earlier operation; after a bad access the device is lost until the program ends",
        ),
    }
}

/// An address in a GPU's memory.
pub(super) type Address = u64;

/// One GPU, opened, with the one stream on which everything is done in the order of the calls.
pub(super) struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    pool: sys::CUmemoryPool,
}

// SAFETY: handles of the driver, which any thread may use once the context is its current one; each call sees to that.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver has its own locks.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// Opens the GPU of this number.
    pub(super) fn open(number: usize) -> Result<Gpu, Fault> {
        let count = count()?;
        if number >= count {
            let last = count - 1;
            return Err(Fault::device(
                format!("there is no GPU number {number}: the driver finds {count}"),
                if last == 0 { "use Device::cuda(0)".to_string() } else { format!("use a number from 0 to {last}") },
            ));
        }
        let mut gpu = Gpu { device: 0, context: null_mut(), stream: null_mut(), pool: null_mut() };
        // SAFETY: each writes one handle, which the next ones need; the primary context is kept for ever.
        unsafe {
            call!(cuDeviceGet(&mut gpu.device, number as c_int))?;
            gpu.check_generation()?;
            call!(cuDevicePrimaryCtxRetain(&mut gpu.context, gpu.device))?;
            gpu.enter()?;
            // Our stream does not wait for the one that other libraries use by default.
            call!(cuStreamCreate(&mut gpu.stream, sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32))?;
            call!(cuDeviceGetDefaultMemPool(&mut gpu.pool, gpu.device))?;
            // Without this the pool gives its memory back whenever somebody waits for the stream.
            let mut threshold = u64::MAX;
            call!(cuMemPoolSetAttribute(
                gpu.pool,
                sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                (&raw mut threshold).cast(),
            ))?;
        }
        Ok(gpu)
    }
    fn check_generation(&self) -> Result<(), Fault> {
        let found = self.generation()?;
        if found < OLDEST_GPU {
            return Err(Fault::device(
                format!(
                    "{} is of compute capability {}.{}, the kernels need {}.{}",
                    self.name()?,
                    found.0,
                    found.1,
                    OLDEST_GPU.0,
                    OLDEST_GPU.1
                ),
                "use a GPU of the Ampere generation or newer, or compute on Device::Cpu",
            ));
        }
        Ok(())
    }
    /// Compute capability, as two numbers.
    pub(super) fn generation(&self) -> Result<(c_int, c_int), Fault> {
        use sys::CUdevice_attribute as Attribute;
        Ok((
            self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ))
    }
    /// How many multiprocessors it has.
    pub(super) fn multiprocessors(&self) -> Result<usize, Fault> {
        self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map(|count| count.max(1) as usize)
    }
    fn attribute(&self, which: sys::CUdevice_attribute) -> Result<c_int, Fault> {
        let mut number = 0;
        // SAFETY: it writes one number.
        unsafe { call!(cuDeviceGetAttribute(&mut number, which, self.device)) }?;
        Ok(number)
    }
    /// What its maker calls it.
    pub(super) fn name(&self) -> Result<String, Fault> {
        let mut text = [0u8; 256];
        // SAFETY: it writes at most as many bytes, a zero at the end.
        unsafe { call!(cuDeviceGetName(text.as_mut_ptr().cast(), text.len() as c_int, self.device)) }?;
        let name = CStr::from_bytes_until_nul(&text).unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }
    /// Bytes of its memory.
    pub(super) fn memory(&self) -> Result<usize, Fault> {
        let mut bytes = 0;
        // SAFETY: it writes one number.
        unsafe { call!(cuDeviceTotalMem_v2(&mut bytes, self.device)) }?;
        Ok(bytes)
    }
    /// Makes this GPU's context the thread's: what most calls work in.
    fn enter(&self) -> Result<(), Fault> {
        let mut current = null_mut();
        // SAFETY: the context is never released.
        unsafe {
            call!(cuCtxGetCurrent(&mut current))?;
            if current != self.context { call!(cuCtxSetCurrent(self.context)) } else { Ok(()) }
        }
    }
}
