//! Blocks of memory, kept by size class and handed out again.
//!
//! A small block comes from a list of its thread (no lock, no malloc: the whole `Arc` is kept), a large one from a list
//! that all threads share. Blocks are zeroed when they come from the system and keep old numbers after that, so memory
//! is always initialised. What is held stays under the limit of [`memory`](mod@super::memory).

use super::beside::Beside;
use super::memory;
use crate::device::Device;
use crate::error::Fault;
use crate::layout::{DType, Element};
use std::alloc::{Layout as Space, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// A block of memory, always initialised, aligned to 64 bytes. Clones share it; the last one gives it back.
pub struct Buffer {
    block: ManuallyDrop<Arc<Block>>,
    bytes: usize,
}

struct Block {
    base: NonNull<u8>,
    space: Space,
    start: NonNull<u8>,
    class: Class,
    /// Memory that is not ours.
    foreign: Option<Foreign>,
    beside: Beside,
}

/// Memory from elsewhere: where it is, how long, and how it goes back.
#[derive(Clone, Copy)]
pub(in crate::device) struct Foreign {
    pub(in crate::device) device: Device,
    pub(in crate::device) bytes: usize,
    pub(in crate::device) release: fn(NonNull<u8>, Foreign),
}

// SAFETY: a block owns its memory; it is written only through `&mut Buffer` of the only buffer that holds it.
unsafe impl Send for Block {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Block {}

const ALIGNMENT: usize = 64;
/// A huge page, where blocks that have at least one begin at its edge.
const HUGE: usize = if HUGE_PAGES { 2 << 20 } else { usize::MAX };
/// Can pages of 2 MB be asked for?
const HUGE_PAGES: bool = cfg!(all(target_os = "linux", target_arch = "x86_64", not(miri)));
/// Sizes beyond this are absurd on any machine.
const ABSURD: usize = 1 << 47;
/// Classes up to 256 KiB have a list in every thread.
const SMALL: usize = 44;
const CLASSES: usize = 4 * 43;
/// What a thread keeps for itself: bytes in all, and blocks of one class.
const THREAD_BYTES: usize = 8 << 20;
const THREAD_BLOCKS: usize = 256;

/// Sizes are rounded up to four steps for each doubling, so at most a fifth of a block is unused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Class {
    index: usize,
    size: usize,
}

impl Class {
    #[inline]
    fn of(bytes: usize) -> Option<Class> {
        if bytes > ABSURD {
            return None;
        }
        let last = bytes.max(1).div_ceil(ALIGNMENT) - 1;
        if last < 4 {
            return Some(Class { index: last, size: (last + 1) * ALIGNMENT });
        }
        let shift = last.ilog2() as usize - 2;
        let step = last >> shift; // 4 to 7
        Some(Class { index: 4 * shift + step, size: ((step + 1) << shift) * ALIGNMENT })
    }
}

impl Class {
    /// Of memory that is not ours: no list has room for it, and it counts for nothing.
    const FOREIGN: Class = Class { index: usize::MAX, size: 0 };
}

/// What a thread has for itself: its counters and its idle blocks.
struct Desk {
    counts: memory::Own,
    shelf: RefCell<Shelf>,
}

/// The idle blocks of one thread.
struct Shelf {
    lists: [Vec<Arc<Block>>; SMALL],
    bytes: usize,
    epoch: usize,
}

/// The idle blocks that all threads share, the newest of a class last; each with the time it came.
struct Store {
    lists: [VecDeque<(u64, Arc<Block>)>; CLASSES],
    bytes: usize,
    clock: u64,
}

thread_local! {
    static DESK: Desk = Desk {
        counts: memory::Own::open(),
        shelf: RefCell::new(Shelf { lists: [const { Vec::new() }; SMALL], bytes: 0, epoch: 0 }),
    };
}
static STORE: Mutex<Store> = Mutex::new(Store { lists: [const { VecDeque::new() }; CLASSES], bytes: 0, clock: 0 });
/// Grows with each `release`: a thread that finds another number than its own empties its lists.
static EPOCH: AtomicUsize = AtomicUsize::new(0);

impl Shelf {
    #[inline]
    fn take(&mut self, class: Class) -> Option<Arc<Block>> {
        self.keep_up();
        let block = self.lists.get_mut(class.index)?.pop()?;
        self.bytes -= class.size;
        Some(block)
    }
    /// Keeps a small block, or hands it back where the thread has enough.
    #[inline]
    fn give(&mut self, block: Arc<Block>) -> Option<Arc<Block>> {
        self.keep_up();
        let Class { index, size } = block.class;
        let full = self.bytes + size > THREAD_BYTES;
        match self.lists.get_mut(index) {
            Some(list) if !full && list.len() < THREAD_BLOCKS => {
                list.push(block);
                self.bytes += size;
                None
            }
            _ => Some(block),
        }
    }
    #[inline]
    fn keep_up(&mut self) {
        let epoch = EPOCH.load(Ordering::Relaxed);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.empty();
        }
    }
    #[cold]
    fn empty(&mut self) {
        for list in &mut self.lists {
            list.drain(..).for_each(discard);
        }
        self.bytes = 0;
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.empty();
    }
}

