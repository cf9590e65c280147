//! The bits of integers: `kernels/bits.cu`.

use super::Cuda;
use super::module::{Source, source};
use crate::device::Value;
use crate::device::bits::{Bits, Bitwise};
use crate::device::copy::Arrange;
use crate::error::Fault;
use crate::layout::DType;

const BITS: Source = source!("bits");

impl Bits for Cuda {
    fn bitwise(&self, a: &Value, b: &Value, operation: Bitwise) -> Result<Value, Fault> {
        let meeting = a.dtype().promote(b.dtype());
        let name = match meeting {
            DType::I64 => "bitwise_i64",
            DType::I32 => "bitwise_i32",
            DType::U8 => "bitwise_u8",
            DType::Bool if !operation.shifts() => "bitwise_u8",
            _ => return Err(operation.no_bits(meeting)),
        };
        let number = match operation {
            Bitwise::And => 0,
            Bitwise::Or => 1,
            Bitwise::Xor => 2,
            Bitwise::ShiftLeft => 3,
            Bitwise::ShiftRight => 4,
        };
        let shape = a.shape().broadcast(b.shape())?;
        let (a, b) = (self.cast(a, meeting)?, self.cast(b, meeting)?);
        let out = self.blank(shape, meeting)?;
        let call = self.call(self.kernel(&BITS, name)?).read(&a).read(&b).write(&out).wide(out.count() as i64);
        let call = call.view(&a.layout().expanded(&shape)?).view(&b.layout().expanded(&shape)?);
        call.int(number).over(out.count())?;
        Ok(out)
    }
}
