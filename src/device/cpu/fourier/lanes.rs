//! Many transforms at once: number `l` of each vector belongs to transform `l`, so every step of one is a step of all, and no
//! vector is ever turned around.

use super::Number;
use super::plan::{Complex, Level, Plan};
use crate::device::cpu::real::Real;
use crate::device::cpu::simd::{Kernel, SimdLevel};
use std::marker::PhantomData;

/// Where the pairs of several transforms stand: a vector of real parts and one of imaginary parts for each pair.
#[derive(Clone, Copy)]
pub(super) struct Places<'a, T, const L: usize> {
    real: *mut T,
    imaginary: *mut T,
    step: usize,
    count: usize,
    room: PhantomData<&'a mut [T]>,
}

impl<'a, T: Number, const L: usize> Places<'a, T, L> {
    /// The two vectors of each pair lie beside each other.
    pub(super) fn pairs(room: &'a mut [T]) -> Self {
        let count = room.len() / (2 * L);
        let real = room.as_mut_ptr();
        // With a single vector there is no pair, and nobody follows the other pointer.
        Places { real, imaginary: real.wrapping_add(L), step: 2 * L, count, room: PhantomData }
    }
    /// All vectors of real parts, then those of imaginary ones.
    pub(super) fn planes(room: &'a mut [T]) -> Self {
        let count = room.len() / (2 * L);
        let real = room.as_mut_ptr();
        Places { real, imaginary: real.wrapping_add(count * L), step: L, count, room: PhantomData }
    }
    /// With real and imaginary parts exchanged: a transform of these turns the other way.
    pub(super) fn exchanged(self) -> Self {
        Places { real: self.imaginary, imaginary: self.real, ..self }
    }
    pub(super) fn count(&self) -> usize {
        self.count
    }
    /// # Safety
    /// There are more than `i` pairs.
    #[inline(always)]
    pub(super) unsafe fn get(&self, i: usize) -> Pair<T, L> {
        debug_assert!(i < self.count);
        // SAFETY: the room holds `count` pairs of vectors.
        unsafe { Pair(get(self.real.add(i * self.step)), get(self.imaginary.add(i * self.step))) }
    }
    /// # Safety
    /// There are more than `i` pairs, and nobody else looks at this one meanwhile.
    #[inline(always)]
    unsafe fn own(&self, i: usize) -> Own<'a, T, L> {
        debug_assert!(i < self.count);
        // SAFETY: the room holds `count` pairs of vectors, whose alignment is that of a number.
        unsafe { (&mut *self.real.add(i * self.step).cast(), &mut *self.imaginary.add(i * self.step).cast()) }
    }
    /// # Safety
    /// There are more than `i` pairs.
    #[inline(always)]
    pub(super) unsafe fn put(&self, i: usize, pair: Pair<T, L>) {
        debug_assert!(i < self.count);
        // SAFETY: as above, and nobody else has the room.
        unsafe {
            put(self.real.add(i * self.step), pair.0);
            put(self.imaginary.add(i * self.step), pair.1);
        }
    }
}

/// A vector.
pub(super) type Lanes<T, const L: usize> = [T; L];

/// # Safety
/// A vector can be read.
#[inline(always)]
pub(super) unsafe fn get<T: Number, const L: usize>(from: *const T) -> Lanes<T, L> {
    // SAFETY: the caller vouches for a vector.
    unsafe { from.cast::<Lanes<T, L>>().read() }
}

/// # Safety
/// A vector can be written.
#[inline(always)]
pub(super) unsafe fn put<T: Number, const L: usize>(to: *mut T, lanes: Lanes<T, L>) {
    // SAFETY: the caller vouches for a vector.
    unsafe { to.cast::<Lanes<T, L>>().write(lanes) }
}

/// Real and imaginary parts.
#[derive(Clone, Copy)]
pub(super) struct Pair<T, const L: usize>(pub(super) Lanes<T, L>, pub(super) Lanes<T, L>);

