//! Rotary positions: one pass over the rows, with a table of the angles that all of them share.

use super::real::{Real, alone};
use super::reduce::Loops;
use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::rotary::{Rotate, Rotation, no_turn};
use crate::device::{Strided, Value};
use crate::error::Fault;
use crate::layout::DType;

/// Numbers that one part of the loop turns.
const PART: usize = 16 * 1024;

impl Rotate for Cpu {
    fn rotate(&self, x: &Value, how: Rotation) -> Result<Value, Fault> {
        match x.dtype() {
            DType::F32 => rotate::<f32>(x, how),
            DType::F64 => rotate::<f64>(x, how),
            half if half.is_half() => self.cast(&self.rotate(&self.cast(x, DType::F32)?, how)?, half),
            other => Err(no_turn(other)),
        }
    }
}

fn rotate<T: Real>(x: &Value, how: Rotation) -> Result<Value, Fault> {
    let &[ref outer @ .., positions, width] = x.dims() else {
        return Err(Fault::defect(format!("rows of {:?}", x.dims())));
    };
    let pairs = how.width / 2;
    if 2 * pairs > width {
        return Err(Fault::defect(format!("{} of {width} numbers turned", how.width)));
    }
    if x.count() == 0 {
        return Value::build::<T>(*x.shape(), |_| ());
    }
    let table = angles::<T>(how, positions, pairs);
    let x = if x.layout().strides()[outer.len() + 1] == 1 { x.clone() } else { Cpu.contiguous(x)? };
    let Strided { data, layout } = x.strided::<T>()?;
    let mut starts = Loops::none();
    for (&size, &stride) in x.dims()[..=outer.len()].iter().zip(layout.strides()) {
        starts.push(size, stride);
    }
    let at_once = (PART / width).max(1);
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, at_once * width, 2, |part, out| {
            let (starts, offset, first) = (&starts, layout.offset() as isize, part * at_once);
            simd::run(Turn { data, offset, starts, first, table: &table, pairs, how, width, out });
        });
    })
}

/// Rows from number `first` on, turned.
struct Turn<'a, T> {
    data: &'a [T],
    offset: isize,
    /// Where each row begins.
    starts: &'a Loops,
    first: usize,
    /// Cosines and sines of each position.
    table: &'a [T],
    pairs: usize,
    how: Rotation,
    width: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel for Turn<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = arithmetic::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut starts = self.starts.walk(self.first);
        let angles = 2 * self.pairs;
        let mut at = self.first * angles % self.table.len().max(1);
        for out in self.out.chunks_mut(self.width) {
            let row = &self.data[(self.offset + starts.step()) as usize..][..self.width];
            turn(row, out, &self.table[at..at + angles], self.how.interleaved);
            at = if at + angles == self.table.len() { 0 } else { at + angles };
        }
    }
}

/// Few additions and products to a number: AVX2 does them as fast as memory delivers.
const fn arithmetic<T: Real>() -> SimdLevel {
    if matches!(T::WIDEST, SimdLevel::Avx512) { SimdLevel::Avx2 } else { T::WIDEST }
}

/// Positions whose angles are made of one sine and cosine for all and one for each.
const STRIDE: usize = 32;

/// Cosines, then sines, of each position. That of position `32 a + b` is made of those of `32 a` and `b` in f64, by the sum of angles:
/// each position alone decides, so that a row means the same wherever a text begins to be read.
fn angles<T: Real>(how: Rotation, positions: usize, pairs: usize) -> Vec<T> {
    let mut table = vec![T::default(); 2 * positions * pairs];
    if pairs == 0 {
        return table;
    }
    let [outside, inside] = parts(how, positions, pairs);
    let first = how.first / STRIDE;
    parallel::chunks(&mut table, 2 * pairs, 8, |position, out| {
        let position = how.first + position;
        let (outer, inner) = (&outside[position / STRIDE - first], &inside[position % STRIDE]);
        simd::run(Together { outer, inner, out });
    });
    table
}

