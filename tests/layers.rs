//! Layers: each against its operation, what training writes and evaluation keeps, names and shapes, errors that teach.

use chainrule::nn::*;
use chainrule::{DType, Pad, Random, Tensor, checkpoint, evaluating, no_grad, training};

fn sizes(x: &Tensor) -> Vec<usize> {
    x.shape().expect("a shape").to_vec()
}

fn normal<const N: usize>(sizes: [usize; N]) -> Tensor {
    Tensor::normal(sizes, 0.5, 2.0, &mut Random::new(7))
}

fn tensor(numbers: &[f64]) -> Tensor {
    Tensor::from_slice(numbers, numbers.len()).expect("a vector")
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_vec::<f64>().or_else(|_| x.to_dtype(DType::F64).to_vec()).expect("numbers")
}

fn close(a: &Tensor, b: &Tensor, within: f64) {
    assert_eq!(a.shape().expect("a shape"), b.shape().expect("a shape"));
    for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
        assert!((a - b).abs() <= within * (1.0 + b.abs()), "{a} and {b}");
    }
}

/// Names and shapes, as a file would have them.
fn contents(model: &impl Module) -> Vec<(String, Vec<usize>)> {
    let tensors = model.tensors().expect("tensors");
    tensors.into_iter().map(|(name, tensor)| (name, tensor.shape().expect("a shape").to_vec())).collect()
}

fn bytes(model: &impl Module) -> Vec<(String, Vec<u64>)> {
    let tensors = model.tensors().expect("tensors");
    tensors.into_iter().map(|(name, x)| (name, numbers(&x).into_iter().map(f64::to_bits).collect())).collect()
}

fn said(failed: &Tensor) -> String {
    failed.error().expect("it fails").to_string()
}

#[test]
fn names_and_shapes_are_those_of_files() {
    let init = &mut Init::new();
    let named = |list: &[(&str, &[usize])]| -> Vec<(String, Vec<usize>)> {
        list.iter().map(|(name, dims)| (name.to_string(), dims.to_vec())).collect()
    };
    let weights = |weight: &[usize], bias: &[usize]| named(&[("weight", weight), ("bias", bias)]);
    assert_eq!(contents(&Linear::new(3, 5, init)), weights(&[5, 3], &[5]));
    assert_eq!(contents(&Conv1d::new(4, 6, 3, init)), weights(&[6, 4, 3], &[6]));
    assert_eq!(contents(&Conv2d::options(4, 6, [3, 2]).with_groups(2).build(init)), weights(&[6, 2, 3, 2], &[6]));
    assert_eq!(contents(&Conv3d::new(4, 6, 1, init)), weights(&[6, 4, 1, 1, 1], &[6]));
    assert_eq!(contents(&ConvTranspose1d::new(4, 6, 3, init)), weights(&[4, 6, 3], &[6]));
    assert_eq!(contents(&ConvTranspose2d::options(4, 6, 3).with_groups(2).build(init)), weights(&[4, 3, 3, 3], &[6]));
    assert_eq!(contents(&ConvTranspose3d::new(4, 6, [1, 2, 3], init)), weights(&[4, 6, 1, 2, 3], &[6]));
    let statistics = named(&[
        ("weight", &[4]),
        ("bias", &[4]),
        ("running_mean", &[4]),
        ("running_var", &[4]),
        ("num_batches_tracked", &[]),
    ]);
    assert_eq!(contents(&BatchNorm1d::new(4, init)), statistics);
    assert_eq!(contents(&BatchNorm2d::new(4, init)), statistics);
    assert_eq!(contents(&BatchNorm3d::new(4, init)), statistics);
    assert_eq!(contents(&BatchNorm2d::options(4).without_affine().build(init)), statistics[2..]);
    assert_eq!(contents(&BatchNorm2d::options(4).without_running_statistics().build(init)), statistics[..2]);
    assert_eq!(contents(&InstanceNorm2d::new(4, init)), []);
    assert_eq!(contents(&InstanceNorm2d::options(4).with_affine().with_running_statistics().build(init)), statistics);
    assert_eq!(contents(&LayerNorm::new([2, 3], init)), weights(&[2, 3], &[2, 3]));
    assert_eq!(contents(&GroupNorm::new(2, 4, init)), weights(&[4], &[4]));
    assert_eq!(contents(&RmsNorm::new(4, init)), named(&[("weight", &[4])]));
    assert_eq!(contents(&Embedding::new(9, 4, init)), named(&[("weight", &[9, 4])]));
    assert_eq!(contents(&EmbeddingBag::new(9, 4, Bag::Sum, init)), named(&[("weight", &[9, 4])]));
    assert_eq!(contents(&Dropout::new(0.5, init)), []);
    let batches = BatchNorm1d::new(4, init).tensors().expect("tensors").remove(4).1;
    assert_eq!(batches.dtype().expect("a type"), DType::I64);
}

