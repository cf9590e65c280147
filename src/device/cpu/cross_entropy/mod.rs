//! Cross entropy on the processor: a row of scores is read into the cache once; the target is a number, never a row.

mod columns;
mod rows;

use super::Cpu;
use super::real::Real;
use super::reduce::Bounded;
use super::rows::{axis_last, dense_as, is_columns, no_float, wide, wide_option};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cross_entropy::{Classes, CrossEntropy, Entropies, Reduction, out_of_range};
use crate::error::Fault;
use crate::layout::{DType, Shape, dispatch_float};

/// The class of an element that does not count.
const NONE: i64 = -1;

/// What one row of scores gives.
#[derive(Clone, Copy)]
struct Row<T> {
    loss: f64,
    greatest: T,
    scale: T,
}

/// What the gradient of one row is made of: `share · e^(x - greatest)`, less `even` for each class (times its weight) and
/// `own` for the one that is meant.
#[derive(Clone, Copy)]
struct Slope<T> {
    greatest: T,
    share: T,
    even: T,
    own: T,
    class: i64,
}

/// The targets of all rows, checked, and how they count.
struct Targets<'a, T> {
    classes: &'a [i64],
    weights: Option<&'a [T]>,
    /// The mean of the weights.
    even: f64,
    how: Classes,
}

impl<T: Real> Targets<'_, T> {
    /// The weight of a class.
    #[inline(always)]
    fn weight(&self, class: i64) -> f64 {
        self.weights.map_or(1.0, |weights| weights[class as usize].wide())
    }
    /// The loss of a row: the logarithm of Σ e^(x - greatest), the score that is meant less the greatest, and Σ w (x - greatest).
    #[inline(always)]
    fn loss(&self, class: i64, logarithm: f64, own: f64, spread: f64, count: usize) -> f64 {
        let smoothing = self.how.smoothing;
        let plain = (1.0 - smoothing) * self.weight(class) * (logarithm - own);
        if smoothing == 0.0 {
            return plain;
        }
        plain + smoothing * (self.even * logarithm - spread / count as f64)
    }
}

/// Classes as dense i64, those that do not count as `NONE`, and the sum of the weights of the rest.
fn checked<T: Real>(
    target: &Value,
    count: usize,
    weights: Option<&[T]>,
    ignored: Option<i64>,
) -> Result<(Vec<i64>, f64), Fault> {
    let dense = Cpu.contiguous(&Cpu.cast(target, DType::I64)?)?;
    let mut classes = dense.dense::<i64>()?.to_vec();
    let mut total = 0.0;
    for (position, class) in classes.iter_mut().enumerate() {
        if Some(*class) == ignored {
            *class = NONE;
        } else if (0..count as i64).contains(class) {
            total += weights.map_or(1.0, |weights| weights[*class as usize].wide());
        } else {
            return Err(out_of_range(target.dims(), position, *class, count, ignored));
        }
    }
    Ok((classes, total))
}

