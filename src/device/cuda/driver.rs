//! The driver: the only file that calls it. It is looked for before it is called, so that whatever is missing is a sentence.
//!
//! `cudarc` opens the library at its first call and panics where that fails, or where a function is not there. So [`probe`]
//! opens it first and asks for every function in [`FUNCTIONS`]; a test holds that list against the calls below.

use crate::error::{ErrorKind, Fault};
use cudarc::driver::sys;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::OnceLock;

/// What CUDA calls 12.0: the oldest driver that takes our kernels.
const OLDEST: c_int = 12_000;
/// The oldest generation of GPUs that the kernels are written for.
const OLDEST_GPU: (c_int, c_int) = (8, 0);

/// Names of the driver's library, in the order in which cudarc tries them.
const LIBRARIES: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so", "libcuda.so.1"] };

/// Every function that is called here.
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
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuTensorMapEncodeTiled",
];

/// What to do where there is no usable driver.
const INSTALL: &str = "install NVIDIA's driver, 525 or newer, or compute on Device::Cpu";

/// Calls a function of the driver; what it returns becomes a fault.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        understood(sys::$function($($argument),*), stringify!($function))
    };
}

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
pub(super) fn count() -> Result<usize, Fault> {
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

/// An address in a GPU's memory.
pub(super) type Address = u64;

/// One GPU, opened, with the one stream on which everything is done in the order of the calls.
pub(super) struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    pool: sys::CUmemoryPool,
}

thread_local! {
    /// The stream that this thread records, of which GPU: nothing is done on it, and other threads do not notice.
    static RECORDED: Cell<Option<(sys::CUdevice, sys::CUstream)>> = const { Cell::new(None) };
}

// SAFETY: handles of the driver, which any thread may use once the context is its current one; each call sees to that.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver has its own locks.
unsafe impl Sync for Gpu {}

/// A kernel of a loaded module; modules are never unloaded.
#[derive(Clone, Copy)]
pub(super) struct Function(sys::CUfunction);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// Kernels that the driver has compiled.
#[derive(Clone, Copy)]
pub(super) struct Module(sys::CUmodule);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// What was recorded, ready to be launched as one.
pub(super) struct Graph(sys::CUgraphExec);

// SAFETY: a handle that the driver lets any thread use, one at a time.
unsafe impl Send for Graph {}

/// A moment in the stream that can be waited for.
pub(super) struct Moment(sys::CUevent);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Moment {}

/// Blocks of a grid, threads of a block, bytes of shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) blocks: [u32; 3],
    pub(super) threads: [u32; 3],
    pub(super) shared: u32,
}

