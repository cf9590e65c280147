//! A source laid out for reading: in place where nothing is padded, else copied into a frame with zeros around it.

use super::gather::Gather;
use crate::device::cpu::gemm::Real;
use crate::device::{Buffer, Strided};
use crate::error::Fault;

/// Some neighbouring channels of some neighbouring images, as a gather reads them.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a, T> {
    pub(super) data: &'a [T],
    /// From one image to the next.
    pub(super) image: usize,
    /// From one channel to the next.
    pub(super) channel: usize,
    /// From one element to the next along each axis.
    pub(super) strides: [usize; 3],
}

/// Which part of a source a frame shows.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) channel: usize,
    pub(super) channels: usize,
}

/// Where the channel axis stands in a frame.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// Before the volume: the elements of a channel are neighbours.
    ChannelsFirst,
    /// After the volume: the channels of a place are neighbours.
    ChannelsLast,
}

impl<'a, T: Real> Frame<'a, T> {
    /// The source where it lies, if nothing that is read is padding and rows are dense.
    pub(super) fn in_place(source: &Strided<'a, T>, gather: &Gather, part: Part) -> Option<Frame<'a, T>> {
        let (sizes, steps) = (source.layout.dims(), source.layout.strides());
        let inside = |axis: usize| gather.axes[axis].inside(sizes[2 + axis]) == (0..gather.axes[axis].length);
        if steps[4] != 1 || steps.iter().any(|&step| step < 0) || !(0..3).all(inside) {
            return None;
        }
        let steps: [usize; 5] = std::array::from_fn(|axis| steps[axis] as usize);
        let start = |axis: usize| gather.axes[axis].start as usize * steps[2 + axis];
        let first = source.layout.offset() + part.image * steps[0] + part.channel * steps[1];
        let data = source.data.get(first + start(0) + start(1) + start(2)..)?;
        Some(Frame { data, image: steps[0], channel: steps[1], strides: [steps[2], steps[3], steps[4]] })
    }

    /// A copy in `buffer`.
    pub(super) fn copied(
        source: &Strided<'_, T>,
        gather: &Gather,
        part: Part,
        order: Order,
        buffer: &'a mut Buffer,
    ) -> Result<Frame<'a, T>, Fault> {
        let lengths: [usize; 3] = std::array::from_fn(|axis| gather.axes[axis].length);
        let volume: usize = lengths.iter().product();
        let (across, channel) = match order {
            Order::ChannelsFirst => (1, volume),
            Order::ChannelsLast => (part.channels, 1),
        };
        let strides = [lengths[1] * lengths[2] * across, lengths[2] * across, across];
        let image = volume * part.channels;
        let count = image * part.images;
        if buffer.bytes() < count * size_of::<T>() {
            *buffer = Buffer::new(count * size_of::<T>())?;
        }
        let data = buffer.fresh::<T>(count)?;
        let (sizes, steps) = (source.layout.dims(), source.layout.strides());
        let [deep, high, wide]: [_; 3] = std::array::from_fn(|axis| gather.axes[axis].inside(sizes[2 + axis]));
        if deep.len() * high.len() * wide.len() != volume {
            data.fill(T::default());
        }
        let element = |axis: usize, at: usize| (at as isize + gather.axes[axis].start) * steps[2 + axis];
        let origin = |n: usize, c: usize| {
            source.layout.offset() as isize
                + (part.image + n) as isize * steps[0]
                + (part.channel + c) as isize * steps[1]
        };
        let turned = order == Order::ChannelsLast && steps[4] == 1 && part.channels > 1;
        // Where all that is read of a row is padding, there is nothing to copy.
        let copies = if wide.is_empty() { 0 } else { part.images * if turned { 1 } else { part.channels } };
        for place in 0..copies {
            let (n, c) = if turned { (place, 0) } else { (place / part.channels, place % part.channels) };
            for d in deep.clone() {
                for h in high.clone() {
                    let from = origin(n, c) + element(0, d) + element(1, h) + element(2, wide.start);
                    let to = n * image + c * channel + d * strides[0] + h * strides[1] + wide.start * strides[2];
                    if turned {
                        // A row of all channels at once.
                        let to = &mut data[to..to + wide.len() * across];
                        T::transpose(source.data, from as usize, steps[1], part.channels, to, across);
                    } else {
                        copy_row(source.data, from, steps[4], &mut data[to..], across, wide.len());
                    }
                }
            }
        }
        Ok(Frame { data, image, channel, strides })
    }
}

/// `count` elements, from steps of `step` to steps of `across`.
#[inline]
fn copy_row<T: Copy>(from: &[T], first: isize, step: isize, to: &mut [T], across: usize, count: usize) {
    if count == 0 {
        return;
    }
    if step == 1 {
        let from = &from[first as usize..first as usize + count];
        if across == 1 {
            return to[..count].copy_from_slice(from);
        }
        for (to, &x) in to.iter_mut().step_by(across).zip(from) {
            *to = x;
        }
        return;
    }
    for (i, to) in to.iter_mut().step_by(across).take(count).enumerate() {
        *to = from[(first + i as isize * step) as usize];
    }
}
