//! Reductions on the processor: a plan of loops, one driver, and a fold for each story.

mod extremes;
mod few;
mod fold;
mod gradients;
mod logsumexp;
mod moments;
mod plan;
mod sums;

use super::Cpu;
use super::real::Real;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::reduce::{Reduce, floats, folded_count, folded_shape, not_empty, walkable};
use crate::error::Fault;
use crate::layout::{DType, Element, Shape, dispatch_float};
pub(super) use extremes::{Bounded, greatest_known_of, greatest_of_rows};
use extremes::{Extreme, Place};
pub(super) use fold::WIDTH;
use fold::{Fold, fold_into};
use logsumexp::{Exponentials, LogSumExp};
use moments::Spread;
pub(super) use moments::{Moments, SPAN};
pub(super) use plan::Loops;
use plan::Plan;
use std::marker::PhantomData;
pub(super) use sums::is_nan;
use sums::{Count, InDouble, Sum, Term, Whole};

/// Folds `axes` of `x`; `finish` makes the result of a state.
fn fold<F: Fold, O: Element>(
    x: &Value,
    axes: &[usize],
    keep: bool,
    fold: F,
    finish: impl Fn(F::State) -> O + Sync,
) -> Result<Value, Fault> {
    walkable(x)?;
    let data = x.strided::<F::Item>()?;
    let plan = Plan::new(data.layout, axes, false);
    Value::build(folded_shape(x, axes, keep)?, |out| fold_into(data.data, &plan, fold, out, &each(finish)))
}

/// One result after another.
fn each<S: Copy, O>(finish: impl Fn(S) -> O + Sync) -> impl Fn(&[S], &mut [O]) + Sync {
    move |states, out| {
        for (out, &state) in out.iter_mut().zip(states) {
            *out = finish(state);
        }
    }
}

/// As [`fold`], in the order of the elements, with two results.
fn fold_pair<F: Fold, A: Element, B: Element>(
    x: &Value,
    axes: &[usize],
    keep: bool,
    fold: F,
    finish: impl Fn(F::State) -> (A, B) + Sync,
) -> Result<(Value, Value), Fault> {
    walkable(x)?;
    let data = x.strided::<F::Item>()?;
    let plan = Plan::new(data.layout, axes, true);
    let shape = folded_shape(x, axes, keep)?;
    let mut pairs = vec![(A::default(), B::default()); shape.count()];
    fold_into(data.data, &plan, fold, &mut pairs, &each(finish));
    let first = Value::build(shape, |out| {
        for (out, pair) in out.iter_mut().zip(&pairs) {
            *out = pair.0;
        }
    })?;
    let second = Value::build(shape, |out| {
        for (out, pair) in out.iter_mut().zip(&pairs) {
            *out = pair.1;
        }
    })?;
    Ok((first, second))
}

/// What numbers are compared as: a type that holds all of them exactly. (Code has a budget.)
pub(super) fn compared_as(dtype: DType) -> DType {
    match dtype {
        DType::F64 | DType::F32 => dtype,
        DType::BF16 | DType::F16 => DType::F32,
        _ => DType::I64,
    }
}

/// Runs `$body` for a type that numbers are [`compared_as`].
macro_rules! dispatch_compared {
    ($dtype:expr, $T:ident => $body:expr) => {
        crate::layout::dispatch_float!($dtype, $T => $body, else { type $T = i64; $body })
    };
}
pub(super) use dispatch_compared;

/// A kernel for floats on half precision: on the widened input, rounded once.
fn in_f32(x: &Value, kernel: impl FnOnce(&Value) -> Result<Value, Fault>) -> Result<Value, Fault> {
    Cpu.cast(&kernel(&Cpu.cast(x, DType::F32)?)?, x.dtype())
}

/// The sum of terms, divided; of squares the root of their sum.
fn sum_terms<T: Real>(x: &Value, axes: &[usize], keep: bool, term: Term, divisor: f64) -> Result<Value, Fault> {
    let root = matches!(term, Term::Square);
    let finish = |sum: f64| T::narrow(if root { sum.sqrt() } else { sum / divisor });
    if matches!(term, Term::Plain)
        && let Some(sum) = few::sum(x, axes, keep, finish)
    {
        return sum;
    }
    fold(x, axes, keep, Sum::<T>(term, PhantomData), finish)
}

