//! The networks a to e and the small ones of f: each as a user would write it, and what one step of it is.

use crate::Workloads;
use chainrule::loss::{cross_entropy, mse_loss};
use chainrule::nn::{
    BatchNorm2d, Conv2d, Embedding, Init, KvCache, Layer, LayerNorm, Linear, Lstm, Module, Relu, Sequential, Tanh,
    in_turn,
};
use chainrule::optim::{Adam, AdamW, Optimizer, Sgd};
use chainrule::{Attention, Random, Result, Tensor, module};

pub(crate) fn all(workloads: &Workloads) -> Result<()> {
    perceptron(workloads)?;
    digits(workloads)?;
    residual(workloads)?;
    language(workloads)?;
    recurrent(workloads)?;
    small(workloads)
}

fn normal(sizes: &[usize]) -> Tensor {
    Tensor::normal(sizes, 0.0, 1.0, &mut Random::new(1))
}

fn labels(count: usize, classes: i64) -> Result<Tensor> {
    Tensor::from_vec((0..count as i64).map(|i| (i * 7 + 3) % classes).collect(), [count])
}

/// One step of a training: the loss, its gradients, the update.
fn learn<M: Module>(model: &mut M, optimizer: &mut impl Optimizer, loss: impl Fn(&M) -> Tensor) -> Result<Tensor> {
    let loss = loss(model);
    optimizer.step(model, &loss.backward()?)?;
    Ok(loss)
}

/// a: 784-512-512-10 with Adam.
fn perceptron(workloads: &Workloads) -> Result<()> {
    for batch in [64, 1024] {
        if !workloads.wants(&format!("a_mlp_b{batch}")) {
            continue;
        }
        let (x, y) = (normal(&[batch, 784]), labels(batch, 10)?);
        let mut model = layers(&[784, 512, 512, 10]);
        workloads.write(&format!("a_mlp_b{batch}"), &model, &[("x", &x), ("y", &y)])?;
        let mut adam = Adam::new(1e-3);
        workloads.run(&format!("a_mlp_b{batch}_train"), 2.5, || {
            learn(&mut model, &mut adam, |model| cross_entropy(&model.forward(&x), &y))
        })?;
        model.freeze();
        workloads.run(&format!("a_mlp_b{batch}_infer"), 1.5, || Ok(model.forward(&x)))?;
    }
    Ok(())
}

/// Linear layers with ReLU between them.
fn layers(sizes: &[usize]) -> Sequential {
    let mut init = Init::new();
    let mut model = Sequential::new();
    for (i, pair) in sizes.windows(2).enumerate() {
        if i > 0 {
            model = model.then(Relu);
        }
        model = model.then(Linear::new(pair[0], pair[1], &mut init));
    }
    model.named()
}

/// b: a convolution network for digits.
struct Digits {
    c1: Conv2d,
    c2: Conv2d,
    f1: Linear,
    f2: Linear,
}
module!(Digits { c1, c2, f1, f2 });

impl Layer for Digits {
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = in_turn(x, &[&self.c1, &Relu, &self.c2, &Relu]).max_pool2d(2);
        self.f2.forward(&self.f1.forward(&x.flatten_axes(1, -1)).relu())
    }
}

fn digits(workloads: &Workloads) -> Result<()> {
    if !workloads.wants("b_cnn") {
        return Ok(());
    }
    let (x, y) = (normal(&[64, 1, 28, 28]), labels(64, 10)?);
    let mut init = Init::new();
    let mut model = Digits {
        c1: Conv2d::new(1, 32, 3, &mut init),
        c2: Conv2d::new(32, 64, 3, &mut init),
        f1: Linear::new(9216, 128, &mut init),
        f2: Linear::new(128, 10, &mut init),
    }
    .named();
    workloads.write("b_cnn", &model, &[("x", &x), ("y", &y)])?;
    let mut adam = Adam::new(1e-3);
    workloads
        .run("b_cnn_train", 4.0, || learn(&mut model, &mut adam, |model| cross_entropy(&model.forward(&x), &y)))?;
    model.freeze();
    workloads.run("b_cnn_infer", 2.5, || Ok(model.forward(&x)))
}

