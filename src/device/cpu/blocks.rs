//! How any operands reach a loop over plain slices.
//!
//! Dense operands of one shape go to the loop as they are. Else the result is computed in blocks that stay in the nearest
//! cache: rows, repeated elements and other element types are laid out in a buffer for each operand, which is kept as long
//! as it stays right, so that a row or a scalar is never spread out in memory and hardly ever in the cache.

use super::cast::Half;
use super::past::{self, Room};
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::elementwise::{Axes, MOST};
use crate::error::Fault;
use crate::layout::{DType, Element, Layout, MAX_RANK, Shape};
use half::{bf16, f16};
use smallvec::SmallVec;

/// Elements that one part of the work handles.
const CHUNK: usize = 16 * 1024;
/// Elements of a block, and of one for small results, whose buffers take no time to clear.
const BLOCK: usize = 1024;
const SMALL: usize = 64;

/// A loop: operands as long as the result, and the result. (A trait of our own: behind `dyn Fn` stand more functions,
/// compiled for each loop.)
pub(super) trait Loop<T>: Sync {
    fn run(&self, inputs: &[&[T]], out: &mut [T]);
    /// Does it wait for memory and hardly for its own arithmetic?
    fn is_light(&self) -> bool {
        false
    }
}

/// An element type that loops compute in.
pub(super) trait Compute: Element {
    /// From a truth value.
    fn from_bool(x: bool) -> Self;
    /// From half precision; only f32 computes for it.
    fn widen<H: Half>(source: &[H], out: &mut [Self]);
    /// To half precision.
    fn narrow<H: Half>(source: &[Self], out: &mut [H]);
}

impl Compute for f32 {
    #[inline(always)]
    fn from_bool(x: bool) -> f32 {
        x as u8 as f32
    }
    fn widen<H: Half>(source: &[H], out: &mut [f32]) {
        H::widen(source, out);
    }
    fn narrow<H: Half>(source: &[f32], out: &mut [H]) {
        H::narrow(source, out);
    }
}
macro_rules! compute {
    ($($t:ty)*) => { $(
        impl Compute for $t {
            #[inline(always)]
            fn from_bool(x: bool) -> $t { x as u8 as $t }
            fn widen<H: Half>(source: &[H], out: &mut [$t]) {
                for (out, x) in out.iter_mut().zip(source) {
                    *out = <$t>::from_f64(x.to_f64());
                }
            }
            fn narrow<H: Half>(source: &[$t], out: &mut [H]) {
                for (out, x) in out.iter_mut().zip(source) {
                    // by way of f32, so that the result is that of f32, rounded once
                    *out = H::from_f64(x.to_f64() as f32 as f64);
                }
            }
        }
    )* };
}
compute! { f64 i64 u8 }

/// Runs a loop over operands that broadcast to the result, computing in `T` and storing in `result`: `T` itself, bool,
/// or a narrower float.
#[inline]
pub(super) fn run<T: Compute>(operands: &[&Value], result: DType, kernel: &dyn Loop<T>) -> Result<Value, Fault> {
    if result == T::DTYPE
        && let Some(value) = plain(operands, kernel).or_else(|| beside_numbers(operands, kernel))
    {
        return value;
    }
    general(operands, result, kernel)
}

/// Dense operands of one shape, which need no preparation.
#[inline]
fn plain<T: Compute>(operands: &[&Value], kernel: &dyn Loop<T>) -> Option<Result<Value, Fault>> {
    let shape = operands[0].shape();
    let mut slices: [&[T]; MOST] = [&[]; MOST];
    for (slice, operand) in slices.iter_mut().zip(operands) {
        if operand.shape() != shape {
            return None;
        }
        *slice = operand.slice::<T>()?;
    }
    let slices = &slices[..operands.len()];
    Some(Value::build::<T>(*shape, |out| {
        if out.len() <= CHUNK {
            return kernel.run(slices, out);
        }
        let far = past::is_far(size_of_val(out), kernel.is_light());
        parallel::chunks(out, CHUNK, slices.len() + 1, |index, out| {
            let first = index * CHUNK;
            let mut pieces: [&[T]; MOST] = [&[]; MOST];
            for (piece, slice) in pieces.iter_mut().zip(slices) {
                *piece = &slice[first..first + out.len()];
            }
            let pieces = &pieces[..slices.len()];
            Room::of(far).fill(out, pieces, &mut |from, out| {
                let mut parts: [&[T]; MOST] = [&[]; MOST];
                for (part, piece) in parts.iter_mut().zip(pieces) {
                    *part = &piece[from..from + out.len()];
                }
                kernel.run(&parts[..pieces.len()], out);
            });
        });
    }))
}

