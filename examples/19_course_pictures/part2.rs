//! Pictures of chapters 9 to 15: from attention to kernels.

use super::drawing::{Anchor, BLUE, Drawing, GREEN, ORANGE, Place, Plane};
use super::{Shown, sampled};
use chainrule::data::builtin::{Digits, moons, spirals};
use chainrule::explain::chart::LineChart;
use chainrule::nn::{
    Dropout, Embedding, Init, Initial, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention, Relu, Sequential,
    Tanh,
};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{Adam, AdamW, Optimizer, Sgd};
use chainrule::{DType, Parameter, Random, Result, Tensor, cross_entropy, evaluating, formula, module, no_grad};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("09_attention", "attention_map", attention_map()?);
    add("10_training_craft", "initialisation", initialisation()?);
    add("10_training_craft", "normalisation", normalisation()?);
    add("10_training_craft", "optimizers", optimizers()?);
    add("10_training_craft", "schedule", schedule());
    add("11_overfitting", "overfitting", overfitting()?);
    add("11_overfitting", "dropout", dropout()?);
    add("11_overfitting", "transfer", transfer()?);
    add("12_confidence", "reliability", reliability()?);
    add("13_own_operation", "own_formula", own_formula()?);
    add("14_fast_product", "cache_lines", cache_lines());
    add("14_fast_product", "register_tile", register_tile());
    add("15_gpu_kernel", "coalescing", coalescing());
    add("15_gpu_kernel", "shared_tiles", shared_tiles());
    Ok(shown)
}

/// Curves with a point every so many steps.
type Curve = Vec<(f64, f64)>;

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

/// Noisy points of a sine, as in chapter 11.
fn waves(count: usize, random: &mut Random) -> (Tensor, Tensor) {
    let x = Tensor::uniform([count, 1], -1.5..1.5, random);
    let y = (&x * 3.0).sin() + Tensor::normal([count, 1], 0.0, 0.3, random);
    (x, y)
}

/// Points that no line joins.
fn dots(points: Curve) -> Curve {
    points.into_iter().flat_map(|point| [point, (f64::NAN, f64::NAN)]).collect()
}

fn pairs(x: &Tensor, y: &Tensor) -> Result<Curve> {
    let [x, y] = [x, y].map(|numbers| numbers.to_dtype(DType::F64).to_vec::<f64>());
    Ok(x?.into_iter().zip(y?).collect())
}

/// Twelve points, a network that can follow them all, and both losses.
fn overfitting() -> Result<String> {
    let mut random = Random::new(3);
    let (x, y) = waves(12, &mut random);
    let (new_x, new_y) = waves(200, &mut random);
    let mut init = Init::new().seed(1);
    let mut model = Sequential::new()
        .then(Linear::new(1, 64, &mut init))
        .then(Tanh)
        .then(Linear::new(64, 64, &mut init))
        .then(Tanh)
        .then(Linear::new(64, 1, &mut init))
        .named();
    let mut optimizer = Adam::new(5e-3);
    let (mut seen, mut unseen, mut fits) = (Curve::new(), Curve::new(), Vec::new());
    let line = Tensor::linspace(-1.5, 1.5, 91).reshape([91, 1]);
    for step in 0..=600 {
        let loss = (model.forward(&x) - &y).square().mean();
        if step % 10 == 0 {
            let new = no_grad(|| (model.forward(&new_x) - &new_y).square().mean());
            seen.push((f64::from(step), loss.item()?));
            unseen.push((f64::from(step), new.item()?));
        }
        if [20, 50, 600].contains(&step) {
            fits.push((step, pairs(&line, &no_grad(|| model.forward(&line)))?));
        }
        optimizer.step(&mut model, &loss.backward()?)?;
    }
    let mut fit = LineChart::new("What it says after some steps").with_axes("x", "y");
    for (step, curve) in fits {
        fit = fit.with_line(format!("step {step}"), curve);
    }
    let fit = fit.with_line("the twelve points", dots(pairs(&x, &y)?));
    let losses = LineChart::new("Points it learns from, and new ones")
        .with_axes("step", "mean square error")
        .with_line("the twelve points", seen)
        .with_line("200 new points", unseen)
        .with_logarithmic();
    Ok(fit.picture().above(losses.with_size(720.0, 280.0).picture()).svg())
}

