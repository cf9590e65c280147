//! From vectors of what goes into a transform to vectors of what comes out of it: real numbers go in twos as the pairs of a
//! transform of half the length, and what that leaves is put right before or behind it.

use super::Number;
use super::lanes::{Pair, Places, Transforms, put};
use super::plan::{Plan, Quarter};
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::fourier::{Form, Transform};
use std::sync::Arc;

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
    /// Vectors of room that [`run`](Many::run) needs: for what goes in, for work between, for what comes out.
    pub(super) fn rooms(&self) -> [usize; 3] {
        let [front, back] = Many::<T>::sizes(&self.how);
        match (self.how.form, &self.quarter) {
            (Form::Forward | Form::Back, _) | (Form::Half, Some(_)) => [front, 0, back],
            _ => [front, 2 * self.plan.length, back],
        }
    }
    /// From the first room to the last, each of so many vectors of `L`.
    pub(super) fn run<const L: usize>(&self, [front, between, back]: [&mut [T]; 3]) {
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
        simd::run(Behind { how, plan, quarter, places, out: back });
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
    const WIDEST: SimdLevel = T::WIDEST;
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
                let (even, odd) = (left.plus(right.conjugate()), left.less(right.conjugate()));
                // Times i, and turned back.
                let odd = odd.conjugate().times::<FUSED>(turn).conjugate().turned_right();
                places.put(k, even.less(odd));
                if k > 0 {
                    places.put(half - k, even.plus(odd).conjugate());
                }
            }
        }
    }
}

/// What a transform left becomes the result.
struct Behind<'a, T, const L: usize> {
    how: &'a Transform,
    plan: &'a Plan<T>,
    quarter: &'a [[T; 2]],
    places: Places<'a, T, L>,
    out: &'a mut [T],
}

impl<T: Number, const L: usize> Kernel for Behind<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Behind { how, plan, quarter, places, out } = self;
        let [_, numbers] = Many::<T>::sizes(how);
        assert!(out.len() >= numbers * L && places.count() >= plan.length && plan.order.len() == plan.length);
        let (scale, order, out) = (T::narrow(how.scale), &plan.order[..], out.as_mut_ptr());
        // SAFETY: an order names places of its plan; as many vectors are written as there are numbers.
        unsafe {
            match how.form {
                Form::Half if !quarter.is_empty() => {
                    let half = plan.length;
                    for (k, &turn) in quarter.iter().enumerate() {
                        let right = order[if k == 0 { 0 } else { half - k }];
                        let (left, right) = (places.get(order[k] as usize), places.get(right as usize).conjugate());
                        let (even, odd) = (left.plus(right), left.less(right).turned_right().times::<FUSED>(turn));
                        let weight = |k| T::narrow(0.5 * how.scale * how.weight(k));
                        let (by, by_mirrored) = (weight(k), weight(half - k));
                        let (first, mirrored) = (even.plus(odd).scaled(by), even.less(odd).scaled(by_mirrored));
                        put_pair(out, k, first);
                        put_pair(out, half - k, mirrored.conjugate());
                    }
                }
                Form::Half => {
                    for (k, &place) in order.iter().enumerate().take(how.half()) {
                        put_pair(out, k, places.get(place as usize).scaled(T::narrow(how.scale * how.weight(k))));
                    }
                }
                Form::Real if quarter.is_empty() => {
                    for (k, &place) in order.iter().enumerate() {
                        put(out.add(k * L), places.get(place as usize).scaled(scale).0);
                    }
                }
                Form::Real | Form::Forward | Form::Back => {
                    for (k, &place) in order.iter().enumerate() {
                        put_pair(out, k, places.get(place as usize).scaled(scale));
                    }
                }
            }
        }
    }
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
