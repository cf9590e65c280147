//! The main job: a convolution network that reads handwritten digits.
//!
//! ```text
//! cargo run --release --example train_digits
//! cargo run --release --example train_digits -- --data path/to/mnist      # a folder of the four IDX files, plain or .gz
//! cargo run --release --features cuda --example train_digits -- --device cuda
//! cargo run --release --example train_digits -- --out runs/mine --epochs 8
//! ```
//!
//! Without `--data` the digits are drawn here: strokes of our own, thick or thin, slanted, shaken, with noise. A linear model
//! is trained first, to say how hard they are. Then the network: progress on the way, accuracy and confusion matrix at the
//! end, and in the folder `runs/digits` its weights (safetensors), checkpoints from which it goes on (`--resume`), history
//! (CSV, JSON), curves and confusion matrix as pictures (SVG), a report (HTML), a summary. Last it is loaded again, and reads
//! ten digits.
//!
//! It prints, among more (some thirty seconds on two cores):
//!
//! ```text
//! 20000 digits to learn from, 5000 to be judged by
//! a linear model reads 82.52 %
//! test accuracy 99.94 %
//! ```

mod common;

use chainrule::data::builtin::Digits;
use chainrule::data::{Affine, Batch, Dataset, Examples, Loader, Transform, idx};
use chainrule::loss::cross_entropy;
use chainrule::nn::{BatchNorm2d, Conv2d, Dropout, Flatten, Init, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
use chainrule::optim::AdamW;
use chainrule::optim::schedule::OneCycle;
use chainrule::train::metrics::{Accuracy, Confusion};
use chainrule::train::{Progress, Trainer, evaluate};
use chainrule::{Device, Result, io, no_grad};
use std::path::PathBuf;
use std::time::Instant;

/// What stands on the command line.
struct Wishes {
    data: Option<PathBuf>,
    device: Device,
    out: PathBuf,
    epochs: u64,
    resume: bool,
}

impl Wishes {
    fn read() -> Result<Wishes> {
        let epochs = common::after("--epochs").and_then(|number| number.to_str()?.parse().ok());
        Ok(Wishes {
            data: common::data(),
            device: common::device()?,
            out: common::after("--out").map_or_else(|| PathBuf::from("runs/digits"), PathBuf::from),
            epochs: epochs.unwrap_or(common::steps(6, 1) as u64),
            resume: std::env::args_os().any(|argument| argument == "--resume"),
        })
    }
}

/// Three times a convolution that looks for more, on a picture half as large; then a layer that decides.
fn network(init: &mut Init) -> Sequential {
    let conv = |inputs, outputs, init: &mut Init| {
        Conv2d::options(inputs, outputs, 3).with_padding(1).without_bias().build(init)
    };
    Sequential::new()
        .then_named("look1", conv(1, 16, init))
        .then_named("norm1", BatchNorm2d::new(16, init))
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then_named("look2", conv(16, 32, init))
        .then_named("norm2", BatchNorm2d::new(32, init))
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then_named("look3", conv(32, 64, init))
        .then_named("norm3", BatchNorm2d::new(64, init))
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(Flatten::new())
        .then(Dropout::new(0.3, init))
        .then_named("decide", Linear::new(64 * 9, 10, init))
        .named()
}

/// Digits to learn from and others to be judged by: those of a folder, or some drawn here.
fn digits(wishes: &Wishes) -> Result<[Examples; 2]> {
    match &wishes.data {
        Some(folder) => {
            let idx::Folder { train, test } = idx::folder(folder)?;
            Ok([train, test])
        }
        None => {
            let drawn = |count, seed| Digits::new(count).with_seed(seed).examples();
            Ok([drawn(common::steps(20_000, 300), 1)?, drawn(common::steps(5_000, 100), 2)?])
        }
    }
}

/// What a model without any hidden layer makes of them: a weight for each pixel and digit.
fn linear(seen: &Loader<Examples>, unseen: &Loader<Examples>, device: Device) -> Result<f64> {
    let mut init = Init::on(&device).seed(1);
    let mut model = Sequential::new().then(Flatten::new()).then(Linear::new(28 * 28, 10, &mut init)).named();
    let mut trainer = Trainer::supervised(cross_entropy)
        .with_epochs(common::steps(6, 1) as u64)
        .with_metric(Accuracy::new())
        .with_progress(Progress::Quiet);
    trainer.fit(&mut model, &mut AdamW::new(1e-3), seen)?;
    trainer.evaluate(&model, unseen)?.get("accuracy")
}

fn main() -> Result<()> {
    let (wishes, start) = (Wishes::read()?, Instant::now());
    let [seen, unseen] = digits(&wishes)?;
    println!("{} digits to learn from, {} to be judged by", seen.len(), unseen.len());

    let device = wishes.device;
    let (plain, test) = (Loader::new(seen.clone(), 64).shuffled(1).on(device), Loader::new(unseen, 250).on(device));
    let linear = 100.0 * linear(&plain, &test, device)?;
    println!("a linear model reads {linear:.2} %");

    // The same digits are never seen twice: moved and turned a little, by chance.
    let augment = Transform::new().affine(Affine::new().rotate(8.0).shift(0.06).scale(0.92..1.08));
    let loader = Loader::new(seen.transformed(augment), 64).shuffled(1).drop_last().on(device);
    let mut model = network(&mut Init::on(&device).seed(1));
    let summary = model.summary(&loader.dataset().dataset().input().narrow(0, 0, 1).to(device))?;
    println!("{summary}");
    let mut optimizer = AdamW::new(3e-3);
    let mut trainer = Trainer::supervised(cross_entropy)
        .with_epochs(wishes.epochs)
        .with_schedule(OneCycle::new(6e-3, wishes.epochs * loader.len() as u64))
        .with_validation(&test)
        .with_metric(Accuracy::new())
        .with_folder(&wishes.out)
        .with_report();
    if wishes.resume {
        trainer = trainer.resumed();
    }
    let history = trainer.fit(&mut model, &mut optimizer, &loader)?;
    drop(trainer);
    println!("{history}");

    let mut confusion = Confusion::new(10);
    let forward = |model: &Sequential, batch: &Batch| (model.forward(&batch.input), batch.target.clone());
    let accuracy = 100.0 * evaluate(&model, &test, &mut confusion, forward)?.get("accuracy")?;
    println!("{confusion}");
    println!("test accuracy {accuracy:.2} %");
    let took = start.elapsed().as_secs_f64();
    eprintln!("{took:.0} s in all");

    let file = |name: &str| wishes.out.join(name);
    io::save_model(file("weights.safetensors"), &model)?;
    confusion.chart().picture().save(file("confusion.svg"))?;
    let text = format!("{summary}\n{history}\n{confusion}\ntest accuracy {accuracy:.2} %\n");
    std::fs::write(file("summary.txt"), text).expect("the folder takes a file more");
    println!("in {}: weights, checkpoints, history, curves, confusion matrix, report, summary", wishes.out.display());

    // As another program would: a new network, the weights from the file.
    let mut reader = network(&mut Init::on(&device).seed(2));
    let loaded = io::load_model(file("weights.safetensors"), &mut reader)?.strict()?;
    reader.freeze();
    let ten = test.epoch(0).next().expect("there are digits to be judged by")?;
    let read = no_grad(|| reader.forward(&ten.input.narrow(0, 0, 10)).argmax_over(-1));
    println!("read again with {} tensors of the file: {read}", loaded.matched().len());
    println!("they are: {}", ten.target.narrow(0, 0, 10));

    if wishes.data.is_none() && !common::quick() {
        assert!(linear <= 90.0, "the digits are too easy: a linear model reads them");
        assert!(accuracy >= 98.0, "the network has not learnt to read");
    }
    Ok(())
}
