//! Blocks of a GPU's memory, kept by size and handed out again.
//!
//! What is done with a block is done in the order of the stream, so one that was let go of can be given to the next at once,
//! though the GPU may not have come so far. Under the lists lies the driver's own pool, which hands out new blocks in the same order.
//!
//! A captured step has blocks of its own: its graph names their addresses, so nobody else gets them as long as it lives.

use super::driver::{Address, Gpu};
use super::faults::Made;
use super::{Cuda, lock};
use crate::device::capture;
use crate::device::cpu::buffers::Foreign;
use crate::device::cpu::memory::bytes as readable;
use crate::device::{Buffer, Device, Memory, Value};
use crate::error::Fault;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// Blocks are multiples of this.
const STEP: usize = 512;

/// Idle blocks by their size.
type Idle = BTreeMap<usize, Vec<Address>>;

/// The idle blocks of one GPU, and what is counted of all.
pub(super) struct Pool {
    idle: Idle,
    /// What belongs to captured steps, by their numbers, and to which of them a block belongs.
    steps: HashMap<u64, Step>,
    owners: HashMap<Address, u64>,
    /// When what stands in each block in use was made.
    made: HashMap<Address, Made>,
    counts: Memory,
}

/// The memory of a captured step.
#[derive(Default)]
struct Step {
    is_recorded: bool,
    idle: Idle,
    /// Blocks that its graph names, its own and others.
    named: HashSet<Address>,
    /// Blocks that it changes in place.
    touched: HashSet<Address>,
    /// How many blocks of others it named and then let go of.
    lost: usize,
}

/// The size of the block for so many bytes: up to four sizes for each doubling, so that few are distinct and at most a fifth of
/// each is unused. In a debug build it is exact, so that a stand-in driver which watches the ends of blocks watches those of
/// tensors.
fn rounded(bytes: usize) -> usize {
    if cfg!(debug_assertions) { bytes.max(1) } else { size_class(bytes) }
}

fn size_class(bytes: usize) -> usize {
    let steps = bytes.max(1).div_ceil(STEP);
    let shift = steps.ilog2().saturating_sub(2);
    (((steps - 1) >> shift) + 1) * (STEP << shift)
}

