//! Products by every kernel that a device chooses among, against those of the CPU: it chooses by compute capability, element type, precision, and how
//! operands lie.

use super::emulator;
use chainrule::{Conv, DType, Device, MatmulPrecision, Random, Result, Tensor, with_matmul_precision};

/// Products as users write them, the first so many ways: something added, operands that lie either way.
fn written(x: &Tensor, w: &Tensor, start: &Tensor, ways: usize) -> Vec<Tensor> {
    let (x_turned, w_turned) = (x.transpose(-1, -2).contiguous(), w.transpose(-1, -2).contiguous());
    let all: [&dyn Fn() -> Tensor; 5] = [
        &|| start.add_matmul(x, w, 0.5, -2.0),
        &|| x.matmul(w),
        &|| x.matmul(&w_turned.transpose(-1, -2)),
        &|| x_turned.transpose(-1, -2).matmul(w),
        &|| x_turned.transpose(-1, -2).matmul(&w_turned.transpose(-1, -2)),
    ];
    all[..ways].iter().map(|way| way()).collect()
}

/// Are the numbers there those of here, relative to the largest of them?
fn near(there: &Tensor, here: &Tensor, close: f64, what: &str) -> Result<()> {
    let there = there.to(Device::Cpu).to_dtype(DType::F64);
    let here = here.to_dtype(DType::F64);
    let (far, largest) = ((&there - &here).abs().max().item()?, here.abs().max().item()?);
    assert!(far <= close * largest, "{what}: {far} of {largest}");
    Ok(())
}

/// Shapes of operands.
type Shapes = &'static [(&'static [usize], &'static [usize])];

