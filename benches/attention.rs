//! Attention, fused and in plain operations, forward and with its gradients; generation with a cache and without;
//! embedding, sort and top k beside it.
//!
//! `cargo bench --bench attention`. The throughput shown counts multiplications and additions of the two matrix
//! products forward (five more backward) as elements, so `Gelem/s` reads as GFLOP/s.
#![allow(missing_docs)]

use chainrule::nn::{Init, Masks, Module, TransformerEncoder, TransformerEncoderLayer};
use chainrule::{Attention, Random, Rotary, Tensor, no_grad};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    for (heads, length, width) in [(32, 128, 64), (8, 1024, 64), (1, 4096, 64)] {
        let name = format!("{heads}x{length}x{width}");
        let flops = 4 * heads * length * length * width;
        let mut random = Random::new(1);
        let [q, k, v] = [(); 3].map(|()| Tensor::normal([heads, length, width], 0.0, 1.0, &mut random).variable());
        let options = Attention::new();
        group.throughput(Throughput::Elements(flops as u64));
        group.bench_function(format!("fused/{name}"), |b| {
            b.iter(|| no_grad(|| black_box(q.scaled_dot_product_attention(&k, &v, &options))))
        });
        group.bench_function(format!("causal/{name}"), |b| {
            let options = Attention::new().causal(true);
            b.iter(|| no_grad(|| black_box(q.scaled_dot_product_attention(&k, &v, &options))))
        });
        group.bench_function(format!("plain/{name}"), |b| {
            b.iter(|| {
                no_grad(|| {
                    let weights = (q.matmul(&k.transpose(-1, -2)) * (1.0 / (width as f64).sqrt())).exp();
                    black_box((&weights / weights.sum_keep(-1)).matmul(&v))
                })
            })
        });
        group.throughput(Throughput::Elements(7 * flops as u64 / 2));
        group.bench_function(format!("fused and gradients/{name}"), |b| {
            b.iter(|| black_box(q.scaled_dot_product_attention(&k, &v, &options).sum().backward()))
        });
    }
}

fn positions(c: &mut Criterion) {
    let mut group = c.benchmark_group("positions");
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    let mut random = Random::new(1);
    let table = Tensor::normal([10_000, 256], 0.0, 1.0, &mut random).variable();
    let words = Tensor::arange(4096);
    group.throughput(Throughput::Bytes(4096 * 256 * 8));
    group.bench_function("embedding", |b| b.iter(|| no_grad(|| black_box(words.embedding(&table)))));
    group.bench_function("embedding and gradient", |b| b.iter(|| black_box(words.embedding(&table).sum().backward())));
    let row = Tensor::normal([1_000_000], 0.0, 1.0, &mut random);
    let rows = row.reshape([1000, 1000]);
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("sort one row", |b| b.iter(|| black_box(row.sort(0, false))));
    group.bench_function("sort 1000 rows", |b| b.iter(|| black_box(rows.sort(-1, false))));
    group.bench_function("topk 50 of 1000 rows", |b| b.iter(|| black_box(rows.topk(50, -1, true))));
}

/// The next token of a text of so many: with a cache of keys and values, and reading the whole text again.
fn generation(c: &mut Criterion) {
    let mut group = c.benchmark_group("generation");
    group.sample_size(10).measurement_time(std::time::Duration::from_secs(2));
    let layer = TransformerEncoderLayer::options(256, 8).with_feedforward(1024).with_rotary(Rotary::new());
    let mut model = TransformerEncoder::new(layer.with_norm_first().with_batch_first(), 4, &mut Init::new());
    model.freeze();
    for length in [64, 512] {
        let text = Tensor::normal([1, length, 256], 0.0, 1.0, &mut Random::new(1));
        let (start, last) = (text.narrow(1, 0, length - 1), text.narrow(1, length - 1, 1));
        let mut caches = model.caches();
        let _ = model.forward_cached(&start, &mut caches, &Masks::new());
        group.bench_function(format!("with a cache/{length}"), |b| {
            b.iter(|| {
                caches.iter_mut().for_each(|cache| cache.truncate(length - 1));
                black_box(model.forward_cached(&last, &mut caches, &Masks::new()))
            })
        });
        group.bench_function(format!("without/{length}"), |b| {
            b.iter(|| black_box(model.forward_masked(&text, &Masks::new().causal())))
        });
    }
}

criterion_group!(benches, attention, generation, positions);
criterion_main!(benches);
