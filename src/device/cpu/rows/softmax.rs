//! Softmax and its logarithm, along rows or down columns.

use super::PIECE;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cpu::real::{Lanes, Real, add, add_rest, alone, sum_of, total};
use crate::device::cpu::reduce::{Bounded, Loops, exponentials, greatest_known_of};
use crate::device::cpu::simd::{self, SimdLevel};
use crate::device::cpu::{Cpu, parallel};
use crate::device::reduce::Reduce;
use crate::device::rows::Softmax;
use crate::error::Fault;
use crate::layout::Shape;

/// The axes with `axis` last, and the way back.
pub(in crate::device::cpu) fn axis_last(rank: usize, axis: usize) -> (Vec<usize>, Vec<usize>) {
    let order: Vec<usize> = (0..rank).filter(|&a| a != axis).chain([axis]).collect();
    let mut back = vec![0; rank];
    for (position, &axis) in order.iter().enumerate() {
        back[axis] = position;
    }
    (order, back)
}

/// Rows, or columns of a dense tensor: `[outer, size, inner]`. (What has no loops for columns makes rows of them.)
pub(in crate::device::cpu) fn is_columns(x: &Value, axis: usize) -> bool {
    x.is_contiguous() && x.dims()[axis + 1..].iter().product::<usize>() > 1
}

pub(super) fn forward<T: Real + Bounded>(x: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
    if x.rank() == 0 || x.count() == 0 {
        return rows::<T>(x, form);
    }
    if const { !T::DOUBLE } && is_columns(x, axis) {
        return columns::<T>(x, axis, form);
    }
    let (order, back) = axis_last(x.rank(), axis);
    let mut x = x.with_layout(x.layout().permuted(&order))?;
    if x.layout().strides().last() != Some(&1) {
        x = Cpu.contiguous(&x)?;
    }
    // The result lies in memory as the input did: a transposed tensor needs no copy.
    let y = rows::<T>(&x, form)?;
    y.with_layout(y.layout().permuted(&back))
}

/// Along the last axis, whose elements are neighbours.
fn rows<T: Real + Bounded>(x: &Value, form: Softmax) -> Result<Value, Fault> {
    let (length, rank) = (x.dims().last().copied().unwrap_or(1), x.rank());
    let view = x.strided::<T>()?;
    let mut starts = Loops::none();
    for axis in 0..rank.saturating_sub(1) {
        starts.push(x.dims()[axis], view.layout.strides()[axis]);
    }
    let chunk = (PIECE / length.max(1)).max(1) * length.max(1);
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, chunk, 4, |index, out| {
            simd::run(Forward {
                data: view.data,
                offset: view.layout.offset() as isize,
                starts: &starts,
                first: index * (chunk / length.max(1)),
                length,
                out,
                form,
            });
        });
    })
}

struct Forward<'a, T> {
    data: &'a [T],
    offset: isize,
    starts: &'a Loops,
    first: usize,
    length: usize,
    out: &'a mut [T],
    form: Softmax,
}

impl<T: Real + Bounded> simd::Kernel for Forward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut walk = self.starts.walk(self.first);
        for out in self.out.chunks_mut(self.length.max(1)) {
            let from = (self.offset + walk.step()) as usize;
            let x = &self.data[from..from + out.len()];
            // A NaN is missed here and met in the sum.
            let greatest = greatest_known_of(x);
            match self.form {
                Softmax::Plain => {
                    let mut sum = 0.0;
                    for (x, out) in x.chunks(512).zip(out.chunks_mut(512)) {
                        sum += map_sum(x, out, |x| (x - greatest).decay::<FUSED>(), |power| power);
                    }
                    let scale = T::narrow(1.0 / sum);
                    for out in out {
                        *out *= alone(scale);
                    }
                }
                Softmax::Logarithm => {
                    let mut sum = 0.0;
                    for (x, out) in x.chunks(512).zip(out.chunks_mut(512)) {
                        // Written at once, since memory has time while powers are computed.
                        sum += map_sum(x, out, |x| x - greatest, |below| below.addend::<FUSED>());
                    }
                    let logarithm = T::narrow(sum.ln());
                    for out in out {
                        *out = *out - alone(logarithm);
                    }
                }
            }
        }
    }
}

