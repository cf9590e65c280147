//! Means over a set that comes in batches of any size.

use super::{Metric, nothing_seen};
use crate::error::Result;
use crate::loss::{CrossEntropy, Reduction};
use crate::tensor::{Tensor, no_grad};
use crate::train::placed;
use std::panic::Location;

/// A mean of numbers that weigh differently: of the losses of batches, by their sizes.
///
/// ```
/// use chainrule::train::metrics::Mean;
/// let mut loss = Mean::new();
/// loss.add(1.0, 32.0);
/// loss.add(2.0, 8.0);
/// assert_eq!(loss.value()?, 1.2);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    pub(crate) sum: f64,
    pub(crate) weight: f64,
}

impl Mean {
    /// Of nothing yet.
    pub fn new() -> Mean {
        Mean::default()
    }
    /// Takes up one more number; one that weighs nothing changes nothing.
    pub fn add(&mut self, number: f64, weight: f64) {
        if weight != 0.0 {
            self.sum += number * weight;
            self.weight += weight;
        }
    }
    /// The mean.
    #[track_caller]
    pub fn value(&self) -> Result<f64> {
        if self.weight == 0.0 { Err(nothing_seen("mean")) } else { Ok(self.sum / self.weight) }
    }
}

/// How many classes a model wavers between: `e` to the mean cross entropy, over all elements (words, characters) of a set.
///
/// The output are logits `[n, classes, ...]`, the targets class numbers `[n, ...]`; those of -100 do not count.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::metrics::{Metric, Perplexity};
/// let mut perplexity = Perplexity::new();
/// perplexity.update(&Tensor::zeros([5, 7]), &Tensor::from([0, 6, 3, 2, -100]))?;
/// assert!((perplexity.value()? - 7.0).abs() < 1e-5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Perplexity {
    entropy: Mean,
    ignored: i64,
}

impl Default for Perplexity {
    fn default() -> Perplexity {
        Perplexity::new()
    }
}

impl Perplexity {
    /// Of nothing yet.
    pub fn new() -> Perplexity {
        Perplexity { entropy: Mean::new(), ignored: super::classes::IGNORED }
    }
    /// Targets of this class do not count (default -100).
    pub fn with_ignore_index(self, class: i64) -> Perplexity {
        Perplexity { ignored: class, ..self }
    }
    /// The perplexity: at least 1; a model that knows nothing has as many as there are classes.
    #[track_caller]
    pub fn value(&self) -> Result<f64> {
        if self.entropy.weight == 0.0 { Err(nothing_seen("perplexity")) } else { Ok(self.entropy.value()?.exp()) }
    }
}

impl Metric for Perplexity {
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        let loss = CrossEntropy::new().with_reduction(Reduction::Sum).with_ignore_index(self.ignored);
        let place = placed(Location::caller());
        let sum = no_grad(|| loss.of(output, target)).item().map_err(&place)?;
        let counted = no_grad(|| target.not_equal(self.ignored as f64).count_nonzero()).item().map_err(&place)?;
        self.entropy.sum += sum;
        self.entropy.weight += counted;
        Ok(())
    }
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>> {
        Ok(vec![("perplexity".to_string(), self.value()?)])
    }
    fn reset(&mut self) {
        self.entropy = Mean::new();
    }
}
