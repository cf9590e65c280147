//! Rows of the family `loss`.

use super::*;
use chainrule::loss::*;

/// `-ln softmax(x)[t]` of every element, by one-hot targets.
fn entropies(x: &Tensor, target: &Tensor, classes: usize) -> Tensor {
    let chosen = target.one_hot(classes).to_dtype(x.dtype().unwrap_or(DType::F32));
    let chosen = if x.dims::<3>().is_ok() { chosen.transpose(1, 2) } else { chosen };
    let axis = if x.dims::<1>().is_ok() { 0 } else { 1 };
    let exponentials = x.exp();
    let shares = &exponentials / exponentials.sum_keep(axis);
    -(shares.ln() * chosen).sum_over(axis)
}

/// The weight of each target's class.
fn of_classes(weights: &Tensor, target: &Tensor) -> Tensor {
    weights.take_slices(0, target)
}

pub fn rows() -> Vec<Row> {
    let mut rows = classes();
    rows.extend(regression());
    rows.extend(binary());
    rows.extend(margins());
    rows.extend(vectors());
    rows.extend(sequences());
    rows
}

fn classes() -> Vec<Row> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape);
    let whole = |shape: &[usize]| Tensor::zeros(shape).to_dtype(DType::I64);
    let none = || CrossEntropy::new().with_reduction(Reduction::None);
    vec![
        row("cross_entropy", |x| cross_entropy(&x[0], &x[1]))
            .on([real([4, 5]), index([4], 5)])
            .on([real([3, 700]), index([3], 700)])
            .on([real([70, 1]), index([70], 1)])
            .definition(|x| {
                let classes = x[0].shape().map_or(0, |shape| shape[shape.len().min(2) - 1]);
                entropies(&x[0], &x[1], classes).mean()
            })
            .wrong(ErrorKind::DType, &["cross_entropy", "f32", "to_dtype(DType::I64)"], move || {
                cross_entropy(&zeros(&[2, 3]), &zeros(&[2]))
            })
            .wrong(ErrorKind::DType, &["bool", "binary_cross_entropy_with_logits"], move || {
                cross_entropy(&zeros(&[2, 3]), &Tensor::from([true, false]))
            })
            .wrong(ErrorKind::DType, &["i64", "float"], move || cross_entropy(&whole(&[2, 3]), &whole(&[2])))
            .wrong(ErrorKind::Shape, &["[2, 1]", "target.squeeze_axes(1)"], move || {
                cross_entropy(&zeros(&[2, 3]), &whole(&[2, 1]))
            })
            .wrong(ErrorKind::Shape, &["one-hot", "argmax_over(1)"], move || {
                cross_entropy(&zeros(&[2, 3]), &whole(&[2, 3]))
            })
            .wrong(ErrorKind::Shape, &["axis 1", "transpose(1, 2)"], move || {
                cross_entropy(&zeros(&[2, 5, 3]), &whole(&[2, 5]))
            })
            .wrong(ErrorKind::Shape, &["[4]", "[2]"], move || cross_entropy(&zeros(&[2, 3]), &whole(&[4])))
            .wrong(ErrorKind::Shape, &["a single number"], move || cross_entropy(&zeros(&[]), &whole(&[])))
            .wrong(ErrorKind::Index, &["class 7", "[1, 2]", "3 classes", "0 ..= 2"], move || {
                cross_entropy(&zeros(&[2, 3, 4]), &Tensor::from([[0, 1, 2, 0], [0, 0, 7, 0]]))
            })
            .wrong(ErrorKind::Index, &["class -1", "[0]"], move || {
                cross_entropy(&zeros(&[1, 3]), &Tensor::from([-1]))
            }),
        row("cross_entropy of a single row", |x| cross_entropy(&x[0], &x[1])).on([real([5]), index([], 5)]),
        row("cross_entropy of every element", move |x| none().of(&x[0], &x[1]))
            .on([real([4, 5]), index([4], 5)])
            .on([real([0, 5]), index([0], 5)])
            .on([real([2, 3, 70]), index([2, 70], 3)])
            .on([real([2, 40, 3]), index([2, 3], 40)])
            .on([real([2, 3, 1]), index([2, 1], 3)])
            .definition(|x| {
                let classes = x[0].shape().map_or(0, |shape| shape[1]);
                entropies(&x[0], &x[1], classes)
            }),
        row("cross_entropy with all options", |x| {
            CrossEntropy::new()
                .with_label_smoothing(0.2)
                .with_class_weights(&x[2])
                .with_ignore_index(1)
                .of(&x[0], &x[1])
        })
        .on([real([6, 4]), index([6], 4), real([4]).positive().constant()])
        .on([real([2, 3, 70]), index([2, 70], 3), real([3]).positive().constant()])
        .on([real([2, 600]), index([2], 600), real([600]).positive().constant()])
        .definition(|x| {
            let classes = x[2].count().unwrap_or(0);
            let target = &x[1].to_dtype(DType::I64);
            let counts = target.not_equal(1.0).to_dtype(x[0].dtype().unwrap_or(DType::F32));
            let own = entropies(&x[0], target, classes) * of_classes(&x[2], target);
            let sizes: &[isize] = if x[0].dims::<3>().is_ok() { &[-1, 1] } else { &[-1] };
            let even = -(x[0].log_softmax(1) * x[2].reshape(sizes)).mean_over(1);
            let each = (own * 0.8 + even * 0.2) * &counts;
            each.sum() / (of_classes(&x[2], target) * counts).sum()
        })
        .wrong(ErrorKind::Value, &["label smoothing is 1.5"], move || {
            CrossEntropy::new().with_label_smoothing(1.5).of(&zeros(&[2, 3]), &whole(&[2]))
        })
        .wrong(ErrorKind::Shape, &["class weights", "[2]", "3 classes"], move || {
            CrossEntropy::new().with_class_weights(&zeros(&[2])).of(&zeros(&[2, 3]), &whole(&[2]))
        })
        .wrong(ErrorKind::Gradient, &["class weights have no gradient", "detach"], move || {
            CrossEntropy::new().with_class_weights(&zeros(&[3]).variable()).of(&zeros(&[2, 3]), &whole(&[2]))
        }),
        row("cross_entropy of probabilities", |x| {
            CrossEntropy::new().with_label_smoothing(0.1).with_class_weights(&x[2]).of(&x[0], &x[1])
        })
        .on([real([3, 4]), real([3, 4]).positive(), real([4]).positive().constant()])
        .on([real([2, 3, 5]), real([2, 3, 5]).positive(), real([3]).positive().constant()])
        .composed(),
        row("nll_loss", |x| nll_loss(&x[0], &x[1]))
            .on([real([4, 5]), index([4], 5)])
            .on([real([2, 3, 70]), index([2, 70], 3)])
            .on([real([5]), index([], 5)])
            .definition(|x| {
                let axis = if x[0].dims::<1>().is_ok() { 0 } else { 1 };
                -x[0].gather(axis, &x[1].unsqueeze(axis)).mean()
            })
            .wrong(ErrorKind::DType, &["nll_loss", "f32"], move || nll_loss(&zeros(&[2, 3]), &zeros(&[2])))
            .wrong(ErrorKind::Index, &["class 3", "3 classes"], move || {
                nll_loss(&zeros(&[1, 3]), &Tensor::from([3]))
            }),
        row("nll_loss with options", |x| {
            let loss = NllLoss::new().with_class_weights(&x[2]).with_ignore_index(0);
            loss.with_reduction(Reduction::Sum).of(&x[0], &x[1])
        })
        .on([real([4, 5]), index([4], 5), real([5]).positive().constant()])
        .on([real([2, 3, 4]), index([2, 4], 3), real([3]).positive().constant()])
        .definition(|x| {
            let counts = x[1].not_equal(0.0).to_dtype(x[0].dtype().unwrap_or(DType::F32));
            let own = x[0].gather(1, &x[1].unsqueeze(1)).squeeze_axes(1);
            -(own * of_classes(&x[2], &x[1]) * counts).sum()
        }),
    ]
}

