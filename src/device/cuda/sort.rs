//! Elements in order: `kernels/sort.cu`.
//!
//! Whatever orders sees keys (unsigned numbers that order as elements do) and their positions. How many different elements there are is not known
//! before they are counted, so `distinct` and `distinct_slices` read that number and wait for it; nothing else here waits.

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::index::Index;
use crate::device::reduce::Reduce;
use crate::device::scan::Scan;
use crate::device::sort::{Distinct, NO_MIDDLE, NO_MODE, Sort, check_any, check_kth, check_topk};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const SORT: Source = source!("sort");

/// Elements of a segment that a block orders in shared memory, and of a tile of the radix sort.
const TILE: usize = 2048;
/// As many first elements are found segment by segment; for more, whole rows are ordered.
const FEW: usize = TILE / 4;
/// Values of a digit of 8 bits.
const DIGITS: usize = 256;

/// Dense rows as keys.
struct Keys {
    keys: Value,
    rows: usize,
    size: usize,
    /// Bytes of a key, as its kernels are named.
    bytes: usize,
    /// Bits that differ.
    bits: u32,
    /// Does the greatest key stand for NaN, which equals nothing?
    nans: bool,
}

/// Ordered rows: the first `held` keys of each, and their positions (u32).
struct Ordered {
    keys: Value,
    positions: Value,
    held: usize,
}

impl Keys {
    fn greatest(&self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }
    /// How a kernel knows NaN.
    fn nan(&self, call: Launch) -> Launch {
        call.wide(self.greatest() as i64).int(self.nans as i32)
    }
}

/// The value with `axis` moved to the end, or the last axis moved to `axis`.
fn turned(x: &Value, axis: usize, to_end: bool) -> Result<Value, Fault> {
    if axis + 1 >= x.rank() {
        return Ok(x.clone());
    }
    let mut order: Vec<usize> = (0..x.rank()).collect();
    match to_end {
        true => order[axis..].rotate_left(1),
        false => order[axis..].rotate_right(1),
    }
    x.with_layout(x.layout().permuted(&order))
}

fn size_along(x: &Value, axis: usize) -> usize {
    x.dims().get(axis).copied().unwrap_or(1)
}

/// A dense value in another shape of as many elements.
fn reshaped(x: &Value, sizes: &[usize]) -> Result<Value, Fault> {
    let shape = Shape::new(sizes)?;
    x.with_layout(Layout::from_parts(shape, Layout::contiguous(shape).strides(), x.layout().offset()))
}

