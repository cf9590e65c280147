//! Losses, optimizers, schedules, metrics and whole trainings with settings drawn at random, most of them wrong: they answer,
//! or say what is wrong. An optimizer that refuses a step has changed nothing; what has a state goes on from it as if it had never
//! stopped.

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/chance.rs"]
mod chance;
#[path = "common/guard.rs"]
mod guard;

use allocator::Counting;
use chainrule::data::*;
use chainrule::explain::chart::{Distributions, HeatMap, Histogram, LineChart, Tiles};
use chainrule::explain::trace;
use chainrule::loss::*;
use chainrule::nn::{self, BatchNorm1d, Dropout, Init, Layer, Module, Relu, Sequential};
use chainrule::optim::schedule::*;
use chainrule::optim::*;
use chainrule::train::metrics::*;
use chainrule::train::*;
use chainrule::{DType, Gradients, Parameter, Result, Tensor, profile};
use chance::{Attempt, Chance, search};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a loss says, and its slopes.
fn judged(reduction: Reduction, loss: Tensor) -> Result<()> {
    let loss = loss.checked()?;
    if reduction != Reduction::None {
        assert_eq!(loss.rank()?, 0, "{reduction:?} of a loss has the shape {:?}", loss.shape());
    }
    if loss.is_tracked() { loss.square().sum().backward().map(drop) } else { Ok(()) }
}

fn reduction(c: &mut Chance) -> Reduction {
    c.one(&[Reduction::Mean, Reduction::Sum, Reduction::None])
}

/// A loss of numbers beside numbers.
fn compared(c: &mut Chance) -> Result<()> {
    let how = reduction(c);
    let x = c.tensor(0..=3);
    let (y, z, number) = (c.like(&x), c.like(&x), c.real(&[0.5, 1.0, 2.0]));
    let (sure, signs, flag) = (x.sigmoid(), y.sign(), c.coin());
    judged(
        how,
        match c.below(21) {
            0 => MseLoss::new().with_reduction(how).of(&x, &y),
            1 => L1Loss::new().with_reduction(how).of(&x, &y),
            2 => SmoothL1Loss::new().with_beta(number).with_reduction(how).of(&x, &y),
            3 => HuberLoss::new().with_delta(number).with_reduction(how).of(&x, &y),
            4 => {
                let loss = PoissonNllLoss::new().with_log_input(flag).with_full(c.coin()).with_epsilon(number);
                loss.with_reduction(how).of(&x, &y)
            }
            5 => GaussianNllLoss::new().with_full(flag).with_epsilon(number).with_reduction(how).of(&x, &y, &z.abs()),
            6 => BinaryCrossEntropy::new().with_weights(&z).with_reduction(how).of(&sure, &y.sigmoid()),
            7 => {
                let loss = BinaryCrossEntropyWithLogits::new().with_reduction(how);
                let loss = if flag { loss.with_weights(&z) } else { loss.with_positive_weight(&c.tensor(0..=1)) };
                loss.of(&x, &y)
            }
            8 => {
                BinaryFocalLoss::new().with_gamma(number).with_alpha(c.rate()).with_reduction(how).of(&x, &y.sigmoid())
            }
            9 => {
                return judged(
                    Reduction::None,
                    DiceLoss::new().with_smoothing(number).with_squares(flag).of(&sure, &y),
                );
            }
            10 => KlDiv::new().with_log_target(flag).with_element_mean(c.coin()).with_reduction(how).of(&x, &y),
            11 => DistillationLoss::new().with_temperature(number).with_reduction(how).of(&x, &y),
            12 => CosineEmbeddingLoss::new().with_margin(number).with_reduction(how).of(&x, &y, &signs),
            13 => {
                let loss = TripletMarginLoss::new().with_margin(number).with_norm(c.real(&[1.0, 2.0, 3.0]));
                loss.with_epsilon(c.real(&[1e-6])).with_swap(flag).with_reduction(how).of(&x, &y, &z)
            }
            14 => InfoNceLoss::new().with_temperature(number).with_symmetry(flag).with_reduction(how).of(&x, &y),
            15 => NtXentLoss::new().with_temperature(number).with_reduction(how).of(&x, &y),
            16 => MarginRankingLoss::new().with_margin(number).with_reduction(how).of(&x, &y, &signs),
            17 => HingeEmbeddingLoss::new().with_margin(number).with_reduction(how).of(&x, &signs),
            18 => SoftMarginLoss::new().with_reduction(how).of(&x, &signs),
            19 => MultilabelMarginLoss::new().with_reduction(how).of(&x, &c.positions(1..=2)),
            _ => {
                let loss = MultilabelSoftMarginLoss::new().with_reduction(how);
                let loss = if flag { loss.with_class_weights(&c.tensor(1..=1)) } else { loss };
                loss.of(&x, &y.sigmoid())
            }
        },
    )
}

