//! Rows of a table, by their number.

use super::index::{Select, Use};
use crate::device::Combine;
use crate::error::Fault;
use crate::layout::Integer;
use crate::op::apply;
use crate::tensor::{Tensor, refused};

impl Tensor {
    /// The rows of `table` that these whole numbers name; the last axis of the result is a row. The gradient for the
    /// table is dense: every use of a row adds to it, in order.
    ///
    /// Numbers may not be negative: what names a word does not count from the end.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let table = Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).variable();
    /// let words = Tensor::from([2, 0, 2]);
    /// let rows = words.embedding(&table);
    /// assert_eq!(rows.to_vec::<f32>()?, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
    /// let gradient = rows.sum().backward()?;
    /// assert_eq!(gradient.of(&table)?.to_vec::<f32>()?, [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn embedding(&self, table: &Tensor) -> Tensor {
        apply(Select { axis: 0, usage: Use::Embedding { padding: None } }, [table, self])
    }
    /// As [`embedding`](Tensor::embedding), where the row at `padding` (from the end when negative) stands for padding:
    /// it is read like any other, but its gradient is zero, so that it does not learn.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let table = Tensor::from([[0.0, 0.0], [3.0, 4.0]]).variable();
    /// let rows = Tensor::from([1, 0, 0]).embedding_with_padding(&table, 0);
    /// assert_eq!(rows.sum().backward()?.of(&table)?.to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "padding_idx")]
    pub fn embedding_with_padding(&self, table: &Tensor, padding: impl Integer) -> Tensor {
        apply(Select { axis: 0, usage: Use::Embedding { padding: Some(padding.number()) } }, [table, self])
    }
    /// Rows of `table` put together in bags: their sum, their mean, or the largest of each element. The whole numbers are a
    /// matrix with one bag in each row; or a vector, and `starts` says where each bag begins. An empty bag is zeros.
    ///
    /// ```
    /// use chainrule::{Combine, Tensor};
    /// let table = Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// let words = Tensor::from([0, 2, 1]);
    /// let bags = words.embedding_bag(&table, Some(&Tensor::from([0, 2])), Combine::Sum);
    /// assert_eq!(bags.to_vec::<f32>()?, [6.0, 8.0, 3.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn embedding_bag(&self, table: &Tensor, starts: Option<&Tensor>, combine: Combine) -> Tensor {
        let (shape, bags) = match (self.shape(), starts.map(|starts| starts.to_vec::<i64>()).transpose()) {
            (Ok(shape), Ok(bags)) => (shape, bags),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        if !matches!(combine, Combine::Sum | Combine::Mean | Combine::Largest) {
            let fault =
                Fault::value(format!("bags by {combine:?}"), "use Combine::Sum, Combine::Mean or Combine::Largest");
            return refused("embedding_bag", fault, &[self, table]);
        }
        let rows = self.embedding(table);
        let (Some(starts), Some(begins)) = (starts, bags) else {
            return match (shape.len(), combine) {
                (2, Combine::Mean) if shape[1] > 0 => rows.mean_over(1),
                (2, Combine::Largest) if shape[1] > 0 => rows.max_along(1).0,
                (2, _) => rows.sum_over(1),
                (axes, _) => {
                    let fault = Fault::shape(
                        format!("the numbers have {axes} axes, and no starts are given"),
                        "give a matrix with one bag in each row, or a vector and where each bag starts",
                    );
                    refused("embedding_bag", fault, &[self, table])
                }
            };
        };
        let count = shape.first().copied().unwrap_or(0);
        let ascending = begins.windows(2).all(|pair| pair[0] <= pair[1]);
        let inside =
            begins.first().is_none_or(|&first| first == 0) && begins.last().is_none_or(|&last| last <= count as i64);
        if shape.len() != 1 || !ascending || !inside || begins.is_empty() && count > 0 {
            let fault = Fault::value(
                format!("starts {begins:?} for numbers {shape:?}"),
                "the numbers are a vector; starts begin with 0, ascend, and stay within it",
            );
            return refused("embedding_bag", fault, &[self, table, starts]);
        }
        let (width, dtype) = match (table.size(1), table.dtype()) {
            (Ok(width), Ok(dtype)) => (width, dtype),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let bags: Vec<i64> =
            (0..count as i64).map(|at| begins.partition_point(|&begin| begin <= at) as i64 - 1).collect();
        match Tensor::from_vec(bags, [count]) {
            Ok(bags) => {
                let zeros = Tensor::full([begins.len(), width], 0.0, dtype).near(table);
                zeros.index_reduce(0, &bags.near(table), &rows, combine, false)
            }
            Err(error) => Tensor::failed(error),
        }
    }
}
