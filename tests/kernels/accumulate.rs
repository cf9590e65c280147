//! Gradients of several sizes in one launch: what they come to together, and all of them times one factor.

use super::support::{Number, Random, in_every_order, near, run};
use crate::emulator::call::{Buffer, Plain, bytes};

/// `struct Stretches` of `kernels/accumulate.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stretches {
    lines: [[u64; 3]; 128],
}
impl Plain for Stretches {}

fn address(buffer: &Buffer) -> u64 {
    u64::from_ne_bytes(buffer.argument().try_into().expect("an address"))
}

fn table(from: &[Buffer], to: &[Buffer], counts: &[usize]) -> Stretches {
    let mut lines = [[0; 3]; 128];
    for (at, line) in lines.iter_mut().enumerate().take(counts.len()) {
        *line = [address(&from[at]), to.get(at).map_or(0, address), counts[at] as u64];
    }
    Stretches { lines }
}

const COUNTS: [usize; 4] = [5, 9000, 0, 1030];

fn judged<T: Number>(limit: f64, broken: bool) {
    let mut lists: Vec<Vec<T>> = COUNTS.iter().map(|&count| Random(70 + count as u64).list(count)).collect();
    if broken {
        lists[3][1029] = T::from_f64(f64::NAN);
    }
    let pieces = 3;
    let squares: f64 = lists.iter().flatten().map(|x| x.to_f64() * x.to_f64()).sum();
    let found = in_every_order(|emulator| {
        let from: Vec<Buffer> = lists.iter().map(|list| emulator.buffer(list)).collect();
        let to: Vec<Buffer> = COUNTS.iter().map(|&count| emulator.unwritten::<T>(count)).collect();
        let grid = [pieces, COUNTS.len(), 1];
        let list = bytes(table(&from, &[], &COUNTS));
        let folds = ["squares", "magnitudes"].map(|name| {
            let parts = emulator.unwritten::<f64>(pieces * COUNTS.len());
            run(emulator, &format!("{name}_{}", T::NAME), grid, &[parts.argument(), list.clone()]);
            parts
        });
        let norm = emulator.buffer(&[squares.sqrt()]);
        let arguments = [norm.argument(), bytes(table(&from, &to, &COUNTS)), bytes(limit)];
        run(emulator, &format!("shrink_{}", T::NAME), grid, &arguments);
        folds.into_iter().chain(to).collect()
    });
    let Some(found) = found else { return };
    let sums: Vec<f64> = found[0].read();
    let most: Vec<f64> = found[1].read();
    for (at, list) in lists.iter().enumerate() {
        let own = at * pieces..(at + 1) * pieces;
        let expected: f64 = list.iter().map(|x| x.to_f64() * x.to_f64()).sum();
        near(&format!("squares_{} {at}", T::NAME), &[sums[own.clone()].iter().sum::<f64>()], &[expected]);
        let nan = list.iter().any(|x| x.to_f64().is_nan());
        let greatest = list.iter().fold(0.0f64, |most, x| most.max(x.to_f64().abs()));
        let joined =
            most[own].iter().fold(0.0f64, |most, &x| if most.is_nan() || x.is_nan() { f64::NAN } else { most.max(x) });
        assert!(if nan { joined.is_nan() } else { joined == greatest }, "magnitudes_{} {at}: {joined}", T::NAME);
        let factor = limit / (squares.sqrt() + 1e-6);
        let factor = if factor >= 1.0 { 1.0 } else { factor };
        let expected: Vec<f64> = list.iter().map(|x| x.to_f64() * factor).collect();
        near(&format!("shrink_{} {at}", T::NAME), &found[2 + at].read::<T>(), &expected);
    }
}

#[test]
fn gradients_are_measured_and_shrunk_together() {
    judged::<f32>(2.0, false);
    judged::<f64>(1e9, false);
    judged::<half::bf16>(2.0, false);
    judged::<half::f16>(1e9, false);
    judged::<f32>(2.0, true);
}
