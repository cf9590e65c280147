//! A trace as a drawing: every operation a box, what it computed going right, the gradient that came back below it.

use super::drawing::{Anchor, BLUE, Drawing, ORANGE, number};
use chainrule::explain::{At, Origin, Trace};
use chainrule::{DType, Result, Tensor, Value};
use std::collections::BTreeMap;

/// A box: where it stands, in columns and rows.
struct Node {
    title: String,
    value: String,
    gradient: Option<String>,
    column: usize,
    row: usize,
    learnt: bool,
}

const BOX: (f64, f64) = (112.0, 58.0);
const GAP: (f64, f64) = (44.0, 18.0);

/// The graph of a small trace. A box says what it is, its number, and the gradient that arrived at it.
pub(crate) fn graph(title: &str, trace: &Trace) -> Result<String> {
    let (mut operations, mut leaves) = (BTreeMap::new(), BTreeMap::new());
    for moment in trace.moments() {
        let arrived = moment.arrived().first().cloned().flatten();
        match moment.at() {
            At::Operation(at) => operations.insert(at, arrived),
            At::Leaf(at) => leaves.insert(at, arrived),
        };
    }
    let mut columns = Vec::new();
    let mut nodes = Vec::new();
    for (at, operation) in trace.operations().iter().enumerate() {
        let before = |origin: &Origin| match origin {
            Origin::Operation { operation, .. } => columns[*operation] + 1,
            Origin::Leaf(_) => 1,
        };
        columns.push(operation.operands().iter().map(before).max().unwrap_or(0));
        nodes.push(Node {
            title: operation.label().map_or(operation.name().to_string(), str::to_string),
            value: operation.step().outputs().first().map(brief).transpose()?.unwrap_or_default(),
            gradient: gradient(operations.get(&at))?,
            column: columns[at],
            row: 0,
            learnt: false,
        });
    }
    let first_use = |leaf: usize| {
        let uses = |at: &usize| trace.operations()[*at].operands().contains(&Origin::Leaf(leaf));
        (0..trace.operations().len()).find(uses).map_or(0, |at| columns[at].saturating_sub(1))
    };
    for (at, leaf) in trace.leaves().iter().enumerate() {
        nodes.push(Node {
            title: leaf.name().to_string(),
            value: brief(leaf.value())?,
            gradient: gradient(leaves.get(&at))?,
            column: first_use(at),
            row: 0,
            learnt: leaves.contains_key(&at),
        });
    }
    let mut filled = BTreeMap::new();
    for node in &mut nodes {
        let row: &mut usize = filled.entry(node.column).or_default();
        node.row = *row;
        *row += 1;
    }
    let (across, down) = (filled.len() as f64, filled.values().max().copied().unwrap_or(0) as f64);
    let width = 40.0 + across * BOX.0 + (across - 1.0) * GAP.0;
    let mut drawing = Drawing::new(width.max(300.0), 64.0 + down * (BOX.1 + GAP.1));
    drawing.title(title);
    let corner = |node: &Node| (20.0 + node.column as f64 * (BOX.0 + GAP.0), 42.0 + node.row as f64 * (BOX.1 + GAP.1));
    for (at, operation) in trace.operations().iter().enumerate() {
        for origin in operation.operands() {
            let from = match origin {
                Origin::Operation { operation, .. } => *operation,
                Origin::Leaf(leaf) => trace.operations().len() + leaf,
            };
            let (from, to) = (corner(&nodes[from]), corner(&nodes[at]));
            drawing.arrow((from.0 + BOX.0, from.1 + BOX.1 / 2.0), (to.0 - 2.0, to.1 + BOX.1 / 2.0), "#8c959f");
        }
    }
    for node in &nodes {
        let (x, y) = corner(node);
        drawing.frame((x, y), BOX, if node.learnt { BLUE } else { "#8c959f" });
        let middle = x + BOX.0 / 2.0;
        drawing.text((middle, y + 17.0), 12.5, Anchor::Middle, &node.title);
        drawing.coloured((middle, y + 33.0), 12.0, Anchor::Middle, BLUE, &node.value);
        if let Some(gradient) = &node.gradient {
            drawing.coloured((middle, y + 49.0), 12.0, Anchor::Middle, ORANGE, gradient);
        }
    }
    Ok(drawing.svg())
}

fn gradient(arrived: Option<&Option<Value>>) -> Result<Option<String>> {
    arrived.and_then(Option::as_ref).map(|value| Ok(format!("← {}", brief(value)?))).transpose()
}

/// The number, or the sizes of many.
fn brief(value: &Value) -> Result<String> {
    if value.dims().iter().product::<usize>() > 1 {
        return Ok(format!("{:?}", value.dims()));
    }
    let numbers = Tensor::from_value(value.clone()).to_dtype(DType::F64).to_vec::<f64>()?;
    Ok(numbers.first().copied().map(number).unwrap_or_default())
}
