//! Connectionist temporal classification: what a device must be able to do.

use super::Value;
use crate::error::Fault;

/// Which paths through the symbols of all steps count.
#[derive(Clone, Copy, Debug)]
pub struct Alignment {
    /// The class that stands for "no symbol here".
    pub blank: usize,
    /// Is the loss of a target that cannot be reached 0, with no gradient, instead of infinity?
    pub zero_infinity: bool,
}

/// The losses, and how they change.
#[derive(Debug)]
pub struct Alignments {
    /// `-ln P(target)` of each example.
    pub losses: Value,
    /// The derivative of each loss for the logarithms that it was computed of, `[steps, batch, classes]`, where it was
    /// wanted: minus the chance that a path uses this class at this step.
    pub slopes: Option<Value>,
}

/// The kernel. Sums over paths are carried in double precision.
pub trait Ctc {
    /// The losses of `x`, logarithms of probabilities `[steps, batch, classes]`, for targets `[batch, symbols]` (i64), of
    /// which the first `lengths.1` count, in the first `lengths.0` steps. Sizes have been checked; a symbol or a length
    /// that is out of range is a fault that names its position.
    fn ctc(
        &self,
        x: &Value,
        targets: &Value,
        lengths: (&Value, &Value),
        how: Alignment,
        slopes: bool,
    ) -> Result<Alignments, Fault>;
}

/// A length is none.
pub(in crate::device) fn bad_length(what: &str, example: usize, length: i64, most: usize) -> Fault {
    Fault::index(
        format!("the {what} length of example {example} is {length}, there are {most} places"),
        format!("lengths say how much of each row counts: 0 ..= {most}"),
    )
}

/// A symbol of a target is none.
pub(in crate::device) fn bad_symbol([example, at]: [usize; 2], symbol: i64, classes: usize, blank: usize) -> Fault {
    let is = if symbol == blank as i64 { "the blank" } else { "out of range" };
    Fault::index(
        format!("the target at [{example}, {at}] is class {symbol}, {is} of {classes} classes"),
        format!("targets are classes other than the blank ({blank}), without blanks between"),
    )
}
