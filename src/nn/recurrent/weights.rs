//! The parameters of recurrent layers, under PyTorch's names.

use crate::nn::{Init, Initial, Module, Path, Visit, VisitMut};
use crate::ops::Recurrence;
use crate::tensor::Parameter;

/// The weights of one layer in one direction. With `G` gates (4 for LSTM, 3 for GRU, else 1), inputs `I`, hidden size `H`:
#[derive(Clone, Debug)]
pub struct RecurrentWeights {
    /// `[G·H, I]`.
    pub weight_ih: Parameter,
    /// `[G·H, H]`; with a projection `[G·H, P]`.
    pub weight_hh: Parameter,
    /// `[G·H]`.
    pub bias_ih: Option<Parameter>,
    /// `[G·H]`.
    pub bias_hh: Option<Parameter>,
    /// The projection `[P, H]`.
    pub weight_hr: Option<Parameter>,
}

/// Their sizes.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) gates: usize,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    pub(super) biases: bool,
    pub(super) projection: Option<usize>,
}

impl RecurrentWeights {
    /// All uniform within `±1 / √H`.
    #[track_caller]
    pub(super) fn new(sizes: Sizes, init: &mut Init) -> RecurrentWeights {
        let Sizes { gates, inputs, hidden, biases, projection } = sizes;
        let law = Initial::Within { size: hidden };
        let rows = gates.saturating_mul(hidden);
        let weight_ih = init.parameter([rows, inputs], law);
        let weight_hh = init.parameter([rows, projection.unwrap_or(hidden)], law);
        let bias_ih = init.parameter_if(biases, [rows], law);
        let bias_hh = init.parameter_if(biases, [rows], law);
        let weight_hr = init.parameter_if(projection.is_some(), [projection.unwrap_or(0), hidden], law);
        RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, weight_hr }
    }
    /// As the operation takes them.
    pub(super) fn recurrence(&self) -> Recurrence {
        let mut weights = Recurrence::new(&self.weight_ih, &self.weight_hh);
        if let (Some(input), Some(hidden)) = (&self.bias_ih, &self.bias_hh) {
            weights = weights.biases(input, hidden);
        }
        match &self.weight_hr {
            Some(projection) => weights.projection(projection),
            None => weights,
        }
    }
}

/// One layer: its weights for the way from the first step on, and for the way back where it goes both ways.
#[derive(Clone, Debug)]
pub struct RecurrentLayer {
    /// From the first step to the last.
    pub forward: RecurrentWeights,
    /// From the last to the first.
    pub reverse: Option<RecurrentWeights>,
}

/// The layers of an [`Rnn`](crate::nn::Rnn), [`Gru`](crate::nn::Gru) or [`Lstm`](crate::nn::Lstm), with the names of
/// their parameters: `weight_ih_l0`, `bias_hh_l1_reverse`.
#[derive(Clone, Debug)]
pub struct RecurrentLayers(pub Vec<RecurrentLayer>);

/// The names of a direction's parameters.
const FORWARD: [&str; 5] = ["weight_ih_l{}", "weight_hh_l{}", "bias_ih_l{}", "bias_hh_l{}", "weight_hr_l{}"];
const REVERSE: [&str; 5] = [
    "weight_ih_l{}_reverse",
    "weight_hh_l{}_reverse",
    "bias_ih_l{}_reverse",
    "bias_hh_l{}_reverse",
    "weight_hr_l{}_reverse",
];

macro_rules! visit_all {
    ($visit:ident, $weights:expr, $names:expr, $index:expr, $path:expr, $visitor:expr) => {{
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, weight_hr } = $weights;
        let [ih, hh, bias_one, bias_two, hr] = $names;
        weight_ih.$visit(&$path.child(ih).item($index), $visitor);
        weight_hh.$visit(&$path.child(hh).item($index), $visitor);
        bias_ih.$visit(&$path.child(bias_one).item($index), $visitor);
        bias_hh.$visit(&$path.child(bias_two).item($index), $visitor);
        weight_hr.$visit(&$path.child(hr).item($index), $visitor);
    }};
}

impl Module for RecurrentLayers {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        for (index, RecurrentLayer { forward, reverse }) in self.0.iter().enumerate() {
            visit_all!(visit, forward, FORWARD, index, path, visitor);
            if let Some(reverse) = reverse {
                visit_all!(visit, reverse, REVERSE, index, path, visitor);
            }
        }
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        for (index, RecurrentLayer { forward, reverse }) in self.0.iter_mut().enumerate() {
            visit_all!(visit_mut, forward, FORWARD, index, path, visitor);
            if let Some(reverse) = reverse {
                visit_all!(visit_mut, reverse, REVERSE, index, path, visitor);
            }
        }
    }
}
