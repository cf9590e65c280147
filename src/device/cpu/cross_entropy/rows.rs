//! Classes that are neighbours in memory: a row for each target.

use super::{NONE, Row, Slope, Targets};
use crate::device::Value;
use crate::device::cpu::parallel;
use crate::device::cpu::real::{Lanes, Real, sum_of, total};
use crate::device::cpu::reduce::{Bounded, Loops, greatest_known_of};
use crate::device::cpu::rows::PIECE;
use crate::device::cpu::simd::{self, SimdLevel};
use crate::error::Fault;

/// Where the rows of `x` begin.
fn starts(x: &Value) -> Loops {
    let mut starts = Loops::none();
    for axis in 0..x.rank().saturating_sub(1) {
        starts.push(x.dims()[axis], x.layout().strides()[axis]);
    }
    starts
}

/// The rows of a strided value whose last axis is dense.
#[derive(Clone, Copy)]
struct Rows<'a, T> {
    data: &'a [T],
    offset: isize,
    starts: &'a Loops,
    length: usize,
}

pub(super) fn forward<T: Real + Bounded>(x: &Value, targets: &Targets<'_, T>) -> Result<Vec<Row<T>>, Fault> {
    let (starts, length) = (starts(x), x.dims().last().copied().unwrap_or(1));
    let view = x.strided::<T>()?;
    let rows = Rows { data: view.data, offset: view.layout.offset() as isize, starts: &starts, length };
    let mut results = vec![Row { loss: 0.0, greatest: T::ZERO, scale: T::ZERO }; targets.classes.len()];
    let chunk = (PIECE / length.max(1)).max(1);
    parallel::chunks(&mut results, chunk, 4 * length, |index, out| {
        simd::run(Forward { rows, first: index * chunk, targets, out });
    });
    Ok(results)
}

struct Forward<'a, T> {
    rows: Rows<'a, T>,
    first: usize,
    targets: &'a Targets<'a, T>,
    out: &'a mut [Row<T>],
}

impl<T: Real + Bounded> simd::Kernel for Forward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Rows { data, offset, starts, length } = self.rows;
        let mut walk = starts.walk(self.first);
        for (row, out) in self.out.iter_mut().enumerate() {
            let from = (offset + walk.step()) as usize;
            let class = self.targets.classes[self.first + row];
            if class == NONE {
                continue;
            }
            let x = &data[from..from + length];
            if self.targets.how.logarithms {
                let own = x[class as usize].wide();
                *out = Row { loss: self.targets.loss(class, 0.0, own, 0.0, length), greatest: T::ZERO, scale: T::ZERO };
                continue;
            }
            // A NaN is missed here and met in the sum.
            let greatest = greatest_known_of(x);
            let mut sum = 0.0;
            for x in x.chunks(512) {
                sum += sum_of(x, |x| (x - greatest).addend::<FUSED>());
            }
            let mut spread = 0.0;
            if self.targets.how.smoothing != 0.0 {
                match self.targets.weights {
                    None => {
                        for x in x.chunks(512) {
                            spread += sum_of(x, |x| x - greatest);
                        }
                    }
                    Some(weights) => {
                        for (x, w) in x.chunks(512).zip(weights.chunks(512)) {
                            spread += weighted(x, w, greatest);
                        }
                    }
                }
            }
            let own = x[class as usize].wide() - greatest.wide();
            let loss = self.targets.loss(class, sum.ln(), own, spread, length);
            *out = Row { loss, greatest, scale: T::narrow(1.0 / sum) };
        }
    }
}

/// Σ w (x - from) over a block.
#[inline(always)]
fn weighted<T: Real>(x: &[T], w: &[T], from: T) -> f64 {
    let mut lanes = T::Lanes::ZERO;
    let ((x, x_rest), (w, w_rest)) = (T::Lanes::blocks(x), T::Lanes::blocks(w));
    for (x, w) in x.iter().zip(w) {
        for lane in 0..T::Lanes::COUNT {
            lanes[lane] += w[lane] * (x[lane] - from);
        }
    }
    for ((lane, &x), &w) in lanes.as_mut().iter_mut().zip(x_rest).zip(w_rest) {
        *lane += w * (x - from);
    }
    total::<T>(&lanes)
}

pub(super) fn gradient<T: Real>(x: &Value, slopes: &[Slope<T>], targets: &Targets<'_, T>) -> Result<Value, Fault> {
    let (starts, length) = (starts(x), x.dims().last().copied().unwrap_or(1));
    let view = x.strided::<T>()?;
    let rows = Rows { data: view.data, offset: view.layout.offset() as isize, starts: &starts, length };
    let chunk = (PIECE / length.max(1)).max(1);
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, chunk * length, 4, |index, out| {
            simd::run(Backward { rows, first: index * chunk, slopes, targets, out });
        });
    })
}

struct Backward<'a, T> {
    rows: Rows<'a, T>,
    first: usize,
    slopes: &'a [Slope<T>],
    targets: &'a Targets<'a, T>,
    out: &'a mut [T],
}

impl<T: Real> simd::Kernel for Backward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Rows { data, offset, starts, length } = self.rows;
        let mut walk = starts.walk(self.first);
        for (out, slope) in self.out.chunks_mut(length.max(1)).zip(&self.slopes[self.first..]) {
            let from = (offset + walk.step()) as usize;
            let Slope { greatest, share, even, own, class } = *slope;
            if class == NONE || self.targets.how.logarithms {
                out.fill(T::ZERO);
                if class != NONE {
                    out[class as usize] = -own;
                }
                continue;
            }
            let x = &data[from..from + length];
            match self.targets.weights {
                Some(weights) if self.targets.how.smoothing != 0.0 => {
                    for ((out, &x), &w) in out.iter_mut().zip(x).zip(weights) {
                        *out = (x - greatest).decay::<FUSED>() * share - even * w;
                    }
                }
                _ => {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = (x - greatest).decay::<FUSED>() * share - even;
                    }
                }
            }
            out[class as usize] += -own;
        }
    }
}
