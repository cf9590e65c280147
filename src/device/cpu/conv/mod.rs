//! Convolution as an implicit matrix product: patches are packed as the product asks for them, columns are never stored.
//!
//! - `finish`: what happens to results on their way out.
//! - `gather`: which elements of a source an output reads, for a convolution and for each phase of a transposed one.
//! - `frame`: the source laid out so that nothing asks where the edge is.
//! - `patches`: frames as operands of a product.
//! - `product`, `weight`: the products; `direct`: few channels, without one; `winograd`: fewer multiplications for 3 × 3.

mod direct;
mod finish;
mod frame;
mod gather;
mod patches;
mod product;
#[cfg(test)]
mod tests;
mod weight;
mod winograd;

use super::Cpu;
use super::gemm::Real;
use crate::device::Value;
use crate::device::convolve::{Convolve, Finish, Manner};
use crate::device::copy::Arrange;
use crate::device::window::Sliding;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape, dispatch_float};
use gather::Gather;
use product::Job;
use std::sync::OnceLock;
use weight::WeightJob;

/// From this many parts on they are shared out whole; of fewer each is shared out itself.
const MANY: usize = 4;

/// Has an element type the quick ways beside products? f64 goes by products alone. (Code has a budget.)
const fn is_quick<T>() -> bool {
    size_of::<T>() < 8
}

/// The first fault of parts that run at the same time.
#[derive(Default)]
struct Failure(OnceLock<Fault>);

impl Failure {
    fn note(&self, done: Result<(), Fault>) {
        if let Err(fault) = done {
            let _ = self.0.set(fault);
        }
    }
    fn result(self) -> Result<(), Fault> {
        self.0.into_inner().map_or(Ok(()), Err)
    }
}

/// Runs `compute` on the operands in f32 where they are narrower, and rounds its result once.
fn in_float<const N: usize>(
    operands: [&Value; 2],
    of_channels: [Option<&Value>; N],
    compute: impl FnOnce([Value; 2], [Option<Value>; N]) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let dtype = operands[0].dtype();
    let wide = if dtype.is_half() { DType::F32 } else { dtype };
    let widen = |x: &Value| Cpu.cast(x, wide);
    let mut numbers = [const { None }; N];
    for (numbers, given) in numbers.iter_mut().zip(of_channels) {
        *numbers = given.map(|given| Cpu.contiguous(&widen(given)?)).transpose()?;
    }
    let mut all = operands.map(Clone::clone);
    for operand in &mut all {
        *operand = widen(operand)?;
    }
    Cpu.cast(&compute(all, numbers)?, dtype)
}

fn no_float(dtype: DType) -> Fault {
    Fault::dtype(format!("a convolution of {dtype} elements"), "cast to a float first, with to_dtype(DType::F32)")
}

fn sizes(windows: &[Sliding; 3], of: impl Fn(&Sliding) -> usize, first: [usize; 2]) -> Result<Shape, Fault> {
    let [d, h, w] = windows.each_ref().map(of);
    Shape::new(&[first[0], first[1], d, h, w])
}

