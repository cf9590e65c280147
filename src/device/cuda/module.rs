//! Kernels by name: compiled by the driver when one is first wanted, and what each takes.

use super::driver::{Function, Module};
use super::{Cuda, lock};
use crate::error::Fault;
use std::collections::HashMap;
use std::sync::Mutex;

/// The PTX of one file of kernels, which stands in the program deflated.
pub(super) struct Source {
    /// The file's name, without its ending.
    pub(super) name: &'static str,
    pub(super) packed: &'static [u8],
}

/// The [`Source`] of `kernels/NAME.cu`.
macro_rules! source {
    ($name:literal) => {
        $crate::device::cuda::module::Source {
            name: $name,
            packed: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/ptx/", $name, ".ptx.z")),
        }
    };
}
pub(super) use source;

/// No file of kernels has as much text.
const MOST: usize = 64 << 20;

impl Source {
    /// Its text.
    fn text(&self) -> Result<String, Fault> {
        unpacked(self.name, self.packed, MOST)
    }
}

/// The text of the kernels of this name, of at most so many bytes: whole, and from the file that it should be from.
fn unpacked(name: &str, packed: &[u8], most: usize) -> Result<String, Fault> {
    let wrong = |why: String| Fault::defect(format!("the embedded kernels of {name} {why}"));
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, most)
        .map_err(|error| wrong(format!("cannot be inflated to at most {most} bytes: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("are no text".to_string()))?;
    let written = text.strip_prefix("// ").and_then(|rest| rest.split_once(' '));
    let is_hash = |hash: &str| hash.len() == 32 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    match written {
        Some((hash, rest)) if is_hash(hash) && rest.starts_with(&format!("of {name}.cu:")) => Ok(text),
        _ => Err(wrong(format!("begin with {:?}", text.lines().next().unwrap_or_default()))),
    }
}

/// One parameter of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// An address or a whole number of so many bytes.
    Whole(usize),
    /// A float of so many bytes.
    Float(usize),
    /// Bytes that mean something to both sides: a [`View`](super::launch::View).
    Block(usize),
}

/// A kernel that can be launched.
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) function: Function,
    pub(super) parameters: Vec<Parameter>,
}

/// A module, and what each of its kernels takes.
struct Loaded {
    module: Module,
    entries: HashMap<String, Vec<Parameter>>,
}

/// What one GPU has loaded.
#[derive(Default)]
pub(super) struct Kernels {
    modules: Mutex<HashMap<&'static str, Loaded>>,
    found: Mutex<HashMap<String, &'static Kernel>>,
}

impl Cuda {
    /// A kernel of a file.
    pub(super) fn kernel(self, source: &Source, name: &str) -> Result<&'static Kernel, Fault> {
        if let Some(kernel) = lock(&self.0.kernels.found).get(name) {
            return Ok(kernel);
        }
        let mut modules = lock(&self.0.kernels.modules);
        let loaded = match modules.get(source.name) {
            Some(loaded) => loaded,
            None => {
                let loaded = self.load(source.name, &source.text()?)?;
                modules.entry(source.name).or_insert(loaded)
            }
        };
        self.keep(name, name, loaded)
    }
    /// A kernel that was written for one purpose: `key` names it among all, `entry` in its text. The text is written where the
    /// kernel is not there yet.
    pub(super) fn written(
        self,
        key: &str,
        entry: &str,
        write: impl FnOnce() -> Result<String, Fault>,
    ) -> Result<&'static Kernel, Fault> {
        if let Some(kernel) = lock(&self.0.kernels.found).get(key) {
            return Ok(kernel);
        }
        self.keep(key, entry, &self.load(key, &write()?)?)
    }
    fn load(self, name: &str, text: &str) -> Result<Loaded, Fault> {
        let entries = entries(text)
            .ok_or_else(|| Fault::defect(format!("the parameters of a kernel of {name} cannot be read")))?;
        Ok(Loaded { module: self.0.gpu.load(name, text)?, entries })
    }
    fn keep(self, key: &str, entry: &str, loaded: &Loaded) -> Result<&'static Kernel, Fault> {
        let parameters = loaded.entries.get(entry).cloned();
        let parameters =
            parameters.ok_or_else(|| Fault::defect(format!("there is no kernel {entry} where {key} is")))?;
        let function = self.0.gpu.function(loaded.module, entry)?;
        // There are as many as there are kernels, and they are wanted until the program ends.
        let kernel: &'static Kernel = Box::leak(Box::new(Kernel { name: key.to_string(), function, parameters }));
        lock(&self.0.kernels.found).insert(key.to_string(), kernel);
        Ok(kernel)
    }
}

