//! Convolutions with kernels of 3 × 3 in Winograd's way, F(2 × 2, 3 × 3): 16 multiplications where the definition has 36.
//!
//! A tile of 2 × 2 results reads 4 × 4 elements `d`, the next tile two further on:
//!
//! ```text
//! y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A        Aᵀ = 1  1  1  0    Bᵀ = 1  0 -1  0    G =  1   0   0
//!                                           0  1 -1 -1         0  1  1  0         ½   ½   ½
//!                                                              0 -1  1  0         ½  -½   ½
//!                                                              0  1  0 -1         0   0   1
//! ```
//!
//! Summed over channels, each of the 16 places of `⊙` is a matrix product: outputs × channels × tiles. It is exact but for
//! rounding: sums and differences of elements are rounded before they are multiplied, but fewer products are added up. Of 32
//! channels the error is 0.8 times that of the direct sum (a test holds it below twice). Lavin and Gray, "Fast algorithms for
//! convolutional neural networks", 2015.
//!
//! A block is some rows of tiles of one image. Its elements are laid out by the parity of row and column, so that every
//! step runs along all tiles of a block at once: place `row · pitch + column`, where each row has one place more than it has
//! tiles, whose numbers nobody reads.

use super::Failure;
use super::product::Job;
use crate::device::cpu::gemm::{Lines, Product, Real};
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel};
use crate::device::{Buffer, Strided};
use crate::error::Fault;
use std::ops::Range;

/// Fewer channels or rows than this are no work for products.
const CHANNELS: usize = 8;
/// Fewer tiles than this of an image are not worth the transformed weights.
const TILES: usize = 32;
/// Rows of a group whose products are there at the same time.
const ROWS: usize = 64;
/// Elements of a transformed block: one of its 16 places, all channels.
const BLOCK: usize = 14 << 10;
/// Places of a block: those it may always have, and the most.
const PLACES: [usize; 2] = [64, 224];
const LANES: usize = 16;

/// C, of which each part writes its own rows.
struct Out<T>(*mut T);

// SAFETY: parts write disjoint rows; who makes an `Out` borrows C for as long as they run.
unsafe impl<T: Send> Sync for Out<T> {}

/// Where a block's rows of tiles stand.
struct Block {
    image: usize,
    group: usize,
    rows: Range<usize>,
    /// Places from one row of tiles to the next.
    pitch: usize,
    /// Places of all rows, rounded up.
    places: usize,
}

impl Block {
    /// Elements of a plane of one parity: one row of tiles more than there are, and what vectors read too much.
    fn plane(&self) -> usize {
        (self.places + self.pitch).next_multiple_of(LANES) + LANES
    }
}

