//! A multi-layer perceptron on two spirals, which no straight line separates.
//!
//! ```text
//! cargo run --release --example 04_mlp
//! cargo run --release --example 04_mlp -- --data points.csv     # lines of numbers, the last one the class: 0, 1, ...
//! ```
//!
//! It prints (the points are made here; the picture shows what the model says of each place):
//!
//! ```text
//! step    0   loss 0.7075   accuracy 49.7 %
//! step  250   loss 0.0193   accuracy 99.2 %
//! step  500   loss 0.0123   accuracy 99.5 %
//! step  750   loss 0.0091   accuracy 99.3 %
//! step 1000   loss 0.0078   accuracy 99.5 %
//! (the picture)
//! accuracy 99.5 %
//! ```

mod common;

use chainrule::loss::cross_entropy;
use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Error, Fault, Random, Result, Tensor, module, no_grad};

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

/// Points on two arms that wind around each other, and the arm of each.
fn spirals(count: usize, seed: u64) -> Result<(Tensor, Tensor)> {
    let mut random = Random::new(seed);
    let (mut points, mut arms) = (Vec::new(), Vec::new());
    for i in 0..count {
        let (arm, along) = ((i % 2) as f64, random.uniform());
        let angle = 9.0 * along + arm * std::f64::consts::PI;
        let mut noise = || 0.06 * (random.uniform() - 0.5);
        points.extend([(along * angle.cos() + noise()) as f32, (along * angle.sin() + noise()) as f32]);
        arms.push(i64::from(i % 2 == 1));
    }
    Ok((Tensor::from_vec(points, [count, 2])?, Tensor::from_vec(arms, [count])?))
}

/// Points of a file: lines of numbers with commas between them, the last one the class.
fn read(path: &std::path::Path) -> Result<(Tensor, Tensor)> {
    let fail = |what: String| Error::new("read", Fault::value(what, "each line is: number,number,...,class"));
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("{}: {error}", path.display())))?;
    let (mut points, mut classes, mut width) = (Vec::new(), Vec::new(), 0);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || fail(format!("line {} is no row of numbers", number + 1));
        let (row, class) = line.rsplit_once(',').ok_or_else(wrong)?;
        let before = points.len();
        for field in row.split(',') {
            points.push(field.trim().parse::<f32>().map_err(|_| wrong())?);
        }
        width = points.len() - before;
        classes.push(class.trim().parse::<i64>().map_err(|_| wrong())?);
    }
    let count = classes.len();
    Ok((Tensor::from_vec(points, [count, width])?, Tensor::from_vec(classes, [count])?))
}

fn main() -> Result<()> {
    let (x, y) = match common::data() {
        Some(path) => read(&path)?,
        None => spirals(600, 1)?,
    };
    let [_, inputs] = x.dims()?;
    let classes = y.max().item()? as usize + 1;

    let mut model = Mlp::new(inputs, classes, &mut Init::new().seed(1));
    let mut optimizer = Adam::new(0.01);
    let steps = common::steps(1000, 200);
    for step in 0..=steps {
        let scores = model.forward(&x);
        let loss = cross_entropy(&scores, &y);
        optimizer.step(&mut model, &loss.backward()?)?;
        if step % (steps / 4) == 0 {
            println!("step {step:4}   loss {:.4}   accuracy {:.1} %", loss.item()?, common::accuracy(&scores, &y)?);
        }
    }

    if inputs == 2 && classes == 2 {
        draw(&model)?;
    }
    let right = common::accuracy(&no_grad(|| model.forward(&x)), &y)?;
    println!("accuracy {right:.1} %");
    assert!(common::data().is_some() || right > 95.0, "the spirals were not told apart");
    Ok(())
}

/// What the model says of each place between -1.1 and 1.1.
fn draw(model: &Mlp) -> Result<()> {
    let (width, height) = (56, 24);
    let place = |i: usize, count: usize| 1.1 * (2.0 * i as f32 / (count - 1) as f32 - 1.0);
    let grid: Vec<f32> = (0..height)
        .flat_map(|row| (0..width).flat_map(move |column| [place(column, width), -place(row, height)]))
        .collect();
    let arms =
        no_grad(|| model.forward(&Tensor::from_vec(grid, [width * height, 2])?).argmax_over(-1).to_vec::<i64>())?;
    for row in arms.chunks(width) {
        println!("{}", row.iter().map(|&arm| if arm == 0 { '.' } else { '#' }).collect::<String>());
    }
    Ok(())
}
