//! Optimizers and schedules by PyTorch's names, with options under PyTorch's names and with PyTorch's defaults.
#![allow(missing_docs, unreachable_pub)] // a test is no library

use chainrule::optim::schedule::{
    Constant, Cosine, Cyclic, Exponential, Linear, MultiStep, OneCycle, Polynomial, Schedule, StepDecay, WarmRestarts,
};
use chainrule::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Core, NAdam, Optimizer, RAdam, RmsProp, Rule, Setting, Sgd,
};
use serde_json::Value;

/// Options by name, each with what it is where it is not given.
struct Options<'v>(&'v Value);

impl Options<'_> {
    fn number(&self, name: &str, default: f64) -> f64 {
        self.0[name].as_f64().unwrap_or(default)
    }
    fn count(&self, name: &str, default: u64) -> u64 {
        self.0[name].as_u64().or(self.0[name].as_f64().map(|count| count as u64)).unwrap_or(default)
    }
    fn flag(&self, name: &str, default: bool) -> bool {
        self.0[name].as_bool().unwrap_or(default)
    }
}

/// The settings that options give, with their numbers.
pub fn settings(options: &Value) -> Vec<(Setting, f64)> {
    let mut found = Vec::new();
    for (name, value) in options.as_object().expect("options are an object") {
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
            // PyTorch reads `initial_accumulator_value` from the constructor alone, and a group's has no effect.
            "params" | "initial_accumulator_value" => continue,
            _ if value.is_boolean() || value.is_null() => continue,
            other => panic!("no setting {other} here"),
        };
        let number = |at: usize| value.as_f64().or(value[at].as_f64()).expect("a number");
        found.extend(settings.iter().enumerate().map(|(at, setting)| (*setting, number(at))));
    }
    found
}

/// The optimizer with its flags, completed by a function; None for a name that is not known here.
pub fn optimizer(name: &str, options: &Value, finish: impl FnOnce(&mut Core)) -> Option<Box<dyn Optimizer>> {
    fn boxed<R: Rule + 'static>(mut rule: R, finish: impl FnOnce(&mut Core)) -> Box<dyn Optimizer> {
        finish(rule.core_mut());
        Box::new(rule)
    }
    let options = Options(options);
    /// A rule with the flags that it has.
    macro_rules! rule {
        ($Rule:ident, $rate:expr $(, $flag:literal $method:ident)*) => {{
            let mut rule = $Rule::new($rate);
            $(if options.flag($flag, false) { rule = rule.$method(); })*
            boxed(rule, finish)
        }};
    }
    Some(match name.to_ascii_lowercase().as_str() {
        "sgd" => {
            let sgd = Sgd::new(1e-3);
            let sgd = if options.flag("nesterov", false) { sgd.with_momentum(0.5).nesterov() } else { sgd };
            boxed(if options.flag("maximize", false) { sgd.maximize() } else { sgd }, finish)
        }
        "adam" => rule!(Adam, 1e-3, "amsgrad" amsgrad, "maximize" maximize),
        "adamw" => rule!(AdamW, 1e-3, "amsgrad" amsgrad, "maximize" maximize),
        "rmsprop" => rule!(RmsProp, 1e-2, "centered" centered, "maximize" maximize),
        "adagrad" => rule!(Adagrad, 1e-2, "maximize" maximize),
        "adadelta" => rule!(Adadelta, 1.0, "maximize" maximize),
        "adamax" => rule!(Adamax, 2e-3, "maximize" maximize),
        "nadam" => rule!(NAdam, 2e-3, "decoupled_weight_decay" decoupled, "maximize" maximize),
        "radam" => rule!(RAdam, 1e-3, "decoupled_weight_decay" decoupled, "maximize" maximize),
        _ => return None,
    })
}

/// The schedule; None for a name that is not known here.
pub fn schedule(name: &str, options: &Value) -> Option<Box<dyn Schedule>> {
    let own = Options(options);
    let (number, count) = (|name: &str, or: f64| own.number(name, or), |name: &str, or: u64| own.count(name, or));
    Some(match name {
        "StepLR" => Box::new(StepDecay::new(count("step_size", 1)).with_factor(number("gamma", 0.1))),
        "MultiStepLR" => {
            let milestones = options["milestones"].as_array().expect("milestones").iter().filter_map(Value::as_u64);
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
            if options["anneal_strategy"] == "linear" {
                cycle = cycle.linear();
            }
            if own.flag("three_phase", false) {
                cycle = cycle.three_phases();
            }
            Box::new(if own.flag("cycle_momentum", true) { cycle } else { cycle.without_momentum() })
        }
        "CyclicLR" => {
            let up = count("step_size_up", 2000);
            let cycle = Cyclic::new(number("base_lr", 0.0), number("max_lr", 0.1), up)
                .with_down(count("step_size_down", up))
                .with_momentum(number("base_momentum", 0.8), number("max_momentum", 0.9));
            let cycle = match options["mode"].as_str().unwrap_or("triangular") {
                "triangular2" => cycle.halving(),
                "exp_range" => cycle.shrinking(number("gamma", 1.0)),
                _ => cycle,
            };
            Box::new(if own.flag("cycle_momentum", true) { cycle } else { cycle.without_momentum() })
        }
        _ => return None,
    })
}
