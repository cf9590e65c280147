//! The safetensors format: named tensors in one file, safe to open whoever made it.
//!
//! Eight bytes say how long the header is; the header, a JSON object, says for each name its element type, its shape and
//! which bytes it takes; then come the bytes. Before a tensor is made, everything the header says is held against the
//! length of the file: the stretches must lie beside each other without a gap, fill the file, and fit their shapes.

use super::atomic;
use super::json::{Reader as Json, write_text};
use super::numbers::{Stored, each_block, put};
use super::place::{Place, damaged, foreign};
use super::source::{OpenFile, Source};
use super::tensors::{Tensors, missing, shown};
use crate::device::{Mapped, Value};
use crate::error::{Fault, Result};
use crate::layout::{DType, MAX_RANK, Shape, order_of, put_in_order};
use crate::tensor::{Tensor, dense_as};
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;

/// No sensible header is longer.
const LONGEST_HEADER: u64 = 100 << 20;
const METADATA: &str = "__metadata__";

/// Reads all tensors of a file.
///
/// Element types that tensors do not have are held in wider ones: 8-bit floats as f32, i8, i16 and u16 as i32, u32 and u64
/// as i64.
///
/// ```
/// use chainrule::{Tensor, io::safetensors};
/// let path = std::env::temp_dir().join("chainrule-example.safetensors");
/// safetensors::save(&path, [("weight", &Tensor::from([1.0, 2.0]))])?;
/// let tensors = safetensors::load(&path)?;
/// assert_eq!(tensors.get("weight")?.to_vec::<f32>()?, [1.0, 2.0]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Tensors> {
    let place = Place::of("safetensors", path.as_ref());
    let read = OpenFile::open(path.as_ref()).and_then(|file| read_all(&file));
    read.map_err(|fault| place.error(fault))
}

/// Reads all tensors of a file that stands in memory.
///
/// ```
/// use chainrule::{Tensor, io::safetensors};
/// let bytes = safetensors::to_bytes([("x", &Tensor::from([1, 2, 3]))])?;
/// assert_eq!(safetensors::from_bytes(&bytes)?.get("x")?.to_vec::<i64>()?, [1, 2, 3]);
/// assert!(safetensors::from_bytes(&bytes[..20]).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<Tensors> {
    let place = Place::bytes("safetensors");
    read_all(&bytes).map_err(|fault| place.error(fault))
}

/// The tensors of a mapped file, without reading them: they share its memory, and a page is fetched when it is first used.
///
/// A tensor whose place in the file is not aligned, booleans, and types that are widened are copied.
///
/// ```
/// use chainrule::{Tensor, device::Mapped, io::safetensors};
/// let path = std::env::temp_dir().join("chainrule-from-mapped.safetensors");
/// safetensors::save(&path, [("x", &Tensor::from([1.0, 2.0]))])?;
/// // SAFETY: nobody else writes into this file.
/// let tensors = safetensors::from_mapped(&unsafe { Mapped::open(&path)? })?;
/// assert_eq!((tensors.get("x")? * 2.0).to_vec::<f32>()?, [2.0, 4.0]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn from_mapped(file: &Mapped) -> Result<Tensors> {
    let place = Place::bytes("safetensors");
    let read = || {
        let source = &file.bytes();
        let header = Header::read(source)?;
        let mut tensors = Tensors::new();
        for entry in &header.entries {
            let in_place = match entry.stored.own() {
                Some(dtype) if cfg!(target_endian = "little") => file.value(entry.start, entry.shape, dtype)?,
                _ => None,
            };
            let value = in_place.map_or_else(|| entry.value(source), Ok)?;
            tensors.add(entry.name.clone(), Tensor::from_value(value))?;
        }
        *tensors.metadata_mut() = header.metadata;
        Ok(tensors)
    };
    read().map_err(|fault| place.error(fault))
}

/// Opens a file and reads its header only; tensors are read one by one as they are asked for.
///
/// ```
/// use chainrule::{Tensor, io::safetensors};
/// let path = std::env::temp_dir().join("chainrule-open.safetensors");
/// safetensors::save(&path, [("a", &Tensor::zeros([2])), ("b", &Tensor::ones([3]))])?;
/// let file = safetensors::open(&path)?;
/// assert!(file.names().eq(["a", "b"]));
/// assert_eq!(file.read("b")?.dims()?, [3]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn open(path: impl AsRef<Path>) -> Result<Reader> {
    let place = Place::of("safetensors", path.as_ref());
    let opened = OpenFile::open(path.as_ref()).and_then(|file| Ok((Header::read(&file)?, file)));
    let (header, file) = opened.map_err(|fault| place.error(fault))?;
    let places = header.entries.iter().enumerate().map(|(i, entry)| (entry.name.clone(), i)).collect();
    Ok(Reader { file, header, places, path: path.as_ref().to_path_buf() })
}

