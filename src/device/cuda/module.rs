//! Kernels by name: compiled by the driver when one is first wanted, and what each takes.

use super::driver::{Function, Module};
use super::{Cuda, lock};
use crate::error::Fault;
use std::collections::HashMap;
use std::sync::Mutex;

/// The PTX text of one file of kernels, which stands in the program.
pub(super) struct Source {
    /// The file's name, without its ending.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
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

/// What one GPU has loaded.
#[derive(Default)]
pub(super) struct Kernels {
    modules: Mutex<HashMap<&'static str, Module>>,
    found: Mutex<HashMap<String, &'static Kernel>>,
}

impl Cuda {
    /// A kernel of a file.
    pub(super) fn kernel(self, source: &Source, name: &str) -> Result<&'static Kernel, Fault> {
        if let Some(kernel) = lock(&self.0.kernels.found).get(name) {
            return Ok(kernel);
        }
        let gpu = &self.0.gpu;
        let module = {
            let mut modules = lock(&self.0.kernels.modules);
            match modules.get(source.name) {
                Some(module) => *module,
                None => {
                    let module = gpu.load(source.name, source.text)?;
                    modules.insert(source.name, module);
                    module
                }
            }
        };
        self.keep(name, name, module, source.text)
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
        let text = write()?;
        let module = self.0.gpu.load(key, &text)?;
        self.keep(key, entry, module, &text)
    }
    fn keep(self, key: &str, entry: &str, module: Module, text: &str) -> Result<&'static Kernel, Fault> {
        let parameters = parameters(text, entry)
            .ok_or_else(|| Fault::defect(format!("the text of {key} has no parameters of a kernel {entry}")))?;
        let function = self.0.gpu.function(module, entry)?;
        // There are as many as there are kernels, and they are wanted until the program ends.
        let kernel: &'static Kernel = Box::leak(Box::new(Kernel { name: key.to_string(), function, parameters }));
        lock(&self.0.kernels.found).insert(key.to_string(), kernel);
        Ok(kernel)
    }
}

/// What the kernel of this name takes, read from its text.
fn parameters(text: &str, entry: &str) -> Option<Vec<Parameter>> {
    let start = text.match_indices(".entry").find_map(|(at, word)| {
        let rest = text[at + word.len()..].trim_start().strip_prefix(entry)?.trim_start();
        rest.strip_prefix('(')
    });
    let list = start?.split(')').next()?.trim();
    if list.is_empty() {
        return Some(Vec::new());
    }
    list.split(',').map(parameter).collect()
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
        assert_eq!(parameters(text, "copy").unwrap(), [Whole(8), Whole(8), Block(136), Whole(4), Float(4)]);
        assert_eq!(parameters(text, "nothing").unwrap(), []);
        assert_eq!(parameters(text, "cop"), None);
    }
}
