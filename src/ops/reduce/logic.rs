//! Questions about all numbers: any, all, how many.

use super::{Over, fold, reductions};
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Axes;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

reductions! {
    /// Is any number not zero (or any truth true)? Of nothing: no.
    any any_over any_keep => Any; "bool" "true" "[true, true]";
    /// Is no number zero (or no truth false)? Of nothing: yes.
    all all_over all_keep => All; "bool" "true" "[true, true]";
    /// How many numbers are not zero, as i64.
    count_nonzero count_nonzero_over count_nonzero_keep => CountNonzero; "i64" "4" "[2, 2]";
}

macro_rules! questions {
    ($($(#[$meta:meta])* $op:ident $name:ident $reason:literal;)*) => { $(
        $(#[$meta])*
        #[derive(Debug)]
        struct $op(Over);

        impl Op for $op {
            fn name(&self) -> &'static str {
                stringify!($name)
            }
            fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
                one(fold!($name, inputs[0], self.0)?)
            }
            fn gradient(&self, _: usize, _: &[Tensor], call: &Call<'_>) -> Tensor {
                Tensor::failed(call.error(Fault::new(crate::error::ErrorKind::Gradient, $reason, "")))
            }
            fn saves(&self, _: usize) -> Saves {
                Saves::NONE
            }
            fn rule(&self, _: usize) -> &'static str {
                "none: a step has no slope"
            }
            fn differentiable(&self) -> Result<(), &'static str> {
                Err($reason)
            }
        }
    )* };
}
questions! {
    /// Is any number not zero?
    Any any "any has no gradient: its result is true or false";
    /// Is no number zero?
    All all "all has no gradient: its result is true or false";
    /// How many numbers are not zero?
    CountNonzero count_nonzero "count_nonzero has no gradient: its result is a count";
}
