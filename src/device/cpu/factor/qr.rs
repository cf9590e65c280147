//! Householder's reflections, in blocks.
//!
//! Everything is done on the transpose, where a column is a row of memory. The reflections of a block are one factor
//! `1 - V · T · Vᵀ`: the vectors and a small triangle. The rest of the matrix, and later `Q`, changes by two products.

use super::{BLOCK, WIDEST, each, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::gemm::{Lines, Product};
use crate::device::cpu::real::{Lanes, Real, total};
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::factor::Stack;
use crate::device::{Value, copy::Arrange};
use crate::error::Fault;
use std::sync::OnceLock;

/// The last two axes exchanged.
pub(super) fn turned(x: &Value) -> Result<Value, Fault> {
    let rank = x.rank();
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(rank - 1, rank - 2);
    x.with_layout(x.layout().permuted(&order))
}

pub(super) fn qr(a: &Value) -> Result<[Value; 2], Fault> {
    let stack = Stack::of(a)?;
    let (m, n) = (stack.rows, stack.columns);
    let k = m.min(n);
    let columns = Cpu.contiguous(&turned(a)?)?;
    let columns = columns.dense::<f64>()?;
    let mut q = None;
    let faults = OnceLock::new();
    let r = Value::try_build::<f64>(stack.with(&[k, n])?, |r| {
        let turned = Value::build::<f64>(stack.with(&[k, m])?, |q| {
            each((q, k * m), (r, k * n), work([m, n, k]), |item, q, r| {
                let mut columns = columns[item * m * n..][..m * n].to_vec();
                let outcome = reflect(&mut columns, m, n).and_then(|reflections| reflections.orthonormal(q));
                if let Err(fault) = outcome {
                    let _ = faults.set(fault);
                }
                for (i, row) in r.chunks_exact_mut(n).enumerate() {
                    for (j, to) in row.iter_mut().enumerate() {
                        *to = if i <= j { columns[j * m + i] } else { 0.0 };
                    }
                }
            });
        })?;
        q = Some(turned);
        Ok(())
    })?;
    if let Some(fault) = faults.into_inner() {
        return Err(fault);
    }
    let q = q.ok_or_else(|| Fault::defect("no factor was made"))?;
    Ok([Cpu.contiguous(&turned(&q)?)?, r])
}

/// The reflections of a matrix: row `i` of `vectors` is zero before element `i`, and 1 there.
pub(super) struct Reflections {
    length: usize,
    vectors: Vec<f64>,
    /// For each block the triangle `T`, in rows of `BLOCK` elements.
    triangles: Vec<f64>,
}

/// Makes `n` columns of `m` elements (each a row of memory) upper triangular.
pub(super) fn reflect(columns: &mut [f64], m: usize, n: usize) -> Result<Reflections, Fault> {
    let k = m.min(n);
    let mut vectors = vec![0.0; k * m];
    let mut triangles = vec![0.0; k.next_multiple_of(BLOCK) * BLOCK];
    let mut products = Vec::new();
    for first in (0..k).step_by(BLOCK) {
        let end = (first + BLOCK).min(k);
        let (block, rest) = columns[first * m..].split_at_mut((end - first) * m);
        let vectors = &mut vectors[first * m..end * m];
        let triangle = &mut triangles[first * BLOCK..][..BLOCK * BLOCK];
        simd::run(Panel { columns: block, vectors, triangle, length: m, first });
        apply(rest, m, first, vectors, triangle, false, &mut products)?;
    }
    Ok(Reflections { length: m, vectors, triangles })
}

impl Reflections {
    /// Writes the first columns of the product of all reflections, each as a row.
    pub(super) fn orthonormal(&self, q: &mut [f64]) -> Result<(), Fault> {
        let m = self.length;
        q.fill(0.0);
        for (i, row) in q.chunks_exact_mut(m.max(1)).enumerate() {
            row[i] = 1.0;
        }
        let k = q.len() / m.max(1);
        let mut products = Vec::new();
        for first in (0..k).step_by(BLOCK).rev() {
            let end = (first + BLOCK).min(k);
            let triangle = &self.triangles[first * BLOCK..][..BLOCK * BLOCK];
            // Columns before the block are still those of the identity, which these reflections do not reach.
            apply(&mut q[first * m..], m, first, &self.vectors[first * m..end * m], triangle, true, &mut products)?;
        }
        Ok(())
    }
}

/// `B ← B · (1 - V · T · Vᵀ)` (or with `Tᵀ`) for rows of `length` elements; the vectors are zero before element `first`.
fn apply(
    rows: &mut [f64],
    length: usize,
    first: usize,
    vectors: &[f64],
    triangle: &[f64],
    turn: bool,
    scratch: &mut Vec<f64>,
) -> Result<(), Fault> {
    let (count, depth) = (rows.len() / length.max(1), vectors.len() / length.max(1));
    if count == 0 || depth == 0 {
        return Ok(());
    }
    let (reach, step) = (length - first, length as isize);
    scratch.resize(2 * count * depth, 0.0);
    let (product, weighted) = scratch.split_at_mut(count * depth);
    {
        let left = Lines::new(rows, first, [step, 1], [count, reach])?;
        let right = Lines::new(vectors, first, [step, 1], [depth, reach])?;
        Product::new([count, depth, reach], &left, &right).run(product, depth)?;
    }
    let left = Lines::new(product, 0, [depth as isize, 1], [count, depth])?;
    let block = BLOCK as isize;
    let right = Lines::new(triangle, 0, if turn { [block, 1] } else { [1, block] }, [depth, depth])?;
    Product::new([count, depth, depth], &left, &right).run(weighted, depth)?;
    let left = Lines::new(weighted, 0, [depth as isize, 1], [count, depth])?;
    let right = Lines::new(vectors, first, [1, step], [reach, depth])?;
    Product::new([count, reach, depth], &left, &right).alpha(-1.0).accumulate(true).run(&mut rows[first..], length)
}

/// One block of columns, made triangular by themselves.
struct Panel<'a> {
    columns: &'a mut [f64],
    vectors: &'a mut [f64],
    triangle: &'a mut [f64],
    length: usize,
    /// The place of the block on the diagonal.
    first: usize,
}

