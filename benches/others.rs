//! What goes neither through memory once nor through matrix products only: linear algebra, sampling at positions, bits.
//!
//! `taskset -c 0 env CHAINRULE_THREADS=1 cargo bench --bench others`: the least time of many calls.
#![allow(missing_docs)] // a benchmark is no library

use chainrule::{DType, GridSample, Random, Tensor, no_grad};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let mut random = Random::new(1);
    let square = Tensor::normal([256, 256], 0.0, 1.0, &mut random);
    let small = Tensor::normal([128, 128], 0.0, 1.0, &mut random);
    let symmetric = &small + small.transpose(0, 1);
    let positive = square.matmul(&square.transpose(0, 1)) / 256.0 + Tensor::eye(256);
    let right = Tensor::normal([256, 16], 0.0, 1.0, &mut random);
    let batch = Tensor::normal([1000, 4, 4], 0.0, 1.0, &mut random);
    let images = Tensor::normal([8, 16, 64, 64], 0.0, 1.0, &mut random);
    let grid = Tensor::uniform([8, 64, 64, 2], -1.0..1.0, &mut random);
    let whole = (Tensor::uniform([1 << 20], 0.0..1e6, &mut random)).to_dtype(DType::I32);
    let places = whole.remainder(31.0).to_dtype(DType::I32);
    type Call<'a> = Box<dyn Fn() -> Tensor + 'a>;
    let calls: Vec<(&str, Call<'_>)> = vec![
        ("Cholesky factor, 256", Box::new(|| positive.cholesky())),
        ("solve, 256 x 256, 16 right sides", Box::new(|| square.solve(&right))),
        ("inverse, 256", Box::new(|| square.inverse())),
        ("determinant, 256", Box::new(|| square.determinant())),
        ("inverse, 1000 of 4 x 4", Box::new(|| batch.inverse())),
        ("QR, 256", Box::new(|| square.qr().0)),
        ("eigenvalues, symmetric 128", Box::new(|| symmetric.symmetric_eigenvalues())),
        ("singular values, 128", Box::new(|| small.singular_values())),
        ("grid_sample, 8 x 16 x 64 x 64", Box::new(|| images.grid_sample(&grid, GridSample::new()))),
        ("bits: and, 1 M", Box::new(|| whole.bitwise_and(&places))),
        ("bits: shift, 1 M", Box::new(|| whole.shift_right(&places))),
    ];
    for (name, call) in calls {
        let result = no_grad(&call);
        if let Err(error) = result.shape() {
            println!("{name}: {error}");
            continue;
        }
        let (begin, mut best, mut count) = (Instant::now(), Duration::MAX, 0);
        while count < 5 || begin.elapsed() < Duration::from_millis(800) {
            let start = Instant::now();
            drop(black_box(no_grad(&call)));
            best = best.min(start.elapsed());
            count += 1;
        }
        println!("{name:<36}{:>12.1} us", best.as_secs_f64() * 1e6);
    }
}