fn regression() -> Vec<Row> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape);
    vec![
        row("mse_loss", |x| mse_loss(&x[0], &x[1]))
            .on([real([2, 3]), real([2, 3])])
            .on([real([]), real([])])
            .definition(|x| (&x[0] - &x[1]).square().mean())
            .composed()
            .wrong(ErrorKind::Shape, &["mse_loss", "[4, 1]", "[4]", "input.squeeze_axes(-1)"], move || {
                mse_loss(&zeros(&[4, 1]), &zeros(&[4]))
            })
            .wrong(ErrorKind::Shape, &["[4, 1]", "[4]", "target.squeeze_axes(-1)"], move || {
                mse_loss(&zeros(&[4]), &zeros(&[4, 1]))
            }),
        row("mse_loss of every element", |x| MseLoss::new().with_reduction(Reduction::None).of(&x[0], &x[1]))
            .on([real([2, 3]), real([2, 3])])
            .on([real([0, 3]), real([0, 3])])
            .definition(|x| (&x[0] - &x[1]).square()),
        row("l1_loss", |x| l1_loss(&x[0], &x[1]))
            .on([real([2, 3]).distinct(), real([2, 3]).constant().values(&[0.31; 6])])
            .definition(|x| (&x[0] - &x[1]).abs().mean())
            .composed(),
        row("smooth_l1_loss", |x| SmoothL1Loss::new().with_beta(0.7).of(&x[0], &x[1]))
            .on([real([30]).away_from(&[0.7, -0.7, 0.0]), real([30]).values(&[0.0; 30])])
            .definition(|x| {
                let apart = (&x[0] - &x[1]).abs();
                apart.less(0.7).choose(apart.square() * (0.5 / 0.7), &apart - 0.35).mean()
            })
            .composed()
            .wrong(ErrorKind::Value, &["beta is -1"], move || {
                SmoothL1Loss::new().with_beta(-1.0).of(&zeros(&[2]), &zeros(&[2]))
            }),
        row("smooth_l1_loss without a parabola", |x| SmoothL1Loss::new().with_beta(0.0).of(&x[0], &x[1]))
            .on([real([30]).away_from(&[0.0]), real([30]).values(&[0.0; 30])])
            .composed(),
        row("huber_loss", |x| HuberLoss::new().with_delta(1.4).of(&x[0], &x[1]))
            .on([real([30]).away_from(&[1.4, -1.4]), real([30]).values(&[0.0; 30])])
            .definition(|x| {
                let apart = (&x[0] - &x[1]).abs();
                apart.less(1.4).choose(apart.square() * 0.5, &apart * 1.4 - 0.98).mean()
            })
            .composed()
            .wrong(ErrorKind::Value, &["delta is NaN"], move || {
                HuberLoss::new().with_delta(f64::NAN).of(&zeros(&[2]), &zeros(&[2]))
            }),
        row("poisson_nll_loss", |x| poisson_nll_loss(&x[0], &x[1]))
            .on([real([2, 3]), real([2, 3])])
            .definition(|x| (x[0].exp() - &x[0] * &x[1]).mean())
            .composed(),
        row("poisson_nll_loss of rates", |x| {
            PoissonNllLoss::new().with_log_input(false).with_full(true).with_epsilon(0.1).of(&x[0], &x[1])
        })
        .on([real([2, 30]).positive(), real([2, 30]).between(0.2, 4.0).away_from(&[1.0])])
        .definition(|x| {
            let t = x[1].clamp_min(1.0);
            let stirling = &t * t.ln() - &t + (&t * std::f64::consts::TAU).ln() * 0.5;
            let stirling = x[1].greater(1.0).choose(&stirling, 0.0);
            (&x[0] - &x[1] * (&x[0] + 0.1).ln() + stirling).mean()
        })
        .composed(),
        row("gaussian_nll_loss", |x| GaussianNllLoss::new().with_full(true).of(&x[0], &x[1], &x[2]))
            .on([real([2, 3]), real([2, 3]), real([2, 3]).positive()])
            .on([real([2, 3]), real([2, 3]), real([2, 1]).positive()])
            .definition(|x| {
                let apart = (&x[0] - &x[1]).square();
                ((x[2].ln() + apart / &x[2]) * 0.5 + 0.5 * std::f64::consts::TAU.ln()).mean()
            })
            .composed()
            .wrong(ErrorKind::Value, &["the least variance is -1", "exp()"], move || {
                gaussian_nll_loss(&zeros(&[2]), &zeros(&[2]), &Tensor::from([1.0, -1.0]))
            })
            .wrong(ErrorKind::Shape, &["the variance has the sizes [3]", "[2, 3]"], move || {
                gaussian_nll_loss(&zeros(&[2, 3]), &zeros(&[2, 3]), &zeros(&[3]))
            }),
        row("gaussian_nll_loss with a variance for each row", |x| gaussian_nll_loss(&x[0], &x[1], &x[2]))
            .on([real([2, 3]), real([2, 3]), real([2]).positive()])
            .composed(),
        row("kl_div", |x| kl_div(&x[0], &x[1]))
            .on([real([2, 3]), real([2, 3]).positive()])
            .definition(|x| (&x[1] * (x[1].ln() - &x[0])).sum() / x[0].shape().map_or(0.0, |shape| shape[0] as f64))
            .composed(),
        row("kl_div of logarithms", |x| {
            KlDiv::new().with_log_target(true).with_element_mean(true).of(&x[0], &x[1])
        })
        .on([real([2, 3]), real([2, 3])])
        .definition(|x| (x[1].exp() * (&x[1] - &x[0])).mean())
        .composed(),
        row("distillation_loss of a single row", |x| distillation_loss(&x[0], &x[1]))
            .on([real([3]), real([3])])
            .composed(),
        row("distillation_loss", |x| DistillationLoss::new().with_temperature(3.0).of(&x[0], &x[1]))
            .on([real([2, 3]), real([2, 3])])
            .on([real([2, 3, 2]), real([2, 3, 2])])
            .definition(|x| {
                let (s, t) = ((&x[0] / 3.0).softmax(1), (&x[1] / 3.0).softmax(1));
                (&t * (t.ln() - s.ln())).sum_over(1).mean() * 9.0
            })
            .composed()
            .wrong(ErrorKind::Value, &["the temperature is 0"], move || {
                DistillationLoss::new().with_temperature(0.0).of(&zeros(&[2, 3]), &zeros(&[2, 3]))
            }),
    ]
}

