//! Fourier transforms: a signal as a sum of waves, and back.
//!
//! There is no complex element type: a complex number is a pair, real part and imaginary part, along a last axis of size 2.

use crate::device::fourier::{Form, Fourier as _, Transform};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Axis;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// How a Fourier transform is done: along which axis, and where the factor `1 / n` goes that a way forth and back leaves. An
/// axis alone says it with the factor on the way back.
///
/// Axes are counted as if each pair were one number: of pairs `[batch, time, 2]` the time is axis 1, and axis -1.
///
/// ```
/// use chainrule::{Fourier, Tensor};
/// let x = Tensor::from([3.0, 4.0]);
/// assert_eq!(x.rfft(0).to_vec::<f32>()?, [7.0, 0.0, -1.0, 0.0]);
/// assert_eq!(x.rfft(Fourier::along(0).averaged()).to_vec::<f32>()?, [3.5, 0.0, -0.5, 0.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fourier {
    axis: isize,
    norm: Norm,
}

/// Where the factor stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Norm {
    Back,
    Both,
    Forward,
}

impl<A: Axis> From<A> for Fourier {
    fn from(axis: A) -> Fourier {
        Fourier::along(axis)
    }
}

impl Fourier {
    /// Along this axis: sums on the way forward, and on the way back divided by `n`.
    ///
    /// ```
    /// use chainrule::{Fourier, Tensor};
    /// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.rfft(Fourier::along(-1)), x.rfft(-1));
    /// ```
    pub fn along(axis: impl Axis) -> Fourier {
        Fourier { axis: axis.number(), norm: Norm::Back }
    }
    /// Both ways divided by `√n`: then a spectrum has as much energy as its signal.
    ///
    /// ```
    /// use chainrule::{Fourier, Tensor};
    /// let pairs = Tensor::from([[3.0, 0.0], [0.0, 4.0]]);
    /// let spectrum = pairs.fft(Fourier::along(0).unitary());
    /// assert!((spectrum.square().sum().item()? - 25.0).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "ortho")]
    pub fn unitary(self) -> Fourier {
        Fourier { norm: Norm::Both, ..self }
    }
    /// Forward divided by `n`, back not: then number 0 of a spectrum is the mean.
    ///
    /// ```
    /// use chainrule::{Fourier, Tensor};
    /// let spectrum = Tensor::from([1.0, 2.0, 6.0]).rfft(Fourier::along(0).averaged());
    /// assert_eq!(spectrum.select(0, 0), Tensor::from([3.0, 0.0]));
    /// ```
    pub fn averaged(self) -> Fourier {
        Fourier { norm: Norm::Forward, ..self }
    }
    /// The factor of one way.
    fn scale(self, n: usize, back: bool) -> f64 {
        match (self.norm, back) {
            (Norm::Back, true) | (Norm::Forward, false) => 1.0 / n as f64,
            (Norm::Both, _) => 1.0 / (n as f64).sqrt(),
            _ => 1.0,
        }
    }
}

/// A transform as a caller wrote it.
#[derive(Clone, Copy, Debug)]
struct Transforms {
    form: Form,
    how: Fourier,
    /// Of a half spectrum: what it is half of.
    length: Option<usize>,
}

impl Transforms {
    /// With sizes that are known, and fit.
    fn resolved(&self, dims: &[usize]) -> Result<Transform, Fault> {
        let pairs = self.form != Form::Half;
        let rank = match dims {
            [.., 2] if pairs => dims.len() - 1,
            _ if pairs => {
                return Err(Fault::shape(
                    format!("the last axis of {dims:?} does not hold pairs"),
                    "a complex number is a pair along a last axis of size 2: real part, imaginary part; rfft takes numbers",
                ));
            }
            _ => dims.len(),
        };
        if rank == 0 {
            return Err(Fault::shape(
                "a single number has no axis to be transformed along",
                if pairs { "give pairs [.., n, 2]" } else { "give at least one axis, for example with unsqueeze(0)" },
            ));
        }
        let axis = self.how.axis.resolve(rank)?;
        let given = dims[axis];
        if given == 0 {
            return Err(Fault::shape(
                format!("axis {axis} has no elements to be transformed"),
                "a transform takes at least one; only other axes may be empty",
            ));
        }
        let length = self.length.unwrap_or(given);
        if self.form == Form::Real && (length == 0 || length / 2 + 1 != given) {
            let shorter = 2 * (given - 1);
            return Err(Fault::shape(
                format!("a spectrum of {given} pairs is not half of one of {length}"),
                match shorter {
                    0 => "1 pair is the spectrum of 1 number".to_string(),
                    _ => format!("{given} pairs are the spectrum of {shorter} or of {} numbers", shorter + 1),
                },
            ));
        }
        let back = matches!(self.form, Form::Back | Form::Real);
        let scale = self.how.scale(length, back);
        Ok(Transform { form: self.form, axis, length, scale, twice: self.form == Form::Real })
    }
}

