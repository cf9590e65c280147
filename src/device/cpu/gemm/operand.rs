//! How a product reads its operands: in place, or packed into panels.

use super::Product;
use super::kernel::Real;
use super::pairs::Pairs;
use crate::device::cpu::simd;
use crate::error::Fault;
use crate::layout::Element;
use half::{bf16, f16};
use std::marker::PhantomData;
use std::ops::Range;

/// A matrix as a product reads it: *lines* (the rows of A, the columns of B) along the *shared* size `k`.
///
/// Whoever can pack can be multiplied: a convolution gathers its patches here and never stores them.
pub(crate) trait Operand<T>: Sync {
    /// Writes a panel: `panel[p * width + l]` is line `lines.start + l` at shared position `shared.start + p`.
    /// `panel` has `shared.len() * width` elements; what it holds where `l >= lines.len()` does not matter.
    fn pack(&self, lines: Range<usize>, shared: Range<usize>, width: usize, panel: &mut [T]);
    /// The elements where they lie, if they can be read without packing.
    fn in_place(&self) -> Option<InPlace<'_, T>> {
        None
    }
}

/// Elements that are read where they lie. Only [`Lines`] makes one, whose bounds were checked.
#[derive(Clone, Copy)]
pub(crate) struct InPlace<'a, T> {
    pub(super) start: *const T,
    pub(super) line: isize,
    pub(super) shared: isize,
    borrowed: PhantomData<&'a [T]>,
}

// SAFETY: it stands for a shared slice, which it only reads.
unsafe impl<T: Sync> Sync for InPlace<'_, T> {}

impl<T> InPlace<'_, T> {
    /// Are lines dense, and so far apart that many of them find room in the first-level cache at the same time?
    pub(super) fn lines_keep_apart(&self) -> bool {
        self.shared == 1 && !(self.line.unsigned_abs() * size_of::<T>()).is_multiple_of(4096)
    }
    /// From a later line on.
    pub(super) fn after_line(&self, line: usize) -> Self {
        InPlace { start: self.start.wrapping_offset(line as isize * self.line), ..*self }
    }
}

/// Lines with strides: a matrix, its transpose, any view of it; 16-bit floats are widened while packing.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a, S> {
    pub(super) data: &'a [S],
    offset: usize,
    pub(super) line: isize,
    pub(super) shared: isize,
}

impl<'a, S: Element> Lines<'a, S> {
    /// From the position of the first element, the steps `[line, shared]` and the sizes `[lines, shared]`.
    pub(crate) fn new(
        data: &'a [S],
        offset: usize,
        [line, shared]: [isize; 2],
        [lines, depth]: [usize; 2],
    ) -> Result<Lines<'a, S>, Fault> {
        inside(data.len(), offset, [line, shared], [lines, depth])?;
        Ok(Lines { data, offset, line, shared })
    }
    /// One element.
    #[inline(always)]
    pub(super) fn at(&self, line: usize, shared: usize) -> S {
        self.data[self.position(line, shared)]
    }
    /// The position of an element.
    #[inline(always)]
    pub(super) fn position(&self, line: usize, shared: usize) -> usize {
        (self.offset as isize + line as isize * self.line + shared as isize * self.shared) as usize
    }
}

/// Do lines lie inside of so many elements? (A function of its own: compiled once and not for each element type.)
#[inline(never)]
fn inside(count: usize, offset: usize, [line, shared]: [isize; 2], [lines, depth]: [usize; 2]) -> Result<(), Fault> {
    let reach = |step: isize, size: usize| step.saturating_mul(size.max(1) as isize - 1);
    let (across, along) = (reach(line, lines), reach(shared, depth));
    let first = (offset as isize).saturating_add(across.min(0)).saturating_add(along.min(0));
    let last = (offset as isize).saturating_add(across.max(0)).saturating_add(along.max(0));
    if lines > 0 && depth > 0 && (first < 0 || last as usize >= count) {
        return Err(Fault::defect(format!("an operand reaches {first}..={last} of {count} elements")));
    }
    Ok(())
}

/// An element type that products read as `T`.
pub(crate) trait Widen<T>: Element {
    /// The same number as `T`.
    fn widen(self) -> T;
    /// Elements that need no widening.
    fn same(_: &[Self]) -> Option<&[T]> {
        None
    }
    /// The product of an `m × k` and a `k × n` operand, as `run` completes it.
    fn multiply(
        sizes: [usize; 3],
        left: Lines<'_, Self>,
        right: Lines<'_, Self>,
        run: &mut dyn FnMut(Product<'_, T>) -> Result<(), Fault>,
    ) -> Result<(), Fault>
    where
        T: Real,
    {
        run(Product::new(sizes, &left, &right))
    }
}

impl<T: Real> Widen<T> for T {
    #[inline(always)]
    fn widen(self) -> T {
        self
    }
    fn same(data: &[T]) -> Option<&[T]> {
        Some(data)
    }
}

impl Widen<f32> for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn multiply(
        sizes: [usize; 3],
        left: Lines<'_, bf16>,
        right: Lines<'_, bf16>,
        run: &mut dyn FnMut(Product<'_, f32>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match (Pairs::of(left, sizes[2]), Pairs::of(right, sizes[2])) {
            (Some(left), Some(right)) => run(Pairs::product(sizes, &left, &right)),
            _ => run(Product::new(sizes, &left, &right)),
        }
    }
}

