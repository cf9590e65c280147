//! Batch norm: each channel by the statistics of the batch, or by those of training.

use super::{Learnt, fits};
use crate::device::elementwise::Elementwise;
use crate::device::reduce::Reduce;
use crate::device::rows::Rows;
use crate::device::{Device, Value, on};
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Shape};
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted, apply_all, apply_slice, one};
use crate::tensor::Tensor;

impl Tensor {
    /// Batch norm in training, of `[batch, channels, ...]`: `(x - mean) / √(variance + epsilon) · weight + bias`, with mean
    /// and variance of each channel over the batch.
    ///
    /// Besides the result come the batch's mean and unbiased variance (both without a gradient), of which a layer keeps
    /// running averages for [`batch_norm_with`](Tensor::batch_norm_with). Ioffe and Szegedy, "Batch normalization", 2015.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (y, mean, variance) = Tensor::from([[1.0, 10.0], [3.0, 30.0]]).batch_norm(None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, -1.0, 1.0, 1.0]);
    /// assert_eq!(mean.to_vec::<f32>()?, [2.0, 20.0]);
    /// assert_eq!(variance.to_vec::<f32>()?, [2.0, 200.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> (Tensor, Tensor, Tensor) {
        let mut inputs = vec![self];
        inputs.extend(weight);
        inputs.extend(bias);
        let op = BatchNorm { epsilon, learnt: Learnt::of(weight, bias) };
        let mut results = match apply_all(op, &inputs) {
            Ok(results) => results.into_iter(),
            Err(error) => return (Tensor::failed(error.clone()), Tensor::failed(error.clone()), Tensor::failed(error)),
        };
        let mut next = || results.next().unwrap_or_else(|| Tensor::zeros([0]));
        let (y, mean, variance) = (next(), next(), next());
        (y, mean.detach(), variance.detach())
    }
    /// Batch norm at evaluation, of `[batch, channels, ...]`: by a mean and a variance that are given, those of training.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (mean, variance) = (Tensor::from([2.0]), Tensor::from([4.0]));
    /// let y = Tensor::from([[2.0], [6.0]]).batch_norm_with(&mean, &variance, None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm_with(
        &self,
        mean: &Tensor,
        variance: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        epsilon: f64,
    ) -> Tensor {
        let mut inputs = vec![self, mean, variance];
        inputs.extend(weight);
        inputs.extend(bias);
        apply_slice(BatchNormWith { epsilon, learnt: Learnt::of(weight, bias) }, &inputs)
    }
}

/// The number of channels.
fn channels(dims: &[usize]) -> Result<usize, Fault> {
    dims.get(1).copied().ok_or_else(|| {
        Fault::shape(
            format!("a tensor of rank {} has no channels", dims.len()),
            "the sizes are [batch, channels, ...]: add the missing axes with unsqueeze",
        )
    })
}

/// All axes but that of the channels.
fn others(rank: usize) -> Vec<usize> {
    (0..rank).filter(|&axis| axis != 1).collect()
}

/// A tensor with one number for each channel, to broadcast against `[batch, channels, ...]`.
fn along_channels(x: &Tensor, dims: &[usize]) -> Tensor {
    let mut sizes = vec![1; dims.len() - 1];
    sizes[0] = dims[1];
    x.reshape(sizes)
}

/// `(x - mean) / √(variance + ε) · w + b` in plain operations.
fn define(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    (weight, bias): (Option<&Tensor>, Option<&Tensor>),
    epsilon: f64,
    dims: &[usize],
) -> Tensor {
    let along = |x: &Tensor| along_channels(x, dims);
    let mut y = (x - along(mean)) / along(&(variance + epsilon).sqrt());
    if let Some(weight) = weight {
        y = y * along(weight);
    }
    if let Some(bias) = bias {
        y = y + along(bias);
    }
    y
}

formula_struct!([rare] ScaleFormula scale(variance)(epsilon) { 1.0 / sqrt(variance + epsilon) });

const WHY: &str = "each channel (axis 1)";

/// 1 / √(variance + ε), for the few numbers of a channel each.
fn scale_of(variance: &Value, epsilon: f64, dtype: DType) -> Result<Value, Fault> {
    use crate::device::copy::Arrange;
    let wide = on!(variance.device(), cast(variance, DType::F64))?;
    let wide = on!(wide.device(), contiguous(&wide))?;
    if wide.device() != Device::Cpu {
        let scale = on!(wide.device(), formula(&ScaleFormula { epsilon }, [&wide]))?;
        return on!(scale.device(), cast(&scale, dtype));
    }
    of_each(wide.dense::<f64>()?, dtype, |variance| 1.0 / (variance + epsilon).sqrt())
}

