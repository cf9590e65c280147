//! Slices put together by position: the gradient of taking slices, and of an embedding.
//!
//! Positions are first sorted by destination (a counting sort, stable). Then every destination has the list of what
//! goes there, destinations are shared out among threads, and each sums its list in a wider type.

use super::{Assembly, Combine, PART, positions_along};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cpu::real::widest;
use crate::device::cpu::simd::{self, SimdLevel};
use crate::device::cpu::{Cpu, parallel};
use crate::device::index::{Around, check_assembly, no_arithmetic};
use crate::error::Fault;
use crate::layout::{DType, Element, Shape};

pub(super) fn assemble(
    base: Option<&Value>,
    size: usize,
    axis: usize,
    index: &Value,
    source: &Value,
    how: Assembly,
) -> Result<Value, Fault> {
    let shape = check_assembly(base, size, axis, index, source)?;
    let index = positions_along(index, axis, size)?;
    let groups = Groups::new(index.dense()?, size, how.skip)?;
    let around = Around::new(&shape, axis);
    let work = Work { lists: groups.lists()?, around, how };
    let replaces = how.combine == Combine::Replace;
    match source.dtype() {
        DType::F64 => work.run::<f64>(base, source, shape),
        DType::F32 => work.run::<f32>(base, source, shape),
        DType::I64 => work.run::<i64>(base, source, shape),
        DType::Bool if !replaces => Err(no_arithmetic()),
        // Going by way of a wider type changes nothing: it holds every number, and whole ones wrap alike when they narrow.
        narrow => {
            let wide = if narrow.is_float() { DType::F32 } else { DType::I64 };
            let base = base.map(|base| Cpu.cast(base, wide)).transpose()?;
            let source = Cpu.cast(source, wide)?;
            let result = match wide {
                DType::F32 => work.run::<f32>(base.as_ref(), &source, shape),
                _ => work.run::<i64>(base.as_ref(), &source, shape),
            };
            Cpu.cast(&result?, narrow)
        }
    }
}

/// Positions sorted by destination: destination `d` gets the slices `order[starts[d]..starts[d + 1]]`, ascending.
///
/// They are values, so that their memory counts against the limit.
struct Groups {
    starts: Value,
    order: Value,
}

impl Groups {
    fn new(positions: &[i64], size: usize, skip: Option<usize>) -> Result<Groups, Fault> {
        let taken = |position: i64| Some(position as usize).filter(|&position| Some(position) != skip);
        let count = positions.iter().filter(|&&position| taken(position).is_some()).count();
        // Counted two places ahead, so that the running sums become starts and then ends move into place.
        let mut starts = Value::full(Shape::new(&[size.saturating_add(2)])?, DType::I64, 0.0)?;
        let unshared = || Fault::defect("a fresh value is shared");
        let place = starts.unshared::<i64>().ok_or_else(unshared)?;
        for position in positions.iter().filter_map(|&position| taken(position)) {
            place[position + 2] += 1;
        }
        for at in 2..place.len() {
            place[at] += place[at - 1];
        }
        let order = Value::build::<i64>(Shape::new(&[count])?, |order| {
            for (j, &position) in positions.iter().enumerate() {
                if let Some(position) = taken(position) {
                    order[place[position + 1] as usize] = j as i64;
                    place[position + 1] += 1;
                }
            }
        })?;
        Ok(Groups { starts, order })
    }
    fn lists(&self) -> Result<Lists<'_>, Fault> {
        Ok(Lists { starts: self.starts.dense()?, order: self.order.dense()? })
    }
}

/// The slices of each destination.
#[derive(Clone, Copy)]
struct Lists<'a> {
    starts: &'a [i64],
    order: &'a [i64],
}

impl Lists<'_> {
    #[inline(always)]
    fn of(&self, destination: usize) -> &[i64] {
        &self.order[self.starts[destination] as usize..self.starts[destination + 1] as usize]
    }
}

struct Work<'a> {
    lists: Lists<'a>,
    around: Around,
    how: Assembly,
}

