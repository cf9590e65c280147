//! Singular values and eigenvalues, and what is made of them.

use super::turned;
use crate::device::factor::Factor;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_many, one};
use crate::ops::index::no_gradient;
use crate::tensor::{Tensor, refused};

/// `A = U · diag(s) · Vᵀ`.
#[derive(Debug)]
struct Svd;

/// `1 / x`, and 0 where `x` is 0. There a gradient exists only for what does not depend on the choice of a vector, and such a
/// gradient is multiplied with 0 anyway.
fn reciprocal(x: &Tensor) -> Tensor {
    let least = if matches!(x.dtype(), Ok(DType::F64)) { 1e-300 } else { 1e-37 };
    let zero = x.abs().less(least);
    zero.choose(x.zeros_like(), zero.choose(x.ones_like(), x).reciprocal())
}

/// `1 / (x[j] - x[i])` for all pairs, and 0 where both are the same.
fn gaps(values: &Tensor) -> Tensor {
    reciprocal(&(values.unsqueeze(-2) - values.unsqueeze(-1)))
}

impl Op for Svd {
    fn name(&self) -> &'static str {
        "svd"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let parts = on!(inputs[0].device(), svd(inputs[0]))?;
        Ok(parts.into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let [.., rows, columns] = *call.dims(0) else { return Tensor::failed(call.error(Fault::defect("no matrix"))) };
        let (u, values, vt) = (call.output(0), call.output(1), call.output(2));
        let (ut, v) = (turned(&u), turned(&vt));
        let (to_u, to_v) = (&arriving[0], turned(&arriving[2]));
        let (of_u, of_v) = (ut.matmul(to_u), vt.matmul(&to_v));
        let (across, down) = (values.unsqueeze(-2), values.unsqueeze(-1));
        let gaps = gaps(&values.square());
        let turning = (&of_u - turned(&of_u)) * &gaps * &across + (&of_v - turned(&of_v)) * &gaps * &down;
        let inner = turning + arriving[1].diagonal_matrix(0);
        let mut gradient = u.matmul(&inner).matmul(&vt);
        // What arrives for directions outside of the columns of U, and outside of the rows of Vᵀ.
        if rows > columns {
            gradient = gradient + ((to_u - u.matmul(&of_u)) * reciprocal(&across)).matmul(&vt);
        }
        if columns > rows {
            gradient = gradient + u.matmul(&turned(&((&to_v - v.matmul(&of_v)) * reciprocal(&across))));
        }
        gradient
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::OUTPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂A = U · (diag(∂L/∂s) + (skew(Uᵀ · ∂L/∂U) · S + S · skew(Vᵀ · ∂L/∂V)) / (sⱼ² - sᵢ²)) · Vᵀ"
    }
}

/// `A · V = V · diag(λ)` for a symmetric `A`.
#[derive(Debug)]
struct SymmetricEigen;

impl Op for SymmetricEigen {
    fn name(&self) -> &'static str {
        "symmetric_eigen"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let parts = on!(inputs[0].device(), symmetric_eigen(inputs[0]))?;
        Ok(parts.into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (values, vectors) = (call.output(0), call.output(1));
        let vt = turned(&vectors);
        let inner = vt.matmul(&arriving[1]) * gaps(&values) + arriving[0].diagonal_matrix(0);
        vectors.matmul(&inner).matmul(&vt)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::OUTPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂A = V · (diag(∂L/∂λ) + Vᵀ · ∂L/∂V / (λⱼ - λᵢ)) · Vᵀ"
    }
}

/// Moore and Penrose's inverse.
#[derive(Debug)]
struct PseudoInverse;

impl Op for PseudoInverse {
    fn name(&self) -> &'static str {
        "pseudo_inverse"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), pseudo_inverse(inputs[0]))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (a, p) = (call.input(0), call.output(0));
        let (pt, gt) = (turned(&p), turned(&arriving[0]));
        let inside = pt.matmul(&arriving[0]).matmul(&pt);
        let (left, right) = (gt.matmul(&p).matmul(&pt), pt.matmul(&p).matmul(&gt));
        // (1 - A · P) · Gᵀ · P · Pᵀ + Pᵀ · P · Gᵀ · (1 - P · A) - Pᵀ · G · Pᵀ
        &left - a.matmul(&p.matmul(&left)) + &right - right.matmul(&p).matmul(&a) - inside
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUTS)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂A = -Pᵀ · G · Pᵀ + (1 - A · P) · Gᵀ · P · Pᵀ + Pᵀ · P · Gᵀ · (1 - P · A), G = ∂L/∂P"
    }
}

/// How many singular values are not zero.
#[derive(Debug)]
struct MatrixRank;

impl Op for MatrixRank {
    fn name(&self) -> &'static str {
        "matrix_rank"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), rank(inputs[0]))?)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: the result is a count"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err("matrix_rank has no gradient: its result is a count")
    }
}

