use super::*;

/// Some numbers of any sign, without a pattern in them.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn value(sizes: &[usize], from: &[f32]) -> Value {
    Value::build(Shape::new(sizes).unwrap(), |out: &mut [f32]| out.copy_from_slice(from)).unwrap()
}

/// The folded groups, by plain loops over logical positions.
fn groups(x: &Value, axes: &[usize]) -> Vec<Vec<f64>> {
    let dense = Cpu.contiguous(x).unwrap();
    let data = dense.dense::<f32>().unwrap();
    let shape = folded_shape(x, axes, true).unwrap();
    let mut groups = vec![Vec::new(); shape.count()];
    for (index, &number) in data.iter().enumerate() {
        let (mut rest, mut group, mut step) = (index, 0, 1);
        for axis in (0..x.rank()).rev() {
            if !axes.contains(&axis) {
                group += rest % x.dims()[axis] * step;
                step *= x.dims()[axis];
            }
            rest /= x.dims()[axis];
        }
        groups[group].push(number as f64);
    }
    groups
}

fn close(what: &str, got: &Value, want: impl Iterator<Item = f64>) {
    let got = Cpu.cast(got, DType::F64).unwrap();
    let got = got.dense::<f64>().unwrap();
    let want: Vec<f64> = want.collect();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&a, &b)) in got.iter().zip(&want).enumerate() {
        assert!((a - b).abs() <= 3e-6 * b.abs().max(1.0) || a.is_nan() && b.is_nan(), "{what} [{i}]: {a} for {b}");
    }
}

#[test]
fn every_way_folds_the_same_numbers() {
    let x = value(&[4, 40, 6, 70], &numbers(4 * 40 * 6 * 70));
    let strided = x.with_layout(x.layout().permuted(&[3, 0, 2, 1])).unwrap();
    let narrow = value(&[3000, 3], &numbers(9000));
    let long = value(&[3, 70_000], &numbers(210_000));
    let cases: [(&Value, &[&[usize]]); 5] = [
        (&x, &[&[0], &[1], &[2], &[3], &[0, 2], &[1, 3], &[0, 1, 2], &[0, 1, 2, 3], &[]]),
        (&strided, &[&[0], &[1], &[2], &[3], &[0, 2], &[1, 3], &[0, 1, 2], &[0, 1, 2, 3]]),
        (&narrow, &[&[0], &[1], &[0, 1]]),
        (&value(&[601, 20], &numbers(12_020)), &[&[0]]),
        (&long, &[&[0], &[1], &[0, 1]]),
    ];
    for (x, sets) in cases {
        for axes in sets {
            let groups = groups(x, axes);
            let label = |name: &str| format!("{name} {:?} {axes:?}", x.layout());
            let each = |f: fn(&[f64]) -> f64| groups.iter().map(move |group| f(group)).collect::<Vec<_>>().into_iter();
            let mean = |g: &[f64]| g.iter().sum::<f64>() / g.len() as f64;
            close(&label("sum"), &Cpu.sum(x, axes, false).unwrap(), each(|g| g.iter().sum()));
            close(&label("mean"), &Cpu.mean(x, axes, true).unwrap(), each(mean));
            close(&label("product"), &Cpu.product(x, axes, false).unwrap(), each(|g| g.iter().product()));
            let greatest = each(|g| g.iter().copied().fold(f64::MIN, f64::max));
            close(&label("max"), &Cpu.extreme(x, axes, false, true).unwrap(), greatest);
            let least = each(|g| g.iter().copied().fold(f64::MAX, f64::min));
            close(&label("min"), &Cpu.extreme(x, axes, false, false).unwrap(), least);
            let place =
                |g: &[f64]| (0..g.len()).rev().max_by(|&a, &b| g[a].partial_cmp(&g[b]).unwrap()).unwrap() as f64;
            close(&label("argmax"), &Cpu.extreme_place(x, axes, false, true).unwrap().1, each(place));
            let spread = |g: &[f64]| {
                let mean = g.iter().sum::<f64>() / g.len() as f64;
                g.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / g.len() as f64
            };
            let (variance, means) = Cpu.variance(x, axes, false, 0.0, false).unwrap();
            close(&label("variance"), &variance, each(spread));
            close(&label("mean of variance"), &means, each(mean));
            let norm = |g: &[f64]| g.iter().map(|x| x * x).sum::<f64>().sqrt();
            close(&label("norm"), &Cpu.norm(x, axes, false, 2.0).unwrap(), each(norm));
            let norm = |g: &[f64]| g.iter().map(|x| x.abs().powf(2.5)).sum::<f64>().powf(0.4);
            close(&label("norm 2.5"), &Cpu.norm(x, axes, false, 2.5).unwrap(), each(norm));
            let norm = |g: &[f64]| g.iter().fold(f64::MAX, |a, x| a.min(x.abs()));
            close(&label("norm -inf"), &Cpu.norm(x, axes, false, f64::NEG_INFINITY).unwrap(), each(norm));
            let logsumexp = |g: &[f64]| g.iter().map(|x| x.exp()).sum::<f64>().ln();
            close(&label("logsumexp"), &Cpu.logsumexp(x, axes, false).unwrap(), each(logsumexp));
        }
    }
}

