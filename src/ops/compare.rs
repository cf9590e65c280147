//! Comparisons, logic, and choosing by them. What they give is true or false and has no gradient; what is chosen has.

use super::number::Operand;
use crate::device::elementwise::Elementwise;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one, pointwise};
use crate::tensor::Tensor;

/// Methods that compare with a tensor or a number.
macro_rules! comparisons {
    ($($(#[$meta:meta])* $alias:literal fn $name:ident($x:ident, $y:ident) $sample:literal => $expected:expr, $body:block)*) => {
        impl Tensor { $(
            $(#[$meta])*
            ///
            /// ```
            /// # use chainrule::Tensor;
            #[doc = concat!("let y = Tensor::from([1.0, 2.0, 3.0]).", stringify!($name), "(", stringify!($sample), ");")]
            #[doc = concat!("assert_eq!(y.to_vec::<bool>()?, ", stringify!($expected), ");")]
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            #[doc(alias = $alias)]
            #[track_caller]
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Tensor {
                formula_struct!([whole flat truth] Formula $name($x, $y)() $body);
                pointwise(Formula {}, [self, &other.into().beside(self)])
            }
        )* }
    };
}
comparisons! {
    /// Where is it less than the other?
    "lt" fn less(x, y) 2.0 => [true, false, false], { indicator(lt(x, y)) }
    /// Where is it at most the other?
    "le" fn less_equal(x, y) 2.0 => [true, true, false], { indicator(le(x, y)) }
    /// Where is it greater than the other?
    "gt" fn greater(x, y) 2.0 => [false, false, true], { indicator(gt(x, y)) }
    /// Where is it at least the other?
    "ge" fn greater_equal(x, y) 2.0 => [false, true, true], { indicator(ge(x, y)) }
    /// Where do both agree? NaN equals nothing.
    "eq" fn equal(x, y) 2.0 => [false, true, false], { indicator(eq(x, y)) }
    /// Where do both differ?
    "ne" fn not_equal(x, y) 2.0 => [true, false, true], { indicator(ne(x, y)) }
    /// Where are both true (not zero)?
    "and" fn logical_and(x, y) 0.0 => [false, false, false], { indicator(ne(x, 0.0) & ne(y, 0.0)) }
    /// Where is one of both true (not zero), or both?
    "or" fn logical_or(x, y) 0.0 => [true, true, true], { indicator(ne(x, 0.0) | ne(y, 0.0)) }
    /// Where is exactly one of both true (not zero)?
    "xor" fn logical_xor(x, y) 0.0 => [true, true, true], { let (a, b) = (ne(x, 0.0), ne(y, 0.0)); indicator((a & !b) | (b & !a)) }
}

/// Methods that ask something about each element.
macro_rules! questions {
    ($($(#[$meta:meta])* $alias:literal fn $name:ident($x:ident) $expected:expr, $body:block)*) => {
        impl Tensor { $(
            $(#[$meta])*
            ///
            /// ```
            /// # use chainrule::Tensor;
            #[doc = concat!("let y = Tensor::from([0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).", stringify!($name), "();")]
            #[doc = concat!("assert_eq!(y.to_vec::<bool>()?, ", stringify!($expected), ");")]
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            #[doc(alias = $alias)]
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                formula_struct!([whole flat truth rare] Formula $name($x)() $body);
                pointwise(Formula {}, [self])
            }
        )* }
    };
}
questions! {
    /// Where is it NaN?
    "isnan" fn is_nan(x) [false, true, false, false], { indicator(is_nan(x)) }
    /// Where is it infinite?
    "isinf" fn is_infinite(x) [false, false, true, true], { indicator(!is_finite(x) & !is_nan(x)) }
    /// Where is it neither infinite nor NaN?
    "isfinite" fn is_finite(x) [true, false, false, false], { indicator(is_finite(x)) }
    /// Where is it +∞?
    "isposinf" fn is_positive_infinity(x) [false, false, true, false], { indicator(!is_finite(x) & gt(x, 0.0)) }
    /// Where is it -∞?
    "isneginf" fn is_negative_infinity(x) [false, false, false, true], { indicator(!is_finite(x) & lt(x, 0.0)) }
    /// Where is it false (zero)? The operator `!`.
    "not" fn logical_not(x) [true, false, false, false], { indicator(eq(x, 0.0)) }
}

formula_struct!([whole condition] ChooseFormula choose(condition, a, b)() { select(ne(condition, 0.0), a, b) });
formula_struct!([whole condition] MaskedFillFormula masked_fill(mask, x)(number) { select(ne(mask, 0.0), number, x) });

/// The first where the condition holds, else the second. Only the condition is kept for the gradient.
#[derive(Clone, Copy, Debug)]
struct Choose;

impl Op for Choose {
    fn name(&self) -> &'static str {
        "choose"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), formula(&ChooseFormula {}, [inputs[0], inputs[1], inputs[2]]))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (condition, arriving) = (call.input(0), &arriving[0]);
        let gradient = match which {
            0 => return Tensor::full(*call.shape(0), 0.0, call.dtype(0)).near(arriving),
            1 => condition.choose(arriving, 0.0),
            _ => condition.choose(0.0, arriving),
        };
        gradient.to_dtype(call.dtype(which))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(0)
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 1 {
            "∂L/∂a = ∂L/∂c where a was chosen, else 0"
        } else {
            "∂L/∂b = ∂L/∂c where b was chosen, else 0"
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["condition", "left", "right"]
    }
}

/// A number where the mask holds.
#[derive(Clone, Copy, Debug)]
struct MaskedFill(f64);

impl Op for MaskedFill {
    fn name(&self) -> &'static str {
        "masked_fill"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        if inputs[0].dtype() != DType::Bool {
            return Err(Fault::dtype(
                format!("the mask holds {} numbers", inputs[0].dtype()),
                "a mask is true or false: compare first, as in x.less(0.0)",
            ));
        }
        one(on!(inputs[0].device(), formula(&MaskedFillFormula { number: self.0 }, [inputs[0], inputs[1]]))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => Tensor::full(*call.shape(0), 0.0, call.dtype(0)).near(&arriving[0]),
            _ => apply(MaskedFill(0.0), [&call.input(0), &arriving[0]]),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(0)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, 0 where the mask holds"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["mask", "input"]
    }
}

impl Tensor {
    /// `a` where this condition holds, else `b`; all three broadcast, and `a` and `b` may be numbers.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let x = Tensor::from([-1.0, 2.0]);
    /// let y = x.less(0.0).choose(&x * 0.1, &x);
    /// assert_eq!(y.to_vec::<f32>()?, [-0.1, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "where")]
    #[track_caller]
    pub fn choose<'a, 'b>(&self, a: impl Into<Operand<'a>>, b: impl Into<Operand<'b>>) -> Tensor {
        let (a, b) = (a.into(), b.into());
        match (a.tensor(), b.tensor(), &a, &b) {
            (Some(a), Some(b), ..) => apply(Choose, [self, a, b]),
            (Some(a), None, ..) => apply(Choose, [self, a, &b.beside(a)]),
            (None, Some(b), ..) => apply(Choose, [self, &a.beside(b), b]),
            (None, None, Operand::Number(a), Operand::Number(b)) => {
                let meeting = b.meets(a.meets(DType::Bool));
                apply(Choose, [self, &a.tensor(meeting).near(self), &b.tensor(meeting).near(self)])
            }
            _ => self.clone(),
        }
    }
    /// The tensor with `number` where the mask is true. No gradient passes there.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let scores = Tensor::from([1.0, 2.0]);
    /// let masked = scores.masked_fill(&Tensor::from([false, true]), f64::NEG_INFINITY);
    /// assert_eq!(masked.to_vec::<f32>()?, [1.0, f32::NEG_INFINITY]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, number: f64) -> Tensor {
        apply(MaskedFill(number), [mask, self])
    }
    /// Where is it within `absolute + relative · |other|` of the other? Equal infinities are close, NaN is close to nothing.
    ///
    /// ```
    /// # use chainrule::Tensor;
    /// let close = Tensor::from([1.0, 2.0]).is_close(&Tensor::from([1.0001, 3.0]), 1e-3, 0.0);
    /// assert_eq!(close.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "isclose")]
    #[track_caller]
    pub fn is_close(&self, other: &Tensor, relative: f64, absolute: f64) -> Tensor {
        formula_struct!([flat truth rare] Formula is_close(x, y)(relative, absolute) {
            indicator(eq(x, y) | (is_finite(y) & le(abs(x - y), absolute + relative * abs(y))))
        });
        pointwise(Formula { relative, absolute }, [self, other])
    }
}
