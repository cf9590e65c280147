//! What a model is made of, as a table: from one pass that is written down.

use super::Module;
use crate::device::Value;
use crate::error::Result;
use crate::tensor::{Source, Step, Tensor, evaluating, no_grad, record};
use std::collections::HashMap;
use std::fmt;

/// A model's operations with their sizes and costs; prints as a table.
///
/// Operations of one layer stand in one line, with the sizes of the last; views cost nothing and are left out. A multiply
/// and an add count once, as pairs; only products and convolutions are counted. Bytes are those of the results.
///
/// ```
/// use chainrule::nn::{Conv2d, Flatten, Init, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
/// use chainrule::Tensor;
/// let mut init = Init::new();
/// let model = Sequential::new()
///     .then(Conv2d::new(1, 8, 3, &mut init))
///     .then(Relu)
///     .then(MaxPool2d::new(2))
///     .then(Flatten::new())
///     .then(Linear::new(8 * 13 * 13, 10, &mut init))
///     .named();
/// let summary = model.summary(&Tensor::zeros([1, 1, 28, 28]))?;
/// assert_eq!(summary.to_string(), "\
/// layer  operation   output          parameters  multiply-adds   bytes
/// 0      conv2d      [1, 8, 26, 26]          80         48_672  21_632
///        relu        [1, 8, 26, 26]                             21_632
///        max_pool2d  [1, 8, 13, 13]                              5_408
/// 4      linear      [1, 10]             13_530         13_520      40
/// total                                  13_610         62_192  48_712
/// ");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    lines: Vec<SummaryLine>,
    unused: usize,
}

/// A line of a [`Summary`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryLine {
    /// Where the layer stands in the model: the names of its parameters without their last part; empty for operations
    /// that use no parameter.
    pub layer: String,
    /// The operations, in order.
    pub operations: Vec<&'static str>,
    /// The sizes of the last result.
    pub output: Vec<usize>,
    /// How many numbers are learnt here and were not counted in a line before.
    pub parameters: usize,
    /// How many pairs of a multiply and an add the products take.
    pub multiply_adds: usize,
    /// The memory of all results.
    pub bytes: usize,
}

impl Summary {
    /// The lines.
    pub fn lines(&self) -> &[SummaryLine] {
        &self.lines
    }
    /// All parameters of the model, those included that the pass did not use.
    pub fn parameters(&self) -> usize {
        self.unused + self.sum(|line| line.parameters)
    }
    /// All multiply-adds.
    pub fn multiply_adds(&self) -> usize {
        self.sum(|line| line.multiply_adds)
    }
    /// The memory of all results.
    pub fn bytes(&self) -> usize {
        self.sum(|line| line.bytes)
    }
    fn sum(&self, of: impl Fn(&SummaryLine) -> usize) -> usize {
        self.lines.iter().map(of).fold(0, usize::saturating_add)
    }
}

/// Runs a model once, evaluating, and says what happened: for models whose forward takes other than one tensor; layers have
/// [`summary`](super::Layer::summary).
///
/// ```
/// use chainrule::nn::{Bilinear, Init, summary};
/// use chainrule::Tensor;
/// let model = Bilinear::new(3, 4, 5, &mut Init::new());
/// let summary = summary(&model, |model| model.forward(&Tensor::zeros([2, 3]), &Tensor::zeros([2, 4])))?;
/// assert_eq!(summary.parameters(), 65);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn summary<M: Module + ?Sized>(model: &M, forward: impl FnOnce(&M) -> Tensor) -> Result<Summary> {
    let (output, recording) = record(|| no_grad(|| evaluating(|| forward(model))));
    let _ = output.checked()?;
    let parameters = model.parameters();
    let places: HashMap<u64, usize> = parameters.iter().zip(0..).map(|((_, p), place)| (p.id(), place)).collect();
    // The numbers of each that no line has counted; those of a tied one stand at its last place.
    let mut left = vec![0; parameters.len()];
    for (_, parameter) in &parameters {
        left[places[&parameter.id()]] = parameter.value()?.count();
    }
    let mut lines: Vec<SummaryLine> = Vec::new();
    // The parameters that each step's result is made of alone: a transposed weight is still that weight.
    let mut made_of: Vec<Vec<usize>> = Vec::new();
    for (number, step) in recording.steps().iter().enumerate() {
        let (mut used, mut only_parameters) = (Vec::new(), true);
        for source in recording.sources(number) {
            match source {
                Source::Leaf { id, .. } if places.contains_key(&id) => used.push(places[&id]),
                Source::Step { step, .. } if made_of.get(step).is_some_and(|made| !made.is_empty()) => {
                    used.extend_from_slice(&made_of[step]);
                }
                _ => only_parameters = false,
            }
        }
        used.sort_unstable();
        used.dedup();
        made_of.push(if only_parameters { used.clone() } else { Vec::new() });
        let Some(output) = step.outputs().first() else { continue };
        let is_view = step.inputs().iter().any(|input| input.shares_memory(output));
        if is_view || only_parameters && !used.is_empty() {
            continue;
        }
        let layer = layer_of(used.iter().map(|&place| parameters[place].0.as_str()));
        let cost = SummaryLine {
            layer,
            operations: vec![step.name()],
            output: output.dims().to_vec(),
            parameters: used.iter().map(|&place| std::mem::take(&mut left[place])).sum(),
            multiply_adds: multiply_adds(step),
            bytes: step.outputs().iter().map(bytes).fold(0, usize::saturating_add),
        };
        match lines.last_mut() {
            Some(last) if !cost.layer.is_empty() && last.layer == cost.layer => last.absorb(cost),
            _ => lines.push(cost),
        }
    }
    Ok(Summary { lines, unused: left.iter().sum() })
}

