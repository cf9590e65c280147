//! Matrices taken apart, kernel by kernel: what the parts multiply to, at sizes that do not divide, with few threads and many.

use super::support::{Random, in_every_order, near};
use crate::emulator::call::{Argument, Buffer, Emulator, Plain, bytes};

#[repr(C)]
#[derive(Clone, Copy)]
struct Words<const N: usize>([u64; N]);
impl<const N: usize> Plain for Words<N> {}

fn words<const N: usize>(numbers: [usize; N]) -> Argument {
    bytes(Words(numbers.map(|number| number as u64)))
}

fn start(emulator: &Emulator, name: &str, blocks: usize, threads: usize, arguments: &[Argument]) {
    emulator.launch(name, [blocks, 1, 1], threads, 0, arguments).unwrap_or_else(|said| panic!("{said}"));
}

/// The address of a number in a buffer.
fn place(buffer: &Buffer, at: usize) -> Argument {
    bytes(u64::from_ne_bytes(buffer.argument().try_into().expect("an address")) + 8 * at as u64)
}

/// A word for faults, and what it says of an operation.
const QUIET: u64 = u64::MAX;

type Matrix = Vec<f64>;

fn product(a: &[f64], b: &[f64], [m, n, k]: [usize; 3]) -> Matrix {
    let cell = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
    (0..m * n).map(|at| cell(at / n, at % n)).collect()
}

fn turned(a: &[f64], m: usize, n: usize) -> Matrix {
    (0..m * n).map(|at| a[at % m * n + at / m]).collect()
}

fn identity(n: usize) -> Matrix {
    (0..n * n).map(|at| (at % (n + 1) == 0) as usize as f64).collect()
}

/// One side of a diagonal, which counts as ones where it is `unit`.
fn side(a: &[f64], n: usize, lower: bool, unit: bool) -> Matrix {
    let number = |i: usize, j: usize| match i.cmp(&j) {
        std::cmp::Ordering::Equal if unit => 1.0,
        std::cmp::Ordering::Equal => a[i * n + j],
        order => {
            if (order == std::cmp::Ordering::Greater) == lower {
                a[i * n + j]
            } else {
                0.0
            }
        }
    };
    (0..n * n).map(|at| number(at / n, at % n)).collect()
}

#[test]
fn parts_of_matrices_change_by_a_product() {
    // c [2, 135, 90] from row 3 and column 5 on, a as it lies, b turned.
    let (m, n, k) = (130, 67, 19);
    let (a, b): (Matrix, Matrix) = (Random(90).list(2 * m * k), Random(91).list(2 * n * k));
    let c: Matrix = Random(92).list(2 * 135 * 90);
    for (beta, lower) in [(1.0f64, 0), (0.0, 0), (0.5, 1)] {
        let found = in_every_order(|emulator| {
            let [left, right, out] = [&a, &b, &c].map(|list| emulator.buffer(list));
            let sizes = [m, n, k, k, 1, 1, k, 90, 1, m * k, n * k, 135 * 90];
            let list = sizes.iter().map(|&size| size as u64).chain([(-2f64).to_bits(), beta.to_bits(), lower]);
            let part = Words::<15>(list.collect::<Vec<_>>().try_into().expect("fifteen"));
            let arguments = [left.argument(), right.argument(), place(&out, 3 * 90 + 5), bytes(part)];
            emulator.launch("multiply_f64", [3, 2, 2], 256, 0, &arguments).unwrap_or_else(|said| panic!("{said}"));
            vec![out]
        });
        let Some(found) = found else { return };
        let mut expected = c.clone();
        for z in 0..2 {
            let all = product(&a[z * m * k..][..m * k], &turned(&b[z * n * k..][..n * k], n, k), [m, n, k]);
            for (at, sum) in all.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                if lower == 0 || j / 64 <= i / 64 {
                    let to = &mut expected[(z * 135 + 3 + i) * 90 + 5 + j];
                    *to = beta * *to - 2.0 * sum;
                }
            }
        }
        near("multiply_f64", &found[0].read::<f64>(), &expected);
    }
}

