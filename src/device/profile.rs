//! Where the time goes: how often each operation ran, how long, how many bytes it touched.

use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::put_in_order;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs `work` and measures every operation of this thread meanwhile.
///
/// ```
/// use chainrule::{Tensor, profile};
/// let (y, times) = profile(|| (Tensor::ones([64, 64]) * 2.0).sum());
/// assert_eq!(y.item()?, 8192.0);
/// assert!(times.operations().iter().any(|row| row.name == "sum" && row.calls == 1));
/// println!("{times}");
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn profile<R>(work: impl FnOnce() -> R) -> (R, Profile) {
    /// Puts back the profile around this one, which sees what happened here too; also when `work` panics.
    struct Around(Option<Profile>);
    impl Around {
        fn restore(&mut self) -> Profile {
            let inner = PROFILE.replace(self.0.take()).unwrap_or_default();
            PROFILE.with_borrow_mut(|outer| {
                if let Some(outer) = outer {
                    inner.events.iter().for_each(|event| outer.note(*event));
                }
                ON.set(outer.is_some());
            });
            inner
        }
    }
    impl Drop for Around {
        fn drop(&mut self) {
            self.restore();
        }
    }
    let start = Instant::now();
    let mut around = Around(PROFILE.replace(Some(Profile::default())));
    ON.set(true);
    let result = work();
    let mut profile = around.restore();
    std::mem::forget(around);
    profile.start = Some(start);
    profile.total = start.elapsed();
    (result, profile)
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    /// Time spent in measurements inside the one that runs.
    static INSIDE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static PROFILE: RefCell<Option<Profile>> = const { RefCell::new(None) };
}

/// A running measurement; [`stop`](Timer::stop) ends it.
#[must_use]
pub(crate) struct Timer {
    name: &'static str,
    backward: bool,
    start: Instant,
    /// What was spent inside of the measurement around this one before it began.
    inside_before: Duration,
}

/// Begins to measure, where a profile is being taken; else it costs one look at a flag.
#[inline]
pub(crate) fn start(name: &'static str) -> Option<Timer> {
    if ON.get() { Some(begin(name, false)) } else { None }
}

/// As [`start`], for the gradients of an operation. Operations that its rule runs are counted as themselves.
#[inline]
pub(crate) fn start_backward(name: &'static str) -> Option<Timer> {
    if ON.get() { Some(begin(name, true)) } else { None }
}

#[cold]
fn begin(name: &'static str, backward: bool) -> Timer {
    Timer { name, backward, start: Instant::now(), inside_before: INSIDE.replace(Duration::ZERO) }
}

impl Timer {
    /// Ends the measurement; `bytes` is what was read and written.
    #[cold]
    pub(crate) fn stop(self, bytes: usize) {
        let elapsed = self.start.elapsed();
        let inside = INSIDE.replace(self.inside_before.saturating_add(elapsed));
        let (name, backward) = (self.name, self.backward);
        let event = Event { name, backward, start: self.start, elapsed, time: elapsed.saturating_sub(inside), bytes };
        PROFILE.with_borrow_mut(|profile| {
            if let Some(profile) = profile {
                profile.note(event);
            }
        });
    }
}

#[derive(Clone, Copy, Debug)]
struct Event {
    name: &'static str,
    backward: bool,
    start: Instant,
    /// From beginning to end.
    elapsed: Duration,
    /// The same less the measurements inside.
    time: Duration,
    bytes: usize,
}

/// What [`profile`] measured: a table when printed, a trace for browsers when saved.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    start: Option<Instant>,
    total: Duration,
    rows: HashMap<(&'static str, bool), OperationProfile>,
    events: Vec<Event>,
}

/// All calls of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationProfile {
    /// The operation.
    pub name: &'static str,
    /// Is it about its gradients? Operations that its rule runs are counted as themselves.
    pub backward: bool,
    /// How often it ran.
    pub calls: u64,
    /// How long, in all.
    pub time: Duration,
    /// Bytes that it read and wrote, in all.
    pub bytes: usize,
}

/// A trace keeps this many events; the table counts all.
const MOST_EVENTS: usize = 1 << 20;

