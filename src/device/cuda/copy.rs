//! Elements put elsewhere: `kernels/copy.cu`.

use super::Cuda;
use super::launch::{THREADS, joined};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::error::Fault;
use crate::layout::{DType, Element, Layout, Shape, dispatch};

const COPY: Source = source!("copy");

/// Rows and columns of a tile that `copy_turned` turns.
const TILE: usize = 32;
/// Blocks along the second and third axis of a grid.
const MOST: usize = 65_535;

impl Cuda {
    /// A new value of one number everywhere.
    pub(in crate::device) fn full(self, shape: Shape, dtype: DType, number: f64) -> Result<Value, Fault> {
        let out = self.blank(shape, dtype)?;
        self.fill(&out, number)?;
        Ok(out)
    }
    /// Writes one number into every element of a dense value.
    fn fill(self, out: &Value, number: f64) -> Result<(), Fault> {
        let size = out.dtype().size();
        let word = dispatch!(out.dtype(), T => bits(T::from_f64(number)));
        let kernel = self.kernel(&COPY, &format!("fill_{size}"))?;
        self.call(kernel).write(out).wide(out.count() as i64).word(word, size).over(out.count())
    }
    /// Writes the elements of `from` at the places of `to`, which has as many: a new value, or a part of one.
    fn put(self, to: &Value, from: &Value) -> Result<(), Fault> {
        let (size, count) = (from.dtype().size(), from.count());
        if to.is_contiguous() && from.is_contiguous() {
            return self.copy(to, from);
        }
        if to.is_contiguous() {
            if let Some(turned) = Turned::of(from.layout()) {
                let kernel = self.kernel(&COPY, &format!("copy_turned_{size}"))?;
                let Turned { batches, rows, columns, from_batch, from_column } = turned;
                let call = self.call(kernel).read(from).write(to).wide(rows as i64).wide(columns as i64);
                let grid = [columns.div_ceil(TILE), rows.div_ceil(TILE), batches];
                return call.wide(from_batch).wide(from_column).grid(grid, THREADS, 0);
            }
            let kernel = self.kernel(&COPY, &format!("copy_strided_{size}"))?;
            return self.call(kernel).read(from).write(to).wide(count as i64).view(from.layout()).over(count);
        }
        let kernel = self.kernel(&COPY, &format!("copy_into_{size}"))?;
        let call = self.call(kernel).read(from).write(to).wide(count as i64);
        call.view(from.layout()).view(to.layout()).over(count)
    }
}

/// A batch of matrices whose rows are columns of memory, `columns` of them next to each other: `rows` numbers of one lie in a row.
struct Turned {
    batches: usize,
    rows: usize,
    columns: usize,
    from_batch: i64,
    from_column: i64,
}

impl Turned {
    /// A view as such a batch, where a tile of it is not mostly empty.
    fn of(layout: &Layout) -> Option<Turned> {
        let axes = joined(layout);
        let ((batches, from_batch), (rows, 1), (columns, from_column)) = (match axes[..] {
            [rows, columns] => ((1, 0), rows, columns),
            [batch, rows, columns] => (batch, rows, columns),
            _ => return None,
        }) else {
            return None;
        };
        let [batches, rows, columns] = [batches, rows, columns].map(|size| size as usize);
        let fits = rows.min(columns) >= TILE / 2 && rows.div_ceil(TILE) <= MOST && batches <= MOST;
        fits.then_some(Turned { batches, rows, columns, from_batch, from_column })
    }
}

/// The bits of a number, in the lowest bytes.
fn bits<T: Element>(number: T) -> u64 {
    // SAFETY: an element is `size` plain bytes, at most eight.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const number).cast::<u8>(), size_of::<T>()) };
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | byte as u64)
}

