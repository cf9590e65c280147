//! Captured steps: what a replay does is what the step does, bit for bit; what cannot be replayed is refused. On the stand-in driver,
//! on every machine; `REQUIRE_CUDA=1` runs it on the machine's own GPU.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

mod emulator;

use chainrule::nn::{BatchNorm1d, Dropout, Embedding, Init, Layer, Linear, Module};
use chainrule::optim::schedule::{ByHand, Cosine, OneCycle, Schedule};
use chainrule::optim::{Adafactor, Adam, AdamW, Ema, Group, Lamb, LossScaler, Muon, NAdam, Optimizer, RAdam, Sgd, Swa};
use chainrule::{DType, Device, Input, Random, Result, State, Tensor, autocast, cross_entropy, module, no_grad};
use emulator::call::launches;

fn device(test: &str) -> Option<Device> {
    emulator::inside(test).then(|| Device::cuda(0).unwrap_or_else(|error| panic!("{error}")))
}

#[derive(Clone)]
struct Model {
    first: Linear,
    norm: BatchNorm1d,
    dropout: Dropout,
    second: Linear,
}
module!(Model { first, norm, dropout, second });

impl Model {
    fn new(device: Device) -> Model {
        let mut init = Init::on(&device).seed(1);
        Model {
            first: Linear::new(3, 5, &mut init),
            norm: BatchNorm1d::new(5, &mut init),
            dropout: Dropout::new(0.4, &mut init),
            second: Linear::new(5, 2, &mut init),
        }
        .named()
    }
    fn loss(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let hidden = self.norm.forward(&self.first.forward(x)).relu();
        cross_entropy(&self.second.forward(&self.dropout.forward(&hidden)), y)
    }
}

fn batch(number: u64) -> (Tensor, Tensor) {
    let mut random = Random::new(100 + number);
    (Tensor::normal([6, 3], 0.0, 1.0, &mut random), Tensor::integers([6], 0..2, &mut random))
}

/// Losses of so many steps, plain ones and from some step on captured ones, and all that is left behind.
fn trained<O: Optimizer, S: Schedule>(
    device: Device,
    captured: bool,
    steps: u64,
    (mut optimizer, schedule): (O, S),
) -> Result<(Vec<Tensor>, [State; 3])> {
    let mut model = Model::new(device);
    let mut schedule = schedule.start(&mut optimizer);
    let mut losses = Vec::new();
    if captured {
        let (x, y) = batch(0);
        let (x, y) = (Input::new(device, &x), Input::new(device, &y));
        let mut step = device.capture(|| {
            let loss = model.loss(&x.tensor(), &y.tensor());
            optimizer.step(&mut model, &loss.backward()?)?;
            schedule.step(&mut optimizer);
            Ok(loss)
        });
        for number in 0..steps {
            let (next_x, next_y) = batch(number);
            // Batches come from the CPU and from the GPU.
            x.set(&if number % 2 == 0 { next_x } else { next_x.to(device) })?;
            y.set(&next_y)?;
            losses.push(step.replay()?);
            // Memory that others take between replays is none that the graph writes.
            let others: Vec<Tensor> = (1..40).map(|rows| Tensor::ones([rows, 3]).to(device) * 2.0).collect();
            drop(others);
        }
    }
    // What was captured goes on plainly.
    for number in losses.len() as u64..steps + 2 {
        let (x, y) = batch(number);
        let loss = model.loss(&x.to(device), &y.to(device));
        optimizer.step(&mut model, &loss.backward()?)?;
        schedule.step(&mut optimizer);
        losses.push(loss);
    }
    let state = [model.state()?, optimizer.state(&model)?, schedule.state()?];
    Ok((losses, state))
}

