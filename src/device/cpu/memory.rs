//! How much memory the buffers hold, and the limit they keep.

use super::buffers;
use crate::error::Fault;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory of a device's buffers, in bytes, and how often the cache served. See [`memory`] and
/// [`Device::memory`](crate::Device::memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes of blocks in use now.
    pub in_use: usize,
    /// The most that was in use (each thread reports in steps of 64 KiB, so it may miss as much for each).
    pub peak: usize,
    /// Bytes taken from the system: in use, or idle in the cache.
    pub held: usize,
    /// Beyond this many bytes held, an operation fails.
    pub limit: usize,
    /// How many blocks came from the cache.
    pub hits: u64,
    /// How many blocks came from the system.
    pub misses: u64,
}

impl Memory {
    /// Of a device where nothing has been done yet.
    #[cfg(feature = "cuda-unversioned")]
    pub(in crate::device) fn none(limit: usize) -> Memory {
        Memory { in_use: 0, peak: 0, held: 0, limit, hits: 0, misses: 0 }
    }
    /// Bytes that wait in the cache; [`release_cached`] gives them back.
    pub fn idle(&self) -> usize {
        self.held.saturating_sub(self.in_use)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { in_use, peak, held, limit, hits, misses } = *self;
        write!(f, "{} in use, {} at the peak, ", bytes(in_use), bytes(peak))?;
        write!(f, "{} held of a limit of {}; {hits} blocks reused, {misses} new", bytes(held), bytes(limit))
    }
}

/// The memory that tensors on the CPU take now.
///
/// ```
/// use chainrule::{Tensor, device};
/// let before = device::memory().in_use;
/// let ones = Tensor::ones([1000, 1000]);
/// assert!(device::memory().in_use >= before + 4_000_000);
/// # drop(ones);
/// ```
pub fn memory() -> Memory {
    let (mut in_use, mut hits) = (TOTAL.load(Relaxed), HITS.load(Relaxed));
    for counts in everyone().iter() {
        in_use += counts.unreported.load(Relaxed);
        hits += counts.hits.load(Relaxed);
    }
    let in_use = in_use.max(0) as usize;
    let peak = PEAK.fetch_max(in_use, Relaxed).max(in_use);
    Memory { in_use, peak, held: HELD.load(Relaxed), limit: limit(), hits, misses: MISSES.load(Relaxed) }
}

/// Begins a new [`peak`](Memory::peak) at what is in use now.
///
/// ```
/// use chainrule::device;
/// device::reset_peak();
/// assert_eq!(device::memory().peak, device::memory().in_use);
/// ```
pub fn reset_peak() {
    PEAK.store(0, Relaxed);
    PEAK.fetch_max(memory().in_use, Relaxed);
}

/// Gives the blocks that wait in the cache back to the system. What another thread keeps for itself (8 MiB at most)
/// goes back at that thread's next operation.
///
/// ```
/// use chainrule::device;
/// device::release_cached();
/// ```
pub fn release_cached() {
    buffers::release();
}

/// Sets the bytes that buffers may hold; an operation that would need more fails with an error that says so.
/// At the start it is the memory of the machine or of the control group, whichever is less; and a block of 64 MiB or
/// more must fit into what the machine has free. A limit that you set replaces both.
///
/// ```
/// use chainrule::{ErrorKind, Tensor, device};
/// let before = device::memory().limit;
/// device::set_memory_limit(device::memory().held + 1_000_000);
/// let failed = Tensor::ones([1000, 1000]);
/// device::set_memory_limit(before);
/// assert_eq!(failed.checked().unwrap_err().kind(), ErrorKind::Memory);
/// ```
pub fn set_memory_limit(bytes: usize) {
    LIMIT.store(bytes.min(UNSET - 1), Relaxed);
    CHOSEN.store(true, Relaxed);
}

/// Bytes from the system: in use or idle.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MISSES: AtomicU64 = AtomicU64::new(0);
/// Bytes in use, as far as threads have reported them.
static TOTAL: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Hits of threads that have ended.
static HITS: AtomicU64 = AtomicU64::new(0);

/// Counters of one thread, so that threads do not wait for each other's cache lines: only their thread writes them.
#[derive(Default)]
struct Counts {
    unreported: AtomicIsize,
    hits: AtomicU64,
}

/// A thread reports when it is this far from what it said last.
const STEP: usize = 64 << 10;

/// So many bytes more are in use, or fewer.
pub(super) fn report(change: isize) {
    let total = TOTAL.fetch_add(change, Relaxed) + change;
    PEAK.fetch_max(total.max(0) as usize, Relaxed);
}

/// The counters of a thread, known to all.
pub(super) struct Own(Arc<Counts>);

impl Own {
    pub(super) fn open() -> Own {
        let counts = Arc::new(Counts::default());
        everyone().push(counts.clone());
        Own(counts)
    }
    /// So many bytes more are in use, or fewer.
    #[inline]
    pub(super) fn add(&self, bytes: isize) {
        let now = self.0.unreported.load(Relaxed) + bytes;
        self.0.unreported.store(now, Relaxed);
        if now.unsigned_abs() >= STEP {
            self.tell();
        }
    }
    /// A block of this size came from the cache.
    #[inline]
    pub(super) fn hit(&self, bytes: isize) {
        self.0.hits.store(self.0.hits.load(Relaxed) + 1, Relaxed);
        self.add(bytes);
    }
    #[cold]
    fn tell(&self) {
        report(self.0.unreported.load(Relaxed));
        self.0.unreported.store(0, Relaxed);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.tell();
        HITS.fetch_add(self.0.hits.load(Relaxed), Relaxed);
        everyone().retain(|counts| !Arc::ptr_eq(counts, &self.0));
    }
}