/// A loss of scores beside classes.
fn classified(c: &mut Chance) -> Result<()> {
    let how = reduction(c);
    let (rows, classes, rest) = (c.below(4), c.size(4), c.sizes(0..=1));
    let x = c.fitting(&[&[rows, classes], &rest[..]].concat());
    let target = c.whole(&[&[rows], &rest[..]].concat(), classes);
    let weights = c.fitting(&[classes]).abs();
    let ignored = c.one(&[-100, 0, 1, -1, i64::MAX, i64::MIN]);
    let plain = c.coin();
    judged(
        how,
        match c.below(5) {
            0 => {
                let loss = CrossEntropy::new().with_label_smoothing(c.rate()).with_ignore_index(ignored);
                let loss = if plain { loss } else { loss.with_class_weights(&weights) }.with_reduction(how);
                loss.of(&x, &if c.once_in(4) { c.like(&x).softmax(1) } else { target })
            }
            1 => {
                let loss = NllLoss::new().with_ignore_index(ignored).with_reduction(how);
                if plain { loss } else { loss.with_class_weights(&weights) }.of(&x, &target)
            }
            2 => {
                let loss =
                    FocalLoss::new().with_gamma(c.real(&[0.0, 2.0])).with_ignore_index(ignored).with_reduction(how);
                if plain { loss } else { loss.with_class_weights(&weights) }.of(&x, &target)
            }
            3 => {
                let loss =
                    MultiMarginLoss::new().with_margin(c.real(&[1.0])).with_squares(c.coin()).with_reduction(how);
                if plain { loss } else { loss.with_class_weights(&weights) }.of(&x, &target)
            }
            _ => {
                let loss = CtcLoss::new().with_blank(c.count(classes.min(5) + 1)).with_zero_infinity(plain);
                let (steps, batch, longest) = (c.below(5), c.below(3), c.below(3));
                let logits = c.fitting(&[steps, batch, classes]);
                let targets = c.whole(&[batch, longest], classes);
                let [given, spelt] = [steps, longest].map(|most| c.whole(&[batch], most + 1));
                loss.with_reduction(how).of(&logits, &targets, &given, &spelt)
            }
        },
    )
}

/// A small model with everything that training changes.
fn model(c: &mut Chance) -> Sequential {
    let (init, width) = (&mut Init::new().seed(c.below(5) as u64), 1 + c.below(3));
    let init = &mut std::mem::take(init).dtype(c.one(&[DType::F32, DType::F32, DType::F64, DType::BF16]));
    let model = Sequential::new().then(nn::Linear::new(2, width, init));
    let model = if c.once_in(4) { model.then(BatchNorm1d::new(width, init)) } else { model };
    let model = if c.once_in(4) { model.then(Dropout::new(0.5, init)) } else { model };
    let mut model = model.then(Relu).then(nn::Linear::new(width, 1, init));
    if c.once_in(6) {
        model.freeze_matching(c.one(&["*", "*bias", "0*"]));
    }
    model
}

