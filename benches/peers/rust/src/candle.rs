//! candle on the workloads of benches/workloads, from the same weights and inputs. `../run` builds and starts this.

#[path = "../../../workloads/measure.rs"]
mod measure;
#[path = "../../../workloads/program.rs"]
mod program;

use candle_core::{D, DType, Device::Cpu, IndexOp, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::rnn::RNN;
use candle_nn::{
    AdamW, BatchNorm, Conv2d, Embedding, Init, Linear, Module, ModuleT, Optimizer, ParamsAdamW, SGD, VarBuilder,
    VarMap, loss, ops,
};
use program::{PRODUCTS, Program, product_name};
use std::path::PathBuf;

struct Workloads(Program);

impl Workloads {
    fn run(&self, name: &str, seconds: f64, step: impl FnMut() -> Result<Tensor>) -> Result<()> {
        let size = |result: &Tensor| Ok(f64::from(result.abs()?.mean_all()?.to_scalar::<f32>()?));
        self.0.run(name, seconds, step, size)
    }
    /// What a network starts from.
    fn start(&self, name: &str) -> Result<Start> {
        let file = self.0.weights().expect("--weights FOLDER").join(name).with_extension("safetensors");
        Ok(Start { variables: VarMap::new(), file })
    }
}

/// The file of a network's weights and inputs, and what is made of its weights.
struct Start {
    variables: VarMap,
    file: PathBuf,
}

impl Start {
    fn input(&self, name: &str) -> Result<Tensor> {
        let file = candle_core::safetensors::load(&self.file, &Cpu)?;
        Ok(file[name].clone())
    }
    /// A network that learns, with the weights of the file.
    fn network<N>(&mut self, new: impl Fn(VarBuilder) -> Result<N>) -> Result<N> {
        let network = new(VarBuilder::from_varmap(&self.variables, DType::F32, &Cpu))?;
        self.variables.load(&self.file)?;
        Ok(network)
    }
    /// The same with plain tensors for variables, as they are now: no graph is recorded.
    fn frozen<N>(&self, new: impl Fn(VarBuilder) -> Result<N>) -> Result<N> {
        let variables = self.variables.data().lock().expect("no thread has failed");
        let tensors = variables.iter().map(|(name, variable)| (name.clone(), variable.as_detached_tensor())).collect();
        new(VarBuilder::from_tensors(tensors, DType::F32, &Cpu))
    }
    /// candle has no plain Adam: this is AdamW, without decay where that is 0.
    fn adam(&self, weight_decay: f64) -> Result<AdamW> {
        AdamW::new(self.variables.all_vars(), ParamsAdamW { lr: 1e-3, weight_decay, ..Default::default() })
    }
}

/// One step of a training.
fn learn(optimizer: &mut impl Optimizer, loss: Result<Tensor>) -> Result<Tensor> {
    let loss = loss?;
    optimizer.backward_step(&loss)?;
    Ok(loss)
}

fn normal(sizes: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, sizes, &Cpu)
}

fn products(workloads: &Workloads) -> Result<()> {
    for product @ [batch, m, k, n] in PRODUCTS {
        let front = if batch == 1 { vec![] } else { vec![batch] };
        let matrix = |sizes: [usize; 2]| Tensor::rand(0f32, 1.0, [&front[..], &sizes].concat(), &Cpu);
        let (a, b) = (matrix([m, k])?, matrix([k, n])?);
        workloads.run(&product_name(product), 1.0, || a.matmul(&b))?;
    }
    Ok(())
}

/// Linear layers with ReLU between them, named as the parts of a sequence are.
struct Layers(Vec<Linear>);

impl Layers {
    fn new(sizes: &[usize], from: VarBuilder) -> Result<Layers> {
        let layer = |(i, pair): (usize, &[usize])| candle_nn::linear(pair[0], pair[1], from.pp(2 * i));
        Ok(Layers(sizes.windows(2).enumerate().map(layer).collect::<Result<_>>()?))
    }
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.0[0].forward(x)?;
        for layer in &self.0[1..] {
            x = layer.forward(&x.relu()?)?;
        }
        Ok(x)
    }
}

