//! Connectionist temporal classification on the processor: all paths that spell a target, summed forward and backward.
//!
//! A target `a b` is read as `_ a _ b _` with blanks between: position `s` of these is a symbol where it is odd. A path
//! stays, goes on by one, or by two where that jumps a blank between two unlike symbols.

use super::cast::rounded;
use super::rows::no_float;
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::ctc::{Alignment, Alignments, Ctc, bad_length, bad_symbol};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const NEVER: f64 = f64::NEG_INFINITY;

/// ln (e^a + e^b + e^c).
fn together(a: f64, b: f64, c: f64) -> f64 {
    let greatest = a.max(b).max(c);
    if greatest == NEVER {
        return NEVER;
    }
    greatest + ((a - greatest).exp() + (b - greatest).exp() + (c - greatest).exp()).ln()
}

/// One example: its scores at `x[step * stride + class]`, and the symbols to be spelled.
struct Example<'a> {
    x: &'a [f64],
    stride: usize,
    steps: usize,
    symbols: &'a [i64],
    blank: usize,
}

impl Example<'_> {
    /// Symbols with blanks around.
    fn positions(&self) -> usize {
        2 * self.symbols.len() + 1
    }
    /// The class at a position.
    fn class(&self, position: usize) -> usize {
        if position % 2 == 1 { self.symbols[position / 2] as usize } else { self.blank }
    }
    /// May a path jump from two positions before to this one?
    fn jumps(&self, position: usize) -> bool {
        position % 2 == 1 && position >= 3 && self.symbols[position / 2] != self.symbols[position / 2 - 1]
    }
    fn score(&self, step: usize, position: usize) -> f64 {
        self.x[step * self.stride + self.class(position)]
    }
    /// ln of the sum over all paths that stand at a position after a step: a row for each step.
    fn forward(&self) -> Vec<f64> {
        let count = self.positions();
        let mut sums = vec![NEVER; count * self.steps];
        for step in 0..self.steps {
            let (before, now) = sums.split_at_mut(step * count);
            let before = before.rchunks(count).next();
            for position in 0..count {
                let come = match before {
                    None if position < 2 => 0.0,
                    None => NEVER,
                    Some(before) => {
                        let at = |back: usize| if position >= back { before[position - back] } else { NEVER };
                        together(at(0), at(1), if self.jumps(position) { at(2) } else { NEVER })
                    }
                };
                now[position] = come + self.score(step, position);
            }
        }
        sums
    }
    /// ln P of the whole target.
    fn total(&self, forward: &[f64]) -> f64 {
        match forward.rchunks(self.positions()).next() {
            Some(last) => together(last[last.len() - 1], last.iter().rev().nth(1).copied().unwrap_or(NEVER), NEVER),
            None if self.symbols.is_empty() => 0.0, // nothing in no time
            None => NEVER,
        }
    }
    /// Takes the chance of each class at each step away from `slopes`: `[steps, classes]`.
    fn backward(&self, forward: &[f64], total: f64, slopes: &mut [f64], classes: usize) {
        let count = self.positions();
        // ln of the sum over all ways to go on from a position after a step.
        let mut ways = vec![NEVER; count];
        ways[count - 1] = 0.0;
        if count > 1 {
            ways[count - 2] = 0.0;
        }
        for step in (0..self.steps).rev() {
            let slopes = &mut slopes[step * classes..][..classes];
            for position in 0..count {
                let chance = (forward[step * count + position] + ways[position] - total).exp();
                let slope = &mut slopes[self.class(position)];
                *slope -= chance;
            }
            // Scores of this step are met when one comes from the step before.
            for (position, way) in ways.iter_mut().enumerate() {
                *way += self.score(step, position);
            }
            for position in 0..count {
                let at = |on: usize| ways.get(position + on).copied().unwrap_or(NEVER);
                let jump = position + 2 < count && self.jumps(position + 2);
                ways[position] = together(at(0), at(1), if jump { at(2) } else { NEVER });
            }
        }
    }
}

/// Lengths as numbers that are not too large.
fn lengths(given: &Value, most: usize, what: &str) -> Result<Vec<usize>, Fault> {
    let given = Cpu.contiguous(&Cpu.cast(given, DType::I64)?)?;
    let mut checked = Vec::with_capacity(given.count());
    for (example, &length) in given.dense::<i64>()?.iter().enumerate() {
        if !(0..=most as i64).contains(&length) {
            return Err(bad_length(what, example, length, most));
        }
        checked.push(length as usize);
    }
    Ok(checked)
}

fn run(
    x: &Value,
    targets: &Value,
    (input_lengths, target_lengths): (&Value, &Value),
    how: Alignment,
    wanted: bool,
) -> Result<Alignments, Fault> {
    let [steps, batch, classes] = [x.dims()[0], x.dims()[1], x.dims()[2]];
    let width = targets.dims()[1];
    let targets = Cpu.contiguous(&Cpu.cast(targets, DType::I64)?)?;
    let targets = targets.dense::<i64>()?;
    let input_lengths = lengths(input_lengths, steps, "input")?;
    let target_lengths = lengths(target_lengths, width, "target")?;
    for (example, &length) in target_lengths.iter().enumerate() {
        for at in 0..length {
            let symbol = targets[example * width + at];
            if !(0..classes as i64).contains(&symbol) || symbol == how.blank as i64 {
                return Err(bad_symbol([example, at], symbol, classes, how.blank));
            }
        }
    }
    let data = x.dense::<f64>()?;
    let one = |example: usize, slopes: &mut [f64]| -> f64 {
        let example_of = Example {
            x: &data[(example * classes).min(data.len())..],
            stride: batch * classes,
            steps: input_lengths[example],
            symbols: &targets[example * width..][..target_lengths[example]],
            blank: how.blank,
        };
        let forward = example_of.forward();
        let total = example_of.total(&forward);
        if total == NEVER && how.zero_infinity {
            return 0.0;
        }
        if !slopes.is_empty() {
            example_of.backward(&forward, total, slopes, classes);
        }
        -total
    };
    let cost = steps * (8 * (2 * width + 1) + classes);
    let mut losses = vec![0.0f64; batch];
    let slopes = if wanted {
        let each = steps * classes;
        let all = Value::build::<f64>(Shape::new(&[batch, steps, classes])?, |out| {
            out.fill(0.0);
            parallel::chunks_pair((&mut losses, 1), (out, each), cost, |example, loss, slopes| {
                loss[0] = one(example, slopes);
            });
        })?;
        Some(all.with_layout(all.layout().permuted(&[1, 0, 2]))?)
    } else {
        parallel::chunks(&mut losses, 1, cost, |example, loss| loss[0] = one(example, &mut []));
        None
    };
    let losses = Value::build::<f64>(Shape::new(&[batch])?, |out| out.copy_from_slice(&losses))?;
    Ok(Alignments { losses, slopes })
}

impl Ctc for Cpu {
    fn ctc(
        &self,
        x: &Value,
        targets: &Value,
        lengths: (&Value, &Value),
        how: Alignment,
        slopes: bool,
    ) -> Result<Alignments, Fault> {
        if !x.dtype().is_float() {
            return Err(no_float("ctc_loss", x));
        }
        // Chances are products of many factors: all is added up in f64 and rounded once.
        let wide = self.contiguous(&self.cast(x, DType::F64)?)?;
        let Alignments { losses, slopes } = run(&wide, targets, lengths, how, slopes)?;
        let slopes = slopes.map(|slopes| rounded(&slopes, x.dtype())).transpose()?;
        Ok(Alignments { losses: rounded(&losses, x.dtype())?, slopes })
    }
}