#[test]
fn convolutions_are_their_operations() {
    use chainrule::Conv;
    let init = &mut Init::new().dtype(DType::F64);
    let x = normal([2, 4, 9, 8]).to_dtype(DType::F64);
    let options = || Conv2d::options(4, 6, [3, 2]).with_groups(2);
    let conv = Conv::new().groups(2);
    let layer = options().with_stride([2, 1]).with_padding([1, 0]).with_dilation([1, 2]).build(init);
    let conv_with = conv.stride([2, 1]).padding([1, 0]).dilation([1, 2]);
    close(&layer.forward(&x), &x.conv2d(&layer.weight, layer.bias.as_deref(), conv_with), 0.0);
    // A border of one's own is padding before a convolution without it.
    for border in [Pad::Reflect, Pad::Replicate, Pad::Circular, Pad::Constant(3.0)] {
        let layer = options().with_padding([1, 2]).with_padding_mode(border).without_bias().build(init);
        close(&layer.forward(&x), &x.pad(&[(1, 1), (2, 2)], border).conv2d(&layer.weight, None, conv), 0.0);
        let layer = options().with_same_padding().with_dilation(3).with_padding_mode(border).build(init);
        let wide = x.pad(&[(3, 3), (1, 2)], border);
        close(&layer.forward(&x), &wide.conv2d(&layer.weight, layer.bias.as_deref(), conv.dilation(3)), 0.0);
    }
    let same = options().with_same_padding().build(init);
    assert_eq!(sizes(&same.forward(&x)), [2, 6, 9, 8]);
    // Without a batch.
    close(&same.forward(&x.select(0, 1)), &same.forward(&x).select(0, 1), 1e-12);

    let layer = ConvTranspose2d::options(4, 6, 3).with_stride(2).with_padding(1).with_output_padding(1).build(init);
    let conv = Conv::new().stride(2).padding(1).output_padding(1);
    close(&layer.forward(&x), &x.conv_transpose2d(&layer.weight, layer.bias.as_deref(), conv), 0.0);
    assert_eq!(sizes(&layer.forward(&x)), [2, 6, 18, 16]);
    close(&layer.forward_to(&x, [18, 16]), &layer.forward(&x), 0.0);
    assert_eq!(sizes(&layer.forward_to(&x, [17, 16])), [2, 6, 17, 16]);
    assert!(said(&layer.forward_to(&x, [19, 16])).contains("it can be 17 to 18"));
    assert!(said(&layer.forward_to(&x, [18])).contains("1 sizes for 2 axes"));
}

#[test]
fn weights_are_made_of_a_direction_and_a_length() {
    let init = &mut Init::new();
    let mut layer = WeightNorm::new(Conv2d::options(4, 6, 3).with_padding(1).build(init));
    let x = normal([2, 4, 5, 5]);
    close(&layer.forward(&x), &layer.layer.forward(&x), 1e-5);
    // Twice the length of a direction changes nothing, twice the magnitude doubles the weight.
    let (before, weight) = (layer.weight().detach(), layer.layer.weight.detach());
    layer.layer.weight.set(&(weight * 2.0)).expect("a weight");
    close(&layer.weight(), &before, 1e-6);
    let magnitude = layer.magnitude.detach();
    layer.magnitude.set(&(magnitude * 2.0)).expect("a magnitude");
    close(&layer.weight(), &(&before * 2.0), 1e-6);
    let gradients = layer.forward(&x).square().sum().backward().expect("gradients");
    // The length of a direction does not matter: its slope is across it.
    let (slope, direction) = (gradients.of(&layer.layer.weight).expect("its gradient"), layer.layer.weight.detach());
    let along = (slope * direction).sum_over([1, 2, 3]).abs().max().item().expect("a number");
    assert!(along < 1e-2, "{along}");
    assert!(gradients.of(&layer.magnitude).is_ok());
    let names: Vec<String> = layer.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["weight_g", "weight", "bias"]);
    assert!(said(&layer.forward(&Tensor::zeros([1, 3, 5, 5]))).contains("3 channels"));
}

#[test]
fn a_spectral_norm_stretches_nothing() {
    let init = &mut Init::new();
    let greatest = |weight: Tensor| weight.singular_values().max().item().expect("a number");
    let layer = SpectralNorm::new(Linear::new(5, 3, init), init).with_steps(3);
    (0..20).for_each(|_| drop(layer.forward(&Tensor::ones([1, 5]))));
    assert!((greatest(layer.weight()) - 1.0).abs() < 1e-5);
    let known = layer.direction.get();
    evaluating(|| drop(layer.forward(&Tensor::ones([1, 5]))));
    close(&layer.direction.get(), &known, 0.0);
    // Outputs of a transposed convolution lie along the second axis.
    let layer = SpectralNorm::new(ConvTranspose2d::new(2, 4, 3, init), init);
    assert_eq!(sizes(&layer.direction.get()), [4]);
    (0..100).for_each(|_| drop(layer.forward(&Tensor::ones([1, 2, 3, 3]))));
    assert!((greatest(layer.weight().move_axis(1, 0).reshape([4, 18])) - 1.0).abs() < 1e-4);
    let loss = layer.forward(&Tensor::ones([1, 2, 3, 3])).square().sum();
    assert!(loss.backward().expect("gradients").of(&layer.layer.weight).is_ok());
}

