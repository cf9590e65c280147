//! Formulas over whole values.

use super::Cuda;
use super::lacking::lacks;
use crate::device::Value;
use crate::device::elementwise::Elementwise;
use crate::error::Fault;
use crate::formula::{Formula, Update};
use crate::layout::DType;

impl Elementwise for Cuda {
    fn formula<P: Formula<N>, const N: usize>(&self, _: &P, _: [&Value; N]) -> Result<Value, Fault> {
        Err(lacks("this formula"))
    }
    fn formula_gradient<P: Formula<N>, const N: usize>(
        &self,
        _: &P,
        _: usize,
        _: [&Value; N],
        _: &Value,
        _: DType,
    ) -> Result<Value, Fault> {
        Err(lacks("the gradient of this formula"))
    }
    fn formula_gradient_of_result<P: Formula<N>, const N: usize>(
        &self,
        _: &P,
        _: &Value,
        _: &Value,
        _: DType,
    ) -> Result<Value, Fault> {
        Err(lacks("the gradient of this formula"))
    }
    fn update<U: Update<STATES>, const STATES: usize>(
        &self,
        _: &U,
        _: &mut Value,
        _: &Value,
        _: [&mut Value; STATES],
    ) -> Result<(), Fault> {
        Err(lacks("this step of an optimizer"))
    }
}