fn gradients(c: &mut Chance, model: &Sequential) -> Result<Gradients> {
    let dtype = model.parameters()[0].1.dtype()?;
    let x = Tensor::normal([3, 2], 0.0, c.one(&[1.0, 1.0, 1.0, 0.0, 1e30, 1e-30]), &mut c.random).to_dtype(dtype);
    model.forward(&x).square().mean().backward()
}

fn group(c: &mut Chance) -> Group {
    let group = Group::matching(c.one(&["*", "0*", "*bias", "", "**", "none"]));
    match c.below(4) {
        0 => group.with_betas(c.rate(), c.rate()),
        1 => group.with_switch(c.one(Setting::ALL), c.coin()),
        _ => group.with(c.one(Setting::ALL), c.real(&[0.0, 0.01, 0.5])),
    }
}

/// An optimizer of any rule, with any settings.
fn optimizer(c: &mut Chance) -> Box<dyn Optimizer> {
    let rate = c.real(&[0.1, 1e-3, 10.0]);
    fn set<R: Rule + 'static>(c: &mut Chance, mut rule: R) -> Box<dyn Optimizer> {
        for _ in 0..c.below(3) {
            rule.core_mut().set(c.one(Setting::ALL), c.real(&[0.0, 0.01, 0.5, 0.9, 1.0]));
        }
        if c.once_in(3) {
            rule.core_mut().add_group(group(c));
        }
        if c.coin() {
            rule.core_mut().allow_missing();
        }
        Box::new(rule)
    }
    match c.below(16) {
        0 => set(c, Sgd::new(rate).with_momentum(c_rate(rate)).nesterov()),
        1 => set(c, Sgd::new(rate)),
        2 => set(c, Adam::new(rate).amsgrad()),
        3 => set(c, Adam::new(rate)),
        4 => set(c, AdamW::new(rate).amsgrad()),
        5 => set(c, RmsProp::new(rate).centered()),
        6 => set(c, Adagrad::new(rate)),
        7 => set(c, Adadelta::new(rate)),
        8 => set(c, Adamax::new(rate)),
        9 => set(c, NAdam::new(rate).decoupled()),
        10 => set(c, RAdam::new(rate).maximize()),
        11 => set(c, Lamb::new(rate)),
        12 => set(c, Lion::new(rate)),
        13 => {
            let rounds = c.below(7);
            set(c, Muon::new(rate).with_rounds(rounds).without_nesterov())
        }
        14 => set(c, Muon::new(rate).matched_size().with_adamw_on("*bias")),
        _ => set(c, Adafactor::new(rate)),
    }
}

/// A momentum for a rate.
fn c_rate(rate: f64) -> f64 {
    if rate > 0.05 { 0.9 } else { 0.0 }
}

fn numbers(model: &Sequential) -> Vec<Vec<f64>> {
    let bits = |parameter: &Parameter| parameter.to_vec::<f64>().expect("a model that has its numbers");
    model.parameters().into_iter().map(|(_, parameter)| bits(parameter)).collect()
}

fn same(first: &[Vec<f64>], second: &[Vec<f64>]) -> bool {
    first.iter().flatten().map(|x| x.to_bits()).eq(second.iter().flatten().map(|x| x.to_bits()))
}

