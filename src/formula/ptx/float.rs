//! A float in a register: mathematics evaluated on it writes the kernel's steps.
//!
//! It rounds where [`F`](super::super::F) rounds, operation by operation, so that a kernel's results are those of the
//! processor, bit for bit.

use super::body::{Bank, Operand, step};
use super::{Kind, body};
use crate::formula::mathematics::{self, Digits, Real, Standard, double};
use crate::formula::number::{Arithmetic, Number, functions};
use crate::formula::{Binary, Function};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Shl, Shr, Sub};

/// A float of type `T` whose value is in a register. `FUSED` as for [`F`](super::super::F).
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<T, const FUSED: bool>(pub(super) Operand, PhantomData<T>);

/// A truth value in a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truth(pub(super) Operand);

impl Truth {
    pub(super) fn and(self, other: Truth) -> Truth {
        Truth(step(Bank::Truth, "and.pred", &[self.0, other.0]))
    }
    pub(super) fn or(self, other: Truth) -> Truth {
        Truth(step(Bank::Truth, "or.pred", &[self.0, other.0]))
    }
    pub(super) fn not(self) -> Truth {
        Truth(step(Bank::Truth, "not.pred", &[self.0]))
    }
}

/// How f32 and f64 look in registers.
pub(super) trait Precision: Copy + Debug + Into<Operand> {
    const DOUBLE: bool;
    const BANK: Bank;
    /// The registers for its digits.
    const DIGITS: Bank;
    /// The ends of operations on it, on its digits as a whole number, and on mere digits.
    const FLOAT: &'static str;
    const WHOLE: &'static str;
    const BARE: &'static str;
    const MANTISSA: i64;
    const BIAS: f64;
    /// 1.5 · 2^mantissa: what it is added to stands in the lowest digits.
    const SHIFT: f64;
    /// The digits of √½.
    const ROOT_HALF: i64;
    fn rounded(x: f64) -> Self;
    fn digits(self) -> i64;
}
impl Precision for f32 {
    const DOUBLE: bool = false;
    const BANK: Bank = Bank::Single;
    const DIGITS: Bank = Bank::Word;
    const FLOAT: &'static str = "f32";
    const WHOLE: &'static str = "s32";
    const BARE: &'static str = "b32";
    const MANTISSA: i64 = 23;
    const BIAS: f64 = 127.0;
    const SHIFT: f64 = 12_582_912.0;
    const ROOT_HALF: i64 = 0x3f35_04f3;
    fn rounded(x: f64) -> f32 {
        x as f32
    }
    fn digits(self) -> i64 {
        self.to_bits() as i64
    }
}
impl Precision for f64 {
    const DOUBLE: bool = true;
    const BANK: Bank = Bank::Double;
    const DIGITS: Bank = Bank::Long;
    const FLOAT: &'static str = "f64";
    const WHOLE: &'static str = "s64";
    const BARE: &'static str = "b64";
    const MANTISSA: i64 = 52;
    const BIAS: f64 = 1023.0;
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const ROOT_HALF: i64 = 0x3fe6_a09e_667f_3bcd;
    fn rounded(x: f64) -> f64 {
        x
    }
    fn digits(self) -> i64 {
        self.to_bits() as i64
    }
}

impl<T: Precision, const FUSED: bool> Wire<T, FUSED> {
    pub(super) fn new(register: Operand) -> Self {
        Wire(register, PhantomData)
    }
    /// An operation between floats of this type.
    fn operate(operation: &str, from: &[Operand]) -> Self {
        Self::new(step(T::BANK, &format!("{operation}.{}", T::FLOAT), from))
    }
    fn compare(operation: &str, a: Self, b: Self) -> Truth {
        Truth(step(Bank::Truth, &format!("setp.{operation}.{}", T::FLOAT), &[a.0, b.0]))
    }
    /// Its digits, and a number of digits.
    fn digits(self) -> Operand {
        step(T::DIGITS, &format!("mov.{}", T::BARE), &[self.0])
    }
    fn of(digits: Operand) -> Self {
        Self::new(step(T::BANK, &format!("mov.{}", T::BARE), &[digits]))
    }
}

