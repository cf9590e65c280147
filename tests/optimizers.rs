//! What every optimizer promises: all or nothing, in place, by identity in memory and by name in files.

use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::optim::{Adam, AdamW, Group, Optimizer, Setting, Sgd};
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
