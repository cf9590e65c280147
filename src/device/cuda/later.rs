//! Reads that are asked for now and taken later: a copy into pinned memory, and a moment behind it that can be waited for.
//!
//! A copy goes along the stream like all else, so it brings the numbers as they were when it was asked for, whatever is written
//! over them since. The word of the checks (`faults.rs`) goes along.

use super::driver::{Gpu, Moment};
use super::faults::Made;
use super::transfer::{compact, moved};
use super::{Cuda, lock, update};
use crate::device::{Value, capture};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Bytes of the smallest place: several share a page.
const SMALLEST: usize = 64;
/// Bytes that are pinned at least.
const PAGE: usize = 4096;
/// Bytes of the word of the checks, which stands behind the numbers.
const WORD: usize = 8;

/// Places in pinned memory that wait for the next read, by their sizes. They are never given back.
#[derive(Default)]
pub(super) struct Places(BTreeMap<usize, Vec<Place>>);

/// Pinned memory for one read.
struct Place {
    start: *mut u8,
    size: usize,
    /// When what was asked for is there.
    done: Moment,
}

// SAFETY: the memory is this place's own and is never given back.
unsafe impl Send for Place {}
// SAFETY: nobody writes it but the GPU, and nobody reads it before that is done.
unsafe impl Sync for Place {}

impl Places {
    /// A place for so many bytes. The GPU may still be writing what nobody took: it comes to the next copy later.
    fn take(&mut self, gpu: &Gpu, bytes: usize) -> Result<Place, Fault> {
        let size = bytes.next_power_of_two().max(SMALLEST);
        let idle = self.0.entry(size).or_default();
        if let Some(place) = idle.pop() {
            return Ok(place);
        }
        let start = gpu.pinned(size.max(PAGE))?;
        let place = |at: usize| {
            // SAFETY: it stays inside what was just pinned.
            let start = unsafe { start.add(at) };
            Ok(Place { start, size, done: gpu.moment()? })
        };
        let others = (size..PAGE).step_by(size).map(place).collect::<Result<Vec<_>, Fault>>()?;
        idle.extend(others);
        place(0)
    }
    fn give(&mut self, place: Place) {
        self.0.entry(place.size).or_default().push(place);
    }
}

/// Numbers on their way to the CPU.
pub(crate) struct Later {
    cuda: Cuda,
    /// There until this is dropped.
    place: Option<Place>,
    /// Of the elements that are brought, and the way through them.
    span: usize,
    layout: Layout,
    dtype: DType,
    /// It is read by the program, and not to hear of a value that was copied to another GPU.
    is_read: bool,
    /// When what is read was made, and up to when the word tells what was launched, if it comes along.
    made: Option<Made>,
    word: Option<u64>,
}

impl Cuda {
    /// Asks for the numbers of a value. Nobody waits.
    pub(in crate::device) fn ask(self, value: &Value) -> Result<Later, Fault> {
        if capture::is_recording() {
            return Err(super::transfer::read_in_a_step());
        }
        update::launch_waiting()?;
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        self.send(value, true)
    }
    /// Asks whether a value is right; nothing where that is known.
    pub(super) fn ask_of(self, value: &Value) -> Result<Option<Later>, Fault> {
        let nothing = value.with_layout(Layout::contiguous(Shape::new(&[0])?))?;
        let later = self.send(&nothing, false)?;
        Ok(later.word.is_some().then_some(later))
    }
    fn send(self, value: &Value, is_read: bool) -> Result<Later, Fault> {
        let made = self.made(value.buffer().address());
        let (value, first, span) = compact(value)?;
        let (dtype, size) = (value.dtype(), value.dtype().size());
        let (bytes, gpu) = (span * size, &self.0.gpu);
        let place = lock(&self.0.places).take(gpu, bytes.next_multiple_of(WORD) + WORD)?;
        let from = value.buffer().address() + (first * size) as u64;
        // SAFETY: the value's elements stand there; the place has room for them and the word, and belongs to this read.
        let word = unsafe {
            if bytes > 0 {
                gpu.copy_out(place.start, from, bytes)?;
            }
            self.send_word(place.start.add(bytes.next_multiple_of(WORD)))
        }?;
        gpu.mark(&place.done)?;
        let layout = moved(value.layout(), first);
        Ok(Later { cuda: self, place: Some(place), span, layout, dtype, is_read, made, word })
    }
}

impl Later {
    /// Are the numbers there? (A device that is lost says so when they are taken.)
    pub(in crate::device) fn is_ready(&self) -> bool {
        self.place.as_ref().is_none_or(|place| self.cuda.0.gpu.has_come(&place.done).unwrap_or(true))
    }
    /// The numbers, once the GPU has done what was called before they were asked for.
    pub(in crate::device) fn take(self) -> Result<Value, Fault> {
        let Some(place) = &self.place else { return Err(Fault::defect("a read has no place")) };
        if self.is_read {
            self.cuda.hear_of_others();
        }
        let gpu = &self.cuda.0.gpu;
        if !gpu.has_come(&place.done)? {
            self.cuda.0.waits.fetch_add(1, Ordering::Relaxed);
            gpu.wait_for(&place.done)?;
        }
        let bytes = self.span * self.dtype.size();
        let mut here = Value::blank(Shape::new(&[self.span])?, self.dtype)?;
        let to = here.own_bytes().ok_or_else(|| Fault::defect("a new value is shared"))?;
        let mut word = [0; WORD];
        // SAFETY: the GPU has put the numbers here, and the word behind them where it comes along, and is done.
        unsafe {
            to.as_mut_ptr().copy_from_nonoverlapping(place.start, bytes);
            let behind = place.start.add(bytes.next_multiple_of(WORD));
            word.as_mut_ptr().copy_from_nonoverlapping(behind, WORD);
        }
        if let Some(moment) = self.word {
            self.cuda.hear(u64::from_ne_bytes(word), moment)?;
        }
        self.cuda.was_sound(self.made)?;
        only_booleans(self.dtype, to);
        here.with_layout(self.layout)
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            lock(&self.cuda.0.places).give(place);
        }
    }
}

/// Whatever a kernel wrote, on the CPU a boolean is 0 or 1.
pub(super) fn only_booleans(dtype: DType, bytes: &mut [u8]) {
    if dtype == DType::Bool {
        bytes.iter_mut().for_each(|byte| *byte = (*byte != 0) as u8);
    }
}
