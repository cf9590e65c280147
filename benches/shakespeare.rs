//! Two language models on a text, to be compared with their PyTorch twin in `benches/peers/shakespeare.py`: the same
//! models, data and measure.
//!
//! `cargo bench --bench shakespeare -- input.txt gpt 1 2 3` (or `lstm`): one line for each seed, the validation loss (nats
//! for a character) after 2000 steps. Without a text it says so and ends.
#![allow(missing_docs)] // a benchmark is no library

use chainrule::data::{Alphabet, Batch, Chance, Dataset, Loader, Windows, read_text};
use chainrule::loss::cross_entropy;
use chainrule::nn::{
    Embedding, Init, Layer, LayerNorm, Linear, Lstm, Masks, Module, Sequence, TransformerEncoder,
    TransformerEncoderLayer,
};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::train::metrics::Mean;
use chainrule::{Random, Result, Tensor, evaluating, module, no_grad};
use std::time::Instant;

const CONTEXT: usize = 64;
const BATCH: usize = 32;
const STEPS: usize = 2000;

struct Gpt {
    token: Embedding,
    place: Embedding,
    body: TransformerEncoder,
    head: Linear,
}
module!(Gpt { token, place, body, head });

impl Layer for Gpt {
    fn forward(&self, text: &Tensor) -> Tensor {
        let x = self.token.forward(text) + self.place.forward(&Tensor::arange(CONTEXT));
        self.head.forward(&self.body.forward_masked(&x, &Masks::new().causal()))
    }
}

fn gpt(characters: usize, init: &mut Init) -> Gpt {
    let layer = TransformerEncoderLayer::options(128, 4).with_feedforward(512).with_dropout(0.0);
    let layer = layer.with_activation(Tensor::gelu).with_norm_first().with_batch_first();
    Gpt {
        token: Embedding::new(characters, 128, init),
        place: Embedding::new(CONTEXT, 128, init),
        body: TransformerEncoder::new(layer, 4, init).with_norm(LayerNorm::new(128, init)),
        head: Linear::new(128, characters, init),
    }
    .named()
}

struct Reader {
    token: Embedding,
    body: Lstm,
    head: Linear,
}
module!(Reader { token, body, head });

impl Layer for Reader {
    fn forward(&self, text: &Tensor) -> Tensor {
        self.head.forward(&self.body.forward_with(&self.token.forward(text), &Sequence::new()).output)
    }
}

fn lstm(characters: usize, init: &mut Init) -> Reader {
    Reader {
        token: Embedding::new(characters, 64, init),
        body: Lstm::options(64, 128).with_layers(2).with_batch_first().build(init),
        head: Linear::new(128, characters, init),
    }
    .named()
}

fn loss_of(model: &impl Layer, batch: &Batch) -> Tensor {
    cross_entropy(&model.forward(&batch.input).transpose(1, 2), &batch.target)
}

fn validation(model: &impl Layer, held_out: &Windows) -> Result<f64> {
    let windows = Loader::new(held_out.clone().with_stride(CONTEXT), 64);
    let mut mean = Mean::new();
    for batch in windows.epoch(0) {
        let batch = batch?;
        let loss = no_grad(|| evaluating(|| loss_of(model, &batch).item()))?;
        mean.add(loss, batch.input.size(0)? as f64);
    }
    mean.value()
}

fn train(model: &mut impl Layer, text: &Windows, held_out: &Windows, seed: u64) -> Result<(f64, f64)> {
    let (mut optimizer, mut random) = (AdamW::new(1e-3), Random::new(seed));
    let start = Instant::now();
    for _ in 0..STEPS {
        // Windows from anywhere, as the twin takes them: some twice, others never.
        let starts: Vec<usize> = (0..BATCH).map(|_| random.below(text.len() as u64) as usize).collect();
        let loss = loss_of(model, &text.batch(&starts, &Chance::new(seed, 0))?);
        optimizer.step(model, &loss.backward()?)?;
    }
    let took = start.elapsed().as_secs_f64();
    Ok((validation(model, held_out)?, took))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [path, kind, seeds @ ..] = arguments.as_slice() else {
        println!("shakespeare: name a text and a model (gpt or lstm), then seeds");
        return Ok(());
    };
    let raw = read_text(path)?;
    let alphabet = Alphabet::of(&raw);
    let mut text = alphabet.encode(&raw)?;
    let held_out = Windows::of_numbers(text.split_off(text.len() * 9 / 10), CONTEXT)?;
    let text = Windows::of_numbers(text, CONTEXT)?;
    for seed in seeds.iter().filter_map(|seed| seed.parse().ok()) {
        let mut init = Init::new().seed(seed);
        let (loss, took) = match kind.as_str() {
            "gpt" => train(&mut gpt(alphabet.len(), &mut init), &text, &held_out, seed)?,
            _ => train(&mut lstm(alphabet.len(), &mut init), &text, &held_out, seed)?,
        };
        println!("chainrule {kind} seed {seed}: validation loss {loss:.4}, {took:.0} s");
    }
    Ok(())
}
