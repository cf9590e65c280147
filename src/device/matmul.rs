//! Products of matrices, with what may be joined to them in the same pass.

use super::Value;
use crate::error::Fault;
use crate::layout::{DType, Layout, MAX_RANK, Shape};

/// What a product is joined with: `alpha · a · b + beta · start + bias`.
#[derive(Clone, Copy, Debug)]
pub struct Joined<'a> {
    /// What the product is multiplied with.
    pub alpha: f64,
    /// A value that broadcasts to the result, and its factor.
    pub start: Option<(&'a Value, f64)>,
    /// One number for each column.
    pub bias: Option<&'a Value>,
    /// `b` is a weight that is not being learnt: what is made of it for products may be kept beside it until it changes.
    pub at_rest: bool,
}

impl Default for Joined<'_> {
    fn default() -> Self {
        Joined { alpha: 1.0, start: None, bias: None, at_rest: false }
    }
}

/// The kernels of matrix products.
pub trait Matmul {
    /// `a · b` over the last two axes; the axes before them broadcast and are never copied. Both have two axes or more and
    /// the same element type; strides are free. Integers wrap.
    fn matmul(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault>;
}

pub(crate) fn differ(left: DType, right: DType) -> Fault {
    Fault::dtype(
        format!("the element types differ: {left} and {right}"),
        format!("convert one of them, for example with to_dtype(DType::{left:?})"),
    )
}

/// How a batched product is done: the batch axes that remain, and one matrix product for each of their positions.
pub(in crate::device) struct Plan {
    pub(in crate::device) shape: Shape,
    pub(in crate::device) m: usize,
    pub(in crate::device) n: usize,
    pub(in crate::device) k: usize,
    /// Steps of a row and a shared position of A, of a column and a shared position of B.
    pub(in crate::device) left: [isize; 2],
    pub(in crate::device) right: [isize; 2],
    pub(in crate::device) batch: usize,
    pub(in crate::device) sizes: [usize; MAX_RANK],
    pub(in crate::device) left_steps: [isize; MAX_RANK],
    pub(in crate::device) right_steps: [isize; MAX_RANK],
    pub(in crate::device) axes: usize,
    /// Where each begins in its buffer.
    pub(in crate::device) starts: [usize; 2],
}

impl Plan {
    pub(in crate::device) fn new(a: &Layout, b: &Layout) -> Result<Plan, Fault> {
        let ([.., m, k], [.., depth, n]) = (a.dims(), b.dims()) else {
            return Err(Fault::defect("a product of fewer than two axes"));
        };
        let (mut m, k, n) = (*m, *k, *n);
        if k != *depth {
            return Err(Fault::shape(
                "the inner sizes differ",
                format!("the left's last size ({k}) must equal the right's second-to-last ({depth})"),
            ));
        }
        let (rank_a, rank_b) = (a.rank(), b.rank());
        let starts = [a.offset(), b.offset()];
        if let (&[down, along], &[inner, across]) = (a.strides(), b.strides()) {
            let (shape, sizes, steps) = (Shape::new(&[m, n])?, [1; MAX_RANK], [0; MAX_RANK]);
            let (left, right, left_steps, right_steps) = ([down, along], [across, inner], steps, steps);
            return Ok(Plan { shape, m, n, k, left, right, batch: 1, sizes, left_steps, right_steps, axes: 0, starts });
        }
        let batch = Shape::new(&a.dims()[..rank_a - 2])?.broadcast(&Shape::new(&b.dims()[..rank_b - 2])?)?;
        let mut dims = [1; MAX_RANK];
        let mut axes = batch.len();
        if axes + 2 > MAX_RANK {
            return Err(Fault::shape(
                format!("the result has {} axes", axes + 2),
                format!("a tensor has at most {MAX_RANK} axes"),
            ));
        }
        dims[..axes].copy_from_slice(&batch);
        (dims[axes], dims[axes + 1]) = (m, n);
        let shape = Shape::new(&dims[..axes + 2])?;

        // Steps along the batch axes; a broadcast axis steps by 0.
        let steps = |layout: &Layout| {
            let mut steps = [0; MAX_RANK];
            let front = axes + 2 - layout.rank();
            for axis in 0..layout.rank() - 2 {
                steps[front + axis] = if layout.dims()[axis] == 1 { 0 } else { layout.strides()[axis] };
            }
            steps
        };
        let (left_steps, right_steps) = (steps(a), steps(b));
        let mut left = [a.strides()[rank_a - 2], a.strides()[rank_a - 1]];
        let right = [b.strides()[rank_b - 1], b.strides()[rank_b - 2]];
        // Rows of A go on through a batch axis that B does not have: then both are one longer axis of rows.
        while axes > 0 && right_steps[axes - 1] == 0 {
            let (size, step) = (batch[axes - 1], left_steps[axes - 1]);
            if m == 1 {
                left[0] = step;
            } else if size != 1 && step != left[0] * m as isize {
                break;
            }
            m *= size;
            axes -= 1;
        }
        let mut sizes = [1; MAX_RANK];
        sizes[..axes].copy_from_slice(&batch[..axes]);
        let batch = sizes[..axes].iter().product();
        Ok(Plan { shape, m, n, k, left, right, batch, sizes, left_steps, right_steps, axes, starts })
    }

    /// Where the matrices of batch position `item` begin.
    pub(in crate::device) fn offsets(&self, mut item: usize) -> [usize; 2] {
        let [mut left, mut right] = self.starts.map(|start| start as isize);
        for axis in (0..self.axes).rev() {
            let index = (item % self.sizes[axis]) as isize;
            item /= self.sizes[axis];
            left += index * self.left_steps[axis];
            right += index * self.right_steps[axis];
        }
        [left as usize, right as usize]
    }
}