impl<T: Number, const L: usize> Pair<T, L> {
    pub(super) const ZERO: Self = Pair([T::ZERO; L], [T::ZERO; L]);
    #[inline(always)]
    pub(super) fn plus(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] += other.0[l];
            self.1[l] += other.1[l];
        }
        self
    }
    #[inline(always)]
    pub(super) fn less(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] = self.0[l] - other.0[l];
            self.1[l] = self.1[l] - other.1[l];
        }
        self
    }
    /// Times `-i`.
    #[inline(always)]
    pub(super) fn turned_right(mut self) -> Self {
        for l in 0..L {
            (self.0[l], self.1[l]) = (self.1[l], -self.0[l]);
        }
        self
    }
    #[inline(always)]
    pub(super) fn conjugate(mut self) -> Self {
        for l in 0..L {
            self.1[l] = -self.1[l];
        }
        self
    }
    #[inline(always)]
    pub(super) fn scaled(mut self, by: T) -> Self {
        for l in 0..L {
            self.0[l] *= by;
            self.1[l] *= by;
        }
        self
    }
    /// `self + other · by`.
    #[inline(always)]
    pub(super) fn plus_scaled<const FUSED: bool>(mut self, other: Self, by: T) -> Self {
        for l in 0..L {
            self.0[l] = Real::times_plus::<FUSED>(other.0[l], by, self.0[l]);
            self.1[l] = Real::times_plus::<FUSED>(other.1[l], by, self.1[l]);
        }
        self
    }
    /// The same number in all lanes.
    #[inline(always)]
    pub(super) fn all([c, s]: Complex<T>) -> Self {
        Pair([c; L], [s; L])
    }
    #[inline(always)]
    pub(super) fn times<const FUSED: bool>(self, by: Complex<T>) -> Self {
        self.times_each::<FUSED>(Pair::all(by))
    }
    #[inline(always)]
    pub(super) fn times_each<const FUSED: bool>(self, by: Self) -> Self {
        let mut product = self;
        for l in 0..L {
            let (a, b, c, s) = (self.0[l], self.1[l], by.0[l], by.1[l]);
            product.0[l] = Real::times_plus::<FUSED>(a, c, -(b * s));
            product.1[l] = Real::times_plus::<FUSED>(b, c, a * s);
        }
        product
    }
}

/// A transform of `R` pairs.
trait Short<T, const L: usize, const R: usize> {
    fn of<const FUSED: bool>(pairs: [Pair<T, L>; R], roots: &[Complex<T>]) -> [Pair<T, L>; R];
}

struct Even;
struct Odd;

impl<T: Number, const L: usize> Short<T, L, 2> for Even {
    #[inline(always)]
    fn of<const FUSED: bool>([a, b]: [Pair<T, L>; 2], _: &[Complex<T>]) -> [Pair<T, L>; 2] {
        [a.plus(b), a.less(b)]
    }
}

/// Vectors of one pair, which no other reference shows: so the compiler takes a loop over lanes for one over registers.
type Own<'a, T, const L: usize> = (&'a mut Lanes<T, L>, &'a mut Lanes<T, L>);

/// A transform of four pairs, in place, of which the results but the first are turned where that is wanted.
#[inline(always)]
fn fours<T: Number, const L: usize, const FUSED: bool, const TURNED: bool>(
    a: Own<'_, T, L>,
    b: Own<'_, T, L>,
    c: Own<'_, T, L>,
    d: Own<'_, T, L>,
    turns: [Complex<T>; 3],
) {
    let times = |(x, y): (T, T), [c, s]: Complex<T>| match TURNED {
        true => (Real::times_plus::<FUSED>(x, c, -(y * s)), Real::times_plus::<FUSED>(y, c, x * s)),
        false => (x, y),
    };
    for l in 0..L {
        let (even, odd) = ((a.0[l] + c.0[l], a.1[l] + c.1[l]), (b.0[l] + d.0[l], b.1[l] + d.1[l]));
        let (across, turned) = ((a.0[l] - c.0[l], a.1[l] - c.1[l]), (b.1[l] - d.1[l], d.0[l] - b.0[l]));
        (a.0[l], a.1[l]) = (even.0 + odd.0, even.1 + odd.1);
        (b.0[l], b.1[l]) = times((across.0 + turned.0, across.1 + turned.1), turns[0]);
        (c.0[l], c.1[l]) = times((even.0 - odd.0, even.1 - odd.1), turns[1]);
        (d.0[l], d.1[l]) = times((across.0 - turned.0, across.1 - turned.1), turns[2]);
    }
}

/// Pairs that stand opposite each other share their products.
impl<T: Number, const L: usize, const R: usize> Short<T, L, R> for Odd {
    #[inline(always)]
    fn of<const FUSED: bool>(x: [Pair<T, L>; R], roots: &[Complex<T>]) -> [Pair<T, L>; R] {
        let (mut sums, mut differences, mut out) = (x, x, x);
        for i in 1..=R / 2 {
            sums[i] = x[i].plus(x[R - i]);
            differences[i] = x[i].less(x[R - i]);
            out[0] = out[0].plus(sums[i]);
        }
        for k in 1..=R / 2 {
            let (mut along, mut across) = (x[0], Pair::ZERO);
            for i in 1..=R / 2 {
                let [cosine, sine] = roots[i * k % R];
                along = along.plus_scaled::<FUSED>(sums[i], cosine);
                across = across.plus_scaled::<FUSED>(differences[i], sine);
            }
            out[k] = along.plus(across.turned_right());
            out[R - k] = along.less(across.turned_right());
        }
        out
    }
}

/// The transforms of all lanes, in place; frequencies end up where the plan says.
pub(super) struct Transforms<'a, T, const L: usize> {
    pub(super) plan: &'a Plan<T>,
    pub(super) places: Places<'a, T, L>,
}

