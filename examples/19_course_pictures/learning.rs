//! Pictures of chapters 1 to 4: from tensors to descent.

use super::Shown;
use super::curve::{Curve, pairs, sampled};
use super::drawing::{Anchor, BLUE, Drawing, GREEN, ORANGE, Place, Plane};
use super::graph::graph;
use chainrule::explain::chart::{LineChart, Picture};
use chainrule::explain::trace;
use chainrule::optim::{Optimizer, Sgd};
use chainrule::{DType, Parameter, Random, Result, Tensor};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("01_tensors", "strides", strides()?);
    add("01_tensors", "broadcasting", broadcasting()?);
    add("02_derivative", "slope", slope()?);
    add("02_derivative", "differences", differences()?);
    add("02_derivative", "activations", activations()?);
    add("03_chain_rule", "neuron", neuron()?);
    add("03_chain_rule", "paths", paths()?);
    add("04_descent", "rates", rates()?);
    add("04_descent", "ravine", ravine()?);
    add("04_descent", "saddle", saddle()?);
    add("04_descent", "noise", noise()?);
    Ok(shown)
}

/// The side of a cell that holds a number.
pub(crate) const CELL: f64 = 34.0;

/// A matrix as cells with its numbers; gives the middle of each cell, row by row.
pub(crate) fn cells(
    drawing: &mut Drawing,
    (left, top): Place,
    matrix: &Tensor,
    colour: &str,
    opacity: f64,
) -> Result<Vec<Place>> {
    let [rows, columns] = matrix.dims()?;
    let mut middles = Vec::new();
    for (at, number) in matrix.to_dtype(DType::I64).to_vec::<i64>()?.into_iter().enumerate() {
        let (x, y) = (left + (at % columns) as f64 * CELL, top + (at / columns) as f64 * CELL);
        drawing.fill((x + 1.0, y + 1.0), (CELL - 2.0, CELL - 2.0), colour, opacity);
        middles.push((x + CELL / 2.0, y + CELL / 2.0));
        drawing.text((x + CELL / 2.0, y + CELL / 2.0 + 4.5), 13.0, Anchor::Middle, &number.to_string());
    }
    debug_assert_eq!(middles.len(), rows * columns);
    Ok(middles)
}

/// A matrix, its line of numbers, and its transpose, which walks along the same line.
fn strides() -> Result<String> {
    let x = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let mut drawing = Drawing::new(660.0, 210.0);
    drawing.title("One line of numbers, two ways to walk along it");
    for (left, name, tensor, colour) in [(40.0, "x", x.clone(), BLUE), (460.0, "x.t()", x.t(), ORANGE)] {
        let [rows, columns] = tensor.dims()?;
        let value = tensor.value()?;
        drawing.text((left, 58.0), 13.0, Anchor::Start, &format!("{name}   [{rows}, {columns}]"));
        drawing.quiet((left, 76.0), 12.0, Anchor::Start, &format!("strides {:?}", value.layout().strides()));
        cells(&mut drawing, (left, 86.0), &tensor, colour, 0.25)?;
    }
    let line = cells(&mut drawing, (228.0, 103.0), &x.reshape([1, 6]), "#8c959f", 0.25)?;
    drawing.text((228.0, 76.0), 13.0, Anchor::Start, "in memory");
    // a step to the next row, by both
    let step = |drawing: &mut Drawing, from: usize, to: usize, y: f64, colour: &str, name: &str| {
        let ((a, _), (b, _)) = (line[from], line[to]);
        drawing.arrow((a, y), (b, y), colour);
        drawing.coloured(((a + b) / 2.0, y + 15.0), 11.5, Anchor::Middle, colour, name);
    };
    step(&mut drawing, 0, 3, 148.0, BLUE, "x: the next row");
    step(&mut drawing, 0, 1, 178.0, ORANGE, "x.t(): the next row");
    Ok(drawing.svg())
}

