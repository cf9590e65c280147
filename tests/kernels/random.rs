//! Random numbers: the words of the generator's authors, numbered as the CPU numbers them, and what is made of them.

use super::support::{Number, Random, blocks, given, in_every_order, launch, run};
use crate::emulator::call::{Argument, Buffer, Plain, bytes};
use half::{bf16, f16};

/// `struct Draw` of `kernels/random.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Draw {
    seed: u64,
    number: u64,
    stream: u32,
    at_address: u32,
}
impl Plain for Draw {}

const DRAW: Draw = Draw { seed: 0x0123_4567_89ab_cdef, number: (1 << 35) + 3, stream: 5, at_address: 0 };

/// The four words of a block.
fn words(draw: Draw, block: u64, attempt: u32) -> [u32; 4] {
    let high = ((block >> 32) as u32 & 0xffff) | (attempt & 0xff) << 16 | ((draw.number >> 32) as u32) << 24;
    philox([block as u32, high, draw.number as u32, draw.stream], [draw.seed as u32, (draw.seed >> 32) as u32])
}
fn philox([mut a, mut b, mut c, mut d]: [u32; 4], [mut key, mut other]: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (first, second) = (a as u64 * 0xd251_1f53, c as u64 * 0xcd9e_8d57);
        (a, b, c, d) = ((second >> 32) as u32 ^ b ^ key, second as u32, (first >> 32) as u32 ^ d ^ other, first as u32);
        (key, other) = (key.wrapping_add(0x9e37_79b9), other.wrapping_add(0xbb67_ae85));
    }
    [a, b, c, d]
}
/// The word of number `i`, and the pair of words where a number takes two.
fn single(draw: Draw, i: usize) -> u32 {
    words(draw, (i / 64 * 16 + i % 16) as u64, 0)[i / 16 % 4]
}
fn pair(draw: Draw, i: usize, attempt: u32) -> u64 {
    let (words, h) = (words(draw, (i / 32 * 16 + i % 16) as u64, attempt), i / 16 % 2);
    (words[2 * h] as u64) << 32 | words[2 * h + 1] as u64
}

const COUNTS: [usize; 4] = [1, 63, 64, 1500];

fn made<T: Plain>(name: &str, count: usize, inputs: &[Argument], numbers: &[Argument]) -> Option<Vec<T>> {
    let mut all = vec![bytes(count as i64), bytes(DRAW)];
    all.extend_from_slice(numbers);
    launch(name, blocks(count), inputs, count, &all)
}

#[test]
fn words_are_those_of_the_authors() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    for count in COUNTS {
        let Some(keys) = made::<i64>("keys_i64", count, &[], &[]) else { return };
        assert!(keys.iter().enumerate().all(|(i, &key)| key as u64 == pair(DRAW, i, 0)));
    }
}

#[test]
fn the_number_of_a_draw_may_stand_in_memory() {
    for number in [0, DRAW.number] {
        let Some(there) = given(&[number]) else { return };
        // The same struct, with an address in the number's place.
        let draw = [bytes(DRAW.seed), there.argument(), bytes(DRAW.stream), bytes(1u32)].concat();
        let Some(keys) = launch::<i64>("keys_i64", blocks(1500), &[], 1500, &[bytes(1500i64), draw]) else { return };
        let expected = Draw { number, ..DRAW };
        assert!(keys.iter().enumerate().all(|(i, &key)| key as u64 == pair(expected, i, 0)));
    }
}

