//! Order, on the processor.
//!
//! Every element is turned into an unsigned key that orders as the element does, and key and position are packed into
//! one number. All these are different, so there is one right result, whatever sorts them: no comparison function, no
//! question of stability, no dependence on threads.

mod groups;
mod merge;

use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::index::Around;
use crate::device::index::Index;
use crate::device::sort::{Distinct, NO_MIDDLE, NO_MODE, Sort, check_any, check_kth, check_topk};
use crate::device::{Value, by_size};
use crate::error::Fault;
use crate::layout::{DType, Shape, dispatch};
use half::{bf16, f16};

/// Elements that one part of the work orders.
const PART: usize = 8 * 1024;

/// An element as a number that orders as it does: NaN above all, both zeros the same.
pub(super) trait Ordered: Copy + Send + Sync + 'static {
    /// Bits that the rank needs.
    const BITS: u32;
    /// Do the greatest ranks belong to NaN?
    const HAS_NAN: bool;
    fn rank(self) -> u64;
}

macro_rules! ordered_floats {
    ($($t:ty, $bits:ty;)*) => { $(
        impl Ordered for $t {
            const BITS: u32 = <$bits>::BITS;
            const HAS_NAN: bool = true;
            #[inline(always)]
            fn rank(self) -> u64 {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let bits = self.to_bits();
                let ranked = if self.is_nan() {
                    <$bits>::MAX
                } else if bits & SIGN == 0 || bits == SIGN {
                    bits | SIGN
                } else {
                    !bits
                };
                ranked as u64
            }
        }
    )* };
}
ordered_floats! { f64, u64; f32, u32; bf16, u16; f16, u16; }

macro_rules! ordered_integers {
    ($($t:ty, $bits:ty, $flip:expr;)*) => { $(
        impl Ordered for $t {
            const BITS: u32 = <$bits>::BITS;
            const HAS_NAN: bool = false;
            #[inline(always)]
            fn rank(self) -> u64 {
                (self as $bits ^ $flip) as u64
            }
        }
    )* };
}
ordered_integers! { i64, u64, 1 << 63; i32, u32, 1 << 31; u8, u8, 0; bool, u8, 0; }

/// Elements as keys: everything after this knows no element type.
#[derive(Clone, Copy)]
struct Keys<'a> {
    /// Writes the ranks of the elements from a position on.
    ranks: &'a (dyn Fn(usize, &mut [u64]) + Sync),
    /// Bits of a rank.
    bits: u32,
    /// Does the greatest rank stand for NaN?
    has_nan: bool,
}

/// Calls `work` with the keys of a dense value.
fn with_keys(x: &Value, work: &mut dyn FnMut(Keys<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
    dispatch!(x.dtype(), T => {
        let elements = x.dense::<T>()?;
        let ranks = |from: usize, ranks: &mut [u64]| {
            for (rank, x) in ranks.iter_mut().zip(&elements[from..]) {
                *rank = x.rank();
            }
        };
        work(Keys { ranks: &ranks, bits: <T as Ordered>::BITS, has_nan: T::HAS_NAN })
    })
}

impl Keys<'_> {
    fn greatest(&self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }
    /// Is it the rank of a NaN, which equals nothing?
    fn is_nan(&self, rank: u64) -> bool {
        self.has_nan && rank == self.greatest()
    }
    /// The ranks of `count` elements.
    fn list(&self, from: usize, count: usize) -> Vec<u64> {
        let mut ranks = vec![0; count];
        (self.ranks)(from, &mut ranks);
        ranks
    }
    /// The elements of the row that begins at `row`, from its element `first` on, each with its position in the row.
    fn pack<P: Packed>(&self, row: usize, first: usize, flip: u64, out: &mut [P]) {
        let mut ranks = [0; 256];
        for (block, out) in out.chunks_mut(ranks.len()).enumerate() {
            let from = first + block * ranks.len();
            let ranks = &mut ranks[..out.len()];
            (self.ranks)(row + from, ranks);
            for (index, (out, rank)) in out.iter_mut().zip(ranks).enumerate() {
                *out = P::pack(*rank ^ flip, from + index);
            }
        }
    }
}

