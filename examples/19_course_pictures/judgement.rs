//! Pictures of chapters 11 and 12: overfitting and confidence.

use super::Shown;
use super::curve::{Curve, dots, pairs};
use chainrule::data::builtin::{Digits, moons};
use chainrule::explain::chart::LineChart;
use chainrule::nn::{Dropout, Init, Layer, Linear, Module, Relu, Sequential, Tanh};
use chainrule::optim::{Adam, AdamW, Optimizer};
use chainrule::{DType, Parameter, Random, Result, Tensor, cross_entropy, evaluating, module, no_grad};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("11_overfitting", "overfitting", overfitting()?);
    add("11_overfitting", "dropout", dropout()?);
    add("11_overfitting", "transfer", transfer()?);
    add("12_confidence", "reliability", reliability()?);
    Ok(shown)
}

/// Noisy points of a sine, as in chapter 11.
fn waves(count: usize, random: &mut Random) -> (Tensor, Tensor) {
    let x = Tensor::uniform([count, 1], -1.5..1.5, random);
    let y = (&x * 3.0).sin() + Tensor::normal([count, 1], 0.0, 0.3, random);
    (x, y)
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
    let mut heat = Parameter::new(Tensor::scalar(0.0));
    let mut optimizer = Adam::new(0.05);
    for _ in 0..200 {
        let loss = cross_entropy(&(&held / heat.exp()), &held_y);
        optimizer.step(&mut heat, &loss.backward()?)?;
    }
    let temperature = heat.exp().item()?;
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
