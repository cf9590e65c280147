//! Volumes read at any place between their elements, on the processor.
//!
//! What a place reads (positions and weights) is found once for all channels, for some thousand places at a time; then each
//! channel is read, or written to, by itself.

use super::real::Real;
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::sample::{Between, Outside, Sample, Sampling};
use crate::error::Fault;
use crate::layout::{DType, Shape, dispatch_float};
use std::ops::Range;

/// Places whose terms are held at a time.
const BLOCK: usize = 1 << 12;
/// A position that is outside.
const NOWHERE: u32 = u32::MAX;

/// What a coordinate reads along one axis: up to four elements, their weights, and how these change with the coordinate.
struct Along {
    count: usize,
    positions: [Option<usize>; 4],
    weights: [f64; 4],
    slopes: [f64; 4],
}

/// The place itself, where an axis is not there.
const POINT: Along = Along { count: 1, positions: [Some(0); 4], weights: [1.0; 4], slopes: [0.0; 4] };

/// The weights of four neighbours at `t` between the second and the third, and their derivatives.
fn cubic(t: f64) -> ([f64; 4], [f64; 4]) {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let near_slope = |x: f64| (3.0 * (A + 2.0) * x - 2.0 * (A + 3.0)) * x;
    let far_slope = |x: f64| (3.0 * A * x - 10.0 * A) * x + 8.0 * A;
    (
        [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)],
        [far_slope(t + 1.0), near_slope(t), -near_slope(1.0 - t), -far_slope(2.0 - t)],
    )
}

/// A position moved inside as the padding says, and what a step of it becomes.
fn inside(at: f64, size: usize, sampling: Sampling) -> (f64, f64) {
    let last = size as f64 - 1.0;
    let clipped = |at: f64, slope: f64| match at {
        _ if at <= 0.0 => (0.0, 0.0),
        _ if at < last => (at, slope),
        _ => (last, 0.0),
    };
    match sampling.outside {
        Outside::Zeros => (at, 1.0),
        Outside::Border => clipped(at, 1.0),
        Outside::Reflection => {
            let (low, high) = if sampling.align_corners { (0.0, last) } else { (-0.5, last + 0.5) };
            if high <= low {
                return (0.0, 0.0);
            }
            let (span, from) = (high - low, at - low);
            let (rest, times) = (from.abs() % span, (from.abs() / span).floor());
            let sign = if from < 0.0 { -1.0 } else { 1.0 };
            if times % 2.0 == 0.0 { clipped(rest + low, sign) } else { clipped(span - rest + low, -sign) }
        }
    }
}

impl Sampling {
    /// The element, or between which, that a coordinate means. In the element type, so that places which are meant to be elements are.
    fn element<T: Real>(self, coordinate: T, size: usize) -> f64 {
        let (extent, two) = (T::narrow(size as f64), T::ONE + T::ONE);
        let at = if self.align_corners {
            (coordinate + T::ONE) / two * (extent - T::ONE)
        } else {
            ((coordinate + T::ONE) * extent - T::ONE) / two
        };
        at.wide()
    }
    /// What is read there.
    fn along(self, at: f64, size: usize) -> Along {
        let step = if self.align_corners { (size as f64 - 1.0) / 2.0 } else { size as f64 / 2.0 };
        let whole = |at: f64| (at >= 0.0 && at < size as f64).then_some(at as usize);
        let mut along = Along { count: 1, positions: [None; 4], weights: [0.0; 4], slopes: [0.0; 4] };
        match self.between {
            Between::Nearest => {
                (along.positions[0], along.weights[0]) = (whole(inside(at, size, self).0.round_ties_even()), 1.0);
            }
            Between::Linear => {
                let (at, slope) = inside(at, size, self);
                let first = at.floor();
                along.count = 2;
                along.positions = [whole(first), whole(first + 1.0), None, None];
                along.weights = [1.0 - (at - first), at - first, 0.0, 0.0];
                along.slopes = [-slope * step, slope * step, 0.0, 0.0];
            }
            Between::Cubic => {
                let first = at.floor();
                let (weights, slopes) = cubic(at - first);
                along.count = 4;
                along.positions = std::array::from_fn(|tap| whole(inside(first - 1.0 + tap as f64, size, self).0));
                (along.weights, along.slopes) = (weights, slopes.map(|slope| slope * step));
            }
        }
        along
    }
    /// Terms of a place.
    fn terms(self, axes: usize) -> usize {
        let along = match self.between {
            Between::Nearest => 1usize,
            Between::Linear => 2,
            Between::Cubic => 4,
        };
        along.pow(axes as u32)
    }
}

