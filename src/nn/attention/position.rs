//! Where a token stands, told without anything that is learnt.

use crate::error::{Error, Fault};
use crate::layout::DType;
pub use crate::ops::{Rotary, RotaryScaling};
use crate::tensor::Tensor;

/// More heads are a mistake, and would take all memory before anything failed.
const MOST_HEADS: usize = 1 << 16;

/// How fast scores fall with the distance of query and key, head by head: `2^(-8/n), 2^(-16/n), ...` for `n` heads, a power
/// of two; otherwise those of the next smaller power, then every other one of the next greater. (Of more than 65 536 heads it is those of the first.)
///
/// Press, Smith, Lewis: "Train short, test long: attention with linear biases enables input length extrapolation", 2022.
///
/// ```
/// assert_eq!(chainrule::nn::alibi_slopes(4), [0.25, 0.0625, 0.015625, 0.00390625]);
/// ```
pub fn alibi_slopes(heads: usize) -> Vec<f64> {
    let heads = heads.min(MOST_HEADS);
    let slope = |index: usize, of: usize| (-8.0 * (index + 1) as f64 / of as f64).exp2();
    let whole = heads.checked_ilog2().map_or(0, |power| 1usize << power);
    let more = (0..heads - whole).map(|index| slope(2 * index, 2 * whole));
    (0..whole).map(|index| slope(index, whole)).chain(more).collect()
}

/// What distance takes from the scores, `[heads, queries, keys + added]`; the first query stands at `past`. Keys that a
/// layer adds stand nowhere and lose nothing.
#[track_caller]
pub(super) fn distances(heads: usize, queries: usize, keys: usize, past: usize, added: usize, dtype: DType) -> Tensor {
    if heads > MOST_HEADS {
        let what = format!("{heads} heads");
        let help = format!("biases by distance are for {MOST_HEADS} heads at most: check which number is which");
        return Tensor::failed(Error::new("alibi", Fault::value(what, help)));
    }
    let to = Tensor::arange(keys).to_dtype(DType::F64);
    let from = Tensor::arange(queries).to_dtype(DType::F64).unsqueeze(1) + past as f64;
    let slopes: Tensor = match Tensor::from_vec(alibi_slopes(heads), [heads, 1, 1]) {
        Ok(slopes) => slopes,
        Err(error) => return Tensor::failed(error),
    };
    let falls = slopes * -(to - from).abs();
    let falls = if added > 0 { falls.pad(&[(0, added as isize)], crate::ops::Pad::Zeros) } else { falls };
    falls.to_dtype(dtype)
}
