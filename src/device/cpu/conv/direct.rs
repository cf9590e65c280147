//! Convolutions with few channels in a group, element by element: no product is worth its packing there.

use super::finish::Finish;
use super::frame::Frame;
use super::gather::Gather;
use crate::device::cpu::gemm::Real;
use crate::device::cpu::real::widest;
use crate::device::cpu::simd::{Kernel, SimdLevel};

/// What a vector holds.
const LANES: usize = 16;
/// Results that are summed together where they do not fill vectors or read with steps.
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

// Loops, no closures: one that is not inlined would be compiled for the narrowest instruction set, where a fused multiply-add is a
// call.

impl<T: Real> Kernel for Direct<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Direct { frame, gather, taps, weights, finish, out } = self;
        let [deep, high, wide] = &gather.axes;
        let step = wide.step * frame.strides[2];
        let bias = if finish.only_adds() { finish.shift(0) } else { T::default() };
        let furthest = taps.iter().max().map_or(0, |tap| tap + (weights.len() / taps.len() - 1) * frame.channel);
        for (index, row) in out.chunks_mut(wide.count).enumerate() {
            let (depth, height) = (index / high.count, index % high.count);
            let first = depth * deep.step * frame.strides[0] + height * high.step * frame.strides[1];
            let data = &frame.data[first..];
            assert!(furthest + (row.len() - 1) * step < data.len());
            let sums = Sums { data, channel: frame.channel, taps, weights, bias };
            if step == 1 && row.len() >= LANES {
                // The last vectors may cover some of what those before them did.
                let mut at = 0;
                while at + 2 * LANES <= row.len() {
                    // SAFETY: so many positions of the row read inside `data`, as was checked just now.
                    let [a, b] = unsafe { sums.vectors::<FUSED, 2>(at) };
                    row[at..at + LANES].copy_from_slice(&a);
                    row[at + LANES..at + 2 * LANES].copy_from_slice(&b);
                    at += 2 * LANES;
                }
                while at < row.len() {
                    let from = at.min(row.len() - LANES);
                    // SAFETY: as above.
                    let [a] = unsafe { sums.vectors::<FUSED, 1>(from) };
                    row[from..from + LANES].copy_from_slice(&a);
                    at = from + LANES;
                }
            } else {
                for (strip, row) in row.chunks_mut(STRIP).enumerate() {
                    sums.strided::<FUSED>(strip * STRIP * step, step, row);
                }
            }
            if !finish.only_adds() {
                finish.of_channel(0, row);
            }
        }
    }
}

/// The sums of a row.
struct Sums<'a, T> {
    /// From what the first tap of the first result reads.
    data: &'a [T],
    channel: usize,
    taps: &'a [usize],
    weights: &'a [T],
    bias: T,
}

impl<T: Real> Sums<'_, T> {
    /// `N` vectors of neighbours from the result `at` on, which stay in registers.
    ///
    /// # Safety
    /// All that they read lies inside `data`.
    #[inline(always)]
    unsafe fn vectors<const FUSED: bool, const N: usize>(&self, at: usize) -> [[T; LANES]; N] {
        let mut sums = [[self.bias; LANES]; N];
        for (channel, weights) in self.weights.chunks_exact(self.taps.len()).enumerate() {
            let data = self.data.as_ptr().wrapping_add(at + channel * self.channel);
            for (&tap, &weight) in self.taps.iter().zip(weights) {
                for (n, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: as the caller vouches.
                    let x = unsafe { data.wrapping_add(tap + n * LANES).cast::<[T; LANES]>().read_unaligned() };
                    for lane in 0..LANES {
                        sums[lane] = weight.times_plus::<FUSED>(x[lane], sums[lane]);
                    }
                }
            }
        }
        sums
    }
    /// A strip of any length, whose results read `step` apart.
    #[inline(always)]
    fn strided<const FUSED: bool>(&self, first: usize, step: usize, out: &mut [T]) {
        let mut sums = [self.bias; STRIP];
        for (channel, weights) in self.weights.chunks_exact(self.taps.len()).enumerate() {
            for (&tap, &weight) in self.taps.iter().zip(weights) {
                let x = &self.data[first + channel * self.channel + tap..];
                match (out.len(), step) {
                    (STRIP, 2) => add_scaled::<T, FUSED, 2>(&mut sums, x, 2, weight),
                    (length, step) => add_scaled::<T, FUSED, 0>(&mut sums[..length], x, step, weight),
                }
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
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
        let [deep, high, wide] = &gather.axes;
        let step = wide.step * frame.strides[2];
        let mut total = 0.0;
        for (index, arriving) in arriving.chunks(wide.count.max(1)).enumerate() {
            let (depth, height) = (index / high.count, index % high.count);
            let first = depth * deep.step * frame.strides[0] + height * high.step * frame.strides[1] + tap;
            for (strip, arriving) in arriving.chunks(8 * STRIP).enumerate() {
                let x = &frame.data[first + strip * 8 * STRIP * step..];
                total += match step {
                    1 => dot::<T, FUSED, 1>(x, 1, arriving),
                    _ => dot::<T, FUSED, 0>(x, step, arriving),
                };
            }
        }
        total
    }
}

/// `Σ x[i · step] · y[i]` with many running sums, which are added up in f64.
#[inline(always)]
fn dot<T: Real, const FUSED: bool, const STEP: usize>(x: &[T], step: usize, y: &[T]) -> f64 {
    let step = if STEP > 0 { STEP } else { step };
    let x = &x[..(y.len() - 1) * step + 1];
    let mut lanes = [T::default(); LANES];
    for (block, y) in y.chunks(LANES).enumerate() {
        let x = &x[block * LANES * step..];
        for (i, (lane, &y)) in lanes.iter_mut().zip(y).enumerate() {
            *lane = y.times_plus::<FUSED>(x[i * step], *lane);
        }
    }
    lanes.iter().map(|lane| lane.to_f64()).sum()
}
