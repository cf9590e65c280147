//! Reference names of the family `sched`: the rates of schedules, step by step.

use super::*;
use chainrule::optim::schedule::{
    Constant, Cosine, Cyclic, Exponential, Linear, MultiStep, OneCycle, Plateau, Polynomial, Schedule, StepDecay,
    WarmRestarts,
};
use chainrule::optim::{Optimizer, Sgd};

pub fn call(case: &Case) -> Option<Results> {
    let attributes = case.attributes;
    let mut optimizer = Sgd::new(case.float_or("lr", 0.1)).with_momentum(case.float_or("momentum", 0.0));
    let steps = case.int_or("steps", 0) as u64;
    let mut rates = Vec::new();
    let mut momenta = Vec::new();
    let mut look = |optimizer: &Sgd| {
        rates.push(optimizer.rate());
        momenta.push(optimizer.momentum().unwrap_or(f64::NAN));
    };
    if case.op == "ReduceLROnPlateau" {
        let mut plateau = Plateau::new()
            .with_factor(case.float_or("factor", 0.1))
            .with_patience(case.int_or("patience", 10) as u64)
            .with_cooldown(case.int_or("cooldown", 0) as u64)
            .with_minimum(case.float_or("min_lr", 0.0));
        let threshold = case.float_or("threshold", 1e-4);
        plateau = match case.text_or("threshold_mode", "rel") {
            "abs" => plateau.with_absolute_threshold(threshold),
            _ => plateau.with_threshold(threshold),
        };
        if case.text_or("mode", "min") == "max" {
            plateau = plateau.maximize();
        }
        look(&optimizer);
        for measure in case.x().to_vec::<f64>().expect("measures") {
            plateau.step(&mut optimizer, measure);
            look(&optimizer);
        }
    } else {
        let schedule = match case.op {
            "SequentialLR" => {
                let parts = attributes["chain"].as_array().expect("a chain");
                let milestones = case.ints("milestones");
                let mut parts = parts.iter().map(|part| schedule(part["scheduler"].as_str()?, &part["args"]));
                let mut chain = parts.next()??;
                for (part, milestone) in parts.zip(milestones) {
                    chain = Box::new(chain.then_at(milestone as u64, part?));
                }
                chain
            }
            name => schedule(name, attributes)?,
        };
        let mut schedule = schedule.start(&mut optimizer);
        look(&optimizer);
        for _ in 0..steps {
            schedule.step(&mut optimizer);
            look(&optimizer);
        }
    }
    let tensor = |numbers: &[f64]| Tensor::from_slice(numbers, [numbers.len()]).expect("they fit").to_dtype(case.dtype);
    Some(match case.op {
        "OneCycleLR" => list([tensor(&rates), tensor(&momenta)]),
        _ => one(tensor(&rates)),
    })
}

/// A schedule by PyTorch's name and arguments.
fn schedule(name: &str, attributes: &Value) -> Option<Box<dyn Schedule>> {
    let case = Case {
        op: name,
        attributes,
        constructor: &Value::Null,
        operands: Vec::new(),
        dtype: DType::F64,
        learnt: Default::default(),
    };
    let count = |name: &str, default: isize| case.int_or(name, default) as u64;
    let number = |name: &str, default: f64| case.float_or(name, default);
    Some(match name {
        "StepLR" => Box::new(StepDecay::new(count("step_size", 1)).with_factor(number("gamma", 0.1))),
        "MultiStepLR" => {
            let milestones = case.ints("milestones").into_iter().map(|step| step as u64);
            Box::new(MultiStep::new(milestones).with_factor(number("gamma", 0.1)))
        }
        "ExponentialLR" => Box::new(Exponential::new(number("gamma", 0.1))),
        "CosineAnnealingLR" => Box::new(Cosine::new(count("T_max", 1)).with_minimum(number("eta_min", 0.0))),
        "CosineAnnealingWarmRestarts" => {
            let restarts = WarmRestarts::new(count("T_0", 1)).with_growth(count("T_mult", 1));
            Box::new(restarts.with_minimum(number("eta_min", 0.0)))
        }
        "LinearLR" => {
            Box::new(Linear::new(number("start_factor", 1.0 / 3.0), number("end_factor", 1.0), count("total_iters", 5)))
        }
        "ConstantLR" => Box::new(Constant::new(number("factor", 1.0 / 3.0), count("total_iters", 5))),
        "PolynomialLR" => Box::new(Polynomial::new(count("total_iters", 5), number("power", 1.0))),
        "OneCycleLR" => {
            let mut cycle = OneCycle::new(number("max_lr", 0.1), count("total_steps", 1))
                .with_rising(number("pct_start", 0.3))
                .with_divisors(number("div_factor", 25.0), number("final_div_factor", 1e4))
                .with_momentum(number("base_momentum", 0.85), number("max_momentum", 0.95));
            if case.text_or("anneal_strategy", "cos") == "linear" {
                cycle = cycle.linear();
            }
            if case.flag("three_phase") {
                cycle = cycle.three_phases();
            }
            Box::new(if case.flag_or("cycle_momentum", true) { cycle } else { cycle.without_momentum() })
        }
        "CyclicLR" => {
            let up = count("step_size_up", 2000);
            let cycle = Cyclic::new(number("base_lr", 0.0), number("max_lr", 0.1), up)
                .with_down(count("step_size_down", up as isize));
            let cycle = match case.text_or("mode", "triangular") {
                "triangular2" => cycle.halving(),
                "exp_range" => cycle.shrinking(number("gamma", 1.0)),
                _ => cycle,
            };
            Box::new(if case.flag_or("cycle_momentum", true) { cycle } else { cycle.without_momentum() })
        }
        _ => return None,
    })
}
