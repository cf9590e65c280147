use super::*;
use crate::device::threads;
use crate::layout::Element;

fn build(dims: &[usize], seed: usize) -> Value {
    Value::build::<f64>(Shape::new(dims).unwrap(), |out| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (((i + seed) * 2_654_435_761) % 1009) as f64 / 500.0 - 1.0;
        }
    })
    .unwrap()
}

struct Case {
    batch: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    windows: [Sliding; 3],
}

impl Case {
    fn manner(&self) -> Manner {
        Manner { groups: self.groups, exact: false, at_rest: false }
    }
}

fn axis(size: usize, kernel: usize, stride: usize, before: usize, dilation: usize) -> Sliding {
    let count = (size + 2 * before - dilation * (kernel - 1) - 1) / stride + 1;
    Sliding { size, count, kernel, stride, before, dilation }
}

fn cases() -> Vec<Case> {
    let point = Sliding::POINT;
    let case = |batch, channels, outputs, groups, windows| Case { batch, channels, outputs, groups, windows };
    vec![
        case(2, 3, 5, 1, [point, axis(9, 3, 1, 1, 1), axis(11, 3, 1, 1, 1)]),
        case(5, 8, 12, 2, [point, axis(6, 3, 2, 1, 1), axis(7, 2, 3, 2, 2)]),
        case(3, 6, 12, 6, [point, axis(12, 3, 2, 1, 1), axis(37, 5, 1, 2, 1)]),
        case(6, 4, 4, 1, [point, axis(4, 1, 1, 0, 1), axis(20, 1, 1, 0, 1)]),
        case(3, 4, 6, 1, [point, axis(7, 1, 2, 0, 1), axis(5, 1, 3, 0, 1)]),
        case(2, 4, 6, 2, [axis(4, 2, 2, 1, 1), axis(5, 3, 1, 1, 2), axis(6, 3, 2, 0, 1)]),
        case(1, 20, 30, 1, [point, point, axis(116, 5, 1, 2, 1)]),
        case(9, 4, 8, 1, [point, point, Sliding { size: 4, count: 4, kernel: 4, stride: 1, before: 1, dilation: 1 }]),
        case(1, 1, 1, 1, [point, point, Sliding { size: 2, count: 9, kernel: 3, stride: 3, before: 8, dilation: 3 }]),
        case(4, 70, 40, 1, [point, axis(9, 3, 1, 1, 1), axis(9, 3, 1, 1, 1)]),
        case(2, 3, 5, 1, [point, axis(6, 2, 4, 0, 1), axis(9, 2, 5, 1, 1)]),
        // Enough channels and tiles for Winograd's way: even and odd sizes, several blocks of rows and of outputs.
        case(2, 9, 17, 1, [point, axis(13, 3, 1, 1, 1), axis(18, 3, 1, 1, 1)]),
        case(1, 24, 36, 2, [point, axis(40, 3, 1, 0, 1), axis(11, 3, 1, 2, 1)]),
        case(1, 8, 82, 1, [point, axis(12, 3, 1, 1, 1), axis(75, 3, 1, 1, 1)]),
        // Blocks of several images, and of a piece of a row.
        case(20, 9, 16, 1, [point, axis(8, 3, 1, 1, 1), axis(8, 3, 1, 1, 1)]),
        case(1, 16, 10, 1, [point, axis(3, 3, 1, 1, 1), axis(300, 3, 1, 1, 1)]),
    ]
}

