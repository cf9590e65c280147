//! Convolution in one, two and three dimensions, and transposed.
//!
//! One sum of products, `Σ x · weight · y`, is linear in three factors (`device/convolve.rs`). The operation here is the
//! derivative of that sum for one of them, from the other two: so the gradients of each are the other two, and
//! derivatives of any order come from these three lines.

use super::spatial::{MOST, PerAxis, as_rank, axis_name, five, same_floats, sliding, spatial};
use crate::device::convolve::{Convolve, Manner};
use crate::device::window::Sliding;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Axes, AxisList, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_slice, one};
use crate::tensor::Tensor;

/// How a convolution moves over its input. A number holds for all axes, a list for each.
///
/// ```
/// use chainrule::{Conv, Tensor};
/// let image = Tensor::ones([1, 3, 32, 32]);
/// let weight = Tensor::ones([8, 3, 3, 3]);
/// assert_eq!(image.conv2d(&weight, None, Conv::new()).dims()?, [1, 8, 30, 30]);
/// assert_eq!(image.conv2d(&weight, None, Conv::new().same()).dims()?, [1, 8, 32, 32]);
/// assert_eq!(image.conv2d(&weight, None, Conv::new().stride([2, 1]).padding(1)).dims()?, [1, 8, 16, 32]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    pub(super) stride: PerAxis,
    pub(super) padding: Padding,
    pub(super) output_padding: PerAxis,
    pub(super) dilation: PerAxis,
    groups: isize,
    exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    Both(PerAxis),
    Same,
}

impl Default for Conv {
    fn default() -> Conv {
        Conv::new()
    }
}

