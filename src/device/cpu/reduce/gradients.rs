//! What the gradients of products and extremes need.

use super::plan::Loops;
use super::sums::is_nan;
use crate::device::copy::Arrange;
use crate::device::cpu::real::Real;
use crate::device::cpu::{Cpu, parallel};
use crate::device::reduce::folded_count;
use crate::device::{Strided, Value, by_size};
use crate::error::Fault;
use crate::layout::{Element, Layout, Shape};

/// A tensor as groups of what is folded together.
struct Groups<'a, T> {
    data: &'a [T],
    start: isize,
    kept: Loops,
    folded: Loops,
}

impl<'a, T> Groups<'a, T> {
    fn new(x: Strided<'a, T>, axes: &[usize]) -> Groups<'a, T> {
        let (mut kept, mut folded) = (Loops::none(), Loops::none());
        for (axis, (&size, &stride)) in x.layout.dims().iter().zip(x.layout.strides()).enumerate() {
            if axes.contains(&axis) { &mut folded } else { &mut kept }.push(size, stride);
        }
        Groups { data: x.data, start: x.layout.offset() as isize, kept, folded }
    }
}

/// How groups are laid out so that each is dense: what is kept comes first, then what is folded.
struct DenseGroups {
    order: Vec<usize>,
    shape: Shape,
    /// Elements of a group, at least 1.
    count: usize,
}

impl DenseGroups {
    fn new(shape: &Shape, axes: &[usize]) -> DenseGroups {
        let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
        let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
        let count = axes.iter().map(|&axis| shape[axis]).product::<usize>().max(1);
        DenseGroups { shape: *Layout::contiguous(*shape).permuted(&order).shape(), order, count }
    }
    /// The axes of a value that is laid out like this, as they were.
    fn in_order(&self, value: Value) -> Result<Value, Fault> {
        let mut back = vec![0; self.order.len()];
        for (position, &axis) in self.order.iter().enumerate() {
            back[axis] = position;
        }
        value.with_layout(value.layout().permuted(&back))
    }
}

/// A tensor of `shape` made group by group; `group(number, out)` writes one.
fn build_groups<T: Element>(
    shape: &Shape,
    axes: &[usize],
    group: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Value, Fault> {
    let groups = DenseGroups::new(shape, axes);
    groups.in_order(Value::build::<T>(groups.shape, |out| parallel::chunks(out, groups.count, 4, group))?)
}

/// Products of what stands before, times products of what stands after: no division, so zeros do no harm.
pub(super) fn others<T: Real>(x: &Value, axes: &[usize]) -> Result<Value, Fault> {
    let groups = Groups::new(x.strided::<T>()?, axes);
    let number = |offset: isize| groups.data[(groups.start + offset) as usize];
    build_groups(x.shape(), axes, |group, out: &mut [T]| {
        let start = groups.kept.offset(group);
        let mut before = vec![1.0; out.len()];
        let (mut product, mut walk) = (1.0, groups.folded.walk(0));
        for before in &mut before {
            *before = product;
            product *= number(start + walk.step()).wide();
        }
        let mut after = 1.0;
        for (index, out) in out.iter_mut().enumerate().rev() {
            *out = T::narrow(before[index] * after);
            after *= number(start + groups.folded.offset(index)).wide();
        }
    })
}

/// The share of each number in its extreme.
pub(super) fn shares<T: Element>(x: &Value, best: &Value, axes: &[usize], nan: bool) -> Result<Value, Fault> {
    let best = Cpu.contiguous(best)?;
    let best = best.dense::<T>()?;
    let groups = Groups::new(x.strided::<T>()?, axes);
    build_groups(x.shape(), axes, |group, out: &mut [T]| {
        let start = groups.start + groups.kept.offset(group);
        let best = best[group];
        let mut walk = groups.folded.walk(0);
        let mut equals = 0.0;
        for out in &mut *out {
            let x = groups.data[(start + walk.step()) as usize];
            let equal = x == best || nan && is_nan(x) && is_nan(best);
            equals += equal as u8 as f64;
            *out = T::from_f64(equal as u8 as f64);
        }
        for out in out {
            *out = T::from_f64(out.to_f64() / equals);
        }
    })
}

/// Each number at its place among zeros.
pub(super) fn put(x: &Value, places: &Value, shape: Shape, axes: &[usize]) -> Result<Value, Fault> {
    let (x, places) = (Cpu.contiguous(x)?, Cpu.contiguous(places)?);
    let places = places.dense::<i64>()?;
    let groups = DenseGroups::new(&shape, axes);
    let mut out = Value::blank(groups.shape, x.dtype())?;
    by_size!(x.dtype(), W => {
        let (out, x) = Value::dense_words::<W>(&mut out, &x)?;
        parallel::chunks(out, groups.count, 4, |group, out| {
            out.fill(W::default());
            if let Some(out) = out.get_mut(places[group] as usize) {
                *out = x[group];
            }
        });
    });
    groups.in_order(out)
}

/// The numbers at their places.
pub(super) fn pick(x: &Value, places: &Value, axes: &[usize]) -> Result<Value, Fault> {
    let places = Cpu.contiguous(places)?;
    let count = folded_count(x, axes);
    let mut out = Value::blank(*places.shape(), x.dtype())?;
    let places = places.dense::<i64>()?;
    by_size!(x.dtype(), W => {
        let (out, x) = Value::words::<W>(&mut out, x)?;
        let groups = Groups::new(x, axes);
        for (group, out) in out.iter_mut().enumerate() {
            let place = (places[group] as usize).min(count - 1);
            *out = groups.data[(groups.start + groups.kept.offset(group) + groups.folded.offset(place)) as usize];
        }
    });
    Ok(out)
}
