//! Where something stands and how often: coordinates, histograms of few and of many bins, searches.

use super::support::{Number, Random, blocks, given, in_every_order, launch, run};
use crate::emulator::call::bytes;

#[test]
fn positions_have_coordinates() {
    let expected: Vec<i64> = (0..900).filter(|i| i * i % 7 < 3).collect();
    let sizes = [5i64, 12, 15, 1, 1, 1, 1, 1];
    let sizes = sizes.map(bytes).concat();
    let Some(places) = given(&expected) else { return };
    let numbers = [bytes(expected.len() as i64), bytes(3i32), sizes];
    let found: Vec<i64> =
        launch("coordinates_i64", blocks(expected.len()), &[places.argument()], 3 * expected.len(), &numbers).unwrap();
    for (at, place) in expected.iter().zip(found.chunks(3)) {
        assert_eq!(place, [at / 180, at / 15 % 12, at % 15]);
    }
}

#[test]
fn numbers_fall_in_bins() {
    for bins in [1usize, 7, 3000] {
        let mut x: Vec<f64> = Random(92).list(1500);
        (x[3], x[4], x[5], x[6], x[7]) = (0.75, -0.75, f64::NAN, f64::INFINITY, 0.7500001);
        let (low, high) = (-0.75f64, 0.75f64);
        let width = (high - low) / bins as f64;
        let mut expected = vec![0i64; bins];
        for &x in x.iter().filter(|x| (low..=high).contains(*x)) {
            expected[(((x - low) / width) as usize).min(bins - 1)] += 1;
        }
        let Some(from) = given(&x) else { return };
        let found = in_every_order(|emulator| {
            let y = emulator.buffer(&vec![0i64; bins]);
            let numbers = [bytes(1500i64), bytes(bins as i64), bytes(low), bytes(high), bytes(width)];
            let arguments: Vec<_> = [from.argument(), y.argument()].into_iter().chain(numbers).collect();
            run(emulator, "histogram_f64", blocks(1500), &arguments);
            vec![y]
        })
        .unwrap();
        assert_eq!(found[0].read::<i64>(), expected);
    }
}

fn searches<T: Number>(nan: bool) {
    for (rows, size, each) in [(1, 1, 5), (1, 300, 40), (4, 33, 25), (1, 0, 3)] {
        let mut table: Vec<f64> = Random(93).list::<f64>(rows * size).iter().map(|x| (x * 20.0).round()).collect();
        let mut x: Vec<f64> = Random(94).list::<f64>(rows * each).iter().map(|x| (x * 25.0).round()).collect();
        if nan {
            x[1] = f64::NAN;
            x[2] = -0.0;
            table.iter_mut().skip(2).step_by(50).for_each(|x| *x = f64::NAN);
        }
        // NaN above all; both zeros the same.
        let key = |x: f64| (x.is_nan(), if x.is_nan() { 0.0 } else { x });
        let less = |a: f64, b: f64| key(a).partial_cmp(&key(b)).unwrap();
        table.chunks_mut(size.max(1)).for_each(|row| row.sort_by(|&a, &b| less(a, b)));
        let typed = |list: &[f64]| list.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
        let (Some(from), Some(at)) = (given(&typed(&table)), given(&typed(&x))) else { return };
        for right in [0, 1] {
            let numbers = [rows * each, size, each].map(|n| bytes(n as i64));
            let numbers: Vec<_> = numbers.into_iter().chain([bytes(right)]).collect();
            let inputs = [from.argument(), at.argument()];
            let name = format!("search_{}", T::NAME);
            let found: Vec<i64> = launch(&name, blocks(rows * each), &inputs, rows * each, &numbers).unwrap();
            for (i, &place) in found.iter().enumerate() {
                let row = &table[i / each * size..][..size];
                let below = |&y: &f64| if right == 1 { less(y, x[i]).is_le() } else { less(y, x[i]).is_lt() };
                assert_eq!(place, row.partition_point(below) as i64);
            }
        }
    }
}

#[test]
fn values_are_searched_in_rows() {
    searches::<f32>(true);
    searches::<f64>(true);
    searches::<i64>(false);
}
