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

/// The loss of this struct with the case's reduction.
macro_rules! reduced {
    ($case:ident, $loss:expr) => {
        $loss.with_reduction(reduction($case))
    };
}

pub fn call(case: &Case) -> Option<Results> {
    let (x, y, z) = (|| case.x(), || case.y(), || case.at(2));
    let weight = case.named("weight");
    let margin = |default: f64| case.float_or("margin", default);
    Some(one(match case.op {
        "mse_loss" => reduced!(case, MseLoss::new()).of(x(), y()),
        "l1_loss" => reduced!(case, L1Loss::new()).of(x(), y()),
        "smooth_l1_loss" => reduced!(case, SmoothL1Loss::new().with_beta(case.float_or("beta", 1.0))).of(x(), y()),
        "huber_loss" => reduced!(case, HuberLoss::new().with_delta(case.float_or("delta", 1.0))).of(x(), y()),
        "nll_loss" => {
            let mut loss = NllLoss::new().with_ignore_index(case.int_or("ignore_index", -100) as i64);
            if let Some(weight) = weight {
                loss = loss.with_class_weights(weight);
            }
            reduced!(case, loss).of(x(), y())
        }
        "cross_entropy" | "cross_entropy_probs" | "cross_entropy_all_ignored" => {
            let mut loss = CrossEntropy::new()
                .with_label_smoothing(case.float_or("label_smoothing", 0.0))
                .with_ignore_index(case.int_or("ignore_index", -100) as i64);
            if let Some(weight) = weight {
                loss = loss.with_class_weights(weight);
            }
            reduced!(case, loss).of(x(), y())
        }
        "binary_cross_entropy" | "bce" => {
            let mut loss = BinaryCrossEntropy::new();
            if let Some(weight) = weight {
                loss = loss.with_weights(weight);
            }
            reduced!(case, loss).of(x(), y())
        }
        "binary_cross_entropy_with_logits" | "bce_logits" => {
            let mut loss = BinaryCrossEntropyWithLogits::new();
            if let Some(weight) = weight {
                loss = loss.with_weights(weight);
            }
            if let Some(weight) = case.named("pos_weight") {
                loss = loss.with_positive_weight(weight);
            }
            reduced!(case, loss).of(x(), y())
        }
        "kl_div" => {
            let loss = KlDiv::new().with_log_target(case.flag("log_target"));
            match case.text_or("reduction", "mean") {
                "batchmean" => loss.of(x(), y()),
                _ => reduced!(case, loss.with_element_mean(true)).of(x(), y()),
            }
        }
        "cosine_embedding_loss" => {
            reduced!(case, CosineEmbeddingLoss::new().with_margin(margin(0.0))).of(x(), y(), z())
        }
        "triplet_margin_loss" => {
            let loss = TripletMarginLoss::new()
                .with_margin(margin(1.0))
                .with_norm(case.float_or("p", 2.0))
                .with_epsilon(case.float_or("eps", 1e-6))
                .with_swap(case.flag("swap"));
            reduced!(case, loss).of(x(), y(), z())
        }
        "margin_ranking_loss" => reduced!(case, MarginRankingLoss::new().with_margin(margin(0.0))).of(x(), y(), z()),
        "hinge_embedding_loss" => reduced!(case, HingeEmbeddingLoss::new().with_margin(margin(1.0))).of(x(), y()),
        "soft_margin_loss" => reduced!(case, SoftMarginLoss::new()).of(x(), y()),
        "multi_margin_loss" => {
            let squares = case.int_or("p", 1) == 2;
            let mut loss = MultiMarginLoss::new().with_squares(squares).with_margin(margin(1.0));
            if let Some(weight) = weight {
                loss = loss.with_class_weights(weight);
            }
            reduced!(case, loss).of(x(), y())
        }
        "multilabel_margin_loss" => reduced!(case, MultilabelMarginLoss::new()).of(x(), y()),
        "multilabel_soft_margin_loss" => {
            let mut loss = MultilabelSoftMarginLoss::new();
            if let Some(weight) = weight {
                loss = loss.with_class_weights(weight);
            }
            reduced!(case, loss).of(x(), y())
        }
        "poisson_nll_loss" => {
            let loss = PoissonNllLoss::new()
                .with_log_input(case.flag_or("log_input", true))
                .with_full(case.flag("full"))
                .with_epsilon(case.float_or("eps", 1e-8));
            reduced!(case, loss).of(x(), y())
        }
        "gaussian_nll_loss" => {
            let loss = GaussianNllLoss::new().with_full(case.flag("full")).with_epsilon(case.float_or("eps", 1e-6));
            reduced!(case, loss).of(x(), y(), z())
        }
        "ctc_loss" => {
            let loss = CtcLoss::new()
                .with_blank(case.int_or("blank", 0) as usize)
                .with_zero_infinity(case.flag("zero_infinity"));
            reduced!(case, loss).of(x(), y(), z(), case.at(3))
        }
        _ => return None,
    }))
}