impl Pool {
    /// Nothing yet; at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Pool {
        let (steps, owners) = (HashMap::new(), HashMap::new());
        Pool { idle: BTreeMap::new(), steps, owners, made: HashMap::new(), counts: Memory::none(limit) }
    }
    /// An idle block of this size, for a step that is being recorded or for everybody.
    fn take(&mut self, size: usize, step: Option<u64>) -> Option<Address> {
        let own = step.and_then(|step| self.steps.get_mut(&step)?.idle.get_mut(&size)?.pop());
        let address = match own {
            Some(address) => address,
            None => self.idle.get_mut(&size)?.pop()?,
        };
        self.counts.hits += 1;
        self.uses(size);
        Some(address)
    }
    fn uses(&mut self, size: usize) {
        self.counts.in_use += size;
        self.counts.peak = self.counts.peak.max(self.counts.in_use);
    }
    /// A new block, within the limit; nothing where there is none.
    fn ask(&mut self, gpu: &Gpu, size: usize) -> Result<Option<Address>, Fault> {
        if self.counts.held.saturating_add(size) > self.counts.limit {
            return Ok(None);
        }
        let address = gpu.allocate(size)?;
        if address.is_some() {
            self.counts.held += size;
            self.counts.misses += 1;
            self.uses(size);
        }
        Ok(address)
    }
    /// A block that nobody holds any more.
    fn give(&mut self, address: Address, size: usize) {
        self.counts.in_use -= size;
        self.made.remove(&address);
        for step in self.steps.values_mut().filter(|step| !step.is_recorded && step.named.contains(&address)) {
            step.lost += !self.owners.contains_key(&address) as usize;
        }
        let named = || self.steps.iter().find(|(_, step)| step.named.contains(&address)).map(|(number, _)| *number);
        match self.owners.get(&address).copied().or_else(named) {
            Some(owner) => {
                self.owners.insert(address, owner);
                self.steps.entry(owner).or_default().idle.entry(size).or_default().push(address);
            }
            None => self.idle.entry(size).or_default().push(address),
        }
    }
    /// From now on a step is recorded.
    pub(super) fn begin(&mut self, step: u64) {
        self.steps.insert(step, Step::default());
    }
    /// A step was recorded: of its blocks these are held by what it gave. A fault where it cannot be replayed.
    pub(super) fn end(&mut self, step: u64, held: &[Address]) -> Result<(), Fault> {
        let Some(own) = self.steps.get_mut(&step) else { return Err(Fault::defect("no such step was recorded")) };
        own.is_recorded = true;
        if own.lost > 0 {
            return Err(Fault::value(
                format!("the step replaces {} it has read: a replay would read the old numbers", tensors(own.lost)),
                "keep what goes on from step to step in parameters, in Running states, or put it into an Input between replays",
            ));
        }
        let idle: HashSet<Address> = own.idle.values().flatten().copied().collect();
        let mine = self.owners.iter().filter(|(_, owner)| **owner == step).map(|(address, _)| address);
        let kept = mine.filter(|address| !idle.contains(address) && !held.contains(address)).count();
        if kept > 0 {
            return Err(Fault::value(
                format!("the step keeps {} it has made: every replay writes over them", tensors(kept)),
                "return what is to be read from the step: each replay gives it anew",
            ));
        }
        Ok(())
    }
    /// Does the block belong to a captured step?
    pub(super) fn is_own(&self, address: Address) -> bool {
        self.owners.contains_key(&address)
    }
    /// A step that is being recorded names a block.
    fn name(&mut self, step: u64, address: Address) {
        if let Some(step) = self.steps.get_mut(&step) {
            step.named.insert(address);
        }
    }
    /// A replay changes what its step changes in place.
    pub(super) fn renew(&mut self, step: u64, now: Made) {
        for address in self.steps.get(&step).iter().flat_map(|step| &step.touched) {
            if let Some(made) = self.made.get_mut(address) {
                *made = now;
            }
        }
    }
    /// A step is gone: its blocks are everybody's again.
    pub(super) fn forget(&mut self, step: u64) {
        self.owners.retain(|_, owner| *owner != step);
        for (size, addresses) in self.steps.remove(&step).map(|step| step.idle).unwrap_or_default() {
            for address in addresses {
                // Another step may name it, too.
                match self.steps.iter_mut().find(|(_, step)| step.named.contains(&address)) {
                    Some((other, step)) => {
                        step.idle.entry(size).or_default().push(address);
                        self.owners.insert(address, *other);
                    }
                    None => self.idle.entry(size).or_default().push(address),
                }
            }
        }
    }
    /// Gives all idle blocks back to the driver.
    fn release(&mut self, gpu: &Gpu) -> Result<(), Fault> {
        for (size, addresses) in std::mem::take(&mut self.idle) {
            for address in addresses {
                self.counts.held -= size;
                // SAFETY: `ask` got it from the driver; it was idle, and is in no list any more.
                unsafe { gpu.free(address) }?;
            }
        }
        gpu.trim()
    }
}

