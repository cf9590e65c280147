//! The table of operations, CPU against CUDA: values and gradients, per element type, through views of every kind, and second derivatives of
//! dense operands. It runs on the stand-in driver, on every machine; `REQUIRE_CUDA=1` runs it on the machine's own GPU.
//!
//! There is no operation without a kernel: one that says it has none fails as any other error does. And no kernel that no operation of the table
//! launches, on one of the devices that it is run on.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

mod common;
mod emulator;
mod table;

use chainrule::{DType, Device, Error, MatmulPrecision, Tensor, backward_all, with_matmul_precision};
use common::{Operand, Random, VIEWS, View, guarded, one_line, operands, report};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use table::{FAMILIES, Input, Row};

table::each_family!(check);

/// What chooses its kernels by compute capability, on a device of 8.0: the cases of the sizes at which it does.
const ON_AMPERE: &str = "on_ampere";
#[test]
fn on_ampere() {
    check(ON_AMPERE);
}

/// Gradients of all types together: how large they are, and made smaller.
const TOGETHER: &str = "together";
#[test]
fn together() {
    check(TOGETHER);
}

fn check(part: &'static str) {
    if emulator::is_inside() {
        return run(part);
    }
    if let Err(said) = launched_by(part) {
        panic!("{said}");
    }
}

/// Kernels that nothing here launches, and why. `tests/kernels` has them.
const LEFT: &[(&[&str], &str)] = &[
    (&["links_8"], "for positions among more than 2^31 places, which take 16 GB"),
    (&["turn_f64"], "for matrices of more than 96 columns, whose rounds take minutes here: tests/cuda has one"),
];

#[test]
fn every_kernel_is_launched() {
    if emulator::is_inside() || std::env::var_os("CHAINRULE_ROWS").is_some() {
        return;
    }
    let Some(emulator) = emulator::call::Emulator::new() else { return };
    let all = emulator.names();
    drop(emulator);
    // The judge's own.
    let mistakes = [include_str!("emulator/bugs.cu"), include_str!("emulator/bugs_hopper.cu")].concat();
    let mut left: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    left.retain(|name| !mistakes.contains(&format!("({name},")));
    for part in FAMILIES.iter().copied().chain([ON_AMPERE, TOGETHER]) {
        // What is wrong with it its own test tells.
        let launched = launched_by(part).as_ref().unwrap_or_else(|_| panic!("{part} fails"));
        left.retain(|name| !launched.contains(*name));
    }
    let mut lines: Vec<String> = LEFT
        .iter()
        .flat_map(|(names, _)| *names)
        .filter(|name| !left.remove(**name))
        .map(|name| format!("{name} is launched, or there is none: take it off the list"))
        .collect();
    lines.extend(
        left.iter().map(|name| format!("nothing launches {name}: the table needs a row, or nobody the kernel")),
    );
    report(lines);
}

/// The kernels that a part of the table launches in a process of its own, which is run once for all who ask.
fn launched_by(part: &'static str) -> &'static Result<BTreeSet<String>, String> {
    type Once = OnceLock<Result<BTreeSet<String>, String>>;
    static RUNS: Mutex<BTreeMap<&str, &Once>> = Mutex::new(BTreeMap::new());
    let once: &Once =
        RUNS.lock().expect("nobody panics with it").entry(part).or_insert_with(|| Box::leak(Box::default()));
    let capability = if part == ON_AMPERE { "80" } else { "90" };
    once.get_or_init(|| Ok(emulator::again(part, &[("EMULATOR_CAPABILITY", capability)])?.unwrap_or_default()))
}

/// A part of the table on the device that there is.
fn run(part: &str) {
    let device = Device::cuda(0).unwrap_or_else(|error| panic!("{error}"));
    match part {
        TOGETHER => return gradients_together(device).unwrap_or_else(|error| panic!("{error}")),
        // A machine's own GPU is what it is.
        ON_AMPERE if emulator::is_real() => return,
        _ => {}
    }
    let families = if part == ON_AMPERE { &["matmul", "attention"][..] } else { &[part] };
    let mut failures = BTreeMap::new();
    for row in families.iter().flat_map(|family| table::family(family)) {
        let usual = if part == ON_AMPERE { &[] } else { &row.cases[..] };
        let exact = MatmulPrecision::Exact;
        for (number, case) in usual.iter().enumerate() {
            for &dtype in row.dtypes {
                each_view(&row, (case, Size::Usual), number, (dtype, exact), device, &mut failures);
            }
        }
        for (number, (dtypes, case)) in row.large.iter().enumerate() {
            for &dtype in *dtypes {
                each_view(&row, (case, Size::Large), usual.len() + number, (dtype, exact), device, &mut failures);
            }
        }
        for (number, case) in row.rounded.iter().enumerate() {
            for precision in [MatmulPrecision::Tf32, MatmulPrecision::Bf16] {
                each_view(&row, (case, Size::Rounded), number, (DType::F32, precision), device, &mut failures);
            }
        }
    }
    report(failures.into_values().collect());
}

/// Numbers of an operand of a case that takes long.
const LONG: usize = 2000;

/// Which list of a row a case is from.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    Usual,
    Large,
    Rounded,
}

