//! Singular values by Jacobi's rotations, eigenvalues of symmetric matrices by reflections and the QL method.

use super::{Piece, threads_for, turned};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cuda::Cuda;
use crate::device::cuda::faults::Check;
use crate::device::cuda::launch::THREADS;
use crate::device::cuda::module::{Source, source};
use crate::device::factor::{Stack, no_end, not_finite};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const SPECTRUM: Source = source!("spectrum");
const SINGULAR: Source = source!("singular");
const EIGEN: Source = source!("eigen");

/// Rows that a block turns by itself; of more, all blocks turn those of a round.
const ALONE: usize = 96;
/// Rounds of all pairs; six to ten are usual.
const SWEEPS: usize = 60;
/// Vectors, or pairs of them, that a block of warps takes.
const WARPS: usize = 8;

/// Vectors of a batch of matrices: the elements of one, their distance, the distance of the next one, that of the next matrix.
type Vectors = [usize; 4];

/// `[m, n]` matrices with the greater size first.
fn tall(stack: &Stack) -> Stack {
    Stack { rows: stack.rows.max(stack.columns), columns: stack.rows.min(stack.columns), ..*stack }
}

impl Cuda {
    /// Copies of f64 matrices of a size that can be squared, and by what they were divided. `mirrored`: the lower triangle counts for both.
    /// Numbers that are not finite are found out at the next read.
    fn scaled(self, a: &Value, named: Stack, mirrored: bool) -> Result<[Value; 2], Fault> {
        let sizes = Stack::of(a)?;
        let each = sizes.rows * sizes.columns;
        let explain = move |bits: i64, place: usize| {
            let name = named.name(place / each);
            if f64::from_bits(bits as u64).is_finite() { no_end(&name) } else { not_finite(&name) }
        };
        let check = self.next_check(a, explain)?;
        let (own, scales) = (self.duplicate(a)?, self.blank(sizes.batch, DType::F64)?);
        let call = self.factor_kernel(&SPECTRUM, "scale_f64")?.write(&own).write(&scales).long(sizes.rows as i64);
        let call = call.long(sizes.columns as i64).int(mirrored as i32).write(&check.word).long(check.number);
        call.grid([sizes.count(), 1, 1], threads_for(each), 0)?;
        Ok([own, scales])
    }
    /// The check of kernels whose rotations may come to no end.
    fn endless(self, a: &Value, stack: Stack) -> Result<Check, Fault> {
        let each = stack.rows * stack.columns;
        self.next_check(a, move |_, place| no_end(&stack.name(place / each)))
    }
    /// The element of largest magnitude of each vector of the first becomes positive.
    fn signs(
        self,
        [matrices, vectors]: [usize; 2],
        (first, p): (&Value, Vectors),
        second: Option<(&Value, Vectors)>,
    ) -> Result<(), Fault> {
        let words = |vectors: Vectors| vectors.map(|number| number as u64);
        let call = self.factor_kernel(&SPECTRUM, "signs_f64")?.write(first).option(second.map(|(value, _)| value));
        let call = call.long(vectors as i64).block(&words(p)).block(&words(second.map_or([0; 4], |(_, q)| q)));
        call.grid([matrices, vectors.div_ceil(WARPS), 1], THREADS, 0)
    }
    /// `U`, the values and `Vᵀ` in f64.
    pub(super) fn singular(self, a: &Value) -> Result<[Value; 3], Fault> {
        let stack = Stack::of(a)?;
        let (m, n, k, count) = (stack.rows, stack.columns, stack.rows.min(stack.columns), stack.count());
        let a = self.wide(a, "the singular values")?;
        let blank = |sizes: &[usize]| self.blank(stack.with(sizes)?, DType::F64);
        if a.count() == 0 {
            return Ok([blank(&[m, k])?, blank(&[k])?, blank(&[k, n])?]);
        }
        let sizes = tall(&stack);
        let a = if m < n { self.contiguous(&turned(&a)?)? } else { a };
        let [own, scales] = self.scaled(&a, stack, false)?;
        let [q, rows] = self.orthonormal(&own, &sizes)?;
        let basis = self.identities(*rows.shape())?;
        self.turn_rows(&rows, &basis, &sizes)?;
        let [values, lengths] = [blank(&[k])?, blank(&[k])?];
        let [right, sorted] = [blank(&[k, k])?, blank(&[k, k])?];
        let call =
            self.factor_kernel(&SINGULAR, "singular_f64")?.read(&rows).read(&basis).read(&scales).write(&lengths);
        let call = call.write(&values).write(&right).write(&sorted).long(k as i64);
        call.grid([count, 1, 1], threads_for(k * 8), 0)?;
        // The columns of Q times the turned basis are the other vectors.
        let columns = [Piece::of(&q, sizes.rows, k), Piece::of(&sorted, k, k).turned()];
        let (u, vt) = if m < n {
            let vt = blank(&[k, n])?;
            self.change(count, [n, k, k], [columns[0], columns[1], Piece::of(&vt, k, n).turned()], [1.0, 0.0], false)?;
            (self.duplicate(&turned(&right)?)?, vt)
        } else {
            let u = blank(&[m, k])?;
            self.change(count, [m, k, k], [columns[0], columns[1], Piece::of(&u, m, k)], [1.0, 0.0], false)?;
            (u, right)
        };
        self.signs([count, k], (&u, [m, k, 1, m * k]), Some((&vt, [n, 1, n, k * n])))?;
        Ok([u, values, vt])
    }
    /// Turns rows against each other until they are orthogonal, and the basis with them.
    fn turn_rows(self, rows: &Value, basis: &Value, stack: &Stack) -> Result<(), Fault> {
        let (n, count) = (stack.columns, stack.count());
        if n <= ALONE {
            let check = self.endless(rows, Stack { rows: n, ..*stack })?;
            let call = self.factor_kernel(&SINGULAR, "turn_all_f64")?.write(rows).write(basis).long(n as i64);
            let call = call.write(&check.word).long(check.number);
            return call.grid([count, 1, 1], threads_for(n * 8), 0);
        }
        let pairs = n.div_ceil(2);
        for _ in 0..SWEEPS {
            let flag = self.full(Shape::new(&[1])?, DType::I32, 0.0)?;
            for round in 0..2 * pairs - 1 {
                let call = self.factor_kernel(&SINGULAR, "turn_f64")?.write(rows).write(basis).long(n as i64);
                let call = call.long(round as i64).write(&flag);
                call.grid([count, pairs.div_ceil(WARPS), 1], THREADS, 0)?;
            }
            // A read: whether another sweep is needed.
            if self.bring_back(&flag)?.dense::<i32>()?.iter().all(|&turned| turned == 0) {
                return Ok(());
            }
        }
        Err(no_end(if count == 1 { "the matrix" } else { "a matrix of the batch" }))
    }
    /// Eigenvalues in ascending order and eigenvectors as columns, in f64.
    pub(super) fn eigen(self, a: &Value) -> Result<[Value; 2], Fault> {
        let stack = Stack::square(a)?;
        let (n, count) = (stack.rows, stack.count());
        let a = self.wide(a, "the eigenvalues")?;
        let blank = |sizes: &[usize]| self.blank(stack.with(sizes)?, DType::F64);
        if a.count() == 0 {
            return Ok([blank(&[n])?, a]);
        }
        let [own, scales] = self.scaled(&a, stack, true)?;
        let check = self.endless(&a, stack)?;
        let [scratch, rows] = [blank(&[6, n])?, blank(&[n, n])?];
        let [values, vectors] = [blank(&[n])?, blank(&[n, n])?];
        let (grid, threads) = ([count, 1, 1], threads_for(n * 8));
        let call = self.factor_kernel(&EIGEN, "three_diagonals_f64")?.write(&own).write(&scratch).long(n as i64);
        call.grid(grid, threads, 0)?;
        let call = self.factor_kernel(&EIGEN, "reflections_f64")?.read(&own).read(&scratch).write(&rows);
        call.long(n as i64).grid(grid, threads, 0)?;
        let call = self.factor_kernel(&EIGEN, "diagonalise_f64")?.write(&scratch).write(&rows).long(n as i64);
        call.write(&check.word).long(check.number).grid(grid, threads_for(n), 0)?;
        let call = self.factor_kernel(&EIGEN, "eigen_f64")?.read(&scratch).read(&scales).read(&rows).write(&values);
        call.write(&vectors).long(n as i64).grid(grid, threads, 0)?;
        self.signs([count, n], (&vectors, [n, n, 1, n * n]), None)?;
        Ok([values, vectors])
    }
}
