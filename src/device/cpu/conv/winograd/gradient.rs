//! The gradient of a weight: what arrives times what was read, in each of the 16 places, summed over tiles.
//!
//! Images are cut into chunks by the shape alone; each chunk has sums of its own, which are added up in order.

use super::tiles::{Planes, Tiling};
use super::transforms::{Arriving, Inputs, Places, Source, Weighed};
use super::{LANES, padded, parts, place};
use crate::device::Buffer;
use crate::device::cpu::conv::weight::WeightJob;
use crate::device::cpu::conv::{Failure, MANY};
use crate::device::cpu::gemm::{Lines, Product, Real};
use crate::device::cpu::parallel;
use crate::device::cpu::simd;
use crate::error::Fault;
use std::ops::Range;

/// The most chunks, and elements of the sums of all of them.
const CHUNKS: usize = 8;
const SUMS: usize = 1 << 22;

/// Tiles of a block: at least and at most. The more there are, the seldomer sums are read and written, which are many where
/// channels are.
const TILES: [usize; 2] = [112, 256];

impl<T: Real> WeightJob<'_, T> {
    pub(in crate::device::cpu::conv) fn by_winograd(&self, out: &mut [T]) -> Result<(), Fault> {
        let (groups, rows, channels, outputs) = (self.groups, self.rows, self.channels, self.gather.outputs());
        let mut buffer = Buffer::new(0)?;
        let read = match Planes::in_place(&self.source, self.gather) {
            Some(planes) => planes,
            None => Planes::copied(&self.source, self.gather, [self.batch, groups * channels], &mut buffer)?,
        };
        let [_, high, wide] = &self.gather.axes;
        let arriving = Planes {
            data: self.arriving,
            image: groups * rows * outputs,
            channel: outputs,
            sizes: [high.count, wide.count],
            start: [0; 2],
        };
        // Sums are `[chunk, group, place, row, channel]`.
        let place = rows * padded(channels);
        let size = groups * 16 * place;
        let chunks = (SUMS / size).clamp(1, CHUNKS).min(self.batch);
        let each = self.batch.div_ceil(chunks);
        let chunks = self.batch.div_ceil(each);
        let mut buffer = Buffer::new(chunks * size * size_of::<T>())?;
        let sums = buffer.fresh::<T>(chunks * size)?;
        let failure = Failure::default();
        let chunk = |index: usize, sums: &mut [T], alone: bool| {
            let images = index * each..((index + 1) * each).min(self.batch);
            let chunk = Chunk { job: self, read: &read, arriving: &arriving, images, alone };
            for (group, sums) in sums.chunks_mut(16 * place).enumerate() {
                failure.note(chunk.group(group, sums));
            }
        };
        if chunks >= MANY {
            parallel::chunks(sums, size, 1 + each * outputs / 8, |index, sums| chunk(index, sums, true));
        } else {
            sums.chunks_mut(size).enumerate().for_each(|(index, sums)| chunk(index, sums, false));
        }
        failure.result()?;
        let sums = &*sums;
        parallel::chunks(out, channels * 9, 2 * chunks, |row, out| {
            let (group, row) = (row / rows, row % rows);
            let sums = &sums[group * 16 * place + row * padded(channels)..];
            simd::run(Weighed { sums, parts: chunks, part: size, place, out });
        });
        Ok(())
    }
}

/// Some images.
struct Chunk<'a, T> {
    job: &'a WeightJob<'a, T>,
    read: &'a Planes<'a, T>,
    arriving: &'a Planes<'a, T>,
    images: Range<usize>,
    alone: bool,
}

impl<T: Real> Chunk<'_, T> {
    /// The sums of a group, `[place, row, channel]`.
    fn group(&self, group: usize, sums: &mut [T]) -> Result<(), Fault> {
        let &Chunk { job, read, arriving, ref images, alone } = self;
        let (rows, channels) = (padded(job.rows), padded(job.channels));
        let tiling = Tiling::new(images.len(), job.gather, rows.max(channels).clamp(TILES[0], TILES[1]));
        let (input, output) = (place(tiling.tiles() * channels), place(tiling.tiles() * rows));
        let mut room = None;
        let [frame, inputs, outputs] = parts::<T, 3>(&mut room, [tiling.frame(), 16 * input, 16 * output])?;
        for index in 0..tiling.blocks() {
            let block = tiling.block(index);
            let tiles = block.tiles();
            for (index, image) in block.images.clone().enumerate() {
                let image = images.start + image;
                let first = index * block.of_image();
                each_vector(job.channels, |channel, count| {
                    let source = Source {
                        planes: read,
                        image,
                        channel: group * job.channels + channel,
                        count,
                        block: &block,
                        frame,
                    };
                    let to = &mut inputs[first * channels + channel..];
                    simd::run(Inputs { source, places: Places { to, tile: channels, place: input } });
                });
                each_vector(job.rows, |row, count| {
                    let source = Source {
                        planes: arriving,
                        image,
                        channel: group * job.rows + row,
                        count,
                        block: &block,
                        frame,
                    };
                    let to = &mut outputs[first * rows + row..];
                    simd::run(Arriving { source, places: Places { to, tile: rows, place: output } });
                });
            }
            for (at, sums) in sums.chunks_exact_mut(job.rows * channels).enumerate() {
                let left = Lines::new(outputs, at * output, [1, rows as isize], [job.rows, tiles])?;
                let right = Lines::new(inputs, at * input, [1, channels as isize], [channels, tiles])?;
                let product = Product::new([job.rows, channels, tiles], &left, &right).accumulate(index > 0);
                if alone { product.alone() } else { product }.run(sums, channels)?;
            }
        }
        Ok(())
    }
}

/// Calls `visit(first channel, how many)` for each vector of so many channels.
fn each_vector(channels: usize, mut visit: impl FnMut(usize, usize)) {
    for first in (0..channels).step_by(LANES) {
        visit(first, LANES.min(channels - first));
    }
}
