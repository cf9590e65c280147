//! The table of operations, CPU against CUDA: values and gradients, per element type, through views of every kind. It runs on
//! the stand-in driver, on every machine; `REQUIRE_CUDA=1` runs it on the machine's own GPU.
//!
//! There is no operation without a kernel: one that says it has none fails as any other error does.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

mod common;
mod emulator;
mod table;

use chainrule::{DType, Device, Error, Tensor, backward_all};
use common::{Operand, Random, VIEWS, guarded, one_line, operands, report};
use std::collections::BTreeMap;
use table::Row;

table::each_family!(check);

fn check(family: &str) {
    if !emulator::inside(family) {
        return;
    }
    let device = Device::cuda(0).unwrap_or_else(|error| panic!("{error}"));
    let mut failures = BTreeMap::new();
    for row in table::family(family) {
        for (number, case) in row.cases.iter().enumerate() {
            let shapes: Vec<_> = case.iter().map(|input| &input.shape).collect();
            for view in VIEWS {
                let Some(operands) = operands(case, view, 13 * number as u64 + view as u64) else { continue };
                for &dtype in row.dtypes {
                    let outcome = guarded(|| compare(&row, &operands, dtype, device));
                    if let Err(said) = outcome.unwrap_or_else(Err) {
                        let line = format!("{} [{dtype}] on {shapes:?} {view:?}: {said}", row.name);
                        failures.entry((row.name, dtype)).or_insert(line);
                    }
                }
            }
        }
    }
    report(failures.into_values().collect());
}

/// Numbers with what they are.
type Named = Vec<(String, DType, Vec<f64>)>;

fn compare(row: &Row, operands: &[Operand], dtype: DType, device: Device) -> Result<(), String> {
    let of = |what: &'static str| move |error: Error| format!("{what}: {}", one_line(&error));
    let there = Run::new(row, operands, dtype, device);
    let here = Run::new(row, operands, dtype, Device::Cpu);
    let exact = || Run::new(row, operands, DType::F64, Device::Cpu);
    let values = || exact().values(Device::Cpu).ok();
    equal(&there.values(device).map_err(of("value"))?, &here.values(Device::Cpu).map_err(of("on the CPU"))?, &values)?;
    let gradients = || exact().gradients().ok();
    equal(&there.gradients().map_err(of("gradient"))?, &here.gradients().map_err(of("on the CPU"))?, &gradients)
}

/// A row's results on one device.
struct Run<'a> {
    operands: &'a [Operand],
    /// Is it made without a look at the operands?
    made: bool,
    stored: Vec<Tensor>,
    results: Vec<Tensor>,
}

impl Run<'_> {
    fn new<'a>(row: &Row, operands: &'a [Operand], dtype: DType, device: Device) -> Run<'a> {
        let stored: Vec<Tensor> = operands
            .iter()
            .map(|operand| {
                let stored = operand.stored(dtype).to(device);
                if operand.wants_gradient() && dtype.is_float() { stored.variable() } else { stored }
            })
            .collect();
        let seen: Vec<Tensor> = operands.iter().zip(&stored).map(|(operand, stored)| operand.seen(stored)).collect();
        let made = ["bernoulli", "integers", "permutation"].contains(&row.name);
        Run { operands, made, results: (row.call)(&seen), stored }
    }
    fn values(&self, device: Device) -> Result<Named, Error> {
        let mut all = Vec::new();
        for (which, result) in self.results.iter().enumerate() {
            // What is made of no operands is made on the CPU.
            assert!(self.made || result.device()? == device, "result {which} is on {}", result.device()?);
            all.push((format!("result {which} {:?}", result.shape()?), result.dtype()?, result.to_vec()?));
        }
        Ok(all)
    }
    /// The gradients of all operands for the same random weights of the results.
    fn gradients(&self) -> Result<Named, Error> {
        let (mut roots, mut random) = (Vec::new(), Random::new(5));
        for result in self.results.iter().filter(|result| result.is_tracked()) {
            let (shape, dtype) = (result.shape()?, result.dtype()?);
            let weights = Tensor::from_slice(&random.direction(shape.count()), shape)?;
            roots.push((result, weights.to_dtype(dtype).to(result.device()?)));
        }
        if roots.is_empty() {
            return Ok(Vec::new());
        }
        let roots: Vec<(&Tensor, &Tensor)> = roots.iter().map(|(result, weights)| (*result, weights)).collect();
        let gradients = backward_all(&roots)?;
        let mut all = Vec::new();
        for (which, leaf) in self.stored.iter().enumerate().filter(|(which, _)| self.operands[*which].wants_gradient())
        {
            let Some(gradient) = gradients.get(leaf) else { continue };
            assert_eq!(gradient.device()?, leaf.device()?, "where the gradient of operand {which} is");
            let name = format!("the gradient of operand {which} {:?}", gradient.shape()?);
            all.push((name, gradient.dtype()?, gradient.to_vec()?));
        }
        Ok(all)
    }
}

/// How far numbers are from exact ones, at most; infinitely far where one is no number and the other is.
fn off(numbers: &[f64], exact: &[f64]) -> f64 {
    let apart = |(x, e): (&f64, &f64)| if x == e || x.is_nan() && e.is_nan() { 0.0 } else { (x - e).abs() };
    numbers.iter().zip(exact).map(apart).fold(0.0, |most, off| if off.is_nan() { f64::INFINITY } else { most.max(off) })
}

/// Whole numbers and booleans are equal; floats are as near as another order of adding up allows. What is made of many steps is
/// rounded between them in half precision, wherever it is computed: there a device need not be near the CPU where it is as near
/// to what f64 gives.
fn equal(there: &Named, here: &Named, exact: &dyn Fn() -> Option<Named>) -> Result<(), String> {
    let names = |list: &Named| list.iter().map(|(name, dtype, _)| format!("{name} {dtype}")).collect::<Vec<_>>();
    if names(there) != names(here) {
        return Err(format!("{:?}, on the CPU {:?}", names(there), names(here)));
    }
    for (which, ((name, dtype, got), (.., wanted))) in there.iter().zip(here).enumerate() {
        let size = wanted.iter().filter(|x| x.is_finite()).fold(0.0f64, |most, x| most.max(x.abs()));
        let tolerance = match dtype {
            DType::F64 => 1e-10,
            DType::F32 => 2e-5,
            DType::BF16 => 1.0 / 128.0,
            DType::F16 => 1.0 / 1024.0,
            _ => 0.0,
        };
        for (at, (x, y)) in got.iter().zip(wanted).enumerate() {
            let near = (x - y).abs() <= tolerance * (y.abs() + 0.1 * size + 2e-2) && x.is_finite();
            if !(x == y || x.is_nan() && y.is_nan() || near) {
                let exact = if dtype.is_half() { exact() } else { None };
                let is_as_near = |exact: Named| {
                    let [there, here] = [got, wanted].map(|numbers| off(numbers, &exact[which].2));
                    here.is_finite() && there <= 1.5 * here
                };
                if exact.is_some_and(is_as_near) {
                    break;
                }
                return Err(format!("{name} at {at}: {x:e}, on the CPU {y:e}"));
            }
        }
    }
    Ok(())
}
