//! Softmax and the normalisations, forward and backward, along rows and down columns.

use super::support::{Number, Random, Shares, blocks, given, in_every_order, launch, near, run};
use crate::emulator::call::{Argument, Plain, bytes};
use half::{bf16, f16};

/// Sizes before, along and behind the axis, and how the work is shared out.
const SOFTMAXES: [(usize, usize, usize, i32, i32); 12] = [
    (3, 100, 1, 32, 1),
    (2, 1000, 1, 256, 1),
    (40, 5, 1, 1, 1),
    (2, 33, 7, 8, 0),
    (1, 300, 3, 64, 0),
    (1, 1, 1, 32, 1),
    // More than lanes keep in registers.
    (2, 300, 1, 8, 1),
    (2, 1200, 1, 64, 1),
    // Whole words, of which some lanes have none; rows that begin within one.
    (5, 96, 1, 8, 1),
    (2, 520, 1, 64, 1),
    (7, 37, 1, 4, 1),
    (3, 1, 1, 1, 1),
];

/// What becomes of a row and what belongs to it.
type OfTwoRows<'a> = &'a dyn Fn(&[f64], &[f64]) -> Vec<f64>;

fn softmaxes<T: Number>() {
    for (outer, length, inner, lanes, adjacent) in SOFTMAXES {
        let x: Vec<T> = Random(5).list(outer * length * inner);
        let g: Vec<T> = Random(6).list(x.len());
        let shares = Shares::new(outer * inner, length, 1, lanes, adjacent);
        let line = |list: &[f64], r: usize| -> Vec<f64> {
            (0..length).map(|j| list[(r / inner * length + j) * inner + r % inner]).collect()
        };
        let lines = |f: OfTwoRows, a: &[f64], b: &[f64]| {
            let mut whole = vec![0.0; x.len()];
            for r in 0..outer * inner {
                for (j, y) in f(&line(a, r), &line(b, r)).into_iter().enumerate() {
                    whole[(r / inner * length + j) * inner + r % inner] = y;
                }
            }
            whole
        };
        let wide = |list: &[T]| list.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
        let (Some(from), Some(arriving)) = (given(&x), given(&g)) else { return };
        for form in [0, 1] {
            let numbers = [bytes(shares), bytes(inner as i64), bytes(form)];
            let t = T::NAME;
            let y: Vec<T> =
                launch(&format!("softmax_{t}"), shares.grid(), &[from.argument()], x.len(), &numbers).unwrap();
            let forward = |x: &[f64], _: &[f64]| {
                let sum: f64 = x.iter().map(|x| x.exp()).sum();
                x.iter().map(|x| if form == 1 { x - sum.ln() } else { x.exp() / sum }).collect()
            };
            near(&format!("softmax_{t}"), &y, &lines(&forward, &wide(&x), &wide(&g)));
            let result = given(&y).unwrap();
            let inputs = [result.argument(), arriving.argument()];
            let dx: Vec<T> =
                launch(&format!("softmax_gradient_{t}"), shares.grid(), &inputs, x.len(), &numbers).unwrap();
            let backward = |y: &[f64], g: &[f64]| {
                let sum: f64 = y.iter().zip(g).map(|(y, g)| if form == 1 { *g } else { y * g }).sum();
                y.iter().zip(g).map(|(y, g)| if form == 1 { g - y.exp() * sum } else { (g - sum) * y }).collect()
            };
            near(&format!("softmax_gradient_{t}"), &dx, &lines(&backward, &wide(&y), &wide(&g)));
        }
    }
}

#[test]
fn softmax_and_its_gradient() {
    softmaxes::<f32>();
    softmaxes::<f64>();
    softmaxes::<bf16>();
    softmaxes::<f16>();
}

