//! `+ - * / %` and their methods, for tensors, parameters and numbers.
//!
//! The operators mean what they mean for Rust's numbers: `/` truncates integers, `%` has the dividend's sign.
//! Integers wrap; an integer division by zero is an error.

use super::number::{Number, Operand};
use crate::device::elementwise::Elementwise;
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::formula::{Program, Symbol, Written};
use crate::formula_struct;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one, pointwise};
use crate::tensor::{Parameter, Tensor, refused};
use std::borrow::Cow;

formula_struct!([whole quick] AddFormula add(x, y)() { x + y });
formula_struct!([whole quick] SubFormula sub(x, y)() { x - y });
formula_struct!([whole quick] MulFormula mul(x, y)() { x * y });
formula_struct!([whole quick] DivFormula div(x, y)() { x / y });

/// Addition, subtraction, multiplication, division: with gradients of their own, since what does not depend on an input
/// must not meet its infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    Add,
    Sub,
    Mul,
    Div,
}

impl Op for Pair {
    fn name(&self) -> &'static str {
        match self {
            Pair::Add => "add",
            Pair::Sub => "sub",
            Pair::Mul => "mul",
            Pair::Div => "div",
        }
    }
    #[inline]
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let pair = [inputs[0], inputs[1]];
        one(match self {
            Pair::Add => on!(inputs[0].device(), formula(&AddFormula {}, pair)),
            Pair::Sub => on!(inputs[0].device(), formula(&SubFormula {}, pair)),
            Pair::Mul => on!(inputs[0].device(), formula(&MulFormula {}, pair)),
            Pair::Div => {
                refuse_zeros(pair)?;
                on!(inputs[0].device(), formula(&DivFormula {}, pair))
            }
        }?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let arriving = &arriving[0];
        let gradient = match (self, which) {
            (Pair::Add, _) | (Pair::Sub, 0) => arriving.clone(),
            (Pair::Sub, _) => -arriving,
            (Pair::Mul, _) => arriving * call.input(1 - which),
            (Pair::Div, 0) => arriving / call.input(1),
            (Pair::Div, _) => -arriving * ((call.input(0) / call.input(1)) / call.input(1)),
        };
        gradient.to_dtype(call.dtype(which))
    }
    fn saves(&self, which: usize) -> Saves {
        match (self, which) {
            (Pair::Add | Pair::Sub, _) => Saves::NONE,
            (Pair::Mul, _) => Saves::input(1 - which),
            (Pair::Div, 0) => Saves::input(1),
            (Pair::Div, _) => Saves::INPUTS,
        }
    }
    fn rule(&self, which: usize) -> &'static str {
        match (self, which) {
            (Pair::Add, _) | (Pair::Sub, 0) => "∂L/∂a = ∂L/∂c",
            (Pair::Sub, _) => "∂L/∂b = -∂L/∂c",
            (Pair::Mul, 0) => "∂L/∂a = ∂L/∂c · b",
            (Pair::Mul, _) => "∂L/∂b = ∂L/∂c · a",
            (Pair::Div, 0) => "∂L/∂a = ∂L/∂c / b",
            (Pair::Div, _) => "∂L/∂b = -∂L/∂c · a / b²",
        }
    }
    fn formula(&self, gradient_of: Option<usize>) -> Option<Written> {
        let [a, b, arriving] = [0, 1, 2].map(|k| move || Symbol::input(k));
        let program = Program::trace(|| match (self, gradient_of) {
            (Pair::Add, None) => a() + b(),
            (Pair::Sub, None) => a() - b(),
            (Pair::Mul, None) => a() * b(),
            (Pair::Div, None) => a() / b(),
            (Pair::Add, Some(_)) | (Pair::Sub, Some(0)) => arriving(),
            (Pair::Sub, Some(_)) => -arriving(),
            (Pair::Mul, Some(0)) => arriving() * b(),
            (Pair::Mul, Some(_)) => arriving() * a(),
            (Pair::Div, Some(0)) => arriving() / b(),
            (Pair::Div, Some(_)) => -arriving() * (a() / b() / b()),
        });
        Some(Written { program, parameters: Vec::new(), of_result: false })
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

/// Integers have no result of a division by zero.
fn refuse_zeros([left, right]: [&Value; 2]) -> Result<(), Fault> {
    if left.dtype().is_float() || right.dtype().is_float() || left.count() == 0 {
        return Ok(());
    }
    let axes: Vec<usize> = (0..right.rank()).collect();
    let fine = on!(right.device(), all(right, &axes, false))?;
    if fine.dense::<bool>()?.first() == Some(&false) {
        return Err(Fault::value(
            "an integer division by zero",
            "check the divisor, or divide floats: to_dtype(DType::F32), where it gives infinity or NaN",
        ));
    }
    Ok(())
}

formula_struct!([quick] AffineFormula affine(x)(scale, shift) { x * scale + shift });

/// `x · scale + shift`, for floats: what a number beside a tensor is.
#[derive(Clone, Copy, Debug)]
struct Affine {
    name: &'static str,
    scale: f64,
    shift: f64,
}

/// Adding it changes nothing, not even the sign of a zero.
const NOTHING: f64 = -0.0;

impl Op for Affine {
    fn name(&self) -> &'static str {
        self.name
    }
    #[inline]
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), formula(&AffineFormula { scale: self.scale, shift: self.shift }, [inputs[0]]))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        if self.scale == 1.0 { arriving[0].clone() } else { affine("mul", &arriving[0], self.scale, NOTHING) }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        if self.scale == 1.0 { "∂L/∂x = ∂L/∂y" } else { "∂L/∂x = ∂L/∂y · c" }
    }
    fn formula(&self, gradient_of: Option<usize>) -> Option<Written> {
        let Affine { scale, shift, .. } = *self;
        let program = Program::trace(|| {
            let scaled = |x: Symbol| if scale == 1.0 { x } else { x * scale };
            match gradient_of {
                None if shift == 0.0 => scaled(Symbol::input(0)),
                None if scale == -1.0 => Symbol::from(shift) - Symbol::input(0),
                None if shift < 0.0 => scaled(Symbol::input(0)) - -shift,
                None => scaled(Symbol::input(0)) + shift,
                Some(_) => scaled(Symbol::input(1)),
            }
        });
        Some(Written { program, parameters: Vec::new(), of_result: false })
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input"]
    }
}

