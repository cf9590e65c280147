//! The workloads that this crate is held against other frameworks by, under the same names as theirs in
//! `benches/peers`: products, five networks (a to e) and single operations (f).
//!
//! `cargo bench --bench workloads -- --threads 1 --only a_,d_gpt_train` prints one line of JSON for each: the lowest, the
//! median and the greatest time of a step in microseconds. On one thread that is the processor's time of this program, so
//! that what else runs on the machine counts little (`taskset -c 0` keeps it on one core); on several, the time of the clock.
//!
//! - `networks`: the models, and what a step of each is.
//! - `operations`: products and single operations.
//! - `measure`: how a time is taken.
#![allow(missing_docs)] // a benchmark is no library

mod measure;
mod networks;
mod operations;

use chainrule::{Result, Tensor, threads};
use measure::{Clock, measure};
use std::hint::black_box;

/// What the command line asks for.
pub(crate) struct Workloads {
    threads: usize,
    /// Beginnings of names; none: all.
    only: Vec<String>,
    /// How long each is measured, as a multiple of the usual.
    scale: f64,
    clock: Clock,
}

impl Workloads {
    /// Is any workload that begins so wanted? Else its model need not be built.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()) || only.starts_with(name))
    }
    /// Measures a workload for about so many seconds. Whatever fails ends the program with its error.
    pub(crate) fn run(&self, name: &str, seconds: f64, mut step: impl FnMut() -> Result<Tensor>) -> Result<()> {
        if !self.only.is_empty() && !self.only.iter().any(|only| name.starts_with(only.as_str())) {
            return Ok(());
        }
        let times = measure(self.clock, seconds * self.scale, || black_box(step()?.checked()).map(drop))?;
        let [min, median, max] = times.map(|seconds| seconds * 1e6);
        println!(
            "{{\"fw\":\"chainrule\",\"work\":\"{name}\",\"threads\":{},\"min_us\":{min:.3},\"med_us\":{median:.3},\"max_us\":{max:.3}}}",
            self.threads
        );
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|argument| argument == name).map(|at| arguments.get(at + 1));
    let number = |name: &str, usual: f64| match value(name) {
        None => usual,
        Some(text) => text.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            eprintln!("{name} wants a number");
            std::process::exit(2)
        }),
    };
    let count = number("--threads", chainrule::thread_count() as f64).max(1.0) as usize;
    let only = value("--only").flatten().map_or("", |only| only.as_str());
    let workloads = Workloads {
        threads: count,
        only: only.split(',').filter(|name| !name.is_empty()).map(String::from).collect(),
        scale: number("--scale", 1.0),
        clock: if count == 1 { Clock::Processor } else { Clock::Wall },
    };
    threads(count, || {
        operations::products(&workloads)?;
        networks::all(&workloads)?;
        operations::single(&workloads)
    })?;
    if let Some(peak) = measure::peak_memory() {
        println!(
            "{{\"fw\":\"chainrule\",\"work\":\"rss\",\"threads\":{count},\"peak_rss_mib\":{peak:.1},\"only\":\"{only}\"}}"
        );
    }
    Ok(())
}
