//! Rows standardised (layer, RMS, group and instance norm), forward and backward.
//!
//! With x̂ = (x - mean) · scale, y = x̂ w + b and a = g w:
//! ∂L/∂x = scale · (a - mean(a) - x̂ mean(a x̂)); without centring the mean(a) falls away.

use super::PIECE;
use crate::device::Value;
use crate::device::cpu::parallel;
use crate::device::cpu::real::{Lanes, Real, alone, sum_of, total};
use crate::device::cpu::reduce::{Moments, SPAN};
use crate::device::cpu::simd::{self, SimdLevel};
use crate::device::rows::{Standard, Standardized, ThreeGradients};
use crate::error::Fault;
use crate::layout::Shape;

/// Numbers folded in one go.
const BLOCK: usize = 512;

impl Standard {
    /// Where the weights of a row begin.
    fn weights_from(&self, row: usize) -> usize {
        row % self.groups * self.runs()
    }
    /// Weights of a row.
    fn runs(&self) -> usize {
        self.length / self.run.max(1)
    }
}

pub(super) fn forward<T: Real>(
    x: &Value,
    weight: Option<&Value>,
    bias: Option<&Value>,
    standard: Standard,
) -> Result<Standardized, Fault> {
    let length = standard.length.max(1);
    let rows = x.count() / length;
    let data = x.dense::<T>()?;
    let weight = weight.map(|weight| weight.dense::<T>()).transpose()?;
    let bias = bias.map(|bias| bias.dense::<T>()).transpose()?;
    let each = (PIECE / length).max(1);
    let mut statistics = vec![(T::ZERO, T::ZERO); rows];
    let output = Value::build::<T>(*x.shape(), |out| {
        parallel::chunks_pair((out, each * length), (&mut statistics, each), length * 2, |index, out, statistics| {
            let first = index * each;
            let x = &data[first * length..][..out.len()];
            simd::run(Forward { x, out, statistics, weight, bias, first, standard });
        });
    })?;
    let shape = Shape::new(&[rows])?;
    let column = |pick: fn(&(T, T)) -> T| {
        Value::build::<T>(shape, |out| {
            for (out, pair) in out.iter_mut().zip(&statistics) {
                *out = pick(pair);
            }
        })
    };
    Ok(Standardized { output, mean: column(|pair| pair.0)?, scale: column(|pair| pair.1)? })
}

struct Forward<'a, T> {
    x: &'a [T],
    out: &'a mut [T],
    statistics: &'a mut [(T, T)],
    weight: Option<&'a [T]>,
    bias: Option<&'a [T]>,
    first: usize,
    standard: Standard,
}

impl<T: Real> simd::Kernel for Forward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let standard = self.standard;
        let rows = self.x.chunks(standard.length).zip(self.out.chunks_mut(standard.length)).zip(self.statistics);
        for (row, ((x, out), statistics)) in rows.enumerate() {
            let (mut mean, mut squares) = (0.0, 0.0);
            if standard.center {
                let mut moments = Moments::EMPTY;
                for block in x.chunks(SPAN) {
                    moments.add(block);
                }
                (mean, squares) = (moments.mean(), moments.spread());
            } else {
                for block in x.chunks(BLOCK) {
                    squares += sum_of(block, |x| x * x);
                }
            }
            let variance = squares / x.len() as f64;
            let (mean, scale) = (T::narrow(mean), T::narrow(1.0 / (variance + standard.epsilon).sqrt()));
            *statistics = (mean, scale);
            let from = standard.weights_from(self.first + row);
            let of = |all: &'_ [T]| -> Range { Range(from, from + standard.runs().min(all.len() - from)) };
            let weight = self.weight.map(|all| of(all).of(all));
            let bias = self.bias.map(|all| of(all).of(all));
            apply_row::<T, FUSED>(x, out, mean, scale, weight, bias, standard.run);
        }
    }
}

