//! Gauss's elimination, the largest element of each column as pivot, in blocks of columns.

use super::triangular::Triangle;
use super::{BLOCK, WIDEST, each, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::gemm::{Lines, Product};
use crate::device::cpu::real::Real;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::factor::{Lu, Side, Stack, no_pivot};
use crate::device::{Value, copy::Arrange};
use crate::error::Fault;
use crate::layout::{Layout, Shape};
use std::sync::OnceLock;

pub(super) fn lu(a: &Value) -> Result<Lu, Fault> {
    let stack = Stack::square(a)?;
    let size = stack.rows;
    let a = Cpu.contiguous(a)?;
    let from = a.dense::<f64>()?;
    let faults = OnceLock::new();
    let mut packed = None;
    let exchanges = Value::try_build::<i64>(stack.with(&[size])?, |exchanges| {
        packed = Some(Value::build::<f64>(*a.shape(), |out| {
            out.copy_from_slice(from);
            let cost = work([size, size, size / 3 + 1]);
            each((out, size * size), (exchanges, size), cost, |_, a, exchanges| {
                if let Err(fault) = eliminate(a, size, exchanges) {
                    let _ = faults.set(fault);
                }
            });
        })?);
        Ok(())
    })?;
    if let Some(fault) = faults.into_inner() {
        return Err(fault);
    }
    let packed = packed.ok_or_else(|| Fault::defect("no factor was made"))?;
    Ok(Lu { packed, exchanges })
}

fn eliminate(a: &mut [f64], size: usize, exchanges: &mut [i64]) -> Result<(), Fault> {
    let mut below = Vec::new();
    for first in (0..size).step_by(BLOCK) {
        let end = (first + BLOCK).min(size);
        simd::run(Panel { a, size, first, end, exchanges });
        let (rest, depth) = (size - end, end - first);
        if rest == 0 {
            break;
        }
        let (above, under) = a.split_at_mut(end * size);
        below.clear();
        under.chunks_exact(size).for_each(|row| below.extend_from_slice(&row[first..end]));
        let left = Lines::new(&below, 0, [depth as isize, 1], [rest, depth])?;
        let right = Lines::new(above, first * size + end, [1, size as isize], [rest, depth])?;
        Product::new([rest, rest, depth], &left, &right).alpha(-1.0).accumulate(true).run(&mut under[end..], size)?;
    }
    Ok(())
}

/// Some columns, eliminated from all rows below; then the rows of these pivots to the right of them.
struct Panel<'a> {
    a: &'a mut [f64],
    size: usize,
    first: usize,
    end: usize,
    exchanges: &'a mut [i64],
}

impl Kernel for Panel<'_> {
    type Output = ();
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Panel { a, size, first, end, exchanges } = self;
        for column in first..end {
            let mut pivot = column;
            for row in column + 1..size {
                if a[row * size + column].abs() > a[pivot * size + column].abs() {
                    pivot = row;
                }
            }
            exchanges[column] = pivot as i64;
            let (above, under) = a.split_at_mut((column + 1) * size);
            let own = &mut above[column * size..];
            if pivot != column {
                own.swap_with_slice(&mut under[(pivot - column - 1) * size..][..size]);
            }
            let divisor = own[column];
            if divisor == 0.0 {
                continue;
            }
            for row in under.chunks_exact_mut(size) {
                let factor = row[column] / divisor;
                row[column] = factor;
                for (to, &x) in row[column + 1..end].iter_mut().zip(&own[column + 1..end]) {
                    *to = (-factor).times_plus::<FUSED>(x, *to);
                }
            }
        }
        for row in first + 1..end {
            let (above, own) = a.split_at_mut(row * size);
            let (factors, right) = own[..size].split_at_mut(end);
            for (other, &factor) in above[first * size..].chunks_exact(size).zip(&factors[first..row]) {
                for (to, &x) in right.iter_mut().zip(&other[end..]) {
                    *to = (-factor).times_plus::<FUSED>(x, *to);
                }
            }
        }
    }
}

/// Where matrix `item` of a batch begins, for a layout whose last `inner` axes are dense.
fn start(layout: &Layout, inner: usize, mut item: usize) -> usize {
    let outer = layout.rank() - inner;
    let mut at = layout.offset() as isize;
    for (&size, &step) in layout.dims()[..outer].iter().zip(layout.strides()).rev() {
        at += (item % size) as isize * step;
        item /= size;
    }
    at as usize
}

