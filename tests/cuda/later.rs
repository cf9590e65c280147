//! Reads that are taken later, and a trainer that looks one batch late: nobody waits before, numbers and errors are the same.

use super::{device, optimizer};
use chainrule::data::{Batch, Examples, Loader};
use chainrule::loss::{
    binary_cross_entropy, cross_entropy, gaussian_nll_loss, hinge_embedding_loss, margin_ranking_loss, mse_loss,
    soft_margin_loss,
};
use chainrule::nn::{BatchNorm1d, Dropout, Init, Layer, Linear, Module, Relu, Sequential};
use chainrule::optim::schedule::OneCycle;
use chainrule::optim::{Adam, NAdam, Optimizer, Sgd};
use chainrule::train::{History, Progress, Trainer, View};
use chainrule::{Combine, DType, Device, ErrorKind, Random, Result, Tensor};
use std::cell::RefCell;

#[test]
fn what_is_asked_for_comes_when_it_is_taken() -> Result<()> {
    let Some(device) = device("later::what_is_asked_for_comes_when_it_is_taken") else { return Ok(()) };
    let mut layer = Linear::new(3, 2, &mut Init::on(&device).seed(1));
    let x = Tensor::ones([2, 3]).to(device);
    let before = layer.weight.to_vec::<f32>()?;
    let (reads, waits) = (device.reads(), device.waits());
    let asked: Vec<_> = (0..200).map(|i| (&x * i as f64).sum().read_later()).collect();
    let weight = layer.weight.read_later();
    let views = [x.transpose(0, 1), x.narrow(0, 0, 0), x.greater(0.5), (&x * 0.5).to_dtype(DType::BF16)];
    let there: Vec<_> = views.iter().map(Tensor::read_later).collect();
    // What is written over it since is not what was asked for.
    let loss = layer.forward(&x).square().sum();
    Sgd::new(0.1).step(&mut layer, &loss.backward()?)?;
    let large = Tensor::arange(300_000).to(device).read_later();
    assert_eq!((device.reads(), device.waits()), (reads + 206, waits));
    // On the stand-in driver nothing is done before somebody waits; a GPU may be done with anything.
    assert!(crate::emulator::is_real() || !weight.is_ready());
    assert_eq!(weight.to_vec::<f32>()?, before);
    assert_ne!(layer.weight.to_vec::<f32>()?, before);
    for (i, sum) in asked.into_iter().enumerate() {
        assert!(sum.is_ready(), "it was called before what has been waited for");
        assert_eq!(sum.item()?, 6.0 * i as f64);
    }
    for (view, there) in views.iter().zip(there) {
        let there = there.take()?;
        assert_eq!((there.device()?, there.dtype()?), (Device::Cpu, view.dtype()?));
        assert_eq!(&there, view);
    }
    // What nobody takes is no hindrance.
    drop((&x * 7.0).read_later());
    assert_eq!((&x * 8.0).sum().read_later().item()?, 48.0);
    assert_eq!(large.take()?, Tensor::arange(300_000));
    Ok(())
}

