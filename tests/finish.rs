//! A convolution with what follows it in one pass gives what one layer after another gives, and only where nobody wants a gradient.

use chainrule::nn::{
    BatchNorm1d, BatchNorm2d, BatchNorm3d, Conv1d, Conv2d, Conv3d, Init, Layer, Linear, Module, Relu, Sequential,
    in_turn,
};
use chainrule::optim::{Optimizer, Sgd};
use chainrule::{DType, Random, Tensor, detect_anomalies, no_grad, record, training};

/// Statistics and learnt numbers that are not those of the start; frozen.
fn seasoned<L: Layer>(mut norm: L, shape: &[usize]) -> L {
    let mut random = Random::new(7);
    for round in 0..3 {
        let x = Tensor::normal(shape, round as f64, 2.0, &mut random).to_dtype(norm.parameters()[0].1.dtype().unwrap());
        training(|| norm.forward(&x)).checked().map(drop).expect("statistics");
    }
    for (_, parameter) in norm.parameters_mut() {
        let around = parameter.normal_like(0.5, 1.0, &mut random);
        parameter.set(&around).expect("numbers of its shape");
    }
    norm.freeze();
    norm
}

fn frozen<L: Layer>(mut layer: L) -> L {
    layer.freeze();
    layer
}

fn normal(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::normal(shape, 0.3, 1.0, &mut Random::new(3)).to_dtype(dtype)
}

/// One after the other.
fn plainly(x: &Tensor, layers: &[&dyn Layer]) -> Tensor {
    layers.iter().fold(x.clone(), |x, layer| layer.forward(&x))
}

/// Both ways agree within `tolerance` of the greatest number, and one pass is not two: its bits differ somewhere, or it is exact.
fn agree(what: &str, x: &Tensor, layers: &[&dyn Layer], tolerance: f64) {
    let (together, apart) = (in_turn(x, layers), plainly(x, layers));
    assert_eq!(together.shape().unwrap(), apart.shape().unwrap(), "{what}");
    assert_eq!(together.dtype().unwrap(), x.dtype().unwrap(), "{what}");
    let (together, apart) = (together.to_dtype(DType::F64), apart.to_dtype(DType::F64));
    let most = apart.abs().max().item().unwrap();
    let off = (together - apart).abs().max().item().unwrap();
    assert!(off <= tolerance * most, "{what}: {off:e} of {most}");
}

#[test]
fn one_pass_is_as_good_as_several() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let tolerance = match dtype {
            DType::F32 => 2e-6,
            DType::F64 => 1e-13,
            _ => 0.02,
        };
        let init = &mut Init::new().dtype(dtype);
        let of_images = |conv: chainrule::nn::ConvOptions<Conv2d>, init: &mut Init, outputs: usize, x: &[usize]| {
            for bias in [true, false] {
                let conv = if bias { conv.clone() } else { conv.clone().without_bias() };
                let conv = frozen(conv.build(init));
                let norm = seasoned(BatchNorm2d::new(outputs, init), &[4, outputs, 3, 3]);
                let x = normal(x, dtype);
                agree(&format!("{conv:?}"), &x, &[&conv, &norm, &Relu], tolerance);
                agree(&format!("{conv:?} without rectifier"), &x, &[&conv, &norm], tolerance);
                agree(&format!("{conv:?} without norm"), &x, &[&conv, &Relu], tolerance);
                agree(&format!("{conv:?} and more"), &x, &[&conv, &norm, &Relu, &norm, &Relu], tolerance);
            }
        };
        // Winograd's way, the product (one image at a time, several, of one tap, in groups), and element by element.
        of_images(Conv2d::options(12, 20, 3).with_padding(1), init, 20, &[3, 12, 13, 14]);
        of_images(Conv2d::options(5, 9, 3).with_stride(2), init, 9, &[2, 5, 21, 22]);
        of_images(Conv2d::options(6, 8, 2), init, 8, &[9, 6, 5, 5]);
        of_images(Conv2d::options(7, 10, 1), init, 10, &[2, 7, 9, 9]);
        of_images(Conv2d::options(8, 12, 3).with_groups(2), init, 12, &[2, 8, 11, 12]);
        of_images(Conv2d::options(6, 6, 3).with_groups(6).with_same_padding(), init, 6, &[2, 6, 9, 40]);
        let sequence = frozen(Conv1d::new(4, 6, 5, init));
        let norm = seasoned(BatchNorm1d::new(6, init), &[4, 6, 3]);
        agree("a sequence", &normal(&[3, 4, 50], dtype), &[&sequence, &norm, &Relu], tolerance);
        let volume = frozen(Conv3d::new(4, 6, 2, init));
        let norm = seasoned(BatchNorm3d::new(6, init), &[2, 6, 3, 3, 3]);
        agree("a volume", &normal(&[2, 4, 5, 6, 7], dtype), &[&volume, &norm, &Relu], tolerance);
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let init = &mut Init::new();
    let conv = frozen(Conv2d::new(9, 16, 3, init));
    let x = normal(&[1, 9, 12, 12], DType::F32) * Tensor::from([f32::NAN]);
    assert!(in_turn(&x, &[&conv, &Relu]).is_nan().all().to_vec::<bool>().unwrap()[0]);
}