fn binary() -> Vec<Row> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape);
    let chance = |shape: [usize; 2]| real(shape).between(0.05, 0.95);
    // σ in plain operations
    let sigmoid = |x: &Tensor| 1.0 / ((-x).exp() + 1.0);
    vec![
        row("binary_cross_entropy", |x| {
            BinaryCrossEntropy::new().with_weights(&x[2]).of(&x[0], &x[1])
        })
        .on([chance([2, 3]), chance([2, 3]), real([3]).positive()])
        .definition(|x| {
            let (p, t) = (&x[0], &x[1]);
            (-(t * p.ln() + (1.0 - t) * (1.0 - p).ln()) * &x[2]).mean()
        })
        .composed()
        .wrong(ErrorKind::Value, &["outside of 0 ..= 1", "binary_cross_entropy_with_logits"], || {
            binary_cross_entropy(&Tensor::from([0.5, 1.5]), &Tensor::from([0.0, 0.0]))
        })
        .wrong(ErrorKind::Shape, &["the weight has the sizes [2, 3]", "[3]"], move || {
            BinaryCrossEntropy::new().with_weights(&zeros(&[2, 3])).of(&zeros(&[3]), &zeros(&[3]))
        }),
        row("binary_cross_entropy of every element", |x| {
            BinaryCrossEntropy::new().with_reduction(Reduction::None).of(&x[0], &x[1])
        })
        .on([chance([2, 3]), chance([2, 3])])
        .definition(|x| -(&x[1] * x[0].ln() + (1.0 - &x[1]) * (1.0 - &x[0]).ln())),
        row("binary_cross_entropy_with_logits", |x| {
            BinaryCrossEntropyWithLogits::new().with_reduction(Reduction::None).of(&x[0], &x[1])
        })
        .on([real([2, 3]), chance([2, 3])])
        .on([real([0, 3]), chance([0, 3])])
        .definition(move |x| {
            let p = sigmoid(&x[0]);
            -(&x[1] * p.ln() + (1.0 - &x[1]) * (1.0 - &p).ln())
        }),
        row("binary_cross_entropy_with_logits with weights", |x| {
            let loss = BinaryCrossEntropyWithLogits::new().with_weights(&x[2]).with_positive_weight(&x[3]);
            loss.of(&x[0], &x[1])
        })
        .on([real([2, 3]), chance([2, 3]), real([2, 1]).positive(), real([3]).positive()])
        .definition(move |x| {
            let p = sigmoid(&x[0]);
            (-(&x[3] * &x[1] * p.ln() + (1.0 - &x[1]) * (1.0 - &p).ln()) * &x[2]).mean()
        })
        .composed()
        .wrong(ErrorKind::Shape, &["the positive weight", "[2]", "[4, 3]"], move || {
            let loss = BinaryCrossEntropyWithLogits::new().with_positive_weight(&zeros(&[2]));
            loss.of(&zeros(&[4, 3]), &zeros(&[4, 3]))
        }),
        row("binary_focal_loss", |x| {
            BinaryFocalLoss::new().with_alpha(0.25).with_gamma(1.5).of(&x[0], &x[1])
        })
        .on([real([2, 3]), chance([2, 3])])
        .definition(move |x| {
            let (p, t) = (sigmoid(&x[0]), &x[1]);
            let entropy = -(t * p.ln() + (1.0 - t) * (1.0 - &p).ln());
            let wrong = t * (1.0 - &p) + (1.0 - t) * &p;
            ((t * 0.25 + (1.0 - t) * 0.75) * wrong.pow(1.5) * entropy).mean()
        })
        .composed(),
        row("focal_loss", |x| {
            FocalLoss::new().with_gamma(1.5).with_class_weights(&x[2]).with_ignore_index(1).of(&x[0], &x[1])
        })
        .on([real([6, 4]), index([6], 4), real([4]).positive()])
        .on([real([2, 3, 20]), index([2, 20], 3), real([3]).positive()])
        .definition(|x| {
            let counts = x[1].not_equal(1.0).to_dtype(x[0].dtype().unwrap_or(DType::F32));
            let entropy = entropies(&x[0], &x[1], x[2].count().unwrap_or(0));
            let each = (1.0 - (-&entropy).exp()).pow(1.5) * entropy * of_classes(&x[2], &x[1]);
            (each * &counts).sum() / counts.sum()
        })
        .composed()
        .wrong(ErrorKind::DType, &["focal_loss", "f32"], move || focal_loss(&zeros(&[2, 3]), &zeros(&[2]))),
        row("dice_loss", |x| dice_loss(&x[0], &x[1]))
            .on([chance([2, 3]), chance([2, 3])])
            .on([real([4]).positive(), real([4]).positive()])
            .composed(),
        row("dice_loss with squares", |x| {
            DiceLoss::new().with_squares(true).with_smoothing(0.5).of(&x[0], &x[1])
        })
        .on([real([2, 3, 2]), real([2, 3, 2])])
        .definition(|x| {
            let both = (&x[0] * &x[1]).sum_over([1, 2]) * 2.0 + 0.5;
            (1.0 - both / ((x[0].square() + x[1].square()).sum_over([1, 2]) + 0.5)).mean()
        })
        .composed(),
    ]
}

