//! Pictures of chapter 8: what comes back through time.

use super::Shown;
use super::drawing::{Anchor, BLUE, Drawing, ORANGE, number};
use chainrule::explain::chart::LineChart;
use chainrule::loss::binary_cross_entropy_with_logits;
use chainrule::nn::{Init, Layer, Linear, LstmCell, Module, RnnCell};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{DType, Random, Result, Tensor, module};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |name, svg| shown.push(Shown { chapter: "08_recurrence", name, svg });
    add("unrolled", unrolled()?);
    add("vanishing", vanishing()?);
    add("remembering", remembering()?);
    Ok(shown)
}

/// Three steps of one number of state, unrolled: what goes forward, and what comes back.
fn unrolled() -> Result<String> {
    // A weight for each step, so that its part of the gradient can be told.
    let weights = [0; 3].map(|_| Tensor::new(0.6).variable());
    let mut states = vec![Tensor::new(0.9).variable()];
    for w in &weights {
        let last = &states[states.len() - 1];
        states.push((w * last + 0.1).tanh());
    }
    let asked: Vec<&Tensor> = states.iter().chain(&weights).collect();
    let gradients = states[3].gradients_of(&asked)?;
    let back = |at: usize| -> Result<f64> { gradients[at].item() };

    let mut drawing = Drawing::new(720.0, 290.0);
    drawing.title("h ← tanh(w · h + 0.1), three times");
    let grey = "#8c959f";
    let mut total = 0.0;
    for (step, state) in states.iter().enumerate() {
        let left = 20.0 + 192.0 * step as f64;
        drawing.frame((left, 56.0), (104.0, 62.0), if step == 0 { BLUE } else { grey });
        drawing.text((left + 52.0, 74.0), 12.5, Anchor::Middle, &format!("h{step}"));
        drawing.coloured((left + 52.0, 91.0), 12.0, Anchor::Middle, BLUE, &number(state.item()?));
        drawing.coloured((left + 52.0, 108.0), 12.0, Anchor::Middle, ORANGE, &format!("← {}", number(back(step)?)));
        if step < weights.len() {
            let part = back(states.len() + step)?;
            total += part;
            let meet = (left + 148.0, 87.0);
            drawing.arrow((left + 104.0, 87.0), (left + 190.0, 87.0), grey);
            drawing.arrow((360.0, 220.0), (meet.0, meet.1 + 3.0), grey);
            let beside = (0.45 * meet.0 + 0.55 * 360.0 + 10.0 + 6.0 * step as f64, 0.45 * meet.1 + 0.55 * 220.0);
            drawing.coloured(beside, 12.0, Anchor::Start, ORANGE, &format!("← {}", number(part)));
        }
    }
    drawing.frame((308.0, 220.0), (104.0, 58.0), BLUE);
    drawing.text((360.0, 238.0), 12.5, Anchor::Middle, "w");
    drawing.coloured((360.0, 254.0), 12.0, Anchor::Middle, BLUE, "0.6");
    drawing.coloured((360.0, 270.0), 12.0, Anchor::Middle, ORANGE, &format!("← {}", number(total)));
    Ok(drawing.svg())
}

/// Reads a sequence with a plain cell or with an LSTM, and answers.
struct Reader {
    plain: Option<RnnCell>,
    lstm: Option<LstmCell>,
    head: Linear,
}
module!(Reader { plain, lstm, head });

/// The three that are compared: their names, whether they have gates, and what is added to the bias of the forget gates.
const READERS: [(&str, bool, f32); 3] =
    [("plain", false, 0.0), ("LSTM", true, 0.0), ("LSTM that begins by keeping", true, 2.0)];

impl Reader {
    fn new(gates: bool, keep: f32, width: usize, seed: u64) -> Result<Reader> {
        let mut init = Init::new().seed(seed);
        let (mut plain, mut lstm) = (None, None);
        if gates {
            let mut cell = LstmCell::new(1, width, &mut init);
            let mut bias = vec![0.0; 4 * width];
            bias[width..2 * width].fill(keep);
            if let Some(parameter) = &mut cell.bias_ih {
                parameter.set(&Tensor::from_vec(bias, [4 * width])?)?;
            }
            lstm = Some(cell);
        } else {
            plain = Some(RnnCell::new(1, width, &mut init));
        }
        Ok(Reader { plain, lstm, head: Linear::new(width, 1, &mut init) }.named())
    }
    /// The state after these inputs.
    fn read(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let [_, width] = self.head.weight.dims()?;
        let [batch, _] = inputs[0].dims()?;
        let (mut hidden, mut memory) = (Tensor::zeros([batch, width]), Tensor::zeros([batch, width]));
        for x in inputs {
            if let Some(cell) = &self.plain {
                hidden = cell.forward(x, &hidden);
            }
            if let Some(cell) = &self.lstm {
                [hidden, memory] = cell.forward(x, &hidden, &memory);
            }
        }
        Ok(hidden)
    }
}

/// How much comes back to each input.
fn vanishing() -> Result<String> {
    let mut chart = LineChart::new("What comes back to each of fifty inputs")
        .with_axes("input", "size of its gradient")
        .with_logarithmic()
        .with_size(680.0, 340.0);
    for (name, gates, keep) in READERS {
        let reader = Reader::new(gates, keep, 8, 1)?;
        let mut random = Random::new(1);
        let inputs: Vec<Tensor> = (0..50).map(|_| Tensor::uniform([1, 1], -1.0..1.0, &mut random).variable()).collect();
        let gradients = reader.read(&inputs)?.square().sum().backward()?;
        let mut sizes = Vec::new();
        for (at, input) in inputs.iter().enumerate() {
            sizes.push((at as f64, gradients.of(input)?.abs().item()?));
        }
        chart = chart.with_line(name, sizes);
    }
    Ok(chart.picture().svg())
}

/// How they learn to say what the first of thirty-one inputs was.
fn remembering() -> Result<String> {
    let mut chart = LineChart::new("Which sign had the first of 31 inputs?")
        .with_axes("step of the training", "right answers")
        .with_size(680.0, 300.0);
    for (name, gates, keep) in READERS {
        let mut reader = Reader::new(gates, keep, 12, 1)?;
        let (mut optimizer, mut random) = (Adam::new(0.01), Random::new(5));
        let (mut points, mut smooth) = (Vec::new(), 0.5);
        for step in 0..250 {
            let sign = Tensor::uniform([32, 1], -1.0..1.0, &mut random).sign();
            let noise = Tensor::normal([32, 30], 0.0, 0.3, &mut random);
            let mut inputs = vec![sign.clone()];
            inputs.extend((0..30).map(|at| noise.narrow(1, at, 1)));
            let score = reader.head.forward(&reader.read(&inputs)?);
            let loss = binary_cross_entropy_with_logits(&score, &sign.greater(0.0).to_dtype(DType::F32));
            let mut gradients = loss.backward()?;
            gradients.clip_norm(1.0)?;
            optimizer.step(&mut reader, &gradients)?;
            let right = score.sign().equal(&sign).to_dtype(DType::F64).mean().item()?;
            smooth = 0.9 * smooth + 0.1 * right;
            points.push((f64::from(step), smooth));
        }
        chart = chart.with_line(name, points);
    }
    Ok(chart.picture().svg())
}
