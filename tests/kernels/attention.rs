//! Attention forward and backward: causal or not, masks of both kinds, groups of queries, dropout, views of every operand.

use super::support::{Number, ORDERS, Random};
use crate::emulator::call::{Argument, Boxed, Buffer, Emulator, Plain, View, bytes};
use half::{bf16, f16};

/// `struct Attention` of `kernels/attention.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Attention {
    groups: i64,
    queries: i64,
    keys: i64,
    width: i64,
    value_width: i64,
    /// Steps of a row and of a column of q, k, v and the mask.
    steps: [i64; 8],
    scale: f64,
    kept: f64,
    threshold: u64,
    seed: u64,
    number: u64,
    stream: u32,
    pad: u32,
    causal: i32,
    mask_kind: i32,
    dropout: i32,
    end: i32,
}
impl Plain for Attention {}

impl Attention {
    /// Of dense operands.
    pub(crate) fn new(case: Case, scale: f64) -> Attention {
        let Case { groups, queries, keys, width, value_width, causal, mask_kind, dropout, .. } = case;
        let [groups, queries, keys, width, value_width] =
            [groups, queries, keys, width, value_width].map(|size| size as i64);
        Attention {
            groups,
            queries,
            keys,
            width,
            value_width,
            steps: [width, 1, width, 1, value_width, 1, keys, 1],
            scale,
            kept: 4.0 / 3.0,
            threshold: THRESHOLD,
            seed: SEED,
            number: 5,
            stream: 6,
            pad: 0,
            causal: causal as i32,
            mask_kind,
            dropout: dropout as i32,
            end: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) matrices: usize,
    pub(crate) groups: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) width: usize,
    pub(crate) value_width: usize,
    pub(crate) causal: bool,
    pub(crate) mask_kind: i32,
    pub(crate) dropout: bool,
}

fn cases() -> Vec<Case> {
    let case = |matrices, groups, queries, keys, width, value_width, causal, mask_kind, dropout| Case {
        matrices,
        groups,
        queries,
        keys,
        width,
        value_width,
        causal,
        mask_kind,
        dropout,
    };
    vec![
        case(1, 1, 5, 7, 4, 3, false, 0, false),
        case(2, 1, 40, 40, 16, 16, true, 0, false),
        case(1, 2, 33, 50, 9, 20, false, 1, false),
        case(1, 1, 35, 33, 8, 8, true, 2, true),
        case(1, 1, 3, 34, 128, 70, false, 0, true),
        case(1, 2, 3, 34, 300, 130, true, 2, true),
        case(1, 1, 2, 3, 5, 260, false, 0, false),
    ]
}

const SEED: u64 = 77;
const THRESHOLD: u64 = 1 << 30;

/// Philox, for the words of dropout.
fn word(element: usize) -> u32 {
    let block = (element / 64 * 16 + element % 16) as u64;
    let [mut a, mut b, mut c, mut d] = [block as u32, (block >> 32) as u32, 5, 6];
    let [mut key, mut other] = [SEED as u32, 0u32];
    for _ in 0..10 {
        let (first, second) = (a as u64 * 0xd251_1f53, c as u64 * 0xcd9e_8d57);
        (a, b, c, d) = ((second >> 32) as u32 ^ b ^ key, second as u32, (first >> 32) as u32 ^ d ^ other, first as u32);
        (key, other) = (key.wrapping_add(0x9e37_79b9), other.wrapping_add(0xbb67_ae85));
    }
    [a, b, c, d][element / 16 % 4]
}

