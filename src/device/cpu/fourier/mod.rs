//! Fourier transforms on the processor.
//!
//! - [`plan`]: a length as factors, and the turns between them.
//! - [`lanes`]: the transform itself, of many signals at once, one to a lane.
//! - [`many`]: what real numbers and half spectra take before and behind it.
//! - [`across`]: signals whose neighbours lie beside each other in memory.
//! - [`long`]: one signal alone, as a matrix.
//! - [`pairs`]: any transform as one of pairs.
//! - [`chirp`]: lengths with a great prime factor, by a convolution.
//!
//! Each signal is computed by itself, in an order that its length alone decides: the same bits for any number of threads, and whatever
//! stands in the other lanes.

mod across;
mod chirp;
mod lanes;
mod long;
mod many;
mod pairs;
mod plan;
#[cfg(test)]
mod tests;

use super::gemm::{self, Scratch};
use super::memory::Aside;
use super::real::Real;
use super::simd::SimdLevel;
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::fourier::{Form, Fourier, Transform, no_spectrum};
use crate::error::Fault;
use crate::layout::DType;
use long::One;
use many::Many;
use std::cell::RefCell;

/// The floats that are transformed.
trait Number: Real + gemm::Real {}
impl Number for f32 {}
impl Number for f64 {}

/// Lanes of a vector of f32 and of f64.
const SINGLE: usize = 16;
const DOUBLE: usize = 4;
/// From this length on signals are computed one by one: `L` of them would not stay in a cache.
const LONG: usize = 8192;
/// From this length on one signal is shared out among threads.
const SHARED: usize = 1 << 16;

impl Fourier for Cpu {
    fn transform(&self, x: &Value, how: &Transform) -> Result<Value, Fault> {
        match x.dtype() {
            DType::F32 => transform::<f32, SINGLE>(x, how),
            DType::F64 => transform::<f64, DOUBLE>(x, how),
            half if half.is_half() => self.cast(&self.transform(&self.cast(x, DType::F32)?, how)?, half),
            other => Err(no_spectrum(other)),
        }
    }
}

fn transform<T: Number, const L: usize>(x: &Value, how: &Transform) -> Result<Value, Fault> {
    let walk = how.plan(x)?;
    // What is too large is refused before anything is made for it.
    let count = walk.shape.count();
    if count == 0 {
        return Value::build::<T>(walk.shape, |_| ());
    }
    let _aside = if how.length >= SHARED { Some(Aside::new(aside::<T>(how))?) } else { None };
    if walk.inner > 1 {
        // (f64 has no loops for signals that lie beside each other: code has a budget.)
        let many = if const { !T::DOUBLE } && walk.inner >= L && how.length <= across::LONGEST {
            Many::of(*how)
        } else {
            None
        };
        if const { !T::DOUBLE }
            && let Some(many) = many
        {
            let x = Cpu.contiguous(x)?;
            let from = x.dense::<T>()?;
            return Value::build::<T>(walk.shape, |out| {
                across::run::<T, L>(&many, from, out, [walk.outer, walk.inner])
            });
        }
        return behind::<T, L>(x, how);
    }
    let x = Cpu.contiguous(x)?;
    let from = x.dense::<T>()?;
    Value::build::<T>(walk.shape, |out| rows::<T, L>(from, out, how))
}

/// The bytes that a long signal takes beside itself and its result: tables, and room between.
fn aside<T: Number>(how: &Transform) -> usize {
    let of = |pairs: usize, size: usize| pairs.saturating_mul(2 * size);
    if plan::factors(how.length).is_some() {
        let odd = matches!(how.form, Form::Half | Form::Real) && how.length % 2 == 1;
        // Turns and the matrix; signals as pairs.
        return of(how.length, size_of::<T>()).saturating_mul(if odd { 4 } else { 2 });
    }
    // A chirp; its filter and two rooms, at most twice as long again; and what makes the filter, in f64.
    let longer = how.length.saturating_mul(4);
    of(how.length, size_of::<T>())
        .saturating_add(of(longer, size_of::<T>()).saturating_mul(3))
        .saturating_add(of(longer, size_of::<f64>()).saturating_mul(4))
}