/// An operation on digits as whole numbers of 32 or 64 bits.
fn whole<T: Precision>(operation: &str, a: Operand, b: impl Into<Operand>) -> Operand {
    step(T::DIGITS, &format!("{operation}.{}", T::WHOLE), &[a, b.into()])
}
/// An operation on bare digits.
fn bare<T: Precision>(operation: &str, a: Operand, b: i64) -> Operand {
    step(T::DIGITS, &format!("{operation}.{}", T::BARE), &[a, b.into()])
}
/// To the right, with zeros on the left.
fn right<T: Precision>(a: Operand, by: i64) -> Operand {
    step(T::DIGITS, if T::DOUBLE { "shr.u64" } else { "shr.u32" }, &[a, by.into()])
}

macro_rules! operators {
    ($($Trait:ident $method:ident $operation:literal),*) => { $(
        impl<T: Precision, const FUSED: bool> $Trait for Wire<T, FUSED> {
            type Output = Self;
            fn $method(self, other: Self) -> Self { Self::operate($operation, &[self.0, other.0]) }
        }
        impl<T: Precision, const FUSED: bool> $Trait<f64> for Wire<T, FUSED> {
            type Output = Self;
            fn $method(self, other: f64) -> Self { self.$method(Self::from(other)) }
        }
        impl<T: Precision, const FUSED: bool> $Trait<Wire<T, FUSED>> for f64 {
            type Output = Wire<T, FUSED>;
            fn $method(self, other: Wire<T, FUSED>) -> Wire<T, FUSED> { Wire::from(self).$method(other) }
        }
    )* };
}
operators!(Add add "add.rn", Sub sub "sub.rn", Mul mul "mul.rn", Div div "div.rn");

impl<T: Precision, const FUSED: bool> Neg for Wire<T, FUSED> {
    type Output = Self;
    fn neg(self) -> Self {
        Self::operate("neg", &[self.0])
    }
}
impl<T: Precision, const FUSED: bool> From<f64> for Wire<T, FUSED> {
    fn from(x: f64) -> Self {
        Self::operate("mov", &[T::rounded(x).into()])
    }
}

/// The one instruction that chooses so, where the choice is between an f32 and a constant that it was compared with. With a NaN the comparison
/// fails and the second is chosen: the constant, as `min` and `max` do, or the NaN, as they do where they are told to keep it.
fn extreme(condition: Operand, a: Operand, b: Operand) -> Option<&'static str> {
    let constant = |register: Operand| match body::made(register)? {
        (operation, from) if operation == "mov.f32" => match from[..] {
            [Operand::Single(bits)] => Some(f32::from_bits(bits)),
            _ => None,
        },
        _ => None,
    };
    let (comparison, compared) = body::made(condition)?;
    let or_equal = match comparison.as_str() {
        "setp.lt.f32" => false,
        "setp.le.f32" => true,
        _ => return None,
    };
    let &[left, right] = compared.as_slice() else { return None };
    let is_less = (a, b) == (left, right);
    if !is_less && (a, b) != (right, left) {
        return None;
    }
    let (number, is_left) = match (constant(left), constant(right)) {
        (Some(number), None) => (number, true),
        (None, Some(number)) => (number, false),
        _ => return None,
    };
    // Zeros are equal, and which of them is chosen is not what `min` and `max` do, which take -0 for the smaller.
    let other_zero = number == 0.0 && number.is_sign_positive() == (is_left == or_equal);
    if number.is_nan() || other_zero {
        return None;
    }
    Some(match (is_less, is_less == is_left) {
        (true, true) => "min.NaN",
        (true, false) => "min",
        (false, true) => "max.NaN",
        (false, false) => "max",
    })
}

impl<T: Precision, const FUSED: bool> Arithmetic for Wire<T, FUSED> {
    compared_in_registers!();
    fn choose(condition: Truth, a: Self, b: Self) -> Self {
        let way = if T::DOUBLE { None } else { extreme(condition.0, a.0, b.0) };
        way.map_or_else(
            || Self::operate("selp", &[a.0, b.0, condition.0]),
            |operation| Self::operate(operation, &[a.0, b.0]),
        )
    }
    fn abs(self) -> Self {
        Self::operate("abs", &[self.0])
    }
    fn sign(self) -> Self {
        let zero = Self::from(0.0);
        let below = Self::choose(self.less(zero), Self::from(-1.0), zero);
        Self::choose(zero.less(self), Self::from(1.0), below)
    }
    fn remainder(self, divisor: Self) -> Self {
        let zero = Self::from(0.0);
        let rest = self.fmod(divisor);
        let over = |x: Self| x.less(zero);
        let differ = Truth(step(Bank::Truth, "xor.pred", &[over(rest).0, over(divisor).0]));
        let other_side = differ.and(Self::compare("neu", rest, zero));
        Self::choose(other_side, rest + divisor, rest)
    }
    fn fmod(self, divisor: Self) -> Self {
        double::fmod(self, divisor)
    }
    fn pow(self, exponent: Self) -> Self {
        if T::DOUBLE { double::pow(self, exponent) } else { mathematics::pow(self, exponent) }
    }
}

