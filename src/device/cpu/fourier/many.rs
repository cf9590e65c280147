//! From vectors of what goes into a transform to vectors of what comes out of it: real numbers go in twos as the pairs of a
//! transform of half the length, and what that leaves is put right before or behind it.

use super::lanes::{Pair, Places, Transforms, put};
use super::plan::{Plan, Quarter};
use super::{Number, moving};
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::fourier::{Form, Transform};
use std::ops::Range;
use std::sync::Arc;

/// Pairs of a part of what comes out.
const PART: usize = 32;

/// How transforms of one kind are done, `L` at once.
pub(super) struct Many<T> {
    pub(super) how: Transform,
    plan: Arc<Plan<T>>,
    /// Of even lengths, for real numbers.
    quarter: Option<Arc<Quarter<T>>>,
}

impl<T: Number> Many<T> {
    /// For a length whose factors are small; none for others.
    pub(super) fn of(how: Transform) -> Option<Many<T>> {
        let real = matches!(how.form, Form::Half | Form::Real);
        let halved = real && how.length.is_multiple_of(2);
        let plan = Plan::of(if halved { how.length / 2 } else { how.length })?;
        Some(Many { how, plan, quarter: halved.then(|| Quarter::of(how.length)) })
    }
    /// Numbers of one transform that go in, and that come out.
    pub(super) fn sizes(how: &Transform) -> [usize; 2] {
        let (half, length) = (2 * how.half(), how.length);
        match how.form {
            Form::Forward | Form::Back => [2 * length; 2],
            Form::Half => [length, half],
            Form::Real => [half, length],
        }
    }
    /// Vectors of room that [`run`](Many::run) needs: for what goes in, for work between, for a part of what comes out.
    pub(super) fn rooms(&self) -> [usize; 3] {
        let [front, _] = Many::<T>::sizes(&self.how);
        match (self.how.form, &self.quarter) {
            (Form::Forward | Form::Back, _) | (Form::Half, Some(_)) => [front, 0, 4 * PART],
            _ => [front, 2 * self.plan.length, 4 * PART],
        }
    }
    /// Transforms what stands in the first room, and gives what comes out to `take` in parts: some vectors, and which number of a
    /// result the first of them is. (All at once it would not stay in the nearest cache.)
    pub(super) fn run<const L: usize>(&self, [front, between, part]: [&mut [T]; 3], take: &mut dyn FnMut(usize, &[T])) {
        let (form, odd) = (self.how.form, self.quarter.is_none());
        let Many { how, plan, .. } = self;
        let quarter = self.quarter.as_ref().map_or(&[][..], |quarter| &quarter.0);
        // What is transformed: real numbers of an odd length are all real parts, spectra of real numbers are put together first.
        let places = match form {
            Form::Forward | Form::Back => Places::<T, L>::pairs(front),
            Form::Half if !odd => Places::pairs(front),
            Form::Half => {
                let (real, imaginary) = between.split_at_mut(front.len());
                real.copy_from_slice(front);
                imaginary.fill(T::ZERO);
                Places::planes(between)
            }
            Form::Real => {
                let (spectrum, places) = (Places::pairs(front), Places::pairs(between));
                simd::run(Before { how, quarter, spectrum, places });
                places
            }
        };
        let turned = if matches!(form, Form::Back | Form::Real) { places.exchanged() } else { places };
        simd::run(Transforms { plan, places: turned });
        let (low, high) = part.split_at_mut(2 * PART * L);
        let (mirrored, numbers) = (form == Form::Half && !odd, form == Form::Real && odd);
        let count = match form {
            Form::Half => {
                if odd {
                    how.half()
                } else {
                    quarter.len()
                }
            }
            _ => plan.length,
        };
        for first in (0..count).step_by(PART) {
            let pairs = first..(first + PART).min(count);
            let vectors = pairs.len() * if numbers { 1 } else { 2 };
            let part = Part { low: &mut *low, high: &mut *high, pairs: pairs.clone() };
            simd::run(Behind { how, plan, quarter, places, part });
            take(first * if numbers { 1 } else { 2 }, &low[..vectors * L]);
            if mirrored {
                take(2 * (plan.length + 1 - pairs.end), &high[..vectors * L]);
            }
        }
    }
}

/// Half a spectrum becomes what a transform back makes numbers of: of an even length two at a time.
struct Before<'a, T, const L: usize> {
    how: &'a Transform,
    quarter: &'a [[T; 2]],
    spectrum: Places<'a, T, L>,
    places: Places<'a, T, L>,
}