/// What attention should give: result, gradients of q, k, v and of the mask.
pub(crate) fn reference(case: Case, [q, k, v, added, g]: [&[f64]; 5], scale: f64) -> [Vec<f64>; 5] {
    let Case { matrices, groups, queries, keys, width, value_width, .. } = case;
    let count = matrices * groups * queries;
    let (mut out, mut dq, mut dmask) =
        (vec![0.0; count * value_width], vec![0.0; count * width], vec![0.0; count * keys]);
    let (mut dk, mut dv) = (vec![0.0; matrices * keys * width], vec![0.0; matrices * keys * value_width]);
    for at in 0..count {
        let (z, i) = (at / queries, at % queries);
        let first = z / groups * keys;
        let scores: Vec<f64> = (0..keys)
            .map(|j| {
                let product: f64 = (0..width).map(|e| q[at * width + e] * k[(first + j) * width + e]).sum();
                match case.mask_kind {
                    _ if case.causal && j > i => f64::NEG_INFINITY,
                    1 if added[at * keys + j] == 0.0 => f64::NEG_INFINITY,
                    2 => product * scale + added[at * keys + j],
                    _ => product * scale,
                }
            })
            .collect();
        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
        if sum == 0.0 {
            continue;
        }
        let weights: Vec<f64> = scores.iter().map(|s| s.exp() / sum).collect();
        let kept = |j: usize| match case.dropout {
            true if (word(at * keys + j) as u64) < THRESHOLD => 0.0,
            true => 4.0 / 3.0,
            false => 1.0,
        };
        let arriving = &g[at * value_width..][..value_width];
        let through: Vec<f64> = (0..keys)
            .map(|j| kept(j) * (0..value_width).map(|f| arriving[f] * v[(first + j) * value_width + f]).sum::<f64>())
            .collect();
        let mean: f64 = weights.iter().zip(&through).map(|(w, t)| w * t).sum();
        for j in 0..keys {
            for f in 0..value_width {
                out[at * value_width + f] += weights[j] * kept(j) * v[(first + j) * value_width + f];
                dv[(first + j) * value_width + f] += weights[j] * kept(j) * arriving[f];
            }
            let slope = weights[j] * (through[j] - mean);
            dmask[at * keys + j] = slope;
            for e in 0..width {
                dq[at * width + e] += slope * scale * k[(first + j) * width + e];
                dk[(first + j) * width + e] += slope * scale * q[at * width + e];
            }
        }
    }
    [out, dq, dk, dv, dmask]
}

/// Which kernels are asked: names, launches, and what their tiles hold.
#[derive(Clone, Copy)]
enum Path {
    /// `attention.cu`.
    Plain,
    /// `attention_tensor.cu`, and `attention_tf32.cu` for f32, for rows of so many numbers.
    Tensor(usize),
    /// `attention_hopper.cuh` forward, for rows of so many numbers; the gradients follow by `attention_tensor.cu`.
    Hopper(usize),
}

impl Path {
    fn name(self, kernel: &str, t: &str, case: Case) -> String {
        let masked = if case.mask_kind == 0 { "" } else { "_masked" };
        match self {
            Path::Plain => format!("{kernel}_{t}"),
            Path::Hopper(wide) if kernel == "attend" => format!("attend{masked}_hopper_{wide}_{t}"),
            Path::Tensor(wide) | Path::Hopper(wide) => format!("{kernel}_tensor_{wide}_{t}"),
        }
    }
    /// Grid, threads and shared memory of one of the three kernels.
    fn launch<T: Number, R>(self, kernel: &str, case: Case) -> ([usize; 3], usize, usize) {
        let Case { matrices, groups, queries, keys, width, value_width, .. } = case;
        let (count, of) = if kernel == "attend_key" { (keys, matrices) } else { (queries, matrices * groups) };
        match self {
            Path::Plain => {
                let wide = value_width.min(128) + 1;
                let more = if kernel == "attend" { wide + 33 } else { 2 * wide + 66 };
                let slabs = |width: usize| width.div_ceil(128);
                let written = match kernel {
                    "attend" => slabs(value_width),
                    "attend_query" => slabs(width),
                    _ => slabs(width).max(slabs(value_width)),
                };
                ([count.div_ceil(32) * of, written, 1], 256, size_of::<R>() * 32 * (2 * (width.min(128) + 1) + more))
            }
            // Two blocks, which go from tile to tile.
            Path::Hopper(wide) if kernel == "attend" => ([2, 1, 1], 384, (6 * 128 + 8 * 16) * 2 * wide + 112),
            Path::Tensor(wide) | Path::Hopper(wide) => {
                let (lines, passing) = match (kernel, wide) {
                    ("attend", 128) if T::NAME == "f32" => (128, 16),
                    (_, 128) if T::NAME == "f32" => (64, 16),
                    ("attend", 256) => (64, 32),
                    ("attend", 128) => (128, 32),
                    ("attend", _) => (128, 64),
                    (_, 256) => (64, 16),
                    ("attend_key", 128) => (64, 32),
                    ("attend_key", _) | (_, 128) => (128, 16),
                    _ => (128, 32),
                };
                let line = size_of::<T>() * wide;
                let shared = match kernel {
                    "attend" => line * (lines + 2 * passing),
                    "attend_query" => line * (2 * lines + 4 * passing) + 8 * lines,
                    _ => line * (2 * lines + 4 * passing) + 16 * passing,
                };
                let parts = if kernel == "attend_key" && wide == 256 { 2 } else { 1 };
                ([count.div_ceil(lines) * of, parts, 1], 128, shared)
            }
        }
    }
}