/// The statistics of channels by loops: mean and unbiased variance.
fn statistics(x: &Tensor, channels: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = numbers(&x.move_axis(1, 0).reshape([channels as isize, -1]));
    let each = rows.len() / channels;
    rows.chunks(each)
        .map(|row| {
            let mean = row.iter().sum::<f64>() / each as f64;
            (mean, row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (each - 1) as f64)
        })
        .unzip()
}

fn nearly(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-10 * (1.0 + b.abs())), "{a:?} and {b:?}");
}

fn running(part: &Option<Running<Tensor>>) -> Vec<f64> {
    numbers(&part.as_ref().expect("it is tracked").get())
}

#[test]
fn running_statistics_follow_training_only() {
    let init = &mut Init::new().dtype(DType::F64);
    let mut layer = BatchNorm2d::options(3).with_momentum(0.25).build(init);
    let batches = [normal([4, 3, 5, 2]), normal([2, 3, 4, 4]) * 3.0, normal([8, 3, 1, 1]) - 4.0];
    let (mut mean, mut variance) = (vec![0.0; 3], vec![1.0; 3]);
    for (count, x) in batches.iter().map(|x| x.to_dtype(DType::F64)).enumerate() {
        let (y, now) = (layer.forward(&x), statistics(&x, 3));
        let (means, variances) = statistics(&y, 3);
        let each = x.count().expect("a count") / 3;
        nearly(&means, &[0.0; 3]);
        assert!(variances.iter().all(|v| (v * (each - 1) as f64 / each as f64 - 1.0).abs() < 1e-4));
        for channel in 0..3 {
            mean[channel] = 0.75 * mean[channel] + 0.25 * now.0[channel];
            variance[channel] = 0.75 * variance[channel] + 0.25 * now.1[channel];
        }
        nearly(&running(&layer.running_mean), &mean);
        nearly(&running(&layer.running_var), &variance);
        assert_eq!(running(&layer.num_batches_tracked), [count as f64 + 1.0]);
    }
    // Evaluation reads them and leaves them, by a scope or frozen; no_grad alone is still training.
    let before = bytes(&layer);
    let x = normal([4, 3, 5, 2]).to_dtype(DType::F64) + 1.0;
    let (m, v) = (tensor(&mean), tensor(&variance));
    let expected = x.batch_norm_with(&m, &v, layer.weight.as_deref(), layer.bias.as_deref(), 1e-5);
    close(&evaluating(|| layer.forward(&x)), &expected, 1e-12);
    // One number a channel has no spread, but can be evaluated.
    assert!(evaluating(|| layer.forward(&x.slice((..1, .., ..1, ..1)))).error().is_none());
    assert_eq!(bytes(&layer), before);
    layer.freeze();
    close(&layer.forward(&x), &expected, 1e-12);
    close(&training(|| layer.forward(&x)), &expected, 1e-12);
    assert_eq!(bytes(&layer), before);
    layer.unfreeze();
    let _ = no_grad(|| layer.forward(&x));
    assert_ne!(bytes(&layer), before);
}

#[test]
fn a_cumulative_average_weighs_all_batches_alike() {
    let init = &mut Init::new().dtype(DType::F64);
    let layer = BatchNorm1d::options(2).with_cumulative_average().build(init);
    let mut means = Vec::new();
    for shift in [0.0, 10.0, -3.0, 2.0] {
        let x = (normal([6, 2]) + shift).to_dtype(DType::F64);
        let _ = layer.forward(&x);
        means.push(statistics(&x, 2).0[1]);
        nearly(&running(&layer.running_mean)[1..], &[means.iter().sum::<f64>() / means.len() as f64]);
    }
    let untracked = BatchNorm1d::options(2).without_running_statistics().build(init);
    let x = normal([6, 2]).to_dtype(DType::F64);
    close(&evaluating(|| untracked.forward(&x)), &untracked.forward(&x), 0.0);
}

