//! What happens to a convolution's results on their way out, channel by channel.

use crate::device::cpu::gemm::{Epilogue, Real};

/// `y · scale + shift` with a number of each for every channel, and where it is rectified nothing below zero.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a, T> {
    pub(super) scale: Option<&'a [T]>,
    pub(super) shift: Option<&'a [T]>,
    pub(super) rectified: bool,
}

impl<'a, T: Real> Finish<'a, T> {
    /// Adds a bias, where there is one.
    pub(super) fn bias(bias: Option<&'a [T]>) -> Finish<'a, T> {
        Finish { scale: None, shift: bias, rectified: false }
    }
    /// For the channels from `first` on.
    pub(super) fn after(&self, first: usize) -> Finish<'a, T> {
        let after = |numbers: &'a [T]| &numbers[first..];
        Finish { scale: self.scale.map(after), shift: self.shift.map(after), rectified: self.rectified }
    }
    /// Is there nothing to do?
    pub(super) fn is_nothing(&self) -> bool {
        self.scale.is_none() && self.shift.is_none() && !self.rectified
    }
    /// Is to add something all there is to do?
    pub(super) fn only_adds(&self) -> bool {
        self.scale.is_none() && !self.rectified
    }
    /// What is added to the results of a channel.
    pub(super) fn shift(&self, channel: usize) -> T {
        self.shift.map_or(T::default(), |shift| shift[channel])
    }
    /// Finishes results of a channel, to which nothing was added yet.
    #[inline]
    pub(super) fn of_channel(&self, channel: usize, values: &mut [T]) {
        match (self.scale, self.shift) {
            (Some(scale), _) => {
                let (scale, shift) = (scale[channel], self.shift(channel));
                values.iter_mut().for_each(|value| *value = *value * scale + shift);
            }
            (None, Some(shift)) => {
                let shift = shift[channel];
                values.iter_mut().for_each(|value| *value = *value + shift);
            }
            (None, None) => {}
        }
        if self.rectified {
            values.iter_mut().for_each(|value| *value = rectified(*value));
        }
    }
}

/// `max(x, 0)`; what is no number stays none.
#[inline(always)]
pub(super) fn rectified<T: Real>(x: T) -> T {
    if x <= T::default() { T::default() } else { x }
}

impl<T: Real> Epilogue<T> for Finish<'_, T> {
    /// The rows of a product are channels.
    fn finish(&self, row: usize, _: usize, values: &mut [T]) {
        self.of_channel(row, values);
    }
    fn is_nothing(&self) -> bool {
        Finish::is_nothing(self)
    }
}