impl Op for Transforms {
    fn name(&self) -> &'static str {
        match self.form {
            Form::Forward => "fft",
            Form::Back => "ifft",
            Form::Half => "rfft",
            Form::Real => "irfft",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), transform(x, &self.resolved(x.dims())?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match self.resolved(call.dims(0)) {
            Ok(way) => apply(Turned(Transform { form: way.form.turned(), ..way }), [&arriving[0]]),
            Err(fault) => Tensor::failed(call.error(fault)),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        match self.form {
            Form::Forward | Form::Half => "∂L/∂xⱼ = Σ of ∂L/∂yₖ, turned the other way",
            Form::Back | Form::Real => "∂L/∂xₖ = Σ of ∂L/∂yⱼ, turned the other way",
        }
    }
}

/// The transpose of a transform, which is one with the same factors; and so is its own.
#[derive(Debug)]
struct Turned(Transform);

impl Op for Turned {
    fn name(&self) -> &'static str {
        "fourier_gradient"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), transform(inputs[0], &self.0))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Turned(Transform { form: self.0.form.turned(), ..self.0 }), [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, turned the other way"
    }
}

impl Tensor {
    /// The spectrum of real numbers along an axis: of `n` numbers the pairs `yₖ = Σ xⱼ e^(-2πi jk / n)` for k from 0 to n / 2, so
    /// `[.., n, ..]` becomes `[.., n / 2 + 1, .., 2]`. The others mirror these. [`irfft`](Tensor::irfft) leads back, and
    /// [`Fourier`] says where the factor goes.
    ///
    /// A second of a tone at 8000 numbers a second; pair k stands for k waves in that second:
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let time = Tensor::arange(8000) / 8000.0;
    /// let tone = (time * (440.0 * std::f64::consts::TAU)).sin();
    /// let loudness = tone.rfft(0).norm_over(-1);
    /// assert_eq!(loudness.dims()?, [4001]);
    /// assert_eq!(loudness.argmax().item()?, 440.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rfft(&self, how: impl Into<Fourier>) -> Tensor {
        apply(Transforms { form: Form::Half, how: how.into(), length: None }, [self])
    }

    /// The real numbers that have this half spectrum: `[.., n / 2 + 1, .., 2]` becomes `[.., n, ..]`, divided by `n`. How many they
    /// are has to be said, since n and n + 1 may have as many pairs. Imaginary parts that a real signal's spectrum cannot have (of pair
    /// 0, and of pair n / 2 where n is even) count nothing.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0, 5.0, 0.0, 2.0]);
    /// let smooth = x.rfft(0) * Tensor::from([[1.0], [0.5], [0.0]]);
    /// assert_eq!(smooth.irfft(0, 4).to_vec::<f32>()?, [2.25, 2.75, 1.75, 1.25]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn irfft(&self, how: impl Into<Fourier>, length: usize) -> Tensor {
        apply(Transforms { form: Form::Real, how: how.into(), length: Some(length) }, [self])
    }

    /// The spectrum of complex numbers along an axis, `yₖ = Σ xⱼ e^(-2πi jk / n)`: pairs `[.., n, .., 2]` of real and imaginary
    /// parts, and as many come out.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// // One turn in four steps is pure frequency 1.
    /// let turn = Tensor::from([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]);
    /// assert_eq!(turn.fft(0), Tensor::from([[0.0, 0.0], [4.0, 0.0], [0.0, 0.0], [0.0, 0.0]]));
    /// ```
    #[track_caller]
    pub fn fft(&self, how: impl Into<Fourier>) -> Tensor {
        apply(Transforms { form: Form::Forward, how: how.into(), length: None }, [self])
    }

    /// The complex numbers that have this spectrum, `xⱼ = Σ yₖ e^(2πi jk / n) / n`: pairs `[.., n, .., 2]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let pairs = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(pairs.fft(0).ifft(0), pairs);
    /// ```
    #[track_caller]
    pub fn ifft(&self, how: impl Into<Fourier>) -> Tensor {
        apply(Transforms { form: Form::Back, how: how.into(), length: None }, [self])
    }

    /// The spectrum of pictures `[.., height, width]`: pairs `[.., height, width / 2 + 1, 2]`. Other axes and factors are two
    /// transforms in turn: `x.rfft(-1).fft(-2)` is this.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let spectrum = Tensor::ones([3, 5]).rfft2();
    /// assert_eq!(spectrum.dims()?, [3, 3, 2]);
    /// assert_eq!(spectrum.select(0, 0).select(0, 0), Tensor::from([15.0, 0.0]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rfft2(&self) -> Tensor {
        self.rfft(-1).fft(-2)
    }

    /// The pictures `[.., height, width]` of this width that have this spectrum.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0, 4.0], [0.0, 0.0, 2.0]]);
    /// assert!((x.rfft2().irfft2(3) - &x).abs().max().item()? < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn irfft2(&self, width: usize) -> Tensor {
        self.ifft(-2).irfft(-1, width)
    }

    /// The spectrum of complex pictures: pairs `[.., height, width, 2]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::ones([4, 4, 2]).fft2().select(0, 0).select(0, 0), Tensor::from([16.0, 16.0]));
    /// ```
    #[track_caller]
    pub fn fft2(&self) -> Tensor {
        self.fft(-1).fft(-2)
    }

    /// The complex pictures that have this spectrum.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let pairs = Tensor::from([[[1.0, 2.0], [3.0, 4.0]]]);
    /// assert_eq!(pairs.fft2().ifft2(), pairs);
    /// ```
    #[track_caller]
    pub fn ifft2(&self) -> Tensor {
        self.ifft(-2).ifft(-1)
    }
}
