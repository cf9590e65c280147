//! From one element type to another.
//!
//! The loops are plain `as` conversions, which every target has as instructions. bf16 and f16 go by way of f32, in
//! blocks that stay in the nearest cache, so that they need loops to and from f32 only.

use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::error::Fault;
use crate::layout::{DType, Element, Shape};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Elements that are converted at a time.
const CHUNK: usize = 16 * 1024;
/// Elements of an f32 block between a half-precision type and another.
const BLOCK: usize = 1024;

/// A dense value in another element type. Floats become integers by truncation, saturating at the ends, and NaN
/// becomes 0; integers wrap when they narrow; a boolean is `x != 0`.
pub(super) fn cast(x: &Value, dtype: DType) -> Result<Value, Fault> {
    match x.dtype() {
        DType::F32 if dtype == DType::BF16 => halved(x, bf16::narrow),
        DType::F32 if dtype == DType::F16 => halved(x, f16::narrow),
        DType::F64 => from::<f64>(x, dtype),
        DType::F32 => from::<f32>(x, dtype),
        DType::I64 => from::<i64>(x, dtype),
        DType::I32 => from::<i32>(x, dtype),
        DType::U8 => from::<u8>(x, dtype),
        DType::Bool => from::<bool>(x, dtype),
        DType::BF16 => from_half::<bf16>(x, dtype),
        DType::F16 => from_half::<f16>(x, dtype),
    }
}

/// What was computed in f64 in another float: rounded once for f32, and by way of f32 for what is narrower.
pub(super) fn rounded(x: &Value, dtype: DType) -> Result<Value, Fault> {
    let x = if dtype.is_half() { Cpu.cast(x, DType::F32)? } else { x.clone() };
    Cpu.cast(&x, dtype)
}

fn from<S>(x: &Value, dtype: DType) -> Result<Value, Fault>
where
    S: Element + To<f64> + To<f32> + To<i64> + To<i32> + To<u8> + To<bool>,
{
    let (shape, source) = (*x.shape(), x.dense::<S>()?);
    match dtype {
        DType::F64 => convert::<S, f64>(shape, source),
        DType::F32 => convert::<S, f32>(shape, source),
        DType::I64 => convert::<S, i64>(shape, source),
        DType::I32 => convert::<S, i32>(shape, source),
        DType::U8 => convert::<S, u8>(shape, source),
        DType::Bool => convert::<S, bool>(shape, source),
        half => through_f32(shape, half, &|start, block| each(&source[start..start + block.len()], block)),
    }
}

fn from_half<H: Half>(x: &Value, dtype: DType) -> Result<Value, Fault> {
    let (shape, source) = (*x.shape(), x.dense::<H>()?);
    through_f32(shape, dtype, &|start, block| H::widen(&source[start..start + block.len()], block))
}

fn halved<H: Half>(x: &Value, narrow: fn(&[f32], &mut [H])) -> Result<Value, Fault> {
    let source = x.dense::<f32>()?;
    pieces(*x.shape(), &|start, out: &mut [H]| narrow(&source[start..start + out.len()], out))
}

fn convert<S: Element + To<D>, D: Element>(shape: Shape, source: &[S]) -> Result<Value, Fault> {
    pieces(shape, &|start, out: &mut [D]| each(&source[start..start + out.len()], out))
}

/// Writes the elements from a position on.
type Fill<'a, D> = &'a (dyn Fn(usize, &mut [D]) + Sync);

/// A value filled by pieces, on all cores. Loops are known by pointer: there is one for each pair of types.
fn pieces<D: Element>(shape: Shape, fill: Fill<'_, D>) -> Result<Value, Fault> {
    Value::build::<D>(shape, |out| parallel::chunks(out, CHUNK, 1, |index, piece| fill(index * CHUNK, piece)))
}

/// What `fill` writes in f32, in another type.
fn through_f32(shape: Shape, dtype: DType, fill: Fill<'_, f32>) -> Result<Value, Fault> {
    match dtype {
        DType::F64 => in_blocks::<f64>(shape, fill, each),
        DType::F32 => pieces(shape, fill),
        DType::I64 => in_blocks::<i64>(shape, fill, each),
        DType::I32 => in_blocks::<i32>(shape, fill, each),
        DType::U8 => in_blocks::<u8>(shape, fill, each),
        DType::Bool => in_blocks::<bool>(shape, fill, each),
        DType::BF16 => in_blocks(shape, fill, bf16::narrow),
        DType::F16 => in_blocks(shape, fill, f16::narrow),
    }
}

fn in_blocks<D: Element>(shape: Shape, fill: Fill<'_, f32>, then: fn(&[f32], &mut [D])) -> Result<Value, Fault> {
    pieces(shape, &|start, out: &mut [D]| {
        let mut block = [0f32; BLOCK];
        for (index, out) in out.chunks_mut(BLOCK).enumerate() {
            let block = &mut block[..out.len()];
            fill(start + index * BLOCK, block);
            then(block, out);
        }
    })
}

