//! Whole models trained for ten steps as another framework trained them: losses, gradients, weights, files.
//!
//! The runs stand in the folder `models` of `CHAINRULE_REFERENCE` (by default `../shared/reference`); every one there is
//! tried. `CHAINRULE_CASES=resnet` takes those whose name contains it.

#[path = "models/architectures.rs"]
mod architectures;
#[path = "models/recipe.rs"]
mod recipe;
#[path = "common/recipes.rs"]
mod recipes;

use chainrule::io::{Tensors, safetensors};
use chainrule::nn::{Init, Layer, Module};
use chainrule::optim::Core;
use chainrule::optim::schedule::Schedule;
use chainrule::{DType, Result, Tensor};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    std::env::var_os("CHAINRULE_REFERENCE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/reference"))
        .join("models")
}

/// One run of the reference, with its files.
struct Run {
    name: String,
    record: Value,
    start: Tensors,
    batches: Tensors,
    end: Tensors,
}

fn runs() -> Vec<Run> {
    let filter = std::env::var("CHAINRULE_CASES").unwrap_or_default();
    let Ok(entries) = std::fs::read_dir(folder()) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    let open = |path: &Path, part: &str| {
        safetensors::load(path.with_extension(format!("{part}.safetensors"))).expect("a file of tensors")
    };
    let run = |path: &PathBuf| Run {
        name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
        record: serde_json::from_str(&std::fs::read_to_string(path).expect("text")).expect("json"),
        start: open(path, "init"),
        batches: open(path, "batches"),
        end: open(path, "final"),
    };
    let mut runs: Vec<Run> = paths.iter().map(run).filter(|run| run.name.contains(&filter)).collect();
    runs.retain(|run| {
        let known = architectures::KNOWN.contains(&run.text("class"));
        if !known {
            println!("{}: skipped: no model of the class {} here", run.name, run.text("class"));
        }
        known
    });
    runs
}

fn owned(tensors: &Tensors) -> Vec<(String, Tensor)> {
    tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).to_vec().expect("numbers")
}

/// Floats in the type of the run; whole numbers as they are.
fn as_run(x: &Tensor, dtype: DType) -> Tensor {
    if x.dtype().is_ok_and(DType::is_float) { x.to_dtype(dtype) } else { x.clone() }
}

/// What a run is held to, as shares of the greatest number compared.
struct Limits {
    loss: f64,
    norm: f64,
    output: f64,
    gradient: f64,
}

impl Run {
    fn text(&self, key: &str) -> &str {
        self.record[key].as_str().unwrap_or_else(|| panic!("{} lacks {key}", self.name))
    }
    fn list(&self, key: &str) -> Vec<f64> {
        let list = self.record[key].as_array().unwrap_or_else(|| panic!("{} lacks {key}", self.name));
        list.iter().map(|x| x.as_f64().expect("a number")).collect()
    }
    fn model(&self, dtype: DType) -> Box<dyn Layer> {
        let init = &mut Init::empty().dtype(dtype);
        let mut model = architectures::build(self.text("class"), &self.record["arch"], init)
            .unwrap_or_else(|| panic!("no class {} here", self.text("class")));
        let _ = model.load_tensors(owned(&self.start)).strict().expect("every name and shape");
        model
    }
    /// Trains as the reference did; what differs is said line by line.
    fn check(&self, dtype: DType) -> Result<Vec<String>> {
        let double = dtype == DType::F64;
        let limits = match double {
            true => Limits { loss: 1e-9, norm: 1e-9, output: 1e-9, gradient: 1e-9 },
            false => Limits { loss: 2e-5, norm: 1e-4, output: 2e-5, gradient: 1e-4 },
        };
        let mut lines = Vec::new();
        let mut compare = |what: String, ours: f64, theirs: f64, limit: f64| {
            let off = (ours - theirs).abs();
            if off.is_nan() || off > limit * theirs.abs() {
                lines.push(format!("{} {dtype} {what}: {ours} instead of {theirs}", self.name));
            }
        };
        let mut model = self.model(dtype);
        let hyper = &self.record["hyper"];
        let set = |core: &mut Core| recipes::settings(hyper).into_iter().for_each(|(setting, x)| core.set(setting, x));
        let mut optimizer = recipes::optimizer(self.text("optimizer"), hyper, set).expect("a known optimizer");
        let extra = &self.record["extra"];
        let mut scheduler = extra["scheduler"]
            .as_str()
            .map(|name| recipes::schedule(name, &extra["args"]).expect("a known schedule").start(&mut *optimizer));
        let batches = self.record["batches"].as_u64().expect("a count") as usize;
        let (losses, norms) = (self.list("loss_f64"), self.list("grad_norm_f64"));
        for (step, (their_loss, their_norm)) in losses.into_iter().zip(norms).enumerate() {
            let batch = |part: &str| self.batches.get(&format!("{part}.{}", step % batches));
            let (x, y) = (as_run(batch("x")?, dtype), as_run(batch("y")?, dtype));
            let output = model.forward(&x);
            let loss = recipe::loss(self.text("loss"), extra, &output, &y).expect("a known loss");
            let mut gradients = loss.backward()?;
            compare(format!("loss of step {step}"), loss.item()?, their_loss, limits.loss);
            compare(format!("norm of step {step}"), gradients.norm()?, their_norm, limits.norm);
            if step == 0 {
                let off = distance(&output, self.end.get("out0")?);
                let stored = if self.end.get("out0")?.dtype()? == DType::F64 { 0.0 } else { 1e-7 };
                compare("first output, off by".to_string(), off + 1.0, 1.0, limits.output.max(stored));
                for (name, parameter) in model.parameters() {
                    let theirs = self.end.get(&format!("grad0.{name}"))?;
                    // Large models are stored in f32.
                    let limit = if theirs.dtype()? == DType::F64 { limits.gradient } else { limits.gradient.max(1e-7) };
                    let off = distance(gradients.of(parameter)?, theirs);
                    compare(format!("first gradient of {name}, off by"), off + 1.0, 1.0, limit);
                }
            }
            if let Some(limit) = extra["clip_grad_norm"].as_f64() {
                gradients.clip_norm(limit)?;
            }
            optimizer.step(&mut model, &gradients)?;
            if let Some(scheduler) = &mut scheduler {
                scheduler.step(&mut *optimizer);
            }
        }
        for (name, tensor) in model.tensors()? {
            let theirs = self.end.get(&format!("final.{name}"))?;
            let (ours, theirs) = (numbers(&tensor), numbers(theirs));
            assert_eq!(ours.len(), theirs.len(), "{name}");
            if double {
                let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, worse);
                compare(format!("final {name}, off by"), off + 1.0, 1.0, 1e-7);
            } else {
                // Where an optimizer divides a gradient that is zero but for rounding by its own size, single numbers go
                // their own way: what is held is the average.
                let sum: f64 = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).sum();
                let known = self.record["final_max_diff_f32_f64"].as_f64().unwrap_or(0.0);
                let limit = (2.0 * known).max(2e-5);
                compare(format!("final {name}, off by"), sum / ours.len().max(1) as f64 + 1.0, 1.0, limit);
            }
        }
        Ok(lines)
    }
}