impl Tensor {
    /// `A = U · diag(s) · Vᵀ` for `[.., m, n]`, as `(U, s, Vᵀ)` with `U` `[.., m, k]`, `s` `[.., k]` in descending order, `Vᵀ`
    /// `[.., k, n]`, `k = min(m, n)`. Of the two signs a pair of vectors may have, it gets the one that makes the element of
    /// largest magnitude in the column of `U` positive.
    ///
    /// The gradient of the vectors is valid where all singular values are different (and none is zero where the matrix is
    /// not square); that of the values always.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (u, values, vt) = Tensor::from([[0.0, 2.0], [3.0, 0.0]]).svd();
    /// assert_eq!(values.to_vec::<f32>()?, [3.0, 2.0]);
    /// assert_eq!((u * values).matmul(&vt).to_vec::<f32>()?, [0.0, 2.0, 3.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn svd(&self) -> (Tensor, Tensor, Tensor) {
        let [u, values, vt] = apply_many(Svd, &[self]);
        (u, values, vt)
    }

    /// The singular values alone, in descending order. Their sum is the nuclear norm, the first is the spectral norm.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[0.0, 2.0], [3.0, 0.0]]).singular_values().to_vec::<f32>()?, [3.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "svdvals")]
    pub fn singular_values(&self) -> Tensor {
        self.svd().1
    }

    /// The eigenvalues of symmetric matrices in ascending order, and the eigenvectors as columns, each with the sign that
    /// makes its element of largest magnitude positive. Only the lower triangle is read.
    ///
    /// The gradient of the vectors is valid where all eigenvalues are different; that of the values always.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, vectors) = Tensor::from([[5.0, 0.0], [0.0, 2.0]]).symmetric_eigen();
    /// assert_eq!(values.to_vec::<f32>()?, [2.0, 5.0]);
    /// assert_eq!(vectors.to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "eigh")]
    pub fn symmetric_eigen(&self) -> (Tensor, Tensor) {
        let [values, vectors] = apply_many(SymmetricEigen, &[self]);
        (values, vectors)
    }

    /// The eigenvalues of symmetric matrices alone, in ascending order.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let values = Tensor::from([[2.0, 1.0], [1.0, 2.0]]).symmetric_eigenvalues().to_vec::<f32>()?;
    /// assert!((values[0] - 1.0).abs() < 1e-6 && (values[1] - 3.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "eigvalsh")]
    pub fn symmetric_eigenvalues(&self) -> Tensor {
        self.symmetric_eigen().0
    }

    /// Moore and Penrose's inverse of any matrix `[.., m, n]`, `[.., n, m]`: `A⁺ · B` is the shortest of the nearest solutions
    /// of `A · X = B`. Singular values below the largest times `max(m, n)` times the precision of the type count as zero, as
    /// in PyTorch. The gradient is valid where the rank does not change.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[2.0, 0.0], [0.0, 0.0]]);
    /// assert_eq!(a.pseudo_inverse().to_vec::<f32>()?, [0.5, 0.0, 0.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "pinv")]
    pub fn pseudo_inverse(&self) -> Tensor {
        apply(PseudoInverse, [self])
    }

    /// How many singular values of each matrix are not zero, i64; small ones count as zero as in
    /// [`pseudo_inverse`](Tensor::pseudo_inverse). No gradient: it is a count.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::ones([3, 3]).matrix_rank().item()?, 1.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn matrix_rank(&self) -> Tensor {
        apply(MatrixRank, [self])
    }

    /// The `X` for which `A · X` is nearest to `B`, where this is `A` `[.., m, n]` of full rank and `B` is `[.., m, k]` or a vector:
    /// the solution of least squares for more equations than unknowns, the shortest solution for fewer. A matrix of lower
    /// rank is an error; [`pseudo_inverse`](Tensor::pseudo_inverse) works for it too.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// // The line 1 + 2 x through three points.
    /// let a = Tensor::from([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]);
    /// let line = a.least_squares(&Tensor::from([1.0, 3.0, 5.0])).to_vec::<f32>()?;
    /// assert!((line[0] - 1.0).abs() < 1e-5 && (line[1] - 2.0).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "lstsq")]
    pub fn least_squares(&self, right: &Tensor) -> Tensor {
        let (a, b) = match (self.shape(), right.shape()) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let ([.., rows, columns], false) = (&*a, b.is_empty()) else {
            let few = if b.is_empty() { 0 } else { a.len() };
            let what = format!("an operand has {few} axes");
            let fault = Fault::shape(what, "the left side needs two axes or more, the right side one or more");
            return refused("least_squares", fault, &[self, right]);
        };
        let vector = b.len() == 1;
        let height = if vector { b[0] } else { b[b.len() - 2] };
        if height != *rows {
            let what = format!("the left side has {rows} rows, the right side {height}");
            let fault = Fault::shape(what, "each row is an equation: both sides must have as many");
            return refused("least_squares", fault, &[self, right]);
        }
        let right = if vector { right.unsqueeze(-1) } else { right.clone() };
        let x = if rows >= columns {
            let (q, r) = self.qr();
            r.solve_upper(&turned(&q).matmul(&right))
        } else {
            let (q, r) = turned(self).qr();
            q.matmul(&turned(&r).solve_lower(&right))
        };
        if vector { x.squeeze_axes(-1) } else { x }
    }
}