#[test]
fn elimination_gives_triangles_whose_product_is_the_matrix() {
    for (n, threads) in [(7, 32), (32, 256), (1, 32)] {
        let mut a: Matrix = Random(93).list(2 * n * n);
        a[n * n..].iter_mut().step_by(n).for_each(|x| *x = 0.0); // a column without a pivot
        let found = in_every_order(|emulator| {
            let (packed, list) = (emulator.buffer(&a), emulator.unwritten::<i64>(2 * n));
            let arguments = [packed.argument(), list.argument(), bytes(n as i64), bytes(0i64), bytes(n as i64)];
            start(emulator, "pivots_f64", 2, threads, &arguments);
            // The same exchanges on the matrix itself, and back.
            let (there, back) = (emulator.buffer(&a), emulator.buffer(&a));
            let exchange = |x: &Buffer, backwards: i32| {
                let rows = words([n, n, 1, n * n]);
                let range = [bytes(0i64), bytes(n as i64), bytes(backwards)];
                let arguments = [&[list.argument(), x.argument(), bytes(n as i64), rows], &range[..]].concat();
                emulator.launch("exchange_f64", [1, 1, 2], 256, 0, &arguments).unwrap_or_else(|said| panic!("{said}"));
            };
            exchange(&there, 0);
            exchange(&back, 0);
            exchange(&back, 1);
            let results = [(); 3].map(|()| emulator.unwritten::<f64>(2));
            let outputs = results.iter().map(Buffer::argument).collect::<Vec<_>>();
            let arguments = [&[packed.argument(), list.argument()], &outputs[..], &[bytes(n as i64)]].concat();
            start(emulator, "determinants_f64", 2, threads, &arguments);
            let word = emulator.buffer(&[QUIET]);
            let zeros = [packed.argument(), words([n, n + 1, n * n, 0]), word.argument(), bytes(4u64)];
            start(emulator, "zeros_f64", 2, 256, &zeros);
            [packed, there, back, word].into_iter().chain(results).collect()
        });
        let Some(found) = found else { return };
        let lists: Vec<Matrix> = found.iter().map(Buffer::read).collect();
        assert_eq!(lists[2], a);
        for z in 0..2 {
            let packed = &lists[0][z * n * n..][..n * n];
            let (lower, upper) = (side(packed, n, true, true), side(packed, n, false, false));
            near("L · U", &product(&lower, &upper, [n, n, n]), &lists[1][z * n * n..][..n * n]);
            assert!(lower.iter().all(|x| x.abs() <= 1.0));
            let pivots: Matrix = (0..n).map(|i| packed[i * (n + 1)]).collect();
            let [sign, log, whole] = [4, 5, 6].map(|which| lists[which][z]);
            near("|determinant|", &[whole.abs()], &[pivots.iter().product::<f64>().abs()]);
            let size = pivots.iter().map(|x| x.abs().ln()).sum::<f64>();
            assert!(log == size || (log - size).abs() < 1e-12, "{log} {size}");
            assert!(sign == if whole == 0.0 { 0.0 } else { whole.signum() });
        }
        // The zero on the diagonal of the second one.
        assert_eq!(found[3].read::<u64>(), [4 << 40 | (n * n) as u64]);
    }
    // By hand, with an exchange.
    let found = in_every_order(|emulator| {
        let (a, list) = (emulator.buffer(&[1.0, 2.0, 4.0, 4.0]), emulator.unwritten::<i64>(2));
        let size = [bytes(2i64), bytes(0i64), bytes(2i64)];
        start(emulator, "pivots_f64", 1, 32, &[&[a.argument(), list.argument()], &size[..]].concat());
        vec![a, list]
    });
    let Some(found) = found else { return };
    assert_eq!((found[0].read::<f64>(), found[1].read::<i64>()), (vec![4.0, 4.0, 0.25, 1.0], vec![1, 1]));
}