/// Digits of a quarter of their size, as rows of 196 numbers around zero.
fn digits(count: usize, seed: u64) -> Result<(Tensor, Tensor)> {
    let digits = Digits::new(count).with_seed(seed).examples()?;
    Ok((digits.input().average_pool2d(2).flatten_axes(1, -1) - 0.2, digits.target().clone()))
}

fn accuracy(scores: &Tensor, target: &Tensor) -> Result<f64> {
    scores.argmax_over(-1).equal(target).to_dtype(DType::F64).mean().item()
}

/// The loss on new digits, with and without what holds a network back.
fn dropout() -> Result<String> {
    let (x, y) = digits(200, 1)?;
    let (new_x, new_y) = digits(1000, 2)?;
    let mut chart = LineChart::new("200 digits learnt, 1000 new ones").with_axes("step", "loss on new digits");
    for (name, rate, decay) in [("plain", 0.0, 0.0), ("weight decay 0.5", 0.0, 0.5), ("dropout 0.5", 0.5, 0.0)] {
        let mut init = Init::new().seed(1);
        let mut model = Sequential::new()
            .then(Linear::new(196, 128, &mut init))
            .then(Relu)
            .then(Dropout::new(rate, &mut init))
            .then(Linear::new(128, 10, &mut init))
            .named();
        let mut optimizer = AdamW::new(2e-3).with_weight_decay(decay);
        let mut curve = Curve::new();
        for step in 0..=300 {
            if step % 10 == 0 {
                let scores = no_grad(|| evaluating(|| model.forward(&new_x)));
                curve.push((f64::from(step), cross_entropy(&scores, &new_y).item()?));
            }
            let loss = cross_entropy(&model.forward(&x), &y);
            optimizer.step(&mut model, &loss.backward()?)?;
        }
        chart = chart.with_line(name, curve);
    }
    Ok(chart.picture().svg())
}

/// A body that looks, a head that decides.
#[derive(Clone)]
struct Reader {
    body: Linear,
    head: Linear,
}
module!(Reader { body, head });

impl Layer for Reader {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.body.forward(x).relu())
    }
}

/// Digits of some classes, counted from zero.
fn between(count: usize, seed: u64, low: f64, high: f64) -> Result<(Tensor, Tensor)> {
    let (x, y) = digits(count, seed)?;
    let rows = y.greater_equal(low).logical_and(y.less(high)).flat_nonzero();
    Ok((x.index_select(0, &rows), (y.index_select(0, &rows) - low).to_dtype(DType::I64)))
}

fn learn(model: &mut Reader, x: &Tensor, y: &Tensor, steps: usize) -> Result<()> {
    let mut optimizer = AdamW::new(3e-3);
    for _ in 0..steps {
        let loss = cross_entropy(&model.forward(x), y);
        optimizer.step(model, &loss.backward()?)?;
    }
    Ok(())
}

