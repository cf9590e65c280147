//! PyTorch's files (`torch.save`): tensors, and dictionaries, lists, numbers and texts around them.
//!
//! Such a file holds a pickle, which is a program. It is read by a machine that can make plain things only; whatever else
//! a file names is an error, and nothing is ever run. Both forms are read: the archive that PyTorch writes since version
//! 1.6, and the plain stream before it. The way back is [`safetensors`](super::safetensors), which PyTorch reads.

use super::numbers::Stored;
use super::pickle::{Id, Known, Node, Pickle};
use super::place::{Place, damaged, foreign};
use super::source::{OpenFile, Source};
use super::tensors::{Tensors, shown, too_deep};
use super::zip::Archive;
use crate::device::Value;
use crate::error::{Fault, Result};
use crate::layout::{Layout, MAX_RANK, Shape};
use crate::tensor::{State, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// How the plain stream begins: a pickled number that only these files have.
pub(super) const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The end of the name of an archive's pickle.
const PICKLE: &str = "data.pkl";
/// Pickles describe tensors; one longer than this holds something else.
const LONGEST_PICKLE: u64 = 256 << 20;

/// Reads a file as a tree: `{"epoch": 3, "model": {...}}` keeps its form.
///
/// Dictionaries become trees (whole numbers as keys become texts), lists and tuples become lists, and entries that are
/// `None` are left out (in a list they are empty trees). Tensors that share a storage share their memory, and views keep
/// their strides.
///
/// ```
/// use chainrule::io::pytorch;
/// let checkpoint = pytorch::load("tests/fixtures/checkpoint.pt")?;
/// assert_eq!(checkpoint.get("epoch")?.integer()?, 3);
/// let weight = checkpoint.get("model")?.get("fc.weight")?.tensor()?;
/// assert_eq!(weight.dims()?, [2, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<State> {
    let place = Place::of("pytorch", path.as_ref());
    OpenFile::open(path.as_ref()).and_then(|file| read(&file)).map_err(|fault| place.error(fault))
}

/// Reads all tensors of a file, named by their paths: a `state_dict`'s keys are its names.
///
/// ```
/// use chainrule::io::pytorch;
/// let tensors = pytorch::load_tensors("tests/fixtures/checkpoint.pt")?;
/// assert!(tensors.contains("model.fc.weight"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load_tensors(path: impl AsRef<Path>) -> Result<Tensors> {
    let place = Place::of("pytorch", path.as_ref());
    let read = OpenFile::open(path.as_ref()).and_then(|file| read(&file)).map_err(|fault| place.error(fault));
    Tensors::from_state(&read?)
}

/// Reads a file that stands in memory, as a tree.
///
/// ```
/// use chainrule::io::pytorch;
/// assert!(pytorch::from_bytes(b"no such file").unwrap_err().to_string().contains("torch.save"));
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<State> {
    let place = Place::bytes("pytorch");
    read(&bytes).map_err(|fault| place.error(fault))
}

pub(super) fn read(source: &dyn Source) -> Result<State, Fault> {
    let mut start = [0; OLD_MAGIC.len()];
    let size = source.length().min(start.len() as u64) as usize;
    source.read(0, start.get_mut(..size).unwrap_or_default())?;
    if start == *OLD_MAGIC {
        return read_stream(source);
    }
    if !start.starts_with(b"PK") {
        return Err(damaged("the file does not begin as those of torch.save do"));
    }
    let mut archive = Archive::open(source, (256 << 20) + source.length().saturating_mul(32))?;
    let Some(folder) = folder(&archive) else {
        let help = "save it with torch.save(model.state_dict(), path)";
        return Err(foreign("the archive has no data.pkl in its only folder: it is not one of torch.save", help));
    };
    if archive.member(&format!("{folder}constants.pkl")).is_some() {
        let help = "load it with torch.jit.load and save its state_dict: torch.save(model.state_dict(), path)";
        return Err(foreign("this is a compiled program (TorchScript), not a file of tensors", help));
    }
    let big_endian = match archive.member(&format!("{folder}byteorder")) {
        None => false,
        Some(_) => {
            let order = archive.read(&format!("{folder}byteorder"))?;
            match order.bytes(0, order.length().min(10))?.as_slice() {
                b"little" => false,
                b"big" => true,
                _ => return Err(damaged("the archive's byte order is neither little nor big")),
            }
        }
    };
    let content = archive.read(&format!("{folder}{PICKLE}"))?;
    if content.length() > LONGEST_PICKLE {
        return Err(damaged(format!("a pickle of {} bytes; at most {LONGEST_PICKLE} are read", content.length())));
    }
    let bytes = content.bytes(0, content.length())?;
    let pickle = Pickle::read(&bytes, 0)?;
    if pickle.end != bytes.len() {
        return Err(damaged("something follows the pickle in its member of the archive"));
    }
    let fetch = |key: &str, stored: Stored, count: usize| {
        let content = archive.read(&format!("{folder}data/{key}"))?;
        stored.read(&content, 0, big_endian, Shape::new(&[count])?)
    };
    deliver(&pickle, fetch)
}

