//! A multi-layer perceptron on two spirals, which no straight line separates.
//!
//! ```text
//! cargo run --release --example 04_mlp
//! cargo run --release --example 04_mlp -- --data points.csv     # with a header; the last column is the class
//! cargo run --release --features cuda --example 04_mlp -- --device cuda
//! ```
//!
//! It prints (the points are made from a seed; the picture shows what the model says of each place):
//!
//! ```text
//! step    0   loss 0.6720   accuracy 50.0 %
//! step  250   loss 0.0010   accuracy 100.0 %
//! step  500   loss 0.0003   accuracy 100.0 %
//! step  750   loss 0.0001   accuracy 100.0 %
//! step 1000   loss 0.0001   accuracy 100.0 %
//! (the picture)
//! accuracy 100.0 %
//! ```

mod common;

use chainrule::data::builtin::spirals;
use chainrule::data::{Examples, Table};
use chainrule::loss::cross_entropy;
use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Device, Error, Fault, Result, Tensor, module, no_grad};

/// Two hidden layers of 64.
struct Mlp {
    layers: Vec<Linear>,
}
module!(Mlp { layers });

impl Mlp {
    fn new(inputs: usize, classes: usize, init: &mut Init) -> Mlp {
        let sizes = [inputs, 64, 64, classes];
        Mlp { layers: sizes.windows(2).map(|pair| Linear::new(pair[0], pair[1], init)).collect() }.named()
    }
}

impl Layer for Mlp {
    fn forward(&self, input: &Tensor) -> Tensor {
        let mut x = input.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x);
            if i + 1 < self.layers.len() {
                x = x.tanh();
            }
        }
        x
    }
}

/// Points of a table: the last column is the class, by number or by name, all others are numbers.
fn read(path: &std::path::Path) -> Result<Examples> {
    let table = Table::read(path)?;
    let columns = table.names().split_last();
    let (class, numbers) = columns.ok_or_else(|| Error::new("read", Fault::value("a table without columns", "")))?;
    Examples::new(&table.numbers(numbers)?, table.categories(class)?.codes())
}

fn main() -> Result<()> {
    let examples = match common::data() {
        Some(path) => read(&path)?,
        None => spirals(600, 2, 0.02, 1)?,
    };
    let device = common::device()?;
    let (x, y) = (&examples.input().to(device), &examples.target().to(device));
    let [_, inputs] = x.dims()?;
    let classes = y.max().item()? as usize + 1;

    let mut model = Mlp::new(inputs, classes, &mut Init::on(&device).seed(1));
    let mut optimizer = Adam::new(0.01);
    let steps = common::steps(1000, 200);
    for step in 0..=steps {
        let scores = model.forward(x);
        let loss = cross_entropy(&scores, y);
        optimizer.step(&mut model, &loss.backward()?)?;
        if step % (steps / 4) == 0 {
            println!("step {step:4}   loss {:.4}   accuracy {:.1} %", loss.item()?, common::accuracy(&scores, y)?);
        }
    }

    if inputs == 2 && classes == 2 {
        draw(&model, device)?;
    }
    let right = common::accuracy(&no_grad(|| model.forward(x)), y)?;
    println!("accuracy {right:.1} %");
    assert!(common::data().is_some() || right > 95.0, "the spirals were not told apart");
    Ok(())
}

/// What the model says of each place between -1.1 and 1.1.
fn draw(model: &Mlp, device: Device) -> Result<()> {
    let (width, height) = (56, 24);
    let place = |i: usize, count: usize| 1.1 * (2.0 * i as f32 / (count - 1) as f32 - 1.0);
    let grid: Vec<f32> = (0..height)
        .flat_map(|row| (0..width).flat_map(move |column| [place(column, width), -place(row, height)]))
        .collect();
    let places = Tensor::from_vec(grid, [width * height, 2])?.to(device);
    let arms = no_grad(|| model.forward(&places).argmax_over(-1).to_vec::<i64>())?;
    for row in arms.chunks(width) {
        println!("{}", row.iter().map(|&arm| if arm == 0 { '.' } else { '#' }).collect::<String>());
    }
    Ok(())
}
