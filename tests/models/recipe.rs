//! Losses of the reference runs, by PyTorch's names and defaults.

use chainrule::Tensor;
use chainrule::loss::{CrossEntropy, mse_loss, nll_loss};
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
