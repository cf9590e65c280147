//! Recurrent layers in plain operations: one step after the other.

use super::operation::Recurs;
use crate::device::recurrent::Gates;
use crate::error::Result;
use crate::op::Tensors;
use crate::tensor::Tensor;

/// The results, step after step.
pub(super) fn defined(op: &Recurs, inputs: &[Tensor]) -> Tensors {
    steps(op, inputs).unwrap_or_else(|error| {
        let count = 1 + !op.single as usize + (op.gates == Gates::Lstm) as usize;
        (0..count).map(|_| Tensor::failed(error.clone())).collect()
    })
}

fn steps(op: &Recurs, inputs: &[Tensor]) -> Result<Tensors> {
    let places = op.places();
    let input = if op.single { inputs[0].unsqueeze(0) } else { inputs[0].clone() };
    let (mut hidden, mut cell) = (inputs[1].clone(), places.cell.map(|at| inputs[at].clone()));
    let product = |x: &Tensor, weight: usize, bias: usize| {
        let bias = places.biases.map(|at| &inputs[at[bias]]);
        x.linear(&inputs[weight], bias)
    };
    let steps = input.size(0)?;
    let mut outputs = Vec::with_capacity(steps);
    for at in 0..steps {
        let at = if op.reversed { steps - 1 - at } else { at };
        let from_input = product(&input.select(0, at), places.weight_input, 0);
        let from_hidden = product(&hidden, places.weight_hidden, 1);
        let (mut new, new_cell) = step(op.gates, &from_input, &from_hidden, &hidden, cell.as_ref());
        if let Some(at) = places.projection {
            new = new.linear(&inputs[at], None);
        }
        let output;
        match &op.lengths {
            Some(lengths) => {
                let awake: Vec<bool> = lengths.iter().map(|&length| length > at).collect();
                let awake = Tensor::from_vec(awake, [lengths.len(), 1])?.near(&hidden);
                output = awake.choose(&new, 0.0);
                hidden = awake.choose(&new, &hidden);
                cell = cell.zip(new_cell).map(|(cell, new)| awake.choose(&new, &cell));
            }
            None => (output, hidden, cell) = (new.clone(), new, new_cell),
        }
        outputs.push(output);
    }
    if op.reversed {
        outputs.reverse();
    }
    let mut results = Tensors::new();
    if !op.single {
        results.push(if steps == 0 { hidden.unsqueeze(0).narrow(0, 0, 0) } else { Tensor::stack(&outputs, 0) });
    }
    results.push(hidden);
    results.extend(cell);
    Ok(results)
}

/// Hidden state and cell after a step, from what input and hidden state give to the gates.
fn step(
    gates: Gates,
    input: &Tensor,
    from: &Tensor,
    hidden: &Tensor,
    cell: Option<&Tensor>,
) -> (Tensor, Option<Tensor>) {
    match (gates, cell) {
        (Gates::Lstm, Some(cell)) => {
            let [input, forget, candidate, output] = (input + from).parts(-1);
            let cell = forget.sigmoid() * cell + input.sigmoid() * candidate.tanh();
            (output.sigmoid() * cell.tanh(), Some(cell))
        }
        (Gates::Gru, _) => {
            let ([reset, update, new], [reset_too, update_too, inner]) = (input.parts(-1), from.parts(-1));
            let (reset, update) = ((reset + reset_too).sigmoid(), (update + update_too).sigmoid());
            let new = (new + reset * inner).tanh();
            (&new + update * (hidden - &new), None)
        }
        (Gates::Relu, _) => ((input + from).relu(), None),
        _ => ((input + from).tanh(), None),
    }
}
