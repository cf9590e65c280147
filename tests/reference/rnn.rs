//! Reference names of the family `rnn`: layers put together from single ones, in PyTorch's order.

use super::*;
use chainrule::Recurrence;

pub fn call(case: &Case) -> Option<Results> {
    Some(match case.op {
        "rnn" | "lstm" | "gru" => layers(case),
        "rnn_cell" => one(case.x().rnn_tanh_cell(case.y(), &weights(case, ""))),
        "gru_cell" => one(case.x().gru_cell(case.y(), &weights(case, ""))),
        "lstm_cell" => list(case.x().lstm_cell(case.y(), case.at(2), &weights(case, ""))),
        _ => return None,
    })
}

/// The weights whose names end so: `_l0_reverse`.
fn weights(case: &Case, end: &str) -> Recurrence {
    let named = |name: &str| case.named(&format!("{name}{end}"));
    let (Some(input), Some(hidden)) = (named("weight_ih"), named("weight_hh")) else {
        panic!("no weights {end:?} among the operands")
    };
    let weights = Recurrence::new(input, hidden);
    let weights = match (named("bias_ih"), named("bias_hh")) {
        (Some(input), Some(hidden)) => weights.biases(input, hidden),
        _ => weights,
    };
    match named("weight_hr") {
        Some(projection) => weights.projection(projection),
        None => weights,
    }
}

fn layers(case: &Case) -> Results {
    let options = case.constructor;
    let number = |name: &str| options[name].as_u64().unwrap_or(0) as usize;
    let flag = |name: &str| options[name].as_bool().unwrap_or(false);
    let (count, directions) = (number("num_layers").max(1), 1 + flag("bidirectional") as usize);
    let mut x = if flag("batch_first") { case.x().transpose(0, 1) } else { case.x().clone() };
    let batch = x.size(1).expect("an input has a batch");
    let hidden_size = number("hidden_size");
    let state = |name: &str, size: usize, at: usize| match case.named(name) {
        Some(state) => state.select(0, at),
        None => Tensor::zeros([batch, size]).to_dtype(case.dtype),
    };
    let size = if number("proj_size") > 0 { number("proj_size") } else { hidden_size };
    let (mut hiddens, mut cells) = (Vec::new(), Vec::new());
    for layer in 0..count {
        let mut outputs = Vec::new();
        for direction in 0..directions {
            let end = format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" });
            let weights = weights(case, &end).reversed(direction == 1);
            let at = layer * directions + direction;
            let hidden = state("h0", size, at);
            let [output, hidden] = match (case.op, options["nonlinearity"].as_str()) {
                ("lstm", _) => {
                    let [output, hidden, cell] = x.lstm(&hidden, &state("c0", hidden_size, at), &weights);
                    cells.push(cell);
                    [output, hidden]
                }
                ("gru", _) => x.gru(&hidden, &weights),
                (_, Some("relu")) => x.rnn_relu(&hidden, &weights),
                _ => x.rnn_tanh(&hidden, &weights),
            };
            outputs.push(output);
            hiddens.push(hidden);
        }
        x = Tensor::cat(&outputs, -1);
    }
    let mut results = vec![if flag("batch_first") { x.transpose(0, 1) } else { x }, Tensor::stack(&hiddens, 0)];
    if !cells.is_empty() {
        results.push(Tensor::stack(&cells, 0));
    }
    results
}
