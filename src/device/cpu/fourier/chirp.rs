//! Lengths with a great prime factor: since `2jk = j² + k² - (k - j)²`, a transform is a product with a chirp, a convolution with
//! one, and a product again; and a convolution goes by transforms of a longer, better length.
//!
//! Bluestein: "A linear filtering approach to the computation of discrete Fourier transform", 1970.

use super::many::Many;
use super::pairs::{place, take, whole, whole_rows, with_lines};
use super::plan::{Complex, factors, kept};
use super::{Number, moving};
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::fourier::{Form, Transform, wave};
use std::sync::Arc;

/// The chirps of a length.
struct Chirps<T> {
    /// The length of the convolution.
    longer: usize,
    /// `e^(-πi j² / n)`.
    chirp: Vec<Complex<T>>,
    /// The spectrum of what is convolved with, for a transform forward.
    filter: Vec<Complex<T>>,
}

impl<T: Number> Chirps<T> {
    fn of<const L: usize>(length: usize) -> Arc<Chirps<T>> {
        kept(length, |length| {
            let least = 2 * length - 1;
            let longer = (least..).find(|&longer| longer % 4 == 0 && factors(longer).is_some_and(|f| f[0] <= 5));
            let longer = longer.unwrap_or(least.next_power_of_two());
            // A square may be too large for a number, but not what is left of it by whole turns.
            let square = |j: usize| (j as u128 * j as u128 % (2 * length as u128)) as usize;
            let waves: Vec<[f64; 2]> = (0..length).map(|j| wave(square(j), 2 * length)).collect();
            let mut impulse = vec![0.0; 2 * longer];
            for (j, wave) in waves.iter().enumerate() {
                for place in [j, (longer - j) % longer] {
                    impulse[2 * place..2 * place + 2].copy_from_slice(wave);
                }
            }
            let mut filter = vec![0.0; 2 * longer];
            let scale = 1.0 / longer as f64;
            super::rows::<f64, { super::DOUBLE }>(&impulse, &mut filter, &whole(Form::Forward, longer, scale));
            let chirp = waves.iter().map(|&[c, s]| [T::narrow(c), T::narrow(-s)]).collect();
            let filter = filter.as_chunks::<2>().0.iter().map(|pair| pair.map(T::narrow)).collect();
            Chirps { longer, chirp, filter }
        })
    }
}

/// Signals that stand one behind the other.
pub(super) fn rows<T: Number, const L: usize>(from: &[T], out: &mut [T], how: &Transform) {
    let chirps = Chirps::<T>::of::<L>(how.length);
    let [width, width_out] = Many::<T>::sizes(how);
    let line = 2 * chirps.longer;
    with_lines(from, out, how, line, |from, out, [first, second]| {
        parallel::chunks(first, line, 2, |signal, to| {
            let (to, rest) = to.as_chunks_mut::<2>().0.split_at_mut(how.length);
            rest.fill([T::ZERO; 2]);
            place(&from[signal * width..][..width], to, how);
            simd::run(Times { pairs: to, by: &chirps.chirp });
        });
        whole_rows::<T, L>(first, second, Form::Forward, chirps.longer);
        parallel::chunks(second, line, 2, |_, line| {
            simd::run(Times { pairs: line.as_chunks_mut::<2>().0, by: &chirps.filter });
        });
        whole_rows::<T, L>(second, first, Form::Back, chirps.longer);
        parallel::chunks_pair((out, width_out), (first, line), 2, |_, out, line| {
            let pairs = &mut line.as_chunks_mut::<2>().0[..how.length];
            simd::run(Times { pairs: &mut *pairs, by: &chirps.chirp });
            take(pairs, out, how);
        });
    });
}

/// Pairs times pairs.
struct Times<'a, T> {
    pairs: &'a mut [Complex<T>],
    by: &'a [Complex<T>],
}

impl<T: Number> Kernel for Times<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (pair, &[c, d]) in self.pairs.iter_mut().zip(self.by) {
            let [a, b] = *pair;
            *pair = [a * c - b * d, a * d + b * c];
        }
    }
}
