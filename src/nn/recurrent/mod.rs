//! Recurrent layers: what they remember of a sequence, and what they say at each of its steps.

mod cells;
mod layers;
mod weights;

pub use cells::{GruCell, LstmCell, RnnCell};
pub use layers::{Gru, Lstm, LstmOutput, RecurrentOptions, RecurrentOutput, Rnn, Sequence};
pub use weights::{RecurrentLayer, RecurrentLayers, RecurrentWeights};
