//! Classes above each other, as in a picture with a class for each pixel: `[outer, classes, inner]`, many columns at once.

use super::{NONE, Row, Slope, Targets};
use crate::device::Value;
use crate::device::cpu::parallel;
use crate::device::cpu::real::Real;
use crate::device::cpu::rows::PIECE;
use crate::device::cpu::simd::{self, SimdLevel};
use crate::error::Fault;

/// Columns that go side by side.
const WIDTH: usize = 64;
/// Classes after which a running sum is carried over into double precision.
const BLOCK: usize = 32;

/// The sizes of `[outer, classes, inner]`: classes and inner.
fn sizes<T: Real>(x: &Value, targets: &Targets<'_, T>) -> (usize, usize) {
    let axis = targets.how.axis;
    (x.dims()[axis], x.dims()[axis + 1..].iter().product())
}

pub(super) fn forward<T: Real>(x: &Value, targets: &Targets<'_, T>) -> Result<Vec<Row<T>>, Fault> {
    let (classes, inner) = sizes(x, targets);
    let data = x.dense::<T>()?;
    let mut results = vec![Row { loss: 0.0, greatest: T::ZERO, scale: T::ZERO }; targets.classes.len()];
    let chunk = (PIECE / classes / WIDTH).max(1) * WIDTH;
    parallel::chunks(&mut results, chunk, 4 * classes, |index, out| {
        simd::run(Forward { data, first: index * chunk, classes, inner, targets, out });
    });
    Ok(results)
}

struct Forward<'a, T> {
    data: &'a [T],
    first: usize,
    classes: usize,
    inner: usize,
    targets: &'a Targets<'a, T>,
    out: &'a mut [Row<T>],
}

impl<T: Real> simd::Kernel for Forward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut done = 0;
        while done < self.out.len() {
            let (outer, column) = ((self.first + done) / self.inner, (self.first + done) % self.inner);
            let width = WIDTH.min(self.inner - column).min(self.out.len() - done);
            let x = &self.data[outer * self.classes * self.inner + column..];
            let out = &mut self.out[done..done + width];
            let targets = &self.targets.classes[self.first + done..][..width];
            if self.targets.how.logarithms {
                picked(self.targets, x, self.inner, targets, out, self.classes);
            } else {
                block::<T, FUSED>(self.targets, x, self.inner, targets, out, self.classes);
            }
            done += width;
        }
    }
}

/// Scores that are logarithms already: only those that are meant are read.
#[inline(always)]
fn picked<T: Real>(all: &Targets<'_, T>, x: &[T], inner: usize, targets: &[i64], out: &mut [Row<T>], count: usize) {
    for (i, (out, &class)) in out.iter_mut().zip(targets).enumerate() {
        if class != NONE {
            out.loss = all.loss(class, 0.0, x[class as usize * inner + i].wide(), 0.0, count);
        }
    }
}

/// At most `WIDTH` columns, from the first class to the last.
#[inline(always)]
fn block<T: Real, const FUSED: bool>(
    all: &Targets<'_, T>,
    x: &[T],
    inner: usize,
    targets: &[i64],
    out: &mut [Row<T>],
    count: usize,
) {
    let width = out.len();
    let (mut greatest, mut sums, mut spreads) = ([-T::INFINITY; WIDTH], [0.0f64; WIDTH], [0.0f64; WIDTH]);
    let (greatest, sums, spreads) = (&mut greatest[..width], &mut sums[..width], &mut spreads[..width]);
    for class in 0..count {
        for (greatest, &x) in greatest.iter_mut().zip(&x[class * inner..][..width]) {
            // What is not less takes its place, so NaN does too, and stays.
            *greatest = if x < *greatest || greatest.wide().is_nan() { *greatest } else { x };
        }
    }
    let smooth = all.how.smoothing != 0.0;
    for from in (0..count).step_by(BLOCK) {
        let (mut part, mut spread) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH]);
        for class in from..count.min(from + BLOCK) {
            let x = &x[class * inner..][..width];
            for ((part, &greatest), &x) in part.iter_mut().zip(&*greatest).zip(x) {
                *part += (x - greatest).addend::<FUSED>();
            }
            if smooth {
                let weight = all.weights.map_or(T::ONE, |weights| weights[class]);
                for ((spread, &greatest), &x) in spread.iter_mut().zip(&*greatest).zip(x) {
                    *spread += weight * (x - greatest);
                }
            }
        }
        for ((sum, spread_sum), (part, spread)) in sums.iter_mut().zip(&mut *spreads).zip(part.iter().zip(&spread)) {
            *sum += part.wide();
            *spread_sum += spread.wide();
        }
    }
    for (i, (out, &class)) in out.iter_mut().zip(targets).enumerate() {
        if class == NONE {
            continue;
        }
        let own = x[class as usize * inner + i].wide() - greatest[i].wide();
        let loss = all.loss(class, sums[i].ln(), own, spreads[i], count);
        *out = Row { loss, greatest: greatest[i], scale: T::narrow(1.0 / sums[i]) };
    }
}

pub(super) fn gradient<T: Real>(x: &Value, slopes: &[Slope<T>], targets: &Targets<'_, T>) -> Result<Value, Fault> {
    let (classes, inner) = sizes(x, targets);
    let data = x.dense::<T>()?;
    let chunk = (PIECE / inner).max(1) * inner;
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, chunk, 4, |index, out| {
            let first = index * (chunk / inner);
            let x = &data[first * inner..][..out.len()];
            simd::run(Backward { x, first, classes, inner, slopes, targets, out });
        });
    })
}

struct Backward<'a, T> {
    x: &'a [T],
    first: usize,
    classes: usize,
    inner: usize,
    slopes: &'a [Slope<T>],
    targets: &'a Targets<'a, T>,
    out: &'a mut [T],
}

impl<T: Real> simd::Kernel for Backward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let inner = self.inner;
        let logarithms = self.targets.how.logarithms;
        for (row, (out, x)) in self.out.chunks_mut(inner).zip(self.x.chunks(inner)).enumerate() {
            let (outer, class) = ((self.first + row) / self.classes, (self.first + row) % self.classes);
            let weight = self.targets.weights.map_or(T::ONE, |weights| weights[class]);
            let class = class as i64;
            let slopes = &self.slopes[outer * inner..][..inner];
            for ((out, &x), slope) in out.iter_mut().zip(x).zip(slopes) {
                let share = if logarithms {
                    T::ZERO
                } else {
                    (x - slope.greatest).decay::<FUSED>() * slope.share - slope.even * weight
                };
                let own = if slope.class == class { slope.own } else { T::ZERO };
                // A score that is not finite would make NaN of nothing where it does not count.
                *out = if slope.class == NONE { T::ZERO } else { share - own };
            }
        }
    }
}
