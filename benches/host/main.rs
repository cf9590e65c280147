//! What an operation on a GPU costs the processor: against a driver that does nothing (`driver.c`), so that what is left is ours.
//!
//! ```text
//! taskset -c 1 cargo bench --features cuda --bench host              # everything
//! taskset -c 1 cargo bench --features cuda --bench host -- tanh      # names that begin so
//! ```
//!
//! Nanoseconds of the processor's time for one call, its result dropped.
#![allow(missing_docs, dead_code)] // a benchmark is no library, and uses a part of how others measure

#[path = "../workloads/measure.rs"]
mod measure;

use chainrule::nn::{Init, Layer, Linear, Module, Relu, Sequential};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{DType, Device, Parameter, Result, Tensor, autocast};
use measure::Clock;
use std::path::Path;
use std::process::Command;

/// Set in the process that runs on the driver.
const INSIDE: &str = "CHAINRULE_INSIDE";
fn main() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return all();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nothing");
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/host/driver.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-w", "-o"]).arg(folder.join("libcuda.so.1")).arg(source);
    assert!(compiler.status().expect("a C compiler, which Rust's linker needs too").success());
    let program = std::env::current_exe().expect("this program");
    let mut again = Command::new(program);
    again.args(std::env::args().skip(1)).env(INSIDE, "1").env("LD_LIBRARY_PATH", folder);
    std::process::exit(again.status().expect("it runs again").code().unwrap_or(1));
}

/// A name, and one call.
type Row<'a> = (&'static str, Box<dyn FnMut() -> Result<()> + 'a>);

fn row<'a, R>(name: &'static str, mut call: impl FnMut() -> Result<R> + 'a) -> Row<'a> {
    (name, Box::new(move || call().map(drop)))
}

fn all() -> Result<()> {
    let device = Device::cuda(0)?;
    let ones = |sizes: &[usize]| Tensor::ones(sizes).to(device);
    let (x, y, line) = (ones(&[64, 64]), ones(&[64, 64]), ones(&[64]));
    let (turned, half) = (x.transpose(0, 1), x.to_dtype(DType::BF16));
    let leaf = Parameter::new(x.clone());
    let init = &mut Init::on(&device);
    let mut network = Sequential::new();
    for _ in 0..4 {
        network = network.then(Linear::new(64, 64, init)).then(Relu);
    }
    let mut network = network.named();
    let mut optimizer = Adam::new(1e-3);
    let cast = network.clone();
    let mut rows: Vec<Row<'_>> = vec![
        row("tanh", || x.tanh().checked()),
        row("tanh, bf16", || half.tanh().checked()),
        row("gelu", || x.gelu().checked()),
        row("digamma", || x.digamma().checked()),
        row("polygamma", || x.polygamma(2).checked()),
        row("add", || (&x + &y).checked()),
        row("add a row", || (&x + &line).checked()),
        row("add, transposed", || (&x + &turned).checked()),
        row("add a number", || (&x + 2.0).checked()),
        row("less", || x.less(&y).checked()),
        row("tanh, forward and backward", || leaf.tanh().sum().backward()),
        row("cast", || x.to_dtype(DType::BF16).checked()),
        row("a copy, transposed", || turned.contiguous().checked()),
        row("sum", || x.sum().checked()),
        row("sum of rows", || x.sum_over(1).checked()),
        row("softmax", || x.softmax(1).checked()),
        row("matmul", || x.matmul(&y).checked()),
        row("a view", || x.transpose(0, 1).checked()),
        row("4 layers, autocast", || autocast(DType::BF16, || cast.forward(&x).checked())),
        row("4 layers, a step", || {
            let gradients = network.forward(&x).square().mean().backward()?;
            optimizer.step(&mut network, &gradients)
        }),
    ];
    let only = std::env::args().skip(1).find(|word| !word.starts_with("--")).unwrap_or_default();
    rows.retain(|(name, _)| name.starts_with(&only));
    // The first calls write and load kernels.
    rows.iter_mut().try_for_each(|(_, call)| call())?;
    for (name, mut call) in rows {
        let times = measure::measure(Clock::Processor, 0.5, &mut call)?;
        println!("{name:30} {:7.0} ns, at best {:.0}", times.median * 1e9, times.least * 1e9);
    }
    Ok(())
}
