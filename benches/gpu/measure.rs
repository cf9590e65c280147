//! How a time is taken on a device that works behind the program's back: so many steps are asked for, and the clock stops when
//! the last one's result can be read.

use crate::kind::Unit;
use crate::start;
use chainrule::nn::Module;
use chainrule::{DType, Device, Result, Tensor};
use std::path::PathBuf;
use std::time::Instant;

/// How many steps show that two programs compute the same.
const FIRST: usize = 3;

/// What bounds a workload, and how much of it a step takes.
pub(crate) enum Work {
    /// Bytes that must be read and written at least once.
    Bytes(usize),
    /// Multiplications and additions, of numbers of this kind.
    Arithmetic(f64, Unit),
    /// Both are mixed: what is counted instead, and its name (tokens, pictures).
    Items(usize, &'static str),
}

/// TFLOP/s without sparsity, as the makers of the cards state them: f32, tf32, bf16 and f16.
const CARDS: [(&str, [f64; 3]); 6] = [
    ("H100 PCIe", [51.0, 378.0, 756.0]),
    ("H100", [67.0, 495.0, 989.0]),
    ("H200", [67.0, 495.0, 989.0]),
    ("A100", [19.5, 156.0, 312.0]),
    ("L40S", [91.6, 183.0, 362.0]),
    ("RTX 4090", [82.6, 82.6, 165.2]),
];

/// What was asked for, and what the card can do.
pub(crate) struct Bench {
    pub(crate) device: Device,
    pub(crate) quick: bool,
    /// The folder for what networks start from: then their first losses are told, and nothing is timed.
    check: Option<PathBuf>,
    only: Vec<String>,
    seconds: f64,
    card: String,
    arithmetic: Option<[f64; 3]>,
    /// GB/s of a copy.
    memory: f64,
}

impl Bench {
    /// Nothing where there is no GPU, with the reason told.
    pub(crate) fn asked() -> Result<Option<Bench>> {
        let after = |name: &str| std::env::args().skip_while(|word| word != name).nth(1);
        let device = match after("--device").as_deref().unwrap_or("cuda").parse::<Device>() {
            Ok(device) => device,
            Err(error) => {
                eprintln!("nothing is measured: {error}");
                return Ok(None);
            }
        };
        let quick = std::env::args().any(|word| word == "--quick");
        let seconds = after("--seconds").and_then(|text| text.parse().ok()).unwrap_or(if quick { 0.0 } else { 1.0 });
        let only = after("--only").unwrap_or_default();
        let card = device.name();
        let arithmetic = CARDS.iter().find(|(name, _)| card.contains(name)).map(|&(_, roofs)| roofs);
        let only = only.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
        let check = after("--check").map(PathBuf::from);
        let mut bench = Bench { device, quick, check, only, seconds, card, arithmetic, memory: f64::NAN };
        if !bench.is_check() {
            bench.memory = bench.copied()?;
        }
        Ok(Some(bench))
    }
    /// `full`, or `small` where only a quick look is wanted.
    pub(crate) fn size(&self, full: usize, small: usize) -> usize {
        if self.quick { small } else { full }
    }
    /// Is it asked what the first steps give? Then nothing is left to chance, such as what a network drops out.
    pub(crate) fn is_check(&self) -> bool {
        self.check.is_some()
    }
    /// Writes what a network starts from, where that is asked for.
    pub(crate) fn write(&self, name: &str, model: &impl Module, inputs: &[(&str, &Tensor)]) -> Result<()> {
        self.check.as_ref().map_or(Ok(()), |folder| start::write(folder, name, model, inputs))
    }
    /// Is any workload that begins so wanted? Else what it needs is not made.
    pub(crate) fn wants(&self, name: &str) -> bool {
        // What has no loss has inputs by chance.
        if self.is_check() && !name.starts_with("train_") {
            return false;
        }
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()) || only.starts_with(name))
    }
    /// One workload: steps until the time is over, then its line.
    pub(crate) fn run(&self, name: &str, work: Work, mut step: impl FnMut() -> Result<Tensor>) -> Result<()> {
        if !self.only.is_empty() && !self.only.iter().any(|only| name.starts_with(only.as_str())) {
            return Ok(());
        }
        let head = format!("{{\"fw\":\"chainrule\",\"device\":\"{}\",\"work\":\"{name}\"", self.card);
        if self.is_check() {
            // Another form of a step goes on from where the step as it comes has brought its model.
            if !name.contains('@') {
                let sizes: Result<Vec<String>> = (0..FIRST).map(|_| Ok(format!("{:e}", step()?.item()?))).collect();
                println!("{head},\"sizes\":[{}]}}", sizes?.join(","));
            }
            return Ok(());
        }
        let [median, least] = self.times(&mut step)?;
        let head = format!("{head},\"med_us\":{:.2},\"min_us\":{:.2}", median * 1e6, least * 1e6);
        let share =
            |rate: f64, roof: Option<f64>| roof.map_or(String::new(), |roof| format!(",\"share\":{:.3}", rate / roof));
        let rate = match work {
            Work::Bytes(bytes) => {
                let rate = bytes as f64 / median / 1e9;
                format!(",\"gb_s\":{rate:.1}{}", share(rate, Some(self.memory)))
            }
            Work::Arithmetic(count, unit) => {
                let rate = count / median / 1e12;
                format!(",\"tflop_s\":{rate:.3}{}", share(rate, self.arithmetic.map(|roofs| roofs[unit as usize])))
            }
            Work::Items(count, what) => format!(",\"{what}_s\":{:.1}", count as f64 / median),
        };
        println!("{head}{rate}}}");
        Ok(())
    }
    /// GB/s of a copy of 1 GB, read and write together: the better of two kernels that only stream.
    fn copied(&self) -> Result<f64> {
        let count = self.size(256 << 20, 1 << 12);
        let x = Tensor::zeros([count]).to(self.device);
        let halves = x.chunk(2, 0)?;
        let [joined, _] = self.times(&mut || Tensor::cat(&halves, 0).checked())?;
        let [added, _] = self.times(&mut || (&x + 1.0).checked())?;
        Ok(8.0 * count as f64 / joined.min(added) / 1e9)
    }
    /// The median and the least of some samples; each is as many steps as fill a fiftieth of the time, and ends with a read of
    /// one number.
    fn times(&self, step: &mut dyn FnMut() -> Result<Tensor>) -> Result<[f64; 2]> {
        let mut sample = |steps: usize| -> Result<f64> {
            let begun = Instant::now();
            let mut last = step()?;
            for _ in 1..steps {
                last = step()?;
            }
            last.reshape(-1).narrow(0, 0, 1).to_dtype(DType::F32).item()?;
            Ok(begun.elapsed().as_secs_f64() / steps as f64)
        };
        // The first loads kernels and takes memory; the second tells how long a step is.
        sample(1)?;
        let one = sample(if self.quick { 1 } else { 3 })?;
        let steps = (self.seconds / 50.0 / one).ceil().clamp(1.0, 1e4) as usize;
        let begun = Instant::now();
        let mut samples = vec![sample(steps)?];
        while begun.elapsed().as_secs_f64() < self.seconds {
            samples.push(sample(steps)?);
        }
        samples.sort_by(f64::total_cmp);
        Ok([samples[samples.len() / 2], samples[0]])
    }
}
