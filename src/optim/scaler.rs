//! Training in f16: a loss is made larger before its gradients are computed, so that small ones do not vanish.

use super::Optimizer;
use crate::device::{capture, guard};
use crate::error::{Error, Fault, Result};
use crate::layout::DType;
use crate::nn::Module;
use crate::tensor::{Gradients, State, Tensor, no_grad};
use std::panic::Location;

/// Scales losses so that gradients fit into f16, and finds the scale by itself.
///
/// f16 ends at 65 504 and has nothing below 6e-8. So the loss is multiplied by a scale before `backward`, and the gradients, which
/// arrive at parameters of f32, are divided by it again. Where one of them is infinite or NaN the scale was too large: the
/// step leaves everything as it is, and the scale becomes smaller; after many good steps it becomes larger.
///
/// All of it stays on the device, and a captured step may hold it. A step that was left out does not count: the optimizer hears
/// of it when it next has to know how many it has taken, at the next step, so a GPU that is asked for that already never stands
/// still. (A captured step is launched as a whole: its next replay waits for this one.) bf16 has the range of f32 and needs no scale.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::optim::{LossScaler, Optimizer, Sgd};
/// use chainrule::{DType, Tensor, autocast};
/// let mut model = Linear::new(3, 1, &mut Init::new());
/// let (mut optimizer, mut scaler) = (Sgd::new(0.1), LossScaler::new());
/// let x = Tensor::ones([4, 3]);
/// for _ in 0..3 {
///     let loss = autocast(DType::F16, || model.forward(&x).square().mean());
///     let mut gradients = scaler.scale(&loss).backward()?;
///     scaler.unscale(&mut gradients)?;
///     // Here gradients can be clipped.
///     scaler.step(&mut optimizer, &mut model, &gradients)?;
/// }
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LossScaler {
    scale: Tensor,
    /// Good steps since the scale was changed.
    good: Tensor,
    /// 1 where a gradient of the step under way is not finite, else 0.
    found: Option<Tensor>,
    growth: f64,
    backoff: f64,
    interval: u64,
}

/// Between these the scale moves: their inverses are exact, and far from the ends of f32.
const LEAST: f64 = 1.0 / MOST;
const MOST: f64 = (1u64 << 40) as f64;

impl Default for LossScaler {
    fn default() -> LossScaler {
        LossScaler::new()
    }
}

