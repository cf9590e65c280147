//! What may stand beside a tensor: another one, or a number.

use crate::device::Value;
use crate::error::Fault;
use crate::layout::{DType, Shape};
use crate::tensor::{Parameter, Tensor};
use std::borrow::Cow;

/// A number beside a tensor. It never changes a float tensor's element type; beside integers a float gives f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A float.
    Float(f64),
    /// An integer.
    Integer(i64),
    /// True or false.
    Truth(bool),
}

impl Number {
    /// As f64.
    #[inline]
    pub(super) fn float(self) -> f64 {
        match self {
            Number::Float(x) => x,
            Number::Integer(x) => x as f64,
            Number::Truth(x) => x as u8 as f64,
        }
    }
    /// The element type in which it meets a tensor of this one.
    pub(super) fn meets(self, dtype: DType) -> DType {
        match self {
            _ if dtype.is_float() => dtype,
            Number::Float(_) => DType::F32,
            Number::Integer(_) if dtype == DType::Bool => DType::I64,
            _ => dtype,
        }
    }
    /// A tensor without axes; integers wrap.
    pub(super) fn tensor(self, dtype: DType) -> Tensor {
        let value = Shape::new(&[]).and_then(|shape| self.value(shape, dtype));
        Tensor::compute(|| Ok(Tensor::from_value(value.map_err(|fault| crate::error::Error::new("number", fault))?)))
    }
    fn value(self, shape: Shape, dtype: DType) -> Result<Value, Fault> {
        match (self, dtype) {
            (Number::Integer(x), DType::I64) => Value::build::<i64>(shape, |out| out.fill(x)),
            (Number::Integer(x), DType::I32) => Value::build::<i32>(shape, |out| out.fill(x as i32)),
            (Number::Integer(x), DType::U8) => Value::build::<u8>(shape, |out| out.fill(x as u8)),
            _ => Value::full(shape, dtype, self.float()),
        }
    }
}

/// The right side of an operation: a tensor or a number. Methods take `impl Into<Operand>`, so that
/// `x.maximum(&y)` and `x.maximum(0.0)` both work.
#[derive(Clone, Debug)]
pub enum Operand<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A tensor that was computed for this.
    Owned(Tensor),
    /// A number.
    Number(Number),
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    #[inline]
    fn from(tensor: &'a Tensor) -> Self {
        Operand::Tensor(tensor)
    }
}
impl From<Tensor> for Operand<'_> {
    #[inline]
    fn from(tensor: Tensor) -> Self {
        Operand::Owned(tensor)
    }
}
impl<'a> From<&'a Parameter> for Operand<'a> {
    #[inline]
    fn from(parameter: &'a Parameter) -> Self {
        Operand::Tensor(parameter)
    }
}

macro_rules! numbers {
    ($($t:ty => $variant:ident as $kind:ty;)*) => { $(
        impl From<$t> for Number {
            #[inline]
            fn from(x: $t) -> Number { Number::$variant(x as $kind) }
        }
        impl From<$t> for Operand<'_> {
            #[inline]
            fn from(x: $t) -> Self { Operand::Number(x.into()) }
        }
    )* };
}
numbers! {
    f64 => Float as f64; f32 => Float as f64; i32 => Integer as i64; i64 => Integer as i64; usize => Integer as i64;
    u8 => Integer as i64; bool => Truth as bool;
}

impl<'a> Operand<'a> {
    /// The tensor, if it is one.
    #[inline]
    pub(super) fn tensor(&self) -> Option<&Tensor> {
        match self {
            Operand::Tensor(tensor) => Some(tensor),
            Operand::Owned(tensor) => Some(tensor),
            Operand::Number(_) => None,
        }
    }
    /// This side as a tensor that fits beside `other`. (No closure: an error points to the caller's line.)
    #[inline]
    pub(super) fn beside(self, other: &Tensor) -> Cow<'a, Tensor> {
        match self {
            Operand::Tensor(tensor) => Cow::Borrowed(tensor),
            Operand::Owned(tensor) => Cow::Owned(tensor),
            Operand::Number(number) => {
                Cow::Owned(number.tensor(number.meets(other.dtype().unwrap_or(DType::F32))).near(other))
            }
        }
    }
}
