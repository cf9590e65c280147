//! Threads that wait to help: they look for work for some microseconds after they did some, then sleep.
//!
//! A caller offers its work to helpers that are free, does parts of it itself, and takes back every offer that nobody
//! has begun when nothing is left to do. So it waits for parts that run, never for a thread that is still asleep, and
//! any number of callers share the helpers.
//!
//! Measured (two cores): handing work to helpers that are awake costs 0.3 µs, waking them 5 to 50 µs, a call from outside of
//! rayon's pool 12 to 40 µs. So that pool, which a program shares with everything else in it, helps with long work that finds
//! our helpers asleep; its offers are taken back like all others. (A scope of rayon's would wait for threads that have not
//! begun, and a thread of the pool that waits takes up any other task meanwhile, inside our caller's scopes.)

use super::parallel::Body;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{dangling_mut, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};

/// How work is shared out: each thread has a stretch of its own, which is much the same at every call, so that it finds
/// in its cache what it wrote there before; who is done with it helps with the stretches of the others.
struct Share {
    stretches: [Stretch; STRETCHES],
    count: usize,
    batch: usize,
}

/// The parts from `next` on, up to `end`. One to a cache line.
#[repr(align(64))]
struct Stretch {
    next: AtomicUsize,
    end: usize,
}

/// With more threads than this, some share a stretch.
const STRETCHES: usize = 16;

/// The parts that one thread does.
pub(super) struct Parts<'a> {
    now: usize,
    end: usize,
    share: Option<&'a Share>,
    stretch: usize,
    left: usize,
}

impl Parts<'_> {
    /// All parts, for a thread that works alone.
    pub(super) fn all(parts: usize) -> Parts<'static> {
        Parts { now: 0, end: parts, share: None, stretch: 0, left: 0 }
    }
}

impl Share {
    /// A turn is `enough` parts at most, and there are some for each thread, so that a slow one does not keep the others waiting.
    fn new(parts: usize, workers: usize, enough: usize) -> Share {
        let count = workers.clamp(1, STRETCHES);
        let edge = |index: usize| parts / count * index + (parts % count).min(index);
        let stretches = std::array::from_fn(|index| match index < count {
            true => Stretch { next: AtomicUsize::new(edge(index)), end: edge(index + 1) },
            false => Stretch { next: AtomicUsize::new(0), end: 0 },
        });
        Share { stretches, count, batch: (parts / (8 * workers.max(1))).min(enough).max(1) }
    }
    fn take(&self, worker: usize) -> Parts<'_> {
        Parts { now: 0, end: 0, share: Some(self), stretch: worker % self.count, left: self.count }
    }
    /// Nobody begins another part.
    fn stop(&self) {
        for stretch in &self.stretches {
            stretch.next.store(stretch.end, Relaxed);
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = usize;
    // It stands in the loop of every kernel.
    #[inline(never)]
    fn next(&mut self) -> Option<usize> {
        while self.now == self.end {
            let share = self.share.filter(|_| self.left > 0)?;
            let Stretch { next, end } = &share.stretches[self.stretch];
            self.now = next.fetch_add(share.batch, Relaxed).min(*end);
            self.end = (self.now + share.batch).min(*end);
            if self.now == self.end {
                self.left -= 1;
                self.stretch = (self.stretch + 1) % share.count;
            }
        }
        self.now += 1;
        Some(self.now - 1)
    }
}

/// Work on offer. It lives in its caller's stack frame, which waits until nobody holds it.
struct Job<'a> {
    body: &'a dyn Body,
    share: Share,
    /// Helpers that hold the offer or work on it.
    open: AtomicUsize,
    begun: AtomicUsize,
    caller: Thread,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl<'a> Job<'a> {
    fn new([parts, enough]: [usize; 2], workers: usize, body: &'a dyn Body) -> Job<'a> {
        Job {
            body,
            share: Share::new(parts, workers, enough),
            open: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            caller: thread::current(),
            panic: Mutex::new(None),
        }
    }
    /// What is put into the slots of helpers. Not a lifetime that the compiler can check: `complete` keeps the frame of the
    /// job until nobody holds the pointer.
    fn offer(&self) -> *mut Job<'static> {
        (&raw const *self).cast_mut().cast()
    }
    /// The caller's own share, and then the end: takes back every offer that nobody has begun, waits for the others, and goes
    /// on with a panic if there was one.
    fn complete<'s>(&self, slots: impl Iterator<Item = &'s AtomicPtr<Job<'static>>>) {
        let own = catch_unwind(AssertUnwindSafe(|| self.body.run(self.share.take(0))));
        if own.is_err() {
            self.share.stop();
        }
        let mut asked = 0;
        for slot in slots {
            asked += 1;
            if slot.compare_exchange(self.offer(), null_mut(), AcqRel, Relaxed).is_ok() {
                self.open.fetch_sub(1, Relaxed);
            }
        }
        let mut looks = 0;
        while self.open.load(Acquire) > 0 {
            looks += 1;
            if looks < LOOKS && asked <= cores() {
                std::hint::spin_loop();
            } else {
                // Whoever ends last wakes us; a wake-up that was meant for something else does no harm.
                thread::park();
            }
        }
        if let Some(panic) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
        own.unwrap_or_else(|panic| resume_unwind(panic));
    }
    /// A helper's share; `leave` runs between the work and the word to the caller that it is done, after which nobody may
    /// touch the job.
    fn help(&self, worker: usize, leave: impl FnOnce()) {
        self.begun.fetch_add(1, Release);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.body.run(self.share.take(worker)))) {
            self.share.stop();
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        let caller = self.caller.clone();
        leave();
        if self.open.fetch_sub(1, AcqRel) == 1 {
            caller.unpark();
        }
    }
}