impl<T: Real> Job<'_, T> {
    /// Is it a convolution for this file? The shape of one image says so, never how many there are.
    pub(super) fn suits_winograd(&self) -> bool {
        let [deep, high, wide] = &self.gather.axes;
        let three = |axis: &super::gather::Axis| {
            axis.step == 1
                && axis.taps.len() == 3
                && [0, 1, 2].iter().all(|&at| axis.taps.iter().any(|tap| tap.1 == at))
        };
        deep.count == 1
            && deep.taps.len() == 1
            && three(high)
            && three(wide)
            && self.channels >= CHANNELS
            && self.rows >= CHANNELS
            && high.count.div_ceil(2) * wide.count.div_ceil(2) >= TILES
    }

    pub(super) fn by_winograd(&self, out: &mut [T]) -> Result<(), Fault> {
        let [_, high, wide] = &self.gather.axes;
        let weights = self.transformed_weights()?;
        let weights = weights.elements::<T>();
        let image = self.groups * self.rows * self.gather.outputs();
        let (rows, pitch) = (high.count.div_ceil(2), wide.count.div_ceil(2) + 1);
        let most = (BLOCK / self.channels).clamp(PLACES[0], PLACES[1]);
        let each = rows.div_ceil(rows.div_ceil((most / pitch).max(1)));
        let blocks = rows.div_ceil(each);
        let parts = out.len() / image * self.groups * blocks;
        let places = (each * pitch).next_multiple_of(LANES);
        let cost = 2 * places * (self.rows + self.channels) + places * self.rows * self.channels;
        let out = Out(out.as_mut_ptr());
        let failure = Failure::default();
        parallel::parts_with(
            parts,
            cost,
            || None,
            |room, part| {
                let (place, first) = (part / blocks, part % blocks * each);
                let rows = first..(first + each).min(rows);
                let (image, group) = (place / self.groups, place % self.groups);
                failure.note(self.block(&Block { image, group, rows, pitch, places }, weights, room, &out));
            },
        );
        failure.result()
    }

    /// `G w Gᵀ` as `[group, place, row, channel]`.
    fn transformed_weights(&self) -> Result<Buffer, Fault> {
        let (rows, channels) = (self.rows, self.channels);
        let count = self.groups * 16 * rows * channels;
        let mut buffer = Buffer::new(count * size_of::<T>())?;
        let [_, high, wide] = &self.gather.axes;
        // The tap that reads at an offset: those of a transposed convolution stand the other way round.
        let tap = |offset: usize| {
            let along =
                |axis: &super::gather::Axis, offset| axis.taps.iter().position(|tap| tap.1 == offset).unwrap_or(0);
            along(high, offset / 3) * 3 + along(wide, offset % 3)
        };
        let taps: [usize; 9] = std::array::from_fn(tap);
        let out = Out(buffer.fresh::<T>(count)?.as_mut_ptr());
        parallel::parts(self.groups * rows, channels * 8, |index| {
            let (group, row) = (index / rows, index % rows);
            let weights = &self.weights[index * channels * 9..(index + 1) * channels * 9];
            let out: [&mut [T]; 16] = std::array::from_fn(|place| {
                let first = ((group * 16 + place) * rows + row) * channels;
                let out = &out;
                // SAFETY: within the buffer of `count` elements; each row of each place belongs to one part.
                unsafe { std::slice::from_raw_parts_mut(out.0.add(first), channels) }
            });
            simd::run(Weights { weights, taps, out });
        });
        Ok(buffer)
    }

    fn block(&self, block: &Block, weights: &[T], room: &mut Option<Buffer>, out: &Out<T>) -> Result<(), Fault> {
        let (channels, places, plane) = (self.channels, block.places, block.plane());
        let most = self.rows.min(ROWS);
        let zero = T::default();
        let sizes = [4 * plane, 8 * plane, 16 * channels * places, 16 * most * places, 4 * places];
        let count = sizes.iter().sum();
        let bytes = count * size_of::<T>();
        let buffer = match room {
            Some(buffer) if buffer.bytes() >= bytes => buffer,
            _ => room.insert(Buffer::new(bytes)?),
        };
        let (planes, rest) = buffer.fresh::<T>(count)?.split_at_mut(sizes[0]);
        let (across, rest) = rest.split_at_mut(sizes[1]);
        let (inputs, rest) = rest.split_at_mut(sizes[2]);
        let (products, results) = rest.split_at_mut(sizes[3]);
        planes.fill(zero);
        for channel in 0..channels {
            self.lay_out(block, channel, planes);
            let size = channels * places;
            let mut to =
                inputs.chunks_exact_mut(size).map(|place| &mut place[channel * places..(channel + 1) * places]);
            let to: [&mut [T]; 16] = std::array::from_fn(|_| to.next().unwrap_or_default());
            simd::run(Inputs { planes, across, plane, pitch: block.pitch, to });
        }
        let [_, high, wide] = &self.gather.axes;
        for first in (0..self.rows).step_by(most) {
            let rows = most.min(self.rows - first);
            for (place, products) in products.chunks_exact_mut(most * places).enumerate() {
                let from = ((block.group * 16 + place) * self.rows + first) * channels;
                let left = Lines::new(weights, from, [channels as isize, 1], [rows, channels])?;
                let right = Lines::new(inputs, place * channels * places, [1, places as isize], [places, channels])?;
                Product::new([rows, places, channels], &left, &right).alone().run(products, places)?;
            }
            for row in 0..rows {
                let mut from =
                    products.chunks_exact(most * places).map(|place| &place[row * places..(row + 1) * places]);
                let from: [&[T]; 16] = std::array::from_fn(|_| from.next().unwrap_or_default());
                let output = block.group * self.rows + first + row;
                let bias = self.bias.map_or(zero, |bias| bias[output]);
                simd::run(Outputs { from, bias, to: results });
                let image = (block.image * self.groups * self.rows + output) * high.count * wide.count;
                let lines = 2 * block.rows.start..(2 * block.rows.end).min(high.count);
                let size = lines.len() * wide.count;
                // SAFETY: these rows of this channel of this image belong to this block alone.
                let out = unsafe { std::slice::from_raw_parts_mut(out.0.add(image + lines.start * wide.count), size) };
                simd::run(Interleave { results, places, pitch: block.pitch, width: wide.count, out });
            }
        }
        Ok(())
    }

    /// The elements of a channel that a block reads, by the parity of row and column.
    fn lay_out(&self, block: &Block, channel: usize, planes: &mut [T]) {
        let [deep, high, wide] = &self.gather.axes;
        let Strided { data, layout } = &self.source;
        let (dims, strides) = (layout.dims(), layout.strides());
        let plane = block.plane();
        let at = |axis: usize, index: usize, start: isize| (index as isize + start) * strides[2 + axis];
        let origin = layout.offset() as isize
            + block.image as isize * strides[0]
            + (block.group * self.channels + channel) as isize * strides[1]
            + at(0, 0, deep.start);
        let there = deep.inside(dims[2]).contains(&0);
        for line in 0..2 * (block.rows.len() + 1) {
            let source = 2 * block.rows.start + line;
            let (first, pairs) = (line / 2 * block.pitch, block.pitch);
            let (even, odd) = planes[line % 2 * 2 * plane..][..2 * plane].split_at_mut(plane);
            let (even, odd) = (&mut even[first..], &mut odd[first..]);
            let row = source as isize + high.start;
            if !there || row < 0 || row as usize >= dims[3] {
                even[..pairs].fill(T::default());
                odd[..pairs].fill(T::default());
                continue;
            }
            let columns = 0..dims[4] as isize;
            let from = origin + at(1, source, high.start);
            simd::run(Split { data, from, step: strides[4], start: wide.start, columns, pairs, even, odd });
        }
    }
}