#[track_caller]
#[inline(never)]
fn affine(name: &'static str, x: &Tensor, scale: f64, shift: f64) -> Tensor {
    apply(Affine { name, scale, shift }, [x])
}

formula_struct!([quick] DividedFormula div(x)(divisor) { x / divisor } gradient { R::from(1.0) / divisor });
formula_struct!([rare] QuotientFormula div(x)(dividend) { dividend / x } gradient { -((dividend / x) / x) });

/// A tensor and a number.
#[track_caller]
#[inline(never)]
fn with_number(pair: Pair, x: &Tensor, number: Number) -> Tensor {
    // a product or sum of a float tensor needs no second tensor
    let Some(c) = beside_floats(x, number) else { return whole(pair, x, number, false) };
    match pair {
        Pair::Add => affine("add", x, 1.0, c),
        Pair::Sub => affine("sub", x, 1.0, -c),
        Pair::Mul => affine("mul", x, c, NOTHING),
        Pair::Div => pointwise(DividedFormula { divisor: c }, [x]),
    }
}

/// A number and a tensor.
#[track_caller]
#[inline(never)]
fn number_with(pair: Pair, number: Number, x: &Tensor) -> Tensor {
    let Some(c) = beside_floats(x, number) else { return whole(pair, x, number, true) };
    match pair {
        Pair::Add => affine("add", x, 1.0, c),
        Pair::Sub => affine("sub", x, -1.0, c),
        Pair::Mul => affine("mul", x, c, NOTHING),
        Pair::Div => pointwise(QuotientFormula { dividend: c }, [x]),
    }
}

