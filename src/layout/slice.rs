//! Parts of a tensor as a caller writes them: `(.., 1..3, -1)`.

use super::shape::{MAX_RANK, Shape};
use super::view::Layout;
use crate::error::Fault;
use crate::layout::Integer;
use smallvec::SmallVec;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// What is taken of one axis. Integers and ranges become one by themselves; negative numbers count from the end.
///
/// ```
/// use chainrule::{Index, Tensor, step};
/// let x = Tensor::arange(12).reshape([3, 4]);
/// assert_eq!(x.slice((1, ..)).to_vec::<i64>()?, [4, 5, 6, 7]);
/// assert_eq!(x.slice((.., -1)).to_vec::<i64>()?, [3, 7, 11]);
/// assert_eq!(x.slice((0, step(.., -2))).to_vec::<i64>()?, [3, 1]);
/// assert_eq!(x.slice((Index::Rest, Index::NewAxis, 0..2)).dims()?, [3, 1, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// One position; the axis goes away.
    At(isize),
    /// Positions from `start` (or the beginning) to `end` (or the end), `step` apart. As in NumPy, what lies beyond the
    /// ends is cut off, and a negative step walks backward.
    Range {
        /// The first position.
        start: Option<isize>,
        /// Where it ends.
        end: Option<isize>,
        /// Does `end` itself belong to it?
        inclusive: bool,
        /// From one position to the next.
        step: isize,
    },
    /// All axes that no other index speaks of.
    Rest,
    /// A new axis of size 1.
    NewAxis,
}

impl Index {
    /// The whole axis.
    pub const ALL: Index = Index::Range { start: None, end: None, inclusive: false, step: 1 };
}

/// A range with a step: `step(.., 2)` is every other position, `step(.., -1)` all of them backward.
///
/// ```
/// use chainrule::{Tensor, step};
/// let x = Tensor::arange(6);
/// assert_eq!(x.slice(step(1.., 2)).to_vec::<i64>()?, [1, 3, 5]);
/// assert_eq!(x.slice(step(4..=2, -1)).to_vec::<i64>()?, [4, 3, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn step(range: impl IndexRange, step: isize) -> Index {
    range.with_step(step)
}

/// The range types of Rust, over any integer type.
pub trait IndexRange {
    /// The range as an index, with a step.
    fn with_step(self, step: isize) -> Index;
}

macro_rules! ranges {
    ($($range:ty, $r:ident: $start:expr, $end:expr, $inclusive:expr;)*) => { $(
        impl<I: Integer> IndexRange for $range {
            fn with_step(self, step: isize) -> Index {
                let $r = self;
                Index::Range { start: $start, end: $end, inclusive: $inclusive, step }
            }
        }
        impl<I: Integer> From<$range> for Index {
            fn from(range: $range) -> Index { range.with_step(1) }
        }
        impl<I: Integer> Indices for $range {
            fn indices(self) -> IndexList { IndexList::from_iter([self.into()]) }
        }
    )* };
}
ranges! {
    Range<I>, r: Some(r.start.number()), Some(r.end.number()), false;
    RangeInclusive<I>, r: Some(r.start().number()), Some(r.end().number()), true;
    RangeFrom<I>, r: Some(r.start.number()), None, false;
    RangeTo<I>, r: None, Some(r.end.number()), false;
    RangeToInclusive<I>, r: None, Some(r.end.number()), true;
}
impl IndexRange for RangeFull {
    fn with_step(self, step: isize) -> Index {
        Index::Range { start: None, end: None, inclusive: false, step }
    }
}
impl From<RangeFull> for Index {
    fn from(_: RangeFull) -> Index {
        Index::ALL
    }
}
impl Indices for RangeFull {
    fn indices(self) -> IndexList {
        IndexList::from_iter([Index::ALL])
    }
}
impl Indices for Index {
    fn indices(self) -> IndexList {
        IndexList::from_iter([self])
    }
}

/// One index for each axis, from the first: a tuple, or a single one, or a slice of [`Index`].
pub trait Indices {
    /// The indices as written.
    fn indices(self) -> IndexList;
}

