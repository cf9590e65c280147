//! The gradient of attention by products of four warps: sizes that do not divide, causal or not, groups of queries, heads that stand in one row.

use super::attention::{Attention, Case, reference};
use super::support::{Number, Random, given, in_every_order};
use crate::emulator::call::{Argument, Boxed, Buffer, Emulator, View, bytes};
use half::{bf16, f16};

const SCALE: f64 = 0.7;

/// For each query the greatest score, one over the sum of `exp(score - greatest)`, and the product of what arrived and the result.
fn statistics(case: Case, [q, k, mask, out, g]: [&[f64]; 5]) -> [Vec<f32>; 3] {
    let Case { matrices, groups, queries, keys, width, value_width, .. } = case;
    let mut found = [const { Vec::new() }; 3];
    for at in 0..matrices * groups * queries {
        let (z, i) = (at / queries, at % queries);
        let first = z / groups * keys;
        let seen = if case.causal { keys.min(i + 1) } else { keys };
        let product = |j: usize| (0..width).map(|e| q[at * width + e] * k[(first + j) * width + e]).sum::<f64>();
        let is_seen = |j: &usize| case.mask_kind == 0 || mask[at * keys + j] != 0.0;
        let scores: Vec<f64> = (0..seen).filter(is_seen).map(|j| product(j) * SCALE).collect();
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - greatest).exp()).sum();
        let place = at * value_width..(at + 1) * value_width;
        let arrived: f64 = out[place.clone()].iter().zip(&g[place]).map(|(x, y)| x * y).sum();
        let of_row = if scores.is_empty() { [0.0; 3] } else { [greatest, 1.0 / sum, arrived] };
        for (list, number) in found.iter_mut().zip(of_row) {
            list.push(number as f32);
        }
    }
    found
}

/// Matrices of so many lines, line by line with all matrices beside each other.
fn beside_each_other<T: Copy>(list: &[T], lines: usize, width: usize) -> Vec<T> {
    let count = list.len() / (lines * width);
    (0..list.len())
        .map(|at| {
            let (line, z, column) = (at / (count * width), at / width % count, at % width);
            list[(z * lines + line) * width + column]
        })
        .collect()
}