impl Kernel for Panel<'_> {
    type Output = ();
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Panel { columns, vectors, triangle, length, first } = self;
        for at in 0..columns.len() / length {
            let pivot = first + at;
            let (own, others) = columns[at * length..].split_at_mut(length);
            let (before, vector) = vectors.split_at_mut(at * length);
            let vector = &mut vector[..length];
            let share = mirror(&mut own[pivot..], &mut vector[pivot..]);
            for other in others.chunks_exact_mut(length) {
                let factor = -share * dot(&vector[pivot..], &other[pivot..]);
                for (to, &v) in other[pivot..].iter_mut().zip(&vector[pivot..]) {
                    *to = factor.times_plus::<FUSED>(v, *to);
                }
            }
            // The triangle gets one more column: -share · T · (what the vectors so far have in common with this one).
            let mut common = [0.0; BLOCK];
            for (common, other) in common.iter_mut().zip(before.chunks_exact(length)) {
                *common = -share * dot(&other[pivot..], &vector[pivot..]);
            }
            for row in 0..at {
                let mut sum = 0.0;
                for column in row..at {
                    sum += triangle[row * BLOCK + column] * common[column];
                }
                triangle[row * BLOCK + at] = sum;
            }
            triangle[at * BLOCK + at] = share;
        }
    }
}

/// The reflection `1 - share · v · vᵀ` that takes `x` to a multiple of the first axis: leaves that in `x`, writes `v`.
#[inline(always)]
pub(super) fn mirror(x: &mut [f64], v: &mut [f64]) -> f64 {
    let alpha = x[0];
    // (A NaN is larger than all, so that it is not lost.)
    let larger = |most: f64, x: f64| if x > most || x.is_nan() { x } else { most };
    let largest = x[1..].iter().fold(0.0, |most, x| larger(most, x.abs()));
    v.fill(0.0);
    v[0] = 1.0;
    if largest == 0.0 {
        return 0.0;
    }
    // Squares of numbers that are not above 1 overflow no more than the result does.
    let squares: f64 = x[1..].iter().map(|x| x / largest).map(|x| x * x).sum();
    let norm = alpha.hypot(largest * squares.sqrt());
    let beta = -norm.copysign(alpha);
    for (v, &x) in v[1..].iter_mut().zip(&x[1..]) {
        *v = x / (alpha - beta);
    }
    x[1..].fill(0.0);
    x[0] = beta;
    (beta - alpha) / beta
}

/// The sum of products.
#[inline(never)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    simd::run(Dot(a, b))
}

struct Dot<'a>(&'a [f64], &'a [f64]);

impl Kernel for Dot<'_> {
    type Output = f64;
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        type Sums = <f64 as Real>::Lanes;
        let mut lanes = Sums::ZERO;
        let ((left, left_rest), (right, right_rest)) = (Sums::blocks(self.0), Sums::blocks(self.1));
        for (a, b) in left.iter().zip(right) {
            for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                *lane = a.times_plus::<FUSED>(b, *lane);
            }
        }
        for ((lane, &a), &b) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
            *lane = a.times_plus::<FUSED>(b, *lane);
        }
        total::<f64>(&lanes)
    }
}
