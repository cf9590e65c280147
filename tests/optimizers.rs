//! What every optimizer promises: all or nothing, in place, by identity in memory and by name in files.

use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::optim::{
    Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Ema, Group, Lamb, Lbfgs, Lion, Muon, NAdam, Optimizer, RAdam,
    RmsProp, Setting, Sgd, Swa,
};
use chainrule::{
    DType, ErrorKind, Gradients, Parameter, Random, Result, Tensor, module, no_grad, shared_updates, threads,
};

#[derive(Clone, Debug)]
struct Mlp {
    hidden: Linear,
    output: Linear,
}
module!(Mlp { hidden, output });

impl Mlp {
    fn new(seed: u64) -> Mlp {
        let init = &mut Init::new().seed(seed);
        Mlp { hidden: Linear::new(3, 8, init), output: Linear::new(8, 2, init) }.named()
    }
    fn loss(&self, x: &Tensor) -> Tensor {
        self.output.forward(&self.hidden.forward(x).tanh()).square().mean()
    }
    fn gradients(&self, x: &Tensor) -> Gradients {
        self.loss(x).backward().expect("gradients")
    }
    fn bits(&self) -> Vec<u64> {
        let numbers = self.parameters().into_iter().map(|(_, p)| p.to_vec::<f64>().expect("numbers"));
        numbers.flatten().map(f64::to_bits).collect()
    }
}

/// A step of an optimizer for a model.
macro_rules! train {
    ($optimizer:expr, $model:ident, $x:expr) => {{
        let gradients = $model.gradients($x);
        $optimizer.step(&mut $model, &gradients)
    }};
}

fn data(seed: u64) -> Tensor {
    Tensor::normal([5, 3], 0.0, 1.0, &mut Random::new(seed))
}

/// Each with memory of its own kind.
fn optimizers() -> Vec<Box<dyn Optimizer>> {
    vec![
        Box::new(Sgd::new(0.1)),
        Box::new(Sgd::new(0.1).with_momentum(0.9).nesterov().with_weight_decay(0.01)),
        Box::new(Adam::new(0.01).amsgrad()),
        Box::new(AdamW::new(0.01).with_group(Group::matching("*.bias").with_rate(0.02).with_weight_decay(0.0))),
        Box::new(NAdam::new(0.01)),
        Box::new(RAdam::new(0.01)),
        Box::new(Adamax::new(0.01)),
        Box::new(RmsProp::new(0.01).centered().with_momentum(0.5)),
        Box::new(Adagrad::new(0.01).with_start(0.1)),
        Box::new(Adadelta::new(1.0)),
        Box::new(Lion::new(0.01)),
        Box::new(Lamb::new(0.01)),
        Box::new(Muon::new(0.01).with_adamw_on("output")),
        Box::new(Adafactor::new(0.01)),
    ]
}

#[test]
fn a_missing_gradient_changes_nothing_and_says_why() {
    for mut optimizer in optimizers() {
        let mut model = Mlp::new(1);
        let before = model.bits();
        let hidden = model.hidden.forward(&data(1)).detach();
        let gradients = model.output.forward(&hidden).sum().backward().unwrap();
        let error = optimizer.step(&mut model, &gradients).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gradient);
        assert_eq!(error.what(), "2 of 4 parameters have no gradient: hidden.weight, hidden.bias");
        let text = error.to_string();
        assert!(
            text.contains("cut by detach at tests/optimizers.rs") && text.contains("with_missing_allowed()"),
            "{text}"
        );
        assert!(error.location().file().ends_with("optimizers.rs"), "{text}");
        assert_eq!(model.bits(), before);
        let state = optimizer.state(&model).unwrap();
        let nothing = matches!(state.get("parameters").unwrap(), chainrule::State::Tree(tree) if tree.is_empty());
        assert!(nothing, "a refused step leaves no memory: {state:?}");
    }
}