/// Targets 1 and -1.
fn signs<const N: usize>(shape: [usize; N]) -> Input {
    let count: usize = shape.iter().product();
    let numbers: Vec<f64> = (0..count).map(|i| if i % 3 == 1 { -1.0 } else { 1.0 }).collect();
    real(shape).values(&numbers).constant()
}

fn margins() -> Vec<Row> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape);
    vec![
        row("margin_ranking_loss", |x| MarginRankingLoss::new().with_margin(0.5).of(&x[0], &x[1], &x[2]))
            .on([real([9]).away_from(&[0.5, -0.5]), real([9]).values(&[0.0; 9]), signs([9])])
            .definition(|x| (0.5 - &x[2] * (&x[0] - &x[1])).clamp_min(0.0).mean())
            .composed()
            .wrong(ErrorKind::Value, &["target 1 is 0", "target * 2.0 - 1.0"], move || {
                margin_ranking_loss(&zeros(&[2]), &zeros(&[2]), &Tensor::from([1.0, 0.0]))
            }),
        row("hinge_embedding_loss", |x| hinge_embedding_loss(&x[0], &x[1]))
            .on([real([2, 6]).away_from(&[1.0]), signs([2, 6])])
            .definition(|x| x[1].greater(0.0).choose(&x[0], (1.0 - &x[0]).clamp_min(0.0)).mean())
            .composed()
            .wrong(ErrorKind::Value, &["hinge_embedding_loss", "0.5"], move || {
                hinge_embedding_loss(&zeros(&[1]), &Tensor::from([0.5]))
            }),
        row("soft_margin_loss", |x| soft_margin_loss(&x[0], &x[1]))
            .on([real([2, 3]), signs([2, 3])])
            .definition(|x| ((-(&x[0] * &x[1])).exp() + 1.0).ln().mean())
            .composed()
            .wrong(ErrorKind::Shape, &["soft_margin_loss", "[3]", "[2]"], move || {
                soft_margin_loss(&zeros(&[3]), &zeros(&[2]))
            }),
        row("multi_margin_loss", |x| MultiMarginLoss::new().with_squares(true).with_class_weights(&x[2]).of(&x[0], &x[1]))
            .on([real([3, 4]).distinct(), index([3], 4), real([4]).positive()])
            .on([real([4]).distinct(), index([], 4), real([4]).positive()])
            .composed()
            .wrong(ErrorKind::Index, &["multi_margin_loss", "class 3", "3 classes"], move || {
                multi_margin_loss(&zeros(&[1, 3]), &Tensor::from([3]))
            })
            .wrong(ErrorKind::Shape, &["3 axes"], move || {
                multi_margin_loss(&zeros(&[1, 3, 2]), &Tensor::from([[0, 0]]))
            })
            .wrong(ErrorKind::Shape, &["class weights", "[2]", "3 classes"], move || {
                MultiMarginLoss::new().with_class_weights(&zeros(&[2])).of(&zeros(&[1, 3]), &Tensor::from([0]))
            }),
        row("multi_margin_loss in plain operations", |x| {
            MultiMarginLoss::new().with_margin(1.1).with_reduction(Reduction::None).of(&x[0], &x[1])
        })
        .on([real([3, 4]).distinct(), index([3], 4)])
        .definition(|x| {
            let chosen = x[1].one_hot(4).to_dtype(x[0].dtype().unwrap_or(DType::F32));
            let own = (&x[0] * &chosen).sum_keep(1);
            ((&x[0] - own + 1.1).clamp_min(0.0) * (1.0 - chosen)).mean_over(1)
        })
        .composed(),
        row("multilabel_margin_loss", |x| {
            let target = beside(&x[0], Tensor::from([[2, 0, -1, 1], [-1, 3, 0, 1]]));
            multilabel_margin_loss(&x[0], &target)
        })
            .on([real([2, 4]).distinct()])
            .definition(|x| {
                let x = x[0].select(0, 0);
                let at = |i: isize| x.select(0, i);
                let pair = |t: isize, c: isize| (1.0 - at(t) + at(c)).clamp_min(0.0);
                (pair(2, 1) + pair(2, 3) + pair(0, 1) + pair(0, 3)) / 8.0
            })
            .composed()
            .wrong(ErrorKind::Index, &["[0, 1]", "class 3", "3 classes"], move || {
                multilabel_margin_loss(&zeros(&[1, 3]), &Tensor::from([[0, 3, -1]]))
            })
            .wrong(ErrorKind::DType, &["multilabel_margin_loss", "f32"], move || {
                multilabel_margin_loss(&zeros(&[1, 3]), &zeros(&[1, 3]))
            }),
        row("multilabel_soft_margin_loss", |x| {
            MultilabelSoftMarginLoss::new().with_class_weights(&x[2]).of(&x[0], &x[1])
        })
        .on([real([2, 3]), real([2, 3]).between(0.0, 1.0), real([3]).positive()])
        .definition(|x| {
            let p = 1.0 / ((-&x[0]).exp() + 1.0);
            (-(&x[1] * p.ln() + (1.0 - &x[1]) * (1.0 - &p).ln()) * &x[2]).mean()
        })
        .composed(),
    ]
}

