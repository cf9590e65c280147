//! Symbols: a formula evaluated on them becomes a program, a short list of instructions.
//!
//! Readers of a program decide what it is for: on tensors it gives derivatives of any order, as text it is a kernel.

#[cfg(feature = "cuda-unversioned")]
use super::definition::Update;
use super::definition::{Formula, Slope};
use super::number::{Arithmetic, Number, functions};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::OnceLock;

/// Which earlier result an instruction reads: its position in the program.
pub type Register = u32;

/// The four operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
}

impl Operator {
    /// The operation on plain numbers.
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Operator::Add => a + b,
            Operator::Sub => a - b,
            Operator::Mul => a * b,
            Operator::Div => a / b,
        }
    }
}

/// A comparison of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a == b`
    Equal,
}

/// Functions of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a` to the power of `b`
    Pow,
    /// The angle of the point (b, a).
    Atan2,
    /// The remainder with the divisor's sign.
    Remainder,
    /// The remainder with the dividend's sign.
    Fmod,
}

/// One step of a program. Registers are positions of earlier steps.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Instruction {
    /// The input of this number.
    Input(usize),
    /// A number that is the same for all elements: an expression of the scalar parameters, see [`Program::scalar`].
    Scalar(u32),
    /// A literal.
    Literal(f64),
    /// The negative.
    Negate(Register),
    /// One of the four operations.
    Operate(Operator, Register, Register),
    /// Absolute value.
    Abs(Register),
    /// -1, 0 or 1.
    Sign(Register),
    /// A function of one number.
    Apply(Function, Register),
    /// A function of two numbers.
    Combine(Binary, Register, Register),
    /// A derivative of the digamma function.
    Polygamma(u32, Register),
    /// A comparison; its result is a truth value.
    Compare(Comparison, Register, Register),
    /// Both truth values.
    And(Register, Register),
    /// One of both, or both.
    Or(Register, Register),
    /// The opposite truth value.
    Not(Register),
    /// The second where the first holds, else the third.
    Select(Register, Register, Register),
}

/// An expression of scalar parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ScalarStep {
    Parameter(usize),
    Literal(f64),
    Negate(u32),
    Operate(Operator, u32, u32),
}

/// What a formula became: instructions in order, and which of them is the result.
///
/// ```
/// use chainrule::formula::{Instruction, Program, Symbol};
/// let program = Program::trace(|| Symbol::input(0) * 2.0);
/// assert_eq!(program.instructions().len(), 3);
/// assert!(matches!(program.instructions()[0], Instruction::Input(0)));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    instructions: Vec<Instruction>,
    scalars: Vec<ScalarStep>,
    result: Register,
}

thread_local! {
    static WRITING: RefCell<Program> = const { RefCell::new(Program { instructions: Vec::new(), scalars: Vec::new(), result: 0 }) };
}

