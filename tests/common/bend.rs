//! Bends files in many ways, and holds what reads them against the promises: no panic, no hang, no more memory than the
//! size of a file explains. A test that uses it has the modules `allocator` and `guard`, and counts its allocations.
#![allow(dead_code, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

use super::allocator::most_during;
use super::guard;
use chainrule::{Error, device};
use std::fs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Repeatable random numbers.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count.max(1) as u64) as usize
    }
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

pub fn files_to_bend() -> usize {
    let count = std::env::var("CHAINRULE_FUZZ").ok().and_then(|count| count.parse().ok());
    count.unwrap_or(20_000)
}

/// Changes a few bytes: flipped, replaced, repeated, cut out, put in.
pub fn bend(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let length = random.below((bytes.len() - at).min(12) + 1);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.bits() as u8,
            2 => bytes[at] = *random.one(&[&0u8, &1, &0x7f, &0x80, &0xff]),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() - length + 1);
                bytes[to..to + length].copy_from_slice(&piece);
            }
            _ => {
                let huge = *random.one(&[&u64::MAX, &(1 << 63), &(1 << 32), &(1 << 31), &(u64::MAX >> 8)]);
                let length = length.min(8);
                bytes[at..at + length].copy_from_slice(&huge.to_le_bytes()[8 - length..]);
            }
        }
    }
}

/// Changes words and numbers of a text: it stays well-formed most of the time.
pub fn bend_words(random: &mut Random, text: &mut Vec<u8>, words: &[&str]) {
    for _ in 0..1 + random.below(2) {
        let digits: Vec<usize> = (0..text.len()).filter(|&at| text[at].is_ascii_digit()).collect();
        if random.below(3) > 0 && !digits.is_empty() {
            let start = digits[random.below(digits.len())];
            let end = (start..text.len()).find(|&at| !text[at].is_ascii_digit()).unwrap_or(text.len());
            let small = random.below(40).to_string();
            let numbers = [small.as_str(), "0", "1", "4294967296", "9223372036854775807", "18446744073709551615", "-1"];
            let number = *random.one(&numbers.each_ref());
            text.splice(start..end, number.bytes());
        } else {
            let (from, to) =
                (*random.one(&words.iter().collect::<Vec<_>>()), *random.one(&words.iter().collect::<Vec<_>>()));
            if let Some(at) = text.windows(from.len()).position(|window| window == from.as_bytes()) {
                text.splice(at..at + from.len(), to.bytes());
            }
        }
    }
}

/// Reads a file, looks at everything that came out, and gives the error if there was one.
pub type Read = fn(&[u8]) -> Option<Error>;

/// Bends files until there were enough of them, and holds each against the promises.
pub fn hold(
    format: &'static str,
    seeds: Vec<Vec<u8>>,
    bend: fn(&mut Random, &[u8]) -> Vec<u8>,
    read: Read,
    is_outer: fn(&str) -> bool,
) {
    hold_within(16, format, seeds, bend, read, is_outer);
}

/// The same where a byte of a file may explain so many in memory.
pub fn hold_within(
    times: usize,
    format: &'static str,
    seeds: Vec<Vec<u8>>,
    bend: fn(&mut Random, &[u8]) -> Vec<u8>,
    read: Read,
    is_outer: fn(&str) -> bool,
) {
    for seed in &seeds {
        assert!(read(seed).is_none(), "{format}: {:?}", read(seed));
    }
    let count = files_to_bend();
    let (beat, heard) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let mut random = Random(format.len() as u64);
        let (mut inside, mut sound) = (0, 0);
        for number in 0..count {
            let file = bend(&mut random, &seeds[number % seeds.len()]);
            device::release_cached();
            let start = Instant::now();
            let (outcome, most) = most_during(|| guard::guarded(|| read(&file)));
            let kept = || {
                let path = std::env::temp_dir().join(format!("chainrule-hostile-{format}-{number}"));
                fs::write(&path, &file).unwrap();
                path
            };
            let error = outcome.unwrap_or_else(|panic| panic!("{format}: {panic}; the file is {:?}", kept()));
            let allowed = times * file.len() + (2 << 20);
            assert!(most <= allowed, "{format}: {most} bytes for {}; the file is {:?}", file.len(), kept());
            // A machine may stand still for a while; a file that takes long does so every time.
            let mut took = start.elapsed();
            for _ in 0..3 {
                if took >= Duration::from_secs(10) {
                    let again = Instant::now();
                    let _ = guard::guarded(|| read(&file));
                    took = again.elapsed();
                }
            }
            assert!(took < Duration::from_secs(10), "{format}: the file {:?} takes too long", kept());
            sound += error.is_none() as usize;
            inside += error.is_none_or(|error| !is_outer(&error.to_string())) as usize;
            beat.send(()).unwrap();
        }
        (inside, sound)
    });
    // A file that hangs never beats again.
    loop {
        match heard.recv_timeout(Duration::from_secs(60)) {
            Ok(()) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{format}: a file takes more than a minute"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let (inside, sound) = worker.join().unwrap();
    println!("{format}: {count} files, {inside} past the outer structure, {sound} read");
    assert!(inside * 3 >= count, "{format}: only {inside} of {count} files get past the outer structure");
    assert!(0 < sound && sound < count, "{format}: all or none of the files are sound");
}