impl<T: Number, const L: usize> Kernel for Before<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Before { how, quarter, spectrum, places } = self;
        let half = how.length / 2;
        assert!(spectrum.count() > half && places.count() >= if quarter.is_empty() { how.length } else { half });
        // SAFETY: `i` is less than `half + 1`, and what is written less than as many pairs as there are.
        unsafe {
            if quarter.is_empty() {
                // The real part of a transform back of these alone is the result.
                for i in 0..how.length {
                    let pair = if i <= half { spectrum.get(i).scaled(T::narrow(how.weight(i))) } else { Pair::ZERO };
                    places.put(i, pair);
                }
                return;
            }
            for (k, &turn) in quarter.iter().enumerate() {
                let (mut left, mut right) = (spectrum.get(k), spectrum.get(half - k));
                if k == 0 {
                    (left.1, right.1) = ([T::ZERO; L], [T::ZERO; L]);
                } else {
                    let weight = T::narrow(0.5 * how.weight(k));
                    (left, right) = (left.scaled(weight), right.scaled(weight));
                }
                let [first, mirrored] = folded::<T, L, FUSED>(left, right, Pair::all(turn));
                places.put(k, first);
                if k > 0 {
                    places.put(half - k, mirrored);
                }
            }
        }
    }
}

/// Pairs of a result: these, and those that mirror them, in rooms for as many.
struct Part<'a, T> {
    pairs: Range<usize>,
    low: &'a mut [T],
    high: &'a mut [T],
}

/// What a transform left becomes the result.
struct Behind<'a, T, const L: usize> {
    how: &'a Transform,
    plan: &'a Plan<T>,
    quarter: &'a [[T; 2]],
    places: Places<'a, T, L>,
    part: Part<'a, T>,
}

impl<T: Number, const L: usize> Kernel for Behind<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Behind { how, plan, quarter, places, part: Part { pairs, low, high } } = self;
        let (first, last) = (pairs.start, pairs.end - 1);
        assert!(places.count() >= plan.length && plan.order.len() == plan.length);
        assert!(low.len() >= 2 * pairs.len() * L && high.len() >= 2 * pairs.len() * L);
        let (scale, low, high) = (T::narrow(how.scale), low.as_mut_ptr(), high.as_mut_ptr());
        // SAFETY: an order names places of its plan; what is written is less than two vectors for each pair.
        unsafe {
            match how.form {
                Form::Half if !quarter.is_empty() => {
                    for k in pairs {
                        let right = plan.order[if k == 0 { 0 } else { plan.length - k }];
                        let by = T::narrow(0.5 * how.scale * how.weight(k));
                        let (left, right) = (places.get(plan.order[k] as usize), places.get(right as usize));
                        let [pair, mirrored] =
                            parted::<T, L, FUSED>(left.scaled(by), right.scaled(by), Pair::all(quarter[k]));
                        put_pair(low, k - first, pair);
                        put_pair(high, last - k, mirrored);
                    }
                }
                Form::Half => {
                    for k in pairs {
                        let by = T::narrow(how.scale * how.weight(k));
                        put_pair(low, k - first, places.get(plan.order[k] as usize).scaled(by));
                    }
                }
                Form::Real if quarter.is_empty() => {
                    for k in pairs {
                        put(low.add((k - first) * L), places.get(plan.order[k] as usize).scaled(scale).0);
                    }
                }
                Form::Real | Form::Forward | Form::Back => {
                    for k in pairs {
                        put_pair(low, k - first, places.get(plan.order[k] as usize).scaled(scale));
                    }
                }
            }
        }
    }
}

/// Twice pair k of a spectrum and pair n / 2 - k, from pairs k and n / 2 - k of that of pairs of neighbours; `turn` is `e^(-2πi k / n)`.
#[inline(always)]
pub(super) fn parted<T: Number, const L: usize, const FUSED: bool>(
    left: Pair<T, L>,
    right: Pair<T, L>,
    turn: Pair<T, L>,
) -> [Pair<T, L>; 2] {
    let right = right.conjugate();
    let (even, odd) = (left.plus(right), left.less(right).turned_right().times_each::<FUSED>(turn));
    [even.plus(odd), even.less(odd).conjugate()]
}

/// The way back: pairs k and n / 2 - k of the spectrum of pairs of neighbours.
#[inline(always)]
pub(super) fn folded<T: Number, const L: usize, const FUSED: bool>(
    left: Pair<T, L>,
    right: Pair<T, L>,
    turn: Pair<T, L>,
) -> [Pair<T, L>; 2] {
    let right = right.conjugate();
    let (even, odd) = (left.plus(right), left.less(right));
    // Times i, and turned back.
    let odd = odd.conjugate().times_each::<FUSED>(turn).conjugate().turned_right();
    [even.less(odd), even.plus(odd).conjugate()]
}

/// # Safety
/// There is room for `k` pairs of vectors and one more.
#[inline(always)]
unsafe fn put_pair<T: Number, const L: usize>(out: *mut T, k: usize, pair: Pair<T, L>) {
    // SAFETY: as the caller vouches.
    unsafe {
        put(out.add(2 * k * L), pair.0);
        put(out.add((2 * k + 1) * L), pair.1);
    }
}
