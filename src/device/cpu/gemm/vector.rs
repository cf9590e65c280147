//! A matrix times a vector: bound by reading the matrix once, so nothing is packed.

use super::Product;
use super::kernel::Real;
use super::operand::InPlace;
use super::scratch;
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel};

/// The most lines that are summed together: their sums stay in the first-level cache, and lines that lie side by side are
/// read in long stretches.
const LINES: usize = 1024;
/// The fewest that a thread takes.
const SHARE: usize = 64;

/// Does the product here, if one side is a vector and the other can be read where it lies.
pub(super) fn run<T: Real>(product: &Product<T>, out: &mut [T], row_stride: usize) -> bool {
    // One row: the lines are B's columns. One column: they are A's rows.
    let (matrix, vector, lines, stride) = match (product.m, product.n) {
        (1, lines) => (product.right, product.left, lines, 1),
        (lines, 1) => (product.left, product.right, lines, row_stride),
        _ => return false,
    };
    let (Some(matrix), k) = (matrix.in_place(), product.k) else { return false };
    if k == 0 || matrix.shared != 1 && matrix.line != 1 {
        return false;
    }
    scratch::right(|room| {
        let x = match vector.in_place().filter(|vector| vector.shared == 1) {
            // SAFETY: the only line of the operand, dense along the shared size, whose bounds were checked when it was made.
            Some(dense) => unsafe { std::slice::from_raw_parts(dense.start, k) },
            None => {
                let x = room.elements::<T>(k);
                vector.pack(0..1, 0..k, 1, x);
                &*x
            }
        };
        // Each sum is one thread's, whoever else has which: so threads may decide where to cut.
        let threads = if product.alone { 1 } else { parallel::thread_count() };
        let cut = lines.div_ceil(threads).next_multiple_of(SHARE).min(LINES);
        let part = |index: usize, out: &mut [T]| {
            let (count, matrix) = (cut.min(lines - index * cut), matrix.after_line(index * cut));
            scratch::left(|room| {
                let sums = room.apart_from(matrix.start, count);
                if matrix.shared == 1 {
                    dot(matrix, x, sums);
                } else {
                    sums.fill(T::default());
                    simd::run(Columns { matrix, x, sums });
                }
                for (i, &sum) in sums.iter().enumerate() {
                    let c = &mut out[i * stride];
                    *c = if product.accumulate { *c + product.alpha * sum } else { product.alpha * sum };
                }
            });
            match product.m {
                1 => product.epilogue.finish(0, index * cut, &mut out[..count]),
                _ if product.epilogue.is_nothing() => {}
                _ => (0..count).for_each(|i| {
                    product.epilogue.finish(index * cut + i, 0, &mut out[i * stride..i * stride + 1]);
                }),
            }
        };
        let out = &mut out[..(lines - 1) * stride + 1];
        if product.alone {
            out.chunks_mut(cut * stride).enumerate().for_each(|(index, out)| part(index, out));
        } else {
            parallel::chunks(out, cut * stride, (k / stride).max(1), part);
        }
    });
    true
}

/// Dot products with lines that are dense along the shared size.
fn dot<T: Real>(matrix: InPlace<'_, T>, x: &[T], sums: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(dots) = T::dots() {
        // SAFETY: lines of the operand, whose bounds were checked when it was made; the processor has the instructions.
        return unsafe { dots(matrix.start, matrix.line, x, sums) };
    }
    simd::run(Dots { matrix, x, sums });
}

/// Sums kept side by side: independent, so that they overlap.
const LANES: usize = 16;

/// Lines that are dense along the shared size: a dot product for each.
struct Dots<'a, T> {
    matrix: InPlace<'a, T>,
    x: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel for Dots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Dots { matrix, x, sums } = self;
        let line = |l: usize| {
            let start = matrix.start.wrapping_offset(l as isize * matrix.line);
            // SAFETY: a line of the operand, dense along the shared size, whose bounds were checked when it was made.
            unsafe { std::slice::from_raw_parts(start, x.len()) }
        };
        for (l, out) in sums.iter_mut().enumerate() {
            let mut lanes = [T::default(); LANES];
            let ((line, line_rest), (x, x_rest)) = (line(l).as_chunks::<LANES>(), x.as_chunks::<LANES>());
            for (line, x) in line.iter().zip(x) {
                for lane in 0..LANES {
                    lanes[lane] = line[lane].times_plus::<FUSED>(x[lane], lanes[lane]);
                }
            }
            for ((lane, &a), &b) in lanes.iter_mut().zip(line_rest).zip(x_rest) {
                *lane = a.times_plus::<FUSED>(b, *lane);
            }
            let mut half = LANES / 2;
            while half > 0 {
                for lane in 0..half {
                    lanes[lane] = lanes[lane] + lanes[lane + half];
                }
                half /= 2;
            }
            *out = lanes[0];
        }
    }
}

/// Lines that lie side by side: whole stretches of them, eight shared positions at a time.
struct Columns<'a, T> {
    matrix: InPlace<'a, T>,
    x: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Columns { matrix, x, sums } = self;
        let lines = sums.len();
        let stretch = |p: usize| {
            let start = matrix.start.wrapping_offset(p as isize * matrix.shared);
            // SAFETY: lines of the operand that lie side by side, whose bounds were checked when it was made.
            unsafe { std::slice::from_raw_parts(start, lines) }
        };
        let (eights, rest) = x.as_chunks::<8>();
        for (i, eight) in eights.iter().enumerate() {
            let mut rows: [&[T]; 8] = [&[]; 8];
            for (p, row) in rows.iter_mut().enumerate() {
                *row = stretch(8 * i + p);
            }
            for l in 0..lines {
                // Two short chains.
                let mut sum = sums[l];
                let mut other = rows[4][l] * eight[4];
                for p in 0..4 {
                    sum = rows[p][l].times_plus::<FUSED>(eight[p], sum);
                }
                for p in 5..8 {
                    other = rows[p][l].times_plus::<FUSED>(eight[p], other);
                }
                sums[l] = sum + other;
            }
        }
        for (i, &x) in rest.iter().enumerate() {
            let row = stretch(eights.len() * 8 + i);
            for (sum, &a) in sums.iter_mut().zip(row) {
                *sum = a.times_plus::<FUSED>(x, *sum);
            }
        }
    }
}