/// What is done with a block: its batch item, places, and their terms.
type Work<'a, T> = &'a mut dyn FnMut(usize, Range<usize>, &[(u32, T)]);

/// A problem's sizes, and its operands made dense.
struct Plan<T> {
    sampling: Sampling,
    batch: usize,
    channels: usize,
    sizes: [usize; 3],
    volume: usize,
    places: usize,
    axes: usize,
    grid: Value,
    element: std::marker::PhantomData<T>,
}

impl<T: Real> Plan<T> {
    fn new(shape: &[usize], grid: &Value, sampling: Sampling) -> Result<Plan<T>, Fault> {
        let (&[batch, channels, depth, height, width], &[_, places, axes]) = (shape, grid.dims()) else {
            return Err(Fault::defect(format!("volumes {shape:?} and a grid {:?}", grid.dims())));
        };
        let sizes = [depth, height, width];
        let volume: usize = sizes.iter().product();
        if volume >= NOWHERE as usize {
            let what = format!("a volume of {volume} elements");
            return Err(Fault::shape(what, format!("at most {} can be sampled: cut it into parts", NOWHERE - 1)));
        }
        let grid = Cpu.contiguous(grid)?;
        let element = std::marker::PhantomData;
        Ok(Plan { sampling, batch, channels, sizes, volume, places, axes, grid, element })
    }

    /// Along depth, height and width.
    fn along(&self, place: &[T]) -> [Along; 3] {
        let mut all = [POINT; 3];
        for (axis, &coordinate) in place.iter().enumerate() {
            let size = self.sizes[2 - axis];
            all[2 - axis] = self.sampling.along(self.sampling.element(coordinate, size), size);
        }
        all
    }

    /// Calls `term(position, the taps along depth, height and width)` for each term, outside ones too.
    #[inline]
    fn each(&self, [depth, height, width]: &[Along; 3], mut term: impl FnMut(u32, [usize; 3])) {
        let [_, rows, columns] = self.sizes;
        for d in 0..depth.count {
            for h in 0..height.count {
                for w in 0..width.count {
                    let position = match (depth.positions[d], height.positions[h], width.positions[w]) {
                        (Some(d), Some(h), Some(w)) => ((d * rows + h) * columns + w) as u32,
                        _ => NOWHERE,
                    };
                    term(position, [d, h, w]);
                }
            }
        }
    }

    /// Runs `work` for blocks of places; each place has as many terms.
    fn blocks(&self, work: Work<'_, T>) -> Result<(), Fault> {
        let grid = self.grid.dense::<T>()?;
        let terms = self.sampling.terms(self.axes);
        let mut all = vec![(NOWHERE, T::ZERO); BLOCK.min(self.places) * terms];
        for item in 0..self.batch {
            for first in (0..self.places).step_by(BLOCK) {
                let places = first..(first + BLOCK).min(self.places);
                let all = &mut all[..places.len() * terms];
                parallel::chunks(all, 256 * terms, 8, |part, all| {
                    for (i, to) in all.chunks_exact_mut(terms).enumerate() {
                        let place = item * self.places + first + part * 256 + i;
                        let along = self.along(&grid[place * self.axes..][..self.axes]);
                        let mut to = to.iter_mut();
                        self.each(&along, |position, [d, h, w]| {
                            let weight = along[0].weights[d] * along[1].weights[h] * along[2].weights[w];
                            if let Some(to) = to.next() {
                                *to = (position, T::narrow(weight));
                            }
                        });
                    }
                });
                work(item, places, all);
            }
        }
        Ok(())
    }

    fn forward(&self, x: &Value) -> Result<Value, Fault> {
        let x = Cpu.contiguous(x)?;
        let x = x.dense::<T>()?;
        let terms = self.sampling.terms(self.axes);
        Value::try_build::<T>(Shape::new(&[self.batch, self.channels, self.places])?, |out| {
            let one = self.channels * self.places;
            self.blocks(&mut |item, places, all| {
                let x = &x[item * self.channels * self.volume..];
                let out = &mut out[item * one..][..one];
                let cost = (terms * places.len()).div_ceil(self.places);
                parallel::chunks(out, self.places, cost, |channel, out| {
                    let x = &x[channel * self.volume..][..self.volume];
                    for (to, terms) in out[places.clone()].iter_mut().zip(all.chunks_exact(terms)) {
                        let mut sum = T::ZERO;
                        for &(position, weight) in terms {
                            // What is outside is not read: it need not be finite.
                            if position != NOWHERE {
                                sum += weight * x[position as usize];
                            }
                        }
                        *to = sum;
                    }
                });
            })
        })
    }

