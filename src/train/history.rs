//! What a training came to, epoch by epoch and step by step: to print, to draw, and as CSV and JSON.

use super::metrics::Mean;
use crate::error::{Error, Fault, Result};
use crate::explain::chart::{LineChart, Picture};
use crate::layout::put_in_order;
use crate::tensor::{State, Tensor};
use std::fmt;
use std::path::Path;

/// Numbers by name, in an order.
///
/// ```
/// use chainrule::train::Measures;
/// let measures = Measures::from(vec![("loss".to_string(), 0.25), ("accuracy".to_string(), 0.9)]);
/// assert_eq!(measures.get("accuracy")?, 0.9);
/// assert!(measures.get("acuracy").unwrap_err().to_string().contains("loss, accuracy"));
/// assert_eq!(measures.to_string(), "loss 0.2500  accuracy 0.9000");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures(Vec<(String, f64)>);

impl Measures {
    /// A measure; the error of a name that is not there lists those there are.
    #[track_caller]
    pub fn get(&self, name: &str) -> Result<f64> {
        let found = self.0.iter().find(|(own, _)| own == name).map(|(_, number)| *number);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
            let help = format!("the measures are: {}", names.join(", "));
            Error::new("measures", Fault::value(format!("there is no measure {name:?}"), help))
        })
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, number)| (name.as_str(), *number))
    }
    pub(super) fn push(&mut self, name: &str, number: f64) {
        self.0.push((name.to_string(), number));
    }
    pub(super) fn extend(&mut self, others: Measures) {
        self.0.extend(others.0);
    }
}

impl From<Vec<(String, f64)>> for Measures {
    fn from(measures: Vec<(String, f64)>) -> Measures {
        Measures(measures)
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, number)) in self.iter().enumerate() {
            write!(f, "{}{name} {}", if at > 0 { "  " } else { "" }, shown(number))?;
        }
        Ok(())
    }
}

/// A number as people read it: four places, or few digits and an exponent.
pub(super) fn shown(number: f64) -> String {
    match number.abs() {
        size if size != 0.0 && size < 1e-3 => format!("{number:.2e}"),
        size if size != 0.0 && size < 1e-2 => format!("{number:.5}"),
        size if size >= 1e6 => format!("{number:.3e}"),
        _ => format!("{number:.4}"),
    }
}

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EpochRecord {
    /// Its number, from 1.
    pub epoch: u64,
    /// The steps of the optimizer up to its end.
    pub step: u64,
    /// The mean training loss ("loss"), then what validation says, then the rate at its end.
    pub measures: Measures,
}

/// What a training came to: the measures of each epoch, and the loss of each step or of each few.
///
/// Printed, it is a table. It holds no times, so that a training that was stopped and resumed has the same history as one
/// that was not.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub(super) epochs: Vec<EpochRecord>,
    pub(super) between: Vec<EpochRecord>,
    pub(super) steps: Thinned,
    pub(super) best: Option<(u64, String, f64)>,
    pub(super) stopped: Option<String>,
}

