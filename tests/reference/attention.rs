//! Reference names of the family `attention`.

use super::*;
use chainrule::Attention;
use chainrule::nn::{
    Masks, MultiheadAttention, MultiheadAttentionOptions, TransformerDecoderLayer, TransformerEncoderLayer,
    TransformerOptions,
};

/// The masks of these names; `causal` where the attribute says so.
fn masks(case: &Case, scores: &str, padding: &str, causal: &str) -> Masks {
    let mut masks = Masks::new();
    if let Some(mask) = case.named(scores) {
        masks = masks.scores(mask);
    }
    if let Some(mask) = case.named(padding) {
        masks = masks.padding(mask);
    }
    if case.flag(causal) { masks.causal() } else { masks }
}

fn multihead(case: &Case) -> Results {
    let mut options = MultiheadAttention::options(case.built_with_int("embed_dim"), case.built_with_int("num_heads"));
    options = options.with_dropout(case.built_with_float("dropout", 0.0));
    if case.built_with("kdim") {
        options = options.with_key_width(case.built_with_int("kdim"));
    }
    if case.built_with("vdim") {
        options = options.with_value_width(case.built_with_int("vdim"));
    }
    for (name, default, with) in [
        ("add_bias_kv", false, MultiheadAttentionOptions::with_extra_key as fn(_) -> _),
        ("add_zero_attn", false, MultiheadAttentionOptions::with_zero_key),
        ("batch_first", false, MultiheadAttentionOptions::with_batch_first),
    ] {
        if case.built_with_flag(name, default) {
            options = with(options);
        }
    }
    if !case.built_with_flag("bias", true) {
        options = options.without_bias();
    }
    let mut layer = options.build(&mut case.init());
    case.load(&mut layer);
    let masks = masks(case, "attn_mask", "key_padding_mask", "is_causal");
    let (query, key, value) = (case.x(), case.at(1), case.at(2));
    if !case.flag_or("need_weights", true) {
        return one(layer.attend(query, key, value, &masks));
    }
    let mean = case.flag_or("average_attn_weights", true);
    let (out, weights) = layer.attend_with_weights(query, key, value, &masks, mean);
    // The fused way, which gives no weights, must say the same.
    let fused = layer.attend(query, key, value, &masks);
    assert!(near(&fused, &out), "with weights {out}, without {fused}");
    list([out, weights])
}

fn near(a: &Tensor, b: &Tensor) -> bool {
    let tolerance = if a.dtype().is_ok_and(|dtype| dtype == DType::F64) { 1e-11 } else { 1e-5 };
    a.is_close(b, tolerance, tolerance).all().item().is_ok_and(|all| all == 1.0)
}

/// The options of a transformer layer.
fn options<T>(case: &Case, start: fn(usize, usize) -> TransformerOptions<T>) -> TransformerOptions<T> {
    let mut options = start(case.built_with_int("d_model"), case.built_with_int("nhead"))
        .with_feedforward(case.built_with_float("dim_feedforward", 2048.0) as usize)
        .with_dropout(case.built_with_float("dropout", 0.1))
        .with_epsilon(case.built_with_float("layer_norm_eps", 1e-5));
    if case.constructor["activation"] == "gelu" {
        options = options.with_activation(Tensor::gelu);
    }
    if case.built_with_flag("norm_first", false) {
        options = options.with_norm_first();
    }
    if case.built_with_flag("batch_first", false) {
        options = options.with_batch_first();
    }
    if case.built_with_flag("bias", true) { options } else { options.without_bias() }
}

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
        "multihead_attention" => multihead(case),
        "transformer_encoder_layer" => {
            let mut layer = options(case, TransformerEncoderLayer::options).build(&mut case.init());
            case.load(&mut layer);
            let masks = masks(case, "src_mask", "src_key_padding_mask", "is_causal");
            one(layer.forward_masked(case.x(), &masks))
        }
        "transformer_decoder_layer" => {
            let mut layer = options(case, TransformerDecoderLayer::options).build(&mut case.init());
            case.load(&mut layer);
            let target = masks(case, "tgt_mask", "tgt_key_padding_mask", "tgt_is_causal");
            let memory = masks(case, "memory_mask", "memory_key_padding_mask", "memory_is_causal");
            one(layer.forward(case.x(), case.at(1), &target, &memory))
        }
        _ => return None,
    })
}
