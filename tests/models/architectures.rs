//! The models of the reference runs, built from their `arch`, with the names of their files.

use chainrule::nn::*;
use chainrule::{Attention, DType, Tensor, module};
use serde_json::Value;

fn number(arch: &Value, key: &str) -> usize {
    arch[key].as_u64().unwrap_or_else(|| panic!("arch lacks {key}")) as usize
}

fn list(arch: &Value, key: &str) -> Vec<usize> {
    let list = arch[key].as_array().unwrap_or_else(|| panic!("arch lacks {key}"));
    list.iter().map(|size| size.as_u64().expect("a size") as usize).collect()
}

/// The classes that are known here.
pub(crate) const KNOWN: [&str; 5] = ["MLP", "MnistCNN", "ResNet", "LSTMClassifier", "GPT"];

/// The model of a class; None for one that is not known here.
pub(crate) fn build(class: &str, arch: &Value, init: &mut Init) -> Option<Box<dyn Layer>> {
    Some(match class {
        "MLP" => Box::new(Mlp::new(&list(arch, "sizes"), arch["act"].as_str().expect("an activation"), init)),
        "MnistCNN" => Box::new(MnistCnn::new(arch, init)),
        "ResNet" => Box::new(ResNet::new(arch, init)),
        "LSTMClassifier" => Box::new(LstmClassifier::new(arch, init)),
        "GPT" => Box::new(Gpt::new(arch, init)),
        _ => return None,
    })
}

/// An activation by its name.
fn activate(name: &str, x: &Tensor) -> Tensor {
    match name {
        "relu" => x.relu(),
        "tanh" => x.tanh(),
        "gelu" | "none" => x.gelu(),
        "gelu_tanh" => x.gelu_tanh(),
        "silu" => x.silu(),
        "sigmoid" => x.sigmoid(),
        "elu" => x.elu(1.0),
        "leaky_relu" => x.leaky_relu(0.01),
        "softplus" => x.softplus(1.0, 20.0),
        "mish" => x.mish(),
        "selu" => x.selu(),
        other => panic!("no activation {other} here"),
    }
}

struct Mlp {
    layers: Vec<Linear>,
    act: String,
}
module!(Mlp { layers; act });

impl Mlp {
    fn new(sizes: &[usize], act: &str, init: &mut Init) -> Mlp {
        let layers = sizes.windows(2).map(|pair| Linear::new(pair[0], pair[1], init)).collect();
        Mlp { layers, act: act.to_string() }.named()
    }
}

impl Layer for Mlp {
    fn forward(&self, input: &Tensor) -> Tensor {
        let mut x = input.clone();
        for (place, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x);
            if place + 1 < self.layers.len() {
                x = activate(&self.act, &x);
            }
        }
        x
    }
}

struct MnistCnn {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}
module!(MnistCnn { conv1, conv2, fc1, fc2 });

impl MnistCnn {
    fn new(arch: &Value, init: &mut Init) -> MnistCnn {
        let [c1, c2, hidden, size, classes] = ["c1", "c2", "hidden", "size", "classes"].map(|key| number(arch, key));
        let side = (size - 4) / 2;
        MnistCnn {
            conv1: Conv2d::new(1, c1, 3, init),
            conv2: Conv2d::new(c1, c2, 3, init),
            fc1: Linear::new(c2 * side * side, hidden, init),
            fc2: Linear::new(hidden, classes, init),
        }
        .named()
    }
}

impl Layer for MnistCnn {
    fn forward(&self, input: &Tensor) -> Tensor {
        let x = self.conv2.forward(&self.conv1.forward(input).relu()).relu().max_pool2d(2);
        let x = self.fc1.forward(&Flatten::new().forward(&x)).relu();
        self.fc2.forward(&x).log_softmax(1)
    }
}

struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    down: Option<Sequential>,
}
module!(Block { conv1, bn1, conv2, bn2, down });

/// A convolution without a bias, whose padding keeps the sizes where the stride is 1.
fn conv(inputs: usize, outputs: usize, kernel: usize, stride: usize, init: &mut Init) -> Conv2d {
    Conv2d::options(inputs, outputs, kernel).with_stride(stride).with_padding(kernel / 2).without_bias().build(init)
}

impl Block {
    fn new(inputs: usize, outputs: usize, stride: usize, init: &mut Init) -> Block {
        let other = stride > 1 || inputs != outputs;
        let mut down =
            || Sequential::new().then(conv(inputs, outputs, 1, stride, init)).then(BatchNorm2d::new(outputs, init));
        let down = other.then(&mut down);
        Block {
            conv1: conv(inputs, outputs, 3, stride, init),
            bn1: BatchNorm2d::new(outputs, init),
            conv2: conv(outputs, outputs, 3, 1, init),
            bn2: BatchNorm2d::new(outputs, init),
            down,
        }
    }
}

impl Layer for Block {
    fn forward(&self, input: &Tensor) -> Tensor {
        let y = self.bn1.forward(&self.conv1.forward(input)).relu();
        let y = self.bn2.forward(&self.conv2.forward(&y));
        let beside = self.down.as_ref().map_or_else(|| input.clone(), |down| down.forward(input));
        (y + beside).relu()
    }
}

struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Block>,
    fc: Linear,
}
module!(ResNet { conv1, bn1, blocks, fc });

impl ResNet {
    fn new(arch: &Value, init: &mut Init) -> ResNet {
        let widths = list(arch, "widths");
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let (conv1, bn1) = (conv(number(arch, "cin"), first, 3, 1, init), BatchNorm2d::new(first, init));
        let from = std::iter::once(first).chain(widths.iter().copied());
        let blocks = from
            .zip(&widths)
            .enumerate()
            .map(|(place, (inputs, &outputs))| Block::new(inputs, outputs, if place == 0 { 1 } else { 2 }, init))
            .collect();
        ResNet { conv1, bn1, blocks, fc: Linear::new(last, number(arch, "classes"), init) }.named()
    }
}

impl Layer for ResNet {
    fn forward(&self, input: &Tensor) -> Tensor {
        let mut x = self.bn1.forward(&self.conv1.forward(input)).relu();
        for block in &self.blocks {
            x = block.forward(&x);
        }
        self.fc.forward(&x.mean_over([2, 3]))
    }
}

struct LstmClassifier {
    embed: Embedding,
    lstm: Lstm,
    fc: Linear,
}
module!(LstmClassifier { embed, lstm, fc });

impl LstmClassifier {
    fn new(arch: &Value, init: &mut Init) -> LstmClassifier {
        let [vocab, dim, hidden, layers, classes] =
            ["vocab", "dim", "hidden", "layers", "classes"].map(|key| number(arch, key));
        let both = arch["bidirectional"].as_bool().unwrap_or(false);
        let mut options = Lstm::options(dim, hidden).with_layers(layers).with_batch_first();
        if both {
            options = options.with_bidirectional();
        }
        LstmClassifier {
            embed: Embedding::new(vocab, dim, init),
            lstm: options.build(init),
            fc: Linear::new(hidden * (1 + both as usize), classes, init),
        }
        .named()
    }
}

impl Layer for LstmClassifier {
    fn forward(&self, input: &Tensor) -> Tensor {
        self.fc.forward(&self.lstm.forward(&self.embed.forward(input)).output.select(1, -1))
    }
}

struct GptBlock {
    ln_1: LayerNorm,
    ln_2: LayerNorm,
    c_attn: Linear,
    c_proj: Linear,
    fc: Linear,
    proj: Linear,
    heads: usize,
    tanh: bool,
}
module!(GptBlock { ln_1, ln_2, c_attn, c_proj, fc, proj; heads, tanh });

impl GptBlock {
    fn attend(&self, x: &Tensor) -> Tensor {
        Tensor::compute(|| {
            let [batch, length, width] = x.dims()?;
            let [q, k, v] = self.c_attn.forward(x).parts(-1);
            let heads = |x: &Tensor| x.reshape([batch, length, self.heads, width / self.heads]).transpose(1, 2);
            let y = heads(&q).scaled_dot_product_attention(&heads(&k), &heads(&v), &Attention::new().causal(true));
            Ok(self.c_proj.forward(&y.transpose(1, 2).reshape([batch, length, width])))
        })
    }
}

impl Layer for GptBlock {
    fn forward(&self, input: &Tensor) -> Tensor {
        let x = input + self.attend(&self.ln_1.forward(input));
        let hidden = self.fc.forward(&self.ln_2.forward(&x));
        let hidden = if self.tanh { hidden.gelu_tanh() } else { hidden.gelu() };
        &x + self.proj.forward(&hidden)
    }
}

/// Its output weight is the token embedding, owned there and used twice.
struct Gpt {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<GptBlock>,
    ln_f: LayerNorm,
}
module!(Gpt { wte, wpe, h, ln_f });

impl Gpt {
    fn new(arch: &Value, init: &mut Init) -> Gpt {
        let [vocab, context, dim, heads, layers] =
            ["vocab", "context", "dim", "heads", "layers"].map(|key| number(arch, key));
        let tanh = arch["gelu"] == "tanh";
        let mut block = || GptBlock {
            ln_1: LayerNorm::new(dim, init),
            ln_2: LayerNorm::new(dim, init),
            c_attn: Linear::new(dim, 3 * dim, init),
            c_proj: Linear::new(dim, dim, init),
            fc: Linear::new(dim, 4 * dim, init),
            proj: Linear::new(4 * dim, dim, init),
            heads,
            tanh,
        };
        let h = (0..layers).map(|_| block()).collect();
        let (wte, wpe) = (Embedding::new(vocab, dim, init), Embedding::new(context, dim, init));
        Gpt { wte, wpe, h, ln_f: LayerNorm::new(dim, init) }.named()
    }
}

impl Layer for Gpt {
    fn forward(&self, input: &Tensor) -> Tensor {
        let places = input.size(1).map_or_else(Tensor::failed, Tensor::arange);
        let mut x = self.wte.forward(input) + self.wpe.forward(&places.to_dtype(DType::I64));
        for block in &self.h {
            x = block.forward(&x);
        }
        self.ln_f.forward(&x).matmul(&self.wte.weight.t()).flatten_axes(0, 1)
    }
}
