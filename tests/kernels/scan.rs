//! What runs along an axis: dense lines and lines side by side, forwards and backwards, whole and in pieces that are joined.

use super::support::{Number, Random, given, in_every_order, near, run};
use crate::emulator::call::{Argument, Buffer, Plain, bytes};
use half::{bf16, f16};

/// `struct Lines` of `kernels/scan.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Lines {
    count: i64,
    size: i64,
    inner: i64,
    pieces: i32,
    lanes: i32,
    adjacent: i32,
    reversed: i32,
}
impl Plain for Lines {}

/// Lines of every kind: outer, size, inner, pieces, lanes.
const CASES: [(i64, i64, i64, i32, i32); 8] = [
    (3, 1, 1, 1, 1),
    (300, 3, 1, 1, 1),
    (5, 37, 1, 1, 16),
    (2, 2300, 1, 1, 256),
    (2, 2300, 1, 3, 256),
    (2, 41, 33, 1, 1),
    (2, 83, 5, 1, 16),
    (1, 700, 3, 4, 64),
];

fn cases(reversed: bool) -> impl Iterator<Item = Lines> {
    CASES.into_iter().map(move |(outer, size, inner, pieces, lanes)| Lines {
        count: outer * inner,
        size,
        inner,
        pieces,
        lanes,
        adjacent: (inner == 1) as i32,
        reversed: reversed as i32,
    })
}

impl Lines {
    fn elements(&self) -> usize {
        (self.count * self.size) as usize
    }
    /// What becomes of numbers when each line is mapped by itself.
    fn mapped<T: Copy, R: Copy + Default>(&self, numbers: &[T], line: impl Fn(&[T]) -> Vec<R>) -> Vec<R> {
        let mut out = vec![R::default(); numbers.len()];
        for number in 0..self.count {
            let start = number / self.inner * self.size * self.inner + number % self.inner;
            let place = |k: i64| (start + k * self.inner) as usize;
            let row: Vec<T> = (0..self.size).map(|k| numbers[place(k)]).collect();
            line(&row).into_iter().enumerate().for_each(|(k, result)| out[place(k as i64)] = result);
        }
        out
    }
}

/// Goes along lines in every order of threads; gives y and what else was written.
fn along<R: Plain>(
    [name, t, join]: [&str; 3],
    lines: &Lines,
    x: &Buffer,
    start: &[R],
    more: &[Argument],
    places: bool,
) -> Option<(Vec<R>, Vec<i64>)> {
    let found = in_every_order(|emulator| {
        let y = if start.is_empty() { emulator.unwritten::<R>(lines.elements()) } else { emulator.buffer(start) };
        let second = emulator.unwritten::<i64>(lines.elements());
        let parts = emulator.unwritten::<u64>((3 * lines.count * lines.pieces as i64) as usize);
        let mut arguments = vec![x.argument(), y.argument(), parts.argument(), bytes(*lines)];
        if places {
            arguments.push(second.argument());
        }
        arguments.extend_from_slice(more);
        let grid = [(lines.count as usize * lines.lanes as usize).div_ceil(256), lines.pieces as usize, 1];
        if lines.pieces > 1 {
            run(emulator, &format!("{name}_parts_{t}"), grid, &arguments);
            let mut joined = vec![parts.argument(), bytes(lines.pieces)];
            joined.extend(more.iter().filter(|_| places).cloned());
            run(emulator, &format!("join_{join}"), [lines.count as usize, 1, 1], &joined);
        }
        run(emulator, &format!("{name}_{t}"), grid, &arguments);
        if places { vec![y, second] } else { vec![y] }
    })?;
    Some((found[0].read(), if places { found[1].read() } else { Vec::new() }))
}

fn running(step: impl Fn(f64, f64) -> f64, start: f64) -> impl Fn(&[f64]) -> Vec<f64> {
    move |row| {
        row.iter()
            .scan(start, |held, &x| {
                *held = step(*held, x);
                Some(*held)
            })
            .collect()
    }
}

fn backwards(map: impl Fn(&[f64]) -> Vec<f64>) -> impl Fn(&[f64]) -> Vec<f64> {
    move |row| {
        let turned: Vec<f64> = row.iter().rev().copied().collect();
        map(&turned).into_iter().rev().collect()
    }
}

fn wide<T: Number>(list: &[T]) -> Vec<f64> {
    list.iter().map(|x| x.to_f64()).collect()
}

