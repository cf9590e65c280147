//! The workloads that this crate is held against other frameworks by, under the same names as theirs in
//! `benches/peers`: products, five networks (a to e) and single operations (f).
//!
//! `cargo bench --bench workloads -- --threads 1 --only a_,d_gpt_train` prints one line of JSON for each: the lowest, the
//! median and the greatest time of a step in microseconds, and that of the first. On one thread that is the processor's time
//! of this program, so that what else runs on the machine counts little (`taskset -c 0` keeps it on one core); on several,
//! the time of the clock. `--weights FOLDER` writes each network's first weights and its inputs, for others to start from;
//! `--check` tells what the first steps give in place of how long they take.
//!
//! - `networks`: the models, and what a step of each is.
//! - `operations`: products and single operations.
//! - `program`: what the command line asks for, and the lines that answer.
//! - `measure`: how a time is taken.
//! - `start`: what a network starts from, in a file.
#![allow(missing_docs)] // a benchmark is no library

mod measure;
mod networks;
mod operations;
mod program;
mod start;

use chainrule::nn::Module;
use chainrule::{DType, Result, Tensor, threads};
use program::Program;

/// The program, as the workloads see it.
pub(crate) struct Workloads(Program);

impl Workloads {
    /// Is any workload that begins so wanted? Else its model need not be built.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.0.wants(name)
    }
    /// One workload; whatever fails ends the program with its error.
    pub(crate) fn run(&self, name: &str, seconds: f64, mut step: impl FnMut() -> Result<Tensor>) -> Result<()> {
        let size = |result: &Tensor| result.to_dtype(DType::F32).abs().mean().item();
        self.0.run(name, seconds, || step()?.checked(), size)
    }
    /// Writes what a network starts from, where that is asked for: its tensors under their names, and its inputs.
    pub(crate) fn write(&self, name: &str, model: &impl Module, inputs: &[(&str, &Tensor)]) -> Result<()> {
        self.0.weights().map_or(Ok(()), |folder| start::write(folder, name, model, inputs))
    }
}

fn main() -> Result<()> {
    let workloads = Workloads(Program::asked("chainrule", chainrule::thread_count()));
    threads(workloads.0.threads, || {
        operations::products(&workloads)?;
        networks::all(&workloads)?;
        operations::single(&workloads)
    })?;
    workloads.0.finish();
    Ok(())
}
