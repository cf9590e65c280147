//! Values and gradients held against reference cases, in f64 and f32, through strided views.
//!
//! The cases stand under `CHAINRULE_REFERENCE` (by default `../shared/reference`; a small excerpt of our own making is in
//! `tests/reference_excerpt`). `CHAINRULE_CASES=conv2d` runs those whose name contains it. Operations that are not built
//! yet stand in `tests/pending.txt`; `CHAINRULE_STRICT=1` counts them as failed.

#[path = "common/guard.rs"]
mod guard;
#[path = "reference/mod.rs"]
mod names;
#[path = "common/recipes.rs"]
mod recipes;
#[path = "reference/store.rs"]
mod store;

use chainrule::{DType, ErrorKind, Index, IndexList, Tensor, backward_all};
use guard::{guarded, one_line, report as fail_with};
use names::{Case, Operand};
use safetensors::SafeTensors;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use store::{Numbers, Store, numbers};

const PENDING: &str = include_str!("pending.txt");

#[test]
fn values_and_gradients_equal_the_reference() {
    match store::folder() {
        Some(folder) => check(&folder),
        None => println!("reference cases: skipped: not here"),
    }
}

#[test]
fn values_and_gradients_equal_the_committed_excerpt() {
    check(&store::excerpt());
}

/// How the cases of one operation went.
#[derive(Default)]
struct Tally {
    passed: usize,
    failures: Vec<String>,
    known: bool,
}

fn check(folder: &std::path::Path) {
    let store = Store::open(folder);
    let filter = std::env::var("CHAINRULE_CASES").unwrap_or_default();
    let strict = std::env::var_os("CHAINRULE_STRICT").is_some_and(|value| value == "1");
    let pending: BTreeSet<&str> =
        PENDING.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let cases = store.manifest["cases"].as_array().expect("the manifest has cases");
    let mut by_group: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for case in cases.iter().filter(|case| text(case, "name").contains(&filter)) {
        by_group.entry(text(case, "group")).or_default().push(case);
    }
    for (group, cases) in by_group {
        let file = store.group(group);
        for record in cases {
            let tally = tallies.entry(text(record, "op")).or_insert_with(|| Tally { known: true, ..Tally::default() });
            match run(record, &store.manifest, &file) {
                None => tally.known = false,
                Some(lines) if lines.is_empty() => tally.passed += 1,
                Some(lines) => tally.failures.push(lines.join("\n    ")),
            }
        }
    }

    let count = |op: &str| cases.iter().filter(|c| text(c, "op") == op && text(c, "name").contains(&filter)).count();
    let (mut passed, mut failed, mut waiting) = (0, 0, 0);
    let mut report = Vec::new();
    for (op, tally) in &tallies {
        let listed = pending.contains(op);
        passed += tally.passed;
        match (tally.known, listed) {
            (false, true) => waiting += count(op),
            (false, false) => {
                failed += count(op);
                report.push(format!("{op}: no family knows it, and tests/pending.txt does not list it"));
            }
            (true, true) if tally.failures.is_empty() => {
                if filter.is_empty() && folder != store::excerpt() {
                    report.push(format!("{op}: all its cases pass: take it out of tests/pending.txt"));
                }
            }
            (true, true) => waiting += tally.failures.len(),
            (true, false) => failed += tally.failures.len(),
        }
        if !listed || strict || !filter.is_empty() {
            report.extend(tally.failures.iter().cloned());
        }
    }
    println!("reference cases: {passed} passed, {failed} failed, {waiting} pending ({})", folder.display());
    if strict && waiting > 0 {
        let listed: Vec<&str> = tallies.keys().filter(|op| pending.contains(*op)).copied().collect();
        report.push(format!("{waiting} cases are pending: {}", listed.join(", ")));
    }
    fail_with(report);
}

