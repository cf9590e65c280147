//! Matrices taken apart: `kernels/factor.cu`, `qr.cu`, `spectrum.cu`, `singular.cu`, `eigen.cu`. All is computed in f64, as on the CPU.
//!
//! A block of columns is taken apart by one block of threads for each matrix; the rest of the matrix then changes by one
//! product. A singular matrix, and others that have no parts, are found out at the next read.

mod eliminate;
mod reflect;
mod spectrum;

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::factor::{Factor, Lu, Side, Stack, floats, precision};
use crate::device::matmul::{Joined, Matmul};
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Layout, Shape};

const FACTOR: Source = source!("factor");

/// Columns that are taken apart before the rest of the matrix hears of it: as the kernels have it.
const BLOCK: usize = 32;
/// Rows and columns of a tile of a product.
const TILE: usize = 64;
/// Blocks along the second and third axis of a grid.
const MOST: usize = 65_535;

formula_struct!([] ReciprocalFormula reciprocal(x, most)(relative) { select(gt(x, most * relative), 1.0 / x, 0.0) });
formula_struct!([] TimesFormula times(x, y)() { x * y });

/// Matrices of a batch as they lie: the place of the first one's first element, the steps to the next row, column and matrix.
#[derive(Clone, Copy)]
struct Piece<'a> {
    value: &'a Value,
    at: usize,
    row: usize,
    column: usize,
    batch: usize,
}

impl<'a> Piece<'a> {
    /// Dense matrices of a batch.
    fn of(value: &'a Value, rows: usize, columns: usize) -> Piece<'a> {
        Piece { value, at: 0, row: columns, column: 1, batch: rows * columns }
    }
    /// From a row and a column on.
    fn from(self, row: usize, column: usize) -> Piece<'a> {
        Piece { at: self.at + row * self.row + column * self.column, ..self }
    }
    /// From a matrix on.
    fn after(self, matrices: usize) -> Piece<'a> {
        Piece { at: self.at + matrices * self.batch, ..self }
    }
    /// Rows and columns exchanged.
    fn turned(self) -> Piece<'a> {
        Piece { row: self.column, column: self.row, ..self }
    }
    /// A value that begins at its first element.
    fn start(&self) -> Result<Value, Fault> {
        let at = self.value.layout().offset() + self.at;
        self.value.with_layout(Layout::from_parts(Shape::new(&[1])?, &[1], at))
    }
}

/// Parts of a batch that a launch takes along its third axis: the first of each, and how many.
fn portions(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(MOST).map(move |first| (first, (count - first).min(MOST)))
}

/// Threads of a block that works on this many rows.
fn threads_for(rows: usize) -> usize {
    rows.next_power_of_two().clamp(32, THREADS)
}

/// The last two axes exchanged.
fn turned(x: &Value) -> Result<Value, Fault> {
    let rank = x.rank();
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(rank - 1, rank - 2);
    x.with_layout(x.layout().permuted(&order))
}

impl Cuda {
    fn factor_kernel(self, source: &Source, name: &str) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(source, name)?))
    }
    /// Dense f64 matrices of floats, which may be those given.
    fn wide(self, x: &Value, what: &str) -> Result<Value, Fault> {
        floats(x, what)?;
        self.contiguous(&self.cast(x, DType::F64)?)
    }
    /// The same, to be written over.
    fn own(self, x: &Value, what: &str) -> Result<Value, Fault> {
        floats(x, what)?;
        if x.dtype() == DType::F64 { self.duplicate(x) } else { self.wide(x, what) }
    }
    /// Ones on the diagonals of matrices, zeros elsewhere.
    fn identities(self, shape: Shape) -> Result<Value, Fault> {
        let ones = self.full(shape, DType::F64, 1.0)?;
        self.triangle(&self.triangle(&ones, true, 0)?, false, 0)
    }
    /// `c ← alpha · a · b + beta · c` for matrices of a batch; with `lower`, tiles above the diagonal stay.
    fn change(
        self,
        count: usize,
        [rows, columns, depth]: [usize; 3],
        [a, b, c]: [Piece<'_>; 3],
        [alpha, beta]: [f64; 2],
        lower: bool,
    ) -> Result<(), Fault> {
        for (first, matrices) in portions(count) {
            for start in (0..columns).step_by(MOST * TILE) {
                let (columns, b, c) = ((columns - start).min(MOST * TILE), b.from(0, start), c.from(0, start));
                let sizes = [rows, columns, depth, a.row, a.column, b.row, b.column, c.row, c.column];
                let words = sizes.into_iter().chain([a.batch, b.batch, c.batch]).map(|number| number as u64);
                let words = words.chain([alpha.to_bits(), beta.to_bits(), lower as u64]).collect::<Vec<_>>();
                let [a, b, c] = [a, b, c].map(|piece| piece.after(first).start());
                let call = self.factor_kernel(&FACTOR, "multiply_f64")?.read(&a?).read(&b?).write(&c?).block(&words);
                call.grid([rows.div_ceil(TILE), columns.div_ceil(TILE), matrices], THREADS, 0)?;
            }
        }
        Ok(())
    }
}

