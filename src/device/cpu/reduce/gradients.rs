//! What the gradients of products and extremes need.

use super::folded_count;
use super::plan::Loops;
use super::sums::is_nan;
use crate::device::copy::Arrange;
use crate::device::cpu::real::Real;
use crate::device::cpu::{Cpu, parallel};
use crate::device::{Strided, Value};
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

/// The order of axes in which groups are dense: what is kept, then what is folded.
fn order(rank: usize, axes: &[usize]) -> Vec<usize> {
    (0..rank).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect()
}

/// A tensor of `shape` made group by group; `group(number, out)` writes one. It is laid out so that groups are dense.
fn build_groups<T: Element>(
    shape: &Shape,
    axes: &[usize],
    group: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Value, Fault> {
    let order = order(shape.len(), axes);
    let count = axes.iter().map(|&axis| shape[axis]).product::<usize>();
    let value = Value::build::<T>(*Layout::contiguous(*shape).permuted(&order).shape(), |out| {
        parallel::chunks(out, count.max(1), 4, &group);
    })?;
    let mut back = vec![0; order.len()];
    for (position, &axis) in order.iter().enumerate() {
        back[axis] = position;
    }
    value.with_layout(value.layout().permuted(&back))
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
pub(super) fn put<T: Element>(x: &Value, places: &Value, shape: Shape, axes: &[usize]) -> Result<Value, Fault> {
    let (x, places) = (Cpu.contiguous(x)?, Cpu.contiguous(places)?);
    let (x, places) = (x.dense::<T>()?, places.dense::<i64>()?);
    build_groups(&shape, axes, |group, out: &mut [T]| {
        out.fill(T::default());
        if let Some(out) = out.get_mut(places[group] as usize) {
            *out = x[group];
        }
    })
}

/// The numbers at their places.
pub(super) fn pick<T: Element>(x: &Value, places: &Value, axes: &[usize]) -> Result<Value, Fault> {
    let shape = *places.shape();
    let places = Cpu.contiguous(places)?;
    let places = places.dense::<i64>()?;
    let count = folded_count(x, axes);
    let groups = Groups::new(x.strided::<T>()?, axes);
    Value::build(shape, |out: &mut [T]| {
        for (group, out) in out.iter_mut().enumerate() {
            let place = (places[group] as usize).min(count - 1);
            *out = groups.data[(groups.start + groups.kept.offset(group) + groups.folded.offset(place)) as usize];
        }
    })
}
