//! Pooling: the greatest or the average element of each window; sliding or adaptive windows, one to three axes.

use super::spatial::{PerAxis, as_rank, axis_name, five, sliding, spatial};
use crate::device::copy::Arrange;
use crate::device::window::{Blend, Sliding, Span, Windows};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{DType, SizeList, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_many, one};
use crate::tensor::Tensor;
use std::sync::Arc;

/// The windows of a pooling. A number holds for all axes, a list for each; `x.max_pool2d(2)` is short for
/// `x.max_pool2d(Pool::new(2))`.
///
/// ```
/// use chainrule::{Pool, Tensor};
/// let image = Tensor::ones([1, 3, 32, 32]);
/// assert_eq!(image.max_pool2d(2).dims()?, [1, 3, 16, 16]);
/// assert_eq!(image.max_pool2d(Pool::new(3).stride(2).padding(1)).dims()?, [1, 3, 16, 16]);
/// assert_eq!(image.average_pool2d(Pool::new([4, 8])).dims()?, [1, 3, 8, 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    kernel: PerAxis,
    stride: Option<PerAxis>,
    padding: PerAxis,
    dilation: PerAxis,
    ceil: bool,
    count_padding: bool,
    divisor: Option<f64>,
}

impl<S: Sizes> From<S> for Pool {
    fn from(kernel: S) -> Pool {
        Pool::new(kernel)
    }
}

