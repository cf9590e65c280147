//! Connectionist temporal classification: one fused operation, and the same in plain ones.

use crate::device::ctc::{Alignment, Ctc};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, Tensors, apply, one};
use crate::ops::index::no_gradient;
use crate::tensor::Tensor;

/// What stands for a sum over no path in plain operations, where an infinity less an infinity would be NaN.
const NEVER: f64 = -1e30;

/// `-ln P(target)` of logarithms of probabilities `[steps, batch, classes]`, one number for each example.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alignments(pub(crate) Alignment);

impl Alignments {
    #[track_caller]
    pub(crate) fn of(self, x: &Tensor, targets: &Tensor, input_lengths: &Tensor, target_lengths: &Tensor) -> Tensor {
        apply(self, [x, targets, input_lengths, target_lengths])
    }
}

/// Checks sizes and element types.
fn check(inputs: &[&Value], blank: usize) -> Result<(), Fault> {
    let &[_, batch, classes] = inputs[0].dims() else {
        return Err(Fault::shape(
            format!("the logits have the sizes {:?}", inputs[0].dims()),
            "they are [steps, batch, classes], or [steps, classes] of one example",
        ));
    };
    if blank >= classes {
        return Err(Fault::value(
            format!("the blank is class {blank} of {classes}"),
            "it is a class of its own, which stands for no symbol: often 0",
        ));
    }
    for (what, given) in ["targets", "input lengths", "target lengths"].into_iter().zip(&inputs[1..]) {
        if !matches!(given.dtype(), DType::I64 | DType::I32 | DType::U8) {
            return Err(Fault::dtype(
                format!("the {what} are {} numbers", given.dtype()),
                "they are whole numbers: convert with to_dtype(DType::I64)",
            ));
        }
    }
    if !matches!(inputs[1].dims(), [own, _] if *own == batch) {
        return Err(Fault::shape(
            format!("the targets have the sizes {:?}, for a batch of {batch}", inputs[1].dims()),
            "they are [batch, symbols], shorter ones filled up with anything; the second size of the logits is the batch",
        ));
    }
    for (what, given) in ["input", "target"].into_iter().zip(&inputs[2..]) {
        if given.dims() != [batch] {
            return Err(Fault::shape(
                format!("the {what} lengths have the sizes {:?}, [{batch}] are needed", given.dims()),
                "give one length for each example",
            ));
        }
    }
    Ok(())
}

impl Op for Alignments {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        check(inputs, self.0.blank)?;
        let (x, targets, lengths) = (inputs[0], inputs[1], (inputs[2], inputs[3]));
        let result = on!(x.device(), ctc(x, targets, lengths, self.0, keep.wanted()))?;
        // The gradient is computed with the value: it needs the same sums.
        if let Some(slopes) = result.slopes {
            keep.push(slopes);
        }
        one(result.losses)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if which > 0 {
            return no_gradient(call);
        }
        match call.kept(0) {
            Ok(slopes) => Tensor::from_value(slopes.clone()) * arriving[0].reshape([1, call.dims(0)[1], 1]),
            Err(error) => Tensor::failed(error),
        }
    }
    /// The gradient reads what was kept; the definition reads them all.
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x[t, c] = -P(a path that spells the target is at c at step t)"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["logits", "targets", "input lengths", "target lengths"]
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let &[steps, batch, classes] = call.dims(0) else { return None };
        let width = call.dims(1)[1];
        let Alignment { blank, zero_infinity } = self.0;
        let (x, lengths) = (&inputs[0], &inputs[2]);
        let target_lengths = inputs[3].to_dtype(DType::I64);
        let constant = |sizes: [usize; 2], number: f64| Tensor::full(sizes, number, call.dtype(0)).near(x);

        // `_ a _ b _`: blanks around each symbol, and what is filled up is blank too.
        let blanks = Tensor::full([batch, width], blank as f64, DType::I64).near(x);
        let counts = Tensor::arange(width).near(x).less(target_lengths.unsqueeze(1));
        let symbols =
            counts.choose(inputs[1].to_dtype(DType::I64), &blanks).clamp(0.0, classes.saturating_sub(1) as f64);
        let pairs = Tensor::stack(&[&blanks, &symbols], 2).reshape([batch, 2 * width]);
        let last = Tensor::full([batch, 1], blank as f64, DType::I64).near(x);
        let class = Tensor::cat(&[&pairs, &last], 1).to_dtype(DType::I64);
        let count = 2 * width + 1;

        // ln of the sum over all paths that stand at each position.
        let mut sums = Tensor::cat(&[constant([batch, 1], 0.0), constant([batch, count - 1], NEVER)], 1);
        for step in 0..steps {
            let mut ways = vec![sums.clone()];
            if width > 0 {
                ways.push(Tensor::cat(&[constant([batch, 1], NEVER), sums.narrow(1, 0, count - 1)], 1));
                let unlike = class.narrow(1, 2, count - 2).not_equal(class.narrow(1, 0, count - 2));
                let jump = sums.narrow(1, 0, count - 2).masked_fill(&unlike.logical_not(), NEVER);
                ways.push(Tensor::cat(&[constant([batch, 2], NEVER), jump], 1));
            }
            let scores = x.select(0, step).gather(1, &class);
            let next = Tensor::stack(&ways, 0).logsumexp_over(0) + scores;
            sums = lengths.greater(step as f64).unsqueeze(1).choose(&next, &sums);
        }
        // A path ends with the last symbol or the blank after it.
        let last = (&target_lengths * 2.0).to_dtype(DType::I64);
        let ends = |back: f64| sums.gather(1, &(&last - back).clamp_min(0.0).to_dtype(DType::I64).unsqueeze(1));
        let symbol = ends(1.0).masked_fill(&target_lengths.equal(0.0).unsqueeze(1), NEVER);
        let loss = -Tensor::cat(&[ends(0.0), symbol], 1).logsumexp_over(1);
        let lost = loss.greater(-0.5 * NEVER);
        let loss = loss.masked_fill(&lost, if zero_infinity { 0.0 } else { f64::INFINITY });
        Some([loss].into_iter().collect())
    }
}
