//! Running sums on the processor: a dense tensor is `[outer, size, inner]`, and the numbers of a row run side by side.

use super::cast::rounded;
use super::reduce::{compared_as, dispatch_compared};
use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::scan::Scan;
use crate::device::{Value, by_size};
use crate::error::Fault;
use crate::layout::{DType, Element};
use std::convert::identity;

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

/// Steps along an axis, known by pointer: what walks memory is compiled for the types alone.
trait Steps<S, T>: Sync {
    /// Takes a number into each state and makes a result of it.
    fn beside(&self, states: &mut [S], x: &[T], out: &mut [T]);
    /// Takes neighbours into one state, one after the other, and makes a result after each.
    fn along(&self, state: &mut S, x: &[T], out: &mut [T], reversed: bool);
}

/// What takes a number into a state, and what makes a result of it.
struct Of<F, G>(F, G);

impl<S: Copy, T: Copy, F: Fn(S, T) -> S + Sync, G: Fn(S) -> T + Sync> Steps<S, T> for Of<F, G> {
    fn beside(&self, states: &mut [S], x: &[T], out: &mut [T]) {
        for ((state, out), &x) in states.iter_mut().zip(out).zip(x) {
            *state = (self.0)(*state, x);
            *out = (self.1)(*state);
        }
    }
    fn along(&self, state: &mut S, x: &[T], out: &mut [T], reversed: bool) {
        let take = |(out, &x): (&mut T, &T)| {
            *state = (self.0)(*state, x);
            *out = (self.1)(*state);
        };
        let pairs = out.iter_mut().zip(x);
        if reversed { pairs.rev().for_each(take) } else { pairs.for_each(take) }
    }
}

/// Walks along the axis with a state for each of the numbers side by side.
fn scan<S: Copy + Sync, T: Element>(
    x: &Value,
    axis: usize,
    start: S,
    reversed: bool,
    steps: &dyn Steps<S, T>,
) -> Result<Value, Fault> {
    let x = Cpu.contiguous(x)?;
    let along = Axis::of(&x, axis);
    let data = x.dense::<T>()?;
    Value::build::<T>(*x.shape(), |out| {
        if along.inner == 1 {
            return rows(along.size, (data, out), start, reversed, steps);
        }
        parallel::chunks(out, along.block(), 4, |index, out| {
            let x = &data[index * along.block()..][..out.len()];
            let mut from = 0;
            while from < along.inner {
                let width = STRIP.min(along.inner - from);
                let mut states = [start; STRIP];
                for number in 0..along.size {
                    let row = if reversed { along.size - 1 - number } else { number };
                    let place = row * along.inner + from..row * along.inner + from + width;
                    steps.beside(&mut states, &x[place.clone()], &mut out[place]);
                }
                from += width;
            }
        });
    })
}

/// Rows that are walked side by side, and how far each at a time: a step waits for the one before it, but not for those of
/// other rows.
const ROWS: usize = 4;
const STRETCH: usize = 16;

/// The walk along rows of `size` neighbours.
fn rows<S: Copy + Sync, T: Element>(
    size: usize,
    (data, out): (&[T], &mut [T]),
    start: S,
    reversed: bool,
    steps: &dyn Steps<S, T>,
) {
    parallel::chunks(out, ROWS * size, 4, |index, out| {
        let x = &data[index * ROWS * size..][..out.len()];
        let mut states = [start; ROWS];
        for done in (0..size).step_by(STRETCH) {
            let stretch = if reversed {
                size.saturating_sub(done + STRETCH)..size - done
            } else {
                done..size.min(done + STRETCH)
            };
            for ((out, x), state) in out.chunks_mut(size).zip(x.chunks(size)).zip(&mut states) {
                steps.along(state, &x[stretch.clone()], &mut out[stretch.clone()], reversed);
            }
        }
    });
}

