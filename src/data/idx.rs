//! IDX files: the plain arrays that MNIST and its kin come in.
//!
//! Two zero bytes, one for the element type, one for the number of axes, the sizes with the most significant byte first,
//! the numbers. Files may be compressed by gzip; that is told by what they hold, not by their names.

use super::Examples;
use crate::device::Value;
use crate::error::{Fault, Result};
use crate::io::numbers::{Stored, put};
use crate::io::place::{Place, damaged, foreign};
use crate::io::source::{OpenFile, Source};
use crate::io::{atomic, gzip};
use crate::layout::{DType, MAX_RANK, Shape};
use crate::tensor::{Tensor, dense_as};
use std::path::{Path, PathBuf};

/// Reads an array. i8 and i16 are held as i32; u8, i32, f32 and f64 as they are.
///
/// ```
/// use chainrule::{Tensor, data::idx};
/// let path = std::env::temp_dir().join("chainrule-example.idx");
/// idx::save(&path, &Tensor::from([[1.0, 2.0], [3.0, 4.0]]))?;
/// assert_eq!(idx::load(&path)?, Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Tensor> {
    let place = Place::of("idx", path.as_ref());
    let value = OpenFile::open(path.as_ref()).and_then(|file| read(&file));
    Ok(Tensor::from_value(value.map_err(|fault| place.error(fault))?))
}

/// Reads an array whose file, compressed or not, stands in memory.
///
/// ```
/// use chainrule::{Tensor, data::idx};
/// // Two axes of bytes: one row of two.
/// let file = [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9];
/// assert_eq!(idx::from_bytes(&file)?.to_vec::<u8>()?, [7, 9]);
/// assert!(idx::from_bytes(&file[..13]).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<Tensor> {
    let place = Place::bytes("idx");
    Ok(Tensor::from_value(read(&bytes).map_err(|fault| place.error(fault))?))
}

/// Writes an array of u8, i32, f32 or f64, not compressed; the file is there whole or not at all.
///
/// ```
/// use chainrule::{DType, Tensor, data::idx};
/// let path = std::env::temp_dir().join("chainrule-save.idx");
/// idx::save(&path, &Tensor::from([1, 2]).to_dtype(DType::U8))?;
/// assert_eq!(std::fs::read(&path).unwrap(), [0, 0, 8, 1, 0, 0, 0, 2, 1, 2]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let place = Place::of("idx", path.as_ref());
    let value = tensor.value()?;
    let written = file(value).and_then(|bytes| atomic::write(path.as_ref(), |out| put(out, &bytes), |_| Ok(())));
    written.map_err(|fault| place.error(fault))
}

/// Pictures and their labels from two files: inputs `[count, 1, height, width]`, f32 from 0 to 1 (bytes are divided by 255),
/// targets `[count]`, i64.
///
/// ```
/// use chainrule::{DType, Tensor, data::{Dataset, idx}};
/// let folder = std::env::temp_dir();
/// let (images, labels) = (folder.join("chainrule-images.idx"), folder.join("chainrule-labels.idx"));
/// idx::save(&images, &Tensor::full([3, 28, 28], 255.0, DType::U8))?;
/// idx::save(&labels, &Tensor::from([5, 0, 4]).to_dtype(DType::U8))?;
/// let examples = idx::examples(&images, &labels)?;
/// assert_eq!(examples.input().dims()?, [3, 1, 28, 28]);
/// assert_eq!((examples.input().max().item()?, examples.len()), (1.0, 3));
/// # std::fs::remove_file(&images).ok();
/// # std::fs::remove_file(&labels).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn examples(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Examples> {
    let (pictures, numbers) = (load(&images)?, load(&labels)?);
    let refuse = |path: &Path, what: String, help: &str| Place::of("idx", path).error(Fault::shape(what, help));
    let sizes = pictures.shape()?;
    let [count, height, width] = *sizes else {
        let what = format!("pictures have 3 axes (count, height, width), this file has the shape {sizes:?}");
        return Err(refuse(images.as_ref(), what, "give the file of images first, then the file of labels"));
    };
    if *numbers.shape()? != [count] {
        let what = format!("there are {count} pictures, the labels have the shape {:?}", numbers.shape()?);
        return Err(refuse(labels.as_ref(), what, "take the file of labels that belongs to the file of images"));
    }
    let bytes = pictures.dtype()? == DType::U8;
    let pictures = pictures.to_dtype(DType::F32).reshape([count, 1, height, width]);
    let pictures = if bytes { pictures / 255.0 } else { pictures };
    Examples::new(&pictures, &numbers.to_dtype(DType::I64))
}

