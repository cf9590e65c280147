//! The one door to threads. The shape of the work alone decides how it is cut; threads only decide who does a part, so
//! results are the same bytes for any number of them.

#[cfg(feature = "parallel")]
use super::team::{self, Ask, Parts};
use crate::error::Fault;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Less work than this (elements touched) stays on the caller's thread: handing it over would cost more.
#[cfg(feature = "parallel")]
const SHORT: usize = 1 << 15;
/// From here on it pays to wake helpers that sleep.
#[cfg(feature = "parallel")]
const LONG: usize = 1 << 18;
/// From here on the way to rayon's pool is short beside the work.
#[cfg(feature = "parallel")]
const LONGEST: usize = 1 << 22;
/// For each helper there must be this much.
#[cfg(feature = "parallel")]
const SHARE: usize = 1 << 14;
/// Work that is worth a turn: to take the next one costs nothing beside it, and who is done waits no longer for another's last.
#[cfg(feature = "parallel")]
const TURN: usize = 1 << 14;

thread_local! {
    static SCOPE: Cell<Scope> = const { Cell::new(Scope { threads: None, together: false, surely: false }) };
    static SPLITS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "parallel"), expect(dead_code, reason = "there is one thread"))]
struct Scope {
    threads: Option<usize>,
    /// Helpers stay awake, so that short work may ask for them too.
    together: bool,
    surely: bool,
}

/// Runs `work` with operations on at most `count` threads (at least 1, at most 128). It holds for this thread; threads
/// that you start yourself begin with the default again: the environment variable `CHAINRULE_THREADS`, or else all cores.
/// Results are the same bytes for any number.
///
/// ```
/// use chainrule::{Tensor, threads};
/// let x = Tensor::ones([1000, 1000]);
/// let one = threads(1, || x.sum().item())?;
/// let four = threads(4, || x.sum().item())?;
/// assert_eq!(one.to_bits(), four.to_bits());
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn threads<R>(count: usize, work: impl FnOnce() -> R) -> R {
    within(count, work)
}

/// How many threads an operation of this thread may use.
///
/// ```
/// use chainrule::{thread_count, threads};
/// # if cfg!(feature = "parallel") {
/// assert_eq!(threads(3, thread_count), 3);
/// # }
/// ```
pub fn thread_count() -> usize {
    #[cfg(not(feature = "parallel"))]
    return 1;
    #[cfg(feature = "parallel")]
    SCOPE.get().threads.unwrap_or_else(|| wanted().unwrap_or(1))
}

/// As [`threads`]; a worker's own scope.
pub(super) fn within<R>(count: usize, work: impl FnOnce() -> R) -> R {
    scoped(Scope { threads: Some(count.clamp(1, MOST)), ..SCOPE.get() }, work)
}

/// Cuts even the smallest work and waits until helpers do their part, so that a test sees several threads at work.
#[doc(hidden)]
pub fn surely_split<R>(work: impl FnOnce() -> R) -> R {
    scoped(Scope { surely: true, ..SCOPE.get() }, work)
}

/// How often this thread has shared work with helpers.
#[doc(hidden)]
pub fn splits() -> u64 {
    SPLITS.get()
}

/// What `CHAINRULE_THREADS` asks for, or all cores.
pub(super) fn wanted() -> Result<usize, Fault> {
    static WANTED: OnceLock<Result<usize, Fault>> = OnceLock::new();
    WANTED.get_or_init(|| read(std::env::var("CHAINRULE_THREADS").ok().as_deref())).clone()
}

fn read(text: Option<&str>) -> Result<usize, Fault> {
    let Some(text) = text else { return Ok(cores().min(MOST)) };
    match text.parse() {
        Ok(count) if count > 0 => Ok(usize::min(count, MOST)),
        _ => Err(Fault::value(
            format!("CHAINRULE_THREADS is {text:?}"),
            "set it to a number of threads, 1 or more, or leave it unset for all cores",
        )),
    }
}

fn scoped<R>(scope: Scope, work: impl FnOnce() -> R) -> R {
    struct Restore(Scope);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPE.set(self.0);
        }
    }
    let _restore = Restore(SCOPE.replace(scope));
    work()
}

#[cfg(feature = "parallel")]
use team::{MOST, cores};
#[cfg(not(feature = "parallel"))]
const MOST: usize = 1;
#[cfg(not(feature = "parallel"))]
fn cores() -> usize {
    1
}