/// The greater one; NaN wins.
fn worse(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// The greatest difference, as a share of the greatest number.
fn distance(ours: &Tensor, theirs: &Tensor) -> f64 {
    let (ours, theirs) = (numbers(ours), numbers(theirs));
    if ours.len() != theirs.len() {
        return f64::NAN;
    }
    let most = theirs.iter().map(|x| x.abs()).fold(f64::MIN_POSITIVE, f64::max);
    ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, worse) / most
}

fn follow(dtype: DType) {
    let (mut lines, runs) = (Vec::new(), runs());
    if runs.is_empty() {
        println!("runs of whole models: skipped: not here");
    }
    for run in &runs {
        match run.check(dtype) {
            Ok(more) => lines.extend(more),
            Err(error) => lines.push(format!("{} {dtype}: {error}", run.name)),
        }
    }
    println!("{} runs in {dtype}", runs.len());
    assert!(lines.is_empty(), "\n{} differences\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn ten_steps_in_f64_are_those_of_the_reference() {
    follow(DType::F64);
}

#[test]
fn ten_steps_in_f32_are_those_of_the_reference() {
    follow(DType::F32);
}

#[test]
fn files_come_in_and_go_out_the_same() {
    for run in runs() {
        let model = run.model(DType::F32);
        let ours = model.tensors().expect("tensors");
        let mut names: Vec<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
        let mut theirs: Vec<&str> =
            run.record["state_dict"].as_object().expect("names").keys().map(String::as_str).collect();
        names.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(names, theirs, "{}", run.name);
        let saved = safetensors::to_bytes(ours.iter().map(|(name, tensor)| (name.as_str(), tensor))).expect("bytes");
        let again = safetensors::from_bytes(&saved).expect("tensors");
        assert_eq!(again.len(), run.start.len(), "{}", run.name);
        for (name, was) in run.start.iter() {
            let is = again.get(name).expect("it was saved");
            assert_eq!((is.dtype(), is.shape()).0.expect("a type"), was.dtype().expect("a type"), "{name}");
            assert_eq!(is.shape().expect("a shape"), was.shape().expect("a shape"), "{name}");
            let bits = |x: &Tensor| numbers(x).into_iter().map(f64::to_bits).collect::<Vec<_>>();
            assert!(bits(is) == bits(was), "{} {name}", run.name);
        }
    }
}

/// A wrong learning rate, a wrong decay: the comparison must see it.
#[test]
fn a_slightly_different_run_is_noticed() {
    for mut run in runs().into_iter().filter(|run| run.text("class") == "MLP") {
        let rate = run.record["hyper"]["lr"].as_f64().expect("a rate");
        run.record["hyper"]["lr"] = (rate * 1.001).into();
        assert!(!run.check(DType::F32).expect("it runs").is_empty(), "{}", run.name);
    }
}
