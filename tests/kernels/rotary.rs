//! Rotary positions: the table of angles, and rows of every element type turned through strides.

use super::support::{Number, Random, blocks, given, in_every_order, launch, near, places, run};
use crate::emulator::call::{View, bytes};
use half::{bf16, f16};

const FIRST: usize = 5;
const BASE: f64 = 1000.0;
/// How much of a speed is kept: all of the first pairs', nothing of the last ones'.
const SLOW: f64 = 0.125;
const START: f64 = 1.25;
const RISE: f64 = -0.25;
const AMPLITUDE: f64 = 1.5;

/// For each position the cosines, then the sines.
fn table(positions: usize, pairs: usize, back: bool, by_pair: bool) -> Vec<f64> {
    let angle = |p: usize, i: usize| {
        let speed = BASE.powf(-2.0 * i as f64 / (2 * pairs) as f64);
        let kept = (START + RISE * if by_pair { i as f64 } else { speed }).clamp(0.0, 1.0);
        (FIRST + p) as f64 * speed * (kept + (1.0 - kept) * SLOW)
    };
    let sign = if back { -1.0 } else { 1.0 };
    (0..positions)
        .flat_map(|p| {
            let cosines = (0..pairs).map(move |i| AMPLITUDE * angle(p, i).cos());
            cosines.chain((0..pairs).map(move |i| AMPLITUDE * sign * angle(p, i).sin()))
        })
        .collect()
}

fn turned<T: Number, R: Number>() {
    for (batch, heads, positions, pairs, width) in
        [(2, 3, 19, 3, 8), (1, 1, 1, 1, 2), (3, 2, 4, 0, 5), (2, 1, 9, 40, 80)]
    {
        for (interleaved, back) in [(false, false), (true, true)] {
            let angles = table(positions, pairs, back, interleaved);
            let found = in_every_order(|emulator| {
                let out = emulator.unwritten::<R>(angles.len());
                let mut numbers = vec![out.argument()];
                numbers.extend([positions, pairs, FIRST].map(|n| bytes(n as i64)));
                numbers.extend([bytes(BASE), bytes(2.0 * pairs as f64), bytes(back as i32)]);
                numbers.extend([SLOW, START, RISE].map(bytes));
                numbers.extend([bytes(interleaved as i32), bytes(AMPLITUDE)]);
                run(emulator, &format!("angles_{}", R::NAME), blocks(positions * pairs), &numbers);
                vec![out]
            });
            let Some(found) = found else { return };
            let shared: Vec<R> = found[0].read();
            near(&format!("angles_{}", R::NAME), &shared, &angles);

            // Rows of [batch, positions, heads, width], seen as [batch, heads, positions, width] and backwards.
            let (rows, last) = (batch * heads * positions, width as i64 - 1);
            let list: Vec<T> = Random(102).list(rows * width);
            let strides = [positions * heads * width, width, heads * width].map(|step| step as i64);
            let view = View::new(&[batch, heads, positions], &strides);
            let (Some(x), Some(turns)) = (given(&list), given(&shared)) else { return };
            let mut numbers = [rows, positions, pairs, width].map(|n| bytes(n as i64)).to_vec();
            numbers.extend([bytes(view), bytes(-1i64), bytes(interleaved as i32)]);
            let inputs = [x.from(last as usize * size_of::<T>()), turns.argument()];
            let name = format!("rotate_{}", T::NAME);
            let found: Vec<T> = launch(&name, blocks(rows * (width - pairs)), &inputs, list.len(), &numbers).unwrap();
            let mut expected = Vec::new();
            for (row, start) in places(&view).into_iter().enumerate() {
                let mut numbers: Vec<f64> = (0..width).map(|j| list[start as usize + width - 1 - j].to_f64()).collect();
                for i in 0..pairs {
                    let (a, b) = if interleaved { (2 * i, 2 * i + 1) } else { (i, i + pairs) };
                    let turn = &angles[row % positions * 2 * pairs..];
                    let (x, y, cosine, sine) = (numbers[a], numbers[b], turn[i], turn[i + pairs]);
                    (numbers[a], numbers[b]) = (x * cosine - y * sine, y * cosine + x * sine);
                }
                expected.extend(numbers);
            }
            near(&name, &found, &expected);
        }
    }
}

#[test]
fn pairs_are_turned_by_their_position() {
    turned::<f32, f32>();
    turned::<f64, f64>();
    turned::<bf16, f32>();
    turned::<f16, f32>();
}
