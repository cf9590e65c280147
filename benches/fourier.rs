//! Fourier transforms on one thread: `taskset -c 0 cargo bench --bench fourier`, with lengths to see only those.
//!
//! Single signals, and as many as have 2^18 numbers together; in nanoseconds of the processor for each number of a signal, beside a copy
//! loop over as many numbers.
#![allow(missing_docs)] // a benchmark is no library

use chainrule::{Tensor, no_grad, threads};
use measure::Clock;
use std::hint::black_box;

#[path = "workloads/measure.rs"]
#[allow(dead_code)] // its samples are for the workloads
mod measure;

const LENGTHS: &[usize] = &[64, 256, 400, 512, 1024, 4096, 65536, 97, 1009];
/// Numbers of many signals together.
const TOGETHER: usize = 1 << 18;

/// The least seconds of a call, of many short samples.
fn best(mut run: impl FnMut()) -> f64 {
    let mut time = |calls: usize| {
        let start = Clock::Processor.now();
        (0..calls).for_each(|_| run());
        (Clock::Processor.now() - start) / calls as f64
    };
    let calls = (3e-4 / time(2).max(1e-8)) as usize + 1;
    (0..200).map(|_| time(calls)).fold(f64::MAX, f64::min)
}

fn main() {
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let lengths = if wanted.is_empty() { LENGTHS } else { &wanted };
    println!(
        "{:>8}{:>9}{:>10}{:>10}{:>10}{:>14}{:>10}",
        "length", "signals", "rfft", "irfft", "fft", "rfft (columns)", "copy"
    );
    for &length in lengths {
        for signals in [1, (TOGETHER / length).max(1)] {
            let numbers: Vec<f32> = (0..2 * signals * length).map(|i| (i * 7919 % 1013) as f32 / 506.0 - 1.0).collect();
            let pairs = Tensor::from_vec(numbers, [signals, length, 2]).expect("sizes fit");
            let x = pairs.select(-1, 0).contiguous();
            let (half, columns, mut target) =
                (x.rfft(1), x.transpose(0, 1).contiguous(), vec![0.0f32; signals * length]);
            let times = threads(1, || {
                no_grad(|| {
                    [
                        best(|| drop(black_box(x.rfft(1)))),
                        best(|| drop(black_box(half.irfft(1, length)))),
                        best(|| drop(black_box(pairs.fft(1)))),
                        best(|| drop(black_box(columns.rfft(0)))),
                        best(|| {
                            let _ = black_box(x.with_slice(|x: &[f32]| target.copy_from_slice(x)));
                            black_box(target.last());
                        }),
                    ]
                })
            });
            let [rfft, irfft, fft, columns, copy] = times.map(|time| time * 1e9 / (signals * length) as f64);
            println!("{length:>8}{signals:>9}{rfft:>10.3}{irfft:>10.3}{fft:>10.3}{columns:>14.3}{copy:>10.3}");
        }
    }
}