fn stepped(c: &mut Chance) -> Result<()> {
    let (mut model, mut optimizer) = (model(c), optimizer(c));
    for _ in 0..2 {
        let mut gradients = gradients(c, &model)?;
        match c.below(8) {
            0 => drop(gradients.clip_norm(c.real(&[1.0, 0.5]))?),
            1 => drop(gradients.clip_norm_of(c.real(&[1.0]), c.real(&[1.0, 2.0, f64::INFINITY]))?),
            2 => gradients.clip_value(c.real(&[1.0]))?,
            3 => gradients.scale(c.real(&[0.5]))?,
            5 => gradients.add(&self::gradients(c, &model)?)?,
            6 => optimizer.keep_only(&self::model(c)),
            4 => {
                let other = gradients.norm_of(c.real(&[1.0, 3.0]))?;
                assert!(other >= 0.0 || other.is_nan());
                let _ = gradients.is_finite()?;
            }
            _ => {}
        }
        if c.once_in(4) {
            optimizer.set_rates(&[c.real(&[0.1]), c.real(&[0.2]), 0.3][..c.below(4)]);
            optimizer.set_momentum(c.rate());
            let _ = (optimizer.rate(), optimizer.momentum());
        }
        let before = numbers(&model);
        if let Err(error) = optimizer.step(&mut model, &gradients) {
            assert!(same(&before, &numbers(&model)), "a refused step has moved the model");
            return Err(error);
        }
    }
    // From its state another one goes on with the same bits.
    let state = optimizer.state(&model).expect("an optimizer that steps has a state");
    let (gradients, before) = (gradients(c, &model)?, model.state()?);
    optimizer.step(&mut model, &gradients)?;
    let first = numbers(&model);
    model.load_state(&before).expect("its own state");
    optimizer.load_state(&model, &state).expect("its own state");
    optimizer.step(&mut model, &gradients)?;
    assert!(same(&first, &numbers(&model)), "from its own state it takes another step");
    Ok(())
}

fn lbfgs(c: &mut Chance) -> Result<()> {
    let mut model = model(c);
    let dtype = model.parameters()[0].1.dtype()?;
    let x = Tensor::normal([3, 2], 0.0, 1.0, &mut c.random).to_dtype(dtype);
    let mut optimizer = Lbfgs::new(c.real(&[1.0, 0.1])).with_iterations(c.below(4)).with_history(c.count(4));
    if c.coin() {
        optimizer = optimizer.with_line_search();
    }
    if c.coin() {
        optimizer = optimizer.with_evaluations(c.count(9));
    }
    if c.coin() {
        optimizer = optimizer.with_tolerances(c.real(&[1e-7]), c.real(&[1e-9]));
    }
    for _ in 0..2 {
        let loss = |model: &Sequential| Ok(model.forward(&x).square().mean());
        let _ = optimizer.step_with(&mut model, loss)?;
    }
    let state = optimizer.state(&model).expect("an optimizer that steps has a state");
    optimizer.load_state(&model, &state).expect("its own state");
    Ok(())
}

fn schedule(c: &mut Chance) -> Box<dyn Schedule> {
    let (steps, factor, other) = (c.steps(5), c.real(&[0.1, 0.5]), c.real(&[0.01, 1.0]));
    match c.below(14) {
        0 => Box::new(OneCycle::new(factor, steps).with_rising(c.rate()).with_divisors(other, c.real(&[1e4])).linear()),
        1 => Box::new(OneCycle::new(factor, steps).three_phases().with_momentum(factor, other)),
        2 => Box::new(Cyclic::new(other, factor, steps).with_down(c.steps(4)).halving()),
        3 => Box::new(Cyclic::new(other, factor, steps).shrinking(c.rate()).with_momentum(factor, other)),
        4 => Box::new(StepDecay::new(steps).with_factor(factor)),
        5 => Box::new(MultiStep::new([steps, c.steps(4)]).with_factor(factor)),
        6 => Box::new(Exponential::new(factor)),
        7 => Box::new(chainrule::optim::schedule::Linear::new(factor, other, steps)),
        8 => Box::new(Constant::new(factor, steps)),
        9 => Box::new(Polynomial::new(steps, other)),
        10 => Box::new(Cosine::new(steps).with_minimum(other)),
        11 => Box::new(WarmRestarts::new(steps).with_growth(c.steps(4)).with_minimum(other)),
        12 => Box::new(Exponential::new(factor).times(StepDecay::new(steps)).after_warm_up(c.steps(4))),
        _ => Box::new(Cosine::new(steps).then_at(c.steps(4), Constant::new(factor, steps))),
    }
}