fn of_each(numbers: &[f64], dtype: DType, of: impl Fn(f64) -> f64) -> Result<Value, Fault> {
    use crate::device::copy::Arrange;
    let result = Value::build::<f64>(Shape::new(&[numbers.len()])?, |out| {
        for (out, &number) in out.iter_mut().zip(numbers) {
            *out = of(number);
        }
    })?;
    on!(result.device(), cast(&result, dtype))
}

/// The variance with one number fewer in the divisor, of `each` numbers of `x` in a channel.
fn unbiased(variance: &Value, x: &Value, each: usize) -> Result<Value, Fault> {
    use crate::device::copy::Arrange;
    if x.device() != Device::Cpu {
        return Ok(on!(x.device(), variance(x, &others(x.rank()), false, 1.0, false))?.0);
    }
    let correction = each as f64 / (each as f64 - 1.0);
    let wide = on!(variance.device(), contiguous(&on!(variance.device(), cast(variance, DType::F64))?))?;
    of_each(wide.dense::<f64>()?, variance.dtype(), |variance| variance * correction)
}

/// Statistics of half precision are kept in f32.
fn statistics_type(dtype: DType) -> DType {
    if dtype.is_half() { DType::F32 } else { dtype }
}

/// Batch norm by the batch's own statistics: result, mean, unbiased variance.
#[derive(Debug)]
struct BatchNorm {
    epsilon: f64,
    learnt: Learnt,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        use crate::device::copy::Arrange;
        let x = inputs[0];
        let count = channels(x.dims())?;
        let (weight, bias) = self.learnt.pick(inputs, 1);
        let (weight, bias) = (weight.copied(), bias.copied());
        fits("weight", weight, &[count], WHY)?;
        fits("bias", bias, &[count], WHY)?;
        let each = x.count().checked_div(count).unwrap_or(0);
        if each == 1 {
            return Err(Fault::shape(
                format!("one number in each of {count} channels has no spread: the sizes are {:?}", x.dims()),
                "train with at least two numbers for each channel, or normalise by running statistics: batch_norm_with",
            ));
        }
        let dtype = statistics_type(x.dtype());
        // Dense, as the kernel will want it too: then half precision adds up in the same order as f32.
        let wide = on!(x.device(), contiguous(&on!(x.device(), cast(x, dtype))?))?;
        let (variance, mean) = on!(x.device(), variance(&wide, &others(x.rank()), false, 0.0, false))?;
        let scale = scale_of(&variance, self.epsilon, dtype)?;
        let y = on!(x.device(), normalize_channels(x, (&mean, &scale), weight, bias))?;
        let unbiased = unbiased(&variance, &wide, each)?;
        keep.push(mean.clone());
        keep.push(scale);
        Ok([y, mean, unbiased].into_iter().collect())
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let mut all = batch_gradients(self.learnt, 1, true, &|i| i == which, arriving, call, statistics_kept);
        all.get_mut(which).and_then(Option::take).unwrap_or_else(|| missing(call))
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        batch_gradients(self.learnt, 1, true, &|which| wanted.has(which), arriving, call, statistics_kept)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, which: usize) -> &'static str {
        match self.learnt.part(which, 1) {
            0 => "∂L/∂x = (a - mean(a) - x̂ · mean(a · x̂)) / √(variance + ε) with a = ∂L/∂y · w, means over a channel",
            1 => "∂L/∂w = Σ ∂L/∂y · x̂",
            _ => "∂L/∂b = Σ ∂L/∂y",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        self.learnt.roles()
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let dims = call.dims(0);
        let axes = others(dims.len());
        let (x, learnt) = (&inputs[0], self.learnt.pick(inputs, 1));
        let (mean, variance) = (x.mean_over(&axes), x.var_corrected(&axes, 0.0));
        let y = define(x, &mean, &variance, learnt, self.epsilon, dims);
        Some([y, mean, x.var_over(&axes)].into_iter().collect())
    }
}

fn statistics_kept(call: &Call<'_>) -> crate::error::Result<(Value, Value)> {
    Ok((call.kept(0)?.clone(), call.kept(1)?.clone()))
}

#[cold]
fn missing(call: &Call<'_>) -> Tensor {
    Tensor::failed(call.error(Fault::defect("no gradient came for an input that wants one")))
}

