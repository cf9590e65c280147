//! A factor that is set from outside.

use super::Schedule;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rate times a factor that is set by hand, through any of its clones: between the replays of a
/// [captured step](crate::Device::capture), which has the optimizer to itself.
///
/// Where the schedule takes its step before the optimizer, that step goes by the new rate already.
///
/// ```
/// use chainrule::optim::schedule::{ByHand, Schedule};
/// use chainrule::optim::{Optimizer, Sgd};
/// use chainrule::{Device, Parameter, Tensor};
/// let device = Device::best();
/// let mut weight = Parameter::new(Tensor::from([8.0]).to(device));
/// let mut optimizer = Sgd::new(1.0);
/// let factor = ByHand::new();
/// let mut schedule = factor.clone().start(&mut optimizer);
/// let mut step = device.capture(|| {
///     schedule.step(&mut optimizer);
///     let loss = weight.sum();
///     optimizer.step(&mut weight, &loss.backward()?)?;
///     Ok(loss)
/// });
/// let mut losses = Vec::new();
/// for number in [1.0, 1.0, 0.5, 0.25, 0.25] {
///     factor.set(number);
///     losses.push(step.replay()?.item()?);
/// }
/// assert_eq!(losses, [8.0, 7.0, 6.0, 5.5, 5.25]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ByHand {
    /// The bits of an f64.
    factor: Arc<AtomicU64>,
}

impl ByHand {
    /// The factor 1.
    pub fn new() -> ByHand {
        ByHand { factor: Arc::new(AtomicU64::new(1f64.to_bits())) }
    }
    /// From the next step on the rates are what they were at the start, times this.
    pub fn set(&self, factor: f64) {
        self.factor.store(factor.to_bits(), Ordering::Relaxed);
    }
    /// The factor that was set last.
    pub fn factor(&self) -> f64 {
        f64::from_bits(self.factor.load(Ordering::Relaxed))
    }
}

impl Default for ByHand {
    fn default() -> ByHand {
        ByHand::new()
    }
}

impl Schedule for ByHand {
    fn rate(&self, base: f64, _: u64) -> f64 {
        base * self.factor()
    }
}
