//! Rows of the family `reduce`.

use super::*;

const REASON: &str = "no gradient";

/// So many numbers are folded in pieces that are joined.
const LONG: usize = 8200;
/// Lines along the second axis that several threads go along, in pieces.
const DEEP: [usize; 3] = [1, 260, 32];

/// The usual cases: everything, one number, nothing, views.
fn usual(row: Row) -> Row {
    row.on([real([])]).on([real([1])]).on([real([7])]).on([real([2, 3])]).on([real([3, 1, 4])]).on([real([700])])
}

/// As [`usual`], with no two numbers alike.
fn distinct(row: Row) -> Row {
    let numbers = |row: Row, input: Input| row.on([input.distinct()]);
    [real([]), real([1]), real([7])].into_iter().chain([]).fold(row, numbers).on([real([2, 3]).distinct()]).on([real([
        3, 20, 2,
    ])
    .distinct()])
}

fn sums() -> Vec<Row> {
    vec![
        usual(row("sum", |x| x[0].sum())).on([real([3, 0])]).dtypes(ALL).large(ALL, [real([LONG])]),
        usual(row("sum_over", |x| x[0].sum_over(-1)).axis(|x, axis| x[0].sum_over(axis)))
            .on([real([3, 0])])
            .on([real([40, 33])])
            .dtypes(ALL)
            .wrong(ErrorKind::Shape, &["sum", "axis 2", "rank 2"], || Tensor::zeros([2, 3]).sum_over(2))
            .wrong(ErrorKind::Shape, &["more than once"], || Tensor::zeros([2, 3]).sum_over([1, -1])),
        row("sum_keep", |x| x[0].sum_keep([0, 2])).on([real([2, 3, 4])]).on([real([2, 0, 4])]).on([real([70, 2, 3])]),
        usual(row("mean", |x| x[0].mean())).wrong(ErrorKind::DType, &["mean", "i64", "to_dtype"], || {
            Tensor::zeros([3]).to_dtype(DType::I64).mean()
        }),
        row("mean_over", |x| x[0].mean_over([0, 1])).on([real([2, 3, 4])]).on([real([70, 1, 20])]),
        row("mean_keep", |x| x[0].mean_keep(-1))
            .axis(|x, axis| x[0].mean_keep(axis))
            .on([real([2, 3])])
            .on([real([3, 1])]),
        usual(row("nan_sum", |x| x[0].nan_sum())).on([real([3, 0])]),
        row("nan_sum_over", |x| x[0].nan_sum_over(0)).on([real([3, 4])]),
        row("nan_sum_keep", |x| x[0].nan_sum_keep(0)).on([real([3, 4])]),
        row("nan_mean", |x| x[0].nan_mean())
            .on([real([3, 4])])
            .on([real([])])
            .composed()
            .definition(|x| x[0].mean()),
        row("nan_mean_over", |x| (&x[0] / &x[1]).nan_mean_over(1))
            .on([real([2, 3]).away_from(&[0.0]), real([2, 3]).positive()])
            .composed()
            .definition(|x| (&x[0] / &x[1]).mean_over(1)),
        row("covariance", |x| x[0].covariance(1.0))
            .on([real([3, 5])])
            .on([real([4])])
            .composed()
            .definition(|x| {
                let x = x[0].at_least_rank(2);
                let apart = &x - x.mean_keep(1);
                let sums = (apart.unsqueeze(1) * apart.unsqueeze(0)).sum_over(2) / (x.size(1).unwrap_or(2) as f64 - 1.0);
                if x.size(0).is_ok_and(|rows| rows == 1) { sums.reshape(()) } else { sums }
            })
            .wrong(ErrorKind::Shape, &["the input has 3 axes"], || Tensor::zeros([2, 2, 2]).covariance(1.0)),
        row("correlation", |x| x[0].correlation()).on([real([3, 6])]).composed(),
        row("prod", |x| x[0].prod())
            .on([real([])])
            .on([real([0])])
            .on([real([5])])
            .on([real([2, 3])])
            .on([real([4]).values(&[1.5, 0.0, -2.0, 0.5])])
            .on([real([4]).values(&[1.5, 0.0, -2.0, 0.0])])
            .dtypes(ALL)
            .large(ALL, [real([LONG]).values(&[1.0, -1.0, 1.0, 1.25, 0.8])])
            .large(INTEGERS, [real([LONG]).values(&[1.0, -1.0, 1.0])]),
        row("prod_over", |x| x[0].prod_over([0, 2]))
            .on([real([2, 3, 2])])
            .on([real([2, 2, 2]).values(&[0.0, 1.0, 2.0, 3.0, 0.5, 0.0, 0.0, 1.5])])
            .axis(|x, axis| x[0].prod_over(axis)),
        row("prod_keep", |x| x[0].prod_keep(1)).on([real([2, 3])]),
    ]
}