#[test]
fn what_fails_leaves_statistics_as_they_were() {
    let init = &mut Init::new();
    let layers: Vec<(Box<dyn Layer>, Vec<Tensor>)> = vec![
        (
            Box::new(BatchNorm2d::new(3, init)),
            vec![
                normal([4, 2, 3, 3]),
                normal([4, 3, 3]),
                normal([1, 3, 1, 1]),
                normal([4, 3]).matmul(&normal([4, 3])),
                Tensor::zeros([4, 3, 2, 2]).to_dtype(DType::I64),
            ],
        ),
        (
            Box::new(BatchNorm1d::options(3).without_affine().build(init)),
            vec![normal([4, 2]), normal([4, 3, 1, 1]), normal([1, 3]), normal([3])],
        ),
        (
            Box::new(InstanceNorm1d::options(3).with_running_statistics().build(init)),
            vec![normal([4, 2, 5]), normal([2, 5]), normal([5])],
        ),
    ];
    for (layer, inputs) in layers {
        let tensors = |layer: &dyn Layer| -> Vec<Vec<f64>> {
            layer.tensors().expect("tensors").iter().map(|(_, x)| numbers(x)).collect()
        };
        let before = tensors(&*layer);
        for x in inputs {
            let y = layer.forward(&x);
            assert!(y.error().is_some(), "{x:?} is accepted");
            assert_eq!(tensors(&*layer), before);
        }
    }
}

#[test]
fn instances_are_normalised_alone() {
    let init = &mut Init::new().dtype(DType::F64);
    let x = normal([2, 3, 7]).to_dtype(DType::F64);
    let plain = InstanceNorm1d::new(3, init);
    close(&plain.forward(&x), &x.instance_norm(None, None, 1e-5), 0.0);
    close(&plain.forward(&x.select(0, 1)), &plain.forward(&x).select(0, 1), 1e-12);
    close(&evaluating(|| plain.forward(&x)), &plain.forward(&x), 0.0);
    let tracked = InstanceNorm1d::options(3).with_running_statistics().build(init);
    close(&tracked.forward(&x), &plain.forward(&x), 0.0);
    let (mut mean, mut variance) = (vec![0.0; 3], vec![0.9; 3]);
    for example in 0..2 {
        let (m, v) = statistics(&x.narrow(0, example, 1), 3);
        for channel in 0..3 {
            mean[channel] += 0.1 * m[channel] / 2.0;
            variance[channel] += 0.1 * v[channel] / 2.0;
        }
    }
    nearly(&running(&tracked.running_mean), &mean);
    nearly(&running(&tracked.running_var), &variance);
    assert_eq!(running(&tracked.num_batches_tracked), [0.0]);
    let expected = x.batch_norm_with(&tensor(&mean), &tensor(&variance), None, None, 1e-5);
    close(&evaluating(|| tracked.forward(&x)), &expected, 1e-12);
}

#[test]
fn half_models_keep_fine_statistics() {
    let layer = BatchNorm1d::new(2, &mut Init::new().dtype(DType::BF16));
    let mut cast = BatchNorm1d::new(2, &mut Init::new());
    cast.cast(DType::BF16).expect("a float type");
    for layer in [&layer, &cast] {
        let dtypes: Vec<DType> =
            layer.tensors().expect("tensors").iter().map(|(_, x)| x.dtype().expect("a type")).collect();
        assert_eq!(dtypes, [DType::BF16, DType::BF16, DType::F32, DType::F32, DType::I64]);
        let x = normal([16, 2]).to_dtype(DType::BF16);
        for _ in 0..3 {
            assert_eq!(layer.forward(&x).dtype().expect("a type"), DType::BF16);
        }
        let share = 1.0 - 0.9f64.powi(3);
        let means: Vec<f64> = statistics(&x, 2).0.iter().map(|mean| mean * share).collect();
        let now = running(&layer.running_mean);
        assert!(now.iter().zip(&means).all(|(a, b)| (a - b).abs() < 1e-6), "{now:?} and {means:?}");
        assert_eq!(evaluating(|| layer.forward(&x)).dtype().expect("a type"), DType::BF16);
    }
}

#[test]
fn a_checkpoint_counts_a_batch_once() {
    let init = &mut Init::new();
    let (norm, dropout) = (BatchNorm1d::new(4, init), Dropout::new(0.5, init));
    let x = normal([8, 4]).variable();
    let y = checkpoint(|| dropout.forward(&norm.forward(&x)));
    let gradient = y.square().sum().backward().expect("gradients").of(&x).expect("one").clone();
    assert_eq!(running(&norm.num_batches_tracked), [1.0]);
    // Without the checkpoint, from the same draw.
    let again = Init::new();
    let (norm, dropout) = (BatchNorm1d::new(4, &mut again.clone()), Dropout::new(0.5, &mut again.clone()));
    let plain = dropout.forward(&norm.forward(&x));
    close(&plain, &y, 0.0);
    close(plain.square().sum().backward().expect("gradients").of(&x).expect("one"), &gradient, 0.0);
}

