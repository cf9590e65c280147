//! Rare formulas, interpreted: their programs run step by step, each step over some numbers at a time. So there is one loop
//! for each kind of step, and none for each formula, its gradients, and instruction sets. All is computed in f64.

use super::blocks::Loop;
use crate::formula::{Arithmetic, Binary, Comparison, F, Instruction, Number, Operator, Program, Register};

/// The most numbers that a step takes at a time: few enough that all results of a program stay in the nearest caches.
const SPAN: usize = 128;

/// A program with its scalar parameters. Truth values are 1 and 0.
pub(super) struct Interpreted<'a> {
    pub(super) program: &'a Program,
    pub(super) parameters: &'a [f64],
}

impl Loop<f64> for Interpreted<'_> {
    fn run(&self, inputs: &[&[f64]], out: &mut [f64]) {
        self.run_with(|constant| constant, inputs, out);
    }
}

/// Single precision on the way in and out: its constants are what they are there, so that comparisons with them are too.
impl Loop<f32> for Interpreted<'_> {
    fn run(&self, inputs: &[&[f32]], out: &mut [f32]) {
        let count = out.len();
        let wide: Vec<f64> = inputs.iter().flat_map(|input| &input[..count]).map(|&x| x.into()).collect();
        let wide: Vec<&[f64]> = wide.chunks_exact(count.max(1)).collect();
        let mut results = vec![0.0; count];
        self.run_with(|constant| (constant as f32).into(), &wide, &mut results);
        for (to, result) in out.iter_mut().zip(results) {
            *to = result as f32;
        }
    }
}

impl Interpreted<'_> {
    fn run_with(&self, constant: fn(f64) -> f64, inputs: &[&[f64]], out: &mut [f64]) {
        let last = self.program.result() as usize;
        let steps = &self.program.instructions()[..=last];
        let span = out.len().clamp(1, SPAN);
        let mut results = vec![0.0; steps.len() * span];
        // What is the same for all numbers is written once.
        for (step, own) in steps.iter().zip(results.chunks_mut(span)) {
            if let Some(number) = self.constant(step) {
                own.fill(constant(number));
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
                ref step => self.constant(step).into_iter().for_each(|number| out.fill(constant(number))),
            }
        }
    }
    fn constant(&self, step: &Instruction) -> Option<f64> {
        match *step {
            Instruction::Literal(number) => Some(number),
            Instruction::Scalar(index) => Some(self.program.scalar(index, self.parameters)),
            _ => None,
        }
    }
}

/// One step, from the results of those before it.
fn run<'a>(step: &Instruction, at: impl Fn(Register) -> &'a [f64], to: &mut [f64]) {
    match *step {
        Instruction::Input(_) | Instruction::Scalar(_) | Instruction::Literal(_) => {}
        Instruction::Negate(a) => one(to, at(a), |a| -a),
        Instruction::Abs(a) => one(to, at(a), f64::abs),
        Instruction::Sign(a) => one(to, at(a), |a| number(a).sign().0),
        Instruction::Apply(function, a) => one(to, at(a), |a| function.apply(number(a)).0),
        Instruction::Polygamma(order, a) => one(to, at(a), |a| number(a).polygamma(order).0),
        Instruction::Operate(Operator::Add, a, b) => two(to, at(a), at(b), |a, b| a + b),
        Instruction::Operate(Operator::Sub, a, b) => two(to, at(a), at(b), |a, b| a - b),
        Instruction::Operate(Operator::Mul, a, b) => two(to, at(a), at(b), |a, b| a * b),
        Instruction::Operate(Operator::Div, a, b) => two(to, at(a), at(b), |a, b| a / b),
        Instruction::Combine(binary, a, b) => two(to, at(a), at(b), |a, b| combine(binary, number(a), number(b)).0),
        Instruction::Compare(Comparison::Less, a, b) => two(to, at(a), at(b), |a, b| truth(a < b)),
        Instruction::Compare(Comparison::LessEqual, a, b) => two(to, at(a), at(b), |a, b| truth(a <= b)),
        Instruction::Compare(Comparison::Equal, a, b) => two(to, at(a), at(b), |a, b| truth(a == b)),
        Instruction::And(a, b) => two(to, at(a), at(b), f64::min),
        Instruction::Or(a, b) => two(to, at(a), at(b), f64::max),
        Instruction::Not(a) => one(to, at(a), |a| 1.0 - a),
        Instruction::Select(condition, a, b) => {
            for (((to, &condition), &a), &b) in to.iter_mut().zip(at(condition)).zip(at(a)).zip(at(b)) {
                *to = if condition != 0.0 { a } else { b };
            }
        }
    }
}

fn number(x: f64) -> F<f64, false> {
    F(x)
}

fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn combine(binary: Binary, a: F<f64, false>, b: F<f64, false>) -> F<f64, false> {
    match binary {
        Binary::Pow => a.pow(b),
        Binary::Atan2 => a.atan2(b),
        Binary::Remainder => a.remainder(b),
        Binary::Fmod => a.fmod(b),
    }
}

fn one(to: &mut [f64], a: &[f64], f: impl Fn(f64) -> f64) {
    for (to, &a) in to.iter_mut().zip(a) {
        *to = f(a);
    }
}

fn two(to: &mut [f64], a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = f(a, b);
    }
}