/// Writes `written(x)` of each and gives the sum of `term(written(x))`.
#[inline(always)]
fn map_sum<T: Real>(x: &[T], out: &mut [T], written: impl Fn(T) -> T, term: impl Fn(T) -> T) -> f64 {
    let mut lanes = T::Lanes::ZERO;
    let (blocks, rest) = T::Lanes::blocks(x);
    let (out_blocks, out_rest) = T::Lanes::blocks_mut(out);
    for (block, out) in blocks.iter().zip(out_blocks) {
        // By way of arrays of its own: else the lanes are kept in memory, and what is written might be what is read.
        let (mut results, mut terms) = (T::Lanes::ZERO, T::Lanes::ZERO);
        for lane in 0..T::Lanes::COUNT {
            results[lane] = written(block[lane]);
            terms[lane] = term(results[lane]);
        }
        *out = results;
        add(&mut lanes, &terms);
    }
    for (out, &x) in out_rest.iter_mut().zip(rest) {
        *out = written(x);
    }
    if !rest.is_empty() {
        add_rest::<T, _>(&mut lanes, out_rest, term);
    }
    total::<T>(&lanes)
}

/// From so many columns on there are enough beside each other for a block of rows.
const NARROW: usize = 16;

/// Along an axis whose elements are not neighbours: the statistics of all columns first, then row by row.
fn columns<T: Real + Bounded>(x: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
    let (inner, size) = (x.dims()[axis + 1..].iter().product::<usize>(), x.dims()[axis]);
    if form == Softmax::Plain && inner >= NARROW {
        let data = x.dense::<T>()?;
        return Value::build::<T>(*x.shape(), |out| super::columns::softmax(data, size, inner, out));
    }
    let statistics = exponentials::<T>(x, axis, form == Softmax::Logarithm)?;
    let data = x.dense::<T>()?;
    Value::build::<T>(*x.shape(), |out| {
        let columns = Columns { inner, size };
        parallel::chunks(out, columns.chunk(), 4, |index, out| {
            let first = index * columns.chunk() / inner;
            simd::run(Below {
                x: &data[first * inner..][..out.len()],
                statistics: &statistics,
                columns,
                first,
                out,
                form,
            });
        });
    })
}

/// A dense tensor as `[outer, size, inner]`: rows of `inner`, `size` of which share their statistics.
#[derive(Clone, Copy)]
struct Columns {
    inner: usize,
    size: usize,
}

impl Columns {
    /// Whole rows that one thread takes.
    fn chunk(self) -> usize {
        (PIECE / self.inner).max(1) * self.inner
    }
    /// Where the statistics of a row begin.
    #[inline(always)]
    fn group(self, row: usize) -> std::ops::Range<usize> {
        let from = row / self.size * self.inner;
        from..from + self.inner
    }
}

struct Below<'a, T> {
    x: &'a [T],
    statistics: &'a [(T, T)],
    columns: Columns,
    first: usize,
    out: &'a mut [T],
    form: Softmax,
}

impl<T: Real> simd::Kernel for Below<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let inner = self.columns.inner;
        for (row, (out, x)) in self.out.chunks_mut(inner).zip(self.x.chunks(inner)).enumerate() {
            let each = out.iter_mut().zip(x).zip(&self.statistics[self.columns.group(self.first + row)]);
            match self.form {
                Softmax::Plain => {
                    for ((out, &x), &(greatest, sum)) in each {
                        *out = (x - greatest).decay::<FUSED>() * sum;
                    }
                }
                Softmax::Logarithm => {
                    for ((out, &x), &(greatest, sum)) in each {
                        *out = (x - greatest) - sum;
                    }
                }
            }
        }
    }
}

/// `y (g - Σ g y)`, or of the logarithm `g - e^y Σ g`.
pub(super) fn gradient<T: Real>(y: &Value, g: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
    if y.rank() == 0 || y.count() == 0 {
        return gradient_rows::<T>(&Cpu.contiguous(y)?, &Cpu.contiguous(g)?, form);
    }
    if const { !T::DOUBLE } && is_columns(y, axis) {
        return gradient_columns::<T>(y, &Cpu.contiguous(g)?, axis, form);
    }
    let (order, back) = axis_last(y.rank(), axis);
    let last = |x: &Value| Cpu.contiguous(&x.with_layout(x.layout().permuted(&order))?);
    let result = gradient_rows::<T>(&last(y)?, &last(g)?, form)?;
    result.with_layout(result.layout().permuted(&back))
}