impl Widen<f32> for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// Shared positions that are asked for before they are copied.
const AHEAD: isize = 8;

/// Copies to the beginning of `to`, in blocks that the compiler knows.
#[inline(always)]
fn copy_short<T: Copy>(from: &[T], to: &mut [T]) {
    let (blocks, rest) = from.as_chunks::<16>();
    let (to_blocks, to_rest) = to[..from.len()].as_chunks_mut::<16>();
    for (to, from) in to_blocks.iter_mut().zip(blocks) {
        *to = *from;
    }
    to_rest.copy_from_slice(rest);
}

/// Elements that a short copy moves: no fewer than the lines of a tile of A at AVX2, and at AVX-512, where a narrow panel of B has as
/// many as a cache line.
const SHORT: usize = 8;
const LONG: usize = 16;

impl<S: Element> Lines<'_, S> {
    /// Packs lines that lie side by side, `N` elements at a time, if there are no more: what is too much is written over by the
    /// next position. The answer is how many positions are done; at the last ones it would read or write too far.
    #[inline(always)]
    fn pack_across<T: Element, const N: usize>(
        &self,
        data: &[T],
        [first, count]: [usize; 2],
        width: usize,
        panel: &mut [T],
    ) -> usize {
        let reach = |elements: usize, step: usize| elements.checked_sub(N).map_or(0, |left| 1 + left / step.max(1));
        let there = reach(data.len() - first, self.shared.max(0) as usize);
        let count = if self.shared > 0 { count.min(there).min(reach(panel.len(), width)) } else { 0 };
        let (mut from, mut to) = (data[first..].as_ptr(), panel.as_mut_ptr());
        for _ in 0..count {
            simd::prefetch(from.wrapping_offset(AHEAD * self.shared));
            // SAFETY: what would reach beyond the data or the panel is not counted.
            unsafe { to.cast::<[T; N]>().write_unaligned(from.cast::<[T; N]>().read_unaligned()) };
            from = from.wrapping_offset(self.shared);
            to = to.wrapping_add(width);
        }
        count
    }
}

impl<T: Real, S: Widen<T>> Operand<T> for Lines<'_, S> {
    fn pack(&self, lines: Range<usize>, shared: Range<usize>, width: usize, mut panel: &mut [T]) {
        if lines.is_empty() || shared.is_empty() {
            return;
        }
        let count = lines.len();
        // Lines that lie side by side: every shared position is a short copy. The next ones are asked for meanwhile.
        if self.line == 1 {
            let mut shared = shared;
            if let Some(data) = S::same(self.data) {
                let first = [self.position(lines.start, shared.start), shared.len()];
                let done = if count <= SHORT {
                    self.pack_across::<T, SHORT>(data, first, width, panel)
                } else if count <= LONG {
                    self.pack_across::<T, LONG>(data, first, width, panel)
                } else {
                    0
                };
                shared.start += done;
                panel = &mut panel[done * width..];
            }
            for (position, row) in shared.zip(panel.chunks_exact_mut(width)) {
                let from = self.position(lines.start, position);
                let soon = self.data.as_ptr().wrapping_add(from).wrapping_offset(AHEAD * self.shared);
                for line in (0..count).step_by(64 / size_of::<S>()) {
                    simd::prefetch(soon.wrapping_add(line));
                }
                let from = &self.data[from..from + count];
                match S::same(from) {
                    Some(from) => copy_short(from, row),
                    None => row.iter_mut().zip(from).for_each(|(to, value)| *to = value.widen()),
                }
            }
            return;
        }
        // Lines that are dense along the shared size: a transposition, in blocks that registers hold.
        if self.shared == 1
            && let Some(data) = S::same(self.data)
        {
            let first = self.position(lines.start, shared.start);
            return T::transpose(data, first, self.line, count, panel, width);
        }
        for (l, line) in lines.enumerate() {
            for (position, row) in shared.clone().zip(panel.chunks_exact_mut(width)) {
                row[l] = self.data[self.position(line, position)].widen();
            }
        }
    }
    fn in_place(&self) -> Option<InPlace<'_, T>> {
        let start = S::same(self.data)?.as_ptr().wrapping_add(self.offset);
        Some(InPlace { start, line: self.line, shared: self.shared, borrowed: PhantomData })
    }
}