impl Reduce for Cpu {
    fn sum(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        match x.dtype() {
            DType::BF16 | DType::F16 => in_f32(x, |x| self.sum(x, axes, keep)),
            DType::Bool => self.count_nonzero(x, axes, keep),
            dtype => dispatch_float!(
                dtype,
                T => sum_terms::<T>(x, axes, keep, Term::Plain, 1.0),
                else fold(&self.cast(x, DType::I64)?, axes, keep, Whole { product: false }, |sum| sum)
            ),
        }
    }

    fn sum_known(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        match x.dtype() {
            DType::BF16 | DType::F16 => in_f32(x, |x| self.sum_known(x, axes, keep)),
            dtype => dispatch_float!(
                dtype,
                T => sum_terms::<T>(x, axes, keep, Term::Known, 1.0),
                else self.sum(x, axes, keep)
            ),
        }
    }

    fn mean(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        floats(x, "the mean")?;
        if x.dtype().is_half() {
            return in_f32(x, |x| self.mean(x, axes, keep));
        }
        let count = folded_count(x, axes) as f64;
        dispatch_float!(
            x.dtype(),
            T => sum_terms::<T>(x, axes, keep, Term::Plain, count),
            else Err(Fault::defect("no float"))
        )
    }

    fn product(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        match x.dtype() {
            DType::BF16 | DType::F16 => in_f32(x, |x| self.product(x, axes, keep)),
            dtype => dispatch_float!(
                dtype,
                T => fold(x, axes, keep, InDouble::<T>::Product, T::narrow),
                else fold(&self.cast(x, DType::I64)?, axes, keep, Whole { product: true }, |product| product)
            ),
        }
    }

    fn extreme(&self, x: &Value, axes: &[usize], keep: bool, greatest: bool) -> Result<Value, Fault> {
        not_empty(x, axes)?;
        let (wide, dtype) = (self.cast(x, compared_as(x.dtype()))?, x.dtype());
        let best = dispatch_compared!(wide.dtype(), T => {
            fold(&wide, axes, keep, Extreme::<T> { greatest, of: PhantomData }, |best| best)
        })?;
        self.cast(&best, dtype)
    }

    fn extreme_place(&self, x: &Value, axes: &[usize], keep: bool, greatest: bool) -> Result<(Value, Value), Fault> {
        not_empty(x, axes)?;
        let (wide, dtype) = (self.cast(x, compared_as(x.dtype()))?, x.dtype());
        let (best, place) = dispatch_compared!(wide.dtype(), T => {
            let place = Place(Extreme::<T> { greatest, of: PhantomData });
            fold_pair(&wide, axes, keep, place, |(best, place)| (best, place as i64))
        })?;
        Ok((self.cast(&best, dtype)?, place))
    }

    fn any(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        fold(&self.cast(x, DType::Bool)?, axes, keep, Count, |count| count > 0)
    }

    fn all(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        let wanted = folded_count(x, axes) as i64;
        fold(&self.cast(x, DType::Bool)?, axes, keep, Count, |count| count == wanted)
    }

    fn count_nonzero(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        fold(&self.cast(x, DType::Bool)?, axes, keep, Count, |count| count)
    }

    fn variance(
        &self,
        x: &Value,
        axes: &[usize],
        keep: bool,
        correction: f64,
        root: bool,
    ) -> Result<(Value, Value), Fault> {
        floats(x, "the variance")?;
        if x.dtype().is_half() {
            let (variance, mean) = self.variance(&self.cast(x, DType::F32)?, axes, keep, correction, root)?;
            return Ok((self.cast(&variance, x.dtype())?, self.cast(&mean, x.dtype())?));
        }
        dispatch_float!(
            x.dtype(),
            T => fold_pair(x, axes, keep, Spread::<T>(PhantomData), |moments| {
                let variance = moments.variance(correction);
                (T::narrow(if root { variance.sqrt() } else { variance }), T::narrow(moments.mean()))
            }),
            else Err(Fault::defect("no float"))
        )
    }

