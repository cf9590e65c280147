//! Kernels that formulas write: every text assembles, and what they compute are the processor's own bits.
#![cfg(feature = "cuda-unversioned")]

mod common;
mod emulator;
mod table;

use chainrule::formula::ptx::{BLOCK, EACH, Kernel, Paths, Signature};
use chainrule::formula::{F, Function, Program, Symbol, Written};
use chainrule::{DType, record};
use common::{View, operands};
use emulator::call::{Argument, Emulator, Plain, bytes};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

// ---------------------------------------------------------------------------------------------- every text assembles

/// All formulas of the table, and their gradients, by name.
fn all_formulas() -> BTreeMap<String, (Written, usize)> {
    let mut found = BTreeMap::new();
    for family in table::FAMILIES {
        for row in table::family(family) {
            for case in &row.cases {
                let Some(operands) = operands(case, View::Plain, 1) else { continue };
                let inputs: Vec<_> = operands.iter().map(|operand| operand.stored(DType::F64)).collect();
                let (_, recording) = record(|| (row.call)(&inputs));
                for step in recording.steps() {
                    let count = step.inputs().len();
                    for gradient_of in std::iter::once(None).chain((0..count).map(Some)) {
                        let Some(written) = step.op().formula(gradient_of) else { continue };
                        let inputs = if written.of_result { 1 } else { count };
                        let name = match gradient_of {
                            None => step.name().to_string(),
                            Some(which) => format!("{} gradient {which}", step.name()),
                        };
                        found.insert(name, (written, inputs + gradient_of.is_some() as usize));
                    }
                }
            }
        }
    }
    found
}

/// NVIDIA's assembler: on the path, or where `CHAINRULE_PTXAS` says.
fn assembler() -> Option<PathBuf> {
    let named = std::env::var_os("CHAINRULE_PTXAS").map(PathBuf::from);
    let program = named.unwrap_or_else(|| "ptxas".into());
    Command::new(&program).arg("--version").output().ok().map(|_| program)
}

#[test]
fn every_formula_assembles() {
    let formulas = all_formulas();
    assert!(formulas.len() > 200, "only {} formulas and gradients were found", formulas.len());
    let mut text = String::from(".version 8.0\n.target sm_80\n.address_size 64\n");
    let mut names = Vec::new();
    for (name, (written, inputs)) in &formulas {
        let program = &written.program;
        for (compute, dtype, paths) in
            [(DType::F32, DType::F32, Paths::Dense), (DType::F64, DType::BF16, Paths::Strided { axes: 3, long: false })]
        {
            let signature = Signature::formula(&vec![dtype; *inputs], compute, dtype, paths);
            let kernel = Kernel::write(name, program, &[program.result()], &signature).unwrap();
            let (_, entry) = kernel.text().split_once(".address_size 64\n").unwrap();
            let _ = writeln!(text, "{}", entry.replace(".entry formula(", &format!(".entry formula_{}(", names.len())));
            names.push(format!("{name} in {dtype}"));
        }
    }
    let Some(assembler) = assembler() else {
        eprintln!("skipped: there is no ptxas (CHAINRULE_PTXAS names one)");
        return;
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, object) = (folder.join("formulas.ptx"), folder.join("formulas.cubin"));
    std::fs::write(&source, text).unwrap();
    let output =
        Command::new(assembler).args(["-arch=sm_80", "-v"]).arg(&source).arg("-o").arg(&object).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let mut spills = Vec::new();
    let mut current = String::new();
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Function properties for formula_") {
            current = names[rest.trim().parse::<usize>().unwrap()].clone();
        } else if line.contains("spill stores") && !line.contains(" 0 bytes spill stores, 0 bytes spill loads") {
            spills.push(format!("{current}: {}", line.trim()));
        }
    }
    assert!(spills.is_empty(), "{}", spills.join("\n"));
}

// ---------------------------------------------------------------------------------------------- values

