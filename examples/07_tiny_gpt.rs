//! A small GPT: it learns to write by attention, and writes through a key/value cache.
//!
//! ```text
//! cargo run --release --example 07_tiny_gpt
//! cargo run --release --example 07_tiny_gpt -- --data book.txt
//! cargo run --release --features cuda --example 07_tiny_gpt -- --device cuda
//! cargo run --release --example 07_tiny_gpt -- --out runs/gpt        # where history, checkpoints and report go
//! ```
//!
//! Without a file it learns the small language of `06_char_lstm`. Its report shows what each letter of a sentence looks at: where
//! a plural may follow, at the number that stands before. Radford, Wu, Child and others, "Language models are
//! unsupervised multitask learners", 2019.
//!
//! It prints (some twenty seconds on two cores):
//!
//! ```text
//! 132318 characters, 24 different
//! 344160 parameters
//! epoch 1/6  loss 1.2298  ...
//! ...
//! epoch 6/6  loss 0.3871  ...
//! what its attention looks at: /tmp/chainrule-gpt/report.html
//!   four brave foxes see seven cats.
//!   two hares follow four cats.
//!   two foxes fear seven red foxes.
//!   one tiny cat greets two foxes.
//!   three red owls help two owls.
//! 46 of 46 lines are sentences of the language (100 %)
//! ```

mod common;

use chainrule::data::{Alphabet, Batch, Loader, Windows};
use chainrule::explain::chart::{HeatMap, Picture};
use chainrule::loss::cross_entropy;
use chainrule::nn::Sampler;
use chainrule::nn::{Embedding, Init, Initial, KvCache, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention};
use chainrule::optim::AdamW;
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::train::Trainer;
use chainrule::{DType, Result, Tensor, module, no_grad};
use std::path::PathBuf;
use std::time::Instant;

const WIDTH: usize = 96;
const HEADS: usize = 4;
const LAYERS: usize = 3;
const CONTEXT: usize = 64;

/// Attention looks back, two linear layers think; each adds to what it was given.
struct Block {
    ln_1: LayerNorm,
    attn: MultiheadAttention,
    ln_2: LayerNorm,
    fc: Linear,
    proj: Linear,
}
module!(Block { ln_1, attn, ln_2, fc, proj });

impl Block {
    fn new(init: &mut Init) -> Block {
        Block {
            ln_1: LayerNorm::new(WIDTH, init),
            attn: MultiheadAttention::options(WIDTH, HEADS).with_batch_first().build(init),
            ln_2: LayerNorm::new(WIDTH, init),
            fc: Linear::new(WIDTH, 4 * WIDTH, init),
            proj: Linear::new(4 * WIDTH, WIDTH, init),
        }
    }
    /// `x` `[batch, time, width]`; with a cache, `x` is what follows the text that the cache holds.
    fn forward(&self, x: &Tensor, cache: Option<&mut KvCache>) -> Tensor {
        let seen = self.ln_1.forward(x);
        let found = match cache {
            Some(cache) => self.attn.attend_cached(&seen, cache, &Masks::new().causal()),
            None => self.attn.attend(&seen, &seen, &seen, &Masks::new().causal()),
        };
        self.think(x, found)
    }
    /// What becomes of `x`, and how much each place looked at each: `[batch, heads, time, time]`.
    fn forward_with_looks(&self, x: &Tensor) -> (Tensor, Tensor) {
        let seen = self.ln_1.forward(x);
        let (found, looks) = self.attn.attend_with_weights(&seen, &seen, &seen, &Masks::new().causal(), false);
        (self.think(x, found), looks)
    }
    fn think(&self, x: &Tensor, found: Tensor) -> Tensor {
        let x = x + found;
        &x + self.proj.forward(&self.fc.forward(&self.ln_2.forward(&x)).gelu())
    }
}

/// Token and position become one vector; what comes out is compared with every token's vector: the table is used twice.
struct Gpt {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Block>,
    ln_f: LayerNorm,
}
module!(Gpt { wte, wpe, h, ln_f } alias "lm_head.weight" => "wte.weight");

