//! Updates that happen or not, by a number that nobody reads.

use super::Value;
use crate::error::Fault;
use std::cell::RefCell;

thread_local! {
    static GUARD: RefCell<Option<Value>> = const { RefCell::new(None) };
}

/// Runs steps of optimizers that change nothing where the flag, a single f32 on their device, is not 0.
pub(crate) fn guarded<R>(flag: &Value, work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct Restore(Option<Value>);
    impl Drop for Restore {
        fn drop(&mut self) {
            GUARD.set(self.0.take());
        }
    }
    let _restore = Restore(GUARD.replace(Some(flag.clone())));
    work()
}

/// The flag of the step under way.
pub(crate) fn flag() -> Option<Value> {
    GUARD.with_borrow(Option::clone)
}

/// Does the flag, here on the CPU, say that nothing is to change?
pub(crate) fn is_set(flag: &Value) -> Result<bool, Fault> {
    Ok(flag.dense::<f32>()?.first().is_some_and(|&flag| flag != 0.0))
}
