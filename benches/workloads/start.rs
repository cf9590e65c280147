//! What a network starts from, in a file: programs of other frameworks begin with the same numbers.

use chainrule::nn::Module;
use chainrule::{Result, Tensor, io};
use std::path::Path;

/// Writes a model's tensors under their names, and its inputs.
pub(crate) fn write(folder: &Path, name: &str, model: &impl Module, inputs: &[(&str, &Tensor)]) -> Result<()> {
    let inputs = inputs.iter().map(|&(name, tensor)| (name.to_string(), tensor.clone()));
    io::safetensors::save(folder.join(name).with_extension("safetensors"), model.tensors()?.into_iter().chain(inputs))
}