fn attention<T: Number, R: Number>(path: Path, cases: &[Case], close: f64) {
    for &case in cases {
        let Case { matrices, groups, queries, keys, width, value_width, .. } = case;
        let (z, t, scale) = (matrices * groups, T::NAME, 0.7);
        let [q, k]: [Vec<T>; 2] = [Random(71).list(z * queries * width), Random(72).list(matrices * keys * width)];
        let [v, g]: [Vec<T>; 2] =
            [Random(73).list(matrices * keys * value_width), Random(74).list(z * queries * value_width)];
        let mut random = Random(75);
        // The second query of the first matrix sees nothing.
        let seen: Vec<u8> =
            (0..z * queries * keys).map(|at| (at / keys != 1 && !random.word().is_multiple_of(3)) as u8).collect();
        let added: Vec<T> = random.list(z * queries * keys);
        let wide = |list: &[T]| list.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
        let mask: Vec<f64> = if case.mask_kind == 1 { seen.iter().map(|&x| x as f64).collect() } else { wide(&added) };
        let expected = reference(case, [&wide(&q), &wide(&k), &wide(&v), &mask, &wide(&g)], scale);

        let step = |n: usize| View::new(&[z], &[n as i64]);
        // Keys lie the other way in memory, but for one of the cases; boxes want them as they are.
        let (mut turned, mut key_steps) = (k.clone(), [width as i64, 1]);
        if (!case.causal || case.mask_kind != 0) && !matches!(path, Path::Hopper(_)) {
            key_steps = [1, keys as i64];
            for (at, x) in turned.iter_mut().enumerate() {
                let (matrix, e, j) = (at / (keys * width), at / keys % width, at % keys);
                *x = k[(matrix * keys + j) * width + e];
            }
        }
        let mut how = Attention::new(case, scale);
        how.steps[2..4].copy_from_slice(&key_steps);
        let mut first: Option<Vec<Vec<u8>>> = None;
        for order in ORDERS {
            let Some(emulator) = Emulator::new() else { return };
            emulator.order(order);
            let inputs = [emulator.buffer(&q), emulator.buffer(&turned), emulator.buffer(&v)];
            let (masks, arriving) = ([emulator.buffer(&seen), emulator.buffer(&added)], emulator.buffer(&g));
            let mask = match case.mask_kind {
                1 => masks[0].argument(),
                2 => masks[1].argument(),
                _ => bytes(0u64),
            };
            let rows = z * queries;
            let outputs =
                [rows * value_width, rows * width, matrices * keys * width, matrices * keys * value_width, rows * keys]
                    .map(|count| emulator.unwritten::<T>(count));
            let [maxima, shares, products] = [rows; 3].map(|count| emulator.unwritten::<R>(count));
            let views =
                [step(queries * width), step(keys * width), step(keys * value_width), step(queries * keys)].map(bytes);
            let launch = |kernel: &str, pointers: &[&Buffer]| {
                let mut arguments: Vec<Argument> = inputs.iter().map(|buffer| buffer.argument()).collect();
                arguments.push(mask.clone());
                arguments.extend(pointers.iter().map(|buffer| buffer.argument()));
                arguments.push(bytes(how));
                arguments.extend(views.clone());
                let (grid, threads, shared) = path.launch::<T, R>(kernel, case);
                emulator
                    .launch(&path.name(kernel, t, case), grid, threads, shared, &arguments)
                    .unwrap_or_else(|said| panic!("{said}"));
            };
            let [out, dq, dk, dv, dmask] = &outputs;
            if matches!(path, Path::Hopper(_)) {
                let each = if case.causal { 2 } else { 1 };
                let parts = z * queries.div_ceil(128).div_ceil(each);
                let of = if t == "bf16" { Boxed::Bf16 } else { Boxed::F16 };
                let map = |buffer, [width, lines, heads, batches]: [usize; 4]| {
                    let (sizes, matrix) = ([width, lines, heads, batches], lines * width);
                    emulator.boxes(buffer, of, sizes, [width, matrix, heads * matrix], 128)
                };
                let [of_q, of_k, of_v] = inputs.each_ref();
                let mut arguments = vec![
                    out.argument(),
                    maxima.argument(),
                    shares.argument(),
                    bytes(how),
                    bytes(groups as i32),
                    bytes(matrices as i32),
                    bytes(matrices as i32),
                    bytes(each as i32),
                    bytes(parts as i64),
                ];
                if case.mask_kind != 0 {
                    arguments.insert(3, mask.clone());
                    arguments.push(views[3].clone());
                }
                arguments.extend([
                    map(of_q, [width, queries, groups, matrices]),
                    map(of_k, [width, keys, matrices, 1]),
                    map(of_v, [value_width, keys, matrices, 1]),
                ]);
                let (grid, threads, shared) = path.launch::<T, R>("attend", case);
                let name = path.name("attend", t, case);
                emulator.launch(&name, grid, threads, shared, &arguments).unwrap_or_else(|said| panic!("{said}"));
            } else {
                launch("attend", &[out, &maxima, &shares]);
            }
            let sums = [
                arriving.argument(),
                out.argument(),
                products.argument(),
                bytes(rows as i64),
                bytes(value_width as i64),
            ];
            emulator.launch(&format!("attend_products_{t}"), [rows.div_ceil(8), 1, 1], 256, 0, &sums).unwrap();
            // Ordinary units have no gradients of 16 bits.
            let written = match path {
                Path::Plain if size_of::<T>() == 2 => &outputs[..1],
                _ => {
                    launch("attend_query", &[&arriving, &maxima, &shares, &products, dq, dmask]);
                    launch("attend_key", &[&arriving, &maxima, &shares, &products, dk, dv]);
                    &outputs[..]
                }
            };

            for (what, (buffer, expected)) in
                ["out", "dq", "dk", "dv", "dmask"].iter().zip(written.iter().zip(&expected))
            {
                // Sums of more numbers are farther from each other.
                let close = close * (width.max(value_width) as f64 / 64.0).sqrt().max(1.0);
                let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
                for (at, (found, expected)) in buffer.read::<T>().iter().zip(expected).enumerate() {
                    let apart = (found.to_f64() - expected).abs() / size;
                    assert!(
                        apart <= close,
                        "{what} of {t}, number {at}: {found:?} instead of {expected}, {apart} apart: {case:?}"
                    );
                }
            }
            let bits: Vec<Vec<u8>> = written.iter().map(|buffer| buffer.read()).collect();
            assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "other bits where threads run {order}");
        }
    }
}

