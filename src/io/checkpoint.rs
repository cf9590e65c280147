//! Checkpoints: everything that a run needs to go on, in one file that is there whole or not at all.
//!
//! A checkpoint is a safetensors file, so other tools can open its tensors; its metadata hold the tree that they belong to,
//! the version of the format, and a checksum of the whole file. A save writes a temporary file, makes it safe on the disk,
//! keeps the checkpoint before it under the ending `.backup`, and only then takes its name. A load that finds the file
//! damaged or gone takes the backup, and says so.

use super::checksum::Checksum;
use super::json::{DEEPEST, Reader as Json, Single, write_number, write_text};
use super::place::{Place, damaged, foreign, system};
use super::safetensors::{Header, Plan, read_all};
use super::source::{OpenFile, Source};
use super::tensors::{Tensors, too_deep};
use super::{atomic, numbers};
use crate::device::Value;
use crate::error::{Error, Fault, Result};
use crate::tensor::State;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The version that is written.
const VERSION: &str = "1";
const FORMAT: &str = "chainrule.checkpoint";
const CHECKSUM: &str = "checksum";
const TREE: &str = "tree";
/// How a checkpoint's header begins: the version, then the checksum, always at the same place.
const BEGINNING: &str = "{\"__metadata__\":{\"chainrule.checkpoint\":\"";
const DIGITS: usize = 16;
/// More things than any tree holds.
const MOST_THINGS: usize = 4 << 20;

/// What [`load`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The tree.
    pub state: State,
    /// Why this is the checkpoint before the last one, where it is.
    pub warning: Option<String>,
}

/// Writes a tree to a file. The one that was there before is kept beside it, with the ending `.backup`.
///
/// ```
/// use chainrule::{State, Tensor, io::checkpoint};
/// let path = std::env::temp_dir().join("chainrule-example.checkpoint");
/// let mut state = State::tree();
/// state.insert("step", State::Integer(100))?;
/// state.insert("weight", State::Tensor(Tensor::ones([2])))?;
/// checkpoint::save(&path, &state)?;
/// assert_eq!(checkpoint::load(&path)?.state.get("step")?.integer()?, 100);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save(path: impl AsRef<Path>, state: &State) -> Result<()> {
    let place = Place::of("checkpoint", path.as_ref());
    let mut branches = Branches { text: String::new(), tensors: Vec::new(), names: HashSet::new() };
    branches.add(state, &mut String::new(), 0).map_err(|trouble| match trouble {
        Trouble::Failed(error) => error,
        Trouble::Fault(fault) => place.error(fault),
    })?;
    write(path.as_ref(), branches).map_err(|fault| place.error(fault))
}

/// Reads a tree. Where the file is damaged or gone and the one before it is not, it is that one, with a warning.
///
/// ```
/// use chainrule::{State, io::checkpoint};
/// let path = std::env::temp_dir().join("chainrule-load.checkpoint");
/// checkpoint::save(&path, &State::Integer(1))?;
/// checkpoint::save(&path, &State::Integer(2))?;
/// assert_eq!(checkpoint::load(&path)?.state.integer()?, 2);
///
/// std::fs::write(&path, "damaged").unwrap();
/// let loaded = checkpoint::load(&path)?;
/// assert_eq!(loaded.state.integer()?, 1);
/// assert!(loaded.warning.unwrap().contains("the one before it"));
/// # std::fs::remove_file(&path).ok();
/// # std::fs::remove_file(checkpoint::backup(&path)).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Loaded> {
    let place = Place::of("checkpoint", path.as_ref());
    let fault = match OpenFile::open(path.as_ref()).and_then(|file| read(&file)) {
        Ok(state) => return Ok(Loaded { state, warning: None }),
        Err(fault) => fault,
    };
    // Through a link, the backup lies beside the file that it leads to.
    let backup = backup(path.as_ref().canonicalize().unwrap_or_else(|_| path.as_ref().to_path_buf()));
    match OpenFile::open(&backup).and_then(|file| read(&file)) {
        Ok(state) => {
            let (path, backup) = (path.as_ref().display(), backup.display());
            let warning =
                Some(format!("{path} cannot be used ({}); this is the one before it, {backup}", fault.what()));
            Ok(Loaded { state, warning })
        }
        Err(_) => Err(place.error(fault)),
    }
}