/// A range that can be copied.
#[derive(Clone, Copy)]
struct Range(usize, usize);
impl Range {
    #[inline(always)]
    fn of<T>(self, all: &[T]) -> &[T] {
        &all[self.0..self.1]
    }
}

/// `(x - mean) · scale · weight + bias`, each weight for a run of neighbours.
#[inline(always)]
fn apply_row<T: Real, const FUSED: bool>(
    x: &[T],
    out: &mut [T],
    mean: T,
    scale: T,
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    run: usize,
) {
    if run != 1 {
        for (number, (x, out)) in x.chunks(run).zip(out.chunks_mut(run)).enumerate() {
            let scale = weight.map_or(scale, |weight| scale * weight[number]);
            affine::<T, FUSED>(x, out, mean, scale, bias.map_or(T::ZERO, |bias| bias[number]));
        }
        return;
    }
    let each = out.iter_mut().zip(x);
    match (weight, bias) {
        (Some(weight), Some(bias)) => {
            for (((out, &x), &w), &b) in each.zip(weight).zip(bias) {
                *out = ((alone(x) - mean) * scale).times_plus::<FUSED>(w, b);
            }
        }
        (Some(weight), None) => {
            for ((out, &x), &w) in each.zip(weight) {
                *out = (alone(x) - mean) * scale * w;
            }
        }
        (None, Some(bias)) => {
            for ((out, &x), &b) in each.zip(bias) {
                *out = (alone(x) - mean).times_plus::<FUSED>(scale, b);
            }
        }
        (None, None) => affine::<T, FUSED>(x, out, mean, scale, T::ZERO),
    }
}

/// `(x - mean) · scale + bias`.
#[inline(always)]
pub(super) fn affine<T: Real, const FUSED: bool>(x: &[T], out: &mut [T], mean: T, scale: T, bias: T) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = (alone(x) - mean).times_plus::<FUSED>(scale, bias);
    }
}

pub(super) fn gradient<T: Real>(
    x: &Value,
    weight: Option<&Value>,
    (mean, scale): (&Value, &Value),
    g: &Value,
    standard: Standard,
    wanted: [bool; 3],
) -> Result<ThreeGradients, Fault> {
    let length = standard.length.max(1);
    let rows = x.count() / length;
    let (x_all, g_all) = (x.dense::<T>()?, g.dense::<T>()?);
    let (mean, scale) = (mean.dense::<T>()?, scale.dense::<T>()?);
    let weight = weight.map(|weight| weight.dense::<T>()).transpose()?;
    let (runs, weights) = (standard.runs(), standard.runs() * standard.groups);
    // Rows are cut into a few parts by their number alone; each part sums the gradients of weight and bias on its own.
    let each = rows.div_ceil(32).max((PIECE / length).max(1)).next_multiple_of(standard.groups.max(1));
    let parts = rows.div_ceil(each.max(1));
    let sums = if wanted[1] || wanted[2] { weights } else { 0 };
    let mut partial = vec![0.0f64; parts * sums * 2];
    let per_part = (sums * 2).max(1);
    let run = |index: usize, out: &mut [T], partial: &mut [f64]| {
        let range = (index * each).min(rows)..((index + 1) * each).min(rows);
        let numbers = range.start * length..range.end * length;
        simd::run(Backward {
            x: &x_all[numbers.clone()],
            g: &g_all[numbers],
            out,
            partial,
            weight,
            mean: &mean[range.clone()],
            scale: &scale[range],
            runs,
            weights,
            standard,
        });
    };
    let input = if wanted[0] {
        Some(Value::build::<T>(*x.shape(), |out| {
            parallel::chunks_pair((out, each * length), (&mut partial, per_part), length * 4, run);
        })?)
    } else {
        parallel::chunks(&mut partial, per_part, each * length / per_part, |index, partial| {
            run(index, &mut [], partial)
        });
        None
    };
    let total = |second: usize| {
        Value::build::<T>(Shape::new(&[weights])?, |out| {
            for (weight, out) in out.iter_mut().enumerate() {
                *out = T::narrow((0..parts).map(|part| partial[part * sums * 2 + second * weights + weight]).sum());
            }
        })
    };
    Ok([input, if wanted[1] { Some(total(0)?) } else { None }, if wanted[2] { Some(total(1)?) } else { None }])
}