fn scheduled(c: &mut Chance) -> Result<()> {
    let (mut optimizer, schedule, base) = (optimizer(c), schedule(c), c.real(&[0.1]));
    for step in [0, 1, 2, 3, 5, 1 << 53, u64::MAX - 1, u64::MAX] {
        let _ = (schedule.rate(base, step), schedule.momentum(step));
    }
    let mut scheduler = schedule.start(&mut *optimizer);
    for _ in 0..5 {
        scheduler.step(&mut *optimizer);
    }
    let rates: Vec<u64> = optimizer.rates().into_iter().map(f64::to_bits).collect();
    let state = scheduler.state()?;
    scheduler.step(&mut *optimizer);
    scheduler.load_state(&mut *optimizer, &state).expect("its own state");
    assert_eq!(rates, optimizer.rates().into_iter().map(f64::to_bits).collect::<Vec<_>>(), "after its own state");

    let mut plateau = Plateau::new().with_factor(c.rate()).with_patience(c.steps(3)).with_cooldown(c.steps(3));
    plateau = if c.coin() { plateau.with_threshold(c.rate()) } else { plateau.with_absolute_threshold(c.rate()) };
    plateau = plateau.with_minimum(c.real(&[0.0, 0.01]));
    for _ in 0..5 {
        let _ = plateau.step(&mut *optimizer, c.real(&[1.0, 0.5]));
    }
    let state = plateau.state()?;
    plateau.load_state(&state)
}

fn averaged(c: &mut Chance) -> Result<()> {
    let mut model = model(c);
    let other = self::model(c);
    let mut ema = Ema::new(&model, c.rate());
    let mut swa = Swa::new(&model);
    for _ in 0..2 {
        let from = if c.once_in(6) { &other } else { &model };
        swa.update(from)?;
        ema.update(from)?;
    }
    let (first, second) = (ema.state()?, swa.state()?);
    ema.load_state(&first).expect("its own state");
    swa.load_state(&second).expect("its own state");
    ema.copy_to(&mut model)?;
    swa.copy_to(&mut model)
}

fn scaled(c: &mut Chance) -> Result<()> {
    let (mut model, mut optimizer) = (model(c), optimizer(c));
    let mut scaler = LossScaler::new().with_scale(c.real(&[1024.0, 65536.0])).with_backoff(c.real(&[0.5]));
    scaler = scaler.with_growth(c.real(&[2.0]), c.steps(3));
    for _ in 0..3 {
        let x = Tensor::normal([3, 2], 0.0, c.one(&[1.0, 1.0, 1e30]), &mut c.random);
        let x = x.to_dtype(model.parameters()[0].1.dtype()?);
        let mut gradients = scaler.scale(&model.forward(&x).square().mean()).backward()?;
        if !c.once_in(8) {
            scaler.unscale(&mut gradients)?;
        }
        scaler.step(&mut *optimizer, &mut model, &gradients)?;
        assert!(scaler.current()?.is_finite(), "the scale is {}", scaler.current()?);
    }
    let state = scaler.state()?;
    scaler.load_state(&state)
}

/// A state of one thing is no state of another.
fn mixed_up(c: &mut Chance) -> Result<()> {
    let (model, other) = (model(c), self::model(c));
    let (mut first, second) = (optimizer(c), optimizer(c));
    let before = first.rates();
    let foreign = match c.below(5) {
        0 => second.state(&other)?,
        1 => other.state()?,
        2 => Ema::new(&model, 0.5).state()?,
        3 => first.state(&model)?,
        _ => Cosine::new(4).start(&mut *optimizer(c)).state()?,
    };
    let mut changed = model.clone();
    let loaded = changed.load_state(&foreign);
    if loaded.is_err() {
        assert!(same(&numbers(&model), &numbers(&changed)), "a refused state has moved the model");
    }
    let report = model.clone().load_tensors(other.tensors()?);
    let _ = (report.matched().len(), report.missing().len(), report.strict().is_ok());
    let mut scaler = LossScaler::new();
    let _ = scaler.load_state(&foreign);
    let outcome = first.load_state(&model, &foreign);
    if outcome.is_err() {
        assert_eq!(before.len(), first.rates().len());
    }
    outcome.or(loaded)
}

