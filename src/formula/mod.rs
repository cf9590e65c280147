//! What is computed per element: kinds of number, mathematics, and formulas written once.
//!
//! A formula is one generic function of its text. Evaluated on floats ([`F`]) it is a kernel, on [`Dual`] numbers its
//! gradient, on [`Symbol`]s a [`Program`] that readers turn into derivatives of any order or into code for another device.

mod change;
mod definition;
mod dual;
mod float;
mod mathematics;
mod number;
#[cfg(feature = "cuda-unversioned")]
pub mod ptx;
mod symbol;
mod text;
mod whole;

pub use definition::{Formula, Programs, Slope, Update};
pub use dual::Dual;
pub use float::{F, Float};
pub(crate) use mathematics::NEAR;
pub use number::*;
pub use symbol::{
    Binary, Comparison, Function, Instruction, Operator, Program, Register, Symbol, SymbolicBool, SymbolicScalar,
};
pub use text::Written;
pub(crate) use text::number as short_number;
pub use whole::{Integral, Whole};
