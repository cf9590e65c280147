//! Reference names of the family `optim`: trajectories of optimizers, clipped gradients.

use super::*;
use crate::recipes;
use chainrule::optim::{Group, Lbfgs, Optimizer};
use chainrule::{Error, Parameter};

pub fn call(case: &Case) -> Option<Results> {
    if let "clip_grad_norm" | "clip_grad_value" = case.op {
        return Some(clip(case).unwrap_or_else(|error| vec![Tensor::failed(error)]));
    }
    if case.op == "lbfgs" {
        return Some(minimise(case).unwrap_or_else(|error| vec![Tensor::failed(error)]));
    }
    // One group for each parameter, named by its number.
    let groups = case.attributes["groups"].as_array()?;
    let optimizer = recipes::optimizer(case.op, &groups[0], |core| {
        for given in groups {
            for index in given["params"].as_array().expect("indices") {
                let group = Group::matching(index.to_string());
                let settings = recipes::settings(given).into_iter();
                core.add_group(settings.fold(group, |group, (setting, number)| group.with(setting, number)));
            }
        }
    })?;
    Some(follow(case, optimizer).unwrap_or_else(|error| vec![Tensor::failed(error)]))
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

/// The common norm, where it is asked for, and the clipped gradients.
fn clip(case: &Case) -> Result<Results, Error> {
    let leaves: Vec<Tensor> = case.all().into_iter().map(|slope| slope.zeros_like().variable()).collect();
    let loss = leaves.iter().zip(case.all()).map(|(leaf, slope)| (leaf * slope).sum()).reduce(|a, b| a + b);
    let mut gradients = loss.expect("a gradient").backward()?;
    let mut results = Vec::new();
    match case.op {
        "clip_grad_norm" => {
            let norm = gradients.clip_norm_of(case.float("max_norm"), case.float_or("norm_type", 2.0))?;
            results.push(Tensor::from_slice(&[norm], ())?.to_dtype(case.dtype));
        }
        _ => gradients.clip_value(case.float("clip_value"))?,
    }
    for leaf in &leaves {
        results.push(gradients.of(leaf)?.clone());
    }
    Ok(results)
}

/// The parameter after each step of L-BFGS, and the loss before each.
fn minimise(case: &Case) -> Result<Results, Error> {
    let group = &case.attributes["groups"][0];
    let number = |name: &str| group[name].as_f64();
    let count = |name: &str| group[name].as_u64().map(|count| count as usize);
    let mut optimizer = Lbfgs::new(number("lr").unwrap_or(1.0))
        .with_iterations(count("max_iter").unwrap_or(20))
        .with_history(count("history_size").unwrap_or(100))
        .with_tolerances(number("tolerance_grad").unwrap_or(1e-7), number("tolerance_change").unwrap_or(1e-9));
    if let Some(most) = count("max_eval") {
        optimizer = optimizer.with_evaluations(most);
    }
    if !group["line_search_fn"].is_null() {
        optimizer = optimizer.with_line_search();
    }
    let loss = |x: &Parameter| match case.text("closure") {
        "rosenbrock" => {
            let count = x.shape()?.count();
            let (low, high) = (x.narrow(0, 0, count - 1), x.narrow(0, 1, count - 1));
            Ok(((high - low.square()).square() * 100.0 + (1.0 - low).square()).sum())
        }
        _ => {
            let (a, b) = (case.named("A").expect("a matrix"), case.named("b").expect("a vector"));
            Ok((&**x * a.matmul(x)).sum() * 0.5 - (b * &**x).sum())
        }
    };
    let mut x = Parameter::new(case.named("p0").expect("a start").clone());
    let (mut path, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..case.int("steps") {
        losses.push(optimizer.step_with(&mut x, loss)?);
        path.push((x.detach() * 1.0).unsqueeze(0));
    }
    Ok(vec![Tensor::cat(&path, 0), Tensor::from_slice(&losses, [losses.len()])?.to_dtype(case.dtype)])
}