struct Backward<'a, T> {
    x: &'a [T],
    g: &'a [T],
    /// Empty where the input wants no gradient.
    out: &'a mut [T],
    /// The sums of g x̂, then those of g, for each weight; empty where neither is wanted.
    partial: &'a mut [f64],
    weight: Option<&'a [T]>,
    mean: &'a [T],
    scale: &'a [T],
    runs: usize,
    weights: usize,
    standard: Standard,
}

impl<T: Real> simd::Kernel for Backward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Standard { run, groups, .. } = self.standard;
        if run == 1 && groups == 1 { self.single::<FUSED>() } else { self.runs::<FUSED>() }
    }
}

impl<T: Real> Backward<'_, T> {
    /// One weight for each number of a row, the same for all rows.
    #[inline(always)]
    fn single<const FUSED: bool>(self) {
        let length = self.standard.length;
        let ones;
        let weight = match self.weight {
            Some(weight) => weight,
            None => {
                ones = vec![T::ONE; length];
                &ones
            }
        };
        // Short sums in the element type, their totals in f64.
        let mut short = vec![T::ZERO; if self.partial.is_empty() { 0 } else { 2 * length }];
        let rows = self.x.chunks(length).zip(self.g.chunks(length)).zip(self.mean.iter().zip(self.scale));
        for (row, ((x, g), (&mean, &scale))) in rows.enumerate() {
            if !self.out.is_empty() {
                let out = &mut self.out[row * length..][..length];
                let (mut sum, mut product) = (0.0, 0.0);
                for ((x, g), w) in x.chunks(BLOCK).zip(g.chunks(BLOCK)).zip(weight.chunks(BLOCK)) {
                    let (a, ax) = sums::<T, FUSED>(x, g, w, mean, scale);
                    sum += a;
                    product += ax;
                }
                let count = length as f64;
                let sum = if self.standard.center { T::narrow(sum / count) } else { T::ZERO };
                let product = T::narrow(product / count);
                for (((out, &x), &g), &w) in out.iter_mut().zip(x).zip(g).zip(weight) {
                    let standard = (alone(x) - mean) * scale;
                    *out = scale * ((g * w - sum) - standard * product);
                }
            }
            if !short.is_empty() {
                let (products, plain) = short.split_at_mut(length);
                for (((product, plain), &x), &g) in products.iter_mut().zip(plain).zip(x).zip(g) {
                    *product += g * ((alone(x) - mean) * scale);
                    *plain += g;
                }
                if row % 32 == 31 {
                    flush(&mut short, self.partial);
                }
            }
        }
        flush(&mut short, self.partial);
    }

    /// One weight for a run of neighbours.
    #[inline(always)]
    fn runs<const FUSED: bool>(self) {
        let (length, run) = (self.standard.length.max(1), self.standard.run.max(1));
        let rows = self.x.chunks(length).zip(self.g.chunks(length)).zip(self.mean.iter().zip(self.scale));
        for (row, ((x, g), (&mean, &scale))) in rows.enumerate() {
            let from = row % self.standard.groups * self.runs;
            let (mut sum, mut product) = (0.0, 0.0);
            for (number, (x, g)) in x.chunks(run).zip(g.chunks(run)).enumerate() {
                let (plain, with) = run_sums::<T, FUSED>(x, g, mean, scale);
                let weight = self.weight.map_or(1.0, |weight| weight[from + number].wide());
                sum += weight * plain;
                product += weight * with;
                if !self.partial.is_empty() {
                    self.partial[from + number] += with;
                    self.partial[self.weights + from + number] += plain;
                }
            }
            if self.out.is_empty() {
                continue;
            }
            let sum = if self.standard.center { T::narrow(sum / length as f64) } else { T::ZERO };
            let product = T::narrow(product / length as f64);
            let out = &mut self.out[row * length..][..length];
            for (number, ((x, g), out)) in x.chunks(run).zip(g.chunks(run)).zip(out.chunks_mut(run)).enumerate() {
                let weight = self.weight.map_or(T::ONE, |weight| weight[from + number]);
                for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
                    let standard = (alone(x) - mean) * scale;
                    *out = scale * ((g * weight - sum) - standard * product);
                }
            }
        }
    }
}