/// Is an archive one of these files?
pub(super) fn is_one(source: &dyn Source) -> Result<bool, Fault> {
    Ok(folder(&Archive::open(source, 0)?).is_some())
}

/// The folder in which an archive's members lie, with the slash after it.
fn folder(archive: &Archive<'_>) -> Option<String> {
    let mut pickles = archive.members().iter().filter_map(|member| {
        let folder = member.name.strip_suffix(PICKLE)?;
        (folder.ends_with('/') && folder.matches('/').count() == 1).then_some(folder)
    });
    let first = pickles.next()?;
    pickles.next().is_none().then(|| first.to_string())
}

/// The form before version 1.6: a magic number, a version, facts on the machine, the thing itself and the names of its
/// storages, each a pickle; then the storages.
fn read_stream(source: &dyn Source) -> Result<State, Fault> {
    let bytes = source.bytes(0, source.length().min(LONGEST_PICKLE))?;
    let version = Pickle::read(&bytes, OLD_MAGIC.len())?;
    if version.integer(version.root) != Some(1001) {
        return Err(foreign("the file is of an unknown version", "load and save it again with a newer PyTorch"));
    }
    let machine = Pickle::read(&bytes, version.end)?;
    let Node::Dictionary(facts) = machine.node(machine.root) else {
        return Err(damaged("the file does not say on which machine it was written"));
    };
    let big_endian = facts
        .iter()
        .any(|&(key, value)| machine.text(key) == Some("little_endian") && *machine.node(value) == Node::Flag(false));
    let pickle = Pickle::read(&bytes, machine.end)?;
    let names = Pickle::read(&bytes, pickle.end)?;
    let Node::List(list) = names.node(names.root) else {
        return Err(damaged("the file does not list its storages"));
    };
    // The storages follow each other: a length, then so many numbers. How wide those are, the tensors say.
    let widths = widths(&pickle)?;
    let (mut places, mut at) = (HashMap::new(), names.end as u64);
    for &name in list {
        let name = names.text(name).ok_or_else(|| damaged("a storage has no name"))?;
        let width =
            *widths.get(name).ok_or_else(|| damaged(format!("no tensor uses the storage {:?}", shown(name))))?;
        let count = source.bytes(at, 8)?;
        let count = count.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let size = count.checked_mul(width).ok_or_else(|| damaged("a storage has an absurd length"))?;
        at += 8;
        source.reaches(at, size)?;
        if places.insert(name, (at, count)).is_some() {
            return Err(damaged(format!("the storage {:?} stands twice in the file", shown(name))));
        }
        at += size;
    }
    if at != source.length() {
        return Err(damaged(format!("the storages end at byte {at}, the file at {}", source.length())));
    }
    let fetch = |key: &str, stored: Stored, count: usize| match places.get(key) {
        Some(&(at, length)) if count as u64 <= length => stored.read(source, at, big_endian, Shape::new(&[count])?),
        _ => Err(damaged(format!("the storage {:?} is not there, or shorter than its tensors say", shown(key)))),
    };
    deliver(&pickle, fetch)
}

/// Bytes of one number in each storage that a pickle mentions.
fn widths<'a>(pickle: &Pickle<'a>) -> Result<HashMap<&'a str, u64>, Fault> {
    let mut widths = HashMap::new();
    for id in pickle.storages() {
        let storage = Storage::read(pickle, id)?;
        widths.insert(storage.key, storage.stored.map_or(1, Stored::size) as u64);
    }
    Ok(widths)
}

/// What a persistent id says: `("storage", its type, its key, its device, how many numbers)`.
struct Storage<'a> {
    key: &'a str,
    /// `None` for bytes whose tensors say what they are.
    stored: Option<Stored>,
    count: usize,
}

