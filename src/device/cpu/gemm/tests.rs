//! Products against the definition, over random shapes, strides and epilogues.

use super::kernel::{Kernel, PORTABLE_F32, PORTABLE_F64, Tile};
use super::{Epilogue, Lines, Nothing, Packed, PerColumn, Product, Real, Widen};
use half::bf16;

/// A small generator, so that shapes and numbers repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }
    fn numbers<T: Real>(&mut self, count: usize) -> Vec<T> {
        (0..count).map(|_| T::from_f64(self.roll(2001) as f64 / 1000.0 - 1.0)).collect()
    }
}

/// Adds one number per row.
struct PerRow<'a, T>(&'a [T]);

impl<T: Real> Epilogue<T> for PerRow<'_, T> {
    fn finish(&self, row: usize, _: usize, values: &mut [T]) {
        values.iter_mut().for_each(|value| *value = *value + self.0[row]);
    }
}

/// A `lines × shared` operand: dense either way round, with gaps, or backwards.
fn form(dice: &mut Dice, lines: usize, shared: usize) -> (usize, [isize; 2], usize) {
    let (l, s) = (lines.max(1), shared.max(1));
    let gap = dice.roll(3) + 1;
    match dice.roll(6) {
        0 | 1 => (0, [s as isize, 1], l * s),
        2 | 3 => (0, [1, l as isize], l * s),
        4 => (3, [(s * gap + 1) as isize, gap as isize], 3 + l * (s * gap + 1)),
        _ => ((l - 1) * s, [-(s as isize), 1], l * s),
    }
}

fn check<T: Real>(seed: u64, tolerance: f64) {
    let mut dice = Dice(seed);
    let sizes = [0, 1, 1, 2, 3, 7, 8, 13, 14, 15, 16, 17, 29, 31, 32, 33, 48, 64, 65, 97, 130];
    for round in 0..400 {
        let mut size = || sizes[dice.roll(sizes.len())];
        let [m, n, mut k] = [size(), size(), size()];
        if round % 20 == 0 {
            k = 385 + k * 7;
        }
        let (at_a, steps_a, count_a) = form(&mut dice, m, k);
        let (at_b, steps_b, count_b) = form(&mut dice, n, k);
        let (a, b): (Vec<T>, Vec<T>) = (dice.numbers(count_a), dice.numbers(count_b));
        let row_stride = n + dice.roll(3);
        let start: Vec<T> = dice.numbers(m * row_stride);
        let bias: Vec<T> = dice.numbers(m.max(n));
        let (alpha, accumulate) = ([1.0, 1.0, -0.75][dice.roll(3)], dice.roll(3) == 0);
        let half = T::from_f64(0.5);
        let halve = |values: &mut [T]| values.iter_mut().for_each(|v| *v = *v * half);
        let choice = dice.roll(4);
        let epilogue: &dyn Epilogue<T> = match choice {
            0 => &Nothing,
            1 => &PerColumn(&bias),
            2 => &PerRow(&bias),
            _ => &Then(PerColumn(&bias), halve),
        };
        let left = Lines::new(&a, at_a, steps_a, [m, k]).unwrap();
        let right = Lines::new(&b, at_b, steps_b, [n, k]).unwrap();
        let mut out = start.clone();
        let mut product =
            Product::new([m, n, k], &left, &right).alpha(T::from_f64(alpha)).accumulate(accumulate).epilogue(epilogue);
        if dice.roll(2) == 0 {
            product = product.alone();
        }
        product.run(&mut out, row_stride).unwrap();
        for i in 0..m {
            for j in 0..row_stride {
                let before = start[i * row_stride + j].to_f64();
                let mut wanted = before;
                if j < n {
                    let at = |start: usize, steps: [isize; 2], line: usize, p: usize| {
                        (start as isize + line as isize * steps[0] + p as isize * steps[1]) as usize
                    };
                    let sum: f64 =
                        (0..k).map(|p| a[at(at_a, steps_a, i, p)].to_f64() * b[at(at_b, steps_b, j, p)].to_f64()).sum();
                    wanted = alpha * sum + if accumulate { before } else { 0.0 };
                    wanted += [0.0, bias[j].to_f64(), bias[i].to_f64(), bias[j].to_f64()][choice];
                    wanted = if choice == 3 { wanted * 0.5 } else { wanted };
                }
                let got = out[i * row_stride + j].to_f64();
                assert!(
                    (got - wanted).abs() <= tolerance * (k as f64 + 4.0),
                    "{m}×{k}×{n} at {i},{j}: {got} instead of {wanted}; steps {steps_a:?} {steps_b:?}, epilogue {choice}"
                );
            }
        }
    }
}

#[test]
fn products_are_the_sums_of_their_definition() {
    for seed in 0..3 {
        check::<f32>(seed, 1e-6);
        check::<f64>(seed, 1e-14);
    }
}