#[test]
fn attention_forward_and_backward() {
    attention::<f32, f32>(Path::Plain, &cases(), f32::CLOSE);
    attention::<f64, f64>(Path::Plain, &cases(), f64::CLOSE);
    attention::<bf16, f32>(Path::Plain, &cases(), bf16::CLOSE);
}

/// One for tensor cores; causal ones have two groups, the others two matrices.
fn case(
    [queries, keys]: [usize; 2],
    [width, value_width]: [usize; 2],
    causal: bool,
    mask_kind: i32,
    dropout: bool,
) -> Case {
    Case {
        matrices: 2 - causal as usize,
        groups: 1 + causal as usize,
        queries,
        keys,
        width,
        value_width,
        causal,
        mask_kind,
        dropout,
    }
}

/// Weights and slopes are rounded before they are multiplied, so sums are a rounding farther apart.
#[test]
fn attention_on_tensor_cores() {
    let narrow = [
        case([5, 7], [4, 3], false, 0, false),
        case([150, 140], [16, 64], true, 0, false),
        case([33, 70], [9, 24], false, 1, false),
        case([35, 33], [64, 8], true, 2, true),
    ];
    attention::<bf16, f32>(Path::Tensor(64), &narrow, 2.0 * bf16::CLOSE);
    attention::<f16, f32>(Path::Tensor(64), &narrow[1..], 2.0 * f16::CLOSE);
    attention::<bf16, f32>(Path::Tensor(128), &[case([40, 70], [128, 72], true, 0, false)], 2.0 * bf16::CLOSE);
    attention::<f16, f32>(Path::Tensor(256), &[case([20, 40], [200, 256], false, 1, true)], 2.0 * f16::CLOSE);
}