/// A small result of operands that are dense in its shape and of numbers that are the same at all its places.
#[inline(never)]
fn beside_numbers<T: Compute>(operands: &[&Value], kernel: &dyn Loop<T>) -> Option<Result<Value, Fault>> {
    let shape = *operands.iter().find(|operand| operand.count() > 1)?.shape();
    let count = shape.count();
    if count > SMALL {
        return None;
    }
    let mut repeated = [[T::from_bool(false); SMALL]; MOST];
    let mut slices: [&[T]; MOST] = [&[]; MOST];
    for ((slice, repeated), operand) in slices.iter_mut().zip(&mut repeated).zip(operands) {
        let fits = *operand.shape() == shape;
        *slice = match operand.slice::<T>() {
            Some(dense) if fits => dense,
            _ => {
                let is_number = fits || operand.count() == 1 && operand.rank() <= shape.len();
                let data = operand.strided::<T>().ok()?;
                let layout = data.layout;
                if !is_number || layout.dims().iter().zip(layout.strides()).any(|(&size, &step)| size > 1 && step != 0)
                {
                    return None;
                }
                repeated[..count].fill(*data.data.get(layout.offset())?);
                &repeated[..count]
            }
        };
    }
    Some(Value::build::<T>(shape, |out| kernel.run(&slices[..operands.len()], out)))
}

#[inline(never)]
fn general<T: Compute>(operands: &[&Value], result: DType, kernel: &dyn Loop<T>) -> Result<Value, Fault> {
    let mut shape = *operands[0].shape();
    for operand in &operands[1..] {
        shape = shape.broadcast(operand.shape())?;
    }
    // what a block cannot convert or read in rows is made dense in the right element type before
    let mut ready = SmallVec::<[Value; MOST]>::new();
    for operand in operands {
        let mut operand = (*operand).clone();
        let direct = match operand.dtype() {
            DType::Bool => true,
            DType::F32 => matches!(T::DTYPE, DType::F32 | DType::F64),
            half if half.is_half() => T::DTYPE == DType::F32,
            other => other == T::DTYPE,
        };
        if !direct {
            operand = Cpu.cast(&operand, T::DTYPE)?;
        }
        if !has_rows(operand.layout()) {
            operand = Cpu.contiguous(&operand)?;
        }
        ready.push(operand);
    }
    let walk = Walk::new(&shape, &ready)?;
    match result {
        DType::Bool => walk.fill::<T, bool>(shape, kernel, |source, out| {
            let zero = T::from_bool(false);
            for (out, x) in out.iter_mut().zip(source) {
                *out = *x != zero;
            }
        }),
        // Only floats are rounded. (Constants, so that what nobody runs is not compiled.)
        DType::BF16 if const { T::DTYPE.is_float() } => walk.fill::<T, bf16>(shape, kernel, T::narrow),
        DType::F16 if const { T::DTYPE.is_float() } => walk.fill::<T, f16>(shape, kernel, T::narrow),
        DType::F32 if const { matches!(T::DTYPE, DType::F64) } => walk.fill::<T, f32>(shape, kernel, |source, out| {
            for (out, x) in out.iter_mut().zip(source) {
                *out = x.to_f64() as f32;
            }
        }),
        _ => walk.fill_directly::<T>(shape, kernel),
    }
}

/// Does the innermost axis that matters go forward by single steps, or stand still?
fn has_rows(layout: &Layout) -> bool {
    let inner = (0..layout.rank()).rev().find(|&axis| layout.dims()[axis] != 1);
    inner.is_none_or(|axis| matches!(layout.strides()[axis], 0 | 1))
}