#[test]
fn a_missing_gradient_can_be_meant() {
    let mut model = Mlp::new(1);
    let before = model.hidden.weight.to_vec::<f32>().unwrap();
    let x = data(1);
    let gradients = |model: &Mlp| {
        let hidden = no_grad(|| model.hidden.forward(&x));
        model.output.forward(&hidden).sum().backward().unwrap()
    };
    let partial = gradients(&model);
    Sgd::new(0.1).with_missing_allowed().step(&mut model, &partial).unwrap();
    assert_eq!(model.hidden.weight.to_vec::<f32>().unwrap(), before);
    model.hidden.freeze();
    let partial = gradients(&model);
    Sgd::new(0.1).step(&mut model, &partial).expect("what is frozen needs no gradient");
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_changes() {
    let mut model = Mlp::new(1);
    let (before, gradients) = (model.bits(), model.gradients(&data(1)));
    let wrong: Vec<(Box<dyn Optimizer>, &str)> = vec![
        (Box::new(Sgd::new(f64::NAN)), "rate is NaN"),
        (Box::new(Sgd::new(-0.1)), "rate is -0.1"),
        (Box::new(Sgd::new(0.1).nesterov()), "Nesterov"),
        (Box::new(Adam::new(0.1).with_betas(0.9, 1.5)), "beta2 is 1.5"),
        (Box::new(AdamW::new(f64::INFINITY)), "rate is inf"),
        (Box::new(Sgd::new(0.1).with_group(Group::matching("*").with_rate(-1.0))), "group \"*\": rate is -1"),
        (
            Box::new(Sgd::new(0.1).with_group(Group::matching("*").with_epsilon(1.0))),
            "sets epsilon, which there is not",
        ),
        (Box::new(Sgd::new(0.1).with_group(Group::matching("*.biass"))), "\"*.biass\" matches no parameter"),
    ];
    for (mut optimizer, text) in wrong {
        let error = optimizer.step(&mut model, &gradients).unwrap_err();
        assert!(error.what().contains(text), "{error}");
        assert_eq!(model.bits(), before);
    }
}

#[test]
fn a_failed_gradient_is_refused_with_its_error() {
    let mut model = Mlp::new(1);
    let before = model.bits();
    let bad = model.hidden.weight.on_gradient(|gradient| gradient + Tensor::zeros([7]));
    let hidden = data(1).linear(&bad, model.hidden.bias.as_deref());
    let outcome = model.output.forward(&hidden).sum().backward();
    let error = match outcome {
        Ok(gradients) => Sgd::new(0.1).step(&mut model, &gradients).unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert_eq!(model.bits(), before);
}

#[test]
fn one_optimizer_serves_two_models() -> Result<()> {
    for (mut shared, (mut first, mut second)) in
        optimizers().into_iter().zip(optimizers().into_iter().zip(optimizers()))
    {
        let (mut a, mut b) = (Mlp::new(1), Mlp::new(2));
        let (mut alone_a, mut alone_b) = (a.clone(), b.clone());
        for round in 0..4 {
            let x = data(round);
            train!(shared, a, &x)?;
            train!(shared, b, &x)?;
            train!(first, alone_a, &x)?;
            train!(second, alone_b, &x)?;
        }
        assert_eq!((a.bits(), b.bits()), (alone_a.bits(), alone_b.bits()));
    }
    Ok(())
}

#[test]
fn a_clone_starts_without_memory() -> Result<()> {
    let x = data(3);
    let mut optimizer = Adam::new(0.01);
    let mut model = Mlp::new(1);
    train!(optimizer, model, &x)?;
    let (mut copy, mut fresh) = (model.clone(), model.clone());
    train!(optimizer, copy, &x)?;
    train!(Adam::new(0.01), fresh, &x)?;
    train!(optimizer, model, &x)?;
    assert_eq!(copy.bits(), fresh.bits());
    assert_ne!(copy.bits(), model.bits(), "the model itself has its memory");
    Ok(())
}

#[test]
fn tied_weights_take_one_step_by_the_sum_of_their_gradients() -> Result<()> {
    let mut table = Parameter::new(Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
    let x = Tensor::from([[1.0, -1.0]]);
    let loss = (x.matmul(&table).matmul(&table.t())).sum();
    let gradient = loss.keep_graph().gradients_of(&[&table])?[0].to_vec::<f64>()?;
    let before = table.to_vec::<f64>()?;
    Sgd::new(0.5).step(&mut table, &loss.backward()?)?;
    let expected: Vec<f64> = before.iter().zip(&gradient).map(|(p, g)| p - 0.5 * g).collect();
    assert_eq!(table.to_vec::<f64>()?, expected);
    Ok(())
}

#[test]
fn groups_have_their_own_settings_and_the_last_decides() -> Result<()> {
    let mut model = Mlp::new(1);
    let x = data(1);
    let before: Vec<Vec<f64>> = model.parameters().iter().map(|(_, p)| p.to_vec::<f64>().unwrap()).collect();
    let gradients = model.gradients(&x);
    let slopes: Vec<Vec<f64>> =
        model.parameters().iter().map(|(_, p)| gradients.of(p).unwrap().to_vec::<f64>().unwrap()).collect();
    let mut optimizer = Sgd::new(0.5)
        .with_group(Group::matching("hidden").with_rate(0.25))
        .with_group(Group::matching("*.bias").with_rate(0.0))
        .with_group(Group::matching("output.bias").with(Setting::Rate, 1.0));
    optimizer.step(&mut model, &gradients)?;
    for (at, (rate, (_, parameter))) in [0.25, 0.0, 0.5, 1.0].into_iter().zip(model.parameters()).enumerate() {
        for (i, after) in parameter.to_vec::<f64>()?.into_iter().enumerate() {
            assert!((after - (before[at][i] - rate * slopes[at][i])).abs() < 1e-6, "parameter {at}");
        }
    }
    assert_eq!(optimizer.rates(), [0.5, 0.25, 0.0, 1.0]);
    optimizer.set_rate(0.1);
    assert_eq!(optimizer.rates(), [0.1, 0.25, 0.0, 1.0]);
    Ok(())
}

/// What is on or off in a group alone is what an optimizer does that has it on everywhere, there and nowhere else.
#[test]
fn switches_are_those_of_a_group() -> Result<()> {
    let on = |pattern: &str, setting| Group::matching(pattern).with_switch(setting, true);
    let (adam, sgd) = (|| Adam::new(0.1).with_betas(0.9, 0.5), || Sgd::new(0.1).with_momentum(0.9));
    let rms = || RmsProp::new(0.1);
    let cases: [[Box<dyn Optimizer>; 3]; 3] = [
        [Box::new(adam().with_group(on("hidden", Setting::AmsGrad))), Box::new(adam().amsgrad()), Box::new(adam())],
        [Box::new(sgd().with_group(on("hidden", Setting::Nesterov))), Box::new(sgd().nesterov()), Box::new(sgd())],
        [Box::new(rms().with_group(on("hidden", Setting::Centered))), Box::new(rms().centered()), Box::new(rms())],
    ];
    for [mut mixed, mut everywhere, mut nowhere] in cases {
        // The same gradients for all, which shrink, so that the greatest square is not the last.
        let start = Mlp::new(3);
        let [mut model, mut with, mut without] = [start.clone(), start.clone(), start.clone()];
        for round in 0..5 {
            let x = data(round) / (round as f64 + 1.0);
            for (model, optimizer) in
                [(&mut model, &mut mixed), (&mut with, &mut everywhere), (&mut without, &mut nowhere)]
            {
                let gradients = model.gradients(&x);
                optimizer.step(model, &gradients)?;
            }
            if round == 0 {
                assert_eq!(model.output.weight.to_vec::<f64>()?, without.output.weight.to_vec::<f64>()?);
                assert_eq!(model.hidden.weight.to_vec::<f64>()?, with.hidden.weight.to_vec::<f64>()?);
            }
        }
        assert_ne!(model.bits(), with.bits());
        assert_ne!(model.bits(), without.bits());
    }
    let mut half = Adam::new(0.1).with_group(Group::matching("hidden").with(Setting::AmsGrad, 0.5));
    let mut model = Mlp::new(3);
    let error = train!(half, model, &data(1)).expect_err("half on");
    assert!(error.to_string().contains("0 (off) or 1 (on)"), "{error}");
    Ok(())
}

#[test]
fn what_belongs_to_other_models_is_forgotten() -> Result<()> {
    let mut optimizer = Adam::new(0.1);
    let (mut first, mut second, x) = (Mlp::new(1), Mlp::new(2), data(3));
    train!(optimizer, first, &x)?;
    train!(optimizer, second, &x)?;
    let before = format!("{:?}", optimizer.state(&second)?);
    optimizer.keep_only(&second);
    assert_eq!(format!("{:?}", optimizer.state(&second)?), before);
    // What begins anew takes a first step again.
    let (mut again, mut fresh) = (first.clone(), Adam::new(0.1));
    train!(optimizer, first, &x)?;
    train!(fresh, again, &x)?;
    assert_eq!(first.bits(), again.bits());
    Ok(())
}

#[test]
fn a_saved_state_goes_on_to_the_same_bytes() -> Result<()> {
    for (mut optimizer, mut other) in optimizers().into_iter().zip(optimizers()) {
        let mut model = Mlp::new(1);
        for round in 0..3 {
            train!(optimizer, model, &data(round))?;
        }
        optimizer.set_rate(0.03);
        let state = optimizer.state(&model)?;
        let mut copy = Mlp::new(9);
        assert_eq!(copy.load_tensors(model.tensors()?).strict()?.matched().len(), 4);
        other.load_state(&copy, &state)?;
        assert_eq!(other.rates(), optimizer.rates());
        for round in 3..6 {
            train!(optimizer, model, &data(round))?;
            train!(other, copy, &data(round))?;
        }
        assert_eq!(model.bits(), copy.bits());
        // the state itself has not changed with the optimizer that it was taken from or given to
        let mut third = Mlp::new(1);
        for round in 0..3 {
            let mut fresh = optimizers().remove(0);
            train!(fresh, third, &data(round))?;
        }
        other.load_state(&third, &state)?;
        assert_eq!(format!("{:?}", other.state(&third)?), format!("{state:?}"));
    }
    Ok(())
}

#[test]
fn a_state_of_something_else_is_refused_and_changes_nothing() -> Result<()> {
    let mut model = Mlp::new(1);
    let mut optimizer = Adam::new(0.01);
    train!(optimizer, model, &data(0))?;
    let state = optimizer.state(&model)?;
    let kept = format!("{:?}", optimizer.state(&model)?);
    let refused = |outcome: Result<()>, text: &str| {
        let error = outcome.expect_err(text);
        assert!(error.what().contains(text), "{error}");
    };
    refused(Sgd::new(0.1).load_state(&model, &state), "of adam, this is sgd");
    refused(Adam::new(0.1).amsgrad().load_state(&model, &state), "greatest");
    refused(Adam::new(0.1).with_group(Group::matching("*")).load_state(&model, &state), "0 groups");
    let smaller = Linear::new(3, 8, &mut Init::new());
    refused(optimizer.load_state(&smaller, &state), "hidden.bias");
    let init = &mut Init::new();
    let wider = Mlp { hidden: Linear::new(3, 9, init), output: Linear::new(9, 2, init) }.named();
    refused(optimizer.load_state(&wider, &state), "[9, 3]");
    assert_eq!(format!("{:?}", optimizer.state(&model)?), kept);
    Ok(())
}

#[test]
fn steps_are_taken_in_place() -> Result<()> {
    for mut optimizer in optimizers() {
        let mut model = Mlp::new(1);
        let place = |model: &Mlp| model.hidden.weight.with_slice(|numbers: &[f32]| numbers.as_ptr() as usize).unwrap();
        let before = place(&model);
        for round in 0..3 {
            let gradients = model.gradients(&data(round));
            optimizer.step(&mut model, &gradients)?;
        }
        assert_eq!(place(&model), before);
    }
    Ok(())
}

#[test]
fn who_holds_the_numbers_keeps_them() -> Result<()> {
    let mut model = Mlp::new(1);
    let held = model.hidden.weight.detach();
    let numbers = held.to_vec::<f32>()?;
    let copies = shared_updates();
    train!(Sgd::new(0.1), model, &data(0))?;
    assert!(shared_updates() > copies, "the copy is counted");
    assert_eq!(held.to_vec::<f32>()?, numbers);
    assert_ne!(model.hidden.weight.to_vec::<f32>()?, numbers);
    Ok(())
}

#[test]
fn the_same_bytes_for_any_number_of_threads() -> Result<()> {
    let run = |count: usize, dtype: DType| -> Result<Vec<u64>> {
        threads(count, || {
            let random = &mut Random::new(7);
            let mut weight = Parameter::new(Tensor::normal([70_001], 0.0, 1.0, random).to_dtype(dtype));
            let slope = Tensor::normal([70_001], 0.0, 1.0, random).to_dtype(dtype);
            let mut optimizer = AdamW::new(0.01);
            for _ in 0..3 {
                let gradients = (&*weight * &slope).sum().backward()?;
                optimizer.step(&mut weight, &gradients)?;
            }
            Ok(weight.to_vec::<f64>()?.into_iter().map(f64::to_bits).collect())
        })
    };
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let one = run(1, dtype)?;
        for count in [2, 3, 8] {
            assert_eq!(run(count, dtype)?, one, "{count} threads, {dtype}");
        }
    }
    Ok(())
}

#[test]
fn half_precision_is_the_f32_step_rounded_once() -> Result<()> {
    for dtype in [DType::BF16, DType::F16] {
        let random = &mut Random::new(3);
        let start = Tensor::normal([1500], 0.0, 1.0, random).to_dtype(dtype);
        let slope = Tensor::normal([1500], 0.0, 1.0, random).to_dtype(dtype);
        let step = |start: &Tensor, slope: &Tensor| -> Result<Parameter> {
            let mut weight = Parameter::new(start.clone());
            let gradients = (&*weight * slope).sum().backward()?;
            Adam::new(0.1).step(&mut weight, &gradients)?;
            Ok(weight)
        };
        let narrow = step(&start, &slope)?;
        let wide = step(&start.to_dtype(DType::F32), &slope.to_dtype(DType::F32))?;
        assert_eq!(narrow.to_vec::<f32>()?, wide.to_dtype(dtype).to_vec::<f32>()?);
    }
    Ok(())
}

#[test]
fn a_parameter_that_changes_its_type_keeps_its_memory() -> Result<()> {
    let mut model = Mlp::new(1);
    let mut optimizer = Sgd::new(0.1).with_momentum(0.9);
    train!(optimizer, model, &data(0))?;
    model.cast(DType::F64)?;
    let x = data(0).to_dtype(DType::F64);
    let velocity =
        optimizer.state(&model)?.get("parameters")?.get("hidden.bias")?.get("velocity")?.tensor()?.to_vec::<f64>()?;
    let gradients = model.gradients(&x);
    let slope = gradients.by_name("hidden.bias").expect("its gradient").to_vec::<f64>()?;
    let before = model.hidden.bias.as_ref().unwrap().to_vec::<f64>()?;
    optimizer.step(&mut model, &gradients)?;
    for (i, after) in model.hidden.bias.as_ref().unwrap().to_vec::<f64>()?.into_iter().enumerate() {
        assert!((after - (before[i] - 0.1 * (0.9 * velocity[i] + slope[i]))).abs() < 1e-14);
    }
    Ok(())
}

#[test]
fn strided_gradients_are_followed_in_their_order() -> Result<()> {
    let x = Tensor::arange(6).to_dtype(DType::F32).reshape([3, 2]);
    let mut weight = Parameter::new(Tensor::zeros([2, 3]));
    let transposed = (weight.t() * &x).sum().backward()?;
    Sgd::new(1.0).step(&mut weight, &transposed)?;
    assert_eq!(weight.to_vec::<f32>()?, [-0.0, -2.0, -4.0, -1.0, -3.0, -5.0]);
    let repeated = weight.sum().backward()?;
    Sgd::new(1.0).step(&mut weight, &repeated)?;
    assert_eq!(weight.to_vec::<f32>()?, [-1.0, -3.0, -5.0, -2.0, -4.0, -6.0]);
    Ok(())
}

#[test]
fn every_optimizer_lowers_a_loss() -> Result<()> {
    for (at, mut optimizer) in optimizers().into_iter().enumerate() {
        let (mut model, x) = (Mlp::new(1), data(1));
        let before = model.loss(&x).item()?;
        for _ in 0..300 {
            train!(optimizer, model, &x)?;
        }
        let after = model.loss(&x).item()?;
        assert!(after < before * 0.5, "optimizer {at}: from {before} to {after}");
    }
    Ok(())
}

#[test]
fn lamb_scales_its_step_to_the_norm_of_the_parameter() -> Result<()> {
    let start: [f64; 3] = [0.3, -1.0, 2.0];
    let slopes: [[f64; 3]; 2] = [[0.5, -2.0, 1.0], [1.5, 0.25, -3.0]];
    let mut weight = Parameter::new(Tensor::from_slice(&start, [3])?);
    let mut optimizer = Lamb::new(0.1).with_weight_decay(0.2);
    let (mut p, mut m, mut v) = (start, [0.0; 3], [0.0; 3]);
    for (step, slope) in slopes.into_iter().enumerate() {
        let gradients = (&*weight * Tensor::from_slice(&slope, [3])?).sum().backward()?;
        optimizer.step(&mut weight, &gradients)?;
        let t = step as i32 + 1;
        let mut direction = [0.0f64; 3];
        for i in 0..3 {
            m[i] = 0.9 * m[i] + 0.1 * slope[i];
            v[i] = 0.999 * v[i] + 0.001 * slope[i] * slope[i];
            let (mean, square) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
            direction[i] = mean / (square.sqrt() + 1e-6) + 0.2 * p[i];
        }
        let norm = |x: [f64; 3]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let ratio = norm(p) / norm(direction);
        for i in 0..3 {
            p[i] -= 0.1 * ratio * direction[i];
        }
        for (got, expected) in weight.to_vec::<f64>()?.into_iter().zip(p) {
            assert!((got - expected).abs() < 1e-12, "step {t}: {got} and {expected}");
        }
    }
    Ok(())
}

#[test]
fn muon_moves_all_directions_of_a_matrix_about_equally() -> Result<()> {
    for shape in [[6, 4], [4, 6], [1, 3]] {
        let random = &mut Random::new(5);
        let slope = Tensor::normal(shape, 0.0, 1.0, random).to_dtype(DType::F64);
        let mut weight = Parameter::new(slope.zeros_like());
        let gradients = (&*weight * &slope).sum().backward()?;
        Muon::new(1.0).with_weight_decay(0.0).step(&mut weight, &gradients)?;
        let scale = (shape[0] as f64 / shape[1] as f64).max(1.0).sqrt();
        let moved = &weight.detach() / -scale;
        let square = if shape[0] > shape[1] { moved.t().matmul(&moved) } else { moved.matmul(&moved.t()) };
        let size = shape[0].min(shape[1]);
        for (at, number) in square.to_vec::<f64>()?.into_iter().enumerate() {
            let range = if at % (size + 1) == 0 { 0.3..1.6 } else { -0.4..0.4 };
            assert!(range.contains(&number), "{shape:?}: {square}");
        }
        // it goes down: the step has a positive part along the gradient
        assert!((moved * &slope).sum().item()? > 0.0);
    }
    Ok(())
}

#[test]
fn adafactor_is_its_definition() -> Result<()> {
    let random = &mut Random::new(5);
    let start = Tensor::normal([3, 4], 0.0, 1.0, random).to_dtype(DType::F64);
    let mut weight = Parameter::new(start.clone());
    let mut optimizer = Adafactor::new(0.3).with_weight_decay(0.1);
    let (mut p, mut rows, mut columns) = (start.to_vec::<f64>()?, [0.0; 3], [0.0; 4]);
    for step in 1..5 {
        let slope = Tensor::normal([3, 4], 0.0, 1.0, random).to_dtype(DType::F64);
        let gradients = (&*weight * &slope).sum().backward()?;
        optimizer.step(&mut weight, &gradients)?;
        let g = slope.to_vec::<f64>()?;
        let take = (step as f64).powf(-0.8);
        for (i, row) in rows.iter_mut().enumerate() {
            *row += take * (g[4 * i..][..4].iter().map(|x| x * x).sum::<f64>() / 4.0 - *row);
        }
        for (j, column) in columns.iter_mut().enumerate() {
            *column += take * ((0..3).map(|i| g[4 * i + j] * g[4 * i + j]).sum::<f64>() / 3.0 - *column);
        }
        let mean = rows.iter().sum::<f64>() / 3.0;
        let change: Vec<f64> = (0..12).map(|k| g[k] / (rows[k / 4] * columns[k % 4] / mean).sqrt()).collect();
        let rms = |x: &[f64]| (x.iter().map(|x| x * x).sum::<f64>() / 12.0).sqrt();
        let alpha = rms(&p).max(1e-3) * f64::min(0.3, 1.0 / (step as f64).sqrt());
        let shorten = rms(&change).max(1.0);
        for (p, change) in p.iter_mut().zip(&change) {
            *p = *p * (1.0 - 0.3 * 0.1) - alpha / shorten * change;
        }
        for (got, expected) in weight.to_vec::<f64>()?.into_iter().zip(&p) {
            assert!((got - expected).abs() < 1e-12, "step {step}: {got} and {expected}");
        }
    }
    Ok(())
}

#[test]
fn averages_follow_a_model_and_go_on_from_their_state() -> Result<()> {
    let mut model = Mlp::new(1);
    let (mut moving, mut plain) = (Ema::new(&model, 0.75), Swa::new(&model));
    let bias = |model: &Mlp| model.output.bias.as_ref().expect("a bias").to_vec::<f64>().unwrap();
    let mut optimizer = Sgd::new(0.5);
    let (mut expected, mut sum, mut count) = (Vec::new(), vec![0.0; 2], 0.0);
    for round in 0..4 {
        train!(optimizer, model, &data(round))?;
        moving.update(&model)?;
        plain.update(&model)?;
        let now = bias(&model);
        expected = match round {
            0 => now.clone(),
            _ => expected.iter().zip(&now).map(|(old, new)| 0.75 * old + 0.25 * new).collect(),
        };
        sum.iter_mut().zip(&now).for_each(|(sum, new)| *sum += new);
        count += 1.0;
        if round == 2 {
            let mut again = Ema::new(&model, 0.75);
            again.load_state(&moving.state()?)?;
            assert_eq!((again.updates(), again.model().bits()), (3, moving.model().bits()));
            moving = again;
        }
    }
    for i in 0..2 {
        assert!((bias(moving.model())[i] - expected[i]).abs() < 1e-6);
        assert!((bias(plain.model())[i] - sum[i] / count).abs() < 1e-6);
    }
    assert!(moving.model().hidden.weight.is_frozen() && !model.hidden.weight.is_frozen());
    plain.copy_to(&mut model)?;
    assert_eq!(model.bits(), plain.model().bits());
    train!(optimizer, model, &data(9))?;
    assert_ne!(model.bits(), plain.model().bits(), "the average is its own");
    Ok(())
}

#[test]
fn adagrad_begins_at_its_start() -> Result<()> {
    let mut weight = Parameter::new(Tensor::from_slice(&[1.0f64], [1])?);
    let gradients = (&*weight * 3.0).sum().backward()?;
    Adagrad::new(0.5).with_start(7.0).step(&mut weight, &gradients)?;
    assert!((weight.item()? - (1.0 - 0.5 * 3.0 / (16f64.sqrt() + 1e-10))).abs() < 1e-15);
    Ok(())
}

#[test]
fn lbfgs_goes_on_from_its_state_and_undoes_what_fails() -> Result<()> {
    let x = data(1);
    for mut optimizer in [Lbfgs::new(0.5).with_iterations(4), Lbfgs::new(1.0).with_iterations(4).with_line_search()] {
        let mut model = Mlp::new(1);
        let first = optimizer.step_with(&mut model, |model| Ok(model.loss(&x)))?;
        let state = optimizer.state(&model)?;
        let mut copy = model.clone();
        let mut other = optimizer.clone();
        other.load_state(&copy, &state)?;
        let before = model.bits();
        let mut calls = 0;
        let failed = optimizer.step_with(&mut model, |model| {
            calls += 1;
            Ok(if calls < 3 { model.loss(&x) } else { model.loss(&Tensor::zeros([1, 7])) })
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Shape);
        assert_eq!(model.bits(), before);
        for _ in 0..3 {
            optimizer.step_with(&mut model, |model| Ok(model.loss(&x)))?;
            other.step_with(&mut copy, |model| Ok(model.loss(&x)))?;
        }
        assert_eq!(model.bits(), copy.bits());
        assert!(model.loss(&x).item()? < 0.1 * first);
        assert!(other.load_state(&Linear::new(2, 2, &mut Init::new()), &state).is_err());
    }
    Ok(())
}

#[test]
fn momentum_that_comes_later_reaches_every_model() -> Result<()> {
    let mut optimizer = Sgd::new(0.1);
    let (mut first, mut second) = (Mlp::new(1), Mlp::new(2));
    train!(optimizer, first, &data(0))?;
    train!(optimizer, second, &data(0))?;
    optimizer.set_momentum(0.9);
    for model in [&mut first, &mut second] {
        for round in 1..3 {
            let gradients = model.gradients(&data(round));
            optimizer.step(model, &gradients)?;
        }
        let state = optimizer.state(model)?;
        assert!(state.get("parameters")?.get("hidden.weight")?.get("velocity").is_ok());
    }
    Ok(())
}
