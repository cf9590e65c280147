//! Axes and sizes as a caller writes them: one number or several, of any integer type, from the end when negative.

use super::shape::{MAX_RANK, Shape};
use crate::error::Fault;
use smallvec::SmallVec;
use std::fmt;

/// An integer type that may count axes or sizes.
///
/// Literals (`-1`), `usize` from `len()` and `i64` from data all work, so that no call needs a cast.
///
/// ```
/// use chainrule::Integer;
/// assert_eq!(3usize.number(), 3);
/// assert_eq!((-1).number(), -1);
/// ```
pub trait Integer: Copy {
    /// The number; what does not fit is the nearest that does.
    fn number(self) -> isize;
}

macro_rules! integers {
    ($($t:ty)*) => { $(
        impl Integer for $t {
            #[inline]
            fn number(self) -> isize {
                isize::try_from(self).unwrap_or(if self > 0 { isize::MAX } else { isize::MIN })
            }
        }
    )* };
}
integers! { i32 isize usize i64 u32 }

/// The axes that an operation works over: `-1`, `[0, 2]`, `&axes`. Negative ones count from the end.
///
/// ```
/// use chainrule::Axes;
/// assert_eq!(&(-1).axes().resolve(3)?[..], &[2]);
/// assert_eq!(&[0, -1].axes().resolve(3)?[..], &[0, 2]);
/// assert!([0, 5].axes().resolve(3).is_err());
/// # Ok::<(), chainrule::Fault>(())
/// ```
pub trait Axes {
    /// The axes as written.
    fn axes(&self) -> AxisList;
}

/// One axis: `-1`, `axis`. Negative ones count from the end.
///
/// ```
/// use chainrule::Axis;
/// assert_eq!((-1).resolve(3)?, 2);
/// assert_eq!((-4).resolve(3).unwrap_err().what(), "axis -4 is out of range for a tensor of rank 3 (-3 ..= 2)");
/// # Ok::<(), chainrule::Fault>(())
/// ```
pub trait Axis: Integer {
    /// The axis, counted from the front, of a tensor of this rank.
    fn resolve(self, rank: usize) -> Result<usize, Fault> {
        let axis = self.number();
        let size = rank as isize; // a rank is at most 8
        if rank == 0 {
            return Err(Fault::shape(
                format!("axis {axis} of a tensor of rank 0"),
                "a single number has no axes: give it one with reshape([1]) or unsqueeze(0)",
            ));
        }
        if axis < -size || axis >= size {
            return Err(Fault::shape(
                format!("axis {axis} is out of range for a tensor of rank {rank} ({} ..= {})", -size, size - 1),
                "axes count from 0, or from the end when negative: -1 is the last",
            ));
        }
        Ok(if axis < 0 { axis + size } else { axis } as usize)
    }
}

impl<I: Integer> Axis for I {}

/// Axes as a caller wrote them, before the rank is known: what an operation stores.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct AxisList(SmallVec<[isize; MAX_RANK]>);

/// Axes counted from the front.
pub type ResolvedAxes = SmallVec<[usize; MAX_RANK]>;

impl AxisList {
    /// No axes at all.
    pub fn none() -> AxisList {
        AxisList::default()
    }
    /// The axes counted from the front, in the order written; one that is out of range or given twice is a fault.
    pub fn resolve(&self, rank: usize) -> Result<ResolvedAxes, Fault> {
        let mut axes = ResolvedAxes::new();
        for &written in &self.0 {
            let axis = written.resolve(rank)?;
            if axes.contains(&axis) {
                return Err(Fault::shape(
                    format!("axis {axis} is given more than once in {self:?}"),
                    format!(
                        "list each axis once; of rank {rank}, axis {axis} is also {}",
                        axis as isize - rank as isize
                    ),
                ));
            }
            axes.push(axis);
        }
        Ok(axes)
    }
    /// As [`resolve`](AxisList::resolve), in ascending order.
    pub fn resolve_sorted(&self, rank: usize) -> Result<ResolvedAxes, Fault> {
        let mut axes = self.resolve(rank)?;
        axes.sort_unstable();
        Ok(axes)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Is the list empty?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The axes as written.
    pub fn as_slice(&self) -> &[isize] {
        &self.0
    }
}

impl fmt::Debug for AxisList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_slice().fmt(f)
    }
}

