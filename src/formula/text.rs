//! A program as a line of mathematics.

use super::{Binary, Comparison, Function, Instruction, Operator, Program, Register};

/// A formula as a program, with the values of its scalar parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The formula.
    pub program: Program,
    /// Its scalar parameters.
    pub parameters: Vec<f64>,
    /// Is the first input the operation's result, instead of its operands? So it is for derivatives that are cheapest
    /// that way: `1 - y²` for the hyperbolic tangent.
    pub of_result: bool,
}

/// How tightly a piece of text holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    Choice,
    Sum,
    Product,
    Atom,
}

struct Piece {
    text: String,
    bond: Bond,
}

/// Longer lines are not read.
const LONGEST: usize = 240;

impl Written {
    /// The formula as a line of mathematics, each input by the name that `names` gives it; `None` where the line would be
    /// too long to be read.
    ///
    /// ```
    /// use chainrule::formula::{Program, Symbol, Written, exp};
    /// let program = Program::trace(|| Symbol::input(0) / (exp(-Symbol::input(0)) + 1.0));
    /// let silu = Written { program, parameters: Vec::new(), of_result: false };
    /// assert_eq!(silu.text(&|_| "x".to_string()).unwrap(), "x / (exp(-x) + 1)");
    /// ```
    pub fn text(&self, names: &dyn Fn(usize) -> String) -> Option<String> {
        let mut pieces: Vec<Option<Piece>> = Vec::with_capacity(self.program.instructions().len());
        for instruction in self.program.instructions() {
            let piece = self.piece(instruction, &pieces, names).filter(|piece| piece.text.len() <= LONGEST);
            pieces.push(piece);
        }
        pieces.into_iter().nth(self.program.result() as usize).flatten().map(|piece| piece.text)
    }

    fn piece(
        &self,
        instruction: &Instruction,
        pieces: &[Option<Piece>],
        names: &dyn Fn(usize) -> String,
    ) -> Option<Piece> {
        let at = |register: Register| pieces.get(register as usize).and_then(Option::as_ref);
        // In parentheses where it holds together less tightly than what stands around it.
        let inside = |register: Register, bond: Bond| {
            at(register).map(|piece| match piece.bond >= bond {
                true => piece.text.clone(),
                false => format!("({})", piece.text),
            })
        };
        let bare = |register: Register| at(register).map(|piece| piece.text.clone());
        Some(match *instruction {
            Instruction::Input(k) => number_or_name(names(k)),
            Instruction::Scalar(index) => number_or_name(number(self.program.scalar(index, &self.parameters))),
            Instruction::Literal(x) => number_or_name(number(x)),
            Instruction::Negate(a) => Piece { text: format!("-{}", inside(a, Bond::Product)?), bond: Bond::Sum },
            Instruction::Operate(operator, a, b) => {
                let (sign, left, right) = match operator {
                    Operator::Add => ("+", Bond::Sum, Bond::Product),
                    Operator::Sub => ("-", Bond::Sum, Bond::Product),
                    Operator::Mul => ("·", Bond::Product, Bond::Atom),
                    Operator::Div => ("/", Bond::Product, Bond::Atom),
                };
                Piece { text: format!("{} {sign} {}", inside(a, left)?, inside(b, right)?), bond: left }
            }
            Instruction::Abs(a) => Piece { text: format!("|{}|", bare(a)?), bond: Bond::Atom },
            Instruction::Sign(a) => call("sign", bare(a)?),
            Instruction::Apply(function, a) => match function_name(function) {
                "sqrt" => Piece { text: format!("√{}", inside(a, Bond::Atom)?), bond: Bond::Atom },
                name => call(name, bare(a)?),
            },
            Instruction::Combine(binary, a, b) => {
                let pair = format!("{}, {}", bare(a)?, bare(b)?);
                match binary {
                    Binary::Pow => {
                        let text = format!("{}^{}", inside(a, Bond::Atom)?, inside(b, Bond::Atom)?);
                        Piece { text, bond: Bond::Atom }
                    }
                    Binary::Atan2 => call("atan2", pair),
                    Binary::Remainder => call("remainder", pair),
                    Binary::Fmod => call("fmod", pair),
                }
            }
            Instruction::Polygamma(order, a) => call(&format!("polygamma{order}"), bare(a)?),
            Instruction::Compare(comparison, a, b) => {
                let sign = match comparison {
                    Comparison::Less => "<",
                    Comparison::LessEqual => "≤",
                    Comparison::Equal => "=",
                };
                Piece {
                    text: format!("{} {sign} {}", inside(a, Bond::Sum)?, inside(b, Bond::Sum)?),
                    bond: Bond::Choice,
                }
            }
            Instruction::And(a, b) => Piece { text: format!("{} and {}", bare(a)?, bare(b)?), bond: Bond::Choice },
            Instruction::Or(a, b) => Piece { text: format!("{} or {}", bare(a)?, bare(b)?), bond: Bond::Choice },
            Instruction::Not(a) => Piece { text: format!("not {}", inside(a, Bond::Atom)?), bond: Bond::Choice },
            Instruction::Select(condition, a, b) => {
                let [a, b] = [inside(a, Bond::Sum)?, inside(b, Bond::Sum)?];
                Piece { text: format!("{a} if {}, else {b}", bare(condition)?), bond: Bond::Choice }
            }
        })
    }
}

