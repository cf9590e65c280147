//! What memory limits: pointwise formulas, copies, sums, rows, chance, optimizers.

use crate::measure::{Bench, Work};
use crate::{normal, numbers};
use chainrule::loss::cross_entropy;
use chainrule::nn::{Init, Initial};
use chainrule::optim::{AdamW, Optimizer, Sgd};
use chainrule::{DType, Parameter, Random, Result, Tensor, module};

pub(crate) fn all(bench: &Bench) -> Result<()> {
    pointwise(bench)?;
    rows(bench)?;
    optimizers(bench)
}

fn pointwise(bench: &Bench) -> Result<()> {
    if !["add", "gelu", "exp", "dropout", "row_added", "transposed", "sum"].iter().any(|name| bench.wants(name)) {
        return Ok(());
    }
    for (kind, dtype) in [("f32", DType::F32), ("bf16", DType::BF16)] {
        let (height, width) = (bench.size(8192, 64), bench.size(8192, 64));
        let bytes = height * width * dtype.size();
        let (x, y) = (normal(bench, &[height, width], dtype)?, normal(bench, &[height, width], dtype)?);
        let row = normal(bench, &[width], dtype)?;
        bench.run(&format!("add_{kind}"), Work::Bytes(3 * bytes), || (&x + &y).checked())?;
        bench.run(&format!("row_added_{kind}"), Work::Bytes(2 * bytes), || (&x + &row).checked())?;
        bench.run(&format!("gelu_{kind}"), Work::Bytes(2 * bytes), || x.gelu().checked())?;
        bench.run(&format!("exp_{kind}"), Work::Bytes(2 * bytes), || x.exp().checked())?;
        let mut random = Random::new(1);
        bench.run(&format!("dropout_{kind}"), Work::Bytes(2 * bytes), || x.dropout(0.1, random.draw()).checked())?;
        bench.run(&format!("transposed_copy_{kind}"), Work::Bytes(2 * bytes), || {
            x.transpose(0, 1).contiguous().checked()
        })?;
        bench.run(&format!("sum_rows_{kind}"), Work::Bytes(bytes), || x.sum_over(1).checked())?;
        bench.run(&format!("sum_columns_{kind}"), Work::Bytes(bytes), || x.sum_over(0).checked())?;
        bench.run(&format!("sum_all_{kind}"), Work::Bytes(bytes), || x.sum().checked())?;
    }
    Ok(())
}

fn rows(bench: &Bench) -> Result<()> {
    if !["softmax", "layer_norm", "cross_entropy"].iter().any(|name| bench.wants(name)) {
        return Ok(());
    }
    for (kind, dtype) in [("f32", DType::F32), ("bf16", DType::BF16)] {
        for (height, width) in [(4096, 1024), (8192, 4096), (4096, 50257)] {
            let (height, width) = (bench.size(height, 8), bench.size(width, width.div_ceil(64)));
            let bytes = height * width * dtype.size();
            let x = normal(bench, &[height, width], dtype)?;
            let variable = x.clone().variable();
            let (gain, bias) = (
                Tensor::ones([width]).to(bench.device).to_dtype(dtype),
                Tensor::zeros([width]).to(bench.device).to_dtype(dtype),
            );
            let [gain, bias] = [gain, bias].map(|part| part.variable());
            let arriving = normal(bench, &[height, width], dtype)?;
            let name = |what: &str| format!("{what}_{kind}_{height}x{width}");
            bench.run(&name("softmax"), Work::Bytes(2 * bytes), || x.softmax(-1).checked())?;
            bench.run(&name("layer_norm"), Work::Bytes(2 * bytes), || {
                x.layer_norm(1, Some(&gain.detach()), Some(&bias.detach()), 1e-5).checked()
            })?;
            // Forward reads and writes, backward reads two and writes one.
            bench.run(&name("layer_norm_both_ways"), Work::Bytes(5 * bytes), || {
                let y = variable.layer_norm(1, Some(&gain), Some(&bias), 1e-5);
                let gradients = y.backward_from(&arriving)?;
                Ok(gradients.of(&variable)?.clone())
            })?;
            let target = numbers(&[height], width as i64, bench.device)?;
            bench.run(&name("cross_entropy_both_ways"), Work::Bytes(3 * bytes), || {
                let gradients = cross_entropy(&variable, &target).backward()?;
                Ok(gradients.of(&variable)?.clone())
            })?;
        }
    }
    Ok(())
}

/// Parameters of about GPT-2's sizes.
struct Weights {
    weights: Vec<Parameter>,
}
module!(Weights { weights });

fn optimizers(bench: &Bench) -> Result<()> {
    if !["sgd", "adamw"].iter().any(|name| bench.wants(name)) {
        return Ok(());
    }
    let mut init = Init::on(&bench.device).seed(1);
    let size = bench.size(768, 16);
    let mut model = Weights { weights: Vec::new() };
    for _ in 0..bench.size(12, 2) {
        for sizes in
            [vec![3 * size, size], vec![3 * size], vec![size, size], vec![4 * size, size], vec![size, 4 * size]]
        {
            model.weights.push(init.parameter(&sizes, Initial::Normal { mean: 0.0, deviation: 0.02 }));
        }
    }
    let model = &mut chainrule::nn::Module::named(model);
    let bytes: usize = model.weights.iter().map(|weight| Ok(4 * weight.count()?)).sum::<Result<usize>>()?;
    let loss =
        model.weights.iter().fold(Tensor::zeros(()).to(bench.device), |sum, weight| sum + weight.square().mean());
    let gradients = loss.backward()?;
    let (mut sgd, mut adamw) = (Sgd::new(1e-3).with_momentum(0.9), AdamW::new(1e-3));
    // Weight, gradient and momentum are read, weight and momentum written; AdamW has two of them.
    let steps: [(&str, &mut dyn Optimizer, usize); 2] = [("sgd_momentum", &mut sgd, 5), ("adamw", &mut adamw, 7)];
    for (name, optimizer, passes) in steps {
        bench.run(name, Work::Bytes(passes * bytes), || {
            optimizer.step(model, &gradients)?;
            Ok(model.weights[0].detach())
        })?;
    }
    Ok(())
}