/// Sizes as a caller writes them: `3`, `[2, 3]`, `&dims`, a [`Shape`], `()` for a single number.
///
/// In `reshape` one size may be -1: the rest. In `expand` -1 keeps a size.
///
/// ```
/// use chainrule::{Shape, Sizes};
/// assert_eq!(&[2, 3].sizes().shape()?[..], &[2, 3]);
/// assert_eq!(&[2, -1].sizes().reshape(&Shape::new(&[3, 4])?)?[..], &[2, 6]);
/// assert!([2, -1].sizes().shape().is_err());
/// # Ok::<(), chainrule::Fault>(())
/// ```
pub trait Sizes {
    /// The sizes as written.
    fn sizes(&self) -> SizeList;
}

/// Sizes as a caller wrote them: what an operation stores.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SizeList(SmallVec<[isize; MAX_RANK]>);

impl SizeList {
    /// A shape of exactly these sizes; a negative one is a fault.
    pub fn shape(&self) -> Result<Shape, Fault> {
        if let Some(negative) = self.0.iter().find(|&&size| size < 0) {
            return Err(Fault::shape(
                format!("a size of {negative} in {self:?}"),
                "sizes are 0 or more; only reshape and expand give -1 a meaning",
            ));
        }
        self.plain()
    }
    /// The shape into which `from` is reshaped: one size may be -1, the rest.
    pub fn reshape(&self, from: &Shape) -> Result<Shape, Fault> {
        let mut sizes = self.clone();
        let mut unknown = None;
        let mut known = 1usize;
        for (axis, &size) in self.0.iter().enumerate() {
            match size {
                -1 if unknown.is_none() => unknown = Some(axis),
                -1 => {
                    return Err(Fault::shape(format!("more than one -1 in {self:?}"), "only one size can be the rest"));
                }
                size if size < 0 => {
                    return Err(Fault::shape(
                        format!("a size of {size} in {self:?}"),
                        "a size is 0 or more, or -1: the rest",
                    ));
                }
                size => known = known.saturating_mul(size as usize),
            }
        }
        let count = from.count();
        if let Some(axis) = unknown {
            if known == 0 {
                return Err(Fault::shape(
                    format!("-1 beside a size of 0 in {self:?} could be any size"),
                    "write the size out",
                ));
            }
            if !count.is_multiple_of(known) {
                return Err(Fault::shape(
                    format!("{count} elements {from:?} cannot become {self:?}: {known} does not divide {count}"),
                    "the product of the sizes given must divide the number of elements",
                ));
            }
            sizes.0[axis] = (count / known) as isize;
        } else if known != count {
            return Err(Fault::shape(
                format!("{count} elements {from:?} cannot become {self:?}, which holds {known}"),
                "the number of elements stays; write -1 for one size to have it computed",
            ));
        }
        sizes.plain()
    }
    /// The shape to which `from` is expanded: -1 keeps a size of `from`, aligned at the end.
    pub fn expand(&self, from: &Shape) -> Result<Shape, Fault> {
        let mut sizes = self.clone();
        let front = self.0.len().checked_sub(from.len()).ok_or_else(|| {
            Fault::shape(
                format!("{from:?} does not expand to {self:?}, which has fewer axes"),
                format!("give at least {} sizes; expand adds axes in front, it never drops one", from.len()),
            )
        })?;
        for (axis, size) in sizes.0.iter_mut().enumerate() {
            match (*size, axis.checked_sub(front)) {
                (-1, Some(kept)) => *size = from[kept] as isize,
                (-1, None) => {
                    return Err(Fault::shape(
                        format!("-1 for a new axis in {self:?}: there is no size to keep"),
                        "write the size of an axis that is added in front",
                    ));
                }
                _ => {}
            }
        }
        sizes.shape()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Is the list empty? Then it describes a single number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The sizes as written.
    pub fn as_slice(&self) -> &[isize] {
        &self.0
    }
    /// No size is negative any more.
    fn plain(&self) -> Result<Shape, Fault> {
        let sizes: SmallVec<[usize; MAX_RANK]> = self.0.iter().map(|&size| size as usize).collect();
        Shape::new(&sizes)
    }
}

impl fmt::Debug for SizeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_slice().fmt(f)
    }
}

fn numbers<I: Integer>(list: &[I]) -> SmallVec<[isize; MAX_RANK]> {
    let mut numbers = SmallVec::new();
    for &item in list {
        numbers.push(item.number());
    }
    numbers
}

