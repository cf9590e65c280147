//! The body of a kernel that is being written: its registers and its lines.
//!
//! A step that stands there already is not written again, and what nobody reads is left out at the end.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

/// The kinds of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bank {
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits.
    Long,
    /// An f32.
    Single,
    /// An f64.
    Double,
    /// A truth value.
    Truth,
}

impl Bank {
    /// All of them: the letter of a register's name, and the type that it is declared with.
    const ALL: [(Bank, &'static str, &'static str); 6] = [
        (Bank::Half, "h", "b16"),
        (Bank::Word, "r", "b32"),
        (Bank::Long, "l", "b64"),
        (Bank::Single, "f", "f32"),
        (Bank::Double, "d", "f64"),
        (Bank::Truth, "p", "pred"),
    ];
}

/// A register; or a number that stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    Register(Bank, u32),
    Number(i64),
    Single(u32),
    Double(u64),
}

impl From<i64> for Operand {
    fn from(number: i64) -> Operand {
        Operand::Number(number)
    }
}
impl From<f32> for Operand {
    fn from(number: f32) -> Operand {
        Operand::Single(number.to_bits())
    }
}
impl From<f64> for Operand {
    fn from(number: f64) -> Operand {
        Operand::Double(number.to_bits())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Register(bank, number) => write!(f, "%{}{number}", Bank::ALL[*bank as usize].1),
            Operand::Number(number) => write!(f, "{number}"),
            Operand::Single(bits) => write!(f, "0f{bits:08X}"),
            Operand::Double(bits) => write!(f, "0d{bits:016X}"),
        }
    }
}

enum Line {
    /// Computes a register from others.
    Step { to: Operand, operation: String, from: Vec<Operand> },
    /// Stands there whether its result is read or not.
    Fixed { from: Vec<Operand>, text: String },
}

#[derive(Default)]
struct Body {
    lines: Vec<Line>,
    /// How many registers there are of each kind.
    counts: [u32; Bank::ALL.len()],
    labels: u32,
    /// The steps that stand there, by their text.
    known: HashMap<String, Operand>,
    /// The line of each step, by its result.
    made: HashMap<Operand, usize>,
}

thread_local! {
    static BODY: RefCell<Body> = RefCell::new(Body::default());
}

/// A new register.
pub(super) fn register(bank: Bank) -> Operand {
    BODY.with_borrow_mut(|body| {
        let count = &mut body.counts[bank as usize];
        *count += 1;
        Operand::Register(bank, *count)
    })
}

/// The result of an operation: a step, or the register where it stands already.
pub(super) fn step(bank: Bank, operation: &str, from: &[Operand]) -> Operand {
    let key = line(operation, from);
    if let Some(known) = BODY.with_borrow(|body| body.known.get(&key).copied()) {
        return known;
    }
    let to = register(bank);
    BODY.with_borrow_mut(|body| {
        body.made.insert(to, body.lines.len());
        body.lines.push(Line::Step { to, operation: operation.to_string(), from: from.to_vec() });
        body.known.insert(key, to);
    });
    to
}

/// The step that computes a register: its operation, and what it reads.
pub(super) fn made(register: Operand) -> Option<(String, Vec<Operand>)> {
    BODY.with_borrow(|body| match &body.lines[*body.made.get(&register)?] {
        Line::Step { operation, from, .. } => Some((operation.clone(), from.clone())),
        Line::Fixed { .. } => None,
    })
}

/// A line that stands as it is; it reads `from`.
pub(super) fn fixed(text: String, from: &[Operand]) {
    BODY.with_borrow_mut(|body| body.lines.push(Line::Fixed { from: from.to_vec(), text }));
}