impl Store {
    fn take(&mut self, class: Class) -> Option<Arc<Block>> {
        let (_, block) = self.lists[class.index].pop_back()?;
        self.bytes -= class.size;
        Some(block)
    }
    fn give(&mut self, block: Arc<Block>) {
        let room = memory::idle_room();
        let Class { index, size } = block.class;
        if block.foreign.is_some() || size > room || (index < SMALL && self.lists[index].len() >= THREAD_BLOCKS) {
            return discard(block);
        }
        self.clock += 1;
        self.lists[index].push_back((self.clock, block));
        self.bytes += size;
        while self.bytes > room && self.forget_oldest() {}
    }
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.front().map(|b| b.0));
        let Some((_, block)) = oldest.and_then(VecDeque::pop_front) else { return false };
        self.bytes -= block.class.size;
        discard(block);
        true
    }
}

fn store() -> std::sync::MutexGuard<'static, Store> {
    // A panic inside the lock cannot leave a list broken: each step is complete in itself.
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives an idle block back to the system.
fn discard(block: Arc<Block>) {
    // `Block::drop` takes it for one in use.
    count(block.class.size as isize);
    drop(block);
}

/// So many bytes more are in use, or fewer.
fn count(bytes: isize) {
    // A thread that ends drops its tensors after its desk.
    if DESK.try_with(|desk| desk.counts.add(bytes)).is_err() {
        memory::report(bytes);
    }
}

/// Gives all idle blocks back to the system: at once what this thread and all together keep, what other threads keep
/// at their next operation.
pub(super) fn release() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
    let _ = DESK.try_with(|desk| {
        if let Ok(mut shelf) = desk.shelf.try_borrow_mut() {
            shelf.keep_up();
        }
    });
    let mut store = store();
    while store.forget_oldest() {}
}