/// The same bits either way.
fn same<O: Optimizer, S: Schedule>(device: Device, steps: u64, new: impl Fn() -> (O, S)) -> Result<()> {
    let (expected, left) = trained(device, false, steps, new())?;
    let (found, also) = trained(device, true, steps, new())?;
    let bits = |tensors: &[Tensor]| -> Result<Vec<u32>> {
        tensors.iter().map(|tensor| Ok((tensor.item()? as f32).to_bits())).collect()
    };
    assert_eq!(bits(&found)?, bits(&expected)?);
    assert_eq!(format!("{also:?}"), format!("{left:?}"));
    assert!(expected[0].item()? != expected[steps as usize].item()?);
    Ok(())
}

#[test]
fn twenty_replays_are_twenty_steps() -> Result<()> {
    let Some(device) = device("twenty_replays_are_twenty_steps") else { return Ok(()) };
    same(device, 20, || (Adam::new(0.05), Cosine::new(25).after_warm_up(5)))
}

#[test]
fn other_optimizers_and_groups_count_alike() -> Result<()> {
    let Some(device) = device("other_optimizers_and_groups_count_alike") else { return Ok(()) };
    let group = || Group::matching("*.bias").with_rate(0.01).with_weight_decay(0.0);
    same(device, 6, || (AdamW::new(0.05).with_group(group()), OneCycle::new(0.1, 10)))?;
    same(device, 5, || (NAdam::new(0.05).with_group(group()), Cosine::new(10)))?;
    same(device, 4, || (Sgd::new(0.1).with_momentum(0.9), OneCycle::new(0.1, 10)))
}

#[test]
fn optimizers_whose_steps_change_their_form_or_take_norms() -> Result<()> {
    let Some(device) = device("optimizers_whose_steps_change_their_form_or_take_norms") else { return Ok(()) };
    // RAdam begins to divide in its sixth step.
    same(device, 20, || (RAdam::new(0.05).with_weight_decay(0.1), Cosine::new(25)))?;
    let group = || Group::matching("*.bias").with_rate(0.01).with_weight_decay(0.0);
    same(device, 20, || (Lamb::new(0.05).with_group(group()), Cosine::new(25).after_warm_up(5)))
}

#[test]
fn optimizers_that_compute_tensors_with_numbers_of_the_step() -> Result<()> {
    let Some(device) = device("optimizers_that_compute_tensors_with_numbers_of_the_step") else { return Ok(()) };
    let group = || Group::matching("*.bias").with_rate(0.01).with_weight_decay(0.1);
    same(device, 20, || (Adafactor::new(0.05).with_group(group()), Cosine::new(25).after_warm_up(5)))?;
    // The momentum goes up and down with the rate.
    same(device, 20, || (Muon::new(0.05).with_adamw_on("second"), OneCycle::new(0.1, 25)))
}

/// Model and optimizer after steps of which some gradients are not finite. Without a scaler these are not taken.
fn scaled<O: Optimizer>(device: Device, captured: Option<bool>, mut optimizer: O) -> Result<[State; 2]> {
    let mut model = Linear::new(3, 2, &mut Init::on(&device).seed(1));
    let mut scaler = LossScaler::new().with_scale(1024.0).with_growth(2.0, 4);
    let x = Input::new(device, &Tensor::zeros([4, 3]));
    let feed = |number: u64| -> Result<bool> {
        let is_good = ![0, 3, 4, 11].contains(&number);
        let numbers = Tensor::normal([4, 3], 0.0, 1.0, &mut Random::new(number));
        x.set(&(numbers * if is_good { 1.0 } else { f64::INFINITY }))?;
        Ok(is_good)
    };
    let mut step = |is_scaled: bool| -> Result<()> {
        let loss = model.forward(&x.tensor()).square().mean();
        if !is_scaled {
            return optimizer.step(&mut model, &loss.backward()?);
        }
        let mut gradients = scaler.scale(&loss).backward()?;
        scaler.unscale(&mut gradients)?;
        scaler.step(&mut optimizer, &mut model, &gradients)
    };
    match captured {
        None => {
            for number in 0..20 {
                if feed(number)? {
                    step(false)?;
                }
            }
        }
        Some(false) => (0..20).try_for_each(|number| feed(number).and_then(|_| step(true)))?,
        Some(true) => {
            let mut step = device.capture(|| step(true));
            (0..20).try_for_each(|number| feed(number).and_then(|_| step.replay()))?;
        }
    }
    Ok([model.state()?, optimizer.state(&model)?])
}

