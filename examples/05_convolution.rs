//! Two convolution networks on small pictures of six shapes: one shaped like AlexNet, one like ResNet.
//!
//! ```text
//! cargo run --release --example 05_convolution
//! cargo run --release --features cuda --example 05_convolution -- --device cuda
//! cargo run --release --example 05_convolution -- --data pictures.npz    # `images` [N, channels, height, width], `labels` [N]
//! ```
//!
//! It prints (the pictures are made here; some ten seconds):
//!
//! ```text
//! AlexNet-shaped: 32934 parameters
//!   epoch 0   loss 1.5134
//!   epoch 1   loss 0.6311
//!   epoch 2   loss 0.2599
//!   epoch 3   loss 0.1646
//!   epoch 4   loss 0.1164
//!   epoch 5   loss 0.1060
//!   test accuracy 97.2 %
//! ResNet-shaped: 43818 parameters
//!   epoch 0   loss 0.8296
//!   epoch 1   loss 0.1241
//!   epoch 2   loss 0.0295
//!   epoch 3   loss 0.0210
//!   epoch 4   loss 0.0096
//!   epoch 5   loss 0.0090
//!   test accuracy 100.0 %
//! ```

mod common;

use chainrule::loss::cross_entropy;
use chainrule::nn::{AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Init, Layer, Linear, MaxPool2d, Module};
use chainrule::nn::{Relu, Sequential};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Later, Random, Result, Tensor, io, module, no_grad};

/// Convolutions with growing channels and shrinking pictures, then a classifier with dropout: the plan of Krizhevsky,
/// Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
fn alexnet_shaped(channels: usize, classes: usize, init: &mut Init) -> Sequential {
    let conv = |inputs, outputs, init: &mut Init| Conv2d::options(inputs, outputs, 3).with_padding(1).build(init);
    Sequential::new()
        .then(conv(channels, 16, init))
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(conv(16, 32, init))
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(conv(32, 32, init))
        .then(Relu)
        .then(AdaptiveAvgPool2d::new([3, 3]))
        .then(Flatten::new())
        .then(Dropout::new(0.2, init))
        .then(Linear::new(32 * 9, 64, init))
        .then(Relu)
        .then(Linear::new(64, classes, init))
        .named()
}

/// A block that adds to its input what two convolutions find in it: He, Zhang, Ren and Sun, "Deep residual learning for
/// image recognition", 2015. Where the sizes change, the input takes a convolution of size one.
#[derive(Clone, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    down: Option<Sequential>,
}
module!(Block { conv1, bn1, conv2, bn2, down });

impl Block {
    fn new(inputs: usize, outputs: usize, stride: usize, init: &mut Init) -> Block {
        let conv = |inputs, kernel, stride: usize, init: &mut Init| {
            let options = Conv2d::options(inputs, outputs, kernel).with_stride(stride).with_padding(kernel / 2);
            options.without_bias().build(init)
        };
        let down = (stride > 1 || inputs != outputs)
            .then(|| Sequential::new().then(conv(inputs, 1, stride, init)).then(BatchNorm2d::new(outputs, init)));
        Block {
            conv1: conv(inputs, 3, stride, init),
            bn1: BatchNorm2d::new(outputs, init),
            conv2: conv(outputs, 3, 1, init),
            bn2: BatchNorm2d::new(outputs, init),
            down,
        }
    }
}

impl Layer for Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.bn1.forward(&self.conv1.forward(x)).relu();
        let y = self.bn2.forward(&self.conv2.forward(&y));
        let x = self.down.as_ref().map_or(x.clone(), |down| down.forward(x));
        (y + x).relu()
    }
}

fn resnet_shaped(channels: usize, classes: usize, init: &mut Init) -> Sequential {
    Sequential::new()
        .then_named("stem", Conv2d::options(channels, 12, 3).with_padding(1).without_bias().build(init))
        .then_named("bn", BatchNorm2d::new(12, init))
        .then_named("relu", Relu)
        .then_named("block1", Block::new(12, 12, 1, init))
        .then_named("block2", Block::new(12, 24, 2, init))
        .then_named("block3", Block::new(24, 48, 2, init))
        .then_named("pool", AdaptiveAvgPool2d::new([1, 1]))
        .then_named("flatten", Flatten::new())
        .then_named("head", Linear::new(48, classes, init))
        .named()
}

/// Trains for some epochs and says how many of the pictures it has not seen the model knows.
fn train(name: &str, mut model: Sequential, [train, test]: [&(Tensor, Tensor); 2]) -> Result<f64> {
    println!("{name}: {} parameters", model.parameter_count());
    let mut optimizer = AdamW::new(3e-3);
    let ([count, ..], batch) = (train.0.dims::<4>()?, 50);
    let (epochs, batches) = (common::steps(6, 1), common::steps(count / batch, 12));
    // The running statistics of the norms follow the weights some ten steps behind: at the end these must hardly move.
    let mut schedule = Cosine::new((epochs * batches) as u64).start(&mut optimizer);
    let mut order = Random::new(7);
    for epoch in 0..epochs {
        let shuffled = Tensor::permutation(count, &mut order).to(train.0.device()?);
        let mut losses = Vec::new();
        for step in 0..batches {
            let rows = shuffled.narrow(0, step * batch, batch);
            let scores = model.forward(&train.0.index_select(0, &rows));
            let loss = cross_entropy(&scores, &train.1.index_select(0, &rows));
            losses.push(loss.read_later());
            optimizer.step(&mut model, &loss.backward()?)?;
            schedule.step(&mut optimizer);
        }
        let total = losses.into_iter().map(Later::item).sum::<Result<f64>>()?;
        println!("  epoch {epoch}   loss {:.4}", total / batches as f64);
    }
    model.freeze();
    let accuracy = common::accuracy(&no_grad(|| model.forward(&test.0)), &test.1)?;
    println!("  test accuracy {accuracy:.1} %");
    Ok(accuracy)
}

fn main() -> Result<()> {
    let (seen, unseen) = match common::data() {
        Some(path) => {
            let file = io::load(path)?;
            let (images, labels) = (
                file.get("images")?.to_dtype(chainrule::DType::F32),
                file.get("labels")?.to_dtype(chainrule::DType::I64),
            );
            let [count, ..] = images.dims::<4>()?;
            let test = count / 5;
            let part = |at, count| (images.narrow(0, at, count), labels.narrow(0, at, count));
            (part(test, count - test), part(0, test))
        }
        None => (common::pictures(2000, 1)?, common::pictures(500, 2)?),
    };
    let device = common::device()?;
    let [seen, unseen] = [seen, unseen].map(|(images, labels)| (images.to(device), labels.to(device)));
    let [_, channels, ..] = seen.0.dims::<4>()?;
    let classes = seen.1.max().item()? as usize + 1;

    let mut init = Init::on(&device).seed(1);
    let (alexnet, resnet) = (alexnet_shaped(channels, classes, &mut init), resnet_shaped(channels, classes, &mut init));
    let first = train("AlexNet-shaped", alexnet, [&seen, &unseen])?;
    let second = train("ResNet-shaped", resnet, [&seen, &unseen])?;
    let made = common::data().is_none() && !common::quick();
    assert!(!made || (first > 85.0 && second > 85.0), "the shapes were not learnt");
    Ok(())
}
