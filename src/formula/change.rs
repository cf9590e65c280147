//! How the result of a program changes with an input: its steps once more, on dual symbols.

use super::dual::Dual;
use super::number::{Arithmetic, Number};
use super::symbol::{Binary, Comparison, Instruction, Operator, Program, Register, Symbol};

impl Program {
    /// Writes down how the result changes where input `which` changes by the input behind the program's own `inputs`. (So a
    /// formula is traced on symbols alone; its text is not compiled for dual ones.)
    #[inline(never)]
    pub(super) fn change(&self, which: usize, inputs: usize) -> Symbol {
        self.share_scalars();
        let mut known: Vec<Dual<Symbol>> = Vec::with_capacity(self.instructions().len());
        for step in self.instructions() {
            let next = match *step {
                Instruction::Input(k) => {
                    Dual { value: Symbol::input(k), tangent: (k == which).then(|| Symbol::input(inputs)) }
                }
                _ => again(step, |register| known[register as usize]),
            };
            known.push(next);
        }
        known[self.result() as usize].tangent.unwrap_or(0.0.into())
    }
}

/// A step, on dual symbols. Truth values do not change.
fn again(step: &Instruction, at: impl Fn(Register) -> Dual<Symbol>) -> Dual<Symbol> {
    let holds = |register: Register| at(register).value.as_truth();
    let truth = |truth| Dual::constant(Symbol::of_truth(truth));
    match *step {
        Instruction::Input(k) => Dual::constant(Symbol::input(k)),
        Instruction::Scalar(index) => Dual::constant(Symbol::of_scalar(index)),
        Instruction::Literal(number) => number.into(),
        Instruction::Negate(a) => -at(a),
        Instruction::Operate(Operator::Add, a, b) => at(a) + at(b),
        Instruction::Operate(Operator::Sub, a, b) => at(a) - at(b),
        Instruction::Operate(Operator::Mul, a, b) => at(a) * at(b),
        Instruction::Operate(Operator::Div, a, b) => at(a) / at(b),
        Instruction::Abs(a) => at(a).abs(),
        Instruction::Sign(a) => at(a).sign(),
        Instruction::Apply(function, a) => function.apply(at(a)),
        Instruction::Combine(Binary::Pow, a, b) => at(a).pow(at(b)),
        Instruction::Combine(Binary::Atan2, a, b) => at(a).atan2(at(b)),
        Instruction::Combine(Binary::Remainder, a, b) => at(a).remainder(at(b)),
        Instruction::Combine(Binary::Fmod, a, b) => at(a).fmod(at(b)),
        Instruction::Polygamma(order, a) => at(a).polygamma(order),
        Instruction::Select(condition, a, b) => Dual::choose(holds(condition), at(a), at(b)),
        Instruction::Compare(Comparison::Less, a, b) => truth(at(a).less(at(b))),
        Instruction::Compare(Comparison::LessEqual, a, b) => truth(at(a).less_equal(at(b))),
        Instruction::Compare(Comparison::Equal, a, b) => truth(at(a).equal(at(b))),
        Instruction::And(a, b) => truth(Symbol::and(holds(a), holds(b))),
        Instruction::Or(a, b) => truth(Symbol::or(holds(a), holds(b))),
        Instruction::Not(a) => truth(Symbol::not(holds(a))),
    }
}
