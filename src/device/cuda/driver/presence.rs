//! Is there a driver that can be called? Its library is looked for before anything of it is.

use crate::error::Fault;
use std::ffi::c_int;
use std::sync::OnceLock;

/// What CUDA calls 12.0: the oldest driver that takes our kernels.
const OLDEST: c_int = 12_000;

/// Names of the driver's library, in the order in which cudarc tries them.
const LIBRARIES: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so", "libcuda.so.1"] };

/// Every function that is called in this folder.
const FUNCTIONS: &[&str] = &[
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemHostAlloc",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyPeerAsync",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuTensorMapEncodeTiled",
];

/// What to do where there is no usable driver.
const INSTALL: &str = "install NVIDIA's driver, 525 or newer, or compute on Device::Cpu";

/// Is there a driver that can be called? Found out once; it never panics.
fn probe() -> Result<(), Fault> {
    static FOUND: OnceLock<Result<(), Fault>> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

fn look() -> Result<(), Fault> {
    let mut reason = String::new();
    for &name in LIBRARIES {
        // SAFETY: opening the driver's library runs its own initialisation and nothing else.
        match unsafe { libloading::Library::new(name) } {
            Ok(library) => {
                let lacks = |function: &str| {
                    // SAFETY: the address is looked up and not used.
                    unsafe { library.get::<*const ()>(function.as_bytes()) }.is_err()
                };
                // What an old driver lacks it lacks because it is old: that is asked first, by what all have.
                let first = ["cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString"];
                let outcome = complete(name, &first, lacks).and_then(|()| new_enough());
                let outcome = outcome.and_then(|()| complete(name, FUNCTIONS, lacks));
                // It stays open: cudarc, which asks for it by the same name, gets this one.
                std::mem::forget(library);
                // SAFETY: it has no other operands, and may be called again and again.
                return outcome.and_then(|()| unsafe { call!(cuInit(0)) });
            }
            // "cannot open shared object file" is the source of the error.
            Err(error) => reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string),
        }
    }
    Err(Fault::device(format!("there is no NVIDIA driver: {reason}"), INSTALL))
}

fn complete(library: &str, functions: &[&str], lacks: impl Fn(&str) -> bool) -> Result<(), Fault> {
    match functions.iter().find(|function| lacks(function)) {
        None => Ok(()),
        Some(missing) => {
            let what = format!("{library} is no driver that can be used: it has no function {missing}");
            Err(Fault::device(what, INSTALL))
        }
    }
}

fn new_enough() -> Result<(), Fault> {
    let mut found = 0;
    // SAFETY: it writes one number.
    unsafe { call!(cuDriverGetVersion(&mut found)) }?;
    if found < OLDEST {
        let numbers = |version: c_int| format!("{}.{}", version / 1000, version % 1000 / 10);
        let what =
            format!("the driver is too old: it knows CUDA {}, the kernels need {}", numbers(found), numbers(OLDEST));
        return Err(Fault::device(what, INSTALL));
    }
    Ok(())
}

/// How many GPUs the driver sees.
pub(in crate::device::cuda) fn count() -> Result<usize, Fault> {
    probe()?;
    let mut count = 0;
    // SAFETY: it writes one number.
    unsafe { call!(cuDeviceGetCount(&mut count)) }?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Fault::device(
            "the driver finds no GPU",
            "nvidia-smi lists what there is; CUDA_VISIBLE_DEVICES may hide it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;

    #[test]
    fn every_function_that_is_called_is_looked_for_before() {
        let text = [
            include_str!("mod.rs"),
            include_str!("presence.rs"),
            include_str!("memory.rs"),
            include_str!("kernels.rs"),
            include_str!("recording.rs"),
        ]
        .concat();
        let called = |before: &str| {
            let names = text.split(before).skip(1).map(|rest| rest.split('(').next().unwrap_or_default());
            names.filter(|name| name.starts_with("cu")).map(str::to_string).collect::<Vec<_>>()
        };
        let mut found: Vec<String> =
            [concat!("call", "!("), concat!("sys", "::")].into_iter().flat_map(called).collect();
        found.sort();
        found.dedup();
        assert_eq!(found, FUNCTIONS);
    }
}
