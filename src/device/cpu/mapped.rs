//! Files seen as memory: what is read is fetched page by page, and what is not read is never loaded.
//!
//! The pages are private: a write goes to a copy of the page and never to the file. Where the system offers no mapping the
//! file is read instead.

use super::buffers::Buffer;
use crate::device::Value;
use crate::error::{Error, Fault, Result};
use crate::layout::{DType, Layout, Shape};
use std::fs::File;
use std::path::Path;

/// A file that stands in memory as it is.
///
/// ```
/// use chainrule::{Tensor, device::Mapped, io::safetensors};
/// let path = std::env::temp_dir().join("chainrule-mapped.safetensors");
/// safetensors::save(&path, [("x", &Tensor::from([1.0, 2.0]))])?;
/// // SAFETY: nobody else writes into this file.
/// let file = unsafe { Mapped::open(&path)? };
/// assert_eq!(safetensors::from_mapped(&file)?.get("x")?.to_vec::<f32>()?, [1.0, 2.0]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone)]
pub struct Mapped {
    buffer: Buffer,
}

impl Mapped {
    /// Maps a file.
    ///
    /// # Safety
    ///
    /// As long as this, a clone, or a tensor made from it lives, nobody may write into the file or shorten it: its bytes are
    /// read as they are needed, without looking again whether they are there.
    #[track_caller]
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Mapped> {
        let path = path.as_ref();
        let opened = || -> std::io::Result<(File, u64)> {
            let file = File::open(path)?;
            let about = file.metadata()?;
            if !about.is_file() {
                return Err(std::io::Error::other("this is no plain file"));
            }
            Ok((file, about.len()))
        };
        let buffer = match opened() {
            Ok((file, length)) => map(&file, length),
            Err(error) => Err(unreadable(&error)),
        };
        match buffer {
            Ok(buffer) => Ok(Mapped { buffer }),
            Err(fault) => {
                Err(Error::new("map", Fault::value(format!("{}: {}", path.display(), fault.what()), fault.help())))
            }
        }
    }
    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.elements()
    }
    /// Numbers that stand in the file from a byte on, in row-major order and this machine's byte order. They share the
    /// file's memory. `None` where they would not lie on their own alignment or be no booleans: then they must be copied.
    pub(crate) fn value(&self, start: u64, shape: Shape, dtype: DType) -> Result<Option<Value>, Fault> {
        let size = dtype.size() as u64;
        if !start.is_multiple_of(size) || dtype == DType::Bool {
            return Ok(None);
        }
        let end = start.checked_add(shape.count() as u64 * size).filter(|&end| end <= self.bytes().len() as u64);
        let Some(_) = end else {
            return Err(Fault::value("numbers beyond the end of the file", "the file is damaged: get it again"));
        };
        let dense = Layout::contiguous(shape);
        let layout = Layout::from_parts(shape, dense.strides(), (start / size) as usize);
        Value::within(self.buffer.clone(), layout, dtype).map(Some)
    }
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapped({} bytes)", self.bytes().len())
    }
}

#[cold]
fn unreadable(error: &std::io::Error) -> Fault {
    Fault::value(format!("it cannot be mapped: {error}"), "check the path and that you may read the file, or load it")
}

#[cfg(all(unix, target_pointer_width = "64"))]
fn map(file: &File, length: u64) -> Result<Buffer, Fault> {
    use super::buffers::Foreign;
    use crate::device::Device;
    use std::ffi::{c_int, c_void};
    use std::os::fd::AsRawFd;
    use std::ptr::{NonNull, null_mut};

    unsafe extern "C" {
        fn mmap(at: *mut c_void, length: usize, access: c_int, kind: c_int, file: c_int, from: i64) -> *mut c_void;
        fn munmap(at: *mut c_void, length: usize) -> c_int;
    }
    const READ_AND_WRITE: c_int = 1 | 2;
    const PRIVATE: c_int = 2;

    let length = usize::try_from(length).map_err(|_| Fault::memory("the file is larger than memory", "load a part"))?;
    if length == 0 {
        return Buffer::new(0);
    }
    // SAFETY: a new private mapping of an open file, at an address that the system chooses.
    let start = unsafe { mmap(null_mut(), length, READ_AND_WRITE, PRIVATE, file.as_raw_fd(), 0) };
    match NonNull::new(start.cast::<u8>()) {
        Some(start) if start.as_ptr() as isize != -1 => {
            fn unmap(start: NonNull<u8>, mapping: Foreign) {
                // SAFETY: called once, when the last holder of the mapping lets go of it.
                unsafe { munmap(start.as_ptr().cast(), mapping.bytes) };
            }
            let mapping = Foreign { device: Device::Cpu, bytes: length, release: unmap };
            // SAFETY: the mapping holds `length` bytes, begins at a page, is private to us, and ends in `unmap`.
            Ok(unsafe { Buffer::foreign(start, length, mapping) })
        }
        _ => Err(unreadable(&std::io::Error::last_os_error())),
    }
}

#[cfg(not(all(unix, target_pointer_width = "64")))]
fn map(file: &File, length: u64) -> Result<Buffer, Fault> {
    use std::io::Read;
    let length = usize::try_from(length).map_err(|_| Fault::memory("the file is larger than memory", "load a part"))?;
    let mut buffer = Buffer::new(length)?;
    let bytes = buffer.fresh::<u8>(length)?;
    let mut file = file;
    file.read_exact(bytes).map_err(|error| unreadable(&error))?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("chainrule-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("a file");
        path
    }
    fn mapped(path: &Path) -> Mapped {
        // SAFETY: the file is this test's own.
        unsafe { Mapped::open(path).expect("a mapping") }
    }

    #[test]
    fn a_write_goes_to_a_copy_and_the_rest_goes_back() {
        let bytes: Vec<u8> = (0..100u8).cycle().take(10_000).collect();
        let path = written("mapped", &bytes);
        for _ in 0..3 {
            let file = mapped(&path);
            let shape = Shape::new(&[10, 20]).expect("a shape");
            let mut value = file.value(8, shape, DType::F32).expect("inside").expect("aligned");
            assert!(value.unshared::<f32>().is_none(), "the file holds it too");
            let first = value.dense::<f32>().expect("dense")[0];
            assert_eq!(first.to_le_bytes(), bytes[8..12]);
            drop(file);
            value.unshared::<f32>().expect("alone")[0] = 5.0;
            assert_eq!(value.dense::<f32>().expect("dense")[0], 5.0);
        }
        assert_eq!(std::fs::read(&path).expect("a file"), bytes);
        std::fs::remove_file(&path).ok();
    }

    #[test]
    fn what_does_not_fit_is_refused_or_left_to_a_copy() {
        let path = written("mapped-short", &[1; 64]);
        let file = mapped(&path);
        let shape = |sizes: &[usize]| Shape::new(sizes).expect("a shape");
        assert!(file.value(4, shape(&[3]), DType::F64).expect("inside").is_none());
        assert!(file.value(0, shape(&[3]), DType::Bool).expect("inside").is_none());
        assert!(file.value(0, shape(&[9]), DType::F64).is_err());
        assert!(file.value(u64::MAX - 7, shape(&[1]), DType::F64).is_err());
        std::fs::remove_file(&path).ok();
        // SAFETY: there is no file.
        assert!(unsafe { Mapped::open(&path) }.is_err());
        // SAFETY: a folder cannot be mapped.
        assert!(unsafe { Mapped::open(std::env::temp_dir()) }.is_err());
        let empty = written("mapped-empty", &[]);
        assert!(mapped(&empty).bytes().is_empty());
        std::fs::remove_file(&empty).ok();
    }
}