/// Sums of different shapes, with what repeats drawn faint.
fn broadcasting() -> Result<String> {
    let matrix = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let row = Tensor::from([[10.0, 20.0, 30.0]]);
    let column = Tensor::from([[100.0], [200.0]]);
    let mut drawing = Drawing::new(480.0, 294.0);
    drawing.title("The smaller one repeats");
    let sums = [(56.0, &matrix, "[2, 3] + [3]"), (176.0, &column, "[2, 1] + [3]")];
    for (top, left, name) in sums {
        drawing.text((20.0, top + 6.0), 13.0, Anchor::Start, name);
        let mut x = 20.0;
        for (operand, sign) in [(left, "+"), (&row, "="), (&(left + &row), "")] {
            let whole = operand.expand([2, 3]);
            let [rows, columns] = operand.dims()?;
            cells(&mut drawing, (x, top + 18.0), &whole, BLUE, 0.1)?;
            let own = (columns as f64 * CELL, rows as f64 * CELL);
            drawing.fill((x, top + 18.0), own, BLUE, 0.2);
            drawing.text((x + 3.0 * CELL + 22.0, top + 18.0 + CELL + 5.0), 16.0, Anchor::Middle, sign);
            x += 3.0 * CELL + 44.0;
        }
    }
    drawing.quiet(
        (20.0, 282.0),
        12.0,
        Anchor::Start,
        "Strong: the numbers that are there. Faint: where they are read again.",
    );
    Ok(drawing.svg())
}

/// A square and its tangent, whose slope the crate computes.
fn slope() -> Result<String> {
    let at = Tensor::new(1.0).variable();
    let slope = at.square().backward()?.of(&at)?.item()?;
    Ok(LineChart::new("Looked at closely, the curve is its tangent")
        .with_axes("x", "")
        .with_line("x²", sampled(-1.0, 3.0, 81, |x| x * x))
        .with_line("its tangent at 1", sampled(-1.0, 3.0, 2, |x| 1.0 + slope * (x - 1.0)))
        .with_size(560.0, 320.0)
        .picture()
        .svg())
}

/// How wrong a difference quotient is, over the size of the step: the mean over a hundred places.
fn differences() -> Result<String> {
    let error = |dtype: DType| -> Result<Curve> {
        let x = Tensor::linspace(0.5, 1.5, 100).to_dtype(dtype);
        let exact = 1.0 - x.to_dtype(DType::F64).tanh().square();
        let mut points = Vec::new();
        for half in 2..=24 {
            let power = -f64::from(half) / 2.0;
            let h = 10f64.powf(power);
            let slopes = ((&x + h).tanh() - (&x - h).tanh()).to_dtype(DType::F64) / (2.0 * h);
            points.push((power, (slopes - &exact).abs().mean().item()?));
        }
        Ok(points)
    };
    Ok(LineChart::new("The slope of tanh by differences: how wrong")
        .with_axes("h, as a power of ten", "error")
        .with_line("f32", error(DType::F32)?)
        .with_line("f64", error(DType::F64)?)
        .with_logarithmic()
        .with_size(560.0, 320.0)
        .picture()
        .svg())
}

/// Functions and their slopes.
fn activations() -> Result<String> {
    let x = Tensor::linspace(-4.0, 4.0, 161).to_dtype(DType::F64).variable();
    let mut drawn: Option<Picture> = None;
    for (name, y) in [("tanh", x.tanh()), ("relu", x.relu()), ("gelu", x.gelu())] {
        let slopes = y.sum().backward()?;
        let picture = LineChart::new("")
            .with_line(name, pairs(&x, &y)?)
            .with_line(format!("slope of {name}"), pairs(&x, slopes.of(&x)?)?)
            .with_size(480.0, 170.0)
            .picture();
        drawn = Some(match drawn {
            Some(above) => above.above(picture),
            None => picture,
        });
    }
    Ok(drawn.map(|picture| picture.svg()).unwrap_or_default())
}

