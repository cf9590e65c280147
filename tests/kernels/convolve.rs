//! Convolution in its three directions: strides, padding, dilation, groups, volumes, operands that lie another way.

use super::matmul::{itself, to_tf32};
use super::support::{Number, Random, Window, given, launch, near};
use crate::emulator::call::{Plain, bytes};
use half::{bf16, f16};

/// `struct Convolution` of `kernels/convolve.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Convolution {
    windows: [Window; 3],
    batch: i64,
    groups: i64,
    inputs: i64,
    outputs: i64,
    x: [i64; 5],
    weight: [i64; 5],
    y: [i64; 5],
}
impl Plain for Convolution {}

/// An axis: elements, taps, stride, padding on either side, dilation.
type Axis = (i32, i32, i32, i32, i32);
const POINT: Axis = (1, 1, 1, 0, 1);

/// Batch, groups, channels of a group (in, out), axes, pieces of the weight's gradient.
type Case = (usize, usize, [usize; 2], [Axis; 3], usize);
const CASES: [Case; 6] = [
    (2, 1, [3, 5], [POINT, (7, 3, 1, 1, 1), (6, 3, 1, 1, 1)], 1),
    (1, 2, [2, 3], [POINT, (9, 2, 2, 0, 2), (8, 3, 3, 2, 1)], 3),
    (3, 1, [1, 70], [POINT, POINT, (20, 5, 1, 2, 1)], 2),
    (1, 4, [1, 1], [(4, 2, 1, 1, 1), (3, 3, 1, 1, 1), (5, 2, 2, 0, 1)], 1),
    (1, 1, [20, 66], [POINT, (5, 1, 1, 0, 1), (4, 1, 1, 0, 1)], 1),
    (1, 1, [8, 130], [POINT, (5, 3, 1, 1, 1), (6, 3, 2, 1, 1)], 1),
];

fn windows(axes: [Axis; 3]) -> [Window; 3] {
    axes.map(|(size, kernel, stride, before, dilation)| {
        let count = (size + 2 * before - dilation * (kernel - 1) - 1) / stride + 1;
        Window { size, count, kernel, stride, before, dilation }
    })
}
fn volume(windows: &[Window; 3], of: fn(&Window) -> i32) -> [usize; 3] {
    windows.each_ref().map(|w| of(w) as usize)
}
/// The coordinates of all places of a volume.
fn places([a, b, c]: [usize; 3]) -> Vec<[usize; 3]> {
    (0..a * b * c).map(|at| [at / (b * c), at / c % b, at % c]).collect()
}
fn dense(front: [usize; 2], [a, b, c]: [usize; 3]) -> [i64; 5] {
    [front[1] * a * b * c, a * b * c, b * c, c, 1].map(|step| step as i64)
}
/// The same numbers with the channels last in memory, and their steps.
fn channels_last<T: Copy>(list: &[T], second: usize, [a, b, c]: [usize; 3]) -> (Vec<T>, [i64; 5]) {
    let inner = a * b * c;
    let moved = (0..list.len()).map(|at| {
        let (n, place, channel) = (at / (inner * second), at / second % inner, at % second);
        list[(n * second + channel) * inner + place]
    });
    (moved.collect(), [inner * second, 1, b * c * second, c * second, second].map(|step| step as i64))
}

/// Which kernels are asked, and by which tiles.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// `convolve.cu`.
    Plain,
    /// `convolve_tensor.cuh`, with so many rows.
    Tensor(usize),
    /// `depthwise.cu`.
    Depthwise,
}

impl Way {
    fn name(self, direction: &str, t: &str) -> String {
        match self {
            Way::Plain => format!("convolve{direction}_{t}"),
            Way::Tensor(rows) => format!("convolve{direction}_tensor_{rows}_{t}"),
            Way::Depthwise => format!("depthwise{direction}_{t}"),
        }
    }
    /// The grid for what is written: rows, columns, groups; `count` in all.
    fn grid(self, rows: usize, columns: usize, z: usize, count: usize) -> [usize; 3] {
        match self {
            Way::Plain => [columns.div_ceil(64), rows.div_ceil(64), z],
            Way::Tensor(tile) => [columns.div_ceil(128), rows.div_ceil(tile), z],
            Way::Depthwise => [count.div_ceil(256), 1, 1],
        }
    }
}

