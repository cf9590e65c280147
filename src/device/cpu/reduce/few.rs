//! Sums of a few numbers, where everything around the additions counts: nothing is planned, cut or handed out.

use crate::device::Value;
use crate::device::cpu::real::Real;
use crate::device::reduce::{folded_count, folded_shape};
use crate::error::Fault;

/// The most numbers.
const MOST: usize = 128;

/// Adds up in order, in f64, where `x` is dense and so small and the first or the last axes are folded; `finish` makes the result of
/// a sum.
pub(super) fn sum<T: Real>(
    x: &Value,
    axes: &[usize],
    keep: bool,
    finish: impl Fn(f64) -> T,
) -> Option<Result<Value, Fault>> {
    if x.count() > MOST || x.count() == 0 {
        return None;
    }
    let (data, folded) = (x.slice::<T>()?, folded_count(x, axes));
    // How far apart two results' first terms lie, and two terms of a result.
    let steps = match (axes.first(), axes.last()) {
        (Some(0), Some(&last)) if last + 1 == axes.len() => [1, data.len() / folded],
        (Some(&first), Some(_)) if first + axes.len() == x.rank() => [folded, 1],
        _ => return None,
    };
    let shape = match folded_shape(x, axes, keep) {
        Ok(shape) => shape,
        Err(fault) => return Some(Err(fault)),
    };
    Some(Value::build::<T>(shape, |out| {
        for (result, out) in out.iter_mut().enumerate() {
            let (mut sum, mut at) = (0.0, result * steps[0]);
            for _ in 0..folded {
                sum += data[at].wide();
                at += steps[1];
            }
            *out = finish(sum);
        }
    }))
}
