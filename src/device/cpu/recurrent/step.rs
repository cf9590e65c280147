//! The pointwise part of a step, forward and back: row by row, while its gates are in the first-level cache.

use super::Awake;
use crate::device::cpu::real::{Real, alone};
use crate::device::cpu::simd::{Kernel, SimdLevel};
use crate::device::recurrent::Gates;

/// Numbers that a loop takes at a time; what is left over at the end is padded to so many.
const LANES: usize = 16;

/// The widest level for cells that are rarer than LSTM: their time goes into products all the more.
const fn rarer<T: Real>() -> SimdLevel {
    if matches!(T::WIDEST, SimdLevel::Avx512) { SimdLevel::Avx2 } else { T::WIDEST }
}

/// Replaces every number by a function of it.
#[inline(always)]
fn each<T: Real>(values: &mut [T], f: impl Fn(T) -> T) {
    if const { T::DOUBLE } {
        return values.iter_mut().for_each(|value| *value = f(*value));
    }
    let (blocks, rest) = values.as_chunks_mut::<LANES>();
    let mut last = [[T::ZERO; LANES]];
    last[0][..rest.len()].copy_from_slice(rest);
    let padded = &mut last[..usize::from(!rest.is_empty())];
    // One loop for both, so that the function stands here once.
    for block in blocks.iter_mut().chain(padded) {
        for value in block {
            *value = f(*value);
        }
    }
    rest.copy_from_slice(&last[0][..rest.len()]);
}

/// `to = f(to, a, b)`, number by number.
#[inline(always)]
fn with<T: Real>(to: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T, T) -> T) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = f(*to, a, alone(b));
    }
}

/// The slope of the logistic function, from its value.
#[inline(always)]
fn bend<T: Real>(y: T) -> T {
    y * (T::ONE - y)
}

/// Row `row` of a matrix of this width.
#[inline(always)]
fn line<T>(all: &[T], row: usize, width: usize) -> &[T] {
    &all[row * width..][..width]
}

#[inline(always)]
fn line_mut<T>(all: &mut [T], row: usize, width: usize) -> &mut [T] {
    &mut all[row * width..][..width]
}

/// Long short-term memory: `c = f · c + i · g`, `h = o · tanh c`.
pub(super) struct Lstm<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) hidden: usize,
    /// Sums on the way in, values of the gates on the way out.
    pub(super) gates: &'a mut [T],
    pub(super) cell: &'a mut [T],
    /// The hidden state, not projected.
    pub(super) state: &'a mut [T],
    /// Where the cell before and the tangent of the cell after are kept.
    pub(super) kept: Option<[&'a mut [T]; 2]>,
}

impl<T: Real> Kernel for Lstm<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(mut self) {
        let size = self.hidden;
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let (two, rest) = line_mut(self.gates, row, 4 * size).split_at_mut(2 * size);
            let (candidate, output) = rest.split_at_mut(size);
            each(two, T::logistic::<FUSED>);
            each(candidate, T::tangent::<FUSED>);
            each(output, T::logistic::<FUSED>);
            let (input, forget) = two.split_at(size);
            let (cell, state) = (line_mut(self.cell, row, size), line_mut(self.state, row, size));
            if let Some([before, _]) = &mut self.kept {
                line_mut(before, row, size).copy_from_slice(cell);
            }
            with(state, input, candidate, |_, input, candidate| input * candidate);
            with(cell, forget, state, |cell, forget, new| forget.times_plus::<FUSED>(cell, new));
            state.copy_from_slice(cell);
            each(state, T::tangent::<FUSED>);
            if let Some([_, tangent]) = &mut self.kept {
                line_mut(tangent, row, size).copy_from_slice(state);
            }
            state.iter_mut().zip(&*output).for_each(|(state, &output)| *state *= alone(output));
        }
    }
}