impl Cuda {
    fn sort_kernel(self, name: &str) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&SORT, name)?))
    }
    /// Numbers of 4 bytes (keys, positions) or 8, as values that nobody else sees.
    fn words(self, count: usize, bytes: usize) -> Result<Value, Fault> {
        self.blank(Shape::new(&[count])?, if bytes == 4 { DType::I32 } else { DType::I64 })
    }
    fn keys(self, x: &Value, rows: usize, size: usize, descending: bool) -> Result<Keys, Fault> {
        if size > i32::MAX as usize {
            let what = format!("a row of {size} elements is ordered");
            return Err(Fault::value(what, "a GPU counts positions below 2^31: split the row"));
        }
        let (bytes, bits) = match x.dtype() {
            DType::F64 | DType::I64 => (8, 64),
            DType::F32 | DType::I32 => (4, 32),
            DType::BF16 | DType::F16 => (4, 16),
            DType::U8 | DType::Bool => (4, 8),
        };
        let name = if x.dtype() == DType::Bool { DType::U8 } else { x.dtype() };
        let keys = Keys { keys: self.words(x.count(), bytes)?, rows, size, bytes, bits, nans: x.dtype().is_float() };
        let call = self.sort_kernel(&format!("keys_of_{name}"))?.read(x).write(&keys.keys).wide(x.count() as i64);
        call.wide(if descending { keys.greatest() } else { 0 } as i64).over(x.count())?;
        Ok(keys)
    }
    /// The first `length` keys of each row, in order. Of those that are asked for more may be held.
    fn order(self, keys: &Keys, length: usize) -> Result<Ordered, Fault> {
        match keys.size <= TILE || length <= FEW {
            true => self.order_segments(keys, length),
            false => self.order_digits(keys),
        }
    }
    /// By segments, whose first elements are ordered in turn until one segment is left of each row.
    fn order_segments(self, keys: &Keys, length: usize) -> Result<Ordered, Fault> {
        let (mut from, mut positions, mut size) = (keys.keys.clone(), None::<Value>, keys.size);
        loop {
            let padded = size.next_power_of_two().min(TILE);
            let parts = size.div_ceil(padded);
            let segments = keys.rows * parts;
            let together = (TILE / padded).min(segments).max(1);
            let held = length.min(padded);
            let (to, places) = (self.words(segments * held, keys.bytes)?, self.words(segments * held, 4)?);
            let call = self.sort_kernel(&format!("order_block_{}", keys.bytes))?.read(&from).option(positions.as_ref());
            let call = call.write(&to).write(&places).long(segments as i64).long(size as i64).long(parts as i64);
            let call = call.long(padded as i64).long(together as i64).long(held as i64);
            call.grid([segments.div_ceil(together), 1, 1], THREADS, 0)?;
            if parts <= 1 {
                return Ok(Ordered { keys: to, positions: places, held });
            }
            (from, positions, size) = (to, Some(places), parts * held);
        }
    }
    /// Whole rows, digit by digit from the lowest on.
    fn order_digits(self, keys: &Keys) -> Result<Ordered, Fault> {
        let Keys { rows, size, bytes, .. } = *keys;
        let (tiles, count) = (size.div_ceil(TILE), rows * size);
        let counts = self.blank(Shape::new(&[rows, DIGITS * tiles])?, DType::I64)?;
        let (mut from, mut positions) = (keys.keys.clone(), None::<Value>);
        for shift in (0..keys.bits).step_by(8) {
            let grid = [rows * tiles, 1, 1];
            let call = self.sort_kernel(&format!("digits_{bytes}"))?.read(&from).write(&counts).long(size as i64);
            call.long(tiles as i64).int(shift as i32).grid(grid, THREADS, 0)?;
            let sums = self.cumulative_sum(&counts, 1, false)?;
            let (to, places) = (self.words(count, bytes)?, self.words(count, 4)?);
            let call = self.sort_kernel(&format!("place_{bytes}"))?.read(&from).option(positions.as_ref()).read(&sums);
            let call = call.write(&to).write(&places).long(size as i64).long(tiles as i64).int(shift as i32);
            call.grid(grid, THREADS, 0)?;
            (from, positions) = (to, Some(places));
        }
        let positions = positions.ok_or_else(|| Fault::defect("keys of no bits"))?;
        Ok(Ordered { keys: from, positions, held: size })
    }
    /// Lines along an axis as dense rows, and the shape that `length` elements of each have.
    fn rows_along(self, x: &Value, axis: usize, length: usize) -> Result<(Value, [usize; 2], Shape), Fault> {
        let rows = self.contiguous(&turned(x, axis, true)?)?;
        let mut sizes = rows.dims().to_vec();
        let size = sizes.last().copied().unwrap_or(1);
        if let Some(last) = sizes.last_mut() {
            *last = length;
        }
        let count = sizes.iter().rev().skip(1).product();
        Ok((rows, [count, size], Shape::new(&sizes)?))
    }
    /// Of dense rows, the elements (where wanted) and i64 positions that stand at `positions` of each row, `held` a row, from place `from` on.
    fn picked(
        self,
        x: &Value,
        positions: &Value,
        [size, held, from]: [usize; 3],
        shape: Shape,
        wanted: bool,
    ) -> Result<(Option<Value>, Value), Fault> {
        let places = self.blank(shape, DType::I64)?;
        let values = if wanted { Some(self.blank(shape, x.dtype())?) } else { None };
        let length = shape.last().copied().unwrap_or(1);
        let call = self.sort_kernel(&format!("pick_sorted_{}", x.dtype().size()))?.read(x).read(positions);
        let call = call.option(values.as_ref()).write(&places).long(places.count() as i64).long(length as i64);
        call.long(held as i64).long(from as i64).long(size as i64).over(places.count())?;
        Ok((values, places))
    }
    /// Elements `from .. from + length` of each ordered row along an axis.
    fn chosen(
        self,
        x: &Value,
        axis: usize,
        [from, length]: [usize; 2],
        descending: bool,
        wanted: bool,
    ) -> Result<(Option<Value>, Value), Fault> {
        let (rows, [count, size], shape) = self.rows_along(x, axis, length)?;
        let keys = self.keys(&rows, count, size, descending)?;
        let ordered = self.order(&keys, from + length)?;
        let (values, places) = self.picked(&rows, &ordered.positions, [size, ordered.held, from], shape, wanted)?;
        let back = |value: &Value| self.contiguous(&turned(value, axis, false)?);
        Ok((values.as_ref().map(back).transpose()?, back(&places)?))
    }
    /// The same with elements.
    fn chosen_pairs(self, x: &Value, axis: usize, part: [usize; 2], descending: bool) -> Result<(Value, Value), Fault> {
        match self.chosen(x, axis, part, descending, true)? {
            (Some(values), places) => Ok((values, places)),
            _ => Err(Fault::defect("elements were wanted")),
        }
    }
    /// A single position (u32) of each row along an axis, found among its keys in order.
    fn single(
        self,
        x: &Value,
        axis: usize,
        find: impl FnOnce(&Keys, &Ordered) -> Result<Value, Fault>,
    ) -> Result<(Value, Value), Fault> {
        let (rows, [count, size], shape) = self.rows_along(x, axis, 1)?;
        let keys = self.keys(&rows, count, size, false)?;
        let place = find(&keys, &self.order(&keys, size)?)?;
        match self.picked(&rows, &place, [size, 1, 0], shape, true)? {
            (Some(value), place) => {
                let back = |value: &Value| self.contiguous(&turned(value, axis, false)?);
                Ok((back(&value)?, back(&place)?))
            }
            _ => Err(Fault::defect("elements were wanted")),
        }
    }
    /// Dense positions below `size` in order, each with where it stands.
    fn positions_in_order(self, index: &Value, size: usize) -> Result<(Keys, Ordered), Fault> {
        let narrow = if size <= i32::MAX as usize { self.cast(index, DType::I32)? } else { index.clone() };
        let keys = self.keys(&narrow, 1, index.count(), false)?;
        // None is negative, so that the upper bits of all are the same.
        let keys = Keys { bits: keys.bits.min(usize::BITS - size.leading_zeros()), ..keys };
        let ordered = self.order_digits(&keys)?;
        Ok((keys, ordered))
    }
    /// The order (u32) in which positions below `size` ascend.
    pub(super) fn ascent(self, index: &Value, size: usize) -> Result<Value, Fault> {
        Ok(self.positions_in_order(index, size)?.1.positions)
    }
    /// For each of dense positions below `size`, the next one that is the same, as `chains_i64` gives them.
    pub(super) fn links(self, index: &Value, size: usize) -> Result<Value, Fault> {
        let (count, next) = (index.count(), self.blank(*index.shape(), DType::I64)?);
        let (keys, ordered) = self.positions_in_order(index, size)?;
        let call = self.sort_kernel(&format!("links_{}", keys.bytes))?.read(&ordered.keys).read(&ordered.positions);
        call.write(&next).long(count as i64).over(count)?;
        Ok(next)
    }
    /// Some of the positions, as i64.
    fn wide_places(self, positions: &Value, chosen: &Value) -> Result<Value, Fault> {
        self.cast(&self.select(positions, 0, chosen, None)?, DType::I64)
    }
    /// From marks at the first of each group of equals in order: where groups begin in order (i64), which group each element belongs
    /// to (at its own position), how many each has. A read: how many groups there are.
    fn groups(self, marks: &Value, order: Option<&Value>, shape: Shape) -> Result<[Value; 3], Fault> {
        let (count, inverse) = (marks.count(), self.blank(shape, DType::I64)?);
        let begins = self.list_marks(marks, self.marks(marks)?, order, Some(&inverse))?;
        let counts = self.blank(*begins.shape(), DType::I64)?;
        let call = self.sort_kernel("gaps_i64")?.read(&begins).write(&counts).long(begins.count() as i64);
        call.long(count as i64).over(begins.count())?;
        Ok([begins, inverse, counts])
    }
}

