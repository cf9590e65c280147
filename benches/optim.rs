//! Optimizers: what a step costs for tiny parameters, and how fast a large one goes beside a plain copy of the same bytes.
//!
//! `taskset -c 0 env CHAINRULE_THREADS=1 cargo bench --bench optim`; a closing table gives the best times of the large ones.
#![allow(missing_docs)] // a benchmark is no library

use chainrule::nn::{Init, Layer, Linear, Module, Relu, Sequential};
use chainrule::optim::{Adagrad, Adam, AdamW, Lamb, Lion, Optimizer, RmsProp, Sgd};
use chainrule::{Parameter, Tensor, threads};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn tiny(c: &mut Criterion) {
    let mut group = c.benchmark_group("an update");
    let init = &mut Init::new();
    let mut network =
        Sequential::new().then(Linear::new(2, 16, init)).then(Relu).then(Linear::new(16, 1, init)).named();
    let loss = network.forward(&Tensor::ones([4, 2])).square().mean();
    let gradients = loss.backward().expect("gradients");
    drop(loss);
    let mut one = Parameter::new(Tensor::ones([4]));
    let slope = one.sum().backward().expect("a gradient");
    let optimizers: [(&str, Box<dyn Optimizer>); 3] = [
        ("Sgd", Box::new(Sgd::new(1e-6))),
        ("Sgd with momentum", Box::new(Sgd::new(1e-6).with_momentum(0.9))),
        ("AdamW", Box::new(AdamW::new(1e-6))),
    ];
    for (name, mut optimizer) in optimizers {
        group.bench_function(format!("{name}, 4 numbers"), |b| {
            b.iter(|| optimizer.step(black_box(&mut one), &slope).expect("a step"))
        });
        group.bench_function(format!("{name}, 2-16-1"), |b| {
            b.iter(|| optimizer.step(black_box(&mut network), &gradients).expect("a step"))
        });
    }
    group.finish();
}

fn best(mut run: impl FnMut()) -> Duration {
    (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

/// 10 M numbers: bytes read and written for each of them, and the time.
fn large(_: &mut Criterion) {
    const COUNT: usize = 10_000_000;
    let optimizers: [(&str, usize, Box<dyn Optimizer>); 7] = [
        ("Sgd", 12, Box::new(Sgd::new(1e-6))),
        ("Sgd with momentum", 20, Box::new(Sgd::new(1e-6).with_momentum(0.9))),
        ("Adam", 28, Box::new(Adam::new(1e-6))),
        ("RmsProp", 20, Box::new(RmsProp::new(1e-6))),
        ("Adagrad", 20, Box::new(Adagrad::new(1e-6))),
        ("Lion", 20, Box::new(Lion::new(1e-6))),
        ("Lamb", 56, Box::new(Lamb::new(1e-6))),
    ];
    println!("\n10 M numbers of f32    bytes each      ms    GB/s   share of a copy");
    for (name, bytes, mut optimizer) in optimizers {
        let mut parameter = Parameter::new(Tensor::ones([COUNT]));
        let slope = (&*parameter * 2.0).sum().backward().expect("a gradient");
        // as many bytes as the step, half of them read
        let source = vec![1u8; COUNT * bytes / 2];
        let mut target = vec![0u8; source.len()];
        for count in [1, 2] {
            let (copy, step) = threads(count, || {
                let copy = best(|| {
                    let half = source.len() / count;
                    std::thread::scope(|scope| {
                        for (from, to) in source.chunks(half.max(1)).zip(target.chunks_mut(half.max(1))) {
                            scope.spawn(move || to.copy_from_slice(black_box(from)));
                        }
                    });
                    black_box(target.last());
                });
                (copy, best(|| optimizer.step(&mut parameter, &slope).expect("a step")))
            });
            let rate = (COUNT * bytes) as f64 / step.as_secs_f64() / 1e9;
            let share = copy.as_secs_f64() / step.as_secs_f64();
            let threads = if count == 1 { "1 thread " } else { "2 threads" };
            let milliseconds = step.as_secs_f64() * 1e3;
            println!("{name:18} {threads}  {bytes:5}    {milliseconds:8.2} {rate:7.2}   {:8.0} %", share * 100.0);
        }
    }
}

criterion_group!(benches, tiny, large);
criterion_main!(benches);
