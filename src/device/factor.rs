//! Matrices taken apart, and equations solved with the parts.

use super::Value;
use crate::error::Fault;
use crate::layout::DType;

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
