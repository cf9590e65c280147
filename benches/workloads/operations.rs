//! Products of the sizes that networks have, and single operations on four million numbers.

use crate::Workloads;
use crate::program::{PRODUCTS, product_name};
use chainrule::{Random, Result, Tensor};

pub(crate) fn products(workloads: &Workloads) -> Result<()> {
    let mut random = Random::new(1);
    for product @ [batch, m, k, n] in PRODUCTS {
        let name = product_name(product);
        let front = if batch == 1 { vec![] } else { vec![batch] };
        if !workloads.wants(&name) {
            continue;
        }
        let mut matrix = |sizes: [usize; 2]| Tensor::uniform([&front[..], &sizes].concat(), 0.0..1.0, &mut random);
        let (a, b) = (matrix([m, k]), matrix([k, n]));
        workloads.run(&name, 1.0, || Ok(a.matmul(&b)))?;
    }
    Ok(())
}

pub(crate) fn single(workloads: &Workloads) -> Result<()> {
    if !workloads.wants("f_") {
        return Ok(());
    }
    let mut random = Random::new(1);
    let x = Tensor::normal([4096, 1024], 0.0, 1.0, &mut random);
    let (weight, bias) = (Tensor::ones([1024]), Tensor::normal([1024], 0.0, 1.0, &mut random));
    let run = |name: &str, operation: &dyn Fn() -> Tensor| workloads.run(name, 1.2, || Ok(operation()));
    run("f_softmax_4096x1024", &|| x.softmax(-1))?;
    run("f_layernorm_4096x1024", &|| x.layer_norm(1, Some(&weight), Some(&bias), 1e-5))?;
    run("f_gelu_tanh_4M", &|| x.gelu_tanh())?;
    run("f_gelu_erf_4M", &|| x.gelu())?;
    run("f_add_bcast_4096x1024", &|| &x + &bias)?;
    run("f_add_4M", &|| &x + &x)?;
    run("f_sum_axis0_4096x1024", &|| x.sum_over(0))?;
    run("f_sum_axis1_4096x1024", &|| x.sum_over(1))?;
    run("f_exp_4M", &|| x.exp())?;
    run("f_transpose_copy_4096x1024", &|| x.t().contiguous())
}