impl History {
    /// The epochs so far.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }
    /// What validation said between the steps of epochs, where it was to (see
    /// [`Trainer::with_validation_every`](super::Trainer::with_validation_every)). Each has the number of its epoch; its
    /// "loss" is the mean over that epoch so far.
    pub fn between(&self) -> &[EpochRecord] {
        &self.between
    }
    /// What the last epoch says of a measure.
    #[track_caller]
    pub fn last(&self, measure: &str) -> Result<f64> {
        match self.epochs.last() {
            Some(record) => record.measures.get(measure),
            None => Err(Error::new("history", Fault::value("there is no epoch yet", "train for at least one"))),
        }
    }
    /// The number of the best epoch, and what is best there; none before the first epoch.
    pub fn best(&self) -> Option<(u64, &str, f64)> {
        self.best.as_ref().map(|(epoch, measure, number)| (*epoch, measure.as_str(), *number))
    }
    /// A measure, epoch by epoch; NaN where an epoch lacks it.
    pub fn of(&self, measure: &str) -> Vec<f64> {
        self.epochs.iter().map(|record| record.measures.get(measure).unwrap_or(f64::NAN)).collect()
    }
    /// The training loss along the steps: each the mean over a few where there are many.
    pub fn steps(&self) -> &[(u64, f64)] {
        &self.steps.points
    }
    /// Why it ended before its last epoch, where it did.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }
    /// The names of all measures, in the order in which they first appear.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.epochs.iter().flat_map(|record| record.measures.iter()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
    /// The epochs as CSV: a line for each, a column for each measure.
    ///
    /// ```
    /// use chainrule::train::History;
    /// assert_eq!(History::default().csv(), "epoch,step\n");
    /// ```
    pub fn csv(&self) -> String {
        let names = self.names();
        let mut csv = "epoch,step".to_string();
        for name in &names {
            csv.push(',');
            match name.contains([',', '"', '\n', '\r']) {
                true => csv.push_str(&format!("\"{}\"", name.replace('"', "\"\""))),
                false => csv.push_str(name),
            }
        }
        csv.push('\n');
        for record in &self.epochs {
            csv.push_str(&format!("{},{}", record.epoch, record.step));
            for name in &names {
                csv.push(',');
                if let Ok(number) = record.measures.get(name) {
                    csv.push_str(&format!("{number:?}"));
                }
            }
            csv.push('\n');
        }
        csv
    }
    /// All of it as JSON; what is not finite is `null`.
    ///
    /// ```
    /// use chainrule::train::History;
    /// assert!(History::default().json().starts_with("{"));
    /// ```
    pub fn json(&self) -> String {
        let text = |text: &str| crate::io::json_text(text);
        let number = |number: f64| if number.is_finite() { format!("{number:?}") } else { "null".to_string() };
        let list = |records: &[EpochRecord]| -> String {
            let lines = records.iter().map(|record| {
                let named = record.measures.iter().map(|(name, n)| format!("{}: {}", text(name), number(n)));
                let measures = named.collect::<Vec<_>>().join(", ");
                let (epoch, step) = (record.epoch, record.step);
                format!("    {{\"epoch\": {epoch}, \"step\": {step}, \"measures\": {{{measures}}}}}")
            });
            lines.collect::<Vec<_>>().join(",\n")
        };
        let epochs = list(&self.epochs);
        let between = match self.between.as_slice() {
            [] => String::new(),
            records => format!("  \"between\": [\n{}\n  ],\n", list(records)),
        };
        let steps: Vec<String> =
            self.steps.points.iter().map(|(step, loss)| format!("[{step}, {}]", number(*loss))).collect();
        let best = self.best().map_or("null".to_string(), |(epoch, measure, best)| {
            format!("{{\"epoch\": {epoch}, \"measure\": {}, \"value\": {}}}", text(measure), number(best))
        });
        let stopped = self.stopped().map_or("null".to_string(), text);
        let steps = steps.join(", ");
        format!(
            "{{\n  \"epochs\": [\n{epochs}\n  ],\n{between}  \"best\": {best},\n  \"stopped\": {stopped},\n  \"steps\": [{steps}]\n}}\n"
        )
    }
    /// The losses and the other measures as curves, those between 0 and 1 together.
    ///
    /// ```
    /// use chainrule::train::History;
    /// assert!(History::default().curves().svg().starts_with("<svg"));
    /// ```
    pub fn curves(&self) -> Picture {
        let along = |measure: &str| -> Vec<(f64, f64)> {
            // Means of the training are over whole epochs.
            let between = if measure == "loss" { &[] } else { self.between.as_slice() };
            let mut records: Vec<&EpochRecord> = self.epochs.iter().chain(between).collect();
            put_in_order(&mut records, &|a, b| a.step.cmp(&b.step));
            let number = |record: &EpochRecord| record.measures.get(measure).unwrap_or(f64::NAN);
            records.iter().map(|record| (record.step as f64, number(record))).collect()
        };
        let (losses, others): (Vec<&str>, Vec<&str>) =
            self.names().into_iter().filter(|name| *name != "rate").partition(|name| name.ends_with("loss"));
        let steps = self.steps.points.iter().map(|(step, loss)| (*step as f64, *loss));
        let mut chart = LineChart::new("Loss").with_axes("step", "").with_faint_line(steps);
        for name in losses {
            chart = chart.with_line(if name == "loss" { "training, mean of the epoch" } else { name }, along(name));
        }
        let mut picture = chart.picture();
        let is_share = |name: &&str| self.of(name).iter().all(|number| !(*number < 0.0 || *number > 1.0));
        let (shares, others): (Vec<&str>, Vec<&str>) = others.into_iter().partition(is_share);
        if !shares.is_empty() {
            let chart = LineChart::new("Validation").with_axes("step", "");
            let chart = shares.into_iter().fold(chart, |chart, name| chart.with_line(name, along(name)));
            picture = picture.above(chart.picture());
        }
        let rates = self.of("rate");
        let rate_changes = rates.iter().any(|rate| Some(rate) != rates.first());
        for name in others.into_iter().chain(rate_changes.then_some("rate")) {
            let chart = LineChart::new(name).with_axes("step", "").with_size(720.0, 220.0);
            picture = picture.above(chart.with_line("", along(name)).picture());
        }
        picture
    }
    /// Writes `history.csv`, `history.json` and `curves.svg` into a folder.
    ///
    /// ```
    /// use chainrule::train::History;
    /// let folder = std::env::temp_dir().join("chainrule-history");
    /// History::default().save(&folder)?;
    /// assert!(folder.join("history.csv").exists());
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        super::folder::make(folder)?;
        crate::io::write_file("history", &folder.join("history.csv"), self.csv().as_bytes())?;
        crate::io::write_file("history", &folder.join("history.json"), self.json().as_bytes())?;
        self.curves().save(folder.join("curves.svg"))
    }
    pub(super) fn state(&self) -> Result<State> {
        let records = |records: &[EpochRecord]| -> Result<State> {
            let mut trees = Vec::with_capacity(records.len());
            for record in records {
                let mut tree = State::tree();
                tree.insert("epoch", State::Integer(record.epoch as i64))?;
                tree.insert("step", State::Integer(record.step as i64))?;
                let named = record.measures.iter();
                let pair =
                    |(name, number): (&str, f64)| State::List(vec![State::Text(name.into()), State::Number(number)]);
                tree.insert("measures", State::List(named.map(pair).collect()))?;
                trees.push(tree);
            }
            Ok(State::List(trees))
        };
        let mut state = State::tree();
        state.insert("epochs", records(&self.epochs)?)?;
        if !self.between.is_empty() {
            state.insert("between", records(&self.between)?)?;
        }
        state.insert("steps", self.steps.state()?)?;
        if let Some((epoch, measure, number)) = self.best() {
            let best = vec![State::Integer(epoch as i64), State::Text(measure.to_string()), State::Number(number)];
            state.insert("best", State::List(best))?;
        }
        Ok(state)
    }
    pub(super) fn from_state(state: &State) -> Result<History> {
        let records = |trees: &State| -> Result<Vec<EpochRecord>> {
            let mut records = Vec::new();
            for tree in trees.list()? {
                let mut measures = Measures::default();
                for pair in tree.get("measures")?.list()? {
                    let [name, number] = pair.list()? else { return Err(foreign()) };
                    measures.push(name.text()?, number.number()?);
                }
                let count = |name: &str| Ok::<u64, Error>(tree.get(name)?.integer()?.max(0) as u64);
                records.push(EpochRecord { epoch: count("epoch")?, step: count("step")?, measures });
            }
            Ok(records)
        };
        let perhaps = |name: &str| match state {
            State::Tree(tree) => tree.get(name),
            _ => None,
        };
        let epochs = records(state.get("epochs")?)?;
        let between = perhaps("between").map(records).transpose()?.unwrap_or_default();
        let best = match perhaps("best").map(State::list).transpose()? {
            Some([epoch, measure, number]) => {
                Some((epoch.integer()?.max(0) as u64, measure.text()?.to_string(), number.number()?))
            }
            Some(_) => return Err(foreign()),
            None => None,
        };
        Ok(History { epochs, between, steps: Thinned::from_state(state.get("steps")?)?, best, stopped: None })
    }
}