/// Reads a tree from the bytes of a checkpoint.
///
/// ```
/// assert!(chainrule::io::checkpoint::from_bytes(b"?").is_err());
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<State> {
    let place = Place::bytes("checkpoint");
    read(&bytes).map_err(|fault| place.error(fault))
}

/// Where the checkpoint before the last one is kept.
///
/// ```
/// use chainrule::io::checkpoint;
/// assert_eq!(checkpoint::backup("run/last.ckpt"), std::path::Path::new("run/last.ckpt.backup"));
/// ```
pub fn backup(path: impl AsRef<Path>) -> PathBuf {
    let mut name = path.as_ref().as_os_str().to_os_string();
    name.push(".backup");
    name.into()
}

/// What a run needs to go on, by section: the model, the optimizer, the schedule, streams of random numbers, the loader.
///
/// ```
/// use chainrule::{State, io::Checkpoint, nn::{Init, Linear, Module}};
/// let path = std::env::temp_dir().join("chainrule-sections.checkpoint");
/// let mut model = Linear::new(3, 2, &mut Init::new());
/// Checkpoint::new().with("model", model.state()?).with("epoch", State::Integer(7)).save(&path)?;
///
/// let checkpoint = Checkpoint::load(&path)?;
/// model.load_state(checkpoint.get("model")?)?;
/// assert_eq!(checkpoint.get("epoch")?.integer()?, 7);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    sections: BTreeMap<String, State>,
    warning: Option<String>,
}

impl Checkpoint {
    /// Without sections yet.
    pub fn new() -> Checkpoint {
        Checkpoint::default()
    }
    /// With one section more; one of the same name is replaced.
    pub fn with(mut self, name: &str, state: State) -> Checkpoint {
        self.sections.insert(name.to_string(), state);
        self
    }
    /// A section; the error of a name that is not there lists those there are.
    #[track_caller]
    pub fn get(&self, name: &str) -> Result<&State> {
        self.sections.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.sections.keys().map(String::as_str).collect();
            let help = format!("the sections are: {}", names.join(", "));
            Error::new("checkpoint", Fault::value(format!("there is no section {name:?}"), help))
        })
    }
    /// The names of the sections.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }
    /// Why this is the checkpoint before the last one, where it is: show it to whoever resumes.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
    /// Writes it, as [`save`] does.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path, &State::Tree(self.sections.clone()))
    }
    /// Reads it, as [`load`] does.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let place = Place::of("checkpoint", path.as_ref());
        let Loaded { state, warning } = load(path)?;
        match state {
            State::Tree(sections) => Ok(Checkpoint { sections, warning }),
            _ => Err(place.error(foreign("the file holds no sections", "read it with checkpoint::load"))),
        }
    }
}

/// A tree being written down: its words, and its tensors under names that tell where they belong.
struct Branches {
    text: String,
    tensors: Vec<(String, Value)>,
    names: HashSet<String>,
}

/// A tensor that had failed before keeps its own error.
enum Trouble {
    Failed(Error),
    Fault(Fault),
}

impl Branches {
    fn add(&mut self, state: &State, path: &mut String, depth: usize) -> Result<(), Trouble> {
        // Each tree takes two objects.
        if depth > DEEPEST / 2 - 2 {
            return Err(Trouble::Fault(too_deep()));
        }
        match state {
            State::Flag(flag) => self.text.push_str(if *flag { "true" } else { "false" }),
            State::Integer(number) => self.text.push_str(&number.to_string()),
            State::Number(number) if number.is_finite() => write_number(&mut self.text, *number),
            State::Number(number) => {
                let bits = number.to_bits().to_string();
                self.text.push_str("{\"number\":");
                write_text(&mut self.text, &bits);
                self.text.push('}');
            }
            State::Text(text) => write_text(&mut self.text, text),
            State::Tensor(tensor) => {
                let value = tensor.value().map_err(Trouble::Failed)?.clone();
                let name = self.name(path);
                self.text.push_str("{\"tensor\":");
                write_text(&mut self.text, &name);
                self.text.push('}');
                self.tensors.push((name, value));
            }
            State::List(list) => {
                self.text.push('[');
                for (place, state) in list.iter().enumerate() {
                    self.text.push_str(if place > 0 { "," } else { "" });
                    self.inside(&place.to_string(), state, path, depth)?;
                }
                self.text.push(']');
            }
            State::Tree(tree) => {
                self.text.push_str("{\"tree\":{");
                for (place, (name, state)) in tree.iter().enumerate() {
                    self.text.push_str(if place > 0 { "," } else { "" });
                    write_text(&mut self.text, name);
                    self.text.push(':');
                    self.inside(name, state, path, depth)?;
                }
                self.text.push_str("}}");
            }
        }
        Ok(())
    }
    fn inside(&mut self, name: &str, state: &State, path: &mut String, depth: usize) -> Result<(), Trouble> {
        let before = path.len();
        path.push_str(if before > 0 { "." } else { "" });
        path.push_str(name);
        let done = self.add(state, path, depth + 1);
        path.truncate(before);
        done
    }
    /// The path, or something like it that no other tensor has.
    fn name(&mut self, path: &str) -> String {
        let start = if path.is_empty() || path == "__metadata__" { "value" } else { path };
        let mut name = start.to_string();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{start}#{count}");
        }
        name
    }
}

