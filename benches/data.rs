//! What loading costs: batches of examples in memory, the hand-over from workers, image transforms.
//!
//! `cargo bench --bench data`
#![allow(missing_docs)] // a benchmark is no library

use chainrule::data::{Affine, Chance, Dataset, Examples, Loader, Order, Rows, Shuffled, Statistics, Transform};
use chainrule::{DType, Random, Result, Tensor, threads};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Items that cost nothing: what is left is the loader's own.
struct Nothing;

impl Dataset for Nothing {
    type Item = String;
    fn len(&self) -> usize {
        1_000
    }
    fn item(&self, _: usize, _: &mut Random) -> Result<String> {
        Ok(String::new())
    }
}

fn loading(c: &mut Criterion) {
    let mut group = c.benchmark_group("an epoch of 1000 batches");
    group.throughput(Throughput::Elements(1_000)).sample_size(10);
    let digits = Examples::new(&Tensor::zeros([64_000, 784]), &Tensor::arange(64_000)).expect("examples");
    for workers in [0, 1, 2] {
        let loader = Loader::new(Nothing, 1).with_workers(workers);
        group.bench_function(format!("of nothing, {workers} workers"), |b| b.iter(|| loader.epoch(0).count()));
        let loader = Loader::new(digits.clone(), 64).shuffled(1).with_workers(workers);
        group.bench_function(format!("of 64 x 784, {workers} workers"), |b| b.iter(|| loader.epoch(0).count()));
    }
    group.finish();
    let rows = Rows::new(&Tensor::normal([60_000, 784], 0.0, 1.0, &mut Random::new(1))).expect("rows");
    c.bench_function("shuffle 60000", |b| b.iter(|| Shuffled.indices(60_000, black_box(&Chance::new(1, 2)))));
    c.bench_function("statistics of 60000 x 784", |b| b.iter(|| Statistics::of(rows.tensor(), -1)));
}

fn transforms(c: &mut Criterion) {
    let mut group = c.benchmark_group("a 28 x 28 image of a batch of 256, one thread");
    group.throughput(Throughput::Elements(256));
    let images = Tensor::integers([256, 1, 28, 28], 0..256, &mut Random::new(1)).to_dtype(DType::F32);
    let chances = Chance::new(1, 2).of_each(&(0..256).collect::<Vec<_>>());
    let affine = Affine::new().rotate(10.0).shift(0.1).scale(0.9..1.1);
    let all = Transform::new().crop(28, 28, 2).flip().affine(affine.clone()).brightness(0.2).contrast(0.2);
    for (name, transform) in [
        ("nothing", Transform::new()),
        ("crop and flip", Transform::new().crop(28, 28, 2).flip()),
        ("affine", Transform::new().affine(affine)),
        ("erase", Transform::new().erase(0.5, 0.2)),
        ("noise", Transform::new().noise(0.1)),
        ("normalize", Transform::new().normalize(&[33.0], &[78.0])),
        ("crop, flip, affine, brightness, contrast, normalize", all.normalize(&[33.0], &[78.0])),
    ] {
        group.bench_function(name, |b| b.iter(|| threads(1, || transform.images(&images, &chances))));
    }
    group.finish();
}

criterion_group!(benches, loading, transforms);
criterion_main!(benches);
