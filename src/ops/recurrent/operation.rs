//! The operation: its checks, the kernels it calls, its gradients.

use super::definition::defined;
use crate::device::recurrent::{Gates, Recur, RecurrentWanted, Recurring};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Layout, Shape};
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::sync::Arc;

/// One recurrent layer in one direction: over `[T, B, I]`, or a single step over `[B, I]`, which gives the states only.
///
/// The operands, in this order: input, hidden state, cell (LSTM), weights of input and hidden state, two biases
/// (where there are), projection (where there is one).
#[derive(Debug)]
pub(super) struct Recurs {
    pub(super) gates: Gates,
    pub(super) single: bool,
    pub(super) biases: bool,
    pub(super) projection: bool,
    pub(super) reversed: bool,
    pub(super) lengths: Option<Arc<[usize]>>,
}

/// Where each operand stands.
pub(super) struct Places {
    pub(super) cell: Option<usize>,
    pub(super) weight_input: usize,
    pub(super) weight_hidden: usize,
    pub(super) biases: Option<[usize; 2]>,
    pub(super) projection: Option<usize>,
    count: usize,
}

impl Recurs {
    pub(super) fn places(&self) -> Places {
        let weight_input = if self.gates == Gates::Lstm { 3 } else { 2 };
        let behind = weight_input + 2;
        let projection = behind + 2 * self.biases as usize;
        Places {
            cell: (self.gates == Gates::Lstm).then_some(2),
            weight_input,
            weight_hidden: weight_input + 1,
            biases: self.biases.then_some([behind, behind + 1]),
            projection: self.projection.then_some(projection),
            count: projection + self.projection as usize,
        }
    }

    /// The operands as the kernel takes them, checked.
    fn operands<'a>(&'a self, inputs: &[&'a Value], input: &'a Value) -> Result<Recurring<'a>, Fault> {
        let places = self.places();
        if inputs.len() != places.count {
            return Err(Fault::defect(format!("{} operands instead of {}", inputs.len(), places.count)));
        }
        let operands = Recurring {
            gates: self.gates,
            input,
            hidden: inputs[1],
            cell: places.cell.map(|at| inputs[at]),
            weight_input: inputs[places.weight_input],
            weight_hidden: inputs[places.weight_hidden],
            biases: places.biases.map(|at| at.map(|at| inputs[at])),
            projection: places.projection.map(|at| inputs[at]),
            reversed: self.reversed,
            lengths: self.lengths.as_deref(),
        };
        for (other, role) in inputs.iter().zip(self.roles()).skip(1) {
            if other.dtype() != input.dtype() {
                return Err(Fault::dtype(
                    format!("the {role} is {}, the input {}", other.dtype(), input.dtype()),
                    "convert to one element type, with to_dtype (a model: model.cast)",
                ));
            }
        }
        self.check_weights(&operands)?;
        self.check_states(&operands)?;
        Ok(operands)
    }

    fn check_weights(&self, operands: &Recurring<'_>) -> Result<(), Fault> {
        let count = self.gates.count();
        let (&[rows, width], &[rows_hidden, seen]) = (operands.weight_input.dims(), operands.weight_hidden.dims())
        else {
            return Err(Fault::shape(
                format!(
                    "the weights have shapes {:?} and {:?}",
                    operands.weight_input.dims(),
                    operands.weight_hidden.dims()
                ),
                format!("both are matrices: [{count}·H, inputs] and [{count}·H, H]"),
            ));
        };
        if rows % count != 0 || rows != rows_hidden {
            return Err(Fault::shape(
                format!("the weights have {rows} and {rows_hidden} rows"),
                format!("both have a row for each gate of each hidden number: {count} times the hidden size"),
            ));
        }
        let hidden = rows / count;
        let size = operands.input.dims().last().copied().unwrap_or(0);
        if size != width {
            return Err(Fault::shape(
                format!("an input has {size} numbers, the weight takes {width}"),
                format!("the last size of the input ({size}) must equal the weight's last size ({width})"),
            ));
        }
        if let Some(projection) = operands.projection {
            if self.gates != Gates::Lstm {
                return Err(Fault::value("a projection without an LSTM", "leave the projection out, or use lstm"));
            }
            if projection.dims() != [seen, hidden] {
                return Err(Fault::shape(
                    format!("the projection {:?} does not fit a hidden size of {hidden}", projection.dims()),
                    format!("it is [P, {hidden}], and the weight of the hidden state [{rows}, P]; P is {seen} there"),
                ));
            }
        } else if seen != hidden {
            return Err(Fault::shape(
                format!("the weight of the hidden state takes {seen} numbers, the hidden size is {hidden}"),
                format!("with {rows} rows it must be [{rows}, {hidden}]; other sizes need a projection"),
            ));
        }
        for bias in operands.biases.iter().flatten() {
            if bias.dims() != [rows] {
                return Err(Fault::shape(
                    format!("a bias has shape {:?}, the weights {rows} rows", bias.dims()),
                    format!("both biases are [{rows}]"),
                ));
            }
        }
        Ok(())
    }

    fn check_states(&self, operands: &Recurring<'_>) -> Result<(), Fault> {
        let (&[steps, batch, _], &[rows, out]) = (operands.input.dims(), operands.weight_hidden.dims()) else {
            return Err(Fault::defect("the ranks were not checked"));
        };
        let hidden = rows / self.gates.count();
        for (state, what, size) in [(Some(operands.hidden), "hidden state", out), (operands.cell, "cell", hidden)] {
            if let Some(state) = state
                && state.dims() != [batch, size]
            {
                return Err(Fault::shape(
                    format!("the {what} at the beginning has shape {:?}, not [{batch}, {size}]", state.dims()),
                    format!("it has a row for each of the {batch} sequences"),
                ));
            }
        }
        if let Some(lengths) = operands.lengths {
            if lengths.len() != batch {
                return Err(Fault::shape(
                    format!("there are {} lengths and {batch} sequences", lengths.len()),
                    "every sequence of the batch (axis 1) needs its length",
                ));
            }
            if let Some(long) = lengths.iter().find(|&&length| length > steps) {
                return Err(Fault::value(
                    format!("a sequence has length {long}, the input {steps} steps"),
                    "a length is at most the number of steps (axis 0)",
                ));
            }
        }
        Ok(())
    }

    /// The input as `[T, B, I]`.
    fn sequence(&self, input: &Value) -> Result<Value, Fault> {
        let rank = if self.single { 2 } else { 3 };
        if input.rank() != rank {
            let (what, help) = match self.single {
                true => ("one step", "[batch, numbers]"),
                false => ("a sequence", "[steps, batch, numbers]; move the axes with transpose"),
            };
            return Err(Fault::shape(format!("the input has {} axes", input.rank()), format!("{what} is {help}")));
        }
        if !self.single {
            return Ok(input.clone());
        }
        let layout = input.layout();
        let strides = [&[0], layout.strides()].concat();
        let shape = Shape::new(&[&[1], input.dims()].concat())?;
        input.with_layout(Layout::from_parts(shape, &strides, layout.offset()))
    }
}

