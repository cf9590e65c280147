//! How far predictions of numbers lie from what was measured.

use super::{Metric, nothing_seen, numbers, refuse};
use crate::error::{Error, Fault, Result};
use crate::tensor::Tensor;

/// Mistakes of predicted numbers: absolute, squared, and R².
///
/// Outputs `[n, columns]` are judged column by column and the columns' measures averaged; any other shape is one column.
/// Outputs and targets have the same sizes.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::metrics::{Metric, Regression};
/// let mut mistakes = Regression::new();
/// mistakes.update(&Tensor::from([2.5, 0.0, 2.0, 8.0]), &Tensor::from([3.0, -0.5, 2.0, 7.0]))?;
/// assert_eq!((mistakes.mean_absolute()?, mistakes.mean_squared()?), (0.5, 0.375));
/// assert!((mistakes.r2()? - 0.9486081).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Regression {
    columns: Vec<Column>,
}

/// What one column has seen; the spread of its targets by Welford's method.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    count: f64,
    absolute: f64,
    squared: f64,
    mean: f64,
    spread: f64,
}

impl Column {
    fn add(&mut self, said: f64, meant: f64) {
        let mistake = said - meant;
        self.count += 1.0;
        self.absolute += mistake.abs();
        self.squared += mistake * mistake;
        let from_mean = meant - self.mean;
        self.mean += from_mean / self.count;
        self.spread += from_mean * (meant - self.mean);
    }
}

impl Regression {
    /// Of nothing yet.
    pub fn new() -> Regression {
        Regression::default()
    }
    #[track_caller]
    fn average(&self, of: impl Fn(&Column) -> f64) -> Result<f64> {
        match self.columns.first() {
            Some(column) if column.count > 0.0 => {
                Ok(self.columns.iter().map(of).sum::<f64>() / self.columns.len() as f64)
            }
            _ => Err(nothing_seen("regression")),
        }
    }
    /// The mean of the mistakes' magnitudes.
    #[track_caller]
    pub fn mean_absolute(&self) -> Result<f64> {
        self.average(|column| column.absolute / column.count)
    }
    /// The mean of the mistakes' squares.
    #[track_caller]
    pub fn mean_squared(&self) -> Result<f64> {
        self.average(|column| column.squared / column.count)
    }
    /// The root of the mean square, of each column, averaged.
    #[track_caller]
    pub fn root_mean_squared(&self) -> Result<f64> {
        self.average(|column| (column.squared / column.count).sqrt())
    }
    /// The share of the targets' spread that is predicted: 1 is perfect, 0 is no better than their mean. Where all targets
    /// are equal it is 1 for predictions without a mistake, and 0 otherwise. At least two targets are needed.
    #[track_caller]
    pub fn r2(&self) -> Result<f64> {
        if self.columns.first().is_some_and(|column| column.count == 1.0) {
            let fault = Fault::value("R² of a single target", "it compares with the spread of at least two");
            return Err(Error::new("regression", fault));
        }
        self.average(|column| match (column.squared, column.spread) {
            (squared, spread) if spread > 0.0 => 1.0 - squared / spread,
            (0.0, _) => 1.0,
            _ => 0.0,
        })
    }
}

impl Metric for Regression {
    #[track_caller]
    fn update(&mut self, output: &Tensor, target: &Tensor) -> Result<()> {
        let (shape, meant) = (output.shape()?, target.shape()?);
        if shape != meant {
            let fault = Fault::shape("outputs and targets have different sizes", "reshape one: [n] is not [n, 1]");
            return Err(refuse("regression", fault, output, target));
        }
        let columns = if let [_, columns] = *shape { columns } else { 1 };
        let seen = self.columns.first().is_some_and(|column| column.count > 0.0);
        if seen && self.columns.len() != columns {
            let what = format!("{columns} columns after batches of {}", self.columns.len());
            let fault = Fault::shape(what, "batches of one set have as many columns");
            return Err(refuse("regression", fault, output, target));
        }
        let said = numbers("regression", "output", output, target)?;
        let meant = numbers("regression", "target", output, target)?;
        if !seen {
            self.columns = vec![Column::default(); columns];
        }
        for (at, (&said, &meant)) in said.iter().zip(&meant).enumerate() {
            if let Some(column) = self.columns.get_mut(at % columns.max(1)) {
                column.add(said, meant);
            }
        }
        Ok(())
    }
    #[track_caller]
    fn measures(&self) -> Result<Vec<(String, f64)>> {
        let named = |name: &str, value: f64| (name.to_string(), value);
        Ok(vec![
            named("mean absolute error", self.mean_absolute()?),
            named("root mean squared error", self.root_mean_squared()?),
            named("R²", self.r2()?),
        ])
    }
    fn reset(&mut self) {
        self.columns.clear();
    }
}
