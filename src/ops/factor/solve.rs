//! Equations, inverses and determinants, all by one elimination.

use super::{equations, placed, turned, with_right};
use crate::device::factor::{Factor, Lu};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::DType;
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Wanted, apply, apply_many, one};
use crate::tensor::Tensor;

/// `X` with `A · X = B`.
#[derive(Debug)]
struct Solve;

impl Solve {
    /// `Y` with `Aᵀ · Y = G`: the gradient of the right side.
    fn turned(&self, g: &Tensor, call: &Call<'_>) -> Tensor {
        if call.recorded() { apply(Solve, [&turned(&call.input(0)), g]) } else { eliminated(g, call) }
    }
    fn of_left(&self, of_right: &Tensor, call: &Call<'_>) -> Tensor {
        -of_right.matmul(&turned(&call.output(0)))
    }
}

/// `Y` with `Aᵀ · Y = G`, by the elimination that forward kept.
fn eliminated(g: &Tensor, call: &Call<'_>) -> Tensor {
    let value = || -> crate::error::Result<Value> {
        let lu = Lu { packed: call.kept(0)?.clone(), exchanges: call.kept(1)?.clone() };
        let g = g.value()?;
        on!(g.device(), solve_lu(&lu, g, true)).map_err(|fault| call.error(fault))
    };
    value().map_or_else(Tensor::failed, Tensor::from_value)
}

fn keep_lu(keep: &mut Keep, lu: Lu) {
    if keep.wanted() {
        keep.push(lu.packed);
        keep.push(lu.exchanges);
    }
}

impl Op for Solve {
    fn name(&self) -> &'static str {
        "solve"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let [a, b] = equations(inputs[0], inputs[1])?;
        let lu = on!(a.device(), lu(inputs[0]))?;
        let x = on!(a.device(), solve_lu(&lu, &b, false))?;
        keep_lu(keep, lu);
        one(x)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let of_right = self.turned(&arriving[0], call);
        if which == 1 { of_right } else { self.of_left(&of_right, call) }
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let of_right = self.turned(&arriving[0], call);
        let of_left = wanted.has(0).then(|| self.of_left(&of_right, call));
        [of_left, wanted.has(1).then_some(of_right)].into_iter().collect()
    }
    fn saves(&self, which: usize) -> Saves {
        if which == 0 { Saves::input(0).and(Saves::OUTPUTS) } else { Saves::input(0) }
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 { "∂L/∂A = -A⁻ᵀ · ∂L/∂X · Xᵀ" } else { "∂L/∂B = A⁻ᵀ · ∂L/∂X" }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

/// `A⁻¹`.
#[derive(Debug)]
struct Inverse;

impl Op for Inverse {
    fn name(&self) -> &'static str {
        "inverse"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let a = inputs[0];
        let lu = on!(a.device(), lu(a))?;
        one(on!(a.device(), inverse(&lu, a.dtype()))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let y = turned(&call.output(0));
        -y.matmul(&arriving[0]).matmul(&y)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::OUTPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂A = -A⁻ᵀ · ∂L/∂Y · A⁻ᵀ"
    }
}

/// The determinant; or its sign and the logarithm of its magnitude.
#[derive(Debug)]
struct Determinant {
    log: bool,
}

impl Determinant {
    /// The cofactors of matrices that may be singular, by their singular values: `det U · det V · U · diag(the product of
    /// all other values) · Vᵀ`.
    fn cofactors(a: &Tensor) -> Tensor {
        let (u, values, vt) = a.svd();
        let size = values.size(-1).unwrap_or(0);
        let own = Tensor::eye(size).to_dtype(DType::Bool).near(a);
        let others = own.choose(values.ones_like().unsqueeze(-2), values.unsqueeze(-2)).prod_over(-1);
        let signs = (u.determinant() * vt.determinant()).unsqueeze(-1).unsqueeze(-1);
        signs * (&u * others.unsqueeze(-2)).matmul(&vt)
    }
}

impl Op for Determinant {
    fn name(&self) -> &'static str {
        if self.log { "log_determinant" } else { "determinant" }
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let a = inputs[0];
        let lu = on!(a.device(), lu(a))?;
        let [sign, log, product] = on!(a.device(), determinants(&lu, a.dtype()))?;
        keep_lu(keep, lu);
        if self.log { Ok([sign, log].into_iter().collect()) } else { one(product) }
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (a, result) = (call.input(0), call.output(0));
        // Each matrix times one number.
        let factor = if self.log { arriving[1].clone() } else { &arriving[0] * &result };
        let factor = factor.unsqueeze(-1).unsqueeze(-1);
        if call.recorded() {
            return placed(factor * turned(&a.inverse()), call);
        }
        if !self.log && result.equal(0.0).any().item().is_ok_and(|zero| zero != 0.0) {
            return arriving[0].unsqueeze(-1).unsqueeze(-1) * Determinant::cofactors(&a);
        }
        let size = a.size(-1).unwrap_or(0);
        eliminated(&(factor * Tensor::eye(size).to_dtype(call.dtype(0)).near(&a)), call)
    }
    fn saves(&self, _: usize) -> Saves {
        if self.log { Saves::INPUTS.and(Saves::output(0)) } else { Saves::INPUTS.and(Saves::OUTPUTS) }
    }
    fn rule(&self, _: usize) -> &'static str {
        if self.log { "∂L/∂A = ∂L/∂log · A⁻ᵀ" } else { "∂L/∂A = ∂L/∂y · y · A⁻ᵀ" }
    }
}