impl Conv {
    /// Stride 1, no padding, dilation 1, one group.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let x = Tensor::from([[[1.0, 2.0, 3.0]]]);
    /// let weight = Tensor::from([[[1.0, -1.0]]]);
    /// assert_eq!(x.conv1d(&weight, None, Conv::new()).to_vec::<f32>()?, [-1.0, -1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub const fn new() -> Conv {
        Conv {
            stride: PerAxis::all(1),
            padding: Padding::Both(PerAxis::all(0)),
            output_padding: PerAxis::all(0),
            dilation: PerAxis::all(1),
            groups: 1,
            exact: false,
        }
    }
    /// The step from one window to the next.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let y = Tensor::ones([1, 1, 9]).conv1d(&Tensor::ones([1, 1, 3]), None, Conv::new().stride(3));
    /// assert_eq!(y.to_vec::<f32>()?, [3.0, 3.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn stride(self, stride: impl Sizes) -> Conv {
        Conv { stride: PerAxis::new(stride), ..self }
    }
    /// Zeros on both sides of each axis. In a transposed convolution, what is cut off instead.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let y = Tensor::ones([1, 1, 3]).conv1d(&Tensor::ones([1, 1, 3]), None, Conv::new().padding(1));
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 3.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn padding(self, padding: impl Sizes) -> Conv {
        Conv { padding: Padding::Both(PerAxis::new(padding)), ..self }
    }
    /// As many zeros as keep the sizes; with an even kernel one more at the end. The stride must be 1.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let y = Tensor::ones([1, 1, 3]).conv1d(&Tensor::ones([1, 1, 2]), None, Conv::new().same());
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn same(self) -> Conv {
        Conv { padding: Padding::Same, ..self }
    }
    /// The step between the taps of the kernel.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let y = Tensor::from([[[1.0, 2.0, 3.0]]]).conv1d(&Tensor::ones([1, 1, 2]), None, Conv::new().dilation(2));
    /// assert_eq!(y.to_vec::<f32>()?, [4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "atrous")]
    pub fn dilation(self, dilation: impl Sizes) -> Conv {
        Conv { dilation: PerAxis::new(dilation), ..self }
    }
    /// Adds up as the definition says. Without it, f32 convolutions of 3 × 3 with stride 1 and their gradients go Winograd's way
    /// where that is faster: fewer multiplications, and another rounding (errors of the same size, of a weight's gradient 2.5 times).
    ///
    /// ```
    /// use chainrule::{Conv, Random, Tensor};
    /// let mut random = Random::new(1);
    /// let x = Tensor::normal([1, 16, 20, 20], 0.0, 1.0, &mut random);
    /// let weight = Tensor::normal([16, 16, 3, 3], 0.0, 0.1, &mut random);
    /// let difference = x.conv2d(&weight, None, Conv::new()) - x.conv2d(&weight, None, Conv::new().exact());
    /// assert!(difference.abs().max().item()? < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn exact(self) -> Conv {
        Conv { exact: true, ..self }
    }
    /// Channels are cut into so many groups, each with weights of its own that see no other group. As many groups as
    /// channels make the convolution depthwise.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let y = Tensor::ones([1, 4, 5]).conv1d(&Tensor::ones([4, 1, 5]), None, Conv::new().groups(4));
    /// assert_eq!(y.to_vec::<f32>()?, [5.0, 5.0, 5.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "depthwise")]
    pub fn groups(self, groups: usize) -> Conv {
        Conv { groups: isize::try_from(groups).unwrap_or(isize::MAX), ..self }
    }
    /// Transposed convolutions only: so much larger at the end of each axis. Where the stride is above 1, inputs of
    /// several sizes have results of one size; this says which of them is meant.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let (x, weight) = (Tensor::ones([1, 1, 2]), Tensor::ones([1, 1, 2]));
    /// let y = x.conv_transpose1d(&weight, None, Conv::new().stride(2).output_padding(1));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn output_padding(self, output_padding: impl Sizes) -> Conv {
        Conv { output_padding: PerAxis::new(output_padding), ..self }
    }

    /// The windows of a convolution of these spatial sizes.
    fn windows(&self, axes: usize, sizes: [usize; 3], kernel: [usize; 3]) -> Result<[Sliding; 3], Fault> {
        let stride = self.stride.resolve("stride", axes, 1, 1)?;
        let dilation = self.dilation.resolve("dilation", axes, 1, 1)?;
        self.no_output_padding(axes)?;
        let mut windows = [Sliding::POINT; 3];
        for axis in 3 - axes..3 {
            let padding = match self.padding {
                Padding::Both(padding) => [padding.resolve("padding", axes, 0, 0)?[axis]; 2],
                Padding::Same => same(stride[axis], dilation[axis], kernel[axis])?,
            };
            windows[axis] = sliding(axis, sizes[axis], [kernel[axis], stride[axis], dilation[axis]], padding)?;
        }
        Ok(windows)
    }
    fn no_output_padding(&self, axes: usize) -> Result<(), Fault> {
        if self.output_padding.resolve("output padding", axes, 0, 0)? == [0; 3] {
            return Ok(());
        }
        Err(Fault::value("output padding in a convolution", "only a transposed convolution has one: leave it out"))
    }
    /// The number of groups, if it divides the channels.
    fn divide(&self, channels: usize, of: &str) -> Result<usize, Fault> {
        match usize::try_from(self.groups) {
            Ok(groups) if groups > 0 && channels.is_multiple_of(groups) => Ok(groups),
            Ok(groups) if groups > 0 => Err(Fault::shape(
                format!("{groups} groups do not divide {channels} {of}"),
                format!("the number of groups must divide the {of}"),
            )),
            _ => Err(Fault::value(format!("{} groups", self.groups), "there is at least one group")),
        }
    }
}

/// Sizes whose products with options fit.
pub(super) fn within_reason(sizes: &[usize; 3], kernel: &[usize; 3]) -> Result<(), Fault> {
    if let Some(&size) = kernel.iter().chain(sizes).find(|&&size| size as u128 > MOST as u128) {
        return Err(Fault::memory(format!("a size of {size}"), format!("sizes here go up to {MOST}")));
    }
    if kernel.contains(&0) {
        return Err(Fault::shape("the kernel has no elements", "each of its sizes must be at least 1"));
    }
    Ok(())
}

