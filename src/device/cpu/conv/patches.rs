//! Patches of a frame as operands of a product: what would be the columns of `im2col`, packed panel by panel as the
//! product asks for them and never stored.

use super::frame::Frame;
use super::gather::Gather;
use crate::device::cpu::gemm::{Operand, Real};
use std::ops::Range;

/// Elements copied at once; longer copies are left to the library.
const SHORT: usize = 8;

/// Copies a handful of elements without a call.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    if to.len() >= 64 {
        return to.copy_from_slice(&from[..to.len()]);
    }
    let (blocks, rest) = to.as_chunks_mut::<SHORT>();
    let (from_blocks, from_rest) = from[..blocks.len() * SHORT + rest.len()].as_chunks::<SHORT>();
    for (to, from) in blocks.iter_mut().zip(from_blocks) {
        *to = *from;
    }
    for (to, &x) in rest.iter_mut().zip(from_rest) {
        *to = x;
    }
}

/// Lines are output positions (of one image after another), the shared size is (channel, tap).
pub(super) struct Positions<'a, T> {
    pub(super) frame: Frame<'a, T>,
    pub(super) gather: &'a Gather,
    /// The offset of each tap in the frame.
    pub(super) taps: Vec<usize>,
}

impl<T: Real> Operand<T> for Positions<'_, T> {
    fn pack(&self, lines: Range<usize>, shared: Range<usize>, width: usize, panel: &mut [T]) {
        let count = lines.len();
        let mut runs: Vec<(usize, usize, usize)> = Vec::with_capacity(16);
        each_image(self.gather.outputs(), lines, |image, positions, done| {
            self.gather.runs(positions, self.frame.strides, |offset, at, length| {
                runs.push((image * self.frame.image + offset, done + at, length));
            });
        });
        let step = self.gather.axes[2].step * self.frame.strides[2];
        let (mut channel, mut tap) = (shared.start / self.taps.len(), shared.start % self.taps.len());
        for row in panel.chunks_exact_mut(width).take(shared.len()) {
            let base = &self.frame.data[channel * self.frame.channel + self.taps[tap]..];
            for &(offset, at, length) in &runs {
                let to = &mut row[at..at + length];
                if step == 1 {
                    copy(&base[offset..], to);
                } else {
                    for (to, &x) in to.iter_mut().zip(base[offset..].iter().step_by(step)) {
                        *to = x;
                    }
                }
            }
            row[count..].fill(T::default());
            tap += 1;
            if tap == self.taps.len() {
                (channel, tap) = (channel + 1, 0);
            }
        }
    }
}

/// Lines are (tap, channel), the shared size is output positions of one image after another; the frame has its channels
/// last, so that a tap's channels, and often several taps', are one copy.
pub(super) struct Taps<'a, T> {
    pub(super) frame: Frame<'a, T>,
    pub(super) gather: &'a Gather,
    /// The offset of each tap in the frame.
    pub(super) taps: Vec<usize>,
    pub(super) channels: usize,
}

impl<T: Real> Operand<T> for Taps<'_, T> {
    fn pack(&self, lines: Range<usize>, shared: Range<usize>, width: usize, panel: &mut [T]) {
        let count = lines.len();
        // Copies: from where in the frame, to where in the panel's row, how many.
        let mut copies: Vec<(usize, usize, usize)> = Vec::with_capacity(16);
        for line in lines {
            let offset = self.taps[line / self.channels] + line % self.channels;
            match copies.last_mut() {
                Some((from, _, length)) if *from + *length == offset => *length += 1,
                last => {
                    let at = last.map_or(0, |&mut (_, at, length)| at + length);
                    copies.push((offset, at, 1));
                }
            }
        }
        let mut rows = panel.chunks_exact_mut(width);
        let step = self.gather.axes[2].step * self.frame.strides[2];
        each_image(self.gather.outputs(), shared, |image, positions, _| {
            self.gather.runs(positions, self.frame.strides, |offset, _, length| {
                for (i, row) in rows.by_ref().take(length).enumerate() {
                    let base = &self.frame.data[image * self.frame.image + offset + i * step..];
                    for &(from, at, length) in &copies {
                        copy(&base[from..], &mut row[at..at + length]);
                    }
                    row[count..].fill(T::default());
                }
            });
        });
    }
}

/// What arrives for several images, `[image, row, position]`: lines are rows, the shared size is the positions of one
/// image after another.
pub(super) struct Arriving<'a, T> {
    pub(super) data: &'a [T],
    pub(super) image: usize,
    pub(super) outputs: usize,
}

impl<T: Real> Operand<T> for Arriving<'_, T> {
    fn pack(&self, lines: Range<usize>, shared: Range<usize>, width: usize, panel: &mut [T]) {
        let count = lines.len();
        let mut rows = panel.chunks_exact_mut(width);
        each_image(self.outputs, shared, |image, positions, _| {
            for (position, row) in positions.zip(rows.by_ref()) {
                let first = image * self.image + position;
                for (to, line) in row[..count].iter_mut().zip(lines.clone()) {
                    *to = self.data[first + line * self.outputs];
                }
                row[count..].fill(T::default());
            }
        });
    }
}

/// Splits positions of images that follow one another: calls `visit(image, its positions, how many came before)`.
fn each_image(outputs: usize, range: Range<usize>, mut visit: impl FnMut(usize, Range<usize>, usize)) {
    let mut at = range.start;
    while at < range.end {
        let (image, first) = (at / outputs, at % outputs);
        let length = (outputs - first).min(range.end - at);
        visit(image, first..first + length, at - range.start);
        at += length;
    }
}
