//! Recurrent layers as a whole: PyTorch's names and numbers, sequences of several lengths, single steps, wrong calls.

#[path = "common/guard.rs"]
mod guard;
#[path = "reference/store.rs"]
mod store;

use chainrule::loss::cross_entropy;
use chainrule::nn::{
    Gru, GruCell, Init, Linear, Lstm, LstmCell, Module, RecurrentOptions, RecurrentOutput, Rnn, RnnCell, Sequence,
};
use chainrule::{DType, Parameter, Random, Result, Tensor, backward_all, evaluating, module};
use guard::{one_line, report};
use safetensors::SafeTensors;
use serde_json::Value;
use store::{Store, numbers};

fn normal<const N: usize>(sizes: [usize; N], seed: u64) -> Tensor {
    Tensor::normal(sizes, 0.0, 1.0, &mut Random::new(seed)).to_dtype(DType::F64)
}

fn init() -> Init {
    Init::new().seed(3).dtype(DType::F64)
}

fn near(got: &Tensor, wanted: &Tensor, tolerance: f64) -> bool {
    got.shape().ok() == wanted.shape().ok()
        && got.is_close(wanted, 0.0, tolerance).all().item().is_ok_and(|all| all == 1.0)
}

#[test]
fn names_and_sizes_are_those_of_a_state_dict() -> Result<()> {
    let layer = Lstm::options(5, 4).with_layers(2).with_bidirectional().with_projection(3).build(&mut init());
    let names: Vec<(String, Vec<usize>)> =
        layer.tensors()?.into_iter().map(|(name, x)| Ok((name, x.shape()?.to_vec()))).collect::<Result<_>>()?;
    let mut wanted = Vec::new();
    for (layer, inputs) in [(0, 5), (1, 6)] {
        for end in ["", "_reverse"] {
            for (name, sizes) in [
                ("weight_ih", vec![16, inputs]),
                ("weight_hh", vec![16, 3]),
                ("bias_ih", vec![16]),
                ("bias_hh", vec![16]),
                ("weight_hr", vec![3, 4]),
            ] {
                wanted.push((format!("{name}_l{layer}{end}"), sizes));
            }
        }
    }
    assert_eq!(names, wanted);
    let largest = layer.layers.0[0].forward.weight_hh.abs().max().item()?;
    assert!(largest <= 0.5 && largest > 0.3, "{largest}");
    let cell = GruCell::new(2, 3, &mut init()).without_bias();
    let names: Vec<String> = cell.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["weight_ih", "weight_hh"]);
    Ok(())
}

#[test]
fn a_sequence_in_a_padded_batch_is_the_sequence_alone() -> Result<()> {
    let layer = Lstm::options(3, 5).with_layers(2).with_bidirectional().build(&mut init());
    let (x, lengths) = (normal([6, 4, 3], 1), [4, 6, 1, 5]);
    let (hidden, cell) = (normal([4, 4, 5], 2), normal([4, 4, 5], 3));
    let all = layer.forward_with(&x, &Sequence::new().hidden(&hidden).cell(&cell).lengths(&lengths));
    for (which, &length) in lengths.iter().enumerate() {
        let one = |x: &Tensor| x.narrow(1, which, 1);
        let state = Sequence::new().hidden(&one(&hidden)).cell(&one(&cell));
        let alone = layer.forward_with(&one(&x).narrow(0, 0, length), &state);
        assert!(near(&one(&all.output).narrow(0, 0, length), &alone.output, 1e-13), "sequence {which}");
        assert!(near(&one(&all.hidden), &alone.hidden, 1e-13), "the hidden state of {which}");
        assert!(near(&one(&all.cell), &alone.cell, 1e-13), "the cell of {which}");
        let rest = one(&all.output).narrow(0, length, 6 - length);
        assert_eq!(rest.abs().sum().item()?, 0.0);
    }
    Ok(())
}

