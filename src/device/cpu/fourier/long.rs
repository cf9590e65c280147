//! One long signal: `n = a · b` numbers are a matrix of `a` rows. Its columns are transformed, `L` neighbours at once, then each number is
//! turned by its place, then the rows are transformed, again `L` at once, and their results are neighbours in the spectrum. So
//! all but the way from columns to rows is done without turning a vector around.
//!
//! Bailey: "FFTs in external or hierarchical memory", 1990.

use super::across::Load;
use super::lanes::{Pair, Places, Transforms, get, put};
use super::many::{folded, parted};
use super::plan::{Complex, Plan, Quarter, factors, kept, turn};
use super::{Number, moving, with_room};
use crate::device::cpu::copy::Shared;
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::fourier::{Form, Transform};
use std::sync::Arc;

/// Columns and rows of a matrix that fill vectors well enough.
const LEAST: usize = 8;

/// What transforms of so many pairs have in common.
struct Long<T> {
    /// Of columns, and of rows.
    first: Arc<Plan<T>>,
    second: Arc<Plan<T>>,
    /// `e^(-2πi jk / n)` for each `L` columns j, each k: a vector of real and one of imaginary parts.
    turns: Vec<T>,
}

/// The length of columns and that of rows: both near the root. None where one of them would be short.
fn split(length: usize) -> Option<[usize; 2]> {
    factors(length)?;
    let rows = (LEAST..=length.isqrt()).rev().find(|&rows| length.is_multiple_of(rows))?;
    Some([rows, length / rows])
}

impl<T: Number> Long<T> {
    fn of<const L: usize>(length: usize) -> Option<Arc<Long<T>>> {
        let [columns, rows] = split(length)?;
        let (first, second) = (Plan::of(columns)?, Plan::of(rows)?);
        Some(kept(length, |length| {
            // Turns by few places, and by many: each is a product of two.
            let [few, many] = [1, 64].map(|step| {
                let count = if step == 1 { 64 } else { length.div_ceil(64) };
                (0..count).map(|k| turn::<f64>(k * step, length)).collect::<Vec<_>>()
            });
            let blocks = rows.div_ceil(L);
            let mut turns = vec![T::ZERO; blocks * columns * 2 * L];
            for (place, pair) in turns.chunks_exact_mut(2 * L).enumerate() {
                let (block, k) = (place / columns, place % columns);
                let (real, imaginary) = pair.split_at_mut(L);
                for (l, (real, imaginary)) in real.iter_mut().zip(imaginary).enumerate() {
                    let at = (block * L + l) * k % length;
                    let ([a, b], [c, d]) = (many[at / 64], few[at % 64]);
                    (*real, *imaginary) = (T::narrow(a * c - b * d), T::narrow(a * d + b * c));
                }
            }
            Long { first, second, turns }
        }))
    }
    /// Numbers of the matrix between: rows of real, then of imaginary parts, whole vectors.
    fn line<const L: usize>(&self) -> usize {
        self.second.length.next_multiple_of(L)
    }
    fn room<const L: usize>(&self) -> usize {
        2 * self.line::<L>() * self.first.length
    }
    /// Pairs to pairs.
    fn run<const L: usize>(&self, from: &[T], out: &mut [T], room: &mut [T], back: bool, scale: T) {
        let (columns, rows, line) = (self.first.length, self.second.length, self.line::<L>());
        assert!(from.len() >= 2 * columns * rows && out.len() >= 2 * columns * rows && room.len() >= self.room::<L>());
        let work = |length: usize| 2 * L * length * (2 + length.ilog2() as usize);
        let between = Shared::new(room);
        parallel::parts(rows.div_ceil(L), work(columns), |block| {
            with_room::<T, ()>(2 * columns * L, |vectors| {
                let (first, lanes) = (block * L, L.min(rows - block * L));
                simd::run(Load::<T, L> { from, inner: rows, first, lanes, pairs: true, to: &mut *vectors });
                let places = Places::<T, L>::pairs(vectors);
                let places = if back { places.exchanged() } else { places };
                simd::run(Transforms { plan: &self.first, places });
                let turns = &self.turns[block * columns * 2 * L..][..columns * 2 * L];
                // SAFETY: the room holds this vector of each line, which no other part writes.
                let to = unsafe { between.at(first as isize) };
                simd::run(Between { plan: &self.first, places, turns, to, line });
            });
        });
        let room = &*room;
        let shared = Shared::new(out);
        parallel::parts(columns.div_ceil(L), work(rows), |block| {
            with_room::<T, ()>(2 * rows * L, |vectors| {
                let (first, lanes) = (block * L, L.min(columns - block * L));
                let lines = &room[2 * line * first..][..2 * line * lanes];
                let step = 2 * line as isize;
                let (real, imaginary) = vectors.split_at_mut(rows * L);
                // SAFETY: so many lines stand there, each of real and then of imaginary parts, and each plane has `rows` vectors.
                unsafe {
                    T::turn(lines.as_ptr(), step, lanes, rows, real.as_mut_ptr(), L);
                    T::turn(lines[line..].as_ptr(), step, lanes, rows, imaginary.as_mut_ptr(), L);
                }
                let places = Places::<T, L>::planes(vectors);
                simd::run(Transforms { plan: &self.second, places });
                let places = if back { places.exchanged() } else { places };
                // SAFETY: pairs of this part stand in no other.
                let to = unsafe { shared.at(2 * first as isize) };
                simd::run(Spread { plan: &self.second, places, to, inner: columns, lanes, scale });
            });
        });
    }
}

