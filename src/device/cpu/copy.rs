//! Copies between any two layouts at about the speed of memory.
//!
//! Elements are moved by size, whatever they mean. A route merges and orders the axes; then a row is one block, a
//! repeated element, or a strided run, and where reading and writing disagree on the innermost axis, square tiles are
//! turned around in registers and on the stack so that both sides meet whole cache lines.

use super::past::{LINE, written};
use super::route::{Route, Stretch, TILE};
use super::simd::{self, SimdLevel};
use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::{Value, Word, by_size};
use crate::error::Fault;
use crate::layout::{DType, Element, Layout, Shape};
use std::ops::Add;

/// Elements that one part of a dense loop handles.
const CHUNK: usize = 32 * 1024;

impl Arrange for Cpu {
    #[inline(never)]
    fn contiguous(&self, x: &Value) -> Result<Value, Fault> {
        if x.is_contiguous() { Ok(x.clone()) } else { self.duplicate(x) }
    }

    fn duplicate(&self, x: &Value) -> Result<Value, Fault> {
        let mut out = Value::blank(*x.shape(), x.dtype())?;
        write(&mut out, &Layout::contiguous(*x.shape()), x)?;
        Ok(out)
    }

    #[inline(never)]
    fn cast(&self, x: &Value, dtype: DType) -> Result<Value, Fault> {
        if x.dtype() == dtype { Ok(x.clone()) } else { super::cast::cast(&self.contiguous(x)?, dtype) }
    }