impl Gpt {
    fn new(tokens: usize, init: &mut Init) -> Result<Gpt> {
        let law = Initial::Normal { mean: 0.0, deviation: 0.08 };
        let mut model = Gpt {
            wte: Embedding::new(tokens, WIDTH, init),
            wpe: Embedding::new(CONTEXT, WIDTH, init),
            h: (0..LAYERS).map(|_| Block::new(init)).collect(),
            ln_f: LayerNorm::new(WIDTH, init),
        };
        for table in [&mut model.wte.weight, &mut model.wpe.weight] {
            let start = init.tensor(table.shape()?, law);
            table.set(&start)?;
        }
        Ok(model.named())
    }
    /// A line of one text, where the model is.
    fn letters(&self, numbers: &[i64]) -> Result<Tensor> {
        Ok(Tensor::from_slice(numbers, [1, numbers.len()])?.to(self.wte.weight.device()?))
    }
    /// Each token's vector and its place's; so many tokens stand before the first.
    fn embed(&self, text: &Tensor, before: usize) -> Result<Tensor> {
        let [_, time] = text.dims()?;
        let places = Tensor::arange(before + time).narrow(0, before, time).to(text.device()?);
        Ok(self.wte.forward(text) + self.wpe.forward(&places))
    }
    /// Scores for what follows each token of `text` `[batch, time]`. Caches hold the text before it.
    fn forward(&self, text: &Tensor, mut caches: Option<&mut [KvCache]>) -> Tensor {
        Tensor::compute(|| {
            let before = caches.as_ref().and_then(|caches| caches.first()).map_or(0, KvCache::len);
            let mut x = self.embed(text, before)?;
            for (i, block) in self.h.iter().enumerate() {
                x = block.forward(&x, caches.as_mut().and_then(|caches| caches.get_mut(i)));
            }
            Ok(self.ln_f.forward(&x).linear(&self.wte.weight, None))
        })
    }
    /// What the heads of each block look at in a line: a row for each letter, a column for each letter before it.
    fn looks(&self, alphabet: &Alphabet, line: &str) -> Result<Picture> {
        let letters: Vec<String> =
            line.chars().map(|letter| if letter == ' ' { '␣' } else { letter }.to_string()).collect();
        let numbers = alphabet.encode(line)?;
        let mut x = self.embed(&self.letters(&numbers)?, 0)?;
        let mut pictures: Option<Picture> = None;
        for (i, block) in self.h.iter().enumerate() {
            let (next, looks) = block.forward_with_looks(&x);
            x = next;
            let most = looks.max_along(1).0.to_dtype(DType::F64).to_vec::<f64>()?;
            let rows: Vec<Vec<f64>> = most.chunks(letters.len()).map(<[f64]>::to_vec).collect();
            let map = HeatMap::new(format!("Block {}: the head that looks most", i + 1), &rows)
                .with_names(letters.clone(), letters.clone())
                .with_axes("is looked at", "looks")
                .with_shades(&rows)
                .picture();
            pictures = Some(match pictures {
                Some(above) => above.above(map),
                None => map,
            });
        }
        Ok(pictures.unwrap_or_else(|| HeatMap::new("", &[]).picture()))
    }
    /// Goes on from a line's beginning, a token at a time through the cache; starts anew when the context is full.
    fn write(&self, alphabet: &Alphabet, count: usize, sampler: &mut Sampler) -> Result<String> {
        let mut written: Vec<i64> = Vec::new();
        let start = alphabet.number('\n').unwrap_or(0);
        let mut last = start;
        let mut caches = vec![KvCache::with_room(CONTEXT); LAYERS];
        while written.len() < count {
            // A line is short enough for the context; the next begins with nothing to remember.
            if last == start || caches[0].len() == CONTEXT {
                caches.iter_mut().for_each(KvCache::clear);
            }
            let scores = self.forward(&self.letters(&[last])?, Some(&mut caches));
            last = sampler.choose(&scores.reshape(-1))?.item()? as i64;
            written.push(last);
        }
        alphabet.decode(&written)
    }
}

fn main() -> Result<()> {
    let text = common::text()?;
    let alphabet = Alphabet::of(&text);
    let characters = alphabet.encode(&text)?;
    println!("{} characters, {} different", characters.len(), alphabet.len());
    let device = common::device()?;
    let mut model = Gpt::new(alphabet.len(), &mut Init::on(&device).seed(1))?;
    println!("{} parameters", model.parameter_count());

    let seen = characters.iter().copied().take(common::steps(usize::MAX, 3_000)).collect();
    let loader = Loader::new(Windows::of_numbers(seen, CONTEXT)?.with_stride(CONTEXT), 16);
    let loader = loader.shuffled(1).on(device);
    let epochs = common::steps(6, 1) as u64;
    let steps = epochs * loader.len() as u64;
    let folder = common::after("--out").map_or_else(|| std::env::temp_dir().join("chainrule-gpt"), PathBuf::from);
    let line = text.lines().next().unwrap_or_default();
    let mut trainer = Trainer::new(|model: &Gpt, batch: &Batch| {
        cross_entropy(&model.forward(&batch.input, None).transpose(1, 2), &batch.target)
    })
    .with_epochs(epochs)
    .with_schedule(Cosine::new(steps.saturating_sub(20)).after_warm_up(20))
    .with_clip_norm(1.0)
    .with_folder(&folder)
    .with_report_picture("What each letter looks at", |model: &Gpt| no_grad(|| model.looks(&alphabet, line)));
    trainer.fit(&mut model, &mut AdamW::new(3e-3), &loader)?;
    println!("what its attention looks at: {}", folder.join("report.html").display());

    model.freeze();
    let mut sampler = Sampler::new(1).with_temperature(0.7).with_top_k(8);
    let (count, start) = (common::steps(1500, 60), Instant::now());
    let written = no_grad(|| model.write(&alphabet, count, &mut sampler))?;
    eprintln!("{:.0} characters a second", count as f64 / start.elapsed().as_secs_f64());
    common::show(&written, common::steps(80, 0) as f64)
}