/// An open file whose tensors are read as they are asked for; see [`open`].
#[derive(Debug)]
pub struct Reader {
    file: OpenFile,
    header: Header,
    places: HashMap<String, usize>,
    path: std::path::PathBuf,
}

impl Reader {
    /// The names, in the order of the header.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.entries.iter().map(|entry| entry.name.as_str())
    }
    /// The texts beside the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }
    /// The sizes of a tensor, without reading it.
    ///
    /// ```
    /// # use chainrule::{Tensor, io::safetensors};
    /// # let path = std::env::temp_dir().join("chainrule-shape.safetensors");
    /// # safetensors::save(&path, [("a", &Tensor::zeros([2, 3]))])?;
    /// let file = safetensors::open(&path)?;
    /// assert_eq!(&file.shape("a")?[..], &[2, 3]);
    /// # std::fs::remove_file(&path).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn shape(&self, name: &str) -> Result<Shape> {
        let place = Place::of("safetensors", &self.path);
        Ok(self.entry(name).map_err(|fault| place.error(fault))?.shape)
    }
    /// Reads one tensor; the error of a name that is not there lists those that come near.
    #[track_caller]
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let place = Place::of("safetensors", &self.path);
        let value = self.entry(name).and_then(|entry| entry.value(&self.file));
        Ok(Tensor::from_value(value.map_err(|fault| place.error(fault))?))
    }
    fn entry(&self, name: &str) -> Result<&Entry, Fault> {
        let found = self.places.get(name).and_then(|&place| self.header.entries.get(place));
        found.ok_or_else(|| missing(name, self.names()))
    }
}

/// Writes tensors to a file, which is there whole or not at all: a failed write leaves an earlier file as it was.
///
/// ```
/// use chainrule::{Tensor, io::safetensors};
/// let path = std::env::temp_dir().join("chainrule-save.safetensors");
/// let (weight, bias) = (Tensor::zeros([2, 3]), Tensor::zeros([3]));
/// safetensors::save(&path, [("weight", &weight), ("bias", &bias)])?;
/// assert_eq!(safetensors::load(&path)?.len(), 2);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save<N: AsRef<str>, T: Borrow<Tensor>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, T)>,
) -> Result<()> {
    let place = Place::of("safetensors", path.as_ref());
    let plan = Plan::new(collect(tensors)?, &BTreeMap::new()).map_err(|fault| place.error(fault))?;
    atomic::write(path.as_ref(), |out| plan.write(out), |_| Ok(())).map_err(|fault| place.error(fault))
}

/// The bytes of a file with these tensors.
///
/// ```
/// use chainrule::{Tensor, io::safetensors};
/// let bytes = safetensors::to_bytes([("x", &Tensor::zeros([2]))])?;
/// assert_eq!(safetensors::from_bytes(&bytes)?.len(), 1);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn to_bytes<N: AsRef<str>, T: Borrow<Tensor>>(tensors: impl IntoIterator<Item = (N, T)>) -> Result<Vec<u8>> {
    let place = Place::bytes("safetensors");
    let plan = Plan::new(collect(tensors)?, &BTreeMap::new());
    plan.and_then(|plan| plan.bytes()).map_err(|fault| place.error(fault))
}

impl Tensors {
    /// Writes them, with the texts beside them, as a safetensors file.
    ///
    /// ```
    /// use chainrule::{Tensor, io::{Tensors, safetensors}};
    /// let path = std::env::temp_dir().join("chainrule-tensors.safetensors");
    /// let mut tensors = Tensors::new();
    /// tensors.insert("x", Tensor::zeros([2]))?;
    /// tensors.metadata_mut().insert("license".into(), "none".into());
    /// tensors.save(&path)?;
    /// assert_eq!(safetensors::load(&path)?.metadata()["license"], "none");
    /// # std::fs::remove_file(&path).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let place = Place::of("safetensors", path.as_ref());
        let plan = Plan::new(collect(self)?, self.metadata()).map_err(|fault| place.error(fault))?;
        atomic::write(path.as_ref(), |out| plan.write(out), |_| Ok(())).map_err(|fault| place.error(fault))
    }
    /// The bytes of a safetensors file with these tensors and texts.
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let place = Place::bytes("safetensors");
        let plan = Plan::new(collect(self)?, self.metadata());
        plan.and_then(|plan| plan.bytes()).map_err(|fault| place.error(fault))
    }
}

fn collect<N: AsRef<str>, T: Borrow<Tensor>>(
    tensors: impl IntoIterator<Item = (N, T)>,
) -> Result<Vec<(String, Value)>> {
    let entry = |(name, tensor): (N, T)| Ok((name.as_ref().to_string(), tensor.borrow().value()?.clone()));
    tensors.into_iter().map(entry).collect()
}

