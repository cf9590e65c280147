//! Windows over volumes: the greatest of each, what is put back at places, linear maps, columns of windows.

use super::support::{Number, Random, Window, blocks, given, in_every_order, launch, near, run};
use crate::emulator::call::{Plain, bytes};
use half::bf16;

#[repr(C)]
#[derive(Clone, Copy)]
struct Windows([Window; 3]);
impl Plain for Windows {}

const fn axis(size: i32, count: i32, kernel: i32, stride: i32, before: i32, dilation: i32) -> Window {
    Window { size, count, kernel, stride, before, dilation }
}
const POINT: Window = axis(1, 1, 1, 1, 0, 1);
const CASES: [[Window; 3]; 4] = [
    [POINT, axis(7, 7, 3, 1, 1, 1), axis(6, 3, 2, 2, 0, 1)],
    [axis(3, 2, 2, 1, 0, 1), axis(5, 3, 2, 2, 1, 2), axis(4, 4, 1, 1, 0, 1)],
    [POINT, axis(7, 3, 0, 0, 0, 0), axis(5, 8, 0, 0, 0, 0)],
    [POINT, POINT, axis(2, 4, 2, 2, 3, 1)],
];

impl Window {
    /// The elements of a window, in order; with `None` for padding.
    fn elements(&self, output: i32) -> Vec<Option<usize>> {
        if self.kernel == 0 {
            let end = ((output + 1) * self.size + self.count - 1) / self.count;
            return (output * self.size / self.count..end).map(|at| Some(at as usize)).collect();
        }
        let at = |tap| output * self.stride + tap * self.dilation - self.before;
        (0..self.kernel).map(|tap| (0..self.size).contains(&at(tap)).then_some(at(tap) as usize)).collect()
    }
}

/// The windows of a volume: for each its taps in order, as places in the volume.
fn windows([a, b, c]: &[Window; 3]) -> Vec<Vec<Option<usize>>> {
    let mut all = Vec::new();
    for out in 0..a.count * b.count * c.count {
        let (p, q, r) = (out / (b.count * c.count), out / c.count % b.count, out % c.count);
        let mut taps = Vec::new();
        for z in a.elements(p) {
            for y in b.elements(q) {
                for x in c.elements(r) {
                    let place = |z: usize, y: usize, x: usize| (z * b.size as usize + y) * c.size as usize + x;
                    taps.push(z.zip(y).zip(x).map(|((z, y), x)| place(z, y, x)));
                }
            }
        }
        all.push(taps);
    }
    all
}

const VOLUMES: usize = 5;

fn extremes<T: Number>() {
    for case in &CASES {
        let (windows, elements) = (windows(case), case.iter().map(|w| w.size as usize).product::<usize>());
        let list = Random(91).list::<T>(VOLUMES * elements);
        let mut x: Vec<T> = list.iter().map(|x| T::from_f64((x.to_f64() * 4.0).round())).collect();
        x[0] = T::from_f64(f64::NAN);
        x[elements..2 * elements].fill(T::from_f64(f64::NEG_INFINITY));
        let Some(from) = given(&x) else { return };
        let count = VOLUMES * windows.len();
        let found = in_every_order(|emulator| {
            let (y, places) = (emulator.unwritten::<T>(count), emulator.unwritten::<i32>(count));
            let arguments =
                [from.argument(), y.argument(), places.argument(), bytes(count as i64), bytes(Windows(*case))];
            run(emulator, &format!("max_windows_{}", T::NAME), blocks(count), &arguments);
            vec![y, places]
        })
        .unwrap();
        let (y, places) = (found[0].read::<T>(), found[1].read::<i32>());
        for at in 0..count {
            let volume = &x[at / windows.len() * elements..][..elements];
            let taps: Vec<usize> = windows[at % windows.len()].iter().copied().flatten().collect();
            let nan = taps.iter().find(|&&place| volume[place].to_f64().is_nan());
            let best = taps.iter().rev().max_by(|&&a, &&b| volume[a].to_f64().total_cmp(&volume[b].to_f64()));
            // Of equal ones the first, which 0 and -0 are too.
            let first =
                best.and_then(|&best| taps.iter().find(|&&place| volume[place].to_f64() == volume[best].to_f64()));
            let expected = nan.or(first).or(best);
            assert_eq!(places[at], expected.map_or(-1, |&place| place as i32), "{} {at}", T::NAME);
            let value = expected.map_or(f64::NEG_INFINITY, |&place| volume[place].to_f64());
            assert!(y[at].to_f64() == value || value.is_nan() && y[at].to_f64().is_nan());
        }
    }
}

#[test]
fn the_greatest_of_each_window_and_its_place() {
    extremes::<f32>();
    extremes::<f64>();
    extremes::<bf16>();
}

