//! Explaining: what happened, as pictures.
//!
//! - [`trace()`]: one pass forward and backward, moment by moment: printed, as a page that a browser walks through, as a graph.
//! - [`chart`]: lines and heat maps as SVG, which browsers and README pages show as they are.

pub mod chart;
mod trace;

pub use trace::{At, Leaf, LeafKind, Moment, Operation, Origin, Trace, trace};