/// Cosines and sines of each `32 a`, and of each `b`.
fn parts(how: Rotation, positions: usize, pairs: usize) -> [Vec<Vec<f64>>; 2] {
    let speeds: Vec<f64> = (0..pairs).map(|pair| how.speed(pair)).collect();
    let sign = if how.back { -1.0 } else { 1.0 };
    let of = |position: usize, amplitude: f64| {
        let mut row = vec![0.0; 2 * pairs];
        let (cosines, sines) = row.split_at_mut(pairs);
        for ((cosine, sine), speed) in cosines.iter_mut().zip(sines).zip(&speeds) {
            let angle = position as f64 * speed;
            (*cosine, *sine) = (amplitude * angle.cos(), sign * amplitude * angle.sin());
        }
        row
    };
    let (from, to) = (how.first, how.first + positions);
    // As many as there are positions: a text is often read on by one.
    let inside = (0..STRIDE)
        .map(|b| if positions >= STRIDE || (from..to).any(|at| at % STRIDE == b) { of(b, 1.0) } else { Vec::new() })
        .collect();
    let outside = (from / STRIDE..to.div_ceil(STRIDE)).map(|a| of(a * STRIDE, how.slowing.amplitude)).collect();
    [outside, inside]
}

/// Cosines and sines of sums of angles.
struct Together<'a, T> {
    outer: &'a [f64],
    inner: &'a [f64],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Together<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = arithmetic::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let pairs = self.out.len() / 2;
        let (cosines, sines) = self.out.split_at_mut(pairs);
        let ((c, s), (d, t)) = (self.outer.split_at(pairs), self.inner.split_at(pairs));
        for (i, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
            *cosine = T::narrow(c[i] * d[i] - s[i] * t[i]);
            *sine = T::narrow(s[i] * d[i] + c[i] * t[i]);
        }
    }
}

/// `(a, b)` becomes `(a cos - b sin, b cos + a sin)` for every pair of a row.
#[inline(always)]
fn turn<T: Real>(row: &[T], out: &mut [T], angles: &[T], interleaved: bool) {
    let (cosines, sines) = angles.split_at(angles.len() / 2);
    let ((row, passing), (out, passed)) = (row.split_at(angles.len()), out.split_at_mut(angles.len()));
    passed.copy_from_slice(passing);
    let turns = cosines.iter().zip(sines);
    if interleaved {
        let pairs = row.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<2>().0);
        for ((&[a, b], out), (&cosine, &sine)) in pairs.zip(turns) {
            let sine = alone(sine);
            *out = [a * cosine - b * sine, b * cosine + a * sine];
        }
    } else {
        let ((first, second), (left, right)) = (row.split_at(cosines.len()), out.split_at_mut(cosines.len()));
        let numbers = first.iter().zip(second).zip(left.iter_mut().zip(right));
        for (((&a, &b), (left, right)), (&cosine, &sine)) in numbers.zip(turns) {
            let sine = alone(sine);
            *left = a * cosine - b * sine;
            *right = b * cosine + a * sine;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::rotary::Slowing;
    use crate::layout::Shape;

    #[test]
    fn a_row_is_turned_by_its_position_wherever_reading_begins() {
        let (positions, width) = (100, 10);
        let numbers: Vec<f64> = (0..positions * width).map(|i| (i * 7919 % 1013) as f64 / 506.0 - 1.0).collect();
        let value = |rows: usize, from: &[f64]| {
            Value::build(Shape::new(&[rows, width]).unwrap(), |out: &mut [f64]| out.copy_from_slice(from)).unwrap()
        };
        let slowing = Slowing { amplitude: 1.25, ..Slowing::NONE };
        let how = Rotation { first: 60, base: 10_000.0, width: 8, interleaved: false, back: false, slowing };
        let all = Cpu.rotate(&value(positions, &numbers), how).unwrap();
        for (at, row) in numbers.chunks(width).enumerate() {
            let one = Cpu.rotate(&value(1, row), Rotation { first: 60 + at, ..how }).unwrap();
            assert_eq!(one.dense::<f64>().unwrap(), &all.dense::<f64>().unwrap()[at * width..][..width], "row {at}");
            for pair in 0..4 {
                let angle = (60 + at) as f64 * 10_000f64.powf(-2.0 * pair as f64 / 8.0);
                let want = 1.25 * (row[pair] * angle.cos() - row[pair + 4] * angle.sin());
                assert!((one.dense::<f64>().unwrap()[pair] - want).abs() < 1e-13, "row {at}, pair {pair}");
            }
        }
    }
}
