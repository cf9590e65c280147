//! Gradients held against finite differences.

use super::Tensor;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::DType;
use std::panic::Location;

/// How well the gradients of a function agree with finite differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientCheck {
    /// The largest relative disagreement over all inputs and directions.
    pub worst: f64,
    /// The input it was found at.
    pub input: usize,
    /// How many directions were compared.
    pub directions: usize,
}

/// Holds the gradients of `function` against central differences along random directions; f64 throughout.
///
/// The results are weighted by fixed pseudo-random numbers, so that every element of them counts. An error where the
/// disagreement exceeds `1e-5` (relative to the size of the derivative and of the numbers it is made of).
///
/// ```
/// use chainrule::{Tensor, gradcheck};
/// let x = Tensor::new([0.3f64, -0.7]);
/// let check = gradcheck(|x| x[0].sin() * &x[0], &[&x])?;
/// assert!(check.worst < 1e-7);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn gradcheck(function: impl Fn(&[Tensor]) -> Tensor, inputs: &[&Tensor]) -> Result<GradientCheck> {
    let at = Location::caller();
    let mut points = Vec::with_capacity(inputs.len());
    for input in inputs {
        points.push(if input.dtype()?.is_float() {
            input.detach().to_dtype(DType::F64).checked()?
        } else {
            input.detach()
        });
    }
    let leaves: Vec<Tensor> = points
        .iter()
        .map(|point| if point.dtype().is_ok_and(DType::is_float) { point.variable() } else { point.clone() })
        .collect();
    let result = function(&leaves);
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let weights: Vec<f64> = (0..result.count()?).map(|_| noise.next()).collect();
    let weight = Tensor::from_vec(weights.clone(), result.shape()?)?.to_dtype(result.dtype()?);
    let gradients = result.backward_from(&weight)?;
    let score = |points: &[Tensor]| -> Result<f64> {
        let numbers = super::no_grad(|| function(points)).to_vec::<f64>()?;
        Ok(numbers.iter().zip(&weights).map(|(y, w)| y * w).sum())
    };
    let mut check = GradientCheck { worst: 0.0, input: 0, directions: 0 };
    for (which, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| leaf.is_tracked()) {
        let gradient = match gradients.get(leaf) {
            Some(gradient) => gradient.to_vec::<f64>()?,
            None => vec![0.0; leaf.count()?],
        };
        let numbers = points[which].to_vec::<f64>()?;
        for _ in 0..3 {
            let direction: Vec<f64> = numbers.iter().map(|_| noise.next()).collect();
            let analytic: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let size: f64 = gradient.iter().zip(&direction).map(|(g, d)| (g * d).abs()).sum();
            let along = |step: f64| -> Result<f64> {
                let moved: Vec<f64> = numbers.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                let mut at_step = points.clone();
                at_step[which] = Tensor::from_vec(moved, leaf.shape()?)?;
                score(&at_step)
            };
            // Two central differences, extrapolated: the error is of fourth order in the step.
            let difference = |step: f64| -> Result<f64> { Ok((along(step)? - along(-step)?) / (2.0 * step)) };
            let numeric = (4.0 * difference(5e-4)? - difference(1e-3)?) / 3.0;
            let off = (analytic - numeric).abs() / (1e-3 + size.max(numeric.abs()));
            check.directions += 1;
            if off > check.worst || off.is_nan() {
                (check.worst, check.input) = (off, which);
            }
            if off > 1e-5 || off.is_nan() {
                let what = format!(
                    "the gradient of input {which} gives {analytic:e} along a direction, differences {numeric:e}"
                );
                let help = "look at the operation's gradient; near a kink or a jump both may be right, move the inputs";
                return Err(Error::with(
                    "gradcheck",
                    Fault::new(ErrorKind::Gradient, what, help),
                    super::apply::operands_of(inputs),
                    at,
                ));
            }
        }
    }
    Ok(check)
}

/// Repeatable numbers in -1 ..= 1 for directions; their quality is of no importance here.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}
