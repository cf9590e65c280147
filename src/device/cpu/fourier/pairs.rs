//! Any transform as one forward of pairs: real numbers have no imaginary parts, half a spectrum has zeros where the other half would be,
//! and a way back is the conjugate of one forward of conjugates.

use super::Number;
use super::many::Many;
use super::plan::Complex;
use crate::device::cpu::parallel;
use crate::device::fourier::{Form, Transform};

/// Numbers of the room between at most, unless one signal takes more.
const ROOM: usize = 1 << 18;

/// A transform of pairs.
pub(super) fn whole(form: Form, length: usize, scale: f64) -> Transform {
    Transform { form, axis: 0, length, scale, twice: false }
}

pub(super) fn whole_rows<T: Number, const L: usize>(from: &[T], out: &mut [T], form: Form, length: usize) {
    super::rows::<T, L>(from, out, &whole(form, length, 1.0));
}

/// Takes signals some at a time, as many as the room between holds: `work` is given them, their results, and for each signal two lines
/// of so many numbers, which hold old ones.
pub(super) fn with_lines<T: Number>(
    from: &[T],
    out: &mut [T],
    how: &Transform,
    line: usize,
    mut work: impl FnMut(&[T], &mut [T], [&mut [T]; 2]),
) {
    let [width, width_out] = Many::<T>::sizes(how);
    let together = (ROOM / line).max(1);
    let mut room = vec![T::ZERO; 2 * line * together.min(from.len() / width)];
    for (from, out) in from.chunks(together * width).zip(out.chunks_mut(together * width_out)) {
        let size = from.len() / width * line;
        let (first, rest) = room.split_at_mut(size);
        work(from, out, [first, &mut rest[..size]]);
    }
}

/// Signals that stand one behind the other.
pub(super) fn rows<T: Number, const L: usize>(from: &[T], out: &mut [T], how: &Transform) {
    let [width, width_out] = Many::<T>::sizes(how);
    let line = 2 * how.length;
    with_lines(from, out, how, line, |from, out, [first, second]| {
        parallel::chunks(first, line, 2, |signal, to| {
            place(&from[signal * width..][..width], to.as_chunks_mut().0, how);
        });
        whole_rows::<T, L>(first, second, Form::Forward, how.length);
        parallel::chunks(out, width_out, 2, |signal, out| {
            take(second[signal * line..][..line].as_chunks().0, out, how);
        });
    });
}

/// What imaginary parts are multiplied with on the way in and on the way out.
fn sign<T: Number>(how: &Transform) -> T {
    if matches!(how.form, Form::Back | Form::Real) { -T::ONE } else { T::ONE }
}

/// What goes into a transform, as pairs.
pub(super) fn place<T: Number>(from: &[T], to: &mut [Complex<T>], how: &Transform) {
    let sign: T = sign(how);
    match how.form {
        Form::Half => to.iter_mut().zip(from).for_each(|(to, &x)| *to = [x, T::ZERO]),
        Form::Real => {
            let (there, mirrored) = to.split_at_mut(how.half());
            mirrored.fill([T::ZERO; 2]);
            for (k, (to, &[real, imaginary])) in there.iter_mut().zip(from.as_chunks().0).enumerate() {
                *to = [real, sign * imaginary].map(|x| x * T::narrow(how.weight(k)));
            }
        }
        Form::Forward | Form::Back => {
            to.iter_mut().zip(from.as_chunks().0).for_each(|(to, &[real, imaginary])| *to = [real, sign * imaginary]);
        }
    }
}

/// What comes out of it.
pub(super) fn take<T: Number>(pairs: &[Complex<T>], out: &mut [T], how: &Transform) {
    let (scale, sign): (T, T) = (T::narrow(how.scale), sign(how));
    if how.form == Form::Real {
        return out.iter_mut().zip(pairs).for_each(|(out, pair)| *out = pair[0] * scale);
    }
    let half = how.form == Form::Half;
    for (k, (out, &[real, imaginary])) in out.as_chunks_mut().0.iter_mut().zip(pairs).enumerate() {
        let by = if half { T::narrow(how.scale * how.weight(k)) } else { scale };
        *out = [real * by, sign * imaginary * by];
    }
}
