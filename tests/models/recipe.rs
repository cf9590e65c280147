//! Losses, optimizers and schedules of the reference runs, by PyTorch's names and defaults.

use chainrule::Tensor;
use chainrule::loss::{CrossEntropy, mse_loss, nll_loss};
use chainrule::optim::schedule::{
    Constant, Cosine, Cyclic, Exponential, Linear, MultiStep, OneCycle, Polynomial, Schedule, StepDecay, WarmRestarts,
};
use chainrule::optim::{Adadelta, Adagrad, Adam, AdamW, Adamax, NAdam, Optimizer, RAdam, RmsProp, Rule, Setting, Sgd};
use serde_json::Value;

/// The loss of an output; None for a name that is not known here.
pub(crate) fn loss(name: &str, extra: &Value, output: &Tensor, target: &Tensor) -> Option<Tensor> {
    let smoothing = extra["label_smoothing"].as_f64().unwrap_or(0.0);
    let entropy = |target: &Tensor| CrossEntropy::new().with_label_smoothing(smoothing).of(output, target);
    Some(match name {
        "cross_entropy" => entropy(target),
        "cross_entropy_tokens" => entropy(&target.flatten()),
        "nll" => nll_loss(output, target),
        "mse" => mse_loss(output, target),
        _ => return None,
    })
}

/// The optimizer with its settings; None for a name that is not known here.
pub(crate) fn optimizer(name: &str, hyper: &Value) -> Option<Box<dyn Optimizer>> {
    let flag = |key: &str| hyper[key].as_bool().unwrap_or(false);
    /// A rule with the flags that it has.
    macro_rules! rule {
        ($Rule:ident, $rate:expr $(, $flag:literal $method:ident)*) => {{
            let mut rule = $Rule::new($rate);
            $(if flag($flag) { rule = rule.$method(); })*
            set(rule, hyper)
        }};
    }
    Some(match name {
        "SGD" => {
            let mut sgd = Sgd::new(1e-3);
            if flag("nesterov") {
                sgd = sgd.with_momentum(0.5).nesterov();
            }
            set(if flag("maximize") { sgd.maximize() } else { sgd }, hyper)
        }
        "Adam" => rule!(Adam, 1e-3, "amsgrad" amsgrad, "maximize" maximize),
        "AdamW" => rule!(AdamW, 1e-3, "amsgrad" amsgrad, "maximize" maximize),
        "RMSprop" => rule!(RmsProp, 1e-2, "centered" centered, "maximize" maximize),
        "Adagrad" => rule!(Adagrad, 1e-2, "maximize" maximize),
        "Adadelta" => rule!(Adadelta, 1.0, "maximize" maximize),
        "Adamax" => rule!(Adamax, 2e-3, "maximize" maximize),
        "NAdam" => rule!(NAdam, 2e-3, "decoupled_weight_decay" decoupled, "maximize" maximize),
        "RAdam" => rule!(RAdam, 1e-3, "decoupled_weight_decay" decoupled, "maximize" maximize),
        _ => return None,
    })
}

/// Numbers under PyTorch's names.
fn set<R: Rule + 'static>(mut rule: R, hyper: &Value) -> Box<dyn Optimizer> {
    for (name, value) in hyper.as_object().expect("hyper is an object") {
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
            _ if value.is_boolean() => continue,
            other => panic!("no setting {other} here"),
        };
        for (at, setting) in settings.iter().enumerate() {
            rule.core_mut().set(*setting, value.as_f64().or(value[at].as_f64()).expect("a number"));
        }
    }
    Box::new(rule)
}

/// The schedule with its arguments; None for a name that is not known here.
pub(crate) fn schedule(name: &str, args: &Value) -> Option<Box<dyn Schedule>> {
    let number = |key: &str, default: f64| args[key].as_f64().unwrap_or(default);
    let count = |key: &str, default: u64| args[key].as_u64().unwrap_or(default);
    let flag = |key: &str, default: bool| args[key].as_bool().unwrap_or(default);
    Some(match name {
        "StepLR" => Box::new(StepDecay::new(count("step_size", 1)).with_factor(number("gamma", 0.1))),
        "MultiStepLR" => {
            let milestones = args["milestones"].as_array().expect("milestones").iter().filter_map(Value::as_u64);
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
            if args["anneal_strategy"] == "linear" {
                cycle = cycle.linear();
            }
            if flag("three_phase", false) {
                cycle = cycle.three_phases();
            }
            Box::new(if flag("cycle_momentum", true) { cycle } else { cycle.without_momentum() })
        }
        "CyclicLR" => {
            let up = count("step_size_up", 2000);
            let cycle = Cyclic::new(number("base_lr", 0.0), number("max_lr", 0.1), up)
                .with_down(count("step_size_down", up))
                .with_momentum(number("base_momentum", 0.8), number("max_momentum", 0.9));
            let cycle = match args["mode"].as_str().unwrap_or("triangular") {
                "triangular2" => cycle.halving(),
                "exp_range" => cycle.shrinking(number("gamma", 1.0)),
                _ => cycle,
            };
            Box::new(if flag("cycle_momentum", true) { cycle } else { cycle.without_momentum() })
        }
        _ => return None,
    })
}