    fn gradient(&self, g: &Value, shape: &Shape) -> Result<Value, Fault> {
        let g = Cpu.contiguous(g)?;
        let g = g.dense::<T>()?;
        let terms = self.sampling.terms(self.axes);
        Value::try_build::<T>(*shape, |out| {
            out.fill(T::ZERO);
            if self.volume == 0 {
                return Ok(());
            }
            let one = self.channels * self.volume;
            self.blocks(&mut |item, places, all| {
                let out = &mut out[item * one..][..one];
                let cost = (terms * places.len()).div_ceil(self.volume);
                parallel::chunks(out, self.volume, cost, |channel, out| {
                    let from = (item * self.channels + channel) * self.places;
                    let g = &g[from..][..self.places];
                    for (&g, terms) in g[places.clone()].iter().zip(all.chunks_exact(terms)) {
                        for &(position, weight) in terms {
                            if position != NOWHERE {
                                out[position as usize] += weight * g;
                            }
                        }
                    }
                });
            })
        })
    }

    fn grid_gradient(&self, g: &Value, x: &Value) -> Result<Value, Fault> {
        let (g, x) = (Cpu.contiguous(g)?, Cpu.contiguous(x)?);
        let (g, x) = (g.dense::<T>()?, x.dense::<T>()?);
        let grid = self.grid.dense::<T>()?;
        let cost = self.sampling.terms(self.axes) * self.channels;
        Value::build::<T>(*self.grid.shape(), |out| {
            parallel::chunks(out, 64 * self.axes, cost, |part, out| {
                for (i, to) in out.chunks_exact_mut(self.axes).enumerate() {
                    let place = part * 64 + i;
                    let (item, at) = (place / self.places, place % self.places);
                    let along = self.along(&grid[place * self.axes..][..self.axes]);
                    let (mut sums, first) = ([0.0; 3], item * self.channels);
                    self.each(&along, |position, [d, h, w]| {
                        if position == NOWHERE {
                            return;
                        }
                        let mut common = 0.0;
                        for channel in first..first + self.channels {
                            let x = x[channel * self.volume + position as usize];
                            common += x.wide() * g[channel * self.places + at].wide();
                        }
                        let [z, y, x] = [(&along[0], d), (&along[1], h), (&along[2], w)]
                            .map(|(along, tap)| (along.weights[tap], along.slopes[tap]));
                        sums[0] += common * z.0 * y.0 * x.1;
                        sums[1] += common * z.0 * y.1 * x.0;
                        sums[2] += common * z.1 * y.0 * x.0;
                    });
                    for (to, sum) in to.iter_mut().zip(sums) {
                        *to = T::narrow(sum);
                    }
                }
            });
        })
    }
}

fn no_float(x: &Value) -> Fault {
    Fault::dtype(
        format!("the input holds {} elements", x.dtype()),
        "convert it first, for example with to_dtype(DType::F32)",
    )
}

/// Halves are computed in f32 and rounded once.
fn in_f32<const N: usize>(
    values: [&Value; N],
    kernel: impl FnOnce([&Value; N]) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let mut wide = values.map(Value::clone);
    for value in &mut wide {
        *value = Cpu.cast(value, DType::F32)?;
    }
    Cpu.cast(&kernel(wide.each_ref())?, values[0].dtype())
}

impl Sample for Cpu {
    fn sample(&self, x: &Value, grid: &Value, sampling: Sampling) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return in_f32([x, grid], |[x, grid]| self.sample(x, grid, sampling));
        }
        dispatch_float!(x.dtype(), T => Plan::<T>::new(x.dims(), grid, sampling)?.forward(x), else Err(no_float(x)))
    }

    fn sample_gradient(&self, g: &Value, grid: &Value, shape: &Shape, sampling: Sampling) -> Result<Value, Fault> {
        if g.dtype().is_half() {
            return in_f32([g, grid], |[g, grid]| self.sample_gradient(g, grid, shape, sampling));
        }
        dispatch_float!(g.dtype(), T => {
            Plan::<T>::new(shape, grid, sampling)?.gradient(g, shape)
        }, else Err(no_float(g)))
    }

    fn sample_grid_gradient(&self, g: &Value, x: &Value, grid: &Value, sampling: Sampling) -> Result<Value, Fault> {
        if g.dtype().is_half() {
            return in_f32([g, x, grid], |[g, x, grid]| self.sample_grid_gradient(g, x, grid, sampling));
        }
        dispatch_float!(g.dtype(), T => {
            Plan::<T>::new(x.dims(), grid, sampling)?.grid_gradient(g, x)
        }, else Err(no_float(g)))
    }
}
