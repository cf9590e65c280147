//! Images and volumes read at the places of a grid: what a spatial transformer or a warp is made of.

use super::interpolate::Interpolation;
use super::pad::Pad;
use super::spatial::{five, same_floats, spatial};
use crate::device::copy::Arrange;
use crate::device::sample::{Between, Outside, Sample, Sampling};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, Tensors, apply, one};
use crate::tensor::{Tensor, refused};
use smallvec::smallvec;

/// How [`grid_sample`](Tensor::grid_sample) reads: linearly and with zeros outside, unless told otherwise.
///
/// ```
/// use chainrule::{GridSample, Interpolation, Pad, Tensor};
/// let image = Tensor::from([[[[1.0, 2.0]]]]);
/// let places = Tensor::from([[[[0.0, 0.0], [3.0, 0.0]]]]);
/// assert_eq!(image.grid_sample(&places, GridSample::new()).to_vec::<f32>()?, [1.5, 0.0]);
/// let border = GridSample::new().mode(Interpolation::Nearest).padding(Pad::Replicate);
/// assert_eq!(image.grid_sample(&places, border).to_vec::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridSample {
    mode: Interpolation,
    padding: Pad,
    align_corners: bool,
}

impl Default for GridSample {
    fn default() -> GridSample {
        GridSample::new()
    }
}

impl GridSample {
    /// Linearly, zeros outside, -1 and 1 the outer edges of the first and last elements.
    ///
    /// ```
    /// use chainrule::{GridSample, Tensor};
    /// let sampled = Tensor::ones([1, 1, 2, 2]).grid_sample(&Tensor::zeros([1, 3, 3, 2]), GridSample::new());
    /// assert_eq!(sampled.to_vec::<f32>()?, [1.0; 9]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn new() -> GridSample {
        GridSample { mode: Interpolation::Linear, padding: Pad::Zeros, align_corners: false }
    }
    /// [`Interpolation::Nearest`] (of two the element at the even position), [`Interpolation::Linear`], or for images
    /// [`Interpolation::Cubic`].
    ///
    /// ```
    /// use chainrule::{GridSample, Interpolation, Tensor};
    /// let nearest = GridSample::new().mode(Interpolation::Nearest);
    /// let image = Tensor::from([[[[1.0, 2.0]]]]);
    /// assert_eq!(image.grid_sample(&Tensor::from([[[[0.2, 0.0]]]]), nearest).item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn mode(self, mode: Interpolation) -> GridSample {
        GridSample { mode, ..self }
    }
    /// What is found outside: [`Pad::Zeros`], [`Pad::Replicate`] (the nearest element inside), or [`Pad::Reflect`] (mirrored at
    /// the centres of the outer elements where corners are aligned, else at their edges).
    ///
    /// ```
    /// use chainrule::{GridSample, Pad, Tensor};
    /// let mirrored = GridSample::new().padding(Pad::Reflect).align_corners();
    /// let image = Tensor::from([[[[1.0, 2.0]]]]);
    /// assert_eq!(image.grid_sample(&Tensor::from([[[[3.0, 0.0]]]]), mirrored).item()?, 1.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn padding(self, padding: Pad) -> GridSample {
        GridSample { padding, ..self }
    }
    /// -1 and 1 are the centres of the first and last elements.
    ///
    /// ```
    /// use chainrule::{GridSample, Tensor};
    /// let image = Tensor::from([[[[1.0, 2.0]]]]);
    /// let corner = Tensor::from([[[[-1.0, 0.0]]]]);
    /// assert_eq!(image.grid_sample(&corner, GridSample::new().align_corners()).item()?, 1.0);
    /// assert_eq!(image.grid_sample(&corner, GridSample::new()).item()?, 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn align_corners(self) -> GridSample {
        GridSample { align_corners: true, ..self }
    }

    fn sampling(&self, axes: usize) -> Result<Sampling, Fault> {
        let between = match self.mode {
            Interpolation::Nearest => Between::Nearest,
            Interpolation::Linear => Between::Linear,
            Interpolation::Cubic if axes == 2 => Between::Cubic,
            Interpolation::Cubic => {
                return Err(Fault::value(
                    "cubic sampling of volumes",
                    "Interpolation::Cubic is for images [batch, channels, height, width]; use Interpolation::Linear",
                ));
            }
            mode => {
                return Err(Fault::value(
                    format!("sampling with {mode:?}"),
                    "use Interpolation::Nearest, Interpolation::Linear or Interpolation::Cubic",
                ));
            }
        };
        let outside = match self.padding {
            Pad::Zeros => Outside::Zeros,
            Pad::Replicate => Outside::Border,
            Pad::Reflect => Outside::Reflection,
            padding => {
                return Err(Fault::value(
                    format!("padding with {padding:?}"),
                    "use Pad::Zeros, Pad::Replicate or Pad::Reflect",
                ));
            }
        };
        Ok(Sampling { between, outside, align_corners: self.align_corners })
    }
}

