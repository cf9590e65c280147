//! The sizes of transposed convolutions.

use super::conv::{Conv, Padding, within_reason};
use super::spatial::{PerAxis, axis_name, spatial};
use crate::device::window::Sliding;
use crate::error::Fault;

impl Conv {
    /// The windows of the convolution whose transpose takes these spatial sizes.
    pub(super) fn transposed_windows(
        &self,
        axes: usize,
        sizes: [usize; 3],
        kernel: [usize; 3],
    ) -> Result<[Sliding; 3], Fault> {
        let stride = self.stride.resolve("stride", axes, 1, 1)?;
        let dilation = self.dilation.resolve("dilation", axes, 1, 1)?;
        let extra = self.output_padding.resolve("output padding", axes, 0, 0)?;
        let padding = match self.padding {
            Padding::Both(padding) => padding.resolve("padding", axes, 0, 0)?,
            Padding::Same => {
                return Err(Fault::value(
                    "same padding in a transposed convolution",
                    "its sizes grow with the stride: give the padding in numbers",
                ));
            }
        };
        let mut windows = [Sliding::POINT; 3];
        for axis in 3 - axes..3 {
            let (name, count) = (axis_name(axis), sizes[axis]);
            if extra[axis] >= stride[axis].max(dilation[axis]) {
                return Err(Fault::value(
                    format!(
                        "an output padding of {} with a stride of {} and a dilation of {}",
                        extra[axis], stride[axis], dilation[axis]
                    ),
                    "it must be smaller than the stride or the dilation: more would be zeros that nothing reaches",
                ));
            }
            let whole = (count.max(1) - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 + extra[axis];
            let size = whole.saturating_sub(2 * padding[axis]);
            if count == 0 || size == 0 {
                return Err(Fault::shape(
                    format!("the result would have a {name} of {}", whole as isize - 2 * padding[axis] as isize),
                    format!(
                        "({count} - 1) · {} - 2 · {} + {} · ({} - 1) + 1 + {} must be above 0: pad less",
                        stride[axis], padding[axis], dilation[axis], kernel[axis], extra[axis]
                    ),
                ));
            }
            windows[axis] = Sliding {
                size,
                count,
                kernel: kernel[axis],
                stride: stride[axis],
                before: padding[axis],
                dilation: dilation[axis],
            };
        }
        Ok(windows)
    }

    /// The same with the output padding that makes a transposed convolution reach the last `axes` sizes of `wanted`.
    pub(crate) fn reaching(
        self,
        axes: usize,
        input: &[usize],
        weight: &[usize],
        wanted: &[usize],
    ) -> Result<Conv, Fault> {
        let mut plain = self;
        plain.output_padding = PerAxis::all(0);
        let (sizes, kernel) = (spatial(input, axes), spatial(weight, axes));
        within_reason(&sizes, &kernel)?;
        let least = plain.transposed_windows(axes, sizes, kernel)?;
        if wanted.len() != axes {
            return Err(Fault::shape(
                format!("{} sizes for {axes} axes", wanted.len()),
                format!("give {axes} sizes for the result, without batch and channels"),
            ));
        }
        let mut more = [0; 3];
        for (axis, &wanted) in wanted.iter().enumerate() {
            let window = &least[3 - axes + axis];
            let range = window.size..window.size + window.stride.max(window.dilation);
            if !range.contains(&wanted) {
                return Err(Fault::shape(
                    format!("a {} of {wanted} is not within reach", axis_name(3 - axes + axis)),
                    format!("from this input it can be {} to {}", range.start, range.end - 1),
                ));
            }
            more[axis] = wanted - range.start;
        }
        Ok(self.output_padding(&more[..axes]))
    }
}
