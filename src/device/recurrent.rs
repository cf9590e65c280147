//! Recurrent layers over whole sequences.

use super::Value;
use crate::error::Fault;

/// What a step makes of its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// Long short-term memory: input, forget, candidate, output.
    Lstm,
    /// Gated recurrent unit: reset, update, new; the reset gate acts after the recurrent product.
    Gru,
    /// One gate through the hyperbolic tangent.
    Tanh,
    /// One gate, cut off below zero.
    Relu,
}

impl Gates {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Gates::Lstm => 4,
            Gates::Gru => 3,
            Gates::Tanh | Gates::Relu => 1,
        }
    }
}

/// The operands of one recurrent layer in one direction. All have the element type of the input.
///
/// `T`, `B`: steps and sequences; `I`, `H`: sizes of an input and of the hidden state; `G`: gates; `R`: the size of a
/// result, `H` where there is no projection.
#[derive(Clone, Copy)]
pub struct Recurring<'a> {
    /// What a step makes of its gates.
    pub gates: Gates,
    /// `[T, B, I]`
    pub input: &'a Value,
    /// The hidden state at the beginning, `[B, R]`.
    pub hidden: &'a Value,
    /// The cell at the beginning, `[B, H]`: with [`Gates::Lstm`].
    pub cell: Option<&'a Value>,
    /// `[G·H, I]`
    pub weight_input: &'a Value,
    /// `[G·H, R]`
    pub weight_hidden: &'a Value,
    /// What is added to the products with the input and with the hidden state, `[G·H]` each.
    pub biases: Option<[&'a Value; 2]>,
    /// `[R, H]`: what the hidden state is multiplied with. With [`Gates::Lstm`].
    pub projection: Option<&'a Value>,
    /// From the last step to the first.
    pub reversed: bool,
    /// How many steps each sequence has, `B` numbers up to `T`; without them, all.
    pub lengths: Option<&'a [usize]>,
}

/// What running through a sequence gives.
pub struct Recurred {
    /// The hidden state after each step, `[T, B, R]`; zero where a sequence has ended.
    pub output: Value,
    /// The hidden state at the end of each sequence (in a reversed run, at its beginning), `[B, R]`.
    pub hidden: Value,
    /// The cell there, `[B, H]`.
    pub cell: Option<Value>,
    /// What the gradient needs, if it was asked for.
    pub kept: Vec<Value>,
}

/// The gradients, of those operands for which they were wanted.
#[derive(Default)]
pub struct RecurrentGradients {
    /// For the input.
    pub input: Option<Value>,
    /// For the hidden state at the beginning.
    pub hidden: Option<Value>,
    /// For the cell at the beginning.
    pub cell: Option<Value>,
    /// For the weights of the input.
    pub weight_input: Option<Value>,
    /// For the weights of the hidden state.
    pub weight_hidden: Option<Value>,
    /// For the biases.
    pub biases: Option<[Value; 2]>,
    /// For the projection.
    pub projection: Option<Value>,
}

/// Which gradients are wanted; those of the states at the beginning come by themselves.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWanted {
    /// For the input.
    pub input: bool,
    /// For the weights of the input.
    pub weight_input: bool,
    /// For the weights of the hidden state.
    pub weight_hidden: bool,
    /// For the biases.
    pub biases: bool,
    /// For the projection.
    pub projection: bool,
}

/// The kernels of recurrent layers.
pub trait Recur {
    /// All steps, one after the other. Strides are free. `keep`: a gradient will be taken.
    fn recur(&self, operands: &Recurring<'_>, keep: bool) -> Result<Recurred, Fault>;
    /// The gradients, from what was kept and from those that arrived for output, hidden state and cell.
    fn recur_gradient(
        &self,
        operands: &Recurring<'_>,
        kept: &[&Value],
        arriving: [&Value; 3],
        wanted: RecurrentWanted,
    ) -> Result<RecurrentGradients, Fault>;
}
