//! Forward: the product with all inputs, then the steps.

use super::super::Cuda;
use super::{Run, SEQUENCE, STEP, at, turned};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::matmul::{Joined, Matmul};
use crate::device::recurrent::{Gates, Recurred, Sizes};
use crate::error::Fault;

/// What the steps write.
struct Written {
    /// What input and biases give; where it is kept, the values of the gates take its place.
    gates: Value,
    output: Value,
    /// The hidden states and the cells: all of them where they are kept, else the last two.
    states: Value,
    cells: Option<Value>,
    /// What the hidden state gives to the third gate of a GRU.
    inner: Option<Value>,
}

impl Run<'_> {
    pub(super) fn forward(&self, keep: bool) -> Result<Recurred, Fault> {
        let Sizes { steps, batch, hidden, out, .. } = self.sizes;
        let (small, lstm) = (self.is_small(), self.is(Gates::Lstm));
        let slots = if keep {
            steps + 1
        } else if small {
            0
        } else {
            2
        };
        let written = Written {
            gates: self.sums()?,
            output: self.blank(&[steps, batch, out])?,
            states: self.blank(&[slots, batch, out])?,
            cells: if lstm { Some(self.blank(&[slots, batch, hidden])?) } else { None },
            inner: if keep && self.is(Gates::Gru) { Some(self.blank(&[steps, batch, hidden])?) } else { None },
        };
        let [hidden, cell] = match small {
            true => self.through(&written, keep)?,
            false => self.step_by_step(&written, slots, keep)?,
        };
        let Written { gates, output, states, cells, inner } = written;
        let mut kept = Vec::new();
        if keep {
            let one = matches!(self.operands.gates, Gates::Tanh | Gates::Relu);
            kept.extend([states, if one { output.clone() } else { gates }]);
            kept.extend(cells.or(inner));
        }
        let Some(hidden) = hidden else { return Err(Fault::defect("a recurrence without a hidden state")) };
        Ok(Recurred { output, hidden, cell, kept })
    }

    /// What input and biases give to the gates of all steps.
    fn sums(&self) -> Result<Value, Fault> {
        // The reset gate of a GRU acts on the bias of the hidden state, too; so that one is added in the steps.
        let bias = match self.operands.biases {
            Some([for_input, _]) if self.is(Gates::Gru) => Some(for_input.clone()),
            Some([for_input, for_hidden]) => Some(self.cuda.added(for_input, for_hidden)?),
            None => None,
        };
        let joined = Joined { bias: bias.as_ref(), ..Joined::default() };
        self.cuda.matmul(self.operands.input, &turned(self.operands.weight_input)?, joined)
    }

    /// All steps by one launch. Gives hidden state and cell at the end.
    fn through(&self, to: &Written, keep: bool) -> Result<[Option<Value>; 2], Fault> {
        let Sizes { batch, hidden, .. } = self.sizes;
        let end = Some(self.blank(&[batch, hidden])?);
        let cell = if to.cells.is_some() { Some(self.blank(&[batch, hidden])?) } else { None };
        let bias = self.operands.biases.map(|[_, bias]| bias);
        let kept = |value: Option<&Value>| value.filter(|_| keep).cloned();
        let call = self.kernel(&SEQUENCE, "through", true)?.write(&to.gates).read(self.operands.weight_hidden);
        let call = call.option(bias).read(self.operands.hidden).option(self.operands.cell);
        let call = call.option(kept(Some(&to.states)).as_ref()).option(kept(to.cells.as_ref()).as_ref());
        let call = call.option(to.inner.as_ref()).write(&to.output).option(end.as_ref()).option(cell.as_ref());
        self.launch_sequences(call.option(self.lengths.as_ref()))?;
        Ok([end, cell])
    }

    /// A launch or two for each step. Gives hidden state and cell at the end.
    fn step_by_step(&self, to: &Written, slots: usize, keep: bool) -> Result<[Option<Value>; 2], Fault> {
        let Sizes { steps, batch, hidden, out, .. } = self.sizes;
        let cuda: Cuda = self.cuda;
        let weight = turned(self.operands.weight_hidden)?;
        let projection = self.operands.projection.map(turned).transpose()?;
        let raw = if projection.is_some() { Some(self.blank(&[batch, hidden])?) } else { None };
        let bias = self.operands.biases.map(|[_, bias]| bias);
        let slot = |states: &Value, number: usize| at(states, number % slots);
        let [first, last] = if self.operands.reversed { [steps, 0] } else { [0, steps] };
        cuda.copy(&slot(&to.states, first)?, self.operands.hidden)?;
        if let (Some(cells), Some(start)) = (&to.cells, self.operands.cell) {
            cuda.copy(&slot(cells, first)?, start)?;
        }
        for time in self.order() {
            let [before, after] = self.around(time);
            let (state, next) = (slot(&to.states, before)?, slot(&to.states, after)?);
            let (gates, output) = (at(&to.gates, time)?, at(&to.output, time)?);
            let cell = |which: usize| to.cells.as_ref().map(|cells| slot(cells, which)).transpose();
            let (cell, next_cell) = (cell(before)?, cell(after)?);
            let inner = to.inner.as_ref().map(|inner| at(inner, time)).transpose()?;
            if self.is_whole() {
                let bias = bias.filter(|_| self.is(Gates::Gru));
                let call = self.kernel(&STEP, "whole_step", true)?.read(self.operands.weight_hidden).option(bias);
                let call = call.write(&gates).option(cell.as_ref()).option(next_cell.as_ref()).option(inner.as_ref());
                self.launch_whole(call.read(&state).write(&next).write(&output), time, Some(keep))?;
                continue;
            }
            let joined = match self.operands.gates {
                Gates::Gru => Joined { bias, ..Joined::default() },
                _ => Joined { start: Some((&gates, 1.0)), ..Joined::default() },
            };
            let sums = cuda.matmul(&state, &weight, joined)?;
            let call = self.kernel(&STEP, "step", true)?.read(&sums).write(&gates).option(cell.as_ref());
            let call = call.option(next_cell.as_ref()).option(inner.as_ref());
            let call = match &raw {
                Some(raw) => call.nothing().write(raw).nothing(),
                None => call.read(&state).write(&next).write(&output),
            };
            let call = call.option(self.lengths.as_ref()).long((batch * hidden) as i64).long(hidden as i64);
            call.long(time as i64).int(keep as i32).over(batch * hidden)?;
            if let (Some(raw), Some(projection)) = (&raw, &projection) {
                let projected = cuda.matmul(raw, projection, Joined::default())?;
                let call = self.kernel(&STEP, "settle", false)?.read(&projected).read(&state).write(&next);
                let call = call.write(&output).option(self.lengths.as_ref()).long((batch * out) as i64);
                call.long(out as i64).long(time as i64).over(batch * out)?;
            }
        }
        // A copy of its own where the others are kept, so that it does not hold them all.
        let end = |states: &Value| {
            let end = slot(states, last)?;
            if keep { cuda.duplicate(&end) } else { Ok(end) }
        };
        Ok([Some(end(&to.states)?), to.cells.as_ref().map(end).transpose()?])
    }
}
