//! How many layers a stack may have.

use super::Module;
use crate::error::{Error, Fault};
use crate::tensor::{Parameter, Tensor};

/// The most layers of a stack: a greater number is a mistake, and would take all memory before anything failed.
const MOST_LAYERS: usize = 1 << 16;

/// So many layers; or one of an absurd number, and the error that its parameters are to carry.
#[track_caller]
pub(super) fn counted(name: &'static str, layers: usize) -> (usize, Option<Error>) {
    if layers <= MOST_LAYERS {
        return (layers, None);
    }
    let help = format!("a stack has at most {MOST_LAYERS} layers: check which number is which");
    (1, Some(Error::new(name, Fault::value(format!("{layers} layers"), help))))
}

/// The model; with an error all its parameters carry it, to whoever uses one.
pub(super) fn carrying<M: Module>(mut model: M, error: Option<Error>) -> M {
    if let Some(error) = error {
        for (_, parameter) in model.parameters_mut() {
            *parameter = Parameter::new(Tensor::failed(error.clone()));
        }
    }
    model
}
