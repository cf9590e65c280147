//! Poolings as layers, in one, two and three dimensions.

use super::Layer;
use crate::error::{Error, Fault, Result};
use crate::layout::{SizeList, Sizes};
use crate::module;
use crate::ops::Pool;
use crate::tensor::Tensor;

/// `with_stride`, `with_padding`: what every sliding pooling has.
macro_rules! sliding {
    ($Pool:ident) => {
        /// The step from one window to the next; without it the size of a window.
        pub fn with_stride(self, stride: impl Sizes) -> $Pool {
            $Pool { pool: self.pool.stride(stride) }
        }
        /// Padding on both sides, at most half a window.
        pub fn with_padding(self, padding: impl Sizes) -> $Pool {
            $Pool { pool: self.pool.padding(padding) }
        }
        /// Elements that are left at the end of an axis get a window too, which is not full.
        #[doc(alias = "ceil_mode")]
        pub fn with_ceil(self) -> $Pool {
            $Pool { pool: self.pool.ceil() }
        }
    };
}

/// A layer of one field that holds no parameters.
macro_rules! parameterless {
    ($Layer:ident.$field:ident, $input:ident => $forward:expr) => {
        module!($Layer {; $field });
        impl Layer for $Layer {
            #[track_caller]
            fn forward(&self, $input: &Tensor) -> Tensor {
                let $Layer { $field } = self;
                $forward
            }
        }
    };
}

/// The windows that a pooling had.
#[derive(Clone, Debug, PartialEq)]
struct Unpool {
    window: SizeList,
    stride: SizeList,
    padding: SizeList,
}

impl Unpool {
    /// `(size - 1) · stride - 2 · padding + window` along each axis.
    #[track_caller]
    fn sizes(&self, axes: usize, input: &Tensor) -> Result<Vec<isize>> {
        let dims = input.shape()?;
        let fits = |list: &SizeList| list.len() == 1 || list.len() == axes;
        if dims.len() < axes || ![&self.window, &self.stride, &self.padding].into_iter().all(fits) {
            let what = format!("windows {:?} for {dims:?} with {axes} spatial axes", self.window);
            let help = "give window, stride and padding as one number for all axes, or one for each";
            return Err(Error::new("max_unpool", Fault::value(what, help)));
        }
        let of = |list: &SizeList, axis: usize| {
            let list = list.as_slice();
            list.get(if list.len() == 1 { 0 } else { axis }).copied().unwrap_or(0)
        };
        let sizes = dims[dims.len() - axes..].iter().enumerate().map(|(axis, &size)| {
            let steps = (size as isize - 1).max(0).saturating_mul(of(&self.stride, axis));
            steps.saturating_sub(of(&self.padding, axis).saturating_mul(2)).saturating_add(of(&self.window, axis))
        });
        Ok(sizes.collect())
    }
}