#[test]
fn errors_come_out_when_it_is_taken() -> Result<()> {
    let Some(device) = device("later::errors_come_out_when_it_is_taken") else { return Ok(()) };
    let failed = (Tensor::zeros([2]).to(device) + Tensor::zeros([3]).to(device)).read_later();
    assert!(failed.is_ready());
    assert_eq!(failed.take().unwrap_err().operation(), "add");
    assert!(Tensor::zeros([2]).to(device).read_later().item().unwrap_err().to_string().contains("one number"));

    let table = Tensor::from([[1.0], [2.0]]).to(device);
    let rows = |at: i64| table.take_slices(0, &Tensor::from([0, at]).to(device));
    let earlier = (&table + 1.0).read_later();
    let (wrong, right) = (rows(7), rows(1));
    // Asked for before the wrong one was known; what is made after it counts as failed with it.
    let (asked, other, table_later) = (wrong.read_later(), right.read_later(), table.read_later());
    let waits = device.waits();
    assert_eq!(earlier.to_vec::<f32>()?, [2.0, 3.0]);
    assert_eq!(device.waits(), waits + 1);
    for later in [asked, other] {
        let error = later.take().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Index, "read_later"));
        assert!(error.to_string().contains("index 7 at [1] is out of range"), "{error}");
    }
    assert_eq!(table_later.to_vec::<f32>()?, [1.0, 2.0]);
    assert_eq!(rows(1).read_later().to_vec::<f32>()?, [1.0, 2.0]);
    // Checks that found nothing are forgotten by late reads too, though there are thousands.
    let ids = Tensor::from([0, 1]).to(device);
    let waits = device.waits();
    let mut before = None;
    for _ in 0..5000 {
        let sum = ids.embedding(&table).sum().read_later();
        before.replace(sum).map_or(Ok(0.0), |sum| sum.item())?;
    }
    assert!(device.waits() <= waits + 5000, "{} waits", device.waits() - waits);

    let mut step = device.capture(|| Ok(&table * table.read_later().take()?.sum().item()?));
    let _ = step.replay()?;
    assert!(step.replay().unwrap_err().to_string().contains("reads numbers of the GPU"));
    Ok(())
}

/// A thread that reads all the time looks at the word of the checks between another's check and its kernel.
#[test]
fn what_a_check_finds_is_not_lost_to_another_thread() -> Result<()> {
    let Some(device) = device("later::what_a_check_finds_is_not_lost_to_another_thread") else { return Ok(()) };
    let (table, bad) = (Tensor::from([[1.0], [2.0]]).to(device), Tensor::from([0, 7]).to(device));
    let others: Tensor = Tensor::arange(1000).to(device);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut lost = 0;
            for round in 0.. {
                if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                assert_eq!(others.to_vec::<i64>().map(|numbers| numbers.len()).ok(), Some(1000));
                // Sometimes it has one of its own to find.
                lost += (round % 3 == 0 && bad.embedding(&table).to_vec::<f32>().is_ok()) as usize;
            }
            lost
        });
        let lost = (0..600).filter(|_| bad.embedding(&table).to_vec::<f32>().is_ok()).count();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!((lost, reader.join().expect("the reader goes on")), (0, 0), "of 600");
    });
    Ok(())
}

/// Everything that training changes.
fn model(device: Device) -> Sequential {
    let mut init = Init::on(&device).seed(5);
    Sequential::new()
        .then(Linear::new(3, 8, &mut init))
        .then(BatchNorm1d::new(8, &mut init))
        .then(Relu)
        .then(Dropout::new(0.3, &mut init))
        .then(Linear::new(8, 2, &mut init))
        .named()
}

/// Points on two sides of a plane; the class of one may be none.
fn points(wrong: Option<usize>) -> Result<Examples> {
    let x = Tensor::normal([44, 3], 0.0, 1.0, &mut Random::new(2));
    let mut sides = x.select(1, 0).greater(0.0).to_dtype(DType::I64).to_vec::<i64>()?;
    if let Some(wrong) = wrong {
        sides[wrong] = 5;
    }
    Examples::new(&x, &Tensor::from_vec(sides, [44])?)
}

/// Bytes of all that a model and its optimizer keep.
fn kept(model: &Sequential, optimizer: &dyn Optimizer) -> Result<String> {
    Ok(format!("{:?} {:?}", model.state()?, optimizer.state(model)?))
}