impl Cuda {
    /// A block of at least `bytes`, with anything in it.
    pub(super) fn allocate(self, bytes: usize) -> Result<Buffer, Fault> {
        let (size, gpu, step) = (rounded(bytes), &self.0.gpu, capture::recording());
        let mut pool = lock(&self.0.pool);
        let (found, recycled) = match pool.take(size, step) {
            Some(address) => (Some(address), true),
            None => (pool.ask(gpu, size)?, false),
        };
        let address = match found {
            Some(address) => address,
            None => {
                // Blocks of other sizes may be idle, here and in the driver's pool.
                pool.release(gpu)?;
                pool.ask(gpu, size)?.ok_or_else(|| self.refuse(bytes, &pool.counts))?
            }
        };
        let start = usize::try_from(address).ok().and_then(NonZeroUsize::new).map(NonNull::without_provenance);
        let start = start.ok_or_else(|| Fault::defect(format!("the driver gave memory at {address}")))?;
        if cfg!(debug_assertions) && recycled {
            // What nobody writes is noticed: NaN in every float, -1 in every integer.
            // SAFETY: the block is as long, and nobody holds it.
            unsafe { gpu.set_bytes(address, 0xff, size) }?;
        }
        pool.made.insert(address, self.0.clock.made());
        if let Some(step) = step {
            pool.owners.insert(address, step);
        }
        let foreign = Foreign { device: Device::Cuda(self), bytes: size, release: give_back };
        // SAFETY: the block is `size` bytes long and nobody else has it until `give_back`.
        Ok(unsafe { Buffer::foreign(start, bytes, foreign) })
    }
    #[cold]
    fn refuse(self, wanted: usize, counts: &Memory) -> Fault {
        let Memory { in_use, limit, .. } = *counts;
        let (wanted, in_use, limit) = (readable(wanted), readable(in_use), readable(limit));
        Fault::memory(
            format!("no memory for {wanted} on {}: {in_use} are in use, the limit is {limit}", Device::Cuda(self)),
            "use smaller sizes or batches, drop tensors that are no longer needed, or end other programs on this GPU; \
             set_memory_limit changes the limit",
        )
    }
    /// When what stands in a block was made.
    pub(super) fn made(self, block: Address) -> Option<Made> {
        lock(&self.0.pool).made.get(&block).copied()
    }
    /// What stands in a value's block is made anew, in place.
    pub(super) fn touch(self, value: &Value) {
        let (address, mut pool) = (value.buffer().address(), lock(&self.0.pool));
        pool.made.insert(address, self.0.clock.made());
        if let Some(step) = capture::recording().and_then(|step| pool.steps.get_mut(&step)) {
            step.touched.insert(address);
        }
    }
    /// A value is as right as another: it counts as made when that was.
    pub(in crate::device) fn inherits(self, value: &Value, other: &Value) {
        let mut pool = lock(&self.0.pool);
        if let Some(made) = pool.made.get(&other.buffer().address()).copied() {
            pool.made.insert(value.buffer().address(), made);
        }
    }
    /// A launch or a copy names a block: a step that is being recorded remembers it.
    pub(super) fn names(self, block: Address) {
        if let Some(step) = capture::recording() {
            lock(&self.0.pool).name(step, block);
        }
    }
    pub(in crate::device) fn memory(self) -> Memory {
        lock(&self.0.pool).counts
    }
    pub(in crate::device) fn reset_peak(self) {
        let counts = &mut lock(&self.0.pool).counts;
        counts.peak = counts.in_use;
    }
    pub(in crate::device) fn set_memory_limit(self, bytes: usize) {
        lock(&self.0.pool).counts.limit = bytes;
    }
    pub(in crate::device) fn release_cached(self) {
        // A device that is lost says so at the next read; here nobody listens.
        let _ = lock(&self.0.pool).release(&self.0.gpu);
    }
}

/// So many tensors, in words.
fn tensors(count: usize) -> String {
    if count == 1 { "a tensor that".to_string() } else { format!("{count} tensors that") }
}

/// The last holder of a block has let go of it.
fn give_back(start: NonNull<u8>, block: Foreign) {
    if let Device::Cuda(cuda) = block.device {
        lock(&cuda.0.pool).give(start.addr().get() as Address, block.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_hold_what_is_asked_and_grow_in_small_steps() {
        let mut last = 0;
        for bytes in (0..100_000).chain((17..40).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let size = size_class(bytes);
            assert!(size >= bytes && size >= last && size.is_multiple_of(STEP), "{bytes} in {size}");
            assert!(size * 4 <= bytes * 5 + 4 * STEP, "{bytes} in {size}");
            last = size;
        }
    }

    #[test]
    fn what_is_given_back_is_taken_again_and_counted() {
        let mut pool = Pool::new(10_000);
        pool.counts.held = 1024;
        pool.uses(1024);
        pool.give(4096, 1024);
        assert_eq!((pool.counts.in_use, pool.counts.peak, pool.counts.held), (0, 1024, 1024));
        assert_eq!(pool.take(512, None), None);
        assert_eq!((pool.take(1024, None), pool.take(1024, None)), (Some(4096), None));
        assert_eq!((pool.counts.in_use, pool.counts.hits), (1024, 1));
    }
}
