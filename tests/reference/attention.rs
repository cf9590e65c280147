//! Reference names of the family `attention`.

use super::*;
use chainrule::Attention;

pub fn call(case: &Case) -> Option<Results> {
    Some(match case.op {
        "scaled_dot_product_attention" => {
            let mut options = Attention::new().causal(case.flag("is_causal")).grouped(case.flag("enable_gqa"));
            if case.has("scale") {
                options = options.scale(case.float("scale"));
            }
            if let Some(mask) = case.named("attn_mask") {
                options = options.mask(mask);
            }
            one(case.x().scaled_dot_product_attention(case.at(1), case.at(2), &options))
        }
        _ => return None,
    })
}