/// The same ways to write a list for both traits.
macro_rules! lists {
    (one $trait:ident::$method:ident -> $list:ident: $($t:ty)*) => { $(
        impl $trait for $t {
            #[inline]
            fn $method(&self) -> $list { $list(numbers(std::slice::from_ref(self))) }
        }
    )* };
    ($($trait:ident::$method:ident -> $list:ident),*) => { $(
        lists! { one $trait::$method -> $list: i32 isize usize i64 u32 }
        impl<I: Integer> $trait for [I] {
            #[inline]
            fn $method(&self) -> $list { $list(numbers(self)) }
        }
        impl<I: Integer, const N: usize> $trait for [I; N] {
            #[inline]
            fn $method(&self) -> $list { $list(numbers(self)) }
        }
        impl<I: Integer> $trait for Vec<I> {
            #[inline]
            fn $method(&self) -> $list { $list(numbers(self)) }
        }
        impl<T: $trait + ?Sized> $trait for &T {
            #[inline]
            fn $method(&self) -> $list { (**self).$method() }
        }
        impl<A: smallvec::Array<Item = usize>> $trait for SmallVec<A> {
            #[inline]
            fn $method(&self) -> $list { $list(numbers(self)) }
        }
        impl $trait for () {
            #[inline]
            fn $method(&self) -> $list { $list::default() }
        }
        impl $trait for $list {
            #[inline]
            fn $method(&self) -> $list { self.clone() }
        }
    )* };
}
lists! { Axes::axes -> AxisList, Sizes::sizes -> SizeList }

impl Sizes for Shape {
    fn sizes(&self) -> SizeList {
        SizeList(numbers(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(list: impl Axes, rank: usize) -> Result<Vec<usize>, String> {
        list.axes().resolve(rank).map(|axes| axes.to_vec()).map_err(|fault| fault.what().to_string())
    }
    fn shape(list: impl Sizes) -> Result<Vec<usize>, String> {
        list.sizes().shape().map(|shape| shape.to_vec()).map_err(|fault| fault.what().to_string())
    }

    #[test]
    fn axes_are_written_in_many_ways() {
        assert_eq!(axes(-1, 3), Ok(vec![2]));
        assert_eq!(axes(1usize, 3), Ok(vec![1]));
        assert_eq!(axes([2, -3], 3), Ok(vec![2, 0]));
        assert_eq!(axes(&[0usize, 1][..], 3), Ok(vec![0, 1]));
        assert_eq!(axes(vec![1i64], 3), Ok(vec![1]));
        assert_eq!(axes((), 3), Ok(vec![]));
        assert_eq!(axes([0, -3], 3).unwrap_err(), "axis 0 is given more than once in [0, -3]");
        assert_eq!(axes(3, 2).unwrap_err(), "axis 3 is out of range for a tensor of rank 2 (-2 ..= 1)");
        assert_eq!(axes(0, 0).unwrap_err(), "axis 0 of a tensor of rank 0");
        assert_eq!(axes(usize::MAX, 2).unwrap_err().split(" is").next(), Some("axis 9223372036854775807"));
    }

    #[test]
    fn sizes_are_written_in_many_ways() {
        assert_eq!(shape(3), Ok(vec![3]));
        assert_eq!(shape(()), Ok(vec![]));
        assert_eq!(shape([2, 0]), Ok(vec![2, 0]));
        assert_eq!(shape([2usize, 3]), Ok(vec![2, 3]));
        assert_eq!(shape([2, -3]).unwrap_err(), "a size of -3 in [2, -3]");
        assert!(shape([usize::MAX, 2]).is_err());
        assert!(shape([1; 9]).is_err());
    }

    #[test]
    fn a_reshape_finds_the_rest() {
        let from = Shape::new(&[3, 4]).unwrap();
        let to = |list: &[isize]| list.sizes().reshape(&from).map(|s| s.to_vec()).map_err(|f| f.what().to_string());
        assert_eq!(to(&[2, -1]), Ok(vec![2, 6]));
        assert_eq!(to(&[-1]), Ok(vec![12]));
        assert!(to(&[5, -1]).unwrap_err().contains("5 does not divide 12"));
        assert!(to(&[5]).unwrap_err().contains("12 elements [3, 4] cannot become [5], which holds 5"));
        assert!(to(&[-1, -1]).is_err() && to(&[-2]).is_err() && to(&[0, -1]).is_err());
        let empty = Shape::new(&[0, 4]).unwrap();
        assert_eq!([-1, 2].sizes().reshape(&empty).unwrap().to_vec(), vec![0, 2]);
    }

    #[test]
    fn expand_keeps_sizes() {
        let from = Shape::new(&[1, 4]).unwrap();
        assert_eq!([5, 3, -1].sizes().expand(&from).unwrap().to_vec(), vec![5, 3, 4]);
        assert!([-1, 3, 4].sizes().expand(&from).is_err());
        assert!([4].sizes().expand(&from).is_err());
    }
}
