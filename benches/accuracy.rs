//! How far the functions of f32 are from the truth, over every f32:
//! `RUSTFLAGS="-C target-cpu=native" cargo bench --bench accuracy`, with names to see only those. `CHAINRULE_EVERY=61` takes one
//! f32 of 61.
//!
//! The truth is ours of f64, which the tests hold against the standard library's (`formula/mathematics/tests.rs`), or, where f32
//! is itself computed in f64, the standard library's if it has one. There are two classes of results: those of processors where
//! products and sums fuse (AVX2, AVX-512) and the portable ones. An error is in units of the last place of the true value, so
//! half a one is what rounding alone costs. An error above a function's bound ends the program as a failure.
//! `docs/accuracy.md` has what it found.
#![allow(missing_docs)] // a benchmark is no library

use chainrule::formula::{F, Number};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// A function, in both classes and in truth, on neighbours: loops that the compiler makes as wide as it may.
struct Row {
    name: &'static str,
    /// The greatest error that there may be.
    bound: f64,
    classes: [Loop<f32>; 2],
    truth: Loop<f64>,
}
type Loop<T> = fn(&[f32], &mut [T]);

/// Applies a function to every number.
#[inline(always)]
fn each<T>(x: &[f32], y: &mut [T], function: impl Fn(f32) -> T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = function(x);
    }
}

macro_rules! row {
    ($name:ident, $bound:literal, $truth:expr) => {
        Row {
            name: stringify!($name),
            bound: $bound,
            classes: [
                |x, y| each(x, y, |x| F::<f32, true>(x).$name().0),
                |x, y| each(x, y, |x| F::<f32, false>(x).$name().0),
            ],
            truth: |x, y| each(x, y, |x| $truth(x as f64)),
        }
    };
}
macro_rules! rows {
    (own: $($own:ident $first:literal,)*; standard: $($standard:ident $as:ident $second:literal,)*) => {
        [$(row!($own, $first, |x| F::<f64, true>(x).$own().0),)* $(row!($standard, $second, f64::$as),)*]
    };
}

fn rows() -> impl IntoIterator<Item = Row> {
    rows! {
        own:
        exp 1.5, exp2 1.5, sigmoid 2.5, tanh 2.5, expm1 2.5, sinh 2.5, cosh 1.5, ln 1.5, log1p 2.5, sqrt 0.5, rsqrt 1.5,
        erf 2.5, asinh 1.5, acosh 1.5, atanh 2.5, floor 0.0, ceil 0.0, round 0.0, trunc 0.0, erfc 2.5, erfinv 2.5, lgamma 2.5,;
        standard:
        sin sin 1.5, cos cos 1.5, tan tan 1.5, cbrt cbrt 1.5, log2 log2 1.5, log10 log10 1.5, asin asin 1.5, acos acos 1.5,
        atan atan 1.5,
    }
}

/// Errors in units of the last place of the right result.
fn errors(got: &[f32], want: &[f64], errors: &mut [f64]) {
    for ((error, &got), &want) in errors.iter_mut().zip(got).zip(want) {
        let size = (want.abs() as f32).min(f32::MAX);
        let unit = (f32::from_bits(size.to_bits() | 1) - f32::from_bits(size.to_bits() & !1)) as f64;
        let off = (got as f64 - want).abs() / unit;
        let same = (got as f64 == want) | (got.is_nan() & want.is_nan()) | (got.is_infinite() & (got == want as f32));
        // A NaN that should be a number, or the other way round, is as wrong as can be.
        *error = if same {
            0.0
        } else if off.is_nan() {
            f64::INFINITY
        } else {
            off
        };
    }
}

/// The greatest of errors, in lanes.
fn most(errors: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 32];
    for errors in errors.as_chunks::<32>().0 {
        for (lane, &error) in lanes.iter_mut().zip(errors) {
            *lane = if error > *lane { error } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f64::max)
}

/// The greatest error of each class over one number of so many, and where it is; by all cores.
fn greatest(row: &Row, every: u32) -> [(f64, f32); 2] {
    const SPAN: u32 = 1 << 12;
    let (next, greatest) = (AtomicU32::new(0), Mutex::new([(0.0, 0.0); 2]));
    let work = || {
        let mut own = [(0.0, 0.0); 2];
        let (mut x, mut got) = ([0.0f32; SPAN as usize], [0.0f32; SPAN as usize]);
        let (mut want, mut off) = ([0.0f64; SPAN as usize], [0.0f64; SPAN as usize]);
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part > u32::MAX / SPAN / every {
                break;
            }
            for (index, x) in (part * SPAN..=part * SPAN + (SPAN - 1)).zip(&mut x) {
                *x = f32::from_bits(index.wrapping_mul(every));
            }
            (row.truth)(&x, &mut want);
            for (class, own) in row.classes.iter().zip(&mut own) {
                class(&x, &mut got);
                errors(&got, &want, &mut off);
                if most(&off) > own.0 {
                    *own = x.iter().zip(&off).fold(*own, |own, (&x, &off)| if off > own.0 { (off, x) } else { own });
                }
            }
        }
        let mut greatest = greatest.lock().expect("nobody panics with it");
        for (greatest, own) in greatest.iter_mut().zip(own) {
            if own.0 > greatest.0 {
                *greatest = own;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(work);
        }
    });
    greatest.into_inner().expect("nobody panicked with it")
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let every = std::env::var("CHAINRULE_EVERY").ok().and_then(|every| every.parse().ok()).unwrap_or(1).max(1);
    let mut right = true;
    println!("| function | fused | at | portable | at |\n|---|---|---|---|---|");
    for row in rows() {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == row.name) {
            continue;
        }
        let [(fused, x), (portable, y)] = greatest(&row, every);
        println!("| {} | {fused:.3} | {x:e} | {portable:.3} | {y:e} |", row.name);
        right &= fused.max(portable) <= row.bound;
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