#[test]
fn numbers_are_put_at_places_and_picked_from_them() {
    let (windows, elements) = (40, 12);
    let mut random = Random(92);
    let mut places: Vec<i64> = (0..VOLUMES * windows).map(|_| (random.word() % 13) as i64 - 1).collect();
    let x: Vec<f32> = random.list(places.len());
    let volumes: Vec<f32> = random.list(VOLUMES * elements);
    for fault in [u64::MAX, 4 << 40 | 77] {
        if fault != u64::MAX {
            places[77] = 12;
        }
        let (Some(x_at), Some(at), Some(from)) = (given(&x), given(&places), given(&volumes)) else { return };
        let found = in_every_order(|emulator| {
            let (y, word) = (emulator.buffer(&vec![0f32; VOLUMES * elements]), emulator.buffer(&[u64::MAX]));
            let mut arguments = vec![x_at.argument(), at.argument(), y.argument()];
            arguments.extend([VOLUMES, windows, elements].map(|n| bytes(n as i64)));
            arguments.extend([word.argument(), bytes(4u64)]);
            run(emulator, "scatter_volumes_f32", [1, 1, 1], &arguments);
            let picked = emulator.unwritten::<f32>(places.len());
            (arguments[0], arguments[2]) = (from.argument(), picked.argument());
            arguments[3] = bytes(places.len() as i64);
            run(emulator, "pick_volumes_4", [1, 1, 1], &arguments);
            vec![y, picked, word]
        })
        .unwrap();
        let (mut sums, mut picked) = (vec![0.0; VOLUMES * elements], vec![0f32; places.len()]);
        for (i, &place) in places.iter().enumerate().filter(|(_, place)| (0..12).contains(*place)) {
            sums[i / windows * elements + place as usize] += x[i] as f64;
            picked[i] = volumes[i / windows * elements + place as usize];
        }
        near("scatter_volumes", &found[0].read::<f32>(), &sums);
        assert_eq!(found[1].read::<f32>(), picked);
        assert_eq!(found[2].read::<u64>(), [fault]);
    }
}

#[test]
fn windows_become_columns_and_columns_are_added_up() {
    for case in CASES.iter().filter(|case| case.iter().all(|w| w.kernel > 0)) {
        let (windows, elements) = (windows(case), case.iter().map(|w| w.size as usize).product::<usize>());
        let taps = windows[0].len();
        let (x, columns): (Vec<f32>, Vec<f32>) =
            (Random(93).list(VOLUMES * elements), Random(94).list(VOLUMES * taps * windows.len()));
        let (Some(x_at), Some(columns_at)) = (given(&x), given(&columns)) else { return };
        let numbers = |count: usize| [bytes(count as i64), bytes(Windows(*case))];
        let count = columns.len();
        let found: Vec<f32> = launch("unfold_4", blocks(count), &[x_at.argument()], count, &numbers(count)).unwrap();
        let mut sums = vec![0.0; x.len()];
        for (at, &y) in found.iter().enumerate() {
            let (volume, tap, window) = (at / windows.len() / taps, at / windows.len() % taps, at % windows.len());
            let place = windows[window][tap].map(|place| volume * elements + place);
            assert_eq!(y, place.map_or(0.0, |place| x[place]));
            place.into_iter().for_each(|place| sums[place] += columns[at] as f64);
        }
        let found: Vec<f32> =
            launch("fold_f32", blocks(x.len()), &[columns_at.argument()], x.len(), &numbers(x.len())).unwrap();
        near("fold_f32", &found, &sums);
    }
}

#[test]
fn an_axis_goes_through_a_linear_map() {
    let (outer, size, inner, outputs) = (3, 4, 5, 3);
    let (starts, places) = ([0i64, 2, 2, 5], [0i64, 3, 1, 1, 2]);
    let (x, weights): (Vec<f64>, Vec<f64>) = (Random(95).list(outer * size * inner), Random(96).list(5));
    let (Some(x_at), Some(s), Some(p), Some(w)) = (given(&x), given(&starts), given(&places), given(&weights)) else {
        return;
    };
    let count = outer * outputs * inner;
    let mut numbers = [&s, &p, &w].map(|buffer| buffer.argument()).to_vec();
    numbers.extend([count, size, outputs, inner].map(|n| bytes(n as i64)));
    let found: Vec<f64> = launch("blend_f64", blocks(count), &[x_at.argument()], count, &numbers).unwrap();
    let expected: Vec<f64> = (0..count)
        .map(|at| {
            let (o, i, k) = (at / (outputs * inner), at / inner % outputs, at % inner);
            let terms = starts[i] as usize..starts[i + 1] as usize;
            terms.map(|t| weights[t] * x[(o * size + places[t] as usize) * inner + k]).sum()
        })
        .collect();
    near("blend_f64", &found, &expected);
}