#[test]
fn single_steps_make_the_sequence() -> Result<()> {
    let x = normal([4, 2, 3], 1);
    let steps = |mut step: Box<dyn FnMut(&Tensor) -> Tensor>| -> Tensor {
        Tensor::stack(&(0..4).map(|at| step(&x.select(0, at))).collect::<Vec<_>>(), 0)
    };
    let of = |tensors: Vec<(String, Tensor)>| -> Vec<(String, Tensor)> {
        tensors.into_iter().map(|(name, x)| (name.trim_end_matches("_l0").to_string(), x)).collect()
    };
    let zeros = || Tensor::zeros([2, 5]).to_dtype(DType::F64);

    let (layer, mut cell) = (Rnn::options(3, 5).with_relu().build(&mut init()), RnnCell::new(3, 5, &mut init()));
    cell = cell.with_relu();
    let _ = cell.load_tensors(of(layer.tensors()?)).strict()?;
    let mut hidden = zeros();
    let made = steps(Box::new(move |x| {
        hidden = cell.forward(x, &hidden);
        hidden.clone()
    }));
    assert!(near(&layer.forward(&x).output, &made, 1e-13));

    let (layer, mut cell) = (Gru::new(3, 5, &mut init()), GruCell::new(3, 5, &mut init()));
    let _ = cell.load_tensors(of(layer.tensors()?)).strict()?;
    let mut hidden = zeros();
    let made = steps(Box::new(move |x| {
        hidden = cell.forward(x, &hidden);
        hidden.clone()
    }));
    assert!(near(&layer.forward(&x).output, &made, 1e-13));

    let (layer, mut cell) = (Lstm::new(3, 5, &mut init()), LstmCell::new(3, 5, &mut init()));
    let _ = cell.load_tensors(of(layer.tensors()?)).strict()?;
    let mut state = [zeros(), zeros()];
    let made = steps(Box::new(move |x| {
        state = cell.forward(x, &state[0], &state[1]);
        state[0].clone()
    }));
    assert!(near(&layer.forward(&x).output, &made, 1e-13));
    Ok(())
}

#[test]
fn axes_lie_as_asked_for() -> Result<()> {
    let x = normal([4, 2, 3], 1);
    let layer = Gru::options(3, 5).with_bidirectional().build(&mut init());
    let first = Gru::options(3, 5).with_bidirectional().with_batch_first().build(&mut init());
    let (one, other) = (layer.forward(&x), first.forward(&x.transpose(0, 1)));
    assert!(near(&one.output, &other.output.transpose(0, 1), 0.0) && near(&one.hidden, &other.hidden, 0.0));
    let alone = layer.forward(&x.select(1, 1));
    assert!(near(&alone.output, &one.output.select(1, 1), 1e-13));
    assert!(near(&alone.hidden, &one.hidden.select(1, 1), 1e-13));
    let state = Sequence::new().hidden(&alone.hidden);
    assert_eq!(layer.forward_with(&x.select(1, 1), &state).hidden.dims()?, [2, 5]);
    Ok(())
}

#[test]
fn dropout_is_between_layers_and_in_training_only() -> Result<()> {
    let x = normal([4, 2, 3], 1);
    let build = |layers: usize, rate: f64| {
        Lstm::options(3, 5).with_layers(layers).with_dropout(rate).build(&mut init()).forward(&x).output
    };
    assert!(near(&build(1, 0.5), &build(1, 0.0), 0.0));
    assert!(!near(&build(2, 0.5), &build(2, 0.0), 1e-3));
    assert!(near(&evaluating(|| build(2, 0.5)), &build(2, 0.0), 0.0));
    let nothing = build(2, 1.0);
    assert_eq!(nothing.select(1, 0), nothing.select(1, 1)); // the second layer sees zeros
    let mut frozen = Lstm::options(3, 5).with_layers(2).with_dropout(0.5).build(&mut init());
    frozen.freeze();
    assert!(near(&frozen.forward(&x).output, &build(2, 0.0), 0.0));
    Ok(())
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let layer = Lstm::options(3, 5).with_layers(2).build(&mut Init::new());
    let x = Tensor::zeros([4, 2, 3]);
    let says = |failed: Tensor, words: &str| {
        let text = failed.error().map(ToString::to_string).unwrap_or_default();
        assert!(text.contains(words) && text.contains("recurrent.rs"), "{text:?} lacks {words:?} or the place");
    };
    says(layer.forward(&Tensor::zeros([4, 2, 7])).output, "an input has 7 numbers, the weight takes 3");
    says(layer.forward(&Tensor::zeros([4, 2, 7])).output, "weight_ih_l0");
    says(layer.forward(&Tensor::zeros([7])).cell, "the input has 1 axes");
    let state = Sequence::new().hidden(&Tensor::zeros([1, 2, 5]));
    says(layer.forward_with(&x, &state).hidden, "the hidden state has shape [1, 2, 5], not [2, 2, 5]");
    says(
        layer.forward_with(&x, &Sequence::new().lengths(&[4, 5])).output,
        "a sequence has length 5, the input 4 steps",
    );
    let layer = Gru::options(3, 5).with_layers(0).build(&mut Init::new());
    says(layer.forward(&x).output, "there is no layer");
    let layer = Gru::options(3, 5).with_dropout(-1.0).build(&mut Init::new());
    says(layer.forward(&x).output, "a dropout rate of -1");
}

/// What a case's module gives, all results of it; and its gradients by name.
type Run = (Vec<Tensor>, Vec<(String, Tensor)>);

