//! Kernels: compiled by the driver, found by their names, launched.

use super::{Address, Gpu};
use crate::error::Fault;
use crate::layout::DType;
use cudarc::driver::sys;
use smallvec::SmallVec;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{null_mut, without_provenance_mut};

/// A kernel of a loaded module; modules are never unloaded.
#[derive(Clone, Copy)]
pub(in crate::device::cuda) struct Function(sys::CUfunction);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// Kernels that the driver has compiled.
#[derive(Clone, Copy)]
pub(in crate::device::cuda) struct Module(sys::CUmodule);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// Blocks of a grid, threads of a block, bytes of shared memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cuda) struct Grid {
    pub(in crate::device::cuda) blocks: [u32; 3],
    pub(in crate::device::cuda) threads: [u32; 3],
    pub(in crate::device::cuda) shared: u32,
}

/// `[.., outer, inner]` of floats with one or two axes in front, from which boxes of 128 bytes by some lines are copied: sizes from
/// the innermost on, steps in bytes.
pub(in crate::device::cuda) struct Boxes {
    pub(in crate::device::cuda) dtype: DType,
    /// Is f32 rounded to tf32 on its way?
    pub(in crate::device::cuda) rounded: bool,
    pub(in crate::device::cuda) sizes: SmallVec<[u64; 4]>,
    pub(in crate::device::cuda) steps: SmallVec<[u64; 3]>,
    pub(in crate::device::cuda) lines: u32,
}

impl Gpu {
    /// Has the driver compile kernels; what its compiler says against them stands in the fault.
    pub(in crate::device::cuda) fn load(&self, name: &str, text: &str) -> Result<Module, Fault> {
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
    pub(in crate::device::cuda) fn function(&self, module: Module, name: &str) -> Result<Function, Fault> {
        self.enter()?;
        let text = CString::new(name).map_err(|_| Fault::defect(format!("{name:?} is no kernel's name")))?;
        let mut function = null_mut();
        // SAFETY: the text ends in a zero; the module is never unloaded.
        unsafe { call!(cuModuleGetFunction(&mut function, module.0, text.as_ptr())) }?;
        Ok(Function(function))
    }
    /// What a kernel is told of an operand that it copies boxes of, stored with the 128-byte swizzle.
    pub(in crate::device::cuda) fn describe_boxes(&self, from: Address, boxes: &Boxes) -> Result<[u64; 16], Fault> {
        use sys::CUtensorMapDataType as Type;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let kind = match boxes.dtype {
            DType::BF16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            DType::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            DType::F32 if boxes.rounded => Type::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
            DType::F32 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            other => return Err(Fault::defect(format!("copies of boxes of {other}"))),
        };
        let across = (128 / boxes.dtype.size()) as u32;
        let axes = boxes.sizes.len();
        if !(3..=4).contains(&axes) || boxes.steps.len() + 1 != axes {
            return Err(Fault::defect(format!("boxes of {axes} axes with {} steps", boxes.steps.len())));
        }
        // SAFETY: it writes the map, and reads a size for each axis, a step for each but the first, and of at most four the sides of a box and the
        // steps inside it.
        unsafe {
            call!(cuTensorMapEncodeTiled(
                &mut map,
                kind,
                axes as u32,
                without_provenance_mut(from as usize),
                boxes.sizes.as_ptr(),
                boxes.steps.as_ptr(),
                [across, boxes.lines, 1, 1].as_ptr(),
                [1; 4].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            ))
        }?;
        Ok(map.opaque)
    }
    /// Lets a kernel's blocks ask for so much shared memory at its launch.
    pub(in crate::device::cuda) fn allow_shared(&self, function: Function, bytes: u32) -> Result<(), Fault> {
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
    pub(in crate::device::cuda) unsafe fn launch(
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