fn same(stride: usize, dilation: usize, kernel: usize) -> Result<[usize; 2], Fault> {
    if stride != 1 {
        return Err(Fault::value(
            format!("same padding with a stride of {stride}"),
            "only a stride of 1 keeps the sizes: give the padding in numbers",
        ));
    }
    let total = dilation * (kernel - 1);
    Ok([total / 2, total - total / 2])
}

/// Which factor of `Σ x · weight · y` is computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Factor {
    /// From x, weight, perhaps a bias: a convolution.
    Y,
    /// From y, weight, perhaps a bias: a transposed convolution.
    X,
    /// From x, y: the gradient of a weight.
    Weight,
}

/// How the windows are known.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// As a caller wrote it.
    Asked(Conv),
    /// As another convolution found it.
    Known { windows: [Sliding; 3], manner: Manner },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    factor: Factor,
    pub(super) axes: usize,
    plan: Plan,
}

impl Convolution {
    /// A convolution over so many axes.
    pub(crate) fn new(axes: usize, conv: Conv) -> Convolution {
        Convolution { factor: Factor::Y, axes, plan: Plan::Asked(conv) }
    }
    /// The windows and how channels meet, from the dims of the operands, which were checked when a caller asked.
    pub(super) fn plan(&self, first: &[usize], second: &[usize]) -> Result<([Sliding; 3], Manner), Fault> {
        let axes = self.axes;
        let conv = match self.plan {
            Plan::Known { windows, manner } => return Ok((windows, manner)),
            Plan::Asked(conv) => conv,
        };
        if second.len() != axes + 2 {
            let names: Vec<&str> = (3 - axes..3).map(axis_name).collect();
            let channels =
                if self.factor == Factor::X { "inputs, outputs / groups" } else { "outputs, inputs / groups" };
            return Err(Fault::shape(
                format!("the weight has {} axes", second.len()),
                format!("it needs {}: [{channels}, {}]", axes + 2, names.join(", ")),
            ));
        }
        let (sizes, kernel) = (spatial(first, axes), spatial(second, axes));
        within_reason(&sizes, &kernel)?;
        let channels = first[first.len() - axes - 1];
        if self.factor == Factor::X {
            let groups = conv.divide(second[0], "channels that the weight takes")?;
            if channels != second[0] {
                return Err(Fault::shape(
                    format!("the input has {channels} channels, the weight takes {}", second[0]),
                    "the weight's first size must equal the input's channels",
                ));
            }
            return Ok((
                conv.transposed_windows(axes, sizes, kernel)?,
                Manner { groups, exact: conv.exact, at_rest: false },
            ));
        }
        let groups = conv.divide(second[0], "channels that the weight makes")?;
        if second[1].checked_mul(groups) != Some(channels) {
            let of = if groups > 1 { format!(" ({groups} groups x {})", second[1]) } else { String::new() };
            return Err(Fault::shape(
                format!(
                    "the input has {channels} channels, the weight expects {}{of}",
                    second[1].saturating_mul(groups)
                ),
                "the weight's second size times the groups must equal the input's channels",
            ));
        }
        Ok((conv.windows(axes, sizes, kernel)?, Manner { groups, exact: conv.exact, at_rest: false }))
    }
    fn known(&self, factor: Factor, call: &Call<'_>) -> Result<Convolution, Fault> {
        let (windows, manner) = self.plan(call.dims(0), call.dims(1))?;
        Ok(Convolution { factor, axes: self.axes, plan: Plan::Known { windows, manner } })
    }
    /// A bias needs one number for each channel of the result.
    fn bias<'a>(&self, inputs: &[&'a Value], channels: usize) -> Result<Option<&'a Value>, Fault> {
        match inputs.get(2) {
            Some(bias) if *bias.dims() != [channels] => Err(Fault::shape(
                format!("the bias has the shape {:?}", bias.dims()),
                format!("it needs one number for each channel of the result: [{channels}]"),
            )),
            bias => Ok(bias.copied()),
        }
    }
}

