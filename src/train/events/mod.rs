//! Event files: what TensorBoard shows, written by hand: records with checksums around small messages.

mod message;

use super::{Trainer, View};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::sort_numbers;
use crate::nn::Module;
use crate::tensor::{Tensor, no_grad};
use message::Message;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A file of scalars, texts, histograms and images that TensorBoard shows (`tensorboard --logdir folder`).
///
/// ```
/// use chainrule::train::EventFile;
/// use chainrule::Tensor;
/// let folder = std::env::temp_dir().join("chainrule-events");
/// let mut events = EventFile::create(&folder)?;
/// for step in 0..10 {
///     events.scalar("loss", step, 1.0 / (step + 1) as f64)?;
/// }
/// events.text("notes", 0, "a first try")?;
/// events.histogram("weight", 9, &Tensor::from([0.1, 0.2, -0.3]))?;
/// events.flush()?;
/// # std::fs::remove_dir_all(&folder).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct EventFile {
    out: BufWriter<File>,
    path: PathBuf,
    flushed: Instant,
}

/// What is written may wait so long in memory.
const PAUSE: Duration = Duration::from_secs(2);

impl EventFile {
    /// A new file in a folder, beside those that are there.
    #[track_caller]
    pub fn create(folder: impl AsRef<Path>) -> Result<EventFile> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        super::folder::make(folder.as_ref())?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("events.out.tfevents.{:010}.chainrule.{}.{count}", now() as u64, std::process::id());
        let path = folder.as_ref().join(name);
        let file = File::create_new(&path).map_err(|error| unwritten(&path, &error))?;
        let mut events = EventFile { out: BufWriter::new(file), path, flushed: Instant::now() };
        events.write(Message::new().double(1, now()).bytes(3, b"brain.Event:2"))?;
        Ok(events)
    }
    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// A training begins with this step, or goes on with it: what an earlier one wrote for later steps is not shown.
    #[track_caller]
    pub fn begin(&mut self, step: u64) -> Result<()> {
        self.event(step, Message::new().message(7, Message::new().integer(1, 1)))
    }
    /// A number at a step.
    #[track_caller]
    pub fn scalar(&mut self, tag: &str, step: u64, number: f64) -> Result<()> {
        self.value(step, Message::new().bytes(1, tag.as_bytes()).float(2, number as f32))
    }
    /// A text at a step; it may be Markdown.
    #[track_caller]
    pub fn text(&mut self, tag: &str, step: u64, text: &str) -> Result<()> {
        let texts = Message::new().integer(1, 7).message(2, one_axis(1)).bytes(8, text.as_bytes());
        let kind = Message::new().message(1, Message::new().bytes(1, b"text"));
        self.value(step, Message::new().bytes(1, tag.as_bytes()).message(8, texts).message(9, kind))
    }
    /// How the numbers of a tensor are spread, at a step; what is not finite is left out.
    #[track_caller]
    pub fn histogram(&mut self, tag: &str, step: u64, tensor: &Tensor) -> Result<()> {
        let mut numbers = tensor.to_vec::<f64>()?;
        numbers.retain(|number| number.is_finite());
        sort_numbers(&mut numbers);
        self.value(step, Message::new().bytes(1, tag.as_bytes()).message(5, histogram(&numbers)))
    }
    /// A picture at a step: `[channels, height, width]` with 1 (grey) or 3 (red, green, blue) channels, or `[height, width]`,
    /// of numbers from 0 to 1.
    #[track_caller]
    pub fn image(&mut self, tag: &str, step: u64, image: &Tensor) -> Result<()> {
        let shape = image.shape()?;
        let (channels, height, width) = match shape[..] {
            [height, width] => (1, height, width),
            [channels @ (1 | 3), height, width] => (channels, height, width),
            _ => (0, 0, 0),
        };
        if channels * height * width == 0 || height.max(width) > 1 << 14 {
            let what = format!("no picture has the sizes {shape:?}");
            return Err(Error::new(
                "event_file",
                Fault::shape(what, "give [channels, height, width], 1 or 3 channels"),
            ));
        }
        let rows = no_grad(|| image.reshape([channels, height, width]).permute([1, 2, 0])).to_vec::<f64>()?;
        let pixels: Vec<u8> = rows.iter().map(|number| (number.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        let png = crate::io::png::encode(width, height, channels, &pixels);
        let image = Message::new().integer(1, height as u64).integer(2, width as u64).integer(3, channels as u64);
        self.value(step, Message::new().bytes(1, tag.as_bytes()).message(4, image.bytes(4, &png)))
    }
    /// Hands all that was written to the system.
    #[track_caller]
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.out.flush().map_err(|error| unwritten(&self.path, &error))
    }
    #[track_caller]
    fn value(&mut self, step: u64, value: Message) -> Result<()> {
        self.event(step, Message::new().message(5, Message::new().message(1, value)))
    }
    #[track_caller]
    fn event(&mut self, step: u64, what: Message) -> Result<()> {
        self.write(Message::new().double(1, now()).integer(2, step).and(what))?;
        if self.flushed.elapsed() > PAUSE { self.flush() } else { Ok(()) }
    }
    /// A record: how long it is, its bytes, and a checksum of each.
    #[track_caller]
    fn write(&mut self, event: Message) -> Result<()> {
        let bytes = event.into_bytes();
        let length = (bytes.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(bytes.len() + 16);
        record.extend_from_slice(&length);
        record.extend_from_slice(&message::checksum(&length).to_le_bytes());
        record.extend_from_slice(&bytes);
        record.extend_from_slice(&message::checksum(&bytes).to_le_bytes());
        self.out.write_all(&record).map_err(|error| unwritten(&self.path, &error))
    }
}

/// A shape with one axis.
fn one_axis(size: u64) -> Message {
    Message::new().message(2, Message::new().integer(1, size))
}

/// Sorted numbers in buckets whose limits grow by a tenth, as TensorBoard expects them.
fn histogram(sorted: &[f64]) -> Message {
    let (lowest, highest) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
    let mut positive = vec![1e-12];
    while positive.last().is_some_and(|limit| *limit < 1e20) {
        positive.push(positive.last().copied().unwrap_or(1.0) * 1.1);
    }
    let mut limits: Vec<f64> = positive.iter().rev().map(|limit| -limit).collect();
    limits.push(0.0);
    limits.extend(&positive);
    limits.push(f64::MAX);
    let (mut kept, mut counts, mut from) = (Vec::new(), Vec::new(), 0);
    for limit in limits {
        let upto = sorted.partition_point(|number| *number <= limit);
        // Empty buckets before the first and after the last say nothing.
        if upto > from || !kept.is_empty() && upto < sorted.len() {
            kept.push(limit);
            counts.push((upto - from) as f64);
        }
        from = upto;
    }
    Message::new()
        .double(1, lowest)
        .double(2, highest)
        .double(3, sorted.len() as f64)
        .double(4, sorted.iter().sum())
        .double(5, sorted.iter().map(|number| number * number).sum())
        .doubles(6, &kept)
        .doubles(7, &counts)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cold]
#[track_caller]
fn unwritten(path: &Path, error: &io::Error) -> Error {
    let what = format!("{} cannot be written: {error}", path.display());
    Error::new("event_file", Fault::new(ErrorKind::Io, what, "give a folder that may be written to"))
}

impl<'a, M: Module, B: super::BatchSize> Trainer<'a, M, B> {
    /// Writes loss and rate of each step and the measures of each epoch to an event file in this folder, for TensorBoard.
    ///
    /// ```
    /// use chainrule::data::Batch;
    /// use chainrule::nn::Linear;
    /// use chainrule::train::Trainer;
    /// let trainer: Trainer<Linear, Batch> = Trainer::supervised(chainrule::mse_loss).with_tensorboard("runs/first");
    /// # let _ = trainer;
    /// ```
    pub fn with_tensorboard(self, folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_path_buf();
        let mut file: Option<EventFile> = None;
        self.with_callback(move |view: &View<'_, M>| tell(&mut file, &folder, view))
    }
}

fn tell<M>(file: &mut Option<EventFile>, folder: &Path, view: &View<'_, M>) -> Result<()> {
    let events = match file {
        Some(events) => events,
        None => {
            let mut events = EventFile::create(folder)?;
            events.begin(view.step)?;
            file.insert(events)
        }
    };
    if !view.is_epoch {
        events.scalar("step/loss", view.step, view.loss)?;
        return events.scalar("step/rate", view.step, view.rate);
    }
    for (name, number) in view.history.epochs().last().into_iter().flat_map(|record| record.measures.iter()) {
        events.scalar(&format!("epoch/{name}"), view.step, number)?;
    }
    events.flush()
}
