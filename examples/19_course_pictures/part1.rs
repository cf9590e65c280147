//! Pictures of chapters 1 to 8: from tensors to recurrence.

use super::graph::graph;
use super::{Shown, sampled};
use chainrule::explain::chart::LineChart;
use chainrule::explain::trace;
use chainrule::{Result, Tensor};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("02_derivative", "slope", slope());
    add("03_chain_rule", "neuron", neuron()?);
    Ok(shown)
}

/// A square and its tangent.
fn slope() -> String {
    LineChart::new("A square, and the line that touches it at 1")
        .with_line("x²", sampled(-1.0, 3.0, 81, |x| x * x))
        .with_line("1 + 2 (x - 1)", sampled(-1.0, 3.0, 2, |x| 1.0 + 2.0 * (x - 1.0)))
        .picture()
        .svg()
}

/// One neuron: what goes forward, and what comes back.
fn neuron() -> Result<String> {
    let w = Tensor::new(0.7).variable().named("w");
    let b = Tensor::new(0.1).variable().named("b");
    let x = Tensor::new(0.5).named("x");
    let trace = trace(|| ((&w * &x + &b).tanh() - 0.8).square())?;
    graph("One neuron, there and back", &trace)
}