impl Factor for Cuda {
    fn qr(&self, a: &Value) -> Result<(Value, Value), Fault> {
        let stack = Stack::of(a)?;
        let [q, r] = self.orthonormal(&self.own(a, "the factorisation")?, &stack)?;
        Ok((self.cast(&q, a.dtype())?, self.cast(&r, a.dtype())?))
    }
    fn solve_triangular(&self, a: &Value, b: &Value, side: Side) -> Result<Value, Fault> {
        let x = self.substituted(&self.wide(a, "a solution")?, b, side)?;
        self.cast(&x, a.dtype())
    }
    fn lu(&self, a: &Value) -> Result<Lu, Fault> {
        let stack = Stack::square(a)?;
        self.eliminated(self.own(a, "elimination")?, &stack)
    }
    fn solve_lu(&self, lu: &Lu, b: &Value, turned: bool) -> Result<Value, Fault> {
        self.cast(&self.solved(lu, &self.wide(b, "a solution")?, turned)?, b.dtype())
    }
    fn inverse(&self, lu: &Lu, dtype: DType) -> Result<Value, Fault> {
        let ones = self.identities(*lu.packed.shape())?;
        self.cast(&self.solved(lu, &ones, false)?, dtype)
    }
    fn determinants(&self, lu: &Lu, dtype: DType) -> Result<[Value; 3], Fault> {
        let [sign, logarithm, product] = self.diagonal_products(lu)?;
        Ok([self.cast(&sign, dtype)?, self.cast(&logarithm, dtype)?, self.cast(&product, dtype)?])
    }
    fn cholesky(&self, a: &Value) -> Result<Value, Fault> {
        let stack = Stack::square(a)?;
        self.cast(&self.root(self.own(a, "the factorisation")?, &stack)?, a.dtype())
    }
    fn svd(&self, a: &Value) -> Result<[Value; 3], Fault> {
        let [u, values, vt] = self.singular(a)?;
        Ok([self.cast(&u, a.dtype())?, self.cast(&values, a.dtype())?, self.cast(&vt, a.dtype())?])
    }
    fn symmetric_eigen(&self, a: &Value) -> Result<[Value; 2], Fault> {
        let [values, vectors] = self.eigen(a)?;
        Ok([self.cast(&values, a.dtype())?, self.cast(&vectors, a.dtype())?])
    }
    fn pseudo_inverse(&self, a: &Value) -> Result<Value, Fault> {
        let stack = Stack::of(a)?;
        let [u, values, vt] = self.singular(a)?;
        if values.count() == 0 {
            return self.full(stack.with(&[stack.columns, stack.rows])?, a.dtype(), 0.0);
        }
        let reciprocals = self.reciprocals(&values, &stack, precision(a))?;
        let column = Shape::new(&[values.dims(), &[1]].concat())?;
        let column = reciprocals.with_layout(Layout::contiguous(column))?;
        let scaled = self.formula(&TimesFormula {}, [&vt, &column])?;
        self.cast(&self.matmul(&turned(&scaled)?, &turned(&u)?, Joined::default())?, a.dtype())
    }
    fn rank(&self, a: &Value) -> Result<Value, Fault> {
        floats(a, "the rank")?;
        let stack = Stack::of(a)?;
        let [_, values, _] = self.singular(a)?;
        if values.count() == 0 {
            return self.full(stack.batch, DType::I64, 0.0);
        }
        let reciprocals = self.reciprocals(&values, &stack, precision(a))?;
        self.count_nonzero(&reciprocals, &[values.rank() - 1], false)
    }
}

impl Cuda {
    /// The reciprocals of singular values, descending along the last axis; 0 for those that count as 0.
    fn reciprocals(self, values: &Value, stack: &Stack, precision: f64) -> Result<Value, Fault> {
        let mut first = values.dims().to_vec();
        first[values.rank() - 1] = 1;
        let most = Layout::from_parts(Shape::new(&first)?, values.layout().strides(), values.layout().offset());
        let relative = precision * stack.rows.max(stack.columns) as f64;
        self.formula(&ReciprocalFormula { relative }, [values, &values.with_layout(most)?])
    }
}
