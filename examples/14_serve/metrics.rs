//! What a service tells of itself: counts, percentiles of latency, sizes of batches, its memory.

use super::http::STATUSES;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Numbers counted by size, sixteen classes to a doubling: percentiles to within 6 % in memory that does not grow.
pub struct Histogram {
    classes: Vec<AtomicU64>,
    most: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { classes: (0..=class(u64::MAX)).map(|_| AtomicU64::new(0)).collect(), most: AtomicU64::new(0) }
    }
}

/// Below 16 a class of its own; from there on the leading one and the four bits after it.
fn class(number: u64) -> usize {
    if number < 16 {
        return number as usize;
    }
    let doubling = number.ilog2() as usize - 4;
    (doubling << 4) + (number >> doubling) as usize
}

/// The largest number of a class.
fn largest(class: usize) -> u64 {
    if class < 32 {
        return class as u64;
    }
    let (doubling, leading) = (class / 16 - 1, class as u64 % 16 + 16);
    (leading << doubling) + ((1 << doubling) - 1)
}

impl Histogram {
    /// Counts a number.
    pub fn add(&self, number: u64) {
        self.classes[class(number)].fetch_add(1, Relaxed);
        self.most.fetch_max(number, Relaxed);
    }
    /// How many numbers were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|class| class.load(Relaxed)).sum()
    }
    /// The number below which this share of all lie.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (share * self.count() as f64).ceil() as u64;
        let mut met = 0;
        for (class, count) in self.classes.iter().enumerate() {
            met += count.load(Relaxed);
            if met >= wanted.max(1) {
                return largest(class).min(self.most());
            }
        }
        self.most()
    }
    /// The largest number.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }
}

/// What has happened since the start.
#[derive(Default)]
pub struct Metrics {
    statuses: [AtomicU64; STATUSES.len()],
    /// Connections that were turned away because there were too many.
    pub turned_away: AtomicU64,
    /// Nanoseconds from the last byte of a request to its answer.
    latency: Histogram,
    /// Requests that were answered together.
    batches: Histogram,
    rows: AtomicU64,
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        if let Some(place) = STATUSES.iter().position(|(number, _)| *number == status) {
            self.statuses[place].fetch_add(1, Relaxed);
        }
    }
    /// How many answers had this status.
    pub fn count(&self, status: u16) -> u64 {
        STATUSES.iter().zip(&self.statuses).filter(|(known, _)| known.0 == status).map(|(_, n)| n.load(Relaxed)).sum()
    }
    /// Counts a prediction's time.
    pub fn took(&self, time: Duration) {
        self.latency.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
    /// Counts a batch.
    pub fn batch(&self, size: usize) {
        self.batches.add(size as u64);
        self.rows.fetch_add(size as u64, Relaxed);
    }
    /// Requests in a batch, on average.
    pub fn average_batch(&self) -> f64 {
        self.rows.load(Relaxed) as f64 / self.batches.count().max(1) as f64
    }
    /// All of it as lines of a name and a number, in the form that Prometheus reads.
    pub fn page(&self, waiting: usize, connections: usize) -> String {
        let mut page = String::new();
        for ((status, _), count) in STATUSES.iter().zip(&self.statuses) {
            let _ = writeln!(page, "answers_total{{status=\"{status}\"}} {}", count.load(Relaxed));
        }
        for share in [0.5, 0.95, 0.99] {
            let seconds = self.latency.percentile(share) as f64 / 1e9;
            let _ = writeln!(page, "prediction_seconds{{quantile=\"{share}\"}} {seconds}");
            let _ = writeln!(page, "batch_size{{quantile=\"{share}\"}} {}", self.batches.percentile(share));
        }
        let _ = writeln!(page, "predictions_total {}", self.rows.load(Relaxed));
        let _ = writeln!(page, "batches_total {}", self.batches.count());
        let _ = writeln!(page, "connections_turned_away_total {}", self.turned_away.load(Relaxed));
        let _ = writeln!(page, "connections {connections}\nrequests_waiting {waiting}");
        let tensors = chainrule::device::memory();
        let _ = writeln!(page, "tensor_bytes {}\ntensor_bytes_idle {}", tensors.in_use, tensors.idle());
        if let Some(bytes) = resident() {
            let _ = writeln!(page, "resident_bytes {bytes}");
        }
        page
    }
}

/// The memory that this process holds, where the system says so in `/proc`.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