/// One neuron: what goes forward, and what comes back.
fn neuron() -> Result<String> {
    let w = Tensor::new(0.7).variable().named("w");
    let b = Tensor::new(0.1).variable().named("b");
    let x = Tensor::new(0.5).named("x");
    let trace = trace(|| ((&w * &x + &b).tanh() - 0.8).square())?;
    graph("One neuron, there and back", &trace)
}

/// A number that is used twice.
fn paths() -> Result<String> {
    let x = Tensor::new(3.0).variable().named("x");
    let trace = trace(|| {
        let left = x.square();
        left * (&x * 2.0)
    })?;
    graph("Two paths from x: 36 and 18 come back", &trace)
}

/// Where an optimizer goes on a function of a place.
fn walk<const N: usize>(
    mut optimizer: impl Optimizer,
    f: impl Fn(&Tensor) -> Tensor,
    start: [f64; N],
    steps: usize,
) -> Result<Vec<[f64; N]>> {
    let mut place = Parameter::new(Tensor::new(start));
    let mut places = vec![start];
    for _ in 0..steps {
        let gradients = f(&place).sum().backward()?;
        optimizer.step(&mut place, &gradients)?;
        let now = place.to_vec::<f64>()?;
        places.push(std::array::from_fn(|axis| now[axis]));
    }
    Ok(places)
}

/// Three rates on a parabola.
fn rates() -> Result<String> {
    let mut drawing = Drawing::new(720.0, 260.0);
    drawing.title("x² / 2, descended at three rates");
    for (at, (rate, colour, what)) in
        [(0.1, BLUE, "0.1: slow"), (1.6, GREEN, "1.6: to and fro, and there"), (2.1, ORANGE, "2.1: away")]
            .into_iter()
            .enumerate()
    {
        let plane =
            Plane { across: (-3.0, 3.0), up: (0.0, 4.5), at: (20.0 + 232.0 * at as f64, 70.0), size: (212.0, 160.0) };
        let curve: Vec<Place> =
            sampled(-3.0, 3.0, 61, |x| x * x / 2.0).into_iter().map(|point| plane.place(point)).collect();
        drawing.line(&curve, "#8c959f", 1.5);
        drawing.axis(plane.place((-3.0, 0.0)), plane.place((3.0, 0.0)));
        let steps = walk(Sgd::new(rate), |x| x.square() / 2.0, [if rate > 2.0 { 1.0 } else { 2.7 }], 12)?;
        let steps: Vec<(f64, f64)> = steps.iter().map(|[x]| (*x, x * x / 2.0)).collect();
        plane.path(&mut drawing, &steps, colour);
        drawing.coloured((plane.at.0 + 106.0, 56.0), 13.0, Anchor::Middle, colour, &format!("rate {what}"));
    }
    Ok(drawing.svg())
}

/// Twice a valley that is fifty times as steep across as along.
fn ravine() -> Result<String> {
    let f = |place: &Tensor| (place.square() * Tensor::new([1.0, 50.0])).sum() / 2.0;
    let mut drawing = Drawing::new(720.0, 430.0);
    drawing.title("A ravine: forty steps");
    for (at, name, colour, path) in [
        (0, "plain, rate 0.036", ORANGE, walk(Sgd::new(0.036), f, [8.0, 1.0], 40)?),
        (1, "with momentum 0.7", BLUE, walk(Sgd::new(0.036).with_momentum(0.7), f, [8.0, 1.0], 40)?),
    ] {
        let top = 66.0 + 182.0 * f64::from(at);
        let plane = Plane { across: (-3.0, 9.0), up: (-1.3, 1.3), at: (20.0, top), size: (680.0, 160.0) };
        for level in [0.25f64, 2.0, 8.0, 18.0, 32.0] {
            // x²/2 + 25 y² = level
            let ring = sampled(0.0, std::f64::consts::TAU, 65, |angle| angle).into_iter().map(|(angle, _)| {
                let (x, y) = ((2.0 * level).sqrt() * angle.cos(), (level / 25.0).sqrt() * angle.sin());
                (x, y)
            });
            let inside: Vec<(f64, f64)> = ring.collect();
            for piece in inside.split(|place| !plane.holds(*place)) {
                drawing.line(&piece.iter().map(|place| plane.place(*place)).collect::<Vec<_>>(), "#8c959f", 0.8);
            }
        }
        let steps: Vec<(f64, f64)> = path.iter().map(|[x, y]| (*x, *y)).collect();
        plane.path(&mut drawing, &steps, colour);
        drawing.coloured((700.0, top - 6.0), 13.0, Anchor::End, colour, name);
    }
    Ok(drawing.svg())
}

