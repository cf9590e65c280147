//! Reference names of the family `matmul`.

use super::*;

pub fn call(case: &Case) -> Option<Results> {
    Some(match case.op {
        "matmul" => one(case.x().matmul(case.y())),
        "linear" => one(case.x().linear(case.y(), case.operands.get(2).map(|bias| &bias.tensor))),
        "addmm" => {
            one(case.x().add_matmul(case.y(), case.at(2), case.float_or("alpha", 1.0), case.float_or("beta", 1.0)))
        }
        "outer" => one(case.x().outer(case.y())),
        "bilinear" => one(case.x().bilinear(case.y(), case.at(2), case.operands.get(3).map(|bias| &bias.tensor))),
        "einsum" => one(Tensor::einsum(case.text("equation"), &case.all())),
        _ => return None,
    })
}