#[cold]
fn foreign() -> Error {
    let help = "it was written by something else, or by another version";
    Error::new("history", Fault::value("the history of the checkpoint cannot be read", help))
}

/// A table of the epochs, the best one marked.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        write!(f, "epoch      step")?;
        for name in &names {
            write!(f, "  {name:>10}")?;
        }
        for record in &self.epochs {
            write!(f, "\n{:5}  {:8}", record.epoch, record.step)?;
            for name in &names {
                let number = record.measures.get(name).map_or("-".to_string(), shown);
                let width = name.chars().count().max(10);
                write!(f, "  {number:>width$}")?;
            }
            if self.best.as_ref().is_some_and(|(best, ..)| *best == record.epoch) {
                write!(f, "  best")?;
            }
        }
        match &self.stopped {
            Some(reason) => write!(f, "\nstopped: {reason}"),
            None => Ok(()),
        }
    }
}

/// A number for each step while there are few, then the means of ever more steps together.
#[derive(Clone, Debug)]
pub(super) struct Thinned {
    points: Vec<(u64, f64)>,
    every: u64,
    waiting: Mean,
}

/// There are never more points than this.
const MOST: usize = 1000;

impl Default for Thinned {
    fn default() -> Thinned {
        Thinned { points: Vec::new(), every: 1, waiting: Mean::new() }
    }
}

