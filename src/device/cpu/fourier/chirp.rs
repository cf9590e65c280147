//! Lengths with a great prime factor: since `2jk = j² + k² - (k - j)²`, a transform is a product with a chirp, a convolution with
//! one, and a product again; and a convolution goes by transforms of a longer, better length.
//!
//! Bluestein: "A linear filtering approach to the computation of discrete Fourier transform", 1970.

use super::Number;
use super::many::Many;
use super::plan::{Complex, factors, kept};
use crate::device::cpu::parallel;
use crate::device::fourier::{Form, Transform, wave};
use std::sync::Arc;

/// Numbers of the room between at most, unless one signal takes more.
const ROOM: usize = 1 << 18;

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

/// A transform of pairs.
fn whole(form: Form, length: usize, scale: f64) -> Transform {
    Transform { form, axis: 0, length, scale, twice: false }
}

/// Signals that stand one behind the other.
pub(super) fn rows<T: Number, const L: usize>(from: &[T], out: &mut [T], how: &Transform) {
    let chirps = Chirps::<T>::of::<L>(how.length);
    let [width, width_out] = Many::<T>::sizes(how);
    let (line, scale) = (2 * chirps.longer, T::narrow(how.scale));
    // A transform back is the conjugate of one forward of conjugates.
    let sign = if matches!(how.form, Form::Back | Form::Real) { -T::ONE } else { T::ONE };
    let together = (ROOM / line).max(1);
    let mut room = vec![T::ZERO; 2 * line * together.min(from.len() / width)];
    for (from, out) in from.chunks(together * width).zip(out.chunks_mut(together * width_out)) {
        let size = from.len() / width * line;
        let (first, rest) = room.split_at_mut(size);
        let second = &mut rest[..size];
        parallel::chunks(first, line, 2, |signal, to| {
            let from = &from[signal * width..][..width];
            let to = to.as_chunks_mut::<2>().0;
            for (j, (to, &chirp)) in to.iter_mut().zip(&chirps.chirp).enumerate() {
                let pair = match how.form {
                    Form::Half => [from[j], T::ZERO],
                    Form::Real if j >= how.half() => [T::ZERO; 2],
                    Form::Real => [from[2 * j], sign * from[2 * j + 1]].map(|x| x * T::narrow(how.weight(j))),
                    Form::Forward | Form::Back => [from[2 * j], sign * from[2 * j + 1]],
                };
                *to = product(pair, chirp);
            }
            to[how.length..].fill([T::ZERO; 2]);
        });
        whole_rows::<T, L>(first, second, Form::Forward, chirps.longer);
        parallel::chunks(second, line, 2, |_, line| {
            for (pair, &filter) in line.as_chunks_mut::<2>().0.iter_mut().zip(&chirps.filter) {
                *pair = product(*pair, filter);
            }
        });
        whole_rows::<T, L>(second, first, Form::Back, chirps.longer);
        parallel::chunks(out, width_out, 2, |signal, out| {
            let pairs = first[signal * line..][..line].as_chunks::<2>().0.iter().zip(&chirps.chirp);
            for (k, (&pair, &chirp)) in pairs.enumerate() {
                let [real, imaginary] = product(pair, chirp).map(|x| x * scale);
                match how.form {
                    Form::Real => out[k] = real,
                    Form::Half if k >= how.half() => break,
                    Form::Half => {
                        let weight = T::narrow(how.weight(k));
                        (out[2 * k], out[2 * k + 1]) = (real * weight, imaginary * weight);
                    }
                    Form::Forward | Form::Back => (out[2 * k], out[2 * k + 1]) = (real, sign * imaginary),
                }
            }
        });
    }
}

fn whole_rows<T: Number, const L: usize>(from: &[T], out: &mut [T], form: Form, length: usize) {
    super::rows::<T, L>(from, out, &whole(form, length, 1.0));
}

#[inline(always)]
fn product<T: Number>([a, b]: Complex<T>, [c, d]: Complex<T>) -> Complex<T> {
    [a * c - b * d, a * d + b * c]
}