/// One helper: the job on offer to it (none: free; `working()`: at work), and whether it sleeps.
#[repr(align(128))]
struct Helper {
    job: AtomicPtr<Job<'static>>,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// The most threads that work together.
pub(super) const MOST: usize = 128;
static HELPERS: [Helper; MOST - 1] =
    [const { Helper { job: AtomicPtr::new(null_mut()), asleep: AtomicBool::new(false), thread: OnceLock::new() } };
        MOST - 1];
static STARTED: AtomicUsize = AtomicUsize::new(0);
static START: Mutex<()> = Mutex::new(());
/// Callers inside `stay_awake`.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

/// Looks for work before a thread sleeps: some 30 µs, what waking it would cost.
const LOOKS: usize = 1000;
/// As many times longer inside `stay_awake`.
const PATIENCE: usize = 50;

fn working() -> *mut Job<'static> {
    dangling_mut()
}

/// The cores that this process may use.
pub(super) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, |count| count.get()))
}

/// Whom to ask for help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Only who is awake: the work is shorter than waking somebody.
    Awake,
    /// Everybody who is free.
    All,
    /// Everybody, and wait until they have begun: for tests that want to see several threads at work.
    Surely,
}

/// Runs `body` on this thread and on up to `workers - 1` helpers, each with its own share of `parts`, of which `enough` are
/// worth a turn. The answer is how many helpers were asked.
pub(super) fn run(parts: [usize; 2], workers: usize, ask: Ask, body: &dyn Body) -> usize {
    let wanted = workers.min(MOST) - 1;
    start(wanted, ask);
    let job = Job::new(parts, workers, body);
    let mut asked = 0u128;
    for (index, helper) in HELPERS.iter().enumerate().take(STARTED.load(Acquire)) {
        if asked.count_ones() as usize == wanted {
            break;
        }
        let free = helper.job.load(Relaxed).is_null() && (ask != Ask::Awake || !helper.asleep.load(Relaxed));
        if free && helper.take_up(&job) {
            asked |= 1 << index;
        }
    }
    if ask == Ask::Surely {
        while job.begun.load(Acquire) < asked.count_ones() as usize {
            thread::yield_now();
        }
    }
    job.complete((0..MOST - 1).filter(|index| asked >> index & 1 == 1).map(|index| &HELPERS[index].job));
    asked.count_ones() as usize
}