/// `even[i]`, `odd[i]` = the elements `start + 2 · i` and the next one of a row, zeros outside of its columns.
struct Split<'a, T> {
    data: &'a [T],
    from: isize,
    step: isize,
    start: isize,
    columns: Range<isize>,
    /// So many of each are wanted; there may be room for more.
    pairs: usize,
    even: &'a mut [T],
    odd: &'a mut [T],
}

impl<T: Real> Kernel for Split<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Split { data, from, step, start, columns, pairs, even, odd } = self;
        // The pairs both of whose elements are there.
        let first = ((columns.start - start + 1).max(0) as usize / 2).min(pairs);
        let last = ((columns.end - start).max(0) as usize / 2).clamp(first, pairs);
        let element = |column: isize| match columns.contains(&column) {
            true => data[(from + column * step) as usize],
            false => T::default(),
        };
        // Whole vectors, which may go beyond the row; what is wrong there is put right below, or never read.
        let mut done = first;
        while step == 1 && done < last {
            let begin = (from + start + 2 * done as isize) as usize;
            let (Some(row), true) = (data.get(begin..begin + 2 * LANES), done + LANES <= even.len()) else { break };
            let [mut first, mut second] = [[T::default(); LANES]; 2];
            for (lane, pair) in row.as_chunks::<2>().0.iter().enumerate() {
                (first[lane], second[lane]) = (pair[0], pair[1]);
            }
            put(even, done, first);
            put(odd, done, second);
            done += LANES;
        }
        for pair in (0..first).chain(done..last).chain(last..pairs) {
            let column = start + 2 * pair as isize;
            (even[pair], odd[pair]) = (element(column), element(column + 1));
        }
    }
}

/// `Bᵀ d B` of one channel.
struct Inputs<'a, T> {
    /// Even rows' even and odd columns, odd rows' even and odd columns.
    planes: &'a [T],
    /// `d B` of the even rows, then of the odd ones.
    across: &'a mut [T],
    plane: usize,
    pitch: usize,
    to: [&'a mut [T]; 16],
}

impl<T: Real> Kernel for Inputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Inputs { planes, across, plane, pitch, to } = self;
        for (columns, across) in planes.chunks_exact(2 * plane).zip(across.chunks_exact_mut(4 * plane)) {
            let (even, odd) = columns.split_at(plane);
            for at in (0..plane - LANES).step_by(LANES) {
                let [now, next] = [lanes(even, at), lanes(even, at + 1)];
                let [odd_now, odd_next] = [lanes(odd, at), lanes(odd, at + 1)];
                put(across, at, less(now, next));
                put(across, plane + at, plus(odd_now, next));
                put(across, 2 * plane + at, less(next, odd_now));
                put(across, 3 * plane + at, less(odd_now, odd_next));
            }
        }
        let (evens, odds) = across.split_at(4 * plane);
        for (column, (even, odd)) in evens.chunks_exact(plane).zip(odds.chunks_exact(plane)).enumerate() {
            for at in (0..to[column].len()).step_by(LANES) {
                let [now, next] = [lanes(even, at), lanes(even, at + pitch)];
                let [odd_now, odd_next] = [lanes(odd, at), lanes(odd, at + pitch)];
                put(to[column], at, less(now, next));
                put(to[4 + column], at, plus(odd_now, next));
                put(to[8 + column], at, less(next, odd_now));
                put(to[12 + column], at, less(odd_now, odd_next));
            }
        }
    }
}

