//! Recurrent layers over whole sequences.

use super::Value;
use crate::error::Fault;
use crate::layout::DType;

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

/// The sizes of a recurrence whose operands fit each other.
#[derive(Clone, Copy)]
pub(in crate::device) struct Sizes {
    pub(in crate::device) steps: usize,
    pub(in crate::device) batch: usize,
    pub(in crate::device) input: usize,
    pub(in crate::device) hidden: usize,
    /// The size of a result.
    pub(in crate::device) out: usize,
    /// All gates of one sequence in one step.
    pub(in crate::device) gates: usize,
}

impl Sizes {
    pub(in crate::device) fn new(of: &Recurring<'_>) -> Result<Sizes, Fault> {
        let (&[steps, batch, input], &[gates, out]) = (of.input.dims(), of.weight_hidden.dims()) else {
            return Err(Fault::defect("a recurrence over operands of other ranks"));
        };
        let sizes = Sizes { steps, batch, input, hidden: gates / of.gates.count(), out, gates };
        let projected = of.projection.map_or(sizes.hidden, |projection| projection.dims()[0]);
        let fits = [
            of.hidden.dims() == [batch, out],
            of.cell.is_some() == (of.gates == Gates::Lstm),
            of.cell.is_none_or(|cell| cell.dims() == [batch, sizes.hidden]),
            of.weight_input.dims() == [gates, input],
            of.biases.is_none_or(|biases| biases.iter().all(|bias| bias.dims() == [gates])),
            of.projection.is_none_or(|projection| projection.dims() == [out, sizes.hidden]),
            projected == out && sizes.hidden * of.gates.count() == gates,
            of.lengths.is_none_or(|lengths| lengths.len() == batch),
        ];
        if fits.contains(&false) {
            return Err(Fault::defect("the operands of a recurrence do not fit each other"));
        }
        Ok(sizes)
    }
    /// Rows of all steps.
    pub(in crate::device) fn rows(&self) -> usize {
        self.steps * self.batch
    }
}

/// Only floats recur.
pub(in crate::device) fn no_recurrence(dtype: DType) -> Fault {
    Fault::dtype(format!("a recurrent layer over {dtype} numbers"), "convert to a float first: x.to_dtype(DType::F32)")
}

/// The operands as a device computes with them.
pub(in crate::device) struct Owned {
    input: Value,
    hidden: Value,
    cell: Option<Value>,
    weight_input: Value,
    weight_hidden: Value,
    biases: Option<[Value; 2]>,
    projection: Option<Value>,
}

impl Owned {
    /// Each of them made what the device wants it to be.
    pub(in crate::device) fn new(
        from: &Recurring<'_>,
        made: impl Fn(&Value) -> Result<Value, Fault>,
    ) -> Result<Owned, Fault> {
        Ok(Owned {
            input: made(from.input)?,
            hidden: made(from.hidden)?,
            cell: from.cell.map(&made).transpose()?,
            weight_input: made(from.weight_input)?,
            weight_hidden: made(from.weight_hidden)?,
            biases: match from.biases {
                Some([input, hidden]) => Some([made(input)?, made(hidden)?]),
                None => None,
            },
            projection: from.projection.map(&made).transpose()?,
        })
    }
    pub(in crate::device) fn operands<'a>(&'a self, from: &Recurring<'a>) -> Recurring<'a> {
        Recurring {
            input: &self.input,
            hidden: &self.hidden,
            cell: self.cell.as_ref(),
            weight_input: &self.weight_input,
            weight_hidden: &self.weight_hidden,
            biases: self.biases.as_ref().map(|[input, hidden]| [input, hidden]),
            projection: self.projection.as_ref(),
            ..*from
        }
    }
}

impl Recurred {
    /// The results made something else, but for what is kept.
    pub(in crate::device) fn map(self, made: impl Fn(&Value) -> Result<Value, Fault>) -> Result<Recurred, Fault> {
        Ok(Recurred {
            output: made(&self.output)?,
            hidden: made(&self.hidden)?,
            cell: self.cell.as_ref().map(made).transpose()?,
            kept: self.kept,
        })
    }
}

impl RecurrentGradients {
    /// All of them made something else.
    pub(in crate::device) fn map(
        self,
        made: impl Fn(&Value) -> Result<Value, Fault>,
    ) -> Result<RecurrentGradients, Fault> {
        let each = |value: Option<Value>| value.as_ref().map(&made).transpose();
        Ok(RecurrentGradients {
            input: each(self.input)?,
            hidden: each(self.hidden)?,
            cell: each(self.cell)?,
            weight_input: each(self.weight_input)?,
            weight_hidden: each(self.weight_hidden)?,
            biases: match self.biases {
                Some([input, hidden]) => Some([made(&input)?, made(&hidden)?]),
                None => None,
            },
            projection: each(self.projection)?,
        })
    }
}
