//! Arguments by chance, most of them wrong, and the search that throws them at what takes arguments. Each attempt answers
//! or says what is wrong and how to mend it; it never panics, runs on for ever, or calls a caller's mistake a defect.
//!
//! `CHAINRULE_ROUNDS=100000` searches for longer, `CHAINRULE_ROUNDS=37..38` looks again at what was found,
//! `CHAINRULE_ATTEMPTS=conv` searches a part. A binary that uses this has the modules `allocator` and `guard`, and counts its
//! allocations.
#![allow(dead_code, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

use super::allocator::most_during;
use super::guard::{guarded, one_line, report};
use chainrule::nn::Init;
use chainrule::{Conv, DType, Error, ErrorKind, Fault, Pad, Pool, Random, Result, Tensor, device, step};
use std::ops::RangeInclusive;
use std::sync::mpsc;
use std::time::Duration;

/// What it takes to call something: small numbers and small tensors, seldom absurd ones.
pub struct Chance {
    pub random: Random,
    /// What tensors are, nearly always.
    kind: usize,
}

/// Counts that no machine has room for, and those at which arithmetic turns over.
const HUGE: [usize; 8] = [usize::MAX, usize::MAX - 1, 1 << 31, 1 << 32, 1 << 40, 1 << 53, 1 << 62, 1 << 63];
const FAR: [isize; 6] = [isize::MAX, isize::MIN, 1 << 40, 1 << 53, 1 << 62, -(1 << 40)];
const ODD: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1e-40, 1e300, -1e300];

