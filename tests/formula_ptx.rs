//! Kernels that formulas write: every text assembles, and what they compute are the processor's own bits.
#![cfg(feature = "cuda-unversioned")]

mod common;
mod emulator;
mod table;

use chainrule::formula::ptx::{BLOCK, Kernel, Paths, Signature};
use chainrule::formula::{Arithmetic, F, Function, Integral, Number, Program, Symbol, Whole, Written};
use chainrule::{DType, Tensor, record, update_formula};
use common::{View, operands};
use emulator::call::{Argument, Emulator, Plain, bytes};
use half::{bf16, f16};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::{Add, Div, Mul, Sub};
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

/// NVIDIA's assembler: where `CHAINRULE_PTXAS` says, on the path, or where `kernels/ptx.py` keeps it.
fn assembler() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("CHAINRULE_PTXAS").map(PathBuf::from).into_iter().collect();
    places.push("ptxas".into());
    let kept = PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/cuda-wheels");
    let inside = |folder: PathBuf| {
        let mut list: Vec<PathBuf> = folder.read_dir().into_iter().flatten().flatten().map(|one| one.path()).collect();
        list.sort();
        list
    };
    let wheels = inside(kept).into_iter().flat_map(|wheel| inside(wheel.join("nvidia")));
    places.extend(wheels.map(|package| package.join("bin/ptxas")));
    places.into_iter().find(|place| Command::new(place).arg("--version").output().is_ok())
}

update_formula! {
    /// An optimizer's step that remembers as much as any.
    fn Moments(parameter, gradient; mean, square, most; rate, keep, root) {
        mean = keep * mean + (1.0 - keep) * gradient;
        square = keep * square + (1.0 - keep) * (gradient * gradient);
        most = maximum(most, square);
        parameter = parameter - rate * mean / (sqrt(most) + root);
    }
}

