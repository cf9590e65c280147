//! The state of L-BFGS: vectors over all parameters, and the names of these in their order.

use super::{Lbfgs, Memory, Pair, learning};
use crate::device::Device;
use crate::error::{Error, Fault, Result};
use crate::nn::Module;
use crate::tensor::{State, Tensor};

pub(super) fn state(optimizer: &Lbfgs, model: &dyn Module) -> Result<State> {
    let memory = &optimizer.memory;
    let mut state = State::tree();
    state.insert("optimizer", State::Text("lbfgs".to_string()))?;
    state.insert("rate", State::Number(optimizer.rate))?;
    let parameters = learning(model);
    let mine = parameters.iter().map(|(_, parameter)| parameter.id()).eq(memory.ids.iter().copied());
    let rounds = if mine { memory.rounds } else { 0 };
    state.insert("rounds", State::Integer(rounds.min(i64::MAX as u64) as i64))?;
    if rounds == 0 {
        return Ok(state);
    }
    state.insert("parameters", State::List(parameters.into_iter().map(|(name, _)| State::Text(name)).collect()))?;
    state.insert("length", State::Number(memory.length))?;
    state.insert("scale", State::Number(memory.scale))?;
    for (name, vector) in [("direction", &memory.direction), ("gradient", &memory.gradient)] {
        if let Some(vector) = vector {
            state.insert(name, State::Tensor(vector.clone()))?;
        }
    }
    let mut pairs = Vec::with_capacity(memory.pairs.len());
    for pair in &memory.pairs {
        let mut tree = State::tree();
        tree.insert("change", State::Tensor(pair.change.clone()))?;
        tree.insert("step", State::Tensor(pair.step.clone()))?;
        tree.insert("weight", State::Number(pair.weight))?;
        pairs.push(tree);
    }
    state.insert("pairs", State::List(pairs))?;
    Ok(state)
}

#[track_caller]
pub(super) fn load_state(optimizer: &mut Lbfgs, model: &dyn Module, state: &State) -> Result<()> {
    let name = state.get("optimizer")?.text()?;
    let help = "make the optimizer and the model as they were when the state was taken";
    if name != "lbfgs" {
        let fault = Fault::value(format!("the state is of {name}, this is lbfgs"), help);
        return Err(Error::new("load_state", fault));
    }
    let (rate, rounds) = (state.get("rate")?.number()?, state.get("rounds")?.integer()?);
    let mut memory = Memory::default();
    if rounds > 0 {
        let parameters = learning(model);
        let names = state.get("parameters")?.list()?;
        let same = names.len() == parameters.len()
            && names.iter().zip(&parameters).all(|(given, (name, _))| given.text().is_ok_and(|given| given == name));
        if !same {
            let fault = Fault::value("the state is of a model with other parameters", help);
            return Err(Error::new("load_state", fault));
        }
        let (mut count, mut device) = (0, Device::Cpu);
        for (_, parameter) in &parameters {
            count += parameter.shape()?.count();
            device = parameter.device()?;
        }
        let vector = |state: &State| -> Result<Tensor> {
            let tensor = state.tensor()?;
            match tensor.shape()?[..] == [count] {
                true => tensor.detach().to(device).checked(),
                false => {
                    let what =
                        format!("a vector of the state is {}, the parameters have {count} numbers", tensor.describe());
                    Err(Error::new("load_state", Fault::shape(what, help)))
                }
            }
        };
        memory.ids = parameters.iter().map(|(_, parameter)| parameter.id()).collect();
        memory.rounds = rounds as u64;
        memory.length = state.get("length")?.number()?;
        memory.scale = state.get("scale")?.number()?;
        memory.direction = Some(vector(state.get("direction")?)?);
        memory.gradient = Some(vector(state.get("gradient")?)?);
        for pair in state.get("pairs")?.list()? {
            memory.pairs.push_back(Pair {
                change: vector(pair.get("change")?)?,
                step: vector(pair.get("step")?)?,
                weight: pair.get("weight")?.number()?,
            });
        }
    }
    (optimizer.rate, optimizer.memory) = (rate, memory);
    Ok(())
}
