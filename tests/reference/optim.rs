//! Reference names of the family `optim`: trajectories of optimizers, clipped gradients.

use super::*;
use chainrule::optim::{Adam, AdamW, Group, Optimizer, Rule, Setting, Sgd};
use chainrule::{Error, Parameter};

pub fn call(case: &Case) -> Option<Results> {
    let group = &case.attributes["groups"][0];
    let flag = |name: &str| group[name].as_bool().unwrap_or(false);
    let optimizer = match case.op {
        "sgd" => {
            let mut sgd = Sgd::new(1e-3);
            sgd = if flag("nesterov") { sgd.with_momentum(0.5).nesterov() } else { sgd };
            build(if flag("maximize") { sgd.maximize() } else { sgd }, case)
        }
        "adam" => {
            let adam = if flag("amsgrad") { Adam::new(1e-3).amsgrad() } else { Adam::new(1e-3) };
            build(if flag("maximize") { adam.maximize() } else { adam }, case)
        }
        "adamw" => {
            let adam = if flag("amsgrad") { AdamW::new(1e-3).amsgrad() } else { AdamW::new(1e-3) };
            build(if flag("maximize") { adam.maximize() } else { adam }, case)
        }
        _ => return None,
    };
    Some(follow(case, optimizer).unwrap_or_else(|error| vec![Tensor::failed(error)]))
}

/// The optimizer with the groups of the case: one for each parameter, named by its number.
fn build<R: Rule + 'static>(mut rule: R, case: &Case) -> Box<dyn Optimizer> {
    for given in case.attributes["groups"].as_array().expect("groups") {
        for index in given["params"].as_array().expect("indices") {
            let mut group = Group::matching(index.to_string());
            for (name, value) in given.as_object().expect("a group is an object") {
                let settings: &[Setting] = match name.as_str() {
                    "lr" => &[Setting::Rate],
                    "momentum" => &[Setting::Momentum],
                    "dampening" => &[Setting::Dampening],
                    "betas" => &[Setting::Beta1, Setting::Beta2],
                    "eps" => &[Setting::Epsilon],
                    "weight_decay" => &[Setting::WeightDecay],
                    "alpha" | "rho" => &[Setting::Smoothing],
                    "lr_decay" => &[Setting::RateDecay],
                    "momentum_decay" => &[Setting::MomentumDecay],
                    "initial_accumulator_value" => &[Setting::Start],
                    _ => continue,
                };
                for (at, setting) in settings.iter().enumerate() {
                    let number = value.as_f64().or(value[at].as_f64()).expect("a number");
                    group = group.with(*setting, number);
                }
            }
            rule.core_mut().add_group(group);
        }
    }
    Box::new(rule)
}

/// Every parameter after each step.
fn follow(case: &Case, mut optimizer: Box<dyn Optimizer>) -> Result<Results, Error> {
    let operand = |name: String| case.named(&name);
    let mut model: Vec<Parameter> =
        (0..).map_while(|i| operand(format!("p{i}"))).cloned().map(Parameter::new).collect();
    let slopes: Vec<&Tensor> = (0..model.len()).map_while(|i| operand(format!("g{i}"))).collect();
    let mut path: Vec<Vec<Tensor>> = vec![Vec::new(); model.len()];
    for step in 0..case.int("steps") {
        let mut loss = Tensor::scalar(0.0).to_dtype(case.dtype);
        for (parameter, slope) in model.iter().zip(&slopes) {
            loss = loss + (&**parameter * slope.select(0, step)).sum();
        }
        optimizer.step(&mut model, &loss.backward()?)?;
        for (path, parameter) in path.iter_mut().zip(&model) {
            path.push((parameter.detach() * 1.0).unsqueeze(0));
        }
    }
    Ok(path.iter().map(|steps| Tensor::cat(&steps.iter().collect::<Vec<_>>(), 0)).collect())
}
