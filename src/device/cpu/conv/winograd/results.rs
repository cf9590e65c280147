//! A convolution's results, or those of a transposed one: a block of tiles goes in, is multiplied, and comes out.

use super::tiles::{Block, Planes, Tiling};
use super::transforms::{Inputs, Outputs, Places, Source, Weights};
use super::{LANES, padded, parts, place};
use crate::device::Buffer;
use crate::device::cpu::beside::Key;
use crate::device::cpu::conv::Failure;
use crate::device::cpu::conv::product::Job;
use crate::device::cpu::gemm::{Lines, Product, Real};
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, SimdLevel};
use crate::error::Fault;

/// Rows of a group whose products are there at the same time.
const ROWS: usize = 64;

/// Elements of a block in one of its 16 places, all channels, and how many tiles it has at least and at most. Processors without
/// AVX-512 have second-level caches of half the size.
const BLOCK: usize = 7 << 10;
const SMALL_BLOCK: usize = BLOCK / 2;
const TILES: [usize; 2] = [28, 112];

/// With more tiles than this in all images, to transform weights takes less than a fiftieth of the time.
const KEPT_TILES: usize = 1024;

/// C, of which each part writes its own places.
struct Out<T>(*mut T);

// SAFETY: parts write disjoint places; who makes an `Out` borrows C for as long as they run.
unsafe impl<T: Send> Sync for Out<T> {}

impl<T: Real> Job<'_, T> {
    pub(in crate::device::cpu::conv) fn by_winograd(&self, out: &mut [T]) -> Result<(), Fault> {
        let images = out.len() / (self.groups * self.rows * self.gather.outputs());
        let mut buffer = Buffer::new(0)?;
        let planes = match Planes::in_place(&self.source, self.gather) {
            Some(planes) => planes,
            None => Planes::copied(&self.source, self.gather, [images, self.groups * self.channels], &mut buffer)?,
        };
        let mut room;
        let (block, least) = match simd::level() {
            SimdLevel::Avx512 => (BLOCK, 2 * TILES[0]),
            _ => (SMALL_BLOCK, TILES[0]),
        };
        let tiling = Tiling::new(images, self.gather, (block / self.channels).clamp(least, TILES[1]));
        let weights = match self.kept_weights(tiling.all()) {
            Some(kept) => kept,
            None => {
                room = Buffer::new(self.transformed_bytes())?;
                self.transform_weights(&mut room)?;
                &room
            }
        };
        let blocks = tiling.blocks();
        let cost = 2 * tiling.tiles() * (self.rows + self.channels) + tiling.tiles() * self.rows * self.channels;
        let batch = Batch { job: self, planes, tiling, weights: weights.elements::<T>(), out: Out(out.as_mut_ptr()) };
        let failure = Failure::default();
        parallel::parts_with(
            blocks * self.groups,
            cost,
            || None,
            |room, part| {
                failure.note(batch.block(&batch.tiling.block(part % blocks), part / blocks, room));
            },
        );
        failure.result()
    }

    /// Transformed weights that are kept beside the weights.
    fn kept_weights(&self, tiles: usize) -> Option<&Buffer> {
        let beside = self.beside.filter(|_| tiles <= KEPT_TILES)?;
        let start = self.weights.as_ptr().addr() as isize;
        let [groups, rows, channels] = [self.groups, self.rows, self.channels].map(|count| count as isize);
        let key = Key { kind: "tiles", numbers: [start, groups, rows, channels, 0, 0, 0, 0] };
        beside.kept(key, self.transformed_bytes(), |buffer| self.transform_weights(buffer))
    }

    fn transformed_bytes(&self) -> usize {
        self.groups * 16 * self.weight_steps().place * size_of::<T>()
    }

    /// `G w Gᵀ` as `[group, place, some rows, channel, row]`.
    fn transform_weights(&self, buffer: &mut Buffer) -> Result<(), Fault> {
        let Steps { line, some, place } = self.weight_steps();
        let out = Out(buffer.fresh::<T>(self.groups * 16 * place)?.as_mut_ptr());
        let [_, high, wide] = &self.gather.axes;
        // The tap that reads at an offset: those of a transposed convolution stand the other way round.
        let taps: [usize; 9] = std::array::from_fn(|offset| {
            let along = |axis: &super::Axis, offset| axis.taps.iter().position(|tap| tap.1 == offset).unwrap_or(0);
            along(high, offset / 3) * 3 + along(wide, offset % 3)
        });
        let (vectors, each) = (self.rows.div_ceil(LANES), 9 * self.channels);
        let failure = Failure::default();
        parallel::parts_with(
            self.groups * vectors,
            LANES * each * 2,
            || None,
            |room, part| {
                let (group, first) = (part / vectors, part % vectors * LANES);
                let rows = group * self.rows + first..group * self.rows + (first + LANES).min(self.rows);
                let done = parts(room, [LANES * each]).map(|[frame]| {
                    let out = &out;
                    // SAFETY: the places of these rows, which belong to this part alone.
                    let to = unsafe { out.0.add(group * 16 * place + first / line * some + first % line) };
                    let weights = &self.weights[rows.start * each..rows.end * each];
                    simd::run(Weights { weights, channels: self.channels, taps, frame, to, line, place });
                });
                failure.note(done);
            },
        );
        failure.result()
    }

    fn weight_steps(&self) -> Steps {
        let line = padded(self.rows.min(ROWS));
        let some = self.channels * line;
        Steps { line, some, place: place(self.rows.div_ceil(line) * some) }
    }
}

