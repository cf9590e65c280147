//! Convolutions and transposed convolutions as layers, in one, two and three dimensions.

use super::in_turn::{Behind, gathered};
use super::{Init, Initial, Layer, Module};
use crate::error::{Error, Fault, Result};
use crate::layout::{SizeList, Sizes};
use crate::module;
use crate::ops::conv::Convolution;
use crate::ops::finish::convolve_finished;
use crate::ops::{Conv, Pad};
use crate::tensor::{Parameter, Tensor, is_recording};
use std::marker::PhantomData;
use std::panic::Location;

/// The options of a convolution or transposed convolution that is about to be built: see [`Conv2d::options`],
/// [`ConvTranspose2d::options`] and their relatives. A number holds for all axes, a list for each.
///
/// ```
/// use chainrule::nn::{Conv2d, Init, Layer};
/// use chainrule::{Pad, Tensor};
/// let mut init = Init::new();
/// let layer = Conv2d::options(4, 8, [3, 5]).with_stride(2).with_padding([1, 2]).with_groups(2).build(&mut init);
/// assert_eq!(layer.weight.dims()?, [8, 2, 3, 5]);
/// assert_eq!(layer.forward(&Tensor::zeros([1, 4, 16, 16])).dims()?, [1, 8, 8, 8]);
/// let mirrored = Conv2d::options(4, 8, 3).with_same_padding().with_padding_mode(Pad::Reflect).build(&mut init);
/// assert_eq!(mirrored.forward(&Tensor::zeros([1, 4, 16, 16])).dims()?, [1, 8, 16, 16]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvOptions<L> {
    inputs: usize,
    outputs: usize,
    bias: bool,
    groups: usize,
    windows: Windows,
    layer: PhantomData<fn() -> L>,
}

/// What a forward pass needs to know besides weight and bias.
#[derive(Clone, Debug)]
struct Windows {
    conv: Conv,
    kernel: SizeList,
    /// None: as much as keeps the sizes.
    padding: Option<SizeList>,
    dilation: SizeList,
    border: Pad,
}

impl<L> ConvOptions<L> {
    fn new(inputs: usize, outputs: usize, kernel: impl Sizes) -> ConvOptions<L> {
        let windows = Windows {
            conv: Conv::new(),
            kernel: kernel.sizes(),
            padding: Some(0.sizes()),
            dilation: 1.sizes(),
            border: Pad::Zeros,
        };
        ConvOptions { inputs, outputs, bias: true, groups: 1, windows, layer: PhantomData }
    }
    fn with(self, change: impl FnOnce(Conv) -> Conv) -> ConvOptions<L> {
        let conv = change(self.windows.conv);
        ConvOptions { windows: Windows { conv, ..self.windows }, ..self }
    }
    /// The step from one window to the next; 1 unless it is given.
    pub fn with_stride(self, stride: impl Sizes) -> ConvOptions<L> {
        self.with(|conv| conv.stride(stride))
    }
    /// Borders on both sides of each axis; in a transposed convolution, what is cut off instead.
    pub fn with_padding(self, padding: impl Sizes) -> ConvOptions<L> {
        let padding = padding.sizes();
        let options = self.with(|conv| conv.padding(&padding));
        ConvOptions { windows: Windows { padding: Some(padding), ..options.windows }, ..options }
    }
    /// The step between the taps of the kernel.
    pub fn with_dilation(self, dilation: impl Sizes) -> ConvOptions<L> {
        let dilation = dilation.sizes();
        let options = self.with(|conv| conv.dilation(&dilation));
        ConvOptions { windows: Windows { dilation, ..options.windows }, ..options }
    }
    /// Channels are cut into so many groups that do not see each other; as many as channels make it depthwise.
    pub fn with_groups(self, groups: usize) -> ConvOptions<L> {
        ConvOptions { groups, ..self.with(|conv| conv.groups(groups)) }
    }
    /// Adds up as the definition says, never in a faster way with another rounding: [`Conv::exact`].
    pub fn with_exact_sums(self) -> ConvOptions<L> {
        self.with(Conv::exact)
    }
    /// Without a bias: before a batch norm it would be taken away again.
    pub fn without_bias(self) -> ConvOptions<L> {
        ConvOptions { bias: false, ..self }
    }
    /// Weight `[first, second / groups, kernel ...]` and bias `[outputs]`, uniform within `±1 / √(fan in)`.
    #[track_caller]
    fn start(&self, axes: usize, transposed: bool, init: &mut Init) -> (Parameter, Option<Parameter>) {
        let (first, second) = if transposed { (self.inputs, self.outputs) } else { (self.outputs, self.inputs) };
        let kernel = &self.windows.kernel;
        let place = Location::caller();
        let fault = |fault| {
            let weight = Parameter::new(Tensor::failed(Error::with("conv", fault, Vec::new(), place)));
            let bias = self.bias.then(|| weight.clone());
            (weight, bias)
        };
        if kernel.len() != 1 && kernel.len() != axes {
            return fault(Fault::value(
                format!("{} numbers for the kernel of {axes} axes", kernel.len()),
                format!("give one number for all of them, or {axes}"),
            ));
        }
        let divided = |channels: usize| (self.groups > 0 && channels.is_multiple_of(self.groups)).then_some(());
        let (Some(()), Some(())) = (divided(self.inputs), divided(self.outputs)) else {
            return fault(Fault::shape(
                format!("{} groups do not divide {} inputs and {} outputs", self.groups, self.inputs, self.outputs),
                "the number of groups must divide the channels on both sides",
            ));
        };
        let mut sizes = vec![usize_number(first), usize_number(second / self.groups)];
        sizes.extend((0..axes).map(|axis| number_for(kernel, axis)));
        // Negative sizes make no tensor, whatever the law.
        let seen = sizes[1..].iter().fold(1usize, |product, &size| product.saturating_mul(size.unsigned_abs()));
        let law = Initial::Within { size: seen };
        let weight = init.parameter(&sizes, law);
        (weight, init.parameter_if(self.bias, self.outputs, law))
    }
}

