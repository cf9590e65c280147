//! Writing by position.

use super::{Gather, Select, Use, along, lowered, no_gradient, raised, repeated};
use crate::device::elementwise::Elementwise;
use crate::device::index::{Assembly, Combine, Index};
use crate::device::{Value, on};
use crate::error::{Error, Fault};
use crate::formula_struct;
use crate::layout::Axis;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;
use crate::{Result as Checked, Shape};

/// `out[i, index[i, j]] = source[i, j]`; of several at one place the last stays.
#[derive(Debug)]
struct Scatter {
    axis: isize,
}

impl Op for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        put(inputs, self.axis, Combine::Replace, true)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let index = call.input(1);
        match which {
            0 => apply(ScatterFill { axis: self.axis, number: 0.0 }, [&arriving[0], &index]),
            2 => apply(GatherLast { axis: self.axis }, [&arriving[0], &index]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, which: usize) -> &'static str {
        match which {
            0 => "∂L/∂x = ∂L/∂y, 0 where something was put",
            _ => "∂L/∂source[i, j] = ∂L/∂y[i, index[i, j]], 0 where a later one was put",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index", "source"]
    }
}

/// `inputs[0] ⊕= inputs[2]` at the positions `inputs[1]`.
pub(super) fn put(inputs: &[&Value], axis: isize, combine: Combine, include: bool) -> Result<Outputs, Fault> {
    let axis = along(axis, inputs[0].rank())?;
    let [base, index, source] = raised([inputs[0], inputs[1], inputs[2]])?;
    lowered(on!(base.device(), scatter(&base, axis, &index, &source, combine, include))?, inputs[0].shape())
}

formula_struct!([whole flat truth] OtherFormula other(last, number)() { indicator(ne(last, number)) });
formula_struct!([whole condition] BlankFormula blank(other, x)() { select(ne(other, 0.0), 0.0, x) });

/// As gather, but 0 for all that go to one place except the last: the dual of [`Scatter`].
#[derive(Debug)]
struct GatherLast {
    axis: isize,
}

impl Op for GatherLast {
    fn name(&self) -> &'static str {
        "gather_last"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axis = along(self.axis, inputs[0].rank())?;
        let [x, index] = &raised([inputs[0], inputs[1]])?;
        let number = Value::build::<i64>(*index.shape(), |out| {
            out.iter_mut().enumerate().for_each(|(i, number)| *number = i as i64)
        })?;
        let number = number.to(x.device())?;
        let nobody = repeated(-1.0, x.shape(), crate::DType::I64, x.device())?;
        let last = on!(x.device(), scatter(&nobody, axis, index, &number, Combine::Replace, true))?;
        let last = on!(x.device(), gather(&last, axis, index))?;
        let gathered = on!(x.device(), gather(x, axis, index))?;
        let other = on!(x.device(), formula(&OtherFormula {}, [&last, &number]))?;
        let result = on!(x.device(), formula(&BlankFormula {}, [&other, &gathered]))?;
        lowered(result, inputs[1].shape())
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if which > 0 {
            return no_gradient(call);
        }
        Tensor::compute(|| {
            let zeros =
                repeated(0.0, call.shape(0), call.dtype(0), call.device()).map_err(|fault| call.error(fault))?;
            Ok(apply(Scatter { axis: self.axis }, [&Tensor::from_value(zeros), &call.input(1), &arriving[0]]))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x[i, index[i, j]] = ∂L/∂y[i, j] of the last j"
    }
}

/// `out[i, index[i, j]] = number`.
#[derive(Debug)]
struct ScatterFill {
    axis: isize,
    number: f64,
}

impl Op for ScatterFill {
    fn name(&self) -> &'static str {
        "scatter_fill"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let source = repeated(self.number, inputs[1].shape(), inputs[0].dtype(), inputs[0].device())?;
        put(&[inputs[0], inputs[1], &source], self.axis, Combine::Replace, true)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => apply(ScatterFill { axis: self.axis, number: 0.0 }, [&arriving[0], &call.input(1)]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, 0 where the number was put"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index"]
    }
}

/// `out[i, index[i, j]] += source[i, j]`.
#[derive(Debug)]
struct ScatterAdd {
    axis: isize,
}

impl Op for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        put(inputs, self.axis, Combine::Sum, true)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => arriving[0].clone(),
            2 => apply(Gather { axis: self.axis }, [&arriving[0], &call.input(1)]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, which: usize) -> Saves {
        if which == 0 { Saves::NONE } else { Saves::input(1) }
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 { "∂L/∂x = ∂L/∂y" } else { "∂L/∂source[i, j] = ∂L/∂y[i, index[i, j]]" }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index", "source"]
    }
}