/// An operand's elements, in a type that blocks can convert.
#[derive(Clone, Copy)]
enum Source<'a, T> {
    Same(&'a [T]),
    Bool(&'a [bool]),
    Single(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

/// One operand of the walk.
#[derive(Clone, Copy)]
struct Operand<'a, T> {
    source: Source<'a, T>,
    offset: usize,
    strides: [isize; MAX_RANK],
    /// All elements are dense in the order of the walk.
    dense: bool,
    /// Only the innermost axis moves, if any: every row is the same.
    one_row: bool,
}

impl<T: Compute> Operand<'_, T> {
    /// Puts elements that stand in a row.
    fn row(&self, start: usize, out: &mut [T]) {
        let end = start + out.len();
        match self.source {
            Source::Same(source) => out.copy_from_slice(&source[start..end]),
            Source::Bf16(source) => T::widen(&source[start..end], out),
            Source::F16(source) => T::widen(&source[start..end], out),
            Source::Single(source) => {
                for (out, x) in out.iter_mut().zip(&source[start..end]) {
                    *out = T::from_f64(*x as f64);
                }
            }
            Source::Bool(source) => {
                for (out, x) in out.iter_mut().zip(&source[start..end]) {
                    *out = T::from_bool(*x);
                }
            }
        }
    }
    /// Repeats one element.
    fn repeat(&self, at: usize, out: &mut [T]) {
        let mut one = [T::from_bool(false)];
        self.row(at, &mut one);
        out.fill(one[0]);
    }
}

/// The operands of the walk.
struct Operands<'a, T> {
    all: [Operand<'a, T>; MOST],
    count: usize,
}

/// The way through the result: its axes, joined where all operands allow it.
struct Walk<'a> {
    values: &'a [Value],
    sizes: SmallVec<[usize; MAX_RANK]>,
    strides: SmallVec<[[isize; MAX_RANK]; MOST]>,
    chunk: usize,
    /// Elements of a block.
    block: usize,
}

impl<'a> Walk<'a> {
    fn new(shape: &Shape, values: &'a [Value]) -> Result<Walk<'a>, Fault> {
        let Axes { sizes, strides } = Axes::new(shape, values)?;
        let row = sizes[sizes.len() - 1].max(1);
        // short rows are never cut
        let chunk = if row < CHUNK { CHUNK / row * row } else { CHUNK };
        let block = if shape.count() <= SMALL { SMALL } else { BLOCK };
        Ok(Walk { values, sizes, strides, chunk, block })
    }
    /// Are rows so short that a block holds several?
    fn has_short_rows(&self) -> bool {
        self.sizes[self.sizes.len() - 1] <= self.block / 4
    }

    fn operands<T: Compute>(&self) -> Result<Operands<'a, T>, Fault> {
        let inner = self.sizes.len() - 1;
        let none = Operand { source: Source::Same(&[]), offset: 0, strides: [0; MAX_RANK], dense: true, one_row: true };
        let (mut all, count) = ([none; MOST], self.values.len());
        for (k, (value, strides)) in self.values.iter().zip(&self.strides).enumerate() {
            let source = match value.dtype() {
                DType::Bool if T::DTYPE != DType::Bool => Source::Bool(value.strided()?.data),
                DType::F32 if T::DTYPE != DType::F32 => Source::Single(value.strided()?.data),
                DType::BF16 => Source::Bf16(value.strided()?.data),
                DType::F16 => Source::F16(value.strided()?.data),
                _ => Source::Same(value.strided()?.data),
            };
            let mut expected = 1;
            let mut dense = true;
            for axis in (0..=inner).rev() {
                dense &= strides[axis] == expected || self.sizes[axis] == 1;
                expected *= self.sizes[axis] as isize;
            }
            let one_row = strides[..inner].iter().all(|&stride| stride == 0);
            all[k] = Operand { source, offset: value.layout().offset(), strides: *strides, dense, one_row };
        }
        Ok(Operands { all, count })
    }

    /// Computes a result of the loop's own type.
    fn fill_directly<T: Compute>(&self, shape: Shape, kernel: &dyn Loop<T>) -> Result<Value, Fault> {
        let operands = self.operands::<T>()?;
        Value::build::<T>(shape, |out| {
            let far = past::is_far(size_of_val(out), kernel.is_light());
            parallel::chunks(out, self.chunk, operands.count + 1, |index, out| {
                self.with_blocks(&operands, index * self.chunk, &mut |blocks| {
                    let (mut room, mut done) = (Room::of(far), 0);
                    while done < out.len() {
                        let rest = out.len() - done;
                        let count = blocks.next(room.most().map_or(rest, |most| rest.min(most)));
                        blocks.run(&mut out[done..done + count], kernel, &mut room);
                        done += count;
                    }
                });
            });
        })
    }

    /// Computes a result that is stored in another type.
    fn fill<T: Compute, O: Element>(
        &self,
        shape: Shape,
        kernel: &dyn Loop<T>,
        store: impl Fn(&[T], &mut [O]) + Sync,
    ) -> Result<Value, Fault> {
        let operands = self.operands::<T>()?;
        Value::build::<O>(shape, |out| {
            parallel::chunks(out, self.chunk, operands.count + 1, |index, out| {
                let mut block = [T::from_bool(false); BLOCK];
                self.with_blocks(&operands, index * self.chunk, &mut |blocks| {
                    let (mut room, mut done) = (Room::of(false), 0);
                    while done < out.len() {
                        let count = blocks.next((out.len() - done).min(BLOCK));
                        blocks.run(&mut block[..count], kernel, &mut room);
                        store(&block[..count], &mut out[done..done + count]);
                        done += count;
                    }
                });
            });
        })
    }