/// The sum of products, as its definition says: calls `visit(x, weight, y)` with the positions of each term.
fn each_term(case: &Case, mut visit: impl FnMut(usize, usize, usize)) {
    let [d, h, w] = &case.windows;
    let volume = |of: fn(&Sliding) -> usize| [of(d), of(h), of(w)];
    let (sizes, counts, kernels) = (volume(|a| a.size), volume(|a| a.count), volume(|a| a.kernel));
    let flat = |at: [usize; 3], of: [usize; 3]| (at[0] * of[1] + at[1]) * of[2] + at[2];
    let total = |of: [usize; 3]| of.iter().product::<usize>();
    let unflat = |i: usize, of: [usize; 3]| [i / (of[1] * of[2]), i / of[2] % of[1], i % of[2]];
    let (inputs, each) = (case.channels / case.groups, case.outputs / case.groups);
    for n in 0..case.batch {
        for o in 0..case.outputs {
            for p in 0..total(counts) {
                for c in 0..inputs {
                    for k in 0..total(kernels) {
                        let (place, tap) = (unflat(p, counts), unflat(k, kernels));
                        let mut at = [0; 3];
                        let inside = (0..3).all(|axis| {
                            let window = &case.windows[axis];
                            let i = (place[axis] * window.stride + tap[axis] * window.dilation) as isize
                                - window.before as isize;
                            at[axis] = i.max(0) as usize;
                            i >= 0 && (i as usize) < window.size
                        });
                        if inside {
                            let channel = o / each * inputs + c;
                            visit(
                                (n * case.channels + channel) * total(sizes) + flat(at, sizes),
                                (o * inputs + c) * total(kernels) + k,
                                (n * case.outputs + o) * total(counts) + p,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn operands(case: &Case) -> [Value; 3] {
    let dims =
        |of: fn(&Sliding) -> usize, a, b| [a, b, of(&case.windows[0]), of(&case.windows[1]), of(&case.windows[2])];
    [
        build(&dims(|a| a.size, case.batch, case.channels), 1),
        build(&dims(|a| a.kernel, case.outputs, case.channels / case.groups), 2),
        build(&dims(|a| a.count, case.batch, case.outputs), 3),
    ]
}

fn close(got: &Value, wanted: &[f64], tolerance: f64, what: &str) {
    let got = Cpu.cast(got, DType::F64).unwrap();
    let got = got.dense::<f64>().unwrap();
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() <= tolerance * (1.0 + wanted.abs()), "{what} at {i}: {got} for {wanted}");
    }
}

/// Another memory order of the same numbers: channels last.
fn channels_last(x: &Value) -> Value {
    let turned = x.with_layout(x.layout().permuted(&[0, 2, 3, 4, 1])).unwrap();
    let dense = Cpu.duplicate(&turned).unwrap();
    dense.with_layout(dense.layout().permuted(&[0, 4, 1, 2, 3])).unwrap()
}

fn check(dtype: DType, tolerance: f64) {
    for (index, case) in cases().iter().enumerate() {
        let [x, weight, y] = operands(case);
        let (dx, dw, dy) = (x.dense::<f64>().unwrap(), weight.dense::<f64>().unwrap(), y.dense::<f64>().unwrap());
        let bias = build(&[case.outputs], 9);
        let each: usize = case.windows.iter().map(|axis| axis.count).product();
        let of_bias = bias.dense::<f64>().unwrap();
        let mut forward: Vec<f64> = (0..dy.len()).map(|i| of_bias[i / each % case.outputs]).collect();
        let (mut back, mut gradient) = (vec![0.0; dx.len()], vec![0.0; dw.len()]);
        each_term(case, |i, j, k| {
            forward[k] += dx[i] * dw[j];
            back[i] += dw[j] * dy[k];
            gradient[j] += dx[i] * dy[k];
        });
        let [x, weight, y, bias] = [&x, &weight, &y, &bias].map(|value| Cpu.cast(value, dtype).unwrap());
        for (x, y) in [(x.clone(), y.clone()), (channels_last(&x), channels_last(&y))] {
            for manner in [case.manner(), Manner { exact: true, ..case.manner() }] {
                let got = Cpu.convolve(&x, &weight, Some(&bias), &case.windows, manner).unwrap();
                close(&got, &forward, tolerance, &format!("forward {index}"));
                let got = Cpu.convolve_transposed(&y, &weight, None, &case.windows, manner).unwrap();
                close(&got, &back, tolerance, &format!("transposed {index}"));
                let got = Cpu.convolve_weight(&x, &y, &case.windows, manner).unwrap();
                // Winograd's way adds up both factors before it multiplies them: here its errors are larger.
                close(&got, &gradient, 3.0 * tolerance, &format!("weight {index}"));
            }
        }
    }
}

#[test]
fn all_three_directions_follow_the_definition() {
    check(DType::F64, 1e-12);
    check(DType::F32, 2e-5);
}

#[test]
fn half_precision_is_the_f32_result_rounded_once() {
    let case = &cases()[1];
    let half = operands(case).map(|value| Cpu.cast(&value, DType::BF16).unwrap());
    let wide = half.each_ref().map(|value| Cpu.cast(value, DType::F32).unwrap());
    let rounded = Cpu.convolve(&wide[0], &wide[1], None, &case.windows, case.manner()).unwrap();
    let rounded = Cpu.cast(&rounded, DType::BF16).unwrap();
    let got = Cpu.convolve(&half[0], &half[1], None, &case.windows, case.manner()).unwrap();
    assert_eq!(got.dense::<half::bf16>().unwrap(), rounded.dense::<half::bf16>().unwrap());
}

#[test]
fn threads_do_not_change_a_bit() {
    fn bits<T: Element>(value: &Value) -> Vec<u64> {
        value.dense::<T>().unwrap().iter().map(|x| x.to_f64().to_bits()).collect()
    }
    for case in cases() {
        let [x, weight, y] = operands(&case).map(|value| Cpu.cast(&value, DType::F32).unwrap());
        let run = |count: usize| {
            threads(count, || {
                let results = [
                    Cpu.convolve(&x, &weight, None, &case.windows, case.manner()).unwrap(),
                    Cpu.convolve_transposed(&y, &weight, None, &case.windows, case.manner()).unwrap(),
                    Cpu.convolve_weight(&x, &y, &case.windows, case.manner()).unwrap(),
                ];
                results.map(|value| bits::<f32>(&value))
            })
        };
        let one = run(1);
        for count in [2, 3, 8] {
            assert!(super::super::parallel::surely_split(|| run(count)) == one);
        }
    }
}

/// What a batch is cut into does not show in an image's results.
#[test]
fn an_image_has_the_same_bits_alone() {
    let suits = |case: &Case| {
        winograd::suits(&Gather::forward(&case.windows), [case.outputs, case.channels], winograd::RESULTS)
    };
    for case in cases().into_iter().filter(|case| case.batch > 1 && case.groups == 1 && suits(case)) {
        let [x, weight, _] = operands(&case).map(|value| Cpu.cast(&value, DType::F32).unwrap());
        let all = Cpu.convolve(&x, &weight, None, &case.windows, case.manner()).unwrap();
        let mut dims = x.dims().to_vec();
        dims[0] = 1;
        let first = Layout::from_parts(Shape::new(&dims).unwrap(), x.layout().strides(), 0);
        let alone = Cpu.convolve(&x.with_layout(first).unwrap(), &weight, None, &case.windows, case.manner()).unwrap();
        let alone = alone.dense::<f32>().unwrap();
        assert_eq!(alone, &all.dense::<f32>().unwrap()[..alone.len()]);
    }
}

/// A direction of the convolution, exactly or not.
type Way<'a> = &'a dyn Fn(&[Value; 3], bool) -> Value;

/// Another sum than the exact one, and about as near to what f64 gives; a weight's gradient is somewhat further off.
#[test]
fn winograd_is_as_accurate_as_the_exact_sum() {
    let case = Case {
        batch: 1,
        channels: 32,
        outputs: 16,
        groups: 1,
        windows: [Sliding::POINT, axis(20, 3, 1, 1, 1), axis(20, 3, 1, 1, 1)],
    };
    let wide = operands(&case);
    let narrow = wide.each_ref().map(|value| Cpu.cast(value, DType::F32).unwrap());
    let forward = |[x, weight, _]: &[Value; 3], exact| {
        Cpu.convolve(x, weight, None, &case.windows, Manner { groups: 1, exact, at_rest: false }).unwrap()
    };
    let back = |[_, weight, y]: &[Value; 3], exact| {
        Cpu.convolve_transposed(y, weight, None, &case.windows, Manner { groups: 1, exact, at_rest: false }).unwrap()
    };
    let weight = |[x, _, y]: &[Value; 3], exact| {
        Cpu.convolve_weight(x, y, &case.windows, Manner { groups: 1, exact, at_rest: false }).unwrap()
    };
    let runs: [(Way, f64); 3] = [(&forward, 2.0), (&back, 2.0), (&weight, 4.0)];
    for (run, most) in runs {
        let (wanted, direct, faster) = (run(&wide, true), run(&narrow, true), run(&narrow, false));
        assert_ne!(direct.dense::<f32>().unwrap(), faster.dense::<f32>().unwrap());
        let error = |got: &Value| {
            let pairs = got.dense::<f32>().unwrap().iter().zip(wanted.dense::<f64>().unwrap());
            pairs.map(|(&got, wanted)| (f64::from(got) - wanted).powi(2)).sum::<f64>().sqrt()
        };
        assert!(error(&faster) < most * error(&direct), "{:e} and {:e}", error(&direct), error(&faster));
    }
}
