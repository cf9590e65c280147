//! What an operation computes and what it passes back, as lines of mathematics, with the numbers of one element filled in.

use super::numbers::read;
use super::{Moment, Operation};
use crate::formula::{Written, short_number};
use crate::layout::Shape;

/// What operations without a formula compute. In a result's own letters: `y` of one operand, `c` or `C` of several.
const TEXTS: &[(&str, &str)] = &[
    ("matmul", "C = A · B"),
    ("add_matmul", "C = β · S + α · A · B"),
    ("linear", "y = x · Wᵀ + b"),
    ("sum", "y = Σ x"),
    ("mean", "y = Σ x / n"),
    ("prod", "y = Π x"),
    ("max", "y = the largest x"),
    ("min", "y = the smallest x"),
    ("var", "y = Σ (x - mean)² / (n - correction)"),
    ("std", "y = √(Σ (x - mean)² / (n - correction))"),
    ("vector_norm", "y = (Σ |x|^p)^(1/p)"),
    ("softmax", "yᵢ = exp(xᵢ) / Σ exp(xⱼ)"),
    ("log_softmax", "yᵢ = xᵢ - ln Σ exp(xⱼ)"),
    ("logsumexp", "y = ln Σ exp(x)"),
    ("layer_norm", "y = (x - mean) / √(variance + ε) · w + b"),
    ("rms_norm", "y = x / √(mean(x²) + ε) · w"),
    ("group_norm", "y = (x - mean) / √(variance + ε) · w + b"),
    ("instance_norm", "y = (x - mean) / √(variance + ε) · w + b"),
    ("batch_norm", "y = (x - mean) / √(variance + ε) · w + b, means over the batch"),
    ("conv1d", "y[o, i] = Σ w[o, c, k] · x[c, i + k] + b[o]"),
    ("conv2d", "y[o, i, j] = Σ w[o, c, k, l] · x[c, i + k, j + l] + b[o]"),
    ("conv3d", "y[o, ...] = Σ w[o, c, ...] · x[c, ... + ...] + b[o]"),
    ("max_pool1d", "y = the largest x of each window"),
    ("max_pool2d", "y = the largest x of each window"),
    ("avg_pool1d", "y = the mean of each window of x"),
    ("avg_pool2d", "y = the mean of each window of x"),
    ("embedding", "y[i] = W[x[i]]"),
    ("cross_entropy", "y = -ln softmax(x)[target]"),
    ("scaled_dot_product_attention", "Y = softmax(scale · Q · Kᵀ) · V"),
    ("dropout", "y = mask ⊙ x · scale"),
    ("lstm", "h, c = the gates of x and h, step by step"),
    ("gru", "h = the gates of x and h, step by step"),
    ("cat", "y = the operands, one after the other"),
    ("stack", "y = the operands along a new axis"),
    ("identity", "y = x"),
];

/// The letters of operands and result: the same as in the rules of gradients.
fn letters(operands: usize) -> (&'static [&'static str], &'static str) {
    match operands {
        1 => (&["x"], "y"),
        2 => (&["a", "b"], "c"),
        _ => (&["a", "b", "c"], "y"),
    }
}

/// What an operation computes.
pub(super) fn forward(operation: &Operation) -> String {
    let name = operation.name();
    let count = operation.operands.len();
    let (inputs, output) = letters(count);
    let letter = |k: usize| inputs.get(k).copied().unwrap_or("x").to_string();
    if let Some(text) = operation.step.op().formula(None).and_then(|formula| formula.text(&letter)) {
        return format!("{output} = {text}");
    }
    match TEXTS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => (*text).to_string(),
        None if operation.step.op().view().is_some() => format!("y = x, {name}"),
        None => format!("{output} = {name}({})", (0..count.min(3)).map(letter).collect::<Vec<_>>().join(", ")),
    }
}

/// The same for one element, in numbers: `0.4621 = tanh(0.5)`.
pub(super) fn forward_in_numbers(operation: &Operation, element: usize) -> Option<String> {
    let result = operation.step.outputs().first()?;
    let value = short_number(*read(result).get(element)?);
    let of = place_text(result.dims(), element);
    if let Some(formula) = operation.step.op().formula(None) {
        let operands = operands_at(operation, element)?;
        let text = formula.text(&|k| operands.get(k).copied().map_or_else(String::new, short_number))?;
        return Some(format!("{of}{value} = {text}"));
    }
    let text = match operation.name() {
        "linear" | "matmul" => product(operation, element)?,
        "sum" | "mean" => total(operation)?,
        _ => return None,
    };
    Some(format!("{of}{value} = {text}"))
}

/// What goes back to an operand: the rule, and for a formula the derivative itself.
pub(super) fn backward(operation: &Operation, which: usize) -> String {
    let rule = operation.step.op().rule(which);
    let (inputs, output) = letters(operation.operands.len());
    let arrives = format!("∂L/∂{output}");
    let Some(formula) = operation.step.op().formula(Some(which)) else { return rule.to_string() };
    let Some(text) = formula.text(&|k| match input_of(&formula, k, operation.operands.len()) {
        Read::Arrived => arrives.clone(),
        Read::Result => output.to_string(),
        Read::Operand(k) => inputs.get(k).copied().unwrap_or("x").to_string(),
    }) else {
        return rule.to_string();
    };
    format!("∂L/∂{} = {text}", inputs.get(which).copied().unwrap_or("x"))
}

