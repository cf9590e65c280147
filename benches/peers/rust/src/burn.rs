//! burn on the workloads of benches/workloads, from the same weights and inputs, by its processor backend in Rust (flex).
//! `../run` builds and starts this.
#![recursion_limit = "256"]

#[path = "../../../workloads/measure.rs"]
mod measure;
#[path = "../../../workloads/program.rs"]
mod program;

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lstm,
    LstmConfig, PaddingConfig2d,
};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::activation::{gelu, gelu_approximate, relu, softmax, tanh};
use burn::tensor::{Distribution, TensorData, module::attention, ops::AttentionModuleOptions};
use program::{PRODUCTS, Program, product_name};
use safetensors::SafeTensors;
use std::convert::Infallible;

struct Workloads {
    program: Program,
    plain: Device,
    /// The one that records what gradients need.
    recording: Device,
}

impl Workloads {
    fn run<const D: usize>(&self, name: &str, seconds: f64, mut step: impl FnMut() -> Tensor<D>) {
        let step = || -> Result<Tensor<D>, Infallible> {
            let result = step();
            self.plain.sync().expect("the work is done");
            Ok(result)
        };
        let size = |result: &Tensor<D>| Ok(result.clone().abs().mean().into_scalar::<f64>());
        let Ok(()) = self.program.run(name, seconds, step, size);
    }
    /// What a network starts from.
    fn start(&self, name: &str) -> Start<'_> {
        let file = self.program.weights().expect("--weights FOLDER").join(name).with_extension("safetensors");
        Start { bytes: std::fs::read(file).expect("the file of the weights"), device: &self.recording }
    }
}

/// The file of a network's weights and inputs. burn keeps a linear layer's weight turned, and an LSTM's gates apart.
struct Start<'a> {
    bytes: Vec<u8>,
    device: &'a Device,
}

impl Start<'_> {
    fn data(&self, name: &str) -> TensorData {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let entry = file.tensor(name).expect("a tensor of this name");
        let numbers = entry.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
        TensorData::new(numbers.collect::<Vec<f32>>(), entry.shape().to_vec())
    }
    fn input<const D: usize>(&self, name: &str) -> Tensor<D> {
        Tensor::from_data(self.data(name), self.device)
    }
    fn whole<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let entry = file.tensor(name).expect("a tensor of this name");
        let numbers = entry.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().expect("eight")));
        Tensor::from_data(TensorData::new(numbers.collect::<Vec<i64>>(), entry.shape().to_vec()), self.device)
    }
    fn parameter<const D: usize>(&self, name: &str) -> Param<Tensor<D>> {
        Param::from_data(self.data(name), self.device)
    }
    /// Rows of a linear layer's weight, and of its bias where it has one.
    fn rows(&self, weight: &str, bias: Option<&str>, rows: std::ops::Range<usize>) -> Linear {
        let weight = Tensor::<2>::from_data(self.data(weight), &self.device.clone().inner());
        let weight = weight.slice([rows.clone()]).transpose().into_data();
        let bias = bias.map(|name| {
            let bias = Tensor::<1>::from_data(self.data(name), &self.device.clone().inner());
            Param::from_data(bias.slice([rows]).into_data(), self.device)
        });
        Linear { weight: Param::from_data(weight, self.device), bias }
    }
    fn linear(&self, name: &str, layer: LinearConfig) -> Linear {
        let bias = format!("{name}.bias");
        self.rows(&format!("{name}.weight"), layer.bias.then_some(bias.as_str()), 0..layer.d_output)
    }
    fn conv(&self, name: &str, layer: Conv2dConfig) -> Conv2d {
        let mut conv = layer.init(self.device);
        conv.weight = self.parameter(&format!("{name}.weight"));
        conv.bias = conv.bias.map(|_| self.parameter(&format!("{name}.bias")));
        conv
    }
    fn batch_norm(&self, name: &str, channels: usize) -> BatchNorm {
        let mut norm = BatchNormConfig::new(channels).init(self.device);
        norm.gamma = self.parameter(&format!("{name}.weight"));
        norm.beta = self.parameter(&format!("{name}.bias"));
        norm
    }
    fn layer_norm(&self, name: &str) -> LayerNorm {
        let mut norm = LayerNormConfig::new(WIDTH).init(self.device);
        norm.gamma = self.parameter(&format!("{name}.weight"));
        norm.beta = Some(self.parameter(&format!("{name}.bias")));
        norm
    }
    fn embedding(&self, name: &str, count: usize) -> Embedding {
        let mut embedding = EmbeddingConfig::new(count, WIDTH).init(self.device);
        embedding.weight = self.parameter(&format!("{name}.weight"));
        embedding
    }
    fn lstm(&self, inputs: usize, hidden: usize) -> Lstm {
        let mut lstm = LstmConfig::new(inputs, hidden, true).with_batch_first(false).init(self.device);
        let gates = [
            &mut lstm.input_gate,
            lstm.forget_gate.as_mut().expect("a gate"),
            &mut lstm.cell_gate,
            &mut lstm.output_gate,
        ];
        for (i, gate) in gates.into_iter().enumerate() {
            let rows = i * hidden..(i + 1) * hidden;
            gate.input_transform = self.rows("weight_ih_l0", Some("bias_ih_l0"), rows.clone());
            gate.hidden_transform = self.rows("weight_hh_l0", Some("bias_hh_l0"), rows);
        }
        lstm
    }
}