/// The sampling of an input at the places of a grid.
#[derive(Debug)]
struct Sampled(GridSample);

impl Sampled {
    /// The grid as kernels see it, `[batch, places, axes]`, the number of axes, and how is read.
    fn places(&self, input: &Shape, grid: &Value) -> Result<(Value, usize, Sampling), Fault> {
        if !matches!(input.len(), 4 | 5) {
            return Err(Fault::shape(
                format!("the input has {} axes", input.len()),
                "it needs 4 or 5: [batch, channels, height, width] or [batch, channels, depth, height, width]",
            ));
        }
        let axes = input.len() - 2;
        if grid.rank() != input.len() || grid.dims()[axes + 1] != axes || grid.dims()[0] != input[0] {
            let places = if axes == 2 { "height, width" } else { "depth, height, width" };
            return Err(Fault::shape(
                format!("the grid is {:?} for an input {input:?}", grid.dims()),
                format!("it must be [batch, {places}, {axes}] with the input's batch of {}", input[0]),
            ));
        }
        let sampling = self.0.sampling(axes)?;
        let places = grid.dims()[1..=axes].iter().product();
        if input[2..].contains(&0) && places > 0 {
            return Err(Fault::shape(
                "the input has no elements to read",
                "its height, width and depth must be 1 or more: check what made it empty",
            ));
        }
        let dense = on!(grid.device(), contiguous(grid))?;
        let grid = dense.with_layout(at_start(&dense, &[grid.dims()[0], places, axes])?)?;
        Ok((grid, axes, sampling))
    }
}

/// The layout of a dense value in another shape.
fn at_start(dense: &Value, sizes: &[usize]) -> Result<Layout, Fault> {
    let shape = Shape::new(sizes)?;
    Ok(Layout::from_parts(shape, Layout::contiguous(shape).strides(), dense.layout().offset()))
}

impl Op for Sampled {
    fn name(&self) -> &'static str {
        "grid_sample"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        same_floats(inputs)?;
        let (grid, axes, sampling) = self.places(inputs[0].shape(), inputs[1])?;
        let y = on!(grid.device(), sample(&five(inputs[0], axes)?, &grid, sampling))?;
        let sizes = [&y.dims()[..2], &inputs[1].dims()[1..=axes]].concat();
        one(y.with_layout(at_start(&y, &sizes)?)?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let g = arriving[0].contiguous();
        let gradient = || -> crate::error::Result<Value> {
            let (g, grid) = (g.value()?, call.value(1)?);
            let compute = || -> Result<Value, Fault> {
                let (grid, axes, sampling) = self.places(call.shape(0), grid)?;
                let sizes = [g.dims()[0], g.dims()[1], g.dims()[2..].iter().product()];
                let g = g.with_layout(at_start(g, &sizes)?)?;
                let all = if which == 0 {
                    let shape = Shape::new(&[&sizes[..2], &spatial(call.dims(0), axes)].concat())?;
                    on!(g.device(), sample_gradient(&g, &grid, &shape, sampling))?
                } else {
                    let x = five(call.value(0).map_err(|error| Fault::defect(error.what()))?, axes)?;
                    on!(g.device(), sample_grid_gradient(&g, &x, &grid, sampling))?
                };
                all.with_layout(at_start(&all, call.dims(which))?)
            };
            compute().map_err(|fault| call.error(fault))
        };
        gradient().map_or_else(Tensor::failed, Tensor::from_value)
    }
    fn definition(&self, inputs: &[Tensor], _: &Call<'_>) -> Option<Tensors> {
        let [x, grid] = inputs else { return None };
        Some(smallvec![plain(x, grid, self.0)])
    }
    fn saves(&self, which: usize) -> Saves {
        if which == 0 { Saves::input(1) } else { Saves::INPUTS }
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 {
            "∂L/∂x = Σ over the places that read x of weight · ∂L/∂y"
        } else {
            "∂L/∂grid = Σ over what the place reads of ∂weight/∂place · x · ∂L/∂y"
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "grid"]
    }
}