/// The sum in eight parts, so that additions need not wait for each other.
fn sum(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let mut lanes = [0.0; 8];
    for (i, number) in numbers.enumerate() {
        lanes[i % 8] += number;
    }
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

fn dense_option<T: Real>(weights: Option<&Value>) -> Result<Option<&[T]>, Fault> {
    weights.map(Value::dense::<T>).transpose()
}

fn mean_of<T: Real>(weights: Option<&[T]>) -> f64 {
    weights.map_or(1.0, |weights| sum(weights.iter().map(|w| w.wide())) / weights.len() as f64)
}

fn forward<T: Real + Bounded>(
    x: &Value,
    target: &Value,
    weights: Option<&Value>,
    how: Classes,
) -> Result<Entropies, Fault> {
    let count = x.dims()[how.axis];
    let weights = dense_option::<T>(weights)?;
    let (classes, total) = checked(target, count, weights, how.ignored)?;
    let targets = Targets { classes: &classes, weights, even: mean_of(weights), how };
    let rows = if const { !T::DOUBLE } && count > 0 && is_columns(x, how.axis) {
        columns::forward::<T>(x, &targets)?
    } else {
        rows::forward::<T>(&last(x, how.axis)?, &targets)?
    };
    let total_of_all = sum(rows.iter().map(|row| row.loss));
    let single = Shape::new(&[])?;
    let output = match how.reduction {
        Reduction::None => Value::build::<T>(*target.shape(), |out| {
            for (out, row) in out.iter_mut().zip(&rows) {
                *out = T::narrow(row.loss);
            }
        })?,
        Reduction::Sum => Value::full(single, T::DTYPE, total_of_all)?,
        Reduction::Mean => Value::full(single, T::DTYPE, total_of_all / total)?,
    };
    let kept = |pick: fn(&Row<T>) -> T| {
        Value::build::<T>(Shape::new(&[rows.len()])?, |out| {
            for (out, row) in out.iter_mut().zip(&rows) {
                *out = pick(row);
            }
        })
    };
    let (greatest, scale) = (kept(|row| row.greatest)?, kept(|row| row.scale)?);
    Ok(Entropies { output, greatest, scale, total: Value::full(single, DType::F64, total)? })
}

/// The class axis last, its elements neighbours.
fn last(x: &Value, axis: usize) -> Result<Value, Fault> {
    let (order, _) = axis_last(x.rank(), axis);
    let x = x.with_layout(x.layout().permuted(&order))?;
    if x.layout().strides().last() == Some(&1) { Ok(x) } else { Cpu.contiguous(&x) }
}

fn gradient<T: Real>(
    x: &Value,
    target: &Value,
    weights: Option<&Value>,
    g: &Value,
    [greatest, scale, total]: [&Value; 3],
    how: Classes,
) -> Result<Value, Fault> {
    let count = x.dims()[how.axis];
    let weights = dense_option::<T>(weights)?;
    let (classes, _) = checked(target, count, weights, how.ignored)?;
    let targets = Targets { classes: &classes, weights, even: mean_of(weights), how };
    let (greatest, scale, g) = (greatest.dense::<T>()?, scale.dense::<T>()?, g.dense::<T>()?);
    let total = total.dense::<f64>()?.first().copied().unwrap_or(f64::NAN);
    let slope = |row: usize| {
        let class = classes[row];
        if class == NONE {
            return Slope { greatest: T::ZERO, share: T::ZERO, even: T::ZERO, own: T::ZERO, class };
        }
        let arriving = match how.reduction {
            Reduction::None => g[row].wide(),
            Reduction::Sum => g[0].wide(),
            Reduction::Mean => g[0].wide() / total,
        };
        let own = arriving * (1.0 - how.smoothing) * targets.weight(class);
        let all = own + arriving * how.smoothing * targets.even;
        let even = if how.smoothing == 0.0 { 0.0 } else { arriving * how.smoothing / count as f64 };
        Slope {
            greatest: greatest[row],
            share: T::narrow(all * scale[row].wide()),
            even: T::narrow(even),
            own: T::narrow(own),
            class,
        }
    };
    let slopes: Vec<Slope<T>> = (0..classes.len()).map(slope).collect();
    if const { !T::DOUBLE } && count > 0 && is_columns(x, how.axis) {
        return columns::gradient::<T>(x, &slopes, &targets);
    }
    let (_, back) = axis_last(x.rank(), how.axis);
    let result = rows::gradient::<T>(&last(x, how.axis)?, &slopes, &targets)?;
    result.with_layout(result.layout().permuted(&back))
}

impl CrossEntropy for Cpu {
    fn cross_entropy(
        &self,
        x: &Value,
        target: &Value,
        weights: Option<&Value>,
        how: Classes,
    ) -> Result<Entropies, Fault> {
        if x.dtype().is_half() {
            let weights = wide_option(weights)?;
            let mut result = self.cross_entropy(&wide(x)?, target, weights.as_ref(), how)?;
            result.output = self.cast(&result.output, x.dtype())?;
            return Ok(result);
        }
        let weights = dense_as(weights, x.dtype())?;
        dispatch_float!(
            x.dtype(),
            T => forward::<T>(x, target, weights.as_ref(), how),
            else Err(no_float("a cross entropy", x))
        )
    }

    fn cross_entropy_gradient(
        &self,
        x: &Value,
        target: &Value,
        weights: Option<&Value>,
        g: &Value,
        kept: [&Value; 3],
        how: Classes,
    ) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            let (weights, g) = (wide_option(weights)?, wide(g)?);
            let result = self.cross_entropy_gradient(&wide(x)?, target, weights.as_ref(), &g, kept, how)?;
            return self.cast(&result, x.dtype());
        }
        let weights = dense_as(weights, x.dtype())?;
        let g = self.contiguous(g)?;
        dispatch_float!(
            x.dtype(),
            T => gradient::<T>(x, target, weights.as_ref(), &g, kept, how),
            else Err(no_float("a cross entropy", x))
        )
    }
}
