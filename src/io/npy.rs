//! NumPy's format: one array in a file, or several in an archive.
//!
//! A header in the words of a Python dictionary says element type, order and shape; then come the numbers. Versions 1 to 3
//! are read, in either byte order and either order of axes; version 1 is written wherever it can be.

use super::atomic;
use super::numbers::{Stored, each_block, put};
use super::place::{Place, damaged, foreign};
use super::source::{OpenFile, Source};
use super::tensors::shown;
use crate::device::Value;
use crate::error::{Fault, Result};
use crate::layout::{DType, Layout, MAX_RANK, Shape};
use crate::tensor::{Tensor, dense_as};
use std::path::Path;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// No sensible header is longer; NumPy itself reads none beyond 10 000 bytes unasked.
const LONGEST_HEADER: u64 = 64 << 10;

/// Reads an array.
///
/// i8, i16 and u16 are held as i32, u32 and u64 as i64. Arrays of objects, texts, dates, complex numbers and records are
/// refused by errors that name them.
///
/// ```
/// use chainrule::{Tensor, io::npy};
/// let path = std::env::temp_dir().join("chainrule-example.npy");
/// npy::save(&path, &Tensor::from([[1.0, 2.0], [3.0, 4.0]]))?;
/// assert_eq!(npy::load(&path)?, Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Tensor> {
    let place = Place::of("npy", path.as_ref());
    let value = OpenFile::open(path.as_ref()).and_then(|file| read(&file));
    Ok(Tensor::from_value(value.map_err(|fault| place.error(fault))?))
}

/// Reads an array whose file stands in memory.
///
/// ```
/// use chainrule::{Tensor, io::npy};
/// let bytes = npy::to_bytes(&Tensor::from([1, 2, 3]))?;
/// assert_eq!(npy::from_bytes(&bytes)?.to_vec::<i64>()?, [1, 2, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<Tensor> {
    let place = Place::bytes("npy");
    Ok(Tensor::from_value(read(&bytes).map_err(|fault| place.error(fault))?))
}

/// Writes an array; the file is there whole or not at all. NumPy has no bf16: such a tensor is refused.
///
/// ```
/// use chainrule::{Tensor, io::npy};
/// let path = std::env::temp_dir().join("chainrule-save.npy");
/// npy::save(&path, &Tensor::zeros([2, 3]))?;
/// assert_eq!(npy::load(&path)?.dims()?, [2, 3]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let place = Place::of("npy", path.as_ref());
    let value = tensor.value()?;
    let written = atomic::write(path.as_ref(), |out| write(value, &mut |block| put(out, block)), |_| Ok(()));
    written.map_err(|fault| place.error(fault))
}

/// The bytes of an array's file.
///
/// ```
/// use chainrule::{Tensor, io::npy};
/// assert!(npy::to_bytes(&Tensor::zeros([2]))?.starts_with(b"\x93NUMPY"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let place = Place::bytes("npy");
    let mut bytes = Vec::new();
    let written = write(tensor.value()?, &mut |block| {
        bytes.extend_from_slice(block);
        Ok(())
    });
    written.map_err(|fault| place.error(fault))?;
    Ok(bytes)
}

pub(super) fn write(value: &Value, sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    let kind = match value.dtype() {
        DType::F64 => "<f8",
        DType::F32 => "<f4",
        DType::F16 => "<f2",
        DType::I64 => "<i8",
        DType::I32 => "<i4",
        DType::U8 => "|u1",
        DType::Bool => "|b1",
        DType::BF16 => {
            return Err(Fault::dtype("NumPy has no bf16", "convert it, to_dtype(DType::F32), or write safetensors"));
        }
    };
    let sizes: Vec<String> = value.dims().iter().map(|size| format!("{size}")).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}{comma}), }}", sizes.join(", "));
    // The numbers begin at a multiple of 64.
    let begin = MAGIC.len() + 4;
    let padded = (begin + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', padded - begin - header.len() - 1));
    header.push('\n');
    sink(MAGIC)?;
    sink(&[1, 0])?;
    sink(&(header.len() as u16).to_le_bytes())?; // eight sizes and the words around them
    sink(header.as_bytes())?;
    each_block(&dense_as(value, value.dtype())?, sink)
}