fn extremes() -> Vec<Row> {
    vec![
        distinct(row("max", |x| x[0].max())).dtypes(ALL).large(ALL, [real([LONG]).distinct()]).wrong(ErrorKind::Shape, &["max", "no numbers"], || {
            Tensor::zeros([0]).max()
        }),
        distinct(row("min", |x| x[0].min())).dtypes(ALL).wrong(ErrorKind::Shape, &["min", "no numbers"], || {
            Tensor::zeros([0]).min()
        }),
        row("max_over", |x| x[0].max_over(0))
            .on([real([3, 4]).distinct()])
            .on([real([40, 3]).distinct()])
            .axis(|x, axis| x[0].max_over(axis)),
        row("min_over", |x| x[0].min_over([0, 1])).on([real([3, 4, 2]).distinct()]),
        row("max_keep", |x| x[0].max_keep(0)).on([real([3, 4]).distinct()]),
        row("min_keep", |x| x[0].min_keep(1)).on([real([3, 4]).distinct()]),
        row("max_along", |x| x[0].max_along(1))
            .on([real([3, 4]).distinct()])
            .on([real([2, 33, 3]).distinct()])
            .axis(|x, axis| x[0].max_along(axis))
            .dtypes(ALL)
            .wrong(ErrorKind::Shape, &["no numbers", "[2, 0]"], || Tensor::zeros([2, 0]).max_along(1)),
        row("min_along", |x| x[0].min_along(0)).on([real([3, 4]).distinct()]).axis(|x, axis| x[0].min_along(axis)),
        row("max_along_keep", |x| x[0].max_along_keep(1)).on([real([3, 4]).distinct()]),
        row("min_along_keep", |x| x[0].min_along_keep(1)).on([real([3, 4]).distinct()]),
        row("aminmax", |x| x[0].aminmax()).on([real([3, 4]).distinct()]),
        row("argmax", |x| x[0].argmax())
            .on([real([3, 4]).distinct()])
            .on([real([700]).distinct()])
            .no_gradient(REASON)
            .dtypes(ALL)
            .wrong(ErrorKind::Shape, &["argmax", "no numbers"], || Tensor::zeros([0, 3]).argmax()),
        row("argmax_over", |x| x[0].argmax_over(0))
            .on([real([3, 4]).distinct()])
            .axis(|x, axis| x[0].argmax_over(axis))
            .no_gradient(REASON),
        row("argmax_keep", |x| x[0].argmax_keep(1)).on([real([3, 4]).distinct()]).no_gradient(REASON),
        row("argmin", |x| x[0].argmin()).on([real([3, 4]).distinct()]).no_gradient(REASON).dtypes(ALL),
        row("argmin_over", |x| x[0].argmin_over(1)).on([real([3, 4]).distinct()]).no_gradient(REASON),
        row("argmin_keep", |x| x[0].argmin_keep(1)).on([real([3, 4]).distinct()]).no_gradient(REASON),
    ]
}

fn questions() -> Vec<Row> {
    vec![
        row("any", |x| x[0].any()).on([real([2, 3])]).on([real([0])]).no_gradient(REASON).dtypes(ALL),
        row("any_over", |x| x[0].any_over(0))
            .on([real([2, 3])])
            .no_gradient(REASON)
            .axis(|x, axis| x[0].any_over(axis)),
        row("any_keep", |x| x[0].any_keep(0)).on([real([2, 3])]).no_gradient(REASON),
        row("all", |x| x[0].all()).on([real([2, 3])]).on([real([0])]).no_gradient(REASON).dtypes(ALL),
        row("all_over", |x| x[0].all_over(0)).on([real([2, 3])]).no_gradient(REASON),
        row("all_keep", |x| x[0].all_keep(0)).on([real([2, 3])]).no_gradient(REASON),
        row("count_nonzero", |x| x[0].count_nonzero())
            .on([real([4]).values(&[0.0, 1.0, -0.5, 0.0])])
            .no_gradient(REASON)
            .dtypes(ALL),
        row("count_nonzero_over", |x| x[0].count_nonzero_over(0)).on([real([2, 3])]).no_gradient(REASON),
        row("count_nonzero_keep", |x| x[0].count_nonzero_keep(0)).on([real([2, 3])]).no_gradient(REASON),
    ]
}