#[test]
fn triangles_divide_unknowns_from_either_end() {
    let (n, width) = (21, 70);
    let mut a: Matrix = Random(94).list(2 * n * n);
    for z in 0..2 {
        (0..n).for_each(|i| a[z * n * n + i * (n + 1)] += 3.0);
    }
    let x: Matrix = Random(95).list(2 * n * width);
    for (lower, unit, tall) in [(true, false, false), (true, true, true), (false, false, true), (false, true, false)] {
        let found = in_every_order(|emulator| {
            let (triangle, out) = (emulator.buffer(&a), emulator.buffer(&x));
            let about = words([n, 1, n * n, n | (lower as usize) << 32, unit as usize]);
            let rows = if tall { words([width, 1, n, n * width]) } else { words([width, width, 1, n * width]) };
            let arguments = [triangle.argument(), out.argument(), about, rows];
            emulator.launch("substitute_f64", [2, 1, 2], 256, 0, &arguments).unwrap_or_else(|said| panic!("{said}"));
            vec![out]
        });
        let Some(found) = found else { return };
        let solved: Matrix = found[0].read();
        for z in 0..2 {
            let of = |list: &[f64]| {
                let own = &list[z * n * width..][..n * width];
                if tall { turned(own, width, n) } else { own.to_vec() }
            };
            let triangle = side(&a[z * n * n..][..n * n], n, lower, unit);
            near("triangle · x", &product(&triangle, &of(&solved), [n, width, n]), &of(&x));
        }
    }
}

#[test]
fn roots_of_definite_matrices_and_what_has_none() {
    for (n, threads) in [(9, 32), (31, 256)] {
        let b: Matrix = Random(96).list(n * n);
        let mut definite = product(&b, &turned(&b, n, n), [n, n, n]);
        (0..n).for_each(|i| definite[i * (n + 1)] += 1.0);
        let mut broken = definite.clone();
        broken[3 * (n + 1)] = -1.0;
        let all = [definite.clone(), broken].concat();
        let found = in_every_order(|emulator| {
            let (a, word) = (emulator.buffer(&all), emulator.buffer(&[QUIET]));
            let size = [bytes(n as i64), bytes(0i64), bytes(n as i64)];
            let arguments = [&[a.argument()], &size[..], &[word.argument(), bytes(2u64)]].concat();
            start(emulator, "root_f64", 2, threads, &arguments);
            vec![a, word]
        });
        let Some(found) = found else { return };
        let root = side(&found[0].read::<f64>()[..n * n], n, true, false);
        let back = product(&root, &turned(&root, n, n), [n, n, n]);
        assert!(back.iter().zip(&definite).all(|(x, y)| (x - y).abs() < 1e-11));
        assert_eq!(found[1].read::<u64>(), [2 << 40 | (n * n + 3 * (n + 1)) as u64]);
    }
}

#[test]
fn reflections_leave_a_triangle() {
    for (m, n, threads) in [(9, 5, 32), (40, 33, 256), (3, 6, 64), (1, 1, 32)] {
        let a: Matrix = Random(97).list(2 * m * n);
        let k = m.min(n);
        let width = k.min(32);
        let found = in_every_order(|emulator| {
            let (left, vectors) = (emulator.buffer(&a), emulator.buffer(&vec![0f64; 2 * m * k]));
            let triangle = emulator.buffer(&[0f64; 2 * 1024]);
            let about = words([m, n, k, 0, width, 1024]);
            let arguments = [left.argument(), vectors.argument(), triangle.argument(), about];
            start(emulator, "reflect_f64", 2, threads, &arguments);
            vec![left, vectors, triangle]
        });
        let Some(found) = found else { return };
        let [left, vectors, triangle]: [Matrix; 3] = [0, 1, 2].map(|which| found[which].read());
        for z in 0..2 {
            // A - V · Tᵀ · Vᵀ · A in the block's columns is what was left there.
            let cut = |list: &[f64], wide: usize| -> Matrix {
                (0..m * width).map(|at| list[z * m * wide + at / width * wide + at % width]).collect()
            };
            let (before, after, v) = (cut(&a, n), cut(&left, n), cut(&vectors, k));
            let t: Matrix = (0..width * width).map(|at| triangle[z * 1024 + at % width * 32 + at / width]).collect();
            let common = product(&turned(&v, m, width), &before, [width, width, m]);
            let change = product(&v, &product(&t, &common, [width, width, width]), [m, width, width]);
            let expected: Matrix = before.iter().zip(&change).map(|(x, y)| x - y).collect();
            near("reflected", &after, &expected);
            assert!((0..m * width).all(|at| at / width <= at % width || after[at] == 0.0));
        }
    }
}