pub(super) fn read(source: &dyn Source) -> Result<Value, Fault> {
    let length = source.length();
    let mut start = [0; 8];
    if length < 12 {
        return Err(damaged(format!("{length} bytes are too few for an array")));
    }
    source.read(0, &mut start)?;
    if !start.starts_with(MAGIC) {
        return Err(damaged("the file does not begin as NumPy's arrays do"));
    }
    let [.., version, _] = start;
    let (size, begin) = match version {
        1 => {
            let mut size = [0; 2];
            source.read(8, &mut size)?;
            (u64::from(u16::from_le_bytes(size)), 10)
        }
        2 | 3 => {
            let mut size = [0; 4];
            source.read(8, &mut size)?;
            (u64::from(u32::from_le_bytes(size)), 12)
        }
        _ => return Err(foreign(format!("this is version {version} of the format"), "versions 1, 2 and 3 are read")),
    };
    if size > LONGEST_HEADER {
        return Err(damaged(format!("a header of {size} bytes; at most {LONGEST_HEADER} are read")));
    }
    let text = source.bytes(begin, size)?;
    let header = Header::read(&text)?;
    let (begin, needed) = (begin + size, header.stored.bytes(header.shape.count())?);
    if begin.checked_add(needed) != Some(length) {
        let what = format!("the shape {:?} needs {needed} bytes, the file has {}", header.shape, length - begin);
        return Err(damaged(what));
    }
    header.value(source, begin)
}

struct Header {
    stored: Stored,
    big_endian: bool,
    fortran: bool,
    shape: Shape,
}

impl Header {
    fn value(&self, source: &dyn Source, at: u64) -> Result<Value, Fault> {
        if !self.fortran || self.shape.len() < 2 {
            return self.stored.read(source, at, self.big_endian, self.shape);
        }
        // The first axis runs fastest: the same numbers with the axes backward.
        let mut sizes = [0; MAX_RANK];
        let rank = self.shape.len();
        sizes.iter_mut().zip(self.shape.iter().rev()).for_each(|(to, &from)| *to = from);
        let backward = Shape::new(sizes.get(..rank).unwrap_or_default())?;
        let value = self.stored.read(source, at, self.big_endian, backward)?;
        let order: Vec<usize> = (0..rank).rev().collect();
        let layout: Layout = value.layout().permuted(&order);
        value.with_layout(layout)
    }
    fn read(text: &[u8]) -> Result<Header, Fault> {
        let mut words = Words { text, at: 0 };
        let (mut kind, mut fortran, mut shape) = (None, None, None);
        words.expect(b'{')?;
        while !words.accept(b'}') {
            let name = words.text()?;
            words.expect(b':')?;
            let twice = match name.as_str() {
                "descr" => kind.replace(words.kind()?).is_some(),
                "fortran_order" => fortran.replace(words.flag()?).is_some(),
                "shape" => shape.replace(words.shape()?).is_some(),
                _ => return Err(damaged(format!("the header has an unknown entry {:?}", shown(&name)))),
            };
            if twice {
                return Err(damaged(format!("the header has two entries {name:?}")));
            }
            if !words.accept(b',') {
                words.expect(b'}')?;
                break;
            }
        }
        words.end()?;
        let (Some((stored, big_endian)), Some(fortran), Some(shape)) = (kind, fortran, shape) else {
            return Err(damaged("the header lacks descr, fortran_order or shape"));
        };
        Ok(Header { stored, big_endian, fortran, shape })
    }
}