impl Pool {
    /// Elements of a full window over so many axes.
    pub(super) fn taps(&self, axes: usize) -> Result<usize, Fault> {
        Ok(self.kernel.resolve("kernel", axes, 1, 1)?.into_iter().fold(1, usize::saturating_mul))
    }
    /// How many sizes a window was given: one for all axes, or one for each.
    pub(super) fn sizes(&self) -> usize {
        self.kernel.len()
    }
    /// Windows of this size, side by side, without padding.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let x = Tensor::from([[[1.0, 3.0, 2.0, 0.0]]]);
    /// assert_eq!(x.max_pool1d(Pool::new(2)).to_vec::<f32>()?, [3.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn new(kernel: impl Sizes) -> Pool {
        Pool {
            kernel: PerAxis::new(kernel),
            stride: None,
            padding: PerAxis::all(0),
            dilation: PerAxis::all(1),
            ceil: false,
            count_padding: true,
            divisor: None,
        }
    }
    /// The step from one window to the next; without it the size of a window.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let x = Tensor::from([[[1.0, 3.0, 2.0, 0.0]]]);
    /// assert_eq!(x.max_pool1d(Pool::new(2).stride(1)).to_vec::<f32>()?, [3.0, 3.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn stride(self, stride: impl Sizes) -> Pool {
        Pool { stride: Some(PerAxis::new(stride)), ..self }
    }
    /// Padding on both sides, at most half a window: never the greatest element; in an average a zero.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let x = Tensor::from([[[-1.0, -3.0]]]);
    /// assert_eq!(x.max_pool1d(Pool::new(2).padding(1)).to_vec::<f32>()?, [-1.0, -3.0]);
    /// assert_eq!(x.average_pool1d(Pool::new(2).padding(1)).to_vec::<f32>()?, [-0.5, -1.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn padding(self, padding: impl Sizes) -> Pool {
        Pool { padding: PerAxis::new(padding), ..self }
    }
    /// The step between the elements of a window.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let x = Tensor::from([[[1.0, 9.0, 2.0, 0.0]]]);
    /// assert_eq!(x.max_pool1d(Pool::new(2).stride(1).dilation(2)).to_vec::<f32>()?, [2.0, 9.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn dilation(self, dilation: impl Sizes) -> Pool {
        Pool { dilation: PerAxis::new(dilation), ..self }
    }
    /// Elements that are left at the end of an axis get a window too, which is not full.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let x = Tensor::from([[[1.0, 3.0, 2.0]]]);
    /// assert_eq!(x.max_pool1d(Pool::new(2)).to_vec::<f32>()?, [3.0]);
    /// assert_eq!(x.max_pool1d(Pool::new(2).ceil()).to_vec::<f32>()?, [3.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "ceil_mode")]
    pub fn ceil(self) -> Pool {
        Pool { ceil: true, ..self }
    }
    /// An average divides by the number of elements alone, not of elements and padding.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let pool = Pool::new(2).padding(1).without_padding();
    /// assert_eq!(Tensor::from([[[-1.0, -3.0]]]).average_pool1d(pool).to_vec::<f32>()?, [-1.0, -3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "count_include_pad")]
    pub fn without_padding(self) -> Pool {
        Pool { count_padding: false, ..self }
    }
    /// An average divides by this number, whatever the window holds; 1 gives sums.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let sums = Tensor::ones([1, 1, 6]).average_pool1d(Pool::new(3).divisor(1.0));
    /// assert_eq!(sums.to_vec::<f32>()?, [3.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "divisor_override")]
    pub fn divisor(self, divisor: f64) -> Pool {
        Pool { divisor: Some(divisor), ..self }
    }

    /// The same, where no stride is given with this one.
    pub(super) fn stride_or(self, stride: isize) -> Pool {
        Pool { stride: self.stride.or(Some(PerAxis::all(stride))), ..self }
    }
    /// The windows over these spatial sizes.
    pub(super) fn windows(&self, axes: usize, sizes: [usize; 3]) -> Result<[Sliding; 3], Fault> {
        let kernel = self.kernel.resolve("window", axes, 1, 1)?;
        let stride = self.stride.unwrap_or(self.kernel).resolve("stride", axes, 1, 1)?;
        let padding = self.padding.resolve("padding", axes, 0, 0)?;
        let dilation = self.dilation.resolve("dilation", axes, 1, 1)?;
        let mut windows = [Sliding::POINT; 3];
        for axis in 3 - axes..3 {
            let (size, pad) = (sizes[axis], padding[axis]);
            // What the last step lacks may reach over the end.
            let over = if self.ceil { stride[axis] - 1 } else { 0 };
            let mut window = sliding(axis, size, [kernel[axis], stride[axis], dilation[axis]], [pad, pad + over])?;
            // The last window begins inside the input or the padding before it.
            if self.ceil && (window.count - 1) * stride[axis] >= size + pad {
                window.count -= 1;
            }
            windows[axis] = window;
        }
        Ok(windows)
    }
    /// As [`windows`](Pool::windows), for poolings.
    fn pooling(&self, axes: usize, sizes: [usize; 3]) -> Result<[Sliding; 3], Fault> {
        let windows = self.windows(axes, sizes)?;
        for (axis, window) in windows.iter().enumerate() {
            let reach = window.dilation * (window.kernel - 1) + 1;
            if window.before > reach / 2 {
                return Err(Fault::value(
                    format!("a padding of {} for windows of {reach} along the {}", window.before, axis_name(axis)),
                    format!("at most half a window, {}: beyond, windows would hold nothing but padding", reach / 2),
                ));
            }
            if window.size == 0 {
                return Err(Fault::shape(
                    format!("the {} is 0", axis_name(axis)),
                    "a window needs at least one element: check what made the input empty",
                ));
            }
        }
        Ok(windows)
    }
}

/// The windows that a caller asks for.
#[derive(Clone, Debug)]
enum Asked {
    Sliding(Pool),
    Adaptive(PerAxis),
}

impl Asked {
    fn spans(&self, axes: usize, sizes: [usize; 3]) -> Result<[Span; 3], Fault> {
        match self {
            Asked::Sliding(pool) => Ok(pool.pooling(axes, sizes)?.map(Span::Sliding)),
            Asked::Adaptive(counts) => {
                let counts = counts.resolve("number of windows", axes, 0, 1)?;
                if let Some(axis) = (3 - axes..3).find(|&axis| sizes[axis] == 0) {
                    return Err(Fault::shape(
                        format!("the {} is 0", axis_name(axis)),
                        "a window needs at least one element: check what made the input empty",
                    ));
                }
                Ok(std::array::from_fn(|axis| Span::Adaptive { size: sizes[axis], count: counts[axis] }))
            }
        }
    }
}

fn float(x: &Value) -> Result<(), Fault> {
    if x.dtype().is_float() {
        return Ok(());
    }
    Err(Fault::dtype(
        format!("the input holds {} elements", x.dtype()),
        "convert it first, for example with to_dtype(DType::F32)",
    ))
}