/// Three new digits from few examples: from scratch, with a new head only, and with everything learning.
fn transfer() -> Result<String> {
    let mut init = Init::new().seed(1);
    let mut old = Reader { body: Linear::new(196, 64, &mut init), head: Linear::new(64, 7, &mut init) }.named();
    let (x, y) = between(1500, 1, 0.0, 7.0)?;
    learn(&mut old, &x, &y, 100)?;
    let (few_x, few_y) = between(700, 5, 7.0, 10.0)?;
    let (new_x, new_y) = between(3000, 9, 7.0, 10.0)?;
    let mut curves = [Curve::new(), Curve::new(), Curve::new()];
    for count in [6, 12, 24, 48, 96, 192] {
        let (x, y) = (few_x.narrow(0, 0, count), few_y.narrow(0, 0, count));
        let mut init = Init::new().seed(7);
        let scratch = Reader { body: Linear::new(196, 64, &mut init), head: Linear::new(64, 3, &mut init) }.named();
        let tuned = Reader { body: old.body.clone(), head: scratch.head.clone() }.named();
        let mut frozen = tuned.clone();
        frozen.body.freeze();
        for (curve, mut model) in curves.iter_mut().zip([scratch, frozen, tuned]) {
            learn(&mut model, &x, &y, 150)?;
            let right = accuracy(&no_grad(|| model.forward(&new_x)), &new_y)?;
            curve.push(((count as f64 / 3.0).log2(), 100.0 * right));
        }
    }
    let [scratch, frozen, tuned] = curves;
    Ok(LineChart::new("Three new digits, 2 to 64 examples of each")
        .with_axes("examples of each digit: 2 to this power", "new pictures read right, %")
        .with_line("from scratch", scratch)
        .with_line("a new head on a frozen body", frozen)
        .with_line("fine-tuned throughout", tuned)
        .picture()
        .svg())
}

/// What a network says of its certainty, against how often it is right; before and after it was cooled.
fn reliability() -> Result<String> {
    let draw = |count, seed| moons(count, 0.35, seed).map(|all| (all.input().clone(), all.target().clone()));
    let (x, y) = draw(100, 1)?;
    let (held_x, held_y) = draw(300, 2)?;
    let (new_x, new_y) = draw(2000, 3)?;
    let mut init = Init::new().seed(1);
    let mut model = Sequential::new()
        .then(Linear::new(2, 64, &mut init))
        .then(Relu)
        .then(Linear::new(64, 64, &mut init))
        .then(Relu)
        .then(Linear::new(64, 2, &mut init))
        .named();
    let mut optimizer = Adam::new(5e-3);
    for _ in 0..300 {
        let loss = cross_entropy(&model.forward(&x), &y);
        optimizer.step(&mut model, &loss.backward()?)?;
    }
    model.freeze();
    let (held, scores) = (model.forward(&held_x), model.forward(&new_x));
    let mut heat = Ball { at: Parameter::new(Tensor::scalar(0.0)) };
    let mut optimizer = Adam::new(0.05);
    for _ in 0..200 {
        let loss = cross_entropy(&(&held / heat.at.exp()), &held_y);
        optimizer.step(&mut heat, &loss.backward()?)?;
    }
    let temperature = heat.at.exp().item()?;
    Ok(LineChart::new("How often is it right when it says so?")
        .with_axes("what the model says of itself", "share that is right")
        .with_line("as trained", bins(&scores, &new_y)?)
        .with_line(format!("divided by the temperature {temperature:.1}"), bins(&(scores / temperature), &new_y)?)
        .with_line("an honest one", [(0.5, 0.5), (1.0, 1.0)])
        .with_size(560.0, 420.0)
        .picture()
        .svg())
}

