//! Cross entropy with class numbers: softmax, logarithm, choice and reduction as one operation.

use crate::device::Reduction;
use crate::device::cross_entropy::{Classes, CrossEntropy};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, Tensors, apply, one};
use crate::ops::index::no_gradient;
use crate::tensor::Tensor;

/// The losses of scores whose classes lie along axis 1 (of a single row of scores, along axis 0).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassEntropy {
    /// The loss that it is a part of, for errors.
    pub(crate) name: &'static str,
    /// Are the scores logarithms of probabilities already?
    pub(crate) logarithms: bool,
    /// The share of the target that is spread evenly over all classes.
    pub(crate) smoothing: f64,
    /// A class number that does not count.
    pub(crate) ignored: Option<i64>,
    /// What becomes of the single losses.
    pub(crate) reduction: Reduction,
}

impl ClassEntropy {
    /// The loss of these scores, for targets that are class numbers.
    #[track_caller]
    pub(crate) fn of(self, scores: &Tensor, target: &Tensor, weights: Option<&Tensor>) -> Tensor {
        match weights {
            Some(weights) => apply(self, [scores, target, weights]),
            None => apply(self, [scores, target]),
        }
    }
    fn classes(self, rank: usize) -> Classes {
        let ClassEntropy { logarithms, smoothing, ignored, reduction, .. } = self;
        Classes { axis: class_axis(rank), logarithms, smoothing, ignored, reduction }
    }
}

/// Where the classes lie.
pub(crate) fn class_axis(rank: usize) -> usize {
    usize::from(rank > 1)
}

/// The sizes without the axis of the classes.
fn without_classes(dims: &[usize]) -> Vec<usize> {
    let axis = class_axis(dims.len());
    dims.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &size)| size).collect()
}

/// Checks what is compared with what.
fn check(x: &Value, target: &Value, weights: Option<&Value>) -> Result<(), Fault> {
    let dims = x.dims();
    if !x.dtype().is_float() {
        let what = format!("the scores are {} numbers", x.dtype());
        return Err(Fault::dtype(what, "scores are floats: x.to_dtype(DType::F32)"));
    }
    if dims.is_empty() {
        return Err(Fault::shape(
            "a single number has no classes",
            "scores are [batch, classes], or [classes] of one row",
        ));
    }
    let wanted = without_classes(dims);
    if !matches!(target.dtype(), DType::I64 | DType::I32 | DType::U8) {
        let help = match target.dtype() {
            DType::Bool => "give 0 and 1 with to_dtype(DType::I64); for questions of yes or no there is \
                            binary_cross_entropy_with_logits"
                .to_string(),
            _ if target.dims() == wanted => "class numbers are whole numbers: target.to_dtype(DType::I64)".to_string(),
            _ => format!(
                "class numbers are whole numbers of the sizes {wanted:?}; probabilities are floats of the sizes {dims:?}"
            ),
        };
        return Err(Fault::dtype(format!("the targets are {} numbers", target.dtype()), help));
    }
    if target.dims() != wanted {
        return Err(wrong_sizes(dims, target.dims(), &wanted));
    }
    let classes = dims[class_axis(dims.len())];
    match weights {
        Some(weights) if weights.dims() != [classes] => Err(Fault::shape(
            format!("the class weights have the sizes {:?}, there are {classes} classes", weights.dims()),
            format!("give one weight for each class: [{classes}]"),
        )),
        _ => Ok(()),
    }
}

#[cold]
fn wrong_sizes(dims: &[usize], target: &[usize], wanted: &[usize]) -> Fault {
    let rank = dims.len();
    let help = if target.len() == rank && target.last() == Some(&1) && target[..rank - 1] == wanted[..] {
        format!("one class number for each row: take the last axis away with target.squeeze_axes({})", rank - 1)
    } else if target == dims {
        "where they are one-hot, take the numbers: target.argmax_over(1); where they are probabilities, make them floats"
            .to_string()
    } else if rank > 2 && target == &dims[..rank - 1] {
        format!(
            "classes lie along axis 1, here they seem to lie along the last: logits.transpose(1, {}), or flatten both",
            rank - 1
        )
    } else {
        format!("for scores of the sizes {dims:?}, classes along axis {}, they must be {wanted:?}", class_axis(rank))
    };
    Fault::shape(format!("the targets have the sizes {target:?}, {wanted:?} are needed"), help)
}

impl Op for ClassEntropy {
    fn name(&self) -> &'static str {
        self.name
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let (x, target, weights) = (inputs[0], inputs[1], inputs.get(2).copied());
        check(x, target, weights)?;
        if !(0.0..=1.0).contains(&self.smoothing) {
            let what = format!("the label smoothing is {}", self.smoothing);
            return Err(Fault::value(what, "it is a share of the target: from 0 (none) to 1"));
        }
        let result = on!(x.device(), cross_entropy(x, target, weights, self.classes(x.rank())))?;
        if keep.wanted() {
            keep.push(result.greatest);
            keep.push(result.scale);
            keep.push(result.total);
        }
        one(result.output)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if which > 0 {
            return no_gradient(call);
        }
        Tensor::compute(|| {
            let (x, target, g) = (call.value(0)?, call.value(1)?, arriving[0].value()?);
            let weights = if call.inputs() > 2 { Some(call.value(2)?) } else { None };
            let kept = [call.kept(0)?, call.kept(1)?, call.kept(2)?];
            let how = self.classes(x.rank());
            let gradient = on!(x.device(), cross_entropy_gradient(x, target, weights, g, kept, how));
            Ok(Tensor::from_value(gradient.map_err(|fault| call.error(fault))?))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        if self.logarithms { "∂L/∂x[t] = -w[t]" } else { "∂L/∂x = w[t] · (softmax(x) - onehot(t))" }
    }
    fn roles(&self) -> &'static [&'static str] {
        match (self.logarithms, self.name) {
            (true, "nll_loss") => &["log-probabilities", "target", "class weights"],
            _ => &["logits", "target", "class weights"],
        }
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let dims = call.dims(0);
        let axis = class_axis(dims.len()) as isize;
        let target = inputs[1].to_dtype(DType::I64);
        let ignored = target.equal(self.ignored.map_or(i64::MIN, |ignored| ignored) as f64);
        let target = target.masked_fill(&ignored, 0.0);
        let logarithms = if self.logarithms { inputs[0].clone() } else { inputs[0].log_softmax(axis) };
        let weight = match inputs.get(2) {
            Some(weights) => weights.take_slices(0, &target),
            None => logarithms.gather(axis, &target.unsqueeze(axis)).squeeze_axes(axis).ones_like(),
        }
        .masked_fill(&ignored, 0.0);
        let own = -logarithms.gather(axis, &target.unsqueeze(axis)).squeeze_axes(axis);
        let mut each = own.masked_fill(&ignored, 0.0) * &weight * (1.0 - self.smoothing);
        if self.smoothing != 0.0 {
            let mut sizes = vec![1; dims.len() - axis as usize];
            sizes[0] = dims[axis as usize];
            let all = match inputs.get(2) {
                Some(weights) => logarithms * weights.reshape(sizes),
                None => logarithms,
            };
            each = each - all.mean_over(axis).masked_fill(&ignored, 0.0) * self.smoothing;
        }
        let loss = match self.reduction {
            Reduction::None => each,
            Reduction::Sum => each.sum(),
            Reduction::Mean => each.sum() / weight.sum(),
        };
        Some([loss].into_iter().collect())
    }
}