/// The greatest of each window, and its position if asked.
#[derive(Clone, Debug)]
struct MaxPool {
    axes: usize,
    asked: Asked,
    positions: bool,
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        match self.asked {
            Asked::Sliding(_) => ["max_pool1d", "max_pool2d", "max_pool3d"][self.axes - 1],
            Asked::Adaptive(_) => ["adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"][self.axes - 1],
        }
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let x = five(inputs[0], self.axes)?;
        float(&x)?;
        let spans = self.asked.spans(self.axes, spatial(inputs[0].dims(), self.axes))?;
        let (greatest, positions) = on!(x.device(), max_windows(&x, &spans, self.positions || keep.wanted()))?;
        let rank = inputs[0].rank();
        let mut outputs = one(as_rank(&greatest, self.axes, rank)?)?;
        if let Some(positions) = positions {
            let positions = as_rank(&positions, self.axes, rank)?;
            if self.positions {
                outputs.push(on!(positions.device(), cast(&positions, DType::I64))?);
            }
            keep.push(positions);
        }
        Ok(outputs)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let positions = match call.kept(0) {
            Ok(positions) => Tensor::from_value(positions.clone()),
            Err(error) => return Tensor::failed(error),
        };
        let volume = spatial(call.dims(0), self.axes);
        apply(Scatter { axes: self.axes, volume }, [&arriving[0], &positions])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the winner of each window, 0 elsewhere"
    }
}

/// Elements added into zeros at their positions.
#[derive(Debug)]
struct Scatter {
    axes: usize,
    volume: [usize; 3],
}

impl Op for Scatter {
    fn name(&self) -> &'static str {
        ["max_unpool1d", "max_unpool2d", "max_unpool3d"][self.axes - 1]
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        float(inputs[0])?;
        let (x, positions) = (five(inputs[0], self.axes)?, five(inputs[1], self.axes)?);
        let sums = on!(x.device(), scatter_volumes(&x, &positions, self.volume))?;
        one(as_rank(&sums, self.axes, inputs[0].rank())?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        apply(Pick { axes: self.axes }, [&arriving[0], &call.input(1)])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the positions"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "positions"]
    }
}

/// The elements at positions.
#[derive(Debug)]
struct Pick {
    axes: usize,
}

impl Op for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let (x, positions) = (five(inputs[0], self.axes)?, five(inputs[1], self.axes)?);
        one(as_rank(&on!(x.device(), pick_volumes(&x, &positions))?, self.axes, inputs[0].rank())?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let volume = spatial(call.dims(0), self.axes);
        apply(Scatter { axes: self.axes, volume }, [&arriving[0], &call.input(1)])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = Σ ∂L/∂y at the positions, 0 elsewhere"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "positions"]
    }
}

/// A linear map along each axis, made from the spatial sizes of its input.
pub(super) trait Blending: std::fmt::Debug + Send + Sync + 'static {
    fn name(&self) -> &'static str;
    fn blends(&self, axes: usize, sizes: [usize; 3]) -> Result<[Blend; 3], Fault>;
    fn rule(&self) -> &'static str;
}

/// A linear map along each axis; its gradient is the transposed map.
#[derive(Debug)]
pub(super) struct Blended<B> {
    pub(super) axes: usize,
    pub(super) blending: B,
}

impl<B: Blending> Op for Blended<B> {
    fn name(&self) -> &'static str {
        self.blending.name()
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = five(inputs[0], self.axes)?;
        float(&x)?;
        let blends = self.blending.blends(self.axes, spatial(inputs[0].dims(), self.axes))?;
        let y = on!(x.device(), blend_volumes(&x, blends.each_ref()))?;
        one(as_rank(&y, self.axes, inputs[0].rank())?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match self.blending.blends(self.axes, spatial(call.dims(0), self.axes)) {
            Ok(blends) => {
                let blends = Arc::new(blends.each_ref().map(Blend::transposed));
                apply(Blended { axes: self.axes, blending: Known(blends) }, [&arriving[0]])
            }
            Err(fault) => Tensor::failed(call.error(fault)),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        self.blending.rule()
    }
}

/// Maps that are there already.
#[derive(Debug)]
struct Known(Arc<[Blend; 3]>);

impl Blending for Known {
    fn name(&self) -> &'static str {
        "blend"
    }
    fn blends(&self, _: usize, _: [usize; 3]) -> Result<[Blend; 3], Fault> {
        Ok((*self.0).clone())
    }
    fn rule(&self) -> &'static str {
        "∂L/∂x = the transposed map of ∂L/∂y"
    }
}

