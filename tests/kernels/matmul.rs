//! Products: every type, operands that lie either way or backwards, batches that are shared, what is joined to them, the shared
//! axis cut into pieces.

use super::support::{Number, Random, given, in_every_order, near};
use crate::emulator::call::{Argument, Boxed, Buffer, Plain, View, bytes};
use half::{bf16, f16};

/// `struct Product` of `kernels/product.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Product {
    first: i64,
    sizes: [i64; 3],
    a: [i64; 2],
    b: [i64; 2],
    start: [i64; 2],
    pieces: i64,
    share: i64,
    alpha: f64,
    beta: f64,
}
impl Plain for Product {}

/// A product to be checked.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// m, n, k.
    sizes: [usize; 3],
    batches: usize,
    /// Does each operand lie the other way?
    turned: [bool; 2],
    /// Are a start and a bias joined?
    joined: bool,
    /// How long a piece of the shared axis is; 0 where it is whole.
    share: usize,
}
const fn case(sizes: [usize; 3], batches: usize, turned: [bool; 2], joined: bool, share: usize) -> Case {
    Case { sizes, batches, turned, joined, share }
}

const CASES: &[Case] = &[
    case([1, 1, 1], 1, [false, false], false, 0),
    case([64, 64, 32], 1, [false, false], true, 0),
    case([130, 140, 19], 1, [true, false], true, 0),
    case([33, 257, 8], 2, [false, true], true, 0),
    case([7, 5, 40], 3, [true, true], false, 0),
    case([3, 4, 0], 1, [false, false], true, 0),
    case([128, 1, 65], 1, [false, false], false, 0),
    case([150, 40, 72], 1, [false, true], true, 0),
    case([72, 136, 136], 1, [true, true], false, 0),
    case([136, 72, 200], 1, [true, false], true, 64),
    case([9, 31, 100], 2, [false, true], true, 32),
];

/// One row times a matrix.
const ROW_CASES: &[Case] = &[
    case([1, 1, 1], 1, [false, false], false, 0),
    case([1, 130, 300], 2, [false, true], true, 0),
    case([1, 9, 37], 1, [false, true], true, 0),
    case([1, 136, 264], 1, [false, false], true, 64),
    case([1, 135, 19], 2, [false, false], true, 0),
];

/// Products of what copies of boxes bring.
const BOX_CASES: &[Case] = &[
    case([136, 264, 72], 2, [false, true], true, 0),
    case([72, 136, 328], 1, [false, false], true, 0),
    case([200, 72, 136], 1, [true, false], false, 0),
    case([72, 136, 264], 1, [false, true], true, 64),
];
/// Threads of kernels that multiply what copies of boxes bring.
const BOXES: usize = 384;

/// A kernel, the rows and columns of results of a block, its threads.
struct Kernel {
    name: &'static str,
    tile: [usize; 2],
    threads: usize,
    /// Are results copied out by boxes, without a start?
    by_boxes: bool,
}

/// Holds a kernel against products of operands that are rounded by `round`.
fn product<T: Number>(kernel: &Kernel, round: fn(f64) -> f64) {
    products::<T, T>(kernel, CASES, round);
}

/// The same with operands of another type than the results.
fn products<S: Number, T: Number>(kernel: &Kernel, cases: &[Case], round: fn(f64) -> f64) {
    for case in cases {
        if T::WHOLE && case.share > 0 {
            continue;
        }
        let Some((found, expected)) = run::<S, T>(kernel, case, round) else { return };
        let what = format!("{} {case:?}", kernel.name);
        if T::WHOLE {
            assert_eq!(found.iter().map(|x| x.to_f64()).collect::<Vec<_>>(), expected, "{what}");
        } else {
            let scale = 1.0 / (case.sizes[2] as f64).sqrt().max(1.0);
            let scaled: Vec<T> = found.iter().map(|x| T::from_f64(x.to_f64() * scale)).collect();
            near(&what, &scaled, &expected.iter().map(|x| x * scale).collect::<Vec<_>>());
        }
    }
}