#[test]
fn a_sequential_does_it_and_gradients_see_every_layer() {
    let init = &mut Init::new();
    let mut model = Sequential::new()
        .then(Conv2d::options(8, 16, 3).without_bias().build(init))
        .then(BatchNorm2d::new(16, init))
        .then(Relu)
        .then(Conv2d::new(16, 4, 1, init));
    let x = normal(&[2, 8, 10, 10], DType::F32);
    training(|| no_grad(|| model.forward(&x))).checked().map(drop).unwrap();
    let operations = |model: &Sequential| {
        let (_, timings) = chainrule::profile(|| model.forward(&x).checked().unwrap());
        timings.to_string()
    };
    let apart = operations(&model);
    assert!(apart.contains("batch_norm") && apart.contains("relu"), "{apart}");
    let loss = model.forward(&x).square().mean();
    let gradients = loss.backward().unwrap();
    assert!(model.parameters().iter().all(|(_, parameter)| gradients.of(parameter).is_ok()));
    model.freeze();
    let together = operations(&model);
    assert!(
        together.contains("conv2d") && !together.contains("batch_norm") && !together.contains("relu"),
        "{together}"
    );
    // The input may want a gradient by itself; who looks on sees all layers.
    let x = x.variable();
    assert!(model.forward(&x).mean().backward().unwrap().of(&x).is_ok());
    let (_, recording) = record(|| no_grad(|| model.forward(&x)));
    assert!(format!("{recording:?}").contains("BatchNorm"));
    assert!(detect_anomalies(|| model.forward(&x)).error().is_none());
}

#[test]
fn errors_are_those_of_the_layers() {
    let init = &mut Init::new();
    let conv = frozen(Conv2d::new(3, 8, 3, init));
    let narrow = frozen(BatchNorm2d::new(4, init));
    let of_sequences = frozen(BatchNorm1d::new(8, init));
    let text = |y: Tensor| y.error().expect("it does not fit").to_string();
    let x = normal(&[2, 3, 9, 9], DType::F32);
    for layers in [[&conv as &dyn Layer, &narrow], [&conv, &of_sequences]] {
        let strip = |text: String| text.lines().filter(|line| !line.contains("  at ")).collect::<Vec<_>>().join("\n");
        assert_eq!(strip(text(in_turn(&x, &layers))), strip(text(plainly(&x, &layers))));
    }
    let unfit = text(in_turn(&normal(&[2, 4, 9, 9], DType::F32), &[&conv, &narrow, &Relu]));
    assert!(unfit.contains("4 channels") && !unfit.contains("src/"), "{unfit}");
}

/// What is made of a weight at rest is kept beside it: the same bits, the first time and later, and never those of other numbers.
#[test]
fn what_is_kept_beside_a_weight_changes_with_it() {
    let init = &mut Init::new();
    let bytes = |y: Tensor| y.to_vec::<f32>().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let mut random = Random::new(2);
    // Rows that products pack for, turn, and neither.
    let mut linear = Linear::new(200, 48, init);
    let mut conv = Conv2d::new(16, 16, 3, init);
    let inputs = [2, 5, 64, 200].map(|rows| normal(&[rows, 200], DType::F32));
    let image = normal(&[1, 16, 12, 12], DType::F32);
    for _ in 0..3 {
        let plainly =
            |x: &Tensor, linear: &Linear| x.matmul(&linear.weight.transpose(0, 1)) + linear.bias.as_ref().unwrap();
        for x in &inputs {
            // With a gradient nothing is kept.
            let wanted = bytes(linear.forward(x));
            for _ in 0..3 {
                assert_eq!(bytes(no_grad(|| linear.forward(x))), wanted);
            }
            let off = (plainly(x, &linear) - linear.forward(x)).abs().max().item().unwrap();
            assert!(off < 1e-5, "{off}");
        }
        let wanted = bytes(conv.forward(&image));
        for _ in 0..3 {
            assert_eq!(bytes(no_grad(|| conv.forward(&image))), wanted);
        }
        for parameter in [&mut linear.weight, &mut conv.weight] {
            let next = parameter.normal_like(0.0, 0.1, &mut random);
            parameter.set(&next).unwrap();
        }
        // A step of an optimizer writes in place.
        let loss = linear.forward(&inputs[0]).square().mean() + conv.forward(&image).square().mean();
        let gradients = loss.backward().unwrap();
        Sgd::new(0.1).step(&mut linear, &gradients).unwrap();
        Sgd::new(0.1).step(&mut conv, &gradients).unwrap();
    }
}
