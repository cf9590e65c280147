//! The trainer does what a loop by hand does, bit by bit, goes on exactly after any end, and leaves files others can read.

use chainrule::data::{Batch, Dataset, Example, Examples, Loader};
use chainrule::explain::chart::Tiles;
use chainrule::io::Checkpoint;
use chainrule::nn::{BatchNorm2d, Conv2d, Dropout, Flatten, Init, Layer, Linear, Module, Relu, Sequential};
use chainrule::optim::schedule::{Cosine, Exponential, OneCycle, Plateau, Schedule};
use chainrule::optim::{Adam, AdamW, Ema, Optimizer, Sgd};
use chainrule::train::metrics::{Accuracy, Confusion, Perplexity, Regression, RocAuc};
use chainrule::train::{EarlyStop, Flow, Goal, History, Outcome, Progress, Trainer, View, evaluate, predict};
use chainrule::{DType, ErrorKind, Random, Result, State, Tensor, cross_entropy, evaluating, mse_loss, no_grad};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("chainrule-trainer-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Folder(folder)
    }
    fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Small pictures whose class is where their bright spot lies; each epoch sees them moved and noisy in another way.
struct Spots {
    count: usize,
}

impl Dataset for Spots {
    type Item = Example;
    fn len(&self) -> usize {
        self.count
    }
    fn item(&self, index: usize, chance: &mut Random) -> Result<Example> {
        let class = index % 4;
        let (row, column) = (class / 2 * 4 + chance.below(3) as usize, class % 2 * 4 + chance.below(3) as usize);
        let mut pixels: Vec<f32> = (0..64).map(|_| 0.3 * chance.uniform() as f32).collect();
        pixels[row * 8 + column] += 1.0;
        Ok(Example { input: Tensor::from_vec(pixels, [1, 8, 8])?, target: Tensor::new(class as i64) })
    }
}

/// Everything that training changes: running statistics and the draws of a dropout.
fn model() -> Sequential {
    let mut init = Init::new().seed(5);
    Sequential::new()
        .then(Conv2d::options(1, 4, 3).with_padding(1).build(&mut init))
        .then(BatchNorm2d::new(4, &mut init))
        .then(Relu)
        .then(Dropout::new(0.3, &mut init))
        .then(Flatten::new())
        .then(Linear::new(256, 4, &mut init))
        .named()
}

fn points(count: usize) -> Result<Examples> {
    let x = Tensor::normal([count, 3], 0.0, 1.0, &mut Random::new(2));
    let y = (x.select(1, 0) * 2.0 - x.select(1, 1) + 0.5).reshape([count, 1]);
    Examples::new(&x, &y)
}

fn line() -> Linear {
    Linear::new(3, 1, &mut Init::new().seed(3))
}

fn quiet<'a>() -> Trainer<'a, Linear, Batch> {
    Trainer::supervised(mse_loss).with_progress(Progress::Quiet)
}

#[test]
fn it_is_the_loop_by_hand() -> Result<()> {
    let (train, test) = (Loader::new(Spots { count: 60 }, 8).shuffled(3), Loader::new(Spots { count: 30 }, 7));
    let (mut by_hand, mut optimizer) = (model(), AdamW::new(0.01));
    let mut schedule = OneCycle::new(0.02, 24).start(&mut optimizer);
    let mut average = Ema::new(&by_hand, 0.9);
    let mut losses = Vec::new();
    for epoch in 0..3 {
        for batch in train.epoch(epoch) {
            let batch = batch?;
            let loss = cross_entropy(&by_hand.forward(&batch.input), &batch.target);
            let mut gradients = loss.backward()?;
            gradients.clip_norm(1.0)?;
            optimizer.step(&mut by_hand, &gradients)?;
            average.update(&by_hand)?;
            schedule.step(&mut optimizer);
            losses.push(loss.item()?);
        }
    }
    let (mut sum, mut right) = (0.0, 0.0);
    for batch in test.epoch(0) {
        let batch = batch?;
        let scores = no_grad(|| evaluating(|| average.model().forward(&batch.input)));
        let size = batch.target.count()? as f64;
        sum += cross_entropy(&scores, &batch.target).item()? * size;
        right += scores.argmax_over(1).equal(&batch.target).count_nonzero().item()?;
    }

    let (mut trained, mut optimizer) = (model(), AdamW::new(0.01));
    let history = Trainer::supervised(cross_entropy)
        .with_epochs(3)
        .with_schedule(OneCycle::new(0.02, 24))
        .with_clip_norm(1.0)
        .with_average(0.9)
        .with_validation(&test)
        .with_metric(Accuracy::new())
        .with_progress(Progress::Quiet)
        .fit(&mut trained, &mut optimizer, &train)?;
    assert_eq!(trained.tensors()?, by_hand.tensors()?);
    assert_eq!(history.steps().iter().map(|(_, loss)| *loss).collect::<Vec<f64>>(), losses);
    assert_eq!(history.last("validation loss")?, sum / 30.0);
    assert_eq!(history.last("accuracy")?, right / 30.0);
    // the last batch of an epoch has 4 items, the others 8
    let weights = losses.iter().zip([8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 4.0].into_iter().cycle());
    let first: f64 = weights.take(8).map(|(loss, weight)| loss * weight).sum::<f64>() / 60.0;
    assert!((history.of("loss")[0] - first).abs() < 1e-12);
    assert_eq!((history.epochs().len(), history.epochs()[2].step), (3, 24));
    assert!(history.last("accuracy")? > 0.5, "\n{history}");
    Ok(())
}

