//! Spectra of short stretches of a signal, one after the other; and the signal back.

use super::fourier::Fourier;
use super::pad::Pad;
use super::pool::Pool;
use crate::error::{Error, Fault};
use crate::layout::DType;
use crate::tensor::{Tensor, refused};
use std::f64::consts::TAU;

/// How a signal is cut into frames for [`stft`](Tensor::stft), and put together again by [`istft`](Tensor::istft).
///
/// ```
/// use chainrule::{Pad, Stft, Tensor};
/// // 25 ms of speech at 16 kHz, every 10 ms.
/// let speech = Stft::new(400).hop(160).window(&Tensor::hann_window(400)).padding(Pad::Zeros);
/// assert_eq!(Tensor::zeros([2, 16_000]).stft(&speech).dims()?, [2, 201, 101, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stft {
    size: usize,
    hop: Option<usize>,
    window: Option<Tensor>,
    /// What stands beyond both ends, where frames are centred.
    padding: Option<Pad>,
    unitary: bool,
}

impl Stft {
    /// Frames of `size` numbers, each a quarter of that further on than the one before; the first one's middle is the signal's
    /// first number, and beyond its ends the signal is mirrored. No window: all numbers of a frame count alike.
    ///
    /// ```
    /// use chainrule::{Stft, Tensor};
    /// assert_eq!(Tensor::zeros([1000]).stft(&Stft::new(200)).dims()?, [101, 21, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn new(size: usize) -> Stft {
        Stft { size, hop: None, window: None, padding: Some(Pad::Reflect), unitary: false }
    }
    /// How far it is from one frame to the next.
    #[doc(alias = "hop_length")]
    pub fn hop(self, hop: usize) -> Stft {
        Stft { hop: Some(hop), ..self }
    }
    /// What the numbers of a frame are multiplied with. A shorter window stands in the middle of the frame.
    #[doc(alias = "win_length")]
    pub fn window(self, window: &Tensor) -> Stft {
        Stft { window: Some(window.clone()), ..self }
    }
    /// What stands beyond the signal's ends: by default its mirror image.
    #[doc(alias = "pad_mode")]
    pub fn padding(self, padding: Pad) -> Stft {
        Stft { padding: Some(padding), ..self }
    }
    /// Frames lie inside of the signal: the first one begins where it does.
    pub fn uncentred(self) -> Stft {
        Stft { padding: None, ..self }
    }
    /// Spectra are divided by `√size`.
    #[doc(alias = "normalized")]
    pub fn unitary(self) -> Stft {
        Stft { unitary: true, ..self }
    }

    fn transform(&self, axis: isize) -> Fourier {
        if self.unitary { Fourier::along(axis).unitary() } else { Fourier::along(axis) }
    }
    /// The step between frames, and what each number of a frame is multiplied with: `[size, 1]` of this type.
    fn frame(&self, dtype: DType) -> Result<(usize, Tensor), Fault> {
        let Stft { size, hop, .. } = *self;
        let hop = hop.unwrap_or(size / 4);
        if size == 0 || hop == 0 {
            return Err(Fault::value(
                format!("frames of {size} numbers, {hop} apart"),
                "a frame has at least one number, and the next one begins at least one further on: give a hop where a quarter \
                 of the size is none",
            ));
        }
        let Some(window) = &self.window else { return Ok((hop, Tensor::ones([size, 1]).to_dtype(dtype))) };
        match window.shape() {
            Ok(shape) if shape.len() == 1 && (1..=size).contains(&shape[0]) => {
                let rest = (size - shape[0]) as isize;
                let window = window.to_dtype(dtype).pad(&[(rest / 2, rest - rest / 2)], Pad::Zeros);
                Ok((hop, window.unsqueeze(-1)))
            }
            Ok(shape) => Err(Fault::shape(
                format!("a window of shape {shape:?} for frames of {size} numbers"),
                format!("give a vector of 1 to {size} numbers, for example Tensor::hann_window({size})"),
            )),
            Err(error) => Ok((hop, Tensor::failed(error))),
        }
    }
}

