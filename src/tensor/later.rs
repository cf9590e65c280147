//! Reads that do not wait until their numbers are wanted.

use super::Tensor;
use crate::device::later;
use crate::error::{Error, Result};
use crate::layout::Element;
use std::fmt;
use std::panic::Location;

/// Numbers that were asked for by [`Tensor::read_later`]: they come while the program goes on, and are taken later.
#[must_use = "numbers that are asked for are to be taken"]
pub struct Later {
    numbers: Result<later::Later>,
    /// Where they were asked for.
    at: &'static Location<'static>,
}

impl Tensor {
    /// Asks for all numbers, to take them later. On a GPU they are copied to the CPU as soon as they are computed, and nobody waits:
    /// taking them waits only for what was called before this. They are the numbers of now, whatever becomes of the tensor. On the CPU
    /// they are simply there.
    ///
    /// A loop that looks at each loss one step late never lets a GPU stand still:
    ///
    /// ```
    /// use chainrule::nn::{Init, Layer, Linear};
    /// use chainrule::optim::{Optimizer, Sgd};
    /// use chainrule::{Device, Later, Tensor};
    /// let device = Device::best();
    /// let mut model = Linear::new(3, 1, &mut Init::on(&device));
    /// let (x, mut optimizer, mut losses) = (Tensor::ones([4, 3]).to(device), Sgd::new(0.1), Vec::new());
    /// let mut before: Option<Later> = None;
    /// for _ in 0..5 {
    ///     let loss = model.forward(&x).square().mean();
    ///     optimizer.step(&mut model, &loss.backward()?)?;
    ///     let earlier = before.replace(loss.read_later());
    ///     losses.extend(earlier.map(Later::item).transpose()?);
    /// }
    /// losses.extend(before.map(Later::item).transpose()?);
    /// assert!(losses.len() == 5 && losses[4] < losses[0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn read_later(&self) -> Later {
        let at = Location::caller();
        let asked = |value: &crate::Value| value.later().map_err(|fault| self.refuse("read_later", fault, at));
        Later { numbers: self.value().and_then(asked), at }
    }
}

impl Later {
    /// Are the numbers there? Then nothing waits any more; so it is of a failed tensor, which has an error to give.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert!(Tensor::ones([2]).read_later().is_ready());
    /// ```
    pub fn is_ready(&self) -> bool {
        self.numbers.as_ref().map_or(true, later::Later::is_ready)
    }
    /// The numbers as a tensor of the CPU. Here errors come out: of a failed tensor, of a position out of range that a GPU met on
    /// the way, of a device that is lost.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let later = (Tensor::from([1.0, 2.0]) * 2.0).read_later();
    /// assert_eq!(later.take()?, Tensor::from([2.0, 4.0]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn take(self) -> Result<Tensor> {
        let fail = |fault| Error::with("read_later", fault, Vec::new(), self.at);
        Ok(Tensor::from_value(self.numbers?.take().map_err(fail)?))
    }
    /// The only number of a tensor that has one.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1.0, 2.0]).sum().read_later().item()?, 3.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn item(self) -> Result<f64> {
        self.take()?.item()
    }
    /// All numbers, row by row, converted to the wanted type.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1, 2]).read_later().to_vec::<f64>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<T: Element>(self) -> Result<Vec<T>> {
        self.take()?.to_vec()
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.numbers {
            Ok(later) => write!(f, "numbers that {}", if later.is_ready() { "are there" } else { "come later" }),
            Err(error) => write!(f, "{error}"),
        }
    }
}
