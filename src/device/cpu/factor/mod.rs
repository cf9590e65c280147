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
use crate::device::factor::{Factor, Lu, Side, floats, precision};
use crate::error::Fault;
use crate::layout::DType;
use std::ops::Range;

/// Columns that are eliminated before the rest of the matrix hears of it.
const BLOCK: usize = 32;
/// Multiply-adds from which on a matrix is not shared out with others, but has all threads for its products.
const LARGE: usize = 1 << 22;
/// Multiply-adds that a part of a batch should have at least.
const PART: usize = 1 << 16;

/// The level that the loops here are compiled for: what is left outside of products does not pay for more.
const WIDEST: SimdLevel = SimdLevel::Avx2;

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