/// The few words of Python that stand in a header.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.next() == Some(byte);
        self.at += found as usize;
        found
    }
    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.accept(byte) {
            return Ok(());
        }
        Err(damaged(format!("the header lacks a {:?} at its byte {}", byte as char, self.at)))
    }
    fn end(&mut self) -> Result<(), Fault> {
        if self.next().is_some() { Err(damaged("something follows the header's entries")) } else { Ok(()) }
    }
    fn word(&mut self, is_part: impl Fn(u8) -> bool) -> String {
        self.next();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest.iter().take_while(|b| is_part(**b)).map(|b| *b as char).collect();
        self.at += word.len();
        word
    }
    fn text(&mut self) -> Result<String, Fault> {
        let Some(quote @ (b'\'' | b'"')) = self.next() else {
            return Err(damaged(format!("the header lacks a text at its byte {}", self.at)));
        };
        self.at += 1;
        let text = self.word(|b| b != quote && b.is_ascii_graphic());
        self.expect(quote)?;
        Ok(text)
    }
    fn flag(&mut self) -> Result<bool, Fault> {
        match self.word(|b| b.is_ascii_alphabetic()).as_str() {
            "True" => Ok(true),
            "False" => Ok(false),
            other => Err(damaged(format!("True or False was expected, this is {:?}", shown(other)))),
        }
    }
    fn shape(&mut self) -> Result<Shape, Fault> {
        let (mut sizes, mut rank) = ([0; MAX_RANK], 0);
        self.expect(b'(')?;
        while !self.accept(b')') {
            let digits = self.word(|b| b.is_ascii_digit());
            let size = digits.parse().map_err(|_| damaged(format!("{:?} is no size", shown(&digits))))?;
            self.accept(b'L'); // as Python 2 wrote them
            let Some(room) = sizes.get_mut(rank) else {
                let help = format!("a tensor has at most {MAX_RANK} axes: reshape the array before it is written");
                return Err(foreign(format!("the array has more than {MAX_RANK} axes"), help));
            };
            (*room, rank) = (size, rank + 1);
            if !self.accept(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Shape::new(sizes.get(..rank).unwrap_or_default())
    }
    /// The element type, and whether its most significant byte comes first.
    fn kind(&mut self) -> Result<(Stored, bool), Fault> {
        if self.next() == Some(b'[') {
            let help = "write each field as an array of its own: numpy.save(path, array[\"field\"])";
            return Err(foreign("this is an array of records (a structured element type)", help));
        }
        let kind = self.text()?;
        let (order, letters) = match kind.as_bytes() {
            [order @ (b'<' | b'>' | b'|' | b'='), letters @ ..] => (*order, letters),
            letters => (b'=', letters),
        };
        let big_endian = order == b'>' || order == b'=' && cfg!(target_endian = "big");
        let stored = match letters {
            b"f8" => Stored::F64,
            b"f4" => Stored::F32,
            b"f2" => Stored::F16,
            b"i8" => Stored::I64,
            b"i4" => Stored::I32,
            b"i2" => Stored::I16,
            b"i1" => Stored::I8,
            b"u8" => Stored::U64,
            b"u4" => Stored::U32,
            b"u2" => Stored::U16,
            b"u1" => Stored::U8,
            b"b1" | b"?" => Stored::Bool,
            _ => return Err(strange(&kind, letters)),
        };
        Ok((stored, big_endian))
    }
}

#[cold]
fn strange(kind: &str, letters: &[u8]) -> Fault {
    let (what, help) = match letters.first() {
        Some(b'O') => ("Python objects", "write arrays of numbers: objects would have to be run to be read"),
        Some(b'c') => ("complex numbers", "write array.real and array.imag"),
        Some(b'U' | b'S' | b'a') => ("texts", "write them as a text file"),
        Some(b'M' | b'm') => ("dates or spans of time", "write array.astype(\"int64\")"),
        Some(b'f' | b'g') => ("floats of an unusual width", "write array.astype(\"float64\")"),
        Some(b'V') => ("raw bytes", "write a float or integer type: array.astype(\"float32\")"),
        _ => ("elements of an unknown type", "write array.astype(\"float32\")"),
    };
    foreign(format!("this is an array of {what} ({:?})", shown(kind)), help)
}
