//! Convolutions and pooling of two networks: elements per second are floating-point operations (two for each product).
//!
//! `cargo bench --bench conv`; `CHAINRULE_THREADS=1` for one thread.
#![allow(missing_docs)]

use chainrule::{Conv, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

/// A 3 x 3 convolution of a network.
struct Layer {
    name: &'static str,
    batch: usize,
    channels: usize,
    outputs: usize,
    size: usize,
    padding: usize,
    groups: usize,
}

const LAYERS: [Layer; 4] = [
    Layer { name: "digits 1 to 32", batch: 64, channels: 1, outputs: 32, size: 28, padding: 0, groups: 1 },
    Layer { name: "digits 32 to 64", batch: 64, channels: 32, outputs: 64, size: 26, padding: 0, groups: 1 },
    Layer { name: "block 64 to 64", batch: 16, channels: 64, outputs: 64, size: 32, padding: 1, groups: 1 },
    Layer { name: "depthwise 64", batch: 16, channels: 64, outputs: 64, size: 32, padding: 1, groups: 64 },
];

fn noise(sizes: &[usize]) -> Tensor {
    let count: usize = sizes.iter().product();
    let numbers = (0..count).map(|i| (i * 2_654_435_761 % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_vec(numbers, sizes).expect("sizes fit")
}

fn convolutions(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv2d");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for Layer { name, batch, channels, outputs, size, padding, groups } in LAYERS {
        let conv = Conv::new().padding(padding).groups(groups);
        let x = noise(&[batch, channels, size, size]);
        let weight = noise(&[outputs, channels / groups, 3, 3]);
        let bias = noise(&[outputs]);
        let after = size + 2 * padding - 2;
        let flops = 2 * batch * outputs * after * after * channels / groups * 9;
        group.throughput(Throughput::Elements(flops as u64));
        group.bench_function(format!("{name}, forward"), |b| {
            b.iter(|| black_box(x.conv2d(&weight, Some(&bias), conv)));
        });
        let arriving = noise(&[batch, outputs, after, after]);
        let variable = x.clone().variable();
        group.bench_function(format!("{name}, input gradient"), |b| {
            let y = variable.conv2d(&weight, None, conv);
            b.iter(|| black_box(y.keep_graph().backward_from(&arriving).expect("a gradient")));
        });
        let weight = weight.variable();
        group.bench_function(format!("{name}, forward and weight gradient"), |b| {
            b.iter(|| {
                let y = x.conv2d(&weight, None, conv);
                black_box(y.backward_from(&arriving).expect("a gradient"))
            });
        });
    }
    group.finish();
}

fn pooling(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let x = noise(&[64, 64, 24, 24]);
    group.throughput(Throughput::Bytes(64 * 64 * 24 * 24 * 4));
    group.bench_function("max_pool2d 2", |b| b.iter(|| black_box(x.max_pool2d(2))));
    group.bench_function("average_pool2d 2", |b| b.iter(|| black_box(x.average_pool2d(2))));
    let variable = x.variable();
    group.bench_function("max_pool2d 2, forward and gradient", |b| {
        b.iter(|| black_box(variable.max_pool2d(2).sum().backward().expect("a gradient")));
    });
    group.finish();
}

criterion_group!(benches, convolutions, pooling);
criterion_main!(benches);
