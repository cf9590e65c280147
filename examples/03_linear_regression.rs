//! Finds the line behind noisy points by gradient descent: the smallest training there is.
//!
//! ```text
//! cargo run --release --example 03_linear_regression
//! ```
//!
//! It prints (the points are made here: y = 3 x₁ - 2 x₂ + 1, with a little noise):
//!
//! ```text
//! step    0   loss 18.23063
//! ...
//! step  200   loss 0.01248
//! weights 3.0 and -2.0, bias 1.0 (they were 3, -2 and 1)
//! ```

use chainrule::{Parameter, Result, Tensor, formula};

formula! {
    /// One step of gradient descent.
    pub fn descend(parameter, gradient; rate) { parameter - rate * gradient }
}

/// The model: a plain struct that owns its parameters.
struct Line {
    weight: Parameter,
    bias: Parameter,
}

impl Line {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.matmul(&self.weight) + &self.bias
    }
}

/// Points near a plane, by a small generator of our own so that every run sees the same.
fn points(count: usize) -> Result<(Tensor, Tensor)> {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (a, b) = (2.0 * random(), 2.0 * random());
        x.extend([a, b]);
        y.push(3.0 * a - 2.0 * b + 1.0 + 0.2 * random());
    }
    Ok((Tensor::from_vec(x, [count, 2])?, Tensor::from_vec(y, [count, 1])?))
}

fn main() -> Result<()> {
    let steps = if std::env::var_os("CHAINRULE_QUICK").is_some() { 100 } else { 200 };
    let (x, y) = points(256)?;
    let mut model = Line { weight: Parameter::new(Tensor::zeros([2, 1])), bias: Parameter::new(Tensor::zeros([1])) };
    model.weight.set_name("weight");
    model.bias.set_name("bias");

    for step in 0..=steps {
        let loss = (model.forward(&x) - &y).square().mean();
        let gradients = loss.backward()?;
        for parameter in [&mut model.weight, &mut model.bias] {
            let next = descend(&parameter.detach(), gradients.of(parameter)?, 0.1);
            parameter.set(&next)?;
        }
        if step % 50 == 0 {
            println!("step {step:4}   loss {:.5}", loss.item()?);
        }
    }

    let weight = model.weight.to_vec::<f32>()?;
    println!("weights {:.1} and {:.1}, bias {:.1} (they were 3, -2 and 1)", weight[0], weight[1], model.bias.item()?);
    assert!((weight[0] - 3.0).abs() < 0.1 && (weight[1] + 2.0).abs() < 0.1, "the line was not found");
    Ok(())
}