fn usize_number(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

/// The number of a list that belongs to an axis; one number belongs to all.
fn number_for(list: &SizeList, axis: usize) -> isize {
    let list = list.as_slice();
    list.get(if list.len() == 1 { 0 } else { axis }).copied().unwrap_or(0)
}

impl Windows {
    /// The input with its borders, and the convolution that is left to do.
    #[track_caller]
    fn bordered(&self, input: &Tensor, axes: usize) -> (Tensor, Conv) {
        if self.border == Pad::Zeros {
            return (input.clone(), self.conv);
        }
        let mut borders = Vec::with_capacity(axes);
        for axis in 0..axes {
            borders.push(match &self.padding {
                Some(padding) => (number_for(padding, axis), number_for(padding, axis)),
                None => {
                    let (dilation, kernel) = (number_for(&self.dilation, axis), number_for(&self.kernel, axis));
                    let total = dilation.saturating_mul(kernel.saturating_sub(1)).max(0);
                    (total / 2, total - total / 2)
                }
            });
        }
        (input.pad(&borders, self.border), self.conv.padding(0))
    }
    /// The convolution and what behind it can be done to its results on their way out: how many layers that are. Only where no
    /// gradient is wanted.
    #[track_caller]
    fn along(
        &self,
        axes: usize,
        weight: &Tensor,
        bias: Option<&Tensor>,
        input: &Tensor,
        behind: Behind<'_>,
    ) -> Option<(Tensor, usize)> {
        if is_recording() && (input.is_tracked() || weight.is_tracked() || bias.is_some_and(Tensor::is_tracked)) {
            return None;
        }
        let (finish, count) = gathered(behind)?;
        let (input, conv) = self.bordered(input, axes);
        Some((convolve_finished(Convolution::new(axes, conv), &input, weight, bias, &finish)?, count))
    }
}

macro_rules! convolutions {
    ($($(#[$doc:meta])* $Conv:ident $axes:literal $method:ident $kernel:literal $input:literal $output:literal;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\nWeight `[outputs, inputs / groups, ", $kernel, "]` and bias `[outputs]` start uniform within \
            `±1 / √(inputs / groups · kernel)`.\n\n```\nuse chainrule::nn::{", stringify!($Conv), ", Init, Layer};\nuse \
            chainrule::Tensor;\nlet layer = ", stringify!($Conv), "::new(3, 8, 3, &mut Init::new());\n\
            assert_eq!(layer.forward(&Tensor::zeros(", $input, ")).dims()?, ", $output,
            ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug)]
        pub struct $Conv {
            #[doc = concat!("`[outputs, inputs / groups, ", $kernel, "]`.")]
            pub weight: Parameter,
            /// `[outputs]`.
            pub bias: Option<Parameter>,
            windows: Windows,
        }
        module!($Conv { weight, bias; windows });

        impl $Conv {
            /// Stride 1, no padding, with a bias. The kernel is one size for all axes, or one for each.
            #[track_caller]
            pub fn new(inputs: usize, outputs: usize, kernel: impl Sizes, init: &mut Init) -> $Conv {
                $Conv::options(inputs, outputs, kernel).build(init)
            }
            /// With options: stride, padding, dilation, groups.
            #[doc = concat!("\n\n```\nuse chainrule::nn::{", stringify!($Conv), ", Init};\nlet layer = ", stringify!($Conv),
                "::options(4, 8, 3).with_stride(2).with_padding(1).without_bias().build(&mut Init::new());\n\
                assert!(layer.bias.is_none());\n```")]
            pub fn options(inputs: usize, outputs: usize, kernel: impl Sizes) -> ConvOptions<$Conv> {
                ConvOptions::new(inputs, outputs, kernel)
            }
            #[track_caller]
            pub(super) fn convolved(&self, weight: &Tensor, input: &Tensor) -> Tensor {
                let (input, conv) = self.windows.bordered(input, $axes);
                input.$method(weight, self.bias.as_deref(), conv)
            }
        }

        impl ConvOptions<$Conv> {
            /// As much padding as keeps the sizes; with an even kernel one more at the end. The stride must be 1.
            pub fn with_same_padding(self) -> ConvOptions<$Conv> {
                let options = self.with(Conv::same);
                ConvOptions { windows: Windows { padding: None, ..options.windows }, ..options }
            }
            /// What the padding holds: zeros unless another border is given.
            pub fn with_padding_mode(self, border: Pad) -> ConvOptions<$Conv> {
                ConvOptions { windows: Windows { border, ..self.windows }, ..self }
            }
            /// The layer, with new numbers.
            #[track_caller]
            pub fn build(self, init: &mut Init) -> $Conv {
                let (weight, bias) = self.start($axes, false, init);
                $Conv { weight, bias, windows: self.windows }.named()
            }
        }

        impl Layer for $Conv {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                self.convolved(&self.weight, input)
            }
            #[track_caller]
            fn forward_along(&self, input: &Tensor, behind: Behind<'_>) -> (Tensor, usize) {
                // No closure: an error is to name the caller's place.
                match self.windows.along($axes, &self.weight, self.bias.as_deref(), input, behind) {
                    Some(along) => along,
                    None => (self.forward(input), 0),
                }
            }
        }
    )* };
}