impl<T: Precision, const FUSED: bool> Real for Wire<T, FUSED> {
    type Wide = Wire<f64, FUSED>;
    const DOUBLE: bool = T::DOUBLE;
    const FUSED: bool = FUSED;
    const NEAR: bool = false;
    fn multiply_add(self, b: Self, c: Self) -> Self {
        if FUSED { Self::operate("fma.rn", &[self.0, b.0, c.0]) } else { self * b + c }
    }
    fn quotient(self, divisor: Self) -> Self {
        if T::DOUBLE || !FUSED {
            return self / divisor;
        }
        // What `div.rn` does, less the question whether it may.
        let near = Self::operate("rcp.approx.ftz", &[divisor.0]);
        let minus = -divisor;
        let inverse = minus.multiply_add(near, 1.0.into()).multiply_add(near, near);
        let quotient = self * inverse;
        minus.multiply_add(quotient, self).multiply_add(inverse, quotient)
    }
    fn square_root(self) -> Self {
        Self::operate("sqrt.rn", &[self.0])
    }
    fn with_sign_of(self, other: Self) -> Self {
        Self::operate("copysign", &[other.0, self.0])
    }
    fn nearest(self) -> Self {
        (self + T::SHIFT) - T::SHIFT
    }
    fn power_of_two(self) -> Self {
        Self::of(bare::<T>("shl", (self + (T::SHIFT + T::BIAS)).digits(), T::MANTISSA))
    }
    fn nearest_power(self, factor: f64, more: i32) -> (Self, Self) {
        let exponent = T::SHIFT + T::BIAS + more as f64;
        let shifted = self.multiply_add(factor.into(), exponent.into());
        (shifted - exponent, Self::of(bare::<T>("shl", shifted.digits(), T::MANTISSA)))
    }
    fn nearest_powers(self, factor: f64) -> (Self, Self) {
        let two_exponents = T::SHIFT + 2.0 * T::BIAS;
        let exponents = self.multiply_add(factor.into(), two_exponents.into());
        (exponents - two_exponents, exponents)
    }
    fn times_powers(self, powers: Self) -> Self {
        let half = right::<T>(powers.digits(), 1);
        let rest = whole::<T>("sub", powers.digits(), half);
        let power = |exponent| Self::of(bare::<T>("shl", exponent, T::MANTISSA));
        self * power(half) * power(rest)
    }
    fn nearest_shifted(self, factor: f64) -> (Self, Self) {
        let shifted = self.multiply_add(factor.into(), T::SHIFT.into());
        (shifted - T::SHIFT, shifted)
    }
    fn negated_by(self, shifted: Self, digit: u32) -> Self {
        // An addition to the sign overflows, or it changes the sign.
        let digits = if digit == 0 { shifted.digits() } else { bare::<T>("and", shifted.digits(), 1 << digit) };
        let sign = bare::<T>("shl", digits, if T::DOUBLE { 63 } else { 31 } - digit as i64);
        Self::of(whole::<T>("add", self.digits(), sign))
    }
    fn choose_if_odd(shifted: Self, a: Self, b: Self) -> Self {
        let odd = bare::<T>("and", shifted.digits(), 1);
        Self::choose(Truth(step(Bank::Truth, &format!("setp.ne.{}", T::WHOLE), &[odd, 0.into()])), a, b)
    }
    fn split(self) -> (Self, Self) {
        let bias = (T::BIAS as i64) << T::MANTISSA;
        let digits = whole::<T>("add", self.digits(), bias - T::ROOT_HALF);
        let mantissa = whole::<T>("add", bare::<T>("and", digits, (1 << T::MANTISSA) - 1), T::ROOT_HALF);
        let exponent = whole::<T>("add", right::<T>(digits, T::MANTISSA), T::rounded(T::SHIFT).digits());
        (Self::of(mantissa), Self::of(exponent) - (T::SHIFT + T::BIAS))
    }
    fn widen(self) -> Self::Wide {
        Wire::new(if T::DOUBLE { self.0 } else { step(Bank::Double, "cvt.f64.f32", &[self.0]) })
    }
    fn narrow(wide: Self::Wide) -> Self {
        Self::new(if T::DOUBLE { wide.0 } else { step(Bank::Single, "cvt.rn.f32.f64", &[wide.0]) })
    }
    fn standard(self, function: Standard) -> Self {
        Self::narrow(double::standard(function, self.widen()))
    }
    fn rounded(self) -> [Self; 4] {
        ["rmi", "rpi", "rni", "rzi"].map(|way| Self::operate(&format!("cvt.{way}.{}", T::FLOAT), &[self.0]))
    }
    type Digits = Long;
    fn last_place(self) -> Long {
        let (greatest, units) = (2 * T::BIAS as i64, T::BIAS as i64 + T::MANTISSA);
        let exponent = bare::<T>("and", right::<T>(self.digits(), T::MANTISSA), greatest + 1);
        let above = whole::<T>("sub", whole::<T>("max", exponent, units), units);
        let place = whole::<T>("min", above, greatest - units);
        Long(if T::DOUBLE { place } else { step(Bank::Long, "cvt.u64.u32", &[place]) })
    }
    fn from_digits(digits: Long) -> Self {
        Self::narrow(Wire::of(digits.0))
    }
    fn while_less<const N: usize>(state: [Self; N], bound: Self, next: impl Fn([Self; N]) -> [Self; N]) -> [Self; N] {
        let goes_on = |state: [Operand; N]| Self::new(state[0]).less(bound).0;
        let next = |state: [Operand; N]| next(state.map(Self::new)).map(|value| value.0);
        body::repeated((T::BANK, T::FLOAT), state.map(|value| value.0), goes_on, next).map(Self::new)
    }
}