#[test]
fn long_epochs_are_validated_on_their_way() -> Result<()> {
    // Ten steps an epoch; validated after 3, 6, 9, 12, ..., and after 10 and 20 with the epochs.
    let train = Loader::new(points(50)?, 5).shuffled(1);
    let (other, mut seen) = (Loader::new(points(20)?, 6), Vec::new());
    let fit = |trainer: Trainer<Linear, Batch>| -> Result<(Linear, History)> {
        let (mut model, mut optimizer) = (line(), Sgd::new(0.05));
        let history = trainer.with_epochs(2).fit(&mut model, &mut optimizer, &train)?;
        Ok((model, history))
    };
    let (plain, history) = fit(quiet().with_validation(&other))?;
    assert!(history.between().is_empty());
    let trainer = quiet().with_validation(&other).with_metric(Regression::new()).with_validation_every(3);
    let trainer = trainer.with_callback(|view: &View<Linear>| {
        let validated = view.history.between().last().filter(|record| record.step == view.step && !view.is_epoch);
        seen.extend(validated.map(|record| (record.step, view.model.weight.to_vec::<f32>().unwrap())));
    });
    let (model, looked) = fit(trainer)?;
    // Looking changes nothing.
    assert_eq!(model.tensors()?, plain.tensors()?);
    assert_eq!(looked.of("validation loss"), history.of("validation loss"));
    assert_eq!(looked.steps(), history.steps());
    let places: Vec<_> = looked.between().iter().map(|record| (record.epoch, record.step)).collect();
    assert_eq!(places, [(1, 3), (1, 6), (1, 9), (2, 12), (2, 15), (2, 18)]);
    let first = &looked.between()[0].measures;
    let names: Vec<&str> = first.iter().map(|(name, _)| name).collect();
    assert_eq!((names[..2].to_vec(), names[names.len() - 1]), (vec!["loss", "validation loss"], "rate"));
    let mean = history.steps()[..3].iter().map(|(_, loss)| loss).sum::<f64>() / 3.0;
    assert!((first.get("loss")? - mean).abs() < 1e-12);
    // It is what an evaluation of the model at that step says.
    assert_eq!(seen.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [3, 6, 9, 12, 15, 18]);
    assert_eq!(looked.best().map(|(epoch, measure, _)| (epoch, measure)), Some((2, "validation loss")));
    let json = looked.json();
    assert!(json.contains("\"between\": [\n    {\"epoch\": 1, \"step\": 3,"), "{json}");
    assert!(!history.json().contains("between"));

    // The best may stand in the middle of an epoch: a rate so high that each step is worse than the one before.
    let (mut model, mut optimizer) = (line(), Sgd::new(1.5));
    let trainer = quiet().with_validation(&other).with_validation_every(1).with_best_kept();
    let history = trainer.with_epochs(1).fit(&mut model, &mut optimizer, &train)?;
    let least = history.between().iter().map(|record| record.measures.get("validation loss").unwrap());
    let least = least.fold(f64::INFINITY, f64::min);
    assert!(least < history.last("validation loss")?, "{history}");
    assert_eq!(history.best(), Some((1, "validation loss", least)));
    assert_eq!(quiet().evaluate(&model, &other)?.get("loss")?, least);

    let error = fit(quiet().with_validation_every(3)).unwrap_err();
    assert!(error.to_string().contains("nothing to validate on"), "{error}");
    Ok(())
}

