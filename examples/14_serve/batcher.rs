//! Requests that arrive one by one, answered in batches.
//!
//! A request waits in a bounded queue until its batch is full, until its deadline has come, or until nobody is left who could
//! join it, whichever is first. Whoever finds the queue full is told so at once: a longer queue would only make everybody wait
//! longer than they are willing to.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How requests are put together.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Requests that are answered together at most.
    pub batch: usize,
    /// How long the first of a batch waits for company.
    pub wait: Duration,
    /// Requests that may wait.
    pub queue: usize,
    /// Threads that answer, each a batch of its own.
    pub threads: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Rules { batch: 32, wait: Duration::from_millis(2), queue: 256, threads }
    }
}

/// What comes back for one input; `Err` says why nothing did.
pub type Answer<O> = Result<O, String>;

/// Threads that answer what is put into their queue.
pub struct Batcher<I, O> {
    shared: Arc<Shared<I, O>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared<I, O> {
    rules: Rules,
    queue: Mutex<Queue<I, O>>,
    /// Told when there may be something to do.
    changed: Condvar,
}

struct Queue<I, O> {
    waiting: VecDeque<Job<I, O>>,
    /// Requests that are being answered.
    running: usize,
    /// Those who could send a request; each has one at a time.
    clients: usize,
    closed: bool,
}

impl<I, O> Queue<I, O> {
    /// Would it be of no use to wait longer?
    fn complete(&self, rules: &Rules) -> bool {
        self.closed || self.waiting.len() >= rules.batch || self.waiting.len() + self.running >= self.clients
    }
}

struct Job<I, O> {
    input: I,
    /// The way back belongs to this request alone: that is why answers cannot be exchanged.
    back: SyncSender<Answer<O>>,
    arrived: Instant,
}

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Starts the threads. `answer` gives as many results as it got inputs, in their order.
    pub fn start(
        rules: Rules,
        answer: impl Fn(Vec<I>) -> Result<Vec<O>, String> + Send + Sync + 'static,
    ) -> std::io::Result<Batcher<I, O>> {
        // More than may wait can never be together.
        let batch = rules.batch.min(rules.queue).max(1);
        let rules = Rules { batch, threads: rules.threads.max(1), ..rules };
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: 0, clients: usize::MAX, closed: false });
        let shared = Arc::new(Shared { rules, queue, changed: Condvar::new() });
        let batcher = Batcher { shared: shared.clone(), threads: Mutex::default() };
        let answer = Arc::new(answer);
        for number in 0..rules.threads {
            let (shared, answer) = (shared.clone(), answer.clone());
            let work = move || {
                while let Some(batch) = shared.take() {
                    let count = batch.len();
                    run(batch, &*answer);
                    lock(&shared.queue).running -= count;
                }
            };
            let thread = thread::Builder::new().name(format!("answers {number}")).spawn(work)?;
            lock(&batcher.threads).push(thread);
        }
        Ok(batcher)
    }

    /// Puts an input into the queue; its answer will come out of what is returned. `None`: the queue is full, or closed.
    pub fn submit(&self, input: I) -> Option<Receiver<Answer<O>>> {
        let (back, answer) = sync_channel(1);
        let mut queue = lock(&self.shared.queue);
        if queue.closed || queue.waiting.len() >= self.shared.rules.queue {
            return None;
        }
        queue.waiting.push_back(Job { input, back, arrived: Instant::now() });
        // The first one starts a thread's clock, a complete batch ends its wait. Those in between need to wake nobody.
        let wake = queue.waiting.len() == 1 || queue.complete(&self.shared.rules);
        drop(queue);
        if wake {
            self.shared.changed.notify_one();
        }
        Some(answer)
    }

    /// Says how many clients there are, so that a request does not wait for company that cannot come.
    pub fn clients(&self, count: usize) {
        let mut queue = lock(&self.shared.queue);
        queue.clients = count;
        let wake = !queue.waiting.is_empty() && queue.complete(&self.shared.rules);
        drop(queue);
        if wake {
            self.shared.changed.notify_one();
        }
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        lock(&self.shared.queue).waiting.len()
    }

    /// Takes nothing more, answers what waits, and ends the threads.
    pub fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl<I, O> Shared<I, O> {
    /// The next batch, as soon as it is full or due. `None`: the queue is closed and empty.
    fn take(&self) -> Option<Vec<Job<I, O>>> {
        let mut queue = lock(&self.queue);
        loop {
            let Some(first) = queue.waiting.front() else {
                if queue.closed {
                    return None;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = self.rules.wait.saturating_sub(first.arrived.elapsed());
            if left.is_zero() || queue.complete(&self.rules) {
                break;
            }
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = queue.waiting.len().min(self.rules.batch);
        let batch = queue.waiting.drain(..count).collect();
        queue.running += count;
        // Who leaves something behind wakes another thread for it.
        if !queue.waiting.is_empty() {
            self.changed.notify_one();
        }
        Some(batch)
    }
}

/// Answers a batch. Whatever goes wrong, every request of it hears of it and the thread lives on.
fn run<I, O>(batch: Vec<Job<I, O>>, answer: &impl Fn(Vec<I>) -> Result<Vec<O>, String>) {
    let (inputs, back): (Vec<I>, Vec<_>) = batch.into_iter().map(|job| (job.input, job.back)).unzip();
    let count = back.len();
    let outputs = match catch_unwind(AssertUnwindSafe(|| answer(inputs))) {
        Ok(Ok(outputs)) if outputs.len() == count => Ok(outputs),
        Ok(Ok(outputs)) => Err(format!("{} answers to {count} requests", outputs.len())),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("the model panicked".to_string()),
    };
    let answers: Vec<Answer<O>> = match outputs {
        Ok(outputs) => outputs.into_iter().map(Ok).collect(),
        Err(why) => (0..count).map(|_| Err(why.clone())).collect(),
    };
    for (back, answer) in back.into_iter().zip(answers) {
        // A client that has gone meanwhile misses nothing.
        let _ = back.send(answer);
    }
}

/// A lock whose holder has panicked guards a queue that is as good as before: each change to it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