/// A network that learns: a step moves it through the optimizer.
struct Learner<M> {
    model: Option<M>,
    optimizer: ModuleOptimizer,
    rate: f64,
}

impl<M: Module> Learner<M> {
    fn new(model: M, optimizer: ModuleOptimizer, rate: f64) -> Learner<M> {
        Learner { model: Some(model), optimizer, rate }
    }
    fn model(&self) -> &M {
        self.model.as_ref().expect("no step is being taken")
    }
    fn step(&mut self, loss: impl Fn(&M) -> Tensor<1>) -> Tensor<1> {
        let model = self.model.take().expect("no step is being taken");
        let loss = loss(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(self.rate, model, gradients));
        loss
    }
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().with_epsilon(1e-8).init()
}

fn normal<const D: usize>(sizes: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(sizes, Distribution::Normal(0.0, 1.0), device)
}

fn products(workloads: &Workloads) {
    let matrix = |sizes| Tensor::<3>::random(sizes, Distribution::Uniform(0.0, 1.0), &workloads.plain);
    for product @ [batch, m, k, n] in PRODUCTS {
        let (a, b) = (matrix([batch, m, k]), matrix([batch, k, n]));
        if batch > 1 {
            workloads.run(&product_name(product), 1.0, || a.clone().matmul(b.clone()));
        } else {
            let (a, b) = (a.squeeze_dim::<2>(0), b.squeeze_dim::<2>(0));
            workloads.run(&product_name(product), 1.0, || a.clone().matmul(b.clone()));
        }
    }
}

/// Linear layers with ReLU between them.
#[derive(Module, Debug)]
struct Layers {
    layers: Vec<Linear>,
}

impl Layers {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.layers[0].forward(x);
        self.layers[1..].iter().fold(x, |x, layer| layer.forward(relu(x)))
    }
}

/// a: 784-512-512-10 with Adam.
fn perceptron(workloads: &Workloads) {
    for batch in [64, 1024] {
        let name = format!("a_mlp_b{batch}");
        if !workloads.program.wants(&name) {
            continue;
        }
        let start = workloads.start(&name);
        let (x, y) = (start.input::<2>("x"), start.whole::<1>("y"));
        let sizes = [784, 512, 512, 10];
        let layer = |i: usize| start.linear(&(2 * i).to_string(), LinearConfig::new(sizes[i], sizes[i + 1]));
        let mut learner = Learner::new(Layers { layers: (0..3).map(layer).collect() }, adam(), 1e-3);
        let cross_entropy = CrossEntropyLossConfig::new().init(&workloads.recording);
        workloads.run(&format!("{name}_train"), 2.5, || {
            learner.step(|model| cross_entropy.forward(model.forward(x.clone()), y.clone()))
        });
        let (model, x) = (learner.model().valid(), x.inner());
        workloads.run(&format!("{name}_infer"), 1.5, || model.forward(x.clone()));
    }
}

/// b: a convolution network for digits.
#[derive(Module, Debug)]
struct Digits {
    c1: Conv2d,
    c2: Conv2d,
    f1: Linear,
    f2: Linear,
}

impl Digits {
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let x = pool.forward(relu(self.c2.forward(relu(self.c1.forward(x)))));
        self.f2.forward(relu(self.f1.forward(x.flatten::<2>(1, 3))))
    }
}

fn digits(workloads: &Workloads) {
    let start = workloads.start("b_cnn");
    let (x, y) = (start.input::<4>("x"), start.whole::<1>("y"));
    let model = Digits {
        c1: start.conv("c1", Conv2dConfig::new([1, 32], [3, 3])),
        c2: start.conv("c2", Conv2dConfig::new([32, 64], [3, 3])),
        f1: start.linear("f1", LinearConfig::new(9216, 128)),
        f2: start.linear("f2", LinearConfig::new(128, 10)),
    };
    let mut learner = Learner::new(model, adam(), 1e-3);
    let cross_entropy = CrossEntropyLossConfig::new().init(&workloads.recording);
    workloads
        .run("b_cnn_train", 4.0, || learner.step(|model| cross_entropy.forward(model.forward(x.clone()), y.clone())));
    let (model, x) = (learner.model().valid(), x.inner());
    workloads.run("b_cnn_infer", 2.5, || model.forward(x.clone()));
}