/// a: 784-512-512-10 with Adam.
fn perceptron(workloads: &Workloads) -> Result<()> {
    for batch in [64, 1024] {
        let name = format!("a_mlp_b{batch}");
        if !workloads.0.wants(&name) {
            continue;
        }
        let mut start = workloads.start(&name)?;
        let (x, y) = (start.input("x")?, start.input("y")?);
        let new = |from: VarBuilder| Layers::new(&[784, 512, 512, 10], from);
        let model = start.network(new)?;
        let mut adam = start.adam(0.0)?;
        workloads
            .run(&format!("{name}_train"), 2.5, || learn(&mut adam, loss::cross_entropy(&model.forward(&x)?, &y)))?;
        let model = start.frozen(new)?;
        workloads.run(&format!("{name}_infer"), 1.5, || model.forward(&x))?;
    }
    Ok(())
}

/// b: a convolution network for digits.
struct Digits {
    c1: Conv2d,
    c2: Conv2d,
    f1: Linear,
    f2: Linear,
}

impl Digits {
    fn new(from: VarBuilder) -> Result<Digits> {
        Ok(Digits {
            c1: candle_nn::conv2d(1, 32, 3, Default::default(), from.pp("c1"))?,
            c2: candle_nn::conv2d(32, 64, 3, Default::default(), from.pp("c2"))?,
            f1: candle_nn::linear(9216, 128, from.pp("f1"))?,
            f2: candle_nn::linear(128, 10, from.pp("f2"))?,
        })
    }
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.c1.forward(x)?.relu()?;
        let x = self.c2.forward(&x)?.relu()?.max_pool2d(2)?;
        self.f2.forward(&self.f1.forward(&x.flatten_from(1)?)?.relu()?)
    }
}

fn digits(workloads: &Workloads) -> Result<()> {
    let mut start = workloads.start("b_cnn")?;
    let (x, y) = (start.input("x")?, start.input("y")?);
    let model = start.network(Digits::new)?;
    let mut adam = start.adam(0.0)?;
    workloads.run("b_cnn_train", 4.0, || learn(&mut adam, loss::cross_entropy(&model.forward(&x)?, &y)))?;
    let model = start.frozen(Digits::new)?;
    workloads.run("b_cnn_infer", 2.5, || model.forward(&x))
}

/// c: blocks of a residual network.
struct Residual(Vec<(Conv2d, BatchNorm)>);

impl Residual {
    fn new(from: VarBuilder) -> Result<Residual> {
        let padded = candle_nn::Conv2dConfig { padding: 1, ..Default::default() };
        let block = |i: usize| {
            let from = from.pp("blocks").pp(i);
            let conv = candle_nn::conv2d_no_bias(64, 64, 3, padded, from.pp("conv"))?;
            Ok((conv, candle_nn::batch_norm(64, 1e-5, from.pp("bn"))?))
        };
        Ok(Residual((0..3).map(block).collect::<Result<_>>()?))
    }
    fn forward(&self, x: &Tensor, learns: bool) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, (conv, bn)| (bn.forward_t(&conv.forward(&x)?, learns)? + x)?.relu())
    }
}

fn residual(workloads: &Workloads) -> Result<()> {
    let mut start = workloads.start("c_resnet3")?;
    let x = start.input("x")?;
    let model = start.network(Residual::new)?;
    workloads.run("c_resnet3_fwdbwd", 4.0, || {
        let loss = model.forward(&x, true)?.sqr()?.mean_all()?;
        loss.backward()?;
        Ok(loss)
    })?;
    let model = start.frozen(Residual::new)?;
    workloads.run("c_resnet3_infer", 2.5, || model.forward(&x, false))
}

const WIDTH: usize = 256;
const HEADS: usize = 4;
const DEPTH: usize = 4;
const CONTEXT: usize = 128;
const TOKENS: usize = 256;

/// Layer norm. candle's fused one has no backward (gradients end there without a word), so training takes the slow form.
struct Norm {
    weight: Tensor,
    bias: Tensor,
    learns: bool,
}

impl Norm {
    fn new(learns: bool, from: VarBuilder) -> Result<Norm> {
        let part = |name, number| from.get_with_hints(WIDTH, name, Init::Const(number));
        Ok(Norm { weight: part("weight", 1.0)?, bias: part("bias", 0.0)?, learns })
    }
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let norm = if self.learns { ops::layer_norm_slow } else { ops::layer_norm };
        norm(&x.contiguous()?, &self.weight, &self.bias, 1e-5)
    }
}

/// d: a block of a GPT.
struct Attentive {
    n1: Norm,
    qkv: Linear,
    out: Linear,
    n2: Norm,
    up: Linear,
    down: Linear,
}

