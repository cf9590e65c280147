//! A step length that satisfies the strong Wolfe conditions: bracketing, then zooming in by cubic interpolation.
//!
//! Nocedal, Wright: Numerical optimization, algorithms 3.5 and 3.6.

use crate::error::Result;
use crate::tensor::Tensor;

/// The loss falls by this share of what its slope promises, and its slope shrinks to that one.
const FALL: f64 = 1e-4;
const FLATTEN: f64 = 0.9;

/// A step length that was tried: the loss, the gradient and the slope along the direction there.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) step: f64,
    pub(super) loss: f64,
    pub(super) gradient: Tensor,
    pub(super) slope: f64,
}

/// The minimum of the cubic through two trials, inside the bounds.
fn cubic(a: &Trial, b: &Trial, (low, high): (f64, f64)) -> f64 {
    let mixed = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.step - b.step);
    let square = mixed * mixed - a.slope * b.slope;
    if square < 0.0 || square.is_nan() {
        return (low + high) / 2.0;
    }
    let root = square.sqrt();
    let (left, right) = if a.step <= b.step { (a, b) } else { (b, a) };
    let share = (right.slope + root - mixed) / (right.slope - left.slope + 2.0 * root);
    let at = right.step - (right.step - left.step) * share;
    if at > low { at.min(high) } else { low }
}

/// Looks for a step length from `first` on; `start` is the trial of length 0, `reach` the greatest magnitude of the
/// direction. Gives the best trial and how often the loss was computed.
pub(super) fn strong_wolfe(
    start: &Trial,
    first: f64,
    reach: f64,
    least_change: f64,
    most: usize,
    mut evaluate: impl FnMut(f64) -> Result<Trial>,
) -> Result<(Trial, usize)> {
    let too_high = |trial: &Trial| trial.loss > start.loss + FALL * trial.step * start.slope;
    let flat = |trial: &Trial| trial.slope.abs() <= -FLATTEN * start.slope;
    let (mut before, mut now) = (start.clone(), evaluate(first)?);
    let (mut rounds, mut count) = (0, 1);
    let mut bracket = loop {
        if rounds == most {
            break [start.clone(), now];
        }
        if too_high(&now) || (rounds > 1 && now.loss >= before.loss) {
            break [before, now];
        }
        if flat(&now) {
            return Ok((now, count));
        }
        if now.slope >= 0.0 {
            break [before, now];
        }
        let next = cubic(&before, &now, (now.step + 0.01 * (now.step - before.step), now.step * 10.0));
        before = std::mem::replace(&mut now, evaluate(next)?);
        (rounds, count) = (rounds + 1, count + 1);
    };

    // which end of the bracket has the lower loss; at a tie the first
    let lower = |bracket: &[Trial; 2]| (bracket[0].loss > bracket[1].loss) as usize;
    let mut low = lower(&bracket);
    let mut stuck = false;
    while rounds < most && (bracket[1].step - bracket[0].step).abs() * reach >= least_change {
        let [a, b] = &bracket;
        let (left, right) = (a.step.min(b.step), a.step.max(b.step));
        let mut step = cubic(a, b, (left, right));
        // too near to an end, twice in a row or on it: a tenth of the bracket away from it
        let margin = 0.1 * (right - left);
        if f64::min(right - step, step - left) >= margin {
            stuck = false;
        } else if stuck || step >= right || step <= left {
            step = if (step - right).abs() < (step - left).abs() { right - margin } else { left + margin };
            stuck = false;
        } else {
            stuck = true;
        }
        let now = evaluate(step)?;
        (rounds, count) = (rounds + 1, count + 1);
        if too_high(&now) || now.loss >= bracket[low].loss {
            bracket[1 - low] = now;
            low = lower(&bracket);
        } else if flat(&now) {
            return Ok((now, count));
        } else {
            if now.slope * (bracket[1 - low].step - bracket[low].step) >= 0.0 {
                bracket[1 - low] = bracket[low].clone();
            }
            bracket[low] = now;
        }
    }
    let [a, b] = bracket;
    Ok((if low == 0 { a } else { b }, count))
}