impl Tensor {
    /// `X` with `A · X = B`, where this is `A`: square matrices `[.., n, n]`. `B` is `[.., n, k]`, batches broadcast; a vector,
    /// or a batch of vectors with as many as there are matrices, is solved for as a column. A singular matrix is an error.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[0.0, 2.0], [4.0, 1.0]]);
    /// assert_eq!(a.solve(&Tensor::from([2.0, 9.0])).to_vec::<f32>()?, [2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn solve(&self, right: &Tensor) -> Tensor {
        let vector = match (self.shape(), right.shape()) {
            (Ok(a), Ok(b)) => b.len() == 1 || a.len() == b.len() + 1 && a[..b.len()] == b[..],
            _ => false,
        };
        with_right(Solve, self, right, vector)
    }

    /// The inverse of square matrices. A singular one is an error. To solve equations, [`solve`](Tensor::solve) is faster
    /// and more exact.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[0.0, 2.0], [4.0, 0.0]]);
    /// assert_eq!(a.inverse().to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.0]);
    /// let error = Tensor::ones([3, 2, 2]).inverse().checked().unwrap_err();
    /// assert!(error.to_string().contains("matrix [0] of the batch is singular"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "inv")]
    pub fn inverse(&self) -> Tensor {
        apply(Inverse, [self])
    }

    /// The determinant of square matrices. Its gradient holds for singular ones too, its second derivative does not.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[0.0, 2.0], [4.0, 1.0]]).determinant().item()?, -8.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "det")]
    pub fn determinant(&self) -> Tensor {
        apply(Determinant { log: false }, [self])
    }

    /// The sign of the determinant (0 where the matrix is singular) and the logarithm of its magnitude, which fits where the
    /// determinant itself would be too large or too small for a float.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (sign, log) = (Tensor::eye(500) * 0.01).log_determinant();
    /// assert_eq!(sign.item()?, 1.0);
    /// assert!((log.item()? - 500.0 * 0.01f64.ln()).abs() < 0.01);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("slogdet", "logdet"))]
    pub fn log_determinant(&self) -> (Tensor, Tensor) {
        let [sign, log] = apply_many(Determinant { log: true }, &[self]);
        (sign, log)
    }
}
