//! Mixed precision: what autocast computes in which type, training in bf16 beside f32, and losses that are scaled for f16.

use chainrule::nn::{Dropout, Init, Layer, LayerNorm, Linear};
use chainrule::optim::{Adam, LossScaler, Optimizer, Sgd};
use chainrule::{
    AUTOCAST, Conv, DType, Gradients, Parameter, Precision, Random, Result, Tensor, autocast, autocast_type,
    checkpoint, cross_entropy, module,
};

#[test]
fn the_table_in_the_documentation_is_the_one_in_the_code() {
    let text = include_str!("../src/tensor/autocast.rs");
    let row = |begins: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.strip_prefix("/// | ")?.strip_prefix(begins));
        let names = line.unwrap_or_else(|| panic!("no row {begins}")).trim_start_matches(" | ").trim_end_matches(" |");
        names.split(", ").map(str::to_string).collect()
    };
    let rows = [
        (Precision::Short, row("the scope's type")),
        (Precision::Single, row("f32")),
        (Precision::Widest, row("the widest of its operands' types")),
    ];
    assert_eq!(rows.len(), AUTOCAST.len());
    for ((precision, documented), (listed, names)) in rows.iter().zip(AUTOCAST) {
        assert_eq!(
            (precision, &documented[..]),
            (listed, &names.iter().map(|name| name.to_string()).collect::<Vec<_>>()[..])
        );
        assert!(documented.iter().all(|name| Precision::of(name) == *precision));
    }
}

/// What came of an operation, and the name it goes by in a recording.
fn types(work: impl Fn(&Tensor, &Tensor) -> Tensor) -> [DType; 2] {
    let wide = Tensor::ones([1, 2, 4, 4]) * 0.5;
    let short = wide.to_dtype(DType::BF16);
    [&wide, &short].map(|x| autocast(DType::BF16, || work(x, &wide).dtype().unwrap()))
}

#[test]
fn operations_compute_where_the_table_says() {
    use DType::{BF16, F32};
    let weight = || Tensor::ones([3, 2, 2, 2]);
    assert_eq!(types(|x, w| x.matmul(w)), [BF16, BF16]);
    assert_eq!(types(|x, _| x.linear(&Tensor::ones([3, 4]), Some(&Tensor::ones([3])))), [BF16, BF16]);
    assert_eq!(types(|x, _| x.conv2d(&weight(), None, Conv::new())), [BF16, BF16]);
    assert_eq!(types(|x, _| x.softmax(-1)), [F32, F32]);
    assert_eq!(types(|x, _| x.exp()), [F32, F32]);
    assert_eq!(types(|x, _| x.sum()), [F32, F32]);
    assert_eq!(types(|x, _| x.mean()), [F32, F32]);
    assert_eq!(types(|x, _| x.relu()), [F32, BF16]);
    assert_eq!(types(|x, _| x * 2.0), [F32, BF16]);
    assert_eq!(types(|x, w| x + w), [F32, F32]);
    assert_eq!(types(|x, w| Tensor::cat(&[x, w], 0)), [F32, F32]);
    // f64, whole numbers and what is outside of the scope stay what they are.
    let double = Tensor::ones([2, 2]).to_dtype(DType::F64);
    assert_eq!(autocast(BF16, || double.matmul(&double).dtype()).unwrap(), DType::F64);
    let counts = Tensor::arange(4).reshape([2, 2]);
    assert_eq!(autocast(BF16, || counts.matmul(&counts).dtype()).unwrap(), DType::I64);
    let wide = Tensor::ones([2, 2]);
    let inner = autocast(BF16, || autocast(F32, || (autocast_type(), wide.matmul(&wide).dtype().unwrap())));
    assert_eq!(inner, (None, F32));
    let refused = autocast(DType::I64, || wide.matmul(&wide)).checked().unwrap_err().to_string();
    assert!(refused.contains("autocast takes bf16 or f16"), "{refused}");
}

#[test]
fn gradients_come_back_in_the_type_of_the_parameters() -> Result<()> {
    let mut random = Random::new(3);
    let weight = Tensor::normal([4, 4], 0.0, 1.0, &mut random).variable();
    let x = Tensor::normal([5, 4], 0.0, 1.0, &mut random);
    let of_weight = |gradients: Result<Gradients>| gradients?.of(&weight).cloned();
    let exact = of_weight(x.matmul(&weight).relu().square().mean().backward())?;
    let block = |x: &Tensor| x.matmul(&weight).relu();
    // The walk back may be inside of the scope or outside, and over a checkpoint.
    let loss = || block(&x).square().mean();
    let outside = of_weight(autocast(DType::BF16, loss).backward())?;
    let inside = of_weight(autocast(DType::BF16, || loss().backward()))?;
    let again = of_weight(autocast(DType::BF16, || checkpoint(|| block(&x)).square().mean()).backward())?;
    assert_eq!(outside.dtype()?, DType::F32);
    assert_eq!((&outside, &outside), (&inside, &again));
    let farthest = (&exact - &outside).abs().max().item()?;
    assert!(farthest > 0.0 && farthest < 0.05 * exact.abs().max().item()?, "{farthest}");
    Ok(())
}

