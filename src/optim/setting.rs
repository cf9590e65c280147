//! The numbers an optimizer is set to, and groups of parameters that have their own.

use crate::error::Fault;
use crate::nn::matches;
use crate::optim::Rule;
use smallvec::SmallVec;
use std::ops::{Bound, RangeBounds};

macro_rules! settings {
    ($($(#[$doc:meta])* $Variant:ident $name:literal in $range:expr;)*) => {
        /// A number that an optimizer is set to.
        ///
        /// ```
        /// use chainrule::optim::{Group, Setting};
        /// let group = Group::matching("*.bias").with(Setting::WeightDecay, 0.0);
        /// assert_eq!(group.get(Setting::WeightDecay), Some(0.0));
        /// assert_eq!(Setting::WeightDecay.name(), "weight_decay");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Setting { $($(#[$doc])* $Variant),* }

        impl Setting {
            /// All of them.
            pub const ALL: &'static [Setting] = &[$(Setting::$Variant),*];
            /// Its name, as in files and errors.
            pub const fn name(self) -> &'static str {
                match self { $(Setting::$Variant => $name),* }
            }
            /// Why this number is none for the setting.
            fn refuses(self, number: f64) -> Option<String> {
                match self { $(Setting::$Variant => outside($range, number)),* }
            }
        }
        const COUNT: usize = [$($name),*].len();
    };
}
settings! {
    /// How far a step goes (PyTorch: `lr`).
    Rate "rate" in 0.0..f64::INFINITY;
    /// How much of the last step goes on.
    Momentum "momentum" in 0.0..f64::INFINITY;
    /// How much of a new gradient the momentum leaves out.
    Dampening "dampening" in f64::MIN..f64::INFINITY;
    /// How slowly the mean of the gradients moves.
    Beta1 "beta1" in 0.0..1.0;
    /// How slowly the mean of their squares moves.
    Beta2 "beta2" in 0.0..1.0;
    /// What keeps a division from becoming too large (PyTorch: `eps`).
    Epsilon "epsilon" in 0.0..f64::INFINITY;
    /// How strongly parameters are pulled towards 0.
    WeightDecay "weight_decay" in 0.0..f64::INFINITY;
    /// How slowly running means move (PyTorch: `alpha`, `rho`).
    Smoothing "smoothing" in 0.0..=1.0;
    /// How quickly the rate falls by itself (PyTorch: `lr_decay`).
    RateDecay "rate_decay" in 0.0..f64::INFINITY;
    /// How quickly NAdam's momentum reaches its value.
    MomentumDecay "momentum_decay" in 0.0..f64::INFINITY;
    /// Where a sum starts (PyTorch: `initial_accumulator_value`).
    Start "start" in 0.0..f64::INFINITY;
    /// The exponent by which Adafactor's mean slows down (PyTorch: `beta2_decay`).
    SlowDown "slow_down" in f64::MIN..=0.0;
    /// The least size a parameter counts with where steps are relative to it.
    LeastScale "least_scale" in 0.0..f64::INFINITY;
    /// The root mean square beyond which a step is shortened.
    Threshold "threshold" in 1.0..f64::INFINITY;
    /// On or off: divides by the greatest mean square so far.
    AmsGrad "amsgrad" in 0.0..=1.0;
    /// On or off: looks ahead by the momentum.
    Nesterov "nesterov" in 0.0..=1.0;
    /// On or off: divides by the deviation instead of the root mean square.
    Centered "centered" in 0.0..=1.0;
}

impl Setting {
    /// Is it on (1) or off (0)? A file does not hold it: what is remembered depends on it, so it is as the optimizer was made.
    pub(super) fn is_switch(self) -> bool {
        matches!(self, Setting::AmsGrad | Setting::Nesterov | Setting::Centered)
    }
}

/// Says where a number should lie, if it does not.
fn outside(range: impl RangeBounds<f64>, number: f64) -> Option<String> {
    if range.contains(&number) {
        return None;
    }
    let bound = |bound: Bound<&f64>| match bound {
        Bound::Included(&at) | Bound::Excluded(&at) if at.abs() < f64::MAX => Some(at),
        _ => None,
    };
    Some(match (bound(range.start_bound()), bound(range.end_bound())) {
        (Some(low), Some(high)) => format!("it lies between {low} and {high}"),
        (Some(low), None) => format!("it is a finite number of at least {low}"),
        (None, Some(high)) => format!("it is at most {high}"),
        (None, None) => "it is a finite number".to_string(),
    })
}

/// Some settings with their numbers.
///
/// ```
/// use chainrule::optim::{Setting, Settings};
/// let settings = Settings::new(&[(Setting::Rate, 0.1)]);
/// assert_eq!((settings.number(Setting::Rate), settings.get(Setting::Beta1)), (0.1, None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    numbers: [Option<f64>; COUNT],
}