#[test]
fn other_sets_are_judged_beside_the_validation() -> Result<()> {
    let (train, test) = (Loader::new(Spots { count: 40 }, 8).shuffled(1), Loader::new(Spots { count: 12 }, 8));
    let (mut trained, mut optimizer) = (model(), AdamW::new(0.01));
    let mut trainer = Trainer::supervised(cross_entropy)
        .with_progress(Progress::Quiet)
        .with_validation(&test)
        .with_evaluation("training", &train)
        .with_metric(Accuracy::new())
        .with_epochs(2);
    let history = trainer.fit(&mut trained, &mut optimizer, &train)?;
    let (on_train, on_test) = (trainer.evaluate(&trained, &train)?, trainer.evaluate(&trained, &test)?);
    for (name, expected) in [
        ("training loss", on_train.get("loss")?),
        ("training accuracy", on_train.get("accuracy")?),
        ("validation loss", on_test.get("loss")?),
        ("accuracy", on_test.get("accuracy")?),
    ] {
        assert_eq!(history.last(name)?, expected, "{name}");
    }
    // Dropout and moments of batches are in the one and not in the other.
    assert_ne!(history.last("loss")?, history.last("training loss")?);
    Ok(())
}

#[test]
fn small_batches_together_are_a_large_one() -> Result<()> {
    // 50 items: three groups of 16, the last batch of the epoch has 2
    let train = |size, accumulation| -> Result<(Vec<f32>, u64)> {
        let (mut model, mut optimizer) = (line(), Sgd::new(0.1).with_momentum(0.9));
        let loader = Loader::new(points(50)?, size);
        let mut trainer = quiet().with_epochs(4).with_accumulation(accumulation);
        let history = trainer.fit(&mut model, &mut optimizer, &loader)?;
        Ok((model.weight.to_vec::<f32>()?, history.epochs()[3].step))
    };
    let (large, steps) = train(16, 1)?;
    for (size, accumulation) in [(4, 4), (8, 2), (2, 8), (16, 1)] {
        let (small, own) = train(size, accumulation)?;
        assert_eq!(own, steps);
        for (a, b) in small.iter().zip(&large) {
            assert!((a - b).abs() < 1e-5, "{size} by {accumulation}: {small:?} is not {large:?}");
        }
    }
    assert_ne!(train(4, 1)?.0, large);
    Ok(())
}

#[test]
fn schedules_go_by_steps_by_epochs_and_by_measures() -> Result<()> {
    let loader = Loader::new(points(20)?, 5);
    let rates = |trainer: Trainer<Linear, Batch>| -> Result<Vec<f64>> {
        let mut trainer = trainer.with_epochs(3);
        Ok(trainer.fit(&mut line(), &mut Sgd::new(1e-3), &loader)?.of("rate"))
    };
    assert_eq!(rates(quiet().with_schedule(Exponential::new(0.5)))?, [1e-3 / 16.0, 1e-3 / 256.0, 1e-3 / 4096.0]);
    assert_eq!(rates(quiet().with_epoch_schedule(Exponential::new(0.5)))?, [1e-3, 1e-3 / 2.0, 1e-3 / 4.0]);
    // A measure that never gets better: the loss as something to be raised.
    let plateau = Plateau::new().with_patience(0).with_factor(0.5);
    assert_eq!(rates(quiet().with_plateau(plateau, Goal::highest("loss")))?, [1e-3, 1e-3, 1e-3 / 2.0]);
    Ok(())
}

#[test]
fn it_stops_early_and_keeps_the_best() -> Result<()> {
    let folder = Folder::new("early");
    let loader = Loader::new(points(40)?, 10).shuffled(1);
    // A rate that is far too large: after some epochs it gets worse and worse.
    let make = || quiet().with_epochs(30).with_epoch_schedule(Exponential::new(1.6)).with_validation(&loader);
    let stop = || EarlyStop::lowest("validation loss").with_patience(2);
    let mut model = line();
    let mut trainer = make().with_early_stop(stop()).with_best_kept();
    let history = trainer.fit(&mut model, &mut Sgd::new(0.05), &loader)?;
    let (best, measure, lowest) = history.best().expect("there were epochs");
    assert_eq!(measure, "validation loss");
    assert_eq!(history.epochs().len() as u64, best + 3, "\n{history}");
    assert!(history.stopped().is_some_and(|reason| reason.contains(&format!("epoch {best}"))));
    assert_eq!(history.of("validation loss").into_iter().fold(f64::INFINITY, f64::min), lowest);
    assert_eq!(trainer.evaluate(&model, &loader)?.get("loss")?, lowest);

    // The same with files.
    let mut filed = line();
    let mut trainer = make().with_early_stop(stop()).with_best_kept().with_folder(&folder.0);
    trainer.fit(&mut filed, &mut Sgd::new(0.05), &loader)?;
    assert_eq!(filed.tensors()?, model.tensors()?);
    let mut loaded = line();
    loaded.load_state(Checkpoint::load(folder.0.join("best.checkpoint"))?.get("model")?)?;
    assert_eq!(loaded.tensors()?, model.tensors()?);
    // One that has stopped stays so.
    let mut again = make().with_early_stop(stop()).with_folder(&folder.0).resumed();
    let resumed = again.fit(&mut line(), &mut Sgd::new(0.05), &loader)?;
    assert_eq!((resumed.epochs(), resumed.stopped()), (history.epochs(), history.stopped()));

    let mut trainer = quiet().with_early_stop(EarlyStop::lowest("validation los"));
    let error = trainer.fit(&mut line(), &mut Sgd::new(0.05), &loader).unwrap_err();
    assert!(error.to_string().contains("the measures are: loss, rate"), "{error}");
    Ok(())
}

