//! What a formula is: one generic function, evaluated on every kind of number.

use super::number::{Arithmetic, Left, Number};
use super::symbol::Program;
use std::fmt;
use std::sync::OnceLock;

/// How a formula's gradient is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slope {
    /// By dual numbers.
    Dual,
    /// By [`Formula::slope`], from the result.
    Output,
    /// By [`Formula::slopes`], from the inputs.
    Inputs,
    /// It is zero wherever there is one.
    Flat,
}

/// A pointwise function of `N` numbers, written once. [`formula!`](crate::formula!) writes the implementation.
pub trait Formula<const N: usize>: fmt::Debug + Clone + Send + Sync + 'static {
    /// Its name, as in errors.
    const NAME: &'static str;
    /// Its text.
    const TEXT: &'static str;
    /// How its gradient is computed.
    const SLOPE: Slope = Slope::Dual;
    /// Does it hold for whole numbers too (by [`Formula::whole`])?
    const WHOLE: bool = false;
    /// Does it leave whole numbers as they are?
    const ROUNDING: bool = false;
    /// Is it rare enough to be interpreted, in double precision always? Then there are no loops to be compiled for it.
    const RARE: bool = false;
    /// Is it so common that there is a loop for f64 too? Others are interpreted in f64.
    const QUICK: bool = false;
    /// Is it a sine or cosine of its input? Then its loop looks whether all numbers are so small that few digits of π are enough.
    const ANGLE: bool = false;
    /// Is the result true or false (not zero or zero)?
    const TRUTH: bool = false;
    /// How many of the first inputs are conditions: they stay booleans and take no part in the choice of the element type.
    const CONDITIONS: usize = 0;

    /// The formula.
    fn value<R: Number>(&self, inputs: [R; N]) -> R
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>;
    /// The formula on whole numbers.
    fn whole<R: Arithmetic>(&self, inputs: [R; N]) -> R
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>,
    {
        inputs[0]
    }
    /// The derivative written in the result, for `N` = 1.
    fn slope<R: Number>(&self, result: R) -> R
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>,
    {
        result
    }
    /// The derivatives written in the inputs.
    fn slopes<R: Number>(&self, inputs: [R; N]) -> [R; N]
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>,
    {
        inputs
    }
    /// The values of the scalar parameters.
    fn parameters(&self) -> Vec<f64>;
    /// What beside its type decides the formula's steps: those of one type and form differ by the values of scalar parameters
    /// alone. Nothing where that is not known: then a GPU has the formula traced at each call.
    fn form(&self) -> Option<u64> {
        None
    }
    /// Where a formula keeps its programs, if they are the same for all parameters.
    #[doc(hidden)]
    fn programs() -> Option<&'static Programs> {
        None
    }
}

/// A formula's program and those of its gradients for each input.
#[doc(hidden)]
pub type Programs = [OnceLock<Program>; 4];

/// One step of an optimizer for one number: the new parameter and states. [`update_formula!`](crate::update_formula!)
/// writes the implementation.
pub trait Update<const STATES: usize>: fmt::Debug + Clone + Send + Sync + 'static {
    /// The step.
    fn step<R: Number>(&self, parameter: R, gradient: R, states: [R; STATES]) -> (R, [R; STATES])
    where
        f64: Left<R> + Left<f64> + Left<R::Scalar>;
    /// The values of the settings.
    fn parameters(&self) -> Vec<f64>;
    /// As of a formula: see [`Formula::form`].
    fn form(&self) -> Option<u64> {
        None
    }
}