fn vectors() -> Vec<Row> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape);
    let unit = |x: &Tensor| x / x.square().sum_keep(-1).sqrt();
    vec![
        row("cosine_embedding_loss", |x| CosineEmbeddingLoss::new().with_margin(-0.9).of(&x[0], &x[1], &x[2]))
            .on([real([4, 5]), real([4, 5]), signs([4])])
            .on([real([5]).distinct(), real([5]).distinct(), signs([])])
            .definition(move |x| {
                let cosine = (unit(&x[0]) * unit(&x[1])).sum_over(-1);
                x[2].greater(0.0).choose(1.0 - &cosine, (&cosine + 0.9).clamp_min(0.0)).mean()
            })
            .composed()
            .wrong(ErrorKind::Shape, &["the target has the sizes [3]", "[4, 5]"], move || {
                cosine_embedding_loss(&zeros(&[4, 5]), &zeros(&[4, 5]), &zeros(&[3]))
            })
            .wrong(ErrorKind::Value, &["1 and -1"], move || {
                cosine_embedding_loss(&zeros(&[4, 5]), &zeros(&[4, 5]), &zeros(&[4]))
            }),
        row("triplet_margin_loss", |x| TripletMarginLoss::new().with_margin(4.0).of(&x[0], &x[1], &x[2]))
            .on([real([3, 4]), real([3, 4]), real([3, 4])])
            .definition(|x| {
                let far = |a: &Tensor, b: &Tensor| (a - b + 1e-6).square().sum_over(-1).sqrt();
                (far(&x[0], &x[1]) - far(&x[0], &x[2]) + 4.0).clamp_min(0.0).mean()
            })
            .composed()
            .wrong(ErrorKind::Shape, &["triplet_margin_loss", "[2, 3]", "[2, 4]"], move || {
                triplet_margin_loss(&zeros(&[2, 3]), &zeros(&[2, 3]), &zeros(&[2, 4]))
            }),
        row("triplet_margin_loss with options", |x| {
            TripletMarginLoss::new().with_margin(4.0).with_norm(3.0).with_swap(true).of(&x[0], &x[1], &x[2])
        })
        .on([real([3, 4]), real([3, 4]), real([3, 4])])
        .definition(|x| {
            let far = |a: &Tensor, b: &Tensor| (a - b + 1e-6).abs().pow(3.0).sum_over(-1).pow(1.0 / 3.0);
            let negative = far(&x[0], &x[2]).minimum(far(&x[1], &x[2]));
            (far(&x[0], &x[1]) - negative + 4.0).clamp_min(0.0).mean()
        })
        .composed(),
        row("info_nce_loss", |x| info_nce_loss(&x[0], &x[1]))
            .on([real([3, 4]).distinct(), real([5, 4]).distinct()])
            .definition(move |x| {
                let scores = unit(&x[0]).matmul(&unit(&x[1]).t()) / 0.1;
                -scores.log_softmax(1).diagonal(0, 0, 1).mean()
            })
            .composed()
            .wrong(ErrorKind::Shape, &["4 queries and 3 keys"], move || info_nce_loss(&zeros(&[4, 2]), &zeros(&[3, 2])))
            .wrong(ErrorKind::Shape, &["[4, 2]", "[4, 3]"], move || info_nce_loss(&zeros(&[4, 2]), &zeros(&[4, 3])))
            .wrong(ErrorKind::Value, &["the temperature is -1"], move || {
                InfoNceLoss::new().with_temperature(-1.0).of(&zeros(&[4, 2]), &zeros(&[4, 2]))
            }),
        row("info_nce_loss in both directions", |x| InfoNceLoss::new().with_symmetry(true).of(&x[0], &x[1]))
            .on([real([3, 4]).distinct(), real([3, 4]).distinct()])
            .definition(move |x| {
                let scores = unit(&x[0]).matmul(&unit(&x[1]).t()) / 0.1;
                let diagonal = |axis: isize| scores.log_softmax(axis).diagonal(0, 0, 1).mean();
                -(diagonal(0) + diagonal(1)) * 0.5
            })
            .composed(),
        row("nt_xent_loss", |x| nt_xent_loss(&x[0], &x[1]))
            .on([real([3, 4]).distinct(), real([3, 4]).distinct()])
            .definition(move |x| {
                let all = unit(&Tensor::cat(&[&x[0], &x[1]], 0));
                let shares = (all.matmul(&all.t()) / 0.5).exp();
                let others = shares.sum_over(1) - shares.diagonal(0, 0, 1);
                let pairs = Tensor::cat(&[shares.diagonal(3, 0, 1), shares.diagonal(-3, 0, 1)], 0);
                -(pairs / others).ln().mean()
            })
            .composed(),
    ]
}

