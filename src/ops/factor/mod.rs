//! Linear algebra: matrices taken apart, and equations solved with the parts.
//!
//! Matrices stand in the last two axes; the axes before them are a batch.

mod cholesky;
mod qr;
mod solve;
mod spectrum;
mod triangular;

use crate::device::Value;
use crate::error::Fault;
use crate::layout::Shape;
use crate::op::{Call, Op, apply};
use crate::tensor::Tensor;

/// The last two axes exchanged.
#[track_caller]
fn turned(x: &Tensor) -> Tensor {
    x.transpose(-2, -1)
}

/// Two stacks of matrices with their batches broadcast: `A` square, `B` with as many rows.
fn equations(a: &Value, b: &Value) -> Result<[Value; 2], Fault> {
    if a.dtype() != b.dtype() {
        return Err(Fault::dtype(
            format!("the element types differ: {} and {}", a.dtype(), b.dtype()),
            format!("convert one of them, for example with to_dtype(DType::{:?})", a.dtype()),
        ));
    }
    let ([of_a @ .., rows, columns], [of_b @ .., height, width]) = (a.dims(), b.dims()) else {
        let few = if a.rank() < 2 { a.rank() } else { b.rank() };
        return Err(Fault::shape(
            format!("an operand has {few} axes"),
            "the left side needs two axes or more, the right side one or more",
        ));
    };
    if rows != columns {
        return Err(Fault::shape(
            format!("the matrix is not square: {rows} × {columns}"),
            "as many equations as unknowns are needed; least_squares solves others as well as can be",
        ));
    }
    if rows != height {
        return Err(Fault::shape(
            format!("the left side has {rows} rows, the right side {height}"),
            "each row is an equation: both sides must have as many",
        ));
    }
    let batch = Shape::new(of_a)?.broadcast(&Shape::new(of_b)?)?;
    let expanded = |x: &Value, sizes: [usize; 2]| {
        let shape = Shape::new(&[&batch, &sizes[..]].concat())?;
        x.with_layout(x.layout().expanded(&shape)?)
    };
    Ok([expanded(a, [*rows, *columns])?, expanded(b, [*height, *width])?])
}

/// Applies an operation to a matrix and a right side. A vector is a column meanwhile.
#[track_caller]
fn with_right(op: impl Op, a: &Tensor, right: &Tensor, vector: bool) -> Tensor {
    if vector { apply(op, [a, &right.unsqueeze(-1)]).squeeze_axes(-1) } else { apply(op, [a, right]) }
}

/// A gradient whose failure is told where the operation stands that it belongs to.
fn placed(gradient: Tensor, call: &Call<'_>) -> Tensor {
    match gradient.error() {
        Some(error) => Tensor::failed(call.error(Fault::new(error.kind(), error.what(), error.help()))),
        None => gradient,
    }
}
