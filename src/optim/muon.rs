//! Muon.

use super::core::{builders, has_core};
use super::{Core, Prepared, Remember, Rule, Setting, Settings, Target, adam};
use crate::device::Value;
use crate::error::{Fault, Result};
use crate::nn::matches;
use crate::tensor::Tensor;
use crate::update_formula;

/// Momentum whose step for a matrix is made orthogonal: all its directions move equally far.
///
/// `m = μ m + (1 - μ) ∇`, `d = (1 - μ) ∇ + μ m`, `p = (1 - rate · weight_decay) · p - rate · √max(1, rows / columns) ·
/// orthogonal(d)`, where `orthogonal` is five rounds of the Newton-Schulz iteration `X = a X + (b G + c G²) X`, `G = X Xᵀ`,
/// on `d / ‖d‖`. Parameters that are no matrices, and those named by [`with_adamw_on`](Muon::with_adamw_on) (embeddings
/// and the output layer, usually), follow [`AdamW`](super::AdamW). Jordan and others: Muon, an optimizer for hidden layers in
/// neural networks (2024); Liu and others: Muon is scalable for LLM training (arXiv 2502.16982).
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::optim::{Group, Muon, Optimizer};
/// use chainrule::Tensor;
/// let mut model = Linear::new(4, 3, &mut Init::new());
/// let mut optimizer = Muon::new(0.02).with_group(Group::matching("bias").with_rate(1e-3));
/// let loss = model.forward(&Tensor::ones([8, 4])).square().mean();
/// optimizer.step(&mut model, &loss.backward()?)?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Muon {
    core: Core,
    rounds: usize,
    matched_size: bool,
    adamw_on: Vec<String>,
}

update_formula! {
    fn Step(parameter, gradient; ; shrink, rate) {
        parameter = shrink * parameter - rate * gradient;
    }
}

impl Muon {
    /// The usual one: momentum 0.95 in Nesterov's form, weight decay 0.1; for what AdamW does betas 0.9 and 0.999.
    pub fn new(rate: f64) -> Muon {
        let mut core = Core::new(&adam::settings(rate, 0.1));
        core.set(Setting::Momentum, 0.95);
        core.set(Setting::Nesterov, 1.0);
        Muon { core, rounds: 5, matched_size: false, adamw_on: Vec::new() }
    }
    builders! {
        betas;
        /// How much of the last mean gradient goes on (default 0.95).
        with_momentum Momentum;
        /// What keeps AdamW's division from becoming too large (default 1e-8).
        with_epsilon Epsilon;
        /// How strongly parameters are pulled towards 0 (default 0.1).
        with_weight_decay WeightDecay;
    }
    /// Steps by the mean gradient itself.
    pub fn without_nesterov(mut self) -> Muon {
        self.core.set(Setting::Nesterov, 0.0);
        self
    }
    /// So many rounds of the iteration (default 5).
    pub fn with_rounds(mut self, rounds: usize) -> Muon {
        self.rounds = rounds;
        self
    }
    /// Scales steps by `0.2 √max(rows, columns)`, the size of AdamW's, so that both do well with one rate.
    pub fn matched_size(mut self) -> Muon {
        self.matched_size = true;
        self
    }
    /// Parameters whose names match follow AdamW though they are matrices.
    pub fn with_adamw_on(mut self, pattern: impl Into<String>) -> Muon {
        self.adamw_on.push(pattern.into());
        self
    }
}

/// The nearest matrix whose rows (or columns) are orthonormal, roughly.
fn orthogonal(matrix: &Tensor, rounds: usize) -> Result<Tensor> {
    const A: f64 = 3.4445;
    const B: f64 = -4.7750;
    const C: f64 = 2.0315;
    let [rows, columns] = matrix.dims()?;
    let mut x = if rows > columns { matrix.t() } else { matrix.clone() };
    x = &x / x.square().sum().sqrt().clamp_min(1e-7);
    for _ in 0..rounds {
        let product = x.matmul(&x.t());
        let mixed = &product * B + product.matmul(&product) * C;
        x = &x * A + mixed.matmul(&x);
    }
    if rows > columns { x.t() } else { x }.checked()
}

impl Rule for Muon {
    const NAME: &'static str = "muon";
    has_core!();
    fn remember(&self, name: &str, parameter: &Value, _: &Settings) -> Remember {
        if parameter.rank() == 2 && !self.adamw_on.iter().any(|pattern| matches(pattern, name)) {
            return Remember::zeros(&["momentum"], parameter);
        }
        adam::states(false, parameter)
    }
    /// The momentum, and the share of a new gradient.
    fn numbers(&self, settings: &Settings, _: u64) -> Vec<f64> {
        let momentum = settings.number(Setting::Momentum);
        vec![momentum, 1.0 - momentum]
    }
    fn prepare(&self, settings: &Settings, target: &Target<'_>) -> Result<Prepared> {
        let [mean] = &*target.states else { return Ok(Prepared::default()) };
        let [momentum, new] = target.numbers()?;
        let gradient = Tensor::from_value(target.gradient.clone()).to_dtype(mean.dtype());
        let mean = momentum.times(&Tensor::from_value(mean.clone())) + new.times(&gradient);
        let direction = match settings.is_on(Setting::Nesterov) {
            true => new.times(&gradient) + momentum.times(&mean),
            false => mean.clone(),
        };
        let direction = orthogonal(&direction, self.rounds)?;
        target.prepared(&direction, &[mean])
    }
    fn update(&self, settings: &Settings, target: &mut Target<'_>) -> Result<(), Fault> {
        let &[rows, columns] = target.parameter.dims() else {
            return adam::step(settings, target, (false, true));
        };
        if target.states.len() != 1 {
            return adam::step(settings, target, (false, true));
        }
        let (rows, columns, rate) = (rows as f64, columns as f64, settings.number(Setting::Rate));
        let size = match self.matched_size {
            true => 0.2 * rows.max(columns).sqrt(),
            false => (rows / columns).max(1.0).sqrt(),
        };
        let shrink = 1.0 - rate * settings.number(Setting::WeightDecay);
        target.apply(&Step { shrink, rate: rate * size })
    }
}
