//! Singular values by Jacobi's rotations: after `A = Q · R` the rows of `R` are turned against each other, two at a time,
//! until all are orthogonal. Their lengths are the singular values, small ones as exact as large ones.
//!
//! Pairs meet as in a tournament: in each round every row meets one other, so that the pairs of a round can be turned at the
//! same time. All is computed in f64.

use super::qr::{dot, reflect};
use super::{WIDEST, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::gemm::{Lines, Product};
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::factor::{Stack, no_end, not_finite};
use crate::device::{Value, copy::Arrange};
use crate::error::Fault;
use crate::layout::put_in_order;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds of all pairs; six to ten are usual.
const SWEEPS: usize = 60;

/// The parts of one matrix: left vectors as rows, values, right vectors as rows.
struct Parts {
    left: Vec<f64>,
    values: Vec<f64>,
    right: Vec<f64>,
}

/// `U`, the values and `Vᵀ` of f64 matrices.
pub(super) fn svd(a: &Value) -> Result<[Value; 3], Fault> {
    let stack = Stack::of(a)?;
    let (m, n) = (stack.rows, stack.columns);
    let k = m.min(n);
    // The work is done on a matrix that is not wide, whose columns are rows of memory.
    let columns = if m < n { Cpu.contiguous(a)? } else { Cpu.contiguous(&super::qr::turned(a)?)? };
    let shapes = [stack.with(&[m, k])?, stack.with(&[k])?, stack.with(&[k, n])?];
    if columns.count() == 0 {
        return Ok([
            Value::build::<f64>(shapes[0], |_| ())?,
            Value::build::<f64>(shapes[1], |_| ())?,
            Value::build::<f64>(shapes[2], |_| ())?,
        ]);
    }
    let columns = columns.dense::<f64>()?;
    let parts = parallel::collect(stack.count(), work([m, n, 16 * k]), |item| {
        tall(columns[item * m * n..][..m * n].to_vec(), m.max(n), k, m < n).map_err(|why| why.named(&stack, item))
    });
    let parts = parts.into_iter().collect::<Result<Vec<Parts>, Fault>>()?;
    let left = Value::build::<f64>(shapes[0], |out| {
        for (to, parts) in out.chunks_exact_mut(m * k).zip(&parts) {
            let from = if m < n { &parts.right } else { &parts.left };
            for (i, row) in to.chunks_exact_mut(k).enumerate() {
                for (j, to) in row.iter_mut().enumerate() {
                    *to = from[j * m + i];
                }
            }
        }
    })?;
    let values = Value::build::<f64>(shapes[1], |out| {
        for (to, parts) in out.chunks_exact_mut(k).zip(&parts) {
            to.copy_from_slice(&parts.values);
        }
    })?;
    let right = Value::build::<f64>(shapes[2], |out| {
        for (to, parts) in out.chunks_exact_mut(k * n).zip(&parts) {
            to.copy_from_slice(if m < n { &parts.left } else { &parts.right });
        }
    })?;
    Ok([left, values, right])
}

/// The reciprocals of singular values of `m × n` matrices, descending in rows of `k`; 0 for those that count as 0.
fn reciprocals(values: &Value, [m, n]: [usize; 2], precision: f64) -> Result<Vec<f64>, Fault> {
    let values = values.dense::<f64>()?;
    let relative = precision * m.max(n) as f64;
    let of_row = |row: &[f64]| {
        let least = row.first().map_or(0.0, |largest| largest * relative);
        row.iter().map(|&x| if x > least { 1.0 / x } else { 0.0 }).collect::<Vec<f64>>()
    };
    Ok(values.chunks(m.min(n).max(1)).flat_map(of_row).collect())
}

pub(super) fn pseudo_inverse(a: &Value, precision: f64) -> Result<Value, Fault> {
    let stack = Stack::of(a)?;
    let (m, n) = (stack.rows, stack.columns);
    let k = m.min(n);
    let [u, values, vt] = svd(a)?;
    let reciprocals = reciprocals(&values, [m, n], precision)?;
    let (u, vt) = (u.dense::<f64>()?, vt.dense::<f64>()?);
    Value::try_build::<f64>(stack.with(&[n, m])?, |out| {
        out.fill(0.0);
        if k == 0 {
            return Ok(());
        }
        for (item, out) in out.chunks_exact_mut(n * m).enumerate() {
            let mut scaled = vt[item * k * n..][..k * n].to_vec();
            for (row, &factor) in scaled.chunks_exact_mut(n).zip(&reciprocals[item * k..]) {
                row.iter_mut().for_each(|x| *x *= factor);
            }
            let left = Lines::new(&scaled, 0, [1, n as isize], [n, k])?;
            let right = Lines::new(u, item * m * k, [k as isize, 1], [m, k])?;
            Product::new([n, m, k], &left, &right).run(out, m)?;
        }
        Ok(())
    })
}

pub(super) fn rank(a: &Value, precision: f64) -> Result<Value, Fault> {
    let stack = Stack::of(a)?;
    let k = stack.rows.min(stack.columns);
    let [_, values, _] = svd(a)?;
    let reciprocals = reciprocals(&values, [stack.rows, stack.columns], precision)?;
    Value::build::<i64>(stack.batch, |out| {
        out.fill(0);
        for (to, row) in out.iter_mut().zip(reciprocals.chunks(k.max(1))) {
            *to = row.iter().filter(|&&x| x != 0.0).count() as i64;
        }
    })
}

/// Why a matrix has no parts.
pub(super) enum Why {
    NotFinite,
    NoEnd,
    Fault(Fault),
}

impl Why {
    pub(super) fn named(self, stack: &Stack, item: usize) -> Fault {
        match self {
            Why::NotFinite => not_finite(&stack.name(item)),
            Why::NoEnd => no_end(&stack.name(item)),
            Why::Fault(fault) => fault,
        }
    }
}

/// The largest magnitude, at least a number that can be divided by.
pub(super) fn magnitude(numbers: &[f64]) -> Result<f64, Why> {
    if numbers.iter().any(|x| !x.is_finite()) {
        return Err(Why::NotFinite);
    }
    let largest = numbers.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    Ok(if largest < f64::MIN_POSITIVE { 1.0 } else { largest })
}

/// A row of `R` and how it is made of the rows there were.
#[derive(Default)]
struct Row {
    vector: Vec<f64>,
    basis: Vec<f64>,
}

fn tall(mut columns: Vec<f64>, m: usize, n: usize, wide: bool) -> Result<Parts, Why> {
    let scale = magnitude(&columns)?;
    columns.iter_mut().for_each(|x| *x /= scale);
    let reflections = reflect(&mut columns, m, n).map_err(Why::Fault)?;
    let mut rows: Vec<Row> = (0..n)
        .map(|i| {
            let vector = (0..n).map(|j| if i <= j { columns[j * m + i] } else { 0.0 }).collect();
            let basis = (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
            Row { vector, basis }
        })
        .collect();
    turn_all(&mut rows, n)?;
    let length = |row: &Row| dot(&row.vector, &row.vector).sqrt();
    let mut order: Vec<(f64, Row)> = rows.into_iter().map(|row| (length(&row), row)).collect();
    put_in_order(&mut order, &|(a, _), (b, _)| b.total_cmp(a));

    let (mut values, mut right, mut basis) = (Vec::new(), Vec::new(), Vec::new());
    for (value, row) in &order {
        // Squares of what is smaller than this are no longer numbers to be trusted.
        let zero = *value < 1e-140;
        values.push(if zero { 0.0 } else { value * scale });
        if !zero {
            right.extend(row.vector.iter().map(|x| x / value));
        }
        basis.extend_from_slice(&row.basis);
    }
    complete(&mut right, n);
    columns.truncate(n * m);
    reflections.orthonormal(&mut columns).map_err(Why::Fault)?;
    let mut left = vec![0.0; n * m];
    let mut product = || -> Result<(), Fault> {
        let turned = Lines::new(&basis, 0, [n as isize, 1], [n, n])?;
        let q = Lines::new(&columns, 0, [1, m as isize], [m, n])?;
        Product::new([n, m, n], &turned, &q).run(&mut left, m)
    };
    product().map_err(Why::Fault)?;
    let (first, second) = if wide { (&mut right, &mut left) } else { (&mut left, &mut right) };
    let (first_length, second_length) = if wide { (n, m) } else { (m, n) };
    for (first, second) in first.chunks_exact_mut(first_length).zip(second.chunks_exact_mut(second_length)) {
        if points_back(first) {
            first.iter_mut().chain(second).for_each(|x| *x = -*x);
        }
    }
    Ok(Parts { left, values, right })
}

/// Signs are free: the element of largest magnitude is to be positive.
pub(super) fn points_back(vector: &[f64]) -> bool {
    vector.iter().fold(0.0f64, |most, &x| if x.abs() > most.abs() { x } else { most }) < 0.0
}

/// Turns all rows against each other until they are orthogonal.
fn turn_all(rows: &mut Vec<Row>, n: usize) -> Result<(), Why> {
    if n < 2 {
        return Ok(());
    }
    if n % 2 == 1 {
        rows.push(Row::default()); // who meets it rests
    }
    let pairs = rows.len() / 2;
    // Where each comes from for the next round: all but the first go around a table of two sides.
    let from: Vec<usize> = (0..2 * pairs)
        .map(|place| match (place % 2, place / 2) {
            (0, 0) => 0,
            (0, 1) => 1,
            (0, k) => 2 * (k - 1),
            (_, k) if k + 1 == pairs => 2 * k,
            (_, k) => 2 * (k + 1) + 1,
        })
        .collect();
    let enough = f64::EPSILON * (n as f64).sqrt();
    for _ in 0..SWEEPS {
        let turned = AtomicBool::new(false);
        for _ in 0..2 * pairs - 1 {
            parallel::chunks(rows, 2, 8 * n, |_, pair| {
                if let [a, b] = pair
                    && !a.vector.is_empty()
                    && !b.vector.is_empty()
                    && simd::run(Turn { a, b, enough })
                {
                    turned.store(true, Ordering::Relaxed);
                }
            });
            if pairs > 1 {
                *rows = from.iter().map(|&from| std::mem::take(&mut rows[from])).collect();
            }
        }
        if !turned.into_inner() {
            rows.retain(|row| !row.vector.is_empty());
            return Ok(());
        }
    }
    Err(Why::NoEnd)
}

/// Two rows that are to be orthogonal; says whether they had to be turned.
struct Turn<'a> {
    a: &'a mut Row,
    b: &'a mut Row,
    enough: f64,
}

impl Kernel for Turn<'_> {
    type Output = bool;
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) -> bool {
        let Turn { a, b, enough } = self;
        let common = dot(&a.vector, &b.vector);
        let (first, second) = (dot(&a.vector, &a.vector), dot(&b.vector, &b.vector));
        let least = enough * first.sqrt() * second.sqrt();
        if common.abs() <= least || least == 0.0 {
            return false;
        }
        let zeta = (second - first) / (2.0 * common);
        let tangent = 1.0f64.copysign(zeta) / (zeta.abs() + zeta.hypot(1.0));
        let cosine = 1.0 / tangent.hypot(1.0);
        let sine = cosine * tangent;
        rotate(&mut a.vector, &mut b.vector, cosine, sine);
        rotate(&mut a.basis, &mut b.basis, cosine, sine);
        true
    }
}

/// `a ← c · a - s · b`, `b ← s · a + c · b`.
#[inline(always)]
pub(super) fn rotate(a: &mut [f64], b: &mut [f64], cosine: f64, sine: f64) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

/// Adds rows of `n` elements until there are `n`, orthonormal to those there are.
fn complete(rows: &mut Vec<f64>, n: usize) {
    let mut next = 0;
    while rows.len() < n * n {
        // What is left of all axes together has as many squares as rows are missing: one axis has its share.
        let share = (n - rows.len() / n) as f64 / n as f64;
        let found = (0..n).map(|step| (next + step) % n).find_map(|axis| {
            let mut row = vec![0.0; n];
            row[axis] = 1.0;
            for _ in 0..2 {
                for other in rows.chunks_exact(n) {
                    let common = dot(other, &row);
                    row.iter_mut().zip(other).for_each(|(x, y)| *x -= common * y);
                }
            }
            let squares = dot(&row, &row);
            (squares > 0.5 * share).then(|| (axis, row.iter().map(|x| x / squares.sqrt()).collect::<Vec<f64>>()))
        });
        let Some((axis, row)) = found else { return rows.resize(n * n, 0.0) };
        rows.extend(row);
        next = axis + 1;
    }
}