fn options<L>(mut options: RecurrentOptions<L>, of: &Value) -> RecurrentOptions<L> {
    let flag = |name: &str, otherwise: bool| of[name].as_bool().unwrap_or(otherwise);
    options = options.with_layers(of["num_layers"].as_u64().unwrap_or(1) as usize);
    options = if flag("bidirectional", false) { options.with_bidirectional() } else { options };
    options = if flag("batch_first", false) { options.with_batch_first() } else { options };
    if flag("bias", true) { options } else { options.without_bias() }
}

fn run<M: Module>(
    mut model: M,
    parameters: Vec<(String, Tensor)>,
    forward: impl Fn(&M) -> Vec<Tensor>,
    ups: &[Tensor],
) -> Result<Run> {
    let _ = model.load_tensors(parameters).strict()?;
    let results = forward(&model);
    let roots: Vec<(&Tensor, &Tensor)> = results.iter().zip(ups).collect();
    let gradients = backward_all(&roots)?;
    let mut found = Vec::new();
    for (name, parameter) in model.parameters() {
        found.push((name, gradients.of(parameter)?.clone()));
    }
    Ok((results, found))
}

/// One case through the layer of its name; None for other groups.
fn through_layer(case: &Value, file: &SafeTensors<'_>) -> Option<Result<Run>> {
    if case["group"] != "rnn" {
        return None;
    }
    let of = &case["ctor"];
    let size = |name: &str| of[name].as_u64().unwrap_or(0) as usize;
    let (inputs, hidden) = (size("input_size"), size("hidden_size"));
    let name = case["name"].as_str()?;
    let tensor = |key: String| {
        let numbers = numbers(file, &key).unwrap_or_else(|said| panic!("{said}"));
        Tensor::from_slice(&numbers.values, &numbers.shape[..]).unwrap_or_else(Tensor::failed)
    };
    let (mut parameters, mut given) = (Vec::new(), Vec::new());
    for input in case["inputs"].as_array()? {
        let label = input["name"].as_str()?;
        let x = tensor(format!("{name}/in/{label}"));
        if input["as"] == "param" { parameters.push((label.to_string(), x)) } else { given.push(x) }
    }
    let ups: Vec<Tensor> = case["outputs"]
        .as_array()?
        .iter()
        .map(|o| tensor(format!("{name}/up/{}", o["name"].as_str().unwrap_or(""))))
        .collect();
    let x = given[0].clone();
    let mut state = Sequence::new();
    if let Some(hidden) = given.get(1) {
        state = state.hidden(hidden);
    }
    if let Some(cell) = given.get(2) {
        state = state.cell(cell);
    }
    let two = |after: RecurrentOutput| vec![after.output, after.hidden];
    let mut init = Init::empty().dtype(DType::F64);
    let biases = of["bias"].as_bool().unwrap_or(true);
    Some(match case["op"].as_str()? {
        "rnn" => {
            let options = options(Rnn::options(inputs, hidden), of);
            let options = if of["nonlinearity"] == "relu" { options.with_relu() } else { options };
            run(options.build(&mut init), parameters, |layer| two(layer.forward_with(&x, &state)), &ups)
        }
        "gru" => {
            let layer = options(Gru::options(inputs, hidden), of).build(&mut init);
            run(layer, parameters, |layer| two(layer.forward_with(&x, &state)), &ups)
        }
        "lstm" => {
            let mut options = options(Lstm::options(inputs, hidden), of);
            if size("proj_size") > 0 {
                options = options.with_projection(size("proj_size"));
            }
            let forward = |layer: &Lstm| {
                let after = layer.forward_with(&x, &state);
                vec![after.output, after.hidden, after.cell]
            };
            run(options.build(&mut init), parameters, forward, &ups)
        }
        "rnn_cell" => {
            let cell = RnnCell::new(inputs, hidden, &mut init);
            let cell = if biases { cell } else { cell.without_bias() };
            run(cell, parameters, |cell| vec![cell.forward(&x, &given[1])], &ups)
        }
        "gru_cell" => {
            let cell = GruCell::new(inputs, hidden, &mut init);
            let cell = if biases { cell } else { cell.without_bias() };
            run(cell, parameters, |cell| vec![cell.forward(&x, &given[1])], &ups)
        }
        "lstm_cell" => {
            let cell = LstmCell::new(inputs, hidden, &mut init);
            let cell = if biases { cell } else { cell.without_bias() };
            run(cell, parameters, |cell| cell.forward(&x, &given[1], &given[2]).into(), &ups)
        }
        _ => return None,
    })
}