/// What a vector holds.
type Lanes<T> = [T; LANES];

#[inline(always)]
fn lanes<T: Real>(from: &[T], at: usize) -> Lanes<T> {
    let mut lanes = [T::default(); LANES];
    lanes.copy_from_slice(&from[at..at + LANES]);
    lanes
}

#[inline(always)]
fn put<T: Real>(to: &mut [T], at: usize, lanes: Lanes<T>) {
    to[at..at + LANES].copy_from_slice(&lanes);
}

#[inline(always)]
fn plus<T: Real>(mut a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    for lane in 0..LANES {
        a[lane] = a[lane] + b[lane];
    }
    a
}

#[inline(always)]
fn less<T: Real>(mut a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    for lane in 0..LANES {
        a[lane] = a[lane] - b[lane];
    }
    a
}

/// `Aᵀ m A + bias` of one output: the results of even rows, even and odd columns, then those of odd rows.
struct Outputs<'a, T> {
    from: [&'a [T]; 16],
    bias: T,
    to: &'a mut [T],
}

impl<T: Real> Kernel for Outputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Outputs { from, bias, to } = self;
        let (count, bias) = (to.len() / 4, [bias; LANES]);
        for at in (0..count).step_by(LANES) {
            let (mut even, mut odd) = ([bias; 4], [bias; 4]);
            for column in 0..4 {
                let [one, two] = [lanes(from[column], at), lanes(from[4 + column], at)];
                let [three, four] = [lanes(from[8 + column], at), lanes(from[12 + column], at)];
                even[column] = plus(plus(one, two), three);
                odd[column] = less(less(two, three), four);
            }
            for (row, [one, two, three, four]) in [even, odd].into_iter().enumerate() {
                put(to, 2 * row * count + at, plus(plus(plus(one, two), three), bias));
                put(to, (2 * row + 1) * count + at, plus(less(less(two, three), four), bias));
            }
        }
    }
}

/// Puts results back in their order.
struct Interleave<'a, T> {
    results: &'a [T],
    places: usize,
    pitch: usize,
    width: usize,
    /// Some rows of an image.
    out: &'a mut [T],
}

impl<T: Real> Kernel for Interleave<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Interleave { results, places, pitch, width, out } = self;
        for line in 0..out.len() / width {
            let first = line % 2 * 2 * places + line / 2 * pitch;
            let (even, odd) = (&results[first..], &results[first + places..]);
            let out = &mut out[line * width..];
            let mut done = 0;
            // Whole vectors, which may go beyond the row: into the next one, which is written after it.
            while done < width.div_ceil(2) {
                let Some(out) = out.get_mut(2 * done..2 * done + 2 * LANES) else { break };
                if done + LANES > odd.len() {
                    break;
                }
                let (first, second) = (lanes(even, done), lanes(odd, done));
                let mut pairs = [[T::default(); 2]; LANES];
                for (lane, pair) in pairs.iter_mut().enumerate() {
                    *pair = [first[lane], second[lane]];
                }
                out.copy_from_slice(pairs.as_flattened());
                done += LANES;
            }
            for column in 2 * done..width {
                out[column] = if column % 2 == 0 { even[column / 2] } else { odd[column / 2] };
            }
        }
    }
}

/// `G w Gᵀ` of one row, for all its channels.
struct Weights<'a, T> {
    /// `[channel, tap]`.
    weights: &'a [T],
    /// The tap at each of 3 × 3 offsets.
    taps: [usize; 9],
    out: [&'a mut [T]; 16],
}

impl<T: Real> Kernel for Weights<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Weights { weights, taps, out } = self;
        let half = T::from_f64(0.5);
        for (channel, weights) in weights.as_chunks::<9>().0.iter().enumerate() {
            let mut rows = [[T::default(); 4]; 3];
            for (row, to) in rows.iter_mut().enumerate() {
                *to = turn([weights[taps[3 * row]], weights[taps[3 * row + 1]], weights[taps[3 * row + 2]]], half);
            }
            for column in 0..4 {
                let all = turn([rows[0][column], rows[1][column], rows[2][column]], half);
                for row in 0..4 {
                    out[4 * row + column][channel] = all[row];
                }
            }
        }
    }
}

/// `G w` of three taps.
#[inline(always)]
fn turn<T: Real>(w: [T; 3], half: T) -> [T; 4] {
    let (ends, middle) = ((w[0] + w[2]) * half, w[1] * half);
    [w[0], ends + middle, ends - middle, w[2]]
}
