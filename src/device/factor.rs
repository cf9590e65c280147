//! Matrices taken apart, and equations solved with the parts.

use super::Value;
use crate::error::Fault;
use crate::layout::{DType, Shape};

/// Which triangle of a matrix is read; the other one may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The diagonal and what lies below it.
    Lower,
    /// The diagonal and what lies above it.
    Upper,
}

/// `P · A = L · U`: what elimination leaves of square matrices, in f64.
#[derive(Clone, Debug)]
pub struct Lu {
    /// `U` on the diagonal and above it; below it `L`, whose diagonal is ones.
    pub packed: Value,
    /// The row that each row was exchanged with, one after the other, i64.
    pub exchanges: Value,
}

/// The kernels on matrices, which stand in the last two axes; the axes before them are a batch. All are floats with any
/// strides, and results are dense. bf16 and f16 give the f32 result, rounded once.
pub trait Factor {
    /// `A = Q · R` for `[.., m, n]`: `Q` `[.., m, k]` has orthonormal columns, `R` `[.., k, n]` is upper triangular, `k` is
    /// the lesser of both sizes. By Householder's reflections, so that the diagonal of `R` may be negative.
    fn qr(&self, a: &Value) -> Result<(Value, Value), Fault>;
    /// `X` with `A · X = B`, for a triangular `A` `[.., n, n]` and `B` `[.., n, k]` of the same batch. A zero on the diagonal
    /// is a fault that names the matrix.
    fn solve_triangular(&self, a: &Value, b: &Value, side: Side) -> Result<Value, Fault>;
    /// Elimination with the largest element of each column as pivot. A singular matrix leaves a zero on the diagonal of `U`.
    fn lu(&self, a: &Value) -> Result<Lu, Fault>;
    /// `X` with `A · X = B`, or with `Aᵀ · X = B` (`turned`), for `B` `[.., n, k]`, to whose batch that of `A` broadcasts. A
    /// singular matrix is a fault that names it.
    fn solve_lu(&self, lu: &Lu, b: &Value, turned: bool) -> Result<Value, Fault>;
    /// The inverse, in the given element type; a singular matrix is a fault that names it.
    fn inverse(&self, lu: &Lu, dtype: DType) -> Result<Value, Fault>;
    /// For each matrix the sign of its determinant (0 where that is 0), the logarithm of its magnitude, and the determinant.
    fn determinants(&self, lu: &Lu, dtype: DType) -> Result<[Value; 3], Fault>;
    /// The lower triangle `L` with `A = L · Lᵀ`; of `A` only the lower triangle is read. A matrix that is not positive
    /// definite is a fault that names it.
    fn cholesky(&self, a: &Value) -> Result<Value, Fault>;
    /// `A = U · diag(s) · Vᵀ` with `k`, the lesser of both sizes, singular values in descending order: `U` `[.., m, k]`, `s`,
    /// `Vᵀ` `[.., k, n]`. The element of largest magnitude in each column of `U` is positive. NaN and infinity are faults.
    fn svd(&self, a: &Value) -> Result<[Value; 3], Fault>;
    /// The eigenvalues of symmetric matrices in ascending order and the eigenvectors, as columns whose element of largest
    /// magnitude is positive. Only the lower triangle is read. NaN and infinity are faults.
    fn symmetric_eigen(&self, a: &Value) -> Result<[Value; 2], Fault>;
    /// Moore and Penrose's inverse; singular values up to the largest times the greater of both sizes times the precision of
    /// the element type (f32's for what is narrower) count as 0.
    fn pseudo_inverse(&self, a: &Value) -> Result<Value, Fault>;
    /// How many singular values are not 0, i64; small ones are, as above.
    fn rank(&self, a: &Value) -> Result<Value, Fault>;
}

/// A fault where the numbers are no floats.
pub(in crate::device) fn floats(x: &Value, what: &str) -> Result<(), Fault> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Fault::dtype(
        format!("{what} of {} numbers is not defined", x.dtype()),
        "convert to a float first: x.to_dtype(DType::F32)",
    ))
}

