use super::*;
use crate::device::threads;

fn volume(sizes: [usize; 5], numbers: impl Fn(usize) -> f32) -> Value {
    Value::build::<f32>(Shape::new(&sizes).unwrap(), |out| {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = numbers(i));
    })
    .unwrap()
}

fn noise(i: usize) -> f32 {
    ((i * 2_654_435_761 + 12_345) % 1000) as f32 / 500.0 - 1.0
}

fn cover(size: usize, kernel: usize, stride: usize, before: usize, dilation: usize) -> Sliding {
    let count = (size + 2 * before - dilation * (kernel - 1) - 1) / stride + 1;
    Sliding { size, count, kernel, stride, before, dilation }
}

const CASES: [(usize, usize, usize, usize, usize); 6] =
    [(9, 3, 1, 1, 1), (9, 2, 2, 0, 1), (27, 2, 2, 0, 1), (7, 3, 3, 1, 2), (40, 4, 2, 2, 1), (5, 5, 4, 2, 1)];

#[test]
fn the_greatest_of_each_window() {
    for (size, kernel, stride, before, dilation) in CASES {
        let axis = cover(size, kernel, stride, before, dilation);
        let windows = [Sliding::POINT, axis, axis];
        let x = volume([2, 3, 1, size, size], noise);
        let (best, places) = Cpu.max_windows(&x, &windows.map(Span::Sliding), true).unwrap();
        let (only, none) = Cpu.max_windows(&x, &windows.map(Span::Sliding), false).unwrap();
        assert!(none.is_none());
        assert_eq!(only.dense::<f32>().unwrap(), best.dense::<f32>().unwrap());
        let columns = Cpu.unfold_volumes(&x, &windows).unwrap();
        let columns = columns.dense::<f32>().unwrap();
        let outputs = axis.count * axis.count;
        for (i, &best) in best.dense::<f32>().unwrap().iter().enumerate() {
            let (part, output) = (i / outputs, i % outputs);
            let under = (0..kernel * kernel).map(|tap| columns[(part * kernel * kernel + tap) * outputs + output]);
            // Padding is 0 in columns and -infinity here.
            assert!(under.fold(f32::NEG_INFINITY, f32::max).max(0.0) == best.max(0.0), "{axis:?} {i}");
        }
        let picked = Cpu.pick_volumes(&x, &places.unwrap()).unwrap();
        assert_eq!(picked.dense::<f32>().unwrap(), best.dense::<f32>().unwrap());
    }
}

#[test]
fn nan_wins_and_ties_go_to_the_first() {
    let x = volume([1, 1, 1, 1, 6], |i| [1.0, 1.0, f32::NAN, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY][i]);
    let spans = [Span::Sliding(Sliding::POINT), Span::Sliding(Sliding::POINT), Span::Sliding(cover(6, 2, 2, 0, 1))];
    let (best, places) = Cpu.max_windows(&x, &spans, true).unwrap();
    let best = best.dense::<f32>().unwrap();
    assert!(best[0] == 1.0 && best[1].is_nan() && best[2] == f32::NEG_INFINITY);
    assert_eq!(places.unwrap().dense::<i32>().unwrap(), [0, 2, 4]);
    // The same in a row of twelve windows, several of which are looked at together.
    let x = volume([1, 1, 1, 1, 24], |i| match i {
        5 => f32::NAN,
        16..20 => f32::NEG_INFINITY,
        _ => 1.0,
    });
    let spans = [spans[0], spans[1], Span::Sliding(cover(24, 2, 2, 0, 1))];
    let (best, places) = Cpu.max_windows(&x, &spans, true).unwrap();
    let wanted: Vec<i32> = (0..12).map(|window| 2 * window + i32::from(window == 2)).collect();
    assert_eq!(places.unwrap().dense::<i32>().unwrap(), wanted);
    assert!(best.dense::<f32>().unwrap()[2].is_nan());
}

#[test]
fn folding_is_the_transpose_of_unfolding() {
    for (size, kernel, stride, before, dilation) in CASES {
        let axis = cover(size, kernel, stride, before, dilation);
        let windows = [cover(2, 1, 1, 0, 1), axis, cover(6, 2, 3, 1, 1)];
        let x = volume([2, 3, 2, size, 6], noise);
        let columns = Cpu.unfold_volumes(&x, &windows).unwrap();
        let y = Value::build::<f32>(*columns.shape(), |out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = noise(i + 77));
        })
        .unwrap();
        let back = Cpu.fold_volumes(&y, &windows).unwrap();
        let dot = |a: &Value, b: &Value| -> f64 {
            let pairs = a.dense::<f32>().unwrap().iter().zip(b.dense::<f32>().unwrap());
            pairs.map(|(&a, &b)| a as f64 * b as f64).sum()
        };
        assert!((dot(&columns, &y) - dot(&x, &back)).abs() < 1e-3);
    }
}

#[test]
fn blends_follow_their_definition_on_any_number_of_threads() {
    let halve = Blend::new(6, (0..3).map(|i| [(2 * i, 0.5), (2 * i + 1, 0.5)])).unwrap();
    let stretch = Blend::new(3, (0..7).map(|i| vec![(i / 3, 0.25), ((i + 1) / 3, 0.75)])).unwrap();
    let x = volume([2, 3, 6, 3, 6], noise);
    let y = threads(1, || Cpu.blend_volumes(&x, [&halve, &stretch, &halve])).unwrap();
    let again = threads(3, || Cpu.blend_volumes(&x, [&halve, &stretch, &halve])).unwrap();
    assert_eq!(y.dims(), [2, 3, 3, 7, 3]);
    assert_eq!(y.dense::<f32>().unwrap(), again.dense::<f32>().unwrap());
    let (x, y) = (x.dense::<f32>().unwrap(), y.dense::<f32>().unwrap());
    for (i, &y) in y.iter().enumerate() {
        let (part, d, h, w) = (i / 63, i / 21 % 3, i / 3 % 7, i % 3);
        let mut sum = 0.0;
        for &(a, p) in halve.terms(d) {
            for &(b, q) in stretch.terms(h) {
                for &(c, r) in halve.terms(w) {
                    sum += p * q * r * x[part * 108 + (a * 3 + b) * 6 + c] as f64;
                }
            }
        }
        assert!((sum - y as f64).abs() < 1e-6);
    }
}
