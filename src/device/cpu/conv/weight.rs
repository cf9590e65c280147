//! The gradient of a convolution's weight: what arrives times patches, summed over positions and images.
//!
//! Images are cut into chunks by the shape alone; each chunk has sums of its own, which are added up in order.

use super::direct::Correlate;
use super::frame::{Frame, Order, Part};
use super::gather::Gather;
use super::patches::{Arriving, Taps};
use super::{Failure, MANY, is_quick, winograd};
use crate::device::cpu::gemm::{Lines, Operand, Product, Real};
use crate::device::cpu::parallel;
use crate::device::cpu::simd;
use crate::device::{Buffer, Strided};
use crate::error::Fault;

/// With fewer channels than this on both sides of a group, element by element.
const FEW: usize = 4;
/// Positions that a product should at least sum over.
const DEEP: usize = 256;
/// Weights up to this size may have several chunks of images, each with its own sums.
const SMALL: usize = 1 << 18;
/// The most chunks.
const CHUNKS: usize = 8;

/// `out[g, row, channel, tap] = Σ arriving[n, g, row, position] · source[n, (g, channel), read by tap at position]`.
pub(super) struct WeightJob<'a, T> {
    pub(super) source: Strided<'a, T>,
    pub(super) gather: &'a Gather,
    /// Dense.
    pub(super) arriving: &'a [T],
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Rows of a group.
    pub(super) rows: usize,
    /// Channels of a group.
    pub(super) channels: usize,
    /// As the definition adds up, no faster way.
    pub(super) exact: bool,
}

impl<T: Real> WeightJob<'_, T> {
    pub(super) fn run(&self, out: &mut [T]) -> Result<(), Fault> {
        if out.is_empty() {
            return Ok(());
        }
        if self.batch * self.gather.outputs() == 0 {
            out.fill(T::default());
            return Ok(());
        }
        if const { winograd::in_numbers::<T>() }
            && !self.exact
            && winograd::suits(self.gather, [self.rows, self.channels], winograd::GRADIENT)
        {
            return self.by_winograd(out);
        }
        if const { is_quick::<T>() } && self.rows < FEW && self.channels < FEW {
            return self.directly(out);
        }
        self.by_products(out)
    }

    /// The sums of some images, in the order [group, row, tap, channel].
    fn by_products(&self, out: &mut [T]) -> Result<(), Fault> {
        let chunks = if out.len() <= SMALL { self.batch.min(CHUNKS) } else { 1 };
        let each = self.batch.div_ceil(chunks);
        let chunks = self.batch.div_ceil(each);
        let mut buffer = Buffer::new(chunks * out.len() * size_of::<T>())?;
        let sums = buffer.fresh::<T>(chunks * out.len())?;
        let cost = 1 + each * self.gather.outputs() / 8;
        let failure = Failure::default();
        let images = |chunk: usize| chunk * each..((chunk + 1) * each).min(self.batch);
        if chunks >= MANY {
            parallel::chunks(sums, out.len(), cost, |chunk, sums| failure.note(self.chunk(images(chunk), sums, true)));
        } else {
            for (chunk, sums) in sums.chunks_mut(out.len()).enumerate() {
                failure.note(self.chunk(images(chunk), sums, false));
            }
        }
        failure.result()?;
        let sums = &*sums;
        let (taps, channels, size) = (self.gather.taps(), self.channels, out.len());
        parallel::chunks(out, taps * channels, chunks, |row, out| {
            for (i, out) in out.iter_mut().enumerate() {
                let at = row * taps * channels + i % taps * channels + i / taps;
                let sum = (0..chunks).fold(0.0, |sum, chunk| sum + sums[chunk * size + at].to_f64());
                *out = T::from_f64(sum);
            }
        });
        Ok(())
    }

    fn chunk(&self, images: std::ops::Range<usize>, sums: &mut [T], alone: bool) -> Result<(), Fault> {
        let outputs = self.gather.outputs();
        let (rows, columns) = (self.rows, self.channels * self.gather.taps());
        let together = DEEP.div_ceil(outputs);
        let mut buffer = Buffer::new(0)?;
        for image in images.clone().step_by(together) {
            let count = together.min(images.end - image);
            for (group, sums) in sums.chunks_mut(rows * columns).enumerate() {
                let part = Part { image, images: count, channel: group * self.channels, channels: self.channels };
                let frame = Frame::copied(&self.source, self.gather, part, Order::ChannelsLast, &mut buffer)?;
                let taps = self.gather.offsets(frame.strides);
                let right = Taps { frame, gather: self.gather, taps, channels: self.channels };
                let first = (image * self.groups + group) * rows * outputs;
                let (lines, several);
                let left: &dyn Operand<T> = if count == 1 {
                    lines = Lines::new(self.arriving, first, [outputs as isize, 1], [rows, outputs])?;
                    &lines
                } else {
                    let data = &self.arriving[first..];
                    several = Arriving { data, image: self.groups * rows * outputs, outputs };
                    &several
                };
                let product = Product::new([rows, columns, count * outputs], left, &right);
                let product = product.accumulate(image > images.start);
                if alone { product.alone() } else { product }.run(sums, columns)?;
            }
        }
        Ok(())
    }

    /// Element by element: for depthwise convolutions.
    fn directly(&self, out: &mut [T]) -> Result<(), Fault> {
        let (taps, outputs) = (self.gather.taps(), self.gather.outputs());
        let failure = Failure::default();
        parallel::chunks(out, taps, 1 + self.batch * outputs / 8, |index, out| {
            let (row, channel) = (index / self.channels, index % self.channels);
            failure.note(self.correlate(row, row / self.rows * self.channels + channel, out));
        });
        failure.result()
    }

    /// All taps between one channel of what arrives and one of the source.
    fn correlate(&self, row: usize, channel: usize, out: &mut [T]) -> Result<(), Fault> {
        let outputs = self.gather.outputs();
        let mut totals = vec![0.0; out.len()];
        let mut buffer = Buffer::new(0)?;
        for image in 0..self.batch {
            let part = Part { image, images: 1, channel, channels: 1 };
            let frame = match Frame::in_place(&self.source, self.gather, part) {
                Some(frame) => frame,
                None => Frame::copied(&self.source, self.gather, part, Order::ChannelsFirst, &mut buffer)?,
            };
            let first = (image * self.groups * self.rows + row) * outputs;
            let arriving = &self.arriving[first..first + outputs];
            for (total, tap) in totals.iter_mut().zip(self.gather.offsets(frame.strides)) {
                *total += simd::run(Correlate { frame, gather: self.gather, tap, arriving });
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            *out = T::from_f64(total);
        }
        Ok(())
    }
}
