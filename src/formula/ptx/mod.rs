//! A formula's program as a kernel for GPUs, in PTX, the assembly that every driver takes.
//!
//! A [`Program`] is read with numbers that are registers: where it says `exp`, the mathematics is evaluated on them as it is
//! on floats, and what it does is written down. So the steps stand in one line from loads to store, without calls, and
//! round as the processor does. A kernel is written for element types and a way through memory, [`Signature`]; scalar
//! parameters are arguments, so that another value needs no other kernel.

/// What all numbers in registers have alike: how they are compared, and what their truth values are.
macro_rules! compared_in_registers {
    () => {
        type Bool = Truth;
        type Scalar = f64;
        fn scalar(_: usize, value: f64) -> f64 {
            value
        }
        fn less(self, other: Self) -> Truth {
            Self::compare("lt", self, other)
        }
        fn less_equal(self, other: Self) -> Truth {
            Self::compare("le", self, other)
        }
        fn equal(self, other: Self) -> Truth {
            Self::compare("eq", self, other)
        }
        fn and(a: Truth, b: Truth) -> Truth {
            a.and(b)
        }
        fn or(a: Truth, b: Truth) -> Truth {
            a.or(b)
        }
        fn not(a: Truth) -> Truth {
            a.not()
        }
    };
}

mod body;
mod float;
mod memory;
mod whole;

use super::number::Arithmetic;
use super::{Binary, Comparison, Function, Instruction, Operator, Program, Register};
use crate::error::Fault;
use crate::layout::DType;
use body::{Bank, Operand};
use float::{Truth, Wire};
use std::hash::{DefaultHasher, Hash, Hasher};
use whole::Count;

/// Threads of a block; every kernel of a formula runs in such blocks.
pub const BLOCK: u32 = 256;

/// What a kernel is written for.
///
/// ```
/// use chainrule::DType;
/// use chainrule::formula::ptx::{Kernel, Paths, Signature};
/// use chainrule::formula::{Number, Program, Symbol};
/// let program = Program::trace(|| Symbol::input(0).exp());
/// let signature = Signature::formula(&[DType::BF16], DType::F32, DType::BF16, Paths::Dense);
/// let kernel = Kernel::write("exp", &program, &[program.result()], &signature)?;
/// assert!(kernel.text().contains(".entry formula"));
/// # Ok::<(), chainrule::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// The element types of the inputs.
    pub inputs: Vec<DType>,
    /// What it computes in: f64, f32, i64, i32 or u8.
    pub compute: DType,
    /// The element types of the results.
    pub results: Vec<DType>,
    /// A type to which results are rounded before they take their own.
    pub through: Option<DType>,
    /// The way through memory.
    pub paths: Paths,
}

impl Signature {
    /// For a formula of one result.
    pub fn formula(inputs: &[DType], compute: DType, result: DType, paths: Paths) -> Signature {
        Signature { inputs: inputs.to_vec(), compute, results: vec![result], through: None, paths }
    }
    /// How many elements a thread takes: neighbours where they lie in a row, eight where some have 16 bits or fewer, so that these too
    /// come in words of 16 bytes.
    ///
    /// ```
    /// use chainrule::DType;
    /// use chainrule::formula::ptx::{Paths, Signature};
    /// let each = |dtype, paths| Signature::formula(&[dtype], DType::F32, dtype, paths).each();
    /// assert_eq!((each(DType::BF16, Paths::Dense), each(DType::F32, Paths::Dense)), (8, 4));
    /// assert_eq!(each(DType::BF16, Paths::Strided { axes: 2, long: false }), 1);
    /// ```
    pub fn each(&self) -> u32 {
        each([&self.inputs, &self.results], self.compute, self.paths)
    }
}

/// The same of types that stand elsewhere.
pub(crate) fn each(types: [&[DType]; 2], compute: DType, paths: Paths) -> u32 {
    let is_narrow = types.into_iter().flatten().any(|dtype| dtype.size() <= 2);
    match paths {
        Paths::Strided { .. } => 1,
        // What is computed in 64 bits has more steps than bytes.
        _ if is_narrow && compute.size() <= 4 => 8,
        // All numbers of a step have to fit into what registers calls leave, such as for a root of an f64.
        Paths::InPlace { .. } if compute.size() == 8 => 1,
        _ => 4,
    }
}