/// The same for one element, in numbers.
pub(super) fn backward_in_numbers(
    operation: &Operation,
    moment: &Moment,
    which: usize,
    element: usize,
) -> Option<String> {
    let formula = operation.step.op().formula(Some(which))?;
    let result = operation.step.outputs().first()?;
    // Where an operand was broadcast its gradient is a sum over elements: there is no single one to show.
    if operation.step.inputs().get(which)?.dims() != result.dims() {
        return None;
    }
    let arrived = *read(moment.arrived.first()?.as_ref()?).get(element)?;
    let passed = moment.passed.iter().find(|(to, _)| *to == which).map(|(_, value)| value)?;
    let passed = *read(passed).get(element)?;
    let operands = operands_at(operation, element)?;
    let output = *read(result).get(element)?;
    let text = formula.text(&|k| {
        short_number(match input_of(&formula, k, operation.operands.len()) {
            Read::Arrived => arrived,
            Read::Result => output,
            Read::Operand(k) => operands.get(k).copied().unwrap_or(f64::NAN),
        })
    })?;
    Some(format!("{}{} = {text}", place_text(result.dims(), element), short_number(passed)))
}

enum Read {
    Arrived,
    Result,
    Operand(usize),
}

/// What input `k` of a derivative's program is.
fn input_of(formula: &Written, k: usize, operands: usize) -> Read {
    match (formula.of_result, k) {
        (true, 0) => Read::Result,
        (true, _) => Read::Arrived,
        (false, k) if k == operands => Read::Arrived,
        (false, k) => Read::Operand(k),
    }
}

/// The element that is shown in numbers: where most arrives, for there the chain rule is seen at work.
pub(super) fn shown_element(operation: &Operation, moment: Option<&Moment>) -> usize {
    let count = operation.step.outputs().first().map_or(0, |result| result.count());
    let arrived = moment.and_then(|moment| moment.arrived.first()?.as_ref()).map(read).unwrap_or_default();
    let mut best = 0;
    for (element, gradient) in arrived.iter().enumerate().take(count) {
        if gradient.abs() > arrived.get(best).map_or(0.0, |best| best.abs()) {
            best = element;
        }
    }
    best
}

/// The operands that an element of the result was computed from.
fn operands_at(operation: &Operation, element: usize) -> Option<Vec<f64>> {
    let result = operation.step.outputs().first()?.dims();
    let at = positions(result, element);
    let one = |value: &crate::device::Value| {
        let missing = result.len().checked_sub(value.rank())?;
        let mut flat = 0;
        for (size, position) in value.dims().iter().zip(at.get(missing..)?) {
            flat = flat * size + if *size == 1 { 0 } else { *position };
        }
        read(value).get(flat).copied()
    };
    operation.step.inputs().iter().map(one).collect()
}

/// The position of an element in each axis.
fn positions(dims: &[usize], element: usize) -> Vec<usize> {
    let mut rest = element;
    let mut at: Vec<usize> = Vec::with_capacity(dims.len());
    for size in dims.iter().rev() {
        at.push(rest % (*size).max(1));
        rest /= (*size).max(1);
    }
    at.reverse();
    at
}

/// `[0, 2]: `, and nothing for a single number.
fn place_text(dims: &[usize], element: usize) -> String {
    match dims.iter().product::<usize>() {
        0 | 1 => String::new(),
        _ => format!("{:?}: ", positions(dims, element)),
    }
}

/// At most so many terms of a sum are written out.
const TERMS: usize = 5;

fn sum_text(mut terms: impl ExactSizeIterator<Item = String>) -> String {
    let count = terms.len();
    if count <= TERMS {
        return terms.collect::<Vec<_>>().join(" + ");
    }
    let first: Vec<String> = terms.by_ref().take(TERMS - 1).collect();
    format!("{} + … ({count} terms)", first.join(" + "))
}

/// The products that make an element of a matrix product, or of `x · Wᵀ + b`.
fn product(operation: &Operation, element: usize) -> Option<String> {
    let [a, b, bias @ ..] = operation.step.inputs() else { return None };
    let result = operation.step.outputs().first()?.dims();
    let is_linear = operation.name() == "linear";
    if a.rank() < 2 || b.rank() != 2 || a.rank() != result.len() {
        return None;
    }
    let (inner, columns) = (*a.dims().last()?, *result.last()?);
    let (row, column) = (element / columns.max(1), element % columns.max(1));
    let (a, b) = (read(a), read(b));
    let second = |k: usize| if is_linear { b.get(column * inner + k) } else { b.get(k * columns + column) };
    let pairs: Option<Vec<(f64, f64)>> = (0..inner).map(|k| Some((*a.get(row * inner + k)?, *second(k)?))).collect();
    let in_parentheses = |x: f64| if x < 0.0 { format!("({})", short_number(x)) } else { short_number(x) };
    let mut terms: Vec<String> =
        pairs?.into_iter().map(|(a, b)| format!("{} · {}", in_parentheses(a), in_parentheses(b))).collect();
    let bias = bias.first().map(read).and_then(|bias| bias.get(column).copied());
    if let Some(bias) = bias.filter(|_| terms.len() < TERMS) {
        terms.push(in_parentheses(bias));
        return Some(sum_text(terms.into_iter()));
    }
    let text = sum_text(terms.into_iter());
    Some(bias.map_or(text.clone(), |bias| format!("{text} + {}", in_parentheses(bias))))
}

/// The terms of a sum or mean of everything.
fn total(operation: &Operation) -> Option<String> {
    let input = operation.step.inputs().first()?;
    if operation.step.outputs().first()?.count() != 1 {
        return None;
    }
    let numbers = read(input);
    let text = sum_text(numbers.iter().map(|x| short_number(*x)));
    Some(match operation.name() {
        "mean" => format!("({text}) / {}", Shape::new(input.dims()).ok()?.count()),
        _ => text,
    })
}
