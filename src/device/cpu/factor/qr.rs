//! Householder's reflections, in blocks.
//!
//! Everything is done on the transpose, where a column is a row of memory. The reflections of a block are one factor
//! `1 - V · T · Vᵀ`: the vectors and a small triangle. The rest of the matrix, and later `Q`, changes by two products.

use super::{BLOCK, Real, Stack, WIDEST, each, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::gemm::{Lines, Product};
use crate::device::cpu::real::{self, LANES, total};
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
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

pub(super) fn qr<T: Real>(a: &Value) -> Result<(Value, Value), Fault> {
    let stack = Stack::of(a)?;
    let (m, n) = (stack.rows, stack.columns);
    let k = m.min(n);
    let columns = Cpu.contiguous(&turned(a)?)?;
    let columns = columns.dense::<T>()?;
    let mut q = None;
    let faults = OnceLock::new();
    let r = Value::try_build::<T>(stack.with(&[k, n])?, |r| {
        let turned = Value::build::<T>(stack.with(&[k, m])?, |q| {
            each((q, k * m), (r, k * n), work([m, n, k]), |item, q, r| {
                let mut columns = columns[item * m * n..][..m * n].to_vec();
                let outcome = reflect(&mut columns, m, n).and_then(|reflections| reflections.orthonormal(q));
                if let Err(fault) = outcome {
                    let _ = faults.set(fault);
                }
                for (i, row) in r.chunks_exact_mut(n).enumerate() {
                    for (j, to) in row.iter_mut().enumerate() {
                        *to = if i <= j { columns[j * m + i] } else { T::ZERO };
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
    Ok((Cpu.contiguous(&turned(&q)?)?, r))
}

/// The reflections of a matrix: row `i` of `vectors` is zero before element `i`, and 1 there.
pub(super) struct Reflections<T> {
    length: usize,
    vectors: Vec<T>,
    /// For each block the triangle `T`, in rows of `BLOCK` elements.
    triangles: Vec<T>,
}

/// Makes `n` columns of `m` elements (each a row of memory) upper triangular.
pub(super) fn reflect<T: Real>(columns: &mut [T], m: usize, n: usize) -> Result<Reflections<T>, Fault> {
    let k = m.min(n);
    let mut vectors = vec![T::ZERO; k * m];
    let mut triangles = vec![T::ZERO; k.next_multiple_of(BLOCK) * BLOCK];
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

impl<T: Real> Reflections<T> {
    /// Writes the first columns of the product of all reflections, each as a row.
    pub(super) fn orthonormal(&self, q: &mut [T]) -> Result<(), Fault> {
        let m = self.length;
        q.fill(T::ZERO);
        for (i, row) in q.chunks_exact_mut(m.max(1)).enumerate() {
            row[i] = T::ONE;
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
fn apply<T: Real>(
    rows: &mut [T],
    length: usize,
    first: usize,
    vectors: &[T],
    triangle: &[T],
    turn: bool,
    scratch: &mut Vec<T>,
) -> Result<(), Fault> {
    let (count, depth) = (rows.len() / length.max(1), vectors.len() / length.max(1));
    if count == 0 || depth == 0 {
        return Ok(());
    }
    let (reach, step) = (length - first, length as isize);
    scratch.resize(2 * count * depth, T::ZERO);
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
    Product::new([count, reach, depth], &left, &right).alpha(-T::ONE).accumulate(true).run(&mut rows[first..], length)
}

/// One block of columns, made triangular by themselves.
struct Panel<'a, T> {
    columns: &'a mut [T],
    vectors: &'a mut [T],
    triangle: &'a mut [T],
    length: usize,
    /// The place of the block on the diagonal.
    first: usize,
}

impl<T: real::Real> Kernel for Panel<'_, T> {
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
            let share = T::narrow(mirror(&mut own[pivot..], &mut vector[pivot..]));
            for other in others.chunks_exact_mut(length) {
                let factor = -share * T::narrow(dot::<T, FUSED>(&vector[pivot..], &other[pivot..]));
                for (to, &v) in other[pivot..].iter_mut().zip(&vector[pivot..]) {
                    *to = factor.times_plus::<FUSED>(v, *to);
                }
            }
            // The triangle gets one more column: -share · T · (what the vectors so far have in common with this one).
            let mut common = [T::ZERO; BLOCK];
            for (common, other) in common.iter_mut().zip(before.chunks_exact(length)) {
                *common = -share * T::narrow(dot::<T, FUSED>(&other[pivot..], &vector[pivot..]));
            }
            for row in 0..at {
                let mut sum = T::ZERO;
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
pub(super) fn mirror<T: real::Real>(x: &mut [T], v: &mut [T]) -> f64 {
    let alpha = x[0].wide();
    // (A NaN is larger than all, so that it is not lost.)
    let larger = |most: f64, x: f64| if x > most || x.is_nan() { x } else { most };
    let largest = x[1..].iter().fold(0.0, |most, x| larger(most, x.magnitude().wide()));
    v.fill(T::ZERO);
    v[0] = T::ONE;
    if largest == 0.0 {
        return 0.0;
    }
    // Squares of numbers that are not above 1 overflow no more than the result does.
    let squares: f64 = x[1..].iter().map(|x| x.wide() / largest).map(|x| x * x).sum();
    let norm = alpha.hypot(largest * squares.sqrt());
    let beta = -norm.copysign(alpha);
    for (v, &x) in v[1..].iter_mut().zip(&x[1..]) {
        *v = T::narrow(x.wide() / (alpha - beta));
    }
    x[1..].fill(T::ZERO);
    x[0] = T::narrow(beta);
    (beta - alpha) / beta
}

#[inline(always)]
pub(super) fn dot<T: real::Real, const FUSED: bool>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = [T::ZERO; LANES];
    let ((left, left_rest), (right, right_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in left.iter().zip(right) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.times_plus::<FUSED>(b, *lane);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane = a.times_plus::<FUSED>(b, *lane);
    }
    total(&lanes)
}