impl<'a> Storage<'a> {
    fn read(pickle: &Pickle<'a>, id: Id) -> Result<Storage<'a>, Fault> {
        let wrong = || damaged("a tensor's storage is not described as it should be");
        let parts = pickle.tuple(id).ok_or_else(wrong)?;
        let &[word, kind, key, _, count, ref rest @ ..] = parts else { return Err(wrong()) };
        let stored = match pickle.node(kind) {
            Node::Known(Known::StorageOf(stored)) => Some(*stored),
            Node::Known(Known::Bytes) => None,
            _ => return Err(wrong()),
        };
        let count = pickle.integer(count).and_then(|count| usize::try_from(count).ok());
        let (Some("storage"), Some(key), Some(count)) = (pickle.text(word), pickle.text(key), count) else {
            return Err(wrong());
        };
        if rest.first().is_some_and(|&view| *pickle.node(view) != Node::None) {
            return Err(foreign("a storage is a view of another one", "load and save it again with a newer PyTorch"));
        }
        Ok(Storage { key, stored, count })
    }
}

/// Makes a tree of what a pickle describes. `fetch` reads a storage: its key, the kind and the number of its numbers.
fn deliver(
    pickle: &Pickle<'_>,
    fetch: impl FnMut(&str, Stored, usize) -> Result<Value, Fault>,
) -> Result<State, Fault> {
    let mut delivery = Delivery { pickle, fetch, storages: HashMap::new(), room: 64 * pickle.size() + (1 << 20) };
    match delivery.state(pickle.root, 0)? {
        Some(state) => Ok(state),
        None => Err(foreign("the file holds None", "save a tensor or a dictionary")),
    }
}

struct Delivery<'p, 'a, F> {
    pickle: &'p Pickle<'a>,
    fetch: F,
    storages: HashMap<&'a str, (Stored, Value)>,
    /// How much text and how many things may still be made: a thing that is named a thousand times is made as often.
    room: usize,
}

impl<'a, F: FnMut(&str, Stored, usize) -> Result<Value, Fault>> Delivery<'_, 'a, F> {
    fn take(&mut self, size: usize) -> Result<(), Fault> {
        match self.room.checked_sub(size + 64) {
            Some(room) => {
                self.room = room;
                Ok(())
            }
            None => Err(damaged("the file unfolds to far more than it holds")),
        }
    }
    /// The tree of a node; nothing for `None`.
    fn state(&mut self, id: Id, depth: usize) -> Result<Option<State>, Fault> {
        if depth > super::json::DEEPEST {
            return Err(too_deep());
        }
        self.take(0)?;
        let pickle = self.pickle;
        Ok(Some(match pickle.node(id) {
            Node::None => return Ok(None),
            Node::Flag(flag) => State::Flag(*flag),
            Node::Integer(number) => State::Integer(*number),
            Node::Number(number) => State::Number(*number),
            Node::Text(..) => {
                let text = pickle.text(id).unwrap_or_default();
                self.take(text.len())?;
                State::Text(text.to_string())
            }
            Node::Tuple(items) => self.list(items, depth)?,
            Node::List(items) => self.list(items, depth)?,
            Node::Dictionary(entries) => {
                let mut tree = BTreeMap::new();
                for &(key, value) in entries {
                    let key = match pickle.node(key) {
                        Node::Text(..) => pickle.text(key).unwrap_or_default().to_string(),
                        Node::Integer(number) => number.to_string(),
                        _ => return Err(foreign("a dictionary has a key that is no text", "use texts as keys")),
                    };
                    self.take(key.len())?;
                    let Some(state) = self.state(value, depth + 1)? else { continue };
                    if tree.contains_key(&key) {
                        return Err(damaged(format!("a dictionary has two entries {:?}", shown(&key))));
                    }
                    tree.insert(key, state);
                }
                State::Tree(tree)
            }
            Node::Tensor(arguments) => State::Tensor(Tensor::from_value(self.tensor(*arguments)?)),
            Node::Known(Known::Kind(stored)) => State::Text(format!("{stored:?}").to_lowercase()),
            Node::Storage(_) => {
                return Err(foreign("the file holds a bare storage", "save the tensor, not its storage"));
            }
            Node::Other(..) => {
                return Err(foreign(
                    "the file holds bytes, or a number beyond 64 bits",
                    "save tensors and plain things",
                ));
            }
            Node::Known(_) => {
                return Err(foreign("the file holds a type or a function", "save tensors and plain things"));
            }
        }))
    }
    fn list(&mut self, items: &[Id], depth: usize) -> Result<State, Fault> {
        let mut list = Vec::new();
        for &item in items {
            list.push(self.state(item, depth + 1)?.unwrap_or_else(State::tree));
        }
        Ok(State::List(list))
    }
    /// The tensor that `(storage, offset, sizes, strides, ...)` describes.
    fn tensor(&mut self, arguments: Id) -> Result<Value, Fault> {
        let wrong = || damaged("a tensor is not described as it should be");
        self.take(300)?;
        let pickle = self.pickle;
        let parts = pickle.tuple(arguments).ok_or_else(wrong)?;
        let &[storage, offset, sizes, strides, ref rest @ ..] = parts else { return Err(wrong()) };
        let &Node::Storage(description) = pickle.node(storage) else { return Err(wrong()) };
        let storage = Storage::read(pickle, description)?;
        // After whether a gradient is wanted, and hooks: the kind of number, where the storage does not say it.
        let kind = rest.get(2).and_then(|&kind| match pickle.node(kind) {
            Node::Known(Known::Kind(stored)) => Some(*stored),
            _ => None,
        });
        let (stored, count) = match (storage.stored, kind) {
            (None, Some(kind)) => (kind, storage.count / kind.size()),
            (None, None) => (Stored::U8, storage.count),
            (Some(stored), _) => (stored, storage.count),
        };
        let offset = pickle.integer(offset).and_then(|offset| usize::try_from(offset).ok()).ok_or_else(wrong)?;
        let (sizes, rank) = numbers(pickle, sizes)?;
        let (strides, stride_count) = numbers(pickle, strides)?;
        if rank != stride_count {
            return Err(wrong());
        }
        let shape = Shape::new(sizes.get(..rank).unwrap_or_default())?;
        let value = self.storage(storage.key, stored, count)?;

        // Everything it shows must lie in the storage, and it may not unfold a small storage without end.
        let mut last = offset;
        for (&size, &stride) in shape.iter().zip(&strides) {
            let reach = size.saturating_sub(1).checked_mul(stride);
            last = reach.and_then(|reach| last.checked_add(reach)).ok_or_else(wrong)?;
        }
        if shape.count() > 0 && last >= count {
            return Err(damaged(format!("a tensor of shape {shape:?} reaches number {last} of a storage of {count}")));
        }
        if shape.count() > count.saturating_mul(64).saturating_add(1 << 20) {
            return Err(damaged(format!("a tensor of shape {shape:?} repeats a storage of {count} numbers")));
        }
        if shape.count() == 0 {
            return stored.read(&&[][..], 0, false, shape);
        }
        let strides: Vec<isize> = strides.iter().take(rank).map(|&stride| stride as isize).collect();
        value.with_layout(Layout::from_parts(shape, &strides, offset))
    }
    fn storage(&mut self, key: &'a str, stored: Stored, count: usize) -> Result<Value, Fault> {
        if let Some((before, value)) = self.storages.get(key) {
            if *before != stored || value.count() != count {
                let what = format!("the storage {:?} is said to be two different things", shown(key));
                return Err(damaged(what));
            }
            return Ok(value.clone());
        }
        let value = (self.fetch)(key, stored, count)?;
        self.storages.insert(key, (stored, value.clone()));
        Ok(value)
    }
}

/// At most eight sizes or strides, none negative.
fn numbers(pickle: &Pickle<'_>, id: Id) -> Result<([usize; MAX_RANK], usize), Fault> {
    let items = pickle.tuple(id).ok_or_else(|| damaged("a tensor's sizes are no tuple"))?;
    let mut numbers = [0; MAX_RANK];
    if items.len() > MAX_RANK {
        let what = format!("a tensor has {} axes", items.len());
        return Err(foreign(what, format!("tensors here have at most {MAX_RANK}: reshape it before it is saved")));
    }
    for (number, &item) in numbers.iter_mut().zip(items) {
        let whole = pickle.integer(item).and_then(|whole| usize::try_from(whole).ok());
        *number = whole.filter(|&n| n <= isize::MAX as usize).ok_or_else(|| damaged("a tensor has an absurd size"))?;
    }
    Ok((numbers, items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_no_file_of_tensors_is_read() {
        for bytes in [&b""[..], b"PK", b"PK\x03\x04", OLD_MAGIC, b"\x80\x02}q\0."] {
            assert!(from_bytes(bytes).is_err());
        }
    }
}
