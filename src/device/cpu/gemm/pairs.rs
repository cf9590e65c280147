//! Products of bf16 numbers two at a time: AVX512-BF16 multiplies 16 pairs with 16 pairs and adds both products of each to a sum of
//! f32, so that a product takes half as many multiplications.
//!
//! Two neighbours along the shared size have the place of one f32, which nobody looks into: so packing, loops and threads are
//! those of f32, with half as many shared positions. Only the tile knows (`x86.rs`). The instruction takes numbers below 2^-126 for
//! zero, and so it does sums.

use super::operand::Lines;
use super::{Operand, Product};
use half::bf16;
use std::ops::Range;

/// Lines of bf16 as pairs; where the shared size is odd, a zero comes last.
pub(crate) struct Pairs<'a> {
    lines: Lines<'a, bf16>,
    /// Shared positions of single numbers.
    shared: usize,
}

impl<'a> Pairs<'a> {
    /// From lines along so many shared positions; `None` on a processor without these instructions, or at a level below them.
    pub(crate) fn of(lines: Lines<'a, bf16>, shared: usize) -> Option<Pairs<'a>> {
        is_available().then_some(Pairs { lines, shared })
    }
    /// `left · right`: `m × n` sums over `k`.
    pub(crate) fn product<'p>([m, n, k]: [usize; 3], left: &'p Pairs<'_>, right: &'p Pairs<'_>) -> Product<'p, f32> {
        Product { pairs: true, ..Product::new([m, n, k.div_ceil(2)], left, right) }
    }
    /// The pair at a position; its second number may lie beyond the end.
    fn at(&self, line: usize, pair: usize) -> f32 {
        let second = if 2 * pair + 1 < self.shared { self.lines.at(line, 2 * pair + 1) } else { bf16::ZERO };
        together(self.lines.at(line, 2 * pair), second)
    }
}

/// Are there such instructions, and is the level in use theirs?
fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::device::cpu::simd::{SimdLevel, level};
        level() >= SimdLevel::Avx512 && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Two numbers in the place of one: the first one in the lower half.
#[inline(always)]
fn together(first: bf16, second: bf16) -> f32 {
    f32::from_bits(first.to_bits() as u32 | (second.to_bits() as u32) << 16)
}

impl Operand<f32> for Pairs<'_> {
    fn pack(&self, lines: Range<usize>, shared: Range<usize>, width: usize, panel: &mut [f32]) {
        // The pairs that are whole; an odd one comes by itself.
        let whole = shared.start..shared.end.min(self.shared / 2).max(shared.start);
        let panel = &mut panel[..shared.len() * width];
        let (to, odd) = panel.split_at_mut(whole.len() * width);
        if let Some(side_by_side) = self.lines.across(lines.clone(), 2 * whole.start..2 * whole.end) {
            // Lines that lie side by side: two rows of them become one.
            for (row, [first, second]) in to.chunks_exact_mut(width).zip(side_by_side) {
                for ((to, &first), &second) in row.iter_mut().zip(first).zip(second) {
                    *to = together(first, second);
                }
            }
        } else if !self.lines.turn_pairs(lines.clone(), whole.clone(), width, to) {
            for (row, pair) in to.chunks_exact_mut(width).zip(whole.clone()) {
                for (to, line) in row.iter_mut().zip(lines.clone()) {
                    *to = self.at(line, pair);
                }
            }
        }
        for (row, pair) in odd.chunks_exact_mut(width).zip(whole.end..shared.end) {
            for (to, line) in row.iter_mut().zip(lines.clone()) {
                *to = self.at(line, pair);
            }
        }
    }
}

impl<'a> Lines<'a, bf16> {
    /// Rows of lines that lie side by side, two shared positions at a time.
    fn across(&self, lines: Range<usize>, shared: Range<usize>) -> Option<impl Iterator<Item = [&'a [bf16]; 2]>> {
        let (this, count) = (*self, lines.len());
        let row = move |position: usize| {
            let from = this.position(lines.start, position);
            &this.data[from..from + count]
        };
        (self.line == 1).then(|| shared.step_by(2).map(move |position| [row(position), row(position + 1)]))
    }
    /// Writes pairs of lines that are dense along the shared size, if each pair is where an f32 might be.
    fn turn_pairs(&self, lines: Range<usize>, pairs: Range<usize>, width: usize, panel: &mut [f32]) -> bool {
        if lines.is_empty() || pairs.is_empty() {
            return true;
        }
        let first = self.position(lines.start, 2 * pairs.start);
        if self.shared != 1 || !first.is_multiple_of(2) || self.line % 2 != 0 {
            return false;
        }
        // SAFETY: any bits are an f32.
        let (before, data, _) = unsafe { self.data.align_to::<f32>() };
        if before.is_empty() {
            <f32 as super::Real>::transpose(data, first / 2, self.line / 2, lines.len(), panel, width);
        }
        before.is_empty()
    }
}
