//! Numbers to a GPU and back.
//!
//! They go through pinned memory, its places in turn: while the GPU fetches one, the next is filled. Taking in returns as soon as
//! the last part is in its place, and waits only where all places are still to be fetched: a loop that brings a few small tensors for each
//! step stays ahead of the GPU. Bringing back is a read, which waits for all that was called before.

use super::driver::{Address, Gpu, Moment};
use super::later::only_booleans;
use super::{Cuda, lock, update};
use crate::device::copy::Arrange;
use crate::device::{Device, Value, capture, on};
use crate::error::Fault;
use crate::layout::{Layout, Shape};
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::Ordering;

/// Bytes of one place.
const PART: usize = 1 << 20;
/// Places.
const PLACES: usize = 8;
/// So few bytes are read with the word of the checks beside them: one wait instead of two.
const FEW: usize = 1024;

/// Pinned memory in places that are used in turn.
pub(super) struct Staging {
    places: Vec<Place>,
    next: Cell<usize>,
}

struct Place {
    start: *mut u8,
    /// When the GPU is done with what was put here last.
    done: Moment,
}

// SAFETY: the memory is this place's own and is never given back.
unsafe impl Send for Place {}

impl Staging {
    fn new(gpu: &Gpu) -> Result<Staging, Fault> {
        let place = |_| Ok(Place { start: gpu.pinned(PART)?, done: gpu.moment()? });
        Ok(Staging { places: (0..PLACES).map(place).collect::<Result<_, Fault>>()?, next: Cell::new(0) })
    }
    /// The place that was used longest ago, once the GPU is done with it.
    fn place(&self, gpu: &Gpu) -> Result<&Place, Fault> {
        let place = &self.places[self.next.get()];
        self.next.set((self.next.get() + 1) % PLACES);
        gpu.wait_for(&place.done)?;
        Ok(place)
    }
    /// Copies to the GPU; what stands in `from` may change after it returns.
    ///
    /// # Safety
    /// There is room for as many bytes at `to`, and nobody else uses it.
    unsafe fn take_in(&self, gpu: &Gpu, to: Address, from: &[u8]) -> Result<(), Fault> {
        for (part, bytes) in from.chunks(PART).enumerate() {
            let place = self.place(gpu)?;
            let at = to + (part * PART) as Address;
            // SAFETY: a part is no longer than a place, and the GPU is done with it; as the caller vouches, there is room.
            unsafe {
                place.start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                gpu.copy_in(at, place.start, bytes.len())?;
            }
            gpu.mark(&place.done)?;
        }
        Ok(())
    }
    /// Copies from the GPU, once it is done with all that was called before.
    ///
    /// # Safety
    /// As many bytes stand at `from`.
    unsafe fn bring_back(&self, gpu: &Gpu, to: &mut [u8], from: Address) -> Result<(), Fault> {
        let fetch = |part: usize, length: usize| {
            let place = self.place(gpu)?;
            // SAFETY: a part is no longer than a place, which is free; as the caller vouches, the bytes are there.
            unsafe { gpu.copy_out(place.start, from + (part * PART) as Address, length) }?;
            gpu.mark(&place.done)?;
            Ok::<&Place, Fault>(place)
        };
        let lengths: Vec<usize> = to.chunks(PART).map(<[u8]>::len).collect();
        let mut ahead = lengths.first().map(|&first| fetch(0, first)).transpose()?;
        for (part, bytes) in to.chunks_mut(PART).enumerate() {
            let next = lengths.get(part + 1).map(|&next| fetch(part + 1, next)).transpose()?;
            if let Some(place) = std::mem::replace(&mut ahead, next) {
                gpu.wait_for(&place.done)?;
                // SAFETY: the GPU has put so many bytes here, and is done.
                unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(place.start, bytes.len()) };
            }
        }
        Ok(())
    }
}

/// The value with the elements of its buffer that it reaches: made dense first where that would be more than it has.
pub(super) fn compact(value: &Value) -> Result<(Cow<'_, Value>, usize, usize), Fault> {
    if value.count() == 0 {
        return Ok((Cow::Borrowed(value), 0, 0));
    }
    let spans = |value: &Value| {
        let (first, last) = Value::reach(value.layout());
        (first as usize, (last - first) as usize + 1)
    };
    let (first, span) = spans(value);
    if span <= value.count() {
        return Ok((Cow::Borrowed(value), first, span));
    }
    let dense = on!(value.device(), contiguous(value))?;
    let (first, span) = spans(&dense);
    Ok((Cow::Owned(dense), first, span))
}

/// The layout over a buffer that begins at the element `first`.
pub(super) fn moved(layout: &Layout, first: usize) -> Layout {
    match layout.count() {
        0 => Layout::contiguous(*layout.shape()),
        _ => Layout::from_parts(*layout.shape(), layout.strides(), layout.offset() - first),
    }
}

/// Where a value's first element is, for a launch or a copy.
pub(super) fn address(value: &Value) -> Address {
    if let Device::Cuda(cuda) = value.device() {
        cuda.names(value.buffer().address());
    }
    let first = if value.count() == 0 { 0 } else { value.layout().offset() * value.dtype().size() };
    value.buffer().address() + first as Address
}