/// What tf32 keeps of a number is what f16 keeps, 11 bits, but operands are f32 here: each of them, weights and slopes are rounded, by at most
/// 2^-11 of themselves. A score of up to 128 products of numbers around a half is then off by some 2^-11 (its roundings are independent), and so are
/// weights, by that of themselves; results and gradients are sums of weights or slopes with another rounding or two for each term.
#[test]
fn attention_of_f32_on_tensor_cores() {
    let narrow = [
        case([5, 7], [4, 3], false, 0, false),
        case([150, 140], [16, 64], true, 0, false),
        case([33, 70], [9, 24], false, 1, false),
        case([35, 33], [64, 8], true, 2, true),
    ];
    attention::<f32, f32>(Path::Tensor(64), &narrow, 2.0 * f16::CLOSE);
    let wide = [case([40, 70], [128, 72], true, 0, false), case([70, 40], [100, 128], false, 1, true)];
    attention::<f32, f32>(Path::Tensor(128), &wide, 2.0 * f16::CLOSE);
}

#[test]
fn attention_of_what_is_brought_in_boxes() {
    let case =
        |[matrices, groups]: [usize; 2], [queries, keys]: [usize; 2], [width, value_width]: [usize; 2], causal| Case {
            matrices,
            groups,
            queries,
            keys,
            width,
            value_width,
            causal,
            mask_kind: 0,
            dropout: false,
        };
    // An odd number of tiles, by pairs; more queries than keys, and fewer; rows that do not fill their boxes.
    let narrow = [case([1, 1], [260, 260], [64, 64], true), case([2, 2], [70, 260], [40, 64], false)];
    attention::<bf16, f32>(Path::Hopper(64), &narrow, 2.0 * bf16::CLOSE);
    attention::<f16, f32>(Path::Hopper(64), &[case([1, 2], [200, 100], [64, 8], true)], 2.0 * f16::CLOSE);
    attention::<bf16, f32>(Path::Hopper(128), &[case([1, 2], [140, 300], [128, 72], true)], 2.0 * bf16::CLOSE);
    attention::<f16, f32>(Path::Hopper(128), &[case([1, 1], [65, 129], [96, 128], false)], 2.0 * f16::CLOSE);
    // What a mask hides: an odd number of keys, and an even one, whose neighbours are asked together.
    let masked = |case: Case| Case { mask_kind: 1, ..case };
    attention::<bf16, f32>(Path::Hopper(64), &[masked(case([1, 2], [140, 261], [64, 40], true))], 2.0 * bf16::CLOSE);
    attention::<f16, f32>(Path::Hopper(128), &[masked(case([2, 1], [70, 150], [96, 128], false))], 2.0 * f16::CLOSE);
}