    /// Blocks from `position` of the result on, with room for those operands that are laid out.
    #[inline(never)]
    fn with_blocks<T: Compute>(
        &self,
        operands: &Operands<'_, T>,
        position: usize,
        work: &mut dyn FnMut(&mut Blocks<'_, T>),
    ) {
        let operands = &operands.all[..operands.count];
        let zero = T::from_bool(false);
        let laid_out = operands.iter().filter(|operand| self.lays_out(operand)).count();
        // Large blocks' room takes longer to clear than to get.
        let (mut few, mut many);
        let room: &mut [T] = if self.block == SMALL {
            few = [zero; SMALL * MOST];
            &mut few
        } else {
            many = vec![zero; laid_out * self.block];
            &mut many
        };
        work(&mut Blocks::new(self, operands, position, room));
    }
    /// Is an operand laid out in a buffer? Most are read where they lie.
    fn lays_out<T>(&self, operand: &Operand<'_, T>) -> bool {
        let steps = operand.strides[self.sizes.len() - 1] != 0 && !self.has_short_rows();
        !(matches!(operand.source, Source::Same(_)) && (operand.dense || steps))
    }
}

/// The operands of one block after another.
struct Blocks<'a, T> {
    walk: &'a Walk<'a>,
    operands: &'a [Operand<'a, T>],
    /// Rooms of a block's size for those operands that are laid out, in their order.
    buffers: &'a mut [T],
    /// What a buffer holds: the position of its first element and how many there are, where it is worth keeping.
    held: [Option<(usize, usize)>; MOST],
    /// Where each operand's slice of this block comes from.
    from: [From; MOST],
    /// The row that is next: its place along each axis, and where it begins in each operand.
    place: [usize; MAX_RANK],
    starts: [isize; MOST],
    /// Elements of it that were done before.
    inside: usize,
}

/// Elements of an operand from here on, or the buffer of this number.
#[derive(Clone, Copy)]
enum From {
    Place(usize),
    Buffer(usize),
}