#[test]
fn a_parameter_is_cast_once_in_a_scope_until_it_changes() -> Result<()> {
    let mut random = Random::new(4);
    let mut weight = Parameter::new(Tensor::normal([8, 8], 0.0, 1.0, &mut random));
    let x = Tensor::normal([5, 8], 0.0, 1.0, &mut random);
    let product = |weight: &Parameter| x.matmul(weight);
    let outside = |weight: &Parameter| x.to_dtype(DType::BF16).matmul(&weight.to_dtype(DType::BF16));
    let place = |weight: &Parameter| weight.with_slice(|numbers: &[f32]| numbers.as_ptr() as usize);
    let at = place(&weight)?;
    autocast(DType::BF16, || -> Result<()> {
        assert_eq!((product(&weight), product(&weight)), (outside(&weight), outside(&weight)));
        // In place, where a cast is held; by an optimizer; and by other numbers altogether.
        weight.update(|numbers: &mut [f32]| numbers.iter_mut().for_each(|number| *number *= -2.0))?;
        assert_eq!(
            (product(&weight), autocast(DType::BF16, || product(&weight))),
            (outside(&weight), outside(&weight))
        );
        let gradients = product(&weight).square().mean().backward()?;
        Sgd::new(0.5).step(&mut weight, &gradients)?;
        assert_eq!((product(&weight), place(&weight)?), (outside(&weight), at));
        weight.set(&Tensor::ones([8, 8]))?;
        assert_eq!(product(&weight), outside(&weight));
        Ok(())
    })?;
    // Gradients of several uses are added up in f32.
    let weight = Parameter::new(Tensor::normal([8, 8], 0.0, 1.0, &mut random));
    let slopes = |works: &[&dyn Fn() -> Tensor]| -> Result<Tensor> {
        let losses: Vec<Tensor> = works.iter().map(|work| work().square().mean()).collect();
        let loss = losses.iter().fold(Tensor::from(0.0), |sum, loss| sum + loss);
        loss.backward()?.of(&weight).cloned()
    };
    let (first, second) = (|| product(&weight), || (&x * 3.0).matmul(&weight));
    let together = autocast(DType::BF16, || slopes(&[&first, &second]))?;
    let apart = [autocast(DType::BF16, || slopes(&[&first]))?, autocast(DType::BF16, || slopes(&[&second]))?];
    assert_eq!((together.dtype()?, &together), (DType::F32, &(&apart[0] + &apart[1])));
    Ok(())
}

struct Model {
    first: Linear,
    norm: LayerNorm,
    dropout: Dropout,
    second: Linear,
}
module!(Model { first, norm, dropout, second });

/// Two arms of a spiral.
fn spiral(count: usize, random: &mut Random) -> Result<(Tensor, Tensor)> {
    let (mut points, mut classes) = (Vec::new(), Vec::new());
    for place in 0..count {
        let (class, turn) = (place % 2, 0.5 + 3.0 * random.uniform());
        let angle = turn + class as f64 * std::f64::consts::PI;
        points.extend([(turn * angle.cos()) as f32, (turn * angle.sin()) as f32]);
        classes.push(class as i64);
    }
    Ok((Tensor::from_vec(points, [count, 2])?, Tensor::from_vec(classes, [count])?))
}

/// The loss on fresh points after training.
fn trained(seed: u64, dtype: DType) -> Result<f64> {
    let mut init = Init::new().seed(seed);
    let mut model = Model {
        first: Linear::new(2, 32, &mut init),
        norm: LayerNorm::new([32], &mut init),
        dropout: Dropout::new(0.05, &mut init),
        second: Linear::new(32, 2, &mut init),
    };
    let (mut optimizer, mut scaler) = (Adam::new(0.01), LossScaler::new());
    let mut random = Random::new(seed);
    let scores = |model: &Model, x: &Tensor| {
        autocast(dtype, || {
            model.second.forward(&model.dropout.forward(&model.norm.forward(&model.first.forward(x)).relu()))
        })
    };
    for _ in 0..150 {
        let (x, y) = spiral(64, &mut random)?;
        let loss = cross_entropy(&scores(&model, &x), &y);
        if dtype == DType::F16 {
            let mut gradients = scaler.scale(&loss).backward()?;
            scaler.unscale(&mut gradients)?;
            scaler.step(&mut optimizer, &mut model, &gradients)?;
        } else {
            optimizer.step(&mut model, &loss.backward()?)?;
        }
    }
    let (x, y) = spiral(500, &mut Random::new(99))?;
    cross_entropy(&chainrule::evaluating(|| scores(&model, &x)), &y).item()
}

