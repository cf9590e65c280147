//! Single steps: for sequences that are made while they are read.

use super::weights::{RecurrentWeights, Sizes};
use crate::module;
use crate::nn::{Init, Module};
use crate::ops::Recurrence;
use crate::tensor::{Parameter, Tensor};

macro_rules! cell {
    ($(#[$doc:meta])* $Cell:ident of $gates:literal gates; $($field:ident: $Field:ty = $value:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $Cell {
            /// Of the input: a row for each gate of each hidden number.
            pub weight_ih: Parameter,
            /// Of the hidden state.
            pub weight_hh: Parameter,
            /// Added to the product with the input.
            pub bias_ih: Option<Parameter>,
            /// Added to the product with the hidden state.
            pub bias_hh: Option<Parameter>,
            $(
                /// Cuts off below zero instead of taking the hyperbolic tangent.
                pub $field: $Field,
            )?
        }
        module!($Cell { weight_ih, weight_hh, bias_ih, bias_hh; $($field)? });

        impl $Cell {
            /// For this many inputs and hidden numbers, with biases; all parameters uniform within `±1 / √hidden`.
            #[track_caller]
            pub fn new(inputs: usize, hidden: usize, init: &mut Init) -> $Cell {
                let sizes = Sizes { gates: $gates, inputs, hidden, biases: true, projection: None };
                let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, .. } = RecurrentWeights::new(sizes, init);
                $Cell { weight_ih, weight_hh, bias_ih, bias_hh, $($field: $value)? }.named()
            }
            /// The same without its biases.
            pub fn without_bias(self) -> $Cell {
                $Cell { bias_ih: None, bias_hh: None, ..self }
            }
            fn recurrence(&self) -> Recurrence {
                let weights = Recurrence::new(&self.weight_ih, &self.weight_hh);
                match (&self.bias_ih, &self.bias_hh) {
                    (Some(input), Some(hidden)) => weights.biases(input, hidden),
                    _ => weights,
                }
            }
        }
    };
}

cell! {
    /// One step of a plain recurrent layer: `h = tanh(W x + b + U h + d)`.
    ///
    /// ```
    /// use chainrule::nn::{Init, RnnCell};
    /// use chainrule::Tensor;
    /// let cell = RnnCell::new(10, 20, &mut Init::new());
    /// let hidden = cell.forward(&Tensor::ones([3, 10]), &Tensor::zeros([3, 20]));
    /// assert_eq!(hidden.dims()?, [3, 20]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    RnnCell of 1 gates; relu: bool = false
}

cell! {
    /// One step of a gated recurrent unit.
    ///
    /// ```
    /// use chainrule::nn::{GruCell, Init};
    /// use chainrule::Tensor;
    /// let cell = GruCell::new(10, 20, &mut Init::new());
    /// let mut hidden = Tensor::zeros([3, 20]);
    /// for _ in 0..4 {
    ///     hidden = cell.forward(&Tensor::ones([3, 10]), &hidden);
    /// }
    /// assert_eq!(hidden.dims()?, [3, 20]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    GruCell of 3 gates;
}

cell! {
    /// One step of long short-term memory.
    ///
    /// ```
    /// use chainrule::nn::{Init, LstmCell};
    /// use chainrule::Tensor;
    /// let layer = LstmCell::new(10, 20, &mut Init::new());
    /// let zeros = Tensor::zeros([3, 20]);
    /// let [hidden, cell] = layer.forward(&Tensor::ones([3, 10]), &zeros, &zeros);
    /// assert_eq!((hidden.dims()?, cell.dims()?), ([3, 20], [3, 20]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    LstmCell of 4 gates;
}

impl RnnCell {
    /// `h = max(W x + b + U h + d, 0)` instead.
    ///
    /// ```
    /// use chainrule::nn::{Init, RnnCell};
    /// assert!(RnnCell::new(10, 20, &mut Init::new()).with_relu().relu);
    /// ```
    pub fn with_relu(self) -> RnnCell {
        RnnCell { relu: true, ..self }
    }
    /// The hidden state `[batch, hidden]` after an input `[batch, inputs]`.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, hidden: &Tensor) -> Tensor {
        match self.relu {
            true => input.rnn_relu_cell(hidden, &self.recurrence()),
            false => input.rnn_tanh_cell(hidden, &self.recurrence()),
        }
    }
}

impl GruCell {
    /// The hidden state `[batch, hidden]` after an input `[batch, inputs]`.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, hidden: &Tensor) -> Tensor {
        input.gru_cell(hidden, &self.recurrence())
    }
}

impl LstmCell {
    /// Hidden state and cell `[batch, hidden]` after an input `[batch, inputs]`.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, hidden: &Tensor, cell: &Tensor) -> [Tensor; 2] {
        input.lstm_cell(hidden, cell, &self.recurrence())
    }
}