/// In ten parts of the range: how sure the model is on average, and how often it is right.
fn bins(scores: &Tensor, target: &Tensor) -> Result<Curve> {
    let (sure, said) = scores.softmax(-1).max_along(-1);
    let mut sums = [(0.0, 0.0, 0.0); 10];
    for (sure, right) in pairs(&sure, &said.equal(target))? {
        let bin = &mut sums[((sure * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1.0, bin.1 + sure, bin.2 + right);
    }
    Ok(sums.into_iter().filter(|bin| bin.0 > 0.0).map(|(count, sure, right)| (sure / count, right / count)).collect())
}

formula! {
    /// A rectifier with a wave, as in chapter 13.
    fn snake(x; a) { let wave = sin(a * x); x + wave * wave / a }
}

/// A formula of our own and the derivative that was made of it.
fn own_formula() -> Result<String> {
    let x = Tensor::linspace(-4.0, 4.0, 161).to_dtype(DType::F64).variable();
    let y = snake(&x, 2.0);
    let slope = y.sum().backward()?.of(&x)?.clone();
    Ok(LineChart::new("snake(x) = x + sin²(2x) / 2, and its derivative")
        .with_axes("x", "")
        .with_line("snake", pairs(&x, &y)?)
        .with_line("its derivative, computed", pairs(&x, &slope)?)
        .with_line("1 + sin(4x), by hand", dots(sampled(-4.0, 4.0, 65, |x| 1.0 + (4.0 * x).sin())))
        .picture()
        .svg())
}

/// A cache of some lines of 64 bytes that forgets what was not used for longest.
struct Cache {
    lines: Vec<usize>,
    room: usize,
    fetched: usize,
}

impl Cache {
    fn touch(&mut self, number: usize) {
        let line = number / 16;
        match self.lines.iter().position(|held| *held == line) {
            Some(at) => self.lines[..=at].rotate_right(1),
            None => {
                self.fetched += 1;
                self.lines.insert(0, line);
                self.lines.truncate(self.room);
            }
        }
    }
}

const SIDE: usize = 64;

/// The three numbers that each multiply-add of a product reads or writes, in some order of the loops.
fn visits(order: &str, mut visit: impl FnMut(usize, usize, usize)) {
    let block = if order == "blocks" { 16 } else { SIDE };
    for (i0, k0, j0) in triples(SIDE / block, SIDE / block, SIDE / block) {
        for (a, b, c) in triples(block, block, block) {
            let (i, j, k) = if order == "ijk" { (a, b, c) } else { (a, c, b) };
            visit(i0 * block + i, j0 * block + j, k0 * block + k);
        }
    }
}

fn triples(first: usize, second: usize, third: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..first).flat_map(move |a| (0..second).flat_map(move |b| (0..third).map(move |c| (a, b, c))))
}

/// Lines fetched from memory for a product of 64 × 64, by the size of the cache.
fn cache_lines() -> String {
    let mut chart = LineChart::new("A product of 64 × 64: lines of 64 bytes fetched from memory")
        .with_axes("lines that the cache holds: 2 to this power", "lines fetched")
        .with_logarithmic();
    for (order, name) in [("ijk", "row by column"), ("ikj", "along rows"), ("blocks", "in blocks of 16 × 16")] {
        let mut curve = Curve::new();
        for power in 3..=10 {
            let mut cache = Cache { lines: Vec::new(), room: 1 << power, fetched: 0 };
            visits(order, |i, j, k| {
                cache.touch(i * SIDE + k);
                cache.touch(SIDE * SIDE + k * SIDE + j);
                cache.touch(2 * SIDE * SIDE + i * SIDE + j);
            });
            curve.push((f64::from(power), cache.fetched as f64));
        }
        chart = chart.with_line(name, curve);
    }
    chart.picture().svg()
}

/// A piece of C in registers: what a step of it reads, and what it computes.
fn register_tile() -> String {
    let mut drawing = Drawing::new(720.0, 300.0);
    drawing.title("One step of a tile of 6 × 16: 22 numbers read, 96 multiply-adds");
    let (cell, left, top) = (22.0, 190.0, 130.0);
    let grid = |drawing: &mut Drawing, at: Place, (rows, columns): (usize, usize), colour: &str, opacity: f64| {
        for row in 0..rows {
            for column in 0..columns {
                let place = (at.0 + column as f64 * cell, at.1 + row as f64 * cell);
                drawing.fill(place, (cell - 2.0, cell - 2.0), colour, opacity);
            }
        }
    };
    grid(&mut drawing, (left, top), (6, 16), BLUE, 0.55);
    grid(&mut drawing, (left, top - 62.0), (1, 8), GREEN, 0.9);
    grid(&mut drawing, (left + 8.0 * cell, top - 62.0), (1, 8), GREEN, 0.6);
    grid(&mut drawing, (left - 62.0, top), (6, 1), ORANGE, 0.9);
    drawing.text((left, top - 68.0), 12.5, Anchor::Start, "a row of B: 16 numbers, two loads of 8");
    drawing.text((left - 74.0, top + 60.0), 12.5, Anchor::End, "a column of A:");
    drawing.text((left - 74.0, top + 76.0), 12.5, Anchor::End, "6 numbers");
    drawing.text((left, top + 6.0 * cell + 18.0), 12.5, Anchor::Start, "96 sums of C, in 12 registers of 8; they stay");
    drawing.arrow((left + 8.0 * cell, top - 36.0), (left + 8.0 * cell, top - 6.0), "#8c959f");
    drawing.arrow((left - 36.0, top + 3.0 * cell), (left - 6.0, top + 3.0 * cell), "#8c959f");
    drawing.svg()
}

/// What 32 threads ask for at once, one number each: side by side, and eight apart.
fn coalescing() -> String {
    let mut drawing = Drawing::new(720.0, 330.0);
    drawing.title("A warp reads 32 numbers: how many sectors of 32 bytes must come?");
    for (row, (stride, name)) in
        [(1, "neighbours: 4 sectors, every byte is used"), (2, "every second one: 8 sectors, half is used")]
            .into_iter()
            .chain([(4, "every fourth one: 16 sectors, a quarter is used")])
            .enumerate()
    {
        let top = 62.0 + row as f64 * 92.0;
        drawing.text((20.0, top), 12.5, Anchor::Start, name);
        let wide = 680.0 / 128.0;
        for sector in 0..16 {
            let used = sector < 4 * stride;
            let place = (20.0 + f64::from(sector) * 8.0 * wide, top + 44.0);
            let (colour, opacity) = if used { (ORANGE, 0.45) } else { ("#8c959f", 0.18) };
            drawing.fill(place, (8.0 * wide - 1.5, 20.0), colour, opacity);
        }
        for thread in 0..32 {
            let from = (20.0 + (f64::from(thread) + 0.5) * 680.0 / 32.0, top + 14.0);
            let to = (20.0 + (f64::from(thread * stride) + 0.5) * wide, top + 44.0);
            drawing.dot(from, 2.4, BLUE);
            drawing.line(&[from, to, (to.0, top + 64.0)], BLUE, 1.0);
        }
    }
    drawing.svg()
}

/// A block of threads makes a tile of C from tiles of A and B that all of its threads share.
fn shared_tiles() -> String {
    let mut drawing = Drawing::new(720.0, 360.0);
    drawing.title("A block of threads makes one tile of C");
    let (tile, count) = (32.0, 4);
    let mut matrix = |name: &str, (left, top): Place, strong: &dyn Fn(usize, usize) -> f64, colour: &str| {
        drawing.text((left, top - 8.0), 13.0, Anchor::Start, name);
        for row in 0..count {
            for column in 0..count {
                let place = (left + column as f64 * tile, top + row as f64 * tile);
                let opacity = strong(row, column);
                let colour = if opacity > 0.2 { colour } else { "#8c959f" };
                drawing.fill(place, (tile - 2.0, tile - 2.0), colour, opacity);
            }
        }
    };
    let along = |at: usize| if at == 1 { 0.95 } else { 0.45 };
    matrix("A: a row of tiles", (60.0, 212.0), &|row, column| if row == 1 { along(column) } else { 0.15 }, ORANGE);
    matrix("B: a column of tiles", (250.0, 62.0), &|row, column| if column == 2 { along(row) } else { 0.15 }, GREEN);
    matrix("C: one tile", (250.0, 212.0), &|row, column| if row == 1 && column == 2 { 0.95 } else { 0.15 }, BLUE);
    for (at, line) in [
        "for each pair of tiles:",
        "  every thread brings one number of A",
        "  and one of B into shared memory",
        "  — barrier: all are there —",
        "  every thread adds 16 products,",
        "  read from shared memory",
        "  — barrier: all are done —",
    ]
    .into_iter()
    .enumerate()
    {
        let indent = if line.starts_with(' ') { 14.0 } else { 0.0 };
        drawing.text((430.0 + indent, 212.0 + at as f64 * 19.0), 12.5, Anchor::Start, line.trim());
    }
    drawing.svg()
}
