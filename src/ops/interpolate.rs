//! Resizing: every kind of interpolation is one linear map along each axis.

use super::pool::{Blended, Blending, each_axis};
use super::spatial::{MOST, PerAxis, axis_name};
use crate::device::window::{Blend, Span};
use crate::error::Fault;
use crate::layout::{DType, Shape, Sizes};
use crate::op::apply;
use crate::tensor::Tensor;

/// How a result between elements is found.
///
/// ```
/// use chainrule::{Interpolation, Resize, Tensor};
/// let x = Tensor::from([[[0.0, 4.0]]]);
/// let resize = Resize::to(4);
/// assert_eq!(x.interpolate(resize).to_vec::<f32>()?, [0.0, 0.0, 4.0, 4.0]);
/// assert_eq!(x.interpolate(resize.mode(Interpolation::Linear)).to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Interpolation {
    /// The element at `floor(i · scale)`.
    #[default]
    Nearest,
    /// The element whose centre is nearest: at `floor((i + ½) · scale)`.
    NearestExact,
    /// On the line between two neighbours; over two axes bilinear, over three trilinear.
    Linear,
    /// On the cubic through four neighbours (Keys, a = -¾); over two axes bicubic.
    Cubic,
    /// The average of the elements covered, as adaptive average pooling.
    Area,
}

/// A resizing: to sizes or by factors, and how.
///
/// ```
/// use chainrule::{Interpolation, Resize, Tensor};
/// let image = Tensor::ones([1, 3, 10, 20]);
/// assert_eq!(image.interpolate(Resize::to([5, 40])).dims()?, [1, 3, 5, 40]);
/// assert_eq!(image.interpolate(Resize::by(1.5).mode(Interpolation::Cubic)).dims()?, [1, 3, 15, 30]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    target: Target,
    mode: Interpolation,
    align_corners: bool,
    antialias: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Sizes(PerAxis),
    Factors { count: usize, factors: [f64; 3] },
}

