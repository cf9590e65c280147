//! Matrices taken apart, on the processor.
//!
//! A factorisation works on blocks of columns: what is left of the matrix after each block changes by one matrix product,
//! which is where nearly all the time goes. Many small matrices are shared among threads, a large one by its products.
//! All is computed in f64: errors grow with the size and the condition of a matrix, and f32 has few digits to lose.

mod cholesky;
mod lu;
mod qr;
mod singular;
mod symmetric;
#[cfg(test)]
mod tests;
mod triangular;

use super::cast::rounded;
use super::simd::SimdLevel;
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::factor::{Factor, Lu, Side};
use crate::error::Fault;
use crate::layout::{DType, Shape};
use std::ops::Range;

/// Columns that are eliminated before the rest of the matrix hears of it.
const BLOCK: usize = 32;
/// Multiply-adds from which on a matrix is not shared out with others, but has all threads for its products.
const LARGE: usize = 1 << 22;
/// Multiply-adds that a part of a batch should have at least.
const PART: usize = 1 << 16;

/// The level that the loops here are compiled for: what is left outside of products does not pay for more.
const WIDEST: SimdLevel = SimdLevel::Avx2;

/// A fault where the numbers are no floats.
fn floats(x: &Value, what: &str) -> Result<(), Fault> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Fault::dtype(
        format!("{what} of {} numbers is not defined", x.dtype()),
        "convert to a float first: x.to_dtype(DType::F32)",
    ))
}

/// The sizes of a batch, and of the matrices in it.
#[derive(Clone, Copy)]
struct Stack {
    batch: Shape,
    rows: usize,
    columns: usize,
}

impl Stack {
    fn of(a: &Value) -> Result<Stack, Fault> {
        match a.dims() {
            [batch @ .., rows, columns] => Ok(Stack { batch: Shape::new(batch)?, rows: *rows, columns: *columns }),
            _ => Err(Fault::shape(
                format!("the tensor has {} axes", a.rank()),
                "a matrix needs two: the last two axes are its rows and columns",
            )),
        }
    }
    /// As [`of`](Stack::of), for square ones.
    fn square(a: &Value) -> Result<Stack, Fault> {
        let stack = Stack::of(a)?;
        if stack.rows != stack.columns {
            return Err(Fault::shape(
                format!("the matrix is not square: {} × {}", stack.rows, stack.columns),
                "the last two axes must have the same size",
            ));
        }
        Ok(stack)
    }
    fn count(&self) -> usize {
        self.batch.count()
    }
    /// The shape of one result for each matrix.
    fn with(&self, sizes: &[usize]) -> Result<Shape, Fault> {
        Shape::new(&[&self.batch, sizes].concat())
    }
    /// Matrix `item`, as an error calls it.
    fn name(&self, mut item: usize) -> String {
        if self.batch.is_empty() {
            return "the matrix".to_string();
        }
        let mut place = vec![0; self.batch.len()];
        for (place, &size) in place.iter_mut().zip(&self.batch[..]).rev() {
            (*place, item) = (item % size.max(1), item / size.max(1));
        }
        format!("matrix {place:?} of the batch")
    }
    /// The first matrix that something was found about, named.
    fn first<T: Copy>(&self, found: &[Option<T>]) -> Option<(String, T)> {
        let item = found.iter().position(Option::is_some)?;
        Some((self.name(item), found[item]?))
    }
}

/// Two dense values cut into pieces of one matrix each; `work(item, first, second)` for each, on all cores. `cost` is the
/// multiply-adds of one.
fn each<T: Send, U: Send>(
    (first, first_size): (&mut [T], usize),
    (second, second_size): (&mut [U], usize),
    cost: usize,
    work: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let (first_size, second_size) = (first_size.max(1), second_size.max(1));
    let count = first.len().div_ceil(first_size).max(second.len().div_ceil(second_size));
    if count <= 1 || cost >= LARGE {
        let pieces = first.chunks_mut(first_size).zip(second.chunks_mut(second_size));
        return pieces.enumerate().for_each(|(item, (first, second))| work(item, first, second));
    }
    let group = PART.div_ceil(cost.max(1)).min(count);
    let touched = (cost / first_size.max(second_size)).max(1);
    parallel::chunks_pair(
        (first, group * first_size),
        (second, group * second_size),
        touched,
        |index, first, second| {
            let pieces = first.chunks_mut(first_size).zip(second.chunks_mut(second_size));
            pieces.enumerate().for_each(|(item, (first, second))| work(index * group + item, first, second));
        },
    );
}

