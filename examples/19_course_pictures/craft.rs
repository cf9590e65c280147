//! Pictures of chapters 9 and 10: attention, and the craft of training.

use super::Shown;
use super::curve::Curve;
use super::drawing::{Anchor, BLUE, Drawing, GREEN, ORANGE, Place, Plane};
use chainrule::data::builtin::spirals;
use chainrule::explain::chart::LineChart;
use chainrule::nn::{
    Embedding, Init, Initial, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention, Relu, Sequential,
};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{Adam, AdamW, Optimizer, Sgd};
use chainrule::{DType, Parameter, Random, Result, Tensor, cross_entropy, module, no_grad};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("09_attention", "attention_map", attention_map()?);
    add("10_training_craft", "initialisation", initialisation()?);
    add("10_training_craft", "normalisation", normalisation()?);
    add("10_training_craft", "optimizers", optimizers()?);
    add("10_training_craft", "schedule", schedule());
    Ok(shown)
}

const LETTERS: usize = 8;
const LENGTH: usize = 10;
const WIDTH: usize = 32;

/// One block of a transformer that learns to write a word backwards, as in chapter 9.
struct Reverser {
    letters: Embedding,
    places: Embedding,
    ln_1: LayerNorm,
    attn: MultiheadAttention,
    ln_2: LayerNorm,
    fc: Linear,
    proj: Linear,
    head: Linear,
}
module!(Reverser { letters, places, ln_1, attn, ln_2, fc, proj, head });

impl Reverser {
    fn new(init: &mut Init) -> Reverser {
        Reverser {
            letters: Embedding::new(LETTERS, WIDTH, init),
            places: Embedding::new(LENGTH, WIDTH, init),
            ln_1: LayerNorm::new(WIDTH, init),
            attn: MultiheadAttention::options(WIDTH, 1).with_batch_first().build(init),
            ln_2: LayerNorm::new(WIDTH, init),
            fc: Linear::new(WIDTH, 2 * WIDTH, init),
            proj: Linear::new(2 * WIDTH, WIDTH, init),
            head: Linear::new(WIDTH, LETTERS, init),
        }
        .named()
    }
    fn forward(&self, words: &Tensor) -> (Tensor, Tensor) {
        let x = self.letters.forward(words) + self.places.forward(&Tensor::arange(LENGTH));
        let seen = self.ln_1.forward(&x);
        let (found, shares) = self.attn.attend_with_weights(&seen, &seen, &seen, &Masks::new(), true);
        let x = x + found;
        let thought = self.proj.forward(&self.fc.forward(&self.ln_2.forward(&x)).gelu());
        (self.head.forward(&(x + thought)), shares)
    }
}

/// Which place looks where, before and after the training.
fn attention_map() -> Result<String> {
    let mut model = Reverser::new(&mut Init::new().seed(1));
    let mut random = Random::new(1);
    let mut words = || Tensor::integers([64, LENGTH], 0..LETTERS as i64, &mut random);
    let mut drawing = Drawing::new(720.0, 420.0);
    drawing.title("Where each place of a word looks");
    draw_shares(&mut drawing, (64.0, 104.0), "before the first step", &model, &words())?;
    let mut optimizer = AdamW::new(3e-3);
    for _ in 0..100 {
        let words = words();
        let loss = cross_entropy(&model.forward(&words).0.transpose(1, 2), &words.flip(1));
        optimizer.step(&mut model, &loss.backward()?)?;
    }
    draw_shares(&mut drawing, (412.0, 104.0), "after 100 steps", &model, &words())?;
    Ok(drawing.svg())
}

/// A table of shades: a row for each place that asks, a column for each that is looked at.
fn draw_shares(drawing: &mut Drawing, (left, top): Place, name: &str, model: &Reverser, words: &Tensor) -> Result<()> {
    let cell = 28.0;
    let shares = no_grad(|| model.forward(words).1).mean_over(0).to_dtype(DType::F64).to_vec::<f64>()?;
    drawing.text((left, top - 50.0), 13.0, Anchor::Start, name);
    drawing.quiet((left, top - 28.0), 11.5, Anchor::Start, "place that is looked at");
    for (row, shares) in shares.chunks(LENGTH).enumerate() {
        let middle = (row as f64 + 0.5) * cell;
        drawing.quiet((left + middle, top - 8.0), 11.5, Anchor::Middle, &row.to_string());
        drawing.quiet((left - 8.0, top + middle + 4.0), 11.5, Anchor::End, &row.to_string());
        for (column, share) in shares.iter().enumerate() {
            let place = (left + column as f64 * cell, top + row as f64 * cell);
            drawing.fill(place, (cell - 1.5, cell - 1.5), BLUE, 0.06 + 0.94 * share);
        }
    }
    drawing.quiet((left - 44.0, top + 10.0), 11.5, Anchor::Start, "asks");
    Ok(())
}

/// How large numbers are behind each of thirty layers, for three sizes of the first weights.
fn initialisation() -> Result<String> {
    let (width, depth) = (128, 30);
    let mut chart = LineChart::new("How large the numbers are behind each layer")
        .with_axes("layer", "root of the mean square")
        .with_logarithmic();
    for (name, factor) in [("√(2 / inputs), halved", 0.5), ("√(2 / inputs)", 1.0), ("√(2 / inputs), half more", 1.5)]
    {
        let mut random = Random::new(1);
        let mut h = Tensor::normal([64, width], 0.0, 1.0, &mut random);
        let mut sizes = Vec::new();
        for layer in 1..=depth {
            let deviation = factor * (2.0 / width as f64).sqrt();
            h = h.matmul(&Tensor::normal([width, width], 0.0, deviation, &mut random)).relu();
            sizes.push((f64::from(layer), h.square().mean().sqrt().item()?));
        }
        chart = chart.with_line(name, sizes);
    }
    Ok(chart.picture().svg())
}

