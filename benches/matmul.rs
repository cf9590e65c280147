//! Matrix products beside the `matrixmultiply` crate in the same run: `cargo bench --bench matmul`.
//!
//! Throughput counts multiply-adds as two operations: Gelem/s is GFLOP/s.
#![allow(missing_docs)]

use chainrule::device::copy::Arrange;
use chainrule::device::cpu::Cpu;
use chainrule::device::matmul::{Joined, Matmul};
use chainrule::{DType, Shape, Value, threads};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// `m × k × n`.
const SIZES: [[usize; 3]; 9] = [
    [64, 64, 64],
    [128, 128, 128],
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    [1, 1024, 1024],
    [32, 784, 512],
    [64, 512, 2048],
    [64, 512, 10],
];

fn numbers(sizes: [usize; 2]) -> Value {
    let shape = Shape::new(&sizes).expect("a small shape");
    Value::build::<f32>(shape, |out| {
        for (i, x) in out.iter_mut().enumerate() {
            *x = (i % 17) as f32 / 8.0 - 1.0;
        }
    })
    .expect("memory for a matrix")
}

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matmul_f32_one_thread");
    for [m, k, n] in SIZES {
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        let name = format!("{m}x{k}x{n}");
        let (a, b) = (numbers([m, k]), numbers([k, n]));
        group.bench_function(BenchmarkId::new("chainrule", &name), |bencher| {
            threads(1, || bencher.iter(|| Cpu.matmul(black_box(&a), black_box(&b), Joined::default())))
        });
        let (x, y) = (a.dense::<f32>().expect("dense"), b.dense::<f32>().expect("dense"));
        let mut out = vec![0.0f32; m * n];
        group.bench_function(BenchmarkId::new("matrixmultiply", &name), |bencher| {
            bencher.iter(|| {
                // SAFETY: three dense row-major matrices of these sizes.
                unsafe {
                    matrixmultiply::sgemm(
                        m,
                        k,
                        n,
                        1.0,
                        x.as_ptr(),
                        k as isize,
                        1,
                        y.as_ptr(),
                        n as isize,
                        1,
                        0.0,
                        out.as_mut_ptr(),
                        n as isize,
                        1,
                    )
                }
                black_box(&mut out);
            })
        });
    }
    group.finish();
}

/// bf16: by pairs where the processor has instructions for them, widened to f32 elsewhere.
fn products_of_bf16(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matmul_bf16_one_thread");
    for [m, k, n] in SIZES {
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        let [a, b] = [[m, k], [k, n]].map(|sizes| Cpu.cast(&numbers(sizes), DType::BF16).expect("bf16"));
        group.bench_function(BenchmarkId::new("chainrule", format!("{m}x{k}x{n}")), |bencher| {
            threads(1, || bencher.iter(|| Cpu.matmul(black_box(&a), black_box(&b), Joined::default())))
        });
    }
    group.finish();
}

criterion_group!(benches, products, products_of_bf16);
criterion_main!(benches);
