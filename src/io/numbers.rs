//! Numbers as files store them, and the values they become.

use super::place::{damaged, foreign, system};
use super::source::Source;
use crate::device::Value;
use crate::error::Fault;
use crate::layout::{DType, Element, Shape};
use half::{bf16, f16};
use std::io::Write;

/// A kind of number in a file. The ones that tensors do not have are held in a wider one that has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    F64,
    F32,
    Bf16,
    F16,
    /// Eight bits: 4 of exponent, 3 of fraction, no infinity.
    F8E4M3,
    /// Eight bits: 5 of exponent, 2 of fraction.
    F8E5M2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Stored {
    /// The kind in which a tensor's elements are written.
    pub(crate) fn of(dtype: DType) -> Stored {
        match dtype {
            DType::F64 => Stored::F64,
            DType::F32 => Stored::F32,
            DType::BF16 => Stored::Bf16,
            DType::F16 => Stored::F16,
            DType::I64 => Stored::I64,
            DType::I32 => Stored::I32,
            DType::U8 => Stored::U8,
            DType::Bool => Stored::Bool,
        }
    }
    /// The element type that holds these numbers bit for bit.
    pub(crate) fn own(self) -> Option<DType> {
        use DType::*;
        [F64, F32, BF16, F16, I64, I32, U8, Bool].into_iter().find(|&dtype| Stored::of(dtype) == self)
    }
    /// Bytes of one number in the file.
    pub(crate) fn size(self) -> usize {
        match self {
            Stored::F64 | Stored::I64 | Stored::U64 => 8,
            Stored::F32 | Stored::I32 | Stored::U32 => 4,
            Stored::Bf16 | Stored::F16 | Stored::I16 | Stored::U16 => 2,
            Stored::F8E4M3 | Stored::F8E5M2 | Stored::I8 | Stored::U8 | Stored::Bool => 1,
        }
    }
    /// Bytes of so many numbers in the file.
    pub(crate) fn bytes(self, count: usize) -> Result<u64, Fault> {
        (count as u64)
            .checked_mul(self.size() as u64)
            .ok_or_else(|| damaged(format!("{count} numbers are more than a file can hold")))
    }
    /// Reads the numbers that stand from `at` on, in row-major order.
    pub(crate) fn read(self, source: &dyn Source, at: u64, big_endian: bool, shape: Shape) -> Result<Value, Fault> {
        source.reaches(at, self.bytes(shape.count())?)?;
        let part = Part { source, at, big_endian, shape };
        match self {
            Stored::F64 => part.value(f64::from_le_bytes),
            Stored::F32 => part.value(f32::from_le_bytes),
            Stored::Bf16 => part.value(bf16::from_le_bytes),
            Stored::F16 => part.value(f16::from_le_bytes),
            Stored::F8E4M3 => part.value(|[bits]: [u8; 1]| f8e4m3(bits)),
            Stored::F8E5M2 => part.value(|[bits]: [u8; 1]| f16::from_bits((bits as u16) << 8).to_f32()),
            Stored::I64 => part.value(i64::from_le_bytes),
            Stored::I32 => part.value(i32::from_le_bytes),
            Stored::I16 => part.value(|bytes| i16::from_le_bytes(bytes) as i32),
            Stored::I8 => part.value(|bytes| i8::from_le_bytes(bytes) as i32),
            Stored::U32 => part.value(|bytes| u32::from_le_bytes(bytes) as i64),
            Stored::U16 => part.value(|bytes| u16::from_le_bytes(bytes) as i32),
            Stored::U8 => part.bytes(),
            Stored::Bool => part.value(|[bits]: [u8; 1]| bits != 0),
            Stored::U64 => {
                let mut largest = 0;
                let value = part.value(|bytes| {
                    let number = u64::from_le_bytes(bytes);
                    largest = largest.max(number);
                    number as i64
                })?;
                if i64::try_from(largest).is_err() {
                    let what = format!("an unsigned 64-bit number is {largest}, more than i64 holds");
                    return Err(foreign(what, "write the file with signed or with narrower numbers"));
                }
                Ok(value)
            }
        }
    }
}

fn f8e4m3(bits: u8) -> f32 {
    let (exponent, fraction) = ((bits >> 3 & 15) as i32, (bits & 7) as f32);
    let size = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction / 512.0,
        _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits & 128 != 0 { -size } else { size }
}

/// A stretch of a file that holds numbers.
struct Part<'a> {
    source: &'a dyn Source,
    at: u64,
    big_endian: bool,
    shape: Shape,
}

/// How many bytes are converted at a time: they stay in the nearest caches.
pub(crate) const BLOCK: usize = 32 << 10;