/// A map for each axis.
pub(super) fn each_axis(of: impl Fn(usize) -> Result<Blend, Fault>) -> Result<[Blend; 3], Fault> {
    Ok([of(0)?, of(1)?, of(2)?])
}

/// The average of each window.
#[derive(Debug)]
struct Average(Asked, usize);

impl Blending for Average {
    fn name(&self) -> &'static str {
        match self.0 {
            Asked::Sliding(_) => ["average_pool1d", "average_pool2d", "average_pool3d"][self.1 - 1],
            Asked::Adaptive(_) => {
                ["adaptive_average_pool1d", "adaptive_average_pool2d", "adaptive_average_pool3d"][self.1 - 1]
            }
        }
    }
    fn blends(&self, axes: usize, sizes: [usize; 3]) -> Result<[Blend; 3], Fault> {
        let spans = self.0.spans(axes, sizes)?;
        let (count_padding, divisor) = match &self.0 {
            Asked::Sliding(pool) => (pool.count_padding, pool.divisor),
            Asked::Adaptive(_) => (false, None),
        };
        if divisor == Some(0.0) {
            return Err(Fault::value("a divisor of 0", "leave it out to divide by the size of the window"));
        }
        each_axis(|axis| {
            let span = spans[axis];
            let outputs = (0..span.count()).map(|output| {
                let (first, length, step) = span.window(output);
                let weight = match (divisor, span) {
                    // The divisor belongs to the whole window: one axis has it.
                    (Some(divisor), _) => {
                        if axis == 2 {
                            1.0 / divisor
                        } else {
                            1.0
                        }
                    }
                    (None, Span::Sliding(window)) if count_padding => {
                        // Taps that stay within the padding at the end.
                        let room = (window.size + 2 * window.before).saturating_sub(output * window.stride);
                        1.0 / room.div_ceil(window.dilation).min(window.kernel) as f64
                    }
                    _ => 1.0 / length as f64,
                };
                (0..length).map(move |i| (first + i * step, weight))
            });
            Blend::new(sizes[axis], outputs)
        })
    }
    fn rule(&self) -> &'static str {
        "∂L/∂x = Σ over the windows that hold x of ∂L/∂y / size of the window"
    }
}

/// The spatial sizes that a caller wrote for a result.
fn volume(sizes: SizeList, axes: usize) -> Result<[usize; 3], Fault> {
    PerAxis::of(&sizes).resolve("size", axes, 0, 1)
}