#[test]
fn uniforms_are_those_of_the_cpu() {
    for count in COUNTS {
        let range = [bytes(-1f64), bytes(3f64)];
        let Some(found) = made::<f32>("uniform_f32", count, &[], &range) else { return };
        let expected = |i: usize| -1.0 + (single(DRAW, i) >> 8) as f32 * (1.0 / (1 << 24) as f32) * 4.0;
        assert!(found.iter().enumerate().all(|(i, &x)| x == expected(i)));
        let halves: Vec<bf16> = made("uniform_bf16", count, &[], &range).unwrap();
        assert!(halves.iter().enumerate().all(|(i, &x)| x == bf16::from_f32(expected(i))));
        let found: Vec<f64> = made("uniform_f64", count, &[], &range).unwrap();
        for (i, &x) in found.iter().enumerate() {
            let word = pair(DRAW, i, 0);
            let fraction =
                (word >> 32) as f64 / (1u64 << 32) as f64 + ((word as u32) >> 11) as f64 / (1u64 << 53) as f64;
            assert_eq!(x, -1.0 + fraction * 4.0);
        }
    }
    // What would round to the end, which is excluded.
    let found: Vec<f32> = made("uniform_f32", 1500, &[], &[bytes(1f64), bytes(1.0 + f32::EPSILON as f64)]).unwrap();
    assert!(found.iter().all(|&x| x == 1.0));
    let found: Vec<f32> = made("uniform_f32", 1500, &[], &[bytes(-1f64), bytes(0f64)]).unwrap();
    assert!(found.iter().all(|&x| x < 0.0));
}

#[test]
fn normals_are_pairs_of_one_radius_and_angle() {
    for count in COUNTS {
        let Some(found) = made::<f32>("normal_f32", count, &[], &[bytes(2f64), bytes(3f64)]) else { return };
        let step = 1.0 / (1u64 << 32) as f64;
        for (i, &x) in found.iter().enumerate() {
            let (first, second) = (i / 32 * 32 + i % 16, i / 32 * 32 + i % 16 + 16);
            let radius = (-2.0 * ((single(DRAW, first) as f64 + 1.0) * step).ln()).sqrt();
            let (sine, cosine) = (single(DRAW, second) as f64 * step * std::f64::consts::TAU).sin_cos();
            let expected = 2.0 + 3.0 * radius * if i == first { cosine } else { sine };
            assert!(
                (x as f64 - expected).abs() <= 2.0 * f32::EPSILON as f64 * expected.abs().max(1.0),
                "{x} {expected}"
            );
        }
        let wide: Vec<f64> = made("normal_f64", count, &[], &[bytes(0f64), bytes(1f64)]).unwrap();
        assert!(wide.iter().all(|x| x.abs() < 9.0));
    }
    let wide: Vec<f64> = made("normal_f64", 20_000, &[], &[bytes(0f64), bytes(1f64)]).unwrap();
    let (mean, square) = (wide.iter().sum::<f64>() / 2e4, wide.iter().map(|x| x * x).sum::<f64>() / 2e4);
    assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
}

#[test]
fn whole_numbers_have_no_favourites() {
    for bound in [1u64, 7, 3 << 62] {
        let Some(found) = made::<i64>("integers_i64", 1500, &[], &[bytes(-3i64), bytes(bound)]) else { return };
        for (i, &x) in found.iter().enumerate() {
            let expected = (0..256).find_map(|attempt| {
                let product = pair(DRAW, i, attempt) as u128 * bound as u128;
                (product as u64 >= bound.wrapping_neg() % bound).then_some((product >> 64) as i64)
            });
            assert_eq!(x, expected.unwrap_or(0).wrapping_sub(3));
        }
    }
}

#[test]
fn coins_fall_as_on_the_cpu() {
    let threshold = (0.3 * (1u64 << 32) as f64).round() as u64;
    let Some(found) = made::<u8>("bernoulli_u8", 1500, &[], &[bytes(threshold)]) else { return };
    assert!(found.iter().enumerate().all(|(i, &x)| x == ((single(DRAW, i) as u64) < threshold) as u8));
    let chances: Vec<f64> = Random(31).list::<f64>(1500).iter().map(|x| x.abs()).collect();
    let at = given(&chances).unwrap();
    let word = given(&[u64::MAX]).unwrap();
    let check = [word.argument(), bytes(5u64)];
    let found: Vec<u8> = made("bernoulli_of_f64", 1500, &[at.argument()], &check).unwrap();
    assert_eq!(word.read::<u64>(), [u64::MAX]);
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(i, &x)| x == ((single(DRAW, i) as f64) < chances[i] * (1u64 << 32) as f64) as u8)
    );
    for (wrong, place) in [(f64::NAN, 1499), (1.0001, 700), (-1e-9, 3)] {
        let mut chances = chances.clone();
        chances[place] = wrong;
        let at = given(&chances).unwrap();
        made::<u8>("bernoulli_of_f64", 1500, &[at.argument()], &check).unwrap();
        assert_eq!(word.read::<u64>(), [5 << 40 | place as u64], "{wrong}");
    }
}

