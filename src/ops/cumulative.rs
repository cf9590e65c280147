//! Running sums, products and extremes: each place holds what was folded up to it.

use crate::device::scan::Scan;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Axis;
use crate::op::{Call, Keep, Op, Outputs, Saves, Tensors, apply, apply_many, one};
use crate::tensor::Tensor;

impl Tensor {
    /// The running sum along an axis: `yᵢ = x₀ + ... + xᵢ`. Of whole numbers and booleans it is an i64.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([1.0, 2.0, 3.0]).cumulative_sum(0);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 3.0, 6.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "cumsum")]
    #[track_caller]
    pub fn cumulative_sum(&self, axis: impl Axis) -> Tensor {
        apply(Sum { axis: axis.number(), reversed: false }, [self])
    }
    /// The running product along an axis: `yᵢ = x₀ · ... · xᵢ`. Its gradient is right where numbers are zero.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([1.0, 2.0, 3.0]).cumulative_prod(0);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 6.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "cumprod")]
    #[track_caller]
    pub fn cumulative_prod(&self, axis: impl Axis) -> Tensor {
        apply(Product(axis.number()), [self])
    }
    /// The running `ln Σ e^x` along an axis, without overflow.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([1000.0, 0.0]).cumulative_logsumexp(0);
    /// assert_eq!(y.to_vec::<f32>()?, [1000.0, 1000.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "logcumsumexp")]
    #[track_caller]
    pub fn cumulative_logsumexp(&self, axis: impl Axis) -> Tensor {
        apply(LogSumExp(axis.number()), [self])
    }
    /// The greatest number so far along an axis, and its position (i64): of equals the last.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, positions) = Tensor::from([1.0, 3.0, 2.0]).cumulative_max(0);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 3.0, 3.0]);
    /// assert_eq!(positions.to_vec::<i64>()?, [0, 1, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "cummax")]
    #[track_caller]
    pub fn cumulative_max(&self, axis: impl Axis) -> (Tensor, Tensor) {
        let [values, positions] = apply_many(Extreme { axis: axis.number(), greatest: true }, &[self]);
        (values, positions)
    }
    /// The least number so far along an axis, and its position (i64): of equals the last.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (values, positions) = Tensor::from([2.0, 3.0, 1.0]).cumulative_min(0);
    /// assert_eq!(values.to_vec::<f32>()?, [2.0, 2.0, 1.0]);
    /// assert_eq!(positions.to_vec::<i64>()?, [0, 0, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "cummin")]
    #[track_caller]
    pub fn cumulative_min(&self, axis: impl Axis) -> (Tensor, Tensor) {
        let [values, positions] = apply_many(Extreme { axis: axis.number(), greatest: false }, &[self]);
        (values, positions)
    }
}

/// The axis; a single number has one, along which it is alone.
fn resolve(axis: isize, rank: usize) -> Result<usize, Fault> {
    if rank == 0 && (axis == 0 || axis == -1) { Ok(0) } else { axis.resolve(rank) }
}

/// A running sum, from the front or from behind.
#[derive(Debug)]
struct Sum {
    axis: isize,
    reversed: bool,
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "cumulative_sum"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), cumulative_sum(x, resolve(self.axis, x.rank())?, self.reversed))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Sum { axis: self.axis, reversed: !self.reversed }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = Σ ∂L/∂yₖ over k ≥ i"
    }
}

/// A running product.
#[derive(Debug)]
struct Product(isize);

impl Op for Product {
    fn name(&self) -> &'static str {
        "cumulative_prod"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), cumulative_product(x, resolve(self.0, x.rank())?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        Tensor::compute(|| {
            let (x, g) = (call.value(0)?, arriving[0].value()?);
            let gradient = resolve(self.0, x.rank())
                .and_then(|axis| on!(x.device(), cumulative_product_gradient(x, g, axis)))
                .map_err(|fault| call.error(fault))?;
            Ok(Tensor::from_value(gradient))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = Σ ∂L/∂yₖ · Π xⱼ over k ≥ i and j ≤ k, j ≠ i"
    }
    /// Each place times what stands 1, 2, 4 ... places before it: all prefixes after log n steps.
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let mut x = inputs[0].clone();
        if let Some(&size) = call.dims(0).get(resolve(self.0, call.dims(0).len()).ok()?) {
            let mut step = 1;
            while step < size {
                let later = x.narrow(self.0, step, size - step) * x.narrow(self.0, 0, size - step);
                x = Tensor::cat(&[&x.narrow(self.0, 0, step), &later], self.0);
                step *= 2;
            }
        }
        Some([x].into_iter().collect())
    }
}

/// A running ln Σ e^x.
#[derive(Debug)]
struct LogSumExp(isize);

impl Op for LogSumExp {
    fn name(&self) -> &'static str {
        "cumulative_logsumexp"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), cumulative_logsumexp(x, resolve(self.0, x.rank())?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        Tensor::compute(|| {
            let (x, y, g) = (call.value(0)?, call.output_value(0)?, arriving[0].value()?);
            let gradient = resolve(self.0, x.rank())
                .and_then(|axis| on!(x.device(), cumulative_logsumexp_gradient(x, y, g, axis)))
                .map_err(|fault| call.error(fault))?;
            Ok(Tensor::from_value(gradient))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUTS)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = Σ ∂L/∂yₖ · e^(xᵢ - yₖ) over k ≥ i"
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let x = &inputs[0];
        if call.dims(0).contains(&0) {
            return Some([x * 1.0].into_iter().collect());
        }
        let greatest = x.detach().max();
        Some([(x - &greatest).exp().cumulative_sum(self.0).ln() + greatest].into_iter().collect())
    }
}

/// A running extreme with its position.
#[derive(Debug)]
struct Extreme {
    axis: isize,
    greatest: bool,
}

impl Op for Extreme {
    fn name(&self) -> &'static str {
        if self.greatest { "cumulative_max" } else { "cumulative_min" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let axis = resolve(self.axis, x.rank())?;
        let (values, positions) = on!(x.device(), cumulative_extreme(x, axis, self.greatest))?;
        Ok([values, positions].into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match call.output_value(1) {
            Ok(places) => apply(AddAt { axis: self.axis, places: places.clone() }, [&arriving[0]]),
            Err(error) => Tensor::failed(error),
        }
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::output(1)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂xᵢ = Σ ∂L/∂yₖ over the places k whose extreme stands at i"
    }
}

/// Each number added at its place along an axis.
#[derive(Debug)]
struct AddAt {
    axis: isize,
    places: Value,
}

impl Op for AddAt {
    fn name(&self) -> &'static str {
        "add_at"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), add_at_places(x, &self.places, resolve(self.axis, x.rank())?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Take { axis: self.axis, places: self.places.clone() }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y at the places"
    }
}

/// The numbers at given places along an axis.
#[derive(Debug)]
struct Take {
    axis: isize,
    places: Value,
}

impl Op for Take {
    fn name(&self) -> &'static str {
        "take"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), take_places(x, &self.places, resolve(self.axis, x.rank())?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(AddAt { axis: self.axis, places: self.places.clone() }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y, added at the places"
    }
}
