//! The one operation for all formulas, and the macros that make methods and functions of them.

use crate::device::elementwise::Elementwise;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::formula::{
    Binary, Comparison, Dual, F, Formula, Function, Instruction, Number, Operator, Program, Register, Slope, Symbol,
    Written, functions,
};
use crate::layout::DType;
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Wanted, apply, one};
use crate::tensor::Tensor;

/// A formula as an operation.
#[derive(Clone, Debug)]
struct Pointwise<P, const N: usize>(P);

/// Applies a formula to every element of tensors that broadcast. What [`formula!`](crate::formula!) writes calls it.
#[track_caller]
#[inline]
pub fn pointwise<P: Formula<N>, const N: usize>(formula: P, inputs: [&Tensor; N]) -> Tensor {
    apply(Pointwise(formula), inputs)
}

impl<P: Formula<N>, const N: usize> Pointwise<P, N> {
    /// The gradient as a program: its inputs are the formula's inputs (or its result), and last what arrives.
    fn program(&self, which: usize) -> Program {
        // constants decide, so that each formula has the one program that it needs
        if const { matches!(P::SLOPE, Slope::Output) } {
            Program::trace(|| self.0.slope(Symbol::input(0)) * Symbol::input(1))
        } else if const { matches!(P::SLOPE, Slope::Inputs) } {
            Program::trace(|| self.0.slopes(symbols::<N>())[which] * Symbol::input(N))
        } else {
            Program::trace(|| self.0.value(seeds::<N>(which)).tangent.unwrap_or(0.0.into()))
        }
    }
}

// What knows no formula stands in functions of its own, which are compiled once.

/// The symbols of all inputs.
fn symbols<const N: usize>() -> [Symbol; N] {
    std::array::from_fn(Symbol::input)
}

/// The same as dual numbers: input `which` changes by what arrives.
fn seeds<const N: usize>(which: usize) -> [Dual<Symbol>; N] {
    std::array::from_fn(|k| Dual { value: Symbol::input(k), tangent: (k == which).then(|| Symbol::input(N)) })
}

/// The first `N` values.
fn first<'a, const N: usize>(inputs: &[&'a Value]) -> [&'a Value; N] {
    std::array::from_fn(|i| inputs[i])
}

fn rule(slope: Slope, inputs: usize, which: usize) -> &'static str {
    match (slope, which) {
        (Slope::Flat, _) => "∂L/∂x = 0",
        (_, 0) if inputs == 1 => "∂L/∂x = ∂L/∂y · f′(x)",
        (_, 0) => "∂L/∂x = ∂L/∂y · ∂f/∂x, the first operand",
        (_, 1) => "∂L/∂x = ∂L/∂y · ∂f/∂x, the second operand",
        _ => "∂L/∂x = ∂L/∂y · ∂f/∂x, the third operand",
    }
}

/// Zeros that know where they come from, so that what is recorded can be differentiated again.
fn zeros(arriving: &Tensor, which: usize, call: &Call<'_>) -> Tensor {
    arriving.masked_fill(&Tensor::full((), 1.0, DType::Bool), 0.0).to_dtype(call.dtype(which))
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

/// The gradient that a kernel computes.
fn computed(
    arriving: &Tensor,
    call: &Call<'_>,
    kernel: &dyn Fn(&Value) -> crate::error::Result<Result<Value, Fault>>,
) -> Tensor {
    Tensor::compute(|| {
        let gradient = kernel(arriving.value()?)?;
        Ok(Tensor::from_value(gradient.map_err(|fault| call.error(fault))?))
    })
}

/// The saved inputs.
fn values<'a>(inputs: &mut [&'a Value], call: &'a Call<'_>) -> crate::error::Result<()> {
    for (i, input) in inputs.iter_mut().enumerate() {
        *input = call.value(i)?;
    }
    Ok(())
}

/// The wanted gradients, of inputs from `first` on.
fn gradients(op: &dyn Op, first: usize, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
    let mut all = InputGradients::new();
    for which in 0..call.inputs() {
        let moves = which >= first && wanted.has(which);
        all.push(moves.then(|| op.gradient(which, arriving, call)));
    }
    all
}

impl<P: Formula<N>, const N: usize> Op for Pointwise<P, N> {
    fn name(&self) -> &'static str {
        P::NAME
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        if P::ROUNDING && !inputs[0].dtype().is_float() {
            return one(inputs[0].clone());
        }
        one(on!(inputs[0].device(), formula(&self.0, first(inputs)))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let arriving = &arriving[0];
        // constants decide first, so that loops that nobody runs are not compiled
        if const { matches!(P::SLOPE, Slope::Flat) } || which < P::CONDITIONS {
            return zeros(arriving, which, call);
        }
        if call.recorded() {
            let of_result = matches!(P::SLOPE, Slope::Output);
            return recorded(&self.program(which), of_result, &self.0.parameters(), (which, arriving, call));
        }
        if const { matches!(P::SLOPE, Slope::Output) } {
            computed(arriving, call, &|arriving| {
                let (result, dtype) = (call.output_value(0)?, call.dtype(which));
                Ok(on!(result.device(), formula_gradient_of_result(&self.0, result, arriving, dtype)))
            })
        } else {
            computed(arriving, call, &|arriving| {
                let mut inputs = [arriving; N];
                values(&mut inputs, call)?;
                let dtype = call.dtype(which);
                Ok(on!(arriving.device(), formula_gradient(&self.0, which, inputs, arriving, dtype)))
            })
        }
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let first = if P::SLOPE != Slope::Flat || call.recorded() { P::CONDITIONS } else { N };
        gradients(self, first, wanted, arriving, call)
    }
    fn saves(&self, _: usize) -> Saves {
        match P::SLOPE {
            Slope::Output => Saves::OUTPUTS,
            Slope::Flat => Saves::NONE,
            _ => Saves::INPUTS,
        }
    }
    fn rule(&self, which: usize) -> &'static str {
        rule(P::SLOPE, N, which)
    }
    fn formula(&self, gradient_of: Option<usize>) -> Option<Written> {
        let program = match gradient_of {
            None => Program::trace(|| self.0.value(std::array::from_fn(Symbol::input))),
            Some(which) if which < N && !matches!(P::SLOPE, Slope::Flat) => self.program(which),
            Some(_) => return None,
        };
        let of_result = gradient_of.is_some() && P::SLOPE == Slope::Output;
        Some(Written { program, parameters: self.0.parameters(), of_result })
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        if P::TRUTH { Err("a comparison has no gradient: its result is true or false") } else { Ok(()) }
    }
    fn roles(&self) -> &'static [&'static str] {
        match (N, P::CONDITIONS) {
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
        Held::Number(number) => Tensor::compute(|| Ok(Tensor::full((), *number, like.dtype()?))),
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
