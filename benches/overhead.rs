//! What an operation costs besides its arithmetic: tiny tensors, a tiny network.
//!
//! `taskset -c 0 env CHAINRULE_THREADS=1 cargo bench --bench overhead`
#![allow(missing_docs)] // a benchmark is no library

use chainrule::{Parameter, Random, Tensor, no_grad};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("4 elements");
    let (x, leaf) = (Tensor::ones([4]), Tensor::ones([4]).variable());
    group.bench_function("clone", |b| b.iter(|| black_box(x.clone())));
    group.bench_function("read an item", |b| {
        let one = Tensor::scalar(1.0);
        b.iter(|| black_box(one.item()))
    });
    group.bench_function("add", |b| b.iter(|| black_box(&x + &x)));
    group.bench_function("add a number", |b| b.iter(|| black_box(&x + 1.0)));
    group.bench_function("add, recorded", |b| b.iter(|| black_box(&leaf + &x)));
    group.bench_function("add, under no_grad", |b| b.iter(|| black_box(no_grad(|| &leaf + &x))));
    group.bench_function("tanh", |b| b.iter(|| black_box(x.tanh())));
    group.bench_function("sum", |b| b.iter(|| black_box(x.sum())));
    group.bench_function("a view", |b| b.iter(|| black_box(x.unsqueeze(0))));
    group.bench_function("an error", |b| {
        let other = Tensor::ones([3]);
        b.iter(|| black_box(&x + &other))
    });
    group.finish();
}

/// A network of 2 inputs, 16 hidden units and 1 output.
struct Network {
    layers: [Parameter; 4],
    x: Tensor,
    target: Tensor,
}

impl Network {
    fn new() -> Network {
        let mut random = Random::new(1);
        let mut weight = |outputs, inputs| Parameter::new(Tensor::normal([outputs, inputs], 0.0, 0.5, &mut random));
        Network {
            layers: [
                weight(16, 2),
                Parameter::new(Tensor::zeros([16])),
                weight(1, 16),
                Parameter::new(Tensor::zeros([1])),
            ],
            x: Tensor::from([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
            target: Tensor::from([[0.0], [1.0], [1.0], [0.0]]),
        }
    }
    fn answer(&self) -> Tensor {
        let [w1, b1, w2, b2] = &self.layers;
        self.x.linear(w1, Some(b1)).tanh().linear(w2, Some(b2))
    }
    fn loss(&self) -> Tensor {
        (self.answer() - &self.target).square().mean()
    }
    /// Forward, backward and an update of gradient descent.
    fn step(&mut self) -> Tensor {
        let loss = self.loss();
        let gradients = loss.backward().expect("gradients");
        for parameter in &mut self.layers {
            let gradient = gradients.of(parameter).expect("its gradient");
            let update = |slope: &[f32]| {
                parameter.update(|numbers: &mut [f32]| {
                    numbers.iter_mut().zip(slope).for_each(|(number, slope)| *number -= 0.1 * slope);
                })
            };
            gradient.with_slice(update).and_then(|done| done).expect("an update");
        }
        loss
    }
}

fn network(c: &mut Criterion) {
    let mut group = c.benchmark_group("2-16-1, batch 4");
    let mut network = Network::new();
    group.bench_function("forward, not recorded", |b| b.iter(|| black_box(no_grad(|| network.answer()))));
    group.bench_function("forward and loss, recorded", |b| b.iter(|| black_box(network.loss())));
    group.bench_function("forward and backward", |b| b.iter(|| black_box(network.loss().backward())));
    group.bench_function("step", |b| b.iter(|| black_box(network.step())));
    group.finish();
}

criterion_group!(benches, operations, network);
criterion_main!(benches);
