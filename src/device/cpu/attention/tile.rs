//! One tile: the scores of some queries against some keys, and what is made of them.

use super::super::gemm::{self, Lines, Product};
use super::super::real::{Real, sum_of};
use super::super::simd::{self, SimdLevel};
use super::{Attending, KEYS, Mask, Matrices, QUERIES, Sizes};
use crate::device::cpu::random::words_of;
use crate::device::random::{Draw, Group, threshold};
use crate::error::Fault;
use std::ops::Range;

/// A float that attention computes in.
pub(super) trait Float: Real + gemm::Real + gemm::Widen<Self> {}
impl<T: Real + gemm::Real + gemm::Widen<T>> Float for T {}

/// Which queries of which matrix meet which keys.
#[derive(Clone)]
pub(super) struct Tile {
    /// The matrix of queries, counted over all of them.
    pub(super) matrix: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// The operands that give scores.
pub(super) struct Scores<'a, T> {
    pub(super) sizes: Sizes,
    pub(super) how: Attending,
    pub(super) query: Matrices<'a, T>,
    pub(super) key: Matrices<'a, T>,
    pub(super) mask: Mask<'a, T>,
}

impl<T: Float> Scores<'_, T> {
    /// `scale · query · keyᵀ + mask` of a tile, in rows of [`KEYS`]; what is masked is minus infinity.
    pub(super) fn compute(&self, tile: &Tile, scores: &mut [T]) -> Result<(), Fault> {
        let (rows, columns) = (tile.rows.len(), tile.columns.len());
        let key = self.key.start(tile.matrix / self.sizes.groups, tile.columns.start);
        let query = self.query.start(tile.matrix, tile.rows.start);
        let width = self.sizes.width;
        let left = Lines::new(self.query.data, query, [self.query.row, self.query.column], [rows, width])?;
        let right = Lines::new(self.key.data, key, [self.key.row, self.key.column], [columns, width])?;
        Product::new([rows, columns, width], &left, &right)
            .alpha(T::narrow(self.how.scale))
            .alone()
            .run(scores, KEYS)?;
        for (i, row) in scores.chunks_mut(KEYS).take(rows).enumerate() {
            let query = tile.rows.start + i;
            match &self.mask {
                Mask::None => {}
                Mask::Keep(mask) => mask.along(tile, query, |j, &keep| {
                    if !keep {
                        row[j] = -T::INFINITY;
                    }
                }),
                Mask::Add(mask) => mask.along(tile, query, |j, &add| row[j] += add),
            }
            if self.how.causal {
                let seen = self.sizes.seen(query, self.how).saturating_sub(tile.columns.start);
                if seen < columns {
                    row[seen..columns].fill(-T::INFINITY);
                }
            }
        }
        Ok(())
    }
    /// Does a causal mask hide all of a tile?
    pub(super) fn hidden(&self, tile: &Tile) -> bool {
        self.how.causal && tile.columns.start >= tile.rows.end
    }
    /// Drops weights of a tile: what is kept grows by `1 / (1 - rate)`.
    pub(super) fn drop_weights(&self, tile: &Tile, weights: &mut [T]) {
        let Some((rate, draw)) = self.how.dropout else { return };
        for (i, row) in weights.chunks_mut(KEYS).take(tile.rows.len()).enumerate() {
            let first = (tile.matrix * self.sizes.queries + tile.rows.start + i) * self.sizes.keys + tile.columns.start;
            simd::run(Drop { weights: &mut row[..tile.columns.len()], first, rate, draw });
        }
    }
}

/// Dropout of some weights, of which the first is element `first` of the matrix of all: the same mask as
/// [`dropout`](crate::Tensor::dropout) of that matrix.
struct Drop<'a, T> {
    weights: &'a mut [T],
    first: usize,
    rate: f64,
    draw: Draw,
}

impl<T: Float> simd::Kernel for Drop<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        const EACH: usize = size_of::<Group>() / size_of::<u32>();
        let scale = T::narrow(if self.rate < 1.0 { 1.0 / (1.0 - self.rate) } else { 0.0 });
        let threshold = threshold(self.rate);
        let (mut at, mut weights) = (self.first, self.weights);
        while !weights.is_empty() {
            let words = &words_of(self.draw, at / EACH)[at % EACH..];
            let (now, rest) = weights.split_at_mut(words.len().min(weights.len()));
            for (weight, &word) in now.iter_mut().zip(words) {
                *weight *= if word as u64 >= threshold { scale } else { T::ZERO };
            }
            at += now.len();
            weights = rest;
        }
    }
}