fn call(name: &str, arguments: String) -> Piece {
    Piece { text: format!("{name}({arguments})"), bond: Bond::Atom }
}

/// A negative number stands in parentheses inside of anything.
fn number_or_name(text: String) -> Piece {
    let bond = if text.starts_with('-') { Bond::Choice } else { Bond::Atom };
    Piece { text, bond }
}

fn function_name(function: Function) -> &'static str {
    Function::ALL.iter().find(|(other, _)| *other == function).map_or("f", |(_, name)| name)
}

/// A number in up to four digits.
pub(crate) fn number(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    let magnitude = x.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{x:.3e}");
    }
    let places = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{x:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arithmetic, Number, Symbol};
    use super::*;

    fn text(formula: impl FnOnce() -> Symbol) -> String {
        let written = Written { program: Program::trace(formula), parameters: vec![0.25], of_result: false };
        written.text(&|k| ["x", "b"][k].to_string()).unwrap()
    }

    #[test]
    fn it_reads_like_mathematics() {
        let (x, b) = (|| Symbol::input(0), || Symbol::input(1));
        assert_eq!(text(|| x() * (x() + b()) - b()), "x · (x + b) - b");
        assert_eq!(text(|| x() / (b() / 2.0)), "x / (b / 2)");
        assert_eq!(text(|| x() - (b() - 1.0)), "x - (b - 1)");
        assert_eq!(text(|| -(x() * b())), "-x · b");
        assert_eq!(text(|| -(x() + b()) * 3.0), "(-(x + b)) · 3");
        assert_eq!(text(|| x().sqrt() * x().exp()), "√x · exp(x)");
        assert_eq!(text(|| (x() + 1.0).sqrt()), "√(x + 1)");
        assert_eq!(text(|| Symbol::choose(x().less(0.0.into()), 0.0.into(), x())), "0 if x < 0, else x");
        assert_eq!(text(|| x() * Symbol::scalar(0, 0.25)), "x · 0.25");
        assert_eq!(text(|| x() * -2.0), "x · (-2)");
        assert_eq!(text(|| x().pow(b())), "x^b");
    }

    #[test]
    fn a_line_that_nobody_would_read_is_none() {
        let program = Program::trace(|| (0..12).fold(Symbol::input(0), |x, _| x * x));
        assert_eq!(Written { program, parameters: Vec::new(), of_result: false }.text(&|_| "x".into()), None);
    }

    #[test]
    fn numbers_have_four_digits() {
        let texts = [0.0, -0.5, 1.0 / 3.0, 1234.5678, 123456.0, 1e-7, 2.5e9, f64::NAN, 100.0, 0.00012345];
        let texts = texts.map(number);
        assert_eq!(texts, ["0", "-0.5", "0.3333", "1235", "123456", "1.000e-7", "2.500e9", "NaN", "100", "0.0001234"]);
    }
}