/// As [`run`], with helpers from rayon's pool: for work so long that the way there does not count.
pub(super) fn run_in_pool(parts: [usize; 2], workers: usize, body: &dyn Body) {
    let job = Job::new(parts, workers, body);
    let slots: Vec<_> = (1..workers).map(|_| Arc::new(AtomicPtr::new(job.offer()))).collect();
    job.open.store(slots.len(), Relaxed);
    // Where the system gives rayon no threads it panics: nobody begins then, and the caller does it all.
    let _ = catch_unwind(|| {
        for (worker, slot) in (1..).zip(slots.iter().map(Arc::clone)) {
            rayon::spawn(move || {
                let offer = slot.swap(null_mut(), AcqRel);
                if !offer.is_null() {
                    // SAFETY: the offer was not taken back, so its caller counts us in `open` and keeps the job alive until
                    // we count ourselves out.
                    super::parallel::within(1, || unsafe { &*offer }.help(worker, || ()));
                }
            });
        }
    });
    job.complete(slots.iter().map(|slot| &**slot));
}

/// Are there helpers for so many workers that wait for work without sleeping?
pub(super) fn awake(workers: usize) -> bool {
    let started = HELPERS.iter().take(STARTED.load(Acquire));
    let free = started.filter(|helper| helper.job.load(Relaxed).is_null() && !helper.asleep.load(Relaxed));
    free.take(workers - 1).count() == workers - 1
}

impl Helper {
    fn take_up(&self, job: &Job<'_>) -> bool {
        job.open.fetch_add(1, Relaxed);
        if self.job.compare_exchange(null_mut(), job.offer(), SeqCst, Relaxed).is_err() {
            job.open.fetch_sub(1, Relaxed);
            return false;
        }
        // Either we see that it sleeps, or it sees the offer before it does.
        if self.asleep.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        true
    }

    fn live(&self, worker: usize, spins: bool) -> ! {
        loop {
            let offer = self.wait(spins);
            if self.job.compare_exchange(offer, working(), AcqRel, Relaxed).is_err() {
                continue; // taken back
            }
            // SAFETY: the offer was there when we marked it ours, so its caller counts us in `open` and keeps the job
            // alive until we count ourselves out; after that we do not touch it.
            unsafe { &*offer }.help(worker, || self.job.store(null_mut(), Release));
        }
    }

    /// Waits for an offer: awake for a while, then asleep.
    fn wait(&self, spins: bool) -> *mut Job<'static> {
        let mut looks = 0;
        loop {
            let offer = self.job.load(Acquire);
            if !offer.is_null() {
                return offer;
            }
            looks += 1;
            if spins && (looks < LOOKS || (looks < PATIENCE * LOOKS && AWAKE.load(Relaxed) > 0)) {
                std::hint::spin_loop();
                continue;
            }
            self.asleep.store(true, SeqCst);
            if self.job.load(SeqCst).is_null() {
                thread::park();
            }
            self.asleep.store(false, SeqCst);
            looks = 0;
        }
    }
}

/// Starts helpers until there are as many as wanted.
fn start(wanted: usize, ask: Ask) {
    if STARTED.load(Acquire) >= wanted || ask == Ask::Awake {
        return;
    }
    let _one = START.lock().unwrap_or_else(PoisonError::into_inner);
    for (index, helper) in HELPERS.iter().enumerate().take(wanted).skip(STARTED.load(Acquire)) {
        // With more threads than cores a helper that looks for work only takes time from one that has some.
        let spins = index + 1 < cores();
        let thread = thread::Builder::new().name(format!("chainrule {}", index + 1)).spawn(move || {
            super::parallel::within(1, || helper.live(index + 1, spins));
        });
        // Where the system gives no more threads, fewer do the work.
        let Ok(thread) = thread else { break };
        let _ = helper.thread.set(thread.thread().clone());
        STARTED.store(index + 1, Release);
    }
}

/// Runs `work` while helpers look for work longer than else.
pub(super) fn stay_awake<R>(work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            AWAKE.fetch_sub(1, Relaxed);
        }
    }
    AWAKE.fetch_add(1, Relaxed);
    let _leave = Leave;
    work()
}
