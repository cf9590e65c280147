//! How many layers a stack may have.

use super::Module;
use crate::error::{Error, Fault};
use crate::tensor::{Parameter, Tensor};
use std::panic::Location;

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

/// The model; with an error all its parameters carry it, to whoever uses one. What failed while it was made failed where it was
/// asked for.
#[track_caller]
pub(super) fn carrying<M: Module>(mut model: M, error: Option<Error>) -> M {
    let place = Location::caller();
    for (_, parameter) in model.parameters_mut() {
        if let Some(error) = error.as_ref().or(parameter.error()) {
            *parameter = Parameter::new(Tensor::failed(error.clone().called_at(place)));
        }
    }
    model
}