#[test]
fn dropout_draws_anew_and_evaluation_does_not() {
    let init = &mut Init::new();
    let x = Tensor::ones([40, 50]);
    let mut layer = Dropout::new(0.3, init);
    let (first, second) = (layer.forward(&x), layer.forward(&x));
    assert_ne!(numbers(&first), numbers(&second));
    let dropped = numbers(&first).iter().filter(|&&y| y == 0.0).count() as f64 / 2000.0;
    assert!((dropped - 0.3).abs() < 4.0 * (0.21f64 / 2000.0).sqrt(), "{dropped}");
    let position = layer.stream.get().position();
    close(&evaluating(|| layer.forward(&x)), &x, 0.0);
    layer.freeze();
    close(&layer.forward(&x), &x, 0.0);
    assert_eq!(layer.stream.get().position(), position);
    // Two layers of one model do not drop alike; the same seed does.
    let (mut a, mut b) = (Init::new(), Init::new());
    let (one, two) = (Dropout::new(0.3, &mut a), Dropout::new(0.3, &mut a));
    assert_ne!(numbers(&one.forward(&x)), numbers(&two.forward(&x)));
    assert_eq!(numbers(&Dropout::new(0.3, &mut b).forward(&x)), numbers(&first_of(&x)));
    fn first_of(x: &Tensor) -> Tensor {
        Dropout::new(0.3, &mut Init::new()).forward(x)
    }
    // A failed input draws nothing.
    let fresh = Dropout::new(0.3, init);
    let position = fresh.stream.get().position();
    assert!(fresh.forward(&normal([2, 3]).matmul(&normal([2, 3]))).error().is_some());
    assert_eq!(fresh.stream.get().position(), position);
    // Whole channels, with and without a batch.
    let channels = numbers(&Dropout1d::new(0.5, init).forward(&Tensor::ones([64, 5])));
    assert!(channels.chunks(5).all(|row| row.iter().all(|y| *y == row[0])) && channels.contains(&0.0));
    let channels = numbers(&Dropout3d::new(0.5, init).forward(&Tensor::ones([64, 2, 2, 2])));
    assert!(channels.chunks(8).all(|row| row.iter().all(|y| *y == row[0])) && channels.contains(&0.0));
    assert!(said(&Dropout::new(1.5, init).forward(&x)).contains("1.5"));
}

#[test]
fn embeddings_do_not_learn_their_padding() {
    let init = &mut Init::new();
    let layer = Embedding::options(5, 3).with_padding(-1).build(init);
    assert_eq!(numbers(&layer.weight.select(0, 4)), [0.0; 3]);
    assert!(numbers(&layer.weight.select(0, 3)).iter().all(|x| *x != 0.0));
    let y = layer.forward(&Tensor::from([[0, 4], [1, 4]]));
    assert_eq!(sizes(&y), [2, 2, 3]);
    let gradients = y.sum().backward().expect("gradients");
    let gradient = numbers(gradients.of(&layer.weight).expect("its gradient"));
    assert_eq!(gradient.iter().sum::<f64>(), 6.0);
    assert_eq!(gradient[12..], [0.0; 3]);
    assert!(said(&layer.forward(&Tensor::from([5]))).contains('5'));
    assert!(Embedding::options(5, 3).with_padding(7).build(init).forward(&Tensor::from([1])).error().is_some());
    let words = Tensor::from([[0, 3], [1, 1]]);
    for (bag, of) in [
        (Bag::Sum, (|x: &Tensor| x.sum_over(1)) as fn(&Tensor) -> Tensor),
        (Bag::Mean, |x| x.mean_over(1)),
        (Bag::Max, |x| x.max_along(1).0),
    ] {
        let layer = EmbeddingBag::new(5, 3, bag, init);
        close(&layer.forward(&words), &of(&words.embedding(&layer.weight)), 0.0);
        close(&layer.forward_from(&words.reshape([4]), &Tensor::from([0, 2])), &layer.forward(&words), 1e-7);
        assert_eq!(numbers(&layer.forward_from(&Tensor::from([1]), &Tensor::from([0, 1])))[3..], [0.0; 3]);
    }
    let waves = PositionalEncoding::sinusoidal(50, 6).forward(&Tensor::zeros([1, 50, 6]));
    for (place, row) in numbers(&waves).chunks(6).enumerate() {
        for (column, y) in row.iter().enumerate() {
            let angle = place as f64 / 10_000f64.powf((column / 2 * 2) as f64 / 6.0);
            let expected = if column % 2 == 0 { angle.sin() } else { angle.cos() };
            assert!((y - expected).abs() < 1e-6, "{place} {column}: {y} {expected}");
        }
    }
    assert!(said(&PositionalEncoding::sinusoidal(5, 6).forward(&Tensor::zeros([6, 6]))).contains("not longer"));
}

