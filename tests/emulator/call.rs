//! Kernels called by name, without the library: buffers on the emulated device, launches, and what the judge says.

use super::library;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock};

// SAFETY: both are functions of every C library that std links with on Linux, of these types.
unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}
const NOW: c_int = 2;

type Alloc = extern "C" fn(*mut *mut c_void, usize) -> c_int;
type Free = extern "C" fn(*mut c_void) -> c_int;
type Write = extern "C" fn(*mut c_void, *const c_void, usize) -> c_int;
type Read = extern "C" fn(*mut c_void, *const c_void, usize) -> c_int;
type Start = extern "C" fn(
    *const c_char,
    *const c_uint,
    *const c_uint,
    c_uint,
    *const c_uint,
    c_uint,
    *const *const c_void,
) -> c_int;
type StartText =
    extern "C" fn(*const c_char, *const c_char, *const c_uint, *const c_uint, *const *const c_void) -> c_int;
type Say = extern "C" fn(*mut c_char, usize) -> c_int;
type Order = extern "C" fn(*const c_char) -> c_int;
type Init = extern "C" fn(c_uint) -> c_int;
type Count = extern "C" fn() -> c_int;
/// `cuTensorMapEncodeTiled`.
type Describe = extern "C" fn(
    *mut c_void,
    c_int,
    c_uint,
    *mut c_void,
    *const u64,
    *const u64,
    *const c_uint,
    *const c_uint,
    c_int,
    c_int,
    c_int,
    c_int,
) -> c_int;
type Reset = extern "C" fn() -> c_int;

/// What boxes are of: f32 is copied as it is, or rounded to tf32.
#[derive(Clone, Copy)]
pub enum Boxed {
    F16,
    Bf16,
    F32,
    Tf32,
}

struct Calls {
    alloc: Alloc,
    free: Free,
    write: Write,
    read: Read,
    launch: Start,
    launch_text: StartText,
    launches: Count,
    message: Say,
    names: Say,
    order: Order,
    reset: Reset,
    describe: Describe,
}

/// The stand-in driver in this process; one test at a time has it.
pub struct Emulator {
    calls: &'static Calls,
    _one: MutexGuard<'static, ()>,
}

/// Numbers in the memory of the emulated device.
pub struct Buffer {
    at: *mut c_void,
    bytes: usize,
    calls: &'static Calls,
}

/// An argument as a kernel sees it.
pub type Argument = Vec<u8>;

/// Plain numbers, which are the same bytes here and there.
pub trait Plain: Copy {}
macro_rules! plain {
    ($($t:ty)*) => { $( impl Plain for $t {} )* };
}
plain! { u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 View half::bf16 half::f16 }

/// How a kernel walks a tensor: `struct View` of `kernels/view.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub rank: i32,
    pub pad: i32,
    pub sizes: [i64; 8],
    pub strides: [i64; 8],
}

impl View {
    pub fn new(sizes: &[usize], strides: &[i64]) -> View {
        let mut view = View { rank: sizes.len() as i32, pad: 0, sizes: [1; 8], strides: [0; 8] };
        for (axis, (&size, &stride)) in sizes.iter().zip(strides).enumerate() {
            (view.sizes[axis], view.strides[axis]) = (size as i64, stride);
        }
        view
    }
}

/// The bytes of a plain number.
pub fn bytes<T: Plain>(x: T) -> Argument {
    let mut bytes = vec![0; size_of::<T>()];
    // SAFETY: a plain number has no padding that matters and as many bytes as were made room for.
    unsafe { std::ptr::copy_nonoverlapping((&raw const x).cast(), bytes.as_mut_ptr(), size_of::<T>()) };
    bytes
}