/// The number as f64, where the two meet in a float type.
#[inline]
fn beside_floats(x: &Tensor, number: Number) -> Option<f64> {
    match x.value() {
        Ok(value) if !number.meets(value.dtype()).is_float() => None,
        _ => Some(number.float()),
    }
}

/// Whole numbers, which f64 could not hold all.
#[track_caller]
#[cold]
fn whole(pair: Pair, x: &Tensor, number: Number, swapped: bool) -> Tensor {
    let dtype = number.meets(x.dtype().unwrap_or(DType::I64));
    let (x, other) = (x.to_dtype(dtype), number.tensor(dtype).near(x));
    if swapped { apply(pair, [&other, &x]) } else { apply(pair, [&x, &other]) }
}

formula_struct!([whole rare] RemainderFormula remainder(x, y)() { remainder(x, y) });
formula_struct!([whole rare] FmodFormula fmod(x, y)() { fmod(x, y) });
formula_struct!([flat rare] FloorDivideFormula floor_divide(x, y)() {
    let rest = fmod(x, y);
    let below = (lt(rest, 0.0) & gt(y, 0.0)) | (gt(rest, 0.0) & lt(y, 0.0));
    // whole but for rounding
    select(eq(y, 0.0), x / y, round((x - rest) / y) - indicator(below))
});

/// A remainder, which whole numbers do not have for a divisor of zero.
#[derive(Clone, Copy, Debug)]
struct Remainder {
    /// With the divisor's sign (Python), or with the dividend's (Rust).
    floored: bool,
}

