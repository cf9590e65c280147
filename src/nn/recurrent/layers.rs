//! Layers over whole sequences: several above each other, in one direction or both.

use super::weights::{RecurrentLayer, RecurrentLayers, RecurrentWeights, Sizes};
use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::module;
use crate::nn::stack::{carrying, counted};
use crate::nn::{Init, Module, Running};
use crate::tensor::Tensor;
use std::marker::PhantomData;

/// How a recurrent layer is built: `Lstm::options(inputs, hidden)`, some `with_*`, then `build(init)`.
///
/// ```
/// use chainrule::nn::{Gru, Init, Module};
/// let layer = Gru::options(8, 16).with_layers(2).with_bidirectional().build(&mut Init::new());
/// assert_eq!(layer.parameters()[4].0, "weight_ih_l0_reverse");
/// ```
#[derive(Clone, Debug)]
pub struct RecurrentOptions<L> {
    inputs: usize,
    hidden: usize,
    layers: usize,
    bidirectional: bool,
    biases: bool,
    projection: Option<usize>,
    how: How,
    layer: PhantomData<fn() -> L>,
}

/// What a layer does beside its weights.
#[derive(Clone, Copy, Debug)]
struct How {
    batch_first: bool,
    relu: bool,
    rate: f64,
}

impl<L> RecurrentOptions<L> {
    fn new(inputs: usize, hidden: usize) -> RecurrentOptions<L> {
        RecurrentOptions {
            inputs,
            hidden,
            layers: 1,
            bidirectional: false,
            biases: true,
            projection: None,
            how: How { batch_first: false, relu: false, rate: 0.0 },
            layer: PhantomData,
        }
    }
    /// So many layers, each reading what the one below says (1; at most 65 536).
    ///
    /// ```
    /// use chainrule::nn::{Init, Rnn};
    /// assert_eq!(Rnn::options(8, 16).with_layers(3).build(&mut Init::new()).layers.0.len(), 3);
    /// ```
    #[doc(alias = "num_layers")]
    pub fn with_layers(self, layers: usize) -> Self {
        RecurrentOptions { layers, ..self }
    }
    /// Both from the first step to the last and from the last to the first; results stand beside each other.
    ///
    /// ```
    /// use chainrule::nn::{Init, Rnn};
    /// use chainrule::Tensor;
    /// let layer = Rnn::options(8, 16).with_bidirectional().build(&mut Init::new());
    /// assert_eq!(layer.forward(&Tensor::zeros([5, 2, 8])).output.dims()?, [5, 2, 32]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_bidirectional(self) -> Self {
        RecurrentOptions { bidirectional: true, ..self }
    }
    /// Inputs and results are `[batch, steps, ..]` instead of `[steps, batch, ..]`. States stay `[.., batch, hidden]`.
    ///
    /// ```
    /// use chainrule::nn::{Gru, Init};
    /// use chainrule::Tensor;
    /// let layer = Gru::options(8, 16).with_batch_first().build(&mut Init::new());
    /// assert_eq!(layer.forward(&Tensor::zeros([2, 5, 8])).output.dims()?, [2, 5, 16]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_batch_first(mut self) -> Self {
        self.how.batch_first = true;
        self
    }
    /// In training, drops what goes from one layer to the next with this chance (0).
    ///
    /// ```
    /// use chainrule::nn::{Init, Lstm};
    /// let layer = Lstm::options(8, 16).with_layers(2).with_dropout(0.2).build(&mut Init::new());
    /// assert_eq!(layer.dropout(), 0.2);
    /// ```
    pub fn with_dropout(mut self, rate: f64) -> Self {
        self.how.rate = rate;
        self
    }
    /// Without biases.
    ///
    /// ```
    /// use chainrule::nn::{Init, Lstm};
    /// assert!(Lstm::options(8, 16).without_bias().build(&mut Init::new()).layers.0[0].forward.bias_ih.is_none());
    /// ```
    pub fn without_bias(self) -> Self {
        RecurrentOptions { biases: false, ..self }
    }

    #[track_caller]
    fn parameters(&self, kind: Kind, gates: usize, init: &mut Init) -> RecurrentLayers {
        let (count, absurd) = counted(kind.name(), self.layers);
        let directions = 1 + self.bidirectional as usize;
        let below = self.projection.unwrap_or(self.hidden).saturating_mul(directions);
        let layer = |layer: usize| {
            let inputs = if layer == 0 { self.inputs } else { below };
            let Self { hidden, biases, projection, .. } = *self;
            let sizes = Sizes { gates, inputs, hidden, biases, projection };
            let forward = RecurrentWeights::new(sizes, init);
            RecurrentLayer { forward, reverse: self.bidirectional.then(|| RecurrentWeights::new(sizes, init)) }
        };
        carrying(RecurrentLayers((0..count).map(layer).collect()), absurd)
    }
}

