//! Equations with a triangular matrix: a block of unknowns at a time, which leaves the other equations by a product.

use super::{BLOCK, WIDEST, each, split, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::gemm::{Lines, Product};
use crate::device::cpu::real::Real;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::factor::{Side, Stack, zero_on_diagonal};
use crate::device::{Value, copy::Arrange};
use crate::error::Fault;
use std::sync::OnceLock;

/// A triangular matrix as it lies: the place of its first element, the steps to the next row and the next column.
#[derive(Clone, Copy)]
pub(super) struct Triangle<'a> {
    pub(super) data: &'a [f64],
    pub(super) offset: usize,
    pub(super) steps: [isize; 2],
    pub(super) side: Side,
    /// The diagonal counts as ones, whatever stands there.
    pub(super) unit: bool,
}

impl Triangle<'_> {
    fn place(&self, row: usize, column: usize) -> usize {
        (self.offset as isize + row as isize * self.steps[0] + column as isize * self.steps[1]) as usize
    }
    /// The first zero on the diagonal.
    pub(super) fn zero(&self, size: usize) -> Option<usize> {
        if self.unit {
            return None;
        }
        (0..size).find(|&i| self.data[self.place(i, i)] == 0.0)
    }
    /// Replaces the `size` rows of `width` elements in `x` by the solution. The diagonal holds no zero.
    pub(super) fn solve(&self, size: usize, x: &mut [f64], width: usize) -> Result<(), Fault> {
        let mut small = vec![0.0; BLOCK * BLOCK];
        let blocks = size.div_ceil(BLOCK);
        for step in 0..blocks {
            let first = BLOCK * if self.side == Side::Lower { step } else { blocks - 1 - step };
            let block = first..(first + BLOCK).min(size);
            let count = block.len();
            // What the unknowns found so far contribute.
            let (known, rest) = match self.side {
                Side::Lower => split(x, width, block.clone()),
                Side::Upper => {
                    let (before, after) = x.split_at_mut(block.end * width);
                    (after, &mut before[first * width..])
                }
            };
            let (from, others) = match self.side {
                Side::Lower => (0, first),
                Side::Upper => (block.end, size - block.end),
            };
            if others > 0 {
                let left = Lines::new(self.data, self.place(first, from), self.steps, [count, others])?;
                let right = Lines::new(known, 0, [1, width as isize], [width, others])?;
                Product::new([count, width, others], &left, &right)
                    .alpha(-1.0)
                    .accumulate(true)
                    .run(rest, width.max(1))?;
            }
            for (i, row) in small.chunks_mut(BLOCK).take(count).enumerate() {
                for (j, to) in row[..count].iter_mut().enumerate() {
                    *to = self.data[self.place(first + i, first + j)];
                }
            }
            simd::run(Substitute {
                triangle: &small,
                x: rest,
                width,
                lower: self.side == Side::Lower,
                unit: self.unit,
            });
        }
        Ok(())
    }
}

/// One block: a triangle of rows of `BLOCK` elements, and the rows of the unknowns.
struct Substitute<'a> {
    triangle: &'a [f64],
    x: &'a mut [f64],
    width: usize,
    lower: bool,
    unit: bool,
}

impl Kernel for Substitute<'_> {
    type Output = ();
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Substitute { triangle, x, width, lower, unit } = self;
        let count = x.len() / width.max(1);
        for step in 0..count {
            let row = if lower { step } else { count - 1 - step };
            let factors = &triangle[row * BLOCK..][..BLOCK];
            let (before, rest) = x.split_at_mut(row * width);
            let (own, after) = rest.split_at_mut(width);
            let (others, known) = if lower { (0, &*before) } else { (row + 1, &*after) };
            for (at, other) in known.chunks_exact(width).enumerate() {
                let factor = -factors[others + at];
                for (own, &other) in own.iter_mut().zip(other) {
                    *own = factor.times_plus::<FUSED>(other, *own);
                }
            }
            if !unit {
                for own in own {
                    *own /= factors[row];
                }
            }
        }
    }
}

pub(super) fn solve(a: &Value, b: &Value, side: Side) -> Result<Value, Fault> {
    let stack = Stack::square(a)?;
    let (size, width) = (stack.rows, b.dims().last().copied().unwrap_or(0));
    let (a, b) = (Cpu.contiguous(a)?, Cpu.contiguous(b)?);
    if b.count() == 0 {
        return Ok(b);
    }
    let (data, from) = (a.dense::<f64>()?, b.dense::<f64>()?);
    let mut zeros = vec![None; stack.count()];
    let faults = OnceLock::new();
    let x = Value::build::<f64>(*b.shape(), |out| {
        out.copy_from_slice(from);
        each((out, size * width), (&mut zeros, 1), work([size, size, width]), |item, x, zero| {
            let steps = [size as isize, 1];
            let triangle = Triangle { data, offset: item * size * size, steps, side, unit: false };
            zero[0] = triangle.zero(size);
            if zero[0].is_none()
                && let Err(fault) = triangle.solve(size, x, width)
            {
                let _ = faults.set(fault);
            }
        });
    })?;
    if let Some(fault) = faults.into_inner() {
        return Err(fault);
    }
    match stack.first(&zeros) {
        None => Ok(x),
        Some((name, row)) => Err(zero_on_diagonal(&name, row)),
    }
}
