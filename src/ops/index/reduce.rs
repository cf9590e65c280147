//! Several elements that go to one place, combined by more than a sum.

use super::no_gradient;
use super::put::{along_slices, put, trimmed};
use crate::device::Value;
use crate::device::index::Combine;
use crate::error::Fault;
use crate::layout::Axis;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply};
use crate::tensor::Tensor;

/// `out[i, index[i, j]] ⊕= source[i, j]`.
#[derive(Debug)]
struct ScatterReduce {
    axis: isize,
    combine: Combine,
    include: bool,
}

impl Op for ScatterReduce {
    fn name(&self) -> &'static str {
        "scatter_reduce"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        put(inputs, self.axis, self.combine, self.include)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (arriving, index) = (&arriving[0], call.input(1));
        match (self.combine, which) {
            (_, 1) => no_gradient(call),
            (Combine::Replace, 0) => arriving.scatter_fill(self.axis, &index, 0.0),
            (Combine::Sum, 0) => self.outside(arriving.clone(), &index),
            (Combine::Replace | Combine::Sum, _) => arriving.gather(self.axis, &index),
            (Combine::Mean, _) => self.shared(which, arriving, &index, None, call),
            (Combine::Largest | Combine::Smallest, _) => {
                let (result, x, source) = (call.output(0), call.input(0), call.input(2));
                let dtype = call.dtype(0);
                let x_wins = self.outside(x.equal(&result).to_dtype(dtype), &index);
                let source_wins = source.equal(result.gather(self.axis, &index)).to_dtype(dtype);
                self.shared(which, arriving, &index, Some((x_wins, source_wins)), call)
            }
            (Combine::Product, 0) => {
                let x = call.input(0);
                let x = x.masked_fill(&x.equal(0.0), 1.0);
                let others = x.scatter_reduce(self.axis, &index, &call.input(2), Combine::Product, self.include) / &x;
                self.outside(arriving * others, &index)
            }
            (Combine::Product, _) => self.product(arriving, &index, call),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        match self.combine {
            Combine::Replace | Combine::Sum | Combine::Mean => Saves::input(1),
            _ => Saves::INPUTS.and(Saves::output(0)),
        }
    }
    fn rule(&self, _: usize) -> &'static str {
        match self.combine {
            Combine::Replace | Combine::Sum => "∂L/∂source[i, j] = ∂L/∂y[i, index[i, j]]",
            Combine::Mean => "∂L/∂source[i, j] = ∂L/∂y[i, index[i, j]] / how many went there",
            Combine::Product => "∂L/∂source[i, j] = ∂L/∂y[i, index[i, j]] · product of the others",
            Combine::Largest | Combine::Smallest => "∂L/∂y[i, index[i, j]], shared by those that are the extreme",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index", "source"]
    }
}

impl ScatterReduce {
    /// Zero at the places that are met, where what stood there does not take part.
    fn outside(&self, gradient: Tensor, index: &Tensor) -> Tensor {
        if self.include { gradient } else { gradient.scatter_fill(self.axis, index, 0.0) }
    }
    /// What arrives, divided by the number of those that take part (all, or the winners: 1 where one is).
    fn shared(
        &self,
        which: usize,
        arriving: &Tensor,
        index: &Tensor,
        winners: Option<(Tensor, Tensor)>,
        call: &Call<'_>,
    ) -> Tensor {
        let dtype = call.dtype(0);
        let everybody = || {
            let ones = Tensor::full(*call.shape(0), 1.0, dtype).near(arriving);
            (self.outside(ones, index), Tensor::full(*call.shape(2), 1.0, dtype).near(arriving))
        };
        let (x_wins, source_wins) = winners.unwrap_or_else(everybody);
        let count = x_wins.scatter_add(self.axis, index, &source_wins);
        let share = arriving / count.masked_fill(&count.equal(0.0), 1.0);
        match (which, self.combine) {
            // A place that nothing goes to keeps what stands there, also where that does not take part.
            (0, Combine::Mean) => self.outside(share, index),
            (0, _) => self.outside(share * call.input(0).equal(call.output(0)).to_dtype(dtype), index),
            _ => share.gather(self.axis, index) * source_wins,
        }
    }
    /// The gradient of a product for its factors. A factor that is the only zero of its place gets the product of the
    /// others, which a division cannot give.
    fn product(&self, arriving: &Tensor, index: &Tensor, call: &Call<'_>) -> Tensor {
        let (x, source, dtype) = (call.input(0), call.input(2), call.dtype(0));
        let zero = source.equal(0.0);
        let zeros = Tensor::full(*call.shape(0), 0.0, dtype).near(arriving).scatter_add(
            self.axis,
            index,
            &zero.to_dtype(dtype),
        );
        let alone = zeros.gather(self.axis, index).equal(1.0).logical_and(&zero);
        let without =
            x.scatter_reduce(self.axis, index, &source.masked_fill(&alone, 1.0), Combine::Product, self.include);
        let for_alone = (arriving * without).gather(self.axis, index);
        let for_others = (arriving * call.output(0)).gather(self.axis, index) / source.masked_fill(&zero, 1.0);
        alone.choose(&for_alone, &for_others)
    }
}

impl Tensor {
    /// A copy into which `y[i, index[i, j, k], k] ⊕= source[i, j, k]` (for axis 1) was done, where ⊕ combines all that go
    /// to one place: a sum, a product, their mean, the largest or the smallest. With `include_self` false, what stood at
    /// a place that is met does not take part.
    ///
    /// The gradient of an extreme is shared by all that equal it.
    ///
    /// ```
    /// use chainrule::{Combine, Tensor};
    /// let (index, source) = (Tensor::from([0, 0, 1]), Tensor::from([1.0, 5.0, 2.0]));
    /// let mean = Tensor::zeros([3]).scatter_reduce(0, &index, &source, Combine::Mean, false);
    /// assert_eq!(mean.to_vec::<f32>()?, [3.0, 2.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_reduce(
        &self,
        axis: impl Axis,
        index: &Tensor,
        source: &Tensor,
        combine: Combine,
        include_self: bool,
    ) -> Tensor {
        let op = ScatterReduce { axis: axis.number(), combine, include: include_self };
        apply(op, [self, index, &trimmed(source, index)])
    }
    /// As [`scatter_reduce`](Tensor::scatter_reduce) for whole slices, at the positions of a row.
    ///
    /// ```
    /// use chainrule::{Combine, Tensor};
    /// let source = Tensor::from([[1.0, 2.0], [3.0, 0.0]]);
    /// let y = Tensor::zeros([1, 2]).index_reduce(0, &Tensor::from([0, 0]), &source, Combine::Largest, true);
    /// assert_eq!(y.to_vec::<f32>()?, [3.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_reduce(
        &self,
        axis: impl Axis,
        index: &Tensor,
        source: &Tensor,
        combine: Combine,
        include_self: bool,
    ) -> Tensor {
        match along_slices("index_reduce", axis.number(), index, source) {
            Ok(positions) => self.scatter_reduce(axis, &positions, source, combine, include_self),
            Err(error) => Tensor::failed(error),
        }
    }
}
