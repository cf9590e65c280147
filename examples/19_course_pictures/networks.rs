//! Pictures of chapters 5 to 7: perceptron, losses, convolution.

use super::Shown;
use super::curve::{pairs, sampled};
use super::drawing::{Anchor, BLUE, Drawing, GREEN, ORANGE, Plane};
use super::learning::{CELL, cells};
use chainrule::data::Loader;
use chainrule::data::builtin::{Digits, moons};
use chainrule::explain::chart::{LineChart, Tiles};
use chainrule::loss::{HuberLoss, L1Loss, MseLoss, Reduction, binary_cross_entropy_with_logits};
use chainrule::nn::{Conv2d, Flatten, Init, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Conv, DType, Random, Result, Tensor, cross_entropy, module, mse_loss};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("05_perceptron", "units", units()?);
    add("05_perceptron", "pieces", pieces()?);
    add("06_losses", "regression", regression()?);
    add("06_losses", "sure_and_wrong", sure_and_wrong()?);
    add("06_losses", "temperature", temperature()?);
    add("07_convolution", "window", window()?);
    add("07_convolution", "edges", edges()?);
    add("07_convolution", "field", field()?);
    add("07_convolution", "kernels", kernels()?);
    Ok(shown)
}

/// A small perceptron whose hidden layer can be looked at.
struct Mlp {
    hidden: Linear,
    output: Linear,
}
module!(Mlp { hidden, output });

impl Mlp {
    fn layers(&self, x: &Tensor) -> [Tensor; 2] {
        let hidden = self.hidden.forward(x).tanh();
        let output = self.output.forward(&hidden);
        [hidden, output]
    }
}

/// What each unit of a trained network says of the plane.
fn units() -> Result<String> {
    let examples = moons(120, 0.1, 1)?;
    let target = examples.target().to_dtype(DType::F32).unsqueeze(1);
    let mut init = Init::new().seed(1);
    let mut model = Mlp { hidden: Linear::new(2, 4, &mut init), output: Linear::new(4, 1, &mut init) }.named();
    let mut optimizer = Adam::new(0.05);
    for _ in 0..250 {
        let [_, output] = model.layers(examples.input());
        let gradients = binary_cross_entropy_with_logits(&output, &target).backward()?;
        optimizer.step(&mut model, &gradients)?;
    }
    let mut drawing = Drawing::new(720.0, 300.0);
    drawing.title("Four units, one cut each, and what the output makes of them");
    let plane = |at: (f64, f64), size: (f64, f64)| Plane { across: (-1.7, 2.7), up: (-1.3, 1.7), at, size };
    let says = |plane: &Plane, cell: f64| -> Result<[Tensor; 2]> {
        let places: Vec<f32> = plane.middles(cell).into_iter().flat_map(|(x, y)| [x as f32, y as f32]).collect();
        let count = places.len() / 2;
        Ok(model.layers(&Tensor::from_vec(places, [count, 2])?))
    };
    for unit in 0..4 {
        let at = (20.0 + 170.0 * (unit % 2) as f64, 48.0 + 118.0 * (unit / 2) as f64);
        let plane = plane(at, (154.0, 105.0));
        let [hidden, _] = says(&plane, 7.0)?;
        plane.shades(&mut drawing, 7.0, &hidden.select(1, unit).to_dtype(DType::F64).to_vec::<f64>()?);
        drawing.text((at.0 + 6.0, at.1 + 16.0), 12.0, Anchor::Start, &format!("unit {}", unit + 1));
    }
    let large = plane((378.0, 48.0), (322.0, 224.0));
    let [_, output] = says(&large, 7.0)?;
    let sure = (output.select(1, 0).sigmoid() * 2.0 - 1.0) * 0.6;
    large.shades(&mut drawing, 7.0, &sure.to_dtype(DType::F64).to_vec::<f64>()?);
    let places = examples.input().to_dtype(DType::F64).to_vec::<f64>()?;
    for (class, colour) in [(0, "#b4520f"), (1, "#1d5a96")] {
        let classes = examples.target().to_vec::<i64>()?;
        let own = places.chunks(2).zip(&classes).filter(|(_, own)| **own == class);
        let dots: Vec<_> = own.map(|(place, _)| large.place((place[0], place[1]))).collect();
        drawing.dots(&dots, 6.5, "#ffffff"); // a rim, so that they are seen on their own colour
        drawing.dots(&dots, 4.5, colour);
    }
    drawing.text((384.0, 64.0), 12.0, Anchor::Start, "output");
    drawing.coloured((20.0, 292.0), 12.0, Anchor::Start, BLUE, "blue: above zero");
    drawing.coloured((134.0, 292.0), 12.0, Anchor::Start, ORANGE, "orange: below");
    Ok(drawing.svg())
}

