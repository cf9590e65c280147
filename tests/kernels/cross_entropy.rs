//! Cross entropy and its gradient: weights, smoothing, classes that do not count, scores down columns.

use super::support::{Number, Random, Shares, given, in_every_order, launch, near, run};
use crate::emulator::call::{Buffer, bytes};
use half::bf16;

struct Case {
    outer: usize,
    classes: usize,
    inner: usize,
    weighted: bool,
    smoothing: f64,
    logarithms: bool,
    reduction: i32,
    lanes: i32,
}

fn cases() -> Vec<Case> {
    let case = |outer, classes, inner, weighted, smoothing, logarithms, reduction, lanes| Case {
        outer,
        classes,
        inner,
        weighted,
        smoothing,
        logarithms,
        reduction,
        lanes,
    };
    vec![
        case(20, 10, 1, false, 0.0, false, 0, 2),
        case(3, 211, 1, true, 0.1, false, 2, 4),
        case(6, 300, 1, true, 0.1, false, 0, 64),
        case(3, 5, 7, true, 0.2, false, 1, 4),
        case(9, 4, 1, true, 0.0, true, 2, 1),
        case(2, 3, 30, false, 0.0, false, 2, 8),
    ]
}

const IGNORED: i64 = -100;

fn entropies<T: Number, R: Number>() {
    for case in cases() {
        let Case { outer, classes, inner, smoothing, .. } = case;
        let (t, rows) = (T::NAME, outer * inner);
        let x: Vec<T> = Random(61).list::<T>(rows * classes).iter().map(|x| T::from_f64(x.to_f64() * 4.0)).collect();
        let mut random = Random(62);
        let target: Vec<i64> =
            (0..rows).map(|r| if r % 5 == 3 { IGNORED } else { (random.word() % classes as u64) as i64 }).collect();
        let weights: Vec<R> =
            Random(63).list::<R>(classes).iter().map(|w| R::from_f64(w.to_f64().abs() + 0.1)).collect();
        let weight = |c: usize| if case.weighted { weights[c].to_f64() } else { 1.0 };
        let even = (0..classes).map(weight).sum::<f64>() / classes as f64;
        let g: Vec<T> = if case.reduction == 2 { Random(64).list(rows) } else { vec![T::from_f64(1.5)] };

        let at = |r: usize, c: usize| (r / inner * classes + c) * inner + r % inner;
        let total: f64 = target.iter().filter(|&&c| c != IGNORED).map(|&c| weight(c as usize)).sum();
        let (mut losses, mut dx) = (vec![0.0; rows], vec![0.0; x.len()]);
        for r in 0..rows {
            let row: Vec<f64> = (0..classes).map(|c| x[at(r, c)].to_f64()).collect();
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            let log: Vec<f64> = row.iter().map(|x| if case.logarithms { *x } else { x - sum.ln() }).collect();
            if target[r] == IGNORED {
                continue;
            }
            let own = target[r] as usize;
            losses[r] = -(1.0 - smoothing) * weight(own) * log[own];
            losses[r] -= smoothing / classes as f64 * (0..classes).map(|c| weight(c) * log[c]).sum::<f64>();
            let arriving = match case.reduction {
                0 => 1.5 / total,
                1 => 1.5,
                _ => g[r].to_f64(),
            };
            for c in 0..classes {
                let meant = if c == own { (1.0 - smoothing) * weight(own) } else { 0.0 }
                    + smoothing * weight(c) / classes as f64;
                let all = (1.0 - smoothing) * weight(own) + smoothing * even;
                let share = if case.logarithms { 0.0 } else { row[c].exp() / sum };
                dx[at(r, c)] = arriving * (all * share - meant);
            }
        }

        let shares = Shares::new(rows, classes, 1, case.lanes, (inner == 1) as i32);
        let (Some(x_at), Some(c_at), Some(w_at), Some(even_at), Some(g_at)) =
            (given(&x), given(&target), given(&weights), given(&[even]), given(&g))
        else {
            return;
        };
        let or_nothing = |there: bool, buffer: &Buffer| if there { buffer.argument() } else { bytes(0u64) };
        let rest = [bytes(smoothing), bytes(1i32), bytes(IGNORED)];
        let operands =
            [x_at.argument(), c_at.argument(), or_nothing(case.weighted, &w_at), or_nothing(case.weighted, &even_at)];
        let found = in_every_order(|emulator| {
            let (losses, counts) = (emulator.unwritten::<f64>(rows), emulator.unwritten::<f64>(rows));
            let (each, fault) = (emulator.unwritten::<T>(rows), emulator.buffer(&[u64::MAX]));
            let (greatest, scale) = (emulator.unwritten::<R>(rows), emulator.unwritten::<R>(rows));
            let mut arguments = operands.to_vec();
            arguments.extend([&losses, &counts, &each, &greatest, &scale, &fault].map(|buffer| buffer.argument()));
            arguments.extend([bytes(shares), bytes(inner as i64), bytes(case.logarithms as i32)]);
            arguments.extend(rest.clone());
            arguments.push(bytes(3u64));
            run(emulator, &format!("cross_entropy_{t}"), shares.grid(), &arguments);
            let (sum, output) = (emulator.unwritten::<f64>(1), emulator.unwritten::<T>(1));
            let mut arguments = [&losses, &counts, &sum, &output].map(|buffer| buffer.argument()).to_vec();
            arguments.extend([bytes(rows as i64), bytes((case.reduction == 0) as i32)]);
            run(emulator, &format!("cross_entropy_total_{t}"), [1, 1, 1], &arguments);
            vec![each, greatest, scale, sum, output, fault]
        })
        .unwrap();
        near(&format!("cross_entropy_{t}"), &found[0].read::<T>(), &losses);
        let sum: f64 = losses.iter().sum();
        near("the sum or mean", &found[4].read::<T>(), &[if case.reduction == 0 { sum / total } else { sum }]);
        assert_eq!(found[5].read::<u64>(), [u64::MAX]);
        let mut inputs = operands.to_vec();
        inputs.extend([g_at.argument(), found[1].argument(), found[2].argument(), found[3].argument()]);
        let mut numbers = vec![bytes(shares), bytes(inner as i64)];
        numbers.extend(rest);
        numbers.push(bytes(case.reduction));
        let name = format!("cross_entropy_gradient_{t}");
        let found: Vec<T> = launch(&name, shares.grid(), &inputs, x.len(), &numbers).unwrap();
        near(&name, &found, &dx);
    }
}

