//! Equations with a triangular matrix.

use super::{equations, turned, with_right};
use crate::device::factor::{Factor, Side};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Wanted, apply, one};
use crate::tensor::Tensor;

/// `X` with `A · X = B` for a triangular `A`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SolveTriangular(pub(super) Side);

impl SolveTriangular {
    /// `Y` with `Aᵀ · Y = G`.
    #[track_caller]
    fn turned(self, a: &Tensor, g: &Tensor) -> Tensor {
        let side = if self.0 == Side::Lower { Side::Upper } else { Side::Lower };
        apply(SolveTriangular(side), [&turned(a), g])
    }
}

impl Op for SolveTriangular {
    fn name(&self) -> &'static str {
        if self.0 == Side::Lower { "solve_lower" } else { "solve_upper" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let [a, b] = equations(inputs[0], inputs[1])?;
        one(on!(a.device(), solve_triangular(&a, &b, self.0))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let of_right = self.turned(&call.input(0), &arriving[0]);
        if which == 1 {
            return of_right;
        }
        let all = -of_right.matmul(&turned(&call.output(0)));
        if self.0 == Side::Lower { all.tril(0) } else { all.triu(0) }
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let mut all = InputGradients::from_elem(None, 2);
        let of_right = self.turned(&call.input(0), &arriving[0]);
        if wanted.has(0) {
            let of_left = -of_right.matmul(&turned(&call.output(0)));
            all[0] = Some(if self.0 == Side::Lower { of_left.tril(0) } else { of_left.triu(0) });
        }
        all[1] = wanted.has(1).then_some(of_right);
        all
    }
    fn saves(&self, which: usize) -> Saves {
        if which == 0 { Saves::input(0).and(Saves::OUTPUTS) } else { Saves::input(0) }
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 {
            "∂L/∂A = the triangle of -A⁻ᵀ · ∂L/∂X · Xᵀ"
        } else {
            "∂L/∂B = A⁻ᵀ · ∂L/∂X"
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

impl Tensor {
    /// `X` with `A · X = B`, where this is `A` and only its lower triangle is read. `B` is a vector or a batch of matrices;
    /// batches broadcast. A zero on the diagonal is an error.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[2.0, 0.0], [1.0, 4.0]]);
    /// assert_eq!(a.solve_lower(&Tensor::from([2.0, 9.0])).to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("solve_triangular", "triangular_solve", "trsm"))]
    pub fn solve_lower(&self, right: &Tensor) -> Tensor {
        with_right(SolveTriangular(Side::Lower), self, right, right.rank().is_ok_and(|rank| rank == 1))
    }

    /// `X` with `A · X = B`, where this is `A` and only its upper triangle is read, as in
    /// [`solve_lower`](Tensor::solve_lower).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[2.0, 1.0], [0.0, 4.0]]);
    /// assert_eq!(a.solve_upper(&Tensor::from([4.0, 8.0])).to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("solve_triangular", "triangular_solve", "trsm"))]
    pub fn solve_upper(&self, right: &Tensor) -> Tensor {
        with_right(SolveTriangular(Side::Upper), self, right, right.rank().is_ok_and(|rank| rank == 1))
    }
}
