//! How well scores put what is meant before what is not, whatever the threshold.

use super::{Metric, class_numbers, nothing_seen, numbers, refuse};
use crate::error::{Error, Fault, Result};
use crate::layout::put_in_order;
use crate::tensor::{Tensor, no_grad};
use crate::train::placed;
use std::panic::Location;

/// The scores seen for each class, and whether the class was meant.
#[derive(Clone, Debug)]
struct Scores {
    name: &'static str,
    /// One list for a question of yes or no, else one for each class.
    lists: Vec<Vec<(f64, bool)>>,
    classes: Option<usize>,
    softmax: bool,
}

impl Scores {
    fn new(name: &'static str, classes: Option<usize>) -> Scores {
        Scores { name, lists: Vec::new(), classes, softmax: false }
    }
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        let softened = match self.softmax {
            true => Some(no_grad(|| output.softmax(-1)).checked().map_err(placed(Location::caller()))?),
            false => None,
        };
        let scores = numbers(self.name, "output", softened.as_ref().unwrap_or(output), target)?;
        let meant = class_numbers(self.name, output, target)?;
        let wanted = meant.len().saturating_mul(self.classes.unwrap_or(1));
        let fits = match self.classes {
            Some(classes) => output.shape()?.last() == Some(&classes) && target.rank()? == 1,
            None => true,
        };
        if !fits || scores.len() != wanted {
            let (what, help) = match self.classes {
                Some(classes) => (
                    format!("scores of {classes} classes for each target were expected"),
                    format!("give scores [n, {classes}] for targets [n]"),
                ),
                None => ("one score for each target was expected".to_string(), "give scores [n] or [n, 1]".to_string()),
            };
            return Err(refuse(self.name, Fault::shape(what, help), output, target));
        }
        let most = self.classes.unwrap_or(2) as i64;
        if let Some(class) = meant.iter().find(|class| !(0..most).contains(class)) {
            let fault = Fault::value(format!("a target is {class}"), format!("it lies between 0 and {}", most - 1));
            return Err(refuse(self.name, fault, output, target));
        }
        // Lists for classes that scores were given of, however many a caller spoke of.
        if !meant.is_empty() {
            self.lists.resize(self.classes.unwrap_or(1), Vec::new());
        }
        let Some(classes) = self.classes else {
            if let Some(list) = self.lists.first_mut() {
                list.extend(scores.iter().zip(&meant).map(|(&score, &meant)| (score, meant == 1)));
            }
            return Ok(());
        };
        for row in scores.chunks(classes.max(1)) {
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > 1e-2 {
                let fault = Fault::value(
                    format!("the scores of a target sum to {sum}, not to 1"),
                    "scores of several classes are compared across targets: give probabilities, or logits with_softmax()",
                );
                return Err(refuse(self.name, fault, output, target));
            }
        }
        for (row, &meant) in scores.chunks(classes.max(1)).zip(&meant) {
            for (class, (list, &score)) in self.lists.iter_mut().zip(row).enumerate() {
                list.push((score, meant == class as i64));
            }
        }
        Ok(())
    }
    /// A measure of each list, averaged; it is given groups of equal scores, the highest first, as (meant, not meant).
    #[track_caller]
    fn average(&self, needs_both: bool, of: impl Fn(&[(u64, u64)]) -> f64) -> Result<f64> {
        if self.lists.is_empty() {
            return Err(nothing_seen(self.name));
        }
        let mut sum = 0.0;
        for (class, list) in self.lists.iter().enumerate() {
            if list.is_empty() {
                return Err(nothing_seen(self.name));
            }
            let positives = list.iter().filter(|(_, meant)| *meant).count();
            if positives == 0 || needs_both && positives == list.len() {
                let of_class = self.classes.map(|_| format!(" of class {class}")).unwrap_or_default();
                let what = match positives {
                    0 => format!("there is no example{of_class} among {} targets", list.len()),
                    _ => format!(
                        "all {} targets are{}",
                        list.len(),
                        if self.classes.is_some() { of_class } else { " 1".into() }
                    ),
                };
                return Err(Error::new(
                    self.name,
                    Fault::value(what, "it compares examples with others: give a set with both"),
                ));
            }
            let mut sorted = list.clone();
            put_in_order(&mut sorted, &|a, b| b.0.total_cmp(&a.0));
            let groups: Vec<(u64, u64)> = sorted
                .chunk_by(|a, b| a.0 == b.0)
                .map(|group| {
                    let meant = group.iter().filter(|(_, meant)| *meant).count() as u64;
                    (meant, group.len() as u64 - meant)
                })
                .collect();
            sum += of(&groups);
        }
        Ok(sum / self.lists.len() as f64)
    }
}

