//! Memory of the GPU, copies to and fro, and moments to wait for.

use super::{Address, Gpu, understood};
use crate::error::{ErrorKind, Fault};
use cudarc::driver::sys;
use std::ptr::null_mut;

/// A moment in the stream that can be waited for.
pub(in crate::device::cuda) struct Moment(sys::CUevent);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Moment {}

impl Gpu {
    /// Memory that what follows in the stream may use; nothing where there is none left.
    pub(in crate::device::cuda) fn allocate(&self, bytes: usize) -> Result<Option<Address>, Fault> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: it writes one address.
        match unsafe { call!(cuMemAllocAsync(&mut address, bytes, self.stream)) } {
            Ok(()) => Ok(Some(address)),
            Err(fault) if fault.kind() == ErrorKind::Memory => Ok(None),
            Err(fault) => Err(fault),
        }
    }
    /// Gives memory back once the stream has come so far.
    ///
    /// # Safety
    /// [`allocate`](Gpu::allocate) gave it; nothing that is called later uses it.
    pub(in crate::device::cuda) unsafe fn free(&self, address: Address) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemFreeAsync(address, self.stream)) }
    }
    /// Gives all memory that was freed back to the system, for other programs.
    pub(in crate::device::cuda) fn trim(&self) -> Result<(), Fault> {
        self.wait()?;
        // SAFETY: the pool is the device's own and lives as long.
        unsafe { call!(cuMemPoolTrimTo(self.pool, 0)) }
    }
    /// Memory of the host that the GPU reaches by itself. It is never given back.
    pub(in crate::device::cuda) fn pinned(&self, bytes: usize) -> Result<*mut u8, Fault> {
        self.enter()?;
        let mut start = null_mut();
        // Without flags: write-combined memory would be slow to read.
        // SAFETY: it writes one pointer.
        unsafe { call!(cuMemHostAlloc(&mut start, bytes, 0)) }?;
        Ok(start.cast())
    }
    /// Copies from the host's memory when the stream comes to it.
    ///
    /// # Safety
    /// `bytes` stand at both; those of the host stay as they are until then.
    pub(in crate::device::cuda) unsafe fn copy_in(
        &self,
        to: Address,
        from: *const u8,
        bytes: usize,
    ) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, self.way())) }
    }
    /// Copies to the host's memory when the stream comes to it.
    ///
    /// # Safety
    /// `bytes` stand at both; nobody uses those of the host until then.
    pub(in crate::device::cuda) unsafe fn copy_out(
        &self,
        to: *mut u8,
        from: Address,
        bytes: usize,
    ) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, self.way())) }
    }
    /// Copies within the GPU's memory.
    ///
    /// # Safety
    /// `bytes` stand at both, and they do not overlap.
    pub(in crate::device::cuda) unsafe fn copy_within(
        &self,
        to: Address,
        from: Address,
        bytes: usize,
    ) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemcpyDtoDAsync_v2(to, from, bytes, self.way())) }
    }
    /// Copies to the memory of another GPU when this one's stream comes to it: by a direct way where there is one.
    ///
    /// # Safety
    /// `bytes` stand at both; what is called on the other GPU does not use them meanwhile.
    pub(in crate::device::cuda) unsafe fn copy_to(
        &self,
        other: &Gpu,
        to: Address,
        from: Address,
        bytes: usize,
    ) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches; both contexts live as long as the program.
        unsafe { call!(cuMemcpyPeerAsync(to, other.context, from, self.context, bytes, self.stream)) }
    }
    /// Writes one byte everywhere.
    ///
    /// # Safety
    /// `bytes` stand there.
    pub(in crate::device::cuda) unsafe fn set_bytes(&self, at: Address, byte: u8, bytes: usize) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches.
        unsafe { call!(cuMemsetD8Async(at, byte, bytes, self.way())) }
    }
    /// Waits until everything called so far is done.
    pub(in crate::device::cuda) fn wait(&self) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: the stream lives as long as the program.
        unsafe { call!(cuStreamSynchronize(self.stream)) }
    }
    /// A moment that has not come yet.
    pub(in crate::device::cuda) fn moment(&self) -> Result<Moment, Fault> {
        self.enter()?;
        let mut event = null_mut();
        // SAFETY: it writes one handle.
        unsafe { call!(cuEventCreate(&mut event, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32)) }?;
        Ok(Moment(event))
    }
    /// The moment comes when all called so far is done.
    pub(in crate::device::cuda) fn mark(&self, moment: &Moment) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: both handles are this device's and live as long as the program.
        unsafe { call!(cuEventRecord(moment.0, self.stream)) }
    }
    /// What is called from now on waits on the GPU for a moment, which may be another GPU's.
    pub(in crate::device::cuda) fn wait_on_the_way(&self, moment: &Moment) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: both handles live as long as the program.
        unsafe { call!(cuStreamWaitEvent(self.stream, moment.0, 0)) }
    }
    /// Waits for the moment, if it was ever marked.
    pub(in crate::device::cuda) fn wait_for(&self, moment: &Moment) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as above.
        unsafe { call!(cuEventSynchronize(moment.0)) }
    }
    /// Has the moment come, or was it never marked?
    pub(in crate::device::cuda) fn has_come(&self, moment: &Moment) -> Result<bool, Fault> {
        self.enter()?;
        // SAFETY: as above.
        match unsafe { sys::cuEventQuery(moment.0) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => understood(code, "cuEventQuery").map(|()| true),
        }
    }
}
