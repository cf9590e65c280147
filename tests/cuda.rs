//! A CUDA device as its users meet it: numbers to and fro, memory, errors, training. On the stand-in driver, on every machine;
//! `REQUIRE_CUDA=1` runs it on the machine's own GPU.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

#[path = "cuda/attention.rs"]
mod attention;
#[path = "cuda/between.rs"]
mod between;
mod emulator;
#[path = "cuda/later.rs"]
mod later;
#[path = "cuda/products.rs"]
mod products;
#[path = "cuda/training.rs"]
mod training;

use chainrule::nn::{Dropout, Embedding, Init, Layer, Linear};
use chainrule::optim::{Adafactor, Adam, AdamW, Lamb, Muon, NAdam, Optimizer, Sgd};
use chainrule::{
    Combine, DType, Device, ErrorKind, Random, Recurrence, Result, Tensor, cross_entropy, module, mse_loss,
};

/// The device, in the process that runs on the stand-in driver; nothing in the one that starts it.
fn device(test: &str) -> Option<Device> {
    emulator::inside(test).then(|| Device::cuda(0).unwrap_or_else(|error| panic!("{error}")))
}

/// The optimizer of this name.
fn optimizer(name: &str, rate: f64) -> Box<dyn Optimizer> {
    match name {
        "adafactor" => Box::new(Adafactor::new(rate)),
        "lamb" => Box::new(Lamb::new(rate)),
        "muon" => Box::new(Muon::new(rate)),
        "nadam" => Box::new(NAdam::new(rate)),
        "sgd" => Box::new(Sgd::new(rate)),
        _ => panic!("there is no {name} here"),
    }
}

#[test]
fn a_device_says_what_it_is() -> Result<()> {
    let Some(device) = device("a_device_says_what_it_is") else { return Ok(()) };
    assert_eq!((Device::best(), device.to_string().as_str()), (device, "cuda:0"));
    assert!(Device::why_not_cuda().is_none() && Device::count() > 0 && !device.name().is_empty());
    assert_eq!(Device::cuda(0)?, device);
    let error = Device::cuda(99).unwrap_err().to_string();
    assert!(
        error.contains("there is no GPU number 99: the driver finds") && error.contains("Device::cuda(0)"),
        "{error}"
    );
    Ok(())
}

#[test]
fn numbers_go_there_and_come_back() -> Result<()> {
    let Some(device) = device("numbers_go_there_and_come_back") else { return Ok(()) };
    let x = Tensor::arange(24).reshape([2, 3, 4]);
    let views = [
        x.clone(),
        x.permute([2, 0, 1]),
        x.flip([0, 2]),
        x.narrow(1, 1, 2),
        x.select(0, 1),
        x.narrow(0, 0, 0),
        Tensor::from(7).expand([3, 2]),
        Tensor::from(7),
    ];
    for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U8, DType::Bool] {
        for view in &views {
            let there = view.to_dtype(dtype).to(device);
            assert_eq!((there.device()?, there.shape()?), (device, view.shape()?));
            assert_eq!(there.to(Device::Cpu), view.to_dtype(dtype), "{dtype}");
        }
    }
    // Longer than what is in pinned memory at a time, and not a multiple of it.
    let long = Tensor::arange(1_300_001);
    assert_eq!(long.to(device), long);
    assert_eq!(Tensor::from([1.0, -2.5]).to(device).to_string(), "[ 1.0, -2.5]");
    assert_eq!(Tensor::from([4.0]).to(device).item()?, 4.0);
    // A copy has nothing to do with what it was made of.
    let there = x.to(device);
    assert!(!there.shares_memory(&x) && there.transpose(0, 1).shares_memory(&there));
    Ok(())
}