macro_rules! ranking {
    (
        $(#[$doc:meta])*
        $Name:ident $name:literal $label:literal
        needs_both $needs_both:literal of $of:path
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $Name {
            scores: Scores,
        }

        impl Default for $Name {
            fn default() -> $Name {
                $Name::new()
            }
        }

        impl $Name {
            /// For a question of yes or no: scores `[n]` (logits or probabilities, only their order counts), targets 0 and 1.
            pub fn new() -> $Name {
                $Name { scores: Scores::new($name, None) }
            }
            /// For several classes, each against all others, averaged over the classes: probabilities `[n, classes]`,
            /// targets `[n]`.
            pub fn one_vs_rest(classes: usize) -> $Name {
                $Name { scores: Scores::new($name, Some(classes)) }
            }
            /// The output are logits of classes, which a softmax makes probabilities.
            pub fn with_softmax(mut self) -> $Name {
                self.scores.softmax = self.scores.classes.is_some();
                self
            }
            /// The measure, between 0 and 1; an error where a class has no example, or no other.
            #[track_caller]
            pub fn value(&self) -> Result<f64> {
                self.scores.average($needs_both, $of)
            }
        }

        impl Metric for $Name {
            #[track_caller]
            fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
                self.scores.update(output, target)
            }
            #[track_caller]
            fn measures(&self) -> Result<Vec<(String, f64)>> {
                Ok(vec![($label.to_string(), self.value()?)])
            }
            fn reset(&mut self) {
                self.scores.lists.iter_mut().for_each(Vec::clear);
            }
        }
    };
}
ranking! {
    /// The area under the receiver's operating curve: how probable it is that an example scores higher than another that is
    /// none. Equal scores count half. All scores are kept until [`reset`](Metric::reset).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::train::metrics::{Metric, RocAuc};
    /// let mut area = RocAuc::new();
    /// area.update(&Tensor::from([0.1, 0.4, 0.35, 0.8]), &Tensor::from([0, 0, 1, 1]))?;
    /// assert_eq!(area.value()?, 0.75);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    RocAuc "roc_auc" "ROC AUC" needs_both true of area
}
ranking! {
    /// The mean precision over the examples found, as the threshold falls: the area under steps of precision over recall.
    /// All scores are kept until [`reset`](Metric::reset).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::train::metrics::{AveragePrecision, Metric};
    /// let mut average = AveragePrecision::new();
    /// average.update(&Tensor::from([0.1, 0.4, 0.35, 0.8]), &Tensor::from([0, 0, 1, 1]))?;
    /// assert!((average.value()? - 5.0 / 6.0).abs() < 1e-12);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    AveragePrecision "average_precision" "average precision" needs_both false of average_precision
}

/// Each pair of a meant one and another: right where the meant one is higher, half where both are equal.
fn area(groups: &[(u64, u64)]) -> f64 {
    let (mut found, mut twice_right) = (0u64, 0u128);
    let (positives, negatives) = groups.iter().fold((0, 0), |(p, n), (meant, other)| (p + meant, n + other));
    for &(meant, other) in groups {
        twice_right += other as u128 * (2 * found as u128 + meant as u128);
        found += meant;
    }
    twice_right as f64 / (2.0 * positives as f64 * negatives as f64)
}

/// `Σ (recall - recall before) · precision` over falling thresholds.
fn average_precision(groups: &[(u64, u64)]) -> f64 {
    let positives: u64 = groups.iter().map(|(meant, _)| meant).sum();
    let (mut found, mut taken, mut sum) = (0u64, 0u64, 0.0);
    for &(meant, other) in groups {
        found += meant;
        taken += meant + other;
        sum += meant as f64 * found as f64 / taken as f64;
    }
    sum / positives as f64
}