#[test]
fn a_step_that_is_left_out_does_not_count() -> Result<()> {
    let Some(device) = device("a_step_that_is_left_out_does_not_count") else { return Ok(()) };
    fn all_three<O: Optimizer>(device: Device, new: impl Fn() -> O) -> Result<()> {
        let expected = format!("{:?}", scaled(device, None, new())?);
        for captured in [false, true] {
            assert_eq!(format!("{:?}", scaled(device, Some(captured), new())?), expected, "captured: {captured}");
        }
        Ok(())
    }
    all_three(device, || Adam::new(0.05))?;
    // It keeps a product of all its steps.
    all_three(device, || NAdam::new(0.05))?;
    // Its first step is another one.
    all_three(device, || Sgd::new(0.05).with_momentum(0.9))?;
    all_three(device, || Adafactor::new(0.05))
}

/// A model and what its optimizer remembers, after steps that go over a batch several times.
fn repeated<O: Optimizer>(device: Device, captured: bool, mut optimizer: O) -> Result<[State; 2]> {
    let mut model = Model::new(device);
    let mut schedule = Cosine::new(40).start(&mut optimizer);
    let (x, y) = batch(0);
    let (x, y) = (Input::new(device, &x), Input::new(device, &y));
    let mut pass = || -> Result<Tensor> {
        // The first loss lives on while the next step is taken.
        let mut losses = Vec::new();
        for _ in 0..3 {
            let loss = model.loss(&x.tensor(), &y.tensor());
            optimizer.step(&mut model, &loss.backward()?)?;
            schedule.step(&mut optimizer);
            losses.push(loss);
        }
        Ok(Tensor::stack(&losses, 0).sum())
    };
    let feed = |number: u64| -> Result<()> {
        let (next_x, next_y) = batch(number);
        x.set(&next_x)?;
        y.set(&next_y)
    };
    if captured {
        let mut pass = device.capture(pass);
        (0..10).try_for_each(|number| feed(number).and_then(|()| pass.replay()?.item().map(drop)))?;
    } else {
        (0..10).try_for_each(|number| feed(number).and_then(|()| pass()?.item().map(drop)))?;
    }
    Ok([model.state()?, optimizer.state(&model)?])
}

#[test]
fn a_step_may_go_over_its_batch_several_times() -> Result<()> {
    let Some(device) = device("a_step_may_go_over_its_batch_several_times") else { return Ok(()) };
    fn alike<O: Optimizer>(device: Device, new: impl Fn() -> O) -> Result<()> {
        let [plain, captured] = [repeated(device, false, new())?, repeated(device, true, new())?];
        assert_eq!(format!("{captured:?}"), format!("{plain:?}"));
        Ok(())
    }
    alike(device, || Adam::new(0.05))?;
    alike(device, || Sgd::new(0.05).with_momentum(0.9))?;
    alike(device, || Lamb::new(0.05))?;
    alike(device, || NAdam::new(0.05).with_group(Group::matching("*.bias").with_rate(0.01)))?;
    alike(device, || Adafactor::new(0.05))?;
    alike(device, || Muon::new(0.05).with_adamw_on("second"))
}

/// Numbers of two averages that follow a model through plain or captured steps.
fn averaged(device: Device, captured: bool, before: bool) -> Result<[State; 2]> {
    let mut model = Model::new(device);
    let mut optimizer = Sgd::new(0.1);
    let (mut even, mut recent) = (Swa::new(&model), Ema::new(&model, 0.8));
    let (x, y) = batch(0);
    let (x, y) = (Input::new(device, &x), Input::new(device, &y));
    let mut step = || -> Result<()> {
        if before {
            even.update(&model)?;
        }
        let gradients = model.loss(&x.tensor(), &y.tensor()).backward()?;
        optimizer.step(&mut model, &gradients)?;
        recent.update(&model)?;
        if !before {
            even.update(&model)?;
        }
        Ok(())
    };
    let feed = |number: u64| -> Result<()> {
        let (next_x, next_y) = batch(number);
        x.set(&next_x)?;
        y.set(&next_y)
    };
    if captured {
        let mut step = device.capture(step);
        (0..20).try_for_each(|number| feed(number).and_then(|()| step.replay()))?;
    } else {
        (0..20).try_for_each(|number| feed(number).and_then(|()| step()))?;
    }
    assert_eq!((even.updates(), recent.updates()), (20, 20));
    // The last step of each is a plain one.
    even.update(&model)?;
    recent.update(&model)?;
    Ok([even.state()?, recent.state()?])
}