/// `P`: what pieces of the weight's gradient are kept in; `round`: what becomes of factors.
fn convolutions<T: Number, P: Number>(way: Way, round: fn(f64) -> f64) {
    let t = T::NAME;
    for (case, &(batch, groups, [inputs, outputs], axes, pieces)) in CASES.iter().enumerate() {
        if way == Way::Depthwise && inputs != 1 {
            continue;
        }
        let windows = windows(axes);
        let [sizes, counts, taps] =
            [volume(&windows, |w| w.size), volume(&windows, |w| w.count), volume(&windows, |w| w.kernel)];
        let [size, count, kernel] = [sizes, counts, taps].map(|v| v.iter().product::<usize>());
        let [all_in, all_out] = [groups * inputs, groups * outputs];
        let (x, y): (Vec<T>, Vec<T>) =
            (Random(81).list(batch * all_in * size), Random(82).list(batch * all_out * count));
        let weight: Vec<T> = Random(83).list(all_out * inputs * kernel);
        let bias: [Vec<T>; 2] = [Random(84).list(all_out), Random(85).list(all_in)];

        let rounded = |list: &[T]| list.iter().map(|x| round(x.to_f64())).collect::<Vec<f64>>();
        let (xs, ys, weights) = (rounded(&x), rounded(&y), rounded(&weight));
        let mut forward = vec![0.0; y.len()];
        let (mut back, mut slope) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        for n in 0..batch {
            for o in 0..all_out {
                for (p, place) in places(counts).iter().enumerate() {
                    for c in 0..inputs {
                        for (tap, at) in places(taps).iter().enumerate() {
                            let element: [i64; 3] = std::array::from_fn(|axis| {
                                let w = windows[axis];
                                place[axis] as i64 * w.stride as i64 + at[axis] as i64 * w.dilation as i64
                                    - w.before as i64
                            });
                            if (0..3).any(|axis| element[axis] < 0 || element[axis] >= sizes[axis] as i64) {
                                continue;
                            }
                            let [a, b, d] = element.map(|e| e as usize);
                            let inner = (a * sizes[1] + b) * sizes[2] + d;
                            let from = (n * all_in + o / outputs * inputs + c) * size + inner;
                            let (to, of) = ((n * all_out + o) * count + p, (o * inputs + c) * kernel + tap);
                            forward[to] += xs[from] * weights[of];
                            back[from] += ys[to] * weights[of];
                            slope[of] += xs[from] * ys[to];
                        }
                    }
                }
            }
        }
        forward.iter_mut().enumerate().for_each(|(at, y)| *y += bias[0][at / count % all_out].to_f64());
        back.iter_mut().enumerate().for_each(|(at, x)| *x += bias[1][at / size % all_in].to_f64());

        // Every second case has its channels last in memory.
        let (x, x_steps) =
            if case % 2 == 1 { channels_last(&x, all_in, sizes) } else { (x, dense([batch, all_in], sizes)) };
        let (y, y_steps) =
            if case % 2 == 1 { channels_last(&y, all_out, counts) } else { (y, dense([batch, all_out], counts)) };
        let how = Convolution {
            windows,
            batch: batch as i64,
            groups: groups as i64,
            inputs: inputs as i64,
            outputs: outputs as i64,
            x: x_steps,
            weight: dense([all_out, inputs], taps),
            y: y_steps,
        };
        let (Some(x_at), Some(w_at), Some(y_at)) = (given(&x), given(&weight), given(&y)) else { return };
        let biases = bias.each_ref().map(|list| given(list).unwrap());
        let scale = |list: &[f64]| list.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
        let check = |what: &str, found: Vec<T>, expected: &[f64]| {
            let size = scale(expected);
            let found: Vec<T> = found.iter().map(|x| T::from_f64(x.to_f64() / size)).collect();
            near(&format!("{what}_{t}, case {case}"), &found, &expected.iter().map(|x| x / size).collect::<Vec<_>>());
        };
        let inputs_of =
            |a: &crate::emulator::call::Buffer, bias: usize| [a.argument(), w_at.argument(), biases[bias].argument()];
        let found = launch(
            &way.name("", t),
            way.grid(outputs, batch * count, groups, forward.len()),
            &inputs_of(&x_at, 0),
            forward.len(),
            &[bytes(how)],
        );
        check("convolve", found.unwrap(), &forward);
        let found = launch(
            &way.name("_transposed", t),
            way.grid(inputs, batch * size, groups, back.len()),
            &inputs_of(&y_at, 1),
            back.len(),
            &[bytes(how)],
        );
        check("convolve_transposed", found.unwrap(), &back);
        let numbers = [bytes(how), bytes(pieces as i32)];
        let grid = match way {
            Way::Depthwise => [all_out, pieces, kernel.div_ceil(9)],
            _ => way.grid(outputs, inputs * kernel, groups * pieces, 0),
        };
        let parts: Vec<P> =
            launch(&way.name("_weight", t), grid, &[x_at.argument(), y_at.argument()], pieces * slope.len(), &numbers)
                .unwrap();
        let sums = (0..slope.len())
            .map(|at| T::from_f64((0..pieces).map(|piece| parts[piece * slope.len() + at].to_f64()).sum()));
        check("convolve_weight", sums.collect(), &slope);
    }
}

#[test]
fn convolutions_in_three_directions() {
    convolutions::<f32, f32>(Way::Plain, itself);
    convolutions::<f64, f64>(Way::Plain, itself);
}

#[test]
fn convolutions_on_tensor_cores() {
    convolutions::<bf16, f32>(Way::Tensor(128), itself);
    convolutions::<f16, f32>(Way::Tensor(64), itself);
    convolutions::<f32, f32>(Way::Tensor(128), to_tf32);
    convolutions::<f32, f32>(Way::Tensor(64), to_tf32);
}

#[test]
fn convolutions_of_channels_by_themselves() {
    convolutions::<f32, f32>(Way::Depthwise, itself);
    convolutions::<f64, f64>(Way::Depthwise, itself);
    convolutions::<bf16, f32>(Way::Depthwise, itself);
    convolutions::<f16, f32>(Way::Depthwise, itself);
}