/// Registers of one kind, and the end of a move between them, that hold `state` and then what `next` makes of it, as long as
/// `goes_on`, which is asked first; the last of them.
pub(super) fn repeated<const N: usize>(
    (bank, kind): (Bank, &str),
    state: [Operand; N],
    goes_on: impl FnOnce([Operand; N]) -> Operand,
    next: impl FnOnce([Operand; N]) -> [Operand; N],
) -> [Operand; N] {
    let moved = |to: Operand, from: Operand| fixed(format!("mov.{kind} {to}, {from};"), &[from]);
    let held = state.map(|_| register(bank));
    let put = |values: [Operand; N]| {
        // All are read before one is written.
        let fresh = values.map(|value| {
            let fresh = register(bank);
            moved(fresh, value);
            fresh
        });
        for (held, fresh) in held.into_iter().zip(fresh) {
            moved(held, fresh);
        }
    };
    put(state);
    repeat(|| goes_on(held), || put(next(held)));
    // What is written later must not be taken for what was written of these before.
    held.map(|held| {
        let last = register(bank);
        moved(last, held);
        last
    })
}

/// What `yes` writes runs where a truth value holds, what `no` writes elsewhere.
pub(super) fn either(condition: Operand, yes: impl FnOnce(), no: impl FnOnce()) {
    let (label, known) = BODY.with_borrow_mut(|body| {
        body.labels += 1;
        (body.labels, body.known.clone())
    });
    fixed(format!("@!{condition} bra ELSE_{label};"), &[condition]);
    yes();
    fixed(format!("bra DONE_{label};"), &[]);
    fixed(format!("ELSE_{label}:"), &[]);
    // What stands in one of both has not run where the other does.
    BODY.with_borrow_mut(|body| body.known = known.clone());
    no();
    fixed(format!("DONE_{label}:"), &[]);
    BODY.with_borrow_mut(|body| body.known = known);
}

/// Repeats what `inside` writes until the truth value that it gives is false, which is asked first.
fn repeat(condition: impl FnOnce() -> Operand, inside: impl FnOnce()) {
    let (label, known) = BODY.with_borrow_mut(|body| {
        body.labels += 1;
        (body.labels, body.known.clone())
    });
    fixed(format!("AGAIN_{label}:"), &[]);
    let goes_on = condition();
    fixed(format!("@!{goes_on} bra DONE_{label};"), &[goes_on]);
    inside();
    fixed(format!("bra AGAIN_{label};"), &[]);
    fixed(format!("DONE_{label}:"), &[]);
    // What stands inside may not have run, and not with what it reads now.
    BODY.with_borrow_mut(|body| body.known = known);
}

fn line(operation: &str, operands: &[Operand]) -> String {
    let mut text = operation.to_string();
    for (at, operand) in operands.iter().enumerate() {
        let _ = write!(text, "{} {operand}", if at == 0 { "" } else { "," });
    }
    text
}

/// Runs `write` on an empty body and gives the text: declarations of registers, and lines.
pub(super) fn written<E>(write: impl FnOnce() -> Result<(), E>) -> Result<String, E> {
    let outer = BODY.take();
    let outcome = write();
    let body = BODY.replace(outer);
    outcome.map(|()| body.text())
}

impl Body {
    fn text(&self) -> String {
        let mut read: HashSet<Operand> = HashSet::new();
        let mut kept = Vec::with_capacity(self.lines.len());
        for one in self.lines.iter().rev() {
            match one {
                Line::Step { to, .. } if !read.contains(to) => {}
                Line::Step { to, operation, from } => {
                    read.extend(from);
                    let all: Vec<Operand> = std::iter::once(to).chain(from).copied().collect();
                    kept.push(format!("    {};\n", line(operation, &all)));
                }
                Line::Fixed { from, text } => {
                    read.extend(from);
                    kept.push(if text.ends_with(':') { format!("{text}\n") } else { format!("    {text}\n") });
                }
            }
        }
        let mut text = String::new();
        for (count, (_, letter, kind)) in self.counts.iter().zip(Bank::ALL).filter(|(count, _)| **count > 0) {
            let _ = writeln!(text, "    .reg .{kind} %{letter}<{}>;", count + 1);
        }
        text.extend(kept.into_iter().rev());
        text
    }
}