    fn norm(&self, x: &Value, axes: &[usize], keep: bool, order: f64) -> Result<Value, Fault> {
        floats(x, "a norm")?;
        if x.dtype().is_half() {
            return in_f32(x, |x| self.norm(x, axes, keep, order));
        }
        if order.is_infinite() {
            not_empty(x, axes)?;
        }
        dispatch_float!(x.dtype(), T => norm::<T>(x, axes, keep, order), else Err(Fault::defect("no float")))
    }

    fn logsumexp(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        floats(x, "logsumexp")?;
        if x.dtype().is_half() {
            return in_f32(x, |x| self.logsumexp(x, axes, keep));
        }
        dispatch_float!(
            x.dtype(),
            T => fold(x, axes, keep, LogSumExp::<T>(PhantomData), |sum: Exponentials<T>| T::narrow(sum.logarithm())),
            else Err(Fault::defect("no float"))
        )
    }

    fn product_of_others(&self, x: &Value, axes: &[usize]) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return in_f32(x, |x| self.product_of_others(x, axes));
        }
        dispatch_float!(x.dtype(), T => gradients::others::<T>(x, axes), else Err(Fault::defect("no float")))
    }

    fn shares(&self, x: &Value, best: &Value, axes: &[usize], nan: bool) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            let (wide, best) = (self.cast(x, DType::F32)?, self.cast(best, DType::F32)?);
            return self.cast(&self.shares(&wide, &best, axes, nan)?, x.dtype());
        }
        dispatch_float!(x.dtype(), T => gradients::shares::<T>(x, best, axes, nan), else Err(Fault::defect("no float")))
    }

    fn put(&self, x: &Value, places: &Value, shape: Shape, axes: &[usize]) -> Result<Value, Fault> {
        gradients::put(x, places, shape, axes)
    }

    fn pick(&self, x: &Value, places: &Value, axes: &[usize]) -> Result<Value, Fault> {
        gradients::pick(x, places, axes)
    }
}

/// For softmax: of every column along `axis` of a dense tensor the greatest number, and what to do with the rest
/// (`1 / Σ e^(x - greatest)`; for the logarithm `ln Σ e^(x - greatest)`).
pub(super) fn exponentials<T: Real + Bounded>(x: &Value, axis: usize, logarithm: bool) -> Result<Vec<(T, T)>, Fault> {
    let data = x.strided::<T>()?;
    let plan = Plan::new(data.layout, &[axis], false);
    let mut statistics = vec![(T::ZERO, T::ZERO); plan.kept.count()];
    let finish = each(|sum: Exponentials<T>| sum.statistics(logarithm));
    fold_into(data.data, &plan, LogSumExp::<T>(PhantomData), &mut statistics, &finish);
    Ok(statistics)
}

fn norm<T: Real>(x: &Value, axes: &[usize], keep: bool, order: f64) -> Result<Value, Fault> {
    if order.is_infinite() {
        let x = Cpu.contiguous(x)?;
        let data = x.dense::<T>()?;
        let magnitudes = Value::build::<T>(*x.shape(), |out| {
            for (out, x) in out.iter_mut().zip(data) {
                *out = x.magnitude();
            }
        })?;
        return Cpu.extreme(&magnitudes, axes, keep, order > 0.0);
    }
    if order == 0.0 {
        return Cpu.cast(&Cpu.count_nonzero(x, axes, keep)?, x.dtype());
    }
    if order == 1.0 {
        return sum_terms::<T>(x, axes, keep, Term::Magnitude, 1.0);
    }
    let exact = |x: &Value| {
        fold(x, axes, keep, InDouble::<T>::Powers(order, PhantomData), |sum| {
            T::narrow(if order == 2.0 { sum.sqrt() } else { sum.powf(1.0 / order) })
        })
    };
    if order == 2.0 {
        let norm = sum_terms::<T>(x, axes, keep, Term::Square, 1.0)?;
        // Squares of f32 overflow and vanish long before their root does: then once more in f64.
        let safe = |&x: &T| x.wide() < 1e15 && x.wide() > 1e-15;
        return if T::DTYPE == DType::F64 || norm.dense::<T>()?.iter().all(safe) { Ok(norm) } else { exact(x) };
    }
    exact(x)
}

#[cfg(test)]
mod tests;
