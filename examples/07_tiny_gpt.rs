//! A small GPT: it learns to write by attention, and writes through a key/value cache.
//!
//! ```text
//! cargo run --release --example 07_tiny_gpt
//! cargo run --release --example 07_tiny_gpt -- --data book.txt
//! ```
//!
//! Without a file it learns the small language of `06_char_lstm`. Radford, Wu, Child and others, "Language models are
//! unsupervised multitask learners", 2019.
//!
//! It prints (some twenty seconds on two cores):
//!
//! ```text
//! 132318 characters, 24 different
//! 344160 parameters
//! step    0   loss 3.5436
//! step  160   loss 0.5518
//! step  320   loss 0.4289
//! step  480   loss 0.3934
//! step  640   loss 0.4057
//! step  800   loss 0.4007
//!   seven frogs fear one hare.
//!   two foxes help seven crows.
//!   two cats follow three sleepy cats.
//!   three brave crows follow three tiny frogs.
//!   seven green cats greet two red owls.
//! 44 of 45 lines are sentences of the language (98 %)
//! ```

mod common;

use chainrule::data::{Alphabet, Loader, Windows};
use chainrule::loss::cross_entropy;
use chainrule::nn::Sampler;
use chainrule::nn::{Embedding, Init, Initial, KvCache, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Result, Tensor, module, no_grad};
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
    /// Scores for what follows each token of `text` `[batch, time]`. Caches hold the text before it.
    fn forward(&self, text: &Tensor, mut caches: Option<&mut [KvCache]>) -> Tensor {
        Tensor::compute(|| {
            let [_, time] = text.dims()?;
            let before = caches.as_ref().and_then(|caches| caches.first()).map_or(0, KvCache::len);
            let places = Tensor::arange(before + time).narrow(0, before, time);
            let mut x = self.wte.forward(text) + self.wpe.forward(&places);
            for (i, block) in self.h.iter().enumerate() {
                x = block.forward(&x, caches.as_mut().and_then(|caches| caches.get_mut(i)));
            }
            Ok(self.ln_f.forward(&x).linear(&self.wte.weight, None))
        })
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
            let scores = self.forward(&Tensor::from_slice(&[last], [1, 1])?, Some(&mut caches));
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
    let mut model = Gpt::new(alphabet.len(), &mut Init::new().seed(1))?;
    println!("{} parameters", model.parameter_count());

    let loader = Loader::new(Windows::of_numbers(characters, CONTEXT)?, 16).shuffled(1);
    let steps = common::steps(800, 10);
    let mut optimizer = AdamW::new(3e-3);
    let mut schedule = Cosine::new(steps as u64).after_warm_up(20).start(&mut optimizer);
    for (step, batch) in (0..).flat_map(|epoch| loader.epoch(epoch)).take(steps + 1).enumerate() {
        let batch = batch?;
        let loss = cross_entropy(&model.forward(&batch.input, None).transpose(1, 2), &batch.target);
        let mut gradients = loss.backward()?;
        gradients.clip_norm(1.0)?;
        optimizer.step(&mut model, &gradients)?;
        schedule.step(&mut optimizer);
        if step % (steps / 5) == 0 {
            println!("step {step:4}   loss {:.4}", loss.item()?);
        }
    }

    model.freeze();
    let mut sampler = Sampler::new(1).with_temperature(0.7).with_top_k(8);
    let (count, start) = (common::steps(1500, 150), Instant::now());
    let written = no_grad(|| model.write(&alphabet, count, &mut sampler))?;
    eprintln!("{:.0} characters a second", count as f64 / start.elapsed().as_secs_f64());
    common::show(&written, common::steps(80, 0) as f64)
}
