//! Data: where examples come from, and how they reach a model in batches.
//!
//! A [`Dataset`] gives items by number; a [`Loader`] gives them in batches, in an order that seed and epoch decide.
//!
//! ```
//! use chainrule::data::{Examples, Loader};
//! use chainrule::Tensor;
//! let examples = Examples::new(&Tensor::arange(10).reshape([10, 1]), &Tensor::arange(10))?;
//! let loader = Loader::new(examples, 4).shuffled(7);
//! let mut seen = 0;
//! for batch in loader.epoch(0) {
//!     let batch = batch?;
//!     assert_eq!(batch.input.reshape(-1).to_vec::<i64>()?, batch.target.to_vec::<i64>()?);
//!     seen += batch.target.dims::<1>()?[0];
//! }
//! assert_eq!((seen, loader.len()), (10, 3));
//! # Ok::<(), chainrule::Error>(())
//! ```

pub mod builtin;
mod categories;
mod check;
mod collate;
mod csv;
mod dataset;
mod examples;
pub mod idx;
#[cfg(feature = "images")]
#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
pub mod image;
mod loader;
mod mapped;
mod order;
mod padded;
mod picture;
mod prefetch;
mod progress;
mod sampling;
mod split;
mod statistics;
mod subset;
mod table;
mod text;
mod transform;

pub use categories::Categories;
pub use check::{Range, Report, Spot, check, suspicious};
pub use collate::{Collate, Input};
pub use csv::Csv;
pub use dataset::{Chance, Dataset};
pub use examples::{Batch, Example, Examples, Rows};
pub use loader::{Epoch, Loader};
pub use mapped::{Mapped, MappedBatches};
pub use order::{InOrder, Listed, Order, Shuffled};
pub use padded::{Padded, Ragged};
pub use sampling::{Balanced, ByLength, Stratified, Weighted};
pub use split::{Fold, Folds, Split};
pub use statistics::{Scaling, Statistics};
pub use subset::{Concat, Subset};
pub use table::{Fill, Kind, Row, Table};
pub use text::{Alphabet, Windows, read_text};
pub use transform::{Affine, Transform, Transformed};
