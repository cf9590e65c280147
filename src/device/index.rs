//! Elements chosen, and put, by their position.

use super::Value;
use crate::error::Fault;
use crate::layout::{DType, Shape};

/// What happens where something already stands, or where several elements go to one place.
///
/// ```
/// use chainrule::{Combine, Tensor};
/// let (index, source) = (Tensor::from([0, 0, 1]), Tensor::from([1.0, 5.0, 2.0]));
/// let largest = Tensor::zeros([2]).scatter_reduce(0, &index, &source, Combine::Largest, true);
/// assert_eq!(largest.to_vec::<f32>()?, [5.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// The last one stays.
    Replace,
    /// They are added.
    Sum,
    /// They are multiplied.
    Product,
    /// Their mean (integers round down).
    Mean,
    /// The largest stays; NaN is larger than all.
    Largest,
    /// The smallest stays; NaN is smaller than all.
    Smallest,
}

/// How slices are put together by [`Index::assemble`].
#[derive(Clone, Copy, Debug)]
pub struct Assembly {
    /// What happens where slices meet.
    pub combine: Combine,
    /// Does what stood there before take part?
    pub include: bool,
    /// A position whose slices are left out.
    pub skip: Option<usize>,
}

/// The kernels that read and write by position. Positions are i64, i32 or u8; negative ones count from the end of the
/// axis; one that is out of range is a fault that says which. Results are the same bits for any number of threads,
/// also where positions repeat.
pub trait Index {
    /// The slices of `x` along `axis` at the given positions; the axes of `index` take the place of `axis`.
    /// Slices at position `blank` are zeros.
    fn select(&self, x: &Value, axis: usize, index: &Value, blank: Option<usize>) -> Result<Value, Fault>;
    /// `out[i, j, k] = x[i, index[i, j, k], k]` (for axis 1), in the shape of `index`.
    fn gather(&self, x: &Value, axis: usize, index: &Value) -> Result<Value, Fault>;
    /// A copy of `base` into which `out[i, index[i, j, k], k] ⊕= source[i, j, k]` (for axis 1) was done. With
    /// `include` false, what stood at a place that is met does not take part.
    fn scatter(
        &self,
        base: &Value,
        axis: usize,
        index: &Value,
        source: &Value,
        combine: Combine,
        include: bool,
    ) -> Result<Value, Fault>;
    /// Slices of `source` put at positions along `axis`, on `base` or on zeros of size `size` along `axis`:
    /// the dual of [`select`](Index::select). The axes of `index` stand in `source` where `axis` is.
    fn assemble(
        &self,
        base: Option<&Value>,
        size: usize,
        axis: usize,
        index: &Value,
        source: &Value,
        how: Assembly,
    ) -> Result<Value, Fault>;
    /// The positions `index + size * lists[1] + ...` of tuples of positions: rank-1 positions into the flattened
    /// leading axes of `sizes`. All lists have one shape, which is that of the result.
    fn flat_positions(&self, lists: &[&Value], sizes: &[usize]) -> Result<Value, Fault>;
    /// The flat positions, in row-major order, of all elements that are not zero.
    fn positions(&self, x: &Value) -> Result<Value, Fault>;
    /// The coordinates of all elements that are not zero: a row for each, in row-major order.
    fn coordinates(&self, x: &Value) -> Result<Value, Fault>;
    /// A fault where a number is no name of `count` things: negative, or too large.
    fn names(&self, x: &Value, count: usize) -> Result<(), Fault>;
    /// A new last axis of `classes` numbers: 1 at the label, else 0 (i64).
    fn one_hot(&self, labels: &Value, classes: Option<usize>) -> Result<Value, Fault>;
    /// How often each number 0, 1, ... occurs among integers that are not negative, at least `least` counts;
    /// with weights, their sums.
    fn count(&self, x: &Value, weights: Option<&Value>, least: usize) -> Result<Value, Fault>;
    /// How many numbers fall in each of `bins` equal parts of `low ..= high`.
    fn histogram(&self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value, Fault>;
    /// Where `values` would stand in rows of ascending numbers: the first possible position, or the last with `right`.
    fn search(&self, sorted: &Value, values: &Value, right: bool) -> Result<Value, Fault>;
}

/// A fault where the operands of a gather do not fit.
pub(in crate::device) fn check_gather(x: &Value, axis: usize, index: &Value) -> Result<(), Fault> {
    if index.rank() != x.rank() {
        return Err(Fault::shape(
            format!("the tensor has {} axes, the index {}", x.rank(), index.rank()),
            "gather takes one position for each element of the result: give the index as many axes as the tensor, \
             or use index_select to take whole slices",
        ));
    }
    for (at, (&wanted, &size)) in index.dims().iter().zip(x.dims()).enumerate() {
        if at != axis && wanted > size {
            return Err(Fault::shape(
                format!("along axis {at} the index has size {wanted}, the tensor {size}"),
                format!("the index may be larger than the tensor only along axis {axis}"),
            ));
        }
    }
    Ok(())
}

/// A fault: booleans are not added up.
#[cold]
pub(in crate::device) fn no_arithmetic() -> Fault {
    Fault::dtype("booleans cannot be combined", "convert them first, with to_dtype(DType::I64)")
}

/// A fault where operands of a scatter do not fit.
pub(in crate::device) fn check_scatter(base: &Value, axis: usize, index: &Value, source: &Value) -> Result<(), Fault> {
    if base.dtype() != source.dtype() {
        return Err(Fault::dtype(
            format!("the source is {}, what it is put into {}", source.dtype(), base.dtype()),
            format!("convert one of them, with to_dtype(DType::{:?})", base.dtype()),
        ));
    }
    if index.rank() != base.rank() || source.rank() != base.rank() {
        return Err(Fault::shape(
            format!("the tensor has {} axes, the index {}, the source {}", base.rank(), index.rank(), source.rank()),
            "all three need as many axes: there is one position for each element of the source",
        ));
    }
    for (at, &wanted) in index.dims().iter().enumerate() {
        if wanted > source.dims()[at] {
            return Err(Fault::shape(
                format!("along axis {at} the index has size {wanted}, the source {}", source.dims()[at]),
                "every position needs an element of the source: make the index no larger than the source",
            ));
        }
        if at != axis && wanted > base.dims()[at] {
            return Err(Fault::shape(
                format!("along axis {at} the index has size {wanted}, the tensor {}", base.dims()[at]),
                format!("the index may be larger than the tensor only along axis {axis}"),
            ));
        }
    }
    Ok(())
}

/// The shape of what is assembled, or a fault where the operands do not fit.
pub(in crate::device) fn check_assembly(
    base: Option<&Value>,
    size: usize,
    axis: usize,
    index: &Value,
    source: &Value,
) -> Result<Shape, Fault> {
    let after = axis + index.rank();
    let fits = source.rank() >= after && source.dims()[axis..after] == *index.dims();
    if !fits {
        return Err(Fault::shape(
            format!("the positions are {:?}, the source {:?}", index.dims(), source.dims()),
            format!("from axis {axis} on, the source needs one slice for each position"),
        ));
    }
    let mut sizes = source.dims()[..axis].to_vec();
    sizes.push(size);
    sizes.extend_from_slice(&source.dims()[after..]);
    let shape = Shape::new(&sizes)?;
    if let Some(base) = base {
        if base.dims() != &shape[..] {
            return Err(Fault::shape(
                format!("the source is {:?}, the tensor {:?}", source.dims(), base.dims()),
                format!("but for axis {axis}, where positions say, both need the same sizes"),
            ));
        }
        if base.dtype() != source.dtype() {
            return Err(Fault::dtype(
                format!("the source is {}, what it is put into {}", source.dtype(), base.dtype()),
                format!("convert one of them, with to_dtype(DType::{:?})", base.dtype()),
            ));
        }
    }
    Ok(shape)
}

/// A fault: only whole numbers are positions, labels, ids.
#[cold]
pub(in crate::device) fn no_whole_numbers(what: &str, dtype: DType) -> Fault {
    Fault::dtype(
        format!("{what} are {dtype}"),
        format!("{what} are whole numbers: i64, i32 or u8; convert with to_dtype(DType::I64)"),
    )
}

/// A fault: a number that stands at a flat position of an index is no position along the axis.
#[cold]
pub(in crate::device) fn outside(number: i64, at: usize, shape: &Shape, axis: usize, size: usize) -> Fault {
    let place = coordinates_of(at, shape);
    let help = match size {
        0 => "the axis is empty: no position is valid".to_string(),
        _ => format!("positions run from 0 to {}, or from -{size} to -1 counted from the end", size - 1),
    };
    Fault::index(format!("index {number} at {place:?} is out of range for axis {axis} of size {size}"), help)
}

/// A fault: a number that stands at a flat position is no name of `count` things; `what` they are.
#[cold]
pub(in crate::device) fn no_name(number: i64, at: usize, shape: &Shape, what: &str, count: usize) -> Fault {
    let place = coordinates_of(at, shape);
    let help = match count {
        0 => "there is nothing to choose from".to_string(),
        _ => format!("{what} run from 0 to {}; unlike positions they do not count from the end", count - 1),
    };
    Fault::index(format!("{what}: {number} at {place:?} is out of range for {count}"), help)
}

/// A fault where numbers to count are not one row.
pub(in crate::device) fn check_row(x: &Value) -> Result<(), Fault> {
    match x.rank() {
        1 => Ok(()),
        rank => Err(Fault::shape(format!("counting over {rank} axes"), "give one row of numbers: flatten() first")),
    }
}

/// A fault: one of the numbers to count is negative.
#[cold]
pub(in crate::device) fn negative(numbers: &[i64]) -> Fault {
    let at = numbers.iter().position(|&n| n < 0).unwrap_or(0);
    Fault::index(
        format!("{} at [{at}] is negative", numbers[at]),
        "only 0, 1, 2, ... are counted: use unique() for other numbers",
    )
}

/// The ends of a histogram, or a fault where it has none.
pub(in crate::device) fn check_bins(bins: usize, low: f64, high: f64) -> Result<(f64, f64), Fault> {
    if bins == 0 {
        return Err(Fault::value("a histogram of no bins", "give at least one"));
    }
    if !(low.is_finite() && high.is_finite() && low <= high) {
        return Err(Fault::value(format!("a histogram from {low} to {high}"), "both ends are finite, the lower first"));
    }
    // Equal ends are one unit apart on both sides, as everywhere.
    Ok(if low == high { (low - 1.0, high + 1.0) } else { (low, high) })
}

/// A search: the length of ascending rows, and how many values belong to each.
pub(in crate::device) struct Searched {
    pub(in crate::device) length: usize,
    pub(in crate::device) width: usize,
}

/// What is searched for where, or a fault where the operands do not fit.
pub(in crate::device) fn check_search(sorted: &Value, values: &Value) -> Result<Searched, Fault> {
    let Some((&length, rows)) = sorted.dims().split_last() else {
        return Err(Fault::shape("the ascending numbers are a single number", "give a row of them: reshape([1])"));
    };
    let one_row = sorted.rank() == 1;
    if !one_row && (values.rank() != sorted.rank() || values.dims()[..rows.len()] != *rows) {
        return Err(Fault::shape(
            format!("rows of ascending numbers {:?}, of values {:?}", sorted.dims(), values.dims()),
            "all sizes but the last must agree, or there is one row of ascending numbers for all",
        ));
    }
    if sorted.dtype() != values.dtype() {
        return Err(Fault::dtype(
            format!("the ascending numbers are {}, the values {}", sorted.dtype(), values.dtype()),
            format!("convert one of them, with to_dtype(DType::{:?})", sorted.dtype()),
        ));
    }
    Ok(Searched { length, width: if one_row { values.count().max(1) } else { values.dims()[rows.len()] } })
}

/// The coordinates of a flat position.
pub(in crate::device) fn coordinates_of(mut at: usize, shape: &Shape) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (axis, &size) in shape.iter().enumerate().rev() {
        place[axis] = at % size;
        at /= size;
    }
    place
}

/// A size seen from one axis: how many slices stand around it, its size, how many elements stand inside.
#[derive(Clone, Copy)]
pub(in crate::device) struct Around {
    pub(in crate::device) outer: usize,
    pub(in crate::device) size: usize,
    pub(in crate::device) inner: usize,
}

impl Around {
    pub(in crate::device) fn new(dims: &[usize], axis: usize) -> Around {
        Around { outer: dims[..axis].iter().product(), size: dims[axis], inner: dims[axis + 1..].iter().product() }
    }
}

impl Around {
    /// The same of a value; a single number stands alone along an axis of one.
    pub(in crate::device) fn of(x: &Value, axis: usize) -> Around {
        if x.rank() == 0 { Around { outer: 1, size: 1, inner: 1 } } else { Around::new(x.dims(), axis) }
    }
}