/// The element type and the sizes, without those at the end, of which there are `N`; else what should be there.
fn split<const N: usize>(x: &Tensor, wanted: &str) -> Result<(DType, Vec<usize>, [usize; N]), Cause> {
    let (shape, dtype) = (x.shape()?, x.dtype()?);
    if !dtype.is_float() {
        let what = format!("spectra of {dtype} numbers are not defined");
        return Err(Cause::Fault(Fault::dtype(what, "convert to a float first: x.to_dtype(DType::F32)")));
    }
    match shape.split_last_chunk::<N>() {
        Some((front, last)) => Ok((dtype, front.to_vec(), *last)),
        None => Err(Cause::Fault(Fault::shape(format!("the input has {} axes", shape.len()), wanted.to_string()))),
    }
}

/// Why nothing comes out: something failed before, or what was asked for cannot be done.
enum Cause {
    Before(Error),
    Fault(Fault),
}

impl From<Error> for Cause {
    fn from(error: Error) -> Cause {
        Cause::Before(error)
    }
}

impl From<Fault> for Cause {
    fn from(fault: Fault) -> Cause {
        Cause::Fault(fault)
    }
}

impl Cause {
    #[track_caller]
    fn told(self, name: &'static str, input: &Tensor) -> Tensor {
        match self {
            Cause::Before(error) => Tensor::failed(error),
            Cause::Fault(fault) => refused(name, fault, &[input]),
        }
    }
}

impl Tensor {
    /// The spectra of a signal's frames: `[.., samples]` becomes `[.., size / 2 + 1, frames, 2]`, as in PyTorch (there with complex
    /// numbers). [`Stft`] says how it is cut.
    ///
    /// ```
    /// use chainrule::{Stft, Tensor};
    /// let time = Tensor::arange(8000) / 8000.0;
    /// let tone = (time * (1000.0 * std::f64::consts::TAU)).sin();
    /// let how = Stft::new(256).window(&Tensor::hann_window(256));
    /// let loudness = tone.stft(&how).norm_over(-1);
    /// // In a frame the loudest pair is that of 1000 waves a second: 1000 / 8000 of 256.
    /// assert_eq!(loudness.select(1, 60).argmax().item()?, 32.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn stft(&self, how: &Stft) -> Tensor {
        let ((dtype, front, [samples]), (hop, window)) = match both(split::<1>(self, "stft takes [.., samples]"), how) {
            Ok(all) => all,
            Err(cause) => return cause.told("stft", self),
        };
        let beyond = if how.padding.is_some() { how.size / 2 } else { 0 };
        if let Err(fault) = fits(samples, beyond, how) {
            return refused("stft", fault, &[self]);
        }
        let batch = front.iter().product::<usize>();
        let mut signal = self.reshape([batch, 1, samples]);
        if let Some(padding) = how.padding {
            signal = signal.pad(&[(beyond as isize, beyond as isize)], padding);
        }
        let frames = signal.unfold(Pool::new(how.size).stride(hop)) * window.near(self);
        let spectra = frames.to_dtype(dtype).rfft(how.transform(1));
        // Absurd sizes have failed before this.
        let count = samples.saturating_add(2 * beyond).saturating_sub(how.size) / hop + 1;
        spectra.reshape([front.as_slice(), &[how.size / 2 + 1, count, 2]].concat())
    }

    /// The signal that [`stft`](Tensor::stft) made these spectra of, `[.., size / 2 + 1, frames, 2]` to `[.., samples]`: frames are added
    /// up where they came from and divided by what their windows add up to. Without a length it ends in the middle of the last frame (where
    /// frames are not centred, with it); numbers beyond what frames reach are zeros.
    ///
    /// A number that no window reaches is an error; so the windows' sums are read, which waits for a GPU where the window is on one.
    ///
    /// ```
    /// use chainrule::{Stft, Tensor};
    /// let x = (Tensor::arange(500) * 0.1).sin();
    /// let how = Stft::new(64).window(&Tensor::hann_window(64));
    /// let again = x.stft(&how).istft(&how, 500);
    /// assert!((again - x).abs().max().item()? < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn istft(&self, how: &Stft, length: impl Into<Option<usize>>) -> Tensor {
        let wanted = "istft takes [.., size / 2 + 1, frames, 2]";
        let ((dtype, front, [pairs, count, parts]), (hop, window)) = match both(split::<3>(self, wanted), how) {
            Ok(all) => all,
            Err(cause) => return cause.told("istft", self),
        };
        let size = how.size;
        if parts != 2 || pairs != size / 2 + 1 || count == 0 {
            let what = format!("spectra of sizes [{pairs}, {count}, {parts}] at the end for frames of {size} numbers");
            let help = format!("give [.., {}, frames, 2], with at least one frame", size / 2 + 1);
            return refused("istft", Fault::shape(what, help), &[self]);
        }
        let whole = hop.saturating_mul(count - 1).saturating_add(size);
        let start = if how.padding.is_some() { size / 2 } else { 0 };
        let end = length.into().map_or(whole - start, |length| length.saturating_add(start));
        let reached = end.min(whole);
        if reached <= start {
            let what = format!("frames of {size} numbers, {hop} apart, {count} of them, reach no number of the signal");
            return refused("istft", Fault::value(what, "give more frames, or a length above 0"), &[self]);
        }
        let batch = front.iter().product::<usize>();
        let frames = self.reshape([batch, pairs, count, 2]).irfft(how.transform(1), size);
        let windows = Pool::new(size).stride(hop);
        let sums = window.square().unsqueeze(0).expand([1, size, count]).fold(whole, windows);
        let sums = sums.narrow(2, start, reached - start);
        match sums.detach().argmin().item().and_then(|at| Ok((at, sums.detach().min().item()?))) {
            Ok((at, least)) if least < 1e-11 => {
                let what = format!("no window reaches number {at} of the signal");
                let help = "frames must overlap where their windows are zero: take a smaller hop, or another window; a length ends the \
                            signal before the last frame does";
                return refused("istft", Fault::value(what, help), &[self]);
            }
            Ok(_) => {}
            Err(error) => return Tensor::failed(error),
        }
        let signal = (frames * window.near(self)).to_dtype(dtype).fold(whole, windows);
        let signal = signal.narrow(2, start, reached - start) / sums.near(self);
        let signal = signal.to_dtype(dtype).pad(&[(0, (end - reached) as isize)], Pad::Zeros);
        signal.reshape([front.as_slice(), &[end - start]].concat())
    }

    /// The window of von Hann, `½ - ½ cos(2π j / size)`: periodic, as spectra want it, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::hann_window(4).to_vec::<f32>()?, [0.0, 0.5, 1.0, 0.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn hann_window(size: usize) -> Tensor {
        raised_cosine(size, 0.5)
    }

    /// The window of Hamming, `0.54 - 0.46 cos(2π j / size)`: periodic, f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::hamming_window(2).to_vec::<f32>()?, [0.08, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn hamming_window(size: usize) -> Tensor {
        raised_cosine(size, 0.54)
    }
}