/// What the kernel gives for a case, and what it should give.
fn run<S: Number, T: Number>(kernel: &Kernel, case: &Case, round: fn(f64) -> f64) -> Option<(Vec<T>, Vec<f64>)> {
    let &Case { sizes: [m, n, k], batches, turned, joined, share } = case;
    let (a, b): (Vec<S>, Vec<S>) = (Random(21).list(batches * m * k + 1), Random(22).list(k * n + 1));
    let (start, bias): (Vec<T>, Vec<T>) = (Random(23).list(m), Random(24).list(n));
    let (alpha, beta) = if T::WHOLE { (1.0, 2.0) } else { (0.5, 2.0) };
    let pieces = if share > 0 { k.div_ceil(share) } else { 1 };
    // All batches share b; the start is a column that all share.
    let steps = |turned: bool, rows: usize, columns: usize| if turned { [1, rows as i64] } else { [columns as i64, 1] };
    let numbers = Product {
        first: 0,
        sizes: [m as i64, n as i64, k as i64],
        a: steps(turned[0], m, k),
        b: steps(turned[1], k, n),
        start: [1, 0],
        pieces: pieces as i64,
        share: if share > 0 { share } else { k.max(1) } as i64,
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
                    let other = b[s * numbers.b[0] as usize + j * numbers.b[1] as usize];
                    sum += round(a[at].to_f64()) * round(other.to_f64());
                }
                let started = if kernel.by_boxes { 0.0 } else { beta * start[i].to_f64() };
                let more = if joined { started + bias[j].to_f64() } else { 0.0 };
                expected[(z * m + i) * n + j] = T::from_f64(0.0).wrapped(alpha * sum + more);
            }
        }
    }
    let (a, b, start, bias) = (given(&a)?, given(&b)?, given(&start)?, given(&bias)?);
    let steps = |by: usize| bytes(View::new(&[batches], &[by as i64]));
    let nothing = || bytes(0u64);
    let joins = |buffer: &Buffer, now: bool| if joined && now { buffer.argument() } else { nothing() };
    let tiles = m.div_ceil(kernel.tile[0]) * n.div_ceil(kernel.tile[1]);
    let grid = [tiles, 1, batches * pieces];
    let found = in_every_order(|emulator| {
        let out = emulator.unwritten::<T>(batches * m * n);
        let launch = |name: &str, grid, threads, shared, arguments: &[Argument]| {
            emulator.launch(name, grid, threads, shared, arguments).unwrap_or_else(|said| panic!("{said}"));
        };
        let of = match S::NAME {
            "bf16" => Boxed::Bf16,
            "f16" => Boxed::F16,
            _ => Boxed::Tf32,
        };
        let boxes = |from, turned: bool, [lines, depth]: [usize; 2], batches, tile| match turned {
            true => emulator.boxes(from, of, [lines, depth, batches], [lines, lines * depth], 64),
            false => emulator.boxes(from, of, [depth, lines, batches], [depth, lines * depth], tile),
        };
        let call = |to: &Buffer, now: bool| {
            if kernel.threads == BOXES {
                // Three blocks, which go from tile to tile.
                let [high, wide] = kernel.tile;
                let counts = [bytes(1i32), bytes(0i32), bytes((tiles * batches * pieces) as i64)];
                let maps = [boxes(&a, turned[0], [m, k], batches, high), boxes(&b, !turned[1], [n, k], 1, wide)];
                let ends = [
                    to.argument(),
                    joins(&start, now && !kernel.by_boxes),
                    joins(&bias, now),
                    bytes(numbers),
                    steps(0),
                ];
                let results = match T::NAME {
                    _ if !kernel.by_boxes => vec![0; 128],
                    "f32" => emulator.boxes(to, Boxed::F32, [n, m, batches], [n, m * n], 16),
                    _ => emulator.boxes(to, of, [n, m, batches], [n, m * n], 16),
                };
                let out = [bytes(i32::from(kernel.by_boxes)), results];
                let shared = 4 * (high + wide) * 128 + 8 * 16 * 68 * 4 + 64;
                return launch(kernel.name, [3, 1, 1], BOXES, shared, &[&ends[..], &counts, &maps, &out].concat());
            }
            let more = [joins(&start, now), joins(&bias, now), bytes(numbers), steps(m * k), steps(0), steps(0)];
            let arguments = [&[a.argument(), b.argument(), to.argument()][..], &more].concat();
            launch(kernel.name, grid, kernel.threads, 0, &arguments);
        };
        if pieces == 1 {
            call(&out, true);
            return vec![out];
        }
        let count = batches * pieces * m * n;
        let sums = if T::NAME == "f64" { emulator.unwritten::<f64>(count) } else { emulator.unwritten::<f32>(count) };
        call(&sums, false);
        let more = [joins(&start, true), joins(&bias, true), bytes(numbers), steps(0), bytes(batches as i64)];
        let arguments = [&[sums.argument(), out.argument()][..], &more].concat();
        launch(&format!("matmul_pieces_{}", T::NAME), [2, 1, 1], 256, 0, &arguments);
        vec![out]
    })?;
    Some((found[0].read(), expected))
}

