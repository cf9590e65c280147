//! Fine-tuning, three ways: a network that knows four shapes is taught two new ones with sixteen examples.
//!
//! ```text
//! cargo run --release --example 09_fine_tuning
//! cargo run --release --features cuda --example 09_fine_tuning -- --device cuda
//! ```
//!
//! - *from scratch*: a new network, trained on the few examples alone;
//! - *a new head*: the trained body is frozen, only a new last layer learns;
//! - *LoRA*: everything trained is frozen, and each linear layer gets two thin matrices whose product is added to its weight.
//!   Hu, Shen, Wallis and others, "LoRA: low-rank adaptation of large language models", 2021.
//!
//! It prints (two seconds):
//!
//! ```text
//! pre-trained    41460 numbers learnt   accuracy 100.0 %
//! two new shapes, 16 examples:
//! from scratch   41330 numbers learnt   accuracy  94.8 %
//! a new head       130 numbers learnt   accuracy  98.7 %
//! LoRA            2788 numbers learnt   accuracy  96.6 %
//! the adapter: hidden.lora_down, hidden.lora_up, head.lora_down, head.lora_up
//! ```

mod common;

use chainrule::loss::cross_entropy;
use chainrule::nn::{Conv2d, Flatten, Init, Initial, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{DType, Parameter, Result, Tensor, module, no_grad};

/// A linear layer that may carry an adapter: `W x + b + up (down x)`.
#[derive(Clone, Debug)]
struct Adapted {
    linear: Linear,
    down: Option<Parameter>,
    up: Option<Parameter>,
}
module!(Adapted { linear as "", down as "lora_down", up as "lora_up" });

impl Adapted {
    fn new(inputs: usize, outputs: usize, init: &mut Init) -> Adapted {
        Adapted { linear: Linear::new(inputs, outputs, init), down: None, up: None }
    }
    /// Adds two thin matrices. `up` starts at zero, so nothing changes at first.
    fn adapt(&mut self, rank: usize, init: &mut Init) -> Result<()> {
        let [outputs, inputs] = self.linear.weight.dims()?;
        self.down = Some(init.parameter([rank, inputs], Initial::Within { size: inputs }));
        self.up = Some(init.parameter([outputs, rank], Initial::Zeros));
        Ok(())
    }
}

impl Layer for Adapted {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.linear.forward(x);
        match (&self.down, &self.up) {
            (Some(down), Some(up)) => y + x.linear(down, None).linear(up, None),
            _ => y,
        }
    }
}

/// Convolutions that look, linear layers that decide.
#[derive(Clone, Debug)]
struct Network {
    body: Sequential,
    hidden: Adapted,
    head: Adapted,
}
module!(Network { body, hidden, head });

impl Network {
    fn new(classes: usize, init: &mut Init) -> Network {
        let conv = |inputs, outputs, init: &mut Init| Conv2d::options(inputs, outputs, 3).with_padding(1).build(init);
        let body = Sequential::new()
            .then(conv(1, 12, init))
            .then(Relu)
            .then(MaxPool2d::new(2))
            .then(conv(12, 24, init))
            .then(Relu)
            .then(MaxPool2d::new(2))
            .then(Flatten::new());
        Network { body, hidden: Adapted::new(24 * 25, 64, init), head: Adapted::new(64, classes, init) }.named()
    }
}

impl Layer for Network {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.hidden.forward(&self.body.forward(x)).relu())
    }
}

/// Pictures of these classes alone, counted from zero, at most `most` of them.
fn shapes(count: usize, seed: u64, classes: std::ops::Range<i64>, most: usize) -> Result<(Tensor, Tensor)> {
    let (images, labels) = common::pictures(count, seed)?;
    let labels = labels.to_vec::<i64>()?;
    let found: Vec<i64> =
        (0..).zip(&labels).filter(|(_, class)| classes.contains(class)).map(|(row, _)| row).take(most).collect();
    let own: Vec<i64> =
        labels.iter().filter(|class| classes.contains(class)).map(|class| class - classes.start).take(most).collect();
    let images = images.index_select(0, &Tensor::from_slice(&found, [found.len()])?);
    let device = common::device()?;
    Ok((images.to(device), Tensor::from_slice(&own, [own.len()])?.to(device)))
}

fn train(model: &mut Network, (images, labels): &(Tensor, Tensor), steps: usize) -> Result<()> {
    let mut optimizer = AdamW::new(2e-3);
    let ([count, ..], batch) = (images.dims::<4>()?, 40);
    for step in 0..steps {
        let size = batch.min(count);
        let at = step * size % (count - size + 1);
        let loss = cross_entropy(&model.forward(&images.narrow(0, at, size)), &labels.narrow(0, at, size));
        optimizer.step(model, &loss.backward()?)?;
    }
    Ok(())
}

fn report(how: &str, model: &Network, (images, labels): &(Tensor, Tensor)) -> Result<f64> {
    let learnt: usize = model
        .parameters()
        .iter()
        .filter(|(_, p)| !p.is_frozen())
        .map(|(_, p)| p.value().map_or(0, |v| v.count()))
        .sum();
    let accuracy = common::accuracy(&no_grad(|| model.forward(images)), labels)?;
    println!("{how:13} {learnt:6} numbers learnt   accuracy {accuracy:5.1} %");
    Ok(accuracy)
}

fn main() -> Result<()> {
    let mut init = Init::on(&common::device()?).seed(1);
    let old = shapes(2400, 1, 2..6, 1600)?;
    let mut trained = Network::new(4, &mut init);
    train(&mut trained, &old, common::steps(400, 20))?;
    report("pre-trained", &trained, &shapes(600, 2, 2..6, 400)?)?;

    let (few, test) = (shapes(400, 3, 0..2, 16)?, shapes(1200, 4, 0..2, 400)?);
    let steps = common::steps(200, 10);
    println!("two new shapes, {} examples:", few.1.dims::<1>()?[0]);

    let mut scratch = Network::new(2, &mut init);
    train(&mut scratch, &few, steps)?;
    report("from scratch", &scratch, &test)?;

    // A clone is another model: the trained one stays as it is.
    let mut tuned = trained.clone();
    tuned.freeze();
    tuned.head = Adapted::new(64, 2, &mut init);
    let mut tuned = tuned.named();
    train(&mut tuned, &few, steps)?;
    let head = report("a new head", &tuned, &test)?;

    let mut adapted = trained.clone();
    adapted.head = Adapted::new(64, 2, &mut init);
    adapted.freeze();
    adapted.hidden.adapt(4, &mut init)?;
    adapted.head.adapt(2, &mut init)?;
    let mut adapted = adapted.named();
    train(&mut adapted, &few, steps)?;
    let lora = report("LoRA", &adapted, &test)?;

    // What an adapter is saved as: its own numbers alone, a few kilobytes.
    let adapter: Vec<String> =
        adapted.tensors()?.into_iter().map(|(name, _)| name).filter(|name| name.contains("lora")).collect();
    println!("the adapter: {}", adapter.join(", "));
    let unchanged =
        trained.hidden.linear.weight.equal(&*adapted.hidden.linear.weight).to_dtype(DType::F32).mean().item()?;
    assert_eq!(unchanged, 1.0, "a frozen weight has changed");
    assert!(common::quick() || (head > 90.0 && lora > 90.0), "the new shapes were not learnt");
    Ok(())
}