/// What is known of an input, and of its frames.
#[allow(clippy::type_complexity)] // two things side by side
fn both<const N: usize>(
    input: Result<(DType, Vec<usize>, [usize; N]), Cause>,
    how: &Stft,
) -> Result<((DType, Vec<usize>, [usize; N]), (usize, Tensor)), Cause> {
    let input = input?;
    let frame = how.frame(input.0)?;
    Ok((input, frame))
}

/// Is a signal long enough for one frame, and for what stands beyond its ends?
fn fits(samples: usize, beyond: usize, how: &Stft) -> Result<(), Fault> {
    let least = match how.padding {
        None => how.size,
        Some(Pad::Reflect) => beyond + 1,
        Some(Pad::Circular) => beyond.max(1),
        Some(_) => 1,
    };
    let least = least.max(how.size.saturating_sub(2 * beyond));
    if samples >= least {
        return Ok(());
    }
    Err(Fault::shape(
        format!("a signal of {samples} numbers is too short for frames of {}", how.size),
        match how.padding {
            Some(Pad::Reflect) => {
                format!("its mirror image needs {least}: give more, shorter frames, or padding(Pad::Zeros)")
            }
            _ => format!("it takes at least {least}: give more, or shorter frames"),
        },
    ))
}

/// `share - (1 - share) cos(2π j / size)`.
#[track_caller]
fn raised_cosine(size: usize, share: f64) -> Tensor {
    if size == 1 {
        return Tensor::ones([1]);
    }
    let angles = Tensor::arange(size).to_dtype(DType::F64) * (TAU / size as f64);
    (angles.cos() * (share - 1.0) + share).to_dtype(DType::F32)
}
