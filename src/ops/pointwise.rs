//! The one operation for all formulas, and the macros that make methods and functions of them.

use crate::device::elementwise::Elementwise;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::formula::{
    Binary, Comparison, F, Formula, Function, Instruction, Number, Operator, Program, Register, Slope, Written,
    functions,
};
use crate::layout::DType;
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Wanted, apply_slice, one};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// A formula as an operation. It knows the formula by pointer (which takes no memory where there are no parameters): so all
/// that makes an operation of one is compiled once, and not for each formula.
#[derive(Debug)]
struct Pointwise(Box<dyn AnyFormula>);

/// Applies a formula to every element of tensors that broadcast. What [`formula!`](crate::formula!) writes calls it.
#[track_caller]
pub fn pointwise<P: Formula<N>, const N: usize>(formula: P, inputs: [&Tensor; N]) -> Tensor {
    apply_slice(Pointwise(Box::new(Of(formula))), &inputs)
}

/// What a formula says of itself.
struct Facts {
    name: &'static str,
    inputs: usize,
    slope: Slope,
    rounding: bool,
    truth: bool,
    conditions: usize,
}

/// A formula of any number of inputs.
trait AnyFormula: fmt::Debug + Send + Sync {
    fn facts(&self) -> &'static Facts;
    fn parameters(&self) -> Vec<f64>;
    fn compute(&self, inputs: &[&Value]) -> Result<Value, Fault>;
    /// The gradient for input `which`; it reads the inputs, or the result where the derivative is written in it.
    fn gradient(&self, which: usize, read: &[&Value], arriving: &Value, dtype: DType) -> Result<Value, Fault>;
    /// The program of the formula, or of its gradient for an input.
    fn program(&self, gradient_of: Option<usize>) -> Cow<'static, Program>;
}

/// A formula of `N` inputs.
#[derive(Debug)]
struct Of<P, const N: usize>(P);

impl<P: Formula<N>, const N: usize> AnyFormula for Of<P, N> {
    fn facts(&self) -> &'static Facts {
        const {
            &Facts {
                name: P::NAME,
                inputs: N,
                slope: P::SLOPE,
                rounding: P::ROUNDING,
                truth: P::TRUTH,
                conditions: P::CONDITIONS,
            }
        }
    }
    fn parameters(&self) -> Vec<f64> {
        self.0.parameters()
    }
    fn compute(&self, inputs: &[&Value]) -> Result<Value, Fault> {
        on!(inputs[0].device(), formula(&self.0, first(inputs)))
    }
    // Constants decide (bools: of a `match` every arm is compiled), so that each formula has the one gradient that it needs.
    fn gradient(&self, which: usize, read: &[&Value], arriving: &Value, dtype: DType) -> Result<Value, Fault> {
        if const { matches!(P::SLOPE, Slope::Flat) } {
            Err(Fault::defect("a gradient that is zero is not computed"))
        } else if const { matches!(P::SLOPE, Slope::Output) } {
            on!(arriving.device(), formula_gradient_of_result(&self.0, read[0], arriving, dtype))
        } else {
            on!(arriving.device(), formula_gradient(&self.0, which, first(read), arriving, dtype))
        }
    }
    fn program(&self, gradient_of: Option<usize>) -> Cow<'static, Program> {
        Program::of(&self.0, gradient_of)
    }
}

// What knows no formula stands in functions of its own, which are compiled once.

/// The first `N` values.
fn first<'a, const N: usize>(inputs: &[&'a Value]) -> [&'a Value; N] {
    std::array::from_fn(|i| inputs[i])
}

/// Zeros that know where they come from, so that what is recorded can be differentiated again.
fn zeros(arriving: &Tensor, which: usize, call: &Call<'_>) -> Tensor {
    arriving.masked_fill(&Tensor::full((), 1.0, DType::Bool).near(arriving), 0.0).to_dtype(call.dtype(which))
}