#[test]
fn layers_equal_the_reference() {
    let Some(folder) = store::folder() else { return println!("reference cases: skipped: not here") };
    let store = Store::open(&folder);
    let mut lines = Vec::new();
    for case in store.manifest["cases"].as_array().expect("the manifest has cases") {
        let file = store.group(case["group"].as_str().unwrap_or_default());
        let name = case["name"].as_str().unwrap_or_default();
        let Some(outcome) = through_layer(case, &file) else { continue };
        let (results, gradients) = match outcome {
            Ok(run) => run,
            Err(error) => {
                lines.push(format!("{name}: {}", one_line(&error)));
                continue;
            }
        };
        let labels = case["outputs"].as_array().expect("a case has outputs").iter();
        let results = labels.map(|o| format!("out/{}", o["name"].as_str().unwrap_or_default())).zip(results);
        let gradients = gradients.into_iter().map(|(label, gradient)| (format!("grad/{label}"), gradient));
        for (label, got) in results.chain(gradients) {
            match numbers(&file, &format!("{name}/f64/{label}")) {
                Ok(wanted) => {
                    let size = wanted.values.iter().fold(1.0f64, |most, x| most.max(x.abs()));
                    let wanted = Tensor::from_slice(&wanted.values, &wanted.shape[..]).unwrap_or_else(Tensor::failed);
                    if !near(&got, &wanted, 1e-10 * size) {
                        lines.push(format!("{name}: {label} is {got}, should be {wanted}"));
                    }
                }
                Err(said) => lines.push(said),
            }
        }
    }
    report(lines);
}

/// Words, a recurrent layer, and a class from its last step.
#[derive(Clone, Debug)]
struct Classifier {
    embed: Words,
    lstm: Lstm,
    fc: Linear,
}
module!(Classifier { embed, lstm, fc });

#[derive(Clone, Debug)]
struct Words {
    weight: Parameter,
}
module!(Words { weight });

impl Classifier {
    fn forward(&self, words: &Tensor) -> Tensor {
        use chainrule::nn::Layer;
        self.fc.forward(&self.lstm.forward(&words.embedding(&self.embed.weight)).output.select(1, -1))
    }
}

#[test]
fn a_whole_model_starts_as_the_reference() -> Result<()> {
    let Some(folder) = store::folder().and_then(|cases| Some(cases.parent()?.join("models"))) else { return Ok(()) };
    let Ok(record) = std::fs::read(folder.join("lstm.json")) else {
        println!("the model lstm: skipped: not here");
        return Ok(());
    };
    let record: Value = serde_json::from_slice(&record).expect("the record is JSON");
    let size = |name: &str| record["arch"][name].as_u64().unwrap_or_else(|| panic!("no {name}")) as usize;
    let read =
        |what: &str| std::fs::read(folder.join(format!("lstm.{what}.safetensors"))).expect("a file of the model");
    let (start, batches, end) = (read("init"), read("batches"), read("final"));
    let open = |bytes| SafeTensors::deserialize(bytes).expect("a safetensors file");
    let (start, batches, end) = (open(&start[..]), open(&batches[..]), open(&end[..]));
    let tensor = |file: &SafeTensors<'_>, key: &str| {
        let numbers = numbers(file, key).unwrap_or_else(|said| panic!("{said}"));
        Tensor::from_slice(&numbers.values, &numbers.shape[..]).unwrap_or_else(Tensor::failed)
    };

    let mut init = Init::empty().dtype(DType::F64);
    let both = record["arch"]["bidirectional"] == true;
    let lstm = Lstm::options(size("dim"), size("hidden")).with_layers(size("layers"));
    let lstm = if both { lstm.with_bidirectional() } else { lstm };
    let lstm = lstm.with_batch_first().build(&mut init);
    let fc = Linear::new(size("hidden") * (1 + both as usize), size("classes"), &mut init);
    let weight = Parameter::new(Tensor::zeros([size("vocab"), size("dim")]).to_dtype(DType::F64));
    let mut model = Classifier { embed: Words { weight }, lstm, fc }.named();
    let _ =
        model.load_tensors(start.names().into_iter().map(|name| (name.to_string(), tensor(&start, name)))).strict()?;

    let output = model.forward(&tensor(&batches, "x.0").to_dtype(DType::I64));
    assert!(near(&output, &tensor(&end, "out0"), 1e-12), "{output}");
    let loss = cross_entropy(&output, &tensor(&batches, "y.0").to_dtype(DType::I64));
    let wanted = record["loss_f64"][0].as_f64().expect("a loss");
    assert!((loss.item()? - wanted).abs() < 1e-12, "{loss} instead of {wanted}");
    let gradients = loss.backward()?;
    for (name, parameter) in model.parameters() {
        assert!(
            near(gradients.of(parameter)?, &tensor(&end, &format!("grad0.{name}")), 1e-12),
            "the gradient of {name}"
        );
    }
    Ok(())
}