/// One axis of the definition: the position of each tap (a whole number), whether it is inside, and its weight.
type Taps = Vec<(Tensor, Tensor, Tensor)>;

/// The sampling in plain operations: for each combination of taps a gather.
fn plain(x: &Tensor, grid: &Tensor, form: GridSample) -> Tensor {
    let (sizes, places) = match (x.shape(), grid.shape()) {
        (Ok(sizes), Ok(places)) => (sizes, places),
        (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
    };
    let axes = sizes.len() - 2;
    let sampling = match form.sampling(axes) {
        Ok(sampling) => sampling,
        Err(fault) => return refused("grid_sample", fault, &[x, grid]),
    };
    let count: usize = places[1..=axes].iter().product();
    let flat = x.reshape([sizes[0], sizes[1], sizes[2..].iter().product()]);
    // (flat position, inside, weight) of each combination so far, the widest axis first.
    let mut combined: Taps = Vec::new();
    for axis in 0..axes {
        let coordinate = grid.select(-1, axes - 1 - axis).reshape([sizes[0], 1, count]);
        let taps = taps(&coordinate, sizes[2 + axis], sampling);
        combined = match combined.is_empty() {
            true => taps,
            false => combined
                .iter()
                .flat_map(|(position, inside, weight)| {
                    taps.iter().map(move |(own, own_inside, own_weight)| {
                        let position = position * sizes[2 + axis] as f64 + own;
                        (position, inside.logical_and(own_inside), weight * own_weight)
                    })
                })
                .collect(),
        };
    }
    let mut sum: Option<Tensor> = None;
    for (position, inside, weight) in combined {
        let position = inside.choose(&position, position.zeros_like()).to_dtype(DType::I64);
        let found = flat.gather(2, &position.expand([sizes[0], sizes[1], count]));
        let term = inside.choose(&(found * weight), 0.0);
        sum = Some(match sum {
            Some(sum) => sum + term,
            None => term,
        });
    }
    sum.unwrap_or_else(|| flat.clone()).reshape(&[&sizes[..2], &places[1..=axes]].concat()[..])
}

fn taps(coordinate: &Tensor, size: usize, sampling: Sampling) -> Taps {
    let extent = size as f64;
    let at = match sampling.align_corners {
        true => (coordinate + 1.0) / 2.0 * (extent - 1.0),
        false => ((coordinate + 1.0) * extent - 1.0) / 2.0,
    };
    let tap = |position: Tensor, weight: Tensor| {
        let within = position.greater_equal(0.0).logical_and(position.less(extent));
        (position, within, weight)
    };
    match sampling.between {
        Between::Nearest => {
            // The weight does not change with the place; that it is computed from it keeps the way to its gradient, zero.
            let weight = at.clamp(0.0, 0.0) + 1.0;
            vec![tap(inside(&at, size, sampling).detach().round(), weight)]
        }
        Between::Linear => {
            let at = inside(&at, size, sampling);
            let first = at.detach().floor();
            let part = &at - &first;
            vec![tap(first.clone(), 1.0 - &part), tap(first + 1.0, part)]
        }
        Between::Cubic => {
            const A: f64 = -0.75;
            let first = at.detach().floor();
            let part = &at - &first;
            let near = |x: &Tensor| ((x * (A + 2.0)) - (A + 3.0)) * x.square() + 1.0;
            let far = |x: &Tensor| ((x * A - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
            let weights = [far(&(&part + 1.0)), near(&part), near(&(1.0 - &part)), far(&(2.0 - &part))];
            let place = |step: f64| inside(&(&first + step), size, sampling);
            weights.into_iter().zip([-1.0, 0.0, 1.0, 2.0]).map(|(weight, step)| tap(place(step), weight)).collect()
        }
    }
}

/// Positions moved inside as the padding says; those that are clipped do not change with their place.
fn inside(at: &Tensor, size: usize, sampling: Sampling) -> Tensor {
    let last = size as f64 - 1.0;
    let at = match sampling.outside {
        Outside::Zeros => return at.clone(),
        Outside::Border => at.clone(),
        Outside::Reflection => {
            let (low, high) = if sampling.align_corners { (0.0, last) } else { (-0.5, last + 0.5) };
            if high <= low {
                return at.zeros_like();
            }
            let from = (at - low).abs();
            let times = (from.detach() / (high - low)).floor();
            let rest = &from - &times * (high - low);
            let even = (&times - (&times / 2.0).floor() * 2.0).equal(0.0);
            even.choose(&rest, &((high - low) - &rest)) + low
        }
    };
    let within = at.greater(0.0).logical_and(at.less(last));
    within.choose(&at, at.detach().clamp(0.0, last))
}

impl Tensor {
    /// The values of images `[batch, channels, height, width]` at the places of a grid `[batch, h, w, 2]`, whose last axis is
    /// (x, y) from -1 to 1: `[batch, channels, h, w]`. Volumes `[batch, channels, depth, height, width]` take a grid
    /// `[batch, d, h, w, 3]` of (x, y, z). Gradients go to the image and to the grid.
    ///
    /// ```
    /// use chainrule::{GridSample, Tensor};
    /// let image = Tensor::from([[[[1.0, 2.0], [3.0, 4.0]]]]);
    /// // The centre, and the centre of the element below on the right.
    /// let grid = Tensor::from([[[[0.0, 0.0], [0.5, 0.5]]]]);
    /// assert_eq!(image.grid_sample(&grid, GridSample::new()).to_vec::<f32>()?, [2.5, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn grid_sample(&self, grid: &Tensor, form: GridSample) -> Tensor {
        apply(Sampled(form), [self, grid])
    }

    /// The grid of affine maps: this holds one for each image, `[batch, 2, 3]`, and `sizes` are the height and width of the
    /// grid, `[batch, height, width, 2]`; or `[batch, 3, 4]` and depth, height, width for volumes. With `align_corners`, -1 and
    /// 1 are the centres of the outer elements, else their edges, as [`grid_sample`](Tensor::grid_sample) reads them.
    ///
    /// ```
    /// use chainrule::{GridSample, Tensor};
    /// let image = Tensor::from([[[[1.0, 2.0], [3.0, 4.0]]]]);
    /// // Mirrored from left to right.
    /// let map = Tensor::from([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]);
    /// let mirrored = image.grid_sample(&map.affine_grid([2, 2], false), GridSample::new());
    /// assert_eq!(mirrored.to_vec::<f32>()?, [2.0, 1.0, 4.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn affine_grid(&self, sizes: impl Sizes, align_corners: bool) -> Tensor {
        let (shape, dtype) = match (self.shape(), self.dtype()) {
            (Ok(shape), Ok(dtype)) => (shape, dtype),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let sizes = match sizes.sizes().shape() {
            Ok(sizes) => sizes,
            Err(fault) => return refused("affine_grid", fault, &[self]),
        };
        let axes = sizes.len();
        if !matches!(axes, 2 | 3) || shape.len() != 3 || shape[1] != axes || shape[2] != axes + 1 {
            let fault = Fault::shape(
                format!("maps {shape:?} for a grid {sizes:?}"),
                "maps are [batch, 2, 3] with a height and a width, or [batch, 3, 4] with a depth, a height and a width",
            );
            return refused("affine_grid", fault, &[self]);
        }
        if !dtype.is_float() {
            let fault = Fault::dtype(format!("maps of {dtype} elements"), "convert them first: x.to_dtype(DType::F32)");
            return refused("affine_grid", fault, &[self]);
        }
        let steps = |size: usize| {
            let last = size as f64 - 1.0;
            // From -1 to 1; or, where these are edges, the centres between them. A single element is in the middle.
            let centres = (0..size).map(move |i| match size {
                1 => 0.0,
                _ => (2.0 * i as f64 / last - 1.0) * if align_corners { 1.0 } else { last / size as f64 },
            });
            let centres = Tensor::from_vec(centres.collect::<Vec<f64>>(), [size]);
            centres.map_or_else(Tensor::failed, |x| x.to_dtype(dtype).near(self))
        };
        // Places as rows [x, y, 1] or [x, y, z, 1].
        let mut columns = Vec::new();
        for axis in (0..axes).rev() {
            let mut beside = vec![1; axes];
            beside[axis] = sizes[axis];
            columns.push(steps(sizes[axis]).reshape(&beside[..]).expand(&sizes[..]));
        }
        columns.push(Tensor::full(&sizes[..], 1.0, dtype).near(self));
        let places = Tensor::stack(&columns, -1).reshape([-1, axes as isize + 1]);
        let grid = places.matmul(&self.transpose(1, 2));
        grid.reshape(&[&[shape[0]], &sizes[..], &[axes]].concat()[..])
    }
}