pub(super) fn read_all(source: &dyn Source) -> Result<Tensors, Fault> {
    let header = Header::read(source)?;
    let mut tensors = Tensors::new();
    for entry in &header.entries {
        tensors.add(entry.name.clone(), Tensor::from_value(entry.value(source)?))?;
    }
    *tensors.metadata_mut() = header.metadata;
    Ok(tensors)
}

/// What the header says, held against the file.
#[derive(Debug)]
pub(super) struct Header {
    entries: Vec<Entry>,
    pub(super) metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    stored: Stored,
    shape: Shape,
    /// Where its bytes begin in the file, and end.
    start: u64,
    end: u64,
}

impl Entry {
    fn value(&self, source: &dyn Source) -> Result<Value, Fault> {
        self.stored.read(source, self.start, false, self.shape)
    }
}

impl Header {
    pub(super) fn read(source: &dyn Source) -> Result<Header, Fault> {
        let length = source.length();
        if length < 8 {
            return Err(damaged(format!("{length} bytes are too few: a header's length alone has 8")));
        }
        let mut bytes = [0; 8];
        source.read(0, &mut bytes)?;
        let size = u64::from_le_bytes(bytes);
        if size > length - 8 {
            return Err(damaged(format!("the header should have {size} bytes, the file has {}", length - 8)));
        }
        if size > LONGEST_HEADER {
            return Err(damaged(format!("a header of {size} bytes; at most {LONGEST_HEADER} are read")));
        }
        let text = source.bytes(8, size)?;
        if text.first() != Some(&b'{') {
            return Err(damaged("the header does not begin with {"));
        }
        let mut header = Header { entries: Vec::new(), metadata: BTreeMap::new() };
        let mut names = HashSet::new();
        let mut json = Json::new(&text);
        let data = 8 + size;
        json.fields(|json, name| {
            if !names.insert(name.clone()) {
                return Err(damaged(format!("{:?} stands twice in the header", shown(&name))));
            }
            if name == METADATA {
                return header.read_metadata(json);
            }
            let entry = Entry::read(json, name, data)?;
            header.entries.push(entry);
            Ok(())
        })?;
        json.end()?;
        header.fills(data, length)?;
        Ok(header)
    }
    fn read_metadata(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.fields(|json, name| match self.metadata.insert(name, json.text()?) {
            None => Ok(()),
            Some(_) => Err(damaged("a name stands twice in the metadata")),
        })
    }
    /// The tensors' bytes must lie beside each other, from the end of the header to the end of the file.
    fn fills(&self, data: u64, length: u64) -> Result<(), Fault> {
        let mut order: Vec<&Entry> = self.entries.iter().collect();
        put_in_order(&mut order, &|a, b| (a.start, a.end).cmp(&(b.start, b.end)));
        let mut end = data;
        for entry in order {
            if entry.start != end {
                let what = if entry.start < end { "overlap those of another" } else { "leave a gap before them" };
                return Err(damaged(format!("the bytes of {:?} {what}", shown(&entry.name))));
            }
            end = entry.end;
        }
        if end != length {
            return Err(damaged(format!("the tensors end at byte {end}, the file at {length}")));
        }
        Ok(())
    }
}

impl Entry {
    fn read(json: &mut Json<'_>, name: String, data: u64) -> Result<Entry, Fault> {
        let (mut kind, mut sizes, mut range) = (None, None, None);
        let wrong = |what: String| damaged(format!("{:?} {what}", shown(&name)));
        json.fields(|json, field| {
            let twice = match field.as_str() {
                "dtype" => kind.replace(json.text()?).is_some(),
                "shape" => sizes.replace(counts::<MAX_RANK>(json, &wrong)?).is_some(),
                "data_offsets" => range.replace(counts::<2>(json, &wrong)?).is_some(),
                _ => json.skip().map(|()| false)?,
            };
            if twice { Err(wrong(format!("has two {field}"))) } else { Ok(()) }
        })?;
        let (Some(kind), Some((sizes, rank)), Some(([start, end], 2))) = (kind, sizes, range) else {
            return Err(wrong("lacks dtype, shape or data_offsets".into()));
        };
        let stored = stored(&kind, &name)?;
        let shape = sizes.get(..rank).map(Shape::new).unwrap_or_else(|| Shape::new(&[]))?;
        let needed = stored.bytes(shape.count())?;
        if end.checked_sub(start).map(|bytes| bytes as u64) != Some(needed) {
            return Err(wrong(format!("has the bytes {start} to {end}, its shape {shape:?} of {kind} needs {needed}")));
        }
        let place = |offset: usize| data.checked_add(offset as u64).ok_or_else(|| wrong("lies outside".into()));
        Ok(Entry { stored, shape, start: place(start)?, end: place(end)?, name })
    }
}