/// Numbers in rows that one thread takes at a time.
const ROWS_OF_SUMS: usize = 16 * 1024;
/// Numbers that are summed up beside each other.
const FOUR: usize = 4;
/// Numbers of one turn of the loop.
const BLOCK: usize = 64;

/// Running sums along rows of neighbours, in f64. One addition would wait for the other: so each number and the three before it
/// are summed first (by twos, then both twos), and that is added to the running sum of four before, four of them at once. The order is the same for any
/// number of threads.
struct RunningSums<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
    size: usize,
    reversed: bool,
}

impl Kernel for RunningSums<'_> {
    type Output = ();
    // Four numbers of f64 are a register of AVX2.
    const WIDEST: SimdLevel = SimdLevel::Avx2;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (x, out) in self.x.chunks(self.size).zip(self.out.chunks_mut(self.size)) {
            if self.reversed { row::<true>(x, out) } else { row::<false>(x, out) }
        }
    }
}

#[inline(always)]
fn row<const REVERSED: bool>(x: &[f32], out: &mut [f32]) {
    let blocks = x.len() / BLOCK;
    let mut held = Held { sums: [0.0; FOUR], pairs: [0.0; FOUR] };
    for step in 0..blocks {
        let from = if REVERSED { x.len() - BLOCK * (step + 1) } else { BLOCK * step };
        // With the number before, or behind; the first block has none.
        let mut edge = [0.0; BLOCK + 1];
        let window = if REVERSED { x[from..].first_chunk() } else { x[..from + BLOCK].last_chunk() };
        let window = window.unwrap_or_else(|| {
            edge[!REVERSED as usize..][..BLOCK].copy_from_slice(&x[from..from + BLOCK]);
            &edge
        });
        if let Some(out) = out[from..].first_chunk_mut() {
            held.block::<REVERSED>(window, out);
        }
    }
    // The rest, one by one.
    let mut sum = held.sums[if REVERSED { 0 } else { FOUR - 1 }];
    for step in BLOCK * blocks..x.len() {
        let at = if REVERSED { x.len() - 1 - step } else { step };
        sum += x[at] as f64;
        out[at] = sum as f32;
    }
}

/// What goes from block to block.
struct Held {
    /// The last four running sums.
    sums: [f64; FOUR],
    /// The last four sums of two neighbours.
    pairs: [f64; FOUR],
}

impl Held {
    #[inline(always)]
    fn block<const REVERSED: bool>(&mut self, window: &[f32; BLOCK + 1], out: &mut [f32; BLOCK]) {
        let (mut sums, mut before) = (self.sums, self.pairs);
        for step in 0..BLOCK / FOUR {
            let from = FOUR * if REVERSED { BLOCK / FOUR - 1 - step } else { step };
            let mut pairs = [0.0; FOUR];
            for k in 0..FOUR {
                pairs[k] = window[from + k] as f64 + window[from + k + 1] as f64;
            }
            let [a, b, c, d] = pairs;
            let two = if REVERSED { [c, d, before[0], before[1]] } else { [before[2], before[3], a, b] };
            for k in 0..FOUR {
                sums[k] += pairs[k] + two[k];
            }
            for k in 0..FOUR {
                out[from + k] = sums[k] as f32;
            }
            before = pairs;
        }
        (self.sums, self.pairs) = (sums, before);
    }
}

/// Running sums of f32 where they stand.
fn running_sums(x: &Value, axis: usize, reversed: bool) -> Result<Value, Fault> {
    let along = Axis::of(x, axis);
    if along.inner > 1 {
        return scan(x, axis, 0.0, reversed, &Of(|sum: f64, x: f32| sum + x as f64, |sum| sum as f32));
    }
    let x = Cpu.contiguous(x)?;
    let data = x.dense::<f32>()?;
    let size = along.size.max(1);
    let cut = (ROWS_OF_SUMS / size).max(1) * size;
    Value::build::<f32>(*x.shape(), |out| {
        parallel::chunks(out, cut, 1, |index, out| {
            let x = &data[index * cut..][..out.len()];
            simd::run(RunningSums { x, out, size, reversed });
        });
    })
}

