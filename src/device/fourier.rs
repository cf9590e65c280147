//! Discrete Fourier transforms. A complex number is a pair along the last axis: its real part, then its imaginary part.

use super::Value;
use crate::error::Fault;
use crate::layout::{DType, Shape};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2};

/// What goes in and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Pairs to pairs: `yₖ = Σ xⱼ e^(-2πi jk / n)`.
    Forward,
    /// Pairs to pairs: `yⱼ = Σ xₖ e^(2πi jk / n)`.
    Back,
    /// Numbers to the first `n / 2 + 1` pairs of `Forward`. The others are these again, mirrored and conjugate.
    Half,
    /// So many pairs to numbers: `yⱼ = Σ Re(xₖ e^(2πi jk / n))` over the pairs that are there.
    Real,
}

impl Form {
    /// The form of the gradient: each form is linear, and this is its transpose.
    pub fn turned(self) -> Form {
        match self {
            Form::Forward => Form::Back,
            Form::Back => Form::Forward,
            Form::Half => Form::Real,
            Form::Real => Form::Half,
        }
    }
}

/// A transform along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// What goes in and what comes out.
    pub form: Form,
    /// The axis; that of the pairs is not counted.
    pub axis: usize,
    /// How many numbers or pairs there are along it (`n`): of a half spectrum, those that it is half of.
    pub length: usize,
    /// What the sums are multiplied with.
    pub scale: f64,
    /// Pairs of a half spectrum that stand for two count twice, be it in `Half` or in `Real`: all but the first and, where `n` is
    /// even, the last.
    pub twice: bool,
}

impl Transform {
    /// The pairs of a half spectrum.
    pub fn half(&self) -> usize {
        self.length / 2 + 1
    }
    /// How much pair `k` of a half spectrum counts.
    pub(in crate::device) fn weight(&self, k: usize) -> f64 {
        if self.twice && k > 0 && 2 * k != self.length { 2.0 } else { 1.0 }
    }
    /// The numbers before the axis, along it and behind it, and the shape of the result.
    pub(in crate::device) fn plan(&self, x: &Value) -> Result<Walk, Fault> {
        let pairs = self.form != Form::Half;
        let (dims, given) = match x.dims() {
            [dims @ .., 2] if pairs => (dims, if self.form == Form::Real { self.half() } else { self.length }),
            dims => (dims, if pairs { usize::MAX } else { self.length }),
        };
        if dims.get(self.axis) != Some(&given) || self.length == 0 {
            return Err(Fault::defect(format!("{self:?} of {:?}", x.dims())));
        }
        let mut sizes = dims.to_vec();
        match self.form {
            Form::Half => sizes[self.axis] = self.half(),
            Form::Real => sizes[self.axis] = self.length,
            Form::Forward | Form::Back => {}
        }
        if self.form != Form::Real {
            sizes.push(2);
        }
        let of = |sizes: &[usize]| sizes.iter().product();
        Ok(Walk { outer: of(&dims[..self.axis]), inner: of(&dims[self.axis + 1..]), shape: Shape::new(&sizes)? })
    }
}

/// The way through a value: transforms before and behind the axis, and the shape of the result.
pub(in crate::device) struct Walk {
    pub(in crate::device) outer: usize,
    pub(in crate::device) inner: usize,
    pub(in crate::device) shape: Shape,
}

/// The kernel of Fourier transforms: of f32 and f64 in their own precision; bf16 and f16 go through f32 and are rounded once.
pub trait Fourier {
    /// The transform; the result is dense.
    fn transform(&self, x: &Value, how: &Transform) -> Result<Value, Fault>;
}

/// Only floats are transformed.
#[cold]
pub(in crate::device) fn no_spectrum(dtype: DType) -> Fault {
    Fault::dtype(
        format!("a Fourier transform of {dtype} numbers is not defined"),
        "convert to a float first: x.to_dtype(DType::F32)",
    )
}

/// Cosine and sine of `2π k / n`, as exact as f64 holds them: the angle that is asked for is an eighth of a turn at most.
pub(in crate::device) fn wave(k: usize, n: usize) -> [f64; 2] {
    let (k, n) = ((k % n) as i128, n as i128);
    // From the nearest quarter of a turn on.
    let quarter = (8 * k + n) / (2 * n);
    let rest = (4 * k - quarter * n) as f64 / n as f64;
    let (sine, cosine) = match rest {
        // An eighth of a turn has two that are alike.
        -0.5 => (-FRAC_1_SQRT_2, FRAC_1_SQRT_2),
        _ => (FRAC_PI_2 * rest).sin_cos(),
    };
    match quarter % 4 {
        0 => [cosine, sine],
        1 => [-sine, cosine],
        2 => [-cosine, -sine],
        _ => [sine, -cosine],
    }
}
