//! A matrix times a vector: bound by reading the matrix once, so nothing is packed.

use super::Product;
use super::kernel::Real;
use super::operand::InPlace;
use super::scratch;
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel};

/// Lines that are summed together; their sums stay in the first-level cache.
const LINES: usize = 512;

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
        let x = room.elements::<T>(k);
        vector.pack(0..1, 0..k, 1, x);
        let x: &[T] = x;
        let part = |index: usize, out: &mut [T]| {
            let mut sums = [T::default(); LINES];
            let sums = &mut sums[..LINES.min(lines - index * LINES)];
            let matrix = matrix.after_line(index * LINES);
            if matrix.shared == 1 {
                simd::run(Dots { matrix, x, sums });
            } else {
                simd::run(Columns { matrix, x, sums });
            }
            for (i, &sum) in sums.iter().enumerate() {
                let c = &mut out[i * stride];
                *c = if product.accumulate { *c + product.alpha * sum } else { product.alpha * sum };
            }
            match product.m {
                1 => product.epilogue.finish(0, index * LINES, &mut out[..sums.len()]),
                _ if product.epilogue.is_nothing() => {}
                _ => (0..sums.len()).for_each(|i| {
                    product.epilogue.finish(index * LINES + i, 0, &mut out[i * stride..i * stride + 1]);
                }),
            }
        };
        let out = &mut out[..(lines - 1) * stride + 1];
        if product.alone {
            out.chunks_mut(LINES * stride).enumerate().for_each(|(index, out)| part(index, out));
        } else {
            parallel::chunks(out, LINES * stride, (k / stride).max(1), part);
        }
    });
    true
}

/// Sums kept side by side: independent, so that they overlap.
const LANES: usize = 16;

/// Lines that are dense along the shared size: four dot products at a time.
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
        let (fours, rest) = sums.as_chunks_mut::<4>();
        let many = fours.len() * 4;
        for (i, four) in fours.iter_mut().enumerate() {
            *four = dots::<T, 4, FUSED>(std::array::from_fn(|l| line(4 * i + l)), x);
        }
        for (i, one) in rest.iter_mut().enumerate() {
            [*one] = dots::<T, 1, FUSED>([line(many + i)], x);
        }
    }
}

#[inline(always)]
fn dots<T: Real, const N: usize, const FUSED: bool>(lines: [&[T]; N], x: &[T]) -> [T; N] {
    let mut sums = [[T::default(); LANES]; N];
    let (blocks, tail) = x.as_chunks::<LANES>();
    let of_lines = lines.map(|line| line.as_chunks::<LANES>());
    let whole = of_lines.map(|(line, _)| &line[..blocks.len()]);
    for (b, block) in blocks.iter().enumerate() {
        for (sums, line) in sums.iter_mut().zip(&whole) {
            // Through a copy: so the sums stay in registers.
            let before = *sums;
            *sums = std::array::from_fn(|lane| line[b][lane].times_plus::<FUSED>(block[lane], before[lane]));
        }
    }
    std::array::from_fn(|l| {
        let mut lanes = sums[l];
        for (lane, (&a, &b)) in of_lines[l].1.iter().zip(tail).enumerate() {
            lanes[lane] = a.times_plus::<FUSED>(b, lanes[lane]);
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] = lanes[lane] + lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    })
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
            let rows: [&[T]; 8] = std::array::from_fn(|p| stretch(8 * i + p));
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
