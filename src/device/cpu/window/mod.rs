//! Windows over volumes: pooling, resizing, unfolding. Volumes (one for each image and channel) are shared out to threads.

mod blend;
mod extreme;
mod fold;

use super::Cpu;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::window::{Blend, Sliding, Span, Windows};
use crate::error::Fault;
use crate::layout::{DType, Shape, dispatch_float};

/// The sizes `[batch, channels, depth, height, width]` of a value.
pub(super) fn five(x: &Value) -> Result<[usize; 5], Fault> {
    x.dims().try_into().map_err(|_| Fault::defect(format!("a volume of {:?}", x.dims())))
}

/// The value dense, and in f32 where it is narrower, with the type that its results are rounded to.
fn widened(x: &Value) -> Result<(Value, DType), Fault> {
    let wide = if x.dtype().is_half() { Cpu.cast(x, DType::F32)? } else { x.clone() };
    Ok((Cpu.contiguous(&wide)?, x.dtype()))
}

fn no_float(what: &str, dtype: DType) -> Fault {
    Fault::dtype(format!("{what} of {dtype} elements"), "cast to a float first, with to_dtype(DType::F32)")
}

impl Windows for Cpu {
    fn max_windows(&self, x: &Value, spans: &[Span; 3], wanted: bool) -> Result<(Value, Option<Value>), Fault> {
        let (wide, dtype) = widened(x)?;
        let (greatest, positions) = dispatch_float!(wide.dtype(), T => extreme::max_windows::<T>(&wide, spans, wanted)?,
            else return Err(no_float("windows", dtype)));
        Ok((self.cast(&greatest, dtype)?, positions))
    }

    fn scatter_volumes(&self, x: &Value, positions: &Value, volume: [usize; 3]) -> Result<Value, Fault> {
        let (wide, dtype) = widened(x)?;
        let places = self.contiguous(&self.cast(positions, DType::I64)?)?;
        let sums = dispatch_float!(wide.dtype(), T => extreme::scatter::<T>(&wide, &places, volume)?,
            else return Err(no_float("a sum at positions", dtype)));
        self.cast(&sums, dtype)
    }

    fn pick_volumes(&self, x: &Value, positions: &Value) -> Result<Value, Fault> {
        let x = self.contiguous(x)?;
        let places = self.contiguous(&self.cast(positions, DType::I64)?)?;
        extreme::pick(&x, &places)
    }

    fn blend_volumes(&self, x: &Value, blends: [&Blend; 3]) -> Result<Value, Fault> {
        let (wide, dtype) = widened(x)?;
        let blended = dispatch_float!(wide.dtype(), T => blend::blend::<T>(&wide, blends)?,
            else return Err(no_float("weighted sums", dtype)));
        self.cast(&blended, dtype)
    }

    fn unfold_volumes(&self, x: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault> {
        let x = self.contiguous(x)?;
        fold::unfold(&x, windows)
    }

    fn fold_volumes(&self, columns: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault> {
        let (wide, dtype) = widened(columns)?;
        let folded = dispatch_float!(wide.dtype(), T => fold::fold::<T>(&wide, windows)?,
            else return Err(no_float("a sum of columns", dtype)));
        self.cast(&folded, dtype)
    }
}

/// The shape of volumes: those of `x`, with other sizes.
fn volumes(x: &Value, volume: [usize; 3]) -> Result<Shape, Fault> {
    let [batch, channels, ..] = five(x)?;
    Shape::new(&[batch, channels, volume[0], volume[1], volume[2]])
}

#[cfg(test)]
mod tests;
