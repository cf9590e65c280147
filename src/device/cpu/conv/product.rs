//! A convolution as one product for each image and group: weights times patches.

use super::direct::Direct;
use super::finish::Finish;
use super::frame::{Frame, Order, Part};
use super::gather::Gather;
use super::patches::Positions;
use super::{Failure, MANY, is_quick, winograd};
use crate::device::cpu::beside::Beside;
use crate::device::cpu::gemm::{Lines, Operand, Product, Real};
use crate::device::cpu::parallel;
use crate::device::cpu::simd;
use crate::device::{Buffer, Strided};
use crate::error::Fault;

/// A product with fewer columns than this puts several images side by side.
const NARROW: usize = 64;
/// Then it has about this many columns.
const WIDE: usize = 256;
/// With fewer rows than this, packing costs more than it brings.
const FEW_ROWS: usize = 4;

/// `out[n, g, row, position] = Σ weights[g, row, (channel, tap)] · source[n, (g, channel), read]`, finished as row `(g, row)` is.
pub(super) struct Job<'a, T> {
    pub(super) source: Strided<'a, T>,
    pub(super) gather: &'a Gather,
    /// Dense.
    pub(super) weights: &'a [T],
    pub(super) finish: Finish<'a, T>,
    pub(super) groups: usize,
    /// Rows of a group.
    pub(super) rows: usize,
    /// Channels of a group.
    pub(super) channels: usize,
    /// As the definition adds up, no faster way whose errors are larger.
    pub(super) exact: bool,
    /// Where transformed weights may be kept.
    pub(super) beside: Option<&'a Beside>,
}

