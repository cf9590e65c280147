//! Operations of your own, three ways: a formula, an operation object, and both inside a layer that learns.
//!
//! ```text
//! cargo run --release --example 08_custom_op
//! ```
//!
//! It prints (numbers differ in the last digits between instruction sets):
//!
//! ```text
//! snake(Tensor [3] f64
//! [-1.0,  0.3,  2.0]) = Tensor [3] f64
//! [-0.5866,  0.4594,  2.2864]
//! its gradient differs from differences by 3e-13
//! step    0   loss 2.4408
//! step  500   loss 0.0102
//! step 1000   loss 0.0021
//! step 1500   loss 0.0123
//! mean square error 0.0055 with 13 different weights in the first layer
//! ```

mod common;

use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::op::{self, Call, Keep, Op, Outputs, Saves};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Fault, Result, Tensor, Value, formula, gradcheck, module, no_grad};

// 1. A formula: pointwise, one pass over memory, vectorised; its derivative is computed from its text.
formula! {
    /// A rectifier with a wave: `x + sin²(a x) / a`. Ziyin, Hartwig and Ueda, "Neural networks fail to learn periodic
    /// functions and how to fix it", 2020.
    pub fn snake(x; a) { let wave = sin(a * x); x + wave * wave / a }
}

// 2. An operation object, for what is not pointwise or has a gradient of its own. This one rounds to a grid; rounding
// has the derivative zero, so it passes the gradient straight through: Bengio, Léonard and Courville, "Estimating or
// propagating gradients through stochastic neurons", 2013.
#[derive(Debug)]
struct Quantize {
    levels: f32,
}

impl Op for Quantize {
    fn name(&self) -> &'static str {
        "quantize"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0].dense::<f32>()?;
        let largest = x.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        let step = largest / self.levels;
        op::one(Value::build::<f32>(*inputs[0].shape(), |out| {
            for (out, x) in out.iter_mut().zip(x) {
                *out = (x / step).round() * step;
            }
        })?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].clone()
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x := ∂L/∂y, as if nothing had been rounded"
    }
}

/// Rounds to `2 · levels + 1` numbers between minus and plus the largest.
fn quantize(x: &Tensor, levels: f32) -> Tensor {
    op::apply(Quantize { levels }, [&x.contiguous()])
}

// 3. A network of both: it learns with weights of four bits.
struct Network {
    first: Linear,
    second: Linear,
    levels: f32,
}
module!(Network { first, second; levels });

impl Layer for Network {
    fn forward(&self, input: &Tensor) -> Tensor {
        let layer = |layer: &Linear, x: &Tensor| x.linear(&quantize(&layer.weight, self.levels), layer.bias.as_deref());
        layer(&self.second, &snake(&layer(&self.first, input), 2.0))
    }
}

fn main() -> Result<()> {
    let x = Tensor::new([-1.0f64, 0.3, 2.0]);
    let check = gradcheck(|x| snake(&x[0], 2.0).sum(), &[&x])?;
    println!("snake({x:?}) = {:?}", snake(&x, 2.0));
    println!("its gradient differs from differences by {:.0e}", check.worst);

    // A wave that the network has to draw.
    let x = Tensor::linspace(-3.0, 3.0, 256).reshape([256, 1]);
    let y = (&x * 3.0).sin() + &x * 0.5;
    let mut init = Init::new().seed(1);
    let mut model =
        Network { first: Linear::new(1, 64, &mut init), second: Linear::new(64, 1, &mut init), levels: 7.0 }.named();
    let mut optimizer = Adam::new(0.01);
    let steps = common::steps(1500, 300);
    for step in 0..=steps {
        let loss = (model.forward(&x) - &y).square().mean();
        optimizer.step(&mut model, &loss.backward()?)?;
        if step % (steps / 3) == 0 {
            println!("step {step:4}   loss {:.4}", loss.item()?);
        }
    }
    let error = no_grad(|| (model.forward(&x) - &y).square().mean()).item()?;
    let used = quantize(&model.first.weight, model.levels).unique()?.values.dims::<1>()?[0];
    println!("mean square error {error:.4} with {used} different weights in the first layer");
    assert!(used <= 15 && (common::quick() || error < 0.05), "the wave was not learnt");
    Ok(())
}
