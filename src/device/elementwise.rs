//! Formulas over whole values: the one loop for all of them.

use super::Value;
use crate::error::Fault;
use crate::formula::{Formula, Update};
use crate::layout::DType;

/// The kernels that compute each element of the result from the matching elements of the inputs, which broadcast.
pub trait Elementwise {
    /// The formula of every element, in the element type that the inputs meet in.
    fn formula<P: Formula<N>, const N: usize>(&self, formula: &P, inputs: [&Value; N]) -> Result<Value, Fault>;
    /// What arrives times the formula's derivative for input `which`, in the given element type and in the shape of what
    /// arrives.
    fn formula_gradient<P: Formula<N>, const N: usize>(
        &self,
        formula: &P,
        which: usize,
        inputs: [&Value; N],
        arriving: &Value,
        dtype: DType,
    ) -> Result<Value, Fault>;
    /// The same for a formula whose derivative is written in its result.
    fn formula_gradient_of_result<P: Formula<N>, const N: usize>(
        &self,
        formula: &P,
        result: &Value,
        arriving: &Value,
        dtype: DType,
    ) -> Result<Value, Fault>;
    /// One step of an optimizer, in place. Parameter and states are dense and held by nobody else; all have one shape.
    /// States of bf16 and f16 parameters are f32.
    fn update<U: Update<STATES>, const STATES: usize>(
        &self,
        step: &U,
        parameter: &mut Value,
        gradient: &Value,
        states: [&mut Value; STATES],
    ) -> Result<(), Fault>;
}