fn sums<T: Number>() {
    for lines in cases(false).chain(cases(true)) {
        let x: Vec<T> = Random(61).list(lines.elements());
        let Some(from) = given(&x) else { return };
        let add = running(|sum, x| sum + x, 0.0);
        let expected = lines.mapped(&wide(&x), |row| if lines.reversed == 1 { backwards(&add)(row) } else { add(row) });
        let what = format!("running_sum_{}, lines of {}", T::NAME, lines.size);
        let join = if T::WHOLE { "wholes" } else { "sum" };
        let (found, _) = along::<T>(["running_sum", T::NAME, join], &lines, &from, &[], &[], false).unwrap();
        near(&what, &found, &expected);
    }
}

#[test]
fn sums_run_in_both_directions() {
    sums::<f32>();
    sums::<f64>();
    sums::<bf16>();
    sums::<f16>();
    sums::<i64>();
}

#[test]
fn products_run_and_never_overflow_in_parts() {
    for lines in cases(false) {
        // Thousands of twos behind a zero, or that halves make up for: no part may overflow where the whole does not.
        let mut x: Vec<f64> = (0..lines.elements()).map(|i| if i / 1024 % 2 == 0 { 2.0 } else { 0.5 }).collect();
        x[lines.elements() / 2] = 0.0;
        let Some(from) = given(&x) else { return };
        let (found, _) = along::<f64>(["running_product", "f64", "product"], &lines, &from, &[], &[], false).unwrap();
        near("running_product_f64", &found, &lines.mapped(&x, running(|product, x| product * x, 1.0)));
        let x: Vec<f32> = Random(62).list::<f32>(lines.elements()).iter().map(|x| 1.0 + 0.1 * x).collect();
        let Some(from) = given(&x) else { return };
        let (found, _) = along::<f32>(["running_product", "f32", "product"], &lines, &from, &[], &[], false).unwrap();
        near("running_product_f32", &found, &lines.mapped(&wide(&x), running(|product, x| product * x, 1.0)));
        let x: Vec<i64> = Random(63).list(lines.elements());
        let Some(from) = given(&x) else { return };
        let (found, _) =
            along::<i64>(["running_product", "i64", "whole_product"], &lines, &from, &[], &[], false).unwrap();
        let wrapping = |row: &[i64]| {
            let step = |held: &mut i64, x: &i64| {
                *held = held.wrapping_mul(*x);
                Some(*held)
            };
            row.iter().scan(1, step).collect::<Vec<i64>>()
        };
        assert_eq!(found, lines.mapped(&x, wrapping));
    }
}

/// The products of all before each number.
fn before(row: &[f64]) -> Vec<f64> {
    (0..row.len()).map(|i| row[..i].iter().product()).collect()
}

#[test]
fn products_of_others_and_gradients_of_products() {
    for (forward, lines) in cases(false).zip(cases(true)) {
        let mut x: Vec<f64> = Random(64).list::<f64>(lines.elements()).iter().map(|x| 1.0 + 0.1 * x).collect();
        x[lines.elements() / 3] = 0.0;
        let g: Vec<f64> = Random(65).list(lines.elements());
        let (Some(from), Some(arriving)) = (given(&x), given(&g)) else { return };
        let (earlier, _) =
            along::<f64>(["product_before", "f64", "product"], &forward, &from, &[], &[], false).unwrap();
        let expected = lines.mapped(&x, before);
        near("product_before_f64", &earlier, &expected);
        let earlier = given(&earlier).unwrap();
        let more = [earlier.argument()];
        let (found, _) = along::<f64>(["product_others", "f64", "product"], &lines, &from, &[], &more, false).unwrap();
        let others = |row: &[f64]| {
            let behind = backwards(before)(row);
            before(row).iter().zip(behind).map(|(a, b)| a * b).collect::<Vec<f64>>()
        };
        near("product_others_f64", &found, &lines.mapped(&x, others));
        let more = [arriving.argument(), earlier.argument()];
        let (found, _) =
            along::<f64>(["product_gradient", "f64", "recurrence"], &lines, &from, &[], &more, false).unwrap();
        let pairs: Vec<(f64, f64)> = x.iter().copied().zip(g.iter().copied()).collect();
        let gradient = |row: &[(f64, f64)]| {
            let products = before(&row.iter().map(|pair| pair.0).collect::<Vec<f64>>());
            let mut behind = 0.0;
            let mut out: Vec<f64> = row
                .iter()
                .zip(products)
                .rev()
                .map(|(&(x, g), before)| {
                    let own = g + behind;
                    behind = x * own;
                    before * own
                })
                .collect();
            out.reverse();
            out
        };
        let expected = lines.mapped(&pairs, gradient);
        let size = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
        let [found, expected] = [found, expected].map(|list| list.iter().map(|x| x / size).collect::<Vec<f64>>());
        near("product_gradient_f64", &found, &expected);
    }
}

