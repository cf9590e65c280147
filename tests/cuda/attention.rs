//! Attention of 16-bit floats by every kernel that a device chooses among, against that of the CPU: by compute capability, and by how operands
//! lie. Sequences fill the tiles of tensor cores, so weights and slopes are rounded to 16 bits before they are multiplied.

use super::emulator;
use chainrule::{Attention, DType, Device, MatmulPrecision, Random, Result, Tensor, with_matmul_precision};

/// Result and gradients at a place, of dense operands or of heads as a projection leaves them: `[batch, positions, heads, numbers]`.
fn both_ways(operands: &[Tensor; 4], place: Device, how: &Attention, by_positions: bool) -> Result<Vec<Tensor>> {
    let [q, k, v, arriving] = operands.each_ref().map(|x| x.to(place));
    let [q, k, v] = [q, k, v].map(|x| x.variable());
    let seen = |x: &Tensor| if by_positions { x.permute([0, 2, 1, 3]) } else { x.clone() };
    let y = seen(&q).scaled_dot_product_attention(&seen(&k), &seen(&v), how);
    let gradients = (&y * &seen(&arriving)).sum().backward()?;
    let all = [y.detach(), gradients.of(&q)?.clone(), gradients.of(&k)?.clone(), gradients.of(&v)?.clone()];
    Ok(all.map(|x| x.to(Device::Cpu).to_dtype(DType::F32)).to_vec())
}

fn attention_of_a_device(device: Device) -> Result<()> {
    let mut random = Random::new(3);
    let grouped = Attention::new().causal(true).grouped(true);
    let dense = |heads: usize| vec![heads, 70, 40];
    let by_positions = |heads: usize| vec![2, 66, heads, 32];
    // Seven of ten positions are seen, in both heads of each of two batches.
    let mask = Tensor::bernoulli([70, 70], 0.7, &mut random).to_dtype(DType::Bool);
    let masked = |place: Device| Attention::new().causal(true).mask(&mask.to(place));
    for (dtype, close) in [(DType::BF16, 1.0 / 64.0), (DType::F16, 1.0 / 512.0)] {
        let operands = [(); 4].map(|()| Tensor::normal_of(dtype, [2, 2, 70, 40], 0.0, 1.0, &mut random));
        let found = both_ways(&operands, device, &masked(device), false)?;
        for (found, expected) in found.iter().zip(&both_ways(&operands, Device::Cpu, &masked(Device::Cpu), false)?) {
            let apart = (found - expected).abs().max().item()? / expected.abs().max().item()?;
            assert!(apart < close, "{dtype}, with a mask: {apart}");
        }
        let shapes: [(&dyn Fn(usize) -> Vec<usize>, _, _); 2] =
            [(&dense, &grouped, false), (&by_positions, &Attention::new().grouped(true), true)];
        for (shape, how, by_positions) in shapes {
            let operands = [4, 2, 2, 4].map(|heads| Tensor::normal_of(dtype, shape(heads), 0.0, 1.0, &mut random));
            let found = both_ways(&operands, device, how, by_positions)?;
            for (found, expected) in found.iter().zip(&both_ways(&operands, Device::Cpu, how, by_positions)?) {
                let apart = (found - expected).abs().max().item()? / expected.abs().max().item()?;
                assert!(apart < close, "{dtype}, by positions: {by_positions}: {apart}");
            }
        }
    }
    Ok(())
}

/// Factors of 11 bits are off by at most 2^-11; a score is a sum of 40 products whose roundings are independent, and a result one of 70 weights.
#[test]
fn attention_of_f32_is_rounded_where_that_is_allowed() -> Result<()> {
    if !emulator::inside("attention::attention_of_f32_is_rounded_where_that_is_allowed") {
        return Ok(());
    }
    let (device, mut random) = (Device::cuda(0)?, Random::new(4));
    let how = Attention::new().causal(true).grouped(true);
    let operands = [4, 2, 2, 4].map(|heads| Tensor::normal([heads, 70, 40], 0.0, 1.0, &mut random));
    let expected = both_ways(&operands, Device::Cpu, &how, false)?;
    let apart = |precision| -> Result<f64> {
        let found = with_matmul_precision(precision, || both_ways(&operands, device, &how, false))?;
        found.iter().zip(&expected).try_fold(0.0, |most: f64, (found, expected)| {
            Ok(most.max((found - expected).abs().max().item()? / expected.abs().max().item()?))
        })
    };
    assert!(apart(MatmulPrecision::Exact)? < 1e-5);
    for precision in [MatmulPrecision::Tf32, MatmulPrecision::Bf16] {
        let apart = apart(precision)?;
        assert!((1e-5..4.0 / 2048.0).contains(&apart), "{precision:?}: {apart}");
    }
    Ok(())
}

/// A query that sees one key gives it all its weight, whatever the scores are: no slope is left of them.
#[test]
fn a_query_that_sees_one_key_has_no_slope() -> Result<()> {
    if !emulator::inside("attention::a_query_that_sees_one_key_has_no_slope") {
        return Ok(());
    }
    let (device, mut random) = (Device::cuda(0)?, Random::new(8));
    // The first and the last query see one, the second none, the others some.
    let seen =
        Tensor::from([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]]).to_dtype(DType::Bool);
    for (dtype, width) in [(DType::F32, 40), (DType::F32, 150), (DType::F64, 40), (DType::BF16, 40)] {
        let sizes = [[2, 5, width], [2, 4, width], [2, 4, width], [2, 5, width]];
        let operands = sizes.map(|sizes| Tensor::normal_of(dtype, sizes, 0.0, 1.0, &mut random));
        for place in [device, Device::Cpu] {
            let how = Attention::new().mask(&seen.to(place));
            let for_query = &both_ways(&operands, place, &how, false)?[1];
            for (query, is_nothing) in [true, true, false, false, true].into_iter().enumerate() {
                let most = for_query.select(1, query as isize).abs().max().item()?;
                assert_eq!(most == 0.0, is_nothing, "{dtype} on {place}, query {query}: {most}");
            }
        }
    }
    Ok(())
}

#[test]
fn attention_on_hopper_is_that_of_the_cpu() -> Result<()> {
    match emulator::inside_with("attention::attention_on_hopper_is_that_of_the_cpu", &[("EMULATOR_CAPABILITY", "90")]) {
        true => attention_of_a_device(Device::cuda(0)?),
        false => Ok(()),
    }
}

#[test]
fn attention_on_ampere_is_that_of_the_cpu() -> Result<()> {
    match emulator::inside_with("attention::attention_on_ampere_is_that_of_the_cpu", &[("EMULATOR_CAPABILITY", "80")]) {
        true => attention_of_a_device(Device::cuda(0)?),
        false => Ok(()),
    }
}
