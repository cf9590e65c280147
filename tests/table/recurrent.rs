//! Rows of the family `recurrent`.

use super::*;
use chainrule::Recurrence;

/// The weights that follow in the operands from `at` on: two weights, two biases, and a projection where there is one more.
fn weights(x: &[Tensor], at: usize) -> Recurrence {
    let weights = Recurrence::new(&x[at], &x[at + 1]);
    let weights = if x.len() > at + 3 { weights.biases(&x[at + 2], &x[at + 3]) } else { weights };
    if x.len() > at + 4 { weights.projection(&x[at + 4]) } else { weights }
}

fn dense(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let product = x.matmul(&weight.transpose(0, 1));
    match bias {
        Some(bias) => product + bias,
        None => product,
    }
}

/// A layer as its formulas stand in books: every step a line or two, states `hidden` and `cell`.
fn plain(kind: &str, x: &[Tensor], reversed: bool, lengths: Option<&[usize]>) -> Vec<Tensor> {
    let at = if kind == "lstm" { 3 } else { 2 };
    let (steps, batch) = (x[0].size(0).unwrap_or(0), x[0].size(1).unwrap_or(0));
    let (mut hidden, mut cell) = (x[1].clone(), x[2].clone());
    let dtype = x[0].dtype().unwrap_or(DType::F64);
    let mut outputs = vec![Tensor::zeros([0]); steps];
    let mut order: Vec<usize> = (0..steps).collect();
    if reversed {
        order.reverse();
    }
    for step in order {
        let a = dense(&x[0].select(0, step), &x[at], x.get(at + 2));
        let b = dense(&hidden, &x[at + 1], x.get(at + 3));
        let gate = |of: &Tensor, which: usize, count: usize| {
            let size = of.size(1).unwrap_or(0) / count;
            of.narrow(1, which * size, size)
        };
        let mut new_cell = cell.clone();
        let mut new = match kind {
            "lstm" => {
                let sum = a + b;
                new_cell = gate(&sum, 1, 4).sigmoid() * &cell + gate(&sum, 0, 4).sigmoid() * gate(&sum, 2, 4).tanh();
                gate(&sum, 3, 4).sigmoid() * new_cell.tanh()
            }
            "gru" => {
                let reset = (gate(&a, 0, 3) + gate(&b, 0, 3)).sigmoid();
                let update = (gate(&a, 1, 3) + gate(&b, 1, 3)).sigmoid();
                let new = (gate(&a, 2, 3) + reset * gate(&b, 2, 3)).tanh();
                (1.0 - &update) * new + update * &hidden
            }
            "rnn_relu" => (a + b).relu(),
            _ => (a + b).tanh(),
        };
        if let Some(projection) = x.get(at + 4) {
            new = dense(&new, projection, None);
        }
        let awake: Vec<f64> =
            (0..batch).map(|i| lengths.is_none_or(|lengths| lengths[i] > step) as u8 as f64).collect();
        let awake = Tensor::from_vec(awake, [batch, 1]).unwrap_or_else(Tensor::failed).to_dtype(dtype);
        outputs[step] = &new * &awake;
        hidden = &new * &awake + &hidden * (1.0 - &awake);
        cell = &new_cell * &awake + &cell * (1.0 - &awake);
    }
    let mut results = vec![Tensor::stack(&outputs, 0), hidden];
    if kind == "lstm" {
        results.push(cell);
    }
    results
}

/// A row of one kind of layer, with its definition, on sizes that find every path.
fn layer(name: &'static str, kind: &'static str, reversed: bool, lengths: Option<&'static [usize]>) -> Row {
    let batch = lengths.map_or(2, <[usize]>::len);
    let gates = match kind {
        "lstm" => 4,
        "gru" => 3,
        _ => 1,
    };
    let call = move |x: &[Tensor]| -> Vec<Tensor> {
        let at = if kind == "lstm" { 3 } else { 2 };
        let mut weights = weights(x, at).reversed(reversed);
        if let Some(lengths) = lengths {
            weights = weights.lengths(lengths);
        }
        match kind {
            "lstm" => x[0].lstm(&x[1], &x[2], &weights).into(),
            "gru" => x[0].gru(&x[1], &weights).into(),
            "rnn_relu" => x[0].rnn_relu(&x[1], &weights).into(),
            _ => x[0].rnn_tanh(&x[1], &weights).into(),
        }
    };
    let operands = move |steps: usize, batch: usize, input: usize, hidden: usize, biases: bool| {
        let mut all = vec![real([steps, batch, input]), real([batch, hidden])];
        if kind == "lstm" {
            all.push(real([batch, hidden]));
        }
        let small = |shape: [usize; 2]| real(shape).between(-0.8, 0.8);
        all.extend([small([gates * hidden, input]), small([gates * hidden, hidden])]);
        if biases {
            all.extend([real([gates * hidden]), real([gates * hidden])]);
        }
        all
    };
    let row = row(name, call)
        .definition(move |x| plain(kind, x, reversed, lengths))
        .on(operands(3, batch, 3, 2, true))
        .on(operands(3, batch, 1, 3, false));
    if lengths.is_some() {
        return row;
    }
    // One step, one sequence; more sequences than a block and more numbers than lanes. More numbers than one block keeps for all steps; more
    // sequences than one launch takes for a step.
    let row = row.on(operands(1, 1, 2, 1, true)).on(operands(2, 19, 2, 17, true));
    row.large(WIDE, operands(2, 3, 2, 65, true)).large(&[DType::F32], operands(1, 129, 1, 65, true))
}