#[test]
fn equal_numbers_sum_exactly_enough() {
    let x = value(&[20_000], &[0.1; 20_000]);
    let sum = Cpu.sum(&x, &[0], false).unwrap().dense::<f32>().unwrap()[0];
    assert!((sum as f64 - 20_000.0 * 0.1f32 as f64).abs() < 1e-6 * 2000.0, "{sum}");
}

#[test]
fn the_spread_of_numbers_far_from_zero_is_right() {
    let x: Vec<f32> = numbers(5000).iter().map(|x| 10_000.0 + x).collect();
    let x = value(&[50, 100], &x);
    for axes in [&[0][..], &[1], &[0, 1]] {
        let spread = groups(&x, axes).into_iter().map(|g| {
            let mean = g.iter().sum::<f64>() / g.len() as f64;
            g.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (g.len() - 1) as f64
        });
        close(
            "variance",
            &Cpu.variance(&x, axes, false, 1.0, false).unwrap().0,
            spread.collect::<Vec<_>>().into_iter(),
        );
    }
}

#[test]
fn the_spread_does_not_hang_on_what_stands_first() {
    // The first numbers of a row, and the first rows of a column, are far from all others.
    let mut list = numbers(64 * 2000);
    list[..64 * 4].iter_mut().for_each(|x| *x += 3e4);
    (0..64).for_each(|row| list[row * 2000..][..40].iter_mut().for_each(|x| *x -= 5e4));
    let x = value(&[64, 2000], &list);
    for axes in [&[0][..], &[1], &[0, 1]] {
        let (variance, mean) = Cpu.variance(&x, axes, false, 0.0, false).unwrap();
        let (variance, mean) = (variance.dense::<f32>().unwrap(), mean.dense::<f32>().unwrap());
        for ((group, &variance), &mean) in groups(&x, axes).into_iter().zip(variance).zip(mean) {
            let middle = group.iter().sum::<f64>() / group.len() as f64;
            let want = group.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / group.len() as f64;
            assert!((variance as f64 - want).abs() < 1e-5 * want, "{axes:?}: {variance} for {want}");
            assert!((mean as f64 - middle).abs() < 1e-5 * want.sqrt(), "{axes:?}: {mean} for {middle}");
        }
    }
}

#[test]
fn places_are_those_of_the_first_of_their_kind() {
    for rows in [1, 3, 4, 5, 63, 64, 65, 300, 2000, 5000] {
        let columns = 70;
        // few different numbers: most columns have the best several times
        let mut list: Vec<f32> = numbers(rows * columns).iter().map(|x| (x * 3.0).round()).collect();
        for column in 60..columns {
            list[column * 7 % rows * columns + column] = f32::NAN;
            list[column * 3 % rows * columns + column] = f32::NAN;
        }
        let x = value(&[rows, columns], &list);
        let turned = Cpu.contiguous(&x.with_layout(x.layout().permuted(&[1, 0])).unwrap()).unwrap();
        for (x, axis, greatest) in [(&x, 0, true), (&x, 0, false), (&turned, 1, true), (&turned, 1, false)] {
            let (best, places) = Cpu.extreme_place(x, &[axis], false, greatest).unwrap();
            let (best, places) = (best.dense::<f32>().unwrap(), places.dense::<i64>().unwrap());
            for column in 0..columns {
                let numbers = (0..rows).map(|row| list[row * columns + column]);
                let first = numbers.enumerate().reduce(|held, x| {
                    let better = if greatest { x.1 > held.1 } else { x.1 < held.1 };
                    if !held.1.is_nan() && (better || x.1.is_nan()) { x } else { held }
                });
                let (place, number) = first.unwrap();
                assert_eq!(places[column], place as i64, "{rows} numbers along axis {axis}, number {column}");
                assert_eq!(best[column].to_bits(), number.to_bits());
            }
        }
    }
}

#[test]
fn parts_that_lie_far_apart_have_the_spread_of_all() {
    // Long enough to be cut: parts are put together about one number, or apart where their means differ by far.
    for step in [0.0, 1e-3, 3e4] {
        let rows = 4096;
        let list: Vec<f32> =
            numbers(rows * 64).iter().enumerate().map(|(i, x)| x + (i / 64 / 700) as f32 * step).collect();
        let x = value(&[rows, 64], &list);
        let (variance, mean) = Cpu.variance(&x, &[0], false, 0.0, false).unwrap();
        let (variance, mean) = (variance.dense::<f32>().unwrap(), mean.dense::<f32>().unwrap());
        for ((group, &variance), &mean) in groups(&x, &[0]).into_iter().zip(variance).zip(mean) {
            let middle = group.iter().sum::<f64>() / group.len() as f64;
            let want = group.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / group.len() as f64;
            assert!((variance as f64 - want).abs() < 1e-6 * want, "steps of {step}: {variance} for {want}");
            assert!((mean as f64 - middle).abs() < 1e-6 * want.sqrt(), "steps of {step}: {mean} for {middle}");
        }
    }
}

