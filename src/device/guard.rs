//! Updates that happen or not, by a number that nobody reads.

use super::{Device, Value};
use crate::error::Fault;
use std::cell::RefCell;

/// What an update looks at.
#[derive(Clone)]
#[cfg_attr(not(feature = "cuda-unversioned"), allow(dead_code))]
struct Guard {
    flag: Value,
    /// The flag knows what checks have found, too.
    is_gate: bool,
}

thread_local! {
    static GUARD: RefCell<Option<Guard>> = const { RefCell::new(None) };
}

/// Runs steps of optimizers that change nothing where the flag, a single f32 on their device, is not 0.
pub(crate) fn guarded<R>(flag: &Value, work: impl FnOnce() -> R) -> R {
    under(Guard { flag: flag.clone(), is_gate: false }, work)
}

/// The same with a flag that is not 0 where a check on its device has found something either.
pub(crate) fn gated<R>(flag: &Value, work: impl FnOnce() -> R) -> R {
    under(Guard { flag: flag.clone(), is_gate: true }, work)
}

fn under<R>(guard: Guard, work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct Restore(Option<Guard>);
    impl Drop for Restore {
        fn drop(&mut self) {
            GUARD.set(self.0.take());
        }
    }
    let _restore = Restore(GUARD.replace(Some(guard)));
    work()
}

/// The flag of the step under way.
pub(crate) fn flag() -> Option<Value> {
    GUARD.with_borrow(|guard| guard.as_ref().map(|guard| guard.flag.clone()))
}

/// The flag of the step under way, where nobody else takes back what counts as done if it is set.
pub(crate) fn unheard() -> Option<Value> {
    GUARD.with_borrow(|guard| guard.as_ref().filter(|guard| !guard.is_gate).map(|guard| guard.flag.clone()))
}

/// Does the flag of the step under way know what checks have found?
#[cfg(feature = "cuda-unversioned")]
pub(super) fn is_gated() -> bool {
    GUARD.with_borrow(|guard| guard.as_ref().is_some_and(|guard| guard.is_gate))
}

/// What a step under way puts in the place of a value is as right as that was, where its flag knows what checks have found.
#[cfg_attr(not(feature = "cuda-unversioned"), allow(unused_variables))]
pub(crate) fn inherits(new: &Value, old: &Value) {
    #[cfg(feature = "cuda-unversioned")]
    if let (Device::Cuda(cuda), true) = (new.device(), is_gated()) {
        cuda.inherits(new, old);
    }
}

/// What checks on a device have found: a single i64, -1 as long as that is nothing. None where none is under way.
pub(crate) fn found_by_checks(device: Device) -> Option<Value> {
    match device {
        Device::Cpu => None,
        #[cfg(feature = "cuda-unversioned")]
        Device::Cuda(cuda) => cuda.word_of_checks(),
    }
}

/// Says that numbers of a GPU are right, one by one where `right` is not 0; both are dense f64. The first that is not is found out at the
/// next read, and what is made from now on counts as failed. On the CPU it is for the caller to look at once.
#[cfg_attr(not(feature = "cuda-unversioned"), allow(unused_variables))]
pub(crate) fn claim(
    right: &Value,
    numbers: &Value,
    explain: impl Fn(f64, usize) -> Fault + Send + 'static,
) -> Result<(), Fault> {
    match numbers.device() {
        Device::Cpu => Err(Fault::defect("a claim about numbers of the CPU")),
        #[cfg(feature = "cuda-unversioned")]
        Device::Cuda(cuda) => cuda.claim(right, numbers, explain),
    }
}

/// Does the flag, here on the CPU, say that nothing is to change?
pub(crate) fn is_set(flag: &Value) -> Result<bool, Fault> {
    Ok(flag.dense::<f32>()?.first().is_some_and(|&flag| flag != 0.0))
}
