//! Reference names of the family `loss`.

use super::*;
use chainrule::loss::*;

/// What becomes of the single losses.
fn reduction(case: &Case) -> Reduction {
    match case.text_or("reduction", "mean") {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        other => panic!("no reduction {other}"),
    }
}

pub fn call(case: &Case) -> Option<Results> {
    let (x, weight) = (|| case.x(), case.named("weight"));
    Some(match case.op {
        "mse_loss" => one(MseLoss::new().with_reduction(reduction(case)).of(x(), case.y())),
        "nll_loss" => {
            let mut loss = NllLoss::new().with_ignore_index(case.int_or("ignore_index", -100) as i64);
            if let Some(weight) = weight {
                loss = loss.with_class_weights(weight);
            }
            one(loss.with_reduction(reduction(case)).of(x(), case.y()))
        }
        "cross_entropy" | "cross_entropy_probs" | "cross_entropy_all_ignored" => {
            let mut loss = CrossEntropy::new()
                .with_label_smoothing(case.float_or("label_smoothing", 0.0))
                .with_ignore_index(case.int_or("ignore_index", -100) as i64);
            if let Some(weight) = weight {
                loss = loss.with_class_weights(weight);
            }
            one(loss.with_reduction(reduction(case)).of(x(), case.y()))
        }
        _ => return None,
    })
}
