//! Reference names of the family `norm`.

use super::*;

/// A running average moved towards the batch's number.
fn moved(old: &Tensor, new: &Tensor, momentum: f64) -> Tensor {
    old * (1.0 - momentum) + new * momentum
}

pub fn call(case: &Case) -> Option<Results> {
    let (weight, bias) = (case.named("weight"), case.named("bias"));
    let epsilon = || case.float_or("eps", 1e-5);
    let normalized = || case.ints("normalized_shape").len();
    Some(match case.op {
        "layer_norm" | "layer_norm_constant" => one(case.x().layer_norm(normalized(), weight, bias, epsilon())),
        "rms_norm" => {
            let step = if case.dtype == DType::F64 { f64::EPSILON } else { f32::EPSILON as f64 };
            one(case.x().rms_norm(normalized(), weight, case.float_or("eps", step)))
        }
        "group_norm" => one(case.x().group_norm(case.int("num_groups") as usize, weight, bias, epsilon())),
        "instance_norm" => one(case.x().instance_norm(weight, bias, epsilon())),
        "local_response_norm" => one(case.x().local_response_norm(
            case.int("size") as usize,
            case.float_or("alpha", 1e-4),
            case.float_or("beta", 0.75),
            case.float_or("k", 1.0),
        )),
        "batch_norm" => {
            let (old_mean, old_variance) = (case.named("running_mean")?, case.named("running_var")?);
            if case.flag("training") {
                let (y, mean, variance) = case.x().batch_norm(weight, bias, epsilon());
                let momentum = case.float_or("momentum", 0.1);
                list([y, moved(old_mean, &mean, momentum), moved(old_variance, &variance, momentum)])
            } else {
                let y = case.x().batch_norm_with(old_mean, old_variance, weight, bias, epsilon());
                list([y, old_mean.clone(), old_variance.clone()])
            }
        }
        _ => return None,
    })
}
