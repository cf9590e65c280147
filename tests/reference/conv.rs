//! Reference names of the family `conv`.

use super::*;
use chainrule::Conv;

pub fn call(case: &Case) -> Option<Results> {
    let bias = case.named("bias");
    let mut conv = Conv::new()
        .stride(ints(case, "stride", 1))
        .dilation(ints(case, "dilation", 1))
        .output_padding(ints(case, "output_padding", 0))
        .groups(case.int_or("groups", 1) as usize);
    conv = match case.attributes["padding"].as_str() {
        Some(text) => match text {
            "same" => conv.same(),
            _ => conv,
        },
        None => conv.padding(ints(case, "padding", 0)),
    };
    Some(one(match case.op {
        "conv1d" => case.x().conv1d(case.y(), bias, conv),
        "conv2d" => case.x().conv2d(case.y(), bias, conv),
        "conv3d" => case.x().conv3d(case.y(), bias, conv),
        "conv_transpose1d" => case.x().conv_transpose1d(case.y(), bias, conv),
        "conv_transpose2d" => case.x().conv_transpose2d(case.y(), bias, conv),
        "conv_transpose3d" => case.x().conv_transpose3d(case.y(), bias, conv),
        _ => return None,
    }))
}

/// Whole numbers, or this one.
pub fn ints(case: &Case, name: &str, default: isize) -> Vec<isize> {
    if case.has(name) { case.ints(name) } else { vec![default] }
}
