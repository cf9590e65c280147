//! Rows of a table, by their number.

use super::claimed::claimed;
use super::index::{Select, Use};
use crate::device::{Combine, Device};
use crate::error::{Fault, Result};
use crate::layout::{DType, Integer};
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
        let shape = match self.shape() {
            Ok(shape) => shape,
            Err(error) => return Tensor::failed(error),
        };
        if !matches!(combine, Combine::Sum | Combine::Mean | Combine::Largest) {
            let fault =
                Fault::value(format!("bags by {combine:?}"), "use Combine::Sum, Combine::Mean or Combine::Largest");
            return refused("embedding_bag", fault, &[self, table]);
        }
        let rows = self.embedding(table);
        let Some(starts) = starts else {
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
        let (width, dtype, bags) = match (table.size(1), table.dtype(), starts.count()) {
            (Ok(width), Ok(dtype), Ok(bags)) => (width, dtype, bags),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Tensor::failed(error),
        };
        let numbers = match shape[..] {
            [count] if bags > 0 || count == 0 => self.bag_numbers(starts, count),
            _ => Ok(Err(no_starts(&starts.to_vec::<i64>().unwrap_or_default(), &shape))),
        };
        match numbers {
            Ok(Ok(numbers)) => {
                let zeros = Tensor::full([bags, width], 0.0, dtype).near(table);
                zeros.index_reduce(0, &numbers.near(table), &rows, combine, false)
            }
            Ok(Err(fault)) => refused("embedding_bag", fault, &[self, table, starts]),
            Err(error) => Tensor::failed(error),
        }
    }
    /// For each of these `count` numbers the bag that it lies in, by where the bags start. Starts on a GPU are not read: wrong ones are found
    /// out at the next read.
    fn bag_numbers(&self, starts: &Tensor, count: usize) -> Result<Result<Tensor, Fault>> {
        if starts.device()? == Device::Cpu || starts.count()? == 0 {
            let begins = starts.to_vec::<i64>()?;
            let ascending = begins.windows(2).all(|pair| pair[0] <= pair[1]);
            let inside = begins.first().is_none_or(|&first| first == 0)
                && begins.last().is_none_or(|&last| last <= count as i64);
            if !ascending || !inside {
                return Ok(Err(no_starts(&begins, &[count])));
            }
            let bag = |at: i64| begins.partition_point(|&begin| begin <= at) as i64 - 1;
            return Tensor::from_vec((0..count as i64).map(bag).collect(), [count]).map(Ok);
        }
        let starts = starts.detach().to_dtype(DType::I64).reshape(-1);
        let others = starts.count()? - 1;
        // 0, 1, 2, ..., without numbers of the CPU.
        let places = |x: &Tensor| x.equal(x).to_dtype(DType::I64).cumulative_sum(0) - 1;
        let numbered = places(&starts);
        let before = Tensor::cat(&[numbered.narrow(0, 0, 1), starts.narrow(0, 0, others)], 0);
        let most = (numbered * count as i64).clamp_max(count as f64);
        let right = |_: &Tensor| starts.greater_equal(&before).logical_and(starts.less_equal(&most));
        let wrong = move |start: f64, at: usize| {
            Fault::value(
                format!("start {at} is {start}, of {count} numbers"),
                "starts begin with 0, ascend, and stay within the numbers",
            )
        };
        if let Some(Err(failed)) = claimed("embedding_bag", &starts, right, wrong) {
            return failed.checked().map(Ok);
        }
        Ok(Ok(places(&self.detach().to_dtype(DType::I64)).near(&starts).bucketize(&starts, true) - 1))
    }
}

#[cold]
fn no_starts(begins: &[i64], shape: &[usize]) -> Fault {
    Fault::value(
        format!("starts {begins:?} for numbers {shape:?}"),
        "the numbers are a vector; starts begin with 0, ascend, and stay within it",
    )
}