#[test]
fn averages_are_judged_and_kept_in_the_models_place() -> Result<()> {
    let loader = Loader::new(points(40)?, 10).shuffled(1);
    let folder = Folder::new("average");
    let mut model = line();
    let mut trainer = quiet().with_epochs(5).with_epoch_average(3).with_validation(&loader).with_folder(&folder.0);
    let mut ends = Vec::new();
    let mut plain = quiet().with_epochs(5).with_callback(|view: &View<Linear>| -> Result<()> {
        if view.is_epoch {
            ends.push(view.model.weight.to_vec::<f32>()?);
        }
        Ok(())
    });
    plain.fit(&mut line(), &mut Sgd::new(0.02), &loader)?;
    drop(plain);
    let history = trainer.fit(&mut model, &mut Sgd::new(0.02), &loader)?;
    assert_eq!(model.weight.to_vec::<f32>()?, ends[4]);
    let mut best = line();
    best.load_state(Checkpoint::load(folder.0.join("best.checkpoint"))?.get("model")?)?;
    let (epoch, ..) = history.best().expect("there were epochs");
    let averaged = &ends[2..epoch as usize];
    for (at, number) in best.weight.to_vec::<f32>()?.into_iter().enumerate() {
        let mean = averaged.iter().map(|end| end[at]).sum::<f32>() / averaged.len() as f32;
        assert!((number - mean).abs() < 1e-6);
    }
    Ok(())
}

#[test]
fn callbacks_see_and_stop() -> Result<()> {
    let loader = Loader::new(points(20)?, 5);
    let folder = Folder::new("callback");
    let mut seen = Vec::new();
    let mut trainer = quiet().with_epochs(5).with_folder(&folder.0).with_callback(|view: &View<Linear>| {
        seen.push((view.is_epoch, view.epoch, view.step, view.rate));
        if view.step == 6 { Flow::Stop } else { Flow::Continue }
    });
    let mut model = line();
    let history = trainer.fit(&mut model, &mut Sgd::new(0.1), &loader)?;
    drop(trainer);
    assert_eq!((history.epochs().len(), history.stopped()), (1, Some("a callback asked for it")));
    let expected =
        [(false, 1, 1), (false, 1, 2), (false, 1, 3), (false, 1, 4), (true, 1, 4), (false, 2, 5), (false, 2, 6)];
    assert_eq!(seen, expected.map(|(is_epoch, epoch, step)| (is_epoch, epoch, step, 0.1)));

    // It goes on from there as if nothing had been.
    let mut whole = line();
    quiet().with_epochs(5).fit(&mut whole, &mut Sgd::new(0.1), &loader)?;
    let mut resumed = quiet().with_epochs(5).with_folder(&folder.0).resumed();
    resumed.fit(&mut model, &mut Sgd::new(0.1), &loader)?;
    assert_eq!(model.tensors()?, whole.tensors()?);

    let fails = |_: &View<Linear>| -> Result<()> { (Tensor::zeros([2]) + Tensor::zeros([3])).checked().map(drop) };
    let error = quiet().with_callback(fails).fit(&mut model, &mut Sgd::new(0.1), &loader).unwrap_err();
    assert_eq!(error.operation(), "add");
    Ok(())
}

/// A model whose loss is the logarithm of its output: not a number once that is below zero.
fn logarithm(model: &Linear, batch: &Batch) -> Tensor {
    model.forward(&batch.input).ln().mean()
}

