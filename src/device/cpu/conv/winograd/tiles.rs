//! Tiles of images, in blocks whose transformed elements stay in the second-level cache.

use super::LANES;
use crate::device::cpu::conv::frame::{Frame, Order, Part};
use crate::device::cpu::conv::gather::Gather;
use crate::device::cpu::gemm::Real;
use crate::device::{Buffer, Strided};
use crate::error::Fault;
use std::ops::Range;

/// How the tiles of a batch are cut into blocks.
pub(super) struct Tiling {
    images: usize,
    /// Rows and columns of results of an image.
    pub(super) results: [usize; 2],
    /// Images, rows and columns of tiles of a block: whole images, some whole rows of one, or a piece of a row.
    each: [usize; 3],
    /// Blocks along each.
    blocks: [usize; 3],
}

/// Tiles of images.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// Pieces of `total` as even as can be, none larger than `most` (but at least 1).
fn even(total: usize, most: usize) -> usize {
    total.div_ceil(total.div_ceil(most.max(1)).max(1)).max(1)
}

impl Tiling {
    /// Blocks of `most` tiles at most.
    pub(super) fn new(images: usize, gather: &Gather, most: usize) -> Tiling {
        let results = [gather.axes[1].count, gather.axes[2].count];
        let [rows, columns] = results.map(|count| count.div_ceil(2));
        let each = [(most / (rows * columns)).clamp(1, images.max(1)), even(rows, most / columns), even(columns, most)];
        let blocks = [images.div_ceil(each[0]), rows.div_ceil(each[1]), columns.div_ceil(each[2])];
        Tiling { images, results, each, blocks }
    }
    /// Tiles of all images.
    pub(super) fn all(&self) -> usize {
        self.images * self.results.iter().map(|count| count.div_ceil(2)).product::<usize>()
    }
    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.iter().product()
    }
    pub(super) fn block(&self, index: usize) -> Block {
        let [_, rows, columns] = self.blocks;
        let at = [index / (rows * columns), index / columns % rows, index % columns];
        let range = |axis: usize, total: usize| {
            let first = at[axis] * self.each[axis];
            first..(first + self.each[axis]).min(total)
        };
        Block {
            images: range(0, self.images),
            rows: range(1, self.results[0].div_ceil(2)),
            columns: range(2, self.results[1].div_ceil(2)),
        }
    }
    /// The most tiles of a block.
    pub(super) fn tiles(&self) -> usize {
        self.each.iter().product()
    }
    /// Elements that the 16 channels of an image take as vectors, with a row of zeros and one more than is written.
    pub(super) fn frame(&self) -> usize {
        (2 * self.each[1] + 4) * (2 * self.each[2] + 2) * LANES
    }
}

impl Block {
    /// Tiles of one of its images.
    pub(super) fn of_image(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
    pub(super) fn tiles(&self) -> usize {
        self.images.len() * self.of_image()
    }
}

/// Channels of images whose rows lie behind one another.
pub(super) struct Planes<'a, T> {
    pub(super) data: &'a [T],
    /// Elements from one image, and from one channel, to the next.
    pub(super) image: usize,
    pub(super) channel: usize,
    /// Rows and columns.
    pub(super) sizes: [usize; 2],
    /// Where the first tile begins to read: below 0 where zeros come first.
    pub(super) start: [isize; 2],
}

impl<'a, T: Real> Planes<'a, T> {
    /// A source where it lies, if its planes are dense.
    pub(super) fn in_place(source: &Strided<'a, T>, gather: &Gather) -> Option<Planes<'a, T>> {
        let [deep, high, wide] = &gather.axes;
        let (sizes, steps) = (source.layout.dims(), source.layout.strides());
        let dense = steps[4] == 1 && steps[3] == sizes[4] as isize && steps.iter().all(|&step| step >= 0);
        if !dense || !deep.inside(sizes[2]).contains(&0) {
            return None;
        }
        let data = source.data.get(source.layout.offset() + deep.start.unsigned_abs() * steps[2] as usize..)?;
        let (image, channel) = (steps[0] as usize, steps[1] as usize);
        Some(Planes { data, image, channel, sizes: [sizes[3], sizes[4]], start: [high.start, wide.start] })
    }
    /// A copy in `buffer`, of images with so many channels.
    pub(super) fn copied(
        source: &Strided<'_, T>,
        gather: &Gather,
        [images, channels]: [usize; 2],
        buffer: &'a mut Buffer,
    ) -> Result<Planes<'a, T>, Fault> {
        let part = Part { image: 0, images, channel: 0, channels };
        let frame = Frame::copied(source, gather, part, Order::ChannelsFirst, buffer)?;
        let sizes = [gather.axes[1].length, gather.axes[2].length];
        Ok(Planes { data: frame.data, image: frame.image, channel: frame.channel, sizes, start: [0; 2] })
    }
}
