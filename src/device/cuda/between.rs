//! Numbers from one GPU to another, without the CPU in between.
//!
//! The copy goes along the stream of the GPU that has them. First that waits until the other has come to this moment, since what was
//! called there may still use the block that is filled; and what is called on the other from now on waits for the copy. The program waits for
//! neither.
//!
//! What a check finds on the one GPU holds for what was copied to the other, too: whoever reads there hears of it (`faults.rs`).

use super::driver::{Address, Moment};
use super::faults::Made;
use super::later::Later;
use super::transfer::{compact, moved};
use super::{Cuda, lock, update};
use crate::device::{Value, capture};
use crate::error::Fault;
use std::sync::Mutex;

/// What a GPU keeps of numbers that came from others, or went there.
#[derive(Default)]
pub(super) struct Crossings {
    /// The last moment that another GPU was to wait for.
    moment: Mutex<Option<Moment>>,
    doubts: Mutex<Vec<Doubt>>,
}

/// A value that is as right as the one it was copied from, of which checks are still to be heard.
struct Doubt {
    made: Made,
    heard: Later,
}

impl Cuda {
    /// A value of another GPU, copied to this one.
    pub(in crate::device) fn take_over(self, value: &Value, from: Cuda) -> Result<Value, Fault> {
        if capture::is_recording() {
            return Err(Fault::device(
                "a captured step copies numbers from one GPU to another",
                "capture what each GPU does, and copy between replays: an Input takes numbers of another GPU",
            ));
        }
        update::launch_waiting()?;
        from.hear_of_others();
        from.sound(value)?;
        let (dense, first, span) = compact(value)?;
        let size = value.dtype().size();
        let buffer = self.allocate(span * size)?;
        if span > 0 {
            self.comes_before(from)?;
            let start = dense.buffer().address() + (first * size) as Address;
            // SAFETY: so many bytes stand at both; each GPU does nothing else with them before its turn.
            unsafe { from.0.gpu.copy_to(&self.0.gpu, buffer.address(), start, span * size) }?;
            from.comes_before(self)?;
        }
        let taken = Value::within(buffer, moved(dense.layout(), first), value.dtype())?;
        if let (Some(made), Some(heard)) = (self.made(taken.buffer().address()), from.ask_of(value)?) {
            lock(&self.0.crossings.doubts).push(Doubt { made, heard });
        }
        Ok(taken)
    }
    /// What is called on another GPU from now on waits for what was called here.
    fn comes_before(self, other: Cuda) -> Result<(), Fault> {
        let mut moment = lock(&self.0.crossings.moment);
        let moment = match &mut *moment {
            Some(moment) => moment,
            none => none.insert(self.0.gpu.moment()?),
        };
        self.0.gpu.mark(moment)?;
        other.0.gpu.wait_on_the_way(moment)
    }
    /// Hears of the checks that values from other GPUs depend on. This waits until those have come to where they were copied.
    pub(super) fn hear_of_others(self) {
        let mut doubts = lock(&self.0.crossings.doubts);
        for Doubt { made, heard } in doubts.drain(..) {
            if let Err(fault) = heard.take() {
                self.fails(made, fault);
            }
        }
    }
}
