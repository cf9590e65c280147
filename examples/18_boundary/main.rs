//! A training as a film: a small network learns to tell two spirals apart, and a page replays how.
//!
//! ```text
//! cargo run --release --example 18_boundary
//! cargo run --release --example 18_boundary -- --out film.html
//! ```
//!
//! The page needs nothing but a browser. It shows, step by step, what the network says of every place, what each hidden unit
//! says of it (a unit of the first layer draws a line, one of the second bends them together), the weights between them, and
//! the loss.
//!
//! It prints:
//!
//! ```text
//! step    0   loss 0.7180   accuracy  24.3 %
//! step  120   loss 0.0494   accuracy  97.7 %
//! ...
//! ```

#[path = "../common/mod.rs"]
mod common;

use chainrule::data::builtin::spirals;
use chainrule::loss::binary_cross_entropy_with_logits;
use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{DType, Parameter, Result, Tensor, module, no_grad};
use std::fmt::Write;
use std::path::PathBuf;

/// Two hidden layers of eight units.
struct Network {
    first: Linear,
    second: Linear,
    output: Linear,
}
module!(Network { first, second, output });

impl Network {
    fn new(init: &mut Init) -> Network {
        Network { first: Linear::new(2, 8, init), second: Linear::new(8, 8, init), output: Linear::new(8, 1, init) }
            .named()
    }
    /// What each unit says, layer by layer.
    fn layers(&self, x: &Tensor) -> [Tensor; 3] {
        let first = self.first.forward(x).tanh();
        let second = self.second.forward(&first).tanh();
        let output = self.output.forward(&second);
        [first, second, output]
    }
}

/// Places in a row and in a column of a map.
const PLACES: usize = 32;
/// The plane is shown from -REACH to REACH.
const REACH: f32 = 1.15;

/// Every place of the plane, row by row from above.
fn plane() -> Result<Tensor> {
    let along = |at: usize| REACH * (2.0 * at as f32 / (PLACES - 1) as f32 - 1.0);
    let places = (0..PLACES).flat_map(|row| (0..PLACES).flat_map(move |column| [along(column), -along(row)]));
    Tensor::from_vec(places.collect::<Vec<f32>>(), [PLACES * PLACES, 2])
}

/// Numbers between -1 and 1 as two hexadecimal digits each.
fn shades(numbers: &[f32]) -> String {
    numbers.iter().map(|x| format!("{:02x}", (x.clamp(-1.0, 1.0) * 127.0).round() as i32 + 128)).collect()
}

fn list(numbers: &[f32]) -> String {
    format!("[{}]", numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
}

/// What the page shows of a moment: a map of each unit, the weights, the loss.
fn frame(model: &Network, plane: &Tensor, step: usize, loss: f64, accuracy: f64) -> Result<String> {
    no_grad(|| {
        let [first, second, output] = model.layers(plane);
        let mut maps = Vec::new();
        for layer in [first, second, (output * 0.5).tanh()] {
            for unit in layer.transpose(0, 1).to_vec::<f32>()?.chunks(PLACES * PLACES) {
                maps.push(format!("\"{}\"", shades(unit)));
            }
        }
        let weights = |parameter: &Parameter| Ok::<String, chainrule::Error>(list(&parameter.to_vec::<f32>()?));
        let weights = [weights(&model.first.weight)?, weights(&model.second.weight)?, weights(&model.output.weight)?];
        Ok(format!(
            "{{\"step\":{step},\"loss\":{loss},\"accuracy\":{accuracy},\"maps\":[{}],\"weights\":[{}]}}",
            maps.join(","),
            weights.join(",")
        ))
    })
}

fn page(points: &[f32], classes: &[f32], frames: &[String]) -> String {
    let mut data = format!("{{\"places\":{PLACES},\"reach\":{REACH},\"units\":[8,8,1],");
    let _ = write!(data, "\"points\":{},\"classes\":{},", list(points), list(classes));
    let _ = write!(data, "\"frames\":[{}]}}", frames.join(","));
    let page = include_str!("page.html").replace("{{style}}", include_str!("page.css"));
    page.replace("{{script}}", include_str!("page.js")).replace("{{data}}", &data)
}

fn main() -> Result<()> {
    let examples = spirals(300, 2, 0.02, 1)?;
    let (x, y) = (examples.input().clone(), examples.target().to_dtype(DType::F32).unsqueeze(1));
    let plane = plane()?;
    let mut model = Network::new(&mut Init::new().seed(3));
    let mut optimizer = Adam::new(0.02);
    let (steps, count) = (common::steps(600, 100), 60);
    let mut frames = Vec::new();
    let mut right = 0.0;
    for step in 0..=steps {
        let [.., output] = model.layers(&x);
        let loss = binary_cross_entropy_with_logits(&output, &y);
        let gradients = loss.backward()?;
        // More moments at the beginning, where most happens.
        let moment = (frames.len() as f64 / count as f64).powi(2) * steps as f64;
        if step as f64 >= moment || step == steps {
            let said = output.greater(0.0).to_dtype(DType::F32);
            right = 100.0 * said.equal(&y).to_dtype(DType::F32).mean().item()?;
            frames.push(frame(&model, &plane, step, loss.item()?, right)?);
        }
        if step % (steps / 5) == 0 {
            println!("step {step:4}   loss {:.4}   accuracy {right:5.1} %", loss.item()?);
        }
        optimizer.step(&mut model, &gradients)?;
    }
    let path =
        common::after("--out").map_or_else(|| std::env::temp_dir().join("chainrule-boundary.html"), PathBuf::from);
    let text = page(&x.to_vec::<f32>()?, &y.to_vec::<f32>()?, &frames);
    std::fs::write(&path, &text).expect("the page can be written");
    println!("{} moments, {} KB: open {} in a browser", frames.len(), text.len() / 1000, path.display());
    assert!(common::quick() || right > 97.0, "the spirals were not told apart");
    Ok(())
}
