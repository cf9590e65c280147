//! Scopes of one thread: whether operations are recorded, whether layers train, whether NaN is watched for.
//!
//! A scope covers the thread that entered it. Threads you start yourself begin with the defaults: recording, training.
//! What is shipped should not rely on scopes but on frozen parameters.

use crate::layout::DType;
use std::cell::Cell;

#[derive(Clone, Copy)]
pub(crate) struct Modes {
    /// Are operations on tracked tensors recorded?
    pub(crate) recording: bool,
    /// Do layers behave as in training?
    pub(crate) training: bool,
    /// Is every result checked for NaN and infinity?
    pub(crate) anomalies: bool,
    /// Is every operation written down (see `record`)?
    pub(crate) everything: bool,
    /// The type that autocast casts to (see `autocast`).
    pub(crate) autocast: Option<DType>,
}

impl Modes {
    const DEFAULT: Modes =
        Modes { recording: true, training: true, anomalies: false, everything: false, autocast: None };
}

thread_local! {
    static MODES: Cell<Modes> = const { Cell::new(Modes::DEFAULT) };
}

#[inline]
pub(crate) fn modes() -> Modes {
    MODES.get()
}

/// Runs `work` with changed modes and puts the old ones back, also when `work` panics.
pub(crate) fn with_modes<R>(change: impl FnOnce(&mut Modes), work: impl FnOnce() -> R) -> R {
    struct Restore(Modes);
    impl Drop for Restore {
        fn drop(&mut self) {
            MODES.set(self.0);
        }
    }
    let before = MODES.get();
    let _restore = Restore(before);
    let mut modes = before;
    change(&mut modes);
    MODES.set(modes);
    work()
}

/// Nothing inside is recorded: no memory for gradients, and results have no history.
///
/// ```
/// use chainrule::{Tensor, no_grad};
/// let x = Tensor::ones([2]).variable();
/// let y = no_grad(|| (&x * 2.0).sum());
/// assert!(y.backward().is_err());
/// ```
pub fn no_grad<R>(work: impl FnOnce() -> R) -> R {
    with_modes(|modes| modes.recording = false, work)
}

/// As in a thread that has just begun, and without recording: what is computed is the same wherever it is asked for.
pub(crate) fn apart<R>(work: impl FnOnce() -> R) -> R {
    with_modes(|modes| *modes = Modes { recording: false, ..Modes::DEFAULT }, work)
}

/// Layers inside behave as at evaluation (no dropout, running statistics); operations are still recorded.
///
/// ```
/// assert!(!chainrule::evaluating(chainrule::is_training));
/// ```
pub fn evaluating<R>(work: impl FnOnce() -> R) -> R {
    with_modes(|modes| modes.training = false, work)
}

/// Layers inside behave as in training, which is the default: to return to it inside [`evaluating`].
///
/// ```
/// assert!(chainrule::evaluating(|| chainrule::training(chainrule::is_training)));
/// ```
pub fn training<R>(work: impl FnOnce() -> R) -> R {
    with_modes(|modes| modes.training = true, work)
}

/// The first operation inside that produces NaN or infinity, forward or backward, fails and names itself.
///
/// ```
/// use chainrule::{ErrorKind, Tensor, detect_anomalies};
/// let failed = detect_anomalies(|| (Tensor::from([-1.0]).sqrt() + 1.0).checked());
/// let error = failed.unwrap_err();
/// assert_eq!((error.kind(), error.operation()), (ErrorKind::NonFinite, "sqrt"));
/// ```
pub fn detect_anomalies<R>(work: impl FnOnce() -> R) -> R {
    with_modes(|modes| modes.anomalies = true, work)
}

/// Are operations on tracked tensors recorded here?
///
/// ```
/// assert!(chainrule::is_recording());
/// assert!(!chainrule::no_grad(chainrule::is_recording));
/// ```
pub fn is_recording() -> bool {
    modes().recording
}

/// Do layers behave as in training here?
///
/// ```
/// assert!(chainrule::is_training());
/// ```
pub fn is_training() -> bool {
    modes().training
}