/// Computes in f64, so that what runs stays exact along thousands of f32, and rounds each result.
fn in_f64<const N: usize>(
    what: &str,
    values: [&Value; N],
    kernel: impl FnOnce([&Value; N]) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let dtype = values[0].dtype();
    if !dtype.is_float() {
        return Err(Fault::dtype(
            format!("{what} of {dtype} numbers is not defined"),
            "convert to a float first: x.to_dtype(DType::F32)",
        ));
    }
    let mut wide = values.map(Value::clone);
    for value in &mut wide {
        *value = Cpu.cast(value, DType::F64)?;
    }
    rounded(&kernel(wide.each_ref())?, dtype)
}

impl Scan for Cpu {
    fn cumulative_sum(&self, x: &Value, axis: usize, reversed: bool) -> Result<Value, Fault> {
        if !x.dtype().is_float() {
            return scan::<i64, i64>(&self.cast(x, DType::I64)?, axis, 0, reversed, &Of(i64::wrapping_add, identity));
        }
        if x.dtype() == DType::F32 {
            return running_sums(x, axis, reversed);
        }
        in_f64("a sum", [x], |[x]| scan(x, axis, 0.0, reversed, &Of(|sum: f64, x: f64| sum + x, identity)))
    }

    fn cumulative_product(&self, x: &Value, axis: usize) -> Result<Value, Fault> {
        if !x.dtype().is_float() {
            return scan::<i64, i64>(&self.cast(x, DType::I64)?, axis, 1, false, &Of(i64::wrapping_mul, identity));
        }
        in_f64("a product", [x], |[x]| scan(x, axis, 1.0, false, &Of(|product: f64, x: f64| product * x, identity)))
    }

    fn cumulative_logsumexp(&self, x: &Value, axis: usize) -> Result<Value, Fault> {
        in_f64("cumulative_logsumexp", [x], |[x]| {
            let join = |sum: f64, x: f64| {
                let (low, high) = if sum < x { (sum, x) } else { (x, sum) };
                if low == high && high.is_infinite() { high } else { high + (low - high).exp().ln_1p() }
            };
            scan(x, axis, f64::NEG_INFINITY, false, &Of(join, identity))
        })
    }

    fn cumulative_extreme(&self, x: &Value, axis: usize, greatest: bool) -> Result<(Value, Value), Fault> {
        let wide = self.cast(x, compared_as(x.dtype()))?;
        let (best, places) = dispatch_compared!(wide.dtype(), T => extremes::<T>(&wide, axis, greatest))?;
        Ok((self.cast(&best, x.dtype())?, places))
    }

    fn cumulative_product_gradient(&self, x: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
        in_f64("a gradient", [x, g], |[x, g]| product_gradient(x, g, axis))
    }

    fn cumulative_logsumexp_gradient(&self, x: &Value, y: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
        in_f64("a gradient", [x, y, g], |[x, y, g]| logsumexp_gradient(x, y, g, axis))
    }

    fn add_at_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
        in_f64("a gradient", [x], |[x]| add_at(x, places, axis))
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
fn product_gradient(x: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, g) = (Cpu.contiguous(x)?, Cpu.contiguous(g)?);
    let along = Axis::of(&x, axis);
    let (xs, gs) = (x.dense::<f64>()?, g.dense::<f64>()?);
    Value::build::<f64>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 8, |index, out| {
            let from = index * along.block();
            let (xs, gs) = (&xs[from..from + out.len()], &gs[from..from + out.len()]);
            let mut before = vec![1.0; along.size];
            for column in 0..along.inner {
                let mut product = 1.0;
                for (row, before) in before.iter_mut().enumerate() {
                    *before = product;
                    product *= xs[row * along.inner + column];
                }
                // gᵢ + xᵢ₊₁ (gᵢ₊₁ + xᵢ₊₂ (...)).
                let mut behind = 0.0;
                for row in (0..along.size).rev() {
                    let at = row * along.inner + column;
                    let own = gs[at] + behind;
                    out[at] = before[row] * own;
                    behind = xs[at] * own;
                }
            }
        });
    })
}

