//! Elements chosen, and put, by position.
//!
//! Reading and adding are duals: the gradient of taking slices adds what arrives back where they came from, and the
//! gradient of adding takes. Each is therefore an operation, and derivatives of every order follow.
//!
//! Positions are i64, i32 or u8 tensors. Negative ones count from the end of the axis, as everywhere in this crate
//! (PyTorch refuses them in `index_select`, `gather` and `scatter`). Labels and words, which are names and no
//! positions, may not be negative: see [`one_hot`](crate::Tensor::one_hot), [`embedding`](crate::Tensor::embedding).

mod choose;
mod count;
mod put;
mod reduce;

pub(crate) use choose::{Select, Use};

use crate::device::index::{Assembly, Combine, Index};
use crate::device::{Device, Value, on};
use crate::error::Fault;
use crate::layout::{Axis, DType, Layout, Shape};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// The gradient for positions, which nobody asks for: they are whole numbers.
pub(crate) fn no_gradient(call: &Call<'_>) -> Tensor {
    Tensor::failed(call.error(Fault::defect("a gradient for positions was asked for")))
}

/// The axis, counted from the front. A single number counts as a row of one.
pub(crate) fn along(axis: isize, rank: usize) -> Result<usize, Fault> {
    if rank == 0 && (axis == 0 || axis == -1) { Ok(0) } else { axis.resolve(rank) }
}

/// Operands that are all single numbers as rows of one; else as they are, for the kernel to check.
fn raised<const N: usize>(operands: [&Value; N]) -> Result<[Value; N], Fault> {
    let mut raised = operands.map(Value::clone);
    if operands.iter().all(|x| x.rank() == 0) {
        for x in &mut raised {
            *x = row_of_one(x)?;
        }
    }
    Ok(raised)
}

fn row_of_one(x: &Value) -> Result<Value, Fault> {
    x.with_layout(Layout::from_parts(Shape::new(&[1])?, &[1], x.layout().offset()))
}

/// A dense result in the shape that the user sees.
fn lowered(x: Value, shape: &Shape) -> Result<Outputs, Fault> {
    one(if x.rank() == shape.len() { x } else { x.with_layout(Layout::contiguous(*shape))? })
}

/// One number as a value of any shape, without memory: kernels that write copy it first, which then fills.
fn repeated(number: f64, shape: &Shape, dtype: DType, device: Device) -> Result<Value, Fault> {
    let single = Value::full_on(device, Shape::new(&[])?, dtype, number)?;
    single.with_layout(single.layout().expanded(shape)?)
}

/// `x[i, index[i, j, k], k]`.
#[derive(Debug)]
struct Gather {
    axis: isize,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axis = along(self.axis, inputs[0].rank())?;
        let [x, index] = raised([inputs[0], inputs[1]])?;
        lowered(on!(x.device(), gather(&x, axis, &index))?, inputs[1].shape())
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if which > 0 {
            return no_gradient(call);
        }
        apply(Spread { axis: self.axis, shape: *call.shape(0) }, [&arriving[0], &call.input(1)])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x[i, index[i, j]] += ∂L/∂y[i, j]"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index"]
    }
}

/// The dual of [`Gather`]: elements added at positions, on zeros.
#[derive(Debug)]
pub(crate) struct Spread {
    pub(crate) axis: isize,
    pub(crate) shape: Shape,
}

impl Op for Spread {
    fn name(&self) -> &'static str {
        "spread"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axis = along(self.axis, self.shape.len())?;
        let base = repeated(0.0, &self.shape, inputs[0].dtype(), inputs[0].device())?;
        let [base, source, index] = raised([&base, inputs[0], inputs[1]])?;
        lowered(on!(base.device(), scatter(&base, axis, &index, &source, Combine::Sum, true))?, &self.shape)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => apply(Gather { axis: self.axis }, [&arriving[0], &call.input(1)]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂source[i, j] = ∂L/∂y[i, index[i, j]]"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["source", "index"]
    }
}

/// The dual of [`Select`]: slices added at positions, on zeros.
#[derive(Debug)]
struct Assemble {
    axis: isize,
    rank: usize,
    size: usize,
    skip: Option<usize>,
}

impl Op for Assemble {
    fn name(&self) -> &'static str {
        "assemble"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let how = Assembly { combine: Combine::Sum, include: false, skip: self.skip };
        let axis = self.axis.resolve(self.rank)?;
        one(on!(inputs[0].device(), assemble(None, self.size, axis, inputs[1], inputs[0], how))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if which > 0 {
            return no_gradient(call);
        }
        let select = Select { axis: self.axis, usage: Use::Dual { blank: self.skip } };
        apply(select, [&arriving[0], &call.input(1)])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂source[j] = ∂L/∂y[index[j]]"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["source", "index"]
    }
}