/// The failures of a case, a line each; None where no family knows its operation.
fn run(record: &Value, manifest: &Value, file: &SafeTensors<'_>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for dtype in [DType::F64, DType::F32] {
        match guarded(|| run_in(dtype, record, manifest, file)) {
            Ok(Ok(Some(found))) => lines.extend(found),
            Ok(Ok(None)) => return None,
            Ok(Err(said)) | Err(said) => lines.push(format!("{} [{dtype}]: {said}", text(record, "name"))),
        }
    }
    Some(lines)
}

fn run_in(
    dtype: DType,
    record: &Value,
    manifest: &Value,
    file: &SafeTensors<'_>,
) -> Result<Option<Vec<String>>, String> {
    let name = text(record, "name");
    let mut leaves = Vec::new();
    let mut operands = Vec::new();
    for input in list(record, "inputs") {
        let label = text(input, "name");
        let stored = tensor(&numbers(file, &format!("{name}/in/{label}"))?, text(input, "dtype"), dtype);
        let stored = if input["grad"] == true { stored.variable() } else { stored };
        let mut viewed = stored.clone();
        for view in list(input, "view") {
            viewed = see(&viewed, view);
        }
        operands.push(Operand {
            name: label.to_string(),
            positional: text(input, "as") == "positional",
            parameter: text(input, "as") == "param",
            tensor: viewed,
        });
        leaves.push((label, stored));
    }
    let op = plain_name(record);
    let learnt = RefCell::default();
    let case = Case { op: &op, attributes: &record["attrs"], constructor: &record["ctor"], operands, dtype, learnt };
    let Some(results) = names::call(&case) else { return Ok(None) };
    let learnt = case.learnt.into_inner();
    let outputs = list(record, "outputs");
    if results.len() != outputs.len() {
        return Err(format!("gives {} results, there are {}", results.len(), outputs.len()));
    }

    let from32 = dtype == DType::F32 && text(record, "ref32") == "f32";
    let reference = if from32 { "f32" } else { "f64" };
    let (relative, absolute) = if dtype == DType::F64 { ("rtol64", "atol64") } else { ("rtol32", "atol32") };
    let relative = manifest[relative].as_f64().unwrap_or(0.0);
    let mut lines = Vec::new();
    let mut roots = Vec::new();
    for (result, output) in results.iter().zip(outputs) {
        let label = text(output, "name");
        let wanted = numbers(file, &format!("{name}/{reference}/out/{label}"))?;
        let kind = match text(output, "dtype") {
            "float" => dtype,
            "i64" => DType::I64,
            _ => DType::Bool,
        };
        let got = result.dtype().map_err(|error| one_line(&error))?;
        if got != kind {
            lines.push(format!("{name} [{dtype}] result {label}: is {got}, should be {kind}"));
        }
        let tolerance = (output[absolute].as_f64().unwrap_or(0.0), if kind.is_float() { relative } else { 0.0 });
        lines
            .extend(differ(result, &wanted, tolerance)?.map(|line| format!("{name} [{dtype}] result {label}: {line}")));
        if output["diff"] == true {
            roots.push((result.clone(), tensor(&numbers(file, &format!("{name}/up/{label}"))?, "f32", dtype)));
        }
    }
    let wanted = list(record, "grads");
    if wanted.is_empty() || roots.is_empty() {
        return Ok(Some(lines));
    }
    let roots: Vec<(&Tensor, &Tensor)> = roots.iter().map(|(result, up)| (result, up)).collect();
    let gradients = match backward_all(&roots) {
        Ok(gradients) => Some(gradients),
        // A step function (floor, sign) has no history: its gradient is zero.
        Err(error) if error.kind() == ErrorKind::Gradient => {
            if let Some(line) = first_slope(file, name, reference, wanted)? {
                lines.push(format!("{name} [{dtype}]: {line}; {}", one_line(&error)));
            }
            None
        }
        Err(error) => return Err(one_line(&error)),
    };
    for gradient in wanted.iter().filter(|_| gradients.is_some()) {
        let label = text(gradient, "name");
        let leaf = leaves.iter().find(|(name, _)| *name == label).map(|(_, leaf)| leaf);
        let leaf = learnt.get(label).or(leaf).ok_or("no such input")?;
        let wanted = numbers(file, &format!("{name}/{reference}/grad/{label}"))?;
        let tolerance = (gradient[absolute].as_f64().unwrap_or(0.0), relative);
        let got = gradients.as_ref().and_then(|all| all.get(leaf)).cloned().unwrap_or_else(|| leaf.zeros_like());
        let line = differ(&got, &wanted, tolerance)?;
        lines.extend(line.map(|line| format!("{name} [{dtype}] gradient {label}: {line}")));
    }
    Ok(Some(lines))
}

