//! Files: tensors by name, in the formats that other programs read and write.
//!
//! A file is hostile until it has been checked: whatever its bytes are, reading it ends in tensors or in an error, never in
//! a panic, in code that it brings along, or in more memory than its size explains. What is written appears whole or not at
//! all.

mod atomic;
mod json;
mod numbers;
mod place;
pub mod safetensors;
mod source;
mod tensors;

pub use tensors::Tensors;
