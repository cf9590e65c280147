//! Layers that move numbers about: borders, other shapes, other sizes.

use super::{Layer, Module};
use crate::error::{Error, Fault, Result};
use crate::layout::{Integer, SizeList, Sizes};
use crate::module;
use crate::ops::{Pad, Pool, Resize};
use crate::tensor::Tensor;

/// (before, after) for each axis, from one number or from PyTorch's order: left, right, top, bottom, front, back.
#[track_caller]
fn borders(list: &SizeList, axes: usize) -> Result<Vec<(isize, isize)>> {
    match list.as_slice() {
        [all] => Ok(vec![(*all, *all); axes]),
        list if list.len() == 2 * axes => Ok(list.chunks(2).rev().map(|pair| (pair[0], pair[1])).collect()),
        list => Err(Error::new(
            "pad",
            Fault::value(
                format!("{} numbers for the borders of {axes} axes", list.len()),
                format!("give one for all of them, or {}: left, right, then top, bottom, then front, back", 2 * axes),
            ),
        )),
    }
}

macro_rules! pads {
    ($($(#[$doc:meta])* $One:ident $Two:ident $Three:ident $pad:expr;)*) => { $(
        pads! { @ $(#[$doc])* $One 1 "[1, 1, 4]" "[1, 1, 6]" $pad }
        pads! { @ $(#[$doc])* $Two 2 "[1, 1, 4, 4]" "[1, 1, 6, 6]" $pad }
        pads! { @ $(#[$doc])* $Three 3 "[1, 1, 4, 4, 4]" "[1, 1, 6, 6, 6]" $pad }
    )* };
    (@ $(#[$doc:meta])* $Pad:ident $axes:literal $input:literal $output:literal $pad:expr) => {
        $(#[$doc])*
        #[doc = concat!("Around the last ", $axes, " of the axes.\n\n```\nuse chainrule::nn::{Layer, ", stringify!($Pad),
            "};\nuse chainrule::Tensor;\nassert_eq!(", stringify!($Pad), "::new(1).forward(&Tensor::ones(", $input,
            ")).dims()?, ", $output, ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Pad {
            borders: SizeList,
        }
        module!($Pad {; borders });
        impl $Pad {
            /// One number for all borders, or two for each axis from the last: left, right, top, bottom, front, back.
            pub fn new(borders: impl Sizes) -> $Pad {
                $Pad { borders: borders.sizes() }
            }
        }
        impl Layer for $Pad {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                match borders(&self.borders, $axes) {
                    Ok(borders) => input.pad(&borders, $pad),
                    Err(error) => Tensor::failed(error),
                }
            }
        }
    };
}

pads! {
    /// Borders of zeros; negative ones crop.
    ZeroPad1d ZeroPad2d ZeroPad3d Pad::Zeros;
    /// Borders that mirror the input at its edge, which is not repeated.
    ReflectionPad1d ReflectionPad2d ReflectionPad3d Pad::Reflect;
    /// Borders that repeat the edge.
    ReplicationPad1d ReplicationPad2d ReplicationPad3d Pad::Replicate;
    /// Borders that go on at the other end.
    CircularPad1d CircularPad2d CircularPad3d Pad::Circular;
}

macro_rules! constant_pads {
    ($($Pad:ident $axes:literal $input:literal $output:literal;)*) => { $(
        #[doc = concat!("Borders of one number, around the last ", $axes, " of the axes; negative ones crop.\n\n```\nuse \
            chainrule::nn::{", stringify!($Pad), ", Layer};\nuse chainrule::Tensor;\nlet y = ", stringify!($Pad),
            "::new(1, 7.0).forward(&Tensor::ones(", $input, "));\nassert_eq!((y.dims()?, y.max().item()?), (", $output,
            ", 7.0));\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Pad {
            borders: SizeList,
            number: f64,
        }
        module!($Pad {; borders, number });
        impl $Pad {
            /// One width for all borders, or two for each axis from the last: left, right, top, bottom, front, back.
            pub fn new(borders: impl Sizes, number: f64) -> $Pad {
                $Pad { borders: borders.sizes(), number }
            }
        }
        impl Layer for $Pad {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                match borders(&self.borders, $axes) {
                    Ok(borders) => input.pad(&borders, Pad::Constant(self.number)),
                    Err(error) => Tensor::failed(error),
                }
            }
        }
    )* };
}

constant_pads! {
    ConstantPad1d 1 "[1, 1, 4]" "[1, 1, 6]";
    ConstantPad2d 2 "[1, 1, 4, 4]" "[1, 1, 6, 6]";
    ConstantPad3d 3 "[1, 1, 4, 4, 4]" "[1, 1, 6, 6, 6]";
}

/// All axes from the second on made one: `[batch, ...]` becomes `[batch, the rest]`.
///
/// ```
/// use chainrule::nn::{Flatten, Layer};
/// use chainrule::Tensor;
/// assert_eq!(Flatten::new().forward(&Tensor::zeros([2, 3, 4, 5])).dims()?, [2, 60]);
/// assert_eq!(Flatten::new().with_axes(0, 1).forward(&Tensor::zeros([2, 3, 4])).dims()?, [6, 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flatten {
    first: isize,
    last: isize,
}
module!(Flatten {; first, last });

impl Default for Flatten {
    fn default() -> Flatten {
        Flatten::new()
    }
}

impl Flatten {
    /// From axis 1 to the last.
    pub fn new() -> Flatten {
        Flatten { first: 1, last: -1 }
    }
    /// From one axis to another, both included.
    pub fn with_axes(self, first: impl Integer, last: impl Integer) -> Flatten {
        Flatten { first: first.number(), last: last.number() }
    }
}

impl Layer for Flatten {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input.flatten_axes(self.first, self.last)
    }
}

/// One layer: its fields, how it is made, what it does.
macro_rules! layers {
    ($($(#[$doc:meta])* $Name:ident { $($field:ident: $Type:ty),* } $(#[$made:meta])* new($($argument:ident: $From:ty = $value:expr),*)
        |$this:ident, $input:ident| $forward:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $($field: $Type,)*
        }
        module!($Name {; $($field),* });
        impl $Name {
            $(#[$made])*
            pub fn new($($argument: $From),*) -> $Name {
                $Name { $($field: $value),* }
            }
        }
        impl Layer for $Name {
            #[track_caller]
            fn forward(&self, $input: &Tensor) -> Tensor {
                let $this = self;
                $forward
            }
        }
    )* };
}

layers! {
    /// One axis cut into several.
    ///
    /// ```
    /// use chainrule::nn::{Layer, Unflatten};
    /// use chainrule::Tensor;
    /// assert_eq!(Unflatten::new(1, [3, -1]).forward(&Tensor::zeros([2, 12])).dims()?, [2, 3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Unflatten { axis: isize, sizes: SizeList }
        /// This axis, into these sizes; one may be -1, the rest.
        new(axis: impl Integer = axis.number(), sizes: impl Sizes = sizes.sizes())
        |layer, input| input.unflatten(layer.axis, &layer.sizes);
    /// Another size along the spatial axes of `[batch, channels, ...]`: the operation is
    /// [`interpolate`](Tensor::interpolate).
    ///
    /// ```
    /// use chainrule::nn::{Layer, Upsample};
    /// use chainrule::{Interpolation, Resize, Tensor};
    /// let twice = Upsample::new(Resize::by(2.0).mode(Interpolation::Linear));
    /// assert_eq!(twice.forward(&Tensor::zeros([1, 3, 4, 5])).dims()?, [1, 3, 8, 10]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Upsample { resize: Resize }
        /// To sizes or by factors, and how.
        new(resize: Resize = resize)
        |layer, input| input.interpolate(layer.resize);
    /// Groups of `factor²` channels become squares of pixels: `[.., c · r², h, w]` to `[.., c, h · r, w · r]`.
    ///
    /// Shi et al., "Real-time single image and video super-resolution", 2016.
    ///
    /// ```
    /// use chainrule::nn::{Layer, PixelShuffle};
    /// use chainrule::Tensor;
    /// assert_eq!(PixelShuffle::new(2).forward(&Tensor::zeros([1, 12, 4, 4])).dims()?, [1, 3, 8, 8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    PixelShuffle { factor: usize }
        /// So many times as high and as wide.
        new(factor: usize = factor)
        |layer, input| input.pixel_shuffle(layer.factor);
    /// The opposite of [`PixelShuffle`]: squares of pixels become channels.
    ///
    /// ```
    /// use chainrule::nn::{Layer, PixelUnshuffle};
    /// use chainrule::Tensor;
    /// assert_eq!(PixelUnshuffle::new(2).forward(&Tensor::zeros([1, 3, 8, 8])).dims()?, [1, 12, 4, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    PixelUnshuffle { factor: usize }
        /// Height and width divided by this.
        new(factor: usize = factor)
        |layer, input| input.pixel_unshuffle(layer.factor);
    /// The channels of several groups dealt out anew, one of each group in turn.
    ///
    /// Zhang, Zhou, Lin, Sun, "ShuffleNet", 2017.
    ///
    /// ```
    /// use chainrule::nn::{ChannelShuffle, Layer};
    /// use chainrule::Tensor;
    /// let y = ChannelShuffle::new(2).forward(&Tensor::from([[[0.0], [1.0], [2.0], [3.0]]]));
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0, 1.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ChannelShuffle { groups: usize }
        /// So many groups.
        new(groups: usize = groups)
        |layer, input| input.channel_shuffle(layer.groups);
    /// What lies under each sliding window as a column: the operation is [`unfold`](Tensor::unfold).
    ///
    /// ```
    /// use chainrule::nn::{Layer, Unfold};
    /// use chainrule::{Pool, Tensor};
    /// assert_eq!(Unfold::new(Pool::new(3).padding(1)).forward(&Tensor::ones([2, 3, 8, 8])).dims()?, [2, 27, 64]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Unfold { windows: Pool }
        /// With these windows, which move by one unless a stride is given.
        new(windows: impl Into<Pool> = windows.into())
        |layer, input| input.unfold(layer.windows);
    /// Columns added up where [`Unfold`] takes them from: the operation is [`fold`](Tensor::fold).
    ///
    /// ```
    /// use chainrule::nn::{Fold, Layer};
    /// use chainrule::Tensor;
    /// let columns = Tensor::ones([1, 1, 3]).unfold(2);
    /// assert_eq!(Fold::new(3, 2).forward(&columns).to_vec::<f32>()?, [1.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Fold { sizes: SizeList, windows: Pool }
        /// Into these spatial sizes, with these windows.
        new(sizes: impl Sizes = sizes.sizes(), windows: impl Into<Pool> = windows.into())
        |layer, input| input.fold(&layer.sizes, layer.windows);
}

/// The input as it is: stands where a layer is left out.
///
/// ```
/// use chainrule::nn::{Identity, Layer};
/// use chainrule::Tensor;
/// assert_eq!(Identity.forward(&Tensor::from([1.0])).item()?, 1.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Identity;
module!(Identity {});

impl Layer for Identity {
    fn forward(&self, input: &Tensor) -> Tensor {
        input.clone()
    }
}

/// The input added to what a layer makes of it: `x + f(x)`. The layer's parameters keep their names.
///
/// He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, Residual};
/// use chainrule::Tensor;
/// let layer = Residual::new(Linear::new(4, 4, &mut Init::empty()));
/// assert_eq!(layer.forward(&Tensor::ones([1, 4])).to_vec::<f32>()?, [1.0; 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Residual<L> {
    /// What is added to the input.
    pub inner: L,
}
module!(<L: Module> Residual<L> { inner as "" });

impl<L: Layer> Residual<L> {
    /// Around a layer whose output has the input's sizes.
    pub fn new(inner: L) -> Residual<L> {
        Residual { inner }
    }
}

impl<L: Layer> Layer for Residual<L> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        input + self.inner.forward(input)
    }
}

/// A function as a layer: what has no parameters and no layer of its own.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, Map, Sequential};
/// use chainrule::Tensor;
/// let model = Sequential::new().then(Linear::new(4, 2, &mut Init::new())).then(Map::new("double", |x| x * 2.0));
/// assert_eq!(model.forward(&Tensor::zeros([3, 4])).dims()?, [3, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone)]
pub struct Map<F> {
    name: &'static str,
    function: F,
}

impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Map<F> {
    /// Of a function, with a name to print.
    pub fn new(name: &'static str, function: F) -> Map<F> {
        Map { name, function }
    }
}

impl<F: Send + Sync> Module for Map<F> {
    fn visit<'a>(&'a self, _: &super::Path<'_>, _: &mut dyn super::Visit<'a>) {}
    fn visit_mut<'a>(&'a mut self, _: &super::Path<'_>, _: &mut dyn super::VisitMut<'a>) {}
}

impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Layer for Map<F> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        (self.function)(input)
    }
}

impl<F> std::fmt::Debug for Map<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Map({})", self.name)
    }
}