fn gradient_rows<T: Real>(y: &Value, g: &Value, form: Softmax) -> Result<Value, Fault> {
    let length = y.dims().last().copied().unwrap_or(1).max(1);
    let chunk = (PIECE / length).max(1) * length;
    let (y_all, g_all) = (y.dense::<T>()?, g.dense::<T>()?);
    Value::build::<T>(*y.shape(), |out| {
        parallel::chunks(out, chunk, 4, |index, out| {
            let range = index * chunk..index * chunk + out.len();
            simd::run(Backward { y: &y_all[range.clone()], g: &g_all[range], length, out, form });
        });
    })
}

struct Backward<'a, T> {
    y: &'a [T],
    g: &'a [T],
    length: usize,
    out: &'a mut [T],
    form: Softmax,
}

impl<T: Real> simd::Kernel for Backward<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let rows = self.y.chunks(self.length).zip(self.g.chunks(self.length)).zip(self.out.chunks_mut(self.length));
        for ((y, g), out) in rows {
            let mut sum = 0.0;
            match self.form {
                Softmax::Plain => {
                    for (y, g) in y.chunks(512).zip(g.chunks(512)) {
                        sum += dot(y, g);
                    }
                    let sum = T::narrow(sum);
                    for ((out, &y), &g) in out.iter_mut().zip(y).zip(g) {
                        *out = y * (alone(g) - sum);
                    }
                }
                Softmax::Logarithm => {
                    for g in g.chunks(512) {
                        sum += sum_of(g, |g| g);
                    }
                    let sum = T::narrow(sum);
                    for ((out, &y), &g) in out.iter_mut().zip(y).zip(g) {
                        *out = g - y.decay::<FUSED>() * sum;
                    }
                }
            }
        }
    }
}

/// Σ a b over a block.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = T::Lanes::ZERO;
    let ((a, a_rest), (b, b_rest)) = (T::Lanes::blocks(a), T::Lanes::blocks(b));
    for (a, b) in a.iter().zip(b) {
        for lane in 0..T::Lanes::COUNT {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    if !a_rest.is_empty() {
        let mut products = T::Lanes::ZERO;
        for ((product, &a), &b) in products.as_mut().iter_mut().zip(a_rest).zip(b_rest) {
            *product = a * b;
        }
        add(&mut lanes, &products);
    }
    total::<T>(&lanes)
}

fn gradient_columns<T: Real>(y: &Value, g: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
    let (inner, size) = (y.dims()[axis + 1..].iter().product::<usize>(), y.dims()[axis]);
    let (y_all, g_all) = (y.dense::<T>()?, g.dense::<T>()?);
    let sums = match form {
        Softmax::Logarithm => Cpu.sum(g, &[axis], false)?,
        Softmax::Plain => {
            let products = Value::build::<T>(Shape::new(y.dims())?, |out| {
                parallel::chunks(out, PIECE, 1, |index, out| {
                    let range = index * PIECE..index * PIECE + out.len();
                    for ((out, &y), &g) in out.iter_mut().zip(&y_all[range.clone()]).zip(&g_all[range]) {
                        *out = y * g;
                    }
                });
            })?;
            Cpu.sum(&products, &[axis], false)?
        }
    };
    let sums = sums.dense::<T>()?;
    let columns = Columns { inner, size };
    Value::build::<T>(*y.shape(), |out| {
        parallel::chunks(out, columns.chunk(), 4, |index, out| {
            let first = index * columns.chunk() / inner;
            let range = first * inner..first * inner + out.len();
            simd::run(BackwardBelow { y: &y_all[range.clone()], g: &g_all[range], sums, columns, first, out, form });
        });
    })
}

struct BackwardBelow<'a, T> {
    y: &'a [T],
    g: &'a [T],
    sums: &'a [T],
    columns: Columns,
    first: usize,
    out: &'a mut [T],
    form: Softmax,
}

impl<T: Real> simd::Kernel for BackwardBelow<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let inner = self.columns.inner;
        let rows = self.out.chunks_mut(inner).zip(self.y.chunks(inner)).zip(self.g.chunks(inner));
        for (row, ((out, y), g)) in rows.enumerate() {
            let each = out.iter_mut().zip(y).zip(g).zip(&self.sums[self.columns.group(self.first + row)]);
            match self.form {
                Softmax::Plain => {
                    for (((out, &y), &g), &sum) in each {
                        *out = y * (g - sum);
                    }
                }
                Softmax::Logarithm => {
                    for (((out, &y), &g), &sum) in each {
                        *out = g - y.decay::<FUSED>() * sum;
                    }
                }
            }
        }
    }
}
