//! Steps that a device may have left out: a number says so that is read late, and a step that was left out does not count.

use super::Core;
use super::replay::Count;
use crate::device::Value;
use crate::tensor::{Later, Tensor};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A step of which it is not known yet whether it has changed anything.
#[derive(Clone)]
pub(super) struct Doubt(Arc<Mutex<Asked>>);

struct Asked {
    /// Where the counts go back to.
    before: Vec<Count>,
    /// Not 0 where the step was left out; until it is taken.
    flag: Option<Later>,
    is_left_out: bool,
}

impl Doubt {
    /// Asks for the flag of a step. Nobody waits.
    pub(super) fn new(flag: &Value, before: Vec<Count>) -> Doubt {
        let flag = Some(Tensor::from_value(flag.clone()).read_later());
        Doubt(Arc::new(Mutex::new(Asked { before, flag, is_left_out: false })))
    }
    /// The counts before the step, if it was left out. This waits until the device has come as far as its flag.
    pub(super) fn before(&self) -> Option<Vec<Count>> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flag) = asked.flag.take() {
            // A flag that cannot be read has an error for the next who reads what the step has changed.
            asked.is_left_out = flag.item().is_ok_and(|flag| flag != 0.0);
        }
        asked.is_left_out.then(|| asked.before.clone())
    }
}

impl fmt::Debug for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doubt")
    }
}

impl Core {
    /// Counts no step that was left out. Whoever asks how many there were calls this first.
    pub(super) fn settle(&mut self) {
        self.catch_up();
        if let Some(before) = self.doubt.take().and_then(|doubt| doubt.before()) {
            let counts: Vec<Count> = self.counts().iter().map(|count| count.as_of(&before)).collect();
            self.count_from(&counts);
        }
    }
    /// The same of one that is only looked at.
    pub(super) fn settled(&self) -> Cow<'_, Core> {
        if self.twin.is_none() && self.doubt.is_none() {
            return Cow::Borrowed(self);
        }
        let mut core = self.clone();
        core.settle();
        Cow::Owned(core)
    }
}