#[test]
fn rows_are_turned_until_they_are_orthogonal() {
    for (n, threads, alone) in [(5, 32, true), (12, 256, true), (7, 256, false), (1, 32, true)] {
        let mut rows: Matrix = Random(98).list(2 * n * n);
        // The second one lacks a dimension.
        let first = rows[n * n..][..n].to_vec();
        rows[n * n + n * (n - 1)..]
            .iter_mut()
            .zip(first)
            .for_each(|(x, first)| *x = if n > 1 { 2.0 * first } else { 0.0 });
        let found = in_every_order(|emulator| {
            let (a, basis) = (emulator.buffer(&rows), emulator.buffer(&[identity(n), identity(n)].concat()));
            let (word, scales) = (emulator.buffer(&[QUIET]), emulator.buffer(&[1.0, 10.0]));
            let both = [a.argument(), basis.argument(), bytes(n as i64)];
            if alone {
                let arguments = [&both[..], &[word.argument(), bytes(1u64)]].concat();
                start(emulator, "turn_all_f64", 2, threads, &arguments);
            } else {
                for round in 0..8 * (n.next_multiple_of(2) - 1) {
                    let flag = emulator.buffer(&[0i32]);
                    start(emulator, "turn_f64", 2, 256, &[&both[..], &[bytes(round as i64), flag.argument()]].concat());
                }
            }
            let [lengths, values] = [(); 2].map(|()| emulator.unwritten::<f64>(2 * n));
            let [right, sorted] = [(); 2].map(|()| emulator.unwritten::<f64>(2 * n * n));
            let outputs = [&lengths, &values, &right, &sorted].map(Buffer::argument);
            let arguments = [&both[..2], &[scales.argument()], &outputs[..], &[bytes(n as i64)]].concat();
            start(emulator, "singular_f64", 2, threads, &arguments);
            vec![values, right, sorted, word]
        });
        let Some(found) = found else { return };
        let [values, right, sorted]: [Matrix; 3] = [0, 1, 2].map(|which| found[which].read());
        assert_eq!(found[3].read::<u64>(), [QUIET]);
        for (z, scale) in [1.0, 10.0].into_iter().enumerate() {
            let of = |list: &[f64]| list[z * n * n..][..n * n].to_vec();
            let (right, sorted, values) = (of(&right), of(&sorted), &values[z * n..][..n]);
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
            near("right vectors", &product(&right, &turned(&right, n, n), [n, n, n]), &identity(n));
            near("basis", &product(&sorted, &turned(&sorted, n, n), [n, n, n]), &identity(n));
            let scaled: Matrix = right.iter().enumerate().map(|(at, x)| x * values[at / n] / scale).collect();
            let back = product(&turned(&sorted, n, n), &scaled, [n, n, n]);
            assert!(back.iter().zip(&of(&rows)).all(|(x, y)| (x - y).abs() < 1e-12), "{n}, matrix {z}");
        }
        assert!(values[2 * n - 1] < 1e-13, "{values:?}");
    }
}