#[test]
fn logarithms_of_sums_run_and_have_gradients() {
    let infinity = f64::INFINITY;
    for (forward, lines) in cases(false).zip(cases(true)) {
        let mut x: Vec<f64> = Random(66).list::<f64>(lines.elements()).iter().map(|x| 800.0 * x).collect();
        x[0] = -infinity;
        if lines.elements() > 500 {
            x[lines.elements() - 1] = infinity;
        }
        let g: Vec<f64> = Random(67).list(lines.elements());
        let (Some(from), Some(arriving)) = (given(&x), given(&g)) else { return };
        let (found, _) =
            along::<f64>(["running_logsumexp", "f64", "exponentials"], &forward, &from, &[], &[], false).unwrap();
        let join = |sum: f64, x: f64| {
            let (low, high) = if sum < x { (sum, x) } else { (x, sum) };
            if low == high && high.is_infinite() { high } else { high + (low - high).exp().ln_1p() }
        };
        let results = lines.mapped(&x, running(join, -infinity));
        near("running_logsumexp_f64", &found, &results);
        let (result, more) = (given(&results).unwrap(), arriving.argument());
        let more = [result.argument(), more];
        let (found, _) =
            along::<f64>(["logsumexp_gradient", "f64", "decay"], &lines, &from, &[], &more, false).unwrap();
        let triples: Vec<[f64; 3]> = (0..x.len()).map(|i| [x[i], results[i], g[i]]).collect();
        let gradient = |row: &[[f64; 3]]| {
            let ratio = |low: f64, high: f64| if low == high { 1.0 } else { (low - high).exp() };
            let of = |i: usize| {
                (i..row.len()).map(|k| row[k][2] * ratio(row[i][1], row[k][1])).sum::<f64>() * {
                    if row[i][0] == -infinity { 0.0 } else { ratio(row[i][0], row[i][1]) }
                }
            };
            (0..row.len()).map(of).collect::<Vec<f64>>()
        };
        near("logsumexp_gradient_f64", &found, &lines.mapped(&triples, gradient));
    }
}

fn extremes<T: Number + PartialOrd>(nan: bool) {
    for (lines, greatest) in cases(false).flat_map(|lines| [(lines, 0), (lines, 1)]) {
        let mut x: Vec<T> =
            Random(68).list::<f64>(lines.elements()).iter().map(|x| T::from_f64((x * 9.0).round())).collect();
        if nan && lines.size > 40 {
            x[lines.elements() - 7] = T::from_f64(f64::NAN);
        }
        let Some(from) = given(&x) else { return };
        let join = format!("extreme_{}", T::NAME);
        let more = [bytes(greatest)];
        let (found, places) = along::<T>(["running_extreme", T::NAME, &join], &lines, &from, &[], &more, true).unwrap();
        let best = |row: &[f64]| {
            let mut held = 0;
            let step = |(i, &x): (usize, &f64)| {
                let before = row[held];
                let better = x.is_nan() || !before.is_nan() && if greatest == 1 { x >= before } else { x <= before };
                if better {
                    held = i;
                }
                held as i64
            };
            row.iter().enumerate().map(step).collect::<Vec<i64>>()
        };
        let expected = lines.mapped(&wide(&x), best);
        assert_eq!(places, expected, "running_extreme_{} {greatest}, lines of {}", T::NAME, lines.size);
        let numbers = lines.mapped(&wide(&x), |row| best(row).iter().map(|&place| row[place as usize]).collect());
        near("running_extreme", &found, &numbers);
        // Its gradient: numbers added where extremes stand, and taken from there.
        let g: Vec<f64> = Random(69).list(lines.elements());
        let (Some(arriving), Some(at)) = (given(&g), given(&places)) else { return };
        let zeros = vec![0.0; lines.elements()];
        let more = [at.argument()];
        let (found, _) =
            along::<f64>(["add_at_places", "f64", "meeting"], &lines, &arriving, &zeros, &more, false).unwrap();
        let pairs: Vec<(f64, i64)> = g.iter().copied().zip(places.iter().copied()).collect();
        let added = |row: &[(f64, i64)]| {
            let mut out = vec![0.0; row.len()];
            row.iter().for_each(|&(g, place)| out[place as usize] += g);
            out
        };
        near("add_at_places", &found, &lines.mapped(&pairs, added));
        let numbers = [lines.elements() as i64, lines.size, lines.inner].map(bytes);
        let found = in_every_order(|emulator| {
            let y = emulator.unwritten::<f64>(lines.elements());
            let mut arguments = vec![arriving.argument(), y.argument(), at.argument()];
            arguments.extend(numbers.clone());
            run(emulator, "take_places_8", super::support::blocks(lines.elements()), &arguments);
            vec![y]
        })
        .unwrap();
        let taken = |row: &[(f64, i64)]| row.iter().map(|&(_, place)| row[place as usize].0).collect::<Vec<f64>>();
        near("take_places", &found[0].read::<f64>(), &lines.mapped(&pairs, taken));
    }
}

