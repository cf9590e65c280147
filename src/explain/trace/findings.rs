//! What a student should look at: saturated and dead units, gradients that vanish or explode, what is not finite.

use super::numbers::{Numbers, read};
use super::{At, LeafKind, Operation, Trace};
use crate::formula::short_number;
use crate::layout::sort_numbers;

/// Something to look at.
pub(super) struct Finding {
    pub(super) at: At,
    /// The operation or the leaf.
    pub(super) name: String,
    pub(super) text: String,
}

/// Of more results than this share being near the ends, an operation is saturated.
const MOST: f64 = 0.5;
/// A gradient so many times larger or smaller than the middle one stands out.
const FAR: f64 = 1000.0;

pub(super) fn all(trace: &Trace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, operation) in trace.operations.iter().enumerate() {
        let place = trace.place(number);
        let name = match operation.label() {
            Some(label) => label.to_string(),
            None if place.is_empty() => operation.name().to_string(),
            None => format!("{} in {place}", operation.name()),
        };
        let texts = of_results(operation);
        findings.extend(texts.into_iter().map(|text| Finding { at: At::Operation(number), name: name.clone(), text }));
    }
    findings.extend(of_gradients(trace));
    findings
}

fn of_results(operation: &Operation) -> Vec<String> {
    let mut texts = Vec::new();
    let Some(result) = operation.step.outputs().first().filter(|result| result.dtype().is_float()) else {
        return texts;
    };
    let numbers = read(result);
    let count = numbers.len().max(1) as f64;
    let strange = numbers.iter().filter(|x| !x.is_finite()).count();
    if strange > 0 {
        texts.push(format!("{strange} of {} results are NaN or infinite", numbers.len()));
    }
    let near_ends = |test: &dyn Fn(f64) -> bool| numbers.iter().filter(|x| test(**x)).count() as f64 / count;
    let saturated = match operation.name() {
        "sigmoid" => near_ends(&|y| !(0.01..=0.99).contains(&y)),
        "tanh" => near_ends(&|y| y.abs() > 0.99),
        _ => 0.0,
    };
    if saturated > MOST {
        texts.push(format!(
            "saturated: {:.0} % of its results are at the ends, where next to nothing passes back",
            saturated * 100.0
        ));
    }
    if operation.name() == "relu"
        && let [rows @ .., units] = result.dims()
        && rows.iter().product::<usize>() > 1
        && *units > 1
    {
        let silent = |unit: usize| numbers.iter().skip(unit).step_by(*units).all(|y| *y == 0.0);
        let dead = (0..*units).filter(|unit| silent(*unit)).count();
        if dead > 0 {
            texts.push(format!("{dead} of {units} units are 0 for the whole batch: nothing passes back through them"));
        }
    }
    texts
}

/// What arrives at the parameters, held against the middle one.
fn of_gradients(trace: &Trace) -> Vec<Finding> {
    let mut sizes = Vec::new();
    let mut findings = Vec::new();
    for moment in &trace.moments {
        let (At::Leaf(leaf), Some(Some(arrived))) = (moment.at, moment.arrived.first()) else { continue };
        let numbers = Numbers::of(arrived);
        if numbers.not_finite > 0 {
            let text =
                format!("{} of {} numbers of its gradient are NaN or infinite", numbers.not_finite, numbers.count());
            findings.push(Finding { at: moment.at, name: trace.leaves[leaf].name.clone(), text });
        }
        if trace.leaves[leaf].kind == LeafKind::Learnt && numbers.count() > 0 {
            sizes.push((leaf, numbers.norm / (numbers.count() as f64).sqrt()));
        }
    }
    let mut ordered: Vec<f64> = sizes.iter().map(|(_, size)| *size).filter(|size| *size > 0.0).collect();
    sort_numbers(&mut ordered);
    let Some(middle) = ordered.get(ordered.len() / 2).copied() else { return findings };
    for (leaf, size) in sizes {
        let text = match size {
            0.0 => "its gradient is 0 everywhere: it learns nothing from this batch".to_string(),
            size if size > middle * FAR => {
                format!("its gradient is {} times the middle one: it explodes", short_number(size / middle))
            }
            size if size < middle / FAR => {
                format!("its gradient is 1/{} of the middle one: it vanishes", short_number(middle / size))
            }
            _ => continue,
        };
        findings.push(Finding { at: At::Leaf(leaf), name: trace.leaves[leaf].name.clone(), text });
    }
    findings
}