/// c: blocks of a residual network.
#[derive(Module, Debug)]
struct Residual {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
}

impl Residual {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let blocks = self.convs.iter().zip(&self.norms);
        blocks.fold(x, |x, (conv, norm)| relu(norm.forward(conv.forward(x.clone())) + x))
    }
}

fn residual(workloads: &Workloads) {
    let start = workloads.start("c_resnet3");
    let x = start.input::<4>("x");
    let padded = PaddingConfig2d::Explicit(1, 1, 1, 1);
    let conv = Conv2dConfig::new([64, 64], [3, 3]).with_padding(padded).with_bias(false);
    let model = Residual {
        convs: (0..3).map(|i| start.conv(&format!("blocks.{i}.conv"), conv.clone())).collect(),
        norms: (0..3).map(|i| start.batch_norm(&format!("blocks.{i}.bn"), 64)).collect(),
    };
    workloads.run("c_resnet3_fwdbwd", 4.0, || {
        let y = model.forward(x.clone());
        let loss = (y.clone() * y).mean();
        loss.backward();
        loss
    });
    let (model, x) = (model.valid(), x.inner());
    workloads.run("c_resnet3_infer", 2.5, || model.forward(x.clone()));
}

const WIDTH: usize = 256;
const HEADS: usize = 4;
const DEPTH: usize = 4;
const CONTEXT: usize = 128;
const TOKENS: usize = 256;

/// Keys and values of the text so far.
type Cache = Option<(Tensor<4>, Tensor<4>)>;

/// d: a block of a GPT.
#[derive(Module, Debug)]
struct Attentive {
    n1: LayerNorm,
    qkv: Linear,
    out: Linear,
    n2: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Attentive {
    fn new(start: &Start, i: usize) -> Attentive {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let linear = |part, inputs, outputs| start.linear(&name(part), LinearConfig::new(inputs, outputs));
        Attentive {
            n1: start.layer_norm(&name("n1")),
            qkv: linear("qkv", WIDTH, 3 * WIDTH),
            out: linear("out", WIDTH, WIDTH),
            n2: start.layer_norm(&name("n2")),
            up: linear("up", WIDTH, 4 * WIDTH),
            down: linear("down", 4 * WIDTH, WIDTH),
        }
    }
    fn forward(&self, x: Tensor<3>, cache: Option<&mut Cache>) -> Tensor<3> {
        let [batch, time, width] = x.dims();
        let parts = self.qkv.forward(self.n1.forward(x.clone())).chunk(3, 2).into_iter();
        let mut parts = parts.map(|part| part.reshape([batch, time, HEADS, width / HEADS]).swap_dims(1, 2));
        let [q, mut k, mut v] = [(); 3].map(|()| parts.next().expect("three parts"));
        if let Some(cache) = cache {
            if let Some((keys, values)) = cache.take() {
                (k, v) = (Tensor::cat(vec![keys, k], 2), Tensor::cat(vec![values, v], 2));
            }
            *cache = Some((k.clone(), v.clone()));
        }
        let causal = AttentionModuleOptions { is_causal: time > 1, ..Default::default() };
        let seen = attention(q, k, v, None, None, causal);
        let x = x + self.out.forward(seen.swap_dims(1, 2).reshape([batch, time, width]));
        x.clone() + self.down.forward(gelu(self.up.forward(self.n2.forward(x))))
    }
}

#[derive(Module, Debug)]
struct Gpt {
    te: Embedding,
    pe: Embedding,
    blocks: Vec<Attentive>,
    norm: LayerNorm,
    head: Linear,
}

impl Gpt {
    fn new(start: &Start) -> Gpt {
        Gpt {
            te: start.embedding("te", TOKENS),
            pe: start.embedding("pe", CONTEXT),
            blocks: (0..DEPTH).map(|i| Attentive::new(start, i)).collect(),
            norm: start.layer_norm("norm"),
            head: start.linear("head", LinearConfig::new(WIDTH, TOKENS).with_bias(false)),
        }
    }
    fn forward(&self, tokens: Tensor<2, Int>, before: usize, mut caches: Option<&mut [Cache]>) -> Tensor<3> {
        let [_, time] = tokens.dims();
        let places = Tensor::arange(before as i64..(before + time) as i64, &tokens.device()).unsqueeze::<2>();
        let mut x = self.te.forward(tokens) + self.pe.forward(places);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, caches.as_mut().map(|caches| &mut caches[i]));
        }
        self.head.forward(self.norm.forward(x))
    }
}

