//! Numbers that change from step to step, where tensors are computed with them.

use super::{Rule, Settings};
use crate::device::{Device, Value, capture};
use crate::error::Fault;
use crate::layout::{DType, Shape};
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// One of the numbers that a rule asked for with [`Rule::numbers`]: its own in each step, also where a captured step is done again.
#[derive(Clone, Debug)]
pub struct Number(Place);

#[derive(Clone, Debug)]
enum Place {
    Here(f64),
    /// A single f64 on the device, into which each replay puts its own.
    There(Tensor),
}

/// The numbers of one parameter's step.
pub(super) type Numbers = SmallVec<[Number; 2]>;

impl Number {
    /// A tensor times this number, in the tensor's type.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::optim::Number;
    /// assert_eq!(Number::from(0.5).times(&Tensor::from([4.0, 6.0])), Tensor::from([2.0, 3.0]));
    /// ```
    pub fn times(&self, x: &Tensor) -> Tensor {
        match &self.0 {
            Place::Here(number) => x * *number,
            Place::There(number) => match x.dtype() {
                Ok(dtype) => x * number.to_dtype(dtype),
                Err(_) => x.clone(),
            },
        }
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Number {
        Number(Place::Here(number))
    }
}

/// The numbers of the step number `steps` of a parameter on a device; `family` as in [`capture::dialled`].
pub(super) fn of_step<R: Rule>(
    rule: &R,
    settings: &Settings,
    steps: u64,
    device: Device,
    [number, place]: [usize; 2],
    family: impl FnOnce() -> u64,
) -> Result<Numbers, Fault> {
    let numbers = rule.numbers(settings, steps);
    if numbers.is_empty() || capture::is_plain() {
        return Ok(numbers.into_iter().map(Number::from).collect());
    }
    let there = |value: Value| Number(Place::There(Tensor::from_value(value)));
    match capture::numbers(number, place, family(), &numbers)? {
        Some(kept) => Ok(kept.into_iter().map(there).collect()),
        // What will be recorded is made ready by computing with tensors already.
        None => {
            let single = Shape::new(&[])?;
            let value = |&number: &f64| Value::full_on(device, single, DType::F64, number);
            numbers.iter().map(|number| value(number).map(there)).collect()
        }
    }
}