impl Op for Remainder {
    fn name(&self) -> &'static str {
        if self.floored { "remainder" } else { "fmod" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let pair = [inputs[0], inputs[1]];
        refuse_zeros(pair)?;
        one(match self.floored {
            true => on!(inputs[0].device(), formula(&RemainderFormula {}, pair)),
            false => on!(inputs[0].device(), formula(&FmodFormula {}, pair)),
        }?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let gradient = match which {
            0 => arriving[0].clone(),
            _ => {
                let (a, b) = (call.input(0), call.input(1));
                -&arriving[0] * if self.floored { a.floor_divide(&b) } else { (a / b).trunc() }
            }
        };
        gradient.to_dtype(call.dtype(which))
    }
    fn saves(&self, which: usize) -> Saves {
        if which == 0 { Saves::NONE } else { Saves::INPUTS }
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 { "∂L/∂a = ∂L/∂c" } else { "∂L/∂b = -∂L/∂c · ⌊a / b⌋" }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

formula_struct!([whole rare] PowFormula pow(x, exponent)() { pow(x, exponent) } gradient {
    select(eq(exponent, 0.0), 0.0, exponent * pow(x, exponent - 1.0)),
    select(eq(x, 0.0) & ge(exponent, 0.0), 0.0, pow(x, exponent) * ln(x))
});
formula_struct!([rare] PowNumberFormula pow(x)(exponent) { pow(x, exponent) } gradient { exponent * pow(x, exponent - 1.0) });
formula_struct!([whole flat rare] PowZeroFormula pow(x)() { R::from(1.0) });
formula_struct!([whole rare] CubeFormula pow(x)() { x * x * x } gradient { 3.0 * (x * x) });
formula_struct!([rare] ReciprocalSquareFormula pow(x)() { 1.0 / (x * x) } gradient { -2.0 / (x * x * x) });

/// Integers to the power of one integer.
#[track_caller]
fn whole_power(x: &Tensor, exponent: i64, dtype: DType) -> Tensor {
    let x = &x.to_dtype(dtype);
    match exponent {
        ..0 => {
            let what = format!("integers to the power of {exponent}: such powers are fractions");
            refused("pow", Fault::value(what, "convert first, for example with to_dtype(DType::F32)"), &[x])
        }
        0 => pointwise(PowZeroFormula {}, [x]),
        1 => x.clone(),
        2 => x.square(),
        3 => pointwise(CubeFormula {}, [x]),
        _ => {
            // An exponent that the type does not hold: what wraps may do so later.
            let holds = match dtype {
                DType::U8 => exponent <= u8::MAX as i64,
                DType::I32 => exponent <= i32::MAX as i64,
                _ => true,
            };
            let within = if holds { dtype } else { DType::I64 };
            let exponent = Number::Integer(exponent).tensor(within).near(x);
            pointwise(PowFormula {}, [&x.to_dtype(within), &exponent]).to_dtype(dtype)
        }
    }
}

formula_struct!([whole] MaximumFormula maximum(x, y)() { maximum(x, y) } gradient {
    select(lt(x, y), 0.0, select(eq(x, y), 0.5, 1.0)),
    select(lt(y, x), 0.0, select(eq(x, y), 0.5, 1.0))
});
formula_struct!([whole] MinimumFormula minimum(x, y)() { minimum(x, y) } gradient {
    select(lt(y, x), 0.0, select(eq(x, y), 0.5, 1.0)),
    select(lt(x, y), 0.0, select(eq(x, y), 0.5, 1.0))
});
formula_struct!([whole] ClampFormula clamp(x)(low, high) { minimum(maximum(x, low), high) } gradient { indicator(gt(x, low) & lt(x, high)) });
formula_struct!([whole] ClampMinFormula clamp_min(x)(low) { maximum(x, low) } gradient { indicator(gt(x, low)) });
formula_struct!([whole] ClampMaxFormula clamp_max(x)(high) { minimum(x, high) } gradient { indicator(lt(x, high)) });

impl Tensor {
    /// `x^exponent`, for a number or a tensor of exponents.
    ///
    /// Negative numbers have powers for whole exponents only, NaN else. Integers to the power of integers stay integers, and
    /// wrap: their type is that of [`promote`](DType::promote). A negative exponent among a tensor's truncates the fraction, as
    /// `/` does (1 and -1 stay, all else is 0); one number for all that is negative is an error. A float beside integers gives f32.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let x = Tensor::from([2.0, -3.0]);
    /// assert_eq!(x.pow(3).to_vec::<f32>()?, [8.0, -27.0]);
    /// assert_eq!(x.pow(&Tensor::from([1.0, 2.0])).to_vec::<f32>()?, [2.0, 9.0]);
    /// let whole = Tensor::from([3, -3]);
    /// assert_eq!(whole.pow(5).to_vec::<i64>()?, [243, -243]);
    /// assert_eq!(whole.pow(0.5).to_vec::<f32>()?[0], 3f32.sqrt());
    /// assert!(whole.pow(-1).error().is_some()); // whole.pow(-1.0) is [1/3, -1/3]
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn pow<'a>(&self, exponent: impl Into<Operand<'a>>) -> Tensor {
        let number = match exponent.into() {
            Operand::Tensor(exponent) => return pointwise(PowFormula {}, [self, exponent]),
            Operand::Owned(exponent) => return pointwise(PowFormula {}, [self, &exponent]),
            Operand::Number(number) => number,
        };
        let (x, number) = match self.dtype() {
            Ok(dtype) if dtype.is_float() => (Cow::Borrowed(self), number.float()),
            Ok(dtype) => match (number.meets(dtype), number) {
                (float, Number::Float(number)) => (Cow::Owned(self.to_dtype(float)), number),
                (whole, Number::Integer(number)) => return whole_power(self, number, whole),
                (whole, Number::Truth(number)) => return whole_power(self, number as i64, whole),
            },
            Err(_) => return self.clone(),
        };
        let x = &*x;
        // cheaper and more exact than the general power; gradients as in PyTorch
        if number == 2.0 {
            x.square()
        } else if number == 1.0 {
            affine("pow", x, 1.0, NOTHING)
        } else if number == 0.5 {
            x.sqrt()
        } else if number == -1.0 {
            x.reciprocal()
        } else if number == -0.5 {
            x.rsqrt()
        } else if number == 3.0 {
            pointwise(CubeFormula {}, [x])
        } else if number == -2.0 {
            pointwise(ReciprocalSquareFormula {}, [x])
        } else if number == 0.0 {
            pointwise(PowZeroFormula {}, [x])
        } else {
            pointwise(PowNumberFormula { exponent: number }, [x])
        }
    }
    /// The greater of both, NaN if one is NaN. Where they are equal each gets half of the gradient.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let x = Tensor::from([-1.0, 2.0]);
    /// assert_eq!(x.maximum(0.5).to_vec::<f32>()?, [0.5, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn maximum<'a>(&self, other: impl Into<Operand<'a>>) -> Tensor {
        pointwise(MaximumFormula {}, [self, &other.into().beside(self)])
    }
    /// The smaller of both, NaN if one is NaN. Where they are equal each gets half of the gradient.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let x = Tensor::from([-1.0, 2.0]);
    /// assert_eq!(x.minimum(&Tensor::from([0.5])).to_vec::<f32>()?, [-1.0, 0.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn minimum<'a>(&self, other: impl Into<Operand<'a>>) -> Tensor {
        pointwise(MinimumFormula {}, [self, &other.into().beside(self)])
    }
    /// `min(max(x, low), high)`; the gradient is 0 outside and at the bounds.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([-3.0, 0.5, 3.0]).clamp(-1.0, 1.0).to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "clip")]
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Tensor {
        pointwise(ClampFormula { low, high }, [self])
    }
    /// `max(x, low)`; the gradient is 0 below and at the bound.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([-3.0, 0.5]).clamp_min(-1.0).to_vec::<f32>()?, [-1.0, 0.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp_min(&self, low: f64) -> Tensor {
        pointwise(ClampMinFormula { low }, [self])
    }
    /// `min(x, high)`; the gradient is 0 above and at the bound.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([-3.0, 3.0]).clamp_max(1.0).to_vec::<f32>()?, [-3.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp_max(&self, high: f64) -> Tensor {
        pointwise(ClampMaxFormula { high }, [self])
    }
    /// The remainder that has the divisor's sign, as in Python. (The operator `%` has the dividend's, as in Rust.)
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([-7.0, 7.0]).remainder(3.0).to_vec::<f32>()?, [2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn remainder<'a>(&self, divisor: impl Into<Operand<'a>>) -> Tensor {
        apply(Remainder { floored: true }, [self, &divisor.into().beside(self)])
    }
    /// The remainder that has the dividend's sign: the operator `%`.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([-7.0, 7.0]).fmod(3.0).to_vec::<f32>()?, [-1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn fmod<'a>(&self, divisor: impl Into<Operand<'a>>) -> Tensor {
        apply(Remainder { floored: false }, [self, &divisor.into().beside(self)])
    }
    /// The quotient rounded down, as `//` in Python: of floats too it is whole. Its gradient is 0.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([-7.0, 7.0]).floor_divide(2.0).to_vec::<f32>()?, [-4.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn floor_divide<'a>(&self, divisor: impl Into<Operand<'a>>) -> Tensor {
        let divisor = divisor.into().beside(self);
        let whole = |x: &Tensor| x.dtype().is_ok_and(|dtype| !dtype.is_float());
        match whole(self) && whole(&divisor) {
            true => (self - self.remainder(&*divisor)) / &*divisor,
            false => pointwise(FloorDivideFormula {}, [self, &*divisor]),
        }
    }
    /// `self + scale · other`
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1.0]).add_scaled(&Tensor::from([2.0]), 0.5).item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn add_scaled(&self, other: &Tensor, scale: f64) -> Tensor {
        formula_struct!([rare] AddScaled add_scaled(x, y)(scale) { x + scale * y } gradient { R::from(1.0), R::from(scale) });
        pointwise(AddScaled { scale }, [self, other])
    }
}

