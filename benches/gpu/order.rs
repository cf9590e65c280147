//! Running sums, order, and numbers added up where positions say.

use crate::measure::{Bench, Work};
use crate::{normal, numbers};
use chainrule::{DType, Random, Result, Tensor};

pub(crate) fn all(bench: &Bench) -> Result<()> {
    if ["running_sum", "sort", "topk", "unique", "nonzero", "scatter_add", "index_add", "multinomial"]
        .iter()
        .any(|name| bench.wants(name))
    {
        running(bench)?;
        ordered(bench)?;
        added(bench)?;
    }
    Ok(())
}

fn running(bench: &Bench) -> Result<()> {
    let (height, width) = (bench.size(4096, 32), bench.size(4096, 40));
    let x = normal(bench, &[height, width], DType::F32)?;
    let bytes = 2 * 4 * height * width;
    bench.run("running_sum_rows_f32", Work::Bytes(bytes), || x.cumulative_sum(1).checked())?;
    bench.run("running_sum_columns_f32", Work::Bytes(bytes), || x.cumulative_sum(0).checked())?;
    let row = x.reshape(-1);
    bench.run("running_sum_of_all_f32", Work::Bytes(bytes), || row.cumulative_sum(0).checked())
}

fn ordered(bench: &Bench) -> Result<()> {
    let elements = |count: usize| Work::Items(count, "elements");
    for (kind, dtype) in [("f32", DType::F32), ("bf16", DType::BF16), ("f64", DType::F64)] {
        let rows = normal(bench, &[bench.size(16384, 8), bench.size(1024, 100)], dtype)?;
        let count = rows.count()?;
        bench.run(&format!("sort_rows_{kind}"), elements(count), || rows.sort(1, false).0.checked())?;
        let row = rows.reshape(-1);
        bench.run(&format!("sort_of_all_{kind}"), elements(count), || row.sort(0, false).0.checked())?;
    }
    let (height, width) = (bench.size(64, 2), bench.size(50257, 3000));
    let scores = normal(bench, &[height, width], DType::F32)?;
    bench.run("topk_50_f32", Work::Bytes(4 * height * width), || scores.topk(50, 1, true).0.checked())?;
    let (weights, mut random) = (scores.softmax(-1), Random::new(1));
    bench.run("multinomial_repeated_f32", Work::Bytes(4 * height * width), || {
        weights.multinomial_repeated(1, &mut random).checked()
    })?;
    let ids = numbers(&[bench.size(4 << 20, 3000)], 1000, bench.device)?;
    let count = ids.count()?;
    bench.run("unique_i64", elements(count), || Ok(ids.unique()?.counts))?;
    bench.run("nonzero_i64", elements(count), || ids.nonzero().checked())
}

fn added(bench: &Bench) -> Result<()> {
    let count = bench.size(16 << 20, 9000);
    let x = normal(bench, &[count], DType::F32)?;
    for (name, places) in [("scatter_add_many_f32", bench.size(1 << 20, 500)), ("scatter_add_few_f32", 10)] {
        let (index, zeros) =
            (numbers(&[count], places as i64, bench.device)?, Tensor::zeros([places]).to(bench.device));
        bench.run(name, Work::Items(count, "elements"), || zeros.scatter_add(0, &index, &x).checked())?;
    }
    // The gradient of an embedding of GPT-2's sizes.
    let (tokens, names, width) = (bench.size(32768, 100), bench.size(50257, 70), bench.size(768, 16));
    let slices = normal(bench, &[tokens, width], DType::F32)?;
    let (index, zeros) =
        (numbers(&[tokens], names as i64, bench.device)?, Tensor::zeros([names, width]).to(bench.device));
    let bytes = 4 * width * (tokens + 2 * names);
    bench.run("index_add_f32", Work::Bytes(bytes), || zeros.index_add(0, &index, &slices).checked())
}
