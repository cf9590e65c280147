//! Convolutions with kernels of 3 × 3 in Winograd's way, F(2 × 2, 3 × 3): 16 multiplications where the definition has 36.
//!
//! A tile of 2 × 2 results `y` reads 4 × 4 elements `d`, the next tile two further on:
//!
//! ```text
//! y  = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A       Aᵀ = 1  1  1  0    Bᵀ = 1  0 -1  0    G =  1   0   0
//! ∂w = Gᵀ [(A ∂y Aᵀ) ⊙ (Bᵀ d B)] G           0  1 -1 -1         0  1  1  0         ½   ½   ½
//!                                                               0 -1  1  0         ½  -½   ½
//!                                                               0  1  0 -1         0   0   1
//! ```
//!
//! Each of the 16 places of `⊙` is a matrix product: summed over channels, tiles × channels × outputs, for the results (and, by a
//! transposed convolution, for the gradient of the input); summed over tiles, outputs × tiles × channels, for the gradient of
//! the weight. It is exact but for rounding: sums and differences of elements are rounded before they are multiplied, but fewer
//! products are added up. Of 32 channels the error is 0.8 times that of the direct sum, of a weight's gradient, where sums meet sums,
//! 2.5 times (a test holds them below 2 and 4 times). Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015.
//!
//! - `tiles`: what a block of tiles is, and where it reads and writes.
//! - `transforms`: into the 16 places and out of them. Inside channels are neighbours, so that every vector is full.
//! - `results`, `gradient`: the products of the two.

mod gradient;
mod results;
mod tiles;
mod transforms;

use super::gather::{Axis, Gather};
use crate::device::Buffer;
use crate::device::cpu::gemm::Real;
use crate::error::Fault;
use crate::layout::DType;

/// Fewer channels on either side than this are no work for products, nor is a smaller weight of each tap.
const CHANNELS: usize = 8;
const WEIGHTS: usize = 128;
/// Fewer tiles of an image than this are not worth the transformed weights.
const TILES: usize = 16;
/// With more channels × outputs than this for each tile of an image, transformed weights cost more than they bring, ...
pub(super) const RESULTS: usize = 1 << 13;
/// ... and so do transformed sums of a gradient.
pub(super) const GRADIENT: usize = 1 << 10;
/// What a vector holds, of channels that are neighbours.
const LANES: usize = 16;

/// Is it done in these numbers?
pub(super) const fn in_numbers<T: Real>() -> bool {
    matches!(T::DTYPE, DType::F32)
}

/// Is it a convolution for Winograd's way? The shape of one image says so, never how many there are. `most`: channels × outputs
/// for each tile.
pub(super) fn suits(gather: &Gather, [rows, channels]: [usize; 2], most: usize) -> bool {
    let [deep, high, wide] = &gather.axes;
    let three = |axis: &Axis| {
        axis.step == 1 && axis.taps.len() == 3 && [0, 1, 2].iter().all(|&at| axis.taps.iter().any(|tap| tap.1 == at))
    };
    let tiles = high.count.div_ceil(2) * wide.count.div_ceil(2);
    deep.count == 1
        && deep.taps.len() == 1
        && three(high)
        && three(wide)
        && channels.min(rows) >= CHANNELS
        && (WEIGHTS..=tiles.saturating_mul(most)).contains(&(rows * channels))
        && tiles >= TILES
}

/// Channels as they lie inside: the last vector is full.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Elements from one of the 16 places to the next: one vector more than are used, so that the 16 of a tile, which are
/// written together, do not push each other out of the first-level cache.
fn place(elements: usize) -> usize {
    elements + LANES
}

/// A thread's room for blocks: so many elements for each of several purposes, which hold old numbers.
fn parts<T: Real, const N: usize>(room: &mut Option<Buffer>, sizes: [usize; N]) -> Result<[&mut [T]; N], Fault> {
    let count = sizes.iter().sum::<usize>();
    let bytes = count * size_of::<T>();
    let buffer = match room.take() {
        Some(buffer) if buffer.bytes() >= bytes => buffer,
        _ => Buffer::new(bytes)?,
    };
    let mut rest = room.insert(buffer).fresh::<T>(count)?;
    Ok(sizes.map(|size| rest.split_off_mut(..size).unwrap_or_default()))
}