impl Emulator {
    /// Nothing, with a word of why, where it cannot be built.
    pub fn new() -> Option<Emulator> {
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let calls = calls()?;
        (calls.reset)();
        let emulator = Emulator { calls, _one: one };
        emulator.order("forward");
        Some(emulator)
    }
    /// In which threads run from now on: forward, reverse, or a number.
    pub fn order(&self, name: &str) {
        let name = CString::new(name).expect("a word");
        (self.calls.order)(name.as_ptr());
    }
    pub fn buffer<T: Plain>(&self, numbers: &[T]) -> Buffer {
        let buffer = self.unwritten::<T>(numbers.len());
        assert_eq!(
            (self.calls.write)(buffer.at, numbers.as_ptr().cast(), size_of_val(numbers)),
            0,
            "{}",
            self.message()
        );
        buffer
    }
    /// Memory that nothing has written.
    pub fn unwritten<T: Plain>(&self, count: usize) -> Buffer {
        let (mut at, bytes) = (std::ptr::null_mut(), count * size_of::<T>());
        assert_eq!((self.calls.alloc)(&mut at, bytes.max(1)), 0, "{}", self.message());
        Buffer { at, bytes, calls: self.calls }
    }
    /// Runs a kernel; what the judge says against it is the error.
    pub fn launch(
        &self,
        name: &str,
        grid: [usize; 3],
        block: usize,
        shared: usize,
        arguments: &[Argument],
    ) -> Result<(), String> {
        let text = CString::new(name).expect("a name");
        let grid = grid.map(|n| n as c_uint);
        let sizes: Vec<c_uint> = arguments.iter().map(|argument| argument.len() as c_uint).collect();
        let places: Vec<*const c_void> = arguments.iter().map(|argument| argument.as_ptr().cast()).collect();
        let block = [block as c_uint, 1, 1];
        let (count, shared) = (sizes.len() as c_uint, shared as c_uint);
        match (self.calls.launch)(
            text.as_ptr(),
            grid.as_ptr(),
            block.as_ptr(),
            shared,
            sizes.as_ptr(),
            count,
            places.as_ptr(),
        ) {
            0 => Ok(()),
            _ => Err(self.message()),
        }
    }
    /// Runs the entry of a PTX text.
    pub fn launch_text(
        &self,
        text: &str,
        entry: &str,
        grid: [usize; 3],
        block: usize,
        arguments: &[Argument],
    ) -> Result<(), String> {
        let [text, entry] = [text, entry].map(|text| CString::new(text).expect("a text"));
        let grid = grid.map(|n| n as c_uint);
        let places: Vec<*const c_void> = arguments.iter().map(|argument| argument.as_ptr().cast()).collect();
        let block = [block as c_uint, 1, 1];
        match (self.calls.launch_text)(text.as_ptr(), entry.as_ptr(), grid.as_ptr(), block.as_ptr(), places.as_ptr()) {
            0 => Ok(()),
            _ => Err(self.message()),
        }
    }
    /// Floats as kernels copy boxes of 128 bytes by `lines` of them, with the 128-byte swizzle: sizes from the innermost on, steps in
    /// elements.
    pub fn boxes(
        &self,
        from: &Buffer,
        of: Boxed,
        sizes: impl AsRef<[usize]>,
        steps: impl AsRef<[usize]>,
        lines: usize,
    ) -> Argument {
        #[repr(align(64))]
        struct Map([u8; 128]);
        let mut map = Map([0; 128]);
        let (kind, size) = match of {
            Boxed::F16 => (6, 2),
            Boxed::F32 => (7, 4),
            Boxed::Bf16 => (9, 2),
            Boxed::Tf32 => (11, 4),
        };
        let sizes: Vec<u64> = sizes.as_ref().iter().map(|&size| size as u64).collect();
        let steps: Vec<u64> = steps.as_ref().iter().map(|&step| size * step as u64).collect();
        let sides = [128 / size as c_uint, lines as c_uint, 1, 1];
        let (to, axes, ones) = (map.0.as_mut_ptr().cast(), sizes.len() as c_uint, [1; 4]);
        let (sizes, steps, sides) = (sizes.as_ptr(), steps.as_ptr(), sides.as_ptr());
        let code = (self.calls.describe)(to, kind, axes, from.at, sizes, steps, sides, ones.as_ptr(), 0, 3, 0, 0);
        assert_eq!(code, 0, "{}", self.message());
        map.0.to_vec()
    }
    /// The names of all kernels.
    pub fn names(&self) -> Vec<String> {
        self.say(self.calls.names).lines().map(str::to_string).collect()
    }
    fn message(&self) -> String {
        self.say(self.calls.message)
    }
    fn say(&self, say: Say) -> String {
        let mut text = vec![0u8; 1 << 17];
        say(text.as_mut_ptr().cast(), text.len());
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..end]).into_owned()
    }
}

