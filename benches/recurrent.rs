//! Recurrent layers, fused and in plain operations, forward and with their gradients, on one thread.
//!
//! `cargo bench --bench recurrent`. The throughput shown counts multiplications and additions of the products with input
//! and hidden state (three times as many with gradients) as elements, so `Gelem/s` reads as GFLOP/s.
#![allow(missing_docs)]

use chainrule::{Random, Recurrence, Tensor, no_grad, threads};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// The layer step after step, as one would write it without the fused operation.
fn plain_lstm(x: &Tensor, weights: &[Tensor; 2], hidden: usize) -> Option<Tensor> {
    let (steps, batch) = (x.size(0).ok()?, x.size(1).ok()?);
    let [input, inner] = weights.each_ref().map(|weight| weight.transpose(0, 1));
    let (mut state, mut cell) = (Tensor::zeros([batch, hidden]), Tensor::zeros([batch, hidden]));
    let mut outputs = Vec::new();
    for step in 0..steps {
        let gates = x.select(0, step).matmul(&input) + state.matmul(&inner);
        let [i, f, g, o] = gates.parts(-1);
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh();
        state = o.sigmoid() * cell.tanh();
        outputs.push(state.clone());
    }
    Some(Tensor::stack(&outputs, 0))
}

fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("recurrent");
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    for (steps, batch, input, hidden) in [(64, 32, 64, 256), (20, 1, 16, 32)] {
        let mut random = Random::new(1);
        let mut normal = |sizes: [usize; 2]| Tensor::normal(sizes, 0.0, 0.05, &mut random).variable();
        let x = normal([steps * batch, input]).reshape([steps, batch, input]).detach();
        let zeros = Tensor::zeros([batch, hidden]);
        for (name, gates) in [("lstm", 4), ("gru", 3), ("rnn_tanh", 1)] {
            let tensors = [normal([gates * hidden, input]), normal([gates * hidden, hidden])];
            let bias = normal([1, gates * hidden]).detach().flatten().variable();
            let weights = Recurrence::new(&tensors[0], &tensors[1]).biases(&bias, &bias);
            let run = || match gates {
                4 => x.lstm(&zeros, &zeros, &weights)[0].clone(),
                3 => x.gru(&zeros, &weights)[0].clone(),
                _ => x.rnn_tanh(&zeros, &weights)[0].clone(),
            };
            let label = format!("{name}/{steps}x{batch}x{input}x{hidden}");
            let flops = (2 * steps * batch * gates * hidden * (input + hidden)) as u64;
            group.throughput(Throughput::Elements(flops));
            group
                .bench_function(format!("{label}/forward"), |b| threads(1, || b.iter(|| no_grad(|| black_box(run())))));
            group.throughput(Throughput::Elements(3 * flops));
            group.bench_function(format!("{label}/gradients"), |b| {
                threads(1, || b.iter(|| black_box(run().square().mean().backward())))
            });
            if gates == 4 {
                group.bench_function(format!("{label}/plain gradients"), |b| {
                    threads(1, || {
                        b.iter(|| black_box(plain_lstm(&x, &tensors, hidden).map(|y| y.square().mean().backward())))
                    })
                });
            }
        }
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