impl<T: Real> Job<'_, T> {
    /// Computes all images.
    pub(super) fn run(&self, out: &mut [T]) -> Result<(), Fault> {
        let outputs = self.gather.outputs();
        let image = self.groups * self.rows * outputs;
        if out.is_empty() {
            return Ok(());
        }
        let depth = self.channels * self.gather.taps();
        if depth == 0 {
            self.without_taps(out, outputs);
            return Ok(());
        }
        if const { winograd::in_numbers::<T>() }
            && !self.exact
            && winograd::suits(self.gather, [self.rows, self.channels], winograd::RESULTS)
        {
            return self.by_winograd(out);
        }
        let batch = out.len() / image;
        let direct = const { is_quick::<T>() } && self.rows < FEW_ROWS;
        let images = if outputs >= NARROW || direct { 1 } else { WIDE.div_ceil(outputs).min(batch) };
        // One image: each group is a chunk of its own. Several: their groups lie apart, and one part does them all.
        let chunk = if images == 1 { self.rows * outputs } else { images * image };
        let failure = Failure::default();
        let part = |index: usize, out: &mut [T], alone: bool| {
            let done = if const { is_quick::<T>() } && direct {
                self.directly(index / self.groups, index % self.groups, out)
            } else if images == 1 {
                self.one(index / self.groups, index % self.groups, out, alone)
            } else {
                self.several(index * images, out.len() / image, out, alone)
            };
            failure.note(done);
        };
        if direct || out.len().div_ceil(chunk) >= MANY {
            let cost = 1 + depth / 8;
            parallel::chunks(out, chunk, cost, |index, out| part(index, out, true));
        } else {
            out.chunks_mut(chunk).enumerate().for_each(|(index, out)| part(index, out, false));
        }
        failure.result()
    }

    /// Nothing is read: sums of nothing are finished.
    fn without_taps(&self, out: &mut [T], outputs: usize) {
        for (row, out) in out.chunks_mut(outputs).enumerate() {
            out.fill(T::default());
            self.finish.of_channel(row % (self.groups * self.rows), out);
        }
    }

    /// One group of one image.
    fn one(&self, image: usize, group: usize, out: &mut [T], alone: bool) -> Result<(), Fault> {
        let part = Part { image, images: 1, channel: group * self.channels, channels: self.channels };
        let mut buffer = Buffer::new(0)?;
        let frame = match Frame::in_place(&self.source, self.gather, part) {
            Some(frame) => match self.plain(&frame) {
                Some(lines) => return self.multiply(group, &lines?, self.gather.outputs(), out, alone),
                None => frame,
            },
            None => Frame::copied(&self.source, self.gather, part, Order::ChannelsFirst, &mut buffer)?,
        };
        let positions = Positions { frame, gather: self.gather, taps: self.gather.offsets(frame.strides) };
        self.multiply(group, &positions, self.gather.outputs(), out, alone)
    }

    /// A convolution that reads each element once, as a plain matrix.
    fn plain<'f>(&self, frame: &Frame<'f, T>) -> Option<Result<Lines<'f, T>, Fault>> {
        let [deep, high, wide] = &self.gather.axes;
        let dense = |steps: usize, count: usize, stride: usize| count == 1 || steps == stride;
        let plain = self.gather.taps() == 1
            && dense(wide.step * frame.strides[2], wide.count, 1)
            && dense(high.step * frame.strides[1], high.count, wide.count)
            && dense(deep.step * frame.strides[0], deep.count, high.count * wide.count);
        let sizes = [self.gather.outputs(), self.channels];
        plain.then(|| Lines::new(frame.data, 0, [1, frame.channel as isize], sizes))
    }

    /// All groups of several images, side by side.
    fn several(&self, image: usize, images: usize, out: &mut [T], alone: bool) -> Result<(), Fault> {
        let outputs = self.gather.outputs();
        let (mut buffer, mut block) = (Buffer::new(0)?, Buffer::new(self.rows * images * outputs * size_of::<T>())?);
        let columns = images * outputs;
        for group in 0..self.groups {
            let part = Part { image, images, channel: group * self.channels, channels: self.channels };
            let frame = Frame::copied(&self.source, self.gather, part, Order::ChannelsFirst, &mut buffer)?;
            let positions = Positions { frame, gather: self.gather, taps: self.gather.offsets(frame.strides) };
            let block = block.fresh::<T>(self.rows * columns)?;
            self.multiply(group, &positions, columns, block, alone)?;
            for (row, values) in block.chunks(columns).enumerate() {
                for (n, values) in values.chunks(outputs).enumerate() {
                    let to = ((n * self.groups + group) * self.rows + row) * outputs;
                    out[to..to + outputs].copy_from_slice(values);
                }
            }
        }
        Ok(())
    }

    fn multiply(
        &self,
        group: usize,
        patches: &dyn Operand<T>,
        columns: usize,
        out: &mut [T],
        alone: bool,
    ) -> Result<(), Fault> {
        let depth = self.channels * self.gather.taps();
        let first = group * self.rows * depth;
        let weights = Lines::new(self.weights, first, [depth as isize, 1], [self.rows, depth])?;
        let finish = self.finish.after(group * self.rows);
        let product = Product::new([self.rows, columns, depth], &weights, patches).epilogue(&finish);
        if alone { product.alone() } else { product }.run(out, columns)
    }

    /// A few rows, element by element: for depthwise convolutions.
    fn directly(&self, image: usize, group: usize, out: &mut [T]) -> Result<(), Fault> {
        let part = Part { image, images: 1, channel: group * self.channels, channels: self.channels };
        let mut buffer = Buffer::new(0)?;
        let frame = match Frame::in_place(&self.source, self.gather, part) {
            Some(frame) => frame,
            None => Frame::copied(&self.source, self.gather, part, Order::ChannelsFirst, &mut buffer)?,
        };
        let depth = self.channels * self.gather.taps();
        let taps = self.gather.offsets(frame.strides);
        for (row, out) in out.chunks_mut(self.gather.outputs()).enumerate() {
            let row = group * self.rows + row;
            simd::run(Direct {
                frame,
                gather: self.gather,
                taps: &taps,
                weights: &self.weights[row * depth..(row + 1) * depth],
                finish: self.finish.after(row),
                out,
            });
        }
        Ok(())
    }
}