#[test]
fn averages_follow_a_model_through_replays() -> Result<()> {
    let Some(device) = device("averages_follow_a_model_through_replays") else { return Ok(()) };
    for before in [false, true] {
        let [plain, captured] = [averaged(device, false, before)?, averaged(device, true, before)?];
        assert_eq!(format!("{captured:?}"), format!("{plain:?}"));
    }
    Ok(())
}

#[test]
fn a_rate_is_set_by_hand_between_replays() -> Result<()> {
    let Some(device) = device("a_rate_is_set_by_hand_between_replays") else { return Ok(()) };
    let factor = |number: u64| if number < 7 { 1.0 } else { 1.0 / number as f64 };
    let run = |captured: bool| -> Result<State> {
        let mut model = Linear::new(3, 2, &mut Init::on(&device).seed(1));
        let mut optimizer = Adam::new(0.05).with_group(Group::matching("bias").with_rate(0.2));
        let x = Tensor::ones([4, 3]).to(device);
        if !captured {
            for number in 0..20 {
                optimizer.set_rates(&[0.05 * factor(number), 0.2 * factor(number)]);
                let loss = model.forward(&x).square().mean();
                optimizer.step(&mut model, &loss.backward()?)?;
            }
            return model.state();
        }
        let hand = ByHand::new();
        let mut schedule = hand.clone().start(&mut optimizer);
        let mut step = device.capture(|| {
            schedule.step(&mut optimizer);
            let loss = model.forward(&x).square().mean();
            optimizer.step(&mut model, &loss.backward()?)?;
            Ok(loss)
        });
        for number in 0..20 {
            hand.set(factor(number));
            let _ = step.replay()?;
        }
        drop(step);
        model.state()
    };
    assert_eq!(format!("{:?}", run(true)?), format!("{:?}", run(false)?));
    Ok(())
}

#[test]
fn on_the_cpu_the_step_is_run_again() -> Result<()> {
    let Some(device) = device("on_the_cpu_the_step_is_run_again") else { return Ok(()) };
    same(Device::Cpu, 6, || (Adam::new(0.05), Cosine::new(10)))?;
    let near = |captured: Device| trained(captured, true, 6, (Adam::new(0.05), Cosine::new(10)));
    let (here, there) = (near(Device::Cpu)?.0, near(device)?.0);
    for (here, there) in here.iter().zip(&there) {
        assert!((here.item()? - there.item()?).abs() < 1e-3);
    }
    Ok(())
}

#[test]
fn a_replay_is_one_launch_and_its_memory_its_own() -> Result<()> {
    let Some(device) = device("a_replay_is_one_launch_and_its_memory_its_own") else { return Ok(()) };
    let weight = Tensor::arange(12).to_dtype(DType::F32).reshape([3, 4]).to(device);
    let x = Input::new(device, &Tensor::ones([2, 3]));
    {
        let mut step = device.capture(|| {
            let hidden = x.tensor().matmul(&weight);
            Ok((hidden.sum(), vec![&hidden * 2.0, hidden]))
        });
        let mut before = Vec::new();
        for number in 0..5 {
            x.set(&(Tensor::ones([2, 3]) * number as f64))?;
            let launched = launches();
            let (sum, parts) = step.replay()?;
            // After the first two no kernel is launched by itself.
            assert_eq!(emulator::is_real() || launches() > launched, emulator::is_real() || number < 2);
            assert_eq!(sum.item()?, 132.0 * number as f64);
            assert_eq!(parts[0], &parts[1] * 2.0);
            before.push((number, sum));
            // What the graph has for itself is written by nobody else, and what it gave by no later replay.
            let others: Vec<Tensor> = (0..30).map(|_| Tensor::ones([2, 4]).to(device)).collect();
            assert_eq!(others[29].sum().item()?, 8.0);
        }
        for (number, sum) in before {
            assert_eq!(sum.item()?, 132.0 * number as f64);
        }
    }
    // All of it is given back.
    let kept = device.memory().in_use;
    device.release_cached();
    assert_eq!(device.memory().held, device.memory().in_use);
    assert_eq!(device.memory().in_use, kept);
    Ok(())
}