/// A wave, followed in straight pieces.
fn pieces() -> Result<String> {
    let x = Tensor::linspace(-3.0, 3.0, 121).unsqueeze(1);
    let target = (&x * 1.5).sin();
    let mut chart = LineChart::new("A sine, learnt by one hidden layer of relu")
        .with_axes("x", "")
        .with_size(680.0, 320.0)
        .with_line("sin 1.5 x", sampled(-3.0, 3.0, 121, |x| (1.5 * x).sin()));
    for units in [2, 4, 16] {
        let mut init = Init::new().seed(12);
        let mut model =
            Sequential::new().then(Linear::new(1, units, &mut init)).then(Relu).then(Linear::new(units, 1, &mut init));
        // Bends spread over the whole range.
        let mut random = Random::new(2);
        for (name, parameter) in model.parameters_mut() {
            if name == "0.bias" {
                parameter.set(&Tensor::uniform([units], -2.0..2.0, &mut random))?;
            }
        }
        let mut optimizer = Adam::new(0.05);
        let mut schedule = Cosine::new(600).start(&mut optimizer);
        for _ in 0..600 {
            let gradients = mse_loss(&model.forward(&x), &target).backward()?;
            optimizer.step(&mut model, &gradients)?;
            schedule.step(&mut optimizer);
        }
        let y = model.forward(&x).to_dtype(DType::F64).to_vec::<f64>()?;
        let name = format!("{units} units");
        chart = chart.with_line(name, sampled(-3.0, 3.0, 121, |x| x).into_iter().map(|(x, _)| x).zip(y));
    }
    Ok(chart.picture().svg())
}

/// Three losses of a number that should be 0.
fn regression() -> Result<String> {
    let wrong_by = Tensor::linspace(-3.0, 3.0, 121).to_dtype(DType::F64);
    let zero = wrong_by.zeros_like();
    let squared = MseLoss::new().with_reduction(Reduction::None).of(&wrong_by, &zero);
    let absolute = L1Loss::new().with_reduction(Reduction::None).of(&wrong_by, &zero);
    let huber = HuberLoss::new().with_reduction(Reduction::None).of(&wrong_by, &zero);
    Ok(LineChart::new("What it costs to be wrong")
        .with_axes("prediction - target", "loss")
        .with_line("squared", pairs(&wrong_by, &squared)?)
        .with_line("absolute", pairs(&wrong_by, &absolute)?)
        .with_line("Huber", pairs(&wrong_by, &huber)?)
        .with_size(560.0, 300.0)
        .picture()
        .svg())
}

/// The slopes of two losses where the answer should be yes, over the score.
fn sure_and_wrong() -> Result<String> {
    let score = Tensor::linspace(-10.0, 4.0, 141).to_dtype(DType::F64).variable();
    let yes = score.ones_like();
    let squares = (score.sigmoid() - &yes).square().sum();
    let entropy = -score.log_sigmoid().sum();
    let (by_squares, by_entropy) = (squares.backward()?, entropy.backward()?);
    Ok(LineChart::new("The answer is yes. How hard does each loss pull?")
        .with_axes("score", "slope")
        .with_line("square of sigmoid - 1", pairs(&score, by_squares.of(&score)?)?)
        .with_line("cross entropy", pairs(&score, by_entropy.of(&score)?)?)
        .with_size(600.0, 300.0)
        .picture()
        .svg())
}

/// The shares of the same scores at several temperatures.
fn temperature() -> Result<String> {
    let scores = Tensor::new([2.0, 1.0, 0.5, -1.0]);
    let mut drawing = Drawing::new(660.0, 220.0);
    drawing.title("Softmax of the scores 2, 1, 0.5, -1");
    for (at, heat) in [0.3, 1.0, 3.0].into_iter().enumerate() {
        let left = 30.0 + 215.0 * at as f64;
        for (bar, share) in (&scores / heat).softmax(-1).to_vec::<f64>()?.into_iter().enumerate() {
            let x = left + 44.0 * bar as f64;
            drawing.fill((x, 180.0 - 110.0 * share), (34.0, 110.0 * share), BLUE, 0.8);
            drawing.text((x + 17.0, 174.0 - 110.0 * share), 11.5, Anchor::Middle, &format!("{share:.2}"));
        }
        drawing.axis((left - 6.0, 180.0), (left + 172.0, 180.0));
        drawing.quiet((left + 83.0, 202.0), 12.5, Anchor::Middle, &format!("divided by {heat}"));
    }
    Ok(drawing.svg())
}

