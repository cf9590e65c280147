//! The files of the reference cases: a manifest and, for each group, a safetensors file.
#![allow(missing_docs, unreachable_pub)] // a test is no library

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Numbers of any type, as f64, in a shape.
pub struct Numbers {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// The manifest and the files of its groups.
pub struct Store {
    pub manifest: Value,
    groups: HashMap<String, Vec<u8>>,
}

/// The folder of the cases: `CHAINRULE_REFERENCE`, or `../shared/reference`, or what is committed here.
pub fn folder() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("CHAINRULE_REFERENCE").map(PathBuf::from);
    let places = named.map_or_else(|| vec![home.join("../shared/reference"), excerpt()], |folder| vec![folder]);
    places
        .into_iter()
        .flat_map(|place| [place.join("cases"), place])
        .find(|place| place.join("manifest.json").is_file())
}

/// The cases that are committed with the tests.
pub fn excerpt() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference_excerpt")
}

impl Store {
    /// Reads the manifest and every group it names.
    pub fn open(folder: &Path) -> Store {
        let read = |name: &str| {
            std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", folder.join(name).display()))
        };
        let manifest: Value = serde_json::from_slice(&read("manifest.json")).expect("the manifest is JSON");
        let mut groups = HashMap::new();
        for case in manifest["cases"].as_array().expect("the manifest has cases") {
            let group = case["group"].as_str().expect("a case has a group");
            groups.entry(group.to_string()).or_insert_with(|| read(&format!("{group}.safetensors")));
        }
        Store { manifest, groups }
    }
    /// One group's file, its header read.
    pub fn group(&self, name: &str) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.groups[name]).expect("a safetensors file")
    }
}

/// The tensor of this name.
pub fn numbers(file: &SafeTensors<'_>, key: &str) -> Result<Numbers, String> {
    let view = file.tensor(key).map_err(|_| format!("the files lack {key}"))?;
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b) as f64).collect(),
        Dtype::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Dtype::BOOL => bytes.iter().map(|b| f64::from(*b)).collect(),
        other => return Err(format!("{key} has the type {other:?}")),
    };
    Ok(Numbers { shape: view.shape().to_vec(), values })
}