fn language(workloads: &Workloads) {
    let start = workloads.start("d_gpt");
    let (tokens, follow) = (start.whole::<2>("x"), start.whole::<1>("y"));
    let adam = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).init();
    let mut learner = Learner::new(Gpt::new(&start), adam, 1e-3);
    let cross_entropy = CrossEntropyLossConfig::new().init(&workloads.recording);
    workloads.run("d_gpt_train", 5.0, || {
        learner.step(|model| {
            let scores = model.forward(tokens.clone(), 0, None).reshape([8 * CONTEXT, TOKENS]);
            cross_entropy.forward(scores, follow.clone())
        })
    });
    let (model, tokens) = (learner.model().valid(), tokens.inner());
    workloads.run("d_gpt_infer_prefill", 2.5, || model.forward(tokens.clone(), 0, None));
    workloads.run("d_gpt_gen128_kv", 3.0, || {
        let mut caches: Vec<Cache> = vec![None; DEPTH];
        let mut scores = model.forward(Tensor::zeros([1, 1], &workloads.plain), 0, Some(&mut caches));
        for seen in 1..CONTEXT {
            scores = model.forward(scores.argmax(2).reshape([1, 1]), seen, Some(&mut caches));
        }
        scores
    });
}

/// e: one LSTM layer over 64 steps.
fn recurrent(workloads: &Workloads) {
    let start = workloads.start("e_lstm");
    let x = start.input::<3>("x");
    let model = start.lstm(64, 256);
    workloads.run("e_lstm_fwdbwd", 4.0, || {
        let (y, _) = model.forward(x.clone(), None);
        let loss = (y.clone() * y).mean();
        loss.backward();
        loss
    });
    let (model, x) = (model.valid(), x.inner());
    workloads.run("e_lstm_infer", 2.5, || model.forward(x.clone(), None).0);
}

#[derive(Module, Debug)]
struct Tiny {
    hidden: Linear,
    out: Linear,
}

/// f: networks so small that everything around the arithmetic counts.
fn small(workloads: &Workloads) {
    let device = &workloads.recording;
    let (x, y) = (normal([4, 2], device), normal([4, 1], device));
    for (name, optimizer, rate) in [("sgd", SgdConfig::new().init(), 0.1), ("adam", adam(), 1e-3)] {
        let tiny = Tiny { hidden: LinearConfig::new(2, 16).init(device), out: LinearConfig::new(16, 1).init(device) };
        let mut learner = Learner::new(tiny, optimizer, rate);
        workloads.run(&format!("f_tiny_train_{name}"), 2.0, || {
            learner.step(|model| {
                let off = model.out.forward(tanh(model.hidden.forward(x.clone()))) - y.clone();
                (off.clone() * off).mean()
            })
        });
    }
    let device = &workloads.plain;
    let layers = vec![LinearConfig::new(784, 512).init(device), LinearConfig::new(512, 10).init(device)];
    let (model, x) = (Layers { layers }, normal([1, 784], device));
    workloads.run("f_mlp784_512_10_b1_infer", 2.0, || model.forward(x.clone()));
}

/// f: single operations, as inference has them.
fn single(workloads: &Workloads) {
    let device = &workloads.plain;
    let (x, bias) = (normal([4096, 1024], device), normal([1, 1024], device));
    let norm = LayerNormConfig::new(1024).init(device);
    let run = |name: &str, operation: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        workloads.run(name, 1.2, || operation(x.clone()));
    };
    run("f_softmax_4096x1024", &|x| softmax(x, 1));
    run("f_layernorm_4096x1024", &|x| norm.forward(x));
    run("f_gelu_tanh_4M", &gelu_approximate);
    run("f_gelu_erf_4M", &gelu);
    run("f_add_bcast_4096x1024", &|x| x + bias.clone());
    run("f_add_4M", &|x| x.clone() + x);
    run("f_sum_axis0_4096x1024", &|x| x.sum_dim(0));
    run("f_sum_axis1_4096x1024", &|x| x.sum_dim(1));
    run("f_exp_4M", &|x| x.exp());
    // burn turns a tensor by a view only, so it has no row for the transposed copy.
}

fn main() {
    let plain = Device::flex();
    let recording = plain.clone().autodiff();
    let workloads = Workloads { program: Program::asked("burn", 1), plain, recording };
    let families: [(&str, fn(&Workloads)); 8] = [
        ("gemm", products),
        ("a_mlp", perceptron),
        ("b_cnn", digits),
        ("c_resnet3", residual),
        ("d_gpt", language),
        ("e_lstm", recurrent),
        ("f_", small),
        ("f_", single),
    ];
    for (family, work) in families {
        if workloads.program.wants(family) {
            work(&workloads);
        }
    }
    workloads.program.finish();
}