impl<'a, T: Compute> Blocks<'a, T> {
    /// From `position` of the result on.
    fn new(walk: &'a Walk<'a>, operands: &'a [Operand<'a, T>], position: usize, buffers: &'a mut [T]) -> Self {
        let inner = walk.sizes.len() - 1;
        let (mut row, inside) = (position / walk.sizes[inner].max(1), position % walk.sizes[inner].max(1));
        let (mut place, mut starts) = ([0; MAX_RANK], [0; MOST]);
        for axis in (0..inner).rev() {
            place[axis] = row % walk.sizes[axis];
            row /= walk.sizes[axis];
        }
        let (mut laid_out, mut from) = (0, [From::Place(0); MOST]);
        for (k, operand) in operands.iter().enumerate() {
            let along = place.iter().zip(&operand.strides).map(|(&at, &stride)| at as isize * stride);
            starts[k] = operand.offset as isize + along.sum::<isize>();
            if walk.lays_out(operand) {
                from[k] = From::Buffer(laid_out);
                laid_out += 1;
            }
        }
        let buffers = &mut buffers[..laid_out * walk.block];
        Blocks { walk, operands, buffers, held: [None; MOST], from, place, starts, inside }
    }

    /// Prepares the operands of the next block; gives its length, at most `rest`.
    fn next(&mut self, rest: usize) -> usize {
        let row = self.walk.sizes[self.walk.sizes.len() - 1];
        // Long rows are cut into blocks, short ones put together; a part of the work begins with a whole row.
        if self.walk.has_short_rows() {
            let count = self.walk.block.min(rest) / row * row;
            self.prepare_rows(row, count);
            return count;
        }
        let most = if self.buffers.is_empty() { rest } else { rest.min(self.walk.block) };
        let count = (row - self.inside).min(most);
        for k in 0..self.operands.len() {
            self.prepare(k, count);
        }
        self.inside += count;
        if self.inside == row {
            self.inside = 0;
            self.advance();
        }
        count
    }

    /// To the next row.
    fn advance(&mut self) {
        let sizes = &self.walk.sizes;
        for axis in (0..sizes.len() - 1).rev() {
            self.place[axis] += 1;
            let over = self.place[axis] == sizes[axis];
            for (start, operand) in self.starts.iter_mut().zip(self.operands) {
                let back = if over { sizes[axis] as isize } else { 0 };
                *start += operand.strides[axis] * (1 - back);
            }
            if !over {
                return;
            }
            self.place[axis] = 0;
        }
    }

    /// A row, or a part of one.
    fn prepare(&mut self, k: usize, count: usize) {
        let operand = &self.operands[k];
        let steps = operand.strides[self.walk.sizes.len() - 1] != 0;
        let start = self.starts[k] as usize + if steps { self.inside } else { 0 };
        let From::Buffer(buffer) = self.from[k] else {
            self.from[k] = From::Place(start);
            return;
        };
        if self.held[buffer].is_none_or(|(from, length)| from != start || length < count) {
            let buffer = &mut self.buffers[buffer * self.walk.block..][..count];
            if steps { operand.row(start, buffer) } else { operand.repeat(start, buffer) }
        }
        self.held[buffer] = Some((start, count));
    }

    /// Whole rows, `count` elements together.
    fn prepare_rows(&mut self, row: usize, count: usize) {
        for (k, operand) in self.operands.iter().enumerate() {
            let start = self.starts[k] as usize;
            match self.from[k] {
                From::Place(_) => self.from[k] = From::Place(start),
                From::Buffer(buffer) if operand.dense => {
                    operand.row(start, &mut self.buffers[buffer * self.walk.block..][..count]);
                }
                From::Buffer(_) => {}
            }
        }
        for first in (0..count).step_by(row) {
            for (k, operand) in self.operands.iter().enumerate() {
                let From::Buffer(buffer) = self.from[k] else { continue };
                // A row that all rows share is laid out once.
                if operand.dense || operand.one_row && self.held[buffer].is_some_and(|(_, length)| length > first) {
                    continue;
                }
                let start = self.starts[k] as usize;
                let part = &mut self.buffers[buffer * self.walk.block + first..][..row];
                let steps = operand.strides[self.walk.sizes.len() - 1] != 0;
                if steps {
                    operand.row(start, part)
                } else {
                    operand.repeat(start, part)
                }
                self.held[buffer] = operand.one_row.then_some((start, first + row));
            }
            self.advance();
        }
    }

    /// Computes this block of the result, by way of `room`.
    #[inline]
    fn run(&self, out: &mut [T], kernel: &dyn Loop<T>, room: &mut Room<T>) {
        let mut slices: [&[T]; MOST] = [&[]; MOST];
        for (k, slice) in slices.iter_mut().enumerate().take(self.operands.len()) {
            *slice = match (self.from[k], self.operands[k].source) {
                (From::Place(start), Source::Same(source)) => &source[start..start + out.len()],
                (From::Buffer(buffer), _) => &self.buffers[buffer * self.walk.block..][..out.len()],
                // What is not of the loop's own type has a buffer.
                (From::Place(_), _) => &[],
            };
        }
        let slices = &slices[..self.operands.len()];
        room.fill(out, slices, &mut |_, out| kernel.run(slices, out));
    }
}

#[cfg(test)]
mod tests {
    use crate::Tensor;

    #[test]
    fn what_no_cache_holds_is_what_its_parts_are() -> crate::Result<()> {
        // 36 MB: dense operands, a row and a number for each row, each beside the same for a few rows alone.
        let (rows, columns) = (3000, 3001);
        let numbers: Vec<f32> = (0..rows * columns).map(|i| (i % 1009) as f32 * 0.37 - 170.0).collect();
        let x = Tensor::from_vec(numbers, [rows, columns])?;
        let row = Tensor::arange(columns).to_dtype(crate::DType::F32);
        let column = Tensor::arange(rows).to_dtype(crate::DType::F32).reshape([rows, 1]);
        for (first, count) in [(0, 3), (1499, 2), (rows - 1, 1)] {
            let few = |x: &Tensor| x.narrow(0, first, count);
            let pairs = [
                (few(&(&x + &x)), few(&x) + few(&x)),
                (few(&(&x * &row)), few(&x) * &row),
                (few(&(&column - &x)), few(&column) - few(&x)),
                (few(&x.relu()), few(&x).relu()),
            ];
            for (whole, part) in pairs {
                assert_eq!(whole.to_vec::<f32>()?, part.to_vec::<f32>()?, "{count} rows from {first} on");
            }
        }
        Ok(())
    }
}