#[inline(always)]
fn flush<T: Real>(short: &mut [T], long: &mut [f64]) {
    for (short, long) in short.iter_mut().zip(long) {
        *long += short.wide();
        *short = T::ZERO;
    }
}

/// Σ g w and Σ g w x̂ over a block.
#[inline(always)]
fn sums<T: Real, const FUSED: bool>(x: &[T], g: &[T], w: &[T], mean: T, scale: T) -> (f64, f64) {
    let (mut plain, mut with) = (T::Lanes::ZERO, T::Lanes::ZERO);
    let ((x, x_rest), (g, g_rest), (w, w_rest)) = (T::Lanes::blocks(x), T::Lanes::blocks(g), T::Lanes::blocks(w));
    for ((x, g), w) in x.iter().zip(g).zip(w) {
        for lane in 0..T::Lanes::COUNT {
            let a = g[lane] * w[lane];
            plain[lane] += a;
            with[lane] += a * (x[lane] - mean);
        }
    }
    if !x_rest.is_empty() {
        let (mut terms, mut apart) = (T::Lanes::ZERO, T::Lanes::ZERO);
        for (lane, ((&x, &g), &w)) in x_rest.iter().zip(g_rest).zip(w_rest).enumerate() {
            (terms[lane], apart[lane]) = (g * w, x - mean);
        }
        add_pair::<T>(&mut plain, &mut with, &terms, &apart);
    }
    (total::<T>(&plain), total::<T>(&with) * scale.wide())
}

/// What does not fill the lanes, by way of arrays of its own (see `add_rest`).
#[inline(always)]
fn add_pair<T: Real>(plain: &mut T::Lanes, with: &mut T::Lanes, terms: &T::Lanes, apart: &T::Lanes) {
    for lane in 0..T::Lanes::COUNT {
        plain[lane] += terms[lane];
        with[lane] += terms[lane] * apart[lane];
    }
}

/// Σ g and Σ g x̂ over a run.
#[inline(always)]
pub(super) fn run_sums<T: Real, const FUSED: bool>(x: &[T], g: &[T], mean: T, scale: T) -> (f64, f64) {
    let (mut plain, mut with) = (0.0, 0.0);
    for (x, g) in x.chunks(BLOCK).zip(g.chunks(BLOCK)) {
        let (sum, product) = centred_dot(x, g, mean);
        plain += sum;
        with += product;
    }
    (plain, with * scale.wide())
}

/// Σ g and Σ g (x - mean) over a block.
#[inline(always)]
fn centred_dot<T: Real>(x: &[T], g: &[T], mean: T) -> (f64, f64) {
    let (mut plain, mut with) = (T::Lanes::ZERO, T::Lanes::ZERO);
    let ((x, x_rest), (g, g_rest)) = (T::Lanes::blocks(x), T::Lanes::blocks(g));
    for (x, g) in x.iter().zip(g) {
        for lane in 0..T::Lanes::COUNT {
            plain[lane] += g[lane];
            with[lane] += g[lane] * (x[lane] - mean);
        }
    }
    if !x_rest.is_empty() {
        let (mut terms, mut apart) = (T::Lanes::ZERO, T::Lanes::ZERO);
        for (lane, (&x, &g)) in x_rest.iter().zip(g_rest).enumerate() {
            (terms[lane], apart[lane]) = (g, x - mean);
        }
        add_pair::<T>(&mut plain, &mut with, &terms, &apart);
    }
    (total::<T>(&plain), total::<T>(&with))
}
