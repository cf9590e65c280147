//! Products of a few numbers, where everything around the arithmetic counts: nothing is packed, lent or handed out.

use super::Product;
use super::kernel::Real;
use super::operand::InPlace;
use std::array;

/// The most multiplications.
const MOST: usize = 512;
/// Columns that are summed together.
const TOGETHER: usize = 8;

/// Does the product here, if it is one of these.
pub(super) fn run<T: Real>(product: &Product<T>, out: &mut [T], row_stride: usize) -> bool {
    let &Product { mut m, mut n, k, epilogue, .. } = product;
    if k == 0 || m.saturating_mul(n).saturating_mul(k) > MOST {
        return false;
    }
    let (Some(mut left), Some(mut right)) = (product.left.in_place(), product.right.in_place()) else { return false };
    let (is_finished, mut steps) = (epilogue.is_nothing(), [row_stride, 1]);
    // A product of few columns and many rows is done turned over.
    if n < TOGETHER && m >= TOGETHER && is_finished {
        (m, n, left, right, steps) = (n, m, right, left, [1, row_stride]);
    }
    let whole = n / TOGETHER * TOGETHER;
    for i in 0..m {
        let row = left.after_line(i);
        for j in (0..whole).step_by(TOGETHER) {
            let sums = sums::<T, TOGETHER>(row, right.after_line(j), k);
            put(product, &mut out[i * steps[0] + j * steps[1]..], steps[1], sums);
        }
        for j in whole..n {
            let sums = sums::<T, 1>(row, right.after_line(j), k);
            put(product, &mut out[i * steps[0] + j * steps[1]..], steps[1], sums);
        }
    }
    if !is_finished {
        (0..m).for_each(|i| epilogue.finish(i, 0, &mut out[i * row_stride..][..n]));
    }
    true
}

/// Sums as elements of C that lie `step` apart, from the first of `out` on.
#[inline(always)]
fn put<T: Real, const N: usize>(product: &Product<T>, out: &mut [T], step: usize, sums: [T; N]) {
    let &Product { alpha, accumulate, .. } = product;
    let joined = |value: T, sum: T| if accumulate { value + alpha * sum } else { alpha * sum };
    match out.first_chunk_mut::<N>() {
        Some(side_by_side) if step == 1 => *side_by_side = array::from_fn(|j| joined(side_by_side[j], sums[j])),
        _ => out.iter_mut().step_by(step).zip(sums).for_each(|(value, sum)| *value = joined(*value, sum)),
    }
}

/// A row times `N` columns, the first of which is given.
#[inline(always)]
fn sums<T: Real, const N: usize>(row: InPlace<'_, T>, column: InPlace<'_, T>, k: usize) -> [T; N] {
    let mut sums = [T::default(); N];
    let (mut a, mut b) = (row.start, column.start);
    for _ in 0..k {
        // SAFETY: elements of the operands, whose bounds were checked when they were made.
        let x = unsafe { *a };
        let across: [T; N] = match column.line {
            // SAFETY: as above; columns lie side by side.
            1 => unsafe { b.cast::<[T; N]>().read_unaligned() },
            // SAFETY: as above.
            line => array::from_fn(|j| unsafe { *b.wrapping_offset(j as isize * line) }),
        };
        sums = array::from_fn(|j| sums[j] + x * across[j]);
        (a, b) = (a.wrapping_offset(row.shared), b.wrapping_offset(column.shared));
    }
    sums
}