impl<T: crate::layout::Element> Matrices<'_, T> {
    /// Calls `each(column within the tile, element)` for one row of a tile.
    #[inline(always)]
    fn along(&self, tile: &Tile, row: usize, mut each: impl FnMut(usize, &T)) {
        let start = self.start(tile.matrix, row) as isize + tile.columns.start as isize * self.column;
        let count = tile.columns.len();
        if self.column == 1 {
            self.data[start as usize..][..count].iter().enumerate().for_each(|(j, element)| each(j, element));
        } else {
            (0..count).for_each(|j| each(j, &self.data[(start + j as isize * self.column) as usize]));
        }
    }
}

/// The running softmax of the rows of a block of queries.
pub(super) struct Running<T> {
    pub(super) maxima: [T; QUERIES],
    pub(super) sums: [f64; QUERIES],
}

impl<T: Float> Running<T> {
    pub(super) fn new() -> Running<T> {
        Running { maxima: [-T::INFINITY; QUERIES], sums: [0.0; QUERIES] }
    }
}

/// Scores become `exp(score - maximum)`; sums and results so far are brought to the new maximum.
pub(super) struct Weigh<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) columns: usize,
    pub(super) running: &'a mut Running<T>,
    /// Results so far: rows of `width`.
    pub(super) out: &'a mut [T],
    pub(super) width: usize,
    pub(super) rows: usize,
}

impl<T: Float> simd::Kernel for Weigh<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for i in 0..self.rows {
            let row = &mut self.scores[i * KEYS..][..self.columns];
            let (maximum, sum) = (&mut self.running.maxima[i], &mut self.running.sums[i]);
            let greatest = greatest(row);
            let new = if greatest > *maximum { greatest } else { *maximum };
            if new == -T::INFINITY && row.iter().all(|&score| score == new) {
                row.fill(T::ZERO);
                continue;
            }
            for score in row.iter_mut() {
                *score = (*score - new).decay::<FUSED>();
            }
            if new > *maximum {
                let shrink = (*maximum - new).decay::<FUSED>();
                *sum *= shrink.wide();
                for out in &mut self.out[i * self.width..][..self.width] {
                    *out *= shrink;
                }
                *maximum = new;
            }
            *sum += sum_of(row, |weight| weight);
        }
    }
}

/// The greatest number, several at a time.
#[inline(always)]
fn greatest<T: Real>(row: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [-T::INFINITY; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(-T::INFINITY, |a, &x| if x > a { x } else { a })
}

/// Scores become weights again: `exp(score - maximum) · share`.
pub(super) struct Reweigh<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) columns: usize,
    pub(super) maxima: &'a [T],
    pub(super) shares: &'a [T],
}

impl<T: Float> simd::Kernel for Reweigh<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (i, (&maximum, &share)) in self.maxima.iter().zip(self.shares).enumerate() {
            for score in &mut self.scores[i * KEYS..][..self.columns] {
                *score = (*score - maximum).decay::<FUSED>() * share;
            }
        }
    }
}

/// The gradient of a softmax: `slope = weight · (slope - Σ weight · slope)`, the sums given.
///
/// A key that has all the weight, the only one that a query sees, keeps it whatever its score: the sum, which was added in
/// another order, would leave rounding there.
pub(super) struct Slopes<'a, T> {
    pub(super) slopes: &'a mut [T],
    pub(super) weights: &'a [T],
    pub(super) columns: usize,
    pub(super) sums: &'a [T],
}

impl<T: Float> simd::Kernel for Slopes<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let all = T::narrow(1.0);
        for (i, &sum) in self.sums.iter().enumerate() {
            let weights = &self.weights[i * KEYS..][..self.columns];
            for (slope, &weight) in self.slopes[i * KEYS..][..self.columns].iter_mut().zip(weights) {
                *slope = if weight == all { T::ZERO } else { weight * (*slope - sum) };
            }
        }
    }
}