impl Thinned {
    pub(super) fn add(&mut self, step: u64, number: f64) {
        self.waiting.add(number, 1.0);
        if self.waiting.weight < self.every as f64 {
            return;
        }
        self.points.push((step, self.waiting.sum / self.waiting.weight));
        self.waiting = Mean::new();
        if self.points.len() >= MOST {
            let halved = self.points.chunks(2).filter_map(|pair| match pair {
                [(_, first), (step, second)] => Some((*step, (first + second) / 2.0)),
                _ => None,
            });
            self.points = halved.collect();
            self.every *= 2;
        }
    }
    pub(super) fn points(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|(step, number)| (*step as f64, *number)).collect()
    }
    pub(super) fn state(&self) -> Result<State> {
        let numbers: Vec<f64> = self.points.iter().flat_map(|(step, number)| [*step as f64, *number]).collect();
        let mut state = State::tree();
        state.insert("points", State::Tensor(Tensor::from_vec(numbers, [self.points.len(), 2])?))?;
        state.insert("every", State::Integer(self.every as i64))?;
        state.insert("sum", State::Number(self.waiting.sum))?;
        state.insert("count", State::Number(self.waiting.weight))?;
        Ok(state)
    }
    pub(super) fn from_state(state: &State) -> Result<Thinned> {
        let numbers = state.get("points")?.tensor()?.to_vec::<f64>()?;
        let (pairs, _) = numbers.as_chunks::<2>();
        let points = pairs.iter().map(|[step, number]| (*step as u64, *number)).collect();
        let waiting = Mean { sum: state.get("sum")?.number()?, weight: state.get("count")?.number()? };
        Ok(Thinned { points, every: state.get("every")?.integer()?.max(1) as u64, waiting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_steps_become_means_of_equal_parts() {
        let mut thinned = Thinned::default();
        for step in 1..=5000 {
            thinned.add(step, step as f64);
        }
        assert_eq!(thinned.every, 8);
        assert!(thinned.points.len() < MOST);
        for (at, (step, number)) in thinned.points.iter().enumerate() {
            assert_eq!((*step, *number), (8 * (at as u64 + 1), 8.0 * at as f64 + 4.5));
        }
        let mut resumed = Thinned::from_state(&thinned.state().unwrap()).unwrap();
        for step in 5001..=9000 {
            thinned.add(step, 0.1 * step as f64);
            resumed.add(step, 0.1 * step as f64);
        }
        assert_eq!(resumed.points, thinned.points);
    }
}
