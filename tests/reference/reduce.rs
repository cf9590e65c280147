//! Reference names of the family `reduce`.

use super::*;

/// Which form is called: over everything, over axes, or keeping them.
fn reduce(
    case: &Case,
    all: impl Fn(&Tensor) -> Tensor,
    over: impl Fn(&Tensor, Vec<isize>) -> Tensor,
    keep: impl Fn(&Tensor, Vec<isize>) -> Tensor,
) -> Results {
    let (x, axes) = (case.x(), case.ints("dim"));
    one(match (case.has("dim") && !axes.is_empty(), case.flag("keepdim")) {
        (false, false) => all(x),
        (false, true) => keep(x, (0..x.rank().unwrap_or(0) as isize).collect()),
        (true, false) => over(x, axes),
        (true, true) => keep(x, axes),
    })
}

/// The same with positions along one axis.
fn along(
    case: &Case,
    all: fn(&Tensor) -> Tensor,
    over: fn(&Tensor, isize) -> (Tensor, Tensor),
    keep: fn(&Tensor, isize) -> (Tensor, Tensor),
) -> Results {
    if !case.has("dim") {
        return one(all(case.x()));
    }
    let (values, positions) = if case.flag("keepdim") { keep } else { over }(case.x(), case.int("dim"));
    list([values, positions])
}

/// A spread; `correction` 1 where it is not given.
fn spread(
    case: &Case,
    over: fn(&Tensor, Vec<isize>, f64) -> Tensor,
    keep: fn(&Tensor, Vec<isize>, f64) -> Tensor,
) -> Results {
    let (x, mut axes) = (case.x(), case.ints("dim"));
    if !case.has("dim") || axes.is_empty() {
        axes = (0..x.rank().unwrap_or(0) as isize).collect();
    }
    let correction = case.float_or("correction", 1.0);
    one(if case.flag("keepdim") { keep } else { over }(x, axes, correction))
}

pub fn call(case: &Case) -> Option<Results> {
    Some(match case.op {
        "sum" | "sum_empty" | "sum_f32" => reduce(case, |x| x.sum(), |x, a| x.sum_over(a), |x, a| x.sum_keep(a)),
        "mean" | "mean_empty" => reduce(case, |x| x.mean(), |x, a| x.mean_over(a), |x, a| x.mean_keep(a)),
        "prod" | "prod_empty" => reduce(case, |x| x.prod(), |x, a| x.prod_over(a), |x, a| x.prod_keep(a)),
        "amax" | "amax_ties" => reduce(case, |x| x.max(), |x, a| x.max_over(a), |x, a| x.max_keep(a)),
        "amin" | "amin_ties" => reduce(case, |x| x.min(), |x, a| x.min_over(a), |x, a| x.min_keep(a)),
        "argmax" | "argmax_ties" => reduce(case, |x| x.argmax(), |x, a| x.argmax_over(a), |x, a| x.argmax_keep(a)),
        "argmin" | "argmin_ties" => reduce(case, |x| x.argmin(), |x, a| x.argmin_over(a), |x, a| x.argmin_keep(a)),
        "any" => reduce(case, |x| x.any(), |x, a| x.any_over(a), |x, a| x.any_keep(a)),
        "all" => reduce(case, |x| x.all(), |x, a| x.all_over(a), |x, a| x.all_keep(a)),
        "count_nonzero" => {
            reduce(case, |x| x.count_nonzero(), |x, a| x.count_nonzero_over(a), |x, a| x.count_nonzero_keep(a))
        }
        "max" | "max_nan" | "max_ties" => along(case, |x| x.max(), |x, a| x.max_along(a), |x, a| x.max_along_keep(a)),
        "min" | "min_nan" | "min_ties" => along(case, |x| x.min(), |x, a| x.min_along(a), |x, a| x.min_along_keep(a)),
        "var" | "var_one" => spread(case, |x, a, c| x.var_corrected(a, c), |x, a, c| x.var_corrected_keep(a, c)),
        "std" | "std_one" => spread(case, |x, a, c| x.std_corrected(a, c), |x, a, c| x.std_corrected_keep(a, c)),
        "logsumexp" => reduce(case, |x| x.logsumexp(), |x, a| x.logsumexp_over(a), |x, a| x.logsumexp_keep(a)),
        "vector_norm" | "norm_zero" => {
            let order = case.float_or("ord", 2.0);
            reduce(
                case,
                |x| x.vector_norm(order),
                |x, a| x.vector_norm_over(order, a),
                |x, a| x.vector_norm_keep(order, a),
            )
        }
        "nansum" => reduce(case, |x| x.nan_sum(), |x, a| x.nan_sum_over(a), |x, a| x.nan_sum_keep(a)),
        "cumsum" => one(case.x().cumulative_sum(case.int("dim"))),
        "cumprod" => one(case.x().cumulative_prod(case.int("dim"))),
        "logcumsumexp" => one(case.x().cumulative_logsumexp(case.int("dim"))),
        "cummax" => {
            let (values, positions) = case.x().cumulative_max(case.int("dim"));
            list([values, positions])
        }
        "cummin" => {
            let (values, positions) = case.x().cumulative_min(case.int("dim"));
            list([values, positions])
        }
        _ => return None,
    })
}