#[test]
fn every_formula_assembles() {
    let formulas = all_formulas();
    assert!(formulas.len() > 200, "only {} formulas and gradients were found", formulas.len());
    let mut text = String::from(".version 8.0\n.target sm_80\n.address_size 64\n");
    let mut names = Vec::new();
    let mut add = |name: String, kernel: Kernel| {
        let (_, entry) = kernel.text().split_once(".address_size 64\n").unwrap();
        let entry = entry.replace(".entry formula(", &format!(".entry formula_{}(", names.len()));
        let _ = writeln!(text, "// {name}\n{entry}");
        names.push(name);
    };
    for (name, (written, inputs)) in &formulas {
        let program = &written.program;
        for (compute, dtype, paths) in
            [(DType::F32, DType::F32, Paths::Dense), (DType::F64, DType::BF16, Paths::Strided { axes: 3, long: false })]
        {
            let signature = Signature::formula(&vec![dtype; *inputs], compute, dtype, paths);
            let kernel = Kernel::write(name, program, &[program.result()], &signature).unwrap();
            add(format!("{name} in {dtype}"), kernel);
        }
        // Rare ones are computed in f64.
        if program.instructions().len() < 40 {
            for dtype in [DType::BF16, DType::F16] {
                let signature = Signature::formula(&vec![dtype; *inputs], DType::F32, dtype, Paths::Dense);
                let kernel = Kernel::write(name, program, &[program.result()], &signature).unwrap();
                if kernel.text().len() < 40_000 {
                    add(format!("{name} in words of {dtype}"), kernel);
                }
            }
        }
    }
    let (program, results) = Program::of_update(&Moments { rate: 0.1, keep: 0.9, root: 1e-8 });
    let types = [DType::F64, DType::F32, DType::BF16, DType::F16];
    for (dtype, remote) in types.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)]) {
        let state = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let signature = Signature {
            inputs: vec![dtype, dtype, state, state, state],
            compute: state,
            results: vec![dtype, state, state, state],
            through: None,
            paths: Paths::InPlace { tensors: 64, remote, guarded: remote },
        };
        add(format!("a step in {dtype}, {remote}"), Kernel::write("a step", &program, &results, &signature).unwrap());
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
    arguments.extend([bytes(count as u64), bytes(count as u64 / signature.each() as u64)]);
    let blocks = count.div_ceil((BLOCK * signature.each()) as usize);
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

/// A program and what the processor makes of it.
struct Trial {
    name: String,
    program: Program,
    single: Box<dyn Fn(f32, f32) -> f32>,
    double: Box<dyn Fn(f64, f64) -> f64>,
    /// Units in the last place by which they may differ, in f32 and in f64.
    most: [u64; 2],
    /// Below, it takes long.
    least: f64,
}

/// All functions. Those that differ at all have no digits of their own on the processor: the standard library computes them
/// there, in double precision.
fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(function, name) in Function::ALL {
        let most = match name {
            "cbrt" | "sin" | "cos" => [0, 1],
            "tan" => [0, 2],
            // near its zeros
            "lgamma" => [0, 8],
            _ => [0, 0],
        };
        trials.push(Trial {
            name: name.to_string(),
            program: Program::trace(|| function.apply(Symbol::input(0))),
            single: Box::new(move |x, _| function.apply(F::<f32, true>(x)).0),
            double: Box::new(move |x, _| function.apply(F::<f64, false>(x)).0),
            most,
            least: f64::NEG_INFINITY,
        });
    }
    macro_rules! of_two {
        ($($name:ident $most:expr),*) => { $(
            trials.push(Trial {
                name: stringify!($name).to_string(),
                program: Program::trace(|| Symbol::input(0).$name(Symbol::input(1))),
                single: Box::new(|x, y| F::<f32, true>(x).$name(F(y)).0),
                double: Box::new(|x, y| F::<f64, false>(x).$name(F(y)).0),
                most: $most,
                least: f64::NEG_INFINITY,
            });
        )* };
    }
    of_two!(pow [0, 1], atan2 [0, 0], fmod [0, 0], remainder [0, 0], add [0, 0], sub [0, 0], mul [0, 0], div [0, 0]);
    for order in 0..4 {
        trials.push(Trial {
            name: format!("polygamma {order}"),
            program: Program::trace(|| Symbol::input(0).polygamma(order)),
            single: Box::new(move |x, _| F::<f32, true>(x).polygamma(order).0),
            double: Box::new(move |x, _| F::<f64, false>(x).polygamma(order).0),
            // relative to the greatest term, not to what sums cancel to
            most: [2, 2000],
            least: -100.0,
        });
    }
    trials
}

