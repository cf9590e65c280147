//! What goes through memory once, on one thread, beside a plain loop over the same bytes:
//! `taskset -c 0 cargo bench --bench rows`, with part of a name to see only that.
//!
//! What reads only is held against a loop that reads, what writes too against a copy. Every round runs every kernel and
//! both loops once, and the least time (the processor's) of all rounds counts: whatever else the machine does meets all of
//! them alike.
//! Three sizes: 1/4 M elements (in the second-level cache), 4 M and 64 M; `CHAINRULE_BENCH=4,64` takes others.
#![allow(missing_docs)] // a benchmark is no library

use chainrule::{Rotary, Tensor, no_grad, threads};
use measure::Clock;
use std::hint::black_box;

#[path = "workloads/measure.rs"]
#[allow(dead_code)] // its samples are for the workloads
mod measure;

/// Reads everything, in as many running sums as hide the latency of an addition.
fn read(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 64];
    for block in x.as_chunks::<64>().0 {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *lane += x;
        }
    }
    // Laid out before they are summed: else the compiler shuffles them in the loop.
    black_box(lanes).iter().sum()
}

/// A kernel under test: its name, bytes read and written for each element, and the call.
struct Entry {
    name: &'static str,
    bytes: usize,
    run: Box<dyn FnMut()>,
    best: f64,
}

const READ: &str = "read loop";
const COPY: &str = "copy loop";

fn entries(elements: usize) -> Vec<Entry> {
    let (rows, columns) = (elements >> 10, 1 << 10);
    // Without a pattern: sums that go down columns would meet a slope in one.
    let mut state = 1u64;
    let numbers: Vec<f32> = (0..elements)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    let mut target = vec![0.0f32; elements];
    let x = Tensor::from_vec(numbers, [rows, columns]).expect("sizes fit");
    let (weight, bias) = (Tensor::ones([columns]), Tensor::zeros([columns]));
    let mut entries = Vec::new();
    let mut add = |name, bytes, run: Box<dyn FnMut()>| entries.push(Entry { name, bytes, run, best: f64::MAX });
    let call = |f: fn(&Tensor) -> Tensor| {
        let x = x.clone();
        Box::new(move || drop(black_box(f(&x)))) as Box<dyn FnMut()>
    };
    // The loops go over the same memory as the kernels.
    let same = x.clone();
    add(
        READ,
        4,
        Box::new(move || {
            let _ = black_box(same.with_slice(|x: &[f32]| read(x)));
        }),
    );
    add("sum over rows", 4, call(|x| x.sum_over(1)));
    add("sum over columns", 4, call(|x| x.sum_over(0)));
    add("sum of all", 4, call(|x| x.sum()));
    add("max over rows", 4, call(|x| x.max_over(1)));
    add("max over columns", 4, call(|x| x.max_over(0)));
    add("max of all", 4, call(|x| x.max()));
    add("argmax over rows", 4, call(|x| x.argmax_over(1)));
    add("argmax over columns", 4, call(|x| x.argmax_over(0)));
    add("norm", 4, call(|x| x.norm()));
    add("variance over rows", 4, call(|x| x.var_over(1)));
    add("variance over columns", 4, call(|x| x.var_over(0)));
    add("variance of all", 4, call(|x| x.var()));
    add("logsumexp over rows", 4, call(|x| x.logsumexp_over(1)));
    add("logsumexp over columns", 4, call(|x| x.logsumexp_over(0)));
    let same = x.clone();
    add(
        COPY,
        8,
        Box::new(move || {
            let _ = black_box(same.with_slice(|x: &[f32]| target.copy_from_slice(x)));
            black_box(target.last());
        }),
    );
    let other = x.clone();
    add(
        "add",
        12,
        Box::new({
            let x = x.clone();
            move || drop(black_box(&x + &other))
        }),
    );
    add("times a number", 8, call(|x| x * 3.0));
    add("relu", 8, call(|x| x.relu()));
    add("exp", 8, call(|x| x.exp()));
    add("sigmoid", 8, call(|x| x.sigmoid()));
    add("tanh", 8, call(|x| x.tanh()));
    add("gelu", 8, call(|x| x.gelu()));
    add("silu", 8, call(|x| x.silu()));
    add("sin", 8, call(|x| x.sin()));
    add("softmax over rows", 8, call(|x| x.softmax(1)));
    add("softmax over columns", 8, call(|x| x.softmax(0)));
    add("log_softmax over rows", 8, call(|x| x.log_softmax(1)));
    let scale = weight.clone();
    let (norm, rms) = (x.clone(), x.clone());
    add("layer_norm", 8, Box::new(move || drop(black_box(norm.layer_norm(1, Some(&weight), Some(&bias), 1e-5)))));
    add("rms_norm", 8, Box::new(move || drop(black_box(rms.rms_norm(1, Some(&scale), 1e-5)))));
    add("rotary", 8, call(|x| x.reshape([-1, 1024, 64]).rotary(0, Rotary::new())));
    add("cumulative_sum", 8, call(|x| x.cumulative_sum(1)));
    add("transposed copy", 8, call(|x| x.transpose(0, 1).contiguous()));
    entries
}

fn main() {
    let sizes = std::env::var("CHAINRULE_BENCH").unwrap_or("0.25,4,64".to_string());
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for millions in sizes.split(',').filter_map(|size| size.parse::<f64>().ok()) {
        let elements = ((millions * (1 << 20) as f64) as usize).max(1 << 10) >> 10 << 10;
        let rounds = ((160 << 20) / elements).clamp(8, 300);
        let mut entries = entries(elements);
        let is_loop = |name: &str| name == READ || name == COPY;
        entries.retain(|entry| {
            wanted.is_empty() || is_loop(entry.name) || wanted.iter().any(|part| entry.name.contains(part.as_str()))
        });
        threads(1, || {
            no_grad(|| {
                for _ in 0..rounds {
                    for entry in &mut entries {
                        let start = Clock::Processor.now();
                        (entry.run)();
                        entry.best = entry.best.min(Clock::Processor.now() - start);
                    }
                }
            })
        });
        println!("\n{millions} M elements, one thread{:>16}{:>10}{:>18}", "ns", "GB/s", "share of loop");
        let mut roof = 0.0;
        for entry in &entries {
            let time = entry.best * 1e9 / elements as f64;
            let rate = entry.bytes as f64 / time;
            if is_loop(entry.name) {
                roof = rate;
            }
            println!("{:<26}{time:>18.3}{rate:>10.1}{:>16.0} %", entry.name, rate / roof * 100.0);
        }
    }
}