/// A key and a position in one number; what is smaller comes first.
trait Packed: Ord + Copy + Send + Sync + Default {
    fn pack(key: u64, position: usize) -> Self;
    fn key(self) -> u64;
    fn position(self) -> usize;
}
impl Packed for u64 {
    #[inline(always)]
    fn pack(key: u64, position: usize) -> u64 {
        key << 32 | position as u64
    }
    #[inline(always)]
    fn key(self) -> u64 {
        self >> 32
    }
    #[inline(always)]
    fn position(self) -> usize {
        (self & u32::MAX as u64) as usize
    }
}
impl Packed for u128 {
    #[inline(always)]
    fn pack(key: u64, position: usize) -> u128 {
        (key as u128) << 64 | position as u128
    }
    #[inline(always)]
    fn key(self) -> u64 {
        (self >> 64) as u64
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u64 as usize
    }
}

/// Lines along an axis, as rows: the value with the axis moved last, dense.
struct Rows {
    value: Value,
    around: Around,
}

impl Rows {
    fn new(x: &Value, axis: usize) -> Result<Rows, Fault> {
        let around = Around::of(x, axis);
        Ok(Rows { value: Cpu.contiguous(&turned(x, axis, true)?)?, around })
    }
    /// The shape of results with `length` elements in each row.
    fn shape(&self, length: usize) -> Result<Shape, Fault> {
        let mut sizes = self.value.dims().to_vec();
        if let Some(last) = sizes.last_mut() {
            *last = length;
        }
        Shape::new(&sizes)
    }
    fn count(&self) -> usize {
        self.around.outer * self.around.inner
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

/// Back from rows to the user's order of axes, dense.
fn restored(x: Value, axis: usize) -> Result<Value, Fault> {
    Cpu.contiguous(&turned(&x, axis, false)?)
}

/// Which elements of each row are wanted, in order.
#[derive(Clone, Copy)]
struct Choice {
    from: usize,
    length: usize,
    descending: bool,
    /// A row that has a NaN gives it.
    nan_wins: bool,
}

impl Choice {
    /// `length` elements from place `from` on, in order.
    fn new(from: usize, length: usize, descending: bool) -> Choice {
        Choice { from, length, descending, nan_wins: false }
    }
    /// The wanted elements' positions in every row, as i64.
    fn positions(self, rows: &Rows) -> Result<Value, Fault> {
        let mut positions = Value::blank(rows.shape(self.length)?, DType::I64)?;
        let out = positions.unshared().ok_or_else(|| Fault::defect("a fresh value is shared"))?;
        with_keys(&rows.value, &mut |keys| {
            if keys.bits <= 32 && rows.around.size <= u32::MAX as usize {
                self.packed::<u64>(rows, keys, out)
            } else {
                self.packed::<u128>(rows, keys, out)
            }
        })?;
        Ok(positions)
    }

    fn packed<P: Packed>(self, rows: &Rows, keys: Keys<'_>, out: &mut [i64]) -> Result<(), Fault> {
        let (size, length) = (rows.around.size, self.length);
        if out.is_empty() {
            return Ok(());
        }
        let flip = if self.descending { keys.greatest() } else { 0 };
        let write = |packed: &[P], to: &mut [i64]| {
            for (to, packed) in to.iter_mut().zip(packed) {
                *to = packed.position() as i64;
            }
        };
        let all = self.from == 0 && length == size;
        if all && size > merge::LONG && rows.count() < merge::FEW {
            // Few long rows: each is sorted by all threads together.
            for (row, to) in out.chunks_exact_mut(size).enumerate() {
                let mut packed = merge::reserve::<P>(size)?;
                parallel::chunks(&mut packed, PART, 2, |part, block| keys.pack(row * size, part * PART, flip, block));
                let sorted = merge::sort(packed)?;
                parallel::chunks(to, PART, 2, |part, to| write(&sorted[part * PART..], to));
            }
            return Ok(());
        }
        let together = (PART / size).max(1);
        parallel::chunks(out, together * length, 16 * size.div_ceil(length), |part, block| {
            let mut packed = vec![P::default(); size];
            for (row, to) in block.chunks_exact_mut(length).enumerate() {
                keys.pack((part * together + row) * size, 0, flip, &mut packed);
                if self.nan_wins
                    && let Some(position) = packed.iter().position(|packed| keys.is_nan(packed.key() ^ flip))
                {
                    to.fill(position as i64);
                    continue;
                }
                write(self.order(&mut packed), to);
            }
        });
        Ok(())
    }

    /// The wanted ones, in order.
    fn order<P: Packed>(self, packed: &mut [P]) -> &[P] {
        let end = self.from + self.length;
        if end < packed.len() {
            packed.select_nth_unstable(end - 1);
        }
        let head = &mut packed[..end];
        if self.from > 0 {
            head.select_nth_unstable(self.from);
        }
        let wanted = &mut head[self.from..];
        wanted.sort_unstable();
        wanted
    }
}

/// The elements at positions within rows.
fn picked(rows: &Rows, positions: &Value) -> Result<Value, Fault> {
    let length = positions.dims().last().copied().unwrap_or(1);
    let (size, positions) = (rows.around.size, positions.dense::<i64>()?);
    let mut picked = Value::blank(rows.shape(length)?, rows.value.dtype())?;
    by_size!(rows.value.dtype(), W => {
        let (out, source) = Value::dense_words::<W>(&mut picked, &rows.value)?;
        parallel::chunks(out, PART, 2, |part, block| {
            let start = part * PART;
            let (mut row, mut column) = (start / length, start % length);
            for (to, &position) in block.iter_mut().zip(&positions[start..]) {
                *to = source[row * size + position as usize];
                column += 1;
                if column == length {
                    (row, column) = (row + 1, 0);
                }
            }
        });
    });
    Ok(picked)
}

fn chosen(x: &Value, axis: usize, choice: Choice) -> Result<(Value, Value), Fault> {
    let rows = Rows::new(x, axis)?;
    let positions = choice.positions(&rows)?;
    Ok((restored(picked(&rows, &positions)?, axis)?, restored(positions, axis)?))
}

fn size_along(x: &Value, axis: usize) -> usize {
    x.dims().get(axis).copied().unwrap_or(1)
}

impl Sort for Cpu {
    fn sort(&self, x: &Value, axis: usize, descending: bool) -> Result<(Value, Value), Fault> {
        chosen(x, axis, Choice::new(0, size_along(x, axis), descending))
    }

    fn argsort(&self, x: &Value, axis: usize, descending: bool) -> Result<Value, Fault> {
        let rows = Rows::new(x, axis)?;
        let choice = Choice::new(0, size_along(x, axis), descending);
        restored(choice.positions(&rows)?, axis)
    }

    fn topk(&self, x: &Value, k: usize, axis: usize, largest: bool) -> Result<(Value, Value), Fault> {
        check_topk(x, k, axis)?;
        chosen(x, axis, Choice::new(0, k, largest))
    }

    fn kth(&self, x: &Value, k: usize, axis: usize) -> Result<(Value, Value), Fault> {
        check_kth(x, k, axis)?;
        chosen(x, axis, Choice::new(k, 1, false))
    }

    fn median(&self, x: &Value, axis: usize) -> Result<(Value, Value), Fault> {
        check_any(x, axis, NO_MIDDLE)?;
        let size = size_along(x, axis);
        chosen(x, axis, Choice { nan_wins: true, ..Choice::new((size - 1) / 2, 1, false) })
    }

    fn distinct(&self, x: &Value, runs: bool) -> Result<Distinct, Fault> {
        let dense = self.contiguous(x)?;
        let flat = dense.with_layout(crate::layout::Layout::contiguous(Shape::new(&[x.count()])?))?;
        distinct(x, &flat, runs)
    }

    fn mode(&self, x: &Value, axis: usize) -> Result<(Value, Value), Fault> {
        check_any(x, axis, NO_MODE)?;
        groups::mode(x, axis)
    }

    fn distinct_slices(&self, x: &Value, axis: usize) -> Result<Distinct, Fault> {
        groups::distinct_slices(x, axis)
    }
}

fn distinct(x: &Value, flat: &Value, runs: bool) -> Result<Distinct, Fault> {
    let (order, sorted) = if runs {
        (None, flat.clone())
    } else {
        let (sorted, order) = Cpu.sort(flat, 0, false)?;
        (Some(order), sorted)
    };
    let order = order.as_ref().map(Value::dense::<i64>).transpose()?;
    // Where a new element begins.
    let mut begins: Vec<i64> = Vec::new();
    with_keys(&sorted, &mut |keys| {
        let ranks = keys.list(0, sorted.count());
        let begin = |&i: &usize| i == 0 || ranks[i] != ranks[i - 1] || keys.is_nan(ranks[i]);
        begins.extend((0..ranks.len()).filter(begin).map(|i| i as i64));
        Ok(())
    })?;
    let ends = begins.iter().skip(1).copied().chain([sorted.count() as i64]);
    let begin = Value::build::<i64>(Shape::new(&[begins.len()])?, |out| out.copy_from_slice(&begins))?;
    let values = Cpu.select(&sorted, 0, &begin, None)?;
    let counts = Value::build::<i64>(*begin.shape(), |out| {
        for (to, (&begin, end)) in out.iter_mut().zip(begins.iter().zip(ends.clone())) {
            *to = end - begin;
        }
    })?;
    let inverse = Value::build::<i64>(*x.shape(), |out| {
        for (which, (&begin, end)) in begins.iter().zip(ends.clone()).enumerate() {
            for at in begin as usize..end as usize {
                out[order.map_or(at, |order| order[at] as usize)] = which as i64;
            }
        }
    })?;
    Ok(Distinct { values, inverse, counts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Element;

    fn value<T: Element>(numbers: &[T], sizes: &[usize]) -> Value {
        Value::build::<T>(Shape::new(sizes).unwrap(), |out| out.copy_from_slice(numbers)).unwrap()
    }

    #[test]
    fn nan_is_largest_and_equals_keep_their_order() {
        let x = value(&[f32::NAN, 1.0, -0.0, 0.0, f32::NEG_INFINITY, 1.0, -f32::NAN, f32::INFINITY], &[8]);
        let up = Cpu.argsort(&x, 0, false).unwrap();
        assert_eq!(up.slice::<i64>().unwrap(), [4, 2, 3, 1, 5, 7, 0, 6]);
        let down = Cpu.argsort(&x, 0, true).unwrap();
        assert_eq!(down.slice::<i64>().unwrap(), [0, 6, 7, 1, 5, 2, 3, 4]);
    }

    #[test]
    fn any_axis_any_type() {
        let x = value(&[3i64, -1, 2, i64::MIN, 5, 5], &[3, 2]);
        let (sorted, positions) = Cpu.sort(&x, 0, false).unwrap();
        assert_eq!(sorted.slice::<i64>().unwrap(), [2, i64::MIN, 3, -1, 5, 5]);
        assert_eq!(positions.slice::<i64>().unwrap(), [1, 1, 0, 0, 2, 2]);
        let (top, at) = Cpu.topk(&value(&[1u8, 9, 9, 4], &[4]), 2, 0, true).unwrap();
        assert_eq!((top.slice::<u8>().unwrap(), at.slice::<i64>().unwrap()), (&[9, 9][..], &[1, 2][..]));
        let (kth, at) = Cpu.kth(&value(&[4.0f64, 1.0, 3.0, 2.0], &[4]), 2, 0).unwrap();
        assert_eq!((kth.slice::<f64>().unwrap(), at.slice::<i64>().unwrap()), (&[3.0][..], &[2][..]));
    }

    #[test]
    fn long_rows_are_merged() {
        let mut state = 7u64;
        let numbers: Vec<f32> = (0..3 * merge::LONG + 17)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 40) % 5000) as f32 - 2500.0
            })
            .collect();
        let mut wanted: Vec<usize> = (0..numbers.len()).collect();
        wanted.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        let order = Cpu.argsort(&value(&numbers, &[numbers.len()]), 0, false).unwrap();
        assert!(order.slice::<i64>().unwrap().iter().zip(&wanted).all(|(&a, &b)| a as usize == b));
    }

    #[test]
    fn distinct_elements() {
        let x = value(&[2.0f32, 1.0, 2.0, f32::NAN, f32::NAN, 1.0], &[2, 3]);
        let found = Cpu.distinct(&x, false).unwrap();
        assert_eq!(found.values.slice::<f32>().unwrap()[..2], [1.0, 2.0]);
        assert_eq!(found.counts.slice::<i64>().unwrap(), [2, 2, 1, 1]);
        assert_eq!(found.inverse.slice::<i64>().unwrap(), [1, 0, 1, 2, 3, 0]);
        assert_eq!(found.inverse.dims(), [2, 3]);
        let runs = Cpu.distinct(&value(&[1i64, 1, 2, 1], &[4]), true).unwrap();
        assert_eq!(runs.values.slice::<i64>().unwrap(), [1, 2, 1]);
    }
}
