//! Products of a few numbers, where everything around the arithmetic counts: nothing is packed, lent or handed out.

use super::Product;
use super::kernel::Real;

/// The most multiplications.
const MOST: usize = 512;

/// Does the product here, if it is one of these.
pub(super) fn run<T: Real>(product: &Product<T>, out: &mut [T], row_stride: usize) -> bool {
    let &Product { m, n, k, alpha, .. } = product;
    if k == 0 || m.saturating_mul(n).saturating_mul(k) > MOST {
        return false;
    }
    let (Some(left), Some(right)) = (product.left.in_place(), product.right.in_place()) else { return false };
    for i in 0..m {
        let row = left.after_line(i);
        let values = &mut out[i * row_stride..][..n];
        // SAFETY: what is read are elements of the operands, whose bounds were checked when they were made.
        let at = |p: usize| unsafe { *row.start.wrapping_offset(p as isize * left.shared) };
        if right.line == 1 && !product.accumulate {
            values.fill(T::default());
            for p in 0..k {
                let start = right.start.wrapping_offset(p as isize * right.shared);
                // SAFETY: as above; lines lie side by side.
                let across = unsafe { std::slice::from_raw_parts(start, n) };
                let a = at(p);
                values.iter_mut().zip(across).for_each(|(value, &b)| *value = *value + a * b);
            }
            values.iter_mut().for_each(|value| *value = alpha * *value);
        } else {
            for (j, value) in values.iter_mut().enumerate() {
                let mut b = right.after_line(j).start;
                let mut sum = T::default();
                for p in 0..k {
                    // SAFETY: as above.
                    sum = sum + at(p) * unsafe { *b };
                    b = b.wrapping_offset(right.shared);
                }
                *value = if product.accumulate { *value + alpha * sum } else { alpha * sum };
            }
        }
        product.epilogue.finish(i, 0, values);
    }
    true
}