/// Transformed columns, turned, become parts of lines.
struct Between<'a, T, const L: usize> {
    plan: &'a Plan<T>,
    places: Places<'a, T, L>,
    turns: &'a [T],
    to: *mut T,
    line: usize,
}

impl<T: Number, const L: usize> Kernel for Between<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Between { plan, places, turns, to, line } = self;
        assert!(places.count() >= plan.length && turns.len() >= plan.length * 2 * L);
        for (k, &place) in plan.order.iter().enumerate() {
            // SAFETY: an order names places of its plan; there are two lines and turns for each frequency.
            unsafe {
                let turns = Pair(get(turns.as_ptr().add(k * 2 * L)), get(turns.as_ptr().add((k * 2 + 1) * L)));
                let pair = places.get(place as usize).times_each::<FUSED>(turns);
                put(to.add(2 * k * line), pair.0);
                put(to.add((2 * k + 1) * line), pair.1);
            }
        }
    }
}

/// Transformed rows become neighbours.
struct Spread<'a, T, const L: usize> {
    plan: &'a Plan<T>,
    places: Places<'a, T, L>,
    to: *mut T,
    inner: usize,
    lanes: usize,
    scale: T,
}

impl<T: Number, const L: usize> Kernel for Spread<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Spread { plan, places, to, inner, lanes, scale } = self;
        assert!(places.count() >= plan.length);
        for (k, &place) in plan.order.iter().enumerate() {
            // SAFETY: an order names places of its plan; line `k` of the result has `inner` pairs, of which these are ours.
            let (pair, to) = unsafe {
                let to = to.add(2 * k * inner).cast::<Complex<T>>();
                (places.get(place as usize).scaled(scale), std::slice::from_raw_parts_mut(to, lanes))
            };
            write(pair, to);
        }
    }
}

/// A vector's pairs, as neighbours; fewer where there is no room for all.
#[inline(always)]
pub(super) fn write<T: Number, const L: usize>(pair: Pair<T, L>, to: &mut [Complex<T>]) {
    match to.first_chunk_mut::<L>() {
        Some(to) => {
            for (l, to) in to.iter_mut().enumerate() {
                *to = [pair.0[l], pair.1[l]];
            }
        }
        None => {
            for (l, to) in to.iter_mut().enumerate() {
                *to = [pair.0[l], pair.1[l]];
            }
        }
    }
}

/// Neighbours as a vector.
#[inline(always)]
fn read<T: Number, const L: usize>(from: &[Complex<T>; L]) -> Pair<T, L> {
    let mut pair = Pair::ZERO;
    for (l, from) in from.iter().enumerate() {
        [pair.0[l], pair.1[l]] = *from;
    }
    pair
}

/// The other way round.
#[inline(always)]
fn reversed<T: Number, const L: usize>(pair: Pair<T, L>) -> Pair<T, L> {
    let mut turned = pair;
    for l in 0..L {
        (turned.0[l], turned.1[l]) = (pair.0[L - 1 - l], pair.1[L - 1 - l]);
    }
    turned
}