macro_rules! pools {
    ($axes:literal $shape:literal $x:literal:
        $max:ident $max_positions:ident $unpool:ident $average:ident $adaptive_max:ident $adaptive_max_positions:ident
        $adaptive_average:ident;
        $max_y:literal $average_y:literal $positions_y:literal $two:literal) => {
        impl Tensor {
            #[doc = concat!("The greatest element of each window of ", $shape, ". NaN wins; of equal ones the first gets the gradient.")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\n",
                "assert_eq!(x.", stringify!($max), "(2).to_vec::<f32>()?, ", $max_y, ");\n# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn $max(&self, pool: impl Into<Pool>) -> Tensor {
                apply(MaxPool { axes: $axes, asked: Asked::Sliding(pool.into()), positions: false }, [self])
            }
            #[doc = concat!("As [`", stringify!($max), "`](Tensor::", stringify!($max),
                "), with the position of each winner in its volume, as an i64 counted in row-major order.")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\nlet [_, positions] = x.",
                stringify!($max_positions), "(2);\nassert_eq!(positions.to_vec::<i64>()?, ", $positions_y,
                ");\n# Ok::<(), chainrule::Error>(())\n```")]
            #[doc(alias = "return_indices")]
            #[track_caller]
            pub fn $max_positions(&self, pool: impl Into<Pool>) -> [Tensor; 2] {
                apply_many(MaxPool { axes: $axes, asked: Asked::Sliding(pool.into()), positions: true }, &[self])
            }
            #[doc = concat!("The opposite of [`", stringify!($max_positions), "`](Tensor::", stringify!($max_positions),
                "): zeros of these spatial sizes with each element at its position; where several share one, their sum.")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\nlet [y, positions] = x.",
                stringify!($max_positions), "(2);\nlet back = y.", stringify!($unpool), "(&positions, ", $two,
                ");\nassert_eq!(back.shape()?, x.shape()?);\nassert_eq!(back.sum().item()?, y.sum().item()?);\n# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn $unpool(&self, positions: &Tensor, sizes: impl Sizes) -> Tensor {
                match volume(sizes.sizes(), $axes) {
                    Ok(volume) => apply(Scatter { axes: $axes, volume }, [self, positions]),
                    Err(fault) => crate::tensor::refused(stringify!($unpool), fault, &[self, positions]),
                }
            }
            #[doc = concat!("The average of each window of ", $shape, ".")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\n",
                "assert_eq!(x.", stringify!($average), "(2).to_vec::<f32>()?, ", $average_y,
                ");\n# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn $average(&self, pool: impl Into<Pool>) -> Tensor {
                apply(Blended { axes: $axes, blending: Average(Asked::Sliding(pool.into()), $axes) }, [self])
            }
            #[doc = concat!("The greatest element of so many windows, as even as they can be, over ", $shape, ".")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\n",
                "assert_eq!(x.", stringify!($adaptive_max), "(1).to_vec::<f32>()?, [x.max().item()? as f32]);\n",
                "# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn $adaptive_max(&self, sizes: impl Sizes) -> Tensor {
                let asked = Asked::Adaptive(PerAxis::new(sizes));
                apply(MaxPool { axes: $axes, asked, positions: false }, [self])
            }
            #[doc = concat!("As [`", stringify!($adaptive_max), "`](Tensor::", stringify!($adaptive_max),
                "), with the position of each winner in its volume, as an i64 counted in row-major order.")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\nlet [y, positions] = x.",
                stringify!($adaptive_max_positions), "(1);\nassert_eq!(x.flatten().select(0, positions.item()? as isize).item()?, \
                y.item()?);\n# Ok::<(), chainrule::Error>(())\n```")]
            #[doc(alias = "return_indices")]
            #[track_caller]
            pub fn $adaptive_max_positions(&self, sizes: impl Sizes) -> [Tensor; 2] {
                let asked = Asked::Adaptive(PerAxis::new(sizes));
                apply_many(MaxPool { axes: $axes, asked, positions: true }, &[self])
            }
            #[doc = concat!("The average of so many windows, as even as they can be, over ", $shape, ". 1 is global average pooling.")]
            #[doc = concat!("\n\n```\nuse chainrule::Tensor;\nlet x = ", $x, ";\n",
                "assert_eq!(x.", stringify!($adaptive_average), "(1).to_vec::<f32>()?, [x.mean().item()? as f32]);\n",
                "# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn $adaptive_average(&self, sizes: impl Sizes) -> Tensor {
                let asked = Asked::Adaptive(PerAxis::new(sizes));
                apply(Blended { axes: $axes, blending: Average(asked, $axes) }, [self])
            }
        }
    };
}

pools! { 1 "sequences `[batch, channels, length]`" "Tensor::from([[[1.0, 3.0, 2.0, 0.0]]])":
max_pool1d max_pool1d_with_positions max_unpool1d average_pool1d adaptive_max_pool1d adaptive_max_pool1d_with_positions
adaptive_average_pool1d;
"[3.0, 2.0]" "[2.0, 1.0]" "[1, 2]" "4" }
pools! { 2 "images `[batch, channels, height, width]`" "Tensor::from([[[[1.0, 3.0, 2.0, 0.0], [5.0, 3.0, 0.0, 2.0]]]])":
max_pool2d max_pool2d_with_positions max_unpool2d average_pool2d adaptive_max_pool2d adaptive_max_pool2d_with_positions
adaptive_average_pool2d;
"[5.0, 2.0]" "[3.0, 1.0]" "[4, 2]" "[2, 4]" }
pools! { 3 "volumes `[batch, channels, depth, height, width]`" "Tensor::from([1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 0.0, 2.0]).reshape([1, 1, 2, 2, 2])":
max_pool3d max_pool3d_with_positions max_unpool3d average_pool3d adaptive_max_pool3d adaptive_max_pool3d_with_positions
adaptive_average_pool3d;
"[5.0]" "[2.0]" "[4]" "[2, 2, 2]" }