impl RecurrentOptions<Lstm> {
    /// Hidden states are multiplied down to this size, which results and the next step then have.
    ///
    /// ```
    /// use chainrule::nn::{Init, Lstm};
    /// use chainrule::Tensor;
    /// let layer = Lstm::options(8, 16).with_projection(4).build(&mut Init::new());
    /// let after = layer.forward(&Tensor::zeros([5, 2, 8]));
    /// assert_eq!((after.output.dims()?, after.cell.dims()?), ([5, 2, 4], [1, 2, 16]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "proj_size")]
    pub fn with_projection(self, size: usize) -> Self {
        RecurrentOptions { projection: Some(size), ..self }
    }
}

impl RecurrentOptions<Rnn> {
    /// Cuts off below zero instead of taking the hyperbolic tangent.
    ///
    /// ```
    /// use chainrule::nn::{Init, Rnn};
    /// use chainrule::Tensor;
    /// let layer = Rnn::options(8, 16).with_relu().build(&mut Init::new());
    /// assert!(layer.forward(&Tensor::ones([5, 2, 8])).output.min().item()? >= 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_relu(mut self) -> Self {
        self.how.relu = true;
        self
    }
}

/// Where a layer starts and how long its sequences are; all of it is optional.
///
/// ```
/// use chainrule::nn::{Gru, Init, Sequence};
/// use chainrule::Tensor;
/// let layer = Gru::new(8, 16, &mut Init::new());
/// let after = layer.forward_with(&Tensor::ones([5, 2, 8]), &Sequence::new().lengths(&[5, 3]));
/// assert_eq!(after.output.select(1, 1).narrow(0, 3, 2), Tensor::zeros([2, 16])); // after its end
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    hidden: Option<Tensor>,
    cell: Option<Tensor>,
    lengths: Option<Vec<usize>>,
}

impl Sequence {
    /// From zeros, all steps.
    pub fn new() -> Sequence {
        Sequence::default()
    }
    /// From this hidden state, `[layers · directions, batch, hidden]`: as one comes out.
    ///
    /// ```
    /// use chainrule::nn::{Gru, Init, Sequence};
    /// use chainrule::Tensor;
    /// let (layer, x) = (Gru::new(8, 16, &mut Init::new()), Tensor::ones([5, 2, 8]));
    /// let first = layer.forward(&x);
    /// let then = layer.forward_with(&x, &Sequence::new().hidden(&first.hidden));
    /// assert_eq!(then.hidden.dims()?, [1, 2, 16]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn hidden(self, hidden: &Tensor) -> Sequence {
        Sequence { hidden: Some(hidden.clone()), ..self }
    }
    /// From this cell of an [`Lstm`], `[layers · directions, batch, hidden]`.
    ///
    /// ```
    /// use chainrule::nn::{Init, Lstm, Sequence};
    /// use chainrule::Tensor;
    /// let (layer, x) = (Lstm::new(8, 16, &mut Init::new()), Tensor::ones([5, 2, 8]));
    /// let first = layer.forward(&x);
    /// let state = Sequence::new().hidden(&first.hidden).cell(&first.cell);
    /// assert_eq!(layer.forward_with(&x, &state).cell.dims()?, [1, 2, 16]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn cell(self, cell: &Tensor) -> Sequence {
        Sequence { cell: Some(cell.clone()), ..self }
    }
    /// How many steps each sequence has. After its end results are zero, and its last states are those at its end; the way
    /// back begins there.
    #[doc(alias = "pack_padded_sequence")]
    pub fn lengths(self, lengths: &[usize]) -> Sequence {
        Sequence { lengths: Some(lengths.to_vec()), ..self }
    }
}

/// What an [`Rnn`] or a [`Gru`] gives.
#[derive(Clone, Debug)]
pub struct RecurrentOutput {
    /// The last layer's hidden state after each step, both directions beside each other.
    pub output: Tensor,
    /// The hidden state of each layer and direction at the end, `[layers · directions, batch, hidden]`.
    pub hidden: Tensor,
}

/// What an [`Lstm`] gives.
#[derive(Clone, Debug)]
pub struct LstmOutput {
    /// The last layer's hidden state after each step, both directions beside each other.
    pub output: Tensor,
    /// The hidden state of each layer and direction at the end, `[layers · directions, batch, hidden]`.
    pub hidden: Tensor,
    /// The cell of each layer and direction at the end.
    pub cell: Tensor,
}

/// Which operation a layer is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Rnn => "rnn",
            Kind::Gru => "gru",
            Kind::Lstm => "lstm",
        }
    }
}