/// Any metric, with what it is told and what it says.
fn metric(c: &mut Chance) -> Box<dyn Metric> {
    let (classes, ignored, threshold) = (1 + c.below(4), c.one(&[-100, 0, 1, i64::MIN]), c.real(&[0.5]));
    match c.below(10) {
        0 | 1 => Box::new(Accuracy::new().with_threshold(threshold).with_ignore_index(ignored)),
        2 => Box::new(TopK::new(c.size(3)).with_ignore_index(ignored)),
        3 | 4 => {
            let confusion = Confusion::new(if c.once_in(8) { c.count(4) } else { classes });
            let _ = (confusion.count(c.count(3), c.count(3)), confusion.support(c.count(3)), confusion.f1(c.count(3)));
            let average = c.one(&[Average::Macro, Average::Micro, Average::Weighted]);
            let confusion = confusion.with_names(["a", "b"]).with_average(average).with_threshold(threshold);
            Box::new(confusion.with_ignore_index(ignored))
        }
        5 => Box::new(Perplexity::new().with_ignore_index(ignored)),
        6 => Box::new(if c.coin() {
            RocAuc::new()
        } else {
            RocAuc::one_vs_rest(if c.once_in(8) { c.count(3) } else { classes }).with_softmax()
        }),
        7 => Box::new(AveragePrecision::new()),
        _ => Box::new(Regression::new()),
    }
}

fn told(c: &mut Chance) -> Result<()> {
    let mut metric = metric(c);
    let (rows, classes) = (c.below(5), 1 + c.below(4));
    for _ in 0..2 {
        let scores = if c.coin() { c.fitting(&[rows, classes]) } else { c.fitting(&[rows]) };
        let target = if c.coin() { c.whole(&[rows], classes) } else { c.like(&scores) };
        metric.update(&scores, &target)?;
    }
    let _ = metric.picture();
    let before = metric.measures()?;
    assert!(before.iter().all(|(name, _)| !name.is_empty()));
    metric.reset();
    match metric.measures() {
        Ok(_) => Ok(()),
        Err(error) if c.once_in(10) => Err(error),
        Err(_) => Ok(()),
    }
}

fn trained(c: &mut Chance) -> Result<()> {
    let (mut model, mut optimizer) = (model(c), optimizer(c));
    if !c.once_in(8) {
        model.cast(DType::F32)?;
    }
    let count = 2 + c.below(6);
    let x = Tensor::normal([count, 2], 0.0, 1.0, &mut c.random);
    let y = if c.once_in(12) { c.fitting(&[count, 1]) } else { x.sum_keep(1) };
    let loader = Loader::new(Examples::new(&x, &y)?, c.size(4)).shuffled(1);
    let odd = Loader::new(Examples::new(&c.fitting(&[count, 2]), &y)?, c.size(4));
    let mut trainer = Trainer::supervised(mse_loss).with_epochs(c.below(3) as u64).with_progress(Progress::Quiet);
    for option in 0..14 {
        if c.once_in(6) {
            trainer = match option {
                0 => trainer.with_schedule(schedule(c)),
                1 => trainer.with_epoch_schedule(schedule(c)),
                2 => trainer.with_plateau(Plateau::new().with_factor(c.rate()), goal(c)),
                3 => trainer.with_validation(if c.once_in(3) { &odd } else { &loader }),
                4 => trainer.with_validation_every(c.steps(3)),
                5 => trainer.with_evaluation(c.one(&["test", "", "loss", "train"]), &loader),
                6 => trainer.with_metric(Regression::new()),
                7 => trainer.with_clip_norm(c.real(&[1.0])),
                8 => trainer.with_clip_value(c.real(&[1.0])),
                9 => trainer.with_accumulation(c.count(4)),
                10 => trainer.with_early_stop(stop(c)),
                11 => trainer.with_goal(goal(c)).with_best_kept(),
                12 => trainer.with_average(c.rate()),
                _ => trainer.with_epoch_average(c.steps(3)),
            };
        }
    }
    let history = trainer.fit(&mut model, &mut *optimizer, &loader)?;
    let _ = (history.csv(), history.json(), history.curves().svg(), history.best(), history.stopped());
    let _ = predict(&model, &odd, |model: &Sequential, batch: &Batch| model.forward(&batch.input));
    trainer.evaluate(&model, &loader).map(drop)
}

