//! Signals along an axis behind which others follow: neighbours in memory belong to different signals, which is how vectors
//! want them.

use super::lanes::Pair;
use super::long::write;
use super::many::Many;
use super::{Number, moving, with_rooms};
use crate::device::cpu::copy::Shared;
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::fourier::Form;

/// Longer signals do not stay in a cache beside their neighbours.
pub(super) const LONGEST: usize = 8192;

/// Signals of `[.., signal, inner]`, where there are numbers, and of `[.., signal, inner, 2]`, where there are pairs.
pub(super) fn run<T: Number, const L: usize>(many: &Many<T>, from: &[T], out: &mut [T], [outer, inner]: [usize; 2]) {
    let [width, width_out] = Many::<T>::sizes(&many.how);
    let blocks = inner.div_ceil(L);
    let pairs = (many.how.form != Form::Half, many.how.form != Form::Real);
    let shared = Shared::new(out);
    let work = L * width.max(width_out) * (2 + many.how.length.ilog2() as usize);
    parallel::parts(outer * blocks, work, |part| {
        let (signal, first) = (part / blocks, part % blocks * L);
        let lanes = L.min(inner - first);
        with_rooms::<T, L, ()>(many, |[front, between, part]| {
            simd::run(Load::<T, L> {
                from: &from[signal * width * inner..],
                inner,
                first,
                lanes,
                pairs: pairs.0,
                to: front,
            });
            many.run::<L>([front, between, part], &mut |number, vectors| {
                // SAFETY: numbers of these signals stand in no other part; the last one's end where the result does.
                let to = unsafe { shared.at(((signal * width_out + number) * inner) as isize) };
                simd::run(Store::<T, L> { from: vectors, inner, first, lanes, pairs: pairs.1, to });
            });
        });
    });
}

/// Some neighbouring signals become lanes.
pub(super) struct Load<'a, T, const L: usize> {
    pub(super) from: &'a [T],
    pub(super) inner: usize,
    pub(super) first: usize,
    pub(super) lanes: usize,
    pub(super) pairs: bool,
    pub(super) to: &'a mut [T],
}

impl<T: Number, const L: usize> Kernel for Load<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Load { from, inner, first, lanes, pairs, to } = self;
        if !pairs {
            for (line, to) in from.chunks(inner).zip(to.chunks_exact_mut(L)) {
                match line[first..].first_chunk::<L>() {
                    Some(line) => to.copy_from_slice(line),
                    None => to[..lanes].copy_from_slice(&line[first..first + lanes]),
                }
            }
            return;
        }
        for (line, to) in from.chunks(2 * inner).zip(to.chunks_exact_mut(2 * L)) {
            let (real, imaginary) = to.split_at_mut(L);
            let line = line[2 * first..][..2 * lanes].as_chunks::<2>().0;
            match (line.first_chunk::<L>(), real.first_chunk_mut::<L>(), imaginary.first_chunk_mut::<L>()) {
                (Some(line), Some(real), Some(imaginary)) => {
                    for l in 0..L {
                        [real[l], imaginary[l]] = line[l];
                    }
                }
                _ => {
                    for (l, pair) in line.iter().enumerate() {
                        [real[l], imaginary[l]] = *pair;
                    }
                }
            }
        }
    }
}

/// Lanes become neighbouring signals.
struct Store<'a, T, const L: usize> {
    from: &'a [T],
    inner: usize,
    first: usize,
    lanes: usize,
    pairs: bool,
    to: *mut T,
}

impl<T: Number, const L: usize> Kernel for Store<'_, T, L> {
    type Output = ();
    const WIDEST: SimdLevel = moving::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Store { from, inner, first, lanes, pairs, to } = self;
        if !pairs {
            for (k, line) in from.chunks_exact(L).enumerate() {
                // SAFETY: line `k` of the result has `inner` numbers, of which these are ours.
                let to = unsafe { std::slice::from_raw_parts_mut(to.add(k * inner + first), lanes) };
                match to.first_chunk_mut::<L>() {
                    Some(to) => to.copy_from_slice(line),
                    None => to.copy_from_slice(&line[..lanes]),
                }
            }
            return;
        }
        for (k, line) in from.chunks_exact(2 * L).enumerate() {
            let (real, imaginary) = line.split_at(L);
            // SAFETY: line `k` of the result has `inner` pairs, of which these are ours.
            let to = unsafe { std::slice::from_raw_parts_mut(to.add((k * inner + first) * 2).cast::<[T; 2]>(), lanes) };
            if let (Some(&real), Some(&imaginary)) = (real.first_chunk(), imaginary.first_chunk()) {
                write(Pair::<T, L>(real, imaginary), to);
            }
        }
    }
}
