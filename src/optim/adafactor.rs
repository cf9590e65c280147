//! Adafactor.

use super::core::{builders, has_core};
use super::{Core, Prepared, Remember, Rule, Setting, Settings, Target};
use crate::device::Value;
use crate::error::{Fault, Result};
use crate::layout::{DType, Shape};
use crate::tensor::Tensor;
use crate::update_formula;

/// Divides by mean squares as Adam does, but of a matrix it remembers only those of its rows and columns.
///
/// `βₜ = 1 - t^slow_down`; of a matrix `r = βₜ r + (1 - βₜ) mean(∇², columns)`, `c` alike over rows, `v = r c / mean(r)`; else
/// `v = βₜ v + (1 - βₜ) ∇²`. `u = ∇ / √max(v, ε²)`, `p = (1 - rate · weight_decay) · p - α · u / max(1, rms(u) / threshold)` with
/// `α = max(least_scale, rms(p)) · min(rate, 1 / √t)`. Shazeer, Stern: Adafactor, adaptive learning rates with sublinear
/// memory cost (arXiv 1804.04235).
///
/// ```
/// use chainrule::optim::{Adafactor, Optimizer};
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([[3.0, 4.0], [3.0, 4.0]]));
/// let loss = (&*weight * &*weight).sum();
/// let mut optimizer = Adafactor::new(0.01);
/// optimizer.step(&mut weight, &loss.backward()?)?;
/// assert!((weight.to_vec::<f64>()?[0] - (3.0 - 0.01 * 12.5f64.sqrt())).abs() < 1e-5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adafactor {
    core: Core,
    maximize: bool,
}

update_formula! {
    fn Step(parameter, gradient; ; shrink) {
        parameter = shrink * parameter - gradient;
    }
}

impl Adafactor {
    /// The usual one: slow-down -0.8, least scale 1e-3, threshold 1, no weight decay. A usual rate is 1e-2.
    pub fn new(rate: f64) -> Adafactor {
        let settings = [
            (Setting::Rate, rate),
            (Setting::SlowDown, -0.8),
            (Setting::LeastScale, 1e-3),
            (Setting::Threshold, 1.0),
            (Setting::WeightDecay, 0.0),
            (Setting::Epsilon, 0.0),
        ];
        Adafactor { core: Core::new(&settings), maximize: false }
    }
    builders! {
        /// The exponent by which the means slow down (default -0.8).
        with_slow_down SlowDown;
        /// The least size a parameter counts with (default 1e-3).
        with_least_scale LeastScale;
        /// The root mean square beyond which a step is shortened (default 1).
        with_threshold Threshold;
        /// How strongly parameters are pulled towards 0 (default 0).
        with_weight_decay WeightDecay;
        /// The least root mean square that is divided by; 0, the default, is the precision of the parameter's type.
        with_epsilon Epsilon;
    }
    /// Climbs instead of descending.
    pub fn maximize(mut self) -> Adafactor {
        self.maximize = true;
        self
    }
}

fn precision(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::BF16 => half::bf16::EPSILON.to_f64(),
        DType::F16 => half::f16::EPSILON.to_f64(),
        _ => f32::EPSILON as f64,
    }
}

/// The shape with size 1 on one of the last two axes.
fn folded(shape: &Shape, from_end: usize) -> Shape {
    let mut sizes = shape.to_vec();
    if let Some(size) = sizes.len().checked_sub(from_end).and_then(|at| sizes.get_mut(at)) {
        *size = 1;
    }
    Shape::new(&sizes).unwrap_or(*shape)
}

/// It stays a tensor: nobody waits for it.
fn root_mean_square(x: &Tensor) -> Tensor {
    x.square().mean().sqrt()
}

impl Rule for Adafactor {
    const NAME: &'static str = "adafactor";
    has_core!();
    fn remember(&self, _: &str, parameter: &Value, _: &Settings) -> Remember {
        let shape = parameter.shape();
        if shape.len() < 2 {
            return Remember::zeros(&["square"], parameter);
        }
        Remember::default().and("rows", folded(shape, 1), 0.0).and("columns", folded(shape, 2), 0.0)
    }
    /// The share of a new square in the means, and the rate.
    fn numbers(&self, settings: &Settings, steps: u64) -> Vec<f64> {
        let steps = steps as f64;
        let take = steps.powf(settings.number(Setting::SlowDown));
        vec![take, settings.number(Setting::Rate).min(1.0 / steps.sqrt())]
    }
    fn prepare(&self, settings: &Settings, target: &Target<'_>) -> Result<Prepared> {
        let number = |setting| settings.number(setting);
        let states: Vec<Tensor> = target.states.iter().cloned().map(Tensor::from_value).collect();
        let dtype = target.states.first().map_or(DType::F32, Value::dtype);
        let sign = if self.maximize { -1.0 } else { 1.0 };
        let gradient = Tensor::from_value(target.gradient.clone()).to_dtype(dtype) * sign;
        let parameter = Tensor::from_value(target.parameter.clone()).to_dtype(dtype);
        let epsilon = match number(Setting::Epsilon) {
            0.0 => precision(target.parameter.dtype()),
            given => given,
        };
        let [take, rate] = target.numbers()?;
        let scale = rate.times(&root_mean_square(&parameter).clamp_min(number(Setting::LeastScale)));
        let square = gradient.square();
        let follow = |state: &Tensor, new: Tensor| state + take.times(&(new - state));
        let (states, variance) = match &states[..] {
            [rows, columns] => {
                let rows = follow(rows, square.mean_keep(-1));
                let columns = follow(columns, square.mean_keep(-2));
                let variance = rows.matmul(&columns) / rows.mean_keep(-2).clamp_min(epsilon);
                (vec![rows, columns], variance)
            }
            states => {
                let all: Vec<Tensor> = states.iter().map(|state| follow(state, square.clone())).collect();
                let variance = all.first().cloned().unwrap_or(square);
                (all, variance)
            }
        };
        let change = variance.clamp_min(epsilon * epsilon).rsqrt() * gradient;
        let shorten = (root_mean_square(&change) / number(Setting::Threshold)).clamp_min(1.0);
        target.prepared(&(change * (scale / shorten)), &states)
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        target.apply(&Step { shrink: 1.0 - settings.number(Setting::Rate) * settings.number(Setting::WeightDecay) })
    }
}