/// Writes the struct of a formula's parameters and its [`Formula`].
#[doc(hidden)]
#[macro_export]
macro_rules! formula_struct {
    ([$($mark:ident)*] $vis:vis $Name:ident $name:ident ($($x:ident),*) ($($p:ident),*) $body:block) => {
        $crate::formula_struct!(@ [$($mark)*] $vis $Name $name ($($x),*) ($($p),*) $body {});
    };
    ([$($mark:ident)*] $vis:vis $Name:ident $name:ident ($($x:ident),*) ($($p:ident),*) $body:block gradient($y:ident) $slope:block) => {
        $crate::formula_struct!(@ [$($mark)*] $vis $Name $name ($($x),*) ($($p),*) $body {
            const SLOPE: $crate::formula::Slope = $crate::formula::Slope::Output;
            #[inline(always)]
            fn slope<R: $crate::formula::Number>(&self, $y: R) -> R
            where f64: $crate::formula::Left<R> + $crate::formula::Left<f64> + $crate::formula::Left<R::Scalar> {
                $crate::formula_struct!(@parameters self ($($p),*));
                $slope
            }
        });
    };
    ([$($mark:ident)*] $vis:vis $Name:ident $name:ident ($($x:ident),*) ($($p:ident),*) $body:block gradient { $($slope:expr),+ $(,)? }) => {
        $crate::formula_struct!(@ [$($mark)*] $vis $Name $name ($($x),*) ($($p),*) $body {
            const SLOPE: $crate::formula::Slope = $crate::formula::Slope::Inputs;
            #[inline(always)]
            #[allow(unused_variables)]
            fn slopes<R: $crate::formula::Number>(&self, [$($x),*]: [R; $crate::formula_struct!(@count $($x)*)]) -> [R; $crate::formula_struct!(@count $($x)*)]
            where f64: $crate::formula::Left<R> + $crate::formula::Left<f64> + $crate::formula::Left<R::Scalar> {
                $crate::formula_struct!(@parameters self ($($p),*));
                [$($slope),+]
            }
        });
    };
    (@count $($x:ident)*) => { <[&str]>::len(&[$(stringify!($x)),*]) };
    (@parameters $self:ident ($($p:ident),*)) => {
        #[allow(unused_imports)]
        use $crate::formula::*;
        #[allow(unused_variables, unused_mut)]
        let [$($p),*]: [R::Scalar; $crate::formula_struct!(@count $($p)*)] = {
            let mut _index = 0..;
            [$(R::scalar(_index.next().unwrap_or(0), $self.$p)),*]
        };
    };
    (@mark whole) => { const WHOLE: bool = true; };
    (@mark rounding) => { const ROUNDING: bool = true; };
    (@mark rare) => { const RARE: bool = true; };
    (@mark quick) => { const QUICK: bool = true; };
    (@mark angle) => { const ANGLE: bool = true; };
    (@mark truth) => { const TRUTH: bool = true; };
    (@mark condition) => { const CONDITIONS: usize = 1; };
    (@mark flat) => { const SLOPE: $crate::formula::Slope = $crate::formula::Slope::Flat; };
    // a formula for whole numbers too has its text in `whole`, which asks less of a number
    (@value [whole $($mark:ident)*] ($($x:ident),*) ($($p:ident),*) $body:block) => {
        #[inline(always)]
        fn value<R: $crate::formula::Number>(&self, inputs: [R; $crate::formula_struct!(@count $($x)*)]) -> R
        where f64: $crate::formula::Left<R> + $crate::formula::Left<f64> + $crate::formula::Left<R::Scalar> {
            self.whole(inputs)
        }
        #[inline(always)]
        #[allow(unused_variables)]
        fn whole<R: $crate::formula::Arithmetic>(&self, [$($x),*]: [R; $crate::formula_struct!(@count $($x)*)]) -> R
        where f64: $crate::formula::Left<R> + $crate::formula::Left<f64> + $crate::formula::Left<R::Scalar> {
            $crate::formula_struct!(@parameters self ($($p),*));
            $body
        }
    };
    (@value [$($mark:ident)*] ($($x:ident),*) ($($p:ident),*) $body:block) => {
        #[inline(always)]
        #[allow(unused_variables)]
        fn value<R: $crate::formula::Number>(&self, [$($x),*]: [R; $crate::formula_struct!(@count $($x)*)]) -> R
        where f64: $crate::formula::Left<R> + $crate::formula::Left<f64> + $crate::formula::Left<R::Scalar> {
            $crate::formula_struct!(@parameters self ($($p),*));
            $body
        }
    };
    (@ [$($mark:ident)*] $vis:vis $Name:ident $name:ident ($($x:ident),*) ($($p:ident),*) $body:block { $($extra:item)* }) => {
        #[derive(Clone, Debug)]
        #[allow(missing_docs)]
        $vis struct $Name { $($vis $p: f64),* }
        impl $crate::formula::Formula<{ $crate::formula_struct!(@count $($x)*) }> for $Name {
            const NAME: &'static str = stringify!($name);
            const TEXT: &'static str = stringify!($body);
            $($crate::formula_struct!(@mark $mark);)*
            $crate::formula_struct!(@value [$($mark)*] ($($x),*) ($($p),*) $body);
            $($extra)*
            fn parameters(&self) -> Vec<f64> { vec![$(self.$p),*] }
            fn form(&self) -> Option<u64> { Some(0) }
            fn programs() -> Option<&'static $crate::formula::Programs> {
                static PROGRAMS: $crate::formula::Programs = [const { ::std::sync::OnceLock::new() }; 4];
                Some(&PROGRAMS)
            }
        }
    };
}

/// Writes one step of an optimizer: a struct of its settings that implements [`Update`](crate::formula::Update).
///
/// In the body, the parameter and the states are variables that the step changes; all is done in one pass over memory.
///
/// ```
/// use chainrule::formula::{F, Update};
/// chainrule::update_formula! {
///     /// Gradient descent with momentum.
///     pub fn Momentum(parameter, gradient; velocity; rate, momentum) {
///         velocity = momentum * velocity + gradient;
///         parameter = parameter - rate * velocity;
///     }
/// }
/// let step = Momentum { rate: 0.1, momentum: 0.9 };
/// let (parameter, [velocity]) = step.step(F::<f64, false>(1.0), F(2.0), [F(0.0)]);
/// assert_eq!((parameter.0, velocity.0), (0.8, 2.0));
/// ```
#[macro_export]
macro_rules! update_formula {
    ($(#[$meta:meta])* $vis:vis fn $Name:ident($parameter:ident, $gradient:ident; $($state:ident),*; $($p:ident),* $(,)?) { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs)]
        $vis struct $Name { $($vis $p: f64),* }
        impl $crate::formula::Update<{ $crate::formula_struct!(@count $($state)*) }> for $Name {
            #[inline(always)]
            #[allow(unused_assignments, unused_mut, unused_variables)]
            fn step<R: $crate::formula::Number>(&self, $parameter: R, $gradient: R, [$($state),*]: [R; $crate::formula_struct!(@count $($state)*)]) -> (R, [R; $crate::formula_struct!(@count $($state)*)])
            where f64: $crate::formula::Left<R> + $crate::formula::Left<f64> + $crate::formula::Left<R::Scalar> {
                $crate::formula_struct!(@parameters self ($($p),*));
                let mut $parameter = $parameter;
                $(let mut $state = $state;)*
                $($body)*
                ($parameter, [$($state),*])
            }
            fn parameters(&self) -> Vec<f64> { vec![$(self.$p),*] }
            fn form(&self) -> Option<u64> { Some(0) }
        }
    };
}