/// Indices as a caller wrote them: what an operation stores.
pub type IndexList = SmallVec<[Index; 4]>;

macro_rules! from_integers {
    ($($t:ty)*) => { $(
        impl From<$t> for Index {
            fn from(position: $t) -> Index { Index::At(position.number()) }
        }
        impl Indices for $t {
            fn indices(self) -> IndexList { IndexList::from_iter([self.into()]) }
        }
    )* };
}
from_integers! { i32 isize usize i64 u32 }

impl Indices for &[Index] {
    fn indices(self) -> IndexList {
        self.into()
    }
}
impl<const N: usize> Indices for [Index; N] {
    fn indices(self) -> IndexList {
        self[..].into()
    }
}
impl Indices for Vec<Index> {
    fn indices(self) -> IndexList {
        self.into()
    }
}
impl Indices for IndexList {
    fn indices(self) -> IndexList {
        self
    }
}
macro_rules! tuples {
    ($($first:ident $($rest:ident)*;)*) => { $(
        impl<$first: Into<Index>, $($rest: Into<Index>),*> Indices for ($first, $($rest,)*) {
            #[allow(non_snake_case)]
            fn indices(self) -> IndexList {
                let ($first, $($rest,)*) = self;
                let mut list = IndexList::new();
                list.push($first.into());
                $( list.push($rest.into()); )*
                list
            }
        }
    )* };
}
tuples! {
    A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H;
}

impl Layout {
    /// The part that the indices speak of.
    pub fn sliced(&self, indices: &[Index]) -> Result<Layout, Fault> {
        let mut sizes: SmallVec<[usize; MAX_RANK]> = SmallVec::new();
        let mut strides: SmallVec<[isize; MAX_RANK]> = SmallVec::new();
        let mut offset = self.offset() as isize;
        let mut axis = 0;
        for index in self.spelled_out(indices)? {
            if index == Index::NewAxis {
                sizes.push(1);
                strides.push(0);
                continue;
            }
            let (size, stride) = (self.dims()[axis], self.strides()[axis]);
            match index {
                Index::At(position) => offset += stride * resolve_position(position, axis, size)? as isize,
                Index::Range { start, end, inclusive, step } => {
                    let (first, length) = resolve_range(start, end, inclusive, step, size)?;
                    if length > 0 {
                        offset += first * stride;
                    }
                    sizes.push(length);
                    strides.push(if length > 1 { stride * step } else { stride });
                }
                Index::Rest | Index::NewAxis => {}
            }
            axis += 1;
        }
        let shape = Shape::new(&sizes)?;
        Ok(Layout::from_parts(shape, &strides, offset as usize))
    }

    /// One index for every axis, and the new ones: whole axes where nothing was said.
    fn spelled_out(&self, indices: &[Index]) -> Result<IndexList, Fault> {
        let spoken = indices.iter().filter(|index| !matches!(index, Index::Rest | Index::NewAxis)).count();
        let whole = self.rank().checked_sub(spoken).ok_or_else(|| {
            Fault::shape(
                format!("{spoken} indices for a tensor of rank {}", self.rank()),
                "give at most one index for each axis",
            )
        })?;
        let rest = indices.iter().position(|index| *index == Index::Rest).unwrap_or(indices.len());
        let mut all: IndexList = indices[..rest].into();
        all.extend(std::iter::repeat_n(Index::ALL, whole));
        all.extend_from_slice(indices.get(rest + 1..).unwrap_or(&[]));
        if all.contains(&Index::Rest) {
            return Err(Fault::shape(
                "more than one Index::Rest",
                "one stands for all axes that no other index speaks of; a second would be ambiguous",
            ));
        }
        Ok(all)
    }
}

/// A position counted from the front, or the fault that it lies outside.
fn resolve_position(position: isize, axis: usize, size: usize) -> Result<usize, Fault> {
    let end = size as isize;
    if position < -end || position >= end {
        return Err(Fault::index(
            format!("index {position} is out of range for axis {axis} of size {size}"),
            if size == 0 {
                "the axis is empty".to_string()
            } else {
                format!("{} ..= {} are inside; negative ones count from the end", -end, end - 1)
            },
        ));
    }
    Ok(if position < 0 { position + end } else { position } as usize)
}

