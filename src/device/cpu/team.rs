//! Threads that wait to help: they look for work for some microseconds after they did some, then sleep.
//!
//! A caller offers its work to helpers that are free, does parts of it itself, and takes back every offer that nobody
//! has begun when nothing is left to do. So it waits for parts that run, never for a thread that is still asleep, and
//! any number of callers share the helpers.
//!
//! Measured (two cores): handing work to helpers that are awake costs 0.3 µs, waking them 5 to 50 µs. A pool of tasks that
//! others use too would do less well: a call from outside takes 12 to 40 µs and waits for threads that have not begun yet, and
//! one that waits takes up any other task meanwhile, which would then run inside our caller's scopes.

use super::parallel::Body;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{dangling_mut, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Mutex, OnceLock, PoisonError};
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
pub(super) fn run([parts, enough]: [usize; 2], workers: usize, ask: Ask, body: &dyn Body) -> usize {
    let wanted = workers.min(MOST) - 1;
    start(wanted, ask);
    let job = Job {
        body,
        share: Share::new(parts, workers, enough),
        open: AtomicUsize::new(0),
        begun: AtomicUsize::new(0),
        caller: thread::current(),
        panic: Mutex::new(None),
    };
    // Not a lifetime that the compiler can check: `finish` below keeps this frame until nobody holds the pointer.
    let offer = (&raw const job).cast_mut().cast::<Job<'static>>();
    let mut asked = 0u128;
    for (index, helper) in HELPERS.iter().enumerate().take(STARTED.load(Acquire)) {
        if asked.count_ones() as usize == wanted {
            break;
        }
        let free = helper.job.load(Relaxed).is_null() && (ask != Ask::Awake || !helper.asleep.load(Relaxed));
        if free && helper.offer(&job, offer) {
            asked |= 1 << index;
        }
    }
    if ask == Ask::Surely {
        while job.begun.load(Acquire) < asked.count_ones() as usize {
            thread::yield_now();
        }
    }
    let own = catch_unwind(AssertUnwindSafe(|| body.run(job.share.take(0))));
    if own.is_err() {
        job.share.stop();
    }
    finish(&job, offer, asked);
    if let Some(panic) = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
        resume_unwind(panic);
    }
    own.unwrap_or_else(|panic| resume_unwind(panic));
    asked.count_ones() as usize
}

/// Takes back every offer that nobody has begun, and waits for the others.
fn finish(job: &Job<'_>, offer: *mut Job<'static>, asked: u128) {
    for (index, helper) in HELPERS.iter().enumerate() {
        if asked >> index == 0 {
            break;
        }
        if asked >> index & 1 == 1 && helper.job.compare_exchange(offer, null_mut(), AcqRel, Relaxed).is_ok() {
            job.open.fetch_sub(1, Relaxed);
        }
    }
    let mut looks = 0;
    while job.open.load(Acquire) > 0 {
        looks += 1;
        if looks < LOOKS && asked.count_ones() as usize <= cores() {
            std::hint::spin_loop();
        } else {
            // Whoever ends last wakes us; a wake-up that was meant for something else does no harm.
            thread::park();
        }
    }
}

impl Helper {
    fn offer(&self, job: &Job<'_>, offer: *mut Job<'static>) -> bool {
        job.open.fetch_add(1, Relaxed);
        if self.job.compare_exchange(null_mut(), offer, SeqCst, Relaxed).is_err() {
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
            // alive until we count ourselves out, below; after that we do not touch it.
            let job = unsafe { &*offer };
            job.begun.fetch_add(1, Release);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.body.run(job.share.take(worker)))) {
                job.share.stop();
                job.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
            let caller = job.caller.clone();
            self.job.store(null_mut(), Release);
            if job.open.fetch_sub(1, AcqRel) == 1 {
                caller.unpark();
            }
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