impl Buffer {
    /// The address, as an argument.
    pub fn argument(&self) -> Argument {
        self.from(0)
    }
    /// The address some bytes further on.
    pub fn from(&self, byte: usize) -> Argument {
        bytes((self.at as usize + byte) as u64)
    }
    /// What stands there now; every byte must have been written.
    pub fn read<T: Plain>(&self) -> Vec<T> {
        let count = self.bytes / size_of::<T>();
        let mut numbers = Vec::<T>::with_capacity(count);
        assert_eq!(
            (self.calls.read)(numbers.as_mut_ptr().cast(), self.at, self.bytes),
            0,
            "an output was not written in full"
        );
        // SAFETY: the driver copied that many plain numbers.
        unsafe { numbers.set_len(count) };
        numbers
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        (self.calls.free)(self.at);
    }
}

fn calls() -> Option<&'static Calls> {
    static CALLS: OnceLock<Option<Calls>> = OnceLock::new();
    CALLS.get_or_init(open).as_ref()
}

/// How often kernels have been launched through the driver's own functions.
pub fn launches() -> usize {
    calls().map_or(0, |calls| (calls.launches)() as usize)
}

fn open() -> Option<Calls> {
    let folder = match library() {
        Ok(folder) => folder,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let path = CString::new(folder.join("libcuda.so.1").to_string_lossy().as_bytes()).expect("a path");
    // SAFETY: our own library; what runs when it is loaded enters kernels into a list.
    let library = unsafe { dlopen(path.as_ptr(), NOW) };
    assert!(!library.is_null(), "{path:?} cannot be loaded");
    let find = |name: &str| {
        let name = CString::new(name).expect("a name");
        // SAFETY: the library is open and stays so.
        let found = unsafe { dlsym(library, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?} is not in the stand-in driver");
        found
    };
    // SAFETY: each name is a function of driver.cpp with these parameters.
    let calls = unsafe {
        let init: Init = std::mem::transmute(find("cuInit"));
        assert_eq!(init(0), 0);
        Calls {
            alloc: std::mem::transmute::<*mut c_void, Alloc>(find("cuMemAlloc_v2")),
            free: std::mem::transmute::<*mut c_void, Free>(find("cuMemFree_v2")),
            write: std::mem::transmute::<*mut c_void, Write>(find("cuMemcpyHtoD_v2")),
            read: std::mem::transmute::<*mut c_void, Read>(find("cuMemcpyDtoH_v2")),
            launch: std::mem::transmute::<*mut c_void, Start>(find("emulator_launch")),
            launch_text: std::mem::transmute::<*mut c_void, StartText>(find("emulator_launch_text")),
            launches: std::mem::transmute::<*mut c_void, Count>(find("emulator_launches")),
            message: std::mem::transmute::<*mut c_void, Say>(find("emulator_message")),
            names: std::mem::transmute::<*mut c_void, Say>(find("emulator_names")),
            order: std::mem::transmute::<*mut c_void, Order>(find("emulator_order")),
            reset: std::mem::transmute::<*mut c_void, Reset>(find("emulator_reset")),
            describe: std::mem::transmute::<*mut c_void, Describe>(find("cuTensorMapEncodeTiled")),
        }
    };
    Some(calls)
}
