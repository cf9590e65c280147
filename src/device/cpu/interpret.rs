//! Rare formulas, interpreted: their programs run step by step, each step over some numbers at a time. So there is one loop
//! for each kind of step, and none for each formula, its gradients, and instruction sets. Rare ones are computed in f64 whatever they
//! are given; on processors that have no loops of their own, all others in the type that those loops would compute in.

use super::blocks::Loop;
use crate::formula::{
    Arithmetic, Binary, Comparison, F, Float, Function, Instruction, Number, Operator, Program, Register,
};

/// The most numbers that a step takes at a time: few enough that all results of a program stay in the nearest caches.
const SPAN: usize = 128;

/// A program with its scalar parameters. Truth values are 1 and 0.
pub(super) struct Interpreted<'a> {
    pub(super) program: &'a Program,
    pub(super) parameters: &'a [f64],
}

impl<T: Float> Loop<T> for Interpreted<'_> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        let last = self.program.result() as usize;
        let steps = &self.program.instructions()[..=last];
        let span = out.len().clamp(1, SPAN);
        let mut results = vec![T::default(); steps.len() * span];
        // What is the same for all numbers is written once.
        for (step, own) in steps.iter().zip(results.chunks_mut(span)) {
            if let Some(number) = self.constant(step) {
                own.fill(number);
            }
        }
        for (index, out) in out.chunks_mut(span).enumerate() {
            let count = out.len();
            let input = |k: usize| &inputs[k][index * span..][..count];
            for (at, step) in steps.iter().enumerate() {
                let (known, own) = results.split_at_mut(at * span);
                // Inputs are read where they lie, and the last step writes where its results are wanted.
                let own = if at == last { &mut *out } else { &mut own[..count] };
                let known = |register: Register| match steps[register as usize] {
                    Instruction::Input(k) => input(k),
                    _ => &known[register as usize * span..][..count],
                };
                run(step, known, own);
            }
            match steps[last] {
                Instruction::Input(k) => out.copy_from_slice(input(k)),
                ref step => self.constant(step).into_iter().for_each(|number| out.fill(number)),
            }
        }
    }
}

impl Interpreted<'_> {
    fn constant<T: Float>(&self, step: &Instruction) -> Option<T> {
        match *step {
            Instruction::Literal(number) => Some(T::from_f64(number)),
            Instruction::Scalar(index) => Some(T::from_f64(self.program.scalar(index, self.parameters))),
            _ => None,
        }
    }
}

/// One step, from the results of those before it.
fn run<'a, T: Float>(step: &Instruction, at: impl Fn(Register) -> &'a [T], to: &mut [T]) {
    let truth = |is: bool| if is { T::from_f64(1.0) } else { T::default() };
    match *step {
        Instruction::Input(_) | Instruction::Scalar(_) | Instruction::Literal(_) => {}
        Instruction::Negate(a) => one(to, at(a), |a| -a),
        Instruction::Abs(a) => one(to, at(a), |a| a.abs()),
        Instruction::Sign(a) => one(to, at(a), |a| a.sign()),
        Instruction::Apply(function, a) => apply(function, at(a), to),
        Instruction::Polygamma(order, a) => one(to, at(a), |a| a.polygamma(order)),
        Instruction::Operate(Operator::Add, a, b) => two(to, at(a), at(b), |a, b| a + b),
        Instruction::Operate(Operator::Sub, a, b) => two(to, at(a), at(b), |a, b| a - b),
        Instruction::Operate(Operator::Mul, a, b) => two(to, at(a), at(b), |a, b| a * b),
        Instruction::Operate(Operator::Div, a, b) => two(to, at(a), at(b), |a, b| a / b),
        Instruction::Combine(binary, a, b) => two(to, at(a), at(b), |a, b| combine(binary, a, b)),
        Instruction::Compare(Comparison::Less, a, b) => two(to, at(a), at(b), |a, b| F(truth(a.0 < b.0))),
        Instruction::Compare(Comparison::LessEqual, a, b) => two(to, at(a), at(b), |a, b| F(truth(a.0 <= b.0))),
        Instruction::Compare(Comparison::Equal, a, b) => two(to, at(a), at(b), |a, b| F(truth(a.0 == b.0))),
        Instruction::And(a, b) => two(to, at(a), at(b), |a, b| if a.0 < b.0 { a } else { b }),
        Instruction::Or(a, b) => two(to, at(a), at(b), |a, b| if a.0 > b.0 { a } else { b }),
        Instruction::Not(a) => one(to, at(a), |a| F(T::from_f64(1.0)) - a),
        Instruction::Select(condition, a, b) => {
            for (((to, &condition), &a), &b) in to.iter_mut().zip(at(condition)).zip(at(a)).zip(at(b)) {
                *to = if condition != T::default() { a } else { b };
            }
        }
    }
}

/// A function of each number. Which one is asked outside of the loop where it is a usual one.
fn apply<T: Float>(function: Function, a: &[T], to: &mut [T]) {
    match function {
        Function::Exp => one(to, a, |a| a.exp()),
        Function::Ln => one(to, a, |a| a.ln()),
        Function::Sqrt => one(to, a, |a| a.sqrt()),
        Function::Tanh => one(to, a, |a| a.tanh()),
        Function::Sigmoid => one(to, a, |a| a.sigmoid()),
        Function::NormalCdf => one(to, a, |a| a.normal_cdf()),
        _ => one(to, a, |a| function.apply(a)),
    }
}

/// A number as it is computed with: nothing is fused.
type Plain<T> = F<T, false>;

fn combine<T: Float>(binary: Binary, a: Plain<T>, b: Plain<T>) -> Plain<T> {
    match binary {
        Binary::Pow => a.pow(b),
        Binary::Atan2 => a.atan2(b),
        Binary::Remainder => a.remainder(b),
        Binary::Fmod => a.fmod(b),
    }
}

fn one<T: Float>(to: &mut [T], a: &[T], f: impl Fn(Plain<T>) -> Plain<T>) {
    for (to, &a) in to.iter_mut().zip(a) {
        *to = f(F(a)).0;
    }
}

fn two<T: Float>(to: &mut [T], a: &[T], b: &[T], f: impl Fn(Plain<T>, Plain<T>) -> Plain<T>) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = f(F(a), F(b)).0;
    }
}
