//! The bits of integers.

use super::Value;
use crate::error::Fault;
use crate::layout::DType;

/// What is done with the bits of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bitwise {
    /// Set in both.
    And,
    /// Set in one of both, or in both.
    Or,
    /// Set in exactly one of both.
    Xor,
    /// The first moved towards greater numbers, by as many places as the second says.
    ShiftLeft,
    /// The first moved towards smaller numbers; the sign stays.
    ShiftRight,
}

/// The kernels on bits.
pub trait Bits {
    /// Both operands broadcast and are integers or booleans; the result is of the type they meet in. Places below 0 or beyond
    /// the number's width move all bits out. Booleans are not shifted.
    fn bitwise(&self, a: &Value, b: &Value, operation: Bitwise) -> Result<Value, Fault>;
}

impl Bitwise {
    /// Does it move bits?
    pub(in crate::device) fn shifts(self) -> bool {
        matches!(self, Bitwise::ShiftLeft | Bitwise::ShiftRight)
    }
    /// Numbers of this type have no bits for it.
    pub(in crate::device) fn no_bits(self, dtype: DType) -> Fault {
        let numbers = if dtype == DType::Bool { "bool elements".to_string() } else { format!("{dtype} numbers") };
        Fault::dtype(
            format!("{numbers} have no bits to {}", if self.shifts() { "shift" } else { "combine" }),
            "use integers, for example x.to_dtype(DType::I64)",
        )
    }
}
