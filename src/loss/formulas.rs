//! The losses that are formulas: what one element costs, in one pass over memory.

use crate::formula_struct;
use crate::op::pointwise;
use crate::tensor::Tensor;

/// Functions of tensors that broadcast, from a text each; `rare` ones are computed in double precision by one loop.
macro_rules! terms {
    ($($(#[$doc:meta])* $([$($mark:ident)*])? fn $name:ident($x:ident $(, $more:ident)* $(; $($p:ident),*)?) $body:block $(gradient $slope:tt)?)*) => { $(
        $(#[$doc])*
        #[track_caller]
        pub(super) fn $name($x: &Tensor $(, $more: &Tensor)* $($(, $p: f64)*)?) -> Tensor {
            formula_struct!([$($($mark)*)?] Formula $name ($x $(, $more)*) ($($($p),*)?) $body $(gradient $slope)?);
            pointwise(Formula { $($($p),*)? }, [$x $(, $more)*])
        }
    )* };
}

terms! {
    /// `|x - t|`
    fn l1_loss(x, t) { abs(x - t) } gradient { sign(x - t), sign(t - x) }
    /// A parabola within `beta`, a line of slope 1 beyond.
    fn smooth_l1_loss(x, t; beta) {
        let apart = abs(x - t);
        select(lt(apart, beta), 0.5 * (apart * apart) / beta, apart - 0.5 * beta)
    }
    /// A parabola within `delta`, a line of slope `delta` beyond.
    fn huber_loss(x, t; delta) {
        let apart = abs(x - t);
        select(le(apart, delta), 0.5 * (apart * apart), delta * (apart - 0.5 * delta))
    }

    /// `-(t ln x + (1 - t) ln(1 - x))`, each logarithm at least -100; the slope's denominator is at least 1e-12 (as PyTorch
    /// has it, in single precision).
    fn binary_cross_entropy(x, t) {
        -(t * maximum(ln(x), -100.0)) - (1.0 - t) * maximum(log1p(-x), -100.0)
    } gradient {
        (x - t) / maximum((1.0 - x) * x, 1e-12f32 as f64),
        maximum(log1p(-x), -100.0) - maximum(ln(x), -100.0)
    }
    /// The same of logits, without overflow.
    fn binary_cross_entropy_with_logits(x, t) {
        (1.0 - t) * x + (log1p(exp(-abs(x))) + maximum(-x, 0.0))
    } gradient {
        {
            let below = exp(-abs(x));
            select(ge(x, 0.0), 1.0, below) / (1.0 + below) - t
        },
        -x
    }
    /// The same, where a positive weighs `w`.
    fn binary_cross_entropy_with_positives(x, t, w) {
        (1.0 - t) * x + (1.0 + (w - 1.0) * t) * (log1p(exp(-abs(x))) + maximum(-x, 0.0))
    } gradient {
        {
            let below = exp(-abs(x));
            (1.0 - t) - (1.0 + (w - 1.0) * t) * (select(ge(x, 0.0), below, 1.0) / (1.0 + below))
        },
        (w - 1.0) * (log1p(exp(-abs(x))) + maximum(-x, 0.0)) - x,
        t * (log1p(exp(-abs(x))) + maximum(-x, 0.0))
    }
    /// `a · q^gamma · entropy` of logits, where `q` is the chance of being wrong and `a` the weight of the side.
    [rare] fn binary_focal_loss(x, t; positive, negative, gamma) {
        let below = exp(-abs(x));
        let yes = select(ge(x, 0.0), 1.0, below) / (1.0 + below);
        let no = select(ge(x, 0.0), below, 1.0) / (1.0 + below);
        let entropy = (1.0 - t) * x + (log1p(below) - select(lt(x, 0.0), x, 0.0));
        let wrong = maximum(t * no + (1.0 - t) * yes, 1e-37);
        (positive * t + negative * (1.0 - t)) * (pow(wrong, gamma) * entropy)
    }
    /// `(1 - e^-l)^gamma · l` of a cross entropy `l`: `1 - e^-l` is the chance of being wrong.
    [rare] fn focal_loss(l; gamma) { pow(maximum(-expm1(-l), 1e-300), gamma) * l }

    /// `t (ln t - x)`, 0 where `t` is 0.
    fn kl_div(x, t) {
        let safe = select(gt(t, 0.0), t, 1.0);
        select(eq(t, 0.0), 0.0, t * (ln(safe) - x))
    } gradient {
        -t,
        {
            let safe = select(gt(t, 0.0), t, 1.0);
            select(gt(t, 0.0), ln(safe) + 1.0, 0.0) - x
        }
    }
    /// `e^t (t - x)`, 0 where `e^t` is 0.
    fn kl_div_of_logarithms(x, t) {
        let share = exp(t);
        select(gt(share, 0.0), share * (t - x), 0.0)
    } gradient {
        -exp(t),
        {
            let share = exp(t);
            select(gt(share, 0.0), share * (t - x + 1.0), 0.0)
        }
    }

    /// `e^x - t x` of the logarithm of a rate.
    [rare] fn poisson_nll_loss(x, t) { exp(x) - t * x } gradient { exp(x) - t, -x }
    /// `x - t ln(x + epsilon)` of a rate.
    [rare] fn poisson_nll_loss_of_rates(x, t; epsilon) { x - t * ln(x + epsilon) }
    /// Stirling's approximation of `ln t!` above 1, else 0.
    [rare] fn stirling(t) {
        let count = select(gt(t, 1.0), t, 1.0);
        select(gt(t, 1.0), count * ln(count) - count + 0.5 * ln(count * std::f64::consts::TAU), 0.0)
    }
    /// A variance that is `epsilon` at least. What arrives goes on as if it had not been raised, so that it still learns.
    [rare] fn raised(v; epsilon) { maximum(v, epsilon) } gradient { R::from(1.0) }
    /// `½ (ln v + (x - t)² / v)`
    [rare] fn gaussian_nll_loss(x, t, v) {
        0.5 * (ln(v) + (x - t) * (x - t) / v)
    } gradient {
        (x - t) / v,
        (t - x) / v,
        0.5 * (1.0 - (x - t) * (x - t) / v) / v
    }

    /// `ln(1 + e^(-t x))`, without overflow.
    [rare] fn soft_margin_loss(x, t) {
        let z = -(x * t);
        select(gt(z, 0.0), z, 0.0) + log1p(exp(-abs(z)))
    } gradient {
        {
            let z = -(x * t);
            let below = exp(-abs(z));
            -(t * (select(ge(z, 0.0), 1.0, below) / (1.0 + below)))
        },
        {
            let z = -(x * t);
            let below = exp(-abs(z));
            -(x * (select(ge(z, 0.0), 1.0, below) / (1.0 + below)))
        }
    }
    /// `max(0, margin - t (a - b))`
    [rare] fn margin_ranking_loss(a, b, t; margin) {
        let z = margin - t * (a - b);
        select(lt(z, 0.0), 0.0, z)
    }
    /// `x` where `t` is 1, else `max(0, margin - x)`.
    [rare] fn hinge_embedding_loss(x, t; margin) {
        let z = margin - x;
        select(eq(t, 1.0), x, select(lt(z, 0.0), 0.0, z))
    }
}