    fn join(&self, parts: &[&Value], axis: usize) -> Result<Value, Fault> {
        let Some(first) = parts.first() else {
            return Err(Fault::value("nothing to join", "give at least one tensor"));
        };
        let mut sizes = first.shape().to_vec();
        sizes[axis] = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.dims()[axis]));
        let shape = Shape::new(&sizes)?;
        let whole = Layout::contiguous(shape);
        let mut out = Value::blank(shape, first.dtype())?;
        let mut start = 0;
        for part in parts {
            let offset = start * whole.strides()[axis] as usize;
            write(&mut out, &Layout::from_parts(*part.shape(), whole.strides(), offset), part)?;
            start += part.dims()[axis];
        }
        Ok(out)
    }

    fn place(&self, x: &Value, shape: Shape, part: &Layout, fill: f64) -> Result<Value, Fault> {
        let mut out = Value::blank(shape, x.dtype())?;
        if part.count() < shape.count() {
            let fill = Value::full(Shape::new(&[])?, x.dtype(), fill)?;
            by_size!(x.dtype(), W => {
                let (out, fill) = Value::dense_words::<W>(&mut out, &fill)?;
                parallel::chunks(out, CHUNK, 1, |_, chunk| chunk.fill(fill[0]));
            });
        }
        write(&mut out, part, x)?;
        Ok(out)
    }

    fn replace(&self, base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault> {
        let mut out = self.duplicate(base)?;
        for (part, piece) in pieces {
            write(&mut out, part, piece)?;
        }
        Ok(out)
    }

    fn overwrite(&self, base: &mut Value, part: &Layout, piece: &Value) -> Result<(), Fault> {
        if !base.is_writable() {
            *base = self.duplicate(base)?;
        }
        write(base, part, piece)
    }

    fn add_at(&self, base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault> {
        match base.dtype() {
            DType::F64 => add_at::<f64>(base, pieces),
            DType::F32 => add_at::<f32>(base, pieces),
            // Half precision is the f32 result, rounded once.
            half @ (DType::BF16 | DType::F16) => {
                let base = self.cast(base, DType::F32)?;
                let wide: Vec<(Layout, Value)> = pieces
                    .iter()
                    .map(|(part, piece)| Ok((*part, self.cast(piece, DType::F32)?)))
                    .collect::<Result<_, Fault>>()?;
                let wide: Vec<(Layout, &Value)> = wide.iter().map(|(part, piece)| (*part, piece)).collect();
                self.cast(&add_at::<f32>(&base, &wide)?, half)
            }
            other => Err(Fault::dtype(
                format!("{other} elements are not added at positions"),
                "cast to a float first, with to_dtype(DType::F32)",
            )),
        }
    }

    fn triangle(&self, x: &Value, lower: bool, diagonal: isize) -> Result<Value, Fault> {
        let &[.., rows, columns] = x.dims() else {
            return Err(Fault::shape(
                format!("a triangle of rank {}", x.rank()),
                "it needs a matrix: at least two axes",
            ));
        };
        let mut out = self.duplicate(x)?;
        if columns == 0 || rows == 0 {
            return Ok(out);
        }
        let together = (CHUNK / columns).max(1);
        by_size!(x.dtype(), W => {
            let (out, _) = Value::words::<W>(&mut out, x)?;
            parallel::chunks(out, together * columns, 1, |chunk, block| {
                for (row, elements) in block.chunks_mut(columns).enumerate() {
                    let row = ((chunk * together + row) % rows) as isize;
                    let width = columns as isize;
                    // Elements before `middle` are on or left of the diagonal; the upper part begins one earlier.
                    let middle = row.saturating_add(diagonal).saturating_add(lower as isize).clamp(0, width) as usize;
                    let (left, right) = elements.split_at_mut(middle);
                    (if lower { right } else { left }).fill(W::default());
                }
            });
        });
        Ok(out)
    }
}

/// Writes the elements of `from` at the places that `to` lists in `out`, which is dense and which nobody else holds.
fn write(out: &mut Value, to: &Layout, from: &Value) -> Result<(), Fault> {
    let Some(route) = route(out.count(), to, from.layout())? else { return Ok(()) };
    by_size!(from.dtype(), W => {
        let (out, source) = Value::words::<W>(out, from)?;
        // SAFETY: `route` checked that every place written lies inside `out`, once; every place read lies inside `data`
        // (a value's layout does).
        unsafe { run(&route, out.as_mut_ptr(), source.data.as_ptr()) }
    });
    Ok(())
}

/// The route between two layouts, or a defect where writing would leave `length` elements or meet one twice.
fn route(length: usize, to: &Layout, from: &Layout) -> Result<Option<Route>, Fault> {
    if to.dims() != from.dims() {
        return Err(Fault::defect(format!("a copy of {:?} into {:?}", from.dims(), to.dims())));
    }
    let route = Route::new(to.dims(), (to.strides(), to.offset()), (from.strides(), from.offset()));
    match route {
        Some(route) if !route.writes_apart(length) => {
            Err(Fault::defect(format!("a copy would leave its {length} elements or overlap itself: {to:?}")))
        }
        route => Ok(route),
    }
}

/// A pointer that workers share; each writes places of its own.
pub(in crate::device::cpu) struct Shared<T>(*mut T);
impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
impl<T> Shared<T> {
    /// A pointer to the first of these.
    pub(in crate::device::cpu) fn new(elements: &mut [T]) -> Shared<T> {
        Shared(elements.as_mut_ptr())
    }
    /// The place `index` elements further. (A method, so that closures capture the wrapper.)
    ///
    /// # Safety
    /// It must lie inside the same block of memory.
    #[inline(always)]
    pub(in crate::device::cpu) unsafe fn at(self, index: isize) -> *mut T {
        // SAFETY: passed on to the caller.
        unsafe { self.0.offset(index) }
    }
}
// SAFETY: the places that workers write are disjoint (`Route::writes_apart`), what they read is not written.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Moves elements along a route.
///
/// # Safety
/// All places of the route lie inside what the pointers own, and no place is written twice.
unsafe fn run<E: Word>(route: &Route, out: *mut E, source: *const E) {
    let (out, source) = (Shared(out), Shared(source.cast_mut()));
    let inner = route.inner();
    if inner.to == 1
        && inner.from != 1
        && inner.from != 0
        && let Some(across) = route.axes().iter().position(|stretch| stretch.from == 1)
    {
        let wide = route.axes()[across];
        let turn =
            Turn { out_step: wide.to, source_step: inner.from, way: Way::of::<E>(), far: route.bytes::<E>() >= FAR };
        route.blocks(across, |to, from, rows, columns| {
            // SAFETY: the block's places are places of the route.
            unsafe { turn.run(out.at(to), source.at(from), rows, columns) }
        });
        return;
    }
    // SAFETY: every row's places are places of the route.
    route.rows(|to, from, size| unsafe { row(out.at(to), source.at(from), size, inner) });
}

/// One row.
///
/// # Safety
/// As for [`run`].
#[inline]
unsafe fn row<E: Copy>(out: *mut E, source: *const E, size: usize, step: Stretch) {
    // SAFETY: `size` places with these steps lie inside what the pointers own.
    unsafe {
        match (step.to, step.from) {
            (1, 1) => std::ptr::copy_nonoverlapping(source, out, size),
            (1, 0) => std::slice::from_raw_parts_mut(out, size).fill(*source),
            (1, from) => {
                for index in 0..size {
                    *out.add(index) = *source.offset(index as isize * from);
                }
            }
            (to, from) => {
                for index in 0..size as isize {
                    *out.offset(index * to) = *source.offset(index * from);
                }
            }
        }
    }
}

/// From so many bytes on a turned copy goes past the caches, which would fetch every line of the result first.
const FAR: usize = 8 << 20;

/// How whole tiles are turned around.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Number by number.
    Plain,
    /// Elements of four bytes, two registers to a cache line.
    Pairs,
    /// Elements of four bytes, a register to a cache line.
    Lines,
    /// Elements of eight bytes, in registers of 32 bytes.
    Quarters,
}