macro_rules! pools {
    ($axes:literal $what:literal $input:literal $half:literal $ones:literal: $Max:ident $max:ident $max_positions:ident,
        $Average:ident $average:ident, $AdaptiveMax:ident $adaptive_max:ident $adaptive_max_positions:ident,
        $AdaptiveAverage:ident $adaptive_average:ident, $Unpool:ident $unpool:ident, $Power:ident $power:ident) => {
        #[doc = concat!("The greatest element of each window of ", $what, ".\n\n```\nuse chainrule::nn::{Layer, ",
            stringify!($Max), "};\nuse chainrule::Tensor;\nlet pool = ", stringify!($Max), "::new(2);\n\
            assert_eq!(pool.forward(&Tensor::zeros(", $input, ")).dims()?, ", $half, ");\n\
            let overlapping = ", stringify!($Max), "::new(3).with_stride(2).with_padding(1);\n\
            assert_eq!(overlapping.forward(&Tensor::zeros(", $input, ")).dims()?, ", $half,
            ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $Max {
            pool: Pool,
        }
        impl $Max {
            /// Windows of this size, side by side.
            pub fn new(window: impl Sizes) -> $Max {
                $Max { pool: Pool::new(window) }
            }
            sliding!($Max);
            /// The step between the elements of a window.
            pub fn with_dilation(self, dilation: impl Sizes) -> $Max {
                $Max { pool: self.pool.dilation(dilation) }
            }
            #[doc = concat!("With the position of each winner, for [`", stringify!($Unpool), "`].\n\n```\nuse \
                chainrule::nn::", stringify!($Max), ";\nuse chainrule::Tensor;\nlet [y, positions] = ", stringify!($Max),
                "::new(2).forward_with_positions(&Tensor::zeros(", $input, "));\n\
                assert_eq!(y.shape()?, positions.shape()?);\n# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn forward_with_positions(&self, input: &Tensor) -> [Tensor; 2] {
                input.$max_positions(self.pool)
            }
        }
        parameterless!($Max.pool, input => input.$max(*pool));

        #[doc = concat!("The average of each window of ", $what, ".\n\n```\nuse chainrule::nn::{", stringify!($Average),
            ", Layer};\nuse chainrule::Tensor;\nlet pool = ", stringify!($Average), "::new(2);\n\
            assert_eq!(pool.forward(&Tensor::ones(", $input, ")).dims()?, ", $half, ");\n\
            # Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $Average {
            pool: Pool,
        }
        impl $Average {
            /// Windows of this size, side by side.
            pub fn new(window: impl Sizes) -> $Average {
                $Average { pool: Pool::new(window) }
            }
            sliding!($Average);
            /// An average divides by the number of elements alone, not of elements and padding.
            #[doc(alias = "count_include_pad")]
            pub fn without_counting_padding(self) -> $Average {
                $Average { pool: self.pool.without_padding() }
            }
            /// An average divides by this number, whatever the window holds; 1 gives sums.
            #[doc(alias = "divisor_override")]
            pub fn with_divisor(self, divisor: f64) -> $Average {
                $Average { pool: self.pool.divisor(divisor) }
            }
        }
        parameterless!($Average.pool, input => input.$average(*pool));

        #[doc = concat!("The greatest element of so many windows, as even as they can be, over ", $what, ".\n\n```\nuse \
            chainrule::nn::{", stringify!($AdaptiveMax), ", Layer};\nuse chainrule::Tensor;\nlet pool = ",
            stringify!($AdaptiveMax), "::new(1);\nassert_eq!(pool.forward(&Tensor::zeros(", $input, ")).dims()?, ", $ones,
            ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $AdaptiveMax {
            windows: SizeList,
        }
        impl $AdaptiveMax {
            /// So many windows along each axis.
            pub fn new(windows: impl Sizes) -> $AdaptiveMax {
                $AdaptiveMax { windows: windows.sizes() }
            }
            #[doc = concat!("With the position of each winner, counted in row-major order.\n\n```\nuse \
                chainrule::nn::", stringify!($AdaptiveMax), ";\nuse chainrule::Tensor;\nlet [y, positions] = ",
                stringify!($AdaptiveMax), "::new(2).forward_with_positions(&Tensor::zeros(", $input, "));\n\
                assert_eq!(y.shape()?, positions.shape()?);\n# Ok::<(), chainrule::Error>(())\n```")]
            #[doc(alias = "return_indices")]
            #[track_caller]
            pub fn forward_with_positions(&self, input: &Tensor) -> [Tensor; 2] {
                input.$adaptive_max_positions(&self.windows)
            }
        }
        parameterless!($AdaptiveMax.windows, input => input.$adaptive_max(windows));

        #[doc = concat!("The average of so many windows, as even as they can be, over ", $what, "; 1 is global average \
            pooling.\n\n```\nuse chainrule::nn::{", stringify!($AdaptiveAverage), ", Layer};\nuse chainrule::Tensor;\n\
            let pool = ", stringify!($AdaptiveAverage), "::new(1);\nassert_eq!(pool.forward(&Tensor::zeros(", $input,
            ")).dims()?, ", $ones, ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $AdaptiveAverage {
            windows: SizeList,
        }
        impl $AdaptiveAverage {
            /// So many windows along each axis.
            pub fn new(windows: impl Sizes) -> $AdaptiveAverage {
                $AdaptiveAverage { windows: windows.sizes() }
            }
        }
        parameterless!($AdaptiveAverage.windows, input => input.$adaptive_average(windows));

        #[doc = concat!("The root of the sum of powers of each window of ", $what, ", `(Σ xᵖ)^(1/p)`: between the average and the \
            greatest.\n\n```\nuse chainrule::nn::{Layer, ", stringify!($Power), "};\nuse chainrule::Tensor;\nlet pool = ",
            stringify!($Power), "::new(2.0, 2);\nassert_eq!(pool.forward(&Tensor::ones(", $input, ")).dims()?, ", $half,
            ");\n# Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $Power {
            power: f64,
            pool: Pool,
        }
        module!($Power {; power, pool });
        impl $Power {
            /// This power, windows of this size side by side.
            pub fn new(power: f64, window: impl Sizes) -> $Power {
                $Power { power, pool: Pool::new(window) }
            }
            /// The step from one window to the next; without it the size of a window.
            pub fn with_stride(self, stride: impl Sizes) -> $Power {
                $Power { pool: self.pool.stride(stride), ..self }
            }
            /// Elements that are left at the end of an axis get a window too; it counts as if it were full.
            #[doc(alias = "ceil_mode")]
            pub fn with_ceil(self) -> $Power {
                $Power { pool: self.pool.ceil(), ..self }
            }
        }
        impl Layer for $Power {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                input.$power(self.power, self.pool)
            }
        }

        #[doc = concat!("The opposite of [`", stringify!($Max), "`]: the winners at their positions, zeros elsewhere.\n\n\
            ```\nuse chainrule::nn::{", stringify!($Max), ", ", stringify!($Unpool), "};\nuse chainrule::Tensor;\n\
            let x = Tensor::ones(", $input, ");\nlet [y, positions] = ", stringify!($Max),
            "::new(2).forward_with_positions(&x);\nlet back = ", stringify!($Unpool), "::new(2).forward(&y, &positions);\n\
            assert_eq!(back.shape()?, x.shape()?);\nassert_eq!(back.sum().item()?, y.sum().item()?);\n\
            # Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Unpool {
            unpool: Unpool,
        }
        module!($Unpool {; unpool });
        impl $Unpool {
            /// For windows of this size, side by side.
            pub fn new(window: impl Sizes) -> $Unpool {
                $Unpool { unpool: Unpool { window: window.sizes(), stride: window.sizes(), padding: 0.sizes() } }
            }
            /// The step that the pooling had.
            pub fn with_stride(self, stride: impl Sizes) -> $Unpool {
                $Unpool { unpool: Unpool { stride: stride.sizes(), ..self.unpool } }
            }
            /// The padding that the pooling had.
            pub fn with_padding(self, padding: impl Sizes) -> $Unpool {
                $Unpool { unpool: Unpool { padding: padding.sizes(), ..self.unpool } }
            }
            /// The winners at their positions, in the smallest sizes that the pooling may have had.
            #[track_caller]
            pub fn forward(&self, input: &Tensor, positions: &Tensor) -> Tensor {
                match self.unpool.sizes($axes, input) {
                    Ok(sizes) => input.$unpool(positions, sizes),
                    Err(error) => Tensor::failed(error),
                }
            }
            #[doc = concat!("The same in spatial sizes of your own, where the pooling left elements over.\n\n```\nuse \
                chainrule::nn::{", stringify!($Max), ", ", stringify!($Unpool), "};\nuse chainrule::Tensor;\n\
                let [y, positions] = ", stringify!($Max), "::new(2).forward_with_positions(&Tensor::ones(", $input, "));\n\
                let back = ", stringify!($Unpool), "::new(2).forward_to(&y, &positions, [9; ", $axes, "]);\n\
                assert_eq!(back.size(-1)?, 9);\n# Ok::<(), chainrule::Error>(())\n```")]
            #[track_caller]
            pub fn forward_to(&self, input: &Tensor, positions: &Tensor, sizes: impl Sizes) -> Tensor {
                input.$unpool(positions, sizes)
            }
        }
    };
}

