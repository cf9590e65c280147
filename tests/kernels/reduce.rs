//! Folds of every kind: along rows, down columns, over several axes, in pieces that are joined, of one number and of none.

use super::support::{Number, Random, Shares, given, in_every_order, near, places, run};
use crate::emulator::call::{Argument, Plain, View, bytes};
use half::{bf16, f16};

/// Kept and folded axes of a tensor, and how the work is shared out.
struct Case {
    kept: View,
    folded: View,
    lanes: i32,
    adjacent: i32,
    pieces: i32,
}

fn cases() -> Vec<Case> {
    let case = |kept, folded, lanes, adjacent, pieces| Case { kept, folded, lanes, adjacent, pieces };
    let (row, column) = (|n, stride| View::new(&[n], &[stride]), |n| View::new(&[n], &[1]));
    vec![
        case(row(5, 100), column(100), 32, 1, 1),
        case(row(3, 1000), column(1000), 256, 1, 1),
        case(row(600, 3), column(3), 1, 1, 1),
        case(column(33), row(41, 33), 8, 0, 1),
        case(column(3), row(700, 3), 64, 0, 1),
        case(row(2, 1500), column(1500), 64, 1, 4),
        case(View::new(&[], &[]), View::new(&[7, 3, 11], &[1, 77, 7]), 64, 1, 3),
        case(View::new(&[4, 5], &[5, 1]), View::new(&[6, 2, 3], &[60, 20, -20]), 4, 0, 1),
        case(row(2, 1), row(1, 1), 32, 1, 1),
    ]
}

/// Launches a fold (and the join of its parts) in every order; gives what both outputs hold.
fn fold<R: Plain, S: Plain>(
    noun: &str,
    t: &str,
    x: &Argument,
    case: &Case,
    second: bool,
    before: &[Argument],
    after: &[Argument],
) -> Option<(Vec<R>, Vec<S>)> {
    let results: i64 = case.kept.sizes.iter().product();
    let length: i64 = case.folded.sizes.iter().product();
    let shares = Shares::new(results as usize, length as usize, case.pieces, case.lanes, case.adjacent);
    let found = in_every_order(|emulator| {
        let (y, z) = (emulator.unwritten::<R>(results as usize), emulator.unwritten::<S>(results as usize));
        let parts = emulator.unwritten::<f64>(2 * (results * case.pieces as i64) as usize);
        let mut arguments =
            vec![x.clone(), y.argument(), parts.argument(), bytes(shares), bytes(case.kept), bytes(case.folded)];
        arguments.extend_from_slice(before);
        if second {
            arguments.push(z.argument());
        }
        arguments.extend_from_slice(after);
        run(emulator, &format!("{noun}_{t}"), shares.grid(), &arguments);
        if case.pieces > 1 {
            let joining = Shares { lanes: 2, adjacent: 1, ..shares };
            arguments[3] = bytes(joining);
            run(emulator, &format!("{noun}_join_{t}"), [joining.grid()[0], 1, 1], &arguments);
        }
        if second { vec![y, z] } else { vec![y] }
    })?;
    Some((found[0].read(), if second { found[1].read() } else { Vec::new() }))
}

/// The numbers that each result folds, in order.
fn rows(case: &Case, numbers: &[f64]) -> Vec<Vec<f64>> {
    let folded = places(&case.folded);
    // Views that run backwards begin where they do not leave the buffer.
    let start = -folded.iter().min().unwrap_or(&0).min(&0);
    places(&case.kept)
        .iter()
        .map(|&row| folded.iter().map(|&k| numbers[(start + row + k) as usize]).collect())
        .collect()
}
fn start(case: &Case) -> usize {
    -places(&case.folded).iter().min().unwrap_or(&0).min(&0) as usize
}

/// What becomes of a row.
type OfRow<'a> = &'a dyn Fn(&[f64]) -> f64;

