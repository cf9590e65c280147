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
//! A block is some rows of tiles of one image; tile `row · tiles + column` is a place. What is across (`d B`, and `A` from the
//! right) is done where a row of elements is read or written, by the parity of its columns; what is down goes along all places
//! of a block at once.

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
    /// Tiles of a row.
    tiles: usize,
    /// Places of all rows, rounded up.
    places: usize,
}

impl Block {
    /// Elements of a plane of one parity: one row of tiles more than there are, and what vectors write too much.
    fn plane(&self) -> usize {
        (self.places + self.tiles).next_multiple_of(LANES) + LANES
    }
    /// Elements of a row that its tiles read, and what vectors read too much.
    fn line(&self) -> usize {
        2 * self.tiles.next_multiple_of(LANES) + LANES
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
        let (rows, tiles) = (high.count.div_ceil(2), wide.count.div_ceil(2));
        let most = (BLOCK / self.channels).clamp(PLACES[0], PLACES[1]);
        let each = rows.div_ceil(rows.div_ceil((most / tiles).max(1)));
        let blocks = rows.div_ceil(each);
        let parts = out.len() / image * self.groups * blocks;
        let places = (each * tiles).next_multiple_of(LANES);
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
                failure.note(self.block(&Block { image, group, rows, tiles, places }, weights, room, &out));
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
        let (channels, places) = (self.channels, block.places);
        // A row of products has room for what vectors read too much.
        let (most, stride) = (self.rows.min(ROWS), places + LANES);
        let sizes = [block.line(), 8 * block.plane(), 16 * channels * places, 16 * most * stride];
        let count = sizes.iter().sum();
        let bytes = count * size_of::<T>();
        let buffer = match room {
            Some(buffer) if buffer.bytes() >= bytes => buffer,
            _ => room.insert(Buffer::new(bytes)?),
        };
        let (line, rest) = buffer.fresh::<T>(count)?.split_at_mut(sizes[0]);
        let (across, rest) = rest.split_at_mut(sizes[1]);
        let (inputs, products) = rest.split_at_mut(sizes[2]);
        line.fill(T::default());
        for channel in 0..channels {
            let size = channels * places;
            let mut to =
                inputs.chunks_exact_mut(size).map(|place| &mut place[channel * places..(channel + 1) * places]);
            let to: [&mut [T]; 16] = std::array::from_fn(|_| to.next().unwrap_or_default());
            simd::run(Inputs { source: self.plane_of(block, channel), block, line, across, to });
        }
        let [_, high, wide] = &self.gather.axes;
        for first in (0..self.rows).step_by(most) {
            let rows = most.min(self.rows - first);
            for (place, products) in products.chunks_exact_mut(most * stride).enumerate() {
                let from = ((block.group * 16 + place) * self.rows + first) * channels;
                let left = Lines::new(weights, from, [channels as isize, 1], [rows, channels])?;
                let right = Lines::new(inputs, place * channels * places, [1, places as isize], [places, channels])?;
                Product::new([rows, places, channels], &left, &right).alone().run(products, stride)?;
            }
            for row in 0..rows {
                let mut from =
                    products.chunks_exact(most * stride).map(|place| &place[row * stride..(row + 1) * stride]);
                let from: [&[T]; 16] = std::array::from_fn(|_| from.next().unwrap_or_default());
                let output = block.group * self.rows + first + row;
                let bias = self.bias.map_or(T::default(), |bias| bias[output]);
                let image = (block.image * self.groups * self.rows + output) * high.count * wide.count;
                let lines = 2 * block.rows.start..(2 * block.rows.end).min(high.count);
                let size = lines.len() * wide.count;
                // SAFETY: these rows of this channel of this image belong to this block alone.
                let out = unsafe { std::slice::from_raw_parts_mut(out.0.add(image + lines.start * wide.count), size) };
                simd::run(Outputs { from, bias, tiles: block.tiles, width: wide.count, out });
            }
        }
        Ok(())
    }

    /// Where a channel's elements lie that a block reads.
    fn plane_of(&self, block: &Block, channel: usize) -> Plane<'_, T> {
        let [deep, high, wide] = &self.gather.axes;
        let Strided { data, layout } = &self.source;
        let (dims, strides) = (layout.dims(), layout.strides());
        let origin = layout.offset() as isize
            + block.image as isize * strides[0]
            + (block.group * self.channels + channel) as isize * strides[1]
            + deep.start * strides[2];
        let there = deep.inside(dims[2]).contains(&0);
        let first = [2 * block.rows.start as isize + high.start, wide.start];
        let sizes = if there { [dims[3], dims[4]] } else { [0, 0] };
        Plane { data, origin, sizes, steps: [strides[3], strides[4]], first }
    }
}

/// The elements of a channel of an image: rows and columns, and zeros outside of them.
struct Plane<'a, T> {
    data: &'a [T],
    origin: isize,
    sizes: [usize; 2],
    steps: [isize; 2],
    /// The row and the column of the first element that is read.
    first: [isize; 2],
}