/// Ways through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Paths {
    /// All is dense and has as many elements as the result. The launch says how many threads have all of their elements, which they take
    /// in words of 16 bytes (none where not all begins at a multiple of those); what is left is taken singly.
    Dense,
    /// The inputs go by strides along so many axes, the result is dense; an element to a thread. `long` where positions
    /// do not fit in 32 bits.
    Strided {
        /// How many axes, at least one.
        axes: usize,
        /// Positions of 64 bits?
        long: bool,
    },
    /// Results stand in place of the inputs, all of them but the second: an optimizer's parameter, gradient and states, of
    /// so many tensors at once, each of them dense.
    InPlace {
        /// The most tensors of a launch.
        tensors: usize,
        /// Do scalars stand in memory, in a word of eight bytes each? Then the last argument is the address of the first.
        remote: bool,
        /// Is there a flag, of which an f32 other than 0 lets nothing change? Its address comes last.
        guarded: bool,
    },
}

/// A kernel's text.
#[derive(Clone, Debug)]
pub struct Kernel {
    text: String,
}

impl Kernel {
    /// Writes a program as a kernel; `results` are the steps whose results are stored.
    pub fn write(name: &str, program: &Program, results: &[Register], signature: &Signature) -> Result<Kernel, Fault> {
        let scalars = Kernel::scalars(program);
        let reading = Reading { program, results, scalars: &scalars };
        // Products and sums are fused where vector loops of the processor fuse them: in f32, and in f64 on the way of an f32.
        let text = match signature.compute {
            DType::F32 => memory::kernel::<Wire<f32, true>>(name, &reading, signature),
            DType::F64 => memory::kernel::<Wire<f64, false>>(name, &reading, signature),
            DType::I64 => memory::kernel::<Count<i64>>(name, &reading, signature),
            DType::I32 => memory::kernel::<Count<i32>>(name, &reading, signature),
            DType::U8 => memory::kernel::<Count<u8>>(name, &reading, signature),
            dtype => Err(Fault::defect(format!("no formula is computed in {dtype} on a GPU"))),
        }?;
        Ok(Kernel { text })
    }
    /// The PTX.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The scalar expressions that are its last arguments, in this order: numbers for [`Program::scalar`].
    pub fn scalars(program: &Program) -> Vec<u32> {
        let scalar = |step: &Instruction| if let Instruction::Scalar(index) = step { Some(*index) } else { None };
        program.instructions().iter().filter_map(scalar).collect()
    }
    /// What tells a kernel from others before it is written: all that decides its text.
    pub fn key(program: &Program, results: &[Register], signature: &Signature) -> u64 {
        let mut hasher = DefaultHasher::new();
        program.instructions().iter().for_each(|instruction| hash(instruction, &mut hasher));
        (results, signature).hash(&mut hasher);
        hasher.finish()
    }
}

/// A literal counts by its digits: NaN is equal to itself.
fn hash(instruction: &Instruction, to: &mut DefaultHasher) {
    std::mem::discriminant(instruction).hash(to);
    match *instruction {
        Instruction::Input(k) => k.hash(to),
        Instruction::Scalar(index) => index.hash(to),
        Instruction::Literal(x) => x.to_bits().hash(to),
        Instruction::Negate(a) | Instruction::Abs(a) | Instruction::Sign(a) | Instruction::Not(a) => a.hash(to),
        Instruction::Operate(operator, a, b) => (operator, a, b).hash(to),
        Instruction::Apply(function, a) => (function, a).hash(to),
        Instruction::Combine(binary, a, b) => (binary, a, b).hash(to),
        Instruction::Polygamma(order, a) => (order, a).hash(to),
        Instruction::Compare(comparison, a, b) => (comparison, a, b).hash(to),
        Instruction::And(a, b) | Instruction::Or(a, b) => (a, b).hash(to),
        Instruction::Select(condition, a, b) => (condition, a, b).hash(to),
    }
}