impl Program {
    /// The program that computes what `formula` returns.
    pub fn trace(formula: impl FnOnce() -> Symbol) -> Program {
        let outer = Program::begin();
        let result = formula();
        Program::end(outer, result)
    }
    /// The program of a formula, or of its gradient for an input: then the inputs are what the gradient reads, the formula's
    /// inputs or its result, and last what arrives. It is traced once and kept, if it is the same for all parameters.
    pub(crate) fn of<P: Formula<N>, const N: usize>(formula: &P, gradient_of: Option<usize>) -> Cow<'static, Program> {
        let place = P::programs().map(|programs| &programs[gradient_of.map_or(0, |which| which + 1)]);
        if const { matches!(P::SLOPE, Slope::Dual) } {
            return Program::kept(place, gradient_of.map(|which| [which, N]), &|| formula.value(symbols::<N>()));
        }
        Program::kept(place, None, &|| match gradient_of {
            None => formula.value(symbols::<N>()),
            Some(which) => gradient(formula, which),
        })
    }
    // It knows the formula by pointer, so that it is compiled once and not for each.
    #[inline(never)]
    fn kept(
        place: Option<&'static OnceLock<Program>>,
        change: Option<[usize; 2]>,
        formula: &dyn Fn() -> Symbol,
    ) -> Cow<'static, Program> {
        let trace = || match change {
            None => Program::trace(formula),
            Some([which, inputs]) => {
                let program = Program::trace(formula);
                Program::trace(|| program.change(which, inputs))
            }
        };
        match place {
            Some(place) => Cow::Borrowed(place.get_or_init(trace)),
            None => Cow::Owned(trace()),
        }
    }
    /// The program of an optimizer's step, and which of its steps are the results: inputs are parameter, gradient and states,
    /// results the new parameter and states.
    ///
    /// ```
    /// use chainrule::formula::{Instruction, Operator, Program};
    /// chainrule::update_formula! {
    ///     fn Descent(parameter, gradient;; rate) { parameter = parameter - rate * gradient; }
    /// }
    /// let (program, results) = Program::of_update(&Descent { rate: 0.1 });
    /// let last = program.instructions()[results[0] as usize];
    /// assert!(matches!(last, Instruction::Operate(Operator::Sub, ..)));
    /// ```
    #[cfg(feature = "cuda-unversioned")]
    pub fn of_update<U: Update<STATES>, const STATES: usize>(step: &U) -> (Program, Vec<Register>) {
        let outer = Program::begin();
        let states = std::array::from_fn(|k| Symbol::input(2 + k));
        let (parameter, states) = step.step(Symbol::input(0), Symbol::input(1), states);
        let results = std::iter::once(parameter).chain(states).map(|result| result.0).collect();
        (Program::end(outer, parameter), results)
    }
    // Apart from `trace`, so that they are compiled once and not for each formula.
    #[inline(never)]
    fn begin() -> Program {
        WRITING.with_borrow_mut(std::mem::take)
    }
    #[inline(never)]
    fn end(outer: Program, result: Symbol) -> Program {
        let mut program = WRITING.with_borrow_mut(|program| std::mem::replace(program, outer));
        program.result = result.0;
        program
    }
    /// The steps, in an order in which they can run.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
    /// The step whose result is the formula's.
    pub fn result(&self) -> Register {
        self.result
    }
    /// The program that is being written has this one's expressions of scalar parameters, under the same numbers.
    pub(super) fn share_scalars(&self) {
        WRITING.with_borrow_mut(|program| program.scalars.clone_from(&self.scalars));
    }
    /// Is the result the literal 0, whatever the inputs are?
    pub fn is_zero(&self) -> bool {
        self.instructions.get(self.result as usize) == Some(&Instruction::Literal(0.0))
    }
    /// The value of a scalar expression for these parameters, computed in f64.
    pub fn scalar(&self, index: u32, parameters: &[f64]) -> f64 {
        match self.scalars[index as usize] {
            ScalarStep::Parameter(k) => parameters[k],
            ScalarStep::Literal(x) => x,
            ScalarStep::Negate(a) => -self.scalar(a, parameters),
            ScalarStep::Operate(operator, a, b) => {
                operator.apply(self.scalar(a, parameters), self.scalar(b, parameters))
            }
        }
    }
}

/// The gradient of a formula that says it. (Constants decide, so that each formula has the one that it needs.)
fn gradient<P: Formula<N>, const N: usize>(formula: &P, which: usize) -> Symbol {
    if const { matches!(P::SLOPE, Slope::Flat) } {
        0.0.into()
    } else if const { matches!(P::SLOPE, Slope::Output) } {
        formula.slope(Symbol::input(0)) * Symbol::input(1)
    } else {
        formula.slopes(symbols::<N>())[which] * Symbol::input(N)
    }
}

/// The symbols of all inputs.
#[inline(never)]
fn symbols<const N: usize>() -> [Symbol; N] {
    std::array::from_fn(Symbol::input)
}

/// A number whose value is not known yet: the result of an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Symbol(Register);

/// A scalar parameter, or an expression of some, whose value is not known yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SymbolicScalar(u32);

/// Appends a step, or finds the same one among the earlier ones.
fn place<S: PartialEq>(steps: &mut Vec<S>, step: S) -> u32 {
    let position = steps.iter().position(|earlier| *earlier == step).unwrap_or_else(|| {
        steps.push(step);
        steps.len() - 1
    });
    position as u32
}
#[inline(never)]
fn emit(instruction: Instruction) -> Symbol {
    WRITING.with_borrow_mut(|program| Symbol(place(&mut program.instructions, instruction)))
}
#[inline(never)]
fn emit_scalar(step: ScalarStep) -> SymbolicScalar {
    WRITING.with_borrow_mut(|program| SymbolicScalar(place(&mut program.scalars, step)))
}

