//! The loops of a reduction: which axes are kept, which are folded, and how memory lies under them.

use crate::layout::{Layout, MAX_RANK};
use smallvec::SmallVec;

/// Nested loops over memory, the fastest last. Loops of one step are dropped and neighbours that run on are joined, so
/// a dense tensor is one loop whatever its rank.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Loops {
    rank: usize,
    sizes: [usize; MAX_RANK],
    strides: [isize; MAX_RANK],
}

impl Loops {
    /// No loop: one element.
    pub(in crate::device::cpu) const fn none() -> Loops {
        Loops { rank: 0, sizes: [1; MAX_RANK], strides: [0; MAX_RANK] }
    }
    /// Adds a loop inside the others.
    pub(in crate::device::cpu) fn push(&mut self, size: usize, stride: isize) {
        if size == 1 {
            return;
        }
        if let Some(last) = self.rank.checked_sub(1)
            && self.strides[last] == stride * size as isize
        {
            self.sizes[last] *= size;
            self.strides[last] = stride;
            return;
        }
        self.sizes[self.rank] = size;
        self.strides[self.rank] = stride;
        self.rank += 1;
    }
    /// Steps in all.
    pub(in crate::device::cpu) fn count(&self) -> usize {
        self.sizes[..self.rank].iter().product()
    }
    /// Size and stride of the fastest loop; of a single element `(1, 1)`.
    pub(in crate::device::cpu) fn inner(&self) -> (usize, isize) {
        match self.rank.checked_sub(1) {
            Some(last) => (self.sizes[last], self.strides[last]),
            None => (1, 1),
        }
    }
    /// Where step `index` lies.
    #[inline]
    pub(in crate::device::cpu) fn offset(&self, mut index: usize) -> isize {
        let mut offset = 0;
        for axis in (1..self.rank).rev() {
            let size = self.sizes[axis].max(1); // of no steps at all there is no first one to find
            offset += (index % size) as isize * self.strides[axis];
            index /= size;
        }
        if self.rank > 0 { offset + index as isize * self.strides[0] } else { 0 }
    }
    /// The offsets from step `start` on, without end: the caller counts.
    #[inline(never)]
    pub(in crate::device::cpu) fn walk(&self, start: usize) -> Walk<'_> {
        let mut at = [0; MAX_RANK];
        let mut rest = start;
        for axis in (1..self.rank).rev() {
            let size = self.sizes[axis].max(1);
            at[axis] = rest % size;
            rest /= size;
        }
        at[0] = rest;
        Walk { loops: self, at, offset: self.offset(start) }
    }
}

/// An odometer over [`Loops`].
#[derive(Clone)]
pub(in crate::device::cpu) struct Walk<'a> {
    loops: &'a Loops,
    at: [usize; MAX_RANK],
    offset: isize,
}

impl Walk<'_> {
    /// The offset here; then one step on.
    #[inline(always)]
    pub(in crate::device::cpu) fn step(&mut self) -> isize {
        let here = self.offset;
        let loops = self.loops;
        for axis in (0..loops.rank).rev() {
            self.at[axis] += 1;
            self.offset += loops.strides[axis];
            if axis == 0 || self.at[axis] < loops.sizes[axis] {
                break;
            }
            self.offset -= loops.strides[axis] * loops.sizes[axis] as isize;
            self.at[axis] = 0;
        }
        here
    }
}

/// How memory lies under a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// What is folded lies side by side: block after block becomes one number.
    Rows,
    /// What is kept lies side by side: whole rows are folded into a row of results.
    Columns,
    /// Neither: small tiles are gathered, then folded as columns.
    Gathered,
}

/// A reduction's loops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) start: isize,
    pub(super) kept: Loops,
    pub(super) folded: Loops,
    pub(super) way: Way,
    ordered: bool,
}

/// Below so many neighbours a slice does not pay.
const SHORT: usize = 16;
/// Fewer columns than this are folded several rows at a time ...
const NARROW: usize = 128;
/// ... which together have about so many.
const NARROW_TO: usize = 512;

