//! How often the class that is meant is the one said, or among the first.

use super::{Metric, NOT_A_NUMBER, class_numbers, nothing_seen, refuse};
use crate::error::{ErrorKind, Fault, Result};
use crate::ops::cross_entropy::class_axis;
use crate::tensor::{Tensor, no_grad};

/// The class number that stands for "does not count", as in [`cross_entropy`](crate::cross_entropy).
pub(super) const IGNORED: i64 = -100;

/// What was said and what was meant, for each element that counts.
///
/// Scores of classes, `[n, classes, ...]` for targets `[n, ...]`, say the first of the highest. Floats in the shape of the
/// targets are scores of a yes: above `threshold` it is class 1. Whole numbers in that shape are classes already.
#[track_caller]
pub(super) fn predictions(
    metric: &'static str,
    output: &Tensor,
    target: &Tensor,
    threshold: f64,
    ignored: i64,
) -> Result<Vec<(i64, i64)>> {
    let (scores, meant) = (output.shape()?, target.shape()?);
    let said = if scores == meant && output.dtype()?.is_float() {
        no_nan(metric, output, target)?;
        no_grad(|| output.greater(threshold)).to_vec::<i64>()?
    } else if scores == meant {
        output.to_vec::<i64>()?
    } else {
        check_scores(metric, output, target)?;
        no_nan(metric, output, target)?;
        no_grad(|| output.argmax_over(class_axis(scores.len()) as isize)).to_vec::<i64>()?
    };
    let meant = class_numbers(metric, output, target)?;
    Ok(said.into_iter().zip(meant).filter(|(_, meant)| *meant != ignored).collect())
}

/// Scores are those of the targets with an axis of classes more.
#[track_caller]
fn check_scores(metric: &'static str, output: &Tensor, target: &Tensor) -> Result<()> {
    let (scores, meant) = (output.shape()?, target.shape()?);
    let axis = class_axis(scores.len());
    let left = scores.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, size)| size);
    if scores.is_empty() || !left.eq(meant.iter()) || scores.get(axis) == Some(&0) {
        let what = "the sizes of scores and targets do not fit";
        let help = "scores are [n, classes, ...] for targets [n, ...], or have the targets' own sizes";
        return Err(refuse(metric, Fault::shape(what, help), output, target));
    }
    if !output.dtype()?.is_float() {
        let fault = Fault::dtype("scores of classes are whole numbers", "give floats: logits or probabilities");
        return Err(refuse(metric, fault, output, target));
    }
    Ok(())
}

#[track_caller]
fn no_nan(metric: &'static str, output: &Tensor, target: &Tensor) -> Result<()> {
    if no_grad(|| output.is_nan().any()).item()? != 0.0 {
        let fault = Fault::new(ErrorKind::NonFinite, "a score is NaN", NOT_A_NUMBER);
        return Err(refuse(metric, fault, output, target));
    }
    Ok(())
}

/// The share of right answers.
///
/// The output are scores `[n, classes, ...]` for targets `[n, ...]` (the first of the highest is what is said), or, in the
/// targets' own shape, class numbers or scores of a yes (above 0, as logits are; see
/// [`with_threshold`](Accuracy::with_threshold)). Targets of -100 do not count.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::metrics::{Accuracy, Metric};
/// let mut accuracy = Accuracy::new();
/// accuracy.update(&Tensor::from([0.7, -0.2, 1.5, -2.0]), &Tensor::from([1, 1, 1, 0]))?;
/// assert_eq!(accuracy.value()?, 0.75);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Accuracy {
    right: u64,
    count: u64,
    threshold: f64,
    ignored: i64,
}

impl Default for Accuracy {
    fn default() -> Accuracy {
        Accuracy::new()
    }
}

impl Accuracy {
    /// Of nothing yet.
    pub fn new() -> Accuracy {
        Accuracy { right: 0, count: 0, threshold: 0.0, ignored: IGNORED }
    }
    /// Scores of a yes mean it above this number: 0.5 for probabilities (default 0, for logits).
    pub fn with_threshold(self, threshold: f64) -> Accuracy {
        Accuracy { threshold, ..self }
    }
    /// Targets of this class do not count (default -100).
    pub fn with_ignore_index(self, class: i64) -> Accuracy {
        Accuracy { ignored: class, ..self }
    }
    /// The share, between 0 and 1.
    #[track_caller]
    pub fn value(&self) -> Result<f64> {
        if self.count == 0 { Err(nothing_seen("accuracy")) } else { Ok(self.right as f64 / self.count as f64) }
    }
    /// How many answers were judged.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Metric for Accuracy {
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        let pairs = predictions("accuracy", output, target, self.threshold, self.ignored)?;
        self.right += pairs.iter().filter(|(said, meant)| said == meant).count() as u64;
        self.count += pairs.len() as u64;
        Ok(())
    }
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>> {
        Ok(vec![("accuracy".to_string(), self.value()?)])
    }
    fn reset(&mut self) {
        (self.right, self.count) = (0, 0);
    }
}

/// The share of answers whose class is among the `k` highest scores; of equal scores the earlier class comes first.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::metrics::{Metric, TopK};
/// let mut top = TopK::new(2);
/// let scores = Tensor::from([[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.2, 0.4, 0.3], [0.7, 0.2, 0.1]]);
/// top.update(&scores, &Tensor::from([0, 1, 2, 2]))?;
/// assert_eq!(top.value()?, 0.75);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    right: u64,
    count: u64,
    ignored: i64,
}

impl TopK {
    /// Of nothing yet.
    pub fn new(k: usize) -> TopK {
        TopK { k, right: 0, count: 0, ignored: IGNORED }
    }
    /// Targets of this class do not count (default -100).
    pub fn with_ignore_index(self, class: i64) -> TopK {
        TopK { ignored: class, ..self }
    }
    /// The share, between 0 and 1.
    #[track_caller]
    pub fn value(&self) -> Result<f64> {
        if self.count == 0 { Err(nothing_seen("top_k")) } else { Ok(self.right as f64 / self.count as f64) }
    }
}

impl Metric for TopK {
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        check_scores("top_k", output, target)?;
        no_nan("top_k", output, target)?;
        let shape = output.shape()?;
        let axis = class_axis(shape.len());
        let classes = shape.get(axis).copied().unwrap_or_default();
        if self.k == 0 || self.k > classes {
            let what = format!("the first {} of {classes} classes", self.k);
            let fault = Fault::value(what, format!("k lies between 1 and {classes}"));
            return Err(refuse("top_k", fault, output, target));
        }
        let best = no_grad(|| output.topk(self.k, axis as isize, true).1).to_vec::<i64>()?;
        let meant = class_numbers("top_k", output, target)?;
        // Between the k places of an element lie as many others as the axes after the classes have.
        let inner: usize = shape.iter().skip(axis + 1).product();
        for (at, &meant) in meant.iter().enumerate().filter(|(_, meant)| **meant != self.ignored) {
            let first = at / inner.max(1) * self.k * inner + at % inner.max(1);
            let mut places = (0..self.k).filter_map(|place| best.get(first + place * inner));
            self.right += places.any(|&class| class == meant) as u64;
            self.count += 1;
        }
        Ok(())
    }
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>> {
        Ok(vec![(format!("top-{} accuracy", self.k), self.value()?)])
    }
    fn reset(&mut self) {
        (self.right, self.count) = (0, 0);
    }
}
