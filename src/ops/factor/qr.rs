//! Orthonormal columns times a triangle.

use super::{placed, turned};
use crate::device::factor::Factor;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply_many};
use crate::tensor::Tensor;

/// `A = Q · R`.
#[derive(Debug)]
struct Qr;

impl Op for Qr {
    fn name(&self) -> &'static str {
        "qr"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let (q, r) = on!(inputs[0].device(), qr(inputs[0]))?;
        Ok([q, r].into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let [.., rows, columns] = *call.dims(0) else { return Tensor::failed(call.error(Fault::defect("no matrix"))) };
        let (q, r) = (call.output(0), call.output(1));
        let (mut to_q, to_r) = (arriving[0].clone(), &arriving[1]);
        if rows >= columns {
            return placed(tall(&q, &r, &to_q, to_r), call);
        }
        // Of a wide matrix [X, Y] only X gives Q, and R is [U, V] with Y = Q · V.
        let rest = columns - rows;
        let (u, v) = (r.narrow(-1, 0, rows), r.narrow(-1, rows, rest));
        let (to_u, to_v) = (to_r.narrow(-1, 0, rows), to_r.narrow(-1, rows, rest));
        to_q = to_q + q.matmul(&v).matmul(&turned(&to_v));
        placed(Tensor::cat(&[tall(&q, &u, &to_q, &to_u), q.matmul(&to_v)], -1), call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::OUTPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂A = (∂L/∂Q + Q · S) · R⁻ᵀ, S the symmetric matrix with the lower triangle of R · ∂L/∂Rᵀ - ∂L/∂Qᵀ · Q"
    }
}

/// The gradient where there are at least as many rows as columns.
fn tall(q: &Tensor, r: &Tensor, to_q: &Tensor, to_r: &Tensor) -> Tensor {
    let common = r.matmul(&turned(to_r)) - turned(to_q).matmul(q);
    let symmetric = common.tril(0) + turned(&common.tril(-1));
    let sum = to_q + q.matmul(&symmetric);
    turned(&r.solve_upper(&turned(&sum)))
}

impl Tensor {
    /// `A = Q · R` for `[.., m, n]`: the `k = min(m, n)` columns of `Q` `[.., m, k]` are orthonormal, `R` `[.., k, n]` is upper
    /// triangular. Signs are those of Householder's method, as in PyTorch: the diagonal of `R` may be negative.
    ///
    /// The gradient needs the first `k` columns to be linearly independent.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[3.0, 1.0], [4.0, 2.0]]);
    /// let (q, r) = a.qr();
    /// let back: Vec<f32> = q.matmul(&r).to_vec()?;
    /// assert!(back.iter().zip([3.0, 1.0, 4.0, 2.0]).all(|(x, y)| (x - y).abs() < 1e-5));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn qr(&self) -> (Tensor, Tensor) {
        let [q, r] = apply_many(Qr, &[self]);
        (q, r)
    }
}