impl Convolve for Cpu {
    fn convolve(
        &self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault> {
        self.convolve_finished(x, weight, Finish { shift: bias, ..Finish::default() }, windows, manner)
    }

    fn convolve_finished(
        &self,
        x: &Value,
        weight: &Value,
        finish: Finish<'_>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault> {
        let Finish { scale, shift, rectified } = finish;
        in_float([x, weight], [scale, shift], |[x, weight], [scale, shift]| {
            let finish = Finish { scale: scale.as_ref(), shift: shift.as_ref(), rectified };
            dispatch_float!(x.dtype(), T => forward::<T>(&x, &weight, finish, windows, manner),
                else Err(no_float(x.dtype())))
        })
    }

    fn convolve_transposed(
        &self,
        y: &Value,
        weight: &Value,
        bias: Option<&Value>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault> {
        in_float([y, weight], [bias], |[y, weight], [bias]| {
            dispatch_float!(y.dtype(), T => transposed::<T>(&y, &weight, bias.as_ref(), windows, manner),
                else Err(no_float(y.dtype())))
        })
    }

    fn convolve_weight(&self, x: &Value, y: &Value, windows: &[Sliding; 3], manner: Manner) -> Result<Value, Fault> {
        in_float([x, y], [], |[x, y], []| {
            dispatch_float!(x.dtype(), T => weight_gradient::<T>(&x, &y, windows, manner),
                else Err(no_float(x.dtype())))
        })
    }
}

fn forward<T: Real>(
    x: &Value,
    weight: &Value,
    Finish { scale, shift, rectified }: Finish<'_>,
    windows: &[Sliding; 3],
    Manner { groups, exact, at_rest }: Manner,
) -> Result<Value, Fault> {
    let weight = Cpu.contiguous(weight)?;
    let (outputs, channels) = (weight.dims()[0], weight.dims()[1]);
    let gather = Gather::forward(windows);
    let job = Job {
        source: x.strided()?,
        gather: &gather,
        weights: weight.dense()?,
        finish: finish::Finish {
            scale: scale.map(Value::dense).transpose()?,
            shift: shift.map(Value::dense).transpose()?,
            rectified,
        },
        groups,
        rows: outputs / groups,
        channels,
        exact,
        beside: at_rest.then(|| weight.buffer().beside()),
    };
    Value::try_build::<T>(sizes(windows, |axis| axis.count, [x.dims()[0], outputs])?, |out| job.run(out))
}

fn transposed<T: Real>(
    y: &Value,
    weight: &Value,
    bias: Option<&Value>,
    windows: &[Sliding; 3],
    Manner { groups, exact, .. }: Manner,
) -> Result<Value, Fault> {
    let weight = Cpu.contiguous(weight)?;
    let (outputs, channels) = (weight.dims()[0], weight.dims()[1]);
    let bias = bias.map(Value::dense).transpose()?;
    let phase = |phase: [usize; 3], out: &mut [T]| {
        let gather = Gather::transposed(windows, phase);
        let weights = turned::<T>(weight.dense()?, &gather, windows, groups, [outputs, channels]);
        let job = Job {
            source: y.strided()?,
            gather: &gather,
            weights: &weights,
            finish: finish::Finish::bias(bias),
            groups,
            rows: channels,
            channels: outputs / groups,
            exact,
            beside: None,
        };
        job.run(out)
    };
    let batch = y.dims()[0];
    let shape = sizes(windows, |axis| axis.size, [batch, groups * channels])?;
    let phases = windows.each_ref().map(phases);
    let all = windows.iter().zip(&phases).all(|(axis, phases)| phases.len() == axis.stride.min(axis.size));
    if all && phases.iter().all(|phases| phases.len() <= 1) {
        return Value::try_build::<T>(shape, |out| phase([0; 3], out));
    }
    let mut result = Value::build::<T>(shape, |out| {
        if !all {
            // Some results read nothing.
            let volume = windows.iter().map(|axis| axis.size).product::<usize>().max(1);
            for (channel, out) in out.chunks_mut(volume).enumerate() {
                out.fill(bias.map_or(T::default(), |bias| bias[channel % bias.len()]));
            }
        }
    })?;
    let [deep, high, wide] = &phases;
    for index in 0..deep.len() * high.len() * wide.len() {
        let start =
            [deep[index / (high.len() * wide.len())], high[index / wide.len() % high.len()], wide[index % wide.len()]];
        // Every stride-th result along each axis, from `start` on.
        let (mut dims, mut strides) = (shape.to_vec(), result.layout().strides().to_vec());
        let mut offset = 0;
        for axis in 0..3 {
            let step = windows[axis].stride;
            dims[2 + axis] = windows[axis].size.saturating_sub(start[axis]).div_ceil(step);
            offset += start[axis] * strides[2 + axis] as usize;
            strides[2 + axis] = strides[2 + axis].saturating_mul(step as isize);
        }
        let part = Value::try_build::<T>(Shape::new(&dims)?, |out| phase(start, out))?;
        let place = Layout::from_parts(*part.shape(), &strides, offset);
        Cpu.overwrite(&mut result, &place, &part)?;
    }
    Ok(result)
}

/// The first results along an axis, below the stride, that some tap reaches: those at every stride-th place after each
/// share its taps.
fn phases(axis: &Sliding) -> Vec<usize> {
    let most = axis.stride.min(axis.size);
    let before = axis.before % axis.stride;
    let mut phases: Vec<usize> = (0..axis.kernel)
        .map(|tap| (tap * axis.dilation + axis.stride - before) % axis.stride)
        .filter(|&phase| phase < most)
        .collect();
    phases.sort_unstable();
    phases.dedup();
    phases
}

/// The weights of one phase of a transposed convolution: `[group, channel, output, tap]`.
fn turned<T: Real>(
    weight: &[T],
    gather: &Gather,
    windows: &[Sliding; 3],
    groups: usize,
    [outputs, channels]: [usize; 2],
) -> Vec<T> {
    let kernel: usize = windows.iter().map(|axis| axis.kernel).product();
    let places = gather.places(windows);
    let each = outputs / groups;
    // Nothing may stand in however many channels.
    let groups = if weight.is_empty() { 0 } else { groups };
    let mut turned = Vec::with_capacity(outputs * channels * places.len());
    for group in 0..groups {
        for channel in 0..channels {
            for output in group * each..(group + 1) * each {
                let first = (output * channels + channel) * kernel;
                turned.extend(places.iter().map(|&place| weight[first + place]));
            }
        }
    }
    turned
}

fn weight_gradient<T: Real>(
    x: &Value,
    y: &Value,
    windows: &[Sliding; 3],
    Manner { groups, exact, .. }: Manner,
) -> Result<Value, Fault> {
    let y = Cpu.contiguous(y)?;
    let (channels, outputs) = (x.dims()[1] / groups, y.dims()[1]);
    let gather = Gather::forward(windows);
    let job = WeightJob {
        source: x.strided()?,
        gather: &gather,
        arriving: y.dense()?,
        batch: x.dims()[0],
        groups,
        rows: outputs / groups,
        channels,
        exact,
    };
    Value::try_build::<T>(sizes(windows, |axis| axis.kernel, [outputs, channels])?, |out| job.run(out))
}