/// `[batches, outer, inner]` of 16-bit floats, from which boxes of 64 numbers by some lines are copied: sizes from the innermost on, steps
/// in bytes.
pub(super) struct Boxes {
    pub(super) is_bf16: bool,
    pub(super) sizes: [u64; 3],
    pub(super) steps: [u64; 2],
    pub(super) lines: u32,
}

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

    /// Where launches and copies go: to the stream that this thread records, else to the one where all is done.
    fn way(&self) -> sys::CUstream {
        match RECORDED.get() {
            Some((device, stream)) if device == self.device => stream,
            _ => self.stream,
        }
    }
    /// From now on the launches and copies of this thread are recorded and not done.
    pub(super) fn begin_recording(&self) -> Result<(), Fault> {
        self.enter()?;
        let mut stream = null_mut();
        // Relaxed: what other threads do meanwhile is no part of it, and loading a kernel is allowed.
        // SAFETY: the first writes a handle, which the second takes.
        unsafe {
            call!(cuStreamCreate(&mut stream, sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32))?;
            call!(cuStreamBeginCapture_v2(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED))?;
        }
        RECORDED.set(Some((self.device, stream)));
        Ok(())
    }
    /// What was recorded since, as one.
    pub(super) fn end_recording(&self) -> Result<Graph, Fault> {
        let Some((_, stream)) = RECORDED.take() else { return Err(Fault::defect("nothing is being recorded")) };
        self.enter()?;
        let (mut graph, mut executable) = (null_mut(), null_mut());
        // SAFETY: the stream was made for this recording and is not used after it; handles are written by one call and taken by
        // the next, and the graph is not needed once it is instantiated.
        unsafe {
            let ended = call!(cuStreamEndCapture(stream, &mut graph));
            call!(cuStreamDestroy_v2(stream))?;
            ended?;
            let made = call!(cuGraphInstantiateWithFlags(&mut executable, graph, 0));
            call!(cuGraphDestroy(graph))?;
            made?;
        }
        Ok(Graph(executable))
    }
    /// Does what was recorded when the stream comes to it.
    ///
    /// # Safety
    /// All memory that it uses is still there and used by nobody else.
    pub(super) unsafe fn replay(&self, graph: &Graph) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches; the handle lives as long as the graph.
        unsafe { call!(cuGraphLaunch(graph.0, self.stream)) }
    }
    /// Forgets what was recorded.
    pub(super) fn forget(&self, graph: Graph) -> Result<(), Fault> {
        // It may be running still.
        self.wait()?;
        // SAFETY: nobody has the handle any more.
        unsafe { call!(cuGraphExecDestroy(graph.0)) }
    }

    /// Memory that what follows in the stream may use; nothing where there is none left.
    pub(super) fn allocate(&self, bytes: usize) -> Result<Option<Address>, Fault> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: it writes one address.
        match unsafe { call!(cuMemAllocAsync(&mut address, bytes, self.stream)) } {
            Ok(()) => Ok(Some(address)),
            Err(fault) if fault.kind() == ErrorKind::Memory => Ok(None),
            Err(fault) => Err(fault),
        }
    }
    /// Gives memory back once the stream has come so far.
    ///
    /// # Safety
    /// [`allocate`](Gpu::allocate) gave it; nothing that is called later uses it.
    pub(super) unsafe fn free(&self, address: Address) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemFreeAsync(address, self.stream)) }
    }
    /// Gives all memory that was freed back to the system, for other programs.
    pub(super) fn trim(&self) -> Result<(), Fault> {
        self.wait()?;
        // SAFETY: the pool is the device's own and lives as long.
        unsafe { call!(cuMemPoolTrimTo(self.pool, 0)) }
    }
    /// Memory of the host that the GPU reaches by itself. It is never given back.
    pub(super) fn pinned(&self, bytes: usize) -> Result<*mut u8, Fault> {
        self.enter()?;
        let mut start = null_mut();
        // Without flags: write-combined memory would be slow to read.
        // SAFETY: it writes one pointer.
        unsafe { call!(cuMemHostAlloc(&mut start, bytes, 0)) }?;
        Ok(start.cast())
    }
    /// Copies from the host's memory when the stream comes to it.
    ///
    /// # Safety
    /// `bytes` stand at both; those of the host stay as they are until then.
    pub(super) unsafe fn copy_in(&self, to: Address, from: *const u8, bytes: usize) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, self.way())) }
    }
    /// Copies to the host's memory when the stream comes to it.
    ///
    /// # Safety
    /// `bytes` stand at both; nobody uses those of the host until then.
    pub(super) unsafe fn copy_out(&self, to: *mut u8, from: Address, bytes: usize) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, self.way())) }
    }
    /// Copies within the GPU's memory.
    ///
    /// # Safety
    /// `bytes` stand at both, and they do not overlap.
    pub(super) unsafe fn copy_within(&self, to: Address, from: Address, bytes: usize) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemcpyDtoDAsync_v2(to, from, bytes, self.way())) }
    }
    /// Writes one byte everywhere.
    ///
    /// # Safety
    /// `bytes` stand there.
    pub(super) unsafe fn set_bytes(&self, at: Address, byte: u8, bytes: usize) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemsetD8Async(at, byte, bytes, self.way())) }
    }
    /// Waits until everything called so far is done.
    pub(super) fn wait(&self) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: the stream lives as long as the program.
        unsafe { call!(cuStreamSynchronize(self.stream)) }
    }
    /// A moment that has not come yet.
    pub(super) fn moment(&self) -> Result<Moment, Fault> {
        self.enter()?;
        let mut event = null_mut();
        // SAFETY: it writes one handle.
        unsafe { call!(cuEventCreate(&mut event, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32)) }?;
        Ok(Moment(event))
    }
    /// The moment comes when all called so far is done.
    pub(super) fn mark(&self, moment: &Moment) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: both handles are this device's and live as long as the program.
        unsafe { call!(cuEventRecord(moment.0, self.stream)) }
    }
    /// Waits for the moment, if it was ever marked.
    pub(super) fn wait_for(&self, moment: &Moment) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as above.
        unsafe { call!(cuEventSynchronize(moment.0)) }
    }

    /// Has the driver compile kernels; what its compiler says against them stands in the fault.
    pub(super) fn load(&self, name: &str, text: &str) -> Result<Module, Fault> {
        use sys::CUjit_option as Option;
        self.enter()?;
        let text = CString::new(text).map_err(|_| Fault::defect(format!("the kernels of {name} hold a zero byte")))?;
        let mut log = vec![0u8; 16 << 10];
        let mut options = [Option::CU_JIT_ERROR_LOG_BUFFER, Option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), without_provenance_mut(log.len() - 1)];
        let (mut module, count) = (null_mut(), options.len() as u32);
        // SAFETY: the text ends in a zero; the log has room for what the second option says; both live until it returns.
        let loaded = unsafe {
            call!(cuModuleLoadDataEx(
                &mut module,
                text.as_ptr().cast(),
                count,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            ))
        };
        loaded.map(|()| Module(module)).map_err(|fault| {
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().trim().to_string();
            let said = if log.is_empty() { String::new() } else { format!("\n{log}") };
            fault.saying(format!("the driver does not take the kernels of {name}: {}{said}", fault.what()))
        })
    }
    /// A kernel by its name.
    pub(super) fn function(&self, module: Module, name: &str) -> Result<Function, Fault> {
        self.enter()?;
        let text = CString::new(name).map_err(|_| Fault::defect(format!("{name:?} is no kernel's name")))?;
        let mut function = null_mut();
        // SAFETY: the text ends in a zero; the module is never unloaded.
        unsafe { call!(cuModuleGetFunction(&mut function, module.0, text.as_ptr())) }?;
        Ok(Function(function))
    }
    /// What a kernel is told of an operand that it copies boxes of, stored with the 128-byte swizzle.
    pub(super) fn describe_boxes(&self, from: Address, boxes: &Boxes) -> Result<[u64; 16], Fault> {
        use sys::CUtensorMapDataType as Type;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let kind =
            if boxes.is_bf16 { Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 } else { Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16 };
        // SAFETY: it writes the map, and reads three sizes, two steps, three sides of a box and three steps inside it.
        unsafe {
            call!(cuTensorMapEncodeTiled(
                &mut map,
                kind,
                3,
                without_provenance_mut(from as usize),
                boxes.sizes.as_ptr(),
                boxes.steps.as_ptr(),
                [64, boxes.lines, 1].as_ptr(),
                [1; 3].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            ))
        }?;
        Ok(map.opaque)
    }
    /// Lets a kernel's blocks ask for so much shared memory at its launch.
    pub(super) fn allow_shared(&self, function: Function, bytes: u32) -> Result<(), Fault> {
        use sys::CUfunction_attribute as Attribute;
        self.enter()?;
        let which = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function's module is never unloaded.
        unsafe { call!(cuFuncSetAttribute(function.0, which, bytes as c_int)) }
    }
    /// Runs a kernel when the stream comes to it.
    ///
    /// # Safety
    /// `arguments` point to what the kernel's parameters want, in their order, and what the kernel reads and writes is there.
    pub(super) unsafe fn launch(
        &self,
        function: Function,
        grid: Grid,
        arguments: &mut [*mut c_void],
    ) -> Result<(), Fault> {
        self.enter()?;
        let Grid { blocks: [x, y, z], threads: [i, j, k], shared } = grid;
        let arguments = arguments.as_mut_ptr();
        // SAFETY: as the caller vouches; the arguments are copied before it returns.
        unsafe { call!(cuLaunchKernel(function.0, x, y, z, i, j, k, shared, self.way(), arguments, null_mut())) }
    }
}

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;

    #[test]
    fn every_function_that_is_called_is_looked_for_before() {
        let text = include_str!("driver.rs");
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
