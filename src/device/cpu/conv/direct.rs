//! Convolutions with few channels in a group, element by element: no product is worth its packing there.

use super::finish::Finish;
use super::frame::Frame;
use super::gather::Gather;
use crate::device::cpu::gemm::Real;
use crate::device::cpu::real::widest;
use crate::device::cpu::simd::{Kernel, SimdLevel};

/// Results that registers hold while all taps are added.
const STRIP: usize = 32;

/// One row of results: `out[position] = Σ weights[(channel, tap)] · frame[channel, read]`, finished as the first channel is.
pub(super) struct Direct<'a, T> {
    pub(super) frame: Frame<'a, T>,
    pub(super) gather: &'a Gather,
    pub(super) taps: &'a [usize],
    pub(super) weights: &'a [T],
    pub(super) finish: Finish<'a, T>,
    pub(super) out: &'a mut [T],
}

impl<T: Real> Kernel for Direct<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Direct { frame, gather, taps, weights, finish, out } = self;
        let bias = if finish.only_adds() { finish.shift(0) } else { T::default() };
        let step = gather.axes[2].step * frame.strides[2];
        gather.runs(0..out.len(), frame.strides, |offset, at, length| {
            let row = &mut out[at..at + length];
            for (strip, row) in row.chunks_mut(STRIP).enumerate() {
                let first = offset + strip * STRIP * step;
                let mut sums = [bias; STRIP];
                for (channel, weights) in weights.chunks_exact(taps.len()).enumerate() {
                    for (&tap, &weight) in taps.iter().zip(weights) {
                        let x = &frame.data[first + channel * frame.channel + tap..];
                        match (row.len(), step) {
                            (STRIP, 1) => add_scaled::<T, FUSED, 1>(&mut sums, x, 1, weight),
                            (STRIP, 2) => add_scaled::<T, FUSED, 2>(&mut sums, x, 2, weight),
                            (length, step) => add_scaled::<T, FUSED, 0>(&mut sums[..length], x, step, weight),
                        }
                    }
                }
                row.copy_from_slice(&sums[..row.len()]);
                if !finish.only_adds() {
                    finish.of_channel(0, row);
                }
            }
        });
    }
}

/// `sums[i] += weight · x[i · step]`; the compiler knows `STEP` where it is not 0.
#[inline(always)]
fn add_scaled<T: Real, const FUSED: bool, const STEP: usize>(sums: &mut [T], x: &[T], step: usize, weight: T) {
    let step = if STEP > 0 { STEP } else { step };
    let x = &x[..(sums.len() - 1) * step + 1];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = weight.times_plus::<FUSED>(x[i * step], *sum);
    }
}

/// `Σ frame[read by tap] · arriving` over all positions of a channel: one element of a weight's gradient.
pub(super) struct Correlate<'a, T> {
    pub(super) frame: Frame<'a, T>,
    pub(super) gather: &'a Gather,
    pub(super) tap: usize,
    pub(super) arriving: &'a [T],
}

impl<T: Real> Kernel for Correlate<'_, T> {
    type Output = f64;
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let Correlate { frame, gather, tap, arriving } = self;
        let step = gather.axes[2].step * frame.strides[2];
        let mut total = 0.0;
        gather.runs(0..arriving.len(), frame.strides, |offset, at, length| {
            for (strip, arriving) in arriving[at..at + length].chunks(8 * STRIP).enumerate() {
                let x = &frame.data[offset + strip * 8 * STRIP * step + tap..];
                total += match step {
                    1 => dot::<T, FUSED, 1>(x, 1, arriving),
                    _ => dot::<T, FUSED, 0>(x, step, arriving),
                };
            }
        });
        total
    }
}

/// `Σ x[i · step] · y[i]` with many running sums, which are added up in f64.
#[inline(always)]
fn dot<T: Real, const FUSED: bool, const STEP: usize>(x: &[T], step: usize, y: &[T]) -> f64 {
    let step = if STEP > 0 { STEP } else { step };
    let x = &x[..(y.len() - 1) * step + 1];
    const LANES: usize = 16;
    let mut lanes = [T::default(); LANES];
    for (block, y) in y.chunks(LANES).enumerate() {
        let x = &x[block * LANES * step..];
        for (i, (lane, &y)) in lanes.iter_mut().zip(y).enumerate() {
            *lane = y.times_plus::<FUSED>(x[i * step], *lane);
        }
    }
    lanes.iter().map(|lane| lane.to_f64()).sum()
}