impl<T: Number, const L: usize> Kernel for Transforms<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Transforms { plan, places } = self;
        assert!(places.count() >= plan.length, "a plan of {} pairs for {}", plan.length, places.count());
        for step in &plan.steps {
            let level = &plan.levels[step.level];
            let work = Work { places, level, first: step.first, blocks: step.blocks, plan };
            // SAFETY: a plan's steps stay inside of its length, and there are so many pairs.
            unsafe {
                match level.radix {
                    2 => work.run::<Even, 2, FUSED>(),
                    3 => work.run::<Odd, 3, FUSED>(),
                    4 => work.run_fours::<FUSED>(),
                    5 => work.run::<Odd, 5, FUSED>(),
                    _ => work.run_any::<FUSED>(),
                }
            }
        }
    }
}

struct Work<'a, T, const L: usize> {
    places: Places<'a, T, L>,
    plan: &'a Plan<T>,
    level: &'a Level,
    first: usize,
    blocks: usize,
}

impl<T: Number, const L: usize> Work<'_, T, L> {
    /// # Safety
    /// The step lies inside of the plan, and the plan inside of the places.
    #[inline(always)]
    unsafe fn run<S: Short<T, L, R>, const R: usize, const FUSED: bool>(&self) {
        let (rest, places) = (self.level.rest, self.places);
        let roots = &self.plan.roots[self.level.roots..];
        let turns = self.plan.turns[self.level.turns..][..(rest - 1) * (R - 1)].chunks_exact(R - 1);
        for block in 0..self.blocks {
            let at = self.first + block * R * rest;
            // SAFETY: as the caller vouches: a block has `R · rest` pairs.
            unsafe {
                let mut pairs = [Pair::ZERO; R];
                for (i, pair) in pairs.iter_mut().enumerate() {
                    *pair = places.get(at + i * rest);
                }
                for (k, pair) in S::of::<FUSED>(pairs, roots).into_iter().enumerate() {
                    places.put(at + k * rest, pair);
                }
                for (p, turns) in turns.clone().enumerate() {
                    let at = at + p + 1;
                    for (i, pair) in pairs.iter_mut().enumerate() {
                        *pair = places.get(at + i * rest);
                    }
                    let pairs = S::of::<FUSED>(pairs, roots);
                    places.put(at, pairs[0]);
                    for k in 1..R {
                        places.put(at + k * rest, pairs[k].times::<FUSED>(turns[k - 1]));
                    }
                }
            }
        }
    }

    /// The same for a factor of 4.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn run_fours<const FUSED: bool>(&self) {
        let (rest, places) = (self.level.rest, self.places);
        let turns = self.plan.turns[self.level.turns..][..(rest - 1) * 3].as_chunks::<3>().0;
        let still = [[T::ONE, T::ZERO]; 3];
        for block in 0..self.blocks {
            let at = self.first + block * 4 * rest;
            // SAFETY: as the caller vouches: a block has `4 · rest` pairs, and these are four of them.
            unsafe {
                let own = |k: usize, p: usize| places.own(at + p + k * rest);
                fours::<T, L, FUSED, false>(own(0, 0), own(1, 0), own(2, 0), own(3, 0), still);
                for (p, &turns) in turns.iter().enumerate() {
                    let p = p + 1;
                    fours::<T, L, FUSED, true>(own(0, p), own(1, p), own(2, p), own(3, p), turns);
                }
            }
        }
    }

    /// The same for any odd factor, with what is between in memory.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn run_any<const FUSED: bool>(&self) {
        let (radix, rest, places) = (self.level.radix, self.level.rest, self.places);
        let roots = &self.plan.roots[self.level.roots..][..radix];
        let half = radix / 2;
        let (mut sums, mut differences) = ([Pair::ZERO; 16], [Pair::ZERO; 16]);
        for block in 0..self.blocks {
            for p in 0..rest {
                let at = self.first + block * radix * rest + p;
                let turns = self.level.turns + p.saturating_sub(1) * (radix - 1);
                // SAFETY: as the caller vouches.
                unsafe {
                    let x = places.get(at);
                    let mut total = x;
                    for i in 1..=half {
                        let (left, right) = (places.get(at + i * rest), places.get(at + (radix - i) * rest));
                        (sums[i], differences[i]) = (left.plus(right), left.less(right));
                        total = total.plus(sums[i]);
                    }
                    places.put(at, total);
                    for k in 1..=half {
                        let (mut along, mut across, mut root) = (x, Pair::ZERO, 0);
                        for i in 1..=half {
                            root = if root + k >= radix { root + k - radix } else { root + k };
                            let [cosine, sine] = roots[root];
                            along = along.plus_scaled::<FUSED>(sums[i], cosine);
                            across = across.plus_scaled::<FUSED>(differences[i], sine);
                        }
                        let across = across.turned_right();
                        let (mut left, mut right) = (along.plus(across), along.less(across));
                        if p > 0 {
                            left = left.times::<FUSED>(self.plan.turns[turns + k - 1]);
                            right = right.times::<FUSED>(self.plan.turns[turns + radix - k - 1]);
                        }
                        places.put(at + k * rest, left);
                        places.put(at + (radix - k) * rest, right);
                    }
                }
            }
        }
    }
}