impl Buffer {
    /// A block of at least `bytes`: old numbers, or zeros. Beyond the memory limit it is a fault.
    #[inline]
    pub fn new(bytes: usize) -> Result<Buffer, Fault> {
        let class = Class::of(bytes).ok_or_else(|| memory::refuse(bytes))?;
        let own = DESK.try_with(|desk| {
            let block = desk.shelf.try_borrow_mut().ok()?.take(class)?;
            desk.counts.hit(class.size as isize);
            Some(block)
        });
        match own {
            Ok(Some(block)) => Ok(Buffer { block: ManuallyDrop::new(block), bytes }),
            _ => Buffer::from_store(bytes, class),
        }
    }
    #[cold]
    fn from_store(bytes: usize, class: Class) -> Result<Buffer, Fault> {
        let found = store().take(class);
        let block = match found {
            Some(block) => {
                if DESK.try_with(|desk| desk.counts.hit(class.size as isize)).is_err() {
                    memory::report(class.size as isize);
                }
                block
            }
            None => Arc::new(Block::from_system(bytes, class)?),
        };
        Ok(Buffer { block: ManuallyDrop::new(block), bytes })
    }
    /// The first `bytes` of memory from elsewhere, which `foreign.release` takes back when its last holder lets go of it.
    ///
    /// # Safety
    ///
    /// `foreign.bytes` bytes stand at `start` and belong to nobody else until then. On the CPU they are initialised and aligned
    /// to 64; elsewhere `start` is an address on that device, which nobody follows here.
    pub(in crate::device) unsafe fn foreign(start: NonNull<u8>, bytes: usize, foreign: Foreign) -> Buffer {
        let foreign = Some(foreign);
        let block = Block {
            base: start,
            space: Space::new::<()>(),
            start,
            class: Class::FOREIGN,
            foreign,
            beside: Beside::default(),
        };
        Buffer { block: ManuallyDrop::new(Arc::new(block)), bytes }
    }
    /// Where the block lives.
    #[inline]
    pub fn device(&self) -> Device {
        // Without another device in the build this is a constant.
        self.block.foreign.map_or(Device::Cpu, |foreign| foreign.device)
    }
    /// Can the processor read it?
    #[inline]
    fn is_here(&self) -> bool {
        self.device() == Device::Cpu
    }
    /// Where it begins, on its device.
    #[cfg(feature = "cuda-unversioned")]
    pub(in crate::device) fn address(&self) -> u64 {
        self.block.start.addr().get() as u64
    }
    /// The bytes asked for.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// What is kept beside the numbers until they change.
    #[inline]
    pub(in crate::device) fn beside(&self) -> &Beside {
        &self.block.beside
    }
    /// Forgets what stands beside the block.
    ///
    /// # Safety
    /// Nobody else holds it.
    #[inline]
    unsafe fn forget(block: &mut Arc<Block>) {
        if !block.beside.is_clean() {
            // SAFETY: as the caller vouches.
            unsafe { &mut *Arc::as_ptr(block).cast_mut() }.beside.forget();
        }
    }
    /// Are both the same block?
    #[inline]
    pub fn same(&self, other: &Buffer) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }
    /// Does nobody else hold the block?
    #[inline]
    fn is_unshared(&self) -> bool {
        // No weak pointers exist, so with a count of one nobody else can make another.
        let alone = Arc::strong_count(&self.block) == 1;
        // What a thread read before it let go of its clone must come before our writing.
        fence(Ordering::Acquire);
        alone
    }
    /// All elements, for reading: none of a block on another device. The caller (a `Value`) knows that they were written
    /// as `T`.
    #[inline]
    pub(in crate::device) fn elements<T: Element>(&self) -> &[T] {
        if !self.is_here() {
            return &[];
        }
        // SAFETY: the block holds at least `bytes` initialised bytes, aligned to 64. Every bit pattern is a number;
        // booleans are only ever written through `&mut [bool]` over bytes made booleans by `fresh`, and a `Value`
        // never changes its element type.
        unsafe { std::slice::from_raw_parts(self.block.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }
    /// All elements for writing, where nobody else holds the block: none of a block on another device.
    #[inline]
    pub(in crate::device) fn elements_mut<T: Element>(&mut self) -> Option<&mut [T]> {
        if !self.is_unshared() {
            return None;
        }
        // SAFETY: nobody does, as was seen just now.
        unsafe { Buffer::forget(&mut self.block) };
        if !self.is_here() {
            return Some(&mut []);
        }
        // SAFETY: as in `elements`; nobody else holds the block, and `&mut self` keeps others from cloning it.
        Some(unsafe { std::slice::from_raw_parts_mut(self.block.start.as_ptr().cast(), self.bytes / size_of::<T>()) })
    }
    /// Makes a block just made ready for elements that are all to be written. Old bytes may be no boolean, so booleans
    /// are cleared; in a debug build everything is poisoned (NaN, odd numbers), so that a kernel that forgets an element
    /// is caught.
    pub(in crate::device) fn refresh(&mut self, dtype: DType) -> Result<(), Fault> {
        if dtype == DType::Bool || cfg!(debug_assertions) {
            let bytes = self.elements_mut::<u8>().ok_or_else(|| Fault::defect("a fresh buffer is shared"))?;
            // 0xff everywhere is a NaN in every float and -1 in every integer.
            bytes.fill(if dtype == DType::Bool { cfg!(debug_assertions) as u8 } else { 0xff });
        }
        Ok(())
    }
    /// The first elements of a block just made, to be written in full.
    #[inline(never)]
    pub(in crate::device) fn fresh<T: Element>(&mut self, count: usize) -> Result<&mut [T], Fault> {
        self.refresh(T::DTYPE)?;
        self.elements_mut()
            .and_then(|all| all.get_mut(..count))
            .ok_or_else(|| Fault::defect("a fresh buffer is shared or short"))
    }
}

impl Clone for Buffer {
    #[inline]
    fn clone(&self) -> Buffer {
        Buffer { block: self.block.clone(), bytes: self.bytes }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        let last = self.is_unshared();
        // SAFETY: taken once, here; `self` is not used again.
        let mut block = unsafe { ManuallyDrop::take(&mut self.block) };
        // Where two clones are dropped at the same moment neither is the last: then the block goes to the system.
        if !last {
            return;
        }
        // SAFETY: this was the last holder.
        unsafe { Buffer::forget(&mut block) };
        let size = block.class.size as isize;
        let mut block = Some(block);
        // A value in another thread-local variable may be dropped after our desk is gone: `try_with`.
        let counted = DESK.try_with(|desk| {
            desk.counts.add(-size);
            if let Ok(mut shelf) = desk.shelf.try_borrow_mut() {
                block = block.take().and_then(|block| shelf.give(block));
            }
        });
        if counted.is_err() {
            memory::report(-size);
        }
        if let Some(block) = block {
            store().give(block);
        }
    }
}

impl Block {
    fn from_system(bytes: usize, class: Class) -> Result<Block, Fault> {
        memory::reserve(bytes, class.size)?;
        let give_up = || {
            memory::unreserve(class.size);
            memory::refuse(bytes)
        };
        let alignment = if class.size < HUGE { ALIGNMENT } else { HUGE };
        // Room to align by hand: the system hands out zeroed pages untouched only at its own, smaller alignment.
        let space = Space::from_size_align(class.size + alignment, 16).map_err(|_| give_up())?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(space) }).ok_or_else(give_up)?;
        let skip = base.as_ptr().align_offset(alignment).min(alignment);
        // SAFETY: `skip` is at most `alignment`, which was added to the size.
        let start = unsafe { base.add(skip) };
        if alignment == HUGE {
            in_huge_pages(start, class.size / HUGE * HUGE);
        }
        count(class.size as isize);
        Ok(Block { base, space, start, class, foreign: None, beside: Beside::default() })
    }
}