fn each<S: Copy + To<D>, D>(source: &[S], out: &mut [D]) {
    for (out, &x) in out.iter_mut().zip(source) {
        *out = x.to();
    }
}

/// The two float types of 16 bits; conversion of whole slices uses the processor's instructions where it has them.
pub(super) trait Half: Element {
    fn widen(source: &[Self], out: &mut [f32]);
    fn narrow(source: &[f32], out: &mut [Self]);
}
macro_rules! halves {
    ($($t:ty)*) => { $(
        impl Half for $t {
            fn widen(source: &[$t], out: &mut [f32]) { source.convert_to_f32_slice(out) }
            fn narrow(source: &[f32], out: &mut [$t]) { out.convert_from_f32_slice(source) }
        }
    )* };
}
halves! { f16 }

impl Half for bf16 {
    fn widen(source: &[bf16], out: &mut [f32]) {
        for (out, x) in out.iter_mut().zip(source) {
            *out = f32::from_bits((x.to_bits() as u32) << 16);
        }
    }
    fn narrow(source: &[f32], out: &mut [bf16]) {
        for (out, x) in out.iter_mut().zip(source) {
            let bits = x.to_bits();
            // To the nearest, ties to even: half of the last place, less one bit where the last place is even.
            let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
            let nan = (bits >> 16) as u16 | 0x40;
            *out = bf16::from_bits(if x.is_nan() { nan } else { rounded });
        }
    }
}

/// One element's conversion.
trait To<D> {
    fn to(self) -> D;
}
macro_rules! conversions {
    ($($from:ty: $($to:ty)*;)*) => { $(
        $( impl To<$to> for $from {
            #[inline(always)]
            fn to(self) -> $to { self as $to }
        } )*
        impl To<bool> for $from {
            #[inline(always)]
            fn to(self) -> bool { self != 0 as $from }
        }
        impl To<$from> for bool {
            #[inline(always)]
            fn to(self) -> $from { self as u8 as $from }
        }
    )* };
}
conversions! {
    f64: f64 f32 i64 i32 u8;
    f32: f64 f32 i64 i32 u8;
    i64: f64 f32 i64 i32 u8;
    i32: f64 f32 i64 i32 u8;
    u8: f64 f32 i64 i32 u8;
}
impl To<bool> for bool {
    #[inline(always)]
    fn to(self) -> bool {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<T: Element>(list: &[T]) -> Value {
        Value::build::<T>(Shape::new(&[list.len()]).unwrap(), |out| out.copy_from_slice(list)).unwrap()
    }
    fn to<S: Element, D: Element>(list: &[S]) -> Vec<D> {
        Cpu.cast(&value(list), D::DTYPE).unwrap().slice::<D>().unwrap().to_vec()
    }

    #[test]
    fn floats_truncate_and_saturate() {
        let edge = [1.9, -1.9, 1e30, -1e30, f64::NAN, f64::INFINITY, -0.0];
        assert_eq!(to::<f64, i32>(&edge), [1, -1, i32::MAX, i32::MIN, 0, i32::MAX, 0]);
        assert_eq!(to::<f64, u8>(&edge), [1, 0, 255, 0, 0, 255, 0]);
        assert_eq!(to::<f64, bool>(&edge), [true, true, true, true, true, true, false]);
        assert_eq!(to::<f32, i64>(&[9.3e18, 2.5]), [i64::MAX, 2]);
    }

    #[test]
    fn integers_wrap() {
        assert_eq!(to::<i64, i32>(&[1 << 32 | 5, -1]), [5, -1]);
        assert_eq!(to::<i32, u8>(&[257, -1]), [1, 255]);
        assert_eq!(to::<u8, bool>(&[0, 1, 255]), [false, true, true]);
        assert_eq!(to::<bool, f32>(&[false, true]), [0.0, 1.0]);
        assert_eq!(to::<bool, i64>(&[false, true]), [0, 1]);
    }

    #[test]
    fn halves_round_once_from_f32() {
        let mut list: Vec<f32> = (0..70_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761))).collect();
        list.extend([f32::NAN, f32::INFINITY, f32::MAX, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 65520.0, 65519.0, 1e-8]);
        let same = |a: f32, b: f32| a == b || a.is_nan() && b.is_nan();
        for (x, y) in list.iter().zip(to::<f32, bf16>(&list)) {
            assert!(same(bf16::from_f32(*x).to_f32(), y.to_f32()), "{x}");
        }
        for (x, y) in list.iter().zip(to::<f32, f16>(&list)) {
            assert!(same(f16::from_f32(*x).to_f32(), y.to_f32()), "{x}");
        }
        let halves = to::<f32, f16>(&list);
        assert!(halves.iter().zip(to::<f16, f32>(&halves)).all(|(h, x)| same(h.to_f32(), x)));
        assert_eq!(to::<f16, bf16>(&[f16::from_f32(1.5)]), [bf16::from_f32(1.5)]);
        assert_eq!(to::<f16, i32>(&[f16::from_f32(-2.5)]), [-2]);
        assert_eq!(to::<i64, bf16>(&[257]), [bf16::from_f32(256.0)]);
    }
}
