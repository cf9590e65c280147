//! The bits of integers: methods, and the operators `&`, `|`, `^`, `<<` and `>>`. Booleans are numbers of one bit.

use super::arithmetic::operators;
use super::number::{Number, Operand};
use crate::device::bits::{Bits, Bitwise};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::{Parameter, Tensor};

/// An operation on the bits of two operands.
#[derive(Clone, Copy, Debug)]
struct OnBits(Bitwise);

impl Op for OnBits {
    fn name(&self) -> &'static str {
        match self.0 {
            Bitwise::And => "bitwise_and",
            Bitwise::Or => "bitwise_or",
            Bitwise::Xor => "bitwise_xor",
            Bitwise::ShiftLeft => "shift_left",
            Bitwise::ShiftRight => "shift_right",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), bitwise(inputs[0], inputs[1], self.0))?)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        super::index::no_gradient(call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: bits are not continuous"
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err("bits have no gradient: they are not continuous")
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

macro_rules! bitwise {
    ($($(#[$meta:meta])* fn $name:ident $Operation:ident $Trait:ident $method:ident, $sample:literal;)*) => {
        impl Tensor { $(
            $(#[$meta])*
            ///
            /// ```
            /// use chainrule::Tensor;
            #[doc = concat!("let x = Tensor::from([12, 10]).", stringify!($name), "(3);")]
            #[doc = concat!("assert_eq!(x, Tensor::from(", $sample, "));")]
            /// ```
            #[track_caller]
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Tensor {
                apply(OnBits(Bitwise::$Operation), [self, &other.into().beside(self)])
            }
        )* }
        $(
            operators!(@both $Trait $method a b a.$name(b); Tensor, Tensor; Tensor, &Tensor; &Tensor, Tensor; &Tensor, &Tensor;
                Tensor, &Parameter; &Tensor, &Parameter; &Parameter, Tensor; &Parameter, &Tensor; &Parameter, &Parameter);
            operators!(@numbers $Trait $method x c x.$name(Operand::Number(c)), Operand::Number(c).beside(x).$name(x); i64 bool);
        )*
    };
}
bitwise! {
    /// The bits that are set in both integers: the operator `&`. For booleans it is *and*.
    fn bitwise_and And BitAnd bitand, "[0, 2]";
    /// The bits that are set in one of both integers, or in both: the operator `|`. For booleans it is *or*.
    fn bitwise_or Or BitOr bitor, "[15, 11]";
    /// The bits that are set in exactly one of both integers: the operator `^`. For booleans it is *either, or*.
    fn bitwise_xor Xor BitXor bitxor, "[15, 9]";
    /// The bits moved by so many places towards greater numbers: the operator `<<`. What is moved out is lost.
    fn shift_left ShiftLeft Shl shl, "[96, 80]";
    /// The bits moved by so many places towards smaller numbers: the operator `>>`. The sign stays.
    fn shift_right ShiftRight Shr shr, "[1, 1]";
}

impl Tensor {
    /// Every bit of integers turned around, `-1 - x` for those with a sign; booleans are negated. (The operator `!` asks where
    /// a tensor is zero: [`logical_not`](Tensor::logical_not).)
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([0, 5]).bitwise_not(), Tensor::from([-1, -6]));
    /// assert_eq!(Tensor::from([true, false]).bitwise_not(), Tensor::from([false, true]));
    /// ```
    #[track_caller]
    pub fn bitwise_not(&self) -> Tensor {
        match self.dtype() {
            Ok(DType::Bool) => self.bitwise_xor(true),
            _ => self.bitwise_xor(-1i64),
        }
    }
}
