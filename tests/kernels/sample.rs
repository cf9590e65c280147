//! Volumes read between their elements: by every way, outside and inside, against weights of all elements; gradients as sums of the same.

use super::support::{Number, Random, blocks, given, in_every_order, run};
use crate::emulator::call::{Argument, Buffer, Plain, bytes};

/// `struct Volumes` of `kernels/sample.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Volumes {
    batch: i64,
    channels: i64,
    places: i64,
    sizes: [i32; 3],
    axes: i32,
    outside: i32,
    corners: i32,
}
impl Plain for Volumes {}

const KINDS: [&str; 3] = ["nearest", "linear", "cubic"];

/// The weight that a coordinate gives to each element along an axis, by the meaning of the words: an element weighs what a kernel around the
/// place says; elements beyond the end are zero, the last one, or the mirrored ones.
fn along(kind: usize, at: f64, size: i32, outside: i32, corners: bool) -> Vec<f64> {
    let mut weights = vec![0.0; size as usize];
    // Where a position is found inside.
    let moved = |at: f64| -> f64 {
        let last = size as f64 - 1.0;
        let (low, high) = if corners { (0.0, last) } else { (-0.5, last + 0.5) };
        match outside {
            0 => at,
            1 => at.clamp(0.0, last),
            _ if high <= low => 0.0,
            _ => {
                let mut at = at;
                while !(low..=high).contains(&at) {
                    at = if at < low { 2.0 * low - at } else { 2.0 * high - at };
                }
                at.clamp(0.0, last)
            }
        }
    };
    let mut add = |element: f64, weight: f64| {
        if (0.0..size as f64).contains(&element) {
            weights[element as usize] += weight;
        }
    };
    match kind {
        0 => add(moved(at).round_ties_even(), 1.0),
        1 => {
            let at = moved(at);
            for element in [at.floor(), at.floor() + 1.0] {
                add(element, 1.0 - (at - element).abs());
            }
        }
        _ => {
            for tap in -1..=2 {
                let element = at.floor() + tap as f64;
                let (x, a) = ((at - element).abs(), -0.75);
                let weight = if x <= 1.0 {
                    (a + 2.0) * x.powi(3) - (a + 3.0) * x.powi(2) + 1.0
                } else {
                    a * x.powi(3) - 5.0 * a * x.powi(2) + 8.0 * a * x - 4.0 * a
                };
                add(moved(element).round(), weight);
            }
        }
    }
    weights
}

/// The weight of every element of the volume at a place.
fn weights(kind: usize, v: &Volumes, place: &[f64]) -> Vec<f64> {
    let axis = |axis: usize| match place.get(2 - axis) {
        Some(&coordinate) => {
            let size = v.sizes[axis];
            let corners = v.corners != 0;
            let extent = size as f64;
            let at = if corners {
                (coordinate + 1.0) / 2.0 * (extent - 1.0)
            } else {
                ((coordinate + 1.0) * extent - 1.0) / 2.0
            };
            along(kind, at, size, v.outside, corners)
        }
        None => vec![1.0],
    };
    let [depth, height, width] = [0, 1, 2].map(axis);
    let mut all = Vec::new();
    for d in &depth {
        for h in &height {
            all.extend(width.iter().map(|w| d * h * w));
        }
    }
    all
}

/// Values, the gradient of the volumes, and that of the grid.
fn there<T: Number>(kind: usize, v: &Volumes, given: [&Buffer; 3], terms: usize) -> Option<Vec<Buffer>> {
    let [x, grid, g] = given.map(|buffer| buffer.argument());
    let (batch, channels, places) = (v.batch as usize, v.channels as usize, v.places as usize);
    let elements = v.sizes.iter().product::<i32>() as usize;
    let name = |what: &str| format!("sample{what}_{}_{}", KINDS[kind], T::NAME);
    let block = bytes(*v);
    in_every_order(|emulator| {
        let value = emulator.unwritten::<T>(batch * channels * places);
        let chunk = 2;
        let chunks = channels.div_ceil(chunk);
        let of = |count: usize| [count.div_ceil(1024).max(1), chunks, 1];
        let arguments = [x.clone(), grid.clone(), value.argument(), block.clone(), bytes(chunk as i64)];
        run(emulator, &name(""), of(batch * places), &arguments);

        let (for_grid, count, all) =
            (emulator.unwritten::<T>(batch * places * v.axes as usize), batch * places * terms, batch * elements);
        let arguments = [g.clone(), x.clone(), grid.clone(), for_grid.argument(), block.clone()];
        run(emulator, &name("_grid_gradient"), blocks(batch * places), &arguments);

        let (listed, heavy) = (emulator.unwritten::<i32>(count), emulator.unwritten::<T>(count));
        run(
            emulator,
            &name("_terms"),
            blocks(batch * places),
            &[grid.clone(), listed.argument(), heavy.argument(), block.clone()],
        );
        let zeros = |count: usize| emulator.buffer(&vec![0i32; count]);
        let (counts, starts, cursor, filled) = (zeros(all), zeros(all), zeros(1), zeros(all));
        let (list, ordered) = (zeros(count), zeros(count));
        let one = |name: &str, buffers: &[&Buffer], count: usize, grid: [usize; 3]| {
            let mut arguments: Vec<Argument> = buffers.iter().map(|buffer| buffer.argument()).collect();
            arguments.push(bytes(count as i64));
            run(emulator, name, grid, &arguments);
        };
        one("sample_count_i32", &[&listed, &counts], count, blocks(count));
        one("sample_begin_i32", &[&counts, &starts, &cursor], all, [all.div_ceil(256), 1, 1]);
        one("sample_list_i32", &[&listed, &starts, &filled, &list], count, blocks(count));
        one("sample_order_i32", &[&listed, &starts, &counts, &list, &ordered], count, blocks(count));
        let for_x = emulator.unwritten::<T>(batch * channels * elements);
        let mut arguments: Vec<Argument> = vec![g.clone()];
        arguments.extend([&starts, &counts, &ordered, &heavy, &for_x].map(|buffer| buffer.argument()));
        arguments.extend([block.clone(), bytes(terms as i64), bytes(chunk as i64)]);
        run(emulator, &format!("sample_gather_{}", T::NAME), of(all), &arguments);
        vec![value, for_x, for_grid]
    })
}

