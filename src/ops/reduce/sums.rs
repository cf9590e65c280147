//! Sums, means and products.

use super::{Over, fold, reductions};
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Axes;
use crate::op::{Call, Keep, Op, Outputs, Saves, Tensors, apply, one};
use crate::tensor::Tensor;

reductions! {
    /// The sum of all numbers, `Σ x`. Of whole numbers and booleans it is an i64; of nothing 0.
    ///
    /// Thousands of f32 add up without the error growing: short chains, whose totals are carried in f64.
    sum sum_over sum_keep => Sum; "f32" "10.0" "[4.0, 6.0]";
    /// The mean of all numbers, `Σ x / n`. Of nothing it is NaN.
    mean mean_over mean_keep => Mean; "f32" "2.5" "[2.0, 3.0]";
    /// The product of all numbers, `Π x`. Of whole numbers and booleans it is an i64; of nothing 1.
    ///
    /// The gradient is right where numbers are zero.
    #[doc(alias = "product")]
    prod prod_over prod_keep => Product; "f32" "24.0" "[3.0, 8.0]";
    /// The sum of all numbers that are not NaN.
    #[doc(alias = "nansum")]
    nan_sum nan_sum_over nan_sum_keep => SumKnown; "f32" "10.0" "[4.0, 6.0]";
}

/// Σ x.
#[derive(Debug)]
pub(in crate::ops) struct Sum(pub(in crate::ops) Over);

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(fold!(sum, inputs[0], self.0)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        self.0.repeat(&arriving[0], call.shape(0))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, repeated along the summed axes"
    }
}

/// Σ x / n.
#[derive(Debug)]
struct Mean(Over);

impl Op for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(fold!(mean, inputs[0], self.0)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let count = self.0.count(call.dims(0)) as f64;
        self.0.repeat(&(&arriving[0] / count), call.shape(0))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y / n, repeated along the averaged axes"
    }
}

/// Σ x over what is no NaN.
#[derive(Debug)]
struct SumKnown(Over);

impl Op for SumKnown {
    fn name(&self) -> &'static str {
        "nan_sum"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(fold!(sum_known, inputs[0], self.0)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let x = call.input(0).detach();
        self.0.repeat(&arriving[0], call.shape(0)).masked_fill(&x.is_nan(), 0.0)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y where x is a number, else 0"
    }
}

/// Π x.
#[derive(Debug)]
struct Product(Over);

impl Op for Product {
    fn name(&self) -> &'static str {
        "prod"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(fold!(product, inputs[0], self.0)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        Tensor::compute(|| {
            let fault = |fault| call.error(fault);
            let x = call.value(0)?;
            let axes = self.0.resolve(x.rank()).map_err(fault)?;
            let others = on!(x.device(), product_of_others(x, &axes)).map_err(fault)?;
            Ok(self.0.repeat(&arriving[0], call.shape(0)) * Tensor::from_value(others))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = ∂L/∂y · Π xⱼ over j ≠ i"
    }
    /// Halves multiplied by halves: every derivative is right at zeros too.
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let mut x = inputs[0].clone();
        let dims = call.dims(0);
        let axes = self.0.resolve(dims.len()).ok()?;
        for &axis in &axes {
            let mut size = dims[axis];
            if size == 0 {
                x = x.sum_keep(axis) + 1.0;
            }
            while size > 1 {
                let half = size / 2;
                let pairs = x.narrow(axis, 0, half) * x.narrow(axis, half, half);
                x = if size % 2 == 1 { Tensor::cat(&[&pairs, &x.narrow(axis, size - 1, 1)], axis) } else { pairs };
                size = half + size % 2;
            }
        }
        // Sizes are 1 by now: where they go, a sum takes them.
        let axes = if self.0.keep { Over::axes(().axes()) } else { Over::axes(axes.axes()) };
        Some([apply(Sum(axes), [&x])].into_iter().collect())
    }
}