#[test]
fn functions_have_the_processors_bits() {
    let Some(emulator) = Emulator::new() else { return };
    let points = points();
    // each beside another
    let turned: Vec<f64> = points.iter().skip(5).chain(&points).copied().take(points.len()).collect();
    let turned_singles: Vec<f32> = turned.iter().map(|x| *x as f32).collect();
    let mut wrong = Vec::new();
    for trial in trials() {
        let points: Vec<f64> = points.iter().map(|&x| if x < trial.least { 1.75 } else { x }).collect();
        let singles: Vec<f32> = points.iter().map(|x| *x as f32).collect();
        let f32s: Vec<f32> =
            dense(&emulator, &trial.program, DType::F32, [DType::F32; 2], &[&singles, &turned_singles]);
        let f64s: Vec<f64> = dense(&emulator, &trial.program, DType::F64, [DType::F64; 2], &[&points, &turned]);
        let mut worst = [(0, String::new()), (0, String::new())];
        for at in 0..points.len() {
            let of_f32 = (f32s[at] as f64, (trial.single)(singles[at], turned_singles[at]) as f64);
            let of_f64 = (f64s[at], (trial.double)(points[at], turned[at]));
            for (double, (gpu, cpu)) in [(false, of_f32), (true, of_f64)] {
                let apart = ulps(gpu, cpu, double);
                let kind = double as usize;
                if apart > worst[kind].0 {
                    worst[kind] = (apart, format!("at {:e}, {:e}: {gpu:e} instead of {cpu:e}", points[at], turned[at]));
                }
            }
        }
        for (kind, ((apart, said), most)) in ["f32", "f64"].into_iter().zip(worst.into_iter().zip(trial.most)) {
            if apart > most {
                wrong.push(format!("{} in {kind}: {apart} units {said}", trial.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whole_numbers_are_the_processors() {
    let Some(emulator) = Emulator::new() else { return };
    whole(&emulator, &[i64::MIN, i64::MIN + 1, -7, -2, -1, 0, 1, 2, 7, 1 << 33, i64::MAX]);
    whole(&emulator, &[i32::MIN, i32::MIN + 1, -7, -2, -1, 0, 1, 2, 7, i32::MAX]);
    whole(&emulator, &[0u8, 1, 2, 7, 128, 254, 255]);
}

/// Every pair of the numbers through every operation; they wrap, and what is divided by 0 is 0.
fn whole<T: Integral + Plain>(emulator: &Emulator, numbers: &[T]) {
    type Two<N> = fn(N, N) -> N;
    fn operations<N: Arithmetic>() -> [(&'static str, Two<N>); 9] {
        [
            ("+", |a, b| a + b),
            ("-", |a, b| a - b),
            ("times", |a, b| a * b),
            ("/", |a, b| a / b),
            ("fmod", N::fmod),
            ("remainder", N::remainder),
            ("abs +", |a, b| a.abs() + b),
            ("sign", |a, b| a.sign() * b),
            ("the smaller of", |a, b| N::choose(a.less(b), a, b)),
        ]
    }
    let (left, right): (Vec<T>, Vec<T>) = numbers.iter().flat_map(|&a| numbers.iter().map(move |&b| (a, b))).unzip();
    for ((name, symbols), (_, wholes)) in operations::<Symbol>().into_iter().zip(operations::<Whole<T>>()) {
        let program = Program::trace(|| symbols(Symbol::input(0), Symbol::input(1)));
        let found: Vec<T> = dense(emulator, &program, T::DTYPE, [T::DTYPE; 2], &[&left, &right]);
        for (at, found) in found.into_iter().enumerate() {
            let (a, b) = (left[at], right[at]);
            assert_eq!(found, wholes(Whole(a), Whole(b)).0, "{a:?} {name} {b:?}");
        }
    }
}

#[test]
fn numbers_keep_their_types() {
    let Some(emulator) = Emulator::new() else { return };
    let program = Program::trace(|| Symbol::input(0) * 1.0);
    let numbers: Vec<f32> = points().iter().map(|x| *x as f32).collect();
    let same = |a: f32, b: f32| a == b || a.is_nan() && b.is_nan();
    let halves: Vec<f16> = dense(&emulator, &program, DType::F32, [DType::F32, DType::F16], &[&numbers]);
    let brains: Vec<bf16> = dense(&emulator, &program, DType::F32, [DType::F32, DType::BF16], &[&numbers]);
    for ((x, half), brain) in numbers.iter().zip(&halves).zip(&brains) {
        assert!(same(half.to_f32(), f16::from_f32(*x).to_f32()), "{x:e} became {half:e}");
        assert!(same(brain.to_f32(), bf16::from_f32(*x).to_f32()), "{x:e} became {brain:e}");
    }
    // every half there is
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let brains: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let wide: Vec<f32> = dense(&emulator, &program, DType::F32, [DType::F16, DType::F32], &[&halves]);
    assert!(wide.iter().zip(&halves).all(|(x, half)| same(*x, half.to_f32())));
    let wide: Vec<f64> = dense(&emulator, &program, DType::F64, [DType::BF16, DType::F64], &[&brains]);
    assert!(wide.iter().zip(&brains).all(|(x, brain)| same(*x as f32, brain.to_f32())));
}

#[test]
fn a_kernel_stays_inside_its_operands() {
    let Some(emulator) = Emulator::new() else { return };
    stays_inside(&emulator, DType::F32, [1f32, 2.0, 3.0]);
    stays_inside(&emulator, DType::BF16, [1.0, 2.0, 3.0].map(bf16::from_f32));
    stays_inside(&emulator, DType::F16, [1.0, 2.0, 3.0].map(f16::from_f32));
}

/// Sums of two numbers, so many of them that turns are full, and that they are not.
fn stays_inside<T: Plain + PartialEq>(emulator: &Emulator, dtype: DType, [one, two, sum]: [T; 3]) {
    let program = Program::trace(|| Symbol::input(0) + Symbol::input(1));
    let signature = Signature::formula(&[dtype; 2], DType::F32, dtype, Paths::Dense);
    let kernel = Kernel::write("sum", &program, &[program.result()], &signature).unwrap();
    let run = |count: usize, short: usize, offset: usize| {
        let (a, b) = (emulator.buffer(&vec![one; count]), emulator.buffer(&vec![two; count - short + offset]));
        let result = emulator.unwritten::<T>(count);
        let words = if offset == 0 { count as u64 / signature.each() as u64 } else { 0 };
        let arguments =
            [result.argument(), a.argument(), b.from(dtype.size() * offset), bytes(count as u64), bytes(words)];
        let blocks = count.div_ceil((BLOCK * signature.each()) as usize);
        emulator.launch_text(kernel.text(), "formula", [blocks, 1, 1], BLOCK as usize, &arguments)?;
        assert!(result.read::<T>().iter().all(|x| *x == sum));
        Ok::<(), String>(())
    };
    for count in [1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 1023, 1024, 1025, 2047, 2048, 2049, 3000] {
        run(count, 0, 0).unwrap();
        // off a multiple of 16 bytes
        run(count, 0, 1).unwrap();
        let said = run(count, 1, 0).unwrap_err();
        let words = if count == 1 { "uninitialised" } else { "out of bounds" };
        assert!(said.contains(words), "{dtype}, {count}: {said}");
    }
}

#[test]
fn every_type_goes_by_words_and_singly() {
    let Some(emulator) = Emulator::new() else { return };
    let program = Program::trace(|| Symbol::input(0) * Symbol::input(1));
    for count in [3, 8, 21, 2061] {
        let some = |shift: usize| (0..count).map(move |i| ((i + shift) % 13) as f32 - 6.0);
        let products: Vec<f32> = some(0).zip(some(4)).map(|(a, b)| a * b).collect();
        let (a, b): (Vec<bf16>, Vec<bf16>) =
            some(0).zip(some(4)).map(|(a, b)| (bf16::from_f32(a), bf16::from_f32(b))).unzip();
        let wide: Vec<f32> = dense(&emulator, &program, DType::F32, [DType::BF16, DType::F32], &[&a, &b]);
        assert_eq!(wide, products);
        let halves: Vec<f16> = dense(&emulator, &program, DType::F32, [DType::BF16, DType::F16], &[&a, &b]);
        assert_eq!(halves, products.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>());
        let truths: Vec<u8> = dense(&emulator, &program, DType::F32, [DType::BF16, DType::Bool], &[&a, &b]);
        assert_eq!(truths, products.iter().map(|x| (*x != 0.0) as u8).collect::<Vec<_>>());
        let doubles: Vec<bf16> = dense(&emulator, &program, DType::F64, [DType::BF16, DType::BF16], &[&a, &b]);
        assert_eq!(doubles, products.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>());
        let (a, b): (Vec<u8>, Vec<u8>) = (0..count).map(|i| ((i % 200) as u8, (i % 3) as u8)).unzip();
        let bytes: Vec<u8> = dense(&emulator, &program, DType::U8, [DType::U8; 2], &[&a, &b]);
        assert_eq!(bytes, a.iter().zip(&b).map(|(a, b)| a.wrapping_mul(*b)).collect::<Vec<_>>());
    }
}

/// A choice between a number and a constant, by comparing both: is the constant on the left, may they be equal, is the left one chosen?
fn chosen<N: Arithmetic>(x: N, constant: f64, [on_left, or_equal, first]: [bool; 3]) -> N {
    let constant = N::from(constant);
    let (left, right) = if on_left { (constant, x) } else { (x, constant) };
    let condition = if or_equal { left.less_equal(right) } else { left.less(right) };
    if first { N::choose(condition, left, right) } else { N::choose(condition, right, left) }
}

#[test]
fn choices_by_a_constant_are_one_instruction_with_the_same_bits() {
    let Some(emulator) = Emulator::new() else { return };
    let mut numbers: Vec<f32> = points().iter().map(|x| *x as f32).collect();
    numbers.extend([1.5, -2.0, f32::from_bits(1), -f32::from_bits(1), f32::NAN]);
    let mut instructions = 0;
    for constant in [0.0, -0.0, 1.5, -2.0, f64::INFINITY, f64::NAN] {
        for ways in 0..8 {
            let ways = [1, 2, 4].map(|bit| ways & bit != 0);
            let program = Program::trace(|| chosen(Symbol::input(0), constant, ways));
            let found: Vec<f32> = dense(&emulator, &program, DType::F32, [DType::F32; 2], &[&numbers]);
            for (x, found) in numbers.iter().zip(&found) {
                let wanted = chosen(F::<f32, true>(*x), constant, ways).0;
                let same = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
                assert!(same, "{constant} beside {x:e}, {ways:?}: {found:e} instead of {wanted:e}");
            }
            let signature = Signature::formula(&[DType::F32], DType::F32, DType::F32, Paths::Dense);
            let kernel = Kernel::write("choice", &program, &[program.result()], &signature).unwrap();
            instructions += (!kernel.text().contains("selp.f32")) as usize;
        }
    }
    // All but those with NaN and half of those with a zero, whose signs tell.
    assert_eq!(instructions, 3 * 8 + 2 * 4);
}

#[test]
fn mistakes_in_a_text_are_found() {
    let Some(emulator) = Emulator::new() else { return };
    let program = Program::trace(|| Symbol::input(0) + 1.0);
    let signature = Signature::formula(&[DType::F32], DType::F32, DType::F32, Paths::Dense);
    let kernel = Kernel::write("sum", &program, &[program.result()], &signature).unwrap();
    let run = |text: &str| {
        let (x, result) = (emulator.buffer(&[1f32; 6]), emulator.unwritten::<f32>(6));
        let arguments = [result.argument(), x.argument(), bytes(6u64), bytes(1u64)];
        emulator.launch_text(text, "formula", [1, 1, 1], BLOCK as usize, &arguments)
    };
    run(kernel.text()).unwrap();
    let one = kernel.text().lines().find(|line| line.contains("0f3F800000")).unwrap();
    for (right, wrong, words) in [
        ("add.rn.f32", "add.sat.f32", "does not know: add.sat.f32"),
        (one, "", "what is in the registers that this reads"),
        ("ret;\n    sub", "bra NOWHERE;\n    sub", "the label NOWHERE"),
        ("+4];", "+6];", "misaligned"),
        (".v4.f32 {", ".v2.f32 {", "does not know"),
        ("[count]", "[number]", "the address [number]"),
    ] {
        assert!(kernel.text().contains(right), "{right}");
        let said = run(&kernel.text().replace(right, wrong)).unwrap_err();
        assert!(said.contains(words), "{wrong}: {said}");
    }
}

#[test]
fn scalar_parameters_are_arguments() {
    let x = Tensor::from([1.0, -2.0]);
    let formula = |call: &dyn Fn() -> Tensor| {
        let (_, recording) = record(call);
        recording.steps()[0].op().formula(None).unwrap()
    };
    let (a, b) = (formula(&|| x.leaky_relu(0.1)), formula(&|| x.leaky_relu(0.3)));
    assert_ne!(a.parameters, b.parameters);
    let key = |written: &Written, dtype: DType, paths: Paths| {
        let signature = Signature::formula(&[dtype], DType::F32, dtype, paths);
        Kernel::key(&written.program, &[written.program.result()], &signature)
    };
    let strided = Paths::Strided { axes: 2, long: false };
    let one = key(&a, DType::F32, Paths::Dense);
    assert_eq!(one, key(&b, DType::F32, Paths::Dense));
    for other in [
        key(&a, DType::BF16, Paths::Dense),
        key(&a, DType::F32, strided),
        key(&formula(&|| x.relu()), DType::F32, Paths::Dense),
    ] {
        assert_ne!(one, other);
    }
}