impl Work<'_> {
    fn run<T: Element + Arithmetic>(&self, base: Option<&Value>, source: &Value, shape: Shape) -> Result<Value, Fault> {
        let base = base.map(|base| Cpu.contiguous(base)).transpose()?;
        let base = base.as_ref().map(Value::dense::<T>).transpose()?;
        let source = Cpu.contiguous(source)?;
        let source = source.dense::<T>()?;
        let slices = source.len().checked_div(self.around.outer * self.around.inner).unwrap_or(0);
        // Work per element: what is written, and what of the source falls to it on average.
        let cost = 1 + slices / self.around.size.max(1);
        Value::build::<T>(shape, |out| {
            parallel::chunks(out, PART, cost, |part, out| {
                simd::run(Chunk { work: self, base, source, slices, start: part * PART, out });
            });
        })
    }
}

/// A run of the result, which may begin and end inside a slice.
struct Chunk<'a, T> {
    work: &'a Work<'a>,
    base: Option<&'a [T]>,
    source: &'a [T],
    slices: usize,
    start: usize,
    out: &'a mut [T],
}

impl<T: Element + Arithmetic> simd::Kernel for Chunk<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Around { size, inner, .. } = self.work.around;
        let (mut start, mut out) = (self.start, self.out);
        while !out.is_empty() {
            let (row, column) = (start / inner, start % inner);
            let (to, rest) = out.split_at_mut((inner - column).min(out.len()));
            let list = self.work.lists.of(row % size);
            let first = row / size * self.slices;
            let old = self.base.map(|base| &base[start..start + to.len()]);
            row_of(
                to,
                old,
                self.work.how,
                list.iter().map(|&j| {
                    let from = (first + j as usize) * inner + column;
                    &self.source[from..]
                }),
            );
            start += to.len();
            out = rest;
        }
    }
}

/// One destination: `to = old ⊕ slices`.
#[inline(always)]
fn row_of<'a, T: Element + Arithmetic>(
    to: &mut [T],
    old: Option<&[T]>,
    how: Assembly,
    mut slices: impl Iterator<Item = &'a [T]> + Clone,
) {
    const TILE: usize = 64;
    let width = to.len();
    match old {
        Some(old) => to.copy_from_slice(old),
        None => to.fill(T::default()),
    }
    if how.combine == Combine::Replace {
        if let Some(last) = slices.last() {
            to.copy_from_slice(&last[..width]);
        }
        return;
    }
    let rest = slices.clone();
    let Some(first) = slices.next() else { return };
    let starts_from_zero = old.is_none() || !how.include;
    if how.combine == Combine::Sum && slices.next().is_none() {
        // One slice alone: nothing to carry in a wider type.
        for (to, &new) in to.iter_mut().zip(first) {
            *to = if starts_from_zero { new } else { T::plus(*to, new) };
        }
        return;
    }
    for (tile, to) in to.chunks_mut(TILE).enumerate() {
        let from = tile * TILE;
        if how.combine == Combine::Sum {
            let mut sums = [T::ZERO; TILE];
            if !starts_from_zero {
                for (sum, &old) in sums.iter_mut().zip(&*to) {
                    *sum = old.widen();
                }
            }
            for slice in rest.clone() {
                for (sum, &new) in sums.iter_mut().zip(&slice[from..from + to.len()]) {
                    *sum = T::add(*sum, new.widen());
                }
            }
            for (to, &sum) in to.iter_mut().zip(&sums) {
                *to = T::narrow(sum);
            }
        } else {
            for (column, to) in to.iter_mut().enumerate() {
                let mut tally = Tally::new(*to, how.combine, how.include && old.is_some());
                for slice in rest.clone() {
                    tally.take(slice[from + column], how.combine);
                }
                *to = tally.result(how.combine);
            }
        }
    }
}