/// Keeps helpers awake between the operations of `work`: for many short operations in a row.
pub(in crate::device) fn together<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(feature = "parallel")]
    return scoped(Scope { together: true, ..SCOPE.get() }, || team::stay_awake(work));
    #[cfg(not(feature = "parallel"))]
    work()
}

/// What a thread does with its parts. (A trait of our own: behind `dyn Fn` stand more functions, compiled for each loop.)
pub(super) trait Body: Sync {
    fn run(&self, own: Parts<'_>);
}

/// Runs `body` on one thread or several, each with its parts of `0..parts`. `total` is about how many elements are
/// touched in all. It knows the body by pointer only: else every loop would be compiled once for the caller's thread and
/// once more for helpers.
#[cfg(feature = "parallel")]
fn share(parts: usize, total: usize, body: &dyn Body) {
    let scope = SCOPE.get();
    if parts > 1 && (total >= SHORT || scope.surely) {
        let shares = if scope.surely { parts } else { parts.min(total / SHARE) };
        let workers = shares.min(thread_count());
        if workers > 1 {
            let parts = [parts, (TURN.saturating_mul(parts) / total.max(1)).max(1)];
            // The pool only where ours sleep: work that went now to them, now to the pool would find those asleep whose turn it is.
            let ours =
                scope.together || scope.surely || team::awake(workers) || rayon::current_thread_index().is_some();
            if total >= LONGEST && !ours {
                within(1, || team::run_in_pool(parts, workers, body));
                SPLITS.set(SPLITS.get() + 1);
                return;
            }
            let ask = match scope.surely {
                true => Ask::Surely,
                false if total >= LONG || scope.together => Ask::All,
                false => Ask::Awake,
            };
            // Work inside a part is not cut again.
            if within(1, || team::run(parts, workers, ask, body)) > 0 {
                SPLITS.set(SPLITS.get() + 1);
            }
            return;
        }
    }
    body.run(Parts::all(parts));
}

/// All parts, for the one thread there is.
#[cfg(not(feature = "parallel"))]
pub(super) type Parts<'a> = std::ops::Range<usize>;

#[cfg(not(feature = "parallel"))]
fn share(parts: usize, _total: usize, body: &dyn Body) {
    body.run(0..parts);
}

/// Runs `work(part)` for every part in `0..parts`, in any order, perhaps at the same time.
/// `cost` is about how many elements one part touches: little work stays on the caller's thread.
#[inline]
pub fn parts(parts: usize, cost: usize, work: impl Fn(usize) + Sync) {
    share(parts, parts.saturating_mul(cost), &Each(work));
}

/// A call for each part.
struct Each<F>(F);
impl<F: Fn(usize) + Sync> Body for Each<F> {
    fn run(&self, own: Parts<'_>) {
        for part in own {
            (self.0)(part);
        }
    }
}

/// As [`parts`], where each thread that helps makes itself a scratch first.
pub fn parts_with<S>(parts: usize, cost: usize, scratch: impl Fn() -> S + Sync, work: impl Fn(&mut S, usize) + Sync) {
    share(parts, parts.saturating_mul(cost), &EachWith(scratch, work));
}

/// The same with a scratch.
struct EachWith<A, F>(A, F);
impl<S, A: Fn() -> S + Sync, F: Fn(&mut S, usize) + Sync> Body for EachWith<A, F> {
    fn run(&self, mut own: Parts<'_>) {
        let Some(first) = own.next() else { return };
        let mut scratch = (self.0)();
        (self.1)(&mut scratch, first);
        for part in own {
            (self.1)(&mut scratch, part);
        }
    }
}

/// The results of all parts, in order.
pub fn collect<R: Send>(parts: usize, cost: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..parts).map(|_| None).collect();
    chunks(&mut results, 1, cost, |part, slot| slot[0] = Some(work(part)));
    results.into_iter().flatten().collect()
}

/// Cuts `out` into chunks of `chunk` elements (the last may be shorter) and runs `work(index of chunk, chunk)` on each.
/// `cost` is about how many elements are touched for one element of `out`.
#[inline]
pub fn chunks<T: Send>(out: &mut [T], chunk: usize, cost: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let total = out.len().saturating_mul(cost);
    let pieces = Pieces::new(out, chunk);
    share(pieces.count(), total, &EachPiece(pieces, work));
}

/// A call for each piece.
struct EachPiece<'a, T, F>(Pieces<'a, T>, F);
impl<T: Send, F: Fn(usize, &mut [T]) + Sync> Body for EachPiece<'_, T, F> {
    fn run(&self, own: Parts<'_>) {
        for index in own {
            // SAFETY: each index is given out once.
            (self.1)(index, unsafe { self.0.get(index) });
        }
    }
}