/// What the spectrum of pairs of neighbours is to that of the numbers themselves: `n / 2` pairs, and `n / 2 + 1`. The one is made of the
/// other, from both ends to the middle.
struct Halves<'a, T, const L: usize> {
    how: &'a Transform,
    quarter: &'a [Complex<T>],
    from: &'a [Complex<T>],
    to: &'a mut [Complex<T>],
}

impl<T: Number, const L: usize> Kernel for Halves<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Halves { how, quarter, from, to } = self;
        let (half, forward) = (how.length / 2, how.form == Form::Half);
        let scale = if forward { how.scale } else { 1.0 };
        let ([a, b], scale_ends) = (from[0], T::narrow(scale));
        if forward {
            (to[0], to[half]) = ([(a + b) * scale_ends, T::ZERO], [(a - b) * scale_ends, T::ZERO]);
        } else {
            let last = from[half][0];
            to[0] = [(a + last) * scale_ends, (a - last) * scale_ends];
        }
        let by = T::narrow(0.5 * scale * how.weight(1));
        let mut k = 1;
        while k + L <= half / 2 + 1 {
            let mirrored = half + 1 - k - L;
            pair_of::<T, L, FUSED>(forward, by, &quarter[k..], from, to, [k, mirrored]);
            k += L;
        }
        while k <= half / 2 {
            pair_of::<T, 1, FUSED>(forward, by, &quarter[k..], from, to, [k, half - k]);
            k += 1;
        }
    }
}

/// So many pairs from `k` on, and those that mirror them.
#[inline(always)]
fn pair_of<T: Number, const N: usize, const FUSED: bool>(
    forward: bool,
    by: T,
    quarter: &[Complex<T>],
    from: &[Complex<T>],
    to: &mut [Complex<T>],
    [k, mirrored]: [usize; 2],
) {
    let (Some(left), Some(right)) = (from[k..].first_chunk::<N>(), from[mirrored..].first_chunk::<N>()) else { return };
    let Some(turn) = quarter.first_chunk::<N>() else { return };
    let (left, right, turn) = (read(left).scaled(by), reversed(read(right)).scaled(by), read(turn));
    let [first, second] = match forward {
        true => parted::<T, N, FUSED>(left, right, turn),
        false => folded::<T, N, FUSED>(left, right, turn),
    };
    write(first, &mut to[k..][..N]);
    write(reversed(second), &mut to[mirrored..][..N]);
}

/// How one signal is transformed, where its length allows it.
pub(super) struct One<T> {
    how: Transform,
    long: Arc<Long<T>>,
    quarter: Option<Arc<Quarter<T>>>,
}

impl<T: Number> One<T> {
    /// Where the length, or half of it for real numbers, is a product of two that fill vectors.
    pub(super) fn of<const L: usize>(how: &Transform) -> Option<One<T>> {
        let real = matches!(how.form, Form::Half | Form::Real);
        if real && !how.length.is_multiple_of(2) {
            return None;
        }
        let long = Long::of::<L>(if real { how.length / 2 } else { how.length })?;
        Some(One { how: *how, long, quarter: real.then(|| Quarter::of(how.length)) })
    }
    /// The numbers of room that [`run`](One::run) needs.
    pub(super) fn room<const L: usize>(&self) -> usize {
        self.long.room::<L>() + if self.quarter.is_some() { self.how.length } else { 0 }
    }
    /// From one signal to its result.
    pub(super) fn run<const L: usize>(&self, from: &[T], out: &mut [T], room: &mut [T]) {
        let One { how, long, .. } = self;
        let (room, pairs) = room.split_at_mut(long.room::<L>());
        let scale = T::narrow(how.scale);
        let Some(quarter) = &self.quarter else {
            return long.run::<L>(from, out, room, how.form == Form::Back, scale);
        };
        let pairs = &mut pairs[..how.length];
        let quarter = &quarter.0[..];
        if how.form == Form::Half {
            long.run::<L>(from, pairs, room, false, T::ONE);
            let (from, to) = (pairs.as_chunks().0, out.as_chunks_mut().0);
            simd::run(Halves::<T, L> { how, quarter, from, to });
        } else {
            let (from, to) = (from.as_chunks().0, pairs.as_chunks_mut().0);
            simd::run(Halves::<T, L> { how, quarter, from, to });
            long.run::<L>(pairs, out, room, true, scale);
        }
    }
}