/// The gradient as recorded operations.
fn recorded(
    program: &Program,
    of_result: bool,
    parameters: &[f64],
    (which, arriving, call): (usize, &Tensor, &Call<'_>),
) -> Tensor {
    if program.is_zero() {
        return zeros(arriving, which, call);
    }
    let mut inputs = match of_result {
        true => vec![call.output(0)],
        false => (0..call.inputs()).map(|i| call.input(i)).collect(),
    };
    inputs.push(arriving.clone());
    evaluate(program, &inputs, parameters).to_dtype(call.dtype(which))
}

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        self.0.facts().name
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        if self.0.facts().rounding && !inputs[0].dtype().is_float() {
            return one(inputs[0].clone());
        }
        one(self.0.compute(inputs)?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (facts, arriving) = (self.0.facts(), &arriving[0]);
        if facts.slope == Slope::Flat || which < facts.conditions {
            return zeros(arriving, which, call);
        }
        let of_result = facts.slope == Slope::Output;
        if call.recorded() {
            return recorded(&self.0.program(Some(which)), of_result, &self.0.parameters(), (which, arriving, call));
        }
        Tensor::compute(|| {
            let mut read = SmallVec::<[&Value; 3]>::new();
            if of_result {
                read.push(call.output_value(0)?);
            } else {
                for i in 0..facts.inputs {
                    read.push(call.value(i)?);
                }
            }
            let gradient = self.0.gradient(which, &read, arriving.value()?, call.dtype(which));
            Ok(Tensor::from_value(gradient.map_err(|fault| call.error(fault))?))
        })
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let facts = self.0.facts();
        let moves = facts.slope != Slope::Flat || call.recorded();
        let mut all = InputGradients::new();
        for which in 0..call.inputs() {
            let wanted = moves && which >= facts.conditions && wanted.has(which);
            all.push(wanted.then(|| self.gradient(which, arriving, call)));
        }
        all
    }
    fn saves(&self, _: usize) -> Saves {
        match self.0.facts().slope {
            Slope::Output => Saves::OUTPUTS,
            Slope::Flat => Saves::NONE,
            _ => Saves::INPUTS,
        }
    }
    fn rule(&self, which: usize) -> &'static str {
        match (self.0.facts(), which) {
            (Facts { slope: Slope::Flat, .. }, _) => "∂L/∂x = 0",
            (Facts { inputs: 1, .. }, 0) => "∂L/∂x = ∂L/∂y · f′(x)",
            (_, 0) => "∂L/∂x = ∂L/∂y · ∂f/∂x, the first operand",
            (_, 1) => "∂L/∂x = ∂L/∂y · ∂f/∂x, the second operand",
            _ => "∂L/∂x = ∂L/∂y · ∂f/∂x, the third operand",
        }
    }
    fn formula(&self, gradient_of: Option<usize>) -> Option<Written> {
        let facts = self.0.facts();
        if gradient_of.is_some_and(|which| which >= facts.inputs || facts.slope == Slope::Flat) {
            return None;
        }
        Some(Written {
            program: self.0.program(gradient_of).into_owned(),
            parameters: self.0.parameters(),
            of_result: gradient_of.is_some() && facts.slope == Slope::Output,
        })
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        match self.0.facts().truth {
            true => Err("a comparison has no gradient: its result is true or false"),
            false => Ok(()),
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        match (self.0.facts().inputs, self.0.facts().conditions) {
            (1, _) => &["input"],
            (3, 1) => &["condition", "left", "right"],
            (2, 1) => &["condition", "input"],
            (2, _) => &["left", "right"],
            _ => &[],
        }
    }
}

/// A result on the way through a program: a tensor, or a number that is the same for all elements.
#[derive(Clone)]
enum Held {
    Tensor(Tensor),
    Number(f64),
}