pub(super) fn solve(lu: &Lu, b: &Value, turned: bool) -> Result<Value, Fault> {
    let stack = Stack::of(b)?;
    let (size, width) = (stack.rows, stack.columns);
    let b = Cpu.contiguous(b)?;
    if b.count() == 0 {
        return Ok(b);
    }
    let packed = lu.packed.layout().expanded(&stack.with(&[size, size])?)?;
    let order = lu.exchanges.layout().expanded(&stack.with(&[size])?)?;
    let (data, exchanges) = (lu.packed.strided::<f64>()?.data, lu.exchanges.strided::<i64>()?.data);
    let from = b.dense::<f64>()?;
    let mut zeros = vec![None; stack.count()];
    let faults = OnceLock::new();
    let x = Value::build::<f64>(*b.shape(), |out| {
        out.copy_from_slice(from);
        each((out, size * width), (&mut zeros, 1), work([size, size, width]), |item, x, zero| {
            let offset = start(&packed, 2, item);
            let exchanges = &exchanges[start(&order, 1, item)..][..size];
            let (row, steps) = (size as isize, [size as isize, 1]);
            let upper = Triangle { data, offset, steps, side: Side::Upper, unit: false };
            zero[0] = upper.zero(size);
            if zero[0].is_some() {
                return;
            }
            let lower = Triangle { side: Side::Lower, unit: true, ..upper };
            let exchange = |x: &mut [f64], i: usize| {
                let other = exchanges[i] as usize;
                if other > i {
                    let (above, under) = x.split_at_mut(other * width);
                    above[i * width..][..width].swap_with_slice(&mut under[..width]);
                }
            };
            let outcome = if turned {
                let (first, second) = (
                    Triangle { steps: [1, row], side: Side::Lower, ..upper },
                    Triangle { steps: [1, row], side: Side::Upper, ..lower },
                );
                let outcome = first.solve(size, x, width).and_then(|()| second.solve(size, x, width));
                (0..size).rev().for_each(|i| exchange(x, i));
                outcome
            } else {
                (0..size).for_each(|i| exchange(x, i));
                lower.solve(size, x, width).and_then(|()| upper.solve(size, x, width))
            };
            if let Err(fault) = outcome {
                let _ = faults.set(fault);
            }
        });
    })?;
    if let Some(fault) = faults.into_inner() {
        return Err(fault);
    }
    match stack.first(&zeros) {
        None => Ok(x),
        Some((name, pivot)) => Err(no_pivot(&name, pivot)),
    }
}

/// The sign of each determinant (0 where it is 0) and the logarithm of its magnitude; or the determinant itself.
pub(super) fn determinants(lu: &Lu) -> Result<[Value; 3], Fault> {
    let stack = Stack::square(&lu.packed)?;
    let size = stack.rows;
    let (data, exchanges) = (lu.packed.dense::<f64>()?, lu.exchanges.dense::<i64>()?);
    let parts = |item: usize| {
        let (mut sign, mut log, mut product) = (1.0, 0.0, 1.0);
        for i in 0..size {
            let pivot = data[item * size * size + i * (size + 1)];
            let exchanged = if exchanges[item * size + i] == i as i64 { 1.0 } else { -1.0 };
            sign *= exchanged * if pivot == 0.0 { 0.0 } else { pivot.signum() };
            product *= exchanged * pivot;
            log += pivot.abs().ln();
        }
        [sign, log, product]
    };
    let column = |which: usize| {
        Value::build::<f64>(stack.batch, |out| {
            for (item, to) in out.iter_mut().enumerate() {
                *to = parts(item)[which];
            }
        })
    };
    Ok([column(0)?, column(1)?, column(2)?])
}

/// Identities in the shape of a batch of square matrices.
pub(super) fn identities(shape: &Shape) -> Result<Value, Fault> {
    let size = shape.last().copied().unwrap_or(0);
    Value::build::<f64>(*shape, |out| {
        out.fill(0.0);
        for matrix in out.chunks_exact_mut((size * size).max(1)) {
            matrix.iter_mut().step_by(size + 1).for_each(|to| *to = 1.0);
        }
    })
}