#[test]
fn softmax_of_large_numbers_does_not_overflow() {
    let mut x = vec![1000f32, 999.0, -1000.0, 0.0];
    x.extend([f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY]);
    let Some(from) = given(&x) else { return };
    let shares = Shares::new(2, 4, 1, 4, 1);
    let y: Vec<f32> =
        launch("softmax_f32", [1, 1, 1], &[from.argument()], 8, &[bytes(shares), bytes(1i64), bytes(0)]).unwrap();
    let e = 1.0 / (1.0 + (-1f64).exp());
    near("softmax", &y, &[e, 1.0 - e, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
}

/// Rows, their length, numbers that share a weight, rows after which weights begin again, lanes.
const STANDARDS: [(usize, usize, usize, usize, i32); 6] =
    [(5, 64, 1, 1, 16), (3, 300, 1, 1, 64), (6, 40, 4, 3, 32), (4, 90, 9, 2, 256), (1, 7, 7, 1, 2), (2, 300, 3, 2, 8)];

/// The type that weights and statistics of T have.
trait Statistic: Number {
    type Real: Number;
}
impl Statistic for f32 {
    type Real = f32;
}
impl Statistic for f64 {
    type Real = f64;
}
impl Statistic for bf16 {
    type Real = f32;
}
impl Statistic for f16 {
    type Real = f32;
}

fn wide<T: Number>(list: &[T]) -> Vec<f64> {
    list.iter().map(|x| x.to_f64()).collect()
}
fn nothing() -> Argument {
    bytes(0u64)
}

fn standards<T: Statistic>() {
    let t = T::NAME;
    for ((rows, length, run_length, groups, lanes), center, weighted) in
        STANDARDS.into_iter().flat_map(|case| [(case, true, true), (case, false, true), (case, true, false)])
    {
        let (runs, epsilon) = (length / run_length, 1e-3);
        let width = groups * runs;
        let (x, g): (Vec<T>, Vec<T>) = (Random(7).list(rows * length), Random(8).list(rows * length));
        let weight: Vec<T::Real> = if weighted { Random(9).list(width) } else { vec![T::Real::from_f64(1.0); width] };
        let bias: Vec<T::Real> = if weighted { Random(10).list(width) } else { vec![T::Real::from_f64(0.0); width] };
        let (x64, g64, w64, b64) = (wide(&x), wide(&g), wide(&weight), wide(&bias));
        let of = |r: usize, j: usize| r % groups * runs + j / run_length;

        let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
        let (mut means, mut scales) = (vec![0.0; rows], vec![0.0; rows]);
        for r in 0..rows {
            let row = &x64[r * length..][..length];
            let n = length as f64;
            let mean = if center { row.iter().sum::<f64>() / n } else { 0.0 };
            let scale = 1.0 / (row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + epsilon).sqrt();
            (means[r], scales[r]) = (mean, scale);
            let hat: Vec<f64> = row.iter().map(|x| (x - mean) * scale).collect();
            let a: Vec<f64> = (0..length).map(|j| g64[r * length + j] * w64[of(r, j)]).collect();
            let plain = if center { a.iter().sum::<f64>() / n } else { 0.0 };
            let with = a.iter().zip(&hat).map(|(a, hat)| a * hat).sum::<f64>() / n;
            for j in 0..length {
                let c = of(r, j);
                y[r * length + j] = hat[j] * w64[c] + b64[c];
                dx[r * length + j] = scale * (a[j] - plain - hat[j] * with);
                dw[c] += g64[r * length + j] * hat[j];
                db[c] += g64[r * length + j];
            }
        }

        let (Some(from), Some(arriving), Some(w), Some(b)) = (given(&x), given(&g), given(&weight), given(&bias))
        else {
            return;
        };
        let (w, b) = if weighted { (w.argument(), b.argument()) } else { (nothing(), nothing()) };
        let shares = Shares::new(rows, length, 1, lanes, 1);
        let shape = [bytes(run_length as i64), bytes(groups as i64), bytes(center as i32)];
        let found = in_every_order(|emulator| {
            let (y, means, scales) = (
                emulator.unwritten::<T>(x.len()),
                emulator.unwritten::<T::Real>(rows),
                emulator.unwritten::<T::Real>(rows),
            );
            let mut arguments = vec![
                from.argument(),
                w.clone(),
                b.clone(),
                y.argument(),
                means.argument(),
                scales.argument(),
                bytes(shares),
            ];
            arguments.extend(shape.clone());
            arguments.push(bytes(epsilon));
            run(emulator, &format!("standardize_{t}"), shares.grid(), &arguments);
            vec![y, means, scales]
        })
        .unwrap();
        near(&format!("standardize_{t}"), &found[0].read::<T>(), &y);
        near("means", &found[1].read::<T::Real>(), &means);
        let scales: Vec<f64> = scales.iter().map(|scale| scale / 30.0).collect();
        near(
            "scales",
            &found[2].read::<T::Real>().iter().map(|x| T::Real::from_f64(x.to_f64() / 30.0)).collect::<Vec<_>>(),
            &scales,
        );

        let statistics = [found[1].argument(), found[2].argument()];
        let mut inputs = vec![from.argument(), w.clone()];
        inputs.extend(statistics.clone());
        inputs.push(arriving.argument());
        let mut numbers = vec![bytes(shares)];
        numbers.extend(shape);
        let found: Vec<T> =
            launch(&format!("standardize_gradient_{t}"), shares.grid(), &inputs, x.len(), &numbers).unwrap();
        let size = dx.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
        let relative = |list: &[T]| list.iter().map(|x| T::from_f64(x.to_f64() / size)).collect::<Vec<T>>();
        near(&format!("standardize_gradient_{t}"), &relative(&found), &dx.iter().map(|x| x / size).collect::<Vec<_>>());
        let [found_w, found_b] = weight_sums::<T>(
            &from.argument(),
            &statistics,
            &arriving.argument(),
            x.len(),
            run_length,
            width,
            runs,
            false,
        );
        near(&format!("weight gradients of {t}"), &found_w, &dw);
        near(&format!("bias gradients of {t}"), &found_b, &db);
    }
}

#[allow(clippy::too_many_arguments)]
fn weight_sums<T: Plain>(
    x: &Argument,
    statistics: &[Argument; 2],
    g: &Argument,
    count: usize,
    run_length: usize,
    width: usize,
    runs: usize,
    by_channel: bool,
) -> [Vec<T>; 2] {
    let adjacent = (run_length > 1) as i32;
    let shares = Shares::new(width, count / width, 3, 16, adjacent);
    let found = in_every_order(|emulator| {
        let (dw, db) = (emulator.unwritten::<T>(width), emulator.unwritten::<T>(width));
        let (sums, parts) = (emulator.unwritten::<f64>(2 * width), emulator.unwritten::<f64>(2 * 3 * width));
        let mut arguments = vec![x.clone(), statistics[0].clone(), statistics[1].clone(), g.clone()];
        arguments.extend([&dw, &db, &sums, &parts].map(|buffer| buffer.argument()));
        arguments.push(bytes(shares));
        arguments.extend([run_length, width, runs].map(|n| bytes(n as i64)));
        arguments.push(bytes(by_channel as i32));
        let t = match size_of::<T>() {
            8 => "f64",
            4 => "f32",
            _ if std::any::type_name::<T>().contains("bf16") => "bf16",
            _ => "f16",
        };
        run(emulator, &format!("weight_sums_{t}"), shares.grid(), &arguments);
        let joining = Shares { lanes: 2, adjacent: 1, ..shares };
        arguments[8] = bytes(joining);
        run(emulator, &format!("weight_sums_join_{t}"), [joining.grid()[0], 1, 1], &arguments);
        vec![dw, db, sums]
    })
    .unwrap();
    [found[0].read(), found[1].read()]
}

#[test]
fn rows_are_standardised_forward_and_backward() {
    standards::<f32>();
    standards::<f64>();
    standards::<bf16>();
    standards::<f16>();
}

#[test]
fn channels_are_normalised_forward_and_backward() {
    for (batch, channels, inner) in [(4, 5, 1), (3, 7, 12), (1, 2, 1)] {
        let count = batch * channels * inner;
        let (x, g): (Vec<f32>, Vec<f32>) = (Random(11).list(count), Random(12).list(count));
        let (weight, bias): (Vec<f32>, Vec<f32>) = (Random(13).list(channels), Random(14).list(channels));
        let means: Vec<f32> = Random(15).list(channels);
        let scales: Vec<f32> = Random(16).list::<f32>(channels).iter().map(|x| x.abs() + 0.5).collect();
        let channel = |i: usize| i / inner % channels;
        let hat = |i: usize| (x[i] as f64 - means[channel(i)] as f64) * scales[channel(i)] as f64;
        let (mut plain, mut with) = (vec![0.0; channels], vec![0.0; channels]);
        for i in 0..count {
            plain[channel(i)] += g[i] as f64;
            with[channel(i)] += g[i] as f64 * hat(i);
        }
        let buffers = [&x, &g, &weight, &bias, &means, &scales].map(|list| given(list));
        let [Some(x_at), Some(g_at), Some(w), Some(b), Some(m), Some(s)] = buffers else { return };
        let sizes = [count, channels, inner].map(|n| bytes(n as i64));
        let inputs = [&x_at, &m, &s, &w, &b].map(|buffer| buffer.argument());
        let y: Vec<f32> = launch("normalize_channels_f32", blocks(count), &inputs, count, &sizes).unwrap();
        let expected: Vec<f64> =
            (0..count).map(|i| hat(i) * weight[channel(i)] as f64 + bias[channel(i)] as f64).collect();
        near("normalize_channels", &y, &expected);
        let statistics = [m.argument(), s.argument()];
        let [dw, db] =
            weight_sums::<f32>(&x_at.argument(), &statistics, &g_at.argument(), count, inner, channels, channels, true);
        near("channels' weights", &dw, &with);
        near("channels' biases", &db, &plain);
        let sums: Vec<f64> = (0..channels).flat_map(|c| [plain[c], with[c]]).collect();
        let sums_at = given(&sums).unwrap();
        let inputs = [&x_at, &m, &s, &w, &g_at, &sums_at].map(|buffer| buffer.argument());
        for own in [0, 1] {
            let mut numbers = sizes.to_vec();
            numbers.push(bytes(own));
            let dx: Vec<f32> = launch("channels_gradient_f32", blocks(count), &inputs, count, &numbers).unwrap();
            let n = (batch * inner) as f64;
            let expected: Vec<f64> = (0..count)
                .map(|i| {
                    let c = channel(i);
                    let less = if own == 1 { plain[c] / n + hat(i) * with[c] / n } else { 0.0 };
                    scales[c] as f64 * weight[c] as f64 * (g[i] as f64 - less)
                })
                .collect();
            near("channels_gradient", &dx, &expected);
        }
    }
}