/// Gated recurrent unit: `n = tanh(n + r · (W h + b))`, `h = n + z · (h - n)`.
pub(super) struct Gru<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) hidden: usize,
    /// What the input gives on the way in, values of the gates on the way out.
    pub(super) gates: &'a mut [T],
    /// What the hidden state gives, without its bias.
    pub(super) inner: &'a mut [T],
    pub(super) bias: &'a [T],
    pub(super) state: &'a mut [T],
    /// Where it is kept what the hidden state gives to the third gate.
    pub(super) kept: Option<&'a mut [T]>,
}

impl<T: Real> Kernel for Gru<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = rarer::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(mut self) {
        let size = self.hidden;
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let inner = line_mut(self.inner, row, 3 * size);
            inner.iter_mut().zip(self.bias).for_each(|(inner, &bias)| *inner += alone(bias));
            let (inner_two, inner_new) = inner.split_at(2 * size);
            let (two, new) = line_mut(self.gates, row, 3 * size).split_at_mut(2 * size);
            two.iter_mut().zip(inner_two).for_each(|(gate, &inner)| *gate += alone(inner));
            each(two, T::logistic::<FUSED>);
            let (reset, update) = two.split_at(size);
            with(new, reset, inner_new, |new, reset, inner| reset.times_plus::<FUSED>(inner, new));
            each(new, T::tangent::<FUSED>);
            let state = line_mut(self.state, row, size);
            with(state, update, new, |state, update, new| update.times_plus::<FUSED>(state - new, new));
            if let Some(kept) = &mut self.kept {
                line_mut(kept, row, size).copy_from_slice(inner_new);
            }
        }
    }
}

/// One gate: `h = tanh(gate)`, or what of it is positive.
pub(super) struct Plain<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) hidden: usize,
    pub(super) kind: Gates,
    pub(super) gates: &'a [T],
    pub(super) state: &'a mut [T],
}

impl<T: Real> Kernel for Plain<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = rarer::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let state = line_mut(self.state, row, self.hidden);
            state.copy_from_slice(line(self.gates, row, self.hidden));
            if self.kind == Gates::Relu {
                // A NaN fails the comparison and stays.
                state.iter_mut().for_each(|x| *x = if *x < T::ZERO { T::ZERO } else { *x });
            } else {
                each(state, T::tangent::<FUSED>);
            }
        }
    }
}

/// The gradient that meets in the hidden state: from its result and from the step after. What is left there is zero.
pub(super) struct Meet<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) width: usize,
    pub(super) arriving: &'a [T],
    pub(super) state: &'a mut [T],
    pub(super) total: &'a mut [T],
}

impl<T: Real> Kernel for Meet<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let (state, arriving) = (line_mut(self.state, row, self.width), line(self.arriving, row, self.width));
            with(line_mut(self.total, row, self.width), state, arriving, |_, state, arriving| state + arriving);
            state.fill(T::ZERO);
        }
    }
}

/// The way back through [`Lstm`].
pub(super) struct LstmBack<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) hidden: usize,
    pub(super) gates: &'a [T],
    /// The cell before.
    pub(super) before: &'a [T],
    /// The tangent of the cell after.
    pub(super) tangent: &'a [T],
    /// The gradient of the hidden state, not projected.
    pub(super) total: &'a [T],
    /// The gradient of the cell.
    pub(super) cell: &'a mut [T],
    pub(super) slopes: &'a mut [T],
    /// Where the hidden state before its projection is wanted.
    pub(super) raw: Option<&'a mut [T]>,
}