/// A list of at most `N` whole numbers, and how many there are.
fn counts<const N: usize>(json: &mut Json<'_>, wrong: &dyn Fn(String) -> Fault) -> Result<([usize; N], usize), Fault> {
    let (mut numbers, mut count) = ([0; N], 0);
    json.items(|json| {
        let number = usize::try_from(json.count()?).map_err(|_| wrong("has sizes beyond this machine".into()))?;
        let Some(room) = numbers.get_mut(count) else {
            return Err(wrong(format!(
                "has more than {N} numbers in a list; tensors here have at most {MAX_RANK} axes"
            )));
        };
        (*room, count) = (number, count + 1);
        Ok(())
    })?;
    Ok((numbers, count))
}

fn stored(kind: &str, name: &str) -> Result<Stored, Fault> {
    Ok(match kind {
        "F64" => Stored::F64,
        "F32" => Stored::F32,
        "BF16" => Stored::Bf16,
        "F16" => Stored::F16,
        "F8_E4M3" => Stored::F8E4M3,
        "F8_E5M2" => Stored::F8E5M2,
        "I64" => Stored::I64,
        "I32" => Stored::I32,
        "I16" => Stored::I16,
        "I8" => Stored::I8,
        "U64" => Stored::U64,
        "U32" => Stored::U32,
        "U16" => Stored::U16,
        "U8" => Stored::U8,
        "BOOL" => Stored::Bool,
        _ => {
            let what =
                format!("{:?} has the element type {:?}, which tensors here do not have", shown(name), shown(kind));
            return Err(foreign(what, "convert it to F32 where the file is written"));
        }
    })
}

fn kind(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "F64",
        DType::F32 => "F32",
        DType::BF16 => "BF16",
        DType::F16 => "F16",
        DType::I64 => "I64",
        DType::I32 => "I32",
        DType::U8 => "U8",
        DType::Bool => "BOOL",
    }
}

/// A file about to be written: its header, and the values in the order of their bytes.
pub(super) struct Plan {
    pub(super) header: Vec<u8>,
    pub(super) values: Vec<Value>,
}

impl Plan {
    /// The header keeps the order of the tensors; their bytes stand by falling element size, so that each is aligned.
    pub(super) fn new(tensors: Vec<(String, Value)>, metadata: &BTreeMap<String, String>) -> Result<Plan, Fault> {
        let size = |i: usize| tensors.get(i).map_or(0, |(_, value)| value.dtype().size());
        let order = order_of(tensors.len(), &|a, b| size(b).cmp(&size(a)));
        let mut ranges = vec![(0, 0); tensors.len()];
        let mut values = Vec::with_capacity(tensors.len());
        let mut end = 0u64;
        for i in order {
            let (Some((_, value)), Some(range)) = (tensors.get(i), ranges.get_mut(i)) else { continue };
            let start = end;
            end += Stored::of(value.dtype()).bytes(value.count())?;
            *range = (start, end);
            values.push(value.clone());
        }
        let mut text = String::from("{");
        if !metadata.is_empty() {
            write_text(&mut text, METADATA);
            text.push_str(":{");
            for (i, (name, what)) in metadata.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                write_text(&mut text, name);
                text.push(':');
                write_text(&mut text, what);
            }
            text.push('}');
        }
        let mut names = HashSet::new();
        for ((name, value), (start, end)) in tensors.iter().zip(ranges) {
            if name == METADATA || !names.insert(name) {
                let what = if name == METADATA { "is the name of the metadata" } else { "is the name of two tensors" };
                return Err(Fault::value(format!("{name:?} {what}"), "every tensor needs a name of its own"));
            }
            text.push_str(if text.len() > 1 { "," } else { "" });
            write_text(&mut text, name);
            let (kind, shape) = (kind(value.dtype()), value.dims());
            text.push_str(&format!(":{{\"dtype\":\"{kind}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"));
        }
        text.push('}');
        // Spaces at the end, so that the numbers begin at a multiple of eight.
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        if text.len() as u64 > LONGEST_HEADER {
            let what = format!("the header would have {} bytes, at most {LONGEST_HEADER} are read back", text.len());
            return Err(Fault::value(what, "write several files, or less metadata"));
        }
        Ok(Plan { header: text.into_bytes(), values })
    }
    pub(super) fn each_block(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        for value in &self.values {
            each_block(&dense_as(value, value.dtype())?, sink)?;
        }
        Ok(())
    }
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Fault> {
        put(out, &(self.header.len() as u64).to_le_bytes())?;
        put(out, &self.header)?;
        self.each_block(&mut |block| put(out, block))
    }
    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }
}
