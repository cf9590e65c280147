//! The linear layer's operation: every last axis times one matrix, and a bias.

use super::matmul::Matmul;
use crate::device::matmul::{Joined, Matmul as _};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Layout, Shape};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_slice, one};
use crate::tensor::Tensor;

/// `x · Wᵀ + b`, the bias added while the product is still in cache.
#[derive(Clone, Copy, Debug)]
struct Linear;

impl Linear {
    /// `W` with its axes exchanged, and what does not fit.
    fn weight(inputs: &[&Value]) -> Result<Value, Fault> {
        let (x, weight) = (inputs[0], inputs[1]);
        let [outputs, fan_in] = *weight.dims() else {
            return Err(Fault::shape(
                format!("the weight has {} axes", weight.rank()),
                "it needs two: [outputs, inputs]",
            ));
        };
        let Some(&last) = x.dims().last() else {
            return Err(Fault::shape("the input is a single number", format!("its last size must be {fan_in}")));
        };
        if last != fan_in {
            return Err(Fault::shape(
                "the inner sizes differ",
                format!("the input's last size ({last}) must equal the weight's last ({fan_in})"),
            ));
        }
        if let Some(bias) = inputs.get(2) {
            if *bias.dims() != [outputs] {
                return Err(Fault::shape(
                    format!("the bias has the shape {:?}", bias.shape()),
                    format!("it needs one number for each output: [{outputs}]"),
                ));
            }
            if bias.dtype() != weight.dtype() {
                return Err(Fault::dtype(
                    format!("the element types differ: {} and {}", weight.dtype(), bias.dtype()),
                    format!("convert one of them, for example with to_dtype(DType::{:?})", weight.dtype()),
                ));
            }
        }
        weight.with_layout(weight.layout().permuted(&[1, 0]))
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let (x, weight) = (inputs[0], Linear::weight(inputs)?);
        let joined = Joined { bias: inputs.get(2).copied(), at_rest: !keep.wanted(), ..Joined::default() };
        if let [size] = *x.dims() {
            let row = Layout::from_parts(
                Shape::new(&[1, size])?,
                &[size as isize, x.layout().strides()[0]],
                x.layout().offset(),
            );
            let product = on!(x.device(), matmul(&x.with_layout(row)?, &weight, joined))?;
            return one(product.with_layout(Layout::contiguous(Shape::new(&weight.dims()[1..])?))?);
        }
        one(on!(x.device(), matmul(x, &weight, joined))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let g = &arriving[0];
        let (x, out) = (call.dims(0), call.output_dims(0));
        match which {
            0 => apply(Matmul::PLAIN, [g, &call.input(1)]),
            1 => {
                let product = Matmul { turn_left: true, ..Matmul::PLAIN };
                if x.len() == 2 {
                    return apply(product, [g, &call.input(0)]);
                }
                // All leading axes are rows: one product.
                let rows: usize = x[..x.len() - 1].iter().product();
                let g = g.reshape([rows, out[out.len() - 1]]);
                let x = call.input(0).reshape([rows, x[x.len() - 1]]);
                apply(product, [&g, &x])
            }
            _ => g.clone(),
        }
    }
    fn saves(&self, which: usize) -> Saves {
        match which {
            0 => Saves::input(1),
            1 => Saves::input(0),
            _ => Saves::NONE,
        }
    }
    fn rule(&self, which: usize) -> &'static str {
        ["∂L/∂x = ∂L/∂y · W", "∂L/∂W = (∂L/∂y)ᵀ · x", "∂L/∂b = Σ over rows of ∂L/∂y"][which.min(2)]
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "weight", "bias"]
    }
}

impl Tensor {
    /// `x · Wᵀ + b` along the last axis, for a weight `[outputs, inputs]` and a bias `[outputs]`: what a linear layer computes.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0]]);
    /// let weight = Tensor::from([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
    /// let bias = Tensor::from([0.5, 0.0, 0.0]);
    /// assert_eq!(x.linear(&weight, Some(&bias)).to_vec::<f32>()?, [1.5, 2.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "addmm")]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        match bias {
            Some(bias) => apply_slice(Linear, &[self, weight, bias]),
            None => apply_slice(Linear, &[self, weight]),
        }
    }
}