#[test]
fn training_in_16_bits_ends_where_f32_does() -> Result<()> {
    let wide: Vec<f64> = (0..5).map(|seed| trained(seed, DType::F32)).collect::<Result<_>>()?;
    let (least, most) = wide.iter().fold((f64::MAX, f64::MIN), |(low, high), &loss| (low.min(loss), high.max(loss)));
    assert!(most < 0.5, "{wide:?}");
    // The seed in the middle.
    let rank = |seed: u64| wide.iter().filter(|&&loss| loss < wide[seed as usize]).count();
    let middle = (0..5).find(|&seed| rank(seed) == 2).unwrap_or(0);
    for dtype in [DType::BF16, DType::F16] {
        let short = trained(middle, dtype)?;
        assert!((least..=most).contains(&short), "{dtype}: {short}, f32 {wide:?}");
    }
    Ok(())
}

#[test]
fn a_scale_that_is_too_large_leaves_the_step_out_and_falls() -> Result<()> {
    let mut weight = chainrule::Parameter::new(Tensor::from([1.0, -2.0]));
    let mut optimizer = Adam::new(0.1);
    let mut scaler = LossScaler::new().with_scale(1024.0).with_growth(2.0, 2);
    let x = Tensor::from([3.0, 4.0]);
    let mut step = |factor: f64, weight: &mut chainrule::Parameter| -> Result<(Vec<f32>, f64)> {
        let loss = (&**weight * &x * factor).sum();
        let mut gradients = scaler.scale(&loss).backward()?;
        scaler.unscale(&mut gradients)?;
        if factor == 1.0 {
            assert_eq!(gradients.of(weight)?.to_vec::<f32>()?, [3.0, 4.0]);
        }
        scaler.step(&mut optimizer, weight, &gradients)?;
        Ok((weight.to_vec()?, scaler.current()?))
    };
    // Infinite, and NaN.
    assert_eq!(step(f64::MAX, &mut weight)?, (vec![1.0, -2.0], 512.0));
    assert_eq!(step(f64::NAN, &mut weight)?, (vec![1.0, -2.0], 256.0));
    let (moved, scale) = step(1.0, &mut weight)?;
    assert!(moved[0] < 1.0 && moved[1] < -2.0 && scale == 256.0);
    assert_eq!(step(1.0, &mut weight)?.1, 512.0);
    assert_eq!(step(1.0, &mut weight)?.1, 512.0);
    // What was left out was not counted: three plain steps end at the same numbers.
    let (mut plain, mut other) = (chainrule::Parameter::new(Tensor::from([1.0, -2.0])), Adam::new(0.1));
    for _ in 0..3 {
        let gradients = (&*plain * &x).sum().backward()?;
        other.step(&mut plain, &gradients)?;
    }
    assert_eq!(weight.to_vec::<f32>()?, plain.to_vec::<f32>()?);
    let steps = |optimizer: &Adam, weight: &chainrule::Parameter| -> Result<i64> {
        optimizer.state(weight)?.get("parameters")?.get("")?.get("steps")?.integer()
    };
    assert_eq!((steps(&optimizer, &weight)?, steps(&other, &plain)?), (3, 3));
    Ok(())
}

#[test]
fn scaling_teaches_its_order() -> Result<()> {
    let mut weight = chainrule::Parameter::new(Tensor::from([1.0]));
    let (mut optimizer, mut scaler) = (Sgd::new(0.1), LossScaler::new());
    let mut gradients = scaler.scale(&(&*weight * 2.0).sum()).backward()?;
    let early = scaler.step(&mut optimizer, &mut weight, &gradients).unwrap_err().to_string();
    assert!(early.contains("still scaled") && early.contains("unscale"), "{early}");
    scaler.unscale(&mut gradients)?;
    let twice = scaler.unscale(&mut gradients).unwrap_err().to_string();
    assert!(twice.contains("unscaled already"), "{twice}");
    scaler.step(&mut optimizer, &mut weight, &gradients)?;
    assert_eq!(weight.to_vec::<f32>()?, [0.8]);
    Ok(())
}
