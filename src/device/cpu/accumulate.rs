//! Adding up gradients: into what nobody else holds, else into a copy.

use super::real::widest;
use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::accumulate::{Accumulate, repeated_axes};
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::layout::{DType, Element, Layout, Shape, dispatch_float};
use std::ops::Add;

/// Elements that one part handles.
const CHUNK: usize = 32 * 1024;

impl Accumulate for Cpu {
    fn add_up(&self, mut sum: Value, term: &Value) -> Result<Value, Fault> {
        let term = self.contiguous(&self.cast(term, sum.dtype())?)?;
        if sum.shape() != term.shape() {
            return Err(Fault::defect(format!("gradients of {:?} and {:?} meet", sum.dims(), term.dims())));
        }
        match sum.dtype() {
            DType::F32 => add_into::<f32>(&mut sum, &term)?,
            DType::F64 => add_into::<f64>(&mut sum, &term)?,
            DType::BF16 => add_into::<half::bf16>(&mut sum, &term)?,
            DType::F16 => add_into::<half::f16>(&mut sum, &term)?,
            other => return Err(Fault::defect(format!("a gradient of {other} numbers"))),
        }
        Ok(sum)
    }

    fn sum_to(&self, x: &Value, shape: &Shape) -> Result<Value, Fault> {
        let sum = self.sum(x, &repeated_axes(x, shape), false)?;
        sum.with_layout(Layout::contiguous(*shape))
    }

    fn sum_of_squares(&self, values: &[&Value]) -> Result<Value, Fault> {
        let mut sum = 0.0;
        for value in values {
            sum += squares(value)?;
        }
        Value::build::<f64>(Shape::new(&[])?, |out| out.fill(sum))
    }

    fn shrunk(&self, values: &[&Value], norm: &Value, limit: f64) -> Result<Vec<Value>, Fault> {
        let norm = norm.dense::<f64>()?.first().copied().unwrap_or(0.0);
        let factor = limit / (norm + 1e-6);
        if factor >= 1.0 {
            return Ok(values.iter().map(|&value| value.clone()).collect());
        }
        values.iter().map(|value| self.formula(&Shrink { factor }, [value])).collect()
    }

    fn all_finite(&self, values: &[&Value]) -> Result<bool, Fault> {
        for value in values {
            if self.first_not_finite(value)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
    fn greatest(&self, values: &[&Value]) -> Result<Value, Fault> {
        let number = if self.all_finite(values)? { 0.0 } else { f64::NAN };
        Value::full(Shape::new(&[])?, DType::F64, number)
    }

    fn first_not_finite(&self, x: &Value) -> Result<Option<(usize, f64)>, Fault> {
        if !x.dtype().is_float() {
            return Ok(None);
        }
        let x = if x.dtype().is_half() { self.cast(x, DType::F32)? } else { x.clone() };
        let x = self.contiguous(&x)?;
        dispatch_float!(x.dtype(), T => {
            // Nearly always all are finite: parts are looked at as a whole first.
            let numbers = x.dense::<T>()?;
            let mut parts = numbers.chunks(PART).enumerate();
            let part = parts.find(|(_, numbers)| !simd::run(AllFinite { numbers, is_finite: T::is_finite }));
            Ok(part.and_then(|(part, numbers)| {
                let at = numbers.iter().position(|x| !x.is_finite())?;
                Some((part * PART + at, numbers.get(at)?.to_f64()))
            }))
        }, else Ok(None))
    }
}

crate::formula_struct!([] Shrink shrink(x) (factor) { x * factor });

/// The sum of the squares of a value.
fn squares(x: &Value) -> Result<f64, Fault> {
    let x = if x.dtype() == DType::F64 { x.clone() } else { Cpu.cast(x, DType::F32)? };
    let x = Cpu.contiguous(&x)?;
    dispatch_float!(x.dtype(), T => {
        let numbers = x.dense::<T>()?;
        let chunks = parallel::collect(numbers.len().div_ceil(CHUNK), CHUNK, |part| {
            let end = numbers.len().min((part + 1) * CHUNK);
            simd::run(Squares { numbers: &numbers[part * CHUNK..end] })
        });
        Ok(chunks.iter().sum())
    }, else Err(Fault::defect("squares of numbers that are no floats")))
}

/// Elements that are looked at together for one that is not finite.
const PART: usize = 4096;

/// Is every number finite? There is no way out of the loop, so many are looked at in one instruction.
struct AllFinite<'a, T, F> {
    numbers: &'a [T],
    is_finite: F,
}

impl<T: Element, F: Fn(T) -> bool> Kernel for AllFinite<'_, T, F> {
    type Output = bool;
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) -> bool {
        self.numbers.iter().fold(true, |all, &x| all & (self.is_finite)(x))
    }
}