/// c: blocks of a residual network.
struct Block {
    conv: Conv2d,
    bn: BatchNorm2d,
}
module!(Block { conv, bn });

impl Layer for Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        (in_turn(x, &[&self.conv, &self.bn]) + x).relu()
    }
}

struct Residual {
    blocks: Vec<Block>,
}
module!(Residual { blocks });

fn residual(workloads: &Workloads) -> Result<()> {
    if !workloads.wants("c_resnet3") {
        return Ok(());
    }
    let x = normal(&[16, 64, 32, 32]);
    let mut init = Init::new();
    let mut block = || Block {
        conv: Conv2d::options(64, 64, 3).with_padding(1).without_bias().build(&mut init),
        bn: BatchNorm2d::new(64, &mut Init::new()),
    };
    let mut model = Residual { blocks: vec![block(), block(), block()] }.named();
    workloads.write("c_resnet3", &model, &[("x", &x)])?;
    let forward = |model: &Residual| model.blocks.iter().fold(x.clone(), |x, block| block.forward(&x));
    workloads.run("c_resnet3_fwdbwd", 4.0, || {
        let loss = forward(&model).square().mean();
        loss.backward()?;
        Ok(loss)
    })?;
    model.freeze();
    workloads.run("c_resnet3_infer", 2.5, || Ok(forward(&model)))
}

const WIDTH: usize = 256;
const HEADS: usize = 4;
const DEPTH: usize = 4;
const CONTEXT: usize = 128;
const TOKENS: usize = 256;

/// d: a block of a GPT.
struct Attentive {
    n1: LayerNorm,
    qkv: Linear,
    out: Linear,
    n2: LayerNorm,
    up: Linear,
    down: Linear,
}
module!(Attentive { n1, qkv, out, n2, up, down });

impl Attentive {
    fn new(init: &mut Init) -> Attentive {
        Attentive {
            n1: LayerNorm::new(WIDTH, init),
            qkv: Linear::new(WIDTH, 3 * WIDTH, init),
            out: Linear::new(WIDTH, WIDTH, init),
            n2: LayerNorm::new(WIDTH, init),
            up: Linear::new(WIDTH, 4 * WIDTH, init),
            down: Linear::new(4 * WIDTH, WIDTH, init),
        }
    }
    fn forward(&self, x: &Tensor, cache: Option<&mut KvCache>) -> Result<Tensor> {
        let [batch, time, width] = x.dims()?;
        let heads = |part: Tensor| part.reshape([batch, time, HEADS, width / HEADS]).transpose(1, 2);
        let [q, k, v] = self.qkv.forward(&self.n1.forward(x)).parts(-1).map(heads);
        let seen = match cache {
            Some(cache) => {
                let (k, v) = cache.append(&k, &v)?;
                q.scaled_dot_product_attention(&k, &v, &Attention::new().causal(time > 1))
            }
            None => q.scaled_dot_product_attention(&k, &v, &Attention::new().causal(true)),
        };
        let x = x + self.out.forward(&seen.transpose(1, 2).reshape([batch, time, width]));
        Ok(&x + self.down.forward(&self.up.forward(&self.n2.forward(&x)).gelu()))
    }
}

struct Gpt {
    te: Embedding,
    pe: Embedding,
    blocks: Vec<Attentive>,
    norm: LayerNorm,
    head: Linear,
}
module!(Gpt { te, pe, blocks, norm, head });

