//! Reference names of the family `index`.

use super::*;

pub fn call(case: &Case) -> Option<Results> {
    let x = case.x();
    let axis = || case.int("dim");
    let index = || case.named("index").unwrap_or_else(|| case.at(1));
    let source = || case.named("src").or(case.named("source")).unwrap_or_else(|| case.at(2));
    let pair = |(values, positions): (Tensor, Tensor)| list([values, positions]);
    Some(match case.op {
        "index_select" => one(x.index_select(axis(), index())),
        "gather" => one(x.gather(axis(), index())),
        "take_along_dim" => one(x.take_along_axis(axis(), index())),
        "take" => one(x.take(index())),
        "scatter" => one(match case.has("value") {
            true => x.scatter_fill(axis(), index(), case.float("value")),
            false => x.scatter(axis(), index(), source()),
        }),
        "scatter_add" => one(x.scatter_add(axis(), index(), source())),
        "index_add" => one(x.index_add(axis(), index(), source())),
        "index_copy" => one(x.index_copy(axis(), index(), source())),
        "index_fill" => one(x.index_fill(axis(), index(), case.float("value"))),
        "masked_select" => one(x.masked_select(case.named("mask").unwrap_or_else(|| case.at(1)))),
        "masked_scatter" => one(x.masked_scatter(case.named("mask").unwrap_or_else(|| case.at(1)), source())),
        "nonzero" | "argwhere" => one(x.nonzero()),
        "one_hot" => one(match case.int_or("num_classes", -1) {
            -1 => x.one_hot_inferred(),
            classes => x.one_hot(classes as usize),
        }),
        "embedding" => {
            let table = case.named("weight").unwrap_or_else(|| case.at(1));
            one(match case.has("padding_idx") {
                true => x.embedding_with_padding(table, case.int("padding_idx")),
                false => x.embedding(table),
            })
        }
        "sort" => pair(x.sort(case.int_or("dim", -1), case.flag("descending"))),
        "argsort" => one(x.argsort(case.int_or("dim", -1), case.flag("descending"))),
        "topk" => pair(x.topk(case.int("k") as usize, case.int_or("dim", -1), case.flag_or("largest", true))),
        "kthvalue" => pair(x.kth_value(case.int("k") as usize, case.int_or("dim", -1))),
        "bincount" => one(x.bincount(case.int_or("minlength", 0) as usize)),
        "histc" => one(x.histogram(case.int_or("bins", 100) as usize, case.float("min"), case.float("max"))),
        "searchsorted" => one(x.searchsorted(case.at(1), case.flag("right"))),
        "bucketize" => one(x.bucketize(case.at(1), case.flag("right"))),
        "isin" => one(x.is_in(case.at(1))),
        _ => return None,
    })
}
