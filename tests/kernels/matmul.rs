//! Products: every type, operands that lie either way or backwards, batches that are shared, what is joined to them.

use super::support::{Number, Random, given, launch, near};
use crate::emulator::call::{Plain, View, bytes};
use half::{bf16, f16};

/// `struct Product` of `kernels/matmul.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Product {
    first: i64,
    sizes: [i64; 3],
    a: [i64; 2],
    b: [i64; 2],
    start: [i64; 2],
    alpha: f64,
    beta: f64,
}
impl Plain for Product {}

/// Sizes m, n, k; the number of batches; does each operand lie the other way; are a start and a bias joined?
const CASES: [([usize; 3], usize, bool, bool, bool); 8] = [
    ([1, 1, 1], 1, false, false, false),
    ([64, 64, 32], 1, false, false, true),
    ([130, 140, 19], 1, true, false, true),
    ([33, 257, 8], 2, false, true, true),
    ([7, 5, 40], 3, true, true, false),
    ([3, 4, 0], 1, false, false, true),
    ([128, 1, 65], 1, false, false, false),
    ([150, 40, 72], 1, false, true, true),
];

fn product<T: Number>(kernel: &str, tile: usize) {
    for ([m, n, k], batches, a_turned, b_turned, joined) in CASES {
        let (a, b): (Vec<T>, Vec<T>) = (Random(21).list(batches * m * k + 1), Random(22).list(k * n + 1));
        let (start, bias): (Vec<T>, Vec<T>) = (Random(23).list(m), Random(24).list(n));
        let (alpha, beta) = if T::WHOLE { (1.0, 2.0) } else { (0.5, 2.0) };
        // All batches share b; the start is a column that all share.
        let steps =
            |turned: bool, rows: usize, columns: usize| if turned { [1, rows as i64] } else { [columns as i64, 1] };
        let numbers = Product {
            first: 0,
            sizes: [m as i64, n as i64, k as i64],
            a: steps(a_turned, m, k),
            b: steps(b_turned, k, n),
            start: [1, 0],
            alpha,
            beta,
        };
        let mut expected = vec![0.0; batches * m * n];
        for z in 0..batches {
            for i in 0..m {
                for j in 0..n {
                    let mut sum = 0.0;
                    for s in 0..k {
                        let at = z * (m * k) + i * numbers.a[0] as usize + s * numbers.a[1] as usize;
                        sum += a[at].to_f64() * b[s * numbers.b[0] as usize + j * numbers.b[1] as usize].to_f64();
                    }
                    let more = if joined { beta * start[i].to_f64() + bias[j].to_f64() } else { 0.0 };
                    expected[(z * m + i) * n + j] = T::from_f64(0.0).wrapped(alpha * sum + more);
                }
            }
        }
        let (Some(a), Some(b), Some(start), Some(bias)) = (given(&a), given(&b), given(&start), given(&bias)) else {
            return;
        };
        let steps = |by: usize| bytes(View::new(&[batches], &[by as i64]));
        let more = |buffer: &crate::emulator::call::Buffer| if joined { buffer.argument() } else { bytes(0u64) };
        let grid = [n.div_ceil(tile), m.div_ceil(tile), batches];
        // The output stands between inputs: `launch` puts it behind the first two.
        let rest = [more(&start), more(&bias), bytes(numbers), steps(m * k), steps(0), steps(0)];
        let found: Vec<T> = launch(kernel, grid, &[a.argument(), b.argument()], batches * m * n, &rest).unwrap();
        let scale = 1.0 / (k as f64).sqrt().max(1.0);
        if T::WHOLE {
            assert_eq!(found.iter().map(|x| x.to_f64()).collect::<Vec<_>>(), expected, "{kernel} {m} {n} {k}");
        } else {
            let scaled: Vec<T> = found.iter().map(|x| T::from_f64(x.to_f64() * scale)).collect();
            near(&format!("{kernel} {m} {n} {k}"), &scaled, &expected.iter().map(|x| x * scale).collect::<Vec<_>>());
        }
    }
}

#[test]
fn products_of_every_type() {
    product::<f32>("matmul_f32", 128);
    product::<f32>("matmul_small_f32", 64);
    product::<f64>("matmul_f64", 64);
    product::<bf16>("matmul_bf16", 64);
    product::<bf16>("matmul_tensor_bf16", 128);
    product::<f16>("matmul_f16", 64);
    product::<i64>("matmul_i64", 64);
    product::<i32>("matmul_i32", 64);
    product::<u8>("matmul_u8", 64);
}
