//! The way through two layouts at once: their common axes, merged and ordered so that memory is met in order.

use super::parallel;
use crate::layout::MAX_RANK;
use smallvec::SmallVec;

/// About how many elements one part of the work touches.
const PART: usize = 32 * 1024;

/// Two layouts of the same sizes, walked together: a place to write (`to`) and a place to read (`from`).
///
/// Axes of size 1 are gone, steps of `to` are not negative and descend, and neighbours that lie in memory like one
/// axis are one. So a dense copy of any rank has rank 1.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    axes: SmallVec<[Stretch; MAX_RANK]>,
    to: isize,
    from: isize,
}

/// One axis of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) size: usize,
    pub(crate) to: isize,
    pub(crate) from: isize,
}

impl Route {
    /// The route through `sizes` with steps and first positions on both sides; `None` where there is nothing to do.
    pub(crate) fn new(sizes: &[usize], to: (&[isize], usize), from: (&[isize], usize)) -> Option<Route> {
        let mut route = Route { axes: SmallVec::new(), to: to.1 as isize, from: from.1 as isize };
        for (axis, &size) in sizes.iter().enumerate() {
            let mut stretch = Stretch { size, to: to.0[axis], from: from.0[axis] };
            match size {
                0 => return None,
                1 => continue,
                _ => {}
            }
            if stretch.to < 0 {
                let end = size as isize - 1;
                route.to += end * stretch.to;
                route.from += end * stretch.from;
                (stretch.to, stretch.from) = (-stretch.to, -stretch.from);
            }
            let place = route.axes.iter().position(|other| other.to < stretch.to).unwrap_or(route.axes.len());
            route.axes.insert(place, stretch);
        }
        route.merge();
        if route.axes.is_empty() {
            route.axes.push(Stretch { size: 1, to: 1, from: 1 });
        }
        Some(route)
    }

    fn merge(&mut self) {
        let mut kept = 0;
        for axis in 1..self.axes.len() {
            let (outer, inner) = (self.axes[kept], self.axes[axis]);
            let size = inner.size as isize;
            if outer.to == inner.to * size && outer.from == inner.from * size {
                self.axes[kept] = Stretch { size: outer.size * inner.size, ..inner };
            } else {
                kept += 1;
                self.axes[kept] = inner;
            }
        }
        self.axes.truncate(kept + 1);
    }

    /// The axes, the widest step of `to` first.
    pub(crate) fn axes(&self) -> &[Stretch] {
        &self.axes
    }

    /// What is written, in elements of this size.
    pub(crate) fn bytes<E>(&self) -> usize {
        self.axes.iter().map(|stretch| stretch.size).product::<usize>() * size_of::<E>()
    }

    /// The innermost axis.
    pub(crate) fn inner(&self) -> Stretch {
        self.axes[self.axes.len() - 1]
    }

    /// Does every element that is written have a place of its own, inside `length` elements?
    pub(crate) fn writes_apart(&self, length: usize) -> bool {
        let mut reach = 0;
        for stretch in self.axes.iter().rev() {
            if stretch.to <= reach {
                return false;
            }
            reach += stretch.to * (stretch.size as isize - 1);
        }
        self.to >= 0 && self.to + reach < length as isize
    }

    /// Calls `row(to, from, size)` for each stretch of the innermost axis (long ones in pieces), on all cores.
    pub(crate) fn rows(&self, row: impl Fn(isize, isize, usize) + Sync) {
        let inner = self.inner();
        let outer = &self.axes[..self.axes.len() - 1];
        let rows: usize = outer.iter().map(|stretch| stretch.size).product();
        if inner.size > PART {
            let pieces = inner.size.div_ceil(PART);
            parallel::parts(rows * pieces, PART, |part| {
                let start = part % pieces * PART;
                let (to, from) = self.at(outer, part / pieces);
                let skip = start as isize;
                row(to + skip * inner.to, from + skip * inner.from, PART.min(inner.size - start));
            });
        } else {
            let together = (PART / inner.size).max(1);
            parallel::parts(rows.div_ceil(together), together.min(rows) * inner.size, |part| {
                let first = part * together;
                self.each(outer, first, together.min(rows - first), |to, from| row(to, from, inner.size));
            });
        }
    }