#[test]
fn poolings_are_their_operations() {
    use chainrule::Pool;
    let x = normal([2, 3, 9, 8]);
    let pool = Pool::new([3, 2]).stride(2).padding(1).ceil();
    let layer = MaxPool2d::new([3, 2]).with_stride(2).with_padding(1).with_ceil();
    close(&layer.forward(&x), &x.max_pool2d(pool), 0.0);
    close(&layer.with_dilation([1, 3]).forward(&x), &x.max_pool2d(pool.dilation([1, 3])), 0.0);
    let layer = LpPool2d::new(3.0, [3, 2]).with_stride(2).with_ceil();
    close(&layer.forward(&x.abs()), &x.abs().lp_pool2d(3.0, Pool::new([3, 2]).stride(2).ceil()), 0.0);
    let layer = AvgPool2d::new([3, 2]).with_stride(2).with_padding(1).with_ceil();
    close(&layer.forward(&x), &x.average_pool2d(pool), 0.0);
    close(&layer.without_counting_padding().forward(&x), &x.average_pool2d(pool.without_padding()), 0.0);
    close(&layer.with_divisor(5.0).forward(&x), &x.average_pool2d(pool.divisor(5.0)), 0.0);
    close(&AdaptiveMaxPool2d::new([4, 1]).forward(&x), &x.adaptive_max_pool2d([4, 1]), 0.0);
    close(&AdaptiveAvgPool2d::new([4, 1]).forward(&x), &x.adaptive_average_pool2d([4, 1]), 0.0);
    let unpool = MaxUnpool2d::new(3).with_stride(2);
    let [y, positions] = MaxPool2d::new(3).with_stride(2).forward_with_positions(&x.narrow(-1, 0, 7));
    assert_eq!(sizes(&unpool.forward(&y, &positions)), [2, 3, 9, 7]);
    let [y, positions] = MaxPool2d::new(3).with_stride(2).forward_with_positions(&x);
    close(&unpool.forward_to(&y, &positions, [9, 8]), &y.max_unpool2d(&positions, [9, 8]), 0.0);
    assert!(said(&MaxUnpool2d::new([3, 3, 3]).forward(&y, &positions)).contains("one for each"));
}

#[test]
fn errors_name_the_parameter_and_both_shapes() {
    let init = &mut Init::new();
    let model = Sequential::new()
        .then_named("conv", Conv2d::new(3, 8, 3, init))
        .then_named("bn", BatchNorm2d::new(8, init))
        .named();
    let said_by_conv = said(&model.forward(&Tensor::zeros([2, 4, 9, 9])));
    for part in ["conv.weight", "[2, 4, 9, 9]", "[8, 3, 3, 3]", "4 channels", file!()] {
        assert!(said_by_conv.contains(part), "{part} is missing in\n{said_by_conv}");
    }
    let said_by_norm = said(&BatchNorm2d::new(8, init).forward(&Tensor::zeros([2, 4, 9, 9])));
    for part in ["weight", "[2, 4, 9, 9]", "[8]", "4 channels", "made for 8", file!()] {
        assert!(said_by_norm.contains(part), "{part} is missing in\n{said_by_norm}");
    }
    let said_by_rank = said(&BatchNorm2d::new(8, init).forward(&Tensor::zeros([2, 8])));
    assert!(said_by_rank.contains("[batch, channels, height, width]: 4 axes"), "{said_by_rank}");
    let said_by_rows = said(&LayerNorm::new([4, 5], init).forward(&Tensor::zeros([2, 5, 4])));
    assert!(said_by_rows.contains("[4, 5]") && said_by_rows.contains("[2, 5, 4]"), "{said_by_rows}");
    let said_by_table = said(&Embedding::new(9, 4, init).forward(&Tensor::from([3, 12])));
    assert!(said_by_table.contains("weight") && said_by_table.contains("12"), "{said_by_table}");
}