/// Asks for huge pages, where the system has them for who asks: a processor remembers where some thousand pages are, which of 4 KB
/// is less than a large matrix has, and the first touch of each costs a call of the system. If there are none, all stays as it is.
fn in_huge_pages(start: NonNull<u8>, bytes: usize) {
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
    {
        use std::ffi::{c_int, c_void};
        unsafe extern "C" {
            fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
        }
        const MADV_HUGEPAGE: c_int = 14;
        // SAFETY: whole pages of a block that is ours; what they hold does not change.
        unsafe { madvise(start.as_ptr().cast(), bytes, MADV_HUGEPAGE) };
    }
    let _ = (start, bytes);
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(foreign) = self.foreign {
            return (foreign.release)(self.base, foreign);
        }
        count(-(self.class.size as isize));
        memory::unreserve(self.class.size);
        // SAFETY: allocated with this very layout, freed once.
        unsafe { dealloc(self.base.as_ptr(), self.space) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bytes: usize) -> Buffer {
        let mut buffer = Buffer::new(bytes).expect("memory");
        buffer.fresh::<u8>(bytes).expect("fresh").fill(7);
        buffer
    }
    fn address(buffer: &Buffer) -> usize {
        buffer.block.start.as_ptr() as usize
    }

    #[test]
    fn classes_grow_in_small_steps_and_hold_what_is_asked() {
        let mut last = Class::of(0).expect("a class");
        assert_eq!(last, Class { index: 0, size: 64 });
        for bytes in (1..100_000).chain((17..47).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let class = Class::of(bytes).expect("a class");
            assert!(class.size >= bytes && class.size.is_multiple_of(ALIGNMENT));
            assert!(class.size * 4 <= bytes * 5 + 4 * ALIGNMENT, "{bytes} in {}", class.size);
            assert!(class == last || (class.index > last.index && class.size > last.size));
            last = class;
        }
        assert_eq!(Class::of(256 << 10).map(|class| class.index), Some(SMALL - 1));
        assert!(Class::of(ABSURD).is_some_and(|class| class.index < CLASSES) && Class::of(ABSURD + 1).is_none());
    }

    #[test]
    fn a_block_comes_back_aligned_for_each_size() {
        for bytes in [0, 1, 64, 65, 1000, 30_000, 300_000, 3_000_000] {
            let first = write(bytes);
            let place = address(&first);
            assert_eq!(place % ALIGNMENT, 0);
            assert!(!HUGE_PAGES || bytes < HUGE || place.is_multiple_of(HUGE), "a huge page begins elsewhere");
            drop(first);
            if bytes < 256 << 10 {
                assert_eq!(address(&write(bytes)), place, "{bytes} bytes");
            }
        }
    }

    #[test]
    fn shared_blocks_are_not_written_and_come_back_once() {
        let mut first = write(100);
        let second = first.clone();
        assert!(first.elements_mut::<u8>().is_none() && first.same(&second));
        drop(second);
        assert!(first.elements_mut::<u8>().is_some());
        drop(first);
        let (a, b) = (write(100), write(100));
        assert!(!a.same(&b) && address(&a) != address(&b));
    }

    #[test]
    fn a_debug_build_poisons_what_is_handed_out() {
        let mut buffer = Buffer::new(40).expect("memory");
        let fresh = buffer.fresh::<f32>(10).expect("fresh");
        assert_eq!(fresh.iter().all(|x| x.is_nan()), cfg!(debug_assertions));
        let flags = Buffer::new(40).expect("memory").fresh::<bool>(10).expect("fresh").to_vec();
        assert_eq!(flags, vec![cfg!(debug_assertions); 10]);
    }

    #[test]
    fn threads_may_drop_what_others_made() {
        let made: Vec<Buffer> = (0..1000).map(|i| write(i * 50)).collect();
        let clones = made.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(made));
            scope.spawn(move || clones.into_iter().rev().for_each(drop));
        });
        // A buffer in a thread-local variable outlives the thread's lists.
        thread_local!(static LAST: RefCell<Option<Buffer>> = const { RefCell::new(None) });
        std::thread::spawn(|| {
            LAST.set(Some(write(100)));
            drop(write(200));
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn two_clones_dropped_at_once_free_the_block_once() {
        for _ in 0..200 {
            let (first, barrier) = (write(64), &std::sync::Barrier::new(2));
            let second = first.clone();
            std::thread::scope(|scope| {
                for buffer in [first, second] {
                    scope.spawn(move || {
                        barrier.wait();
                        drop(buffer);
                    });
                }
            });
        }
    }
}