/// `-ln P(symbols)` by the sums over all paths, in plain operations on probabilities `[steps, classes]`.
fn spelled(p: &Tensor, steps: isize, symbols: &[isize], blank: isize) -> Tensor {
    let classes: Vec<isize> = symbols.iter().flat_map(|&symbol| [blank, symbol]).chain([blank]).collect();
    let at = |step: isize, position: usize| p.select(0, step).select(0, classes[position]);
    let nothing = at(0, 0) * 0.0;
    let mut sums: Vec<Tensor> =
        (0..classes.len()).map(|i| if i < 2 { at(0, i) } else { nothing.clone() }).collect();
    for step in 1..steps {
        let come = |i: usize| {
            let mut sum = sums[i].clone();
            if i > 0 {
                sum = sum + &sums[i - 1];
            }
            if i > 1 && classes[i] != blank && classes[i] != classes[i - 2] {
                sum = sum + &sums[i - 2];
            }
            sum * at(step, i)
        };
        sums = (0..classes.len()).map(come).collect();
    }
    let last = classes.len() - 1;
    -(if last > 0 { &sums[last] + &sums[last - 1] } else { sums[0].clone() }).ln()
}

fn sequences() -> Vec<Row> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape);
    let targets = || Tensor::from([[1, 2, 2], [3, 1, 0], [9, 9, 9]]);
    let (inputs, lengths) = (|| Tensor::from([6, 5, 4]), || Tensor::from([3, 2, 0]));
    let call = move |logits: &Tensor, blank: usize, target: Tensor, inputs: Tensor, lengths: Tensor| {
        CtcLoss::new().with_blank(blank).of(logits, &target, &inputs, &lengths)
    };
    let two = || Tensor::from([2, 2]);
    vec![
        row("ctc_loss", move |x| {
            let [targets, inputs, lengths] = [targets(), inputs(), lengths()].map(|given| beside(&x[0], given));
            ctc_loss(&x[0], &targets, &inputs, &lengths)
        })
            .on([real([6, 3, 4])])
            .definition(|x| {
                let p = x[0].softmax(-1);
                let of = |i: isize, steps: isize, symbols: &[isize]| spelled(&p.select(1, i), steps, symbols, 0);
                (of(0, 6, &[1, 2, 2]) / 3.0 + of(1, 5, &[3, 1]) / 2.0 + of(2, 4, &[])) / 3.0
            })
            .composed()
            .wrong(ErrorKind::DType, &["ctc_loss", "targets are f32"], move || {
                call(&zeros(&[4, 2, 3]), 0, zeros(&[2, 2]), two(), two())
            })
            .wrong(ErrorKind::Value, &["the blank is class 3 of 3"], move || {
                call(&zeros(&[4, 2, 3]), 3, Tensor::from([[1, 1], [1, 1]]), two(), two())
            })
            .wrong(ErrorKind::Index, &["[1, 0]", "class 5", "3 classes"], move || {
                call(&zeros(&[4, 2, 3]), 0, Tensor::from([[1, 1], [5, 1]]), two(), two())
            })
            .wrong(ErrorKind::Index, &["[0, 1]", "the blank"], move || {
                call(&zeros(&[4, 2, 3]), 0, Tensor::from([[1, 0], [1, 1]]), two(), two())
            })
            .wrong(ErrorKind::Index, &["input length of example 1 is 9", "4 places"], move || {
                call(&zeros(&[4, 2, 3]), 0, Tensor::from([[1, 1], [1, 1]]), Tensor::from([2, 9]), two())
            })
            .wrong(ErrorKind::Shape, &["targets have the sizes [3, 2]", "batch of 2"], move || {
                call(&zeros(&[4, 2, 3]), 0, Tensor::from([[1, 1], [1, 1], [1, 1]]), two(), two())
            })
            .wrong(ErrorKind::Shape, &["target lengths", "[3]", "[2]"], move || {
                call(&zeros(&[4, 2, 3]), 0, Tensor::from([[1, 1], [1, 1]]), two(), Tensor::from([1, 1, 1]))
            })
            .wrong(ErrorKind::Shape, &["[5]", "[steps, batch, classes]"], move || {
                call(&zeros(&[5]), 0, Tensor::from([[1, 1], [1, 1]]), two(), two())
            })
            .wrong(ErrorKind::Shape, &["3 targets in one row", "[2, 2]"], move || {
                call(&zeros(&[4, 2, 3]), 0, Tensor::from([1, 1, 1]), two(), two())
            }),
        row("ctc_loss of targets in one row", move |x| {
            let loss = CtcLoss::new().with_blank(3).with_zero_infinity(true).with_reduction(Reduction::None);
            // The last example has one step for two symbols.
            let given = [Tensor::from([0, 1, 1, 2, 0]), Tensor::from([5, 4, 1]), Tensor::from([2, 1, 2])];
            let [targets, inputs, lengths] = given.map(|given| beside(&x[0], given));
            loss.of(&x[0], &targets, &inputs, &lengths)
        })
        .on([real([5, 3, 4])])
        .definition(|x| {
            let p = x[0].softmax(-1);
            let of = |i: isize, steps: isize, symbols: &[isize]| spelled(&p.select(1, i), steps, symbols, 3);
            let impossible = p.select(1, 2).sum() * 0.0;
            Tensor::stack(&[of(0, 5, &[0, 1]), of(1, 4, &[1]), impossible], 0)
        })
        .composed(),
        row("ctc_loss of one example", move |x| {
            let loss = CtcLoss::new().with_reduction(Reduction::Sum);
            let given = [Tensor::from([2, 2]), Tensor::from(5), Tensor::from(2)];
            let [targets, input, length] = given.map(|given| beside(&x[0], given));
            loss.of(&x[0], &targets, &input, &length)
        })
        .on([real([5, 3])])
        .definition(|x| spelled(&x[0].softmax(-1), 5, &[2, 2], 0))
        .composed(),
    ]
}