fn each_view(
    row: &Row,
    (case, size): (&[Input], Size),
    number: usize,
    (dtype, precision): (DType, MatmulPrecision),
    device: Device,
    failures: &mut BTreeMap<(&'static str, DType), String>,
) {
    for (place, view) in VIEWS.into_iter().enumerate() {
        // What takes long dense and by one of the other views.
        let long = size != Size::Usual && case.iter().any(|input| input.shape.iter().product::<usize>() > LONG);
        if long && place > 0 && place != 1 + number % (VIEWS.len() - 1) {
            continue;
        }
        // The gradient of a number that stands in many places is a sum of roundings, of which nothing may be left.
        if size != Size::Usual && row.keeps_fewer_bits && view == View::Expanded {
            continue;
        }
        let Some(operands) = operands(case, view, 13 * number as u64 + view as u64) else { continue };
        // Recorded gradients are operations like others: one view of them is enough.
        let second = size == Size::Usual && view == View::Plain;
        let outcome =
            guarded(|| with_matmul_precision(precision, || compare(row, &operands, (size, second), dtype, device)));
        if let Err(said) = outcome.unwrap_or_else(Err) {
            let shapes: Vec<_> = case.iter().map(|input| &input.shape).collect();
            let line = format!("{} [{dtype}, {precision:?}] on {shapes:?} {view:?}: {said}", row.name);
            failures.entry((row.name, dtype)).or_insert(line);
        }
    }
}

fn gradients_together(device: Device) -> Result<(), Error> {
    let of = |device: Device| -> Result<Vec<f64>, Error> {
        let leaves: Vec<Tensor> = table::FLOATS
            .iter()
            .map(|&dtype| (Tensor::arange(300).to_dtype(DType::F32) / 16.0 - 8.0).to_dtype(dtype).to(device).variable())
            .collect();
        let squares = leaves.iter().map(|leaf| (leaf * leaf).sum().to_dtype(DType::F32));
        let mut gradients = squares.reduce(|sum, square| sum + square).expect("there are types").backward()?;
        let mut found = vec![gradients.norm_of(f64::INFINITY)?, gradients.clip_norm(2.0)?, gradients.norm()?];
        for leaf in &leaves {
            found.extend(gradients.of(leaf)?.to_vec::<f64>()?);
        }
        assert!(gradients.is_finite()?);
        Ok(found)
    };
    for (there, here) in of(device)?.iter().zip(of(Device::Cpu)?) {
        assert!((there - here).abs() < 1e-6, "{there}, on the CPU {here}");
    }
    Ok(())
}

/// Numbers with what they are.
type Named = Vec<(String, DType, Vec<f64>)>;

fn compare(
    row: &Row,
    operands: &[Operand],
    (size, second): (Size, bool),
    dtype: DType,
    device: Device,
) -> Result<(), String> {
    let of = |what: &'static str| move |error: Error| format!("{what}: {}", one_line(&error));
    let there = Run::new(row, operands, dtype, device);
    let here = Run::new(row, operands, dtype, Device::Cpu);
    let exact = || Run::new(row, operands, DType::F64, Device::Cpu);
    let values = || exact().values(Device::Cpu).ok();
    let keeps_fewer_bits = size != Size::Usual && row.keeps_fewer_bits;
    let equal =
        |there: &Named, here: &Named, exact: &dyn Fn() -> Option<Named>| equal(there, here, keeps_fewer_bits, exact);
    equal(&there.values(device).map_err(of("value"))?, &here.values(Device::Cpu).map_err(of("on the CPU"))?, &values)?;
    let gradients = || exact().gradients(size).ok();
    equal(
        &there.gradients(size).map_err(of("gradient"))?,
        &here.gradients(size).map_err(of("on the CPU"))?,
        &gradients,
    )?;
    // In 16 bits what is made of many steps is rounded between them, and again in their gradients: of what nothing is left says little.
    let many_steps = dtype.is_half() && (row.composed || row.definition.is_some());
    // Each derivative divides by the gaps between eigenvalues once more: a second one in f32 has lost the digits to compare, f64 has them.
    let by_gaps = dtype == DType::F32 && row.name.starts_with("symmetric_eigen");
    if !second || many_steps || by_gaps || row.no_second.is_some() || row.no_gradient.is_some() {
        return Ok(());
    }
    // Of graphs that no walk has freed.
    let anew = |dtype: DType, device: Device| Run::new(row, operands, dtype, device).second();
    let seconds = || anew(DType::F64, Device::Cpu).ok();
    let there = anew(dtype, device).map_err(of("second derivative"))?;
    equal(&there, &anew(dtype, Device::Cpu).map_err(of("on the CPU"))?, &seconds)
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
    fn gradients(&self, size: Size) -> Result<Named, Error> {
        let (mut roots, mut random) = (Vec::new(), Random::new(5));
        for result in self.results.iter().filter(|result| result.is_tracked()) {
            let (shape, dtype) = (result.shape()?, result.dtype()?);
            let mut weights = random.direction(shape.count());
            if size == Size::Rounded {
                // Of few bits, as the operands are.
                weights.iter_mut().for_each(|w| *w = (*w * 64.0).round() / 64.0);
            }
            let weights = Tensor::from_vec(weights, shape)?;
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
    /// The gradients of all operands of a sum of squares of their recorded gradients, which are those of a sum of squares too: so what arrives
    /// depends on the operands where the operation is linear.
    fn second(&self) -> Result<Named, Error> {
        let mut random = Random::new(6);
        let mut sum = |tensors: &mut dyn Iterator<Item = &Tensor>| -> Result<Tensor, Error> {
            let mut sum = Tensor::zeros(()).to_dtype(DType::F64);
            for tensor in tensors {
                let weights = Tensor::from_vec(random.direction(tensor.count()?), tensor.shape()?)?;
                let wide = tensor.to_dtype(DType::F64);
                sum = sum.to(tensor.device()?) + (&wide * &wide * weights.to(tensor.device()?)).sum();
            }
            sum.checked()
        };
        let leaves: Vec<(usize, &Tensor)> =
            self.stored.iter().enumerate().filter(|(_, leaf)| leaf.is_tracked()).collect();
        let first = sum(&mut self.results.iter().filter(|result| result.is_tracked()))?;
        if !first.is_tracked() {
            return Ok(Vec::new());
        }
        let of: Vec<&Tensor> = leaves.iter().map(|(_, leaf)| *leaf).collect();
        let recorded = first.gradients_of_recorded(&of)?;
        let slope = sum(&mut recorded.iter())?;
        if !slope.is_tracked() {
            return Ok(Vec::new());
        }
        let gradients = slope.backward()?;
        let mut all = Vec::new();
        for (which, leaf) in leaves {
            let Some(gradient) = gradients.get(leaf) else { continue };
            let name = format!("the second derivative of operand {which} {:?}", gradient.shape()?);
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
/// to what f64 gives. Where a device keeps fewer bits of what is between, it may be a sixty-fourth of the largest number off in bf16, an eighth of that in
/// f16, and half of that where f32 may be rounded to tf32.
fn equal(there: &Named, here: &Named, keeps_fewer_bits: bool, exact: &dyn Fn() -> Option<Named>) -> Result<(), String> {
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
            let apart = match (keeps_fewer_bits, dtype) {
                (true, DType::F32) => size / 1024.0,
                (true, _) => 2.0 * tolerance * size,
                (false, _) => tolerance * (y.abs() + 0.1 * size + 2e-2),
            };
            let near = (x - y).abs() <= apart && x.is_finite();
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
