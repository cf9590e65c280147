//! Rows on the processor: each is read into the first-level cache once, whatever is then computed of it.

mod channels;
mod columns;
mod softmax;
mod standard;

use super::Cpu;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::rows::{Rows, Softmax, Standard, Standardized, ThreeGradients};
use crate::error::Fault;
use crate::layout::{DType, dispatch_float};
pub(super) use softmax::{axis_last, is_columns};

/// Elements that one thread takes at a time.
pub(super) const PIECE: usize = 1 << 14;

pub(super) fn no_float(what: &str, x: &Value) -> Fault {
    Fault::dtype(
        format!("{what} of {} numbers is not defined", x.dtype()),
        "convert to a float first: x.to_dtype(DType::F32)",
    )
}

pub(super) fn wide(x: &Value) -> Result<Value, Fault> {
    Cpu.cast(x, DType::F32)
}

pub(super) fn wide_option(x: Option<&Value>) -> Result<Option<Value>, Fault> {
    x.map(wide).transpose()
}

/// Dense, and in the element type of the input.
pub(super) fn dense_as(x: Option<&Value>, dtype: DType) -> Result<Option<Value>, Fault> {
    x.map(|x| Cpu.contiguous(&Cpu.cast(x, dtype)?)).transpose()
}

fn narrow_all(all: ThreeGradients, dtype: DType) -> Result<ThreeGradients, Fault> {
    let [x, weight, bias] = all;
    let narrow = |value: Option<Value>| value.map(|value| Cpu.cast(&value, dtype)).transpose();
    Ok([narrow(x)?, narrow(weight)?, narrow(bias)?])
}

impl Rows for Cpu {
    fn softmax(&self, x: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            return self.cast(&self.softmax(&wide(x)?, axis, form)?, x.dtype());
        }
        dispatch_float!(x.dtype(), T => softmax::forward::<T>(x, axis, form), else Err(no_float("softmax", x)))
    }

    fn softmax_gradient(&self, y: &Value, g: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
        if y.dtype().is_half() {
            return self.cast(&self.softmax_gradient(&wide(y)?, &wide(g)?, axis, form)?, y.dtype());
        }
        dispatch_float!(y.dtype(), T => softmax::gradient::<T>(y, g, axis, form), else Err(no_float("softmax", y)))
    }

    fn standardize(
        &self,
        x: &Value,
        weight: Option<&Value>,
        bias: Option<&Value>,
        standard: Standard,
    ) -> Result<Standardized, Fault> {
        if x.dtype().is_half() {
            let (weight, bias) = (wide_option(weight)?, wide_option(bias)?);
            let mut result = self.standardize(&wide(x)?, weight.as_ref(), bias.as_ref(), standard)?;
            result.output = self.cast(&result.output, x.dtype())?;
            return Ok(result);
        }
        let (weight, bias) = (dense_as(weight, x.dtype())?, dense_as(bias, x.dtype())?);
        dispatch_float!(
            x.dtype(),
            T => standard::forward::<T>(&self.contiguous(x)?, weight.as_ref(), bias.as_ref(), standard),
            else Err(no_float("a normalisation", x))
        )
    }

    fn standardize_gradient(
        &self,
        x: &Value,
        weight: Option<&Value>,
        (mean, scale): (&Value, &Value),
        g: &Value,
        standard: Standard,
        wanted: [bool; 3],
    ) -> Result<ThreeGradients, Fault> {
        if x.dtype().is_half() {
            let weight = wide_option(weight)?;
            let (x, g, dtype) = (wide(x)?, wide(g)?, x.dtype());
            return narrow_all(
                self.standardize_gradient(&x, weight.as_ref(), (mean, scale), &g, standard, wanted)?,
                dtype,
            );
        }
        let weight = dense_as(weight, x.dtype())?;
        dispatch_float!(
            x.dtype(),
            T => standard::gradient::<T>(
                &self.contiguous(x)?, weight.as_ref(), (mean, scale), &self.contiguous(g)?, standard, wanted),
            else Err(no_float("a normalisation", x))
        )
    }

    fn normalize_channels(
        &self,
        x: &Value,
        (mean, scale): (&Value, &Value),
        weight: Option<&Value>,
        bias: Option<&Value>,
    ) -> Result<Value, Fault> {
        if x.dtype().is_half() {
            let (weight, bias) = (wide_option(weight)?, wide_option(bias)?);
            let y =
                self.normalize_channels(&wide(x)?, (&wide(mean)?, &wide(scale)?), weight.as_ref(), bias.as_ref())?;
            return self.cast(&y, x.dtype());
        }
        let (weight, bias) = (dense_as(weight, x.dtype())?, dense_as(bias, x.dtype())?);
        let (mean, scale) = (self.contiguous(mean)?, self.contiguous(scale)?);
        dispatch_float!(
            x.dtype(),
            T => channels::forward::<T>(&self.contiguous(x)?, (&mean, &scale), weight.as_ref(), bias.as_ref()),
            else Err(no_float("a normalisation", x))
        )
    }

    fn normalize_channels_gradient(
        &self,
        x: &Value,
        (mean, scale): (&Value, &Value),
        weight: Option<&Value>,
        g: &Value,
        batch: bool,
        wanted: [bool; 3],
    ) -> Result<ThreeGradients, Fault> {
        if x.dtype().is_half() {
            let weight = wide_option(weight)?;
            let (x, g, dtype) = (wide(x)?, wide(g)?, x.dtype());
            let statistics = (&wide(mean)?, &wide(scale)?);
            return narrow_all(
                self.normalize_channels_gradient(&x, statistics, weight.as_ref(), &g, batch, wanted)?,
                dtype,
            );
        }
        let weight = dense_as(weight, x.dtype())?;
        let (mean, scale) = (self.contiguous(mean)?, self.contiguous(scale)?);
        dispatch_float!(
            x.dtype(),
            T => channels::gradient::<T>(
                &self.contiguous(x)?, (&mean, &scale), weight.as_ref(), &self.contiguous(g)?, batch, wanted),
            else Err(no_float("a normalisation", x))
        )
    }
}

#[cfg(test)]
mod tests;
