//! A whole number in a register; it wraps, as [`Whole`](super::super::Whole) does.

use super::Kind;
use super::body::{self, Bank, Operand, step};
use super::float::Truth;
use crate::formula::number::Arithmetic;
use crate::formula::{Binary, Function};
use crate::layout::Element;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An integer of type `T` whose value is in a register; a u8 stands in 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count<T>(Operand, PhantomData<T>);

/// How integers look in registers.
pub(super) trait Width: Element + Debug {
    const BANK: Bank;
    /// The ends of operations on it, and on its bare digits.
    const KIND: &'static str;
    const BARE: &'static str;
    const SIGNED: bool;
    /// Fewer digits than the register has?
    const NARROW: bool = false;
    fn number(self) -> i64;
}
impl Width for i64 {
    const BANK: Bank = Bank::Long;
    const KIND: &'static str = "s64";
    const BARE: &'static str = "b64";
    const SIGNED: bool = true;
    fn number(self) -> i64 {
        self
    }
}
impl Width for i32 {
    const BANK: Bank = Bank::Word;
    const KIND: &'static str = "s32";
    const BARE: &'static str = "b32";
    const SIGNED: bool = true;
    fn number(self) -> i64 {
        self as i64
    }
}
impl Width for u8 {
    const BANK: Bank = Bank::Word;
    const KIND: &'static str = "u32";
    const BARE: &'static str = "b32";
    const SIGNED: bool = false;
    const NARROW: bool = true;
    fn number(self) -> i64 {
        self as i64
    }
}

impl<T: Width> Count<T> {
    fn of(number: i64) -> Self {
        Count(step(T::BANK, &format!("mov.{}", T::BARE), &[number.into()]), PhantomData)
    }
    fn operate(operation: &str, a: Self, b: Self) -> Self {
        Count(step(T::BANK, &format!("{operation}.{}", T::KIND), &[a.0, b.0]), PhantomData)
    }
    fn compare(operation: &str, a: Self, b: Self) -> Truth {
        Truth(step(Bank::Truth, &format!("setp.{operation}.{}", T::KIND), &[a.0, b.0]))
    }
    /// Without the digits that the type does not have.
    fn wrapped(self) -> Self {
        if T::NARROW { Count(step(T::BANK, "and.b32", &[self.0, 255.into()]), PhantomData) } else { self }
    }
    /// Quotient or rest; 0 where the divisor is 0. Dividing by -1 is done apart: the least number has no counterpart.
    fn divided(operation: &str, a: Self, b: Self, by_minus_one: impl FnOnce() -> Self) -> Self {
        let (zero, one) = (Self::of(0), Self::of(1));
        let by_zero = b.equal(zero);
        let mut divisor = Self::choose(by_zero, one, b);
        if !T::SIGNED {
            return Self::choose(by_zero, zero, Self::operate(operation, a, divisor));
        }
        let reversed = b.equal(Self::of(-1));
        divisor = Self::choose(reversed, one, divisor);
        let result = Self::choose(reversed, by_minus_one(), Self::operate(operation, a, divisor));
        Self::choose(by_zero, zero, result)
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident |$a:ident, $b:ident| $result:expr),*) => { $(
        impl<T: Width> $Trait for Count<T> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $result
            }
        }
        impl<T: Width> $Trait<f64> for Count<T> {
            type Output = Self;
            fn $method(self, other: f64) -> Self { self.$method(Self::from(other)) }
        }
        impl<T: Width> $Trait<Count<T>> for f64 {
            type Output = Count<T>;
            fn $method(self, other: Count<T>) -> Count<T> { Count::from(self).$method(other) }
        }
    )* };
}
operators!(
    Add add |a, b| Self::operate("add", a, b).wrapped(),
    Sub sub |a, b| Self::operate("sub", a, b).wrapped(),
    Mul mul |a, b| Self::operate("mul.lo", a, b).wrapped(),
    Div div |a, b| Self::divided("div", a, b, || -a)
);

impl<T: Width> Neg for Count<T> {
    type Output = Self;
    fn neg(self) -> Self {
        Self::of(0) - self
    }
}
impl<T: Width> From<f64> for Count<T> {
    fn from(x: f64) -> Self {
        Self::of(T::from_f64(x).number())
    }
}

impl<T: Width> Arithmetic for Count<T> {
    compared_in_registers!();
    fn choose(condition: Truth, a: Self, b: Self) -> Self {
        Count(step(T::BANK, &format!("selp.{}", T::BARE), &[a.0, b.0, condition.0]), PhantomData)
    }
    fn abs(self) -> Self {
        if T::SIGNED { Self::choose(self.less(Self::of(0)), -self, self) } else { self }
    }
    fn sign(self) -> Self {
        let zero = Self::of(0);
        let below = if T::SIGNED { Self::choose(self.less(zero), Self::of(-1), zero) } else { zero };
        Self::choose(zero.less(self), Self::of(1), below)
    }
    fn remainder(self, divisor: Self) -> Self {
        let zero = Self::of(0);
        let rest = self.fmod(divisor);
        if !T::SIGNED {
            return rest;
        }
        let differ = Truth(step(Bank::Truth, "xor.pred", &[rest.less(zero).0, divisor.less(zero).0]));
        Self::choose(differ.and(rest.equal(zero).not()), rest + divisor, rest)
    }
    fn fmod(self, divisor: Self) -> Self {
        Self::divided("rem", self, divisor, || Self::of(0))
    }
    fn pow(self, exponent: Self) -> Self {
        let (zero, one) = (Self::of(0), Self::of(1));
        let odd = |x: Self| {
            let digit = step(T::BANK, &format!("and.{}", T::BARE), &[x.0, 1.into()]);
            Self(digit, PhantomData).equal(Self::of(1))
        };
        // Squares of squares: those that the exponent's digits name are multiplied.
        let goes_on = |[left, ..]: [Operand; 3]| Self::of(0).less(Self::new(left)).0;
        let next = |state: [Operand; 3]| {
            let [left, power, square] = state.map(Self::new);
            let half = step(T::BANK, if T::BANK == Bank::Long { "shr.u64" } else { "shr.u32" }, &[left.0, 1.into()]);
            [half, Self::choose(odd(left), power * square, power).0, (square * square).0]
        };
        let kind = (T::BANK, T::BARE);
        let [_, power, _] = body::repeated(kind, [exponent.0, one.0, self.0], goes_on, next);
        let power = Self::new(power);
        if !T::SIGNED {
            return power;
        }
        let minus_one = Self::of(-1);
        let reversed = Self::choose(self.equal(minus_one), Self::choose(odd(exponent), minus_one, one), zero);
        Self::choose(exponent.less(zero), Self::choose(self.equal(one), one, reversed), power)
    }
}

/// What only floats can do is `None` here.
impl<T: Width> Kind for Count<T> {
    const BANK: Bank = T::BANK;
    fn new(register: Operand) -> Self {
        Count(register, PhantomData)
    }
    fn register(self) -> Operand {
        self.0
    }
    fn apply(self, _: Function) -> Option<Self> {
        None
    }
    fn polygamma_of(self, _: u32) -> Option<Self> {
        None
    }
    fn combine(self, binary: Binary, other: Self) -> Option<Self> {
        match binary {
            Binary::Remainder => Some(self.remainder(other)),
            Binary::Fmod => Some(self.fmod(other)),
            Binary::Pow => Some(self.pow(other)),
            Binary::Atan2 => None,
        }
    }
}
