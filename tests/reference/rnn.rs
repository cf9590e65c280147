//! Reference names of the family `rnn`: layers put together from single ones, in PyTorch's order.

use super::*;
use chainrule::Recurrence;

pub fn call(case: &Case) -> Option<Results> {
    Some(match case.op {
        "rnn" | "lstm" | "gru" => layers(case),
        "rnn_cell" | "gru_cell" | "lstm_cell" => cell(case),
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

/// One step; a single row is a batch of one, a state that is not given is zero.
fn cell(case: &Case) -> Results {
    let (alone, weights) = (case.x().rank().is_ok_and(|rank| rank == 1), weights(case, ""));
    let row = |x: &Tensor| if alone { x.unsqueeze(0) } else { x.clone() };
    let x = row(case.x());
    let hidden_size = case.constructor["hidden_size"].as_u64().unwrap_or(0) as usize;
    let batch = x.size(0).expect("an input has a batch");
    let state =
        |name: &str| case.named(name).map_or_else(|| Tensor::zeros([batch, hidden_size]).to_dtype(case.dtype), row);
    let hidden = state("h0");
    let results = match (case.op, case.constructor["nonlinearity"].as_str()) {
        ("lstm_cell", _) => list(x.lstm_cell(&hidden, &state("c0"), &weights)),
        ("gru_cell", _) => one(x.gru_cell(&hidden, &weights)),
        (_, Some("relu")) => one(x.rnn_relu_cell(&hidden, &weights)),
        _ => one(x.rnn_tanh_cell(&hidden, &weights)),
    };
    results.into_iter().map(|result| if alone { result.select(0, 0) } else { result }).collect()
}

/// Layers over a sequence; one without a batch is a batch of one.
fn layers(case: &Case) -> Results {
    let options = case.constructor;
    let number = |name: &str| options[name].as_u64().unwrap_or(0) as usize;
    let flag = |name: &str| options[name].as_bool().unwrap_or(false);
    let (count, directions) = (number("num_layers").max(1), 1 + flag("bidirectional") as usize);
    let alone = case.x().rank().is_ok_and(|rank| rank == 2);
    let mut x = match (alone, flag("batch_first")) {
        (true, _) => case.x().unsqueeze(1),
        (false, true) => case.x().transpose(0, 1),
        (false, false) => case.x().clone(),
    };
    let batch = x.size(1).expect("an input has a batch");
    let hidden_size = number("hidden_size");
    let state = |name: &str, size: usize, at: usize| match case.named(name) {
        Some(state) if alone => state.select(0, at).unsqueeze(0),
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
    let mut results = vec![x, Tensor::stack(&hiddens, 0)];
    if !cells.is_empty() {
        results.push(Tensor::stack(&cells, 0));
    }
    if alone {
        return results.iter().map(|result| result.select(1, 0)).collect();
    }
    if flag("batch_first") {
        results[0] = results[0].transpose(0, 1);
    }
    results
}
