//! Points of a line on a chart.

use chainrule::{DType, Result, Tensor};

/// Points in the order they are joined.
pub(crate) type Curve = Vec<(f64, f64)>;

/// A function of one number, at so many places between two ends.
pub(crate) fn sampled(from: f64, to: f64, count: usize, f: impl Fn(f64) -> f64) -> Curve {
    let along = |at: usize| from + (to - from) * at as f64 / (count - 1) as f64;
    (0..count).map(along).map(|x| (x, f(x))).collect()
}

/// Numbers along an axis, with what was computed of them.
pub(crate) fn pairs(x: &Tensor, y: &Tensor) -> Result<Curve> {
    let [x, y] = [x, y].map(|numbers| numbers.to_dtype(DType::F64).to_vec::<f64>());
    Ok(x?.into_iter().zip(y?).collect())
}

/// Points that no line joins.
pub(crate) fn dots(points: Curve) -> Curve {
    points.into_iter().flat_map(|point| [point, (f64::NAN, f64::NAN)]).collect()
}