macro_rules! layer {
    ($(#[$doc:meta])* $Layer:ident of $gates:literal gates) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $Layer {
            /// The parameters, layer for layer.
            pub layers: RecurrentLayers,
            stream: Running<Random>,
            how: How,
        }
        module!($Layer { layers as "", stream; how });

        impl $Layer {
            /// One layer in one direction, with biases, for inputs `[steps, batch, inputs]`; all parameters uniform within
            /// `±1 / √hidden`.
            #[track_caller]
            pub fn new(inputs: usize, hidden: usize, init: &mut Init) -> $Layer {
                $Layer::options(inputs, hidden).build(init)
            }
            /// With other choices.
            pub fn options(inputs: usize, hidden: usize) -> RecurrentOptions<$Layer> {
                RecurrentOptions::new(inputs, hidden)
            }
            /// The chance that something is dropped between two layers.
            pub fn dropout(&self) -> f64 {
                self.how.rate
            }
        }
        impl RecurrentOptions<$Layer> {
            /// The layer.
            #[track_caller]
            pub fn build(self, init: &mut Init) -> $Layer {
                let layers = self.parameters(Kind::$Layer, $gates, init);
                $Layer { layers, stream: Running::new(init.stream()), how: self.how }.named()
            }
        }
    };
}

layer! {
    /// The plain recurrent layer: `h = tanh(W x + b + U h + d)` at each step.
    ///
    /// ```
    /// use chainrule::nn::{Init, Rnn};
    /// use chainrule::Tensor;
    /// let layer = Rnn::new(8, 16, &mut Init::new());
    /// let after = layer.forward(&Tensor::ones([5, 2, 8])); // 5 steps of 2 sequences
    /// assert_eq!((after.output.dims()?, after.hidden.dims()?), ([5, 2, 16], [1, 2, 16]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Rnn of 1 gates
}
layer! {
    /// A gated recurrent unit: two gates say what is forgotten and what is renewed. See [`Tensor::gru`].
    ///
    /// ```
    /// use chainrule::nn::{Gru, Init};
    /// use chainrule::Tensor;
    /// let layer = Gru::options(8, 16).with_batch_first().build(&mut Init::new());
    /// let after = layer.forward(&Tensor::ones([2, 5, 8]));
    /// assert_eq!((after.output.dims()?, after.hidden.dims()?), ([2, 5, 16], [1, 2, 16]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Gru of 3 gates
}
layer! {
    /// Long short-term memory: a cell that gates write, keep and read. See [`Tensor::lstm`].
    ///
    /// ```
    /// use chainrule::nn::{Init, Lstm};
    /// use chainrule::Tensor;
    /// let layer = Lstm::options(8, 16).with_layers(2).with_bidirectional().build(&mut Init::new());
    /// let after = layer.forward(&Tensor::ones([5, 2, 8]));
    /// assert_eq!(after.output.dims()?, [5, 2, 32]);
    /// assert_eq!((after.hidden.dims()?, after.cell.dims()?), ([4, 2, 16], [4, 2, 16]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Lstm of 4 gates
}

macro_rules! forward_of_two {
    ($Layer:ident, $kind:expr) => {
        impl $Layer {
            /// From zeros through all steps of `[steps, batch, inputs]` (or `[steps, inputs]`: one sequence).
            #[track_caller]
            pub fn forward(&self, input: &Tensor) -> RecurrentOutput {
                self.forward_with(input, &Sequence::new())
            }
            /// From other states, or through sequences of several lengths.
            #[track_caller]
            pub fn forward_with(&self, input: &Tensor, sequence: &Sequence) -> RecurrentOutput {
                let [output, hidden, _] = through($kind, &self.layers, &self.stream, self.how, input, sequence)
                    .unwrap_or_else(|error| [0, 1, 2].map(|_| Tensor::failed(error.clone())));
                RecurrentOutput { output, hidden }
            }
        }
    };
}
forward_of_two!(Rnn, Kind::Rnn);
forward_of_two!(Gru, Kind::Gru);

impl Lstm {
    /// From zeros through all steps of `[steps, batch, inputs]` (or `[steps, inputs]`: one sequence).
    #[track_caller]
    pub fn forward(&self, input: &Tensor) -> LstmOutput {
        self.forward_with(input, &Sequence::new())
    }
    /// From other states, or through sequences of several lengths.
    #[track_caller]
    pub fn forward_with(&self, input: &Tensor, sequence: &Sequence) -> LstmOutput {
        let [output, hidden, cell] = through(Kind::Lstm, &self.layers, &self.stream, self.how, input, sequence)
            .unwrap_or_else(|error| [0, 1, 2].map(|_| Tensor::failed(error.clone())));
        LstmOutput { output, hidden, cell }
    }
}

