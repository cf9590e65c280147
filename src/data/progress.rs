//! How far the loading of a batch has come, so that an error can name the item it stopped at.

use crate::error::{Error, Fault, Result};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What one thread is loading. The thread writes, whoever waits for it reads.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The place in the batch of the item in hand, plus one; 0 between items.
    place: AtomicUsize,
    /// Nobody wants the batch any more.
    stopped: AtomicBool,
    /// When the item was begun, in microseconds since `clock`.
    begun: AtomicU64,
    /// Only where somebody may wait: not every target that lacks threads has a clock.
    clock: Option<Instant>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Progress>>> = const { RefCell::new(None) };
}

impl Progress {
    /// Of a worker, whose items are timed.
    pub(super) fn timed() -> Progress {
        Progress { clock: Some(Instant::now()), ..Progress::default() }
    }
    /// Loads a batch, whose items [`watched`] then counts here.
    pub(super) fn of<R>(self: &Arc<Progress>, load: impl FnOnce() -> R) -> R {
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                CURRENT.set(None);
            }
        }
        self.at(0);
        CURRENT.set(Some(self.clone()));
        let _clear = Clear;
        load()
    }
    fn at(&self, place: usize) {
        self.place.store(place, Relaxed);
        if let Some(clock) = self.clock {
            self.begun.store(clock.elapsed().as_micros() as u64, Relaxed);
        }
    }
    /// The place in the batch of the item in hand.
    pub(super) fn place(&self) -> Option<usize> {
        self.place.load(Relaxed).checked_sub(1)
    }
    /// For how long the item has been in hand, or what comes between items.
    pub(super) fn taken(&self) -> Duration {
        let begun = Duration::from_micros(self.begun.load(Relaxed));
        self.clock.map_or(Duration::ZERO, |clock| clock.elapsed().saturating_sub(begun))
    }
    /// The batch is not wanted any more: it ends before its next item.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }
}

/// Loads items one by one, each counted. Of datasets inside of datasets the outer one is counted: its items are those of
/// the batch.
pub(super) fn watched<T, R>(items: impl Iterator<Item = T>, mut load: impl FnMut(T) -> Result<R>) -> Result<Vec<R>> {
    let current = CURRENT.take();
    let mut loaded = Vec::with_capacity(items.size_hint().0);
    for (place, item) in items.enumerate() {
        if let Some(progress) = &current {
            if progress.stopped.load(Relaxed) {
                return Err(Error::new("loader", Fault::value("the epoch was dropped", "")));
            }
            progress.at(place + 1);
        }
        loaded.push(load(item)?);
    }
    if let Some(progress) = current {
        progress.at(0);
        CURRENT.set(Some(progress));
    }
    Ok(loaded)
}
