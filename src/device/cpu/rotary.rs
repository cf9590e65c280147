//! Rotary positions: one pass over the rows, with a table of the angles that all of them share.

use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::rotary::{Rotate, Rotation, no_turn};
use crate::device::{Strided, Value};
use crate::error::Fault;
use crate::layout::{DType, Element};
use std::ops::{Add, Mul, Sub};

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

fn rotate<T>(x: &Value, how: Rotation) -> Result<Value, Fault>
where
    T: Element + Mul<Output = T> + Add<Output = T> + Sub<Output = T>,
{
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
    let Strided { data, layout } = x.strided::<T>()?;
    let (strides, step) = (layout.strides(), layout.strides()[outer.len() + 1]);
    let at_once = (PART / width.max(1)).max(1);
    Value::build::<T>(*x.shape(), |out| {
        parallel::chunks(out, at_once * width, 2, |part, rows| {
            let mut dense = vec![T::default(); width];
            for (i, out) in rows.chunks_mut(width).enumerate() {
                let row = part * at_once + i;
                let (mut rest, position) = (row / positions, row % positions);
                let mut start = layout.offset() as isize + position as isize * strides[outer.len()];
                for (&size, &stride) in outer.iter().zip(strides).rev() {
                    start += (rest % size) as isize * stride;
                    rest /= size;
                }
                let row = if step == 1 {
                    &data[start as usize..][..width]
                } else {
                    for (j, number) in dense.iter_mut().enumerate() {
                        *number = data[(start + j as isize * step) as usize];
                    }
                    &dense
                };
                turn(row, out, &table[2 * position * pairs..][..2 * pairs], how.interleaved);
            }
        });
    })
}

/// Cosines, then sines, of each position.
fn angles<T: Element>(how: Rotation, positions: usize, pairs: usize) -> Vec<T> {
    let mut table = vec![T::default(); 2 * positions * pairs];
    if pairs > 0 {
        let frequencies: Vec<f64> = (0..pairs).map(|i| how.base.powf(-2.0 * i as f64 / how.width as f64)).collect();
        let sign = if how.back { -1.0 } else { 1.0 };
        parallel::chunks(&mut table, 2 * pairs, 40, |position, row| {
            let position = (how.first + position) as f64;
            let (cosines, sines) = row.split_at_mut(pairs);
            for ((cosine, sine), &frequency) in cosines.iter_mut().zip(sines).zip(&frequencies) {
                let angle = position * frequency;
                (*cosine, *sine) = (T::from_f64(angle.cos()), T::from_f64(sign * angle.sin()));
            }
        });
    }
    table
}

/// `(a, b)` becomes `(a cos - b sin, b cos + a sin)` for every pair of a row.
fn turn<T>(row: &[T], out: &mut [T], angles: &[T], interleaved: bool)
where
    T: Element + Mul<Output = T> + Add<Output = T> + Sub<Output = T>,
{
    let (cosines, sines) = angles.split_at(angles.len() / 2);
    let ((row, passing), (out, passed)) = (row.split_at(angles.len()), out.split_at_mut(angles.len()));
    passed.copy_from_slice(passing);
    let turns = cosines.iter().zip(sines);
    if interleaved {
        let pairs = row.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<2>().0);
        for ((&[a, b], out), (&cosine, &sine)) in pairs.zip(turns) {
            *out = [a * cosine - b * sine, b * cosine + a * sine];
        }
    } else {
        let ((first, second), (left, right)) = (row.split_at(cosines.len()), out.split_at_mut(cosines.len()));
        let numbers = first.iter().zip(second).zip(left.iter_mut().zip(right));
        for (((&a, &b), (left, right)), (&cosine, &sine)) in numbers.zip(turns) {
            *left = a * cosine - b * sine;
            *right = b * cosine + a * sine;
        }
    }
}