pub(super) fn itself(x: f64) -> f64 {
    x
}

/// The nearest number of 11 bits, ties away from zero.
pub(super) fn to_tf32(x: f64) -> f64 {
    f32::from_bits((x as f32).to_bits().wrapping_add(0x1000) & 0xffff_e000) as f64
}

/// The same with ties to even, as copies of boxes round.
fn to_tf32_even(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    f32::from_bits(bits.wrapping_add(0xfff + (bits >> 13 & 1)) & 0xffff_e000) as f64
}

#[test]
fn products_on_ordinary_units() {
    let kernel = |name, tile| Kernel { name, tile: [tile; 2], threads: 256, by_boxes: false };
    product::<f32>(&kernel("matmul_f32", 128), itself);
    product::<f32>(&kernel("matmul_small_f32", 64), itself);
    product::<f64>(&kernel("matmul_f64", 64), itself);
    product::<i64>(&kernel("matmul_i64", 64), itself);
    product::<i32>(&kernel("matmul_i32", 64), itself);
    product::<u8>(&kernel("matmul_u8", 64), itself);
}

#[test]
fn products_of_one_row() {
    let kernel = |name, columns| Kernel { name, tile: [1, columns], threads: 256, by_boxes: false };
    products::<f32, f32>(&kernel("matmul_along_f32", 8), ROW_CASES, itself);
    products::<f32, f32>(&kernel("matmul_across_f32", 128), ROW_CASES, itself);
    products::<f64, f64>(&kernel("matmul_across_f64", 128), ROW_CASES, itself);
    products::<bf16, bf16>(&kernel("matmul_along_bf16", 8), ROW_CASES, itself);
    products::<f16, f16>(&kernel("matmul_across_f16", 128), ROW_CASES, itself);
}

#[test]
fn products_on_tensor_cores() {
    let kernel = |name| Kernel { name, tile: [128; 2], threads: 128, by_boxes: false };
    product::<bf16>(&kernel("matmul_tensor_bf16"), itself);
    product::<f16>(&kernel("matmul_tensor_f16"), itself);
    product::<f32>(&kernel("matmul_tf32"), to_tf32);
    product::<f32>(&kernel("matmul_by_bf16"), |x| bf16::from_f32(x as f32).to_f32() as f64);
}

#[test]
fn products_of_what_is_brought_in_boxes() {
    let kernel = |name, wide| Kernel { name, tile: [128, wide], threads: BOXES, by_boxes: false };
    products::<bf16, bf16>(&kernel("matmul_hopper_bf16", 256), BOX_CASES, itself);
    products::<bf16, f32>(&kernel("matmul_hopper_small_rounded", 128), BOX_CASES, itself);
    // Numbers of 32 bits lie along the shared axis.
    let along = [BOX_CASES[0], BOX_CASES[3]];
    products::<f32, f32>(&kernel("matmul_hopper_tf32", 256), &along, to_tf32_even);
    products::<f32, f32>(&kernel("matmul_hopper_small_tf32", 128), &along, to_tf32_even);
    // One text for all of them.
    products::<f16, f16>(&kernel("matmul_hopper_small_f16", 128), &BOX_CASES[1..3], itself);
}

#[test]
fn products_whose_results_are_copied_by_boxes() {
    let kernel = |name, wide| Kernel { name, tile: [128, wide], threads: BOXES, by_boxes: true };
    products::<bf16, bf16>(&kernel("matmul_hopper_bf16", 256), &BOX_CASES[..2], itself);
    products::<f16, f16>(&kernel("matmul_hopper_small_f16", 128), &BOX_CASES[..1], itself);
    products::<f32, f32>(&kernel("matmul_hopper_tf32", 256), &BOX_CASES[..1], to_tf32_even);
}