/// Sums that run side by side: an addition need not wait for the one before.
const LANES: usize = 16;

/// The sum of squares in f64: lanes first, then what they came to; the same at every instruction set.
struct Squares<'a, T> {
    numbers: &'a [T],
}

impl<T: Element> Kernel for Squares<'_, T> {
    type Output = f64;
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let mut lanes = [0.0; LANES];
        let (blocks, rest) = self.numbers.as_chunks::<LANES>();
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                let x = x.to_f64();
                *lane += x * x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += x.to_f64() * x.to_f64();
        }
        lanes.iter().sum()
    }
}

/// `sum += term`, element by element.
struct AddInto<'a, T> {
    sum: &'a mut [T],
    term: &'a [T],
}

impl<T: Element + Add<Output = T>> Kernel for AddInto<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (sum, &term) in self.sum.iter_mut().zip(self.term) {
            *sum = *sum + term;
        }
    }
}

fn add_into<T: Element + Add<Output = T>>(sum: &mut Value, term: &Value) -> Result<(), Fault> {
    if sum.unshared::<T>().is_none() {
        *sum = Cpu.duplicate(sum)?;
    }
    let into = sum.unshared::<T>().ok_or_else(|| Fault::defect("a fresh value is shared"))?;
    let term = term.dense::<T>()?;
    parallel::chunks(into, CHUNK, 1, |part, sum| {
        let term = &term[part * CHUNK..part * CHUNK + sum.len()];
        simd::run(AddInto { sum, term });
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<T: Element>(numbers: &[T]) -> Value {
        let shape = Shape::new(&[numbers.len()]).expect("a shape");
        Value::build::<T>(shape, |out| out.copy_from_slice(numbers)).expect("a value")
    }

    #[test]
    fn the_first_that_is_not_finite_is_found_wherever_it_stands() {
        for count in [0, 1, 17, PART - 1, PART, PART + 1, 3 * PART + 5] {
            let mut numbers: Vec<f32> = (0..count).map(|i| f32::MAX / (1 + i) as f32).collect();
            assert_eq!(Cpu.first_not_finite(&value(&numbers)).expect("an answer"), None);
            for at in [0, count / 2, PART.min(count), count].into_iter().filter_map(|at| at.checked_sub(1)) {
                for bad in [f32::INFINITY, f32::NEG_INFINITY] {
                    let good = std::mem::replace(&mut numbers[at], bad);
                    let found = Cpu.first_not_finite(&value(&numbers)).expect("an answer");
                    assert_eq!(found, Some((at, f64::from(bad))), "{count}");
                    numbers[at] = good;
                }
                let mut double = vec![1.0; count];
                double[at..].fill(f64::NAN);
                let found = Cpu.first_not_finite(&value(&double)).expect("an answer");
                assert!(found.is_some_and(|(place, number)| place == at && number.is_nan()), "{count}");
            }
        }
    }

    #[test]
    fn squares_of_whole_numbers_are_summed_exactly() {
        for count in [0, 1, LANES - 1, LANES, LANES + 1, CHUNK + 7] {
            let numbers: Vec<f32> = (0..count).map(|i| (i % 100) as f32 - 50.0).collect();
            let sum = numbers.iter().map(|x| f64::from(x * x)).sum::<f64>();
            assert_eq!(squares(&value(&numbers)).expect("a sum"), sum, "{count}");
        }
    }
}