#[test]
fn a_trainer_looks_one_batch_late_at_the_same_numbers() -> Result<()> {
    let Some(device) = device("later::a_trainer_looks_one_batch_late_at_the_same_numbers") else { return Ok(()) };
    let loader = Loader::new(points(None)?, 8).shuffled(3).on(device);
    let test = Loader::new(points(None)?, 16).on(device);
    type Wish = for<'a> fn(Trainer<'a, Sequential, Batch>) -> Trainer<'a, Sequential, Batch>;
    let wishes: [(&str, Wish); 4] = [
        ("plain", |trainer| trainer),
        ("norm", |trainer| trainer.with_clip_norm(0.5)),
        ("value", |trainer| trainer.with_clip_value(0.05).with_average(0.9)),
        ("groups", |trainer| trainer.with_accumulation(4).with_validation_every(1)),
    ];
    for (name, wish) in wishes {
        // A callback is told of each step: that waits.
        let run = |waits: bool| -> Result<(History, String, Vec<u64>)> {
            let (mut model, mut optimizer) = (model(device), NAdam::new(0.01));
            let (seen, begun) = (RefCell::new(Vec::new()), device.waits());
            let trainer = Trainer::new(|model: &Sequential, batch: &Batch| {
                seen.borrow_mut().push(device.waits() - begun);
                cross_entropy(&model.forward(&batch.input), &batch.target)
            });
            let trainer = trainer.with_epochs(2).with_schedule(OneCycle::new(0.02, 12)).with_progress(Progress::Quiet);
            let mut trainer = wish(trainer.with_validation(&test));
            if waits {
                trainer = trainer.with_callback(|_: &View<Sequential>| ());
            }
            let history = trainer.fit(&mut model, &mut optimizer, &loader)?;
            drop(trainer);
            Ok((history, kept(&model, &optimizer)?, seen.into_inner()))
        };
        let ((late, state, seen), (waited, same, waits)) = (run(false)?, run(true)?);
        assert_eq!((late.steps(), late.epochs()), (waited.steps(), waited.epochs()), "{name}");
        assert_eq!(state, same, "{name}");
        assert_eq!(late.between().len(), waited.between().len());
        assert!(waits[1] > 0 && seen[1] == 0, "{name}: {seen:?}, where it waits {waits:?}");
        if name == "plain" {
            // The first batch is looked at after the second was learnt, its loss and whether its step happened.
            assert_eq!(seen[2], if crate::emulator::is_real() { seen[2] } else { 2 }, "{seen:?}");
        }
    }
    Ok(())
}

#[test]
fn what_is_found_late_has_changed_nothing() -> Result<()> {
    let Some(device) = device("later::what_is_found_late_has_changed_nothing") else { return Ok(()) };
    // What goes wrong with the fourth of six batches.
    let scores = |model: &Sequential, batch: &Batch| model.forward(&batch.input);
    for (kind, wrong) in [("class", Some(29)), ("loss", None), ("gradient", None)] {
        for name in ["nadam", "lamb", "muon", "adafactor"] {
            let judge = |model: &Sequential, batch: &Batch| {
                let loss = cross_entropy(&scores(model, batch), &batch.target);
                // The input says whether it is the batch.
                let is_fourth = batch.input.sum().equal(fourth(device)).to_dtype(DType::F32);
                match kind {
                    "loss" => loss + (1.0 - is_fourth).ln().minimum(0.0),
                    "gradient" => loss + (scores(model, batch).sum() * 0.0 + 1.0 - is_fourth).sqrt(),
                    _ => loss,
                }
            };
            let loader = |wrong: Option<usize>| Ok::<_, chainrule::Error>(Loader::new(points(wrong)?, 8).on(device));
            let fit = |steps: Option<u64>| -> Result<(Sequential, Box<dyn Optimizer>, Option<chainrule::Error>)> {
                let (mut model, mut optimizer) = (model(device), optimizer(name, 0.01));
                let mut trainer = Trainer::new(judge).with_progress(Progress::Quiet);
                if let Some(steps) = steps {
                    trainer = trainer.with_callback(move |view: &View<Sequential>| match view.step == steps {
                        true => chainrule::train::Flow::Stop,
                        false => chainrule::train::Flow::Continue,
                    });
                }
                let schedule = OneCycle::new(0.02, 12);
                let wrong = if steps.is_none() { wrong } else { None };
                let mut trainer = trainer.with_schedule(schedule);
                let outcome = trainer.fit(&mut model, &mut *optimizer, &loader(wrong)?);
                drop(trainer);
                Ok((model, optimizer, outcome.err()))
            };
            let (before, counted, none) = fit(Some(3))?;
            assert!(none.is_none(), "{none:?}");
            let (mut model, mut optimizer, error) = fit(None)?;
            let error = error.unwrap_or_else(|| panic!("{kind} {name}: no error"));
            let text = error.to_string();
            match kind {
                "class" => assert!(text.contains("class 5") || text.contains(" 5 "), "{text}"),
                "loss" => {
                    assert_eq!((error.kind(), error.operation()), (ErrorKind::NonFinite, "ln"), "{name}: {text}");
                    assert!(error.what().contains("in batch 4 of epoch 1, before step 4"), "{text}");
                }
                _ => {
                    assert_eq!((error.kind(), error.operation()), (ErrorKind::NonFinite, "sqrt"), "{name}: {text}");
                    assert!(error.what().contains("the gradients are not finite in batch 4"), "{text}");
                }
            }
            assert_eq!(kept(&model, &*optimizer)?, kept(&before, &*counted)?, "{kind} {name}");
            // It goes on from there.
            let mut trainer = Trainer::supervised(cross_entropy).with_progress(Progress::Quiet);
            trainer.fit(&mut model, &mut *optimizer, &loader(None)?)?;
        }
    }
    Ok(())
}