fn products_of_a_device(device: Device, shapes: Shapes) -> Result<()> {
    for (number, &(left, right)) in shapes.iter().enumerate() {
        let mut random = Random::new(number as u64);
        let x = Tensor::normal(left, 0.0, 1.0, &mut random);
        let w = Tensor::normal(right, 0.0, 1.0, &mut random);
        let start = Tensor::normal([left[left.len() - 2], right[right.len() - 1]], 0.0, 1.0, &mut random);
        for (dtype, ways, close) in
            [(DType::BF16, 5, 0.01), (DType::F16, 1, 0.002), (DType::F32, 1, 2e-6), (DType::F64, 1, 1e-14)]
        {
            let [x, w, start] = [&x, &w, &start].map(|tensor| tensor.to_dtype(dtype));
            let there = written(&x.to(device), &w.to(device), &start.to(device), ways);
            for (there, here) in there.iter().zip(&written(&x, &w, &start, ways)) {
                near(there, here, close, &format!("{left:?} · {right:?} in {dtype}"))?;
            }
        }
        // What is rounded is rounded once: the rest is as exact as ever.
        let [rounded_x, rounded_w] = [&x, &w].map(|tensor| tensor.to_dtype(DType::BF16).to_dtype(DType::F32));
        // One row or column gains nothing by it: reading the matrix takes longer than multiplying.
        let is_line = left[left.len() - 2] == 1 || right[right.len() - 1] == 1;
        let [short_x, short_w] = if is_line { [&x, &w] } else { [&rounded_x, &rounded_w] };
        for (precision, here, close) in [
            (MatmulPrecision::Bf16, written(short_x, short_w, &start, 1), 2e-6),
            (MatmulPrecision::Tf32, written(&x, &w, &start, 1), 1e-3),
        ] {
            let operands = [&x, &w, &start].map(|tensor| tensor.to(device));
            let there = with_matmul_precision(precision, || written(&operands[0], &operands[1], &operands[2], 1));
            for (there, here) in there.iter().zip(&here) {
                near(there, here, close, &format!("{left:?} · {right:?} by {precision:?}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn products_on_hopper_are_those_of_the_cpu() -> Result<()> {
    match emulator::inside_with("products::products_on_hopper_are_those_of_the_cpu", &[("EMULATOR_CAPABILITY", "90")]) {
        // Batches that share an operand, and such that do not.
        true => products_of_a_device(Device::cuda(0)?, &[(&[2, 72, 136], &[136, 200]), (&[72, 64], &[2, 64, 136])]),
        false => Ok(()),
    }
}

#[test]
fn products_on_ampere_are_those_of_the_cpu() -> Result<()> {
    match emulator::inside_with("products::products_on_ampere_are_those_of_the_cpu", &[("EMULATOR_CAPABILITY", "80")]) {
        // Rows that are not aligned, a long shared axis, one row, one column.
        true => products_of_a_device(
            Device::cuda(0)?,
            &[
                (&[70, 67], &[67, 65]),
                (&[24, 1100], &[1100, 32]),
                (&[2, 1, 300], &[2, 300, 70]),
                (&[2, 70, 300], &[300, 1]),
            ],
        ),
        false => Ok(()),
    }
}

#[test]
fn products_rounded_to_bf16_on_hopper() -> Result<()> {
    if !emulator::inside("products::products_rounded_to_bf16_on_hopper") {
        return Ok(());
    }
    let device = Device::cuda(0)?;
    let mut random = Random::new(5);
    let [x, w] = [256, 264].map(|rows| Tensor::normal([rows, 256], 0.0, 1.0, &mut random));
    let [rounded_x, rounded_w] = [&x, &w].map(|tensor| tensor.to_dtype(DType::BF16).to_dtype(DType::F32));
    let (x, w) = (x.to(device), w.to(device));
    let there = with_matmul_precision(MatmulPrecision::Bf16, || x.matmul(&w.t()));
    near(&there, &rounded_x.matmul(&rounded_w.t()), 2e-6, "256 x 256 by 256 x 264")
}

/// Rounded to 11 bits: ties to even, or away from zero.
fn to_tf32(x: &Tensor, even: bool) -> Result<Tensor> {
    let rounded = x.to_vec::<f32>()?.into_iter().map(|number| {
        let bits = number.to_bits();
        f32::from_bits((bits + if even { 0xfff + (bits >> 13 & 1) } else { 0x1000 }) & 0xffff_e000)
    });
    Tensor::from_vec(rounded.collect::<Vec<_>>(), x.shape()?)
}

#[test]
fn products_rounded_to_tf32_on_hopper() -> Result<()> {
    let name = "products::products_rounded_to_tf32_on_hopper";
    if !emulator::inside_with(name, &[("EMULATOR_CAPABILITY", "90")]) {
        return Ok(());
    }
    let device = Device::cuda(0)?;
    let mut random = Random::new(6);
    // With so many rows a right operand that does not lie along the shared axis is copied.
    for (rows, columns) in [(72, 136), (2064, 64)] {
        let [x, w] = [rows, columns].map(|lines| Tensor::normal([lines, 68], 0.0, 1.0, &mut random));
        let here = to_tf32(&x, true)?.matmul(&to_tf32(&w, true)?.t());
        let w_turned = w.t().contiguous().to(device);
        let (x, w) = (x.to(device), w.to(device));
        let there = with_matmul_precision(MatmulPrecision::Tf32, || x.matmul(&w.t()));
        near(&there, &here, 2e-6, "along the shared axis")?;
        if rows > 2048 {
            let there = with_matmul_precision(MatmulPrecision::Tf32, || x.matmul(&w_turned));
            near(&there, &here, 2e-6, "copied to lie along the shared axis")?;
        }
    }
    Ok(())
}

#[test]
fn convolutions_rounded_to_tf32() -> Result<()> {
    if !emulator::inside("products::convolutions_rounded_to_tf32") {
        return Ok(());
    }
    let device = Device::cuda(0)?;
    let mut random = Random::new(7);
    for channels in [5, 70] {
        let mut normal = |sizes: [usize; 4]| Tensor::normal(sizes, 0.0, 1.0, &mut random);
        let given = [normal([2, 3, 7, 9]), normal([channels, 3, 3, 3]), normal([2, channels, 4, 5])];
        // What comes back is the third times a two, which rounds nothing.
        let all = |device: Device, precision, given: &[Tensor; 3]| -> Result<[Tensor; 3]> {
            let [x, w, g] = given.each_ref().map(|tensor| tensor.to(device));
            let (x, w) = (x.variable(), w.variable());
            with_matmul_precision(precision, || {
                let y = x.conv2d(&w, None, Conv::new().stride(2).padding(1));
                let gradients = (&y * &g * 2.0).sum().backward()?;
                Ok([y.detach(), gradients.of(&x)?.clone(), gradients.of(&w)?.clone()])
            })
        };
        let [x, w, g] = &given;
        let rounded = [to_tf32(x, false)?, to_tf32(w, false)?, to_tf32(g, false)?];
        let here = all(Device::Cpu, MatmulPrecision::Tf32, &rounded)?;
        for (what, (there, here)) in all(device, MatmulPrecision::Tf32, &given)?.iter().zip(&here).enumerate() {
            near(there, here, 2e-6, &format!("{channels} channels by tf32, result {what}"))?;
        }
        // Nothing is rounded unasked.
        let here = all(Device::Cpu, MatmulPrecision::Exact, &given)?;
        for (what, (there, here)) in all(device, MatmulPrecision::Exact, &given)?.iter().zip(&here).enumerate() {
            near(there, here, 2e-6, &format!("{channels} channels, result {what}"))?;
        }
    }
    Ok(())
}