/// Many rows and few columns that lie side by side are computed the other way round: the same bits as with rows that are dense.
fn check_narrow<T: Real>() {
    let mut dice = Dice(12);
    for [m, n, k] in [[33, 16, 192], [300, 64, 785], [200, 96, 200]] {
        let (a, b): (Vec<T>, Vec<T>) = (dice.numbers(m * k), dice.numbers(n * k));
        let beside: Vec<T> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
        let right = Lines::new(&b, 0, [1, n as isize], [n, k]).unwrap();
        let run = |left: &Lines<T>| {
            let mut out = vec![T::default(); m * n];
            Product::new([m, n, k], left, &right).alpha(T::from_f64(0.5)).run(&mut out, n).unwrap();
            out
        };
        let wanted = run(&Lines::new(&a, 0, [k as isize, 1], [m, k]).unwrap());
        assert!(run(&Lines::new(&beside, 0, [1, m as isize], [m, k]).unwrap()) == wanted, "{m}×{k}×{n}");
    }
}

#[test]
fn few_columns_the_other_way_round_are_the_same_bits() {
    check_narrow::<f32>();
    check_narrow::<f64>();
}

/// Few rows and long columns are computed the other way round: the same bits as with the columns side by side.
fn check_turned<T: Real>() {
    let mut dice = Dice(11);
    for [m, n, k] in [[24, 33, 192], [64, 70, 785], [100, 130, 200], [160, 161, 389]] {
        let (a, b): (Vec<T>, Vec<T>) = (dice.numbers(m * k), dice.numbers(n * k));
        let bias: Vec<T> = dice.numbers(n);
        let beside: Vec<T> = (0..k * n).map(|i| b[i % n * k + i / n]).collect();
        let left = Lines::new(&a, 0, [k as isize, 1], [m, k]).unwrap();
        let run = |right: &Lines<T>| {
            let mut out = vec![T::default(); m * n];
            let bias = PerColumn(&bias);
            let product = Product::new([m, n, k], &left, right).alpha(T::from_f64(0.5)).epilogue(&bias);
            product.run(&mut out, n).unwrap();
            out
        };
        let wanted = run(&Lines::new(&beside, 0, [1, n as isize], [n, k]).unwrap());
        assert!(run(&Lines::new(&b, 0, [k as isize, 1], [n, k]).unwrap()) == wanted, "{m}×{k}×{n}");
    }
}

#[test]
fn few_rows_the_other_way_round_are_the_same_bits() {
    check_turned::<f32>();
    check_turned::<f64>();
}

/// Packed once, then multiplied by rows in any number: the same bits for a row whatever rows come with it.
fn check_packed<T: Real>(tolerance: f64) {
    let mut dice = Dice(7);
    for (n, k) in [(1, 1), (5, 3), (16, 8), (33, 17), (64, 385), (97, 800), (300, 40), (4, 0)] {
        let right: Vec<T> = dice.numbers(n * k);
        let packed = Packed::new([n, k], &Lines::new(&right, 0, [k as isize, 1], [n, k]).unwrap()).unwrap();
        for rows in [1, 2, 13, 14, 15, 31] {
            let (left, start): (Vec<T>, Vec<T>) = (dice.numbers(rows * k), dice.numbers(rows * n));
            for add in [false, true] {
                let mut out = start.clone();
                packed.multiply(rows, &left, &mut out, add).unwrap();
                for (at, (got, before)) in out.iter().zip(&start).enumerate() {
                    let (i, j) = (at / n, at % n);
                    let sum: f64 = (0..k).map(|p| left[i * k + p].to_f64() * right[j * k + p].to_f64()).sum();
                    let wanted = sum + if add { before.to_f64() } else { 0.0 };
                    let got = got.to_f64();
                    assert!(
                        (got - wanted).abs() <= tolerance * (k as f64 + 4.0),
                        "{rows}×{k}×{n} at {i},{j}: {got}, {wanted}"
                    );
                }
                let (mut alone, last) = (start[(rows - 1) * n..].to_vec(), &left[(rows - 1) * k..]);
                packed.multiply(1, last, &mut alone, add).unwrap();
                assert!(
                    alone.iter().zip(&out[(rows - 1) * n..]).all(|(a, b)| a.to_f64().to_bits() == b.to_f64().to_bits())
                );
            }
            assert!(packed.multiply(rows + 1, &left, &mut start.clone(), false).is_err());
        }
    }
}

#[test]
fn what_is_packed_once_multiplies_many_times() {
    check_packed::<f32>(1e-6);
    check_packed::<f64>(1e-14);
}