/// A kernel on a picture: one window and its sum are marked.
fn window() -> Result<String> {
    let picture = Tensor::from([[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]);
    let kernel = Tensor::from([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]);
    let float = |x: &Tensor, side: usize| x.to_dtype(DType::F32).reshape([1, 1, side, side]);
    let sums = float(&picture, 5).conv2d(&float(&kernel, 3), None, Conv::new()).reshape([3, 3]);
    let mut drawing = Drawing::new(560.0, 250.0);
    drawing.title("A kernel laid on each window");
    let middle = 60.0 + CELL;
    for (left, top, matrix, colour, name) in [
        (20.0, 60.0, &picture, "#8c959f", "picture"),
        (252.0, middle, &kernel, ORANGE, "kernel"),
        (430.0, middle, &sums, BLUE, "sums"),
    ] {
        cells(&mut drawing, (left, top), matrix, colour, 0.2)?;
        drawing.quiet((left, top - 8.0), 12.5, Anchor::Start, name);
    }
    let (start, side) = ((20.0 + CELL, 60.0), 3.0 * CELL);
    drawing.outline(start, (side, side), GREEN);
    drawing.outline((430.0 + CELL, middle), (CELL, CELL), GREEN);
    drawing.text((220.0, middle + side / 2.0 + 5.0), 18.0, Anchor::Middle, "·");
    drawing.text((392.0, middle + side / 2.0 + 5.0), 18.0, Anchor::Middle, "=");
    Ok(drawing.svg())
}

/// Pictures side by side, their greatest number full.
fn side_by_side(title: &str, pictures: &[(&str, Tensor)], cell: f64) -> Result<String> {
    let mut drawing = Drawing::new(20.0, 20.0);
    let mut left = 20.0;
    let mut below = 0.0f64;
    for (name, picture) in pictures {
        let [rows, columns] = picture.dims()?;
        let size = (columns as f64 * cell, rows as f64 * cell);
        let largest = picture.abs().max().item()?;
        let numbers = (picture / largest).to_dtype(DType::F64).to_vec::<f64>()?;
        let plane = Plane { across: (0.0, 1.0), up: (0.0, 1.0), at: (left, 64.0), size };
        drawing.quiet((left, 56.0), 12.5, Anchor::Start, name);
        plane.shades(&mut drawing, cell, &numbers);
        drawing.outline((left, 64.0), size, "#8c959f");
        (left, below) = (left + size.0 + 20.0, below.max(64.0 + size.1 + 16.0));
    }
    drawing.title(title);
    drawing.resize(left, below);
    Ok(drawing.svg())
}

/// A digit, and where two old kernels answer.
fn edges() -> Result<String> {
    let digit = Digits::new(8).examples()?.input().narrow(0, 3, 1);
    let upright = Tensor::from([[[[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]]]);
    let answer = |kernel: &Tensor| digit.conv2d(kernel, None, Conv::new().padding(1)).reshape([28, 28]);
    let pictures = [
        ("a digit", digit.reshape([28, 28])),
        ("upright edges", answer(&upright)),
        ("level edges", answer(&upright.transpose(2, 3))),
    ];
    side_by_side("The same digit, seen through two kernels", &pictures, 7.0)
}

/// What one number sees: the gradient of it, by the input.
fn field() -> Result<String> {
    let seen = |layers: usize, pooled: bool| -> Result<Tensor> {
        let x = Tensor::linspace(0.0, 1.0, 441).reshape([1, 1, 21, 21]).variable();
        let ones = Tensor::ones([1, 1, 3, 3]);
        let mut y = x.clone();
        for layer in 0..layers {
            y = y.conv2d(&ones, None, Conv::new().padding(1));
            if pooled && layer == 0 {
                y = y.average_pool2d(2);
            }
        }
        let middle = y.size(3)? / 2;
        Ok(y.slice((0, 0, middle, middle)).backward()?.of(&x)?.reshape([21, 21]).sqrt())
    };
    let pictures = [
        ("one layer", seen(1, false)?),
        ("two layers", seen(2, false)?),
        ("three layers", seen(3, false)?),
        ("two, pooling between", seen(2, true)?),
    ];
    side_by_side("What one number of the map sees of the picture", &pictures, 8.0)
}

/// The kernels of a first layer, before and after it has learnt digits.
fn kernels() -> Result<String> {
    let digits = Loader::new(Digits::new(400), 400).epoch(0).next().expect("there are digits")?;
    let mut init = Init::new().seed(1);
    let mut model = Sequential::new()
        .then(Conv2d::new(1, 8, 5, &mut init))
        .then(Relu)
        .then(MaxPool2d::new(4))
        .then(Flatten::new())
        .then(Linear::new(8 * 6 * 6, 10, &mut init));
    let kernels = |model: &Sequential| model.parameters()[0].1.detach();
    let before = kernels(&model);
    let mut optimizer = Adam::new(0.01);
    for _ in 0..80 {
        let gradients = cross_entropy(&model.forward(&digits.input), &digits.target).backward()?;
        optimizer.step(&mut model, &gradients)?;
    }
    let after = Tiles::new("After it", &kernels(&model))?.picture();
    Ok(Tiles::new("Eight kernels before the training", &before)?.picture().above(after).svg())
}
