//! Whole training steps: forward, backward, the optimizer.

use crate::kind::{F32, TF32};
use crate::measure::{Bench, Work};
use crate::{normal, numbers};
use chainrule::loss::cross_entropy;
use chainrule::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Embedding, Flatten, Init, Initial, Layer, LayerNorm, Linear, Lstm,
    Module, Relu, Sequential,
};
use chainrule::optim::{Adam, AdamW, Optimizer};
use chainrule::{Attention, DType, Result, Tensor, autocast, module};

pub(crate) fn all(bench: &Bench) -> Result<()> {
    perceptron(bench)?;
    residual(bench)?;
    recurrent(bench)?;
    language(bench)
}

/// One step of a training; what it returns is the loss.
fn learn<M: Module>(model: &mut M, optimizer: &mut impl Optimizer, loss: impl Fn(&M) -> Tensor) -> Result<Tensor> {
    let loss = loss(model);
    optimizer.step(model, &loss.backward()?)?;
    Ok(loss)
}

/// 784-512-512-10 with dropout: short kernels, so that what is around them counts.
fn perceptron(bench: &Bench) -> Result<()> {
    for batch in [64, 4096] {
        let name = format!("train_mlp_b{batch}");
        if !bench.wants(&name) {
            continue;
        }
        let mut init = Init::on(&bench.device).seed(1);
        let width = bench.size(512, 16);
        let batch = bench.size(batch, 4);
        let mut model = Sequential::new()
            .then(Linear::new(784, width, &mut init))
            .then(Relu)
            .then(Dropout::new(if bench.is_check() { 0.0 } else { 0.1 }, &mut init))
            .then(Linear::new(width, width, &mut init))
            .then(Relu)
            .then(Linear::new(width, 10, &mut init))
            .named();
        let (x, y) = (normal(bench, &[batch, 784], DType::F32)?, numbers(&[batch], 10, bench.device)?);
        bench.write(&name, &model, &[("x", &x), ("y", &y)])?;
        let mut adam = Adam::new(1e-3);
        let mut step = || learn(&mut model, &mut adam, |model| cross_entropy(&model.forward(&x), &y));
        bench.run(&name, Work::Items(batch, "examples"), &mut step)?;
        let mut captured = bench.device.capture(step);
        bench.run(&format!("{name}@captured"), Work::Items(batch, "examples"), || captured.replay())?;
    }
    Ok(())
}

/// Two convolutions whose result is added to what they were given.
#[derive(Clone, Debug)]
struct Block {
    conv1: Conv2d,
    norm1: BatchNorm2d,
    conv2: Conv2d,
    norm2: BatchNorm2d,
}
module!(Block { conv1, norm1, conv2, norm2 });

impl Layer for Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.norm1.forward(&self.conv1.forward(x)).relu();
        (self.norm2.forward(&self.conv2.forward(&y)) + x).relu()
    }
}

/// Four residual blocks of 64 channels on pictures of 32 x 32.
fn residual(bench: &Bench) -> Result<()> {
    if !bench.wants("train_residual") {
        return Ok(());
    }
    let mut init = Init::on(&bench.device).seed(1);
    let (batch, channels, size) = (bench.size(256, 2), bench.size(64, 4), bench.size(32, 8));
    let conv =
        |inputs, init: &mut Init| Conv2d::options(inputs, channels, 3).with_padding(1).without_bias().build(init);
    let mut model = Sequential::new().then(conv(3, &mut init));
    for _ in 0..bench.size(4, 1) {
        model = model.then(Block {
            conv1: conv(channels, &mut init),
            norm1: BatchNorm2d::new(channels, &mut init),
            conv2: conv(channels, &mut init),
            norm2: BatchNorm2d::new(channels, &mut init),
        });
    }
    let model = model.then(AdaptiveAvgPool2d::new(1)).then(Flatten::new());
    let mut model = model.then(Linear::new(channels, 10, &mut init)).named();
    let (x, y) = (normal(bench, &[batch, 3, size, size], DType::F32)?, numbers(&[batch], 10, bench.device)?);
    bench.write("train_residual", &model, &[("x", &x), ("y", &y)])?;
    let mut adam = Adam::new(1e-3);
    bench.run("train_residual", Work::Items(batch, "pictures"), || {
        learn(&mut model, &mut adam, |model| cross_entropy(&model.forward(&x), &y))
    })
}

/// One LSTM layer over 128 steps.
fn recurrent(bench: &Bench) -> Result<()> {
    if !bench.wants("train_lstm") {
        return Ok(());
    }
    let (time, batch, width) = (bench.size(128, 3), bench.size(64, 2), bench.size(512, 4));
    let mut model = Lstm::new(width, width, &mut Init::on(&bench.device).seed(1));
    let x = normal(bench, &[time, batch, width], DType::F32)?;
    bench.write("train_lstm", &model, &[("x", &x)])?;
    let mut adam = Adam::new(1e-3);
    bench.run("train_lstm", Work::Items(time * batch, "tokens"), || {
        learn(&mut model, &mut adam, |model| model.forward(&x).output.square().mean())
    })
}