impl Resize {
    fn new(target: Target) -> Resize {
        Resize { target, mode: Interpolation::Nearest, align_corners: false, antialias: false }
    }
    /// To these spatial sizes.
    ///
    /// ```
    /// use chainrule::{Resize, Tensor};
    /// assert_eq!(Tensor::ones([1, 1, 3]).interpolate(Resize::to(7)).dims()?, [1, 1, 7]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn to(sizes: impl Sizes) -> Resize {
        Resize::new(Target::Sizes(PerAxis::new(sizes)))
    }
    /// By one factor for all axes: a size becomes `floor(size · factor)`.
    ///
    /// ```
    /// use chainrule::{Resize, Tensor};
    /// assert_eq!(Tensor::ones([1, 1, 3, 5]).interpolate(Resize::by(2.5)).dims()?, [1, 1, 7, 12]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "scale_factor")]
    pub fn by(factor: f64) -> Resize {
        Resize::by_each(&[factor])
    }
    /// By a factor for each axis.
    ///
    /// ```
    /// use chainrule::{Resize, Tensor};
    /// assert_eq!(Tensor::ones([1, 1, 3, 5]).interpolate(Resize::by_each(&[2.0, 1.0])).dims()?, [1, 1, 6, 5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn by_each(factors: &[f64]) -> Resize {
        let mut all = [0.0; 3];
        for (to, &factor) in all.iter_mut().zip(factors) {
            *to = factor;
        }
        Resize::new(Target::Factors { count: factors.len(), factors: all })
    }
    /// How results are found; [`Interpolation::Nearest`] without it.
    ///
    /// ```
    /// use chainrule::{Interpolation, Resize, Tensor};
    /// let half = Resize::by(0.5).mode(Interpolation::Area);
    /// assert_eq!(Tensor::from([[[1.0, 3.0, 5.0, 5.0]]]).interpolate(half).to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn mode(self, mode: Interpolation) -> Resize {
        Resize { mode, ..self }
    }
    /// The first and last elements of an axis stay the first and last (linear and cubic only).
    ///
    /// ```
    /// use chainrule::{Interpolation, Resize, Tensor};
    /// let resize = Resize::to(3).mode(Interpolation::Linear).align_corners();
    /// assert_eq!(Tensor::from([[[0.0, 4.0]]]).interpolate(resize).to_vec::<f32>()?, [0.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn align_corners(self) -> Resize {
        Resize { align_corners: true, ..self }
    }
    /// Where the result is smaller, each of its elements is a weighted average of all the elements it covers, so that fine
    /// patterns are blurred, not broken (linear and cubic only; the cubic is Keys' with a = -½, as in PyTorch and Pillow).
    ///
    /// ```
    /// use chainrule::{Interpolation, Resize, Tensor};
    /// let spot = Tensor::from([[[0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0]]]);
    /// let half = Resize::by(0.5).mode(Interpolation::Linear);
    /// assert_eq!(spot.interpolate(half).to_vec::<f32>()?, [0.0, 4.0, 0.0, 0.0]);
    /// assert_eq!(spot.interpolate(half.antialias()).to_vec::<f32>()?, [0.0, 3.0, 1.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn antialias(self) -> Resize {
        Resize { antialias: true, ..self }
    }

    /// The size of the result along an axis, and the step in the input from one result to the next.
    fn axis(&self, axis: usize, axes: usize, size: usize) -> Result<(usize, f64), Fault> {
        let (count, factor) = match self.target {
            Target::Sizes(sizes) => (sizes.resolve("size", axes, 1, 1)?[axis], None),
            Target::Factors { count, factors } => {
                if count != 1 && count != axes {
                    return Err(Fault::value(
                        format!("{count} factors for {axes} axes"),
                        format!("give one factor for all of them, or {axes}"),
                    ));
                }
                let factor = factors[if count == 1 { 0 } else { axis + axes - 3 }];
                let result = (size as f64 * factor).floor();
                if !(result >= 1.0 && result <= MOST as f64) {
                    return Err(Fault::value(
                        format!("a factor of {factor} takes the {} of {size} to {result}", axis_name(axis)),
                        format!("the result needs at least one element along each axis, and at most {MOST}"),
                    ));
                }
                (result as usize, Some(factor))
            }
        };
        if size == 0 {
            return Err(Fault::shape(
                format!("the {} is 0", axis_name(axis)),
                "there is nothing to interpolate between: check what made the input empty",
            ));
        }
        let step = match factor {
            _ if self.align_corners => {
                if count > 1 {
                    (size - 1) as f64 / (count - 1) as f64
                } else {
                    0.0
                }
            }
            Some(factor) => 1.0 / factor,
            None => size as f64 / count as f64,
        };
        Ok((count, step))
    }

    fn blend(&self, size: usize, count: usize, step: f64, rounded: impl Fn(f64) -> f64) -> Result<Blend, Fault> {
        let last = size - 1;
        let clamp = |at: f64| at.clamp(0.0, last as f64) as usize;
        // The place of result i among the elements.
        let place = |i: usize| {
            if self.align_corners {
                rounded(step * i as f64)
            } else {
                rounded(rounded(step * rounded(i as f64 + 0.5)) - 0.5)
            }
        };
        if self.antialias {
            return Blend::new(size, (0..count).map(|i| self.covered(size, step, i, &rounded)));
        }
        match self.mode {
            Interpolation::Nearest => {
                Blend::new(size, (0..count).map(|i| [(clamp(rounded(i as f64 * step).floor()), 1.0)]))
            }
            Interpolation::NearestExact => {
                Blend::new(size, (0..count).map(|i| [(clamp(rounded((i as f64 + 0.5) * step).floor()), 1.0)]))
            }
            Interpolation::Linear => Blend::new(
                size,
                (0..count).map(|i| {
                    let at = place(i).max(0.0);
                    let first = clamp(at.floor());
                    let part = (at - first as f64).clamp(0.0, 1.0);
                    [(first, 1.0 - part), ((first + 1).min(last), part)]
                }),
            ),
            Interpolation::Cubic => Blend::new(
                size,
                (0..count).map(|i| {
                    let at = place(i);
                    let first = at.floor();
                    let weights = cubic(at - first);
                    std::array::from_fn::<_, 4, _>(|tap| (clamp(first - 1.0 + tap as f64), weights[tap]))
                }),
            ),
            Interpolation::Area => {
                let span = Span::Adaptive { size, count };
                Blend::new(
                    size,
                    (0..count).map(|i| {
                        let (first, length, _) = span.window(i);
                        (first..first + length).map(move |at| (at, 1.0 / length as f64))
                    }),
                )
            }
        }
    }
}

