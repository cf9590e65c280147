//! Whole trainings on a device: batches go there, curves are those of the CPU, what was saved goes on.

use super::emulator::call::launches;
use super::{device, emulator};
use chainrule::data::{Examples, Loader};
use chainrule::loss::cross_entropy;
use chainrule::nn::{BatchNorm2d, Conv2d, Dropout, Flatten, Init, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
use chainrule::optim::schedule::Cosine;
use chainrule::optim::{AdamW, Optimizer};
use chainrule::train::{Progress, Trainer};
use chainrule::{DType, Device, Parameter, Random, Result, Tensor, autocast, io};

/// Pictures of noise with a brighter half: the left one, or the right one.
fn halves(count: usize) -> Result<Examples> {
    let sides = Tensor::arange(count).remainder(2.0).to_dtype(DType::I64);
    let right = Tensor::from([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let bright = (&right - sides.to_dtype(DType::F32).unsqueeze(1)).abs().reshape([count, 1, 1, 6]);
    let noise = Tensor::normal([count, 1, 6, 6], 0.0, 0.6, &mut Random::new(2));
    Examples::new(&(noise + bright).checked()?, &sides)
}

fn network(device: Device) -> Sequential {
    let mut init = Init::on(&device).seed(1);
    Sequential::new()
        .then(Conv2d::options(1, 4, 3).with_padding(1).build(&mut init))
        .then(BatchNorm2d::new(4, &mut init))
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(Flatten::new())
        .then(Dropout::new(0.2, &mut init))
        .then(Linear::new(36, 2, &mut init))
        .named()
}

#[test]
fn curves_are_those_of_the_cpu() -> Result<()> {
    let Some(device) = device("training::curves_are_those_of_the_cpu") else { return Ok(()) };
    let curve = |device: Device| -> Result<Vec<f64>> {
        let (mut model, mut optimizer) = (network(device), AdamW::new(0.01));
        let loader = Loader::new(halves(24)?, 8).shuffled(3).on(device);
        let mut losses = Vec::new();
        for batch in (0..4).flat_map(|epoch| loader.epoch(epoch)) {
            let batch = batch?;
            assert_eq!((batch.input.device()?, batch.target.device()?), (device, device));
            let loss = cross_entropy(&model.forward(&batch.input), &batch.target);
            losses.push(loss.item()?);
            optimizer.step(&mut model, &loss.backward()?)?;
        }
        Ok(losses)
    };
    let (there, here) = (curve(device)?, curve(Device::Cpu)?);
    let apart = there.iter().zip(&here).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("losses of {} steps differ by {apart:.1e} at most; 1e-4 is allowed", here.len());
    assert!(apart <= 1e-4 && here.last() < here.first(), "{there:?}, on the CPU {here:?}");
    assert_eq!(curve(device)?, there, "the same seed gives the same bits");
    Ok(())
}

#[test]
fn a_training_goes_on_from_its_checkpoint() -> Result<()> {
    let Some(device) = device("training::a_training_goes_on_from_its_checkpoint") else { return Ok(()) };
    let folder = std::env::temp_dir().join(format!("chainrule-cuda-training-{}", std::process::id()));
    let trained = |epochs: u64, resumed: bool| -> Result<Sequential> {
        let mut model = network(device);
        let loader = Loader::new(halves(16)?, 8).shuffled(3).on(device);
        let mut trainer = Trainer::supervised(cross_entropy)
            .with_epochs(epochs)
            .with_schedule(Cosine::new(4))
            .with_clip_norm(1.0)
            .with_progress(Progress::Quiet)
            .with_folder(&folder);
        if resumed {
            trainer = trainer.resumed();
        }
        trainer.fit(&mut model, &mut AdamW::new(0.01), &loader)?;
        Ok(model)
    };
    let at_once = trained(2, false)?;
    std::fs::remove_dir_all(&folder).ok();
    trained(1, false)?;
    let in_two = trained(2, true)?;
    std::fs::remove_dir_all(&folder).ok();
    for ((name, a), (_, b)) in at_once.tensors()?.into_iter().zip(in_two.tensors()?) {
        assert_eq!((a.device()?, b.device()?), (device, device), "{name}");
        assert_eq!(a, b, "{name}");
    }
    Ok(())
}

#[test]
fn weights_go_where_the_model_is() -> Result<()> {
    let Some(device) = device("training::weights_go_where_the_model_is") else { return Ok(()) };
    let path = std::env::temp_dir().join(format!("chainrule-cuda-weights-{}.safetensors", std::process::id()));
    let model = network(device);
    io::save_model(&path, &model)?;
    let mut there = network(device);
    let mut here = network(Device::Cpu);
    assert!(io::load_model(&path, &mut there)?.strict().is_ok());
    assert!(io::load_model(&path, &mut here)?.strict().is_ok());
    std::fs::remove_file(&path).ok();
    for (((name, own), (_, there)), (_, here)) in
        model.tensors()?.into_iter().zip(there.tensors()?).zip(here.tensors()?)
    {
        assert_eq!((there.device()?, here.device()?), (device, Device::Cpu), "{name}");
        assert_eq!((&there, &here), (&own, &own), "{name}");
    }
    // Rows that are there already are taken there.
    let rows = Examples::new(&Tensor::arange(6).to(device), &Tensor::arange(6).to(device))?;
    let batch = Loader::new(rows, 4).epoch(0).next().expect("a batch")?;
    assert_eq!((batch.input.device()?, batch.target.to_vec::<i64>()?), (device, vec![0, 1, 2, 3]));
    Ok(())
}

#[test]
fn autocast_casts_a_weight_once_in_a_scope() -> Result<()> {
    let Some(device) = device("training::autocast_casts_a_weight_once_in_a_scope") else { return Ok(()) };
    if emulator::is_real() {
        return Ok(());
    }
    let weight = Parameter::new(Tensor::ones([4, 4]).to(device));
    let x = Tensor::ones([3, 4]).to(device);
    let launched = |uses: usize| -> Result<usize> {
        let before = launches();
        autocast(DType::BF16, || (0..uses).try_for_each(|_| x.matmul(&weight).checked().map(drop)))?;
        Ok(launches() - before)
    };
    // What is no parameter is cast at each use, and multiplied.
    assert_eq!([launched(1)?, launched(3)?], [3, 7]);
    Ok(())
}
