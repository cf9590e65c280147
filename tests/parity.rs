//! The table of operations, CPU against CUDA: values and gradients, per element type, through views of every kind. It runs on
//! the stand-in driver, on every machine; `REQUIRE_CUDA=1` runs it on the machine's own GPU.
//!
//! What has no kernel yet must say so by its error, and stands in `tests/parity/FAMILY.txt`: a gap that is not listed fails, and
//! so does a listed one that is none. `CHAINRULE_WRITE=1 cargo test --features cuda --test parity` rewrites the lists.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

mod common;
mod emulator;
mod table;

use chainrule::{DType, Device, Error, ErrorKind, Tensor, backward_all};
use common::{Operand, Random, VIEWS, guarded, one_line, operands, report};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use table::Row;

table::each_family!(check);

/// Words of the errors that an operation may give on a device for which it is not written.
const GAPS: &[&str] = &["has no CUDA kernel yet", "this is computed on the CPU only"];

fn check(family: &str) {
    if !emulator::inside(family) {
        return;
    }
    let device = Device::cuda(0).unwrap_or_else(|error| panic!("{error}"));
    let (mut failures, mut gaps) = (BTreeMap::new(), BTreeMap::new());
    for row in table::family(family) {
        for (number, case) in row.cases.iter().enumerate() {
            let shapes: Vec<_> = case.iter().map(|input| &input.shape).collect();
            for view in VIEWS {
                let Some(operands) = operands(case, view, 13 * number as u64 + view as u64) else { continue };
                for &dtype in row.dtypes {
                    let outcome = guarded(|| compare(&row, &operands, dtype, device));
                    match outcome.unwrap_or_else(|panic| Err(Outcome::Wrong(panic))) {
                        Ok(()) => {}
                        Err(Outcome::Gap(part, what)) => {
                            let types: &mut BTreeSet<DType> = gaps.entry((row.name, part, what)).or_default();
                            types.insert(dtype);
                        }
                        Err(Outcome::Wrong(said)) => {
                            let line = format!("{} [{dtype}] on {shapes:?} {view:?}: {said}", row.name);
                            failures.entry((row.name, dtype)).or_insert(line);
                        }
                    }
                }
            }
        }
    }
    report(failures.into_values().collect());
    hold_against_the_list(family, &gaps);
}

type Gaps = BTreeMap<(&'static str, &'static str, String), BTreeSet<DType>>;

/// The gaps found are the ones listed.
fn hold_against_the_list(family: &str, gaps: &Gaps) {
    if std::env::var_os("CHAINRULE_ROWS").is_some() {
        return; // a part is not the list
    }
    let mut list = String::new();
    for ((row, part, what), types) in gaps {
        let types: Vec<&str> = types.iter().map(|dtype| dtype.name()).collect();
        let _ = writeln!(list, "{row}, {part} in {}: {what}", types.join(" "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(format!("{family}.txt"));
    if std::env::var_os("CHAINRULE_WRITE").is_some_and(|value| value == "1") {
        let written =
            if list.is_empty() { std::fs::remove_file(&path).or(Ok(())) } else { std::fs::write(&path, &list) };
        return written.unwrap_or_else(|error: std::io::Error| panic!("{}: {error}", path.display()));
    }
    let listed = std::fs::read_to_string(&path).unwrap_or_default();
    let (found, listed) = (list.lines().collect::<BTreeSet<_>>(), listed.lines().collect::<BTreeSet<_>>());
    let lines = found.difference(&listed).map(|line| format!("a gap that {} does not list: {line}", path.display()));
    let closed = listed.difference(&found).map(|line| format!("listed in {}, and no gap: {line}", path.display()));
    report(lines.chain(closed).collect());
}

/// What may come instead of equal numbers.
enum Outcome {
    /// There is no kernel for the value or the gradient, and the error says so.
    Gap(&'static str, String),
    Wrong(String),
}

fn gap(part: &'static str) -> impl Fn(Error) -> Outcome {
    move |error| {
        let known = error.kind() == ErrorKind::Device && GAPS.iter().any(|words| error.what().contains(words));
        match known && !error.help().is_empty() {
            true => Outcome::Gap(part, error.what().to_string()),
            false => Outcome::Wrong(format!("{part}: {}", one_line(&error))),
        }
    }
}

/// Numbers with what they are.
type Named = Vec<(String, DType, Vec<f64>)>;

fn compare(row: &Row, operands: &[Operand], dtype: DType, device: Device) -> Result<(), Outcome> {
    let wrong = |error: Error| Outcome::Wrong(format!("on the CPU: {}", one_line(&error)));
    let there = Run::new(row, operands, dtype, device);
    let here = Run::new(row, operands, dtype, Device::Cpu);
    let exact = || Run::new(row, operands, DType::F64, Device::Cpu);
    let values = || exact().values(Device::Cpu).ok();
    equal(&there.values(device).map_err(gap("value"))?, &here.values(Device::Cpu).map_err(wrong)?, &values)?;
    let gradients = || exact().gradients().ok();
    equal(&there.gradients().map_err(gap("gradient"))?, &here.gradients().map_err(wrong)?, &gradients)
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
fn equal(there: &Named, here: &Named, exact: &dyn Fn() -> Option<Named>) -> Result<(), Outcome> {
    let names = |list: &Named| list.iter().map(|(name, dtype, _)| format!("{name} {dtype}")).collect::<Vec<_>>();
    if names(there) != names(here) {
        return Err(Outcome::Wrong(format!("{:?}, on the CPU {:?}", names(there), names(here))));
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
                return Err(Outcome::Wrong(format!("{name} at {at}: {x:e}, on the CPU {y:e}")));
            }
        }
    }
    Ok(())
}
