//! Cross entropy at the sizes of a language model and of a wide classifier, beside a copy of the same bytes:
//! `cargo bench --bench loss`. `-- --table` skips the statistics.
//!
//! Forward reads the logits once. Forward and backward read them twice and write a gradient as large: it is held against
//! a loop that reads once and a loop that copies once.

use chainrule::{Tensor, cross_entropy, no_grad, threads};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A call under test, and the bytes that it cannot do without for each logit.
type Entry = (&'static str, usize, Box<dyn Fn()>);

fn entries(rows: usize, classes: usize) -> Vec<Entry> {
    let numbers: Vec<f32> = (0..rows * classes).map(|i| (i * 7919 % 1013) as f32 / 200.0 - 2.0).collect();
    let classes_meant: Vec<i64> = (0..rows).map(|row| (row * 31 % classes) as i64).collect();
    let target = Tensor::from_vec(classes_meant, [rows]).expect("sizes fit");
    let (source, mut copied) = (numbers.clone(), vec![0.0f32; numbers.len()]);
    let logits = Tensor::from_vec(numbers, [rows, classes]).expect("sizes fit");
    let copying = std::cell::RefCell::new(move || {
        copied.copy_from_slice(black_box(&source));
        black_box(copied.last());
    });
    let (plain, leaf, composed) = (logits.clone(), logits.variable(), logits);
    let (first, second, third) = (target.clone(), target.clone(), target);
    let step = move || cross_entropy(&leaf, &second).backward().expect("a gradient");
    vec![
        ("copy loop", 8, Box::new(move || (copying.borrow_mut())())),
        ("cross_entropy", 4, Box::new(move || drop(black_box(no_grad(|| cross_entropy(&plain, &first)))))),
        (
            "log_softmax, gather, mean",
            4,
            Box::new(move || {
                no_grad(|| drop(black_box(-composed.log_softmax(1).gather(1, &third.unsqueeze(1)).mean())));
            }),
        ),
        ("cross_entropy and gradient", 12, Box::new(move || drop(black_box(step())))),
    ]
}

fn best(run: &dyn Fn()) -> Duration {
    let times = (0..15).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--table");
    threads(1, || {
        for (rows, classes) in [(64, 50257), (4096, 1024)] {
            let entries = entries(rows, classes);
            let elements = (rows * classes) as u64;
            if !quick {
                let mut criterion = Criterion::default()
                    .sample_size(10)
                    .warm_up_time(Duration::from_millis(200))
                    .measurement_time(Duration::from_millis(600))
                    .configure_from_args();
                let mut group = criterion.benchmark_group("loss");
                for (name, bytes, run) in &entries {
                    group.throughput(Throughput::Bytes(elements * *bytes as u64));
                    group.bench_function(BenchmarkId::new(*name, format!("{rows}x{classes}")), |b| b.iter(run));
                }
                group.finish();
            }
            let size = format!("[{rows}, {classes}], one thread");
            println!("\n{size:<32}{:>10}{:>10}{:>18}", "ms", "GB/s", "share of loop");
            let mut reference = 0.0;
            for (name, bytes, run) in &entries {
                let time = best(run).as_secs_f64();
                let rate = (elements * *bytes as u64) as f64 / time / 1e9;
                if name.ends_with("loop") {
                    reference = rate;
                }
                println!("{name:<32}{:>10.2}{rate:>10.1}{:>16.0} %", time * 1e3, rate / reference * 100.0);
            }
        }
    });
}
