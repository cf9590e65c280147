//! What a program of workloads is asked on its command line, and the lines of JSON that it answers with. The programs of
//! `benches/peers` are made of this file and of `measure` too: all are asked, timed and told of alike.

use super::measure::{Clock, Times, measure, peak_memory};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::exit;

/// How many steps show that two programs compute the same.
const FIRST: usize = 3;

/// Products of the sizes that networks have: batch, rows, shared size, columns.
pub(crate) const PRODUCTS: [[usize; 4]; 10] = [
    [1, 64, 64, 64],
    [1, 128, 128, 128],
    [1, 256, 256, 256],
    [1, 512, 512, 512],
    [1, 1024, 1024, 1024],
    [1, 2048, 2048, 2048],
    [1, 1, 1024, 1024],
    [1, 32, 784, 512],
    [1, 64, 512, 2048],
    [8, 128, 64, 128],
];

pub(crate) fn product_name([batch, m, k, n]: [usize; 4]) -> String {
    if batch == 1 { format!("gemm_{m}x{k}x{n}") } else { format!("gemm_{batch}x[{m}x{k}x{n}]") }
}

/// What the command line asks for.
pub(crate) struct Program {
    framework: &'static str,
    pub(crate) threads: usize,
    /// Beginnings of names; none: all.
    only: Vec<String>,
    /// How long each is measured, as a multiple of the usual.
    scale: f64,
    clock: Clock,
    /// The folder of the networks' first weights and their inputs.
    weights: Option<PathBuf>,
    /// Tell what the first steps give, not how long they take.
    check: bool,
}

impl Program {
    pub(crate) fn asked(framework: &'static str, usual_threads: usize) -> Program {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            Some(arguments.get(at + 1).map_or("", |value| value.as_str()))
        };
        let number = |name: &str, usual: f64| match value(name) {
            None => usual,
            Some(text) => text.parse().unwrap_or_else(|_| {
                eprintln!("{name} wants a number");
                exit(2)
            }),
        };
        let threads = number("--threads", usual_threads as f64).max(1.0) as usize;
        Program {
            framework,
            threads,
            only: value("--only").unwrap_or("").split(',').filter(|name| !name.is_empty()).map(String::from).collect(),
            scale: number("--scale", 1.0),
            clock: if threads == 1 { Clock::Processor } else { Clock::Wall },
            weights: value("--weights").map(PathBuf::from),
            check: arguments.iter().any(|argument| argument == "--check"),
        }
    }
    pub(crate) fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }
    /// Is any workload that begins so wanted? Else its model need not be built.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()) || only.starts_with(name))
    }
    /// Measures a workload for about so many seconds, or tells the size of what its first steps give.
    pub(crate) fn run<T, E: Display>(
        &self,
        name: &str,
        seconds: f64,
        mut step: impl FnMut() -> Result<T, E>,
        size: impl Fn(&T) -> Result<f64, E>,
    ) -> Result<(), E> {
        if !self.only.is_empty() && !self.only.iter().any(|only| name.starts_with(only.as_str())) {
            return Ok(());
        }
        let line = format!("{{\"fw\":\"{}\",\"work\":\"{name}\",\"threads\":{}", self.framework, self.threads);
        if self.check {
            // Single operations have random inputs, each program its own.
            if !name.starts_with("gemm") && !name.starts_with("f_") {
                let sizes: Result<Vec<String>, E> = (0..FIRST).map(|_| Ok(format!("{:e}", size(&step()?)?))).collect();
                println!("{line},\"sizes\":[{}]}}", sizes?.join(","));
            }
            return Ok(());
        }
        let Times { first, least, median, greatest } =
            measure(self.clock, seconds * self.scale, || std::hint::black_box(step()).map(drop))?;
        let [first, min, median, max] = [first, least, median, greatest].map(|seconds| seconds * 1e6);
        println!("{line},\"min_us\":{min:.3},\"med_us\":{median:.3},\"max_us\":{max:.3},\"first_us\":{first:.3}}}");
        Ok(())
    }
    /// The last line: the most memory that the program had.
    pub(crate) fn finish(&self) {
        if let (Some(peak), false) = (peak_memory(), self.check) {
            let (framework, threads, only) = (self.framework, self.threads, self.only.join(","));
            println!(
                "{{\"fw\":\"{framework}\",\"work\":\"rss\",\"threads\":{threads},\"peak_rss_mib\":{peak:.1},\"only\":\"{only}\"}}"
            );
        }
    }
}
