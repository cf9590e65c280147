//! One mean and scale for each channel (batch norm), forward and backward.
//!
//! With x̂ = (x - mean) · scale, y = x̂ w + b and n numbers in a channel:
//! ∂L/∂x = scale · w · (g - Σ g / n - x̂ Σ g x̂ / n) where mean and scale are the batch's own, else scale · w · g.

use super::PIECE;
use super::standard::{affine, run_sums};
use crate::device::Value;
use crate::device::cpu::parallel;
use crate::device::cpu::real::{Real, alone};
use crate::device::cpu::simd::{self, SimdLevel};
use crate::device::rows::ThreeGradients;
use crate::error::Fault;
use crate::layout::Shape;

/// The sizes as `[batch, channels, inner]`.
#[derive(Clone, Copy)]
struct Sizes {
    channels: usize,
    inner: usize,
}

impl Sizes {
    fn of(x: &Value) -> Sizes {
        let dims = x.dims();
        Sizes {
            channels: dims.get(1).copied().unwrap_or(1).max(1),
            inner: dims.iter().skip(2).product::<usize>().max(1),
        }
    }
    /// Whole examples that one thread takes.
    fn chunk(self) -> usize {
        let example = self.channels * self.inner;
        (PIECE / example).max(1) * example
    }
}

/// What is done to each number of a channel: `(x - mean) · scale + shift`.
struct Affine<T> {
    mean: Vec<T>,
    scale: Vec<T>,
    shift: Vec<T>,
}

pub(super) fn forward<T: Real>(
    x: &Value,
    (mean, scale): (&Value, &Value),
    weight: Option<&Value>,
    bias: Option<&Value>,
) -> Result<Value, Fault> {
    let sizes = Sizes::of(x);
    let data = x.dense::<T>()?;
    let mut scales = scale.dense::<T>()?.to_vec();
    if let Some(weight) = weight {
        for (scale, &weight) in scales.iter_mut().zip(weight.dense::<T>()?) {
            *scale *= weight;
        }
    }
    let shift = match bias {
        Some(bias) => bias.dense::<T>()?.to_vec(),
        None => vec![T::ZERO; sizes.channels],
    };
    let affine = Affine { mean: mean.dense::<T>()?.to_vec(), scale: scales, shift };
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, sizes.chunk(), 2, |index, out| {
            let x = &data[index * sizes.chunk()..][..out.len()];
            simd::run(Forward { x, out, affine: &affine, sizes });
        });
    })
}

struct Forward<'a, T> {
    x: &'a [T],
    out: &'a mut [T],
    affine: &'a Affine<T>,
    sizes: Sizes,
}

impl<T: Real> simd::Kernel for Forward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Sizes { channels, inner } = self.sizes;
        let Affine { mean, scale, shift } = self.affine;
        if inner == 1 {
            for (x, out) in self.x.chunks(channels).zip(self.out.chunks_mut(channels)) {
                for ((((out, &x), &mean), &scale), &shift) in out.iter_mut().zip(x).zip(mean).zip(scale).zip(shift) {
                    *out = (alone(x) - mean).times_plus::<FUSED>(scale, shift);
                }
            }
            return;
        }
        for (run, (x, out)) in self.x.chunks(inner).zip(self.out.chunks_mut(inner)).enumerate() {
            let channel = run % channels;
            affine::<T, FUSED>(x, out, mean[channel], scale[channel], shift[channel]);
        }
    }
}