fn floats<T: Number>() {
    for (at, case) in cases().iter().enumerate() {
        let list: Vec<T> = Random(at as u64).list(3100);
        let numbers: Vec<f64> = list.iter().map(|x| x.to_f64()).collect();
        let Some(buffer) = given(&list) else { return };
        let x = buffer.from(start(case) * size_of::<T>());
        let rows = rows(case, &numbers);
        let each = |f: &dyn Fn(&[f64]) -> f64| rows.iter().map(|row| f(row)).collect::<Vec<f64>>();
        let t = T::NAME;
        let length = rows[0].len() as f64;

        let (y, _) = fold::<T, T>("sum", t, &x, case, false, &[bytes(1f64), bytes(0i32)], &[]).unwrap();
        near(&format!("sum_{t} {at}"), &y, &each(&|row| row.iter().sum()));
        let (y, _) = fold::<T, T>("sum", t, &x, case, false, &[bytes(length), bytes(0i32)], &[]).unwrap();
        near(&format!("mean_{t} {at}"), &y, &each(&|row| row.iter().sum::<f64>() / length));
        let (y, _) = fold::<T, T>("product", t, &x, case, false, &[], &[]).unwrap();
        near(&format!("product_{t} {at}"), &y, &each(&|row| row.iter().product()));
        let (y, _) = fold::<T, T>("logsumexp", t, &x, case, false, &[], &[]).unwrap();
        near(&format!("logsumexp_{t} {at}"), &y, &each(&|row| row.iter().map(|x| x.exp()).sum::<f64>().ln()));
        for rooted in [0, 1] {
            let (y, means) = fold::<T, T>("variance", t, &x, case, true, &[], &[bytes(0f64), bytes(rooted)]).unwrap();
            let mean = |row: &[f64]| row.iter().sum::<f64>() / length;
            near(&format!("means_{t} {at}"), &means, &each(&mean));
            let variance = |row: &[f64]| row.iter().map(|x| (x - mean(row)).powi(2)).sum::<f64>() / length;
            near(
                &format!("variance_{t} {at}"),
                &y,
                &each(&|row| if rooted == 1 { variance(row).sqrt() } else { variance(row) }),
            );
        }
        let norms: [(i32, f64, OfRow); 6] = [
            (0, 0.0, &|row| row.iter().filter(|&&x| x != 0.0).count() as f64),
            (1, 1.0, &|row| row.iter().map(|x| x.abs()).sum()),
            (2, 2.0, &|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()),
            (3, 3.0, &|row| row.iter().map(|x| x.abs().powi(3)).sum::<f64>().cbrt()),
            (4, 0.0, &|row| row.iter().fold(0.0, |best, x| x.abs().max(best))),
            (5, 0.0, &|row| row.iter().fold(f64::INFINITY, |best, x| x.abs().min(best))),
        ];
        for (mode, order, expected) in norms {
            let (y, _) = fold::<T, T>("norm", t, &x, case, false, &[bytes(order), bytes(mode)], &[]).unwrap();
            near(&format!("norm_{t} {at}, mode {mode}"), &y, &each(expected));
        }
    }
}

fn extremes<T: Number>() {
    for (at, case) in cases().iter().enumerate() {
        let list: Vec<T> = Random(10 + at as u64)
            .list::<T>(3100)
            .iter()
            .map(|x| T::from_f64((x.to_f64() * 10.0).round().abs()))
            .collect();
        let numbers: Vec<f64> = list.iter().map(|x| x.to_f64()).collect();
        let Some(buffer) = given(&list) else { return };
        let x = buffer.from(start(case) * size_of::<T>());
        for greatest in [0, 1] {
            let (y, found) = fold::<T, i64>("extreme", T::NAME, &x, case, true, &[], &[bytes(greatest)]).unwrap();
            for (row, (y, place)) in rows(case, &numbers).iter().zip(y.iter().zip(found)) {
                let best = row
                    .iter()
                    .copied()
                    .fold(row[0], |a, b| if (greatest == 1 && b > a) || (greatest == 0 && b < a) { b } else { a });
                assert_eq!(
                    (y.to_f64(), place),
                    (best, row.iter().position(|&x| x == best).unwrap() as i64),
                    "extreme_{} {at}",
                    T::NAME
                );
            }
        }
    }
}

