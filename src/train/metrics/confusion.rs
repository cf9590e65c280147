//! Which classes are taken for which, and what follows for each.

use super::classes::{IGNORED, predictions};
use super::{Metric, nothing_seen, refuse};
use crate::error::{Error, Fault, Result};
use crate::explain::chart::HeatMap;
use crate::tensor::Tensor;
use std::fmt;

/// How the measures of classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Each class counts alike.
    Macro,
    /// Each example counts alike: all classes' counts are added first.
    Micro,
    /// Each class counts by its examples.
    Weighted,
}

/// The confusion matrix, and precision, recall and F1 of each class.
///
/// Output and targets are as for [`Accuracy`](super::Accuracy). Where a share has nothing below its line (a class that is
/// never said has no precision), it is 0. Averages are over all classes of the matrix. Printed, it is a table.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::metrics::{Average, Confusion, Metric};
/// let mut confusion = Confusion::new(3).with_names(["cat", "dog", "bird"]);
/// confusion.update(&Tensor::from([0, 2, 1, 0, 0, 1]), &Tensor::from([0, 1, 2, 0, 1, 2]))?;
/// assert_eq!(confusion.count(1, 2), 1);
/// assert_eq!((confusion.precision(0), confusion.recall(0)), (2.0 / 3.0, 1.0));
/// assert!((confusion.average(Average::Macro)?.f1 - 0.26666666666666666).abs() < 1e-12);
/// assert!(confusion.to_string().contains("bird"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Confusion {
    classes: usize,
    /// Rows of the matrix: none where there would be too many.
    side: usize,
    /// Row by row: meant, said.
    counts: Vec<u64>,
    names: Vec<String>,
    threshold: f64,
    ignored: i64,
    average: Average,
}

/// Precision, recall and F1 together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Of what is said, the share that is right.
    pub precision: f64,
    /// Of what is meant, the share that is said.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

/// Of more classes a matrix is too large for memory.
const MOST_CLASSES: usize = 1 << 14;

impl Confusion {
    /// Of nothing yet, for classes 0, 1, ... up to one less than `classes`.
    pub fn new(classes: usize) -> Confusion {
        let side = if classes > MOST_CLASSES { 0 } else { classes };
        Confusion {
            classes,
            side,
            counts: vec![0; side * side],
            names: (0..side).map(|class| class.to_string()).collect(),
            threshold: 0.0,
            ignored: IGNORED,
            average: Average::Macro,
        }
    }
    /// What the classes are called, where it prints and draws; those not named keep their numbers.
    pub fn with_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Confusion {
        for (own, name) in self.names.iter_mut().zip(names) {
            *own = name.into();
        }
        self
    }
    /// Scores of a yes mean it above this number (default 0, for logits).
    pub fn with_threshold(self, threshold: f64) -> Confusion {
        Confusion { threshold, ..self }
    }
    /// Targets of this class do not count (default -100).
    pub fn with_ignore_index(self, class: i64) -> Confusion {
        Confusion { ignored: class, ..self }
    }
    /// The average that [`measures`](Metric::measures) takes (default macro).
    pub fn with_average(self, average: Average) -> Confusion {
        Confusion { average, ..self }
    }
    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }
    /// What the classes are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// How often `meant` was taken for `said`.
    pub fn count(&self, meant: usize, said: usize) -> u64 {
        if meant.max(said) >= self.side { 0 } else { self.counts.get(meant * self.side + said).copied().unwrap_or(0) }
    }
    /// All counts, a row for each class that is meant.
    pub fn rows(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.side.max(1)).map(<[u64]>::to_vec).collect()
    }
    /// How many examples a class has.
    pub fn support(&self, class: usize) -> u64 {
        (0..self.side).map(|said| self.count(class, said)).sum()
    }
    fn said(&self, class: usize) -> u64 {
        (0..self.side).map(|meant| self.count(meant, class)).sum()
    }
    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
    /// Of what is said to be of the class, the share that is.
    pub fn precision(&self, class: usize) -> f64 {
        share(self.count(class, class), self.said(class))
    }
    /// Of what is of the class, the share that is said to be.
    pub fn recall(&self, class: usize) -> f64 {
        share(self.count(class, class), self.support(class))
    }
    /// The harmonic mean of precision and recall.
    pub fn f1(&self, class: usize) -> f64 {
        share(2 * self.count(class, class), self.said(class) + self.support(class))
    }
    /// The share of right answers.
    #[track_caller]
    pub fn accuracy(&self) -> Result<f64> {
        let right = (0..self.side).map(|class| self.count(class, class)).sum();
        if self.total() == 0 { Err(nothing_seen("confusion")) } else { Ok(share(right, self.total())) }
    }
    /// Precision, recall and F1 of all classes as one.
    #[track_caller]
    pub fn average(&self, average: Average) -> Result<Scores> {
        let accuracy = self.accuracy()?;
        if average == Average::Micro {
            return Ok(Scores { precision: accuracy, recall: accuracy, f1: accuracy });
        }
        let weight = |class| match average {
            Average::Weighted => share(self.support(class), self.total()),
            _ => 1.0 / self.side as f64,
        };
        let mean = |of: fn(&Confusion, usize) -> f64| (0..self.side).map(|c| weight(c) * of(self, c)).sum();
        Ok(Scores { precision: mean(Confusion::precision), recall: mean(Confusion::recall), f1: mean(Confusion::f1) })
    }
    /// The matrix as a picture: the darker, the larger a share of its row.
    ///
    /// ```
    /// use chainrule::train::metrics::Confusion;
    /// assert!(Confusion::new(3).chart().picture().svg().starts_with("<svg"));
    /// ```
    pub fn chart(&self) -> HeatMap {
        let of_row = |row: &Vec<u64>| {
            let sum = row.iter().sum();
            row.iter().map(|&count| share(count, sum)).collect()
        };
        let rows: Vec<Vec<f64>> =
            self.rows().iter().map(|row| row.iter().map(|&count| count as f64).collect()).collect();
        let shades: Vec<Vec<f64>> = self.rows().iter().map(of_row).collect();
        HeatMap::new("Confusion", &rows)
            .with_names(self.names.iter(), self.names.iter())
            .with_axes("said", "meant")
            .with_shades(&shades)
    }
    /// Precision, recall, F1 and the number of examples of each class and in the averages, as a table.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::train::metrics::{Confusion, Metric};
    /// let mut confusion = Confusion::new(2);
    /// confusion.update(&Tensor::from([0, 1, 1]), &Tensor::from([0, 0, 1]))?;
    /// assert!(confusion.report()?.contains("accuracy"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn report(&self) -> Result<String> {
        let accuracy = self.accuracy()?;
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("weighted".len());
        let mut table = format!("{:width$}  precision  recall      f1  examples\n", "");
        let mut line = |name: &str, scores: Scores, count: u64| {
            let Scores { precision, recall, f1 } = scores;
            table.push_str(&format!("{name:width$}  {precision:9.4}  {recall:6.4}  {f1:6.4}  {count:8}\n"));
        };
        for (class, name) in self.names.iter().enumerate() {
            let (precision, recall, f1) = (self.precision(class), self.recall(class), self.f1(class));
            line(name, Scores { precision, recall, f1 }, self.support(class));
        }
        line("macro", self.average(Average::Macro)?, self.total());
        line("weighted", self.average(Average::Weighted)?, self.total());
        table.push_str(&format!("{:width$}  {:17}  {accuracy:6.4}  {:8}", "accuracy", "", self.total()));
        Ok(table)
    }
}

