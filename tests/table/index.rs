//! Rows of the family `index`.

use super::*;
use chainrule::Combine;

/// Positions that do not repeat: where the last one stays, a step must not change which.
fn at(shape: &[usize], positions: &[f64]) -> Input {
    Input { shape: shape.to_vec(), values: Values::Given(positions.to_vec()), gradient: false }
}

fn whole(x: &Tensor) -> Tensor {
    x.to_dtype(DType::I64)
}

pub fn rows() -> Vec<Row> {
    let x = || Tensor::zeros([2, 3]);
    vec![
        row("index_select", |x| x[0].index_select(1, &x[1]))
            .on([real([2, 3]), index([5], 3)])
            .on([real([2, 3, 4]), index([2], 3)])
            .on([real([2, 3]), index([], 3)])
            .on([real([2, 3]), index([0], 3)])
            .on([real([0, 3]), index([2], 3)])
            .dtypes(ALL)
            .axis(|x, axis| x[0].index_select(axis, &Tensor::from([0])))
            .wrong(ErrorKind::Index, &["index 3 at [1]", "axis 1 of size 3", "from 0 to 2"], move || {
                x().index_select(1, &Tensor::from([0, 3]))
            })
            .wrong(ErrorKind::Index, &["index -4", "-3 to -1"], move || x().index_select(1, &Tensor::from([-4])))
            .wrong(ErrorKind::DType, &["positions are f32", "to_dtype(DType::I64)"], move || {
                x().index_select(1, &Tensor::from([1.0]))
            })
            .wrong(ErrorKind::Shape, &["2 axes", "gather"], move || x().index_select(1, &Tensor::from([[1]])))
            .wrong(ErrorKind::Index, &["the axis is empty"], || Tensor::zeros([0]).index_select(0, &Tensor::from([0]))),
        row("gather", |x| x[0].gather(1, &x[1]))
            .on([real([2, 3]), index([2, 4], 3)])
            .on([real([4, 3, 2]), index([3, 5, 1], 3)])
            .on([real([2, 3]), index([0, 4], 3)])
            .dtypes(ALL)
            .axis(|x, axis| x[0].gather(axis, &Tensor::zeros([1; 2]).to_dtype(DType::I64)))
            .wrong(ErrorKind::Shape, &["2 axes, the index 1"], move || x().gather(1, &Tensor::from([0])))
            .wrong(ErrorKind::Shape, &["along axis 0 the index has size 3, the tensor 2"], move || {
                x().gather(1, &Tensor::from([[0], [0], [0]]))
            })
            .wrong(ErrorKind::Index, &["index 5 at [1, 0]"], move || x().gather(1, &Tensor::from([[0], [5]]))),
        row("gather first axis", |x| x[0].gather(0, &x[1]))
            .on([real([3, 4]), index([5, 4], 3)])
            .on([real([3]), index([5], 3)]),
        row("take_along_axis", |x| x[0].take_along_axis(0, &x[1]))
            .on([real([3, 4]), index([2, 1], 3)])
            .on([real([3, 1]), index([2, 4], 3)])
            .wrong(ErrorKind::Shape, &["do not broadcast"], move || {
                x().take_along_axis(0, &Tensor::zeros([2, 2]).to_dtype(DType::I64))
            }),
        row("take", |x| x[0].take(&x[1])).on([real([2, 3]), index([2, 2], 6)]).on([real([]), index([3], 1)]).wrong(
            ErrorKind::Index,
            &["index 6"],
            move || x().take(&Tensor::from(6)),
        ),
        row("take_slices", |x| x[0].take_slices(1, &x[1])).on([real([2, 3, 2]), index([2, 2], 3)]),
        row("index", |x| x[0].index(&[&x[1], &x[2]]))
            .on([real([3, 4]), index([5], 3), index([5], 4)])
            .on([real([3, 4, 2]), index([2, 1], 3), index([3], 4)])
            .wrong(ErrorKind::Shape, &["positions for 3 axes of a tensor of rank 2"], move || {
                let at = Tensor::from([0]);
                x().index(&[&at, &at, &at])
            })
            .wrong(ErrorKind::Index, &["index 3 at [0]", "axis 1"], move || {
                x().index(&[&Tensor::from([0]), &Tensor::from([3])])
            }),
        row("masked_select", |x| x[0].masked_select(&x[1].to_dtype(DType::Bool)))
            .on([real([2, 3]), at(&[2, 3], &[1.0, 0.0, 1.0, 1.0, 0.0, 0.0])])
            .composed()
            .wrong(ErrorKind::DType, &["the mask is f32"], move || x().masked_select(&x()))
            .wrong(ErrorKind::Shape, &["do not broadcast"], move || {
                x().masked_select(&Tensor::zeros([2]).to_dtype(DType::Bool))
            }),
        row("scatter", |x| x[0].scatter(1, &whole(&x[1]), &x[2]))
            .on([real([2, 3]), at(&[2, 2], &[0.0, 2.0, 1.0, 0.0]), real([2, 2])])
            .on([real([2, 3]), at(&[1, 4], &[0.0, 2.0, 0.0, 0.0]), real([2, 5])])
            .dtypes(ALL)
            .axis(|x, axis| {
                x[0].scatter(axis, &Tensor::zeros([1; 2]).to_dtype(DType::I64), &x[0].narrow(0, 0, 1).narrow(1, 0, 1))
            })
            .wrong(ErrorKind::Shape, &["along axis 1 the index has size 3, the source 2"], move || {
                x().scatter(1, &x().to_dtype(DType::I64), &Tensor::zeros([2, 2]))
            })
            .wrong(ErrorKind::DType, &["the source is f64"], move || {
                x().scatter(1, &x().to_dtype(DType::I64), &x().to_dtype(DType::F64))
            }),
        row("scatter_fill", |x| x[0].scatter_fill(0, &x[1], 3.0)).on([real([3, 2]), index([2, 2], 3)]).dtypes(NUMBERS),
        row("scatter_add", |x| x[0].scatter_add(1, &x[1], &x[2]))
            .on([real([2, 3]), index([2, 4], 3), real([2, 4])])
            .on([real([2, 3, 2]), index([1, 4, 2], 3), real([2, 5, 2])])
            .on([real([2, 3]), index([2, 0], 3), real([2, 0])])
            .dtypes(NUMBERS)
            .large(NUMBERS, [real([2, 3]), index([2, 300], 3), real([2, 300])])
            .wrong(ErrorKind::Shape, &["2 axes, the index 1, the source 1"], move || {
                x().scatter_add(1, &Tensor::from([0]), &Tensor::ones([1]))
            })
            .wrong(ErrorKind::Index, &["index 9 at [0, 1]"], move || {
                x().scatter_add(1, &Tensor::from([[0, 9]]), &Tensor::ones([1, 2]))
            }),
        row("scatter_add many", |x| x[0].scatter_add(0, &x[1], &x[2]))
            .on([real([3]), index([90], 3), real([90])])
            .large(WIDE, [real([300]), index([8200], 300), real([8200])]),
        row("scatter_reduce mean", |x| x[0].scatter_reduce(1, &x[1], &x[2], Combine::Mean, true))
            .on([real([2, 3]), index([2, 4], 3), real([2, 4])])
            .dtypes(FLOATS)
            .large(INTEGERS, [real([2, 3]), index([2, 4], 3), real([2, 4])]),
        row("scatter_reduce mean of the source", |x| x[0].scatter_reduce(1, &x[1], &x[2], Combine::Mean, false)).on([
            real([2, 3]),
            index([2, 2], 3),
            real([2, 2]),
        ]),
        row("scatter_reduce product", |x| x[0].scatter_reduce(0, &x[1], &x[2], Combine::Product, true)).on([
            real([3, 2]).away_from(&[0.0]),
            index([4, 2], 3),
            real([4, 2]).away_from(&[0.0]),
        ]),
        row("scatter_reduce largest", |x| x[0].scatter_reduce(0, &x[1], &x[2], Combine::Largest, true))
            .on([real([3]).values(&[0.1, 0.7, -0.3]), index([4], 3), real([4]).values(&[0.4, -0.6, 0.9, 0.2])])
            .dtypes(NUMBERS),
        row("scatter_reduce smallest of the source", |x| {
            x[0].scatter_reduce(0, &x[1], &x[2], Combine::Smallest, false)
        })
        .on([real([3]).values(&[0.1, 0.7, -0.3]), index([4], 3), real([4]).values(&[0.4, -0.6, 0.9, 0.2])])
        .dtypes(NUMBERS),
        row("index_reduce", |x| x[0].index_reduce(0, &x[1], &x[2], Combine::Sum, false))
            .on([real([3, 2]), index([4], 3), real([4, 2])])
            .composed(),
        row("index_add", |x| x[0].index_add(1, &x[1], &x[2]))
            .on([real([2, 3]), index([4], 3), real([2, 4])])
            .on([real([2, 3, 2]), index([4], 3), real([2, 4, 2])])
            .on([real([2, 3]), index([0], 3), real([2, 0])])
            .dtypes(NUMBERS)
            .large(&[DType::F32], [real([1, 300, 2]), index([8200], 300), real([1, 8200, 2])])
            .axis(|x, axis| x[0].index_add(axis, &Tensor::from([0]), &x[0].narrow(1, 0, 1)))
            .wrong(ErrorKind::Shape, &["the positions are [2], the source [2, 3]"], move || {
                x().index_add(1, &Tensor::from([0, 1]), &x())
            })
            .wrong(ErrorKind::Shape, &["both need the same sizes"], move || {
                x().index_add(1, &Tensor::from([0]), &Tensor::ones([4, 1]))
            }),
        row("index_copy", |x| x[0].index_copy(1, &whole(&x[1]), &x[2]))
            .on([real([2, 3, 2]), at(&[2], &[2.0, 0.0]), real([2, 2, 2])])
            .composed()
            .wrong(ErrorKind::Shape, &["one for each slice"], move || x().index_copy(1, &Tensor::from([0]), &x())),
        row("index_fill", |x| x[0].index_fill(1, &x[1], 3.0))
            .on([real([2, 3]), index([2], 3)])
            .on([real([2, 3]), index([], 3)])
            .dtypes(NUMBERS),
        row("index_put", |x| x[0].index_put(&[&whole(&x[1])], &x[2]))
            .on([real([3, 2]), at(&[2], &[2.0, 0.0]), real([2])])
            .composed(),
        row("index_put_add", |x| x[0].index_put_add(&[&x[1], &x[2]], &x[3]))
            .on([real([3, 2]), index([4], 3), index([4], 2), real([4])])
            .composed(),
        row("masked_scatter", |x| x[0].masked_scatter(&x[1].to_dtype(DType::Bool), &x[2]))
            .on([real([3]), at(&[3], &[1.0, 0.0, 1.0]), real([4])])
            .composed()
            .wrong(ErrorKind::Shape, &["2 places", "1 elements"], || {
                Tensor::zeros([2]).masked_scatter(&Tensor::from([true, true]), &Tensor::ones([1]))
            }),
        row("embedding", |x| x[0].embedding(&x[1]))
            .on([index([5], 4), real([4, 3])])
            .on([index([2, 3], 4), real([4, 3])])
            .on([index([], 4), real([4, 3])])
            .on([index([0], 4), real([4, 3])])
            .wrong(ErrorKind::Index, &["ids: 4 at [1]", "0 to 3"], || {
                Tensor::from([0, 4]).embedding(&Tensor::zeros([4, 2]))
            })
            .wrong(ErrorKind::Index, &["ids: -1 at [0]", "do not count from the end"], || {
                Tensor::from([-1]).embedding(&Tensor::zeros([4, 2]))
            })
            .wrong(ErrorKind::Shape, &["the table has 1 axes"], || Tensor::from([0]).embedding(&Tensor::zeros([4])))
            .wrong(ErrorKind::DType, &["ids are f32"], || Tensor::from([0.0]).embedding(&Tensor::zeros([4, 2]))),
        row("embedding padded", |x| whole(&x[0]).embedding_with_padding(&x[1], -1))
            .on([at(&[4], &[3.0, 0.0, 1.0, 0.0]), real([5, 3])])
            .wrong(ErrorKind::Index, &["padding index 4", "4 rows"], || {
                Tensor::from([0]).embedding_with_padding(&Tensor::zeros([4, 2]), 4)
            }),
        row("embedding_bag", |x| x[0].embedding_bag(&x[1], None, Combine::Mean))
            .on([index([2, 3], 4), real([4, 3])])
            .on([index([2, 0], 4), real([4, 3])])
            .composed()
            .wrong(ErrorKind::Shape, &["the numbers have 1 axes"], || {
                Tensor::from([0, 1]).embedding_bag(&Tensor::zeros([4, 2]), None, Combine::Sum)
            })
            .wrong(ErrorKind::Value, &["bags by Product"], || {
                Tensor::from([[0, 1]]).embedding_bag(&Tensor::zeros([4, 2]), None, Combine::Product)
            }),
        row("embedding_bag sum", |x| x[0].embedding_bag(&x[1], Some(&Tensor::from([0, 2, 2])), Combine::Sum))
            .on([index([5], 4), real([4, 3])])
            .composed()
            .definition(|x| {
                let rows = x[0].embedding(&x[1]);
                let of = |first: usize, count: usize| rows.narrow(0, first, count).sum_keep(0);
                Tensor::cat(&[of(0, 2), of(2, 0), of(2, 3)], 0)
            })
            .wrong(ErrorKind::Value, &["starts [1, 2] for numbers [3]"], || {
                let starts = Tensor::from([1, 2]);
                Tensor::from([0, 1, 1]).embedding_bag(&Tensor::zeros([4, 2]), Some(&starts), Combine::Sum)
            }),
        row("embedding_bag largest", |x| x[0].embedding_bag(&x[1], Some(&Tensor::from([0, 2, 3])), Combine::Largest))
            .on([index([5], 4), real([4, 3]).distinct()])
            .composed(),
        row("sort", |x| x[0].sort(-1, false))
            .on([real([2, 5]).distinct()])
            .on([real([3, 1]).distinct()])
            .on([real([2, 0])])
            .on([real([]).distinct()])
            .dtypes(ALL)
            .large(WIDE, [real([2, 2100]).distinct()])
            .axis(|x, axis| x[0].sort(axis, false)),
        row("sort descending", |x| x[0].sort(0, true)).on([real([5, 3]).distinct()]),
        row("argsort", |x| x[0].argsort(-1, true))
            .on([real([2, 5]).distinct()])
            .dtypes(ALL)
            .axis(|x, axis| x[0].argsort(axis, false))
            .no_gradient("its result is positions"),
        row("topk", |x| x[0].topk(2, 1, true))
            .on([real([2, 5]).distinct()])
            .on([real([2, 3, 2]).distinct()])
            .on([real([0, 3])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].topk(1, axis, true))
            .wrong(ErrorKind::Value, &["4 elements are wanted of 3 along axis 1"], move || x().topk(4, 1, true)),
        row("topk smallest", |x| x[0].topk(3, 0, false)).on([real([5, 2]).distinct()]),
        row("kth_value", |x| x[0].kth_value(2, 1))
            .on([real([2, 5]).distinct()])
            .wrong(ErrorKind::Value, &["number 4", "of 3 along axis 1"], move || x().kth_value(4, 1))
            .wrong(ErrorKind::Value, &["count from 1"], move || x().kth_value(0, 1)),
        row("median", |x| x[0].median()).on([real([2, 4]).distinct()]).on([real([]).distinct()]).dtypes(NUMBERS),
        row("median_over", |x| x[0].median_over(1))
            .on([real([2, 5]).distinct()])
            .on([real([2, 4, 3]).distinct()])
            .dtypes(NUMBERS)
            .axis(|x, axis| x[0].median_over(axis))
            .wrong(ErrorKind::Value, &["is empty"], || Tensor::zeros([2, 0]).median_over(1)),
        row("mode", |x| x[0].mode(1))
            .on([real([2, 5]).distinct()])
            .on([real([2, 4, 3]).distinct()])
            .dtypes(ALL)
            .axis(|x, axis| x[0].mode(axis))
            .wrong(ErrorKind::Value, &["axis 1 is empty"], || Tensor::zeros([2, 0]).mode(1)),
        row("quantile", |x| x[0].quantile(0.3, -1))
            .on([real([2, 5]).distinct()])
            .on([real([3, 1]).distinct()])
            .composed()
            .wrong(ErrorKind::Value, &["the part 2 of 3"], move || x().quantile(2.0, 1))
            .wrong(ErrorKind::Value, &["of 0 elements"], || Tensor::zeros([2, 0]).quantile(0.5, 1)),
        row("unique", |x| x[0].unique().map(|found| vec![found.values, found.inverse, found.counts]))
            .on([real([2, 3]).values(&[1.0, 2.0, 1.0, 0.5, 2.0, 1.0])])
            .dtypes(ALL)
            .no_gradient("depends on the numbers"),
        row("unique_along", |x| x[0].unique_along(-1).map(|found| vec![found.values, found.inverse, found.counts]))
            .on([real([2, 3]).values(&[1.0, 2.0, 1.0, 0.5, 2.0, 0.5])])
            .on([real([3, 0])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].unique_along(axis).map(|found| found.values))
            .no_gradient("depends on the numbers")
            .wrong(ErrorKind::Shape, &["a single number"], || Tensor::scalar(1.0).unique_along(0).map(|found| found.values)),
        row("nonzero", |x| x[0].nonzero())
            .on([real([2, 3]).values(&[1.0, 0.0, 1.0, 0.5, 0.0, 1.0])])
            .on([real([]).values(&[1.0])])
            .dtypes(ALL)
            .large(&[DType::F32], [real([8200]).values(&[1.0, 0.0, 0.0, 0.5, 0.0])])
            .no_gradient("its result is positions"),
        row("one_hot", |x| x[0].one_hot(4))
            .on([index([2, 3], 4)])
            .on([index([0], 4)])
            .wrong(ErrorKind::Index, &["labels: 4 at [0]", "out of range for 4"], || Tensor::from([4]).one_hot(4))
            .wrong(ErrorKind::Index, &["labels: -1 at [1]"], || Tensor::from([0, -1]).one_hot(4))
            .wrong(ErrorKind::Value, &["unknown"], || Tensor::from([0; 0]).one_hot_inferred())
            .wrong(ErrorKind::DType, &["labels are f32"], || Tensor::from([1.0]).one_hot(4)),
        row("bincount", |x| x[0].bincount(3)).on([index([7], 5)]).on([index([0], 5)]),
        row("bincount weighted", |x| x[0].bincount_weighted(&x[1], 5))
            .on([index([6], 4), real([6])])
            .wrong(ErrorKind::Index, &["-2 at [1] is negative"], || Tensor::from([0, -2]).bincount(0))
            .wrong(ErrorKind::Memory, &[], || Tensor::from([i64::MAX - 1]).bincount(0)),
        row("histogram", |x| x[0].histogram(4, -2.0, 2.0))
            .on([real([3, 4])])
            .no_gradient("its result is counts")
            .wrong(ErrorKind::Value, &["no bins"], move || x().histogram(0, 0.0, 1.0))
            .wrong(ErrorKind::Value, &["from 1 to 0"], move || x().histogram(2, 1.0, 0.0)),
        row("searchsorted", |x| x[0].searchsorted(&x[1], true))
            .on([real([3]).values(&[-1.0, 0.0, 1.0]), real([2, 2])])
            .no_gradient("its result is positions")
            .wrong(ErrorKind::DType, &["the values f64"], move || {
                Tensor::zeros([3]).searchsorted(&x().to_dtype(DType::F64), false)
            }),
        row("bucketize", |x| x[0].bucketize(&x[1], false))
            .on([real([2, 2]), real([3]).values(&[-1.0, 0.0, 1.0])])
            .dtypes(NUMBERS)
            .no_gradient("its result is positions")
            .wrong(ErrorKind::Shape, &["the boundaries have 2 axes"], move || x().bucketize(&x(), false)),
        row("is_in", |x| x[0].is_in(&x[1]))
            .on([real([4]).values(&[1.0, 2.0, 3.0, 4.0]), real([2]).values(&[2.0, 4.0])])
            .no_gradient("true or false"),
    ]
}