#[test]
fn cross_entropies_and_their_gradients() {
    entropies::<f32, f32>();
    entropies::<f64, f64>();
    entropies::<bf16, f32>();
}

#[test]
fn a_class_out_of_range_is_noted() {
    let (Some(x), Some(classes)) = (given(&[0f32; 12]), given(&[2i64, 3, -1, 0])) else { return };
    let shares = Shares::new(4, 3, 1, 1, 1);
    let found = in_every_order(|emulator| {
        let buffers = [emulator.unwritten::<f64>(4), emulator.unwritten::<f64>(4), emulator.unwritten::<f32>(4)];
        let rows = [emulator.unwritten::<f32>(4), emulator.unwritten::<f32>(4)];
        let fault = emulator.buffer(&[u64::MAX]);
        let mut arguments = vec![x.argument(), classes.argument(), bytes(0u64), bytes(0u64)];
        arguments.extend(buffers.iter().chain(&rows).chain([&fault]).map(|buffer| buffer.argument()));
        arguments.extend([bytes(shares), bytes(1i64), bytes(0i32), bytes(0f64), bytes(0i32), bytes(0i64), bytes(7u64)]);
        run(emulator, "cross_entropy_f32", shares.grid(), &arguments);
        vec![fault]
    });
    let Some(found) = found else { return };
    assert_eq!(found[0].read::<u64>(), [7 << 40 | 1]);
}
