//! Reference names of the family `pool`.

use super::conv::ints;
use super::*;
use chainrule::{Interpolation, Pool, Resize};

pub fn call(case: &Case) -> Option<Results> {
    let x = case.x();
    let sizes = || ints(case, "output_size", 1);
    let positions = case.flag("return_indices");
    let max = |greatest: Tensor, both: [Tensor; 2]| if positions { list(both) } else { one(greatest) };
    Some(match case.op {
        "max_pool1d" => max(x.max_pool1d(pool(case)), x.max_pool1d_with_positions(pool(case))),
        "max_pool2d" => max(x.max_pool2d(pool(case)), x.max_pool2d_with_positions(pool(case))),
        "max_pool3d" => max(x.max_pool3d(pool(case)), x.max_pool3d_with_positions(pool(case))),
        "avg_pool1d" => one(x.average_pool1d(pool(case))),
        "avg_pool2d" => one(x.average_pool2d(pool(case))),
        "avg_pool3d" => one(x.average_pool3d(pool(case))),
        "adaptive_avg_pool1d" => one(x.adaptive_average_pool1d(sizes())),
        "adaptive_avg_pool2d" => one(x.adaptive_average_pool2d(sizes())),
        "adaptive_avg_pool3d" => one(x.adaptive_average_pool3d(sizes())),
        "adaptive_max_pool1d" => one(x.adaptive_max_pool1d(sizes())),
        "adaptive_max_pool2d" => one(x.adaptive_max_pool2d(sizes())),
        "adaptive_max_pool3d" => one(x.adaptive_max_pool3d(sizes())),
        "interpolate" => one(x.interpolate(resize(case))),
        "pixel_shuffle" => one(x.pixel_shuffle(case.int("upscale_factor") as usize)),
        "pixel_unshuffle" => one(x.pixel_unshuffle(case.int("downscale_factor") as usize)),
        "unfold" => one(x.unfold(pool(case))),
        "fold" => one(x.fold(sizes(), pool(case))),
        _ => return None,
    })
}

fn pool(case: &Case) -> Pool {
    let mut pool =
        Pool::new(case.ints("kernel_size")).padding(ints(case, "padding", 0)).dilation(ints(case, "dilation", 1));
    if case.has("stride") {
        pool = pool.stride(case.ints("stride"));
    }
    if case.flag("ceil_mode") {
        pool = pool.ceil();
    }
    if !case.flag_or("count_include_pad", true) {
        pool = pool.without_padding();
    }
    match case.has("divisor_override") {
        true => pool.divisor(case.float("divisor_override")),
        false => pool,
    }
}

fn resize(case: &Case) -> Resize {
    let factors = match &case.attributes["scale_factor"] {
        serde_json::Value::Array(factors) => factors.iter().filter_map(serde_json::Value::as_f64).collect(),
        factor => factor.as_f64().into_iter().collect::<Vec<f64>>(),
    };
    let resize = if case.has("size") { Resize::to(case.ints("size")) } else { Resize::by_each(&factors) };
    let resize = resize.mode(match case.text_or("mode", "nearest") {
        "nearest-exact" => Interpolation::NearestExact,
        "linear" | "bilinear" | "trilinear" => Interpolation::Linear,
        "bicubic" => Interpolation::Cubic,
        "area" => Interpolation::Area,
        _ => Interpolation::Nearest,
    });
    if case.flag("align_corners") { resize.align_corners() } else { resize }
}
