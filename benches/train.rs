//! What the trainer costs beside the loop by hand that it stands for.
//!
//! `cargo bench --bench train`
#![allow(missing_docs)] // a benchmark is no library

use chainrule::data::{Batch, Examples, Loader};
use chainrule::nn::{Init, Layer, Linear, Module, Relu, Sequential};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::train::{Progress, Trainer};
use chainrule::{Random, Result, Tensor, cross_entropy, threads};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const STEPS: usize = 100;

fn by_hand(model: &mut Sequential, optimizer: &mut AdamW, loader: &Loader<Examples>) -> Result<f64> {
    let mut last = 0.0;
    for batch in loader.epoch(0) {
        let Batch { input, target } = batch?;
        let loss = cross_entropy(&model.forward(&input), &target);
        optimizer.step(model, &loss.backward()?)?;
        last = loss.item()?;
    }
    Ok(last)
}

fn steps(c: &mut Criterion) {
    for [inputs, hidden, batch] in [[16, 32, 32], [784, 128, 64]] {
        let x = Tensor::normal([batch * STEPS, inputs], 0.0, 1.0, &mut Random::new(1));
        let y = Tensor::integers([batch * STEPS], 0..10, &mut Random::new(2));
        let loader = Loader::new(Examples::new(&x, &y).expect("examples"), batch).shuffled(1);
        let made = || {
            let mut init = Init::new().seed(1);
            let (first, last) = (Linear::new(inputs, hidden, &mut init), Linear::new(hidden, 10, &mut init));
            (Sequential::new().then(first).then(Relu).then(last).named(), AdamW::new(1e-3))
        };
        let mut group = c.benchmark_group(format!("a step of {inputs}-{hidden}-10, {batch} at once, one thread"));
        group.throughput(Throughput::Elements(STEPS as u64)).sample_size(20);
        let (mut model, mut optimizer) = made();
        group.bench_function("by hand", |b| {
            b.iter(|| threads(1, || by_hand(&mut model, &mut optimizer, &loader)).expect("a loss"))
        });
        let (mut model, mut optimizer) = made();
        let mut trainer = Trainer::supervised(cross_entropy).with_progress(Progress::Quiet);
        group.bench_function("trainer", |b| {
            b.iter(|| threads(1, || trainer.fit(&mut model, &mut optimizer, &loader)).expect("a history"))
        });
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