#[track_caller]
fn wrong(kind: Kind, fault: Fault) -> Error {
    Error::new(kind.name(), fault)
}

/// A given state, checked; that of one sequence gets its axis.
#[track_caller]
fn state(kind: Kind, given: &Tensor, name: &str, sizes: [usize; 3], single: bool) -> Result<Tensor> {
    let given = if single && given.rank()? == 2 { given.unsqueeze(1) } else { given.clone() };
    if given.shape()?[..] != sizes {
        let what = format!("the {name} has shape {:?}, not {sizes:?}", given.shape()?);
        let help = "it is [layers · directions, batch, hidden], whatever axis is first in the input";
        return Err(wrong(kind, Fault::shape(what, help)));
    }
    Ok(given)
}

/// All layers, one above the other: outputs, hidden states, and cells (of an LSTM; else the hidden states again).
#[track_caller]
fn through(
    kind: Kind,
    layers: &RecurrentLayers,
    stream: &Running<Random>,
    how: How,
    input: &Tensor,
    sequence: &Sequence,
) -> Result<[Tensor; 3]> {
    let single = input.rank()? == 2;
    let mut x = match (single, how.batch_first) {
        (true, _) => input.unsqueeze(1),
        (false, true) if input.rank()? == 3 => input.transpose(0, 1),
        _ => input.clone(),
    };
    if x.rank()? != 3 {
        let what = format!("the input has {} axes", x.rank()?);
        return Err(wrong(
            kind,
            Fault::shape(what, "it is [steps, batch, numbers], or [steps, numbers] for one sequence"),
        ));
    }
    if !(0.0..=1.0).contains(&how.rate) {
        return Err(wrong(
            kind,
            Fault::value(format!("a dropout rate of {}", how.rate), "it is a chance: from 0 to 1"),
        ));
    }
    let (batch, dtype) = (x.size(1)?, x.dtype()?);
    let directions: usize = layers.0.iter().map(|layer| 1 + layer.reverse.is_some() as usize).sum();
    let Some(first) = layers.0.first() else {
        return Err(wrong(kind, Fault::value("there is no layer", "build it with one layer or more")));
    };
    let size = first.forward.weight_hh.size(1)?;
    let cell_size = match &first.forward.weight_hr {
        Some(projection) => projection.size(1)?,
        None => size,
    };
    let hidden = match &sequence.hidden {
        Some(given) => state(kind, given, "hidden state", [directions, batch, size], single)?,
        None => Tensor::full([directions, batch, size], 0.0, dtype).near(&x),
    };
    let cell = match &sequence.cell {
        _ if kind != Kind::Lstm => hidden.clone(),
        Some(given) => state(kind, given, "cell", [directions, batch, cell_size], single)?,
        None => Tensor::full([directions, batch, cell_size], 0.0, dtype).near(&x),
    };
    let (mut hiddens, mut cells) = (Vec::new(), Vec::new());
    for (index, layer) in layers.0.iter().enumerate() {
        if index > 0
            && how.rate > 0.0
            && let Some(draw) = stream.draw()
        {
            x = x.dropout(how.rate, draw);
        }
        let mut outputs = Vec::new();
        for (weights, reversed) in [(Some(&layer.forward), false), (layer.reverse.as_ref(), true)] {
            let Some(weights) = weights else { continue };
            let mut weights = weights.recurrence().reversed(reversed);
            if let Some(lengths) = &sequence.lengths {
                weights = weights.lengths(lengths);
            }
            let at = hiddens.len();
            let start = hidden.select(0, at);
            let [output, end] = match kind {
                Kind::Lstm => {
                    let [output, end, cell] = x.lstm(&start, &cell.select(0, at), &weights);
                    cells.push(cell);
                    [output, end]
                }
                Kind::Gru => x.gru(&start, &weights),
                Kind::Rnn if how.relu => x.rnn_relu(&start, &weights),
                Kind::Rnn => x.rnn_tanh(&start, &weights),
            };
            outputs.push(output);
            hiddens.push(end);
        }
        x = match &outputs[..] {
            [one] => one.clone(),
            several => Tensor::cat(several, -1),
        };
    }
    let hidden = Tensor::stack(&hiddens, 0);
    let cell = if cells.is_empty() { hidden.clone() } else { Tensor::stack(&cells, 0) };
    Ok(match (single, how.batch_first) {
        (true, _) => [x.select(1, 0), hidden.select(1, 0), cell.select(1, 0)],
        (false, true) => [x.transpose(0, 1), hidden, cell],
        (false, false) => [x, hidden, cell],
    })
}