impl Resize {
    /// The elements that result `i` covers, with weights that fall off to both sides and sum to 1.
    fn covered(&self, size: usize, step: f64, i: usize, rounded: &impl Fn(f64) -> f64) -> Vec<(usize, f64)> {
        let taps = if self.mode == Interpolation::Cubic { 4.0 } else { 2.0 };
        let (reach, shrink) = if step >= 1.0 { (0.5 * taps * step, 1.0 / step) } else { (0.5 * taps, 1.0) };
        let (reach, shrink) = (rounded(reach), rounded(shrink));
        let centre = rounded(step * rounded(i as f64 + 0.5));
        // (A cast from a negative number gives 0.)
        let first = rounded(rounded(centre - reach) + 0.5) as usize;
        let end = (rounded(rounded(centre + reach) + 0.5) as usize).min(size);
        let weight = |at: usize| self.falling(rounded((at as f64 - centre + 0.5) * shrink));
        let total: f64 = (first..end).map(weight).sum();
        (first..end).map(|at| (at, if total == 0.0 { 0.0 } else { weight(at) / total })).collect()
    }
    /// The weight at a distance of `x` elements: a triangle, or Keys' cubic with a = -½.
    fn falling(&self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self.mode {
            Interpolation::Cubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Interpolation::Cubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Interpolation::Cubic => 0.0,
            _ => (1.0 - x).max(0.0),
        }
    }
}

/// The weights of four neighbours at `t` between the second and the third: Keys' cubic convolution with a = -¾.
fn cubic(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

/// A resizing of one element type: places are computed in that type, as everywhere in the field.
#[derive(Debug)]
struct Resizing {
    resize: Resize,
    dtype: DType,
}

impl Blending for Resizing {
    fn name(&self) -> &'static str {
        "interpolate"
    }
    fn blends(&self, axes: usize, sizes: [usize; 3]) -> Result<[Blend; 3], Fault> {
        let Resize { mode, align_corners, antialias, .. } = self.resize;
        let between = matches!(mode, Interpolation::Linear | Interpolation::Cubic);
        if (align_corners || antialias) && !between {
            return Err(Fault::value(
                format!("{} with {mode:?}", if align_corners { "align_corners" } else { "antialias" }),
                "it has a meaning for Interpolation::Linear and Interpolation::Cubic only",
            ));
        }
        let rounded = |x: f64| if self.dtype == DType::F64 { x } else { x as f32 as f64 };
        let mut plan = [(1, 1.0); 3];
        for axis in 3 - axes..3 {
            plan[axis] = self.resize.axis(axis, axes, sizes[axis])?;
        }
        // An absurd result is refused before anything is made for it.
        Shape::new(&plan.map(|(count, _)| count))?;
        each_axis(|axis| match plan[axis] {
            _ if axis < 3 - axes => Blend::identity(1),
            (count, step) => self.resize.blend(sizes[axis], count, rounded(step), rounded),
        })
    }
    fn rule(&self) -> &'static str {
        "∂L/∂x = Σ over the results that read x of weight · ∂L/∂y"
    }
}

impl Tensor {
    /// Another size along the spatial axes of `[batch, channels, ...]` (one to three of them), by any
    /// [`Interpolation`]; coordinates follow PyTorch.
    ///
    /// ```
    /// use chainrule::{Interpolation, Resize, Tensor};
    /// let image = Tensor::from([[[[0.0, 2.0], [4.0, 6.0]]]]);
    /// let resize = Resize::to([3, 3]).mode(Interpolation::Linear).align_corners();
    /// let large = image.interpolate(resize);
    /// assert_eq!(large.to_vec::<f32>()?, [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "upsample")]
    #[doc(alias = "resize")]
    #[track_caller]
    pub fn interpolate(&self, resize: Resize) -> Tensor {
        let (rank, dtype) = match self.value() {
            Ok(value) => (value.rank(), value.dtype()),
            Err(error) => return Tensor::failed(error),
        };
        if !(3..=5).contains(&rank) {
            let fault = Fault::shape(
                format!("the input has {rank} axes"),
                "it needs 3 to 5: [batch, channels, width], [.., height, width] or [.., depth, height, width]",
            );
            return crate::tensor::refused("interpolate", fault, &[self]);
        }
        apply(Blended { axes: rank - 2, blending: Resizing { resize, dtype } }, [self])
    }
}