impl Sort for Cuda {
    fn sort(&self, x: &Value, axis: usize, descending: bool) -> Result<(Value, Value), Fault> {
        self.chosen_pairs(x, axis, [0, size_along(x, axis)], descending)
    }
    fn argsort(&self, x: &Value, axis: usize, descending: bool) -> Result<Value, Fault> {
        Ok(self.chosen(x, axis, [0, size_along(x, axis)], descending, false)?.1)
    }
    fn topk(&self, x: &Value, k: usize, axis: usize, largest: bool) -> Result<(Value, Value), Fault> {
        check_topk(x, k, axis)?;
        self.chosen_pairs(x, axis, [0, k], largest)
    }
    fn kth(&self, x: &Value, k: usize, axis: usize) -> Result<(Value, Value), Fault> {
        check_kth(x, k, axis)?;
        self.chosen_pairs(x, axis, [k, 1], false)
    }
    fn median(&self, x: &Value, axis: usize) -> Result<(Value, Value), Fault> {
        check_any(x, axis, NO_MIDDLE)?;
        self.single(x, axis, |keys, ordered| {
            let place = self.words(keys.rows, 4)?;
            let call =
                self.sort_kernel(&format!("middle_{}", keys.bytes))?.read(&ordered.keys).read(&ordered.positions);
            let call = call.write(&place).long(keys.rows as i64).long(keys.size as i64);
            keys.nan(call.long(((keys.size - 1) / 2) as i64)).over(keys.rows)?;
            Ok(place)
        })
    }
    fn mode(&self, x: &Value, axis: usize) -> Result<(Value, Value), Fault> {
        check_any(x, axis, NO_MODE)?;
        self.single(x, axis, |keys, ordered| {
            let runs = self.blank(Shape::new(&[keys.rows, keys.size])?, DType::I64)?;
            let call = self.sort_kernel(&format!("runs_{}", keys.bytes))?.read(&ordered.keys).write(&runs);
            let call = call.long(runs.count() as i64).long(keys.size as i64);
            keys.nan(call).over(runs.count())?;
            // The first of the longest runs, which is that of the smallest element, at its end.
            let (_, ends) = self.extreme_place(&runs, &[1], true, true)?;
            self.gather(&reshaped(&ordered.positions, &[keys.rows, keys.size])?, 1, &ends)
        })
    }
    fn distinct(&self, x: &Value, runs: bool) -> Result<Distinct, Fault> {
        let dense = self.contiguous(x)?;
        let flat = reshaped(&dense, &[x.count()])?;
        let keys = self.keys(&flat, 1, flat.count(), false)?;
        let ordered = if runs { None } else { Some(self.order(&keys, keys.size)?) };
        let (sorted, positions) = match &ordered {
            Some(ordered) => (&ordered.keys, Some(&ordered.positions)),
            None => (&keys.keys, None),
        };
        let marks = self.blank(*flat.shape(), DType::U8)?;
        let call = self.sort_kernel(&format!("begins_{}", keys.bytes))?.read(sorted).write(&marks);
        keys.nan(call.long(flat.count() as i64)).over(flat.count())?;
        let [begins, inverse, counts] = self.groups(&marks, positions, *x.shape())?;
        let firsts = match positions {
            Some(positions) => self.wide_places(positions, &begins)?,
            None => begins,
        };
        Ok(Distinct { values: self.select(&flat, 0, &firsts, None)?, inverse, counts })
    }
    fn distinct_slices(&self, x: &Value, axis: usize) -> Result<Distinct, Fault> {
        let count = x.dims().get(axis).copied().unwrap_or(0);
        let mut axes: Vec<usize> = (0..x.rank()).collect();
        if axis < x.rank() {
            axes[..=axis].rotate_right(1);
        }
        let front = self.contiguous(&x.with_layout(x.layout().permuted(&axes))?)?;
        let length = front.count() / count.max(1);
        if length == 0 {
            // Slices without elements are all the same.
            let one = Shape::new(&[count.min(1)])?;
            let (firsts, counts) = (self.full(one, DType::I64, 0.0)?, self.full(one, DType::I64, count as f64)?);
            let inverse = self.full(Shape::new(&[count])?, DType::I64, 0.0)?;
            return Ok(Distinct { values: self.select(x, axis, &firsts, None)?, inverse, counts });
        }
        let keys = self.keys(&front, count, length, false)?;
        let (padded, name) = (count.next_power_of_two(), format!("slices_{}", keys.bytes));
        let order = self.words(padded, 4)?;
        self.sort_kernel("count_up_u32")?.write(&order).long(padded as i64).over(padded)?;
        let mut around = 2;
        while around <= padded {
            let mut step = around / 2;
            while step > 0 {
                let call = self.sort_kernel(&name)?.read(&keys.keys).write(&order).long(padded as i64);
                let call = call.long(count as i64).long(length as i64);
                call.long(around as i64).long(step as i64).over(padded / 2)?;
                step /= 2;
            }
            around *= 2;
        }
        let marks = self.blank(Shape::new(&[count])?, DType::U8)?;
        let call = self.sort_kernel(&format!("slice_begins_{}", keys.bytes))?.read(&keys.keys).read(&order);
        keys.nan(call.write(&marks).long(count as i64).long(length as i64)).over(count)?;
        let [begins, inverse, counts] = self.groups(&marks, Some(&order), *marks.shape())?;
        let firsts = self.wide_places(&order, &begins)?;
        Ok(Distinct { values: self.select(x, axis, &firsts, None)?, inverse, counts })
    }
}