pools! { 1 "sequences `[batch, channels, length]`" "[2, 3, 8]" "[2, 3, 4]" "[2, 3, 1]":
MaxPool1d max_pool1d max_pool1d_with_positions, AvgPool1d average_pool1d,
AdaptiveMaxPool1d adaptive_max_pool1d adaptive_max_pool1d_with_positions, AdaptiveAvgPool1d adaptive_average_pool1d, MaxUnpool1d max_unpool1d, LpPool1d lp_pool1d }
pools! { 2 "images `[batch, channels, height, width]`" "[2, 3, 8, 8]" "[2, 3, 4, 4]" "[2, 3, 1, 1]":
MaxPool2d max_pool2d max_pool2d_with_positions, AvgPool2d average_pool2d,
AdaptiveMaxPool2d adaptive_max_pool2d adaptive_max_pool2d_with_positions, AdaptiveAvgPool2d adaptive_average_pool2d, MaxUnpool2d max_unpool2d, LpPool2d lp_pool2d }
pools! { 3 "volumes `[batch, channels, depth, height, width]`" "[2, 3, 8, 8, 8]" "[2, 3, 4, 4, 4]" "[2, 3, 1, 1, 1]":
MaxPool3d max_pool3d max_pool3d_with_positions, AvgPool3d average_pool3d,
AdaptiveMaxPool3d adaptive_max_pool3d adaptive_max_pool3d_with_positions, AdaptiveAvgPool3d adaptive_average_pool3d, MaxUnpool3d max_unpool3d, LpPool3d lp_pool3d }
