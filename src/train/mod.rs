//! Training: the loop around a model, an optimizer and a loader, and what is told of it.
//!
//! A loop written by hand is short, and nothing here is needed for it:
//!
//! ```
//! use chainrule::data::{Examples, Loader};
//! use chainrule::nn::{Init, Layer, Linear};
//! use chainrule::optim::{AdamW, Optimizer};
//! use chainrule::{Tensor, mse_loss};
//! let loader = Loader::new(Examples::new(&Tensor::ones([20, 3]), &Tensor::ones([20, 1]))?, 5).shuffled(1);
//! let mut model = Linear::new(3, 1, &mut Init::new().seed(1));
//! let mut optimizer = AdamW::new(0.1);
//! for epoch in 0..5 {
//!     for batch in loader.epoch(epoch) {
//!         let batch = batch?;
//!         let loss = mse_loss(&model.forward(&batch.input), &batch.target);
//!         optimizer.step(&mut model, &loss.backward()?)?;
//!     }
//! }
//! # Ok::<(), chainrule::Error>(())
//! ```
//!
//! A [`Trainer`] is that loop with what usually grows around it: validation with [`metrics`], schedules, averages, early
//! stop, checkpoints that go on exactly, a [`History`] to print and to draw, progress. [`evaluate`] and [`predict`] put a
//! trained model to work. Reading order: `trainer` (what can be said), `run` (what is done).

mod ahead;
mod average;
mod evaluate;
#[cfg(feature = "tensorboard")]
#[cfg_attr(docsrs, doc(cfg(feature = "tensorboard")))]
mod events;
mod folder;
mod goal;
mod history;
pub mod metrics;
mod outcome;
mod progress;
mod report;
mod resume;
mod run;
mod snapshot;
mod trainer;

pub use evaluate::{evaluate, predict};
#[cfg(feature = "tensorboard")]
#[cfg_attr(docsrs, doc(cfg(feature = "tensorboard")))]
pub use events::EventFile;
pub use goal::{EarlyStop, Goal};
pub use history::{EpochRecord, History, Measures};
pub use outcome::{BatchSize, Outcome};
pub use progress::Progress;
pub use trainer::{Flow, Trainer, View};

use crate::error::Error;
use std::panic::Location;

/// What went wrong inside of the library went wrong, for the caller, at the line that called the trainer.
fn placed(at: &'static Location<'static>) -> impl Fn(Error) -> Error {
    move |error| error.called_at(at)
}