impl<T: Real> Kernel for LstmBack<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(mut self) {
        let size = self.hidden;
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let (input, rest) = line(self.gates, row, 4 * size).split_at(size);
            let (forget, rest) = rest.split_at(size);
            let (candidate, output) = rest.split_at(size);
            let (for_input, rest) = line_mut(self.slopes, row, 4 * size).split_at_mut(size);
            let (for_forget, rest) = rest.split_at_mut(size);
            let (for_candidate, for_output) = rest.split_at_mut(size);
            let (before, tangent) = (line(self.before, row, size), line(self.tangent, row, size));
            let (cell, total) = (line_mut(self.cell, row, size), line(self.total, row, size));
            for_output.copy_from_slice(total);
            with(for_output, output, tangent, |total, output, tangent| total * tangent * bend(output));
            with(for_input, total, output, |_, total, output| total * output);
            with(cell, for_input, tangent, |cell, more, tangent| cell + more * (T::ONE - tangent * tangent));
            for_input.copy_from_slice(cell);
            with(for_input, input, candidate, |cell, input, candidate| cell * candidate * bend(input));
            for_candidate.copy_from_slice(cell);
            with(for_candidate, input, candidate, |cell, input, candidate| {
                cell * input * (T::ONE - candidate * candidate)
            });
            for_forget.copy_from_slice(cell);
            with(for_forget, forget, before, |cell, forget, before| cell * before * bend(forget));
            cell.iter_mut().zip(forget).for_each(|(cell, &forget)| *cell *= alone(forget));
            if let Some(raw) = &mut self.raw {
                with(line_mut(raw, row, size), output, tangent, |_, output, tangent| output * tangent);
            }
        }
    }
}

/// The way back through [`Gru`].
pub(super) struct GruBack<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) hidden: usize,
    pub(super) gates: &'a [T],
    /// What the hidden state gave to the third gate.
    pub(super) inner: &'a [T],
    /// The hidden state before.
    pub(super) before: &'a [T],
    pub(super) total: &'a [T],
    /// The gradient of the hidden state before, but for what goes through the gates.
    pub(super) state: &'a mut [T],
    /// Of the sums of the gates, for the input and for the hidden state.
    pub(super) slopes: &'a mut [T],
    pub(super) inner_slopes: &'a mut [T],
}

impl<T: Real> Kernel for GruBack<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = rarer::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let size = self.hidden;
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let (reset, rest) = line(self.gates, row, 3 * size).split_at(size);
            let (update, new) = rest.split_at(size);
            let (for_two, for_new) = line_mut(self.slopes, row, 3 * size).split_at_mut(2 * size);
            let (for_reset, for_update) = for_two.split_at_mut(size);
            let (inner, before) = (line(self.inner, row, size), line(self.before, row, size));
            let (state, total) = (line_mut(self.state, row, size), line(self.total, row, size));
            with(state, total, update, |_, total, update| total * update);
            with(for_update, before, new, |_, before, new| before - new);
            with(for_update, total, update, |change, total, update| total * change * bend(update));
            with(for_new, total, update, |_, total, update| total * (T::ONE - update));
            for_new.iter_mut().zip(new).for_each(|(slope, &new)| *slope *= T::ONE - new * alone(new));
            with(for_reset, for_new, inner, |_, slope, inner| slope * inner);
            for_reset.iter_mut().zip(reset).for_each(|(slope, &reset)| *slope *= bend(alone(reset)));
            let (inner_two, inner_new) = line_mut(self.inner_slopes, row, 3 * size).split_at_mut(2 * size);
            inner_two.copy_from_slice(for_two);
            with(inner_new, for_new, reset, |_, slope, reset| slope * reset);
        }
    }
}

/// The way back through [`Plain`].
pub(super) struct PlainBack<'a, T> {
    pub(super) awake: Awake<'a>,
    pub(super) hidden: usize,
    pub(super) kind: Gates,
    /// The results of this step.
    pub(super) output: &'a [T],
    pub(super) total: &'a [T],
    pub(super) slopes: &'a mut [T],
}

impl<T: Real> Kernel for PlainBack<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = rarer::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in (0..self.awake.count).filter(|&row| self.awake.has(row)) {
            let (output, total) = (line(self.output, row, self.hidden), line(self.total, row, self.hidden));
            let slopes = line_mut(self.slopes, row, self.hidden);
            if self.kind == Gates::Relu {
                with(slopes, total, output, |_, total, y| if y > T::ZERO { total } else { T::ZERO });
            } else {
                with(slopes, total, output, |_, total, y| total * (T::ONE - y * y));
            }
        }
    }
}
