//! Steps that a GPU lets happen as long as nothing was found wrong, so that nobody waits to know it.

use super::replay::Count;
use super::{Core, Group, Optimizer, Settings};
use crate::device::elementwise::Elementwise;
use crate::device::{Device, Value, guard, on};
use crate::error::{Error, Fault, Result};
use crate::formula_struct;
use crate::layout::{DType, Shape};
use crate::nn::Module;
use crate::tensor::{Gradients, Later, Tensor};

// 1 once it is shut. What checks find stands in a whole number, -1 as long as there is nothing.
formula_struct!([flat rare condition] Seen gate(number, shut)() { select(is_finite(number), shut, 1.0) });
formula_struct!([flat rare condition] SeenWithChecks gate(number, checks, shut)() {
    select(is_finite(number), select(eq(checks, -1.0), shut, 1.0), 1.0)
});

/// Open until it sees a number that is not finite, or a check on its device has found something. Then it stays shut, and steps that go
/// through it change nothing.
#[derive(Default)]
pub(crate) struct Gate {
    /// A single f32 on the device of what was seen: 1 once it is shut, else 0.
    shut: Option<Value>,
}

impl Gate {
    /// Can it see numbers of this device?
    pub(crate) fn is_on(&self, device: Device) -> bool {
        self.shut.as_ref().is_none_or(|shut| shut.device() == device)
    }
    /// Looks at a single number without reading it.
    pub(crate) fn see(&mut self, number: &Tensor) -> Result<()> {
        let number = number.detach().reshape(());
        let number = match &self.shut {
            Some(shut) => number.to(shut.device()),
            None => number,
        };
        let number = number.checked()?;
        self.shut = Some(self.seen(number.value()?).map_err(|fault| Error::new("step", fault))?);
        Ok(())
    }
    fn seen(&self, number: &Value) -> Result<Value, Fault> {
        let device = number.device();
        let shut = match &self.shut {
            Some(shut) => shut.clone(),
            None => Value::full_on(device, Shape::new(&[])?, DType::F32, 0.0)?,
        };
        match guard::found_by_checks(device) {
            Some(checks) => on!(device, formula(&SeenWithChecks {}, [number, &checks, &shut])),
            None => on!(device, formula(&Seen {}, [number, &shut])),
        }
    }
    /// One step of the optimizer, as far as the gate is open; then whether it was shut, as 1 or 0, which comes later.
    pub(crate) fn step(
        &mut self,
        optimizer: &mut dyn Optimizer,
        model: &mut dyn Module,
        gradients: &Gradients,
    ) -> Result<Later> {
        let Some(shut) = &self.shut else {
            return Err(Error::new("step", Fault::defect("a gate that has seen nothing")));
        };
        let later = Tensor::from_value(shut.clone()).read_later();
        // An update reads the number where its parameter is.
        if gradients.are_on(shut.device()) {
            guard::gated(shut, || optimizer.step(model, gradients))?;
        } else if Tensor::from_value(shut.clone()).item()? == 0.0 {
            optimizer.step(model, gradients)?;
        }
        Ok(later)
    }
}

/// What a step puts in the place of a state: the new numbers, or the old ones where the step is to change nothing.
pub(super) fn chosen(old: &Value, new: &Value) -> Result<Value> {
    let Some(flag) = guard::flag() else { return Ok(new.clone()) };
    let [flag, kept, next] = [&flag, old, new].map(|value| Tensor::from_value(value.clone()));
    let chosen = flag.choose(kept, next).checked()?.value()?.clone();
    guard::inherits(&chosen, old);
    Ok(chosen)
}

/// What an optimizer counts and is set to at a moment: it goes back there where its steps since have changed nothing.
#[derive(Clone, Debug)]
pub struct Tally {
    settings: Settings,
    groups: Vec<Group>,
    counts: Vec<Count>,
}

impl Core {
    pub(super) fn tally(&self) -> Tally {
        Tally { settings: self.settings, groups: self.groups.clone(), counts: self.counts() }
    }
    pub(super) fn recount(&mut self, tally: Tally) {
        (self.settings, self.groups, self.doubt) = (tally.settings, tally.groups, None);
        // A parameter that was met since has taken no step.
        self.slots.begin_anew();
        self.count_from(&tally.counts);
    }
}
