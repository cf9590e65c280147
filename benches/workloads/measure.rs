//! How a time is taken on a machine that others use too: many short samples, and of those by the clock only the ones from
//! stretches in which other programs were quiet.

use std::time::Instant;

/// What is read before and after a sample.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    /// The processor's time of this program, all threads together.
    Processor,
    /// The clock on the wall.
    Wall,
}

/// The shortest sample; shorter steps are repeated within one.
const SAMPLE: f64 = 2e-3;
/// Samples are taken in stretches of so many seconds.
const STRETCH: f64 = 0.2;
/// The part of a core that others may use in a stretch that counts.
const QUIET: f64 = 0.08;
/// The fewest samples.
const SAMPLES: usize = 7;

/// Seconds of a step.
pub(crate) struct Times {
    /// Of the very first one.
    pub(crate) first: f64,
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

/// How long a step takes, from about `seconds` of measuring.
pub(crate) fn measure<E>(clock: Clock, seconds: f64, mut step: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    let begun = clock.now();
    step()?;
    let first = clock.now() - begun;
    // Warm up, and learn how long a step takes.
    let (start, mut count) = (Instant::now(), 0);
    while count < 2 || start.elapsed().as_secs_f64() < 0.15 * seconds {
        step()?;
        count += 1;
    }
    let one = start.elapsed().as_secs_f64() / count as f64;
    let repeats = (SAMPLE / one).ceil().max(1.0) as usize;
    let (mut quiet, mut disturbed, mut spent) = (Vec::new(), Vec::new(), 0.0);
    let start = Instant::now();
    while (spent < seconds || quiet.len() < SAMPLES)
        && start.elapsed().as_secs_f64() < 3.0 * seconds + SAMPLES as f64 * one
    {
        let (stretch, before, mut samples) = (Instant::now(), busy(), Vec::new());
        while stretch.elapsed().as_secs_f64() < STRETCH {
            let begun = clock.now();
            for _ in 0..repeats {
                step()?;
            }
            samples.push((clock.now() - begun) / repeats as f64);
        }
        let took = stretch.elapsed().as_secs_f64();
        let others = busy().zip(before).map_or(0.0, |(after, before)| after - before);
        if clock == Clock::Wall && others > 0.02 + QUIET * took {
            disturbed.append(&mut samples);
        } else {
            spent += took;
            quiet.append(&mut samples);
        }
    }
    // Never quiet: what there is.
    let mut samples = if quiet.is_empty() { disturbed } else { quiet };
    samples.sort_by(f64::total_cmp);
    let [least, median, greatest] = [0, samples.len() / 2, samples.len() - 1].map(|at| samples[at]);
    Ok(Times { first, least, median, greatest })
}

impl Clock {
    pub(crate) fn now(self) -> f64 {
        match self {
            Clock::Processor => processor_time(),
            Clock::Wall => {
                static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
                START.get_or_init(Instant::now).elapsed().as_secs_f64()
            }
        }
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn processor_time() -> f64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const PROCESS: i32 = 2;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: on 64-bit Linux the C library's structure is these two numbers.
    unsafe { clock_gettime(PROCESS, &mut time) };
    time.seconds as f64 + time.nanoseconds as f64 * 1e-9
}

/// Elsewhere the clock on the wall must do.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn processor_time() -> f64 {
    Clock::Wall.now()
}

/// Seconds that all cores were busy with other programs, since the machine started, where the system tells.
fn busy() -> Option<f64> {
    /// Ticks of a second, in the system's files.
    const TICKS: f64 = 100.0;
    let all = std::fs::read_to_string("/proc/stat").ok()?;
    let all: Vec<f64> = all.lines().next()?.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [user, nice, system, _, _, interrupts, soft, stolen, ..] = all[..] else { return None };
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    let own: Vec<&str> = own.rsplit(')').next()?.split_whitespace().collect();
    let own: f64 = own.get(11)?.parse::<f64>().ok()? + own.get(12)?.parse::<f64>().ok()?;
    Some((user + nice + system + interrupts + soft + stolen - own) / TICKS)
}

/// The most memory that this program had, in MiB, where the system tells.
pub(crate) fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