#[cold]
pub(super) fn read_in_a_step() -> Fault {
    Fault::device(
        "a captured step reads numbers of the GPU, which are not there before it is replayed",
        "return the tensor from the step and read it from what a replay gives; what decides by a number stays outside",
    )
}

impl Cuda {
    fn staging<R>(self, work: impl FnOnce(&Staging) -> Result<R, Fault>) -> Result<R, Fault> {
        let mut staging = lock(&self.0.staging);
        let staging = match &mut *staging {
            Some(ready) => ready,
            none => none.insert(Staging::new(&self.0.gpu)?),
        };
        work(staging)
    }
    /// How often numbers were read from this GPU since it was opened.
    pub(in crate::device) fn reads(self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }
    /// A value of the CPU, copied to this GPU.
    pub(in crate::device) fn take_in(self, value: &Value) -> Result<Value, Fault> {
        if capture::is_recording() {
            return Err(Fault::device(
                "a captured step copies numbers from the CPU: every replay would bring the same",
                "put batches into an Input, which each replay reads anew; make what stays the same before the step",
            ));
        }
        let (value, first, span) = compact(value)?;
        let size = value.dtype().size();
        let buffer = self.allocate(span * size)?;
        let bytes = value.buffer().elements::<u8>().get(first * size..(first + span) * size);
        let bytes = bytes.ok_or_else(|| Fault::defect("a value reaches beyond its buffer"))?;
        // SAFETY: the block is new and has room for them.
        self.staging(|staging| unsafe { staging.take_in(&self.0.gpu, buffer.address(), bytes) })?;
        Value::within(buffer, moved(value.layout(), first), value.dtype())
    }
    /// Bytes of the CPU, copied over those from an address on, which belong to the caller.
    pub(super) fn write_bytes(self, to: Address, bytes: &[u8]) -> Result<(), Fault> {
        // SAFETY: as many bytes stand there, and the caller has them for itself.
        self.staging(|staging| unsafe { staging.take_in(&self.0.gpu, to, bytes) })
    }
    /// The elements of a dense value of the CPU, copied over a value here that has as many.
    pub(super) fn overwrite(self, to: &Value, from: &Value) -> Result<(), Fault> {
        update::launch_waiting()?;
        let size = from.dtype().size();
        if (to.count(), to.dtype()) != (from.count(), from.dtype()) || !to.is_contiguous() || !from.is_contiguous() {
            return Err(Fault::defect(format!("{from:?} does not fill {to:?}")));
        }
        let first = if from.count() == 0 { 0 } else { from.layout().offset() * size };
        let bytes = from.buffer().elements::<u8>().get(first..first + from.count() * size);
        self.write_bytes(address(to), bytes.ok_or_else(|| Fault::defect("a value reaches beyond its buffer"))?)
    }
    /// The elements of a dense value, copied over those of another, which has as many.
    pub(super) fn copy(self, to: &Value, from: &Value) -> Result<(), Fault> {
        update::launch_waiting()?;
        self.holds(to).and_then(|()| self.holds(from))?;
        let bytes = from.count() * from.dtype().size();
        if to.count() * to.dtype().size() != bytes || !to.is_contiguous() || !from.is_contiguous() {
            return Err(Fault::defect(format!("{from:?} does not fill {to:?}")));
        }
        if bytes == 0 || to.shares_memory(from) {
            return Ok(());
        }
        // SAFETY: so many bytes stand at both, in different blocks.
        unsafe { self.0.gpu.copy_within(address(to), address(from), bytes) }
    }
    /// How often the program waited for this GPU since it was opened.
    pub(in crate::device) fn waits(self) -> u64 {
        self.0.waits.load(Ordering::Relaxed)
    }
    /// A value of this GPU, copied to the CPU: waits until it has been computed, and for what was wrong before.
    pub(in crate::device) fn bring_back(self, value: &Value) -> Result<Value, Fault> {
        if value.count() * value.dtype().size() <= FEW {
            return self.ask(value)?.take();
        }
        let here = self.fetch(value)?;
        self.judge(value)?;
        Ok(here)
    }
    /// The same without a question whether it is right.
    pub(super) fn fetch(self, value: &Value) -> Result<Value, Fault> {
        if capture::is_recording() {
            return Err(read_in_a_step());
        }
        update::launch_waiting()?;
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        let (value, first, span) = compact(value)?;
        let (dtype, size) = (value.dtype(), value.dtype().size());
        let mut here = Value::blank(Shape::new(&[span])?, dtype)?;
        let bytes = here.own_bytes().ok_or_else(|| Fault::defect("a new value is shared"))?;
        let from = value.buffer().address() + (first * size) as Address;
        // SAFETY: the value's elements stand there.
        self.staging(|staging| unsafe { staging.bring_back(&self.0.gpu, bytes, from) })?;
        only_booleans(dtype, bytes);
        here.with_layout(moved(value.layout(), first))
    }
}
