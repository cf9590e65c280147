//! Rotary positions: where a token stands, told by an angle.

use crate::device::rotary::{Rotate as _, Rotation, Slowing};
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
    scaling: Option<RotaryScaling>,
}

/// How positions beyond those of the training are made like them: pairs turn more slowly. What model files call
/// `rope_scaling`.
///
/// ```
/// use chainrule::{Rotary, RotaryScaling, Tensor};
/// // Llama 3.1: the fast pairs stay, the slow ones turn an eighth as fast.
/// let scaling = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 };
/// let llama = Rotary::new().with_base(500_000.0).with_scaling(scaling);
/// assert_eq!(Tensor::ones([2, 64]).rotary(9000, llama).dims()?, [2, 64]);
///
/// // Evenly slowed, position 6 is what position 3 was.
/// let half = Rotary::new().with_scaling(RotaryScaling::Linear { factor: 2.0 });
/// let x = Tensor::from([[1.0, 0.5]]);
/// assert_eq!(x.rotary(6, half), x.rotary(3, Rotary::new()));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RotaryScaling {
    /// All pairs turn so many times as slowly (`linear`).
    ///
    /// Chen and others: "Extending context window of large language models via position interpolation", 2023.
    Linear {
        /// How many times as slowly.
        factor: f64,
    },
    /// A greater base, so that the slowest pair turns so many times as slowly and the fastest as before: the base times
    /// `factor^(width / (width - 2))`.
    Ntk {
        /// How many times as slowly the slowest pair turns.
        factor: f64,
    },
    /// Pairs that turn around more than `high` times in the `original` positions stay; those that do so less than `low` times turn
    /// `factor` times as slowly; between them it goes over evenly (`llama3`).
    Llama3 {
        /// How many times as slowly the slow pairs turn.
        factor: f64,
        /// Turns up to which a pair is slow: `low_freq_factor`.
        low: f64,
        /// Turns from which a pair is fast: `high_freq_factor`.
        high: f64,
        /// Positions that the model was first trained for: `original_max_position_embeddings`.
        original: usize,
    },
    /// The same from 1 turn to 32, evenly from pair to pair, and all turned numbers are longer by `0.1 ln factor + 1` (`yarn`).
    ///
    /// Peng and others: "YaRN: efficient context window extension of large language models", 2023.
    Yarn {
        /// How many times as slowly the slow pairs turn.
        factor: f64,
        /// Positions that the model was first trained for: `original_max_position_embeddings`.
        original: usize,
    },
}

impl RotaryScaling {
    /// The base, and how pairs are slowed, of so many numbers.
    fn of(self, base: f64, width: usize) -> Result<(f64, Slowing), Fault> {
        let (RotaryScaling::Linear { factor }
        | RotaryScaling::Ntk { factor }
        | RotaryScaling::Llama3 { factor, .. }
        | RotaryScaling::Yarn { factor, .. }) = self;
        let turns = std::f64::consts::TAU;
        let in_order = match self {
            RotaryScaling::Llama3 { low, high, original, .. } => low < high && (high - low).is_finite() && original > 0,
            RotaryScaling::Yarn { original, .. } => original > 0 && base > 1.0 && base.is_finite(),
            _ => true,
        };
        if !(factor > 0.0 && factor.is_finite() && in_order) {
            return Err(Fault::value(
                format!("{self:?} of a base of {base}"),
                "the factor is above 0, low is below high, there are original positions, and yarn takes a base above 1",
            ));
        }
        let slowed = Slowing { slow: 1.0 / factor, start: 0.0, ..Slowing::NONE };
        Ok(match self {
            RotaryScaling::Linear { .. } => (base, slowed),
            RotaryScaling::Ntk { .. } if width > 2 => {
                (base * factor.powf(width as f64 / (width as f64 - 2.0)), Slowing::NONE)
            }
            RotaryScaling::Ntk { .. } => (base, Slowing::NONE),
            // A pair of speed s turns around s · original / 2π times.
            RotaryScaling::Llama3 { low, high, original, .. } => {
                let (rise, start) = (original as f64 / turns / (high - low), -low / (high - low));
                (base, Slowing { rise, start, ..slowed })
            }
            RotaryScaling::Yarn { original, .. } => {
                // The pair that turns around so many times.
                let pair = |times: f64| width as f64 * (original as f64 / (times * turns)).ln() / (2.0 * base.ln());
                let (fast, slow) = (pair(32.0).floor().max(0.0), pair(1.0).ceil().min(width as f64 - 1.0));
                let over = if fast == slow { 0.001 } else { slow - fast };
                let amplitude = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
                (base, Slowing { start: 1.0 + fast / over, rise: -1.0 / over, by_pair: true, amplitude, ..slowed })
            }
        })
    }
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
        Rotary { base: 10_000.0, fraction: 1.0, interleaved: false, scaling: None }
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
    /// Positions are more than a model was trained for: pairs turn more slowly.
    #[doc(alias = "rope_scaling")]
    pub fn with_scaling(self, scaling: RotaryScaling) -> Rotary {
        Rotary { scaling: Some(scaling), ..self }
    }
}

/// The operation. Its gradient is the rotation back.
#[derive(Clone, Copy, Debug)]
struct Rotates {
    how: Rotary,
    first: usize,
    back: bool,
}

/// Beyond this f64 does not hold every whole number.
const FURTHEST: usize = 1 << 53;

impl Op for Rotates {
    fn name(&self) -> &'static str {
        "rotary"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let &[.., positions, width] = x.dims() else {
            return Err(Fault::shape(
                format!("{} axes have no positions", x.rank()),
                "rotary takes [.., positions, width]",
            ));
        };
        if self.first.saturating_add(positions) > FURTHEST {
            return Err(Fault::value(
                format!("a first position of {}", self.first),
                "positions are counted up to 2^53, beyond which an angle could not tell neighbours apart",
            ));
        }
        let Rotary { base, fraction, interleaved, scaling } = self.how;
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
        let (base, slowing) = scaling.map_or(Ok((base, Slowing::NONE)), |scaling| scaling.of(base, turned))?;
        let how = Rotation { first: self.first, base, width: turned, interleaved, back: self.back, slowing };
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