/// Says which gradient is not zero, where one is.
fn first_slope(
    file: &SafeTensors<'_>,
    name: &str,
    reference: &str,
    wanted: &[Value],
) -> Result<Option<String>, String> {
    for gradient in wanted {
        let label = text(gradient, "name");
        if numbers(file, &format!("{name}/{reference}/grad/{label}"))?.values.iter().any(|x| *x != 0.0) {
            return Ok(Some(format!("gradient {label} is not zero in the reference")));
        }
    }
    Ok(None)
}

/// The name of the plain operation: `edge_` cases repeat one on special values, and say which by the function.
fn plain_name(record: &Value) -> String {
    let op = text(record, "op");
    if !op.starts_with("edge_") {
        return op.to_string();
    }
    let function = text(record, "torch").rsplit('.').next().unwrap_or_default();
    if op.contains("_scalar") { format!("{function}_scalar") } else { function.to_string() }
}

/// The largest disagreement, where one is beyond the tolerance `(absolute, relative)`.
fn differ(got: &Tensor, wanted: &Numbers, (absolute, relative): (f64, f64)) -> Result<Option<String>, String> {
    let shape = got.shape().map_err(|error| one_line(&error))?;
    if shape[..] != wanted.shape[..] {
        return Ok(Some(format!("has shape {shape:?}, should have {:?}", wanted.shape)));
    }
    let values = got.to_vec::<f64>().map_err(|error| one_line(&error))?;
    let mut worst: Option<(f64, usize)> = None;
    let mut wrong = 0;
    for (at, (&x, &y)) in values.iter().zip(&wanted.values).enumerate() {
        if x == y || x.is_nan() && y.is_nan() {
            continue;
        }
        let excess = (x - y).abs() / (absolute + relative * y.abs());
        if excess <= 1.0 {
            continue;
        }
        wrong += 1;
        if worst.is_none_or(|(most, _)| excess > most || excess.is_nan()) {
            worst = Some((excess, at));
        }
    }
    Ok(worst.map(|(excess, at)| {
        let (x, y) = (values[at], wanted.values[at]);
        format!("{wrong} of {} differ, most at {at}: {x:e}, should be {y:e} ({excess:.1} × tolerance)", values.len())
    }))
}

fn tensor(numbers: &Numbers, kind: &str, float: DType) -> Tensor {
    let to = match kind {
        "f32" => float,
        "i64" => DType::I64,
        "bool" => DType::Bool,
        other => panic!("an input has the type {other}"),
    };
    let tensor = Tensor::from_slice(&numbers.values, &numbers.shape[..]).expect("the files' shapes hold their numbers");
    tensor.to_dtype(to)
}

/// A view of the manifest, as a tensor operation.
fn see(x: &Tensor, view: &Value) -> Tensor {
    let number = |name: &str| view[name].as_i64().expect("a view has whole numbers") as isize;
    let numbers =
        |name: &str| -> Vec<isize> { list(view, name).iter().filter_map(Value::as_i64).map(|n| n as isize).collect() };
    match text(view, "op") {
        "transpose" => {
            let dims = numbers("dims");
            x.transpose(dims[0], dims[1])
        }
        "permute" => x.permute(&numbers("dims")[..]),
        "expand" => x.expand(&numbers("shape")[..]),
        "slice" => {
            let mut parts = vec![Index::ALL; number("dim") as usize];
            parts.push(Index::Range {
                start: Some(number("start")),
                end: Some(number("stop")),
                inclusive: false,
                step: number("step"),
            });
            x.slice(IndexList::from_iter(parts))
        }
        other => panic!("a view {other}"),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}
