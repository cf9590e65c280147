//! CTC: every path written out, and counted, for short and for long targets; chances by differences; what is out of range.

use super::support::{Number, Random, in_every_order, near, run};
use crate::emulator::call::{Argument, Buffer, Emulator, bytes};

const BLANK: usize = 1;

/// Examples that share their logarithms' sizes.
struct Batch {
    steps: usize,
    classes: usize,
    width: usize,
    /// Steps and symbols of each example.
    examples: Vec<(i64, Vec<i64>)>,
}

impl Batch {
    fn count(&self) -> usize {
        self.examples.len()
    }
    fn targets(&self) -> Vec<i64> {
        let filled = |symbols: &Vec<i64>| [&symbols[..], &vec![-7; self.width - symbols.len()]].concat();
        self.examples.iter().flat_map(|(_, symbols)| filled(symbols)).collect()
    }
    /// The chance of a target, by all ways to spell it step by step: what was spelled, how far, and was the last a blank?
    fn chance(&self, x: &[f64], example: usize) -> f64 {
        let (steps, symbols) = &self.examples[example];
        // ways[s][b]: the first s symbols are spelled, and the last step was a blank (1) or the symbol (0).
        let mut ways = vec![[0.0; 2]; symbols.len() + 1];
        ways[0][1] = 1.0;
        for step in 0..*steps as usize {
            let p = |class: usize| x[(step * self.count() + example) * self.classes + class].exp();
            let mut next = vec![[0.0; 2]; ways.len()];
            for s in 0..ways.len() {
                next[s][1] = (ways[s][0] + ways[s][1]) * p(BLANK);
                if s > 0 {
                    let symbol = symbols[s - 1];
                    let unlike = s < 2 || symbols[s - 2] != symbol;
                    let from = ways[s - 1][1] + if unlike { ways[s - 1][0] } else { 0.0 };
                    next[s][0] = (ways[s][0] + from) * p(symbol as usize);
                }
            }
            ways = next;
        }
        ways.last().map_or(0.0, |last| last[0] + last[1])
    }
    /// By differences: how each loss changes with each logarithm; 0 where there is no path.
    fn slopes(&self, x: &[f64]) -> Vec<f64> {
        let mut x = x.to_vec();
        (0..x.len())
            .map(|at| {
                let (example, number) = (at / self.classes % self.count(), x[at]);
                if self.chance(&x, example) == 0.0 {
                    return 0.0;
                }
                let mut moved = |by: f64| {
                    x[at] = number + by;
                    let loss = -self.chance(&x, example).ln();
                    x[at] = number;
                    loss
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            })
            .collect()
    }
    /// Losses, slopes, and the word for what is out of range.
    fn there<T: Number>(&self, emulator: &Emulator, x: &[T], wanted: bool) -> [Buffer; 3] {
        let (batch, positions) = (self.count(), 2 * self.width + 1);
        let inputs: Vec<i64> = self.examples.iter().map(|example| example.0).collect();
        let counts: Vec<i64> = self.examples.iter().map(|example| example.1.len() as i64).collect();
        let (x_at, given) = (emulator.buffer(x), emulator.buffer(&[inputs, counts, self.targets()].concat()));
        let (losses, word) = (emulator.unwritten::<T>(batch), emulator.buffer(&[u64::MAX]));
        let (chances, next) =
            (emulator.unwritten::<f64>(batch * self.steps * positions), emulator.unwritten::<i32>(batch * self.width));
        let spare = emulator.unwritten::<f64>(3 * batch * positions);
        let option = |buffer: &Buffer| if wanted { buffer.argument() } else { bytes(0u64) };
        let numbers: Vec<Argument> =
            [self.steps, batch, self.classes, self.width, BLANK].iter().map(|&n| bytes(n as i64)).collect();
        let mut arguments: Vec<Argument> = [&x_at, &given, &losses].map(|buffer| buffer.argument()).to_vec();
        arguments.extend([option(&chances), option(&next), spare.argument(), word.argument()]);
        arguments.push(bytes(2i64));
        arguments.extend(numbers.iter().cloned());
        arguments.push(bytes(1i32));
        let threads = positions.next_multiple_of(32).min(256);
        emulator
            .launch(&format!("ctc_{}", T::NAME), [batch, 1, 1], threads, 0, &arguments)
            .unwrap_or_else(|said| panic!("{said}"));
        let slopes = emulator.buffer(&vec![T::from_f64(0.0); x.len()]);
        if wanted {
            let mut arguments: Vec<Argument> =
                [&chances, &given, &next, &slopes].map(|buffer| buffer.argument()).to_vec();
            arguments.extend(numbers);
            run(emulator, &format!("ctc_slopes_{}", T::NAME), [2, 1, 1], &arguments);
        }
        [losses, slopes, word]
    }
}

fn logarithms<T: Number>(count: usize) -> Vec<T> {
    Random(121).list::<T>(count).into_iter().map(|x| T::from_f64(x.to_f64() * 1.5 - 1.5)).collect()
}

fn short() -> Batch {
    // All kinds: repeated symbols, none, no steps at all, one symbol more than there are steps, equal symbols too near.
    let examples = [
        (6, vec![2, 0, 0]),
        (4, vec![3]),
        (5, vec![]),
        (0, vec![]),
        (2, vec![0, 2, 3]),
        (2, vec![2, 2]),
        (6, vec![0, 3, 0, 2]),
    ];
    Batch { steps: 6, classes: 4, width: 5, examples: examples.to_vec() }
}

fn compared<T: Number>() {
    let batch = short();
    let x: Vec<T> = logarithms(batch.steps * batch.count() * batch.classes);
    let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
    let Some(found) = in_every_order(|emulator| batch.there(emulator, &x, true).into()) else { return };
    let Some(alone) = in_every_order(|emulator| batch.there(emulator, &x, false).into()) else { return };
    let chances: Vec<f64> = (0..batch.count()).map(|example| batch.chance(&wide, example)).collect();
    let losses: Vec<f64> = chances.iter().map(|&chance| if chance == 0.0 { 0.0 } else { -chance.ln() }).collect();
    near("ctc", &found[0].read::<T>(), &losses);
    near("ctc alone", &alone[0].read::<T>(), &losses);
    for (at, (found, expected)) in found[1].read::<T>().iter().zip(batch.slopes(&wide)).enumerate() {
        assert!((found.to_f64() - expected).abs() <= T::CLOSE + 1e-9, "slope {at}: {found:?} instead of {expected}");
    }
    assert_eq!(found[2].read::<u64>(), [u64::MAX]);
}

#[test]
fn every_path_that_spells_a_target_counts() {
    compared::<f64>();
    compared::<f32>();
}

/// More positions than threads, and more than shared memory has room for.
#[test]
fn long_targets() {
    for width in [200usize, 520] {
        let symbols: Vec<i64> = (0..width).map(|at| [0, 2, 3, 2, 4][at % 5]).collect();
        // Few steps more than there are symbols, so that chances are no sums of very many.
        let batch = Batch { steps: width + 2, classes: 5, width, examples: vec![(width as i64 + 2, symbols)] };
        let x: Vec<f64> = logarithms::<f64>(batch.steps * batch.classes).into_iter().map(|x| x / 3.0).collect();
        let Some(emulator) = Emulator::new() else { return };
        let [losses, slopes, _] = batch.there(&emulator, &x, true);
        near("a long target", &losses.read::<f64>(), &[-batch.chance(&x, 0).ln()]);
        // Each step uses one class.
        for row in slopes.read::<f64>().chunks(batch.classes) {
            assert!((row.iter().sum::<f64>() + 1.0).abs() < 1e-9, "{row:?}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_told() {
    type Change = fn(&mut Batch);
    let cases: [(Change, u64); 4] = [
        (|batch| batch.examples[2].0 = 7, 2 << 40 | 2),
        (|batch| batch.examples[4].0 = -1, 2 << 40 | 4),
        (|batch| batch.examples[1].1[0] = 4, 2 << 40 | (14 + 5)),
        (|batch| batch.examples[6].1[3] = BLANK as i64, 2 << 40 | (14 + 33)),
    ];
    for (change, expected) in cases {
        let mut batch = short();
        change(&mut batch);
        let x: Vec<f32> = logarithms(batch.steps * batch.count() * batch.classes);
        let Some(found) = in_every_order(|emulator| batch.there(emulator, &x, true).into()) else { return };
        assert_eq!(found[2].read::<u64>(), [expected]);
    }
}