#[test]
fn counts_have_the_chances_of_their_rates() {
    let rates: Vec<f64> = (0..1500).map(|i| [0.0, 4.5, 50.0][i % 3]).collect();
    let Some(at) = given(&rates) else { return };
    let word = given(&[u64::MAX]).unwrap();
    let check = [word.argument(), bytes(5u64)];
    let found: Vec<f64> = made("poisson_f64", 1500, &[at.argument()], &check).unwrap();
    assert_eq!(word.read::<u64>(), [u64::MAX]);
    assert!(found.iter().step_by(3).all(|&count| count == 0.0));
    for (i, &count) in found.iter().enumerate().skip(1).step_by(3) {
        let uniform = (pair(DRAW, i, 0) >> 11) as f64 / (1u64 << 53) as f64;
        let chance = |k: i32| f64::exp(-4.5) * (1..=k).map(|j| 4.5 / j as f64).product::<f64>();
        let before: f64 = (0..count as i32).map(chance).sum();
        assert!(before <= uniform + 1e-13 && uniform < before + chance(count as i32) + 1e-13, "{i}: {count}");
    }
    let many: Vec<f64> = found.iter().copied().skip(2).step_by(3).collect();
    let mean = many.iter().sum::<f64>() / many.len() as f64;
    assert!((mean - 50.0).abs() < 1.6 && many.iter().all(|x| x.fract() == 0.0 && (10.0..100.0).contains(x)), "{mean}");
    for (wrong, place) in [(f64::NAN, 1499), (1.1e12, 700), (-1e-9, 3)] {
        let mut rates = rates.clone();
        rates[place] = wrong;
        let at = given(&rates).unwrap();
        made::<f64>("poisson_f64", 1500, &[at.argument()], &check).unwrap();
        assert_eq!(word.read::<u64>(), [5 << 40 | place as u64], "{wrong}");
    }
}

fn thinned<T: Number>() {
    let threshold = 1u64 << 30;
    let mut x: Vec<T> = Random(32).list(1500);
    x[7] = T::from_f64(f64::NAN);
    let Some(at) = given(&x) else { return };
    for group in [1usize, 3, 100] {
        let numbers = [bytes(threshold), bytes(group as i64), bytes(1.25f64), bytes(0.5f64), bytes(-1f64)];
        let found: Vec<T> = made(&format!("thin_{}", T::NAME), 1500, &[at.argument()], &numbers).unwrap();
        for (i, &y) in found.iter().enumerate() {
            let kept = single(DRAW, i / group) as u64 >= threshold;
            let expected = if kept { x[i].to_f64() * 1.25 + 0.5 } else { x[i].to_f64() * 0.0 - 1.0 };
            let close = (y.to_f64() - expected).abs() <= T::CLOSE * expected.abs().max(1.0);
            assert!(close || i == 7 && y.to_f64().is_nan(), "thin_{} {i}: {y:?} {expected}", T::NAME);
        }
    }
}

#[test]
fn dropout_thins_by_the_words() {
    thinned::<f32>();
    thinned::<f64>();
    thinned::<bf16>();
    thinned::<f16>();
}

/// Rows of weights, some of them zero.
fn weights(rows: usize, choices: usize) -> Vec<f64> {
    let mut random = Random(81);
    let mut list: Vec<f64> = (0..rows * choices).map(|_| (random.number() - 0.2).max(0.0)).collect();
    list.chunks_mut(choices).for_each(|row| row[choices / 2] = 0.5);
    list
}

