//! What all optimizers share: settings, groups, and the memory that `slots` keeps and a `step` changes.

use super::doubt::Doubt;
use super::gate::Tally;
use super::replay::{Dials, Twin, refuse_setting};
use super::setting::{set_momentum_of, set_rates_of};
use super::slots::Slots;
use super::{Group, Optimizer, Rule, Setting, Settings};
use crate::device::capture;
use crate::error::Result;
use crate::nn::Module;
use crate::tensor::{Gradients, State};
use std::collections::HashSet;
use std::panic::Location;
use std::sync::{Arc, Mutex};

/// Settings, groups and memory of an optimizer: what a [`Rule`] holds and [`Optimizer`] works with.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) groups: Vec<Group>,
    pub(super) missing_allowed: bool,
    pub(super) slots: Slots,
    /// All groups were seen to match something.
    pub(super) begun: bool,
    /// What a captured step counts.
    pub(super) twin: Option<Arc<Mutex<Twin>>>,
    /// The last step, where it is not known yet whether it counts.
    pub(super) doubt: Option<Doubt>,
}

impl Core {
    /// The settings of an optimizer, with their numbers; it has these and no others.
    pub fn new(settings: &[(Setting, f64)]) -> Core {
        Core { settings: Settings::new(settings), ..Core::default() }
    }
    /// Sets one of the optimizer's settings.
    pub fn set(&mut self, setting: Setting, number: f64) {
        self.catch_up();
        self.settings.set(setting, number);
        self.refresh();
    }
    /// One more group of parameters with settings of their own.
    pub fn add_group(&mut self, group: Group) {
        self.catch_up();
        self.groups.push(group);
        for slot in &mut self.slots.list {
            slot.group = group_of(&self.groups, &slot.name);
        }
        self.refresh();
        self.begun = false;
    }
    /// From now on a parameter without a gradient is left as it is.
    pub fn allow_missing(&mut self) {
        self.missing_allowed = true;
    }
    pub(super) fn group_of(&self, name: &str) -> usize {
        group_of(&self.groups, name)
    }
    /// Settings have changed: the rule is asked anew what it remembers.
    fn refresh(&mut self) {
        for slot in &mut self.slots.list {
            slot.stale = true;
        }
    }
}

/// The last group that takes a name, counted from 1.
fn group_of(groups: &[Group], name: &str) -> usize {
    groups.iter().rposition(|group| group.takes(name)).map_or(0, |at| at + 1)
}

impl<R: Rule> Optimizer for R {
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()> {
        let at = Location::caller();
        let mut core = std::mem::take(self.core_mut());
        let done = core.step(self, model, gradients, at);
        *self.core_mut() = core;
        done
    }
    fn rates(&self) -> Vec<f64> {
        let core = self.core().caught_up();
        let own = core.groups.iter().filter_map(|group| group.get(Setting::Rate));
        std::iter::once(core.settings.number(Setting::Rate)).chain(own).collect()
    }
    fn set_rates(&mut self, rates: &[f64]) {
        let core = self.core_mut();
        core.catch_up();
        if !capture::is_allowed() {
            refuse_setting();
        }
        set_rates_of(&mut core.settings, &mut core.groups, rates);
    }
    fn momentum(&self) -> Option<f64> {
        let settings = self.core().caught_up().settings;
        settings.get(Setting::Momentum).or(settings.get(Setting::Beta1))
    }
    fn set_momentum(&mut self, momentum: f64) {
        let core = self.core_mut();
        core.catch_up();
        if !capture::is_allowed() {
            refuse_setting();
        }
        set_momentum_of(&mut core.settings, &mut core.groups, momentum);
        core.refresh();
    }
    fn dials(&mut self) -> Option<Dials> {
        Some(self.core_mut().dials())
    }
    fn tally(&self) -> Option<Tally> {
        Some(self.core().settled().tally())
    }
    fn recount(&mut self, tally: Tally) {
        self.core_mut().recount(tally);
    }
    fn keep_only(&mut self, model: &dyn Module) {
        let core = self.core_mut();
        core.catch_up();
        let kept: HashSet<u64> = model.parameters().iter().map(|(_, parameter)| parameter.id()).collect();
        core.slots.forget(|id| !kept.contains(&id));
    }
    #[track_caller]
    fn state(&self, model: &dyn Module) -> Result<State> {
        super::saved::state(self, model)
    }
    #[track_caller]
    fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()> {
        super::saved::load_state(self, model, state, Location::caller())
    }
}

/// The two methods of [`Rule`] that give out its field `core`.
macro_rules! has_core {
    () => {
        fn core(&self) -> &super::Core {
            &self.core
        }
        fn core_mut(&mut self) -> &mut super::Core {
            &mut self.core
        }
    };
}

/// The methods that set the settings of an optimizer, and those that all optimizers have.
macro_rules! builders {
    (betas; $($rest:tt)*) => {
        /// How slowly the mean of the gradients and the mean of their squares move.
        pub fn with_betas(mut self, beta1: f64, beta2: f64) -> Self {
            self.core.set(super::Setting::Beta1, beta1);
            self.core.set(super::Setting::Beta2, beta2);
            self
        }
        $crate::optim::core::builders! { $($rest)* }
    };
    ($($(#[$doc:meta])* $name:ident $Variant:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, number: f64) -> Self {
                self.core.set(super::Setting::$Variant, number);
                self
            }
        )*
        /// One more group of parameters with settings of their own. Where several match, the last decides.
        pub fn with_group(mut self, group: super::Group) -> Self {
            self.core.add_group(group);
            self
        }
        /// Leaves parameters without a gradient as they are, instead of refusing the step.
        pub fn with_missing_allowed(mut self) -> Self {
            self.core.allow_missing();
            self
        }
    };
}
pub(super) use {builders, has_core};