fn goal(c: &mut Chance) -> Goal {
    let measure = c.one(&["loss", "validation loss", "r2", "", "none"]);
    if c.coin() { Goal::lowest(measure) } else { Goal::highest(measure) }
}

fn stop(c: &mut Chance) -> EarlyStop {
    EarlyStop::lowest(c.one(&["loss", "validation loss", "none"])).with_patience(c.steps(3)).with_margin(c.rate())
}

/// What a model did, told and drawn.
fn explained(c: &mut Chance) -> Result<()> {
    let mut model = model(c);
    let x = if c.once_in(8) { c.fitting(&[3, 2]) } else { Tensor::ones([3, 2]) };
    let x = x.to_dtype(model.parameters()[0].1.dtype()?);
    let ((), profile) = profile(|| drop(model.forward(&x).square().mean().backward()));
    let _ = (profile.to_string(), profile.operations(), profile.total());
    let mut traced = trace(|| if c.once_in(6) { model.forward(&x) } else { model.forward(&x).square().mean() })?;
    let _ = (traced.findings(), traced.graphviz(), traced.mermaid(), traced.json(), traced.html("a <title>"));
    let place = traced.operations().len().wrapping_sub(1);
    let _ = (traced.place(place), traced.place(c.count(4)), traced.loss());
    traced.update(&mut model, &mut Sgd::new(c.real(&[0.1])))
}

fn drawn(c: &mut Chance) -> Result<()> {
    let odd = [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN, 5e-324];
    let list: Vec<f64> = (0..c.below(5)).map(|_| c.one(&odd)).collect();
    let points: Vec<(f64, f64)> = list.iter().map(|&x| (x, c.one(&odd))).collect();
    let picture = match c.below(4) {
        0 => {
            let chart =
                LineChart::new("<&>").with_axes("x", "y").with_line("a", points.clone()).with_faint_line(points);
            let chart = if c.coin() { chart.with_logarithmic() } else { chart };
            if c.coin() { chart.with_size(c.one(&odd), c.one(&odd)) } else { chart }.picture()
        }
        1 => {
            let rows: Vec<Vec<f64>> = (0..c.below(4)).map(|row| list[..list.len().min(row)].to_vec()).collect();
            HeatMap::new("heat", &rows).with_names(["a"], ["b", "c"]).with_shades(&[list]).picture()
        }
        2 => Distributions::new("all").with_panel("a", &[Histogram::of(list, c.size(4))]).picture(),
        _ => Tiles::new("tiles", &c.tensor(0..=4))?.picture(),
    };
    let _ = (picture.width(), picture.height(), picture.svg());
    Ok(())
}

const LOSSES: &[Attempt<Result<()>>] = &[("compared", compared), ("classified", classified)];

const STEPS: &[Attempt<Result<()>>] = &[
    ("step", stepped),
    ("lbfgs", lbfgs),
    ("schedule", scheduled),
    ("average", averaged),
    ("scaler", scaled),
    ("states", mixed_up),
];

const TRAINING: &[Attempt<Result<()>>] =
    &[("metric", told), ("trainer", trained), ("explained", explained), ("drawn", drawn)];

#[test]
fn losses() {
    search(LOSSES, |result| vec![result]);
}

#[test]
fn optimizers() {
    search(STEPS, |result| vec![result]);
}

#[test]
fn training() {
    search(TRAINING, |result| vec![result]);
}