impl Plan {
    /// Folds `axes` (ascending) of `layout`. Where the order of the folded elements does not matter (`ordered` is
    /// false) memory is walked in its own order: a transposed tensor is summed as fast as a plain one.
    pub(super) fn new(layout: &Layout, axes: &[usize], ordered: bool) -> Plan {
        let (mut kept, mut folded) = (Loops::none(), Loops::none());
        let mut inner = SmallVec::<[(usize, isize); MAX_RANK]>::new();
        for (axis, (&size, &stride)) in layout.dims().iter().zip(layout.strides()).enumerate() {
            if axes.contains(&axis) {
                let before = |&(_, other): &(usize, isize)| ordered || other.unsigned_abs() >= stride.unsigned_abs();
                inner.insert(inner.iter().take_while(|&axis| before(axis)).count(), (size, stride));
            } else {
                kept.push(size, stride);
            }
        }
        for (size, stride) in inner {
            folded.push(size, stride);
        }
        let way = match (kept.inner(), folded.inner()) {
            (_, (length, 1)) if length >= SHORT || kept.count() == 1 => Way::Rows,
            ((width, 1), _) if width >= SHORT || kept.count() == 1 => Way::Columns,
            _ => Way::Gathered,
        };
        Plan { start: layout.offset() as isize, kept, folded, way, ordered }
    }
    /// A few columns of many rows, seen as many columns: several rows side by side are folded as one wide row, whose
    /// results are put together after. Gives how many, the plan of the wide rows, and that of the rows left over.
    pub(super) fn widened(&self) -> Option<(usize, Plan, Plan)> {
        let ((width, 1), (rows, stride)) = (self.kept.inner(), self.folded.inner()) else { return None };
        let dense = self.kept.rank == 1 && self.folded.rank == 1 && stride == width as isize;
        let times = NARROW_TO / width.max(1);
        if self.ordered || !dense || width >= NARROW || rows < 4 * times {
            return None;
        }
        let along = |size: usize, stride: usize| {
            let mut loops = Loops::none();
            loops.push(size, stride as isize);
            loops
        };
        let whole = rows / times;
        let wide = Plan { kept: along(width * times, 1), folded: along(whole, width * times), ..*self };
        let start = self.start + (whole * times * width) as isize;
        let last = Plan { start, folded: along(rows - whole * times, width), ..*self };
        Some((times, Plan { way: Way::Columns, ..wide }, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;

    fn layout(sizes: &[usize], strides: &[isize]) -> Layout {
        Layout::from_parts(Shape::new(sizes).unwrap(), strides, 0)
    }

    /// The loops over all axes.
    fn over(layout: &Layout) -> Loops {
        let mut loops = Loops::none();
        for (&size, &stride) in layout.dims().iter().zip(layout.strides()) {
            loops.push(size, stride);
        }
        loops
    }

    #[test]
    fn dense_axes_join_and_walks_agree_with_offsets() {
        let loops = over(&layout(&[2, 3, 4], &[12, 4, 1]));
        assert_eq!((loops.rank, loops.inner()), (1, (24, 1)));
        let loops = over(&layout(&[4, 3, 2], &[1, 4, -12]));
        let mut walk = loops.walk(5);
        for index in 5..24 {
            assert_eq!(walk.step(), loops.offset(index), "{index}");
        }
    }

    #[test]
    fn the_way_follows_memory() {
        let plan = |strides: &[isize], axes: &[usize]| Plan::new(&layout(&[64, 32], strides), axes, false).way;
        assert_eq!(plan(&[32, 1], &[1]), Way::Rows);
        assert_eq!(plan(&[32, 1], &[0]), Way::Columns);
        assert_eq!(plan(&[1, 64], &[1]), Way::Columns);
        assert_eq!(plan(&[1, 64], &[0, 1]), Way::Rows);
        assert_eq!(plan(&[64, 2], &[1]), Way::Gathered);
    }
}
