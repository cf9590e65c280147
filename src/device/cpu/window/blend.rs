//! A linear map along each axis of a volume: average pooling, resizing of every kind, and their transposes.
//!
//! An axis at a time, so that a window of `a · b` elements costs `a + b`. Long sums are cut, and their parts
//! added up.

use super::{five, volumes};
use crate::device::Value;
use crate::device::cpu::parallel;
use crate::device::cpu::real::Real;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::window::Blend;
use crate::error::Fault;

/// Columns that are summed at once, in registers.
const STRIP: usize = 32;
/// Terms that are added one after the other; the sums of as many are added up.
const TERMS: usize = 16;

pub(super) fn blend<T: Real>(x: &Value, blends: [&Blend; 3]) -> Result<Value, Fault> {
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
        parallel::chunks_with(out, outputs, cost, scratch, |scratch: &mut [Vec<T>; 2], part, out| {
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

fn run<T: Real>(passes: &[Pass<'_>], x: &[T], out: &mut [T], [first, second]: &mut [Vec<T>; 2]) {
    let sized = |buffer: &mut Vec<T>, pass: &Pass| buffer.resize(pass.outer * pass.blend.count() * pass.inner, T::ZERO);
    match passes {
        [] => {}
        [only] => only.along(x, out),
        [a, b] => {
            sized(first, a);
            a.along(x, first);
            b.along(first, out);
        }
        [a, b, c, ..] => {
            sized(first, a);
            sized(second, b);
            a.along(x, first);
            b.along(first, second);
            c.along(second, out);
        }
    }
}

impl Pass<'_> {
    #[inline(never)]
    fn along<T: Real>(&self, x: &[T], out: &mut [T]) {
        simd::run(Along { pass: self, x, out });
    }
}

struct Along<'a, T> {
    pass: &'a Pass<'a>,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Along<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Along { pass: &Pass { blend, outer, inner }, x, out } = self;
        let (size, count) = (blend.size(), blend.count());
        for block in 0..outer {
            let x = &x[block * size * inner..(block + 1) * size * inner];
            let out = &mut out[block * count * inner..(block + 1) * count * inner];
            if inner == 1 {
                for (output, out) in out.iter_mut().enumerate() {
                    *out = T::ZERO;
                    for terms in blend.terms(output).chunks(TERMS) {
                        *out += terms.iter().fold(T::ZERO, |sum, &(at, weight)| sum + T::narrow(weight) * x[at]);
                    }
                }
                continue;
            }
            for output in 0..count {
                let row = &mut out[output * inner..(output + 1) * inner];
                for (strip, row) in row.chunks_mut(STRIP).enumerate() {
                    row.fill(T::ZERO);
                    for terms in blend.terms(output).chunks(TERMS) {
                        let mut sums = [T::ZERO; STRIP];
                        let sums = &mut sums[..row.len()];
                        for &(at, weight) in terms {
                            let (x, weight) = (&x[at * inner + strip * STRIP..][..row.len()], T::narrow(weight));
                            for (sum, &x) in sums.iter_mut().zip(x) {
                                *sum = weight.times_plus::<FUSED>(x, *sum);
                            }
                        }
                        row.iter_mut().zip(&*sums).for_each(|(out, &sum)| *out += sum);
                    }
                }
            }
        }
    }
}
