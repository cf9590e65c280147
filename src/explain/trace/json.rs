//! A trace as JSON: what the page reads.

use super::numbers::Numbers;
use super::{At, LeafKind, Origin, Trace, equation, findings};
use crate::device::Value;
use crate::layout::DType;

pub(super) fn write(trace: &Trace) -> String {
    let findings = findings::all(trace);
    let told = |at: At| list(findings.iter().filter(|finding| finding.at == at).map(|finding| text(&finding.text)));
    let groups = list(trace.groups.iter().map(|group| {
        object([
            ("name", text(&group.name)),
            ("parent", group.parent.map_or("null".to_string(), |parent| parent.to_string())),
        ])
    }));
    let leaves = list(trace.leaves.iter().enumerate().map(|(number, leaf)| {
        object([
            ("name", text(&leaf.name)),
            ("learnt", (leaf.kind == LeafKind::Learnt).to_string()),
            ("value", numbers(&leaf.value)),
            ("findings", told(At::Leaf(number))),
        ])
    }));
    let operations = list(trace.operations.iter().enumerate().map(|(number, operation)| {
        let moment = trace.moments.iter().find(|moment| moment.at == At::Operation(number));
        let element = equation::shown_element(operation, moment);
        let place = operation.step.location();
        object([
            ("name", text(operation.name())),
            ("label", optional(operation.label().map(str::to_string))),
            ("group", operation.group.to_string()),
            ("equation", text(&operation.equation())),
            ("inNumbers", optional(equation::forward_in_numbers(operation, element))),
            ("source", text(&format!("{}:{}", place.file(), place.line()))),
            (
                "operands",
                list(
                    operation
                        .operands
                        .iter()
                        .zip(operation.step.inputs())
                        .map(|(origin, value)| object([("from", origin_text(origin)), ("value", numbers(value))])),
                ),
            ),
            ("results", list(operation.step.outputs().iter().map(numbers))),
            ("findings", told(At::Operation(number))),
        ])
    }));
    let moments = list(trace.moments.iter().map(|moment| {
        let passed = moment.passed.iter().map(|(which, value)| {
            let (rule, in_numbers) = match moment.at {
                At::Operation(number) => {
                    let operation = &trace.operations[number];
                    let element = equation::shown_element(operation, Some(moment));
                    let filled = equation::backward_in_numbers(operation, moment, *which, element);
                    (equation::backward(operation, *which), filled)
                }
                At::Leaf(_) => (String::new(), None),
            };
            object([
                ("operand", which.to_string()),
                ("rule", text(&rule)),
                ("inNumbers", optional(in_numbers)),
                ("value", numbers(value)),
            ])
        });
        object([
            (
                "at",
                match moment.at {
                    At::Operation(number) => format!("[\"operation\",{number}]"),
                    At::Leaf(number) => format!("[\"leaf\",{number}]"),
                },
            ),
            ("arrived", list(moment.arrived.iter().map(|value| value.as_ref().map_or("null".to_string(), numbers)))),
            ("parts", list(moment.parts.iter().map(|(from, operand)| format!("[{from},{operand}]")))),
            ("passed", list(passed)),
        ])
    }));
    let updates = list(
        trace
            .updates
            .iter()
            .map(|update| object([("leaf", update.leaf.to_string()), ("after", numbers(&update.after))])),
    );
    object([
        ("loss", number(trace.loss, DType::F32)),
        ("groups", groups),
        ("leaves", leaves),
        ("operations", operations),
        ("moments", moments),
        ("updates", updates),
    ])
}

fn origin_text(origin: &Origin) -> String {
    match origin {
        Origin::Leaf(leaf) => format!("[\"leaf\",{leaf}]"),
        Origin::Operation { operation, result } => format!("[\"operation\",{operation},{result}]"),
    }
}

/// Sizes and element type; then all numbers, or a summary and a map of signed shades in two hexadecimal digits a cell.
fn numbers(value: &Value) -> String {
    let shown = Numbers::of(value);
    let dims = list(shown.dims.iter().map(usize::to_string));
    let dtype = text(&shown.dtype.to_string());
    if let Some(all) = &shown.all {
        let all = list(all.iter().map(|x| number(*x, shown.dtype)));
        return object([("dims", dims), ("dtype", dtype), ("all", all)]);
    }
    let figure = |x: f64| number(x, DType::F32);
    let mut fields = vec![
        ("dims", dims),
        ("dtype", dtype),
        ("least", figure(shown.least)),
        ("greatest", figure(shown.greatest)),
        ("mean", figure(shown.mean)),
        ("deviation", figure(shown.deviation)),
        ("norm", figure(shown.norm)),
        ("zeros", shown.zeros.to_string()),
        ("notFinite", shown.not_finite.to_string()),
    ];
    if let Some(map) = &shown.map {
        let largest = map.cells.iter().fold(0.0f64, |largest, cell| largest.max(cell.abs()));
        let shade = |cell: &f64| if largest > 0.0 { (cell / largest * 127.0).round() as i32 + 128 } else { 128 };
        let cells: String = map.cells.iter().map(|cell| format!("{:02x}", shade(cell))).collect();
        fields.push(("columns", map.columns.to_string()));
        fields.push(("largest", figure(largest)));
        fields.push(("cells", text(&cells)));
    }
    object(fields)
}

/// A number in as few digits as tell it from its neighbours of the same type; JSON has no NaN and no infinity.
fn number(x: f64, dtype: DType) -> String {
    match dtype {
        _ if !x.is_finite() => format!("\"{x}\""),
        DType::F64 => format!("{x}"),
        _ if x.fract() == 0.0 && x.abs() < 1e15 => format!("{x}"),
        _ => format!("{}", x as f32),
    }
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

fn optional(value: Option<String>) -> String {
    value.map_or("null".to_string(), |value| text(&value))
}

/// A text in quotes. `<` is written as a number, so that no text can end the script that holds it.
fn text(value: &str) -> String {
    crate::io::json_text(value).replace('<', "\\u003c")
}
