//! Products of integers, wrapping: plain loops that the compiler vectorises, in blocks that stay in cache.

use super::operand::Lines;
use crate::device::cpu::simd::{self, Kernel};
use crate::layout::Element;

/// Integers whose arithmetic wraps.
pub(crate) trait Wrapping: Element {
    /// `self · other`, wrapping.
    fn times(self, other: Self) -> Self;
    /// `self + other`, wrapping.
    fn plus(self, other: Self) -> Self;
}

macro_rules! wrapping {
    ($($T:ty)*) => { $(
        impl Wrapping for $T {
            #[inline(always)]
            fn times(self, other: $T) -> $T {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn plus(self, other: $T) -> $T {
                self.wrapping_add(other)
            }
        }
    )* };
}
wrapping!(i64 i32 u8);

/// Shared positions, and columns, of the block of B that is gathered at once.
const DEPTH: usize = 64;
const WIDTH: usize = 256;

struct Block<'a, T> {
    rows: usize,
    alpha: T,
    left: &'a Lines<'a, T>,
    position: usize,
    /// `depth` rows of B, each `columns` long.
    right: &'a [T],
    columns: usize,
    out: &'a mut [T],
    row_stride: usize,
    column: usize,
}

impl<T: Wrapping> Kernel for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in 0..self.rows {
            let start = row * self.row_stride + self.column;
            let sums = &mut self.out[start..start + self.columns];
            for (p, of_b) in self.right.chunks_exact(self.columns).enumerate() {
                let factor = self.left.at(row, self.position + p).times(self.alpha);
                for (sum, &x) in sums.iter_mut().zip(of_b) {
                    *sum = sum.plus(factor.times(x));
                }
            }
        }
    }
}

/// Adds `alpha · A · B` to `out`, whose rows are dense.
pub(crate) fn multiply_integers<T: Wrapping>(
    [m, n, k]: [usize; 3],
    left: &Lines<T>,
    right: &Lines<T>,
    alpha: T,
    out: &mut [T],
) {
    let mut gathered = [T::default(); DEPTH * WIDTH];
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