/// The sizes of a batch, and of the matrices in it.
#[derive(Clone, Copy)]
pub(in crate::device) struct Stack {
    pub(in crate::device) batch: Shape,
    pub(in crate::device) rows: usize,
    pub(in crate::device) columns: usize,
}

impl Stack {
    pub(in crate::device) fn of(a: &Value) -> Result<Stack, Fault> {
        match a.dims() {
            [batch @ .., rows, columns] => Ok(Stack { batch: Shape::new(batch)?, rows: *rows, columns: *columns }),
            _ => Err(Fault::shape(
                format!("the tensor has {} axes", a.rank()),
                "a matrix needs two: the last two axes are its rows and columns",
            )),
        }
    }
    /// As [`of`](Stack::of), for square ones.
    pub(in crate::device) fn square(a: &Value) -> Result<Stack, Fault> {
        let stack = Stack::of(a)?;
        if stack.rows != stack.columns {
            return Err(Fault::shape(
                format!("the matrix is not square: {} × {}", stack.rows, stack.columns),
                "the last two axes must have the same size",
            ));
        }
        Ok(stack)
    }
    pub(in crate::device) fn count(&self) -> usize {
        self.batch.count()
    }
    /// The shape of one result for each matrix.
    pub(in crate::device) fn with(&self, sizes: &[usize]) -> Result<Shape, Fault> {
        Shape::new(&[&self.batch, sizes].concat())
    }
    /// Matrix `item`, as an error calls it.
    pub(in crate::device) fn name(&self, mut item: usize) -> String {
        if self.batch.is_empty() {
            return "the matrix".to_string();
        }
        let mut place = vec![0; self.batch.len()];
        for (place, &size) in place.iter_mut().zip(&self.batch[..]).rev() {
            (*place, item) = (item % size.max(1), item / size.max(1));
        }
        format!("matrix {place:?} of the batch")
    }
    /// The first matrix that something was found about, named.
    pub(in crate::device) fn first<T: Copy>(&self, found: &[Option<T>]) -> Option<(String, T)> {
        let item = found.iter().position(Option::is_some)?;
        Some((self.name(item), found[item]?))
    }
}

/// The step from 1 to the next number that elements are computed in.
pub(in crate::device) fn precision(a: &Value) -> f64 {
    if a.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON as f64 }
}

/// A fault: a triangular matrix with a zero on its diagonal.
#[cold]
pub(in crate::device) fn zero_on_diagonal(name: &str, row: usize) -> Fault {
    Fault::value(
        format!("{name} is singular: element [{row}, {row}] of its diagonal is 0"),
        "such equations have no solution, or many; pseudo_inverse gives the nearest",
    )
}

/// A fault: elimination found no pivot.
#[cold]
pub(in crate::device) fn no_pivot(name: &str, pivot: usize) -> Fault {
    Fault::value(
        format!("{name} is singular: pivot {pivot} is 0"),
        "its columns depend on each other; pseudo_inverse works for any matrix, and a small number added to the diagonal \
         makes it regular",
    )
}

/// A fault: a matrix has no root, as its leading minor of some order says.
#[cold]
pub(in crate::device) fn not_definite(name: &str, minor: usize) -> Fault {
    Fault::value(
        format!("{name} is not positive definite: its leading minor of order {minor} is not positive"),
        "a symmetric matrix with eigenvalues above 0 is needed; a small number added to the diagonal raises them",
    )
}

/// A fault: a matrix with numbers that no rotation helps.
#[cold]
pub(in crate::device) fn not_finite(name: &str) -> Fault {
    Fault::value(
        format!("{name} holds numbers that are not finite"),
        "NaN and infinity have no such parts: look for where they came from, for example with detect_anomalies",
    )
}

/// A fault: a matrix that was turned and turned.
#[cold]
pub(in crate::device) fn no_end(name: &str) -> Fault {
    Fault::defect(format!("the rotations of {name} came to no end"))
}