/// The gradients for input, weight and bias; weight and bias stand `from` on among the operands.
fn batch_gradients(
    learnt: Learnt,
    from: usize,
    batch: bool,
    wanted: &dyn Fn(usize) -> bool,
    arriving: &[Tensor],
    call: &Call<'_>,
    statistics: impl Fn(&Call<'_>) -> crate::error::Result<(Value, Value)>,
) -> InputGradients {
    let part = |which: usize| learnt.part(which, from);
    let mut parts = [false; 3];
    for which in (0..call.inputs()).filter(|&which| which == 0 || which >= from) {
        parts[part(which)] |= wanted(which);
    }
    let compute = || -> crate::error::Result<_> {
        let (x, g) = (call.value(0)?, arriving[0].value()?);
        let weight = if learnt.weight { Some(call.value(from)?) } else { None };
        let (mean, scale) = statistics(call)?;
        on!(x.device(), normalize_channels_gradient(x, (&mean, &scale), weight, g, batch, parts))
            .map_err(|fault| call.error(fault))
    };
    let mut gradients = InputGradients::new();
    match compute() {
        Ok(mut all) => {
            for which in 0..call.inputs() {
                let gradient = if which == 0 || which >= from { all[part(which)].take() } else { None };
                gradients.push(gradient.map(Tensor::from_value));
            }
        }
        Err(error) => {
            for which in 0..call.inputs() {
                gradients.push(wanted(which).then(|| Tensor::failed(error.clone())));
            }
        }
    }
    gradients
}

/// Batch norm by given statistics; operands: input, mean, variance, weight, bias.
#[derive(Debug)]
struct BatchNormWith {
    epsilon: f64,
    learnt: Learnt,
}

impl BatchNormWith {
    fn gradients_where(&self, wanted: &dyn Fn(usize) -> bool, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        if wanted(1) || wanted(2) {
            // Nobody trains running statistics; whoever does gets the gradient of the definition.
            return self.through_definition(wanted, arriving, call);
        }
        batch_gradients(self.learnt, 3, false, wanted, arriving, call, |call| {
            use crate::device::copy::Arrange;
            let dtype = statistics_type(call.dtype(0));
            let scale = scale_of(call.value(2)?, self.epsilon, dtype).map_err(|fault| call.error(fault))?;
            let mean = on!(call.value(0)?.device(), cast(call.value(1)?, dtype)).map_err(|fault| call.error(fault))?;
            Ok((mean, scale))
        })
    }
    fn through_definition(
        &self,
        wanted: &dyn Fn(usize) -> bool,
        arriving: &[Tensor],
        call: &Call<'_>,
    ) -> InputGradients {
        let (g, dims) = (&arriving[0], call.dims(0));
        let axes = others(dims.len());
        let along = |x: &Tensor| along_channels(x, dims);
        let (x, mean, variance) = (call.input(0), call.input(1), call.input(2));
        let scale = 1.0 / (&variance + self.epsilon).sqrt();
        let standard = (&x - along(&mean)) * along(&scale);
        let weighted = if self.learnt.weight { g * along(&call.input(3)) } else { g.clone() };
        let mut gradients = InputGradients::new();
        for which in 0..call.inputs() {
            let gradient = || match (which, self.learnt.part(which, 3)) {
                (0, _) => &weighted * along(&scale),
                (1, _) => -(weighted.sum_over(&axes) * &scale),
                (2, _) => (&weighted * &standard).sum_over(&axes) * &scale * &scale * -0.5,
                (_, 1) => (g * &standard).sum_over(&axes),
                _ => g.sum_over(&axes),
            };
            gradients.push(wanted(which).then(gradient));
        }
        gradients
    }
}

impl Op for BatchNormWith {
    fn name(&self) -> &'static str {
        "batch_norm_with"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let count = channels(x.dims())?;
        let (weight, bias) = self.learnt.pick(inputs, 3);
        let (weight, bias) = (weight.copied(), bias.copied());
        for (name, given) in
            [("mean", Some(inputs[1])), ("variance", Some(inputs[2])), ("weight", weight), ("bias", bias)]
        {
            fits(name, given, &[count], WHY)?;
        }
        use crate::device::copy::Arrange;
        let dtype = statistics_type(x.dtype());
        let mean = on!(x.device(), cast(inputs[1], dtype))?;
        let scale = scale_of(inputs[2], self.epsilon, dtype)?;
        one(on!(x.device(), normalize_channels(x, (&mean, &scale), weight, bias))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let mut all = self.gradients_where(&|i| i == which, arriving, call);
        all.get_mut(which).and_then(Option::take).unwrap_or_else(|| missing(call))
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        self.gradients_where(&|which| wanted.has(which), arriving, call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, which: usize) -> &'static str {
        match (which, self.learnt.part(which, 3)) {
            (0, _) => "∂L/∂x = ∂L/∂y · w / √(variance + ε)",
            (1, _) => "∂L/∂mean = -Σ ∂L/∂y · w / √(variance + ε)",
            (2, _) => "∂L/∂variance = -½ Σ ∂L/∂y · w · x̂ / (variance + ε)",
            (_, 1) => "∂L/∂w = Σ ∂L/∂y · x̂",
            _ => "∂L/∂b = Σ ∂L/∂y",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        match (self.learnt.weight, self.learnt.bias) {
            (false, true) => &["input", "mean", "variance", "bias"],
            _ => &["input", "mean", "variance", "weight", "bias"],
        }
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let learnt = self.learnt.pick(inputs, 3);
        Some([define(&inputs[0], &inputs[1], &inputs[2], learnt, self.epsilon, call.dims(0))].into_iter().collect())
    }
}
