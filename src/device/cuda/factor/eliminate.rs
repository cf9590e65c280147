//! Elimination, triangles and Cholesky's method, a block of columns at a time.

use super::{BLOCK, FACTOR, Piece, TILE, portions, threads_for};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cuda::Cuda;
use crate::device::cuda::launch::THREADS;
use crate::device::factor::{Lu, Side, Stack, no_pivot, not_definite, zero_on_diagonal};
use crate::error::Fault;
use crate::layout::DType;

/// A triangular matrix of a batch. Where it is `unit`, its diagonal counts as ones, whatever stands there.
#[derive(Clone, Copy)]
struct Triangle<'a> {
    piece: Piece<'a>,
    lower: bool,
    unit: bool,
}

/// The matrix and the row of a place on a diagonal.
fn on_diagonal(place: usize, size: usize) -> (usize, usize) {
    (place / (size * size), place % (size * size) / size)
}

impl Cuda {
    pub(super) fn eliminated(self, packed: Value, stack: &Stack) -> Result<Lu, Fault> {
        let (size, count) = (stack.rows, stack.count());
        let exchanges = self.blank(stack.with(&[size])?, DType::I64)?;
        if packed.count() == 0 {
            return Ok(Lu { packed, exchanges });
        }
        let a = Piece::of(&packed, size, size);
        for first in (0..size).step_by(BLOCK) {
            let end = (first + BLOCK).min(size);
            let call = self.factor_kernel(&FACTOR, "pivots_f64")?.write(&packed).write(&exchanges).long(size as i64);
            let call = call.long(first as i64).long(end as i64);
            call.grid([count, 1, 1], threads_for(size - first), 0)?;
            self.exchange(count, (&exchanges, size), (a, first), first..end, false)?;
            let (rest, depth) = (size - end, end - first);
            self.exchange(count, (&exchanges, size), (a.from(0, end), rest), first..end, false)?;
            if rest > 0 {
                let triangle = Triangle { piece: a.from(first, first), lower: true, unit: true };
                let right = a.from(first, end);
                self.substitute(count, triangle, depth, right, rest)?;
                let pieces = [a.from(end, first), right, a.from(end, end)];
                self.change(count, [rest, rest, depth], pieces, [-1.0, 1.0], false)?;
            }
        }
        Ok(Lu { packed, exchanges })
    }
    /// Rows of `x`, `width` wide, change places as elimination did in these steps.
    fn exchange(
        self,
        count: usize,
        (exchanges, batch): (&Value, usize),
        (x, width): (Piece<'_>, usize),
        steps: std::ops::Range<usize>,
        backwards: bool,
    ) -> Result<(), Fault> {
        for (first, matrices) in portions(count) {
            let list = Piece { value: exchanges, at: first * batch, row: 1, column: 1, batch };
            let rows = [width, x.row, x.column, x.batch].map(|number| number as u64);
            if width == 0 {
                continue;
            }
            let call = self.factor_kernel(&FACTOR, "exchange_f64")?.read(&list.start()?);
            let call = call.write(&x.after(first).start()?).long(batch as i64).block(&rows);
            let call = call.long(steps.start as i64).long(steps.end as i64).int(backwards as i32);
            call.grid([width.div_ceil(THREADS), 1, matrices], THREADS, 0)?;
        }
        Ok(())
    }
    /// Divides the rows of a block of unknowns by a triangle of at most [`BLOCK`] rows.
    fn substitute(
        self,
        count: usize,
        triangle: Triangle<'_>,
        size: usize,
        x: Piece<'_>,
        width: usize,
    ) -> Result<(), Fault> {
        let Triangle { piece, lower, unit } = triangle;
        let flags = [size as u64 | (lower as u64) << 32, unit as u64];
        let about = [piece.row as u64, piece.column as u64, piece.batch as u64, flags[0], flags[1]];
        let rows = [width, x.row, x.column, x.batch].map(|number| number as u64);
        for (first, matrices) in portions(count) {
            let call = self.factor_kernel(&FACTOR, "substitute_f64")?.read(&piece.after(first).start()?);
            let call = call.write(&x.after(first).start()?).block(&about).block(&rows);
            call.grid([width.div_ceil(TILE), 1, matrices], THREADS, 0)?;
        }
        Ok(())
    }
    /// Replaces `size` rows of `x` by the solution for a triangle.
    fn divide(
        self,
        count: usize,
        triangle: Triangle<'_>,
        size: usize,
        x: Piece<'_>,
        width: usize,
    ) -> Result<(), Fault> {
        let blocks = size.div_ceil(BLOCK);
        for step in 0..blocks {
            let first = BLOCK * if triangle.lower { step } else { blocks - 1 - step };
            let end = (first + BLOCK).min(size);
            let own = Triangle { piece: triangle.piece.from(first, first), ..triangle };
            self.substitute(count, own, end - first, x.from(first, 0), width)?;
            // What these unknowns contribute to the other equations.
            let (from, rest) = if triangle.lower { (end, size - end) } else { (0, first) };
            if rest > 0 {
                let pieces = [triangle.piece.from(from, first), x.from(first, 0), x.from(from, 0)];
                self.change(count, [rest, width, end - first], pieces, [-1.0, 1.0], false)?;
            }
        }
        Ok(())
    }
    /// Zeros on diagonals of square matrices are found out at the next read.
    fn look_for_zeros(
        self,
        a: &Value,
        stack: Stack,
        explain: impl Fn(&str, usize) -> Fault + Send + 'static,
    ) -> Result<(), Fault> {
        let size = stack.rows;
        let explain = move |_, place| {
            let (item, row) = on_diagonal(place, size);
            explain(&stack.name(item), row)
        };
        let check = self.next_check(a, explain)?;
        let diagonal = [size, size + 1, size * size, 0].map(|number| number as u64);
        let call =
            self.factor_kernel(&FACTOR, "zeros_f64")?.read(a).block(&diagonal).write(&check.word).long(check.number);
        call.grid([stack.count(), 1, 1], THREADS, 0)
    }
    /// Where `right` is 0, one of some dense f64 numbers is wrong, which is found out at the next read.
    pub(in crate::device) fn claim(
        self,
        right: &Value,
        numbers: &Value,
        explain: impl Fn(f64, usize) -> Fault + Send + 'static,
    ) -> Result<(), Fault> {
        let (count, each) = (numbers.count(), THREADS);
        let check = self.next_check(numbers, move |bits, place| explain(f64::from_bits(bits as u64), place))?;
        // Pieces of a list are diagonals too; the last one may be shorter.
        for (first, size, pieces) in [(0, each, count / each), (count / each * each, count % each, 1)] {
            let pieces = if size == 0 { 0 } else { pieces };
            let diagonal = [size, 1, each, first].map(|number| number as u64);
            let call = self.factor_kernel(&FACTOR, "zeros_f64")?.read(right).block(&diagonal);
            call.write(&check.word).long(check.number).grid([pieces, 1, 1], THREADS, 0)?;
        }
        Ok(())
    }
    pub(super) fn substituted(self, a: &Value, b: &Value, side: Side) -> Result<Value, Fault> {
        let (stack, width) = (Stack::square(a)?, b.dims().last().copied().unwrap_or(0));
        if b.count() == 0 {
            return self.own(b, "a solution");
        }
        self.look_for_zeros(a, stack, zero_on_diagonal)?;
        let (x, size) = (self.own(b, "a solution")?, stack.rows);
        let triangle = Triangle { piece: Piece::of(a, size, size), lower: side == Side::Lower, unit: false };
        self.divide(stack.count(), triangle, size, Piece::of(&x, size, width), width)?;
        Ok(x)
    }
    pub(super) fn solved(self, lu: &Lu, b: &Value, turned: bool) -> Result<Value, Fault> {
        let stack = Stack::of(b)?;
        let (size, width, count) = (stack.rows, stack.columns, stack.count());
        if b.count() == 0 {
            return Ok(b.clone());
        }
        self.look_for_zeros(&lu.packed, Stack::square(&lu.packed)?, no_pivot)?;
        // What is made after the look is wrong if it finds something.
        let b = self.duplicate(b)?;
        let (packed, exchanges, repeated) = match Stack::square(&lu.packed)?.count() {
            1 => (lu.packed.clone(), lu.exchanges.clone(), true),
            _ => {
                let spread = |value: &Value, sizes: &[usize]| -> Result<Value, Fault> {
                    let layout = value.layout().expanded(&stack.with(sizes)?)?;
                    self.contiguous(&value.with_layout(layout)?)
                };
                (spread(&lu.packed, &[size, size])?, spread(&lu.exchanges, &[size])?, false)
            }
        };
        let batch = if repeated { 0 } else { 1 };
        let piece = Piece { batch: batch * size * size, ..Piece::of(&packed, size, size) };
        let (list, x) = ((&exchanges, batch * size), (Piece::of(&b, size, width), width));
        let upper = Triangle { piece, lower: false, unit: false };
        let lower = Triangle { piece, lower: true, unit: true };
        if turned {
            let first = Triangle { piece: piece.turned(), lower: true, ..upper };
            let second = Triangle { piece: piece.turned(), lower: false, ..lower };
            self.divide(count, first, size, x.0, width)?;
            self.divide(count, second, size, x.0, width)?;
            self.exchange(count, list, x, 0..size, true)?;
        } else {
            self.exchange(count, list, x, 0..size, false)?;
            self.divide(count, lower, size, x.0, width)?;
            self.divide(count, upper, size, x.0, width)?;
        }
        Ok(b)
    }
    pub(super) fn diagonal_products(self, lu: &Lu) -> Result<[Value; 3], Fault> {
        let stack = Stack::square(&lu.packed)?;
        let one = || self.blank(stack.batch, DType::F64);
        let [signs, logarithms, products] = [one()?, one()?, one()?];
        let call = self.factor_kernel(&FACTOR, "determinants_f64")?.read(&lu.packed).read(&lu.exchanges);
        let call = call.write(&signs).write(&logarithms).write(&products).long(stack.rows as i64);
        call.grid([stack.count(), 1, 1], threads_for(stack.rows), 0)?;
        Ok([signs, logarithms, products])
    }
    /// Cholesky's triangle, in place of a matrix that nobody else holds.
    pub(super) fn root(self, a: Value, stack: &Stack) -> Result<Value, Fault> {
        let (size, count) = (stack.rows, stack.count());
        if a.count() == 0 {
            return Ok(a);
        }
        let own = *stack;
        let explain = move |_, place| {
            let (item, row) = on_diagonal(place, size);
            not_definite(&own.name(item), row + 1)
        };
        let check = self.next_check(&a, explain)?;
        let piece = Piece::of(&a, size, size);
        for first in (0..size).step_by(BLOCK) {
            let end = (first + BLOCK).min(size);
            let call = self.factor_kernel(&FACTOR, "root_f64")?.write(&a).long(size as i64).long(first as i64);
            let call = call.long(end as i64).write(&check.word).long(check.number);
            call.grid([count, 1, 1], threads_for((end - first) * 4), 0)?;
            let (rest, depth) = (size - end, end - first);
            if rest > 0 {
                // The rows below times the inverse of the triangle's transpose: as columns, they are divided by the triangle.
                let triangle = Triangle { piece: piece.from(first, first), lower: true, unit: false };
                let below = piece.from(end, first);
                self.substitute(count, triangle, depth, below.turned(), rest)?;
                let pieces = [below, below.turned(), piece.from(end, end)];
                self.change(count, [rest, rest, depth], pieces, [-1.0, 1.0], true)?;
            }
        }
        self.triangle(&a, true, 0)
    }
}
