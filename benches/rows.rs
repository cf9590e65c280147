//! Reductions, softmax and normalisations on one thread, beside a plain loop over the same bytes: `cargo bench --bench rows`.
//!
//! What reads only is held against a loop that reads, what writes as much as it reads against a copy. A closing table gives
//! the best times and the share of the loop's speed. `CHAINRULE_BENCH=64` takes 64 M elements (from memory) for 4 M.

use chainrule::{Rotary, Tensor, no_grad, threads};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Reads everything, in as many running sums as hide the latency of an addition.
fn read(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 64];
    for block in x.as_chunks::<64>().0 {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *lane += x;
        }
    }
    lanes.iter().sum()
}

/// A kernel under test: its name, bytes read and written for each element, and the call.
type Entry = (&'static str, usize, Box<dyn Fn()>);

fn entries(millions: usize) -> Vec<Entry> {
    let (rows, columns) = (millions << 10, 1 << 10);
    let numbers: Vec<f32> = (0..rows * columns).map(|i| (i * 7919 % 1013) as f32 / 500.0 - 1.0).collect();
    let source = numbers.clone();
    let mut target = vec![0.0f32; numbers.len()];
    let x = Tensor::from_vec(numbers, [rows, columns]).expect("sizes fit");
    let (weight, bias) = (Tensor::ones([columns]), Tensor::zeros([columns]));
    let call = |f: fn(&Tensor) -> Tensor| {
        let x = x.clone();
        Box::new(move || drop(black_box(f(&x)))) as Box<dyn Fn()>
    };
    let reading = source.clone();
    let copying = std::cell::RefCell::new(move || {
        target.copy_from_slice(black_box(&source));
        black_box(target.last());
    });
    let (x_norm, x_rms) = (x.clone(), x.clone());
    let scale = weight.clone();
    vec![
        (
            "read loop",
            4,
            Box::new(move || {
                black_box(read(&reading));
            }),
        ),
        ("sum", 4, call(|x| x.sum())),
        ("sum over rows", 4, call(|x| x.sum_over(1))),
        ("sum over columns", 4, call(|x| x.sum_over(0))),
        ("mean", 4, call(|x| x.mean())),
        ("max", 4, call(|x| x.max())),
        ("argmax over rows", 4, call(|x| x.argmax_over(1))),
        ("norm", 4, call(|x| x.norm())),
        ("var over rows", 4, call(|x| x.var_over(1))),
        ("var over columns", 4, call(|x| x.var_over(0))),
        ("logsumexp over rows", 4, call(|x| x.logsumexp_over(1))),
        ("copy loop", 8, Box::new(move || (copying.borrow_mut())())),
        ("softmax", 8, call(|x| x.softmax(1))),
        ("softmax down", 8, call(|x| x.softmax(0))),
        ("log_softmax", 8, call(|x| x.log_softmax(1))),
        ("layer_norm", 8, Box::new(move || drop(black_box(x_norm.layer_norm(1, Some(&weight), Some(&bias), 1e-5))))),
        ("rms_norm", 8, Box::new(move || drop(black_box(x_rms.rms_norm(1, Some(&scale), 1e-5))))),
        ("rotary", 8, call(|x| x.reshape([-1, 1024, 64]).rotary(0, Rotary::new()))),
        ("cumulative_sum", 8, call(|x| x.cumulative_sum(1))),
    ]
}

fn best(run: &dyn Fn()) -> Duration {
    (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn main() {
    let millions = std::env::var("CHAINRULE_BENCH").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    threads(1, || {
        no_grad(|| {
            let entries = entries(millions);
            let elements = (millions << 20) as u64;
            let quick = std::env::args().any(|argument| argument == "--table");
            if !quick {
                let mut criterion = Criterion::default()
                    .sample_size(10)
                    .warm_up_time(Duration::from_millis(200))
                    .measurement_time(Duration::from_millis(600))
                    .configure_from_args();
                let mut group = criterion.benchmark_group("rows");
                for (name, bytes, run) in &entries {
                    group.throughput(Throughput::Bytes(elements * *bytes as u64));
                    group.bench_function(BenchmarkId::new(*name, format!("{millions}M")), |b| b.iter(run));
                }
                group.finish();
            }
            println!("\n{millions} M elements, one thread{:>20}{:>10}{:>18}", "ms", "GB/s", "share of loop");
            let mut reference = Duration::ZERO;
            for (name, bytes, run) in &entries {
                let time = best(run);
                if name.ends_with("loop") {
                    reference = time;
                }
                let rate = (elements * *bytes as u64) as f64 / time.as_secs_f64() / 1e9;
                let share = reference.as_secs_f64() / time.as_secs_f64() * 100.0;
                println!("{name:<24}{:>22.2}{rate:>10.1}{share:>16.0} %", time.as_secs_f64() * 1e3);
            }
        })
    });
}
