//! Matrices with zeros on one side of a diagonal, or on both.

use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Layout, Shape};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// The part of the last two axes below (`lower`) or above a diagonal, which belongs to it.
#[derive(Debug)]
struct Triangle {
    lower: bool,
    diagonal: isize,
}

impl Op for Triangle {
    fn name(&self) -> &'static str {
        if self.lower { "tril" } else { "triu" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        one(on!(inputs[0].device(), triangle(inputs[0], self.lower, self.diagonal))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Triangle { lower: self.lower, diagonal: self.diagonal }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = the same triangle of ∂L/∂y"
    }
}

/// The last axis as the diagonal of a matrix.
#[derive(Debug)]
struct DiagonalMatrix {
    offset: isize,
}

impl Op for DiagonalMatrix {
    fn name(&self) -> &'static str {
        "diagonal_matrix"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let Some((&length, outer)) = inputs[0].dims().split_last() else {
            return Err(Fault::shape("a single number is no diagonal", "give a tensor with at least one axis"));
        };
        let side = length.saturating_add(self.offset.unsigned_abs());
        let shape = Shape::new(&[outer, &[side, side]].concat())?;
        let part = Layout::contiguous(shape).diagonal(self.offset, outer.len(), outer.len() + 1);
        one(on!(inputs[0].device(), place(inputs[0], shape, &part, 0.0))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].diagonal(self.offset, -2, -1)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = the diagonal of ∂L/∂y"
    }
}

impl Tensor {
    /// The lower triangle of the last two axes: zeros where `column > row + diagonal`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.tril(0), Tensor::from([[1, 0], [3, 4]]));
    /// assert_eq!(x.tril(-1), Tensor::from([[0, 0], [3, 0]]));
    /// ```
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Tensor {
        apply(Triangle { lower: true, diagonal }, [self])
    }

    /// The upper triangle of the last two axes: zeros where `column < row + diagonal`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.triu(0), Tensor::from([[1, 2], [0, 4]]));
    /// ```
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Tensor {
        apply(Triangle { lower: false, diagonal }, [self])
    }

    /// Matrices of zeros with the last axis as their diagonal, `offset` places to the right.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1, 2]).diagonal_matrix(0), Tensor::from([[1, 0], [0, 2]]));
    /// assert_eq!(Tensor::from([3]).diagonal_matrix(1), Tensor::from([[0, 3], [0, 0]]));
    /// ```
    #[track_caller]
    #[doc(alias("diag", "diag_embed", "diagflat"))]
    pub fn diagonal_matrix(&self, offset: isize) -> Tensor {
        apply(DiagonalMatrix { offset }, [self])
    }
}
