//! Where parameters start: every law of the reference and the defaults of every layer, held against the law by statistics.

use chainrule::nn::*;
use chainrule::{DType, Random, Tensor};
use serde_json::Value;
use std::path::PathBuf;

/// The bounds of an error of chance that one run in 10⁷ exceeds.
const SIGMAS: f64 = 5.3;

fn cases() -> Option<Value> {
    let folder = std::env::var_os("CHAINRULE_REFERENCE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/reference"));
    let text = std::fs::read_to_string(folder.join("cases/init.json")).ok()?;
    Some(serde_json::from_str(&text).expect("the cases are json"))
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).to_vec().expect("numbers")
}

struct Statistics {
    count: f64,
    mean: f64,
    deviation: f64,
    /// Of the fourth power of the distance from the mean, in units of the deviation.
    kurtosis: f64,
    least: f64,
    greatest: f64,
}

impl Statistics {
    fn of(x: &[f64]) -> Statistics {
        let count = x.len() as f64;
        let mean = x.iter().sum::<f64>() / count;
        let moment = |power: i32| x.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / count;
        Statistics {
            count,
            mean,
            deviation: moment(2).sqrt(),
            kurtosis: moment(4) / moment(2).powi(2),
            least: x.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
    /// Is this a sample of a law with this mean and deviation, of this kurtosis?
    fn fits(&self, mean: f64, deviation: f64, kurtosis: f64) -> Result<(), String> {
        let off = (self.mean - mean).abs() / (deviation / self.count.sqrt());
        // The deviation of a sample's deviation: σ √((κ - 1) / 4n).
        let spread = (self.deviation - deviation).abs() / (deviation * ((kurtosis - 1.0) / (4.0 * self.count)).sqrt());
        if off > SIGMAS || spread > SIGMAS {
            return Err(format!(
                "mean {} and deviation {} instead of {mean} and {deviation}: {off:.1} and {spread:.1} sigmas off",
                self.mean, self.deviation
            ));
        }
        Ok(())
    }
}

fn uniform(x: &[f64], low: f64, high: f64) -> Result<(), String> {
    let s = Statistics::of(x);
    let slack = 1e-6 * (high - low);
    if s.least < low - slack || s.greatest > high + slack {
        return Err(format!("{} ..= {} reaches beyond {low} ..= {high}", s.least, s.greatest));
    }
    // The ends are reached: the greatest of n falls short by more than 17/n of the width once in 10⁷.
    let short = 17.0 / s.count * (high - low);
    if s.count > 100.0 && (s.least > low + short || s.greatest < high - short) {
        return Err(format!("{} ..= {} does not fill {low} ..= {high}", s.least, s.greatest));
    }
    s.fits((low + high) / 2.0, (high - low) / 12f64.sqrt(), 1.8)
}

fn normal(x: &[f64], mean: f64, deviation: f64) -> Result<(), String> {
    let s = Statistics::of(x);
    let tail = (s.kurtosis - 3.0).abs() / (24.0 / s.count).sqrt();
    // The kurtosis of a sample is skewed itself: a wider bound, which a uniform law misses by far.
    if s.count > 2000.0 && tail > 2.0 * SIGMAS {
        return Err(format!("a kurtosis of {} is not that of a normal law", s.kurtosis));
    }
    s.fits(mean, deviation, 3.0)
}

/// The moments of a normal law that is cut off, by integration.
fn truncated(mean: f64, deviation: f64, low: f64, high: f64) -> (f64, f64, f64) {
    let steps = 100_000;
    let width = (high - low) / steps as f64;
    let places: Vec<f64> = (0..steps).map(|i| low + (i as f64 + 0.5) * width).collect();
    let weights: Vec<f64> = places.iter().map(|x| (-0.5 * ((x - mean) / deviation).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let of = |f: &dyn Fn(f64) -> f64| places.iter().zip(&weights).map(|(x, w)| f(*x) * w).sum::<f64>() / total;
    let middle = of(&|x| x);
    let variance = of(&|x| (x - middle).powi(2));
    (middle, variance.sqrt(), of(&|x| (x - middle).powi(4)) / variance.powi(2))
}

fn orthogonal(x: &[f64], rows: usize, gain: f64) -> Result<(), String> {
    let columns = x.len() / rows;
    let (count, length) = (rows.min(columns), rows.max(columns));
    let at = |vector: usize, i: usize| if rows <= columns { x[vector * columns + i] } else { x[i * columns + vector] };
    for a in 0..count {
        for b in 0..=a {
            let product: f64 = (0..length).map(|i| at(a, i) * at(b, i)).sum();
            let expected = if a == b { gain * gain } else { 0.0 };
            if (product - expected).abs() > 1e-5 * gain * gain {
                return Err(format!("vectors {a} and {b} have the product {product}, not {expected}"));
            }
        }
    }
    // Entries of a uniform one have the deviation gain / √length; no sign is preferred.
    let deviation = gain / (length as f64).sqrt();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    if mean.abs() > SIGMAS * deviation / (x.len() as f64).sqrt() {
        return Err(format!("a mean of {mean}"));
    }
    Ok(())
}

/// The numbers that this library starts such a case with.
fn sample(name: &str, attrs: &Value, shape: &[usize], random: &mut Random, init: &mut Init) -> Option<Tensor> {
    let number = |key: &str| attrs[key].as_f64().unwrap_or_else(|| panic!("{name} lacks {key}"));
    let size = |key: &str| attrs[key].as_u64().unwrap_or_else(|| panic!("{name} lacks {key}")) as usize;
    let kaiming = || {
        let fan = if attrs["mode"] == "fan_out" { Fan::Out } else { Fan::In };
        let gain = match attrs["nonlinearity"].as_str().expect("a name") {
            "leaky_relu" => leaky_gain(number("a")),
            activation => gain(activation),
        };
        (gain, fan)
    };
    let law = match name {
        "xavier_uniform_" => Initial::XavierUniform { gain: number("gain") },
        "xavier_normal_" => Initial::XavierNormal { gain: number("gain") },
        "kaiming_uniform_" => {
            let (gain, fan) = kaiming();
            Initial::KaimingUniform { gain, fan }
        }
        "kaiming_normal_" => {
            let (gain, fan) = kaiming();
            Initial::KaimingNormal { gain, fan }
        }
        "trunc_normal_" => {
            let [mean, deviation, low, high] = ["mean", "std", "a", "b"].map(number);
            Initial::TruncatedNormal { mean, deviation, low, high }
        }
        "orthogonal_" => Initial::Orthogonal { gain: number("gain") },
        "dropout" => {
            return Some(Dropout::new(number("p"), init).forward(&Tensor::ones(shape)));
        }
        _ => {
            let (layer, part) = name.split_once('.')?;
            let model: Box<dyn Layer> = match layer {
                "Linear" => Box::new(Linear::new(size("in"), size("out"), init)),
                "Conv1d" => Box::new(Conv1d::new(size("in"), size("out"), size("kernel"), init)),
                "Conv2d" => Box::new(Conv2d::new(size("in"), size("out"), size("kernel"), init)),
                "Conv3d" => Box::new(Conv3d::new(size("in"), size("out"), size("kernel"), init)),
                "ConvTranspose1d" => Box::new(ConvTranspose1d::new(size("in"), size("out"), size("kernel"), init)),
                "ConvTranspose2d" => Box::new(ConvTranspose2d::new(size("in"), size("out"), size("kernel"), init)),
                "Embedding" => Box::new(Embedding::new(size("num"), size("dim"), init)),
                "LayerNorm" => Box::new(LayerNorm::new(shape, init)),
                "GroupNorm" => Box::new(GroupNorm::new(1, shape[0], init)),
                "BatchNorm1d" => Box::new(BatchNorm1d::new(shape[0], init)),
                "BatchNorm2d" => Box::new(BatchNorm2d::new(shape[0], init)),
                "BatchNorm3d" => Box::new(BatchNorm3d::new(shape[0], init)),
                _ => return None,
            };
            let tensors = model.tensors().expect("tensors");
            return tensors.into_iter().find(|(found, _)| found == part).map(|(_, tensor)| tensor);
        }
    };
    Some(law.tensor(shape, DType::F32, random))
}

fn check(x: &[f64], shape: &[usize], attrs: &Value, law: &Value) -> Result<(), String> {
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap_or_else(|| panic!("{key} is missing"));
    match law["kind"].as_str().expect("a kind") {
        "uniform" => uniform(x, number(law, "low"), number(law, "high")),
        "normal" => normal(x, number(law, "mean"), number(law, "std")),
        "constant" => {
            let value = number(law, "value");
            x.iter().all(|x| *x == value).then_some(()).ok_or_else(|| format!("not {value} everywhere"))
        }
        "orthogonal" => orthogonal(x, shape[0], number(law, "gain")),
        "truncated normal" => {
            let (low, high) = (number(law, "low"), number(law, "high"));
            let (mean, deviation, kurtosis) = truncated(number(attrs, "mean"), number(attrs, "std"), low, high);
            let s = Statistics::of(x);
            if s.least < low || s.greatest > high {
                return Err(format!("{} ..= {} reaches beyond {low} ..= {high}", s.least, s.greatest));
            }
            s.fits(mean, deviation, kurtosis)
        }
        "two values" => {
            let (chance, value) = (number(law, "zero"), number(law, "value"));
            let zeros = x.iter().filter(|x| **x == 0.0).count() as f64;
            if x.iter().any(|x| *x != 0.0 && (x - value).abs() > 1e-6 * value) {
                return Err(format!("numbers other than 0 and {value}"));
            }
            let off = (zeros - chance * x.len() as f64).abs() / (chance * (1.0 - chance) * x.len() as f64).sqrt();
            if off > SIGMAS { Err(format!("{zeros} zeros: {off:.1} sigmas off")) } else { Ok(()) }
        }
        other => Err(format!("no check for the law {other}")),
    }
}

#[test]
fn every_case_of_the_reference_follows_its_law() {
    let Some(cases) = cases() else {
        println!("skipped: no reference cases here");
        return;
    };
    for (name, expected) in cases["gains"].as_object().expect("gains") {
        assert!((gain(name) - expected.as_f64().expect("a gain")).abs() < 1e-12, "{name}");
    }
    let (mut random, mut init) = (Random::new(11), Init::new().seed(12));
    let (mut failures, mut checked, mut others) = (Vec::new(), 0, Vec::new());
    for case in cases["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        let shape: Vec<usize> = case["shape"]
            .as_array()
            .expect("sizes")
            .iter()
            .map(|size| size.as_u64().expect("a size") as usize)
            .collect();
        match sample(name, &case["attrs"], &shape, &mut random, &mut init) {
            Some(tensor) => {
                assert_eq!(tensor.shape().expect("a shape").to_vec(), shape, "{name}");
                checked += 1;
                if let Err(why) = check(&numbers(&tensor), &shape, &case["attrs"], &case["law"]) {
                    failures.push(format!("{name} {shape:?} {}: {why}", case["attrs"]));
                }
            }
            None => others.push(name),
        }
    }
    println!("{checked} follow their law; layers of other files: {others:?}");
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
    assert!(checked > 40, "only {checked} cases");
}

#[test]
fn the_checks_can_fail() {
    let random = &mut Random::new(1);
    let flat = numbers(&Tensor::uniform([5000], -1.0..1.0, random));
    let bell = numbers(&Tensor::normal([5000], 0.0, 1.0, random));
    assert!(uniform(&flat, -1.0, 1.0).is_ok() && normal(&bell, 0.0, 1.0).is_ok());
    assert!(uniform(&flat, -1.05, 1.0).is_err() && uniform(&flat, -0.99, 1.0).is_err());
    assert!(normal(&bell, 0.1, 1.0).is_err() && normal(&bell, 0.0, 1.06).is_err());
    assert!(normal(&flat, 0.0, 1.0 / 3f64.sqrt()).is_err());
    assert!(orthogonal(&bell[..100], 10, 1.0).is_err());
}

#[test]
fn laws_that_leave_nothing_to_chance() {
    let random = &mut Random::new(1);
    let mut make = |law: Initial, sizes: &[usize]| numbers(&law.tensor(sizes, DType::F32, random));
    assert_eq!(make(Initial::Zeros, &[2]), [0.0; 2]);
    assert_eq!(make(Initial::Ones, &[2]), [1.0; 2]);
    assert_eq!(make(Initial::Constant(2.5), &[2]), [2.5; 2]);
    assert_eq!(make(Initial::Eye, &[2, 3]), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    // Passed on in both groups, at the middle of the kernel.
    let x = Tensor::normal([1, 4, 6], 0.0, 1.0, &mut Random::new(3));
    let weight = Initial::Dirac { groups: 2 }.tensor([4, 2, 3], DType::F32, &mut Random::new(1));
    let y = x.conv1d(&weight, None, chainrule::Conv::new().padding(1).groups(2));
    assert_eq!(numbers(&y), numbers(&x));
}

#[test]
fn sparse_columns_have_their_zeros() {
    let law = Initial::Sparse { sparsity: 0.3, deviation: 0.5 };
    let x = law.tensor([41, 90], DType::F32, &mut Random::new(1));
    let columns = numbers(&x.t());
    for column in columns.chunks(41) {
        assert_eq!(column.iter().filter(|x| **x == 0.0).count(), (0.3f64 * 41.0).ceil() as usize);
    }
    let rest: Vec<f64> = columns.into_iter().filter(|x| *x != 0.0).collect();
    normal(&rest, 0.0, 0.5).expect("a normal law");
}

#[test]
fn orthogonal_matrices_are_uniform() {
    // The trace of a uniform orthogonal matrix has mean 0 and variance 1; without the signs it would lean to one side.
    let random = &mut Random::new(5);
    let law = Initial::Orthogonal { gain: 1.0 };
    let traces: Vec<f64> =
        (0..600).map(|_| law.tensor([4, 4], DType::F64, random).trace().item().expect("a number")).collect();
    let s = Statistics::of(&traces);
    assert!(s.mean.abs() < SIGMAS / s.count.sqrt(), "{}", s.mean);
    assert!((s.deviation - 1.0).abs() < 0.2, "{}", s.deviation);
    for sizes in [vec![5, 3], vec![3, 5], vec![2, 3, 2, 2], vec![1, 1]] {
        let x = law.tensor(&sizes, DType::F64, random);
        orthogonal(&numbers(&x), sizes[0], 1.0).unwrap_or_else(|why| panic!("{sizes:?}: {why}"));
    }
    assert!(law.tensor([3], DType::F32, random).error().is_some());
    assert!(law.tensor([0, 3], DType::F32, random).error().is_none());
}

#[test]
fn wrong_laws_fail_with_advice() {
    let random = &mut Random::new(5);
    for (law, sizes) in [
        (Initial::XavierUniform { gain: 1.0 }, &[3][..]),
        (Initial::KaimingNormal { gain: 1.0, fan: Fan::In }, &[]),
        (Initial::TruncatedNormal { mean: 0.0, deviation: 1.0, low: 2.0, high: 1.0 }, &[3]),
        (Initial::TruncatedNormal { mean: 0.0, deviation: -1.0, low: 0.0, high: 1.0 }, &[3]),
        (Initial::Dirac { groups: 3 }, &[4, 2, 3]),
        (Initial::Sparse { sparsity: 0.5, deviation: 1.0 }, &[3]),
        (Initial::Orthogonal { gain: 1.0 }, &[usize::MAX, 2]),
        (Initial::Eye, &[usize::MAX, 2]),
    ] {
        let failed = law.tensor(sizes, DType::F32, random);
        assert!(failed.error().is_some_and(|error| !error.help().is_empty()), "{law:?}");
    }
}
