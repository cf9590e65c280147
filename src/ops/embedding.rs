//! Rows of a table, by their number.

use super::index::{Select, Use};
use crate::layout::Integer;
use crate::op::apply;
use crate::tensor::Tensor;

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
}
