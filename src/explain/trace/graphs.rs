//! A trace as a graph in the languages of Graphviz and Mermaid: modules as boxes, operations and leaves inside of them.

use super::text::brief;
use super::{LeafKind, Origin, Trace};
use std::fmt::Write;

/// How a graph's language writes its parts.
struct Language {
    open_group: fn(&mut String, usize, &str),
    close_group: &'static str,
    node: fn(&mut String, &str, &str, Shape),
    edge: fn(&mut String, &str, &str, &str),
}

#[derive(Clone, Copy)]
enum Shape {
    Operation,
    Learnt,
    Data,
}

pub(super) fn graphviz(trace: &Trace) -> String {
    let mut text =
        "digraph trace {\n  rankdir=TB;\n  node [fontname=\"sans-serif\", fontsize=10, shape=box, style=rounded];\n  \
                    edge [fontname=\"sans-serif\", fontsize=8];\n"
            .to_string();
    let language = Language {
        open_group: |text, number, name| {
            let _ = writeln!(text, "subgraph cluster_{number} {{ label=\"{}\"; color=\"#8c959f\";", quoted(name));
        },
        close_group: "}\n",
        node: |text, id, label, shape| {
            let shape = match shape {
                Shape::Operation => "",
                Shape::Learnt => ", shape=ellipse, style=filled, fillcolor=\"#cfe3f7\"",
                Shape::Data => ", shape=ellipse",
            };
            let _ = writeln!(text, "{id} [label=\"{}\"{shape}];", quoted(label).replace('\n', "\\n"));
        },
        edge: |text, from, to, label| {
            let _ = writeln!(text, "{from} -> {to} [label=\"{}\"];", quoted(label));
        },
    };
    write(trace, &mut text, &language);
    text + "}\n"
}

pub(super) fn mermaid(trace: &Trace) -> String {
    let mut text = "flowchart TB\n".to_string();
    let language = Language {
        open_group: |text, number, name| {
            let _ = writeln!(text, "subgraph g{number}[\"{}\"]", entities(name));
        },
        close_group: "end\n",
        node: |text, id, label, shape| {
            let label = entities(label).replace('\n', "<br/>");
            let _ = match shape {
                Shape::Operation => writeln!(text, "{id}[\"{label}\"]"),
                Shape::Learnt => writeln!(text, "{id}([\"{label}\"]):::learnt"),
                Shape::Data => writeln!(text, "{id}([\"{label}\"])"),
            };
        },
        edge: |text, from, to, label| {
            let _ = writeln!(text, "{from} -->|\"{}\"| {to}", entities(label));
        },
    };
    write(trace, &mut text, &language);
    text + "classDef learnt fill:#cfe3f7,stroke:#3b82c4,color:#1f2328\n"
}

fn write(trace: &Trace, text: &mut String, language: &Language) {
    for (number, leaf) in trace.leaves.iter().enumerate() {
        let shape = if leaf.kind == LeafKind::Learnt { Shape::Learnt } else { Shape::Data };
        (language.node)(text, &format!("l{number}"), &format!("{}\n{}", leaf.name, brief(&leaf.value)), shape);
    }
    group(trace, 0, text, language);
    for (number, operation) in trace.operations.iter().enumerate() {
        for origin in &operation.operands {
            let (from, value) = match origin {
                Origin::Leaf(leaf) => (format!("l{leaf}"), Some(&trace.leaves[*leaf].value)),
                Origin::Operation { operation, result } => {
                    (format!("o{operation}"), trace.operations[*operation].step.outputs().get(*result))
                }
            };
            let sizes = value.map(|value| format!("{:?}", value.dims())).unwrap_or_default();
            (language.edge)(text, &from, &format!("o{number}"), &sizes);
        }
    }
}

/// The operations of a group, and the groups inside of it.
fn group(trace: &Trace, here: usize, text: &mut String, language: &Language) {
    if here > 0 {
        (language.open_group)(text, here, &trace.groups[here].name);
    }
    for (number, operation) in trace.operations.iter().enumerate().filter(|(_, operation)| operation.group == here) {
        let name = operation.label().unwrap_or(operation.name());
        let result = operation.step.outputs().first().map(brief).unwrap_or_default();
        (language.node)(text, &format!("o{number}"), &format!("{name}\n{result}"), Shape::Operation);
    }
    for inner in (0..trace.groups.len()).filter(|group| trace.groups[*group].parent == Some(here)) {
        group(trace, inner, text, language);
    }
    if here > 0 {
        text.push_str(language.close_group);
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A text as Mermaid takes it between quotes.
fn entities(text: &str) -> String {
    text.replace('&', "#amp;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}
