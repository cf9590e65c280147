//! What a forward pass may change: running statistics and the draws of random layers, behind the only lock in a model.

use crate::device::{Draw, Random, capture};
use crate::error::Result;
use crate::tensor::{Tensor, is_training};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value that training changes in `forward`: running statistics, the stream of a dropout.
///
/// It is written by a training forward only, in the order of the calls; never with a failed tensor, and never when
/// frozen. A clone is another one with the same value.
///
/// ```
/// use chainrule::nn::Running;
/// use chainrule::{Tensor, evaluating};
/// let mean = Running::new(Tensor::zeros([2]));
/// mean.update(|mean| mean + 1.0)?;
/// assert_eq!(mean.get().to_vec::<f32>()?, [1.0, 1.0]);
/// assert!(mean.is_training() && !evaluating(|| mean.is_training()));
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Running<T> {
    value: Mutex<T>,
    frozen: bool,
}

impl<T: Clone> Running<T> {
    /// Starts at a value.
    pub fn new(value: T) -> Running<T> {
        Running { value: Mutex::new(value), frozen: false }
    }
    fn lock(&self) -> MutexGuard<'_, T> {
        // A panic of a user's closure leaves the old value whole: it is replaced at the end.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The value of this moment.
    ///
    /// ```
    /// assert_eq!(chainrule::nn::Running::new(3).get(), 3);
    /// ```
    pub fn get(&self) -> T {
        self.lock().clone()
    }
    /// Replaces the value; loading does.
    ///
    /// ```
    /// let mut running = chainrule::nn::Running::new(3);
    /// running.set(4);
    /// assert_eq!(running.get(), 4);
    /// ```
    pub fn set(&mut self, value: T) {
        *self.lock() = value;
    }
    /// Is the layer that holds this to behave as in training? Frozen says no; otherwise the innermost scope decides.
    pub fn is_training(&self) -> bool {
        !self.frozen && is_training()
    }
    /// Is it frozen?
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }
    /// Freezes it or lets it change again; [`Module::freeze`](super::Module::freeze) calls this.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
    }
}

impl Running<Tensor> {
    /// Replaces the tensor by what `next` makes of it, without its history; does nothing where it is frozen or evaluated.
    /// A failed tensor is refused with its error, and nothing changes.
    pub fn update(&self, next: impl FnOnce(&Tensor) -> Tensor) -> Result<()> {
        if self.is_training() {
            let mut value = self.lock();
            let new = next(&value).checked()?.detach();
            capture::carry(value.value()?, new.value()?);
            *value = new;
        }
        Ok(())
    }
}

impl Running<Random> {
    /// The next draw of the stream, or none where the layer is frozen or evaluated.
    ///
    /// ```
    /// use chainrule::nn::Running;
    /// use chainrule::{Random, evaluating};
    /// let stream = Running::new(Random::new(1));
    /// assert!(stream.draw().is_some() && evaluating(|| stream.draw()).is_none());
    /// ```
    pub fn draw(&self) -> Option<Draw> {
        self.is_training().then(|| self.lock().draw())
    }
}

impl<T: Clone> Clone for Running<T> {
    fn clone(&self) -> Running<T> {
        Running { value: Mutex::new(self.get()), frozen: self.frozen }
    }
}

impl<T: Clone + fmt::Debug> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frozen = if self.frozen { ", frozen" } else { "" };
        write!(f, "Running({:?}{frozen})", self.get())
    }
}