/// What each kernel of a text takes, by its name.
fn entries(text: &str) -> Option<HashMap<String, Vec<Parameter>>> {
    let declared = text.split(".entry").skip(1).map(|rest| {
        let (name, rest) = rest.split_once('(')?;
        let list = rest.split(')').next()?.trim();
        let parameters = if list.is_empty() { Some(Vec::new()) } else { list.split(',').map(parameter).collect() };
        Some((name.trim().to_string(), parameters?))
    });
    declared.collect()
}

/// `.param .u64 name` or `.param .align 8 .b8 name[136]`.
fn parameter(line: &str) -> Option<Parameter> {
    let mut words = line.split_whitespace();
    let kind = words.find(|word| matches!(word.as_bytes(), [b'.', b'u' | b's' | b'b' | b'f', b'0'..=b'9', ..]))?;
    let bytes = kind[2..].parse::<usize>().ok()? / 8;
    if let Some((_, length)) = line.split_once('[') {
        let length = length.split(']').next()?.trim().parse::<usize>().ok()?;
        return Some(Parameter::Block(length * bytes));
    }
    Some(if kind.starts_with(".f") { Parameter::Float(bytes) } else { Parameter::Whole(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_from_the_text() {
        let text = "
            .visible .entry copy_more(\n.param .u64 a\n)\n{ }
            .visible .entry copy(
                .param .u64 copy_param_0,
                .param .u64 .ptr .align 1 copy_param_1,
                .param .align 8 .b8 copy_param_2[136],
                .param .u32 copy_param_3,
                .param .f32 copy_param_4
            )
            .maxntid 256, 1, 1
            { ret; }
            .visible .entry nothing() { ret; }";
        use Parameter::{Block, Float, Whole};
        let entries = entries(text).unwrap();
        assert_eq!(entries["copy"], [Whole(8), Whole(8), Block(136), Whole(4), Float(4)]);
        assert_eq!((&entries["copy_more"], entries["nothing"].len(), entries.len()), (&vec![Whole(8)], 0, 3));
    }

    #[test]
    fn embedded_kernels_are_whole_or_an_error_says_what_is_wrong() {
        let Source { name, packed } = source!("bits");
        let said = |packed: &[u8], most| unpacked(name, packed, most).map_err(|fault| fault.what().to_string());
        let text = said(packed, MOST).unwrap();
        assert!(text.contains(".entry") && text.len() > 4 * packed.len());
        let fails = |packed: &[u8], most, why: &str| {
            let error = said(packed, most).unwrap_err();
            assert!(error.contains("the embedded kernels of bits") && error.contains(why), "{error}");
        };
        fails(packed, text.len() - 1, "to at most");
        fails(&packed[..packed.len() / 2], MOST, "cannot be inflated");
        fails(b"", MOST, "cannot be inflated");
        for at in (0..packed.len()).step_by(97) {
            let mut broken = packed.to_vec();
            broken[at] ^= 0x10;
            fails(&broken, MOST, "");
        }
        assert!(unpacked("rows", packed, MOST).unwrap_err().what().contains("begin with \"// "));
        let other = miniz_oxide::deflate::compress_to_vec_zlib(b"// 0123 of bits.cu: .entry", 6);
        fails(&other, MOST, "begin with");
    }

    #[test]
    fn all_embedded_kernels_can_be_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/ptx");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".ptx.z").unwrap().to_string();
            let text = unpacked(&name, &std::fs::read(&path).unwrap(), MOST).unwrap();
            assert!(entries(&text).is_some_and(|entries| !entries.is_empty()), "{name}");
        }
    }
}