/// Runs a kernel over dense inputs on the emulated device.
fn dense<T: Plain, O: Plain>(
    emulator: &Emulator,
    program: &Program,
    compute: DType,
    [from, to]: [DType; 2],
    inputs: &[&[T]],
) -> Vec<O> {
    let count = inputs[0].len();
    let signature = Signature::formula(&vec![from; inputs.len()], compute, to, Paths::Dense);
    let kernel = Kernel::write("test", program, &[program.result()], &signature).unwrap();
    let buffers: Vec<_> = inputs.iter().map(|input| emulator.buffer(input)).collect();
    let result = emulator.unwritten::<O>(count);
    let mut arguments: Vec<Argument> = vec![result.argument()];
    arguments.extend(buffers.iter().map(|buffer| buffer.argument()));
    arguments.push(bytes(count as u64));
    let blocks = count.div_ceil((BLOCK * EACH) as usize);
    let outcome = emulator.launch_text(kernel.text(), "formula", [blocks, 1, 1], BLOCK as usize, &arguments);
    outcome.unwrap_or_else(|said| panic!("{said}\n{}", kernel.text()));
    result.read()
}

/// Numbers of every size and sign, and the edges.
fn points() -> Vec<f64> {
    let mut points = vec![0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    points.extend([1e-40, -1e-40, 1e-310, f32::MAX as f64, f32::MIN_POSITIVE as f64, f64::MAX, 1e22, -1e22]);
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    for _ in 0..600 {
        points.push(random() * 8.0 - 4.0);
        points.push(random() * 200.0 - 100.0);
        points.push((random() * 60.0 - 30.0).exp2() * if random() < 0.5 { -1.0 } else { 1.0 });
        points.push((random() * 2000.0 - 1000.0).exp2() * if random() < 0.5 { -1.0 } else { 1.0 });
    }
    points
}

/// How many floats lie between two numbers.
fn ulps(a: f64, b: f64, double: bool) -> u64 {
    if a.is_nan() && b.is_nan() {
        return 0;
    }
    let place = |x: f64| {
        let (bits, least) = match double {
            true => (x.to_bits() as i64 as i128, i64::MIN as i128),
            false => ((x as f32).to_bits() as i32 as i128, i32::MIN as i128),
        };
        if bits < 0 { least - bits } else { bits }
    };
    (place(a) - place(b)).unsigned_abs().min(u64::MAX as u128) as u64
}

#[test]
fn functions_have_the_processors_bits() {
    let Some(emulator) = Emulator::new() else { return };
    let points = points();
    let singles: Vec<f32> = points.iter().map(|x| *x as f32).collect();
    let mut wrong = Vec::new();
    for (function, name) in Function::ALL {
        let program = Program::trace(|| function.apply(Symbol::input(0)));
        let of_singles: Vec<f32> = dense(&emulator, &program, DType::F32, [DType::F32; 2], &[&singles]);
        let of_doubles: Vec<f64> = dense(&emulator, &program, DType::F64, [DType::F64; 2], &[&points]);
        let mut worst = [(0, 0.0, 0.0, 0.0); 2];
        for at in 0..points.len() {
            let (single, double) = (singles[at], points[at]);
            let trials = [
                (single as f64, of_singles[at] as f64, function.apply(F::<f32, true>(single)).0 as f64),
                (double, of_doubles[at], function.apply(F::<f64, false>(double)).0),
            ];
            for (kind, (x, gpu, cpu)) in trials.into_iter().enumerate() {
                let apart = ulps(gpu, cpu, kind > 0);
                if apart > worst[kind].0 {
                    worst[kind] = (apart, x, gpu, cpu);
                }
            }
        }
        for (kind, (worst, most)) in worst.into_iter().zip(most_ulps(name)).enumerate() {
            if worst.0 > most {
                let kind = ["f32", "f64"][kind];
                wrong.push(format!(
                    "{name} in {kind}: {} units at {:e}: {:e} instead of {:e}",
                    worst.0, worst.1, worst.2, worst.3
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Units in the last place by which a function may differ from the processor's: in f32, in f64. Those that
/// differ at all have no digits of their own on the processor: the standard library computes them there.
fn most_ulps(name: &str) -> [u64; 2] {
    match name {
        "cbrt" | "sin" | "cos" => [0, 1],
        "tan" => [0, 2],
        // near its zeros
        "lgamma" => [0, 8],
        _ => [0, 0],
    }
}
