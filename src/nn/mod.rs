//! Layers: models are plain structs that own their parameters.
//!
//! A layer takes an [`Init`] where it is made and is a [`Layer`] (one tensor in, one out) or has a `forward` of its own.
//! Names, layouts and defaults are PyTorch's, so its files load. Reading order: `module` (what a model is), `linear` (the
//! shortest layer), `running` (what a forward pass may change), `load` (tensors by name).
//!
//! Layers with options have three ways in: `new(sizes, init)` for the usual one, `options(sizes)` followed by `with_*` and
//! `build(init)` where an option changes what is learnt; a layer without parameters is made by `new` and `with_*` alone.

mod activation;
mod init;
mod initial;
mod linear;
mod load;
mod module;
mod path;
mod running;
mod sequential;

pub use activation::{Relu, Tanh};
pub use init::Init;
pub use initial::{Fan, Initial, gain, leaky_gain};
pub use linear::Linear;
pub use load::Load;
pub use module::{Layer, Module, Visit, VisitMut};
pub use path::{Path, matches};
pub use running::Running;
pub use sequential::Sequential;