/// Runs a program on tensors, in recorded operations.
fn evaluate(program: &Program, inputs: &[Tensor], parameters: &[f64]) -> Tensor {
    let mut held: Vec<Held> = Vec::with_capacity(program.instructions().len());
    // A number beside tensors takes their element type.
    let like = inputs.iter().find(|input| input.dtype().is_ok_and(|dtype| dtype.is_float())).unwrap_or(&inputs[0]);
    let tensor = |x: &Held| match x {
        Held::Tensor(tensor) => tensor.clone(),
        Held::Number(number) => Tensor::compute(|| Ok(Tensor::full((), *number, like.dtype()?).near(like))),
    };
    for instruction in program.instructions() {
        let at = |register: Register| &held[register as usize];
        let result = match *instruction {
            Instruction::Input(k) => Held::Tensor(inputs[k].clone()),
            Instruction::Scalar(index) => Held::Number(program.scalar(index, parameters)),
            Instruction::Literal(number) => Held::Number(number),
            Instruction::Negate(a) => match at(a) {
                Held::Tensor(a) => Held::Tensor(-a),
                Held::Number(a) => Held::Number(-a),
            },
            Instruction::Operate(operator, a, b) => operate(operator, at(a), at(b)),
            Instruction::Abs(a) => Held::Tensor(tensor(at(a)).abs()),
            Instruction::Sign(a) => Held::Tensor(tensor(at(a)).sign()),
            Instruction::Apply(function, a) => match at(a) {
                Held::Tensor(a) => Held::Tensor(a.apply_function(function)),
                Held::Number(a) => Held::Number(function.apply(F::<f64, false>(*a)).0),
            },
            Instruction::Combine(binary, a, b) => {
                let (a, b) = (tensor(at(a)), tensor(at(b)));
                Held::Tensor(match binary {
                    Binary::Pow => a.pow(&b),
                    Binary::Atan2 => a.atan2(&b),
                    Binary::Remainder => a.remainder(&b),
                    Binary::Fmod => a.fmod(&b),
                })
            }
            Instruction::Polygamma(order, a) => match at(a) {
                Held::Tensor(a) => Held::Tensor(a.polygamma(order)),
                Held::Number(a) => Held::Number(F::<f64, false>(*a).polygamma(order).0),
            },
            Instruction::Compare(comparison, a, b) => {
                let (a, b) = (tensor(at(a)), tensor(at(b)));
                Held::Tensor(match comparison {
                    Comparison::Less => a.less(&b),
                    Comparison::LessEqual => a.less_equal(&b),
                    Comparison::Equal => a.equal(&b),
                })
            }
            Instruction::And(a, b) => Held::Tensor(tensor(at(a)).logical_and(tensor(at(b)))),
            Instruction::Or(a, b) => Held::Tensor(tensor(at(a)).logical_or(tensor(at(b)))),
            Instruction::Not(a) => Held::Tensor(tensor(at(a)).logical_not()),
            Instruction::Select(condition, a, b) => {
                Held::Tensor(tensor(at(condition)).choose(tensor(at(a)), tensor(at(b))))
            }
        };
        held.push(result);
    }
    tensor(&held[program.result() as usize])
}

fn operate(operator: Operator, a: &Held, b: &Held) -> Held {
    Held::Tensor(match (a, b) {
        (Held::Number(a), Held::Number(b)) => return Held::Number(operator.apply(*a, *b)),
        (Held::Tensor(a), Held::Tensor(b)) => match operator {
            Operator::Add => a + b,
            Operator::Sub => a - b,
            Operator::Mul => a * b,
            Operator::Div => a / b,
        },
        (Held::Tensor(a), Held::Number(b)) => match operator {
            Operator::Add => a + *b,
            Operator::Sub => a - *b,
            Operator::Mul => a * *b,
            Operator::Div => a / *b,
        },
        (Held::Number(a), Held::Tensor(b)) => match operator {
            Operator::Add => *a + b,
            Operator::Sub => *a - b,
            Operator::Mul => *a * b,
            Operator::Div => *a / b,
        },
    })
}