#[test]
fn transposed_copies_are_exact() -> Result<()> {
    let Some(device) = device("transposed_copies_are_exact") else { return Ok(()) };
    for dtype in [DType::F64, DType::F32, DType::F16, DType::U8] {
        for sizes in [[3, 33, 70], [1, 16, 64], [2, 15, 40]] {
            let x = Tensor::arange(sizes.iter().product::<usize>()).reshape(sizes).to_dtype(dtype);
            let there = x.to(device);
            for (turned, here) in [
                (there.transpose(1, 2), x.transpose(1, 2)),
                (there.narrow(2, 3, 33).transpose(1, 2), x.narrow(2, 3, 33).transpose(1, 2)),
                (there.permute([2, 0, 1]), x.permute([2, 0, 1])),
                (there.flip(1).transpose(1, 2), x.flip(1).transpose(1, 2)),
            ] {
                assert_eq!(turned.contiguous().to(Device::Cpu), here, "{dtype} {sizes:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn views_of_very_many_elements_are_refused_with_a_sentence() -> Result<()> {
    let Some(device) = device("views_of_very_many_elements_are_refused_with_a_sentence") else { return Ok(()) };
    // Repeated, so that they take no memory.
    let few = Tensor::from([1.0, 2.0]).to(device);
    for many in [few.expand([1usize << 31, 2]), few.unsqueeze(1).expand([2, 1usize << 31])] {
        let error = many.sum().checked().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        let text = error.to_string();
        for word in ["of 4294967296 elements", "takes up to 4294967295", "narrow"] {
            assert!(text.contains(word), "should say {word:?}: {text}");
        }
    }
    // What was asked for before and after is as it should be.
    assert_eq!(few.expand([1usize << 31, 2]).narrow(0, 0, 3).sum().item()?, 9.0);
    Ok(())
}

#[test]
fn whole_numbers_are_scattered_to_their_mean() -> Result<()> {
    let Some(device) = device("whole_numbers_are_scattered_to_their_mean") else { return Ok(()) };
    let base = Tensor::from([[7, -3, 5], [1, 2, 4]]);
    let index = Tensor::from([[1, 0, 1], [1, 0, 0], [0, 0, 1]]);
    let source = Tensor::from([[-8, 5, 2], [4, -6, 9], [1, 1, 1]]);
    let rows = [base.select(0, 0), index.select(0, 2), source.select(0, 1)];
    for dtype in [DType::I64, DType::I32, DType::F32] {
        for include in [true, false] {
            for combine in [Combine::Mean, Combine::Sum, Combine::Replace] {
                let run = |device: Device| {
                    let [base, index, source] = [&base, &index, &source].map(|x| x.to(device));
                    let [row, places, numbers] = rows.each_ref().map(|x| x.to(device));
                    let (source, numbers) = (source.to_dtype(dtype), numbers.to_dtype(dtype));
                    let (base, row) = (base.to_dtype(dtype), row.to_dtype(dtype));
                    let whole = base.scatter_reduce(0, &index, &source, combine, include);
                    (whole.to(Device::Cpu), row.scatter_reduce(0, &places, &numbers, combine, include).to(Device::Cpu))
                };
                assert_eq!(run(device), run(Device::Cpu), "{dtype} {combine:?} {include}");
            }
        }
    }
    Ok(())
}

#[test]
fn files_are_written_from_there() -> Result<()> {
    let Some(device) = device("files_are_written_from_there") else { return Ok(()) };
    let path = std::env::temp_dir().join(format!("chainrule-cuda-{}.safetensors", std::process::id()));
    let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    chainrule::io::safetensors::save(&path, [("x", &x.to(device).transpose(0, 1))])?;
    assert_eq!(chainrule::io::safetensors::load(&path)?.get("x")?, &x.transpose(0, 1));
    std::fs::remove_file(&path).ok();
    Ok(())
}

#[test]
fn gradients_cross_devices() -> Result<()> {
    let Some(device) = device("gradients_cross_devices") else { return Ok(()) };
    let (x, w) = (Tensor::from([1.0, 2.0]).variable(), Tensor::from([3.0, 4.0]).to(device).variable());
    let loss = (x.to(device) * &w).square().sum().to(Device::Cpu);
    let gradients = loss.backward()?;
    assert_eq!(gradients.of(&x)?, &Tensor::from([18.0, 64.0]));
    assert_eq!((gradients.of(&x)?.device()?, gradients.of(&w)?.device()?), (Device::Cpu, device));
    Ok(())
}

#[test]
fn what_cannot_be_done_is_told() {
    let Some(device) = device("what_cannot_be_done_is_told") else { return };
    let (here, there) = (Tensor::from([[1.0, 2.0]]), Tensor::from([[3.0], [4.0]]).to(device));
    let error = here.matmul(&there).checked().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    let text = error.to_string();
    let told = text.split("\n  at").next().unwrap_or_default();
    assert_eq!(
        told,
        "matmul: the tensors are on different devices: cpu and cuda:0\n  \
         left   [1, 2] f32\n  \
         right  [2, 1] f32@cuda:0\n  \
         help   bring them together with to(device)"
    );
}

#[test]
fn memory_is_counted_limited_and_given_back() -> Result<()> {
    let Some(device) = device("memory_is_counted_limited_and_given_back") else { return Ok(()) };
    let x = Tensor::ones([1000, 100]).to(device);
    let before = device.memory();
    assert!(before.in_use >= 400_000 && before.held >= before.in_use && before.limit >= 1 << 30, "{before}");
    let doubled = &x * 2.0;
    assert!(device.memory().in_use >= before.in_use + 400_000);
    device.reset_peak();
    drop(doubled);
    let after = device.memory();
    assert_eq!(after.in_use, before.in_use);
    assert!(after.peak >= before.in_use + 400_000 && after.idle() >= 400_000, "{after}");
    // What was let go of is used again.
    let again = &x * 3.0;
    assert!(device.memory().hits > after.hits && device.memory().held == after.held);
    drop(again);

    device.set_memory_limit(device.memory().in_use + 500_000);
    let failed = (&x + 1.0).repeat([10, 1]);
    let error = failed.checked().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Memory);
    for word in ["no memory for 4.0 MB on cuda:0", "are in use, the limit is", "set_memory_limit"] {
        assert!(error.to_string().contains(word), "should say {word:?}: {error}");
    }
    // Life goes on.
    assert_eq!((&x + 1.0).sum().item()?, 200_000.0);
    device.set_memory_limit(before.limit);
    assert_eq!((&x + 1.0).repeat([10, 1]).sum().item()?, 2_000_000.0);
    device.release_cached();
    let empty = device.memory();
    assert_eq!(empty.held, empty.in_use);
    Ok(())
}

#[test]
fn a_bad_position_is_told_when_something_is_read() -> Result<()> {
    let Some(device) = device("a_bad_position_is_told_when_something_is_read") else { return Ok(()) };
    let table = Tensor::from([[1.0, 2.0], [3.0, 4.0]]).to(device);
    let earlier = &table + 1.0;
    let rows = table.take_slices(0, &Tensor::from([0, -1, 7]).to(device));
    let later = &rows * 2.0;
    let error = later.to_vec::<f32>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Index);
    assert!(error.to_string().contains("index 7 at [2] is out of range for axis 0 of size 2"), "{error}");
    // What it was computed of is wrong too, and so is what would be computed of it; the rest is as it should be.
    assert_eq!(rows.to_vec::<f32>().unwrap_err().kind(), ErrorKind::Index);
    assert_eq!((&later + 1.0).error().map(|error| error.kind()), Some(ErrorKind::Index));
    assert_eq!(earlier.to_vec::<f32>()?, [2.0, 3.0, 4.0, 5.0]);
    let right = table.take_slices(0, &Tensor::from([1, -2]).to(device));
    assert_eq!(right.to_vec::<f32>()?, [3.0, 4.0, 1.0, 2.0]);
    Ok(())
}

#[test]
fn bad_names_labels_and_chances_are_told_when_something_is_read() -> Result<()> {
    let Some(device) = device("bad_names_labels_and_chances_are_told_when_something_is_read") else { return Ok(()) };
    let reads = device.reads();
    let numbers = |list: [i64; 3]| Tensor::from(list).to(device);
    let table = Tensor::from([[1.0], [2.0]]).to(device);
    let wrong = [
        (numbers([0, -1, 1]).embedding(&table), "ids: -1 at [1] is out of range for 2"),
        (numbers([0, 1, 2]).embedding(&table), "ids: 2 at [2] is out of range for 2"),
        (numbers([3, 1, 2]).one_hot(3), "labels: 3 at [0] is out of range for 3"),
        (Tensor::from([0.5, 1.5]).to(device).flip_coins(&mut Random::new(1)), "a chance of 1.5"),
    ];
    assert_eq!(device.reads(), reads);
    // The first that failed is told; what was made after it counts as failed with it.
    for (result, _) in &wrong {
        let error = result.to_vec::<f32>().unwrap_err().to_string();
        assert!(error.contains(wrong[0].1), "{error}");
    }
    let told = |again: Tensor, said: &str| {
        let error = again.to_vec::<f32>().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    told(numbers([0, 1, 2]).embedding(&table), wrong[1].1);
    told(numbers([3, 1, 2]).one_hot(3), wrong[2].1);
    told(Tensor::from([0.5, 1.5]).to(device).flip_coins(&mut Random::new(1)), wrong[3].1);
    assert_eq!(numbers([0, 1, 1]).embedding(&table).to_vec::<f32>()?, [1.0, 2.0, 2.0]);
    Ok(())
}

#[test]
fn matrices_of_many_rows_are_taken_apart_there() -> Result<()> {
    let Some(device) = device("matrices_of_many_rows_are_taken_apart_there") else { return Ok(()) };
    let near = |what: &str, there: &Tensor, here: &Tensor| -> Result<()> {
        let (there, here) = (there.to_vec::<f64>()?, here.to_vec::<f64>()?);
        assert_eq!(there.len(), here.len(), "{what}");
        for (x, y) in there.iter().zip(&here) {
            assert!((x - y).abs() < 1e-9, "{what}: {x}, on the CPU {y}");
        }
        Ok(())
    };
    let mut random = Random::new(11);
    let mut normal = |sizes: &[usize]| Tensor::normal(sizes.to_vec(), 0.0, 1.0, &mut random).to_dtype(DType::F64);
    // Three blocks of columns, a batch of two.
    let (a, b) = (normal(&[2, 70, 70]), normal(&[2, 70, 3]));
    near("solve", &a.to(device).solve(&b.to(device)), &a.solve(&b))?;
    let definite = a.matmul(&a.transpose(-2, -1)) + Tensor::eye(70).to_dtype(DType::F64);
    near("cholesky", &definite.to(device).cholesky(), &definite.cholesky())?;
    let ((q, r), (here, triangle)) = (a.narrow(2, 0, 40).to(device).qr(), a.narrow(2, 0, 40).qr());
    near("q", &q, &here)?;
    near("r", &r, &triangle)?;
    // More rows than a block turns by itself, and fewer vectors than rows.
    let low = normal(&[100, 3]).matmul(&normal(&[3, 99]));
    near("values", &low.to(device).singular_values(), &low.singular_values())?;
    let (u, s, vt) = low.to(device).svd();
    near("product", &(&u * s.unsqueeze(-2)).matmul(&vt), &low)?;
    near("left", &u.transpose(-2, -1).matmul(&u), &Tensor::eye(99).to_dtype(DType::F64))?;
    near("right", &vt.matmul(&vt.transpose(-2, -1)), &Tensor::eye(99).to_dtype(DType::F64))?;
    assert_eq!(low.to(device).matrix_rank().item()?, 3.0);
    Ok(())
}

#[test]
fn matrices_without_parts_are_told_when_something_is_read() -> Result<()> {
    let Some(device) = device("matrices_without_parts_are_told_when_something_is_read") else { return Ok(()) };
    let told = |result: Tensor, said: &str| {
        let error = result.to_vec::<f32>().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    let pair = Tensor::from([[1.0, 1.0], [1.0, 0.0]]).diagonal_matrix(0).to(device);
    let ones = Tensor::ones([2, 1]).to(device);
    told(pair.solve(&ones), "matrix [1] of the batch is singular: pivot 1 is 0");
    told(pair.inverse(), "matrix [1] of the batch is singular: pivot 1 is 0");
    told(pair.solve_upper(&ones), "matrix [1] of the batch is singular: element [1, 1] of its diagonal is 0");
    told(pair.cholesky(), "matrix [1] of the batch is not positive definite: its leading minor of order 2");
    let broken = Tensor::from([[1.0, f32::NAN], [1.0, 0.0]]).to(device);
    told(broken.svd().1, "the matrix holds numbers that are not finite");
    told(broken.transpose(0, 1).symmetric_eigen().0, "the matrix holds numbers that are not finite");
    // Above the diagonal anything may stand.
    assert!(broken.symmetric_eigen().0.to_vec::<f32>()?.iter().all(|value| value.is_finite()));
    assert_eq!(pair.determinant().to_vec::<f32>()?, [1.0, 0.0]);
    Ok(())
}

struct Words {
    table: Embedding,
    drop: Dropout,
    last: Linear,
}
module!(Words { table, drop, last });

/// Graphs that are captured cannot hold a read, and a loop that reads lets the GPU stand still.
#[test]
fn a_step_of_training_reads_nothing() -> Result<()> {
    let Some(device) = device("a_step_of_training_reads_nothing") else { return Ok(()) };
    let run = |device: Device| -> Result<(Vec<f64>, Vec<f64>)> {
        let mut init = Init::on(&device).seed(3);
        let mut model = Words {
            table: Embedding::new(11, 8, &mut init),
            drop: Dropout::new(0.25, &mut init),
            last: Linear::new(8, 5, &mut init),
        };
        let mut optimizer = AdamW::new(0.05);
        let ids = Tensor::from([[1, 4], [10, 0], [3, 3]]).to(device);
        let labels = Tensor::from([4, 0, 2]).to(device);
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        let reads = device.reads();
        for _ in 0..3 {
            let y = model.drop.forward(&model.table.forward(&ids)).mean_over(1);
            let loss = cross_entropy(&model.last.forward(&y), &labels);
            let mut gradients = loss.backward()?;
            norms.push(gradients.clip_norm_unread(0.5, 2.0)?);
            optimizer.step(&mut model, &gradients)?;
            losses.push(loss.detach());
        }
        assert_eq!(device.reads(), reads);
        let read = |list: &[Tensor]| list.iter().map(Tensor::item).collect::<Result<Vec<_>>>();
        Ok((read(&losses)?, read(&norms)?))
    };
    let ((losses, norms), (here, expected)) = (run(device)?, run(Device::Cpu)?);
    assert!(losses[2] < losses[0] && norms.iter().all(|&norm| norm > 0.5), "{losses:?} {norms:?}");
    for (a, b) in losses.iter().zip(&here).chain(norms.iter().zip(&expected)) {
        assert!((a - b).abs() < 1e-5, "{losses:?} {norms:?}, on the CPU {here:?} {expected:?}");
    }
    Ok(())
}

#[test]
fn no_optimizer_reads() -> Result<()> {
    let Some(device) = device("no_optimizer_reads") else { return Ok(()) };
    for name in ["lamb", "muon", "adafactor", "sgd"] {
        let run = |device: Device| -> Result<Vec<f64>> {
            let mut layer = Linear::new(5, 3, &mut Init::on(&device).seed(4));
            let x = Tensor::arange(10).to_dtype(DType::F32).reshape([2, 5]).sin().to(device);
            let mut optimizer = optimizer(name, 0.1);
            let reads = device.reads();
            for _ in 0..3 {
                let loss = layer.forward(&x).square().mean();
                optimizer.step(&mut layer, &loss.backward()?)?;
            }
            assert_eq!(device.reads(), reads, "{name}");
            Ok(layer.weight.to_vec().unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        for (there, here) in run(device)?.iter().zip(run(Device::Cpu)?) {
            assert!((there - here).abs() < 1e-5, "{name}: {there}, on the CPU {here}");
        }
    }
    Ok(())
}

#[test]
fn gradients_of_every_order_are_measured_there() -> Result<()> {
    let Some(device) = device("gradients_of_every_order_are_measured_there") else { return Ok(()) };
    let run = |device: Device| -> Result<Vec<f64>> {
        let a = Tensor::from([[1.0, -2.0], [3.0, 4.0]]).to(device).variable();
        let b = Tensor::from([0.5, -6.0]).to_dtype(DType::F64).to(device).variable();
        let gradients = || ((&a * &a).sum() + (&b * &b * &b).sum().to_dtype(DType::F32)).backward();
        let mut found = Vec::new();
        for order in [2.0, 1.0, 3.0, f64::INFINITY, f64::NEG_INFINITY] {
            let mut gradients = gradients()?;
            found.extend([gradients.norm_of(order)?, gradients.clip_norm_of(1.5, order)?, gradients.norm_of(order)?]);
            assert!(gradients.is_finite()?);
        }
        let mut broken = gradients()?;
        broken.scale(f64::NAN)?;
        assert!(!broken.is_finite()? && broken.clip_norm(1.0)?.is_nan());
        Ok(found)
    };
    for (there, here) in run(device)?.iter().zip(run(Device::Cpu)?) {
        assert!((there - here).abs() < 1e-6 * here, "{there}, on the CPU {here}");
    }
    Ok(())
}

struct Two {
    first: Linear,
    second: Linear,
}
module!(Two { first, second });

#[test]
fn a_model_trains_there_as_it_does_here() -> Result<()> {
    let Some(device) = device("a_model_trains_there_as_it_does_here") else { return Ok(()) };
    let run = |device: Device| -> Result<(Vec<f64>, Vec<f32>)> {
        let mut init = Init::on(&device).seed(3);
        let mut model = Two { first: Linear::new(6, 16, &mut init), second: Linear::new(16, 4, &mut init) };
        let mut random = Random::new(5);
        let x = Tensor::normal([12, 6], 0.0, 1.0, &mut random).to(device);
        let target = Tensor::normal([12, 4], 0.0, 1.0, &mut random).to(device);
        let mut optimizer = Adam::new(0.01);
        let mut losses = Vec::new();
        for _ in 0..6 {
            let y = model.second.forward(&model.first.forward(&x).gelu().layer_norm(1, None, None, 1e-5));
            let loss = mse_loss(&y.softmax(-1), &target);
            losses.push(loss.item()?);
            optimizer.step(&mut model, &loss.backward()?)?;
        }
        let weights = model.first.weight.to_vec()?;
        assert_eq!(model.first.weight.device()?, device);
        Ok((losses, weights))
    };
    let ((losses, weights), (here, expected)) = (run(device)?, run(Device::Cpu)?);
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
    for (a, b) in losses.iter().zip(&here) {
        assert!((a - b).abs() < 1e-5, "{losses:?}, on the CPU {here:?}");
    }
    for (a, b) in weights.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-4, "{a}, on the CPU {b}");
    }
    // The same bits once more.
    assert_eq!(run(device)?, (losses, weights));
    Ok(())
}

/// What is wrong with lengths and symbols of a CTC loss is told as on the CPU, when it is read.
#[test]
fn a_bad_target_is_told() {
    let Some(device) = device("a_bad_target_is_told") else { return };
    let said = |device: Device, targets: [[i64; 2]; 2], inputs: [i64; 2], lengths: [i64; 2]| {
        let [inputs, lengths] = [inputs, lengths].map(|list| Tensor::from(list).to(device));
        let loss = chainrule::loss::ctc_loss(
            &Tensor::zeros([4, 2, 3]).to(device),
            &Tensor::from(targets).to(device),
            &inputs,
            &lengths,
        );
        loss.item().map_err(|error| error.what().to_string())
    };
    let right = [[1, 2], [2, 1]];
    for (targets, inputs, lengths, words) in [
        (right, [4, 5], [2, 2], "input length of example 1 is 5"),
        (right, [4, 4], [-1, 2], "target length of example 0 is -1"),
        ([[1, 2], [2, 7]], [4, 4], [2, 2], "target at [1, 1] is class 7"),
        ([[0, 2], [2, 1]], [4, 4], [2, 2], "target at [0, 0] is class 0, the blank"),
    ] {
        let there = said(device, targets, inputs, lengths);
        assert!(there.as_ref().is_err_and(|what| what.contains(words)), "{there:?}");
        assert_eq!(there, said(Device::Cpu, targets, inputs, lengths));
    }
    // What does not count may be anything.
    assert!(said(device, [[1, 9], [2, 1]], [4, 4], [1, 2]).is_ok());
}

/// Larger hidden states than one block takes: a launch for each step, or with many sequences a product and a kernel.
#[test]
fn a_large_state_goes_step_by_step() -> Result<()> {
    let Some(device) = device("a_large_state_goes_step_by_step") else { return Ok(()) };
    const HIDDEN: usize = 66;
    for (gates, kind, batch) in [(1, "rnn_tanh", 3), (3, "gru", 35), (4, "lstm", 3), (3, "gru", 130)] {
        let run = |device: Device| -> Result<Vec<Tensor>> {
            let mut random = Random::new(6);
            let mut made =
                |sizes: &[usize], scale: f64| (Tensor::normal(sizes, 0.0, scale, &mut random).to(device)).variable();
            let all = [
                made(&[2, batch, 2], 1.0),
                made(&[batch, HIDDEN], 1.0),
                made(&[batch, HIDDEN], 1.0),
                made(&[gates * HIDDEN, 2], 0.5),
                made(&[gates * HIDDEN, HIDDEN], 0.1),
                made(&[gates * HIDDEN], 0.5),
                made(&[gates * HIDDEN], 0.5),
            ];
            let [input, hidden, cell, weight_input, weight_hidden, bias, inner_bias] = &all;
            let weights = Recurrence::new(weight_input, weight_hidden).biases(bias, inner_bias);
            let weights =
                weights.reversed(gates != 1).lengths(&(0..batch).map(|i| [2, 0, 1][i % 3]).collect::<Vec<_>>());
            let results: Vec<Tensor> = match kind {
                "lstm" => input.lstm(hidden, cell, &weights).into(),
                "gru" => input.gru(hidden, &weights).into(),
                _ => input.rnn_tanh(hidden, &weights).into(),
            };
            let loss = results.iter().fold(Tensor::from(0.0).to(device), |sum, result| sum + result.square().sum());
            let gradients = loss.backward()?;
            let gradients = all.iter().filter_map(|leaf| gradients.get(leaf).cloned());
            Ok(results.iter().cloned().chain(gradients).map(|x| x.to(Device::Cpu)).collect())
        };
        let (there, here) = (run(device)?, run(Device::Cpu)?);
        assert!(there.len() == here.len() && here.len() > 7, "{kind}");
        for (which, (there, here)) in there.iter().zip(&here).enumerate() {
            assert!(
                there.is_close(here, 1e-4, 1e-4).all().item()? == 1.0,
                "{kind}, {which}: {there}, on the CPU {here}"
            );
        }
    }
    Ok(())
}

#[test]
fn threads_share_a_device() -> Result<()> {
    let Some(device) = device("threads_share_a_device") else { return Ok(()) };
    let shared = Tensor::arange(100).to_dtype(DType::F32).to(device);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let shared = &shared;
                scope.spawn(move || {
                    (0..10).map(|i| (shared * number as f64 + i as f64).sum().item()).collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        for (number, worker) in workers.into_iter().enumerate() {
            let sums = worker.join().expect("no panic").expect("sums");
            let expected: Vec<f64> = (0..10).map(|i| 4950.0 * number as f64 + 100.0 * i as f64).collect();
            assert_eq!(sums, expected);
        }
    });
    Ok(())
}

/// Rows that one block cannot hold: of the same numbers the same positions, whatever orders, counts or adds them up.
#[test]
fn long_rows_are_ordered_and_counted_as_here() -> Result<()> {
    let Some(device) = device("long_rows_are_ordered_and_counted_as_here") else { return Ok(()) };
    let mut random = Random::new(17);
    let whole = Tensor::integers([2, 5000], -700..700, &mut random);
    let x = (Tensor::normal([2, 5000], 0.0, 100.0, &mut random) / 3.0).round();
    let same = |here: Tensor, there: Tensor| assert_eq!(there.to(Device::Cpu), here);
    for dtype in [DType::F32, DType::BF16, DType::I64] {
        let here = if dtype == DType::I64 { whole.clone() } else { x.to_dtype(dtype) };
        let there = here.to(device);
        let pairs = [
            (here.sort(1, true), there.sort(1, true)),
            (here.topk(40, 1, true), there.topk(40, 1, true)),
            (here.kth_value(3000, 1), there.kth_value(3000, 1)),
            (here.median_over(1), there.median_over(1)),
            (here.mode(1), there.mode(1)),
        ];
        for ((values, places), (there_values, there_places)) in pairs {
            same(places, there_places);
            same(values, there_values);
        }
        let (here, there) = (here.unique()?, there.unique()?);
        same(here.values, there.values);
        same(here.inverse, there.inverse);
        same(here.counts, there.counts);
    }
    same(whole.cumulative_sum(1), whole.to(device).cumulative_sum(1));
    let long = whole.reshape([10_000]);
    same(long.cumulative_sum(0), long.to(device).cumulative_sum(0));
    same(long.nonzero(), long.to(device).nonzero());
    // Many positions for few places: whole numbers in f32 are exact in any order, others must come in theirs.
    let index = Tensor::integers([10_000], 0..90, &mut random);
    let weights = Tensor::uniform([10_000], 0.0..1.0, &mut random);
    let counted = index.to(device).bincount_weighted(&weights.to(device), 90).to(Device::Cpu);
    assert!(counted.is_close(&index.bincount_weighted(&weights, 90), 1e-5, 1e-5).all().item()? == 1.0);
    let (to, index) = (Tensor::zeros([3, 50]), Tensor::integers([3, 400], 0..50, &mut random));
    let source = Tensor::integers([3, 400], 0..9, &mut random).to_dtype(DType::F32);
    let there = to.to(device).scatter_add(1, &index.to(device), &source.to(device));
    same(to.scatter_add(1, &index, &source), there);
    let down = |to: &Tensor, index: &Tensor, source: &Tensor| {
        to.transpose(0, 1).scatter_add(0, &index.transpose(0, 1), &source.transpose(0, 1))
    };
    same(down(&to, &index, &source), down(&to.to(device), &index.to(device), &source.to(device)));
    // The same choices from the same draw.
    let weights = Tensor::uniform([2, 3000], 0.0..1.0, &mut random);
    let draws = || (Random::new(3), Random::new(3));
    let (mut one, mut other) = draws();
    same(weights.multinomial_repeated(200, &mut one), weights.to(device).multinomial_repeated(200, &mut other));
    same(weights.multinomial(30, &mut one), weights.to(device).multinomial(30, &mut other));
    let error = (weights - 0.5).to(device).multinomial(3, &mut other).to(Device::Cpu).checked().unwrap_err();
    assert!(error.to_string().contains("weights are finite and not negative"), "{error}");
    Ok(())
}

/// What a tensor holds, or what is wrong with it.
fn said(x: Tensor) -> String {
    match x.to(Device::Cpu).checked() {
        Ok(x) => format!("{:?} {x}", x.shape()),
        Err(error) => error.what().to_string(),
    }
}

/// Rows of nothing, single numbers, NaN and both zeros: ordered, counted and summed as here, or refused in the same words.
#[test]
fn the_edges_of_order_are_those_of_the_processor() -> Result<()> {
    let Some(device) = device("the_edges_of_order_are_those_of_the_processor") else { return Ok(()) };
    let nan = f32::NAN;
    let inputs = [
        Tensor::zeros([0]),
        Tensor::zeros([3, 0]),
        Tensor::zeros([0, 3]),
        Tensor::scalar(2.0),
        Tensor::from([[5.0]]),
        Tensor::from([[0.0, nan, -0.0, 2.0, nan, -f32::INFINITY], [1.0, 1.0, 0.0, -0.0, f32::INFINITY, 1.0]]),
    ];
    for x in &inputs {
        let all = |x: &Tensor| -> Vec<String> {
            let distinct = |found: Result<chainrule::Unique>| match found {
                Ok(found) => [found.values, found.inverse, found.counts].map(said).join(" "),
                Err(error) => error.what().to_string(),
            };
            let pair = |(values, places): (Tensor, Tensor)| said(values) + " " + &said(places);
            vec![
                pair(x.sort(-1, false)),
                pair(x.sort(0, true)),
                said(x.argsort(-1, false)),
                pair(x.topk(0, -1, true)),
                pair(x.topk(1, 0, false)),
                pair(x.kth_value(1, -1)),
                pair(x.median_over(-1)),
                pair(x.mode(-1)),
                said(x.quantile(0.5, -1)),
                distinct(x.unique()),
                distinct(x.unique_consecutive()),
                distinct(x.unique_along(0)),
                distinct(x.unique_along(-1)),
                said(x.nonzero()),
                said(x.cumulative_sum(-1)),
                said(x.cumulative_prod(0)),
                said(x.cumulative_logsumexp(-1)),
                pair(x.cumulative_max(-1)),
                pair(x.cumulative_min(0)),
                said(x.histogram(3, -1.0, 1.0)),
                said(x.is_in(x)),
                said(x.reshape(-1).to_dtype(DType::U8).bincount(2)),
                said(x.masked_select(&x.greater(0.5))),
                said(x.bucketize(&x.reshape(-1).sort(0, false).0, true)),
                said(x.multinomial(1, &mut Random::new(1))),
                said(x.multinomial_repeated(0, &mut Random::new(1))),
            ]
        };
        let (here, there) = (all(x), all(&x.to(device)));
        for (number, (here, there)) in here.iter().zip(&there).enumerate() {
            assert_eq!(there, here, "operation {number} of {x}");
        }
    }
    Ok(())
}
