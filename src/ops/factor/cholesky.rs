//! A symmetric matrix as a triangle times its transpose.

use super::turned;
use crate::device::factor::Factor;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// `L` with `A = L · Lᵀ`.
#[derive(Debug)]
struct Cholesky;

impl Op for Cholesky {
    fn name(&self) -> &'static str {
        "cholesky"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), cholesky(inputs[0]))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let turned_l = turned(&call.output(0));
        let common = turned_l.matmul(&arriving[0]);
        let halved = (common.tril(0) + common.tril(-1)) * 0.5;
        // L⁻ᵀ · P · L⁻¹
        let left = turned_l.solve_upper(&halved);
        let both = turned_l.solve_upper(&turned(&left));
        (turned(&both) + both) * 0.5
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::OUTPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂A = the symmetric part of L⁻ᵀ · P · L⁻¹, P the lower triangle of Lᵀ · ∂L/∂L with half its diagonal"
    }
}

impl Tensor {
    /// The lower triangle `L` with `A = L · Lᵀ`, for symmetric positive definite matrices; only their lower triangle is read.
    /// The gradient is symmetric, as in PyTorch: half of it goes to each triangle. A matrix that is not positive definite
    /// is an error.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[4.0, 2.0], [2.0, 10.0]]);
    /// assert_eq!(a.cholesky().to_vec::<f32>()?, [2.0, 0.0, 1.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn cholesky(&self) -> Tensor {
        apply(Cholesky, [self])
    }

    /// `X` with `L · Lᵀ · X = B`, where this is the triangle `L` that [`cholesky`](Tensor::cholesky) gives.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[4.0, 2.0], [2.0, 10.0]]);
    /// let x = a.cholesky().cholesky_solve(&Tensor::from([8.0, 22.0]));
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn cholesky_solve(&self, right: &Tensor) -> Tensor {
        if right.rank().is_ok_and(|rank| rank == 1) {
            return self.cholesky_solve(&right.unsqueeze(-1)).squeeze_axes(-1);
        }
        turned(self).solve_upper(&self.solve_lower(right))
    }
}
