//! Which elements of a source each output of a convolution reads.
//!
//! Along an axis, output `i` reads the source at `start + i · step + offset(tap)`. A *frame* is the part of the source
//! that is read at all, dense and with zeros for padding, so that no inner loop asks where the edge is.

use crate::device::window::Sliding;
use std::ops::Range;

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Outputs.
    pub(super) count: usize,
    /// From one output to the next, in source elements.
    pub(super) step: usize,
    /// Where the frame begins in the source: negative where padding comes first.
    pub(super) start: isize,
    /// Elements of the frame.
    pub(super) length: usize,
    /// The taps that are read: their place in the weight, and their offset.
    pub(super) taps: Vec<(usize, usize)>,
}

impl Axis {
    /// A convolution's outputs read its inputs.
    pub(super) fn forward(axis: &Sliding) -> Axis {
        let taps: Vec<_> = (0..axis.kernel).map(|tap| (tap, tap * axis.dilation)).collect();
        Axis::reading(axis.count, axis.stride, -(axis.before as isize), taps)
    }
    /// A transposed convolution's results `phase`, `phase + stride`, ... read what arrives. Each phase has its own taps;
    /// together they multiply nothing by a zero that is not padding.
    pub(super) fn transposed(axis: &Sliding, phase: usize) -> Axis {
        let count = axis.size.saturating_sub(phase).div_ceil(axis.stride);
        let place = |tap: usize| {
            let place = (phase + axis.before) as isize - (tap * axis.dilation) as isize;
            (place.rem_euclid(axis.stride as isize) == 0).then(|| (tap, place.div_euclid(axis.stride as isize)))
        };
        let taps: Vec<(usize, isize)> = (0..axis.kernel).filter_map(place).collect();
        let start = taps.iter().map(|&(_, place)| place).min().unwrap_or(0);
        Axis::reading(count, 1, start, taps.into_iter().map(|(tap, place)| (tap, (place - start) as usize)).collect())
    }
    fn reading(count: usize, step: usize, start: isize, taps: Vec<(usize, usize)>) -> Axis {
        let reach = taps.iter().map(|&(_, offset)| offset).max().unwrap_or(0);
        Axis { count, step, start, length: count.saturating_sub(1) * step + reach + 1, taps }
    }
    /// The elements of the frame that exist in a source of this size; the others are padding.
    pub(super) fn inside(&self, size: usize) -> Range<usize> {
        let first = (-self.start).max(0) as usize;
        let last = (size as isize - self.start).clamp(0, self.length as isize) as usize;
        first.min(last)..last
    }
}

/// The three axes together.
pub(super) struct Gather {
    pub(super) axes: [Axis; 3],
}

impl Gather {
    /// As a convolution.
    pub(super) fn forward(windows: &[Sliding; 3]) -> Gather {
        Gather { axes: windows.each_ref().map(Axis::forward) }
    }
    /// As one phase of a transposed convolution.
    pub(super) fn transposed(windows: &[Sliding; 3], phase: [usize; 3]) -> Gather {
        Gather { axes: std::array::from_fn(|axis| Axis::transposed(&windows[axis], phase[axis])) }
    }
    /// The number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.axes.iter().map(|axis| axis.count).product()
    }
    /// The number of taps.
    pub(super) fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps.len()).product()
    }
    /// The place of each tap in a weight whose kernel has these sizes.
    pub(super) fn places(&self, windows: &[Sliding; 3]) -> Vec<usize> {
        self.each_tap([windows[1].kernel * windows[2].kernel, windows[2].kernel, 1], |&(place, _)| place)
    }
    /// The offset of each tap in a frame with these strides.
    pub(super) fn offsets(&self, strides: [usize; 3]) -> Vec<usize> {
        self.each_tap(strides, |&(_, offset)| offset)
    }
    fn each_tap(&self, strides: [usize; 3], of: impl Fn(&(usize, usize)) -> usize) -> Vec<usize> {
        let [deep, high, wide] = &self.axes;
        let mut all = Vec::with_capacity(self.taps());
        for d in &deep.taps {
            for h in &high.taps {
                for w in &wide.taps {
                    all.push(of(d) * strides[0] + of(h) * strides[1] + of(w) * strides[2]);
                }
            }
        }
        all
    }
    /// Output positions `range` as runs along the width: calls `visit(offset of the first, index in the range, how many)`.
    pub(super) fn runs(&self, range: Range<usize>, strides: [usize; 3], mut visit: impl FnMut(usize, usize, usize)) {
        let [deep, high, wide] = &self.axes;
        let mut at = range.start;
        while at < range.end {
            let (row, column) = (at / wide.count, at % wide.count);
            let length = (wide.count - column).min(range.end - at);
            let (d, h) = (row / high.count, row % high.count);
            let offset = d * deep.step * strides[0] + h * high.step * strides[1] + column * wide.step * strides[2];
            visit(offset, at - range.start, length);
            at += length;
        }
    }
}