impl Op for Convolution {
    fn name(&self) -> &'static str {
        let names = match self.factor {
            Factor::Y => ["conv1d", "conv2d", "conv3d"],
            Factor::X => ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
            Factor::Weight => ["conv1d_weight", "conv2d_weight", "conv3d_weight"],
        };
        names[self.axes - 1]
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let (axes, rank) = (self.axes, inputs[0].rank());
        let first = five(inputs[0], axes)?;
        same_floats(inputs)?;
        let (windows, manner) = self.plan(inputs[0].dims(), inputs[1].dims())?;
        let manner = Manner { at_rest: self.factor == Factor::Y && !keep.wanted(), ..manner };
        let second = five(inputs[1], axes)?;
        let device = first.device();
        let result = match self.factor {
            Factor::Y => {
                let bias = self.bias(inputs, second.dims()[0])?;
                on!(device, convolve(&first, &second, bias, &windows, manner))?
            }
            Factor::X => {
                let bias = self.bias(inputs, second.dims()[1] * manner.groups)?;
                on!(device, convolve_transposed(&first, &second, bias, &windows, manner))?
            }
            Factor::Weight => on!(device, convolve_weight(&first, &second, &windows, manner))?,
        };
        one(as_rank(&result, axes, if self.factor == Factor::Weight { axes + 2 } else { rank })?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let g = &arriving[0];
        let to = |factor, first: &Tensor, second: &Tensor| match self.known(factor, call) {
            Ok(op) => apply(op, [first, second]),
            Err(fault) => Tensor::failed(call.error(fault)),
        };
        match (self.factor, which) {
            (Factor::Y, 0) => to(Factor::X, g, &call.input(1)),
            (Factor::Y, 1) => to(Factor::Weight, &call.input(0), g),
            (Factor::X, 0) => to(Factor::Y, g, &call.input(1)),
            (Factor::X, 1) => to(Factor::Weight, g, &call.input(0)),
            (Factor::Weight, 0) => to(Factor::X, &call.input(1), g),
            (Factor::Weight, 1) => to(Factor::Y, &call.input(0), g),
            // The bias: everything but its channel is summed.
            _ => g.sum_over(everything_but(call.output_dims(0).len(), self.axes)),
        }
    }
    fn saves(&self, which: usize) -> Saves {
        match which {
            0 => Saves::input(1),
            1 => Saves::input(0),
            _ => Saves::NONE,
        }
    }
    fn rule(&self, which: usize) -> &'static str {
        match (self.factor, which) {
            (Factor::Y, 0) => "∂L/∂x = the transposed convolution of ∂L/∂y with the weight",
            (Factor::Y, 1) => "∂L/∂w[o, c, tap] = Σ over images and places of ∂L/∂y[o] · x[c] under the tap",
            (Factor::X, 0) => "∂L/∂y = the convolution of ∂L/∂x with the weight",
            (Factor::X, 1) => "∂L/∂w[o, c, tap] = Σ over images and places of y[o] · ∂L/∂x[c] under the tap",
            (Factor::Weight, 0) => "∂L/∂x = the transposed convolution of y with ∂L/∂w",
            (Factor::Weight, 1) => "∂L/∂y = the convolution of x with ∂L/∂w",
            _ => "∂L/∂b = Σ ∂L/∂y over images and places",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        if self.factor == Factor::Weight { &["input", "result"] } else { &["input", "weight", "bias"] }
    }
}

/// All axes but the channels.
fn everything_but(rank: usize, axes: usize) -> AxisList {
    (0..rank).filter(|&axis| axis + axes + 1 != rank).collect::<Vec<usize>>().axes()
}

#[track_caller]
fn convolution(
    (factor, axes): (Factor, usize),
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: Conv,
) -> Tensor {
    let op = Convolution { factor, axes, plan: Plan::Asked(conv) };
    match bias {
        Some(bias) => apply_slice(op, &[x, weight, bias]),
        None => apply(op, [x, weight]),
    }
}