/// `out[.., index[j], ..] += source[.., j, ..]`.
#[derive(Debug)]
struct IndexAdd {
    axis: isize,
}

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let axis = self.axis.resolve(inputs[0].rank())?;
        let how = Assembly { combine: Combine::Sum, include: true, skip: None };
        let size = inputs[0].dims()[axis];
        one(on!(inputs[0].device(), assemble(Some(inputs[0]), size, axis, inputs[1], inputs[2], how))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => arriving[0].clone(),
            2 => apply(Select { axis: self.axis, usage: Use::Take }, [&arriving[0], &call.input(1)]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, which: usize) -> Saves {
        if which == 0 { Saves::NONE } else { Saves::input(1) }
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 { "∂L/∂x = ∂L/∂y" } else { "∂L/∂source[j] = ∂L/∂y[index[j]]" }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index", "source"]
    }
}

/// `out[.., index[j], ..] = number`.
#[derive(Debug)]
struct IndexFill {
    axis: isize,
    number: f64,
}

impl Op for IndexFill {
    fn name(&self) -> &'static str {
        "index_fill"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let (x, index) = (inputs[0], inputs[1]);
        let axis = self.axis.resolve(x.rank())?;
        let mut sizes = x.dims()[..axis].to_vec();
        sizes.extend_from_slice(index.dims());
        sizes.extend_from_slice(&x.dims()[axis + 1..]);
        let source = repeated(self.number, &Shape::new(&sizes)?, x.dtype(), x.device())?;
        let how = Assembly { combine: Combine::Replace, include: true, skip: None };
        one(on!(x.device(), assemble(Some(x), x.dims()[axis], axis, index, &source, how))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => apply(IndexFill { axis: self.axis, number: 0.0 }, [&arriving[0], &call.input(1)]),
            _ => no_gradient(call),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::input(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, 0 at the positions"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["input", "index"]
    }
}

impl Tensor {
    /// A copy in which `y[i, index[i, j, k], k] = source[i, j, k]` (for axis 1). Where several go to one place, the
    /// last stays.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::zeros([2, 3]);
    /// let y = x.scatter(1, &Tensor::from([[2], [0]]), &Tensor::from([[5.0], [6.0]]));
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 0.0, 5.0, 6.0, 0.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Tensor {
        apply(Scatter { axis: axis.number() }, [self, index, &trimmed(source, index)])
    }
    /// A copy with one number at the positions, as [`scatter`](Tensor::scatter) takes them.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::zeros([2, 3]).scatter_fill(1, &Tensor::from([[2], [0]]), 1.0);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_fill(&self, axis: impl Axis, index: &Tensor, number: f64) -> Tensor {
        apply(ScatterFill { axis: axis.number(), number }, [self, index])
    }
    /// A copy to which `y[i, index[i, j, k], k] += source[i, j, k]` (for axis 1) was done; positions may repeat.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::zeros([3]).scatter_add(0, &Tensor::from([1, 1, 0]), &Tensor::from([2.0, 3.0, 4.0]));
    /// assert_eq!(y.to_vec::<f32>()?, [4.0, 5.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_add(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Tensor {
        apply(ScatterAdd { axis: axis.number() }, [self, index, &trimmed(source, index)])
    }
    /// A copy to which the slices of `source` are added at the positions of a row: `y[.., index[j], ..] += source[.., j, ..]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::zeros([3, 2]).index_add(0, &Tensor::from([2, 2]), &Tensor::ones([2, 2]));
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 0.0, 0.0, 0.0, 2.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_add(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Tensor {
        apply(IndexAdd { axis: axis.number() }, [self, index, source])
    }
    /// A copy in which the slices at the positions of a row are those of `source`; where a position repeats, the last
    /// stays.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::zeros([3]).index_copy(0, &Tensor::from([2, 0]), &Tensor::from([5.0, 6.0]));
    /// assert_eq!(y.to_vec::<f32>()?, [6.0, 0.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_copy(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Tensor {
        match along_slices("index_copy", axis.number(), index, source) {
            Ok(positions) => self.scatter(axis, &positions, source),
            Err(error) => Tensor::failed(error),
        }
    }
    /// A copy with one number in all slices at the positions of a row.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::ones([2, 3]).index_fill(1, &Tensor::from([0, -1]), 7.0);
    /// assert_eq!(y.to_vec::<f32>()?, [7.0, 1.0, 7.0, 7.0, 1.0, 7.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_fill(&self, axis: impl Axis, index: &Tensor, number: f64) -> Tensor {
        apply(IndexFill { axis: axis.number(), number }, [self, index])
    }
    /// A copy with `values` at tuples of positions, as [`index`](Tensor::index) takes them: `x[rows, columns] = values`.
    /// The values broadcast to what `index` would give.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let at = Tensor::from([0, 1]);
    /// let y = Tensor::zeros([2, 2]).index_put(&[&at, &at], &Tensor::from(9.0));
    /// assert_eq!(y.to_vec::<f32>()?, [9.0, 0.0, 0.0, 9.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_put(&self, positions: &[&Tensor], values: &Tensor) -> Tensor {
        self.put_at(positions, values, false)
    }
    /// As [`index_put`](Tensor::index_put), where the values are added: positions may repeat.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::zeros([2]).index_put_add(&[&Tensor::from([1, 1])], &Tensor::from([2.0, 3.0]));
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn index_put_add(&self, positions: &[&Tensor], values: &Tensor) -> Tensor {
        self.put_at(positions, values, true)
    }
    /// A copy in which the elements where the mask is true are those of `source`, taken in order.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let mask = Tensor::from([true, false, true]);
    /// let y = Tensor::zeros([3]).masked_scatter(&mask, &Tensor::from([5.0, 6.0, 7.0]));
    /// assert_eq!(y.to_vec::<f32>()?, [5.0, 0.0, 6.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Tensor {
        let (x, mask) = match self.broadcast_with_mask("masked_scatter", mask) {
            Ok(both) => both,
            Err(error) => return Tensor::failed(error),
        };
        let at = mask.flat_nonzero();
        let (shape, wanted, given) = match (x.shape(), at.count(), source.count()) {
            (Ok(shape), Ok(wanted), Ok(given)) => (shape, wanted, given),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Tensor::failed(error),
        };
        if given < wanted {
            let fault = Fault::shape(
                format!("the mask is true at {wanted} places, the source has {given} elements"),
                "the source needs an element for each place",
            );
            return Tensor::failed(Error::new("masked_scatter", fault));
        }
        let source = source.reshape([-1]).narrow(0, 0, wanted);
        x.reshape([-1]).scatter(0, &at, &source).reshape(shape)
    }

    #[track_caller]
    fn put_at(&self, positions: &[&Tensor], values: &Tensor, add: bool) -> Tensor {
        let (flat, at, axes) = match self.flattened_for(positions) {
            Ok(parts) => parts,
            Err(error) => return Tensor::failed(error),
        };
        let (shape, mut sizes) = match (self.shape(), at.shape()) {
            (Ok(shape), Ok(sizes)) => (shape, sizes.to_vec()),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        sizes.extend_from_slice(&shape[axes..]);
        let values = values.expand(&sizes[..]);
        let mut rows = vec![-1];
        rows.extend(shape[axes..].iter().map(|&size| size as isize));
        if shape[axes..].contains(&0) {
            return self.clone();
        }
        let (at, values) = (at.reshape([-1]), values.reshape(rows));
        let put = if add { flat.index_add(0, &at, &values) } else { flat.index_copy(0, &at, &values) };
        put.reshape(shape)
    }
}