#[test]
fn absurd_sizes_fail_where_they_are_used() {
    let init = &mut Init::new();
    let most = usize::MAX;
    let x = normal([2, 4, 4, 4]);
    let layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Linear::new(most, most, init)),
        Box::new(Conv2d::new(most, 4, 3, init)),
        Box::new(Conv2d::new(4, most, 3, init)),
        Box::new(Conv2d::new(4, 4, most, init)),
        Box::new(Conv2d::new(4, 4, -1, init)),
        Box::new(Conv2d::new(4, 4, 0, init)),
        Box::new(Conv2d::new(4, 4, [1, 2, 3], init)),
        Box::new(Conv2d::options(4, 4, 3).with_groups(0).build(init)),
        Box::new(Conv2d::options(4, 4, 3).with_groups(3).build(init)),
        Box::new(Conv2d::options(4, 4, 3).with_stride(0).build(init)),
        Box::new(Conv2d::options(4, 4, 3).with_padding(i64::MAX).with_padding_mode(Pad::Circular).build(init)),
        Box::new(
            Conv2d::options(4, 4, 3)
                .with_same_padding()
                .with_dilation(most)
                .with_padding_mode(Pad::Reflect)
                .build(init),
        ),
        Box::new(ConvTranspose2d::options(4, 4, 3).with_output_padding(9).build(init)),
        Box::new(BatchNorm2d::new(most, init)),
        Box::new(InstanceNorm2d::options(most).with_running_statistics().build(init)),
        Box::new(LayerNorm::new([most, most], init)),
        Box::new(GroupNorm::new(0, 4, init)),
        Box::new(GroupNorm::new(3, 4, init)),
        Box::new(RmsNorm::new((), init)),
        Box::new(Embedding::new(most, most, init)),
        Box::new(PositionalEncoding::sinusoidal(most, most)),
        Box::new(Dropout::new(f64::NAN, init)),
        Box::new(MaxPool2d::new(0)),
        Box::new(AdaptiveAvgPool2d::new([1, 2, 3])),
    ];
    for layer in layers {
        for input in [&x, &x.to_dtype(DType::I64)] {
            let y = layer.forward(input);
            assert!(y.error().is_some(), "{}", y);
        }
    }
}

#[test]
fn clones_are_models_of_their_own() {
    let init = &mut Init::new();
    let model = Sequential::new().then(Conv1d::new(2, 3, 1, init)).then(BatchNorm1d::new(3, init)).named();
    let copy = model.clone();
    for ((name, a), (_, b)) in model.parameters().into_iter().zip(copy.parameters()) {
        assert_ne!(a.id(), b.id(), "{name}");
        assert!(a.shares_memory(b), "{name}");
    }
    let before = bytes(&model);
    let _ = copy.forward(&normal([4, 2, 5]));
    assert_eq!(bytes(&model), before);
    assert_ne!(bytes(&copy), before);
}

#[test]
fn a_model_loads_what_another_saved() {
    let build = |seed| {
        let init = &mut Init::new().seed(seed);
        Sequential::new()
            .then(Conv2d::new(2, 4, 3, init))
            .then(BatchNorm2d::new(4, init))
            .then(Dropout::new(0.5, init))
            .then(AdaptiveAvgPool2d::new(1))
            .named()
    };
    let (a, mut b) = (build(1), build(2));
    let x = normal([3, 2, 6, 6]);
    let _ = a.forward(&x);
    let _ = b.load_tensors(a.tensors().expect("tensors")).strict().expect("every name");
    assert_eq!(bytes(&a), bytes(&b));
    // The state goes on with the same dropout too.
    b.load_state(&a.state().expect("a state")).expect("the same model");
    close(&a.forward(&x), &b.forward(&x), 0.0);
    assert_eq!(bytes(&a), bytes(&b));
}