/// As [`chunks`], where each thread that helps makes itself a scratch first.
pub fn chunks_with<T: Send, S>(
    out: &mut [T],
    chunk: usize,
    cost: usize,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize, &mut [T]) + Sync,
) {
    let each = chunk.clamp(1, out.len().max(1)).saturating_mul(cost);
    let pieces = Pieces::new(out, chunk);
    parts_with(pieces.count(), each, scratch, |scratch, index| {
        // SAFETY: each index is given out once.
        work(scratch, index, unsafe { pieces.get(index) });
    });
}

/// As [`chunks`], with two outputs that are cut alike: chunk `i` of the one goes with chunk `i` of the other.
pub fn chunks_pair<T: Send, U: Send>(
    (first, first_chunk): (&mut [T], usize),
    (second, second_chunk): (&mut [U], usize),
    cost: usize,
    work: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let total = first.len().max(second.len()).saturating_mul(cost);
    let (first, second) = (Pieces::new(first, first_chunk), Pieces::new(second, second_chunk));
    share(first.count().max(second.count()), total, &EachPair(first, second, work));
}

/// A call for each pair of pieces.
struct EachPair<'a, T, U, F>(Pieces<'a, T>, Pieces<'a, U>, F);
impl<T: Send, U: Send, F: Fn(usize, &mut [T], &mut [U]) + Sync> Body for EachPair<'_, T, U, F> {
    fn run(&self, own: Parts<'_>) {
        for index in own {
            // SAFETY: each index is given out once.
            let (first, second) = unsafe { (self.0.get(index), self.1.get(index)) };
            (self.2)(index, first, second);
        }
    }
}

/// As [`chunks_pair`], with three.
pub fn chunks_triple<T: Send, U: Send, V: Send>(
    (first, first_chunk): (&mut [T], usize),
    (second, second_chunk): (&mut [U], usize),
    (third, third_chunk): (&mut [V], usize),
    cost: usize,
    work: impl Fn(usize, &mut [T], &mut [U], &mut [V]) + Sync,
) {
    let third = Pieces::new(third, third_chunk);
    chunks_pair((first, first_chunk), (second, second_chunk), cost, |index, first, second| {
        // SAFETY: each index is given out once.
        work(index, first, second, unsafe { third.get(index) });
    });
}

