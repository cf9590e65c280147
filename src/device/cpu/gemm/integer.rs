//! Products of integers, wrapping: plain loops that the compiler vectorises, in blocks that stay in cache.

use super::operand::Lines;
use crate::device::cpu::simd::{self, Kernel};

/// Shared positions, and columns, of the block of B that is gathered at once.
const DEPTH: usize = 64;
const WIDTH: usize = 256;

struct Block<'a> {
    rows: usize,
    alpha: i64,
    left: &'a Lines<'a, i64>,
    position: usize,
    /// `depth` rows of B, each `columns` long.
    right: &'a [i64],
    columns: usize,
    out: &'a mut [i64],
    row_stride: usize,
    column: usize,
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in 0..self.rows {
            let start = row * self.row_stride + self.column;
            let sums = &mut self.out[start..start + self.columns];
            for (p, of_b) in self.right.chunks_exact(self.columns).enumerate() {
                let factor = self.left.at(row, self.position + p).wrapping_mul(self.alpha);
                for (sum, &x) in sums.iter_mut().zip(of_b) {
                    *sum = sum.wrapping_add(factor.wrapping_mul(x));
                }
            }
        }
    }
}

/// Adds `alpha · A · B` to `out`, whose rows are dense.
pub(crate) fn multiply_integers(
    [m, n, k]: [usize; 3],
    left: &Lines<i64>,
    right: &Lines<i64>,
    alpha: i64,
    out: &mut [i64],
) {
    let mut gathered = [0; DEPTH * WIDTH];
    for column in (0..n).step_by(WIDTH) {
        let columns = WIDTH.min(n - column);
        for position in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - position);
            let gathered = &mut gathered[..depth * columns];
            for (p, row) in gathered.chunks_exact_mut(columns).enumerate() {
                for (c, to) in row.iter_mut().enumerate() {
                    *to = right.at(column + c, position + p);
                }
            }
            simd::run(Block { rows: m, alpha, left, position, right: gathered, columns, out, row_stride: n, column });
        }
    }
}