/// Operands of `rnn_relu` that stay away from the kink.
fn relu(steps: usize, batch: usize, hidden: usize) -> [Input; 6] {
    let small = |shape: [usize; 2]| real(shape).between(0.0, 0.03);
    let bias = || real([hidden]).positive();
    [
        real([steps, batch, 2]).positive(),
        real([batch, hidden]).positive(),
        small([hidden, 2]),
        small([hidden, hidden]),
        bias(),
        bias(),
    ]
}

pub fn rows() -> Vec<Row> {
    const LENGTHS: &[usize] = &[2, 3, 0, 1];
    let zeros = |sizes: [usize; 2]| Tensor::zeros(sizes);
    let x = || Tensor::zeros([4, 2, 3]);
    let gru = move || Recurrence::new(&zeros([15, 3]), &zeros([15, 5]));
    let lstm = move || Recurrence::new(&zeros([20, 3]), &zeros([20, 5]));
    vec![
        layer("lstm", "lstm", false, None)
            .wrong(ErrorKind::Shape, &["an input has 3 numbers, the weight takes 4"], move || {
                x().lstm(&zeros([2, 5]), &zeros([2, 5]), &Recurrence::new(&zeros([20, 4]), &zeros([20, 5])))
            })
            .wrong(ErrorKind::Shape, &["the weights have 20 and 16 rows"], move || {
                x().lstm(&zeros([2, 5]), &zeros([2, 5]), &Recurrence::new(&zeros([20, 3]), &zeros([16, 5])))
            })
            .wrong(ErrorKind::Shape, &["takes 4 numbers, the hidden size is 5"], move || {
                x().lstm(&zeros([2, 5]), &zeros([2, 5]), &Recurrence::new(&zeros([20, 3]), &zeros([20, 4])))
            })
            .wrong(ErrorKind::Shape, &["the cell at the beginning has shape [1, 5], not [2, 5]"], move || {
                x().lstm(&zeros([2, 5]), &zeros([1, 5]), &lstm())
            })
            .wrong(ErrorKind::Shape, &["the input has 2 axes", "[steps, batch, numbers]"], move || {
                zeros([2, 3]).lstm(&zeros([2, 5]), &zeros([2, 5]), &lstm())
            })
            .wrong(ErrorKind::Shape, &["the projection [3, 3] does not fit a hidden size of 5"], move || {
                let weights = Recurrence::new(&zeros([20, 3]), &zeros([20, 3])).projection(&zeros([3, 3]));
                x().lstm(&zeros([2, 3]), &zeros([2, 5]), &weights)
            })
            .wrong(ErrorKind::DType, &["a recurrent layer over i64"], move || {
                let whole = |sizes: [usize; 2]| zeros(sizes).to_dtype(DType::I64);
                let weights = Recurrence::new(&whole([20, 3]), &whole([20, 5]));
                x().to_dtype(DType::I64).lstm(&whole([2, 5]), &whole([2, 5]), &weights)
            }),
        layer("lstm reversed", "lstm", true, None),
        layer("lstm of lengths", "lstm", false, Some(LENGTHS)),
        layer("lstm reversed of lengths", "lstm", true, Some(LENGTHS)),
        row("lstm projected", |x| x[0].lstm(&x[1], &x[2], &weights(x, 3).reversed(true).lengths(LENGTHS)))
            .on([
                real([3, 4, 3]),
                real([4, 2]),
                real([4, 3]),
                real([12, 3]),
                real([12, 2]),
                real([12]),
                real([12]),
                real([2, 3]),
            ])
            .definition(|x| plain("lstm", x, true, Some(LENGTHS))),
        layer("gru", "gru", false, None)
            .wrong(ErrorKind::Shape, &["the weights have 16 and 16 rows", "3 times"], move || {
                x().gru(&zeros([2, 5]), &Recurrence::new(&zeros([16, 3]), &zeros([16, 5])))
            })
            .wrong(ErrorKind::Shape, &["the hidden state at the beginning has shape [2, 4]"], move || {
                x().gru(&zeros([2, 4]), &gru())
            })
            .wrong(ErrorKind::Shape, &["a bias has shape [5]", "[15]"], move || {
                x().gru(&zeros([2, 5]), &gru().biases(&Tensor::zeros([15]), &Tensor::zeros([5])))
            })
            .wrong(ErrorKind::Value, &["a projection without an LSTM"], move || {
                x().gru(&zeros([2, 5]), &gru().projection(&zeros([5, 5])))
            })
            .wrong(ErrorKind::DType, &["the hidden is f64, the input f32"], move || {
                x().gru(&zeros([2, 5]).to_dtype(DType::F64), &gru())
            }),
        layer("gru reversed", "gru", true, None),
        layer("gru of lengths", "gru", false, Some(LENGTHS)),
        layer("gru reversed of lengths", "gru", true, Some(LENGTHS)),
        layer("rnn_tanh", "rnn_tanh", false, None)
            .wrong(ErrorKind::Shape, &["the weights have shapes [3] and [5, 5]"], move || {
                x().rnn_tanh(&zeros([2, 5]), &Recurrence::new(&Tensor::zeros([3]), &zeros([5, 5])))
            })
            .wrong(ErrorKind::Shape, &["there are 1 lengths and 2 sequences"], move || {
                x().rnn_tanh(&zeros([2, 5]), &Recurrence::new(&zeros([5, 3]), &zeros([5, 5])).lengths(&[1]))
            })
            .wrong(ErrorKind::Value, &["a sequence has length 5, the input 4 steps"], move || {
                x().rnn_tanh(&zeros([2, 5]), &Recurrence::new(&zeros([5, 3]), &zeros([5, 5])).lengths(&[1, 5]))
            }),
        layer("rnn_tanh reversed of lengths", "rnn_tanh", true, Some(LENGTHS)),
        // Sums stay away from the kink: inputs, states and weights of one sign.
        row("rnn_relu", |x| x[0].rnn_relu(&x[1], &weights(x, 2)))
            .on([
                real([3, 2, 3]).positive(),
                real([2, 2]).positive(),
                real([2, 3]).positive(),
                real([2, 2]).positive(),
                real([2]).positive(),
                real([2]).positive(),
            ])
            .on([
                real([2, 2, 1]).between(-3.0, -2.0),
                real([2, 1]).between(-3.0, -2.0),
                real([1, 1]).positive(),
                real([1, 1]).positive(),
            ])
            .large(WIDE, relu(2, 3, 65))
            .large(&[DType::F32], relu(1, 129, 65))
            .definition(|x| plain("rnn_relu", x, false, None)),
        // Nothing to run through: the states stay.
        row("lstm of no steps", |x| x[0].lstm(&x[1], &x[2], &weights(x, 3))).on([
            real([0, 2, 3]).constant(),
            real([2, 2]),
            real([2, 2]),
            real([8, 3]).constant(),
            real([8, 2]).constant(),
        ]),
        row("gru of no sequences", |x| x[0].gru(&x[1], &weights(x, 2))).on([
            real([3, 0, 2]),
            real([0, 2]),
            real([6, 2]),
            real([6, 2]),
            real([6]),
            real([6]),
        ]),
        row("lstm_cell", |x| x[0].lstm_cell(&x[1], &x[2], &weights(x, 3)))
            .on([real([2, 3]), real([2, 2]), real([2, 2]), real([8, 3]), real([8, 2]), real([8]), real([8])])
            .on([real([1, 3]), real([1, 20]), real([1, 20]), real([80, 3]), real([80, 20])])
            .definition(|x| {
                let mut x = x.to_vec();
                x[0] = x[0].unsqueeze(0);
                plain("lstm", &x, false, None).split_off(1)
            })
            .wrong(ErrorKind::Shape, &["the input has 3 axes", "[batch, numbers]"], move || {
                x().lstm_cell(&zeros([2, 5]), &zeros([2, 5]), &lstm())
            }),
        row("gru_cell", |x| x[0].gru_cell(&x[1], &weights(x, 2)))
            .on([real([2, 3]), real([2, 2]), real([6, 3]), real([6, 2]), real([6]), real([6])])
            .definition(|x| {
                let mut x = x.to_vec();
                x[0] = x[0].unsqueeze(0);
                plain("gru", &x, false, None).split_off(1)
            }),
        row("rnn_tanh_cell", |x| x[0].rnn_tanh_cell(&x[1], &weights(x, 2)))
            .on([real([2, 3]), real([2, 2]), real([2, 3]), real([2, 2]), real([2]), real([2])])
            .definition(|x| {
                let mut x = x.to_vec();
                x[0] = x[0].unsqueeze(0);
                plain("rnn_tanh", &x, false, None).split_off(1)
            }),
        row("rnn_relu_cell", |x| x[0].rnn_relu_cell(&x[1], &weights(x, 2))).on([
            real([2, 3]).positive(),
            real([2, 2]).positive(),
            real([2, 3]).positive(),
            real([2, 2]).positive(),
        ]),
    ]
}