/// A program that is being read.
struct Reading<'a> {
    program: &'a Program,
    results: &'a [Register],
    scalars: &'a [u32],
}

/// What a number in a register can do, beyond arithmetic.
trait Kind: Arithmetic<Bool = Truth> {
    const BANK: Bank;
    fn new(register: Operand) -> Self;
    fn register(self) -> Operand;
    /// `None` where this kind of number has no such function.
    fn apply(self, function: Function) -> Option<Self>;
    fn polygamma_of(self, order: u32) -> Option<Self>;
    fn combine(self, binary: Binary, other: Self) -> Option<Self>;
}

/// The result of a step.
#[derive(Clone, Copy)]
enum Held<K> {
    Number(K),
    Truth(Truth),
}

impl Reading<'_> {
    /// Does the program read this input?
    fn reads(&self, input: usize) -> bool {
        self.program.instructions().contains(&Instruction::Input(input))
    }
    /// Writes the steps for one element; gives the results.
    fn element<K: Kind>(&self, inputs: &[Option<K>], scalars: &[K]) -> Result<Vec<K>, Fault> {
        let wrong = |what: &str| Fault::defect(format!("a formula's program {what}"));
        let mut held: Vec<Held<K>> = Vec::with_capacity(self.program.instructions().len());
        for instruction in self.program.instructions() {
            let number = |register: Register| match held.get(register as usize) {
                Some(Held::Number(number)) => Ok(*number),
                _ => Err(wrong("takes a truth value for a number")),
            };
            let truth = |register: Register| match held.get(register as usize) {
                Some(Held::Truth(truth)) => Ok(*truth),
                _ => Err(wrong("takes a number for a truth value")),
            };
            let known = |result: Option<K>| result.ok_or_else(|| wrong("asks whole numbers for a function of floats"));
            held.push(match *instruction {
                Instruction::Input(k) => Held::Number(
                    inputs.get(k).copied().flatten().ok_or_else(|| wrong("reads an input that is not there"))?,
                ),
                Instruction::Scalar(index) => {
                    let at = self.scalars.iter().position(|scalar| *scalar == index);
                    Held::Number(scalars[at.ok_or_else(|| wrong("reads a scalar that is not there"))?])
                }
                Instruction::Literal(x) => Held::Number(x.into()),
                Instruction::Negate(a) => Held::Number(-number(a)?),
                Instruction::Operate(operator, a, b) => {
                    let (a, b) = (number(a)?, number(b)?);
                    Held::Number(match operator {
                        Operator::Add => a + b,
                        Operator::Sub => a - b,
                        Operator::Mul => a * b,
                        Operator::Div => a / b,
                    })
                }
                Instruction::Abs(a) => Held::Number(number(a)?.abs()),
                Instruction::Sign(a) => Held::Number(number(a)?.sign()),
                Instruction::Apply(function, a) => Held::Number(known(number(a)?.apply(function))?),
                Instruction::Combine(binary, a, b) => Held::Number(known(number(a)?.combine(binary, number(b)?))?),
                Instruction::Polygamma(order, a) => Held::Number(known(number(a)?.polygamma_of(order))?),
                Instruction::Compare(comparison, a, b) => {
                    let (a, b) = (number(a)?, number(b)?);
                    Held::Truth(match comparison {
                        Comparison::Less => a.less(b),
                        Comparison::LessEqual => a.less_equal(b),
                        Comparison::Equal => a.equal(b),
                    })
                }
                Instruction::And(a, b) => Held::Truth(truth(a)?.and(truth(b)?)),
                Instruction::Or(a, b) => Held::Truth(truth(a)?.or(truth(b)?)),
                Instruction::Not(a) => Held::Truth(truth(a)?.not()),
                Instruction::Select(condition, a, b) => {
                    Held::Number(K::choose(truth(condition)?, number(a)?, number(b)?))
                }
            });
        }
        let number = |register: &Register| match held.get(*register as usize) {
            Some(Held::Number(number)) => Ok(*number),
            _ => Err(wrong("has no number for a result")),
        };
        self.results.iter().map(number).collect()
    }
}
