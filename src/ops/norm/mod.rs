//! Normalisations: numbers brought to mean 0 and spread 1, then scaled and shifted by what is learnt.

mod batch;
mod response;
mod rows;

use crate::device::Value;
use crate::error::Fault;
use crate::tensor::Tensor;

/// Checks weight or bias: its sizes are those of what it scales.
fn fits(name: &str, given: Option<&Value>, wanted: &[usize], why: &str) -> Result<(), Fault> {
    match given {
        Some(given) if given.dims() != wanted => Err(Fault::shape(
            format!("the {name} has the sizes {:?}, {wanted:?} are needed", given.dims()),
            format!("the {name} holds one number for {why}"),
        )),
        _ => Ok(()),
    }
}

/// The operands of a normalisation: input, then weight and bias where they are given.
#[derive(Clone, Copy, Debug)]
struct Learnt {
    weight: bool,
    bias: bool,
}

impl Learnt {
    fn of(weight: Option<&Tensor>, bias: Option<&Tensor>) -> Learnt {
        Learnt { weight: weight.is_some(), bias: bias.is_some() }
    }
    /// Where weight and bias stand among the operands, `from` on.
    fn pick<T>(self, all: &[T], from: usize) -> (Option<&T>, Option<&T>) {
        let weight = if self.weight { all.get(from) } else { None };
        let bias = if self.bias { all.get(from + self.weight as usize) } else { None };
        (weight, bias)
    }
    /// What operand `which` is: 0 the input, 1 the weight, 2 the bias.
    fn part(self, which: usize, from: usize) -> usize {
        if which < from {
            0
        } else if self.weight && which == from {
            1
        } else {
            2
        }
    }
    fn roles(self) -> &'static [&'static str] {
        match (self.weight, self.bias) {
            (true, _) => &["input", "weight", "bias"],
            (false, true) => &["input", "bias"],
            (false, false) => &["input"],
        }
    }
}