impl Settings {
    /// These settings and no others.
    pub fn new(pairs: &[(Setting, f64)]) -> Settings {
        let mut settings = Settings::default();
        for &(setting, number) in pairs {
            settings.set(setting, number);
        }
        settings
    }
    /// The number of a setting, if it is among these.
    #[inline]
    pub fn get(&self, setting: Setting) -> Option<f64> {
        self.numbers[setting as usize]
    }
    /// The number of a setting; 0 where it is not among these.
    #[inline]
    pub fn number(&self, setting: Setting) -> f64 {
        self.get(setting).unwrap_or(0.0)
    }
    /// Puts a number.
    pub fn set(&mut self, setting: Setting, number: f64) {
        self.numbers[setting as usize] = Some(number);
    }
    /// Is an on-or-off setting on?
    pub fn is_on(&self, setting: Setting) -> bool {
        self.number(setting) != 0.0
    }
    /// Each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, f64)> {
        Setting::ALL.iter().filter_map(|&setting| Some((setting, self.get(setting)?)))
    }
    /// These, with those of a group in their place.
    pub(super) fn with(&self, own: &Settings) -> Settings {
        Settings { numbers: std::array::from_fn(|at| own.numbers[at].or(self.numbers[at])) }
    }
    /// Is every number one that its setting can have?
    pub(super) fn check(&self) -> Result<(), Fault> {
        for (setting, number) in self.iter() {
            if let Some(why) = setting.refuses(number) {
                return Err(Fault::value(format!("{} is {number}", setting.name()), why));
            }
            if setting.is_switch() && number != 0.0 && number != 1.0 {
                return Err(Fault::value(format!("{} is {number}", setting.name()), "it is 0 (off) or 1 (on)"));
            }
        }
        Ok(())
    }
}

/// Parameters that have settings of their own: those whose names match a pattern (see [`matches()`]).
///
/// What a group does not set follows the optimizer. Where several groups match, the last one decides.
///
/// ```
/// use chainrule::optim::{AdamW, Group, Optimizer};
/// let optimizer = AdamW::new(1e-3)
///     .with_group(Group::matching("encoder").with_rate(1e-4))
///     .with_group(Group::matching("*.bias").with_weight_decay(0.0));
/// assert_eq!(optimizer.rates(), [1e-3, 1e-4]);
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    pattern: String,
    own: Settings,
}

macro_rules! with {
    ($($(#[$doc:meta])* $name:ident $Variant:ident;)*) => { $(
        $(#[$doc])*
        pub fn $name(self, number: f64) -> Group {
            self.with(Setting::$Variant, number)
        }
    )* };
}

impl Group {
    /// The parameters that a pattern names: `"*.bias"`, `"encoder.layers.0"`.
    pub fn matching(pattern: impl Into<String>) -> Group {
        Group { pattern: pattern.into(), own: Settings::default() }
    }
    with! {
        /// Their own rate.
        with_rate Rate;
        /// Their own weight decay.
        with_weight_decay WeightDecay;
        /// Their own momentum.
        with_momentum Momentum;
        /// Their own epsilon.
        with_epsilon Epsilon;
    }
    /// Their own betas.
    pub fn with_betas(self, beta1: f64, beta2: f64) -> Group {
        self.with(Setting::Beta1, beta1).with(Setting::Beta2, beta2)
    }
    /// Any setting of their own. One that the optimizer does not have is an error at the first step.
    pub fn with(mut self, setting: Setting, number: f64) -> Group {
        self.own.set(setting, number);
        self
    }
    /// One of the settings that are on or off.
    ///
    /// ```
    /// use chainrule::optim::{Adam, Group, Setting};
    /// let optimizer = Adam::new(1e-3).with_group(Group::matching("head").with_switch(Setting::AmsGrad, true));
    /// # let _ = optimizer;
    /// ```
    pub fn with_switch(self, setting: Setting, on: bool) -> Group {
        self.with(setting, on as u8 as f64)
    }
    /// The pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
    /// The group's own number of a setting, if it has one.
    pub fn get(&self, setting: Setting) -> Option<f64> {
        self.own.get(setting)
    }
    pub(super) fn own(&self) -> &Settings {
        &self.own
    }
    pub(super) fn own_mut(&mut self) -> &mut Settings {
        &mut self.own
    }
    pub(super) fn takes(&self, name: &str) -> bool {
        matches(&self.pattern, name)
    }
}

/// The settings of each group, those of no group first; checked.
pub(super) fn resolved<R: Rule>(
    rule: &R,
    common: &Settings,
    groups: &[Group],
) -> Result<SmallVec<[Settings; 2]>, Fault> {
    let mut all = SmallVec::new();
    for own in std::iter::once(None).chain(groups.iter().map(Some)) {
        let settings = match own {
            None => *common,
            Some(group) => {
                if let Some((setting, _)) = group.own().iter().find(|(s, _)| common.get(*s).is_none()) {
                    let names: Vec<&str> = common.iter().map(|(setting, _)| setting.name()).collect();
                    let what = format!("group {:?} sets {}, which there is not", group.pattern(), setting.name());
                    return Err(Fault::value(what, format!("the settings are {}", names.join(", "))));
                }
                common.with(group.own())
            }
        };
        settings.check().and_then(|()| rule.check(&settings)).map_err(|fault| match own {
            Some(group) => fault.saying(format!("group {:?}: {}", group.pattern(), fault.what())),
            None => fault,
        })?;
        all.push(settings);
    }
    Ok(all)
}

/// Sets the rate, and those of the groups that have one of their own.
pub(super) fn set_rates_of(settings: &mut Settings, groups: &mut [Group], rates: &[f64]) {
    let mut rates = rates.iter();
    if let Some(&rate) = rates.next() {
        settings.set(Setting::Rate, rate);
    }
    let own = groups.iter_mut().filter(|group| group.get(Setting::Rate).is_some());
    for (group, &rate) in own.zip(rates) {
        group.own_mut().set(Setting::Rate, rate);
    }
}

/// Sets the momentum, or the first beta, everywhere.
pub(super) fn set_momentum_of(settings: &mut Settings, groups: &mut [Group], momentum: f64) {
    let setting = match settings.get(Setting::Momentum) {
        Some(_) => Setting::Momentum,
        None if settings.get(Setting::Beta1).is_some() => Setting::Beta1,
        None => return,
    };
    settings.set(setting, momentum);
    for group in groups.iter_mut().filter(|group| group.get(setting).is_some()) {
        group.own_mut().set(setting, momentum);
    }
}