fn wholes<T: Number>() {
    for (at, case) in cases().iter().enumerate() {
        let list: Vec<T> = Random(20 + at as u64).list::<T>(3100);
        let numbers: Vec<f64> = list.iter().map(|x| x.to_f64()).collect();
        let Some(buffer) = given(&list) else { return };
        let x = buffer.from(start(case) * size_of::<T>());
        let rows = rows(case, &numbers);
        let (y, _) = fold::<i64, i64>("sum", T::NAME, &x, case, false, &[bytes(1f64), bytes(0i32)], &[]).unwrap();
        assert_eq!(y, rows.iter().map(|row| row.iter().map(|&x| x as i64).sum()).collect::<Vec<i64>>());
        let (y, _) = fold::<i64, i64>("product", T::NAME, &x, case, false, &[], &[]).unwrap();
        let product = |row: &Vec<f64>| row.iter().fold(1i64, |product, &x| product.wrapping_mul(x as i64));
        assert_eq!(y, rows.iter().map(product).collect::<Vec<i64>>(), "product_{} {at}", T::NAME);
    }
}

#[test]
fn floats_are_folded() {
    floats::<f32>();
    floats::<f64>();
    floats::<bf16>();
    floats::<f16>();
}

#[test]
fn whole_numbers_are_folded_and_wrap() {
    wholes::<i64>();
    wholes::<i32>();
    wholes::<u8>();
}

#[test]
fn extremes_are_the_first_of_their_kind() {
    extremes::<f32>();
    extremes::<f64>();
    extremes::<bf16>();
    extremes::<f16>();
    extremes::<i64>();
    extremes::<i32>();
    extremes::<u8>();
}

/// NaN in the middle of the second row, an infinity in the third.
#[test]
fn nan_and_infinity_go_through() {
    let mut list = vec![1f32; 300];
    (list[150], list[160], list[250]) = (f32::NAN, f32::NAN, f32::INFINITY);
    let case =
        Case { kept: View::new(&[3], &[100]), folded: View::new(&[100], &[1]), lanes: 32, adjacent: 1, pieces: 1 };
    let Some(x) = given(&list) else { return };
    let x = x.argument();
    let sum =
        |known: i32| fold::<f32, f32>("sum", "f32", &x, &case, false, &[bytes(1f64), bytes(known)], &[]).unwrap().0;
    assert!(sum(0)[0] == 100.0 && sum(0)[1].is_nan() && sum(0)[2] == f32::INFINITY);
    assert_eq!(sum(1), [100.0, 98.0, f32::INFINITY]);
    for greatest in [0, 1] {
        let (y, places) = fold::<f32, i64>("extreme", "f32", &x, &case, true, &[], &[bytes(greatest)]).unwrap();
        assert!(y[1].is_nan() && places[1] == 50, "{y:?} {places:?}");
        assert_eq!((y[0], places[0]), (1.0, 0));
        assert_eq!(places[2], if greatest == 1 { 50 } else { 0 });
    }
    let (y, _) = fold::<f32, f32>("logsumexp", "f32", &x, &case, false, &[], &[]).unwrap();
    assert!((y[0] - (1.0 + 100f32.ln())).abs() < 1e-5 && y[1].is_nan() && y[2] == f32::INFINITY, "{y:?}");
    let (y, means) = fold::<f32, f32>("variance", "f32", &x, &case, true, &[], &[bytes(1f64), bytes(0i32)]).unwrap();
    assert!(y[0] == 0.0 && y[1].is_nan() && y[2].is_nan() && means[2] == f32::INFINITY, "{y:?} {means:?}");
}

#[test]
fn of_nothing_there_is_what_there_should_be() {
    let case = Case { kept: View::new(&[2], &[0]), folded: View::new(&[0], &[1]), lanes: 32, adjacent: 1, pieces: 1 };
    let Some(x) = given(&[0f32]) else { return };
    let x = x.argument();
    assert_eq!(fold::<f32, f32>("sum", "f32", &x, &case, false, &[bytes(1f64), bytes(0i32)], &[]).unwrap().0, [0.0; 2]);
    assert!(fold::<f32, f32>("sum", "f32", &x, &case, false, &[bytes(0f64), bytes(0i32)], &[]).unwrap().0[0].is_nan());
    assert_eq!(fold::<f32, f32>("product", "f32", &x, &case, false, &[], &[]).unwrap().0, [1.0; 2]);
    assert_eq!(fold::<f32, f32>("logsumexp", "f32", &x, &case, false, &[], &[]).unwrap().0, [f32::NEG_INFINITY; 2]);
    let (y, _) = fold::<f32, f32>("variance", "f32", &x, &case, true, &[], &[bytes(1f64), bytes(0i32)]).unwrap();
    assert!(y[0].is_nan());
}
