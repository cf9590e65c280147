//! Backward: the steps the other way, then the products over all steps.

use super::{Run, SEQUENCE, STEP, at, turned};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::matmul::{Joined, Matmul};
use crate::device::recurrent::{Gates, RecurrentGradients, RecurrentWanted, Sizes};
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::layout::{Layout, Shape};

/// What forward kept.
struct Kept<'a> {
    states: &'a Value,
    /// The results, where there is one gate.
    gates: &'a Value,
    cells: Option<&'a Value>,
    inner: Option<&'a Value>,
}

/// What the steps write.
struct Written {
    /// The slopes of the gates' sums, `[steps, batch, gates]`; those for what the hidden state gives, where they differ.
    slopes: Value,
    inner: Option<Value>,
    /// With a projection: the gradients that arrive at it, and what it was applied to.
    projected: Option<[Value; 2]>,
}

impl Run<'_> {
    pub(super) fn backward(
        &self,
        kept: &[&Value],
        arriving: [&Value; 3],
        wanted: RecurrentWanted,
    ) -> Result<RecurrentGradients, Fault> {
        let Sizes { steps, batch, input, hidden, out, gates } = self.sizes;
        let (&[states, values], more) = kept.split_first_chunk::<2>().ok_or_else(nothing_kept)?;
        let (lstm, gru) = (self.is(Gates::Lstm), self.is(Gates::Gru));
        let more = more.first().copied();
        let kept = Kept { states, gates: values, cells: more.filter(|_| lstm), inner: more.filter(|_| gru) };
        if kept.cells.is_some() != lstm || kept.inner.is_some() != gru {
            return Err(nothing_kept());
        }
        let written = Written {
            slopes: self.blank(&[steps, batch, gates])?,
            inner: if gru { Some(self.blank(&[steps, batch, gates])?) } else { None },
            projected: match self.operands.projection {
                Some(_) => Some([self.blank(&[steps, batch, out])?, self.blank(&[steps, batch, hidden])?]),
                None => None,
            },
        };
        let [for_hidden, for_cell] = match self.is_small() {
            true => self.through_back(&kept, &written, arriving)?,
            false if self.is_whole() => self.back_by_whole_step(&kept, &written, arriving)?,
            false => self.back_by_step(&kept, &written, arriving)?,
        };
        let (slopes, inner) = (&written.slopes, written.inner.as_ref().unwrap_or(&written.slopes));
        let mut gradients = RecurrentGradients { hidden: for_hidden, cell: for_cell, ..Default::default() };
        if wanted.input {
            gradients.input = Some(self.cuda.matmul(slopes, self.operands.weight_input, Joined::default())?);
        }
        if wanted.weight_input {
            gradients.weight_input = Some(self.over_steps(slopes, gates, self.operands.input, input)?);
        }
        if wanted.weight_hidden {
            let first = if self.operands.reversed { batch * out } else { 0 };
            let before = Layout::from_parts(
                Shape::new(&[steps, batch, out])?,
                states.layout().strides(),
                states.layout().offset() + first,
            );
            gradients.weight_hidden = Some(self.over_steps(inner, gates, &states.with_layout(before)?, out)?);
        }
        if wanted.biases {
            let for_input = self.cuda.sum(slopes, &[0, 1], false)?;
            let for_hidden = if gru { self.cuda.sum(inner, &[0, 1], false)? } else { for_input.clone() };
            gradients.biases = Some([for_input, for_hidden]);
        }
        if let (true, Some([arrived, raw])) = (wanted.projection, &written.projected) {
            gradients.projection = Some(self.over_steps(arrived, out, raw, hidden)?);
        }
        Ok(gradients)
    }

    /// `leftᵀ · right`, both dense with a row for each sequence of each step.
    fn over_steps(&self, left: &Value, m: usize, right: &Value, n: usize) -> Result<Value, Fault> {
        let rows = |x: &Value, width: usize| {
            let shape = Shape::new(&[self.sizes.rows(), width])?;
            x.with_layout(Layout::from_parts(shape, &[width as isize, 1], x.layout().offset()))
        };
        self.cuda.matmul(&turned(&rows(left, m)?)?, &rows(right, n)?, Joined::default())
    }

    /// All steps by one launch. Gives the gradients of hidden state and cell at the beginning.
    fn through_back(
        &self,
        kept: &Kept<'_>,
        to: &Written,
        [output, hidden, cell]: [&Value; 3],
    ) -> Result<[Option<Value>; 2], Fault> {
        let start = Some(self.blank(self.operands.hidden.dims())?);
        let start_cell = self.operands.cell.map(|cell| self.blank(cell.dims())).transpose()?;
        let call = self.kernel(&SEQUENCE, "through_back", true)?.read(self.operands.weight_hidden).read(kept.gates);
        let call = call.read(kept.states).option(kept.cells).option(kept.inner).read(output).read(hidden);
        let call = call.option(kept.cells.map(|_| cell)).write(&to.slopes).option(to.inner.as_ref());
        let call = call.option(start.as_ref()).option(start_cell.as_ref());
        self.launch_sequences(call.option(self.lengths.as_ref()))?;
        Ok([start, start_cell])
    }

    /// A launch for each step, which begins with the product of the one before it. Gives the gradients of hidden state and cell
    /// at the beginning.
    fn back_by_whole_step(
        &self,
        kept: &Kept<'_>,
        to: &Written,
        [output, hidden, cell]: [&Value; 3],
    ) -> Result<[Option<Value>; 2], Fault> {
        let cuda = self.cuda;
        // Both are changed in place: what goes to the state before past the gates, and to the cell.
        let direct = cuda.duplicate(hidden)?;
        let for_cell = kept.cells.map(|_| cuda.duplicate(cell)).transpose()?;
        let mut following: Option<Value> = None;
        for time in self.order().rev() {
            let [before, after] = self.around(time);
            let part = |value: Option<&Value>, index: usize| value.map(|value| at(value, index)).transpose();
            let (slopes, gates) = (at(&to.slopes, time)?, at(kept.gates, time)?);
            let (inner, inner_slopes) = (part(kept.inner, time)?, part(to.inner.as_ref(), time)?);
            let (cell, next_cell) = (part(kept.cells, before)?, part(kept.cells, after)?);
            let call = self.kernel(&STEP, "whole_back", true)?.read(self.operands.weight_hidden);
            let call = call.option(following.as_ref()).read(&gates).read(&at(kept.states, before)?);
            let call = call.option(cell.as_ref()).option(next_cell.as_ref()).option(inner.as_ref());
            let call = call.read(&at(output, time)?).option(for_cell.as_ref()).write(&slopes);
            self.launch_whole(call.option(inner_slopes.as_ref()).write(&direct), time, None)?;
            following = Some(inner_slopes.unwrap_or(slopes));
        }
        let state = match &following {
            Some(slopes) => {
                let joined = Joined { start: Some((&direct, 1.0)), ..Joined::default() };
                cuda.matmul(slopes, self.operands.weight_hidden, joined)?
            }
            None => direct,
        };
        Ok([Some(state), for_cell])
    }

    /// A kernel and a product for each step. Gives the gradients of hidden state and cell at the beginning.
    fn back_by_step(
        &self,
        kept: &Kept<'_>,
        to: &Written,
        [output, hidden, cell]: [&Value; 3],
    ) -> Result<[Option<Value>; 2], Fault> {
        let Sizes { batch, hidden: size, out, .. } = self.sizes;
        let cuda = self.cuda;
        let mut state = hidden.clone();
        // It is changed in place.
        let for_cell = kept.cells.map(|_| cuda.duplicate(cell)).transpose()?;
        let lengths = self.lengths.as_ref();
        for time in self.order().rev() {
            let [before, after] = self.around(time);
            let part = |value: Option<&Value>, index: usize| value.map(|value| at(value, index)).transpose();
            let (slopes, gates) = (at(&to.slopes, time)?, at(kept.gates, time)?);
            let (inner, inner_slopes) = (part(kept.inner, time)?, part(to.inner.as_ref(), time)?);
            let (held, cell, next_cell) =
                (at(kept.states, before)?, part(kept.cells, before)?, part(kept.cells, after)?);
            // What goes to the state before past the gates: of a GRU, and of sequences that sleep.
            let past = lengths.is_some() || self.is(Gates::Gru);
            let direct = if past { Some(self.blank(&[batch, out])?) } else { None };
            let arriving = at(output, time)?;
            let (mut total, mut arriving, mut passed, mut raw) = (state, Some(arriving), direct.as_ref(), None);
            if let (Some([arrived, unprojected]), Some(projection)) = (&to.projected, self.operands.projection) {
                let arrived = at(arrived, time)?;
                let call = self.kernel(&STEP, "meet", false)?.option(arriving.as_ref()).read(&total).write(&arrived);
                let call = call.option(direct.as_ref()).option(lengths).long((batch * out) as i64).long(out as i64);
                call.long(time as i64).over(batch * out)?;
                total = cuda.matmul(&arrived, projection, Joined::default())?;
                (arriving, passed, raw) = (None, None, Some(at(unprojected, time)?));
            }
            let call = self.kernel(&STEP, "back", true)?.read(&gates).read(&held).option(cell.as_ref());
            let call = call.option(next_cell.as_ref()).option(inner.as_ref()).option(arriving.as_ref()).read(&total);
            let call = call.option(for_cell.as_ref()).write(&slopes).option(inner_slopes.as_ref()).option(passed);
            let call = call.option(raw.as_ref()).option(lengths).long((batch * size) as i64).long(size as i64);
            call.long(time as i64).over(batch * size)?;
            let start = direct.as_ref().map(|direct| (direct, 1.0));
            let slopes = inner_slopes.as_ref().unwrap_or(&slopes);
            state = cuda.matmul(slopes, self.operands.weight_hidden, Joined { start, ..Joined::default() })?;
        }
        Ok([Some(state), for_cell])
    }
}

fn nothing_kept() -> Fault {
    Fault::defect("nothing was kept for the way back")
}