/// Where bags start is not read, and wrong starts are told with what is made of them.
#[test]
fn bags_start_where_nobody_looks() -> Result<()> {
    let Some(device) = device("later::bags_start_where_nobody_looks") else { return Ok(()) };
    let (words, table) = (Tensor::from([0, 2, 1, 1, 0]), Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
    let bags = |device: Device, starts: &Tensor, combine: Combine| {
        words.to(device).embedding_bag(&table.to(device), Some(&starts.to(device)), combine)
    };
    for starts in [vec![0], vec![0, 2, 2, 4], vec![0, 0, 5], vec![0, 5]] {
        let starts = Tensor::from_slice(&starts, [starts.len()])?;
        for combine in [Combine::Sum, Combine::Mean, Combine::Largest] {
            let reads = device.reads();
            let there = bags(device, &starts, combine);
            assert_eq!(device.reads(), reads);
            assert_eq!(there, bags(Device::Cpu, &starts, combine), "{starts} {combine:?}");
        }
    }
    for (starts, said) in [([1, 2, 3], "start 0 is 1"), ([0, 3, 2], "start 2 is 2"), ([0, 2, 6], "start 2 is 6, of 5")]
    {
        let error = bags(device, &Tensor::from(starts), Combine::Sum).to_vec::<f32>().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(bags(Device::Cpu, &Tensor::from(starts), Combine::Sum).checked().is_err());
    }
    Ok(())
}

/// Also where the very first step is the one that was none: what the optimizer began to remember in it is begun anew.
#[test]
fn a_training_that_fails_at_once_can_begin_again() -> Result<()> {
    let Some(device) = device("later::a_training_that_fails_at_once_can_begin_again") else { return Ok(()) };
    let fit = |model: &mut Sequential, optimizer: &mut dyn Optimizer, wrong: Option<usize>| {
        let loader = Loader::new(points(wrong)?, 8).on(device);
        Trainer::supervised(cross_entropy).with_progress(Progress::Quiet).fit(model, optimizer, &loader)
    };
    let (mut once, mut first) = (model(device), Adam::new(0.01));
    fit(&mut once, &mut first, None)?;
    let (mut again, mut second) = (model(device), Adam::new(0.01));
    assert!(fit(&mut again, &mut second, Some(3)).unwrap_err().to_string().contains('5'));
    fit(&mut again, &mut second, None)?;
    assert_eq!(kept(&again, &second)?, kept(&once, &first)?);
    Ok(())
}

/// The sum of the inputs of the fourth batch.
fn fourth(device: Device) -> Tensor {
    let points = points(None).expect("points");
    points.input().narrow(0, 24, 8).to(device).sum()
}

#[test]
fn what_goes_wrong_at_once_is_told_too() -> Result<()> {
    let Some(device) = device("later::what_goes_wrong_at_once_is_told_too") else { return Ok(()) };
    // The fourth batch has other sizes; the third has a loss that is infinite, which is found after it.
    let rows = move |number: usize, columns: usize| {
        let x = Tensor::ones([2, columns]) * if number == 2 { 1e38 } else { 1.0 };
        (x.to(device), Tensor::zeros([2, 1]).to(device))
    };
    let mut model = Linear::new(3, 1, &mut Init::on(&device).seed(3));
    let before = model.weight.to_vec::<f32>()?;
    struct Rows<F>(F, usize);
    impl<F: Fn(usize) -> (Tensor, Tensor) + Send + Sync> chainrule::data::Dataset for Rows<F> {
        type Item = (Tensor, Tensor);
        fn len(&self) -> usize {
            self.1
        }
        fn item(&self, index: usize, _: &mut Random) -> Result<Self::Item> {
            Ok((self.0)(index))
        }
    }
    for (infinite, said) in [(true, "the loss is"), (false, "linear")] {
        let data = Rows(move |at: usize| rows(if infinite { at } else { 0 }, if at == 3 { 4 } else { 3 }), 6);
        let loader = Loader::new(data, 1);
        let mut trainer = Trainer::new(|model: &Linear, (x, y): &(Tensor, Tensor)| {
            mse_loss(&model.forward(&x.select(0, 0)), &y.select(0, 0))
        });
        trainer = trainer.with_progress(Progress::Quiet);
        let error = trainer.fit(&mut model, &mut Adam::new(0.0), &loader).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(model.weight.to_vec::<f32>()?, before);
    }
    Ok(())
}

/// Losses whose targets or inputs must be of a kind: nobody reads them, and a wrong one is told with the loss.
#[test]
fn losses_that_look_at_what_they_are_given_do_not_wait() -> Result<()> {
    let Some(device) = device("later::losses_that_look_at_what_they_are_given_do_not_wait") else { return Ok(()) };
    let mut random = Random::new(4);
    let [x, y] = [0, 1].map(|_| Tensor::uniform([600], 0.1..0.9, &mut random));
    let signs = (Tensor::arange(600).remainder(2.0) * 2.0 - 1.0).to_dtype(DType::F32);
    type Loss = fn(&Tensor, &Tensor, &Tensor) -> Tensor;
    let losses: [(Loss, usize, f64, &str); 5] = [
        (|x, y, _| binary_cross_entropy(x, y), 0, 1.5, "an input is no probability"),
        (|x, y, signs| margin_ranking_loss(x, y, signs), 2, 0.5, "the target 599 is 0.5"),
        (|x, _, signs| hinge_embedding_loss(x, signs), 2, 0.0, "the target 599 is 0"),
        (|x, _, signs| soft_margin_loss(x, signs), 2, 3.0, "the target 599 is 3"),
        (|x, y, variance| gaussian_nll_loss(x, y, &variance.abs()), 9, 0.0, ""),
    ];
    for (number, (loss, which, wrong, said)) in losses.into_iter().enumerate() {
        let all = |wrong: Option<f64>, device: Device| {
            let mut all = [&x, &y, &signs].map(|x| x.to_vec::<f32>().expect("numbers"));
            if let Some(wrong) = wrong {
                all[which][599] = wrong as f32;
            }
            all.map(|numbers| Tensor::from_slice(&numbers, [600]).expect("a tensor").to(device))
        };
        let compute = |[x, y, z]: [Tensor; 3]| loss(&x, &y, &z);
        let reads = device.reads();
        let there = compute(all(None, device));
        assert_eq!(device.reads(), reads, "loss {number}");
        let (there, here) = (there.item()?, compute(all(None, Device::Cpu)).item()?);
        assert!((there - here).abs() < 1e-5, "loss {number}: {there}, on the CPU {here}");
        if which < 3 {
            for device in [device, Device::Cpu] {
                let error = compute(all(Some(wrong), device)).item().unwrap_err().to_string();
                assert!(error.contains(said), "{error}");
            }
        }
    }
    let negative = gaussian_nll_loss(&x.to(device), &y.to(device), &signs.to(device));
    assert!(negative.item().unwrap_err().to_string().contains("a variance is -1"));
    Ok(())
}
