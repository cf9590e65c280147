//! Data that needs no download: every set is computed from a seed, and is the same numbers for the same seed.
//!
//! ```
//! use chainrule::data::builtin::{Digits, spirals};
//! let digits = Digits::new(100).with_seed(1).examples()?;
//! assert_eq!((digits.input().dims()?, digits.target().dims()?), ([100, 1, 28, 28], [100]));
//! let spirals = spirals(300, 3, 0.05, 1)?;
//! assert_eq!((spirals.input().dims()?, spirals.target().dims()?), ([300, 2], [300]));
//! # Ok::<(), chainrule::Error>(())
//! ```

mod dice;
mod digits;
mod pen;
mod points;
mod prose;
mod strokes;
mod waves;

pub use digits::Digits;
pub use points::{blobs, circles, moons, spirals};
pub use prose::prose;
pub use waves::Waves;