impl Part<'_> {
    fn value<T: Element, const N: usize>(&self, mut number: impl FnMut([u8; N]) -> T) -> Result<Value, Fault> {
        Value::try_build::<T>(self.shape, |out| {
            let mut block = vec![0; BLOCK.min(out.len().saturating_mul(N))];
            let mut at = self.at;
            for out in out.chunks_mut(BLOCK / N) {
                let Some(block) = block.get_mut(..out.len() * N) else {
                    return Err(Fault::defect("a block of numbers is longer than its room"));
                };
                self.source.read(at, block)?;
                at += block.len() as u64;
                if self.big_endian {
                    block.chunks_exact_mut(N).for_each(<[u8]>::reverse);
                }
                let (numbers, _) = block.as_chunks::<N>();
                out.iter_mut().zip(numbers).for_each(|(out, bytes)| *out = number(*bytes));
            }
            Ok(())
        })
    }
    fn bytes(&self) -> Result<Value, Fault> {
        Value::try_build::<u8>(self.shape, |out| self.source.read(self.at, out))
    }
}

/// Writes bytes, with a `Fault` for an error.
pub(crate) fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Fault> {
    out.write_all(bytes).map_err(|error| system("it cannot be written", &error))
}

/// Hands a dense value's bytes, least significant first, to `sink`.
pub(crate) fn each_block(value: &Value, sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    fn blocks<T: Element, const N: usize>(
        value: &Value,
        bytes: impl Fn(T) -> [u8; N],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let numbers = value.dense::<T>()?;
        let mut block = vec![0; BLOCK.min(numbers.len().saturating_mul(N))];
        for numbers in numbers.chunks(BLOCK / N) {
            let (room, _) = block.as_chunks_mut::<N>();
            room.iter_mut().zip(numbers).for_each(|(room, &number)| *room = bytes(number));
            sink(block.get(..numbers.len() * N).unwrap_or_default())?;
        }
        Ok(())
    }
    match value.dtype() {
        DType::F64 => blocks(value, f64::to_le_bytes, sink),
        DType::F32 => blocks(value, f32::to_le_bytes, sink),
        DType::BF16 => blocks(value, bf16::to_le_bytes, sink),
        DType::F16 => blocks(value, f16::to_le_bytes, sink),
        DType::I64 => blocks(value, i64::to_le_bytes, sink),
        DType::I32 => blocks(value, i32::to_le_bytes, sink),
        DType::U8 => sink(value.dense::<u8>()?),
        DType::Bool => blocks(value, |x: bool| [x as u8], sink),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stored: Stored, bytes: &[u8], big_endian: bool) -> Vec<f64> {
        let shape = Shape::new(&[bytes.len() / stored.size()]).expect("a shape");
        let value = stored.read(&bytes, 0, big_endian, shape).expect("numbers");
        crate::Tensor::from_value(value).to_vec::<f64>().expect("numbers")
    }

    #[test]
    fn narrow_kinds_are_widened_without_loss() {
        assert_eq!(read(Stored::I8, &[0x80, 0xff, 0x7f], false), [-128.0, -1.0, 127.0]);
        assert_eq!(read(Stored::U16, &[0xff, 0xfe], true), [65534.0]);
        assert_eq!(read(Stored::I16, &[0xff, 0xfe], false), [-257.0]);
        assert_eq!(read(Stored::U32, &[0xff; 4], false), [4294967295.0]);
        assert_eq!(read(Stored::F8E5M2, &[0x3c, 0xbc, 0x01, 0x7b], false), [1.0, -1.0, 2f64.powi(-16), 57344.0]);
        assert_eq!(read(Stored::F8E4M3, &[0x38, 0xb8, 0x01, 0x7e], false), [1.0, -1.0, 2f64.powi(-9), 448.0]);
        assert!(read(Stored::F8E4M3, &[0x7f], false)[0].is_nan());
        let shape = Shape::new(&[1]).expect("a shape");
        assert!(Stored::U64.read(&&[0xff; 8][..], 0, false, shape).is_err());
    }

    #[test]
    fn blocks_of_numbers_meet_without_a_gap() {
        let count = 3 * BLOCK / 8 + 5;
        let bytes: Vec<u8> = (0..count as i64).flat_map(i64::to_be_bytes).collect();
        let numbers = read(Stored::I64, &bytes, true);
        assert!(numbers.iter().enumerate().all(|(i, &x)| x == i as f64) && numbers.len() == count);
        let shape = Shape::new(&[count]).expect("a shape");
        let value = Stored::I64.read(&&bytes[..], 0, false, shape).expect("numbers");
        let mut back = Vec::new();
        each_block(&value, &mut |block| {
            back.extend_from_slice(block);
            Ok(())
        })
        .expect("bytes");
        assert!(back == bytes);
    }
}