impl Gpt {
    fn new() -> Gpt {
        let init = &mut Init::new();
        Gpt {
            te: Embedding::new(TOKENS, WIDTH, init),
            pe: Embedding::new(CONTEXT, WIDTH, init),
            blocks: (0..DEPTH).map(|_| Attentive::new(init)).collect(),
            norm: LayerNorm::new(WIDTH, init),
            head: Linear::new(WIDTH, TOKENS, init).without_bias(),
        }
        .named()
    }
    /// Scores for what follows each token; caches hold the text before them.
    fn forward(&self, tokens: &Tensor, mut caches: Option<&mut [KvCache]>) -> Tensor {
        Tensor::compute(|| {
            let [_, time] = tokens.dims()?;
            let before = caches.as_ref().and_then(|caches| caches.first()).map_or(0, KvCache::len);
            let places = Tensor::arange(before + time).narrow(0, before, time);
            let mut x = self.te.forward(tokens) + self.pe.forward(&places);
            for (i, block) in self.blocks.iter().enumerate() {
                x = block.forward(&x, caches.as_mut().and_then(|caches| caches.get_mut(i)))?;
            }
            Ok(self.head.forward(&self.norm.forward(&x)))
        })
    }
}

fn language(workloads: &Workloads) -> Result<()> {
    if !workloads.wants("d_gpt") {
        return Ok(());
    }
    let tokens = Tensor::from_vec((0..1024).map(|i: i64| (i * 31 + 7) % 256).collect(), [8, CONTEXT])?;
    let follow = labels(1024, 256)?;
    let (mut model, mut adam) = (Gpt::new(), AdamW::new(1e-3));
    workloads.write("d_gpt", &model, &[("x", &tokens), ("y", &follow)])?;
    workloads.run("d_gpt_train", 5.0, || {
        let scores = |model: &Gpt| model.forward(&tokens, None).reshape([1024, TOKENS]);
        learn(&mut model, &mut adam, |model| cross_entropy(&scores(model), &follow))
    })?;
    model.freeze();
    workloads.run("d_gpt_infer_prefill", 2.5, || Ok(model.forward(&tokens, None)))?;
    let mut caches = vec![KvCache::with_room(CONTEXT); DEPTH];
    workloads.run("d_gpt_gen128_kv", 3.0, || {
        caches.iter_mut().for_each(|cache| cache.truncate(0));
        let mut scores = model.forward(&Tensor::from_vec(vec![0i64], [1, 1])?, Some(&mut caches));
        for _ in 1..CONTEXT {
            scores = model.forward(&scores.select(1, 0).argmax_over(-1).unsqueeze(1), Some(&mut caches));
        }
        Ok(scores)
    })
}

/// e: one LSTM layer over 64 steps.
fn recurrent(workloads: &Workloads) -> Result<()> {
    if !workloads.wants("e_lstm") {
        return Ok(());
    }
    let mut model = Lstm::new(64, 256, &mut Init::new());
    let x = normal(&[64, 32, 64]);
    workloads.write("e_lstm", &model, &[("x", &x)])?;
    workloads.run("e_lstm_fwdbwd", 4.0, || {
        let loss = model.forward(&x).output.square().mean();
        loss.backward()?;
        Ok(loss)
    })?;
    model.freeze();
    workloads.run("e_lstm_infer", 2.5, || Ok(model.forward(&x).output))
}

/// f: networks so small that everything around the arithmetic counts.
fn small(workloads: &Workloads) -> Result<()> {
    let (x, y) = (normal(&[4, 2]), normal(&[4, 1]));
    let tiny = || {
        let mut init = Init::new();
        Sequential::new().then(Linear::new(2, 16, &mut init)).then(Tanh).then(Linear::new(16, 1, &mut init)).named()
    };
    let loss = |model: &Sequential| mse_loss(&model.forward(&x), &y);
    let (mut model, mut sgd) = (tiny(), Sgd::new(0.1));
    workloads.run("f_tiny_train_sgd", 2.0, || learn(&mut model, &mut sgd, loss))?;
    let (mut model, mut adam) = (tiny(), Adam::new(1e-3));
    workloads.run("f_tiny_train_adam", 2.0, || learn(&mut model, &mut adam, loss))?;
    let mut model = layers(&[784, 512, 10]);
    model.freeze();
    let x = normal(&[1, 784]);
    workloads.run("f_mlp784_512_10_b1_infer", 2.0, || Ok(model.forward(&x)))
}
