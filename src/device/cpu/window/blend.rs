//! A linear map along each axis of a volume: average pooling, resizing of every kind, and their transposes.
//!
//! An axis at a time, so that a window of `a · b` elements costs `a + b`. Sums are carried in f64 and rounded once.

use super::{five, volumes};
use crate::device::Value;
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel};
use crate::device::window::Blend;
use crate::error::Fault;
use crate::layout::Element;

/// Columns that are summed at once, in registers.
const STRIP: usize = 32;

pub(super) fn blend<T: Element>(x: &Value, blends: [&Blend; 3]) -> Result<Value, Fault> {
    let [_, _, depth, height, width] = five(x)?;
    let sizes = [depth, height, width];
    let counts = blends.map(Blend::count);
    let shape = volumes(x, counts)?;
    let passes = passes(sizes, counts, blends);
    if passes.is_empty() {
        return Ok(x.clone());
    }
    let (volume, outputs): (usize, usize) = (sizes.iter().product(), counts.iter().product());
    let data = x.dense::<T>()?;
    let cost = 1 + volume / outputs.max(1);
    Value::build::<T>(shape, |out| {
        let scratch = || [Vec::new(), Vec::new()];
        parallel::chunks_with(out, outputs, cost, scratch, |scratch: &mut [Vec<f64>; 2], part, out| {
            run(&passes, &data[part * volume..(part + 1) * volume], out, scratch);
        });
    })
}

/// One axis of a volume: `outer` blocks of `size` rows of `inner` elements.
struct Pass<'a> {
    blend: &'a Blend,
    outer: usize,
    inner: usize,
}

/// The axes that change, in the order that keeps what lies between small: where the volume shrinks rows are summed
/// first, where it grows they are filled last.
fn passes(mut sizes: [usize; 3], counts: [usize; 3], blends: [&Blend; 3]) -> Vec<Pass<'_>> {
    let shrinks = counts.iter().product::<usize>() < sizes.iter().product();
    let order = if shrinks { [0, 1, 2] } else { [2, 1, 0] };
    let mut passes = Vec::new();
    for axis in order {
        let blend = blends[axis];
        if !blend.is_identity() {
            let (outer, inner) = (sizes[..axis].iter().product(), sizes[axis + 1..].iter().product());
            passes.push(Pass { blend, outer, inner });
            sizes[axis] = counts[axis];
        }
    }
    passes
}

fn run<T: Element>(passes: &[Pass<'_>], x: &[T], out: &mut [T], [first, second]: &mut [Vec<f64>; 2]) {
    let sized = |buffer: &mut Vec<f64>, pass: &Pass| buffer.resize(pass.outer * pass.blend.count() * pass.inner, 0.0);
    match passes {
        [] => {}
        [only] => simd::run(Along { pass: only, x, out }),
        [a, b] => {
            sized(first, a);
            simd::run(Along { pass: a, x, out: &mut first[..] });
            simd::run(Along { pass: b, x: &first[..], out });
        }
        [a, b, c, ..] => {
            sized(first, a);
            sized(second, b);
            simd::run(Along { pass: a, x, out: &mut first[..] });
            simd::run(Along { pass: b, x: &first[..], out: &mut second[..] });
            simd::run(Along { pass: c, x: &second[..], out });
        }
    }
}

/// One pass from elements of one type to those of another.
struct Along<'a, A, B> {
    pass: &'a Pass<'a>,
    x: &'a [A],
    out: &'a mut [B],
}

impl<A: Element, B: Element> Kernel for Along<'_, A, B> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Along { pass: &Pass { blend, outer, inner }, x, out } = self;
        let (size, count) = (blend.size(), blend.count());
        for block in 0..outer {
            let x = &x[block * size * inner..(block + 1) * size * inner];
            let out = &mut out[block * count * inner..(block + 1) * count * inner];
            if inner == 1 {
                for (output, out) in out.iter_mut().enumerate() {
                    let sum: f64 = blend.terms(output).iter().map(|&(at, weight)| weight * x[at].to_f64()).sum();
                    *out = B::from_f64(sum);
                }
                continue;
            }
            for output in 0..count {
                let row = &mut out[output * inner..(output + 1) * inner];
                for (strip, row) in row.chunks_mut(STRIP).enumerate() {
                    let mut sums = [0.0f64; STRIP];
                    let sums = &mut sums[..row.len()];
                    for &(at, weight) in blend.terms(output) {
                        let x = &x[at * inner + strip * STRIP..][..row.len()];
                        for (sum, &x) in sums.iter_mut().zip(x) {
                            *sum += weight * x.to_f64();
                        }
                    }
                    for (out, &sum) in row.iter_mut().zip(&*sums) {
                        *out = B::from_f64(sum);
                    }
                }
            }
        }
    }
}
