//! The bits of integers, on the processor.

use super::Cpu;
use super::blocks::{self, Loop};
use crate::device::Value;
use crate::device::bits::{Bits, Bitwise};
use crate::device::copy::Arrange;
use crate::error::Fault;
use crate::layout::DType;

impl Bits for Cpu {
    fn bitwise(&self, a: &Value, b: &Value, operation: Bitwise) -> Result<Value, Fault> {
        let meeting = a.dtype().promote(b.dtype());
        match meeting {
            DType::I64 => integers::<i64>(a, b, operation, meeting),
            // i64 has the same bits, and more of them.
            DType::I32 => Cpu.cast(&integers::<i64>(a, b, operation, DType::I64)?, meeting),
            DType::U8 => integers::<u8>(a, b, operation, meeting),
            DType::Bool if !operation.shifts() => integers::<u8>(a, b, operation, meeting),
            _ => Err(operation.no_bits(meeting)),
        }
    }
}

trait Integer: blocks::Compute {
    fn combine(self, other: Self, operation: Bitwise) -> Self;
}

macro_rules! integer {
    ($($t:ty)*) => { $(
        impl Integer for $t {
            #[inline(always)]
            fn combine(self, other: $t, operation: Bitwise) -> $t {
                let places = if (0..<$t>::BITS as i64).contains(&(other as i64)) { other as u32 } else { <$t>::BITS };
                match operation {
                    Bitwise::And => self & other,
                    Bitwise::Or => self | other,
                    Bitwise::Xor => self ^ other,
                    Bitwise::ShiftLeft => self.checked_shl(places).unwrap_or(0),
                    // What is left of a number moved out is its sign.
                    #[allow(unused_comparisons, reason = "u8 has no sign")]
                    Bitwise::ShiftRight => self.checked_shr(places).unwrap_or(if self < 0 { !0 } else { 0 }),
                }
            }
        }
    )* };
}
integer! { i64 u8 }

fn integers<T: Integer>(a: &Value, b: &Value, operation: Bitwise, result: DType) -> Result<Value, Fault> {
    // One loop for each operation, so that none chooses for every element.
    match operation {
        Bitwise::And => each(a, b, result, |a: T, b| a.combine(b, Bitwise::And)),
        Bitwise::Or => each(a, b, result, |a: T, b| a.combine(b, Bitwise::Or)),
        Bitwise::Xor => each(a, b, result, |a: T, b| a.combine(b, Bitwise::Xor)),
        Bitwise::ShiftLeft => each(a, b, result, |a: T, b| a.combine(b, Bitwise::ShiftLeft)),
        Bitwise::ShiftRight => each(a, b, result, |a: T, b| a.combine(b, Bitwise::ShiftRight)),
    }
}

fn each<T: Integer>(a: &Value, b: &Value, result: DType, f: impl Fn(T, T) -> T + Sync) -> Result<Value, Fault> {
    blocks::run::<T>(&[a, b], result, &Each(f))
}

/// The loop over both.
struct Each<F>(F);
impl<T: Integer, F: Fn(T, T) -> T + Sync> Loop<T> for Each<F> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        for ((to, &a), &b) in out.iter_mut().zip(inputs[0]).zip(inputs[1]) {
            *to = (self.0)(a, b);
        }
    }
}