impl Arrange for Cuda {
    fn contiguous(&self, x: &Value) -> Result<Value, Fault> {
        if x.is_contiguous() { Ok(x.clone()) } else { self.duplicate(x) }
    }
    fn duplicate(&self, x: &Value) -> Result<Value, Fault> {
        let out = self.blank(*x.shape(), x.dtype())?;
        self.put(&out, x)?;
        Ok(out)
    }
    fn cast(&self, x: &Value, dtype: DType) -> Result<Value, Fault> {
        if x.dtype() == dtype {
            return Ok(x.clone());
        }
        let x = self.contiguous(x)?;
        let out = self.blank(*x.shape(), dtype)?;
        let kernel = self.kernel(&COPY, &format!("cast_{}_{dtype}", x.dtype()))?;
        self.call(kernel).read(&x).write(&out).wide(x.count() as i64).over(x.count())?;
        Ok(out)
    }
    fn join(&self, parts: &[&Value], axis: usize) -> Result<Value, Fault> {
        let Some(first) = parts.first() else {
            return Err(Fault::value("nothing to join", "give at least one tensor"));
        };
        let mut sizes = first.shape().to_vec();
        sizes[axis] = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.dims()[axis]));
        let whole = Layout::contiguous(Shape::new(&sizes)?);
        let out = self.blank(*whole.shape(), first.dtype())?;
        let mut start = 0;
        for part in parts {
            let offset = start * whole.strides()[axis] as usize;
            self.put(&out.with_layout(Layout::from_parts(*part.shape(), whole.strides(), offset))?, part)?;
            start += part.dims()[axis];
        }
        Ok(out)
    }
    fn place(&self, x: &Value, shape: Shape, part: &Layout, fill: f64) -> Result<Value, Fault> {
        let out = self.blank(shape, x.dtype())?;
        if part.count() < shape.count() {
            self.fill(&out, fill)?;
        }
        self.put(&out.with_layout(*part)?, x)?;
        Ok(out)
    }
    fn replace(&self, base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault> {
        let out = self.duplicate(base)?;
        for (part, piece) in pieces {
            self.put(&out.with_layout(*part)?, piece)?;
        }
        Ok(out)
    }
    fn overwrite(&self, base: &mut Value, part: &Layout, piece: &Value) -> Result<(), Fault> {
        if !base.is_writable() {
            *base = self.duplicate(base)?;
        }
        // The part is one of the base as it stands in its buffer.
        let place = Layout::from_parts(*part.shape(), part.strides(), part.offset() + base.layout().offset());
        self.holds(base)?;
        self.touch(base);
        self.put(&base.with_layout(place)?, piece)
    }
    fn triangle(&self, x: &Value, lower: bool, diagonal: isize) -> Result<Value, Fault> {
        let &[.., rows, columns] = x.dims() else {
            return Err(Fault::shape(
                format!("a triangle of rank {}", x.rank()),
                "it needs a matrix: at least two axes",
            ));
        };
        let out = self.blank(*x.shape(), x.dtype())?;
        let kernel = self.kernel(&COPY, &format!("triangle_{}", x.dtype().size()))?;
        let call = self.call(kernel).read(x).write(&out).long(x.count() as i64).view(x.layout());
        call.long(rows as i64).long(columns as i64).long(diagonal as i64).int(lower as i32).over(x.count())?;
        Ok(out)
    }
    fn add_at(&self, base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault> {
        let dtype = base.dtype();
        if !dtype.is_float() {
            return Err(Fault::dtype(
                format!("{dtype} elements are not added at positions"),
                "cast to a float first, with to_dtype(DType::F32)",
            ));
        }
        // Half precision is the f32 result, rounded once.
        let wide = if dtype.is_half() { DType::F32 } else { dtype };
        let out = self.duplicate(&self.cast(base, wide)?)?;
        for (part, piece) in pieces {
            let place = out.with_layout(*part)?;
            self.put(&place, &self.added(&place, &self.cast(piece, wide)?)?)?;
        }
        self.cast(&out, dtype)
    }
}
