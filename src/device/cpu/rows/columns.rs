//! Softmax down columns: each power is computed once, block by block of rows.
//!
//! A block measures its powers from the greatest numbers of its own columns, so that nothing need be known of the others. When all
//! have told their greatest numbers and sums, each of its columns gets one factor: `e^(its greatest - the greatest of all) / Σ`.
//! The shape alone decides where blocks are cut.

use crate::device::cpu::parallel;
use crate::device::cpu::real::Real;
use crate::device::cpu::reduce::{Bounded, WIDTH, greatest_of_rows, is_nan};
use crate::device::cpu::simd::{self, Kernel, SimdLevel};

/// Rows of a block: with its results it stays in the second-level cache, [`WIDTH`] columns at a time.
const ROWS: usize = 32;

/// Softmax down the columns of `[size, inner]`, again and again.
pub(super) fn softmax<T: Real + Bounded>(x: &[T], size: usize, inner: usize, out: &mut [T]) {
    let whole = size * inner;
    if size <= ROWS {
        return parallel::chunks(out, whole, 8, |index, out| {
            let mut statistics = vec![T::ZERO; 2 * inner];
            let x = &x[index * whole..][..out.len()];
            simd::run(Powers { x, inner, out, statistics: &mut statistics });
            simd::run(Factors { inner, statistics: &mut statistics });
            simd::run(Scale { out, factors: &statistics[..inner] });
        });
    }
    let block = ROWS * inner;
    let mut statistics = vec![T::ZERO; size.div_ceil(ROWS) * 2 * inner];
    for (x, out) in x.chunks(whole).zip(out.chunks_mut(whole)) {
        parallel::chunks_pair((&mut *out, block), (&mut statistics, 2 * inner), 8, |index, out, statistics| {
            let x = &x[index * block..][..out.len()];
            simd::run(Powers { x, inner, out, statistics });
        });
        simd::run(Factors { inner, statistics: &mut statistics });
        parallel::chunks(out, block, 2, |index, out| {
            simd::run(Scale { out, factors: &statistics[index * 2 * inner..][..inner] });
        });
    }
}

/// `e^(x - greatest)` of a block of at most [`ROWS`] rows, and for each column the greatest number, then the sum of the powers.
struct Powers<'a, T> {
    x: &'a [T],
    inner: usize,
    out: &'a mut [T],
    statistics: &'a mut [T],
}

impl<T: Real + Bounded> Kernel for Powers<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let (all_greatest, all_sums) = self.statistics.split_at_mut(self.inner);
        for from in (0..self.inner).step_by(WIDTH) {
            let width = WIDTH.min(self.inner - from);
            let mut rows: [&[T]; ROWS] = [&[]; ROWS];
            let mut count = 0;
            for (held, row) in rows.iter_mut().zip(self.x.chunks(self.inner)) {
                *held = &row[from..from + width];
                count += 1;
            }
            let greatest = &mut all_greatest[from..from + width];
            greatest.fill(-T::INFINITY);
            greatest_of_rows(&rows[..count], greatest);
            // Where the greatest is infinite, so is the factor wrong: what stands here does not matter, but for ∞ - ∞.
            let (mut bases, mut sums) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH]);
            for (base, &greatest) in bases.iter_mut().zip(&*greatest) {
                *base = if greatest.magnitude() == T::INFINITY { T::ZERO } else { greatest };
            }
            for (x, out) in rows[..count].iter().zip(self.out.chunks_mut(self.inner)) {
                let numbers = x.iter().zip(&mut out[from..from + width]);
                for (((&x, out), &base), sum) in numbers.zip(&bases).zip(&mut sums) {
                    let power = (x - base).decay::<FUSED>();
                    *out = power;
                    *sum += power;
                }
            }
            all_sums[from..from + width].copy_from_slice(&sums[..width]);
        }
    }
}

/// Of the statistics of all blocks, the factors of each in the place of its greatest numbers. Where the greatest of all is
/// infinite or NaN, so is softmax NaN, as in PyTorch.
struct Factors<'a, T> {
    inner: usize,
    statistics: &'a mut [T],
}

impl<T: Real> Kernel for Factors<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for from in (0..self.inner).step_by(WIDTH) {
            let width = WIDTH.min(self.inner - from);
            let mut greatest = [-T::INFINITY; WIDTH];
            for block in self.statistics.chunks(2 * self.inner) {
                for (held, &x) in greatest.iter_mut().zip(&block[from..from + width]) {
                    *held = if (x > *held) | is_nan(x) { x } else { *held };
                }
            }
            let mut totals = [0.0; WIDTH];
            for block in self.statistics.chunks_mut(2 * self.inner) {
                let (own, sums) = block.split_at_mut(self.inner);
                let sums = &sums[from..from + width];
                for (((own, &sum), &greatest), total) in
                    own[from..from + width].iter_mut().zip(sums).zip(&greatest).zip(&mut totals)
                {
                    *own = (*own - greatest).decay::<FUSED>();
                    *total += (sum * *own).wide();
                }
            }
            for block in self.statistics.chunks_mut(2 * self.inner) {
                for (factor, &total) in block[from..from + width].iter_mut().zip(&totals) {
                    *factor *= T::narrow(1.0 / total);
                }
            }
        }
    }
}

/// Each row times the factors of its block.
struct Scale<'a, T> {
    out: &'a mut [T],
    factors: &'a [T],
}

impl<T: Real> Kernel for Scale<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in self.out.chunks_mut(self.factors.len()) {
            for (out, &factor) in row.iter_mut().zip(self.factors) {
                *out *= factor;
            }
        }
    }
}