/// bf16 with sums in f32, by pairs where the processor has them: the sums of the definition, at infinity and without numbers too.
#[test]
fn products_of_bf16_are_sums_in_f32() {
    let mut dice = Dice(5);
    for round in 0..200 {
        let sizes = [1, 2, 3, 13, 15, 16, 17, 31, 33, 64, 97];
        let mut size = || sizes[dice.roll(sizes.len())];
        let [m, n, mut k] = [size(), size(), size()];
        if round % 20 == 0 {
            k = 769 + k * 7;
        }
        let (at_a, steps_a, count_a) = form(&mut dice, m, k);
        let (at_b, steps_b, count_b) = form(&mut dice, n, k);
        let mut numbers = |count: usize| dice.numbers::<f32>(count).into_iter().map(bf16::from_f32).collect::<Vec<_>>();
        let (a, mut b) = (numbers(count_a), numbers(count_b));
        if round % 10 == 1 {
            b[at_b] = [bf16::INFINITY, bf16::NAN][round / 10 % 2];
        }
        let (start, bias): (Vec<f32>, Vec<f32>) = (dice.numbers(m * n), dice.numbers(n));
        let left = Lines::new(&a, at_a, steps_a, [m, k]).unwrap();
        let right = Lines::new(&b, at_b, steps_b, [n, k]).unwrap();
        let add = round % 3 == 0;
        let mut out = start.clone();
        bf16::multiply([m, n, k], left, right, &mut |product| {
            product.alpha(0.5).accumulate(add).epilogue(&PerColumn(&bias)).run(&mut out, n)
        })
        .unwrap();
        for (at, (&got, &before)) in out.iter().zip(&start).enumerate() {
            let (i, j) = (at / n, at % n);
            let sum: f64 = (0..k).map(|p| left.at(i, p).to_f64() * right.at(j, p).to_f64()).sum();
            let wanted = 0.5 * sum + f64::from(bias[j]) + if add { f64::from(before) } else { 0.0 };
            let (got, tolerance) = (f64::from(got), 1e-6 * (k as f64 + 4.0));
            let same = got == wanted || got.is_nan() && wanted.is_nan() || (got - wanted).abs() <= tolerance;
            assert!(same, "{m}×{k}×{n} at {i},{j}: {got} instead of {wanted}; steps {steps_a:?} {steps_b:?}");
        }
    }
}

#[test]
fn a_result_that_does_not_fit_is_refused() {
    let lines = Lines::new(&[1.0f32; 6], 0, [3, 1], [2, 3]).unwrap();
    assert!(Product::new([2, 2, 3], &lines, &lines).run(&mut [0.0; 3], 2).is_err());
    assert!(Lines::new(&[1.0f32; 5], 0, [3, 1], [2, 3]).is_err());
}

/// An epilogue, then a function of each piece: what an activation would be.
struct Then<E, F>(E, F);

impl<T, E: Epilogue<T>, F: Fn(&mut [T]) + Sync> Epilogue<T> for Then<E, F> {
    fn finish(&self, row: usize, column: usize, values: &mut [T]) {
        self.0.finish(row, column, values);
        (self.1)(values);
    }
}

/// The tile of targets without one of ours, which is compiled for tests everywhere.
#[test]
fn the_tile_of_other_targets_is_right_too() {
    fn tiles<T: Real>(kernel: Kernel<T>, tolerance: f64) {
        let mut dice = Dice(11);
        for _ in 0..60 {
            let (rows, columns, depth) = (dice.roll(kernel.rows) + 1, dice.roll(kernel.columns) + 1, dice.roll(300));
            let (a, b) = (dice.numbers::<T>(rows * (depth + 1)), dice.numbers::<T>((depth + 1) * kernel.columns));
            let (before, bias) = (dice.numbers::<T>(rows * (columns + 2)), dice.numbers::<T>(columns));
            let (add, biased) = (dice.roll(2) == 0, dice.roll(2) == 0);
            let mut c = before.clone();
            let tile = Tile {
                rows,
                columns,
                depth,
                a: a.as_ptr(),
                a_row: depth as isize + 1,
                a_step: 1,
                b: b.as_ptr(),
                b_step: kernel.columns as isize,
                b_far: false,
                ahead: std::ptr::null(),
                c: c.as_mut_ptr(),
                c_row: columns + 2,
                alpha: T::from_f64(0.5),
                add,
                bias: if biased { bias.as_ptr() } else { std::ptr::null() },
            };
            // SAFETY: the lists are as long as the tile says.
            unsafe { (kernel.compute)(&tile) };
            for (at, (&found, &start)) in c.iter().zip(&before).enumerate() {
                let (row, column) = (at / (columns + 2), at % (columns + 2));
                let products = (0..depth).map(|p| {
                    a[row * (depth + 1) + p].to_f64() * b[p * kernel.columns + column.min(columns - 1)].to_f64()
                });
                let expected = match column < columns {
                    false => start.to_f64(),
                    true => {
                        products.sum::<f64>() * 0.5
                            + if add { start.to_f64() } else { 0.0 }
                            + if biased { bias[column].to_f64() } else { 0.0 }
                    }
                };
                assert!(
                    (found.to_f64() - expected).abs() <= tolerance,
                    "{rows} x {columns} x {depth} at {row}, {column}: {found:?}, {expected}"
                );
            }
        }
    }
    tiles(PORTABLE_F32, 1e-4);
    tiles(PORTABLE_F64, 1e-12);
}