impl Symbol {
    /// The input of this number.
    pub fn input(index: usize) -> Symbol {
        emit(Instruction::Input(index))
    }
    /// An expression of scalar parameters that is there already.
    pub(super) fn of_scalar(index: u32) -> Symbol {
        emit(Instruction::Scalar(index))
    }
    /// The step that a truth value is.
    pub(super) fn of_truth(truth: SymbolicBool) -> Symbol {
        Symbol(truth.0)
    }
    /// The truth value that a step is.
    pub(super) fn as_truth(self) -> SymbolicBool {
        SymbolicBool(self.0)
    }
}
impl From<f64> for Symbol {
    fn from(x: f64) -> Symbol {
        emit(Instruction::Literal(x))
    }
}
impl From<SymbolicScalar> for Symbol {
    fn from(scalar: SymbolicScalar) -> Symbol {
        emit(Instruction::Scalar(scalar.0))
    }
}
impl From<f64> for SymbolicScalar {
    fn from(x: f64) -> SymbolicScalar {
        emit_scalar(ScalarStep::Literal(x))
    }
}
impl Neg for Symbol {
    type Output = Symbol;
    fn neg(self) -> Symbol {
        emit(Instruction::Negate(self.0))
    }
}
impl Neg for SymbolicScalar {
    type Output = SymbolicScalar;
    fn neg(self) -> SymbolicScalar {
        emit_scalar(ScalarStep::Negate(self.0))
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident),*) => { $(
        impl $Trait for Symbol {
            type Output = Symbol;
            fn $method(self, other: Symbol) -> Symbol { emit(Instruction::Operate(Operator::$Trait, self.0, other.0)) }
        }
        impl $Trait for SymbolicScalar {
            type Output = SymbolicScalar;
            fn $method(self, other: SymbolicScalar) -> SymbolicScalar {
                emit_scalar(ScalarStep::Operate(Operator::$Trait, self.0, other.0))
            }
        }
        operators!(@mixed $Trait $method, f64, Symbol => Symbol);
        operators!(@mixed $Trait $method, SymbolicScalar, Symbol => Symbol);
        operators!(@mixed $Trait $method, f64, SymbolicScalar => SymbolicScalar);
        operators!(@mixed $Trait $method, SymbolicScalar, super::Dual<Symbol> => super::Dual<Symbol>);
    )* };
    // one of both sides becomes the other's kind
    (@mixed $Trait:ident $method:ident, $A:ty, $B:ty => $Result:ty) => {
        impl $Trait<$B> for $A {
            type Output = $Result;
            fn $method(self, other: $B) -> $Result { <$Result>::from(self).$method(other) }
        }
        impl $Trait<$A> for $B {
            type Output = $Result;
            fn $method(self, other: $A) -> $Result { self.$method(<$Result>::from(other)) }
        }
    };
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl From<SymbolicScalar> for super::Dual<Symbol> {
    fn from(scalar: SymbolicScalar) -> Self {
        super::Dual::constant(scalar.into())
    }
}

/// A truth value that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SymbolicBool(Register);

impl Arithmetic for Symbol {
    type Bool = SymbolicBool;
    type Scalar = SymbolicScalar;
    fn scalar(index: usize, _: f64) -> SymbolicScalar {
        emit_scalar(ScalarStep::Parameter(index))
    }
    fn less(self, other: Symbol) -> SymbolicBool {
        SymbolicBool(emit(Instruction::Compare(Comparison::Less, self.0, other.0)).0)
    }
    fn less_equal(self, other: Symbol) -> SymbolicBool {
        SymbolicBool(emit(Instruction::Compare(Comparison::LessEqual, self.0, other.0)).0)
    }
    fn equal(self, other: Symbol) -> SymbolicBool {
        SymbolicBool(emit(Instruction::Compare(Comparison::Equal, self.0, other.0)).0)
    }
    fn and(a: SymbolicBool, b: SymbolicBool) -> SymbolicBool {
        SymbolicBool(emit(Instruction::And(a.0, b.0)).0)
    }
    fn or(a: SymbolicBool, b: SymbolicBool) -> SymbolicBool {
        SymbolicBool(emit(Instruction::Or(a.0, b.0)).0)
    }
    fn not(a: SymbolicBool) -> SymbolicBool {
        SymbolicBool(emit(Instruction::Not(a.0)).0)
    }
    fn choose(condition: SymbolicBool, a: Symbol, b: Symbol) -> Symbol {
        emit(Instruction::Select(condition.0, a.0, b.0))
    }
    fn abs(self) -> Symbol {
        emit(Instruction::Abs(self.0))
    }
    fn sign(self) -> Symbol {
        emit(Instruction::Sign(self.0))
    }
    fn remainder(self, divisor: Symbol) -> Symbol {
        emit(Instruction::Combine(Binary::Remainder, self.0, divisor.0))
    }
    fn fmod(self, divisor: Symbol) -> Symbol {
        emit(Instruction::Combine(Binary::Fmod, self.0, divisor.0))
    }
    fn pow(self, exponent: Symbol) -> Symbol {
        emit(Instruction::Combine(Binary::Pow, self.0, exponent.0))
    }
}

macro_rules! symbol {
    ($($(#[$doc:meta])* $Variant:ident $name:ident($x:ident, $y:ident, $d:ident) $change:expr;)*) => {
        /// The functions of one number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Function { $($(#[$doc])* $Variant,)* }

        impl Function {
            /// All of them, with their names.
            pub const ALL: &'static [(Function, &'static str)] = &[$((Function::$Variant, stringify!($name)),)*];
            /// The function on a plain number.
            pub fn apply<R: Number>(self, x: R) -> R {
                match self { $(Function::$Variant => x.$name(),)* }
            }
        }

        impl Number for Symbol {
            $(fn $name(self) -> Symbol { emit(Instruction::Apply(Function::$Variant, self.0)) })*
            fn atan2(self, x: Symbol) -> Symbol {
                emit(Instruction::Combine(Binary::Atan2, self.0, x.0))
            }
            fn polygamma(self, order: u32) -> Symbol {
                emit(Instruction::Polygamma(order, self.0))
            }
        }
    };
}
functions!(symbol);