static EVERYONE: Mutex<Vec<Arc<Counts>>> = Mutex::new(Vec::new());

fn everyone() -> MutexGuard<'static, Vec<Arc<Counts>>> {
    EVERYONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a block of `size` bytes that the system is about to give, for `wanted` bytes; a fault beyond the limit.
pub(super) fn reserve(wanted: usize, size: usize) -> Result<(), Fault> {
    // The first operation of all passes here, and while this fails no block is ever made: so every operation says it.
    super::settings()?;
    let fits = |held: usize| held.saturating_add(size) <= limit();
    if !fits(HELD.fetch_add(size, Relaxed)) || !is_free(size) {
        unreserve(size);
        buffers::release();
        if !fits(HELD.fetch_add(size, Relaxed)) || !is_free(size) {
            unreserve(size);
            return Err(refuse(wanted));
        }
    }
    MISSES.fetch_add(1, Relaxed);
    Ok(())
}

/// The block went back to the system, or never came.
pub(super) fn unreserve(size: usize) {
    HELD.fetch_sub(size, Relaxed);
}

/// Memory that a kernel takes for itself beside tensors: counted, and refused beyond the limit, as theirs is.
pub(super) struct Aside(usize);

impl Aside {
    pub(super) fn new(bytes: usize) -> Result<Aside, Fault> {
        reserve(bytes, bytes)?;
        Ok(Aside(bytes))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        unreserve(self.0);
    }
}

/// How many bytes may wait in the list of all threads.
pub(super) fn idle_room() -> usize {
    limit() / 4
}

/// "There is no memory for so much": how much was wanted, how much is held, what to do.
#[cold]
pub(super) fn refuse(wanted: usize) -> Fault {
    let Memory { in_use, limit, .. } = memory();
    let free = match machine::free() {
        Some(free) if free < limit.saturating_sub(in_use) => format!(", the machine has {} free", bytes(free)),
        _ => String::new(),
    };
    Fault::memory(
        format!("no memory for {}: {} are in use, the limit is {}{free}", bytes(wanted), bytes(in_use), bytes(limit)),
        "use smaller sizes or batches, drop tensors that are no longer needed, or raise device::set_memory_limit",
    )
}

/// Bytes as a person reads them: `3.2 GB`.
pub(in crate::device) fn bytes(count: usize) -> String {
    let mut number = count as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB", "PB"] {
        if number < 999.5 {
            let digits = (unit != "bytes" && number < 99.95) as usize;
            return format!("{number:.digits$} {unit}");
        }
        number /= 1000.0;
    }
    format!("{number:.0} EB")
}

const UNSET: usize = usize::MAX;
static LIMIT: AtomicUsize = AtomicUsize::new(UNSET);
/// Did the user choose the limit? Then what the machine has free is not asked.
static CHOSEN: AtomicBool = AtomicBool::new(false);

#[inline]
fn limit() -> usize {
    match LIMIT.load(Relaxed) {
        UNSET => {
            let found = machine::memory().unwrap_or(isize::MAX as usize);
            let _ = LIMIT.compare_exchange(UNSET, found, Relaxed, Relaxed);
            LIMIT.load(Relaxed)
        }
        limit => limit,
    }
}

/// Blocks from here on ask the machine what is free: it costs some 50 us, less than their first pages.
const LARGE: usize = 64 << 20;

fn is_free(size: usize) -> bool {
    size < LARGE || CHOSEN.load(Relaxed) || machine::free().is_none_or(|free| size <= free)
}

/// What the operating system says; nothing where it is not Linux.
mod machine {
    use std::fs::read_to_string;

    /// The memory of the machine or of the control group, whichever is less.
    pub(super) fn memory() -> Option<usize> {
        let machine = line("/proc/meminfo", "MemTotal:");
        [machine, group()].into_iter().flatten().min()
    }

    /// What a new program could take without swapping.
    pub(super) fn free() -> Option<usize> {
        line("/proc/meminfo", "MemAvailable:")
    }

    /// The number of kB in the line that begins so.
    fn line(file: &str, name: &str) -> Option<usize> {
        let text = read_to_string(file).ok()?;
        let number = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
        number.parse::<usize>().ok()?.checked_mul(1024)
    }

    /// The least limit of our control group and the groups around it (version 2, and version 1).
    fn group() -> Option<usize> {
        let text = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut least: Option<usize> = None;
        for line in text.lines().chain(["0::/"]) {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (root, file) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                c if c.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => continue,
            };
            for place in std::path::Path::new(path).ancestors() {
                let place = format!("{root}{}/{file}", place.display().to_string().trim_end_matches('/'));
                let limit = read_to_string(place).ok().and_then(|text| text.trim().parse().ok());
                least = [least, limit].into_iter().flatten().min();
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(bytes(1_234), "1.2 kB");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(bytes(usize::MAX), "18 EB");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_machine_says_how_much_it_has() {
        let (memory, free) = (machine::memory().expect("a size"), machine::free().expect("a size"));
        assert!(memory > 1 << 24 && free > 1 << 20);
    }

    #[test]
    fn what_is_absurd_is_refused_with_numbers() {
        let fault = crate::device::Buffer::new(1 << 46).err().expect("no machine has this");
        assert!(fault.what().contains("70.4 TB"), "{}", fault.what());
        assert!(crate::device::Buffer::new(usize::MAX).is_err());
    }
}