/// One count of another; of nothing it is 0.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Metric for Confusion {
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        let pairs = predictions("confusion", output, target, self.threshold, self.ignored)?;
        let classes = self.side;
        if self.classes > MOST_CLASSES {
            let what = format!("a matrix of {} classes", self.classes);
            let fault = Fault::memory(what, "count them without a matrix: Accuracy");
            return Err(Error::new("confusion", fault));
        }
        let outside = |class: i64| usize::try_from(class).map_or(true, |class| class >= classes);
        if let Some((said, meant)) = pairs.iter().find(|(said, meant)| outside(*said) || outside(*meant)) {
            let what = format!("class {} of {classes}", if outside(*meant) { meant } else { said });
            let fault = Fault::index(what, format!("make it with Confusion::new for more than {classes} classes"));
            return Err(refuse("confusion", fault, output, target));
        }
        for (said, meant) in pairs {
            if let Some(count) = self.counts.get_mut(meant as usize * classes + said as usize) {
                *count += 1;
            }
        }
        Ok(())
    }
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>> {
        let Scores { precision, recall, f1 } = self.average(self.average)?;
        let named = |name: &str, value: f64| (name.to_string(), value);
        Ok(vec![
            named("accuracy", self.accuracy()?),
            named("precision", precision),
            named("recall", recall),
            named("f1", f1),
        ])
    }
    fn reset(&mut self) {
        self.counts.fill(0);
    }
    fn picture(&self) -> Option<(&'static str, String)> {
        Some(("confusion.svg", self.chart().picture().svg()))
    }
}

/// A row for each class that is meant, a column for each that is said.
impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &String| text.chars().count();
        let rows = self.names.iter().map(length).max().unwrap_or(0).max("meant".len());
        let widths: Vec<usize> = (0..self.side)
            .map(|said| {
                let counts = (0..self.side).map(|meant| self.count(meant, said).to_string().len()).max();
                counts.unwrap_or(0).max(self.names.get(said).map_or(0, length))
            })
            .collect();
        write!(f, "{:rows$}  said", "meant")?;
        write!(f, "\n{:rows$}", "")?;
        for (name, width) in self.names.iter().zip(&widths) {
            write!(f, "  {name:>width$}")?;
        }
        for (meant, name) in self.names.iter().enumerate() {
            write!(f, "\n{name:rows$}")?;
            for (said, width) in widths.iter().enumerate() {
                match self.count(meant, said) {
                    0 => write!(f, "  {:>width$}", "·")?,
                    count => write!(f, "  {count:>width$}")?,
                }
            }
        }
        Ok(())
    }
}