impl AsRef<Tensor> for Tensor {
    fn as_ref(&self) -> &Tensor {
        self
    }
}
impl AsRef<Tensor> for Parameter {
    fn as_ref(&self) -> &Tensor {
        self
    }
}

/// One operator, for tensors on both sides (by value or by reference, parameters too) and for a number on one.
/// One float and one integer only, so that a literal has one type and `(x * 2.0).exp()` compiles; write `x * rate as f64`.
macro_rules! operators {
    ($($Trait:ident $method:ident: $a:ident $b:ident => $both:expr, $x:ident $c:ident => $right:expr, $left:expr;)*) => { $(
        operators!(@both $Trait $method $a $b $both; Tensor, Tensor; Tensor, &Tensor; &Tensor, Tensor; &Tensor, &Tensor;
            Tensor, &Parameter; &Tensor, &Parameter; &Parameter, Tensor; &Parameter, &Tensor; &Parameter, &Parameter);
        operators!(@numbers $Trait $method $x $c $right, $left; f64 i64 bool);
    )* };
    (@both $Trait:ident $method:ident $a:ident $b:ident $both:expr; $($A:ty, $B:ty);*) => { $(
        impl std::ops::$Trait<$B> for $A {
            type Output = Tensor;
            #[track_caller]
            #[inline]
            fn $method(self, other: $B) -> Tensor {
                let ($a, $b): (&Tensor, &Tensor) = (self.as_ref(), other.as_ref());
                $both
            }
        }
    )* };
    (@numbers $Trait:ident $method:ident $x:ident $c:ident $right:expr, $left:expr; $($N:ty)*) => { $(
        operators!(@number $Trait $method $x $c $right, $left; $N; Tensor; &Tensor; &Parameter);
    )* };
    (@number $Trait:ident $method:ident $x:ident $c:ident $right:expr, $left:expr; $N:ty; $($A:ty);*) => { $(
        impl std::ops::$Trait<$N> for $A {
            type Output = Tensor;
            #[track_caller]
            #[inline]
            fn $method(self, number: $N) -> Tensor {
                let ($x, $c): (&Tensor, Number) = (self.as_ref(), number.into());
                $right
            }
        }
        impl std::ops::$Trait<$A> for $N {
            type Output = Tensor;
            #[track_caller]
            #[inline]
            fn $method(self, tensor: $A) -> Tensor {
                let ($x, $c): (&Tensor, Number) = (tensor.as_ref(), self.into());
                $left
            }
        }
    )* };
}
pub(super) use operators;
operators! {
    Add add: a b => apply(Pair::Add, [a, b]), x c => with_number(Pair::Add, x, c), number_with(Pair::Add, c, x);
    Sub sub: a b => apply(Pair::Sub, [a, b]), x c => with_number(Pair::Sub, x, c), number_with(Pair::Sub, c, x);
    Mul mul: a b => apply(Pair::Mul, [a, b]), x c => with_number(Pair::Mul, x, c), number_with(Pair::Mul, c, x);
    Div div: a b => apply(Pair::Div, [a, b]), x c => with_number(Pair::Div, x, c), number_with(Pair::Div, c, x);
    Rem rem: a b => a.fmod(b), x c => x.fmod(Operand::Number(c)), {
        Operand::Number(c).beside(x).fmod(x)
    };
}

/// An operator of one operand.
macro_rules! prefixes {
    ($($Trait:ident $method:ident $x:ident => $result:expr; $($A:ty)*;)*) => { $($(
        impl std::ops::$Trait for $A {
            type Output = Tensor;
            #[track_caller]
            #[inline]
            fn $method(self) -> Tensor {
                let $x: &Tensor = self.as_ref();
                $result
            }
        }
    )*)* };
}
prefixes! {
    Neg neg x => negative(x); Tensor &Tensor &Parameter;
    Not not x => x.logical_not(); Tensor &Tensor &Parameter;
}

#[track_caller]
#[inline]
fn negative(x: &Tensor) -> Tensor {
    match x.dtype() {
        Ok(dtype) if !dtype.is_float() => whole(Pair::Mul, x, Number::Integer(-1), false),
        _ => affine("neg", x, -1.0, NOTHING),
    }
}