impl SummaryLine {
    fn absorb(&mut self, next: SummaryLine) {
        self.operations.extend(next.operations);
        self.output = next.output;
        self.parameters += next.parameters;
        self.multiply_adds = self.multiply_adds.saturating_add(next.multiply_adds);
        self.bytes = self.bytes.saturating_add(next.bytes);
    }
}

/// What the names have in common, without the parameter's own part.
fn layer_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut common: Option<Vec<&str>> = None;
    for name in names {
        let mut parts: Vec<&str> = name.split('.').collect();
        parts.pop();
        common = Some(match common {
            None => parts,
            Some(before) => before.into_iter().zip(parts).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
        });
    }
    match common {
        None => String::new(),
        Some(parts) if parts.is_empty() => "(model)".to_string(),
        Some(parts) => parts.join("."),
    }
}

fn bytes(value: &Value) -> usize {
    value.count().saturating_mul(value.dtype().size())
}

/// What products cost: for each number of the result, the length of the sums.
fn multiply_adds(step: &Step) -> usize {
    let (Some(first), Some(second), Some(output)) =
        (step.inputs().first(), step.inputs().get(1), step.outputs().first())
    else {
        return 0;
    };
    let each = |count: usize, weight: &Value| match weight.dims().first() {
        Some(&rows) if rows > 0 => count.saturating_mul(weight.count() / rows),
        _ => 0,
    };
    match step.name() {
        "linear" | "matmul" => output.count().saturating_mul(first.dims().last().copied().unwrap_or(0)),
        "conv1d" | "conv2d" | "conv3d" => each(output.count(), second),
        "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" => each(first.count(), second),
        // Every query meets every key, and takes as many values.
        "scaled_dot_product_attention" => match second.dims() {
            [.., keys, _] => first.count().saturating_add(output.count()).saturating_mul(*keys),
            _ => 0,
        },
        _ => 0,
    }
}

/// 1234567 as `1_234_567`, and nothing for 0.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    if number == 0 { String::new() } else { text }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<[String; 6]> =
            vec![["layer", "operation", "output", "parameters", "multiply-adds", "bytes"].map(String::from)];
        for line in &self.lines {
            rows.push([
                line.layer.clone(),
                line.operations.join(", "),
                format!("{:?}", line.output),
                grouped(line.parameters),
                grouped(line.multiply_adds),
                grouped(line.bytes),
            ]);
        }
        let used = self.parameters() - self.unused;
        let totals = |parameters| {
            [String::new(), String::new(), grouped(parameters), grouped(self.multiply_adds()), grouped(self.bytes())]
        };
        if self.unused > 0 {
            let blank = String::new;
            rows.push(["not used".to_string(), blank(), blank(), grouped(self.unused), blank(), blank()]);
        }
        let [operation, output, parameters, products, memory] = totals(used + self.unused);
        rows.push(["total".to_string(), operation, output, parameters, products, memory]);
        let widths: [usize; 6] =
            std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        for row in &rows {
            let mut text = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                // Words stand left, numbers right.
                text += &if column < 3 { format!("{cell:width$}  ") } else { format!("{cell:>width$}  ") };
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