/// What combining needs of a type: sums and products are carried in a wider one.
pub(super) trait Arithmetic: Copy + Send + Sync + PartialOrd {
    type Wide: Copy;
    const ZERO: Self::Wide;
    const ONE: Self::Wide;
    fn widen(self) -> Self::Wide;
    fn narrow(wide: Self::Wide) -> Self;
    fn add(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    fn multiply(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// The quotient; whole numbers round down.
    fn share(sum: Self::Wide, count: usize) -> Self::Wide;
    fn plus(a: Self, b: Self) -> Self;
}

macro_rules! float_arithmetic {
    ($($t:ty)*) => { $(
        impl Arithmetic for $t {
            type Wide = f64;
            const ZERO: f64 = 0.0;
            const ONE: f64 = 1.0;
            #[inline(always)]
            fn widen(self) -> f64 { self as f64 }
            #[inline(always)]
            fn narrow(wide: f64) -> $t { wide as $t }
            #[inline(always)]
            fn add(a: f64, b: f64) -> f64 { a + b }
            #[inline(always)]
            fn multiply(a: f64, b: f64) -> f64 { a * b }
            #[inline(always)]
            fn share(sum: f64, count: usize) -> f64 { sum / count as f64 }
            #[inline(always)]
            fn plus(a: $t, b: $t) -> $t { a + b }
        }
    )* };
}
float_arithmetic! { f32 f64 }

macro_rules! whole_arithmetic {
    ($($t:ty)*) => { $(
        impl Arithmetic for $t {
            type Wide = i64;
            const ZERO: i64 = 0;
            const ONE: i64 = 1;
            #[inline(always)]
            fn widen(self) -> i64 { self as i64 }
            #[inline(always)]
            fn narrow(wide: i64) -> $t { wide as $t }
            #[inline(always)]
            fn add(a: i64, b: i64) -> i64 { a.wrapping_add(b) }
            #[inline(always)]
            fn multiply(a: i64, b: i64) -> i64 { a.wrapping_mul(b) }
            #[inline(always)]
            fn share(sum: i64, count: usize) -> i64 { sum.div_euclid(count as i64) }
            #[inline(always)]
            fn plus(a: $t, b: $t) -> $t { a.wrapping_add(b) }
        }
    )* };
}
whole_arithmetic! { i64 }

/// One place that several elements go to.
#[derive(Clone, Copy)]
pub(super) struct Tally<T: Arithmetic> {
    wide: T::Wide,
    best: T,
    count: usize,
    met: bool,
}

impl<T: Arithmetic> Tally<T> {
    #[inline(always)]
    pub(super) fn new(old: T, combine: Combine, include: bool) -> Tally<T> {
        let wide = match (include, combine) {
            (true, _) => old.widen(),
            (false, Combine::Product) => T::ONE,
            (false, _) => T::ZERO,
        };
        Tally { wide, best: old, count: include as usize, met: false }
    }
    #[inline(always)]
    pub(super) fn take(&mut self, new: T, combine: Combine) {
        match combine {
            Combine::Sum | Combine::Mean => self.wide = T::add(self.wide, new.widen()),
            Combine::Product => self.wide = T::multiply(self.wide, new.widen()),
            _ if self.count == 0 || combine == Combine::Replace => self.best = new,
            // A NaN is not ordered: it replaces and then stays.
            Combine::Largest if new > self.best || is_nan(new) => self.best = new,
            Combine::Smallest if new < self.best || is_nan(new) => self.best = new,
            _ => {}
        }
        self.count += 1;
        self.met = true;
    }
    /// Did anything come?
    #[inline(always)]
    pub(super) fn met(&self) -> bool {
        self.met
    }
    #[inline(always)]
    pub(super) fn result(self, combine: Combine) -> T {
        match combine {
            Combine::Sum | Combine::Product => T::narrow(self.wide),
            Combine::Mean => T::narrow(T::share(self.wide, self.count.max(1))),
            _ => self.best,
        }
    }
}

#[inline(always)]
#[expect(clippy::eq_op, reason = "only a NaN differs from itself")]
fn is_nan<T: PartialOrd>(x: T) -> bool {
    x != x
}
