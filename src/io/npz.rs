//! Several of NumPy's arrays in one archive.

use super::place::{Place, foreign};
use super::source::{OpenFile, Source};
use super::tensors::Tensors;
use super::zip::{Archive, Writer};
use super::{atomic, npy};
use crate::device::Value;
use crate::error::{Fault, Result};
use crate::tensor::Tensor;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::path::Path;

const ENDING: &str = ".npy";

/// How many bytes the compressed arrays of a file may become, unless the caller says otherwise: ample for arrays of
/// numbers, far too little for a file that was made to fill the memory.
pub(super) fn usual_limit(file: u64) -> u64 {
    (256 << 20) + file.saturating_mul(32)
}

/// Reads all arrays of an archive (`numpy.savez`, `numpy.savez_compressed`).
///
/// Compressed arrays may become 256 MiB and 32 times the file; [`load_up_to`] takes another limit.
///
/// ```
/// use chainrule::{Tensor, io::npz};
/// let path = std::env::temp_dir().join("chainrule-example.npz");
/// npz::save(&path, [("x", &Tensor::zeros([2, 3])), ("y", &Tensor::from([1, 2]))])?;
/// let arrays = npz::load(&path)?;
/// assert_eq!(arrays.get("y")?.to_vec::<i64>()?, [1, 2]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Tensors> {
    let place = Place::of("npz", path.as_ref());
    let tensors = OpenFile::open(path.as_ref()).and_then(|file| read(&file, usual_limit(file.length())));
    tensors.map_err(|fault| place.error(fault))
}

/// As [`load`]; compressed arrays may become so many bytes in all.
///
/// ```
/// use chainrule::{Tensor, io::npz};
/// let path = std::env::temp_dir().join("chainrule-limit.npz");
/// npz::save(&path, [("x", &Tensor::zeros([2, 3]))])?;
/// assert_eq!(npz::load_up_to(&path, 1 << 40)?.len(), 1);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load_up_to(path: impl AsRef<Path>, bytes: u64) -> Result<Tensors> {
    let place = Place::of("npz", path.as_ref());
    let tensors = OpenFile::open(path.as_ref()).and_then(|file| read(&file, bytes));
    tensors.map_err(|fault| place.error(fault))
}

/// Reads all arrays of an archive that stands in memory.
///
/// ```
/// use chainrule::{Tensor, io::npz};
/// let bytes = npz::to_bytes([("x", &Tensor::from([1.0]))])?;
/// assert_eq!(npz::from_bytes(&bytes)?.get("x")?.item()?, 1.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<Tensors> {
    let place = Place::bytes("npz");
    read(&bytes, usual_limit(bytes.len() as u64)).map_err(|fault| place.error(fault))
}

pub(super) fn read(source: &dyn Source, limit: u64) -> Result<Tensors, Fault> {
    let mut archive = Archive::open(source, limit)?;
    let members: Vec<String> = archive.members().iter().map(|member| member.name.clone()).collect();
    let mut tensors = Tensors::new();
    for member in &members {
        let Some(name) = member.strip_suffix(ENDING) else {
            let what = format!("the archive has a member {:?}", super::tensors::shown(member));
            return Err(foreign(what, "an archive of arrays has members that end in .npy only"));
        };
        let named = |fault: Fault| fault.saying(format!("{:?}: {}", super::tensors::shown(name), fault.what()));
        let value = archive.read(member).and_then(|content| npy::read(&content)).map_err(named)?;
        tensors.add(name.to_string(), Tensor::from_value(value))?;
    }
    Ok(tensors)
}

/// Writes arrays as they are (`numpy.load` reads them); the file is there whole or not at all.
///
/// ```
/// use chainrule::{Tensor, io::npz};
/// let path = std::env::temp_dir().join("chainrule-save.npz");
/// npz::save(&path, [("x", &Tensor::zeros([2]))])?;
/// assert!(npz::load(&path)?.contains("x"));
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save<N: AsRef<str>, T: Borrow<Tensor>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, T)>,
) -> Result<()> {
    let place = Place::of("npz", path.as_ref());
    let arrays = collect(tensors, &place)?;
    atomic::write(path.as_ref(), |out| write(&arrays, false, out), |_| Ok(())).map_err(|fault| place.error(fault))
}

/// As [`save`], compressed.
///
/// ```
/// use chainrule::{Tensor, io::npz};
/// let path = std::env::temp_dir().join("chainrule-compressed.npz");
/// npz::save_compressed(&path, [("x", &Tensor::zeros([100, 100]))])?;
/// assert!(std::fs::metadata(&path).is_ok_and(|file| file.len() < 1000));
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[cfg(feature = "deflate")]
#[track_caller]
pub fn save_compressed<N: AsRef<str>, T: Borrow<Tensor>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, T)>,
) -> Result<()> {
    let place = Place::of("npz", path.as_ref());
    let arrays = collect(tensors, &place)?;
    atomic::write(path.as_ref(), |out| write(&arrays, true, out), |_| Ok(())).map_err(|fault| place.error(fault))
}

/// The bytes of an archive of arrays.
///
/// ```
/// use chainrule::{Tensor, io::npz};
/// assert!(npz::to_bytes([("x", &Tensor::zeros([2]))])?.starts_with(b"PK"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn to_bytes<N: AsRef<str>, T: Borrow<Tensor>>(tensors: impl IntoIterator<Item = (N, T)>) -> Result<Vec<u8>> {
    let place = Place::bytes("npz");
    let arrays = collect(tensors, &place)?;
    let mut bytes = Vec::new();
    write(&arrays, false, &mut bytes).map_err(|fault| place.error(fault))?;
    Ok(bytes)
}

fn collect<N: AsRef<str>, T: Borrow<Tensor>>(
    tensors: impl IntoIterator<Item = (N, T)>,
    place: &Place,
) -> Result<Vec<(String, Value)>> {
    let mut names = HashSet::new();
    let mut arrays = Vec::new();
    for (name, tensor) in tensors {
        let name = name.as_ref().to_string();
        if !names.insert(name.clone()) {
            let what = format!("there are two arrays named {name:?}");
            return Err(place.error(Fault::value(what, "every array needs a name of its own")));
        }
        arrays.push((name, tensor.borrow().value()?.clone()));
    }
    Ok(arrays)
}

fn write(arrays: &[(String, Value)], compressed: bool, out: &mut dyn std::io::Write) -> Result<(), Fault> {
    let mut writer = Writer::new(out);
    for (name, value) in arrays {
        writer.add(&format!("{name}{ENDING}"), compressed, |sink| npy::write(value, sink))?;
    }
    writer.finish()
}