#[test]
fn activations_are_their_operations() {
    let init = &mut Init::new().dtype(DType::F64);
    let x = normal([3, 4, 2]).to_dtype(DType::F64);
    let plain: Vec<(Box<dyn Layer>, Tensor)> = vec![
        (Box::new(Relu), x.relu()),
        (Box::new(Relu6), x.relu6()),
        (Box::new(Selu), x.selu()),
        (Box::new(Sigmoid), x.sigmoid()),
        (Box::new(LogSigmoid), x.log_sigmoid()),
        (Box::new(Tanh), x.tanh()),
        (Box::new(Silu), x.silu()),
        (Box::new(Mish), x.mish()),
        (Box::new(Hardsigmoid), x.hardsigmoid()),
        (Box::new(Hardswish), x.hardswish()),
        (Box::new(Tanhshrink), x.tanhshrink()),
        (Box::new(Softsign), x.softsign()),
        (Box::new(LeakyRelu::new(0.2)), x.leaky_relu(0.2)),
        (Box::new(Elu::new(0.7)), x.elu(0.7)),
        (Box::new(Celu::new(0.7)), x.celu(0.7)),
        (Box::new(Hardtanh::new(-0.5, 2.0)), x.hardtanh(-0.5, 2.0)),
        (Box::new(Hardshrink::new(0.3)), x.hardshrink(0.3)),
        (Box::new(Softshrink::new(0.3)), x.softshrink(0.3)),
        (Box::new(Softplus::new(2.0, 1.0)), x.softplus(2.0, 1.0)),
        (Box::new(Threshold::new(0.3, -9.0)), x.threshold(0.3, -9.0)),
        (Box::new(Gelu::exact()), x.gelu()),
        (Box::new(Gelu::tanh()), x.gelu_tanh()),
        (Box::new(Softmax::new(1)), x.softmax(1)),
        (Box::new(LogSoftmax::new(-1)), x.log_softmax(-1)),
        (Box::new(Softmin::new(0)), x.softmin(0)),
        (Box::new(Glu::new(1)), x.glu(1)),
        (Box::new(Softmax2d), x.softmax(0)),
        (Box::new(Identity), x.clone()),
        (Box::new(Residual::new(Tanh)), &x + x.tanh()),
        (Box::new(Flatten::new()), x.reshape([3, 8])),
        (Box::new(Unflatten::new(1, [2, -1])), x.reshape([3, 2, 2, 2])),
        (Box::new(ZeroPad1d::new([1, 2])), x.pad(&[(1, 2)], Pad::Zeros)),
        (Box::new(ConstantPad2d::new([1, 2, 3, 4], 5.0)), x.pad(&[(3, 4), (1, 2)], Pad::Constant(5.0))),
        (Box::new(ReflectionPad2d::new([1, 1, 2, 3])), x.pad(&[(2, 3), (1, 1)], Pad::Reflect)),
        (Box::new(ReplicationPad1d::new(3)), x.pad(&[(3, 3)], Pad::Replicate)),
        (Box::new(CircularPad1d::new([2, 0])), x.pad(&[(2, 0)], Pad::Circular)),
    ];
    for (layer, expected) in plain {
        close(&layer.forward(&x), &expected, 0.0);
        assert_eq!(layer.parameters().len(), 0);
    }
    assert!(said(&ZeroPad2d::new([1, 2, 3]).forward(&x)).contains("left, right, then top, bottom"));
    // Slopes that are learnt: one, or one for each channel; at zero the slope below counts.
    for (count, slopes) in [(1, [0.25; 4]), (4, [0.25, 0.5, -1.0, 2.0])] {
        let mut layer = PRelu::new(count, init);
        layer.weight.set(&Tensor::from_slice(&slopes[..count], count).expect("a vector")).expect("it fits");
        let x = x.variable();
        let y = layer.forward(&x);
        let (input, output) = (numbers(&x), numbers(&y));
        for (place, (x, y)) in input.iter().zip(output).enumerate() {
            let slope = if count == 1 { slopes[0] } else { slopes[place / 2 % 4] };
            assert_eq!(y, if *x > 0.0 { *x } else { slope * x });
        }
        let gradients = y.sum().backward().expect("gradients");
        let below: f64 = input.iter().map(|x| x.min(0.0)).sum();
        let found: f64 = numbers(gradients.of(&layer.weight).expect("its gradient")).iter().sum();
        assert!((found - below).abs() < 1e-12);
    }
    let zero = Tensor::zeros([1]).to_dtype(DType::F64).variable();
    let slope = PRelu::new(1, init).forward(&zero).backward().expect("gradients");
    assert_eq!(numbers(slope.of(&zero).expect("one")), [0.25]);
    assert!(said(&PRelu::new(3, init).forward(&x)).contains("4 channels"));
    // Random slopes, of which evaluation takes the middle.
    let layer = RRelu::new(0.1, 0.3, init);
    let ratio = numbers(&(layer.forward(&-x.abs()) / -x.abs()));
    assert!(ratio.iter().all(|r| (0.1..=0.3).contains(r)) && ratio.iter().any(|r| *r != ratio[0]));
    close(&evaluating(|| layer.forward(&x)), &x.leaky_relu(0.2), 1e-15);
}

#[test]
fn a_summary_counts_what_happens() {
    let init = &mut Init::new();
    let model = Sequential::new()
        .then(Conv2d::options(4, 6, 3).with_groups(2).build(init))
        .then(BatchNorm2d::new(6, init))
        .then(ConvTranspose2d::new(6, 2, 2, init))
        .then(Residual::new(Linear::new(8, 8, init)))
        .named();
    let before = bytes(&model);
    let summary = model.summary(&normal([2, 4, 9, 9])).expect("it runs");
    assert_eq!(bytes(&model), before);
    let products: Vec<usize> = summary.lines().iter().map(|line| line.multiply_adds).collect();
    // Outputs of 2 · 6 · 7 · 7, each of 2 · 9 products; inputs as many, each meeting 2 · 4; 2 · 2 · 8 · 8 outputs of 8.
    assert_eq!(products, [588 * 18, 0, 588 * 8, 256 * 8, 0]);
    assert_eq!(summary.parameters(), model.parameter_count());
    let layers: Vec<&str> = summary.lines().iter().map(|line| line.layer.as_str()).collect();
    assert_eq!(layers, ["0", "1", "2", "3", ""]);
    assert_eq!(summary.bytes(), 4 * (588 + 588 + 3 * 256));
    assert!(model.summary(&normal([2, 5, 9, 9])).is_err());
    let unused = Linear::new(2, 2, init);
    let text = chainrule::nn::summary(&unused, |_| normal([1])).expect("it runs").to_string();
    assert!(text.contains("not used"), "{text}");
}
