//! Running sums on the processor: a dense tensor is `[outer, size, inner]`, and the numbers of a row run side by side.

use super::real::Real;
use super::reduce::{compared_as, dispatch_compared};
use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::scan::Scan;
use crate::device::{Value, by_size};
use crate::error::Fault;
use crate::layout::{DType, Element, dispatch_float};

/// How many numbers run side by side at a time.
const STRIP: usize = 64;

/// The axis of a dense tensor: `size` rows of `inner`, again and again.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    inner: usize,
}

impl Axis {
    fn of(x: &Value, axis: usize) -> Axis {
        if x.rank() == 0 {
            return Axis { size: 1, inner: 1 };
        }
        Axis { size: x.dims()[axis], inner: x.dims()[axis + 1..].iter().product() }
    }
    /// One walk along the axis.
    fn block(self) -> usize {
        (self.size * self.inner).max(1)
    }
}

/// Walks along the axis with a state for each of the numbers side by side; `step` takes a number in and says what to write.
fn scan<T: Element, S: Copy + Send + Sync>(
    x: &Value,
    axis: usize,
    start: S,
    reversed: bool,
    step: impl Fn(&mut S, T) -> T + Sync,
) -> Result<Value, Fault> {
    let x = Cpu.contiguous(x)?;
    let along = Axis::of(&x, axis);
    let data = x.dense::<T>()?;
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 4, |index, out| {
            let x = &data[index * along.block()..][..out.len()];
            let mut from = 0;
            while from < along.inner {
                let width = STRIP.min(along.inner - from);
                let mut states = [start; STRIP];
                for number in 0..along.size {
                    let row = if reversed { along.size - 1 - number } else { number };
                    let place = row * along.inner + from..row * along.inner + from + width;
                    for ((state, out), &x) in states.iter_mut().zip(&mut out[place.clone()]).zip(&x[place]) {
                        *out = step(state, x);
                    }
                }
                from += width;
            }
        });
    })
}

fn in_f32(x: &Value, kernel: impl FnOnce(&Value) -> Result<Value, Fault>) -> Result<Value, Fault> {
    Cpu.cast(&kernel(&Cpu.cast(x, DType::F32)?)?, x.dtype())
}

fn no_float(what: &str, x: &Value) -> Fault {
    Fault::dtype(
        format!("{what} of {} numbers is not defined", x.dtype()),
        "convert to a float first: x.to_dtype(DType::F32)",
    )
}

impl Scan for Cpu {
    fn cumulative_sum(&self, x: &Value, axis: usize, reversed: bool) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return in_f32(x, |x| self.cumulative_sum(x, axis, reversed));
        }
        // The running sum is carried in f64, so that it stays exact along thousands of f32.
        let add = |sum: &mut f64, x: f64| {
            *sum += x;
            *sum
        };
        dispatch_float!(
            x.dtype(),
            T => scan::<T, f64>(x, axis, 0.0, reversed, |sum, x| T::narrow(add(sum, x.wide()))),
            else scan::<i64, i64>(&self.cast(x, DType::I64)?, axis, 0, reversed, |sum, x| {
                *sum = sum.wrapping_add(x);
                *sum
            })
        )
    }

    fn cumulative_product(&self, x: &Value, axis: usize) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return in_f32(x, |x| self.cumulative_product(x, axis));
        }
        dispatch_float!(
            x.dtype(),
            T => scan::<T, f64>(x, axis, 1.0, false, |product, x| {
                *product *= x.wide();
                T::narrow(*product)
            }),
            else scan::<i64, i64>(&self.cast(x, DType::I64)?, axis, 1, false, |product, x| {
                *product = product.wrapping_mul(x);
                *product
            })
        )
    }

    fn cumulative_logsumexp(&self, x: &Value, axis: usize) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return in_f32(x, |x| self.cumulative_logsumexp(x, axis));
        }
        dispatch_float!(
            x.dtype(),
            T => scan::<T, f64>(x, axis, f64::NEG_INFINITY, false, |sum, x| {
                let x = x.wide();
                let (low, high) = if *sum < x { (*sum, x) } else { (x, *sum) };
                *sum = if low == high && high.is_infinite() { high } else { high + (low - high).exp().ln_1p() };
                T::narrow(*sum)
            }),
            else Err(no_float("cumulative_logsumexp", x))
        )
    }

    fn cumulative_extreme(&self, x: &Value, axis: usize, greatest: bool) -> Result<(Value, Value), Fault> {
        let wide = self.cast(x, compared_as(x.dtype()))?;
        let (best, places) = dispatch_compared!(wide.dtype(), T => extremes::<T>(&wide, axis, greatest))?;
        Ok((self.cast(&best, x.dtype())?, places))
    }

    fn cumulative_product_gradient(&self, x: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            let g = self.cast(g, DType::F32)?;
            return in_f32(x, |x| self.cumulative_product_gradient(x, &g, axis));
        }
        dispatch_float!(x.dtype(), T => product_gradient::<T>(x, g, axis), else Err(no_float("a gradient", x)))
    }

    fn cumulative_logsumexp_gradient(&self, x: &Value, y: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            let (y, g) = (self.cast(y, DType::F32)?, self.cast(g, DType::F32)?);
            return in_f32(x, |x| self.cumulative_logsumexp_gradient(x, &y, &g, axis));
        }
        dispatch_float!(x.dtype(), T => logsumexp_gradient::<T>(x, y, g, axis), else Err(no_float("a gradient", x)))
    }

    fn add_at_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return in_f32(x, |x| self.add_at_places(x, places, axis));
        }
        dispatch_float!(x.dtype(), T => add_at::<T>(x, places, axis), else Err(no_float("a gradient", x)))
    }

    fn take_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
        take(x, places, axis)
    }
}