impl Attentive {
    fn new(learns: bool, from: VarBuilder) -> Result<Attentive> {
        Ok(Attentive {
            n1: Norm::new(learns, from.pp("n1"))?,
            qkv: candle_nn::linear(WIDTH, 3 * WIDTH, from.pp("qkv"))?,
            out: candle_nn::linear(WIDTH, WIDTH, from.pp("out"))?,
            n2: Norm::new(learns, from.pp("n2"))?,
            up: candle_nn::linear(WIDTH, 4 * WIDTH, from.pp("up"))?,
            down: candle_nn::linear(4 * WIDTH, WIDTH, from.pp("down"))?,
        })
    }
    fn forward(&self, x: &Tensor, mask: &Tensor, cache: Option<&mut KvCache>) -> Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        let parts = self.qkv.forward(&self.n1.forward(x)?)?;
        let parts = parts.reshape((batch, time, 3, HEADS, width / HEADS))?.permute((2, 0, 3, 1, 4))?;
        let (q, k, v) = (parts.i(0)?.contiguous()?, parts.i(1)?.contiguous()?, parts.i(2)?.contiguous()?);
        let (k, v) = match cache {
            Some(cache) => cache.append(&k, &v)?,
            None => (k, v),
        };
        let mut scores = (q.matmul(&k.transpose(2, 3)?)? * (1.0 / ((width / HEADS) as f64).sqrt()))?;
        if time > 1 {
            scores = scores.broadcast_add(mask)?;
        }
        let shares = if self.n1.learns { ops::softmax(&scores, D::Minus1)? } else { ops::softmax_last_dim(&scores)? };
        let seen = shares.matmul(&v.contiguous()?)?.transpose(1, 2)?.reshape((batch, time, width))?;
        let x = (x + self.out.forward(&seen)?)?;
        &x + self.down.forward(&self.up.forward(&self.n2.forward(&x)?)?.gelu_erf()?)?
    }
}

struct Gpt {
    te: Embedding,
    pe: Embedding,
    blocks: Vec<Attentive>,
    norm: Norm,
    head: Linear,
    mask: Tensor,
}

impl Gpt {
    fn new(learns: bool, from: VarBuilder) -> Result<Gpt> {
        let blocks = from.pp("blocks");
        let hidden = |i: usize, j: usize| if j <= i { 0.0 } else { f32::NEG_INFINITY };
        let mask = (0..CONTEXT * CONTEXT).map(|at| hidden(at / CONTEXT, at % CONTEXT)).collect();
        Ok(Gpt {
            te: candle_nn::embedding(TOKENS, WIDTH, from.pp("te"))?,
            pe: candle_nn::embedding(CONTEXT, WIDTH, from.pp("pe"))?,
            blocks: (0..DEPTH).map(|i| Attentive::new(learns, blocks.pp(i))).collect::<Result<_>>()?,
            norm: Norm::new(learns, from.pp("norm"))?,
            head: candle_nn::linear_no_bias(WIDTH, TOKENS, from.pp("head"))?,
            mask: Tensor::from_vec(mask, (CONTEXT, CONTEXT), &Cpu)?,
        })
    }
    fn forward(&self, tokens: &Tensor, before: usize, mut caches: Option<&mut [KvCache]>) -> Result<Tensor> {
        let (_, time) = tokens.dims2()?;
        let places = Tensor::arange(before as u32, (before + time) as u32, &Cpu)?;
        let mut x = self.te.forward(tokens)?.broadcast_add(&self.pe.forward(&places)?)?;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &self.mask, caches.as_mut().map(|caches| &mut caches[i]))?;
        }
        self.head.forward(&self.norm.forward(&x)?)
    }
}

fn language(workloads: &Workloads) -> Result<()> {
    let mut start = workloads.start("d_gpt")?;
    let (tokens, follow) = (start.input("x")?, start.input("y")?);
    let model = start.network(|from| Gpt::new(true, from))?;
    let mut adam = start.adam(0.01)?;
    workloads.run("d_gpt_train", 5.0, || {
        let scores = model.forward(&tokens, 0, None)?.reshape((8 * CONTEXT, TOKENS))?;
        learn(&mut adam, loss::cross_entropy(&scores, &follow))
    })?;
    let model = start.frozen(|from| Gpt::new(false, from))?;
    workloads.run("d_gpt_infer_prefill", 2.5, || model.forward(&tokens, 0, None))?;
    workloads.run("d_gpt_gen128_kv", 3.0, || {
        let mut caches: Vec<KvCache> = (0..DEPTH).map(|_| KvCache::new(2, CONTEXT)).collect();
        let mut scores = model.forward(&Tensor::zeros((1, 1), DType::U32, &Cpu)?, 0, Some(&mut caches))?;
        for seen in 1..CONTEXT {
            scores = model.forward(&scores.i((.., 0, ..))?.argmax_keepdim(1)?, seen, Some(&mut caches))?;
        }
        Ok(scores)
    })
}