#[test]
fn what_cannot_be_replayed_teaches() -> Result<()> {
    let Some(device) = device("what_cannot_be_replayed_teaches") else { return Ok(()) };
    let x = Tensor::ones([2]).to(device);
    let says = |error: chainrule::Error, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let mut read = device.capture(|| Ok(&x * x.sum().item()?));
    let _ = read.replay()?;
    says(read.replay().unwrap_err(), &["reads numbers of the GPU", "return the tensor from the step"]);
    // The next attempt records again, and nothing of the failed one is left.
    says(read.replay().unwrap_err(), &["reads numbers of the GPU"]);

    let mut copied = device.capture(|| Ok(&x * Tensor::from([1.0, 2.0]).to(device)));
    let _ = copied.replay()?;
    says(copied.replay().unwrap_err(), &["copies numbers from the CPU", "Input"]);

    let mut state = Tensor::zeros([2]).to(device);
    let mut replaced = device.capture(|| {
        state = &state + &x;
        Ok(state.sum())
    });
    let _ = replaced.replay()?;
    says(replaced.replay().unwrap_err(), &["replaces a tensor", "Running"]);

    let mut list = Vec::new();
    let mut kept = device.capture(|| {
        list.push(&x * 3.0);
        Ok(x.sum())
    });
    let _ = kept.replay()?;
    says(kept.replay().unwrap_err(), &["keeps a tensor", "return"]);

    let mut random = Random::new(1);
    let mut looked = device.capture(|| Ok(&x * random.uniform()));
    let _ = looked.replay()?;
    says(looked.replay().unwrap_err(), &["draws a number that the program itself looks at", "before the step"]);

    let mut model = Linear::new(2, 1, &mut Init::on(&device));
    let mut optimizer = Sgd::new(0.1);
    let mut rated = device.capture(|| {
        let loss = model.forward(&x).sum();
        optimizer.set_rate(0.2);
        optimizer.step(&mut model, &loss.backward()?)?;
        Ok(loss)
    });
    let _ = rated.replay()?;
    says(rated.replay().unwrap_err(), &["sets its optimizer's rate", "schedule"]);

    let (mut optimizer, mut scaler) = (Sgd::new(0.1), LossScaler::new());
    let mut scaled = device.capture(|| {
        for _ in 0..2 {
            let mut gradients = scaler.scale(&model.forward(&x).sum()).backward()?;
            scaler.unscale(&mut gradients)?;
            scaler.step(&mut optimizer, &mut model, &gradients)?;
        }
        Ok(())
    });
    scaled.replay()?;
    says(scaled.replay().unwrap_err(), &["another step of an optimizer behind one that a LossScaler", "as its last"]);

    let mut inner = device.capture(|| Ok(&x * 2.0));
    let _ = inner.replay()?;
    let mut outer = device.capture(|| inner.replay());
    says(outer.replay().unwrap_err(), &["inside of another one"]);
    // After all of that the GPU computes as before.
    assert_eq!((&x * 2.0).to_vec::<f32>()?, [2.0, 2.0]);
    Ok(())
}

