//! A count that a captured step moves on, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what is done once for each step, on the host: draws of a stream, steps of a schedule. Once it was shared, a captured
/// step moves it on at each replay. A clone stands where this one does and counts for itself.
#[derive(Debug)]
pub(crate) enum Counter {
    /// Nobody else counts here.
    Own(u64),
    /// A captured step does.
    Shared(Arc<AtomicU64>),
}

impl Counter {
    pub(crate) fn new(count: u64) -> Counter {
        Counter::Own(count)
    }
    /// Where it stands.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        match self {
            Counter::Own(count) => *count,
            Counter::Shared(count) => count.load(Ordering::Relaxed),
        }
    }
    /// One further.
    #[inline]
    pub(crate) fn advance(&mut self) {
        match self {
            Counter::Own(count) => *count = count.wrapping_add(1),
            Counter::Shared(count) => drop(count.fetch_add(1, Ordering::Relaxed)),
        }
    }
    /// What a captured step moves on.
    pub(crate) fn shared(&mut self) -> Arc<AtomicU64> {
        let count = match self {
            Counter::Own(count) => Arc::new(AtomicU64::new(*count)),
            Counter::Shared(count) => return count.clone(),
        };
        *self = Counter::Shared(count.clone());
        count
    }
}

impl Clone for Counter {
    fn clone(&self) -> Counter {
        Counter::Own(self.get())
    }
}

impl PartialEq for Counter {
    fn eq(&self, other: &Counter) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Counter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_count_is_moved_by_both_and_a_clone_by_neither() {
        let mut counter = Counter::new(3);
        let mut clone = counter.clone();
        let shared = counter.shared();
        shared.fetch_add(4, Ordering::Relaxed);
        counter.advance();
        assert_eq!((counter.get(), counter.shared().load(Ordering::Relaxed)), (8, 8));
        clone.advance();
        assert_eq!((clone.get(), counter == clone, counter.clone() == counter), (4, false, true));
    }
}