/// How transformed weights lie: elements from one channel to the next, from some rows to the next ones, and from one place to
/// the next. The rows that are multiplied at the same time lie together.
struct Steps {
    line: usize,
    some: usize,
    place: usize,
}

/// What all blocks share.
struct Batch<'a, T> {
    job: &'a Job<'a, T>,
    planes: Planes<'a, T>,
    tiling: Tiling,
    weights: &'a [T],
    out: Out<T>,
}

impl<T: Real> Batch<'_, T> {
    /// All outputs of a group, for a block of tiles.
    fn block(&self, block: &Block, group: usize, room: &mut Option<Buffer>) -> Result<(), Fault> {
        let Batch { job, planes, tiling, weights, .. } = self;
        let (channels, tiles) = (job.channels, block.tiles());
        let Steps { line: most, some, place: weight } = job.weight_steps();
        let line = padded(channels);
        let input = place(tiling.tiles() * line);
        let output = place(tiling.tiles() * most);
        let [frame, inputs, products] = parts::<T, 3>(room, [tiling.frame(), 16 * input, 16 * output])?;
        for (index, image) in block.images.clone().enumerate() {
            for first in (0..channels).step_by(LANES) {
                let (channel, count) = (group * channels + first, LANES.min(channels - first));
                let source = Source { planes, image, channel, count, block, frame };
                let to = &mut inputs[index * block.of_image() * line + first..];
                simd::run(Inputs { source, places: Places { to, tile: line, place: input } });
            }
        }
        for first in (0..job.rows).step_by(most) {
            let rows = padded(job.rows - first).min(most);
            for (at, products) in products.chunks_exact_mut(output).enumerate() {
                let left = Lines::new(inputs, at * input, [line as isize, 1], [tiles, channels])?;
                let from = (group * 16 + at) * weight + first / most * some;
                let right = Lines::new(weights, from, [1, most as isize], [rows, channels])?;
                Product::new([tiles, rows, channels], &left, &right).alone().run(products, most)?;
            }
            for (index, image) in block.images.clone().enumerate() {
                for vector in (0..rows.min(job.rows - first)).step_by(LANES) {
                    let row = group * job.rows + first + vector;
                    let plane = (image * job.groups * job.rows + row) * job.gather.outputs();
                    simd::run(Outputs {
                        from: &products[index * block.of_image() * most + vector..],
                        tile: most,
                        place: output,
                        finish: job.finish.after(row),
                        block,
                        results: tiling.results,
                        frame,
                        // SAFETY: a plane of C; the block's places in it belong to this part alone.
                        out: unsafe { self.out.0.add(plane) },
                        count: LANES.min(job.rows - first - vector),
                    });
                }
            }
        }
        Ok(())
    }
}