impl<T: Real> Plane<'_, T> {
    /// Lays out `count` elements of a row from the first that is read; outside of the columns `to` holds zeros already.
    #[inline(always)]
    fn lay_out(&self, row: usize, count: usize, to: &mut [T]) {
        let row = row as isize + self.first[0];
        let from = (-self.first[1]).clamp(0, count as isize) as usize;
        let end = (self.sizes[1] as isize - self.first[1]).clamp(from as isize, count as isize) as usize;
        let to = &mut to[from..end];
        if row < 0 || row as usize >= self.sizes[0] || to.is_empty() {
            return to.fill(T::default());
        }
        let start = self.origin + row * self.steps[0] + (from as isize + self.first[1]) * self.steps[1];
        if self.steps[1] == 1 {
            return to.copy_from_slice(&self.data[start as usize..][..end - from]);
        }
        for (column, to) in to.iter_mut().enumerate() {
            *to = self.data[(start + column as isize * self.steps[1]) as usize];
        }
    }
}

/// `Bᵀ d B` of one channel.
struct Inputs<'a, T> {
    source: Plane<'a, T>,
    block: &'a Block,
    /// Room for a row of elements, zeros where it has none.
    line: &'a mut [T],
    /// `d B` of the even rows, then of the odd ones.
    across: &'a mut [T],
    to: [&'a mut [T]; 16],
}

impl<T: Real> Kernel for Inputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Inputs { source, block, line, across, to } = self;
        let (tiles, plane) = (block.tiles, block.plane());
        let (evens, odds) = across.split_at_mut(4 * plane);
        for row in 0..2 * (block.rows.len() + 1) {
            source.lay_out(row, 2 * tiles + 2, line);
            let across = if row % 2 == 0 { &mut *evens } else { &mut *odds };
            for at in (0..tiles).step_by(LANES) {
                let ([even, odd], [next_even, next_odd]) = (parted(line, 2 * at), parted(line, 2 * at + 2));
                // What goes beyond the row is written over by the next one.
                let place = row / 2 * tiles + at;
                put(across, place, less(even, next_even));
                put(across, plane + place, plus(odd, next_even));
                put(across, 2 * plane + place, less(next_even, odd));
                put(across, 3 * plane + place, less(odd, next_odd));
            }
        }
        for (column, (even, odd)) in evens.chunks_exact(plane).zip(odds.chunks_exact(plane)).enumerate() {
            for at in (0..to[column].len()).step_by(LANES) {
                let [now, next] = [lanes(even, at), lanes(even, at + tiles)];
                let [odd_now, odd_next] = [lanes(odd, at), lanes(odd, at + tiles)];
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

/// Those at even and at odd places of a stretch.
#[inline(always)]
fn parted<T: Real>(from: &[T], at: usize) -> [Lanes<T>; 2] {
    let [mut even, mut odd] = [[T::default(); LANES]; 2];
    for (lane, pair) in from[at..at + 2 * LANES].as_chunks::<2>().0.iter().enumerate() {
        (even[lane], odd[lane]) = (pair[0], pair[1]);
    }
    [even, odd]
}

/// Both in turn, as far as `to` goes.
#[inline(always)]
fn put_joined<T: Real>(to: &mut [T], even: Lanes<T>, odd: Lanes<T>) {
    let mut pairs = [[T::default(); 2]; LANES];
    for (lane, pair) in pairs.iter_mut().enumerate() {
        *pair = [even[lane], odd[lane]];
    }
    match to.first_chunk_mut::<{ 2 * LANES }>() {
        Some(to) => to.copy_from_slice(pairs.as_flattened()),
        None => to.copy_from_slice(&pairs.as_flattened()[..to.len()]),
    }
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

/// `Aᵀ m A + bias` of one output.
struct Outputs<'a, T> {
    from: [&'a [T]; 16],
    bias: T,
    /// Tiles of a row.
    tiles: usize,
    width: usize,
    /// Some rows of an image.
    out: &'a mut [T],
}

impl<T: Real> Kernel for Outputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Outputs { from, bias, tiles, width, out } = self;
        let bias = [bias; LANES];
        let last = out.len() / width - 1;
        for row in 0..=last / 2 {
            for at in (0..tiles).step_by(LANES) {
                let place = row * tiles + at;
                let (mut even, mut odd) = ([bias; 4], [bias; 4]);
                for column in 0..4 {
                    let [one, two] = [lanes(from[column], place), lanes(from[4 + column], place)];
                    let [three, four] = [lanes(from[8 + column], place), lanes(from[12 + column], place)];
                    even[column] = plus(plus(one, two), three);
                    odd[column] = less(less(two, three), four);
                }
                for (line, [one, two, three, four]) in [(2 * row, even), (2 * row + 1, odd)] {
                    if line > last {
                        continue;
                    }
                    let first = plus(plus(plus(one, two), three), bias);
                    let second = plus(less(less(two, three), four), bias);
                    // Of a single vector to a line what is too much goes into the next line, which is written after it.
                    let end = if tiles <= LANES { out.len() } else { (line + 1) * width };
                    put_joined(&mut out[line * width + 2 * at..end], first, second);
                }
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