/// Sizes of a GPT.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    context: usize,
    width: usize,
    heads: usize,
    depth: usize,
}

/// A block of a GPT.
struct Attentive {
    n1: LayerNorm,
    qkv: Linear,
    out: Linear,
    n2: LayerNorm,
    up: Linear,
    down: Linear,
    heads: usize,
}
module!(Attentive { n1, qkv, out, n2, up, down; heads });

impl Attentive {
    fn new(sizes: Sizes, init: &mut Init) -> Attentive {
        let width = sizes.width;
        Attentive {
            n1: LayerNorm::new(width, init),
            qkv: Linear::new(width, 3 * width, init),
            out: Linear::new(width, width, init),
            n2: LayerNorm::new(width, init),
            up: Linear::new(width, 4 * width, init),
            down: Linear::new(4 * width, width, init),
            heads: sizes.heads,
        }
    }
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [batch, time, width] = x.dims()?;
        let heads = |part: Tensor| part.reshape([batch, time, self.heads, width / self.heads]).transpose(1, 2);
        let [q, k, v] = self.qkv.forward(&self.n1.forward(x)).parts(-1).map(heads);
        let seen = q.scaled_dot_product_attention(&k, &v, &Attention::new().causal(true));
        let x = x + self.out.forward(&seen.transpose(1, 2).reshape([batch, time, width]));
        Ok(&x + self.down.forward(&self.up.forward(&self.n2.forward(&x)).gelu_tanh()))
    }
}

/// A GPT whose scores are compared with the vectors of its tokens.
struct Gpt {
    wte: Embedding,
    wpe: Embedding,
    blocks: Vec<Attentive>,
    norm: LayerNorm,
}
module!(Gpt { wte, wpe, blocks, norm });

impl Gpt {
    fn new(sizes: Sizes, init: &mut Init) -> Result<Gpt> {
        let mut model = Gpt {
            wte: Embedding::new(sizes.tokens, sizes.width, init),
            wpe: Embedding::new(sizes.context, sizes.width, init),
            blocks: (0..sizes.depth).map(|_| Attentive::new(sizes, init)).collect(),
            norm: LayerNorm::new(sizes.width, init),
        };
        for table in [&mut model.wte.weight, &mut model.wpe.weight] {
            let start = init.tensor(table.shape()?, Initial::Normal { mean: 0.0, deviation: 0.02 });
            table.set(&start)?;
        }
        Ok(model.named())
    }
    fn forward(&self, tokens: &Tensor, places: &Tensor) -> Tensor {
        Tensor::compute(|| {
            let mut x = self.wte.forward(tokens) + self.wpe.forward(places);
            for block in &self.blocks {
                x = block.forward(&x)?;
            }
            Ok(self.norm.forward(&x).linear(&self.wte.weight, None))
        })
    }
}

/// GPT-2 small: 124 M numbers, 1024 tokens of context, batches of 8.
fn language(bench: &Bench) -> Result<()> {
    let small = Sizes { tokens: 50257, context: 1024, width: 768, heads: 12, depth: 12 };
    let quick = Sizes { tokens: 100, context: 16, width: 32, heads: 2, depth: 1 };
    let sizes = if bench.quick { quick } else { small };
    // With autocast what is left in f32 may go by tf32, as it does in PyTorch's twin.
    for (name, kind, mixed) in [("f32", F32, false), ("tf32", TF32, false), ("autocast", TF32, true)] {
        let name = format!("train_gpt2_{name}");
        if !bench.wants(&name) {
            continue;
        }
        let batch = bench.size(8, 2);
        let mut model = Gpt::new(sizes, &mut Init::on(&bench.device).seed(1))?;
        let tokens = numbers(&[batch, sizes.context], sizes.tokens as i64, bench.device)?;
        let places = Tensor::arange(sizes.context).to(bench.device);
        let follow = numbers(&[batch * sizes.context], sizes.tokens as i64, bench.device)?;
        bench.write("train_gpt2", &model, &[("x", &tokens), ("y", &follow)])?;
        let mut adamw = AdamW::new(6e-4);
        let scores = |model: &Gpt| model.forward(&tokens, &places).reshape([-1, sizes.tokens as isize]);
        let cast = if mixed { DType::BF16 } else { DType::F32 };
        let loss = |model: &Gpt| autocast(cast, || cross_entropy(&scores(model), &follow));
        let mut step = || kind.within(|| learn(&mut model, &mut adamw, loss));
        let work = || Work::Items(batch * sizes.context, "tokens");
        bench.run(&name, work(), &mut step)?;
        let mut captured = bench.device.capture(step);
        bench.run(&format!("{name}@captured"), work(), || captured.replay())?;
    }
    Ok(())
}