/// A function with a saddle between two hollows, and two ways down from nearly the same place.
fn saddle() -> Result<String> {
    let f = |place: &Tensor| {
        let (x, y) = (place.select(0, 0), place.select(0, 1));
        x.square() / 2.0 - y.square() / 2.0 + y.square().square() / 4.0
    };
    let mut drawing = Drawing::new(720.0, 330.0);
    drawing.title("A saddle between two hollows (orange is low)");
    let plane = Plane { across: (-1.8, 1.8), up: (-1.5, 1.5), at: (20.0, 44.0), size: (312.0, 256.0) };
    plane.shade(&mut drawing, 8.0, |(x, y)| (x * x / 2.0 - y * y / 2.0 + y.powi(4) / 4.0) * 0.7);
    let ways = [(1e-6, BLUE, "from y = 0.000001"), (0.05, GREEN, "from y = 0.05")];
    let chart = Plane { across: (0.0, 180.0), up: (-0.3, 0.6), at: (400.0, 66.0), size: (300.0, 210.0) };
    for up in [-0.25, 0.0, 0.5] {
        drawing.axis(chart.place((0.0, up)), chart.place((180.0, up)));
        drawing.quiet((chart.at.0 - 8.0, chart.place((0.0, up)).1 + 4.0), 12.0, Anchor::End, &up.to_string());
    }
    drawing.quiet((550.0, 300.0), 12.5, Anchor::Middle, "height over 180 steps");
    for (at, (start, colour, name)) in ways.into_iter().enumerate() {
        let steps = walk(Sgd::new(0.1), f, [1.2, start], 180)?;
        let path: Vec<(f64, f64)> = steps.iter().map(|[x, y]| (*x, *y)).collect();
        plane.path(&mut drawing, &path, colour);
        let mut heights = Vec::new();
        for (step, place) in steps.iter().enumerate() {
            heights.push(chart.place((step as f64, f(&Tensor::new(*place)).item()?)));
        }
        drawing.line(&heights, colour, 2.0);
        drawing.coloured((440.0 + 150.0 * at as f64, 56.0), 12.5, Anchor::Start, colour, name);
    }
    Ok(drawing.svg())
}

/// The same line looked for with few examples at a time: the rate that stays, and one that falls.
fn noise() -> Result<String> {
    let mut random = Random::new(3);
    let x = Tensor::uniform([512, 1], -1.0..1.0, &mut random);
    let y = &x * 2.0 + Tensor::normal([512, 1], 0.0, 0.5, &mut random);
    let run = |falling: bool| -> Result<Curve> {
        let mut weight = Parameter::new(Tensor::zeros([1, 1]));
        let mut draws = Random::new(4);
        let mut away = Vec::new();
        for step in 0..400 {
            let rows = Tensor::permutation(512, &mut draws).narrow(0, 0, 4);
            let loss = (x.index_select(0, &rows).matmul(&weight) - y.index_select(0, &rows)).square().mean();
            let rate = if falling { 0.4 / (1.0 + f64::from(step) / 20.0) } else { 0.4 };
            Sgd::new(rate).step(&mut weight, &loss.backward()?)?;
            away.push((f64::from(step), weight.item()?));
        }
        Ok(away)
    };
    Ok(LineChart::new("The slope of a line, learnt from four points at a time")
        .with_axes("step", "weight")
        .with_line("rate 0.4", run(false)?)
        .with_line("a rate that falls", run(true)?)
        .with_size(640.0, 300.0)
        .picture()
        .svg())
}