/// The part of `source` that the index covers.
#[track_caller]
pub(super) fn trimmed(source: &Tensor, index: &Tensor) -> Tensor {
    let (Ok(own), Ok(wanted)) = (source.shape(), index.shape()) else { return source.clone() };
    let smaller = own.len() == wanted.len() && own.iter().zip(wanted.iter()).all(|(own, wanted)| own >= wanted);
    if !smaller || own == wanted {
        return source.clone(); // what does not fit is the operation's error
    }
    wanted.iter().enumerate().fold(source.clone(), |part, (axis, &size)| part.narrow(axis, 0, size))
}

/// A row of positions, one for each slice of `source`, as one position for each element.
#[track_caller]
pub(super) fn along_slices(operation: &'static str, axis: isize, index: &Tensor, source: &Tensor) -> Checked<Tensor> {
    let (shape, given) = (source.shape()?, index.shape()?);
    let resolved = axis.resolve(shape.len()).and_then(|axis| {
        if given.len() == 1 && given[0] == shape[axis] {
            return Ok(axis);
        }
        Err(Fault::shape(
            format!("the positions are {given:?}, the source {shape:?}"),
            format!("give one row of positions, one for each slice of the source along axis {axis}"),
        ))
    });
    let axis = match resolved {
        Ok(axis) => axis,
        Err(fault) => return Err(Error::new(operation, fault)),
    };
    let mut sizes = vec![1; shape.len()];
    sizes[axis] = given[0];
    Ok(index.reshape(sizes).expand(shape))
}
