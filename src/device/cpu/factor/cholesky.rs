//! A symmetric matrix as a triangle times its transpose.

use super::qr::dot;
use super::{BLOCK, each, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::gemm::{Lines, Product};
use crate::device::factor::{Stack, not_definite};
use crate::device::{Value, copy::Arrange};
use crate::error::Fault;
use std::ops::Range;
use std::sync::OnceLock;

/// Columns of what is left that change at once: what lies above the diagonal is not computed.
const STRIP: usize = 128;

pub(super) fn cholesky(a: &Value) -> Result<Value, Fault> {
    let stack = Stack::square(a)?;
    let size = stack.rows;
    let a = Cpu.contiguous(a)?;
    if a.count() == 0 {
        return Ok(a);
    }
    let from = a.dense::<f64>()?;
    let mut failed = vec![None; stack.count()];
    let faults = OnceLock::new();
    let l = Value::build::<f64>(*a.shape(), |out| {
        out.copy_from_slice(from);
        each((out, size * size), (&mut failed, 1), work([size, size, size / 6 + 1]), |_, a, failed| {
            match factor(a, size) {
                Ok(minor) => failed[0] = minor,
                Err(fault) => drop(faults.set(fault)),
            }
        });
    })?;
    if let Some(fault) = faults.into_inner() {
        return Err(fault);
    }
    match stack.first(&failed) {
        None => Ok(l),
        Some((name, minor)) => Err(not_definite(&name, minor)),
    }
}

/// The triangle in place; or the order of the first leading minor that is not positive.
fn factor(a: &mut [f64], size: usize) -> Result<Option<usize>, Fault> {
    let mut below = Vec::new();
    for first in (0..size).step_by(BLOCK) {
        let end = (first + BLOCK).min(size);
        let minor = panel(a, size, first..end);
        if minor.is_some() {
            return Ok(minor);
        }
        let depth = end - first;
        below.clear();
        a[end * size..].chunks_exact(size).for_each(|row| below.extend_from_slice(&row[first..end]));
        for strip in (end..size).step_by(STRIP) {
            let (rows, columns) = (size - strip, STRIP.min(size - strip));
            let at = (strip - end) * depth;
            let left = Lines::new(&below, at, [depth as isize, 1], [rows, depth])?;
            let right = Lines::new(&below, at, [depth as isize, 1], [columns, depth])?;
            Product::new([rows, columns, depth], &left, &right)
                .alpha(-1.0)
                .accumulate(true)
                .run(&mut a[strip * size + strip..], size)?;
        }
    }
    for (i, row) in a.chunks_exact_mut(size).enumerate() {
        row[i + 1..].fill(0.0);
    }
    Ok(None)
}

/// Some columns of all rows from the diagonal down; the order of a leading minor that is not positive.
fn panel(a: &mut [f64], size: usize, Range { start: first, end }: Range<usize>) -> Option<usize> {
    for row in first..size {
        let (above, own) = a.split_at_mut(row * size);
        for column in first..end.min(row) {
            let other = &above[column * size..];
            let known = dot(&own[first..column], &other[first..column]);
            own[column] = (own[column] - known) / other[column];
        }
        if row < end {
            let square = own[row] - dot(&own[first..row], &own[first..row]);
            if square.is_nan() || square <= 0.0 {
                return Some(row + 1);
            }
            own[row] = square.sqrt();
        }
    }
    None
}