impl Way {
    fn of<E>() -> Way {
        match (cfg!(target_arch = "x86_64"), size_of::<E>(), simd::level()) {
            (true, 4, SimdLevel::Avx512) => Way::Lines,
            (true, 4, SimdLevel::Avx2) => Way::Pairs,
            (true, 8, SimdLevel::Avx2 | SimdLevel::Avx512) => Way::Quarters,
            _ => Way::Plain,
        }
    }
}

/// `out[i, j] = source[j, i]`: rows of `out` are `out_step` apart, those of `source` `source_step`.
#[derive(Clone, Copy)]
struct Turn {
    out_step: isize,
    source_step: isize,
    way: Way,
    far: bool,
}

impl Turn {
    /// A block of `rows` i and `columns` j.
    ///
    /// # Safety
    /// All these places lie inside what the pointers own.
    unsafe fn run<E: Word>(self, out: *mut E, source: *const E, rows: usize, columns: usize) {
        let past = self.far
            && matches!(self.way, Way::Pairs | Way::Lines)
            && out.addr().is_multiple_of(LINE)
            && (self.out_step.unsigned_abs() * size_of::<E>()).is_multiple_of(LINE);
        for j in (0..columns).step_by(TILE) {
            let wide = TILE.min(columns - j);
            for i in (0..rows).step_by(TILE) {
                let high = TILE.min(rows - i);
                // SAFETY: i + high <= rows and j + wide <= columns; the way is one that the processor has.
                unsafe {
                    let from = source.offset(j as isize * self.source_step + i as isize);
                    let to = out.offset(i as isize * self.out_step + j as isize);
                    match (wide == TILE && high == TILE, self.way) {
                        (true, Way::Lines) => turn_lines(to.cast(), self.out_step, from.cast(), self.source_step, past),
                        (true, Way::Pairs) => turn_pairs(to.cast(), self.out_step, from.cast(), self.source_step, past),
                        (true, Way::Quarters) => turn_quarters(to.cast(), self.out_step, from.cast(), self.source_step),
                        (true, Way::Plain) => turn_plain(to, self.out_step, from, self.source_step),
                        _ => {
                            for a in 0..high as isize {
                                for b in 0..wide as isize {
                                    *to.offset(a * self.out_step + b) = *from.offset(b * self.source_step + a);
                                }
                            }
                        }
                    }
                }
            }
        }
        if past {
            written();
        }
    }
}

/// One whole tile.
///
/// # Safety
/// As for [`Turn::run`].
unsafe fn turn_plain<E: Word>(out: *mut E, out_step: isize, source: *const E, source_step: isize) {
    let mut tile = [[E::default(); TILE]; TILE];
    // SAFETY: the tile's places, in lines of `TILE` neighbours.
    unsafe {
        for b in 0..TILE {
            let line = &*source.offset(b as isize * source_step).cast::<[E; TILE]>();
            for (turned, &element) in tile.iter_mut().zip(line) {
                turned[b] = element;
            }
        }
        for (a, line) in tile.iter().enumerate() {
            *out.offset(a as isize * out_step).cast::<[E; TILE]>() = *line;
        }
    }
}

/// One whole tile of elements of four bytes, a cache line at a time; `past` the caches where the lines of `out` are aligned.
///
/// # Safety
/// As for [`Turn::run`]; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn turn_lines(out: *mut f32, out_step: isize, source: *const f32, source_step: isize, past: bool) {
    use super::gemm::transpose_16;
    use std::arch::x86_64::*;
    // SAFETY: the tile's places, in lines of 16 neighbours. Shuffles of floats move bits, whatever they mean.
    unsafe {
        let rows = std::array::from_fn(|b| _mm512_loadu_ps(source.offset(b as isize * source_step)));
        for (a, row) in transpose_16(rows).into_iter().enumerate() {
            let to = out.offset(a as isize * out_step);
            if past { _mm512_stream_ps(to, row) } else { _mm512_storeu_ps(to, row) }
        }
    }
}

