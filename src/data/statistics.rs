//! What the numbers of a column or a channel are like, and how they are brought to one scale.

use super::{Chance, Dataset};
use crate::error::{Error, Fault, Result};
use crate::layout::{Axis, DType, Element, dispatch};
use crate::tensor::{State, Tensor, apart};
use std::panic::Location;

/// Count, mean, deviation and extremes along an axis: of each column of a table, each channel of images. Sums are float64.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::Statistics;
/// let table = Tensor::from([[1.0, 10.0], [3.0, 10.0]]);
/// let statistics = Statistics::of(&table, -1)?;
/// assert_eq!((statistics.mean(), statistics.deviation()), (vec![2.0, 10.0], vec![1.0, 0.0]));
/// assert_eq!((statistics.low(), statistics.high()), (&[1.0, 10.0][..], &[3.0, 10.0][..]));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    axis: isize,
    columns: Vec<Column>,
    low: Vec<f64>,
    high: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Column {
    count: f64,
    mean: f64,
    /// The sum of squared distances from the mean.
    squares: f64,
}

impl Column {
    /// Both together (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
    fn and(self, other: Column) -> Column {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let (distance, share) = (other.mean - self.mean, other.count / count);
        Column {
            count,
            mean: self.mean + distance * share,
            squares: self.squares + other.squares + distance * distance * self.count * share,
        }
    }
}

impl Statistics {
    /// Of a tensor, for each place along an axis. Count the axis from the end (-1 a column, -3 the channel of an image), and
    /// they fit single items as well as batches. NaN and infinities are refused.
    #[track_caller]
    pub fn of(x: &Tensor, axis: impl Axis) -> Result<Statistics> {
        let at = Location::caller();
        let fail = |fault| Error::with("statistics", fault, Vec::new(), at);
        let shape = x.shape()?;
        let along = axis.resolve(shape.len()).map_err(fail)?;
        let (columns, inner) = (shape[along], shape[along + 1..].iter().product::<usize>());
        let mut own = Statistics {
            axis: axis.number(),
            columns: vec![Column::default(); columns],
            low: vec![f64::INFINITY; columns],
            high: vec![f64::NEG_INFINITY; columns],
        };
        dispatch!(x.dtype()?, T => x.with_slice(|numbers: &[T]| own.gather(numbers, inner)))?;
        match own.columns.iter().position(|column| !column.squares.is_finite()) {
            Some(column) => {
                let what = format!("column {column} holds NaN, infinity, or numbers too large to square");
                Err(fail(Fault::value(what, "leave out or replace what is missing first")))
            }
            None => Ok(own),
        }
    }
    /// Of a whole dataset in one pass: of the tensor that `part` takes out of each item.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::data::{Examples, Statistics};
    /// let images = Tensor::arange(2 * 3 * 4 * 4).reshape([2, 3, 4, 4]);
    /// let examples = Examples::new(&images, &Tensor::zeros([2]))?;
    /// let statistics = Statistics::of_dataset(&examples, -3, |example| example.input)?;
    /// assert_eq!(statistics.mean(), [31.5, 47.5, 63.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of_dataset<D: Dataset>(
        dataset: &D,
        axis: impl Axis,
        part: impl Fn(D::Item) -> Tensor,
    ) -> Result<Statistics> {
        let chance = Chance::new(0, 0);
        let mut all: Option<Statistics> = None;
        for index in 0..dataset.len() {
            let item = apart(|| dataset.item(index, &mut chance.of(index)))?;
            let own = Statistics::of(&part(item), axis)?;
            match &mut all {
                Some(all) => all.merge(&own)?,
                None => all = Some(own),
            }
        }
        match all {
            Some(all) => Ok(all),
            None => Err(Error::new("statistics", Fault::value("the dataset is empty", "there must be an item"))),
        }
    }
    /// Takes in what others are like: of another part of the same data.
    ///
    /// ```
    /// use chainrule::{Tensor, data::Statistics};
    /// let mut all = Statistics::of(&Tensor::from([[1.0], [2.0]]), -1)?;
    /// all.merge(&Statistics::of(&Tensor::from([[6.0]]), -1)?)?;
    /// assert_eq!((all.count(), all.mean()), (3, vec![3.0]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn merge(&mut self, other: &Statistics) -> Result<()> {
        if self.columns.len() != other.columns.len() {
            let what = format!("{} columns and {}", self.columns.len(), other.columns.len());
            return Err(Error::new(
                "statistics",
                Fault::shape(what, "both must be along the same axis of the same data"),
            ));
        }
        for (own, other) in self.columns.iter_mut().zip(&other.columns) {
            *own = own.and(*other);
        }
        self.low.iter_mut().zip(&other.low).for_each(|(own, &other)| *own = own.min(other));
        self.high.iter_mut().zip(&other.high).for_each(|(own, &other)| *own = own.max(other));
        Ok(())
    }
    fn gather<T: Element>(&mut self, numbers: &[T], inner: usize) {
        let columns = self.columns.len();
        let rows = || numbers.chunks_exact((columns * inner).max(1));
        let extremes = |(low, high): (&mut f64, &mut f64), number: f64| {
            *low = if number < *low { number } else { *low };
            *high = if number > *high { number } else { *high };
        };
        let mut sums = vec![0.0; columns];
        for row in rows() {
            let of_columns = sums.iter_mut().zip(&mut self.low).zip(&mut self.high);
            if inner == 1 {
                for (((sum, low), high), number) in of_columns.zip(row) {
                    *sum += number.to_f64();
                    extremes((low, high), number.to_f64());
                }
                continue;
            }
            for (((sum, low), high), numbers) in of_columns.zip(row.chunks_exact(inner)) {
                *sum += sum_of(numbers, |number| number);
                numbers.iter().for_each(|number| extremes((low, high), number.to_f64()));
            }
        }
        let count = numbers.len() as f64 / columns.max(1) as f64;
        for ((column, sum), low_high) in self.columns.iter_mut().zip(sums).zip(self.low.iter().zip(&self.high)) {
            // A constant column has no deviation from rounding.
            let mean = if low_high.0 == low_high.1 { *low_high.0 } else { sum / count.max(1.0) };
            // NaN is no extreme: it shows in the sum.
            *column = Column { count, mean: if sum.is_nan() { sum } else { mean }, squares: 0.0 };
        }
        for row in rows() {
            if inner == 1 {
                for (column, number) in self.columns.iter_mut().zip(row) {
                    let distance = number.to_f64() - column.mean;
                    column.squares += distance * distance;
                }
                continue;
            }
            for (Column { mean, squares, .. }, numbers) in self.columns.iter_mut().zip(row.chunks_exact(inner)) {
                *squares += sum_of(numbers, |number| (number - *mean) * (number - *mean));
            }
        }
    }
    /// How many numbers each column has.
    pub fn count(&self) -> usize {
        self.columns.first().map_or(0, |column| column.count as usize)
    }
    /// The mean of each.
    pub fn mean(&self) -> Vec<f64> {
        self.columns.iter().map(|column| column.mean).collect()
    }
    /// The standard deviation of each, of the numbers themselves (divided by their count).
    pub fn deviation(&self) -> Vec<f64> {
        self.columns.iter().map(|column| (column.squares / column.count.max(1.0)).sqrt()).collect()
    }
    /// The smallest of each.
    pub fn low(&self) -> &[f64] {
        &self.low
    }
    /// The largest of each.
    pub fn high(&self) -> &[f64] {
        &self.high
    }
}

