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
    ]
}