/// The first position and the number of positions, as in NumPy.
fn resolve_range(
    start: Option<isize>,
    end: Option<isize>,
    inclusive: bool,
    step: isize,
    size: usize,
) -> Result<(isize, usize), Fault> {
    if step == 0 {
        return Err(Fault::value("a step of 0", "a step is 1 or more, or negative to walk backward"));
    }
    let size = size as isize;
    // Where a walk may begin and end: before the first position when it goes backward.
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let from_front = |position: isize| if position < 0 { position.saturating_add(size) } else { position };
    let first = start.map_or(if step > 0 { low } else { high }, |start| from_front(start).clamp(low, high));
    let beyond = if inclusive { step.signum() } else { 0 };
    let end =
        end.map_or(if step > 0 { high } else { low }, |end| from_front(end).saturating_add(beyond).clamp(low, high));
    let span = if step > 0 { end - first } else { first - end };
    let length = if span > 0 { (span as usize - 1) / step.unsigned_abs() + 1 } else { 0 };
    Ok((first, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(sizes: &[usize]) -> Layout {
        Layout::contiguous(Shape::new(sizes).unwrap())
    }
    /// The positions that an index takes of an axis of six.
    fn taken(index: impl Into<Index>) -> Vec<isize> {
        let part = layout(&[6]).sliced(&[index.into()]).unwrap();
        (0..part.count() as isize).map(|i| part.offset() as isize + i * part.strides()[0]).collect()
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)] // positions from the end are negative
    fn ranges_are_numpy_s() {
        assert_eq!(taken(1..3), [1, 2]);
        assert_eq!(taken(-2..), [4, 5]);
        assert_eq!(taken(..-4), [0, 1]);
        assert_eq!(taken(2..=-2), [2, 3, 4]);
        assert_eq!(taken(..=-1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(taken(4..100usize), [4, 5]);
        assert_eq!(taken(-100..2), [0, 1]);
        assert_eq!(taken(4..2), [0isize; 0]);
        assert_eq!(taken(9..), [0isize; 0]);
        assert_eq!(taken(step(.., 4)), [0, 4]);
        assert_eq!(taken(step(.., -1)), [5, 4, 3, 2, 1, 0]);
        assert_eq!(taken(step(4..1, -2)), [4, 2]);
        assert_eq!(taken(step(4..=0, -2)), [4, 2, 0]);
        assert_eq!(taken(step(..3, -1)), [5, 4]);
        assert_eq!(taken(step(-2.., -3)), [4, 1]);
        assert_eq!(taken(step(.., isize::MAX)), [0]);
        assert_eq!(taken(step(.., isize::MIN)), [5]);
        assert_eq!(taken(step(isize::MIN..isize::MAX, 5)), [0, 5]);
        assert!(layout(&[6]).sliced(&[step(.., 0)]).is_err());
    }

    #[test]
    fn axes_go_and_come() {
        let x = layout(&[2, 3, 4]);
        let dims =
            |indices: IndexList| x.sliced(&indices).map(|part| part.dims().to_vec()).map_err(|f| f.what().to_string());
        assert_eq!(dims((1, .., 1..3).indices()), Ok(vec![3, 2]));
        assert_eq!(dims((Index::Rest, -1).indices()), Ok(vec![2, 3]));
        assert_eq!(dims((Index::NewAxis, 0, Index::Rest, Index::NewAxis).indices()), Ok(vec![1, 3, 4, 1]));
        assert_eq!(dims(0.indices()), Ok(vec![3, 4]));
        assert_eq!(dims((0, 0, 0).indices()), Ok(vec![]));
        assert_eq!(dims((0, 0, 0, 0).indices()).unwrap_err(), "4 indices for a tensor of rank 3");
        assert_eq!(dims((.., 3).indices()).unwrap_err(), "index 3 is out of range for axis 1 of size 3");
        assert!(dims((Index::Rest, Index::Rest).indices()).is_err());
        assert!(dims([Index::NewAxis; 6].indices()).is_err());
        assert_eq!(layout(&[0]).sliced(&(1..).indices()).unwrap().dims(), [0]);
    }
}
