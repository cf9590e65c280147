//! Launches and copies of one thread, recorded instead of done, and then done as one.

use super::Gpu;
use crate::error::Fault;
use cudarc::driver::sys;
use std::cell::Cell;
use std::ptr::null_mut;

thread_local! {
    /// The stream that this thread records, of which GPU: nothing is done on it, and other threads do not notice.
    static RECORDED: Cell<Option<(sys::CUdevice, sys::CUstream)>> = const { Cell::new(None) };
}

/// What was recorded, ready to be launched as one.
pub(in crate::device::cuda) struct Graph(sys::CUgraphExec);

// SAFETY: a handle that the driver lets any thread use, one at a time.
unsafe impl Send for Graph {}

impl Gpu {
    /// Where launches and copies go: to the stream that this thread records, else to the one where all is done.
    pub(super) fn way(&self) -> sys::CUstream {
        match RECORDED.get() {
            Some((device, stream)) if device == self.device => stream,
            _ => self.stream,
        }
    }
    /// From now on the launches and copies of this thread are recorded and not done.
    pub(in crate::device::cuda) fn begin_recording(&self) -> Result<(), Fault> {
        self.enter()?;
        let mut stream = null_mut();
        // Relaxed: what other threads do meanwhile is no part of it, and loading a kernel is allowed.
        // SAFETY: the first writes a handle, which the second takes.
        unsafe {
            call!(cuStreamCreate(&mut stream, sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32))?;
            call!(cuStreamBeginCapture_v2(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED))?;
        }
        RECORDED.set(Some((self.device, stream)));
        Ok(())
    }
    /// What was recorded since, as one.
    pub(in crate::device::cuda) fn end_recording(&self) -> Result<Graph, Fault> {
        let Some((_, stream)) = RECORDED.take() else { return Err(Fault::defect("nothing is being recorded")) };
        self.enter()?;
        let (mut graph, mut executable) = (null_mut(), null_mut());
        // SAFETY: the stream was made for this recording and is not used after it; handles are written by one call and taken by
        // the next, and the graph is not needed once it is instantiated.
        unsafe {
            let ended = call!(cuStreamEndCapture(stream, &mut graph));
            call!(cuStreamDestroy_v2(stream))?;
            ended?;
            let made = call!(cuGraphInstantiateWithFlags(&mut executable, graph, 0));
            call!(cuGraphDestroy(graph))?;
            made?;
        }
        Ok(Graph(executable))
    }
    /// Does what was recorded when the stream comes to it.
    ///
    /// # Safety
    /// All memory that it uses is still there and used by nobody else.
    pub(in crate::device::cuda) unsafe fn replay(&self, graph: &Graph) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: as the caller vouches; the handle lives as long as the graph.
        unsafe { call!(cuGraphLaunch(graph.0, self.stream)) }
    }
    /// Forgets what was recorded.
    pub(in crate::device::cuda) fn forget(&self, graph: Graph) -> Result<(), Fault> {
        // It may be running still.
        self.wait()?;
        // SAFETY: nobody has the handle any more.
        unsafe { call!(cuGraphExecDestroy(graph.0)) }
    }
}