#[test]
fn weights_are_looked_at() {
    let (rows, choices) = (3, 700);
    for (place, weight, wanted, word) in [
        (0, 0.0, 1, u64::MAX),
        (2 * choices + 600, -1.0, 1, 5 << 40 | 2),
        (choices + 9, f64::NAN, 1, 5 << 40 | 1),
        (choices, f64::INFINITY, 1, 5 << 40 | 1),
        (0, 0.0, 600, 5 << 40),
    ] {
        let mut list = weights(rows, choices);
        list[place] = weight;
        let Some(from) = given(&list) else { return };
        let found = in_every_order(|emulator| {
            let (counts, fault) = (emulator.unwritten::<i64>(rows), emulator.buffer(&[u64::MAX]));
            let mut arguments = vec![from.argument(), counts.argument(), bytes(choices as i64)];
            arguments.extend([bytes(wanted as i64), fault.argument(), bytes(5u64)]);
            run(emulator, "weigh_f64", [rows, 1, 1], &arguments);
            vec![counts, fault]
        })
        .unwrap();
        assert_eq!(found[1].read::<u64>(), [word]);
        for (&found, list) in found[0].read::<i64>().iter().zip(list.chunks(choices)) {
            let wrong = list.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0));
            let positive = list.iter().filter(|weight| **weight > 0.0).count() as i64;
            assert_eq!(found, wrong.map_or(positive, |weight| weight.to_bits() as i64));
        }
    }
}

#[test]
fn choices_fall_among_sums_of_weights() {
    for (rows, choices, each) in [(1, 1, 3), (3, 5, 40), (2, 128, 70), (2, 700, 300)] {
        let (list, stretches) = (weights(rows, choices), choices.div_ceil(128));
        let Some(from) = given(&list) else { return };
        let found = in_every_order(|emulator| {
            let sums = emulator.unwritten::<f64>(rows * (stretches + 1));
            let y = emulator.unwritten::<i64>(rows * each);
            let sizes = [rows, choices, stretches].map(|n| bytes(n as i64));
            let mut arguments = vec![from.argument(), sums.argument()];
            arguments.extend(sizes.clone());
            run(emulator, "stretches_f64", blocks(rows * stretches), &arguments);
            let [rows_, _, stretches_] = sizes;
            run(emulator, "stretches_before_f64", blocks(rows), &[sums.argument(), rows_, stretches_.clone()]);
            let mut arguments = vec![from.argument(), sums.argument(), y.argument(), bytes((rows * each) as i64)];
            arguments.extend([bytes(each as i64), bytes(choices as i64), stretches_, bytes(DRAW)]);
            run(emulator, "choose_f64", blocks(rows * each), &arguments);
            vec![y]
        })
        .unwrap();
        for (i, &choice) in found[0].read::<i64>().iter().enumerate() {
            let row = &list[i / each * choices..][..choices];
            let mut sum = 0.0;
            let mut sums = Vec::new();
            for stretch in row.chunks(128) {
                let before = sum;
                let mut inside = 0.0;
                for weight in stretch {
                    inside += weight;
                    sum = before + inside;
                    sums.push(sum);
                }
            }
            let point = (pair(DRAW, i, 0) >> 11) as f64 / (1u64 << 53) as f64 * sum;
            assert_eq!(choice, sums.iter().position(|&sum| sum > point).unwrap() as i64);
            assert!(row[choice as usize] > 0.0);
        }
    }
}

#[test]
fn waiting_times_have_rates() {
    for count in COUNTS {
        let list = weights(1, count);
        let Some(from) = given(&list) else { return };
        let Some(times) = made_of(&from, count) else { return };
        for (i, (&time, &weight)) in times.iter().zip(&list).enumerate() {
            let fraction = ((pair(DRAW, i, 0) >> 11) + 1) as f64 / (1u64 << 53) as f64;
            let expected = if weight > 0.0 { -fraction.ln() / weight } else { f64::INFINITY };
            assert!(time == expected || (time - expected).abs() <= 1e-15 * expected, "{time} instead of {expected}");
        }
    }
}

fn made_of(weights: &Buffer, count: usize) -> Option<Vec<f64>> {
    launch("waiting_f64", blocks(count), &[weights.argument()], count, &[bytes(count as i64), bytes(DRAW)])
}