/// Sixty-four digits in a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long(Operand);

impl From<u64> for Long {
    fn from(digits: u64) -> Long {
        Long(step(Bank::Long, "mov.b64", &[(digits as i64).into()]))
    }
}
macro_rules! on_digits {
    ($($Trait:ident $method:ident $operation:literal),*) => { $(
        impl $Trait for Long {
            type Output = Long;
            fn $method(self, other: Long) -> Long { Long(step(Bank::Long, $operation, &[self.0, other.0])) }
        }
    )* };
}
on_digits!(Add add "add.s64", Sub sub "sub.s64", BitAnd bitand "and.b64", BitOr bitor "or.b64");
macro_rules! shifts {
    ($($Trait:ident $method:ident $operation:literal),*) => { $(
        impl $Trait for Long {
            type Output = Long;
            fn $method(self, by: Long) -> Long {
                let by = step(Bank::Word, "cvt.u32.u64", &[by.0]);
                Long(step(Bank::Long, $operation, &[self.0, by]))
            }
        }
    )* };
}
shifts!(Shl shl "shl.b64", Shr shr "shr.u64");

impl Digits for Long {
    fn if_below(self, bound: u64, a: Long, b: Long) -> Long {
        let below = step(Bank::Truth, "setp.lt.u64", &[self.0, (bound as i64).into()]);
        Long(step(Bank::Long, "selp.b64", &[a.0, b.0, below]))
    }
}

impl<T: Precision, const FUSED: bool> Kind for Wire<T, FUSED> {
    const BANK: Bank = T::BANK;
    fn new(register: Operand) -> Self {
        Wire::new(register)
    }
    fn register(self) -> Operand {
        self.0
    }
    fn apply(self, function: Function) -> Option<Self> {
        Some(function.apply(self))
    }
    fn polygamma_of(self, order: u32) -> Option<Self> {
        Some(self.polygamma(order))
    }
    fn combine(self, binary: Binary, other: Self) -> Option<Self> {
        Some(match binary {
            Binary::Pow => self.pow(other),
            Binary::Atan2 => self.atan2(other),
            Binary::Remainder => self.remainder(other),
            Binary::Fmod => self.fmod(other),
        })
    }
}

macro_rules! number {
    ($($(#[$doc:meta])* $Variant:ident $name:ident($x:ident, $y:ident, $d:ident) $change:expr;)*) => {
        impl<T: Precision, const FUSED: bool> Number for Wire<T, FUSED> {
            $(fn $name(self) -> Self { mathematics::$name(self) })*
            fn atan2(self, x: Self) -> Self {
                mathematics::atan2(self, x)
            }
            fn polygamma(self, order: u32) -> Self {
                mathematics::polygamma(order, self)
            }
        }
    };
}
functions!(number);
