//! Reference names of the family `sched`: the rates of schedules, step by step.

use super::*;
use crate::recipes;
use chainrule::optim::schedule::{Plateau, Schedule};
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
                let mut parts = parts.iter().map(|part| recipes::schedule(part["scheduler"].as_str()?, &part["args"]));
                let mut chain = parts.next()??;
                for (part, milestone) in parts.zip(milestones) {
                    chain = Box::new(chain.then_at(milestone as u64, part?));
                }
                chain
            }
            name => recipes::schedule(name, attributes)?,
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