    /// Calls `block(to, from, rows, columns)` for the planes of axis `across` and the innermost axis, cut into blocks:
    /// what a transposing copy works on. A block touches few pages of memory on either side.
    pub(crate) fn blocks(&self, across: usize, block: impl Fn(isize, isize, usize, usize) + Sync) {
        let mut outer = self.axes.clone();
        let Some(inner) = outer.pop() else { return };
        let wide = outer.remove(across);
        // Longer where the other side is short.
        let beside = |size: usize| (HIGH * WIDE / size).next_multiple_of(TILE);
        let rows = wide.size.min(beside(inner.size.min(WIDE)));
        let columns = inner.size.min(beside(rows));
        let (down, right) = (wide.size.div_ceil(rows), inner.size.div_ceil(columns));
        let planes: usize = outer.iter().map(|stretch| stretch.size).product();
        parallel::parts(planes * down * right, rows * columns, |part| {
            let (to, from) = self.at(&outer, part / (down * right));
            // Along what is read first: its lines lie side by side, and are asked for before they are needed.
            let (i, j) = (part % down * rows, part / down % right * columns);
            let (y, x) = (i as isize, j as isize);
            let (to, from) = (to + y * wide.to + x * inner.to, from + y * wide.from + x * inner.from);
            block(to, from, rows.min(wide.size - i), columns.min(inner.size - j));
        });
    }

    /// The positions of row `row`, counted over the outer axes.
    fn at(&self, outer: &[Stretch], mut row: usize) -> (isize, isize) {
        let (mut to, mut from) = (self.to, self.from);
        for stretch in outer.iter().rev() {
            let index = (row % stretch.size) as isize;
            row /= stretch.size;
            to += index * stretch.to;
            from += index * stretch.from;
        }
        (to, from)
    }

    /// Calls `work(to, from)` for `count` rows from row `first`, counting up rather than dividing for each.
    #[inline]
    fn each(&self, outer: &[Stretch], first: usize, count: usize, mut work: impl FnMut(isize, isize)) {
        let (mut to, mut from) = self.at(outer, first);
        let mut index = [0; MAX_RANK];
        let mut rest = first;
        for (axis, stretch) in outer.iter().enumerate().rev() {
            index[axis] = rest % stretch.size;
            rest /= stretch.size;
        }
        for _ in 0..count {
            work(to, from);
            for (axis, stretch) in outer.iter().enumerate().rev() {
                index[axis] += 1;
                to += stretch.to;
                from += stretch.from;
                if index[axis] < stretch.size {
                    break;
                }
                index[axis] = 0;
                to -= stretch.to * stretch.size as isize;
                from -= stretch.from * stretch.size as isize;
            }
        }
    }
}

/// Rows and columns that are turned around at once; blocks are multiples of it.
pub(crate) const TILE: usize = 16;
/// Rows (of what is written) and columns of a block: it crosses some hundred pages, which a processor has at hand, and
/// sixteen rows at a time are read far enough that each is fetched ahead.
const HIGH: usize = 256;
const WIDE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(sizes: &[usize], to: &[isize], from: &[isize]) -> Vec<(usize, isize, isize)> {
        let route = Route::new(sizes, (to, 0), (from, 0)).unwrap();
        route.axes().iter().map(|s| (s.size, s.to, s.from)).collect()
    }

    #[test]
    fn axes_merge_where_memory_allows() {
        assert_eq!(axes(&[2, 3, 4], &[12, 4, 1], &[12, 4, 1]), [(24, 1, 1)]);
        assert_eq!(axes(&[2, 3, 4], &[12, 4, 1], &[24, 4, 1]), [(2, 12, 24), (12, 1, 1)]);
        assert_eq!(axes(&[2, 3, 4], &[12, 4, 1], &[4, 8, 1]), [(2, 12, 4), (3, 4, 8), (4, 1, 1)]);
        assert_eq!(axes(&[4, 5], &[5, 1], &[0, 0]), [(20, 1, 0)]);
        assert_eq!(axes(&[1, 1], &[1, 1], &[7, 9]), [(1, 1, 1)]);
        assert!(Route::new(&[3, 0], (&[0, 1], 0), (&[0, 1], 0)).is_none());
    }

    #[test]
    fn overlapping_writes_are_seen() {
        let apart = |sizes: &[usize], to: &[isize], length| {
            Route::new(sizes, (to, 0), (&[0; 4], 0)).unwrap().writes_apart(length)
        };
        assert!(apart(&[3, 4], &[4, 1], 12));
        assert!(!apart(&[3, 4], &[4, 1], 11));
        assert!(!apart(&[3, 4], &[3, 1], 99));
        assert!(!apart(&[3, 4], &[0, 1], 99));
        assert!(apart(&[3, 2], &[5, 20], 99));
    }

    #[test]
    fn every_row_is_met_once() {
        use std::sync::Mutex;
        let route = Route::new(&[3, 2, 5], (&[100, 40, 1], 7), (&[1, 60, 9], 2)).unwrap();
        let met = Mutex::new(Vec::new());
        route.rows(|to, from, size| {
            for step in 0..size as isize {
                met.lock().unwrap().push((to + step, from + step * 9));
            }
        });
        let mut met = met.into_inner().unwrap();
        met.sort();
        let mut wanted = Vec::new();
        for a in 0..3 {
            for b in 0..2 {
                for c in 0..5 {
                    wanted.push((7 + a * 100 + b * 40 + c, 2 + a + b * 60 + c * 9));
                }
            }
        }
        wanted.sort();
        assert_eq!(met, wanted);
    }
}