/// e: one LSTM layer over 64 steps. candle wants the batch first.
fn recurrent(workloads: &Workloads) -> Result<()> {
    let mut start = workloads.start("e_lstm")?;
    let x = start.input("x")?.transpose(0, 1)?.contiguous()?;
    let new = |from: VarBuilder| candle_nn::lstm(64, 256, Default::default(), from);
    let model = start.network(new)?;
    workloads.run("e_lstm_fwdbwd", 4.0, || {
        let loss = model.states_to_tensor(&model.seq(&x)?)?.sqr()?.mean_all()?;
        loss.backward()?;
        Ok(loss)
    })?;
    let model = start.frozen(new)?;
    workloads.run("e_lstm_infer", 2.5, || model.states_to_tensor(&model.seq(&x)?))
}

/// f: networks so small that everything around the arithmetic counts.
fn small(workloads: &Workloads) -> Result<()> {
    let (x, y) = (normal(&[4, 2])?, normal(&[4, 1])?);
    let step = |network: &[Linear; 2], optimizer: &mut dyn FnMut(&Tensor) -> Result<()>| {
        let loss = loss::mse(&network[1].forward(&network[0].forward(&x)?.tanh()?)?, &y)?;
        optimizer(&loss)?;
        Ok(loss)
    };
    let start = || {
        let variables = VarMap::new();
        let from = VarBuilder::from_varmap(&variables, DType::F32, &Cpu);
        let network = [candle_nn::linear(2, 16, from.pp(0))?, candle_nn::linear(16, 1, from.pp(2))?];
        Result::Ok((Start { variables, file: PathBuf::new() }, network))
    };
    let (begin, network) = start()?;
    let mut sgd = SGD::new(begin.variables.all_vars(), 0.1)?;
    workloads.run("f_tiny_train_sgd", 2.0, || step(&network, &mut |loss| sgd.backward_step(loss)))?;
    let (begin, network) = start()?;
    let mut adam = begin.adam(0.0)?;
    workloads.run("f_tiny_train_adam", 2.0, || step(&network, &mut |loss| adam.backward_step(loss)))?;

    let begin = Start { variables: VarMap::new(), file: PathBuf::new() };
    let new = |from: VarBuilder| Layers::new(&[784, 512, 10], from);
    new(VarBuilder::from_varmap(&begin.variables, DType::F32, &Cpu))?;
    let (model, x) = (begin.frozen(new)?, normal(&[1, 784])?);
    workloads.run("f_mlp784_512_10_b1_infer", 2.0, || model.forward(&x))
}

/// f: single operations, as inference has them.
fn single(workloads: &Workloads) -> Result<()> {
    let (x, weight, bias) = (normal(&[4096, 1024])?, Tensor::ones(1024, DType::F32, &Cpu)?, normal(&[1024])?);
    let run = |name: &str, operation: &dyn Fn() -> Result<Tensor>| workloads.run(name, 1.2, operation);
    run("f_softmax_4096x1024", &|| ops::softmax_last_dim(&x))?;
    run("f_layernorm_4096x1024", &|| ops::layer_norm(&x, &weight, &bias, 1e-5))?;
    run("f_gelu_tanh_4M", &|| x.gelu())?;
    run("f_gelu_erf_4M", &|| x.gelu_erf())?;
    run("f_add_bcast_4096x1024", &|| x.broadcast_add(&bias))?;
    run("f_add_4M", &|| &x + &x)?;
    run("f_sum_axis0_4096x1024", &|| x.sum(0))?;
    run("f_sum_axis1_4096x1024", &|| x.sum(1))?;
    run("f_exp_4M", &|| x.exp())?;
    run("f_transpose_copy_4096x1024", &|| x.t()?.contiguous())
}

fn main() -> Result<()> {
    let workloads = Workloads(Program::asked("candle", 1));
    let families: [(&str, fn(&Workloads) -> Result<()>); 8] = [
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
        if workloads.0.wants(family) {
            work(&workloads)?;
        }
    }
    workloads.0.finish();
    Ok(())
}