fn write(path: &Path, branches: Branches) -> Result<(), Fault> {
    let mut metadata = BTreeMap::new();
    metadata.insert(FORMAT.to_string(), VERSION.to_string());
    metadata.insert(CHECKSUM.to_string(), "0".repeat(DIGITS));
    metadata.insert(TREE.to_string(), branches.text);
    let mut plan = Plan::new(branches.tensors, &metadata)?;
    let mut checksum = Checksum::new();
    checksum.take(&(plan.header.len() as u64).to_le_bytes());
    checksum.take(&plan.header);
    plan.each_block(&mut |block| {
        checksum.take(block);
        Ok(())
    })?;
    let digits = format!("{:016x}", checksum.sum());
    let room = digits_at(&plan.header).and_then(|at| plan.header.get_mut(at..at + DIGITS));
    let room = room.ok_or_else(|| Fault::defect("a checkpoint's header has no room for its checksum"))?;
    room.copy_from_slice(digits.as_bytes());
    atomic::write(path, |out| plan.write(out), keep)
}

/// Where the digits of the checksum stand in a header; `None` where it is not a checkpoint's.
fn digits_at(header: &[u8]) -> Option<usize> {
    let rest = header.strip_prefix(BEGINNING.as_bytes())?;
    let version = rest.iter().take(20).position(|&b| b == b'"')?;
    let after = rest.get(version..)?;
    let words = format!("\",\"{CHECKSUM}\":\"");
    after.starts_with(words.as_bytes()).then_some(BEGINNING.len() + version + words.len())
}

/// Keeps the checkpoint that is about to be replaced, if it is one and whole: a torn one must not take the place of a sound
/// backup.
fn keep(path: &Path) -> Result<(), Fault> {
    let is_whole = OpenFile::open(path).and_then(|file| beginning(&file)).is_ok();
    if !is_whole {
        return Ok(());
    }
    let backup = backup(path);
    // Under a second name first, so that the file is never without its own.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let second = atomic::folder_of(path).join(format!(".{name}.{}-9{count}.partial", std::process::id()));
    if fs::hard_link(path, &second).is_ok() {
        let renamed = fs::rename(&second, &backup);
        // Where both names are of one file already, renaming leaves them as they are.
        let _ = fs::remove_file(&second);
        if renamed.is_ok() {
            return Ok(());
        }
    }
    // A file system without second names: for a moment there is only the backup, which loading finds.
    fs::rename(path, &backup).map_err(|error| system("the checkpoint before it cannot be kept", &error))
}

/// The header, which fits the file's length, and where its checksum stands.
fn beginning(source: &dyn Source) -> Result<(Header, u64), Fault> {
    let header = Header::read(source)?;
    let text = source.bytes(8, (source.length() - 8).min(200))?;
    match digits_at(&text) {
        Some(at) => Ok((header, 8 + at as u64)),
        None => Err(foreign("this is a file of tensors, not a checkpoint", "read it with safetensors::load")),
    }
}