macro_rules! convolutions {
    ($($(#[$meta:meta])* $name:ident $factor:ident $axes:literal;)*) => {
        impl Tensor { $(
            $(#[$meta])*
            #[track_caller]
            pub fn $name(&self, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Tensor {
                convolution((Factor::$factor, $axes), self, weight, bias, conv)
            }
        )* }
    };
}

convolutions! {
    /// Convolution over sequences `[batch, channels, length]` with a weight `[outputs, channels / groups, kernel]`:
    /// `y[n, o, p] = bias[o] + Σ x[n, c, p · stride + tap · dilation - padding] · weight[o, c, tap]`.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let x = Tensor::from([[[1.0, 2.0, 4.0, 8.0]]]);
    /// let weight = Tensor::from([[[-1.0, 1.0]]]); // differences of neighbours
    /// assert_eq!(x.conv1d(&weight, None, Conv::new()).to_vec::<f32>()?, [1.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    conv1d Y 1;
    /// Convolution over images `[batch, channels, height, width]` (or without the batch) with a weight
    /// `[outputs, channels / groups, height, width]`: each result is the sum of the products of the weight with what lies
    /// under it. It is computed as a matrix product whose columns are never stored.
    ///
    /// ```
    /// use chainrule::{Conv, DType, Tensor};
    /// let image = Tensor::arange(16).to_dtype(DType::F32).reshape([1, 1, 4, 4]);
    /// let blur = Tensor::full([1, 1, 2, 2], 0.25, DType::F32);
    /// assert_eq!(image.conv2d(&blur, None, Conv::new().stride(2)).to_vec::<f32>()?, [2.5, 4.5, 10.5, 12.5]);
    /// let bias = Tensor::from([100.0]);
    /// assert_eq!(image.conv2d(&blur, Some(&bias), Conv::new()).dims()?, [1, 1, 3, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    conv2d Y 2;
    /// Convolution over volumes `[batch, channels, depth, height, width]`; see [`conv2d`](Tensor::conv2d).
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let y = Tensor::ones([1, 2, 4, 4, 4]).conv3d(&Tensor::ones([5, 2, 2, 2, 2]), None, Conv::new());
    /// assert_eq!((y.dims()?, y.max().item()?), ([1, 5, 3, 3, 3], 16.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    conv3d Y 3;
    /// Transposed convolution over sequences, with a weight `[channels, outputs / groups, kernel]`: each element adds the
    /// weight, times itself, to the result. It is what takes the gradient of [`conv1d`](Tensor::conv1d) to its input.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let x = Tensor::from([[[1.0, 10.0]]]);
    /// let weight = Tensor::from([[[1.0, 2.0, 3.0]]]);
    /// let y = x.conv_transpose1d(&weight, None, Conv::new().stride(2));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 13.0, 20.0, 30.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "deconvolution")]
    conv_transpose1d X 1;
    /// Transposed convolution over images, with a weight `[channels, outputs / groups, height, width]`.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let x = Tensor::ones([1, 8, 16, 16]);
    /// let y = x.conv_transpose2d(&Tensor::ones([8, 3, 4, 4]), None, Conv::new().stride(2).padding(1));
    /// assert_eq!(y.dims()?, [1, 3, 32, 32]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "deconvolution")]
    conv_transpose2d X 2;
    /// Transposed convolution over volumes, with a weight `[channels, outputs / groups, depth, height, width]`.
    ///
    /// ```
    /// use chainrule::{Conv, Tensor};
    /// let x = Tensor::ones([1, 2, 3, 3, 3]);
    /// let y = x.conv_transpose3d(&Tensor::ones([2, 1, 2, 2, 2]), None, Conv::new().stride(2));
    /// assert_eq!(y.dims()?, [1, 1, 6, 6, 6]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "deconvolution")]
    conv_transpose3d X 3;
}
