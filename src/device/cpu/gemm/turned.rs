//! The product the other way round, `Cᵀ = Bᵀ · Aᵀ`, where that reads better. Each element is the same sum in the same order.
//!
//! **Few rows times many long columns**: a linear layer with its weights `[outputs, inputs]` and a small batch. B's columns are
//! dense along the shared size, so packing them means turning all of B, which is worth it when many rows of A read it. When few
//! do, Bᵀ is read where it lies, the small A is turned, and so is the result.
//!
//! **Many rows times few columns, both side by side**: the gradient of weights of many outputs and few inputs. As A, the larger operand
//! would be read a few numbers of a line at a time, too seldom for packing; as Bᵀ, it is read by whole vectors.

use super::Product;
use super::kernel::Real;
use super::{Nothing, Operand, loops};
use crate::device::Buffer;
use crate::error::Fault;

/// Rows of A: with fewer, B is read once or twice and has no need of packing; with more, packing it does not count.
const ROWS: std::ops::RangeInclusive<usize> = 24..=160;
/// Columns of B, in the second case: fewer panels than make it worth packing A.
const COLUMNS: usize = 96;
/// A shorter sum costs little beside turning its result.
const DEPTH: usize = 192;

/// Does the product here, if it is one of these.
pub(super) fn run<T: Real>(product: &Product<T>, out: &mut [T], row_stride: usize) -> Result<bool, Fault> {
    let &Product { m, n, k, left, right, alpha, alone, .. } = product;
    if k < DEPTH || row_stride != n || product.accumulate {
        return Ok(false);
    }
    let side_by_side = |operand: &dyn Operand<T>| operand.in_place().is_some_and(|lines| lines.line == 1);
    let few_rows = ROWS.contains(&m) && n > m && right.in_place().is_some_and(|right| right.lines_keep_apart());
    let few_columns = n <= COLUMNS && m > 2 * n && side_by_side(left) && side_by_side(right);
    if !few_rows && !few_columns {
        return Ok(false);
    }
    let mut buffer = Buffer::new(size_of::<T>() * m * n)?;
    let results = buffer.fresh::<T>(m * n)?;
    let turned = Product {
        m: n,
        n: m,
        k,
        left: right,
        right: left,
        alpha,
        accumulate: false,
        alone,
        pairs: false,
        beside: None,
        epilogue: &Nothing,
    };
    loops::run(&turned, None, results, m)?;
    let out = &mut out[..m * n];
    T::transpose(results, 0, m as isize, n, out, n);
    if !product.epilogue.is_nothing() {
        for (row, values) in out.chunks_exact_mut(n).enumerate() {
            product.epilogue.finish(row, 0, values);
        }
    }
    Ok(true)
}
