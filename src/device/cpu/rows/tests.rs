use super::*;
use crate::device::rows::*;
use crate::layout::Shape;

fn numbers(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 7919 % 1013) as f64 / 506.0) - 1.0).collect()
}

fn value(sizes: &[usize], from: &[f64]) -> Value {
    Value::build(Shape::new(sizes).unwrap(), |out: &mut [f64]| out.copy_from_slice(from)).unwrap()
}

fn dense(x: &Value) -> Vec<f64> {
    Cpu.contiguous(&Cpu.cast(x, DType::F64).unwrap()).unwrap().dense::<f64>().unwrap().to_vec()
}

fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what} [{i}]: {a} for {b}");
    }
}

/// The rows along an axis, their elements' positions.
fn lines(dims: &[usize], axis: usize) -> Vec<Vec<usize>> {
    let inner: usize = dims[axis + 1..].iter().product();
    let outer: usize = dims[..axis].iter().product();
    let line = |o: usize, i: usize| (0..dims[axis]).map(|k| (o * dims[axis] + k) * inner + i).collect();
    (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))).map(|(o, i)| line(o, i)).collect()
}

#[test]
fn softmax_along_every_axis_and_through_views() {
    let dims = [3, 70, 5];
    let x = value(&dims, &numbers(1050));
    let g = value(&dims, &numbers(1050).iter().rev().copied().collect::<Vec<_>>());
    for view in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let (x, g) =
            (x.with_layout(x.layout().permuted(&view)).unwrap(), g.with_layout(g.layout().permuted(&view)).unwrap());
        let (data, arriving) = (dense(&x), dense(&g));
        for axis in 0..3 {
            for form in [Softmax::Plain, Softmax::Logarithm] {
                let (mut y, mut dx) = (vec![0.0; 1050], vec![0.0; 1050]);
                for line in lines(x.dims(), axis) {
                    let sum: f64 = line.iter().map(|&i| data[i].exp()).sum();
                    let inner: f64 = match form {
                        Softmax::Plain => line.iter().map(|&i| arriving[i] * data[i].exp() / sum).sum(),
                        Softmax::Logarithm => line.iter().map(|&i| arriving[i]).sum(),
                    };
                    for &i in &line {
                        let p = data[i].exp() / sum;
                        (y[i], dx[i]) = match form {
                            Softmax::Plain => (p, p * (arriving[i] - inner)),
                            Softmax::Logarithm => (p.ln(), arriving[i] - p * inner),
                        };
                    }
                }
                let label = format!("{form:?} {view:?} {axis}");
                let result = Cpu.softmax(&x, axis, form).unwrap();
                close(&label, &dense(&result), &y, 1e-12);
                close(&label, &dense(&Cpu.softmax_gradient(&result, &g, axis, form).unwrap()), &dx, 1e-12);
                let single = Cpu.cast(&x, DType::F32).unwrap();
                close(&label, &dense(&Cpu.softmax(&single, axis, form).unwrap()), &y, 1e-6);
            }
        }
    }
}

#[test]
fn softmax_down_columns_is_that_along_rows() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    // one block of rows, several, and a piece of one; columns for several strips
    for (outer, size, inner) in [(3, 7, 50), (2, 32, 40), (2, 33, 1500), (1, 150, 70), (1, 1, 20)] {
        let mut list: Vec<f64> = numbers(outer * size * inner).iter().map(|x| x * 40.0).collect();
        // of the first columns: what stands in one block does not reach the others, or all of the column
        for (column, marks) in
            [&[(0, inf)][..], &[(size - 1, nan)], &[(0, -inf), (size / 2, -inf)], &[(0, 1e30)]].iter().enumerate()
        {
            marks.iter().for_each(|&(row, x)| list[row * inner + column] = x);
        }
        (0..size).for_each(|row| list[row * inner + 4] = if row < 32 { -inf } else { -300.0 });
        (0..size).for_each(|row| list[row * inner + 5] = -inf);
        let columns = Cpu.cast(&value(&[outer, size, inner], &list), DType::F32).unwrap();
        let turned = columns.with_layout(columns.layout().permuted(&[0, 2, 1])).unwrap();
        let rows = Cpu.softmax(&Cpu.contiguous(&turned).unwrap(), 2, Softmax::Plain).unwrap();
        let rows = dense(&rows.with_layout(rows.layout().permuted(&[0, 2, 1])).unwrap());
        let columns = dense(&Cpu.softmax(&columns, 1, Softmax::Plain).unwrap());
        for (i, (&a, &b)) in columns.iter().zip(&rows).enumerate() {
            // x - greatest is rounded, and each way has a greatest number of its own
            let unit = 6e-8 * (8.0 - 2.0 * b.max(1e-38).ln());
            let same = (a - b).abs() <= unit * b + 1e-37 || a.is_nan() && b.is_nan();
            assert!(same, "[{size}, {inner}] {i}: {a:e} for {b:e}");
        }
    }
}

