//! Backpropagation as a film: a pass through four networks, forward, backward and the update, moment by moment.
//!
//! ```text
//! cargo run --release --example 17_trace
//! cargo run --release --example 17_trace -- --out pages
//! ```
//!
//! Each network becomes a page that needs nothing but a browser: a graph of its modules and operations, and a slider that
//! walks through every moment. The smallest is also printed:
//!
//! ```text
//! forward
//!   1  0  linear              x, 0.weight, 0.bias   y = x · Wᵀ + b         [2, 3] -1.511 … 0.6461
//! ...
//! ```

mod common;

use chainrule::data::Loader;
use chainrule::data::builtin::Digits;
use chainrule::explain::{Trace, trace};
use chainrule::nn::{
    BatchNorm2d, Conv2d, Embedding, Flatten, Init, Layer, LayerNorm, Linear, LstmCell, Masks, MaxPool2d, Module,
    MultiheadAttention, Relu, Sequential, Tanh,
};
use chainrule::optim::{AdamW, Sgd};
use chainrule::{Result, Tensor, cross_entropy, module, mse_loss};
use std::path::PathBuf;

/// Two inputs, three hidden units, one output: every number stands on the page.
fn tiny() -> Result<Trace> {
    let mut init = Init::new().seed(1);
    let mut model =
        Sequential::new().then(Linear::new(2, 3, &mut init)).then(Tanh).then(Linear::new(3, 1, &mut init)).named();
    let x = Tensor::from([[0.5, -1.0], [1.5, 2.0]]).named("x");
    let target = Tensor::from([[1.0], [0.0]]).named("target");
    let mut trace = trace(|| mse_loss(&model.forward(&x), &target))?;
    trace.update(&mut model, &mut Sgd::new(0.1))?;
    Ok(trace)
}

/// Reads a word letter by letter with the same cell, and says what comes last.
struct Reader {
    letters: Embedding,
    cell: LstmCell,
    head: Linear,
}
module!(Reader { letters, cell, head });

fn recurrent() -> Result<Trace> {
    let (mut init, width) = (Init::new().seed(2), 6);
    let mut model = Reader {
        letters: Embedding::new(5, 4, &mut init),
        cell: LstmCell::new(4, width, &mut init),
        head: Linear::new(width, 5, &mut init),
    }
    .named();
    let word = Tensor::from([[0i64, 3, 1, 4, 2, 2]]).named("word");
    let target = Tensor::from([1i64]).named("target");
    let mut trace = trace(|| {
        let (mut hidden, mut memory) = (Tensor::zeros([1, width]), Tensor::zeros([1, width]));
        for step in 0..6 {
            let letter = model.letters.forward(&word.select(1, step));
            [hidden, memory] = model.cell.forward(&letter, &hidden, &memory);
            hidden = hidden.named(&format!("hidden {}", step + 1));
        }
        cross_entropy(&model.head.forward(&hidden), &target)
    })?;
    trace.update(&mut model, &mut AdamW::new(0.01))?;
    Ok(trace)
}

/// Looks at handwritten digits.
fn convolution() -> Result<Trace> {
    let mut init = Init::new().seed(3);
    let mut model = Sequential::new()
        .then(Conv2d::new(1, 4, 5, &mut init))
        .then(BatchNorm2d::new(4, &mut init))
        .then(Relu)
        .then(MaxPool2d::new(4))
        .then(Flatten::new())
        .then(Linear::new(4 * 6 * 6, 10, &mut init))
        .named();
    let digits = Digits::new(8);
    let batch = Loader::new(digits, 8).epoch(0).next().expect("there are digits")?;
    let (input, target) = (batch.input.named("digits"), batch.target.named("labels"));
    let mut trace = trace(|| cross_entropy(&model.forward(&input), &target))?;
    trace.update(&mut model, &mut AdamW::new(0.01))?;
    Ok(trace)
}

/// A block of a transformer: it looks back, then thinks.
struct Block {
    ln_1: LayerNorm,
    attn: MultiheadAttention,
    ln_2: LayerNorm,
    fc: Linear,
    proj: Linear,
}
module!(Block { ln_1, attn, ln_2, fc, proj });

struct Gpt {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Block>,
    ln_f: LayerNorm,
}
module!(Gpt { wte, wpe, h, ln_f });

impl Gpt {
    fn new(tokens: usize, context: usize, width: usize, init: &mut Init) -> Gpt {
        let block = |init: &mut Init| Block {
            ln_1: LayerNorm::new(width, init),
            attn: MultiheadAttention::options(width, 2).with_batch_first().build(init),
            ln_2: LayerNorm::new(width, init),
            fc: Linear::new(width, 4 * width, init),
            proj: Linear::new(4 * width, width, init),
        };
        Gpt {
            wte: Embedding::new(tokens, width, init),
            wpe: Embedding::new(context, width, init),
            h: (0..2).map(|_| block(init)).collect(),
            ln_f: LayerNorm::new(width, init),
        }
        .named()
    }
    fn forward(&self, text: &Tensor, places: &Tensor) -> Tensor {
        let mut x = self.wte.forward(text) + self.wpe.forward(places);
        for block in &self.h {
            let seen = block.ln_1.forward(&x);
            x = &x + block.attn.attend(&seen, &seen, &seen, &Masks::new().causal());
            x = &x + block.proj.forward(&block.fc.forward(&block.ln_2.forward(&x)).gelu());
        }
        // what comes out is compared with the vector of every token
        self.ln_f.forward(&x).matmul(&self.wte.weight.transpose(0, 1))
    }
}

fn transformer() -> Result<Trace> {
    let mut model = Gpt::new(12, 8, 16, &mut Init::new().seed(4));
    let text = Tensor::from([[3i64, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]]).named("text");
    let next = Tensor::from([[1i64, 4, 1, 5, 9, 2, 6, 5], [7, 1, 8, 2, 8, 1, 8, 2]]).named("next");
    let places = Tensor::arange(8usize).named("places");
    let mut trace = trace(|| cross_entropy(&model.forward(&text, &places).transpose(1, 2), &next))?;
    trace.update(&mut model, &mut AdamW::new(0.01))?;
    Ok(trace)
}

fn main() -> Result<()> {
    let folder = common::after("--out").map_or_else(|| std::env::temp_dir().join("chainrule-traces"), PathBuf::from);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display())).expect("a folder");
    let smallest = tiny()?;
    println!("{smallest}");
    for (name, trace) in [
        ("tiny network", smallest),
        ("recurrent network", recurrent()?),
        ("convolution network", convolution()?),
        ("transformer", transformer()?),
    ] {
        let path = folder.join(format!("{}.html", name.replace(' ', "_")));
        trace.save(&path)?;
        trace.save(path.with_extension("json"))?;
        let kilobytes = std::fs::metadata(&path).map_or(0, |file| file.len() / 1000);
        let (operations, moments) = (trace.operations().len(), trace.moments().len());
        println!("{name}: {operations} operations, {moments} moments back, {kilobytes} KB in {}", path.display());
        for finding in trace.findings() {
            println!("  {finding}");
        }
    }
    Ok(())
}
