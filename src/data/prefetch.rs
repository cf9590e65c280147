//! Threads that load batches ahead of their use and hand them over in order.

use super::progress::Progress;
use crate::device::threads;
use crate::error::Result;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// More threads than this are never started.
pub(super) const MOST: usize = 128;
/// No single wait is longer, since clocks do not count to every number.
const DAY: Duration = Duration::from_secs(86_400);

/// Loads the batch of a number.
pub(super) type Load<B> = dyn Fn(usize, &Arc<Progress>) -> Result<B> + Send + Sync;

/// Why there is no batch.
pub(super) enum Missing {
    /// An item takes too long: the one at this place of the batch, where that is known.
    Slow(Option<usize>, Duration),
    /// The threads are gone.
    Gone,
}

/// Threads at work on the batches of one epoch.
pub(super) struct Team<B> {
    shared: Arc<Shared<B>>,
    patience: Duration,
    /// An item hangs: nobody waits for its thread.
    stuck: bool,
}

struct Shared<B> {
    load: Arc<Load<B>>,
    /// How many batches the epoch has.
    count: usize,
    /// How many of them may be loaded, or in hand, from the one that is wanted next.
    ahead: usize,
    desk: Mutex<Desk<B>>,
    /// Something came onto the desk, or a worker left.
    news: Condvar,
    /// There is room for another batch, or nothing more to do.
    room: Condvar,
}

struct Desk<B> {
    /// The batch that is wanted next, and those after it that have been begun.
    wanted: usize,
    begun: VecDeque<Slot<B>>,
    workers: usize,
    closed: bool,
}

enum Slot<B> {
    Loading(Arc<Progress>),
    Loaded(Result<B>),
}

impl<B> Shared<B> {
    fn desk(&self) -> MutexGuard<'_, Desk<B>> {
        // Nothing that can panic runs under the lock.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What a worker does until there is nothing left.
    fn work(&self) {
        while let Some((number, progress)) = self.begin() {
            let loaded = (self.load)(number, &progress);
            let mut desk = self.desk();
            let place = number.wrapping_sub(desk.wanted);
            match desk.begun.get_mut(place) {
                Some(slot) => *slot = Slot::Loaded(loaded),
                None => return, // the epoch was dropped
            }
            if place == 0 {
                self.news.notify_all();
            }
        }
    }
    /// The next batch to load, once there is room for it.
    fn begin(&self) -> Option<(usize, Arc<Progress>)> {
        let mut desk = self.desk();
        loop {
            let number = desk.wanted + desk.begun.len();
            if desk.closed || number >= self.count {
                return None;
            }
            if desk.begun.len() < self.ahead {
                let progress = Arc::new(Progress::timed());
                desk.begun.push_back(Slot::Loading(progress.clone()));
                return Some((number, progress));
            }
            desk = self.room.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Says that a worker has left, whatever made it leave.
struct Leave<B>(Arc<Shared<B>>);

impl<B> Drop for Leave<B> {
    fn drop(&mut self) {
        self.0.desk().workers -= 1;
        self.0.news.notify_all();
    }
}

impl<B: Send + 'static> Team<B> {
    /// Workers for the batches `from .. count`; none where no thread can be started.
    pub(super) fn start(
        workers: usize,
        ahead: usize,
        patience: Duration,
        (from, count): (usize, usize),
        load: &Arc<Load<B>>,
    ) -> Option<Team<B>> {
        let desk = Desk { wanted: from, begun: VecDeque::new(), workers: 0, closed: false };
        let (load, ahead, desk) = (load.clone(), ahead.max(1), Mutex::new(desk));
        let shared = Arc::new(Shared { load, count, ahead, desk, news: Condvar::new(), room: Condvar::new() });
        let mut started = false;
        for number in 0..workers.min(count.saturating_sub(from)).min(MOST) {
            let own = shared.clone();
            // Counted before it starts: it may be done before this thread goes on.
            shared.desk().workers += 1;
            let work = move || {
                let leave = Leave(own);
                // The other cores belong to the training and to the other workers.
                threads(1, || leave.0.work());
            };
            if thread::Builder::new().name(format!("loader {number}")).spawn(work).is_err() {
                shared.desk().workers -= 1;
                break;
            }
            started = true;
        }
        started.then_some(Team { shared, patience, stuck: false })
    }
    /// The next batch; waits for it as long as its items come.
    pub(super) fn next(&mut self) -> Result<Result<B>, Missing> {
        let mut desk = self.shared.desk();
        loop {
            let progress = match desk.begun.front() {
                Some(Slot::Loading(progress)) => Some(progress.clone()),
                Some(Slot::Loaded(_)) => {
                    let loaded = desk.begun.pop_front();
                    desk.wanted += 1;
                    drop(desk);
                    self.shared.room.notify_one();
                    match loaded {
                        Some(Slot::Loaded(loaded)) => return Ok(loaded),
                        _ => return Err(Missing::Gone),
                    }
                }
                None => None,
            };
            if desk.workers == 0 {
                return Err(Missing::Gone);
            }
            let taken = progress.as_ref().map_or(Duration::ZERO, |progress| progress.taken());
            if let (Some(progress), true) = (progress, taken >= self.patience) {
                drop(desk);
                self.stuck = true;
                return Err(Missing::Slow(progress.place(), self.patience));
            }
            let rest = (self.patience - taken).min(DAY);
            desk = self.shared.news.wait_timeout(desk, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Ends the threads: each stops before its next item, and is waited for unless it hangs.
impl<B> Drop for Team<B> {
    fn drop(&mut self) {
        let mut desk = self.shared.desk();
        desk.closed = true;
        let begun = std::mem::take(&mut desk.begun);
        for slot in &begun {
            if let Slot::Loading(progress) = slot {
                progress.stop();
            }
        }
        self.shared.room.notify_all();
        if !self.stuck {
            let patience = self.patience.min(DAY);
            let left = self.shared.news.wait_timeout_while(desk, patience, |desk| desk.workers > 0);
            drop(left);
        }
    }
}