convolutions! {
    /// Convolution over sequences `[batch, channels, length]`.
    Conv1d 1 conv1d "length" "[2, 3, 16]" "[2, 8, 14]";
    /// Convolution over images `[batch, channels, height, width]`.
    ///
    /// LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989.
    Conv2d 2 conv2d "height, width" "[2, 3, 16, 16]" "[2, 8, 14, 14]";
    /// Convolution over volumes `[batch, channels, depth, height, width]`.
    Conv3d 3 conv3d "depth, height, width" "[2, 3, 5, 6, 7]" "[2, 8, 3, 4, 5]";
}

macro_rules! transposed {
    ($($(#[$doc:meta])* $Conv:ident $axes:literal $method:ident $kernel:literal $input:literal $output:literal;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\nWeight `[inputs, outputs / groups, ", $kernel, "]` and bias `[outputs]` start uniform within \
            `±1 / √(outputs / groups · kernel)`.\n\n```\nuse chainrule::nn::{", stringify!($Conv), ", Init, Layer};\nuse \
            chainrule::Tensor;\nlet layer = ", stringify!($Conv), "::new(3, 8, 3, &mut Init::new());\n\
            assert_eq!(layer.forward(&Tensor::zeros(", $input, ")).dims()?, ", $output,
            ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug)]
        pub struct $Conv {
            #[doc = concat!("`[inputs, outputs / groups, ", $kernel, "]`.")]
            pub weight: Parameter,
            /// `[outputs]`.
            pub bias: Option<Parameter>,
            conv: Conv,
        }
        module!($Conv { weight, bias; conv });

        impl $Conv {
            /// As [`forward`](Layer::forward), in spatial sizes of your own: with a stride above 1 several are possible, and this says
            /// which is meant, whatever the output padding.
            #[doc = concat!("\n\n```\nuse chainrule::nn::{", stringify!($Conv), ", Init};\nuse chainrule::Tensor;\nlet layer = ",
                stringify!($Conv), "::options(3, 8, 3).with_stride(2).build(&mut Init::new());\n\
                let x = Tensor::zeros(", $input, ");\n\
                let sizes: Vec<usize> = x.shape()?[2..].iter().map(|size| 2 * size + 2).collect();\n\
                assert_eq!(layer.forward_to(&x, &sizes).shape()?[2..], sizes);\n# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            #[doc(alias = "output_size")]
            pub fn forward_to(&self, input: &Tensor, sizes: impl Sizes) -> Tensor {
                match self.reaching(input, &sizes.sizes()) {
                    Ok(conv) => input.$method(&self.weight, self.bias.as_deref(), conv),
                    Err(error) => Tensor::failed(error),
                }
            }
            #[track_caller]
            pub(super) fn convolved(&self, weight: &Tensor, input: &Tensor) -> Tensor {
                input.$method(weight, self.bias.as_deref(), self.conv)
            }
            #[track_caller]
            fn reaching(&self, input: &Tensor, sizes: &SizeList) -> Result<Conv> {
                let wanted: Vec<usize> = sizes.as_slice().iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
                match self.conv.reaching($axes, &input.shape()?, &self.weight.shape()?, &wanted) {
                    Ok(conv) => Ok(conv),
                    Err(fault) => Err(Error::new(stringify!($method), fault)),
                }
            }
            /// Stride 1, no padding, with a bias. The kernel is one size for all axes, or one for each.
            #[track_caller]
            pub fn new(inputs: usize, outputs: usize, kernel: impl Sizes, init: &mut Init) -> $Conv {
                $Conv::options(inputs, outputs, kernel).build(init)
            }
            /// With options: stride, padding, output padding, dilation, groups.
            #[doc = concat!("\n\n```\nuse chainrule::nn::{", stringify!($Conv), ", Init};\nlet layer = ", stringify!($Conv),
                "::options(4, 8, 3).with_stride(2).with_padding(1).with_output_padding(1).build(&mut Init::new());\n\
                assert!(layer.bias.is_some());\n```")]
            pub fn options(inputs: usize, outputs: usize, kernel: impl Sizes) -> ConvOptions<$Conv> {
                ConvOptions::new(inputs, outputs, kernel)
            }
        }

        impl ConvOptions<$Conv> {
            /// So much larger at the end of each axis: less than the stride. Where the stride is above 1, inputs of
            /// several sizes have results of one size; this says which of them is meant.
            pub fn with_output_padding(self, output_padding: impl Sizes) -> ConvOptions<$Conv> {
                self.with(|conv| conv.output_padding(output_padding))
            }
            /// The layer, with new numbers.
            #[track_caller]
            pub fn build(self, init: &mut Init) -> $Conv {
                let (weight, bias) = self.start($axes, true, init);
                $Conv { weight, bias, conv: self.windows.conv }.named()
            }
        }

        impl Layer for $Conv {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                self.convolved(&self.weight, input)
            }
        }
    )* };
}

transposed! {
    /// Transposed convolution over sequences `[batch, channels, length]`: from few numbers to many.
    ConvTranspose1d 1 conv_transpose1d "length" "[2, 3, 16]" "[2, 8, 18]";
    /// Transposed convolution over images `[batch, channels, height, width]`: from few pixels to many.
    ///
    /// Zeiler, Krishnan, Taylor, Fergus, "Deconvolutional networks", 2010.
    ConvTranspose2d 2 conv_transpose2d "height, width" "[2, 3, 16, 16]" "[2, 8, 18, 18]";
    /// Transposed convolution over volumes `[batch, channels, depth, height, width]`.
    ConvTranspose3d 3 conv_transpose3d "depth, height, width" "[2, 3, 5, 6, 7]" "[2, 8, 7, 8, 9]";
}
