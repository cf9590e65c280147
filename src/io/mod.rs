//! Files: tensors by name, in the formats that other programs read and write, and checkpoints.
//!
//! A file is hostile until it has been checked: whatever its bytes are, reading it ends in tensors or in an error, never in
//! a panic, in code that it brings along, or in more memory than its size explains. What is written appears whole or not at
//! all.
//!
//! [`load`] reads any of the formats. [`safetensors`] is the one to write; PyTorch and everything around it read it.
//!
//! ```
//! use chainrule::{io, nn::{Init, Linear, Module}};
//! let path = std::env::temp_dir().join("chainrule-tour.safetensors");
//! io::save_model(&path, &Linear::new(3, 2, &mut Init::new().seed(1)))?;
//!
//! let mut model = Linear::new(3, 2, &mut Init::new().seed(2));
//! let report = io::load_model(&path, &mut model)?.strict()?;
//! assert_eq!(report.matched().len(), 2);
//! # std::fs::remove_file(&path).ok();
//! # Ok::<(), chainrule::Error>(())
//! ```

pub(crate) mod atomic;
pub mod checkpoint;
mod checksum;
pub(crate) mod gzip;
mod json;
pub mod npy;
pub mod npz;
pub(crate) mod numbers;
mod pickle;
pub(crate) mod place;
#[cfg(any(feature = "images", feature = "tensorboard"))]
pub(crate) mod png;
pub mod pytorch;
pub mod safetensors;
pub(crate) mod source;
pub(crate) mod tensors;
pub(crate) mod zip;

pub use checkpoint::Checkpoint;
pub use tensors::Tensors;

use crate::error::{Fault, Result};
use crate::nn::{Load, Module};
use crate::tensor::Tensor;
use place::{Place, foreign, system};
use source::{OpenFile, Source};
use std::path::Path;

/// Reads all tensors of a file of any of the formats, told apart by what it holds, not by its name: safetensors (and so
/// checkpoints), PyTorch's, NumPy's (a single array is named `array`).
///
/// ```
/// use chainrule::io;
/// assert_eq!(io::load("tests/fixtures/state_dict.pt")?.get("weight")?.dims()?, [2, 3]);
/// assert_eq!(io::load("tests/fixtures/stored.npz")?.get("x")?.dims()?, [2, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Tensors> {
    let place = Place::of("load", path.as_ref());
    OpenFile::open(path.as_ref()).and_then(|file| read(&file)).map_err(|fault| place.error(fault))
}

fn read(source: &dyn Source) -> Result<Tensors, Fault> {
    let mut start = [0; 16];
    let size = source.length().min(16) as usize;
    source.read(0, start.get_mut(..size).unwrap_or_default())?;
    let tree = |source| {
        let state = pytorch::read(source)?;
        Tensors::from_state(&state).map_err(|error| Fault::new(error.kind(), error.what(), error.help()))
    };
    if start.starts_with(pytorch::OLD_MAGIC) {
        return tree(source);
    }
    if start.starts_with(npy::MAGIC) {
        let mut tensors = Tensors::new();
        tensors.add("array".to_string(), Tensor::from_value(npy::read(source)?))?;
        return Ok(tensors);
    }
    if start.starts_with(b"PK") {
        return if pytorch::is_one(source)? {
            tree(source)
        } else {
            npz::read(source, npz::usual_limit(source.length()))
        };
    }
    if start.get(8) == Some(&b'{') {
        return safetensors::read_all(source);
    }
    let help = "safetensors, files of torch.save, .npy and .npz are read";
    Err(foreign("the file is of no known format", help))
}

/// Writes a model's tensors as safetensors, under their names; the file is there whole or not at all.
///
/// ```
/// use chainrule::{io, nn::{Init, Linear}};
/// let path = std::env::temp_dir().join("chainrule-model.safetensors");
/// io::save_model(&path, &Linear::new(3, 2, &mut Init::new()))?;
/// assert!(io::load(&path)?.names().eq(["weight", "bias"]));
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save_model<M: Module + ?Sized>(path: impl AsRef<Path>, model: &M) -> Result<()> {
    safetensors::save(path, model.tensors()?)
}

/// Gives a model the tensors of a file of any format; the report says what matched. `strict()` makes an error of what did
/// not. To load a part, or under other names, take [`Tensors::under`] or [`Tensors::renamed`] of what [`load`] gives, and
/// hand it to the model's `load_tensors`.
///
/// ```
/// use chainrule::{io, nn::{Init, Linear, Module}};
/// let mut model = Linear::new(3, 2, &mut Init::new());
/// io::load_model("tests/fixtures/state_dict.pt", &mut model)?.strict()?;
///
/// let part = io::load("tests/fixtures/checkpoint.pt")?.under("model.fc.");
/// assert_eq!(model.load_tensors(part).matched(), ["weight", "bias"]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn load_model<M: Module>(path: impl AsRef<Path>, model: &mut M) -> Result<Load> {
    Ok(model.load_tensors(load(path)?))
}

/// Writes a small file that is there whole or not at all: what is not tensors.
#[track_caller]
pub(crate) fn write_file(operation: &'static str, path: &Path, bytes: &[u8]) -> Result<()> {
    let place = Place::of(operation, path);
    let fill =
        |out: &mut dyn std::io::Write| out.write_all(bytes).map_err(|error| system("it cannot be written", &error));
    atomic::write(path, fill, |_| Ok(())).map_err(|fault| place.error(fault))
}

/// A text in quotes, as JSON has it.
pub(crate) fn json_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    json::write_text(&mut quoted, text);
    quoted
}