impl Op for Recurs {
    fn name(&self) -> &'static str {
        match (self.gates, self.single) {
            (Gates::Lstm, false) => "lstm",
            (Gates::Lstm, true) => "lstm_cell",
            (Gates::Gru, false) => "gru",
            (Gates::Gru, true) => "gru_cell",
            (Gates::Tanh, false) => "rnn_tanh",
            (Gates::Tanh, true) => "rnn_tanh_cell",
            (Gates::Relu, false) => "rnn_relu",
            (Gates::Relu, true) => "rnn_relu_cell",
        }
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let Some(input) = inputs.first() else { return Err(Fault::defect("a recurrence without operands")) };
        let input = self.sequence(input)?;
        let operands = self.operands(inputs, &input)?;
        let run = on!(input.device(), recur(&operands, keep.wanted()))?;
        for kept in run.kept {
            keep.push(kept);
        }
        let mut outputs = Outputs::new();
        if !self.single {
            outputs.push(run.output);
        }
        outputs.push(run.hidden);
        outputs.extend(run.cell);
        Ok(outputs)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let wanted = |other: usize| other == which;
        let mut all = self.gradients(Wanted(&wanted), arriving, call);
        match all.get_mut(which).and_then(Option::take) {
            Some(gradient) => gradient,
            None => Tensor::failed(call.error(Fault::defect("a gradient that does not exist was asked for"))),
        }
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        self.computed(wanted, arriving, call).unwrap_or_else(|error| {
            (0..call.inputs()).map(|which| wanted.has(which).then(|| Tensor::failed(error.clone()))).collect()
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, which: usize) -> &'static str {
        let places = self.places();
        match which {
            0 => "∂L/∂x = S · W, with S the slopes of the gates' sums, from the last step to the first",
            1 => "∂L/∂h = S · U of the first step",
            _ if Some(which) == places.cell => "∂L/∂c = f · ∂L/∂c', from the last step to the first",
            _ if which == places.weight_input => "∂L/∂W = Σ Sᵀ · x over all steps",
            _ if which == places.weight_hidden => "∂L/∂U = Σ Sᵀ · h over all steps, h before each",
            _ if Some(which) == places.projection => "∂L/∂P = Σ (∂L/∂h)ᵀ · (o · tanh c) over all steps",
            _ => "∂L/∂b = Σ S over all steps",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        const PLAIN: [&str; 6] =
            ["input", "hidden", "weight (input)", "weight (hidden)", "bias (input)", "bias (hidden)"];
        const LSTM: [&str; 8] = [
            "input",
            "hidden",
            "cell",
            "weight (input)",
            "weight (hidden)",
            "bias (input)",
            "bias (hidden)",
            "projection",
        ];
        const WITHOUT_BIASES: [&str; 6] =
            ["input", "hidden", "cell", "weight (input)", "weight (hidden)", "projection"];
        match (self.gates, self.biases) {
            (Gates::Lstm, true) => &LSTM,
            (Gates::Lstm, false) => &WITHOUT_BIASES,
            _ => &PLAIN,
        }
    }
    /// Step after step in plain operations.
    fn definition(&self, inputs: &[Tensor], _: &Call<'_>) -> Option<Tensors> {
        Some(defined(self, inputs))
    }
}

impl Recurs {
    fn computed(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> crate::Result<InputGradients> {
        let at = |fault| call.error(fault);
        let mut inputs: Vec<&Value> = Vec::with_capacity(8);
        for which in 0..call.inputs() {
            inputs.push(call.value(which)?);
        }
        let input = self.sequence(inputs[0]).map_err(at)?;
        let operands = self.operands(&inputs, &input).map_err(at)?;
        let kept = [0, 1, 2, 3].map(|i| call.kept(i));
        let kept: SmallVec<[&Value; 4]> = kept.into_iter().map_while(|value| value.ok()).collect();
        let nothing;
        let mut arrived: SmallVec<[&Value; 4]> = SmallVec::new();
        for gradient in arriving {
            arrived.push(gradient.value()?);
        }
        // A single step has no results but the states.
        if self.single {
            let (batch, out) = (input.dims()[1], operands.weight_hidden.dims()[1]);
            let shape = Shape::new(&[1, batch, out]).map_err(at)?;
            nothing = Value::full_on(input.device(), shape, input.dtype(), 0.0).map_err(at)?;
            arrived.insert(0, &nothing);
        }
        let [output, hidden, ..] = arrived[..] else {
            return Err(at(Fault::defect("fewer gradients arrived than there are results")));
        };
        let cell = arrived.get(2).copied().unwrap_or(hidden);
        let places = self.places();
        let has = |place: Option<usize>| place.is_some_and(|place| wanted.has(place));
        let wanted = RecurrentWanted {
            input: wanted.has(0),
            weight_input: wanted.has(places.weight_input),
            weight_hidden: wanted.has(places.weight_hidden),
            biases: places.biases.is_some_and(|both| both.into_iter().any(|place| has(Some(place)))),
            projection: has(places.projection),
        };
        let found = on!(input.device(), recur_gradient(&operands, &kept, [output, hidden, cell], wanted));
        let found = found.map_err(at)?;
        let mut all = InputGradients::new();
        let tensor = |value: Option<Value>| value.map(Tensor::from_value);
        let for_input = match found.input {
            Some(gradient) if self.single => {
                let shape = *call.shape(0);
                Some(gradient.with_layout(Layout::contiguous(shape)).map_err(at)?)
            }
            other => other,
        };
        all.push(tensor(for_input));
        all.push(tensor(found.hidden));
        if places.cell.is_some() {
            all.push(tensor(found.cell));
        }
        all.push(tensor(found.weight_input));
        all.push(tensor(found.weight_hidden));
        if places.biases.is_some() {
            let (input, hidden) = found.biases.map_or((None, None), |[input, hidden]| (Some(input), Some(hidden)));
            all.push(tensor(input));
            all.push(tensor(hidden));
        }
        if places.projection.is_some() {
            all.push(tensor(found.projection));
        }
        Ok(all)
    }
}