/// A slice in chunks that several threads write at the same time.
pub(super) struct Pieces<'a, T> {
    start: *mut T,
    length: usize,
    chunk: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for `&mut [T]`, whose disjoint chunks may go to other threads where `T` may.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    pub(super) fn new(slice: &'a mut [T], chunk: usize) -> Self {
        Pieces { start: slice.as_mut_ptr(), length: slice.len(), chunk: chunk.max(1), slice: PhantomData }
    }
    fn count(&self) -> usize {
        self.length.div_ceil(self.chunk)
    }
    /// The chunk of this index, empty past the end.
    ///
    /// # Safety
    /// No index may be asked for twice.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn get(&self, index: usize) -> &'a mut [T] {
        let from = index.saturating_mul(self.chunk).min(self.length);
        let length = self.chunk.min(self.length - from);
        // SAFETY: inside the slice, and disjoint from the chunk of any other index.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn every_part_is_done_once() {
        for count in [1, 2, 3, 8] {
            for pieces in [0, 1, 2, 7, 100, 1001] {
                for cost in [1, 10_000] {
                    let done: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                    threads(count, || {
                        parts(pieces, cost, |part| {
                            done[part].fetch_add(1, Relaxed);
                        })
                    });
                    assert!(done.iter().all(|times| times.load(Relaxed) == 1), "{count} threads, {pieces} parts");
                }
            }
        }
    }

    #[test]
    fn chunks_cover_the_whole() {
        for (length, chunk) in [(0, 3), (1, 3), (10, 3), (12, 3), (10, 0), (5, 100)] {
            let mut out = vec![0usize; length];
            threads(3, || surely_split(|| chunks(&mut out, chunk, 1, |index, piece| piece.fill(index + 1))));
            let expected: Vec<usize> = (0..length).map(|i| i / chunk.max(1) + 1).collect();
            assert_eq!(out, expected);
        }
        let (mut a, mut b, mut c) = (vec![0; 10], vec![0u8; 5], vec![0i64; 20]);
        chunks_triple((&mut a, 2), (&mut b, 1), (&mut c, 4), 100_000, |index, a, b, c| {
            assert_eq!((a.len(), b.len(), c.len()), (2, 1, 4));
            a.fill(index);
            b.fill(index as u8);
            c.fill(index as i64);
        });
        assert_eq!((a[9], b[4], c[19]), (4, 4, 4));
        assert_eq!(collect(1000, 1000, |part| part * 2), (0..1000).map(|part| part * 2).collect::<Vec<_>>());
        let mut out = vec![0; 1000];
        chunks_with(&mut out, 10, 1000, Vec::new, |seen, index, piece| {
            seen.push(index);
            piece.fill(*seen.last().expect("just pushed"));
        });
        assert!(out.iter().enumerate().all(|(i, &x)| x == i / 10));
    }

    #[test]
    #[cfg(feature = "parallel")]
    fn work_is_really_shared() {
        let before = splits();
        let mine = std::thread::current().id();
        let others = AtomicUsize::new(0);
        threads(4, || {
            surely_split(|| {
                parts(64, 1, |_| {
                    // Inside, nothing is cut again.
                    assert_eq!(thread_count(), 1);
                    others.fetch_add((std::thread::current().id() != mine) as usize, Relaxed);
                })
            })
        });
        assert!(others.load(Relaxed) > 0 && splits() == before + 1);
        threads(1, || parts(64, 1 << 20, |_| assert_eq!(std::thread::current().id(), mine)));
        assert_eq!(splits(), before + 1);
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller() {
        for round in 0..20 {
            let caught = std::panic::catch_unwind(|| {
                threads(4, || surely_split(|| parts(50, 1, |part| assert!(part != round * 2, "part {part}"))));
            });
            let text = *caught.expect_err("a panic").downcast::<String>().expect("its text");
            assert_eq!(text, format!("part {}", round * 2));
            assert_eq!(SCOPE.get().threads, None);
        }
        assert_eq!(collect(100, 1 << 20, |part| part).len(), 100);
    }

    #[test]
    #[cfg(feature = "parallel")]
    fn the_pool_helps_too_and_is_not_waited_for() {
        use std::sync::{Barrier, mpsc};
        let mine = std::thread::current().id();
        let others = AtomicUsize::new(0);
        let shared = || {
            team::run_in_pool(
                [64, 1],
                3,
                &Each(|_| {
                    // Who is too fast leaves nothing for the others.
                    std::thread::sleep(std::time::Duration::from_micros(100));
                    others.fetch_add((std::thread::current().id() != mine) as usize, Relaxed);
                }),
            )
        };
        (0..1000).take_while(|_| others.load(Relaxed) == 0).for_each(|_| shared());
        assert!(others.load(Relaxed) > 0);
        // Every thread of the pool is busy until this work is done: if that waited for them it would never be.
        let workers = rayon::current_num_threads();
        let (release, busy) = (std::sync::Arc::new(Barrier::new(workers + 1)), mpsc::channel());
        for _ in 0..workers {
            let (release, here) = (release.clone(), busy.0.clone());
            rayon::spawn(move || {
                here.send(()).expect("somebody counts");
                release.wait();
            });
        }
        busy.1.iter().take(workers).count();
        let done: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        team::run_in_pool([100, 1], 3, &Each(|part: usize| _ = done[part].fetch_add(1, Relaxed)));
        release.wait();
        assert!(done.iter().all(|times| times.load(Relaxed) == 1));
        let caught = std::panic::catch_unwind(|| {
            team::run_in_pool([50, 1], 3, &Each(|part| assert!(part != 30, "part {part}")))
        });
        assert_eq!(*caught.expect_err("a panic").downcast::<String>().expect("its text"), "part 30");
    }

    #[test]
    fn many_callers_share_the_helpers() {
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    threads(4, || {
                        for round in 0..200 {
                            let sum: usize = collect(20, 1 << 18, |part| part + round).iter().sum();
                            assert_eq!(sum, 190 + 20 * round);
                        }
                    })
                });
            }
        });
    }

    #[test]
    fn settings_are_read_or_refused() {
        assert_eq!(read(None).ok(), Some(cores().min(MOST)));
        assert_eq!(read(Some("1")).ok(), Some(1));
        for text in ["0", "", "two", "-1"] {
            let fault = read(Some(text)).expect_err("no number of threads");
            assert!(fault.what().contains(&format!("{text:?}")), "{}", fault.what());
        }
    }
}
