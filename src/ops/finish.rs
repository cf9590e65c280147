//! A convolution and what follows it in one pass over memory, where nobody wants a gradient.

use super::conv::Convolution;
use super::spatial::{as_rank, five, same_floats};
use crate::device::convolve::{self, Convolve};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::DType;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply_slice, one};
use crate::tensor::Tensor;

/// What may be done to each channel of a layer's results on their way out: `y · scale + shift`, then nothing below zero.
#[derive(Clone, Debug, Default)]
pub struct Finish {
    affine: Option<Affine>,
    rectified: bool,
}

/// `y · scale + shift`, in f64: what a batch norm is once its statistics stay as they are.
#[derive(Clone, Debug)]
struct Affine {
    scale: Tensor,
    shift: Tensor,
    /// The element type of what is learnt of it.
    learnt: Option<DType>,
    /// How many axes it takes behind batch and channels.
    inside: &'static [usize],
}

impl Finish {
    /// A batch norm by given statistics. It takes tensors with as many axes behind batch and channels as `inside` lists.
    pub(crate) fn norm(
        [mean, variance]: [&Tensor; 2],
        [weight, bias]: [Option<&Tensor>; 2],
        epsilon: f64,
        inside: &'static [usize],
    ) -> Finish {
        let wide = |x: &Tensor| x.to_dtype(DType::F64);
        let mut scale = 1.0 / (wide(variance) + epsilon).sqrt();
        if let Some(weight) = weight {
            scale = scale * wide(weight);
        }
        let mut shift = -(wide(mean) * &scale);
        if let Some(bias) = bias {
            shift = shift + wide(bias);
        }
        let learnt = weight.or(bias).and_then(|learnt| learnt.dtype().ok());
        Finish { affine: Some(Affine { scale, shift, learnt, inside }), rectified: false }
    }
    /// `max(y, 0)`.
    pub(crate) fn rectifier() -> Finish {
        Finish { affine: None, rectified: true }
    }
    /// This and then another, if that is one finish.
    pub(crate) fn then(&self, next: &Finish) -> Option<Finish> {
        let both = Finish {
            affine: self.affine.clone().or_else(|| next.affine.clone()),
            rectified: self.rectified || next.rectified,
        };
        let fits = next.affine.is_none() || self.affine.is_none() && !self.rectified;
        fits.then_some(both)
    }
    fn is_tracked(&self) -> bool {
        self.affine.as_ref().is_some_and(|affine| affine.scale.is_tracked() || affine.shift.is_tracked())
    }
}

/// A convolution whose results are finished on their way out. Operands: input, weight, then a scale if there is one, then a shift.
#[derive(Debug)]
struct Finished {
    convolution: Convolution,
    scaled: bool,
    rectified: bool,
}

impl Op for Finished {
    fn name(&self) -> &'static str {
        self.convolution.name()
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axes = self.convolution.axes;
        let [x, weight] = [five(inputs[0], axes)?, five(inputs[1], axes)?];
        same_floats(&inputs[..2])?;
        let (windows, manner) = self.convolution.plan(inputs[0].dims(), inputs[1].dims())?;
        let manner = convolve::Manner { at_rest: true, ..manner };
        let (scale, shift) = inputs[2..].split_at(self.scaled as usize);
        for numbers in &inputs[2..] {
            if *numbers.dims() != [weight.dims()[0]] {
                return Err(Fault::defect("a finish of other channels than the convolution's"));
            }
        }
        let finish = convolve::Finish {
            scale: scale.first().copied(),
            shift: shift.first().copied(),
            rectified: self.rectified,
        };
        let result = on!(x.device(), convolve_finished(&x, &weight, finish, &windows, manner))?;
        one(as_rank(&result, axes, inputs[0].rank())?)
    }
    fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
        Tensor::failed(call.error(Fault::defect("a convolution was finished in one pass though a gradient was wanted")))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "none: it is computed only where no gradient is wanted"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "weight"]
    }
}

/// A convolution, finished; `None` where that would not be the same as one after the other: for gradients, on devices that cannot,
/// or where something does not fit, which those who do one after the other will say.
#[track_caller]
pub(crate) fn convolve_finished(
    convolution: Convolution,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    finish: &Finish,
) -> Option<Tensor> {
    let (given, weights) = (x.value().ok()?, weight.value().ok()?);
    if given.device() != crate::device::Device::Cpu || finish.is_tracked() && crate::tensor::is_recording() {
        return None;
    }
    let (mut shift, mut scale) = (bias.cloned(), None);
    if let Some(affine) = &finish.affine {
        let fits = given.rank() == convolution.axes + 2
            && affine.inside.contains(&convolution.axes)
            && affine.learnt.is_none_or(|dtype| dtype == weights.dtype())
            && weights.dims().first() == affine.scale.dims::<1>().ok()?.first();
        if !fits {
            return None;
        }
        shift = Some(match bias {
            Some(bias) => bias.to_dtype(DType::F64) * &affine.scale + &affine.shift,
            None => affine.shift.clone(),
        });
        scale = Some(&affine.scale);
    }
    let inputs: smallvec::SmallVec<[&Tensor; 4]> =
        [Some(x), Some(weight), scale, shift.as_ref()].into_iter().flatten().collect();
    let y = apply_slice(Finished { convolution, scaled: scale.is_some(), rectified: finish.rectified }, &inputs);
    y.checked().ok()
}