/// Multiply-adds of a product of these sizes, as far as a number holds them.
fn work(sizes: [usize; 3]) -> usize {
    sizes.into_iter().fold(1, usize::saturating_mul)
}

/// Splits a dense matrix at a row: the rows before it, and those of `block` after.
fn split<T>(matrix: &mut [T], width: usize, block: Range<usize>) -> (&mut [T], &mut [T]) {
    let (before, rest) = matrix.split_at_mut(block.start * width);
    (before, &mut rest[..block.len() * width])
}

impl Factor for Cpu {
    fn qr(&self, a: &Value) -> Result<(Value, Value), Fault> {
        let [q, r] = in_f64([a], "the factorisation", |[a]| qr::qr(a))?;
        Ok((q, r))
    }

    fn solve_triangular(&self, a: &Value, b: &Value, side: Side) -> Result<Value, Fault> {
        let [x] = in_f64([a, b], "a solution", |[a, b]| Ok([triangular::solve(a, b, side)?]))?;
        Ok(x)
    }

    fn lu(&self, a: &Value) -> Result<Lu, Fault> {
        floats(a, "elimination")?;
        lu::lu(&self.cast(a, DType::F64)?)
    }

    fn solve_lu(&self, lu: &Lu, b: &Value, turned: bool) -> Result<Value, Fault> {
        let [x] = in_f64([b], "a solution", |[b]| Ok([lu::solve(lu, b, turned)?]))?;
        Ok(x)
    }

    fn inverse(&self, lu: &Lu, dtype: DType) -> Result<Value, Fault> {
        let ones = lu::identities(lu.packed.shape())?;
        rounded(&lu::solve(lu, &ones, false)?, dtype)
    }

    fn determinants(&self, lu: &Lu, dtype: DType) -> Result<[Value; 3], Fault> {
        let [sign, log, product] = lu::determinants(lu)?;
        Ok([rounded(&sign, dtype)?, rounded(&log, dtype)?, rounded(&product, dtype)?])
    }

    fn cholesky(&self, a: &Value) -> Result<Value, Fault> {
        let [l] = in_f64([a], "the factorisation", |[a]| Ok([cholesky::cholesky(a)?]))?;
        Ok(l)
    }

    fn svd(&self, a: &Value) -> Result<[Value; 3], Fault> {
        in_f64([a], "the singular values", |[a]| singular::svd(a))
    }

    fn symmetric_eigen(&self, a: &Value) -> Result<[Value; 2], Fault> {
        in_f64([a], "the eigenvalues", |[a]| symmetric::eigen(a))
    }

    fn pseudo_inverse(&self, a: &Value) -> Result<Value, Fault> {
        let [inverse] = in_f64([a], "the inverse", |[wide]| Ok([singular::pseudo_inverse(wide, precision(a))?]))?;
        Ok(inverse)
    }

    fn rank(&self, a: &Value) -> Result<Value, Fault> {
        floats(a, "the rank")?;
        singular::rank(&self.cast(a, DType::F64)?, precision(a))
    }
}

/// The step from 1 to the next number that elements are computed in.
fn precision(a: &Value) -> f64 {
    if a.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON as f64 }
}

/// Computes in f64 and rounds to the type of the first.
fn in_f64<const N: usize, const M: usize>(
    values: [&Value; N],
    what: &str,
    kernel: impl FnOnce([&Value; N]) -> Result<[Value; M], Fault>,
) -> Result<[Value; M], Fault> {
    let dtype = values[0].dtype();
    let mut wide = values.map(Value::clone);
    for value in &mut wide {
        floats(value, what)?;
        *value = Cpu.cast(value, DType::F64)?;
    }
    let mut results = kernel(wide.each_ref())?;
    for result in &mut results {
        *result = rounded(result, dtype)?;
    }
    Ok(results)
}