/// What a folder of the four usual files holds.
#[derive(Clone, Debug)]
pub struct Folder {
    /// `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`.
    pub train: Examples,
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.
    pub test: Examples,
}

/// Reads a folder that holds the four files under MNIST's names (also spelt `train-images.idx3-ubyte`), each with or without
/// `.gz`.
///
/// ```
/// use chainrule::data::idx;
/// let error = idx::folder("examples").unwrap_err();
/// assert!(error.to_string().contains("train-images-idx3-ubyte"), "{error}");
/// ```
#[track_caller]
pub fn folder(path: impl AsRef<Path>) -> Result<Folder> {
    let (place, path) = (Place::of("idx", path.as_ref()), path.as_ref());
    let find = |start: String, end| find(path, &start, end).map_err(|fault| place.error(fault));
    let part = |name: &str| -> Result<(PathBuf, PathBuf)> {
        Ok((find(format!("{name}-images"), "idx3-ubyte")?, find(format!("{name}-labels"), "idx1-ubyte")?))
    };
    // All are looked for before the first is read.
    let (train, test) = (part("train")?, part("t10k")?);
    Ok(Folder { train: examples(train.0, train.1)?, test: examples(test.0, test.1)? })
}

fn find(folder: &Path, start: &str, end: &str) -> Result<PathBuf, Fault> {
    let names = ["-", "."].into_iter().flat_map(|dash| ["", ".gz"].map(|packed| format!("{start}{dash}{end}{packed}")));
    let found = names.map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let what = format!("the folder has no file {start}-{end}, with or without .gz");
        let help = "it must hold the four files of images and labels; single files are read by idx::examples";
        foreign(what, help)
    })
}

struct Header {
    stored: Stored,
    shape: Shape,
    /// Where the numbers begin.
    begin: u64,
    /// Bytes of the whole file.
    size: u64,
}

impl Header {
    /// From a file's first bytes: all of it, or at least those of the longest header.
    fn read(start: &[u8]) -> Result<Header, Fault> {
        let (kind, rank) = match start {
            [0, 0, kind, rank, ..] => (*kind, usize::from(*rank)),
            [_, _, _, _, ..] => return Err(damaged("the file does not begin with two zero bytes, as IDX files do")),
            _ => return Err(damaged(format!("{} bytes are too few for an IDX file", start.len()))),
        };
        let stored = match kind {
            0x08 => Stored::U8,
            0x09 => Stored::I8,
            0x0b => Stored::I16,
            0x0c => Stored::I32,
            0x0d => Stored::F32,
            0x0e => Stored::F64,
            _ => return Err(damaged(format!("{kind:#04x} is no element type of an IDX file"))),
        };
        if rank == 0 || rank > MAX_RANK {
            return Err(foreign(format!("the array has {rank} axes"), format!("1 to {MAX_RANK} axes are read")));
        }
        let begin = 4 + 4 * rank;
        let Some(words) = start.get(4..begin) else { return Err(damaged("the file ends inside its header")) };
        let mut sizes = [0; MAX_RANK];
        let (words, _) = words.as_chunks::<4>();
        sizes.iter_mut().zip(words).for_each(|(size, word)| *size = u32::from_be_bytes(*word) as usize);
        let shape = Shape::new(sizes.get(..rank).unwrap_or_default())?;
        let begin = begin as u64;
        let Some(size) = stored.bytes(shape.count())?.checked_add(begin) else {
            return Err(damaged(format!("the shape {shape:?} is larger than a file can be")));
        };
        Ok(Header { stored, shape, begin, size })
    }
    fn values(&self, source: &dyn Source) -> Result<Value, Fault> {
        if source.length() != self.size {
            let what = format!("the shape {:?} makes a file of {} bytes", self.shape, self.size);
            return Err(damaged(format!("{what}, this one has {}", source.length())));
        }
        self.stored.read(source, self.begin, true, self.shape)
    }
}