#[test]
fn what_is_not_finite_ends_it_with_the_operations_name() -> Result<()> {
    let folder = Folder::new("anomaly");
    let mut pixels = vec![1.0f32; 30];
    pixels[19] = -50.0;
    let examples = Examples::new(&Tensor::from_vec(pixels, [10, 3])?, &Tensor::zeros([10, 1]))?;
    let loader = Loader::new(examples, 2);
    let start = || -> Result<Linear> {
        let mut model = line();
        model.weight.set(&Tensor::ones([1, 3]))?;
        Ok(model)
    };
    let mut model = start()?;
    let mut trainer = Trainer::new(logarithm).with_progress(Progress::Quiet).with_folder(&folder.0);
    let mut trainer = trainer_every(&mut trainer);
    let error = trainer.fit(&mut model, &mut Sgd::new(1e-3), &loader).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NonFinite, "ln"), "{error}");
    assert!(error.what().contains("the loss is NaN in batch 4 of epoch 1, before step 4"), "{error}");
    assert!(error.to_string().contains("tests/trainer.rs") || cfg!(windows), "{error}");
    // The model and the file are those after step 3.
    let mut before = start()?;
    let stop = |view: &View<Linear>| if view.step == 3 { Flow::Stop } else { Flow::Continue };
    let mut trainer = Trainer::new(logarithm).with_progress(Progress::Quiet).with_callback(stop);
    trainer.fit(&mut before, &mut Sgd::new(1e-3), &loader)?;
    assert_eq!(model.tensors()?, before.tensors()?);
    let mut saved = start()?;
    saved.load_state(Checkpoint::load(folder.0.join("last.checkpoint"))?.get("model")?)?;
    assert_eq!(saved.tensors()?, before.tensors()?);

    // The loss is fine, its gradient is not: the root of zero. Dropout and statistics are as they were, too.
    let mut init = Init::new().seed(1);
    let mut model = Sequential::new()
        .then(Linear::new(3, 4, &mut init))
        .then(chainrule::nn::BatchNorm1d::new(4, &mut init))
        .then(Dropout::new(0.5, &mut init))
        .named();
    let before = model.clone().state()?;
    let root = |model: &Sequential, batch: &Batch| (model.forward(&batch.input) * 0.0).sqrt().sum();
    for clip in [None, Some(1.0)] {
        let mut trainer = Trainer::new(root).with_progress(Progress::Quiet);
        if let Some(limit) = clip {
            trainer = trainer.with_clip_norm(limit);
        }
        let error = trainer.fit(&mut model, &mut Adam::new(0.1), &loader).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::NonFinite, "sqrt"), "{error}");
        assert!(error.what().contains("the gradients are not finite"), "{error}");
        let path = folder.0.join("state");
        let bytes = |state: &chainrule::State| -> Result<Vec<u8>> {
            chainrule::io::checkpoint::save(&path, state)?;
            Ok(fs::read(&path).expect("it was just written"))
        };
        assert!(bytes(&model.state()?)? == bytes(&before)?);
    }
    Ok(())
}

#[test]
fn the_second_look_sees_the_same_draws() -> Result<()> {
    // The logarithm of what a dropout may have made zero: another draw would find nothing.
    let loader = Loader::new(Examples::new(&Tensor::ones([40, 1]), &Tensor::zeros([40, 1]))?, 1);
    for seed in 0..12 {
        let mut init = Init::new().seed(seed);
        let mut model = Sequential::new().then(Linear::new(1, 1, &mut init)).then(Dropout::new(0.3, &mut init)).named();
        let logarithm = |model: &Sequential, batch: &Batch| (model.forward(&batch.input).square()).ln().sum();
        let mut trainer = Trainer::new(logarithm).with_progress(Progress::Quiet);
        let error = trainer.fit(&mut model, &mut Sgd::new(1e-6), &loader).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::NonFinite, "ln"), "{error}");
    }
    Ok(())
}

/// The same trainer with a checkpoint after every step.
fn trainer_every<'a>(trainer: &mut Trainer<'a, Linear, Batch>) -> Trainer<'a, Linear, Batch> {
    std::mem::replace(trainer, Trainer::new(logarithm)).with_checkpoint_every(1)
}

