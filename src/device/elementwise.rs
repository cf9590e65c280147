//! Formulas over whole values: the one loop for all of them.

use super::Value;
use crate::error::Fault;
use crate::formula::{Formula, Update};
use crate::layout::{DType, Layout, MAX_RANK, Shape};
use smallvec::SmallVec;
use std::borrow::Borrow;

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
    /// Runs `steps`, which updates many parameters. A device may put off and join what it is given there until it is asked for
    /// something else, or this ends.
    fn updates(&self, steps: impl FnOnce()) -> Result<(), Fault> {
        steps();
        Ok(())
    }
}

/// The most operands of a formula: three inputs and what arrives.
pub(super) const MOST: usize = 4;

/// The element type in which a formula's inputs meet; `inputs` are those that are no conditions.
#[inline(never)]
pub(super) fn meeting(inputs: &[&Value], whole: bool) -> DType {
    let mut meeting = inputs[0].dtype();
    for input in &inputs[1..] {
        meeting = meeting.promote(input.dtype());
    }
    if whole || meeting.is_float() { meeting } else { DType::F32 }
}

/// A fault where gradient or states do not fit their parameter.
pub(super) fn check_fit(parameter: &Value, gradient: &Value, states: &[&mut Value]) -> Result<(), Fault> {
    let dtype = parameter.dtype();
    let compute = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let same = states.iter().all(|state| state.shape() == parameter.shape() && state.dtype() == compute);
    if !same || gradient.shape() != parameter.shape() || gradient.dtype() != dtype {
        return Err(Fault::defect("an optimizer's states or gradient do not fit its parameter"));
    }
    Ok(())
}

/// The axes of a result, joined where all operands allow it, and the operands' strides along them.
pub(super) struct Axes {
    pub(super) sizes: SmallVec<[usize; MAX_RANK]>,
    pub(super) strides: SmallVec<[[isize; MAX_RANK]; MOST]>,
}

impl Axes {
    #[inline(always)]
    pub(super) fn new<V: Borrow<Value>>(shape: &Shape, values: &[V]) -> Result<Axes, Fault> {
        let mut spread = SmallVec::<[Layout; MOST]>::new();
        for value in values {
            spread.push(value.borrow().layout().expanded(shape)?);
        }
        let mut sizes: SmallVec<[usize; MAX_RANK]> = SmallVec::new();
        let mut strides: SmallVec<[[isize; MAX_RANK]; MOST]> = smallvec::smallvec![[0; MAX_RANK]; values.len()];
        for axis in 0..shape.len() {
            let size = shape[axis];
            if size == 1 {
                continue;
            }
            let step = |k: usize| spread[k].strides()[axis];
            let joins = sizes
                .len()
                .checked_sub(1)
                .filter(|&last| (0..values.len()).all(|k| strides[k][last] == step(k).saturating_mul(size as isize)));
            let place = match joins {
                Some(last) => {
                    sizes[last] *= size;
                    last
                }
                None => {
                    sizes.push(size);
                    sizes.len() - 1
                }
            };
            for k in 0..values.len() {
                strides[k][place] = step(k);
            }
        }
        if sizes.is_empty() {
            sizes.push(1);
        }
        Ok(Axes { sizes, strides })
    }
}