#[test]
fn extremes_keep_their_last_place() {
    extremes::<f32>(true);
    extremes::<f64>(true);
    extremes::<i64>(false);
}

#[test]
fn runs_are_summed_at_their_goals() {
    for (size, places, pieces, lanes) in [(900usize, 40, 1, 64), (2500, 7, 3, 256), (2500, 2000, 2, 256)] {
        let mut random = Random(70);
        let goals: Vec<i64> = (0..size).map(|_| (random.word() % places as u64) as i64).collect();
        let (x, base): (Vec<f64>, Vec<f64>) = (random.list(size), random.list(places));
        let mut order: Vec<u32> = (0..size as u32).collect();
        order.sort_by_key(|&i| goals[i as usize]);
        let (Some(from), Some(to), Some(by)) = (given(&x), given(&goals), given(&order)) else { return };
        let (size, adjacent) = (size as i64, 1);
        let lines = Lines { count: 1, size, inner: 1, pieces, lanes, adjacent, reversed: 0 };
        for (skip, include) in [(-1i64, 0i32), (3, 1)] {
            let more = [to.argument(), by.argument(), bytes(skip), bytes(include)];
            let found = in_every_order(|emulator| {
                let (y, parts) = (emulator.buffer(&base), emulator.unwritten::<u64>(3 * pieces as usize));
                let mut arguments = vec![from.argument(), y.argument(), parts.argument(), bytes(lines)];
                arguments.extend(more.clone());
                if pieces > 1 {
                    run(emulator, "sum_runs_parts_f64", [1, pieces as usize, 1], &arguments);
                    run(emulator, "join_meeting", [1, 1, 1], &[parts.argument(), bytes(pieces)]);
                }
                run(emulator, "sum_runs_f64", [1, pieces as usize, 1], &arguments);
                vec![y]
            })
            .unwrap();
            let sum = |place: usize| {
                let own: Vec<f64> = (0..x.len()).filter(|&i| goals[i] == place as i64).map(|i| x[i]).collect();
                let kept = if include == 1 || own.is_empty() { base[place] } else { 0.0 };
                if skip == place as i64 { base[place] } else { kept + own.iter().sum::<f64>() }
            };
            near("sum_runs_f64", &found[0].read::<f64>(), &(0..places).map(sum).collect::<Vec<f64>>());
        }
    }
}

#[test]
fn marks_are_listed_and_grouped() {
    for (size, pieces, lanes) in [(1, 1, 1), (900, 1, 64), (2500, 3, 256)] {
        let mut random = Random(75);
        let marks: Vec<u8> = (0..size).map(|i| (i == 0) as u8 | random.word().is_multiple_of(3) as u8).collect();
        let order: Vec<u32> = (0..size).map(|i| ((i + 1) * 7 % size) as u32).collect();
        let places: Vec<i64> = (0..size as i64).filter(|&i| marks[i as usize] == 1).collect();
        let (Some(from), Some(by)) = (given(&marks), given(&order)) else { return };
        let lines = Lines { count: 1, size: size as i64, inner: 1, pieces, lanes, adjacent: 1, reversed: 0 };
        for (ordered, grouped) in [(true, true), (false, true), (false, false)] {
            let found = in_every_order(|emulator| {
                let (y, inverse) = (emulator.unwritten::<i64>(places.len()), emulator.buffer(&vec![-1i64; size]));
                let parts = emulator.unwritten::<i64>(pieces as usize);
                let or_nothing = |there: bool, argument| if there { argument } else { bytes(0u64) };
                let mut arguments = vec![from.argument(), y.argument(), parts.argument(), bytes(lines)];
                arguments.extend([or_nothing(ordered, by.argument()), or_nothing(grouped, inverse.argument())]);
                if pieces > 1 {
                    run(emulator, "list_marks_parts_u8", [1, pieces as usize, 1], &arguments);
                    run(emulator, "join_wholes", [1, 1, 1], &[parts.argument(), bytes(pieces)]);
                }
                run(emulator, "list_marks_u8", [1, pieces as usize, 1], &arguments);
                vec![y, inverse]
            })
            .unwrap();
            assert_eq!(found[0].read::<i64>(), places);
            let inverse: Vec<i64> = found[1].read();
            for (i, &goal) in order.iter().enumerate() {
                let group = places.iter().filter(|&&place| place <= i as i64).count() as i64 - 1;
                let at = if ordered { goal as usize } else { i };
                assert_eq!(inverse[at], if grouped { group } else { -1 });
            }
        }
    }
}