#[test]
fn draws_of_a_stream_of_ones_own_go_on() -> Result<()> {
    let Some(device) = device("draws_of_a_stream_of_ones_own_go_on") else { return Ok(()) };
    let x = Tensor::arange(40).to_dtype(DType::F32).to(device);
    let (mut plain, mut counted) = (Random::new(5), Random::new(5));
    let fixed = Random::new(9).draw();
    {
        let mut step = device.capture(|| {
            let thinned = x.dropout(0.5, counted.draw()) + x.dropout(0.3, counted.draw());
            let moments = vec![x.integers_like(0..1000, &mut counted), x.bernoulli_like(0.3, &mut counted)];
            let mixed = &x + x.shuffled(0, &mut counted);
            Ok((thinned, x.dropout(0.5, fixed), (x.normal_like(0.0, 1.0, &mut counted), mixed, moments)))
        });
        for _ in 0..4 {
            let (thinned, same, (normal, mixed, moments)) = step.replay()?;
            assert_eq!(thinned, x.dropout(0.5, plain.draw()) + x.dropout(0.3, plain.draw()));
            assert_eq!(moments, [x.integers_like(0..1000, &mut plain), x.bernoulli_like(0.3, &mut plain)]);
            assert_eq!(mixed, &x + x.shuffled(0, &mut plain));
            assert_eq!(same, x.dropout(0.5, fixed));
            assert_eq!(normal, x.normal_like(0.0, 1.0, &mut plain));
        }
    }
    assert_eq!(counted.position(), plain.position());
    assert_eq!(counted, plain);
    Ok(())
}

#[test]
fn a_bad_class_in_a_replay_is_told_where_it_is_read() -> Result<()> {
    let Some(device) = device("a_bad_class_in_a_replay_is_told_where_it_is_read") else { return Ok(()) };
    let table = Embedding::new(4, 2, &mut Init::on(&device));
    let scores = no_grad(|| table.weight.detach());
    let classes = Input::new(device, &Tensor::from([0, 1, 0, 1]));
    let mut step = device.capture(|| Ok(cross_entropy(&scores, &classes.tensor())));
    for _ in 0..3 {
        assert!(step.replay()?.item().is_ok());
    }
    classes.set(&Tensor::from([0, 7, 0, 1]))?;
    let failed = step.replay()?;
    assert!(failed.item().unwrap_err().to_string().contains('7'));
    classes.set(&Tensor::from([0, 1, 0, 1]))?;
    assert!(step.replay()?.item().is_ok());
    Ok(())
}

#[test]
fn a_step_in_sixteen_bits_is_captured_too() -> Result<()> {
    let Some(device) = device("a_step_in_sixteen_bits_is_captured_too") else { return Ok(()) };
    let run = |captured: bool| -> Result<(Vec<f64>, Vec<f32>, f64)> {
        let mut model = Model::new(device);
        let mut optimizer = Adam::new(0.05);
        // Some first steps are left out: the scale is too large.
        let mut scaler = LossScaler::new().with_scale(2f64.powi(18)).with_growth(2.0, 3);
        let (x, y) = batch(0);
        let (x, y) = (Input::new(device, &x), Input::new(device, &y));
        let mut step = || -> Result<Tensor> {
            let loss = autocast(DType::F16, || model.loss(&x.tensor(), &y.tensor()));
            let mut gradients = scaler.scale(&loss).backward()?;
            scaler.unscale(&mut gradients)?;
            scaler.step(&mut optimizer, &mut model, &gradients)?;
            Ok(loss)
        };
        let mut losses = Vec::new();
        if captured {
            let mut step = device.capture(step);
            for number in 0..8 {
                let (next_x, next_y) = batch(number);
                x.set(&next_x)?;
                y.set(&next_y)?;
                losses.push(step.replay()?.item()?);
            }
        } else {
            for number in 0..8 {
                let (next_x, next_y) = batch(number);
                x.set(&next_x)?;
                y.set(&next_y)?;
                losses.push(step()?.item()?);
            }
        }
        Ok((losses, model.first.weight.to_vec()?, scaler.current()?))
    };
    let (plain, captured) = (run(false)?, run(true)?);
    assert_eq!(plain, captured);
    assert!(plain.0.iter().all(|loss| loss.is_finite()));
    Ok(())
}
