//! The element types.

use half::{bf16, f16};
use std::fmt;

/// The type of a tensor's elements.
///
/// ```
/// use chainrule::DType;
/// assert_eq!(DType::BF16.size(), 2);
/// assert!(DType::F64.is_float());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// 64-bit float.
    F64,
    /// 32-bit float, the default.
    F32,
    /// Brain float: the range of f32 in 16 bits.
    BF16,
    /// Half precision.
    F16,
    /// 64-bit integer.
    I64,
    /// 32-bit integer.
    I32,
    /// Byte.
    U8,
    /// True or false.
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::BF16 | DType::F16 => 2,
            DType::U8 | DType::Bool => 1,
        }
    }
    /// Is it one of the four floats?
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::BF16 | DType::F16)
    }
    /// Is it a float of 16 bits?
    pub const fn is_half(self) -> bool {
        matches!(self, DType::BF16 | DType::F16)
    }
    /// The name, as in errors.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A Rust type that a tensor can hold.
///
/// ```
/// use chainrule::{DType, Element};
/// assert_eq!(f32::DTYPE, DType::F32);
/// assert_eq!(u8::from_f64(3.0), 3);
/// ```
pub trait Element:
    Copy + Default + PartialEq + PartialOrd + fmt::Debug + Send + Sync + sealed::Sealed + 'static
{
    /// The element type.
    const DTYPE: DType;
    /// The value as f64 (i64 beyond 2^53 is rounded).
    fn to_f64(self) -> f64;
    /// The nearest value of this type; floats become integers by truncation, saturating; bool is `x != 0`.
    fn from_f64(x: f64) -> Self;
    /// The value as i64; floats are truncated, saturating.
    fn to_i64(self) -> i64;
    /// The value of this type; narrower integers wrap; bool is `x != 0`.
    fn from_i64(x: i64) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($t:ty, $d:ident: $x:ident => $to_f64:expr, $from_f64:expr, $to_i64:expr, $from_i64:expr;)*) => { $(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            fn to_f64(self) -> f64 { let $x = self; $to_f64 }
            #[inline(always)]
            fn from_f64($x: f64) -> $t { $from_f64 }
            #[inline(always)]
            fn to_i64(self) -> i64 { let $x = self; $to_i64 }
            #[inline(always)]
            fn from_i64($x: i64) -> $t { $from_i64 }
        }
    )* };
}

element! {
    f64, F64: x => x, x, x as i64, x as f64;
    f32, F32: x => x as f64, x as f32, x as i64, x as f32;
    bf16, BF16: x => x.to_f64(), bf16::from_f64(x), x.to_f64() as i64, bf16::from_f64(x as f64);
    f16, F16: x => x.to_f64(), f16::from_f64(x), x.to_f64() as i64, f16::from_f64(x as f64);
    i64, I64: x => x as f64, x as i64, x, x;
    i32, I32: x => x as f64, x as i32, x as i64, x as i32;
    u8, U8: x => x as f64, x as u8, x as i64, x as u8;
    bool, Bool: x => x as u8 as f64, x != 0.0, x as i64, x != 0;
}

/// Runs `$body` with `$T` standing for the Rust type of `$dtype`.
macro_rules! dispatch {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::layout::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::layout::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::layout::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::layout::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::layout::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::layout::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::layout::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::layout::DType::Bool => {
                type $T = bool;
                $body
            }
        }
    };
}

/// Runs `$body` for f32 or f64; every other element type takes the `else` branch.
macro_rules! dispatch_float {
    ($dtype:expr, $T:ident => $body:expr, else $other:expr) => {
        match $dtype {
            $crate::layout::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::layout::DType::F32 => {
                type $T = f32;
                $body
            }
            _ => $other,
        }
    };
}
pub(crate) use {dispatch, dispatch_float};
