//! Numbers to a GPU and back.
//!
//! They go through pinned memory, two halves in turn: while the GPU fetches one, the other is filled. Taking in returns as soon as
//! the last part is in a half; bringing back is a read, the only thing that waits for the GPU.

use super::driver::{Address, Gpu, Moment};
use super::{Cuda, lock, update};
use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use std::borrow::Cow;
use std::sync::atomic::Ordering;

/// Bytes of one half.
const HALF: usize = 4 << 20;

/// Pinned memory in two halves.
pub(super) struct Staging {
    halves: [Half; 2],
}

struct Half {
    start: *mut u8,
    /// When the GPU is done with what was put here last.
    done: Moment,
}

// SAFETY: the memory is this half's own and is never given back.
unsafe impl Send for Half {}

impl Staging {
    fn new(gpu: &Gpu) -> Result<Staging, Fault> {
        let half = || Ok::<Half, Fault>(Half { start: gpu.pinned(HALF)?, done: gpu.moment()? });
        Ok(Staging { halves: [half()?, half()?] })
    }
    fn half(&self, part: usize) -> &Half {
        &self.halves[part % 2]
    }
    /// Copies to the GPU; what stands in `from` may change after it returns.
    ///
    /// # Safety
    /// There is room for as many bytes at `to`, and nobody else uses it.
    unsafe fn take_in(&self, gpu: &Gpu, to: Address, from: &[u8]) -> Result<(), Fault> {
        for (part, bytes) in from.chunks(HALF).enumerate() {
            let half = self.half(part);
            gpu.wait_for(&half.done)?;
            let at = to + (part * HALF) as Address;
            // SAFETY: a part is no longer than a half, and the GPU is done with it; as the caller vouches, there is room.
            unsafe {
                half.start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                gpu.copy_in(at, half.start, bytes.len())?;
            }
            gpu.mark(&half.done)?;
        }
        Ok(())
    }
    /// Copies from the GPU, once it is done with all that was called before.
    ///
    /// # Safety
    /// As many bytes stand at `from`.
    unsafe fn bring_back(&self, gpu: &Gpu, to: &mut [u8], from: Address) -> Result<(), Fault> {
        let fetch = |part: usize, length: usize| {
            let half = self.half(part);
            gpu.wait_for(&half.done)?;
            // SAFETY: a part is no longer than a half, which is free; as the caller vouches, the bytes are there.
            unsafe { gpu.copy_out(half.start, from + (part * HALF) as Address, length) }?;
            gpu.mark(&half.done)
        };
        let lengths: Vec<usize> = to.chunks(HALF).map(<[u8]>::len).collect();
        if let Some(&first) = lengths.first() {
            fetch(0, first)?;
        }
        for (part, bytes) in to.chunks_mut(HALF).enumerate() {
            if let Some(&next) = lengths.get(part + 1) {
                fetch(part + 1, next)?;
            }
            let half = self.half(part);
            gpu.wait_for(&half.done)?;
            // SAFETY: the GPU has put so many bytes here, and is done.
            unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(half.start, bytes.len()) };
        }
        Ok(())
    }
}

/// The value with the elements of its buffer that it reaches: made dense first where that would be more than it has.
fn compact(value: &Value) -> Result<(Cow<'_, Value>, usize, usize), Fault> {
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
fn moved(layout: &Layout, first: usize) -> Layout {
    match layout.count() {
        0 => Layout::contiguous(*layout.shape()),
        _ => Layout::from_parts(*layout.shape(), layout.strides(), layout.offset() - first),
    }
}

/// Where a value's first element is.
pub(super) fn address(value: &Value) -> Address {
    let first = if value.count() == 0 { 0 } else { value.layout().offset() * value.dtype().size() };
    value.buffer().address() + first as Address
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
        let (value, first, span) = compact(value)?;
        let size = value.dtype().size();
        let buffer = self.allocate(span * size)?;
        let bytes = value.buffer().elements::<u8>().get(first * size..(first + span) * size);
        let bytes = bytes.ok_or_else(|| Fault::defect("a value reaches beyond its buffer"))?;
        // SAFETY: the block is new and has room for them.
        self.staging(|staging| unsafe { staging.take_in(&self.0.gpu, buffer.address(), bytes) })?;
        Value::within(buffer, moved(value.layout(), first), value.dtype())
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
    /// A value of this GPU, copied to the CPU: waits until it has been computed, and for what was wrong before.
    pub(in crate::device) fn bring_back(self, value: &Value) -> Result<Value, Fault> {
        let here = self.fetch(value)?;
        self.judge(value)?;
        Ok(here)
    }
    /// The same without a question whether it is right.
    pub(super) fn fetch(self, value: &Value) -> Result<Value, Fault> {
        update::launch_waiting()?;
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        let (value, first, span) = compact(value)?;
        let (dtype, size) = (value.dtype(), value.dtype().size());
        let mut here = Value::blank(Shape::new(&[span])?, dtype)?;
        let bytes = here.own_bytes().ok_or_else(|| Fault::defect("a new value is shared"))?;
        let from = value.buffer().address() + (first * size) as Address;
        // SAFETY: the value's elements stand there.
        self.staging(|staging| unsafe { staging.bring_back(&self.0.gpu, bytes, from) })?;
        if dtype == DType::Bool {
            // Whatever a kernel wrote, here a boolean is 0 or 1.
            bytes.iter_mut().for_each(|byte| *byte = (*byte != 0) as u8);
        }
        here.with_layout(moved(value.layout(), first))
    }
}