fn extremes<T: Element>(x: &Value, axis: usize, greatest: bool) -> Result<(Value, Value), Fault> {
    let x = Cpu.contiguous(x)?;
    let along = Axis::of(&x, axis);
    let data = x.dense::<T>()?;
    let mut places = vec![0i64; x.count()];
    let values = Value::build::<T>(*x.shape(), |out| {
        let cut = along.block();
        parallel::chunks_pair((out, cut), (&mut places, cut), 4, |index, out, places| {
            let x = &data[index * cut..][..out.len()];
            out[..along.inner].copy_from_slice(&x[..along.inner]);
            for at in along.inner..out.len() {
                let (held, new) = (out[at - along.inner], x[at]);
                let nan = |x: T| x.partial_cmp(&x).is_none();
                let better = nan(new) || !nan(held) && if greatest { new >= held } else { new <= held };
                (out[at], places[at]) =
                    if better { (new, (at / along.inner) as i64) } else { (held, places[at - along.inner]) };
            }
        });
    })?;
    let places = Value::build::<i64>(*x.shape(), |out| out.copy_from_slice(&places))?;
    Ok((values, places))
}

/// `∂L/∂xᵢ = Σ over k ≥ i of gₖ Π xⱼ over j ≤ k, j ≠ i`, by what stands before and a recurrence from behind: no division,
/// so zeros do no harm.
fn product_gradient<T: Real>(x: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, g) = (Cpu.contiguous(x)?, Cpu.contiguous(g)?);
    let along = Axis::of(&x, axis);
    let (xs, gs) = (x.dense::<T>()?, g.dense::<T>()?);
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 8, |index, out| {
            let from = index * along.block();
            let (xs, gs) = (&xs[from..from + out.len()], &gs[from..from + out.len()]);
            let mut before = vec![1.0; along.size];
            for column in 0..along.inner {
                let mut product = 1.0;
                for (row, before) in before.iter_mut().enumerate() {
                    *before = product;
                    product *= xs[row * along.inner + column].wide();
                }
                // gᵢ + xᵢ₊₁ (gᵢ₊₁ + xᵢ₊₂ (...)).
                let mut behind = 0.0;
                for row in (0..along.size).rev() {
                    let at = row * along.inner + column;
                    let own = gs[at].wide() + behind;
                    out[at] = T::narrow(before[row] * own);
                    behind = xs[at].wide() * own;
                }
            }
        });
    })
}

/// `∂L/∂xᵢ = e^(xᵢ - yᵢ) rᵢ` with `rᵢ = gᵢ + e^(yᵢ - yᵢ₊₁) rᵢ₊₁`: results never fall, so no exponential overflows.
fn logsumexp_gradient<T: Real>(x: &Value, y: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, y, g) = (Cpu.contiguous(x)?, Cpu.contiguous(y)?, Cpu.contiguous(g)?);
    let along = Axis::of(&x, axis);
    let (xs, ys, gs) = (x.dense::<T>()?, y.dense::<T>()?, g.dense::<T>()?);
    // Between equal infinities nothing is lost or gained.
    let ratio = |low: f64, high: f64| if low == high { 1.0 } else { (low - high).exp() };
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 8, |index, out| {
            let from = index * along.block();
            for column in 0..along.inner {
                let (mut behind, mut next) = (0.0, f64::INFINITY);
                for row in (0..along.size).rev() {
                    let at = from + row * along.inner + column;
                    let (x, y) = (xs[at].wide(), ys[at].wide());
                    behind = gs[at].wide() + ratio(y, next) * behind;
                    next = y;
                    let share = if x == f64::NEG_INFINITY { 0.0 } else { ratio(x, y) };
                    out[at - from] = T::narrow(share * behind);
                }
            }
        });
    })
}

fn add_at<T: Real>(x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, places) = (Cpu.contiguous(x)?, Cpu.contiguous(places)?);
    let along = Axis::of(&x, axis);
    let (xs, places) = (x.dense::<T>()?, places.dense::<i64>()?);
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 4, |index, out| {
            out.fill(T::ZERO);
            let from = index * along.block();
            for at in 0..out.len() {
                let place = (places[from + at] as usize).min(along.size - 1);
                out[place * along.inner + at % along.inner] += xs[from + at];
            }
        });
    })
}

fn take(x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, places) = (Cpu.contiguous(x)?, Cpu.contiguous(places)?);
    let along = Axis::of(&x, axis);
    let places = places.dense::<i64>()?;
    let mut out = Value::blank(*x.shape(), x.dtype())?;
    by_size!(x.dtype(), W => {
        let (out, xs) = Value::dense_words::<W>(&mut out, &x)?;
        for (at, out) in out.iter_mut().enumerate() {
            let place = (places[at] as usize).min(along.size - 1);
            *out = xs[at / along.block() * along.block() + place * along.inner + at % along.inner];
        }
    });
    Ok(out)
}