/// With the axis brought to the end, and back.
fn behind<T: Number, const L: usize>(x: &Value, how: &Transform) -> Result<Value, Fault> {
    let moved = |x: &Value, pairs: bool, to_end: bool| {
        let last = x.rank() - 1 - pairs as usize;
        let mut order: Vec<usize> = (0..x.rank()).collect();
        let (from, to) = if to_end { (how.axis, last) } else { (last, how.axis) };
        let axis = order.remove(from);
        order.insert(to, axis);
        Cpu.contiguous(&x.with_layout(x.layout().permuted(&order))?)
    };
    let turned = moved(x, how.form != Form::Half, true)?;
    let axis = turned.rank() - 1 - (how.form != Form::Half) as usize;
    let result = transform::<T, L>(&turned, &Transform { axis, ..*how })?;
    moved(&result, how.form != Form::Real, false)
}

/// Signals that stand one behind the other.
fn rows<T: Number, const L: usize>(from: &[T], out: &mut [T], how: &Transform) {
    let [width, width_out] = Many::<T>::sizes(how);
    let signals = from.len() / width;
    let alone = 2 * signals <= L || how.length > LONG;
    let odd = matches!(how.form, Form::Half | Form::Real) && how.length % 2 == 1;
    if alone && odd && One::<T>::of::<L>(&pairs::whole(Form::Forward, how.length, 1.0)).is_some() {
        return pairs::rows::<T, L>(from, out, how);
    }
    if alone && let Some(one) = One::of::<L>(how) {
        let room = one.room::<L>();
        if how.length >= SHARED {
            let mut room = vec![T::ZERO; room];
            for (from, out) in from.chunks_exact(width).zip(out.chunks_exact_mut(width_out)) {
                one.run::<L>(from, out, &mut room);
            }
            return;
        }
        let work = 2 + how.length.ilog2() as usize;
        return parallel::chunks(out, width_out, work, |signal, out| {
            let from = &from[signal * width..][..width];
            with_long_room::<T, ()>(room, |room| one.run::<L>(from, out, room));
        });
    }
    let Some(many) = Many::of(*how) else { return chirp::rows::<T, L>(from, out, how) };
    let work = width.max(width_out) / width_out.min(width) + how.length.ilog2() as usize;
    parallel::chunks(out, L * width_out, work, |index, out| {
        let signals = out.len() / width_out;
        with_rooms::<T, L, ()>(&many, |[front, between, part]| {
            let from = &from[index * L * width..][..signals * width];
            // SAFETY: so many signals of `width` numbers stand there, and the room holds `L` for each number.
            unsafe { T::turn(from.as_ptr(), width as isize, signals, width, front.as_mut_ptr(), L) };
            many.run::<L>([front, between, part], &mut |first, vectors| {
                let (count, to) = (vectors.len() / L, &mut out[first..]);
                assert!(first + count <= width_out);
                // SAFETY: so many vectors stand there; of each the first so many numbers belong to as many rows of the result.
                unsafe { T::turn(vectors.as_ptr(), L as isize, count, signals, to.as_mut_ptr(), width_out) };
            });
        });
    });
}

/// The level of loops that move more than they compute: AVX2 does it as fast.
const fn moving<T: Number>() -> SimdLevel {
    if matches!(T::WIDEST, SimdLevel::Avx512) { SimdLevel::Avx2 } else { T::WIDEST }
}

thread_local! {
    static ROOM: RefCell<Scratch> = RefCell::default();
    static LONG_ROOM: RefCell<Scratch> = RefCell::default();
}

/// Room for some vectors, which the thread keeps; it holds old numbers.
fn with_room<T: Number, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    gemm::lend(&ROOM, |scratch| work(scratch.elements(count)))
}

/// Room for one signal, while that for vectors is lent as well.
fn with_long_room<T: Number, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    gemm::lend(&LONG_ROOM, |scratch| work(scratch.elements(count)))
}

/// The rooms that some transforms need.
fn with_rooms<T: Number, const L: usize, R>(many: &Many<T>, work: impl FnOnce([&mut [T]; 3]) -> R) -> R {
    let [front, between, back] = many.rooms().map(|vectors| vectors * L);
    with_room(front + between + back, |room| {
        let (first, rest) = room.split_at_mut(front);
        let (second, third) = rest.split_at_mut(between);
        work([first, second, third])
    })
}
