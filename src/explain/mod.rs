//! Explaining: what happened, as pictures.
//!
//! [`chart`] draws lines and heat maps as SVG, which browsers and README pages show as they are.

pub mod chart;