// The longest header is among the first bytes of a compressed file that are looked at.
const _: () = assert!(4 + 4 * MAX_RANK <= gzip::START);

fn read(source: &dyn Source) -> Result<Value, Fault> {
    let start = source.bytes(0, source.length().min(gzip::START as u64))?;
    if !start.starts_with(gzip::MAGIC) {
        return Header::read(&start)?.values(source);
    }
    let file = source.bytes(0, source.length())?;
    let bytes = gzip::unpack(&file, |start| Ok(Header::read(start)?.size))?;
    drop(file);
    let bytes = bytes.as_slice();
    Header::read(bytes)?.values(&bytes)
}

/// The bytes of an array's file.
fn file(value: &Value) -> Result<Vec<u8>, Fault> {
    let kind = match value.dtype() {
        DType::U8 => 0x08,
        DType::I32 => 0x0c,
        DType::F32 => 0x0d,
        DType::F64 => 0x0e,
        other => {
            let help = "convert it with to_dtype to u8, i32, f32 or f64";
            return Err(Fault::dtype(format!("IDX files have no {other}"), help));
        }
    };
    if value.rank() == 0 {
        return Err(Fault::shape("IDX files have no single numbers", "reshape it to [1]"));
    }
    let mut bytes = vec![0, 0, kind, value.rank() as u8];
    for &size in value.dims() {
        let Ok(size) = u32::try_from(size) else {
            return Err(Fault::shape(format!("IDX files have no axis of size {size}"), "save it in parts, or as .npy"));
        };
        bytes.extend(size.to_be_bytes());
    }
    let width = value.dtype().size();
    let dense = dense_as(value, value.dtype())?;
    crate::io::numbers::each_block(&dense, &mut |block| {
        let start = bytes.len();
        bytes.extend_from_slice(block);
        bytes.get_mut(start..).unwrap_or_default().chunks_exact_mut(width).for_each(<[u8]>::reverse);
        Ok(())
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_is_read() {
        let cases: [(u8, &[u8], &[f64], DType); 6] = [
            (0x08, &[0, 255], &[0.0, 255.0], DType::U8),
            (0x09, &[0x80, 0x7f], &[-128.0, 127.0], DType::I32),
            (0x0b, &[0xff, 0xfe, 1, 0], &[-2.0, 256.0], DType::I32),
            (0x0c, &[0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0], &[-1.0, 65536.0], DType::I32),
            (0x0d, &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0], &[1.0, -2.0], DType::F32),
            (0x0e, &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0], &[1.0, -2.0], DType::F64),
        ];
        for (kind, numbers, expected, dtype) in cases {
            let bytes = [&[0, 0, kind, 1, 0, 0, 0, 2], numbers].concat();
            let tensor = from_bytes(&bytes).expect("an array");
            assert_eq!(
                (tensor.to_vec::<f64>().expect("numbers"), tensor.dtype().expect("a type")),
                (expected.to_vec(), dtype)
            );
            if dtype != DType::I32 || kind == 0x0c {
                assert_eq!(file(tensor.value().expect("a value")).expect("a file"), bytes);
            }
        }
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let said = |bytes: &[u8], words: &str| {
            let error = from_bytes(bytes).expect_err("a wrong file").to_string();
            assert!(error.contains(words), "{error}");
        };
        said(&[0, 0, 8], "too few");
        said(&[1, 0, 8, 1, 0, 0, 0, 0], "two zero bytes");
        said(&[0, 0, 7, 1, 0, 0, 0, 0], "no element type");
        said(&[0, 0, 8, 0, 0, 0, 0, 0], "0 axes");
        said(&[0, 0, 8, 200, 0, 0, 0, 0], "200 axes");
        said(&[0, 0, 8, 2, 0, 0, 0, 1], "inside its header");
        said(&[0, 0, 8, 1, 0, 0, 0, 2, 7], "makes a file of 10 bytes, this one has 9");
        said(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 7, 7], "this one has 11");
        said(&[&[0, 0, 14, 4][..], &[255; 16]].concat(), "");
        assert!(from_bytes(&[0, 0, 8, 1, 0, 0, 0, 0]).is_ok_and(|empty| empty.count().is_ok_and(|count| count == 0)));
        assert!(save("/nowhere/x.idx", &Tensor::from([1])).is_err());
    }
}