#[test]
fn wrong_calls_are_errors() -> Result<()> {
    let loader = Loader::new(points(20)?, 5);
    let fit = |mut trainer: Trainer<Linear, Batch>| {
        let error = trainer.fit(&mut line(), &mut Sgd::new(0.1), &loader).unwrap_err();
        assert!(!error.location().file().contains("src"), "an error names a file of ours: {error}");
        error
    };
    assert!(fit(quiet().resumed()).help().contains("with_folder"));
    assert!(fit(quiet().with_checkpoint_every(5)).help().contains("with_folder"));
    let plain = |model: &Linear, batch: &Batch| mse_loss(&model.forward(&batch.input), &batch.target);
    let untold = || Trainer::new(plain).with_progress(Progress::Quiet).with_metric(Perplexity::new());
    assert!(fit(untold().with_validation(&loader)).help().contains("with_output"));
    // Without validation nothing asks the metrics.
    untold().fit(&mut line(), &mut Sgd::new(0.1), &loader)?;
    let several = |model: &Linear, batch: &Batch| model.forward(&batch.input);
    assert_eq!(fit(Trainer::new(several).with_progress(Progress::Quiet)).operation(), "item");
    let failed = |model: &Linear, batch: &Batch| model.forward(&batch.target).sum();
    assert_eq!(fit(Trainer::new(failed).with_progress(Progress::Quiet)).operation(), "linear");

    let none = Loader::new(points(3)?, 5).drop_last();
    let error = quiet().fit(&mut line(), &mut Sgd::new(0.1), &none).unwrap_err();
    assert!(error.what().contains("no batch"), "{error}");
    assert!(quiet().with_epochs(0).fit(&mut line(), &mut Sgd::new(0.1), &none)?.epochs().is_empty());

    // A checkpoint of another trainer, of another model, and no checkpoint at all.
    let folder = Folder::new("wrong");
    let filed = || quiet().with_folder(&folder.0);
    filed().with_epochs(1).fit(&mut line(), &mut Sgd::new(0.1), &loader)?;
    assert!(fit(filed().resumed().with_average(0.9)).what().contains("without average"));
    assert!(fit(filed().resumed().with_schedule(Cosine::new(5))).what().contains("without schedule"));
    assert!(fit(filed().resumed().with_accumulation(2)).what().contains("accumulates 1 batches"));
    // What is in the file is not what is asked of it.
    let path = folder.0.join("last.checkpoint");
    let state = chainrule::io::checkpoint::load(&path)?.state;
    for section in ["model", "optimizer", "history", "trainer"] {
        let State::Tree(mut sections) = state.clone() else { panic!("it has sections") };
        sections.insert(section.to_string(), State::Integer(3));
        chainrule::io::checkpoint::save(&path, &State::Tree(sections))?;
        fit(filed().resumed().with_epochs(2));
    }
    chainrule::io::checkpoint::save(&path, &state)?;
    let mut other = Linear::new(3, 2, &mut Init::new());
    assert!(filed().resumed().with_epochs(2).fit(&mut other, &mut Sgd::new(0.1), &loader).is_err());
    assert!(filed().resumed().with_epochs(2).fit(&mut line(), &mut Adam::new(0.1), &loader).is_err());
    fs::remove_file(chainrule::io::checkpoint::backup(&path)).unwrap();
    fs::write(folder.0.join("last.checkpoint"), "?").unwrap();
    assert_eq!(fit(filed().resumed()).kind(), ErrorKind::Io);
    fs::write(folder.0.join("file"), "?").unwrap();
    assert_eq!(fit(quiet().with_folder(folder.0.join("file"))).kind(), ErrorKind::Io);
    Ok(())
}

#[test]
fn any_batch_will_do() -> Result<()> {
    let (x, y) = (Tensor::normal([30, 3], 0.0, 1.0, &mut Random::new(1)), Tensor::ones([30, 1]));
    let rows = |tensor: &Tensor| chainrule::data::Rows::new(tensor);
    let loader = Loader::new((rows(&x)?, rows(&y)?), 10);
    let mut model = line();
    let history = Trainer::new(|model: &Linear, (x, y): &(Tensor, Tensor)| {
        let output = model.forward(x);
        Outcome::new(mse_loss(&output, y)).with_output(&output, y)
    })
    .with_epochs(40)
    .with_progress(Progress::Quiet)
    .fit(&mut model, &mut Adam::new(0.1), &loader)?;
    assert!(history.last("loss")? < 0.1);

    // Asked and judged afterwards.
    let forward = |model: &Linear, (x, _): &(Tensor, Tensor)| model.forward(x);
    let outputs = predict(&model, &loader, forward)?;
    assert_eq!(outputs, no_grad(|| model.forward(&x)));
    assert!(!outputs.is_tracked());
    let mut mistakes = chainrule::train::metrics::Regression::new();
    let both = |model: &Linear, (x, y): &(Tensor, Tensor)| (model.forward(x), y.clone());
    let first = evaluate(&model, &loader, &mut mistakes, both)?;
    assert_eq!(evaluate(&model, &loader, &mut mistakes, both)?, first);
    assert!((first.get("mean absolute error")? - (&outputs - &y).abs().mean().item()?).abs() < 1e-6);
    Ok(())
}

