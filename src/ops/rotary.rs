//! Rotary positions: where a token stands, told by an angle.

use crate::device::rotary::{Rotate as _, Rotation};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// How [`rotary`](Tensor::rotary) turns pairs of numbers: pair `i` at position `p` by the angle `p · base^(-2i / width)`.
///
/// ```
/// use chainrule::Rotary;
/// let neox = Rotary::new().with_fraction(0.25);
/// let original = Rotary::new().interleaved();
/// let long = Rotary::new().with_base(500_000.0);
/// # let _ = (neox, original, long);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    base: f64,
    fraction: f64,
    interleaved: bool,
}

impl Default for Rotary {
    fn default() -> Rotary {
        Rotary::new()
    }
}

impl Rotary {
    /// Base 10 000, all numbers turned, number `i` of the first half with number `i` of the second.
    ///
    /// ```
    /// assert_eq!(chainrule::Rotary::new(), chainrule::Rotary::default());
    /// ```
    pub fn new() -> Rotary {
        Rotary { base: 10_000.0, fraction: 1.0, interleaved: false }
    }
    /// Another base: the greater, the slower the last pairs turn, and the longer a text may be.
    pub fn with_base(self, base: f64) -> Rotary {
        Rotary { base, ..self }
    }
    /// Only this part of the numbers is turned, the first of them.
    pub fn with_fraction(self, fraction: f64) -> Rotary {
        Rotary { fraction, ..self }
    }
    /// Pairs are neighbours: numbers 0 and 1, 2 and 3, ...
    pub fn interleaved(self) -> Rotary {
        Rotary { interleaved: true, ..self }
    }
}

/// The operation. Its gradient is the rotation back.
#[derive(Clone, Copy, Debug)]
struct Rotates {
    how: Rotary,
    first: usize,
    back: bool,
}

impl Op for Rotates {
    fn name(&self) -> &'static str {
        "rotary"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let &[.., _, width] = x.dims() else {
            return Err(Fault::shape(
                format!("{} axes have no positions", x.rank()),
                "rotary takes [.., positions, width]",
            ));
        };
        let Rotary { base, fraction, interleaved } = self.how;
        if !(0.0..=1.0).contains(&fraction) || base.is_nan() || base <= 0.0 {
            return Err(Fault::value(
                format!("a fraction of {fraction} and a base of {base}"),
                "the fraction is from 0 to 1, the base above 0",
            ));
        }
        // The nearest whole number below, but a product such as 0.7 · 10 must not lose one by rounding.
        let turned = (fraction * width as f64 + 1e-9) as usize;
        if turned % 2 == 1 {
            return Err(Fault::shape(
                format!("{turned} of {width} numbers do not fall into pairs"),
                "the width of a head, times the fraction, must be even",
            ));
        }
        let how = Rotation { first: self.first, base, width: turned, interleaved, back: self.back };
        one(on!(x.device(), rotate(x, how))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Rotates { back: !self.back, ..*self }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, turned back"
    }
}

impl Tensor {
    /// Rows `[.., positions, width]` turned by their positions, the first of which is `first`: a scalar product of two turned
    /// rows depends on how far they are apart, not on where they stand.
    ///
    /// Su and others: "RoFormer: enhanced transformer with rotary position embedding", 2021.
    ///
    /// ```
    /// use chainrule::{Rotary, Tensor};
    /// let x = Tensor::from([[1.0, 0.0], [1.0, 0.0]]);
    /// let y = x.rotary(0, Rotary::new()).to_vec::<f64>()?;
    /// assert_eq!(y[..2], [1.0, 0.0]);
    /// assert!((y[2] - 1f64.cos()).abs() < 1e-6 && (y[3] - 1f64.sin()).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("rope", "rotary_embedding"))]
    pub fn rotary(&self, first: usize, how: Rotary) -> Tensor {
        apply(Rotates { how, first, back: false }, [self])
    }
}
