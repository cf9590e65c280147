//! Reference names of the family `softmax`.

use super::*;

pub fn call(case: &Case) -> Option<Results> {
    let axis = || case.int("dim");
    Some(match case.op {
        "softmax" | "softmax_all_masked" => one(case.x().softmax(axis())),
        "log_softmax" | "log_softmax_all_masked" => one(case.x().log_softmax(axis())),
        "softmin" => one(case.x().softmin(axis())),
        "glu" => one(case.x().glu(case.int_or("dim", -1))),
        "normalize" => one(case.x().normalize(case.float_or("p", 2.0), case.int_or("dim", 1))),
        "cosine_similarity" => one(case.x().cosine_similarity(case.y(), case.int_or("dim", 1))),
        _ => return None,
    })
}