pub(super) fn gradient<T: Real>(
    x: &Value,
    (mean, scale): (&Value, &Value),
    weight: Option<&Value>,
    g: &Value,
    batch: bool,
    wanted: [bool; 3],
) -> Result<ThreeGradients, Fault> {
    let sizes = Sizes::of(x);
    let Sizes { channels, inner } = sizes;
    let (x_all, g_all) = (x.dense::<T>()?, g.dense::<T>()?);
    let (mean, scale) = (mean.dense::<T>()?, scale.dense::<T>()?);
    let weight = weight.map(|weight| weight.dense::<T>()).transpose()?;
    let examples = x.count() / (channels * inner);
    let mut sums = vec![(0.0, 0.0); channels];
    if wanted[1] || wanted[2] || (wanted[0] && batch) {
        // A few parts, cut by the number of examples alone; each sums its channels on its own.
        let each = examples.div_ceil(32).max((PIECE / (channels * inner)).max(1));
        let parts = examples.div_ceil(each);
        let mut partial = vec![(0.0, 0.0); parts * channels];
        parallel::chunks(&mut partial, channels, each * inner * 2, |part, sums| {
            let range = part * each * channels * inner..((part + 1) * each).min(examples) * channels * inner;
            simd::run(Sums { x: &x_all[range.clone()], g: &g_all[range], mean, scale, sums, sizes });
        });
        for part in partial.chunks(channels) {
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = (sum.0 + part.0, sum.1 + part.1);
            }
        }
    }
    let input = if wanted[0] {
        let count = (examples * inner) as f64;
        // there may be no channel at all
        let terms: Vec<[T; 4]> = (0..mean.len())
            .map(|channel| {
                let (plain, with) = if batch { sums[channel] } else { (0.0, 0.0) };
                let factor = scale[channel] * weight.map_or(T::ONE, |weight| weight[channel]);
                [factor, T::narrow(plain / count), T::narrow(with / count) * scale[channel], mean[channel]]
            })
            .collect();
        Some(Value::build::<T>(*x.shape(), |out| {
            parallel::chunks(out, sizes.chunk(), 4, |index, out| {
                let range = index * sizes.chunk()..index * sizes.chunk() + out.len();
                simd::run(Backward { x: &x_all[range.clone()], g: &g_all[range], out, terms: &terms, sizes });
            });
        })?)
    } else {
        None
    };
    let shape = Shape::new(&[x.dims().get(1).copied().unwrap_or(1)])?;
    let total = |pick: fn(&(f64, f64)) -> f64| {
        Value::build::<T>(shape, |out| {
            for (out, sum) in out.iter_mut().zip(&sums) {
                *out = T::narrow(pick(sum));
            }
        })
    };
    Ok([
        input,
        if wanted[1] { Some(total(|sum| sum.1)?) } else { None },
        if wanted[2] { Some(total(|sum| sum.0)?) } else { None },
    ])
}

/// Σ g and Σ g x̂ of each channel.
struct Sums<'a, T> {
    x: &'a [T],
    g: &'a [T],
    mean: &'a [T],
    scale: &'a [T],
    sums: &'a mut [(f64, f64)],
    sizes: Sizes,
}

impl<T: Real> simd::Kernel for Sums<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Sizes { channels, inner } = self.sizes;
        if inner == 1 {
            for (x, g) in self.x.chunks(channels).zip(self.g.chunks(channels)) {
                let each = self.sums.iter_mut().zip(x).zip(g).zip(self.mean).zip(self.scale);
                for ((((sum, &x), &g), &mean), &scale) in each {
                    let g = alone(g);
                    sum.0 += g.wide();
                    sum.1 += (g * ((x - mean) * scale)).wide();
                }
            }
            return;
        }
        for (run, (x, g)) in self.x.chunks(inner).zip(self.g.chunks(inner)).enumerate() {
            let channel = run % channels;
            let (plain, with) = run_sums::<T, FUSED>(x, g, self.mean[channel], self.scale[channel]);
            self.sums[channel].0 += plain;
            self.sums[channel].1 += with;
        }
    }
}

/// `factor · (g - plain - (x - mean) · with)`.
struct Backward<'a, T> {
    x: &'a [T],
    g: &'a [T],
    out: &'a mut [T],
    terms: &'a [[T; 4]],
    sizes: Sizes,
}

impl<T: Real> simd::Kernel for Backward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Sizes { channels, inner } = self.sizes;
        for (run, ((x, g), out)) in
            self.x.chunks(inner).zip(self.g.chunks(inner)).zip(self.out.chunks_mut(inner)).enumerate()
        {
            let [factor, plain, with, mean] = self.terms[run % channels];
            for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
                *out = factor * ((g - plain) - (alone(x) - mean) * with);
            }
        }
    }
}
