//! What operations over one, two or three spatial axes share: options for each axis, and values seen with five axes.

use crate::device::Value;
use crate::device::window::Sliding;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape, SizeList, Sizes};

/// A number for each spatial axis, or one for all of them; as written, not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerAxis {
    count: usize,
    numbers: [isize; 3],
}

impl PerAxis {
    pub(super) fn new(sizes: impl Sizes) -> PerAxis {
        PerAxis::of(&sizes.sizes())
    }
    pub(super) fn of(list: &SizeList) -> PerAxis {
        let mut numbers = [0; 3];
        for (to, &number) in numbers.iter_mut().zip(list.as_slice()) {
            *to = number;
        }
        PerAxis { count: list.len(), numbers }
    }
    pub(super) const fn all(number: isize) -> PerAxis {
        PerAxis { count: 1, numbers: [number; 3] }
    }
    /// How many numbers were written.
    pub(super) fn len(&self) -> usize {
        self.count
    }
    /// The numbers for `axes` axes, the others 1 in front of them being `unused`.
    pub(super) fn resolve(&self, what: &str, axes: usize, least: isize, unused: usize) -> Result<[usize; 3], Fault> {
        if self.count != 1 && self.count != axes {
            return Err(Fault::value(
                format!("{} numbers for the {what} of {axes} axes", self.count),
                format!("give one number for all of them, or {axes}"),
            ));
        }
        let mut numbers = [unused; 3];
        for axis in 0..axes {
            let number = self.numbers[if self.count == 1 { 0 } else { axis }];
            if number < least || number > MOST {
                return Err(Fault::value(
                    format!("a {what} of {number}"),
                    format!("a {what} is a whole number from {least} to {MOST}"),
                ));
            }
            numbers[3 - axes + axis] = number as usize;
        }
        Ok(numbers)
    }
}

/// The greatest option that makes any sense: sums of a few products of two of these still fit.
pub(super) const MOST: isize = 1 << 30;

/// The name of one of the five axes.
pub(super) fn axis_name(axis: usize) -> &'static str {
    ["depth", "height", "width"][axis.min(2)]
}

/// The layout of `x` with the axes `[batch, channels, depth, height, width]`, where its last `axes` are spatial. There
/// may be no batch.
pub(super) fn five(x: &Value, axes: usize) -> Result<Value, Fault> {
    let rank = x.rank();
    if rank != axes + 2 && rank != axes + 1 {
        let names: Vec<&str> = (3 - axes..3).map(axis_name).collect();
        let names = names.join(", ");
        return Err(Fault::shape(
            format!("the input has {rank} axes"),
            format!("it needs {}: [batch, channels, {names}], or {} without the batch", axes + 2, axes + 1),
        ));
    }
    let (mut sizes, mut strides) = ([1; 5], [0; 5]);
    let (dims, steps) = (x.dims(), x.layout().strides());
    for back in 1..=axes {
        (sizes[5 - back], strides[5 - back]) = (dims[rank - back], steps[rank - back]);
    }
    (sizes[1], strides[1]) = (dims[rank - axes - 1], steps[rank - axes - 1]);
    if rank == axes + 2 {
        (sizes[0], strides[0]) = (dims[0], steps[0]);
    }
    x.with_layout(Layout::from_parts(Shape::new(&sizes)?, &strides, x.layout().offset()))
}

/// A dense result of five axes, with `axes` spatial ones and as many in all as its input had.
pub(super) fn as_rank(y: &Value, axes: usize, rank: usize) -> Result<Value, Fault> {
    let mut sizes = [1; 5];
    sizes.copy_from_slice(y.dims());
    let mut wanted = vec![sizes[0], sizes[1]];
    wanted.extend(&sizes[5 - axes..]);
    let skipped = wanted.len().saturating_sub(rank);
    y.with_layout(Layout::contiguous(Shape::new(&wanted[skipped..])?))
}

/// The spatial sizes of a tensor's dims, with 1 for axes that are not there.
pub(super) fn spatial(dims: &[usize], axes: usize) -> [usize; 3] {
    let mut sizes = [1; 3];
    let from = dims.len().saturating_sub(axes);
    for (to, &size) in sizes[3 - axes..].iter_mut().zip(&dims[from..]) {
        *to = size;
    }
    sizes
}

/// One axis of windows that slide over `size` elements with `before` and `after` elements of padding.
pub(super) fn sliding(
    axis: usize,
    size: usize,
    [kernel, stride, dilation]: [usize; 3],
    [before, after]: [usize; 2],
) -> Result<Sliding, Fault> {
    let reach = dilation * (kernel - 1) + 1;
    let padded = size + before + after;
    if reach > padded {
        let name = axis_name(axis);
        let spread = if dilation > 1 { format!(" ({kernel} taps, dilation {dilation})") } else { String::new() };
        return Err(Fault::shape(
            format!("the kernel is larger than the input: {reach}{spread} over a {name} of {padded}"),
            format!("the {name} is {size} and {} with padding; pad more, or use a smaller kernel", padded),
        ));
    }
    Ok(Sliding { size, count: (padded - reach) / stride + 1, kernel, stride, before, dilation })
}

/// Floats only, and of one type.
pub(super) fn same_floats(inputs: &[&Value]) -> Result<(), Fault> {
    let first = inputs[0].dtype();
    if !first.is_float() {
        return Err(Fault::dtype(format!("the input holds {first} elements"), float_help()));
    }
    match inputs.iter().find(|value| value.dtype() != first) {
        None => Ok(()),
        Some(other) => Err(Fault::dtype(
            format!("the element types differ: {first} and {}", other.dtype()),
            format!("convert one of them, for example with to_dtype(DType::{first:?})"),
        )),
    }
}

fn float_help() -> String {
    format!("convert it first, for example with to_dtype(DType::{:?})", DType::F32)
}
