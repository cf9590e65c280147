//! Recurrent layers: a whole sequence is one operation.

mod definition;
mod operation;

use crate::device::recurrent::Gates;
use crate::op::apply_many;
use crate::tensor::Tensor;
use operation::Recurs;
use std::sync::Arc;

/// The weights of one recurrent layer in one direction, and how it runs: for [`lstm`](Tensor::lstm),
/// [`gru`](Tensor::gru), [`rnn_tanh`](Tensor::rnn_tanh), [`rnn_relu`](Tensor::rnn_relu) and their single steps.
///
/// `I`, `H`: sizes of an input and of the hidden state; `G`: gates, 4 for LSTM, 3 for GRU, else 1. Layouts are PyTorch's.
///
/// ```
/// use chainrule::{Recurrence, Tensor};
/// let weights = Recurrence::new(&Tensor::zeros([12, 5]), &Tensor::zeros([12, 4])); // GRU, I = 5, H = 4
/// let [output, hidden] = Tensor::zeros([7, 2, 5]).gru(&Tensor::ones([2, 4]), &weights);
/// assert_eq!(output.dims()?, [7, 2, 4]);
/// assert_eq!(hidden.dims()?, [2, 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recurrence {
    weight_input: Tensor,
    weight_hidden: Tensor,
    biases: Option<[Tensor; 2]>,
    projection: Option<Tensor>,
    reversed: bool,
    lengths: Option<Arc<[usize]>>,
}

impl Recurrence {
    /// The weights of the input `[G·H, I]` and of the hidden state `[G·H, H]`: gate below gate.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([1, 1]), &Tensor::ones([1, 1]));
    /// let [output, _] = Tensor::ones([3, 1, 1]).rnn_relu(&Tensor::zeros([1, 1]), &weights);
    /// assert_eq!(output.to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn new(weight_input: &Tensor, weight_hidden: &Tensor) -> Recurrence {
        Recurrence {
            weight_input: weight_input.clone(),
            weight_hidden: weight_hidden.clone(),
            biases: None,
            projection: None,
            reversed: false,
            lengths: None,
        }
    }
    /// What is added to the product with the input and to that with the hidden state, `[G·H]` each.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let (weight, bias) = (Tensor::zeros([1, 1]), Tensor::ones([1]));
    /// let weights = Recurrence::new(&weight, &weight).biases(&bias, &bias);
    /// assert_eq!(Tensor::zeros([1, 1]).rnn_relu_cell(&Tensor::zeros([1, 1]), &weights).item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn biases(self, input: &Tensor, hidden: &Tensor) -> Recurrence {
        Recurrence { biases: Some([input.clone(), hidden.clone()]), ..self }
    }
    /// An LSTM multiplies each hidden state with this, `[P, H]`: results have size `P`, and so has the hidden state that
    /// the next step sees (its weight is `[4·H, P]`).
    ///
    /// Sak, Senior, Beaufays: "Long short-term memory recurrent neural network architectures for large scale acoustic
    /// modeling", 2014.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::zeros([16, 5]), &Tensor::zeros([16, 3])).projection(&Tensor::zeros([3, 4]));
    /// let [output, hidden, cell] = Tensor::zeros([7, 2, 5]).lstm(&Tensor::ones([2, 3]), &Tensor::ones([2, 4]), &weights);
    /// assert_eq!((output.dims()?, hidden.dims()?, cell.dims()?), ([7, 2, 3], [2, 3], [2, 4]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "proj_size")]
    pub fn projection(self, projection: &Tensor) -> Recurrence {
        Recurrence { projection: Some(projection.clone()), ..self }
    }
    /// From the last step to the first; a sequence with a length begins at its own last step.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([1, 1]), &Tensor::ones([1, 1])).reversed(true);
    /// let [output, _] = Tensor::ones([3, 1, 1]).rnn_relu(&Tensor::zeros([1, 1]), &weights);
    /// assert_eq!(output.to_vec::<f32>()?, [3.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn reversed(self, reversed: bool) -> Recurrence {
        Recurrence { reversed, ..self }
    }
    /// How many steps each sequence of the batch has. After its end results are zero, and its last states are those at
    /// its end.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([1, 1]), &Tensor::ones([1, 1])).lengths(&[3, 1]);
    /// let [output, hidden] = Tensor::ones([3, 2, 1]).rnn_relu(&Tensor::zeros([2, 1]), &weights);
    /// assert_eq!(output.select(2, 0), Tensor::from([[1.0, 1.0], [2.0, 0.0], [3.0, 0.0]]));
    /// assert_eq!(hidden.to_vec::<f32>()?, [3.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "pack_padded_sequence")]
    pub fn lengths(self, lengths: &[usize]) -> Recurrence {
        Recurrence { lengths: Some(lengths.into()), ..self }
    }

    /// Applies the operation of these gates.
    #[track_caller]
    fn run<const M: usize>(&self, gates: Gates, single: bool, input: &Tensor, states: &[&Tensor]) -> [Tensor; M] {
        let mut inputs: Vec<&Tensor> = Vec::with_capacity(8);
        inputs.push(input);
        inputs.extend_from_slice(states);
        inputs.push(&self.weight_input);
        inputs.push(&self.weight_hidden);
        if let Some([input, hidden]) = &self.biases {
            inputs.push(input);
            inputs.push(hidden);
        }
        inputs.extend(&self.projection);
        let op = Recurs {
            gates,
            single,
            biases: self.biases.is_some(),
            projection: self.projection.is_some(),
            reversed: self.reversed,
            lengths: self.lengths.clone(),
        };
        apply_many(op, &inputs)
    }
}

