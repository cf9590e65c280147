//! Sizes without data: element types, shapes, strides.

mod arguments;
mod dtype;
mod order;
mod promote;
mod shape;
mod slice;
mod view;

pub use arguments::{Axes, Axis, AxisList, Integer, ResolvedAxes, SizeList, Sizes};
pub use dtype::{DType, Element};
pub(crate) use dtype::{dispatch, dispatch_float};
pub(crate) use order::{order_of, put_in_order, sort_numbers};
pub use shape::{MAX_RANK, Shape};
pub use slice::{Index, IndexList, IndexRange, Indices, step};
pub use view::Layout;