macro_rules! apply_function {
    ($($(#[$doc:meta])* $Variant:ident $name:ident($x:ident, $y:ident, $d:ident) $change:expr;)*) => {
        impl Tensor {
            /// A function of a formula's program.
            fn apply_function(&self, function: Function) -> Tensor {
                match function { $(Function::$Variant => self.$name(),)* }
            }
        }
    };
}
functions!(apply_function);

/// A pointwise function of one, two or three tensors, written once: one pass over memory, differentiable as often as you
/// like, on every device. The tensors broadcast.
///
/// The body is an expression of the inputs, literals (`2.0`, always with a point), the scalar parameters that follow the
/// semicolon, and the functions of [`formula`](mod@crate::formula): `exp`, `tanh`, `select(gt(x, 0.0), a, b)` ...
/// Its derivative is computed with it; where a cheaper one is known, it can be given, written in the result
/// (`gradient(y) { .. }`) or in the inputs (`gradient { .. }`, one expression for each input).
/// [`check_formula!`](crate::check_formula!) holds a formula against itself: precision, gradients, edges.
///
/// ```
/// use chainrule::{Tensor, formula};
/// formula! {
///     /// `x² / (1 + x²)`, scaled.
///     pub fn saturate(x; scale) { let s = x * x; scale * s / (1.0 + s) }
/// }
/// formula! { fn logistic(x) { 1.0 / (1.0 + exp(-x)) } gradient(y) { y * (1.0 - y) } }
///
/// let x = Tensor::from([1.0, 3.0]).variable();
/// let y = saturate(&x, 2.0);
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.8]);
/// assert_eq!(y.sum().backward()?.of(&x)?.to_vec::<f32>()?[0], 1.0);
/// assert_eq!(logistic(&Tensor::from([0.0])).item()?, 0.5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[macro_export]
macro_rules! formula {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($x:ident $(, $more:ident)* $(; $($p:ident),* $(,)?)?) $body:block $($gradient:tt)*) => {
        $(#[$meta])*
        #[track_caller]
        $vis fn $name($x: &$crate::Tensor $(, $more: &$crate::Tensor)* $($(, $p: f64)*)?) -> $crate::Tensor {
            $crate::formula_struct!([] Formula $name ($x $(, $more)*) ($($($p),*)?) $body $($gradient)*);
            $crate::op::pointwise(Formula { $($($p),*)? }, [$x $(, $more)*])
        }
    };
}

/// The table form: methods of `Tensor`. A row may be marked `whole` (integers too), `flat` (the gradient is zero) or
/// `truth` (the result is true or false); `[a => b]` is its example.
macro_rules! formulas {
    ($($(#[$meta:meta])* $([$($mark:ident)*])? fn $name:ident($x:ident $(, $more:ident = $y:literal)* $(; $($p:ident = $value:literal),*)?) $example:literal => $result:literal, $body:block $(gradient $slope:tt $($of_result:block)?)?)*) => {
        impl Tensor { $(
            $(#[$meta])*
            ///
            /// ```
            /// # use chainrule::Tensor;
            #[doc = concat!("let y = Tensor::from([", stringify!($example), "]).", stringify!($name), "(", $("&Tensor::from([", stringify!($y), "]), ",)* $($(stringify!($value), ", ",)*)? ");")]
            #[doc = concat!("assert!((y.item()? - ", stringify!($result), ").abs() < 1e-5);")]
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            #[track_caller]
            pub fn $name(&self $(, $more: &Tensor)* $($(, $p: f64)*)?) -> Tensor {
                $crate::formula_struct!([$($($mark)*)?] Formula $name ($x $(, $more)*) ($($($p),*)?) $body $(gradient $slope $($of_result)?)?);
                $crate::op::pointwise(Formula { $($($p),*)? }, [self $(, $more)*])
            }
        )* }
    };
}
pub(crate) use formulas;