impl Chance {
    pub fn of_round(round: u64) -> Chance {
        let mut chance = Chance { random: Random::new(round), kind: 9 };
        chance.kind = chance.below(9);
        chance
    }
    pub fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }
    /// A count or a length, seldom an absurd one.
    pub fn count(&mut self, bound: usize) -> usize {
        if self.below(60) == 0 { self.one(&HUGE) } else { self.below(bound) }
    }
    /// A size of at least 1, seldom 0 or an absurd one.
    pub fn size(&mut self, most: usize) -> usize {
        match self.below(80) {
            0 => self.one(&HUGE),
            1..4 => 0,
            _ => 1 + self.below(most),
        }
    }
    /// A count of steps or epochs, which is work as well: small, or beyond all that can be counted.
    pub fn steps(&mut self, most: u64) -> u64 {
        if self.below(12) == 0 { self.one(&[0, u64::MAX, 1 << 53, 1 << 63]) } else { self.below(most as usize) as u64 }
    }
    pub fn number(&mut self, from: isize, to: isize) -> isize {
        from + self.below((to - from + 1) as usize) as isize
    }
    /// A number for a setting: one of the usual ones, now and then an odd one.
    pub fn real(&mut self, usual: &[f64]) -> f64 {
        if self.below(8) == 0 { self.one(&ODD) } else { self.one(usual) }
    }
    /// A chance or a share.
    pub fn rate(&mut self) -> f64 {
        self.real(&[0.0, 0.1, 0.5, 0.5, 0.9, 1.0, 1.5])
    }
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
    /// Once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
    /// Numbers in a range, seldom absurd ones.
    pub fn some(&mut self, counts: RangeInclusive<usize>, from: isize, to: isize) -> Vec<isize> {
        let count = self.number(*counts.start() as isize, *counts.end() as isize);
        (0..count).map(|_| if self.below(40) == 0 { self.one(&FAR) } else { self.number(from, to) }).collect()
    }
    /// A number of at least 1 for all axes; seldom others, or a number for each of some axes.
    pub fn each(&mut self, most: isize) -> Vec<isize> {
        if self.below(8) == 0 { self.some(1..=3, -1, most) } else { self.some(1..=1, 1, most) }
    }
    pub fn sizes(&mut self, ranks: RangeInclusive<usize>) -> Vec<usize> {
        let least = isize::from(self.below(4) > 0);
        let rank = self.number(*ranks.start() as isize, *ranks.end() as isize);
        (0..rank).map(|_| self.number(least, 5) as usize).collect()
    }
    pub fn of(&mut self, sizes: &[usize]) -> Tensor {
        let x = Tensor::normal(sizes, 0.0, 1.0, &mut self.random);
        match if self.once_in(16) { self.below(16) } else { self.kind } {
            0 => x.to_dtype(DType::F64).variable(),
            1 => x.to_dtype(DType::BF16).variable(),
            2 => x.to_dtype(DType::I64),
            3 if sizes.len() > 1 => x.transpose(0, 1).contiguous().variable().transpose(0, 1),
            4 if !sizes.is_empty() => x.flip(0).variable().slice(step(.., -1)),
            5 if !sizes.is_empty() => Tensor::stack(&[&x, &x], -1).variable().select(-1, 1),
            9 => (x * f64::NAN).variable(),
            10 => (x * 1e300).variable(),
            11 => (x * 1e-44).variable(),
            12 => x.to_dtype(DType::Bool),
            13 => x.abs().to_dtype(DType::U8),
            14 => x.to_dtype(DType::F16).variable(),
            15 if self.coin() => Tensor::failed(Error::new("planted", Fault::value("it failed before", "look there"))),
            _ => x.variable(),
        }
    }
    pub fn tensor(&mut self, ranks: RangeInclusive<usize>) -> Tensor {
        let sizes = self.sizes(ranks);
        self.of(&sizes)
    }
    /// Of these sizes, nearly always; huge ones are cut down.
    pub fn fitting(&mut self, sizes: &[usize]) -> Tensor {
        let mut sizes: Vec<usize> = sizes.iter().map(|&size| size.min(12)).collect();
        if self.once_in(8) && !sizes.is_empty() {
            let axis = self.below(sizes.len());
            match self.below(3) {
                0 => drop(sizes.remove(axis)),
                1 => sizes.insert(axis, 1),
                _ => sizes[axis] = self.below(5),
            }
        }
        self.of(&sizes)
    }
    /// As this one, nearly always.
    pub fn like(&mut self, x: &Tensor) -> Tensor {
        let mut sizes: Vec<usize> = x.shape().map_or(Vec::new(), |shape| shape.to_vec());
        if !sizes.is_empty() && self.once_in(3) {
            let axis = self.below(sizes.len());
            sizes[axis] = self.below(5);
        }
        self.of(&sizes)
    }
    /// Whole numbers below a bound, seldom others.
    pub fn whole(&mut self, sizes: &[usize], bound: usize) -> Tensor {
        match self.below(24) {
            0 => Tensor::integers(sizes, -3..3, &mut self.random),
            1 => Tensor::full(sizes, self.one(&[i64::MAX as f64, i64::MIN as f64, -1.0, 1e15]), DType::I64),
            2 => self.of(sizes),
            _ => Tensor::integers(sizes, 0..bound.clamp(1, 1 << 40) as i64, &mut self.random),
        }
    }
    pub fn positions(&mut self, ranks: RangeInclusive<usize>) -> Tensor {
        let (sizes, least) = (self.sizes(ranks), -i64::from(self.once_in(4)));
        let bound = self.one(&[1, 1, 2, 4]);
        Tensor::integers(sizes, least..bound, &mut self.random)
    }
    pub fn axis(&mut self) -> isize {
        if self.once_in(100) { self.one(&[isize::MAX, isize::MIN]) } else { self.number(-4, 4) }
    }
    /// Where the numbers of a model come from.
    pub fn init(&mut self) -> Init {
        let dtype = match if self.once_in(16) { self.below(4) } else { self.kind } {
            0 => DType::F64,
            1 => DType::BF16,
            2 if self.once_in(4) => DType::I64,
            _ => DType::F32,
        };
        let init = if self.once_in(16) { Init::empty() } else { Init::new() };
        init.dtype(dtype).seed(self.below(9) as u64)
    }
    pub fn pad(&mut self) -> Pad {
        self.one(&[Pad::Zeros, Pad::Constant(1.5), Pad::Reflect, Pad::Replicate, Pad::Circular])
    }
    pub fn pool(&mut self) -> Pool {
        let mut pool = Pool::new(self.each(3));
        if self.coin() {
            pool = pool.stride(self.each(3));
        }
        if self.coin() {
            pool = pool.padding(self.some(1..=2, 0, 2));
        }
        if self.once_in(3) {
            pool = pool.dilation(self.each(3));
        }
        if self.coin() {
            pool = pool.ceil();
        }
        if self.coin() { pool.without_padding() } else { pool }
    }
    pub fn conv(&mut self) -> Conv {
        let mut conv = Conv::new().groups(self.one(&[1, 1, 1, 1, 2, 0])).stride(self.each(3));
        if self.coin() {
            conv = conv.padding(self.each(3));
        }
        if self.coin() {
            conv = conv.dilation(self.each(3));
        }
        match self.below(8) {
            0 => conv.same(),
            1 | 2 => conv.output_padding(self.each(2)),
            _ => conv,
        }
    }
}