fn read(source: &dyn Source) -> Result<State, Fault> {
    let (header, at) = beginning(source)?;
    let metadata =
        |name: &str| header.metadata.get(name).ok_or_else(|| damaged(format!("the checkpoint lacks its {name:?}")));
    let version = metadata(FORMAT)?;
    if version != VERSION {
        let what =
            format!("the checkpoint is of version {:?}, this library reads {VERSION}", super::tensors::shown(version));
        return Err(foreign(what, "read it with the chainrule that wrote it, or a newer one"));
    }
    let said = metadata(CHECKSUM)?;
    let found = format!("{:016x}", checksum(source, at)?);
    if *said != found {
        let what = format!("the checkpoint's checksum is {found}, it should be {}", super::tensors::shown(said));
        return Err(damaged(what));
    }
    let text = metadata(TREE)?.clone();
    drop(header);
    let tensors = read_all(source)?;
    let mut json = Json::new(text.as_bytes());
    let mut room = MOST_THINGS;
    let state = tree(&mut json, &tensors, &mut room)?;
    json.end()?;
    Ok(state)
}

/// The checksum of the file with zeros for the digits of its own.
fn checksum(source: &dyn Source, digits: u64) -> Result<u64, Fault> {
    let mut checksum = Checksum::new();
    let mut block = vec![0; numbers::BLOCK.min(source.length() as usize)];
    let mut at = 0;
    while at < source.length() {
        let count = (source.length() - at).min(block.len() as u64);
        let block = block.get_mut(..count as usize).unwrap_or_default();
        source.read(at, block)?;
        for (byte, place) in block.iter_mut().zip(at..) {
            if place >= digits + DIGITS as u64 {
                break;
            }
            if place >= digits {
                *byte = b'0';
            }
        }
        checksum.take(block);
        at += count;
    }
    Ok(checksum.sum())
}

fn tree(json: &mut Json<'_>, tensors: &Tensors, room: &mut usize) -> Result<State, Fault> {
    *room = room.checked_sub(1).ok_or_else(|| damaged(format!("a tree of more than {MOST_THINGS} things")))?;
    match json.next() {
        Some(b'"') => json.text().map(State::Text),
        Some(b'[') => {
            let mut list = Vec::new();
            json.items(|json| {
                list.push(tree(json, tensors, room)?);
                Ok(())
            })?;
            Ok(State::List(list))
        }
        Some(b'{') => {
            let mut state = None;
            json.fields(|json, kind| {
                if state.is_some() {
                    return Err(damaged("something in the tree is two things at once"));
                }
                state = Some(match kind.as_str() {
                    "tree" => branches(json, tensors, room)?,
                    "tensor" => {
                        let name = json.text()?;
                        let tensor = tensors.get(&name).map_err(|error| damaged(error.what()))?;
                        State::Tensor(tensor.clone())
                    }
                    "number" => {
                        let bits = json.text()?.parse().map_err(|_| damaged("a number of the tree is none"))?;
                        State::Number(f64::from_bits(bits))
                    }
                    _ => return Err(damaged("something in the tree is of an unknown kind")),
                });
                Ok(())
            })?;
            state.ok_or_else(|| damaged("something in the tree is nothing"))
        }
        _ => match json.single()? {
            Single::Flag(flag) => Ok(State::Flag(flag)),
            Single::Integer(number) => Ok(State::Integer(number)),
            Single::Number(number) => Ok(State::Number(number)),
            Single::Null => Err(damaged("something in the tree is null")),
        },
    }
}

fn branches(json: &mut Json<'_>, tensors: &Tensors, room: &mut usize) -> Result<State, Fault> {
    let mut branches = BTreeMap::new();
    json.fields(|json, name| {
        let state = tree(json, tensors, room)?;
        match branches.insert(name, state) {
            None => Ok(()),
            Some(_) => Err(damaged("a name stands twice in the tree")),
        }
    })?;
    Ok(State::Tree(branches))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn the_deepest_tree_that_is_written_is_read() {
        let nested = |depth: usize| {
            (0..depth).fold(State::Tensor(Tensor::scalar(1.0)), |inner, _| {
                State::Tree(BTreeMap::from([("a".to_string(), inner)]))
            })
        };
        let path = std::env::temp_dir().join(format!("chainrule-deep-{}.checkpoint", std::process::id()));
        let deepest = (0..200).take_while(|&depth| save(&path, &nested(depth)).is_ok()).count() - 1;
        assert!(deepest > 40, "{deepest}");
        save(&path, &nested(deepest)).unwrap();
        assert!(load(&path).unwrap().warning.is_none());
        assert!(save(&path, &nested(300)).is_err());
        fs::remove_file(&path).unwrap();
        fs::remove_file(backup(&path)).unwrap();
    }
}