/// The weights of a model's convolution.
fn filters(model: &Sequential) -> Result<Tensor> {
    let parameters = model.parameters();
    Ok(parameters.first().expect("it has a convolution").1.detach())
}

/// The training that is killed: everything that has a state.
fn long_training(folder: &Path, resumed: bool, mut at_step: impl FnMut()) -> Result<History> {
    let train = Loader::new(Spots { count: 60 }, 6).shuffled(11).with_workers(2);
    let test = Loader::new(Spots { count: 20 }, 8);
    let (mut model, mut optimizer) = (model(), AdamW::new(0.01));
    let mut trainer = Trainer::supervised(cross_entropy)
        .with_epochs(16)
        .with_schedule(OneCycle::new(0.02, 200))
        .with_plateau(Plateau::new().with_patience(2), Goal::highest("loss"))
        .with_validation(&test)
        .with_validation_every(2)
        .with_evaluation("training", &train)
        .with_metric(Confusion::new(4))
        .with_metric(RocAuc::one_vs_rest(4).with_softmax())
        .with_average(0.9)
        .with_clip_norm(1.0)
        .with_accumulation(2)
        .with_early_stop(EarlyStop::lowest("validation loss").with_patience(16))
        .with_folder(folder)
        .with_checkpoint_every(2)
        .with_report_picture("What it draws", |model: &Sequential| Ok(Tiles::new("", &filters(model)?)?.picture()))
        .with_progress(Progress::Quiet)
        .with_callback(move |_: &View<Sequential>| at_step());
    if resumed {
        trainer = trainer.resumed();
    }
    trainer.fit(&mut model, &mut optimizer, &train)
}

/// How many calls after the one at which it may be killed a child goes on before it waits for that.
const CHASE: u64 = 2;

/// What the child of the next test does; alone it does nothing. At its given call it leaves a sign that it may be killed
/// from now on, and shortly after that it waits: however fast the machine is, it is killed in the middle of its training.
#[test]
fn child_that_trains() {
    let Ok(folder) = std::env::var("CHAINRULE_TRAINER_CHILD") else { return };
    let (given, mut calls) = (std::env::var("CHAINRULE_TRAINER_CALLS").unwrap().parse::<u64>().ok(), 0);
    let sign = sign_of(Path::new(&folder));
    let at_step = || {
        calls += 1;
        if Some(calls) == given {
            fs::write(&sign, "").unwrap();
        }
        while given.is_some_and(|given| calls == given + CHASE) {
            std::thread::park();
        }
    };
    long_training(Path::new(&folder), true, at_step).unwrap();
}

/// Where the child says that it may be killed.
fn sign_of(folder: &Path) -> PathBuf {
    folder.with_extension("sign")
}

/// Killed again and again, in the middle of epochs and of writing, and resumed each time: all files end with the bytes of
/// a training that ran through.
#[test]
fn a_training_killed_at_any_moment_ends_with_the_same_bytes() -> Result<()> {
    const KILLS: u64 = 12;
    let (whole, killed) = (Folder::new("whole"), Folder::new("killed"));
    long_training(&whole.0, false, || ())?;
    let sign = sign_of(&killed.0);
    let mut random = Random::new(std::process::id() as u64);
    let mut in_the_middle = 0;
    for round in 0..=KILLS {
        // The last child runs to its end; the others take at most 6 of the 96 calls (80 steps, 16 ends of epochs) each.
        let given = if round < KILLS { (1 + random.below(6 - CHASE)).to_string() } else { "none".to_string() };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_trains", "--exact"])
            .env("CHAINRULE_TRAINER_CHILD", &killed.0)
            .env("CHAINRULE_TRAINER_CALLS", given)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if round == KILLS {
            assert!(child.wait().unwrap().success(), "the last child failed");
            break;
        }
        while !sign.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the child of round {round} ended by itself");
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(&sign).unwrap();
        let last = killed.0.join("last.checkpoint");
        let has_loader = |last: Checkpoint| last.names().any(|name| name == "loader");
        in_the_middle += (last.exists() && Checkpoint::load(&last).is_ok_and(has_loader)) as usize;
    }
    assert!(in_the_middle >= 1, "none of {KILLS} checkpoints was made in an epoch: that tests nothing");
    for file in [
        "last.checkpoint",
        "best.checkpoint",
        "history.csv",
        "history.json",
        "curves.svg",
        "confusion.svg",
        "report.html",
    ] {
        assert!(whole.bytes(file) == killed.bytes(file), "{file} has other bytes after {KILLS} kills");
    }
    Ok(())
}