/// What is called with arguments of chance, and what comes of it.
pub type Attempt<T> = (&'static str, fn(&mut Chance) -> T);

/// What is wrong with an error: a mistake of the caller is none of ours, and whoever reads of it learns what to do.
fn complaint(error: &Error) -> Option<String> {
    let wrong = if error.kind() == ErrorKind::Defect {
        "calls a caller's mistake a defect"
    } else if error.operation().is_empty() || error.what().is_empty() || error.help().is_empty() {
        "does not say what is wrong and how to mend it"
    } else if error.location().file().contains("src/") {
        "points into the library"
    } else {
        return None;
    };
    Some(format!("{wrong}: {}", one_line(error)))
}

/// More than this no attempt has a reason to hold.
const MOST_BYTES: usize = 1 << 30;

/// After so many finds of one attempt the next one has its turn.
const MOST_LINES: usize = 8;

/// Makes each attempt so many times. A promise that an attempt finds broken is a panic of its own.
pub fn search<T: 'static>(attempts: &'static [Attempt<T>], judge: fn(T) -> Vec<Result<()>>) {
    let given = std::env::var("CHAINRULE_ROUNDS").unwrap_or_default();
    let (first, end) = given.split_once("..").unwrap_or(("0", &given));
    let (first, rounds) = (first.parse().unwrap_or(0), end.parse().unwrap_or(1000));
    let part = std::env::var("CHAINRULE_ATTEMPTS").unwrap_or_default();
    device::set_memory_limit(MOST_BYTES);
    let (beat, heard) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for (name, attempt) in attempts.iter().filter(|(name, _)| name.contains(&part)) {
            let (mut answers, mut refused, before) = (0, String::new(), lines.len());
            for round in first..rounds {
                let _ = beat.send((*name, round));
                let (outcome, bytes) = most_during(|| guarded(|| judge(attempt(&mut Chance::of_round(round)))));
                let said = match outcome {
                    Ok(results) => {
                        answers += u64::from(results.iter().any(Result::is_ok));
                        refused = results.iter().find_map(|result| result.as_ref().err()).map_or(refused, one_line);
                        results.iter().find_map(|result| complaint(result.as_ref().err()?))
                    }
                    Err(panic) => Some(panic),
                };
                let greedy = (bytes > MOST_BYTES).then(|| format!("took {bytes} bytes"));
                lines.extend(said.or(greedy).map(|said| format!("{name}, round {round}: {said}")));
                if lines.len() >= before + MOST_LINES {
                    break;
                }
            }
            if answers < (rounds - first) / 50 && lines.len() == before {
                lines.push(format!("{name}: {answers} answers in {rounds} rounds, too few to try much; {refused}"));
            }
        }
        lines
    });
    let mut last = ("nothing", 0);
    loop {
        match heard.recv_timeout(Duration::from_secs(60)) {
            Ok(beat) => last = beat,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{}, round {}: takes more than a minute", last.0, last.1),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    report(worker.join().expect("panics are caught"));
}