/// Places are rounded before they are read at, so numbers are as near as ten roundings.
fn near<T: Number>(what: &str, found: &Buffer, expected: &[f64]) {
    let found: Vec<T> = found.read();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found.to_f64() - expected).abs() <= 10.0 * T::CLOSE * expected.abs().max(1.0);
        assert!(close, "{what}, number {at}: {found:?} instead of {expected}");
    }
}

fn compared<T: Number>(kind: usize, sizes: [i32; 3], axes: i32) {
    let (batch, channels, places) = (2usize, 5usize, 37usize);
    let elements = sizes.iter().product::<i32>() as usize;
    let mut random = Random(131);
    let x: Vec<T> = random.list(batch * channels * elements);
    let g: Vec<T> = random.list(batch * channels * places);
    let mut grid: Vec<T> = (0..batch * places * axes as usize).map(|_| T::from_f64(random.number() * 2.7)).collect();
    // At corners, at the middle, far outside; several places at one.
    for (at, number) in [-1.0, 1.0, 0.0, 0.5, -9.25, 7.0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25].into_iter().enumerate() {
        grid[at] = T::from_f64(number);
    }
    let wide = |list: &[T]| list.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let (wide_x, wide_g, wide_grid) = (wide(&x), wide(&g), wide(&grid));
    let (Some(x), Some(grid), Some(g)) = (given(&x), given(&grid), given(&g)) else { return };
    let terms = [1usize, 2, 4][kind].pow(axes as u32);
    for outside in 0..3 {
        for corners in [0, 1] {
            let v = Volumes {
                batch: batch as i64,
                channels: channels as i64,
                places: places as i64,
                sizes,
                axes,
                outside,
                corners,
            };
            let found = there::<T>(kind, &v, [&x, &grid, &g], terms).unwrap();
            let (mut value, mut for_x) = (vec![0.0; wide_g.len()], vec![0.0; wide_x.len()]);
            let mut for_grid = vec![f64::NAN; wide_grid.len()];
            for item in 0..batch {
                for place in 0..places {
                    let row = (item * places + place) * axes as usize;
                    let weigh = |place: &[f64]| weights(kind, &v, place);
                    let at = &wide_grid[row..][..axes as usize];
                    // What arrives at a place, times what is read there.
                    let total = |weights: &[f64]| -> f64 {
                        (0..channels)
                            .map(|channel| {
                                let from = &wide_x[(item * channels + channel) * elements..][..elements];
                                let read: f64 = from.iter().zip(weights).map(|(x, w)| x * w).sum();
                                read * wide_g[(item * channels + channel) * places + place]
                            })
                            .sum()
                    };
                    let weights = weigh(at);
                    for channel in 0..channels {
                        let volume = item * channels + channel;
                        let from = &wide_x[volume * elements..][..elements];
                        value[volume * places + place] = from.iter().zip(&weights).map(|(x, w)| x * w).sum();
                        for (to, weight) in for_x[volume * elements..].iter_mut().zip(&weights) {
                            *to += weight * wide_g[volume * places + place];
                        }
                    }
                    for axis in 0..axes as usize {
                        let moved = |by: f64| {
                            let mut there = at.to_vec();
                            there[axis] += by;
                            total(&weigh(&there))
                        };
                        let (right, left, here) = (moved(1e-6), moved(-1e-6), moved(0.0));
                        // Not at kinks, where both sides differ, nor where a step jumps.
                        let smooth = ((right - here) - (here - left)).abs() < 1e-10 * (1.0 + here.abs());
                        if smooth || kind == 0 {
                            for_grid[row + axis] = if kind == 0 { 0.0 } else { (right - left) / 2e-6 };
                        }
                    }
                }
            }
            let what = format!("{} of {sizes:?}, outside {outside}, corners {corners}", KINDS[kind]);
            near::<T>(&what, &found[0], &value);
            near::<T>(&format!("gradient of {what}"), &found[1], &for_x);
            let mut smooth = 0;
            for (at, (found, &expected)) in found[2].read::<T>().iter().zip(&for_grid).enumerate() {
                smooth += usize::from(!expected.is_nan());
                let tolerance = (1e-4 + 30.0 * T::CLOSE) * expected.abs().max(1.0);
                let close = (found.to_f64() - expected).abs() < tolerance;
                assert!(
                    close || expected.is_nan(),
                    "gradient of the grid, {what}, {at}: {found:?} instead of {expected}"
                );
            }
            assert!(2 * smooth > for_grid.len(), "{what}: {smooth} of {}", for_grid.len());
        }
    }
}

#[test]
fn images_are_read_between_their_elements() {
    compared::<f64>(0, [1, 5, 4], 2);
    compared::<f64>(1, [1, 5, 4], 2);
    compared::<f64>(2, [1, 4, 5], 2);
    compared::<f32>(1, [1, 1, 6], 2);
}

#[test]
fn volumes_are_read_between_their_elements() {
    compared::<f64>(1, [3, 4, 2], 3);
    compared::<f64>(0, [3, 1, 4], 3);
}