fn gradient<T: Number>(wide: usize, beside: bool, case: Case) {
    let Case { matrices, groups, queries, keys, width, value_width, .. } = case;
    let (z, t) = (matrices * groups, T::NAME);
    let [q, k]: [Vec<T>; 2] = [Random(81).list(z * queries * width), Random(82).list(matrices * keys * width)];
    let [v, g]: [Vec<T>; 2] =
        [Random(83).list(matrices * keys * value_width), Random(84).list(z * queries * value_width)];
    let wider = |list: &[T]| list.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let [wide_q, wide_k, wide_v, wide_g] = [&q, &k, &v, &g].map(|list| wider(list));
    let mut random = Random(85);
    // The third query of the first matrix sees nothing.
    let seen: Vec<u8> =
        (0..z * queries * keys).map(|at| (at / keys != 2 && !random.word().is_multiple_of(3)) as u8).collect();
    let wide_mask: Vec<f64> = seen.iter().map(|&x| x as f64).collect();
    let [out, dq, dk, dv, _] = reference(case, [&wide_q, &wide_k, &wide_v, &wide_mask, &wide_g], SCALE);
    let [maxima, shares, products] = statistics(case, [&wide_q, &wide_k, &wide_mask, &out, &wide_g]);
    let lay = |list: &[T], lines: usize, width: usize| match beside {
        true => given(&beside_each_other(list, lines, width)),
        false => given(list),
    };
    let operands = [lay(&q, queries, width), lay(&k, keys, width), lay(&v, keys, value_width), given(&g)];
    let [Some(q), Some(k), Some(v), Some(g)] = operands else { return };
    let mask = given(&seen).expect("as the others");
    let statistics = [given(&maxima), given(&shares), given(&products)].map(|list| list.expect("as the others"));
    let how = Attention::new(case, SCALE);
    let of = if t == "bf16" { Boxed::Bf16 } else { Boxed::F16 };
    // All matrices are one batch. Their lines stand beside each other, or one matrix follows the other.
    let boxes = |emulator: &Emulator, from: &Buffer, [lines, width, all]: [usize; 3], beside: bool, each: usize| {
        let [row, head] = if beside { [all * width, width] } else { [width, lines * width] };
        emulator.boxes(from, of, [width, lines, all, 1], [row, head, row], each)
    };
    let found = in_every_order(|emulator| {
        let results = [z * queries * width, matrices * keys * width, matrices * keys * value_width]
            .map(|count| emulator.unwritten::<T>(count));
        let launch = |pass: &str, results: &[Buffer], lines: usize, [of_queries, of_keys]: [usize; 2], shared| {
            let mut arguments: Vec<Argument> = statistics.iter().chain(results).map(|x| x.argument()).collect();
            let masked = if case.mask_kind == 0 { "" } else { "_masked" };
            if case.mask_kind != 0 {
                arguments.push(mask.argument());
            }
            arguments.push(bytes(how));
            arguments.extend([z, matrices, matrices, z].map(|heads| bytes(heads as i32)));
            if case.mask_kind != 0 {
                arguments.push(bytes(View::new(&[z], &[(queries * keys) as i64])));
            }
            arguments.push(boxes(emulator, &q, [queries, width, z], beside, of_queries));
            arguments.push(boxes(emulator, &k, [keys, width, matrices], beside, of_keys));
            arguments.push(boxes(emulator, &v, [keys, value_width, matrices], beside, of_keys));
            arguments.push(boxes(emulator, &g, [queries, value_width, z], false, of_queries));
            let name = format!("attend_{pass}{masked}_hopper_{wide}_{t}");
            let said = emulator.launch(&name, [lines, 1, 1], 384, shared, &arguments);
            said.unwrap_or_else(|said| panic!("{said}"));
        };
        launch("query", &results[..1], queries.div_ceil(128) * z, [128, 128], 4 * wide * (128 + 256) + 72);
        launch("key", &results[1..], keys.div_ceil(128) * matrices, [64, 128], 4 * wide * (128 + 256) + 2048 + 72);
        results.into()
    });
    let Some(found) = found else { return };
    for (what, (found, expected)) in ["dq", "dk", "dv"].iter().zip(found.iter().zip([dq, dk, dv])) {
        // Weights and slopes are rounded before they are multiplied, and sums of more numbers are farther from each other.
        let close = 2.0 * T::CLOSE * (width.max(value_width) as f64 / 64.0).sqrt().max(1.0);
        let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
        for (at, (found, expected)) in found.read::<T>().iter().zip(expected).enumerate() {
            let apart = (found.to_f64() - expected).abs() / size;
            assert!(
                apart <= close,
                "{what} of {t}, number {at}: {found:?} instead of {expected}, {apart} apart: {case:?}"
            );
        }
    }
}

#[test]
fn gradient_of_attention_by_boxes() {
    let case = |[matrices, groups]: [usize; 2],
                [queries, keys]: [usize; 2],
                [width, value_width]: [usize; 2],
                causal| {
        Case { matrices, groups, queries, keys, width, value_width, causal, mask_kind: 0, dropout: false }
    };
    gradient::<bf16>(64, false, case([2, 1], [5, 7], [8, 24], false));
    gradient::<bf16>(64, false, case([1, 2], [200, 300], [40, 64], false));
    gradient::<f16>(64, true, case([2, 2], [150, 140], [64, 64], true));
    // Keys that no query sees.
    gradient::<bf16>(64, false, case([1, 1], [70, 300], [64, 32], true));
    gradient::<f16>(128, false, case([1, 1], [140, 150], [72, 128], true));
    gradient::<bf16>(128, true, case([2, 1], [130, 70], [128, 128], false));
    // What a mask hides, of an odd number of keys and of an even one.
    let masked = |case: Case| Case { mask_kind: 1, ..case };
    gradient::<bf16>(64, false, masked(case([1, 2], [140, 131], [64, 40], true)));
    gradient::<f16>(128, false, masked(case([2, 1], [70, 150], [96, 128], false)));
}