impl LossScaler {
    /// The usual one: begins at 65 536, halves after a step that was left out, doubles after 2000 good ones.
    pub fn new() -> LossScaler {
        LossScaler {
            scale: Tensor::from(65_536.0f32),
            good: Tensor::from(0.0f32),
            found: None,
            growth: 2.0,
            backoff: 0.5,
            interval: 2000,
        }
    }
    /// Begins at another scale, from 2⁻⁴⁰ (which NaN is taken for) to 2⁴⁰; a power of two changes no digits.
    ///
    /// ```
    /// use chainrule::optim::LossScaler;
    /// assert_eq!(LossScaler::new().with_scale(1024.0).current()?, 1024.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_scale(mut self, scale: f64) -> LossScaler {
        let scale = if scale.is_nan() { LEAST } else { scale.clamp(LEAST, MOST) };
        self.scale = Tensor::from(scale as f32);
        self
    }
    /// Becomes larger by another factor than 2, after another number of good steps than 2000.
    pub fn with_growth(mut self, factor: f64, interval: u64) -> LossScaler {
        (self.growth, self.interval) = (factor, interval.max(1));
        self
    }
    /// Becomes smaller by another factor than a half.
    pub fn with_backoff(mut self, factor: f64) -> LossScaler {
        self.backoff = factor;
        self
    }
    /// The loss, made larger, in f32: compute the gradients of this one.
    #[track_caller]
    pub fn scale(&mut self, loss: &Tensor) -> Tensor {
        if let Ok(device) = loss.device() {
            (self.scale, self.good) = (self.scale.to(device), self.good.to(device));
        }
        loss.to_dtype(DType::F32) * &self.scale
    }
    /// Divides the gradients of a scaled loss by the scale, and looks whether they are finite (without reading them).
    #[track_caller]
    pub fn unscale(&mut self, gradients: &mut Gradients) -> Result<()> {
        if self.found.is_some() {
            let help = "call unscale once for each step, and step after it";
            return Err(Error::new("unscale", Fault::value("these gradients were unscaled already", help)));
        }
        for (name, factor) in [("growth", self.growth), ("backoff", self.backoff)] {
            if !(0.0..=MOST).contains(&factor) {
                let what = format!("the {name} of the scale is {factor}");
                return Err(Error::new("unscale", Fault::value(what, "it is a factor from 0 to 2⁴⁰")));
            }
        }
        no_grad(|| {
            let norm = gradients.norm_unread(2.0)?;
            let found = (1.0 - norm.is_finite().to_dtype(DType::F32)).to(self.scale.device()?).checked()?;
            gradients.multiply(&self.scale.reciprocal())?;
            self.found = Some(found);
            Ok(())
        })
    }
    /// One step of the optimizer, where all gradients were finite; in any case the scale moves on.
    #[track_caller]
    pub fn step(&mut self, optimizer: &mut dyn Optimizer, model: &mut dyn Module, gradients: &Gradients) -> Result<()> {
        let Some(found) = self.found.take() else {
            let help = "call unscale(&mut gradients) before: it also looks whether they are finite";
            return Err(Error::new("step", Fault::value("the gradients are still scaled", help)));
        };
        let place = Location::caller();
        guard::guarded(found.value()?, || optimizer.step(model, gradients)).map_err(|error| error.called_at(place))?;
        no_grad(|| {
            let kept = 1.0 - &found;
            let good = (&self.good + 1.0) * kept;
            // Whole numbers: 1 from the interval on, else 0.
            let grows = (&good + (1.0 - self.interval as f64)).clamp(0.0, 1.0);
            let factor = (&found * (self.backoff - 1.0) + 1.0) * (&grows * (self.growth - 1.0) + 1.0);
            let scale = (&self.scale * factor).clamp(LEAST, MOST).checked()?;
            let good = (good * (1.0 - grows)).checked()?;
            capture::carry(self.scale.value()?, scale.value()?);
            capture::carry(self.good.value()?, good.value()?);
            (self.scale, self.good) = (scale, good);
            Ok(())
        })
    }
    /// The scale of this moment. It is read from the device.
    pub fn current(&self) -> Result<f64> {
        self.scale.item()
    }
    /// All it takes to go on exactly here.
    ///
    /// ```
    /// use chainrule::optim::LossScaler;
    /// let mut scaler = LossScaler::new();
    /// scaler.load_state(&LossScaler::new().with_scale(8.0).state()?)?;
    /// assert_eq!(scaler.current()?, 8.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn state(&self) -> Result<State> {
        let mut state = State::tree();
        state.insert("scale", State::Number(self.scale.item()?))?;
        state.insert("good", State::Number(self.good.item()?))?;
        Ok(state)
    }
    /// Goes on where the state was taken. On an error nothing has changed.
    #[track_caller]
    pub fn load_state(&mut self, state: &State) -> Result<()> {
        let (scale, good) = (state.get("scale")?.number()?, state.get("good")?.number()?);
        if !(LEAST..=MOST).contains(&scale) || !(0.0..f64::INFINITY).contains(&good) {
            let what = format!("a scale of {scale} after {good} good steps");
            return Err(Error::new(
                "load_state",
                Fault::value(what, "the state was damaged, or written by something else"),
            ));
        }
        (self.scale, self.good, self.found) = (Tensor::from(scale as f32), Tensor::from(good as f32), None);
        Ok(())
    }
}