/// `∂L/∂xᵢ = e^(xᵢ - yᵢ) rᵢ` with `rᵢ = gᵢ + e^(yᵢ - yᵢ₊₁) rᵢ₊₁`: results never fall, so no exponential overflows.
fn logsumexp_gradient(x: &Value, y: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, y, g) = (Cpu.contiguous(x)?, Cpu.contiguous(y)?, Cpu.contiguous(g)?);
    let along = Axis::of(&x, axis);
    let (xs, ys, gs) = (x.dense::<f64>()?, y.dense::<f64>()?, g.dense::<f64>()?);
    // Between equal infinities nothing is lost or gained.
    let ratio = |low: f64, high: f64| if low == high { 1.0 } else { (low - high).exp() };
    Value::build::<f64>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 8, |index, out| {
            let from = index * along.block();
            for column in 0..along.inner {
                let (mut behind, mut next) = (0.0, f64::INFINITY);
                for row in (0..along.size).rev() {
                    let at = from + row * along.inner + column;
                    let (x, y) = (xs[at], ys[at]);
                    behind = gs[at] + ratio(y, next) * behind;
                    next = y;
                    let share = if x == f64::NEG_INFINITY { 0.0 } else { ratio(x, y) };
                    out[at - from] = share * behind;
                }
            }
        });
    })
}

fn add_at(x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
    let (x, places) = (Cpu.contiguous(x)?, Cpu.contiguous(places)?);
    let along = Axis::of(&x, axis);
    let (xs, places) = (x.dense::<f64>()?, places.dense::<i64>()?);
    Value::build::<f64>(*x.shape(), |out| {
        parallel::chunks(out, along.block(), 4, |index, out| {
            out.fill(0.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;

    #[test]
    fn running_sums_of_rows_of_any_length() {
        for size in [1, 2, 15, 16, 17, 31, 33, 100, 1000] {
            let numbers: Vec<f32> = (0..3 * size).map(|i| (i * 7919 % 1013) as f32 * 0.37 - 150.0).collect();
            let x =
                Value::build(Shape::new(&[3, size]).unwrap(), |out: &mut [f32]| out.copy_from_slice(&numbers)).unwrap();
            for reversed in [false, true] {
                let sums = Cpu.cumulative_sum(&x, 1, reversed).unwrap();
                for (sums, row) in sums.dense::<f32>().unwrap().chunks(size).zip(numbers.chunks(size)) {
                    for (i, &sum) in sums.iter().enumerate() {
                        let part = if reversed { &row[i..] } else { &row[..=i] };
                        let want = part.iter().map(|&x| x as f64).sum::<f64>();
                        let error = (sum as f64 - want).abs();
                        assert!(error <= 1e-7 * want.abs() + 1e-10, "{size} {reversed} {i}: {sum} for {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn infinity_reaches_what_comes_after_it_alone() {
        for (at, x) in [(0, f32::INFINITY), (21, f32::NAN), (45, f32::NEG_INFINITY)] {
            let mut row = [0.5f32; 50];
            row[at] = x;
            let row = Value::build(Shape::new(&[50]).unwrap(), |out: &mut [f32]| out.copy_from_slice(&row)).unwrap();
            for reversed in [false, true] {
                let sums = Cpu.cumulative_sum(&row, 0, reversed).unwrap();
                for (i, sum) in sums.dense::<f32>().unwrap().iter().enumerate() {
                    let reached = if reversed { i <= at } else { i >= at };
                    assert_eq!(sum.is_finite(), !reached, "{x} at {at}, {reversed}: {sum} at {i}");
                }
            }
        }
    }
}