impl Profile {
    fn note(&mut self, event: Event) {
        let Event { name, backward, time, bytes, .. } = event;
        let fresh = OperationProfile { name, backward, calls: 0, time: Duration::ZERO, bytes: 0 };
        let row = self.rows.entry((name, backward)).or_insert(fresh);
        row.calls += 1;
        row.time += time;
        row.bytes = row.bytes.saturating_add(bytes);
        if self.events.len() < MOST_EVENTS {
            self.events.push(event);
        }
    }
    /// One row for each operation, the longest first.
    ///
    /// ```
    /// use chainrule::{Tensor, profile};
    /// let (_, times) = profile(|| Tensor::ones([8]) + Tensor::ones([8]));
    /// assert_eq!(times.operations()[0].calls, 1);
    /// ```
    pub fn operations(&self) -> Vec<OperationProfile> {
        let mut rows: Vec<_> = self.rows.values().copied().collect();
        put_in_order(&mut rows, &|a, b| b.time.cmp(&a.time).then(a.name.cmp(b.name)).then(a.backward.cmp(&b.backward)));
        rows
    }
    /// How long the whole took, operations and all between them.
    ///
    /// ```
    /// use chainrule::profile;
    /// let (_, times) = profile(|| ());
    /// assert!(times.total().as_secs() < 1);
    /// ```
    pub fn total(&self) -> Duration {
        self.total
    }
    /// Writes the calls as a trace that browsers draw: open it at `chrome://tracing` or in the Perfetto viewer.
    ///
    /// ```
    /// use chainrule::{Tensor, profile};
    /// let (_, times) = profile(|| Tensor::ones([8]) + 1.0);
    /// let file = std::env::temp_dir().join("chainrule-trace.json");
    /// times.save_trace(&file)?;
    /// assert!(std::fs::read_to_string(&file).unwrap().contains("traceEvents"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn save_trace(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match std::fs::write(path, self.trace()) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::new(
                "save_trace",
                Fault::new(
                    ErrorKind::Io,
                    format!("{} could not be written: {error}", path.display()),
                    "check that the folder exists and may be written to",
                ),
            )),
        }
    }
    /// The trace as text, in Chrome's format: one complete event ("X") for each call, times in microseconds.
    fn trace(&self) -> String {
        use fmt::Write;
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        let mut text = String::from("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
        for (index, event) in self.events.iter().enumerate() {
            let since = self.start.map_or(Duration::ZERO, |start| event.start.saturating_duration_since(start));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{{\"name\":{:?},\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{},\"dur\":{},\"args\":{{\"bytes\":{}}}}}{}",
                label(event.name, event.backward),
                micros(since),
                micros(event.elapsed),
                event.bytes,
                if index + 1 < self.events.len() { "," } else { "" },
            );
        }
        text.push_str("]}\n");
        text
    }
}

fn label(name: &str, backward: bool) -> String {
    if backward { format!("{name} (backward)") } else { name.to_string() }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.operations();
        let width =
            rows.iter().map(|row| label(row.name, row.backward).len()).max().unwrap_or(0).max("operation".len());
        let total = self.total.as_secs_f64().max(1e-12);
        writeln!(
            f,
            "{:width$}  {:>8}  {:>11}  {:>6}  {:>11}  {:>9}",
            "operation", "calls", "time", "share", "each", "rate"
        )?;
        for OperationProfile { name, backward, calls, time, bytes } in &rows {
            let name = label(name, *backward);
            let seconds = time.as_secs_f64();
            let (share, each) = (100.0 * seconds / total, time.div_f64(*calls as f64));
            let rate = *bytes as f64 / seconds.max(1e-12) / 1e9;
            writeln!(f, "{name:width$}  {calls:>8}  {time:>11.2?}  {share:>5.1}%  {each:>11.2?}  {rate:>5.1} GB/s")?;
        }
        let inside: Duration = rows.iter().map(|row| row.time).sum();
        write!(f, "{inside:.2?} in operations, of {:.2?}", self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &'static str, bytes: usize) {
        if let Some(timer) = start(name) {
            timer.stop(bytes);
        }
    }

    #[test]
    fn calls_are_counted_only_inside() {
        call("add", 8);
        let (answer, outer) = profile(|| {
            call("add", 8);
            let ((), inner) = profile(|| call("mul", 100));
            assert_eq!(inner.operations().len(), 1);
            call("add", 8);
            7
        });
        call("add", 8);
        assert_eq!(answer, 7);
        let rows: HashMap<_, _> =
            outer.operations().into_iter().map(|row| (row.name, (row.calls, row.bytes))).collect();
        assert_eq!(rows, HashMap::from([("add", (2, 16)), ("mul", (1, 100))]));
        let table = outer.to_string();
        assert!(table.starts_with("operation") && table.lines().count() == 4, "{table}");
        assert_eq!(outer.trace().matches("\"ph\":\"X\"").count(), 3);
    }

    #[test]
    fn a_panic_ends_the_profile() {
        let caught = std::panic::catch_unwind(|| profile(|| panic!("on purpose")));
        assert!(caught.is_err() && start("add").is_none());
    }
}