/// One whole tile of elements of four bytes, two registers to a line; `past` the caches where the lines of `out` are aligned.
///
/// # Safety
/// As for [`Turn::run`]; the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn turn_pairs(out: *mut f32, out_step: isize, source: *const f32, source_step: isize, past: bool) {
    use super::gemm::transpose_8;
    use std::arch::x86_64::*;
    let side = TILE as isize / 2;
    for i in [0, side] {
        // SAFETY: the tile's places, in halves of a line. Shuffles of floats move bits, whatever they mean.
        unsafe {
            let half = |j: isize| {
                transpose_8(std::array::from_fn(|b| _mm256_loadu_ps(source.offset((j + b as isize) * source_step + i))))
            };
            // In memory, since registers hold one half and what turns it.
            let left = std::hint::black_box(half(0));
            for (a, (left, right)) in left.into_iter().zip(half(side)).enumerate() {
                let to = out.offset((i + a as isize) * out_step);
                if past {
                    _mm256_stream_ps(to, left);
                    _mm256_stream_ps(to.offset(side), right);
                } else {
                    _mm256_storeu_ps(to, left);
                    _mm256_storeu_ps(to.offset(side), right);
                }
            }
        }
    }
}

/// One whole tile of elements of eight bytes, in parts of 32 bytes.
///
/// # Safety
/// As for [`Turn::run`]; the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn turn_quarters(out: *mut f64, out_step: isize, source: *const f64, source_step: isize) {
    use super::gemm::transpose_4;
    use std::arch::x86_64::*;
    for i in (0..TILE as isize).step_by(4) {
        for j in (0..TILE as isize).step_by(4) {
            // SAFETY: the tile's places, four neighbours at a time. Shuffles of floats move bits, whatever they mean.
            unsafe {
                let (from, to) = (source.offset(j * source_step + i), out.offset(i * out_step + j));
                let rows = std::array::from_fn(|b| _mm256_loadu_pd(from.offset(b as isize * source_step)));
                for (a, row) in transpose_4(rows).into_iter().enumerate() {
                    _mm256_storeu_pd(to.offset(a as isize * out_step), row);
                }
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn turn_lines(_: *mut f32, _: isize, _: *const f32, _: isize, _: bool) {}
#[cfg(not(target_arch = "x86_64"))]
unsafe fn turn_pairs(_: *mut f32, _: isize, _: *const f32, _: isize, _: bool) {}
#[cfg(not(target_arch = "x86_64"))]
unsafe fn turn_quarters(_: *mut f64, _: isize, _: *const f64, _: isize) {}

fn add_at<T: Element + Add<Output = T>>(base: &Value, pieces: &[(Layout, &Value)]) -> Result<Value, Fault> {
    let mut value = Cpu.duplicate(base)?;
    let out = value.unshared::<T>().ok_or_else(|| Fault::defect("a fresh value is shared"))?;
    for (part, piece) in pieces {
        let piece = piece.strided::<T>()?;
        let Some(route) = route(out.len(), part, piece.layout)? else { continue };
        let (target, source, step) = (Shared(out.as_mut_ptr()), piece.data, route.inner());
        route.rows(|to, from, size| {
            for index in 0..size as isize {
                // SAFETY: `route` checked that every place lies inside `out`, and no other worker has it.
                unsafe {
                    let place = target.at(to + index * step.to);
                    *place = *place + source[(from + index * step.from) as usize];
                }
            }
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(sizes: &[usize]) -> Value {
        let shape = Shape::new(sizes).unwrap();
        Value::build::<f32>(shape, |out| out.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32)).unwrap()
    }
    /// Every element by its own index: the oracle of all copies.
    fn read(x: &Value) -> Vec<f32> {
        let strided = x.strided::<f32>().unwrap();
        let mut read = Vec::new();
        for mut index in 0..x.count() {
            let mut place = strided.layout.offset() as isize;
            for (&size, &stride) in x.dims().iter().zip(strided.layout.strides()).rev() {
                place += (index % size) as isize * stride;
                index /= size;
            }
            read.push(strided.data[place as usize]);
        }
        read
    }

    #[test]
    fn any_layout_becomes_dense() {
        for sizes in [
            &[5usize, 7, 33][..],
            &[40, 50],
            &[2, 3, 4, 5],
            &[3, 1, 130],
            &[1],
            &[],
            &[0, 3],
            &[17, 16, 16],
            &[300, 530],
            &[2, 3, 700],
            // past the caches, with ragged ends
            &[1040, 2100],
        ] {
            let x = counting(sizes);
            let mut order: Vec<usize> = (0..sizes.len()).collect();
            for turn in 0..6 {
                let view = x.with_layout(x.layout().permuted(&order)).unwrap();
                let dense = Cpu.duplicate(&view).unwrap();
                assert!(dense.is_contiguous() && !dense.shares_memory(&x));
                assert_eq!(dense.slice::<f32>().unwrap(), read(&view), "{sizes:?} {order:?}");
                if !order.is_empty() {
                    order.rotate_left(1);
                    let last = order.len() - 1;
                    order.swap(turn % (last + 1), last);
                }
            }
        }
    }

    #[test]
    fn negative_zero_and_wide_strides() {
        let x = counting(&[6, 8]);
        for (sizes, strides, offset) in [
            (&[6usize, 8][..], &[8isize, -1][..], 7),
            (&[6, 8], &[-8, 1], 40),
            (&[6, 8], &[-8, -1], 47),
            (&[8, 6], &[-1, -8], 47),
            (&[3, 6, 8], &[0, 8, 1], 0),
            (&[6, 5], &[8, 0], 3),
            (&[3, 4], &[16, 2], 1),
        ] {
            let view = x.with_layout(Layout::from_parts(Shape::new(sizes).unwrap(), strides, offset)).unwrap();
            assert_eq!(Cpu.duplicate(&view).unwrap().slice::<f32>().unwrap(), read(&view), "{sizes:?} {strides:?}");
        }
    }

    #[test]
    fn parts_are_written() {
        let (a, b) = (counting(&[2, 3]), counting(&[2, 1]));
        let joined = Cpu.join(&[&a, &b], 1).unwrap();
        assert_eq!(joined.slice::<f32>().unwrap(), [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 1.0]);
        let shape = Shape::new(&[3, 3]).unwrap();
        let diagonal = Layout::from_parts(Shape::new(&[2]).unwrap(), &[4], 1);
        let placed = Cpu.place(&counting(&[2]), shape, &diagonal, 9.0).unwrap();
        assert_eq!(placed.slice::<f32>().unwrap(), [9.0, 0.0, 9.0, 9.0, 9.0, 1.0, 9.0, 9.0, 9.0]);
        let added = Cpu.add_at(&placed, &[(diagonal, &counting(&[2])), (diagonal, &counting(&[2]))]).unwrap();
        assert_eq!(added.slice::<f32>().unwrap()[5], 3.0);
        // A part that leaves the value, or meets itself, is refused.
        let outside = Layout::from_parts(Shape::new(&[2]).unwrap(), &[4], 5);
        assert!(Cpu.place(&counting(&[2]), shape, &outside, 0.0).is_err());
        let twice = Layout::from_parts(Shape::new(&[2]).unwrap(), &[0], 5);
        assert!(Cpu.replace(&placed, &[(twice, &counting(&[2]))]).is_err());
    }

    #[test]
    fn triangles() {
        let x = counting(&[2, 3]);
        assert_eq!(Cpu.triangle(&x, true, 0).unwrap().slice::<f32>().unwrap(), [0.0, 0.0, 0.0, 3.0, 4.0, 0.0]);
        assert_eq!(Cpu.triangle(&x, false, 1).unwrap().slice::<f32>().unwrap(), [0.0, 1.0, 2.0, 0.0, 0.0, 5.0]);
        assert_eq!(Cpu.triangle(&x, false, isize::MAX).unwrap().slice::<f32>().unwrap(), [0.0; 6]);
    }

    #[test]
    #[ignore = "a measurement: cargo test --release --lib copies_at_the_speed -- --ignored --nocapture"]
    fn copies_at_the_speed_of_memory() {
        for side in [512usize, 1000, 2048, 4096] {
            let x = counting(&[side, side]);
            let turned = x.with_layout(x.layout().permuted(&[1, 0])).unwrap();
            let backward = x.with_layout(Layout::from_parts(*x.shape(), &[side as isize, -1], side - 1)).unwrap();
            let time = |what: &str, f: &dyn Fn() -> Value| {
                let mut best = f64::MAX;
                for _ in 0..8 {
                    let start = std::time::Instant::now();
                    std::hint::black_box(f());
                    best = best.min(start.elapsed().as_secs_f64());
                }
                println!("{side:5} {what:10} {:6.1} GB/s", 8.0 * (side * side) as f64 / best / 1e9);
            };
            time("copy", &|| Cpu.duplicate(&x).unwrap());
            time("transposed", &|| Cpu.duplicate(&turned).unwrap());
            time("flipped", &|| Cpu.duplicate(&backward).unwrap());
        }
    }
}