fn spreads() -> Vec<Row> {
    vec![
        row("var", |x| x[0].var()).on([real([5])]).on([real([2, 3])]).on([real([600])]).large(FLOATS, [real([LONG])]).wrong(
            ErrorKind::DType,
            &["variance", "i64"],
            || Tensor::zeros([3]).to_dtype(DType::I64).var(),
        ),
        row("var_over", |x| x[0].var_over(0))
            .on([real([5, 3])])
            .on([real([40, 20])])
            .axis(|x, axis| x[0].var_over(axis)),
        row("var_keep", |x| x[0].var_keep([0, 2])).on([real([2, 3, 2])]),
        row("var_corrected", |x| x[0].var_corrected(1, 0.0)).on([real([2, 3])]),
        row("var_corrected_keep", |x| x[0].var_corrected_keep(1, 0.0)).on([real([2, 3])]),
        row("var_mean", |x| x[0].var_mean(1, 1.0)).on([real([2, 3])]),
        row("std", |x| x[0].std()).on([real([5])]).on([real([2, 3])]),
        row("std_over", |x| x[0].std_over(0)).on([real([5, 3])]).axis(|x, axis| x[0].std_over(axis)),
        row("std_keep", |x| x[0].std_keep(0)).on([real([5, 3])]),
        row("std_corrected", |x| x[0].std_corrected(1, 0.0)).on([real([2, 3])]),
        row("std_corrected_keep", |x| x[0].std_corrected_keep(1, 0.0)).on([real([2, 3])]),
    ]
}

fn norms() -> Vec<Row> {
    let kinked = || real([3, 4]).away_from(&[0.0]);
    vec![
        row("norm", |x| x[0].norm()).on([real([5])]).on([real([2, 3])]).large(FLOATS, [real([LONG])]),
        row("norm_over", |x| x[0].norm_over(1)).on([real([2, 3])]).axis(|x, axis| x[0].norm_over(axis)),
        row("norm_keep", |x| x[0].norm_keep(1)).on([real([2, 3])]),
        row("vector_norm", |x| x[0].vector_norm(3.0)).on([kinked()]).wrong(ErrorKind::Value, &["NaN"], || {
            Tensor::zeros([2]).vector_norm(f64::NAN)
        }),
        row("vector_norm 0.5", |x| x[0].vector_norm(0.5)).on([kinked()]),
        row("vector_norm inf", |x| x[0].vector_norm_over(f64::INFINITY, 1)).on([real([3, 4]).distinct()]),
        row("vector_norm_over", |x| x[0].vector_norm_over(1.0, 1)).on([kinked()]),
        row("vector_norm_keep", |x| x[0].vector_norm_keep(2.5, 1)).on([kinked()]),
        row("normalize", |x| x[0].normalize(2.0, -1)).on([real([2, 3])]).composed(),
        row("cosine_similarity", |x| x[0].cosine_similarity(&x[1], 1))
            .on([real([2, 3]), real([2, 3])])
            .on([real([2, 3]), real([1, 3])])
            .composed(),
        row("distances", |x| x[0].distances(&x[1], 2.0)).on([real([2, 3]), real([4, 3]).between(3.0, 5.0)]).composed(),
        row("pairwise_distance", |x| x[0].pairwise_distance(&x[1], 2.0))
            .on([real([2, 3]), real([2, 3]).between(3.0, 5.0)])
            .composed(),
    ]
}

fn running() -> Vec<Row> {
    vec![
        row("cumulative_sum", |x| x[0].cumulative_sum(1))
            .on([real([2, 3])])
            .on([real([2, 5, 3])])
            .on([real([2, 0])])
            .large(ALL, [real(DEEP)])
            .axis(|x, axis| x[0].cumulative_sum(axis))
            .dtypes(ALL),
        row("cumulative_prod", |x| x[0].cumulative_prod(1))
            .on([real([2, 3])])
            .on([real([1, 5]).values(&[1.5, 0.0, 2.0, 0.0, 3.0])])
            .large(WIDE, [real(DEEP).between(0.9, 1.1)])
            .large(&[DType::I64], [real(DEEP).values(&[1.0, -1.0, 1.0, 1.0])])
            .axis(|x, axis| x[0].cumulative_prod(axis))
            .dtypes(ALL),
        row("cumulative_logsumexp", |x| x[0].cumulative_logsumexp(1))
            .on([real([2, 3])])
            .on([real([2, 5, 3])])
            .large(WIDE, [real(DEEP)])
            .axis(|x, axis| x[0].cumulative_logsumexp(axis)),
        row("cumulative_max", |x| x[0].cumulative_max(1))
            .on([real([2, 5]).distinct()])
            .dtypes(ALL)
            .large(&[DType::F64, DType::F32, DType::I64], [real(DEEP).distinct()]),
        row("cumulative_min", |x| x[0].cumulative_min(1)).on([real([2, 5]).distinct()]).dtypes(ALL),
    ]
}

pub fn rows() -> Vec<Row> {
    let families = [sums(), extremes(), questions(), spreads(), norms(), running()];
    families.into_iter().flatten().collect()
}