#[test]
fn the_history_is_read_by_others() -> Result<()> {
    let (folder, loader) = (Folder::new("history"), Loader::new(Spots { count: 24 }, 6).shuffled(1));
    let history = Trainer::supervised(cross_entropy)
        .with_epochs(3)
        .with_validation(&loader)
        .with_metric(Accuracy::new())
        .with_folder(&folder.0)
        .with_progress(Progress::Quiet)
        .fit(&mut model(), &mut AdamW::new(0.01), &loader)?;
    let csv = String::from_utf8(folder.bytes("history.csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], ["epoch", "step", "loss", "validation loss", "accuracy", "rate"]);
    assert_eq!(lines.len(), 4);
    for (line, record) in lines[1..].iter().zip(history.epochs()) {
        assert_eq!(line[0].parse::<u64>().unwrap(), record.epoch);
        assert_eq!(line[1].parse::<u64>().unwrap(), record.step);
        for (text, (_, number)) in line[2..].iter().zip(record.measures.iter()) {
            assert_eq!(text.parse::<f64>().unwrap(), number);
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&folder.bytes("history.json")).unwrap();
    assert_eq!(json["epochs"][2]["measures"]["accuracy"].as_f64(), Some(history.last("accuracy")?));
    assert_eq!(json["steps"].as_array().unwrap().len(), 12);
    assert_eq!(json["steps"][11][1].as_f64(), Some(history.steps()[11].1));
    assert_eq!(json["best"]["measure"], "validation loss");
    assert!(json["stopped"].is_null());
    for text in ["accuracy", "best", "validation loss"] {
        assert!(history.to_string().contains(text), "\n{history}");
    }
    let svg = String::from_utf8(folder.bytes("curves.svg")).unwrap();
    assert!(svg.contains("validation loss") && svg.contains("accuracy"));
    Ok(())
}

#[test]
fn a_report_shows_what_was_watched() -> Result<()> {
    let (folder, loader) = (Folder::new("report"), Loader::new(Spots { count: 24 }, 6).shuffled(1));
    let fit = || {
        let trainer =
            Trainer::supervised(cross_entropy).with_epochs(3).with_validation(&loader).with_metric(Confusion::new(4));
        trainer.with_progress(Progress::Quiet)
    };
    let mut trainer = fit().with_folder(&folder.0).with_report_picture("<own>", |model: &Sequential| {
        assert!(!chainrule::is_recording() && !chainrule::is_training());
        Ok(Tiles::new("", &filters(model)?)?.picture())
    });
    let mut watched = model();
    trainer.fit(&mut watched, &mut AdamW::new(0.01), &loader)?;
    let page = String::from_utf8(folder.bytes("report.html")).unwrap();
    for text in [
        "Curves",
        "confusion",
        "&lt;own&gt;",
        "Gradients, layer by layer",
        "Weights, layer by layer",
        "How the weights are spread",
        "Filters of the first convolution",
        "5.weight",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("<script") && !page.contains("src="));
    // Watching changes nothing.
    let mut plain = model();
    fit().fit(&mut plain, &mut AdamW::new(0.01), &loader)?;
    assert_eq!(plain.tensors()?, watched.tensors()?);

    let error = fit().with_report().fit(&mut model(), &mut AdamW::new(0.01), &loader).unwrap_err();
    assert!(error.to_string().contains("with_folder"), "{error}");
    let fails = |_: &Sequential| Tiles::new("", &Tensor::ones([3])).map(|tiles| tiles.picture());
    let error = fit().with_folder(&folder.0).with_report_picture("none", fails);
    assert_eq!({ error }.fit(&mut model(), &mut AdamW::new(0.01), &loader).unwrap_err().kind(), ErrorKind::Shape);
    Ok(())
}

#[test]
fn half_precision_and_long_names_of_files_are_no_trouble() -> Result<()> {
    let folder = Folder::new("deep");
    let mut model = line();
    model.cast(DType::BF16)?;
    let loader = Loader::new(points(20)?, 5);
    let half = |model: &Linear, batch: &Batch| {
        mse_loss(&model.forward(&batch.input.to_dtype(DType::BF16)), &batch.target.to_dtype(DType::BF16))
    };
    let path = folder.0.join("a").join("b c").join("\u{e9}");
    Trainer::new(half).with_folder(&path).with_progress(Progress::Quiet).fit(
        &mut model,
        &mut Adam::new(0.01),
        &loader,
    )?;
    assert!(path.join("last.checkpoint").exists());
    Ok(())
}