#[test]
fn standardized_rows_have_mean_zero_and_spread_one() {
    for (length, run, groups) in [(700, 1, 1), (12, 1, 1), (24, 6, 3), (1030, 515, 1)] {
        let standard = Standard { center: true, length, run, groups, epsilon: 0.0 };
        let x = value(&[6, length], &numbers(6 * length));
        let result = Cpu.standardize(&x, None, None, standard).unwrap();
        for row in dense(&result.output).chunks(length) {
            let mean = row.iter().sum::<f64>() / length as f64;
            let spread = row.iter().map(|x| x * x).sum::<f64>() / length as f64;
            assert!(mean.abs() < 1e-12 && (spread - 1.0).abs() < 1e-12, "{mean} {spread}");
        }
    }
}

/// Central differences of Σ y g along one direction, against the gradients given.
fn check(what: &str, inputs: &[Value], f: impl Fn(&[Value]) -> f64, gradients: &[Value]) {
    for (which, gradient) in gradients.iter().enumerate() {
        let direction: Vec<f64> = numbers(inputs[which].count()).iter().map(|x| x * 1.3 + 0.1).collect();
        let moved = |step: f64| {
            let mut inputs = inputs.to_vec();
            let numbers: Vec<f64> = dense(&inputs[which]).iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            inputs[which] = value(inputs[which].dims(), &numbers);
            f(&inputs)
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        let slope: f64 = dense(gradient).iter().zip(&direction).map(|(g, d)| g * d).sum();
        assert!(
            (difference - slope).abs() < 1e-6 * difference.abs().max(1.0),
            "{what} {which}: {slope} for {difference}"
        );
    }
}

#[test]
fn gradients_of_standardized_rows() {
    for (center, length, run, groups) in
        [(true, 70, 1, 1), (false, 70, 1, 1), (true, 24, 6, 3), (true, 7, 1, 2), (true, 1040, 520, 2)]
    {
        let standard = Standard { center, length, run, groups, epsilon: 1e-3 };
        let weights = length / run * groups;
        let inputs = [
            value(&[6, length], &numbers(6 * length)),
            value(&[weights], &numbers(weights)),
            value(&[weights], &numbers(weights)),
        ];
        let g = value(&[6, length], &numbers(6 * length).iter().rev().map(|x| x + 0.3).collect::<Vec<_>>());
        let loss = |v: &[Value]| -> f64 {
            let y = Cpu.standardize(&v[0], Some(&v[1]), Some(&v[2]), standard).unwrap().output;
            dense(&y).iter().zip(dense(&g)).map(|(y, g)| y * g).sum()
        };
        let forward = Cpu.standardize(&inputs[0], Some(&inputs[1]), Some(&inputs[2]), standard).unwrap();
        let statistics = (&forward.mean, &forward.scale);
        let gradient =
            |wanted| Cpu.standardize_gradient(&inputs[0], Some(&inputs[1]), statistics, &g, standard, wanted).unwrap();
        let all: Vec<Value> = gradient([true; 3]).into_iter().flatten().collect();
        check(&format!("{standard:?}"), &inputs, loss, &all);
        assert_eq!(dense(gradient([false, true, false])[1].as_ref().unwrap()), dense(&all[1]));
        assert_eq!(dense(gradient([true, false, false])[0].as_ref().unwrap()), dense(&all[0]));
    }
}

#[test]
fn gradients_of_normalized_channels() {
    use crate::device::reduce::Reduce;
    for (dims, axes) in [(&[7, 5, 6, 4][..], &[0, 2, 3][..]), (&[40, 5], &[0])] {
        let count = dims.iter().product();
        let inputs = [value(dims, &numbers(count)), value(&[5], &numbers(5)), value(&[5], &numbers(5))];
        let g = value(dims, &numbers(count).iter().rev().map(|x| x + 0.3).collect::<Vec<_>>());
        let statistics = |x: &Value| {
            let (variance, mean) = Cpu.variance(x, axes, false, 0.0, false).unwrap();
            let scale: Vec<f64> = dense(&variance).iter().map(|v| 1.0 / (v + 1e-3).sqrt()).collect();
            (mean, value(&[5], &scale))
        };
        let fixed = statistics(&inputs[0]);
        for batch in [true, false] {
            let loss = |v: &[Value]| -> f64 {
                let own = if batch { statistics(&v[0]) } else { fixed.clone() };
                let y = Cpu.normalize_channels(&v[0], (&own.0, &own.1), Some(&v[1]), Some(&v[2])).unwrap();
                dense(&y).iter().zip(dense(&g)).map(|(y, g)| y * g).sum()
            };
            let of = (&fixed.0, &fixed.1);
            let all = Cpu.normalize_channels_gradient(&inputs[0], of, Some(&inputs[1]), &g, batch, [true; 3]).unwrap();
            let all: Vec<Value> = all.into_iter().flatten().collect();
            check(&format!("{dims:?} {batch}"), &inputs, loss, &all);
        }
    }
}