#[test]
fn exponentials_of_infinities_and_nan() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    // Rows: plain; with ∞; with ∞ and NaN, in one block and in two; all -∞; a maximum that grows and falls; -∞ and
    // then numbers far below 0; with NaN, ∞ and -∞ late.
    let row = |list: &[(usize, f32)]| {
        let mut row = vec![0.25f32; 1200];
        list.iter().for_each(|&(at, x)| row[at] = x);
        row
    };
    let grows: Vec<f32> = (0..1200).map(|i| if i < 600 { i as f32 } else { 1200.0 - i as f32 }).collect();
    let late = (0..1200).map(|i| if i < 700 { -inf } else { -300.0 }).collect();
    let rows = [
        row(&[]),
        row(&[(3, inf)]),
        row(&[(3, inf), (9, nan)]),
        row(&[(3, nan), (900, inf)]),
        vec![-inf; 1200],
        grows,
        late,
        row(&[(700, nan)]),
        row(&[(700, inf)]),
        row(&[(1199, -inf)]),
    ];
    let x = value(&[rows.len(), 1200], &rows.concat());
    let exact: f64 = rows[5].iter().map(|&x| (x as f64 - 600.0).exp()).sum::<f64>().ln() + 600.0;
    let nan = f64::NAN;
    let want = [0.25 + 1200f64.ln(), f64::INFINITY, nan, nan, f64::NEG_INFINITY, exact, 500f64.ln() - 300.0];
    let want = want.into_iter().chain([nan, f64::INFINITY, 0.25 + 1199f64.ln()]);
    for turned in [false, true] {
        let x = if turned {
            Cpu.contiguous(&x.with_layout(x.layout().permuted(&[1, 0])).unwrap()).unwrap()
        } else {
            x.clone()
        };
        let got = Cpu.logsumexp(&x, &[1 - turned as usize], false).unwrap();
        let got = got.dense::<f32>().unwrap();
        for (i, want) in want.clone().enumerate() {
            // (Beyond 256 two neighbours among f32 are 3e-5 apart.)
            let near = (got[i] as f64 - want).abs() < if want.abs() > 256.0 { 1e-4 } else { 1e-5 };
            let same = got[i] as f64 == want || near || got[i].is_nan() && want.is_nan();
            assert!(same, "row {i}, turned {turned}: {} for {want}", got[i]);
        }
    }
}

#[test]
fn edges_are_those_of_pytorch() {
    let first = |v: Value| Cpu.cast(&v, DType::F64).unwrap().dense::<f64>().unwrap()[0];
    let empty = value(&[3, 0], &[]);
    assert_eq!(first(Cpu.sum(&empty, &[1], false).unwrap()), 0.0);
    assert_eq!(first(Cpu.product(&empty, &[1], false).unwrap()), 1.0);
    assert!(first(Cpu.mean(&empty, &[1], false).unwrap()).is_nan());
    assert_eq!(first(Cpu.logsumexp(&empty, &[1], false).unwrap()), f64::NEG_INFINITY);
    assert!(Cpu.extreme(&empty, &[1], false, true).is_err());
    assert_eq!(Cpu.extreme(&empty, &[0], false, true).unwrap().count(), 0);
    let nan = value(&[2, 2], &[1.0, f32::NAN, f32::NAN, f32::NAN]);
    let (best, place) = Cpu.extreme_place(&nan, &[1], false, true).unwrap();
    assert!(best.dense::<f32>().unwrap().iter().all(|x| x.is_nan()));
    assert_eq!(place.dense::<i64>().unwrap(), [1, 0]);
    assert_eq!(Cpu.extreme_place(&nan, &[0], false, false).unwrap().1.dense::<i64>().unwrap(), [1, 0]);
    let infinite = value(&[2], &[f32::INFINITY, 1.0]);
    assert_eq!(first(Cpu.logsumexp(&infinite, &[0], false).unwrap()), f64::INFINITY);
    let huge = value(&[2], &[3e30, 4e30]);
    assert!((first(Cpu.norm(&huge, &[0], false, 2.0).unwrap()) - 5e30).abs() < 1e24);
    let whole = Value::build(Shape::new(&[3]).unwrap(), |out: &mut [u8]| out.copy_from_slice(&[200, 100, 0])).unwrap();
    assert_eq!(Cpu.sum(&whole, &[0], false).unwrap().dense::<i64>().unwrap(), [300]);
    assert_eq!(Cpu.extreme(&whole, &[0], false, true).unwrap().dense::<u8>().unwrap(), [200]);
    assert_eq!(Cpu.count_nonzero(&whole, &[0], false).unwrap().dense::<i64>().unwrap(), [2]);
    assert!(!Cpu.all(&whole, &[0], false).unwrap().dense::<bool>().unwrap()[0]);
}