impl Tensor {
    /// Long short-term memory over all steps of `[T, B, I]`, from the states `[B, H]` at the beginning: the hidden state
    /// after each step `[T, B, H]`, and hidden state and cell at the end.
    ///
    /// ```text
    /// i, f, o = σ(W x + b + U h + d)      g = tanh(W x + b + U h + d)      gates in the order i, f, g, o
    /// c = f · c + i · g                   h = o · tanh c
    /// ```
    ///
    /// The products with all inputs are one, and the recurrent weights are packed once for the sequence. Hochreiter and
    /// Schmidhuber: "Long short-term memory", 1997.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::zeros([4, 3]), &Tensor::zeros([4, 1]));
    /// let [output, hidden, cell] = Tensor::ones([2, 1, 3]).lstm(&Tensor::zeros([1, 1]), &Tensor::ones([1, 1]), &weights);
    /// assert_eq!(output.dims()?, [2, 1, 1]);
    /// assert_eq!(cell.item()?, 0.25); // all gates are a half
    /// assert_eq!(hidden.item()?, output.select(0, 1).item()?);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn lstm(&self, hidden: &Tensor, cell: &Tensor, weights: &Recurrence) -> [Tensor; 3] {
        weights.run(Gates::Lstm, false, self, &[hidden, cell])
    }
    /// A gated recurrent unit over all steps of `[T, B, I]`, from the hidden state `[B, H]` at the beginning: the hidden
    /// state after each step `[T, B, H]`, and the one at the end.
    ///
    /// ```text
    /// r, z = σ(W x + b + U h + d)         n = tanh(W x + b + r · (U h + d))         gates in the order r, z, n
    /// h = (1 - z) · n + z · h
    /// ```
    ///
    /// Cho and others: "Learning phrase representations using RNN encoder-decoder", 2014, with the reset gate after the
    /// recurrent product.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::zeros([3, 2]), &Tensor::zeros([3, 1]));
    /// let [output, _] = Tensor::ones([2, 1, 2]).gru(&Tensor::ones([1, 1]), &weights);
    /// assert_eq!(output.to_vec::<f32>()?, [0.5, 0.25]); // half of it stays
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn gru(&self, hidden: &Tensor, weights: &Recurrence) -> [Tensor; 2] {
        weights.run(Gates::Gru, false, self, &[hidden])
    }
    /// The plain recurrent layer `h = tanh(W x + b + U h + d)` over all steps of `[T, B, I]`: the hidden state after each
    /// step `[T, B, H]`, and the one at the end.
    ///
    /// Elman: "Finding structure in time", 1990.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::zeros([1, 1]), &Tensor::ones([1, 1]));
    /// let [_, hidden] = Tensor::ones([1, 1, 1]).rnn_tanh(&Tensor::ones([1, 1]), &weights);
    /// assert_eq!(hidden.item()?, 1f32.tanh() as f64);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rnn_tanh(&self, hidden: &Tensor, weights: &Recurrence) -> [Tensor; 2] {
        weights.run(Gates::Tanh, false, self, &[hidden])
    }
    /// As [`rnn_tanh`](Tensor::rnn_tanh), cut off below zero instead: `h = max(W x + b + U h + d, 0)`.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([1, 1]), &Tensor::ones([1, 1]));
    /// let [output, _] = Tensor::from([1.0, -5.0, 2.0]).reshape([3, 1, 1]).rnn_relu(&Tensor::zeros([1, 1]), &weights);
    /// assert_eq!(output.to_vec::<f32>()?, [1.0, 0.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rnn_relu(&self, hidden: &Tensor, weights: &Recurrence) -> [Tensor; 2] {
        weights.run(Gates::Relu, false, self, &[hidden])
    }
    /// One step of [`lstm`](Tensor::lstm) for `[B, I]`: hidden state and cell after it.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::zeros([4, 3]), &Tensor::zeros([4, 1]));
    /// let [_, cell] = Tensor::ones([1, 3]).lstm_cell(&Tensor::zeros([1, 1]), &Tensor::ones([1, 1]), &weights);
    /// assert_eq!(cell.item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn lstm_cell(&self, hidden: &Tensor, cell: &Tensor, weights: &Recurrence) -> [Tensor; 2] {
        weights.run(Gates::Lstm, true, self, &[hidden, cell])
    }
    /// One step of [`gru`](Tensor::gru) for `[B, I]`: the hidden state after it.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::zeros([3, 2]), &Tensor::zeros([3, 1]));
    /// assert_eq!(Tensor::ones([1, 2]).gru_cell(&Tensor::ones([1, 1]), &weights).item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn gru_cell(&self, hidden: &Tensor, weights: &Recurrence) -> Tensor {
        let [hidden] = weights.run(Gates::Gru, true, self, &[hidden]);
        hidden
    }
    /// One step of [`rnn_tanh`](Tensor::rnn_tanh) for `[B, I]`: the hidden state after it.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([1, 1]), &Tensor::ones([1, 1]));
    /// assert_eq!(Tensor::zeros([1, 1]).rnn_tanh_cell(&Tensor::zeros([1, 1]), &weights).item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rnn_tanh_cell(&self, hidden: &Tensor, weights: &Recurrence) -> Tensor {
        let [hidden] = weights.run(Gates::Tanh, true, self, &[hidden]);
        hidden
    }
    /// One step of [`rnn_relu`](Tensor::rnn_relu) for `[B, I]`: the hidden state after it.
    ///
    /// ```
    /// use chainrule::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([1, 1]), &Tensor::ones([1, 1]));
    /// assert_eq!(Tensor::ones([1, 1]).rnn_relu_cell(&Tensor::ones([1, 1]), &weights).item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rnn_relu_cell(&self, hidden: &Tensor, weights: &Recurrence) -> Tensor {
        let [hidden] = weights.run(Gates::Relu, true, self, &[hidden]);
        hidden
    }
}