#[test]
fn symmetric_matrices_have_eigenvectors() {
    for (n, threads) in [(6, 32), (33, 256), (2, 64), (1, 32)] {
        let mut a: Matrix = Random(99).list(2 * n * n);
        // What lies above the diagonal may be anything; the second one is a diagonal already.
        a[n * n..].iter_mut().enumerate().for_each(|(at, x)| *x = if at % (n + 1) == 0 { -(at as f64) } else { 0.0 });
        let lower = side(&a[..n * n], n, true, false);
        let symmetric: Matrix = (0..n * n).map(|at| lower[(at / n).max(at % n) * n + (at / n).min(at % n)]).collect();
        if n > 1 {
            a[n - 1] = f64::NAN;
        }
        let found = in_every_order(|emulator| {
            let (own, word) = (emulator.buffer(&a), emulator.buffer(&[QUIET]));
            let (scales, scratch) = (emulator.unwritten::<f64>(2), emulator.unwritten::<f64>(12 * n));
            let [turned, vectors] = [(); 2].map(|()| emulator.unwritten::<f64>(2 * n * n));
            let values = emulator.unwritten::<f64>(2 * n);
            let (size, check) = (bytes(n as i64), [word.argument(), bytes(1u64)]);
            let sizes = [size.clone(), size.clone(), bytes(1i32)];
            let scaled = [&[own.argument(), scales.argument()], &sizes[..], &check[..]].concat();
            start(emulator, "scale_f64", 2, threads, &scaled);
            start(emulator, "three_diagonals_f64", 2, threads, &[own.argument(), scratch.argument(), size.clone()]);
            let reflected = [own.argument(), scratch.argument(), turned.argument(), size.clone()];
            start(emulator, "reflections_f64", 2, threads, &reflected);
            let rotated = [&[scratch.argument(), turned.argument(), size.clone()], &check[..]].concat();
            start(emulator, "diagonalise_f64", 2, threads, &rotated);
            let all = [&scratch, &scales, &turned, &values, &vectors].map(Buffer::argument);
            start(emulator, "eigen_f64", 2, threads, &[&all[..], &[size]].concat());
            let count = bytes(n as i64);
            let about = [count, words([n, n, 1, n * n]), words([0; 4])];
            let signs = [&[vectors.argument(), bytes(0u64)], &about[..]].concat();
            emulator.launch("signs_f64", [2, n.div_ceil(8), 1], 256, 0, &signs).unwrap_or_else(|said| panic!("{said}"));
            vec![values, vectors, word]
        });
        let Some(found) = found else { return };
        let [values, vectors]: [Matrix; 2] = [0, 1].map(|which| found[which].read());
        assert_eq!(found[2].read::<u64>(), [QUIET]);
        let second = a[n * n..].to_vec();
        for (z, matrix) in [symmetric, second].iter().enumerate() {
            let (values, vectors) = (&values[z * n..][..n], &vectors[z * n * n..][..n * n]);
            assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
            near("vectors", &product(&turned(vectors, n, n), vectors, [n, n, n]), &identity(n));
            let image = product(matrix, vectors, [n, n, n]);
            let expected: Matrix = vectors.iter().enumerate().map(|(at, x)| x * values[at % n]).collect();
            let size = values.iter().fold(1.0f64, |most, x| most.max(x.abs()));
            assert!(image.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-13 * size), "{n}, matrix {z}");
            for j in 0..n {
                let column = (0..n).map(|i| vectors[i * n + j]);
                assert!(column.fold(0.0f64, |most, x| if x.abs() > most.abs() { x } else { most }) > 0.0);
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_told_and_put_away() {
    let a = [1.0, -4.0, 2.0, 3.0, f64::INFINITY, 6.0, 0.0, 0.0, 0.0];
    let found = in_every_order(|emulator| {
        let (own, scales, word) = (emulator.buffer(&a), emulator.unwritten::<f64>(3), emulator.buffer(&[QUIET]));
        let sizes = [bytes(3i64), bytes(1i64), bytes(0i32), word.argument(), bytes(6u64)];
        start(emulator, "scale_f64", 3, 32, &[&[own.argument(), scales.argument()], &sizes[..]].concat());
        vec![own, scales, word]
    });
    let Some(found) = found else { return };
    assert_eq!(found[0].read::<f64>(), [0.25, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!((found[1].read::<f64>(), found[2].read::<u64>()), (vec![4.0, 1.0, 1.0], vec![6 << 40 | 4]));
    // Vectors with their partners: the second one is turned around.
    let found = in_every_order(|emulator| {
        let (first, second) =
            (emulator.buffer(&[1.0, -1.0, 0.5, -3.0]), emulator.buffer(&[5.0, 6.0, 7.0, 8.0, 9.0, 1.0]));
        let about = [bytes(2i64), words([2, 2, 1, 4]), words([3, 1, 3, 6])];
        let arguments = [&[first.argument(), second.argument()], &about[..]].concat();
        start(emulator, "signs_f64", 1, 256, &arguments);
        vec![first, second]
    });
    let Some(found) = found else { return };
    assert_eq!(found[0].read::<f64>(), [1.0, 1.0, 0.5, 3.0]);
    assert_eq!(found[1].read::<f64>(), [5.0, 6.0, 7.0, -8.0, -9.0, -1.0]);
}