/// Eight layers with first weights of this size, with layer norm or without.
fn deep(normalised: bool, size: f64) -> Result<Sequential> {
    let (width, mut init, mut random) = (32, Init::new().seed(1), Random::new(1));
    let mut model = Sequential::new().then(Linear::new(2, width, &mut init)).then(Relu);
    for _ in 0..8 {
        model = model.then(Linear::new(width, width, &mut init));
        if normalised {
            model = model.then(LayerNorm::new(width, &mut init));
        }
        model = model.then(Relu);
    }
    let mut model = model.then(Linear::new(width, 2, &mut init)).named();
    for (_, parameter) in model.parameters_mut() {
        if parameter.rank()? == 2 {
            let [outputs, inputs] = parameter.dims()?;
            let law = Initial::Normal { mean: 0.0, deviation: size / (inputs as f64).sqrt() };
            parameter.set(&law.tensor([outputs, inputs], DType::F32, &mut random))?;
        }
    }
    Ok(model)
}

/// The same deep network, started badly, with layer norm and without.
fn normalisation() -> Result<String> {
    let examples = spirals(200, 2, 0.02, 1)?;
    let mut chart = LineChart::new("Nine layers, first weights half or twice as large as they should be")
        .with_axes("step", "loss")
        .with_logarithmic();
    for (name, normalised, size) in [
        ("half, plain", false, 0.7),
        ("half, layer norm", true, 0.7),
        ("twice, plain: ends at once", false, 2.8),
        ("twice, layer norm", true, 2.8),
    ] {
        let mut model = deep(normalised, size)?;
        let mut optimizer = Sgd::new(0.05);
        let mut curve = Curve::new();
        for step in 0..=300 {
            let loss = cross_entropy(&model.forward(examples.input()), examples.target());
            if !loss.item()?.is_finite() {
                break;
            }
            if step % 4 == 0 {
                curve.push((f64::from(step), loss.item()?));
            }
            optimizer.step(&mut model, &loss.backward()?)?;
        }
        chart = chart.with_line(name, curve);
    }
    Ok(chart.picture().svg())
}

/// A point that rolls.
struct Ball {
    at: Parameter,
}
module!(Ball { at });

/// A long valley with steep sides.
fn valley(at: &Tensor) -> Tensor {
    let [x, y] = at.parts(0);
    (x.square() * 0.01 + y.square()).sum()
}

fn roll(mut optimizer: impl Optimizer, steps: usize) -> Result<Curve> {
    let mut ball = Ball { at: Parameter::new(Tensor::from([-9.0, 1.5])) };
    let mut path = Curve::new();
    for _ in 0..steps {
        let at = ball.at.to_vec::<f32>()?;
        path.push((f64::from(at[0]), f64::from(at[1])));
        let gradients = valley(&ball.at).backward()?;
        optimizer.step(&mut ball, &gradients)?;
    }
    Ok(path)
}

/// Forty steps through the valley, three ways.
fn optimizers() -> Result<String> {
    let runs = [
        ("SGD: across the valley, hardly along it", BLUE, roll(Sgd::new(0.9), 40)?),
        ("with momentum 0.7: what repeats adds up", ORANGE, roll(Sgd::new(0.9).with_momentum(0.7), 40)?),
        ("Adam: each direction by its own measure", GREEN, roll(Adam::new(0.6), 40)?),
    ];
    let mut drawing = Drawing::new(720.0, 3.0 * 150.0 + 52.0);
    drawing.title("Forty steps down a long valley");
    for (row, (name, colour, path)) in runs.into_iter().enumerate() {
        let top = 64.0 + row as f64 * 150.0;
        let plane = Plane { across: (-10.0, 3.0), up: (-1.8, 1.8), at: (20.0, top), size: (680.0, 116.0) };
        for level in [0.06f64, 0.3, 0.8, 1.6, 2.6] {
            let around = (0..=60).map(|at| f64::from(at) / 60.0 * std::f64::consts::TAU);
            let ring: Vec<(f64, f64)> =
                around.map(|turn| ((level / 0.01).sqrt() * turn.cos(), level.sqrt() * turn.sin())).collect();
            for piece in ring.split(|place| !plane.holds(*place)).filter(|piece| piece.len() > 1) {
                let places: Vec<Place> = piece.iter().map(|place| plane.place(*place)).collect();
                drawing.line(&places, "#8c959f", 0.6);
            }
        }
        drawing.text((20.0, top - 8.0), 12.5, Anchor::Start, name);
        plane.path(&mut drawing, &path, colour);
        drawing.dot(plane.place((0.0, 0.0)), 4.0, "#c65b97");
    }
    Ok(drawing.svg())
}

/// The rate of each step: up in a line, down along a cosine.
fn schedule() -> String {
    let mut optimizer = Sgd::new(1e-3);
    let mut schedule = Cosine::new(180).after_warm_up(20).start(&mut optimizer);
    let mut rates = Curve::new();
    for step in 0..=200 {
        rates.push((f64::from(step), optimizer.rate()));
        schedule.step(&mut optimizer);
    }
    LineChart::new("A rate with a warm-up and a cosine")
        .with_axes("step", "rate")
        .with_line("rate", rates)
        .with_size(720.0, 240.0)
        .picture()
        .svg()
}