/// Brings columns or channels to one scale, and back: `(x - shift) / divisor`. It is learnt from the training data, and
/// saved with the model that was trained on its result.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::Scaling;
/// let train = Tensor::from([[1.0, 10.0], [3.0, 10.0]]);
/// let scaling = Scaling::standard(&train, -1)?;
/// assert_eq!(scaling.apply(&train).to_vec::<f32>()?, [-1.0, 0.0, 1.0, 0.0]);
/// assert_eq!(scaling.undo(&scaling.apply(&train)), train);
///
/// let mut saved = Scaling::default();
/// saved.load_state(&scaling.state()?)?;
/// assert_eq!(saved, scaling);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// A column that is constant is shifted only. Gradients pass through, both ways.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaling {
    axis: isize,
    shift: Vec<f64>,
    divisor: Vec<f64>,
}

impl Scaling {
    /// To mean 0 and deviation 1.
    #[track_caller]
    pub fn standard(x: &Tensor, axis: impl Axis) -> Result<Scaling> {
        Ok(Scaling::standard_of(&Statistics::of(x, axis)?))
    }
    /// From 0 to 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::data::Scaling;
    /// let scaling = Scaling::min_max(&Tensor::from([[1.0], [3.0]]), -1)?;
    /// assert_eq!(scaling.apply(&Tensor::from([[2.0], [5.0]])).to_vec::<f32>()?, [0.5, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn min_max(x: &Tensor, axis: impl Axis) -> Result<Scaling> {
        Ok(Scaling::min_max_of(&Statistics::of(x, axis)?))
    }
    /// As [`standard`](Scaling::standard), of what is known already.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Scaling, Statistics}};
    /// let x = Tensor::from([[1.0], [3.0]]);
    /// assert_eq!(Scaling::standard_of(&Statistics::of(&x, -1)?), Scaling::standard(&x, -1)?);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn standard_of(statistics: &Statistics) -> Scaling {
        Scaling::new(statistics.axis, statistics.mean(), statistics.deviation())
    }
    /// As [`min_max`](Scaling::min_max), of what is known already.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Scaling, Statistics}};
    /// let x = Tensor::from([[1.0], [3.0]]);
    /// assert_eq!(Scaling::min_max_of(&Statistics::of(&x, -1)?), Scaling::min_max(&x, -1)?);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn min_max_of(statistics: &Statistics) -> Scaling {
        let width = statistics.high.iter().zip(&statistics.low).map(|(high, low)| high - low);
        Scaling::new(statistics.axis, statistics.low.clone(), width.collect())
    }
    fn new(axis: isize, shift: Vec<f64>, mut divisor: Vec<f64>) -> Scaling {
        // Constant columns, and those of no rows.
        divisor
            .iter_mut()
            .filter(|divisor| **divisor <= 0.0 || !divisor.is_finite())
            .for_each(|divisor| *divisor = 1.0);
        let shift = shift.into_iter().map(|shift| if shift.is_finite() { shift } else { 0.0 }).collect();
        Scaling { axis, shift, divisor }
    }
    /// What is taken off each column.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }
    /// By what each column is divided then.
    pub fn divisor(&self) -> &[f64] {
        &self.divisor
    }
    /// To the scale. Integers become f32.
    #[track_caller]
    pub fn apply(&self, x: &Tensor) -> Tensor {
        match self.beside(x) {
            Ok([x, shift, divisor]) => (x - shift) / divisor,
            Err(error) => Tensor::failed(error),
        }
    }
    /// Back from the scale.
    #[track_caller]
    pub fn undo(&self, x: &Tensor) -> Tensor {
        match self.beside(x) {
            Ok([x, shift, divisor]) => x * divisor + shift,
            Err(error) => Tensor::failed(error),
        }
    }
    /// The tensor as floats, and the numbers that go with it, along its axis.
    #[track_caller]
    fn beside(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let at = Location::caller();
        let fail = |fault| Error::with("scaling", fault, Vec::new(), at);
        let shape = x.shape()?;
        let along = self.axis.resolve(shape.len()).map_err(fail)?;
        if shape[along] != self.shift.len() {
            let what = format!("{} columns were scaled, axis {} of {shape:?} is another", self.shift.len(), self.axis);
            return Err(fail(Fault::shape(what, "apply it to data of the same columns, in the same order")));
        }
        let dtype = x.dtype()?;
        let dtype = if dtype.is_float() { dtype } else { DType::F32 };
        let mut sizes = vec![1; shape.len() - along];
        sizes[0] = self.shift.len();
        let along_axis = |numbers: &[f64]| Tensor::from_slice(numbers, &sizes[..]).map(|x| x.to_dtype(dtype));
        Ok([x.to_dtype(dtype), along_axis(&self.shift)?, along_axis(&self.divisor)?])
    }
    /// For a checkpoint.
    #[track_caller]
    pub fn state(&self) -> Result<State> {
        let mut state = State::tree();
        state.insert("axis", State::Integer(self.axis as i64))?;
        state.insert("shift", State::Tensor(Tensor::from_slice(&self.shift, [self.shift.len()])?))?;
        state.insert("divisor", State::Tensor(Tensor::from_slice(&self.divisor, [self.divisor.len()])?))?;
        Ok(state)
    }
    /// Becomes the scaling of a checkpoint.
    #[track_caller]
    pub fn load_state(&mut self, state: &State) -> Result<()> {
        let axis = state.get("axis")?.integer()?;
        let (shift, divisor) = (state.get("shift")?.tensor()?, state.get("divisor")?.tensor()?);
        let ([count], [divisors]) = (shift.dims()?, divisor.dims()?);
        let (shift, divisor) = (shift.to_vec::<f64>()?, divisor.to_vec::<f64>()?);
        let sound = shift.iter().all(|x| x.is_finite()) && divisor.iter().all(|&x| x > 0.0 && x.is_finite());
        let Ok(axis) = isize::try_from(axis) else { return Err(damaged(format!("axis {axis}"))) };
        if count != divisors || !sound {
            return Err(damaged(format!("shifts {shift:?} and divisors {divisor:?}")));
        }
        *self = Scaling { axis, shift, divisor };
        Ok(())
    }
}

/// The sum over a function of these numbers, in four sums side by side: none waits for another.
fn sum_of<T: Element>(numbers: &[T], of: impl Fn(f64) -> f64) -> f64 {
    let (fours, rest) = numbers.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for four in fours {
        sums.iter_mut().zip(four).for_each(|(sum, number)| *sum += of(number.to_f64()));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|number| of(number.to_f64())).sum::<f64>()
}

#[cold]
#[track_caller]
fn damaged(what: String) -> Error {
    let help = "the state was damaged, or written by something else";
    Error::new("scaling", Fault::value(format!("the state has {what}"), help))
}
